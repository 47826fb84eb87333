"""The signed-rank test and Holm's correction: against scipy and the definitions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import statistics as reference
from scipy import stats

from optimlab import statistics

INF, NAN = np.inf, np.nan
DIFFERENCES = st.lists(st.sampled_from([-INF, -3.0, -1.0, 0.0, 1.0, 2.0, INF]), min_size=1, max_size=9)


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
