"""Stacks take a bounded time: a slow one is divided, and its runs keep their bits."""

import itertools
from dataclasses import replace

import pytest
from joblib import parallel_config, register_parallel_backend
from joblib._parallel_backends import ThreadingBackend
from joblib.externals.loky import get_reusable_executor
from sweeping import OWN, call, document, plugin, run, tiny, write

from optimlab.execution import work, workers
from optimlab.execution.stack import LONGEST
from optimlab.execution.sweep import stacks
from optimlab.storage.store import Store

TABLES = ("runs.csv", "traces.parquet")
TEXT = document(training="epochs = 20\n", seeds="tuning = 1\nreporting = 5\n")  # 40 steps per run


class Clock:
    """A clock that is so many seconds further each time it is looked at."""

    def __init__(self, seconds):
        self.ticks = itertools.count(0, seconds)

    def monotonic(self):
        return next(self.ticks)


def swept(folder, **options):
    """Sweep, and return the tables' bytes and how many runs each part has."""
    experiment = tiny(folder, TEXT)
    assert run(experiment, folder, **options).statuses == {"ok": 12}
    store = Store(folder / "tiny")
    names = [path for path in store.parts.iterdir() if path.suffix == ".parquet"]
    places = list(store.finished().values())
    return [(folder / "tiny" / name).read_bytes() for name in TABLES], sorted(map(places.count, names))


@pytest.mark.slow
def test_a_stack_that_would_take_too_long_is_cut_and_its_runs_keep_their_bits(tmp_path, monkeypatch):
    whole, sizes = swept(tmp_path / "whole")
    assert max(sizes) > 1
    seconds = 2 * LONGEST / 40  # a look, one a step: a stack seems to take twice as long as it may
    monkeypatch.setattr(work, "time", Clock(max(seconds, work.SECONDS_TO_MEASURE)))
    cut, smaller = swept(tmp_path / "cut")
    assert cut == whole
    assert sum(smaller) == sum(sizes)
    assert max(smaller) < max(sizes)


def test_joblibs_workers_give_the_same_bits_in_any_backend(tmp_path, monkeypatch):
    """Stacks that are cut as well: what is left of them comes in another round."""
    whole, sizes = swept(tmp_path / "whole")
    monkeypatch.setattr(work, "time", Clock(max(2 * LONGEST / 40, work.SECONDS_TO_MEASURE)))
    with parallel_config(backend="threading", n_jobs=2):
        cut, smaller = swept(tmp_path / "cut", workers=workers.Joblib())
    assert cut == whole
    assert max(smaller) < max(sizes)


class AllTogether(ThreadingBackend):
    """A backend without generators, as Ray's is."""

    supports_return_generator = False


@pytest.mark.slow
def test_a_backend_that_gives_results_all_together_works_in_rounds(tmp_path, monkeypatch):
    whole, _ = swept(tmp_path / "whole")
    register_parallel_backend("all together", AllTogether)
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 1)  # twelve stacks: two rounds
    with parallel_config(backend="all together", n_jobs=2):
        rounds, _ = swept(tmp_path / "rounds", workers=workers.Joblib())
    assert rounds == whole


@pytest.mark.slow
def test_the_command_sweeps_with_joblib_and_a_worker_that_dies_is_a_message(tmp_path):
    whole, _ = swept(tmp_path / "whole")
    words = ["--backend", "joblib", "--jobs", "2", "--results"]
    done = call("sweep", tmp_path / "whole/tiny.toml", *words, tmp_path / "loky")
    assert (done.exit_code, "in total 12 ok." in done.output) == (0, True), done.output
    assert [(tmp_path / "loky/tiny" / name).read_bytes() for name in TABLES] == whole
    fatal = plugin(top="import os", init="if params.shape[1] > 50: os._exit(9)")
    file = write(tmp_path / "deadly", document(optimizers="[optimizers.SGD]\n" + OWN), own=fatal)
    done = call("sweep", file, *words, tmp_path / "deadly")
    get_reusable_executor().shutdown(wait=True)
    assert (done.exit_code, "a worker process of joblib's died" in done.stderr) == (2, True)
    assert (tmp_path / "deadly/tiny/experiment.json").exists()


@pytest.mark.parametrize("seconds", [0.125, work.SECONDS_BETWEEN_MESSAGES])
def test_progress_moves_within_a_stack(tmp_path, monkeypatch, seconds):
    experiment = tiny(tmp_path, TEXT)
    stack = next(stacks(experiment, list(experiment.runs()), 1))
    runs, seen = len(stack.run_ids), []
    monkeypatch.setattr(work, "time", Clock(seconds))
    work.work(stack, seen.append)
    clock, *progress, end = seen
    assert (clock, end) == (work.Clock(None), work.Clock(None))  # without a limit
    amounts = [message.amount for message in progress]
    assert amounts == sorted(amounts)
    assert len(amounts) == 40 * seconds / work.SECONDS_BETWEEN_MESSAGES
    assert (amounts[0], amounts[-1]) == pytest.approx((runs / len(amounts), runs))


def test_a_limit_counts_the_training_alone(tmp_path, monkeypatch):
    """Not what a worker does before and after: to look whether the code is the same may take longer."""
    experiment = tiny(tmp_path, TEXT)
    stack = replace(next(stacks(experiment, list(experiment.runs()), 1)), time_limit=0.5, witness=1)
    seen, limit = [], work.Clock(0.5 * len(stack.run_ids))
    monkeypatch.setattr(work, "code_digest", lambda *_: seen.append("digest") or stack.code)
    work.work(stack, seen.append)
    no_limit = work.Clock(None)
    assert seen == [limit, no_limit, work.Clock(0.5), no_limit, "digest"]
