"""Settings that supervised problems share: keys of their tables, with limits and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len

from optimlab.data.dataset import Scaling, Split
from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.layers import INITIALIZATIONS
from optimlab.nn.network import Network, perceptron
from optimlab.validation import Checked


@dataclass(frozen=True, kw_only=True)
class HiddenLayer(Checked):
    """Units and activation of one hidden layer."""

    units: Annotated[int, Ge(1), Le(4096)]
    activation: Literal[*ACTIVATIONS]  # type: ignore[valid-type]


@dataclass(frozen=True, kw_only=True)
class Learning(Checked):
    """How data are prepared, and the penalty added to the loss.

    Parameters
    ----------
    split : how rows are split; None for the data's own split or, without one, the default `Split`.
    scaling, target_scaling : of the features and of a regression's targets: "standard", "minmax" or
        "none", fitted on the training part only.
    l2 : adds l2/2 · Σ w², over the weights only, to the minimized loss; metrics do not include it.
    """

    split: Split | None = None
    scaling: Scaling = "standard"
    target_scaling: Scaling = "standard"
    l2: Annotated[float, Ge(0), Le(1e6)] = 0.0


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Checked):
    """A network of hidden layers, and how it is evaluated.

    Parameters
    ----------
    hidden : `HiddenLayer` and layers of `optimlab.nn.layers.LAYERS`, in order; an empty list is
        softmax or linear regression.
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias, which has no effect before batch norm.
    initialization : "uniform" (±1/√fan_in), "glorot", "he" or "orthogonal".
    evaluate_with : whether batch norm evaluates with "running" averages or with the statistics of the
        "batch", here the whole set.
    metrics : user-defined, "file.py:function" each; see `optimlab.problems.supervised.OwnMetric`.
    dtype : "float32" or "float64".
    """

    hidden: Annotated[tuple[Any, ...], Len(0, 64)] = (HiddenLayer(units=32, activation="relu"),)
    batch_norm: bool = False
    bias: bool = True
    initialization: Literal[*INITIALIZATIONS] = "he"  # type: ignore[valid-type]
    evaluate_with: Literal["running", "batch"] = "running"
    metrics: tuple[Any, ...] = ()
    dtype: Literal["float32", "float64"] = "float32"

    def build(self, inputs: int, outputs: int) -> Network:
        """Return the network for these numbers of features and outputs."""
        return perceptron(
            inputs,
            [
                (each.units, each.activation) if isinstance(each, HiddenLayer) else each.build
                for each in self.hidden
            ],
            outputs,
            batch_norm=self.batch_norm,
            bias=self.bias,
            initialization=self.initialization,
            evaluate_with=self.evaluate_with,
            dtype=self.dtype,
        )
