"""`--set`: changes a key of the experiment file, with separate results."""

import json
import tomllib

import pytest
from sweeping import call, document, write

from optimlab.experiment.changes import load_changed
from optimlab.formatting import toml_document


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    write(tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_changed_experiment_has_results_of_its_own(tiny):
    plain, changed = load_changed("tiny", []), load_changed("tiny", ["training.epochs=3"])
    assert changed.problems[0].steps == 3 * plain.problems[0].steps
    assert changed.name == "tiny+training.epochs=3"
    assert changed.title == "Tiny (training.epochs = 3)"
    assert changed.file == plain.file
    assert not {run.run_id for run in plain.runs()} & {run.run_id for run in changed.runs()}
    assert tomllib.loads(changed.toml)["training"]["epochs"] == 3


CHANGES = {
    "a number": (["seeds.reporting=1"], "tiny+seeds.reporting=1"),
    "spaces": (["seeds.reporting = 1"], "tiny+seeds.reporting=1"),
    "two, in any order": (
        ["seeds.tuning=2", "seeds.reporting=1"], "tiny+seeds.reporting=1+seeds.tuning=2",
    ),
    "the later counts": (["seeds.tuning=3", "seeds.tuning=2"], "tiny+seeds.tuning=2"),
    "a text": (['problem.dtype="float32"'], "tiny+problem.dtype=float32"),
    "a new table": (["optimizers.Adam={}"], None),
    "a list": (["learning_rates=[0.1, 1.0]"], None),
    "a quoted key with =": (['optimizers."a=b"={rule = "Adam"}'], None),
    "below a new table": (["optimizers.Adam.beta1=0.8"], "tiny+optimizers.Adam.beta1=0.8"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_names_tell_what_has_changed(tiny, case):
    changes, name = CHANGES[case]
    changed = load_changed("tiny", changes)
    if name:
        assert changed.name == name
    else:
        assert changed.name.startswith("tiny+")
        assert len(changed.name) == len("tiny+") + 8
        assert changed.name != load_changed("tiny", ["learning_rates=[0.2]"]).name


WRONG = {
    "training.epochs": "--set training.epochs: must be a key and a value",
    "=3": "--set =3: must be a key and a value",
    "a b=3": "--set a b=3: must be a key and a value",
    "a=1\nb=2": "--set a=1 b=2: 1 b=2 is not a TOML value",
    "problem.data=wine": "wine is not a TOML value; texts are in quotes",
    "title=": "nothing is not a TOML value",
    "title.sub=3": "--set title.sub: title is not a table in the file",
    "training.epochs=0": "experiments/tiny.toml with --set training.epochs=0: training.epochs: ",
    'training.epochs="3"': 'with --set training.epochs="3": training.epochs: ',
    "training.epoch=3": "training.epoch: unknown key; did you mean epochs?",
    "optimizers.SGD.momentum=2": "with --set optimizers.SGD.momentum=2: optimizers.SGD.momentum: ",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_change_is_reported_as_in_a_file(tiny, change):
    done = call("check", "tiny", "--set", change)
    assert (done.exit_code, done.stdout) == (2, "")
    assert WRONG[change] in " ".join(done.stderr.split())


def test_a_table_does_not_replace_what_was_set_before_it(tiny):
    """The earlier key won, and the title named both."""
    table, key = ("--set", "training={steps=5}"), ("--set", "training.record_every=1")
    done = call("check", "tiny", *key, *table)
    said = (
        "--set training={steps=5}: give the table before training.record_every, which it would replace"
    )
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True)
    assert call("check", "tiny", *table, *key).exit_code == 0


def test_results_are_apart_and_every_command_finds_them(tiny):
    words = ["tiny", "--set", "learning_rates=[0.1]", "--set", "seeds.reporting=1"]
    assert call("sweep", "tiny", "--jobs", 1).exit_code == 0
    before = (tiny / "results/tiny/experiment.json").read_bytes()
    done = call("sweep", *words, "--jobs", 1, "--json")
    about = json.loads(done.stdout)
    assert (about["ran"], about["kept"]) == (2, 0)
    assert (tiny / "results/tiny/experiment.json").read_bytes() == before
    manifest = json.loads((tiny / about["folder"] / "experiment.json").read_text())
    command = "optimlab sweep --set learning_rates='[0.1]' --set seeds.reporting=1 tiny"
    assert manifest["command"] == command.replace("learning_rates='[0.1]'", "'learning_rates=[0.1]'")
    assert "2 runs, 2 of them finished" in call("show", *words).stdout
    assert call("verify", *words, "--jobs", 1).exit_code == 0
    assert call("prune", *words).output.startswith("Deleted 0 files")


def test_a_document_comes_back_from_its_text():
    original = tomllib.loads(
        document(problem='hidden = [{ units = 3, activation = "relu" }]\nsplit = { test = 0.2 }')
        + '[optimizers."a.b"]\nrule = "x.py:Y"\n'
        + "[optimizers.c]\nwhen = 1979-05-27T07:32:00Z\nlimit = inf\n"
    )
    assert tomllib.loads(toml_document(original)) == original
