"""The manifest: experiment.json, the description of an experiment's results, written and read.

The tables are made from it and the parts alone: it lists the runs in order, so that nothing has to be
loaded or run to make them.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan, BaseModel, JsonValue
from pydantic_core import to_jsonable_python

from optimlab import hints
from optimlab.experiment.candidates import Axis, Scaling
from optimlab.experiment.document import Settings
from optimlab.experiment.runs import Cell, Role, Run, runs_of
from optimlab.experiment.spec import Experiment, OptimizerSetting, ProblemSetting
from optimlab.optimizers import RULES
from optimlab.validation import Mistake, read_keys, validate

MANIFEST = "experiment.json"
# Keys of the experiment as a whole; those whose form differs here, such as the seeds, are fields below.
SETTINGS = [each.name for each in fields(Settings) if each.name != "seeds"]

Count = Annotated[int, Ge(0), Le(10**12)]
Finite = Annotated[float, AllowInfNan(False)]
Positive = Annotated[float, Gt(0), AllowInfNan(False)]
Seconds = Annotated[float, Ge(0), Le(1e12)]


class AboutProblem(BaseModel):
    """A problem: its name and settings, its network, and the length of a run."""

    problem: dict[str, JsonValue] = {}
    network: str | None = None
    steps: Count | None = None
    steps_per_epoch: Positive | None = None
    stuck_loss: Finite | None = None
    extra_metrics: list[str] = []
    loss_unit: str | None = None
    dtype: Literal["float32", "float64"] = "float64"


class AboutAxis(BaseModel):
    """A tuned hyper-parameter and its values: a list of levels, or a range."""

    name: str
    levels: list[JsonValue] = []
    low: Finite | None = None
    high: Finite | None = None
    scaling: Scaling = "linear"
    is_whole: bool = False


class AboutCandidate(BaseModel):
    """A candidate of an optimizer, and those of its hyper-parameters that differ between candidates."""

    number: Count
    values: dict[str, JsonValue] = {}


class AboutOptimizer(BaseModel):
    """An optimizer: its rule, fixed and tuned hyper-parameters, candidates, and schedules.

    `partition` says how the rule divides the parameters of each problem, if it does.
    """

    label: str | None = None
    rule: str | None = None
    hyperparameters: dict[str, JsonValue] = {}
    axes: list[AboutAxis] = []
    candidates: list[AboutCandidate] = []
    default_learning_rate: Finite | None = None
    schedules: dict[str, dict[str, JsonValue]] = {}
    curves: dict[str, list[Finite]] = {}
    searched: list[str] = []
    partition: dict[str, str] = {}

    def values(self) -> dict[int, dict[str, JsonValue]]:
        """Return candidate number → hyper-parameters."""
        return {each.number: {**self.hyperparameters, **each.values} for each in self.candidates}


class LastSweep(BaseModel):
    """The number of runs of the last sweep, and its seconds."""

    runs: Count = 0
    seconds: Seconds = 0


class StepCost(BaseModel):
    """The cost of a step of one run alone: processor seconds, the rule's share, bytes of state."""

    step_seconds: Seconds
    rule_seconds: Seconds
    state_bytes: Annotated[float, Ge(0), Le(1e15)]


class Computed(BaseModel):
    """The libraries and kernels, which decide the last bits, and how many runs they computed."""

    by: dict[str, str] = {}
    runs: Count = 0


class Manifest(BaseModel):
    """The content of experiment.json. Any of it may be missing, as in results of an older version.

    Attributes
    ----------
    settings : the other `optimlab.experiment.document.Settings`, by key; in the file, keys of its own.
    name, toml, toml_sha256 : of the experiment file.
    file : the experiment file, relative to the results folder, with which it may have been moved.
    command : the command that makes these results.
    changes : changes to the experiment file, in the form of ``--set``.
    problem, network, steps, steps_per_epoch, stuck_loss : of the problem, if there is only one.
    problems, optimizers : label → description.
    seeds : role → its seeds.
    record_params : the number of reporting seeds whose parameters are recorded.
    looks : of a sweep in rounds, the number of reporting seeds at each look at its results.
    cells : the problem, optimizer, candidate and learning rate of each cell, and the identity of its
        runs.
    runs_expected, runs_finished, statuses : numbers of runs.
    last_sweep, environment : its duration; the machine and the versions.
    computed : the libraries and kernels that computed the finished runs.
    costs : problem → optimizer → cost of a step, measured on one run trained alone.
    code : problem and optimizer → the digest of their code.
    parts : a digest of the names of all parts, which contain the digests of their contents; it tells
        which parts the tables were made from.
    tables : table → the SHA-256 of its bytes.
    """

    name: str | None = None
    settings: dict[str, JsonValue] = {}
    file: str | None = None
    command: str | None = None
    changes: list[str] = []
    problem: dict[str, JsonValue] | None = None
    network: str | None = None
    steps: Count | None = None
    steps_per_epoch: Positive | None = None
    stuck_loss: Finite | None = None
    problems: dict[str, AboutProblem] = {}
    optimizers: dict[str, AboutOptimizer] = {}
    seeds: dict[Role, list[Count]] = {}
    record_params: Count = 0
    looks: list[Count] = []
    cells: list[Cell] = []
    runs_expected: Count | None = None
    runs_finished: Count | None = None
    statuses: dict[str, Count] = {}
    last_sweep: LastSweep | None = None
    environment: dict[str, JsonValue] = {}
    computed: list[Computed] = []
    costs: dict[str, dict[str, StepCost]] = {}
    code: dict[str, str] = {}
    parts: str | None = None
    tables: dict[str, str] = {}
    toml: str | None = None
    toml_sha256: str | None = None

    def runs(self) -> Iterator[Run]:
        """Yield every run of the experiment, in order."""
        roles = [(seed, role) for role, seeds in self.seeds.items() for seed in seeds]
        return runs_of(self.cells, roles, self.record_params)

    def numbers(self) -> set[str]:
        """Return the hyper-parameters that are numbers for every optimizer that has them."""
        values: dict[str, list[JsonValue]] = {}
        for optimizer in self.optimizers.values():
            given = [optimizer.hyperparameters, *(each.values for each in optimizer.candidates)]
            for name, value in (item for each in given for item in each.items()):
                values.setdefault(name, []).extend([] if value is None else [value])
        return {
            name
            for name, given in values.items()
            if given
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
        }

    def is_whole(self) -> bool:
        """Return whether it has the text of an experiment file and the matching digest."""
        return self.toml_sha256 == sha256((self.toml or "").encode()).hexdigest()

    def content(self) -> bytes:
        """Return experiment.json as bytes."""
        about = self.settings | self.model_dump(mode="json", exclude_unset=True, exclude={"settings"})
        return f"{json.dumps(about, indent=2, ensure_ascii=False)}\n".encode()

    def known(self) -> dict[str, Any]:
        """Return all fields that are set, as a dictionary."""
        return self.settings | self.model_dump(
            exclude_unset=True, exclude_none=True, exclude={"settings"}
        )


class OlderVersionError(ValueError):
    """An experiment.json of an older version, in a form that is no longer read."""


def read_manifest(content: bytes) -> Manifest:
    """Return the manifest in the bytes of experiment.json.

    Raises
    ------
    OlderVersionError
        If it is from a version before candidates, whose cells have no candidate number.
    ValueError
        If they are not JSON, or a value is invalid; the message names its key.
    """
    try:
        raw = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(raw, dict):
        raise ValueError("it must hold a table")
    cells = raw.get("cells")
    if isinstance(cells, list) and cells and all(isinstance(c, list) and len(c) == 4 for c in cells):
        raise OlderVersionError("cells: they were written by an older version of optimlab")
    mistakes: list[Mistake] = []
    known = {key: value for key, value in raw.items() if value is not None}
    settings = {key: known.pop(key) for key in SETTINGS if key in known}
    read_keys(Settings, settings, "", mistakes)
    manifest: Manifest | None = validate(Manifest, known, "", mistakes)
    if manifest is None or mistakes:
        first = mistakes[0]
        raise ValueError(f"{first.key}: {first.message}" if first.key else first.message)
    manifest = manifest.model_copy(update={"settings": settings})
    strangers = {cell.problem for cell in manifest.cells} - manifest.problems.keys()
    strangers |= {cell.optimizer for cell in manifest.cells} - manifest.optimizers.keys()
    if strangers:
        raise ValueError(f"cells: there is no problem or optimizer {min(strangers)!r}")
    known_to = {
        label: {each.number for each in about.candidates} for label, about in manifest.optimizers.items()
    }
    for cell in manifest.cells:
        if cell.candidate not in known_to[cell.optimizer]:
            raise ValueError(f"cells: {cell.optimizer} has no candidate {cell.candidate}")
    return manifest


def differing(manifest: Manifest, tables: Mapping[str, bytes]) -> list[str]:
    """Return the names of the tables whose content is not that recorded in a manifest.

    Parameters
    ----------
    manifest : one of an older version has no digests; then the result is empty.
    tables : name → content.
    """
    if not manifest.tables:
        return []
    digests = {name: sha256(content).hexdigest() for name, content in tables.items()}
    names = sorted(digests.keys() | manifest.tables.keys())
    return [name for name in names if digests.get(name) != manifest.tables.get(name)]


def describe(experiment: Experiment, folder: Path) -> Manifest:
    """Return the manifest of an experiment whose results are in `folder`, before any run."""
    seeds: dict[Role, list[int]] = {"tuning": [], "reporting": []}
    for seed, role in experiment.seeds.roles():
        seeds[role].append(seed)
    problems = {setting.label: _about(setting) for setting in experiment.problems}
    only = next(iter(problems.values())) if len(problems) == 1 else AboutProblem()
    return Manifest(
        name=experiment.name,
        settings=to_jsonable_python({key: getattr(experiment, key) for key in SETTINGS}),
        file=relative(experiment.file, folder),
        changes=list(experiment.changes),
        command=hints.command("sweep", experiment.argument, folder.parent, experiment.changes),
        problem=only.problem or None,
        network=only.network,
        steps=only.steps,
        steps_per_epoch=only.steps_per_epoch,
        stuck_loss=only.stuck_loss,
        problems=problems,
        optimizers={
            setting.label: _about_optimizer(setting, experiment.problems)
            for setting in experiment.optimizers
        },
        seeds=seeds,
        record_params=experiment.record_params,
        looks=list(experiment.looks),
        cells=list(experiment.cells()),
        runs_expected=experiment.count(),
        code={f"{label}, {rule}": code for (label, rule), code in experiment.codes.items()},
        toml=experiment.toml,
        toml_sha256=sha256(experiment.toml.encode()).hexdigest(),
    )


def _about(setting: ProblemSetting) -> AboutProblem:
    """Return the description of a problem."""
    about = setting.about
    return AboutProblem(
        problem=to_jsonable_python({"name": setting.name, **setting.settings}),
        network=setting.network,
        steps=setting.steps,
        steps_per_epoch=about.steps_per_epoch,
        stuck_loss=about.stuck_loss if math.isfinite(about.stuck_loss) else None,
        extra_metrics=list(about.extra_metrics),
        loss_unit=about.loss_unit,
        dtype=np.dtype(about.dtype).name,  # type: ignore[arg-type]  # one of the two
    )


def _about_axis(axis: Axis) -> AboutAxis:
    if not axis.is_span:
        return AboutAxis(name=axis.name, levels=list(axis.levels))
    return AboutAxis(
        name=axis.name, low=axis.low, high=axis.high, scaling=axis.scaling, is_whole=axis.is_whole
    )


def _about_optimizer(setting: OptimizerSetting, problems: Sequence[ProblemSetting]) -> AboutOptimizer:
    """Return the description of an optimizer."""
    fixed = setting.hyperparameters
    return AboutOptimizer(
        label=setting.label,
        rule=setting.rule,
        hyperparameters=fixed,
        axes=[_about_axis(axis) for axis in setting.axes],
        candidates=[
            AboutCandidate(
                number=each.number,
                values={
                    name: each.settings.get(name)  # None if it does not have that one
                    for name in {**each.settings, **fixed}
                    if name not in fixed or fixed[name] != each.settings.get(name)
                },
            )
            for each in setting.candidates
        ],
        default_learning_rate=setting.default_learning_rate,
        schedules=setting.schedules,
        curves={name: list(curve) for name, curve in setting.curves.items()},
        searched=list(setting.searched),
        partition=_partition(setting.rule, problems),
    )


def _partition(rule: str, problems: Sequence[ProblemSetting]) -> dict[str, str]:
    """Return problem → how the rule divides that problem's parameters, as text, if it does."""
    names = [] if ":" in rule else re.findall(r"\w+", rule)  # of wrappers, and last of the rule itself
    tell = getattr(RULES.get(names[-1]), "partition", None) if names else None
    layouts = {each.label: getattr(each.about, "layout", None) for each in problems if tell}
    return {label: tell(layout) for label, layout in layouts.items() if tell and layout}


def relative(file: Path, folder: Path) -> str:
    """Return a file relative to a folder, or its absolute path if it is on another drive."""
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(file.resolve())
