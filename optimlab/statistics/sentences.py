"""The verdict: sentences that state what the numbers show, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from optimlab.formatting import join_words, number, rounded_up, split_name
from optimlab.statistics.resampling import LEVEL
from optimlab.statistics.summary import STANDINGS, Comparison
from optimlab.statistics.targets import TARGET_ACCURACY
from optimlab.statuses import STATUSES

# Words on the best optimizer, and on several that end alike on every seed.
ONE = ("its", "is", "it", "ends with")
SEVERAL = ("their", "are", "them", "end alike on every seed, with")


def verdict(comparison: Comparison) -> list[str]:
    """Return what the evidence shows, and what it does not show.

    Returns
    -------
    One to four short texts. The first is about the final loss at the chosen learning rates; the others,
    about the test set, the speed and the textbook rates, are left out if there is nothing to say.
    """
    finished = comparison.summary[typical_run_learnt(comparison.summary)]
    if finished.empty:
        what = "at no learning rate" if comparison.is_only_rate else "with no candidate"
        return [f"No optimizer can be recommended: {what} did the typical run learn anything."]
    texts = [_on_final_loss(comparison, finished.iloc[0].to_dict())]
    if len(comparison.summary) > 1 and _can_claim(comparison):
        texts += [_on_test_loss(comparison), _on_speed(comparison), _on_defaults(comparison)]
    return [text for text in texts if text]


def _can_claim(comparison: Comparison) -> bool:
    """Return whether there are enough seeds for any claim."""
    return bool(comparison.pairs["seeds"].max() >= comparison.fewest_seeds)


def typical_run_learnt(summary: pd.DataFrame) -> pd.Series:
    """Return for each optimizer whether its median is finite and half of its reported runs are ok."""
    return np.isfinite(summary["final_loss_median"]) & (2 * summary["runs_ok"] >= summary["seeds"])


def _on_final_loss(comparison: Comparison, best: dict[Any, Any]) -> str:
    """Say which optimizer ends lowest, and which are shown to end higher."""
    summary = comparison.summary
    rest = summary[summary["rank"].notna() & (summary["optimizer"] != best["optimizer"])]
    pairs = _with(comparison.pairs, best["optimizer"], "tuned")
    loss, value = f"final {split_name(best['loss'])} loss", _loss(best["final_loss_median"])
    equal = _equals(comparison, best["optimizer"])
    name = join_words([_praised(comparison, each) for each in (best["optimizer"], *equal)])
    seeds, paired = int(best["seeds"]), int(min(pairs["seeds"], default=0))
    if seeds == 1 and paired < 2:
        lowest = ", the lowest," if len(rest) and not equal else ","
        return (
            f"{name} {'end' if equal else 'ends'} with a {loss} of {value}{lowest} but on one seed, "
            "which cannot separate the optimizer from luck."
        )
    counted = _counted(comparison, seeds, paired)
    if rest.empty:
        return f"{name} reaches a median {loss} of {value} ({counted}); it has no rival here."
    its, is_or_are, it, ends = SEVERAL if equal else ONE
    lowest = f"{name} {ends} the lowest median {loss}, {value}"
    if paired < comparison.fewest_seeds:
        kind = "distinct " if paired < summary["seeds"].min() else ""  # others are copies
        few = f"{paired} {kind}seed{'s' * (paired != 1)} {'is' if paired == 1 else 'are'} too few"
        needed = f"{comparison.fewest_seeds} are needed"
        return f"{lowest}, but {few} to tell {len(rest) + 1} optimizers apart; {needed}."
    gaps = comparison.differences
    if gaps.loc[gaps["setting"] == "tuned", "difference"].eq(0).all():
        all_of_them = "Both optimizers" if len(rest) == 1 else f"All {len(rest) + 1} optimizers"
        return f"{all_of_them} tie: on {counted} none differs from another in {loss}."
    rest = rest[~rest["optimizer"].isin(equal)]
    groups = {standing: rest[rest["standing"] == standing] for standing in STANDINGS}
    worse = groups["worse"]
    luck = ", counting the luck of tuning" if comparison.is_tuned else ""
    shown = ""
    if len(worse):
        is_hidden = worse["final_loss_median"].map(_loss).eq(value).any()
        by = ", by less than the digits shown" if is_hidden else ""
        shown = f"(adjusted {_at_most(worse['p_value_to_best'])}{by})"
    if len(worse) == len(rest):
        second = _named(rest.iloc[0].to_dict())
        others = f"the next is {second}, and every other is" if len(rest) > 1 else f"and {second} is"
        return (
            f"{name} {is_or_are} the best here: on {counted} {its} median {loss} is {value}, "
            f"{others} worse{luck} {shown}."
        )
    names = [_named(row) for row in groups["undecided"].to_dict("records")]
    text = f"{lowest}, on {counted}."
    if names:
        apart = f"{_are(names)} not distinguishable from {it}"
        text = f"{lowest}, but on {counted} {join_words(names)} {apart}."
    for standing, says in (
        ("practically equal", f"practically equal to {it}"),
        ("worse", f"worse{luck} {shown}"),
    ):
        rows = groups[standing].to_dict("records")
        names = [_named_beside(best, row, pairs, tuned_again=bool(luck)) for row in rows]
        text += f" {join_words(names)} {_are(names)} {says}." if names else ""
    names = [_named(row) for row in groups["better"].to_dict("records")]
    if names:
        p_value = _at_most(groups["better"]["p_value_to_best"])
        what = "learning rate" if comparison.is_only_rate else "candidate"
        text += (
            f" Yet {join_words(names)} {_are(names)} shown to be better if the {what} is chosen "
            f"many times (adjusted {p_value}): {best['optimizer']} was lucky here."
        )
    return text


def _counted(comparison: Comparison, seeds: int, paired: int) -> str:
    """Return the number of reported seeds as text; where it is one, with those compared beside it."""
    text = f"{seeds} {'fresh ' * comparison.has_fresh_seeds}seed{'s' * (seeds != 1)}"
    return f"{text} and {paired - 1} tuning ones" if seeds == 1 else text


def _on_test_loss(comparison: Comparison) -> str:
    """Say where the test set, on which no choice depends, orders the optimizers differently."""
    summary = comparison.summary
    tested = summary[np.isfinite(summary["test_loss_median"])]
    if len(tested) < 2:
        return ""
    pairs = comparison.pairs[comparison.pairs["setting"] == "tuned"]
    turned = pairs[pairs["test_different"] & (pairs["test_favours"] == pairs["worse"])]
    if len(turned):
        texts = [
            f"{_praised(comparison, row['worse'])} ends lower than {row['better']}"
            for row in turned.to_dict("records")
        ]
        p_value = _at_most(turned["test_p_value_adjusted"])
        return f"On the test set the order differs: {join_words(texts)} (adjusted {p_value})."
    first = tested.sort_values("test_loss_median", kind="stable").iloc[0]
    if first["optimizer"] == summary["optimizer"].iloc[0]:
        return ""
    name = _with_failures(first.to_dict())
    return (
        f"On the test set, on which no choice depends, {name} has the lowest median loss "
        f"({_loss(first['test_loss_median'])}), but no other order than the one above is shown."
    )


def _on_speed(comparison: Comparison) -> str:
    """Say which optimizer reaches the target accuracy sooner than which others, if that is shown."""
    medians = comparison.summary.set_index("optimizer")["epochs_to_95_median"]
    pairs = comparison.pairs[comparison.pairs["setting"] == "tuned"]
    if not np.isfinite(medians).any():
        return ""
    what = f"{100 * TARGET_ACCURACY:g} % validation accuracy"
    slower: dict[str, dict[str, tuple[float, float]]] = {}
    for row in pairs[pairs["epochs_different"]].to_dict("records"):
        faster, share = row["epochs_favour"], row["epochs_share_won"]
        other, share = (row["worse"], share) if faster == row["better"] else (row["better"], 1 - share)
        slower.setdefault(faster, {})[other] = share, row["epochs_p_value_adjusted"]
    if not slower:
        return f"No optimizer is shown to reach {what} sooner than another."
    leader = min(slower, key=lambda name: (-len(slower[name]), medians[name]))
    others = sorted(slower[leader], key=lambda name: medians[name])
    shares = [slower[leader][name][0] for name in others]
    percents = join_words(
        [_percent(share) for share in (shares if len(set(shares)) > 1 else shares[:1])]
    )
    often = "every seed" if min(shares) == 1 else f"{percents} of the seeds, counting ties as half"
    p_value = _at_most([p_value for _, p_value in slower[leader].values()])
    tied = [name for name in comparison.summary["optimizer"] if slower.get(name) == slower[leader]]
    praised = join_words([_praised(comparison, name) for name in tied])
    reach = "reaches {}, and stays" if len(tied) == 1 else "reach {}, and stay"
    return (
        f"{praised} {reach.format(what)} there, sooner than {join_words(others)}: on {often} "
        f"(adjusted {p_value})."
    )


def _on_defaults(comparison: Comparison) -> str:
    """Say which optimizer ends lowest at the textbook rates, and which are shown to be worse."""
    summary = comparison.summary
    tried = summary[summary["default_seeds"] > 0]
    learnt = np.isfinite(tried["default_loss_median"]) & (
        2 * tried["default_ok"] >= tried["default_seeds"]
    )
    gaps = comparison.differences
    do_all_tie = gaps.loc[gaps["setting"] == "default", "difference"].eq(0).all()
    if len(tried) < 2 or not learnt.any() or do_all_tie:
        return ""
    lowest = tried.loc[learnt, "default_loss_median"].min()
    firsts = tried[learnt & (tried["default_loss_median"] == lowest)].to_dict("records")
    best = firsts[0]
    pairs = _with(comparison.pairs, best["optimizer"], "default")
    beaten = pairs[pairs["different"] & (pairs["favours"] == best["optimizer"])]
    of = "" if len(tried) == len(summary) else f" of the {len(tried)} whose rate is on the grid"
    names = [_untuned(row) for row in firsts]
    at = "at textbook learning rates" if comparison.is_only_rate else "with textbook hyper-parameters"
    ends = "ends" if len(names) == 1 else "end"
    text = f"Untuned, {at}, {join_words(names)} {ends} lowest{of} ({_loss(lowest)})"
    if beaten.empty:
        return f"{text}, but no other is shown to be worse."
    p_value = _at_most(beaten["p_value_adjusted"])
    if len(beaten) == len(tried) - len(firsts) > 1:
        return f"{text}, and every other is worse (adjusted {p_value})."
    losers = [
        row["worse"] if row["favours"] == row["better"] else row["better"]
        for _, row in beaten.iterrows()
    ]
    return f"{text}; {join_words(losers)} {_are(losers)} worse (adjusted {p_value})."


def _untuned(row: dict[Any, Any]) -> str:
    """Return an optimizer and how many of its runs with textbook values went wrong."""
    bad = _bad_runs({status: row[f"default_{status}"] for status in STATUSES[1:]}, row["default_seeds"])
    return f"{row['optimizer']} ({bad})" if bad else str(row["optimizer"])


def _with(table: pd.DataFrame, name: str, setting: str) -> pd.DataFrame:
    """Return the rows of a table of pairs that compare an optimizer with another in a setting."""
    return table[(table["setting"] == setting) & (table[["better", "worse"]] == name).any(axis=1)]


def _equals(comparison: Comparison, name: str) -> list[str]:
    """Return the optimizers that end exactly like another one on every seed, tuned."""
    gaps = _with(comparison.differences, name, "tuned")
    others = gaps["better"].where(gaps["better"] != name, gaps["worse"])
    is_equal = gaps["difference"].eq(0).groupby(others, sort=False).all()
    return list(is_equal.index[is_equal])


def _named(row: dict[Any, Any]) -> str:
    """Return an optimizer with its loss, or what made that infinite: "Adam (0.0958)"."""
    infinite = np.isinf(row["final_loss_median"])
    return f"{row['optimizer']} ({failures_of(row) if infinite else _loss(row['final_loss_median'])})"


def _named_beside(
    best: dict[Any, Any], row: dict[Any, Any], pairs: pd.DataFrame, *, tuned_again: bool
) -> str:
    """Return an optimizer with its loss; where equal ones have unequal medians, with what is equal."""
    name = _named(row)
    pair = pairs[(pairs[["better", "worse"]] == row["optimizer"]).any(axis=1)].iloc[0]
    gap = abs(row["final_loss_median"] - best["final_loss_median"])
    if row["standing"] != "practically equal" or gap <= pair["equal_within"]:
        return name
    losses = f"{_loss(row['retuned_loss'])} against {_loss(best['retuned_loss'])}"
    how = "when tuned again" if tuned_again else "in the interquartile mean"
    return f"{name[:-1]}; {losses} {how})"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _loss(value: float) -> str:
    return number(value, 3)


def _percent(share: float) -> str:
    """Return a share in percent; only all of the seeds are 100 %."""
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _praised(comparison: Comparison, name: str) -> str:
    """Return an optimizer of the summary with its failures."""
    summary = comparison.summary
    return _with_failures(summary[summary["optimizer"] == name].iloc[0].to_dict())


def failures_of(row: dict[Any, Any]) -> str:
    """Return how many runs of an optimizer went wrong, as text; "" if none did."""
    return _bad_runs({status: int(row[f"runs_{status}"]) for status in STATUSES[1:]}, row["seeds"])


def _with_failures(row: dict[Any, Any]) -> str:
    """Return an optimizer and how many of its runs went wrong, which every praise must mention."""
    bad = failures_of(row)
    return f"{row['optimizer']} ({bad})" if bad else str(row["optimizer"])


def _bad_runs(counts: dict[str, int], of: int) -> str:
    """Return "7 of 18 runs diverged"."""
    texts: list[str] = []
    for status, count in counts.items():
        if count:
            runs = f"{count} of {of} runs" if not texts else f"{count}"
            was = ("was " if count == 1 else "were ") * (status == "stuck")
            texts.append(f"{runs} {was}{status}")
    return join_words(texts)


def _at_most(p_values: Sequence[float] | pd.Series) -> str:
    """Return the largest p-value as text: "p = 0.015", "p ≤ 0.015" of several, or "p < 0.001"."""
    largest = max(p_values)
    if largest < 0.001:
        return "p < 0.001"
    return f"p {'=' if len(p_values) == 1 else '≤'} {rounded_up(largest, LEVEL)}"
