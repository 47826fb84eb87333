"""Axes of a search: their importance, candidates at their ends, and wider axes."""

import tomllib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from reference.statistics import table, traces_of
from sklearn.ensemble import RandomForestRegressor
from sweeping import mostly_slow

from optimlab.experiment.candidates import Axis
from optimlab.report.blocks.ranking import columns_of, edge_warnings
from optimlab.statistics import axes, compare_optimizers
from optimlab.statistics.spaces import Space

RATE = Axis("learning_rate", (), 1e-4, 1.0, "log")
MOMENTUM = Axis("momentum", (), 0.0, 0.99, "one_minus_log")


def spread(size, *along):
    """Return a space of candidates at random places on the axes, and those places."""
    shares = np.random.default_rng(0).random((size, len(along)))
    values = [{axis.name: axis.at(u) for axis, u in zip(along, row, strict=True)} for row in shares]
    return Space(along, dict(enumerate(values, start=1))), shares


def losses_of(heights):
    return pd.DataFrame(
        {"optimizer": "A", "candidate": range(1, 1 + len(heights)), "loss": np.exp(heights)}
    )


def shares_of(heights, space):
    found = axes.importance(losses_of(heights), {"A": space})
    return dict(zip(found["axis"], found["share"], strict=True))


def test_importance_is_that_of_the_axis_which_decides_the_loss():
    space, at = spread(60, RATE, MOMENTUM)
    one = shares_of(3 * (at[:, 0] - 0.4) ** 2, space)
    other = shares_of(3 * (at[:, 1] - 0.4) ** 2, space)
    assert one["learning_rate"] > 0.8 > 0.1 > one["momentum"]
    assert other["momentum"] > 0.8 > 0.1 > other["learning_rate"]


def test_what_two_axes_decide_together_is_neithers_own():
    """The loss is low where both are high or both low: on average over one, the other tells nothing."""
    space, at = spread(200, RATE, MOMENTUM)
    found = shares_of(np.sign(at[:, 0] - 0.5) * np.sign(at[:, 1] - 0.5), space)
    assert found["together"] > 0.7
    assert sum(found.values()) == pytest.approx(1)


def test_importance_is_the_same_every_time_and_needs_a_few_candidates():
    space, at = spread(20, RATE, MOMENTUM)
    assert shares_of(at[:, 0], space) == shares_of(at[:, 0], space)
    few, at = spread(axes.FEWEST - 1, RATE, MOMENTUM)
    assert shares_of(at[:, 0], few) == {}
    assert shares_of(np.full(20, 0.1), space) == {}  # there is nothing to explain


@pytest.mark.parametrize("size", mostly_slow([9, 41]))
@pytest.mark.parametrize(
    "height", [lambda x, y: 5 * x, lambda x, y: 4 * abs(x - 0.3) + x * y, lambda x, y: x * y]
)
def test_importance_is_that_of_the_forest_over_a_dense_grid(size, height):
    """The variances of a forest's means over rows and columns of a grid, over that of all its points."""
    space, at = spread(size, RATE, MOMENTUM)
    heights = height(*at.T)
    places = np.array([axes.positions(space, number) for number in range(1, 1 + size)])
    forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=0).fit(places, heights)
    line = (np.arange(80) + 0.5) / 80
    grid = forest.predict(np.array(np.meshgrid(line, line)).reshape(2, -1).T).reshape(80, 80)
    found = shares_of(heights, space)
    assert found["learning_rate"] == pytest.approx(grid.mean(axis=0).var() / grid.var(), abs=0.02)
    assert found["momentum"] == pytest.approx(grid.mean(axis=1).var() / grid.var(), abs=0.02)
    assert sum(found.values()) == pytest.approx(1)


def at_end(axis, value):
    return axes.edges(Space((axis,), {1: {axis.name: value}}), [1]).get(axis.name, "")


@pytest.mark.parametrize(
    ("axis", "value", "edge"),
    [
        (RATE, 1.1e-4, "lowest"), (RATE, 1e-2, ""), (RATE, 0.9, "highest"),
        (MOMENTUM, 0.0, ""),  # no value is lower
        (MOMENTUM, 0.05, ""),  # nor can the axis begin any lower
        (Axis("momentum", (), 0.1, 0.9), 0.11, "lowest"), (Axis("sync_period", (), 1, 9), 1, ""),
        (MOMENTUM, 0.98, "" ), (MOMENTUM, 0.989, "highest"),
        (Axis("momentum", (0, 0.5, 0.9)), 0.9, "highest"), (Axis("momentum", (0, 0.5, 0.9)), 0, ""),
        (Axis("momentum", (0.1, 0.5, 0.9)), 0.1, "lowest"), (Axis("momentum", (0.1, 0.5, 0.9)), 0.5, ""),
        (Axis("nesterov", (False, True)), True, ""), (Axis("kind", ("a", "b")), "b", ""),
        (Axis("slow_step_size", (0.5, 1.0)), 1.0, ""),  # nor higher
    ],
)  # fmt: skip
def test_ends_of_an_axis(axis, value, edge):
    assert at_end(axis, value) == edge


def test_the_default_is_at_no_end():
    assert axes.edges(Space((RATE,), {0: {"learning_rate": 1e-4}}), [0]) == {}


GRID = (Axis("learning_rate", (0.001, 0.01)), Axis("momentum", (0, 0.9)))


@pytest.mark.parametrize("searched", [(), ("momentum",)])
def test_a_textbook_candidate_on_a_grid_is_one_of_its_candidates(searched):
    names = [axis.name for axis in GRID]
    values = [(0.01, 0.9), (0.001, 0), (0.01, 0), (0.001, 0.9)]
    numbered = {number: dict(zip(names, each, strict=True)) for number, each in enumerate(values)}
    space = Space(GRID, numbered, searched)
    assert space.tried == ([1, 2, 3] if searched else [0, 1, 2, 3])
    ends = {} if searched else {"learning_rate": "highest", "momentum": "highest"}
    assert axes.edges(space, [0]) == ends
    assert axes.edges(space, [1, 3]) == {"learning_rate": "lowest"}  # they tie, whatever the momentum
    beside = Space(GRID, {**numbered, 0: {"learning_rate": 0.1, "momentum": 0.9}, 4: numbered[0]})
    assert beside.tried == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("axis", "edge", "lines"),
    [
        (RATE, "highest", '{ min = 0.0001, max = 100, scaling = "log" }'),
        (RATE, "lowest", '{ min = 1e-06, max = 1, scaling = "log" }'),
        (MOMENTUM, "highest", '{ min = 0, max = 0.999, scaling = "one_minus_log" }'),
        (Axis("beta1", (), 0.5, 0.9), "highest", '{ min = 0.5, max = 0.95, scaling = "linear" }'),
        (Axis("learning_rate", (), 0.1, 1.0), "lowest", '{ min = 0.05, max = 1, scaling = "linear" }'),
        (Axis("alpha", (), 1.0, 2.0), "highest", '{ min = 1, max = 2.5, scaling = "linear" }'),
        (Axis("momentum", (0.0, 0.5, 0.9)), "highest", "[0, 0.5, 0.9, 0.95, 0.99]"),
        (Axis("weight_decay", (0, 0.01, 0.1)), "highest", "[0, 0.01, 0.1, 1, 10]"),
        (Axis("weight_decay", (0, 0.01)), "highest", "[0, 0.01, 0.1, 1]"),
        (Axis("learning_rate", (0.01, 0.1)), "lowest", "[0.0001, 0.001, 0.01, 0.1]"),
        (Axis("shift", (-1.0, 0.0, 2.0)), "lowest", "[-3, -2, -1, 0, 2]"),
        (Axis("shift", (-1.0, -0.5)), "highest", "[-1, -0.5, 0, 0.5]"),
        (Axis("shift", (0.0, 1.0, 2.0)), "lowest", "[-2, -1, 0, 1, 2]"),
        (Axis("parts", (2, 4)), "lowest", "[1, 2, 4]"),  # half a part is none
    ],
)
def test_widened_axes_go_on_beyond_the_end_and_stay_legal(axis, edge, lines):
    head = "learning_rates" if axis.name == "learning_rate" and axis.levels else axis.name
    head = f"search.{head}" if axis.is_span else head
    assert axes.in_file(axes.widened(axis, edge), is_searched=axis.is_span) == f"{head} = {lines}"


def test_choices_of_a_search_stay_choices_and_whole_numbers_whole():
    few = Axis("momentum", (0.1, 0.5))
    line = axes.in_file(axes.widened(few, "lowest"), is_searched=True)
    assert line == "search.momentum = { choices = [0.004, 0.02, 0.1, 0.5] }"
    rates = axes.in_file(Axis("learning_rate", (0.1, 1.0)), is_searched=True)
    assert rates == "search.learning_rate = { choices = [0.1, 1] }"
    period = Axis("sync_period", (), 2, 9, "linear", is_whole=True)
    assert axes.in_file(axes.widened(period, "lowest"), is_searched=True) == (
        'search.sync_period = { min = 1, max = 9, scaling = "linear" }'
    )


def test_a_drawn_learning_rate_is_at_an_end_where_its_range_ends():
    """Both choose the highest rate that was drawn; only that of A is at the end of the range."""
    rates = {"A": (0.02, 0.1, 0.99), "B": (0.02, 0.1, 0.6)}
    runs = table(
        *(
            (name, rate, seed, "ok", 1 - rate)
            for name in rates
            for rate in rates[name]
            for seed in (0, 100)
        )
    )
    axis = Axis("learning_rate", (), 0.01, 1.0, "log")
    spaces = {
        name: Space(
            (axis,),
            {number: {"learning_rate": rate} for number, rate in enumerate(own, start=1)},
            searched=("learning_rate",),
        )
        for name, own in rates.items()
    }
    comparison = compare_optimizers(runs, traces_of(runs), spaces=spaces)
    ends = comparison.summary.set_index("optimizer")["learning_rate_edge"]
    assert ends.to_dict() == {"A": "highest", "B": ""}
    [end] = edge_warnings({"p": SimpleNamespace(comparison=comparison)})
    assert end.toml == (
        '[optimizers.A]\nsearch.learning_rate = { min = 0.01, max = 10, scaling = "log" }'
    )
    texts = str([column.cell(row) for row in comparison.summary.to_dict("records")
                 for column in columns_of(comparison, {})[2:3]])  # fmt: skip
    assert "highest of the range" in texts


def test_an_axis_chosen_at_its_end_on_several_problems_is_widened_once():
    space = Space((Axis("learning_rate", (0.01, 0.1)), MOMENTUM), {
        1: {"learning_rate": 0.01, "momentum": 0.5}, 2: {"learning_rate": 0.1, "momentum": 0.5},
    })  # fmt: skip
    ends = {"a": "lowest", "b": "highest", "c": "lowest"}
    by_problem = {
        problem: SimpleNamespace(
            comparison=SimpleNamespace(
                is_only_rate=False,
                spaces={"SGD": space},
                summary=pd.DataFrame({"optimizer": ["SGD"], "edges": [f"learning_rate {end}"]}),
            )
        )
        for problem, end in ends.items()
    }
    [end] = edge_warnings(by_problem)
    assert end.optimizer == "SGD (on a, b and c)"
    assert tomllib.loads(end.toml) == {
        "optimizers": {"SGD": {"learning_rates": [0.0001, 0.001, 0.01, 0.1, 1, 10]}}
    }
