# ruff: noqa: E501
"""Searches: candidates, extended budgets, and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import EXPERIMENTS, OWN, document, load, mistakes_of, plugin, run, tiny, write

from optimlab.experiment.candidates import Axis
from optimlab.experiment.registry import hyperparameters
from optimlab.experiment.search import draw
from optimlab.optimizers import RULES
from optimlab.python import build_experiment

RATE = "learning_rate = { min = 1e-3, max = 1 }"
SPACE = f"{RATE}, beta1 = {{ min = 0.5, max = 0.99, scaling = 'one_minus_log' }}"


def searched(axes, trials=8, rule="Adam", more="", top=""):
    """Return the text of an experiment that searches the axes of an optimizer."""
    return document(
        top=top, optimizers=f"[optimizers.{rule}]\n{more}search = {{ trials = {trials}, {axes} }}\n"
    )


def drawn(setting):
    """Return the values of all candidates but the default."""
    return [each.settings for each in setting.candidates if each.number]


def test_a_search_draws_its_trials_and_tries_the_default_before_them(tmp_path):
    [adam] = tiny(tmp_path, searched(SPACE)).optimizers
    assert [each.number for each in adam.candidates] == list(range(9))
    default = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert adam.candidates[0].settings == default
    assert adam.hyperparameters == {"beta2": 0.999, "eps": 1e-8}
    values = drawn(adam)
    assert all(1e-3 <= each["learning_rate"] <= 1 and 0.5 <= each["beta1"] <= 0.99 for each in values)
    assert len({each["learning_rate"] for each in values}) == 8


def test_a_larger_budget_runs_only_what_is_new(tmp_path):
    small = run(tiny(tmp_path, searched(SPACE, 3)), tmp_path / "results")
    large = run(tiny(tmp_path, searched(SPACE, 5)), tmp_path / "results")
    assert (small.ran, large.kept, large.ran) == (4 * 3, 4 * 3, 2 * 3)


@given(st.integers(1, 40), st.integers(0, 40))
def test_any_prefix_is_a_smaller_budget(trials, more):
    axes = [Axis("learning_rate", (), 1e-4, 1.0, "log"), Axis("nesterov", (True, False))]
    whole = draw(axes, trials + more, lambda _: False)
    assert draw(axes, trials, lambda _: False) == whole[:trials]
    assert len({repr(each) for each in whole}) == trials + more


@pytest.mark.parametrize(
    ("scaling", "low", "high", "even"),
    [
        ("log", 1e-4, 1.0, np.log),
        ("linear", 1.0, 3.0, lambda x: x),
        ("one_minus_log", 0.5, 0.999, lambda x: np.log(1 - x)),
    ],
)
def test_each_scale_is_drawn_evenly(scaling, low, high, even):
    """The first 200 points of a Halton sequence are nearer to even than random ones by far."""
    values = [each["x"] for each in draw([Axis("x", (), low, high, scaling)], 200, lambda _: False)]
    ends = sorted([even(low), even(high)])
    shares = np.sort((even(np.array(values)) - ends[0]) / (ends[1] - ends[0]))
    assert np.abs(shares - (np.arange(200) + 0.5) / 200).max() < 0.02


@pytest.mark.parametrize("scaling", ["log", "linear"])
def test_whole_numbers_stay_whole_and_reach_both_ends(scaling):
    axis = Axis("period", (), 2, 20, scaling, is_whole=True)
    values = [each["period"] for each in draw([axis], 19, lambda _: False)]
    assert sorted(values) == list(range(2, 21))
    assert all(type(value) is int for value in values)


def test_whole_hyperparameters_are_drawn_whole_and_others_are_not(tmp_path):
    axes = f"{RATE}, sync_period = {{ min = 1, max = 9 }}, slow_step_size = {{ min = 0.5, max = 1 }}"
    text = document(
        optimizers=f'[optimizers.L]\nrule = "Lookahead(SGD)"\nsearch = {{ trials = 20, {axes} }}'
    )
    values = drawn(tiny(tmp_path, text).optimizers[0])
    assert {type(each["sync_period"]) for each in values} == {int}
    assert {type(each["slow_step_size"]) for each in values} == {float}


def test_choices_and_the_learning_rates_of_the_file_are_axes_too(tmp_path):
    top = "learning_rates = [0.1, 0.3]\n"
    axes = "eps = { choices = [1e-8, 1e-3] }, beta1 = { min = 0.8, max = 0.9 }"
    values = drawn(tiny(tmp_path, searched(axes, 12, top=top)).optimizers[0])
    assert {each["learning_rate"] for each in values} == {0.1, 0.3}
    assert {each["eps"] for each in values} == {1e-8, 1e-3}


def test_trials_may_be_given_once_for_all(tmp_path):
    text = document(
        top="search = { trials = 4 }\n",
        optimizers=f"[optimizers.Adam]\nsearch = {{ {SPACE} }}\n"
        f"[optimizers.SGD]\nsearch = {{ {RATE}, trials = 6 }}\n",
    )
    adam, sgd = tiny(tmp_path, text).optimizers
    assert (len(drawn(adam)), len(drawn(sgd))) == (4, 6)
    assert [each.number for each in sgd.candidates] == list(range(1, 7))  # the rate alone: no default


def test_weight_decay_may_be_searched(tmp_path):
    axes = f"{RATE}, weight_decay = {{ min = 1e-4, max = 1e-1, scaling = 'log' }}"
    [sgd] = tiny(tmp_path, searched(axes, 2, rule="SGD")).optimizers
    assert sgd.candidates[0].settings == {"learning_rate": 0.01, "momentum": 0.9}
    assert all(1e-4 <= each["weight_decay"] <= 1e-1 for each in drawn(sgd))


WRONG = [
    ("momentum = { min = 0.5, max = 1 }", "momentum.max: momentum must be in [0, 1), got 1"),
    ("momentum = { min = 0.9, max = 0.5 }", "momentum.max: must be above min, 0.9, got 0.5"),
    ("momentum = { min = 0, max = 0.9, scaling = 'log' }", "momentum.min: must be above 0 on a log scale, got 0.0"),
    ("momentum = { min = 0.5, max = 0.9, scaling = 'lag' }", "momentum.scaling: must be 'log', 'linear' or 'one_minus_log', got \"lag\""),
    ("momentum = { min = 0.5 }", "momentum.max: is missing"),
    ("momentum = { min = 0.5, max = 'x' }", 'momentum.max: must be a number, got "x"'),
    ("momentum = { low = 0.5, max = 0.9 }", "momentum.min: is missing"),
    ("momentum = [0.5, 0.9]", "momentum: must be a table with min and max, or with choices, got [0.5, 0.9]"),
    ("momentum = { choices = [] }", "momentum.choices: must not be empty, got []"),
    ("momentum = { choices = [0.5, 1.5] }", "momentum.choices[2]: momentum must be in [0, 1), got 1.5"),
    ("momentum = { choices = [[0.5]] }", "momentum.choices: must hold numbers, texts, true and false"),
    ("momentun = { choices = [0.5] }", "momentun: unknown key; did you mean momentum?"),
    ("warmup = { min = 0, max = 0.5 }", "warmup: unknown key; it belongs in optimizers.SGD.schedule"),
    ("x = { min = 0, max = 0.5 }", "x: unknown key; known are learning_rate, momentum, clip_norm, clip_value, weight_decay, trials"),
    ("momentum = { choices = [0.5] }, learning_rate = { min = 0, max = 1 }", "learning_rate.min: must be above 0 on a log scale, got 0.0"),
    ("learning_rate = { choices = [0.1, -1] }", "learning_rate.choices[2]: must be in [1e-30, 1e30], got -1.0"),
    ("learning_rate = { choices = [0.1, 1] }", "trials: must be at most 2, since there are no more candidates, got 8"),
]  # fmt: skip


@pytest.mark.parametrize(("axes", "says"), WRONG)
def test_mistakes_of_a_search_name_the_axis(tmp_path, axes, says):
    top = "learning_rates = [0.1, 0.3]\n"
    found = mistakes_of(write(tmp_path, searched(axes, rule="SGD", top=top)))
    assert found[0] == f"optimizers.SGD.search.{says}"


OF_TABLES = [
    ("search = 40", "search: must be a table, which a line [optimizers.SGD.search] begins, got 40"),
    ("search = { trials = 4 }", "search: must have an axis, such as learning_rate"),
    (f"search = {{ {RATE} }}", "search: needs trials, here or as search.trials at the top of the file"),
    (f"search = {{ trials = 0, {RATE} }}", "search.trials: must be at least 1, got 0"),
    ("learning_rates = [1]\nmomentum = { min = 0, max = 0.9 }",
     'momentum: must be a number, a text, true or false, got {"min": 0, "max": 0.9}; ranges and choices belong in search'),
    (f"search = {{ trials = 2, {RATE} }}\nlearning_rates = [1]",
     "learning_rates: is in search, too: give learning_rates or search.learning_rate"),
    (f"search = {{ trials = 2, {RATE}, momentum = {{ choices = [0.5] }} }}\nmomentum = 0.9",
     "momentum: is in search, too: give it a value or an axis"),
    (f"search = {{ trials = 2, {RATE} }}\nmomentum = [0.5, 0.9]",
     "momentum: is a list beside a search: write search.momentum = { choices = [0.5, 0.9] }"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "says"), OF_TABLES)
def test_mistakes_beside_a_search_name_the_key(tmp_path, table, says):
    text = document(top="", optimizers=f"[optimizers.SGD]\n{table}\n")
    assert f"optimizers.SGD.{says}" in mistakes_of(write(tmp_path, text))


def test_a_candidate_that_a_rule_refuses_is_named(tmp_path):
    source = plugin(settings=", low=0.1, high=0.9").replace(
        "self.learning_rate = learning_rate",
        "self.learning_rate = learning_rate\n"
        "        if low > high: raise ValueError('low is above high')",
    )
    axes = f"{RATE}, low = {{ min = 0.1, max = 0.9 }}, high = {{ min = 0.1, max = 0.9 }}"
    text = document(optimizers=f"{OWN}search = {{ trials = 9, {axes} }}\n")
    [mistake] = mistakes_of(write(tmp_path, text, own=source))
    assert mistake.startswith("optimizers.Own: with low = 0.")
    assert mistake.endswith("low is above high")


@pytest.mark.parametrize(
    ("scaling", "low", "high"),
    [("linear", 0.999, 0.9999), ("linear", -3.0, -2.9999), ("linear", 1e5, 1e5 + 1),
     ("log", 0.01, 0.01001), ("one_minus_log", 0.999, 0.99900001)],
)  # fmt: skip
def test_a_narrow_range_has_as_many_values_as_a_wide_one(scaling, low, high):
    values = draw([Axis("x", (), low, high, scaling)], 100, lambda _: False)
    shares = np.sort([(each["x"] - low) / (high - low) for each in values])
    assert np.abs(shares - (np.arange(100) + 0.5) / 100).max() < 0.03


def test_a_range_of_all_numbers_has_values():
    [value] = draw([Axis("x", (), -1e308, 1e308)], 1, lambda _: False)
    assert -1e308 <= value["x"] <= 1e308


def test_a_space_with_fewer_points_than_trials_is_given_up_soon(monkeypatch):
    drawn = []
    axis = Axis("x", (1, 2, 3))
    monkeypatch.setattr(
        Axis, "at", lambda self, share: drawn.append(share) or self.levels[int(3 * share)]
    )
    assert len(draw([axis], 10_000, lambda _: False)) == 3
    assert len(drawn) < 2000


@given(
    st.sampled_from(["log", "linear", "one_minus_log"]),
    st.floats(0.001, 0.4), st.floats(0.5, 0.999), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_a_value_and_its_share_of_the_way_belong_together(scaling, low, high, share):
    axis = Axis("x", (), low, high, scaling)
    value = axis.at(share)
    assert low <= value <= high
    assert axis.share(value) == pytest.approx(share, abs=2e-3)
    assert math.isclose(axis.share(low), 0, abs_tol=1e-12)
    assert math.isclose(axis.share(high), 1)


def test_a_schedule_is_checked_for_the_largest_value_of_many_trials(tmp_path):
    """Of 100 trials, 25 are tried out; the largest momentum is none of them, and alone reaches 1."""
    axes = f"{RATE}, momentum = {{ min = 0.5, max = 0.95 }}"
    [sgd] = tiny(tmp_path, searched(axes, 100, rule="SGD")).optimizers
    largest, second = sorted((each["momentum"] for each in drawn(sgd)), reverse=True)[:2]
    more = 'schedules = {{ momentum = "{}.py:constant" }}\n'
    for name, factor in (("legal", 0.9999 / largest), ("wrong", 2 / (largest + second))):
        (tmp_path / f"{name}.py").write_text(f"def constant(progress):\n    return {factor!r}\n")
    tiny(tmp_path, searched(axes, 100, rule="SGD", more=more.format("legal")))
    [mistake] = mistakes_of(write(tmp_path, searched(axes, 100, rule="SGD", more=more.format("wrong"))))
    assert "momentum must be in [0, 1), got 1.0" in mistake


def test_grids_and_searches_are_built_from_python_too(tmp_path):
    experiment = build_experiment(
        optimizers={
            "SGD": {"momentum": [0.5, 0.9], "learning_rates": [0.1]},
            "Adam": {
                "search": {"learning_rate": {"min": 1e-3, "max": 1.0}, "eps": {"choices": [1e-8, 1]}}
            },
        },
        search={"trials": 3},
        problem="landscape",
        steps=2,
        seeds=(1, 1),
        folder=tmp_path,
    )
    assert [len(each.candidates) for each in experiment.optimizers] == [3, 4]


def test_tuned_searches_every_hyperparameter_of_the_five_rules_on_one_budget():
    experiment = load(EXPERIMENTS / "tuned.toml")
    for setting in experiment.optimizers:
        assert {axis.name for axis in setting.axes} == hyperparameters(RULES[setting.rule]).keys()
        assert [each.number for each in setting.candidates] == list(range(41))
    assert experiment.count() == 5 * 41 * (10 + 20)
    assert experiment.problems[0].problem == load(EXPERIMENTS / "digits.toml").problems[0].problem
