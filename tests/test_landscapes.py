"""Landscapes: exact gradients, known minima, and runs that follow the closed forms."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference.differences import directional_error
from sweeping import EXPERIMENTS, mostly_slow, run, tiny

from optimlab.experiment.load import load
from optimlab.experiment.runs import FIRST_REPORTING_SEED
from optimlab.optimizers import CLASSIC, SGD, Adam, Nesterov
from optimlab.problems import PROBLEMS, Landscape
from optimlab.problems.landscapes import FUNCTIONS
from optimlab.statistics import compare_optimizers
from optimlab.statistics.trajectories import nearest
from optimlab.storage.results import read_tables
from optimlab.training import train

CASES = {
    **{name: Landscape(function=name) for name in FUNCTIONS},
    "steep ravine": Landscape(function="ravine", condition=50, angle=30),
    "flat saddle": Landscape(function="saddle", condition=20, angle=-100),
    "turned Rosenbrock": Landscape(function="rosenbrock", angle=77),
}
every_landscape = pytest.mark.parametrize("landscape", CASES.values(), ids=CASES)


def starts(landscape, seeds):
    return landscape.init(seeds)[0]


def test_the_problem_is_known_by_name():
    assert PROBLEMS["landscape"] is Landscape
    assert {Landscape(function=name).function for name in FUNCTIONS} == set(FUNCTIONS)


def height(landscape):
    return lambda params: landscape.evaluate(params)["train_loss"]


@every_landscape
def test_gradients_agree_with_central_differences(landscape):
    rng = np.random.default_rng(1)
    at = rng.uniform(-2, 2, (500, 2))
    value, gradient = landscape.loss_and_gradient(at, 0.0)
    error = directional_error(height(landscape), gradient, at, rng)
    assert np.median(error) < 1e-9
    large = np.abs(gradient).sum(axis=1) > 1e-2 * np.sqrt(1 + value)  # else the difference is rounding
    assert large.mean() > 0.9
    assert error[large].max() < 1e-6
    assert np.array_equal(value, height(landscape)(at))


@every_landscape
def test_minima_and_saddles_are_where_they_are_declared(landscape):
    minima = height(landscape)(landscape.minima)
    assert np.abs(minima).max() < 1e-12
    around = np.concatenate(
        [landscape.minima + 1e-3 * np.random.default_rng(k).normal(size=2) for k in range(9)]
    )
    assert (height(landscape)(around) > 1e-12).all()
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[np.linspace(-6, 6, 601)] * 2)], axis=1)
    assert height(landscape)(grid).min() > -1e-12
    flat = np.concatenate([landscape.minima, landscape.saddles])
    assert np.abs(landscape.loss_and_gradient(flat, 0.0)[1]).max() < 1e-6
    for point in landscape.saddles:  # both up and down from there
        angles = np.linspace(0, 2 * np.pi, 60)
        ring = point + 1e-2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        rise = height(landscape)(ring) - height(landscape)(point[None])
        assert rise.min() < -1e-8 < 1e-8 < rise.max()


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("ravine", (3, 2), (9 + 4) / 2),
        ("saddle", (2, 0), 2.25),
        ("monkey_saddle", (1, 0), 1 / 3 + 1 / 4 + 1 / 12),
        ("rosenbrock", (-1.2, 1), 24.2),
        ("beale", (1, 1), 14.203125),
        ("himmelblau", (0, 0), 170),
        ("rastrigin", (0.5, 1), 20 + 0.25 + 10 + 1 - 10),
    ],
)
def test_values_that_the_literature_gives(name, point, value):
    assert height(Landscape(function=name))(np.array([point], float))[0] == pytest.approx(
        value, rel=1e-14
    )


def test_turning_turns_everything():
    plain, turned = (
        Landscape(function="beale", spread=0),
        Landscape(function="beale", angle=90, spread=0),
    )
    at = np.random.default_rng(0).normal(size=(20, 2))
    quarter = np.stack([-at[:, 1], at[:, 0]], axis=1)
    np.testing.assert_allclose(height(turned)(quarter), height(plain)(at), rtol=1e-12)
    x, y = plain.minima[0]
    np.testing.assert_allclose(turned.minima, [[-y, x]], atol=1e-12)
    assert not np.allclose(starts(turned, [0]), starts(plain, [0]))


def test_rotating_a_ravine_changes_adam_but_not_gradient_descent():
    finals = {}
    for rule, angle in itertools.product((SGD, Adam), (0, 45)):
        landscape = Landscape(condition=50, angle=angle, spread=0)
        recording = train(landscape, rule(learning_rate=0.01), [0], [50])
        finals[rule, angle] = recording.metrics["train_loss"][-1, 0]
    assert finals[SGD, 0] == pytest.approx(finals[SGD, 45], rel=1e-9)
    assert abs(finals[Adam, 45] / finals[Adam, 0] - 1) > 0.01


def test_the_seed_alone_decides_the_start_and_goes_through_the_start_points():
    landscape = Landscape(function="monkey_saddle", spread=0.01)
    params = starts(landscape, range(6))
    assert params.shape == (6, landscape.size) == (6, 2)
    assert params.dtype == np.float64
    assert np.array_equal(starts(landscape, [4, 1]), params[[4, 1]])
    nearest = np.linalg.norm(params[:, None] - landscape.starts, axis=2).argmin(axis=1)
    assert nearest.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(np.unique(params[:, 0])) == 6
    exact = Landscape(function="monkey_saddle", spread=0)
    assert np.array_equal(starts(exact, range(6)), np.tile(exact.starts, (2, 1)))
    shifts = starts(Landscape(spread=0.2), range(2000)) - starts(Landscape(spread=0), range(2000))
    assert shifts.std(axis=0) == pytest.approx([0.2, 0.2], rel=0.05)


def test_the_seed_alone_decides_the_noise():
    landscape = Landscape(noise=0.5)
    batches = list(itertools.islice(landscape.batches([7, 8, 9]), 600))
    alone = list(itertools.islice(landscape.batches([9]), 600))
    assert all(np.array_equal(some[2], one[0]) for some, one in zip(batches, alone, strict=True))
    assert np.std(batches, axis=(0, 1)) == pytest.approx([0.5, 0.5], rel=0.1)
    at = np.array([[1.0, 2.0]])
    exact = landscape.loss_and_gradient(at, 0.0)
    noisy = landscape.loss_and_gradient(at, alone[0])
    assert np.array_equal(noisy[1], exact[1] + alone[0])
    assert np.array_equal(noisy[0], exact[0])
    assert next(Landscape().batches([0])) == 0.0
    with pytest.raises(ValueError, match="params has 3 rows, but the batch has 1"):
        landscape.loss_and_gradient(np.zeros((3, 2)), alone[0])


STARTS = Landscape(spread=0.3, condition=20)


def path(landscape, optimizer, seeds, steps):
    """Return the points (steps + 1, R, 2) of runs."""
    metrics = train(landscape, optimizer, seeds, range(1, steps + 1)).metrics
    return np.stack([metrics["x"], metrics["y"]], axis=2)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.09])
def test_gradient_descent_on_a_ravine_follows_its_closed_form(rate):
    points = path(STARTS, SGD(learning_rate=rate, momentum=0.0), [0, 1, 2], 100)
    k = np.arange(101)[:, None, None]
    expected = points[0] * (1 - rate * np.array([1, 20])) ** k
    np.testing.assert_allclose(points, expected, rtol=1e-12, atol=1e-15)


def closed_form(matrix, start, steps):
    """Return the first component of matrix^k start for k = 0 … steps, by eigenvalues."""
    values, vectors = np.linalg.eig(matrix)
    weights = np.linalg.solve(vectors, start.astype(complex))
    return ((vectors[0] * weights) * values ** np.arange(steps + 1)[:, None]).sum(axis=1).real


@pytest.mark.parametrize("rule", [SGD, Nesterov])
@pytest.mark.parametrize(("rate", "momentum"), [(0.01, 0.9), (0.05, 0.9), (0.03, 0.5)])
def test_momentum_on_a_ravine_follows_its_closed_form(rule, rate, momentum):
    """Position and velocity of each coordinate are a linear map of two variables."""
    points = path(STARTS, rule(learning_rate=rate, momentum=momentum), [0, 1], 100)
    for coordinate, curvature in enumerate((1, 20)):
        pull = rate * curvature
        kept = momentum * (1 - pull) if rule is Nesterov else momentum  # v ← kept v + pull w
        matrix = np.array([[1 - pull, -kept], [pull, kept]])
        for r in range(2):
            start = np.array([points[0, r, coordinate], 0.0])
            expected = closed_form(matrix, start, 100)
            np.testing.assert_allclose(points[:, r, coordinate], expected, atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("condition", [1, 10])
def test_gradient_descent_leaves_the_saddle_at_the_textbooks_rate(rate, condition):
    """Near the saddle y grows by the factor 1 + η/κ a step, while x shrinks by 1 − η."""
    landscape = Landscape(function="saddle", condition=condition, spread=1e-11)
    points = path(landscape, SGD(learning_rate=rate, momentum=0.0), [0, 1], 15)
    k = np.arange(16)[:, None]
    np.testing.assert_allclose(points[..., 1], points[0, :, 1] * (1 + rate / condition) ** k, rtol=1e-10)
    np.testing.assert_allclose(points[..., 0], points[0, :, 0] * (1 - rate) ** k, rtol=1e-10)


@pytest.mark.parametrize("name", ["saddle", "monkey_saddle"])
def test_runs_at_a_saddle_start_nearer_to_it_than_to_a_minimum(name):
    landscape = Landscape(function=name, angle=20)
    to_saddle, to_minima = (
        nearest(landscape.starts, at) for at in (landscape.saddles, landscape.minima)
    )
    assert (to_saddle < to_minima - 0.1).all()


@pytest.mark.parametrize("rule", CLASSIC)
def test_no_run_on_the_ridge_leaves_the_saddle(rule):
    landscape = Landscape(function="saddle", spread=0)
    points = path(landscape, rule(learning_rate=0.1), [0, 1], 300)
    assert (points[..., 1] == 0).all()
    assert np.abs(points[-1, :, 0]).max() < 0.2


@pytest.mark.parametrize("name", ["saddle", "monkey_saddle"])
def test_a_run_that_leaves_a_saddle_does_not_diverge(name):
    landscape = Landscape(function=name, spread=0.1)
    recording = train(landscape, SGD(learning_rate=0.3), range(6), [1000])
    assert (recording.diverged_at == -1).all()
    assert recording.metrics["train_loss"][-1].max() < 1e-6


@every_landscape
@pytest.mark.parametrize("rule", mostly_slow(CLASSIC, quick=2))
def test_a_run_does_not_depend_on_its_neighbours(landscape, rule):
    seeds, rng = list(range(40)), np.random.default_rng(3)
    rates = 10.0 ** rng.uniform(-4, 0, (40, 1))
    whole = train(landscape, rule(learning_rate=rates), seeds, range(1, 60))
    for width in (1, 3, 17):
        some = sorted(rng.choice(40, width, replace=False))
        part = train(landscape, rule(learning_rate=rates[some]), some, range(1, 60))
        for name, values in part.metrics.items():
            assert np.array_equal(values, whole.metrics[name][:, some], equal_nan=True), name


def test_float32_stays_float32():
    for function in FUNCTIONS:
        landscape = Landscape(function=function, dtype="float32", noise=0.1, angle=30)
        params = starts(landscape, [0, 1])
        value, gradient = landscape.loss_and_gradient(params, next(landscape.batches([0, 1])))
        assert {params.dtype, value.dtype, gradient.dtype} == {np.dtype("float32")}


TEXT = """
title = "Tiny landscapes"
learning_rates = [0.01, 0.1]

[problems.ravine]
name = "landscape"
condition = 10

[problems.net]
name = "digits"
hidden = []
batch_size = 600

[problems."a saddle"]
name = "landscape"
function = "saddle"

[training]
epochs = 4

[seeds]
tuning = 1
reporting = 2

[optimizers."Gradient descent"]
rule = "SGD"
momentum = 0

[optimizers.Adam]
"""


def test_several_problems_in_one_experiment(tmp_path: Path):
    experiment = tiny(tmp_path, TEXT)
    assert experiment.count() == len(list(experiment.runs())) == 3 * 2 * 2 * 3
    assert len({r.run_id for r in experiment.runs()}) == 36
    outcome = run(experiment, tmp_path / "results")
    assert (outcome.ran, outcome.statuses) == (36, {"ok": 36})
    folder = tmp_path / "results/tiny"
    runs, traces = pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "traces.parquet")
    assert list(pd.unique(runs["problem"])) == ["ravine", "net", "a saddle"]
    assert list(pd.unique(traces["problem"])) == ["ravine", "net", "a saddle"]
    assert traces["run_id"].map(runs.set_index("run_id")["problem"]).equals(traces["problem"])
    steps = traces.groupby("problem")["step"].max()
    assert steps.to_dict() == {"ravine": 4, "net": 8, "a saddle": 4}
    has_place = traces.groupby("problem")[["x", "y"]].agg(lambda column: column.notna().all())
    assert has_place["x"].to_dict() == {"ravine": True, "net": False, "a saddle": True}
    first = traces[(traces["problem"] == "ravine") & (traces["seed"] == FIRST_REPORTING_SEED)]
    start = Landscape(condition=10).init([FIRST_REPORTING_SEED])[0][0]
    assert first.loc[first["step"] == 0, ["x", "y"]].drop_duplicates().to_numpy().tolist() == [
        start.tolist()
    ]
    again = run(experiment, tmp_path / "results")
    assert (again.ran, again.kept) == (0, 36)


@pytest.mark.slow
def test_the_label_of_a_problem_decides_no_number(tmp_path: Path):
    together = {r.run_id for r in tiny(tmp_path, TEXT).runs()}
    renamed = {
        r.run_id for r in tiny(tmp_path, TEXT.replace("problems.ravine", "problems.valley")).runs()
    }
    alone = TEXT.replace("problems.ravine", "problem")
    alone = alone[: alone.index("[problems.net]")] + alone[alone.index("[training]") :]
    single = tiny(tmp_path, alone)
    assert [setting.label for setting in single.problems] == ["landscape"]
    assert together == renamed
    assert {r.run_id for r in single.runs()} < together
    first = run(single, tmp_path / "results")
    rest = run(tiny(tmp_path, TEXT), tmp_path / "results")
    assert (first.ran, rest.kept, rest.ran) == (12, 12, 24)


def test_the_shipped_experiment_is_the_one_that_its_docs_describe():
    experiment = load(EXPERIMENTS / "landscapes.toml")
    assert experiment.count() == 13_824
    assert {setting.problem.function for setting in experiment.problems} == set(FUNCTIONS)
    assert {setting.record_at for setting in experiment.problems} == {tuple(range(1, 101))}
    first, *others = experiment.optimizers
    assert (first.rule, first.hyperparameters) == ("SGD", {"momentum": 0.0})
    assert [setting.rule for setting in others] == [rule.__name__ for rule in CLASSIC]
    assert len({setting.learning_rates for setting in experiment.optimizers}) == 1  # the same budget
    for setting in experiment.problems:  # each starting point has as many seeds as any other
        starts = len(setting.problem.starts)
        assert experiment.seeds.tuning % starts == experiment.seeds.reporting % starts == 0


def test_the_paths_of_the_network_lie_on_one_surface():
    experiment = load(EXPERIMENTS / "digits_paths.toml")
    (setting,) = experiment.problems
    (usual,) = load(EXPERIMENTS / "digits.toml").problems
    assert setting.problem == replace(usual.problem, evaluate_with="batch")
    assert setting.record_at == usual.record_at
    assert sum(r.keeps_params for r in experiment.runs()) == 6 * 11


@pytest.mark.slow
def test_runs_without_spread_and_noise_are_as_many_seeds_as_start_points(tmp_path):
    """Eighteen copies of two runs are no evidence."""
    text = """
title = "x"
learning_rates = [0.01]
[problem]
name = "landscape"
function = "himmelblau"
spread = 0
noise = 0
[training]
steps = 2
[seeds]
tuning = 0
reporting = 18
[optimizers.SGD]
[optimizers.Nesterov]
[optimizers.Adam]
"""
    run(tiny(tmp_path, text), tmp_path)
    tables = read_tables(tmp_path / "tiny")
    distinct = tables.runs.groupby("optimizer")["final_train_loss"].nunique().max()
    pairs = compare_optimizers(tables.runs, tables.traces, None, splits=9, draws=20).pairs
    assert distinct < 6  # seeds that a claim takes
    assert set(pairs["seeds"]) == {distinct}
    assert not pairs["different"].any()
