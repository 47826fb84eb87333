"""optax's optimizers by name: ``rule = "optax:lion"``, with the extra ``optimlab[optax]``.

Optimizers of optax.contrib are named ``"optax:contrib.prodigy"``. A run is a tree of its named arrays,
so that rules for matrices see matrices. One compiled call takes a step of eight runs of a stack, one
after the other; hyper-parameters that are floats, such as the learning rate, may differ by run and by
step. optax's ``b1``, ``b2`` and ``b3`` are beta1, beta2 and beta3 here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from types import FunctionType
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
import optax

from optimlab.optimizers.base import RANGES, Array, State, Task

REFUSED = {
    "noisy_sgd": "its noise would be the same in all runs",
    "contrib.dpsgd": "it takes the gradients of single samples",
    "contrib.schedule_free": "it wraps another optimizer; use schedule_free_sgd or schedule_free_adamw",
    "contrib.sophia": "it asks for the loss at several points in a step",
}
RENAMED = {"b1": "beta1", "b2": "beta2", "b3": "beta3"}
OPTAX_NAMES = {ours: theirs for theirs, ours in RENAMED.items()}
EIGHT = 8  # runs in a compiled call
CHECKED = ("learning_rate", "beta1", "beta2", "beta3", "momentum")  # optax itself checks little
FIRST_LEARNING_RATE = 0.001  # for optimizers without a default

Layout = tuple[tuple[str, int, tuple[int, ...]], ...]  # name, start and shape of each array in the row


@dataclass(frozen=True)
class OptaxRule:
    """Makes an optimizer from a function of optax, given hyper-parameters by optimlab's names."""

    name: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name → default, for hyper-parameters that are, or may be, numbers, texts or booleans."""
        defaults: dict[str, Any] = {}
        for name, parameter in inspect.signature(_factories()[self.name]).parameters.items():
            default, ours = parameter.default, RENAMED.get(name, name)
            if name == "learning_rate":
                defaults[name] = default if isinstance(default, int | float) else FIRST_LEARNING_RATE
                continue
            may_be_number = float in get_args(parameter.annotation)
            is_open = default is None or default is parameter.empty
            if isinstance(default, bool | int | float | str) or (is_open and may_be_number):
                defaults[ours] = default
        return defaults

    def __call__(self, **given: Any) -> OptaxOptimizer:
        """Return the optimizer.

        Raises
        ------
        ValueError
            If a value is out of range, or optax refuses to take a step.
        """
        optimizer = OptaxOptimizer(self.name, given)
        optimizer.check()
        return optimizer


@dataclass(frozen=True)
class OptaxOptimizer:
    """An optimizer of optax, over the rows of a stack."""

    name: str
    values: dict[str, Any]

    @property
    def learning_rate(self) -> Any:
        """As given: a number, or a column (R, 1)."""
        return self.values.get("learning_rate", FIRST_LEARNING_RATE)

    def check(self) -> None:
        """Raise ValueError unless the values are legal and a step can be traced; nothing is run."""
        for name in CHECKED:
            value = self.values.get(name)
            if isinstance(value, float | np.ndarray) and value not in RANGES[name]:
                raise ValueError(f"{name} must be in {RANGES[name]}, got {value}")
        _check(self.name, self._fixed, tuple(sorted(self._with_fraction)))

    def init(self, params: Array, task: Task | None = None) -> State:
        rows = np.atleast_2d(params)
        layout = _layout(rows.shape[1], task)
        compiled = _compiled(self.name, self._fixed, layout)
        with _precision(rows.dtype):
            states = [compiled.init(*some) for some in _by_eights(self._numbers(rows), rows)]
        return {"optax": states, "layout": layout}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        rows, slopes = np.atleast_2d(params), np.atleast_2d(gradient)  # views
        compiled = _compiled(self.name, self._fixed, state["layout"])
        with _precision(rows.dtype):
            parts = list(_by_eights(self._numbers(rows), rows, slopes))
            for index, (numbers, before, slope) in enumerate(parts):
                after, state["optax"][index] = compiled.step(
                    numbers, slope, state["optax"][index], before
                )
                some = rows[EIGHT * index : EIGHT * (index + 1)]
                some[...] = np.asarray(after)[: len(some)]

    def eval_params(self, params: Array, state: State) -> Array:
        """Return the average of a schedule-free rule, and the parameters of any other."""
        if not isinstance(state["optax"][0], optax.contrib.ScheduleFreeState):
            return params
        rows = np.atleast_2d(params)
        compiled = _compiled(self.name, self._fixed, state["layout"])
        with _precision(rows.dtype):
            parts = zip(state["optax"], _by_eights({}, rows), strict=True)
            averages = [compiled.average(part, some) for part, (_, some) in parts]
        return np.concatenate(averages)[: len(rows)].astype(params.dtype).reshape(params.shape)

    @property
    def _fixed(self) -> tuple[tuple[str, Any], ...]:
        """The hyper-parameters that are compiled in, by optax's names: all that are not floats."""
        return tuple(
            (OPTAX_NAMES.get(name, name), value)
            for name, value in sorted(self.values.items())
            if not _has_fraction(value)
        )

    def _numbers(self, rows: Array) -> dict[str, Array]:
        """Return the other hyper-parameters by optax's names, one number per run."""
        return {
            name: np.broadcast_to(np.ravel(np.asarray(value, rows.dtype)), len(rows))
            for name, value in self._with_fraction.items()
        }

    @property
    def _with_fraction(self) -> dict[str, Any]:
        numbers = {"learning_rate": self.learning_rate, **self.values}
        names = {name: OPTAX_NAMES.get(name, name) for name in numbers}
        return {names[name]: each for name, each in numbers.items() if _has_fraction(each)}


def _has_fraction(value: Any) -> bool:
    return isinstance(value, float | np.ndarray | np.floating)


def _precision(dtype: Any) -> Any:
    """Return a context in which jax uses the precision of the runs."""
    return jax.enable_x64(np.dtype(dtype) == np.float64)


def _layout(size: int, task: Task | None) -> Layout:
    if task is None:
        return (("params", 0, (size,)),)
    slices = task.layout.slices
    return tuple((name, slices[name].start, tuple(shape)) for name, shape in task.layout.shapes.items())


class Compiled(NamedTuple):
    """Compiled functions of eight runs: initialize, take a step, and average."""

    init: Callable[..., Any]
    step: Callable[..., Any]
    average: Callable[..., Any]


@cache
def _compiled(name: str, fixed: tuple[tuple[str, Any], ...], layout: Layout) -> Compiled:
    factory, others = _factories()[name], dict(fixed)

    def tree(row: Any) -> dict[str, Any]:
        return {
            each: row[start : start + int(np.prod(shape))].reshape(shape)
            for each, start, shape in layout
        }

    def row(arrays: dict[str, Any]) -> Any:
        return jax.numpy.concatenate([arrays[each].ravel() for each, _, _ in layout])

    def init(numbers: dict[str, Any], params: Any) -> Any:
        return factory(**numbers, **others).init(tree(params))

    def step(numbers: dict[str, Any], gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
        params = tree(params)
        updates, state = factory(**numbers, **others).update(tree(gradient), state, params)
        return row(optax.apply_updates(params, updates)), state

    def average(state: Any, params: Any) -> Any:
        return row(optax.contrib.schedule_free_eval_params(state, tree(params)))

    return Compiled(*(jax.jit(_for_each_run(function)) for function in (init, step, average)))


def _for_each_run(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *stacked: jax.lax.map(lambda run: function(*run), stacked)


def _by_eights(numbers: dict[str, Array], *stacks: Array) -> Iterator[tuple[Any, ...]]:
    """Yield numbers and stacks for eight runs at a time, the last ones padded with ones and zeros.

    Every stack uses the same compiled loop: under vmap, or in loops of other lengths, the last bits of a
    run would depend on the number of runs. The arrays are copies: optax may keep them, and the memory of
    a gradient is reused.
    """
    for start in range(0, len(stacks[0]), EIGHT):
        part = slice(start, start + EIGHT)
        lacking = max(0, part.stop - len(stacks[0]))
        padded = {
            name: np.pad(each[part], (0, lacking), constant_values=1) for name, each in numbers.items()
        }
        yield padded, *(jax.numpy.array(np.pad(each[part], ((0, lacking), (0, 0)))) for each in stacks)


@cache
def _check(name: str, fixed: tuple[tuple[str, Any], ...], numbers: tuple[str, ...]) -> None:
    """Raise ValueError unless a step of a small matrix can be traced."""
    compiled = _compiled(name, fixed, (("weight", 0, (2, 2)),))
    values, row = dict.fromkeys(numbers, np.ones(1)), np.ones((1, 4))
    try:
        with _precision(float):
            state = jax.eval_shape(compiled.init, values, row)
            jax.eval_shape(compiled.step, values, row, state, row)
    except Exception as error:  # optax and jax may raise anything
        reason = str(error).partition("\n")[0]
        if "missing" in reason and "update" in reason:
            reason = "it asks for more than the gradient, such as the loss at several points"
        raise ValueError(f"optax:{name} cannot be used: {reason}") from error


@cache
def _factories() -> dict[str, Callable[..., Any]]:
    """Return name → function, for all that take a learning rate and return an optimizer."""
    factories: dict[str, Callable[..., Any]] = {}
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name, value in vars(module).items():
            if not isinstance(value, FunctionType | partial) or name.startswith(("_", "scale_by")):
                continue
            if "learning_rate" in inspect.signature(value).parameters:
                factories[prefix + name] = value
    return factories


def find(name: str) -> OptaxRule:
    """Return the rule of optax with a name.

    Raises
    ------
    ValueError
        If there is none (the message has the nearest names), or it cannot be used on rows.
    """
    known = _factories()
    if name not in known:
        nearest = get_close_matches(name, known, n=3, cutoff=0.3)
        raise ValueError(
            f"optax has no optimizer {name}; the nearest are {', '.join(nearest) or 'none'}"
        )
    if name in REFUSED:
        raise ValueError(f"optax:{name} cannot be used: {REFUSED[name]}")
    rule = OptaxRule(name)
    if not any(default is inspect.Parameter.empty for default in rule.hyperparameters.values()):
        rule(learning_rate=FIRST_LEARNING_RATE)
    return rule
