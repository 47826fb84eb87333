"""A Dask cluster of several worker processes: the same bits as local ones, even if some are killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console
from sweeping import (
    OWN,
    call,
    document,
    load,
    optimlab,
    plugin,
    rows_of,
    run,
    silent,
    tiny,
    wait_for,
    write,
)
from test_faults import LINUX, MARK, finished_parts, processes, tables

from optimlab.errors import UserError
from optimlab.execution.sweep import sweep
from optimlab.pool import Event
from optimlab.progress import Progress
from optimlab.storage.store import Store

pytest.importorskip("distributed")
cluster_of = pytest.importorskip("optimlab.execution.dask")
dask = cluster_of.dask

PACKAGE = str(Path(__file__).parents[1])
SETTINGS_OF_DASK = {"DASK_PARENT": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
LABELS = "".join(f'[optimizers."Own {n}"]\nrule = "own.py:Own"\nnumber = {n}\n' for n in range(4))
TEXT = document(optimizers=LABELS, seeds="tuning = 0\nreporting = 5")
RUNS = 4 * 2 * 5
SETTINGS = {"settings": ", number=0", "top": "import os, time"}
SLOW = plugin(
    **SETTINGS, step="time.sleep(0.1 * (params.shape[1] > 50 and 'DASK_PARENT' in os.environ))"
)


@contextmanager
def cluster(folder, workers=2):
    """Run a scheduler and its workers, processes of their own; give its address."""
    file = folder / "scheduler.json"
    about = {
        "env": {**os.environ, "PYTHONPATH": PACKAGE, MARK: str(folder), **SETTINGS_OF_DASK},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    commands = [
        ["distributed.cli.dask_scheduler", *common, "--host", "127.0.0.1", "--port", "0"],
        ["distributed.cli.dask_worker", *common, "--nworkers", str(workers), "--nthreads", "1"],
    ]
    commands[1] += ["--local-directory", str(folder / "dask")]
    started = [subprocess.Popen([sys.executable, "-m", *words], **about) for words in commands]
    try:
        wait_for(lambda: len(busy(folder)) >= workers, "the workers")
        yield json.loads(file.read_text())["address"]
    finally:
        while processes(folder):  # the parents first: they would start others
            for pid in sorted(processes(folder)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in started:
            process.wait()


def busy(folder):
    """Return the processes of the workers: those that the nannies have spawned."""
    return [pid for pid, line in processes(folder).items() if "spawn_main" in line]


@LINUX
@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_though_a_worker_is_killed(tmp_path):
    whole = tiny(tmp_path / "whole", TEXT, own=SLOW)
    assert run(whole, tmp_path / "whole").statuses == {"ok": RUNS}
    file, results = write(tmp_path, TEXT, own=SLOW), tmp_path / "results"
    with cluster(tmp_path) as address:
        words = ["sweep", file, "--backend", "dask", "--scheduler", address, "--results", results]
        process = subprocess.Popen(
            [sys.executable, "-m", "optimlab", *map(str, words)],
            env={**os.environ, "PYTHONPATH": PACKAGE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seen in (1, 3):
            wait_for(lambda n=seen: process.poll() or len(finished_parts(results)) >= n, "a part")
            os.kill(busy(tmp_path)[0], signal.SIGKILL)
            time.sleep(0.3)
        is_over = process.poll() is not None
        out, err = process.communicate(timeout=300)
        assert not is_over, f"the sweep was over before it was disturbed: {out}{err}"
        assert process.returncode == 0, out + err
        assert f"in total {RUNS} ok." in out
        assert tables(results) == tables(tmp_path / "whole")

        # A run that kills every worker that tries it fails, and no other.
        fatal = plugin(
            **SETTINGS, init="if params.shape[1] > 50 and np.any(self.learning_rate > 0.2): os._exit(9)"
        )
        text = document(optimizers=OWN, seeds="tuning = 0\nreporting = 1")
        words[1] = write(tmp_path / "deadly", text, name="deadly", own=fatal)
        done = optimlab(*words, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        healthy, deadly = rows_of(results, "deadly")
        assert (healthy["learning_rate"], healthy["status"]) == ("0.1", "ok")
        assert (deadly["learning_rate"], deadly["status"]) == ("0.3", "failed")
        assert deadly["reason"].startswith("its worker process died")

        # Without workers, and then without a scheduler, a sweep ends with a message; another goes on.
        experiment, results = load(file), tmp_path / "later"
        with dask(address) as workers:
            progress = Killing(workers, tmp_path, "dask_worker", "spawn_main")
            with pytest.raises(UserError, match="has no workers; what had finished is kept"):
                sweep(experiment, results, None, progress, workers=workers)
        kept = len(Store(results / "tiny").finished())
        assert 0 < kept < RUNS
        with dask(address) as workers:
            kill(tmp_path, "dask_scheduler")
            with pytest.raises(UserError, match="no longer answers; what had finished is kept"):
                sweep(experiment, results, None, silent(), workers=workers)
    assert run(experiment, results).kept == kept
    assert tables(results) == tables(tmp_path / "whole")


class Killing(Progress):
    """Kills processes of a cluster as soon as a run has finished; no others are waited for long."""

    def __init__(self, workers, *whose):
        super().__init__(Console(file=io.StringIO()))
        self.workers, self.whose = workers, whose

    def advance(self, runs):
        super().advance(runs)
        self.workers.patience = 0.5
        kill(*self.whose)


def kill(folder, *kinds):
    """Kill all processes of these kinds: the first first, which would start others."""
    for kind in kinds:
        for pid, line in processes(folder).items():
            if kind in line:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Lossy:
    """A client and its one result, which is lost with its worker when fetched, then made again."""

    def __init__(self):
        self.statuses, self.fetched = iter(["pending", "finished", "lost", "pending"]), 0

    @property
    def status(self):
        return next(self.statuses, "finished")

    def scheduler_info(self):
        return {"workers": {"one": {}}}

    def submit(self, *_, pure):
        return self

    def add_done_callback(self, call):
        call(self)

    def result(self, timeout):
        self.fetched += 1
        if self.fetched == 1:
            raise TimeoutError
        return "trained"

    def cancel(self, submitted):
        assert submitted == []


def test_a_result_that_is_lost_with_its_worker_is_waited_for_again(monkeypatch):
    """Its status, which is none of an end, was taken for a lost connection."""
    monkeypatch.setattr("optimlab.execution.dask.SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(cluster_of.Dask, "_has_workers", lambda self: True)
    client, stacks = Lossy(), iter(["stack"])
    workers = cluster_of.Dask(client, "tcp://one:1")
    events = list(workers.run(lambda: next(stacks, None), 1, lambda *_: None))
    assert events == [Event("stack", "done", "trained")]
    assert client.fetched == 2


DASK_AT = ("--backend", "dask", "--scheduler")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend", "dask"), "--scheduler ADDRESS must be given together"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--backend dask and --scheduler ADDRESS must be given"),
        ((*DASK_AT, "tcp://127.0.0.1:1", "--jobs", 2), "are for local workers"),
        (("--backend", "joblib", "--jobs", 1), "joblib's workers must be two or more"),
        (("--backend", "joblib", "--time-limit", 1), "is for local workers, not for --backend joblib"),
        (("--backend", "ray"), "'ray' is not one of"),
    ],
)
def test_a_mistake_gives_2(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "experiments")
    done = call("sweep", "tiny", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("address", ["nonsense://x", "tcp://"])
def test_a_wrong_address_is_reported(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "experiments")
    done = call("sweep", "tiny", *DASK_AT, address)
    assert done.exit_code == 2
    assert f"no Dask scheduler answers at {address}: " in done.stderr


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "experiments")
    monkeypatch.delitem(sys.modules, "optimlab.execution.dask", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = call("sweep", "tiny", *DASK_AT, "tcp://x:1")
    assert done.exit_code == 2
    assert "--backend dask needs an extra: pip install 'optimlab[dask]'" in done.stderr
