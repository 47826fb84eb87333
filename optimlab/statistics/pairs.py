"""Pairwise comparisons: differences, what can be claimed, and how many seeds would decide open pairs.

All claims of a comparison share one error rate: those about the final loss, the test loss and the time
to the target, at the chosen and at the textbook rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from optimlab.experiment.document import EQUAL_WITHIN
from optimlab.statistics.failures import mcnemar_p_value, share_interval
from optimlab.statistics.intervals import DRAWS, SEED
from optimlab.statistics.ranking import by_seed, quantile
from optimlab.statistics.resampling import (
    LEVEL,
    Estimate,
    Family,
    family,
    upper_quantile,
)
from optimlab.statistics.retuning import Retuned, Retuning
from optimlab.statistics.targets import ROUNDING

Array = np.ndarray

POWER = 0.8  # the probability that a test should have to detect a difference
MAIN_SHARE = 0.8  # the share of the error rate for claims about the tuned loss
MOSTLY = 0.25  # with a larger share of infinite differences, the interquartile mean is infinite
CLAIMS = {"loss": "", "test_loss": "test_", "epochs": "epochs_"}  # claim → prefix of its columns
LOSSES = {"loss": "worth", "test_loss": "test_worth"}  # claim about a loss → number of a run

PAIR_COLUMNS = [
    *("setting", "better", "worse", "seeds", "difference_median"),
    *("difference_iqm", "difference_low", "difference_high"),
    *("share_won", "share_won_low", "share_won_high"),
    *("p_value", "p_value_adjusted", "favours", "different", "outcome", "equal_within"),
    *("smallest_difference", "seeds_to_settle", "seeds_to_settle_low", "seeds_to_settle_high"),
    *("epochs_median", "epochs_share_won", "epochs_share_won_low", "epochs_share_won_high"),
    *("epochs_p_value", "epochs_p_value_adjusted", "epochs_favour", "epochs_different"),
    *("test_difference_iqm", "test_difference_low", "test_difference_high"),
    *("test_p_value", "test_p_value_adjusted", "test_favours", "test_different"),
    *("bad_better", "bad_worse", "bad_p_value"),
]


def differences(first: Any, second: Any) -> Array:
    """Return `second` − `first` for each seed that both have; two infinite losses do not differ."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = ~(np.isnan(first) | np.isnan(second))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(second[both] - first[both], nan=0, posinf=np.inf, neginf=-np.inf)


def fewest_seeds(optimizers: int, level: float = LEVEL) -> int:
    """Return the fewest seeds that allow a claim about this many optimizers.

    If signs were coin tosses, all N seeds would agree with probability 2/2ᴺ. Over all pairs, that must
    stay below the level.
    """
    return _fewest_for(max(optimizers * (optimizers - 1) // 2, 1), level)


def _fewest_for(pairs: int, level: float) -> int:
    return int(np.floor(np.log2(2 * pairs / level))) + 1


@dataclass(frozen=True)
class Pair:
    """Two optimizers in one setting.

    Attributes
    ----------
    row : the pair's row of the table, filled step by step.
    seeds : the seeds that both have; of copies, one.
    rivals : the number of pairs in the setting.
    ahead : each of `CLAIMS` → by how much the first is ahead, averaged over retunings.
    median_ahead : each claim about a loss → the same for approximate medians.
    equal_within : each claim about a loss → the largest difference that does not matter.
    """

    row: dict[str, Any]
    seeds: tuple[int, ...]
    rivals: int
    ahead: dict[str, Estimate] = field(default_factory=dict)
    median_ahead: dict[str, Estimate] = field(default_factory=dict)
    equal_within: dict[str, float] = field(default_factory=dict)


def compare(
    retunings: Mapping[str, Retuning],
    reported: Mapping[str, pd.DataFrame],
    orders: Mapping[str, Sequence[str]],
    *,
    equal_within: float = EQUAL_WITHIN,
    floor: float = 0.0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Compare every two optimizers of every setting.

    Parameters
    ----------
    retunings : setting → the optimizers to tune again.
    reported : setting → the runs at the chosen candidates, with their ``score`` and ``epochs``.
    orders : setting → the optimizers, the best first.
    equal_within : the share of the better one's loss that a difference must exceed to matter.
    floor : the largest difference of losses that is rounding noise.
    level : of all claims together; adjusted p-values are scaled so that the threshold is always 5 %.

    Returns
    -------
    One row per setting and pair, with the columns that results/README.md describes.
    """
    pairs = []
    for setting, order in orders.items():
        scores, epochs, bad = (
            by_seed(reported[setting], name).reindex(columns=list(order)).to_dict("series")
            for name in ("score", "epochs", "bad")
        )
        for pair in retuned_pairs(setting, retunings[setting], order, equal_within, floor):
            better, worse = pair.row["better"], pair.row["worse"]
            gaps = differences(scores[better], scores[worse])
            pair.row.update(
                difference_median=quantile(gaps, 0.5),
                epochs_median=quantile(differences(epochs[better], epochs[worse]), 0.5),
                bad_better=bad[better].sum(),
                bad_worse=bad[worse].sum(),
                bad_p_value=mcnemar_p_value(bad[better], bad[worse]),
                seeds_to_settle=np.inf if len(gaps) and np.isinf(gaps).mean() > MOSTLY else np.nan,
            )
            pairs.append(pair)
    claim(pairs, level)
    return pd.DataFrame([pair.row for pair in pairs], columns=PAIR_COLUMNS)


def retuned_pairs(
    setting: str, retuning: Retuning, order: Sequence[str], equal_within: float, floor: float
) -> Iterator[Pair]:
    """Yield the pairs of a setting, with how far the first is ahead when both are tuned again.

    See `compare` for the parameters.
    """
    rivals = list(combinations(order, 2))
    for better, worse in rivals:
        seeds = retuning.seeds(better, worse)
        pair = Pair(
            {"setting": setting, "better": better, "worse": worse, "seeds": len(seeds)},
            seeds,
            len(rivals),
        )
        if len(seeds) > 1:
            first, second = (retuning.of(label, seeds) for label in (better, worse))
            _look_ahead(pair, first, second, equal_within, floor)
        yield pair


def _look_ahead(pair: Pair, first: Retuned, second: Retuned, equal_within: float, floor: float) -> None:
    """Add to a pair by how much the first is ahead of the second: in losses, and in seeds won."""
    for name, of in LOSSES.items():
        if first.has(of) and second.has(of):
            least = abs(min(first.typical(of).value, second.typical(of).value))
            pair.equal_within[name] = max(equal_within * least, floor)
            pair.ahead[name] = second.typical(of) - first.typical(of)
            pair.median_ahead[name] = second.median(of) - first.median(of)
    pair.ahead["share"] = first.won_against(second, "worth", floor)
    if first.has("epochs") and second.has("epochs"):
        pair.ahead["epochs"] = first.won_against(second, "epochs", ROUNDING)


def claim(pairs: list[Pair], level: float = LEVEL, draws: int = DRAWS) -> None:
    """Add to every pair's row what can be claimed, with one error rate for all claims.

    `draws` is that of `family`.
    """
    every = [(pair, name) for pair in pairs for name in CLAIMS if name in pair.ahead]
    claims = [(pair, name) for pair, name in every if not np.isnan(pair.ahead[name].without).any()]
    union = sorted({seed for pair in pairs for seed in pair.seeds})
    sure = family(
        [_spread_over(union, pair.seeds, pair.ahead[name]) for pair, name in claims],
        np.random.default_rng(SEED),
        claim_weights([pair.row["setting"] == "tuned" and name == "loss" for pair, name in claims]),
        level,
        draws,
    )
    for pair in pairs:
        row = pair.row
        for prefix in CLAIMS.values():
            row |= {f"{prefix}{_favours(prefix)}": "", f"{prefix}different": False}
        row["outcome"] = "undecided"
        for name, column in (("share", "share_won"), ("epochs", "epochs_share_won")):
            row |= _share(pair.ahead[name], column) if name in pair.ahead else {}
    for index, (pair, name) in enumerate(claims):
        _conclude(pair, name, sure, index, level)


def claim_weights(is_main: Sequence[bool]) -> Array:
    """Return the weights of claims: those of the tuned loss take four fifths of the error rate."""
    main = np.asarray(is_main, dtype=bool)
    share = np.where(main, MAIN_SHARE, 1 - MAIN_SHARE) if main.any() and not main.all() else 1.0
    weights = share / np.where(main, max(main.sum(), 1), max((~main).sum(), 1))
    return weights * (len(main) / weights.sum()) if len(main) else weights


def _conclude(pair: Pair, name: str, sure: Family, index: int, level: float) -> None:
    """Add to a pair's row what follows from one estimate.

    Two optimizers differ in a loss if their interquartile means differ, and also the means of the middle
    √n of their n runs, so that a noisy tail alone is no difference: an intersection–union test (Berger
    1982, Multiparameter hypothesis testing and acceptance sampling).
    """
    row, prefix, seeds = pair.row, CLAIMS[name], len(pair.seeds)
    value, error = pair.ahead[name].value, sure.standard_errors[index]
    least = 2.0 ** (1 - seeds)  # the probability that all seeds agree if signs are coin tosses
    adjusted = max(sure.adjusted[index], least * pair.rivals)
    if name in LOSSES:
        adjusted = max(adjusted, pair.median_ahead[name].one_sided(np.sign(value)))
    adjusted = min(adjusted * LEVEL / level, 1)
    reach = sure.reach[index] * error
    is_equal = name in LOSSES and abs(value) + reach <= pair.equal_within[name]
    is_equal = is_equal and (seeds >= fewest_seeds(2, level) or not value)
    is_equal = is_equal and not np.isinf(row.get("seeds_to_settle", np.nan))  # failures decide
    row[f"{prefix}p_value"] = max(sure.p_values[index], least)
    row[f"{prefix}p_value_adjusted"] = adjusted
    row[f"{prefix}{_favours(prefix)}"] = row["better"] if value > 0 else row["worse"] if value else ""
    row[f"{prefix}different"] = bool(adjusted < LEVEL and not is_equal)
    if name in LOSSES:
        names = ("difference_iqm", "difference_low", "difference_high")
        interval = pair.ahead[name].interval(level)
        row |= dict(zip((prefix + each for each in names), interval, strict=True))
    if name == "loss":
        row["equal_within"] = pair.equal_within[name]
        row["outcome"] = (
            "practically equal" if is_equal else "better" if row["different"] else "undecided"
        )
        freedom = max(pair.ahead[name].freedom, 1)
        row["smallest_difference"] = _smallest_difference(error, sure.reach[index], freedom)
        if row["outcome"] != "undecided":
            row["seeds_to_settle"] = np.nan
        elif not np.isinf(row.get("seeds_to_settle", np.nan)):
            fewest = max(seeds + 1, _fewest_for(pair.rivals, level))
            interval = pair.ahead[name].interval(level)
            row |= _seeds_to_settle(interval, row["smallest_difference"], seeds, fewest)


def _smallest_difference(error: float, reach: float, freedom: float) -> float:
    """Return the difference that these seeds would have shown, with a power of about 80 %."""
    return (reach + upper_quantile(1 - POWER, freedom)) * error


def _seeds_to_settle(
    difference: tuple[float, float, float], smallest: float, seeds: int, fewest: int
) -> dict[str, float]:
    """Return how many seeds would show the observed difference, and the same for its interval's ends.

    The number is infinite for an interval that contains 0. Errors shrink with the square root of the
    number of seeds; however large the difference, `fewest` seeds are needed.
    """
    value, low, high = difference
    near = max(abs(value) - (high - low) / 2, 0.0)
    far = abs(value) + (high - low) / 2

    def needed(shift: float) -> float:
        return max(np.ceil(seeds * (smallest / shift) ** 2), fewest) if shift else np.inf

    names = ("seeds_to_settle", "seeds_to_settle_low", "seeds_to_settle_high")
    return dict(zip(names, map(needed, (abs(value), far, near)), strict=True))


def _favours(prefix: str) -> str:
    """Return the suffix of the column that names the optimizer that a claim favours."""
    return "favour" if prefix == "epochs_" else "favours"


def _spread_over(union: list[int], seeds: tuple[int, ...], estimate: Estimate) -> Estimate:
    """Return an estimate over the union of all seeds; NaN for those that do not enter."""
    without = np.full(len(union), np.nan)
    without[np.searchsorted(union, seeds)] = estimate.without
    return Estimate(estimate.value, without, estimate.freedom)


def _share(ahead: Estimate, name: str) -> dict[str, float]:
    """Return a share of seeds won, and its 95 % interval.

    It is the exact interval for the number of independent seeds that would have the same error (Korn &
    Graubard 1998, Confidence intervals for proportions with small expected number of positive counts),
    and at most all seeds, since the estimated error is 0 where all agree.
    """
    share, error, seeds = (1 + ahead.value) / 2, ahead.standard_error / 2, len(ahead.without)
    is_certain = error < 1e-9  # but for rounding
    independent = seeds if is_certain else np.clip(share * (1 - share) / error**2, 1, seeds)
    low, high = share_interval(share * independent, independent)
    return {name: share, f"{name}_low": low, f"{name}_high": high}


def seed_differences(reported: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """Return how much higher the score of the second of each pair is, seed by seed.

    Returns
    -------
    One row per pair and seed: better, worse, seed, difference.
    """
    paired = by_seed(reported, "score")
    seeds = paired.index.to_numpy()
    names, found = [], {"seed": [seeds[:0]], "difference": [np.empty(0)]}
    for better, worse in combinations(optimizers, 2):
        both = paired[[better, worse]].notna().all(axis=1).to_numpy()
        names += both.sum() * [(better, worse)]
        found["seed"].append(seeds[both])
        found["difference"].append(differences(paired[better], paired[worse]))
    columns = {name: np.concatenate(parts) for name, parts in found.items()}
    return pd.DataFrame(names, columns=["better", "worse"]).assign(**columns)
