"""The metrics of a problem, declared once: their names, and which direction is better.

A column of the traces is a split and a metric, such as ``validation_loss``; in runs.csv it begins with
``final_``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Metric:
    """A measure of how good parameters are on a split.

    Attributes
    ----------
    name : its name in columns.
    label : its name in text.
    is_higher_better : whether higher values are better.
    worst : the value that counts for a run without one, because it diverged or failed.
    is_share : whether it is shown in percent.
    """

    name: str
    label: str
    is_higher_better: bool = False
    worst: float = float("inf")
    is_share: bool = False


LOSS = Metric("loss", "loss")
ACCURACY = Metric("accuracy", "accuracy", is_higher_better=True, worst=0.0, is_share=True)
R2 = Metric("r2", "R²", is_higher_better=True, worst=float("-inf"))
RMSE = Metric("rmse", "RMSE")

ALL = {metric.name: metric for metric in (LOSS, ACCURACY, R2, RMSE)}
REPORTED = (ACCURACY, R2, RMSE)  # beside the loss, in this order


def metric_of(column: str) -> Metric | None:
    """Return the metric of a column; None for a column of another kind.

    Examples
    --------
    >>> metric_of("final_test_r2").label
    'R²'
    """
    split, _, name = column.removeprefix("final_").partition("_")
    return ALL.get(name) if split in SPLITS else None


def is_final(column: str) -> bool:
    """Return whether a column of runs.csv is a final metric."""
    return column.startswith("final_") and metric_of(column) is not None


def title(column: str) -> str:
    """Return the text for a column of a metric.

    Examples
    --------
    >>> title("train_loss")
    'training loss'
    """
    split, _, name = column.removeprefix("final_").partition("_")
    return f"{SPLITS[split]} {ALL[name].label}"


def titles(columns: Iterable[str]) -> dict[str, str]:
    """Return column → text for plug-in metrics: columns of a split that are not a built-in metric.

    Examples
    --------
    >>> titles(["train_loss", "train_top_3", "step"])
    {'train_top_3': 'training top 3'}
    """
    parts = {column: column.partition("_") for column in columns if not metric_of(column)}
    return {
        column: f"{SPLITS[split]} {name.replace('_', ' ')}"
        for column, (split, _, name) in parts.items()
        if split in SPLITS and name
    }
