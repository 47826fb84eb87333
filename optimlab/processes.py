"""Worker processes: how they start, talk to the process that started them, and end.

On Linux a worker can be a copy of a process that has imported and loaded all that its tasks need, which
takes milliseconds instead of a second.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol

import cloudpickle

CAN_FORK = sys.platform == "linux"  # on macOS, libraries of the system do not survive a fork
NUMBER = struct.Struct("<q")
# There are as many workers as cores, so a worker's libraries must not start threads.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Process(Protocol):
    """A worker process: tasks go in, answers come out."""

    tasks: IO[bytes]
    answers: IO[bytes]

    def kill(self) -> None:
        """Kill the process and its children."""

    def close(self) -> None:
        """Close the streams, which makes the process exit when it has nothing to do."""


class Spawned:
    """A worker process that starts with an empty interpreter."""

    def __init__(self) -> None:
        _open_standard_streams()
        self.process = _start("serve_spawned()", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin
        assert self.process.stdout
        self.tasks: IO[bytes] = self.process.stdin
        self.answers: IO[bytes] = self.process.stdout

    def kill(self) -> None:
        """Kill the process and its children."""
        if self.process.poll() is None:
            _kill(self.process.pid)

    def close(self) -> None:
        """Close the streams, which makes the process exit when it has nothing to do, and wait for it."""
        _close(self.tasks, self.answers)
        self.process.wait()


class Forked:
    """A worker process that is a copy of a fork server."""

    def __init__(self, server: ForkServer, pid: int, channel: socket.socket) -> None:
        self.server, self.pid, self.channel = server, pid, channel
        self.tasks: IO[bytes] = channel.makefile("wb")
        self.answers: IO[bytes] = channel.makefile("rb")
        self.lock, self.is_killed, self.is_closed = threading.Lock(), False, False

    def kill(self) -> None:
        """Kill the process and its children."""
        with self.lock:  # its number is its own until the server has waited for it, or is gone
            if not self.is_closed and self.server.is_alive():
                self.is_killed = True
                _kill(self.pid)

    def close(self) -> None:
        """Close the streams, which makes the process exit when it has nothing to do."""
        with self.lock:
            self.is_closed = True
        _close(self.tasks, self.answers, self.channel)
        if self.is_killed:
            self.server.wait_for(self.pid)


class ForkServer:
    """A process that calls a function, and then forks workers on request.

    Parameters
    ----------
    prepare : does once what each worker would do first. If it raises, workers start without it.
    """

    def __init__(self, prepare: Callable[[], object]) -> None:
        _open_standard_streams()
        self.lock = threading.Lock()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                code = f"serve_copies({theirs.fileno()}, {os.getpid()})"
                self.process = _start(code, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
            assert self.process.stdin
            with suppress(OSError), self.process.stdin as stream:
                stream.write(cloudpickle.dumps(prepare))
        except BaseException:  # such as Ctrl-C
            self.control.close()
            raise

    def fork(self) -> Forked:
        """Return a worker; wait until the server is prepared.

        Raises
        ------
        OSError
            When the server has ended.
        """
        ours, theirs = socket.socketpair()
        with self.lock, theirs:
            try:
                socket.send_fds(self.control, [NUMBER.pack(0)], [theirs.fileno()])
                (pid,) = NUMBER.unpack(self.control.recv(NUMBER.size))
                if pid > 0:
                    return Forked(self, pid, ours)
            except (OSError, struct.error):
                pass
        ours.close()
        raise OSError("no worker can be forked")

    def wait_for(self, pid: int) -> None:
        """Wait until a process that has been killed is gone."""
        with self.lock, suppress(OSError):
            self.control.send(NUMBER.pack(pid))
            self.control.recv(NUMBER.size)

    def is_alive(self) -> bool:
        """Return whether the process has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the process and its children, and with it its copies."""
        if self.is_alive():
            _kill(self.process.pid)

    def close(self) -> None:
        """Let the process exit, after its copies, and wait for it."""
        self.control.close()
        self.process.wait()


def _open_standard_streams() -> None:
    """Open those that this process was started without, or other files would take their numbers."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)


def _start(call: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that calls a function of this module, with this one's flags and sys.path."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from optimlab import processes; processes.{call}"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    environment = {**ONE_THREAD, **os.environ}
    command = [sys.executable, *flags, "-c", code]
    return subprocess.Popen(command, env=environment, process_group=0, **options)  # noqa: S603


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill) if os.name == "posix" else (os.kill,):
        with suppress(ProcessLookupError):  # a plug-in may have left its group
            kill(pid, signal.SIGKILL)


def _close(*streams: Any) -> None:
    for stream in streams:
        with suppress(OSError):
            stream.close()


def serve_spawned() -> None:
    """Do tasks that come by stdin: the main function of a `Spawned` process."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _close_standard_streams()
    _exit_with_parent()
    serve(tasks, answers)


def serve_copies(descriptor: int, parent: int) -> None:
    """Prepare, and fork workers on request: the main function of a `ForkServer`.

    Parameters
    ----------
    descriptor : of the socket to the parent. A request is 0, with a worker's socket, and its answer the
        worker's number, or −1; or it is the number of a killed worker to wait for.
    parent : its number.
    """
    with os.fdopen(os.dup(0), "rb") as stdin:
        content = stdin.read()
    _close_standard_streams()
    _exit_with_parent()
    if os.getppid() != parent:  # it has ended meanwhile
        return
    with suppress(Exception):  # the tasks will say
        pickle.loads(content)()  # noqa: S301 - from our own parent
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, no process can be waited for
    gc.freeze()  # else collecting garbage would copy the memory that the workers share
    with socket.socket(fileno=descriptor) as control:
        control.set_inheritable(False)
        while True:
            request, channels, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not request:
                break
            (pid,) = NUMBER.unpack(request)
            if pid:
                os.waitpid(pid, 0)
            else:
                with socket.socket(fileno=channels[0]) as channel:
                    channel.set_inheritable(False)  # else a plug-in's own processes keep it open
                    try:
                        pid = _fork()
                    except OSError:  # such as too many processes
                        pid = -1
                    if pid == 0:
                        control.close()
                        _serve_forked(channel)
                        return
            control.send(NUMBER.pack(pid))
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _fork() -> int:
    """Fork a process in a group of its own; return 0 in it, and its number here."""
    with warnings.catch_warnings():  # of BLAS's threads, which end before a fork and start again after
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    with suppress(OSError):  # here and there, since either may be first
        os.setpgid(pid, pid)
    return pid


def _serve_forked(channel: socket.socket) -> None:
    """Do tasks that come by a socket: the main function of a `Forked` process."""
    _exit_with_parent()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # else all copies would draw the same
    serve(channel.makefile("rb"), channel.makefile("wb"))


def _exit_with_parent() -> None:
    """Let this process be killed with its parent, and only so: not by Ctrl-C in the terminal."""
    if sys.platform == "linux":  # even while a loop in C blocks Python's threads
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _close_standard_streams() -> None:
    """Read nothing from stdin, and keep what a plug-in prints out of the answers: print it to stderr."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Do tasks from the parent until its stream ends."""
    received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    idle = threading.Event()
    idle.set()
    threading.Thread(target=_listen, args=[tasks, received, idle], daemon=True).start()

    def tell(content: bytes) -> None:
        try:
            send(answers, content)
        except (OSError, ValueError):  # the parent has gone, or a plug-in has closed the stream
            os._exit(1)

    while (content := received.get()) is not None:
        try:
            work, task = pickle.loads(content)  # noqa: S301
            answer = pickle.dumps(("done", work(task, lambda message: tell(pickle.dumps(message)))))
        except BaseException as error:
            answer = pickle.dumps(("raised", _portable(error)))
        idle.set()
        tell(answer)
    tasks.close()
    answers.close()


def _listen(tasks: IO[bytes], received: queue.SimpleQueue[bytes | None], idle: threading.Event) -> None:
    """Pass on messages from the parent; exit at once if its stream ends while a task is running."""
    with suppress(EOFError, ConnectionError):
        while True:
            content = receive(tasks)
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


def send(stream: IO[bytes], content: bytes) -> None:
    """Send a message."""
    stream.write(NUMBER.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Return the next message.

    Raises
    ------
    EOFError
        If the stream ends before a whole message.
    """
    (length,) = NUMBER.unpack(_exactly(stream, NUMBER.size))
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
