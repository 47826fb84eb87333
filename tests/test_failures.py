"""Failure rates: against scipy and values computed by hand."""

import numpy as np
import pytest
from reference.statistics import contest, traces_of
from scipy import stats

from optimlab.report.blocks import ranking
from optimlab.statistics import compare_optimizers
from optimlab.statistics.failures import mcnemar_p_value, share_interval
from optimlab.statuses import ALL

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(("bad", "of"), [(0, 1), (0, 30), (7, 18), (18, 18), (1, 2)])
def test_the_interval_of_a_share_is_scipys(bad, of):
    expected = stats.binomtest(bad, of).proportion_ci(0.95, method="exact")
    assert share_interval(bad, of) == pytest.approx(tuple(expected))


def test_the_interval_of_nothing():
    assert np.isnan(share_interval(0, 0)).all()


def test_mcnemars_test_is_the_sign_test_of_the_seeds_that_differ():
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, NAN])
    second = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1, 1])
    assert mcnemar_p_value(first, second) == pytest.approx(stats.binomtest(1, 7).pvalue)
    assert mcnemar_p_value(second, first) == mcnemar_p_value(first, second)
    assert mcnemar_p_value([1, 0], [1, 0]) == 1
    assert np.isnan(mcnemar_p_value([NAN], [1]))


def test_failures_are_in_the_tables_and_in_the_verdict():
    runs = contest(range(18), A=lambda s: INF if s < 7 else 1.0 + s / 99, B=lambda s: 9.0 + s / 9)
    found = compare_optimizers(runs, traces_of(runs), splits=9, draws=9)
    pair = found.pairs.iloc[0]
    assert (pair["better"], pair["bad_better"], pair["bad_worse"]) == ("A", 7, 0)
    assert pair["bad_p_value"] == pytest.approx(2 / 2**7)
    first = found.summary.iloc[0]
    assert (first["bad_share_low"], first["bad_share_high"]) == pytest.approx(share_interval(7, 18))


def test_the_page_says_what_a_status_means_where_runs_have_it():
    """In the words of its one definition."""
    runs = contest(range(6), A=lambda s: 1.0 + s / 99, B=lambda s: 9.0 + s / 9)
    for bad in ((), ("diverged",), ("stuck", "failed")):
        ended = runs.assign(status=[*bad, *["ok"] * (len(runs) - len(bad))])
        caption = ranking._table_caption(compare_optimizers(ended, traces_of(ended), splits=9, draws=9))
        meant = {each.name for each in ALL if f"{each.name.capitalize()}: {each.meaning}." in caption}
        assert meant == set(bad)
