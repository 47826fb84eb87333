"""From names to optimizers: rules, wrappers around them, and classes in users' files."""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from optimlab.errors import IS_FOLDER, PLUGIN, Interrupted
from optimlab.experiment.imports import Code, Module, follow, module_file
from optimlab.optimizers import BY_KEY, RULES, WRAPPERS
from optimlab.schedules import SCHEDULES, OfFunction, Schedule
from optimlab.validation import nearest

LIBRARIES = {"torch": "PyTorch", "optax": "optax"}  # libraries with adapters in `optimlab.optimizers`
AROUND = re.compile(r"(?P<wrapper>\w+)\((?P<rule>.+)\)")


@dataclass(frozen=True)
class Wrapped:
    """A wrapper and the rule in it, as one rule: each hyper-parameter goes to the one that has it."""

    wrapper: type
    rule: Callable[..., Any]

    @property
    def own(self) -> dict[str, Any]:
        """The wrapper's own hyper-parameters and their defaults."""
        return {name: value for name, value in hyperparameters(self.wrapper).items() if name != "around"}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters of wrapper and rule, with their defaults."""
        return {**hyperparameters(self.rule), **self.own}

    def __call__(self, **given: Any) -> Any:
        """Return the optimizer."""
        given_to_wrapper = {name: given.pop(name) for name in self.own if name in given}
        return self.wrapper(self.rule(**given), **given_to_wrapper)


def load_rule(name: str, folder: Path, keys: Iterable[str] = ()) -> Callable[..., Any]:
    """Return the class or function that makes an optimizer from its hyper-parameters.

    Parameters
    ----------
    name : a key of `RULES`, ``"file.py:ClassName"`` with a file in `folder` and a class in it,
        ``"torch:ClassName"`` of torch.optim, ``"optax:function"`` of optax, or a key of `WRAPPERS`
        around one of these, as in ``"Lookahead(Adam)"``.
    folder : the folder of the file, which cannot be outside it. Loading a file runs it.
    keys : the given hyper-parameters; see `with_keys`.

    Raises
    ------
    ValueError
        If there is no such rule, file or class, if the file cannot be run, or if the class
        is not an optimizer. The message says what would be right.
    """
    return with_keys(_load(name, folder), keys)


def with_keys(rule: Callable[..., Any], keys: Iterable[str]) -> Callable[..., Any]:
    """Return a rule in the wrappers that its keys need: each key of `BY_KEY` that the rule lacks."""
    for key, wrapper in BY_KEY.items():
        if key in keys and key not in hyperparameters(rule):
            rule = Wrapped(wrapper, rule)
    return rule


def _load(name: str, folder: Path) -> Callable[..., Any]:
    if name in RULES:
        return RULES[name]
    if name in WRAPPERS:
        raise ValueError(f'{name} goes around another rule: "{name}(Adam)"')
    around = AROUND.fullmatch(name)
    if around:
        return _wrapped(around["wrapper"], _load(around["rule"], folder), around["rule"])
    file, colon, class_name = name.partition(":")
    if not colon:
        near = nearest(name, [*RULES, *WRAPPERS], cutoff=0.5)
        hint = f"did you mean {near}?" if near else "`optimlab list` shows all"
        raise ValueError(f'unknown optimizer "{name}"; {hint} (your own is "file.py:ClassName")')
    if file in LIBRARIES:
        return _of_library(file, class_name)
    rule = getattr(_load_plugin(file, folder), class_name, None)
    if not isinstance(rule, type):
        raise ValueError(f'there is no class "{class_name}" in {file}')
    for method in ("init", "gradient_point", "step"):
        if not callable(getattr(rule, method, None)):
            raise ValueError(f"{class_name} in {file} lacks the method {method}")
    if "learning_rate" not in hyperparameters(rule):
        raise ValueError(f"{class_name} in {file} takes no keyword learning_rate")
    return rule


def load_schedule(settings: Mapping[str, Any], folder: Path) -> Schedule:
    """Return the schedule of a table: its name is a key of `SCHEDULES`, or a user-defined function.

    Raises
    ------
    ValueError
        As `load_object` does.
    """
    arguments = {key: value for key, value in settings.items() if key != "name"}
    kind = SCHEDULES.get(settings["name"])
    return kind(**arguments) if kind else OfFunction(load_object(settings["name"], folder), arguments)


def load_object(name: str, folder: Path) -> Callable[..., Any]:
    """Return a class or function in a user's file, ``"file.py:Name"``.

    Raises
    ------
    ValueError
        If there is no such file or name, or the file cannot be run.
    """
    file, _, attribute = name.partition(":")
    found = getattr(_load_plugin(file, folder), attribute, None)
    if not callable(found):
        raise ValueError(f'there is no class or function "{attribute}" in {file}')
    return found


def _of_library(library: str, name: str) -> Callable[..., Any]:
    if find_spec(library) is None:
        needs = f"{LIBRARIES[library]}: pip install 'optimlab[{library}]'"
        raise ValueError(f"{library}:{name} needs {needs}")
    # Not by a statement, which would make it part of the identity of all runs.
    return import_module(f"optimlab.optimizers.{library}").find(name)


def _wrapped(wrapper: str, rule: Callable[..., Any], name: str) -> Wrapped:
    if wrapper not in WRAPPERS:
        raise ValueError(f'unknown wrapper "{wrapper}"; known are {", ".join(WRAPPERS)}')
    wrapped = Wrapped(WRAPPERS[wrapper], rule)
    both = wrapped.own.keys() & hyperparameters(rule).keys()
    if both:
        raise ValueError(f"{wrapper} and {name} have a hyper-parameter of the same name, {min(both)}")
    average = _average_in(rule)
    if average and wrapper != "EMA":  # which alone leaves the parameters as they are
        raise ValueError(
            f"{wrapper} would change the parameters that {average} averages: "
            f'write "{average}({wrapper}(…))"'
        )
    return wrapped


def _average_in(rule: Callable[..., Any]) -> str | None:
    """Return the name of the wrapper in a rule whose result is an average of its parameters, if any."""
    while isinstance(rule, Wrapped):
        if "eval_params" in vars(rule.wrapper):
            return rule.wrapper.__name__
        rule = rule.rule
    return None


def names_of(rule: str, schedules: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the rule and of its user-defined schedules."""
    functions = {each["name"] for each in schedules.values()} - SCHEDULES.keys()
    return (rule, *sorted(functions))


def code_of(names: Iterable[str], folder: Path) -> Code:
    """Return the code of several names of `names_of`; see `plugin_code`."""
    first, *others = names
    code = plugin_code(first, folder)
    for name in others:
        code.add(name, plugin_code(name, folder))
    return code


def plugin_code(name: str, folder: Path) -> Code:
    """Return the code of a rule ``"file.py:ClassName"``; empty for built-in rules.

    That is its file and what it imports by name.

    Raises
    ------
    ImportError, OSError, SyntaxError
        As `optimlab.experiment.imports.follow` does.
    """
    while around := AROUND.fullmatch(name):
        name = around["rule"]
    if name in RULES:
        return Code()
    library = name.partition(":")[0]
    if library in LIBRARIES:
        adapter = f"optimlab.optimizers.{library}"
        return follow(Module(adapter, module_file(adapter)))
    file = (folder / name.partition(":")[0]).resolve()
    beside = tuple(dict.fromkeys((file.parent, folder.resolve())))
    return follow(Module("", file), beside=beside)


def hyperparameters(rule: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword parameters of a rule and their defaults, or `Parameter.empty`.

    If its constructor has ``**others``, those of the class that it derives from are among them.
    """
    if not isinstance(rule, type):  # a wrapper, or a library's optimizer
        return dict(rule.hyperparameters)  # type: ignore[attr-defined]
    parameters = inspect.signature(rule).parameters.values()
    named = {
        p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
    if all(p.kind is not p.VAR_KEYWORD for p in parameters):
        return named
    constructors = [each for each in rule.__mro__ if "__init__" in vars(each)]
    return {**hyperparameters(constructors[1]), **named} if constructors[1:-1] else named


def _load_plugin(file: str, folder: Path) -> ModuleType:
    try:
        path = (folder / file).resolve()
        is_inside = path.is_relative_to(folder.resolve())
        is_there = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, an impossible name
        raise ValueError(f'"{file}" cannot be read: {error}') from error
    if not is_inside or path.suffix != ".py":
        raise ValueError(f'"{file}" is not a .py file in the folder of the experiment')
    if not is_there:
        but = f": it {IS_FOLDER}" if path.is_dir() else ""
        raise ValueError(f"there is no file {folder / file}{but}")
    try:
        return _run(plugin_code(file, folder), path)
    except Interrupted:
        raise
    except BaseException as error:
        raise ValueError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error


def _run(code: Code, path: Path) -> ModuleType:
    """Return a plug-in as a module, named by a digest of its code; modules beside it become submodules.

    So another plug-in may have different modules of the same names.
    """
    name = f"{PLUGIN}{code.digest()}"
    if name in sys.modules:
        return sys.modules[name]
    beside = {key: module for key, module in code.modules.items() if module.is_beside}
    for key, module in beside.items():
        BESIDE.known[f"{name}.{key}"] = module, code.sources.get(key), frozenset(beside)
    plugin = ModuleType(name)
    plugin.__file__, plugin.__path__ = str(path), []
    sys.modules[name] = plugin  # dataclasses look up their module while it runs
    try:
        _execute(plugin, code.sources[""], name, frozenset(beside))
    except BaseException:
        for key in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[key]
        raise
    return plugin


def _execute(module: ModuleType, source: bytes, plugin: str, beside: frozenset[str]) -> None:
    """Run a module's source; its imports also find the modules beside the plug-in.

    Python's own loader might run outdated bytecode of the file.
    """

    def import_(
        name: str,
        globals: Any = None,  # noqa: A002  # as Python calls them
        locals: Any = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if level or name not in beside:
            return __import__(name, globals, locals, fromlist, level)
        found = __import__(f"{plugin}.{name}", globals, locals, fromlist)
        return found if fromlist else getattr(found, name.partition(".")[0])

    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
    code = compile(source, str(module.__file__), "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102


class Beside(MetaPathFinder, Loader):
    """Finds and loads the modules beside plug-ins, for Python's import machinery.

    Attributes
    ----------
    known : full name → the module, its source, and the names of all modules beside the plug-in.
    """

    def __init__(self) -> None:
        self.known: dict[str, tuple[Module, bytes | None, frozenset[str]]] = {}

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.known:
            return None
        module, _, _ = self.known[fullname]
        if module.file and module.file.suffix != ".py":
            return spec_from_file_location(fullname, module.file)  # compiled
        origin = str(module.file) if module.file else None
        spec = ModuleSpec(fullname, self, origin=origin, is_package=bool(module.folders))
        spec.has_location = origin is not None
        return spec

    def exec_module(self, module: ModuleType) -> None:
        _, source, beside = self.known[module.__name__]
        if source is not None:  # a folder has none
            _execute(module, source, module.__name__.partition(".")[0], beside)


BESIDE = Beside()
sys.meta_path.append(BESIDE)
