"""The digits problem: a small network learns scikit-learn's 1,797 handwritten digits of 8×8 pixels.

The images stand in the order of their writers. The last 297 are the test set: writers whom training
never saw, hence harder than a random split. The first 1,500 are split once, the same for every seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Le, Len

from optimlab.nn.losses import binary_cross_entropy_sum, softmax
from optimlab.nn.network import Model, Network
from optimlab.problems.seeds import generator

Array = np.ndarray

REFUSE_UNKNOWN_KEYS = {"extra": "forbid"}  # to whoever checks a TOML file against these classes

PIXELS, CLASSES = 64, 10
TEST_IMAGES = 297
TRAIN_IMAGES = {"default": 1200, "article": 1500}

# A run whose loss stays above this share of a guesser's has learnt nothing.
STUCK_SHARE = 0.99

FEW_IMAGES = 4  # in a batch, for batch norm


class Data(NamedTuple):
    """Images (N, 64) with pixels in [0, 1], and their labels (N,)."""

    images: Array
    labels: Array


@cache
def load_splits(split: str, dtype: str) -> dict[str, Data]:
    """Return the images by role: train, validation and, but for the article's split, test."""
    from sklearn.datasets import load_digits  # slow to import, and not needed to check a TOML file
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = (bunch.data / 16).astype(dtype)
    labels = bunch.target.astype(np.intp)
    known = np.arange(len(labels) - TEST_IMAGES)
    unknown = np.arange(len(labels) - TEST_IMAGES, len(labels))
    if split == "article":
        places = {"train": known, "validation": unknown}
    else:
        train, validation = train_test_split(
            known, train_size=TRAIN_IMAGES[split], stratify=labels[known], random_state=0
        )
        places = {"train": np.sort(train), "validation": np.sort(validation), "test": unknown}
    return {role: Data(images[at], labels[at]) for role, at in places.items()}


@dataclass(frozen=True, kw_only=True)
class HiddenLayer:
    """Units and activation of one hidden layer."""

    __pydantic_config__ = REFUSE_UNKNOWN_KEYS

    units: Annotated[int, Ge(1), Le(4096)]
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu"]


@dataclass(frozen=True, kw_only=True)
class Digits:
    """A network on the digits, 64 pixels to 10 classes, trained by mini-batches.

    Parameters
    ----------
    hidden : the hidden layers, first to last; an empty list is softmax regression.
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias, which batch norm makes idle.
    initialization : "uniform" (±1/√fan_in), "glorot" or "he".
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
    initialization: Literal["uniform", "glorot", "he"] = "uniform"
    batch_size: Annotated[int, Ge(1)] = 64
    evaluate_with: Literal["running", "batch"] = "running"
    binary_loss: bool = False
    split: Literal["default", "article"] = "default"
    dtype: Literal["float32", "float64"] = "float32"

    def check(self) -> dict[str, str]:
        """Return what is wrong between keys: key → message."""
        limit = TRAIN_IMAGES[self.split]
        if self.batch_size > limit:
            text = f"must be at most {limit:,}, the size of the training set, got {self.batch_size:,}"
            return {"batch_size": text}
        if self.batch_norm and self._smallest_batch == 1:
            text = "batch norm needs 2 or more, and makes zeros of a single one"
            return {"batch_size": f"{self._about_smallest_batch}: {text}"}
        return {}

    def cautions(self) -> dict[str, str]:
        """Return what is allowed, and seldom wanted: key → message."""
        if self.batch_norm and self._smallest_batch <= FEW_IMAGES:
            text = "batch norm takes mean and variance from these alone, which may cost much accuracy"
            return {"batch_size": f"{self._about_smallest_batch}: {text}"}
        return {}

    @property
    def _smallest_batch(self) -> int:
        """The number of images in the last batch of an epoch."""
        return TRAIN_IMAGES[self.split] % self.batch_size or self.batch_size

    @property
    def _about_smallest_batch(self) -> str:
        images = "1 image" if self._smallest_batch == 1 else f"{self._smallest_batch} images"
        if self._smallest_batch == self.batch_size:
            return f"a batch has {images}"
        return f"the last batch of an epoch, {TRAIN_IMAGES[self.split]:,} images, has {images}"

    @cached_property
    def network(self) -> Network:
        """The network."""
        return Network(
            PIXELS,
            [(layer.units, layer.activation) for layer in self.hidden],
            CLASSES,
            batch_norm=self.batch_norm,
            bias=self.bias,
            initialization=self.initialization,
            evaluate_with=self.evaluate_with,
            dtype=self.dtype,
        )

    @cached_property
    def data(self) -> dict[str, Data]:
        """Images and labels by role."""
        return load_splits(self.split, self.dtype)

    @cached_property
    def _columns(self) -> Array:
        """The training images once more, pixel by pixel (64, N): for a batch that all runs share."""
        return np.ascontiguousarray(self.data["train"].images.T)

    @property
    def size(self) -> int:
        """The number of the network's parameters."""
        return self.network.size

    @property
    def steps_per_epoch(self) -> int:
        """Batches that show every training image once."""
        return -(-TRAIN_IMAGES[self.split] // self.batch_size)

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """Metrics that `evaluate` returns beside the usual ones."""
        return ("train_binary_loss_sum",) if self.binary_loss else ()

    @property
    def run_bytes(self) -> int:
        """Memory that one run keeps busy at a step, roughly: its row five times, its activations."""
        features = PIXELS + 3 * (CLASSES + sum(layer.units for layer in self.hidden))
        return np.dtype(self.dtype).itemsize * (5 * self.network.size + features * self.batch_size)

    @cached_property
    def stuck_loss(self) -> float:
        """A final training loss from here on is no better than guessing.

        The best guess that looks at no pixel gives each class its share of the labels; its loss is
        the entropy of the shares, about ln 10.
        """
        labels = self.data["train"].labels
        shares = np.bincount(labels, minlength=CLASSES) / len(labels)
        return float(STUCK_SHARE * -(shares @ np.log(shares)))

    def init(self, seeds: Sequence[int]) -> tuple[Array, Model]:
        """Return the start parameters (R, P), one row per seed, and their model."""
        params = self.network.initial_params([generator(seed, "initial_params") for seed in seeds])
        return params, self.network.model([generator(seed, "model") for seed in seeds])

    def batches(self, seeds: Sequence[int]) -> Iterator[Array]:
        """Yield batches without end: places in the training set, (R, B), row r for seed r.

        Each epoch is a new permutation. A batch of the whole training set needs no order, so it is one
        row (B,) for all runs.
        """
        images = TRAIN_IMAGES[self.split]
        if self.batch_size == images:
            while True:
                yield np.arange(images)
        generators = [generator(seed, "batches") for seed in seeds]
        while True:
            epoch = np.stack([rng.permutation(images) for rng in generators])
            for start in range(0, images, self.batch_size):
                yield epoch[:, start : start + self.batch_size]

    def loss_and_gradient(self, params: Array, batch: Array, model: Model) -> tuple[Array, Array]:
        """Return the loss (R,) on the batch and its gradient (R, P), overwritten by the next call.

        The model is changed in place.

        Raises
        ------
        ValueError
            When `params`, `batch` and `model` are not of as many runs.
        """
        if batch.ndim == 2 and len(batch) != len(params):
            raise ValueError(f"params has {len(params)} rows, and the batch is of {len(batch)} runs")
        train = self.data["train"]
        labels = np.take(train.labels, batch, mode="clip")  # "clip" skips a copy
        if batch.ndim == 1:
            x = np.take(self._columns, batch, axis=1, mode="clip")
            return self.network.loss_and_gradient(params, x, labels, model)
        samples_first = self.network.samples_first(batch.shape[1])
        places = batch.T if samples_first else batch
        images = self.network.workspace.array("images", (*places.shape, PIXELS))
        np.take(train.images, places, axis=0, out=images, mode="clip")
        x = images.transpose(1, 2, 0) if samples_first else images.mT
        return self.network.loss_and_gradient(params, x, labels, model)

    def evaluate(self, params: Array, model: Model | None) -> dict[str, Array]:
        """Return loss and accuracy on all images of each role: name → (R,).

        Parameters
        ----------
        params : (R, P).
        model : theirs, as training has left it; None for what the parameters alone decide.

        Raises
        ------
        ValueError
            As `Network.logits` does.
        """
        metrics = {}
        for role, (images, labels) in self.data.items():
            loss, accuracy = self.network.loss_and_accuracy(params, images.T, labels, model)
            metrics[f"{role}_loss"], metrics[f"{role}_accuracy"] = loss, accuracy
        if self.binary_loss:
            images, labels = self.data["train"]
            blocks = [
                binary_cross_entropy_sum(softmax(logits), labels[part])
                for part, logits in self.network.logits(params, images.T, model)
            ]
            metrics["train_binary_loss_sum"] = np.sum(blocks, axis=0)
        return metrics
