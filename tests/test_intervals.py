"""Intervals: against scipy, known values, and their coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import statistics as reference
from scipy import stats

from optimlab.statistics import intervals, targets
from optimlab.statistics.intervals import interquartile_mean, median, percentile_interval

INF, NAN = np.inf, np.nan
NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=12)
ANY = st.lists(st.sampled_from([-INF, -2.0, 0.0, 1.0, 3.0, INF]), min_size=1, max_size=9)
STATISTICS = [median, interquartile_mean]
SKEWED = np.exp(1.5 * stats.norm.ppf((np.arange(22) + 0.5) / 22))


def mean(ordered):
    return ordered.mean(axis=-1)


def rng(seed=0):
    return np.random.default_rng(seed)


@given(NUMBERS)
def test_median_and_interquartile_mean(values):
    ordered = np.sort(values)
    assert median(ordered) == np.median(values)
    assert interquartile_mean(ordered) == pytest.approx(reference.interquartile_mean(values))
    if len(values) % 4 == 0:
        assert interquartile_mean(ordered) == pytest.approx(stats.trim_mean(values, 0.25))


@pytest.mark.parametrize(
    ("values", "middle", "mean"),
    [
        ([7], 7, 7),
        ([1, 3], 2, 2),
        ([0, 1, 5], 1, 1.5),  # a quarter of 0, all of 1 and a quarter of 5, over one and a half
        ([0, 2, 4, 99], 3, 3),
        ([1, 2, 3, INF], 2.5, 2.5),
        ([1, 2, INF, INF], INF, INF),
        ([1, 2, 3, 4, INF], 3, 3),
        ([-INF, -INF, 1, 2], -INF, -INF),
        ([-INF, 1, 2, INF], 1.5, 1.5),
    ],
)
def test_middles_by_hand(values, middle, mean):
    assert median(np.array(values)) == middle
    assert interquartile_mean(np.array(values)) == pytest.approx(mean)


def test_between_the_two_infinities_there_is_no_number_and_no_warning():
    for statistic in STATISTICS:
        assert np.isnan(statistic(np.array([-INF, INF])))
        assert np.isnan(statistic(np.array([-INF, -INF, INF, INF])))


def test_middles_go_along_the_last_axis():
    values = np.sort(rng().normal(size=(3, 5, 7)))
    for statistic in STATISTICS:
        found = statistic(values)
        assert found.shape == (3, 5)
        assert found[1, 2] == statistic(values[1, 2])


@pytest.mark.parametrize("statistic", [*STATISTICS, mean])
def test_intervals_are_scipys(statistic):
    low, high = percentile_interval(SKEWED, statistic, rng())
    theirs = stats.bootstrap(  # draws the same samples
        (SKEWED,), lambda sample, axis: statistic(np.sort(sample, axis=axis)),
        n_resamples=intervals.DRAWS, method="percentile", rng=rng(),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.005 * (high - low))


def test_width_of_the_interval_of_a_median():
    """A median of n normal values has the standard error 1.2533 σ/√n."""
    values = rng(1).normal(10, 1, 40)
    low, high = percentile_interval(values, median, rng())
    assert low < np.median(values) < high
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 / 40**0.5, rel=0.35)
    assert percentile_interval(values, median, rng()) == (low, high)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_intervals_of_little(statistic):
    def interval(values):
        return percentile_interval(values, statistic, rng(), draws=400)

    assert np.isnan(interval([])).all()
    assert np.isnan(interval([1.0])).all()
    assert np.isnan(interval([1.0, NAN, 2.0])).all()
    assert interval([4.0] * 5) == (4, 4)
    assert interval([INF] * 5) == (INF, INF)
    low, high = interval([1, 2, 3, 4, INF, INF, INF])
    assert 1 <= low < high == INF


@given(ANY, st.sampled_from(STATISTICS))
def test_an_interval_of_anything_is_in_order_and_turns_with_the_sign(values, statistic):
    """Two numbers that are infinite both ways have no mean, but an interval all the same."""
    low, high = percentile_interval(values, statistic, rng(), draws=200)
    turned = percentile_interval([-value for value in values], statistic, rng(), draws=200)
    if len(values) < 2:
        assert np.isnan([low, high]).all()
    else:
        assert low <= high
        assert turned == pytest.approx((-high, -low))


@given(NUMBERS, st.integers(-9, 9))
def test_two_that_differ_by_a_constant_have_intervals_that_do(values, constant):
    """Which holds only since both are resampled by the same seeds."""
    one, other = (
        percentile_interval(np.array(values) + by, median, rng(), draws=200) for by in (0, constant)
    )
    assert np.subtract(other, one).tolist() == [constant] * 2


def fails(values, share, source):
    return np.where(source.random(values.shape) < share, INF, values)


WITHOUT_FAILURES = {
    "normal": lambda source, size: source.normal(size=size),
    "lognormal": lambda source, size: source.lognormal(size=size),
    "t with 3 degrees": lambda source, size: source.standard_t(3, size=size),
}
FAILING = {"lognormal, a fifth fail": lambda source, n: fails(source.lognormal(size=n), 0.2, source)}


@pytest.mark.slow
@pytest.mark.parametrize("statistic", STATISTICS)
def test_intervals_of_thirty_seeds_cover_what_they_should(statistic):
    """Nominal 95 %: 93 to 97 %, and two standard errors of 1,000 repetitions.

    All repetitions are resampled at once, by the same seeds; that this is what the function does, a
    repetition shows.
    """
    places = rng().integers(30, size=(500, 30))
    for name, population in (WITHOUT_FAILURES | FAILING).items():
        source = rng(5)
        middle = float(statistic(np.sort(population(source, 1_000_001))))
        samples = [population(source, 30) for _ in range(1000)]
        ends = []
        for sample in samples:
            drawn = np.sort(statistic(np.sort(sample[places], axis=1)))
            ends.append((drawn[12], drawn[487]))
        assert percentile_interval(samples[0], statistic, rng(), draws=500) == ends[0]
        low, high = np.array(ends).T
        covered = ((low <= middle) & (middle <= high)).mean()
        assert 0.93 - 0.014 < covered < 0.97 + 0.014, (name, covered)


@pytest.mark.slow
@pytest.mark.parametrize("censored", [0, 0.3, 0.45])
@pytest.mark.parametrize("distinct", [None, 12])
def test_intervals_of_the_median_time_cover(censored, distinct):
    """Times that are counted in a few records tie, and then the interval errs on the safe side."""
    source = rng(6)
    end = stats.norm.ppf(1 - censored)

    def population(size):
        values = source.normal(size=size)
        times = np.exp(3 + values / 2)
        times = times if distinct is None else np.ceil(times / 60 * distinct)
        return np.where(values > end, INF, times)

    middle = np.quantile(population(1_000_001), 0.5, method="inverted_cdf")
    covered = []
    for _ in range(600):
        _, low, high = targets.median_time(population(30))
        covered.append(low <= middle <= high)
    assert 0.93 - 0.018 < np.mean(covered) < (0.97 if distinct is None else 0.995) + 0.018
