"""Layers: Dense, batch and layer normalization, dropout, and the place where an activation acts.

Data flows as (R, features, batch): R runs side by side, each sample a column. A layer reads its
parameters from named views of the flat rows and writes their gradients to named views of another
array of the same layout. `forward` keeps what `backward` needs, and both may overwrite what they are
given, because between them the layers pass on one array rather than copy it. What outlives a step is not
kept in the layer: it is the state that `begin` returns, one entry per run, and belongs to a stack.

In which order the three axes lie in memory changes the speed and no number. An input that lies sample by
sample, (batch, R, features), makes all that follows lie so: then a number per feature, (R, features),
meets long rows of memory where a batch is small. Any other input makes it lie run by run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from annotated_types import Gt, Le, Lt

from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.parameters import Workspace

Array = np.ndarray
Views = dict[str, Array]


class Layer(Protocol):
    """What a network asks of a layer.

    An activation keeps what it returns, so what comes after one must leave it alone: Dense, dropout and
    layer normalization do, and batch normalization and activations come after a Dense.
    """

    name: str
    shapes: dict[str, tuple[int, ...]]
    outputs: int

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        """Write the start parameters over zeros, those of run r drawn by generator r alone."""

    def begin(self, generators: Sequence[np.random.Generator]) -> Any:
        """Return the state of a new stack, one generator per run; None where nothing is kept."""

    def forward(self, params: Views, x: Array, state: Any = None) -> Array:
        """Return y (R, outputs, B) for x (R, inputs, B).

        In training, the state is changed in place; in evaluation there is none.
        """

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        """Write dL/dparams to `gradients`; return dL/dx (R, inputs, B) for dL/dy (R, outputs, B)."""


# A scheme draws the weights (outputs, inputs) of a Dense layer.
def _orthogonal(rng: np.random.Generator, outputs: int, inputs: int) -> Array:
    """Return orthonormal rows, or columns where those are fewer, of a uniform distribution."""
    tall = rng.normal(size=(max(outputs, inputs), min(outputs, inputs)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # else the signs are LAPACK's
    return q if outputs >= inputs else q.T


INITIALIZATIONS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    # Uniform in ±1/√fan_in: LeCun et al. (1998), Efficient backprop, section 4.6, in uniform form.
    "uniform": lambda rng, outputs, inputs: rng.uniform(-1, 1, (outputs, inputs)) / np.sqrt(inputs),
    # Glorot & Bengio (2010), equation 16.
    "glorot": lambda rng, outputs, inputs: (
        rng.uniform(-1, 1, (outputs, inputs)) * np.sqrt(6 / (inputs + outputs))
    ),
    # He et al. (2015), equation 10.
    "he": lambda rng, outputs, inputs: rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)),
    # Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning, 3.
    "orthogonal": _orthogonal,
}


def sum_over_batch(x: Array, out: Array | None = None) -> Array:
    """Return the sum over the last axis."""
    return np.einsum("rfb->rf", x, out=out)


def dot_over_batch(x: Array, y: Array, out: Array | None = None) -> Array:
    """Return the sum of x y over the last axis, in one pass over both."""
    if x.strides[-1] == x.itemsize:
        return np.vecdot(x, y, out=out)
    return np.einsum("rfb,rfb->rf", x, y, out=out)


class Dense:
    """Fully connected: y = Wᵀ x + b, with W (inputs, outputs) and b (outputs,).

    Gradients: dW = x dyᵀ, db = Σ dy, dx = W dy.

    Parameters
    ----------
    name : the first part of its parameters' names.
    inputs, outputs : the number of features before and after.
    bias : whether there is a b.
    dtype : of all arrays.
    features_first : whether y has its features outermost in memory, for what goes feature by feature,
        as softmax does.
    initialization : of the weights, a key of `INITIALIZATIONS`. The bias starts at 0.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        bias: bool,
        dtype: np.dtype,
        features_first: bool = False,
        initialization: str = "uniform",
    ) -> None:
        self.name, self.inputs, self.outputs, self.dtype = name, inputs, outputs, dtype
        self.features_first, self.initialization = features_first, initialization
        self.weight, self.bias = f"{name}.weight", f"{name}.bias"
        self.shapes: dict[str, tuple[int, ...]] = {self.weight: (inputs, outputs)}
        if bias:
            self.shapes[self.bias] = (outputs,)
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        draw = INITIALIZATIONS[self.initialization]
        for row, rng in enumerate(generators):
            params[self.weight][row] = draw(rng, self.outputs, self.inputs).T

    def begin(self, generators: Sequence[np.random.Generator]) -> None:
        self.workspace.clear()

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        weight = params[self.weight]
        self.x = x
        runs, samples = len(weight), x.shape[-1]
        if samples > 1 and self.features_first:
            y = self.workspace.array("y", (self.outputs, runs, samples)).transpose(1, 0, 2)
        elif samples > 1 and x.strides[-1] == max(x.strides):  # sample by sample, as x
            y = self.workspace.array("y", (samples, runs, self.outputs)).transpose(1, 2, 0)
        else:
            y = self.workspace.array("y", (runs, self.outputs, samples))
        np.matmul(weight.mT, x, out=y)
        if self.bias in params:
            y += np.ascontiguousarray(params[self.bias])[..., None]
        return y

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        self.parameter_gradients(gradients, gradient)
        weight = params[self.weight]
        like = self.x if self.x.ndim == 3 else gradient
        shape = (len(weight), self.inputs, gradient.shape[-1])
        return np.matmul(weight, gradient, out=self.workspace.like("dx", like, shape))

    def parameter_gradients(self, gradients: Views, gradient: Array) -> None:
        """Write dW and db only: the first layer of a network is not asked for dx."""
        np.matmul(self.x, gradient.mT, out=gradients[self.weight])
        if self.bias in gradients:
            gradients[self.bias][...] = sum_over_batch(gradient)


@dataclass
class RunningAverages:
    """What batch norm keeps of the batches that a stack of runs has seen.

    They start from zero and are divided by 1 − momentumᵗ, as Adam's are, so that they need no warming
    up: after t steps they are an average of t batches, not of t batches and an arbitrary start.

    Attributes
    ----------
    sums : decaying sums of the batches' means and variances (2, R, features).
    momentum : how much of them is kept at a step.
    steps : t, how many batches there were.
    """

    sums: Array
    momentum: float
    steps: int = 0

    def add(self, statistics: Array) -> None:
        """Count in the mean and variance (2, R, features) of one more batch."""
        self.steps += 1
        self.sums *= self.momentum
        self.sums += (1 - self.momentum) * statistics

    def statistics(self) -> Array:
        """Return the running mean and variance (2, R, features); 0 and 1 before the first step."""
        if self.steps == 0:
            return np.stack([self.sums[0], np.ones_like(self.sums[1])])
        return self.sums / (1 - self.momentum**self.steps)


class BatchNorm:
    """Batch normalization: y = γ (x − μ) / √(σ² + ε) + β, feature by feature.

    `forward` takes the batch's mean and (biased) variance for μ and σ², and in training keeps
    `RunningAverages` of both, which may take their place in evaluation (`folded_into`).

    With d = dL/dy and N samples: dβ = Σ d, dγ = Σ d x̂, and
    dx = γ / (N √(σ² + ε)) · (N d − Σ d − (x − μ) / (σ² + ε) · Σ d (x − μ)).

    Parameters
    ----------
    name : the first part of its parameters' names.
    features : the number of features.
    dtype : of all arrays.
    eps : ε, added to the variance.
    momentum : of the running averages.

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
    ) -> None:
        self.name, self.outputs, self.eps, self.momentum = name, features, eps, momentum
        self.gamma, self.beta = f"{name}.gamma", f"{name}.beta"
        self.shapes: dict[str, tuple[int, ...]] = {self.gamma: (features,), self.beta: (features,)}
        self.workspace = Workspace(dtype)
        self.dtype = dtype

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        params[self.gamma][...] = 1

    def begin(self, generators: Sequence[np.random.Generator]) -> RunningAverages:
        self.workspace.clear()
        return RunningAverages(np.zeros((2, len(generators), self.outputs), self.dtype), self.momentum)

    def forward(self, params: Views, x: Array, state: RunningAverages | None = None) -> Array:
        statistics = self._centre(x)
        if state is not None:
            state.add(statistics)
        self.deviation = np.sqrt(statistics[1] + self.eps)
        self.scale = params[self.gamma] / self.deviation
        y = self.workspace.like("y", x)  # backward wants x, centred, as well
        np.multiply(x, self.scale[..., None], out=y)
        y += np.ascontiguousarray(params[self.beta])[..., None]
        return y

    def folded_into(self, dense: Dense, params: Views, state: RunningAverages) -> Views:
        """Return `params`, but with the weight and bias of `dense` followed by this, evaluated.

        With running averages batch norm is a fixed scale and shift of each feature: a part of Dense.
        """
        mean, variance = state.statistics()
        scale = params[self.gamma] / np.sqrt(variance + self.eps)
        shift = params[self.beta] - mean * scale
        if dense.bias in params:
            shift += params[dense.bias] * scale
        return {**params, dense.weight: params[dense.weight] * scale[:, None], dense.bias: shift}

    def _centre(self, x: Array) -> Array:
        """Subtract from `x` its mean over the batch; return mean and variance (2, R, features)."""
        runs, features, samples = x.shape
        statistics = self.workspace.array("statistics", (2, runs, features))
        mean, variance = statistics
        sum_over_batch(x, out=mean)
        mean /= samples
        x -= mean[..., None]
        self.centred = x
        dot_over_batch(x, x, out=variance)
        variance /= samples
        return statistics

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        samples = gradient.shape[-1]
        total = sum_over_batch(gradient)
        product = self.workspace.like("product", gradient)
        along = dot_over_batch(gradient, self.centred)
        along /= self.deviation
        gradients[self.beta][...] = total
        gradients[self.gamma][...] = along

        along /= samples * self.deviation
        total /= samples
        gradient -= np.multiply(self.centred, along[..., None], out=product)
        gradient -= total[..., None]
        gradient *= self.scale[..., None]
        return gradient


class LayerNorm:
    """Layer normalization: y = γ (x − μ) / √(σ² + ε) + β, with μ and σ² of each sample's features.

    With d = γ · dL/dy and F features: dβ = Σ dL/dy, dγ = Σ dL/dy x̂, both over the batch, and
    dx = (d − mean d − x̂ · mean(d x̂)) / √(σ² + ε), with means over the features.

    Parameters
    ----------
    name : the first part of its parameters' names.
    features : F.
    dtype : of all arrays.
    eps : ε, added to the variance.

    References
    ----------
    Ba, Kiros & Hinton (2016), Layer normalization, equation 4.
    """

    def __init__(self, name: str, features: int, dtype: np.dtype, eps: float = 1e-5) -> None:
        self.name, self.outputs, self.eps = name, features, eps
        self.gamma, self.beta = f"{name}.gamma", f"{name}.beta"
        self.shapes: dict[str, tuple[int, ...]] = {self.gamma: (features,), self.beta: (features,)}
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        params[self.gamma][...] = 1

    def begin(self, generators: Sequence[np.random.Generator]) -> None:
        self.workspace.clear()

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        self.normal = np.subtract(x, self._mean_over_features(x), out=self.workspace.like("normal", x))
        square = np.multiply(self.normal, self.normal, out=self.workspace.like("square", x))
        self.deviation = np.sqrt(self._mean_over_features(square) + self.eps)
        self.normal /= self.deviation
        y = np.multiply(self.normal, params[self.gamma][..., None], out=self.workspace.like("y", x))
        y += params[self.beta][..., None]
        return y

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        gradients[self.beta][...] = sum_over_batch(gradient)
        gradients[self.gamma][...] = dot_over_batch(gradient, self.normal)
        gradient *= params[self.gamma][..., None]
        product = np.multiply(gradient, self.normal, out=self.workspace.like("square", gradient))
        along = self._mean_over_features(product)
        gradient -= self._mean_over_features(gradient)
        gradient -= np.multiply(self.normal, along, out=product)
        gradient /= self.deviation
        return gradient

    def _mean_over_features(self, x: Array) -> Array:
        """Return the mean (R, 1, B), summed in the order of the features in any layout."""
        total = x[:, 0].copy()
        for feature in range(1, self.outputs):
            total += x[:, feature]
        total /= self.outputs
        return total[:, None]


class Dropout:
    """Dropout: y = x / (1 − rate) with probability 1 − rate, and else 0; in evaluation, y = x.

    Parameters
    ----------
    name : of the layer.
    features : the number of features.
    dtype : of all arrays.
    rate : the probability of a 0.

    References
    ----------
    Srivastava et al. (2014), Dropout, section 4, scaled in training as in section 10.
    """

    def __init__(self, name: str, features: int, dtype: np.dtype, rate: float = 0.5) -> None:
        self.name, self.outputs, self.rate = name, features, rate
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        pass

    def begin(self, generators: Sequence[np.random.Generator]) -> list[np.random.Generator]:
        self.workspace.clear()
        return list(generators)

    def forward(
        self, params: Views, x: Array, state: Sequence[np.random.Generator] | None = None
    ) -> Array:
        if state is None:
            return x
        self.mask = self.workspace.like("mask", x)
        for row, rng in enumerate(state):
            self.mask[row] = rng.random(x.shape[1:], np.float32) >= self.rate
        self.mask /= 1 - self.rate
        return np.multiply(x, self.mask, out=self.workspace.like("y", x))

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        gradient *= self.mask
        return gradient


class ActivationLayer:
    """An activation, named as in `optimlab.nn.activations.ACTIVATIONS`, at its place in a network."""

    def __init__(self, name: str, features: int, dtype: np.dtype) -> None:
        self.name, self.outputs = name, features
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation = ACTIVATIONS[name]()
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        pass

    def begin(self, generators: Sequence[np.random.Generator]) -> None:
        self.workspace.clear()

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        return self.activation.forward(x, self.workspace)

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        return self.activation.backward(gradient, self.workspace)


# What a file may put between blocks of Dense and activation: settings, which build the layer.


@dataclass(frozen=True, kw_only=True)
class DropoutSettings:
    """See `Dropout`."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    layer: Literal["dropout"] = "dropout"
    rate: Annotated[float, Gt(0), Lt(1)] = 0.5

    def build(self, name: str, features: int, dtype: np.dtype) -> Layer:
        """Return the layer after so many features."""
        return Dropout(name, features, dtype, self.rate)


@dataclass(frozen=True, kw_only=True)
class LayerNormSettings:
    """See `LayerNorm`."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    layer: Literal["layer_norm"] = "layer_norm"
    eps: Annotated[float, Gt(0), Le(1)] = 1e-5

    def build(self, name: str, features: int, dtype: np.dtype) -> Layer:
        """Return the layer after so many features."""
        return LayerNorm(name, features, dtype, self.eps)


LAYERS: dict[str, type] = {"dropout": DropoutSettings, "layer_norm": LayerNormSettings}
