"""What is timed: the default network, a rule, a batch size and some runs; the same for everybody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from optimlab.optimizers import RULES
from optimlab.problems import Digits

Array = np.ndarray

# At ε = 1e-16 RMSprop is the same rule with ε inside the root and, as PyTorch has it, √ε outside.
HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "SGD": {"learning_rate": 0.03, "momentum": 0.9},
    "Nesterov": {"learning_rate": 0.03, "momentum": 0.9},
    "AdaGrad": {"learning_rate": 0.03, "eps": 1e-8},
    "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "eps": 1e-16},
    "Adam": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}
STEPS, STEPS_OF_WHOLE_SET = 72, 12  # long enough that a turn is not its first steps' cold memory


@dataclass(frozen=True)
class Case:
    """Runs with seeds 0, 1, … on the digits, in float32: their starting points and their first batches.

    Attributes
    ----------
    rule : a key of `HYPERPARAMETERS`.
    batch : images a step; 1,200 are the whole training set.
    runs : R, how many runs are trained.
    """

    rule: str
    batch: int
    runs: int

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Of the rule, by optimlab's names."""
        return HYPERPARAMETERS[self.rule]

    @cached_property
    def problem(self) -> Digits:
        """The default experiment's network, with this batch size."""
        return Digits(bias=False, batch_size=self.batch)

    @property
    def steps(self) -> int:
        """How many steps are timed."""
        return STEPS_OF_WHOLE_SET if self.batch == 1200 else STEPS

    @property
    def seeds(self) -> range:
        """One for each run."""
        return range(self.runs)

    @cached_property
    def start(self) -> Array:
        """The starting points (R, P)."""
        return self.problem.init(self.seeds)[0]

    @cached_property
    def samples(self) -> Array:
        """The training images of each step, as indices (steps, R, B).

        They are the first epoch's batches, over and over, without a last one that is smaller.
        """
        whole = 1200 // self.batch
        batches = islice(self.problem.batches(self.seeds), whole)
        epoch = [np.broadcast_to(batch, (self.runs, self.batch)) for batch in batches]
        return np.stack([epoch[step % whole] for step in range(self.steps)])

    def flops(self) -> int:
        """Return the operations in the matrix products of one step of one run.

        Each product of the forward pass has two in the backward pass, but for the first layer, whose
        inputs need no gradient.
        """
        shapes = self.problem.network.layout.shapes
        sizes = [math.prod(shape) for name, shape in shapes.items() if name.endswith("weight")]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])


def losses_of(problem: Digits, case: Case) -> Array:
    """Return optimlab's losses (steps, R) on the batches of a case, for a problem with its seeds."""
    params, model = problem.init(case.seeds)
    optimizer = RULES[case.rule](**case.hyperparameters)
    state = optimizer.init(params)
    losses = []
    for samples in case.samples:
        point = optimizer.gradient_point(params, state)
        loss, gradient = problem.loss_and_gradient(point, samples, model)
        optimizer.step(params, gradient, state)
        losses.append(loss)
    return np.array(losses)
