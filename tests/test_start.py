"""`optimlab init`, and an installed package: without a checkout, in an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sweeping import call

from optimlab import hints

PROJECT = Path(__file__).parents[1]


def test_a_new_project_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = call("init", "first")
    assert begun.output.splitlines() == [
        "wrote experiments/first.toml",
        "wrote experiments/my_optimizer.py",
        "wrote README.md",
        "Next: optimlab sweep first",
    ]
    shown = call("show", "first")
    assert "270 runs, 0 of them finished" in shown.output
    assert "my_optimizer.py:Mine" in shown.output
    assert "`optimlab sweep first`" not in (tmp_path / "README.md").read_text()
    assert "optimlab sweep first" in (tmp_path / "README.md").read_text()


def test_a_project_may_be_named_by_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = call("init", "first.toml").output.splitlines()
    assert (lines[0], lines[-1]) == ("wrote experiments/first.toml", "Next: optimlab sweep first")


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    refused = call("init")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "optimlab: README.md: already exists, and is not overwritten\n",
    )
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    assert "name is up to 60 letters" in call("init", "../up").stderr


@pytest.mark.slow
def test_shipped_experiments_are_found_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = call("list")
    assert "smoke" in listed.output
    assert "Smoke test: the whole path in a few seconds" in listed.output
    (tmp_path / "experiments").mkdir()
    own = (
        (PROJECT / "experiments/digits.toml").read_text().replace("Five optimizers on the digits", "Own")
    )
    (tmp_path / "experiments/digits.toml").write_text(own)
    assert call("show").output.startswith("Own network")


def test_hints_name_the_makefile_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hints.command("plots", results=Path("r")) == "optimlab plots --results=r"
    (tmp_path / "optimlab").mkdir()
    (tmp_path / "Makefile").touch()
    assert hints.command("sweep") == "optimlab sweep"
    (tmp_path / "optimlab/__init__.py").touch()
    assert hints.command("sweep", "mine") == "make sweep EXPERIMENT=mine"


@pytest.mark.slow
def test_the_wheel_runs_an_experiment_in_an_empty_folder(tmp_path):
    """It is unpacked, not installed: its requirements are those of this environment."""
    source = tmp_path / "source"
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True
    ).stdout
    for name in names.decode().split("\0"):
        if name.startswith(("optimlab/", "experiments/", "pyproject", "README", "LICENSE")):
            place = source / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((PROJECT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*words):
        command = [sys.executable, "-m", "optimlab", *words]
        done = subprocess.run(
            command, cwd=empty, env=variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "smoke" in run("list")
    assert "ConstantCorrectionAdam" in run("show", "article")  # whose code is in a folder of its own
    assert "next: optimlab plots" in run("sweep", "smoke")
    run("plots")
    assert "make " not in (empty / "results/smoke/experiment.json").read_text().split('"toml"')[0]
    assert (empty / "results/report.html").stat().st_size > 100_000
