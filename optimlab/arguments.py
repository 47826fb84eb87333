"""The arguments of Python, from names to classes and tables of data, as the tables of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd

from optimlab.data import Dataset
from optimlab.data.arrays import table_of
from optimlab.errors import UserError, printable
from optimlab.experiment.load import UNREADABLE
from optimlab.experiment.own import METHODS
from optimlab.experiment.registry import LIBRARIES
from optimlab.files import expanded
from optimlab.formatting import toml_document
from optimlab.notebook import name_of, written_data
from optimlab.optimizers import RULES
from optimlab.problems import PROBLEMS, Table
from optimlab.schedules import SCHEDULES
from optimlab.validation import can_be_kept

MOST_SHOWN = 80  # characters of a wrong value in a message
OPTIMIZER = ("init", "gradient_point", "step")
TRAINING = ("epochs", "steps", "record_every", "record_params")
# Optimlab's own classes → the key of a table that names them, and their name.
KINDS = {
    kind: (key, name)
    for key, kinds in (("name", PROBLEMS), ("name", SCHEDULES), *Table.PARTS.values())
    for name, kind in kinds.items()
}
# Keys whose values may be classes, functions or objects. For CALLED, the object itself is called;
# for CLASSES, optimlab creates the object.
CODE = {"name", "data", "loss", "metrics", "hidden", "layer", "schedule", "rule", "report"}
CALLED = {"metrics", "schedule", "report"}
CLASSES = {"rule": "an optimizer", "layer": "a layer", "hidden": "a layer"}
Optimizers = Mapping[str, "Mapping[str, Any] | type | str | None"] | Sequence["str | type"]


def tables_of(
    folder: Path, *, optimizers: Any, problem: Any, problems: Any, seeds: Any, **keys: Any
) -> tuple[dict[str, Any], str]:
    """Return the arguments of `optimlab.build_experiment` as tables, and as the text of a file.

    Parameters
    ----------
    folder : the experiment's folder, to which code and data are written.
    optimizers, problem, problems, seeds, keys : those arguments, and the title.

    Raises
    ------
    UserError
        When an argument cannot be written to a file.
    """
    document = dict(keys)
    training = {key: document.pop(key) for key in TRAINING if key in document}
    if training:
        document["training"] = {**_table("training", document.get("training", {})), **training}
    if problem is not None:
        document["problem"] = _problem("problem", problem, folder)
    if problems is not None:
        given = _table("problems", problems)
        document["problems"] = {
            label: _problem(f"problems.{label}", each, folder)
            for label, each in _labelled("problems", given)
        }
    if seeds is not None:
        document["seeds"] = _seeds(seeds)
    document["optimizers"] = dict(_optimizers(optimizers))
    try:
        tables = _plain(_named(document, folder, {}), "")
        text = toml_document(tables)
    except (RecursionError, ValueError):  # a list in itself, an integer of 5,000 digits
        raise UserError(UNREADABLE) from None
    return tables, text


def path_of(name: str, given: Any) -> Path:
    """Return an argument that is a path, with ~ as the home folder."""
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise UserError(f"{name}: must be a path, got {shown(given)}")
    return expanded(os.fspath(given))


def shown(value: Any) -> str:
    """Return a wrong value for a message, on one line."""
    return printable(" ".join(repr(value).split()), MOST_SHOWN)


def _table(key: str, given: Any) -> dict[str, Any]:
    """Return a mapping as a table."""
    if not isinstance(given, Mapping):
        raise UserError(f"{key}: must be a dictionary, got {shown(given)}")
    return dict(given)


def _labelled(key: str, given: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Return the items of a mapping with labels as text, which must differ: 1 is "1"."""
    labels = list(map(str, given))
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f'{key}: there are two labels "{twice}"; as text they must differ')
    return list(zip(labels, given.values(), strict=True))


def listed(given: Any) -> Any:
    """Return an array, a column, an iterator or a view of a dictionary as a list."""
    if isinstance(given, Iterator | KeysView | ValuesView):
        return list(given)
    return given.tolist() if hasattr(given, "tolist") else given


def _seeds(given: Any) -> dict[str, Any]:
    """Return the table of seeds."""
    given = listed(given)
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        return {"tuning": given[0], "reporting": given[1]}
    if not isinstance(given, int):
        raise UserError(f"seeds: must be a number, or two: (tuning, reporting); got {shown(given)}")
    return {"reporting": given}


def _problem(key: str, given: Any, folder: Path) -> dict[str, Any]:
    """Return the settings of a problem that is a name, data, settings, or an object."""
    given = _text_of_path(given)
    if isinstance(given, str):
        return {"name" if given in PROBLEMS or ":" in given else "data": given}
    if isinstance(given, Mapping):
        settings = dict(given)
    elif isinstance(given, tuple | list | np.ndarray | pd.Series | Dataset) or _is_table(given):
        settings = {"data": given}
    elif type(given) is Table:
        settings = {**_settings_of(replace(given, data=""), folder, {}), "data": given.data}
    elif type(given) in KINDS:
        settings = _settings_of(given, folder, {})
    else:
        settings = {"name": given}
    if "name" in settings:
        _check_methods(f"{key}.name", settings["name"], METHODS, "a problem")
    return {**settings, **_data(key, settings, folder)}


def _data(key: str, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the keys of a problem's data, which are written to a file if they are a table."""
    data: Any = _text_of_path(_for_pandas(settings.get("data")))
    if hasattr(settings.get("target"), "shape"):
        right = "the name of a column; give arrays as data = (features, target)"
        raise UserError(f"{key}.target: must be {right}")
    if data is None:
        return {}
    own: dict[str, Any] = {}
    if isinstance(data, tuple) and len(data) == 2:
        data, targets = table_of(*map(_for_pandas, data))
        own = {"target": targets if len(targets) > 1 else targets[0]}
    if isinstance(data, pd.DataFrame):
        own |= {key: _names(settings[key]) for key in ("target", "ignore") if settings.get(key)}
        return {**own, "data": written_data(data, folder).relative_to(folder).as_posix()}
    if not isinstance(data, str | Dataset) and not callable(data):
        right = "a name, a DataFrame, (features, target), a Dataset, or a function that returns one"
        raise UserError(f"{key}.data: must be {right}; got {shown(data)}")
    return {"data": data}


def _names(given: Any) -> Any:
    """Return names of columns as text, as they are in a file: 2 is "2"."""
    is_list = isinstance(listed(given), list | tuple)
    return list(map(str, given)) if is_list else str(given) if isinstance(given, int) else given


def _text_of_path(given: Any) -> Any:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def _is_table(data: Any) -> bool:
    """Return whether data are a table of pandas or, as polars and pyarrow have it, become one."""
    return hasattr(data, "to_parquet") or hasattr(data, "to_pandas")


def _for_pandas(data: Any) -> Any:
    """Return data as a table of pandas if another library's table can become one."""
    return data.to_pandas() if hasattr(data, "to_pandas") and not isinstance(data, type) else data


def _check_methods(key: str, given: Any, methods: Sequence[str], kind: str) -> None:
    """Refuse a class or object that lacks a method."""
    if isinstance(given, str | FunctionType | partial):
        return
    missing = [name for name in methods if not callable(getattr(given, name, None))]
    if missing:
        what = given.__name__ if isinstance(given, type) else shown(given)
        raise UserError(f"{key}: {what} is not {kind}: it lacks the method {missing[0]}")


def _optimizers(optimizers: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return label and settings of each optimizer."""
    optimizers = listed(optimizers)
    if isinstance(optimizers, str | type):
        optimizers = [optimizers]
    if not isinstance(optimizers, Mapping):
        if not isinstance(optimizers, Sequence):
            right = "a list of rules, or a dictionary: label → settings"
            got = "" if optimizers is None else f"; got {shown(optimizers)}"
            raise UserError(f"optimizers: must be given, as {right}{got}")
        optimizers = [_of_library(each) for each in optimizers]
        labels = [_label_of(each) for each in optimizers]
        repeated = [label for label in labels if labels.count(label) > 1]
        if repeated:
            text = f"{repeated[0]} is given twice: name the optimizers, with {{label: settings}}"
            raise UserError(text)
        optimizers = {label: {"rule": each} for label, each in zip(labels, optimizers, strict=True)}
    found = []
    for label, given in _labelled("optimizers", optimizers):
        is_table = given is None or isinstance(given, Mapping)
        settings: dict[str, Any] = dict(given or {}) if is_table else {"rule": given}
        rule = _of_library(settings.get("rule", ""))
        if not isinstance(rule, str | type):
            raise UserError(
                f"optimizers.{label}: {shown(rule)} is not the class of an optimizer; give "
                'the class, with its hyper-parameters: {"rule": Adam, "beta1": 0.8}'
            )
        _check_methods(f"optimizers.{label}.rule", rule, OPTIMIZER, "an optimizer")
        found.append((label, {**settings, "rule": rule} if rule else settings))
    return found


def _of_library(rule: Any) -> Any:
    """Return the name of a rule of PyTorch or optax that is given itself: "torch:NAdam"."""
    module = str(getattr(rule, "__module__", ""))
    library = "torch" if module.startswith("torch.optim.") else module.partition(".")[0]
    is_rule = isinstance(rule, type | FunctionType) and library in LIBRARIES
    return f"{library}:{rule.__name__}" if is_rule else rule


def _label_of(rule: Any) -> str:
    """Return the label of a rule that is given without one."""
    if isinstance(rule, str):
        return rule.rpartition(":")[2]
    return str(getattr(rule, "__name__", type(rule).__name__))


def _named(value: Any, folder: Path, names: dict[str, Any], key: str = "") -> Any:
    """Return settings with classes, functions and objects replaced by names.

    Parameters
    ----------
    value : settings, or one of them.
    folder : the experiment's folder.
    names : name → its class or function; new names are added.
    key : the value's key.
    """
    if isinstance(value, Mapping):
        keys = {name: "schedule" if key == "schedules" else str(name) for name in value}
        return {name: _named(each, folder, names, keys[name]) for name, each in value.items()}
    if isinstance(value, list | tuple | Iterator | KeysView | ValuesView):
        return [_named(each, folder, names, key) for each in value]
    is_plain = value is None or isinstance(value, bool | int | float | str | range)
    if key not in CODE or is_plain or hasattr(value, "tolist"):
        return value
    if isinstance(value, type):
        if value in RULES.values():
            return value.__name__
        if value in KINDS:
            return KINDS[value][1]
    elif type(value) in KINDS:
        return _settings_of(value, folder, names)
    elif key in CLASSES and not callable(value):
        raise UserError(f"{key}: give {CLASSES[key]} as its class, not {shown(value)}")
    name = name_of(value, folder, is_called=key in CALLED)
    is_code = isinstance(value, type | FunctionType)
    if is_code and names.setdefault(name, value) is not value:
        raise UserError(f"{key}: there are two different definitions of {value.__name__}: rename one")
    return name


def _settings_of(value: Any, folder: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Return the table of an object of optimlab: its name and its settings other than defaults."""
    key, name = KINDS[type(value)]
    given = {each.name: (getattr(value, each.name), each.default) for each in fields(value)}
    changed = {
        each: now  # a table of data equals nothing
        for each, (now, default) in given.items()
        if type(now) is not type(default) or now != default
    }
    return {key: name, **_named(changed, folder, names)}


def _plain(value: Any, key: str) -> Any:
    """Return a value as tables, lists, numbers and texts; `key` is its key."""
    if isinstance(value, Mapping):
        return {
            str(name): _plain(each, f"{key}.{name}".removeprefix("."))
            for name, each in value.items()
            if each is not None
        }
    value = listed(value)
    if isinstance(value, list | tuple | range):
        return [_plain(each, f"{key}[{number}]") for number, each in enumerate(value, start=1)]
    if value is None or not isinstance(value, bool | int | float | str):
        raise UserError(f"{key}: must be a number, text, list or table, got {shown(value)}")
    if isinstance(value, str) and not can_be_kept(value):
        raise UserError(f"{key}: must be UTF-8 text, got {shown(value)}")
    return value
