"""The verdict: sentences that say what the numbers show, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from optimlab.statistics.intervals import LEVEL
from optimlab.statistics.pairs import fewest_seeds
from optimlab.statistics.summary import Comparison
from optimlab.statistics.targets import TARGET_ACCURACY
from optimlab.wording import join_words, number, split_name


def verdict(comparison: Comparison) -> list[str]:
    """Return what the evidence says, and does not say: the final loss, the speed, and the defaults.

    Returns
    -------
    One to three short texts. The first is about the final loss at the chosen learning rates; the others
    are there where there is something to say.
    """
    finished = comparison.summary[typical_run_learnt(comparison.summary)]
    if finished.empty:
        return ["No optimizer can be recommended: at no learning rate did the typical run learn."]
    said = [_on_final_loss(comparison, finished.iloc[0].to_dict())]
    if len(comparison.summary) > 1 and finished["seeds"].iloc[0] > 1:
        said += [text for text in (_on_speed(comparison), _on_defaults(comparison)) if text]
    return said


def typical_run_learnt(summary: pd.DataFrame) -> pd.Series:
    """Return for each optimizer whether its median is finite and half of its reported runs are ok."""
    return np.isfinite(summary["final_loss_median"]) & (2 * summary["runs_ok"] >= summary["seeds"])


def _on_final_loss(comparison: Comparison, best: dict[Any, Any]) -> str:
    """Say who ends lowest, and who is shown to end higher."""
    summary = comparison.summary
    rest = summary[summary["rank"].notna() & (summary["optimizer"] != best["optimizer"])]
    pairs = comparison.pairs[comparison.pairs["setting"] == "tuned"]
    of_pairs = pairs.loc[pairs["better"] == best["optimizer"], "seeds"]
    seeds = int(min(best["seeds"], of_pairs.min() if len(of_pairs) else best["seeds"]))
    loss, value = f"final {split_name(best['loss'])} loss", _loss(best["final_loss_median"])
    if best["seeds"] == 1:
        text = f"{best['optimizer']} ends with a {loss} of {value}"
        lowest = ", the lowest," if len(rest) else ","
        return f"{text}{lowest} but on one seed: that does not tell an optimizer from luck."
    counted = f"{seeds} {'fresh ' if best['reported_on'] == 'reporting' else ''}seed{'s' * (seeds != 1)}"
    if rest.empty:
        return (
            f"{best['optimizer']} reaches a median {loss} of {value} ({counted}); it has no rival here."
        )
    lowest = f"{best['optimizer']} ends with the lowest median {loss}, {value}"
    needed = fewest_seeds(len(rest) + 1)
    if seeds < needed:
        few = (
            f"{counted} {'is' if seeds == 1 else 'are'} too few to tell {len(rest) + 1} optimizers apart"
        )
        return f"{lowest}, but {few}: it takes {needed}."
    if (
        comparison.differences.loc[comparison.differences["setting"] == "tuned", "difference"]
        .eq(0)
        .all()
    ):
        who = "Both optimizers" if len(rest) == 1 else f"All {len(rest) + 1} optimizers"
        return f"{who} tie: on {counted} none differs from another in {loss}."
    worse = rest["worse_than_best"].fillna(value=False).astype(bool)
    if worse.all():
        second = rest.iloc[0].to_dict()
        p_value = _at_most(rest["p_value_to_best"])
        return (
            f"{best['optimizer']} is the best here: on {counted} its median {loss} is {value}, "
            f"the next is {_named(second)}, and the paired tests find every other worse "
            f"(adjusted {p_value})."
        )
    equal = [_named(row) for row in rest[~worse].to_dict("records")]
    higher = [_named(row) for row in rest[worse].to_dict("records")]
    text = f"{lowest}, but on {counted} {join_words(equal)} {_are(equal)} not distinguishable from it."
    if higher:
        p_value = _at_most(rest.loc[worse, "p_value_to_best"])
        shown = [
            row for row in rest[worse].to_dict("records") if _loss(row["final_loss_median"]) == value
        ]
        by = ", if by less than is shown here" if shown else ""
        text += f" {join_words(higher)} {_are(higher)} worse (adjusted {p_value}{by})."
    return text


def _on_speed(comparison: Comparison) -> str:
    """Say who gets to the target accuracy in fewer epochs than whom, if that is shown of any."""
    medians = comparison.summary.set_index("optimizer")["epochs_to_95_median"]
    pairs = comparison.pairs[comparison.pairs["setting"] == "tuned"]
    if not np.isfinite(medians).any():
        return ""
    what = f"{100 * TARGET_ACCURACY:g} % validation accuracy"
    slower: dict[str, dict[str, float]] = {}
    for row in pairs[pairs["epochs_p_value_adjusted"] < LEVEL].to_dict("records"):
        faster = row["epochs_favour"]
        other = row["worse"] if faster == row["better"] else row["better"]
        slower.setdefault(faster, {})[other] = row["epochs_p_value_adjusted"]
    if not slower:
        return f"No optimizer is shown to reach {what} in fewer epochs than another."
    leader = min(slower, key=lambda name: (-len(slower[name]), medians[name]))
    others = sorted(slower[leader], key=lambda name: medians[name])
    named = join_words([f"{name} ({_epochs(medians[name])})" for name in others])
    p_value = _at_most(list(slower[leader].values()))
    return (
        f"At those learning rates, {leader} reaches {what}, and stays there, in fewer "
        f"epochs than {named}: in a median of {_epochs(medians[leader])} (adjusted {p_value})."
    )


def _on_defaults(comparison: Comparison) -> str:
    """Say who ends lowest with the textbook learning rates, and whether others are shown to be worse."""
    summary = comparison.summary
    tried = summary[summary["default_seeds"] > 0]
    learnt = np.isfinite(tried["default_loss_median"]) & (
        2 * tried["default_ok"] >= tried["default_seeds"]
    )
    if len(tried) < 2 or not learnt.any():
        return ""
    best = tried[learnt].sort_values("default_loss_median", kind="stable").iloc[0].to_dict()
    pairs = comparison.pairs[comparison.pairs["setting"] == "default"]
    mine = pairs[(pairs["better"] == best["optimizer"]) | (pairs["worse"] == best["optimizer"])]
    beaten = mine[mine["different"] & (mine["favours"] == best["optimizer"])]
    of = "" if len(tried) == len(summary) else f", of the {len(tried)} whose rate is on the grid,"
    text = f"Untuned, at textbook learning rates, {best['optimizer']}{of} ends lowest "
    text += f"({_loss(best['default_loss_median'])})"
    if beaten.empty:
        return f"{text}, but none is shown to be worse."
    p_value = _at_most(beaten["p_value_adjusted"])
    if len(beaten) == len(tried) - 1:
        return f"{text}, and every other is worse (adjusted {p_value})."
    losers = [
        row["worse"] if row["favours"] == row["better"] else row["better"]
        for _, row in beaten.iterrows()
    ]
    return f"{text}; {join_words(losers)} {_are(losers)} worse (adjusted {p_value})."


def _named(row: dict[Any, Any]) -> str:
    """Return an optimizer with its loss: "Adam (0.0958)"."""
    infinite = np.isinf(row["final_loss_median"])
    return f"{row['optimizer']} ({'most runs failed' if infinite else _loss(row['final_loss_median'])})"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _loss(value: float) -> str:
    return number(value, 3)


def _epochs(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "not in half of the runs"


def _at_most(p_values: Sequence[float] | pd.Series) -> str:
    """Return the largest p-value in words: "p = 0.015", "p ≤ 0.015" of several, or "p < 0.001"."""
    largest = max(p_values)
    if largest < 0.001:
        return "p < 0.001"
    digits = f"{largest:.2g}" if f"{largest:.2g}" != f"{LEVEL:.2g}" else f"{largest:.3g}"
    return f"p {'=' if len(p_values) == 1 else '≤'} {digits}"
