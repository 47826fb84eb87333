"""Lessons from tuning: searches that were too small, when the final ranking emerges, rate ratios."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import RATE, Axis
from optimlab.formatting import join_words, number
from optimlab.optimizers.inclusion import INCLUSIONS
from optimlab.statistics.ranking import cross_table, quantile
from optimlab.statistics.resampling import LEVEL
from optimlab.statistics.retuning import Retuning
from optimlab.statistics.spaces import Space

Array = np.ndarray

POSITIONS = 50  # along a run, at which two optimizers are compared
MOST_NAMED = 3  # reversed pairs
LARGE = 1e-2  # a search over eps up to here or beyond may find one far above √v


@dataclass(frozen=True)
class Alarm:
    """An optimizer that contains another, yet ends higher.

    Attributes
    ----------
    wider, narrower : their labels.
    words : how one contains the other.
    losses : the median final losses of the two.
    is_shown : whether the difference is shown.
    """

    wider: str
    narrower: str
    words: str
    losses: tuple[float, float]
    is_shown: bool


def inclusion_alarms(
    summary: pd.DataFrame, pairs: pd.DataFrame, spaces: Mapping[str, Space]
) -> list[Alarm]:
    """Return the optimizers that end higher than one that they contain: their search was too small.

    An optimizer contains another of the same rule if its search covers the other's, and one of another
    rule as declared in `optimlab.optimizers.inclusion`, if its search reaches those values.

    Parameters
    ----------
    summary, pairs : from `optimlab.statistics.compare_optimizers`.
    spaces : optimizer → its tuned space.
    """
    rows = summary.set_index("optimizer")
    found = []
    for wider, narrower in itertools.permutations(rows.index, 2):
        words = _contains(
            rows.loc[wider, "rule"], spaces[wider], rows.loc[narrower, "rule"], spaces[narrower]
        )
        losses = rows.loc[wider, "final_loss_median"], rows.loc[narrower, "final_loss_median"]
        if not words or not losses[0] > losses[1]:
            continue
        pair = pairs[
            (pairs["setting"] == "tuned") & (pairs["better"] == narrower) & (pairs["worse"] == wider)
        ]
        is_shown = bool((pair["different"] & (pair["favours"] == narrower)).any())
        found.append(Alarm(str(wider), str(narrower), words, losses, is_shown))
    return found


def _contains(rule: str, space: Space, other_rule: str, other: Space) -> str:
    """Return how an optimizer contains another, as text; "" if it does not."""
    if rule == other_rule:
        wider = {axis.name: axis for axis in space.axes}
        rest = {axis.name for axis in other.axes}
        is_wider = len(space.axes) > len(other.axes) and rest <= wider.keys()
        covered = is_wider and all(
            _covers(wider[name], value)
            for number_ in other.tried
            for name, value in other.candidates[number_].items() if name in wider
        )  # fmt: skip
        more = join_words([name for name in wider if name not in rest])
        return f"it is the same rule, and {more} is tuned, too" if covered else ""
    for each in INCLUSIONS:
        if (each.wider, each.narrower) != (rule, other_rule):
            continue
        is_there = all(_reaches(space, name, value) for name, value in each.at.items())
        is_so = all(_is_always(other, name, value) for name, value in each.narrower_at.items())
        is_same = all(_follows(space, name, other, other_name) for name, other_name in each.same.items())
        if is_there and is_so and is_same and not space.is_only_rate:
            return each.words
    return ""


def _follows(space: Space, name: str, other: Space, its: str) -> bool:
    """Return whether a hyper-parameter of a space can take all values of one of another space."""
    if any(axis.name == its for axis in other.axes):
        return any(axis.name == name for axis in space.axes)
    values = {other.candidates[number_].get(its) for number_ in other.tried}
    return all(isinstance(each, int | float) and _reaches(space, name, each) for each in values)


def _covers(axis: Axis, value: object) -> bool:
    if not axis.is_span:
        return value in axis.levels
    return isinstance(value, int | float) and axis.low <= value <= axis.high


def _reaches(space: Space, name: str, value: float) -> bool:
    """Return whether a candidate can have this value of a hyper-parameter, or one near it."""
    axis = next((axis for axis in space.axes if axis.name == name), None)
    if axis is None:
        return bool(space.candidates) and _is_always(space, name, value)
    if math.isinf(value):
        numbers = [each for each in axis.levels if isinstance(each, int | float)]
        return (axis.high if axis.is_span else max(numbers, default=0.0)) >= LARGE
    return _covers(axis, value)


def _is_always(space: Space, name: str, value: float) -> bool:
    return all(space.candidates[number_].get(name) == value for number_ in space.tried)


def foretold(
    reported: pd.DataFrame, traces: pd.DataFrame, metric: str, pairs: pd.DataFrame
) -> pd.DataFrame:
    """Return when in a run the final order of each pair emerges.

    Parameters
    ----------
    reported : the runs at the chosen candidates.
    traces : the traces of these and others.
    metric : the loss that ranks the optimizers.
    pairs : of `optimlab.statistics.compare_optimizers`.

    Returns
    -------
    One row per pair and share of the run: better, worse (by the final median), share (of the run, 0 to
    1), ahead (the share of seeds on which the better one is ahead there, ties half), different (whether
    the final difference is shown).
    """
    columns = ["better", "worse", "share", "ahead", "different"]
    known = reported.drop_duplicates("run_id").set_index("run_id")
    records = traces[traces["run_id"].isin(known.index) & (traces["step"] > 0)]
    if records.empty or metric not in records:
        return pd.DataFrame(columns=columns)
    steps = np.unique(records["step"])
    some = steps[np.unique(np.linspace(0, len(steps) - 1, POSITIONS).round().astype(int))]
    records = records[records["step"].isin(some)]
    records = records.assign(**{metric: records[metric].fillna(np.inf)})
    tables = {
        str(label): cross_table(group, "seed", "step", metric)
        for label, group in records.groupby("optimizer")
    }
    tuned = pairs[pairs["setting"] == "tuned"]
    rows = []
    for row in tuned.to_dict("records"):
        one, other = tables.get(row["better"]), tables.get(row["worse"])
        if one is None or other is None:
            continue
        one, other = one.align(other, join="inner")
        ahead = ((one < other) + 0.5 * (one == other)).mean()
        rows += [
            (row["better"], row["worse"], step / steps[-1], share, bool(row["different"]))
            for step, share in ahead.items()
        ]
    return pd.DataFrame(rows, columns=columns)


def settled_from(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return pair → the share of the run after which the better one stays ahead on most seeds.

    It is 1 if that never happens.
    """
    found = {}
    for (better, worse), group in table.groupby(["better", "worse"], sort=False):
        behind = group["ahead"].to_numpy() <= 0.5
        last = np.flatnonzero(behind)
        shares = group["share"].to_numpy()
        after = last[-1] + 1 if len(last) else 0
        found[str(better), str(worse)] = float(shares[after]) if after < len(shares) else 1.0
    return found


def carried_rates(retuning: Retuning, spaces: Mapping[str, Space]) -> pd.DataFrame:
    """Return the ratio of the best learning rates of every two optimizers, each tuned separately.

    Both are tuned many times, on the same random subsets of the seeds; the interval contains the middle
    95 % of the ratios.

    Returns
    -------
    One row per pair with more than one learning rate each: optimizer, other, ratio (of the first one's
    best rate to the second one's: the median), ratio_low, ratio_high.
    """
    rates: dict[str, Array] = {}
    labels = [label for label in retuning.grids if label in spaces]
    several = [
        label for label in labels if len({v[RATE] for v in spaces[label].candidates.values()}) > 1
    ]
    seeds = retuning.seeds(*several) if several else ()
    for label in several if len(seeds) > 1 else ():
        numbers = retuning.grids[label].candidates[retuning.of(label, seeds).chosen]
        rates[label] = np.array([spaces[label].candidates[int(n)][RATE] for n in numbers])
    rows = []
    for one, other in itertools.combinations(rates, 2):
        ratios = rates[one] / rates[other]
        ends = (quantile(ratios, LEVEL / 2), quantile(ratios, 1 - LEVEL / 2))
        rows.append((one, other, quantile(ratios, 0.5), *ends))
    return pd.DataFrame(rows, columns=["optimizer", "other", "ratio", "ratio_low", "ratio_high"])


def alarm_words(alarms: list[Alarm]) -> list[str]:
    """Return a text for each alarm."""
    texts = []
    for alarm in alarms:
        high, low = (number(loss, 3) for loss in alarm.losses)
        contains = f"{alarm.wider} contains {alarm.narrower} ({alarm.words})"
        if alarm.is_shown:
            texts.append(
                f"The search is too small: {contains}, yet is shown to end higher ({high} against "
                f"{low}). A large enough search would not, so this says nothing about {alarm.wider}. "
                "Give it more trials."
            )
        else:
            texts.append(
                f"The search may be too small: {contains}, yet ends higher ({high} against {low}). The "
                "difference is not significant, so it may be luck; more trials or more seeds would tell."
            )
    return texts


def foretold_words(table: pd.DataFrame) -> str:
    """Return when the pairs that are shown to differ reach their final order; "" without any."""
    settled = settled_from(table[table["different"].astype(bool)])
    if not settled:
        return ""
    many = f"the {len(settled)} pairs that are shown to differ"
    pairs = many if len(settled) > 1 else "the one pair that is shown to differ"
    since = max(settled.values())
    text = f"The final order of {pairs} emerges only at the end."
    if since < 1:
        text = f"The final order of {pairs} holds after {100 * since:.0f} % of the run."
    turned = turned_round(table[table["different"].astype(bool)])
    if not turned:
        return text
    some = [f"{better} is still behind {worse}" for better, worse in turned[:MOST_NAMED]]
    more = len(turned) - len(some)
    others = [f"the same holds for {more} other pair{'s' * (more > 1)}"] if more else []
    return f"{text} Halfway, it is reversed: {join_words([*some, *others])}."


def turned_round(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs whose better one is behind halfway through the run, the furthest first."""
    half = table[table["share"] <= 0.5]
    half = half[half["share"] == half["share"].max()]
    behind = half[half["ahead"] < 0.5].sort_values("ahead", kind="stable")
    return [(str(row["better"]), str(row["worse"])) for row in behind.to_dict("records")]
