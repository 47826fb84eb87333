"""What `plots` and `prune` write and delete, killed at random moments: nothing is lost or half-written.

`OPTIMLAB_KILLS=25 pytest tests/test_kills.py` kills more often than the suite has time for.
The counts of the real commands, killed as often, are in docs/reliability.md.
"""

import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
from kill_tasks import PICTURES, draw_without_end, prune, report
from sweeping import document, run, tiny
from test_faults import LINUX, wait_for
from test_pool import children, wait_until_gone
from test_store import finished

from optimlab.processes import CAN_FORK
from optimlab.storage.store import Store

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("OPTIMLAB_KILLS", "3"))
CONTEXT = multiprocessing.get_context("forkserver")  # the libraries are imported once, not for each kill
CONTEXT.set_forkserver_preload(
    ["optimlab.report.page", "optimlab.experiment.load", "optimlab.storage.store"]
)


def killed(target, arguments, begins, rng):
    """Start a process and kill it, mostly just after it `begins`; return whether it still ran."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    if rng.random() < 0.8:
        wait_for(lambda: begins() or not process.is_alive(), "it to begin")
    time.sleep(rng.uniform(0, 0.1))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def undisturbed(target, *arguments):
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def contents(folder):
    """Return the files and their contents, without what only a killed writer leaves."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def outside(tmp_path):
    """A function that gives files second names outside, through which a change would show."""
    folder, before = tmp_path / "outside", {}
    folder.mkdir()

    def link(results):
        for number, path in enumerate(sorted(results.rglob("*.*"))):
            if path.is_file():
                (folder / f"{number}").hardlink_to(path)
                before[folder / f"{number}"] = path.read_bytes()

    yield link
    assert before
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_killed_plots_lose_nothing_and_leave_nothing(tmp_path, outside):
    results, rng = tmp_path / "results", random.Random(3)
    run(tiny(tmp_path, document(seeds="tuning = 1\nreporting = 6")), results)
    tables = contents(results)
    shutil.copytree(results, tmp_path / "undisturbed")
    undisturbed(report, tmp_path / "undisturbed")
    whole = contents(tmp_path / "undisturbed")
    assert len(whole) == len(tables) + 2 + len(PICTURES) + 1
    outside(results)
    (results / "tiny/figures").mkdir()
    kills = 0
    while kills < KILLS:
        for path in (results / "tiny/figures").iterdir():
            path.unlink()
        kills += killed(report, [results], lambda: any((results / "tiny/figures").iterdir()), rng)
        found = contents(results)
        assert tables.items() <= found.items()
        assert found.items() <= whole.items()  # each file is whole, or not there yet
    undisturbed(report, results)
    assert contents(results) == whole
    assert not list(results.rglob("*.tmp"))


@LINUX
def test_the_workers_of_plots_leave_when_it_is_killed_at_its_figures(tmp_path, outside):
    results = tmp_path / "results"
    run(tiny(tmp_path), results)
    outside(results)
    before = contents(results)
    process = CONTEXT.Process(target=draw_without_end, args=[results])
    process.start()
    wait_for(lambda: len(children(process.pid)) == 2 + CAN_FORK, "the workers")
    workers = children(process.pid)
    process.kill()
    process.join()
    wait_until_gone(workers)
    assert contents(results) == before
    undisturbed(report, results)
    assert before.items() <= contents(results).items()


def test_killed_prunes_lose_nothing_and_leave_nothing(tmp_path, outside):
    experiment = tiny(tmp_path, document(seeds="tuning = 1\nreporting = 3"))
    results, rng = tmp_path / "results", random.Random(4)
    run(experiment, results)
    used, parts = contents(results), results / "tiny/parts"
    other = Store(tmp_path / "other/tiny")
    other.write_part(finished(list(tiny(tmp_path / "other", document(training="epochs = 2")).runs())))
    [stale] = other.parts.iterdir()
    outside(results)
    kills = 0
    while kills < KILLS:
        (parts / "damaged/deep").mkdir(parents=True)
        for number in range(500):
            (parts / f"stale-{number:05}.parquet").hardlink_to(stale)
            (parts / f"damaged/deep/{number}").touch()
        kills += killed(
            prune,
            [results, experiment.file],
            lambda: not (parts / "stale-00000.parquet").exists(),
            rng,
        )
        found = contents(results)
        assert used.items() <= found.items()
        assert all(name.startswith("tiny/parts/") for name in found.keys() - used.keys())
        undisturbed(prune, results, experiment.file)
        assert contents(results) == used
    assert stale.exists()
