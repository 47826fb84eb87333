"""Refusals: values, candidates and stacks that a rule does not accept, each with a message."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optimlab.errors import Interrupted
from optimlab.experiment.candidates import RATE
from optimlab.experiment.mixing import ADVICE, is_repeatable, mixes_runs, wrong_points, wrong_references
from optimlab.experiment.optimizer_table import TABLE_KEYS
from optimlab.experiment.registry import Wrapped
from optimlab.experiment.runs import RUN_COLUMNS
from optimlab.metrics import is_final
from optimlab.optimizers import BY_KEY, RULES
from optimlab.validation import can_be_kept, show, unknown

MOST_TRIED_OUT = 30  # candidates in the check of a plug-in
SECONDS_TO_TRY_OUT = 15.0  # after which no other candidate is tried out
NOT_REPEATABLE = (
    "a run of it does not give the same numbers twice: draw random numbers from task.generators, which "
    "`init(params, task)` gets, and keep what is remembered in the state, not in the class or module"
)
Rule = Callable[..., Any]


def wrong_default(name: str, default: Any) -> str | None:
    """Return why a plug-in's hyper-parameter cannot be a key of a table; None if it can."""
    if name in TABLE_KEYS:
        return f"its hyper-parameter {name} has the name of a key of the optimizer's table"
    if name in RUN_COLUMNS or is_final(name):
        return f"its hyper-parameter {name} has the name of a column of runs.csv"
    if default is inspect.Parameter.empty or can_be_kept(default):
        return None
    if isinstance(default, float):
        return f"the default of {name} must be finite, got {default}; None may mean no limit"
    return f"the default of {name} must be a number, a text, true, false or None"


def wrong_value(rule: Rule, legal: Mapping[str, Any], name: str, value: Any) -> str | None:
    """Return what is wrong with one hyper-parameter; None if nothing is."""
    if name == "learning_rate":
        return "unknown key; did you mean learning_rates, a list?"
    if name not in legal:
        return unknown(name, list(dict.fromkeys([*legal, *BY_KEY, *TABLE_KEYS])))
    if value == []:
        return "must not be empty"
    if not isinstance(value, bool | int | float | str):
        hint = "; ranges and choices belong in search" if isinstance(value, dict) else ""
        return f"must be a number, a text, true or false, got {show(value)}{hint}"
    is_endless = isinstance(value, float) and not math.isfinite(value)
    message = f"must be finite, got {show(value)}" if is_endless else None
    try:
        rule(learning_rate=0.01, **{name: value})
    except ValueError as error:
        return str(error)
    except Interrupted:
        raise
    except BaseException:  # a plug-in may raise anything, and may need other arguments
        return message
    return message


def wrong_on_axis(rule: Rule, legal: Mapping[str, Any], name: str, value: Any) -> str | None:
    """Return what is wrong with a value of an axis; None if nothing is."""
    if name != RATE:
        return wrong_value(rule, legal, name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, got {show(value)}"
    return None if 1e-30 <= value <= 1e30 else f"must be in [1e-30, 1e30], got {show(value)}"


def wrong_together(rule: Rule, given: Mapping[str, Any]) -> str | None:
    """Return why the rule refuses all hyper-parameters together; None if it does not."""
    try:
        rule(**{"learning_rate": 0.01, **given})
    except ValueError as error:
        return str(error)
    except Interrupted:
        raise
    except BaseException as error:  # a plug-in may raise anything
        return f"{type(error).__name__}: {error}"
    return None


def wrong_candidate(
    rule: Rule, fixed: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return why the rule refuses a candidate, for the first one that it refuses; otherwise None."""
    for values, _ in by_others(tried):
        message = wrong_together(rule, {**fixed, **values})
        if message:
            return f"{_named(values)}{message}"
    return None


def wrong_stacked(
    rule: Rule, fixed: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return how a plug-in mixes the runs of a stack or misuses the loop's arrays; None if it does not.

    Of many candidates, or of a slow rule's, only some are checked: the sweep checks all stacks again.
    """
    innermost = rule
    while isinstance(innermost, Wrapped):
        innermost = innermost.rule
    if innermost in RULES.values():  # which a wrapper leaves sound
        return None
    rates = [values[RATE] for values in tried]
    ends = time.monotonic() + SECONDS_TO_TRY_OUT
    for values, group in spread(by_others(tried)):
        if not rates or time.monotonic() > ends:
            break
        given, group = {**fixed, **values}, group if len(group) > 1 else rates
        if wrong := wrong_points(rule, given, group):
            return f"{_named(values)}{wrong}"
        if mixes_runs(rule, given, group):
            if not is_repeatable(rule, given, group):
                return f"{_named(values)}{NOT_REPEATABLE}"
            return f"{_named(values)}its step mixes the runs of a stack: {ADVICE}"
        if wrong := wrong_references(rule, given, group):
            return f"{_named(values)}{wrong}"
    return None


def by_others(
    tried: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], list[float]]]:
    """Return the distinct values of the tuned hyper-parameters except the rate, each with its rates."""
    groups: dict[str, tuple[dict[str, Any], list[float]]] = {}
    for values in tried:
        others = {name: value for name, value in values.items() if name != RATE}
        groups.setdefault(repr(others), (others, []))[1].append(values[RATE])
    return list(groups.values())


def spread(groups: list[Any]) -> list[Any]:
    """Return some of many items, evenly spread."""
    return groups[:: -(-len(groups) // MOST_TRIED_OUT) or 1]


def _named(values: Mapping[str, Any]) -> str:
    """Return a candidate for a message: "with momentum = 0.9: "; "" if only the rate varies."""
    words = ", ".join(f"{name} = {show(value)}" for name, value in values.items())
    return f"with {words}: " if words else ""
