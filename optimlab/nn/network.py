"""The network: layers one after the other, and the usual ones of Dense blocks.

A network is built once and serves stacks of any size: R rows of parameters (R, P) and their `Model` go
in, R losses and R gradients come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np

from optimlab.nn.layers import ActivationLayer, BatchNorm, Dense, Layer, Views, has_parts
from optimlab.nn.losses import Loss
from optimlab.nn.parameters import Layout, Workspace

Array = np.ndarray

# In evaluation:
CACHE_BYTES = 400_000  # of a layer's outputs, less than a core's own cache
BLOCK = 240  # samples, whole vectors of 16 numbers

Build = Callable[[str, int, np.dtype], Layer]  # of a name and the number of features before it


@dataclass
class Model:
    """What training changes beside the parameters of a stack of runs.

    Attributes
    ----------
    runs : R, how many there are.
    states : name of a layer → what it keeps, one entry per run; None where it keeps nothing.
    """

    runs: int
    states: dict[str, Any]

    def check(self, params: Array) -> None:
        """Raise where the parameters cannot be those of this model's runs.

        Raises
        ------
        ValueError
            When they have another number of rows.
        """
        if len(params) != self.runs:
            raise ValueError(f"params has {len(params)} rows, and its model is of {self.runs} runs")


class Network:
    """Layers, one after the other: R networks of one kind are rows (R, P) of parameters.

    Parameters
    ----------
    layers : first to last; the first is a `Dense`.
    evaluate_with : whether batch norm evaluates with "running" averages or with the statistics of the
        "batch", which is then the whole set.
    """

    def __init__(self, layers: Sequence[Layer], evaluate_with: str = "running") -> None:
        first = layers[0]
        assert isinstance(first, Dense)
        self.layers = list(layers)
        self.inputs, self.outputs, self.dtype = first.inputs, layers[-1].outputs, first.dtype
        shapes = [each for layer in self.layers for each in layer.shapes.items()]
        self.layout = Layout(dict(shapes))
        if len(self.layout.shapes) < len(shapes):
            names = [name for name, _ in shapes]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f'two layers have an array "{twice}": begin its name with the layer\'s')
        self.size = self.layout.size
        self.workspace = Workspace(self.dtype)
        self._named: list[tuple[Array, Views]] = []
        has_norm = any(isinstance(layer, BatchNorm) for layer in layers)
        self.takes_averages = has_norm and evaluate_with == "running"
        self.evaluate_with = evaluate_with

    def initial_params(self, generators: Sequence[np.random.Generator]) -> Array:
        """Return initial parameters (R, P), row r drawn by generator r alone."""
        params = np.zeros((len(generators), self.size), self.dtype)
        views = self.layout.views(params)
        for layer in self.layers:
            layer.initialize(views, generators)
        return params

    def model(self, generators: Sequence[np.random.Generator]) -> Model:
        """Return the model of a new stack, one generator per run."""
        self.workspace.clear()
        self._named.clear()
        states = {layer.name: layer.begin(generators) for layer in self.layers}
        return Model(len(generators), states)

    def views(self, rows: Array) -> Views:
        """Return named views into rows (R, P); those of the last few arrays are kept."""
        for array, views in self._named:
            if array is rows:
                return views
        views = self.layout.views(rows)
        if rows.flags.c_contiguous:  # else these may be copies, which go stale
            self._named = [(rows, views), *self._named[:2]]
        return views

    def arranged(self, features: Array) -> Array:
        """Return features (N, F) as inputs (F, N), in the order in memory that is read fastest."""
        first = self.layers[0]
        return features.T if has_parts(first.outputs * self.inputs) else np.ascontiguousarray(features.T)

    def forward(self, params: Array, x: Array, model: Model) -> Array:
        """Return the outputs (R, outputs, B) for inputs x (R, inputs, B), or (inputs, B) for all runs.

        This is training mode: batch norm takes the batch's statistics and counts them in the running
        averages of `model`, which are changed in place. The array is overwritten by the next call.

        Raises
        ------
        ValueError
            When `params` has another number of rows than `model` has runs.
        """
        model.check(params)
        views = self.views(params)
        for layer in self.layers:
            x = layer.forward(views, x, model.states[layer.name])
        return x

    def loss_and_gradient(
        self, params: Array, x: Array, targets: Array, model: Model, loss: Loss
    ) -> tuple[Array, Array]:
        """Return the loss (R,) of a batch and its gradient (R, P), in training mode.

        The gradient is overwritten by the next call. See `forward` for what happens to `model`.
        """
        value, flowing = loss.value_and_gradient(self.forward(params, x, model), targets)
        gradient = self.workspace.array("gradient", params.shape)
        self.backward(params, gradient, flowing)
        return value, gradient

    def backward(
        self, params: Array, gradient: Array, flowing: Array, *, to_inputs: bool = False
    ) -> Array | None:
        """Propagate dL/doutputs back: write dL/dparams to `gradient`; return dL/dx if wanted."""
        views, gradients = self.views(params), self.views(gradient)
        first, *others = self.layers
        for layer in reversed(others):
            flowing = layer.backward(views, gradients, flowing)
        if to_inputs:
            return first.backward(views, gradients, flowing)
        assert isinstance(first, Dense)
        first.parameter_gradients(gradients, flowing)
        return None

    def evaluation(self, params: Array, model: Model | None) -> Evaluation:
        """Return the network with these parameters (R, P), for evaluation.

        Batch norm with running averages is a fixed scale and shift: it goes into the Dense before it.

        Parameters
        ----------
        params : (R, P), which must not change while the evaluation is in use.
        model : of the runs; None where they are to be evaluated by their parameters alone.

        Raises
        ------
        ValueError
            When `params` has another number of rows than `model` has runs, or there is no model and
            batch norm evaluates with running averages.
        """
        if model is not None:
            model.check(params)
        layers, views = self.layers, self.views(params)
        if self.takes_averages:
            if model is None:
                raise ValueError(
                    "batch norm evaluates with running averages, which belong to a run: parameters are "
                    'evaluated with their model (or, by the batch alone, with evaluate_with = "batch")'
                )
            layers = [layer for layer in self.layers if not isinstance(layer, BatchNorm)]
            for dense, norm in pairwise(self.layers):
                if isinstance(dense, Dense) and isinstance(norm, BatchNorm):
                    views = norm.folded_into(dense, views, model.states[norm.name])
        in_blocks = self.evaluate_with == "running"
        return Evaluation(layers, views, len(params), self.workspace, in_blocks)

    def summary(self, link: str = "softmax") -> str:
        """Return a table of the layers: name, output features and number of parameters.

        Parameters
        ----------
        link : what the loss does to the outputs first; "" for nothing.

        Examples
        --------
        >>> print(perceptron(64, [(32, "sigmoid")], 10, bias=False).summary())
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
        if link:
            rows.append((link, self.outputs, 0))
        lines = [f"{'layer':<14} {'outputs':>7} {'parameters':>11}"]
        lines += [f"{name:<14} {outputs:>7} {count:>11}" for name, outputs, count in rows]
        return "\n".join([*lines, f"{'total':<14} {'':>7} {self.size:>11}"])


@dataclass(frozen=True)
class Evaluation:
    """R networks with fixed parameters, in evaluation mode.

    Attributes
    ----------
    layers : first to last.
    params : by name, one row per run.
    runs : R.
    workspace : keeps the outputs' memory.
    in_blocks : whether samples may be evaluated a block at a time.
    """

    layers: list[Layer]
    params: Views
    runs: int
    workspace: Workspace
    in_blocks: bool

    def outputs(self, x: Array, block: int = BLOCK) -> Iterator[tuple[slice, Array]]:
        """Yield which samples, and their outputs (R, outputs, B): block by block.

        Parameters
        ----------
        x : inputs (inputs, N), the same for all runs, or (R, inputs, N).
        block : how many samples go through the network at once, with as many runs as fit into the cache.
        """
        samples, last = x.shape[-1], self.layers[-1]
        block = min(block, samples) if self.in_blocks else samples
        (*evaluations, evaluate_last), stacks = self._evaluations(), list(self._in_cache(block))
        for start in range(0, samples, block):
            part = slice(start, min(start + block, samples))
            shape = self.runs, last.outputs, part.stop - start
            outputs = self.workspace.array("outputs", shape)
            for some, params in stacks:
                y = x[..., part] if x.ndim == 2 else x[some, :, part]
                for evaluate in evaluations:
                    y = evaluate(params, y)
                if isinstance(last, Dense):
                    last.evaluate(params, y, outputs[some])
                else:
                    outputs[some] = evaluate_last(params, y)
            yield part, outputs

    def _evaluations(self) -> Iterator[Callable[[Views, Array], Array]]:
        """Yield functions of parameters and inputs: a layer's, or of a Dense with its activation."""
        layers = iter(zip_longest(self.layers, self.layers[1:]))
        for layer, after in layers:
            if isinstance(layer, Dense) and isinstance(after, ActivationLayer):
                yield partial(layer.evaluate_activated, after.activation)
                next(layers)
            else:
                # A user's layer may have `forward` alone.
                yield getattr(layer, "evaluate", layer.forward)

    def _in_cache(self, samples: int) -> Iterator[tuple[slice, Views]]:
        """Yield which runs, and their parameters: as many as fit into the cache with these samples."""
        widest = max(layer.outputs for layer in self.layers)
        size = max(1, CACHE_BYTES // (widest * samples * self.workspace.dtype.itemsize))
        for start in range(0, self.runs, size):
            some = slice(start, start + size)
            yield some, {name: view[some] for name, view in self.params.items()}


def perceptron(
    inputs: int,
    hidden: Sequence[tuple[int, str] | Build],
    outputs: int,
    *,
    batch_norm: bool = True,
    bias: bool = True,
    initialization: str = "uniform",
    evaluate_with: str = "running",
    dtype: Any = "float64",
) -> Network:
    """Return Dense, batch norm and activation for each hidden layer, then Dense and batch norm.

    Parameters
    ----------
    inputs, outputs : the number of input features and of outputs, such as classes.
    hidden : units and activation of each hidden layer, or what makes another layer; may be empty
        (softmax or linear regression).
    batch_norm : whether each Dense is followed by batch normalization.
    bias : whether each Dense has a bias. Batch norm subtracts it again: it changes no output then,
        and its true gradient is zero.
    initialization : a key of `optimlab.nn.layers.INITIALIZATIONS`. Biases and β start at 0, γ at 1.
    evaluate_with : see `Network`.
    dtype : float32 or float64, of all that is computed.

    Examples
    --------
    >>> network = perceptron(64, [(32, "sigmoid"), (16, "relu")], 10)
    >>> network.size
    2894
    """
    dtype = np.dtype(dtype)
    layers: list[Layer] = []

    def dense(number: int, units: int) -> None:
        before = layers[-1].outputs if layers else inputs
        name = f"dense{number}"
        layers.append(Dense(name, before, units, bias, dtype, initialization))
        if batch_norm:
            layers.append(BatchNorm(f"batch_norm{number}", units, dtype))

    blocks = 0
    for number, each in enumerate(hidden, start=1):
        if isinstance(each, tuple):
            blocks += 1
            dense(blocks, each[0])
            layers.append(ActivationLayer(each[1], each[0], dtype))
        else:
            layers.append(each(f"layer{number}", layers[-1].outputs, dtype))
    dense(blocks + 1, outputs)
    return Network(layers, evaluate_with)
