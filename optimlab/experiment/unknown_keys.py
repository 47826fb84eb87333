"""Unknown keys of an experiment file: the other tables in which such a key is legal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from optimlab.experiment.document import Document, Length
from optimlab.experiment.optimizer_table import Keys
from optimlab.experiment.registry import hyperparameters
from optimlab.experiment.search import Shared
from optimlab.optimizers import BY_KEY, RULES
from optimlab.problems import PROBLEMS
from optimlab.schedules import SCHEDULES
from optimlab.validation import UNKNOWN, Mistake, tables_of

MOST_TABLES = 3  # a key that is legal in more tables gets no suggestion
TOP = "at the top of the file, above the first table"


def with_suggestions(mistakes: list[Mistake], raw: Mapping[str, Any]) -> list[Mistake]:
    """Return the mistakes; on a key that is legal in another table, the message names that table.

    Parameters
    ----------
    mistakes : all mistakes of the file.
    raw : the content of the file.
    """
    return [
        mistake._replace(message=f"{UNKNOWN}; it belongs {table}")
        if mistake.message.startswith(UNKNOWN) and (table := _right_table(mistake.key, raw))
        else mistake
        for mistake in mistakes
    ]


def _right_table(where: str, raw: Mapping[str, Any]) -> str:
    """Return the table in which an unknown key is legal, as text; "" if there is none, or many."""
    table, _, name = where.rpartition(".")
    problem, given = (
        _around(table, "problems", raw) if "problems" in raw else ("problem", raw.get("problem"))
    )
    optimizer, _ = _around(table, "optimizers", raw)
    others = [*tables_of(Document), *_tables_of_problem(problem, given)]
    if not table.startswith("problem"):
        others += _tables_of_optimizer(optimizer)
    here = re.sub(r"\[\d+\]$", "", table)  # without the number in a list
    found = sorted(
        {key for key, keys in others if name in keys} - {here}, key=lambda key: (not key, key)
    )
    if not 0 < len(found) <= MOST_TABLES:
        return ""
    if found == [""] and name in dict(others):
        return f"at the top of the file, as the table [{name}]"
    return " or ".join(f"in {key}" if key else TOP for key in found)


def _around(table: str, kind: str, raw: Mapping[str, Any]) -> tuple[str, Any]:
    """Return key and content of the labelled table around a table; key with <label> if there is none."""
    labelled = raw.get(kind)
    for label, given in labelled.items() if isinstance(labelled, dict) else ():
        if f"{table}.".startswith(f"{kind}.{label}."):
            return f"{kind}.{label}", given
    return f"{kind}.<label>", None


def _tables_of_problem(key: str, given: Any) -> Iterator[tuple[str, set[str]]]:
    """Yield the tables of a problem and those in them; of all kinds if the file does not name one."""
    table = given if isinstance(given, dict) else {}
    kind = PROBLEMS.get(str(table.get("name", "table" if "data" in table else "")))
    for each in [kind] if kind else PROBLEMS.values():
        yield from tables_of(each, key)
        for part, (tag, kinds) in getattr(each, "PARTS", {}).items():
            for one in kinds.values():
                for where, keys in tables_of(one, f"{key}.{part}"):
                    yield where, keys - {tag}
    yield from tables_of(Length, f"{key}.training")


def _tables_of_optimizer(key: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the table of an optimizer, with the hyper-parameters of all rules, and those in it."""
    names = {name for rule in RULES.values() for name in hyperparameters(rule)} - {"learning_rate"}
    for where, keys in tables_of(Keys, key):
        yield where, keys | names | BY_KEY.keys()
    yield from tables_of(Shared, f"{key}.search")
    for kind in SCHEDULES.values():
        yield from tables_of(kind, f"{key}.schedule")
