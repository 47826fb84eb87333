"""How often the claims of a comparison are false, and how often they find what is there, in simulation.

Copies of one optimizer, each with seeds of its own, differ in nothing: every claim about them is false.
Real optimizers on the same seeds show what the claims find. Both are drawn from one sweep with many
seeds, which takes half an hour on a core:

    python -m optimlab sweep benchmarks/claims.toml
    python benchmarks/claims.py results/claims --experiments 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from optimlab.statistics import holm, signed_rank_p_value
from optimlab.statistics.finals import with_finals
from optimlab.statistics.pairs import claim_weights
from optimlab.statistics.resampling import (
    LEVEL,
    Estimate,
    choose,
    family,
    interquartile_weights,
    leave_one_out,
    mean_weights,
    split_seeds,
)
from optimlab.statistics.summary import judged

Array = np.ndarray
Numbers = Mapping[str, Array]  # "worth", "bad", "test_worth", "epochs" → (candidates, seeds)

TUNING = 10  # seeds
COLUMNS = ("worth", "bad", "test_worth", "epochs")


def read(folder: Path, final: str) -> dict[str, Numbers]:
    """Return optimizer → its numbers (candidates, seeds), from the tables of a sweep."""
    traces = pd.read_parquet(folder / "traces.parquet")
    runs = judged(with_finals(pd.read_csv(folder / "runs.csv"), traces, final), traces)
    return {
        str(label): {
            name: own.pivot_table(
                index="learning_rate", columns="seed", values=name, aggfunc="first"
            ).to_numpy()
            for name in COLUMNS
        }
        for label, own in runs.groupby("optimizer", sort=False)
    }


def now(
    optimizers: list[Numbers], tuning: int, splits: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Return for each claim which pairs differ, by the procedure of `optimlab.statistics`."""
    seeds = optimizers[0]["worth"].shape[1]
    reports = split_seeds(seeds, tuning, splits, rng)
    chosen = [choose(own["worth"], own["bad"], reports) for own in optimizers]

    def of(place: int, name: str) -> Array:
        return optimizers[place][name][chosen[place]]

    def typical(name: str) -> list[Estimate]:
        return [
            leave_one_out(of(place, name), reports, interquartile_weights)
            for place in range(len(optimizers))
        ]

    pairs = list(combinations(range(len(optimizers)), 2))
    loss, test = typical("worth"), typical("test_worth")
    claims = [loss[j] - loss[i] for i, j in pairs] + [test[j] - test[i] for i, j in pairs]
    for i, j in pairs:
        with np.errstate(invalid="ignore"):
            sooner = np.sign(np.nan_to_num(of(j, "epochs") - of(i, "epochs"), posinf=1, neginf=-1))
        claims.append(leave_one_out(sooner, reports, mean_weights))
    weights = claim_weights(np.arange(len(claims)) < len(pairs))
    found = (family(claims, rng, weights, draws=2000).adjusted < LEVEL).reshape(3, -1)
    return {"loss": found[0], "any": found.any(axis=0)}


def signed_ranks(optimizers: list[Numbers], tuning: int) -> Array:
    """Return which pairs differ by Wilcoxon's test at rates chosen once, with Holm's correction."""
    from scipy.stats import friedmanchisquare

    columns = []
    for own in optimizers:
        rate = np.median(own["worth"][:, :tuning], axis=1).argmin()
        columns.append(own["worth"][rate, tuning:])
    p_values = holm([signed_rank_p_value(b - a) for a, b in combinations(columns, 2)])
    is_open = len(columns) < 3 or friedmanchisquare(*columns).pvalue < LEVEL
    return is_open & (p_values < LEVEL)


def some(own: Numbers, seeds: Array) -> Numbers:
    """Return the numbers of some seeds."""
    return {name: values[:, seeds] for name, values in own.items()}


def drawn(
    populations: list[Numbers], size: int, shared: bool, rng: np.random.Generator
) -> list[Numbers]:
    """Return each population's numbers of some seeds: the same ones for all, or no seed twice."""
    seeds = rng.permutation(populations[0]["worth"].shape[1])
    starts = [0 if shared else place * size for place in range(len(populations))]
    return [
        some(own, seeds[start : start + size]) for own, start in zip(populations, starts, strict=True)
    ]


def simulate(
    data: dict[str, Numbers],
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
                verdicts = now(own, TUNING, splits, rng)
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
    parser.add_argument("--splits", type=int, default=200)
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
