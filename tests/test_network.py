"""The network: gradients, a per-sample restatement, initialization, evaluation and stacks."""

import itertools

import numpy as np
import pytest
from reference import network as reference
from reference.bits import bits
from reference.differences import directional_error

from optimlab.nn import perceptron
from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import INITIALIZATIONS, LAYERS, Dropout, LayerNorm
from optimlab.nn.losses import CrossEntropy, Huber, SquaredError

RUNS, INPUTS, CLASSES, BATCH = 3, 6, 4, 9
UNITS = (5, 4, 3)
# Every activation × depth, and a network without a hidden layer.
HIDDEN = [
    (),
    *(
        tuple((units, activation) for units in UNITS[:depth])
        for activation, depth in itertools.product(ACTIVATIONS, (1, 2, 3))
    ),
    ((5, "sigmoid"), (4, "relu")),
]
SWITCHES = [{"batch_norm": n, "bias": b} for n, b in itertools.product((True, False), repeat=2)]


LOSS = CrossEntropy()


def loss_and_accuracy(network, params, x, labels, model):
    metrics = LOSS.metrics(network.evaluation(params, model).outputs(x), labels, np.ones(1))
    return metrics["loss"], metrics["accuracy"]


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def new_model(network, runs=RUNS):
    return network.model(generators(*range(runs)))


def example(hidden, **switches):
    """Return a network, parameters off their start values, a batch for each run, and the model."""
    rng = np.random.default_rng(11)
    network = perceptron(INPUTS, hidden, CLASSES, **switches)
    params = network.initial_params(generators(*range(RUNS)))
    params += rng.normal(0, 0.3, params.shape).astype(params.dtype)
    x = rng.uniform(0, 1, (RUNS, INPUTS, BATCH)).astype(params.dtype)
    labels = rng.integers(0, CLASSES, (RUNS, BATCH))
    return network, params, x, labels, new_model(network)


def named(hidden):
    return "-".join(f"{units}{activation}" for units, activation in hidden) or "none"


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("hidden", HIDDEN, ids=named)
def test_the_gradient_is_the_derivative(hidden, switches):
    network, params, x, labels, model = example(hidden, **switches)
    gradient = network.loss_and_gradient(params, x, labels, model, LOSS)[1].copy()
    errors = directional_error(
        lambda params: network.loss_and_gradient(params, x, labels, model, LOSS)[0],
        gradient,
        params,
        np.random.default_rng(0),
    )
    assert (errors <= 1e-6).all()


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("hidden", HIDDEN, ids=named)
def test_the_network_is_the_plain_one_sample_by_sample(hidden, switches):
    network, params, x, labels, model = example(hidden, **switches)
    logits = network.forward(params, x, model).copy()
    loss, gradient = network.loss_and_gradient(params, x, labels, model, LOSS)
    for run in range(RUNS):
        blocks = reference.blocks_of(params[run], INPUTS, hidden, CLASSES, **switches)
        samples = x[run].T.tolist()
        plain_logits = reference.forward(blocks, samples)[0]
        close(logits[run].T, plain_logits)
        close(loss[run], reference.mean_loss(plain_logits, labels[run]))
        close(gradient[run], reference.gradient(blocks, samples, labels[run]))


@pytest.mark.parametrize("hidden", [(), ((5, "tanh"), (4, "sigmoid"))], ids=named)
def test_the_gradient_by_the_inputs_is_the_derivative(hidden):
    network, params, x, _, model = example(hidden)
    weights = np.random.default_rng(0).normal(size=(RUNS, CLASSES, BATCH))

    def objective(x):
        return (weights * network.forward(params, x, model)).sum(axis=(1, 2))

    objective(x)
    gradient = np.empty_like(params)
    by_x = network.backward(params, gradient, weights.copy(), to_inputs=True)
    assert by_x.shape == x.shape
    errors = directional_error(objective, by_x.copy(), x, np.random.default_rng(0))
    assert (errors <= 1e-6).all()


def test_biases_before_batch_norm_have_no_gradient():
    network, params, x, labels, model = example(((5, "sigmoid"), (4, "relu")))
    gradient = network.loss_and_gradient(params, x, labels, model, LOSS)[1]
    for name, view in network.layout.views(gradient).items():
        assert (np.abs(view).max() < 1e-14) == name.endswith("bias"), name


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_evaluation_takes_the_debiased_running_averages(switches):
    hidden = ((5, "sigmoid"), (4, "elu"))
    network, params, x, labels, model = example(hidden, **switches)
    rng = np.random.default_rng(2)
    batches = [rng.uniform(0, 1, (RUNS, INPUTS, size)) for size in (9, 9, 4)]
    for batch in batches:
        network.forward(params, batch, model)
    everything, all_labels = x[0], labels[0]
    loss, accuracy = loss_and_accuracy(network, params, everything, all_labels, model)
    assert (loss.dtype, accuracy.dtype) == (float, float)
    weights = 0.99 ** np.arange(len(batches))[::-1]
    for run in range(RUNS):
        blocks = reference.blocks_of(params[run], INPUTS, hidden, CLASSES, **switches)
        statistics = None
        if switches["batch_norm"]:
            trails = [reference.forward(blocks, batch[run].T.tolist())[1] for batch in batches]
            statistics = [
                [
                    np.average([trail[k][which] for trail in trails], axis=0, weights=weights)
                    for which in (3, 4)
                ]
                for k in range(len(blocks))
            ]
        logits = reference.forward(blocks, everything.T.tolist(), statistics)[0]
        close(loss[run], reference.mean_loss(logits, all_labels))
        close(accuracy[run], reference.accuracy(logits, all_labels))


def test_before_the_first_step_evaluation_normalizes_by_nothing():
    network, params, x, labels, model = example(((5, "sigmoid"),))
    loss, _ = loss_and_accuracy(network, params, x[0], labels[0], model)
    blocks = reference.blocks_of(params[0], INPUTS, ((5, "sigmoid"),), CLASSES, True, True)
    statistics = [([0.0] * 5, [1.0] * 5), ([0.0] * 4, [1.0] * 4)]
    logits = reference.forward(blocks, x[0].T.tolist(), statistics)[0]
    close(loss[0], reference.mean_loss(logits, labels[0]))


def test_evaluation_changes_nothing():
    network, params, x, labels, model = example(((5, "sigmoid"),))
    before, samples = params.copy(), x[0].copy()
    network.loss_and_gradient(params, x, labels, model, LOSS)
    first = loss_and_accuracy(network, params, x[0], labels[0], model)
    loss_and_accuracy(network, params, 100 * x[1], labels[1], model)
    again = loss_and_accuracy(network, params, x[0], labels[0], model)
    assert np.array_equal(first, again)
    assert np.array_equal(params, before)
    assert np.array_equal(x[0], samples)


def averages(model):
    """Return the running statistics of each batch norm."""
    return [state.statistics() for state in model.states.values() if state]


def evaluated(network, params, x, model, block):
    """Return the logits of all samples, evaluated in blocks."""
    parts = [
        (part, logits.copy()) for part, logits in network.evaluation(params, model).outputs(x, block)
    ]
    everyone = [sample for part, _ in parts for sample in range(x.shape[-1])[part]]
    assert everyone == list(range(x.shape[-1]))
    return np.concatenate([logits for _, logits in parts], axis=-1)


@pytest.mark.parametrize("block", [1, 4, 8, 9, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_evaluation_in_blocks_is_evaluation_at_once(dtype, block):
    network, params, x, labels, model = example(((5, "tanh"), (4, "relu")), dtype=dtype)
    network.loss_and_gradient(params, x, labels, model, LOSS)
    at_once = evaluated(network, params, x[0], model, 1000).copy()
    close(evaluated(network, params, x[0], model, block), at_once, 20 * np.finfo(dtype).eps)


def test_loss_and_accuracy_are_of_all_blocks():
    network, params, _, _, model = example(((5, "tanh"), (4, "relu")))
    rng = np.random.default_rng(0)
    x, labels = rng.uniform(0, 1, (INPUTS, 700)), rng.integers(0, CLASSES, 700)
    loss, accuracy = loss_and_accuracy(network, params, x, labels, model)
    logits = evaluated(network, params, x, model, 1000)
    for run in range(RUNS):
        close(loss[run], reference.mean_loss(logits[run].T.tolist(), labels))
        close(accuracy[run], reference.accuracy(logits[run].T.tolist(), labels))


@pytest.mark.parametrize("block", [1, 4, 1000])
def test_evaluation_with_the_batch_is_training_mode_on_the_whole_set(block):
    network, params, x, labels, model = example(((5, "tanh"), (4, "relu")), evaluate_with="batch")
    running = example(((5, "tanh"), (4, "relu")))[0]
    expected = network.forward(params, x[0], model).copy()
    models = [new_model(network), new_model(running)]
    for each, model in zip((network, running), models, strict=True):
        each.loss_and_gradient(params, x, labels, model, LOSS)
    found = evaluated(network, params, x[0], models[0], block)
    close(found, expected)
    assert np.abs(evaluated(running, params, x[0], models[1], block) - found).max() > 0.01
    for mine, other in zip(averages(models[0]), averages(models[1]), strict=True):
        assert np.array_equal(mine, other)  # evaluation left them alone


def test_a_network_that_predicts_all_classes_equally_is_never_right():
    network = perceptron(INPUTS, [], CLASSES, batch_norm=False)
    model = new_model(network, runs=2)
    labels = np.arange(8) % CLASSES
    loss, accuracy = loss_and_accuracy(
        network, np.zeros((2, network.size)), np.ones((INPUTS, 8)), labels, model
    )
    close(loss, np.log(CLASSES))
    assert accuracy.tolist() == [0, 0]


def test_one_network_serves_batches_and_stacks_of_any_size():
    network, params, x, labels, model = example(((5, "sigmoid"), (4, "relu")))
    expected = [array.copy() for array in network.loss_and_gradient(params, x, labels, model, LOSS)]
    network.loss_and_gradient(params, x[..., :4], labels[:, :4], model, LOSS)
    network.loss_and_gradient(params[:1], x[:1], labels[:1], new_model(network, runs=1), LOSS)
    for found, before in zip(
        network.loss_and_gradient(params, x, labels, model, LOSS), expected, strict=True
    ):
        assert np.array_equal(found, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_a_row_is_bitwise_the_run_alone(switches, dtype):
    network, params, x, labels, model = example(((5, "sigmoid"), (4, "relu")), dtype=dtype, **switches)
    x[1] = np.nan
    with np.errstate(invalid="ignore"):
        together = [array.copy() for array in network.loss_and_gradient(params, x, labels, model, LOSS)]
        together += loss_and_accuracy(network, params, x[0], labels[0], model)
        for row in range(RUNS):
            one = slice(row, row + 1)
            own = new_model(network, runs=1)
            alone = network.loss_and_gradient(params[one], x[one], labels[one], own, LOSS)
            alone = [array.copy() for array in alone]
            alone += loss_and_accuracy(network, params[one], x[0], labels[0], own)
            for mine, all_rows in zip(alone, together, strict=True):
                assert mine.dtype == all_rows.dtype
                assert bits(mine) == bits(all_rows[one])


@pytest.mark.parametrize("batch", [1, 3, 33])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_is_bitwise_the_run_alone_whatever_the_layers(activation, dtype, batch):
    """Of odd and single units: the last numbers of a row fill no vector of the processor."""
    hidden = [
        (17, activation),
        lambda name, features, dtype: LayerNorm(name, features, dtype),
        lambda name, features, dtype: Dropout(name, features, dtype, rate=0.3),
        (1, activation),
    ]
    network = perceptron(INPUTS, hidden, CLASSES, batch_norm=batch > 1, dtype=dtype)
    rng = np.random.default_rng(0)
    params = network.initial_params(generators(*range(RUNS)))
    params += rng.normal(0, 0.3, params.shape).astype(dtype)
    x = rng.normal(size=(RUNS, INPUTS, batch)).astype(dtype)
    labels = rng.integers(0, CLASSES, (RUNS, batch))
    x[1] = np.nan

    def numbers(rows):
        model = network.model(generators(*range(RUNS)[rows]))
        with np.errstate(invalid="ignore"):
            step = network.loss_and_gradient(params[rows], x[rows], labels[rows], model, LOSS)
            return [array.copy() for array in step] + list(
                loss_and_accuracy(network, params[rows], x[0], labels[0], model)
            )

    together = numbers(slice(RUNS))
    for row in range(RUNS):
        one = slice(row, row + 1)
        for alone, all_rows in zip(numbers(one), together, strict=True):
            assert bits(alone) == bits(all_rows[one])


def test_the_article_s_network_has_2894_parameters():
    network = perceptron(64, [(32, "sigmoid"), (16, "relu")], 10)
    assert network.size == 2894
    assert [line.split() for line in network.summary().splitlines()] == [
        ["layer", "outputs", "parameters"],
        ["dense1", "32", "2080"],
        ["batch_norm1", "32", "64"],
        ["sigmoid", "32", "0"],
        ["dense2", "16", "528"],
        ["batch_norm2", "16", "32"],
        ["relu", "16", "0"],
        ["dense3", "10", "170"],
        ["batch_norm3", "10", "20"],
        ["softmax", "10", "0"],
        ["total", "2894"],
    ]


def test_the_article_s_shapes():
    network = perceptron(64, [(32, "sigmoid"), (16, "relu")], 10)
    params = network.initial_params(generators(0))
    images = np.random.default_rng(0).uniform(0, 1, (64, 3))
    logits = network.forward(params, images, new_model(network, runs=1))
    assert logits.shape == (1, 10, 3)
    by_images = network.backward(params, np.empty_like(params), logits, to_inputs=True)
    assert by_images.shape == (1, 64, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_only_weights_start_at_random(initialization, dtype):
    network = perceptron(INPUTS, [(5, "tanh")], CLASSES, initialization=initialization, dtype=dtype)
    params = network.initial_params(generators(1, 2))
    assert params.dtype == dtype
    for name, view in network.layout.views(params).items():
        kind = name.split(".")[1]
        if kind == "weight":
            assert len(np.unique(view)) == view.size
        else:
            assert (view == (1 if kind == "gamma" else 0)).all()


@pytest.mark.parametrize(
    ("initialization", "bound", "variance"),
    [
        ("uniform", 400**-0.5, 1 / (3 * 400)),
        ("glorot", (6 / 700) ** 0.5, 2 / 700),
        ("he", None, 2 / 400),
    ],
)
def test_the_spread_of_the_weights(initialization, bound, variance):
    network = perceptron(400, [], 300, initialization=initialization)
    weights = network.initial_params(generators(0))[0, : 400 * 300]
    assert abs(weights.mean()) < 5 * (variance / weights.size) ** 0.5
    assert weights.var() == pytest.approx(variance, rel=0.02)
    if bound:
        assert 0.999 * bound < np.abs(weights).max() <= bound
    else:  # normal: 4.55 % are beyond two deviations
        assert np.mean(np.abs(weights) > 2 * variance**0.5) == pytest.approx(0.0455, abs=0.003)


def test_a_row_s_start_is_drawn_by_its_generator_alone():
    network = perceptron(INPUTS, [(5, "tanh")], CLASSES)
    together = network.initial_params(generators(5, 6, 7))
    for row, seed in enumerate((5, 6, 7)):
        assert np.array_equal(network.initial_params(generators(seed))[0], together[row])
    assert np.array_equal(network.initial_params(generators(7, 5)), together[[2, 0]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_params_that_change_in_place_are_seen(order):
    network, params, x, labels, model = example(((5, "sigmoid"), (4, "relu")))
    params = np.array(params, order=order)
    before = network.loss_and_gradient(params, x, labels, model, LOSS)[0].copy()
    params *= 1.5
    after = network.loss_and_gradient(params, x, labels, model, LOSS)[0].copy()
    assert (after != before).all()
    again = network.loss_and_gradient(params.copy("C"), x, labels, model, LOSS)[0]
    np.testing.assert_array_equal(again, after)


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 4), (4, 7), (5, 5)])
def test_orthogonal_weights_are_orthonormal_and_of_any_sign(inputs, outputs):
    network = perceptron(inputs, [], outputs, batch_norm=False, initialization="orthogonal")
    rows = network.initial_params(generators(*range(60)))
    weights = network.layout.views(rows)["dense1.weight"]
    small = weights if inputs <= outputs else weights.mT
    expected = np.tile(np.eye(min(inputs, outputs)), (60, 1, 1))
    np.testing.assert_allclose(small @ small.mT, expected, atol=1e-12)
    assert 0.2 < np.mean(weights[:, 0, 0] > 0) < 0.8


BUILDS = {
    "layer norm": lambda name, features, dtype: LayerNorm(name, features, dtype),
    "dropout": lambda name, features, dtype: Dropout(name, features, dtype, 0.3),
}


def test_every_layer_of_a_file_has_its_gradient_checked():
    assert {name.replace("_", " ") for name in LAYERS} == BUILDS.keys()


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError(), Huber(delta=9.0)], ids=str)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "elu", "gelu", "softplus"])
@pytest.mark.parametrize("build", BUILDS)
def test_the_gradient_is_the_derivative_with_other_layers_and_losses(build, activation, loss):
    """An activation keeps what it returned: a layer after it must leave that alone."""
    rng = np.random.default_rng(4)
    network = perceptron(
        INPUTS, [(5, activation), BUILDS[build], (4, "tanh")], CLASSES, batch_norm=False
    )
    params = network.initial_params(generators(*range(RUNS)))
    params += rng.normal(0, 0.3, params.shape)
    x = rng.uniform(0, 1, (RUNS, INPUTS, BATCH))
    targets = rng.integers(0, CLASSES, (RUNS, BATCH))
    if loss.task == "regression":
        targets = rng.normal(size=(RUNS, CLASSES, BATCH))

    def value_and_gradient(params):
        return network.loss_and_gradient(params, x, targets, new_model(network), loss)

    gradient = value_and_gradient(params)[1].copy()
    errors = directional_error(lambda p: value_and_gradient(p)[0], gradient, params, rng)
    assert (errors <= 1e-6).all()


@pytest.mark.parametrize(("features", "is_copied"), [(64, False), (300, True)])
def test_wide_features_are_laid_out_in_columns(features, is_copied):
    network = perceptron(features, [(64, "relu")], 10)
    data = np.random.default_rng(0).normal(size=(5, features))
    inputs = network.arranged(data)
    assert np.array_equal(inputs, data.T)
    assert np.shares_memory(inputs, data) != is_copied
    assert inputs.flags.c_contiguous == is_copied
