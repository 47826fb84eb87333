"""The whole default sweep: how long it takes with one and two workers, and what others would take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.case import HYPERPARAMETERS, Case
from benchmarks.contenders import ALONE, JAX, OURS
from benchmarks.process import seated
from benchmarks.steps import best_stacks, installed
from optimlab.experiment.load import find, load

BATCH = 64
WITH_COMPILING = f"{JAX}, with compiling"


def measure(rows: pd.DataFrame, *, quick: bool, tell: Callable[[str], None]) -> pd.DataFrame:
    """Return contender, workers, seconds, and whether that was measured or scaled.

    optimlab's sweep is run, start-up, tables and all. For the others the measured step of each rule and
    the measured evaluation are multiplied by how many a sweep has, and divided by the workers as if
    these cost nothing.
    """
    lines = []
    name = "smoke" if quick else "digits"
    for _ in range(1 if quick else 2):
        for workers in (1, 2):
            tell(f"{name}, {workers} workers")
            lines.append((OURS, workers, _sweep(name, workers), "measured"))
    ours = pd.DataFrame(lines, columns=["contender", "workers", "seconds", "how"])
    ours = ours.groupby(["contender", "workers", "how"], as_index=False)["seconds"].median()
    return pd.concat([ours, _others(rows, quick=quick, tell=tell)], ignore_index=True)


def _sweep(name: str, workers: int) -> float:
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "optimlab", "sweep", name, "--results", results]
        start = time.perf_counter()
        subprocess.run([*command, "--jobs", str(workers)], check=True, capture_output=True)
        return time.perf_counter() - start


def evaluations(rows: pd.DataFrame, *, quick: bool) -> dict[str, float]:
    """Return each contender's µs per run for an evaluation on all images, at its best stack size."""
    best = best_stacks(rows)[lambda each: (each["batch"] == BATCH) & (each["rule"] == "Adam")]
    stacks = best.set_index("contender")["stack"]
    entries, _ = installed()
    with seated(entries) as seats:
        for seat in seats:
            seat.prepare(Case("Adam", BATCH, int(stacks[seat.entry.name])))
        times = np.array([[seat.evaluate() for seat in seats] for _ in range(3 if quick else 9)])
    return {
        seat.entry.name: float(median(times[:, n]) / stacks[seat.entry.name] * 1e6)
        for n, seat in enumerate(seats)
    }


def _others(rows: pd.DataFrame, *, quick: bool, tell: Callable[[str], None]) -> pd.DataFrame:
    tell("evaluations")
    evaluation = evaluations(rows, quick=quick)
    rows.attrs["evaluation"] = evaluation
    experiment = load(find("digits"))
    setting = experiment.problems[0]
    runs = experiment.count() / len(experiment.optimizers)
    steps, records = setting.steps, len(setting.record_at) + 1
    best = best_stacks(rows)[lambda each: each["batch"] == BATCH]
    step = best.pivot_table(index="contender", columns="rule", values="microseconds")
    lines = []
    for name in step.index:
        if name == OURS:
            continue
        of_rules = [step.loc[name].get(rule, np.nan) for rule in HYPERPARAMETERS]
        known = np.nanmean(of_rules)  # stands in for a rule that it lacks or that was not timed
        times = [known if np.isnan(each) else each for each in of_rules]
        seconds = sum(runs * (steps * each + records * evaluation[name]) for each in times) / 1e6
        lines += [(name, workers, seconds / workers, "scaled") for workers in (1, 2)]
        if name == JAX:
            compiling = best.loc[best["contender"] == JAX, "first_seconds"].sum()  # in each process
            lines += [
                (WITH_COMPILING, workers, seconds / workers + compiling, "scaled") for workers in (1, 2)
            ]
    return pd.DataFrame(lines, columns=["contender", "workers", "seconds", "how"])


def report(seconds: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Return the section in markdown."""
    times = seconds.pivot_table(index="contender", columns="workers", values="seconds")
    lines = [
        "## The whole default sweep",
        "",
        "Seconds for 2,200 trainings of 570 steps, each evaluated 31 times on all images. optimlab's",
        "sweeps were run, start-up, tables and all. The others' are *scaled*: their step (of the table",
        "above; for a rule that they lack, their mean) and their evaluation, both measured, times their",
        "number, and halved for two workers as if these came free; start-up is left out, and so is",
        "compiling but in JAX's second line: one program for each rule and worker.",
        "",
        "| contender | 1 worker | 2 workers | times optimlab (2 workers) | an evaluation of a run, µs |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in times[2].sort_values().index:
        ratio = times.loc[name, 2] / times.loc[OURS, 2]
        mark = "" if name == OURS else " (scaled)"
        micro = rows.attrs["evaluation"][JAX if name == WITH_COMPILING else name]
        one, two = times.loc[name]
        lines.append(f"| {name}{mark} | {one:,.0f} | {two:,.0f} | {ratio:,.1f} | {micro:,.0f} |")
    gain = times.loc[OURS, 1] / times.loc[OURS, 2]
    steps_of = best_stacks(rows).set_index(["batch", "rule", "contender"])["microseconds"]
    share = rows.attrs["evaluation"][OURS] / (19 * steps_of[BATCH, "Adam", OURS])
    lines += [
        "",
        f"Two workers are {gain:.2f}× as fast as one. One run at a time, optimlab would take",
        f"{times.loc[ALONE, 2] / times.loc[OURS, 2]:.1f}× as long. An evaluation, once an epoch of 19",
        f"steps, costs {share:.0%} of the training between two of them.",
    ]
    return "\n".join(lines)
