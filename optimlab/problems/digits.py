"""The digits problem: a small network learns scikit-learn's 1,797 handwritten digits of 8×8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Len

from optimlab.data.dataset import Dataset, Scaling, Split
from optimlab.data.digits import TRAIN_IMAGES, load_digits
from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import INITIALIZATIONS
from optimlab.nn.losses import CrossEntropy, Loss
from optimlab.nn.network import Network, perceptron
from optimlab.problems.supervised import Supervised

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

    There are 1,200 images to train, 300 to validate and 297 to test.

    Parameters
    ----------
    hidden : the hidden layers, first to last; an empty list is softmax regression.
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias, which batch norm makes idle.
    initialization : "uniform" (±1/√fan_in), "glorot", "he" or "orthogonal".
    batch_size : images a step. The last batch of an epoch is smaller if it must be.
    evaluate_with : whether batch norm evaluates with "running" averages or with the statistics of
        the "batch": the whole set.
    metrics : of the user's own, "file.py:function" each; see `optimlab.problems.supervised.OwnMetric`.
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
    metrics: tuple[Any, ...] = ()
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
        return TRAIN_IMAGES

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.batch_size

    @cached_property
    def dataset(self) -> Dataset:
        """The images with their split."""
        return load_digits()

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
