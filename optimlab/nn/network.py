"""The network: Dense blocks, each with batch normalization and an activation, and a softmax on top.

A network is built once and serves stacks of any size: R rows of parameters (R, P) go in, R losses
and R gradients come out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from optimlab.nn.layers import Activated, BatchNorm, Dense, Layer, Views
from optimlab.nn.losses import cross_entropy_and_correct, cross_entropy_and_gradient
from optimlab.nn.parameters import Layout, Workspace

Array = np.ndarray

# Of a batch, from which on it is faster run by run.
LONGEST_ROW = 256

# A scheme draws the weights (outputs, inputs) of a Dense layer.
INITIALIZATIONS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    # Uniform in ±1/√fan_in: LeCun et al. (1998), Efficient backprop, section 4.6, in uniform form.
    "uniform": lambda rng, outputs, inputs: rng.uniform(-1, 1, (outputs, inputs)) / np.sqrt(inputs),
    # Glorot & Bengio (2010), equation 16.
    "glorot": lambda rng, outputs, inputs: (
        rng.uniform(-1, 1, (outputs, inputs)) * np.sqrt(6 / (inputs + outputs))
    ),
    # He et al. (2015), equation 10.
    "he": lambda rng, outputs, inputs: rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)),
}


class Network:
    """A classifier: for each hidden layer Dense, batch norm and activation; then Dense and batch norm.

    Parameters
    ----------
    inputs, classes : the number of input features and of classes.
    hidden : units and activation of each hidden layer; may be empty (softmax regression).
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias. Batch norm subtracts it again: it changes no output then,
        and its true gradient is zero.
    initialization : a key of `INITIALIZATIONS`. Biases and β start at 0, γ at 1.
    evaluate_with : whether batch norm evaluates with "running" averages or with the statistics of the
        "batch", which is then the whole set.
    dtype : float32 or float64, of all that is computed.

    Examples
    --------
    >>> network = Network(64, [(32, "sigmoid"), (16, "relu")], 10)
    >>> network.size
    2894
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[tuple[int, str]],
        classes: int,
        *,
        batch_norm: bool = True,
        bias: bool = True,
        initialization: str = "uniform",
        evaluate_with: str = "running",
        dtype: Any = "float64",
    ) -> None:
        self.inputs, self.classes, self.initialization = inputs, classes, initialization
        self.evaluate_with = evaluate_with
        self.dtype = np.dtype(dtype)
        self.layers: list[Layer] = []
        self.narrowest = min(inputs, classes, *(units for units, _ in hidden))
        features = inputs
        for number, (units, activation) in enumerate([*hidden, (classes, None)], start=1):
            features_first = activation is None and self.narrowest > 1  # for softmax
            self.layers.append(
                Dense(f"dense{number}", features, units, bias, self.dtype, features_first)
            )
            if batch_norm:
                self.layers.append(BatchNorm(f"batch_norm{number}", units, self.dtype))
            if activation:
                self.layers.append(Activated(activation, units, self.dtype))
            features = units
        self.layout = Layout(
            {name: shape for layer in self.layers for name, shape in layer.shapes.items()}
        )
        self.size = self.layout.size
        self.workspace = Workspace(self.dtype)
        self._named: list[tuple[Array, Views]] = []
        self._keeps_averages = batch_norm and evaluate_with == "running"
        self._runs: int | None = None  # of the stack that has begun
        self._stacks = 0  # that have begun
        self._starts: list[weakref.ref[Array]] = []  # theirs that are still used, the current one last

    def initial_params(self, generators: Sequence[np.random.Generator]) -> Array:
        """Return start parameters (R, P), row r drawn by generator r alone, and start a stack of R."""
        params = np.zeros((len(generators), self.size), self.dtype)
        views = self.layout.views(params)
        for layer in self.layers:
            if isinstance(layer, Dense):
                draw = INITIALIZATIONS[self.initialization]
                for row, rng in enumerate(generators):
                    views[layer.weight][row] = draw(rng, layer.outputs, layer.inputs).T
            elif isinstance(layer, BatchNorm):
                views[layer.gamma][...] = 1
        self.start(len(generators))
        self._stacks += 1
        self._starts = [start for start in self._starts if start() is not None] + [weakref.ref(params)]
        return params

    def start(self, runs: int) -> None:
        """Begin with a new stack of `runs` runs: running averages are forgotten."""
        self.workspace.clear()
        self._named.clear()
        self._runs = runs
        for layer in self.layers:
            layer.start(runs)

    def check_stack(self, params: Array, *, is_final: bool = False) -> None:
        """Raise where the running averages are those of other runs than `params`.

        Parameters
        ----------
        params : where the network is to be trained or, `is_final`, evaluated. Once a second stack has
            begun, copies of parameters may be of either: that stack's own array alone is evaluated.

        Raises
        ------
        ValueError
            When batch norm evaluates with running averages, and `params` has another number of rows than
            the stack that has begun, or is not that stack's.
        """
        if not self._keeps_averages or self._runs is None:
            return
        if len(params) != self._runs:
            raise ValueError(f"params has {len(params)} rows, and the stack that has begun {self._runs}")
        is_earlier = any(start() is params for start in self._starts[:-1])
        if is_earlier or (is_final and self._stacks > 1 and self._starts[-1]() is not params):
            raise ValueError(
                "params is not of the stack that began last, whose running averages batch norm holds: "
                "evaluate a stack before the next begins, or give each a problem of its own"
            )

    def samples_first(self, samples: int) -> bool:
        """Return whether inputs had better lie in memory sample by sample: see `optimlab.nn.layers`.

        They must not where an axis has length one: memory could not tell it from the runs' in a stack of
        one, whose sums would be taken in another order than those of a larger stack.
        """
        return 1 < samples <= LONGEST_ROW and self.narrowest > 1

    def views(self, rows: Array) -> Views:
        """Return named views into rows (R, P); those of the last few arrays are kept."""
        for array, views in self._named:
            if array is rows:
                return views
        views = self.layout.views(rows)
        if rows.flags.c_contiguous:  # else these may be copies, which go stale
            self._named = [(rows, views), *self._named[:2]]
        return views

    def forward(self, params: Array, x: Array, *, training: bool) -> Array:
        """Return the logits (R, classes, B) for inputs x (R, inputs, B), or (inputs, B) for all runs.

        With ``training=True`` batch norm takes the batch's statistics and updates its running
        averages; else it takes what `evaluate_with` says. The array is overwritten by the next call.
        """
        if training:
            return _through(self.layers, self.views(params), x, training)
        return _through(*self._for_evaluation(params), x, training)

    def _for_evaluation(self, params: Array) -> tuple[list[Layer], Views]:
        """Return layers and named parameters for evaluation.

        Batch norm with running averages is a fixed scale and shift: it goes into the Dense before it.
        """
        layers, views = self.layers, self.views(params)
        if self.evaluate_with == "running":
            layers = [layer for layer in self.layers if not isinstance(layer, BatchNorm)]
            for dense, norm in pairwise(self.layers):
                if isinstance(dense, Dense) and isinstance(norm, BatchNorm):
                    views = norm.folded_into(dense, views)
        return layers, views

    def loss_and_gradient(self, params: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """Return the mean cross-entropy (R,) over the batch and its gradient (R, P), in training mode.

        The gradient is overwritten by the next call.
        """
        logits = self.forward(params, x, training=True)
        loss, flowing = cross_entropy_and_gradient(logits, labels)
        gradient = self.workspace.array("gradient", params.shape)
        self.backward(params, gradient, flowing)
        return loss, gradient

    def backward(
        self, params: Array, gradient: Array, flowing: Array, *, to_inputs: bool = False
    ) -> Array | None:
        """Propagate dL/dlogits back: write dL/dparams to `gradient`; return dL/dx if wanted."""
        views, gradients = self.views(params), self.views(gradient)
        first, *others = self.layers
        for layer in reversed(others):
            flowing = layer.backward(views, gradients, flowing)
        if to_inputs:
            return first.backward(views, gradients, flowing)
        assert isinstance(first, Dense)
        first.parameter_gradients(gradients, flowing)
        return None

    def logits(self, params: Array, x: Array, block: int = 256) -> Iterator[tuple[slice, Array]]:
        """Yield, in evaluation mode, which samples, and their logits (R, classes, B): block by block.

        Parameters
        ----------
        params : (R, P).
        x : inputs (inputs, N), the same for all runs.
        block : how many samples go through the network at once, to stay within the cache.
        """
        samples = x.shape[-1]
        if self.evaluate_with == "batch":
            block = samples
        layers, views = self._for_evaluation(params)
        for start in range(0, samples, block):
            part = slice(start, min(start + block, samples))
            inputs = x[:, part]
            if not self.samples_first(inputs.shape[-1]):
                inputs = np.ascontiguousarray(inputs)
            yield part, _through(layers, views, inputs, training=False)

    def loss_and_accuracy(self, params: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """Return mean cross-entropy (R,) and accuracy (R,), in evaluation mode, as float64.

        Inputs x (inputs, N) and labels (N,) are the same for all runs.
        """
        loss, correct = np.zeros(len(params)), np.zeros(len(params))
        for part, logits in self.logits(params, x):
            block_loss, block_correct = cross_entropy_and_correct(logits, labels[part])
            loss += block_loss
            correct += block_correct
        return loss / len(labels), correct / len(labels)

    def summary(self) -> str:
        """Return a table of the layers: name, output features and number of parameters.

        Examples
        --------
        >>> print(Network(64, [(32, "sigmoid")], 10, bias=False).summary())
        layer          outputs  parameters
        dense1              32        2048
        batch_norm1         32          64
        sigmoid             32           0
        dense2              10         320
        batch_norm2         10          20
        softmax             10           0
        total                         2452
        """
        rows = [
            (layer.name, layer.outputs, sum(int(np.prod(s)) for s in layer.shapes.values()))
            for layer in self.layers
        ]
        rows.append(("softmax", self.classes, 0))
        lines = [f"{'layer':<14} {'outputs':>7} {'parameters':>11}"]
        lines += [f"{name:<14} {outputs:>7} {count:>11}" for name, outputs, count in rows]
        return "\n".join([*lines, f"{'total':<14} {'':>7} {self.size:>11}"])


def _through(layers: Sequence[Layer], views: Views, x: Array, training: bool) -> Array:
    """Return what comes out of the layers, one after the other."""
    for layer in layers:
        x = layer.forward(views, x, training)
    return x
