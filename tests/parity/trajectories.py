"""The roads: gradients that optimlab and every library are sent along, and optimlab's way along them.

A road is a starting point and 200 gradients for three runs of 24 parameters: pure noise, a noisy bowl
(where the gradient depends on the point, so that it matters where a rule asks for it), or gradients
recorded from the digits network. The three runs have different hyper-parameters, so they test the
stack's columns as well.

Libraries hold the point at which the next gradient is wanted. That is optimlab's `gradient_point`:
the parameters themselves, but for Nesterov, where theirs = ours − μ v. It is what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optimlab.nn.parameters import Layout
from optimlab.optimizers import RULES, Adam, Optimizer, Task, begin
from optimlab.problems import Digits

Array = np.ndarray

STEPS, RUNS, WIDTH = 200, 3, 24
CHECKPOINTS = (1, 2, 20, 200)
GOLDENS = Path(__file__).with_name("goldens.npz")

# Largest difference allowed: absolute below 1, relative above.
TOLERANCE = 1e-12

# One value a run. Large eps shows its place; small eps is what people use.
SETTINGS: dict[str, dict[str, tuple[float, ...]]] = {
    "SGD": {"learning_rate": (0.1, 0.01, 0.3), "momentum": (0.9, 0.5, 0.0)},
    "Nesterov": {"learning_rate": (0.1, 0.01, 0.3), "momentum": (0.9, 0.99, 0.4)},
    "AdaGrad": {"learning_rate": (0.1, 0.01, 0.3), "eps": (1e-2, 1e-8, 1e-4)},
    "RMSprop": {
        "learning_rate": (0.01, 0.001, 0.03),
        "rho": (0.9, 0.99, 0.5),
        "eps": (1e-2, 1e-8, 1e-4),
    },
    "Adam": {
        "learning_rate": (0.01, 0.001, 0.03),
        "beta1": (0.9, 0.5, 0.8),
        "beta2": (0.999, 0.9, 0.99),
        "eps": (1e-2, 1e-8, 1e-4),
    },
}

# Of the rules since: rates as large as shows a difference, eps as above, and betas that all differ.
RATES = (0.01, 0.001, 0.03)
BETA1, BETA2, EPS, DECAY = (0.9, 0.5, 0.8), (0.999, 0.9, 0.99), (1e-2, 1e-8, 1e-4), (0.1, 3.0, 0.0)
ADAM = {"learning_rate": RATES, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
SETTINGS |= {
    "AdamW": {**ADAM, "weight_decay": DECAY},
    "NAdam": {**ADAM, "momentum_decay": (0.004, 0.1, 0.0)},
    "RAdam": {**ADAM, "eps": (1e-1, 1e-8, 1e-2)},
    "AMSGrad": {**ADAM, "beta2": (0.999, 0.9, 0.5)},
    "Adamax": {**ADAM, "eps": (1e-1, 1e-3, 1e-2)},
    "AdaDelta": {"learning_rate": (1.0, 0.3, 3.0), "rho": (0.9, 0.99, 0.5), "eps": (1e-2, 1e-6, 1e-4)},
    "AdaBelief": {**ADAM, "eps": (1e-3, 1e-16, 1e-5)},
    "Yogi": ADAM,
    "Adan": {**ADAM, "beta2": (0.92, 0.5, 0.8), "beta3": (0.99, 0.9, 0.95), "weight_decay": DECAY},
    "AdEMAMix": {
        **ADAM, "beta3": (0.999, 0.99, 0.95), "alpha": (5.0, 8.0, 2.0), "weight_decay": DECAY
    },
    "ADOPT": {
        "learning_rate": (0.01, 0.001, 0.003),
        "beta1": BETA1,
        "beta2": (0.9, 0.99, 0.8),
        "eps": (1e-2, 1e-3, 1e-4),
    },
    "Lion": {"learning_rate": RATES, "beta1": BETA1, "beta2": BETA2, "weight_decay": DECAY},
    "Signum": {"learning_rate": RATES, "momentum": BETA1},
    "DoG": {
        "learning_rate": (1.0, 0.3, 2.0),
        "initial_distance": (1e-2, 1e-4, 1e-3),
        "eps": (1e-8, 1e-2, 1e-4),
    },
    "Prodigy": {
        **ADAM,
        "learning_rate": (0.5, 0.2, 0.3),
        "beta2": (0.999, 0.99, 0.95),
        "eps": (1e-2, 1e-4, 1e-3),
        "weight_decay": (0.1, 0.5, 0.0),
        "initial_distance": (1e-2, 1e-3, 1e-3),
    },
    "ScheduleFreeSGD": {
        "learning_rate": RATES, "momentum": (0.9, 0.5, 0.98), "weight_decay": DECAY
    },
    "ScheduleFreeAdamW": {**ADAM, "weight_decay": DECAY},
    "LAMB": {**ADAM, "weight_decay": DECAY},
    "LARS": {
        "learning_rate": (1.0, 0.3, 2.0),
        "momentum": BETA1,
        "weight_decay": (0.1, 1.0, 0.0),
        "trust_coefficient": (1e-2, 1e-3, 5e-3),
    },
    "Muon": {
        **ADAM,
        "learning_rate": (0.01, 0.001, 0.003),
        "momentum": (0.95, 0.5, 0.8),
        "weight_decay": DECAY,
    },
    "Shampoo": {
        "learning_rate": RATES,
        "momentum": (0.9, 0.0, 0.5),
        "eps": (1e-1, 1e-3, 1e-2),
        "precondition_period": (1, 5, 20),
    },
    "SOAP": {
        **ADAM,
        "beta2": (0.95, 0.9, 0.99),
        "weight_decay": DECAY,
        "precondition_period": (1, 5, 10),
    },
}  # fmt: skip

# The row as layers, for the rules that know them: Muon's hidden matrix is the second.
LAYOUT = Layout({"first": (2, 2), "bias": (2,), "hidden": (3, 4), "last": (2, 3)})
TASK = Task(LAYOUT, STEPS, STEPS, generators=[])
LAYERED = ("LAMB", "LARS", "Muon", "Shampoo", "SOAP")
WITHOUT_DECAY = {**SETTINGS["LARS"], "weight_decay": (0.0,) * RUNS}  # where optax has the paper's LARS

# PyTorch's RMSprop has eps outside the root and no way around it: compared where eps is nothing.
NO_EPS = {**SETTINGS["RMSprop"], "eps": (1e-100,) * RUNS}


class Case(NamedTuple):
    """A rule, the library that defines the same one, and the runs' hyper-parameters."""

    rule: str
    library: str
    settings: dict[str, tuple[float, ...]]

    def __str__(self) -> str:
        return f"{self.rule}/{self.library}"

    @property
    def task(self) -> Task | None:
        """What the rule knows of its row."""
        return TASK if self.rule in LAYERED else None

    @property
    def roads(self) -> tuple[str, ...]:
        """The roads that it is compared on: for rules that take roots, where all directions count."""
        if self.rule in ("Shampoo", "SOAP"):
            return ("even",)
        # On the network's recorded gradients, Prodigy's rate stays the first.
        return ("noise", "bowl") if self.rule == "Prodigy" else ("noise", "bowl", "network")

    def run(self, row: int) -> dict[str, float]:
        """Return the hyper-parameters of one run."""
        return {name: values[row] for name, values in self.settings.items()}

    def columns(self) -> dict[str, Array]:
        """Return the hyper-parameters of all runs, each a column (R, 1)."""
        return {name: np.array(values)[:, None] for name, values in self.settings.items()}

    def ours(self, hyperparameters: dict[str, Any]) -> Optimizer:
        """Return optimlab's optimizer."""
        scaled = self.rule == "Adam" and self.library in ("Keras", "scikit-learn")
        return (AdamWithScaledEps if scaled else RULES[self.rule])(**hyperparameters)


CASES = [
    *(Case(rule, library, SETTINGS[rule])
      for rule, libraries in {
          "SGD": ("PyTorch", "optax", "Keras", "scikit-learn"),
          "Nesterov": ("PyTorch", "optax", "Keras", "scikit-learn"),
          "AdaGrad": ("PyTorch", "optax", "Keras"),
          "RMSprop": ("optax", "Keras"),
          "Adam": ("PyTorch", "optax", "Keras", "scikit-learn"),
          "AdamW": ("PyTorch", "optax"),
          "NAdam": ("PyTorch",),
          "RAdam": ("PyTorch",),
          "AMSGrad": ("PyTorch",),
          "Adamax": ("PyTorch",),
          "AdaDelta": ("PyTorch", "optax"),
          "AdaBelief": ("optax",),
          "Yogi": ("optax",),
          "Adan": ("paper",),
          "AdEMAMix": ("optax",),
          "ADOPT": ("optax",),
          "Lion": ("optax",),
          "Signum": ("optax",),
          "DoG": ("optax",),
          "Prodigy": ("optax",),
          "ScheduleFreeSGD": ("optax",),
          "ScheduleFreeAdamW": ("optax",),
          "LAMB": ("optax",),
          "LARS": ("paper",),
          "Muon": ("PyTorch",),
          "Shampoo": ("paper",),
          "SOAP": ("paper",),
      }.items()
      for library in libraries),
    Case("RMSprop", "PyTorch", NO_EPS),
    Case("LARS", "optax", WITHOUT_DECAY),
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AdamWithScaledEps:
    """Adam as Keras and scikit-learn have it: their ε is optimlab's ε √(1 − β₂ᵗ).

    It is the short form at the end of section 2 of Adam's paper, whose "ε̂" is another number.
    """

    learning_rate: Any
    beta1: Any
    beta2: Any
    eps: Any

    def init(self, params: Array) -> dict[str, Any]:
        return self._at(1).init(params)

    def gradient_point(self, params: Array, state: dict[str, Any]) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: dict[str, Any]) -> None:
        self._at(state["steps"] + 1).step(params, gradient, state)

    def _at(self, step: int) -> Adam:
        eps = self.eps / (1 - self.beta2**step) ** 0.5
        return Adam(learning_rate=self.learning_rate, beta1=self.beta1, beta2=self.beta2, eps=eps)


class Road(NamedTuple):
    """Where runs start (…, P), and what their gradients are: noise (steps, …, P) + curvature · point."""

    start: Array
    noise: Array
    curvature: Array

    def gradient(self, step: int, point: Array) -> Array:
        """Return the gradient at `point`, for the step that follows `step` others."""
        return self.noise[step] + self.curvature * point

    def run(self, row: int) -> Road:
        """Return the road of one run."""
        return Road(self.start[row], self.noise[:, row], self.curvature)


def uniform(seed: int, *shape: int) -> Array:
    """Return numbers in [−1, 1) from raw bits, which numpy promises never to change for a seed."""
    bits = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return np.ldexp((bits >> np.uint64(11)).astype(np.float64), -52).reshape(shape) - 1


def noise() -> Array:
    """Return gradients of sizes from 2⁻²⁰ to 2³; every fifth is often zero, and the last one always."""
    values = np.ldexp(uniform(1, STEPS, RUNS, WIDTH), np.arange(WIDTH) - 20)
    values[..., ::5][uniform(2, *values[..., ::5].shape) < 0.5] = 0
    values[..., -1] = 0
    return values


def roads(recorded: Array) -> dict[str, Road]:
    """Return the roads, given the recorded gradients (steps, R, P)."""
    start, flat = uniform(3, RUNS, WIDTH), np.zeros(WIDTH)
    curvature = np.ldexp(1.0, np.arange(WIDTH) % 8 - 6)
    return {
        "noise": Road(start, noise(), flat),
        "bowl": Road(start, noise(), curvature),
        "network": Road(start, recorded.astype(np.float64), flat),
        "even": Road(start, uniform(4, STEPS, RUNS, WIDTH), curvature),
    }


def record_network_gradients() -> Array:
    """Return gradients of 24 parameters of the digits network on an SGD path: (steps, R, P).

    They are rounded to float32, to store few bytes.
    """
    problem = Digits(dtype="float64")
    seeds = range(RUNS)
    params, model = problem.init(seeds)
    places = np.linspace(0, params.shape[1] - 1, WIDTH).astype(int)
    optimizer = RULES["SGD"](learning_rate=0.1, momentum=0.9)
    state = optimizer.init(params)
    recorded = np.empty((STEPS, RUNS, WIDTH), np.float32)
    for row, batch in zip(recorded, problem.batches(seeds), strict=False):
        _, gradient = problem.loss_and_gradient(params, batch, model)
        optimizer.step(params, gradient, state)
        row[...] = gradient[:, places]
    return recorded


def follow(optimizer: Optimizer, road: Road, task: Task | None = None) -> Array:
    """Return the gradient point after each step (steps, …, P)."""
    params = road.start.copy()
    state = begin(optimizer, params, task)
    points = np.empty_like(road.noise)
    for step in range(len(points)):
        gradient = road.gradient(step, optimizer.gradient_point(params, state))
        optimizer.step(params, gradient, state)
        points[step] = optimizer.gradient_point(params, state)
    return points


def largest_difference(ours: Array, theirs: Array) -> float:
    """Return the largest |ours − theirs|, relative where |theirs| > 1."""
    return float(np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))))
