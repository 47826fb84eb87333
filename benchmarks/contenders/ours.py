"""optimlab: its own loop, `optimlab.training.train`, on the case's starting points and batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.case import Case, losses_of
from optimlab.nn.network import Model
from optimlab.optimizers import RULES
from optimlab.problems import Digits
from optimlab.training import train

Array = np.ndarray


class Given(Digits):
    """The digits with starting points and batches at hand, whose evaluation is left out."""

    def init(self, seeds: Sequence[int]) -> tuple[Array, Model]:
        _, model = super().init(seeds)
        return self.case.start.copy(), model

    def batches(self, seeds: Sequence[int]) -> Iterator[Array]:
        self.__dict__["begun"] = time.perf_counter()
        for samples in self.case.samples:
            yield samples[0] if self.batch_size == 1200 else samples
        yield samples  # which the loop looks at, and leaves

    def loss_and_gradient(self, params: Array, batch: Array, model: Model) -> tuple[Array, Array]:
        loss, gradient = super().loss_and_gradient(params, batch, model)
        self.__dict__["last_losses"] = loss
        return loss, gradient

    def evaluate(self, params: Array, model: Model | None) -> dict[str, Array]:
        return {"train_loss": np.zeros(len(params))}


class Stacked:
    """All runs of the case as one stack."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.problem = Given(bias=False, batch_size=case.batch)
        self.problem.__dict__["case"] = case
        rate = np.full((case.runs, 1), case.hyperparameters["learning_rate"], np.float32)
        self.optimizer = RULES[case.rule](**(case.hyperparameters | {"learning_rate": rate}))

    def train(self) -> float:
        self.final = train(self.problem, self.optimizer, self.case.seeds, [self.case.steps])
        return time.perf_counter() - self.problem.begun

    def evaluate(self) -> None:
        with np.errstate(all="ignore"):
            Digits.evaluate(self.problem, self.final.params, self.final.model)

    def losses(self) -> Array:
        return self.problem.last_losses

    def expected(self) -> Array:
        return losses_of(self.case.problem, self.case)[-1]
