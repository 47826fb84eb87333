"""A cluster: the same sweep on the workers of a Dask scheduler."""

from __future__ import annotations

import logging
import queue
import time
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client
from distributed.comm.addressing import get_address_host
from distributed.scheduler import KilledWorker

from optimlab.errors import UserError
from optimlab.execution.stack import Stack
from optimlab.execution.workers import NextStack, train_elsewhere
from optimlab.pool import Event

SECONDS_BETWEEN_LOOKS = 1.0
GOES_ON = "what had finished is kept, and the same command goes on"


@contextmanager
def dask(scheduler: str) -> Iterator[Dask]:
    """Connect to a scheduler; give its workers.

    Parameters
    ----------
    scheduler : its address, such as tcp://10.0.0.1:8786.

    Raises
    ------
    UserError
        When nothing answers at the address, or its workers lack optimlab.
    """
    logging.disable(logging.CRITICAL)  # Dask's words on a lost connection, tracebacks among them
    try:
        get_address_host(scheduler)  # before a client waits for what is no address at all
        client: Any = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    try:
        yield Dask(client, scheduler)
    except ModuleNotFoundError as error:
        raise UserError(f"a worker of {scheduler} cannot run optimlab: {error}") from None
    finally:
        with suppress(OSError, TimeoutError, CancelledError):
            client.close(timeout=5)
        logging.disable(logging.NOTSET)


class Dask:
    """The workers of a Dask cluster.

    Parameters
    ----------
    client : connected to the scheduler.
    address : the scheduler's.
    patience : for so many seconds, the cluster may have no worker.
    """

    def __init__(self, client: Any, address: str, patience: float = 30.0) -> None:
        self.client, self.address, self.patience = client, address, patience
        self.cores = self.at_once = max(1, len(client.scheduler_info()["workers"]))

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks, so many at once, and two to a worker where there are several.

        Raises
        ------
        UserError
            When there has been no worker for too long, or the connection to the scheduler is lost.
        """
        in_hand: dict[Any, Stack] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        most = at_once if at_once == 1 else 2 * at_once
        last_sound = time.monotonic()
        try:
            while True:
                while len(in_hand) < most and (stack := next_stack()) is not None:
                    future = self.client.submit(train_elsewhere, stack, pure=False)
                    in_hand[future] = stack
                    future.add_done_callback(ended.put)
                if not in_hand:
                    return
                try:
                    future = ended.get(timeout=SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    if self._has_workers():
                        last_sound = time.monotonic()
                    elif time.monotonic() - last_sound > self.patience:
                        text = f"the scheduler at {self.address} has no workers; {GOES_ON}"
                        raise UserError(text) from None
                    continue
                last_sound = time.monotonic()
                yield self._end(future, in_hand.pop(future))
        finally:
            with suppress(OSError, TimeoutError, CancelledError):
                self.client.cancel(list(in_hand))

    def _has_workers(self) -> bool:
        try:
            return self.client.status == "running" and bool(self.client.scheduler_info()["workers"])
        except (OSError, TimeoutError):
            raise self._lost() from None

    def _end(self, future: Any, stack: Stack) -> Event:
        """Return how a stack ended; raise what its training raised."""
        if future.status == "finished":
            return Event(stack, "done", future.result())
        if future.status != "error":  # it is lost, with the connection
            raise self._lost()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return Event(stack, "died")
        raise error

    def _lost(self) -> UserError:
        return UserError(f"the scheduler at {self.address} does not answer any more; {GOES_ON}")
