"""The tables of problems: from TOML to checked problems with the steps to record."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from optimlab.data import DATASETS, DataError
from optimlab.data.files import is_data_file
from optimlab.data.named import File, is_own
from optimlab.errors import Interrupted, raised
from optimlab.experiment import identity
from optimlab.experiment.document import EITHER_LENGTH, Document, Length, Seeds, Training
from optimlab.experiment.facts import facts_of
from optimlab.experiment.names import NAME_RULE, is_legal_name
from optimlab.experiment.own import Own, OwnProblem, other_slope, wrong_problem
from optimlab.experiment.registry import load_object
from optimlab.experiment.spec import ProblemSetting
from optimlab.experiment.trials import Trial, TrialWorker
from optimlab.formatting import join_words
from optimlab.metrics import ALL as METRICS
from optimlab.problems import PROBLEMS
from optimlab.problems.base import Problem
from optimlab.validation import Mistake, no_table, resolve, show, split_labels, validate

MOST_STEPS = 100_000_000
MOST_RECORDS = 100_000
MOST_RUN_BYTES = 1_000_000_000
MOST_SPLITS_TRIED = 1000


class ProblemTable(NamedTuple):
    """The table of a problem with everything that its check needs.

    Attributes
    ----------
    key : its key in the file.
    label : its label; None for the only problem, which gets the name of its data or kind.
    table : its content.
    training : the training of problems without a separate one; None if illegal, like `seeds`.
    seeds : the experiment's seeds.
    folder : the file's folder.
    """

    key: str
    label: str | None
    table: Any
    training: Training | None
    seeds: Seeds | None
    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of the problem, without its training."""
        return {key: value for key, value in self.table.items() if key != "training"}

    @property
    def own_names(self) -> list[str]:
        """The names of user code in it."""
        return list(_own_names(self.table))


def cautions_of(document: Document, problems: list[ProblemSetting]) -> list[str]:
    """Return warnings about settings that are allowed but rarely intended, each with its key."""
    return [
        f"{_key(document, setting.label)}.{key}: {text}"
        for setting in problems
        for key, text in setting.about.cautions().items()
    ]


def _key(document: Document, label: str) -> str:
    return "problem" if document.problem is not None else f"problems.{label}"


def check_problems(
    document: Document, folder: Path, worker: TrialWorker, mistakes: list[Mistake]
) -> list[ProblemSetting]:
    """Return the problems without mistakes, from [problem] or [problems.<label>]."""
    tables: Mapping[Any, Any] = document.problems or {}
    if document.problem is not None:
        tables = {None: document.problem}
    todo = [
        ProblemTable(
            "problem" if label is None else f"problems.{label}",
            label,
            table,
            document.training,
            document.seeds,
            folder,
        )
        for label, table in tables.items()
    ]
    trials = {
        each.key: Trial(partial(_with_facts, each), each.key, each.own_names)
        for each in todo
        if each.own_names
    }
    tried = worker.try_out(trials)
    settings: list[ProblemSetting] = []
    for each in todo:
        setting, found = tried[each.key] if each.key in tried else _check_problem(each)
        mistakes += [mistake for mistake in found if mistake not in mistakes]  # shared ones once
        if setting:
            twins = [f"problems.{s.label}" for s in settings if s.problem == setting.problem]
            mistakes += [Mistake(each.key, f"is the same problem as {twin}") for twin in twins]
            settings.append(setting)
    return [setting for setting in settings if setting.record_at]


def _with_facts(each: ProblemTable) -> tuple[ProblemSetting | None, list[Mistake]]:
    """Return the result of `_check_problem`, with the problem's facts but without its loaded data."""
    setting, found = _check_problem(each)
    if setting:
        facts = facts_of(setting.problem)
        facts.warnings.update(_other_slopes(each, setting.problem))
        setting = replace(setting, problem=replace(setting.problem), facts=facts)  # type: ignore[type-var]
    return setting, found


def _other_slopes(each: ProblemTable, problem: Any) -> dict[str, str]:
    """Return a warning if a network with user code has another gradient than its loss: key → message.

    It is computed in float64, where kinks of activations and rounding are not noticed.
    """
    plugins = {key: list(_own_names(each.table.get(key))) for key in ("hidden", "loss")}
    plugins = {key: names for key, names in plugins.items() if names}
    if not plugins or isinstance(problem, OwnProblem):
        return {}
    try:
        other = other_slope(replace(problem, dtype="float64"))
    except Exception:  # code for one dtype alone
        return {}
    words = join_words([name for names in plugins.values() for name in names])
    text = f"with {words}, the gradient is not the gradient of the loss: {other}"
    return {next(iter(plugins)): text} if other else {}


def _own_names(value: Any) -> Iterator[str]:
    """Yield the names of user code in a problem's table."""
    if is_own(value):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _own_names(each)


def _check_problem(each: ProblemTable) -> tuple[ProblemSetting | None, list[Mistake]]:
    """Return a problem's setting, or None, and the mistakes in its table.

    A problem of unknown training length has no steps to record.
    """
    if each.label is not None and not is_legal_name(each.label):
        return None, [Mistake(each.key, f"a label is {NAME_RULE}")]
    if not isinstance(each.table, dict):
        return None, [Mistake(each.key, no_table(each.key, each.table))]
    name, problem, found = _read_table(each)
    own_length = "training" in each.table
    length: Length | None = None
    if own_length:
        key = f"{each.key}.training"
        length = validate(Length, each.table["training"], key, found)
        if length and length.epochs and length.steps:
            found.append(Mistake(key, EITHER_LENGTH))
            length = None
    if problem is None:
        return None, found
    record_at: tuple[int, ...] = ()
    if each.training and (length or not own_length):
        key = f"{each.key}.training" if own_length else "training"
        record_at = _record_at(each.training.of(length), problem.steps_per_epoch, key, found)
    label = each.label or _label(name, problem)
    return ProblemSetting(label, name, problem, record_at), found


def _read_table(each: ProblemTable) -> tuple[str, Any, list[Mistake]]:
    """Return a problem's name, the problem, or None, and its mistakes."""
    settings, key, folder = each.settings, each.key, each.folder
    name = settings.pop("name", "table" if "data" in settings else None)
    if is_own(name):
        problem = OwnProblem(File(name, folder.resolve()), settings)
        wrong = [Mistake(f"{key}.{one}", message) for one, message in problem.mistakes().items()]
        return name, None if wrong else problem, wrong
    known_name = isinstance(name, str) and name in PROBLEMS
    kinds = [PROBLEMS[name]] if known_name else PROBLEMS.values()
    legal = {"training", *(field.name for kind in kinds for field in fields(kind))}
    split = split_labels(key, each.table, legal) if each.label else []
    if split:
        return "", None, split
    if not known_name:
        names = ", ".join(f'"{problem}"' for problem in PROBLEMS)
        hint = f'; did you mean data = "{name}"?' if isinstance(name, str) and name in DATASETS else ""
        got = f", got {show(name)}" if name is not None else ", or `data` must name a data set or a file"
        return "", None, [Mistake(f"{key}.name", f"must be one of {names}{got}{hint}")]
    found: list[Mistake] = []
    problem = read_problem(PROBLEMS[name], settings, key, folder, found)
    known = settings.keys() & legal
    sound = {
        one: settings[one]
        for one in known
        if read_problem(PROBLEMS[name], {one: settings[one]}, "", folder, []) is not None
    }
    conflicts = read_problem(PROBLEMS[name], sound, "", folder, [])
    reported = {mistake.key for mistake in found}
    for one, message in _conflicts(conflicts).items() if conflicts else ():
        where = f"{key}.{one}" if one else key
        if where not in reported:
            found.append(Mistake(where, message))
    if problem and not found:
        found += _unworkable(key, problem, each.seeds)
    return name, None if found else problem, found


def _unworkable(key: str, problem: Any, seeds: Seeds | None) -> list[Mistake]:
    """Return why a legal problem cannot be run: it is too large, or a seed's split cannot be learned.

    Only the first seeds are checked; a run of a later one would fail.
    """
    if problem.run_bytes > MOST_RUN_BYTES:
        text = f"a run takes {problem.run_bytes / 1e9:,.1f} GB of memory"
        return [Mistake(key, f"{text}; must take at most {MOST_RUN_BYTES / 1e9:g} GB")]
    if not (seeds and getattr(problem, "is_resampled", False)):
        return []
    for seed, _ in itertools.islice(seeds.roles(), MOST_SPLITS_TRIED):
        try:
            problem.rows(seed)
        except DataError as error:
            return [Mistake(f"{key}.{error.key}", f"of seed {seed}: {error}")]
    return []


def _record_at(length: Length, epoch: int, key: str, mistakes: list[Mistake]) -> tuple[int, ...]:
    """Return the steps to record, including the last; () and a mistake if there are too many.

    `epoch` is the number of steps per epoch, and `key` the key of the length.
    """
    steps = length.steps or (length.epochs or 0) * epoch
    every = epoch if length.record_every == "epoch" else length.record_every
    if steps > MOST_STEPS:
        text = f"gives {steps:,} steps per run; must give at most {MOST_STEPS:,}"
        mistakes.append(Mistake(f"{key}.epochs", text))
    elif steps > MOST_RECORDS * every:
        text = f"gives {steps // every:,} records per run; must give at most {MOST_RECORDS:,}"
        mistakes.append(Mistake(f"{key}.record_every", text))
    else:
        return (*range(every, steps, every), steps)
    return ()


def _label(name: str, problem: Any) -> str:
    """Return the label of an experiment's only problem: its data's name, or its own."""
    if isinstance(problem, OwnProblem):
        return _stem(problem.label, "own")
    data = getattr(problem, "data", "")
    return _stem(Path(getattr(data, "name", data)).stem, name)


def _stem(stem: str, otherwise: str) -> str:
    return stem if is_legal_name(stem) else otherwise


def _conflicts(problem: Problem) -> dict[str, str]:
    """Return mistakes in combinations of keys; the key "" is for an error that user code raises."""
    try:
        wrong = problem.check()
        has_own = any(map(is_own, identity.files_of(problem)))
        if not wrong and has_own and (mixed := wrong_problem(problem)):
            return {"": mixed}
        return wrong
    except Interrupted:
        raise
    except Exception as error:
        return {"": raised(error)}


def read_problem(
    kind: type, settings: Mapping[str, Any], key: str, folder: Path, mistakes: list[Mistake]
) -> Any:
    """Return the problem of a table and its subtables; None, and mistakes, if it is illegal."""
    count = len(mistakes)
    problem = validate(kind, settings, key, mistakes)
    parts: dict[str, Any] = {}
    for name, (tag, kinds) in getattr(kind, "PARTS", {}).items():
        value = settings.get(name)
        if problem is None or value is None:
            continue
        if isinstance(value, list):
            parts[name] = tuple(
                _part(each, tag, kinds, f"{key}.{name}[{number}]", folder, mistakes)
                for number, each in enumerate(value, start=1)
            )
        else:
            parts[name] = _part(value, tag, kinds, f"{key}.{name}", folder, mistakes)
    if problem is None or len(mistakes) > count:
        return None
    if isinstance(settings.get("metrics"), list):
        parts["metrics"] = _own_metrics(settings["metrics"], f"{key}.metrics", folder, mistakes)
    data = settings.get("data")
    if is_own(data):
        parts["data"] = _own(data, {}, f"{key}.data", folder, mistakes)
    elif is_data_file(data):
        parts["data"] = File(data, folder.resolve())
    if len(mistakes) > count:
        return None
    return replace(problem, **parts)


def _part(
    value: Any, tag: str, kinds: Mapping[str, type], key: str, folder: Path, mistakes: list[Mistake]
) -> Any:
    """Return a part of a problem: of a known kind, or user-defined."""
    table = {tag: value} if isinstance(value, str) else value
    name = table.get(tag) if isinstance(table, dict) else None
    if not is_own(name):
        return resolve(value, tag, kinds, key, mistakes)
    settings = {one: given for one, given in table.items() if one != tag}
    return _own(name, settings, key, folder, mistakes)


def _own_metrics(
    names: list[Any], key: str, folder: Path, mistakes: list[Mistake]
) -> tuple[Own | None, ...]:
    """Return the user-defined metrics, with unique names."""
    metrics: dict[str, Own | None] = {}
    for number, name in enumerate(names, start=1):
        where = f"{key}[{number}]"
        if not is_own(name):
            mistakes.append(Mistake(where, f'must be "file.py:function", got {show(name)}'))
            continue
        label = name.partition(":")[2]
        if label in metrics or label in METRICS:
            mistakes.append(
                Mistake(where, f"there is a metric {label} already: its function needs another name")
            )
        metrics[label] = _own(name, {}, where, folder, mistakes)
    return tuple(metrics.values())


def _own(
    name: str, settings: dict[str, Any], key: str, folder: Path, mistakes: list[Mistake]
) -> Own | None:
    """Return the object of this name in a user's file; None, and a mistake, if there is none."""
    try:
        load_object(name, folder.resolve())
    except (ValueError, OSError) as error:
        mistakes.append(Mistake(key, str(error)))
        return None
    return Own(File(name, folder.resolve()), settings)
