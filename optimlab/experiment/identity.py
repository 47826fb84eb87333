"""Identity: a digest of all that decides a run's numbers. Runs whose identity is stored are reused."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from optimlab.data.named import File, is_own
from optimlab.errors import UserError
from optimlab.experiment.imports import PACKAGE, Code, Module, follow, module_file
from optimlab.experiment.registry import code_of, plugin_code

LOOP = "optimlab.execution.stack"  # the module from which imports are followed


def problem_code(problem: Any) -> Code:
    """Return the code that trains on a problem, except the rule: all that loop and problem import.

    Files that the problem names, data or user code, are among the sources.

    A problem from a script or without a file is left out, since it is sent to the workers with its code:
    `script_digest` is for that.

    Raises
    ------
    UserError
        When a module is not where it is imported from.
    """
    name = type(problem).__module__
    file = _file_of(name)
    roots = [Module(LOOP, module_file(LOOP))]
    if file and name != "__main__":
        roots.append(Module(name, file))
    try:
        code = follow(*roots)
    except (ImportError, OSError, SyntaxError) as error:
        raise UserError(f"the code of the problem in {name} cannot be followed: {error}") from error
    for each in files_of(problem):
        try:
            if is_own(each):
                code.add(each, plugin_code(each, each.folder))
            else:
                code.sources[each] = each.path.read_bytes()
        except (ImportError, OSError, SyntaxError) as error:
            raise UserError(f"{each.folder / each} cannot be read: {error}") from error
    return code


def files_of(value: Any) -> Iterator[File]:
    """Yield the files that the settings of a problem name."""
    if isinstance(value, File):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from files_of(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from files_of(getattr(value, each.name))


def script_digest(problem: Any) -> str:
    """Return a digest of the script that a problem is defined in; "" for one that `problem_code` knows.

    Without a script, as in a notebook, it is different each time, so that such runs are always repeated.
    """
    name = type(problem).__module__
    file = _file_of(name)
    if file is None:
        return uuid4().hex
    return follow(Module("", file)).digest() if name == "__main__" else ""


def code_digest(problem: Any, names: Sequence[str], folder: Path) -> str:
    """Return a digest of the code that computes the runs of a problem: its own, the rule's, schedules'.

    The names are those of `registry.names_of`: of the rule, and of user-defined schedules.

    Raises
    ------
    UserError
        When a module is not where it is imported from.
    """
    try:
        return joint_digest(problem_code(problem), code_of(names, folder))
    except (ImportError, OSError, SyntaxError) as error:
        raise UserError(f"the code of {names[0]} cannot be followed: {error}") from error


def joint_digest(problem: Code, rule: Code) -> str:
    """Return the digest of the code of a problem and of a rule."""
    return digest(f"{problem.digest()} {rule.digest()}")


def digest(content: str | bytes) -> str:
    """Return 16 hexadecimal digits that identify the content."""
    data = content.encode() if isinstance(content, str) else content
    return sha256(data).hexdigest()[:16]


def _file_of(name: str) -> Path | None:
    """Return the file of an imported module; None if it has none."""
    if name.partition(".")[0] == PACKAGE.name:
        return module_file(name)
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None
