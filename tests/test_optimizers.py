"""The rules: against unrolled sums and closed forms, and their legal hyper-parameters."""

import dataclasses
import math
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.bits import bits
from reference.optimizers import RIGHT, WRONG, walk

from optimlab.nn.parameters import Layout
from optimlab.optimizers import (
    CLASSIC,
    RANGES,
    RULES,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AdEMAMix,
    Lion,
    Nesterov,
    RMSprop,
    Task,
)

STEPS = 250
TOLERANCE = 1e-12
START = np.array([1.0, -2.0, 0.5, 3.0])
SCALES = np.array([1.0, 1e-3, 1e-7, 30.0])  # gradients far above, near and far below eps
CURVATURE = np.array([0.3, 0.1, 1.0, 0.01])
NOISE = np.random.default_rng(3).normal(size=(STEPS, len(START)))

# For each rule some runs, which are also the rows of one stack.
RUNS = {
    "SGD": [
        {"learning_rate": 0.05, "momentum": 0.9},
        {"learning_rate": 0.01, "momentum": 0.99},
        {"learning_rate": 0.2, "momentum": 0.0},
    ],
    "Nesterov": [
        {"learning_rate": 0.05, "momentum": 0.9},
        {"learning_rate": 0.01, "momentum": 0.99},
        {"learning_rate": 0.2, "momentum": 0.3},
    ],
    "AdaGrad": [
        {"learning_rate": 0.1, "eps": 1e-8},
        {"learning_rate": 0.1, "eps": 1e-2},
        {"learning_rate": 1.0, "eps": 1e-5},
    ],
    "RMSprop": [
        {"learning_rate": 0.01, "rho": 0.9, "eps": 1e-8},
        {"learning_rate": 0.01, "rho": 0.99, "eps": 1e-2},
        {"learning_rate": 0.003, "rho": 0.5, "eps": 1e-3},
    ],
    "Adam": [
        {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-2},
        {"learning_rate": 0.1, "beta1": 0.95, "beta2": 0.9, "eps": 1e-4},
        {"learning_rate": 0.05, "beta1": 0.3, "beta2": 0.4, "eps": 1e-6},
    ],
}
EVERY_RUN = [(name, hyperparameters) for name, runs in RUNS.items() for hyperparameters in runs]


def noisy_gradient(step, point):
    """Return a gradient that depends on where it is asked, so that Nesterov's point matters."""
    return SCALES * (NOISE[step] + CURVATURE * point)


def path_of(optimizer, gradient, start, steps):
    """Return all points (steps + 1, …) of an optimizer."""
    params = np.array(start)
    state = optimizer.init(params)
    path = [params.copy()]
    for step in range(steps):
        optimizer.step(params, gradient(step, optimizer.gradient_point(params, state)), state)
        path.append(params.copy())
    return np.array(path)


def error(path, expected):
    """Return the largest difference, relative where the points are large."""
    return np.max(np.abs(path - expected) / np.maximum(1, np.abs(expected)))


def columns(runs):
    """Return name → column (R, 1) for a list of R runs."""
    return {name: np.array([[run[name]] for run in runs]) for name in runs[0]}


@pytest.mark.parametrize(("name", "hyperparameters"), EVERY_RUN)
def test_one_run_follows_the_unrolled_rule(name, hyperparameters):
    update, offset = RIGHT[name]
    expected = walk(update, noisy_gradient, START, STEPS, offset, **hyperparameters)
    path = path_of(RULES[name](**hyperparameters), noisy_gradient, START, STEPS)
    assert error(path, expected) <= TOLERANCE


@pytest.mark.parametrize("name", RUNS)
def test_a_stack_with_columns_follows_the_unrolled_rule(name):
    update, offset = RIGHT[name]
    expected = [walk(update, noisy_gradient, START, STEPS, offset, **run) for run in RUNS[name]]
    optimizer = RULES[name](**columns(RUNS[name]))
    path = path_of(optimizer, noisy_gradient, np.stack([START] * len(RUNS[name])), STEPS)
    assert error(path, np.stack(expected, axis=1)) <= TOLERANCE


@pytest.mark.parametrize(("name", "update", "offset"), WRONG)
def test_the_nearest_wrong_rule_is_distinguished(name, update, offset):
    for hyperparameters in RUNS[name]:
        if hyperparameters.get("momentum") == 0:
            continue  # all rules with momentum are then the same
        path = path_of(RULES[name](**hyperparameters), noisy_gradient, START, STEPS)
        wrong = walk(update, noisy_gradient, START, STEPS, offset, **hyperparameters)
        assert error(path, wrong) > 1e4 * TOLERANCE


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rule", [SGD, Nesterov])
def test_a_quadratic_has_a_closed_form(rule, momentum):
    """On f = λ w² / 2, w is A p^t + B q^t with p and q the roots of the recurrence."""
    curvature, learning_rate, steps = np.array([0.1, 1.0, 3.0]), 0.3, 200
    shrink = 1 - learning_rate * curvature
    linear, constant = {
        SGD: (momentum + shrink, momentum * np.ones(3)),
        Nesterov: ((1 + momentum) * shrink, momentum * shrink),
    }[rule]
    expected = []
    for start, b, c, s in zip(START, linear, constant, shrink, strict=False):
        root = np.sqrt(complex(b**2 - 4 * c))
        p, q = (b + root) / 2, (b - root) / 2
        share = (start * s - q * start) / (p - q)  # w₀ = start and w₁ = start · shrink
        t = np.arange(steps + 1)
        expected.append((share * p**t + (start - share) * q**t).real)
    optimizer = rule(learning_rate=learning_rate, momentum=momentum)
    path = path_of(optimizer, lambda _, w: curvature * w, START[:3], steps)
    assert error(path, np.transpose(expected)) <= 1e-11


def test_gradient_descent_on_a_quadratic_shrinks_geometrically():
    optimizer = SGD(learning_rate=0.25, momentum=0)
    path = path_of(optimizer, lambda _, w: 3 * w, START, 20)
    assert np.array_equal(path, START * 0.25 ** np.arange(21)[:, None])


@pytest.mark.parametrize("rule", [SGD, AdaGrad, RMSprop, Adam])
def test_the_gradient_is_wanted_at_the_params(rule):
    params = START.copy()
    optimizer = rule()
    state = optimizer.init(params)
    optimizer.step(params, np.ones(4), state)
    assert optimizer.gradient_point(params, state) is params


def test_nesterov_wants_the_gradient_ahead():
    optimizer = Nesterov(learning_rate=0.5, momentum=0.25)
    params = START.copy()
    state = optimizer.init(params)
    assert np.array_equal(optimizer.gradient_point(params, state), START)
    optimizer.step(params, np.ones(4), state)  # v = 0.5
    assert np.array_equal(params, START - 0.5)
    assert np.array_equal(optimizer.gradient_point(params, state), START - 0.5 - 0.25 * 0.5)
    assert np.array_equal(params, START - 0.5)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_step_is_in_place_and_leaves_the_gradient_alone(rule, dtype, shape):
    params, gradient = np.ones(shape, dtype), np.full(shape, 0.5, dtype)
    optimizer = rule(learning_rate=0.125)
    state = optimizer.init(params)
    assert np.array_equal(params, np.ones(shape))
    assert optimizer.step(params, gradient, state) is None
    optimizer.step(params, gradient, state)  # ADOPT takes no first step
    assert (params < 1).all()
    assert params.dtype == dtype
    assert np.array_equal(gradient, np.full(shape, 0.5))
    arrays = [value for value in state.values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in arrays} <= {np.dtype(dtype)}
    assert {array.shape for array in arrays} <= {shape, (*shape[:-1], 1)}  # or one number per run


def without_decay(rule):
    return {field.name: 0.0 for field in dataclasses.fields(rule) if field.name == "weight_decay"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_blank_pixel_does_not_move(rule, dtype):
    gradient = np.array([0, 1], dtype)
    optimizer, params = rule(**without_decay(rule)), np.ones(2, dtype)
    state = optimizer.init(params)
    for _ in range(3):
        optimizer.step(params, gradient, state)
    assert params[0] == 1
    assert params[1] < 1


@given(
    name=st.sampled_from(sorted(RULES)),
    dtype=st.sampled_from(["float32", "float64"]),
    runs=st.integers(1, 9),
    size=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_a_row_is_bitwise_the_run_alone(name, dtype, runs, size, seed):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(runs, size)).astype(dtype)
    slopes = rng.normal(size=(8, runs, size)).astype(dtype)
    rates = rng.choice([1e-3, 0.1, 1.0, 1e30], (runs, 1)).astype(dtype)
    slopes[4, rng.integers(runs)] = np.nan

    def path(rows):
        def gradient(step, point):
            return slopes[step, rows] + point * point

        return path_of(RULES[name](learning_rate=rates[rows]), gradient, start[rows], 8)

    with np.errstate(all="ignore"):
        together = path(slice(None))
        row = rng.integers(runs)
        assert bits(path(slice(row, row + 1))) == bits(together[:, row : row + 1])
        order = rng.permutation(runs)
        assert bits(path(order)) == bits(together[:, order])


def test_the_rules_by_name():
    assert (SGD, Nesterov, AdaGrad, RMSprop, Adam) == CLASSIC
    assert tuple(RULES.values())[:5] == CLASSIC
    assert all(name == rule.__name__ for name, rule in RULES.items())
    assert {field.name for rule in RULES.values() for field in dataclasses.fields(rule)} <= set(RANGES)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (SGD, ["learning_rate", "momentum"]),
        (Nesterov, ["learning_rate", "momentum"]),
        (AdaGrad, ["learning_rate", "eps"]),
        (RMSprop, ["learning_rate", "rho", "eps"]),
        (Adam, ["learning_rate", "beta1", "beta2", "eps"]),
    ],
)
def test_hyperparameters_are_frozen_and_keyword_only(rule, names):
    assert [field.name for field in dataclasses.fields(rule)] == names
    with pytest.raises(TypeError, match="positional"):
        rule(0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule().learning_rate = 1.0


def test_the_defaults_are_the_usual_ones():
    """As docs/optimizers.md lists them beside those of other libraries."""
    assert (SGD().learning_rate, SGD().momentum) == (0.01, 0.9)
    assert (Nesterov().learning_rate, Nesterov().momentum) == (0.01, 0.9)
    assert (AdaGrad().learning_rate, AdaGrad().eps) == (0.01, 1e-8)
    assert (RMSprop().learning_rate, RMSprop().rho, RMSprop().eps) == (0.001, 0.9, 1e-8)
    assert (Adam().learning_rate, Adam().beta1, Adam().beta2, Adam().eps) == (0.001, 0.9, 0.999, 1e-8)


def task(steps=10, shapes=None):
    shapes = {"weight": (1, 2), "bias": (2,)} if shapes is None else shapes
    return Task(layout=Layout(shapes), steps=steps, steps_per_epoch=1, generators=[])


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if without_decay(rule)])
def test_weight_decay_acts_on_weights_alone_if_there_is_a_layout(rule):
    optimizer = rule(learning_rate=0.5, weight_decay=0.5)
    for given_task, decays in [(None, [True] * 4), (task(), [True, True, False, False])]:
        params = np.ones(4)
        state = optimizer.init(params, given_task)
        for _ in range(2):
            optimizer.step(params, np.zeros(4), state)
        assert (params < 1).tolist() == decays


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("beta1", [0.9, 0.0])
def test_the_long_memory_of_ademamix_grows_as_the_authors_has_it(beta1, shape):
    """Their schedulers, in which a half-life ln ½ / ln β − 1 grows in a line."""
    beta3, alpha, steps = 0.999, 5.0, 40

    def half_life(beta):
        return math.log(0.5) / math.log(beta) - 1 if beta else -1

    gradients = np.random.default_rng(0).normal(size=(60, *shape))
    optimizer = AdEMAMix(learning_rate=0.1, beta1=beta1, beta3=beta3, alpha=alpha)
    params = np.zeros(shape)
    state = optimizer.init(params, task(steps))
    expected, first, second, long = (np.zeros(shape) for _ in range(4))
    for t, g in enumerate(gradients, start=1):
        optimizer.step(params, g, state)
        share = min(t / steps, 1)
        decay = 0.5 ** (1 / ((1 - share) * half_life(beta1) + share * half_life(beta3) + 1))
        first = beta1 * first + (1 - beta1) * g
        second = 0.999 * second + 0.001 * g * g
        long = decay * long + (1 - decay) * g
        mean = first / (1 - beta1**t) + share * alpha * long
        expected -= 0.1 * mean / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        assert error(params, expected) <= TOLERANCE
    assert error(expected, path_of(optimizer, lambda t, _: gradients[t], np.zeros(shape), 60)[-1]) > 0.1


def test_the_decay_of_adamw_and_lion_is_not_in_the_gradient():
    for rule in (AdamW, Lion):
        params = np.ones(2)
        optimizer = rule(learning_rate=0.5, weight_decay=0.5)
        optimizer.step(params, np.zeros(2), optimizer.init(params))
        assert np.array_equal(params, [0.75, 0.75])


RANGE_OF = {
    "learning_rate": "(0, inf)",
    "momentum": "[0, 1)",
    "rho": "[0, 1)",
    "beta1": "[0, 1)",
    "beta2": "[0, 1)",
    "eps": "(0, inf)",
    "beta3": "[0, 1)",
    "weight_decay": "[0, inf)",
    "momentum_decay": "[0, inf)",
    "alpha": "[0, inf)",
    "initial_distance": "(0, inf)",
    "trust_coefficient": "(0, inf)",
    "precondition_period": "[1, inf) whole",
}
EVERY_FIELD = [(rule, field.name) for rule in RULES.values() for field in dataclasses.fields(rule)]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("rule", "name"), EVERY_FIELD)
def test_a_number_out_of_range_is_refused(rule, name):
    legal = RANGE_OF[name]
    ends = {"[0, 1)": [1, 1.0, 1.1], "(0, inf)": [0, 0.0], "[1, inf) whole": [0, 1.5]}.get(legal, [])
    for value in [-0.1, NAN, INF, -INF, *ends]:
        message = f"{name} must be in {RANGE_OF[name]}, got {value}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            rule(**{name: value})


@pytest.mark.parametrize(("rule", "name"), EVERY_FIELD)
def test_what_is_not_a_number_is_refused(rule, name):
    for value in ("0.5", None, True, 0.5j, {}, [0.5], np.array([[True], [False]]), np.array([])):
        message = f"{name} must be a number in {RANGE_OF[name]}, got {value!r}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            rule(**{name: value})


@pytest.mark.parametrize(("rule", "name"), EVERY_FIELD)
def test_a_column_with_one_bad_entry_is_refused(rule, name):
    good = 2.0 if name == "precondition_period" else 0.5
    rule(**{name: np.full((3, 1), good)})
    for place, bad in product(range(3), [-0.5, NAN, INF]):
        column = np.full((3, 1), good)
        column[place] = bad
        message = f"{name} must be in {RANGE_OF[name]}, got "
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            rule(**{name: column})


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 2), (2, 1, 1)])
def test_numbers_that_are_no_column_are_refused(shape):
    """With as many runs as parameters, a row of rates was one per parameter."""
    message = (
        f"learning_rate must be a number, or a column .*, got an array of shape {re.escape(str(shape))}$"
    )
    with pytest.raises(ValueError, match=message):
        SGD(learning_rate=np.full(shape, 0.1))
    assert SGD(learning_rate=np.full((1,), 0.1)).learning_rate == 0.1


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"rule": SGD, "learning_rate": 1000, "momentum": 0},
        {"rule": RMSprop, "rho": 0, "eps": 1e-300},
        {"rule": Adam, "beta1": 0, "beta2": 0.0, "eps": 10},
        {"rule": Adam, "beta1": np.float32(0.5), "learning_rate": np.float64(1e-12)},
    ],
)
def test_the_ends_of_the_ranges_are_legal(hyperparameters):
    rule, given_values = hyperparameters["rule"], dict(list(hyperparameters.items())[1:])
    optimizer = rule(**given_values)
    assert {name: getattr(optimizer, name) for name in given_values} == given_values


def test_a_bad_value_is_named_as_in_the_manual():
    with pytest.raises(ValueError, match=r"^beta1 must be in \[0, 1\), got 1\.1$"):
        Adam(beta1=1.1)
