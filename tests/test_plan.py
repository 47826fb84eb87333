"""The plan: a dry run predicts what the sweep does, and writes nothing."""

import re
from contextlib import nullcontext

import pytest
from sweeping import call, document, mostly_slow, plugin, run, tiny
from test_cli import text_of

from optimlab.execution import plan as module
from optimlab.execution.plan import plan
from optimlab.formatting import duration

TEXT = document(
    optimizers="[optimizers.SGD]\n[optimizers.Adam]\nlearning_rates = [0.01]", training="epochs = 30"
)


def test_it_counts_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.execution.workers.effective_n_jobs", lambda jobs: 4)
    monkeypatch.setattr(module, "Pool", lambda work, jobs: nullcontext())  # timed in this process
    text = TEXT.replace("epochs = 30", "epochs = 1")
    experiment = tiny(tmp_path, text)
    todo = plan(experiment, tmp_path / "results", 3)
    assert (todo.missing, todo.kept, todo.jobs) == (9, 0, 3)
    assert todo.stacks == 9  # at least four for each worker, if there are as many runs
    assert todo.seconds > 0
    assert not (tmp_path / "results").exists()
    run(tiny(tmp_path, text.replace("reporting = 2", "reporting = 1")), tmp_path / "results")
    rest = plan(experiment, tmp_path / "results", 3)
    assert (rest.missing, rest.kept) == (3, 6)
    run(experiment, tmp_path / "results")
    done = plan(experiment, tmp_path / "results", 3)
    assert (done.missing, done.kept, done.stacks, done.seconds) == (0, 9, 0, 0)
    assert plan(experiment, tmp_path / "results", 3, fresh=True).missing == 9


@pytest.mark.parametrize("text", mostly_slow([document(seeds="tuning = 0\nreporting = 50"), TEXT]))
def test_the_disk_space_it_predicts_is_enough_and_not_far_too_much(tmp_path, text):
    experiment = tiny(tmp_path, text)
    told = plan(experiment, tmp_path / "results", 1).bytes
    run(experiment, tmp_path / "results")
    used = sum(path.stat().st_size for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert used < told < 6 * used


def test_time_is_measured_by_optimizer(tmp_path, monkeypatch):
    """Twice the steps take twice as long, and a slow optimizer is slow."""
    clock = [0.0]

    def train_stack(stack, failures):
        clock[0] += stack.record_at[-1] * (0.5 if stack.rule == "Adam" else 0.1)

    monkeypatch.setattr(module, "train_stack", train_stack)
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr("optimlab.execution.workers.effective_n_jobs", lambda jobs: 2)
    monkeypatch.setattr(module, "Pool", lambda work, jobs: nullcontext())  # a clock of this process
    experiment = tiny(tmp_path, TEXT)
    for jobs, workers in ((1, 1), (2, 2), (50, 2)):
        stacks = {"SGD": 3, "Adam": 1.5} if jobs > 1 else {"SGD": 2, "Adam": 1}
        expected = 60 * (0.1 * stacks["SGD"] + 0.5 * stacks["Adam"]) / workers
        assert plan(experiment, tmp_path, jobs).seconds == pytest.approx(expected)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text_of(tmp_path, document(), own=plugin())
    done = call("sweep", "tiny", "--dry-run", "--jobs", 1)
    assert done.exit_code == 0
    assert re.match(r"Tiny\n6 runs to do, in 3 stacks\nabout \d+\.\d s on 1 worker", done.output)
    assert done.output.endswith("kB of disk space\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.36, "0.4 s"),
        (119, "119 s"),
        (150, "2.5 min"),
        (600, "10 min"),
        (7200, "2.0 h"),
        (36000, "10 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
