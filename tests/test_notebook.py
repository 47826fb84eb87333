"""Notebooks: classes from cells as optimizers, progress, and the notebook in the documentation."""

import ast
import itertools
import json
import linecache
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import optimlab
from optimlab.errors import UserError
from optimlab.experiment.registry import load_object, load_rule, plugin_code
from optimlab.notebook import _names, module_of, name_of
from optimlab.progress import Progress

DOCS = Path(__file__).parents[1] / "docs"
SMALL = {"learning_rates": [0.1], "steps": 5, "record_every": 5, "seeds": (0, 2), "jobs": 1}
IMPORTS = """import numpy as np
from dataclasses import dataclass, field as f
from optimlab import SGD
LIMITS = {'low': (0.5, None)}
"""
HELPERS = "def clip(x):\n    return np.minimum(x, top())\n\ndef top():\n    return LIMITS['low'][0]\n"
CLASS = '''
@dataclass(frozen=True, kw_only=True)
class Mine(SGD):
    """Clipped."""

    learning_rate: float = 0.1

    def step(self, params, gradient, state):
        params -= self.learning_rate * clip(gradient)
'''


NUMBERS = itertools.count()  # of all cells: one that had another's name would take its place


class Notebook:
    """Runs cells as IPython does: each has a name of its own, under which its lines are known."""

    def __init__(self):
        self.names = {"__name__": "__main__"}

    def run(self, text):
        name = f"<cell {next(NUMBERS)}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        exec(compile(text, name, "exec"), self.names)
        return self.names


@pytest.mark.slow
def test_a_class_of_a_cell_is_written_with_what_it_uses(tmp_path):
    cells = Notebook()
    for text in (IMPORTS, HELPERS, "unused = object()", CLASS):
        names = cells.run(text)
    source = module_of(names["Mine"], tmp_path)
    assert "unused" not in source
    assert source.index("def top") < source.index("def clip") < source.index("class Mine")
    written = {}
    exec(source, written)
    assert written["Mine"](learning_rate=3).learning_rate == 3
    found = optimlab.compare(
        names["Mine"], "SGD", problem={"name": "landscape"}, folder=tmp_path, **SMALL
    )
    assert set(found.runs["rule"]) == {"from_notebook/Mine.py:Mine", "SGD"}
    assert set(found.runs["status"]) <= {"ok", "stuck"}
    assert (tmp_path / "from_notebook/Mine.py").read_text() == source


@pytest.mark.slow
def test_another_version_of_the_cell_has_other_runs(tmp_path):
    cells, runs = Notebook(), []
    for text in (IMPORTS + HELPERS, CLASS, CLASS, HELPERS.replace("[0]", "[0] / 2")):
        names = cells.run(text)
        if "Mine" in names:
            built = optimlab.build_experiment(
                optimizers=[names["Mine"]], problem={"name": "landscape"}, folder=tmp_path,
                **{key: value for key, value in SMALL.items() if key != "jobs"},
            )  # fmt: skip
            runs.append([run.run_id for run in built.runs()])
    assert runs[0] == runs[1] != runs[2]


WRONG = {
    "import threading\nHANDLE = threading.Lock()": "Mine uses HANDLE, of type lock, which cannot be",
    "HANDLE = iter([1]), lambda: 1": "Mine uses HANDLE, of type tuple, which cannot be written",
}


@pytest.mark.parametrize("cell", WRONG)
def test_what_cannot_be_written_is_named(cell, tmp_path):
    cells = Notebook()
    names = cells.run(IMPORTS + HELPERS + cell + "\n" + CLASS.replace("clip(gradient)", "HANDLE"))
    with pytest.raises(UserError, match=WRONG[cell]):
        module_of(names["Mine"], tmp_path)


def test_an_array_that_a_class_uses_identifies_its_runs(tmp_path, monkeypatch):
    digests = []
    for scale in ("1.0", "1.0", "2.0"):
        cells = Notebook()
        names = cells.run(f"{IMPORTS}{HELPERS}SCALES = np.full(1000, {scale})\n")
        names = cells.run(CLASS.replace("clip(gradient)", "SCALES[0] * gradient"))
        name = name_of(names["Mine"], tmp_path)
        digests.append(plugin_code(name, tmp_path).digest())
        params = np.zeros((1, 1))
        load_rule(name, tmp_path)(learning_rate=1.0).step(params, np.ones((1, 1)), {})
        assert params == -float(scale)
    assert digests[0] == digests[1] != digests[2]


DECORATED = """
from functools import cache, partial, wraps
from numba import njit

@cache
def half(x):
    return x / 2

@njit
def double(x):
    return 2 * x

def loud(function):
    @wraps(function)
    def inner(x):
        return 10 * function(x)
    return inner

@loud
def same(x):
    return x
"""


def test_decorated_functions_are_written_with_their_decorators(tmp_path):
    """A cached one was pickled by its name, which no worker has."""
    cells = Notebook()
    cells.run(IMPORTS + DECORATED)
    names = cells.run(CLASS.replace("clip(gradient)", "half(double(same(3.0)))"))
    written = {}
    exec(module_of(names["Mine"], tmp_path), written)
    params = np.zeros((1, 1))
    written["Mine"](learning_rate=1.0).step(params, np.ones((1, 1)), {})
    assert params == -30
    assert not (tmp_path / "from_notebook").exists()
    name = name_of(names["half"], tmp_path, is_called=True)
    assert load_object(name, tmp_path)(4) == 2


def test_a_function_that_only_has_the_name_of_another_is_not_written_as_that(tmp_path, capsys):
    cells = Notebook()
    cells.run(f"{IMPORTS}{DECORATED}def plain(x):\n    return x\n")
    cells.run("other = wraps(plain)(lambda x: 7 * x)\nold = plain")
    names = cells.run("def plain(x):\n    return 5 * x\n")
    for key, value in {"other": 7, "old": 1, "plain": 5}.items():
        name = name_of(names[key], tmp_path, is_called=True)
        assert load_object(name, tmp_path)(1) == value
    assert "its source, which identifies" not in capsys.readouterr().err.replace(
        "the source of plain", ""
    )


def test_a_name_of_a_notebook_that_hides_one_of_python_is_written(tmp_path):
    """As after `from numpy import *`; Python's own was taken."""
    cells = Notebook()
    cells.run(IMPORTS + HELPERS + "from numpy import *\ndef abs(x):\n    return 7 + 0 * x\n")
    names = cells.run(CLASS.replace("clip(gradient)", "sum(abs(gradient), axis=-1, keepdims=True)"))
    params = np.zeros((1, 2))
    load_rule(name_of(names["Mine"], tmp_path), tmp_path)(learning_rate=1.0).step(
        params, np.ones((1, 2)), {}
    )
    assert params.tolist() == [[-14, -14]]


SET = {
    "Mine.factor has been set since Mine was defined": "Mine.factor = 5.0",
    "Mine.step has been set since Mine was defined": (
        "def other(self, params, gradient, state):\n    params -= 5 * gradient\nMine.step = other"
    ),
    "": "Mine.factor = 1.0",
}


@pytest.mark.parametrize("message", SET)
def test_what_has_been_set_in_a_class_since_its_definition_counts(tmp_path, capsys, message):
    """The class was trained as its source has it."""
    cells = Notebook()
    text = "class Mine(SGD):\n    factor = 1.0\n    def init(self, params):\n        return {}\n"
    text += "    def step(self, params, gradient, state):\n        params -= self.factor * gradient\n"
    text += "        # done"
    cells.run(IMPORTS + text)
    names = cells.run(SET[message])
    params = np.zeros((1, 1))
    load_rule(name_of(names["Mine"], tmp_path), tmp_path)().step(params, np.ones((1, 1)), {})
    assert params == (-5 if message else -1)
    assert (message in capsys.readouterr().err) if message else not capsys.readouterr().err


def test_a_class_is_known_in_a_second_folder_after_another_took_its_file_in_the_first(tmp_path, capsys):
    """The loaded module was compared by the lines of a file that had been written anew."""
    for factor, folder in ((1.0, "a"), (2.0, "a"), (1.0, "b"), (1, "b")):
        changed = CLASS.replace("clip(gradient)", f"{factor!r} * clip(gradient)")
        names = Notebook().run(IMPORTS + HELPERS + changed)
        rule = load_rule(name_of(names["Mine"], tmp_path / folder), tmp_path / folder)
        params = np.zeros((1, 1))
        rule(learning_rate=1.0).step(params, np.ones((1, 1)), {})
        assert params == -0.5 * factor
    assert capsys.readouterr().err == ""


def test_generic_classes_and_annotations_of_later_names_are_written(tmp_path, capsys):
    cells = Notebook()
    cells.run("from typing import Generic, TypeVar\nT = TypeVar('T', int, float)\n" + IMPORTS)
    text = "from __future__ import annotations\nclass Base(Generic[T]):\n    kept: Later = 1.0\n"
    cells.run(text + "    def same(self, x: T) -> T:\n        return x\n")
    names = cells.run(CLASS.replace("Mine(SGD)", "Mine(SGD, Base[float])").replace("clip", "self.same"))
    rule = load_rule(name_of(names["Mine"], tmp_path), tmp_path)
    assert rule.kept == 1
    assert rule.__orig_bases__[1].__parameters__ == ()
    assert capsys.readouterr().err == ""


SCOPES = """
class Local(SGD):
    rate: annotated = default

    @decorator
    def step(self, params, gradient, state, least=limit):
        x, total = gradient, 0
        for row in params:
            total = total + sum(each for each in row)
        with open(path) as file:
            text = [line for line in file]
        def inner(y):
            return y + x + offset
        params -= (lambda z: z)(inner(x)) if total else text
"""


def test_variables_of_functions_are_not_those_of_the_notebook():
    """A table that had the name of a local variable was written, and identified the runs."""
    found = set(_names(ast.parse(SCOPES), SCOPES))
    outer = {"SGD", "annotated", "default", "decorator", "limit", "path", "offset", "open", "sum"}
    assert found == outer


def test_a_class_without_methods_is_found_in_its_cell(tmp_path, monkeypatch):
    cells = Notebook()
    monkeypatch.setitem(sys.modules, "__main__", main := ModuleType("__main__"))
    cells.names = vars(main)
    cells.run(IMPORTS + HELPERS + CLASS)
    cells.run("class Half(Mine):\n    scale = 1")
    names = cells.run("@dataclass(frozen=True, kw_only=True)\nclass Half(Mine):\n    scale: float = 0.5")
    written = {}
    exec(module_of(names["Half"], tmp_path), written)
    assert written["Half"](learning_rate=1).scale == 0.5


def test_a_class_that_derives_from_an_earlier_one_is_not_written_with_the_later(tmp_path):
    """Another class was trained than the one that was given."""
    cells = Notebook()
    cells.run(IMPORTS + HELPERS + CLASS)
    names = cells.run("class Half(Mine):\n    def init(self, params):\n        return {}")
    assert "class Mine" in module_of(names["Half"], tmp_path)
    names = cells.run(CLASS.replace("clip(gradient)", "gradient"))
    with pytest.raises(UserError, match="Half derives from an earlier Mine: run the cell of Half again"):
        module_of(names["Half"], tmp_path)


MAGICS = [
    "%%time\n",
    "%%time\n!true\n",
    "%%capture\n",
    "%%capture\n%%time\n",
    "%xmode plain\n",
    "!true\n",
]
IN_IPYTHON = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
from optimlab.notebook import file_of
shell = InteractiveShell.instance(user_module=sys.modules["__main__"])
for place, cell in enumerate(sys.argv[1:]):
    shell.run_cell(cell).raise_error()
    file_of(shell.user_ns["Mine"], Path.cwd() / str(place))
"""


@pytest.mark.slow
def test_a_class_of_a_cell_with_magic_is_written(tmp_path):
    """By IPython itself, which keeps the source of each kind of cell in its own way."""
    cells = [f"{magic}class Mine:\n    def step(self): return {n}\n" for n, magic in enumerate(MAGICS)]
    (tmp_path / "shell.py").write_text(IN_IPYTHON)
    command = [sys.executable, tmp_path / "shell.py", *cells]
    variables = os.environ | {"IPYTHONDIR": str(tmp_path)}
    subprocess.run(command, check=True, cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL)
    for place in range(len(MAGICS)):
        source = (tmp_path / str(place) / "from_notebook/Mine.py").read_text(encoding="utf-8")
        assert f"\n\nclass Mine:\n    def step(self): return {place}\n" in source


def test_a_class_without_source_is_reported(tmp_path):
    names = {"__name__": "__main__"}
    exec("class Mine:\n    def step(self, params, gradient, state): pass", names)
    with pytest.raises(UserError, match="the source of Mine, which identifies its runs, is unknown"):
        module_of(names["Mine"], tmp_path)


def first_run(problem, folder):
    """Return the identity of the first run on a problem, and the number of its parameters."""
    keys = {"learning_rates": [0.1], "epochs": 1, "seeds": 2}
    built = optimlab.build_experiment(optimizers=["SGD"], problem=problem, folder=folder, **keys)
    return next(built.runs()).run_id, built.problems[0].problem.size


def test_data_may_be_a_table_or_arrays(tmp_path):
    features = np.random.default_rng(0).normal(size=(60, 3))
    kind = np.where(features[:, 0] > 0, "up", "down")
    table = pd.DataFrame(features, columns=["a", "b", "c"]).assign(kind=kind)
    linear = {"hidden": [], "target": "kind"}
    assert first_run({"data": table, **linear}, tmp_path)[1] == (3 + 1) * 2
    assert first_run({"data": table[["a", "kind"]], **linear}, tmp_path)[1] == (1 + 1) * 2
    changed = features.copy()
    changed[0, 0] += 1e-9
    first, again, other = (
        first_run((each, kind), tmp_path)[0] for each in (features, features, changed)
    )
    assert first == again != other
    found = optimlab.compare("SGD", problem=(features, kind), folder=tmp_path, **SMALL)
    assert set(found.runs["status"]) == {"ok"}
    with pytest.raises(
        UserError, match=r"features have 60 rows, so the target must have the shape \(60,\)"
    ):
        first_run((features, kind[1:]), tmp_path)


def test_progress_in_a_notebook_is_one_line_that_changes(monkeypatch):
    shown = []

    class Handle:
        def update(self, content, raw):
            shown[-1].append(content["text/plain"])

    def display(content, raw, display_id):
        shown.append([content["text/plain"]])
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    progress = Progress(Console(force_jupyter=True))
    with progress.over(3, 0):
        progress.advance(3)
    (line,) = shown
    assert line[0] == "3 runs to do"
    assert line[-1].startswith("3 of 3 runs")


@pytest.mark.slow
def test_the_notebook_of_the_documentation_runs(tmp_path):
    """As it is stored, its cells were run in order, without an error; a kernel runs them again."""
    import nbformat
    from nbclient import NotebookClient

    stored = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    nbformat.validate(stored)
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    NotebookClient(stored, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    again = [cell for cell in stored.cells if cell.cell_type == "code"]
    text = json.dumps([cell.outputs for cell in again])
    assert "ends with the lowest median final" in text
    assert "image/png" in text
    assert "Traceback" not in text
    assert (tmp_path / "from_notebook/ClippedSGD.py").is_file()
