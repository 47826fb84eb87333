"""Classes, functions, objects and data of a notebook or session, written to files for the workers.

The content of the files identifies the runs: another version of a cell is another optimizer.
"""

from __future__ import annotations
import __future__

import ast
import base64
import builtins
import copyreg
import functools
import inspect
import io
import linecache
import os
import pickle
import symtable
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import cloudpickle
import numpy as np

from optimlab.errors import UserError, reason
from optimlab.experiment.registry import load_object
from optimlab.files import Folder
from optimlab.messages import warn

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "from_notebook"
SESSION = uuid4().hex
# IPython compiles what is in a cell with %%time under this name, and does not keep its lines: the source
# of the cell itself is a call.
TIMED = "<timed exec>"
TIME = "get_ipython().run_cell_magic('time', "
LARGEST_OBJECT = 100_000_000  # bytes

# An object as a module. Classes and functions that it refers to are imported, so that their sources
# identify its runs, too.
OBJECT = '''"""{name} as Python held it. Written by optimlab."""

import base64
import io
import pickle

{imports}

USED = {{{used}}}
CONTENT = "{content}"


class Reader(pickle.Unpickler):
    def persistent_load(self, name):
        return USED[name]


def restore():
    return Reader(io.BytesIO(base64.b64decode(CONTENT))).load()


{result}
'''
# A class or function without source is pickled with its compiled code.
WITHOUT_SOURCE = '''"""{name} of session {session}, whose source is not known. Written by optimlab."""

import base64

import cloudpickle

CONTENT = "{content}"


def restore():
    return cloudpickle.loads(base64.b64decode(CONTENT))


{result}
'''


class NoSourceError(UserError):
    """A class or function whose source cannot be written to a module."""


def name_of(value: Any, folder: Path, *, is_called: bool = False) -> str:
    """Return the name of a class, function or object for an experiment: "file.py:Name".

    Code that is not in a file below the folder is written to one first. An object becomes a function
    that returns a copy of it. If the source cannot be found, a warning says that the runs cannot be
    reused in other sessions.

    Parameters
    ----------
    value : a class, a function, or any object that can be pickled.
    folder : the experiment's folder.
    is_called : whether the object itself is called, as a function.

    Raises
    ------
    UserError
        If it cannot be pickled, or the folder cannot be written to.
    """
    is_code = _is_code(value)
    named = value.func if isinstance(value, functools.partial) else value
    name = getattr(named, "__name__", type(named).__name__)
    name = name if name.isidentifier() else "function"
    if is_called or is_code or isinstance(value, functools.partial | MethodType):
        result = f"{name} = restore()"
    else:
        result = f"def {name}():\n    return restore()"
    try:
        if is_code:
            return f"{_relative(file_of(value, folder), folder)}:{name}"
        source = _module_of_object(value, name, result, folder)
    except Exception as why:  # pickling runs methods of the object
        if isinstance(why, UserError) and not isinstance(why, NoSourceError):
            raise
        source = _module_without_source(value, name, result)
        warn(f"{why}. Its runs cannot be reused in another session, which trains them again")
    file = _written(folder, f"{name}_{_digest(source)}", source)
    return f"{_relative(file, folder)}:{name}"


def _is_code(value: Any) -> bool:
    """Return whether a value is a class or function, perhaps one that a decorator has made another."""
    if isinstance(value, functools.partial | MethodType) or not hasattr(value, "__name__"):
        return False
    return isinstance(value, type) or isinstance(_undecorated(value), FunctionType)


def _undecorated(value: Any) -> Any:
    return inspect.unwrap(value) if callable(value) else value


def _digest(source: str) -> str:
    return sha256(source.encode()).hexdigest()[:8]


def _relative(file: Path, folder: Path) -> str:
    """Return the path of a file relative to the experiment's folder."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive
        return file.as_posix()


def _written(folder: Path, stem: str, source: str) -> Path:
    """Return the file of a module, written unless it exists with this content."""
    path = folder / FOLDER / f"{stem}.py"
    _write(path, source.encode())
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        if not path.is_file() or path.read_bytes() != content:
            folder = Folder(path.parent)
            folder.create()
            folder.write(path.name, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}") from error


class _Pickler(pickle.Pickler):
    """Pickles an object without the classes and functions that it refers to: those are named."""

    dispatch_table = copyreg.dispatch_table | {  # Python names the module, which no worker has
        TypeVar: lambda each: (TypeVar, (each.__name__, *each.__constraints__))
    }

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=5)
        self.used: dict[str, Any] = {}

    def persistent_id(self, value: Any) -> str | None:
        if not _is_code(value):
            return None
        if str(value.__module__).partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
            return None
        key = f"{value.__module__}.{value.__qualname__}"
        self.used[key] = value
        return key


def _module_of_object(value: Any, name: str, result: str, folder: Path) -> str:
    """Return the source of a module that restores an object; raise anything if it cannot be pickled."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(value)
    content = _encoded(buffer.getvalue(), name)
    imports, used = [], []
    for number, (key, code) in enumerate(pickler.used.items()):
        if _is_importable(code):
            module, attribute = code.__module__, code.__qualname__
        else:
            module, attribute = file_of(code, folder).stem, code.__name__
        imports.append(f"from {module} import {attribute} as used_{number}")
        used.append(f"{key!r}: used_{number}")
    return OBJECT.format(
        name=name, imports="\n".join(imports), used=", ".join(used), content=content, result=result
    )


def _module_without_source(value: Any, name: str, result: str) -> str:
    """Return the source of a module that restores something pickled with its compiled code."""
    try:
        content = _encoded(cloudpickle.dumps(value), name)
    except Exception as error:  # pickling runs methods of the object
        raise UserError(f"{name} cannot be sent to workers: {error}") from error
    result = f"{name} = restore()" if isinstance(value, type) else result
    return WITHOUT_SOURCE.format(name=name, session=SESSION, content=content, result=result)


def _encoded(content: bytes, name: str) -> str:
    if len(content) > LARGEST_OBJECT:
        size, most = len(content) / 1e6, LARGEST_OBJECT / 1e6
        fault = f"{name} has {size:,.0f} MB, more than {most:,.0f} MB"
        raise UserError(f"{fault}: save its arrays to a file that it reads")
    return base64.b64encode(content).decode()


def module_of(definition: type | FunctionType, folder: Path) -> str:
    """Return the source of a module with a class or function and everything in the notebook it uses.

    That is imports, other classes and functions, and constants: numbers, texts, and tuples, lists, sets
    and dicts of them. Other objects, such as arrays, are written to separate modules.

    Parameters
    ----------
    definition : the class or function.
    folder : the experiment's folder.

    Raises
    ------
    NoSourceError
        If its source is unknown, or if it uses something that cannot be pickled.
    """
    title = definition.__name__
    futures: set[str] = set()
    imports: dict[str, str] = {}
    constants: dict[str, str] = {}
    definitions: dict[str, str] = {}

    def visit(name: str, value: Any) -> None:
        node, source, names = _definition(name, value)
        _check_bases(name, value, names)
        flag = __future__.annotations.compiler_flag
        if any(each.__code__.co_flags & flag for each in _functions(value)):
            futures.add("from __future__ import annotations")
        definitions[name] = ""  # in progress: its dependencies may refer to it
        for used in _names(node, source):
            is_new = used in names and used not in definitions
            if is_new and _undecorated(names[used]) is not getattr(builtins, used, names):
                add(used, names[used])  # in a notebook of IPython, `open` is Python's own in a wrapper
        del definitions[name]
        definitions[name] = source  # after its dependencies

    def add(name: str, value: Any) -> None:
        if isinstance(value, ModuleType):
            imports[name] = f"import {value.__name__} as {name}"
        elif _is_importable(value):
            imports[name] = f"from {value.__module__} import {value.__qualname__} as {name}"
        elif _is_code(value):
            visit(name, value)
        elif _is_constant(value):
            constants[name] = f"{name} = {value!r}"
        else:
            imports[name] = f"from {_module_with(name, value, folder, title)} import {name}"

    visit(title, definition)
    head = f'"""{title}, as a cell of a notebook has it. Written by optimlab."""'
    parts = [head, *futures, "\n".join(sorted(imports.values())), "\n".join(constants.values())]
    return "\n\n".join(part for part in [*parts, *definitions.values()] if part) + "\n"


def _module_with(name: str, value: Any, folder: Path, user: str) -> str:
    """Write an object that `user` uses to a module; return the module's name."""
    try:
        source = _module_of_object(value, name, f"{name} = restore()", folder)
    except Exception as why:  # pickling runs methods of the object
        raise NoSourceError(
            f"{user} uses {name}, of type {type(value).__name__}, which cannot be written to a module: "
            f'write it all to a .py file and give "file.py:{user}"'
        ) from why
    return _written(folder, f"{name}_{_digest(source)}", source).stem


def _definition(name: str, value: Any) -> tuple[ast.AST, str, Mapping[str, Any]]:
    """Return the syntax tree of a class or function, its source, and the names in its scope."""
    functions = _functions(value)
    module = sys.modules.get(value.__module__)
    origins = [(each.__code__.co_filename, each.__globals__) for each in functions]
    if file := getattr(module, "__file__", None):  # all that is known for a class without methods
        origins.append((str(file), vars(module)))
    elif module and isinstance(value, type):  # such a class of a notebook is in one of the cells
        origins += [(cell, vars(module)) for cell in reversed(_cells())]
    sources = ((*origin, lines) for origin in origins for lines in _sources(origin[0]))
    for file, names, lines in sources:
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:  # such as a cell with notebook commands
            continue
        for node in reversed(tree.body):  # of two with the same name, the last one counts
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if not _is_at(file, first, value, names):
                    continue
                return node, "".join(lines[first - 1 : node.end_lineno]), names
    raise NoSourceError(
        f"the source of {name}, which identifies its runs, is unknown: write it to a .py file and "
        f'give "file.py:{name}"'
    )


def _sources(file: str) -> Iterator[list[str]]:
    """Yield the lines of a file or cell; of the magic %%time, those of all its cells, newest first."""
    if file != TIMED:
        yield linecache.getlines(file)
        return
    from IPython import get_ipython

    for cell in reversed(_cells()):
        first = "".join(linecache.getlines(cell)[:1])
        call = ast.parse(first, mode="eval").body if first.startswith(TIME) else None
        if isinstance(call, ast.Call):
            text = get_ipython().transform_cell(ast.literal_eval(call.args[2]))
            yield text.splitlines(keepends=True)


def _cells() -> list[str]:
    """Return the names under which the lines of cells are known, oldest first."""
    return [name for name, entry in linecache.cache.items() if len(entry) > 1 and entry[1] is None]


def _is_at(file: str, line: int, value: Any, names: Mapping[str, Any]) -> bool:
    """Return whether a class or function is defined at a line where its name is: another may have it."""
    if isinstance(value, type):
        has_method = any(each.__code__.co_filename == file for each in _methods(value))
        return has_method or "__file__" in names or names.get(value.__name__) is value
    if hasattr(value, "__wrapped__"):
        return names.get(value.__name__) is value
    return bool(value.__code__.co_firstlineno == line)


def _check_bases(name: str, value: Any, names: Mapping[str, Any]) -> None:
    """Raise NoSourceError if a class derives from one that has been defined anew since."""
    for base in value.__bases__ if isinstance(value, type) else ():
        if names.get(base.__name__, base) is not base and base.__module__ == value.__module__:
            again = f"run the cell of {name} again"
            raise NoSourceError(f"{name} derives from an earlier {base.__name__}: {again}")


def _functions(value: Any) -> list[FunctionType]:
    """Return a function without its decorators, or the methods of a class."""
    return _methods(value) if isinstance(value, type) else [_undecorated(value)]


def _methods(cls: type) -> list[FunctionType]:
    """Return the methods that a class defines itself; those made by decorators come last."""
    methods = [each for each in vars(cls).values() if isinstance(each, FunctionType)]
    return sorted(methods, key=lambda each: each.__code__.co_filename.startswith("<string>"))


def _names(node: ast.AST, source: str) -> Iterator[str]:
    """Yield the names from outside that some code reads, in order: no variables of its functions."""
    scopes = [symtable.symtable(source, "<cell>", "exec")]
    outer = {each.get_name() for each in scopes[0].get_symbols() if each.is_referenced()}
    for scope in scopes:
        scopes += scope.get_children()
        is_class = scope.get_type() == "class"  # where `x = x` reads the outer one
        outer |= {
            each.get_name()
            for each in scope.get_symbols()
            if each.is_referenced() and (each.is_global() or is_class)
        }
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and each.id in outer:
            yield each.id


def _is_importable(value: Any) -> bool:
    """Return whether a value is a class or function of a module other than the notebook."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module in (None, "__main__") or "." in name or not name:
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _is_constant(value: Any) -> bool:
    try:
        return type(ast.literal_eval(repr(value))) is type(value)
    except (ValueError, SyntaxError):
        return False


def file_of(definition: type | FunctionType, folder: Path) -> Path:
    """Return the file of a class or function below a folder, written if it does not exist.

    For a class of an importable module, the written file imports it.

    Raises
    ------
    NoSourceError
        If it is defined in a function, or `module_of` raises it.
    UserError
        When the file cannot be written.
    """
    name, where = definition.__name__, definition.__qualname__.rpartition(".")[0]
    if where or not name.isidentifier():
        raise NoSourceError(
            f"{name} is defined in {where or 'an expression'}, and its source is unknown"
        )
    if not _is_importable(definition):
        written = _written(folder, name, module_of(definition, folder))
        _check_same(definition, load_object(f"{_relative(written, folder)}:{name}", folder))
        return written
    module = definition.__module__
    file = Path(getattr(sys.modules[module], "__file__", None) or "")
    is_below = file.resolve().is_relative_to(folder.resolve())
    if is_below and file.suffix == ".py" and "." not in module:
        return file
    return _written(folder, name, f"from {module} import {name}\n")


def _check_same(definition: Any, written: Any) -> None:
    """Raise NoSourceError if a class or function of a notebook is not what its source says.

    Attributes of a class, its methods included, may have been set since its definition.
    """
    pairs = {definition.__name__: (definition, written)}
    if isinstance(definition, type):
        for one, other in zip(definition.__mro__, written.__mro__, strict=True):
            for name in vars(one) if one is not other else ():
                pairs[f"{one.__name__}.{name}"] = vars(one)[name], vars(other).get(name)
    for name, (one, other) in pairs.items():
        is_own = callable(one) or not name.endswith("__")  # not __module__ and the like
        if is_own and _essence(one) != _essence(other):
            raise NoSourceError(f"{name} has been set since {definition.__name__} was defined")


def _essence(value: Any) -> Any:
    """Return a function's instructions, or a constant as text; None for other values."""
    code = getattr(_undecorated(value), "__code__", None)
    if isinstance(code, CodeType):
        return _instructions(code)
    return repr(value) if _is_constant(value) else None


def _instructions(code: CodeType) -> tuple[Any, ...]:
    constants = [
        _instructions(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    ]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def _stored(kind: Any) -> Any:
    """Return the type for Parquet of a column that it cannot hold as it is; else None."""
    if hasattr(kind, "subtype") and hasattr(kind, "fill_value"):  # sparse
        return kind.subtype
    values = kind.categories.dtype if hasattr(kind, "categories") else kind
    if str(values).startswith("interval"):  # of pandas.cut
        return str
    is_swapped = isinstance(kind, np.dtype) and not kind.isnative
    return kind.newbyteorder("=") if is_swapped else None


def written_data(table: pd.DataFrame, folder: Path) -> Path:
    """Return the Parquet file of a table below a folder; its name has a digest of its content."""
    import pyarrow as pa

    buffer, table = io.BytesIO(), table.rename(columns=str)
    stored = {name: _stored(kind) for name, kind in table.dtypes.items()}
    table = table.astype({name: kind for name, kind in stored.items() if kind is not None})
    try:
        table.to_parquet(buffer, index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:  # pyarrow's message names the column
        raise UserError(
            f"the data cannot be written as Parquet: {'; '.join(map(str, error.args))}"
        ) from None
    content = buffer.getvalue()
    path = folder / FOLDER / f"data-{sha256(content).hexdigest()[:8]}.parquet"
    _write(path, content)
    return path
