"""Activations: against independent formulas, at zero and at large inputs, and by central differences."""

import pickle

import numpy as np
import pytest
from reference.differences import directional_error
from scipy.special import expit
from scipy.stats import norm

from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import ActivationLayer

# Value and slope, in another form than the code's.
FORMULAS = {
    "sigmoid": (expit, lambda x: expit(x) * expit(-x)),
    "tanh": (lambda x: 2 * expit(2 * x) - 1, lambda x: 4 * expit(2 * x) * expit(-2 * x)),
    "relu": (lambda x: np.where(x < 0, 0, x), lambda x: np.where(x < 0, 0, 1)),
    "leaky_relu": (lambda x: np.where(x < 0, x / 5, x), lambda x: np.where(x < 0, 1 / 5, 1)),
    "elu": (
        lambda x: np.where(x < 0, (np.exp(np.minimum(x, 0)) - 1) / 10, x),
        lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)) / 10, 1),
    ),
    "gelu": (lambda x: x * norm.cdf(x), lambda x: norm.cdf(x) + x * norm.pdf(x)),
    "softplus": (lambda x: np.maximum(x, 0) - np.log(expit(np.abs(x))), expit),
}
DTYPES = ["float32", "float64"]


def value_and_slope(name, x):
    """Return f(x) and f'(x) of a fresh activation, and leave x alone."""
    value, slope = x.copy().reshape(len(x), -1), np.empty((len(x), x[0].size), x.dtype)
    ACTIVATIONS[name].with_slope(value, slope)
    alone = x.copy().reshape(len(x), 1, -1)
    ACTIVATIONS[name].after_bias(alone, np.zeros((len(x), 1), x.dtype))
    np.testing.assert_array_equal(alone.reshape(value.shape), value)
    return value.reshape(x.shape), slope.reshape(x.shape)


def test_every_activation_is_tested():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_slope_follow_the_formula(name, dtype):
    x = np.concatenate([np.linspace(-30, 30, 601), [0.0, 1e-6, -1e-6]]).astype(dtype)[None, None]
    value, slope = value_and_slope(name, x)
    exact = x.astype(float)
    tolerance = 4 * np.finfo(dtype).eps
    assert (value.dtype, slope.dtype) == (x.dtype, x.dtype)
    np.testing.assert_allclose(value, FORMULAS[name][0](exact), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slope, FORMULAS[name][1](exact), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        ("sigmoid", 0.5, 0.25),
        ("tanh", 0, 1),
        ("relu", 0, 1),
        ("leaky_relu", 0, 1),
        ("elu", 0, 1),
        ("gelu", 0, 0.5),
        ("softplus", np.log(2), 0.5),
    ],
)
def test_at_zero(name, value, slope):
    found = value_and_slope(name, np.zeros((1, 1, 1)))
    assert [array.item() for array in found] == pytest.approx([value, slope], rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "x", "value", "slope"),
    [
        ("sigmoid", -1e3, 0, 0),
        ("sigmoid", 1e3, 1, 0),
        ("sigmoid", -np.inf, 0, 0),
        ("sigmoid", np.inf, 1, 0),
        ("tanh", -1e3, -1, 0),
        ("tanh", 1e3, 1, 0),
        ("tanh", -np.inf, -1, 0),
        ("tanh", np.inf, 1, 0),
        ("relu", -1e3, 0, 0),
        ("relu", 1e3, 1e3, 1),
        ("relu", -np.inf, 0, 0),
        ("relu", np.inf, np.inf, 1),
        ("leaky_relu", -1e3, -200, 0.2),
        ("leaky_relu", 1e3, 1e3, 1),
        ("leaky_relu", -np.inf, -np.inf, 0.2),
        ("leaky_relu", np.inf, np.inf, 1),
        ("elu", -1e3, -0.1, 0),
        ("elu", 1e3, 1e3, 1),
        ("elu", -np.inf, -0.1, 0),
        ("elu", np.inf, np.inf, 1),
        ("gelu", -1e3, 0, 0),
        ("gelu", 1e3, 1e3, 1),
        ("softplus", -1e3, 0, 0),
        ("softplus", 1e3, 1e3, 1),
        ("softplus", -np.inf, 0, 0),
        ("softplus", np.inf, np.inf, 1),
    ],
)
def test_far_out_without_a_warning(name, x, value, slope, dtype):
    found = value_and_slope(name, np.full((1, 1, 1), x, dtype))
    assert [array.item() for array in found] == pytest.approx([value, slope], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "slope"), [("tanh", 1), ("relu", 0), ("leaky_relu", 0.2), ("elu", 0.1)]
)
def test_just_below_zero_no_digit_is_lost(name, slope):
    value = value_and_slope(name, np.full((1, 1, 1), -1e-13))[0]
    assert value.item() == pytest.approx(-1e-13 * slope, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_nan(name):
    assert np.isnan(value_and_slope(name, np.full((1, 1, 1), np.nan))[0]).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_the_slope_is_the_derivative(name):
    rng = np.random.default_rng(1)
    x, weights = rng.normal(0, 2, (3, 4, 50)), rng.normal(size=(3, 4, 50))

    def objective(x):
        return (weights * value_and_slope(name, x)[0]).sum(axis=(1, 2))

    gradient = weights * value_and_slope(name, x)[1]
    assert (directional_error(objective, gradient, x, rng) <= 1e-6).all()


def test_a_layer_keeps_its_activation_in_another_process():
    """A network of Python's can then be sent to the workers of a sweep."""
    layer = pickle.loads(pickle.dumps(ActivationLayer("relu", 3, np.dtype("float32"))))
    assert layer.activation is ACTIVATIONS["relu"]
