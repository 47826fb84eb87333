"""Experiments of made-up losses, of every kind that a comparison meets."""

import numpy as np

from reference.statistics import table, traces_of

RATES = (0.01, 0.1, 1.0)
NAMES = ("A", "B", "C")
DEFAULTS = {"A": 0.1, "B": 0.1, "C": 0.01}  # the rules' own rates


def normal(source, size):
    """Return losses (optimizers, rates, seeds) of which the rates nearly tie."""
    middle = np.array([5.0, 5.1, 5.6])[:, None, None] + np.array([0.0, 0.1, 0.9])[:, None]
    return source.normal(middle, 1, size)


def heavy(source, size):
    """Return losses of a Cauchy distribution, one of them huge."""
    losses = 50 + source.standard_cauchy(size)
    losses[0, 0, 0] = 1e300
    return losses


def ties(source, size):
    """Return losses of five different values, the first two optimizers' nearly the same."""
    losses = source.integers(1, 6, size) / 4
    losses[1] = np.where(source.random(size[1:]) < 0.9, losses[0], losses[1])
    return losses


def diverged(source, size):
    """Return losses of which half are infinite, at the last rate all."""
    losses = np.where(source.random(size) < 0.5, np.inf, normal(source, size))
    losses[:, -1] = np.inf
    return losses


def copied(source, size):
    """Return losses of which some seeds have the same runs as others."""
    losses = normal(source, size)
    losses[..., 3:6] = losses[..., :3]
    return losses


def missing(source, size):
    """Return losses of which one optimizer lacks seeds (NaN), and another a run."""
    losses = normal(source, size)
    losses[1, :, 5:8] = losses[2, 1, 20] = np.nan
    return losses


WORLDS = {each.__name__: each for each in (normal, heavy, ties, diverged, copied, missing)}


def experiment(world, seeds=24, tuning=8):
    """Return the runs and the traces of an experiment in a world, the first seeds tuning."""
    source = np.random.default_rng(11)
    losses = WORLDS[world](source, (len(NAMES), len(RATES), seeds))
    rows = [
        (name, rate, seed + 100 * (seed >= tuning), "ok" if np.isfinite(loss) else "diverged", loss)
        for name, of_name in zip(NAMES, losses, strict=True)
        for rate, of_rate in zip(RATES, of_name, strict=True)
        for seed, loss in enumerate(of_rate)
        if not np.isnan(loss)
    ]
    runs = table(*rows)
    factors = source.uniform(0.9, 1.2, (len(NAMES), 3))  # as `copied` copies seeds
    which = runs["optimizer"].map(NAMES.index), runs["seed"] % 100 % 3
    runs["final_test_loss"] = runs["final_train_loss"] * factors[which]
    waits = source.integers(0, 4, len(RATES) * 3)[(runs["candidate"] * 3 + which[1]) % 9]
    wait_of = dict(zip(runs["run_id"], waits, strict=True))
    traces = traces_of(runs, lambda run: wait_of[run["run_id"]] * [0.1] + 4 * [0.97])
    test_loss = runs.set_index("run_id")["final_test_loss"]
    traces["test_loss"] = traces["run_id"].map(test_loss) + 4 - traces["epoch"]
    return runs, traces
