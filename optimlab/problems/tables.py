"""A network on a table of data: a data set by name or from a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from annotated_types import Ge, Len

from optimlab.data import DATASETS
from optimlab.data.dataset import DataError, Dataset, Task
from optimlab.data.files import SUFFIXES, Reading, is_data_file, read_file
from optimlab.data.named import File
from optimlab.nn.layers import LAYERS
from optimlab.nn.losses import LOSSES, Loss
from optimlab.nn.network import Network
from optimlab.problems.own import loss_of
from optimlab.problems.settings import HiddenLayer, Learning, NetworkSettings
from optimlab.problems.supervised import Supervised
from optimlab.validation import Checked

BATCH = 32
FEW_NUMBERS = 10  # a target with no more distinct whole numbers may be classes


@dataclass(frozen=True, kw_only=True)
class Source(Checked):
    """The source of a table's data.

    Parameters
    ----------
    data : a key of `optimlab.data.DATASETS`, or a .csv, .parquet or .npz file beside the experiment.
    target, ignore, missing, separator, decimal : of a file; see `optimlab.data.files.Reading`.
    """

    data: Any = ""
    target: str | tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    missing: Literal["refuse", "drop", "mean"] = "refuse"
    separator: Annotated[str, Len(1, 1)] = ","
    decimal: Literal[".", ","] = "."

    @property
    def file(self) -> Path | None:
        """The data file; None for data by name."""
        if not is_data_file(self.data):
            return None
        return self.data.path if isinstance(self.data, File) else Path(self.data)

    def check_source(self) -> None:
        """Check that the data exist and that all keys apply to them.

        Raises
        ------
        DataError
            With the key that is wrong.
        """
        if not self.data:
            known = ", ".join(f'"{name}"' for name in DATASETS)
            raise DataError("data", f"is missing: it is one of {known}, or a file beside this one")
        if self.file is not None or hasattr(self.data, "made"):
            return
        if not isinstance(self.data, str) or self.data not in DATASETS:
            known = ", ".join(f'"{name}"' for name in DATASETS)
            files = ", ".join(SUFFIXES)
            text = f"must be one of {known}, or a file ({files}) beside this one, got {self.data!r}"
            raise DataError("data", text)
        for key in fields(Source):
            if key.name != "data" and getattr(self, key.name) != key.default:
                raise DataError(key.name, f'is for files only, and data = "{self.data}" is not one')

    def read(self, group: str | None, task: Task | None) -> Dataset:
        """Return the data set.

        Parameters
        ----------
        group : the column of a file that groups its rows; None for no groups.
        task : the task of a file's target; None to infer it from the values.

        Raises
        ------
        DataError
            When it cannot be read, or is not a data set.
        """
        if hasattr(self.data, "made"):
            made = self.data.made()
            if not isinstance(made, Dataset):
                raise DataError("data", f"must give a Dataset, not a {type(made).__name__}")
            return made
        if self.file is None:
            return DATASETS[self.data]()
        targets = (self.target,) if isinstance(self.target, str) else self.target or ()
        reading = Reading(
            targets=targets,
            ignored=self.ignore,
            group=group,
            missing=self.missing,
            separator=self.separator,
            decimal=self.decimal,
            task=task,
        )
        return read_file(self.file, reading)


@dataclass(frozen=True, kw_only=True)
class Table(NetworkSettings, Learning, Source, Supervised):
    """A network on a table of data, trained by mini-batches.

    Parameters
    ----------
    data, target, ignore, missing, separator, decimal : see `Source`.
    split, scaling, target_scaling, l2 : see `Learning`.
    hidden and others : see `NetworkSettings`.
    loss : one of `optimlab.nn.losses.LOSSES`; None for cross-entropy (classes) or squared error.
    batch_size : None for 32, or the size of the training set if that is smaller.
    """

    loss: Any = None
    batch_size: Annotated[int, Ge(1)] | None = None

    # Key → the key in its tables that names the kind, and the kinds; the first is the default.
    PARTS: ClassVar[dict[str, tuple[str, dict[str, type]]]] = {
        "hidden": ("layer", {"dense": HiddenLayer, **LAYERS}),
        "loss": ("name", LOSSES),
    }

    def check(self) -> dict[str, str]:
        """Return mistakes in combinations of keys: key → message."""
        try:
            self.check_source()
            dataset, loss = self.dataset, self.objective
            if loss.task != dataset.task:
                what = "classes" if dataset.task == "classification" else "numbers"
                return {"loss": f"is for {loss.task}, and the target has {what}"}
            self.parts  # noqa: B018  # raises for mistakes in the split
        except DataError as error:
            return {error.key: str(error)}
        if self.hidden and not isinstance(self.hidden[0], HiddenLayer):
            return {"hidden[1]": "must be a layer of units: the features cannot be changed in place"}
        return super().check()

    def cautions(self) -> dict[str, str]:
        """Return warnings about settings that are allowed but rarely intended: key → message."""
        found = super().cautions()
        data = self.dataset
        if data.task == "regression" and self.file and self.loss is None and len(data.target_names) == 1:
            numbers = sorted(set(data.targets[:, 0].tolist()))
            if len(numbers) <= FEW_NUMBERS and all(number == int(number) for number in numbers):
                text = f"has {len(numbers)} different whole numbers, and is treated as a number"
                found["target"] = f'{text}; loss = "cross_entropy" treats them as classes'
        if alike := _alike(data.class_names):
            found["target"] = f"{alike}, so they are different classes"
        elif alike := _alike([name for name in data.feature_names if "=" in name]):
            found["ignore"] = f"{alike}, so they are different categories"
        if data.task == "classification":
            train = self.parts["train"].targets.tolist()
            absent = sorted(set(range(data.outputs)) - set(self.parts["validation"].targets.tolist()))
            if absent:
                names = ", ".join(data.class_names[label] for label in absent[:5])
                fewest = min(train.count(label) for label in absent)
                rows = "1 row" if fewest == 1 else f"{fewest} rows"
                found["data"] = f"validation has no {names}; training has {rows} of the rarest"
        return found

    @cached_property
    def dataset(self) -> Dataset:
        """The data set."""
        by = (self.split.by if self.split else None) or ""
        group = by.removeprefix("group:") if by.startswith("group:") else None
        return self.read(group, cast(Task, self._given_loss.task) if self._given_loss else None)

    @property
    def learning(self) -> Learning:
        """How the data are prepared: this problem's own keys."""
        return self

    @cached_property
    def objective(self) -> Loss:
        """The loss."""
        default = "cross_entropy" if self.dataset.task == "classification" else "squared_error"
        return self._given_loss or LOSSES[default]()

    @cached_property
    def _given_loss(self) -> Any:
        return loss_of(self.loss.made()) if hasattr(self.loss, "made") else self.loss

    @cached_property
    def batch(self) -> int:
        """Samples per step."""
        return self.batch_size or min(BATCH, self.train_size)

    def _new_network(self) -> Network:
        return self.build(self.dataset.features.shape[1], self.dataset.outputs)


def _alike(names: Sequence[str]) -> str:
    """Return two names that look alike, as text; "" if there are none."""
    first: dict[str, str] = {}
    for name in names:
        seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
        other = first.setdefault(" ".join(seen.casefold().split()), name)
        if other != name:
            is_case = other.casefold() == name.casefold()
            how = "upper and lower case" if is_case else "spaces or invisible characters"
            return f'"{other}" and "{name}" differ only in {how}'
    return ""
