"""The workers that train stacks, and what happens when one of them dies; `work` is what they do."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from optimlab import pool
from optimlab.errors import UserError
from optimlab.execution.stack import Stack, failed
from optimlab.execution.work import prepare, train_elsewhere, work
from optimlab.experiment.runs import FinishedStack
from optimlab.experiment.spec import Experiment
from optimlab.messages import warn
from optimlab.pool import Clock, Event, Pool, Progress

DIED = "its worker process died whenever it ran: out of memory, or the optimizer crashed it"
ROUND = 4  # stacks per worker, where joblib returns all results together

NextStack = Callable[[], Stack | None]


class Workers(Protocol):
    """What trains stacks."""

    @property
    def cores(self) -> int:
        """The number of stacks that train at once at full speed."""

    @property
    def at_once(self) -> int:
        """The number of stacks that train at once."""

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks, `at_once` of them at a time, and yield how each ended; see `Pool.run`."""


def local_workers(
    experiment: Experiment, jobs: int | None, time_limit: float | None = None
) -> Processes | ThisProcess:
    """Return workers on this machine.

    A plug-in may crash its process or never end, so it always runs in a worker process.

    Parameters
    ----------
    experiment : the experiment to train.
    jobs : the number of workers; None for one per core.
    time_limit : whether a run's time is limited.
    """
    if jobs == 1 and not experiment.has_own_code and not time_limit:
        return ThisProcess()
    problems = [replace(setting.problem) for setting in experiment.problems]  # type: ignore[type-var]
    rules = [setting.rule for setting in experiment.optimizers]
    return Processes(jobs or effective_n_jobs(-1), partial(prepare, problems, rules))


def prepared_early(
    experiment: Experiment, jobs: int | None, time_limit: float | None
) -> AbstractContextManager[None]:
    """Return a context that prepares `local_workers` before there are stacks to train."""
    workers = local_workers(experiment, jobs, time_limit)
    return nullcontext() if isinstance(workers, ThisProcess) else pool.prepared_early(workers.prepare)


class Processes:
    """Worker processes on this machine.

    Parameters
    ----------
    jobs : the number of processes.
    prepare : does what each of them would do first.
    """

    def __init__(self, jobs: int, prepare: Callable[[], object]) -> None:
        self.at_once, self.prepare = jobs, prepare
        self.cores = min(jobs, effective_n_jobs(-1))

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks, `at_once` of them at a time."""
        with Pool(work, at_once, self.prepare) as processes:
            yield from processes.run(next_stack, follow)


class ThisProcess:
    """No worker: stacks are trained in this process, one after the other; Ctrl-C fails no run."""

    cores = at_once = 1

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks one by one."""
        while (stack := next_stack()) is not None:

            def tell(message: Clock | Progress, stack: Stack = stack) -> None:
                if isinstance(message, Progress):
                    follow(stack, message.amount)

            yield Event(stack, "done", work(stack, tell, Exception))


class Joblib:
    """joblib's workers: loky's processes, or those of the backend that `joblib.parallel_config` names.

    Parameters
    ----------
    jobs : the number of stacks to train at once; None for that of `joblib.parallel_config`, or else the
        backend's number of workers.

    Raises
    ------
    UserError
        For a single worker: joblib then starts none, and a plug-in's crash would end the sweep.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.cores = self.at_once = effective_n_jobs(jobs or get_active_backend()[1] or -1)
        if self.at_once == 1:
            raise UserError("joblib's workers must be two or more; --backend joblib goes with --jobs 2")

    def run(
        self, next_stack: NextStack, at_once: int, follow: Callable[[Stack, float], None]
    ) -> Generator[Event]:
        """Train stacks, `at_once` of them at a time, in rounds: joblib ends when it finds nothing to do.

        A backend that returns all results together, as Ray's does, gets a few stacks per worker in each
        round.

        Raises
        ------
        UserError
            When a worker dies.
        """
        in_progress: dict[str, Stack] = {}

        def calls(stack: Stack | None) -> Iterator[Any]:
            while stack is not None:
                in_progress[stack.run_ids[0]] = stack
                yield delayed(train_elsewhere)(stack)
                stack = next_stack()

        try:
            as_they_finish = get_active_backend()[0].supports_return_generator
            return_as = "generator_unordered" if as_they_finish else "list"
            while (first := next_stack()) is not None:
                parallel = Parallel(at_once, return_as=return_as, batch_size=1)
                most = None if as_they_finish else ROUND * at_once
                for finished in parallel(itertools.islice(calls(first), most)):
                    yield Event(in_progress.pop(finished.runs[0].run_id), "done", finished)
        except BrokenExecutor as error:
            raise UserError(
                "a worker process of joblib's died, and the sweep with it; what had finished is kept. "
                "Without --backend joblib, such a crash costs the run that causes it alone"
            ) from error


def trained(
    stacks: Iterable[Stack], workers: Workers, follow: Callable[[float], None] = lambda runs: None
) -> Generator[FinishedStack]:
    """Train stacks; yield them as they finish, perhaps in smaller parts.

    When the worker of a stack dies, its runs are trained again one by one. A run whose worker dies again
    is tried once more at the end, with nothing else running that could be the cause, and fails if its
    worker dies a third time. So a crash costs only the run that causes it.

    Parameters
    ----------
    stacks : the stacks to train.
    workers : the workers that train them.
    follow : called with the number of finished runs of the stacks in progress: half a stack of ten
        counts as five.
    """
    todo, again, suspects = iter(stacks), deque[Stack](), deque[Stack]()
    in_progress: dict[str, float] = {}

    def next_stack() -> Stack | None:
        return again.popleft() if again else next(todo, None)

    def note(stack: Stack, runs: float) -> None:
        in_progress[stack.run_ids[0]] = runs
        follow(sum(in_progress.values()))

    for is_last, at_once in ((False, workers.at_once), (True, 1)):
        again.extend(suspects)
        with closing(workers.run(next_stack, at_once, note)) as events:
            for event in events:
                stack = event.task
                in_progress.pop(stack.run_ids[0], None)
                alone = len(stack.run_ids) == 1
                if event.kind == "done":
                    done = len(event.value.runs)
                    again.extend(stack.pieces(done, start=done))
                    yield event.value
                elif event.kind == "overdue" and alone:
                    yield failed(stack, f"TimeoutError: took longer than {stack.time_limit:g} s")
                elif event.kind == "died" and alone and is_last:
                    yield failed(stack, DIED)
                elif event.kind == "died" and alone:
                    suspects.append(stack)
                else:
                    if event.kind == "died":
                        warn(f"a worker process died; its {len(stack.run_ids)} runs start again")
                    again.extend(stack.pieces(1))
