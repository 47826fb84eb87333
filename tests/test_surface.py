"""Recorded parameters, the plane through them, and the loss on that plane."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sweeping import document, load, mostly_slow, plugin, run, tiny, write
from test_charts import without_pictures

import optimlab.execution.surface as sweep_surface
import optimlab.execution.sweep as sweep_module
from optimlab.execution.stack import train_stack
from optimlab.execution.sweep import stacks
from optimlab.experiment.runs import FIRST_REPORTING_SEED
from optimlab.optimizers import SGD, Adam
from optimlab.problems import Digits, Landscape
from optimlab.report.page import write_report
from optimlab.statistics import plane as surface
from optimlab.storage.results import read_tables
from optimlab.training import train

SMALL = {"hidden": (), "batch_size": 300, "evaluate_with": "batch", "dtype": "float64"}
PROBLEM = 'hidden = []\nbatch_size = 600\nevaluate_with = "batch"\n'


def text(record_params=1, **parts):
    return document(
        problem=PROBLEM,
        training=f"epochs = 2\nrecord_params = {record_params}",
        optimizers=parts.pop("optimizers", "[optimizers.SGD]\n[optimizers.Adam]\n"),
        **parts,
    )


def params_of(results):
    return pd.read_parquet(results / "tiny/params.parquet")


def test_recorded_parameters_end_where_the_training_ends_and_change_nothing():
    problem = Digits(**SMALL)
    plain = train(problem, Adam(learning_rate=0.1), [3, 4, 5], [1, 2, 6])
    kept = train(problem, Adam(learning_rate=0.1), [3, 4, 5], [1, 2, 6], params_of=[2, 0])
    assert plain.kept_params.shape == (4, 0, plain.params.shape[1])
    assert kept.kept_params.shape == (4, 2, plain.params.shape[1])
    assert np.array_equal(kept.kept_params[0], problem.init([5, 3])[0])
    assert np.array_equal(kept.kept_params[-1], plain.params[[2, 0]])
    assert not np.array_equal(kept.kept_params[1], kept.kept_params[2])
    for name, values in plain.metrics.items():
        assert np.array_equal(values, kept.metrics[name], equal_nan=True)


def test_the_first_reporting_seeds_of_every_rate_are_in_the_table(tmp_path):
    run(tiny(tmp_path, text(2, seeds="tuning = 1\nreporting = 3")), tmp_path / "results")
    params = params_of(tmp_path / "results")
    runs = pd.read_csv(tmp_path / "results/tiny/runs.csv")
    first = runs[runs["seed"].isin([FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + 1])]
    assert list(pd.unique(params["run_id"])) == list(first["run_id"])
    assert len(first) == 2 * 2 * 2
    assert params["step"].tolist() == [0, 2, 4] * 8
    rows = np.stack(params["params"].tolist())
    assert rows.dtype == np.float32
    seeds = params["seed"].to_numpy()
    starts = rows[params["step"] == 0]
    expected = Digits(hidden=(), batch_size=600).init(list(seeds[params["step"] == 0]))[0]
    assert np.array_equal(starts, expected)
    assert len(np.unique(rows[params["step"] == 4], axis=0)) == 8


@pytest.mark.slow
def test_without_them_there_is_no_table_and_the_runs_are_the_same(tmp_path):
    results = tmp_path / "results"
    run(tiny(tmp_path, text(0)), results)
    assert not (results / "tiny/params.parquet").exists()
    before = pd.read_csv(results / "tiny/runs.csv")
    more = run(tiny(tmp_path, text(1)), results)
    assert (more.ran, more.kept) == (4, 8)  # those whose parameters are wanted, run again
    after = pd.read_csv(results / "tiny/runs.csv")
    pd.testing.assert_frame_equal(
        before.drop(columns="run_id"), after.drop(columns="run_id"), check_exact=True
    )
    assert len(params_of(results)) == 4 * 3
    assert run(tiny(tmp_path, text(1)), results).ran == 0
    assert run(tiny(tmp_path, text(0)), results).ran == 0
    assert not (results / "tiny/params.parquet").exists()


@pytest.mark.slow
def test_parameters_are_the_same_bytes_however_the_runs_share_stacks(tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.storage.tables.PARAMS_IN_A_GROUP", 5)
    experiment, contents = tiny(tmp_path, text(2)), set()
    for largest in (1, 2, 64):
        monkeypatch.setattr(sweep_module, "LARGEST_STACK", largest)
        run(experiment, tmp_path / f"{largest}")
        contents.add((tmp_path / f"{largest}/tiny/params.parquet").read_bytes())
    assert len(contents) == 1
    assert len(params_of(tmp_path / "64")) == 8 * 3


def test_a_stack_where_runs_fail_keeps_the_parameters_of_the_others(tmp_path):
    source = plugin(init="if np.any(self.learning_rate > 0.2): raise ValueError('too large')")
    own = text(1, optimizers='[optimizers.Own]\nrule = "own.py:Own"\n')
    experiment = tiny(tmp_path, own, own=source)
    run(experiment, tmp_path / "results")
    params = params_of(tmp_path / "results")
    assert set(params["learning_rate"]) == {0.1}
    assert len(params) == 3
    runs = list(experiment.runs())
    whole = replace(
        next(stacks(experiment, runs, 1)),
        run_ids=tuple(r.run_id for r in runs),
        learning_rates=tuple(r.learning_rate for r in runs),
        seeds=tuple(r.seed for r in runs),
        params_of=frozenset(r.run_id for r in runs if r.keeps_params),
    )
    ended = train_stack(whole)
    assert [r.status for r in ended.runs] == ["ok"] * 3 + ["failed"] * 3
    has_params = [row is not None for row in ended.traces["params"]]
    assert has_params == [runs[place].keeps_params for place in ended.traces["run"]]
    assert sum(has_params) == 3


def test_problems_of_different_sizes_share_the_table(tmp_path):
    tables = '[problems.hill]\nname = "landscape"\n[problems.net]\nname = "digits"\n' + PROBLEM
    several = text(1).replace('[problem]\nname = "digits"\n' + PROBLEM, tables)
    experiment = tiny(tmp_path, several)
    run(experiment, tmp_path / "results")
    sizes = params_of(tmp_path / "results").groupby("problem")["params"].agg(lambda c: len(c.iloc[0]))
    assert sizes.to_dict() == {"hill": 2, "net": 670}


@pytest.fixture(scope="module")
def cloud():
    """Points near a plane in ten dimensions."""
    rng = np.random.default_rng(5)
    return (
        rng.normal(size=(40, 2)) * (5, 2) @ rng.normal(size=(2, 10))
        + 0.1 * rng.normal(size=(40, 10))
        + 3
    )


def test_the_plane_is_the_one_that_an_eigendecomposition_finds(cloud):
    plane = surface.principal_plane(cloud)
    values, vectors = np.linalg.eigh(np.cov(cloud.T))
    np.testing.assert_allclose(plane.explained, values[:-3:-1] / values.sum(), rtol=1e-10)
    assert np.abs(plane.directions @ vectors[:, :-3:-1]).diagonal() == pytest.approx([1, 1])
    np.testing.assert_allclose(plane.directions @ plane.directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(plane.centre, cloud.mean(axis=0))
    assert (plane.project(cloud[:1]) <= 0).all()


def test_what_lies_in_the_plane_comes_back(cloud):
    plane = surface.principal_plane(cloud)
    at = np.random.default_rng(0).normal(size=(7, 2))
    np.testing.assert_allclose(plane.project(plane.points(at)), at, atol=1e-12)
    assert plane.distances(plane.points(at)).max() < 1e-12
    lost = np.sum(plane.distances(cloud) ** 2) / np.sum((cloud - plane.centre) ** 2)
    assert lost == pytest.approx(1 - plane.explained.sum())


def test_the_surface_at_the_paths_points_is_the_recorded_loss():
    """The network's loss is a function of the parameters alone, so this holds for every run."""
    problem = Digits(**SMALL)
    recording = train(problem, Adam(learning_rate=0.03), [0, 1], range(0, 30, 3), params_of=[0, 1])
    fresh = Digits(**SMALL)  # knows nothing of the training
    for place in range(2):
        losses = surface.training_losses(fresh, recording.kept_params[:, place])
        np.testing.assert_allclose(losses, recording.metrics["train_loss"][:, place], rtol=1e-12)


def test_a_path_in_the_plane_has_its_recorded_losses_there():
    """On a landscape every path lies in the plane, so the projection loses nothing."""
    landscape = Landscape(function="rosenbrock")
    recording = train(landscape, SGD(learning_rate=1e-3), [0], range(1, 60), params_of=[0])
    points = recording.kept_params[:, 0]
    plane = surface.principal_plane(points)
    assert plane.explained.sum() == pytest.approx(1)
    at = plane.project(points)
    losses = surface.training_losses(landscape, plane.points(at))
    np.testing.assert_allclose(losses, recording.metrics["train_loss"][:, 0], rtol=1e-9)
    heights = surface.losses_on_plane(landscape, plane, at[:5, 0], at[:3, 1])
    assert heights.shape == (3, 5)
    np.testing.assert_allclose(heights.diagonal(), losses[:3], rtol=1e-12)


def test_a_surface_off_the_plane_errs_as_far_as_the_path_is_off_it():
    """A step of the loss is at most the gradient times the distance: small distances, small errors."""
    problem = Digits(**SMALL)
    recording = train(problem, SGD(learning_rate=0.05), [0], range(1, 41), params_of=[0])
    points = recording.kept_params[:, 0]
    plane = surface.principal_plane(points)
    error = np.abs(
        surface.training_losses(problem, plane.points(plane.project(points)))
        - recording.metrics["train_loss"][:, 0]
    )
    assert error.max() < 2 * plane.distances(points).max()
    assert error[plane.distances(points).argmin()] < 0.05


# What the sweep keeps for the page

CSV = "a,b,kind\n" + "".join(f"{k % 7},{k % 5},{'in' if k % 3 else 'out'}\n" for k in range(60))
OF_A_FILE = """
title = "t"
learning_rates = [0.1]
[problem]
data = "points.csv"
target = "kind"
hidden = [{ units = 3, activation = "tanh" }]
batch_norm = BATCH_NORM
evaluate_with = "EVALUATE_WITH"
[training]
epochs = 4
record_params = 1
[seeds]
tuning = 1
reporting = 2
[optimizers.SGD]
[optimizers.Adam]
"""


def swept_file(folder, batch_norm, evaluate_with):
    text = OF_A_FILE.replace("BATCH_NORM", batch_norm).replace("EVALUATE_WITH", evaluate_with)
    (folder / "points.csv").write_text(CSV)
    file = write(folder, text)
    run(load(file), folder / "results")
    return file


@pytest.mark.parametrize(
    ("batch_norm", "evaluate_with", "rows"),
    mostly_slow(
        [
            ("true", "batch", surface.GRID**2),
            ("true", "running", 0),
            ("false", "running", surface.GRID**2),
        ],
    ),
)
def test_the_sweep_computes_the_loss_around_the_paths(
    tmp_path, monkeypatch, capsys, batch_norm, evaluate_with, rows
):
    file = swept_file(tmp_path, batch_norm, evaluate_with)
    table = read_tables(tmp_path / "results/tiny").surface
    assert len(table) == rows
    kept = (tmp_path / "results/tiny/surface.parquet").read_bytes()
    monkeypatch.setattr(sweep_surface, "loss_around", None)  # it is not computed again
    run(load(file), tmp_path / "results")
    assert (tmp_path / "results/tiny/surface.parquet").read_bytes() == kept
    (tmp_path / "points.csv").unlink()  # the page needs neither the problem nor its data
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    without_pictures(monkeypatch)
    page = write_report(tmp_path / "results").read_text(encoding="utf-8")
    assert ('id="tiny-plane"' in page) == bool(rows)
    assert "loss around" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_user_defined_problem_has_a_surface_if_its_parameters_decide_the_loss(tmp_path):
    source = """
import numpy as np


class Bowl:
    def init(self, seeds):
        start = np.array([np.random.default_rng(seed).normal(size=3) for seed in seeds])
        return start, {"scale": 1.0}

    def batches(self, seeds):
        while True:
            yield None

    def loss_and_gradient(self, params, batch, model):
        return (params**2 @ [1, 2, 9]), 2 * params * [1, 2, 9]

    def evaluate(self, params, model):
        return {"train_loss": (params**2 @ [1, 2, 9]) * SCALE}
"""
    text = OF_A_FILE.partition("[problem]")[0] + '[problem]\nname = "bowl.py:Bowl"\n'
    text += "[training]" + OF_A_FILE.partition("[training]")[2].replace("epochs", "steps")
    for scale, rows in (("1", surface.GRID**2), ("model['scale']", 0)):
        run(load(write(tmp_path, text, bowl=source.replace("SCALE", scale))), tmp_path / "results")
        assert len(read_tables(tmp_path / "results/tiny").surface) == rows


@pytest.mark.slow
def test_a_surface_of_other_runs_is_not_drawn(tmp_path, capsys, monkeypatch):
    file = swept_file(tmp_path, "true", "batch")
    kept = (tmp_path / "results/tiny/surface.parquet").read_bytes()
    file.write_text(file.read_text().replace("epochs = 4", "epochs = 5"))
    run(load(file), tmp_path / "results")
    now = tmp_path / "results/tiny/surface.parquet"
    assert now.read_bytes() != kept
    for content in (kept, b"no Parquet", now.read_bytes()[:-50]):
        now.write_bytes(content)
        assert read_tables(tmp_path / "results/tiny").surface is None
        assert "the loss around its paths is missing" in capsys.readouterr().err
    without_pictures(monkeypatch)
    page = write_report(tmp_path / "results").read_text(encoding="utf-8")
    assert 'id="tiny-plane"' not in page


def test_running_averages_are_refused():
    with pytest.raises(ValueError, match='evaluate_with = "batch"'):
        surface.training_losses(Digits(), Digits().init([0])[0])
    no_norm = Digits(hidden=(), batch_norm=False)
    assert surface.training_losses(no_norm, no_norm.init([0, 1, 2])[0]).shape == (3,)


def table(**paths):
    rows = [
        {"optimizer": label, "step": step, "params": np.array(point, np.float32)}
        for label, path in paths.items()
        for step, point in enumerate(path)
    ]
    return pd.DataFrame(rows)


def test_paths_lie_on_the_plane_and_what_has_diverged_is_left_out():
    params = table(
        Adam=[(0, 0, 0, 0), (1, 0, 0, 0), (4, 0, 0, 0)],
        SGD=[(0, 0, 0, 0), (0, 3, 0, 0), (0, 3, 0.5, 0), (np.nan, 0, 0, np.inf)],
    )
    plane, paths = surface.paths_on_plane(params)
    assert paths["optimizer"].tolist() == ["Adam"] * 3 + ["SGD"] * 3
    assert paths["step"].tolist() == [0, 1, 2, 0, 1, 2]
    starts = paths.loc[paths["step"] == 0, ["x", "y"]].to_numpy()
    assert np.array_equal(starts[0], starts[1])
    moved = paths.loc[2, ["x", "y"]].astype(float) - paths.loc[0, ["x", "y"]].astype(float)
    assert np.linalg.norm(moved) == pytest.approx(4, rel=0.01)
    assert paths["distance"].max() < 0.5
    shares = surface.explained_shares(plane, params)
    assert shares["Adam"] == pytest.approx(1, abs=0.01)
    assert 0.95 < shares["SGD"] < 1
