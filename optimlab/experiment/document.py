"""The keys of an experiment file, each declared with its type, limits, default and meaning.

Its tables have other keys: a problem's are the fields of its class in `optimlab.problems`, an
optimizer's are in `optimlab.experiment.optimizer_table`, a schedule's in `optimlab.schedules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

from optimlab.experiment.names import normal
from optimlab.experiment.runs import FIRST_REPORTING_SEED, Role
from optimlab.experiment.search import Shared
from optimlab.validation import EMPTY_KEY, LABELLED, Mistake, read_keys, show, unknown

MOST_PROBLEMS, MOST_OPTIMIZERS = 100, 100
MOST_TITLE = 200
EITHER_LENGTH = "must give either epochs or steps"
# Control characters, and those that change the direction of the text after them.
INVISIBLE = r"\p{Cc}\u{202A}-\u{202E}\u{2066}-\u{2069}"
LearningRates = Annotated[
    tuple[Annotated[float, Ge(1e-30), Le(1e30)], ...],
    Len(1, 1000),
]


FINAL = "mean:5"  # how final values are taken
LEGAL_FINAL = re.compile(r"last|best_validation|mean:[1-9][0-9]{0,5}")
EQUAL_WITHIN = 0.05  # of the better one's loss: a smaller difference does not matter


def _legal_final(final: str) -> str:
    if not LEGAL_FINAL.fullmatch(final):
        legal = '"last", "best_validation", or "mean:5" with any number of records'
        raise ValueError(f"must be {legal}, got {show(final)}")
    return final


class Length(BaseModel):
    """The length of a run, and the steps to record: at the end of every epoch, or at an interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    steps: Annotated[int, Ge(1), Le(100_000_000)] | None = None
    record_every: Literal["epoch"] | Annotated[int, Ge(1)] = "epoch"


class Training(Length):
    """The training of all problems without a separate one.

    The parameters are recorded for the first `record_params` reporting seeds only.
    """

    record_params: Annotated[int, Ge(0)] = 0

    def of(self, own: Length | None) -> Length:
        """Return the training of a problem: its own keys, and these for the others."""
        if own is None:
            return self
        missing = () if own.epochs or own.steps else ("epochs", "steps")
        if "record_every" not in own.model_fields_set:
            missing = (*missing, "record_every")
        return own.model_copy(update={name: getattr(self, name) for name in missing})


class Seeds(BaseModel):
    """The numbers of seeds that choose the candidates, and of seeds that are reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tuning: Annotated[int, Ge(0), Le(FIRST_REPORTING_SEED)] = 10
    reporting: Annotated[int, Ge(0), Le(1_000_000)] = 30

    @model_validator(mode="after")
    def _has_a_seed(self) -> Seeds:
        if self.tuning + self.reporting == 0:
            raise ValueError("must give at least one seed, tuning or reporting")
        return self

    def roles(self) -> Iterator[tuple[int, Role]]:
        """Yield every seed with its role, tuning seeds first."""
        for seed in range(self.tuning):
            yield seed, "tuning"
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + self.reporting):
            yield seed, "reporting"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an experiment as a whole.

    Attributes
    ----------
    title, description : text for the reader.
    final : how a run's final values are taken: "last", "mean:5" records, or "best_validation".
    equal_within : the share of a loss within which a difference does not matter.
    report : user functions, "file.py:function", that add blocks to the page.
    seeds : the numbers of tuning and of reporting seeds.
    """

    title: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=MOST_TITLE, pattern=f"^[^{INVISIBLE}]*$"
        ),
    ]
    description: Annotated[
        str, StringConstraints(max_length=5000, pattern=f"^([^{INVISIBLE}]|[\\n\\t])*$")
    ] = ""
    final: Annotated[str, AfterValidator(_legal_final)] = FINAL
    equal_within: Annotated[float, Ge(0), Le(1)] = EQUAL_WITHIN
    report: tuple[str, ...] = ()
    seeds: Seeds = field(default_factory=Seeds)


@dataclass(frozen=True, kw_only=True)
class Document(Settings):
    """The content of a file; a key with an illegal value is None.

    Attributes
    ----------
    learning_rates, search, schedule, schedules : for all optimizers whose tables lack them.
    problem, problems : the table of the only problem, or label → table.
    training : for all problems whose tables lack it.
    optimizers : label → table.
    """

    learning_rates: LearningRates = ()
    search: Shared = field(default_factory=Shared)
    schedule: Any = None
    schedules: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    problems: Annotated[dict[str, Any], Len(1, MOST_PROBLEMS)] | None = None
    training: Training
    optimizers: Annotated[dict[str, Any], Len(1, MOST_OPTIMIZERS)]


def with_normal_labels(raw: dict[str, Any], mistakes: list[Mistake]) -> dict[str, Any]:
    """Return the content of a file with all labels in their normal form; `mistakes` gets repetitions."""
    content = dict(raw)
    for kind in LABELLED:
        if not isinstance(raw.get(kind), dict):
            continue
        content[kind] = {}
        for label, table in raw[kind].items():
            if normal(label) in content[kind]:
                wrong = "is there twice: its accents are typed in two ways, which make one label"
                mistakes.append(Mistake(f"{kind}.{normal(label)}", wrong))
            content[kind].setdefault(normal(label), table)
    return content


def read_document(raw: dict[str, Any], mistakes: list[Mistake]) -> Document:
    """Return the content of a file, and add its mistakes to `mistakes`."""
    known = fields(Document)
    values = read_keys(Document, raw, "", mistakes)
    for key in known:
        if key.default is key.default_factory is MISSING and key.name not in raw:
            mistakes.append(Mistake(key.name, "is missing"))
            values[key.name] = None
    table = raw.get("training")
    if isinstance(table, dict) and ("epochs" in table) == ("steps" in table):
        mistakes.append(Mistake("training", EITHER_LENGTH))
        values["training"] = None
    names = [key.name for key in known]
    mistakes += [Mistake(key or EMPTY_KEY, unknown(key, names)) for key in raw if key not in names]
    if ("problem" in raw) == ("problems" in raw):
        text = "must be given: either one [problem], or a table [problems.<label>] for each of several"
        mistakes.append(Mistake("problem", text))
        values |= {"problem": None, "problems": None}
    return Document(**values)
