"""A cluster: the same sweep on the workers of a Dask scheduler, through joblib's backend for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from distributed import Client
from distributed.comm.addressing import get_address_host
from distributed.scheduler import KilledWorker
from joblib import parallel_config
from joblib._dask import DaskDistributedBackend

from optimlab.errors import UserError


@contextmanager
def dask(scheduler: str) -> Iterator[None]:
    """Have joblib run what this block gives it on the workers of a scheduler.

    Parameters
    ----------
    scheduler : its address, such as tcp://10.0.0.1:8786.

    Raises
    ------
    UserError
        When nothing answers at the address, there are no workers, or they lack optimlab.
    """
    try:
        get_address_host(scheduler)  # before a client waits for what is no address at all
        client: Any = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client, parallel_config(backend=Backend(client=client)):
        try:
            yield
        except ModuleNotFoundError as error:
            raise UserError(f"a worker of {scheduler} cannot run optimlab: {error}") from None
        except TimeoutError as error:
            raise UserError(f"the scheduler at {scheduler} has no workers") from error


class Backend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's, mended in two places."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return the number of workers; were it one, joblib would do the work in this process."""
        return max(2, super().effective_n_jobs(n_jobs))

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Future:
        """Submit, and tell joblib of a failure, too: it waits for ever for what killed its workers."""

        def tell(done: Future) -> None:
            if done.exception():
                callback(done.exception())

        future = super().submit(func, callback)
        future.add_done_callback(tell)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return a result, or raise what stands for it."""
        if isinstance(out, KilledWorker):
            raise BrokenProcessPool(str(out))
        if isinstance(out, Exception):
            raise out
        return super().retrieve_result_callback(out)
