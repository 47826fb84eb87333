"""The numbers against cases that were worked out by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from optimlab import statistics

INF, NAN = np.inf, np.nan


def table(*runs):
    """Return runs given as (optimizer, learning rate, seed, status, loss); seeds ≥ 100 are fresh."""
    rows = [
        {
            "run_id": f"{optimizer} {rate} {seed}",
            "optimizer": optimizer,
            "rule": optimizer,
            "learning_rate": rate,
            "seed": seed,
            "role": "reporting" if seed >= 100 else "tuning",
            "status": status,
            "final_train_loss": loss,
            "final_validation_loss": loss,
            "final_test_accuracy": NAN if np.isnan(loss) else 0.9,
        }
        for optimizer, rate, seed, status, loss in runs
    ]
    return pd.DataFrame(rows)


def traces_of(runs, accuracies=(0.1, 0.94, 0.96)):
    rows = [
        {
            **{key: run[key] for key in ("run_id", "optimizer", "learning_rate", "seed", "role")},
            "step": 10 * epoch,
            "epoch": float(epoch),
            "train_loss": run["final_train_loss"] + len(accuracies) - 1 - epoch,
            "validation_accuracy": accuracy if run["status"] == "ok" else NAN,
        }
        for run in runs.to_dict("records")
        for epoch, accuracy in enumerate(accuracies)
        if run["status"] != "failed"
    ]
    columns = [
        "run_id",
        "optimizer",
        "learning_rate",
        "step",
        "epoch",
        "train_loss",
        "validation_accuracy",
    ]
    return pd.DataFrame(rows, columns=None if rows else columns)


def contest(seeds, **losses):
    """Return runs at one learning rate; each optimizer's loss is a function of the seed's number."""
    return table(
        *((name, 0.1, 100 + seed, "ok", loss(seed)) for name, loss in losses.items() for seed in seeds)
    )


@pytest.mark.parametrize(
    ("values", "level", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2.5),
        ([1, 2, 3, 4], 0.25, 1.75),
        ([5], 0.75, 5),
        ([1, 2, INF], 0.5, 2),
        ([1, INF, INF], 0.5, INF),
        ([INF, INF, INF, INF], 0.25, INF),
        ([1, 2, INF, INF], 0.5, INF),
        ([], 0.5, NAN),
    ],
)
def test_quantile_interpolates_and_survives_infinity(values, level, expected):
    assert statistics.quantile(values, level) == pytest.approx(expected, nan_ok=True)


def test_bad_runs_rank_behind_good_ones():
    runs = table(
        ("A", 0.1, 0, "ok", 3.0),
        ("A", 0.1, 1, "stuck", 2.3),
        ("A", 0.1, 2, "stuck", 9.0),
        ("A", 0.1, 3, "diverged", 0.5),
        ("A", 0.1, 4, "failed", NAN),
    )
    assert list(statistics.scores(runs)) == [3, 3, 9, INF, INF]
    assert list(statistics.final_losses(runs)) == [3, 2.3, 9, INF, INF]


@pytest.mark.parametrize(
    ("losses", "rate", "edge"),
    [
        ({0.1: [5, 5, 5], 1.0: [2, 3, 9], 10.0: [4, 4, 4]}, 1.0, ""),  # by the mean it would be 10.0
        ({0.1: [1, 1, 1], 1.0: [2, 2, 2], 10.0: [3, 3, 3]}, 0.1, "lowest"),
        ({0.1: [3, 3, 3], 1.0: [2, 2, 2], 10.0: [1, 1, 1]}, 10.0, "highest"),
        ({0.1: [1, INF, INF], 1.0: [2, 2, 2]}, 1.0, "highest"),
        ({0.1: [1, 1, INF], 1.0: [1, 1, 1]}, 1.0, "highest"),  # a tie: fewer bad runs
        ({0.1: [1, 1, 1], 1.0: [1, 1, 1]}, 0.1, "lowest"),  # a tie: the smaller
        ({0.1: [1, 1, 1]}, 0.1, "only"),
        ({0.1: [INF] * 3, 1.0: [INF] * 3}, 0.1, ""),
    ],
)
def test_choice_of_the_learning_rate(losses, rate, edge):
    tuning = [
        ("A", rate, seed, "ok" if np.isfinite(loss) else "diverged", loss)
        for rate, column in losses.items()
        for seed, loss in enumerate(column)
    ]
    fresh = [("A", rate, 100, "ok", 0.001 * rate) for rate in losses]  # must have no say
    choice = statistics.choose_learning_rates(table(*tuning, *fresh))
    assert choice.to_dict("records") == [
        {"optimizer": "A", "learning_rate": rate, "learning_rate_edge": edge}
    ]


def test_only_fresh_seeds_are_reported():
    runs = table(
        *(("A", rate, seed, "ok", rate + seed) for rate in (1.0, 2.0) for seed in (0, 1, 100, 101))
    )
    summary = statistics.summarize(runs, traces_of(runs)).iloc[0]
    assert summary["seeds"] == 2
    assert summary["reported_on"] == "reporting"
    assert summary["final_loss_median"] == 101.5
    assert (summary["final_loss_quartile_1"], summary["final_loss_quartile_3"]) == (101.25, 101.75)


def test_numbers_fall_back_on_what_there_is():
    runs = table(("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 1, "ok", 2.0))
    runs["final_validation_loss"] = NAN
    runs["final_test_accuracy"] = NAN
    assert statistics.basis(runs) == statistics.Basis("train", None, "tuning", "tuning")
    summary = statistics.summarize(runs, traces_of(runs)).iloc[0]
    assert (summary["loss"], summary["final_loss_median"]) == ("train", 1.5)
    assert np.isnan(summary["final_accuracy_median"])


def test_counts_and_epochs():
    statuses = ["ok", "ok", "stuck", "diverged", "failed"]
    runs = table(
        *(("A", 0.1, 100 + k, status, 1.0 if k < 3 else NAN) for k, status in enumerate(statuses))
    )
    summary = statistics.summarize(runs, traces_of(runs)).iloc[0]
    for group in ("runs", "grid"):
        counts = [summary[f"{group}_{status}"] for status in statistics.STATUSES]
        assert counts == [2, 1, 1, 1]
    assert summary["epochs_to_95_median"] == INF  # two of five got there
    assert summary["seeds_never_at_95"] == 3
    assert summary["final_accuracy_quartile_1"] == 0  # a run without an accuracy has none right


def test_epochs_to_accuracy_is_the_first_time_and_forgives_float32():
    runs = table(("A", 0.1, 100, "ok", 1.0))
    reached = statistics.epochs_to_accuracy(traces_of(runs, (0.1, float(np.float32(0.95)), 0.9, 0.99)))
    assert reached.to_dict() == {"A 0.1 100": 1.0}


def test_bootstrap_interval_of_the_median():
    values = np.random.default_rng(1).normal(10, 1, 40)
    low, high = statistics.median_interval(values)
    assert low < np.median(values) < high
    # A median of n normal values has the standard error 1.2533 σ/√n.
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 / 40**0.5, rel=0.35)
    assert statistics.median_interval(values) == (low, high)
    assert statistics.median_interval([1, 2, INF, INF, INF])[1] == INF
    assert np.isnan(statistics.median_interval([1.0])).all()


def test_signed_rank_test_counts_the_signs_of_ranks():
    """The oracle is the definition: all 2ⁿ signs are equally likely."""
    differences = np.array([0.3, -0.1, 0.7, 1.1, 0.2, 5.0])
    ranks = 1 + np.argsort(np.argsort(np.abs(differences)))
    sums = np.array([ranks @ np.array(signs) for signs in product([0, 1], repeat=6)])
    observed = ranks[differences > 0].sum()
    expected = 2 * min((sums >= observed).mean(), (sums <= observed).mean())
    assert statistics.signed_rank_p_value(differences) == pytest.approx(expected)
    assert statistics.signed_rank_p_value([INF, 1, 2, 3, 4, 5]) == pytest.approx(2 / 2**6)
    assert statistics.signed_rank_p_value([0.0, 0.0]) == 1


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.6, 0.9]) == pytest.approx([1, 1])


def test_fewest_seeds_is_where_the_least_p_value_falls_below_the_level():
    for optimizers in (2, 5, 9):
        seeds = statistics.fewest_seeds(optimizers)
        pairs = optimizers * (optimizers - 1) / 2
        least = statistics.signed_rank_p_value(np.arange(1, seeds + 1.0))
        assert pairs * least < 0.05 < pairs * 2 * least


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (
            contest(range(12), A=lambda s: 1 + s, B=lambda s: 2 + 1.1 * s, C=lambda s: 4 + 1.2 * s),
            "A is the best here: on 12 fresh seeds its median final validation loss is 6.5, against "
            "8.05 for B, the next, and the paired tests find every other worse.",
        ),
        (
            contest(range(12), A=lambda s: 1 + s, B=lambda s: 1.2 + 5 * s % 12, C=lambda s: 9 + 1.2 * s),
            "A ends with the lowest median final validation loss, 6.5, but on 12 fresh seeds B (6.7) is "
            "not distinguishable from it. C is worse.",
        ),
        (
            contest(range(12), A=lambda _: 1.0, B=lambda _: 1.0),
            "A ends with the lowest median final validation loss, 1, but on 12 fresh seeds B (1) is not "
            "distinguishable from it.",
        ),
        (
            contest(range(1), A=lambda _: 1.0, B=lambda _: 2.0),
            "A ends with the lowest median final validation loss, 1, but on one seed: that does not "
            "tell an optimizer from luck.",
        ),
        (
            contest(range(5), A=lambda s: 1 + s, B=lambda s: 9 + s),
            "A ends with the lowest median final validation loss, 3, but 5 fresh seeds are too few to "
            "tell 2 optimizers apart: it takes 6.",
        ),
        (
            contest(range(3), A=lambda s: 1.0 + s),
            "A reaches a median final validation loss of 2 (3 fresh seeds); it has no rival here.",
        ),
        (
            table(("A", 0.1, 100, "failed", NAN), ("B", 0.1, 100, "diverged", NAN)),
            "No optimizer can be recommended: at no learning rate did the typical run learn.",
        ),
        (
            table(("A", 0.1, 100, "ok", 1.0), ("A", 0.1, 101, "failed", NAN)),  # the median is infinite
            "No optimizer can be recommended: at no learning rate did the typical run learn.",
        ),
        (
            table(
                *(("A", 0.1, 100 + k, "stuck", 2.5) for k in range(9)),
                *(("B", 0.1, 100 + k, "stuck", 2.6) for k in range(9)),
            ),
            "No optimizer can be recommended: at no learning rate did the typical run learn.",
        ),
    ],
)
def test_verdict(runs, says):
    assert statistics.verdict(statistics.summarize(runs, traces_of(runs))) == says


def test_an_optimizer_that_diverges_is_worse():
    good = [("A", 0.1, 100 + k, "ok", 5.0 + k) for k in range(12)]
    bad = [("B", 0.1, 100 + k, "ok" if k < 2 else "diverged", 0.1 if k < 2 else NAN) for k in range(12)]
    runs = table(*bad, *good)
    summary = statistics.summarize(runs, traces_of(runs))
    assert list(summary["optimizer"]) == ["A", "B"]
    assert summary["difference_to_best"][1] == INF
    assert summary["worse_than_best"][1]


def test_stuck_ranks_after_ok_even_with_a_lower_loss():
    stuck = [("A", 0.1, 100 + k, "stuck", 2.3) for k in range(3)]
    runs = table(*stuck, *(("B", 0.1, 100 + k, "ok", 2.5 + k) for k in range(3)))
    summary = statistics.summarize(runs, traces_of(runs))
    assert list(summary["optimizer"]) == ["B", "A"]
    assert list(summary["final_loss_median"]) == [3.5, 2.3]


def test_trace_bands_count_a_run_that_ended_early_as_infinite():
    runs = table(
        *(("A", 0.1, 100 + k, "ok", float(k)) for k in range(4)), ("A", 0.1, 104, "failed", NAN)
    )
    traces = traces_of(runs)
    traces.loc[(traces["run_id"] == "A 0.1 103") & (traces["epoch"] == 2), "train_loss"] = NAN
    bands = statistics.trace_bands(runs, traces, "train_loss")
    # At the three epochs 2, 1, 0 more than each seed's number; the fifth run left no trace.
    assert bands[["epoch", "low", "median", "high"]].to_numpy().tolist() == [
        [0, 3, 4, 5],
        [1, 2, 3, 4],
        [2, 1, 2, INF],
    ]


def test_final_bands_share_of_statuses():
    runs = table(
        ("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 100, "ok", 3.0), ("A", 0.1, 101, "stuck", 5.0),
        ("A", 0.1, 102, "diverged", NAN), ("A", 1.0, 0, "failed", NAN),
    )  # fmt: skip
    bands = statistics.final_bands(runs)
    assert bands[["low", "median", "high"]].to_numpy().tolist() == [[2.5, 4, INF], [INF] * 3]
    assert bands[list(statistics.STATUSES)].to_numpy().tolist() == [[0.5, 0.25, 0.25, 0], [0, 0, 0, 1]]
