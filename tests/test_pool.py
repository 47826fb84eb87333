"""The pool: every task ends, whatever happens to a worker, and no process outlives its parent."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from pool_tasks import ENDLESS, Odd, die_beside_a_process, draw, kill_parent, prepare, prepared_by, work
from sweeping import wait_for

from optimlab import pool as pool_module
from optimlab import processes
from optimlab.errors import UserError
from optimlab.pool import Pool, in_order, numbered_call, prepared_early

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

HOW = pytest.mark.parametrize(
    "how",
    [None, pytest.param(prepare, marks=pytest.mark.skipif(not processes.CAN_FORK, reason="no fork"))],
)


def run(tasks, jobs=1, follow=lambda task, amount: None, how=None):
    """Return how each task ended, in the order in which they did."""
    todo = iter(tasks)
    with Pool(work, jobs, how) as pool:
        return list(pool.run(lambda: next(todo, None), follow))


def wait_until_gone(pids):
    """Wait until no process has one of these numbers; zombies count as gone."""
    wait_for(lambda: not any(is_there(pid) for pid in pids), "the processes to leave")


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(parent):
    """Return the processes that a process has started, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [parent]
    for each in found:
        found += [pid for pid in parents if parents[pid] == each]
    return found[1:]


@HOW
def test_each_task_ends_in_its_own_way_and_the_next_finds_a_worker(how):
    tasks = [("work", 0), ("die", 3), ("work", 0), ("in time", 0.5), ("print", 0), ("half", 0)]
    followed = []
    events = run(tasks, follow=lambda *told: followed.append(told), how=how)
    assert [event.task for event in events] == tasks
    assert [event.kind for event in events] == ["done", "died", "done", "done", "done", "done"]
    first, _, *others = [event.value for event in events]
    assert len(set(others)) == 1
    assert len({first, others[0], os.getpid()}) == 3
    assert followed == [(tasks[-1], 0.5)]


@LINUX
@HOW
def test_whatever_a_task_does_it_is_killed_when_its_time_is_over(how):
    before = set(children(os.getpid()))
    tasks = [("overdue", place) for place in range(len(ENDLESS))]
    events = run([*tasks, ("work", 0)], jobs=2, how=how)
    assert sorted(event.task for event in events if event.kind == "overdue") == tasks
    assert [event.kind for event in events].count("done") == 1
    wait_until_gone(set(children(os.getpid())) - before)


FORK = pytest.mark.skipif(not processes.CAN_FORK, reason="workers are not forked here")


@FORK
def test_what_was_prepared_early_is_taken_by_the_next_pool_that_prepares():
    with prepared_early(prepare):
        [server] = [each.process.pid for each in pool_module._EARLY]
        assert [event.value for event in run([("call", prepared_by)])] == [None]
        events = run([("call", prepared_by), ("die", 1), ("call", prepared_by)], how=prepare)
        assert [event.value for event in events] == [server, None, server]
        wait_until_gone([server])
        assert run([("call", prepared_by)], how=prepare)[0].value not in (None, server)


@FORK
def test_what_was_prepared_early_and_is_not_taken_ends():
    with prepared_early(prepare):
        [server] = [each.process.pid for each in pool_module._EARLY]
    assert not is_there(server)


@FORK
def test_copies_share_what_was_prepared_but_draw_their_own_numbers():
    events = run(2 * [("call", draw)], jobs=2, how=partial(prepare, "numpy"))
    assert len({event.value for event in events}) == 2


@LINUX
@HOW
def test_a_workers_death_is_noticed_even_if_its_child_lives_on(how):
    start = time.monotonic()
    [event] = run([("call", die_beside_a_process)], how=how)
    assert event.kind == "died"
    assert time.monotonic() - start < 50  # that process takes 60 s


@FORK
def test_a_worker_is_replaced_by_a_copy_where_the_end_of_processes_is_ignored():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as a shell's trap or a service may do
    try:
        events = run([("call", prepared_by), ("die", 1), ("call", prepared_by)], how=prepare)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert events[0].value
    assert events[0].value == events[2].value


@LINUX
@HOW
@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_workers_need_no_standard_streams(tmp_path, closed, how):
    path = [str(Path(__file__).parent), *sys.path]
    call = f"write_events({str(tmp_path / 'events')!r}, {how is not None})"
    code = f"import sys; sys.path[:] = {path!r}; from pool_tasks import write_events; {call}"
    subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], check=False)
    assert (tmp_path / "events").read_text() == f"['done', 'done'] {how is not None}"


@FORK
def test_workers_start_by_themselves_when_the_process_that_they_are_copies_of_dies():
    events = run([("call", kill_parent), ("call", prepared_by), ("work", 0)], how=prepare)
    assert [event.kind for event in events] == ["died", "done", "done"]
    assert events[1].value is None


@FORK
def test_workers_start_all_the_same_where_there_are_no_sockets(monkeypatch):
    def none(*about):
        raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))

    monkeypatch.setattr(processes.socket, "socketpair", none)
    with prepared_early(prepare):
        events = run(2 * [("call", prepared_by)], how=prepare)
    assert [(event.kind, event.value) for event in events] == 2 * [("done", None)]


@FORK
@pytest.mark.parametrize("fault", ["raise", "exit"])
def test_workers_start_all_the_same_if_they_cannot_be_prepared(fault):
    events = run([("call", prepared_by), ("die", 1), ("work", 0)], how=partial(prepare, fault))
    assert [event.kind for event in events] == ["done", "died", "done"]
    assert events[0].value is None


@FORK
def test_nothing_is_waited_for_when_the_pool_ends_before_it_is_prepared():
    before = set(children(os.getpid()))
    error = KeyboardInterrupt()

    def next_task():
        if pool.in_hand:
            raise error
        return "work", 0

    with pytest.raises(KeyboardInterrupt), Pool(work, 1, partial(time.sleep, 600)) as pool:
        list(pool.run(next_task))
    wait_until_gone(set(children(os.getpid())) - before)


ERRORS = {
    "for people": (UserError("no"), UserError, "no"),
    "KeyboardInterrupt": (KeyboardInterrupt("x"), KeyboardInterrupt, "x"),
    "SystemExit": (SystemExit(3), SystemExit, "3"),
    # It cannot be sent, or not be sent back: a library may have taught pickle to do the first alone.
    "odd": (Odd(1, 2), (TypeError, RuntimeError), "argument|Odd: 1, 2"),
}


@HOW
@pytest.mark.parametrize("case", ERRORS)
def test_what_a_task_raises_is_raised_here_and_busy_workers_are_killed(case, how):
    error, kind, text = ERRORS[case]
    before = set(children(os.getpid()))
    with pytest.raises(kind, match=text):
        run([("endless", 1), ("raise", error)], jobs=2, how=how)
    wait_until_gone(set(children(os.getpid())) - before)


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
@HOW
def test_workers_exit_when_their_parent_is_killed(how):
    """Be they idle, asleep with all signals blocked, or in a loop that lets no thread run."""
    path = [str(Path(__file__).parent), *sys.path]
    call = f"be_a_parent({how is not None})"
    code = f"import sys; sys.path[:] = {path!r}; from pool_tasks import be_a_parent; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        begun = sorted(parent.stdout.readline() for _ in range(1 + len(ENDLESS)))
        assert begun == ["endless\n"] * len(ENDLESS) + ["half\n"]
        workers = children(parent.pid)
        assert len(workers) == 1 + len(ENDLESS) + (how is not None)
    finally:
        parent.kill()
        parent.communicate()
    wait_until_gone(workers)


@HOW
def test_a_worker_has_the_flags_of_its_parent(monkeypatch, how):
    monkeypatch.setattr(processes.subprocess, "_args_from_interpreter_flags", lambda: ["-OO"])
    with Pool(numbered_call, 1, how) as pool:
        assert list(in_order([(eval, ("__debug__",), {})], pool)) == [False]


@pytest.mark.parametrize("kind", [threading.Thread, threading.Timer])
def test_a_system_that_allows_no_more_threads_is_named(monkeypatch, kind):
    """The second was a RuntimeError of Python's about joining a thread that had not started."""
    start = threading.Thread.start

    def start_unless(thread):
        if type(thread) is kind:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless)
    with pytest.raises(UserError, match="can't start new thread: the system allows no more"):
        run([("in time", 300)])
