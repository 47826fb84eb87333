"""Validation: pydantic finds the mistakes in a table or an object; this module words them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from optimlab.errors import printable

# pydantic's name of a kind of mistake → what would be right.
MESSAGES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:,g}",
    "finite_number": "must be finite",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must hold no control characters",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "dataclass_exact_type": "must be of the class {class_name}",
    "too_long": "must have at most {max_length} items",
    "string_too_long": "must have at most {max_length} characters",
}
NO_TABLE = ("dict_type", "model_type", "dataclass_type")
LABELLED = ("problems", "optimizers")  # have a table for each label
BARE_KEYS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # which TOML has without quotes
EMPTY_KEY = '""'
UNKNOWN = "unknown key"
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


class Mistake(NamedTuple):
    """One thing wrong with a file: the key, or "" for the file itself, and what would be right."""

    key: str
    message: str


def validate(kind: Any, value: Any, key: str, mistakes: list[Mistake]) -> Any:
    """Return `value`, read from TOML, as a `kind`; or add its mistakes to `mistakes` and return None.

    By way of JSON, pydantic reads arrays as tuples and tables as dataclasses, but stays
    strict about numbers, texts and booleans.

    Parameters
    ----------
    kind : a pydantic model, a dataclass, or an annotated type.
    value : the value in the file.
    key : its key in the file; "" for the whole file.
    mistakes : the list to add mistakes to.
    """
    read = partial(_adapter(kind).validate_json, json.dumps(value, default=str), strict=True)
    return _read(read, kind, key, mistakes)


def _read(read: Callable[[], Any], kind: Any, key: str, mistakes: list[Mistake]) -> Any:
    """Return what pydantic reads; or add its mistakes to `mistakes` and return None."""
    try:
        return read()
    except ValidationError as error:
        schema = _schema(kind)
        details = error.errors(include_url=False)
        for detail in details:
            if detail["type"] == "too_short" and detail["input"] and len(details) > 1:
                continue  # pydantic counts only the legal items
            location = _location(detail)
            text = "".join(
                f"[{p + 1}]" if isinstance(p, int) else f".{p or EMPTY_KEY}" for p in location
            )
            where = (key + text).removeprefix(".")
            mistake = Mistake(where, _message(detail, where, location, schema))
            if mistakes and mistakes[-1].key == mistake.key:  # each branch of a union gives a mistake
                also = mistake.message.removeprefix("must be ")
                mistake = Mistake(
                    mistake.key, f"{mistakes.pop().message.rpartition(', got')[0]} or {also}"
                )
            mistakes.append(mistake)
    return None


def resolve(value: Any, tag: str, kinds: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> Any:
    """Return a table, or the name of a kind with default settings, as one of the kinds.

    Adds a mistake to `mistakes` and returns None if it is not one of them.

    Parameters
    ----------
    value : the value in the file.
    tag : the key of the table that names the kind; the default is the first kind.
    kinds : name → dataclass.
    key : its key in the file.
    mistakes : the list to add mistakes to.
    """
    table = {tag: value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        mistakes.append(Mistake(key, f"must be a table or a name, got {show(value)}"))
        return None
    settings = dict(table)
    name = settings.pop(tag, next(iter(kinds)))
    if not isinstance(name, str) or name not in kinds:
        where = key if isinstance(value, str) else f"{key}.{tag}"
        names = ", ".join(f'"{kind}"' for kind in kinds)
        mistakes.append(Mistake(where, f"must be one of {names}, got {show(name)}"))
        return None
    return validate(kinds[name], settings, key, mistakes)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Base of settings: an object made in Python is checked as its table in TOML is.

    Lists become tuples, and numbers of numpy those of Python.

    Raises
    ------
    ValueError
        With the name of each illegal field, what would be right, and the value.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        mistakes: list[Mistake] = []
        own: Any = type(self)
        for name, kind in _fields(own).items():
            object.__setattr__(self, name, _of_python(kind, getattr(self, name), name, mistakes))
        _refuse(mistakes)


def checked(kind: Any, value: Any, name: str) -> Any:
    """Return an argument as a `kind`, as `Checked` does with a field.

    Raises
    ------
    ValueError
        If it is not of the kind.
    """
    mistakes: list[Mistake] = []
    found = _of_python(kind, value, name, mistakes)
    _refuse(mistakes)
    return found


def _of_python(kind: Any, value: Any, name: str, mistakes: list[Mistake]) -> Any:
    read = partial(_adapter(kind).validate_python, _plain(value), strict=True)
    return _read(read, kind, name, mistakes)


def _refuse(mistakes: list[Mistake]) -> None:
    if mistakes:
        raise ValueError("; ".join(f"{each.key}: {each.message}" for each in mistakes))


@cache
def _fields(kind: type) -> dict[str, Any]:
    """Return the fields of the first class of optimlab that a class derives from, with their types."""
    base = next(each for each in kind.__mro__ if each.__module__.startswith("optimlab."))
    hints = get_type_hints(base, include_extras=True)
    return {each.name: hints[each.name] for each in fields(base)}


def _plain(value: Any) -> Any:
    """Return a value of numpy as one of Python, and a list as a tuple."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _schema(kind: Any) -> dict[str, Any]:
    return _adapter(kind).json_schema()


def unknown(key: str, legal: list[str]) -> str:
    """Return the message for an unknown key, with the most similar legal key."""
    near = nearest(key, legal)
    return f"{UNKNOWN}; did you mean {near}?" if near else f"{UNKNOWN}; known are {', '.join(legal)}"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar known name, whatever its capitals; None if none is similar."""
    by_small = {each.casefold(): each for each in known}
    found = get_close_matches(name.casefold(), by_small, n=1, cutoff=cutoff)
    return by_small[found[0]] if found else None


def kind_of(value: Any) -> str:
    """Return the type of a value, or dtype and shape of an array, as text."""
    kind = type(value).__name__
    if not hasattr(value, "dtype") or not getattr(value, "shape", ()):
        return f"a {kind}"
    return f"{'' if kind == 'ndarray' else f'a {kind} of '}{value.dtype} {value.shape}"


def show(value: Any) -> str:
    """Return a value as in a file, cut if it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _location(detail: Any) -> list[int | str]:
    """Return the location of a mistake, without the branch of a union that pydantic tried."""
    location = list(detail["loc"])
    branches = ("int", "float", "constrained-int", "literal['epoch']", "str", "tuple[str, ...]")
    is_key = detail["type"] in UNKNOWN_KEY  # a key may have the name of a branch
    return location if is_key or not location or location[-1] not in branches else location[:-1]


def _message(detail: Any, key: str, location: list[int | str], schema: dict[str, Any]) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in UNKNOWN_KEY:
        return unknown(str(location[-1]), _legal_keys(schema, location[:-1]))
    if kind == "value_error":  # from a validator of the model, whose message is complete
        return str(context["error"])
    if kind in NO_TABLE:
        return no_table(key, given)
    phrase = MESSAGES.get(kind, detail["msg"].lower()).format(**context)
    if kind == "tuple_type" and isinstance(given, float):
        phrase = f"{phrase}, such as {show([given])}"
    return phrase if kind == "missing" else f"{phrase}, got {show(given)}"


def no_table(key: str, given: Any) -> str:
    """Return the message for another value where there should be a table."""
    if key in LABELLED:
        first = given[0] if isinstance(given, list) and given else given
        key = f"{key}.{first if isinstance(first, str) else 'label'}"
    line = f", which a line [{key}] begins" if BARE_KEYS.fullmatch(key) else ""
    return f"must be a table{line}, got {show(given)}"


def _legal_keys(schema: dict[str, Any], location: list[int | str]) -> list[str]:
    """Return the legal keys of the table at this location."""
    node = _resolved(schema, schema)
    for part in location:
        node = _resolved(node["items"] if isinstance(part, int) else node["properties"][part], schema)
    return list(node.get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a schema, without the alternative null, and with references resolved."""
    if "anyOf" in node:  # it, or null
        node = node["anyOf"][0]
    return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node


def tables_of(kind: Any, key: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the tables of a kind, itself first: each with its key and its legal keys."""
    schema = _schema(kind)
    todo = [(key, _resolved(schema, schema))]
    for where, node in todo:
        own = node.get("properties", {})
        yield where, set(own)
        inner = {name: _resolved(each, schema) for name, each in own.items()}
        todo += [
            (f"{where}.{name}".removeprefix("."), each)
            for name, each in inner.items()
            if "properties" in each
        ]


def read_keys(kind: type, table: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> dict[str, Any]:
    """Return the values of a table's known keys by name, each checked; None for illegal values.

    Subtables are returned unchecked.

    Parameters
    ----------
    kind : a dataclass, whose fields are the known keys.
    table : the content of the table.
    key : its key in the file; "" for the whole file.
    mistakes : the list to add mistakes to.
    """
    values: dict[str, Any] = {}
    for name, annotation in get_type_hints(kind, include_extras=True).items():
        if name in table:
            where = f"{key}.{name}".removeprefix(".")
            value = validate(annotation, table[name], where, mistakes)
            values[name] = table[name] if isinstance(value, dict) else value
    return values


def split_labels(key: str, table: Mapping[str, Any], legal: set[str]) -> list[Mistake]:
    """Return the mistakes in a table that comes from an unquoted label with a dot."""
    mistakes = []
    kind, _, label = key.partition(".")
    for name, value in table.items():
        whole = [label]
        while isinstance(value, dict) and name not in legal:
            whole.append(name)
            name, value = next(((k, v) for k, v in value.items() if isinstance(v, dict)), ("", None))
        if len(whole) > 1:
            quoted = json.dumps(".".join(whole), ensure_ascii=False)
            text = f"a dot splits a key in TOML; quote the label: [{kind}.{quoted}]"
            mistakes.append(Mistake(key, printable(text)))
    return mistakes


def can_be_kept(value: Any) -> bool:
    """Return whether results can store a value: only UTF-8 text, only finite numbers."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return isinstance(value, bool | int | float | str | None)
