"""How often the claims of a comparison are false, and how often they find what is there, in simulation.

Copies of one optimizer, each with seeds of its own, differ in nothing: every claim about them is false.
Real optimizers on the same seeds show what the claims find. Both are drawn from one sweep with many
seeds, which takes half an hour on a core:

    python -m optimlab sweep benchmarks/claims.toml
    python benchmarks/claims.py results/claims --experiments 2000

With ``--fitted`` the copies' runs are not drawn from the sweep's but from a distribution fitted to them,
so that no run occurs twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from optimlab.experiment.document import EQUAL_WITHIN
from optimlab.statistics import holm, signed_rank_p_value
from optimlab.statistics.finals import with_finals
from optimlab.statistics.pairs import CLAIMS, claim, retuned_pairs
from optimlab.statistics.resampling import LEVEL, SPLITS
from optimlab.statistics.retuning import Grid, Retuning, grid
from optimlab.statistics.summary import judged

Array = np.ndarray

TUNING = 10  # seeds
DRAWS = 2000  # of the least p-value: a fifth of a comparison's


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
    labels = [f"{index}" for index in range(len(optimizers))]
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
    claim(pairs, draws=DRAWS)
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
    """Return the numbers of some seeds, renumbered from 0."""
    numbers = {name: values[:, seeds] for name, values in own.numbers.items()}
    return Grid(own.candidates, np.arange(len(seeds)), numbers, own.fingerprints[:, seeds])


def drawn(populations: list[Grid], size: int, shared: bool, rng: np.random.Generator) -> list[Grid]:
    """Return each population's numbers of some seeds: the same ones for all, or no seed twice."""
    seeds = rng.permutation(len(populations[0].seeds))
    starts = [0 if shared else index * size for index in range(len(populations))]
    return [
        some(own, seeds[start : start + size]) for own, start in zip(populations, starts, strict=True)
    ]


def fitted(populations: list[Grid], size: int, _: bool, rng: np.random.Generator) -> list[Grid]:
    """Return runs that resemble each population's: a Gaussian copula fitted to its numbers.

    A seed's numbers at all candidates are correlated normal numbers, as their ranks in the population
    are; each is then the population's quantile of that rank, between two runs where it is a loss.
    """
    return [_resembling(own, size, rng) for own in populations]


def _resembling(own: Grid, size: int, rng: np.random.Generator) -> Grid:
    from scipy.special import ndtr, ndtri

    names = ("worth", "test_worth", "epochs")
    values = np.stack([own.numbers[name] for name in names])  # (numbers, candidates, seeds)
    seeds = values.shape[2]
    normal = ndtri((values.argsort(axis=2).argsort(axis=2) + 0.5) / seeds)
    levels = ndtr(normal @ rng.standard_normal((seeds, size)) / np.sqrt(seeds))
    ordered, index = np.sort(values, axis=2), np.minimum((levels * seeds).astype(int), seeds - 1)
    numbers = dict(zip(names, np.take_along_axis(ordered, index, axis=2), strict=True))
    for name, level, losses in zip(names[:2], levels, ordered, strict=False):
        between = zip(level, losses, strict=True)
        numbers[name] = np.array([np.quantile(of_rate, each) for each, of_rate in between])
    numbers["bad"] = np.zeros_like(numbers["worth"])
    prints = rng.random(numbers["worth"].shape)
    return Grid(own.candidates, np.arange(size), numbers, prints)


Draw = Callable[[list[Grid], int, bool, np.random.Generator], list[Grid]]


def simulate(
    data: dict[str, Grid],
    worlds: list[tuple[str, list[str], bool]],
    seeds: int,
    experiments: int,
    splits: int,
    rng: np.random.Generator,
    draw: Draw = drawn,
) -> Iterator[dict[str, object]]:
    """Yield the share of experiments in which something is claimed, by world and procedure.

    Parameters
    ----------
    worlds : the label, the optimizers, and whether they share the seeds: real ones do, copies do not.
        Of real ones a quarter of the experiments is drawn.
    seeds : how many report.
    """
    for world, names, shared in worlds:
        found: dict[str, list[Array]] = {}
        times = experiments if not shared else experiments // 4
        for number in range(times):
            own = draw([data[name] for name in names], TUNING + seeds, shared, rng)
            verdicts = now(own, TUNING, splits)
            if number < times // 4:
                verdicts["signed ranks, rate held fixed"] = signed_ranks(own, TUNING)
            for procedure, differ in verdicts.items():
                found.setdefault(procedure, []).append(differ)
        row: dict[str, object] = {"world": world, "seeds": f"{TUNING} + {seeds}", "experiments": times}
        yield row | {name: float(np.any(differ, axis=1).mean()) for name, differ in found.items()}


def worlds_of(names: list[str], copies: list[int], pairs: bool) -> list[tuple[str, list[str], bool]]:
    """Return the worlds: copies of each optimizer, and every pair of optimizers."""
    worlds = [(f"{of} copies of {name}", of * [name], False) for of in copies for name in names]
    real = [(f"{a} and {b}", [a, b], True) for a, b in combinations(names, 2)]
    return worlds + real * pairs


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--reporting", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--copies", type=int, nargs="*", default=[5, 2])
    parser.add_argument("--no-pairs", action="store_true", help="no real optimizers")
    parser.add_argument("--fitted", action="store_true", help="copies from a fitted distribution")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--final", default="mean:5")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = read(given.folder, given.final)
    worlds = worlds_of(list(data), given.copies, not given.no_pairs and not given.fitted)
    draw, rng = fitted if given.fitted else drawn, np.random.default_rng(given.seed)
    for seeds in given.reporting:
        for row in simulate(data, worlds, seeds, given.experiments, given.splits, rng, draw):
            print("; ".join(f"{name}: {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
