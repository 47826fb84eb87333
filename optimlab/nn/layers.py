"""Layers: Dense, batch and layer normalization, dropout, activation.

Data flows as (R, features, batch): R runs side by side, each sample a column. A layer reads its
parameters from named views of the flat rows and writes their gradients to named views of another
array of the same layout. `forward` keeps what `backward` needs, and both may overwrite what they are
given, because between them the layers pass on one array rather than copy it. What outlives a step is not
kept in the layer: it is the state that `begin` returns, one entry per run, and belongs to a stack.

The formulas are the loops, each before its layer. They read parameters that are (R, features) in memory:
so one program serves a stack of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from annotated_types import Gt, Le, Lt

from optimlab.nn.activations import ACTIVATIONS, Activation
from optimlab.nn.compiled import compiled, rounded
from optimlab.nn.parameters import Workspace
from optimlab.validation import Checked

Array = np.ndarray
Views = dict[str, Array]


class Layer(Protocol):
    """What a network asks of a layer."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    outputs: int
    workspace: Workspace

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        """Write the initial parameters over zeros, those of run r drawn by generator r alone."""
        return

    def begin(self, generators: Sequence[np.random.Generator]) -> Any:
        """Return the state of a new stack, one generator per run; None where nothing is kept."""
        self.workspace.clear()
        return None

    def forward(self, params: Views, x: Array, state: Any = None) -> Array:
        """Return y (R, outputs, B) for x (R, inputs, B), in training mode.

        The state is changed in place.
        """

    def evaluate(self, params: Views, x: Array) -> Array:
        """Return y (R, outputs, B) for x (R, inputs, B), in evaluation mode."""
        return self.forward(params, x)

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


# OpenBLAS multiplies 1.5 times as fast where a product has at most so many multiplications.
MULTIPLICATIONS = 10**6
FEWEST_SAMPLES = 64  # that are worth a product of their own


def has_parts(weights: int) -> bool:
    """Return whether products with so many weights are faster in parts of the batch."""
    return weights * FEWEST_SAMPLES <= MULTIPLICATIONS


def parts_of(samples: int, weights: int) -> Iterator[slice]:
    """Yield the parts of a batch to be multiplied with so many weights, or all of it."""
    size = MULTIPLICATIONS // weights // 16 * 16 if has_parts(weights) else samples  # whole vectors
    for start in range(0, samples, size):
        yield slice(start, start + size)


def product(w: Array, x: Array, out: Array) -> Array:
    """Return w x, in `out`, of matrices (…, m, k) and (…, k, B)."""
    if w[0].size * x.shape[-1] <= MULTIPLICATIONS:
        return np.matmul(w, x, out=out)
    for part in parts_of(x.shape[-1], w[0].size):
        np.matmul(w, x[..., part], out=out[..., part])
    return out


def outer_product(x: Array, dy: Array, out: Array) -> Array:
    """Return x dyᵀ, in `out`, of matrices (…, m, B) and (…, k, B): a sum over the batch."""
    if out[0].size * x.shape[-1] <= MULTIPLICATIONS:
        return np.matmul(x, dy.mT, out=out)
    out[...] = 0
    for part in parts_of(x.shape[-1], out[0].size):
        out += np.matmul(x[..., part], dy[..., part].mT)
    return out


@compiled
def add_bias(y: Array, bias: Array) -> None:
    """y ← y + b."""
    for run in range(y.shape[0]):
        for feature in range(y.shape[1]):
            for sample in range(y.shape[2]):
                y[run, feature, sample] += bias[run, feature]


class Dense(Layer):
    """Fully connected: y = Wᵀ x + b, with W (inputs, outputs) and b (outputs,).

    Gradients: dW = x dyᵀ, db = Σ dy, dx = W dy.

    Parameters
    ----------
    name : the first part of its parameters' names.
    inputs, outputs : the number of features before and after.
    bias : whether there is a b.
    dtype : of all arrays.
    initialization : of the weights, a key of `INITIALIZATIONS`. The bias starts at 0.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        bias: bool,
        dtype: np.dtype,
        initialization: str = "uniform",
    ) -> None:
        self.name, self.inputs, self.outputs, self.dtype = name, inputs, outputs, dtype
        self.initialization = initialization
        self.weight, self.bias = f"{name}.weight", f"{name}.bias"
        self.shapes: dict[str, tuple[int, ...]] = {self.weight: (inputs, outputs)}
        if bias:
            self.shapes[self.bias] = (outputs,)
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        draw = INITIALIZATIONS[self.initialization]
        for row, rng in enumerate(generators):
            params[self.weight][row] = draw(rng, self.outputs, self.inputs).T

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        self.x = x
        return self.evaluate(params, x)

    def evaluate(self, params: Views, x: Array, out: Array | None = None) -> Array:
        """Return y, written to `out` if that is given."""
        y = self._product(params, x, out)
        if self.bias in params:
            add_bias(y, np.ascontiguousarray(params[self.bias]))
        return y

    def evaluate_activated(self, activation: Activation, params: Views, x: Array) -> Array:
        """Return f(Wᵀ x + b), in evaluation mode: bias and activation in one pass."""
        y = self._product(params, x)
        bias = params[self.bias] if self.bias in params else np.zeros(y.shape[:2], self.dtype)
        activation.after_bias(y, np.ascontiguousarray(bias))
        return y

    def _product(self, params: Views, x: Array, out: Array | None = None) -> Array:
        weight = params[self.weight]
        y = self.workspace.array("y", (len(weight), self.outputs, x.shape[-1])) if out is None else out
        return product(weight.mT, x, y)

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        self.parameter_gradients(gradients, gradient)
        weight = params[self.weight]
        dx = self.workspace.array("dx", (len(weight), self.inputs, gradient.shape[-1]))
        return product(weight, gradient, dx)

    def parameter_gradients(self, gradients: Views, gradient: Array) -> None:
        """Write dW and db only: the first layer of a network is not asked for dx."""
        outer_product(self.x, gradient, gradients[self.weight])
        if self.bias in gradients:
            np.einsum("rfb->rf", np.ascontiguousarray(gradient), out=gradients[self.bias])


@rounded
def decay(sums: Array, new: Array, momentum: float) -> None:
    """Σ ← m Σ + (1 − m) new."""
    keep, add = sums.dtype.type(momentum), sums.dtype.type(1 - momentum)
    for which in range(sums.shape[0]):
        for run in range(sums.shape[1]):
            for feature in range(sums.shape[2]):
                old = sums[which, run, feature]
                sums[which, run, feature] = keep * old + add * new[which, run, feature]


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
        decay(self.sums, statistics, self.momentum)

    def statistics(self) -> Array:
        """Return the running mean and variance (2, R, features); 0 and 1 before the first step."""
        if self.steps == 0:
            return np.stack([self.sums[0], np.ones_like(self.sums[1])])
        return self.sums / (1 - self.momentum**self.steps)


@compiled
def batch_normalized(x: Array, gamma: Array, beta: Array, eps: Any, y: Array, statistics: Array) -> None:
    """y ← γ (x − μ) / √(σ² + ε) + β, with μ = Σ x / N and σ² = Σ (x − μ)² / N, both kept."""
    mean, variance = statistics[0], statistics[1]
    zero, count = x.dtype.type(0), x.dtype.type(x.shape[2])
    for run in range(x.shape[0]):
        for feature in range(x.shape[1]):
            total = zero
            for sample in range(x.shape[2]):
                total += x[run, feature, sample]
            mean[run, feature] = total / count
        for feature in range(x.shape[1]):
            squares, centre = zero, mean[run, feature]
            for sample in range(x.shape[2]):
                squares += (x[run, feature, sample] - centre) * (x[run, feature, sample] - centre)
            variance[run, feature] = squares / count
        for feature in range(x.shape[1]):
            scale = gamma[run, feature] / np.sqrt(variance[run, feature] + eps)
            centre, shift = mean[run, feature], beta[run, feature]
            for sample in range(x.shape[2]):
                y[run, feature, sample] = scale * (x[run, feature, sample] - centre) + shift


@compiled
def batch_norm_gradients(
    d: Array, x: Array, gamma: Array, eps: Any, statistics: Array, gradients: Array
) -> None:
    """d ← γ / √(σ² + ε) · (d − Σ d / N − (x − μ) / (σ² + ε) · Σ d (x − μ) / N); and dγ, dβ."""
    mean, variance, by_gamma, by_beta = statistics[0], statistics[1], gradients[0], gradients[1]
    zero, count = x.dtype.type(0), x.dtype.type(x.shape[2])
    for run in range(x.shape[0]):
        for feature in range(x.shape[1]):
            centre, square = mean[run, feature], variance[run, feature] + eps
            total, along = zero, zero
            for sample in range(x.shape[2]):
                total += d[run, feature, sample]
                along += d[run, feature, sample] * (x[run, feature, sample] - centre)
            by_beta[run, feature] = total
            by_gamma[run, feature] = along / np.sqrt(square)
            scale = gamma[run, feature] / np.sqrt(square)
            shift, slope = total / count, along / (square * count)
            for sample in range(x.shape[2]):
                from_centre = x[run, feature, sample] - centre
                d[run, feature, sample] = scale * (d[run, feature, sample] - shift - slope * from_centre)


class Normalization(Layer):
    """What batch and layer normalization share: γ and β of each feature, which begin at 1 and 0."""

    def __init__(self, name: str, features: int, dtype: np.dtype, eps: float) -> None:
        self.name, self.outputs, self.dtype, self.eps = name, features, dtype, dtype.type(eps)
        self.gamma, self.beta = f"{name}.gamma", f"{name}.beta"
        self.shapes: dict[str, tuple[int, ...]] = {self.gamma: (features,), self.beta: (features,)}
        self.workspace = Workspace(dtype)

    def initialize(self, params: Views, generators: Sequence[np.random.Generator]) -> None:
        params[self.gamma][...] = 1


class BatchNorm(Normalization):
    """Batch normalization: y = γ (x − μ) / √(σ² + ε) + β, feature by feature.

    `forward` takes the batch's mean and (biased) variance for μ and σ², and in training keeps
    `RunningAverages` of both, which may take their place in evaluation (`folded_into`).

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
        self, name: str, features: int, dtype: np.dtype, eps: float = 0.01, momentum: float = 0.99
    ) -> None:
        super().__init__(name, features, dtype, eps)
        self.momentum = momentum

    def begin(self, generators: Sequence[np.random.Generator]) -> RunningAverages:
        super().begin(generators)
        return RunningAverages(np.zeros((2, len(generators), self.outputs), self.dtype), self.momentum)

    def forward(self, params: Views, x: Array, state: RunningAverages | None = None) -> Array:
        self.x = x = np.ascontiguousarray(x)  # backward wants it as well as y
        y = self.workspace.array("y", x.shape)
        self.statistics = self.workspace.array("statistics", (2, *x.shape[:2]))
        self.factors = np.ascontiguousarray(params[self.gamma])
        shifts = np.ascontiguousarray(params[self.beta])
        batch_normalized(x, self.factors, shifts, self.eps, y, self.statistics)
        if state is not None:
            state.add(self.statistics)
        return y

    def folded_into(self, dense: Dense, params: Views, state: RunningAverages) -> Views:
        """Return `params` with this layer a part of `dense`, and without its own γ and β.

        With running averages batch norm is a fixed scale and shift of each feature: a part of Dense.
        """
        mean, variance = state.statistics()
        scale = params[self.gamma] / np.sqrt(variance + self.eps)
        shift = params[self.beta] - mean * scale
        if dense.bias in params:
            shift += params[dense.bias] * scale
        weight = params[dense.weight] * scale[:, None]
        others = {name: view for name, view in params.items() if name not in self.shapes}
        return others | {dense.weight: weight, dense.bias: shift}

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        d = np.ascontiguousarray(gradient)
        both = self.workspace.array("gradients", self.statistics.shape)
        batch_norm_gradients(d, self.x, self.factors, self.eps, self.statistics, both)
        gradients[self.gamma][...], gradients[self.beta][...] = both[0], both[1]
        return d


class LayerNorm(Normalization):
    """Layer normalization: y = γ (x − μ) / √(σ² + ε) + β, with μ and σ² of each sample's features.

    It is batch norm with features and samples exchanged, but for γ and β, which are the features' still.
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
        super().__init__(name, features, dtype, eps)

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        self.x = np.ascontiguousarray(x.mT)
        normal = self.workspace.array("normal", self.x.shape)
        self.statistics = self.workspace.array("statistics", (2, *self.x.shape[:2]))
        self.ones = np.ones_like(self.statistics[0])  # γ of every sample, whose β is 0
        zeros = np.zeros_like(self.ones)
        batch_normalized(self.x, self.ones, zeros, self.eps, normal, self.statistics)
        self.normal = np.ascontiguousarray(normal.mT)
        return self.normal * params[self.gamma][..., None] + params[self.beta][..., None]

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        gradients[self.beta][...] = gradient.sum(axis=-1)
        gradients[self.gamma][...] = np.vecdot(gradient, self.normal)
        d = np.ascontiguousarray((gradient * params[self.gamma][..., None]).mT)
        unused = np.empty_like(self.statistics)
        batch_norm_gradients(d, self.x, self.ones, self.eps, self.statistics, unused)
        return np.ascontiguousarray(d.mT)


class Dropout(Layer):
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

    def begin(self, generators: Sequence[np.random.Generator]) -> list[np.random.Generator]:
        super().begin(generators)
        return list(generators)

    def forward(
        self, params: Views, x: Array, state: Sequence[np.random.Generator] | None = None
    ) -> Array:
        if state is None:
            return x
        self.mask = self.workspace.array("mask", x.shape)
        for row, rng in enumerate(state):
            self.mask[row] = rng.random(x.shape[1:], np.float32) >= self.rate
        self.mask /= 1 - self.rate
        return np.multiply(x, self.mask, out=self.workspace.array("y", x.shape))

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        gradient *= self.mask
        return gradient


class ActivationLayer(Layer):
    """An activation, named as in `optimlab.nn.activations.ACTIVATIONS`, as a layer."""

    def __init__(self, name: str, features: int, dtype: np.dtype) -> None:
        self.name, self.outputs = name, features
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation = ACTIVATIONS[name]
        self.workspace = Workspace(dtype)

    def forward(self, params: Views, x: Array, state: None = None) -> Array:
        y = np.ascontiguousarray(x)
        self.slope = self.workspace.array("slope", (len(y), y[0].size))
        self.activation.with_slope(y.reshape(self.slope.shape), self.slope)
        return y

    def backward(self, params: Views, gradients: Views, gradient: Array) -> Array:
        gradient *= self.slope.reshape(gradient.shape)
        return gradient


@dataclass(frozen=True, kw_only=True)
class DropoutSettings(Checked):
    """The settings of `Dropout` in a file."""

    layer: Literal["dropout"] = "dropout"
    rate: Annotated[float, Gt(0), Lt(1)] = 0.5

    def build(self, name: str, features: int, dtype: np.dtype) -> Layer:
        """Return the layer for that many input features."""
        return Dropout(name, features, dtype, self.rate)


@dataclass(frozen=True, kw_only=True)
class LayerNormSettings(Checked):
    """The settings of `LayerNorm` in a file."""

    layer: Literal["layer_norm"] = "layer_norm"
    eps: Annotated[float, Gt(0), Le(1)] = 1e-5

    def build(self, name: str, features: int, dtype: np.dtype) -> Layer:
        """Return the layer for that many input features."""
        return LayerNorm(name, features, dtype, self.eps)


# What a file may put between blocks of Dense and activation: settings, which build the layer.
LAYERS: dict[str, type] = {"dropout": DropoutSettings, "layer_norm": LayerNormSettings}
