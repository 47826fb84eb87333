"""The statistics once more, slow and plain: loops over numbers, by the words of each definition.

Beside them, the small tables of runs that their tests share.
"""

from itertools import combinations
from math import exp, inf, log, nan, sqrt

import numpy as np
import pandas as pd

TRACE = ["run_id", "optimizer", "learning_rate", "seed", "role", "step", "epoch", "train_loss",
         "validation_loss", "validation_accuracy"]  # fmt: skip


def table(*runs):
    """Return runs given as (optimizer, learning rate, seed, status, loss); seeds ≥ 100 are fresh.

    The candidates of an optimizer are its learning rates, counted from 1 in order.
    """
    rates = {}
    for optimizer, rate, *_ in runs:
        rates.setdefault(optimizer, set()).add(rate)
    rows = [
        {
            "run_id": f"{optimizer} {rate} {seed}",
            "optimizer": optimizer,
            "rule": optimizer,
            "candidate": 1 + sorted(rates[optimizer]).index(rate),
            "learning_rate": rate,
            "seed": seed,
            "role": "reporting" if seed >= 100 else "tuning",
            "status": status,
            "final_train_loss": loss,
            "final_validation_loss": loss,
            "final_test_accuracy": nan if np.isnan(loss) else 0.9,
        }
        for optimizer, rate, seed, status, loss in runs
    ]
    return pd.DataFrame(rows)


def traces_of(runs, accuracies=(0.1, 0.94, 0.96, 0.97, 0.98)):
    """Return records ten steps, or one epoch, apart; the loss falls by one each epoch, to its end.

    `accuracies` may be a function from a run to its accuracies.
    """
    rows = []
    for run in runs.to_dict("records"):
        mine = accuracies(run) if callable(accuracies) else accuracies
        for epoch, accuracy in enumerate(mine if run["status"] != "failed" else ()):
            loss = run["final_train_loss"] + len(mine) - 1 - epoch
            row = {key: run[key] for key in TRACE if key in run}
            row |= {"step": 10 * epoch, "epoch": float(epoch), "train_loss": loss}
            row |= {"validation_loss": loss if "final_validation_loss" in run else nan}
            rows.append(row | {"validation_accuracy": accuracy if run["status"] == "ok" else nan})
    return pd.DataFrame(rows, columns=TRACE)


def contest(seeds, **losses):
    """Return runs at one learning rate; each optimizer's loss is a function of the seed's number.

    An infinite one is a run that diverged.
    """
    return table(
        *(
            (name, 0.1, 100 + seed, "ok" if np.isfinite(loss(seed)) else "diverged", loss(seed))
            for name, loss in losses.items()
            for seed in seeds
        )
    )


def interquartile_mean(values):
    """Write each number four times, strike out the lowest and the highest quarter, and average."""
    four = sorted(value for value in values for _ in range(4))
    left = four[len(values) : len(four) - len(values)]
    return sum(left) / len(left)


def holm(p_values):
    """Multiply the k-th least of m by m − k + 1; none may be below one before it, nor above 1."""
    adjusted = []
    for p in p_values:
        candidates = []
        for k, other in enumerate(sorted(p_values)):
            if other <= p:
                candidates.append((len(p_values) - k) * other)
        adjusted.append(min(1.0, max(candidates)))
    return adjusted


def median(values):
    """Return the median of numbers that may be infinite."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2


def choose(columns):
    """Return the rate whose median score is least; a tie: fewer bad runs, then the smaller rate.

    `columns` : rate → list of (status, score).
    """
    best = None
    for rate, runs in columns.items():
        bad = sum(status != "ok" for status, _ in runs) / len(runs)
        judged = (median([score for _, score in runs]), bad, rate)
        if best is None or judged < best:
            best = judged
    return best[2]


def expected_best(tuned, losses, trials):
    """Try every draw of so many rates; each gives the loss of the one that tuning likes best."""
    found = []
    for drawn in combinations(range(len(tuned)), trials):
        best = drawn[0]
        for rate in drawn:
            if tuned[rate] < tuned[best]:
                best = rate
        found.append(losses[best])
    return sum(found) / len(found)


def step_kept(values, apart, target, hold, parts=1000):
    """Walk along the lines between records, in small strides, to where a long spell begins.

    A spell lasts for `hold` steps or to the end, and into no gap: there nothing is known.
    """
    walk = []
    for place, value in enumerate(values):
        before = values[place - 1] if place else nan
        for part in range(1, parts) if place else ():
            after = before + (value - before) * part / parts
            walk.append((apart * (place - 1 + part / parts), after >= target))
        walk.append((apart * place, value >= target))
    begun = inf
    for step, is_past in walk:
        if not is_past and step - begun >= hold:
            break
        begun = min(begun, step) if is_past else inf
    return begun


def product_limit(steps):
    """Return Kaplan and Meier's median and the 95 % interval by Brookmeyer and Crowley, log–log.

    A run without a step is censored after all the others. Where a curve is a half from one time to the
    next, the time midway is taken.
    """
    z = 1.959963984540054
    survival, greenwood = 1.0, 0.0
    found = {"median": inf, "low": inf, "high": inf}
    half = {}
    for time in sorted({step for step in steps if step < inf}):
        at_risk = sum(step >= time for step in steps)
        died = sum(step == time for step in steps)
        survival *= 1 - died / at_risk
        if at_risk > died:
            greenwood += died / (at_risk * (at_risk - died))
            spread = z * sqrt(greenwood) / abs(log(survival))
            band = survival ** exp(spread), survival ** exp(-spread)
        else:
            survival, band = 0.0, (0.0, 0.0)
        for name, value in zip(("median", "low", "high"), (survival, *band), strict=True):
            if abs(value - 0.5) <= 1e-12:
                half.setdefault(name, time)
            elif value < 0.5 and found[name] == inf:
                found[name] = (half.get(name, time) + time) / 2
    for name, time in half.items():
        found[name] = min(found[name], time) if found[name] == inf else found[name]
    return found["median"], found["low"], found["high"]


def solved_within(times, optimizer, ratio):
    """Return the share of (target, seed) pairs that an optimizer solves within a ratio of the fastest.

    `times` : (target, seed) → optimizer → steps.
    """
    counted = solved = 0
    for steps in times.values():
        fastest = min(steps.values())
        if fastest in (0, inf):
            continue
        counted += 1
        solved += steps[optimizer] <= ratio * fastest * (1 + 1e-6)
    return solved / counted


def decades_within(rates, losses, factor, parts=20_000):
    """Walk from the best rate both ways in small strides, as long as the loss is within the factor."""
    best = losses.index(min(losses))
    allowed = log(min(losses) * factor)
    decades = 0.0
    for way in (1, -1):
        place = best
        while 0 <= place + way < len(rates):
            here, there = losses[place], losses[place + way]
            if there == inf:
                break
            stride = abs(log(rates[place + way] / rates[place]) / log(10)) / parts
            for part in range(1, parts + 1):
                if log(here) + part / parts * (log(there) - log(here)) > allowed:
                    break
                decades += stride
            else:
                place += way
                continue
            break
    return decades
