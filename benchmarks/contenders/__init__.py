"""Who is timed: optimlab and what people would pick instead, each as they would use it.

A contender is a class that is made for a `Case`. It trains the case's runs from their starting points on
their batches, as often as it is asked to, and evaluates them on all images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import numpy as np

from benchmarks.case import HYPERPARAMETERS, Case


class Contender(Protocol):
    """What the timing asks of a contender."""

    def train(self) -> float:
        """Train all runs of the case from their start; return the seconds that the steps took."""

    def evaluate(self) -> None:
        """Take loss and accuracy on all images, of each run."""

    def losses(self) -> np.ndarray:
        """Return losses that tell what was computed in the last training."""

    def expected(self) -> np.ndarray:
        """Return what optimlab has for them."""


@dataclass(frozen=True)
class Entry:
    """A contender in the tables.

    Attributes
    ----------
    name : as the tables have it.
    reference : "module:Class" in this package.
    package : what must be installed.
    stacks : how many runs it trains together: sizes that are tried; the best is shown.
    rules : the rules that it has.
    """

    name: str
    reference: str
    package: str
    stacks: dict[int, tuple[int, ...]] = field(default_factory=dict)  # by batch size
    rules: tuple[str, ...] = tuple(HYPERPARAMETERS)

    def make(self, case: Case) -> Contender:
        """Return the contender for a case."""
        module, name = self.reference.split(":")
        return getattr(import_module(f"benchmarks.contenders.{module}"), name)(case)

    def sizes(self, batch: int) -> tuple[int, ...]:
        """Return the stack sizes to try."""
        return self.stacks.get(batch, (1,))


ONE_BY_ONE = {32: (2,), 64: (2,), 1200: (1,)}
OURS, ALONE = "optimlab, stacked", "optimlab, one run at a time"
EAGER, FUSED, VMAP = "PyTorch eager", "PyTorch eager, fused optimizer", "PyTorch torch.func.vmap"
JAX, SCIKIT_LEARN, ARTICLE = "JAX jit + vmap + scan", "scikit-learn MLPClassifier", "the article's code"

ENTRIES = (
    Entry(OURS, "ours:Stacked", "optimlab", {32: (30, 60), 64: (30, 50), 1200: (2, 4, 8)}),
    Entry(ALONE, "ours:Stacked", "optimlab"),
    Entry(JAX, "jax:JitVmapScan", "optax", {32: (16, 32, 64), 64: (16, 32, 64), 1200: (1, 4, 8)}),
    Entry(VMAP, "pytorch:Vmap", "torch", {32: (16, 64), 64: (16, 64), 1200: (1, 4)}),
    Entry(EAGER, "pytorch:Eager", "torch", ONE_BY_ONE),
    Entry(FUSED, "pytorch:Fused", "torch", ONE_BY_ONE, ("SGD", "Nesterov", "AdaGrad", "Adam")),
    Entry(SCIKIT_LEARN, "scikit_learn:Classifier", "sklearn", ONE_BY_ONE, ("SGD", "Nesterov", "Adam")),
    Entry(ARTICLE, "article:Restated", "numpy", ONE_BY_ONE),
)
