"""The benefit of tuning: against an enumeration of all draws, and widths computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import statistics as reference
from reference.statistics import table
from scipy import stats

from optimlab.statistics import tuning

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("losses", "decades", "ends_at_grid"),
    [
        ([8, 4, 1, 4, 8], 1, False),  # a factor of two is half the way to four
        ([8, 1, 1, 1, 8], 2 + 2 / 3, False),  # and a third of the way to eight
        ([1, 2, 4, 8, 16], 1, True),
        ([16, 8, 4, 2, 1], 1, True),
        ([1, 1, 1, 1, 1], 4, True),
        ([INF, INF, 1, INF, INF], 0, False),
        ([INF, 1.5, 1, 4, 8], 1.5, False),
        ([8, 1, 8, 1, 8], 2 / 3, False),  # a good rate beyond a bad one is another island
        ([0, 1, 1, 1, 1], NAN, False),
        ([-1, 1, 1, 1, 1], NAN, False),
        ([INF] * 5, NAN, False),
    ],
)
def test_decades_within_a_factor_of_two(losses, decades, ends_at_grid):
    rates = 10.0 ** np.arange(-4, 1)
    found = tuning.decades_within(rates, np.array(losses, dtype=float))
    assert found == (pytest.approx(decades, nan_ok=True), ends_at_grid)


def test_decades_within_of_a_single_rate_and_of_none():
    assert tuning.decades_within(np.array([0.1]), np.array([2.0])) == (0, True)
    assert tuning.decades_within(np.array([]), np.array([])) == (pytest.approx(NAN, nan_ok=True), False)


@given(
    st.lists(st.sampled_from([1.0, 1.3, 1.9, 2.5, 7.0, INF]), min_size=2, max_size=6),
    st.sampled_from([1.5, 2.0, 3.0]),
)
def test_decades_within_is_a_walk(losses, factor):
    if min(losses) == INF:
        return
    rates = [10**place for place in np.linspace(-3, 0, len(losses))]
    expected = reference.decades_within(rates, losses, factor, parts=500)
    assert tuning.decades_within(rates, losses, factor)[0] == pytest.approx(expected, abs=0.02)


def test_robustness_goes_by_the_fresh_seeds():
    runs = table(
        *(("A", rate, seed, "ok", loss) for rate, loss in ((0.1, 4.0), (1.0, 1.0), (10.0, 4.0))
          for seed in (100, 101)),
        *(("A", rate, 0, "ok", 1.0) for rate in (0.1, 1.0, 10.0)),
    )  # fmt: skip
    assert tuning.robustness(runs).to_dict("records") == [
        {"optimizer": "A", "decades_within_2": pytest.approx(1), "decades_end_at_grid": False}
    ]


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_chances_of_the_best(size):
    for trials in range(1, size + 1):
        chances = tuning.chances_of_best(size, trials)
        assert chances.sum() == pytest.approx(1)
        assert chances[0] == pytest.approx(trials / size)
        losses = np.arange(size) ** 2.0
        assert chances @ losses == pytest.approx(
            reference.expected_best(list(range(size)), losses, trials)
        )


@pytest.mark.parametrize("trials", [2, 499, 1000])
def test_chances_of_the_best_of_a_thousand(trials):
    exact = [math.comb(1000 - k, trials - 1) / math.comb(1000, trials) for k in range(1, 1001)]
    assert np.allclose(tuning.chances_of_best(1000, trials), exact, rtol=1e-12, atol=1e-300)


def sweep(tuned, fresh, optimizer="A"):
    """Return runs at rates 1, 2, …: one tuning seed, and the fresh seeds' losses of each rate."""
    rows = []
    for rate, (loss, losses) in enumerate(zip(tuned, fresh, strict=True), start=1):
        rows.append((optimizer, float(rate), 0, "ok", loss))
        rows += [(optimizer, float(rate), 100 + seed, "ok", each) for seed, each in enumerate(losses)]
    return rows


def start_at(*losses):
    """Return traces of the first reporting seeds, which start at these losses; the last one's go on."""
    seeds = [100 + k for k in range(20)]
    start = [*losses, *[losses[-1]] * (20 - len(losses))]
    return pd.DataFrame(
        {"seed": seeds * 2, "step": [0] * 20 + [1] * 20, "validation_loss": start + [0.0] * 20}
    )


def test_budget_by_hand():
    """Rate 2 is tuned best, then 3, then 1; on fresh seeds their medians are 1, 2 and 9 cut to 4."""
    runs = table(*sweep([3.0, 1.0, 2.0], [[8, 9, 10], [1, 1, 1], [1, 2, 3]]))
    found = tuning.budget(runs, start_at(4.0), {"A": 3.0})
    assert found["trials"].tolist() == [0, 1, 2, 3]
    assert found["expected_loss"].tolist() == pytest.approx([2, 7 / 3, (1 + 1 + 2) / 3, 1])
    assert found["rank"].tolist() == [1] * 4
    assert (found["interval_low"] <= found["expected_loss"]).all()
    assert (found["expected_loss"] <= found["interval_high"]).all()
    assert found.iloc[3][["interval_low", "interval_high"]].tolist() == [1, 1]  # rate 2 does not scatter


def test_interval_of_a_budget_by_the_binomial_distribution():
    """A resampled median of 19 is at most the k-th when ten or more of 19 draws are among the first k.

    The chance of that is 1.3 % for k = 5, and 4.6 % for k = 6: there are 2.5 % of the medians passed.
    """
    assert [stats.binom.sf(9, 19, k / 19) < 0.025 for k in (5, 6)] == [True, False]
    found = tuning.budget(table(*sweep([1.0], [range(1, 20)])), start_at(INF), {}, draws=4000)
    assert found[["expected_loss", "interval_low", "interval_high"]].to_numpy().tolist() == [[10, 6, 14]]


def test_budget_uses_what_was_tuned_even_if_it_is_the_worse():
    runs = table(*sweep([1.0, 2.0], [[5, 5, 5], [1, 1, 1]]))
    found = tuning.budget(runs, start_at(9.0), {})
    assert found[["trials", "expected_loss"]].to_numpy().tolist() == [[1, 3], [2, 5]]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 20), min_size=3, max_size=3)),
             min_size=1, max_size=6, unique_by=lambda rate: rate[0]),
    st.randoms(),
)  # fmt: skip
def test_budget_is_the_mean_over_all_draws(rates, random):
    tuned, fresh = ([float(rate[0]) for rate in rates], [rate[1] for rate in rates])
    runs = table(*sweep(tuned, fresh))
    shuffled = runs.iloc[random.sample(range(len(runs)), len(runs))]
    found, again = (
        tuning.budget(rows, start_at(15.0), {"A": 1.0}, draws=50) for rows in (runs, shuffled)
    )
    pd.testing.assert_frame_equal(found, again)
    losses = [reference.median([min(loss, 15.0) for loss in column]) for column in fresh]
    expected = [losses[0]]
    expected += [reference.expected_best(tuned, losses, k) for k in range(1, len(rates) + 1)]
    assert found["expected_loss"].tolist() == pytest.approx(expected)


def test_budget_ranks_among_those_that_have_so_many_trials():
    runs = table(*sweep([1.0, 2.0], [[1, 1], [2, 2]]), *sweep([1.0], [[3, 3]], optimizer="B"))
    found = tuning.budget(runs, start_at(9.0), {"A": 5.0, "B": 1.0}).set_index(["optimizer", "trials"])
    assert found["rank"].to_dict() == {("A", 1): 1, ("A", 2): 1, ("B", 0): 1, ("B", 1): 2}


def test_budget_counts_failed_runs_as_the_start():
    runs = table(
        ("A", 1.0, 0, "ok", 1.0), ("A", 2.0, 0, "failed", NAN),
        *(("A", 1.0, 100 + seed, "ok", 1.0) for seed in range(3)),
        *(("A", 2.0, 100 + seed, "diverged", NAN) for seed in range(3)),
    )  # fmt: skip
    assert tuning.budget(runs, start_at(5.0), {})["expected_loss"].tolist() == [3, 1]
    no_start = tuning.budget(runs, start_at(NAN), {})
    assert no_start["expected_loss"].tolist() == [INF, 1]
    assert no_start[["interval_low", "interval_high"]].to_numpy().tolist() == [[INF, INF], [1, 1]]


def test_budget_of_an_unfinished_sweep():
    runs = table(*sweep([1.0, 2.0], [[1, 2, 3], [2, 3]]), ("B", 1.0, 0, "ok", 1.0))
    found = tuning.budget(runs, start_at(9.0), {})
    assert found["optimizer"].tolist() == ["A", "A"]
    assert found["expected_loss"].tolist() == pytest.approx([2, 1.5])  # of the two seeds that both have
    gone = runs[runs["learning_rate"] == 1.0]
    assert len(tuning.budget(gone[gone["role"] == "tuning"], start_at(9.0), {})) == 2


def test_each_run_of_a_budget_is_capped_where_its_seed_started():
    """Losses of 3, 8 and 9 from 9, 1 and 7 count as 3, 1 and 7. Capped at 7 they would be 3, 7 and 7."""
    runs = table(*sweep([1.0], [[3, 8, 9]]))
    assert tuning.budget(runs, start_at(9, 1, 7), {})["expected_loss"].tolist() == [3]


def test_the_initial_loss_of_a_seed_is_that_of_any_of_its_runs():
    traces = pd.DataFrame(
        {"seed": [0, 0, 1, 0], "step": [0, 0, 0, 1], "train_loss": [NAN, 3.0, NAN, 9.0]}
    )
    assert tuning.initial_losses(traces, "train_loss").to_dict() == {
        0: 3.0,
        1: pytest.approx(NAN, nan_ok=True),
    }


@pytest.mark.slow
def test_intervals_of_the_budget_cover_what_they_should():
    """Nominal 95 % about what the medians of the population would give, in the order of the tuning."""
    rng = np.random.default_rng(0)
    scales, tuned, truth = np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0], np.array([1.0, 2.0, 3.0])
    expected = [reference.expected_best(tuned, truth, trials) for trials in (1, 2, 3)]
    runs = table(*sweep(tuned, np.ones((3, 30))))
    fresh = runs["role"] == "reporting"
    covered = []
    for _ in range(200):
        seeds = rng.normal(size=30)  # what the seeds do to every rate alike
        noise = 0.7 * rng.normal(size=(3, 30)) + 0.7 * seeds
        runs.loc[fresh, "final_validation_loss"] = (scales[:, None] * np.exp(0.5 * noise)).ravel()
        found = tuning.budget(runs, start_at(INF), {}, draws=300)
        covered.append((found["interval_low"] <= expected) & (expected <= found["interval_high"]))
    share = np.mean(covered, axis=0)
    assert (share > 0.93 - 0.031).all(), share
    assert (share < 0.97 + 0.024).all(), share
