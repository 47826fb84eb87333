"""Experiments: what is compared, and the list of runs that it takes.

`optimlab.config` makes an `Experiment` from a TOML file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from optimlab.plugins import plugin_files
from optimlab.training import Problem

Role = Literal["tuning", "reporting"]

FIRST_REPORTING_SEED = 1000  # far from the tuning seeds, so that neither kind ever becomes the other
PACKAGE = Path(__file__).parent
FOLDER = Path("experiments")
COMPUTING = ("numpy", "scikit-learn")  # the libraries whose versions decide numbers


@dataclass(frozen=True)
class OptimizerSetting:
    """One row of the comparison: a rule, its hyper-parameters, and the learning rates to try.

    Attributes
    ----------
    label : its name in tables and figures.
    rule : the name that `optimlab.plugins.load_rule` takes.
    hyperparameters : all but the learning rate, defaults included.
    learning_rates : ascending.
    """

    label: str
    rule: str
    hyperparameters: dict[str, Any]
    learning_rates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One training: an optimizer, a learning rate and a seed; `run_id` stands for all it computes."""

    run_id: str
    optimizer: str
    learning_rate: float
    seed: int
    role: Role


@dataclass(frozen=True)
class Experiment:
    """A checked experiment.

    Attributes
    ----------
    name : of the TOML file and of the results folder.
    file : the TOML file.
    toml : its text.
    title, description : for people.
    problem_name, problem : what is optimized.
    steps : how many a run takes.
    record_at : the steps that are recorded, the last one included; step 0 always is.
    tuning_seeds, reporting_seeds : how many choose the learning rate, and how many others are shown.
    optimizers : in the file's order.
    """

    name: str
    file: Path
    toml: str
    title: str
    description: str
    problem_name: str
    problem: Problem
    steps: int
    record_at: tuple[int, ...]
    tuning_seeds: int
    reporting_seeds: int
    optimizers: tuple[OptimizerSetting, ...]

    def roles(self) -> Iterator[tuple[int, Role]]:
        """Yield every seed with its role."""
        for seed in range(self.tuning_seeds):
            yield seed, "tuning"
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + self.reporting_seeds):
            yield seed, "reporting"

    def runs(self) -> Iterator[Run]:
        """Yield every run, by optimizer, learning rate and seed."""
        for setting in self.optimizers:
            for rate in setting.learning_rates:
                stem = self._identity(setting, rate)
                for seed, role in self.roles():
                    yield Run(_digest(f"{stem} seed {seed}"), setting.label, rate, seed, role)

    def count(self) -> int:
        """Return the number of runs."""
        rates = sum(len(setting.learning_rates) for setting in self.optimizers)
        return rates * (self.tuning_seeds + self.reporting_seeds)

    def _identity(self, setting: OptimizerSetting, rate: float) -> str:
        """Return a digest of everything but the seed that decides a run's numbers."""
        parts = {
            "problem": [self.problem_name, self.settings],
            "rule": setting.rule,
            "hyperparameters": setting.hyperparameters,
            "learning_rate": rate,
            "record_at": _digest(repr(self.record_at)),
            "code": self.codes[setting.rule],
        }
        return _digest(json.dumps(parts, sort_keys=True))

    @property
    def settings(self) -> dict[str, Any]:
        """The problem's settings, as its table in the file could give them."""
        return dataclasses.asdict(self.problem)  # type: ignore[call-overload]

    @cached_property
    def codes(self) -> dict[str, str]:
        """Rule → the digest of the code that computes its runs, as it was when they were identified."""
        return {s.rule: code_digest(self.problem, s.rule, self.file.parent) for s in self.optimizers}


def code_digest(problem: Problem, rule: str, folder: Path) -> str:
    """Return a digest of the code that computes: what is not in it decides no number.

    It is of the sources of this package that a run goes through, of the plug-in's file and what that
    imports from outside the installed packages, and of the versions of the libraries.
    """
    module = type(problem).__module__.rpartition(".")[2]
    files = ["optimizers.py", "training.py", "stack.py", "problems/seeds.py", f"problems/{module}.py"]
    sources = [*(PACKAGE / file for file in files), *sorted(PACKAGE.glob("nn/*.py"))]
    sources += plugin_files(rule, folder)
    parts = [_digest(path.read_bytes() if path.exists() else b"") for path in sources]
    return _digest(json.dumps([parts, [version(library) for library in COMPUTING]]))


def _digest(content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    return sha256(data).hexdigest()[:16]
