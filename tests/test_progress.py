"""Progress: a bar on a terminal, and a few lines elsewhere."""

import io
import re

import pytest
from rich.console import Console

import optimlab.progress
from optimlab.progress import Progress, drawing_bar


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(optimlab.progress, "time", clock)
    return clock


def shown(steps, clock=None, missing=100, kept=0, **options):
    """Return what a progress shows: for each step, seconds to pass and runs to finish."""
    file = io.StringIO()
    progress = Progress(Console(file=file, width=100, highlight=False, **options))
    with progress.over(missing, kept):
        for seconds, runs in steps:
            if clock:
                clock.now += seconds
            progress.advance(runs)
    return file.getvalue()


def test_lines_come_every_few_seconds_and_at_the_end(clock):
    text = shown([(1, 10), (1, 10), (3, 10), (2, 10), (4, 10), (10, 50)], clock)
    assert text.splitlines() == [
        "100 runs to do",
        "30 of 100 runs, 5 runs/s, 14 s left",
        "50 of 100 runs, 4 runs/s, 12 s left",
        "100 of 100 runs",
    ]


def test_kept_runs_are_mentioned_and_do_not_count_in_the_speed(clock):
    text = shown([(5, 100), (5, 100), (5, 1800)], clock, missing=2000, kept=1234)
    assert text.splitlines() == [
        "2,000 runs to do, 1,234 finished before",
        "100 of 2,000 runs",
        "200 of 2,000 runs, 20 runs/s, 90 s left",
        "2,000 of 2,000 runs",
    ]


def test_parts_of_runs_are_shown_only_if_runs_are_few(clock):
    for missing, shown_as in ((10, "0.7 of 10 runs"), (2400, "0 of 2,400 runs")):
        file = io.StringIO()
        progress = Progress(Console(file=file, width=100, highlight=False))
        with progress.over(missing, 0):
            clock.now += 6
            progress.follow(0.7)
        assert file.getvalue().splitlines()[-1] == shown_as


def test_a_slow_start_is_no_estimate(clock):
    """Until the first run has finished, workers start and compile."""
    assert shown([(60, 1), (5, 1), (5, 98)], clock).splitlines()[1:] == [
        "1 of 100 runs",
        "2 of 100 runs, 12 runs/min, 8.2 min left",
        "100 of 100 runs",
    ]


def test_a_finish_at_once_divides_by_no_zero(clock):
    assert shown([(0, 100)], clock).splitlines()[-1] == "100 of 100 runs"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_to_do(terminal):
    text = shown([], missing=0, kept=7, force_terminal=terminal)
    assert "0 runs to do, 7 finished before" in text
    assert "training" not in text


def test_no_control_codes_without_a_terminal():
    assert "\x1b" not in shown([(0, 50), (0, 50)])


def test_a_bar_on_a_terminal():
    text = shown([(0, 30), (0, 20), (0, 50)], force_terminal=True)
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "100 runs to do" in plain
    assert re.search(r"training ━+ +100/100 [\d,]+ runs/s .*left", plain)
    assert " of 100 runs, " not in plain


@pytest.mark.parametrize("terminal", [False, True])
def test_an_exception_in_the_block_goes_through(terminal):
    file = io.StringIO()
    progress = Progress(Console(file=file, force_terminal=terminal))

    def interrupted():
        with progress.over(3, 0):
            progress.advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not progress.bar.live.is_started


@pytest.mark.parametrize("is_terminal", [True, False])
def test_drawing_shows_a_bar_on_a_terminal_and_nothing_elsewhere(is_terminal):
    file = io.StringIO()
    with drawing_bar(Console(file=file, width=80, force_terminal=is_terminal)) as bar:
        assert list(bar.track(iter("abc"), total=3, description="drawing")) == ["a", "b", "c"]
    assert ("drawing" in file.getvalue()) == is_terminal
    assert ("3/3" in file.getvalue()) == is_terminal
