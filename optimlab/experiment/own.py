"""What a user's own file adds to an experiment: data, a loss, a layer, or a whole problem.

It travels to the workers by its name, as ``"file.py:Name"``, and is loaded where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from optimlab.data.named import File
from optimlab.errors import Interrupted
from optimlab.experiment.registry import load_object

METHODS = ("init", "batches", "loss_and_gradient", "evaluate")
SEEDS = (0, 1, 1000)
STEPS = 3  # that rows are watched for

# What a problem need not say of itself.
USUAL: dict[str, Any] = {
    "dtype": "float64",
    "steps_per_epoch": 1,
    "stuck_loss": math.inf,
    "baseline": "guessing",
    "loss_unit": "",
    "extra_metrics": (),
}


@dataclass(frozen=True)
class Own:
    """A class or function of a user's own file, called with the settings of its table.

    Attributes
    ----------
    name : ``"file.py:Name"``.
    settings : its keyword arguments.
    """

    name: File
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the class or function."""
        return self.name.partition(":")[2]

    def made(self, *arguments: Any) -> Any:
        """Return what it makes.

        Raises
        ------
        ValueError
            As `optimlab.experiment.registry.load_object` does.
        """
        return load_object(self.name, self.name.folder)(*arguments, **self.settings)

    def build(self, name: str, features: int, dtype: np.dtype) -> Any:
        """Return the layer that it makes after so many features."""
        return self.made(name, features, dtype)


@dataclass(frozen=True)
class OwnProblem(Own):
    """A problem of a user's own; what it does not say of itself is as usual."""

    @cached_property
    def problem(self) -> Any:
        """What the user's file has made."""
        return self.made()

    def __getattr__(self, name: str) -> Any:
        """Return what the problem has, or what is usual."""
        if name.startswith("__"):  # which copies and pickles look for before there are fields
            raise AttributeError(name)
        found = getattr(self.problem, name, USUAL.get(name, USUAL))
        if found is USUAL:
            raise AttributeError(f"{self.name} has no {name}")
        return found

    @cached_property
    def size(self) -> int:
        """The number P of parameters."""
        return int(self.problem.init([0])[0].shape[1])

    @property
    def run_bytes(self) -> int:
        """Memory that one run keeps busy at a step, roughly."""
        return int(getattr(self.problem, "run_bytes", 50 * 8 * self.size))

    def cautions(self) -> dict[str, str]:
        """Return what the settings allow and is seldom wanted: key → message."""
        return self.problem.cautions() if hasattr(self.problem, "cautions") else {}

    def check(self) -> dict[str, str]:
        """Return what is wrong: key → message; "name" for the problem itself."""
        try:
            problem = self.problem
            missing = [name for name in METHODS if not callable(getattr(problem, name, None))]
            if missing:
                return {"name": f"{self.name} lacks the method {missing[0]}"}
            found = problem.check() if hasattr(problem, "check") else {}
            return found or ({"name": wrong} if (wrong := wrong_rows(problem)) else {})
        except Interrupted:
            raise
        except ValueError as error:
            return {"name": str(error)}
        except Exception as error:
            return {"name": f"{self.name}: {type(error).__name__}: {error}"}


def wrong_rows(problem: Any) -> str:
    """Return what is wrong with how a problem treats a stack of runs; "" if nothing is."""
    with np.errstate(all="ignore"):
        together = _walk(problem, SEEDS)
        for row, seed in enumerate(SEEDS):
            for one, several in zip(_walk(problem, (seed,)), together, strict=True):
                if several.shape[:1] != (len(SEEDS),):
                    return f"it must give a row per seed, and gives {several.shape} for {len(SEEDS)}"
                if not np.array_equal(one[0], several[row], equal_nan=True):
                    return "it mixes the runs of a stack: alone, a run has other numbers"
    return ""


def _walk(problem: Any, seeds: Sequence[int]) -> list[np.ndarray]:
    """Return all numbers, one row per run, of a few steps of gradient descent."""
    seen: list[np.ndarray] = []
    params, model = problem.init(seeds)
    params = params.copy()
    for _, batch in zip(range(STEPS), problem.batches(seeds), strict=False):
        metrics = problem.evaluate(params, model)
        if "train_loss" not in metrics:
            raise ValueError("evaluate must return a train_loss")
        loss, gradient = problem.loss_and_gradient(params, batch, model)
        seen += [params.copy(), np.array(loss), np.array(gradient), *map(np.array, metrics.values())]
        params -= 0.01 * gradient
    return seen
