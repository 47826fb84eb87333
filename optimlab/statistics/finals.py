"""Final values of a run: the mean of its last records, its last record, or its best one.

One record is as noisy as one seed, so by default the last five are averaged.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from optimlab.experiment.document import FINAL, LEGAL_FINAL
from optimlab.metrics import metric_of
from optimlab.statuses import WITH_LOSS

Array = np.ndarray

SHARE = 3  # at most the last third of a run is averaged


def with_finals(runs: pd.DataFrame, traces: pd.DataFrame, final: str = FINAL) -> pd.DataFrame:
    """Return the runs with their final metrics taken from the traces.

    A run without traces keeps its values, and so does a run that is neither ok nor stuck.

    Parameters
    ----------
    runs, traces : the tables of an experiment; step 0, the start, is never a final record.
    final : "last", the last record, as in the table; "mean:5", the mean of the last five records, but at
        most the last third; or "best_validation", the record with the lowest validation loss (or
        training loss), which corresponds to early stopping.

    Raises
    ------
    ValueError
        If `final` is none of these.
    """
    if not LEGAL_FINAL.fullmatch(final):
        raise ValueError(f'final must be "last", "mean:5" or "best_validation", got {final!r}')
    if final == "last":
        return runs
    known = {name for name in runs if runs[name].notna().any()}
    metrics = [name for name in map(str, traces) if f"final_{name}" in known and metric_of(name)]
    ended = runs.loc[runs["status"].isin(WITH_LOSS), "run_id"]
    is_end = (traces["step"] > 0) & traces["run_id"].isin(ended)
    records = traces.loc[is_end, ["run_id", "step", *metrics]]
    if records.empty or not metrics:
        return runs
    records = records.sort_values(["run_id", "step"], kind="stable")
    if final == "best_validation":
        kept = _lowest(records, metrics)
    else:
        kept = _last(records, int(final.removeprefix("mean:")))
    of_run = kept.groupby("run_id")[metrics]
    found = of_run.mean().where(of_run.count().eq(of_run.size(), axis=0))  # no metric is missing
    runs = runs.copy()
    for name in metrics:
        values = runs["run_id"].map(found[name])
        runs[f"final_{name}"] = values.where(values.notna(), runs[f"final_{name}"])
    return runs


def _last(records: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the last `most` records of each run, but at most a third of them and at least one."""
    from_end = records.groupby("run_id").cumcount(ascending=False)
    of_run = records.groupby("run_id")["step"].transform("size")
    return records[from_end < np.clip(of_run // SHARE, 1, most)]


def _lowest(records: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the record of each run with the lowest validation loss; of several, the first."""
    by = next(
        (
            name
            for name in ("validation_loss", "train_loss")
            if name in metrics and records[name].notna().any()
        ),
        metrics[0],
    )
    return records.sort_values(by, kind="stable").drop_duplicates("run_id")
