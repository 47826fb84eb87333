"""A plug-in problem: find two thin matrices whose product is a given matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Array = np.ndarray


class Factorization:
    """The mean squared error of U Vᵀ against a low-rank matrix; every third entry is for validation.

    Small starting points are near the saddle at U = V = 0; all minima are equally low.
    """

    def __init__(self, rows: int = 12, rank: int = 3, spread: float = 0.1) -> None:
        rng = np.random.default_rng(0)
        self.shape, self.spread = (2, rows, rank), spread
        self.matrix = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, rows)) / np.sqrt(rank)
        self.known = np.add.outer(np.arange(rows), np.arange(rows)) % 3 != 0

    def init(self, seeds: Sequence[int]) -> tuple[Array, None]:
        """Return the starting points, one row per seed; only params change, so the model is None."""
        draws = [np.random.default_rng(seed).normal(size=self.shape).ravel() for seed in seeds]
        return self.spread * np.array(draws), None

    def batches(self, seeds: Sequence[int]) -> Iterator[None]:
        """Yield empty batches: every step sees all known entries."""
        while True:
            yield None

    def loss_and_gradient(self, params: Array, batch: None, model: None) -> tuple[Array, Array]:
        """Return the loss (R,) and its gradient (R, P), each run's from its own row only."""
        u, v = params.reshape(-1, *self.shape).swapaxes(0, 1)
        error = (u @ v.mT - self.matrix) * self.known / self.known.sum()
        gradient = 2 * np.stack([error @ v, error.mT @ u], axis=1)
        return self.evaluate(params, model)["train_loss"], gradient.reshape(params.shape)

    def evaluate(self, params: Array, model: None) -> dict[str, Array]:
        """Return the metrics, each (R,)."""
        u, v = params.reshape(-1, *self.shape).swapaxes(0, 1)
        square = (u @ v.mT - self.matrix) ** 2
        masks = {"train": self.known, "validation": ~self.known}
        return {
            f"{role}_loss": (square * mask).reshape(len(params), -1).sum(axis=1) / mask.sum()
            for role, mask in masks.items()
        }
