"""Loading: an experiment file in TOML becomes a checked `Experiment`.

All mistakes in the file are found before anything runs and reported together: key by key, with what
would be right.
"""

from __future__ import annotations

import ast
import errno
import itertools
import json
import tomllib
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from optimlab.data.named import is_own
from optimlab.errors import IS_FOLDER, UserError, printable, reason
from optimlab.experiment.document import Document, Settings, read_document, with_normal_labels
from optimlab.experiment.names import NAME_RULE, is_legal_name, normal
from optimlab.experiment.read_optimizers import check_optimizers, lost_in_dtype
from optimlab.experiment.read_problems import cautions_of, check_problems
from optimlab.experiment.spec import FOLDER, SHIPPED, Experiment, OptimizerSetting, ProblemSetting
from optimlab.experiment.trials import TrialWorker
from optimlab.experiment.unknown_keys import with_suggestions
from optimlab.files import read_regular
from optimlab.hints import PAGE
from optimlab.messages import warn
from optimlab.validation import Mistake, nearest, show

# Limits against mistakes. A list of a million runs takes 0.2 GB, and a page made
# from ten million rows of traces some 2.5 GB.
LARGEST_FILE = 100_000
LARGEST_CODE = 10_000_000
MOST_DOTS = 1000  # in a line: tomllib keeps every start of a key a.b.c…, so many parts take gigabytes
MOST_RUNS = 1_000_000
MOST_PARAMS_BYTES = 500_000_000
MOST_ROWS = 10_000_000
MOST_MISTAKES_SHOWN = 100
UNREADABLE = "is nested too deeply, or holds a number of too many digits"


class ExperimentError(UserError):
    """An experiment that cannot be run; the message names the file and lists every mistake."""

    def __init__(self, file: Path | str, mistakes: list[Mistake]) -> None:
        self.file, self.mistakes = file, mistakes
        shown = mistakes[:MOST_MISTAKES_SHOWN]
        lines = [printable(f"{m.key}: {m.message}" if m.key else m.message) for m in shown]
        where = printable(f"{file}: ") if str(file) else ""
        if len(lines) == 1:
            super().__init__(f"{where}{lines[0]}")
        else:
            if len(shown) < len(mistakes):
                lines.append(f"and {len(mistakes) - len(shown):,} more")
            super().__init__("\n  ".join([f"{where}{len(mistakes):,} mistakes", *lines]))


class NoSuchExperimentError(ExperimentError):
    """An experiment whose file does not exist."""


def available() -> list[Path]:
    """Return the experiment files by name: those in experiments/, and the shipped ones."""
    files = {file.stem: file for folder in (SHIPPED, FOLDER) for file in folder.glob("*.toml")}
    return [files[name] for name in sorted(files) if files[name].is_file()]


def find(name: str) -> Path:
    """Return the TOML file of an experiment: a path that ends in .toml, or a name.

    A name is looked up in experiments/, then among the shipped experiments.

    Raises
    ------
    ExperimentError
        If there is no such file; the message lists the existing ones.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    known = {normal(file.stem): file for file in available()}
    near = nearest(path.stem, known)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
    try:
        if path.is_file():
            return path
        if normal(name) in known:
            return known[normal(name)]
        if path.is_dir():
            hint = f"it {IS_FOLDER}"
        elif path.exists():
            hint = "it is not a regular file"
        elif path.is_symlink():
            hint = "it is a broken link"
        elif Path(name).is_file():
            path, hint = Path(name), 'the name of an experiment file must end in ".toml"'
        elif Path(f"{name}.toml").is_file():
            hint = f"did you mean {name}.toml?"
    except OSError as error:
        raise ExperimentError(path, [Mistake("", f"cannot be read: {reason(error)}")]) from error
    raise NoSuchExperimentError(path, [Mistake("", f"there is no such experiment; {hint}")])


def load(path: Path, worker: TrialWorker | None = None) -> Experiment:
    """Read and check an experiment file.

    A plug-in may crash its process or never end, so it is loaded and checked in a worker, never here.

    Parameters
    ----------
    path : the TOML file.
    worker : a worker that several files share; None for a separate one.

    Raises
    ------
    ExperimentError
        If the file has mistakes; it lists them all.
    """
    return parse(read_text(path), path, worker)


def read_text(path: Path) -> str:
    """Return the text of an experiment file.

    Raises
    ------
    ExperimentError
        When it cannot be read.
    """
    try:
        str(path).encode()  # results name their experiment file
        text = read_regular(path, LARGEST_FILE).decode("utf-8-sig")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
            raise OSError(errno.EFBIG, f"it has more than {MOST_DOTS:,} dots in a line")
        return text
    except OSError as error:
        wrong = f"cannot be read: {reason(error)}"
    except UnicodeEncodeError:
        wrong = "is in a folder whose name is not UTF-8"
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 text: {error.reason} at byte {error.start}"
    raise ExperimentError(path, [Mistake("", wrong)])


def parse(text: str, path: Path, worker: TrialWorker | None = None) -> Experiment:
    """Check an experiment's TOML; see `load`.

    Parameters
    ----------
    text : the TOML text.
    path : the text's file, which need not exist: its name is the experiment's, and its folder is where
        plug-ins are looked up.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(path, [Mistake("", f"is not valid TOML: {error}")]) from None
    except (RecursionError, ValueError):
        raise ExperimentError(path, [Mistake("", UNREADABLE)]) from None
    return check(raw, text, path, path, worker)


def check(
    raw: dict[str, Any],
    text: str,
    path: Path,
    source: Path | str,
    worker: TrialWorker | None = None,
) -> Experiment:
    """Return the experiment that tables describe.

    Parameters
    ----------
    raw : the tables, as read from TOML.
    text : the same as TOML text.
    path : see `parse`.
    source : the origin of the tables, for messages; "" for none.
    worker : see `load`.

    Raises
    ------
    ExperimentError
        If there are mistakes; it lists them all.
    """
    wrong = ""
    if not is_legal_name(path.stem):
        wrong = f"an experiment's name is {NAME_RULE}"
    elif path.stem.casefold() == PAGE:
        wrong = f"an experiment cannot have the page's name, {PAGE}"
    else:
        try:
            from_json(json.dumps(raw, default=str))  # validation reads it this way
        except (RecursionError, ValueError):
            wrong = UNREADABLE
    if wrong:
        raise ExperimentError(source, [Mistake("", wrong)])
    with TrialWorker() if worker is None else nullcontext(worker) as shared:
        experiment = _check(path, source, text, raw, shared)
    too_large = _too_large(experiment)
    if too_large:
        raise ExperimentError(source, [Mistake("", too_large)])
    return experiment


def _too_large(experiment: Experiment) -> str:
    """Return why an experiment is too large to run or report; "" if it is not."""
    runs = experiment.count()
    if runs > MOST_RUNS:
        return f"gives {runs:,} runs; must give at most {MOST_RUNS:,}"
    records = [1 + len(setting.record_at) for setting in experiment.problems]
    rows = runs * sum(records) // len(records)
    if rows > MOST_ROWS:
        text = f"gives {rows:,} rows of traces, {max(records):,} per run; must give at most"
        return f"{text} {MOST_ROWS:,}: record less often, or run less"
    return ""


def _check(
    path: Path, source: Path | str, text: str, raw: dict[str, Any], worker: TrialWorker
) -> Experiment:
    mistakes: list[Mistake] = []
    raw = with_normal_labels(raw, mistakes)
    document = read_document(raw, mistakes)
    # The mistakes above are collected; the rest is checked anyway.
    problems = check_problems(document, path.parent, worker, mistakes)
    lengths = tuple({setting.steps for setting in problems})
    optimizers = check_optimizers(document, path.parent, lengths, worker, mistakes)
    for problem, setting in itertools.product(problems, optimizers):
        mistakes += lost_in_dtype(problem, setting, document.optimizers[setting.label])
    for number, name in enumerate(document.report or (), start=1):
        not_one = _wrong_block(name, path.parent)
        mistakes += [Mistake(f"report[{number}]", not_one)] if not_one else []
    mistakes += _wrong_params(document, problems, optimizers)
    if mistakes:
        raise ExperimentError(source, with_suggestions(mistakes, raw))
    for caution in cautions_of(document, problems):
        warn(printable(f"{source}: {caution}" if source else caution))
    return Experiment(
        name=normal(path.stem),
        file=path,
        toml=text,
        problems=tuple(problems),
        optimizers=tuple(optimizers),
        record_params=document.training.record_params,
        **{each.name: getattr(document, each.name) for each in fields(Settings)},
    )


def _wrong_block(name: str, folder: Path) -> str:
    """Return why a name is not a function for the page; "" if it is one. The file is not run."""
    if not is_own(name):
        return f'must be "file.py:function", got {show(name)}'
    file, _, function = name.partition(":")
    try:
        tree = ast.parse(read_regular(folder / file, LARGEST_CODE))
    except OSError as error:
        return f"{file} cannot be read: {reason(error)}"
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"{file} is no Python: {error}"
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    assigned = [each for node in tree.body if isinstance(node, ast.Assign) for each in node.targets]
    functions += [each.id for each in assigned if isinstance(each, ast.Name)]
    return "" if function in functions else f'there is no function "{function}" in {file}'


def _wrong_params(
    document: Document, problems: list[ProblemSetting], optimizers: list[OptimizerSetting]
) -> list[Mistake]:
    """Return why the parameters of this many seeds cannot be recorded; nothing if they can."""
    training, seeds = document.training, document.seeds
    if not (training and seeds and training.record_params):
        return []
    count = training.record_params
    candidates = sum(len(setting.candidates) for setting in optimizers)
    size = sum(
        count * candidates * (len(s.record_at) + 1) * s.about.size * np.dtype(s.about.dtype).itemsize
        for s in problems
    )
    if count > seeds.reporting:
        wrong = f"must be at most {seeds.reporting:,}, the number of reporting seeds, got {count:,}"
    elif size > MOST_PARAMS_BYTES:
        most = f"{MOST_PARAMS_BYTES / 1e9:g} GB"
        wrong = f"would keep {size / 1e9:,.1f} GB of parameters; must keep at most {most}"
    else:
        return []
    return [Mistake("training.record_params", wrong)]
