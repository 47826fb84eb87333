"""Time to a target: the steps until a loss or an accuracy stays past it, for one target and for many.

A run that never reaches the target is censored at its end. So is a run that diverged or failed, which
would not have reached it with more steps either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optimlab.statistics.ranking import SelectionCriteria, cross_table, encoded
from optimlab.statistics.resampling import LEVEL

Array = np.ndarray

TARGET_ACCURACY = 0.95  # the target of the ranked table and of the verdict
HOLD = 0.1  # the share of a run's steps for which it must stay past a target
TARGETS = 25  # the number of target losses
ROUNDING = 1e-6  # float32's 0.95 is below 0.95
RATIOS = tuple(float(ratio) for ratio in np.round(2 ** np.linspace(0, 4, 33), 3))


def metrics_to_time(rests_on: SelectionCriteria, traces: pd.DataFrame) -> list[str]:
    """Return the columns of `traces` to set targets for: the loss, and an accuracy if there is one."""
    splits = {"loss": rests_on.loss, "accuracy": "validation"}
    names = [f"{split}_{metric}" for metric, split in splits.items()]
    return [name for name in names if name in traces and traces[name].notna().any()]


def steps_to_target(runs: pd.DataFrame, traces: pd.DataFrame, metric: str, target: float) -> pd.Series:
    """Return the step of each run from which a metric stays past a target; infinite where it never does.

    Between two records the metric is interpolated linearly, so that neither the step nor the order of
    the optimizers depends on how often it is recorded. A metric stays past the target if it does so for
    a tenth of the run's steps, or until the run ends. A run that diverges counts up to its last record
    with a number.

    Parameters
    ----------
    runs : the runs.
    traces : the traces of these runs, and perhaps of others.
    metric : a column of `traces`; an "…accuracy" must be at least the target, any other at most.
    target : in the metric's unit.

    Returns
    -------
    run_id → step.
    """
    table = trace_matrix(runs, traces, metric)
    steps = _steps_kept(table.to_numpy(), table.columns.to_numpy(dtype=float), metric, target)
    return pd.Series(steps, table.index, name="steps")


def trace_matrix(runs: pd.DataFrame, traces: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric with one row per run and one column per recorded step; NaN after divergence."""
    ids = pd.Index(runs["run_id"])
    row = ids.get_indexer(pd.Index(traces["run_id"]))
    is_known = row >= 0
    column, steps = encoded(traces["step"][is_known])
    table = np.full((len(ids), len(steps)), np.nan)
    table[row[is_known], column] = traces[metric].to_numpy(dtype=float)[is_known]
    return pd.DataFrame(table, ids, pd.Index(steps, name="step"))


def _past(values: Array, metric: str, target: float) -> Array:
    if metric.endswith("accuracy"):
        return values >= target - ROUNDING
    return values <= target * (1 + np.sign(target) * ROUNDING)


def _steps_kept(values: Array, steps: Array, metric: str, target: float) -> Array:
    """Return the step (R,) from which each row of values (R, records) stays past the target."""
    found = np.full(len(values), np.inf)
    if not values.size:
        return found
    worst = -np.inf if metric.endswith("accuracy") else np.inf
    values = np.where(np.isnan(values), worst, values)  # the line to it leaves the target at once
    past = _past(values, metric, target)
    outside = np.zeros((len(past), 1), dtype=bool)
    changes = np.diff(np.hstack([outside, past, outside]).astype(np.int8), axis=1)
    rows, entered = np.nonzero(changes == 1)
    left = np.nonzero(changes == -1)[1]  # of the same spells, in the same order
    start = _crossing(values, steps, rows, entered, target)
    end = np.full(len(rows), np.inf)
    ends_early = left < len(steps)
    end[ends_early] = _crossing(values, steps, rows[ends_early], left[ends_early], target)
    stays = end - start >= HOLD * steps[-1] * (1 - ROUNDING)
    np.minimum.at(found, rows[stays], start[stays])
    return found


def _crossing(values: Array, steps: Array, rows: Array, records: Array, target: float) -> Array:
    """Return the step at which rows cross the target on the way to a record from the one before."""
    before = np.maximum(records - 1, 0)
    here, there = values[rows, before], values[rows, records]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (target - here) / (there - here)
    part = np.where(np.isfinite(part) & (records > 0), np.clip(part, 0, 1), 1)
    return steps[before] + part * (steps[records] - steps[before])


def median_time(steps: Array, end: float = np.nan) -> tuple[float, float, float]:
    """Return the Kaplan–Meier median time and its 95 % interval; infinite where it is not reached.

    All runs have the same number of steps and are censored only at their end, so the survival after k of
    N times is 1 − k/N. Where it is a half between two times, the median is midway, as in R's survfit.

    Parameters
    ----------
    steps : of each seed (N,), infinite where the run never reached the target.
    end : the steps of a run. If exactly half of the runs reach the target, the median is midway between
        the last of them and this end.

    References
    ----------
    Kaplan & Meier (1958), Nonparametric estimation from incomplete observations. Brookmeyer & Crowley
    (1982), A confidence interval for the median survival time: the times whose survival is not
    significantly other than a half, with the log–log interval of the survival.
    """
    from scipy.special import ndtri

    steps = np.sort(np.asarray(steps, dtype=float))
    size = len(steps)
    if not size:
        return np.nan, np.nan, np.nan
    times, counts = np.unique(steps[np.isfinite(steps)], return_counts=True)
    if not len(times):
        return np.inf, np.nan, np.nan
    survival = 1 - counts.cumsum() / size
    median = _half(times, survival, end)
    if size < 2:
        return median, np.nan, np.nan
    with np.errstate(divide="ignore", invalid="ignore"):  # at a survival of 0 its interval is 0
        spread = np.sqrt((1 - survival) / (survival * size)) / np.abs(np.log(survival))
        reach = np.exp(ndtri(1 - LEVEL / 2) * spread)
        low, high = np.nan_to_num(survival**reach), np.nan_to_num(survival ** (1 / reach))
    return median, _half(times, low, end), _half(times, high, end)


def _half(times: Array, survival: Array, end: float) -> float:
    """Return the time at which survival falls below a half, or midway where it is a half for a while."""
    below = np.flatnonzero(survival < 0.5 - 1e-12)
    later = times[below[0]] if len(below) else np.inf
    flat = np.flatnonzero(np.abs(survival - 0.5) <= 1e-12)
    if not len(flat):
        return float(later)
    earlier = float(times[flat[0]])
    later = later if np.isfinite(later) else end
    return earlier if np.isnan(later) else (earlier + float(later)) / 2


def expected_running_time(steps: Array, end: float) -> float:
    """Return the steps of all runs divided by the number that reach the target; infinite if none does.

    It is the cost of one success if runs are restarted until one reaches the target.

    Parameters
    ----------
    steps : of each seed (N,), infinite where the run never reached the target.
    end : the steps of a run.

    References
    ----------
    Hansen et al. (2021), COCO: a platform for comparing continuous optimizers, section 4.
    """
    steps = np.asarray(steps, dtype=float)
    reached = np.isfinite(steps)
    return float(np.where(reached, steps, end).sum() / reached.sum()) if reached.any() else np.inf


def loss_targets(start: float, reached: Sequence[float]) -> Array:
    """Return targets between a loss near the start and the best that most runs of an optimizer reach.

    Parameters
    ----------
    start : a loss that all optimizers reach early.
    reached : the median final loss of each optimizer.

    Returns
    -------
    Losses rounded to two digits, descending, evenly spaced in logarithm where all are positive.
    """
    finite = [loss for loss in reached if np.isfinite(loss)]
    if not finite or not np.isfinite(start) or min(finite) >= start:
        return np.empty(0)
    best = min(finite)
    evenly = np.geomspace if best > 0 else np.linspace
    spaced = evenly(start, best, TARGETS + 2)[1:-1]
    return np.array(list(dict.fromkeys(_short(float(target), start, best) for target in spaced)))


def _short(target: float, start: float, best: float) -> float:
    """Return a target rounded to two digits, or to more where two would change it too much."""
    for digits in range(2, 17):
        short = float(f"{target:.{digits}g}")
        if best <= short < start and abs(short - target) * TARGETS <= abs(start - best):
            return short
    return target


def accuracy_targets(start: float, reached: float) -> Array:
    """Return round accuracies above that of the start, up to the best of any run, ascending."""
    grid = np.round(np.concatenate([np.arange(0.2, 0.9, 0.05), np.arange(0.9, 0.9901, 0.01)]), 2)
    return grid[(grid > start) & (grid <= reached + ROUNDING)]


def targets_of(runs: pd.DataFrame, traces: pd.DataFrame, metric: str) -> Array:
    """Return the targets to try for a metric, from easy to hard."""
    table = trace_matrix(runs, traces, metric)
    if table.empty:
        return np.empty(0)
    if metric.endswith("accuracy"):
        return accuracy_targets(table.iloc[:, 0].median(), float(np.nanmax(table.to_numpy(), initial=0)))
    optimizers = runs.set_index("run_id")["optimizer"].reindex(table.index).to_numpy()
    medians = table.fillna(np.inf).groupby(optimizers).median()
    first = medians.iloc[:, 1] if medians.shape[1] > 2 else medians.iloc[:, 0]  # after the first record
    return loss_targets(first[np.isfinite(first)].max(), list(medians.iloc[:, -1]))


def times_to_targets(
    runs: pd.DataFrame, traces: pd.DataFrame, metric: str, targets: Iterable[float]
) -> pd.DataFrame:
    """Return the steps of every run to every target.

    Returns
    -------
    One row per target and run: metric, target, optimizer, seed, run_id, steps (infinite: never).
    """
    table = trace_matrix(runs, traces, metric)
    steps = table.columns.to_numpy(dtype=float)
    values, targets = table.to_numpy(), np.asarray(list(targets), dtype=float)
    found = [_steps_kept(values, steps, metric, float(target)) for target in targets]
    keys = runs[["optimizer", "seed", "run_id"]]
    return keys.iloc[np.tile(np.arange(len(keys)), len(targets))].assign(
        metric=metric,
        target=np.repeat(targets, len(keys)),
        steps=np.concatenate(found) if found else np.empty(0),
    )


def summarize_times(times: pd.DataFrame, steps_per_epoch: float, end: float = np.nan) -> pd.DataFrame:
    """Return, for each target and optimizer, how many seeds reach it, and how soon.

    Parameters
    ----------
    times : of `times_to_targets`.
    steps_per_epoch : to convert steps into epochs.
    end : the steps of a run.

    Returns
    -------
    One row per target and optimizer, as results/README.md describes. Ranks are by the median time, then
    by the share of seeds that reach the target.
    """
    of_target: dict[tuple[Any, Any], dict[Any, tuple[Any, ...]]] = {}
    keys = ["metric", "target", "optimizer"]
    for (metric, target, optimizer), group in times.groupby(keys, sort=False)["steps"]:
        steps = group.to_numpy()
        of_target.setdefault((metric, target), {})[optimizer] = (
            *median_time(steps, end),
            expected_running_time(steps, end),
            int(np.isfinite(steps).sum()),
            len(steps),
        )
    rows = []
    for (metric, target), found in of_target.items():
        order = {  # medians that differ by rounding alone are equal
            name: (round(median, 9), -reached / seeds)
            for name, (median, *_, reached, seeds) in found.items()
        }
        for optimizer, (median, low, high, expected, reached, seeds) in found.items():
            rank = 1 + sum(other < order[optimizer] for other in order.values())
            steps = np.array([median, low, high, expected])
            epochs = steps / steps_per_epoch
            rows.append(
                (metric, target, optimizer, rank, seeds, reached, reached / seeds, *steps, *epochs)
            )
    columns = ["metric", "target", "optimizer", "rank", "seeds", "reached", "share_reached"]
    columns += [
        f"{unit}_{what}"
        for unit in ("steps", "epochs")
        for what in ("median", "low", "high", "expected")
    ]
    return pd.DataFrame(rows, columns=columns)


def profile(times: pd.DataFrame) -> pd.DataFrame:
    """Return the share of (target, seed) pairs that each optimizer solves within τ times the best.

    The best is the fastest optimizer on that target and seed. Pairs that are solved at the start, or by
    no optimizer, are left out.

    Returns
    -------
    One row per metric, optimizer and τ: metric, optimizer, ratio, share.

    References
    ----------
    Dolan & Moré (2002), Benchmarking optimization software with performance profiles.
    """
    pieces = []
    for metric, group in times.groupby("metric", sort=False):
        case = group.groupby(["target", "seed"], sort=False).ngroup()
        table = cross_table(group.assign(case=case), "case", "optimizer", "steps")
        table = table[pd.unique(group["optimizer"])]
        table = table.dropna()  # seeds that some optimizer has not run yet
        best = table.min(axis=1)
        table, best = (each[np.isfinite(best) & (best > 0)] for each in (table, best))
        if table.empty:
            continue
        ratios = np.sort(table.div(best, axis=0).to_numpy(), axis=0)
        for optimizer, column in zip(table, ratios.T, strict=True):
            limits = np.array(RATIOS) * (1 + ROUNDING)
            shares = np.searchsorted(column, limits, side="right") / len(column)
            pieces.append(
                pd.DataFrame(
                    {"metric": metric, "optimizer": optimizer, "ratio": RATIOS, "share": shares}
                )
            )
    columns = ["metric", "optimizer", "ratio", "share"]
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=columns)
