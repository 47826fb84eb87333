"""A cluster: the same sweep on the workers of a Dask scheduler, through joblib's backend for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

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
        When Dask is not installed, nothing answers at the address, or the workers lack optimlab.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host
        from distributed.scheduler import KilledWorker
    except ModuleNotFoundError:
        raise UserError("the backend dask needs an extra: pip install 'optimlab[dask]'") from None

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        """joblib's, but for two ways of it: see below."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))  # for one, joblib would use this process

        # joblib's waits for ever for a stack whose workers died.
        def submit(self, func: Any, callback: Callable[[Any], None]) -> Future:
            future = super().submit(func, callback)
            future.add_done_callback(
                lambda done: callback(done.exception()) if done.exception() else None
            )
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, KilledWorker):
                raise BrokenProcessPool(str(out))
            if isinstance(out, Exception):
                raise out
            return super().retrieve_result_callback(out)

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
