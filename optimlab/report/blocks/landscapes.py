"""Texts and figures of paths: on landscapes, and on a network's loss surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from optimlab import statistics
from optimlab.formatting import fixed, number
from optimlab.problems import PROBLEMS, Landscape
from optimlab.report.block import Block
from optimlab.report.figures.landscapes import (
    Surface,
    landscape_surface,
    paths_figure,
    plane_figure,
)
from optimlab.report.style import SeriesStyle
from optimlab.statistics import trajectories as paths
from optimlab.statistics.plane import Plane, explained_shares, paths_on_plane, paths_to_draw
from optimlab.validation import validate

Array = np.ndarray


@dataclass(frozen=True)
class PathsPart:
    """The paths on one problem.

    Attributes
    ----------
    problem : its label.
    summary : `optimlab.statistics.trajectories.summarize_paths` of the reported runs.
    reference : the label of plain gradient descent; None if it did not run.
    steps : the number of steps of a run.
    seed : the seed whose paths are drawn.
    paths : optimizer, step, x, y, train_loss of that seed; x and y on landscapes only.
    rates : optimizer → its learning rate.
    landscape : the landscape; None for another problem.
    """

    problem: str
    summary: pd.DataFrame
    reference: str | None
    steps: int
    seed: int
    paths: pd.DataFrame
    rates: dict[str, float]
    landscape: Landscape | None

    @property
    def surface(self) -> Surface:
        """The heights of the landscape around the paths."""
        assert self.landscape is not None
        return landscape_surface(self.landscape, self.paths)

    def figure(self, styles: dict[str, SeriesStyle], *, narrow: bool = False) -> Figure:
        """Return the figure of the paths on the landscape."""
        return paths_figure(self.surface, self.paths, self.rates, styles, narrow=narrow)


@dataclass(frozen=True)
class PlanePart:
    """The paths on the plane through a network's loss surface.

    Attributes
    ----------
    plane, paths : from `optimlab.statistics.plane.paths_on_plane`, with the paths' true ``train_loss``.
    shares : optimizer → the share of its path that lies in the plane.
    surface : the training loss on the plane.
    seed : the seed whose paths are drawn.
    """

    plane: Plane
    paths: pd.DataFrame
    shares: dict[str, float]
    surface: Surface
    seed: int

    def figure(self, styles: dict[str, SeriesStyle], *, narrow: bool = False) -> Figure:
        """Return the figure of the paths on the plane."""
        return plane_figure(self.surface, self.paths, self.plane.explained, styles, narrow=narrow)


def describe_paths(
    runs: pd.DataFrame, traces: pd.DataFrame, problems: dict[str, Any]
) -> list[PathsPart]:
    """Return the paths on each problem of an experiment.

    Parameters
    ----------
    runs, traces : its tables.
    problems : label → the problem's name and settings, from experiment.json.
    """
    reported = {
        str(label): statistics.reported_runs(group)
        for label, group in runs.groupby("problem", sort=False)
    }
    reference = paths.gradient_descent(pd.concat(reported.values())) if reported else None
    parts = []
    for label, settings in problems.items():
        group = reported.get(label, runs[:0])
        steps = traces[(traces["problem"] == label) & traces["run_id"].isin(group["run_id"])]
        if len(steps):  # otherwise all runs have failed or not finished
            parts.append(_describe(label, group, steps, read_landscape(settings), reference))
    return parts


def _describe(
    label: str,
    reported: pd.DataFrame,
    traces: pd.DataFrame,
    landscape: Landscape | None,
    reference: str | None,
) -> PathsPart:
    marks = (landscape.minima, landscape.saddles) if landscape else ()
    summary = paths.summarize_paths(paths.measure_paths(traces, *marks), reference)
    seed, steps = int(traces["seed"].min()), int(traces["step"].max())
    columns = ["optimizer", "step", "x", "y", "train_loss"]
    drawn = traces[traces["seed"] == seed].reindex(columns=columns)
    return PathsPart(
        problem=label,
        summary=summary,
        reference=reference,
        steps=steps,
        seed=seed,
        paths=drawn,
        rates=dict(zip(reported["optimizer"], reported["learning_rate"], strict=True)),
        landscape=landscape,
    )


def describe_plane(
    runs: pd.DataFrame, traces: pd.DataFrame, params: pd.DataFrame, surface: pd.DataFrame
) -> PlanePart | None:
    """Return the paths on the plane through the loss surface; None if there is no such plane.

    Parameters
    ----------
    runs, traces, params : an experiment's tables, of one problem.
    surface : the loss around the paths, as the sweep computed it.
    """
    shown = paths_to_draw(runs, traces, params)
    if shown is None or surface.empty:
        return None
    plane, on_plane = paths_on_plane(shown)
    heights = surface.pivot(index="y", columns="x", values="train_loss")  # noqa: PD010 - no repeats
    no_marks = np.empty((0, 2))
    drawn = Surface(
        heights.columns.to_numpy(), heights.index.to_numpy(), heights.to_numpy(), no_marks, no_marks
    )
    seed = int(shown["seed"].iloc[0])
    return PlanePart(plane, on_plane, explained_shares(plane, shown), drawn, seed)


def read_landscape(settings: dict[str, Any]) -> Landscape | None:
    """Return the landscape that settings of experiment.json describe; None for another problem."""
    if PROBLEMS.get(str(settings.get("name"))) is not Landscape:
        return None
    others = {key: value for key, value in settings.items() if key != "name"}
    landscape: Landscape | None = validate(Landscape, others, "", [])
    return landscape


def summary_table(parts: list[PathsPart]) -> pd.DataFrame:
    """Return the summaries of all problems (one or more) as one table, the content of paths.csv."""
    tables = [part.summary.assign(problem=part.problem) for part in parts]
    table = pd.concat(tables, ignore_index=True)
    return table[["problem", *table.columns.drop("problem")]]


def plane_warning(part: PlanePart) -> str:
    """Return how much of the paths the plane does not show, as text."""
    share = 100 * part.plane.explained.sum()
    known = [label for label, share in part.shares.items() if np.isfinite(share)]
    least = min(known, key=lambda label: part.shares[label])
    most = max(known, key=lambda label: part.shares[label])
    extremes = (f"{100 * part.shares[label]:.0f} % for {label}" for label in (most, least))
    return (
        f"The plane captures {share:.0f} % of the variance of the paths, but not equally for all: "
        f"{', '.join(extremes)}. The contours are the true training loss in the plane. A path also "
        "moves outside the plane, so its loss differs from the contours under it, and paths that cross "
        "in the picture need not meet."
    )


def paths_section(parts: list[PathsPart]) -> Block | None:
    """Return the section on paths: which optimizers zigzag less than gradient descent, or leave saddles.

    Parameters
    ----------
    parts : from `describe_paths`.

    Returns
    -------
    The section; None if plain gradient descent, the reference, did not run.
    """
    reference = parts[0].reference if parts else None
    if reference is None:
        return None
    overview = paths.zigzag_overview({part.problem: part.summary for part in parts}, reference)
    sentences = [f"{label} {text}" for label, text in overview.items()]
    if len(parts) == 1:  # numbers are more informative than a count of one
        answers = paths.zigzag_answers(parts[0].summary, reference)
        sentences = [f"{label}: {answer}" for label, answer in answers.items()]
    with_saddles = [part for part in parts if part.summary["never_left"].notna().any()]
    for part in with_saddles:
        sentences.append(paths.saddle_overview(part.problem, part.summary, part.steps))
    columns = ["Optimizer", *(part.problem for part in parts)]
    columns += [f"Steps to leave the {part.problem}" for part in with_saddles]
    labels = list(dict.fromkeys(label for part in parts for label in part.summary["optimizer"]))
    rows = []
    for label in labels:
        cells = [_zigzag_cell(part, label) for part in parts]
        cells += [_saddle_cell(part, label) for part in with_saddles]
        rows.append([label, *cells])
    starts = ""
    if any(part.landscape for part in parts):
        starts = " The seeds of a landscape start near a few points, and its results hold for these."
    return Block(
        heading="How the optimizers move",
        paragraphs=sentences,
        caption="Mean cosine between successive updates, weighted by their lengths: 1 is a straight "
        "line, −1 a path that goes back and forth; medians with 95 % bootstrap intervals. Less or more: "
        f"the optimizer turns less or more than {reference}, by a signed-rank test over the seeds, "
        "Holm-corrected over the optimizers; open: the test cannot tell." + starts,
        columns=columns,
        rows=rows,
    )


def _row_of(part: PathsPart, label: str) -> dict[Any, Any] | None:
    rows = part.summary[part.summary["optimizer"] == label].to_dict("records")
    return rows[0] if rows else None


def _zigzag_cell(part: PathsPart, label: str) -> str:
    row = _row_of(part, label)
    if row is None or np.isnan(row["mean_cosine_median"]):
        return "–"
    middle, low, high = (fixed(row[f"mean_cosine_{end}"], 2) for end in ("median", "low", "high"))
    cosine = middle if np.isnan(row["mean_cosine_low"]) else f"{middle} [{low}, {high}]"
    verdict = paths.compare_zigzag(row)
    return f"{cosine} {verdict}" if verdict else cosine


def _saddle_cell(part: PathsPart, label: str) -> str:
    row = _row_of(part, label)
    if row is None or pd.isna(row["never_left"]):
        return "–"
    never = f"{row['never_left']} of {row['seeds']} never"
    if row["never_left"] == row["seeds"]:
        return never
    steps = number(row["steps_to_leave_median"])
    return f"{steps}; {never}" if row["never_left"] else steps
