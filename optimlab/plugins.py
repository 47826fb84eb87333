"""How a name becomes an optimizer: one of the five, or a class in a user's own file."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from difflib import get_close_matches
from hashlib import sha256
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from optimlab.optimizers import RULES


def load_rule(name: str, folder: Path) -> type:
    """Return the optimizer class of a name: one of the five, or ``"file.py:ClassName"``.

    Parameters
    ----------
    name : a key of `RULES`, or a file in `folder` and a class in it.
    folder : where a file is looked for, and nowhere above it. Loading a file runs it.

    Raises
    ------
    ValueError
        When there is no such rule, file or class, when the file cannot be run, or when the class
        is no optimizer. The message says what would be right.
    """
    if name in RULES:
        return RULES[name]
    file, colon, class_name = name.partition(":")
    if not colon:
        nearest = get_close_matches(name, RULES, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(RULES)}"
        raise ValueError(f'unknown optimizer "{name}"; {hint} (your own is "file.py:ClassName")')
    rule = getattr(_load_plugin(file, folder), class_name, None)
    if not isinstance(rule, type):
        raise ValueError(f'there is no class "{class_name}" in {file}')
    for method in ("init", "gradient_point", "step"):
        if not callable(getattr(rule, method, None)):
            raise ValueError(f"{class_name} in {file} lacks the method {method}")
    if "learning_rate" not in hyperparameters(rule):
        raise ValueError(f"{class_name} in {file} takes no keyword learning_rate")
    return rule


def plugin_files(name: str, folder: Path) -> list[Path]:
    """Return the file of a rule ``"file.py:ClassName"`` and what it imports; nothing for the five.

    What is installed, and optimlab itself, are left out: their versions and sources are known otherwise.
    So is what a plug-in finds by other means than import statements.
    """
    if name in RULES:
        return []
    file = folder / name.partition(":")[0]
    places = [path for path in sys.path if not _is_installed(Path(path or "."))]
    finder = ModuleFinder(places, excludes=["optimlab"])
    with suppress(OSError, SyntaxError, ValueError):  # gone or broken since it was checked
        finder.run_script(str(file))
    imported = {Path(getattr(module, "__file__", None) or file) for module in finder.modules.values()}
    return [file, *sorted(imported - {file})]


def _is_installed(folder: Path) -> bool:
    return "site-packages" in folder.parts or any(
        folder.resolve().is_relative_to(Path(prefix).resolve())
        for prefix in (sys.prefix, sys.base_prefix)
    )


def hyperparameters(rule: type) -> dict[str, Any]:
    """Return the keyword parameters of a rule and their defaults, `Parameter.empty` where none."""
    parameters = inspect.signature(rule).parameters.values()
    return {p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _load_plugin(file: str, folder: Path) -> ModuleType:
    try:
        path = (folder / file).resolve()
        is_inside = path.is_relative_to(folder.resolve())
        is_there = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a name that no disk has
        raise ValueError(f'"{file}" cannot be read: {error}') from error
    if not is_inside or path.suffix != ".py":
        raise ValueError(f'"{file}" is not a .py file in the folder of the experiment')
    if not is_there:
        raise ValueError(f"there is no file {folder / file}")
    source = path.read_bytes()
    module_name = f"optimlab_plugin_{sha256(source).hexdigest()[:16]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses look their module up while it is being run
    try:
        # Not by importlib: it may run bytecode of the file as it was a moment before.
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ValueError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
