"""Facts about a problem with user code.

They are collected in the worker that checks the problem, since the command's own process never runs user
code, which may crash or never end, perhaps only the second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from optimlab.nn.parameters import Layout


@dataclass(frozen=True)
class Facts:
    """The attributes of a problem; see `optimlab.problems.base.Problem`.

    Attributes
    ----------
    layout : the layout of the parameters, if the problem has one.
    network : a table of the network's layers, if it has a network.
    warnings : settings that are allowed but rarely intended: key → message.
    """

    dtype: str
    size: int
    steps_per_epoch: int
    stuck_loss: float
    loss_unit: str
    extra_metrics: tuple[str, ...]
    run_bytes: int
    layout: Layout | None = None
    network: str | None = None
    warnings: dict[str, str] = field(default_factory=dict)

    def cautions(self) -> dict[str, str]:
        """Return the warnings, as a problem does."""
        return self.warnings

    def summary(self) -> str | None:
        """Return the table of the layers, as a problem does."""
        return self.network


def facts_of(problem: Any) -> Facts:
    """Return a problem's attributes, as values that can be read without the user's classes."""
    layout, summary = getattr(problem, "layout", None), getattr(problem, "summary", None)
    return Facts(
        dtype=str(problem.dtype),
        size=int(problem.size),
        steps_per_epoch=int(problem.steps_per_epoch),
        stuck_loss=float(problem.stuck_loss),
        loss_unit=str(problem.loss_unit),
        extra_metrics=tuple(map(str, problem.extra_metrics)),
        run_bytes=int(problem.run_bytes),
        layout=layout if type(layout) is Layout else None,
        network=str(summary()) if summary else None,
        warnings={str(key): str(text) for key, text in problem.cautions().items()},
    )
