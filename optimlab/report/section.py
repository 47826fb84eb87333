"""One experiment in words: the rows of its table, its warnings and its circumstances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.markers import MarkerStyle

from optimlab import statistics
from optimlab.looks import Look, number
from optimlab.report.article import ArticleSection
from optimlab.report.charts import Chart
from optimlab.statistics import STATUSES


@dataclass(frozen=True)
class Mark:
    """A line with a marker in an optimizer's look: colour, dash lengths and corners for SVG."""

    colour: str
    dashes: str
    corners: str


@dataclass(frozen=True)
class Row:
    """A line of the ranked table, as text; "" where there is nothing to say."""

    mark: Mark
    rank: str
    optimizer: str
    learning_rate: str
    edge: str
    loss: str
    loss_spread: str
    against_best: str
    p_value: str
    accuracy: str
    accuracy_spread: str
    epochs: str
    never: str
    bad: str
    bad_on_grid: str


@dataclass(frozen=True)
class Section:
    """Everything that the page says of one experiment."""

    name: str
    title: str
    description: str
    verdict: str
    unfinished: str
    loss: str
    accuracy: str
    timed: bool
    fresh: bool
    rows: list[Row]
    charts: list[Chart]
    article: ArticleSection | None
    caveats: list[str]
    facts: dict[str, str]
    hyperparameters: dict[str, str]
    reasons: list[str]
    network: str
    command: str
    toml: str


def write_section(
    name: str,
    experiment: dict[str, Any],
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    charts: list[Chart],
    article: ArticleSection | None,
    styles: dict[str, Look],
) -> Section:
    """Return the section of one experiment.

    Parameters
    ----------
    name : of its folder.
    experiment : its experiment.json; any key may be missing.
    runs, summary : its table of runs and `optimlab.statistics.summarize` of it.
    charts : its figures.
    article : what is to be said of it as an experiment of the article.
    styles : the look of each optimizer.
    """
    rests_on = statistics.basis(runs)
    return Section(
        name=name,
        title=str(experiment.get("title") or name),
        description=str(experiment.get("description") or ""),
        verdict=statistics.verdict(summary),
        unfinished=_unfinished(experiment, runs),
        loss="training" if rests_on.loss == "train" else rests_on.loss,
        accuracy="training" if rests_on.accuracy == "train" else rests_on.accuracy or "",
        timed=bool(summary["seeds_never_at_95"].notna().any()),
        fresh=rests_on.reporting == "reporting",
        rows=[_row(record, mark(styles[record["optimizer"]])) for record in summary.to_dict("records")],
        charts=charts,
        article=article,
        caveats=_caveats(runs, summary),
        facts=_facts(experiment, runs),
        hyperparameters=_hyperparameters(experiment),
        reasons=_reasons(runs),
        network=str(experiment.get("network") or ""),
        command=str(experiment.get("command") or f"make sweep EXPERIMENT={name}"),
        toml=str(experiment.get("toml") or ""),
    )


def mark(look: Look) -> Mark:
    """Return a look as the page draws it, the marker about the origin and 8 units wide."""
    style = MarkerStyle(look.marker)
    outline = style.get_path().transformed(style.get_transform())
    corners = np.array(outline.to_polygons()[0]) * 8
    points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in corners)
    return Mark(look.colour, " ".join(f"{2 * length:g}" for length in look.dashes), points)


def _row(record: dict[Any, Any], marked: Mark) -> Row:
    seeds = record["seeds"]
    counts = {status: record[f"runs_{status}"] for status in STATUSES[1:]}
    on_grid = {status: record[f"grid_{status}"] for status in STATUSES[1:]}
    grid = sum(record[f"grid_{status}"] for status in STATUSES)
    percent = {
        key: 100 * record[f"final_accuracy_{key}"] for key in ("median", "quartile_1", "quartile_3")
    }
    never = record["seeds_never_at_95"]
    return Row(
        mark=marked,
        rank="–"
        if pd.isna(record["rank"]) or np.isinf(record["final_loss_median"])
        else str(record["rank"]),
        optimizer=record["optimizer"],
        learning_rate=number(record["learning_rate"]),
        edge={
            "lowest": "lowest of the grid",
            "highest": "highest of the grid",
            "only": "the only one",
        }.get(record["learning_rate_edge"], ""),
        loss=number(record["final_loss_median"], 3),
        loss_spread=_between(
            number(record["final_loss_quartile_1"], 3), number(record["final_loss_quartile_3"], 3)
        ),
        against_best=_against_best(record),
        p_value=_p_value(record),
        accuracy=_fixed(percent["median"], " %"),
        accuracy_spread=_between(_fixed(percent["quartile_1"]), _fixed(percent["quartile_3"])),
        epochs="never"
        if np.isinf(record["epochs_to_95_median"])
        else number(record["epochs_to_95_median"]),
        never="" if pd.isna(never) else f"{never} of {seeds} never",
        bad=_count(counts, seeds) if seeds else "no run yet",
        bad_on_grid=_count(on_grid, grid),
    )


def _fixed(value: float, unit: str = "") -> str:
    return f"{value:.1f}{unit}" if np.isfinite(value) else "–"


def _between(low: str, high: str) -> str:
    return "" if "–" in (low, high) else f"{low}–{high}"


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
    if record["worse_than_best"]:
        return f"worse by {number(record['difference_to_best'], 2)}"
    return "not distinguishable"


def _p_value(record: dict[Any, Any]) -> str:
    value = record["p_value_to_best"]
    return "" if pd.isna(value) else "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _unfinished(experiment: dict[str, Any], runs: pd.DataFrame) -> str:
    expected = experiment.get("runs_expected")
    finished = experiment.get("runs_finished") or len(runs)
    if not expected or finished >= expected:
        return ""
    missing = [
        label for label in experiment.get("optimizers", {}) if label not in set(runs["optimizer"])
    ]
    none = f" There is no run yet of {statistics.join_words(missing)}." if missing else ""
    return f"Unfinished: {finished:,} of {expected:,} runs. Every number below may change.{none}"


def _caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what a careful reader should know before quoting the table."""
    return [
        *_tuning_caveats(runs, summary),
        *_evidence_caveats(runs, summary),
        "All this is about one problem and one budget; another network, data set or schedule may "
        "turn it round.",
    ]


def _tuning_caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what may be wrong with how the learning rates were chosen."""
    rests_on = statistics.basis(runs)
    edges = summary.groupby("learning_rate_edge", sort=False)["optimizer"].agg(list).to_dict()
    caveats = [
        f"The best learning rate of {statistics.join_words(edges[end])} is the {end} of the grid: "
        f"a {beyond} one may be better still, so widen the grid."
        for end, beyond in (("lowest", "smaller"), ("highest", "larger"))
        if end in edges
    ]
    if "only" in edges:
        is_all = len(edges["only"]) == len(summary)
        who = "Every optimizer" if is_all and len(summary) > 1 else statistics.join_words(edges["only"])
        caveats.append(
            f"{who} had one learning rate, so nothing was tuned: another rate may change the order."
        )
    is_tuned = bool((summary["learning_rate_edge"] != "only").any())
    if is_tuned:
        caveats.append("Only the learning rate was tuned, on a coarse grid; all else stood still.")
    if is_tuned and rests_on.tuning == rests_on.reporting:
        caveats.append(
            f"All seeds are {rests_on.reporting} seeds: the same ones choose the learning rates and "
            "give the numbers, which are therefore a little too good."
        )
    return caveats


def _evidence_caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return what the numbers cannot show."""
    rests_on = statistics.basis(runs)
    seeds, needed = int(summary["seeds"].max()), statistics.fewest_seeds(len(summary))
    accuracy = summary["final_accuracy_median"]
    caveats = []
    if seeds < 2:
        caveats.append("One seed shows no spread: there are no intervals and there is no test.")
    elif seeds < needed and len(summary) > 1:
        caveats.append(
            f"With {seeds} seeds no test among {len(summary)} optimizers can reject at 5 %, "
            f"however large the differences; it takes {needed}."
        )
    if rests_on.loss == "train":
        caveats.append("There is no validation loss: the training loss decides.")
    if rests_on.accuracy in ("validation", "train"):
        name = "training" if rests_on.accuracy == "train" else "validation"
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
        facts["Time"] = f"{_duration(last['seconds'])} for the last {last.get('runs', 0):,} runs"
    for key, value in (experiment.get("environment") or {}).items():
        if value not in (None, ""):
            facts[{"cpu": "CPU", "blas": "BLAS"}.get(key, key)] = str(value)
    return facts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _hyperparameters(experiment: dict[str, Any]) -> dict[str, str]:
    """Return label → its rule and the hyper-parameters that stood still."""
    described = {}
    for label, optimizer in (experiment.get("optimizers") or {}).items():
        values = [
            f"{name} {number(value) if isinstance(value, float) else value}"
            for name, value in (optimizer.get("hyperparameters") or {}).items()
        ]
        rule = optimizer.get("rule", label)
        described[label] = ", ".join(([rule] if rule != label else []) + values) or "none"
    return described


def _reasons(runs: pd.DataFrame) -> list[str]:
    """Return the commonest reasons of runs that failed, with their counts."""
    failed = runs[runs["status"] == "failed"]
    whats = failed["optimizer"] + ": " + failed["reason"].replace("", "no reason recorded")
    return [f"{what} ({count:,} runs)" for what, count in whats.value_counts().head(5).items()]
