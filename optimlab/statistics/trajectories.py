"""Trajectories: measures of the optimizers' paths, from tables.

Two claims are tested: that an optimizer zigzags less than gradient descent, and that it leaves saddle
points. The numbers of each run give medians over the seeds, and paired differences to plain gradient
descent show whether an optimizer turns less or more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from optimlab.formatting import fixed, join_words, number, p_value_text
from optimlab.statistics.intervals import SEED, median, percentile_interval
from optimlab.statistics.pairs import differences
from optimlab.statistics.ranking import quantile
from optimlab.statistics.resampling import LEVEL
from optimlab.statistics.signed_rank import holm, signed_rank_p_value

Array = np.ndarray

TARGET_SHARE = 0.01  # of the initial loss: the target
MEASURES = ("mean_cosine", "detour", "steps_to_leave", "steps_to_target")


def measure_paths(
    traces: pd.DataFrame, minima: Array | None = None, saddles: Array | None = None
) -> pd.DataFrame:
    """Return measures of each run's path, on one problem.

    ``mean_cosine`` is the cosine between successive updates, averaged with the length of the update as
    its weight, so that the many tiny steps near a minimum do not count: 1 is a straight
    line, −1 a path back and forth. ``detour`` is the length of the path over the distance from its start
    to its end. ``steps_to_leave`` counts the steps until the run stays nearer to a minimum than to
    a saddle; ``steps_to_target`` those until the training loss is 1 % of its initial value. Both are
    infinite for a run that does not get there.

    Parameters
    ----------
    traces : the traces of the runs, in the order of their steps. A detour needs the coordinates x
        and y, and a record of every step.
    minima, saddles : points (N, 2); without saddles there is no `steps_to_leave`.

    Returns
    -------
    One row per run: run_id, optimizer, seed, and `MEASURES`, NaN where a measure is not defined.
    """
    rows = []
    for run_id, path in traces.groupby("run_id", sort=False):
        row = {"run_id": run_id, "optimizer": path["optimizer"].iloc[0], "seed": path["seed"].iloc[0]}
        row |= {"mean_cosine": _mean_cosine(path), "detour": _detour(path)}
        row["steps_to_leave"] = _steps_to_leave(path, minima, saddles)
        row["steps_to_target"] = _steps_to_target(path)
        rows.append(row)
    return pd.DataFrame(rows, columns=["run_id", "optimizer", "seed", *MEASURES])


def _mean_cosine(path: pd.DataFrame) -> float:
    known = np.isfinite(path["update_cosine"]) & np.isfinite(path["update_norm"])
    weights = path["update_norm"][known]
    if not (weights > 0).any():
        return np.nan
    return float(np.average(path["update_cosine"][known], weights=weights / weights.max()))


def _detour(path: pd.DataFrame) -> float:
    if "x" not in path or path["x"].isna().all() or (path["step"].diff().iloc[1:] != 1).any():
        return np.nan
    if path["x"].isna().any():  # it diverged
        return np.inf
    ends = path[["x", "y"]].iloc[[0, -1]].to_numpy()
    distance = np.linalg.norm(ends[1] - ends[0])
    return float(path["update_norm"].iloc[1:].sum() / distance) if distance else np.nan


def _steps_to_leave(path: pd.DataFrame, minima: Array | None, saddles: Array | None) -> float:
    if minima is None or saddles is None or not len(saddles) or path["x"].isna().all():
        return np.nan
    points = path[["x", "y"]].to_numpy()
    is_out = nearest(points, minima) < nearest(points, saddles)  # False where it has diverged
    last_in = int(np.flatnonzero(~is_out).max(initial=-1))
    return np.inf if last_in == len(path) - 1 else float(path["step"].iloc[last_in + 1])


def nearest(points: Array, marks: Array) -> Array:
    """Return the distance (N,) of points (N, 2) to the nearest of some marks (M, 2)."""
    return np.linalg.norm(points[:, None] - marks, axis=2).min(axis=1)


def _steps_to_target(path: pd.DataFrame) -> float:
    there = path["step"][path["train_loss"] <= TARGET_SHARE * path["train_loss"].iloc[0]]
    return float(there.iloc[0]) if len(there) else np.inf


def gradient_descent(reported: pd.DataFrame) -> str | None:
    """Return the label of plain gradient descent; None without it.

    It is the first optimizer whose rule is SGD and whose momentum is 0 in all its reported runs.
    """
    if "momentum" not in reported:
        return None
    is_plain = (reported["rule"] == "SGD") & (reported["momentum"] == 0)
    always = is_plain.groupby(reported["optimizer"], sort=False).all()
    labels = always.index[always]
    return str(labels[0]) if len(labels) else None


def summarize_paths(measures: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Return the measures of each optimizer's paths, in the order of the table.

    Parameters
    ----------
    measures : from `measure_paths`, of the reported runs.
    reference : the optimizer to compare with, seed by seed: `gradient_descent`.

    Returns
    -------
    One row per optimizer: optimizer, seeds, ``never_left`` (runs), and for each measure its ``_median``
    with a 95 % bootstrap interval, ``_low`` and ``_high``; the median of its paired ``_difference`` to
    the reference with ``_difference_low`` and ``_difference_high``, and the ``_p_value`` of the
    signed-rank test, Holm-corrected over the optimizers. In the test, seeds whose paths are the same
    for both optimizers count once.
    """
    labels = list(pd.unique(measures["optimizer"]))
    rows: list[dict[str, Any]] = []
    for label in labels:
        group = measures[measures["optimizer"] == label]
        left = group["steps_to_leave"].dropna()
        never = int(np.isinf(left).sum()) if len(left) else None
        rows.append({"optimizer": label, "seeds": len(group), "never_left": never})
    others = [label for label in labels if reference in labels and label != reference]
    seeds = np.unique(measures["seed"])
    tables = {
        measure: measures.pivot_table(
            index="seed", columns="optimizer", values=measure, aggfunc="first"
        ).reindex(seeds, columns=labels)
        for measure in MEASURES
    }
    first = {
        label: ~pd.concat([table[[reference, label]] for table in tables.values()], axis=1).duplicated()
        for label in others
    }
    for measure, table in tables.items():
        paired = {label: differences(table[reference], table[label]) for label in others}
        p_values = holm(
            [
                signed_rank_p_value(differences(table[reference][once], table[label][once]))
                for label, once in first.items()
            ]
        )
        tests = dict(zip(others, p_values, strict=True))
        for row in rows:
            label = row["optimizer"]
            row |= _median(table[label].dropna(), measure)
            row |= _median(paired.get(label, []), f"{measure}_difference")
            row[f"{measure}_p_value"] = tests.get(label, np.nan)
    return pd.DataFrame(rows).astype({"never_left": "Int64"})


def _median(values: Any, name: str) -> dict[str, float]:
    """Return median and interval as columns; NaN in the middle between −∞ and ∞."""
    with np.errstate(invalid="ignore"):
        low, high = percentile_interval(values, median, np.random.default_rng(SEED))
        return {f"{name}_median": quantile(values, 0.5), f"{name}_low": low, f"{name}_high": high}


def compare_zigzag(row: dict[Any, Any]) -> str:
    """Return whether an optimizer turns "less" or "more" than the reference, or it is "open"; or ""."""
    p_value, difference = row["mean_cosine_p_value"], row["mean_cosine_difference_median"]
    if np.isnan(p_value):
        return ""
    return "open" if p_value >= LEVEL or difference == 0 else "less" if difference > 0 else "more"


def zigzag_answers(summary: pd.DataFrame, reference: str | None) -> dict[str, str]:
    """Return for each optimizer whether it zigzags less than the reference, with its numbers.

    Parameters
    ----------
    summary : from `summarize_paths`, of one problem.
    reference : the optimizer compared with.
    """
    return {row["optimizer"]: _zigzag_answer(row, reference) for row in summary.to_dict("records")}


def _zigzag_answer(row: dict[Any, Any], reference: str | None) -> str:
    if np.isnan(row["mean_cosine_median"]):
        return "no mean cosine, since too few records are finite."
    cosine = f"mean cosine {_with_interval(row, 'mean_cosine', 2)}"
    words = {
        "less": f"turns less than {reference}",
        "more": f"turns more than {reference}",
        "open": f"no difference from {reference} is shown",
    }
    verdict = compare_zigzag(row)
    if not verdict:
        return f"{cosine}."
    difference = _with_interval(row, "mean_cosine_difference", 2)
    p_value = p_value_text(row["mean_cosine_p_value"])
    return f"{words[verdict]}; {cosine}, difference {difference} ({p_value})."


def saddle_overview(problem: str, summary: pd.DataFrame, steps: int) -> str:
    """Return which optimizers leave a saddle and when, fastest first, and which never do.

    Parameters
    ----------
    problem : the problem's label.
    summary : from `summarize_paths`, of one problem.
    steps : the number of steps of a run.
    """
    rows = summary.sort_values("steps_to_leave_median", kind="stable").to_dict("records")
    leaving, staying = [], []
    for row in rows:
        never, seeds = row["never_left"], row["seeds"]
        if never == seeds:
            staying.append(row["optimizer"])
            continue
        part = f" ({seeds - never} of {seeds} runs)" if never else ""
        leaving.append(f"{row['optimizer']} {_with_interval(row, 'steps_to_leave')}{part}")
    if not leaving:
        return f"No optimizer leaves the {problem} in {steps:,} steps."
    left = f"Steps until the runs leave the {problem}: {join_words(leaving)}."
    verb = "does" if len(staying) == 1 else "do"
    return f"{left} {join_words(staying)} {verb} not leave it in {steps:,} steps." if staying else left


def zigzag_overview(summaries: dict[str, pd.DataFrame], reference: str) -> dict[str, str]:
    """Return label → a sentence that counts where an optimizer turns less than the reference.

    Parameters
    ----------
    summaries : problem → its `summarize_paths`.
    reference : the optimizer compared with.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for problem, summary in summaries.items():
        for row in summary.to_dict("records"):
            if verdict := compare_zigzag(row):
                found.setdefault(row["optimizer"], {}).setdefault(verdict, []).append(problem)
    return {label: _overview(where, len(summaries), reference) for label, where in found.items()}


def _overview(where: dict[str, list[str]], problems: int, reference: str) -> str:
    less, more = where.get("less", []), where.get("more", [])
    counts = [f"turns less than {reference} on {len(less) or 'none'} of {problems} problems"]
    counts[0] += f" ({join_words(less)})" if less else ""
    if more:
        counts.append(f"more on {len(more)} ({join_words(more)})")
    if unclear := where.get("open", []):
        counts.append(f"with no difference shown on {len(unclear)}")
    return f"{', '.join(counts)}."


def _with_interval(row: dict[Any, Any], name: str, decimals: int | None = None) -> str:
    parts = (row[f"{name}_{part}"] for part in ("median", "low", "high"))
    middle, low, high = (_text(part, decimals) for part in parts)
    return middle if low == "–" else f"{middle} [{low}, {high}]"


def _text(value: float, decimals: int | None) -> str:
    return number(value) if decimals is None else fixed(value, decimals)
