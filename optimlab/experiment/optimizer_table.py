"""The table of an optimizer in an experiment file: its keys, and their context in the file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from optimlab.data.named import is_own
from optimlab.experiment.candidates import RATE
from optimlab.experiment.document import Document, LearningRates
from optimlab.experiment.search import Shared
from optimlab.validation import Mistake, read_keys, show, validate


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of an optimizer's table other than hyper-parameters; an illegal value becomes None.

    Attributes
    ----------
    rule : the argument of `optimlab.experiment.registry.load_rule`; the label if left out.
    learning_rates : the learning rates to try; () for those of the file.
    search : hyper-parameter → its span or choices, and `trials`.
    schedule : the schedule of the learning rate, a name or a table; see
        `optimlab.experiment.registry.load_schedule`.
    schedules : the same for other hyper-parameters, by name.
    """

    rule: str = ""
    learning_rates: LearningRates = ()
    search: dict[str, Any] | None = None
    schedule: Any = None
    schedules: dict[str, Any] | None = None


TABLE_KEYS = tuple(each.name for each in fields(Keys))


@dataclass(frozen=True)
class OptimizerTable:
    """The table of an optimizer with everything that its check needs.

    Attributes
    ----------
    label : the optimizer's label.
    given : the table's content.
    keys : the keys other than hyper-parameters.
    document : the whole file, whose learning rates and schedules all optimizers share.
    folder : the file's folder.
    lengths : the numbers of steps that the problems train for.
    """

    label: str
    given: dict[str, Any]
    keys: Keys
    document: Document
    folder: Path
    lengths: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its key in the file."""
        return f"optimizers.{self.label}"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Hyper-parameter → its value, or a list of values."""
        return {name: value for name, value in self.given.items() if name not in TABLE_KEYS}

    @property
    def rule(self) -> str:
        """Its name, as `load_rule` takes it."""
        return str(self.keys.rule) if "rule" in self.given else self.label

    @property
    def rule_key(self) -> str:
        """The key that the rule comes from."""
        return f"{self.key}{'.rule' if 'rule' in self.given else ''}"

    @property
    def own_names(self) -> list[str]:
        """The names of code from elsewhere, which runs to check it: a rule, schedules."""
        schedules = [value for _, value in self.schedules.values()]
        named = [each.get("name") if isinstance(each, dict) else each for each in schedules]
        rules = [self.rule] if ":" in self.rule else []
        return list(dict.fromkeys([*rules, *filter(is_own, named)]))

    @property
    def trials(self) -> int | None:
        """The number of candidates that a search draws, from this table or the file, or None."""
        own: int | None = (self.keys.search or {}).get("trials")
        return own if own is not None or self.document.search is None else self.document.search.trials

    @property
    def schedules(self) -> dict[str, tuple[str, Any]]:
        """Hyper-parameter → key and value of its schedule, from this table or the file."""
        found: dict[str, tuple[str, Any]] = {}
        for table, key in ((self.document, ""), (self.keys, f"{self.key}.")):
            for name, value in (table.schedules or {}).items():
                found[name] = f"{key}schedules.{name}", value
            if table.schedule is not None:
                found[RATE] = f"{key}schedule", table.schedule
        return found

    def search(self, mistakes: list[Mistake]) -> dict[str, Any]:
        """Return the axes of its search as in the file; {} without a search."""
        given = self.keys.search
        if given is None:
            return {}
        if "trials" in given:
            validate(Shared, {"trials": given["trials"]}, f"{self.key}.search", mistakes)
        axes = {name: value for name, value in given.items() if name != "trials"}
        if not axes:
            text = "must have an axis, such as learning_rate"
            mistakes.append(Mistake(f"{self.key}.search", text))
        if RATE in axes and "learning_rates" in self.given:
            text = "is in search, too: give learning_rates or search.learning_rate"
            mistakes.append(Mistake(f"{self.key}.learning_rates", text))
        for name, value in self.hyperparameters.items():
            if name in axes:
                text = "is in search, too: give it a value or an axis"
                mistakes.append(Mistake(f"{self.key}.{name}", text))
            elif isinstance(value, list):
                text = f"is a list beside a search: write search.{name} = {{ choices = {show(value)} }}"
                mistakes.append(Mistake(f"{self.key}.{name}", text))
        return axes

    def learning_rates(self, mistakes: list[Mistake]) -> tuple[float, ...]:
        """Return the learning rates to try, from this table or the file, ascending and unique."""
        if self.keys.search and RATE in self.keys.search:
            return ()
        rates = self.keys.learning_rates
        if rates == ():
            rates = self.document.learning_rates
        if rates == ():
            text = "needs learning_rates, here or at the top of the file"
            mistakes.append(Mistake(self.key, text))
        return tuple(sorted(set(rates or ())))


def read_optimizer(
    label: str,
    given: dict[str, Any],
    document: Document,
    folder: Path,
    lengths: tuple[int, ...],
    mistakes: list[Mistake],
) -> OptimizerTable:
    """Return the table of an optimizer, and add the mistakes in its keys to `mistakes`."""
    keys = Keys(**read_keys(Keys, given, f"optimizers.{label}", mistakes))
    return OptimizerTable(label, given, keys, document, folder, lengths)
