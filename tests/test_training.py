"""The loop and its recorder: stacks against single runs, and records against a complete history."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.bits import bits
from reference.training import keep_everything, path_metrics
from sweeping import mostly_slow

from optimlab.data import Split
from optimlab.data.bundled import load_bundled
from optimlab.nn import perceptron
from optimlab.nn.losses import CrossEntropy
from optimlab.optimizers import CLASSIC, RULES, SGD, Adam, Lookahead, Nesterov
from optimlab.problems import Landscape, Table
from optimlab.problems.digits import Digits
from optimlab.problems.settings import HiddenLayer
from optimlab.problems.supervised import Supervised
from optimlab.training import METRICS, PATH_METRICS, PROBLEM_METRICS, cosines, norms, train

SMALL = (HiddenLayer(units=12, activation="tanh"), HiddenLayer(units=7, activation="leaky_relu"))
WIDE = (HiddenLayer(units=32, activation="sigmoid"), *SMALL[1:])
HUGE = {"float32": 1e30, "float64": 1e250}  # two layers of weights this large overflow


def column(rates, dtype):
    return np.array(rates, dtype)[:, None]


def same_runs(recording, rows, other, other_rows):
    """Assert that runs of two recordings are equal bit for bit."""
    assert np.array_equal(recording.steps, other.steps)
    for name in METRICS:
        assert bits(recording.metrics[name][:, rows]) == bits(other.metrics[name][:, other_rows]), name
    assert bits(recording.params[rows]) == bits(other.params[other_rows])
    assert np.array_equal(recording.diverged_at[rows], other.diverged_at[other_rows])


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 64, "batch_norm": False},  # 1200 = 18 · 64 + 48
        {"batch_size": 50, "batch_norm": True},
        # Products in parts:
        {"batch_size": 1200, "batch_norm": False, "bias": False, "hidden": WIDE},
        {"batch_size": 599, "batch_norm": True, "hidden": ()},  # 1200 = 2 · 599 + 2
    ],
    ids=lambda options: str(options["batch_size"]),
)
@pytest.mark.parametrize("dtype", mostly_slow(["float32", "float64"]))
@pytest.mark.parametrize("name", [rule.__name__ for rule in CLASSIC])
def test_a_run_is_bitwise_the_same_in_any_stack(name, dtype, options):
    steps = 22 if options["batch_size"] == 64 else 6
    seeds, rates = [3, 1, 4, 1, 5], [0.01, HUGE[dtype], 0.3, 0.001, 0.07]
    problem = Digits(**{"hidden": SMALL, "dtype": dtype, **options})

    def run(rows):
        optimizer = RULES[name](learning_rate=column([rates[row] for row in rows], dtype))
        return train(problem, optimizer, [seeds[row] for row in rows], [1, 2, 3, steps])

    together = run(range(5))
    if not options["batch_norm"]:  # which hides divergence
        assert together.diverged_at[1] > 0
        assert np.isnan(together.params[1]).any()
    assert np.delete(together.diverged_at, 1).tolist() == [-1] * 4
    for row in range(5):
        same_runs(run([row]), [0], together, [row])
    order = [4, 1, 0]
    same_runs(run(order), [0, 1, 2], together, order)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule not in CLASSIC])
def test_a_run_is_bitwise_the_same_in_any_stack_of_a_modern_rule(name):
    """Two hidden layers, so that Muon has a matrix; steps enough for Shampoo's roots to be made anew."""
    problem = Digits(hidden=(*SMALL, *SMALL), batch_size=200, batch_norm=False)
    seeds, rates = list(range(5)), [0.01, 1e20, 0.3, 0.001, 0.07]

    def run(rows):
        rule = RULES[name](learning_rate=column([rates[row] for row in rows], "float32"))
        return train(problem, rule, [seeds[row] for row in rows], [1, 23])

    together = run(range(5))
    for rows in ([0], [1], [3], [4, 1, 0]):
        same_runs(run(rows), range(len(rows)), together, rows)


class Noisy(SGD):
    """A rule that knows its task, and draws noise for each run from that run's generator."""

    def init(self, params, task):
        self.seen.append(task)
        return {**super().init(params), "generators": task.generators}

    def step(self, params, gradient, state):
        super().step(params, gradient, state)
        params += [0.01 * rng.normal(size=params.shape[1]) for rng in state["generators"]]


def test_the_noise_of_a_run_depends_on_its_seed_alone(monkeypatch):
    monkeypatch.setattr(Noisy, "seen", [], raising=False)
    problem = Digits(hidden=SMALL)
    together = train(problem, Noisy(learning_rate=0.1), [3, 1, 4, 1], [1, 5])
    same_runs(train(problem, Noisy(learning_rate=0.1), [4], [1, 5]), [0], together, [2])
    same_runs(train(problem, Noisy(learning_rate=0.1), [1, 3], [1, 5]), [0, 1], together, [1, 0])
    assert np.array_equal(together.params[1], together.params[3])  # one seed
    assert not np.array_equal(together.params[0], together.params[1])
    task = Noisy.seen[0]
    assert (task.steps, task.steps_per_epoch, len(task.generators)) == (5, 19, 4)
    assert task.layout.shapes["dense1.weight"] == (64, 12)
    assert task.layout.weights == ("dense1.weight", "dense2.weight", "dense3.weight")


@pytest.mark.parametrize("name", mostly_slow(["Adam", "SGD"]))
def test_a_run_is_bitwise_the_same_in_a_large_stack(name):
    runs = 150
    rates = column(np.geomspace(1e-3, 1, runs), "float32")
    problem = Digits(hidden=SMALL)
    together = train(problem, RULES[name](learning_rate=rates), range(runs), [1, 20])
    for row in (0, 1, 31, 64, 127, runs - 1):
        alone = train(problem, RULES[name](learning_rate=rates[[row]]), [row], [1, 20])
        same_runs(alone, [0], together, [row])


def test_runs_of_one_seed_start_and_are_shown_the_same():
    problem = Digits(hidden=SMALL, dtype="float64")
    starts = [
        train(problem, rule(learning_rate=column([0.1, 0.2], float)), [7, 7], [1]).metrics
        for rule in RULES.values()
    ]
    for name in PROBLEM_METRICS:
        assert len({value for metrics in starts for value in metrics[name][0]}) == 1
    # At the first step Nesterov, too, takes its gradient at the starting point.
    assert len({value for metrics in starts for value in metrics["gradient_norm"][1]}) == 1


SCHEDULES = {
    "every step": range(1, 25),
    "every 2nd": range(0, 25, 2),
    "epoch ends": (6, 12, 18, 24),
    "1 and 2": (1, 2),
    "2 and 3": (2, 3),
    "pairs after gaps": (5, 6, 11, 12, 13, 20, 21),
    "last only": (24,),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rule", [SGD, Nesterov, Adam])
def test_records_are_those_of_keeping_everything(rule, schedule):
    problem = Digits(hidden=SMALL, batch_size=200, dtype="float64")
    optimizer = rule(learning_rate=column([0.1, 0.01], float))
    record_at = list(SCHEDULES[schedule])
    recording = train(problem, optimizer, [1, 2], record_at)
    points, _, gradients = keep_everything(problem, optimizer, [1, 2], record_at[-1])
    assert recording.steps.tolist() == sorted({0, *record_at})
    assert np.array_equal(recording.params, points[-1])
    assert recording.diverged_at.tolist() == [-1, -1]
    for row, step in enumerate(recording.steps):
        for run in range(2):
            expected = path_metrics(points, gradients, step, run)
            found = [recording.metrics[name][row, run] for name in PATH_METRICS]
            assert found == pytest.approx(expected, rel=1e-10, nan_ok=True), step


def test_evaluation_is_of_the_params_at_that_step():
    problem = Digits(hidden=SMALL, batch_norm=False, batch_size=200, dtype="float64")
    optimizer = Nesterov(learning_rate=0.1)
    recording = train(problem, optimizer, [1, 2], [1, 4, 7])
    points, _, _ = keep_everything(problem, optimizer, [1, 2], 7)
    for row, step in enumerate([0, 1, 4, 7]):
        for name, values in problem.evaluate(points[step], recording.model).items():
            assert np.array_equal(recording.metrics[name][row], values)


def largest(outputs, targets):
    return outputs.max(axis=(1, 2))


def bundled(**settings):
    data = load_bundled("iris")
    network = perceptron(4, [(5, "relu")], 3, batch_norm=False, dtype="float64")
    return Supervised(data, network, CrossEntropy(), **settings)


def test_a_problem_may_have_its_own_metrics():
    problem = bundled(metrics={"largest": largest})
    optimizer = SGD(learning_rate=column([0.1, 1e300], "float64"))
    recording = train(problem, optimizer, [1, 2], [1, 5])
    own = [f"{role}_largest" for role in ("train", "validation", "test")]
    assert tuple(recording.metrics) == (*METRICS, *own)
    values = recording.metrics["train_largest"]
    params, model = problem.init([1, 2])
    outputs = problem.network.forward(params, problem.parts["train"].features.T, model)
    np.testing.assert_allclose(values[0], outputs.max(axis=(1, 2)), rtol=1e-12)
    assert np.isfinite(values[:, 0]).all()
    assert np.isnan(values[-1, 1])
    usual = train(bundled(), optimizer, [1, 2], [1, 5]).metrics
    for name in METRICS:  # which the own ones leave as they are
        np.testing.assert_array_equal(recording.metrics[name], usual[name])


def test_a_user_defined_metric_is_a_number_per_run():
    problem = bundled(metrics={"all": lambda outputs, targets: outputs.max()})
    with pytest.raises(
        ValueError, match=r"the metric all must give an array \(2,\) of numbers, got a float"
    ):
        problem.evaluate(*problem.init([0, 1]))


def test_metrics_that_a_problem_lacks_are_empty():
    metrics = train(bundled(split=Split(test=0)), SGD(), [0], [2]).metrics
    assert tuple(metrics) == METRICS
    assert np.isnan(metrics["test_loss"]).all()
    assert np.isnan(metrics["test_accuracy"]).all()
    assert np.isfinite([metrics["train_loss"], metrics["validation_accuracy"]]).all()


@dataclass
class Scripted:
    """A problem that hands out gradients (S, R, P) and losses (S, R) as written, whatever the point."""

    gradients: np.ndarray
    losses: np.ndarray
    steps_per_epoch: int = 1
    stuck_loss: float = np.inf
    extra_metrics: tuple = ()

    def init(self, seeds):
        return np.zeros(self.gradients.shape[1:]), None

    def batches(self, seeds):
        return itertools.count()

    def loss_and_gradient(self, params, batch, model):
        return self.losses[batch].copy(), self.gradients[batch].copy()

    def evaluate(self, params, model):
        return {"train_loss": np.nan_to_num(params, posinf=0, neginf=0).sum(axis=1)}


def scripted(rng, steps=14, runs=3):
    return Scripted(rng.integers(-3, 4, (steps, runs, 2)) / 4, rng.normal(size=(steps, runs)))


WALK = SGD(learning_rate=1.0, momentum=0.0)


@given(record_at=st.sets(st.integers(1, 14), min_size=1), seed=st.integers(0, 99))
def test_any_schedule_records_what_every_step_would(record_at, seed):
    problem = scripted(np.random.default_rng(seed))
    seeds = range(3)
    recording = train(problem, WALK, seeds, sorted(record_at))
    points, _, gradients = keep_everything(problem, WALK, seeds, max(record_at))
    assert recording.steps.tolist() == [0, *sorted(record_at)]
    for row, step in enumerate(recording.steps):
        for run in range(3):
            expected = path_metrics(points, gradients, step, run)
            found = [recording.metrics[name][row, run] for name in PATH_METRICS]
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
        assert np.array_equal(recording.metrics["train_loss"][row], points[step].sum(axis=1))


def test_a_zigzag_has_a_cosine_of_minus_one_and_a_straight_path_of_one():
    gradients = np.array(
        [[[1.0, 2.0], [1.0, 2.0]], [[2.0, 4.0], [-3.0, -6.0]], [[1.0, 2.0], [2.0, -1.0]]]
    )
    metrics = train(Scripted(gradients, np.zeros((3, 2))), WALK, [0, 1], [1, 2, 3]).metrics
    cosine = metrics["update_cosine"]
    assert np.isnan(cosine[:2]).all()
    np.testing.assert_allclose(cosine[2:], [[1, -1], [1, 0]], atol=1e-15)
    np.testing.assert_allclose(metrics["update_norm"][1:], metrics["gradient_norm"][1:])


def with_one_bad_run(where, step, bad, record_at):
    """Return the recordings of three healthy runs and of the same where run 1 goes wrong at `step`."""
    problem = scripted(np.random.default_rng(0))
    healthy = train(problem, WALK, range(3), record_at)
    if where == "loss":
        problem.losses[step - 1, 1] = bad
    else:
        problem.gradients[step - 1, 1, 0] = bad
        problem.losses[step:, 1] = np.nan  # as it would be at such parameters
    return healthy, train(problem, WALK, range(3), record_at)


def only_run_1_is_empty_from(step, recording, healthy):
    after = recording.steps >= step
    for name, values in recording.metrics.items():
        assert np.isnan(values[after, 1]).all()
        assert np.array_equal(values[~after, 1], healthy.metrics[name][~after, 1], equal_nan=True)
    same_runs(recording, [0, 2], healthy, [0, 2])
    assert recording.diverged_at[[0, 2]].tolist() == [-1, -1]


@pytest.mark.parametrize("bad", mostly_slow([np.nan, np.inf, -np.inf]))
@pytest.mark.parametrize("step", [1, 2, 7, 8, 14])
@pytest.mark.parametrize(
    ("where", "record_at"),
    [
        ("loss", range(1, 15)),
        ("loss", range(0, 15, 2)),
        ("loss", (7, 14)),
        ("loss", (14,)),
        ("params", range(1, 15)),
    ],
)
def test_a_run_diverges_at_its_first_step_that_is_not_finite(where, record_at, step, bad):
    healthy, recording = with_one_bad_run(where, step, bad, record_at)
    assert recording.diverged_at[1] == step
    only_run_1_is_empty_from(step, recording, healthy)


@pytest.mark.parametrize("record_at", [range(0, 15, 2), (7, 14), (14,)], ids=str)
@pytest.mark.parametrize("step", [1, 7, 8, 13])
def test_bad_params_between_records_are_noticed_by_the_next_loss(step, record_at):
    healthy, recording = with_one_bad_run("params", step, np.nan, record_at)
    assert recording.diverged_at[1] in (step, step + 1)
    assert step not in record_at or recording.diverged_at[1] == step
    only_run_1_is_empty_from(step, recording, healthy)


def test_a_loss_that_recovers_does_not_undo_divergence():
    problem = scripted(np.random.default_rng(0))
    problem.losses[4, 0] = np.inf
    recording = train(problem, WALK, range(3), range(1, 15))
    assert recording.diverged_at.tolist() == [5, -1, -1]
    assert np.isnan(recording.metrics["train_loss"][5:, 0]).all()
    assert np.isfinite(recording.params).all()


@pytest.mark.parametrize("which", ["train_loss", "validation_loss", "test_loss"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_start_with_a_loss_that_is_not_finite_has_diverged_at_step_0(which, bad):
    problem = scripted(np.random.default_rng(0))
    losses = {"train_loss": np.zeros(3), which: np.array([bad, 0.0, 0.0])}
    problem.evaluate = lambda params, model: losses | {"train_accuracy": np.array([1, np.nan, 0.0])}
    recording = train(problem, WALK, range(3), [3])
    assert recording.diverged_at.tolist() == [0, -1, -1]
    assert all(np.isnan(values[:, 0]).all() for values in recording.metrics.values())


def test_a_diverging_network_reports_the_step():
    problem = Digits(hidden=SMALL, batch_norm=False)
    optimizer = SGD(learning_rate=column([0.1, 1e30], "float32"))
    recording = train(problem, optimizer, [0, 0], range(1, 8))
    with np.errstate(all="ignore"):
        points, losses, _ = keep_everything(problem, optimizer, [0, 0], 7)
        evaluated = [problem.evaluate(point, None)["train_loss"] for point in points]
    first = next(
        step
        for step in range(1, 8)
        if not np.isfinite([losses[step - 1][1], evaluated[step][1], *points[step][1]]).all()
    )
    assert recording.diverged_at.tolist() == [-1, first]


def test_training_ends_with_the_last_record_and_no_more():
    problem = scripted(np.random.default_rng(0), steps=5)  # a sixth step would raise IndexError
    assert train(problem, WALK, range(3), [2, 5]).steps.tolist() == [0, 2, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_and_cosines_are_in_float64(dtype):
    big = np.array([[3e30, 4e30], [0, 0]], dtype)
    assert norms(big) == pytest.approx([5e30, 0], rel=1e-6)
    assert norms(big).dtype == np.float64
    with np.errstate(invalid="ignore"):
        found = cosines(big, np.array([[4e30, 3e30], [1, 1]], dtype))
    assert found == pytest.approx([24 / 25, np.nan], nan_ok=True)


def test_a_problem_of_an_earlier_version_is_refused_with_what_is_needed():
    class Old:
        def initial_params(self, seeds):
            return np.zeros((len(seeds), 2))

    with pytest.raises(TypeError, match=r"Old has no init: a problem has init\(seeds\), which returns"):
        train(Old(), WALK, [0], [1])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"problem": Digits}, TypeError, r"Digits is a class: give an object of it, such as Digits\("),
        ({"optimizer": SGD}, TypeError, "SGD is a class"),
        ({"optimizer": "SGD"}, TypeError, '"SGD" is a name: give an object here'),
        ({"problem": "wine"}, TypeError, '"wine" is a name: give an object here'),
        (
            {"problem": Landscape(function="rosenbrock", condition=5)},
            ValueError,
            "^Landscape: condition is only for ravine and saddle, got 5 for rosenbrock",
        ),
        (
            {"problem": Table(data="wine", batch_size=107)},
            ValueError,
            "Table: batch_size must be at most 106, the size of the training set, got 107",
        ),
        (
            {"optimizer": SGD(learning_rate=np.ones((2, 1))), "seeds": [0, 1, 2]},
            ValueError,
            r"^learning_rate of SGD must be a number, or a column \(3, 1\) of one per seed, got ",
        ),
        (
            {"optimizer": Lookahead(Adam(beta1=np.full((2, 1), 0.5)))},
            ValueError,
            r"^beta1 of Adam must be a number, or a column \(1, 1\) of one per seed, got ",
        ),
        ({"seeds": []}, ValueError, "seeds must have at least one"),
        ({"seeds": [0, -1]}, ValueError, r"seeds must not be negative, got \[0, -1\]"),
        ({"seeds": [0.5]}, TypeError, r"seeds must be a list of whole numbers, got \[0.5\]"),
        ({"seeds": 3}, TypeError, "seeds must be a list of whole numbers, got 3"),
        ({"record_at": [1.5]}, TypeError, "record_at must be a list of whole numbers"),
        ({"record_at": [-1]}, ValueError, "record_at must not be negative"),
    ],
)
def test_arguments_that_make_no_training_are_named(change, error, says):
    arguments = {"problem": Digits(hidden=()), "optimizer": SGD(), "seeds": [0], "record_at": [1]}
    with pytest.raises(error, match=says):
        train(**arguments | change)


def test_seeds_and_steps_may_be_any_whole_numbers_in_any_order():
    problem = Digits(hidden=())
    expected = train(problem, SGD(), [2, 0], [1, 3])
    same_runs(train(problem, SGD(), iter(np.array([2, 0])), {3, 1, 0}), [0, 1], expected, [0, 1])
