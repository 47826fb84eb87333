"""Plug-ins: a user's own class is an optimizer like the five."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweeping import EXPERIMENTS, OWN, document, plugin, rows_of, run, tiny

from optimlab.experiment.registry import hyperparameters, load_rule, plugin_code
from optimlab.optimizers import RULES, SGD
from optimlab.problems import Digits
from optimlab.statistics import compare_optimizers
from optimlab.storage.results import read_tables
from optimlab.training import train

FUTURE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar, Literal

@dataclass(frozen=True, kw_only=True)
class Own:
    learning_rate: float = 0.1
    power: int = 2
    kind: Literal["a", "b"] = "a"
    count: ClassVar[int] = 7

    def init(self, params):
        return {}

    def gradient_point(self, params, state):
        return params

    def step(self, params, gradient, state):
        params -= self.learning_rate * gradient
"""
INHERITED = """
from optimlab import SGD

class Own(SGD):
    pass
"""
PASSED_ON = f"""{INHERITED}
class Middle(Own):
    pass

class Own(Middle):
    def __init__(self, power=2.0, momentum=0.5, **others):
        super().__init__(momentum=momentum, **others)
        self.power = power
"""


def write(folder, source, name="own"):
    (folder / f"{name}.py").write_text(source)
    return folder


@pytest.mark.parametrize("name", RULES)
def test_the_five_need_no_file(tmp_path, name):
    assert load_rule(name, tmp_path / "nowhere") is RULES[name]
    assert plugin_code(name, tmp_path).sources == {}


def test_sign_descent_takes_steps_of_one_size():
    rule = load_rule("sign_descent.py:SignDescent", EXPERIMENTS)
    rates = np.array([[0.5], [2.0]], np.float32)
    optimizer = rule(learning_rate=rates)
    params = np.zeros((2, 3), np.float32)
    gradient = np.array([[-7, 0, 1e-9], [3, 4, -1e9]], np.float32)
    state = optimizer.init(params)
    assert optimizer.gradient_point(params, state) is params
    optimizer.step(params, gradient, state)
    assert params.tolist() == [[0.5, 0, -0.5], [-2, -2, 2]]
    assert params.dtype == np.float32


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        (plugin(), {"learning_rate": 0.1}),
        (plugin(settings=", *, power=3.0, name='x'"), {"learning_rate": 0.1, "power": 3.0, "name": "x"}),
        (FUTURE, {"learning_rate": 0.1, "power": 2, "kind": "a"}),
        (INHERITED, {"learning_rate": 0.01, "momentum": 0.9}),
        (PASSED_ON, {"learning_rate": 0.01, "momentum": 0.5, "power": 2.0}),
    ],
    ids=[
        "plain class",
        "plain class with settings",
        "dataclass with future annotations",
        "heir of SGD",
        "passed on",
    ],
)
def test_a_class_of_any_kind(tmp_path, source, parameters):
    rule = load_rule("own.py:Own", write(tmp_path, source))
    assert hyperparameters(rule) == parameters
    assert plugin_code("own.py:Own", tmp_path).sources[""] == source.encode()
    gradient = np.ones((2, 2))
    params, expected = np.zeros((2, 2)), np.zeros((2, 2))
    for optimizer, place in ((rule(learning_rate=0.5), params), (SGD(learning_rate=0.5), expected)):
        optimizer.step(place, gradient, optimizer.init(place))
    assert params.tolist() == expected.tolist()


def test_a_file_in_a_folder_below(tmp_path):
    (tmp_path / "rules").mkdir()
    write(tmp_path / "rules", plugin())
    assert load_rule("rules/own.py:Own", tmp_path).__name__ == "Own"


def test_a_changed_file_is_another_class(tmp_path):
    first = load_rule("own.py:Own", write(tmp_path, plugin()))
    assert load_rule("own.py:Own", tmp_path) is first
    second = load_rule("own.py:Own", write(tmp_path, plugin(settings=", power=1.0")))
    assert second is not first
    assert "power" in hyperparameters(second)


def test_a_file_that_changed_a_moment_ago_is_not_run_as_it_was(tmp_path, monkeypatch):
    """Python's own bytecode cache tells files apart by length and by the second of their change."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for power in range(5):
        rule = load_rule("own.py:Own", write(tmp_path, plugin(settings=f", power={power}")))
        assert hyperparameters(rule)["power"] == power
    assert [path.name for path in tmp_path.iterdir()] == ["own.py"]


def test_a_file_that_cannot_be_run_is_forgotten(tmp_path):
    before = set(sys.modules)
    write(tmp_path, "import nothing_of_this_name")
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be loaded: ModuleNotFoundError"):
            load_rule("own.py:Own", tmp_path)
    assert set(sys.modules) == before


def test_hyperparameters_of_a_plugin_are_columns(tmp_path):
    own = OWN + "power = 3\n" + "[optimizers.Adam]\n"
    experiment = tiny(
        tmp_path, document(optimizers=own), own=plugin(settings=", power=1.0, mode='fast', limit=None")
    )
    run(experiment, tmp_path / "results")
    rows = rows_of(tmp_path / "results")
    assert list(rows[0])[-6:] == ["beta1", "beta2", "eps", "limit", "mode", "power"]
    cells = {
        row["optimizer"]: [row[name] for name in ("power", "mode", "limit", "beta1")] for row in rows
    }
    assert cells == {"Own": ["3", "fast", "", ""], "Adam": ["", "", "", "0.9"]}
    assert {row["rule"] for row in rows} == {"own.py:Own", "Adam"}


INTERNAL = [
    "setting",
    "trials",
    "step",
    "epoch",
    "loss",
    "score",
    "accuracy",
    "train_loss",
    "_merge",
    "index",
]


@pytest.mark.slow
def test_a_hyperparameter_may_have_any_name_that_is_no_column(tmp_path):
    settings = "".join(f", {name}={place}.5" for place, name in enumerate(INTERNAL))
    seeds = "tuning = 1\nreporting = 2\n"
    for name, given in (("named", settings), ("plain", "")):
        own = {"own": plugin(settings=given)}
        run(tiny(tmp_path / name, document(seeds=seeds, optimizers=OWN), **own), tmp_path / name)
    assert rows_of(tmp_path / "named")[0]["setting"] == "0.5"
    named, plain = (read_tables(tmp_path / name / "tiny") for name in ("named", "plain"))
    assert list(named.runs) == list(plain.runs)
    tables = [compare_optimizers(each.runs, each.traces).summary for each in (named, plain)]
    pd.testing.assert_frame_equal(*tables)


def test_a_plugin_computes_what_the_same_built_in_rule_does(tmp_path):
    optimizers = OWN + "[optimizers.SGD]\nmomentum = 0\n"
    experiment = tiny(tmp_path, document(optimizers=optimizers), own=plugin())
    run(experiment, tmp_path / "results")
    rows = rows_of(tmp_path / "results")
    finals = [[row[key] for key in row if key.startswith("final")] for row in rows]
    assert finals[:6] == finals[6:]
    assert len({tuple(final) for final in finals}) == 6


def test_smokes_plugin_has_every_feature(tmp_path):
    smoke = (EXPERIMENTS / "smoke.toml").read_text(encoding="utf-8")
    short = smoke.replace("epochs = 3", "steps = 2").replace("reporting = 4", "reporting = 1")
    sources = {"sign_descent": (EXPERIMENTS / "sign_descent.py").read_text(encoding="utf-8")}
    experiment = tiny(tmp_path, short, **sources)
    outcome = run(experiment, tmp_path / "results")
    again = run(experiment, tmp_path / "results")
    assert (outcome.ran, again.ran, again.kept) == (54, 0, 54)
    rows = rows_of(tmp_path / "results")
    assert [row["status"] for row in rows if row["optimizer"] == "SignDescent"].count("failed") == 0
    assert {row["learning_rate"] for row in rows if row["optimizer"] == "SignDescent"} == {
        "0.0003",
        "0.001",
        "0.003",
    }


def test_what_a_plugin_does_to_the_gradient_is_not_what_is_recorded(tmp_path):
    step = "params -= self.learning_rate * gradient"
    optimizers = OWN + '[optimizers.Other]\nrule = "other.py:Own"\n'
    sources = {"own": plugin(step=step), "other": plugin(step=f"{step}\n        gradient *= 0")}
    run(tiny(tmp_path, document(optimizers=optimizers), **sources), tmp_path / "results")
    traces = pd.read_parquet(tmp_path / "results/tiny/traces.parquet")
    own, other = (traces[traces["optimizer"] == label] for label in ("Own", "Other"))
    assert (own["gradient_norm"].dropna() > 0).all()
    assert own["gradient_norm"].tolist()[1:2] == other["gradient_norm"].tolist()[1:2]


def test_the_example_of_a_rule_that_knows_the_layers_runs_as_the_page_has_it(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    source = page.partition("```python\n")[2].partition("```")[0]
    optimizers = '[optimizers.Own]\nrule = "layer_descent.py:LayerDescent"\n'
    experiment = tiny(tmp_path, document(optimizers=optimizers), layer_descent=source)
    assert run(experiment, tmp_path / "results").statuses == {"ok": 6}
    rule = load_rule("layer_descent.py:LayerDescent", tmp_path)
    before = train(Digits(), rule(learning_rate=0.5), [0], [1], params_of=[0]).kept_params
    moved = Digits().layout.views(before[1] - before[0])
    for name, update in moved.items():
        length = np.linalg.norm(update)
        assert length == pytest.approx(0.5 if name.endswith("weight") else 0, rel=1e-4), name


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.experiment.registry.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"torch:AdamW needs PyTorch: pip install 'optimlab\[torch\]'"):
        load_rule("torch:AdamW", tmp_path)
