"""Experiments: what is compared, and the list of runs that it takes.

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

from optimlab.experiment.candidates import Axis, Candidate
from optimlab.experiment.document import Seeds, Settings
from optimlab.experiment.facts import Facts
from optimlab.experiment.identity import digest, joint_digest, problem_code, script_digest
from optimlab.experiment.imports import Code
from optimlab.experiment.registry import code_of, names_of
from optimlab.experiment.runs import Cell, Run, runs_of
from optimlab.experiment.validation import Mistake, validate
from optimlab.optimizers import RULES
from optimlab.problems.base import Problem

CURVE = 200  # steps
FOLDER = Path("experiments")  # the user's
PACKAGED = Path(__file__).parents[1] / "shipped"  # those that are installed with the package
SHIPPED = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "experiments"


@dataclass(frozen=True)
class OptimizerSetting:
    """One row of the comparison: a rule, and the candidates to try.

    Attributes
    ----------
    label : its name in tables and figures.
    rule : the name that `optimlab.experiment.registry.load_rule` takes.
    hyperparameters : those that are held fixed, defaults included.
    axes : those that are tuned, the learning rate first.
    candidates : in order; those that differ only in the learning rate are adjacent.
    default_learning_rate : the rule's own, None where it has none.
    schedules : hyper-parameter → what `optimlab.experiment.registry.load_schedule` takes.
    curves : hyper-parameter → the factors of its schedule, in a run of `CURVE` steps.
    """

    label: str
    rule: str
    hyperparameters: dict[str, Any]
    axes: tuple[Axis, ...]
    candidates: tuple[Candidate, ...]
    default_learning_rate: float | None = None
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of code in it: of the rule, and of user-defined schedules."""
        return names_of(self.rule, self.schedules)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """All that are tried, ascending."""
        return tuple(sorted({candidate.learning_rate for candidate in self.candidates}))


@dataclass(frozen=True)
class ProblemSetting:
    """One problem of an experiment, and when its runs are recorded.

    Attributes
    ----------
    label : its name in tables and figures.
    name : the key of `optimlab.problems.PROBLEMS`.
    problem : what is optimized.
    record_at : the steps that are recorded, the last one included; step 0 always is.
    facts : of a problem with user code, what was found where it was tried out.
    """

    label: str
    name: str
    problem: Problem
    record_at: tuple[int, ...]
    facts: Facts | None = None

    @property
    def about(self) -> Problem | Facts:
        """What the problem says of itself, without running user code."""
        return self.facts or self.problem

    @property
    def network(self) -> str | None:
        """A table of the network's layers; None where there is no network."""
        summary = getattr(self.about, "summary", None)
        return summary() if summary else None

    @property
    def steps(self) -> int:
        """How many a run takes."""
        return self.record_at[-1]

    @property
    def settings(self) -> dict[str, Any]:
        """The problem's settings, as its table in the file could give them."""
        return dataclasses.asdict(self.problem)  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
    """A checked experiment. One that is made in Python needs no file.

    Attributes
    ----------
    name : of the TOML file and of the results folder.
    problems : what is optimized, in the file's order; each is a comparison of its own.
    optimizers : in the file's order.
    file : the TOML file; user code and data are looked up in its folder.
    toml : its text.
    record_params : of how many reporting seeds, the first ones, the parameters are recorded, too.
    looks : of a sweep in rounds, the reporting seeds at each look at its results.
    changes : how it differs from its file, as ``--set`` has it: "training.epochs=3".

    Raises
    ------
    ValueError
        When one of the `Settings` is wrong; the message is the one that a file with it would get.
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
        """The experiment as commands take it: its file's name, or its path if that is elsewhere."""
        return self.file.stem if self.file.parent in (FOLDER, SHIPPED) else str(self.file)

    @property
    def has_own_code(self) -> bool:
        """Whether a run needs more code than the package's own, which may crash its process."""
        return any(setting.facts for setting in self.problems) or any(
            setting.rule not in RULES or len(setting.names) > 1 for setting in self.optimizers
        )

    def with_rounds(self, reporting: int, looks: tuple[int, ...]) -> Experiment:
        """Return the experiment with so many reporting seeds, and the looks at them."""
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
        """Return a digest of everything but the seed that decides a run's numbers."""
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

        It is of the code as it was when the first run was identified.
        """
        problems, others = self._code
        return {
            (problem, setting.label): joint_digest(problems[problem], others[setting.names])
            for problem, setting in itertools.product(problems, self.optimizers)
        }

    @property
    def packages(self) -> dict[str, str]:
        """Name → version of the installed packages that decide numbers, by name."""
        problems, others = self._code
        codes = [*problems.values(), *others.values()]
        return dict(sorted(item for code in codes for item in code.packages.items()))

    @cached_property
    def _code(self) -> tuple[dict[str, Code], dict[tuple[str, ...], Code]]:
        """The code of the problems by label, and that of the optimizers by what they name."""
        names = {setting.names for setting in self.optimizers}
        return (
            {setting.label: problem_code(setting.problem) for setting in self.problems},
            {each: code_of(each, self.file.parent) for each in names},
        )

    @cached_property
    def _scripts(self) -> dict[str, str]:
        return {setting.label: script_digest(setting.problem) for setting in self.problems}
