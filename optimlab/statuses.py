"""The statuses of a run, declared once: their meaning, order, and fill in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Status:
    """How a run can end.

    Attributes
    ----------
    name : its name in tables, on the page and in figures.
    meaning : a description, which the page shows where a run has ended so.
    has_loss : whether the run has a finite final loss.
    fill : matplotlib options for its bars.
    """

    name: str
    meaning: str
    has_loss: bool = False
    fill: Mapping[str, Any] = field(default_factory=dict)


OK = Status("ok", "the run took all its steps and learned something", has_loss=True)
STUCK = Status(
    "stuck",
    "the run ended no better than guessing or predicting the mean",
    has_loss=True,
    fill={"alpha": 0.35},
)
DIVERGED = Status("diverged", "the loss or a parameter became infinite or NaN", fill={"alpha": 1.0})
FAILED = Status("failed", "the code raised an exception", fill={"alpha": 1.0, "hatch": "//////"})

ALL = (OK, STUCK, DIVERGED, FAILED)  # the best first
STATUSES = tuple(status.name for status in ALL)
BAD = ALL[1:]
WITH_LOSS = [status.name for status in ALL if status.has_loss]
