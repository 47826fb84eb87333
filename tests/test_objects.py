"""Classes, functions and objects of Python instead of names, and the identity of their runs."""

import importlib
import sys
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_charts import blank_pictures
from test_notebook import Notebook
from test_own import GOOD, blocks

import optimlab
from optimlab.data import Dataset
from optimlab.errors import UserError
from optimlab.experiment.registry import load_rule, plugin_code
from optimlab.nn.losses import Huber
from optimlab.notebook import name_of
from optimlab.problems import Landscape, Table
from optimlab.report.bundle import code_and_data
from optimlab.storage.results import read_tables

KEYS = {"optimizers": ["SGD"], "learning_rates": [0.1], "steps": 3, "record_every": 3, "seeds": (0, 2)}
BOWL = GOOD.replace("width=2", "width=2, start=None").replace(
    "self.width = width", "self.width, self.start = width, start"
)


@pytest.fixture
def built(tmp_path):
    """Return a function that builds an experiment in a folder of its own."""
    return lambda **given: optimlab.build_experiment(**KEYS | {"folder": tmp_path} | given)


PARTS = """
from optimlab.report.block import Block

class Mine(SGD):
    def step(self, params, gradient, state):
        params -= self.learning_rate * gradient

def block(runs, traces, experiment):
    return Block("From Python")
"""


def identities(experiment):
    return [run.run_id for run in experiment.runs()]


def digest_of(value, folder):
    """Return what identifies the code of an object, as a part of an experiment in a folder."""
    return plugin_code(name_of(value, folder), folder).digest()


def module(folder, monkeypatch, source, name="bowls"):
    """Return a module of a folder, imported anew."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def cell(source):
    return Notebook().run(source)


@pytest.mark.slow
def test_an_object_of_a_cell_is_a_problem_that_workers_load(tmp_path, monkeypatch):
    blank_pictures(monkeypatch)
    names = cell(BOWL)
    bowl = names["Bowl"](3, np.arange(3.0))
    names |= cell("from optimlab import SGD\n" + PARTS)
    given = KEYS | {"optimizers": [names["Mine"]], "folder": tmp_path}
    found = optimlab.run(
        problem=bowl, report=[names["block"]], results=tmp_path / "results", jobs=1, **given
    )
    assert set(found.runs["status"]) == {"ok"}
    assert set(found.runs["problem"]) == {"Bowl"}
    again = cell(BOWL)["Bowl"](3, np.arange(3.0))  # as another session would
    built = optimlab.build_experiment(problem=again, **given)
    assert identities(built) == list(found.runs["run_id"])
    assert "<h3>From Python</h3>" in found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    code = code_and_data(read_tables(found.folder))
    assert "from_notebook/Bowl.py" in code
    assert len(code) == 4  # the class, the object, the optimizer and the block


def test_source_and_settings_identify_an_object(tmp_path, capsys):
    sources = {
        "first": (BOWL, {}),
        "again": (BOWL, {}),
        "settings": (BOWL, {"width": 3}),
        "array": (BOWL, {"start": np.zeros(2)}),
        "other array": (BOWL, {"start": np.full(2, 1e-9)}),
        "source": (BOWL.replace("2 * params", "2.0 * params"), {}),
    }
    found = {
        name: digest_of(cell(source)["Bowl"](**settings), tmp_path)
        for name, (source, settings) in sources.items()
    }
    assert found.pop("again") == found["first"]
    assert len(set(found.values())) == len(found)
    assert capsys.readouterr().err == ""


def test_a_module_of_an_object_identifies_it_wherever_it_is(tmp_path, monkeypatch):
    here, found = tmp_path / "here", []
    for number, source in enumerate((BOWL, BOWL, BOWL.replace("2 * params", "2.0 * params"))):
        bowls = module(tmp_path / f"{number}", monkeypatch, source)
        found.append((digest_of(bowls.Bowl(), here), digest_of(bowls.Bowl, here)))
        assert digest_of(bowls.Bowl(3), here) != found[-1][0]
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])


def test_what_has_no_source_is_known_in_its_session_only(built, tmp_path, monkeypatch, capsys):
    names = {"__name__": "__main__"}
    exec(BOWL, names)
    bowl = names["Bowl"]()
    first = name_of(bowl, tmp_path)
    assert "the source of Bowl, which identifies its runs, is unknown" in capsys.readouterr().err
    assert built(problem=bowl).problems[0].name == first
    assert "Its runs cannot be reused in another session" in capsys.readouterr().err
    monkeypatch.setattr("optimlab.notebook.SESSION", "another")
    assert name_of(bowl, tmp_path) != first


def test_train_takes_a_problem_without_a_description():
    bowl = cell(BOWL)["Bowl"](3)
    found = optimlab.train(bowl, optimlab.SGD(learning_rate=0.1), [0, 1], [5])
    assert (found.metrics["train_loss"][-1] < found.metrics["train_loss"][0]).all()


def test_all_parts_may_be_objects(built):
    names = {}
    for source in blocks("python"):
        names |= cell(source)
    optimizers = {
        "A": {"rule": names["Steepest"], "schedule": {"name": names["ramp"], "power": 2}},
        "B": {"rule": names["Orthogonal"], "schedule": partial(names["ramp"], power=3)},
    }
    table = {
        "data": names["spiral"],
        "loss": names["Focused"](),
        "metrics": [names["confidence"]],
        "hidden": [{"units": 3, "activation": "tanh"}, {"layer": names["Scale"], "start": 1.5}],
    }
    found = built(
        problem=table, optimizers=optimizers, report=[names["extremes"], partial(names["extremes"])]
    )
    assert found.problems[0].label == "spiral"
    assert found.problems[0].problem.run_bytes > 0
    assert [each.rule for each in found.optimizers] == [
        "from_notebook/Steepest.py:Steepest",
        "from_notebook/Orthogonal.py:Orthogonal",
    ]
    assert found.optimizers[1].curves["learning_rate"][-1] == pytest.approx(0.5, abs=0.01)
    assert found.report[0] == "from_notebook/extremes.py:extremes"
    assert len(set(identities(found))) == 4


def test_objects_of_the_package_are_the_tables_of_a_file(built):
    one = built(problem=Landscape(function="rosenbrock"))
    assert identities(one) == identities(built(problem={"name": "landscape", "function": "rosenbrock"}))
    frame = pd.DataFrame({"x": range(40), "y": range(40)})
    table = {"data": frame, "target": "y", "hidden": []}
    two = [built(problem={**table, "loss": loss}) for loss in (Huber(delta=2.0), "squared_error")]
    assert "delta = 2.0" in two[0].toml
    assert identities(two[0]) != identities(two[1])


@pytest.mark.slow
def test_data_may_be_a_data_set(built):
    features = np.random.default_rng(0).normal(size=(60, 2))
    data = Dataset("classification", features, np.arange(60) % 2, class_names=("a", "b"))
    found = built(problem={"data": data, "hidden": []}).problems[0].problem
    assert found.dataset.class_names == ("a", "b")
    assert np.array_equal(found.dataset.features, features)


def test_a_class_of_a_script_is_not_loaded_by_running_the_script(tmp_path, monkeypatch):
    """Its workers would run the sweep again, without end."""
    source = "class Mine(SGD):\n    momentum: float = 0.5\n"  # no method tells where it is
    script = tmp_path / "script.py"
    script.write_text(f"from optimlab import SGD\n\n{source}\nraise SystemExit")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    names = {"__name__": "__main__", "SGD": optimlab.SGD}
    exec(compile(source, str(script), "exec"), names)
    monkeypatch.setattr(sys.modules["__main__"], "SGD", optimlab.SGD, raising=False)
    name = name_of(names["Mine"], tmp_path)
    assert name == "from_notebook/Mine.py:Mine"
    assert load_rule(name, tmp_path).momentum == 0.5


WRONG = {
    "problem.name: int is not a problem: it lacks the method init": {"problem": int},
    "problem.name: 5 is not a problem": {"problem": 5},
    "problem.name: Adam is not a problem: it lacks the method batches": {"problem": optimlab.Adam},
    "problem.data: must be a name, a DataFrame, ": {"problem": {"data": 5}},
    "problem.data: must be a name, a DataFrame, (features, target), ": {"problem": np.zeros((9, 9))},
    "the data cannot be written as Parquet: Could not convert <object": {
        "problem": pd.DataFrame({"a": [object()]})
    },
    "problems: must be a dictionary, got 5": {"problems": 5},
    "optimizers.int.rule: int is not an optimizer: it lacks the method init": {"optimizers": [int]},
    "is not the class of an optimizer; give the class": {"optimizers": [optimlab.Adam()]},
    "optimizers: must be given, as a list of rules": {"optimizers": None},
    "optimizers.a: 5 is not the class of an optimizer": {"optimizers": {"a": 5}},
    "seeds: must be a number, or two: (tuning, reporting); got (1, 2, 3)": {"seeds": (1, 2, 3)},
    "training: must be a dictionary, got 5": {"training": 5},
    "name: must be up to 60 letters": {"name": "a/b"},
    "learning_rates[2]: must be a number, text, list or table": {"learning_rates": [1, object()]},
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_reported(built, message):
    with pytest.raises(UserError) as told:
        built(**{"problem": Landscape(), **WRONG[message]})
    assert message in str(told.value)


def test_two_definitions_of_one_name_are_not_mixed_up(built):
    source = (
        "class Mine(SGD):\n    def step(self, params, gradient, state):\n        params -= {} * gradient"
    )
    first, second = (
        cell("from optimlab import SGD\n" + source.format(factor))["Mine"] for factor in (1, 2)
    )
    with pytest.raises(UserError, match="two different definitions of Mine: rename one"):
        built(problem=Landscape(), optimizers={"a": first, "b": second})


@pytest.mark.slow
def test_wrong_objects_are_told_by_their_check(built):
    names = cell(BOWL.replace("(params**2).sum(axis=1), 2", "(params**2).sum(), 2"))
    with pytest.raises(UserError, match=r"problem.name: the loss must be an array \(3,\)"):
        built(problem=names["Bowl"]())
    with pytest.raises(UserError, match="hold cannot be sent to workers"):
        built(problem=type("hold", (names["Bowl"],), {"__reduce_ex__": lambda self, n: 1 / 0})())
    for given in ({"jobs": 0}, {"results": 5}):
        with pytest.raises(UserError, match=f"{next(iter(given))}: must be"):
            optimlab.run(problem=Landscape(), **KEYS, **given)


def test_data_of_a_table_may_be_all_that_data_may_be(built):
    """A table of pandas in it was compared with the default, and has no truth."""
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3] * 9, "y": list("abba") * 9})
    arrays = frame[["a"]].to_numpy(), frame["y"].to_numpy()
    data = Dataset("classification", arrays[0], (arrays[1] == "b") * 1, class_names=("a", "b"))
    kinds = [
        built(problem=Table(data=frame, target="y", hidden=[])),
        built(problem={"data": pa.Table.from_pandas(frame), "target": "y", "hidden": []}),
        built(problem={"data": frame, "target": "y", "hidden": []}),
        built(problem=Table(data=arrays, hidden=[])),
        built(problem=Table(data=data, hidden=[])),
    ]
    assert identities(kinds[0]) == identities(kinds[1]) == identities(kinds[2])
    assert {each.problems[0].problem.size for each in kinds} == {(1 + 1) * 2}
    with pytest.raises(UserError, match=r"^problem.data: is missing: it is one of"):
        built(problem=Table())
