"""The tables of optimizers: from TOML to rules with checked candidates and schedules."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from optimlab.experiment.candidates import DEFAULT, RATE, Axis, candidates, combinations
from optimlab.experiment.document import Document
from optimlab.experiment.names import NAME_RULE, is_legal_name
from optimlab.experiment.optimizer_table import TABLE_KEYS, OptimizerTable, read_optimizer
from optimlab.experiment.read_schedules import read_schedules, wrong_schedule
from optimlab.experiment.refusals import (
    Rule,
    by_others,
    spread,
    wrong_candidate,
    wrong_default,
    wrong_on_axis,
    wrong_stacked,
    wrong_together,
    wrong_value,
)
from optimlab.experiment.registry import hyperparameters, load_rule, load_schedule, with_keys
from optimlab.experiment.search import draw, grid, read_axes
from optimlab.experiment.spec import CURVE, OptimizerSetting, ProblemSetting
from optimlab.experiment.trials import Trial, TrialWorker
from optimlab.optimizers import RANGES
from optimlab.validation import Mistake, no_table, split_labels

MOST_CANDIDATES = 10_000  # per optimizer
Checked = tuple[OptimizerSetting | None, list[Mistake]]


def check_optimizers(
    document: Document,
    folder: Path,
    lengths: tuple[int, ...],
    worker: TrialWorker,
    mistakes: list[Mistake],
) -> list[OptimizerSetting]:
    """Return the optimizers without mistakes.

    Parameters
    ----------
    document : the content of the file.
    folder : the file's folder.
    lengths : the numbers of steps that the problems train for.
    worker : runs user code.
    mistakes : the list to add mistakes to.
    """
    tables = document.optimizers or {}
    checks: dict[str, Callable[[], Checked]] = {}
    trials: dict[str, Trial] = {}
    for label, given in tables.items():
        key = f"optimizers.{label}"
        if not is_legal_name(label):
            mistakes.append(Mistake(key, f"a label is {NAME_RULE}"))
        elif not isinstance(given, dict):
            mistakes.append(Mistake(key, no_table(key, given)))
        else:
            wrong_keys: list[Mistake] = []
            table = read_optimizer(label, given, document, folder, lengths, wrong_keys)
            checks[label] = partial(_check_optimizer, table, wrong_keys)
            if table.own_names:
                trials[label] = Trial(checks[label], table.rule_key, table.own_names)
    tried = worker.try_out(trials)
    settings: list[OptimizerSetting] = []
    for label, check in checks.items():
        setting, found = tried[label] if label in tried else check()
        mistakes += [each for each in found if each not in mistakes]  # shared ones once
        settings += [setting] if setting else []
    if settings and len(settings) == len(tables):
        mistakes += _idle_schedules(document, settings)
    settings = _without_twins(settings)
    for index, setting in enumerate(settings):
        for other in settings[:index]:
            if _shared_runs(other, setting):
                text = f"has runs that optimizers.{other.label} has already"
                mistakes.append(Mistake(f"optimizers.{setting.label}", text))
    return settings


def _idle_schedules(document: Document, settings: list[OptimizerSetting]) -> list[Mistake]:
    """Return mistakes for the file's schedules whose hyper-parameter no optimizer has."""
    known = {name for setting in settings for each in setting.candidates for name in each.settings}
    return [
        Mistake(f"schedules.{name}", "no optimizer has this hyper-parameter")
        for name in document.schedules or ()
        if name not in known
    ]


def _check_optimizer(each: OptimizerTable, wrong_keys: list[Mistake]) -> Checked:
    """Return an optimizer's setting, or None, and the mistakes in its table."""
    found = list(wrong_keys)
    search, rates = each.search(found), each.learning_rates(found)
    if each.keys.rule is None:
        return None, found
    try:
        bare = load_rule(each.rule, each.folder)
    except (ValueError, OSError) as error:
        split = split_labels(each.key, each.given, {"rule"})
        return None, split or [*found, Mistake(each.rule_key, str(error))]
    rule = with_keys(bare, {**each.given, **search})
    defaults = hyperparameters(rule)
    split = split_labels(each.key, each.given, {*defaults, *TABLE_KEYS})
    if split:
        return None, split
    own_rate, given = defaults.pop(RATE), each.hyperparameters
    found += _wrong_values(rule, own_rate, defaults, each)
    legal = partial(wrong_on_axis, rule, defaults)
    searched = read_axes(search, f"{each.key}.search", defaults, legal, found)
    axes = searched if RATE in search else [Axis(RATE, rates), *searched]
    axes = sorted([*axes, *grid(given)], key=lambda axis: axis.name != RATE)
    schedules = read_schedules(each, {**defaults, **given}, found)
    if found or not (rates or RATE in search):  # the file's learning rates may be wrong
        return None, found
    tuned = {axis.name for axis in axes}
    fixed = {
        name: _first(value)
        for name, value in (defaults | given).items()
        if name not in tuned and value is not inspect.Parameter.empty
    }
    is_rate = isinstance(own_rate, int | float) and not isinstance(own_rate, bool) and own_rate > 0
    default_rate = float(own_rate) if is_rate else None
    default = _textbook(bare, default_rate, fixed) if len(axes) > 1 else None
    if default and not schedules.keys() <= default.keys():
        default = None  # it lacks a scheduled hyper-parameter
    tried = _tried(each, axes, fixed, default, found)
    found += _wrong_candidates(rule, fixed, tried, schedules, each) if not found else []
    if found:
        return None, found
    setting = OptimizerSetting(
        label=each.label,
        rule=each.rule,
        hyperparameters=fixed,
        axes=tuple(axes),
        candidates=candidates(tried, fixed, default),
        default_learning_rate=default_rate,
        schedules=schedules,
        curves={name: _curve(schedule, each.folder) for name, schedule in schedules.items()},
        searched=tuple(search),
    )
    return _plain(setting), []


def _wrong_values(
    rule: Rule, own_rate: Any, defaults: Mapping[str, Any], each: OptimizerTable
) -> list[Mistake]:
    """Return mistakes in the rule's defaults and in the values of the table, each by itself."""
    messages = [(each.rule_key, wrong_default(name, default)) for name, default in defaults.items()]
    if isinstance(own_rate, float) and not math.isfinite(own_rate):
        messages.insert(0, (each.rule_key, f"the default of {RATE} must be finite, got {own_rate}"))
    for name, values in each.hyperparameters.items():
        key = f"{each.key}.{name}"
        is_list = name in defaults and isinstance(values, list) and values
        keyed = [(f"{key}[{n}]", v) for n, v in enumerate(values, 1)] if is_list else [(key, values)]
        messages += [(where, wrong_value(rule, defaults, name, value)) for where, value in keyed]
    return [Mistake(where, message) for where, message in messages if message]


def _curve(schedule: dict[str, Any], folder: Path) -> tuple[float, ...]:
    """Return the factors of a schedule in a run of `CURVE` steps."""
    loaded = load_schedule(schedule, folder)
    return tuple(loaded.factor(step, CURVE) for step in range(1, CURVE + 1))


def _tried(
    each: OptimizerTable,
    axes: Sequence[Axis],
    fixed: Mapping[str, Any],
    default: Mapping[str, Any] | None,
    mistakes: list[Mistake],
) -> list[dict[str, Any]]:
    """Return the values of all candidates, from a grid or drawn; or add a mistake."""
    if each.keys.search is None:
        count = math.prod(len(axis.levels) for axis in axes)
        if count > MOST_CANDIDATES:
            text = f"gives {count:,} candidates; must give at most {MOST_CANDIDATES:,}"
            mistakes.append(Mistake(each.key, text))
            return []
        return list(combinations(axes))
    key = f"{each.key}.search"
    trials = each.trials
    if trials is None:
        mistakes.append(Mistake(key, "needs trials, here or as search.trials at the top of the file"))
        return []
    tried = draw(axes, trials, lambda values: {**fixed, **values} == default)
    if len(tried) < trials:
        text = f"must be at most {len(tried)}, since there are no more candidates, got {trials}"
        mistakes.append(Mistake(f"{key}.trials", text))
    return tried


def _wrong_candidates(
    rule: Rule,
    fixed: Mapping[str, Any],
    tried: Sequence[Mapping[str, Any]],
    schedules: Mapping[str, Any],
    each: OptimizerTable,
) -> list[Mistake]:
    """Return mistakes in the candidates of an optimizer whose single values are all legal."""
    message = wrong_candidate(rule, fixed, tried) or wrong_stacked(rule, fixed, tried)
    if message:
        return [Mistake(each.key, message)]
    some = spread(by_others(tried))
    ends = [
        {**fixed, **others, RATE: rate} for others, rates in some for rate in {min(rates), max(rates)}
    ]
    messages = [
        (
            each.schedules[name][0],
            wrong_schedule(rule, [*ends, *_extremes(fixed, tried, name)], ends[0], name, schedule, each),
        )
        for name, schedule in schedules.items()
    ]
    return [Mistake(where, message) for where, message in messages if message]


def _extremes(
    fixed: Mapping[str, Any], tried: Sequence[Mapping[str, Any]], name: str
) -> list[dict[str, Any]]:
    """Return the candidates with the least and the largest number for a tuned hyper-parameter."""
    numbers = [values for values in tried if isinstance(values.get(name), int | float)]
    return [{**fixed, **find(numbers, key=itemgetter(name))} for find in (min, max) if numbers]


def _textbook(rule: Rule, rate: float | None, fixed: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a rule's defaults of all hyper-parameters; None if it has no default learning rate.

    A hyper-parameter without a default takes the file's value; if it is tuned, there is no default.
    """
    values = {**hyperparameters(rule), RATE: rate}
    required = [name for name, value in values.items() if value is inspect.Parameter.empty]
    if rate is None or not fixed.keys() >= set(required):
        return None
    default = values | {name: fixed[name] for name in required}
    return None if wrong_together(rule, default) else default


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else values


def _plain(setting: OptimizerSetting) -> OptimizerSetting:
    """Return a setting with plain values instead of objects of a plug-in's classes."""

    def plain(values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(json.loads(json.dumps(values)))

    return replace(
        setting,
        hyperparameters=plain(setting.hyperparameters),
        candidates=tuple(
            replace(each, hyperparameters=plain(each.hyperparameters)) for each in setting.candidates
        ),
    )


def lost_in_dtype(
    problem: ProblemSetting, setting: OptimizerSetting, table: Mapping[str, Any]
) -> list[Mistake]:
    """Return mistakes for legal hyper-parameters that become illegal in the problem's dtype."""
    mistakes = []
    dtype = np.dtype(problem.about.dtype).type
    tried = dict.fromkeys(
        (name, value)
        for each in setting.candidates
        for name, value in each.hyperparameters.items()
        if name in RANGES and isinstance(value, int | float) and not isinstance(value, bool)
    )
    for name, value in tried:
        legal = RANGES[name]
        if value not in legal:
            continue
        with np.errstate(all="ignore"):
            held = dtype(value)
            if held in legal:
                continue
            low, high = dtype(legal.low), dtype(legal.high)
            most = np.nextafter(high, low) if held >= high else np.nextafter(low, high)
        right = f"must be at {'most' if held >= high else 'least'} {most:.8g}"
        key = f"optimizers.{setting.label}{f'.{name}' if name in table else ''}"
        which = "" if name in table else f"{name} = "
        mistakes.append(Mistake(key, f"{which}{value!r} is {held:g} in {problem.about.dtype}; {right}"))
    return mistakes


def _shared_runs(one: OptimizerSetting, other: OptimizerSetting) -> set[str]:
    """Return the values of the candidates that two optimizers both have."""
    is_alike = (one.rule, one.schedules) == (other.rule, other.schedules)
    return _values(one) & _values(other) if is_alike else set()


def _values(setting: OptimizerSetting) -> set[str]:
    return {repr(sorted(each.settings.items())) for each in setting.candidates}


def _without_twins(settings: Sequence[OptimizerSetting]) -> list[OptimizerSetting]:
    """Return the optimizers without additional defaults that another optimizer has as a candidate."""
    left = list(settings)
    for index in reversed(range(len(left))):
        setting = left[index]
        if not setting.has_extra_default:
            continue
        others = [other for other in left if other is not setting]
        tuned = tuple(each for each in setting.candidates if each.number != DEFAULT)
        alone = replace(setting, candidates=tuned)
        if sum(len(_shared_runs(setting, other)) for other in others) > sum(
            len(_shared_runs(alone, other)) for other in others
        ):
            left[index] = alone
    return left
