"""Worker processes: each does one task at a time, and exits when its parent process does."""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import IO, Any

import cloudpickle

from optimlab.errors import UserError

LENGTH = struct.Struct("<Q")  # precedes each message
# There are as many workers as cores, so a worker's libraries must not start threads.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_EARLY: list[subprocess.Popen[bytes]] = []  # workers for the pools to come

Tell = Callable[["Clock | Progress"], None]


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
    """

    def __init__(self, work: Callable[[Any, Tell], Any], jobs: int) -> None:
        self.work, self.jobs = work, jobs
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
        for _ in self.workers:
            self.ready.put(None)
        if self.in_hand:
            for worker in self.workers:
                worker.thread.join()

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
def started_early(count: int, module: str) -> Iterator[None]:
    """Start processes that the next pool takes as its workers; those that none takes end with the block.

    Meanwhile they import a module, while this process still prepares what they are to do.
    """
    try:
        _EARLY.extend(_start(module) for _ in range(count))
        yield
    finally:
        while process := _early():
            process.kill()
            _close(process)


def _early() -> subprocess.Popen[bytes] | None:
    """Return a process that was started early and that no pool has taken, if there is one."""
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
        self.process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def kill(self) -> None:
        """Kill the process and its children."""
        process = self.process
        if process and process.poll() is None:
            if os.name == "posix":
                with suppress(ProcessLookupError):  # a plug-in may have left its group
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()

    def _serve(self) -> None:
        while (task := self.pool.ready.get()) is not None and not self.pool.is_over:
            try:
                event = self._do(task)
            except BaseException as error:  # such as a task that cannot be pickled
                event = Event(task, "raised", error)
            if event.kind in ("died", "overdue"):
                self._end()
            self.pool.events.put(event)
        self._end()

    def _do(self, task: Any) -> Event:
        content = cloudpickle.dumps((self.pool.work, task))
        process = self.process = self.process or _early() or _start()
        assert process.stdin
        assert process.stdout
        if self.pool.is_over:  # the pool ended before there was a process to kill
            return Event(task, "died")
        timer, overdue = None, threading.Event()
        try:
            _send(process.stdin, content)
            while True:
                message = pickle.loads(_receive(process.stdout))  # noqa: S301 - from our own worker
                if isinstance(message, Progress):
                    self.pool.events.put(Event(task, "progress", message.amount))
                    continue
                if timer:
                    timer.cancel()
                if not isinstance(message, Clock):
                    kind, value = message
                    return Event(task, kind, value)
                if message.seconds is not None:
                    timer = threading.Timer(message.seconds, self._too_late, [overdue])
                    timer.daemon = True
                    timer.start()
        except (EOFError, OSError):
            return Event(task, "overdue" if overdue.is_set() else "died")
        finally:
            if timer:
                timer.cancel()
            if overdue.is_set():  # perhaps just as the task was done
                self._end()

    def _too_late(self, overdue: threading.Event) -> None:
        overdue.set()
        self.kill()

    def _end(self) -> None:
        """Let the process exit, and wait for it."""
        process, self.process = self.process, None
        if process:
            _close(process)


def _start(module: str = "") -> subprocess.Popen[bytes]:
    """Start a worker process, with this one's interpreter, flags and sys.path; it imports a module."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from optimlab.pool import serve; serve({module!r})"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *flags, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**ONE_THREAD, **os.environ},
        process_group=0,
    )


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close a worker's streams, which makes it exit when it has nothing to do, and wait for it."""
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            stream.close()  # type: ignore[union-attr]
    process.wait()


def serve(module: str = "") -> None:
    """Do tasks from the parent until its stream ends: the main function of a worker process.

    Parameters
    ----------
    module : what to import first, for the tasks; "" for nothing.
    """
    if sys.platform == "linux":  # dies with its parent even while a loop in C blocks Python's threads
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.dup2(2, 1)  # keeps what a plug-in prints out of the answers
    except OSError:  # stderr is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    idle = threading.Event()
    idle.set()
    threading.Thread(target=_listen, args=[tasks, received, idle], daemon=True).start()
    if module:
        import_module(module)

    def send(content: bytes) -> None:
        try:
            _send(answers, content)
        except (OSError, ValueError):  # the parent has gone, or a plug-in has closed the stream
            os._exit(1)

    while (content := received.get()) is not None:
        try:
            work, task = pickle.loads(content)  # noqa: S301
            answer = pickle.dumps(("done", work(task, lambda message: send(pickle.dumps(message)))))
        except BaseException as error:
            answer = pickle.dumps(("raised", _portable(error)))
        idle.set()
        send(answer)
    tasks.close()
    answers.close()


def _listen(tasks: IO[bytes], received: queue.SimpleQueue[bytes | None], idle: threading.Event) -> None:
    """Pass on messages from the parent; exit at once if its stream ends while a task is running."""
    with suppress(EOFError):
        while True:
            content = _receive(tasks)
            idle.clear()
            received.put(content)
    if not idle.is_set():
        os._exit(1)
    received.put(None)


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled, with a note of where it was raised."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        error = RuntimeError(traceback.format_exception_only(error)[-1].strip())
    else:
        error.add_note("".join(traceback.format_exception(error)))
    return error


def _send(stream: IO[bytes], content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """Return the next message.

    Raises
    ------
    EOFError
        If the stream ends before a whole message.
    """
    (length,) = LENGTH.unpack(_exactly(stream, LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
