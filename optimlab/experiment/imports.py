"""The modules and packages that code imports, found by reading it, without running anything.

Sources are followed from module to module; an installed package counts by name and version, together
with its requirements. So all code that decides a run's numbers is known without a list kept by hand.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_string
from functools import cache, lru_cache
from hashlib import sha256
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]
READ_FIRST: dict[Path, bytes] = {}  # the sources of modules, as this process imported them
CALLS = ("import_module", "__import__", "find_spec")  # functions whose argument names a module
CATCHES_IT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Module(NamedTuple):
    """A module whose source is part of an identity.

    Attributes
    ----------
    name : its name in imports; "" for a plug-in's file.
    file : its source or compiled library; None for a folder without __init__.py.
    folders : the folders of its submodules; empty if it is not a package.
    is_beside : whether it was found beside the plug-in rather than on Python's path.
    """

    name: str
    file: Path | None
    folders: tuple[Path, ...] = ()
    is_beside: bool = False


@dataclass
class Code:
    """The sources and packages that some code consists of.

    Attributes
    ----------
    modules : name → module whose source counts.
    sources : name → content of the module's file.
    packages : name → version of installed packages.
    absent : optional imports that were not found.
    """

    modules: dict[str, Module] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def add(self, name: str, other: Code) -> None:
        """Add other code; its sources are named after `name`."""
        self.sources |= {f"{name} {module}": source for module, source in other.sources.items()}
        self.packages |= other.packages
        self.absent |= other.absent

    def digest(self) -> str:
        """Return a digest of it all and of Python's version, but not of the files' locations."""
        parts = [(name, sha256(source).hexdigest()) for name, source in sorted(self.sources.items())]
        everything = (parts, sorted(self.packages.items()), sorted(self.absent), sys.version_info[:2])
        return sha256(repr(everything).encode()).hexdigest()[:16]


_Found = tuple[Module | None, str | None]  # a module that is loose, or the name of its package


class _Import(NamedTuple):
    """One import: ``import name``, or ``from name import names``, `level` dots before it."""

    name: str
    names: tuple[str, ...]
    level: int
    line: int
    is_optional: bool


def follow(*roots: Module, beside: Sequence[Path] = ()) -> Code:
    """Return the code of modules: their sources, and all that they import.

    Parameters
    ----------
    roots : the modules to start from.
    beside : folders of a plug-in, whose modules it may import. A file there is found first and a folder
        after installed packages, so that results and data beside a plug-in hide nothing.

    Raises
    ------
    ModuleNotFoundError
        When an import that is not in ``try`` … ``except ImportError`` finds nothing.
    ImportError
        When a file beside the plug-in has the name of an imported installed package, or a source has
        changed since this process imported it.
    OSError, SyntaxError
        When a source cannot be read.
    """
    code = Code()
    on_path = cache(_on_path)  # which many modules ask for the same
    todo = [root for root in roots if not _owner_of(root.name)]
    installed = {owner for root in roots if (owner := _owner_of(root.name))}
    while todo:
        module = todo.pop()
        if module.name in code.modules:
            continue
        code.modules[module.name] = module
        if module.file is None:
            continue
        source = code.sources[module.name] = _source(module.name, module.file)
        if module.file.suffix != ".py":
            continue
        for wanted in _imports(source, str(module.file)):
            found = _resolve(wanted, module, beside, on_path)
            if isinstance(found, str):
                installed.add(found)
            elif found is not None:
                todo += found
            elif wanted.is_optional or _is_extra(wanted, module):
                code.absent.add(wanted.name)
            else:
                where = f" ({module.file.name}, line {wanted.line})" if module.name else ""
                raise ModuleNotFoundError(f"No module named '{wanted.name}'{where}")
    code.packages = _with_requirements(installed)
    return code


def _is_extra(wanted: _Import, module: Module) -> bool:
    """Return whether optimlab imports a package of an extra, which may be missing."""
    inside, top = (name.partition(".")[0] for name in (module.name, wanted.name))
    return inside == PACKAGE.name and not wanted.level and top != PACKAGE.name


def module_file(name: str) -> Path:
    """Return the file of a module of optimlab."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _source(name: str, file: Path) -> bytes:
    """Return the content of a module's file; refuse it if this process imported another version."""
    source = file.read_bytes()
    imported = getattr(sys.modules.get(name), "__file__", None)
    if imported == str(file) and READ_FIRST.setdefault(file, source) != source:
        raise ImportError(f"{file} has changed since this process imported it; start a new one")
    return source


@lru_cache(1000)
def _imports(source: bytes, file: str) -> tuple[_Import, ...]:
    may_call = any(name.encode() in source for name in CALLS)
    passed_over = () if may_call else (ast.expr,)  # which are most of a source
    return tuple(_statements(ast.parse(source, file), passed_over, is_optional=False))


def _statements(
    node: ast.AST, passed_over: tuple[type[ast.AST], ...], *, is_optional: bool
) -> Iterator[_Import]:
    """Yield the imports below a node, including those by functions with a literal name.

    Imports for type checkers only are left out, and what is below nodes of the kinds to be passed over.
    """
    children: list[tuple[ast.AST, bool]] = [
        (each, is_optional) for each in ast.iter_child_nodes(node) if not isinstance(each, passed_over)
    ]
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield _Import(alias.name, (), 0, node.lineno, is_optional)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        yield _Import(node.module or "", names, node.level, node.lineno, is_optional)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(CALLS):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield _Import(str(node.args[0].value), (), 0, node.lineno, is_optional=True)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in (
        getattr(node.test, "id", None),  # a name, or the attribute of typing
        getattr(node.test, "attr", None),
    ):
        children = [(each, is_optional) for each in node.orelse]
    elif isinstance(node, ast.Try | ast.TryStar):
        is_caught = any(handler.type is None or _names(handler.type) for handler in node.handlers)
        children = [(each, is_optional or (is_caught and each in node.body)) for each, _ in children]
    elif isinstance(node, ast.With):
        is_caught = any(
            isinstance(item.context_expr, ast.Call)
            and ast.unparse(item.context_expr.func).endswith("suppress")
            and any(map(_names, item.context_expr.args))
            for item in node.items
        )
        children = [(each, is_optional or is_caught) for each, _ in children]
    for child, is_child_optional in children:
        yield from _statements(child, passed_over, is_optional=is_child_optional)


def _names(kinds: ast.expr) -> bool:
    """Return whether an exception clause catches the error of a missing module."""
    return any(isinstance(node, ast.Name) and node.id in CATCHES_IT for node in ast.walk(kinds))


def _resolve(
    wanted: _Import, module: Module, beside: Sequence[Path], on_path: Callable[[str], _Found]
) -> list[Module] | str | None:
    """Return the modules that an import runs, or the installed package's name; None if not found.

    For the standard library it is an empty list.
    """
    name = wanted.name
    if wanted.level:
        parts = module.name.split(".")
        package = parts if module.file and module.file.name == "__init__.py" else parts[:-1]
        name = ".".join([*package[: len(package) - wanted.level + 1], *filter(None, [name])])
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return []
    if top == PACKAGE.name:
        return _modules(Module(top, PACKAGE / "__init__.py", (PACKAGE,)), name, wanted.names)
    folders = [each for each in beside if each / f"{top}.py" != module.file]
    first = [found for folder in folders if (found := _in_folder(folder, top, is_beside=True))]
    files = [found for found in first if found.file and not found.folders]
    there, owner = on_path(top)
    if files and owner:
        raise ImportError(
            f"{files[0].file} has the name of the installed package {owner}, which is hidden by it or "
            "hides it: rename the file"
        )
    if owner:
        return owner
    packages = [
        Module(top, init if (init := folder / "__init__.py").is_file() else None, (folder,), True)
        for folder in folders
        if folder.name == top
    ]
    candidates = [*files, *first, *packages, *([there] if there else [])]
    resolved = (_modules(candidate, name, wanted.names) for candidate in candidates)
    return next((modules for modules in resolved if modules), None)


def _modules(top: Module, name: str, names: Sequence[str]) -> list[Module] | None:
    """Return the modules from `top` down to `name`, and those of `names` that are modules below it.

    optimlab's packages themselves are left out if a module below them is meant: they compute nothing.
    """
    chain = [top]
    for part in name.split(".")[1:]:
        below = _below(chain[-1], part)
        if below is None:
            return None
        chain.append(below)
    last = chain[-1]
    submodules = [found for each in names if (found := _below(last, each))]
    if last.file is None and len(submodules) < max(1, len(names)):
        return None  # a folder without __init__.py has only modules
    if top.name == PACKAGE.name:
        is_all = bool(names) and len(submodules) == len(names)
        return submodules if is_all else [last, *submodules]
    return chain + submodules


def _below(module: Module, name: str) -> Module | None:
    for folder in module.folders:
        found = _in_folder(folder, name, is_beside=module.is_beside)
        if found:
            return found._replace(name=f"{module.name}.{name}")
    return None


def _in_folder(folder: Path, name: str, *, is_beside: bool) -> Module | None:
    """Return the module of a name in a folder, as Python would find it."""
    package = folder / name
    if (package / "__init__.py").is_file():
        return Module(name, package / "__init__.py", (package,), is_beside)
    for suffix in (*EXTENSION_SUFFIXES, ".py"):
        if (folder / f"{name}{suffix}").is_file():
            return Module(name, folder / f"{name}{suffix}", (), is_beside)
    return Module(name, None, (package,), is_beside) if package.is_dir() else None


def _on_path(top: str) -> _Found:
    """Return the module that Python finds by a name, and the installed package that it belongs to."""
    for finder in sys.meta_path:
        spec = finder.find_spec(top, None)
        if spec is not None:
            break
    else:
        return None, None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    file = Path(spec.origin) if spec.origin and spec.has_location else None
    bases = [folder.parent for folder in folders] or ([file.parent] if file else [])
    for base in bases:
        owner = _owner(top, str(base), _installed_in(base))
        if owner:
            return None, owner
    return Module(top, file, folders), None


def _owner_of(name: str) -> str | None:
    """Return the installed package of a module; None for optimlab and for loose sources."""
    top = name.partition(".")[0]
    return _on_path(top)[1] if top and top != PACKAGE.name else None


def _installed_in(base: Path) -> tuple[str, ...]:
    """Return the folders that describe installed packages; their names have the versions."""
    names = os.listdir(base) if base.is_dir() else []  # noqa: PTH208
    return tuple(name for name in names if name.endswith((".dist-info", ".egg-info")))


@lru_cache(1000)
def _owner(top: str, base: str, installed: tuple[str, ...]) -> str | None:  # changes with `installed`
    """Return the package of a module in a folder; None if it is loose or editable."""
    named = list(metadata.distributions(name=top, path=[base]))
    for each in named or metadata.distributions(path=[base]):
        is_old = each.read_text("METADATA") is None  # an .egg-info, which a source tree may have, too
        if is_old and Path(base).name not in ("site-packages", "dist-packages"):
            continue
        if re.search(r'"editable":\s*true', each.read_text("direct_url.json") or ""):
            continue
        record, declared = each.read_text("RECORD") or "", each.read_text("top_level.txt") or ""
        is_recorded = re.search(rf"^{re.escape(top)}(/|\.[^,/]*,)", record, re.MULTILINE)
        if named or is_recorded or top in declared.split():
            return each.name
    return None


def _with_requirements(names: set[str]) -> dict[str, str]:
    """Return installed packages and, recursively, their requirements: name → version."""
    versions: dict[str, str] = {}
    todo = sorted(names)
    while todo:
        try:
            found = metadata.distribution(todo.pop())
        except metadata.PackageNotFoundError:
            continue  # a requirement for other systems
        name, version, needs = _about(found.read_text("METADATA") or found.read_text("PKG-INFO") or "")
        if name not in versions:
            versions[name] = version
            todo += needs
    return versions


@lru_cache(1000)
def _about(text: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the name and version of a package and the names that it requires, from its metadata."""
    head = message_from_string(text.partition("\n\n")[0])
    needs = [need for need in head.get_all("Requires-Dist", []) if "extra ==" not in need]
    names = tuple(match[0] for need in needs if (match := re.match(r"[\w.-]+", need)))
    return head["Name"], head["Version"], names
