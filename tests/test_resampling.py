"""Retuning: splits, choices and errors against loops, and the rate of false claims."""

from itertools import combinations

import numpy as np
import pytest
from reference import statistics as reference
from scipy import stats
from sweeping import mostly_slow

from optimlab.statistics import holm, signed_rank_p_value
from optimlab.statistics.pairs import _smallest_difference
from optimlab.statistics.resampling import (
    LEVEL,
    Estimate,
    choose,
    family,
    interquartile_weights,
    leave_one_out,
    leave_one_out_of_mean,
    median_weights,
    split_seeds,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def none_bad(scores):
    return np.zeros_like(scores)


def test_splits_have_so_many_tuning_seeds_and_differ():
    reports = split_seeds(9, 4, 50, rng())
    assert reports.shape == (50, 9)
    assert (reports.sum(axis=1) == 5).all()
    assert len(np.unique(reports, axis=0)) > 30
    assert (reports.sum(axis=0) > 15).all()
    assert split_seeds(9, 0, 50, rng()).tolist() == [[True] * 9]


def test_the_least_median_of_the_tuning_seeds_is_chosen():
    scores = np.array([[1.0, 9, 9, 9], [2, 2, 2, 9], [3, 3, 0, 0]])
    reports = np.array([[False, False, False, True], [True, False, False, False]])
    assert choose(scores, none_bad(scores), reports).tolist() == [1, 2]


def test_a_tie_goes_to_fewer_bad_runs_and_then_to_the_first():
    scores, reports = np.ones((3, 4)), np.array([[True, False, False, False]])
    bad = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0.0]])
    assert choose(scores, bad, reports).tolist() == [1]
    assert choose(scores, none_bad(scores), reports).tolist() == [0]


def middle_root(values):
    """Average the middle √n: the integral of the quantiles, between two levels."""
    below = np.cumsum([0, *np.sort(values)])
    ends = np.interp(
        len(values) / 2 + np.array([-0.5, 0.5]) * np.sqrt(len(values)), range(len(below)), below
    )
    return (ends[1] - ends[0]) / np.sqrt(len(values))


WAYS = {  # and the degrees of freedom of 11 seeds, of which 8 report: as many as count, less one
    "interquartile mean": (reference.interquartile_mean, interquartile_weights, 11 / 2 - 1),
    "middle √n": (middle_root, median_weights, 11 / 8**0.5 - 1),
    "mean": (np.mean, None, 11 - 1),
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_leaving_out_a_seed_is_leaving_it_out(way, tied):
    numbers, reports = rng().normal(size=(4, 11)), split_seeds(11, 3, 40, rng(1))
    numbers[0, 5] = 1e300 if way == "interquartile mean" else 10
    numbers = np.round(numbers) if tied else numbers
    chosen = rng(2).integers(0, 4, 40)
    middle, weigh, freedom = WAYS[way]
    found = (
        leave_one_out(numbers, chosen, reports, weigh)[0]
        if weigh
        else leave_one_out_of_mean(numbers, chosen, reports)
    )
    values = numbers[chosen]
    kept = [row[held].tolist() for row, held in zip(values, reports, strict=True)]
    assert found.value == pytest.approx(np.mean([middle(row) for row in kept]))
    assert found.freedom == pytest.approx(freedom)
    for seed in range(11):
        without = [
            middle([row[k] for k in range(11) if held[k] and k != seed])
            for row, held in zip(values, reports, strict=True)
            if held[seed]
        ]
        assert found.without[seed] == pytest.approx(np.mean(without))


def mean_of(values):
    """Return the mean of numbers, one per seed, of which none is there to tune."""
    return leave_one_out_of_mean(values[None], np.zeros(1, int), split_seeds(len(values), 0, 1, rng()))


def test_the_error_of_a_mean_is_its_standard_error():
    values = rng().normal(size=30)
    found = mean_of(values)
    assert found.standard_error == pytest.approx(stats.sem(values), rel=0.02)
    value, low, high = found.interval()
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 29, value, stats.sem(values)), rel=0.03)


def test_the_one_sided_p_value_is_that_of_a_t_test():
    values = rng(3).normal(0.4, 1, size=60)
    found = mean_of(values)
    for sign, alternative in ((1, "greater"), (-1, "less")):
        expected = stats.ttest_1samp(values, 0, alternative=alternative).pvalue
        assert found.one_sided(sign) == pytest.approx(expected, rel=0.1)
    assert found.one_sided(0) == 1
    certain, none = Estimate(2.0, np.full(9, 2.0), 8), Estimate(0.0, np.zeros(9), 8)
    assert [certain.one_sided(sign) for sign in (-1, 0, 1)] == [1, 1, 0]
    assert [none.one_sided(sign) for sign in (-1, 0, 1)] == [1, 1, 1]


def test_the_p_value_of_an_interquartile_mean_is_that_of_a_trimmed_t_test():
    values = rng(3).normal(0.9, 1, size=40)
    whole, none = split_seeds(40, 0, 1, rng()), np.zeros(1, int)
    found = leave_one_out(values[None], none, whole, interquartile_weights)[0]
    error = stats.mstats.trimmed_stde(values, limits=(0.25, 0.25))
    assert found.standard_error == pytest.approx(float(error), rel=0.05)
    t = stats.trim_mean(values, 0.25) / found.standard_error
    assert found.one_sided(1) == pytest.approx(stats.t.sf(t, 19))
    assert found.one_sided(1) > 1.2 * stats.t.sf(t, 39)


def estimates(*columns):
    """Return the means of columns of numbers, one number per seed."""
    return [mean_of(np.array(column)) for column in columns]


def test_one_claim_is_a_t_test_and_copies_of_it_cost_nothing():
    values = rng(3).normal(0.4, 1, size=30)
    p_value = stats.ttest_1samp(values, 0).pvalue
    one, ten = family(estimates(values), rng()), family(estimates(*10 * [values]), rng())
    assert one.p_values[0] == pytest.approx(p_value, rel=0.15)
    assert one.adjusted[0] == pytest.approx(p_value, rel=0.2)
    assert ten.adjusted[0] == pytest.approx(one.adjusted[0], abs=0.01)
    assert ten.reach[0] == pytest.approx(stats.t.isf(0.025, 29), rel=0.03)


def test_many_claims_are_adjusted_step_by_step():
    columns = rng(4).normal(size=(8, 40))
    columns -= columns.mean(axis=1, keepdims=True)
    columns += np.array([1, 0.45, *6 * [0.01]])[:, None]
    found = family(estimates(*columns), rng())
    assert (found.adjusted >= found.p_values).all()
    assert found.adjusted[0] < 0.001
    by_holm = holm(found.p_values)
    assert found.adjusted[:2] == pytest.approx(by_holm[:2], rel=0.25, abs=0.002)
    assert found.adjusted[1] < 8 * found.p_values[1]
    assert (found.reach > 2.6).all()


def test_a_claim_of_more_weight_costs_less():
    columns = rng(4).normal(size=(5, 40))
    columns += (0.4 - columns.mean(axis=1))[:, None]
    same = family(estimates(*columns), rng())
    weighted = family(estimates(*columns), rng(), np.array([4, 0.25, 0.25, 0.25, 0.25]))
    assert weighted.p_values.tolist() == same.p_values.tolist()
    assert weighted.adjusted[0] < same.adjusted[0]
    assert weighted.reach[0] < same.reach[0] < weighted.reach[1]


@pytest.mark.parametrize("weights", [(1, 1), (1.4, 0.6), (0.6, 1.4)])
def test_two_correlated_claims_are_adjusted_by_the_bivariate_normal_distribution(weights):
    shared, other = stats.zscore(rng(5).normal(size=(2, 40)), axis=1)
    columns = 0.3 + shared, 0.25 + 0.6 * shared + 0.8 * other
    found = family(estimates(*columns), rng(), np.array(weights))
    normal = stats.multivariate_normal(cov=np.corrcoef(columns))

    def chance_of_any(ratio):
        """Return the chance that a p-value over its weight is at most a ratio, if nothing differs."""
        x, y = stats.norm.isf(ratio * np.array(weights) / 2)
        corners = ((x, y), (-x, -y)), ((x, -y), (-x, y))
        inside, outside = (sum(map(normal.cdf, pair)) for pair in corners)
        return 1 - (inside - outside)

    ratios = found.p_values / weights
    first = int(ratios.argmin())
    expected = chance_of_any(ratios[first])
    assert 1.2 * found.p_values[first] < expected < 1.9 * found.p_values[first]  # the other has a say
    assert found.adjusted[first] == pytest.approx(expected, abs=0.012)
    last = max(expected, found.p_values[1 - first])
    assert found.adjusted[1 - first] == pytest.approx(last, abs=0.012)
    at_reach = 2 * stats.t.sf(found.reach, 39) / weights
    assert at_reach[0] == pytest.approx(at_reach[1])
    assert chance_of_any(at_reach[0]) == pytest.approx(LEVEL, abs=0.006)


def test_nothing_differs_from_itself_and_a_constant_is_certain():
    same, shifted = Estimate(0.0, np.zeros(9), 8), Estimate(2.0, np.full(9, 2.0), 8)
    found = family([same, shifted], rng())
    assert found.adjusted.tolist() == [1, pytest.approx(1 / 10_001)]
    assert family([], rng()).adjusted.tolist() == []


def test_the_least_p_values_of_kinds_are_those_of_a_loop():
    """Weights and degrees of freedom differ, and one p-value is almost 0."""
    source = rng(5)
    columns = source.normal(size=(6, 20))
    columns += np.array([0.7, 0.5, 0.4, 0.2, 0, 1e12])[:, None]
    freedom, weight = np.array([19, 19, 9, 9, 4, 19]), np.array([2, 0.5, 2, 0.5, 0.5, 0.5])
    claims = [
        Estimate(each.value, each.without, of)
        for each, of in zip(estimates(*columns), freedom, strict=True)
    ]
    found = family(claims, rng(6), weight, draws=1000)
    own = found.p_values / weight
    without = np.array([each.without for each in claims])
    directions = without - without.mean(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    order, source = np.argsort(own), rng(6)
    errors = source.standard_normal((1000, 20)) @ directions[order].T
    drawn = 2 * stats.norm.sf(np.abs(errors)) / weight[order]
    as_low = [(drawn[:, k:].min(axis=1) <= own[order[k]]).sum() for k in range(6)]
    adjusted = np.maximum((1 + np.array(as_low)) / 1001, found.p_values[order])
    expected = np.minimum(np.maximum.accumulate(adjusted), 1)
    assert found.adjusted[order] == pytest.approx(expected)
    assert expected[0] < 0.01 < expected[-1]


def copies(source, of, seeds):
    """Return scores (candidates, seeds) of copies of an optimizer with two rates that nearly tie."""
    wide = source.standard_t(4, size=(of, 3, seeds))
    return np.array([0.070, 0.064, 0.1])[:, None] + np.array([0.01, 0.025, 0.01])[:, None] * wide


def ends(scores, tuning):
    """Return the loss to expect of each of the optimizers."""
    reports = split_seeds(scores[0].shape[1], tuning, 40, rng())
    return [
        leave_one_out(own, choose(own, none_bad(own), reports), reports, interquartile_weights)[0]
        for own in scores
    ]


def claims(losses):
    """Return all claims of who ends lower than whom."""
    return family([b - a for a, b in combinations(losses, 2)], rng(), draws=400)


def differ(scores, tuning):
    """Return whether any two of the optimizers are called different."""
    return (claims(ends(scores, tuning)).adjusted < LEVEL).any()


def differed_formerly(scores, tuning):
    """Return the same of the signed-rank test at rates that are chosen once."""
    fixed = [own[np.median(own[:, :tuning], axis=1).argmin(), tuning:] for own in scores]
    p_values = [signed_rank_p_value(b - a) for a, b in combinations(fixed, 2)]
    return (holm(p_values) < 0.05).any()


def at_most(level, times):
    """Return how often a claim of that level is made at most, but once in a thousand times."""
    return stats.binom.isf(0.001, times, level)


@pytest.mark.parametrize("of", mostly_slow([2, 5]))
def test_copies_of_one_optimizer_are_called_different_in_five_percent(of):
    source = rng(1)
    worlds = [copies(source, of, 110) for _ in range(150)]
    assert sum(differ(scores, tuning=10) for scores in worlds) <= at_most(0.05, 150)
    formerly = sum(differed_formerly(scores, tuning=10) for scores in worlds[:50])
    assert formerly > at_most(0.05, 50)  # so many that this test can tell


def test_five_optimizers_on_few_seeds_are_called_different_in_five_percent():
    """With one degree of freedom less than all seeds have, a mean of few of them claims too much."""
    source, found = rng(4), {"those that count": 0, "all": 0}
    whole, none = split_seeds(14, 0, 1, rng()), np.zeros(1, int)
    for losses in source.normal(size=(250, 5, 1, 14)):
        counted = [leave_one_out(own, none, whole, median_weights)[0] for own in losses]
        every = [Estimate(own.value, own.without, 13) for own in counted]
        found["those that count"] += (claims(counted).adjusted < LEVEL).any()
        found["all"] += (claims(every).adjusted < LEVEL).any()
    assert found["those that count"] <= at_most(LEVEL, 250) < found["all"]


def test_real_differences_are_found():
    source = rng(2)
    worlds = [copies(source, 2, 40) + np.array([0, 0.02])[:, None, None] for _ in range(40)]
    assert sum(differ(scores, tuning=10) for scores in worlds) > 28


@pytest.mark.parametrize(("of", "tuning"), mostly_slow([(2, 10), (2, 0), (5, 10)]))
def test_the_smallest_difference_is_found_in_four_of_five_experiments(of, tuning):
    source = rng(3)
    rates = 3 if tuning else 1
    worlds = [ends(copies(source, of, 40)[:, :rates], tuning) for _ in range(200)]
    found = [claims(losses) for losses in worlds]
    smallest = [_smallest_difference(each.standard_errors[0], each.reach[0], 40) for each in found]
    typical = float(np.mean(smallest))
    shifted = [[losses[0] - Estimate(typical, 0, 39), *losses[1:]] for losses in worlds]
    power = np.mean([claims(losses).adjusted[0] < LEVEL for losses in shifted])
    assert 0.7 < power < 0.9


def noisy_tail(source, size):
    """Return two optimizers with the same quartiles: above them, the second is ten times as noisy."""
    values = source.normal(size=size)
    quartile = stats.norm.isf(0.25)
    values[1] += 9 * np.maximum(values[1] - quartile, 0)
    return values


WORLDS = {
    "heavy tails": lambda source, size: source.standard_t(1.5, size),
    "ties": lambda source, size: source.integers(0, 3, size) / 10,
    "half diverge": lambda source, size: np.where(
        source.random(size) < 0.5, 50, source.normal(size=size)
    ),
    "lognormal": lambda source, size: source.lognormal(0, 1, size),
    "one noisy tail": noisy_tail,
}


@pytest.mark.parametrize("tuning", mostly_slow([10, 0]))
@pytest.mark.parametrize("world", WORLDS)
def test_worlds_without_a_difference_are_called_different_rarely(world, tuning):
    source = rng(7)
    size = (2, 3 if tuning else 1, 40)
    found = sum(differ(WORLDS[world](source, size), tuning) for _ in range(150))
    assert found <= at_most(LEVEL, 150)
