"""The pool: whatever becomes of a worker, each task ends, and no process outlives its parent."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pool_tasks import ENDLESS, Odd, work

from optimlab import pool as module
from optimlab.errors import UserError
from optimlab.pool import Pool, in_order, numbered_call, started_early

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


def run(tasks, jobs=1, follow=lambda task, amount: None):
    """Return how each task ended, in the order in which they did."""
    todo = iter(tasks)
    with Pool(work, jobs) as pool:
        return list(pool.run(lambda: next(todo, None), follow))


def wait_until_gone(pids):
    """Wait until no process has one of these numbers; zombies count as gone."""
    for _ in range(1000):
        if not any(is_there(pid) for pid in pids):
            return
        time.sleep(0.01)
    pytest.fail("processes are left")


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(parent):
    """Return the processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def test_each_task_ends_in_its_own_way_and_the_next_finds_a_worker():
    tasks = [("work", 0), ("die", 3), ("work", 0), ("in time", 0.5), ("print", 0), ("half", 0)]
    followed = []
    events = run(tasks, follow=lambda *told: followed.append(told))
    assert [event.task for event in events] == tasks
    assert [event.kind for event in events] == ["done", "died", "done", "done", "done", "done"]
    first, _, *others = [event.value for event in events]
    assert len(set(others)) == 1
    assert len({first, others[0], os.getpid()}) == 3
    assert followed == [(tasks[-1], 0.5)]


@LINUX
def test_whatever_a_task_does_it_is_killed_when_its_time_is_over():
    before = set(children(os.getpid()))
    tasks = [("overdue", place) for place in range(len(ENDLESS))]
    events = run([*tasks, ("work", 0)], jobs=2)
    assert sorted(event.task for event in events if event.kind == "overdue") == tasks
    assert [event.kind for event in events].count("done") == 1
    wait_until_gone(set(children(os.getpid())) - before)


@LINUX
def test_processes_that_were_started_early_are_taken_and_the_others_end():
    before = set(children(os.getpid()))
    with started_early(2, "pool_tasks"):
        early = set(children(os.getpid())) - before
        assert len(early) == 2
        assert run([("work", 0)])[0].value in early
    wait_until_gone(early)
    assert run([("work", 0)])[0].value not in early


ERRORS = {
    "for people": (UserError("no"), UserError, "no"),
    "KeyboardInterrupt": (KeyboardInterrupt("x"), KeyboardInterrupt, "x"),
    "SystemExit": (SystemExit(3), SystemExit, "3"),
    # It cannot be sent, or not be sent back: a library may have taught pickle to do the first alone.
    "odd": (Odd(1, 2), (TypeError, RuntimeError), "argument|Odd: 1, 2"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_a_task_raises_is_raised_here_and_busy_workers_are_killed(case):
    error, kind, text = ERRORS[case]
    before = set(children(os.getpid()))
    with pytest.raises(kind, match=text):
        run([("endless", 1), ("raise", error)], jobs=2)
    assert set(children(os.getpid())) <= before


def test_an_answer_that_cannot_travel_is_an_error():
    with pytest.raises((AttributeError, RuntimeError, pickle.PicklingError), match="lambda"):
        run([("cannot travel", 0)])


def test_tasks_may_be_added_when_one_has_died():
    todo, kinds = [("work", 0), ("die", 1)], []
    with Pool(work, 1) as pool:
        for event in pool.run(lambda: todo.pop() if todo else None):
            kinds.append(event.kind)
            todo.extend([("work", 0)] * (event.kind == "died"))
    assert kinds == ["died", "done", "done"]


def test_calls_come_back_in_order():
    calls = [(time.sleep, (0.2,), {}), (int, ("7",), {}), (int, ("11",), {"base": 2})]
    assert list(in_order(calls, None)) == [None, 7, 3]
    with Pool(numbered_call, 2) as pool:
        assert list(in_order(calls, pool)) == [None, 7, 3]
        with pytest.raises(UserError, match="a worker process died"):
            list(in_order([(os._exit, (1,), {})], pool))


@LINUX
def test_workers_exit_when_their_parent_is_killed():
    """Be they idle, asleep with all signals blocked, or in a loop that lets no thread run."""
    path = [str(Path(__file__).parent), *sys.path]
    code = f"import sys; sys.path[:] = {path!r}; from pool_tasks import be_a_parent; be_a_parent()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        begun = sorted(parent.stdout.readline() for _ in range(1 + len(ENDLESS)))
        assert begun == ["endless\n"] * len(ENDLESS) + ["half\n"]
        workers = children(parent.pid)
        assert len(workers) == 1 + len(ENDLESS)
    finally:
        parent.kill()
        parent.communicate()
    wait_until_gone(workers)


def test_a_worker_has_the_flags_of_its_parent(monkeypatch):
    monkeypatch.setattr(module.subprocess, "_args_from_interpreter_flags", lambda: ["-OO"])
    with Pool(numbered_call, 1) as pool:
        assert list(in_order([(eval, ("__debug__",), {})], pool)) == [False]
