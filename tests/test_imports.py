"""Imports found by reading code: sources count by content, installed packages by version."""

import importlib
import json
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sweeping import OWN, document, optimlab, plugin, run, tiny, write

from optimlab.experiment import load as config
from optimlab.experiment.candidates import Axis, Candidate
from optimlab.experiment.document import Seeds
from optimlab.experiment.identity import problem_code, script_digest
from optimlab.experiment.imports import Module, follow
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.registry import load_rule, plugin_code
from optimlab.experiment.spec import Experiment, OptimizerSetting, ProblemSetting
from optimlab.problems import Digits, Landscape

FACTOR = "def factor():\n    return {}\n"


def files(folder, **sources):
    """Write modules to a folder: name, with __ for a slash and a last one for __init__, → source."""
    for name, source in sources.items():
        path = folder / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def installed(folder, name, version="1.0", requires=(), source="", **direct):
    """Install a package of one module, as pip would."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    (about / "RECORD").write_text(f"{name}.py,,\n")
    if direct:
        (about / "direct_url.json").write_text(json.dumps({"url": "file:///x", **direct}))
    return about


def code_of(folder, source, *beside):
    (folder / "own.py").write_text(source)
    return follow(Module("", folder / "own.py"), beside=beside or (folder,))


TIMES = "params += self.learning_rate * gradient * (1 - factor())"  # after one step


def moved(folder, top):
    """Return how far one step of a plug-in that imports something leads, from 0 with gradient 1."""
    (folder / "own.py").write_text(plugin(top=top, step=TIMES))
    optimizer = load_rule("own.py:Own", folder)(learning_rate=1.0)
    params = np.zeros((1, 1))
    optimizer.step(params, np.ones((1, 1)), optimizer.init(params))
    return -params.item()


WAYS = {
    "a module": "from helpers import factor",
    "under another name": "import helpers as h\nfactor = h.factor",
    "by its folder's name": "from experiments.helpers import factor",
    "by its folder's name, whole": "import experiments.helpers\nfactor = experiments.helpers.factor",
    "out of its folder": "from experiments import helpers\nfactor = helpers.factor",
    "from a package": "from below.deeper import factor",
    "from a package, whole": "import below.deeper\nfactor = below.deeper.factor",
    "from a mere folder": "from plain.module import factor",
    "by another module": "from relay import factor",
    "late": "def factor():\n    from helpers import factor\n    return factor()",
    "if it is there": "try:\n    from helpers import factor\nexcept ImportError:\n    factor = None",
    "all": "from helpers import *",
    "relatively, within a package": "from below import factor",
}


@pytest.fixture
def experiments(tmp_path):
    folder = tmp_path / "experiments"
    files(
        folder,
        helpers=FACTOR.format(7),
        relay="import helpers\ndef factor():\n    return helpers.factor()\n",
        below__init="from .deeper import factor\n",
        below__deeper="from . import deepest\ndef factor():\n    return deepest.factor()\n",
        below__deepest=FACTOR.format(7),
        plain__module=FACTOR.format(7),
    )
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_a_plugin_imports_what_is_beside_it(experiments, monkeypatch, way):
    """From any working directory, and what it imports decides its identity."""
    before = set(sys.modules), list(sys.path)
    assert moved(experiments, WAYS[way]) == 7
    first = plugin_code("own.py:Own", experiments).digest()
    for path in experiments.rglob("*.py"):
        if path.name != "own.py":
            path.write_text(path.read_text().replace("7", "8"))
    assert moved(experiments, WAYS[way]) == 8
    assert plugin_code("own.py:Own", experiments).digest() != first
    new = {name.partition(".")[0] for name in set(sys.modules) - before[0]} - sys.stdlib_module_names
    assert {name for name in new if "optimlab_plugin_" not in name} == set()
    assert sys.path == before[1]


def test_two_plugins_have_their_own_modules_of_one_name(tmp_path):
    source = plugin(top=WAYS["late"], step=TIMES)
    for number in (2, 3):
        files(tmp_path / str(number), helpers=FACTOR.format(number), own=source)
    rules = {number: load_rule("own.py:Own", tmp_path / str(number)) for number in (2, 3)}
    for number, rule in rules.items():
        params = np.zeros((1, 1))
        rule(learning_rate=1.0).step(params, np.ones((1, 1)), {"steps": 0})
        assert params.item() == -number


@pytest.mark.parametrize("is_package", [True, False])
def test_a_folder_beside_a_plugin_hides_no_package(tmp_path, monkeypatch, is_package):
    """Such as wandb/, where that writes its results."""
    site, folder = tmp_path / "site-packages", tmp_path / "here"
    installed(site, "fake_wandb", source=FACTOR.format(7))
    monkeypatch.syspath_prepend(site)
    files(folder, fake_wandb__run=FACTOR.format(9), **({"fake_wandb__init": ""} if is_package else {}))
    assert moved(folder, "from fake_wandb import factor") == 7
    assert plugin_code("own.py:Own", folder).packages["fake_wandb"] == "1.0"
    sys.modules.pop("fake_wandb", None)


@pytest.mark.parametrize("name", ["seaborn", "wandb", "numpy", "optimlab"])
def test_folders_of_any_name_break_nothing(tmp_path, name):
    files(tmp_path, **{f"{name}__init": "1 / 0"})
    top = "try:\n    import wandb\nexcept ImportError:\n    pass"
    experiment = tiny(tmp_path, document(optimizers=OWN), own=plugin(top=top if name != "wandb" else ""))
    assert experiment.packages["numpy"] == np.__version__


def test_the_standard_library_is_itself_whatever_is_beside(tmp_path):
    files(tmp_path, random="1 / 0", math="1 / 0")
    assert moved(tmp_path, "import math, random\ndef factor():\n    return math.floor(2.5)") == 2


def test_a_file_with_the_name_of_an_imported_package_is_refused(tmp_path):
    files(tmp_path, pandas="")
    with pytest.raises(
        ExperimentError, match=r"pandas\.py has the name of the installed package pandas"
    ):
        tiny(tmp_path, document(optimizers=OWN), own=plugin(top="import pandas"))
    assert tiny(tmp_path, document(optimizers=OWN), own=plugin()).optimizers
    named = OWN.replace("own.py", "numpy.py")
    assert tiny(tmp_path, document(optimizers=named), numpy=plugin()).optimizers  # it means another


def test_a_module_that_is_not_there_is_a_mistake_with_the_place(tmp_path):
    files(tmp_path, helpers="\ndef late():\n    import nothing_of_this_name\n")
    told = r"own\.py cannot be loaded: .* 'nothing_of_this_name' \(helpers\.py, line 3\)"
    with pytest.raises(ExperimentError, match=told):
        tiny(tmp_path, document(optimizers=OWN), own=plugin(top="import helpers"))


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import nothing\nexcept ImportError:\n    pass",
        "try:\n    import nothing\nexcept (KeyError, ModuleNotFoundError):\n    pass",
        "try:\n    import nothing\nexcept:\n    pass",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import nothing",
        "import contextlib\nwith contextlib.suppress(KeyError, Exception):\n    from nothing import x",
    ],
)
def test_what_may_be_absent_counts_once_it_is_there(tmp_path, source):
    before = code_of(tmp_path, source)
    assert before.absent == {"nothing"}
    files(tmp_path, nothing="x = 1")
    after = code_of(tmp_path, source)
    assert (after.absent, set(after.sources)) == (set(), {"", "nothing"})
    assert before.digest() != after.digest()


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    pass\nexcept ImportError:\n    import nothing",
        "try:\n    import nothing\nexcept KeyError:\n    pass",
        "if 1:\n    import nothing",
        "import helpers.nothing",
        "from mere_folder import nothing",
        "import mere_folder",
    ],
)
def test_what_must_be_there_is_missed(tmp_path, source):
    files(tmp_path, helpers="", mere_folder__data="")
    with pytest.raises(ModuleNotFoundError):
        code_of(tmp_path, source)


def test_what_type_checkers_alone_see_is_no_import(tmp_path):
    source = "import typing\nif typing.TYPE_CHECKING:\n    import nothing\nelse:\n    import math"
    assert code_of(tmp_path, source).absent == set()


def test_installed_packages_count_by_version_with_all_that_they_require(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    old = installed(site, "fake_optax", requires=["fake-jax>=1", 'fake-extra; extra == "all"', "gone"])
    installed(site, "fake_jax", requires=["fake_optax"])
    installed(site, "fake_extra")
    monkeypatch.syspath_prepend(site)
    source = "def late():\n    import fake_optax.sub"
    seen = [code_of(tmp_path, source)]
    assert seen[0].packages == {"fake_optax": "1.0", "fake_jax": "1.0"}
    (site / "fake_optax.py").write_text("changed = 1")  # of an installed one the version counts
    seen.append(code_of(tmp_path, source))
    about = old / "METADATA"
    about.write_text(about.read_text().replace("1.0", "1.1"))
    seen.append(code_of(tmp_path, source))
    (site / "fake_jax-1.0.dist-info" / "METADATA").write_text("Name: fake_jax\nVersion: 2.0\n")
    seen.append(code_of(tmp_path, source))
    digests = [code.digest() for code in seen]
    assert digests[0] == digests[1]
    assert len({*digests}) == 3
    assert seen[3].packages == {"fake_optax": "1.1", "fake_jax": "2.0"}


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module('PIL.Image')",
        "from importlib import import_module as load\nfrom importlib import import_module\n"
        "def late():\n    return import_module('PIL')",
        "__import__('PIL')",
    ],
)
def test_an_import_by_a_function_counts_where_it_names_the_module(tmp_path, source):
    assert "pillow" in code_of(tmp_path, source).packages


def test_a_package_is_known_by_its_module_s_name(tmp_path):
    assert code_of(tmp_path, "import sklearn.datasets, PIL").packages.keys() >= {
        "scikit-learn",
        "pillow",
    }


@pytest.mark.parametrize("way", ["loose", "editable", "egg-info"])
def test_loose_and_editable_modules_count_by_content(tmp_path, monkeypatch, way):
    place, folder = tmp_path / "src", tmp_path / "here"
    folder.mkdir()
    if way == "editable":
        installed(place, "fake_lib", dir_info={"editable": True})
    else:
        files(place, fake_lib="")
    if way == "egg-info":
        (place / "fake_lib.egg-info").mkdir()
        (place / "fake_lib.egg-info/PKG-INFO").write_text("Name: fake_lib\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(place)
    before = code_of(folder, "import fake_lib")
    assert (before.packages, set(before.sources)) == ({}, {"", "fake_lib"})
    (place / "fake_lib.py").write_text("changed = 1")
    assert code_of(folder, "import fake_lib").digest() != before.digest()


def test_a_loose_module_that_this_process_runs_must_not_change(tmp_path, monkeypatch):
    """In a notebook the old one would go on to run, under the identity of the new."""
    files(tmp_path / "src", fake_loose="")
    monkeypatch.syspath_prepend(tmp_path / "src")
    importlib.import_module("fake_loose")
    assert (
        code_of(tmp_path, "import fake_loose").digest()
        == code_of(tmp_path, "import fake_loose").digest()
    )
    files(tmp_path / "src", fake_loose="changed = 1")
    with pytest.raises(ImportError, match=r"fake_loose\.py has changed since this process imported it"):
        code_of(tmp_path, "import fake_loose")
    sys.modules.pop("fake_loose")


def test_where_it_is_does_not_count(tmp_path):
    digests = set()
    for name in ("one", "two"):
        files(tmp_path / name, helpers=FACTOR.format(1))
        digests.add(code_of(tmp_path / name, "import helpers").digest())
    assert len(digests) == 1


def test_a_problem_is_all_that_it_imports_and_no_other_problem():
    digits, landscape = problem_code(Digits()), problem_code(Landscape())
    assert {"optimlab.problems.digits", "optimlab.nn.layers", "optimlab.execution.stack"} <= set(
        digits.sources
    )
    assert "optimlab.problems.landscapes" not in digits.sources
    assert {"numpy", "scikit-learn", "scipy"} <= set(digits.packages)
    assert "optimlab.nn.layers" not in landscape.sources
    assert "scikit-learn" not in landscape.packages
    assert all("pandas" not in code.packages for code in (digits, landscape))


@pytest.mark.slow
def test_a_sweep_from_elsewhere_with_workers(experiments):
    """The command line, two workers, a module beside the file and one by the folder's name."""
    top = "from experiments.helpers import factor\nimport relay"
    file = write(experiments, document(optimizers=OWN), own=plugin(top=top, step="relay.factor()"))
    elsewhere = experiments.parent / "elsewhere"
    files(elsewhere, experiments__helpers="1 / 0", pandas__init="1 / 0")  # python -m looks there first
    done = optimlab("sweep", file, "--jobs", 2, cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 runs" in done.stdout
    about = json.loads((elsewhere / "results/tiny/experiment.json").read_text())
    assert about["environment"]["numpy"] == np.__version__
    assert about["environment"]["threadpoolctl"]


@dataclass(frozen=True)
class Bowl(Landscape):
    """A problem given from Python."""


def given(problem, folder):
    """Return an experiment that was made in Python."""
    return Experiment(
        name="given", file=folder / "given.toml", title="given",
        problems=(ProblemSetting("bowl", "bowl", problem, (2,)),), seeds=Seeds(tuning=1, reporting=1),
        optimizers=(OptimizerSetting(
            "SGD", "SGD", {"momentum": 0.0}, (Axis("learning_rate", (0.1,)),),
            (Candidate(1, 0.1, {"momentum": 0.0}),),
        ),),
    )  # fmt: skip


def test_an_experiment_made_in_python_is_checked_as_a_file_is(tmp_path):
    experiment = given(Landscape(), tmp_path)
    assert run(replace(experiment, file=Path("none.toml")), tmp_path).statuses == {"ok": 2}
    with pytest.raises(
        ValueError, match=r'^final: must be .+, got "first"; equal_within: must be at most 1, got 3$'
    ):
        replace(experiment, equal_within=3, final="first")
    with pytest.raises(ValueError, match="must give at least one seed"):
        Seeds(tuning=0, reporting=0)


def ids(experiment):
    return [run.run_id for run in experiment.runs()]


@pytest.mark.slow
def test_a_problem_from_a_module_is_identified_by_its_source(tmp_path):
    assert __file__ in {str(module.file) for module in problem_code(Bowl()).modules.values()}
    assert ids(given(Bowl(), tmp_path)) == ids(given(Bowl(), tmp_path))
    assert run(given(Bowl(), tmp_path), tmp_path / "results").statuses == {"ok": 2}


def test_a_problem_from_no_file_is_never_taken_for_done(tmp_path, monkeypatch):
    """As in a notebook, whose cells nobody can read again."""
    monkeypatch.setitem(sys.modules, "of_a_notebook", types.ModuleType("of_a_notebook"))
    monkeypatch.setattr(Bowl, "__module__", "of_a_notebook")
    experiment = given(Bowl(), tmp_path)
    assert ids(experiment) == ids(experiment)
    assert not set(ids(experiment)) & set(ids(given(Bowl(), tmp_path)))
    assert run(experiment, tmp_path / "results").statuses == {"ok": 2}


def test_a_script_s_problem_is_identified_by_the_script(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("from optimlab.problems import Landscape\nimport helpers\n")
    files(tmp_path, helpers="")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Bowl, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    before = script_digest(Bowl())
    assert before == script_digest(Bowl())
    files(tmp_path, helpers="changed = 1")
    assert script_digest(Bowl()) != before


@pytest.mark.slow
def test_an_upgrade_does_the_runs_again_and_the_results_say_the_version(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    about = installed(site, "fake_torch") / "METADATA"
    monkeypatch.syspath_prepend(site)
    file = write(tmp_path / "here", document(optimizers=OWN), own=plugin(top="import fake_torch"))
    for version in ("1.0", "2.0"):
        about.write_text(about.read_text().replace("1.0", version))
        outcome = run(config.load(file), tmp_path / "results")
        assert (outcome.ran, outcome.kept) == (6, 0)
        told = json.loads((tmp_path / "results/tiny/experiment.json").read_text())
        assert told["environment"]["fake_torch"] == version
    sys.modules.pop("fake_torch", None)
