"""The whole comparison, and the bands of the figures, on tables computed by hand."""

import random
import sqlite3
import warnings
from contextlib import closing
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.statistics import contest, table, traces_of

from optimlab import statistics
from optimlab.statuses import STATUSES

INF, NAN = np.inf, np.nan
TABLES = ["summary", "pairs", "targets", "profiles", "budget"]


def compared(runs, defaults=None, traces=None):
    traces = traces_of(runs) if traces is None else traces
    return statistics.compare_optimizers(runs, traces, defaults, splits=200, draws=300)


FIXED = ["run_id", "optimizer", "rule", "learning_rate", "seed", "role", "status"]


@pytest.mark.parametrize("loss", ["validation", "train"])
def test_two_tables_are_all_that_a_comparison_needs(loss):
    """Their fixed columns, read from files, and nothing of the experiment."""
    runs = contest(range(12), A=lambda s: 1.0 + s / 99, B=lambda s: 2.0 + s / 99)
    traces = traces_of(runs)
    few = runs[[*FIXED, "final_train_loss", *[f"final_{loss}_loss"] * (loss != "train")]]
    keys = ["run_id", "optimizer", "seed", "step", "epoch"]
    steps = traces[[*keys, "train_loss", *[f"{loss}_loss"] * (loss != "train")]]
    few, steps = (pd.read_csv(StringIO(each.to_csv(index=False))) for each in (few, steps))
    found = statistics.compare_optimizers(few, steps)
    assert found.summary["optimizer"].tolist() == ["A", "B"]
    assert found.pairs[["setting", "better", "worse", "favours", "different"]].to_numpy().tolist() == [
        ["tuned", "A", "B", "A", True]
    ]


def test_tables_that_are_concatenated_are_compared_like_one():
    """Their index has repetitions, which took other runs for those of the tuning seeds."""
    runs = contest(range(12), A=lambda s: 1.0 + s / 99, B=lambda s: 2.0 + s / 99)
    tuning = runs.assign(role="tuning", seed=runs["seed"] - 100, run_id="t" + runs["run_id"])
    whole = pd.concat([runs, tuning.assign(final_validation_loss=9.0)], ignore_index=True)
    parts = pd.concat([runs, tuning.assign(final_validation_loss=9.0)])
    one, other = (statistics.compare_optimizers(each, traces_of(whole)) for each in (whole, parts))
    pd.testing.assert_frame_equal(one.summary, other.summary)
    assert statistics.choose_candidates(parts).equals(statistics.choose_candidates(whole))
    with pytest.raises(ValueError, match="has a run_id twice"):
        statistics.compare_optimizers(pd.concat([runs, runs]), traces_of(runs))
    with pytest.raises(ValueError, match="has no rows"):
        statistics.compare_optimizers(runs.iloc[:0], traces_of(runs))


TEXTS = ["run_id", "optimizer", "rule", "role", "status"]


def by_database(table):
    with closing(sqlite3.connect(":memory:")) as database:
        table.to_sql("it", database, index=False)
        return pd.read_sql("select * from it", database)


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table.astype({name: "category" for name in TEXTS if name in table}),
        lambda table: table.astype(object),
        lambda table: table.astype(str),
        lambda table: table.convert_dtypes(dtype_backend="pyarrow"),
        lambda table: table.set_index("run_id"),
        lambda table: table.set_index(["optimizer", "seed"]),
        lambda table: table.set_index("run_id", drop=False),
        lambda table: table[sorted(table)],
        by_database,
    ],
)
def test_tables_of_any_types_and_index_are_compared_alike(form):
    """Categories had no order, objects were no numbers, and an index hid the column that it was."""
    runs = contest(range(4), A=lambda s: 1.0 + s / 99, B=lambda s: 2.0 + s / 99)
    traces = traces_of(runs)
    found = statistics.compare_optimizers(form(runs), form(traces), splits=9, draws=9)
    usual = statistics.compare_optimizers(runs, traces, splits=9, draws=9)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(usual, name), check_dtype=False)


def test_labels_of_optimizers_are_text():
    runs = contest(range(4), A=lambda s: 1.0 + s / 99, B=lambda s: 2.0 + s / 99)
    for first, second in ((1, 2), (True, False)):
        tables = [
            each.assign(optimizer=each["optimizer"].map({"A": first, "B": second}))
            for each in (runs, traces_of(runs))
        ]
        found = statistics.compare_optimizers(*tables, splits=9, draws=9).summary
        assert found["optimizer"].tolist() == [str(first), str(second)]


@pytest.mark.parametrize(
    ("runs", "traces", "message"),
    [
        (lambda t: t.drop(columns="seed"), None, "the table of runs lacks the column seed"),
        (None, lambda t: t.drop(columns="epoch"), "the table of traces lacks the column epoch"),
        (None, lambda t: t.drop(columns="validation_loss"), "traces lacks the column validation_loss"),
        (lambda t: t.assign(optimizer=None), None, "the table of runs has a row without optimizer"),
        (lambda t: t.assign(seed="one"), None, "seed in the table of runs must be numbers"),
        (lambda t: t.assign(status="done"), None, "status must be one of ok, .* got 'done'"),
        (lambda t: t.assign(role="test"), None, "role must be one of tuning, reporting, got 'test'"),
        (lambda t: t.assign(problem=t["run_id"]), None, "the table of runs has several problems"),
        (lambda t: pd.concat([t, t["seed"]], axis=1), None, "runs has two columns seed"),
        (None, lambda t: t.assign(run_id="x"), "the table of traces has none of these runs"),
        (lambda t: t.to_dict("list"), None, "runs must be a pandas DataFrame, got a dict"),
        (None, lambda t: "traces.parquet", "traces must be a pandas DataFrame, got a str"),
    ],
)
def test_tables_that_are_not_of_one_problem_are_refused(runs, traces, message):
    usual = contest(range(4), A=lambda s: 1.0 + s / 99, B=lambda s: 2.0 + s / 99)
    given = runs(usual) if runs else usual, traces(traces_of(usual)) if traces else traces_of(usual)
    with pytest.raises((TypeError, ValueError), match=message):
        statistics.compare_optimizers(*given)


def test_only_fresh_seeds_are_reported():
    runs = table(
        *(("A", rate, seed, "ok", rate + seed) for rate in (1.0, 2.0) for seed in (0, 1, 100, 101))
    )
    summary = compared(runs, {"A": 2.0}).summary.iloc[0]
    assert (summary["seeds"], summary["default_seeds"]) == (2, 2)
    assert summary["reported_on"] == "reporting"
    assert (summary["learning_rate"], summary["default_learning_rate"]) == (1, 2)
    assert summary["learning_rate_edge"] == "lowest"
    assert (summary["final_loss_median"], summary["default_loss_median"]) == (101.5, 102.5)
    assert (summary["final_loss_quartile_1"], summary["final_loss_quartile_3"]) == (101.25, 101.75)
    assert summary["final_loss_iqm"] == 101.5
    assert (summary["final_loss_interval_low"], summary["final_loss_interval_high"]) == (101, 102)
    assert (summary["final_loss_iqm_low"], summary["final_loss_iqm_high"]) == (101, 102)


def test_numbers_fall_back_on_what_there_is():
    runs = table(("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 1, "ok", 2.0))
    runs = runs.assign(final_validation_loss=NAN, final_test_accuracy=NAN)
    traces = traces_of(runs).assign(validation_loss=NAN, validation_accuracy=NAN)
    comparison = compared(runs, traces=traces)
    assert comparison.basis == statistics.SelectionCriteria("train", {}, "tuning", "tuning")
    summary = comparison.summary.iloc[0]
    assert (summary["loss"], summary["final_loss_median"]) == ("train", 1.5)
    assert np.isnan(summary["final_accuracy_median"])
    assert np.isnan(summary["epochs_to_95_median"])
    assert pd.isna(summary["seeds_never_at_95"])
    assert set(comparison.targets["metric"]) == {"train_loss"}


def test_a_validation_set_decides_even_if_all_runs_diverge():
    """The summary, and the head of the page's table, said "training loss"."""
    lost = table(*(("A", 0.1, seed, "diverged", NAN) for seed in range(3)))
    comparison = compared(lost, traces=traces_of(table(("A", 0.1, 0, "ok", 1.0)))[:1])
    assert (comparison.basis.loss, comparison.summary["loss"].iloc[0]) == ("validation", "validation")
    assert comparison.summary["final_loss_median"].iloc[0] == INF


def test_counts_and_epochs():
    statuses = ["ok", "ok", "stuck", "diverged", "failed"]
    runs = table(
        *(("A", 0.1, 100 + k, status, 1.0 if k < 3 else NAN) for k, status in enumerate(statuses))
    )
    summary = compared(runs, {"A": 0.1}).summary.iloc[0]
    for group in ("runs", "grid", "default"):
        counts = [summary[f"{group}_{status}"] for status in STATUSES]
        assert counts == [2, 1, 1, 1]
    assert summary["epochs_to_95_median"] == INF  # two of five got there
    assert summary["seeds_never_at_95"] == 3
    assert summary["final_accuracy_quartile_1"] == 0  # a run without an accuracy has none right


def test_epochs_are_counted_once_the_accuracy_is_kept_and_forgive_float32():
    runs = table(("A", 0.1, 100, "ok", 1.0))
    kept = float(np.float32(0.95))
    for accuracies, epochs in [
        ((0.1, kept, 0.96, 0.97, 0.5), 1),
        ((0.1, kept, 0.9, 0.99, 0.99), 2 + 5 / 9),
        ((0.1, kept, 0.9, 0.951, 0.9), INF),
    ]:
        summary = compared(runs, traces=traces_of(runs, accuracies)).summary
        assert summary["epochs_to_95_median"].tolist() == [pytest.approx(epochs)]


def test_an_optimizer_that_diverges_is_worse():
    good = [("A", 0.1, 100 + k, "ok", 5.0 + k) for k in range(12)]
    bad = [("B", 0.1, 100 + k, "ok" if k < 2 else "diverged", 0.1 if k < 2 else NAN) for k in range(12)]
    summary = compared(table(*bad, *good)).summary
    assert list(summary["optimizer"]) == ["A", "B"]
    assert list(summary["rank"]) == [1, 2]
    assert summary["difference_to_best"][1] == INF
    assert summary["worse_than_best"][1]
    assert pd.isna(summary["worse_than_best"][0])


def test_stuck_ranks_after_ok_even_with_a_lower_loss():
    stuck = [("A", 0.1, 100 + k, "stuck", 2.3) for k in range(3)]
    runs = table(*stuck, *(("B", 0.1, 100 + k, "ok", 2.5 + k) for k in range(3)))
    summary = compared(runs).summary
    assert list(summary["optimizer"]) == ["B", "A"]
    assert list(summary["final_loss_median"]) == [3.5, 2.3]


@pytest.mark.slow
def test_the_best_is_compared_with_each():
    runs = contest(range(12), B=lambda s: 2.0 + s, A=lambda s: 1.0 + s, C=lambda s: 4.0 + s)
    comparison = compared(runs, dict.fromkeys("ABC", 0.1))
    summary = comparison.summary
    assert list(summary["optimizer"]) == ["A", "B", "C"]
    assert list(summary["difference_to_best"][1:]) == [1, 3]
    tuned, own = (comparison.pairs[comparison.pairs["setting"] == name] for name in ("tuned", "default"))
    assert list(summary["p_value_to_best"][1:]) == list(tuned["p_value_adjusted"][:2])
    pairs = list(zip(tuned["better"], tuned["worse"], strict=True))
    assert pairs == [("A", "B"), ("A", "C"), ("B", "C")]
    assert comparison.reported.groupby("setting").size().to_dict() == {"tuned": 36, "default": 36}
    of_a = comparison.reported[comparison.reported["optimizer"] == "A"][:12]
    assert of_a["loss"].tolist() == of_a["score"].tolist() == [1.0 + s for s in range(12)]
    assert of_a[["accuracy", "epochs"]].to_numpy() == pytest.approx(np.array([[0.9, 1.5]] * 12))
    # The one rate of the grid is the default: nothing but the name of the setting differs.
    for name in ("pairs", "targets", "profiles"):
        both = getattr(comparison, name)
        tuned, own = (
            both[both["setting"] == setting].drop(columns="setting").reset_index(drop=True)
            for setting in ("tuned", "default")
        )
        pd.testing.assert_frame_equal(tuned, own)
    assert list(comparison.budget["trials"]) == [0, 1] * 3
    assert comparison.budget["expected_loss"].tolist() == pytest.approx(
        [summary.set_index("optimizer")["final_loss_median"][name] for name in "BBAACC"]
    )


def test_a_default_beside_the_grid_has_no_numbers_and_no_pairs():
    runs = contest(range(6), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s)
    comparison = compared(runs, {"A": 0.1, "B": 0.2})
    summary = comparison.summary.set_index("optimizer")
    assert summary["default_seeds"].to_dict() == {"A": 6, "B": 0}
    assert np.isnan(summary["default_loss_median"]["B"])
    assert set(comparison.pairs["setting"]) == {"tuned"}
    assert comparison.budget.set_index(["optimizer", "trials"]).index.tolist() == [
        ("A", 0), ("A", 1), ("B", 1),
    ]  # fmt: skip


def test_intervals_hold_together_with_their_numbers():
    rng = np.random.default_rng(0)
    losses = {name: rng.lognormal(size=20).__getitem__ for name in "ABC"}
    summary = compared(contest(range(20), **losses), {"A": 0.1}).summary
    for name in ("final_loss", "final_accuracy"):
        for number, low, high in (
            ("median", "interval_low", "interval_high"),
            ("iqm", "iqm_low", "iqm_high"),
        ):
            assert (summary[f"{name}_{low}"] <= summary[f"{name}_{number}"] + 1e-12).all()
            assert (summary[f"{name}_{number}"] <= summary[f"{name}_{high}"] + 1e-12).all()
    assert (summary["epochs_to_95_low"] <= summary["epochs_to_95_median"]).all()


GRID = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.sampled_from([0.1, 1.0]),
        st.sampled_from([0, 1, 100, 101, 102, 103]),
        st.sampled_from(["ok", "ok", "stuck", "diverged", "failed"]),
        st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    ),
    min_size=1, max_size=30, unique_by=lambda run: run[:3],
)  # fmt: skip


def test_a_table_with_gaps_ties_and_failures_is_compared_the_same_in_another_order():
    statuses = ["ok", "ok", "stuck", "ok", "diverged", "failed"]
    runs = [
        (label, rate, seed, statuses[(place + seed) % 6], [0.0, 0.5, 2.0][seed % 3])
        for place, label in enumerate("ABC")
        for rate in (0.1, 1.0)
        for seed in (0, 1, 100, 101, 102)[: 5 - place]
    ]
    every = test_any_table_is_compared_the_same_in_any_order_of_rows.hypothesis.inner_test
    every(runs, random.Random(0), has_traces=True)


@pytest.mark.slow
@settings(max_examples=15)
@given(GRID, st.randoms(), st.booleans())
def test_any_table_is_compared_the_same_in_any_order_of_rows(runs, random, has_traces):
    """Missing seeds, one run, ties, failures: numbers or gaps, and never a warning (they are errors)."""
    runs = table(*((*run[:4], NAN if run[3] in ("diverged", "failed") else run[4]) for run in runs))
    traces = traces_of(runs) if has_traces else traces_of(runs)[:0]
    defaults = {"A": 0.1, "B": 0.5}
    found = statistics.compare_optimizers(runs, traces, defaults, splits=50, draws=100)
    if len(found.summary):
        says = statistics.verdict(found)
        assert says
        assert all(sentence.endswith(".") and "nan" not in sentence for sentence in says)
    other_way = random.sample(range(len(runs)), len(runs))
    again = statistics.compare_optimizers(
        runs.iloc[other_way], traces.sample(frac=1, random_state=1), defaults, splits=50, draws=100
    )
    for name in TABLES:
        one, other = (as_set(getattr(each, name)) for each in (found, again))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)


def as_set(found):
    """Return a table in an order of its own; ties keep the order in which they came."""
    keys = ["setting", "metric", "target", "optimizer", "better", "worse", "run_id", "trials", "ratio"]
    mine = [key for key in keys if key in found]
    if "better" in found and len(found):  # a tie may be told either way round
        turned = found["better"] > found["worse"]
        names = ["seeds", "p_value", "different", "outcome"]
        found = found.assign(
            better=found["better"].where(~turned, found["worse"]),
            worse=found["worse"].where(~turned, found["better"]),
        )[["setting", "better", "worse", *names]]
        mine = ["setting", "better", "worse"]
    if "difference_to_best" in found:  # which of two that tie is the best is the order's to say
        found = found.drop(
            columns=[name for name in found if name.endswith("_best") or name == "standing"]
        )
    return found.sort_values(mine, ignore_index=True)


def test_intervals_do_not_depend_on_the_order_of_the_rows():
    """Seeds are resampled jointly, so it is the seed that must decide a run's place."""
    rng = np.random.default_rng(0)
    runs = contest(range(9), **{name: rng.lognormal(size=9).__getitem__ for name in "AB"})
    one, other = (compared(rows).summary for rows in (runs, runs.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(one, other)


def test_nothing_but_failures_is_compared_too():
    runs = table(
        *((name, rate, seed, "failed", NAN) for name in "AB" for rate in (0.1, 1.0)
          for seed in (0, 1, 100, 101))
    )  # fmt: skip
    comparison = compared(runs, {"A": 0.1})
    summary = comparison.summary
    assert summary["final_loss_median"].tolist() == [INF, INF]
    assert summary["rank"].tolist() == [1, 1]
    assert summary["learning_rate_edge"].tolist() == ["", ""]
    assert comparison.pairs["share_won"].tolist() == [0.5]
    assert comparison.pairs["p_value"].tolist() == [1]
    assert not comparison.pairs["different"].any()
    assert comparison.targets.empty
    assert comparison.budget["expected_loss"].eq(INF).all()
    assert summary["retuned_loss"].isna().all()  # 0 would be the best there is
    searched = compared(runs.assign(momentum=runs["learning_rate"]), {"A": 0.1}).candidates
    assert len(searched) == 4
    assert searched[["tuning_loss", "loss"]].eq(INF).all(axis=None)


def test_an_unfinished_sweep_is_compared_as_far_as_it_goes():
    runs = table(
        *(("A", 0.1, seed, "ok", 1.0) for seed in (0, 100, 101, 102)),
        *(("B", 0.1, seed, "ok", 2.0) for seed in (0, 101)),
        ("C", 0.1, 0, "ok", 2.0),
        ("D", 0.1, 100, "ok", 2.0),
    )
    comparison = compared(runs)
    summary = comparison.summary.set_index("optimizer")
    assert summary["seeds"].to_dict() == {"A": 3, "B": 1, "C": 0}  # D's rate is not chosen yet
    assert pd.isna(summary["rank"]["C"])
    assert pd.isna(summary["seeds_never_at_95"]["C"])  # which is not the same as 0
    assert comparison.pairs[["better", "worse", "seeds"]].to_numpy().tolist() == [["A", "B", 1]]


@pytest.mark.slow
def test_irrelevant_tables_change_no_p_value_of_a_pair():
    """Other numbers for the seeds, a candidate that always diverges, and a third optimizer that does."""
    source = np.random.default_rng(4)
    losses = source.normal(5, 1, (2, 2, 18)) + np.array([0, 1.6])[:, None, None]
    runs = table(
        *(("AB"[k], rate, seed, "ok", losses[k, number, seed % 100 + 6 * (seed >= 100)])
          for k in range(2) for number, rate in enumerate((0.1, 1.0))
          for seed in (*range(6), *range(100, 112)))
    )  # fmt: skip
    traces = traces_of(runs)

    def beside(optimizer, rate):
        """Return the tables with runs that diverge in addition."""
        lost = runs[(runs["optimizer"] == "A") & (runs["learning_rate"] == 0.1)]
        lost = lost.assign(optimizer=optimizer, candidate=3, learning_rate=rate, status="diverged")
        lost["run_id"] += " lost"
        lost[["final_train_loss", "final_validation_loss", "final_test_accuracy"]] = NAN
        start = traces[traces["run_id"].isin(lost["run_id"].str.removesuffix(" lost"))]
        start = start[start["step"] == 0].assign(optimizer=optimizer, learning_rate=rate)
        start["run_id"] += " lost"
        return pd.concat([runs, lost]), pd.concat([traces, start])

    def pair(runs, traces):
        found = statistics.compare_optimizers(runs, traces, splits=50, draws=50).pairs
        return found[found["better"].isin(["A", "B"]) & found["worse"].isin(["A", "B"])].iloc[0]

    known = pair(runs, traces)
    assert known["different"]
    renumbered = [rows.assign(seed=3 * rows["seed"] + 1) for rows in (runs, traces)]
    for tables in (renumbered, beside("A", 9.0)):
        pd.testing.assert_series_equal(pair(*tables), known)
    with_third = pair(*beside("C", 0.1))
    assert with_third["p_value"] == known["p_value"]
    assert with_third["p_value_adjusted"] >= known["p_value_adjusted"]  # the others come first
    assert with_third["smallest_difference"] > known["smallest_difference"]


@pytest.mark.slow
def test_big_tables_warn_of_nothing():
    rng = np.random.default_rng(0)
    columns = {name: np.where(rng.random(30) < 0.3, INF, rng.normal(size=30)) for name in "ABCDE"}
    runs = contest(range(30), **{name: column.__getitem__ for name, column in columns.items()})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        statistics.verdict(compared(runs, dict.fromkeys("ABCDE", 0.1)))
    assert [str(warning.message) for warning in caught] == []


def test_trace_bands_count_a_run_that_ended_early_as_infinite():
    runs = table(
        *(("A", 0.1, 100 + k, "ok", float(k)) for k in range(4)), ("A", 0.1, 104, "failed", NAN)
    )
    traces = traces_of(runs, (0.1, 0.94, 0.96))
    traces.loc[(traces["run_id"] == "A 0.1 103") & (traces["epoch"] == 2), "train_loss"] = NAN
    bands = statistics.trace_bands(runs, traces, "train_loss")
    # At the three epochs 2, 1, 0 more than each seed's number; the fifth run left no trace.
    assert bands[["epoch", "low", "median", "high"]].to_numpy().tolist() == [
        [0, 3, 4, 5],
        [1, 2, 3, 4],
        [2, 1, 2, INF],
    ]


def test_trace_bands_are_quantiles_of_each_optimizer_by_itself():
    losses = np.random.default_rng(0).lognormal(size=(2, 6))
    runs = contest(range(6), B=losses[1].__getitem__, A=losses[0].__getitem__)
    bands = statistics.trace_bands(runs, traces_of(runs, (0.1, 0.94, 0.96)), "train_loss")
    assert bands[["optimizer", "epoch"]].to_numpy().tolist() == [[o, e] for o in "AB" for e in (0, 1, 2)]
    expected = [np.quantile(row + ahead, (0.25, 0.5, 0.75)) for row in losses for ahead in (2, 1, 0)]
    assert bands[["low", "median", "high"]].to_numpy() == pytest.approx(np.array(expected))


def test_trace_bands_of_runs_without_a_trace_are_infinite():
    runs = table(
        *(
            ("A", 0.1, 100 + k, "ok" if k < 3 else "failed", float(k) if k < 3 else NAN)
            for k in range(5)
        ),
        ("B", 0.1, 100, "ok", 7.0), ("B", 0.1, 101, "ok", 8.0), ("B", 0.1, 102, "failed", NAN),
    )  # fmt: skip
    bands = statistics.trace_bands(runs, traces_of(runs, (0.1,)), "train_loss")
    assert list(bands) == [
        *("optimizer", "candidate", "learning_rate", "step", "epoch", "low", "median", "high"),
    ]
    assert bands[["low", "median", "high"]].to_numpy().tolist() == [[1, 2, INF], [7.5, 8, INF]]


def test_final_bands_share_of_statuses():
    runs = table(
        ("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 100, "ok", 3.0), ("A", 0.1, 101, "stuck", 5.0),
        ("A", 0.1, 102, "diverged", NAN), ("A", 1.0, 0, "failed", NAN),
    )  # fmt: skip
    bands = statistics.final_bands(runs)
    assert bands[["low", "median", "high"]].to_numpy().tolist() == [[2.5, 4, INF], [INF] * 3]
    assert bands[list(STATUSES)].to_numpy().tolist() == [[0.5, 0.25, 0.25, 0], [0, 0, 0, 1]]
    pd.testing.assert_frame_equal(statistics.final_bands(runs[::-1]), bands)


def test_an_optimizer_that_ties_with_the_first_is_compared_with_it_whatever_their_names():
    def numbers(**losses):
        runs = contest(range(12), **losses)
        found = statistics.compare_optimizers(runs, traces_of(runs), splits=20, draws=20).summary
        assert found["rank"].tolist() == [1, 1]
        return found[["optimizer", "difference_iqm_to_best", "p_value_to_best", "standing"]].to_numpy()

    even, wide = (lambda s: 9.0 + s), (lambda s: 9.0 + 3 * s - 11)  # of one median, 14.5
    [first, second], renamed = numbers(B=even, A=wide), numbers(C=even, D=wide)
    assert [first[0], second[0], *renamed[:, 0]] == ["B", "A", "C", "D"]
    assert second[1:].tolist() == renamed[1, 1:].tolist()
    assert second[3] == "undecided"
    assert np.isfinite(second[2])


@pytest.mark.slow
def test_losses_in_other_units_give_the_same_comparison():
    """Of four times the losses, differences are four times as large, and all claims are the same."""
    noise = np.random.default_rng(0).normal(size=(3, 2, 16))
    runs = table(
        *(
            (name, rate, seed + 96 * (seed >= 4), "ok", np.exp(0.4 * noise[i, j, seed] + 0.5 * i))
            for i, name in enumerate("ABC")
            for j, rate in enumerate((0.1, 1.0))
            for seed in range(16)
        )
    )
    traces = traces_of(runs)
    losses = {"runs": runs.filter(like="_loss").columns, "traces": traces.filter(like="_loss").columns}
    larger = runs.assign(**{name: 4 * runs[name] for name in losses["runs"]})
    higher = traces.assign(**{name: 4 * traces[name] for name in losses["traces"]})
    one, other = (
        statistics.compare_optimizers(*tables, splits=40, draws=20)
        for tables in ((runs, traces), (larger, higher))
    )
    scaled = [*one.pairs.filter(like="difference"), "equal_within"]
    pd.testing.assert_frame_equal(other.pairs.drop(columns=scaled), one.pairs.drop(columns=scaled))
    numbers = [name for name in scaled if one.pairs[name].dtype.kind == "f"]
    pd.testing.assert_frame_equal(other.pairs[numbers], 4 * one.pairs[numbers])
    assert other.budget["expected_loss"].tolist() == (4 * one.budget["expected_loss"]).tolist()
    same = ["rank", "optimizer", "chosen_share", "decades_within_2", "standing", "p_value_to_best"]
    pd.testing.assert_frame_equal(other.summary[same], one.summary[same])
