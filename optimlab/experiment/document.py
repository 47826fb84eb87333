"""The keys of an experiment's file, as pydantic checks them, and their limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, StringConstraints

from optimlab.experiment.runs import FIRST_REPORTING_SEED
from optimlab.experiment.search import Shared

MOST_PROBLEMS, MOST_OPTIMIZERS = 100, 100
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
