"""The sweep: the same tables however it is divided, interrupted, resumed or extended."""

import io
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256

import pandas as pd
import pytest
from rich.console import Console
from sweeping import (
    OWN,
    command,
    document,
    load,
    mostly_slow,
    optimlab,
    plugin,
    run,
    silent,
    tiny,
    wait_for,
    write,
)

import optimlab.execution.sweep as sweep_module
from optimlab.errors import UserError
from optimlab.execution.sweep import stacks
from optimlab.execution.workers import local_workers
from optimlab.progress import Progress

OPTIMIZERS = "[optimizers.SGD]\n[optimizers.Adam]\nlearning_rates = [0.01, 0.1, 1]\n"
TEXT = document(seeds="tuning = 2\nreporting = 3", optimizers=OPTIMIZERS)
RUNS = (2 + 3) * 5


def tables(results, name="tiny"):
    """Return the bytes of runs.csv and of the traces."""
    return [(results / name / table).read_bytes() for table in ("runs.csv", "traces.parquet")]


def traces_of(results):
    return pd.read_parquet(results / "tiny/traces.parquet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tables of one sweep without a break."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = run(tiny(folder, TEXT), folder / "results")
    assert (outcome.ran, outcome.kept, sum(outcome.statuses.values())) == (RUNS, 0, RUNS)
    assert outcome.seconds > 0
    return tables(folder / "results")


def test_neither_the_command_nor_a_worker_waits_for_pandas():
    """Its import would be a third of the time to the first training."""
    modules = "optimlab.commands.sweep, optimlab.execution.sweep, optimlab.execution.work"
    code = f"import sys, {modules}; print({{'pandas', 'scipy', 'sklearn'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("stack_bytes", "largest"), mostly_slow([(10**9, 3), (1, 64), (10**9, 64), (10**9, 1000)])
)
def test_the_size_of_stacks_changes_nothing(tmp_path, monkeypatch, whole, stack_bytes, largest):
    monkeypatch.setattr(sweep_module, "STACK_BYTES", stack_bytes)
    monkeypatch.setattr(sweep_module, "LARGEST_STACK", largest)
    run(tiny(tmp_path, TEXT), tmp_path / "results")
    assert tables(tmp_path / "results") == whole


@pytest.mark.slow
def test_two_workers_change_nothing(tmp_path, whole):
    file = write(tmp_path, TEXT)
    done = optimlab("sweep", file, "--jobs", 2, "--results", tmp_path / "results", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{RUNS} of {RUNS} runs" in done.stdout
    assert tables(tmp_path / "results") == whole


def test_a_second_sweep_runs_nothing_and_makes_lost_tables_again(tmp_path, whole):
    experiment = tiny(tmp_path, TEXT)
    run(experiment, tmp_path / "results")
    for name in ("runs.csv", "traces.parquet", "experiment.json"):
        (tmp_path / "results/tiny" / name).unlink()
    again = run(experiment, tmp_path / "results")
    assert (again.ran, again.kept, sum(again.statuses.values())) == (0, RUNS, RUNS)
    assert tables(tmp_path / "results") == whole


SMALLER = {
    "seeds": (TEXT.replace("tuning = 2", "tuning = 1").replace("reporting = 3", "reporting = 1"), 5 * 2),
    "learning rates": (TEXT.replace("[0.01, 0.1, 1]", "[0.1]"), 5 * 3),
    "optimizers": (TEXT.replace("[optimizers.SGD]\n", ""), 5 * 3),
}


@pytest.mark.parametrize("what", SMALLER)
def test_what_is_added_runs_alone(tmp_path, whole, what):
    text, runs = SMALLER[what]
    first = run(tiny(tmp_path, text), tmp_path / "results")
    assert (first.ran, first.kept) == (runs, 0)
    second = run(tiny(tmp_path, TEXT), tmp_path / "results")
    assert (second.ran, second.kept) == (RUNS - runs, runs)
    assert tables(tmp_path / "results") == whole


@pytest.mark.slow
def test_what_is_taken_away_leaves_the_tables_and_comes_back_for_nothing(tmp_path, whole):
    run(tiny(tmp_path, TEXT), tmp_path / "results")
    fewer = run(tiny(tmp_path, SMALLER["seeds"][0]), tmp_path / "results")
    assert (fewer.ran, fewer.kept, sum(fewer.statuses.values())) == (0, 10, 10)
    assert len(tables(tmp_path / "results")[0].splitlines()) == 1 + 10
    assert run(tiny(tmp_path, TEXT), tmp_path / "results").ran == 0
    assert tables(tmp_path / "results") == whole


class Interrupting(Progress):
    """Raises Ctrl-C after some runs."""

    def __init__(self, after):
        super().__init__(Console(file=io.StringIO()))
        self.after = after

    def advance(self, runs):
        super().advance(runs)
        if self.done >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 12, RUNS])
def test_after_an_interruption_the_rest_runs(tmp_path, whole, after):
    experiment = tiny(tmp_path, TEXT)
    with pytest.raises(KeyboardInterrupt):
        sweep_module.sweep(experiment, tmp_path / "results", 1, Interrupting(after))
    done = len(tables(tmp_path / "results")[0].splitlines()) - 1
    assert after <= done <= RUNS
    rest = run(experiment, tmp_path / "results")
    assert (rest.ran, rest.kept) == (RUNS - done, done)
    assert tables(tmp_path / "results") == whole


def test_stacks_are_of_one_optimizer_each_and_hold_every_run_once(tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.execution.workers.effective_n_jobs", lambda jobs: 4)
    experiment = tiny(tmp_path, TEXT)
    runs = list(experiment.runs())
    for jobs in (1, 2, 7, 100):
        made = list(stacks(experiment, runs, local_workers(experiment, jobs).cores))
        assert [i for s in made for i in s.run_ids] == [r.run_id for r in runs]
        assert [x for s in made for x in s.learning_rates] == [r.learning_rate for r in runs]
        assert [x for s in made for x in s.seeds] == [r.seed for r in runs]
        assert max(len(s.run_ids) for s in made) == -(-RUNS // (4 * min(jobs, 4)))
        by_id = {r.run_id: r for r in runs}
        assert all(len({by_id[i].optimizer for i in s.run_ids}) == 1 for s in made)
        assert [s.rule for s in made] == [by_id[s.run_ids[0]].optimizer for s in made]


def test_runs_that_fail_do_not_stop_the_others_and_are_tried_again(tmp_path):
    text = document(optimizers=OWN + "[optimizers.SGD]\nmomentum = 0\n")
    source = plugin(init="if np.any(self.learning_rate > 0.2): raise ValueError('too large')")
    experiment = tiny(tmp_path, text, own=source)
    outcome = run(experiment, tmp_path / "results")
    assert (outcome.ran, outcome.statuses) == (12, {"ok": 9, "failed": 3})
    rows = pd.read_csv(tmp_path / "results/tiny/runs.csv")
    failed = rows[rows["status"] == "failed"]
    assert set(failed["learning_rate"]) == {0.3}
    assert set(failed["optimizer"]) == {"Own"}
    assert set(failed["reason"]) == {"own.py, line 9, Own.init: ValueError: too large"}
    assert failed["final_train_loss"].isna().all()
    traces = traces_of(tmp_path / "results")
    assert set(traces["run_id"]) == set(rows["run_id"]) - set(failed["run_id"])
    healthy = tiny(tmp_path / "healthy", text, own=plugin())
    run(healthy, tmp_path / "healthy")
    values = pd.read_csv(tmp_path / "healthy/tiny/runs.csv")
    ok = rows["status"] == "ok"
    pd.testing.assert_frame_equal(
        rows[ok].drop(columns=["run_id", "reason"]),
        values[ok].drop(columns=["run_id", "reason"]),
        check_exact=True,
    )
    again = run(experiment, tmp_path / "results")
    assert (again.ran, again.kept, again.statuses) == (3, 9, {"ok": 9, "failed": 3})


@pytest.mark.slow
def test_a_plugin_that_changes_during_the_sweep_stops_it(tmp_path):
    """What the new code computes must not pass for runs of the old."""
    experiment = tiny(tmp_path, document(optimizers="[optimizers.SGD]\n" + OWN), own=plugin())

    class Editing(Progress):
        def advance(self, runs):
            super().advance(runs)
            (tmp_path / "own.py").write_text(plugin(step="params -= 1"))

    with pytest.raises(UserError, match="changed while the sweep ran"):
        sweep_module.sweep(experiment, tmp_path / "results", 1, Editing(Console(file=io.StringIO())))
    assert set(pd.read_csv(tmp_path / "results/tiny/runs.csv")["optimizer"]) == {"SGD"}
    outcome = run(load(experiment.file), tmp_path / "results")
    assert (outcome.ran, outcome.kept + outcome.ran) == (12 - outcome.kept, 12)
    assert outcome.kept >= 1


def test_a_disk_that_is_full_stops_the_sweep_and_what_was_written_stays(tmp_path, monkeypatch, whole):
    experiment = tiny(tmp_path, TEXT)
    write_part, written = sweep_module.Store.write_part, []

    def until_full(self, stack):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.extend([1] if write_part(self, stack) is None else [])

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module.Store, "write_part", until_full)
        with pytest.raises(OSError, match="No space left"):
            run(experiment, tmp_path / "results")
    rest = run(experiment, tmp_path / "results")
    assert rest.kept > 0
    assert rest.ran == RUNS - rest.kept
    assert tables(tmp_path / "results") == whole


def test_the_manifest_records_what_was_run(tmp_path):
    experiment = tiny(tmp_path, TEXT)
    run(experiment, tmp_path / "results")
    told = json.loads((tmp_path / "results/tiny/experiment.json").read_text())
    assert told["name"] == "tiny"
    assert told["problem"]["name"] == "digits"
    assert told["problem"]["batch_size"] == 600
    assert (told["steps"], told["steps_per_epoch"], told["runs_expected"]) == (2, 2, RUNS)
    assert told["optimizers"]["Adam"]["hyperparameters"]["beta1"] == 0.9
    assert told["seeds"] == {"tuning": [0, 1], "reporting": [1000, 1001, 1002]}
    assert told["last_sweep"]["runs"] == RUNS
    assert told["last_sweep"]["seconds"] == round(told["last_sweep"]["seconds"], 1) >= 0
    assert told["toml"] == TEXT
    assert told["toml_sha256"] == sha256(TEXT.encode()).hexdigest()
    assert told["code"] == {f"digits, {rule}": code for (_, rule), code in experiment.codes.items()}
    assert "670" in told["network"]
    assert told["environment"]["optimlab"]


@pytest.fixture
def heard():
    """Ctrl-C is heard by new processes, even if the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Long enough to be interrupted: of eight stacks or more, each takes half a second.
SLOW = plugin(top="import time", step="if params.shape[1] > 50: time.sleep(0.25)")
SLOW_TEXT = document(seeds="tuning = 0\nreporting = 12", optimizers=OWN)


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "number"), [(2, signal.SIGINT), (1, signal.SIGTERM)], ids=str)
@pytest.mark.usefixtures("heard")
def test_ctrl_c_ends_with_130_and_a_hint_and_the_same_command_resumes(tmp_path, jobs, number):
    file = write(tmp_path, SLOW_TEXT, own=SLOW)
    results = tmp_path / "results"
    words = command("sweep", file, "--jobs", jobs, "--results", results)
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        parts = results / "tiny/parts"
        wait_for(lambda: process.poll() is not None or any(parts.glob("*.parquet")), "a part")
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Interrupted. The finished runs are in" in out
    assert "Traceback" not in out + err
    assert [path.name for path in results.rglob(".*")] == [".lock"]
    done = len(tables(results)[0].splitlines()) - 1
    assert 0 < done < 24
    rest = run(load(file), results)
    assert (rest.ran, rest.kept) == (24 - done, done)


def test_silence(tmp_path, capsys):
    sweep_module.sweep(tiny(tmp_path), tmp_path / "results", 1, silent())
    assert capsys.readouterr() == ("", "")
