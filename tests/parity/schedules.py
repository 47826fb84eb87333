"""Schedules as PyTorch and optax have them, and trainings by PyTorch under them.

Run ``python tests/parity/schedules.py`` with both installed: it writes schedules.json, the stored
numbers for tests that run without them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from networks import batches, pytorch_network
from trajectories import STEPS

from optimlab.problems import Digits

STORED = Path(__file__).with_name("schedules.json")
N = 40  # steps of a schedule that is compared factor by factor
RATE, DECAY, WARMUP = 0.01, 0.1, 0.1  # of the trainings

# Name → a schedule's settings; W = 4 or 8 of the 40 steps warm up.
FACTORS: dict[str, dict[str, Any]] = {
    "constant": {"name": "constant", "warmup": 0.1},
    "linear": {"name": "linear", "warmup": 0.1, "final": 0.2},
    "linear, growing": {"name": "linear", "final": 1.5},
    "cosine": {"name": "cosine", "final": 0.1},
    "cosine, warm": {"name": "cosine", "warmup": 0.2, "final": 0.0},
    "step": {"name": "step", "warmup": 0.1, "at": [0.5, 0.75], "final": 0.01},
    "warmup_stable_decay": {"name": "warmup_stable_decay", "warmup": 0.2, "decay": 0.3, "final": 0.1},
    "inverse_sqrt": {"name": "inverse_sqrt", "warmup": 0.1, "final": math.sqrt(0.1)},
}


def pytorch_factors(settings: dict[str, Any]) -> list[float] | None:
    """Return the factor of each step by the schedulers of PyTorch; None where it has none such."""
    import torch
    from torch.optim import lr_scheduler as schedulers

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warm, final = round(settings.get("warmup", 0) * N), settings.get("final", 0.0)

    def warmup() -> Any:
        return schedulers.LinearLR(optimizer, 1 / (warm + 1), total_iters=warm)

    def after(*parts: Any, at: tuple[int, ...] = ()) -> Any:
        if not warm:
            return parts[0]
        return schedulers.SequentialLR(optimizer, [warmup(), *parts], [warm, *at])

    match settings["name"]:
        case "constant":
            scheduler = warmup()
        case "linear" if final <= 1:
            scheduler = after(schedulers.LinearLR(optimizer, 1.0, final, total_iters=N - warm))
        case "cosine":
            scheduler = after(schedulers.CosineAnnealingLR(optimizer, N - warm, eta_min=final))
        case "step":
            moments = [round(moment * N) for moment in settings["at"]]
            drops = schedulers.MultiStepLR(optimizer, moments, gamma=final ** (1 / len(moments)))
            scheduler = schedulers.ChainedScheduler([warmup(), drops], optimizer=optimizer)
        case "warmup_stable_decay":
            decay = round(settings["decay"] * N)
            stable = schedulers.ConstantLR(optimizer, factor=1.0)
            falls = schedulers.LinearLR(optimizer, 1.0, final, total_iters=decay)
            scheduler = after(stable, falls, at=(N - decay,))
        case _:
            return None
    found = []
    for _ in range(N):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def optax_factors(settings: dict[str, Any]) -> list[float] | None:
    """Return the factor of each step by the schedules of optax; None where it has none such."""
    import os

    os.environ.setdefault("JAX_ENABLE_X64", "1")
    import optax

    warm, final = round(settings.get("warmup", 0) * N), settings.get("final", 0.0)
    warmup = optax.linear_schedule(1 / (warm + 1), 1.0, warm)
    match settings["name"]:
        case "constant":
            schedule = warmup
        case "linear":
            schedule = optax.join_schedules(
                [warmup, optax.linear_schedule(1.0, final, N - warm)], [warm]
            )
        case "cosine" if warm:
            schedule = optax.warmup_cosine_decay_schedule(1 / (warm + 1), 1.0, warm, N, final)
        case "cosine":
            schedule = optax.cosine_decay_schedule(1.0, N, alpha=final)
        case "step":
            moments = [round(moment * N) - warm for moment in settings["at"]]
            gamma = final ** (1 / len(moments))
            drops = optax.piecewise_constant_schedule(1.0, dict.fromkeys(moments, gamma))
            schedule = optax.join_schedules([warmup, drops], [warm])
        case "warmup_stable_decay":
            decay = round(settings["decay"] * N)
            parts = [warmup, optax.constant_schedule(1.0), optax.linear_schedule(1.0, final, decay)]
            schedule = optax.join_schedules(parts, [warm, N - decay])
        case _:
            return None
    return [float(schedule(count)) for count in range(N)]


def paper_factors(settings: dict[str, Any]) -> list[float] | None:
    """Return √(W / t), where t steps have been taken, as Vaswani et al. have it after their warm-up."""
    if settings["name"] != "inverse_sqrt":
        return None
    warm = round(settings["warmup"] * N)
    return [(step + 1) / (warm + 1) if step < warm else math.sqrt(warm / step) for step in range(N)]


SOURCES: dict[str, Callable[[dict[str, Any]], list[float] | None]] = {
    "PyTorch": pytorch_factors,
    "optax": optax_factors,
    "paper": paper_factors,
}


def warm_cosine(step: int) -> float:
    """Return the factor after so many steps, as a LambdaLR takes it."""
    warm = round(WARMUP * STEPS)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (STEPS - warm)))


def line_of_beta(step: int) -> float:
    """Return β₁ after so many steps: from 0.9 to 0.45 in a straight line."""
    return 0.9 * (1 - 0.5 * step / STEPS)


def trainings() -> dict[str, Callable[[Any, Any], Any]]:
    """Return name → what makes an optimizer of PyTorch, of weights and of all else."""
    from torch import optim

    def adamw(weights: list, others: list) -> Any:
        groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
        return optim.AdamW(groups, lr=RATE)

    def sgd(weights: list, others: list, *, nesterov: bool = False) -> Any:
        return optim.SGD([*weights, *others], lr=0.1, momentum=0.9, nesterov=nesterov)

    return {
        "AdamW": adamw,
        "beta": lambda weights, others: optim.AdamW([*weights, *others], lr=RATE, weight_decay=0.0),
        "SGD": sgd,
        "Nesterov": lambda weights, others: sgd(weights, others, nesterov=True),
    }


def pytorch_losses(name: str) -> Iterator[float]:
    """Yield PyTorch's losses at each step of the digits network, warm-up and cosine by LambdaLR."""
    from torch import from_numpy, nn, optim

    problem = Digits(dtype="float64", bias=False)
    network = pytorch_network(problem)
    weights = [param for param in network.parameters() if param.ndim == 2]
    others = [param for param in network.parameters() if param.ndim == 1]
    optimizer = trainings()[name](weights, others)
    falls = name != "beta"
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, warm_cosine if falls else lambda step: 1.0)
    images, labels = map(from_numpy, problem.parts["train"])
    for step, batch in enumerate(batches(problem)):
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        loss.backward()
        if not falls:
            for group in optimizer.param_groups:
                group["betas"] = (line_of_beta(step), 0.999)
        optimizer.step()
        scheduler.step()
        yield loss.item()


def numbers() -> dict[str, Any]:
    """Return all that is stored."""
    return {
        "factors": {
            name: {
                source: found
                for source, factors in SOURCES.items()
                if (found := factors(settings)) is not None
            }
            for name, settings in FACTORS.items()
        },
        "losses": {name: list(pytorch_losses(name)) for name in trainings()},
    }


def largest(stored: Any, found: Any) -> float:
    """Return the largest difference of two lists."""
    return float(np.max(np.abs(np.array(stored) - np.array(found))))


if __name__ == "__main__":
    STORED.write_text(f"{json.dumps(numbers())}\n", encoding="utf-8")
