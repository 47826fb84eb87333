"""Scores and the choice of a learning rate: by hand, and against a slow restatement."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import statistics as reference
from reference.statistics import contest, table, traces_of

from optimlab import statistics
from optimlab.metrics import ACCURACY
from optimlab.report.blocks.ranking import _against_best
from optimlab.statistics import ranking

INF, NAN = np.inf, np.nan


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
        ([-INF, -INF, 1, 2], 0.5, -INF),
        ([-INF, 1, 2], 0.5, 1),
        ([], 0.5, NAN),
    ],
)
def test_quantile_interpolates_and_survives_infinity(values, level, expected):
    assert statistics.quantile(values, level) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0, 1))
def test_quantile_is_numpys_where_all_is_finite(values, level):
    assert statistics.quantile(values, level) == pytest.approx(np.quantile(values, level), abs=1e-6)


def test_bad_runs_rank_behind_good_ones():
    runs = table(
        ("A", 0.1, 0, "ok", 3.0),
        ("A", 0.1, 1, "stuck", 2.3),
        ("A", 0.1, 2, "stuck", 9.0),
        ("A", 0.1, 3, "diverged", 0.5),
        ("A", 0.1, 4, "failed", NAN),
    )
    assert list(ranking.scores(runs)) == [3, 3, 9, INF, INF]
    assert list(ranking.final_losses(runs)) == [3, 2.3, 9, INF, INF]


def test_a_bad_run_has_accuracy_0_but_a_stuck_one_keeps_its_own():
    runs = table(("A", 0.1, 0, "ok", 3.0), ("A", 0.1, 1, "stuck", 2.3), ("A", 0.1, 2, "diverged", 0.5))
    assert list(ranking.measured(runs, ACCURACY)) == [0.9, 0.9, 0]
    assert ranking.measured(runs.drop(columns="final_test_accuracy"), ACCURACY).isna().all()


@pytest.mark.parametrize(
    ("losses", "rate", "edge"),
    [
        ({0.1: [5, 5, 5], 1.0: [2, 3, 9], 10.0: [4, 4, 4]}, 1.0, ""),  # by the mean it would be 10.0
        ({0.1: [1, 1, 1], 1.0: [2, 2, 2], 10.0: [3, 3, 3]}, 0.1, "lowest"),
        ({0.1: [3, 3, 3], 1.0: [2, 2, 2], 10.0: [1, 1, 1]}, 10.0, "highest"),
        ({0.1: [1, INF, INF], 1.0: [2, 2, 2]}, 1.0, "highest"),
        ({0.1: [1, 1, INF], 1.0: [1, 1, 1]}, 1.0, "highest"),  # a tie: fewer bad runs
        ({0.1: [1, 1, 1], 1.0: [1, 1, 1]}, 0.1, ""),  # a tie: the smaller, and no end
        ({0.1: [2, 2, 2], 1.0: [1, 2, 0], 10.0: [1, 1, 1]}, 1.0, ""),
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
    choice = statistics.choose_candidates(table(*tuning, *fresh))
    assert choice.to_dict("records") == [
        {
            "optimizer": "A",
            "candidate": 1 + sorted(losses).index(rate),
            "learning_rate": rate,
            "learning_rate_edge": edge,
        }
    ]


OUTCOMES = st.tuples(st.sampled_from(["ok", "ok", "stuck", "diverged"]), st.integers(0, 5))


@given(st.lists(st.lists(OUTCOMES, min_size=3, max_size=3), min_size=1, max_size=5), st.randoms())
@pytest.mark.slow
def test_choice_is_the_restatements_whatever_the_order_of_the_rows(columns, random):
    runs = table(
        *(
            ("A", float(rate), seed, status, float(loss))
            for rate, column in enumerate(columns, start=1)
            for seed, (status, loss) in enumerate(column)
        )
    )
    scored = runs.assign(score=ranking.scores(runs))
    expected = reference.choose(
        {rate: list(zip(cell["status"], cell["score"], strict=True))
         for rate, cell in scored.groupby("learning_rate")}
    )  # fmt: skip
    shuffled = runs.iloc[random.sample(range(len(runs)), len(runs))]
    for rows in (runs, shuffled):
        assert statistics.choose_candidates(rows)["learning_rate"].tolist() == [expected]


def test_tuning_order_goes_from_best_to_worst_for_each_optimizer():
    runs = table(
        *(("A", rate, 0, "ok", loss) for rate, loss in ((0.1, 3.0), (1.0, 1.0), (10.0, 2.0))),
        ("B", 0.1, 0, "ok", 1.0),
        ("C", 0.1, 100, "ok", 1.0),  # its tuning runs are still to come
    )
    order = ranking.tuning_order(runs)
    assert {name: list(each["candidate"]) for name, each in order.items()} == {"A": [2, 3, 1], "B": [1]}


@pytest.mark.parametrize(
    ("grid", "edge", "wider"),
    [
        ([0.01, 0.1, 1.0], "lowest", [0.0001, 0.001, 0.01, 0.1, 1.0]),
        ([0.01, 0.1, 1.0], "highest", [0.01, 0.1, 1.0, 10.0, 100.0]),
        ([0.01, 0.03, 0.1], "highest", [0.01, 0.03, 0.1, 0.3, 1.0]),
        ([0.1, 0.03, 0.01], "lowest", [0.001, 0.003, 0.01, 0.03, 0.1]),
        ([0.0003, 0.001, 0.003], "highest", [0.0003, 0.001, 0.003, 0.01, 0.03]),
        ([0.0003, 0.001, 0.003], "lowest", [0.00003, 0.0001, 0.0003, 0.001, 0.003]),
        ([1, 2, 10], "lowest", [0.1, 0.2, 1, 2, 10]),
        ([0.3, 1, 2], "highest", [0.3, 1, 2, 7, 10]),  # 13, but for the rounding
        ([0.7, 4, 9], "lowest", [0.05, 0.3, 0.7, 4, 9]),
        ([1, 1.2, 1.5], "highest", [1, 1.2, 1.5, 1.8, 2.2]),  # one digit would make both 2
        ([0.1, 0.11, 0.12], "highest", [0.1, 0.11, 0.12, 0.13, 0.14]),  # and of these 0.1
        ([0.01, 0.1, 1.0], "", [0.01, 0.1, 1.0]),
        ([0.1], "only", [0.1]),
    ],
)
def test_a_widened_grid_keeps_its_spacing(grid, edge, wider):
    assert statistics.widened_grid(grid, edge) == pytest.approx(wider)


@pytest.mark.parametrize("edge", ["lowest", "highest"])
def test_a_widened_grid_of_two_rates_has_more_rates_all_different(edge):
    grid = statistics.widened_grid([0.01, 0.1], edge)
    assert len(set(grid)) == len(grid) == 4
    assert grid == sorted(grid)
    assert (grid[0] < 0.01, grid[-1] > 0.1) == (edge == "lowest", edge == "highest")


def test_reported_runs_are_fresh_and_at_one_rate():
    runs = table(
        *(("A", rate, seed, "ok", rate + seed) for rate in (1.0, 2.0) for seed in (0, 1, 100, 101)),
        *(("B", rate, seed, "ok", rate + seed) for rate in (1.0, 2.0) for seed in (0, 1, 100, 101)),
    )
    tuned = statistics.reported_runs(runs)
    assert set(tuned["seed"]) == {100, 101}
    assert set(tuned["learning_rate"]) == {1.0}
    own = statistics.reported_runs(runs, "default", {"A": 2.0, "B": 0.5})  # B's is not on the grid
    assert own[["optimizer", "learning_rate", "seed"]].to_numpy().tolist() == [
        ["A", 2.0, 100],
        ["A", 2.0, 101],
    ]
    assert statistics.reported_runs(runs, "default").empty


def test_a_default_may_be_off_by_rounding():
    runs = table(("A", 0.1 + 0.2, 100, "ok", 1.0))
    assert len(statistics.reported_runs(runs, "default", {"A": 0.3})) == 1


def test_by_seed_pairs_the_runs():
    runs = table(("A", 0.1, 101, "ok", 1.0), ("B", 0.1, 100, "ok", 2.0), ("A", 0.1, 100, "ok", 3.0))
    paired = ranking.by_seed(runs, "final_train_loss")
    assert paired.index.tolist() == [100, 101]
    assert paired["A"].tolist() == [3, 1]
    assert paired["B"].tolist() == pytest.approx([2, NAN], nan_ok=True)


def test_basis_falls_back_on_what_there_is():
    runs = table(("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 100, "ok", 2.0))
    assert statistics.basis(runs) == statistics.SelectionCriteria(
        "validation", {"accuracy": "test"}, "tuning", "reporting"
    )
    runs = runs[:1].assign(final_validation_loss=NAN, final_test_accuracy=NAN)
    assert statistics.basis(runs) == statistics.SelectionCriteria("train", {}, "tuning", "tuning")
    runs = table(("A", 0.1, 100, "ok", 2.0)).assign(final_test_accuracy=NAN, final_train_accuracy=0.5)
    assert statistics.basis(runs) == statistics.SelectionCriteria(
        "validation", {"accuracy": "train"}, "reporting", "reporting"
    )


def test_what_is_zero_is_there_too():
    runs = table(("A", 0.1, 100, "ok", 0.0)).assign(final_test_accuracy=0.0)
    assert statistics.basis(runs) == statistics.SelectionCriteria(
        "validation", {"accuracy": "test"}, "reporting", "reporting"
    )


def test_a_run_that_left_no_loss_is_infinitely_bad():
    runs = table(("A", 0.1, 100, "ok", NAN), ("A", 0.1, 101, "ok", 1.0))
    assert ranking.final_losses(runs).tolist() == [INF, 1]
    assert ranking.scores(runs).tolist() == [INF, 1]


def test_worse_by_is_never_negative():
    """A has the lowest median, and yet B is better on the whole; C is worse than both."""
    runs = contest(
        range(200),
        A=lambda s: (9.0 if s % 100 < 49 else 1.0) + s / 1e4,
        B=lambda s: 1.2 + s / 1e4,
        C=lambda s: 30.0 + s / 1e4,
    )
    found = statistics.compare_optimizers(runs, traces_of(runs)[:0], {}, splits=50, draws=100)
    rows = {row["optimizer"]: row for row in found.summary.to_dict("records")}
    assert [row["optimizer"] for row in rows.values()] == ["A", "B", "C"]
    assert rows["B"]["difference_iqm_to_best"] < 0 < rows["C"]["difference_iqm_to_best"]
    says = {label: _against_best(row) for label, row in rows.items()}
    assert says["A"] == "lowest median"
    assert says["B"] == "not distinguishable"  # the middle √n of A's runs are on both sides of B's
    assert _against_best(rows["B"] | {"standing": "better"}) == "better, if tuned again"
    assert re.fullmatch(r"worse by 2\d", says["C"])
