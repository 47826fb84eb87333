"""The schedules of an optimizer: from TOML to checked settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optimlab.data.named import is_own
from optimlab.errors import Interrupted, raised
from optimlab.experiment.candidates import RATE
from optimlab.experiment.optimizer_table import OptimizerTable
from optimlab.experiment.refusals import Rule, wrong_together
from optimlab.experiment.registry import load_schedule
from optimlab.experiment.spec import CURVE
from optimlab.schedules import SCHEDULES, Schedule, settings_of
from optimlab.validation import Mistake, resolve, show, unknown

AT_START = ("initial_distance",)  # used at the first step only, or must not change


def read_schedules(
    each: OptimizerTable, legal: Mapping[str, Any], mistakes: list[Mistake]
) -> dict[str, dict[str, Any]]:
    """Return the optimizer's schedules, hyper-parameter → settings, without constant ones.

    A shared schedule for a hyper-parameter that this rule lacks is left out.
    """
    schedules = {}
    others = each.keys.schedules or {}
    for table, key in ((others, f"{each.key}."), (each.document.schedules or {}, "")):
        if RATE in table:
            text = "the key for the learning rate is `schedule`"
            mistakes.append(Mistake(f"{key}schedules.{RATE}", text))
    for name, (key, value) in sorted(each.schedules.items(), key=lambda item: item[0] != RATE):
        if name != RATE and name not in legal:
            if name in others:
                mistakes.append(Mistake(key, unknown(name, list(legal))))
            continue
        schedule = _read_schedule(value, key, mistakes)
        if schedule and schedule != {"name": "constant", "warmup": 0.0}:
            schedules[name] = schedule
    return schedules


def _read_schedule(value: Any, key: str, mistakes: list[Mistake]) -> dict[str, Any] | None:
    """Return a schedule's settings as a table; None for "none" and, with a mistake, if illegal."""
    table = {"name": value} if isinstance(value, str) else value
    name = table.get("name") if isinstance(table, dict) else None
    if is_own(name) or value == "none":
        return None if value == "none" else dict(table)
    if isinstance(table, dict) and name is None:
        names = ", ".join(f'"{each}"' for each in SCHEDULES)
        mistakes.append(Mistake(f"{key}.name", f"is missing: it is one of {names}"))
        return None
    schedule = resolve(value, "name", SCHEDULES, key, mistakes)
    return None if schedule is None else settings_of(schedule)


def wrong_schedule(
    rule: Rule,
    ends: list[dict[str, Any]],
    values: Mapping[str, Any],
    name: str,
    settings: dict[str, Any],
    each: OptimizerTable,
) -> str | None:
    """Return what is wrong with a schedule at any step of a run; None if nothing is.

    Parameters
    ----------
    rule : the class or function of the optimizer.
    ends : its hyper-parameters, with the lowest and the highest learning rate.
    values : all hyper-parameters, including defaults.
    name, settings : the hyper-parameter, and its schedule.
    each : the table of the optimizer.
    """
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} must be a number to have a schedule, got {show(value)}"
    if name in AT_START:
        return f"{name} only matters at the start"
    try:
        schedule = load_schedule(settings, each.folder)
        factors = {
            (step, steps): schedule.factor(step, steps)
            for steps in each.lengths or (CURVE,)
            for step in _steps_to_look_at(steps, schedule)
        }
        again = {place: schedule.factor(*place) for place in reversed(factors)}
    except Interrupted:
        raise
    except Exception as error:  # user code may raise anything
        return raised(error)
    for (step, steps), factor in factors.items():
        where = f"at step {step:,} of {steps:,}"
        if not math.isfinite(factor):
            return f"{where}, its factor must be finite, got {factor}"
        if again[step, steps] != factor:
            differs = f"its factor is {factor:g} and then {again[step, steps]:g}"
            return f"{where}, {differs}: it must depend on the progress alone"
        for given in ends:
            wrong = wrong_together(rule, {**given, name: given.get(name, value) * factor})
            if wrong:
                return f"{where}, {wrong}"
    return None


def _steps_to_look_at(steps: int, schedule: Schedule) -> list[int]:
    """Return the steps that a schedule is checked at: the first, the last, and many between."""
    warm = round(getattr(schedule, "warmup", 0) * steps)
    between = np.linspace(1, steps, min(steps, CURVE), dtype=int).tolist()
    return sorted({*between, *(step for step in (warm, warm + 1) if 1 <= step <= steps)})
