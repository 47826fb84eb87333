"""A search: candidates drawn from a space whose axes are in the file.

The points form a scrambled Halton sequence. Its seed depends only on the axes, so the first
trials of a larger budget are those of a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le, Len
from pydantic import AllowInfNan, BaseModel, ConfigDict

from optimlab.experiment.candidates import RATE, Axis
from optimlab.optimizers import BY_KEY, RANGES
from optimlab.validation import Mistake, can_be_kept, show, unknown, validate

DRAWS = 100  # per point that is found, at most, since values may recur

Number = Annotated[float, AllowInfNan(False)]


class Shared(BaseModel):
    """The search that all optimizers share, at the top of the file."""

    model_config = ConfigDict(extra="forbid")
    trials: Annotated[int, Ge(1), Le(10_000)] | None = None


class Span(BaseModel):
    """The numbers between two ends, uniform on a scale."""

    model_config = ConfigDict(extra="forbid")
    min: Number
    max: Number
    scaling: Literal["log", "linear", "one_minus_log"] | None = None


class Choices(BaseModel):
    """A few values."""

    model_config = ConfigDict(extra="forbid")
    choices: Annotated[list[Any], Len(1, 1000)]


def read_axes(
    table: Mapping[str, Any],
    key: str,
    defaults: Mapping[str, Any],
    wrong: Callable[[str, Any], str | None],
    mistakes: list[Mistake],
) -> list[Axis]:
    """Return the axes of an optimizer's search, and add their mistakes to `mistakes`.

    Parameters
    ----------
    table : hyper-parameter → its span or choices.
    key : the key of the search in the file.
    defaults : the rule's defaults; a span between whole numbers is whole if the default is.
    wrong : returns why a hyper-parameter cannot have a value; None if it can.
    """
    axes = []
    for name, given in table.items():
        where, count = f"{key}.{name}", len(mistakes)
        if name not in (RATE, *defaults):
            known = [RATE, *dict.fromkeys([*defaults, *BY_KEY]), "trials"]
            mistakes.append(Mistake(where, unknown(name, known)))
            continue
        if not isinstance(given, dict):
            text = f"must be a table with min and max, or with choices, got {show(given)}"
            mistakes.append(Mistake(where, text))
            continue
        if "choices" in given:
            axis = _choices(name, given, where, mistakes)
            tried = {f"choices[{number}]": value for number, value in enumerate(axis.levels, start=1)}
        else:
            axis = _span(name, given, where, defaults.get(name), mistakes)
            tried = {"min": given.get("min"), "max": given.get("max")}
        if len(mistakes) > count:
            continue
        messages = [(end, wrong(name, value)) for end, value in tried.items()]
        mistakes += [Mistake(f"{where}.{end}", message) for end, message in messages if message]
        axes.append(axis)
    return axes


def _choices(name: str, given: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> Axis:
    validate(Choices, given, key, mistakes)
    choices = given["choices"] if isinstance(given["choices"], list) else []
    if any(isinstance(value, list | dict) for value in choices):
        mistakes.append(Mistake(f"{key}.choices", "must hold numbers, texts, true and false"))
        return Axis(name, ())
    values = [float(v) if name == RATE and isinstance(v, int) else v for v in choices]
    return Axis(name, tuple(dict.fromkeys(values)))


def _span(name: str, given: Mapping[str, Any], key: str, default: Any, mistakes: list[Mistake]) -> Axis:
    span: Span | None = validate(Span, given, key, mistakes)
    if span is None:
        return Axis(name, ())
    scaling = span.scaling or ("log" if name == RATE else "linear")
    is_int = isinstance(default, int) and not isinstance(default, bool)
    is_whole = is_int or (name in RANGES and RANGES[name].is_whole)
    is_whole = is_whole and all(isinstance(given[end], int) for end in ("min", "max"))
    if span.min >= span.max:
        mistakes.append(Mistake(f"{key}.max", f"must be above min, {span.min:g}, got {show(span.max)}"))
    elif scaling == "log" and span.min <= 0:
        mistakes.append(Mistake(f"{key}.min", f"must be above 0 on a log scale, got {show(span.min)}"))
    elif scaling == "one_minus_log" and span.max >= 1:
        text = f"must be below 1 on the scale of log(1 − value), got {show(span.max)}"
        mistakes.append(Mistake(f"{key}.max", text))
    elif scaling == "one_minus_log" and is_whole:
        mistakes.append(Mistake(f"{key}.scaling", "must be log or linear for whole numbers"))
    return Axis(name, (), span.min, span.max, scaling, is_whole)


def grid(given: Mapping[str, Any]) -> list[Axis]:
    """Return the axes of the hyper-parameters with several values."""
    axes = []
    for name, values in given.items():
        if isinstance(values, list):
            different = tuple(dict.fromkeys(values)) if all(map(can_be_kept, values)) else ()
            is_number = all(isinstance(value, int | float) for value in different)
            if len(different) > 1:
                axes.append(Axis(name, tuple(sorted(different)) if is_number else different))
    return axes


def draw(
    axes: Sequence[Axis], trials: int, tried: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Return the values of distinct points of a space, fewer than `trials` if it has no more.

    Parameters
    ----------
    axes : the axes of the space.
    trials : the number of points.
    tried : returns whether a point's values are left out because they are tried anyway.
    """
    found: dict[str, dict[str, Any]] = {}
    for index, point in enumerate(_halton(axes)):
        if len(found) == trials or index >= DRAWS * len(found) + 1000:
            break
        values = {axis.name: axis.at(float(u)) for axis, u in zip(axes, point, strict=True)}
        if not tried(values):
            found.setdefault(repr(values), values)
    return list(found.values())


def _halton(axes: Sequence[Axis]) -> Iterator[np.ndarray]:
    """Yield the points of the unit cube that belong to these axes, without end."""
    from scipy.stats import qmc  # slow to import, so only for a search

    seed = int.from_bytes(sha256(repr([(axis.name, *axis.ends) for axis in axes]).encode()).digest()[:8])
    sequence = qmc.Halton(len(axes), scramble=True, seed=np.random.default_rng(seed))
    while True:
        yield from sequence.random(64)
