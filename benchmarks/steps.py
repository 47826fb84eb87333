"""How long a training step takes, per run, for everybody: by rule and batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.case import HYPERPARAMETERS, Case
from benchmarks.contenders import ENTRIES, JAX, OURS, Entry
from benchmarks.limit import gemm_rate
from benchmarks.process import Seat, seated, turns

BATCHES = (32, 64, 1200)
MOST_OF_JAX = 1.5  # it is about a half: beyond this, something is wrong, and no noise
COLUMNS = ("batch", "rule", "contender", "stack", "microseconds", "first_seconds", "limit_microseconds")


def installed() -> tuple[list[Entry], list[str]]:
    """Return the contenders that are installed, and a word on those that are not."""
    there = [entry for entry in ENTRIES if find_spec(entry.package)]
    missing = [f"{e.name}: {e.package} is not installed" for e in ENTRIES if e not in there]
    return there, missing


def measure(*, quick: bool, tell: Callable[[str], None]) -> pd.DataFrame:
    """Return a row for each batch size, rule, contender and stack size that was tried.

    With the rule Adam all stack sizes are tried, and with the others the one that was best.
    """
    count = 3 if quick else 9
    rules = ("Adam", *(() if quick else (rule for rule in HYPERPARAMETERS if rule != "Adam")))
    entries, _ = installed()
    rows = []
    with threadpool_limits(1):
        rate = gemm_rate()
    with seated(entries) as seats:
        for batch in BATCHES:
            best: dict[str, int] = {}
            for rule in rules:
                tell(f"batch {batch:,}, {rule}")
                limit = Case(rule, batch, 1).flops() / rate * 1e6
                rows += [(*row, limit) for row in _round(seats, batch, rule, best, count)]
                if rule == "Adam":
                    for seat in seats:
                        tried = [row for row in rows if row[0] == batch and row[2] == seat.entry.name]
                        best[seat.entry.name] = min(tried, key=lambda row: row[4])[3]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _round(
    seats: list[Seat], batch: int, rule: str, best: dict[str, int], count: int
) -> Iterator[tuple]:
    """Yield the rows of a rule and batch size; stack sizes are tried until the best are known."""
    sizes = {
        seat: (best[seat.entry.name],) if best else seat.entry.sizes(batch)
        for seat in seats
        if rule in seat.entry.rules
    }
    for attempt in range(max(map(len, sizes.values()))):
        playing = [seat for seat in sizes if attempt < len(sizes[seat])]
        cases = [Case(rule, batch, sizes[seat][attempt]) for seat in playing]
        for seat, case, timed in zip(playing, cases, turns(playing, cases, count), strict=True):
            yield (batch, rule, seat.entry.name, case.runs, *timed)


def best_stacks(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each contender's best stack size."""
    return rows.loc[rows.groupby(["batch", "rule", "contender"])["microseconds"].idxmin()]


def too_slow(rows: pd.DataFrame) -> list[str]:
    """Return in words at which batch sizes a step takes more than `MOST_OF_JAX` times JAX's."""
    adam = best_stacks(rows)[lambda each: each["rule"] == "Adam"]
    times = adam.pivot_table(index="batch", columns="contender", values="microseconds")
    if JAX not in times:
        return []
    ratios = (times[OURS] / times[JAX])[lambda ratio: ratio > MOST_OF_JAX]
    return [f"batch {batch:,}: a step takes {ratio:.1f} times JAX's" for batch, ratio in ratios.items()]


def table(rows: pd.DataFrame, batch: int) -> str:
    """Return a table in markdown: a row a contender, a column a rule, and ratios for Adam."""
    of_batch = best_stacks(rows)[lambda each: each["batch"] == batch]
    rules = [rule for rule in HYPERPARAMETERS if rule in set(of_batch["rule"])]
    times = of_batch.pivot_table(index="contender", columns="rule", values="microseconds")
    adam = of_batch[of_batch["rule"] == "Adam"].set_index("contender")
    limit = adam["limit_microseconds"].iloc[0]
    head = ["contender", "stack", *rules, "times the limit", "times optimlab"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name in times["Adam"].sort_values().index:
        cells = ["" if pd.isna(t := times.loc[name, rule]) else f"{t:,.1f}" for rule in rules]
        ratio, ours = times.loc[name, "Adam"] / limit, times.loc[name, "Adam"] / times.loc[OURS, "Adam"]
        stack = adam.loc[name, "stack"]
        lines.append(f"| {name} | {stack} | {' | '.join(cells)} | {ratio:,.1f} | {ours:,.2f} |")
    return "\n".join(lines)


def report(rows: pd.DataFrame) -> str:
    """Return the section in markdown."""
    lines = [
        "## A training step",
        "",
        "Microseconds per run and step: gather the batch, forward, backward, the optimizer's update.",
        "Each contender has a process of its own on one thread; they take turns, and the median is",
        "shown. All have the same starting points and batches, and their losses were checked to be the",
        "same. *stack*: how many runs are trained together, the best of those tried. *times the limit*:",
        "Adam's step over the time that its matrix products take at the rate of a large product; *times",
        "optimlab*: over optimlab's. scikit-learn's network has no batch norm, so it has less to do;",
        "the article's code is in float64; vmap keeps no running averages.",
    ]
    for batch in BATCHES:
        of_batch = rows[rows["batch"] == batch]
        limit = of_batch["limit_microseconds"].iloc[0]
        what = "The whole training set" if batch == 1200 else f"Batch {batch}"
        lines += ["", f"### {what}: the limit is {limit:.1f} µs", "", table(rows, batch)]
    jax = rows[rows["contender"] == JAX]
    if len(jax):
        first = jax["first_seconds"].median()
        text = (
            f"JAX compiles each program first, {first:.1f} s in the median, not counted in the tables."
        )
        lines += ["", text]
    return "\n".join(lines)
