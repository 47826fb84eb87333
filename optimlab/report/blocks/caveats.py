"""Caveats: what a careful reader should know before quoting the tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from optimlab import statistics
from optimlab.formatting import join_words, split_name
from optimlab.report.problem_result import ProblemResult
from optimlab.storage.environment import describe_computing


def caveats(experiment: dict[str, Any], contests: dict[str, ProblemResult]) -> list[str]:
    """Return what a careful reader should know before quoting the tables.

    Parameters
    ----------
    experiment : its experiment.json; any key may be missing.
    contests : problem → the optimizers on it.
    """
    return [
        *_of_problems(contests),
        *_luck_of_the_split(experiment, contests),
        *_looks(experiment),
        *_mixed(experiment),
    ]


def _of_problems(contests: dict[str, ProblemResult]) -> list[str]:
    """Return the caveats of each problem; what holds for all of them once."""
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
    what = "candidates" if "hyperparameters" in summary else "learning rates"
    if is_tuned:
        caveats.append(
            "Only the learning rate was tuned, on a coarse grid; other hyper-parameters were held fixed."
            if "hyperparameters" not in summary
            else "Hyper-parameters without an axis were held fixed; so were the ends of the axes."
        )
    if is_tuned and rests_on.tuning == rests_on.reporting:
        caveats.append(
            f"All seeds are {rests_on.reporting} seeds: the same ones choose the {what} and "
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


def _mixed(experiment: dict[str, Any]) -> list[str]:
    """Return what is to be said of results that were computed on different machines."""
    computed = experiment.get("computed", [])
    parts = {describe_computing(part.get("by", {})): part.get("runs", 0) for part in computed}
    if len(parts) < 2:
        return []
    counts = "; ".join(f"{runs:,} runs by {by}" for by, runs in parts.items())
    return [f"These results are mixed, so their last bits may differ where they need not: {counts}."]
