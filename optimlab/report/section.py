"""One experiment in words: the rows of its table, its warnings and its circumstances."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from optimlab import hints, statistics
from optimlab.formatting import duration, join_words, number, p_value_text, short, split_name, toml_key
from optimlab.metrics import R2, REPORTED, Metric
from optimlab.report.block import Block
from optimlab.report.blocks import Chart
from optimlab.report.blocks.paths import PathsReport
from optimlab.report.figures.static import Picture
from optimlab.report.style import Look
from optimlab.statistics import Comparison
from optimlab.statuses import STATUSES
from optimlab.storage.environment import describe_computing

FEW_SEEDS = 6  # with fewer, intervals of medians are too narrow


@dataclass(frozen=True)
class Mark:
    """A line with a marker in an optimizer's look: colour, dash lengths and corners for SVG."""

    colour: str
    dashes: str
    corners: str


@dataclass(frozen=True)
class Cell:
    """A cell of the ranked table: its text, smaller text beneath it, and the number it is sorted by."""

    text: str
    below: tuple[str, ...] = ()
    value: float | str = ""
    warning: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the ranked table: its head, and the direction in which the best comes first."""

    head: str
    direction: Literal["ascending", "descending"] = "ascending"


@dataclass(frozen=True)
class Row:
    """A line of the ranked table: an optimizer, how it is drawn, and a cell for every column."""

    mark: Mark
    optimizer: str
    cells: list[Cell]


@dataclass(frozen=True)
class GridEnd:
    """An optimizer whose best learning rate is at an end of its grid, and the lines that widen it."""

    optimizer: str
    toml: str


@dataclass(frozen=True)
class ProblemResult:
    """The optimizers on one problem of an experiment.

    Attributes
    ----------
    runs : the table of runs on it.
    comparison : `optimlab.statistics.compare_optimizers` of its tables.
    charts : its charts.
    """

    runs: pd.DataFrame
    comparison: Comparison
    charts: list[Chart]


@dataclass(frozen=True)
class Ranking:
    """What the page says of the optimizers on one problem: the verdict, the ranked table, the charts."""

    problem: str
    verdict: list[str]
    caption: str
    columns: list[Column]
    rows: list[Row]
    charts: list[Chart]


@dataclass(frozen=True)
class Section:
    """Everything that the page says of one experiment."""

    name: str
    title: str
    description: str
    verdict: list[str]
    unfinished: str
    warnings: list[GridEnd]
    rankings: list[Ranking]
    files: list[str]
    own_blocks: list[Block]
    paths: PathsReport
    pictures: dict[str, list[Picture]]
    caveats: list[str]
    facts: dict[str, str]
    hyperparameters: dict[str, str]
    reasons: list[str]
    network: str
    command: str
    command_of_page: str
    toml: str

    @property
    def has_charts(self) -> bool:
        """Whether there is a chart to draw."""
        return bool(self.paths.charts) or any(ranking.charts for ranking in self.rankings)


def write_section(
    name: str,
    experiment: dict[str, Any],
    runs: pd.DataFrame,
    contests: dict[str, ProblemResult],
    files: list[str],
    own_blocks: list[Block],
    paths: PathsReport,
    styles: dict[str, Look],
    figures: dict[str, Picture],
) -> Section:
    """Return the section of one experiment.

    Parameters
    ----------
    name : of its folder.
    experiment : its experiment.json; any key may be missing.
    runs : its table of runs.
    contests : problem → the optimizers on it; one problem or several.
    files : what lies in its folder, for links.
    own_blocks : that the experiment's file names.
    paths : what is to be said of how the optimizers move.
    styles : the look of each optimizer.
    figures : its static figures, by name.
    """
    charts = [*paths.charts, *(chart for each in contests.values() for chart in each.charts)]
    rankings = [_ranking(problem, contest, styles) for problem, contest in contests.items()]
    return Section(
        name=name,
        title=str(experiment.get("title") or name),
        description=str(experiment.get("description") or ""),
        verdict=rankings[0].verdict if len(rankings) == 1 else _overview(contests),
        unfinished=_unfinished(experiment, runs),
        warnings=edge_warnings(contests),
        rankings=rankings,
        files=files,
        own_blocks=own_blocks,
        paths=paths,
        pictures={chart.name: _pictures(chart.name, figures) for chart in charts},
        caveats=[
            *_caveats(contests),
            *_luck_of_the_split(experiment, contests),
            *_looks(experiment),
            *_mixed(experiment),
        ],
        facts=_facts(experiment, runs),
        hyperparameters=_hyperparameters(experiment),
        reasons=_reasons(runs),
        network=str(experiment.get("network") or ""),
        command=str(experiment.get("command") or hints.command("sweep", name)),
        command_of_page=hints.command("plots"),
        toml=str(experiment.get("toml") or ""),
    )


def _pictures(chart: str, figures: dict[str, Picture]) -> list[Picture]:
    """Return the figures of a chart, whose names are the chart's or begin with it and a number."""
    pattern = re.compile(rf"{re.escape(chart)}(-\d+-.*)?")
    return [picture for name, picture in figures.items() if pattern.fullmatch(name)]


def _ranking(problem: str, contest: ProblemResult, styles: dict[str, Look]) -> Ranking:
    comparison = contest.comparison
    return Ranking(
        problem=problem,
        verdict=statistics.verdict(comparison),
        caption=_table_caption(comparison),
        columns=_columns(comparison),
        rows=[
            Row(mark(styles[record["optimizer"]]), record["optimizer"], _cells(record, comparison))
            for record in comparison.summary.to_dict("records")
        ],
        charts=contest.charts,
    )


def _overview(contests: dict[str, ProblemResult]) -> list[str]:
    """Return which optimizer ends lowest on which problems, and where every other is shown to be worse.

    Where runs of the first on a problem went wrong, their number follows.
    """
    lowest: dict[str, dict[str, str]] = {}
    clear, unknown = [], []
    for problem, contest in contests.items():
        summary = contest.comparison.summary
        learnt = summary[statistics.typical_run_learnt(summary)]
        if learnt.empty:
            unknown.append(problem)
            continue
        first = learnt.iloc[0].to_dict()
        bad = statistics.failures_of(first)
        lowest.setdefault(first["optimizer"], {})[problem] = f"; on {problem} {bad}" if bad else ""
        others = summary[summary["optimizer"] != first["optimizer"]]
        if len(others) and others["worse_than_best"].fillna(value=False).astype(bool).all():
            clear.append(problem)
    said = []
    if lowest:
        most_first = sorted(lowest.items(), key=lambda item: -len(item[1]))
        counts = [
            f"{label} on {len(on)} ({join_words(list(on))}{''.join(on.values())})"
            for label, on in most_first
        ]
        only = "only " * (len(clear) < len(contests))
        where = f"{only}on {join_words(clear)}" if clear else "on none of them"
        said.append(
            f"The lowest median loss, on {len(contests)} problems: {'; '.join(counts)}. "
            f"Every other optimizer is shown to be worse {where}."
        )
    if unknown:
        said.append(f"On {join_words(unknown)} the typical run of no optimizer learnt anything.")
    return said


def mark(look: Look) -> Mark:
    """Return a look as the page draws it, the marker about the origin and 8 units wide."""
    points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in 8 * look.corners)
    return Mark(look.colour, " ".join(f"{2 * length:g}" for length in look.dashes), points)


def _table_caption(comparison: Comparison) -> str:
    rests_on = comparison.basis
    seeds = "fresh" if rests_on.reporting == "reporting" else "the tuning"
    has_others = len(comparison.summary) > 1
    ranked = f" Ranked by median final {split_name(rests_on.loss)} loss." if has_others else ""
    is_tuned = bool((comparison.summary["learning_rate_edge"] != "only").any())
    again = (
        " Tuned again: the loss to expect if the learning rate is chosen anew on other seeds, with a "
        "95 % interval. Chosen in: how often this learning rate is then chosen, and which others are. "
        "Good: over how many decades of learning rates the loss stays within twice the best."
    )
    difference = "the difference, tuned again" if is_tuned else "the difference of the IQM"
    tested = f" p-values: of {difference}, adjusted for all claims about these optimizers."
    return (
        f"{'Each optimizer at its' if has_others else 'At the'} chosen learning rate, over {seeds} "
        f"seeds: medians with their 95 % bootstrap intervals, and IQM, the interquartile mean.{ranked}"
        f"{again if is_tuned else ''}{tested if has_others else ''}"
    )


def _columns(comparison: Comparison) -> list[Column]:
    rests_on, summary = comparison.basis, comparison.summary
    columns = [
        Column("Rank"),
        Column("Optimizer"),
        Column("Learning rate"),
        Column(f"Final {split_name(rests_on.loss)} loss"),
    ]
    if len(summary) > 1:
        columns.append(Column("Against the best"))
    if _has_defaults(summary):
        columns.append(Column("Untuned, at its textbook rate"))
    if _is_tested(summary):
        columns.append(Column("Final test loss"))
    for metric, split in _measures(comparison):
        head = f"Final {split_name(split)} {metric.label}"
        columns.append(Column(head, "descending" if metric.is_higher_better else "ascending"))
    if _is_timed(summary):
        columns.append(Column("Epochs to 95 % validation accuracy"))
    return [*columns, Column("Stuck, diverged, failed")]


def _cells(record: dict[Any, Any], comparison: Comparison) -> list[Cell]:
    """Return the cells of an optimizer, but for its name."""
    summary, seeds = comparison.summary, record["seeds"]
    is_ranked = not pd.isna(record["rank"]) and np.isfinite(record["final_loss_median"])
    decades = record["decades_within_2"]
    is_only = pd.isna(decades) or record["learning_rate_edge"] == "only"
    wide = "" if is_only else f"good: {decades:.1f} decades"
    if wide and record["decades_end_at_grid"]:
        wide = wide.replace(":", ": at least")
    edge = {"lowest": "lowest of the grid", "highest": "highest of the grid", "only": "the only one"}
    cells = [
        Cell(str(record["rank"]) if is_ranked else "–", value=record["rank"] if is_ranked else np.inf),
        Cell(
            number(record["learning_rate"]),
            (*_chosen(record), *([wide] if wide else [])),
            record["learning_rate"],
            edge.get(record["learning_rate_edge"], ""),
        ),
        _spread_cell(record, "final_loss", again=_tuned_again(record)),
    ]
    if len(summary) > 1:
        place = -np.inf if record["rank"] == 1 else record["difference_to_best"]
        cells.append(Cell(_against_best(record) or "–", (_p_value(record),), place))
    if _has_defaults(summary):
        rate = record["default_learning_rate"]
        note = "" if record["default_seeds"] else "not on the grid"
        cells.append(
            _spread_cell(record, "default_loss", f"at {number(rate)}" if np.isfinite(rate) else "", note)
        )
    if _is_tested(summary):
        cells.append(_spread_cell(record, "test_loss", again=_on_test(record)))
    for metric, _ in _measures(comparison):
        cells.append(_measure_cell(metric, record, seeds))
    if _is_timed(summary):
        cells.append(_epochs_cell(record))
    counts = {status: record[f"runs_{status}"] for status in STATUSES[1:]}
    on_grid = {status: record[f"grid_{status}"] for status in STATUSES[1:]}
    grid = sum(record[f"grid_{status}"] for status in STATUSES)
    bad = _count(counts, seeds) if seeds else "no run yet"
    low, high = (100 * record[f"bad_share_{end}"] for end in ("low", "high"))
    share = f"{low:.0f}–{high:.0f} % of runs, 95 % interval" if seeds and sum(counts.values()) else ""
    below = tuple(line for line in (share, f"grid: {_count(on_grid, grid)}") if line)
    cells.append(Cell(bad, below, sum(counts.values())))
    return cells


def _measures(comparison: Comparison) -> list[tuple[Metric, str]]:
    """Return the metrics beside the loss, and the split that each is reported of."""
    measures = comparison.basis.measures
    return [(metric, measures[metric.name]) for metric in REPORTED if metric.name in measures]


def _measure_cell(metric: Metric, record: dict[Any, Any], seeds: int) -> Cell:
    """Return the median of a metric beside the loss, with its interval."""
    ends = ("median", "interval_low", "interval_high")
    middle, low, high = (record[f"final_{metric.name}_{end}"] for end in ends)
    if metric.is_share:
        interval = _interval(_fixed(100 * low), _fixed(100 * high), seeds)
        return Cell(_fixed(100 * middle, " %"), (interval,), 100 * middle)
    if metric is R2:
        low, high, text = (_three_places(value) for value in (low, high, middle))
    else:
        low, high, text = (short(value) for value in (low, high, middle))
    return Cell(text, (_interval(low, high, seeds),), middle)


def _three_places(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if np.isfinite(value) else "–"


def _chosen(record: dict[Any, Any]) -> tuple[str, ...]:
    """Return how often tuning again chooses this learning rate, and which others it does."""
    share, others = record["chosen_share"], record["other_choices"]
    if pd.isna(share) or record["learning_rate_edge"] == "only":
        return ()
    percent = "> 99" if others and share > 0.99 else f"{100 * share:.0f}"
    return (f"chosen in {percent} %", *([f"also {others}"] if others else []))


def _tuned_again(record: dict[Any, Any]) -> tuple[str, ...]:
    """Return the loss to expect if the learning rate is chosen anew."""
    if record["learning_rate_edge"] == "only" or not np.isfinite(record["retuned_loss"]):
        return ()
    value, low, high = (number(record[f"retuned_loss{end}"], 3) for end in ("", "_low", "_high"))
    return f"tuned again: {value}", f"({_between(low, high)})"


def _on_test(record: dict[Any, Any]) -> tuple[str, ...]:
    """Return whether the test loss is shown to be worse than that of the first."""
    if pd.isna(record["test_p_value_to_best"]):
        return ()
    differs = "worse" if record["test_worse_than_best"] else "not shown to be worse"
    return f"{differs},", p_value_text(record["test_p_value_to_best"])


def _spread_cell(
    record: dict[Any, Any],
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
    seeds = record["default_seeds"] if name == "default_loss" else record["seeds"]
    interval = _interval(text("interval_low"), text("interval_high"), seeds)
    below = (note, interval, mean, *again)
    return Cell(text("median"), tuple(line for line in below if line), record[f"{name}_median"])


def _interval(low: str, high: str, seeds: int) -> str:
    """Return an interval; one of few seeds is marked."""
    interval = _between(low, high)
    few = f", too narrow: {seeds} seed{'s' * (seeds != 1)}"
    return interval + few if interval and seeds < FEW_SEEDS else interval


def _epochs_cell(record: dict[Any, Any]) -> Cell:
    median, never = record["epochs_to_95_median"], record["seeds_never_at_95"]
    low, high = (short(record[f"epochs_to_95_{end}"]) for end in ("low", "high"))
    interval = _interval(low, high, record["seeds"])
    missed = "" if pd.isna(never) or not never else f"{never} of {record['seeds']} never"
    text = "never" if np.isinf(median) else short(median)
    return Cell(text, tuple(line for line in (interval, missed) if line), median)


def _is_tested(summary: pd.DataFrame) -> bool:
    return bool(np.isfinite(summary["test_loss_median"]).any())


def _has_defaults(summary: pd.DataFrame) -> bool:
    return bool((summary["default_seeds"] > 0).any())


def _is_timed(summary: pd.DataFrame) -> bool:
    return bool(summary["seeds_never_at_95"].notna().any())


def edge_warnings(contests: dict[str, ProblemResult]) -> list[GridEnd]:
    """Return what to write for learning rates that were chosen at an end of the grid."""
    columns = ["optimizer", "learning_rate_edge"]
    choices = pd.concat(
        [each.comparison.summary[columns].assign(problem=problem) for problem, each in contests.items()]
    )
    found = []
    ends = choices[choices["learning_rate_edge"].isin(["lowest", "highest"])]
    for label, own in ends.groupby("optimizer", sort=False):
        tried = pd.concat([each.runs[["optimizer", "learning_rate"]] for each in contests.values()])
        grid = sorted(set(tried.loc[tried["optimizer"] == label, "learning_rate"]))
        for edge in sorted(set(own["learning_rate_edge"])):
            grid = statistics.widened_grid(grid, edge)
        name = f"{label} (on {join_words(list(own['problem']))})" if len(contests) > 1 else str(label)
        rates = ", ".join(f"{rate:g}" for rate in grid)
        found.append(GridEnd(name, f"[optimizers.{toml_key(str(label))}]\nlearning_rates = [{rates}]"))
    return found


def _fixed(value: float, unit: str = "") -> str:
    return f"{value:.1f}{unit}" if np.isfinite(value) else "–"


def _between(low: str, high: str) -> str:
    return "" if "–" in (low, high) or low == high == "∞" else f"{low}–{high}"


def _count(counts: dict[str, int], of: int) -> str:
    """Return "2 stuck, 1 failed of 30", or "none of 30"."""
    bad = [f"{count} {status}" for status, count in counts.items() if count]
    return f"{', '.join(bad) or 'none'} of {of:,}"


def _against_best(record: dict[Any, Any]) -> str:
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


def _p_value(record: dict[Any, Any]) -> str:
    value = record["p_value_to_best"]
    return "" if pd.isna(value) else p_value_text(value)


def _unfinished(experiment: dict[str, Any], runs: pd.DataFrame) -> str:
    expected = experiment.get("runs_expected")
    finished = experiment.get("runs_finished") or len(runs)
    if not expected or finished >= expected:
        return ""
    missing = [
        label for label in experiment.get("optimizers", {}) if label not in set(runs["optimizer"])
    ]
    none = f" There is no run yet of {join_words(missing)}." if missing else ""
    return f"Unfinished: {finished:,} of {expected:,} runs. Every number below may change.{none}"


def _mixed(experiment: dict[str, Any]) -> list[str]:
    """Return what is to be said of results that were computed on different machines."""
    computed = experiment.get("computed", [])
    parts = {describe_computing(part.get("by", {})): part.get("runs", 0) for part in computed}
    if len(parts) < 2:
        return []
    counts = "; ".join(f"{runs:,} runs by {by}" for by, runs in parts.items())
    return [f"These results are mixed, so their last bits may differ where they need not: {counts}."]


def _caveats(contests: dict[str, ProblemResult]) -> list[str]:
    """Return what a careful reader should know before quoting the tables."""
    known = {problem: _caveats_of(contest) for problem, contest in contests.items()}
    if len(known) == 1:
        return next(iter(known.values()))
    every = list(dict.fromkeys(text for texts in known.values() for text in texts))
    general = [text for text in every if all(text in texts for texts in known.values())]
    return [
        "Each problem is a comparison of its own, with its own learning rates.",
        *(
            f"{problem}: {text}"
            for problem, texts in known.items()
            for text in texts
            if text not in general
        ),
        *general,
    ]


def _caveats_of(contest: ProblemResult) -> list[str]:
    runs, summary = contest.runs, contest.comparison.summary
    return [
        *_tuning_caveats(runs, summary),
        *_evidence_caveats(runs, summary),
        "Seeds support claims about this problem only: another network, data set, budget or schedule "
        "may turn it round. Bands in the charts are pointwise: no single run need be inside throughout.",
    ]


def _tuning_caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what may be wrong with how the learning rates were chosen."""
    rests_on = statistics.basis(runs)
    only = list(summary.loc[summary["learning_rate_edge"] == "only", "optimizer"])
    caveats = []
    if only:
        is_all = len(only) == len(summary)
        who = "Every optimizer" if is_all and len(summary) > 1 else join_words(only)
        what = "change the order" if len(summary) > 1 else "do better"
        caveats.append(f"{who} had one learning rate, so nothing was tuned: another rate may {what}.")
    is_tuned = bool((summary["learning_rate_edge"] != "only").any())
    if is_tuned:
        caveats.append(
            "Only the learning rate was tuned, on a coarse grid; other hyper-parameters were held fixed."
        )
    if is_tuned and rests_on.tuning == rests_on.reporting:
        caveats.append(
            f"All seeds are {rests_on.reporting} seeds: the same ones choose the learning rates and "
            "give the numbers, which are therefore a little too good."
        )
    return caveats


def _evidence_caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what the numbers cannot show."""
    rests_on = statistics.basis(runs)
    seeds, needed = len(runs["seed"].unique()), statistics.fewest_seeds(len(summary))
    accuracy = summary["final_accuracy_median"]
    caveats = []
    if summary["seeds"].max() < 2:
        caveats.append("One seed shows no spread: there are no intervals and there is no test.")
    elif seeds < needed and len(summary) > 1:
        caveats.append(
            f"On {seeds} seeds nothing can be claimed of {len(summary)} optimizers, "
            f"however large the differences; it takes {needed}."
        )
    if rests_on.loss == "train":
        caveats.append("There is no validation loss: the training loss decides.")
    if rests_on.accuracy in ("validation", "train"):
        name = split_name(rests_on.accuracy)
        caveats.append(f"There is no test set: the accuracy is that of the {name} set.")
    if accuracy.notna().any() and accuracy.iloc[0] < accuracy.max():
        other = summary["optimizer"].iloc[int(np.nanargmax(accuracy))]
        caveats.append(
            f"By {rests_on.accuracy} accuracy the order differs: {other} has the highest median. "
            f"All medians lie between {100 * accuracy.min():.1f} % and {100 * accuracy.max():.1f} %."
        )
    if runs["status"].eq("failed").any():
        caveats.append("Some runs failed, for the reasons given below. They count as infinitely bad.")
    return caveats


def _luck_of_the_split(experiment: dict[str, Any], contests: dict[str, ProblemResult]) -> list[str]:
    """Return what it means that the validation set is one of many that could have been drawn."""
    if all(each.comparison.basis.loss != "validation" for each in contests.values()):
        return []
    problems = [about.get("problem") or {} for about in (experiment.get("problems") or {}).values()]
    splits = [each.get("split") for each in problems]
    if problems and all(isinstance(split, dict) and split.get("resample") for split in splits):
        return ["Each seed draws its own split of the data: the intervals hold the luck of it."]
    luck = (
        "One validation set chooses and ranks. Another split of the data would move all losses; the "
        "intervals do not hold that, and more seeds do not average it out"
    )
    is_digits = problems and all(
        each.get("name") == "digits" and each.get("split", "default") == "default" for each in problems
    )
    if not is_digits:
        return [f"{luck}."]
    return [
        f"{luck}. On 20 other splits of the digits, with the default network, the losses of the five "
        "optimizers at their chosen rates moved by 12 to 20 % (standard deviation), mostly together: "
        "the differences between two of them moved by 0.007 at most."
    ]


def _looks(experiment: dict[str, Any]) -> list[str]:
    """Return what it means that seeds were added in rounds."""
    looks = experiment.get("looks") or []
    if not looks:
        return []
    counts = join_words([f"{seeds:,}" for seeds in looks])
    level = statistics.level_of_look(len(looks))
    return [
        f"Seeds were added in rounds, and the results looked at with {counts} reporting seeds. So that "
        "all looks together claim anything false in at most 5 % of experiments, this one has a level of "
        f"{100 * level:.2g} %; the intervals of differences and the adjusted p-values count that."
    ]


def _facts(experiment: dict[str, Any], runs: pd.DataFrame) -> dict[str, str]:
    """Return the circumstances of an experiment: name → text."""
    role = runs.drop_duplicates("seed").groupby("role").size()
    facts = {
        "Runs": f"{len(runs):,}",
        "Learning rates": ", ".join(number(rate) for rate in sorted(set(runs["learning_rate"]))),
        "Seeds": ", ".join(
            f"{count} {name}" for name, count in role.sort_index(ascending=False).items()
        ),
    }
    steps, epoch = experiment.get("steps"), experiment.get("steps_per_epoch")
    if steps:
        epochs = f"{steps / epoch:g} epochs, " if epoch and epoch > 1 else ""
        facts["Length of a run"] = f"{epochs}{steps:,} steps"
    if experiment.get("stuck_loss") is not None and np.isfinite(experiment["stuck_loss"]):
        facts["Stuck"] = f"a final training loss of {number(experiment['stuck_loss'], 3)} or more"
    last = experiment.get("last_sweep") or {}
    if last.get("seconds"):
        facts["Time"] = f"{duration(last['seconds'])} for the last {last.get('runs', 0):,} runs"
    for key, value in (experiment.get("environment") or {}).items():
        if value not in (None, ""):
            facts[{"cpu": "CPU", "blas": "BLAS"}.get(key, key)] = str(value)
    return facts


def _hyperparameters(experiment: dict[str, Any]) -> dict[str, str]:
    """Return label → its rule and the hyper-parameters held fixed."""
    described = {}
    for label, optimizer in (experiment.get("optimizers") or {}).items():
        values = [
            f"{name} {number(value) if isinstance(value, float) else value}"
            for name, value in (optimizer.get("hyperparameters") or {}).items()
        ]
        rule = optimizer.get("rule") or label
        described[label] = ", ".join(([rule] if rule != label else []) + values) or "none"
    return described


def _reasons(runs: pd.DataFrame) -> list[str]:
    """Return the commonest reasons of runs that failed, with their counts."""
    failed = runs[runs["status"] == "failed"]
    whats = failed["optimizer"] + ": " + failed["reason"].replace("", "no reason recorded")
    return [f"{what} ({count:,} runs)" for what, count in whats.value_counts().head(5).items()]
