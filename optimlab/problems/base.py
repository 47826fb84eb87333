"""What a problem is: the protocol between what is optimized and the loop that optimizes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray


class Problem(Protocol):
    """What the loop and the sweep ask of a problem: a frozen dataclass of settings, and these.

    A problem keeps nothing of the runs that are trained on it. What training changes beside the
    parameters, such as running averages, is in the model, which `init` returns and `loss_and_gradient`
    changes. It belongs to the stack of runs that began with it, one entry per run.
    """

    @property
    def dtype(self) -> str:
        """Of the parameters: "float32" or "float64"."""

    @property
    def size(self) -> int:
        """The number P of parameters."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show all the data once; 1 where there is no data."""

    @property
    def stuck_loss(self) -> float:
        """Final training loss at or above which a run is no better than chance."""

    @property
    def baseline(self) -> str:
        """What a run at the `stuck_loss` is no better than, in words, such as "guessing"."""

    @property
    def loss_unit(self) -> str:
        """The unit of the loss; "" where it has none."""

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """Names of metrics that `evaluate` returns beside `optimlab.training.PROBLEM_METRICS`."""

    @property
    def run_bytes(self) -> int:
        """Memory that one run keeps busy at a step, roughly."""

    def check(self) -> dict[str, str]:
        """Return what is wrong between the settings: key → message."""

    def cautions(self) -> dict[str, str]:
        """Return settings that are allowed but seldom intended: key → message."""

    def init(self, seeds: Sequence[int]) -> tuple[Array, Any]:
        """Return the start parameters (R, P), one row per seed, and their model, or None."""

    def batches(self, seeds: Sequence[int]) -> Iterator[Any]:
        """Yield, without end, what `loss_and_gradient` takes as its batch."""

    def loss_and_gradient(self, params: Array, batch: Any, model: Any) -> tuple[Array, Array]:
        """Return the loss (R,) and its gradient (R, P); change the model in place."""

    def evaluate(self, params: Array, model: Any) -> dict[str, Array]:
        """Return the metrics that the problem has, each (R,); a `train_loss` is among them.

        The model is not changed. It is None where the loss is needed as a function of the parameters, as
        on a surface; a problem whose loss is not such a function raises ValueError.
        """
