"""The comparison: one row per optimizer, one row per pair, and the other tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import RATE
from optimlab.experiment.document import EQUAL_WITHIN, FINAL
from optimlab.metrics import REPORTED
from optimlab.statistics.axes import candidate_losses, edges, importance
from optimlab.statistics.columns import as_written
from optimlab.statistics.failures import share_interval
from optimlab.statistics.finals import with_finals
from optimlab.statistics.intervals import (
    DRAWS,
    SEED,
    interquartile_mean,
    median,
    percentile_intervals,
)
from optimlab.statistics.lessons import Alarm, carried_rates, foretold, inclusion_alarms
from optimlab.statistics.pairs import compare, fewest_seeds, seed_differences
from optimlab.statistics.ranking import (
    CANDIDATE,
    GRID_KEYS,
    SETTINGS,
    SelectionCriteria,
    at_default,
    basis,
    choose_candidates,
    final_losses,
    first_of,
    measured,
    quantile,
    reported_runs,
    scores,
    tuning_order,
    with_candidates,
)
from optimlab.statistics.resampling import LEVEL, SPLITS
from optimlab.statistics.retuning import Retuning, grid
from optimlab.statistics.spaces import Space, spaces_of
from optimlab.statistics.targets import (
    TARGET_ACCURACY,
    median_time,
    metrics_to_time,
    profile,
    steps_to_target,
    summarize_times,
    targets_of,
    times_to_targets,
)
from optimlab.statistics.tuning import budget, initial_losses, robustness
from optimlab.statuses import STATUSES

STANDINGS = ("worse", "better", "practically equal", "undecided")  # compared with the first
MOST_CHOICES = 2  # other candidates of a search that are named
RETUNED = ("retuned_loss", "retuned_loss_low", "retuned_loss_high")


@dataclass(frozen=True)
class Comparison:
    """All numbers of one experiment. The columns are described in results/README.md.

    Attributes
    ----------
    basis : the splits and seeds that the numbers are based on.
    summary : one row per optimizer, the best first.
    reported : one row per setting ("tuned", "default") and reported run: the table of runs, with their
        ``loss``, ``score``, ``accuracy`` and ``epochs`` to the target.
    pairs : one row per setting and pair of optimizers.
    differences : one row per setting, pair and seed.
    targets : one row per setting, target and optimizer.
    profiles : one row per setting, metric, optimizer and ratio to the fastest.
    budget : one row per optimizer and number of trials.
    spaces : optimizer → its tuned space.
    candidates, importance : from `optimlab.statistics.axes`; empty if only the learning rate is tuned.
    alarms, foretold, carried_rates : from `optimlab.statistics.lessons`.
    level : the error rate of all claims together.
    """

    basis: SelectionCriteria
    summary: pd.DataFrame
    reported: pd.DataFrame
    pairs: pd.DataFrame
    differences: pd.DataFrame
    targets: pd.DataFrame
    profiles: pd.DataFrame
    budget: pd.DataFrame
    spaces: Mapping[str, Space]
    candidates: pd.DataFrame
    importance: pd.DataFrame
    alarms: list[Alarm]
    foretold: pd.DataFrame
    carried_rates: pd.DataFrame
    level: float

    @property
    def is_only_rate(self) -> bool:
        """Whether only learning rates are tuned."""
        return all(space.is_only_rate for space in self.spaces.values())

    @property
    def is_searched(self) -> bool:
        """Whether an optimizer's candidates are drawn."""
        return any(space.searched for space in self.spaces.values())

    @property
    def is_tuned(self) -> bool:
        """Whether an optimizer has several candidates to choose from."""
        return bool((self.summary["learning_rate_edge"] != "only").any())

    @property
    def has_fresh_seeds(self) -> bool:
        """Whether the reported seeds had no part in a choice."""
        only_reporting = self.basis.tuning == "reporting"
        return self.basis.reporting == "reporting" and not (self.is_tuned and only_reporting)

    @property
    def fewest_seeds(self) -> int:
        """The fewest seeds on which anything can be claimed about the optimizers."""
        return fewest_seeds(int(self.summary["rank"].notna().sum()), self.level)

    @property
    def tuned(self) -> str:
        """The name of what is tuned: "learning rates" or "hyper-parameters"."""
        return "learning rates" if self.is_only_rate else "hyper-parameters"


def compare_optimizers(
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    defaults: Mapping[str, float] | None = None,
    spaces: Mapping[str, Space] | None = None,
    *,
    final: str = FINAL,
    equal_within: float = EQUAL_WITHIN,
    resolution: float = np.finfo(float).eps,
    level: float = LEVEL,
    splits: int = SPLITS,
    draws: int = DRAWS,
) -> Comparison:
    """Return all numbers of an experiment.

    Parameters
    ----------
    runs, traces : its tables, with the columns of runs.csv and traces.parquet; of one problem.
    defaults : optimizer → its rule's default learning rate, if it has one.
    spaces : optimizer → its tuned space; None to derive it from the columns of the runs.
    final : how final values are taken; see `optimlab.statistics.with_finals`.
    equal_within : the share of the better one's loss that a difference must exceed to matter.
    resolution : the share of the initial loss up to which a difference is rounding noise.
    level : the error rate of all claims together; see `optimlab.statistics.sequential` for repeated
        looks at results.
    splits : the number of splits of the seeds into tuning and reporting ones, each a new tuning.
    draws : the number of bootstrap samples for the intervals of one optimizer's numbers.

    Raises
    ------
    TypeError, ValueError
        If the tables are not those of an experiment on one problem, or have no run or a run twice.
    """
    runs, traces = as_written("runs", runs), as_written("traces", traces)
    _check_runs(runs, traces)
    runs = _with_lost_losses(with_finals(with_candidates(runs), traces, final), traces)
    runs = judged(runs, traces)
    spaces = spaces_of(runs) if spaces is None else spaces
    defaults = defaults or {}
    reported = {setting: reported_runs(runs, setting, defaults) for setting in SETTINGS}
    retunings = {setting: _retuning(runs, setting, defaults, splits) for setting in SETTINGS}
    summary = _summarize(runs, reported, defaults, traces["epoch"].max(), draws)
    orders = {
        setting: _by_median_score(table, list(summary["optimizer"]))
        for setting, table in reported.items()
    }
    starts = runs.loc[np.isfinite(runs["start"]), "start"]
    pairs = compare(
        retunings,
        reported,
        orders,
        equal_within=equal_within,
        floor=resolution * abs(quantile(starts, 0.5)) if len(starts) else 0.0,
        level=level,
    )
    goals = {
        metric: targets_of(reported["tuned"], traces, metric)
        for metric in metrics_to_time(basis(runs), traces)
    }
    gaps, targets, profiles = [], [], []
    for setting, table in reported.items():
        gaps.append(_of(setting, seed_differences(table, orders[setting])))
        times = _times(table, traces, goals)
        targets.append(
            _of(setting, summarize_times(times, _steps_per_epoch(traces), traces["step"].max()))
        )
        profiles.append(_of(setting, profile(times)))
    summary = _with_values(summary, spaces, runs)
    has_axes = not all(space.is_only_rate for space in spaces.values())
    worth = candidate_losses(runs if has_axes else runs[:0], spaces)
    retuned = _with_retuned(summary, retunings["tuned"], spaces)
    if not np.isfinite(runs[["score", "start"]]).any(axis=None):  # no run of the problem has a loss
        worth[["tuning_loss", "loss"]] = np.inf
        retuned[[*RETUNED]] = np.nan
    return Comparison(
        basis=basis(runs),
        summary=_against_best(retuned, pairs),
        reported=_join([_of(setting, table) for setting, table in reported.items()]),
        pairs=pairs,
        differences=_join(gaps),
        targets=_join(targets),
        profiles=_join(profiles),
        budget=budget(runs, traces, defaults, draws),
        spaces=spaces,
        candidates=worth,
        importance=importance(worth, spaces),
        alarms=inclusion_alarms(summary, pairs, spaces),
        foretold=foretold(reported["tuned"], traces, f"{basis(runs).loss}_loss", pairs),
        carried_rates=carried_rates(retunings["tuned"], spaces),
        level=level,
    )


def _with_lost_losses(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with infinite validation losses if they begin with one and end with no loss."""
    is_lost = runs.filter(regex="^final_(train|validation)_loss$").isna().all(axis=None)
    has_any = "validation_loss" in traces and traces["validation_loss"].notna().any()
    return runs.assign(final_validation_loss=np.inf) if is_lost and has_any else runs


def judged(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the numbers by which they are compared.

    Returns
    -------
    The table with ``loss``, ``score``, ``accuracy``, ``r2`` and ``rmse`` from
    `optimlab.statistics.ranking`; ``start``, the initial loss of the seed; ``worth``, the score, but at
    most the initial loss; ``bad``, 1 for a run that is not ok; ``test_loss`` and ``test_worth``, the
    same for the test set, NaN unless a validation loss decides; ``epochs`` to the target accuracy, NaN
    without one; and ``fingerprint``, a number that two runs share if their records are the same.
    """
    rests_on = basis(runs)
    runs = runs.assign(loss=final_losses(runs), score=scores(runs))
    for metric in REPORTED:
        runs[metric.name] = measured(runs, metric)
    runs["bad"] = (runs["status"] != "ok").astype(float)
    runs["epochs"] = _epochs_to_target(runs, traces)
    runs["start"] = _starts(runs, traces, f"{rests_on.loss}_loss")
    runs["worth"] = _capped(runs["score"], runs["start"])
    runs["test_loss"] = runs["test_worth"] = np.nan
    if rests_on.loss == "validation" and runs.get("final_test_loss", pd.Series(np.nan)).notna().any():
        runs["test_loss"] = runs["final_test_loss"].where(np.isfinite(runs["loss"])).fillna(np.inf)
        runs["test_worth"] = _capped(runs["test_loss"], _starts(runs, traces, "test_loss"))
    runs["fingerprint"] = _fingerprints(runs, traces)
    return runs


def _starts(runs: pd.DataFrame, traces: pd.DataFrame, metric: str) -> pd.Series:
    """Return the initial loss of each run's seed; infinite if it was not recorded."""
    if metric not in traces:
        return pd.Series(np.inf, runs.index)
    return runs["seed"].map(initial_losses(traces, metric)).astype(float).fillna(np.inf)


def _capped(losses: pd.Series, start: pd.Series) -> pd.Series:
    """Return losses capped at the initial loss; infinite ones become the worst finite one."""
    capped = losses.clip(upper=start)
    finite = capped[np.isfinite(capped)]
    return capped.replace([np.inf, -np.inf], finite.max() if len(finite) else 0.0)


def _epochs_to_target(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.Series:
    """Return the epochs to the target accuracy; NaN without validation accuracy."""
    metric = "validation_accuracy"
    if metric not in traces or not traces[metric].notna().any():
        return pd.Series(np.nan, runs.index)
    steps = steps_to_target(runs, traces, metric, TARGET_ACCURACY)
    return runs["run_id"].map(steps) / _steps_per_epoch(traces)


def _fingerprints(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.Series:
    """Return a number for each run; two runs of an optimizer share one if all their losses are equal.

    It is computed from the recorded losses, or else the final ones; 0 for a run without any.
    """
    losses = [name for name in map(str, traces) if name.endswith("_loss")]
    rows = pd.util.hash_pandas_object(traces[["step", *losses]], index=False)
    found = runs["run_id"].map(rows.groupby(traces["run_id"]).sum())
    ends = [
        name for name in map(str, runs) if name.startswith("final_") and runs[name].dtype.kind == "f"
    ]
    last = pd.util.hash_pandas_object(runs[ends], index=False).astype(float)
    return found.astype(float).fillna(last.where(runs[ends].notna().any(axis=1), 0.0))


def _retuning(runs: pd.DataFrame, setting: str, defaults: Mapping[str, float], splits: int) -> Retuning:
    """Return the optimizers with their possible choices: the default candidate, or all."""
    if setting == "default":
        runs = runs[at_default(runs, defaults)]
    grids = {str(label): grid(group) for label, group in runs.groupby("optimizer", sort=False)}
    is_tuned = any(len(each.candidates) > 1 for each in grids.values())
    tuning = runs.loc[runs["role"] == basis(runs).tuning, "seed"].nunique() if is_tuned else 0
    return Retuning(grids, tuning, splits)


def _check_runs(runs: pd.DataFrame, traces: pd.DataFrame) -> None:
    """Raise ValueError unless these are the runs of one problem, each once, and their traces."""
    loss = f"{basis(runs).loss}_loss"
    if runs.empty:
        raise ValueError("the table of runs has no rows")
    if runs["run_id"].duplicated().any():
        raise ValueError("the table of runs has a run_id twice")
    if "problem" in runs and len(runs["problem"].unique()) > 1:
        raise ValueError("the table of runs has several problems: compare each problem separately")
    if loss not in traces:
        raise ValueError(f"the table of traces lacks the column {loss}")
    if len(traces) and not traces["run_id"].isin(runs["run_id"]).any():
        raise ValueError("the table of traces has none of these runs")


def _of(setting: str, table: pd.DataFrame) -> pd.DataFrame:
    table.insert(0, "setting", setting)
    return table


def _by_median_score(reported: pd.DataFrame, labels: list[str]) -> list[str]:
    """Return those of the optimizers that have runs, best first; ties stay in their order."""
    medians = {
        str(label): quantile(group["score"], 0.5) for label, group in reported.groupby("optimizer")
    }
    return sorted((label for label in labels if label in medians), key=medians.__getitem__)


def _join(tables: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _steps_per_epoch(traces: pd.DataFrame) -> float:
    last = traces[["step", "epoch"]].max()
    return float(last["step"] / last["epoch"]) if last["epoch"] else 1.0


def _times(
    reported: pd.DataFrame, traces: pd.DataFrame, goals: Mapping[str, Iterable[float]]
) -> pd.DataFrame:
    pieces = [
        times_to_targets(reported, traces, metric, targets)
        for metric, targets in goals.items()
        if len(reported)
    ]
    columns = ["optimizer", "seed", "run_id", "metric", "target", "steps"]
    return _join(pieces) if pieces else pd.DataFrame(columns=columns)


def _summarize(
    runs: pd.DataFrame,
    reported: dict[str, pd.DataFrame],
    defaults: Mapping[str, float],
    last_epoch: float,
    draws: int,
) -> pd.DataFrame:
    """Return one row per optimizer, the best first; ranks go by the median score."""
    rests_on = basis(runs)
    rows = []
    for choice in choose_candidates(runs).to_dict("records"):
        optimizer = choice["optimizer"]
        tuned, default = (
            table[table["optimizer"] == optimizer].sort_values("seed") for table in reported.values()
        )
        all_runs = runs[runs["optimizer"] == optimizer]
        row: dict[Any, Any] = {**choice, "rule": all_runs["rule"].iloc[0], "seeds": len(tuned)}
        row |= {"reported_on": rests_on.reporting, "loss": rests_on.loss}
        row |= _spread(tuned["loss"], "final_loss", draws)
        row |= {"accuracy": rests_on.accuracy, **_spread(tuned["accuracy"], "final_accuracy", draws)}
        for name in ("r2", "rmse"):
            if name in rests_on.measures:
                row |= _spread(tuned[name], f"final_{name}", draws)
        row |= _epochs(tuned, last_epoch)
        row |= _spread(tuned["test_loss"], "test_loss", draws)
        row |= {"default_learning_rate": defaults.get(optimizer, np.nan), "default_seeds": len(default)}
        row |= _spread(default["loss"], "default_loss", draws)
        row |= _spread(default["accuracy"], "default_accuracy", draws)
        row |= _counts(tuned, "runs")
        bad = share_interval(int(tuned["bad"].sum()), len(tuned))
        row |= dict(zip(("bad_share_low", "bad_share_high"), bad, strict=True))
        row |= _counts(default, "default") | _counts(all_runs, "grid")
        rows.append({**row, "score": quantile(tuned["score"], 0.5)})
    summary = pd.DataFrame(rows).astype({"seeds_never_at_95": "Int64"})
    summary = summary.merge(robustness(runs), on="optimizer", how="left")
    summary.insert(0, "rank", summary.pop("score").rank(method="min").astype("Int64"))
    return summary.sort_values("rank", kind="stable", ignore_index=True)


def _counts(runs: pd.DataFrame, name: str) -> dict[str, int]:
    """Return the number of runs of each status, as columns named after `name`."""
    statuses = runs["status"].tolist()
    return {f"{name}_{status}": statuses.count(status) for status in STATUSES}


def _spread(values: pd.Series, name: str, draws: int) -> dict[str, float]:
    """Return median, quartiles, interquartile mean and intervals, as columns named after `name`."""
    ordered = np.sort(values.to_numpy(dtype=float))
    (low, high), (mean_low, mean_high) = percentile_intervals(
        values, [median, interquartile_mean], np.random.default_rng(SEED), draws
    )
    return {
        f"{name}_median": quantile(values, 0.5),
        f"{name}_quartile_1": quantile(values, 0.25),
        f"{name}_quartile_3": quantile(values, 0.75),
        f"{name}_interval_low": low,
        f"{name}_interval_high": high,
        f"{name}_iqm": float(interquartile_mean(ordered)) if len(ordered) else np.nan,
        f"{name}_iqm_low": mean_low,
        f"{name}_iqm_high": mean_high,
    }


def _epochs(tuned: pd.DataFrame, end: float) -> dict[str, Any]:
    """Return the median epochs to the target accuracy, its interval, and how many never reach it."""
    epochs = tuned["epochs"].to_numpy(dtype=float)
    timed = not np.isnan(epochs).any() and len(epochs) > 0
    found = median_time(epochs, end) if timed else 3 * (np.nan,)
    return {
        "epochs_to_95_median": found[0],
        "epochs_to_95_low": found[1],
        "epochs_to_95_high": found[2],
        "seeds_never_at_95": np.isinf(epochs).sum() if timed else None,
    }


def _with_retuned(
    summary: pd.DataFrame, retuning: Retuning, spaces: Mapping[str, Space]
) -> pd.DataFrame:
    """Add how often each optimizer's candidate is chosen, the other choices, and the expected loss."""
    rows = []
    for label, chosen in zip(summary["optimizer"], summary[CANDIDATE], strict=True):
        seeds = retuning.seeds(label)
        row: dict[str, Any] = {"optimizer": label, "other_choices": ""}
        if len(seeds) > 1:
            again = retuning.of(label, seeds)
            names = retuning.grids[label].candidates
            shares = {names[index]: share for index, share in again.shares().items()}
            others = [
                f"{spaces[label].name(other)} ({_percent(share)})"
                for other, share in shares.items()
                if other != chosen
            ]
            separator = ", "
            if not spaces[label].is_only_rate:
                separator, more = "; ", len(others) - MOST_CHOICES
                others = [
                    *others[:MOST_CHOICES],
                    *([f"{more} other{'s' * (more > 1)}"] if more > 0 else []),
                ]
            row |= {"chosen_share": shares.get(chosen, 0.0), "other_choices": separator.join(others)}
            value, low, high = again.typical("worth").interval(LEVEL)
            if (again.values("worth") >= 0).all():
                low = max(low, 0.0)  # the loss is never negative
            row |= dict(zip(RETUNED, (value, low, high), strict=True))
        rows.append(row)
    columns = ["optimizer", "chosen_share", "other_choices", *RETUNED]
    return summary.merge(pd.DataFrame(rows, columns=columns), on="optimizer", how="left")


def _with_values(summary: pd.DataFrame, spaces: Mapping[str, Space], runs: pd.DataFrame) -> pd.DataFrame:
    """Add the chosen values and the ends that they are at, unless only learning rates are tuned."""
    order = tuning_order(runs)
    ends = [edges(spaces[label], first_of(order[label])) for label in summary["optimizer"]]
    if all(space.is_only_rate for space in spaces.values()):
        # A drawn rate is at an end if the range ends there, whatever the others are.
        rows = zip(summary["optimizer"], ends, summary["learning_rate_edge"], strict=True)
        return summary.assign(
            learning_rate_edge=[
                end.get(RATE, "") if spaces[label].searched and edge != "only" else edge
                for label, end, edge in rows
            ]
        )
    chosen = [(spaces[label], int(number)) for label, number in summary[GRID_KEYS].to_numpy()]
    return summary.assign(
        hyperparameters=[space.name(number, is_default_named=False) for space, number in chosen],
        edges=[", ".join(f"{axis} {end}" for axis, end in found.items()) for found in ends],
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


def _against_best(summary: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Add the difference of each optimizer from the first."""
    best = summary["optimizer"].iloc[0]
    compared = pairs[(pairs["setting"] == "tuned") & (pairs["better"] == best)]
    is_worse, is_better = (
        compared["different"] & (compared["favours"] == name) for name in (best, compared["worse"])
    )
    columns = pd.DataFrame(
        {
            "optimizer": compared["worse"],
            "difference_to_best": compared["difference_median"],
            "difference_iqm_to_best": compared["difference_iqm"],
            "p_value_to_best": compared["p_value_adjusted"],
            "worse_than_best": is_worse,
            "standing": compared["outcome"].mask(is_worse, "worse").mask(is_better, "better"),
            "test_worse_than_best": compared["test_different"] & (compared["test_favours"] == best),
            "test_p_value_to_best": compared["test_p_value_adjusted"],
        }
    )
    summary = summary.merge(columns, on="optimizer", how="left")
    return summary.astype({"worse_than_best": "boolean", "test_worse_than_best": "boolean"})
