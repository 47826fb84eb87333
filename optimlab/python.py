"""The interface for Python and notebooks: run an experiment, and use its result.

>>> import optimlab
>>> settings = {"learning_rates": [0.001, 0.01, 0.1], "epochs": 5}
>>> result = optimlab.compare("SGD", "Adam", problem="digits", **settings)  # doctest: +SKIP
>>> print(result.verdict)  # doctest: +SKIP
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from optimlab.arguments import Optimizers, listed, path_of, shown, tables_of
from optimlab.errors import UserError
from optimlab.execution.sweep import sweep
from optimlab.experiment.load import check, find, load
from optimlab.experiment.names import NAME_RULE, is_legal_name
from optimlab.experiment.spec import Experiment
from optimlab.files import check_writable, experiment_folder, results_at
from optimlab.progress import Progress
from optimlab.result import Result


def run(
    experiment: str | Path | Experiment | None = None,
    *,
    results: str | Path | None = None,
    jobs: int | None = None,
    progress: bool | None = None,
    **document: Any,
) -> Result:
    """Train the missing runs of an experiment, and return its result.

    Parameters
    ----------
    experiment : the name of an experiment, a TOML file, or the result of `build_experiment`; or None,
        with the arguments of `build_experiment` as further arguments.
    results : the folder of all results, whose finished runs are not repeated; None for a temporary
        folder, which is deleted with the result.
    jobs : the number of worker processes; None for one per core.
    progress : whether to show progress on stderr; None for a terminal or a notebook only.

    Raises
    ------
    UserError
        When the experiment has mistakes; the message lists them all.

    Examples
    --------
    >>> result = run("smoke")  # doctest: +SKIP
    >>> result.summary  # doctest: +SKIP
    """
    if (experiment is None) != bool(document):
        raise UserError("give either an experiment, or its problem and optimizers")
    is_count = isinstance(jobs, int | np.integer) and not isinstance(jobs, bool) and jobs >= 1
    if jobs is not None and not is_count:
        raise UserError(f"jobs: must be a whole number, 1 or more, got {shown(jobs)}")
    if progress is not None and not isinstance(progress, bool | np.bool_):
        raise UserError(f"progress: must be True, False or None, got {shown(progress)}")
    kept: Path | None = None
    if results is not None:
        try:
            path_of("results", results)
            kept = results_at(results)
        except ValueError as error:
            raise UserError(f"results: {error}") from None
    if experiment is None:
        checked = build_experiment(**document)
    elif isinstance(experiment, Experiment):
        checked = experiment
    else:
        checked = load(find(str(path_of("experiment", experiment))))
    folder = kept or Path(tempfile.mkdtemp(prefix="optimlab-"))
    check_writable(experiment_folder(folder / checked.name))
    result = Result(folder / checked.name)
    if results is None:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    is_seen = console.is_terminal or console.is_jupyter if progress is None else progress
    console.quiet = not is_seen
    sweep(checked, folder, jobs, Progress(console))
    return result


def compare(*optimizers: str | type | Optimizers, **document: Any) -> Result:
    """Compare optimizers on a problem: `run` with the optimizers as positional arguments.

    Parameters
    ----------
    optimizers : names of rules, texts ``"file.py:ClassName"``, or classes; or all of them as one list,
        or as one dictionary: label → settings.
    document : further arguments of `run` and `build_experiment`.
    """
    if "optimizers" in document:
        raise UserError("optimizers: they are the positional arguments of compare")
    optimizers = tuple(map(listed, optimizers))
    is_one = len(optimizers) == 1 and isinstance(optimizers[0], Mapping | list | tuple)
    return run(optimizers=optimizers[0] if is_one else optimizers, **document)


def build_experiment(
    *,
    optimizers: Optimizers | None = None,
    problem: Any = None,
    problems: Mapping[str, Any] | None = None,
    seeds: int | tuple[int, int] | Mapping[str, int] | None = None,
    name: str = "experiment",
    folder: str | Path = ".",
    **keys: Any,
) -> Experiment:
    """Return a checked experiment from the keys of a TOML file.

    Parameters
    ----------
    optimizers : label → settings, with the hyper-parameters; or a list of rules, which are also their
        labels. A rule may be a class.
    problem, problems : the name of a problem or a data set, "file.py:Name", or a data file; or
        settings; or an object with the methods of a problem; or label → one of these. Data may be a
        DataFrame, in settings that name its target, (features, target), or a `Dataset`.
    seeds : (tuning, reporting); the number of reporting seeds; or a table as in the file.
    name : the name of the experiment and its folder of results.
    folder : the folder of ``"file.py:Name"``.
    keys : other keys: title, learning_rates, final, …; and those of [training]: epochs, steps,
        record_every and record_params.

    Raises
    ------
    UserError
        When the experiment has mistakes; the message lists them all.

    Notes
    -----
    Wherever the file takes ``"file.py:Name"``, a class, function or object may be given. Code that is
    not in a file in `folder` is written to ``from_notebook/`` there, with the code that it uses; its
    source identifies the runs. Data are written there, too.
    """
    if not isinstance(name, str) or not is_legal_name(name):
        raise UserError(f"name: must be {NAME_RULE}; got {name!r}")
    folder = path_of("folder", folder)
    document = {"optimizers": optimizers, "problem": problem, "problems": problems, "seeds": seeds}
    tables, text = tables_of(folder, **document, **{"title": name, **keys})
    return check(tables, text, folder / f"{name}.toml", source="")
