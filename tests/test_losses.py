"""Softmax, one-hot labels and cross-entropy against per-sample loops and central differences."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference.bits import bits
from reference.differences import directional_error
from sklearn.metrics import log_loss, r2_score, root_mean_squared_error

from optimlab.nn.losses import (
    LOSSES,
    CrossEntropy,
    Huber,
    SquaredError,
    cross_entropy_and_correct,
    cross_entropy_and_gradient,
    one_hot,
    softmax,
)

RUNS, CLASSES, BATCH = 3, 4, 7
LOGITS = arrays(float, (RUNS, CLASSES, BATCH), elements=st.floats(-1e6, 1e6))
LABELS = arrays(np.intp, (RUNS, BATCH), elements=st.integers(0, CLASSES - 1))


def one_sample(scores, label):
    """Return loss, probabilities and whether the label wins, for one sample, in plain floats."""
    top = max(scores)
    total = math.fsum(math.exp(score - top) for score in scores)
    loss = math.log(total) + (top - scores[label])
    wins = all(scores[label] > score for other, score in enumerate(scores) if other != label)
    return loss, [math.exp(score - top) / total for score in scores], wins


def per_sample(logits, labels):
    """Return losses (R, B), probabilities (R, C, B) and wins (R, B), sample by sample."""
    runs, classes, batch = logits.shape
    losses, wins = np.zeros((runs, batch)), np.zeros((runs, batch), bool)
    probabilities = np.zeros((runs, classes, batch))
    for run in range(runs):
        for sample in range(batch):
            scores = [float(score) for score in logits[run, :, sample]]
            loss, shares, win = one_sample(scores, labels[run][sample])
            losses[run, sample], probabilities[run, :, sample], wins[run, sample] = loss, shares, win
    return losses, probabilities, wins


def evaluation(logits, labels):
    """Return summed loss and correct samples, and leave the logits alone."""
    return cross_entropy_and_correct(logits.copy(), labels)


def cross_entropy(logits, labels):
    """Return loss and gradient, and leave the logits alone."""
    return cross_entropy_and_gradient(logits.copy(), labels)


@given(logits=LOGITS)
def test_softmax_is_a_share_of_one(logits):
    shares = softmax(logits)
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-14)
    expected = per_sample(logits, np.zeros((RUNS, BATCH), int))[1]
    np.testing.assert_allclose(shares, expected, rtol=1e-12, atol=1e-300)


def test_softmax_of_huge_logits():
    logits = np.array([[8e307, 8e307], [-8e307, 8e307], [0, -8e307]])
    assert np.array_equal(softmax(logits), [[1, 0.5], [0, 0.5], [0, 0]])


def test_softmax_leaves_the_logits_alone():
    logits = np.ones((2, 3, 4))
    softmax(logits)
    assert (logits == 1).all()


@given(labels=LABELS)
def test_one_hot_marks_the_label(labels):
    marks = one_hot(labels, CLASSES)
    assert marks.shape == (RUNS, BATCH, CLASSES)
    for place in np.ndindex(RUNS, BATCH):
        assert marks[place].tolist() == [float(k == labels[place]) for k in range(CLASSES)]


def test_one_hot_of_nothing_is_nothing():
    assert one_hot(np.array([], int), 3).shape == (0, 3)


@pytest.mark.parametrize("labels", [[3], [-1], [0, 1, 2, 3], [[0, 1], [-1, 2]]])
def test_one_hot_refuses_what_is_no_label(labels):
    with pytest.raises(ValueError, match=r"labels must be in 0 … 2, got "):
        one_hot(np.array(labels), 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(logits=LOGITS, labels=LABELS)
def test_loss_and_gradient_are_those_of_the_samples(dtype, logits, labels):
    logits = logits.astype(dtype)
    losses, shares, _ = per_sample(logits, labels)
    expected = (shares - np.moveaxis(one_hot(labels, CLASSES), -1, 1)) / BATCH
    loss, gradient = cross_entropy(logits, labels)
    tolerance = 20 * np.finfo(dtype).eps
    assert (loss.dtype, gradient.dtype) == (logits.dtype, logits.dtype)
    np.testing.assert_allclose(loss, losses.mean(axis=1), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)


@given(logits=LOGITS, labels=LABELS)
def test_evaluation_sums_the_samples(logits, labels):
    losses, _, wins = per_sample(logits, labels)
    loss, correct = evaluation(logits, labels)
    np.testing.assert_allclose(loss, losses.sum(axis=1), rtol=1e-13, atol=1e-13)
    assert np.array_equal(correct, wins.sum(axis=1))


def test_a_tie_is_not_correct():
    logits = np.array([[[1.0, 2.0, 0.0], [1.0, 1.0, 3.0], [0.0, 2.0, -1.0]]])
    for labels, expected in [([0, 0, 1], 1), ([1, 2, 1], 1), ([2, 1, 0], 0)]:
        assert evaluation(logits, np.array(labels))[1].tolist() == [expected]


@pytest.mark.parametrize("function", [cross_entropy, evaluation])
def test_labels_may_be_shared_by_all_runs(function):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(RUNS, CLASSES, BATCH)), rng.integers(0, CLASSES, BATCH)
    own = function(logits, np.stack([labels] * RUNS))
    for shared, expected in zip(function(logits, labels), own, strict=True):
        assert np.array_equal(shared, expected)


def test_the_gradient_is_the_derivative():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (RUNS, CLASSES, BATCH))
    labels = rng.integers(0, CLASSES, (RUNS, BATCH))
    gradient = cross_entropy(logits, labels)[1]
    errors = directional_error(lambda z: cross_entropy(z, labels)[0], gradient, logits, rng)
    assert (errors <= 1e-6).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_row_is_bitwise_the_run_alone(batch, dtype):
    rng = np.random.default_rng(batch)
    logits = rng.normal(0, 3, (9, 10, batch)).astype(dtype)
    labels = rng.integers(0, 10, (9, batch))
    logits[4] = np.nan
    for function in (cross_entropy, evaluation):
        together = function(logits, labels)
        for row in range(9):
            alone = function(logits[row : row + 1], labels[row : row + 1])
            for one, all_rows in zip(alone, together, strict=True):
                assert bits(one) == bits(all_rows[row : row + 1]), (function, row)


@pytest.mark.parametrize(
    ("probability", "true_class", "slope"),
    [(0.204, True, -0.80), (0.18, False, 0.18)],
)
def test_the_article_s_slopes_by_softmax(probability, true_class, slope):
    logits = np.log(np.array([[[probability], [1 - probability]]]))
    gradient = cross_entropy(logits, np.array([0 if true_class else 1]))[1]
    assert gradient[0, 0].item() == pytest.approx(slope, abs=0.005)


# Losses of numbers

ERRORS = {
    "squared": (SquaredError(), lambda e: e * e),
    "huber": (Huber(), lambda e: e * e / 2 if abs(e) <= 1 else abs(e) - 0.5),
    "huber, wide": (Huber(delta=2.5), lambda e: e * e / 2 if abs(e) <= 2.5 else 2.5 * (abs(e) - 1.25)),
}


def predictions(shape=(RUNS, CLASSES, BATCH)):
    """Return outputs and targets whose errors are small and large."""
    rng = np.random.default_rng(3)
    return rng.normal(0, 3, shape), rng.normal(0, 1, shape)


@pytest.mark.parametrize("name", ERRORS)
def test_a_loss_of_numbers_is_the_mean_of_the_errors(name):
    loss, plain = ERRORS[name]
    outputs, targets = predictions()
    value, _ = loss.value_and_gradient(outputs.copy(), targets)
    for run in range(RUNS):
        errors = (outputs[run] - targets[run]).ravel().tolist()
        assert value[run] == pytest.approx(math.fsum(map(plain, errors)) / len(errors), rel=1e-13)


def test_every_loss_has_its_gradient_checked():
    assert {type(loss) for loss, _ in ERRORS.values()} | {CrossEntropy} == set(LOSSES.values())


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ERRORS)
def test_the_gradient_of_a_loss_of_numbers_is_the_derivative(name, shared):
    loss, _ = ERRORS[name]
    outputs, targets = predictions()
    targets = targets[0] if shared else targets
    _, gradient = loss.value_and_gradient(outputs.copy(), targets)
    errors = directional_error(
        lambda outputs: loss.value_and_gradient(outputs.copy(), targets)[0],
        gradient,
        outputs,
        np.random.default_rng(0),
    )
    assert (errors <= 1e-6).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("name", ERRORS)
def test_a_row_of_a_loss_of_numbers_is_bitwise_the_run_alone(name, order, dtype):
    loss, _ = ERRORS[name]
    outputs, targets = (each.astype(dtype) for each in predictions((5, 3, 70)))
    back = np.argsort(order)
    together = loss.value_and_gradient(np.copy(outputs.transpose(order)).transpose(back), targets)
    for row in range(5):
        one = np.copy(outputs[row : row + 1].transpose(order)).transpose(back)
        alone = loss.value_and_gradient(one, targets[row : row + 1])
        for some, own in zip(together, alone, strict=True):
            assert bits(some[row : row + 1]) == bits(own)


def blocks(outputs, size=3):
    """Yield outputs block by block."""
    for start in range(0, outputs.shape[-1], size):
        part = slice(start, min(start + size, outputs.shape[-1]))
        yield part, outputs[..., part].copy()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ERRORS)
def test_the_metrics_of_numbers_are_scikit_learn_s(name, shared):
    loss, _ = ERRORS[name]
    outputs, targets = predictions()
    scale = np.array([1.0, 10.0, 0.5, 3.0])
    targets = targets[0] if shared else targets
    found = loss.metrics(blocks(outputs), targets, scale)
    assert list(found) == ["loss", "r2", "rmse"]
    for run in range(RUNS):
        true, ours = (targets if shared else targets[run]).T, outputs[run].T
        value = loss.value_and_gradient(outputs[run : run + 1].copy(), true.T[None])[0][0]
        assert found["loss"][run] == pytest.approx(value, rel=1e-12)
        assert found["r2"][run] == pytest.approx(r2_score(true, ours), rel=1e-12)
        rmse = root_mean_squared_error(true * scale, ours * scale)
        assert found["rmse"][run] == pytest.approx(rmse, rel=1e-12)


def test_r2_of_a_target_that_does_not_vary_is_none():
    outputs, _ = predictions()
    found = SquaredError().metrics(blocks(outputs), np.ones((CLASSES, BATCH)), np.ones(CLASSES))
    assert np.isnan(found["r2"]).all()
    assert np.isfinite(found["rmse"]).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_blind_loss_is_that_of_the_best_constant_or_the_mean(name):
    rng = np.random.default_rng(0)
    loss = LOSSES[name]()
    if loss.task == "classification":
        labels = rng.choice(3, 50, p=[0.6, 0.3, 0.1])
        shares = np.bincount(labels) / 50
        assert loss.blind(labels) == pytest.approx(log_loss(labels, np.tile(shares, (50, 1))))
    else:
        targets = rng.normal(size=(2, 50))
        mean = np.tile(targets.mean(axis=1)[None, :, None], (1, 1, 50))
        assert loss.blind(targets) == pytest.approx(loss.value_and_gradient(mean, targets)[0][0])


def test_the_metrics_of_classes_are_of_all_blocks():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(RUNS, CLASSES, BATCH)), rng.integers(0, CLASSES, (RUNS, BATCH))
    for targets in (labels, labels[0]):
        found = CrossEntropy().metrics(blocks(logits), targets, np.ones(1))
        losses, _, wins = per_sample(logits, np.broadcast_to(targets, labels.shape))
        np.testing.assert_allclose(found["loss"], losses.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found["accuracy"], wins.mean(axis=1), rtol=1e-12)
