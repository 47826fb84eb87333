"""Pairwise comparisons: the claims made in small simulated worlds where the truth is known."""

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import worlds
from reference.statistics import contest, table, traces_of
from scipy import stats
from sweeping import mostly_slow

from optimlab import statistics
from optimlab.statistics import pairs
from optimlab.statistics.problems import comparison_of
from optimlab.statistics.resampling import leave_one_out_of_mean

INF, NAN = np.inf, np.nan
REFERENCE = Path(worlds.__file__).parent


def compared(runs, defaults=None, traces=None, **options):
    """Return the table of pairs at the chosen rates, by pair."""
    traces = traces_of(runs) if traces is None else traces
    options = {"splits": 100, "draws": 50} | options
    found = statistics.compare_optimizers(runs, traces, defaults, **options).pairs
    return found[found["setting"] == "tuned"].set_index(["better", "worse"])


def swept(seeds, **optimizers):
    """Return runs of optimizers, given as rate → losses by seed; the first ten seeds tune."""
    return table(
        *(
            (
                name,
                rate,
                seed if seed < 10 else 90 + seed,
                "ok" if np.isfinite(loss) else "diverged",
                loss,
            )
            for name, rates in optimizers.items()
            for rate, losses in rates.items()
            for seed, loss in enumerate(losses[:seeds])
        )
    )


def test_differences_of_the_seeds_that_both_have():
    first, second = [1.0, 2.0, NAN, INF, INF, 3.0], [4.0, NAN, 1.0, INF, 5.0, INF]
    assert statistics.differences(first, second).tolist() == [3, 0, -INF, INF]
    assert statistics.differences([], []).tolist() == []


def test_fewest_seeds_is_where_all_may_agree_by_chance_in_less_than_the_level():
    for optimizers in (2, 5, 9):
        seeds = statistics.fewest_seeds(optimizers)
        family = optimizers * (optimizers - 1) / 2
        assert family * 2 / 2**seeds < 0.05 < family * 2 / 2 ** (seeds - 1)
    assert statistics.fewest_seeds(1) == statistics.fewest_seeds(2) == 6


@pytest.mark.parametrize("world", mostly_slow(worlds.WORLDS))
def test_the_numbers_are_those_of_sorting_every_split(world):
    """The file was written by code that sorted the seeds of every split of every pair."""
    expected = pd.read_csv(REFERENCE / "pairs.csv", keep_default_na=False, na_values=[""])
    expected = expected[expected.pop("world") == world].reset_index(drop=True)
    found = statistics.compare_optimizers(
        *worlds.experiment(world), worlds.DEFAULTS, splits=50, draws=10
    ).pairs
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False, rtol=1e-9)


def test_a_constant_difference_is_certain():
    found = compared(contest(range(12), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s, C=lambda s: 4.0 + s))
    assert list(found.index) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert found["seeds"].eq(12).all()
    for name in ("difference_median", "difference_iqm", "difference_low", "difference_high"):
        assert found[name].tolist() == pytest.approx([1, 3, 2]), name
    assert found["share_won"].eq(1).all()
    assert found["p_value"].tolist() == pytest.approx([2 / 2**12] * 3)
    assert found["p_value_adjusted"].tolist() == pytest.approx([3 * 2 / 2**12] * 3)
    assert found["favours"].tolist() == ["A", "A", "B"]
    assert found["different"].all()
    assert found["outcome"].eq("better").all()
    assert found["seeds_to_settle"].isna().all()  # they are settled
    assert found[["epochs_median", "epochs_share_won"]].to_numpy().tolist() == [[0, 0.5]] * 3
    assert not found["epochs_different"].any()


def test_what_is_reported_at_the_chosen_rate_is_not_all_that_is_claimed():
    """Both rates of B are as good, and each is chosen half of the time: no seed makes it worse."""
    source = np.random.default_rng(0)
    rates = {rate: source.normal(5, 1, 40) for rate in (0.1, 1.0)}
    other = {rate: source.normal(5, 1, 40) for rate in (0.1, 1.0)}
    found = compared(swept(40, A=rates, B=other))
    assert found["seeds"].tolist() == [40]  # tuning seeds count, too
    assert not found["different"].any()


def test_the_test_set_has_a_claim_of_its_own():
    runs = contest(range(20), A=lambda s: 1.0 + s / 100, B=lambda s: 2.0 + s / 90)
    losses = {"A": 3.0, "B": 0.5}
    runs["final_test_loss"] = runs["optimizer"].map(losses) + runs["seed"] % 7 / 50
    found = compared(runs).iloc[0]
    assert (found["favours"], found["different"]) == ("A", True)
    assert (found["test_favours"], found["test_different"]) == ("B", True)
    assert found["test_difference_iqm"] == pytest.approx(-2.5, abs=0.01)
    without = compared(runs.drop(columns="final_test_loss")).iloc[0]
    assert np.isnan(without["test_difference_iqm"])
    assert not without["test_different"]


def test_sooner_is_counted_in_seeds_won():
    runs = contest(range(20), A=lambda s: 1.0 + s, B=lambda s: 1.0 + s + s % 2 / 9)

    def accuracies(run):
        late = run["optimizer"] == "A" and run["seed"] % 5 > 0
        return (0.1, 0.2, 0.3, 0.97) if late else (0.1, 0.97, 0.97, 0.97)

    found = compared(runs, traces=traces_of(runs, accuracies)).iloc[0]
    assert found["epochs_share_won"] == pytest.approx(0.5 * 4 / 20)
    assert (found["epochs_favour"], found["epochs_different"]) == ("B", True)


def test_identical_optimizers_are_practically_equal():
    found = compared(contest(range(12), A=lambda s: 1.0 + s, B=lambda s: 1.0 + s))
    assert found["outcome"].tolist() == ["practically equal"]
    assert found["difference_iqm"].tolist() == [0]
    assert found["favours"].tolist() == [""]
    assert found["p_value_adjusted"].tolist() == [1]


def test_a_difference_that_is_certain_but_does_not_matter_is_practical_equality():
    runs = contest(range(20), A=lambda s: 100.0 + s / 9, B=lambda s: 101.0 + s / 9)
    assert compared(runs)["outcome"].tolist() == ["practically equal"]
    assert not compared(runs)["different"].any()
    assert compared(runs, equal_within=0.001)["outcome"].tolist() == ["better"]


def twins(scale):
    """Return runs of two optimizers that end near 0, one ten times as far from it; and their traces."""
    runs = contest(range(20), A=lambda s: scale * (1 + s), B=lambda s: 10 * scale * (1 + s))
    traces = traces_of(runs)
    ends = runs.set_index("run_id")["final_validation_loss"]
    is_last = traces["step"] == traces["step"].max()
    traces.loc[is_last, "validation_loss"] = traces["run_id"].map(ends)
    return runs, traces


@pytest.mark.slow
def test_rounding_noise_is_no_difference():
    """Far below what the starting loss's arithmetic resolves, one of two twins is always lower."""

    def outcome(scale, **options):
        runs, traces = twins(scale)
        return compared(runs, traces=traces, **options).iloc[0]

    assert outcome(1e-54)["seeds"] == 20
    assert outcome(1e-54)["outcome"] == "practically equal"
    assert outcome(1e-54)["share_won"] == 0.5
    assert outcome(1e-9)["outcome"] == "better"
    assert outcome(1e-9, resolution=1e-6)["outcome"] == "practically equal"


@pytest.mark.slow
def test_each_problem_is_rounded_as_its_own_arithmetic_does():
    runs, traces = twins(1e-9)
    settings = {name: {"problem": {"dtype": name}} for name in ("float32", "float64")}
    outcomes = [
        comparison_of(runs.assign(problem=name), traces, experiment).pairs["outcome"].iloc[0]
        for name in settings
        for experiment in ({"problem": None, "problems": settings}, settings[name])
    ]
    assert outcomes == 2 * ["practically equal"] + 2 * ["better"]


def test_negligible_test_losses_and_noisy_times_are_no_differences():
    runs = contest(range(20), A=lambda s: 1.0 + s, B=lambda s: 1.0 + s)
    own = runs["optimizer"].map({"A": 100.0, "B": 101.0})

    def accuracies(run):
        return (0.1, 0.2, 0.97 + 1e-8 * (run["optimizer"] == "A"), 0.97, 0.97)

    found = compared(
        runs.assign(final_test_loss=own + runs["seed"] / 9), traces=traces_of(runs, accuracies)
    )
    row = found.iloc[0]
    assert row["test_difference_low"] > 0.9
    assert row["test_p_value_adjusted"] < 0.05
    assert not row["test_different"]
    assert row["epochs_share_won"] == 0.5
    assert not row["epochs_different"]


@pytest.mark.slow
def test_two_optimizers_with_the_same_median_are_not_called_different():
    """The second is as good in its better half, and six times as far out in its worse one."""
    source = np.random.default_rng(0)
    typical = np.sort(source.normal(10, 1, 101))
    tail = typical + 5 * np.maximum(typical - np.median(typical), 0)
    place = source.permutation(101)

    def against(other):
        runs = contest(range(101), A=lambda s: typical[place[s]], B=lambda s: other[place[s]])
        return compared(runs, equal_within=0).iloc[0]

    found = against(tail)
    assert found["difference_low"] > 0
    assert found["p_value"] < 0.05 < found["p_value_adjusted"]
    assert not found["different"]
    assert (against(0.5 + tail)["favours"], against(0.5 + tail)["different"]) == ("A", True)


def test_where_all_seeds_agree_the_share_is_still_not_certain():
    found = compared(contest(range(12), A=lambda s: 1.0 + s, B=lambda s: 9.0 + s)).iloc[0]
    shares = [found[f"share_won{end}"] for end in ("", "_low", "_high")]
    assert shares == pytest.approx([1, *stats.binomtest(12, 12).proportion_ci()])


@pytest.mark.slow
def test_the_interval_of_a_share_is_that_of_as_many_coins():
    source, held = np.random.default_rng(0), 0
    for _ in range(400):
        won = source.random(15) < 0.9
        signs, all_report = np.where(won, 1.0, -1)[None], np.ones((1, 15), dtype=bool)
        ahead = leave_one_out_of_mean(signs, np.zeros(1, int), all_report)
        found = pairs._share(ahead, "share")
        exact = stats.binomtest(int(won.sum()), 15).proportion_ci()
        assert (found["share_low"], found["share_high"]) == pytest.approx(tuple(exact), abs=0.03)
        held += found["share_low"] <= 0.9 <= found["share_high"]
    assert held >= 0.93 * 400


@pytest.mark.slow
def test_two_that_fail_on_different_seeds_are_not_practically_equal():
    """Where a loss is as bad as the start, two that often fail hardly differ in their means."""
    source = np.random.default_rng(0)
    fails = source.random((2, 30)) < 0.5
    runs = contest(
        range(30),
        A=lambda s: INF if fails[0, s] else 100 + s / 99,
        B=lambda s: INF if fails[1, s] else 100 + s / 99,
    )
    found = compared(runs).iloc[0]
    assert found["outcome"] == "undecided"
    assert found["seeds_to_settle"] == INF
    together = contest(range(30), **{name: lambda s: INF if s % 2 else 100 + s / 99 for name in "AB"})
    assert compared(together)["outcome"].tolist() == ["practically equal"]


@pytest.mark.slow
def test_the_share_of_the_one_is_the_rest_of_the_other():
    """Also where runs are lost, and where both end as bad as they began."""
    source = np.random.default_rng(0)
    losses = np.where(source.random((2, 20)) < 0.3, INF, source.integers(0, 4, (2, 20)))
    shares = []
    for first, second in ((0, 1), (1, 0)):
        runs = contest(range(20), A=lambda s, k=first: losses[k, s], B=lambda s, k=second: losses[k, s])
        ((better, _), found), = compared(runs).iterrows()  # fmt: skip
        share, low, high = (found[f"share_won{end}"] for end in ("", "_low", "_high"))
        is_first = (better == "A") == (first == 0)
        shares.append((share, low, high) if is_first else (1 - share, 1 - high, 1 - low))
    assert shares[0] == pytest.approx(shares[1])
    assert 0 < shares[0][1] < shares[0][0] < shares[0][2] < 1


@pytest.mark.slow
def test_copies_of_a_seed_count_once():
    runs = contest(range(18), A=lambda _: 1.0, B=lambda _: 2.0)
    found = compared(runs)
    assert found["seeds"].tolist() == [1]
    assert not found["different"].any()
    mostly = contest(range(18), A=lambda s: 1.0 + (s > 15), B=lambda s: 2.0 + 2 * (s > 15))
    assert compared(mostly)["seeds"].tolist() == [2]
    failed = contest(range(18), A=lambda s: 1.0 + s, B=lambda _: INF)
    assert compared(failed)["seeds"].tolist() == [18]


def test_copies_of_a_seed_count_once_beside_runs_that_fail():
    runs = contest(range(18), A=lambda s: 1.0 + s % 3, B=lambda _: 9.0)
    ends = ["final_train_loss", "final_validation_loss", "final_test_accuracy"]
    nothing = runs.assign(status="failed", **dict.fromkeys(ends, NAN))
    b_fails = runs.where(runs["optimizer"] == "A", nothing)
    assert compared(b_fails)["seeds"].tolist() == [3]
    assert compared(nothing)["seeds"].tolist() == [18]


@pytest.mark.slow
def test_seeds_that_only_one_has_do_not_count():
    runs = contest(range(9), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s)
    strangers = runs[(runs["optimizer"] == "A") | (runs["seed"] < 102)]
    assert compared(strangers)["seeds"].tolist() == [2]
    found = compared(runs[(runs["optimizer"] == "A") == (runs["seed"] < 104)])
    assert found["seeds"].tolist() == [0]
    assert found[["difference_median", "difference_iqm", "p_value"]].isna().all(axis=None)
    assert found["outcome"].tolist() == ["undecided"]


def test_one_optimizer_has_no_pairs():
    found = compared(contest(range(9), A=lambda s: 1.0 + s))
    assert found.empty
    assert "outcome" in found


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_claim_nothing(seeds):
    found = compared(contest(range(seeds), A=lambda s: 1.0 + s, B=lambda s: 50.0 + s * s))
    assert not found["different"].any()
    assert found["outcome"].tolist() == ["undecided"]


@pytest.mark.slow
def test_seeds_to_settle_are_no_fewer_than_any_claim_needs():
    """Fifteen optimizers on nine seeds: no claim is possible before the thirteenth."""
    far_apart = {name: lambda s, to=to: 9.0 * to + s / 9 for to, name in enumerate("ABCDEFGHIJKLMNO")}
    found = compared(contest(range(9), **far_apart))
    assert found["outcome"].eq("undecided").all()
    for end in ("_low", "", "_high"):
        assert found[f"seeds_to_settle{end}"].eq(statistics.fewest_seeds(15)).all()
    assert compared(contest(range(13), **far_apart))["different"].all()


@pytest.mark.slow
def test_seeds_to_settle_is_infinite_where_failures_decide_and_empty_where_nothing_is_open():
    source = np.random.default_rng(0)
    noise = source.normal(9, 1, (2, 18))
    a_third = contest(range(18), A=lambda s: noise[0, s], B=lambda s: INF if s % 3 else noise[1, s])
    found = compared(a_third).iloc[0]
    assert np.isnan(found["seeds_to_settle"]) if found["different"] else found["seeds_to_settle"] == INF
    in_turn = contest(
        range(18), A=lambda s: INF if s % 3 == 1 else 9.0 + s, B=lambda s: INF if s % 3 == 2 else 9.0 + s
    )
    assert compared(in_turn)["seeds_to_settle"].tolist() == [INF]
    close = contest(
        range(18),
        A=lambda s: noise[0, s],
        B=lambda s: noise[1, s] - noise[1].mean() + noise[0].mean() + 0.3,
    )
    found = compared(close).iloc[0]
    assert not found["different"]
    assert found["seeds_to_settle_low"] < found["seeds_to_settle"] < found["seeds_to_settle_high"]
    assert found["smallest_difference"] > abs(found["difference_iqm"])
    equal = contest(range(18), A=lambda s: 100 + noise[0, s], B=lambda s: 100 + noise[1, s])
    found = compared(equal).iloc[0]
    assert found["outcome"] == "practically equal"
    assert np.isnan(found["seeds_to_settle"])


@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
@pytest.mark.slow
def test_seeds_to_settle_have_the_interval_of_the_difference(level):
    """They are as unsure as it is, also where few seeds report, and at the level of any look."""
    source = np.random.default_rng(4)
    undecided = 0
    for shift in np.linspace(0.2, 1.1, 10):
        ends = source.normal(9, 1, (2, 24))
        ends[1] += shift - ends[1].mean() + ends[0].mean()
        grids = {name: {0.1: own, 0.2: own + 9} for name, own in zip("AB", ends, strict=True)}
        found = compared(swept(24, **grids), level=level).iloc[0]
        if found["outcome"] == "undecided":
            undecided += 1
            near, far = sorted(abs(found[["difference_low", "difference_high"]]))
            near *= found["difference_low"] * found["difference_high"] > 0
            for end, gap in (("_low", far), ("_high", near)):
                needed = np.ceil(24 * (found["smallest_difference"] / gap) ** 2) if gap else INF
                assert found[f"seeds_to_settle{end}"] == max(needed, 25)
    assert undecided > 3


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.slow
def test_huge_and_tiny_losses_are_compared_as_others_are(scale):
    """Squares of such losses are beyond the range of float64."""
    noise = np.random.default_rng(1).normal(9, 1, (2, 18))
    noise[1] += 2

    def at(scale):
        runs = contest(range(18), A=lambda s: scale * noise[0, s], B=lambda s: scale * noise[1, s])
        starts = runs[["run_id", "optimizer", "candidate", "learning_rate", "seed", "role"]]
        losses = runs["final_train_loss"]
        records = [
            starts.assign(step=step, epoch=float(step), validation_loss=times * losses)
            for step, times in ((0, 9), (1, 3), (2, 1))
        ]
        return compared(runs, traces=pd.concat(records))

    found, expected = at(scale), at(1.0)
    same = ["different", "outcome", "p_value", "p_value_adjusted", "share_won"]
    pd.testing.assert_frame_equal(found[same], expected[same])
    assert found["difference_high"].tolist() == pytest.approx(
        (scale * expected["difference_high"]).tolist()
    )


@pytest.mark.slow
def test_more_noise_takes_more_to_be_seen():
    source = np.random.default_rng(1)
    noise = source.normal(size=(2, 30))

    def smallest(scale, seeds):
        losses = 100 + scale * noise
        runs = contest(range(seeds), A=lambda s: losses[0, s], B=lambda s: losses[1, s])
        return compared(runs)["smallest_difference"].iloc[0]

    assert smallest(2, 30) == pytest.approx(2 * smallest(1, 30))
    assert smallest(1, 12) > 1.2 * smallest(1, 30)


SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, INF, NAN]), min_size=8, max_size=8)


@pytest.mark.slow
@settings(max_examples=3)
@given(SCORES, SCORES, st.randoms())
@example([0.0] * 8, [0.0] * 8, Random(0))
def test_any_pair_is_the_same_in_any_order_of_rows(first, second, random):
    rows = [
        (name, 0.1, 100 + seed, "ok" if np.isfinite(loss) else "diverged", loss)
        for name, losses in (("A", first), ("B", second))
        for seed, loss in enumerate(losses)
        if not np.isnan(loss)
    ]
    runs = table(*rows) if rows else None
    if runs is None:
        return
    others = random.sample(range(1, len(runs)), len(runs) - 1)
    shuffled = runs.iloc[[0, *others]]  # a tie keeps the order of first appearance
    pd.testing.assert_frame_equal(
        compared(runs, splits=9), compared(shuffled, splits=9), check_dtype=False
    )


def reported(**columns):
    """Return a table of reported runs with scores."""
    return pd.DataFrame(
        [
            {"optimizer": optimizer, "seed": seed, "score": score}
            for optimizer, column in columns.items()
            for seed, score in enumerate(column)
        ]
    )


def test_differences_seed_by_seed():
    runs = reported(A=[1.0, 2.0, 3.0], B=[5.0, 4.0], C=[2.0, INF, 2.0])
    found = pairs.seed_differences(runs, ["B", "A", "C"])
    assert found.to_numpy().tolist() == [
        ["B", "A", 0, -4], ["B", "A", 1, -2],
        ["B", "C", 0, -3], ["B", "C", 1, INF],
        ["A", "C", 0, 1], ["A", "C", 1, INF], ["A", "C", 2, -1],
    ]  # fmt: skip
    none = pairs.seed_differences(runs, ["A"])
    assert (list(none), len(none)) == (list(found), 0)
