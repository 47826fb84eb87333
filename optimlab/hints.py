"""Hints: commands for the user, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path("results")  # the default folder
PAGE = "report.html"  # beside the folders of the experiments


def command(
    verb: str, experiment: str = "", results: Path = RESULTS, changes: Sequence[str] = ()
) -> str:
    """Return the command that works here: of the Makefile in a checkout, else of the package."""
    is_checkout = Path("Makefile").is_file() and Path("optimlab/__init__.py").is_file()
    if is_checkout and not changes:
        return make(verb, experiment, results)
    return optimlab(verb, experiment, results, changes)


def make(target: str, experiment: str = "", results: Path = RESULTS) -> str:
    """Return a command of the Makefile, which takes its values literally, ``$`` too.

    Examples
    --------
    >>> print(make("sweep", "my o'brien/x.toml"))
    make sweep EXPERIMENT='my o'"'"'brien/x.toml'
    >>> print(make("plots", results=Path("a b")))
    make plots RESULTS='a b'
    """
    words = ["make", target]
    if experiment:
        words.append(f"EXPERIMENT={shlex.quote(experiment)}")
    if results != RESULTS:
        words.append(f"RESULTS={shlex.quote(str(results))}")
    return " ".join(words)


def optimlab(
    verb: str, experiment: str = "", results: Path = RESULTS, changes: Sequence[str] = ()
) -> str:
    """Return a command of the package; `changes` are those of ``--set``.

    Examples
    --------
    >>> print(optimlab("prune", "-x y", Path("a b")))
    optimlab prune --results='a b' -- '-x y'
    """
    words = ["optimlab", verb]
    if results != RESULTS:
        words.append(f"--results={shlex.quote(str(results))}")
    words += [f"--set {shlex.quote(change)}" for change in changes]
    if experiment.startswith("-"):
        words.append("--")
    if experiment:
        words.append(shlex.quote(experiment))
    return " ".join(words)
