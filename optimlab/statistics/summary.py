"""The comparison, whole: one row an optimizer, one row a pair, and the tables behind the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimlab.statistics.intervals import (
    SEED,
    interquartile_mean,
    median,
    percentile_interval,
)
from optimlab.statistics.pairs import compare, seed_differences
from optimlab.statistics.ranking import (
    SETTINGS,
    STATUSES,
    Basis,
    accuracies,
    basis,
    choose_learning_rates,
    final_losses,
    quantile,
    reported_runs,
    scores,
)
from optimlab.statistics.targets import (
    TARGET_ACCURACY,
    median_time,
    metrics_to_time,
    profile,
    steps_to_target,
    summarize_times,
    targets_of,
    times_to_targets,
)
from optimlab.statistics.tuning import budget, robustness


@dataclass(frozen=True)
class Comparison:
    """All numbers of one experiment. The columns are described in results/README.md.

    Attributes
    ----------
    basis : what they rest on.
    summary : one row an optimizer, the best first.
    reported : one row a setting ("tuned", "default") and run that the numbers come from: the table of
        runs, with their ``loss``, ``score``, ``accuracy`` and ``epochs`` to the target.
    pairs : one row a setting and pair of optimizers.
    differences : one row a setting, pair and seed.
    targets : one row a setting, target and optimizer.
    profiles : one row a setting, metric, optimizer and ratio to the fastest.
    budget : one row an optimizer and number of trials.
    """

    basis: Basis
    summary: pd.DataFrame
    reported: pd.DataFrame
    pairs: pd.DataFrame
    differences: pd.DataFrame
    targets: pd.DataFrame
    profiles: pd.DataFrame
    budget: pd.DataFrame


def compare_optimizers(
    runs: pd.DataFrame, traces: pd.DataFrame, defaults: Mapping[str, float] | None = None
) -> Comparison:
    """Return all numbers of an experiment.

    Parameters
    ----------
    runs, traces : its tables.
    defaults : optimizer → its rule's default learning rate, where it has one.
    """
    runs = runs.assign(loss=final_losses(runs), score=scores(runs), accuracy=accuracies(runs))
    defaults = defaults or {}
    reported = {
        setting: _with_epochs(reported_runs(runs, setting, defaults), traces) for setting in SETTINGS
    }
    summary = _summarize(runs, reported, defaults)
    goals = {
        metric: targets_of(reported["tuned"], traces, metric)
        for metric in metrics_to_time(basis(runs), traces)
    }
    pairs, gaps, targets, profiles = [], [], [], []
    for setting, mine in reported.items():
        order = _by_median_score(mine, list(summary["optimizer"]))
        pairs.append(_of(setting, compare(mine, order)))
        gaps.append(_of(setting, seed_differences(mine, order)))
        times = _times(mine, traces, goals)
        targets.append(_of(setting, summarize_times(times, _steps_per_epoch(traces))))
        profiles.append(_of(setting, profile(times)))
    return Comparison(
        basis=basis(runs),
        summary=_against_best(summary, pairs[0]),
        reported=_join([_of(setting, mine) for setting, mine in reported.items()]),
        pairs=_join(pairs),
        differences=_join(gaps),
        targets=_join(targets),
        profiles=_join(profiles),
        budget=budget(runs, traces, defaults),
    )


def _of(setting: str, table: pd.DataFrame) -> pd.DataFrame:
    table.insert(0, "setting", setting)
    return table


def _by_median_score(reported: pd.DataFrame, labels: list[str]) -> list[str]:
    """Return those of the optimizers that have runs, the best first; a tie keeps their order."""
    medians = {label: quantile(group["score"], 0.5) for label, group in reported.groupby("optimizer")}
    return sorted((label for label in labels if label in medians), key=lambda label: medians[label])


def _join(tables: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _steps_per_epoch(traces: pd.DataFrame) -> float:
    last = traces[["step", "epoch"]].max()
    return float(last["step"] / last["epoch"]) if last["epoch"] else 1.0


def _with_epochs(reported: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Add the epochs to the one target accuracy: NaN where there is no validation accuracy."""
    if not traces["validation_accuracy"].notna().any() or reported.empty:
        return reported.assign(epochs=np.nan)
    steps = steps_to_target(reported, traces, "validation_accuracy", TARGET_ACCURACY)
    return reported.assign(epochs=reported["run_id"].map(steps) / _steps_per_epoch(traces))


def _times(
    reported: pd.DataFrame, traces: pd.DataFrame, goals: Mapping[str, Iterable[float]]
) -> pd.DataFrame:
    pieces = [
        times_to_targets(reported, traces, metric, targets)
        for metric, targets in goals.items()
        if len(reported)
    ]
    columns = ["optimizer", "seed", "run_id", "metric", "target", "steps"]
    return _join(pieces) if pieces else pd.DataFrame(columns=columns)


def _summarize(
    runs: pd.DataFrame, reported: dict[str, pd.DataFrame], defaults: Mapping[str, float]
) -> pd.DataFrame:
    """Return one row an optimizer, the best first; ranks go by the median score."""
    rests_on = basis(runs)
    rows = []
    for choice in choose_learning_rates(runs).to_dict("records"):
        optimizer = choice["optimizer"]
        mine, own = (
            table[table["optimizer"] == optimizer].sort_values("seed") for table in reported.values()
        )
        grid = runs[runs["optimizer"] == optimizer]
        row: dict[Any, Any] = {**choice, "rule": grid["rule"].iloc[0], "seeds": len(mine)}
        row |= {"reported_on": rests_on.reporting, "loss": rests_on.loss}
        row |= _spread(mine["loss"], "final_loss")
        row |= {"accuracy": rests_on.accuracy, **_spread(mine["accuracy"], "final_accuracy")}
        row |= _epochs(mine)
        row |= {"default_learning_rate": defaults.get(optimizer, np.nan), "default_seeds": len(own)}
        row |= _spread(own["loss"], "default_loss")
        row |= _spread(own["accuracy"], "default_accuracy")
        row |= {f"runs_{status}": (mine["status"] == status).sum() for status in STATUSES}
        row |= {f"default_{status}": (own["status"] == status).sum() for status in STATUSES}
        row |= {f"grid_{status}": (grid["status"] == status).sum() for status in STATUSES}
        rows.append({**row, "score": quantile(mine["score"], 0.5)})
    summary = pd.DataFrame(rows).astype({"seeds_never_at_95": "Int64"})
    summary = summary.merge(robustness(runs), on="optimizer", how="left")
    summary.insert(0, "rank", summary.pop("score").rank(method="min").astype("Int64"))
    return summary.sort_values("rank", kind="stable", ignore_index=True)


def _spread(values: pd.Series, name: str) -> dict[str, float]:
    """Return median, quartiles, interquartile mean and intervals, as columns named after `name`."""
    ordered = np.sort(values.to_numpy(dtype=float))
    low, high = percentile_interval(values, median, np.random.default_rng(SEED))
    mean_low, mean_high = percentile_interval(values, interquartile_mean, np.random.default_rng(SEED))
    return {
        f"{name}_median": quantile(values, 0.5),
        f"{name}_quartile_1": quantile(values, 0.25),
        f"{name}_quartile_3": quantile(values, 0.75),
        f"{name}_interval_low": low,
        f"{name}_interval_high": high,
        f"{name}_iqm": float(interquartile_mean(ordered)) if len(ordered) else np.nan,
        f"{name}_iqm_low": mean_low,
        f"{name}_iqm_high": mean_high,
    }


def _epochs(mine: pd.DataFrame) -> dict[str, Any]:
    """Return the median epochs to the target accuracy, its interval, and how many never got there."""
    epochs = mine["epochs"].to_numpy(dtype=float)
    timed = not np.isnan(epochs).any() and len(epochs) > 0
    found = median_time(epochs) if timed else 3 * (np.nan,)
    return {
        "epochs_to_95_median": found[0],
        "epochs_to_95_low": found[1],
        "epochs_to_95_high": found[2],
        "seeds_never_at_95": np.isinf(epochs).sum() if timed else None,
    }


def _against_best(summary: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Add how each optimizer differs from the best one."""
    best = summary["optimizer"].iloc[0]
    mine = pairs[(pairs["setting"] == "tuned") & (pairs["better"] == best)]
    columns = pd.DataFrame(
        {
            "optimizer": mine["worse"],
            "difference_to_best": mine["difference_median"],
            "p_value_to_best": mine["p_value_adjusted"],
            "worse_than_best": mine["different"] & (mine["favours"] == best),
        }
    )
    summary = summary.merge(columns, on="optimizer", how="left")
    return summary.astype({"worse_than_best": "boolean"})
