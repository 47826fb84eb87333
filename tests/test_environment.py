"""The environment: what is needed to repeat a sweep, and that nothing missing stops it."""

import json
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

import optimlab
from optimlab import environment as module
from optimlab.environment import LIBRARIES, environment


def test_it_tells_versions_machine_and_date():
    told = environment()
    assert list(told)[:3] == ["optimlab", "commit", "python"]
    assert told["optimlab"] == optimlab.__version__
    assert told["numpy"] == np.__version__
    assert set(LIBRARIES) <= set(told)
    assert told["cores"] >= 1
    assert all(told[name] for name in ("blas", "cpu", "system", "python"))
    assert datetime.fromisoformat(told["date"]).utcoffset().total_seconds() == 0
    assert json.loads(json.dumps(told)) == told


def test_the_kernels_of_the_blas_are_told(monkeypatch):
    """The same BLAS rounds differently on another processor."""
    monkeypatch.setattr(
        module, "threadpool_info", lambda: [{"user_api": "blas", "architecture": "SkylakeX"}]
    )
    assert environment()["blas"].endswith(", SkylakeX kernels")
    monkeypatch.setattr(module, "threadpool_info", lambda: [{"user_api": "openmp"}])
    assert "kernels" not in environment()["blas"]


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
    answers = {"rev-parse": "0123456789ab", "status": changes}
    monkeypatch.setattr(module, "_git", lambda *words: answers[words[0]])
    assert environment()["commit"] == expected
