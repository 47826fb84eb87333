"""The protocol of a problem, as the training loop and the sweep use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray


class Problem(Protocol):
    """What is optimized: a frozen dataclass of settings with these members.

    A problem has no state. Anything that training changes besides the parameters, such as running
    averages, is in the model, which `init` returns and `loss_and_gradient` changes. A model belongs to
    the stack of runs that it was made for and has one entry per run.
    """

    @property
    def dtype(self) -> str:
        """The type of the parameters: "float32" or "float64"."""

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
        """What a run at the `stuck_loss` is no better than, such as "guessing"."""

    @property
    def loss_unit(self) -> str:
        """The unit of the loss; "" where it has none."""

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """Names of metrics that `evaluate` returns besides `optimlab.training.PROBLEM_METRICS`."""

    @property
    def run_bytes(self) -> int:
        """Approximate working memory of one run in a step, in bytes."""

    def check(self) -> dict[str, str]:
        """Return mistakes in combinations of settings: key → message."""

    def cautions(self) -> dict[str, str]:
        """Return warnings about settings that are allowed but rarely intended: key → message."""

    def init(self, seeds: Sequence[int]) -> tuple[Array, Any]:
        """Return the initial parameters (R, P), one row per seed, and their model, or None."""

    def batches(self, seeds: Sequence[int]) -> Iterator[Any]:
        """Yield batches for `loss_and_gradient`, without end."""

    def loss_and_gradient(self, params: Array, batch: Any, model: Any) -> tuple[Array, Array]:
        """Return the loss (R,) and its gradient (R, P); change the model in place."""

    def evaluate(self, params: Array, model: Any) -> dict[str, Array]:
        """Return the metrics, each (R,), with `train_loss` among them.

        The model is not changed. It is None to get the loss as a function of the parameters alone, as on
        a surface; a problem whose loss is not such a function raises ValueError.
        """
