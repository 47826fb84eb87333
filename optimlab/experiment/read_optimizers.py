"""The tables of optimizers: TOML in, rules with checked candidates and schedules out."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optimlab.data.named import is_own
from optimlab.errors import Interrupted
from optimlab.experiment.candidates import DEFAULT, RATE, Axis, candidates, combinations
from optimlab.experiment.document import LEGAL_NAME, MOST_OPTIMIZERS, NAME_RULE, LearningRates
from optimlab.experiment.mixing import ADVICE, mixes_runs
from optimlab.experiment.registry import (
    hyperparameters,
    load_rule,
    load_schedule,
    with_keys,
)
from optimlab.experiment.runs import RUN_COLUMNS
from optimlab.experiment.search import Shared, draw, read_axes
from optimlab.experiment.spec import CURVE, OptimizerSetting, ProblemSetting
from optimlab.experiment.trials import Trial, try_out
from optimlab.experiment.validation import Mistake, resolve, show, sound, split_labels, unknown, validate
from optimlab.metrics import is_final
from optimlab.optimizers import BY_KEY, RANGES, RULES
from optimlab.pool import Pool
from optimlab.schedules import SCHEDULES, Schedule, settings_of

MOST_CANDIDATES = 10_000  # of an optimizer
OF_TABLE = (
    "rule",
    "learning_rates",
    "search",
    "schedule",
    "schedules",
)  # keys that are no hyper-parameter's
AT_START = ("initial_distance",)  # hyper-parameters that the first step alone knows, or must not change
MOST_TRIED_OUT = 30  # of a plug-in's candidates, when it is checked


def check_optimizers(
    raw: dict[str, Any],
    folder: Path,
    lengths: tuple[int, ...],
    pool: Pool,
    seconds: float,
    mistakes: list[Mistake],
) -> list[OptimizerSetting]:
    """Return the sound optimizers."""
    tables = raw.get("optimizers")
    entries = list(tables.items())[:MOST_OPTIMIZERS] if isinstance(tables, dict) else []
    todo = {
        label: OptimizerTable(label, table, raw, folder, lengths)
        for label, table in entries
        if LEGAL_NAME.fullmatch(label) and isinstance(table, dict)
    }
    checked = {label: _check_optimizer(each) for label, each in todo.items() if not each.is_plugin}
    trials = {
        label: Trial(partial(_check_optimizer, each), each.rule_key, each.own_names)
        for label, each in todo.items()
        if each.is_plugin
    }
    checked |= try_out(trials, pool, seconds)
    settings: list[OptimizerSetting] = []
    for label, _ in entries:
        key = f"optimizers.{label}"
        if not LEGAL_NAME.fullmatch(label):
            mistakes.append(Mistake(key, f"a label is {NAME_RULE}"))
        elif label in checked:
            setting, found = checked[label]
            mistakes += [each for each in found if each not in mistakes]  # of what they share
            if setting:
                settings.append(setting)
    shared = raw.get("schedules")
    for name in shared if isinstance(shared, dict) and len(settings) == len(entries) else ():
        if name != "learning_rate" and not any(
            name in each.settings for s in settings for each in s.candidates
        ):
            mistakes.append(Mistake(f"schedules.{name}", "no optimizer has this hyper-parameter"))
    settings = _without_twins(settings)
    for place, setting in enumerate(settings):
        for other in settings[:place]:
            if _shared_runs(other, setting):
                text = f"has runs that optimizers.{other.label} has already"
                mistakes.append(Mistake(f"optimizers.{setting.label}", text))
    return settings


class OptimizerTable(NamedTuple):
    """The table of an optimizer, and what else decides whether it is right.

    Attributes
    ----------
    label, table : as in the file.
    shared : the whole file, whose learning_rates and schedules all optimizers share.
    folder : of the file.
    lengths : the numbers of steps that the problems train for.
    """

    label: str
    table: dict[str, Any]
    shared: dict[str, Any]
    folder: Path
    lengths: tuple[int, ...]

    @property
    def rule(self) -> str:
        """Its name, as `load_rule` takes it."""
        return str(self.table.get("rule", self.label))

    @property
    def rule_key(self) -> str:
        """The key that the rule comes from."""
        return f"optimizers.{self.label}{'.rule' if 'rule' in self.table else ''}"

    @property
    def is_plugin(self) -> bool:
        """Whether code of the user's own is run to check it."""
        return ":" in self.own_names

    @property
    def trials(self) -> int | None:
        """How many candidates a search draws, by its own table or the file's; None if neither says."""
        shared = sound(Shared, self.shared.get("search")) or Shared()
        own = self.table.get("search", {}).get("trials")
        return shared.trials if own is None else own

    def search(self, mistakes: list[Mistake]) -> dict[str, Any]:
        """Return the axes of its search as the file has them, {} where it has none."""
        if "search" not in self.table:
            return {}
        key, given = f"optimizers.{self.label}", self.table["search"]
        if not isinstance(given, dict):
            mistakes.append(Mistake(f"{key}.search", f"must be a table, got {show(given)}"))
            return {}
        if "trials" in given:
            validate(Shared, {"trials": given["trials"]}, f"{key}.search", mistakes)
        axes = {name: value for name, value in given.items() if name != "trials"}
        if not axes:
            mistakes.append(Mistake(f"{key}.search", "must have an axis, such as learning_rate"))
        if RATE in axes and "learning_rates" in self.table:
            text = "is in search, too: give learning_rates or search.learning_rate"
            mistakes.append(Mistake(f"{key}.learning_rates", text))
        for name, value in self.table.items():
            if name in axes and name not in OF_TABLE:
                text = "is in search, too: give it a value or an axis"
                mistakes.append(Mistake(f"{key}.{name}", text))
            elif name not in OF_TABLE and isinstance(value, list):
                text = f"is a list beside a search: write search.{name} = {{ choices = {show(value)} }}"
                mistakes.append(Mistake(f"{key}.{name}", text))
        return axes

    @property
    def own_names(self) -> str:
        """The names of code of the user's own, or else of the rule."""
        schedules = [value for _, value in self.schedules.values()]
        named = [each.get("name") if isinstance(each, dict) else each for each in schedules]
        names = [*([] if self.rule in RULES else [self.rule]), *filter(is_own, named)]
        return ", ".join(dict.fromkeys(names)) or self.rule

    @property
    def schedules(self) -> dict[str, tuple[str, Any]]:
        """Hyper-parameter → the key and the value of its schedule, of its table or the file's."""
        found: dict[str, tuple[str, Any]] = {}
        for table, key in ((self.shared, ""), (self.table, f"optimizers.{self.label}.")):
            others = table.get("schedules", {})
            for name, value in others.items() if isinstance(others, dict) else ():
                found[name] = f"{key}schedules.{name}", value
            if "schedule" in table:
                found["learning_rate"] = f"{key}schedule", table["schedule"]
        return found


def _check_optimizer(each: OptimizerTable) -> tuple[OptimizerSetting | None, list[Mistake]]:
    """Return an optimizer's setting, None unless it is sound, and the mistakes in its table."""
    label, table = each.label, each.table
    key, rule_key = f"optimizers.{label}", each.rule_key
    found: list[Mistake] = []
    search = each.search(found)
    rates = _check_rates(key, each, found)
    try:
        bare = load_rule(each.rule, each.folder)
    except (ValueError, OSError) as error:
        split = split_labels(key, table, {"rule"})
        return None, split or [*found, Mistake(rule_key, str(error))]
    rule = with_keys(bare, {**table, **search})
    defaults = hyperparameters(rule)
    split = split_labels(key, table, {*defaults, *OF_TABLE})
    if split:
        return None, split
    own_rate = defaults.pop("learning_rate")
    if isinstance(own_rate, float) and not math.isfinite(own_rate):
        found.append(Mistake(rule_key, f"the default of learning_rate must be finite, got {own_rate}"))
    given = {name: value for name, value in table.items() if name not in OF_TABLE}
    told = [(rule_key, _wrong_default(name, default)) for name, default in defaults.items()]
    told += [
        (where, _wrong_value(rule, defaults, name, value))
        for name, values in given.items()
        for where, value in _with_keys(f"{key}.{name}", values)
    ]
    found += [Mistake(where, message) for where, message in told if message]
    legal = partial(_wrong_rate_or_value, rule, defaults)
    searched = read_axes(search, f"{key}.search", defaults, legal, found)
    axes = searched if RATE in search else [Axis(RATE, rates), *searched]
    axes = sorted([*axes, *_grid(given)], key=lambda axis: axis.name != RATE)
    schedules = _check_schedules(each, {**defaults, **given}, found)
    if found or not (rates or RATE in search):  # those of the whole file may be wrong
        return None, found
    tuned = {axis.name for axis in axes}
    fixed = {name: _first(values) for name, values in given.items() if name not in tuned}
    fixed = {**_known(defaults, axes), **fixed}
    is_rate = isinstance(own_rate, int | float) and not isinstance(own_rate, bool) and own_rate > 0
    default_rate = float(own_rate) if is_rate else None
    default = _textbook(bare, default_rate, fixed) if len(axes) > 1 else None
    if default and not schedules.keys() <= default.keys():
        default = None  # it lacks what is scheduled
    tried = _tried(each, axes, fixed, default, found)
    found += _wrong_candidates(rule, fixed, tried, schedules, each) if not found else []
    if found:
        return None, found
    curves = {
        name: tuple(load_schedule(schedule, each.folder).factor(k, CURVE) for k in range(1, CURVE + 1))
        for name, schedule in schedules.items()
    }
    return _plain(
        OptimizerSetting(
            label=label,
            rule=each.rule,
            hyperparameters=fixed,
            axes=tuple(axes),
            candidates=candidates(tried, fixed, default),
            default_learning_rate=default_rate,
            schedules=schedules,
            curves=curves,
        )
    ), []


def _tried(
    each: OptimizerTable,
    axes: Sequence[Axis],
    fixed: Mapping[str, Any],
    default: Mapping[str, Any] | None,
    mistakes: list[Mistake],
) -> list[dict[str, Any]]:
    """Return the values that are tried, of a grid or drawn; or add why that cannot be."""
    if "search" not in each.table:
        count = math.prod(len(axis.levels) for axis in axes)
        if count > MOST_CANDIDATES:
            text = f"gives {count:,} candidates; must give at most {MOST_CANDIDATES:,}"
            mistakes.append(Mistake(f"optimizers.{each.label}", text))
            return []
        return list(combinations(axes))
    key = f"optimizers.{each.label}.search"
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
    rule: Callable[..., Any],
    fixed: Mapping[str, Any],
    tried: Sequence[Mapping[str, Any]],
    schedules: Mapping[str, Any],
    each: OptimizerTable,
) -> list[Mistake]:
    """Return what is wrong with the candidates of an optimizer, each value of which is right."""
    message = _wrong_candidate(rule, fixed, tried) or _wrong_stacked(rule, fixed, tried)
    if message:
        return [Mistake(f"optimizers.{each.label}", message)]
    some = _spread(_by_others(tried))
    ends = [{**fixed, **others, RATE: rate} for others, own in some for rate in {min(own), max(own)}]
    told = [
        (each.schedules[name][0], _wrong_schedule(rule, ends, ends[0], name, schedule, each))
        for name, schedule in schedules.items()
    ]
    return [Mistake(where, message) for where, message in told if message]


def _textbook(
    rule: Callable[..., Any], rate: float | None, fixed: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return a rule's own values of all hyper-parameters; None where it has no learning rate of its own.

    What it has no value of is as the file has it; where that is tuned, there is no default.
    """
    own = {name: value for name, value in hyperparameters(rule).items() if name != RATE}
    values = {name: fixed.get(name) if value is inspect.Parameter.empty else value
              for name, value in own.items()}  # fmt: skip
    if rate is None or any(name not in fixed for name in own.keys() - _known(own).keys()):
        return None
    default = {RATE: rate, **values}
    return None if _wrong_together(rule, default) else default


def _check_schedules(
    each: OptimizerTable, legal: Mapping[str, Any], mistakes: list[Mistake]
) -> dict[str, dict[str, Any]]:
    """Return the optimizer's schedules, hyper-parameter → settings, without those that change nothing.

    A shared one that is for a hyper-parameter of others is none.
    """
    schedules = {}
    others = each.table.get("schedules", {})
    for table, key in ((others, f"optimizers.{each.label}."), (each.shared.get("schedules", {}), "")):
        if not isinstance(table, dict):
            mistakes.append(Mistake(f"{key}schedules", f"must be a table, got {show(table)}"))
        elif "learning_rate" in table:
            text = "the key for the learning rate is `schedule`"
            mistakes.append(Mistake(f"{key}schedules.learning_rate", text))
    for name, (key, value) in sorted(
        each.schedules.items(), key=lambda each: each[0] != "learning_rate"
    ):
        if name != "learning_rate" and name not in legal:
            if isinstance(others, dict) and name in others:
                mistakes.append(Mistake(key, unknown(name, list(legal))))
            continue
        schedule = _read_schedule(value, key, mistakes)
        if schedule and schedule != {"name": "constant", "warmup": 0.0}:
            schedules[name] = schedule
    return schedules


def _read_schedule(value: Any, key: str, mistakes: list[Mistake]) -> dict[str, Any] | None:
    """Return a schedule's settings, as a table; None for "none", and for a wrong one, with a mistake."""
    table = {"name": value} if isinstance(value, str) else value
    name = table.get("name") if isinstance(table, dict) else None
    if is_own(name) or value == "none":
        return None if value == "none" else dict(table)
    if isinstance(table, dict) and name is None:
        names = ", ".join(f'"{each}"' for each in SCHEDULES)
        mistakes.append(Mistake(f"{key}.name", f"is missing: it is one of {names}"))
        return None
    schedule = resolve(value, "name", SCHEDULES, key, mistakes)
    if schedule is None:
        return None
    wrong = schedule.wrong()
    mistakes += [Mistake(key, wrong)] if wrong else []
    return settings_of(schedule)


def _wrong_schedule(
    rule: Callable[..., Any],
    ends: list[dict[str, Any]],
    values: Mapping[str, Any],
    name: str,
    settings: dict[str, Any],
    each: OptimizerTable,
) -> str | None:
    """Return what is wrong with a schedule somewhere in a run; None if nothing is.

    Parameters
    ----------
    rule : what makes the optimizer.
    ends : its hyper-parameters, with the lowest and the highest learning rate.
    values : all hyper-parameters, defaults included.
    name, settings : the hyper-parameter, and its schedule.
    each : whose schedule it is.
    """
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} must be a number to have a schedule, got {show(value)}"
    if name in AT_START:
        return f"{name} counts at the start alone"
    try:
        schedule = load_schedule(settings, each.folder)
        factors = {
            (step, steps): schedule.factor(step, steps)
            for steps in each.lengths or (CURVE,)
            for step in _steps_to_look_at(steps, schedule)
        }
    except Interrupted:
        raise
    except Exception as error:  # the user's own may raise anything
        return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
    for (step, steps), factor in factors.items():
        where = f"at step {step:,} of {steps:,}"
        if not math.isfinite(factor):
            return f"{where}, its factor must be finite, got {factor}"
        for given in ends:
            wrong = _wrong_together(rule, {**given, name: given.get(name, value) * factor})
            if wrong:
                return f"{where}, {wrong}"
    return None


def _steps_to_look_at(steps: int, schedule: Schedule) -> list[int]:
    """Return the steps that a schedule is checked at: the first, the last, and many between."""
    warm = round(getattr(schedule, "warmup", 0) * steps)
    between = np.linspace(1, steps, min(steps, CURVE), dtype=int).tolist()
    return sorted({*between, *(step for step in (warm, warm + 1) if 1 <= step <= steps)})


def _wrong_default(name: str, default: Any) -> str | None:
    """Return why a table cannot hold a hyper-parameter of a plug-in; None if it can."""
    if name in OF_TABLE:
        return f"its hyper-parameter {name} has the name of a key of the optimizer's table"
    if name in RUN_COLUMNS or is_final(name):
        return f"its hyper-parameter {name} has the name of a column of runs.csv"
    if default is inspect.Parameter.empty or _can_be_kept(default):
        return None
    if isinstance(default, float):
        return f"the default of {name} must be finite, got {default}; None may stand for no limit"
    return f"the default of {name} must be a number, a text, true, false or None"


def _can_be_kept(value: Any) -> bool:
    """Return whether results can hold a value: no text that is not UTF-8, no number without end."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return isinstance(value, bool | int | float | str | None)


def _wrong_value(
    rule: Callable[..., Any], legal: Mapping[str, Any], name: str, value: Any
) -> str | None:
    """Return what is wrong with one hyper-parameter; None if nothing is."""
    if name == "learning_rate":
        return "unknown key; did you mean learning_rates, a list?"
    if name not in legal:
        return unknown(name, list(dict.fromkeys([*legal, *BY_KEY, *OF_TABLE])))
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
    except BaseException:  # a plug-in may raise anything, and may need what is not given here
        return message
    return message


def _wrong_candidate(
    rule: Callable[..., Any], fixed: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return why the rule refuses a candidate, the first that it does, by name; None if it does not."""
    for values, _ in _by_others(tried):
        message = _wrong_together(rule, {**fixed, **values})
        if message:
            return f"{_named(values)}{message}"
    return None


def _wrong_rate_or_value(
    rule: Callable[..., Any], legal: Mapping[str, Any], name: str, value: Any
) -> str | None:
    """Return what is wrong with a value of an axis; None if nothing is."""
    if name != RATE:
        return _wrong_value(rule, legal, name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, got {show(value)}"
    return None if 1e-30 <= value <= 1e30 else f"must be in [1e-30, 1e30], got {show(value)}"


def _wrong_together(rule: Callable[..., Any], given: Mapping[str, Any]) -> str | None:
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


def _wrong_stacked(
    rule: Callable[..., Any], fixed: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return what is wrong with how a plug-in treats a stack of runs; None if nothing is.

    Of many candidates some are tried out, spread over all: each of the sweep's stacks is checked again.
    """
    if rule in RULES.values():
        return None
    rates = [values[RATE] for values in tried]
    for values, own in _spread(_by_others(tried)):
        if rates and mixes_runs(rule, {**fixed, **values}, own if len(own) > 1 else rates):
            return f"{_named(values)}its step mixes the runs of a stack: {ADVICE}"
    return None


def _by_others(
    tried: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], list[float]]]:
    """Return the different values of all tuned hyper-parameters but the rate, and the rates of each."""
    groups: dict[str, tuple[dict[str, Any], list[float]]] = {}
    for values in tried:
        others = {name: value for name, value in values.items() if name != RATE}
        groups.setdefault(repr(others), (others, []))[1].append(values[RATE])
    return list(groups.values())


def _spread(groups: list[Any]) -> list[Any]:
    """Return some of many, spread over all."""
    return groups[:: -(-len(groups) // MOST_TRIED_OUT) or 1]


def _named(values: Mapping[str, Any]) -> str:
    """Return a candidate for a message: "with momentum = 0.9: "; "" where the rate alone varies."""
    words = ", ".join(f"{name} = {show(value)}" for name, value in values.items())
    return f"with {words}: " if words else ""


def _with_keys(key: str, values: Any) -> list[tuple[str, Any]]:
    """Return the values of a hyper-parameter, one or a list, each with its key."""
    if not isinstance(values, list) or not values:
        return [(key, values)]
    return [(f"{key}[{place}]", value) for place, value in enumerate(values, start=1)]


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else values


def _grid(given: Mapping[str, Any]) -> list[Axis]:
    """Return the axes of the hyper-parameters of which several values are given."""
    axes = []
    for name, values in given.items():
        if isinstance(values, list):
            different = tuple(dict.fromkeys(values)) if all(map(_can_be_kept, values)) else ()
            is_number = all(isinstance(value, int | float) for value in different)
            if len(different) > 1:
                axes.append(Axis(name, tuple(sorted(different)) if is_number else different))
    return axes


def _known(defaults: Mapping[str, Any], axes: Sequence[Axis] = ()) -> dict[str, Any]:
    """Return the defaults of those hyper-parameters that have one and are not tuned."""
    tuned = {axis.name for axis in axes}
    return {
        name: value
        for name, value in defaults.items()
        if name not in tuned and value is not inspect.Parameter.empty
    }


def _plain(setting: OptimizerSetting) -> OptimizerSetting:
    """Return a setting whose values are of no class of a plug-in's own."""

    def plain(values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(json.loads(json.dumps(values)))

    return replace(
        setting,
        hyperparameters=plain(setting.hyperparameters),
        candidates=tuple(
            replace(each, hyperparameters=plain(each.hyperparameters)) for each in setting.candidates
        ),
    )


def _check_rates(key: str, each: OptimizerTable, mistakes: list[Mistake]) -> tuple[float, ...]:
    """Return the optimizer's learning rates, its own or the file's, ascending and once each."""
    rates = None
    search = each.table.get("search")
    if isinstance(search, dict) and RATE in search:
        return ()
    if "learning_rates" in each.table:
        rates = validate(LearningRates, each.table["learning_rates"], f"{key}.learning_rates", mistakes)
    elif each.shared.get("learning_rates") is not None:
        rates = sound(LearningRates, each.shared["learning_rates"])
    else:
        mistakes.append(Mistake(key, "needs learning_rates, here or at the top of the file"))
    return tuple(sorted(set(rates or ())))


def lost_in_dtype(
    problem: ProblemSetting, setting: OptimizerSetting, table: Mapping[str, Any]
) -> list[Mistake]:
    """Return which legal hyper-parameters are legal no more in the dtype of the problem."""
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
    """Return the optimizers without the default of one where another has the same candidate already."""
    left = list(settings)
    for place in reversed(range(len(left))):
        setting = left[place]
        others = [other for other in left if other is not setting]
        tuned = tuple(each for each in setting.candidates if each.number != DEFAULT)
        alone = replace(setting, candidates=tuned)
        if sum(len(_shared_runs(setting, other)) for other in others) > sum(
            len(_shared_runs(alone, other)) for other in others
        ):
            left[place] = alone
    return left
