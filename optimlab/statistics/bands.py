"""Bands for figures: median and quartiles over the seeds, during training and at the end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import RATE
from optimlab.formatting import join_words
from optimlab.statistics.ranking import CANDIDATE, GRID_KEYS, final_losses, quantile, with_candidates
from optimlab.statuses import STATUSES

NO_LINE = "no finite median after the start"  # where runs diverge at once
QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}


def trace_bands(runs: pd.DataFrame, traces: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return median and quartiles of a metric over the seeds, at every recorded step.

    A run that has diverged or failed counts as infinite, so a band that leaves the picture
    shows how many have.

    Returns
    -------
    One row per candidate and step: optimizer, candidate, learning_rate, step, epoch, low, median, high.
    """
    runs = with_candidates(runs)
    sizes = runs.groupby(GRID_KEYS).size().rename("size")
    keys = [*GRID_KEYS, RATE, "step", "epoch"]
    numbers = traces["run_id"].map(runs.drop_duplicates("run_id").set_index("run_id")[CANDIDATE])
    table = traces.assign(**{CANDIDATE: numbers})[numbers.notna()]
    table = table[[*keys, metric]].fillna({metric: np.inf}).astype({CANDIDATE: int})
    table = table.sort_values([*keys, metric], ignore_index=True)
    groups = table.groupby(keys, sort=True).size().rename("rows").reset_index()
    groups = groups.merge(sizes, on=GRID_KEYS)
    start = groups["rows"].cumsum() - groups["rows"]
    for name, level in QUARTILES.items():
        position = level * (groups["size"] - 1)
        below, above = (
            np.where(
                at < groups["rows"],
                table[metric].to_numpy()[np.minimum(start + at, len(table) - 1)],
                np.inf,
            )
            for at in (np.floor(position).astype(int), np.ceil(position).astype(int))
        )
        with np.errstate(invalid="ignore"):
            groups[name] = np.where(below == above, below, below + (position % 1) * (above - below))
    return groups.drop(columns=["rows", "size"])


def without_line(bands: pd.DataFrame) -> str:
    """Return which optimizers have no line in a chart of traces, and why; "" if all have one.

    Parameters
    ----------
    bands : one row per optimizer and step, with the median, which is infinite once runs have diverged.
    """
    later = bands[bands["step"] > bands["step"].min()]
    has_line = np.isfinite(later["median"]).groupby(later["optimizer"], sort=False).any()
    labels = [str(label) for label in has_line.index[~has_line]]
    return f"{NO_LINE}: {join_words(labels)}" if labels else ""


def final_bands(runs: pd.DataFrame) -> pd.DataFrame:
    """Return quartiles of the final loss and the share of each status, over the whole grid.

    Returns
    -------
    One row per candidate: optimizer, candidate, learning_rate, low, median, high, and a column per
    status, in [0, 1].
    """
    rows, runs = [], with_candidates(runs)
    keys = [*GRID_KEYS, RATE]
    for cell, losses in final_losses(runs).groupby([runs[key] for key in keys], sort=False):
        statuses = runs.loc[losses.index, "status"]
        rows.append(
            dict(zip(keys, cell, strict=True))
            | {name: quantile(losses, level) for name, level in QUARTILES.items()}
            | {status: float((statuses == status).mean()) for status in STATUSES}
        )
    return pd.DataFrame(rows).sort_values(GRID_KEYS, ignore_index=True)
