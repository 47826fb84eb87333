"""The environment: everything needed to repeat a sweep is recorded, and missing parts stop nothing."""

import json
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

import optimlab
from optimlab.storage import environment as module
from optimlab.storage.environment import LIBRARIES, environment


@pytest.fixture(autouse=True)
def afresh():
    """What computes, versions and the commit are looked up once per process."""
    forget()
    yield
    forget()


def forget():
    for once in (module.computing, module._commit, module._version):
        once.cache_clear()


def test_it_records_versions_machine_and_date():
    told = environment()
    assert list(told)[:3] == ["optimlab", "commit", "python"]
    assert told["optimlab"] == optimlab.__version__
    assert told["numpy"] == np.__version__
    assert set(LIBRARIES) <= set(told)
    assert told["cores"] >= 1
    assert all(told[name] for name in ("blas", "cpu", "system", "python"))
    assert datetime.fromisoformat(told["date"]).utcoffset().total_seconds() == 0
    assert json.loads(json.dumps(told)) == told


def test_the_kernels_of_the_blas_are_recorded(monkeypatch):
    """The same BLAS rounds differently on another processor."""
    monkeypatch.setattr(
        module, "threadpool_info", lambda: [{"user_api": "blas", "architecture": "SkylakeX"}]
    )
    assert environment()["blas"].endswith(", SkylakeX kernels")
    monkeypatch.setattr(module, "threadpool_info", lambda: [{"user_api": "openmp"}])
    module.computing.cache_clear()
    assert "kernels" not in environment()["blas"]


def test_numba_and_its_target_processor_are_recorded(monkeypatch):
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setenv("NUMBA_CPU_NAME", "znver4")
    assert environment()["numba"] == f"{version('numba')}, compiled for znver4"
    module.computing.cache_clear()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert environment()["numba"].endswith(", not compiled")


def raises(error):
    def function(*args, **kwargs):
        raise error

    return function


@pytest.mark.parametrize(
    ("owner", "name", "error", "key", "expected"),
    [
        (subprocess, "run", FileNotFoundError("git"), "commit", "unknown"),
        (subprocess, "run", subprocess.CalledProcessError(128, "git"), "commit", "unknown"),
        (module, "version", PackageNotFoundError("numpy"), "numpy", "unknown"),
    ],
)
def test_what_cannot_be_known_is_unknown(monkeypatch, owner, name, error, key, expected):
    monkeypatch.setattr(owner, name, raises(error))
    assert environment()[key] == expected


def test_a_machine_that_does_not_name_its_processor(monkeypatch):
    read = Path.read_text

    def read_text(path, *args, **kwargs):
        if path == Path("/proc/cpuinfo"):
            raise FileNotFoundError
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert environment()["cpu"]


@pytest.mark.parametrize(
    ("changes", "expected"), [("", "0123456789ab"), (" M training.py", "0123456789ab + changes")]
)
def test_the_commit_says_whether_the_code_differs_from_it(monkeypatch, changes, expected):
    answers = {"--show-prefix": "optimlab/", "HEAD": "0123456789ab", ".": changes}
    monkeypatch.setattr(module, "_git", lambda *words: answers.get(words[-1], ""))
    assert environment()["commit"] == expected


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A stranger's repository."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "optimlab").mkdir()
    (folder / "optimlab/__init__.py").touch()
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


@pytest.mark.parametrize(
    ("place", "tracked"),
    [
        ("optimlab", False),  # `pip install --target .`
        (".venv/lib/python3/site-packages/optimlab", False),
        ("third_party/optimlab", True),
    ],
)
def test_the_commit_is_the_package_s_own_or_none(monkeypatch, foreign, place, tracked):
    package = foreign / place
    package.mkdir(parents=True, exist_ok=True)
    for file in (package / "__init__.py", package.parent / "pyproject.toml"):
        file.touch()
        if tracked:
            subprocess.run(["git", "-C", foreign, "add", file], check=True)
    monkeypatch.setattr(module, "PACKAGE", package)
    assert environment()["commit"] == "unknown"


def test_the_environment_names_no_other_repository(monkeypatch, foreign):
    mine = environment()["commit"]
    monkeypatch.setenv("GIT_DIR", str(foreign / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(foreign))
    monkeypatch.setenv("GIT_INDEX_FILE", str(foreign / "index"))
    forget()
    assert environment()["commit"] == mine


def test_a_separate_repository_is_named(monkeypatch, tmp_path):
    package = tmp_path / "optimlab"
    package.mkdir()
    for file in (package / "__init__.py", tmp_path / "pyproject.toml"):
        file.touch()
    monkeypatch.setattr(module, "PACKAGE", package)
    git = ["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "own"]):
        subprocess.run([*git, *words], check=True)
    (commit,) = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert environment()["commit"] == commit
    (package / "__init__.py").write_text("changed = 1\n")
    forget()
    assert environment()["commit"] == f"{commit} + changes"
