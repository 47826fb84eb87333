"""Limitations: what a careful reader should know before quoting the tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from optimlab import statistics
from optimlab.formatting import join_words, split_name
from optimlab.report.problem_result import ProblemResult
from optimlab.statistics import Comparison
from optimlab.storage.environment import describe_computing


def caveats(experiment: dict[str, Any], by_problem: dict[str, ProblemResult]) -> list[str]:
    """Return the limitations of an experiment, one text each.

    Parameters
    ----------
    experiment : its experiment.json; any key may be missing.
    by_problem : problem → the results on it.
    """
    return [
        *_of_problems(by_problem),
        *_luck_of_the_split(experiment, by_problem),
        *_looks(experiment),
        *_mixed(experiment),
    ]


def _of_problems(by_problem: dict[str, ProblemResult]) -> list[str]:
    """Return the limitations of each problem; those that hold for all of them only once."""
    known = {problem: _caveats_of(result) for problem, result in by_problem.items()}
    if len(known) == 1:
        return next(iter(known.values()))
    every = list(dict.fromkeys(text for texts in known.values() for text in texts))
    general = [text for text in every if all(text in texts for texts in known.values())]
    return [
        "Each problem is a separate comparison, with its own chosen learning rates and its own error "
        f"rate of 5 %: among {len(known)} problems, some claim is more often false than on one.",
        *(
            f"{problem}: {text}"
            for problem, texts in known.items()
            for text in texts
            if text not in general
        ),
        *general,
    ]


def _caveats_of(result: ProblemResult) -> list[str]:
    return [
        *_tuning_caveats(result.runs, result.comparison.summary),
        *_evidence_caveats(result.runs, result.comparison),
        "The seeds support claims about the problem as it was run: another network, data set, budget or "
        "schedule may reverse them. Bands in the charts are pointwise: a single run may leave them.",
    ]


def _tuning_caveats(runs: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return the limitations of how the learning rates were chosen."""
    rests_on = statistics.basis(runs)
    only = list(summary.loc[summary["learning_rate_edge"] == "only", "optimizer"])
    caveats = []
    if only:
        is_all = len(only) == len(summary)
        labels = "Every optimizer" if is_all and len(summary) > 1 else join_words(only)
        what = "change the order" if len(summary) > 1 else "do better"
        caveats.append(f"{labels} had one learning rate, so nothing was tuned: another rate may {what}.")
    is_tuned = bool((summary["learning_rate_edge"] != "only").any())
    what = "candidates" if "hyperparameters" in summary else "learning rates"
    if is_tuned:
        caveats.append(
            "Only the learning rate was tuned, on a coarse grid; other hyper-parameters were held fixed."
            if "hyperparameters" not in summary
            else "Other hyper-parameters were held fixed, and the tuned ranges were chosen in advance."
        )
    if is_tuned and rests_on.tuning == rests_on.reporting:
        caveats.append(
            f"All seeds are {rests_on.reporting} seeds: the same seeds choose the {what} and "
            "give the numbers, which are therefore slightly optimistic."
        )
    return caveats


def _evidence_caveats(runs: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Return the limitations of the evidence."""
    rests_on, summary = comparison.basis, comparison.summary
    seeds, needed = len(runs["seed"].unique()), comparison.fewest_seeds
    accuracy = summary["final_accuracy_median"]
    caveats = []
    if seeds < 2:
        caveats.append("One seed shows no spread, so there are no intervals and no tests.")
    elif summary["seeds"].max() < 2:
        caveats.append(
            "One reporting seed shows no spread, so the medians have no intervals. Comparisons are over "
            "all seeds, since tuning again reports on each of them."
        )
    if 1 < seeds < needed and len(summary) > 1:
        caveats.append(
            f"With {seeds} seeds, no claim about {len(summary)} optimizers is possible, "
            f"however large the differences; at least {needed} are needed."
        )
    if rests_on.loss == "train" and runs["final_train_loss"].notna().any():
        caveats.append("There is no validation loss, so the training loss decides.")
    if rests_on.accuracy in ("validation", "train"):
        name = split_name(rests_on.accuracy)
        caveats.append(f"There is no test set, so the accuracy is that of the {name} set.")
    if accuracy.notna().any() and accuracy.iloc[0] < accuracy.max():
        best = list(summary.loc[accuracy == accuracy.max(), "optimizer"])
        have = "has" if len(best) == 1 else "have"
        caveats.append(
            f"By {split_name(str(rests_on.accuracy))} accuracy the order differs: {join_words(best)} "
            f"{have} the highest median. All medians lie between {100 * accuracy.min():.1f} % and "
            f"{100 * accuracy.max():.1f} %."
        )
    if runs["status"].eq("failed").any():
        caveats.append("Some runs failed (the reasons are below). They rank behind all others.")
    return caveats


def _luck_of_the_split(experiment: dict[str, Any], by_problem: dict[str, ProblemResult]) -> list[str]:
    """Return what follows from the validation set being one of many that could have been drawn."""
    if all(each.comparison.basis.loss != "validation" for each in by_problem.values()):
        return []
    problems = [about.get("problem") or {} for about in (experiment.get("problems") or {}).values()]
    splits = [each.get("split") for each in problems]
    if problems and all(isinstance(split, dict) and split.get("resample") for split in splits):
        return [
            "Each seed draws its own split of the data, so the intervals include the luck of the split."
        ]
    luck = (
        "A single validation set chooses and ranks. Another split of the data would shift all losses; "
        "the intervals do not include that, and more seeds do not average it out"
    )
    is_digits = problems and all(
        each.get("name") == "digits" and each.get("split", "default") == "default" for each in problems
    )
    if not is_digits:
        return [f"{luck}."]
    return [
        f"{luck}. On 20 other splits of the digits, with the default network, the losses of the five "
        "optimizers at their chosen rates varied by 12 to 20 % (standard deviation), mostly together: "
        "the differences between two of them varied by at most 0.007."
    ]


def _looks(experiment: dict[str, Any]) -> list[str]:
    """Return what follows from seeds having been added in rounds."""
    looks = experiment.get("looks") or []
    if not looks:
        return []
    counts = join_words([f"{seeds:,}" for seeds in looks])
    level = statistics.level_of_look(len(looks))
    return [
        f"Seeds were added in rounds, with a look at the results after {counts} reporting seeds. To "
        "keep the risk of any false claim over all looks at 5 %, this look has a level of "
        f"{100 * level:.2g} %; the intervals of differences and the adjusted p-values allow for that."
    ]


def _mixed(experiment: dict[str, Any]) -> list[str]:
    """Return a note on results that were computed on different machines."""
    computed = experiment.get("computed", [])
    parts = {describe_computing(part.get("by", {})): part.get("runs", 0) for part in computed}
    if len(parts) < 2:
        return []
    counts = "; ".join(f"{runs:,} runs by {by}" for by, runs in parts.items())
    return [f"These results come from different set-ups, so their last bits may differ: {counts}."]
