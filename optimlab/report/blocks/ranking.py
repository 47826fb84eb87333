"""The ranked table: its columns, and a cell of each for every optimizer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from optimlab import statistics
from optimlab.experiment.candidates import RATE, Axis
from optimlab.formatting import fixed, join_words, number, p_value_text, short, split_name, toml_key
from optimlab.metrics import R2, REPORTED, Metric
from optimlab.report.problem_result import ProblemResult
from optimlab.report.style import SeriesStyle
from optimlab.report.vega import Chart
from optimlab.statistics import Comparison
from optimlab.statistics.axes import in_file, widened
from optimlab.statuses import BAD, STATUSES

Record = Mapping[Hashable, Any]  # an optimizer's row of the summary: column → value

FEW_SEEDS = 6  # with fewer, intervals of medians are too narrow


@dataclass(frozen=True)
class Mark:
    """A line with a marker in an optimizer's style: colour, dash lengths and corners for SVG."""

    colour: str
    dashes: str
    corners: str


@dataclass(frozen=True)
class Cell:
    """A cell of the ranked table.

    Attributes
    ----------
    text : its text.
    below : smaller text beneath it.
    value : the value to sort by.
    warning : a warning, in colour, after the text.
    mark : the optimizer's mark, in the cell of its name only.
    """

    text: str
    below: tuple[str, ...] = ()
    value: float | str = ""
    warning: str = ""
    mark: Mark | None = None


@dataclass(frozen=True)
class Column:
    """A column of the ranked table.

    Attributes
    ----------
    head : its heading.
    cell : makes the cell of an optimizer from its row of the summary.
    direction : the order that puts the best first.
    """

    head: str
    cell: Callable[[Record], Cell]
    direction: Literal["ascending", "descending"] = "ascending"


@dataclass(frozen=True)
class GridEnd:
    """An optimizer whose best candidate is at an end of its range, and the lines that widen it."""

    optimizer: str
    toml: str


@dataclass(frozen=True)
class Ranking:
    """The optimizers on one problem: the verdict, the ranked table, the charts."""

    problem: str
    verdict: list[str]
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    charts: list[Chart]


def rank(problem: str, result: ProblemResult, styles: dict[str, SeriesStyle]) -> Ranking:
    """Return the optimizers on one problem, best first."""
    comparison = result.comparison
    columns = columns_of(comparison, styles)
    records = comparison.summary.to_dict("records")
    return Ranking(
        problem=problem,
        verdict=statistics.verdict(comparison),
        caption=_table_caption(comparison),
        columns=columns,
        rows=[[column.cell(record) for column in columns] for record in records],
        charts=result.charts,
    )


def mark(style: SeriesStyle) -> Mark:
    """Return a style as the page draws it, the marker about the origin and 8 units wide."""
    points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in 8 * style.corners)
    return Mark(style.colour, " ".join(f"{2 * length:g}" for length in style.dashes), points)


def _table_caption(comparison: Comparison) -> str:
    rests_on = comparison.basis
    is_tuned = comparison.is_tuned
    choosing = "the seeds that chose it" if is_tuned else "the tuning seeds"
    seeds = "fresh seeds" if comparison.has_fresh_seeds else choosing
    has_others = len(comparison.summary) > 1
    ranked = f" Ranked by median final {split_name(rests_on.loss)} loss." if has_others else ""
    what = "learning rate" if comparison.is_only_rate else "candidate"
    again = (
        f" Tuned again: the loss to expect if the {what} is chosen on other seeds, with a "
        f"95 % interval. Chosen in: how often this {what} is then chosen, and the other choices."
    )
    if comparison.is_only_rate:
        again += " Good: the decades of learning rates over which the loss stays within twice the best."
    difference = "the difference, tuned again" if is_tuned else "the difference of the IQM"
    tested = f" p-values: of {difference}, adjusted for all claims about these optimizers."
    return (
        f"{'Each optimizer at its' if has_others else 'At the'} chosen {what}, over {seeds}: "
        f"medians with their 95 % bootstrap intervals{too_few(comparison.summary)}, and IQM, the "
        f"interquartile mean.{ranked}{again if is_tuned else ''}{tested if has_others else ''}"
        f"{_meanings(comparison.summary)}"
    )


def too_few(summary: pd.DataFrame) -> str:
    """Return a note on the intervals of medians, where some are over too few seeds."""
    few = summary["seeds"].between(2, FEW_SEEDS - 1).any()
    return f" (too narrow: of fewer than {FEW_SEEDS} seeds)" if few else ""


def _meanings(summary: pd.DataFrame) -> str:
    """Return what the statuses of runs that were not ok mean, where there are such runs."""
    found = [
        each for each in BAD if summary[[f"runs_{each.name}", f"grid_{each.name}"]].to_numpy().any()
    ]
    return "".join(f" {each.name.capitalize()}: {each.meaning}." for each in found)


def columns_of(comparison: Comparison, styles: dict[str, SeriesStyle]) -> list[Column]:
    """Return the columns that a comparison has the numbers for."""
    loss, summary = comparison.basis.loss, comparison.summary
    rates = "range" if comparison.is_searched else "grid"
    columns = [
        Column("Rank", _rank_cell),
        Column("Optimizer", lambda record: _name_cell(record["optimizer"], styles)),
        Column("Learning rate" if comparison.is_only_rate else "Chosen", partial(_rate_cell, rates)),
        Column(f"Final {split_name(loss)} loss", _loss_cell),
    ]
    if len(summary) > 1:
        columns.append(Column("Against the best", _against_best_cell))
    if (summary["default_seeds"] > 0).any():
        what = "at its textbook rate" if comparison.is_only_rate else "with textbook hyper-parameters"
        columns.append(Column(f"Untuned, {what}", _default_cell))
    if np.isfinite(summary["test_loss_median"]).any():
        columns.append(Column("Final test loss", _test_cell))
    for metric, split in _measures(comparison):
        head = f"Final {split_name(split)} {metric.label}"
        cell = partial(_measure_cell, metric)
        columns.append(Column(head, cell, "descending" if metric.is_higher_better else "ascending"))
    if summary["seeds_never_at_95"].notna().any():
        columns.append(Column("Epochs to 95 % validation accuracy", _epochs_cell))
    bad = ", ".join(STATUSES[1:]).capitalize()
    tried = "grid" if comparison.is_only_rate else "all candidates"
    return [*columns, Column(bad, partial(_status_cell, tried))]


def _rank_cell(record: Record) -> Cell:
    is_ranked: bool = not pd.isna(record["rank"]) and np.isfinite(record["final_loss_median"])
    return Cell(str(record["rank"]), value=record["rank"]) if is_ranked else Cell("–", value=np.inf)


def _name_cell(label: str, styles: dict[str, SeriesStyle]) -> Cell:
    return Cell(label, value=label, mark=mark(styles[label]))


def _rate_cell(tried: str, record: Record) -> Cell:
    """Return the choice, how often tuning again makes it, and how wide the range of good rates is."""
    if "hyperparameters" in record:
        rate, *others = record["hyperparameters"].split(", ")
        ends = record["edges"].replace("learning_rate", "rate")
        warning = f"{ends} of its range" if ends else ""
        return Cell(f"rate {rate}", (*others, *_chosen(record)), record["learning_rate"], warning)
    decades = record["decades_within_2"]
    is_only: bool = pd.isna(decades) or record["learning_rate_edge"] == "only"
    least = "at least " if record["decades_end_at_grid"] else ""
    wide: tuple[str, ...] = () if is_only else (f"good: {least}{decades:.1f} decades",)
    edge = {"only": "the only one", **{end: f"{end} of the {tried}" for end in ("lowest", "highest")}}
    return Cell(
        number(record["learning_rate"]),
        (*_chosen(record), *wide),
        record["learning_rate"],
        edge.get(record["learning_rate_edge"], ""),
    )


def _loss_cell(record: Record) -> Cell:
    return _spread_cell(record, "final_loss", again=_tuned_again(record))


def _against_best_cell(record: Record) -> Cell:
    order = -np.inf if record["rank"] == 1 else record["difference_to_best"]
    return Cell(_against_best(record) or "–", (_p_value(record),), order)


def _default_cell(record: Record) -> Cell:
    rate = record["default_learning_rate"]
    missing = "" if record["default_seeds"] else "not on the grid"
    note = f"at {number(rate)}" if np.isfinite(rate) else ""
    return _spread_cell(record, "default_loss", note, missing)


def _test_cell(record: Record) -> Cell:
    return _spread_cell(record, "test_loss", again=_on_test(record))


def _status_cell(tried: str, record: Record) -> Cell:
    """Return how many runs were not ok, of the reported ones and of all that were `tried`."""
    seeds = record["seeds"]
    counts = {status: record[f"runs_{status}"] for status in STATUSES[1:]}
    of_all = {status: record[f"grid_{status}"] for status in STATUSES[1:]}
    runs = sum(record[f"grid_{status}"] for status in STATUSES)
    bad = _count(counts, seeds) if seeds else "no run yet"
    low, high = (100 * record[f"bad_share_{end}"] for end in ("low", "high"))
    share = f"{low:.0f}–{high:.0f} % of runs, 95 % interval" if seeds and sum(counts.values()) else ""
    below = tuple(line for line in (share, f"{tried}: {_count(of_all, runs)}") if line)
    return Cell(bad, below, sum(counts.values()))


def _measures(comparison: Comparison) -> list[tuple[Metric, str]]:
    """Return the metrics besides the loss, each with the split it is reported on."""
    measures = comparison.basis.measures
    return [(metric, measures[metric.name]) for metric in REPORTED if metric.name in measures]


def _measure_cell(metric: Metric, record: Record) -> Cell:
    """Return the median of a metric besides the loss, with its interval."""
    ends = ("median", "interval_low", "interval_high")
    middle, low, high = (record[f"final_{metric.name}_{end}"] for end in ends)
    if metric.is_share:
        interval = _between(_fixed(100 * low), _fixed(100 * high))
        return Cell(_fixed(100 * middle, " %"), (interval,), 100 * middle)
    if metric is R2:
        low, high, text = (_three_places(value) for value in (low, high, middle))
    else:
        low, high, text = (short(value) for value in (low, high, middle))
    return Cell(text, (_between(low, high),), middle)


def _three_places(value: float) -> str:
    return fixed(value, 3) if np.isfinite(value) else "–"


def _chosen(record: Record) -> tuple[str, ...]:
    """Return how often tuning again chooses this learning rate, and its other choices."""
    share, others = record["chosen_share"], record["other_choices"]
    if pd.isna(share) or record["learning_rate_edge"] == "only":
        return ()
    percent = "> 99" if others and share > 0.99 else f"{100 * share:.0f}"
    return (f"chosen in {percent} %", *([f"also {others}"] if others else []))


def _tuned_again(record: Record) -> tuple[str, ...]:
    """Return the loss to expect if the learning rate is chosen again."""
    if record["learning_rate_edge"] == "only" or not np.isfinite(record["retuned_loss"]):
        return ()
    value, low, high = (number(record[f"retuned_loss{end}"], 3) for end in ("", "_low", "_high"))
    return f"tuned again: {value}", f"({_between(low, high)})"


def _on_test(record: Record) -> tuple[str, ...]:
    """Return whether the test loss is shown to be worse than that of the first."""
    if pd.isna(record["test_p_value_to_best"]):
        return ()
    differs = "worse" if record["test_worse_than_best"] else "not shown to be worse"
    return f"{differs},", p_value_text(record["test_p_value_to_best"])


def _spread_cell(
    record: Record,
    name: str,
    note: str = "",
    missing: str = "",
    again: tuple[str, ...] = (),
) -> Cell:
    """Return a loss with its interval and its interquartile mean."""

    def text(key: str) -> str:
        return number(record[f"{name}_{key}"], 3)

    if missing:
        return Cell("–", (missing,), np.inf)
    mean = f"IQM {text('iqm')}" if np.isfinite(record[f"{name}_iqm"]) else ""
    interval = _between(text("interval_low"), text("interval_high"))
    below = (note, interval, mean, *again)
    return Cell(text("median"), tuple(line for line in below if line), record[f"{name}_median"])


def _epochs_cell(record: Record) -> Cell:
    median, never = record["epochs_to_95_median"], record["seeds_never_at_95"]
    low, high = (short(record[f"epochs_to_95_{end}"]) for end in ("low", "high"))
    interval = _between(low, high)
    missed = "" if pd.isna(never) or not never else f"{never} of {record['seeds']} never"
    text = "never" if np.isinf(median) else short(median)
    return Cell(text, tuple(line for line in (interval, missed) if line), median)


def _fixed(value: float, unit: str = "") -> str:
    return f"{value:.1f}{unit}" if np.isfinite(value) else "–"


def _between(low: str, high: str) -> str:
    """Return an interval as text; beside a minus sign, a dash would look like another one."""
    dash = " to " if "−" in low + high else "–"
    return "" if "–" in (low, high) or low == high == "∞" else f"{low}{dash}{high}"


def _count(counts: dict[str, int], of: int) -> str:
    """Return "2 stuck, 1 failed of 30", or "none of 30"."""
    bad = [f"{count} {status}" for status, count in counts.items() if count]
    return f"{', '.join(bad) or 'none'} of {of:,}"


def _against_best(record: Record) -> str:
    if np.isinf(record["final_loss_median"]):
        return "the median run did not finish"
    if 2 * record["runs_ok"] < record["seeds"]:
        return "the median run learnt nothing"
    if pd.isna(record["p_value_to_best"]):
        return "" if record["rank"] != 1 else "lowest median"
    if record["standing"] == "worse":
        return f"worse by {number(record['difference_iqm_to_best'], 2)}"
    says = {"undecided": "not distinguishable", "better": "better, if tuned again"}
    return says.get(record["standing"], str(record["standing"]))


def _p_value(record: Record) -> str:
    value = record["p_value_to_best"]
    return "" if pd.isna(value) else p_value_text(value)


def edge_warnings(by_problem: dict[str, ProblemResult]) -> list[GridEnd]:
    """Return the lines that widen the range of each choice that is at an end of its range."""
    wider: dict[str, dict[str, Axis]] = {}
    where: dict[str, list[str]] = {}
    searched: dict[str, Sequence[str]] = {}
    for problem, result in by_problem.items():
        for record in result.comparison.summary.to_dict("records"):
            label = record["optimizer"]
            ends = record["edges"] if "edges" in record else _edge_of_rate(record)
            space = result.comparison.spaces[label]
            searched[label] = space.searched
            by_name = wider.setdefault(label, {})
            for name, end in (each.split() for each in ends.split(", ") if ends):
                axis = next(each for each in space.axes if each.name == name)
                by_name[name] = _with_end(by_name.get(name, axis), axis, end)
                where.setdefault(label, []).append(problem)
    found = []
    for label, problems in where.items():
        on = join_words(list(dict.fromkeys(problems)))
        name = f"{label} (on {on})" if len(by_problem) > 1 else label
        axes = wider[label].values()
        lines = [in_file(axis, is_searched=axis.name in searched[label]) for axis in axes]
        found.append(GridEnd(name, "\n".join([f"[optimizers.{toml_key(label)}]", *lines])))
    return found


def _edge_of_rate(record: Record) -> str:
    edge = record["learning_rate_edge"]
    return f"{RATE} {edge}" if edge in ("lowest", "highest") else ""


def _with_end(wide: Axis, axis: Axis, end: str) -> Axis:
    """Return an axis that may be wider already, widened at an end of the original, once."""
    has_more = {
        "lowest": wide.low < axis.low or wide.levels[:1] != axis.levels[:1],
        "highest": wide.high > axis.high or wide.levels[-1:] != axis.levels[-1:],
    }
    return wide if has_more[end] else widened(wide, end)


def unequal_budgets(by_problem: dict[str, ProblemResult]) -> str:
    """Return a warning if optimizers were not tuned with the same number of trials; otherwise ""."""
    spaces = next(iter(by_problem.values())).comparison.spaces
    counts = {label: len(space.tried) for label, space in spaces.items()}
    if len(set(counts.values())) < 2:
        return ""
    words = join_words([f"{label} had {count}" for label, count in counts.items()])
    return (
        f"Not tuned alike: {words} trials. More trials find a lower loss by luck alone, so the ranking "
        "favours those that had more; the chart of what tuning buys compares them at equal numbers."
    )
