"""Layers: Dense, batch normalization, and the place where an activation acts.

Data flows as (R, features, batch): R runs side by side, each sample a column. A layer reads its
parameters from named views of the flat rows and writes their gradients to named views of another
array of the same layout. `forward` keeps what `backward` needs, and both may overwrite what they are
given, because between them the layers pass on one array rather than copy it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.parameters import Workspace, ones

Array = np.ndarray
Views = dict[str, Array]


class Layer(Protocol):
    """What a network asks of a layer."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    outputs: int

    def start(self, runs: int) -> None:
        """Forget the stack before, and prepare for one of `runs` runs."""

    def forward(self, params: Views, x: Array, training: bool) -> Array:
        """Return y (R, outputs, B) for x (R, inputs, B), which may be overwritten."""

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        """Write dL/dparams to `gradients`; return dL/dx (R, inputs, B) for dL/dy (R, outputs, B)."""


def sum_over_batch(x: Array) -> Array:
    """Return the sum over the last axis."""
    return np.matmul(x, ones(x.shape[-1], x.dtype))


class Dense:
    """Fully connected: y = W x + b, with W (outputs, inputs) and b (outputs,).

    Gradients: dW = dy xᵀ, db = Σ dy, dx = Wᵀ dy.

    Parameters
    ----------
    name : the first part of its parameters' names.
    inputs, outputs : the number of features before and after.
    bias : whether there is a b.
    dtype : of all arrays.
    """

    def __init__(self, name: str, inputs: int, outputs: int, bias: bool, dtype: np.dtype) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.weight, self.bias = f"{name}.weight", f"{name}.bias" if bias else None
        self.shapes: dict[str, tuple[int, ...]] = {self.weight: (outputs, inputs)}
        if self.bias:
            self.shapes[self.bias] = (outputs,)
        self.workspace = Workspace(dtype)

    def start(self, runs: int) -> None:
        self.workspace.clear()

    def forward(self, params: Views, x: Array, training: bool) -> Array:
        weight = params[self.weight]
        self.x = x
        shape = (len(weight), self.outputs, x.shape[-1])
        y = np.matmul(weight, x, out=self.workspace.array("y", shape))
        if self.bias:
            y += params[self.bias][..., None]
        return y

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        self.parameter_gradients(gradients, gradient)
        weight = params[self.weight]
        shape = (len(weight), self.inputs, gradient.shape[-1])
        return np.matmul(weight.mT, gradient, out=self.workspace.array("dx", shape))

    def parameter_gradients(self, gradients: Views, gradient: Array) -> None:
        """Write dW and db only: the first layer of a network is not asked for dx."""
        np.matmul(gradient, self.x.mT, out=gradients[self.weight])
        if self.bias:
            gradients[self.bias][...] = sum_over_batch(gradient)


class BatchNorm:
    """Batch normalization: y = γ (x − μ) / √(σ² + ε) + β, feature by feature.

    In training μ and σ² are the batch's mean and (biased) variance, and running averages of both are
    kept. In evaluation the running averages take their place, unless `evaluate_with` is "batch". They
    start from zero and are divided by 1 − momentumᵗ, as Adam's are, so that they need no warming up:
    after t steps they are an average of t batches, not of t batches and an arbitrary start. They belong
    to the stack in training, not to the parameters: `start` makes them anew.

    With d = dL/dy and N samples: dβ = Σ d, dγ = Σ d x̂, and
    dx = γ / (N √(σ² + ε)) · (N d − Σ d − (x − μ) / (σ² + ε) · Σ d (x − μ)).

    Parameters
    ----------
    name : the first part of its parameters' names.
    features : the number of features.
    dtype : of all arrays.
    eps : ε, added to the variance.
    momentum : of the running averages.
    evaluate_with : "running" averages or the statistics of the "batch" that is evaluated.

    References
    ----------
    Ioffe & Szegedy (2015), Batch normalization, algorithms 1 and 2.
    """

    def __init__(
        self,
        name: str,
        features: int,
        dtype: np.dtype,
        eps: float = 0.01,
        momentum: float = 0.99,
        evaluate_with: str = "running",
    ) -> None:
        self.name, self.outputs, self.eps, self.momentum = name, features, eps, momentum
        self.evaluate_with = evaluate_with
        self.gamma, self.beta = f"{name}.gamma", f"{name}.beta"
        self.shapes: dict[str, tuple[int, ...]] = {self.gamma: (features,), self.beta: (features,)}
        self.workspace = Workspace(dtype)
        self.dtype = dtype

    def start(self, runs: int) -> None:
        self.workspace.clear()
        self.steps = 0
        self.mean_average = np.zeros((runs, self.outputs), self.dtype)
        self.variance_average = np.zeros((runs, self.outputs), self.dtype)

    def running_statistics(self) -> tuple[Array, Array]:
        """Return the running mean and variance, each (R, features); 0 and 1 before the first step."""
        if self.steps == 0:
            return self.mean_average, np.ones_like(self.variance_average)
        correction = 1 - self.momentum**self.steps
        return self.mean_average / correction, self.variance_average / correction

    def forward(self, params: Views, x: Array, training: bool) -> Array:
        y = x
        if training or self.evaluate_with == "batch":
            mean, variance = self._centre(x)
            if training:
                self._keep_averages(mean, variance)
            self.deviation = np.sqrt(variance + self.eps)
            self.scale = params[self.gamma] / self.deviation
            shift = params[self.beta]
            y = self.workspace.array("y", x.shape)  # backward wants x, centred, as well
        else:
            mean, variance = self.running_statistics()
            self.scale = params[self.gamma] / np.sqrt(variance + self.eps)
            shift = params[self.beta] - mean * self.scale
        np.multiply(x, self.scale[..., None], out=y)
        y += shift[..., None]
        return y

    def _centre(self, x: Array) -> tuple[Array, Array]:
        """Subtract from `x` its mean over the batch; return the mean and the variance."""
        samples = x.shape[-1]
        mean = sum_over_batch(x)
        mean /= samples
        x -= mean[..., None]
        self.centred = x
        squares = np.multiply(x, x, out=self.workspace.array("product", x.shape))
        variance = sum_over_batch(squares)
        variance /= samples
        return mean, variance

    def _keep_averages(self, mean: Array, variance: Array) -> None:
        self.steps += 1
        for average, new in ((self.mean_average, mean), (self.variance_average, variance)):
            average *= self.momentum
            average += (1 - self.momentum) * new

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        samples = gradient.shape[-1]
        total = sum_over_batch(gradient)
        product = self.workspace.array("product", gradient.shape)
        along = sum_over_batch(np.multiply(gradient, self.centred, out=product))
        along /= self.deviation
        gradients[self.beta][...] = total
        gradients[self.gamma][...] = along

        along /= samples * self.deviation
        total /= samples
        gradient -= np.multiply(self.centred, along[..., None], out=product)
        gradient -= total[..., None]
        gradient *= self.scale[..., None]
        return gradient


class Activated:
    """An activation, named as in `optimlab.nn.activations.ACTIVATIONS`, at its place in a network."""

    def __init__(self, name: str, features: int, dtype: np.dtype) -> None:
        self.name, self.outputs = name, features
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation = ACTIVATIONS[name]()
        self.workspace = Workspace(dtype)

    def start(self, runs: int) -> None:
        self.workspace.clear()

    def forward(self, params: Views, x: Array, training: bool) -> Array:
        return self.activation.forward(x, self.workspace)

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        return self.activation.backward(gradient, self.workspace)
