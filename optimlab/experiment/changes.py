"""Changes of an experiment from the command line: ``--set training.epochs=3``.

A changed experiment is a separate experiment with its own name and folder of results, so that it never
replaces the file's runs or tables.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optimlab.errors import UserError, printable
from optimlab.experiment.document import MOST_TITLE
from optimlab.experiment.identity import digest
from optimlab.experiment.load import check, find, load, parse, read_text
from optimlab.experiment.names import is_legal_name, normal
from optimlab.experiment.spec import Experiment
from optimlab.formatting import toml_document, toml_key, toml_value

Key = tuple[str, ...]


def load_changed(name: str, changes: Sequence[str]) -> Experiment:
    """Load an experiment with changed keys.

    Parameters
    ----------
    name : the experiment's name, or its file.
    changes : texts "KEY=VALUE", a dotted key and a value as in TOML; of two with the same key, the
        last one counts. A table comes before changes of its keys.

    Raises
    ------
    UserError
        If a change is not legal; if the changed experiment has mistakes, the message lists the
        changes.
    """
    path = find(name)
    read: dict[Key, Any] = {}
    for change in changes:
        key, value = _read_change(change)
        for other in read:
            if other[: len(key)] == key and other != key:
                right = f"give the table before {_dotted(other)}, which it would replace"
                raise UserError(f"--set {change}: {right}")
        read[key] = value
    wanted = {key: read[key] for key in sorted(read)}
    if not wanted:
        return load(path)
    text = read_text(path)
    shown = tuple(f"{_dotted(key)}={toml_value(value)}" for key, value in wanted.items())
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return parse(text, path)  # reports the mistakes in the file itself
    for key, value in wanted.items():
        _put(document, key, value)
    source = f"{path} with {' '.join(f'--set {change}' for change in shown)}"
    checked = check(document, toml_document(document), path, source)
    title = f"{checked.title} ({', '.join(change.replace('=', ' = ', 1) for change in shown)})"
    title = printable(title, MOST_TITLE - 1)
    return replace(checked, name=_name(path, wanted), title=title, changes=shown)


def _read_change(change: str) -> tuple[Key, Any]:
    """Return the key and the value of a change."""
    for index in (index for index, letter in enumerate(change) if letter == "="):
        key = _read_key(change[:index])
        if key:
            return key, _read_value(change, change[index + 1 :])
    example = "a key and a value as a TOML file has them, such as training.epochs=3"
    raise UserError(f"--set {change}: must be {example}")


def _read_key(text: str) -> Key:
    """Return the parts of a dotted key; () if it is not a key."""
    try:
        node: Any = tomllib.loads(f"{text} = 0") if "\n" not in text else 0
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()
    parts = []
    while isinstance(node, dict) and len(node) == 1:
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts) if node == 0 else ()


def _read_value(change: str, text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}") if "\n" not in text else {}
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        document = {}
    if document.keys() != {"value"}:
        hint = "texts are in quotes, which a shell takes away: --set 'problem.data=\"wine\"'"
        raise UserError(f"--set {change}: {text.strip() or 'nothing'} is not a TOML value; {hint}")
    return document["value"]


def _put(document: dict[str, Any], key: Key, value: Any) -> None:
    """Set a key of a document; missing tables are created."""
    table = document
    for depth, part in enumerate(key[:-1], start=1):
        table = table.setdefault(_as_spelt(part, table), {})
        if not isinstance(table, dict):
            raise UserError(f"--set {_dotted(key)}: {_dotted(key[:depth])} is not a table in the file")
    table[_as_spelt(key[-1], table)] = value


def _as_spelt(key: str, table: dict[str, Any]) -> str:
    """Return a key as the table has it: its accents may be typed in another way."""
    return next((each for each in table if normal(each) == normal(key)), key)


def _name(path: Path, changes: dict[Key, Any]) -> str:
    """Return the name of the changed experiment: with the changes, or with a digest of them."""
    words = [f"{_dotted(key)}={_word(value)}" for key, value in changes.items()]
    stem = normal(path.stem)
    name = "+".join([stem, *words])
    if is_legal_name(name):
        return name
    code = digest(repr(list(changes.items())))[:8]
    return f"{stem[:50]}+{code}"


def _word(value: Any) -> str:
    """Return a value as part of a name; text is quoted only if it could be read as another value."""
    if isinstance(value, str):
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            return value
    return toml_value(value)


def _dotted(key: Key) -> str:
    return ".".join(map(toml_key, key))
