"""What a notebook holds, written to files, where workers find it: classes of its cells, and data.

By the content of that file runs are known: another version of the cell is another optimizer.
"""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from optimlab.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "from_notebook"
TARGET = "target"  # the column of data that are given as (features, target)


def module_of(cls: type) -> str:
    """Return the source of a module with a class and all that it uses of the notebook.

    These are imports, other classes and functions, and constants that Python can write: numbers, texts,
    and tuples, lists, sets and dicts of them.

    Raises
    ------
    UserError
        When its source is not known, or when it uses something else.
    """
    imports: dict[str, str] = {}
    constants: dict[str, str] = {}
    definitions: dict[str, str] = {}

    def visit(name: str, value: Any) -> None:
        node, source, names = _definition(name, value)
        definitions[name] = ""  # it is being written, so that what it uses may use it
        for used in _names(node):
            if used in names and used not in definitions and not hasattr(builtins, used):
                add(used, names[used])
        del definitions[name]
        definitions[name] = source  # after what it uses

    def add(name: str, value: Any) -> None:
        if isinstance(value, ModuleType):
            imports[name] = f"import {value.__name__} as {name}"
        elif _is_importable(value):
            imports[name] = f"from {value.__module__} import {value.__qualname__} as {name}"
        elif isinstance(value, type | FunctionType):
            visit(name, value)
        elif _is_constant(value):
            constants[name] = f"{name} = {value!r}"
        else:
            raise UserError(
                f"{cls.__name__} uses {name}, a {type(value).__name__} of the notebook, which cannot be "
                f'written to a module: write it all to a .py file and give "file.py:{cls.__name__}"'
            )

    visit(cls.__name__, cls)
    head = f'"""{cls.__name__}, as a cell of a notebook has it. Written by optimlab."""'
    parts = [head, "\n".join(sorted(imports.values())), "\n".join(constants.values())]
    return "\n\n".join(part for part in [*parts, *definitions.values()] if part) + "\n"


def _definition(name: str, value: Any) -> tuple[ast.AST, str, Mapping[str, Any]]:
    """Return where a class or function is defined, its source, and the names that it can use."""
    functions = [value] if isinstance(value, FunctionType) else _methods(value)
    for function in functions:
        lines = linecache.getlines(function.__code__.co_filename)
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:  # such as a cell with commands for the notebook
            continue
        for node in reversed(tree.body):  # of two of one name, the later counts
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return node, "".join(lines[first - 1 : node.end_lineno]), function.__globals__
    raise UserError(
        f"the source of {name} is not known, by which its runs could be known and which workers could "
        f'load: write it to a .py file and give "file.py:{name}"'
    )


def _methods(cls: type) -> list[FunctionType]:
    """Return the methods that a class itself defines; those that a decorator made come last."""
    own = [each for each in vars(cls).values() if isinstance(each, FunctionType)]
    return sorted(own, key=lambda each: each.__code__.co_filename.startswith("<string>"))


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that are read in some code, in order."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
            yield each.id


def _is_importable(value: Any) -> bool:
    """Return whether a value is a class or function of a module that is not the notebook."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module in (None, "__main__") or "." in name:
        return False
    return bool(name) and getattr(sys.modules.get(module), name, None) is value


def _is_constant(value: Any) -> bool:
    try:
        return type(ast.literal_eval(repr(value))) is type(value)
    except (ValueError, SyntaxError):
        return False


def file_of(cls: type, folder: Path) -> Path:
    """Return the file that a class is defined in, or that it has been written to, below a folder.

    Raises
    ------
    UserError
        When it is in a function, or what `module_of` raises.
    """
    if "." in cls.__qualname__:
        raise UserError(
            f"{cls.__name__} is defined in {cls.__qualname__.rpartition('.')[0]}, from where workers "
            "could not load it: define it by itself"
        )
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    codes = {each.__code__.co_filename for each in _methods(cls)} - {"<string>"}
    if file and (not codes or any(_is_same(Path(each), Path(file)) for each in codes)):
        return Path(file)
    source = module_of(cls)
    place = folder / FOLDER / f"{cls.__name__}.py"
    if not place.is_file() or place.read_text(encoding="utf-8") != source:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(source, encoding="utf-8")
    return place


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.samefile(other)


def table_of(features: Any, target: Any) -> pd.DataFrame:
    """Return features (N, M) and a target (N,) as one table, with the column `TARGET`.

    Raises
    ------
    UserError
        When they do not go together.
    """
    import pandas as pd

    table = features if isinstance(features, pd.DataFrame) else pd.DataFrame(np.asarray(features))
    target = np.asarray(target)
    if target.shape != (len(table),):
        raise UserError(f"features are {len(table):,} rows, and the target has the shape {target.shape}")
    return table.rename(columns=str).assign(**{TARGET: target})


def written_data(table: pd.DataFrame, folder: Path) -> Path:
    """Return the Parquet file of a table, below a folder, whose name has a digest of its content."""
    buffer = io.BytesIO()
    table.rename(columns=str).to_parquet(buffer, index=False)
    content = buffer.getvalue()
    place = folder / FOLDER / f"data-{sha256(content).hexdigest()[:8]}.parquet"
    if not place.is_file() or place.read_bytes() != content:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return place
