"""Single layers: central differences, and properties that their formulas do not show."""

import numpy as np
import pytest
from reference.differences import directional_error

from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import (
    MULTIPLICATIONS,
    ActivationLayer,
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
)
from optimlab.nn.parameters import Layout

RUNS, INPUTS, OUTPUTS, BATCH = 3, 5, 4, 6
FLOAT = np.dtype(float)

LAYERS = {
    "dense": lambda: Dense("dense", INPUTS, OUTPUTS, True, FLOAT),
    "dense without bias": lambda: Dense("dense", INPUTS, OUTPUTS, False, FLOAT),
    "batch norm": lambda: BatchNorm("norm", INPUTS, FLOAT),
    "batch norm, small eps": lambda: BatchNorm("norm", INPUTS, FLOAT, eps=1e-5),
    "layer norm": lambda: LayerNorm("norm", INPUTS, FLOAT),
    **{name: lambda name=name: ActivationLayer(name, INPUTS, FLOAT) for name in ACTIVATIONS},
}


def prepared(layer, rng):
    """Return the layer's layout and random parameters for a stack."""
    layout = Layout(layer.shapes)
    return layout, rng.normal(1, 0.5, (RUNS, layout.size))


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_are_the_derivatives(name):
    rng = np.random.default_rng(5)
    layer = LAYERS[name]()
    layout, params = prepared(layer, rng)
    x = rng.normal(size=(RUNS, INPUTS, BATCH))
    weights = rng.normal(size=(RUNS, layer.outputs, BATCH))

    def objective(params, x):
        return (weights * layer.forward(layout.views(params), x.copy())).sum(axis=(1, 2))

    objective(params, x)
    gradient = np.full_like(params, np.nan)
    by_x = layer.backward(layout.views(params), layout.views(gradient), weights.copy())
    assert by_x.shape == x.shape
    by_x = by_x.copy()
    assert (directional_error(lambda x: objective(params, x), by_x, x, rng) <= 1e-6).all()
    if layout.size:
        errors = directional_error(lambda params: objective(params, x), gradient, params, rng)
        assert (errors <= 1e-6).all()


@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_the_article_s_product_run_by_run(bias):
    rng = np.random.default_rng(0)
    layer = Dense("dense", INPUTS, OUTPUTS, bias, FLOAT)
    layout, params = prepared(layer, rng)
    views = layout.views(params)
    x = rng.normal(size=(RUNS, INPUTS, BATCH))
    y = layer.forward(views, x)
    for run in range(RUNS):
        expected = x[run].T @ views["dense.weight"][run]
        if bias:
            expected = expected + views["dense.bias"][run]
        np.testing.assert_allclose(y[run].T, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("inputs", "outputs", "samples"), [(64, 32, 1200), (64, 32, 489), (300, 64, 70)]
)
def test_a_product_in_parts_is_the_whole_product(inputs, outputs, samples):
    """Where it has too many multiplications for the fastest kernel; some are too many for any parts."""
    rng = np.random.default_rng(0)
    assert inputs * outputs * samples > MULTIPLICATIONS
    layer = Dense("dense", inputs, outputs, True, FLOAT)
    layout, params = prepared(layer, rng)
    views = layout.views(params)
    x, d = (rng.normal(size=(RUNS, size, samples)) for size in (inputs, outputs))
    gradient = np.full_like(params, np.nan)
    y, by_x = layer.forward(views, x), layer.backward(views, layout.views(gradient), d)
    weight, by_weight = views["dense.weight"], layout.views(gradient)["dense.weight"]
    expected = np.einsum("rif,rib->rfb", weight, x) + views["dense.bias"][..., None]
    np.testing.assert_allclose(y, expected, atol=1e-10)
    np.testing.assert_allclose(by_x, np.einsum("rif,rfb->rib", weight, d), atol=1e-10)
    np.testing.assert_allclose(by_weight, np.einsum("rib,rfb->rif", x, d), atol=1e-10)


def test_dense_takes_one_input_for_all_runs():
    rng = np.random.default_rng(0)
    layer = LAYERS["dense"]()
    layout, params = prepared(layer, rng)
    views = layout.views(params)
    x = rng.normal(size=(INPUTS, BATCH))
    d = rng.normal(size=(RUNS, OUTPUTS, BATCH))
    outcomes = []
    for given_x in (x, np.stack([x] * RUNS)):
        gradient = np.zeros_like(params)
        y = layer.forward(views, given_x).copy()
        layer.parameter_gradients(layout.views(gradient), d)
        outcomes.append((y, gradient))
    (y, gradient), (expected_y, expected_gradient) = outcomes
    np.testing.assert_allclose(y, expected_y, rtol=1e-13)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-13)


def begun(layer, runs=RUNS):
    return layer.begin([np.random.default_rng(run) for run in range(runs)])


def normalized(layer, x, state=None, *, gamma=1.0, beta=0.0):
    """Return the output of a batch norm with one γ and one β."""
    views = {
        "norm.gamma": np.full((len(x), x.shape[1]), gamma),
        "norm.beta": np.full((len(x), x.shape[1]), beta),
    }
    return layer.forward(views, x.copy(), state).copy()


def test_batch_norm_centres_and_scales_each_feature():
    rng = np.random.default_rng(0)
    x = rng.normal(7, 3, (RUNS, INPUTS, 50))
    layer = BatchNorm("norm", INPUTS, FLOAT)
    y = normalized(layer, x, gamma=2.0, beta=-1.0)
    np.testing.assert_allclose(y.mean(axis=-1), -1, rtol=1e-12)
    expected = 4 * x.var(axis=-1) / (x.var(axis=-1) + 0.01)
    np.testing.assert_allclose(y.var(axis=-1), expected, rtol=1e-12)


def test_batch_norm_of_a_constant_feature_is_beta():
    layer = BatchNorm("norm", INPUTS, FLOAT)
    y = normalized(layer, np.full((RUNS, INPUTS, BATCH), 3.0), beta=0.5)
    assert (y == 0.5).all()


def test_batch_norm_s_gradient_ignores_shift_and_nearly_scale():
    """The outputs do not change when all samples move together, nor (at ε = 0) when they grow."""
    rng = np.random.default_rng(0)
    layer = BatchNorm("norm", INPUTS, FLOAT, eps=0)
    layout, params = prepared(layer, rng)
    x = rng.normal(size=(RUNS, INPUTS, BATCH))
    layer.forward(layout.views(params), x.copy())
    d = rng.normal(size=x.shape)
    by_x = layer.backward(layout.views(params), layout.views(np.zeros_like(params)), d)
    np.testing.assert_allclose(by_x.sum(axis=-1), 0, atol=1e-13)
    np.testing.assert_allclose((by_x * x).sum(axis=-1), 0, atol=1e-13)


@pytest.mark.parametrize("momentum", [0.99, 0.5])
def test_running_averages_weigh_each_batch_and_nothing_else(momentum):
    rng = np.random.default_rng(0)
    layer = BatchNorm("norm", INPUTS, FLOAT, momentum=momentum)
    averages = begun(layer)
    batches = [rng.normal(2, 3, (RUNS, INPUTS, size)) for size in (6, 6, 3, 9, 6)]
    for count, batch in enumerate(batches, start=1):
        normalized(layer, batch, averages)
        weights = momentum ** np.arange(count)[::-1]
        mean, variance = averages.statistics()
        for found, statistic in ((mean, np.mean), (variance, np.var)):
            each = [statistic(seen, axis=-1) for seen in batches[:count]]
            np.testing.assert_allclose(found, np.average(each, axis=0, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_folded_into_dense_batch_norm_takes_the_running_averages_and_keeps_them(bias):
    rng = np.random.default_rng(0)
    dense = Dense("dense", INPUTS, OUTPUTS, bias, FLOAT)
    norm = BatchNorm("norm", OUTPUTS, FLOAT)
    averages = begun(norm)
    for _ in range(3):
        normalized(norm, rng.normal(2, 3, (RUNS, OUTPUTS, BATCH)), averages)
    mean, variance = (statistic.copy() for statistic in averages.statistics())
    layout = Layout({**dense.shapes, **norm.shapes})
    views = layout.views(rng.normal(1, 0.5, (RUNS, layout.size)))
    before = {name: view.copy() for name, view in views.items()}
    x = rng.normal(size=(RUNS, INPUTS, 2))
    z = dense.forward(views, x).copy()
    gamma, beta = views["norm.gamma"][..., None], views["norm.beta"][..., None]
    expected = gamma * (z - mean[..., None]) / np.sqrt(variance[..., None] + 0.01) + beta
    for _ in range(2):
        y = dense.forward(norm.folded_into(dense, views, averages), x)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert np.array_equal(averages.statistics(), (mean, variance))
    assert all(np.array_equal(views[name], before[name]) for name in before)


def test_each_stack_has_averages_of_its_own():
    layer = BatchNorm("norm", INPUTS, FLOAT)
    first = begun(layer)
    normalized(layer, np.random.default_rng(0).normal(size=(RUNS, INPUTS, BATCH)), first)
    before = first.statistics()
    mean, variance = begun(layer, runs=2).statistics()
    assert np.array_equal(mean, np.zeros((2, INPUTS)))
    assert np.array_equal(variance, np.ones((2, INPUTS)))
    assert np.array_equal(first.statistics(), before)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_s_numbers_do_not_depend_on_the_order_in_memory(name):
    rng = np.random.default_rng(3)
    layer = LAYERS[name]()
    layout, params = prepared(layer, rng)
    x, d = rng.normal(size=(RUNS, INPUTS, BATCH)), rng.normal(size=(RUNS, layer.outputs, BATCH))
    outcomes = []
    for order in ((0, 1, 2), (2, 0, 1)):
        back = np.argsort(order)
        given, flowing = (np.copy(a.transpose(order)).transpose(back) for a in (x, d))
        gradient = np.zeros_like(params)
        y = layer.forward(layout.views(params), given).copy()
        by_x = layer.backward(layout.views(params), layout.views(gradient), flowing).copy()
        outcomes.append((y, by_x, gradient))
    for usual, other in zip(*outcomes, strict=True):
        np.testing.assert_allclose(other, usual, rtol=1e-12, atol=1e-13)


def test_layer_norm_centres_and_scales_each_sample():
    rng = np.random.default_rng(0)
    layer = LayerNorm("norm", INPUTS, FLOAT, eps=0.01)
    x = rng.normal(7, 3, (RUNS, INPUTS, BATCH))
    y = normalized(layer, x, gamma=2.0, beta=-1.0)
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 0.01)
    np.testing.assert_allclose(y, 2 * expected - 1, rtol=1e-12)


def dropped(layer, x, seeds):
    """Return y and dL/dx, for a gradient of ones, of runs with these seeds."""
    state = layer.begin([np.random.default_rng(seed) for seed in seeds])
    y = layer.forward({}, x, state).copy()
    return y, layer.backward({}, {}, np.ones_like(x)).copy()


def test_dropout_drops_a_share_and_keeps_the_mean():
    layer = Dropout("dropout", 40, FLOAT, rate=0.25)
    x = np.ones((2, 40, 500))
    y, slope = dropped(layer, x, (0, 1))
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert np.array_equal(slope, y)  # what was dropped has no gradient
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(y[0], y[1])
    assert np.array_equal(x, np.ones_like(x))
    assert layer.forward({}, x) is x  # in evaluation


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_run_s_dropout_is_its_seed_s_alone(order):
    layer = Dropout("dropout", 5, FLOAT)
    x = np.random.default_rng(0).normal(size=(3, 5, 8))
    given = np.copy(x.transpose(order)).transpose(np.argsort(order))
    together, _ = dropped(layer, given, (4, 5, 6))
    alone, _ = dropped(layer, x[1:2], (5,))
    assert np.array_equal(together[1], alone[0])


def test_dropout_resumes():
    layer, x = Dropout("dropout", 5, FLOAT), np.ones((1, 5, 8))
    state = layer.begin([np.random.default_rng(0)])
    first, second = layer.forward({}, x, state).copy(), layer.forward({}, x, state).copy()
    assert not np.array_equal(first, second)
