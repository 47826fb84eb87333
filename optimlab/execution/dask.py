"""A cluster: the same sweep on the workers of a Dask scheduler."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client
from distributed.comm.addressing import get_address_host
from distributed.scheduler import KilledWorker

from optimlab.errors import UserError
from optimlab.execution.stack import Stack
from optimlab.execution.work import train_elsewhere
from optimlab.execution.workers import NextStack
from optimlab.pool import Event

SECONDS_BETWEEN_LOOKS = 1.0
CANCELLED = (asyncio.CancelledError, futures.CancelledError)  # of the client, of what it has submitted
# A result is lost with the worker that holds it; the scheduler then has its stack trained again.
UNFINISHED = ("pending", "lost")
RESUMES = "what had finished is kept, and the same command resumes"


@contextmanager
def dask(scheduler: str) -> Iterator[Dask]:
    """Connect to a scheduler and yield its workers.

    Parameters
    ----------
    scheduler : its address, such as tcp://10.0.0.1:8786.

    Raises
    ------
    UserError
        When nothing answers at the address, or its workers lack optimlab.
    """
    logging.disable(logging.CRITICAL)  # Dask's messages on a lost connection, with tracebacks
    try:
        get_address_host(scheduler)  # a client would wait for an address that is none
        client: Any = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    try:
        yield Dask(client, scheduler)
    except ModuleNotFoundError as error:
        raise UserError(f"a worker of {scheduler} cannot run optimlab: {error}") from None
    finally:
        with suppress(OSError, TimeoutError, *CANCELLED):
            client.close(timeout=5)
        logging.disable(logging.NOTSET)


class Dask:
    """The workers of a Dask cluster.

    Parameters
    ----------
    client : connected to the scheduler.
    address : the scheduler's.
    patience : seconds that the cluster may be without a worker.
    """

    def __init__(self, client: Any, address: str, patience: float = 30.0) -> None:
        self.client, self.address, self.patience = client, address, patience
        self.cores = self.at_once = max(1, len(client.scheduler_info()["workers"]))

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks, `at_once` of them at a time; with several workers, two per worker.

        Raises
        ------
        UserError
            When there has been no worker for too long, or the connection to the scheduler is lost.
        """
        submitted: dict[Any, Stack] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        most = at_once if at_once == 1 else 2 * at_once
        last_seen = time.monotonic()
        try:
            while True:
                while len(submitted) < most and (stack := next_stack()) is not None:
                    future = self.client.submit(train_elsewhere, stack, pure=False)
                    submitted[future] = stack
                    future.add_done_callback(ended.put)
                if not submitted:
                    return
                future = next((each for each in submitted if each.status not in UNFINISHED), None)
                if future is not None and (event := self._end(future, submitted[future])) is not None:
                    del submitted[future]
                    last_seen = time.monotonic()
                    yield event
                    continue
                try:
                    ended.get(timeout=SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    if self._has_workers():
                        last_seen = time.monotonic()
                    elif time.monotonic() - last_seen > self.patience:
                        text = f"the scheduler at {self.address} has no workers; {RESUMES}"
                        raise UserError(text) from None
        finally:
            with suppress(OSError, TimeoutError, *CANCELLED):
                self.client.cancel(list(submitted))

    def _has_workers(self) -> bool:
        try:
            return self.client.status == "running" and bool(self.client.scheduler_info()["workers"])
        except (OSError, TimeoutError):
            raise self._lost() from None

    def _end(self, future: Any, stack: Stack) -> Event | None:
        """Return how a stack ended, or None if its result is lost; raise what its training raised."""
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return Event(stack, "died")
            raise error
        try:
            return Event(stack, "done", future.result(timeout=self.patience))
        except TimeoutError:
            return None
        except CANCELLED:  # with the connection to the scheduler
            raise self._lost() from None

    def _lost(self) -> UserError:
        return UserError(f"the scheduler at {self.address} no longer answers; {RESUMES}")
