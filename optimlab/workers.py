"""The workers: processes that train stacks, and what happens when one of them dies."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing import current_process

from joblib import Parallel, delayed

from optimlab.environment import computing
from optimlab.errors import UserError
from optimlab.identity import code_digest
from optimlab.messages import warn
from optimlab.mixing import train_with_witness
from optimlab.stack import FinishedStack, Stack, failed, join

ATTEMPTS = 2
DIED = "its worker process died whenever it ran: out of memory, or the optimizer crashed it"
_ONE_AT_A_TIME = threading.Lock()


def trained(stacks: Iterable[Stack], jobs: int) -> Iterator[FinishedStack]:
    """Yield the stacks, trained, in the order in which they finish.

    When a worker dies, the stacks that were in flight are trained again, each alone in a pool. Where
    the worker of one dies again, its runs are trained alone; a run whose worker dies even then is
    failed. So a crash costs the run that causes it, and no other.

    Parameters
    ----------
    stacks : what to train.
    jobs : the number of worker processes; 1 trains in this process. joblib's `parallel_config` may
        choose another backend, and then this says nothing.
    """
    todo = deque(stacks)
    in_flight: dict[str, Stack] = {}

    def dispatched() -> Iterator[Stack]:
        while todo:
            stack = todo.popleft()
            in_flight[stack.run_ids[0]] = stack
            yield stack

    while todo or in_flight:
        while in_flight:
            yield _alone(in_flight.popitem()[1], jobs)
        try:
            with closing(_pool(dispatched(), jobs)) as finished_stacks:
                for finished in finished_stacks:
                    in_flight.pop(finished.runs[0].run_id)
                    yield finished
        except BrokenProcessPool:
            text = f"a worker process died; the {len(in_flight)} stacks in flight start again"
            warn(text)


def _alone(stack: Stack, jobs: int) -> FinishedStack:
    """Train a stack with nothing beside it, and then its runs one by one, so that none kills another."""
    attempts = ATTEMPTS if len(stack.run_ids) == 1 else 1
    for _ in range(attempts):
        try:
            with closing(_pool(iter([stack]), jobs)) as finished_stacks:
                return next(finished_stacks)
        except BrokenProcessPool:
            pass
    if len(stack.run_ids) == 1:
        return failed(stack, DIED)
    return join([_alone(stack.only(place), jobs) for place in range(len(stack.run_ids))])


def _pool(stacks: Iterator[Stack], jobs: int) -> Generator[FinishedStack]:
    """Train stacks in worker processes; BrokenProcessPool when one dies."""
    warnings.filterwarnings("ignore", message=".*have been cancelled", module="joblib")
    parallel = Parallel(
        n_jobs=jobs,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="2*n_jobs",
        initializer=_leave_with,
        initargs=(os.getpid(),),
    )
    with _children_deaf_to_ctrl_c():
        return parallel(delayed(_work)(stack) for stack in stacks)


def _work(stack: Stack) -> FinishedStack:
    """Train a stack, unless the code here is not the code that its runs are identified by."""
    with _ONE_AT_A_TIME:  # a process of several threads has one count of BLAS threads
        finished = train_with_witness(stack)
    if code_digest(stack.problem, stack.rule, stack.folder) != stack.code:  # by now it has been loaded
        raise UserError(
            "the code changed while the sweep ran, or a worker has another version of it or of a "
            "library; sweep again to use the new one"
        )
    return replace(finished, computed_by=computing())


def _leave_with(driver: int) -> None:
    """End this process soon after the one that started it, which may be killed, or be dead by now."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(0.5)
        os._exit(1)

    if current_process().name.startswith("Loky"):  # joblib's own; those of a cluster have other parents
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
    """Have the processes that start in this block ignore Ctrl-C: it is the parent that stops them.

    A terminal sends Ctrl-C to all of them; each would print a traceback. They inherit that it is ignored
    (a blocked signal would not do: the pool's own helper unblocks it as it starts).
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may set this
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
