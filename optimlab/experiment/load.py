"""The experiment's file: TOML in, a checked `Experiment` out.

Everything that can be wrong with the file is found before anything runs, and told at once: key by
key, with what would be right.
"""

from __future__ import annotations

import ast
import errno
import inspect
import itertools
import json
import math
import re
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, nullcontext
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import from_json

from optimlab.data import DATASETS, DataError
from optimlab.data.files import SUFFIXES
from optimlab.data.named import File, is_own
from optimlab.errors import Interrupted, UserError, printable
from optimlab.experiment import identity
from optimlab.experiment.candidates import DEFAULT, RATE, Axis, candidates, combinations
from optimlab.experiment.mixing import ADVICE, mixes_runs
from optimlab.experiment.own import Own, OwnProblem, wrong_problem
from optimlab.experiment.registry import (
    hyperparameters,
    load_object,
    load_rule,
    load_schedule,
    with_keys,
)
from optimlab.experiment.runs import FIRST_REPORTING_SEED, RUN_COLUMNS
from optimlab.experiment.search import Shared, draw, read_axes
from optimlab.experiment.spec import CURVE, FOLDER, SHIPPED, Experiment, OptimizerSetting, ProblemSetting
from optimlab.experiment.validation import Mistake, resolve, show, unknown, validate
from optimlab.files import read_regular
from optimlab.formatting import join_words
from optimlab.hints import PAGE
from optimlab.messages import warn
from optimlab.metrics import ALL as METRICS
from optimlab.metrics import is_final
from optimlab.optimizers import BY_KEY, RANGES, RULES
from optimlab.pool import Clock, Pool, Tell
from optimlab.problems import PROBLEMS
from optimlab.problems.base import Problem
from optimlab.schedules import SCHEDULES, Schedule, settings_of

# What no computer should be asked for by mistake. A list of a million runs takes 0.2 GB, and a page made
# from ten million rows of traces some 2.5 GB.
LARGEST_FILE = 100_000
MOST_DOTS = 1000  # in a line: tomllib keeps every start of a key a.b.c…, so many parts take gigabytes
MOST_PROBLEMS, MOST_OPTIMIZERS = 100, 100
MOST_CANDIDATES = 10_000  # of an optimizer
MOST_RUNS = 1_000_000
MOST_STEPS = 100_000_000
MOST_RECORDS = 100_000
MOST_PARAMS_BYTES = 500_000_000
MOST_ROWS = 10_000_000
MOST_RUN_BYTES = 1_000_000_000
MOST_MISTAKES_TOLD = 100
MOST_SPLITS_TRIED = 1000
OF_TABLE = (
    "rule",
    "learning_rates",
    "search",
    "schedule",
    "schedules",
)  # keys that are no hyper-parameter's
AT_START = ("initial_distance",)  # hyper-parameters that the first step alone knows, or must not change
SECONDS_TO_CHECK = 60.0  # a plug-in
MOST_TRIED_OUT = 30  # of a plug-in's candidates, when it is checked

LEGAL_FINAL = re.compile(r"last|best_validation|mean:[1-9][0-9]{0,5}")
LEGAL_NAME = re.compile(r"[^\W_]([\w .+=()-]{0,58}[\w+=()-])?")
NAME_RULE = (
    "up to 60 letters, digits, spaces and . _ + - = ( ), "
    "the first a letter or a digit, the last no space or dot"
)

# Control characters, and those that turn the direction of the text that follows.
INVISIBLE = r"\p{Cc}\u{202A}-\u{202E}\u{2066}-\u{2069}"

LearningRates = Annotated[
    tuple[Annotated[float, Ge(1e-30), Le(1e30)], ...],
    Len(1, 1000),
]


class Length(BaseModel):
    """How long a run trains, and when it is recorded: at every epoch's end, or every so many steps."""

    model_config = ConfigDict(extra="forbid")
    epochs: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    steps: Annotated[int, Ge(1), Le(100_000_000)] | None = None
    record_every: Literal["epoch"] | Annotated[int, Ge(1)] = "epoch"


class Training(Length):
    """The same of all problems that have no training of their own.

    The parameters are recorded for the first `record_params` reporting seeds alone.
    """

    record_params: Annotated[int, Ge(0)] = 0


class Seeds(BaseModel):
    """How many seeds choose the learning rate, and how many others are reported."""

    model_config = ConfigDict(extra="forbid")
    tuning: Annotated[int, Ge(0), Le(FIRST_REPORTING_SEED)] = 10
    reporting: Annotated[int, Ge(0), Le(1_000_000)] = 30

    def all(self) -> Iterator[int]:
        """Yield every seed, those that choose first."""
        yield from range(self.tuning)
        yield from range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + self.reporting)


class Document(BaseModel):
    """The keys of the file; the tables of the problem and of each optimizer are checked apart.

    `final` and `equal_within` are for the statistics alone (`optimlab.statistics.compare_optimizers`),
    and `report` names blocks of the user's own for the page: they change no run.
    """

    model_config = ConfigDict(extra="forbid")
    title: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=200, pattern=f"^[^{INVISIBLE}]*$"
        ),
    ]
    description: Annotated[
        str, StringConstraints(max_length=5000, pattern=f"^([^{INVISIBLE}]|[\\n\\t])*$")
    ] = ""
    learning_rates: LearningRates | None = None
    search: Shared | None = None
    schedule: Any = None
    schedules: dict[str, Any] = {}
    final: str = "mean:5"
    equal_within: Annotated[float, Ge(0), Le(1)] = 0.05
    report: tuple[str, ...] = ()
    problem: dict[str, Any] | None = None
    problems: Annotated[dict[str, dict[str, Any]], Len(1, MOST_PROBLEMS)] | None = None
    training: Training
    seeds: Seeds = Seeds()
    optimizers: Annotated[dict[str, dict[str, Any]], Len(1, MOST_OPTIMIZERS)]


class ExperimentError(UserError):
    """An experiment that cannot be run; the message names the file and lists every mistake."""

    def __init__(self, file: Path | str, mistakes: list[Mistake]) -> None:
        self.file, self.mistakes = file, mistakes
        told = mistakes[:MOST_MISTAKES_TOLD]
        lines = [printable(f"{m.key}: {m.message}" if m.key else m.message) for m in told]
        where = printable(str(file))
        if len(lines) == 1:
            super().__init__(f"{where}: {lines[0]}")
        else:
            if len(told) < len(mistakes):
                lines.append(f"and {len(mistakes) - len(told):,} more")
            super().__init__("\n  ".join([f"{where}: {len(mistakes):,} mistakes", *lines]))


def available() -> list[Path]:
    """Return the experiments' files by name: those in experiments/, and those that are shipped."""
    files = {file.stem: file for folder in (SHIPPED, FOLDER) for file in folder.glob("*.toml")}
    return [files[name] for name in sorted(files) if files[name].is_file()]


def find(name: str) -> Path:
    """Return the TOML file of an experiment: a path that ends in .toml, or a name.

    A name is looked for in experiments/, then among the experiments that are shipped.

    Raises
    ------
    ExperimentError
        When there is no such file; the message names those that there are.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise ExperimentError(path, [Mistake("", f"cannot be read: {error.strerror}")]) from error
    known = {file.stem: file for file in available()}
    if name in known:
        return known[name]
    nearest = get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(known)}"
    raise ExperimentError(path, [Mistake("", f"there is no such experiment; {hint}")])


def plugin_pool() -> Pool:
    """Return the pool for `load`: its worker starts when there is a plug-in to check."""
    return Pool(_check_in_worker, 1)


def load(path: Path, pool: Pool | None = None, seconds: float = SECONDS_TO_CHECK) -> Experiment:
    """Read and check an experiment's file.

    A plug-in may crash its process or never end: it is loaded and tried out in a worker, never here.

    Parameters
    ----------
    path : of the TOML file.
    pool : a `plugin_pool` that several files share; None for one that is closed at the end.
    seconds : that the check of a plug-in may take.

    Raises
    ------
    ExperimentError
        With every mistake in the file.
    """
    return parse(read_text(path), path, pool, seconds)


def read_text(path: Path) -> str:
    """Return the text of an experiment's file.

    Raises
    ------
    ExperimentError
        When it cannot be read.
    """
    try:
        str(path).encode()  # results name their experiment's file
        return _read(path)
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    except UnicodeEncodeError:
        wrong = "is in a folder whose name is not UTF-8"
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 text: {error.reason} at byte {error.start}"
    raise ExperimentError(path, [Mistake("", wrong)])


def parse(
    text: str, path: Path, pool: Pool | None = None, seconds: float = SECONDS_TO_CHECK
) -> Experiment:
    """Check an experiment's TOML; see `load`.

    Parameters
    ----------
    text : TOML.
    path : of the file that it is, or would be: its name is the experiment's, and its folder is where
        plug-ins are looked for.
    """
    if not LEGAL_NAME.fullmatch(path.stem):
        raise ExperimentError(path, [Mistake("", f"an experiment's name is {NAME_RULE}")])
    if path.stem.casefold() == PAGE:
        raise ExperimentError(path, [Mistake("", f"an experiment cannot have the page's name, {PAGE}")])
    try:
        raw = tomllib.loads(text)
        from_json(json.dumps(raw, default=str))  # as validation reads it
    except tomllib.TOMLDecodeError as error:
        wrong = f"is not valid TOML: {error}"
    except (RecursionError, ValueError):
        wrong = "is nested too deeply, or holds a number of too many digits"
    else:
        with plugin_pool() if pool is None else nullcontext(pool) as workers:
            experiment = _check(path, text, raw, workers, seconds)
        wrong = _too_large(experiment)
        if not wrong:
            return experiment
    raise ExperimentError(path, [Mistake("", wrong)])


def _read(path: Path) -> str:
    """Return the text of a file that ends: a pipe may not, and a device neither."""
    text = read_regular(path, LARGEST_FILE).decode("utf-8-sig")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise OSError(errno.EFBIG, f"it has more than {MOST_DOTS:,} dots in a line")
    return text


def _too_large(experiment: Experiment) -> str:
    """Return why an experiment is more than can be run or reported; "" if it is not."""
    runs = experiment.count()
    if runs > MOST_RUNS:
        return f"gives {runs:,} runs; must give at most {MOST_RUNS:,}"
    records = [1 + len(setting.record_at) for setting in experiment.problems]
    rows = runs * sum(records) // len(records)
    if rows > MOST_ROWS:
        text = f"gives {rows:,} rows of traces, {max(records):,} a run; must give at most"
        return f"{text} {MOST_ROWS:,}: record less often, or run less"
    return ""


def _cautions(problems: list[ProblemSetting], raw: Mapping[str, Any]) -> list[str]:
    """Return what is allowed and seldom wanted, each with its key."""
    return [
        f"{'problem' if 'problem' in raw else f'problems.{setting.label}'}.{key}: {text}"
        for setting in problems
        for key, text in setting.problem.cautions().items()
    ]


def _check(path: Path, text: str, raw: dict[str, Any], pool: Pool, seconds: float) -> Experiment:
    mistakes: list[Mistake] = []
    document = validate(Document, raw, "", mistakes)
    # What is wrong above is known by now; each part is looked at all the same, for what else is.
    seeds = _sound(Seeds, raw.get("seeds", {}))
    if seeds and seeds.tuning + seeds.reporting == 0:
        mistakes.append(Mistake("seeds", "must give at least one seed, tuning or reporting"))
    problems = _check_problems(raw, path.parent, pool, seconds, mistakes)
    problems = _check_training(raw, problems, mistakes)
    lengths = tuple({setting.steps for setting in problems if setting.record_at})
    optimizers = _check_optimizers(raw, path.parent, lengths, pool, seconds, mistakes)
    mistakes += _wrong_splits(raw, problems, seeds) if seeds else []
    for problem, setting in itertools.product(problems, optimizers):
        mistakes += _lost_in_dtype(problem, setting, raw["optimizers"][setting.label])
    final = raw.get("final", "last")
    if isinstance(final, str) and not LEGAL_FINAL.fullmatch(final):
        legal = '"last", "best_validation", or "mean:5" with any number of records'
        mistakes.append(Mistake("final", f"must be {legal}, got {show(final)}"))
    for place, name in enumerate(_sound(tuple[str, ...], raw.get("report")) or (), start=1):
        not_one = _wrong_block(name, path.parent)
        mistakes += [Mistake(f"report[{place}]", not_one)] if not_one else []
    training = _sound(Training, raw.get("training"))
    if training and training.record_params and seeds:
        wrong = _wrong_params(training.record_params, seeds.reporting, problems, optimizers)
        mistakes += [Mistake("training.record_params", wrong)] if wrong else []
    if mistakes:
        raise ExperimentError(path, mistakes)
    for caution in _cautions(problems, raw):
        warn(printable(f"{path}: {caution}"))
    return Experiment(
        name=path.stem,
        file=path,
        toml=text,
        title=document.title,
        description=document.description,
        problems=tuple(problems),
        tuning_seeds=seeds.tuning,
        reporting_seeds=seeds.reporting,
        optimizers=tuple(optimizers),
        record_params=training.record_params,
        final=document.final,
        equal_within=document.equal_within,
        report=document.report,
    )


def _wrong_block(name: str, folder: Path) -> str:
    """Return why a name is none of a function for the page; "" if it is one. The file is not run."""
    if not is_own(name):
        return f'must be "file.py:function", got {show(name)}'
    file, _, function = name.partition(":")
    try:
        tree = ast.parse((folder / file).read_bytes())
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"{file} is no Python: {error}"
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    return "" if function in functions else f'there is no function "{function}" in {file}'


def _sound(kind: Any, value: Any) -> Any:
    """Return `value` as a `kind`, or None if it is none."""
    return validate(kind, value, "", [])


def _check_problems(
    raw: dict[str, Any], folder: Path, pool: Pool, seconds: float, mistakes: list[Mistake]
) -> list[ProblemSetting]:
    """Return the sound problems, of [problem] or of [problems.<label>]; their steps are to come."""
    if ("problem" in raw) == ("problems" in raw):
        text = "must be given: either one [problem], or a table [problems.<label>] for each of several"
        mistakes.append(Mistake("problem", text))
        return []
    if "problem" in raw:
        todo = {"problem": partial(_check_problem, "problem", None, raw["problem"], folder)}
    else:
        tables = raw["problems"]
        entries = list(tables.items())[:MOST_PROBLEMS] if isinstance(tables, dict) else ()
        todo = {
            f"problems.{label}": partial(_check_problem, f"problems.{label}", label, table, folder)
            for label, table in entries
        }
    own = {key: list(_own_names(check.args[2])) for key, check in todo.items()}
    trials = {
        key: Trial(
            partial(_without_what_it_loaded, todo[key]),
            key,
            names[0] if len(names) == 1 else f"one of {join_words(names)}",
        )
        for key, names in own.items()
        if names
    }
    tried = _try_out(trials, pool, seconds)
    settings: list[ProblemSetting] = []
    for key, check in todo.items():
        setting, found = tried[key] if key in tried else check()
        mistakes += found
        if setting:
            twins = [f"problems.{s.label}" for s in settings if s.problem == setting.problem]
            mistakes += [Mistake(key, f"is the same problem as {twin}") for twin in twins]
            settings.append(setting)
    return settings


def _without_what_it_loaded(
    check: Callable[[], tuple[ProblemSetting | None, list[Mistake]]],
) -> tuple[ProblemSetting | None, list[Mistake]]:
    """Return what a check of a problem does, the problem as it came from the file: it has to travel."""
    setting, found = check()
    return setting and replace(setting, problem=replace(setting.problem)), found  # type: ignore[type-var]


def _own_names(value: Any) -> Iterator[str]:
    """Yield the names of code of the user's own in a problem's table."""
    if is_own(value):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _own_names(each)


def _check_problem(
    key: str, label: str | None, table: Any, folder: Path
) -> tuple[ProblemSetting | None, list[Mistake]]:
    """Return a problem's setting, None unless it is sound, and the mistakes in its table."""
    if label is not None and not LEGAL_NAME.fullmatch(label):
        return None, [Mistake(key, f"a label is {NAME_RULE}")]
    if not isinstance(table, dict):
        return None, []
    settings = dict(table)
    settings.pop("training", None)  # `_check_training` reads it
    name = settings.pop("name", "table" if "data" in settings else None)
    if is_own(name):
        own = OwnProblem(File(name, folder.resolve()), settings)
        wrong = [Mistake(f"{key}.{one}", message) for one, message in own.check().items()]
        label = label or _stem(own.label, "own")
        return None if wrong else ProblemSetting(label, name, own, ()), wrong
    known_name = isinstance(name, str) and name in PROBLEMS
    kinds = [PROBLEMS[name]] if known_name else PROBLEMS.values()
    legal = {"training", *(field.name for kind in kinds for field in fields(kind))}
    split = _split_labels(key, table, legal) if label else []
    if split:
        return None, split
    if not known_name:
        names = ", ".join(f'"{problem}"' for problem in PROBLEMS)
        hint = f'; did you mean data = "{name}"?' if isinstance(name, str) and name in DATASETS else ""
        return None, [Mistake(f"{key}.name", f"must be one of {names}, got {show(name)}{hint}")]
    found: list[Mistake] = []
    problem = read_problem(PROBLEMS[name], settings, key, folder, found)
    known = settings.keys() & legal
    sound = {
        one: settings[one]
        for one in known
        if read_problem(PROBLEMS[name], {one: settings[one]}, "", folder, []) is not None
    }
    conflicts = read_problem(PROBLEMS[name], sound, "", folder, [])
    told = {mistake.key for mistake in found}
    for one, message in _conflicts(conflicts).items() if conflicts else ():
        where = f"{key}.{one}" if one else key
        if where not in told:
            found.append(Mistake(where, message))
    if problem and not found and problem.run_bytes > MOST_RUN_BYTES:
        text = f"a run takes {problem.run_bytes / 1e9:,.1f} GB of memory"
        found.append(Mistake(key, f"{text}; must take at most {MOST_RUN_BYTES / 1e9:g} GB"))
    if problem is None or found:
        return None, found
    return ProblemSetting(label or _label(name, problem), name, problem, ()), []


def _wrong_splits(raw: Mapping[str, Any], problems: list[ProblemSetting], seeds: Seeds) -> list[Mistake]:
    """Return where a split that a seed draws is none to learn from; further seeds fail when they run."""
    mistakes = []
    for setting in problems:
        if not getattr(setting.problem, "is_resampled", False):
            continue
        for seed in itertools.islice(seeds.all(), MOST_SPLITS_TRIED):
            try:
                setting.problem.rows(seed)  # type: ignore[attr-defined]
            except DataError as error:
                key = "problem" if "problem" in raw else f"problems.{setting.label}"
                mistakes.append(Mistake(f"{key}.{error.key}", f"of seed {seed}: {error}"))
                break
    return mistakes


def _label(name: str, problem: Any) -> str:
    """Return the label of an experiment's only problem: its data's name, or its own."""
    data = getattr(problem, "data", "")
    return _stem(Path(getattr(data, "name", data)).stem, name)


def _stem(stem: str, otherwise: str) -> str:
    return stem if LEGAL_NAME.fullmatch(stem) else otherwise


def _conflicts(problem: Problem) -> dict[str, str]:
    """Return what is wrong between keys, "" for all: parts of the user's own may raise anything."""
    try:
        wrong = problem.check()
        has_own = any(map(is_own, identity.files_of(problem)))
        if not wrong and has_own and (mixed := wrong_problem(problem)):
            return {"": mixed}
        return wrong
    except Interrupted:
        raise
    except Exception as error:
        return {"": f"{type(error).__name__}: {error}"}


def read_problem(
    kind: type, settings: Mapping[str, Any], key: str, folder: Path, mistakes: list[Mistake]
) -> Any:
    """Return the problem of a table, and of the tables in it; None, and the mistakes, if it is wrong."""
    count = len(mistakes)
    problem = validate(kind, settings, key, mistakes)
    parts: dict[str, Any] = {}
    for name, (tag, kinds) in getattr(kind, "PARTS", {}).items():
        value = settings.get(name)
        if problem is None or value is None:
            continue
        if isinstance(value, list):
            parts[name] = tuple(
                _part(each, tag, kinds, f"{key}.{name}[{place}]", folder, mistakes)
                for place, each in enumerate(value, start=1)
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
    elif isinstance(data, str) and data.endswith(SUFFIXES):
        parts["data"] = File(data, folder.resolve())
    if len(mistakes) > count:
        return None
    return replace(problem, **parts)


def _part(
    value: Any, tag: str, kinds: Mapping[str, type], key: str, folder: Path, mistakes: list[Mistake]
) -> Any:
    """Return a part of a problem: of a known kind, or of the user's own."""
    table = {tag: value} if isinstance(value, str) else value
    name = table.get(tag) if isinstance(table, dict) else None
    if not is_own(name):
        return resolve(value, tag, kinds, key, mistakes)
    settings = {one: given for one, given in table.items() if one != tag}
    return _own(name, settings, key, folder, mistakes)


def _own_metrics(
    names: list[Any], key: str, folder: Path, mistakes: list[Mistake]
) -> tuple[Own | None, ...]:
    """Return the metrics of the user's own, each of a name that no other has."""
    metrics: dict[str, Own | None] = {}
    for place, name in enumerate(names, start=1):
        where = f"{key}[{place}]"
        if not is_own(name):
            mistakes.append(Mistake(where, f'must be "file.py:function", got {show(name)}'))
            continue
        label = name.partition(":")[2]
        if label in metrics or label in METRICS:
            mistakes.append(Mistake(where, f"there is a metric {label} already"))
        metrics[label] = _own(name, {}, where, folder, mistakes)
    return tuple(metrics.values())


def _own(
    name: str, settings: dict[str, Any], key: str, folder: Path, mistakes: list[Mistake]
) -> Own | None:
    """Return what a user's own file has under a name; None, and a mistake, if it has not."""
    try:
        load_object(name, folder.resolve())
    except (ValueError, OSError) as error:
        mistakes.append(Mistake(key, str(error)))
        return None
    return Own(File(name, folder.resolve()), settings)


def _split_labels(key: str, table: Mapping[str, Any], legal: set[str]) -> list[Mistake]:
    """Return the mistakes in a label's table that is the first half of a label with a dot."""
    mistakes = []
    kind, _, label = key.partition(".")
    for name, value in table.items():
        whole = [label]
        while isinstance(value, dict) and name not in legal:
            whole.append(name)
            name, value = next(((k, v) for k, v in value.items() if isinstance(v, dict)), ("", None))
        if len(whole) > 1:
            quoted = json.dumps(".".join(whole), ensure_ascii=False)
            text = f"a dot splits a key in TOML; quote the label: [{kind}.{quoted}]"
            mistakes.append(Mistake(key, printable(text)))
    return mistakes


def _check_training(
    raw: Mapping[str, Any], problems: list[ProblemSetting], mistakes: list[Mistake]
) -> list[ProblemSetting]:
    """Return the problems with the steps to record, the last one included."""
    shared = raw.get("training")
    if isinstance(shared, dict) and ("epochs" in shared) == ("steps" in shared):
        mistakes.append(Mistake("training", "must give either epochs or steps"))
        return []
    training = _sound(Training, shared)
    settings = []
    for setting in problems if training else ():
        key, length = _length(raw, setting.label, training, mistakes)
        if length is None:
            continue
        epoch = setting.problem.steps_per_epoch
        steps = length.steps or (length.epochs or 0) * epoch
        every = epoch if length.record_every == "epoch" else length.record_every
        if steps > MOST_STEPS:
            text = f"gives {steps:,} steps per run; must give at most {MOST_STEPS:,}"
            mistakes.append(Mistake(f"{key}.epochs", text))
            break
        if steps > MOST_RECORDS * every:
            text = f"gives {steps // every:,} records a run; must give at most {MOST_RECORDS:,}"
            mistakes.append(Mistake(f"{key}.record_every", text))
            break
        settings.append(replace(setting, record_at=(*range(every, steps, every), steps)))
    return settings


def _length(
    raw: Mapping[str, Any], label: str, training: Training, mistakes: list[Mistake]
) -> tuple[str, Length | None]:
    """Return the key that says how long a problem trains, its own or the shared one, and how long."""
    key = "problem" if "problem" in raw else f"problems.{label}"
    own = (raw["problem"] if "problem" in raw else raw["problems"][label]).get("training")
    if own is None:
        return "training", training
    key = f"{key}.training"
    length: Length | None = validate(Length, own, key, mistakes)
    if length and length.epochs and length.steps:
        mistakes.append(Mistake(key, "must give either epochs or steps"))
        return key, None
    if length and not (length.epochs or length.steps):
        length = length.model_copy(update={"epochs": training.epochs, "steps": training.steps})
    if length and "record_every" not in own:
        length = length.model_copy(update={"record_every": training.record_every})
    return key, length


def _wrong_params(
    seeds: int, reporting: int, problems: list[ProblemSetting], optimizers: list[OptimizerSetting]
) -> str | None:
    """Return why the parameters of so many seeds cannot be recorded; None if they can."""
    if seeds > reporting:
        return f"must be at most {reporting:,}, the number of reporting seeds, got {seeds:,}"
    candidates = sum(len(setting.candidates) for setting in optimizers)
    size = sum(
        seeds * candidates * (len(s.record_at) + 1) * s.problem.size * np.dtype(s.problem.dtype).itemsize
        for s in problems
    )
    if size > MOST_PARAMS_BYTES:
        most = f"{MOST_PARAMS_BYTES / 1e9:g} GB"
        return f"would keep {size / 1e9:,.1f} GB of parameters; must keep at most {most}"
    return None


def _check_optimizers(
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
    checked |= _try_out(trials, pool, seconds)
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
        shared = _sound(Shared, self.shared.get("search")) or Shared()
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


class Trial(NamedTuple):
    """A check that runs code of the user's own: what is checked, the key and the names of the code."""

    check: Callable[[], tuple[Any, list[Mistake]]]
    key: str
    names: str


def _try_out(
    trials: Mapping[str, Trial], pool: Pool, seconds: float
) -> dict[str, tuple[Any, list[Mistake]]]:
    """Return label → what its check returns, in a worker; None and a mistake where that is lost."""
    tasks = ((label, trial, seconds, Path.cwd()) for label, trial in trials.items())
    checked = {}
    for event in pool.run(lambda: next(tasks, None)):
        label, trial, *_ = event.task
        if event.kind == "done":
            checked[label] = event.value
            continue
        what = (
            "ends or crashes its process when it is loaded or tried out"
            if event.kind == "died"
            else f"takes longer than {seconds:g} s to be loaded and tried out; perhaps it never ends"
        )
        checked[label] = None, [Mistake(trial.key, f"{trial.names} {what}")]
    return checked


def _check_in_worker(task: tuple[str, Trial, float, Path], tell: Tell) -> tuple[Any, list[Mistake]]:
    """Return what a check returns; whatever code of the user's own raises is a mistake of its own."""
    _, trial, seconds, folder = task
    tell(Clock(seconds))
    try:
        with chdir(folder):  # it may change the working directory, which relative paths start from
            return trial.check()
    except BaseException as error:
        raised = traceback.format_exception_only(error)[-1].strip()
        return None, [Mistake(trial.key, f"{trial.names} cannot be tried out: {raised}")]


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
        split = _split_labels(key, table, {"rule"})
        return None, split or [*found, Mistake(rule_key, str(error))]
    rule = with_keys(bare, {**table, **search})
    defaults = hyperparameters(rule)
    split = _split_labels(key, table, {*defaults, *OF_TABLE})
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
        return f"must be a number, a text, true or false, got {show(value)}"
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
        rates = _sound(LearningRates, each.shared["learning_rates"])
    else:
        mistakes.append(Mistake(key, "needs learning_rates, here or at the top of the file"))
    return tuple(sorted(set(rates or ())))


def _lost_in_dtype(
    problem: ProblemSetting, setting: OptimizerSetting, table: Mapping[str, Any]
) -> list[Mistake]:
    """Return which legal hyper-parameters are legal no more in the dtype of the problem."""
    mistakes = []
    dtype = np.dtype(problem.problem.dtype).type
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
        mistakes.append(
            Mistake(key, f"{which}{value!r} is {held:g} in {problem.problem.dtype}; {right}")
        )
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
