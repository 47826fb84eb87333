"""Functions of two variables, which show how an optimizer moves.

Each is written with its gradient, and its minimum is 0: the loss is the height above the lowest point,
and fits a log axis. There is no data, so an epoch is one step.

The two saddles equal the textbook's near the origin and rise far from it. Otherwise they would be
unbounded below, and a run that left the saddle, as it should, would end as "diverged".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from optimlab.problems.seeds import generator
from optimlab.validation import Checked

Array = np.ndarray
Point = tuple[float, float]

NOISE_BLOCK = 256  # steps whose noise is drawn at once


def ravine(x: Array, y: Array, condition: float) -> tuple[Array, Array, Array]:
    """(x² + κ y²) / 2: a quadratic bowl with curvatures 1 and κ."""
    return (x * x + condition * y * y) / 2, x, condition * y


def saddle(x: Array, y: Array, condition: float) -> tuple[Array, Array, Array]:
    """x² / 2 + (y² − 1)² / 4κ: curvatures 1 and −1/κ at the origin; Nesterov (2004), example 1.2.2."""
    a = y * y - 1
    return x * x / 2 + a * a / (4 * condition), x, a * y / condition


def monkey_saddle(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """(x³ − 3xy²) / 3 + (x² + y²)² / 4 + 1/12: zero curvature at the origin."""
    square = x * x + y * y
    value = x * (x * x - 3 * y * y) / 3 + square * square / 4 + 1 / 12
    return value, x * x - y * y + square * x, square * y - 2 * x * y


def rosenbrock(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """(1 − x)² + 100 (y − x²)²: a bent valley; Rosenbrock (1960)."""
    a, b = 1 - x, y - x * x
    return a * a + 100 * b * b, -2 * a - 400 * x * b, 200 * b


def beale(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Σ (cₖ − x + xyᵏ)², k = 1, 2, 3: a plateau that ends in steep walls; Beale (1958)."""
    value, along_x, along_y = 0 * x, 0 * x, 0 * x
    power = 1 + 0 * y
    for k, c in enumerate((1.5, 2.25, 2.625), start=1):
        slope = k * power  # of yᵏ
        power = power * y
        a = c - x + x * power
        value, along_x, along_y = (
            value + a * a,
            along_x + 2 * a * (power - 1),
            along_y + 2 * a * x * slope,
        )
    return value, along_x, along_y


def himmelblau(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """(x² + y − 11)² + (x + y² − 7)²: four minima, all equally low; Himmelblau (1972)."""
    a, b = x * x + y - 11, x + y * y - 7
    return a * a + b * b, 4 * x * a + 2 * b, 2 * a + 4 * y * b


def rastrigin(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """20 + x² − 10 cos 2πx + y² − 10 cos 2πy: a minimum near every whole number; Rastrigin (1974)."""
    turn = 2 * np.pi
    value = 20 + x * x - 10 * np.cos(turn * x) + y * y - 10 * np.cos(turn * y)
    return value, 2 * x + 10 * turn * np.sin(turn * x), 2 * y + 10 * turn * np.sin(turn * y)


@dataclass(frozen=True)
class Function:
    """A function of two variables and its known points.

    Attributes
    ----------
    formula : (x, y), and `condition` if it has one → its value and its two partial derivatives.
    minima : the points where it is 0.
    saddles : its saddle points, for functions that are about saddles.
    starts : the points where runs start.
    view : the part of the plane to draw: left, right, bottom, top.
    has_condition : whether its formula takes a condition number.
    """

    formula: Callable[..., tuple[Array, Array, Array]]
    minima: tuple[Point, ...]
    starts: tuple[Point, ...]
    view: tuple[float, float, float, float]
    saddles: tuple[Point, ...] = ()
    has_condition: bool = False


_H = math.sqrt(3) / 2
FUNCTIONS = {
    "ravine": Function(
        ravine,
        minima=((0, 0),),
        starts=((-2.5, 0.6), (-1.5, 1)),
        view=(-3, 1, -1.2, 1.2),
        has_condition=True,
    ),
    "saddle": Function(
        saddle,
        minima=((0, -1), (0, 1)),
        starts=((1.5, 0), (-1, 0)),
        view=(-1.75, 1.75, -1.5, 1.5),
        saddles=((0, 0),),
        has_condition=True,
    ),
    "monkey_saddle": Function(
        monkey_saddle,
        minima=((-1, 0), (0.5, -_H), (0.5, _H)),
        starts=((0.75, 0), (-0.375, 0.75 * _H), (-0.375, -0.75 * _H)),
        view=(-1.5, 1.5, -1.5, 1.5),
        saddles=((0, 0),),
    ),
    "rosenbrock": Function(
        rosenbrock, minima=((1, 1),), starts=((-1.2, 1), (0, -0.5)), view=(-1.75, 1.75, -1, 2)
    ),
    "beale": Function(beale, minima=((3, 0.5),), starts=((1, 1), (4, -0.5)), view=(0, 4.5, -1.5, 1.5)),
    "himmelblau": Function(
        himmelblau,
        minima=(
            (3, 2),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170),
            (3.584428340330492, -1.848126526964404),
        ),
        starts=((0, 0), (0, -4)),
        view=(-5.5, 5.5, -5.5, 5.5),
    ),
    "rastrigin": Function(
        rastrigin, minima=((0, 0),), starts=((2.3, 1.7), (-1.4, 2.6)), view=(-3.5, 3.5, -3.5, 3.5)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Landscape(Checked):
    """A function of two variables, with exact or noisy gradients.

    Parameters
    ----------
    function : its name.
    condition : the ratio κ of the curvatures; for the ravine and the saddle only.
    angle : degrees by which the function is rotated about the origin, anticlockwise. That matters to
        optimizers that scale each coordinate separately, but not to gradient descent.
    spread : the standard deviation of a run's start about one of the function's starting points. Seeds
        take the starting points in turn.
    noise : the standard deviation of the noise on each component of the gradient.
    dtype : "float32" or "float64".
    """

    function: Literal[
        "ravine", "saddle", "monkey_saddle", "rosenbrock", "beale", "himmelblau", "rastrigin"
    ] = "ravine"
    condition: Annotated[float, Ge(1), Le(1e12)] = 1.0
    angle: Annotated[float, Ge(-360), Le(360)] = 0.0
    spread: Annotated[float, Ge(0), Le(1e6)] = 0.1
    noise: Annotated[float, Ge(0), Le(1e6)] = 0.0
    dtype: Literal["float32", "float64"] = "float64"

    def check(self) -> dict[str, str]:
        """Return mistakes in combinations of keys: key → message."""
        if self.condition != 1 and not self._known.has_condition:
            names = " and ".join(name for name, known in FUNCTIONS.items() if known.has_condition)
            return {"condition": f"is only for {names}, got {self.condition:g} for {self.function}"}
        return {}

    def cautions(self) -> dict[str, str]:
        """Return warnings about settings that are allowed but rarely intended: key → message."""
        return {}

    @property
    def _known(self) -> Function:
        return FUNCTIONS[self.function]

    @property
    def minima(self) -> Array:
        """The lowest points (M, 2)."""
        return self._turned(self._known.minima)

    @property
    def saddles(self) -> Array:
        """The saddle points (S, 2), for functions that are about saddles."""
        return self._turned(self._known.saddles)

    @property
    def starts(self) -> Array:
        """The starting points (N, 2) before they are perturbed."""
        return self._turned(self._known.starts)

    @property
    def view(self) -> tuple[float, float, float, float]:
        """The part of the plane to draw: left, right, bottom, top."""
        left, right, bottom, top = self._known.view
        corners = self._turned(((left, bottom), (left, top), (right, bottom), (right, top)))
        low, high = corners.min(axis=0), corners.max(axis=0)
        return float(low[0]), float(high[0]), float(low[1]), float(high[1])

    @property
    def size(self) -> int:
        """Two parameters: the coordinates."""
        return 2

    @property
    def steps_per_epoch(self) -> int:
        """An epoch is a step: there is no data."""
        return 1

    @property
    def stuck_loss(self) -> float:
        """Infinite: no loss shows that a run has learnt nothing."""
        return np.inf

    @property
    def baseline(self) -> str:
        """What a stuck run is no better than; here no run is stuck."""
        return "its start"

    @property
    def loss_unit(self) -> str:
        """Empty: a height has no unit."""
        return ""

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """The coordinates of a run, which are recorded in its traces."""
        return ("x", "y")

    @property
    def run_bytes(self) -> int:
        """Approximate working memory of one run in a step, in bytes."""
        return 50 * np.dtype(self.dtype).itemsize

    def init(self, seeds: Sequence[int]) -> tuple[Array, None]:
        """Return the starting points (R, 2), one row per seed; there is no model."""
        shifts = [generator(seed, "initial_params").normal(size=2) for seed in seeds]
        starts = self.starts[np.array(seeds) % len(self.starts)]
        return (starts + self.spread * np.array(shifts)).astype(self.dtype), None

    def batches(self, seeds: Sequence[int]) -> Iterator[Array | float]:
        """Yield, without end, the noise to add to the gradients: (R, 2), or 0 for none."""
        if self.noise == 0:
            while True:
                yield 0.0
        generators = [generator(seed, "batches") for seed in seeds]
        while True:
            block = np.stack([rng.normal(size=(NOISE_BLOCK, 2)) for rng in generators], axis=1)
            yield from (self.noise * block).astype(self.dtype)

    def loss_and_gradient(
        self, params: Array, batch: Array | float, model: None = None
    ) -> tuple[Array, Array]:
        """Return the height (R,) and its gradient (R, 2), with the noise of the batch."""
        if isinstance(batch, np.ndarray) and len(batch) != len(params):
            raise ValueError(f"params has {len(params)} rows, but the batch has {len(batch)}")
        value, along_x, along_y = self._at(params)
        cos, sin = self._turn
        gradient = np.stack([cos * along_x - sin * along_y, sin * along_x + cos * along_y], axis=1)
        return value, gradient + batch

    def evaluate(self, params: Array, model: None = None) -> dict[str, Array]:
        """Return the height above the lowest point, and the coordinates: name → (R,)."""
        return {"train_loss": self._at(params)[0], "x": params[:, 0], "y": params[:, 1]}

    @property
    def _turn(self) -> tuple[float, float]:
        return math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))

    def _turned(self, points: Sequence[Point]) -> Array:
        cos, sin = self._turn
        return np.reshape([(cos * x - sin * y, sin * x + cos * y) for x, y in points], (-1, 2))

    def _at(self, params: Array) -> tuple[Array, Array, Array]:
        """Return the value and the partial derivatives in the coordinates before the rotation."""
        # A copy, so that numpy takes the same loop for any number of runs: the bits depend on it.
        x, y = np.ascontiguousarray(params.T)
        cos, sin = self._turn
        settings: dict[str, Any] = {"condition": self.condition} if self._known.has_condition else {}
        return self._known.formula(cos * x + sin * y, cos * y - sin * x, **settings)
