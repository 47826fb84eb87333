"""Every two optimizers, seed by seed: against scipy, the definitions, and by simulation."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import statistics as reference
from scipy import stats

from optimlab import statistics
from optimlab.statistics import intervals, pairs

INF, NAN = np.inf, np.nan
DIFFERENCES = st.lists(st.sampled_from([-INF, -3.0, -1.0, 0.0, 1.0, 2.0, INF]), min_size=1, max_size=9)


def test_differences_of_the_seeds_that_both_have():
    first, second = [1.0, 2.0, NAN, INF, INF, 3.0], [4.0, NAN, 1.0, INF, 5.0, INF]
    assert statistics.differences(first, second).tolist() == [3, 0, -INF, INF]
    assert statistics.differences([], []).tolist() == []


@given(DIFFERENCES)
def test_shares_won_and_lost_make_a_whole(difference):
    difference = np.array(difference)
    won, averaged = reference.shares_won(difference.tolist()) if len(difference) > 1 else (NAN, NAN)
    assert pairs.share_won(difference) + pairs.share_won(-difference) == pytest.approx(1)
    if len(difference) > 1:
        assert pairs.share_won(difference) == pytest.approx(won)
        averages = pairs._walsh_averages(difference)
        assert (
            pairs.share_won(averages) == pytest.approx(averaged, nan_ok=True)
            or np.isinf(difference).any()
        )


def test_share_won_by_hand():
    assert pairs.share_won(np.array([1, 2, 0, -1])) == 0.625
    assert np.isnan(pairs.share_won(np.array([])))


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
    assert np.isnan(statistics.signed_rank_p_value([]))


def test_zeros_are_ranked_and_their_ranks_dropped():
    """Pratt's way: Wilcoxon drops zeros before he ranks."""
    difference = np.array([0, 0, 0, -1, -2, 3, 4, 5, 6, 7.0])
    expected = stats.wilcoxon(difference, zero_method="pratt").pvalue
    assert statistics.signed_rank_p_value(difference) == expected
    assert expected == pytest.approx(2 * 8 / 2**7)  # ranks 4 to 10: eight sums of them are at most 9
    assert stats.wilcoxon(difference, zero_method="wilcox").pvalue == pytest.approx(2 * 5 / 2**7)


@given(DIFFERENCES)
def test_p_values_are_p_values_and_have_no_side(difference):
    p = statistics.signed_rank_p_value(np.array(difference))
    assert 0 < p <= 1
    assert statistics.signed_rank_p_value(-np.array(difference)) == pytest.approx(p)


def test_an_infinite_difference_ranks_first_whatever_the_others():
    finite, infinite = np.array([1, -2, 3, 9.0]), np.array([1, -2, 3, INF])
    assert statistics.signed_rank_p_value(finite) == statistics.signed_rank_p_value(infinite)


def test_beyond_a_hundred_seeds_only_ranks_count_too():
    difference = np.random.default_rng(0).normal(0.2, 1, size=120)
    difference[[3, 50]] = [900, -800]
    infinite = np.where(np.abs(difference) > 100, np.sign(difference) * INF, difference)
    expected = stats.wilcoxon(np.where(np.abs(difference) > 100, np.sign(difference) * 900, difference))
    assert statistics.signed_rank_p_value(infinite) == pytest.approx(expected.pvalue)
    assert statistics.signed_rank_p_value(np.zeros(120)) == 1


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.6, 0.9]) == pytest.approx([1, 1])
    assert statistics.holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_its_definition(p_values):
    assert statistics.holm(p_values) == pytest.approx(reference.holm(p_values))


def test_friedman():
    scores = np.random.default_rng(0).normal([0, 0.5, 0, 1], size=(12, 4))
    paired = pd.DataFrame(scores, columns=[*"ABCD"])
    expected = stats.friedmanchisquare(*paired.to_numpy().T).pvalue
    assert pairs.friedman_p_value(paired) == pytest.approx(expected)
    missing = pd.concat([paired, pd.DataFrame({"A": [1.0]})])  # a seed that one has
    assert pairs.friedman_p_value(missing) == pytest.approx(expected)
    assert pairs.friedman_p_value(paired * 0) == 1
    assert pairs.friedman_p_value(paired * 0 + INF) == 1
    assert np.isnan(pairs.friedman_p_value(paired[["A", "B"]]))
    assert np.isnan(pairs.friedman_p_value(paired[:1]))


def test_friedman_by_hand():
    """All of n = 6 seeds rank three alike: χ² = 12 / (n k (k+1)) Σ R² − 3 n (k+1) = 12, 2 degrees."""
    paired = pd.DataFrame({"A": [1.0] * 6, "B": [2.0] * 6, "C": [INF] * 6})
    assert pairs.friedman_p_value(paired) == pytest.approx(np.exp(-12 / 2))


def test_fewest_seeds_is_where_the_least_p_value_falls_below_the_level():
    for optimizers in (2, 5, 9):
        seeds = statistics.fewest_seeds(optimizers)
        family = optimizers * (optimizers - 1) / 2
        least = statistics.signed_rank_p_value(np.arange(1, seeds + 1.0))
        assert family * least < 0.05 < family * 2 * least
    assert statistics.fewest_seeds(1) == statistics.fewest_seeds(2) == 6


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_smallest_difference_scales_and_forgets_the_centre(level):
    difference = np.random.default_rng(2).normal(size=30)
    found = pairs.smallest_difference(difference, level)
    assert 0 < found < INF
    assert pairs.smallest_difference(10 * difference, level) == pytest.approx(10 * found)
    assert pairs.smallest_difference(difference + 5, level) == pytest.approx(found)
    assert pairs.smallest_difference(-difference, level) == pytest.approx(found, rel=0.05)
    assert pairs.smallest_difference(difference, level / 10) > found
    assert pairs.smallest_difference(np.tile(difference, 4), level) < found


def test_smallest_difference_of_too_few():
    assert np.isnan(pairs.smallest_difference(np.array([1.0]), 0.05))
    assert pairs.smallest_difference(np.array([1.0, 2.0, 3.0]), 0.05) == INF
    assert pairs.smallest_difference(np.arange(5.0), 0.05) == INF  # 2/2⁵ is above 0.05
    assert pairs.smallest_difference(np.arange(6.0), 0.05) < INF


def test_walsh_averages_by_hand():
    assert sorted(pairs._walsh_averages(np.array([1.0, 3.0, 7.0]))) == [1, 2, 3, 4, 5, 7]
    assert sorted(pairs._walsh_averages(np.array([-INF, INF]))) == [-INF, 0, INF]


def test_standard_error_by_hand():
    """Of six, the interval from the lowest to the highest covers all but 2/2⁶; of nine, see below.

    The test of nine rejects with 0, 1, …, 5 against: 1 + 1 + 1 + 2 + 2 + 3 of 2⁹ sums, twice. So five
    averages are left out at either end: of 0, 1, …, 8 these are 0, ½, 1, 1, 1½, and the next is 1½.
    """
    six = pairs.standard_error(np.array([0.0, 1, 2, 3, 4, 10]), 0.05)
    assert six == pytest.approx(10 / (2 * stats.norm.isf(1 / 64)))
    nine = pairs.standard_error(np.arange(9.0), 0.05)
    assert nine == pytest.approx((8 - 2 * 1.5) / (2 * stats.norm.isf(10 / 2**9)))


def test_standard_error_of_normal_numbers():
    """An average of n normal numbers has σ/√n; that of ranks √(π/3) as much. With many it goes on so."""
    difference = np.random.default_rng(1).normal(3, 2, size=(20, 400))
    for size in (60, 100, 101, 400):
        found = [pairs.standard_error(row[:size], 0.05) for row in difference]
        assert np.mean(found) == pytest.approx(2 * (np.pi / 3 / size) ** 0.5, rel=0.04)


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_normal_approximation_goes_on_where_the_exact_test_ends(level, monkeypatch):
    difference = np.random.default_rng(3).standard_t(3, size=100)
    exact = pairs.standard_error(difference, level)
    monkeypatch.setattr(pairs, "MOST_EXACT", 99)
    assert pairs.standard_error(difference, level) == pytest.approx(exact, rel=0.01)


def test_seeds_to_settle():
    rng = np.random.default_rng(2)
    difference = rng.normal(size=30)
    difference -= np.median(pairs._walsh_averages(difference))
    counts = [pairs.seeds_to_settle(difference + shift, 0.05) for shift in (0.2, 0.4, 0.8, 1.6)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 4 * counts[2]
    assert pairs.seeds_to_settle(difference + 0.4, 0.005) > counts[1]
    assert pairs.seeds_to_settle(-difference - 0.4, 0.05) == counts[1]
    assert all(count == int(count) for count in counts)
    assert pairs.seeds_to_settle(np.full(9, INF), 0.05) == 6  # 2/2⁶ is the first below 0.05
    assert pairs.seeds_to_settle(np.array([-1.0, 1.0]), 0.05) == INF
    assert pairs.seeds_to_settle(np.zeros(9), 0.05) == INF
    assert np.isnan(pairs.seeds_to_settle(np.array([1.0]), 0.05))


@given(DIFFERENCES)
def test_power_survives_anything(difference):
    difference = np.array(difference)
    for level in (0.05, 0.005):
        found = [pairs.smallest_difference(difference, level), pairs.seeds_to_settle(difference, level)]
        assert np.isnan(found).all() if len(difference) < 2 else min(found) >= 0


def rejected(difference, level):
    """Return the share of samples (R, N) that the exact signed-rank test rejects, no ties among them."""
    size = difference.shape[1]
    ranks = 1 + np.argsort(np.argsort(np.abs(difference), axis=1), axis=1)
    up = (ranks * (difference > 0)).sum(axis=1)
    ways = np.ones(1)  # in which a sum of ranks comes about
    for rank in range(1, size + 1):
        ways = np.convolve(ways, np.eye(1, rank + 1, 0)[0] + np.eye(1, rank + 1, rank)[0])
    p_value = 2 * np.cumsum(ways / 2.0**size)
    return (p_value[np.minimum(up, len(ways) - 1 - up)] < level).mean()


def test_rejected_is_scipys_test():
    samples = np.random.default_rng(0).normal(0.4, 1, size=(200, 20))
    expected = stats.wilcoxon(samples, axis=1).pvalue < 0.05
    assert rejected(samples, 0.05) == expected.mean()


SYMMETRIC = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t with 3 degrees": lambda rng, size: rng.standard_t(3, size=size),
}


@pytest.mark.slow
@pytest.mark.parametrize("population", SYMMETRIC)
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_smallest_difference_is_found_four_times_in_five(level, population):
    """Noether takes the variance that holds without a difference, so it asks rather too much."""
    rng, draw = np.random.default_rng(0), SYMMETRIC[population]
    shift = np.median([pairs.smallest_difference(draw(rng, 30), level) for _ in range(300)])
    assert 0.72 < rejected(draw(rng, (4000, 30)) + shift, level) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("population", SYMMETRIC)
@pytest.mark.parametrize("level", [0.05, 0.005])
@pytest.mark.parametrize("shift", [0.3, 0.5])
def test_that_many_seeds_settle_it_four_times_in_five(level, population, shift):
    rng, draw = np.random.default_rng(0), SYMMETRIC[population]
    seeds = pairs.seeds_to_settle(draw(rng, 1500) + shift, level)
    assert 0.77 < rejected(draw(rng, (4000, seeds)) + shift, level) < 0.92


def test_large_differences_need_few_seeds_to_be_seen():
    """Ten seeds that all agree have p = 2/2¹⁰, which is enough for ten pairs."""
    difference = np.random.default_rng(0).normal(size=10)
    assert statistics.signed_rank_p_value(difference + 10) < 0.005
    assert pairs.smallest_difference(difference, 0.005) < 10
    assert pairs.seeds_to_settle(difference + 10, 0.005) <= 10


def reported(**columns):
    """Return a table of reported runs with scores, and epochs where they are given as pairs."""
    rows = []
    for optimizer, column in columns.items():
        for seed, score in enumerate(column):
            rows.append({"optimizer": optimizer, "seed": seed, "score": score, "epochs": NAN})
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(intervals, "DRAWS", 300)


def test_a_pair_by_hand():
    seeds = np.arange(12.0)
    runs = reported(A=seeds, B=seeds + 1, C=seeds + 3).assign(epochs=4.0)
    table = pairs.compare(runs, ["A", "B", "C"]).set_index(["better", "worse"])
    assert list(table.index) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert table["seeds"].eq(12).all()
    for name in ("difference_median", "difference_iqm", "difference_low", "difference_high"):
        assert table[name].tolist() == [1, 3, 2], name
    assert table["share_won"].eq(1).all()
    least = statistics.signed_rank_p_value(np.ones(12))
    assert table["p_value"].tolist() == pytest.approx([least] * 3)
    assert table["p_value_adjusted"].tolist() == pytest.approx([3 * least] * 3)
    assert table["friedman_p_value"].tolist() == pytest.approx([np.exp(-12)] * 3)
    assert table["different"].all()
    assert (
        table[["epochs_median", "epochs_share_won", "epochs_p_value"]].to_numpy().tolist()
        == [[0, 0.5, 1]] * 3
    )


def test_the_favoured_of_a_pair_is_the_one_with_the_ranks():
    seeds = np.arange(12.0)
    epochs = np.tile([5.0, 5.0, 3.0, 4.0], (12, 1)) + 0.01 * seeds[:, None]
    runs = reported(A=seeds, B=seeds + 1, C=seeds + 1, D=seeds - 2).assign(epochs=epochs.T.ravel())
    table = pairs.compare(runs, [*"ABCD"]).set_index(["better", "worse"])
    assert table["favours"].to_dict() == {
        ("A", "B"): "A", ("A", "C"): "A", ("A", "D"): "D",
        ("B", "C"): "", ("B", "D"): "D", ("C", "D"): "D",
    }  # fmt: skip
    assert table["epochs_favour"].tolist() == ["", "C", "D", "C", "D", "C"]
    assert pairs.compare(reported(A=[1.0], B=[2.0]), ["A", "B"])["favours"].tolist() == ["A"]
    assert table["epochs_median"].tolist() == pytest.approx([0, -2, -1, -2, -1, 1])
    assert table["epochs_share_won"].tolist() == [0.5, 0, 0, 0, 0, 1]


def test_epochs_of_a_pair_are_summed_up_by_their_median():
    runs = reported(A=[1.0] * 3, B=[2.0] * 3).assign(epochs=[1, 1, 1, 2, 4, 11])
    assert pairs.compare(runs, ["A", "B"])["epochs_median"].tolist() == [3]


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


def test_no_pair_is_different_without_a_difference_among_all():
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=12) for name in "CDEF"}
    noise = rng.normal(size=12)
    runs = reported(A=noise, B=noise + 1e-3, **columns)
    table = pairs.compare(runs, [*"ABCDEF"])
    assert table["p_value_adjusted"][0] < 0.05 < table["friedman_p_value"][0]
    assert not table["different"].any()
    alone = pairs.compare(runs, ["A", "B"])
    assert np.isnan(alone["friedman_p_value"][0])
    assert alone["different"][0]


def test_seeds_that_only_one_has_do_not_count():
    table = pairs.compare(reported(A=[1.0, 2.0, 3.0, 4.0], B=[2.0, 4.0]), ["A", "B"])
    assert table[["seeds", "difference_median"]].to_numpy().tolist() == [[2, 1.5]]
    strangers = reported(A=[1.0], B=[2.0]).assign(seed=[0, 1])
    table = pairs.compare(strangers, ["A", "B"])
    assert table["seeds"][0] == 0
    assert (
        table.drop(columns=["better", "worse", "seeds", "different", "favours", "epochs_favour"])
        .isna()
        .all(axis=None)
    )


def test_one_optimizer_has_no_pairs():
    assert pairs.compare(reported(A=[1.0, 2.0]), ["A"]).empty
    assert list(pairs.compare(reported(A=[1.0]), ["A"])) == list(
        pairs.compare(reported(A=[1.0], B=[1.0]), ["A", "B"])
    )


SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, INF, NAN]), min_size=8, max_size=8)


@settings(max_examples=12)
@given(SCORES, SCORES, SCORES, st.randoms())
def test_a_pair_turned_round_is_the_same_pair_in_any_order_of_rows(first, second, third, random):
    runs = reported(A=first, B=second, C=third).dropna(subset="score")
    shuffled = runs.iloc[random.sample(range(len(runs)), len(runs))]
    there = pairs.compare(runs, ["A", "B", "C"])
    pd.testing.assert_frame_equal(there, pairs.compare(shuffled, ["A", "B", "C"]))
    back = pairs.compare(runs, ["C", "B", "A"]).set_index(["worse", "better"])
    there = there.set_index(["better", "worse"])
    back = back.reindex(there.index)
    for name in ("difference_median", "difference_iqm"):
        assert there[name].tolist() == pytest.approx((-back[name]).tolist(), nan_ok=True), name
    assert there["difference_low"].tolist() == pytest.approx(
        (-back["difference_high"]).tolist(), nan_ok=True
    )
    assert there["share_won"].tolist() == pytest.approx((1 - back["share_won"]).tolist(), nan_ok=True)
    for name in ("seeds", "p_value", "p_value_adjusted", "smallest_difference", "seeds_to_settle",
                 "friedman_p_value", "different"):  # fmt: skip
        assert there[name].tolist() == pytest.approx(back[name].tolist(), nan_ok=True), name
