"""The digits problem: a small network learns scikit-learn's 1,797 handwritten digits of 8×8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Len

from optimlab.data.dataset import Dataset
from optimlab.data.digits import TRAIN_IMAGES, load_digits
from optimlab.nn.layers import INITIALIZATIONS
from optimlab.nn.losses import CrossEntropy, Loss
from optimlab.nn.network import Network
from optimlab.problems.settings import HiddenLayer, Learning, NetworkSettings
from optimlab.problems.supervised import Supervised

PIXELS, CLASSES = 64, 10


@dataclass(frozen=True, kw_only=True)
class Digits(NetworkSettings, Supervised):
    """A network on the digits, 64 pixels to 10 classes, trained by mini-batches.

    There are 1,200 images to train, 300 to validate and 297 to test.

    Parameters
    ----------
    hidden, batch_norm, initialization and others : see `NetworkSettings`; the defaults differ.
    batch_size : images per step. The last batch of an epoch may be smaller.
    """

    hidden: Annotated[tuple[HiddenLayer, ...], Len(0, 64)] = (
        HiddenLayer(units=32, activation="sigmoid"),
        HiddenLayer(units=16, activation="relu"),
    )
    batch_norm: bool = True
    initialization: Literal[*INITIALIZATIONS] = "uniform"  # type: ignore[valid-type]
    batch_size: Annotated[int, Ge(1)] = 64

    learning: ClassVar[Learning] = Learning(scaling="none", target_scaling="none")
    samples_are: ClassVar[str] = "image"

    @property
    def train_size(self) -> int:
        """The number of training images, known without reading them."""
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

    def _new_network(self) -> Network:
        return self.build(PIXELS, CLASSES)
