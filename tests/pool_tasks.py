"""What the workers of tests/test_pool.py do: they import this module alone."""

import os
import re
import signal
import time
from pathlib import Path

from optimlab.pool import Clock, Pool, Progress


def loop_in_c():
    """Let no other thread of Python run."""
    re.match("(a+)+b", "a" * 40)


def deaf():
    """Hear no signal and no exception."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


def in_another_group():
    """Leave the group of processes that the parent made."""
    os.setpgid(0, os.getpgid(os.getppid()))
    time.sleep(60)


PREPARED = []  # the process that has called `prepare`


def prepare(fault=""):
    """Note which process prepares, unless there is a fault."""
    if fault == "raise":
        raise ValueError
    if fault == "exit":
        os._exit(1)
    if fault == "numpy":
        __import__("numpy").random.seed(1)
    PREPARED.append(os.getpid())


def prepared_by():
    """Return the process that has called `prepare`; None if none has."""
    return PREPARED[0] if PREPARED else None


def die_beside_a_process():
    """Start a process that would keep the worker's files open, and die."""
    os.system("sleep 60 &")
    os._exit(1)


def kill_parent():
    """Kill the process that this one is a copy of."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def draw():
    """Return a random number."""
    return __import__("numpy").random.rand()


ENDLESS = (loop_in_c, deaf, in_another_group)


def work(task, tell):
    """Do what a task says, and return this process."""
    kind, value = task
    if kind == "in time":
        tell(Clock(value))
        tell(Clock(None))
        time.sleep(2 * value)
    elif kind == "half":
        tell(Progress(0.5))
    elif kind == "cannot travel":
        return lambda: None
    elif kind == "raise":
        raise value
    elif kind == "overdue":
        tell(Clock(0.1))
        ENDLESS[value]()
    elif kind == "endless":
        tell(Progress(0))
        ENDLESS[value]()
    elif kind == "print":
        print("no answer", flush=True)
    elif kind == "call":
        return value()
    elif kind == "die":
        os._exit(value)
    return os.getpid()


class Odd(BaseException):
    """An exception that few expect, and that cannot be unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first}, {second}")


def be_a_parent(is_prepared):
    """Have an idle worker, and one for each endless task; say when each has begun."""
    tasks = iter([("half", 0), *(("endless", place) for place in range(len(ENDLESS)))])

    def follow(task, amount):
        print(task[0], flush=True)

    with Pool(work, 1 + len(ENDLESS), prepare if is_prepared else None) as pool:
        for _ in pool.run(lambda: next(tasks, None), follow):
            pass


def write_events(file, is_prepared):
    """Write how tasks ended, and whether their worker was prepared, by a process without streams."""
    tasks = iter([("print", 0), ("call", prepared_by)])
    with Pool(work, 1, prepare if is_prepared else None) as pool:
        events = list(pool.run(lambda: next(tasks, None)))
    kinds = [event.kind for event in events]
    Path(file).write_text(f"{kinds} {bool(events[1].value)}", encoding="utf-8")
