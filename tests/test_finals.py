"""Final values of runs, from records written by hand."""

import numpy as np
import pandas as pd
import pytest
from reference.statistics import contest, table, traces_of

from optimlab.statistics import compare_optimizers, with_finals

NAN = np.nan


def ends(losses, final, status="ok", **columns):
    """Return the final losses of one run with these records, the first of them its start."""
    runs = table(("A", 0.1, 100, status, 7.0 if status == "ok" else NAN))
    step = range(len(losses))
    traces = pd.DataFrame({"run_id": "A 0.1 100", "step": step, "validation_loss": losses} | columns)
    return with_finals(runs, traces.sample(frac=1, random_state=0), final)["final_validation_loss"][0]


LONG = [9.0, *range(16, 0, -1)]  # sixteen records after the start: a third of them is five


def test_the_last_records_are_averaged_but_no_more_than_a_third_of_them():
    assert ends(LONG, "mean:5") == 3
    assert ends(LONG, "mean:2") == 1.5
    assert ends(LONG, "mean:9") == 3
    assert ends(LONG, "mean:1") == 1
    assert ends(LONG[-7:], "mean:5") == 1.5  # six after the start
    assert ends([5.0, 3, 2, 1], "mean:5") == 1
    assert ends([5.0, 2, 1], "mean:5") == 1
    assert ends([5.0, 1], "mean:5") == 1


def test_the_last_record_and_the_best():
    assert ends(LONG, "last") == 7  # what the table says
    assert ends([0.1, 5.0, 2, 3], "best_validation") == 2  # a start is no end
    runs = table(("A", 0.1, 100, "ok", 7.0))
    traces = pd.DataFrame(
        {"run_id": "A 0.1 100", "step": [0, 1, 2, 3], "validation_loss": [9.0, 2, 1, 3],
         "train_loss": [9.0, 3, 2, 1]}
    )  # fmt: skip
    found = with_finals(runs, traces, "best_validation").iloc[0]
    assert (found["final_validation_loss"], found["final_train_loss"]) == (1, 2)


def test_a_run_without_an_end_keeps_what_it_has():
    assert np.isnan(ends(LONG, "mean:5", status="diverged"))
    runs = table(
        ("A", 0.1, 100, "ok", 7.0), ("A", 0.1, 101, "stuck", 2.0), ("B", 0.1, 100, "failed", NAN)
    )
    for traces in (traces_of(runs)[:0], traces_of(runs[2:])):
        pd.testing.assert_frame_equal(with_finals(runs, traces), runs)
    assert ends([9.0, 8, 7, NAN], "mean:1") == 7  # a gap where an end should be: the table's


@pytest.mark.slow
def test_the_end_decides_what_is_chosen_and_reported():
    """The last record of B is lower by luck; the last five are not."""
    runs = contest(range(12), A=lambda s: 2.0 + s / 99, B=lambda s: 1.0 + s / 99)
    traces = traces_of(runs, tuple(np.linspace(0, 1, 31)))
    is_b, is_last = traces["optimizer"] == "B", traces["step"] == 300
    traces.loc[is_b & ~is_last, "validation_loss"] += 5
    orders = [
        list(compare_optimizers(runs, traces, final=final, splits=9, draws=9).summary["optimizer"])
        for final in ("last", "mean:5")
    ]
    assert orders == [["B", "A"], ["A", "B"]]


def test_the_end_decides_which_rate_is_chosen():
    """Each of three rates has the lowest loss by one of the ends."""
    falling, dipping, jumping = np.linspace(9, 2, 31), np.full(31, 5.0), np.full(31, 6.0)
    dipping[10], jumping[-1] = 0.5, 1
    records = {0.01: falling, 0.1: dipping, 1.0: jumping}
    runs = table(
        *(("A", rate, seed, "ok", losses[-1] + seed / 1e3)
          for rate, losses in records.items() for seed in (0, 1, 100, 101, 102))
    )  # fmt: skip
    traces = traces_of(runs, tuple(np.linspace(0, 1, 31)))
    for rate, losses in records.items():
        for _, own in traces[traces["learning_rate"] == rate].groupby("run_id"):
            traces.loc[own.index, "validation_loss"] = losses + own["seed"] / 1e3
    ends = {"last": (1.0, 1), "mean:5": (0.01, falling[-5:].mean()), "best_validation": (0.1, 0.5)}
    for final, (rate, loss) in ends.items():
        best = compare_optimizers(runs, traces, final=final, splits=9, draws=9).summary.iloc[0]
        assert best["learning_rate"] == rate, final
        assert best["final_loss_median"] == pytest.approx(loss + 101 / 1e3), final  # of fresh seeds


def test_an_unknown_end_is_refused():
    runs = contest(range(2), A=lambda s: 1.0 + s)
    for final in ("", "mean", "mean:0", "mean:-1", "median:5", "first"):
        with pytest.raises(ValueError, match="final must be"):
            with_finals(runs, traces_of(runs), final)
