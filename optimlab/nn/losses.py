"""Losses, with their gradients and the metrics that go with them: cross-entropy, squared error, Huber.

Outputs are (R, C, B): for each of R runs, C classes or targets by B samples. Targets are labels, whole
numbers 0 … C−1 of shape (R, B), or numbers (R, C, B); without the first axis where all runs share them.
A loss is the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from annotated_types import Gt, Le

from optimlab.nn.compiled import compiled, exp
from optimlab.validation import Checked

Array = np.ndarray


Blocks = Iterable[tuple[slice, Array]]  # which samples, and their outputs (R, C, B)


class Loss(Protocol):
    """What a problem asks of a loss: a frozen dataclass of its settings, and these.

    Attributes
    ----------
    task : what it is for: "classification" or "regression".
    link : what it does to the outputs first, for people; "" for nothing.
    unit : of the loss; "" where it has none.
    """

    task: ClassVar[str]
    link: ClassVar[str]
    unit: ClassVar[str]

    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return the loss (R,) and its gradient by the outputs (R, C, B), which may be overwritten."""

    def metrics(self, blocks: Blocks, targets: Array, scale: Array) -> dict[str, Array]:
        """Return "loss" and what else tells how good outputs are, each (R,) in float64.

        Parameters
        ----------
        blocks : of all samples; outputs may be overwritten.
        targets : of all samples, labels (N,) or numbers (C, N); with an axis R before where runs differ.
        scale : what a one of each target is in the data's units (C,).
        """

    def blind(self, targets: Array) -> float:
        """Return the loss of the best outputs that look at no feature."""


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Checked):
    """−log softmax(z)[label], with z the outputs: `cross_entropy_and_gradient`; and the accuracy."""

    task: ClassVar[str] = "classification"
    link: ClassVar[str] = "softmax"
    unit: ClassVar[str] = "nats"

    name: Literal["cross_entropy"] = "cross_entropy"

    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        return cross_entropy_and_gradient(outputs, targets)

    def metrics(self, blocks: Blocks, targets: Array, scale: Array) -> dict[str, Array]:
        loss: Any = 0.0
        correct: Any = 0.0
        for part, logits in blocks:
            block_loss, block_correct = cross_entropy_and_correct(logits, targets[..., part])
            loss = loss + block_loss
            correct = correct + block_correct
        samples = targets.shape[-1]
        return {"loss": loss / samples, "accuracy": correct / samples}

    def blind(self, targets: Array) -> float:
        """Return the entropy of the labels' shares: each class is given its own."""
        shares = np.bincount(targets) / len(targets)
        shares = shares[shares > 0]
        return float(-(shares @ np.log(shares)))


@dataclass(frozen=True, kw_only=True)
class SquaredError(Checked):
    """(y − t)², the mean over the targets t, with y the outputs; and R² and RMSE.

    It is twice Huber's loss for δ = ∞.
    """

    task: ClassVar[str] = "regression"
    link: ClassVar[str] = ""
    unit: ClassVar[str] = ""

    name: Literal["squared_error"] = "squared_error"

    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        return huber_and_gradient(outputs, targets, np.inf, 2)

    def metrics(self, blocks: Blocks, targets: Array, scale: Array) -> dict[str, Array]:
        return huber_metrics(blocks, targets, scale, np.inf, 2)

    def blind(self, targets: Array) -> float:
        """Return the variance: every output is the mean."""
        return float(targets.var(axis=-1, dtype=np.float64).mean())


@dataclass(frozen=True, kw_only=True)
class Huber(Checked):
    """e² / 2 for |e| ≤ δ and else δ (|e| − δ/2), with e = y − t; the mean over the targets.

    Parameters
    ----------
    delta : δ, in the units in which the targets are learned.

    References
    ----------
    Huber (1964), Robust estimation of a location parameter.
    """

    task: ClassVar[str] = "regression"
    link: ClassVar[str] = ""
    unit: ClassVar[str] = ""

    name: Literal["huber"] = "huber"
    delta: Annotated[float, Gt(0), Le(1e6)] = 1.0

    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        return huber_and_gradient(outputs, targets, self.delta, 1)

    def metrics(self, blocks: Blocks, targets: Array, scale: Array) -> dict[str, Array]:
        return huber_metrics(blocks, targets, scale, self.delta, 1)

    def blind(self, targets: Array) -> float:
        """Return the loss where every output is the mean."""
        mean = np.broadcast_to(targets.mean(axis=-1, keepdims=True), targets.shape)
        return float(huber_and_gradient(mean[None].copy(), targets, self.delta, 1)[0][0])


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "squared_error": SquaredError,
    "huber": Huber,
}


def one_hot(labels: Array, classes: int) -> Array:
    """Return an array of zeros with a one at each label: shape (*labels.shape, classes), float64.

    Raises
    ------
    ValueError
        When a label is not in 0 … classes − 1.

    Examples
    --------
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must be in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")
    return np.eye(classes)[labels]


def softmax(logits: Array) -> Array:
    """Return e^z / Σ e^z over the classes (axis −2), for logits (…, C, B) of any size."""
    powers = np.exp(logits - logits.max(axis=-2, keepdims=True))
    return powers / powers.sum(axis=-2, keepdims=True)


@compiled
def powers(z: Array, labels: Array, total: Array, parts: Array) -> None:
    """z ← e^(z − max z), total = Σ e^(z − max z); parts are max z, max z − z[label], #{z ≥ z[label]}."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    top, loss, reach = parts[0], parts[1], parts[2]
    for run in range(z.shape[0]):
        own = run if len(labels) > 1 else 0  # or all runs share the labels
        for sample in range(z.shape[2]):
            loss[run, sample] = z[run, labels[own, sample], sample]
        for sample in range(z.shape[2]):
            top[run, sample], total[run, sample] = z[run, 0, sample], zero
            reach[run, sample] = zero
        for each in range(z.shape[1]):
            for sample in range(z.shape[2]):
                top[run, sample] = max(top[run, sample], z[run, each, sample])
                reach[run, sample] += one if z[run, each, sample] >= loss[run, sample] else zero
        for each in range(z.shape[1]):
            for sample in range(z.shape[2]):
                power = exp(z[run, each, sample] - top[run, sample])
                z[run, each, sample] = power
                total[run, sample] += power
        for sample in range(z.shape[2]):
            loss[run, sample] = top[run, sample] - loss[run, sample]


@compiled
def softmax_minus_one_hot(z: Array, labels: Array, total: Array) -> None:
    """z ← (z / Σ z − one_hot(label)) / N, of powers z and their Σ."""
    one, count = z.dtype.type(1), z.dtype.type(z.shape[2])
    for run in range(z.shape[0]):
        own = run if len(labels) > 1 else 0
        for each in range(z.shape[1]):
            for sample in range(z.shape[2]):
                z[run, each, sample] /= total[run, sample] * count
        for sample in range(z.shape[2]):
            z[run, labels[own, sample], sample] -= one / count


@compiled
def summed(log_total: Array, parts: Array, losses: Array, correct: Array) -> None:
    """Σ (log Σ e^z − z[label]) of each run, and how many of its samples have the label on top."""
    loss, reach = parts[1], parts[2]
    for run in range(loss.shape[0]):
        total, count = 0.0, 0
        for sample in range(loss.shape[1]):
            total += log_total[run, sample] + loss[run, sample]
            count += reach[run, sample] == 1
        losses[run], correct[run] = total, count


def cross_entropy_and_gradient(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return the mean cross-entropy (R,) and its gradient by the logits (R, C, B).

    The loss of a sample is log Σ e^z − z[label], and its gradient softmax(z) − one_hot(label): the
    two pieces of the article, ``−1/p`` and ``p (1 − p)``, whose product this is, are never formed.
    The logits are overwritten by the gradient.
    """
    z, labels = np.ascontiguousarray(logits), np.atleast_2d(labels)
    total, losses, _ = _cross_entropy(z, labels)
    softmax_minus_one_hot(z, labels, total)
    return (losses / z.shape[-1]).astype(z.dtype), z


def cross_entropy_and_correct(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each run's summed cross-entropy (R,) and its number of correct samples (R,), as float64.

    A sample is correct when its label's logit is above all others: a tie, as in a network that gives
    every class the same, is not. The logits are overwritten.
    """
    _, losses, correct = _cross_entropy(np.ascontiguousarray(logits), np.atleast_2d(labels))
    return losses, correct


def _cross_entropy(z: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Overwrite z by its powers; return their Σ, and each run's summed loss and correct samples."""
    runs, _, samples = z.shape
    total, parts = np.empty((runs, samples), z.dtype), np.empty((3, runs, samples), z.dtype)
    losses, correct = np.empty(runs), np.empty(runs)
    powers(z, labels, total, parts)
    summed(np.log(total), parts, losses, correct)
    return total, losses, correct


@compiled
def huber(error: Any, delta: Any) -> Any:
    """e² / 2 for |e| ≤ δ and else δ (|e| − δ / 2), with slope s, which is e within ±δ: s (e − s / 2)."""
    slope = -delta if error < -delta else delta if error > delta else error
    return slope * (error - slope / type(error)(2)), slope


@compiled
def summed_huber(y: Array, targets: Array, delta: Any, factor: Any, losses: Array) -> None:
    """losses = c Σ L(y − t) of each run, and y ← c L'(y − t), with L Huber's loss and a factor c."""
    for run in range(y.shape[0]):
        own, total = run if len(targets) > 1 else 0, y.dtype.type(0)
        for target in range(y.shape[1]):
            for sample in range(y.shape[2]):
                error = y[run, target, sample] - targets[own, target, sample]
                value, slope = huber(error, delta)
                total += value
                y[run, target, sample] = factor * slope
        losses[run] = factor * total


@compiled
def add_huber(y: Array, targets: Array, delta: Any, losses: Array, squares: Array) -> None:
    """Add Σ L(y − t) of each run, and Σ (y − t)² of each of its targets, in float64."""
    for run in range(y.shape[0]):
        own = run if len(targets) > 1 else 0
        for target in range(y.shape[1]):
            total, square = 0.0, 0.0
            for sample in range(y.shape[2]):
                error = np.float64(y[run, target, sample]) - np.float64(targets[own, target, sample])
                total += huber(error, delta)[0]
                square += error * error
            losses[run] += total
            squares[run, target] += square


def huber_and_gradient(
    outputs: Array, targets: Array, delta: float, factor: float
) -> tuple[Array, Array]:
    """Return the factor times the mean Huber loss (R,) and its gradient by the outputs, overwritten."""
    y, real = np.ascontiguousarray(outputs), outputs.dtype.type
    losses = np.empty(len(y), y.dtype)
    summed_huber(y, _by_run(targets, y.dtype), real(delta), real(factor / y[0].size), losses)
    return losses, y


def huber_metrics(
    blocks: Blocks, targets: Array, scale: Array, delta: float, factor: float
) -> dict[str, Array]:
    """Return the factor times Huber's loss; and R² and RMSE as scikit-learn has them, target means."""
    losses: Any = 0.0
    squares: Any = 0.0
    for part, outputs in blocks:
        some_losses, some_squares = np.zeros(len(outputs)), np.zeros(outputs.shape[:2])
        y = np.ascontiguousarray(outputs)
        add_huber(y, _by_run(targets[..., part], y.dtype), float(delta), some_losses, some_squares)
        losses, squares = losses + some_losses, squares + some_squares
    count, samples = targets.shape[-2:]
    numbers = targets.astype(np.float64)
    around = numbers - numbers.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = 1 - squares / np.vecdot(around, around)
    explained[~np.isfinite(explained)] = np.nan  # a target that does not vary
    return {
        "loss": factor * losses / (count * samples),
        "r2": explained.mean(axis=-1),
        "rmse": (np.sqrt(squares / samples) * scale).mean(axis=-1),
    }


def _by_run(targets: Array, dtype: np.dtype) -> Array:
    """Return targets (R, C, B), or (1, C, B) where all runs share them, in one piece of memory."""
    return np.ascontiguousarray(targets.reshape(-1, *targets.shape[-2:]), dtype)
