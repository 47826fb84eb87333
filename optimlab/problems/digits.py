"""The digits problem: a small network learns scikit-learn's 1,797 handwritten digits of 8×8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le, Len

from optimlab.data.dataset import Dataset, Scaling, Split
from optimlab.data.digits import TRAIN_IMAGES, load_digits
from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import INITIALIZATIONS
from optimlab.nn.losses import CrossEntropy, Loss, binary_cross_entropy_sum, softmax
from optimlab.nn.network import Model, Network, perceptron
from optimlab.problems.supervised import Supervised

Array = np.ndarray

REFUSE_UNKNOWN_KEYS = {"extra": "forbid"}  # to whoever checks a TOML file against these classes

PIXELS, CLASSES = 64, 10


@dataclass(frozen=True, kw_only=True)
class HiddenLayer:
    """Units and activation of one hidden layer."""

    __pydantic_config__ = REFUSE_UNKNOWN_KEYS

    units: Annotated[int, Ge(1), Le(4096)]
    activation: Literal[*ACTIVATIONS]  # type: ignore[valid-type]


@dataclass(frozen=True, kw_only=True)
class Digits(Supervised):
    """A network on the digits, 64 pixels to 10 classes, trained by mini-batches.

    Parameters
    ----------
    hidden : the hidden layers, first to last; an empty list is softmax regression.
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias, which batch norm makes idle.
    initialization : "uniform" (±1/√fan_in), "glorot", "he" or "orthogonal".
    batch_size : images a step. The last batch of an epoch is smaller if it must be.
    evaluate_with : whether batch norm evaluates with "running" averages or, as the article does, with
        the statistics of the "batch": the whole set.
    binary_loss : whether to record the article's loss, too: per-class binary cross-entropy, summed over
        the training images and classes, in the column train_binary_loss_sum.
    split : "default" (1,200 train, 300 validation, 297 test) or "article" (1,500 and 297, no test).
    dtype : "float32" or "float64".
    """

    __pydantic_config__ = REFUSE_UNKNOWN_KEYS

    hidden: Annotated[tuple[HiddenLayer, ...], Len(0, 64)] = (
        HiddenLayer(units=32, activation="sigmoid"),
        HiddenLayer(units=16, activation="relu"),
    )
    batch_norm: bool = True
    bias: bool = True
    initialization: Literal[*INITIALIZATIONS] = "uniform"  # type: ignore[valid-type]
    batch_size: Annotated[int, Ge(1)] = 64
    evaluate_with: Literal["running", "batch"] = "running"
    binary_loss: bool = False
    split: Literal["default", "article"] = "default"
    dtype: Literal["float32", "float64"] = "float32"

    scaling: ClassVar[Scaling] = "none"
    target_scaling: ClassVar[Scaling] = "none"
    splitting: ClassVar[Split | None] = None
    l2: ClassVar[float] = 0.0
    samples_are: ClassVar[str] = "image"

    def check(self) -> dict[str, str]:
        """Return what is wrong between keys: key → message."""
        return self.check_batches()

    @property
    def train_size(self) -> int:
        """The number of training images, which need not be read for it."""
        return TRAIN_IMAGES[self.split]

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.batch_size

    @cached_property
    def dataset(self) -> Dataset:
        """The images with their split."""
        return load_digits(self.split)

    @cached_property
    def objective(self) -> Loss:
        """The loss."""
        return CrossEntropy()

    @cached_property
    def network(self) -> Network:
        """The network."""
        return perceptron(
            PIXELS,
            [(layer.units, layer.activation) for layer in self.hidden],
            CLASSES,
            batch_norm=self.batch_norm,
            bias=self.bias,
            initialization=self.initialization,
            evaluate_with=self.evaluate_with,
            dtype=self.dtype,
        )

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """Metrics that `evaluate` returns beside the usual ones."""
        return ("train_binary_loss_sum",) if self.binary_loss else ()

    def evaluate(self, params: Array, model: Model | None) -> dict[str, Array]:
        """Return the metrics on all images of each role: see `Supervised.evaluate`."""
        metrics = super().evaluate(params, model)
        if self.binary_loss:
            images, labels = self.parts["train"]
            blocks = [
                binary_cross_entropy_sum(softmax(logits), labels[part])
                for part, logits in self.network.evaluated(params, images.T, model)
            ]
            metrics["train_binary_loss_sum"] = np.sum(blocks, axis=0)
        return metrics
