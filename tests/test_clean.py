"""`clean`, `--fresh` and the Makefile delete only files that optimlab wrote."""

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import call, document, load, run, tiny, write
from test_files import snapshot

from optimlab.commands import common
from optimlab.files import Folder
from optimlab.storage.store import Store

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """An experiment of two runs, and its results, with a page and benchmarks."""
    top = tmp_path_factory.mktemp("swept")
    experiment = tiny(top, document("learning_rates = [0.1]", seeds="tuning = 1\nreporting = 1"))
    results = top / "results"
    run(experiment, results)
    (results / "report.html").write_text('<head><meta name="generator" content="optimlab">')
    (results / "bench").mkdir()
    (results / "bench/benchmarks.md").write_text("# Benchmarks\n")
    return experiment, results


@pytest.fixture
def here(swept, tmp_path, monkeypatch):
    """A project with results, the current folder."""
    shutil.copytree(swept[1], tmp_path / "work/results")
    write(tmp_path / "work/experiments", swept[0].toml)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def foreign(here):
    """A folder of somebody's projects, each of which looks a little like results."""
    folder = here / "projects"
    for name in ("parts", "parquet", "json", "lock", "named"):
        (folder / name / "parts").mkdir(parents=True)
        (folder / name / "main.c").write_text("int main() {}")
    (folder / "parquet/parts/wheel.parquet").write_text("a wheel")
    (folder / "named/parts" / f"{'a' * 24}-{'b' * 24}.parquet").write_text("a wheel")
    (folder / "linked").mkdir()
    (folder / "linked/parts").symlink_to(here / "results/tiny/parts")
    (folder / "filed").mkdir()
    (folder / "filed/parts").write_text("brakes and wheels")
    (folder / "json/experiment.json").write_text('{"name": "json", "toml": "", "toml_sha256": ""}')
    (folder / "lock/.lock").touch()
    (folder / "report.html").write_text("<title>A thesis</title>")
    (folder / "bench").mkdir()
    (folder / "bench/steps.csv").write_text("1,2")
    (folder / "parts").rename(folder / "digits")
    return folder


def test_clean_names_what_it_deletes_and_deletes_it(here):
    (here / "results/README.md").write_text("about")
    done = call("clean", answer="y\n")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("results/tiny: 2 finished runs, 6 files, ")
    assert lines[1:3] == ["results/report.html", "results/bench"]
    assert lines[3] == "Delete all of this? [y/N] Deleted."
    assert [path.name for path in (here / "results").iterdir()] == ["README.md"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "perhaps\n"])
def test_without_a_yes_nothing_is_deleted(here, answer):
    before = snapshot(here)
    done = call("clean", answer=answer)
    assert (done.exit_code, done.output.splitlines()[-1].endswith("Nothing was deleted.")) == (0, True)
    assert snapshot(here) == before


def test_a_foreign_project_is_left_alone(here, foreign):
    before = snapshot(here)
    done = call("clean", "--yes", "--results", foreign)
    assert (done.exit_code, done.output) == (0, f"There is nothing to delete in {foreign}.\n")
    assert snapshot(here) == before
    shutil.copytree("results/tiny", foreign / "ours")
    assert call("clean", "--yes", "--results", foreign).exit_code == 0
    assert not (foreign / "ours").exists()
    for path, about in before.items():
        assert path.lstat().st_mode == about[0]


@pytest.mark.parametrize("results", ["", "/", ".", "..", "{home}", "{home}/..", "link", "results/../."])
def test_a_folder_that_holds_more_than_results_is_refused(here, monkeypatch, results):
    monkeypatch.setenv("HOME", str(here.parent / "home"))
    (here.parent / "home/tiny").mkdir(parents=True)
    shutil.copytree(here / "results/tiny", here / "tiny")
    (here / "link").symlink_to(here)
    before = snapshot(here.parent)
    done = call("clean", "--yes", "--results", results.format(home=here.parent / "home"))
    assert done.exit_code == 2
    assert "holds more than results" in done.stderr or "the path is empty" in done.stderr
    assert snapshot(here.parent) == before


@pytest.mark.parametrize("command", ["sweep", "plots", "show", "verify", "prune", "clean"])
def test_an_empty_folder_name_is_refused(here, command):
    done = call(command, "--results", "")
    assert (done.exit_code, "the path is empty" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [("sweep", "tiny", "--results"), ("plots", "--results"), ("merge", "results", "--into")],
)
def test_the_results_of_one_experiment_are_not_those_of_all(here, words):
    """A sweep wrote its results among the parts and tables of another one."""
    before = snapshot(here)
    done = call(*words, "results/tiny")
    assert done.exit_code == 2
    said = "'results/tiny' has the results of one experiment: name the folder that contains it"
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert snapshot(here) == before


def test_results_that_are_being_written_are_not_deleted(here):
    with Store(here / "results/tiny").held():
        done = call("clean", "--yes")
    assert (done.exit_code, "is writing here" in done.stderr) == (2, True)
    assert (here / "results/tiny/runs.csv").exists()


@pytest.mark.parametrize("name", ["tiny/figures", "bench/steps.csv", "report.html", "tiny", "bench"])
def test_no_link_is_cleaned(here, name):
    outside = here.parent / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text('# Benchmarks <meta name="generator" content="optimlab">')
    path = here / "results" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(outside if "." not in name else outside / "thesis.txt")
    call("clean", "--yes")
    assert path.is_symlink()
    assert (outside / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["report.html", "bench/benchmarks.md", "tiny/experiment.json"])
def test_what_has_changed_hands_while_the_user_was_asked_is_not_deleted(here, monkeypatch, name):
    path = here / "results" / name
    others = {path, path.parent / "main.c"}

    def agreed(question):
        if path.parent.name == "tiny":
            shutil.rmtree(path.parent / "parts")
        for other in others:
            other.write_text("a stranger's")
        return True

    monkeypatch.setattr(common, "agreed", agreed)
    call("clean")
    assert {other.read_text() for other in others} == {"a stranger's"}


def test_fresh_in_a_foreign_folder_deletes_and_writes_nothing(here, foreign):
    for name in ("parquet", "json", "lock", "digits"):
        write(here / "experiments", document(), name=name)
        before = snapshot(foreign)
        done = call("sweep", name, "--jobs", 1, "--fresh", "--results", foreign)
        assert (done.exit_code, "files that are not optimlab results" in done.stderr) == (2, True)
        assert snapshot(foreign) == before


def test_what_a_deletion_leaves_when_it_is_killed_is_ours(here, monkeypatch):
    delete, left = Folder.delete, 0

    def delete_some(folder, name, **options):
        nonlocal left
        if not left:
            raise InterruptedError
        left -= 1
        delete(folder, name, **options)

    monkeypatch.setattr(Folder, "delete", delete_some)
    for deletions in range(len(list(Path("results/tiny").glob("[!.]*")))):
        shutil.copytree("results/tiny", f"{deletions}/tiny")
        store, left = Store(Path(f"{deletions}/tiny")), deletions
        with pytest.raises(InterruptedError):
            store.clear()
        assert store.is_marked()


def test_fresh_lists_what_it_deletes(here):
    done = call("sweep", "tiny", "--jobs", 1, "--fresh")
    assert done.exit_code == 0
    assert "\nDeletes results/tiny: 2 finished runs, 6 files, " in f"\n{done.output}"
    assert "2 runs to do\n" in done.output
    (here / "results/tiny").rename(here / "aside")
    assert "Deletes" not in call("sweep", "tiny", "--jobs", 1, "--fresh").output


@pytest.mark.parametrize(
    ("words", "answer", "asks", "goes_on"),
    [([], "y\n", True, True), ([], "n\n", True, False), ([], "", True, False),
     (["--yes"], "", False, True)],
)  # fmt: skip
def test_fresh_asks_on_a_terminal(here, monkeypatch, words, answer, asks, goes_on):
    monkeypatch.setattr(common, "has_terminal", lambda: True)
    before = (here / "results/tiny/runs.csv").stat().st_mtime_ns
    done = call("sweep", "tiny", "--jobs", 1, "--fresh", *words, answer=answer)
    assert done.exit_code == (0 if goes_on else 1)
    assert ("Continue? [y/N] " in done.output) == asks
    assert ("2 runs to do" if goes_on else "Nothing was deleted.") in done.output
    assert ((here / "results/tiny/runs.csv").stat().st_mtime_ns != before) == goes_on


def test_a_terminal_is_one(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal, os.fdopen(ours, "wb"):
        monkeypatch.setattr(sys, "stdin", terminal)
        assert common.has_terminal()
    monkeypatch.setattr(sys, "stdin", None)
    assert not common.has_terminal()


# The Makefile.


@pytest.fixture
def project(here):
    """A project with the Makefile, and an environment that is this one."""
    shutil.copy(PROJECT / "Makefile", here)
    for name in ("pyproject.toml", "constraints.txt"):
        (here / name).touch()
    python = here / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    (here / ".venv/pyvenv.cfg").touch()
    (here / ".venv/.ready").touch()
    return here


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock, make does not wait")
def test_two_makes_at_once_set_up_one_environment_once(project):
    shutil.rmtree(project / ".venv")
    python = project / "python"
    # Both are told to set it up: each first waits, for a while, until the other has asked for a Python.
    python.write_text(
        """#!/bin/sh
        case "$*" in
            *"-c import sys"*)
                echo asked >>asked
                for _ in 1 2 3 4 5 6 7 8 9; do [ "$(wc -l <asked)" -gt 1 ] && break; sleep 1; done;;
            *"-m venv"*) echo made >>made; mkdir -p .venv/bin; cp python .venv/bin/python;;
            *list*) echo listed;;
        esac
        """
    )
    python.chmod(0o755)
    done = make(project, shell="make PYTHON=./python list & make PYTHON=./python list; wait")
    assert done.stdout.count("listed") == 2, done
    assert (project / "made").read_text() == "made\n"


def make(project, *words, shell=None, answer=""):
    """Run make, or a line of shell."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    names = ("EXPERIMENT", "JOBS", "RESULTS", "QUICK", "PYTHON")
    return subprocess.run(
        ["sh", "-c", shell] if shell else ["make", *map(str, words)],
        cwd=project,
        env={k: v for k, v in clean.items() if k not in names},
        input=answer,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def recorded(project):
    """Have the environment's Python write down its arguments, one a line."""
    python = project / ".venv/bin/python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > words\n')
    return project / "words"


ATTACKS = [
    *("x'; touch pwned; '", 'x"; touch pwned; "', "$(touch pwned)", "$(shell touch pwned)"),
    *("`touch pwned`", "1; touch pwned", "a b", "my o'brien", "a$b$$c", "--help", "*", "~", "a\\"),
    *("#a", "${HOME}", "%"),
]


@pytest.mark.parametrize("value", ATTACKS)
def test_the_makefile_hands_a_value_on_as_it_is(project, value):
    words, verify = recorded(project), ["-m", "optimlab", "verify", "--results=results"]
    for target, name, expected in [
        ("sweep", "EXPERIMENT", ["-m", "optimlab", "sweep", "--results=results", "--", value]),
        ("verify", "JOBS", [*verify, f"--jobs={value}", "--", "digits"]),
        ("plots", "RESULTS", ["-m", "optimlab", "plots", f"--results={value}"]),
        ("clean", "RESULTS", ["-m", "optimlab", "clean", "--environment=.venv", f"--results={value}"]),
    ]:  # fmt: skip
        done = make(project, target, f"{name}={value}")
        assert (done.returncode, done.stderr) == (0, "")
        assert words.read_text().splitlines() == expected
    (project / ".venv/.bench").touch()
    make(project, "bench", f"QUICK={value}")
    assert words.read_text().splitlines() == ["-m", "benchmarks", "--results=results", "--quick"]
    assert not list(project.rglob("pwned"))


def test_a_python_of_any_name_is_run_and_nothing_else(project):
    shutil.rmtree(project / ".venv")
    done = make(project, "list", "PYTHON=no python; touch pwned")
    assert done.returncode != 0
    assert not (project / "pwned").exists()


@pytest.mark.slow
def test_make_clean_refuses_an_empty_value(project):
    done = make(project, "clean", "RESULTS=", answer="y\n")
    assert done.returncode != 0
    assert "the path is empty" in done.stderr
    assert (project / ".venv").exists()


def test_make_clean_deletes_the_results_and_the_environment(project, foreign):
    before = snapshot(foreign)
    done = make(project, "clean", answer="y\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert ".venv: the virtual environment\n" in done.stdout
    assert not (project / ".venv").exists()
    assert list((project / "results").iterdir()) == []
    assert snapshot(foreign) == before


def test_a_hint_can_be_pasted(project):
    (project / "optimlab").mkdir()
    (project / "optimlab/__init__.py").touch()  # a checkout, whose hints name the Makefile
    folder = project / "my o'brien $(touch pwned) $x"
    (project / "experiments").rename(folder)
    file, words = folder / "tiny.toml", recorded(project)
    run(load(file), folder)
    done = call("sweep", file, "--results", folder, "--jobs", 1)
    plots = done.output.splitlines()[-1].partition("next: ")[2]
    again = json.loads((folder / "tiny/experiment.json").read_text())["command"]
    (folder / "tiny/experiment.json").write_text("garbled")
    garbled = call("plots", "--results", folder).stderr
    (folder / "tiny").rename(project / "aside")
    missing = call("plots", "--results", folder).stderr
    (project / "aside").rename(folder / "tiny")
    sweep, results = ["-m", "optimlab", "sweep"], f"--results={folder}"
    for hint, expected in [
        (plots, ["-m", "optimlab", "plots", results]),
        (again, [*sweep, results, "--", str(file)]),
        (garbled.partition("run `")[2].partition("`")[0], [*sweep, results, "--", "tiny"]),
        (missing.partition("run `")[2].partition("`")[0], [*sweep, results, "--", "digits"]),
    ]:
        assert make(project, shell=hint).returncode == 0
        assert words.read_text().splitlines() == expected
    file.write_text(document(training="epochs = 2"))
    shown = call("show", file, "--results", folder).output
    prune = shown[shown.index("optimlab prune") : shown.index(" deletes them")]
    assert shlex.split(prune) == ["optimlab", "prune", results, str(file)]
    assert not list(project.rglob("pwned"))
