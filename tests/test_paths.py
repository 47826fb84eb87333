"""Measures of paths: against paths drawn by hand; and the sentences about them."""

import numpy as np
import pandas as pd
import pytest

from optimlab.optimizers import SGD
from optimlab.problems import Landscape
from optimlab.statistics import trajectories as paths
from optimlab.training import train

INF, NAN = np.inf, np.nan


def walk(points, label="Adam", seed=1000, losses=None, every=1):
    """Return the traces of a run through some points."""
    points = np.array(points, float)
    updates = np.diff(points, axis=0, prepend=np.nan)
    norms = np.linalg.norm(updates, axis=1)
    cosines = np.full(len(points), NAN)
    with np.errstate(invalid="ignore"):
        cosines[2:] = (updates[2:] * updates[1:-1]).sum(axis=1) / (norms[2:] * norms[1:-1])
    losses = np.arange(len(points), 0, -1.0) if losses is None else losses
    return pd.DataFrame(
        {
            "run_id": f"{label} {seed}",
            "optimizer": label,
            "seed": seed,
            "step": every * np.arange(len(points)),
            "train_loss": losses,
            "update_norm": norms,
            "update_cosine": cosines,
            "x": points[:, 0],
            "y": points[:, 1],
        }
    )


def measure(points, minima=None, saddles=None, **options):
    (row,) = paths.measure_paths(walk(points, **options), minima, saddles).to_dict("records")
    return row


PATHS = {
    "straight": ([(0, 0), (1, 0), (3, 0)], 1, 1),
    "to and fro": ([(0, 0), (2, 0), (1, 0)], -1, 3),
    "a corner": ([(0, 0), (3, 0), (3, 4)], 0, 7 / 5),
    "a long straight step counts more": ([(0, 0), (1, 0), (4, 0), (3, 0)], (3 - 1) / 4, 5 / 3),
    "the first step has no turn": ([(0, 0), (100, 0), (101, 0), (102, 0)], 1, 1),
    "home again": ([(0, 0), (1, 0), (0, 0)], -1, NAN),
    "a rest": ([(0, 0), (1, 0), (1, 0)], NAN, 1),
}


@pytest.mark.parametrize("name", PATHS)
def test_zigzag_and_detour(name):
    points, cosine, detour = PATHS[name]
    row = measure(points)
    assert row["mean_cosine"] == pytest.approx(cosine, nan_ok=True)
    assert row["detour"] == pytest.approx(detour, nan_ok=True)


def test_a_detour_needs_every_step_and_the_coordinates():
    points = [(0, 0), (1, 0), (1, 1)]
    assert np.isnan(measure(points, every=2)["detour"])
    without = walk(points).drop(columns=["x", "y"])
    assert paths.measure_paths(without)["detour"].isna().all()
    elsewhere = walk(points).assign(x=NAN, y=NAN)  # another problem's runs have no coordinates
    assert paths.measure_paths(elsewhere)["detour"].isna().all()


MINIMA, SADDLES = np.array([(0.0, 1.0), (0.0, -1.0)]), np.array([(0.0, 0.0)])
DEPARTURES = {
    "at once": ([(0.3, 0.6), (0, 0.9), (0, 1)], 0),
    "later": ([(1, 0), (0.5, 0.1), (0.1, 0.6), (0, 1)], 2),
    "to the other side": ([(1, 0), (0, -0.6), (0, -1)], 1),
    "and back again, for good": ([(1, 0), (0, 0.6), (0, 0.4), (0, 0.7)], 3),
    "never": ([(1, 0), (0.5, 0.0), (0.1, 0.3)], INF),
    "and back again": ([(1, 0), (0, 0.6), (0, 0.4)], INF),
    "diverged": ([(1, 0), (0, 0.6), (NAN, NAN)], INF),
}


@pytest.mark.parametrize("name", DEPARTURES)
def test_steps_to_leave_a_saddle(name):
    points, steps = DEPARTURES[name]
    assert measure(points, MINIMA, SADDLES)["steps_to_leave"] == steps


def test_where_there_is_no_saddle_nothing_is_left():
    assert np.isnan(measure([(1, 0), (0, 0.6)], MINIMA, np.empty((0, 2)))["steps_to_leave"])
    assert np.isnan(measure([(1, 0), (0, 0.6)])["steps_to_leave"])


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([9, 0.05, 0.09, 0.02], 10),
        ([9, 0.0901, 1, 0.09], 30),
        ([9, 1, 1, 1], INF),
        ([9, NAN, NAN, NAN], INF),
    ],
)
def test_steps_to_the_target(losses, steps):
    assert measure([(0, 0), (1, 0), (2, 0), (3, 0)], losses=losses, every=10)["steps_to_target"] == steps


def test_a_diverged_path_is_no_short_one():
    row = measure([(0, 0), (1, 0), (-2, 0), (NAN, NAN)])
    assert row["mean_cosine"] == -1
    assert row["detour"] == INF


def test_the_zigzag_of_gradient_descent_on_a_ravine_is_the_one_of_its_formula():
    """Along the steep coordinate alone, each update is the one before times 1 − η κ."""
    landscape = Landscape(condition=50, spread=0)
    recording = train(landscape, SGD(learning_rate=0.03, momentum=0.0), [0], range(1, 8))
    metrics = {name: values[:, 0] for name, values in recording.metrics.items()}
    traces = pd.DataFrame({"run_id": "a", "optimizer": "GD", "seed": 0, "step": range(8), **metrics})
    x, y = -2.5 * 0.97 ** np.arange(8), 0.6 * (-0.5) ** np.arange(8)
    (row,) = paths.measure_paths(traces).to_dict("records")
    (drawn,) = paths.measure_paths(walk(np.stack([x, y], axis=1))).to_dict("records")
    assert row["mean_cosine"] == pytest.approx(drawn["mean_cosine"], abs=1e-12)
    assert row["detour"] == pytest.approx(drawn["detour"], rel=1e-12)


def contest(seeds=12, **cosines):
    """Return measures whose mean cosine is a function of the seed's number; all leave after 5 steps."""
    rows = [
        {"run_id": f"{label} {seed}", "optimizer": label, "seed": seed, "mean_cosine": cosine(seed),
         "detour": 1.0, "steps_to_leave": 5.0, "steps_to_target": INF}
        for label, cosine in cosines.items()
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


FOUR = {
    "GD": lambda seed: 0.1 + seed / 50,
    "Less": lambda seed: 0.5 + seed / 50,
    "More": lambda seed: -0.5 + seed / 50,
    "Alike": lambda seed: 0.1 + seed / 50 + 0.01 * (-1) ** seed,
}


def test_optimizers_are_compared_with_gradient_descent_seed_by_seed():
    summary = paths.summarize_paths(contest(**FOUR), "GD").set_index("optimizer")
    assert list(summary.index) == list(FOUR)
    assert summary["seeds"].tolist() == [12] * 4
    difference = summary["mean_cosine_difference_median"]
    assert difference[["Less", "More"]].tolist() == pytest.approx([0.4, -0.6])
    assert np.isnan(difference["GD"])
    assert summary.loc["Less", "mean_cosine_difference_low"] == pytest.approx(0.4)
    assert summary.loc["Less", "mean_cosine_p_value"] == pytest.approx(3 * 2 / 2**12)  # Holm, of three
    assert summary.loc["Alike", "mean_cosine_p_value"] > 0.05
    assert summary.loc["GD", "mean_cosine_median"] == pytest.approx(0.21)
    assert np.isinf(summary["steps_to_target_median"]).all()
    assert (summary["steps_to_target_difference_median"].drop("GD") == 0).all()


def test_copies_of_a_seed_are_tested_once():
    """Three starts without spread, four seeds each, are no more evidence than three seeds."""
    copies = contest(**{name: lambda s, of=of: of(s % 3) for name, of in FOUR.items()})
    summary = paths.summarize_paths(copies, "GD").set_index("optimizer")
    assert summary["seeds"].tolist() == [12] * 4
    assert summary.loc["Less", "mean_cosine_p_value"] == pytest.approx(3 * 2 / 2**3)
    one_turns = copies.assign(mean_cosine=copies["mean_cosine"] + copies["seed"] * (copies["seed"] > 8))
    assert paths.summarize_paths(one_turns, "GD")["mean_cosine_p_value"].min() == 3 * 2 / 2**6


def test_the_answers_say_what_the_numbers_say():
    summary = paths.summarize_paths(contest(**FOUR), "GD")
    said = paths.zigzag_answers(summary, "GD")
    assert said["GD"].startswith("mean cosine 0.21 [0.")
    assert said["Less"].startswith("turns less than GD; mean cosine 0.61")
    assert said["Less"].endswith("difference 0.40 [0.40, 0.40] (p = 0.0015).")
    assert said["More"].startswith("turns more than GD; mean cosine −0.39")
    assert said["Alike"].startswith("no difference from GD is shown; ")


def test_without_gradient_descent_there_is_no_comparison():
    summary = paths.summarize_paths(contest(**FOUR), None)
    assert summary["mean_cosine_p_value"].isna().all()
    assert {said[:12] for said in paths.zigzag_answers(summary, None).values()} == {"mean cosine "}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([3, 4, 5, 6], "Steps until the runs leave the saddle: GD 4.5 [3, 6]."),
        ([3, 4, 5, INF], "Steps until the runs leave the saddle: GD 4.5 [3, ∞] (3 of 4 runs)."),
        ([INF] * 4, "No optimizer leaves the saddle in 100 steps."),
    ],
)
def test_which_optimizers_leave_the_saddle(steps, said):
    measures = contest(4, GD=FOUR["GD"]).assign(steps_to_leave=steps)
    summary = paths.summarize_paths(measures, "GD")
    assert paths.saddle_overview("saddle", summary, 100) == said
    assert summary["never_left"].tolist() == [sum(step == INF for step in steps)]


def test_the_overview_counts_landscapes():
    one = paths.summarize_paths(contest(**FOUR), "GD")
    other = paths.summarize_paths(contest(GD=FOUR["GD"], Less=FOUR["More"], More=FOUR["More"]), "GD")
    said = paths.zigzag_overview({"ravine": one, "bowl": other}, "GD")
    assert said == {
        "Less": "turns less than GD on 1 of 2 problems (ravine), more on 1 (bowl).",
        "More": "turns less than GD on none of 2 problems, more on 2 (ravine and bowl).",
        "Alike": "turns less than GD on none of 2 problems, with no difference shown on 1.",
    }


def test_plain_gradient_descent_is_what_was_chosen_on_every_problem():
    runs = pd.DataFrame(
        {
            "optimizer": ["SGD", "Tuned", "Mine", "Tuned", "GD", "GD"],
            "rule": ["SGD", "SGD", "own.py:Own", "SGD", "SGD", "SGD"],
            "momentum": [0.9, 0, 0, 0.5, 0, 0],
        }
    )
    assert paths.gradient_descent(runs) == "GD"
    assert paths.gradient_descent(runs[:3]) == "Tuned"  # of a grid that contains 0
    assert paths.gradient_descent(runs[:1]) is None
    assert paths.gradient_descent(runs[:4]) is None
    assert paths.gradient_descent(runs[:0]) is None
    assert paths.gradient_descent(runs.drop(columns="momentum")) is None
