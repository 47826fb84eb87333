"""The axes of a search: their good values, their importance, and choices at their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import RATE, Axis
from optimlab.formatting import toml_key
from optimlab.optimizers import RANGES
from optimlab.statistics.ranking import CANDIDATE, basis, quantile, widened_grid
from optimlab.statistics.spaces import Space

Array = np.ndarray

EDGE = 0.05  # the share of a span that counts as its end
TREES, POINTS, STEPS = 100, 256, 16  # of the forest; of the space, and of each axis, where it predicts
FEWEST = 8  # candidates to fit a forest to


def candidate_losses(runs: pd.DataFrame, spaces: Mapping[str, Space]) -> pd.DataFrame:
    """Return the loss of each candidate.

    Parameters
    ----------
    runs : the runs with their ``worth``, from `optimlab.statistics.summary.judged`.
    spaces : optimizer → its tuned space.

    Returns
    -------
    One row per optimizer and candidate: optimizer, candidate, hyperparameters (as text), tuning_loss
    and loss (the medians over the tuning and the reported seeds; a run counts at most as its initial
    loss), seeds (the number of the latter), ok (the share of its runs).
    """
    rests_on, rows = basis(runs), []
    for key, group in runs.groupby(["optimizer", CANDIDATE], sort=False):
        label, candidate = cast("tuple[str, int]", key)
        tuning, fresh = (
            group.loc[group["role"] == role, "worth"] for role in (rests_on.tuning, rests_on.reporting)
        )
        rows.append(
            {
                "optimizer": label,
                CANDIDATE: candidate,
                "hyperparameters": spaces[label].name(candidate),
                "tuning_loss": quantile(tuning, 0.5),
                "loss": quantile(fresh, 0.5),
                "seeds": len(fresh),
                "ok": float(group["status"].eq("ok").mean()),
            }
        )
    columns = ["optimizer", CANDIDATE, "hyperparameters", "tuning_loss", "loss", "seeds", "ok"]
    return pd.DataFrame(rows, columns=columns)


def positions(space: Space, candidate: int) -> list[float]:
    """Return a candidate's position on each axis, from 0 to 1; NaN if it is not on the axis.

    The values of a grid, or of choices, are evenly spaced.
    """
    return [_position(axis, space.candidates[candidate].get(axis.name)) for axis in space.axes]


def _position(axis: Axis, value: Any) -> float:
    if axis.is_span:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        share = axis.share(value) if is_number else np.nan
        return share if -1e-9 <= share <= 1 + 1e-9 else np.nan
    if value not in axis.levels:
        return np.nan
    return (axis.levels.index(value) + 0.5) / len(axis.levels)


def importance(losses: pd.DataFrame, spaces: Mapping[str, Space]) -> pd.DataFrame:
    """Return the share of the loss's variation over the space that each axis explains by itself.

    A random forest is fitted to the logarithm of each candidate's loss over its positions on the axes,
    and its functional analysis of variance is taken over the space: the variance of what it predicts
    for an axis, averaged over all others, as a share of the whole variance.

    Parameters
    ----------
    losses : from `candidate_losses`.
    spaces : optimizer → its tuned space.

    Returns
    -------
    One row per axis of each optimizer with two or more: optimizer, axis, share; the last row of each,
    "together", has the share that only several axes explain together. An optimizer with fewer than
    `FEWEST` candidates, or whose candidates all end alike, has none.

    References
    ----------
    Hutter, Hoos & Leyton-Brown (2014), An efficient approach for assessing hyperparameter importance.
    """
    rows = []
    for label, group in losses.groupby("optimizer", sort=False):
        space = spaces[str(label)]
        table = np.array([positions(space, number) for number in group[CANDIDATE]])
        worth = group["loss"].to_numpy(dtype=float)
        known = np.isfinite(table).all(axis=1) & np.isfinite(worth)
        heights = _heights(worth[known])
        if (
            space.is_only_rate
            or known.sum() < FEWEST
            or np.isclose(heights.min(), heights.max(), 1e-12, 0)
        ):
            continue
        shares = _main_effects(table[known], heights)
        names = [axis.name for axis in space.axes]
        rows += [(label, name, share) for name, share in zip(names, shares, strict=True)]
        rows.append((label, "together", max(0.0, 1 - sum(shares))))
    return pd.DataFrame(rows, columns=["optimizer", "axis", "share"])


def _heights(losses: Array) -> Array:
    """Return the logarithms of losses, or the losses themselves if some are not positive."""
    return np.log(losses) if (losses > 0).all() else losses


def _main_effects(table: Array, heights: Array) -> list[float]:
    """Return the share of the variance of a forest's predictions that each column alone explains.

    For each column, means and whole variance are those of the same points, so that no share exceeds 1.
    """
    from scipy.stats import qmc
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0, n_jobs=1)
    forest.fit(table, heights)
    space = qmc.Halton(table.shape[1], seed=np.random.default_rng(0)).random(POINTS)
    effects = []
    for column in range(table.shape[1]):
        asked = np.repeat(space[None], STEPS, axis=0)
        asked[:, :, column] = ((np.arange(STEPS) + 0.5) / STEPS)[:, None]
        found = forest.predict(asked.reshape(-1, table.shape[1])).reshape(STEPS, POINTS)
        whole = float(np.var(found))
        effects.append(float(np.var(found.mean(axis=1))) / whole if whole else 0.0)
    excess = max(1.0, sum(effects))  # the points of each column are others
    return [effect / excess for effect in effects]


def edges(space: Space, candidates: Sequence[int]) -> dict[str, str]:
    """Return the axes on which candidates are at an end, all at the same: axis → "lowest" or "highest".

    An axis that starts or stops at the end of the legal values, such as a momentum of 0, has no end
    there that counts, and text has no ends.
    """
    found = {}
    for axis in space.axes if set(candidates) <= set(space.tried) else ():
        ends = {_end(axis, space.candidates[each].get(axis.name)) for each in candidates}
        end = ends.pop() if len(ends) == 1 else ""
        if end and not _is_all_there_is(axis, end):
            found[axis.name] = end
    return found


def _is_all_there_is(axis: Axis, end: str) -> bool:
    """Return whether an axis reaches the end of the legal values."""
    low, high = (axis.low, axis.high) if axis.is_span else (min(axis.levels), max(axis.levels))
    legal = RANGES.get(axis.name)
    return legal is not None and (low == legal.low if end == "lowest" else high == legal.high)


def _end(axis: Axis, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if axis.is_span:
        share, near = axis.share(value), EDGE
    elif len(axis.levels) > 1 and all(isinstance(each, int | float) for each in axis.levels):
        share, near = axis.levels.index(value) / (len(axis.levels) - 1), 0.0
    else:
        return ""
    return "lowest" if share <= near else "highest" if share >= 1 - near else ""


def widened(axis: Axis, edge: str) -> Axis:
    """Return an axis with further legal values beyond an end."""
    if axis.is_span:
        low, high = _further(axis, edge)
        return replace(axis, low=low, high=high)
    legal = RANGES.get(axis.name)
    if legal is not None and legal.high == 1 and edge == "highest":
        nearer = widened_grid([1 - each for each in axis.levels], "lowest")
        wide = [round(1 - each, 12) for each in nearer]
    else:
        wide = _continued(axis.levels, edge)
    if all(isinstance(each, int) for each in axis.levels):
        wide = [int(each) for each in wide if each == int(each)]
    legal_ones = (each for each in wide if legal is None or each in legal)
    return replace(axis, levels=tuple(sorted({*axis.levels, *legal_ones})))


def _continued(levels: Sequence[float], edge: str) -> list[float]:
    """Return a grid with two further values beyond an end: by its factor, or by its step across 0."""
    grid = sorted(levels)
    end, neighbour = grid[:2] if edge == "lowest" else grid[:-3:-1]
    if end > 0 and neighbour > 0:
        return widened_grid([each for each in grid if each > 0], edge)
    if grid[0] == 0 and edge == "highest":  # on or off: the next are 10 and 100 times as much
        return widened_grid([end / 10, end], edge)[1:]
    step = end - neighbour
    return [end + step, end + 2 * step]


def in_file(axis: Axis, *, is_searched: bool) -> str:
    """Return the line of a numeric axis, of a search or not, for an optimizer's table."""
    if axis.is_span:
        ends = f"min = {axis.low:g}, max = {axis.high:g}"
        return f'search.{toml_key(axis.name)} = {{ {ends}, scaling = "{axis.scaling}" }}'
    levels = f"[{', '.join(f'{each:g}' for each in axis.levels)}]"
    if is_searched:
        return f"search.{toml_key(axis.name)} = {{ choices = {levels} }}"
    if axis.name == RATE:
        return f"learning_rates = {levels}"
    return f"{toml_key(axis.name)} = {levels}"


def _further(axis: Axis, edge: str) -> tuple[float, float]:
    """Return the ends of a span that is extended by half its width beyond one end."""
    low, high = axis.low, axis.high
    legal = RANGES.get(axis.name)
    if axis.scaling == "log":
        factor = (high / low) ** 0.5
        low, high = (low / factor, high) if edge == "lowest" else (low, high * factor)
    elif axis.scaling == "one_minus_log":
        factor = ((1 - low) / (1 - high)) ** 0.5
        low, high = (
            (1 - (1 - low) * factor, high) if edge == "lowest" else (low, 1 - (1 - high) / factor)
        )
    else:
        room = (high - low) / 2
        low, high = (low - room, high) if edge == "lowest" else (low, high + room)
    low, high = _readable(low), _readable(high)
    if axis.is_whole:
        low, high = max(1.0, round(low)), round(high)
    if legal is not None and low not in legal:
        low = legal.low if legal.low_is_legal else _readable((legal.low + axis.low) / 2)
    if legal is not None and high not in legal:
        high = legal.high if legal.high_is_legal else _readable((legal.high + axis.high) / 2)
    return low, high


def _readable(value: float) -> float:
    """Return a number rounded to two digits, or its distance to 1 if that is small."""
    near = 1 - value
    return round(1 - float(f"{near:.2g}"), 12) if 0 < near < 0.5 else float(f"{value:.2g}")
