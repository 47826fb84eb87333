"""The environment of a sweep: the machine and the versions, to repeat it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import optimlab

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "joblib")
NOT_PACKAGES = {  # entries of `environment` that are no package with a version, and their names in text
    "commit": "Commit",
    "python": "Python",
    "blas": "BLAS",
    "simd": "SIMD",
    "cpu": "CPU",
    "cores": "Cores",
    "system": "System",
    "date": "Date",
}


def environment(packages: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return versions, BLAS, processor, system, commit and date: name → value, for people to read.

    Parameters
    ----------
    packages : name → version of the other packages that the numbers depend on.
    """
    return {
        "optimlab": optimlab.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
        **packages,
        **computing(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_computing(by: Mapping[str, Any]) -> str:
    """Return the libraries and kernels that computed a run, as text."""
    return ", ".join(f"{name} {value}" for name, value in by.items()) or "an unknown machine"


@cache
def computing() -> dict[str, str]:
    """Return the libraries and kernels that decide the last bits of numbers: name → value."""
    vectors = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return {
        "numpy": _version("numpy"),
        "blas": _blas(),
        "simd": " ".join(vectors[-1:]),
        "numba": f"{_version('numba')}, {_compiled_for()}",
    }


def _compiled_for() -> str:
    """Return the processor that numba compiles for."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return "not compiled"
    from llvmlite.binding import get_host_cpu_name  # slow to import

    return f"compiled for {os.environ.get('NUMBA_CPU_NAME') or get_host_cpu_name()}"


@cache
def _version(library: str) -> str:
    """Return a library's version, "unknown" where it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown"


def _blas() -> str:
    """Return numpy's BLAS and the kernels it chose for this processor."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernels = {pool.get("architecture") for pool in threadpool_info() if pool["user_api"] == "blas"}
    chosen = ", ".join(sorted(filter(None, kernels)))
    return f"{blas['name']} {blas['version']}" + (f", {chosen} kernels" if chosen else "")


@cache
def cpu() -> str:
    """Return the processor's name, on Linux from /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def _commit() -> str:
    """Return the commit of the code, with "+ changes" if the work tree differs from it.

    It is asked for once per process, which goes on with the code that it has imported.

    It is that of the package's own repository; another repository, in which the package is merely
    installed or untracked, would say nothing about it.
    """
    try:
        if _git("rev-parse", "--show-prefix") != f"{PACKAGE.name}/":
            return "unknown"
        _git("ls-files", "--error-unmatch", "__init__.py", "../pyproject.toml")
        commit = _git("rev-parse", "--short=12", "HEAD")
        changes = _git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} + changes" if changes else commit


def _git(*words: str) -> str:
    """Return the output of git in this package's folder, ignoring GIT_ variables of the environment."""
    command = ["git", "--no-optional-locks", "-C", str(PACKAGE), *words]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)  # noqa: S603
    return done.stdout.strip()
