"""Averages and wrappers: what they average, where metrics are evaluated, and their names."""

import numpy as np
import pytest
from reference.bits import bits
from sweeping import OWN, document, plugin, run, tiny

from optimlab.experiment import mixing
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.registry import hyperparameters, load_rule, plugin_code
from optimlab.nn.parameters import Layout
from optimlab.optimizers import (
    EMA,
    SGD,
    Adam,
    Cautious,
    Lookahead,
    Nesterov,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Task,
)
from optimlab.problems import Digits
from optimlab.training import train

GRADIENTS = np.random.default_rng(0).normal(size=(23, 6))
START = np.random.default_rng(1).normal(size=6)


def walk(optimizer, task=None, start=START, gradients=GRADIENTS):
    """Return parameters and state after each step."""
    params = start.copy()
    state = optimizer.init(params, task)
    for gradient in gradients:
        optimizer.gradient_point(params, state)
        optimizer.step(params, gradient, state)
        yield params, state


def test_ema_is_the_weighted_mean_of_all_points_but_the_start():
    optimizer = EMA(SGD(learning_rate=0.1), decay=0.8)
    seen = []
    for params, state in walk(optimizer):
        seen.append(params.copy())
        weights = 0.8 ** np.arange(len(seen))[::-1]
        expected = weights @ np.array(seen) / weights.sum()
        assert np.allclose(optimizer.eval_params(params, state), expected, rtol=0, atol=1e-14)
        assert len(seen) == 1 or not np.allclose(expected, params, atol=1e-3)
    alone = [params.copy() for params, _ in walk_plain(SGD(learning_rate=0.1))]
    assert np.array_equal(seen, alone)  # the rule never hears of the average


def walk_plain(optimizer):
    params = START.copy()
    state = optimizer.init(params)
    for gradient in GRADIENTS:
        optimizer.step(params, gradient, state)
        yield params, state


def test_before_the_first_step_an_average_is_the_start():
    optimizer = EMA(Adam())
    assert np.array_equal(optimizer.eval_params(START, optimizer.init(START)), START)


@pytest.mark.parametrize(("period", "share"), [(1, 0.5), (5, 0.25), (7, 1.0)])
def test_lookahead_steps_back_every_k_steps(period, share):
    optimizer = Lookahead(SGD(learning_rate=0.1, momentum=0.5), sync_period=period, slow_step_size=share)
    fast, slow, velocity = START.copy(), START.copy(), 0
    for step, (params, state) in enumerate(walk(optimizer), start=1):
        velocity = 0.5 * velocity + 0.1 * GRADIENTS[step - 1]
        fast = fast - velocity
        if step % period == 0:
            slow = slow + share * (fast - slow)
            fast = slow
        assert np.allclose(params, fast, rtol=0, atol=1e-14)
        assert np.allclose(optimizer.eval_params(params, state), slow, rtol=0, atol=1e-14)


def test_the_rows_of_a_stack_may_step_back_at_other_times():
    rows, periods = np.stack([START, 2 * START, 3 * START]), np.array([[2.0], [3.0], [2.0]])
    gradients = np.stack([GRADIENTS] * 3, axis=1)
    *_, (together, _) = walk(Lookahead(SGD(), sync_period=periods), None, rows, gradients)
    for row in range(3):
        optimizer = Lookahead(SGD(), sync_period=int(periods[row, 0]))
        *_, (alone, _) = walk(optimizer, None, rows[row], GRADIENTS)
        assert bits(alone) == bits(together[row])


TASK = Task(Layout({"a": (2, 2), "b": (2,)}), steps=23, steps_per_epoch=1, generators=[])


@pytest.mark.parametrize("task", [None, TASK])
def test_cautious_takes_the_steps_that_the_gradient_agrees_with(task):
    """With momentum, steps and gradients disagree now and then."""
    optimizer = Cautious(SGD(learning_rate=0.1, momentum=0.9))
    layers = [slice(0, 6)] if task is None else [slice(0, 4), slice(4, 6)]
    expected, velocity, disagreed = START.copy(), 0, 0
    for step, (params, _) in enumerate(walk(optimizer, task)):
        velocity = 0.9 * velocity + 0.1 * GRADIENTS[step]
        agrees = velocity * GRADIENTS[step] > 0
        disagreed += (~agrees).sum()
        for layer in layers:
            share = max(agrees[layer].mean(), 1e-3)
            expected[layer] -= (velocity * agrees / share)[layer]
        assert np.allclose(params, expected, rtol=0, atol=1e-13)
    assert disagreed > 10


def test_a_wrapper_asks_for_gradients_where_its_rule_does():
    params = START.copy()
    optimizer = Lookahead(Nesterov(learning_rate=0.1))
    state = optimizer.init(params)
    optimizer.step(params, np.ones(6), state)
    assert np.allclose(optimizer.gradient_point(params, state), params - 0.9 * 0.1)


@pytest.mark.parametrize("wrong", ["Adam", Adam, None])
def test_a_wrapper_is_around_an_optimizer(wrong):
    with pytest.raises(TypeError, match="Lookahead wraps an optimizer, got"):
        Lookahead(wrong)


@pytest.mark.parametrize("values", [{"sync_period": 0}, {"sync_period": 2.5}, {"slow_step_size": 1.01}])
def test_a_wrappers_own_hyperparameters_are_checked(values):
    (name,) = values
    with pytest.raises(ValueError, match=f"^{name} must be in "):
        Lookahead(Adam(), **values)


@pytest.mark.parametrize("rule", [ScheduleFreeSGD, ScheduleFreeAdamW])
def test_schedule_free_params_are_the_mean_of_its_walk(rule):
    """At a rate that does not change, all points of the walk count alike."""
    walked = []
    for params, state in walk(rule(learning_rate=0.1)):
        walked.append(state["walk"].copy())
        assert np.allclose(params, np.mean(walked, axis=0), rtol=0, atol=1e-13)
    point = rule(learning_rate=0.1).gradient_point(params, state)
    assert np.allclose(point, 0.1 * walked[-1] + 0.9 * params, rtol=0, atol=1e-14)


def test_a_warm_up_counts_for_less_in_schedule_free():
    """Its weights are η*², as in the paper: a rule built anew at each step, as a schedule does."""
    params = START.copy()
    state = ScheduleFreeSGD().init(params)
    walked, rates = [], [0.01, 0.02, 0.05, 0.1, 0.1]
    for rate, gradient in zip(rates, GRADIENTS, strict=False):
        ScheduleFreeSGD(learning_rate=rate).step(params, gradient, state)
        walked.append(state["walk"].copy())
    weights = np.square(rates)
    assert np.allclose(params, weights @ np.array(walked) / weights.sum(), rtol=0, atol=1e-14)


def test_metrics_are_those_of_the_average():
    problem = Digits(hidden=(), dtype="float64", batch_norm=False)
    averaged = train(problem, EMA(SGD(learning_rate=0.1), decay=0.9), [3], [5])
    last = train(problem, SGD(learning_rate=0.1), [3], [1, 2, 3, 4, 5], params_of=[0])
    weights = 0.9 ** np.arange(5)[::-1]
    mean = np.tensordot(weights / weights.sum(), last.kept_params[1:], axes=1)
    expected = problem.evaluate(mean, last.model)
    for name, values in expected.items():
        assert averaged.metrics[name][-1] == pytest.approx(values, rel=1e-12)
    assert averaged.metrics["train_loss"][-1] != last.metrics["train_loss"][-1]
    assert averaged.params == pytest.approx(mean)
    assert averaged.metrics["gradient_norm"][-1] == last.metrics["gradient_norm"][-1]


def test_a_result_that_is_no_array_like_the_parameters_is_refused():
    class Odd(SGD):
        def eval_params(self, params, state):
            return params[:1]

    with pytest.raises(TypeError, match=r"eval_params must return an array like params, .* \(2, 650\)"):
        train(Digits(hidden=(), batch_norm=False), Odd(), [3, 4], [1])


def test_wrappers_by_name(tmp_path):
    rule = load_rule("Lookahead(Cautious(RAdam))", tmp_path)
    assert hyperparameters(rule) == {
        "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "slow_step_size": 0.5, "sync_period": 5,
    }  # fmt: skip
    optimizer = rule(learning_rate=0.5, beta1=0.25, sync_period=3)
    assert (optimizer.sync_period, optimizer.around.around.beta1, optimizer.learning_rate) == (
        3,
        0.25,
        0.5,
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Lookahead", 'Lookahead goes around another rule: "Lookahead\\(Adam\\)"'),
        ("Lookahed(Adam)", 'unknown wrapper "Lookahed"; known are EMA, Lookahead, Cautious'),
        ("Lookahead(Adm)", 'unknown optimizer "Adm"; did you mean Adam'),
        ("Lookahead(EMA(Lookahead(Adam)))", "have a hyper-parameter of the same name, slow_step_size"),
        ("Lookahead()", "unknown optimizer"),
        ("Lookahead(EMA(Adam))", r'parameters that EMA averages: write "EMA\(Lookahead\(…\)\)"'),
        ("Cautious(EMA(Adam))", "Cautious would change the parameters that EMA averages"),
        ("Cautious(Lookahead(Adam))", "Cautious would change the parameters that Lookahead averages"),
    ],
)
def test_a_wrong_name_is_reported(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        load_rule(name, tmp_path)


@pytest.mark.parametrize(
    "name", ["EMA(Adam)", "Lookahead(Adam)", "Cautious(Lion)", "EMA(Cautious(Muon))"]
)
def test_wrappers_mix_no_runs(tmp_path, name):
    assert not mixing.mixes_runs(load_rule(name, tmp_path), {}, [1e-4, 10])


@pytest.mark.slow
def test_an_experiment_names_wrappers(tmp_path):
    optimizers = '[optimizers."EMA(SGD)"]\ndecay = 0.5\nmomentum = 0.0\n' + OWN.replace(
        '"own.py:Own"', '"Lookahead(own.py:Own)"\nsync_period = 2'
    )
    experiment = tiny(tmp_path, document(optimizers=optimizers), own=plugin())
    assert run(experiment, tmp_path / "results").statuses == {"ok": 12}
    assert plugin_code("Lookahead(own.py:Own)", tmp_path).digest() == (
        plugin_code("own.py:Own", tmp_path).digest()
    )
    with pytest.raises(ExperimentError, match="sync_period must be in"):
        tiny(tmp_path, document(optimizers=optimizers.replace("= 2", "= 2.5")), own=plugin())
