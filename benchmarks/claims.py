"""How often the claims of a comparison are false, and how often they find what is there, in simulation.

Copies of one optimizer, each with seeds of its own, differ in nothing: every claim about them is false.
Real optimizers on the same seeds show what the claims find. Both are drawn from one sweep with many
seeds, which takes half an hour on a core:

    python -m optimlab sweep benchmarks/claims.toml
    python benchmarks/claims.py results/claims --experiments 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from optimlab.statistics import holm, signed_rank_p_value
from optimlab.statistics.finals import with_finals
from optimlab.statistics.pairs import CLAIMS, EQUAL_WITHIN, claim, retuned_pairs
from optimlab.statistics.resampling import LEVEL, SPLITS
from optimlab.statistics.retuning import Grid, Retuning, grid
from optimlab.statistics.summary import judged

Array = np.ndarray

TUNING = 10  # seeds


def read(folder: Path, final: str) -> dict[str, Grid]:
    """Return optimizer → the numbers of its runs, from the tables of a sweep."""
    traces = pd.read_parquet(folder / "traces.parquet")
    runs = judged(with_finals(pd.read_csv(folder / "runs.csv"), traces, final), traces)
    return {str(label): grid(own) for label, own in runs.groupby("optimizer", sort=False)}


def now(optimizers: list[Grid], tuning: int, splits: int) -> dict[str, Array]:
    """Return for each claim which pairs differ, as `optimlab.statistics` has it.

    At the textbook rates, of which each optimizer has one, it is as in a comparison: the setting has
    all seeds, and shares the error rate. A textbook rate is here the lowest one of the grid.
    """
    labels = [f"{place}" for place in range(len(optimizers))]
    settings = {
        "tuned": Retuning(dict(zip(labels, optimizers, strict=True)), tuning, splits),
        "default": Retuning(
            {label: first(own) for label, own in zip(labels, optimizers, strict=True)}, 0
        ),
    }
    pairs = [
        pair
        for setting, retuning in settings.items()
        for pair in retuned_pairs(setting, retuning, labels, EQUAL_WITHIN, 0.0)
    ]
    claim(pairs)
    found = {
        f"{setting} {name}": np.array(
            [pair.row[f"{prefix}different"] for pair in pairs if pair.row["setting"] == setting]
        )
        for setting in settings
        for name, prefix in CLAIMS.items()
    }
    return found | {"any": np.any(list(found.values()), axis=0)}


def first(own: Grid) -> Grid:
    """Return the numbers of the first candidate alone."""
    numbers = {name: values[:1] for name, values in own.numbers.items()}
    return Grid(own.candidates[:1], own.seeds, numbers, own.fingerprints[:1])


def signed_ranks(optimizers: list[Grid], tuning: int) -> Array:
    """Return which pairs differ by Wilcoxon's test at rates chosen once, with Holm's correction."""
    from scipy.stats import friedmanchisquare

    columns = []
    for own in optimizers:
        worth = own.numbers["worth"]
        rate = np.median(worth[:, :tuning], axis=1).argmin()
        columns.append(worth[rate, tuning:])
    p_values = holm([signed_rank_p_value(b - a) for a, b in combinations(columns, 2)])
    is_open = len(columns) < 3 or friedmanchisquare(*columns).pvalue < LEVEL
    return is_open & (p_values < LEVEL)


def some(own: Grid, seeds: Array) -> Grid:
    """Return the numbers of some seeds, which are counted anew."""
    numbers = {name: values[:, seeds] for name, values in own.numbers.items()}
    return Grid(own.candidates, np.arange(len(seeds)), numbers, own.fingerprints[:, seeds])


def drawn(populations: list[Grid], size: int, shared: bool, rng: np.random.Generator) -> list[Grid]:
    """Return each population's numbers of some seeds: the same ones for all, or no seed twice."""
    seeds = rng.permutation(len(populations[0].seeds))
    starts = [0 if shared else place * size for place in range(len(populations))]
    return [
        some(own, seeds[start : start + size]) for own, start in zip(populations, starts, strict=True)
    ]


def simulate(
    data: dict[str, Grid],
    reporting: list[int],
    experiments: int,
    splits: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:
    """Yield the share of experiments in which something is claimed, by world, seeds and procedure."""
    worlds = [
        (f"{copies} copies of {name}", copies * [name], False) for copies in (2, 5) for name in data
    ]
    worlds += [("all", list(data), True)]
    worlds += [(f"{a} and {b}", [a, b], True) for a, b in combinations(data, 2)]
    for seeds in reporting:
        for world, names, shared in worlds:
            found: dict[str, list[Array]] = {}
            for _ in range(experiments if not shared else experiments // 4):
                own = drawn([data[name] for name in names], TUNING + seeds, shared, rng)
                verdicts = now(own, TUNING, splits)
                verdicts["signed ranks, rate held fixed"] = signed_ranks(own, TUNING)
                for procedure, differ in verdicts.items():
                    found.setdefault(procedure, []).append(differ)
            row = {"world": world, "seeds": f"{TUNING} + {seeds}"}
            for procedure, differ in found.items():
                row[procedure] = float(np.any(differ, axis=1).mean())
                if len(names) > 2 and shared:
                    pairs = combinations(names, 2)
                    shares = zip(pairs, np.mean(differ, axis=0), strict=True)
                    row[procedure] = ", ".join(f"{a}–{b} {share:.2f}" for (a, b), share in shares)
            yield row


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--reporting", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--final", default="mean:5")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = read(given.folder, given.final)
    for row in simulate(
        data, given.reporting, given.experiments, given.splits, np.random.default_rng(given.seed)
    ):
        print("; ".join(f"{name}: {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
