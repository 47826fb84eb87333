"""The problems of an experiment, each compared according to experiment.json."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from optimlab.experiment.document import EQUAL_WITHIN, FINAL, LEGAL_FINAL
from optimlab.statistics.finals import with_finals
from optimlab.statistics.ranking import with_candidates
from optimlab.statistics.sequential import level_of_look
from optimlab.statistics.spaces import spaces_of
from optimlab.statistics.summary import Comparison, compare_optimizers


def problems_of(
    runs: pd.DataFrame, traces: pd.DataFrame
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Return problem → its runs and traces; tables of an older sweep have one problem without a name."""
    if "problem" not in runs or "problem" not in traces or runs["problem"].nunique() < 2:
        return {"": (runs, traces)}
    return {
        str(label): (group, traces[traces["problem"] == label])
        for label, group in runs.groupby("problem", sort=False)
    }


def problem_of(runs: pd.DataFrame) -> str:
    """Return the problem of runs; "" for tables of an older sweep, which do not name it."""
    return str(runs["problem"].iloc[0]) if "problem" in runs and len(runs) else ""


def comparison_of(runs: pd.DataFrame, traces: pd.DataFrame, experiment: dict[str, Any]) -> Comparison:
    """Return the comparison of the optimizers on one problem.

    Parameters
    ----------
    runs, traces : the tables of that problem from `problems_of`, with the final metrics of
        `with_finals_of`.
    experiment : the content of experiment.json.
    """
    runs = with_candidates(runs)
    return compare_optimizers(
        runs,
        traces,
        _defaults(experiment),
        spaces_of(runs, experiment),
        final="last",  # the runs have their final metrics already
        equal_within=experiment.get("equal_within", EQUAL_WITHIN),
        resolution=_resolution(experiment, runs),
        level=level_of_look(len(experiment.get("looks") or [])),
    )


def with_finals_of(runs: pd.DataFrame, traces: pd.DataFrame, experiment: dict[str, Any]) -> pd.DataFrame:
    """Return the runs with their candidates, and with final metrics as the experiment file says."""
    return with_finals(with_candidates(runs), traces, _final(experiment))


def _defaults(experiment: dict[str, Any]) -> dict[str, float]:
    """Return optimizer → its rule's default learning rate, if experiment.json has one."""
    optimizers = experiment.get("optimizers") or {}
    rates = {label: (about or {}).get("default_learning_rate") for label, about in optimizers.items()}
    return {label: float(rate) for label, rate in rates.items() if isinstance(rate, int | float)}


def _final(experiment: dict[str, Any]) -> str:
    """Return how final values are taken, by the experiment file or the default."""
    final = str(experiment.get("final") or FINAL)
    return final if LEGAL_FINAL.fullmatch(final) else FINAL


def _resolution(experiment: dict[str, Any], runs: pd.DataFrame) -> float:
    """Return the resolution of the losses: that of the parameters' type on this problem."""
    about = (experiment.get("problems") or {}).get(problem_of(runs)) or experiment
    dtype = (about.get("problem") or {}).get("dtype")
    return float(np.finfo(np.float32 if dtype == "float32" else np.float64).eps)
