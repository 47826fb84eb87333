"""`plots` and `prune`, killed at random moments: nothing is lost, half-written or changed outside.

`OPTIMLAB_KILLS=25 pytest tests/test_kills.py` kills more often than the suite has time for.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeping import document, run, tiny
from test_faults import LINUX, MARK, processes, wait_for
from test_files import snapshot
from test_store import finished

from optimlab.store import Store

KILLS = int(os.environ.get("OPTIMLAB_KILLS", "1"))
# Small pictures, and workers for few rows.
COMMAND = """
from optimlab import plots
from optimlab.__main__ import main
from optimlab.report import page
plots.DOTS_AN_INCH = 20
page.ROWS_WORTH_A_WORKER = 1
main()
"""


def start(results, *words):
    """Start a command in a session of its own; processes that it leaves behind carry a mark."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, words), "--results", str(results)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), MARK: str(results)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed(results, words, begins, rng):
    """Start a command and kill it at a random moment, every other time soon after it `begins`.

    Return whether it was killed before it ended by itself.
    """
    process = start(results, *words)
    if rng.random() < 0.5 or KILLS == 1:
        wait_for(lambda: begins() or process.poll() is not None, "it to begin", 300)
        time.sleep(rng.uniform(0, 0.2))
    else:
        time.sleep(rng.uniform(0, 4))
    is_running = process.poll() is None
    process.kill()
    process.wait(60)
    wait_for(lambda: not processes(results), "its workers to leave", 30)
    return is_running


def contents(folder):
    """Return the files and their contents, without what only a killed writer leaves."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def link_from_outside(results, outside):
    """Give files of the results second names outside, through which a change would show."""
    outside.mkdir()
    (outside / "thesis.txt").write_text("a stranger's thesis")
    for number, path in enumerate(sorted(results.rglob("*.*"))):
        if path.is_file() and path.suffix != ".lock":
            (outside / f"{number}").hardlink_to(path)
    return {path: path.read_bytes() for path in outside.iterdir()}


@LINUX
@pytest.mark.slow
def test_killed_prunes_lose_nothing_and_leave_nothing(tmp_path):
    experiment = tiny(tmp_path, document(seeds="tuning = 1\nreporting = 3"))
    results, rng = tmp_path / "results", random.Random(4)
    run(experiment, results)
    used = contents(results)
    [stale] = finished_parts(tmp_path)
    outside = link_from_outside(results, tmp_path / "outside")
    kills = 0
    while kills < KILLS:
        (results / "tiny/parts/damaged/deep").mkdir(parents=True)
        for number in range(3000):
            (results / f"tiny/parts/stale-{number:05}.parquet").hardlink_to(stale)
            (results / f"tiny/parts/damaged/deep/{number}").touch()

        def begins():
            return not (results / "tiny/parts/stale-00000.parquet").exists()

        kills += killed(results, ["prune", experiment.file], begins, rng)
        found = contents(results)
        assert used.items() <= found.items()
        assert all(name.startswith("tiny/parts/") for name in found.keys() - used.keys())
        for path in (results / "tiny/parts").glob("stale-*.parquet"):
            path.unlink()
        shutil.rmtree(results / "tiny/parts/damaged", ignore_errors=True)
    (results / "tiny/parts/stale-00000.parquet").hardlink_to(stale)
    assert start(results, "prune", experiment.file).wait(300) == 0
    assert contents(results) == used
    assert {path: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == outside
    assert snapshot(tmp_path / "other/results/tiny/parts")


def finished_parts(folder):
    """Return a part of other runs, outside."""
    other = tiny(folder / "other", document(training="epochs = 2"))
    store = Store(folder / "other/results/tiny")
    store.write_part(finished(list(other.runs())))
    return list(store.parts.iterdir())
