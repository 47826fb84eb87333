"""Worker processes: each does one task at a time, and exits when its parent process does."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle

from optimlab.errors import UserError
from optimlab.processes import CAN_FORK, ForkServer, Process, Spawned, receive, send

_EARLY: list[ForkServer] = []  # for the next pool that wants one

Tell = Callable[["Clock | Progress"], None]
AnyThread = TypeVar("AnyThread", bound=threading.Thread)


@dataclass(frozen=True)
class Clock:
    """A worker's message: from now on, its task may take this many seconds; None: no limit."""

    seconds: float | None


@dataclass(frozen=True)
class Progress:
    """A worker's message: how much of its task is done, in the task's unit."""

    amount: float


@dataclass(frozen=True)
class Event:
    """How a task ended.

    Attributes
    ----------
    task : the task.
    kind : "done" (`value` is its result), "died" (its worker died) or "overdue" (it took longer than its
        clock allowed, and its worker was killed).
    """

    task: Any
    kind: str
    value: Any = None


class Pool:
    """Worker processes, started when there is something to do.

    Each has its own process group: Ctrl-C in the terminal reaches only this process, which stops them. A
    worker that dies is replaced.

    Parameters
    ----------
    work : a module-level function; a worker calls ``work(task, tell)`` with each task.
    jobs : the number of processes.
    prepare : called once, where processes can be forked; does what each worker would do first.
    """

    def __init__(
        self,
        work: Callable[[Any, Tell], Any],
        jobs: int,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.work, self.jobs = work, jobs
        self.prepare = prepare if CAN_FORK else None
        self.server: ForkServer | None = None
        self.ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.workers: list[_Worker] = []
        self.in_hand = 0
        self.is_over = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        """Let idle workers exit; if one is still busy, kill them all."""
        self.is_over = True
        if self.in_hand:
            for worker in self.workers:
                worker.kill()
            if self.server:
                self.server.kill()  # a worker's thread may be waiting for it
        for _ in self.workers:
            self.ready.put(None)
        threads = [worker.thread for worker in self.workers]
        if self.server:
            threads.append(threading.Thread(target=self.server.close, daemon=True))
            threads[-1].start()
        if self.in_hand:
            for thread in threads:
                thread.join()

    def run(
        self,
        next_task: Callable[[], Any],
        follow: Callable[[Any, float], None] = lambda task, amount: None,
    ) -> Generator[Event]:
        """Yield an event for each task as it ends, until all have ended.

        Parameters
        ----------
        next_task : returns the next task, or None if there is none for now. It is called again after
            each event.
        follow : called with a task in progress and how much of it is done.

        Raises
        ------
        BaseException
            Whatever `work` raises.
        """
        while True:
            while self.in_hand < 2 * self.jobs and (task := next_task()) is not None:
                self.in_hand += 1
                self.ready.put(task)
                if self.prepare:
                    self.server, self.prepare = _early() or _server(self.prepare), None
                if len(self.workers) < min(self.jobs, self.in_hand):
                    self.workers.append(_Worker(self))
            if not self.in_hand:
                return
            event = self.events.get()
            if event.kind == "progress":
                follow(event.task, event.value)
                continue
            self.in_hand -= 1
            if event.kind == "raised":
                raise event.value
            yield event


@contextmanager
def prepared_early(prepare: Callable[[], object]) -> Iterator[None]:
    """Prepare the workers of the next pool while this process prepares what they are to do.

    If no pool takes them, they end with the block.
    """
    if CAN_FORK and (server := _server(prepare)):
        _EARLY.append(server)
    try:
        yield
    finally:
        while unused := _early():
            unused.kill()
            unused.close()


def _server(prepare: Callable[[], object]) -> ForkServer | None:
    """Return a new fork server; None where the system lacks what it needs, such as its sockets."""
    with suppress(OSError):
        return ForkServer(prepare)
    return None


def _early() -> ForkServer | None:
    """Return what was prepared early and no pool has taken, if there is something."""
    with suppress(IndexError):
        return _EARLY.pop()
    return None


def in_order(calls: Iterable[tuple[Any, Any, Any]], pool: Pool | None) -> Iterator[Any]:
    """Yield the results of calls, in order.

    Parameters
    ----------
    calls : tuples (function, arguments, keyword arguments), as joblib's `delayed` makes them.
    pool : a pool whose work is `numbered_call`; None to call in this process.

    Raises
    ------
    UserError
        If a worker process dies.
    """
    if pool is None:
        yield from (call(each) for each in calls)
        return
    todo = enumerate(calls)
    results: dict[int, Any] = {}
    following = 0
    for event in pool.run(lambda: next(todo, None)):
        if event.kind == "died":
            raise UserError(
                "a worker process died, perhaps for lack of memory; nothing is lost: try again"
            )
        results[event.task[0]] = event.value
        while following in results:
            yield results.pop(following)
            following += 1


def call(each: tuple[Any, Any, Any]) -> Any:
    """Call a function and return its result."""
    function, arguments, keywords = each
    return function(*arguments, **keywords)


def numbered_call(each: tuple[int, tuple[Any, Any, Any]], tell: Tell) -> Any:
    """Return the result of a numbered call: the work of a pool for `in_order`."""
    return call(each[1])


class _Worker:
    """A process and the thread of this process that serves it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.process: Process | None = None
        self.thread = _started(threading.Thread(target=self._serve))

    def kill(self) -> None:
        """Kill the process and its children."""
        process = self.process
        if process:
            process.kill()

    def _serve(self) -> None:
        while (task := self.pool.ready.get()) is not None and not self.pool.is_over:
            try:
                event = self._do(task)
            except BaseException as error:  # such as a task that cannot be pickled
                event = Event(task, "raised", error)
            if event.kind in ("died", "overdue"):
                self.kill()  # it may have closed its streams and go on
                self._end()
            self.pool.events.put(event)
        self._end()

    def _do(self, task: Any) -> Event:
        content = cloudpickle.dumps((self.pool.work, task))
        process = self.process = self.process or self._start()
        if process is None or self.pool.is_over:  # the pool ended before there was a process to kill
            return Event(task, "died")
        timer, overdue = None, threading.Event()
        try:
            send(process.tasks, content)
            while True:
                message = pickle.loads(receive(process.answers))  # noqa: S301 - from our own worker
                if isinstance(message, Progress):
                    self.pool.events.put(Event(task, "progress", message.amount))
                    continue
                if timer:
                    _stop(timer)
                if not isinstance(message, Clock):
                    kind, value = message
                    return Event(task, kind, value)
                if message.seconds is not None:
                    timer = _started(threading.Timer(message.seconds, self._too_late, [overdue]))
        except (EOFError, OSError):
            return Event(task, "overdue" if overdue.is_set() else "died")
        finally:
            if timer:
                _stop(timer)
            if overdue.is_set():  # perhaps just as the task was done
                self.kill()
                self._end()

    def _start(self) -> Process | None:
        """Return a new process; None when the pool has ended meanwhile."""
        if self.pool.server:
            with suppress(OSError):
                return self.pool.server.fork()
        return None if self.pool.is_over else Spawned()

    def _too_late(self, overdue: threading.Event) -> None:
        overdue.set()
        self.kill()

    def _end(self) -> None:
        """Let the process exit."""
        process, self.process = self.process, None
        if process:
            process.close()


def _started(thread: AnyThread) -> AnyThread:
    """Start a thread that ends with this process, and return it."""
    thread.daemon = True
    try:
        thread.start()
    except RuntimeError as error:
        raise UserError(f"{error}: the system allows no more (see ulimit -u)") from error
    return thread


def _stop(timer: threading.Timer) -> None:
    """Stop a timer; if it is over, wait until it has done its part."""
    timer.cancel()
    timer.join()
