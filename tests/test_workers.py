"""A stack aims at a bounded time: one that would take too long is cut, and its runs keep their bits."""

import itertools

import pytest
from sweeping import document, run, tiny

from optimlab.execution import workers
from optimlab.execution.stack import LONGEST
from optimlab.execution.sweep import stacks
from optimlab.storage.store import Store

TABLES = ("runs.csv", "traces.parquet")
TEXT = document(training="epochs = 20\n", seeds="tuning = 1\nreporting = 5\n")  # 40 steps a run


class Clock:
    """A clock that is so many seconds further each time it is looked at."""

    def __init__(self, seconds):
        self.ticks = itertools.count(0, seconds)

    def monotonic(self):
        return next(self.ticks)


def swept(folder):
    """Sweep, and return the tables' bytes and how many runs each part has."""
    experiment = tiny(folder, TEXT)
    assert run(experiment, folder).statuses == {"ok": 12}
    store = Store(folder / "tiny")
    names = [path for path in store.parts.iterdir() if path.suffix == ".parquet"]
    places = list(store.finished().values())
    return [(folder / "tiny" / name).read_bytes() for name in TABLES], sorted(map(places.count, names))


def test_a_stack_that_would_take_too_long_is_cut_and_its_runs_keep_their_bits(tmp_path, monkeypatch):
    whole, sizes = swept(tmp_path / "whole")
    assert max(sizes) > 1
    seconds = 2 * LONGEST / 40  # a look, one a step: a stack seems to take twice as long as it may
    monkeypatch.setattr(workers, "time", Clock(max(seconds, workers.SECONDS_TO_MEASURE)))
    cut, smaller = swept(tmp_path / "cut")
    assert cut == whole
    assert sum(smaller) == sum(sizes)
    assert max(smaller) < max(sizes)


@pytest.mark.parametrize("seconds", [0.125, workers.SECONDS_BETWEEN_MESSAGES])
def test_progress_moves_within_a_stack(tmp_path, monkeypatch, seconds):
    experiment = tiny(tmp_path, TEXT)
    stack = next(stacks(experiment, list(experiment.runs()), 1))
    runs, seen = len(stack.run_ids), []
    monkeypatch.setattr(workers, "time", Clock(seconds))
    workers.work(stack, seen.append)
    clock, *progress = seen
    assert clock == workers.Clock(None)  # without a limit
    amounts = [message.amount for message in progress]
    assert amounts == sorted(amounts)
    assert len(amounts) == 40 * seconds / workers.SECONDS_BETWEEN_MESSAGES
    assert (amounts[0], amounts[-1]) == pytest.approx((runs / len(amounts), runs))
