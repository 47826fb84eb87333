"""Supervised problems: scikit-learn as an oracle, splits by seed, penalties, and tables."""

import json
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reference.bits import bits
from reference.differences import directional_error
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sweeping import load, mostly_slow, run, write

from optimlab.data import DATASETS, Dataset, Split
from optimlab.data.bundled import load_bundled
from optimlab.nn import perceptron
from optimlab.nn.losses import CrossEntropy, Huber, SquaredError
from optimlab.optimizers import SGD, Adam
from optimlab.problems import Digits, Table
from optimlab.problems.settings import HiddenLayer
from optimlab.problems.supervised import Supervised
from optimlab.report import report
from optimlab.report.blocks import ranking
from optimlab.report.style import series_styles
from optimlab.statistics.problems import comparison_of
from optimlab.storage.results import read_tables
from optimlab.training import train

HIDDEN = (HiddenLayer(units=6, activation="tanh"),)


def table(data="wine", **settings):
    return Table(**{"data": data, "hidden": HIDDEN, "dtype": "float64"} | settings)


# Oracles

STEPS = 200


def scikit_learn(problem, kind, alpha, rate, batch):
    """Return what a scikit-learn network has learnt after the same steps from the same start."""
    params, _ = problem.init([0])
    views = problem.layout.views(params)
    starts = iter([(views[f"dense{k}.weight"][0], views[f"dense{k}.bias"][0]) for k in (1, 2)])

    class Started(kind):
        def _init_coef(self, fan_in, fan_out, dtype):
            weight, bias = next(starts)
            return weight.copy(), bias.copy()

    network = Started(
        hidden_layer_sizes=[6],
        activation="tanh",
        solver="sgd",
        alpha=alpha,
        batch_size=batch,
        learning_rate_init=rate,
        momentum=0.9,
        nesterovs_momentum=False,
        shuffle=False,
    )
    features, targets = problem.parts["train"]
    more = {"classes": np.unique(targets)} if kind is MLPClassifier else {}
    batches = problem.batches([0])
    for _ in range(STEPS):
        places = np.ravel(next(batches))
        rows = targets[places] if kind is MLPClassifier else targets[places].squeeze()
        network.partial_fit(features[places], rows, **more)
    return np.concatenate(
        [each.ravel() for pair in zip(network.coefs_, network.intercepts_, strict=True) for each in pair]
    )


@pytest.mark.parametrize("batch", mostly_slow([53, 106]))
@pytest.mark.parametrize("l2", mostly_slow([0.01, 0.0]))
def test_scikit_learn_s_classifier_takes_the_same_steps(l2, batch):
    problem = table(batch_size=batch, l2=l2)
    found = train(problem, SGD(learning_rate=0.05, momentum=0.9), [0], [STEPS]).params[0]
    # Its penalty is over the batch's samples: alpha / (2 B) Σ w².
    theirs = scikit_learn(problem, MLPClassifier, l2 * batch, 0.05, batch)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("data", ["diabetes", "linnerud"])
@pytest.mark.parametrize("l2", mostly_slow([0.01, 0.0]))
def test_scikit_learn_s_regressor_takes_the_same_steps(l2, data):
    batch, test, targets = {"diabetes": (53, 442 - 88 - 265, 1), "linnerud": (12, 4, 3)}[data]
    problem = table(data, batch_size=batch, l2=l2, split=Split(validation=0.2, test=test))
    assert problem.train_size % batch == 0
    found = train(problem, SGD(learning_rate=0.05, momentum=0.9), [0], [STEPS]).params[0]
    # It descends half the squared error, summed over the targets: the same steps at another rate.
    ratio = 2 / targets
    theirs = scikit_learn(problem, MLPRegressor, l2 / ratio * batch, 0.05 * ratio, batch)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)


def test_the_metrics_of_a_regression_are_scikit_learn_s_in_the_data_s_units():
    problem = table("linnerud", batch_size=12)
    recording = train(problem, Adam(learning_rate=0.05), [3, 4], [50])
    data, rows = DATASETS["linnerud"](), problem.rows()
    for role, (features, targets) in problem.parts.items():
        blocks = problem.network.evaluation(recording.params, recording.model).outputs(features.T)
        outputs = np.concatenate([block.copy() for _, block in blocks], axis=-1)
        shift = data.targets[rows["train"]].mean(axis=0)
        stretch = data.targets[rows["train"]].std(axis=0)
        for run_ in range(2):
            predicted = outputs[run_].T * stretch + shift
            true = data.targets[rows[role]]
            metrics = {name: values[-1][run_] for name, values in recording.metrics.items()}
            assert metrics[f"{role}_r2"] == pytest.approx(r2_score(true, predicted))
            assert metrics[f"{role}_rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
            assert metrics[f"{role}_loss"] == pytest.approx(((outputs[run_].T - targets) ** 2).mean())


# The penalty


@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "hidden": HIDDEN * 2}])
def test_the_penalty_is_on_the_weights_alone(options):
    plain, penalized = table(**options), table(**options, l2=0.3)
    params, model = plain.init([0, 1])
    params += np.random.default_rng(0).normal(0, 0.2, params.shape)
    batch = next(plain.batches([0, 1]))
    loss, gradient = (each.copy() for each in plain.loss_and_gradient(params, batch, model))
    with_loss, with_gradient = penalized.loss_and_gradient(params, batch, penalized.init([0, 1])[1])
    weights = np.zeros(plain.size, bool)
    for name, at in plain.layout.slices.items():
        weights[at] = name.endswith(".weight")
    np.testing.assert_allclose(with_gradient - gradient, 0.3 * params * weights, atol=1e-14)
    np.testing.assert_allclose(with_loss - loss, 0.15 * (params**2 * weights).sum(axis=1))
    assert 0 < weights.sum() < plain.size
    for name, values in plain.evaluate(params, model).items():  # metrics are without it
        assert np.array_equal(penalized.evaluate(params, model)[name], values)


@pytest.mark.parametrize("loss", [SquaredError(), Huber(delta=0.7)], ids=str)
def test_the_gradient_of_a_problem_is_the_derivative_of_its_loss(loss):
    problem = table("diabetes", loss=loss, l2=0.05)
    rng = np.random.default_rng(0)
    params, model = problem.init([0, 1, 2])
    batch = next(problem.batches([0, 1, 2]))
    gradient = problem.loss_and_gradient(params, batch, model)[1].copy()
    errors = directional_error(
        lambda params: problem.loss_and_gradient(params, batch, model)[0], gradient, params, rng
    )
    assert (errors <= 1e-6).all()


# A split of each seed's own


@pytest.mark.parametrize("batch_size", [12, 106, None])
@pytest.mark.parametrize("data", ["wine", "linnerud"])
def test_a_split_drawn_by_the_seed_is_the_run_s_alone(data, batch_size):
    if data == "linnerud" and batch_size == 106:
        batch_size = 12
    problem = table(data, batch_size=batch_size, split=Split(resample=True), batch_norm=data == "wine")
    rate = np.full((3, 1), 0.05)
    together = train(problem, Adam(learning_rate=rate), [7, 8, 9], [1, 15])
    alone = train(problem, Adam(learning_rate=rate[:1]), [8], [1, 15])
    assert bits(together.params[1]) == bits(alone.params[0])
    for name, values in together.metrics.items():
        assert bits(values[:, 1]) == bits(alone.metrics[name][:, 0]), name
    fixed = replace(problem, split=Split(seed=8))  # the same split, for all seeds
    same = train(fixed, Adam(learning_rate=rate), [7, 8, 9], [1, 15])
    for name, values in together.metrics.items():
        np.testing.assert_allclose(values[:, 1], same.metrics[name][:, 1], rtol=1e-7, err_msg=name)
    assert (together.metrics["test_loss"][0, [0, 2]] != same.metrics["test_loss"][0, [0, 2]]).all()


def test_parameters_alone_say_nothing_where_each_seed_has_a_split():
    problem = table(split=Split(resample=True))
    with pytest.raises(ValueError, match="each run has its own split"):
        problem.evaluate(problem.init([0])[0], None)


# Composed in Python


def test_data_a_network_and_a_loss_make_a_problem():
    data = DATASETS["iris"]()
    network = perceptron(4, [(5, "relu")], 3, batch_norm=False)
    problem = Supervised(data, network, CrossEntropy(), 16)
    metrics = train(problem, Adam(learning_rate=0.05), [0, 1], [80]).metrics
    assert (metrics["test_accuracy"][-1] > 0.85).all()
    assert (problem.steps_per_epoch, problem.size, problem.dtype) == (6, 43, "float64")


def test_the_digits_are_a_table_too():
    mine = table("digits", scaling="none", batch_norm=True, initialization="uniform", batch_size=64)
    digits = Digits(hidden=HIDDEN, dtype="float64")
    one, other = (train(problem, SGD(learning_rate=0.1), [4], [25]) for problem in (mine, digits))
    assert bits(one.params) == bits(other.params)


# What is stuck


def test_a_regression_is_stuck_where_it_is_no_better_than_the_mean():
    problem = table("diabetes")
    assert problem.stuck_loss == pytest.approx(0.99)  # of the variance of standardized targets
    assert problem.baseline == "predicting the mean"
    assert table("diabetes", target_scaling="none").stuck_loss == pytest.approx(
        0.99 * problem.dataset.targets[problem.rows()["train"]].var()
    )
    huber = table("diabetes", loss=Huber())
    assert huber.stuck_loss == pytest.approx(0.99 * Huber().blind(huber.parts["train"].targets.T))


# The tables of an experiment


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Sweep a classification and a regression; return the folder of the results."""
    folder = tmp_path_factory.mktemp("both")
    text = """
title = "both"
learning_rates = [1e-8, 0.1]
[problems.iris]
data = "iris"
[problems.diabetes]
data = "diabetes"
[training]
epochs = 2
[seeds]
tuning = 1
reporting = 2
[optimizers.Adam]
"""
    run(load(write(folder, text, name="both")), folder)
    return folder / "both"


def test_runs_have_the_metrics_of_their_problem(both):
    runs = pd.read_csv(both / "runs.csv").set_index("problem")
    names = [
        f"final_{split}_{name}" for name in ("r2", "rmse") for split in ("train", "validation", "test")
    ]
    first = list(runs.columns).index(names[0])  # they stand together, in this order
    assert list(runs.columns[first : first + 6]) == names
    assert runs.loc["diabetes", names].notna().all(axis=None)
    assert runs.loc["iris", names].isna().all(axis=None)
    assert runs.loc["diabetes", "final_test_accuracy"].isna().all()
    assert (runs.loc["diabetes", "final_test_rmse"] > 20).all()  # in the units of the target
    stuck = runs[runs["learning_rate"] == 1e-8].loc["diabetes"]
    assert set(stuck["status"]) == {"stuck"}
    assert stuck["reason"].str.contains("no better than predicting the mean (0.99)", regex=False).all()
    traces = pd.read_parquet(both / "traces.parquet")
    assert traces.groupby("problem")["train_r2"].count().to_dict() == {"diabetes": 18, "iris": 0}


def test_the_manifest_names_the_unit_of_the_loss_and_the_network(both):
    about = json.loads((both / "experiment.json").read_text())["problems"]
    assert {label: each["loss_unit"] for label, each in about.items()} == {
        "iris": "nats",
        "diabetes": "",
    }
    assert "softmax" in about["iris"]["network"]
    assert "softmax" not in about["diabetes"]["network"]
    assert about["diabetes"]["problem"]["data"] == "diabetes"


def test_targets_may_be_of_any_size():
    """A regression in large units learns, since what it learns is scaled."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    data = Dataset("regression", features, 1e6 + 1e5 * features @ rng.normal(size=(3, 1)))
    problem = Supervised(data, perceptron(3, [(8, "tanh")], 1, batch_norm=False), SquaredError())
    metrics = train(problem, Adam(learning_rate=0.03), [0], [200]).metrics
    assert metrics["test_r2"][-1, 0] > 0.97


@pytest.mark.parametrize(
    ("problem", "heads", "unit"),
    [
        ("iris", ["Final test accuracy"], "nats"),
        ("diabetes", ["Final test R²", "Final test RMSE"], ""),
    ],
)
def test_the_page_names_the_metrics_of_each_problem(both, problem, heads, unit):
    tables = read_tables(both)
    runs, traces = (table[table["problem"] == problem] for table in (tables.runs, tables.traces))
    comparison = comparison_of(runs, traces, tables.experiment)
    columns = ranking.columns_of(comparison, series_styles(["SGD", "Adam"]))
    named = [column.head for column in columns if "loss" not in column.head]
    assert [head for head in named if head.startswith("Final")] == heads
    first = comparison.summary.to_dict("records")[0]
    assert all(column.cell(first).text for column in columns)
    assert report.unit_of(tables.experiment, runs) == unit


def wiped(outputs, targets):
    targets[...] = 0
    outputs[...] = 0
    return targets.mean(axis=-1) + outputs.mean(axis=(1, 2))


class Wiping(CrossEntropy):
    def metrics(self, blocks, targets, scale):
        found = super().metrics(blocks, targets, scale)
        targets[...] = 0
        return found


@pytest.mark.parametrize("resample", [False, True])
def test_a_metric_or_loss_that_overwrites_its_targets_changes_no_other_number(resample):
    data, learning = load_bundled("iris"), {"split": Split(resample=resample)}
    layers = [(3, "tanh")]
    plain = Supervised(data, perceptron(4, layers, 3), CrossEntropy(), 30, **learning)
    own = Supervised(data, perceptron(4, layers, 3), Wiping(), 30, {"wiped": wiped}, **learning)
    expected, found = (
        train(each, SGD(learning_rate=0.1), [0, 1], [1, 9]).metrics for each in (plain, own)
    )
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert not found["train_wiped"].any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (0.5, "must give an array (2,) of numbers, got a float"),
        (np.ones((2, 1)), "must give an array (2,) of numbers, got float64 (2, 1)"),
        (np.ones(2) * 1j, "must give an array (2,) of numbers, got complex128 (2,)"),
        (["a", "b"], "must give an array (2,) of numbers, got <U1 (2,)"),
    ],
)
def test_a_metric_gives_a_number_for_each_run(values, message):
    problem = Supervised(
        load_bundled("iris"), perceptron(4, [], 3), CrossEntropy(), 30, {"own": lambda *_: values}
    )
    with pytest.raises(ValueError, match=re.escape(f"the metric own {message}")):
        problem.evaluate(*problem.init([0, 1]))


@pytest.mark.parametrize("shape", [(64,), (2, 64)])
@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_a_batch_of_rows_that_there_are_not_is_refused(data, shape):
    """All rows of the data, say, instead of those for training."""
    problem = table(data, dtype="float64")
    (params, model), rows = problem.init([0, 1]), problem.train_size
    for wrong in (rows, -rows - 1):
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds .* size {rows}"):
            problem.loss_and_gradient(params, np.full(shape, wrong), model)
    from_end, same = (
        problem.loss_and_gradient(params, np.full(shape, row), model)[0].copy() for row in (-3, rows - 3)
    )
    np.testing.assert_array_equal(from_end, same)


@pytest.mark.parametrize(
    "problem",
    [
        Digits(hidden=(HiddenLayer(units=4, activation="relu"),), batch_size=50),
        Table(data="wine", hidden=HIDDEN, split=Split(resample=True)),
        Supervised(load_bundled("wine"), perceptron(13, [(8, "relu")], 3), CrossEntropy(), 32),
    ],
    ids=["digits", "resampled", "parts"],
)
def test_a_problem_may_be_trained_in_several_threads_at_once(problem):
    """They wrote to the same arrays: runs had other numbers, or shapes that did not fit."""
    pairs = [[0, 1], [2, 3]]
    alone = [train(problem, SGD(learning_rate=0.1), seeds, [3]) for seeds in pairs]
    problems = [problem.network]
    with ThreadPoolExecutor(2) as pool:
        turn = threading.Barrier(2)

        def follow(step):
            turn.wait(60)  # so that steps of the two take turns

        def trained(seeds):
            problems.append(problem.network)
            return train(problem, SGD(learning_rate=0.1), seeds, [3], follow=follow)

        for one, other in zip(alone, pool.map(trained, pairs), strict=True):
            assert bits(one.params) == bits(other.params)
    assert len(set(map(id, problems))) == 3


def test_a_problem_that_was_trained_can_be_sent_to_another_process():
    problem = Digits(batch_size=600)
    params, model = problem.init([0])
    again = pickle.loads(pickle.dumps(problem))
    assert again == problem
    assert bits(again.init([0])[0]) == bits(params)
    assert again.evaluate(params, model)["train_loss"] == problem.evaluate(params, model)["train_loss"]
