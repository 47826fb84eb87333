"""Facts about an experiment: its runs, seeds, duration and machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import DEFAULT
from optimlab.formatting import duration, join_words, number, toml_value
from optimlab.storage.environment import NOT_PACKAGES

IN_ROWS_OF_THEIR_OWN = ("optimlab", "numba")  # of the packages


def unfinished(experiment: dict[str, Any], runs: pd.DataFrame) -> str:
    """Return how many runs are finished, and which optimizers have none; "" if no run is missing."""
    expected = experiment.get("runs_expected")
    finished = experiment.get("runs_finished") or len(runs)
    if not expected or finished >= expected:
        return ""
    missing = [
        label for label in experiment.get("optimizers", {}) if label not in set(runs["optimizer"])
    ]
    none = (
        f" {join_words(missing)} {'have' if len(missing) > 1 else 'has'} no run yet." if missing else ""
    )
    return f"Unfinished: {finished:,} of {expected:,} runs. Every number below may change.{none}"


def facts_of(experiment: dict[str, Any], runs: pd.DataFrame) -> dict[str, str]:
    """Return the facts about an experiment: name → text."""
    role = runs.drop_duplicates("seed").groupby("role").size()
    facts = {
        "Runs": f"{len(runs):,}",
        **_tried(runs),
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
    environment = (experiment.get("environment") or {}).items()
    known = {key: value for key, value in environment if value not in (None, "")}
    packages = [key for key in known if key not in NOT_PACKAGES and key not in IN_ROWS_OF_THEIR_OWN]
    for key, value in known.items():
        if key not in packages:
            facts[NOT_PACKAGES.get(key, key)] = str(value)
    if packages:
        facts["Libraries"] = ", ".join(f"{key} {known[key]}" for key in packages)
    return facts


def _tried(runs: pd.DataFrame) -> dict[str, str]:
    """Return the learning rates or, if more than the rate is tuned, the numbers of candidates."""
    tried = runs.groupby("optimizer", sort=False)[["candidate", "learning_rate"]].nunique()
    has_default = runs["candidate"].eq(DEFAULT).any()
    if not has_default and tried["candidate"].equals(tried["learning_rate"]):
        return {"Learning rates": ", ".join(number(rate) for rate in sorted(set(runs["learning_rate"])))}
    counts = [f"{label} {count}" for label, count in tried["candidate"].items()]
    return {"Candidates": ", ".join(counts)}


def hyperparameters_of(experiment: dict[str, Any]) -> dict[str, str]:
    """Return label → its rule, the hyper-parameters held fixed, and the schedules."""
    described = {}
    for label, optimizer in (experiment.get("optimizers") or {}).items():
        values = [
            f"{name} {number(value) if isinstance(value, float) else value}"
            for name, value in (optimizer.get("hyperparameters") or {}).items()
        ]
        schedules = (optimizer.get("schedules") or {}).items()
        values += [f"{name} by {words_of(schedule)}" for name, schedule in schedules]
        rule = optimizer.get("rule") or label
        described[label] = ", ".join(([rule] if rule != label else []) + values) or "none"
    return described


def networks_of(experiment: dict[str, Any]) -> dict[str, str]:
    """Return problem → a table of the layers of its network; "" for the only problem."""
    about = experiment.get("problems") or {}
    if len(about) < 2:
        about = {"": experiment}
    return {label: each["network"] for label, each in about.items() if each.get("network")}


def words_of(schedule: dict[str, Any]) -> str:
    """Return a schedule as text: its name, and those of its settings that are not 0."""
    shown = {key: value for key, value in schedule.items() if key != "name" and value != 0}
    settings = ", ".join(f"{key} {toml_value(value)}" for key, value in shown.items())
    return f"{schedule.get('name', 'unknown')}{f' ({settings})' if settings else ''}"


def reasons_of(runs: pd.DataFrame) -> list[str]:
    """Return the most common reasons why runs failed, with their counts."""
    failed = runs[runs["status"] == "failed"]
    reasons = failed["optimizer"] + ": " + failed["reason"].replace("", "no reason recorded")
    return [f"{reason} ({count:,} runs)" for reason, count in reasons.value_counts().head(5).items()]
