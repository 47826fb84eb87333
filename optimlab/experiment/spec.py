"""Experiments: the problems and optimizers to compare, and the list of runs.

`optimlab.experiment.load` makes an `Experiment` from a TOML file.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from optimlab.experiment.candidates import Axis, Candidate, tried
from optimlab.experiment.document import Seeds, Settings
from optimlab.experiment.facts import Facts
from optimlab.experiment.identity import digest, joint_digest, problem_code, script_digest
from optimlab.experiment.imports import Code
from optimlab.experiment.registry import code_of, names_of
from optimlab.experiment.runs import Cell, Run, runs_of
from optimlab.optimizers import RULES
from optimlab.problems.base import Problem
from optimlab.validation import Mistake, validate

CURVE = 200  # steps of a schedule's curve
FOLDER = Path("experiments")  # of the user
PACKAGED = Path(__file__).parents[1] / "shipped"  # of the installed package
SHIPPED = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "experiments"


@dataclass(frozen=True)
class OptimizerSetting:
    """One row of the comparison: a rule, and the candidates to try.

    Attributes
    ----------
    label : its name in tables and figures.
    rule : the name that `optimlab.experiment.registry.load_rule` takes.
    hyperparameters : the fixed ones, including defaults.
    axes : the tuned ones, the learning rate first.
    candidates : in order; those that differ only in the learning rate are adjacent.
    default_learning_rate : the rule's default; None if it has none.
    schedules : hyper-parameter → the argument of `optimlab.experiment.registry.load_schedule`.
    curves : hyper-parameter → the factors of its schedule in a run of `CURVE` steps.
    searched : the axes of its search; () if the candidates are all points of a grid.
    """

    label: str
    rule: str
    hyperparameters: dict[str, Any]
    axes: tuple[Axis, ...]
    candidates: tuple[Candidate, ...]
    default_learning_rate: float | None = None
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    searched: tuple[str, ...] = ()

    @property
    def has_extra_default(self) -> bool:
        """Whether the textbook candidate is tried in addition to the grid or search."""
        numbers = [candidate.number for candidate in self.candidates]
        return len(tried(numbers, self.axes, self.searched)) < len(numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rule and of user-defined schedules."""
        return names_of(self.rule, self.schedules)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """All learning rates that are tried, ascending."""
        return tuple(sorted({candidate.learning_rate for candidate in self.candidates}))


@dataclass(frozen=True)
class ProblemSetting:
    """One problem of an experiment, and the steps at which its runs are recorded.

    Attributes
    ----------
    label : its name in tables and figures.
    name : the key of `optimlab.problems.PROBLEMS`.
    problem : the problem.
    record_at : the recorded steps, including the last; step 0 is always recorded.
    facts : for a problem with user code, its attributes as found in its check.
    """

    label: str
    name: str
    problem: Problem
    record_at: tuple[int, ...]
    facts: Facts | None = None

    @property
    def about(self) -> Problem | Facts:
        """The problem's attributes, without running user code."""
        return self.facts or self.problem

    @property
    def network(self) -> str | None:
        """A table of the network's layers; None without a network."""
        summary = getattr(self.about, "summary", None)
        return summary() if summary else None

    @property
    def steps(self) -> int:
        """The number of steps of a run."""
        return self.record_at[-1]

    @property
    def settings(self) -> dict[str, Any]:
        """The problem's settings, as in a table of a file."""
        return dataclasses.asdict(self.problem)  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
    """A checked experiment. One that is built in Python needs no file.

    Attributes
    ----------
    name : the name of the TOML file and of the results folder.
    problems : the problems, in the file's order; each is a separate comparison.
    optimizers : the optimizers, in the file's order.
    file : the TOML file; user code and data are looked up in its folder.
    toml : the text of the file.
    record_params : the number of reporting seeds, from the first, whose parameters are recorded.
    looks : for a sweep in rounds, the number of reporting seeds at each look at the results.
    changes : the changes by ``--set``, such as "training.epochs=3".

    Raises
    ------
    ValueError
        If one of the `Settings` is illegal; the message is the same as for a file.
    """

    name: str
    problems: tuple[ProblemSetting, ...]
    optimizers: tuple[OptimizerSetting, ...]
    file: Path = Path("experiment.toml")
    toml: str = ""
    record_params: int = 0
    looks: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        mistakes: list[Mistake] = []
        settings = {each.name: getattr(self, each.name) for each in dataclasses.fields(Settings)}
        validate(Settings, to_jsonable_python(settings), "", mistakes)
        if mistakes:
            raise ValueError("; ".join(f"{each.key}: {each.message}" for each in mistakes))

    @property
    def argument(self) -> str:
        """The argument for commands: its file's name, or its path if that is elsewhere."""
        return self.file.stem if self.file.parent in (FOLDER, SHIPPED) else str(self.file)

    @property
    def has_own_code(self) -> bool:
        """Whether a run needs code outside the package, which may crash its process."""
        return any(setting.facts for setting in self.problems) or any(
            setting.rule not in RULES or len(setting.names) > 1 for setting in self.optimizers
        )

    def with_rounds(self, reporting: int, looks: tuple[int, ...]) -> Experiment:
        """Return the experiment with this number of reporting seeds and these looks."""
        seeds = Seeds(tuning=self.seeds.tuning, reporting=reporting)
        return dataclasses.replace(self, seeds=seeds, looks=looks)

    def cells(self) -> Iterator[Cell]:
        """Yield every cell, by problem, optimizer and candidate."""
        for problem, setting in itertools.product(self.problems, self.optimizers):
            for each in setting.candidates:
                identity = self._identity(problem, setting, each)
                yield Cell(problem.label, setting.label, each.number, each.learning_rate, identity)

    def runs(self) -> Iterator[Run]:
        """Yield every run, by cell and seed."""
        return runs_of(self.cells(), list(self.seeds.roles()), self.record_params)

    def count(self) -> int:
        """Return the number of runs."""
        candidates = sum(len(setting.candidates) for setting in self.optimizers)
        return len(self.problems) * candidates * (self.seeds.tuning + self.seeds.reporting)

    def _identity(self, problem: ProblemSetting, setting: OptimizerSetting, candidate: Candidate) -> str:
        """Return a digest of everything that decides a run's numbers, except the seed."""
        parts = {
            "problem": [problem.name, problem.settings, self._scripts[problem.label]],
            "rule": setting.rule,
            "hyperparameters": candidate.hyperparameters,
            "learning_rate": candidate.learning_rate,
            "record_at": digest(repr(problem.record_at)),
            "code": self.codes[problem.label, setting.label],
        }
        if setting.schedules:
            parts["schedules"] = setting.schedules
        return digest(json.dumps(parts, sort_keys=True))

    @cached_property
    def codes(self) -> dict[tuple[str, str], str]:
        """Labels of a problem and an optimizer → the digest of the code that computes their runs.

        The code is read when the first run is identified.
        """
        problems, others = self._code
        return {
            (problem, setting.label): joint_digest(problems[problem], others[setting.names])
            for problem, setting in itertools.product(problems, self.optimizers)
        }

    @property
    def packages(self) -> dict[str, str]:
        """Name → version of the installed packages that decide numbers."""
        problems, others = self._code
        codes = [*problems.values(), *others.values()]
        return dict(sorted(item for code in codes for item in code.packages.items()))

    @cached_property
    def _code(self) -> tuple[dict[str, Code], dict[tuple[str, ...], Code]]:
        """The code of the problems by label, and of the optimizers by their names of code."""
        names = {setting.names for setting in self.optimizers}
        return (
            {setting.label: problem_code(setting.problem) for setting in self.problems},
            {each: code_of(each, self.file.parent) for each in names},
        )

    @cached_property
    def _scripts(self) -> dict[str, str]:
        return {setting.label: script_digest(setting.problem) for setting in self.problems}
