"""The network: Dense blocks, each with batch normalization and an activation, and a softmax on top.

A network is built once and serves stacks of any size: R rows of parameters (R, P) go in, R losses
and R gradients come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from optimlab.nn.layers import Activated, BatchNorm, Dense, Layer
from optimlab.nn.losses import cross_entropy_and_correct, cross_entropy_and_gradient
from optimlab.nn.parameters import Layout, Workspace

Array = np.ndarray

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
        features = inputs
        for number, (units, activation) in enumerate([*hidden, (classes, None)], start=1):
            self.layers.append(Dense(f"dense{number}", features, units, bias, self.dtype))
            if batch_norm:
                self.layers.append(
                    BatchNorm(f"batch_norm{number}", units, self.dtype, evaluate_with=evaluate_with)
                )
            if activation:
                self.layers.append(Activated(activation, units, self.dtype))
            features = units
        self.layout = Layout(
            {name: shape for layer in self.layers for name, shape in layer.shapes.items()}
        )
        self.size = self.layout.size
        self.workspace = Workspace(self.dtype)

    def initial_params(self, generators: Sequence[np.random.Generator]) -> Array:
        """Return start parameters (R, P), row r drawn by generator r alone, and start a stack of R."""
        params = np.zeros((len(generators), self.size), self.dtype)
        views = self.layout.views(params)
        for layer in self.layers:
            if isinstance(layer, Dense):
                draw = INITIALIZATIONS[self.initialization]
                for row, rng in enumerate(generators):
                    views[layer.weight][row] = draw(rng, layer.outputs, layer.inputs)
            elif isinstance(layer, BatchNorm):
                views[layer.gamma][...] = 1
        self.start(len(generators))
        return params

    def start(self, runs: int) -> None:
        """Begin with a new stack of `runs` runs: running averages are forgotten."""
        self.workspace.clear()
        for layer in self.layers:
            layer.start(runs)

    def forward(self, params: Array, x: Array, *, training: bool) -> Array:
        """Return the logits (R, classes, B) for inputs x (R, inputs, B), or (inputs, B) for all runs.

        With ``training=True`` batch norm takes the batch's statistics and updates its running
        averages; else it takes what `evaluate_with` says. The array is overwritten by the next call.
        """
        views = self.layout.views(params)
        for layer in self.layers:
            x = layer.forward(views, x, training)
        return x

    def loss_and_gradient(self, params: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """Return the mean cross-entropy (R,) over the batch and its gradient (R, P), in training mode.

        The gradient is overwritten by the next call.
        """
        logits = self.forward(params, x, training=True)
        loss, flowing = cross_entropy_and_gradient(logits, labels, self.workspace)
        gradient = self.workspace.array("gradient", params.shape)
        self.backward(params, gradient, flowing)
        return loss, gradient

    def backward(
        self, params: Array, gradient: Array, flowing: Array, *, to_inputs: bool = False
    ) -> Array | None:
        """Propagate dL/dlogits back: write dL/dparams to `gradient`; return dL/dx if wanted."""
        views, gradients = self.layout.views(params), self.layout.views(gradient)
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
        for start in range(0, samples, block):
            part = slice(start, min(start + block, samples))
            yield part, self.forward(params, x[:, part], training=False)

    def loss_and_accuracy(self, params: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """Return mean cross-entropy (R,) and accuracy (R,), in evaluation mode, as float64.

        Inputs x (inputs, N) and labels (N,) are the same for all runs.
        """
        loss, correct = np.zeros(len(params)), np.zeros(len(params))
        for part, logits in self.logits(params, x):
            block_loss, block_correct = cross_entropy_and_correct(logits, labels[part], self.workspace)
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
