"""Numbers from tables: which learning rate, how good, how sure. No files and no plots.

A run that diverged or failed counts as infinitely bad instead of being dropped, so every quantile
here is an order statistic of all the runs, and may be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray

STATUSES = ("ok", "stuck", "diverged", "failed")
TARGET_ACCURACY = 0.95
LEVEL = 0.05  # of the tests; the intervals cover 1 − LEVEL
DRAWS = 10_000
QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}
CELL = ["optimizer", "learning_rate"]


@dataclass(frozen=True)
class Basis:
    """What the numbers of an experiment rest on.

    Attributes
    ----------
    loss : the split whose final loss decides, "validation", or "train" where there is no validation.
    accuracy : the split whose accuracy is reported, "test" or the next best; None without any.
    tuning, reporting : the roles of the seeds that choose learning rates and that give the numbers;
        the same where the experiment has seeds of one role only.
    """

    loss: str
    accuracy: str | None
    tuning: str
    reporting: str


def basis(runs: pd.DataFrame) -> Basis:
    """Return what can be judged by, given which columns and roles the table of runs has."""

    def filled(column: str) -> bool:
        return column in runs and bool(runs[column].notna().any())

    roles = set(runs["role"])
    return Basis(
        loss="validation" if filled("final_validation_loss") else "train",
        accuracy=next(
            (split for split in ("test", "validation", "train") if filled(f"final_{split}_accuracy")),
            None,
        ),
        tuning="tuning" if "tuning" in roles else "reporting",
        reporting="reporting" if "reporting" in roles else "tuning",
    )


def quantile(values: Any, level: float) -> float:
    """Return a quantile, by linear interpolation, of numbers that may be infinite.

    Parameters
    ----------
    values : numbers (N,); NaN where there are none.
    level : in [0, 1].

    References
    ----------
    Hyndman & Fan (1996), Sample quantiles in statistical packages, definition 7.
    """
    values = np.sort(np.asarray(values, dtype=float))
    if not len(values):
        return np.nan
    place = level * (len(values) - 1)
    below, above = values[math.floor(place)], values[math.ceil(place)]
    return float(below if below == above else below + (place % 1) * (above - below))


def final_losses(runs: pd.DataFrame) -> pd.Series:
    """Return each run's final loss, infinite where the run diverged, failed or left no number."""
    losses = runs[f"final_{basis(runs).loss}_loss"].astype(float).fillna(np.inf)
    return losses.where(runs["status"].isin(["ok", "stuck"]), np.inf)


def scores(runs: pd.DataFrame) -> pd.Series:
    """Return what orders the runs: the final loss, but no stuck run is better than an ok one."""
    losses = final_losses(runs)
    worst_ok = losses[(runs["status"] == "ok") & np.isfinite(losses)].max()
    return losses.where(runs["status"] != "stuck", np.fmax(losses, worst_ok))


def choose_learning_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the learning rate of each optimizer whose median score over the tuning seeds is least.

    A tie goes to the rate with fewer bad runs, then to the smaller one. ``edge`` says where on the
    grid the choice lies: "lowest" or "highest" (a better one may lie beyond), "only", or "" inside.

    Returns
    -------
    One row an optimizer, in the order of the table: optimizer, learning_rate, learning_rate_edge.
    """
    runs = runs.assign(score=scores(runs), bad=runs["status"] != "ok")
    tuning = runs[runs["role"] == basis(runs).tuning]
    choices = []
    for optimizer in pd.unique(runs["optimizer"]):
        cells = tuning[tuning["optimizer"] == optimizer].groupby("learning_rate")
        judged = cells.agg(score=("score", lambda column: quantile(column, 0.5)), bad=("bad", "mean"))
        judged = judged.reset_index().sort_values(["score", "bad", "learning_rate"])
        if judged.empty:  # its tuning runs are still to come
            continue
        rate, grid = judged["learning_rate"].iloc[0], sorted(judged["learning_rate"])
        edges = {grid[-1]: "highest", grid[0]: "lowest"}
        finite = np.isfinite(judged["score"].iloc[0])
        edge = "only" if len(grid) == 1 else edges.get(rate, "") if finite else ""
        choices.append((optimizer, rate, edge))
    return pd.DataFrame(choices, columns=["optimizer", "learning_rate", "learning_rate_edge"])


def reported_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that the numbers come from: fresh seeds at the chosen learning rates."""
    fresh = runs[runs["role"] == basis(runs).reporting]
    return fresh.merge(choose_learning_rates(runs)[CELL], on=CELL)


def epochs_to_accuracy(traces: pd.DataFrame, target: float = TARGET_ACCURACY) -> pd.Series:
    """Return the first recorded epoch of each run that reached a validation accuracy of `target`."""
    there = traces[traces["validation_accuracy"] >= target - 1e-6]  # float32's 0.95 is below 0.95
    return there.groupby("run_id")["epoch"].min()


def median_interval(values: Any, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of the median, by the percentile bootstrap; NaN for fewer than two values.

    References
    ----------
    Efron & Tibshirani (1993), An introduction to the bootstrap, section 13.3.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    samples = np.random.default_rng(seed).choice(values, size=(draws, len(values)))
    samples.sort(axis=1)
    below, above = samples[:, (len(values) - 1) // 2], samples[:, len(values) // 2]
    medians = (below + above) / 2
    return quantile(medians, LEVEL / 2), quantile(medians, 1 - LEVEL / 2)


def spread(values: Any, name: str) -> dict[str, float]:
    """Return median, quartiles and the median's interval, as columns that begin with `name`."""
    low, high = median_interval(values)
    return {
        f"{name}_median": quantile(values, 0.5),
        f"{name}_quartile_1": quantile(values, 0.25),
        f"{name}_quartile_3": quantile(values, 0.75),
        f"{name}_interval_low": low,
        f"{name}_interval_high": high,
    }


def signed_rank_p_value(differences: Any) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; 1 where nothing differs.

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods.
    """
    from scipy.stats import wilcoxon  # half a second to import

    differences = np.clip(differences, -1e300, 1e300)  # ranks are all that counts
    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def holm(p_values: Sequence[float]) -> Array:
    """Return the p-values adjusted for their number.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)


def paired_differences(paired: pd.DataFrame, better: str, worse: str) -> Array:
    """Return `worse` − `better` for each seed that both have; two useless runs do not differ."""
    both = paired[[better, worse]].dropna()
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(
            (both[worse] - both[better]).to_numpy(), nan=0, posinf=np.inf, neginf=-np.inf
        )


def compare_with_best(reported: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """Test each optimizer against the first, seed by seed.

    The p-values are corrected over all pairs of optimizers, not only over those with the best, since
    which one is best is known only after looking.

    Parameters
    ----------
    reported : the runs that numbers come from, with their ``score``.
    optimizers : their labels, the best first.

    Returns
    -------
    One row an optimizer but the best: optimizer, the median of its score's ``difference_to_best``,
    the Holm-corrected ``p_value_to_best``, and whether it is ``worse_than_best``.
    """
    paired = reported.pivot_table(index="seed", columns="optimizer", values="score", aggfunc="first")
    pairs = list(combinations(optimizers, 2))
    p_values = holm([signed_rank_p_value(paired_differences(paired, *pair)) for pair in pairs])
    rows = []
    for (best, other), p_value in zip(pairs, p_values, strict=True):
        if best == optimizers[0]:
            difference = quantile(paired_differences(paired, best, other), 0.5)
            rows.append((other, difference, p_value, bool(p_value < LEVEL and difference > 0)))
    return pd.DataFrame(
        rows, columns=["optimizer", "difference_to_best", "p_value_to_best", "worse_than_best"]
    )


def fewest_seeds(optimizers: int) -> int:
    """Return how many paired seeds it takes for a test among so many optimizers to reject at all."""
    pairs = optimizers * (optimizers - 1) // 2
    return int(np.floor(np.log2(2 * max(pairs, 1) / LEVEL))) + 1


def summarize(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return one row an optimizer, the best first: the columns that results/README.md describes.

    Learning rates are chosen on tuning seeds; everything but ``grid_*`` is of the fresh seeds at the
    chosen rate. Ranks go by the median score.
    """
    rests_on = basis(runs)
    scored = runs.assign(loss=final_losses(runs), score=scores(runs))
    reported = reported_runs(scored)
    reached = epochs_to_accuracy(traces)
    timed = bool(traces["validation_accuracy"].notna().any())
    rows = []
    for choice in choose_learning_rates(runs).to_dict("records"):
        mine = reported[reported["optimizer"] == choice["optimizer"]]
        grid = runs[runs["optimizer"] == choice["optimizer"]]
        row: dict[Any, Any] = {
            **choice,
            "rule": grid["rule"].iloc[0],
            "seeds": len(mine),
            "reported_on": rests_on.reporting,
        }
        row |= {"loss": rests_on.loss, **spread(mine["loss"], "final_loss")}
        row |= {"accuracy": rests_on.accuracy, **spread(_accuracies(mine, rests_on), "final_accuracy")}
        epochs = mine["run_id"].map(reached).fillna(np.inf).astype(float) if timed else mine["loss"][:0]
        row["epochs_to_95_median"] = quantile(epochs, 0.5)
        row["seeds_never_at_95"] = np.isinf(epochs).sum() if timed else None
        row |= {f"runs_{status}": (mine["status"] == status).sum() for status in STATUSES}
        row |= {f"grid_{status}": (grid["status"] == status).sum() for status in STATUSES}
        rows.append({**row, "score": quantile(mine["score"], 0.5)})
    summary = pd.DataFrame(rows).astype({"seeds_never_at_95": "Int64"})
    summary.insert(0, "rank", summary["score"].rank(method="min").astype("Int64"))
    summary = summary.sort_values(["rank"], kind="stable", ignore_index=True)
    compared = list(summary["optimizer"][np.isfinite(summary["score"])])
    compared += list(summary["optimizer"][np.isinf(summary["score"])]) if compared else []
    summary = summary.merge(compare_with_best(reported, compared), on="optimizer", how="left")
    return summary.drop(columns="score").astype({"worse_than_best": "boolean"})


def _accuracies(runs: pd.DataFrame, rests_on: Basis) -> pd.Series:
    """Return the final accuracies; 0 for a run that diverged or failed: it names no image rightly."""
    if rests_on.accuracy is None:
        return runs["loss"][:0]
    return runs[f"final_{rests_on.accuracy}_accuracy"].where(np.isfinite(runs["loss"]), 0)


def typical_run_learnt(summary: pd.DataFrame) -> pd.Series:
    """Return for each optimizer whether its median is finite and half of its reported runs are ok."""
    return np.isfinite(summary["final_loss_median"]) & (2 * summary["runs_ok"] >= summary["seeds"])


def verdict(summary: pd.DataFrame) -> str:
    """Return what the evidence of `summarize` says, and does not say, in a sentence or two."""
    finished = summary[typical_run_learnt(summary)]
    if finished.empty:
        return "No optimizer can be recommended: at no learning rate did the typical run learn."
    best = finished.iloc[0]
    rest = summary[summary["rank"].notna() & (summary["optimizer"] != best["optimizer"])]
    loss, value = f"final {best['loss']} loss", f"{best['final_loss_median']:.3g}"
    fresh = "fresh " if best["reported_on"] == "reporting" else ""
    seeds = f"{best['seeds']} {fresh}seeds"
    if rest.empty:
        return f"{best['optimizer']} reaches a median {loss} of {value} ({seeds}); it has no rival here."
    lowest = f"{best['optimizer']} ends with the lowest median {loss}, {value}"
    if best["seeds"] == 1:
        return f"{lowest}, but on one seed: that does not tell an optimizer from luck."
    needed = fewest_seeds(len(rest) + 1)
    if best["seeds"] < needed:
        return (
            f"{lowest}, but {seeds} are too few to tell {len(rest) + 1} optimizers apart: "
            f"it takes {needed}."
        )
    worse = rest["worse_than_best"].fillna(value=False).astype(bool)
    if worse.all():
        second = rest.iloc[0]
        return (
            f"{best['optimizer']} is the best here: on {seeds} its median {loss} is {value}, against "
            f"{second['final_loss_median']:.3g} for {second['optimizer']}, the next, "
            "and the paired tests find every other worse."
        )
    equals = [
        f"{row['optimizer']} ({row['final_loss_median']:.3g})" for _, row in rest[~worse].iterrows()
    ]
    others = list(rest["optimizer"][worse])
    return (
        f"{lowest}, but on {seeds} {join_words(equals)} {'are' if len(equals) > 1 else 'is'} "
        "not distinguishable from it."
        + (f" {join_words(others)} {'are' if len(others) > 1 else 'is'} worse." if others else "")
    )


def join_words(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def trace_bands(runs: pd.DataFrame, traces: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return median and quartiles of a metric over the seeds, at every recorded step.

    A run that diverged or failed counts as infinite from then on, so a band that leaves the picture
    shows how many did.

    Returns
    -------
    One row an optimizer, learning rate and step: CELL, step, epoch, low, median, high.
    """
    sizes = runs.groupby(CELL).size().rename("size")
    keys = [*CELL, "step", "epoch"]
    table = traces[traces["run_id"].isin(runs["run_id"])][[*keys, metric]].fillna({metric: np.inf})
    table = table.sort_values([*keys, metric], ignore_index=True)
    groups = table.groupby(keys, sort=True).size().rename("rows").reset_index()
    groups = groups.merge(sizes, on=CELL)
    start = groups["rows"].cumsum() - groups["rows"]
    for name, level in QUARTILES.items():
        place = level * (groups["size"] - 1)
        below, above = (
            np.where(
                at < groups["rows"],
                table[metric].to_numpy()[np.minimum(start + at, len(table) - 1)],
                np.inf,
            )
            for at in (np.floor(place).astype(int), np.ceil(place).astype(int))
        )
        with np.errstate(invalid="ignore"):
            groups[name] = np.where(below == above, below, below + (place % 1) * (above - below))
    return groups.drop(columns=["rows", "size"])


def final_bands(runs: pd.DataFrame) -> pd.DataFrame:
    """Return quartiles of the final loss and the share of each status, over the whole grid.

    Returns
    -------
    One row an optimizer and learning rate: CELL, low, median, high, and one column a status, in [0, 1].
    """
    rows = []
    for cell, losses in final_losses(runs).groupby([runs[key] for key in CELL], sort=False):
        statuses = runs.loc[losses.index, "status"]
        rows.append(
            dict(zip(CELL, cell, strict=True))
            | {name: quantile(losses, level) for name, level in QUARTILES.items()}
            | {status: float((statuses == status).mean()) for status in STATUSES}
        )
    return pd.DataFrame(rows).sort_values(CELL, ignore_index=True)
