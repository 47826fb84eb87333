"""Experiments: their runs, and what a run's identity depends on."""

import shutil
import subprocess
import sys
from itertools import groupby

import pytest
from sweeping import EXPERIMENTS, OWN, document, load, plugin, tiny

from optimlab.errors import UserError
from optimlab.experiment import imports
from optimlab.experiment.runs import FIRST_REPORTING_SEED

BASE = {
    "top": "learning_rates = [0.1, 0.3]\n",
    "problem": "hidden = []\nbatch_size = 600\n",
    "training": "epochs = 2\n",
    "seeds": "tuning = 2\nreporting = 2\n",
    "optimizers": "[optimizers.SGD]\nmomentum = 0.5\n[optimizers.Own]\nrule = 'own.py:Own'\n",
}


def ids(experiment, label=None):
    """Return (learning rate, seed) → run_id of one optimizer, of the first if none is named."""
    label = label or experiment.optimizers[0].label
    return {(r.learning_rate, r.seed): r.run_id for r in experiment.runs() if r.optimizer == label}


def base(folder, source=None, **parts):
    return tiny(folder, document(**{**BASE, **parts}), own=source or plugin(settings=", power=1.0"))


def test_run_ids_are_unique_and_hexadecimal():
    for name in ("digits", "smoke"):
        run_ids = [run.run_id for run in load(EXPERIMENTS / f"{name}.toml").runs()]
        assert len(set(run_ids)) == len(run_ids)
        assert {len(run_id) for run_id in run_ids} == {16}
        assert set("".join(run_ids)) <= set("0123456789abcdef")


def test_runs_are_sorted_by_optimizer_learning_rate_and_seed(tmp_path):
    optimizers = "[optimizers.SGD]\nlearning_rates = [3, 0.1]\n[optimizers.Adam]\n"
    experiment = tiny(tmp_path, document(seeds="tuning = 2\nreporting = 1", optimizers=optimizers))
    seeds = [(0, "tuning"), (1, "tuning"), (1000, "reporting")]
    assert [(r.optimizer, r.learning_rate, r.seed, r.role) for r in experiment.runs()] == [
        (optimizer, rate, seed, role)
        for optimizer, rates in (("SGD", (0.1, 3.0)), ("Adam", (0.1, 0.3)))
        for rate in rates
        for seed, role in seeds
    ]
    assert experiment.count() == 12


@pytest.mark.slow
def test_run_ids_are_the_same_in_another_process(tmp_path):
    experiment = base(tmp_path)
    program = (
        "import sys; from pathlib import Path; from optimlab.experiment.load import load\n"
        "for run in load(Path(sys.argv[1])).runs(): print(run.run_id)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, experiment.file], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == [run.run_id for run in experiment.runs()]


CHANGES_NUMBERS = {
    "problem's setting": {"problem": BASE["problem"] + "bias = false"},
    "batch size": {"problem": "hidden = []\nbatch_size = 601\n"},
    "hidden layer": {"problem": 'batch_size = 600\nhidden = [{ units = 9, activation = "relu" }]'},
    "dtype": {"problem": BASE["problem"] + 'dtype = "float64"'},
    "hyper-parameter": {"optimizers": BASE["optimizers"].replace("0.5", "0.6")},
    "rule": {"optimizers": BASE["optimizers"].replace("SGD]", 'SGD]\nrule = "Nesterov"')},
    "steps": {"training": "epochs = 3"},
    "schedule": {"training": "epochs = 2\nrecord_every = 1"},
}


@pytest.mark.parametrize("change", CHANGES_NUMBERS)
def test_what_decides_the_numbers_changes_every_run_id(tmp_path, change):
    before = ids(base(tmp_path / "before"))
    after = ids(base(tmp_path / "after", **CHANGES_NUMBERS[change]))
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


CHANGES_NO_NUMBERS = {
    "title": {"top": 'description = "another"\nlearning_rates = [0.1, 0.3]\n'},
    "defaults spelled out": {"problem": BASE["problem"] + 'bias = true\nevaluate_with = "running"'},
    "steps for epochs": {"training": 'steps = 4\nrecord_every = "epoch"'},
    "more seeds": {"seeds": "tuning = 5\nreporting = 3"},
    "fewer seeds": {"seeds": "tuning = 1\nreporting = 1"},
    "more learning rates": {"top": "learning_rates = [0.01, 0.1, 0.2, 0.3, 1]\n"},
    "fewer learning rates": {"top": "learning_rates = [0.3]\n"},
    "another optimizer first": {"optimizers": "[optimizers.Adam]\n" + BASE["optimizers"]},
    "no other optimizer": {"optimizers": "[optimizers.SGD]\nmomentum = 0.5\n"},
    "a setting of another": {"optimizers": BASE["optimizers"] + "power = 3.0"},
}


@pytest.mark.parametrize("change", CHANGES_NO_NUMBERS)
def test_what_decides_no_number_keeps_every_run_id(tmp_path, change):
    before = ids(base(tmp_path / "before"), "SGD")
    after = ids(base(tmp_path / "after", **CHANGES_NO_NUMBERS[change]), "SGD")
    common = before.keys() & after.keys()
    assert len(common) >= 2
    assert {key: before[key] for key in common} == {key: after[key] for key in common}


def test_label_and_names_of_files_and_folders_are_not_in_the_run_id(tmp_path):
    text = document(optimizers="[optimizers.SGD]\nmomentum = 0.5")
    renamed = text.replace("optimizers.SGD]", 'optimizers."my own"]\nrule = "SGD"')
    one = ids(tiny(tmp_path / "one", text))
    assert one == ids(tiny(tmp_path / "two", renamed, name="other"))
    assert one == ids(tiny(tmp_path / "three", text.replace('"Tiny"', '"Another title"')))


def test_a_plugins_source_changes_its_own_run_ids_alone(tmp_path):
    before = base(tmp_path / "before", plugin())
    after = base(tmp_path / "after", plugin(step="params -= 0"))
    assert not set(ids(before, "Own").values()) & set(ids(after, "Own").values())
    assert ids(before, "SGD") == ids(after, "SGD")


def test_a_plugins_hyperparameter_changes_its_run_ids(tmp_path):
    own = "[optimizers.Own]\nrule = 'own.py:Own'\n"
    before, after = (
        base(tmp_path / "1", optimizers=own),
        base(tmp_path / "2", optimizers=own + "power = 2.0"),
    )
    default = base(tmp_path / "3", optimizers=own + "power = 1.0")
    assert not set(ids(before).values()) & set(ids(after).values())
    assert ids(before) == ids(default)


def test_run_ids_stay_while_a_plugin_is_being_edited(tmp_path):
    """A sweep that has begun must know its runs again at the end."""
    experiment = base(tmp_path)
    before = ids(experiment, "Own")
    (tmp_path / "own.py").write_text(plugin(step="params -= 1"))
    assert ids(experiment, "Own") == before
    assert ids(load(experiment.file), "Own") != before
    (tmp_path / "own.py").unlink()
    assert ids(experiment, "Own") == before


SOURCES = [
    ("optimizers/base.py", True),
    ("optimizers/classic.py", True),
    ("training.py", True),
    ("execution/stack.py", True),
    ("problems/digits.py", True),
    ("problems/seeds.py", True),
    ("nn/layers.py", True),
    ("nn/network.py", True),
    ("nn/added.py", False),
    ("report/figures/plots.py", False),
    ("statistics/pairs.py", False),
    ("storage/store.py", False),
    ("execution/sweep.py", False),
    ("cli.py", False),
    ("report/page.py", False),
    ("problems/another.py", False),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package's sources."""
    copy = tmp_path_factory.mktemp("package") / "optimlab"
    shutil.copytree(imports.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(("file", "decides"), SOURCES)
def test_the_source_of_what_computes_is_in_the_run_id(tmp_path, monkeypatch, package, file, decides):
    monkeypatch.setattr(imports, "PACKAGE", package)
    before = ids(base(tmp_path))
    path = package / file
    old = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((old or b"") + b"# changed\n")
    try:
        after = ids(base(tmp_path))
    finally:
        path.unlink() if old is None else path.write_bytes(old)
    assert before.keys() == after.keys()
    assert (not set(before.values()) & set(after.values())) == decides
    assert decides or before == after


def test_what_moves_between_two_sources_changes_the_run_id(tmp_path, monkeypatch, package):
    """A digest of all sources one after the other would not notice."""
    monkeypatch.setattr(imports, "PACKAGE", package)
    one, two = package / "nn/aa.py", package / "nn/ab.py"
    layers = package / "nn/layers.py"
    before = layers.read_bytes()
    layers.write_bytes(before + b"\nimport optimlab.nn.aa, optimlab.nn.ab\n")
    seen = set()
    for first, second in ((b"#xy", b"#z"), (b"#x", b"#yz")):
        one.write_bytes(first)
        two.write_bytes(second)
        seen.add(next(base(tmp_path).runs()).run_id)
    one.unlink()
    with pytest.raises(UserError, match=r"No module named .optimlab\.nn\.aa."):
        base(tmp_path)._code  # noqa: B018  # a source that is gone is no empty one
    two.unlink()
    layers.write_bytes(before)
    assert len(seen) == 2


def test_tuning_and_reporting_seeds_never_meet(tmp_path):
    most = base(tmp_path, seeds=f"tuning = {FIRST_REPORTING_SEED}\nreporting = 3")
    roles = {
        role: [seed for seed, _ in group] for role, group in groupby(most.seeds.roles(), lambda r: r[1])
    }
    assert roles == {"tuning": list(range(1000)), "reporting": [1000, 1001, 1002]}


@pytest.mark.parametrize("kind", ["tuning", "reporting"])
def test_one_kind_of_seed_is_enough(tmp_path, kind):
    seeds = {"tuning": 0, "reporting": 0, kind: 2}
    experiment = base(tmp_path, seeds="\n".join(f"{k} = {n}" for k, n in seeds.items()))
    assert {run.role for run in experiment.runs()} == {kind}
    assert experiment.count() == len(list(experiment.runs())) == 2 * 2 * 2


def test_a_new_version_of_numpy_changes_every_run_id(tmp_path, monkeypatch):
    before = {run.run_id for run in tiny(tmp_path).runs()}
    about = imports._about

    def newer(text):
        name, version, needs = about(text)
        return name, "99" if name == "numpy" else version, needs

    monkeypatch.setattr(imports, "_about", newer)
    assert before.isdisjoint(run.run_id for run in tiny(tmp_path).runs())


HELPER = "def sign(values):\n    return values\n"


def test_what_a_plugin_imports_is_in_the_run_id(tmp_path, monkeypatch):
    """A module beside it, what that imports in turn, and nothing that is not imported."""
    monkeypatch.syspath_prepend(tmp_path)
    names = ("first_helper", "second_helper", "stranger")
    for name in names:
        (tmp_path / f"{name}.py").write_text(HELPER)
    (tmp_path / "first_helper.py").write_text("from second_helper import sign\n")
    text = document(optimizers=OWN + "[optimizers.SGD]\n")
    source = plugin(top="import numpy\nfrom first_helper import sign")
    seen = []
    for change in (None, *names):
        if change:
            (tmp_path / f"{change}.py").write_text(
                "# changed\n" + (tmp_path / f"{change}.py").read_text()
            )
        experiment = tiny(tmp_path, text, own=source)
        seen.append([{r.run_id for r in experiment.runs() if r.optimizer == o} for o in ("Own", "SGD")])
    own, builtin = ([pair[place] for pair in seen] for place in (0, 1))
    assert [own[0] == later for later in own] == [True, False, False, False]
    assert own[1] != own[2] == own[3]
    assert builtin[0] == builtin[1] == builtin[2] == builtin[3]
    for name in names:
        sys.modules.pop(name, None)
