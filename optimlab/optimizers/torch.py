"""PyTorch's optimizers by name: ``rule = "torch:AdamW"``, with the extra ``optimlab[torch]``.

Each run is one flat tensor in a separate parameter group, so that learning rates and other numbers may
differ by run; PyTorch works in the memory of the rows themselves. PyTorch's ``lr`` is learning_rate
here, and ``betas`` are beta1 and beta2.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch

from optimlab.optimizers.base import Array, State

REFUSED = {
    "LBFGS": "it asks for the loss at several points in a step",
    "SparseAdam": "it takes only sparse gradients",
    "Muon": "it takes only matrices, and a run is a row; the built-in `Muon` knows the layers",
}
FIRST_LEARNING_RATE = 0.001  # for optimizers without a default


@dataclass(frozen=True)
class TorchRule:
    """Makes an optimizer from a class of torch.optim, given hyper-parameters by optimlab's names."""

    name: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name → default, for hyper-parameters that are numbers, texts or booleans."""
        defaults: dict[str, Any] = {}
        for parameter in inspect.signature(getattr(torch.optim, self.name)).parameters.values():
            if parameter.name == "lr":
                is_number = isinstance(parameter.default, int | float)
                defaults["learning_rate"] = parameter.default if is_number else FIRST_LEARNING_RATE
            elif parameter.name == "betas":
                defaults |= {"beta1": parameter.default[0], "beta2": parameter.default[1]}
            elif isinstance(parameter.default, bool | int | float | str):
                defaults[parameter.name] = parameter.default
        return defaults

    def __call__(self, **given: Any) -> TorchOptimizer:
        """Return the optimizer; PyTorch checks the values."""
        optimizer = TorchOptimizer(self.name, {**self.hyperparameters, **given})
        optimizer.init(np.zeros((1, 1)))
        return optimizer


@dataclass(frozen=True)
class TorchOptimizer:
    """An optimizer of torch.optim, over the rows of a stack."""

    name: str
    values: dict[str, Any]

    @property
    def learning_rate(self) -> Any:
        """As given: a number, or a column (R, 1)."""
        return self.values["learning_rate"]

    def init(self, params: Array) -> State:
        rows = [torch.nn.Parameter(torch.tensor(row)) for row in np.atleast_2d(params)]
        groups = [{"params": [row], **self._of_run(run)} for run, row in enumerate(rows)]
        make = getattr(torch.optim, self.name)
        return {
            "rows": rows,
            "optimizer": make(groups, **self._of_run(0)),
        }  # PyTorch checks these values

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        rows = zip(state["rows"], np.atleast_2d(params), np.atleast_2d(gradient), strict=True)
        for run, (row, values, slope) in enumerate(rows):
            row.data = torch.from_numpy(values)
            row.grad = torch.from_numpy(np.ascontiguousarray(slope))
            state["optimizer"].param_groups[run].update(self._of_run(run))
        state["optimizer"].step()

    def _of_run(self, run: int) -> dict[str, Any]:
        """Return the hyper-parameters of one run by PyTorch's names."""
        values = {
            name: float(np.ravel(value)[run if np.size(value) > 1 else 0])
            if isinstance(value, np.ndarray)
            else value
            for name, value in self.values.items()
        }
        if "beta1" in values:
            values["betas"] = (values.pop("beta1"), values.pop("beta2"))
        values["lr"] = values.pop("learning_rate")
        return values


def find(name: str) -> TorchRule:
    """Return the rule of torch.optim with a name.

    Raises
    ------
    ValueError
        If there is none (the message has the nearest names), or it cannot be used on rows.
    """
    known = [
        each
        for each, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    ]
    if name not in known or name == "Optimizer":
        nearest = get_close_matches(name, known, n=3, cutoff=0.3)
        raise ValueError(f"torch.optim has no {name}; the nearest are {', '.join(nearest) or 'none'}")
    if name in REFUSED:
        raise ValueError(f"torch:{name} cannot be used: {REFUSED[name]}")
    return TorchRule(name)
