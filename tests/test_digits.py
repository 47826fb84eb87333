"""The digits: splits, what a seed decides, and that a network learns them."""

import copy
import itertools

import numpy as np
import pytest
from reference.bits import bits
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sweeping import mostly_slow

from optimlab.nn import perceptron
from optimlab.nn.losses import CrossEntropy
from optimlab.optimizers import SGD, Adam
from optimlab.problems import PROBLEMS, Digits
from optimlab.problems.seeds import generator
from optimlab.problems.settings import HiddenLayer
from optimlab.training import train

SIZES = {"train": 1200, "validation": 300, "test": 297}


def places_of(images):
    """Return where each image stands among scikit-learn's, which are all different."""
    places = {image.tobytes(): place for place, image in enumerate(load_digits().data)}
    assert len(places) == 1797
    return [places[(image * 16.0).tobytes()] for image in images]


@pytest.fixture(scope="module")
def digits():
    return Digits(dtype="float64")


def test_the_problem_is_known_by_name():
    assert PROBLEMS["digits"] is Digits


def test_the_split_parts_the_images(digits):
    bunch, data = load_digits(), digits.parts
    assert {role: len(images) for role, (images, _) in data.items()} == SIZES
    everyone = []
    for images, labels in data.values():
        places = places_of(images)
        assert np.array_equal(labels, bunch.target[places])
        everyone += places
    assert sorted(everyone) == list(range(1797))


def test_the_last_297_are_never_trained_on(digits):
    assert places_of(digits.parts["test"].features) == list(range(1500, 1797))


def test_the_images_and_their_split_are_scikit_learn_s(digits):
    bunch, data = load_digits(), digits.dataset
    known = np.arange(1500)
    train, validation = train_test_split(
        known, train_size=1200, stratify=bunch.target[known], random_state=0
    )
    assert np.array_equal(data.features, bunch.data / 16)
    assert np.array_equal(data.targets, bunch.target)
    assert data.feature_names == tuple(bunch.feature_names)
    assert np.array_equal(data.splits["train"], np.sort(train))
    assert np.array_equal(data.splits["validation"], np.sort(validation))


def test_train_and_validation_have_the_same_shares_of_classes(digits):
    train_labels, validation_labels = digits.parts["train"].targets, digits.parts["validation"].targets
    known = np.bincount(np.concatenate([train_labels, validation_labels]), minlength=10)
    assert np.abs(np.bincount(validation_labels, minlength=10) - known / 5).max() < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels_are_shares_of_the_darkest(dtype):
    for images, labels in Digits(dtype=dtype).parts.values():
        assert images.dtype == dtype
        assert images.min() == 0
        assert images.max() == 1
        assert labels.dtype.kind == "i"


def test_the_seed_alone_decides_the_start_point(digits):
    other = Digits(dtype="float64", batch_size=7)
    together, _ = digits.init([4, 5, 6])
    assert len(np.unique(together[:, 0])) == 3
    assert np.array_equal(digits.init([4, 5, 6])[0], together)
    assert np.array_equal(other.init([6, 4])[0], together[[2, 0]])


def test_the_seed_alone_decides_the_batches(digits):
    batches = digits.batches([4, 5, 6])
    other = Digits(hidden=(), batch_norm=False).batches([6, 4])
    for _ in range(40):
        batch = next(batches)
        assert not np.array_equal(batch[0], batch[1])
        assert np.array_equal(next(other), batch[[2, 0]])


def test_start_point_and_batches_come_from_separate_streams():
    draws = {generator(0, name).integers(2**62) for name in ("initial_params", "batches")}
    draws |= {generator(seed, "batches").integers(2**62) for seed in (1, 2)}
    assert len(draws) == 4
    assert generator(0, "batches").integers(2**62) in draws
    shown = next(Digits().batches([5]))[0]
    assert not np.array_equal(generator(5, "initial_params").permutation(1200)[:64], shown)
    assert np.array_equal(generator(5, "batches").permutation(1200)[:64], shown)


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [
        (64, [64] * 18 + [48]),
        (50, [50] * 24),
        (1199, [1199, 1]),
        (500, [500, 500, 200]),
    ],
)
def test_an_epoch_shows_each_image_once(batch_size, sizes):
    digits = Digits(batch_size=batch_size)
    assert digits.steps_per_epoch == len(sizes)
    batches = digits.batches([0, 1])
    epochs = []
    for _ in range(3):
        steps = list(itertools.islice(batches, len(sizes)))
        assert [step.shape for step in steps] == [(2, size) for size in sizes]
        epochs.append(np.hstack(steps))
        assert (np.sort(epochs[-1]) == np.arange(sum(sizes))).all()
    for first, second in itertools.combinations(epochs, 2):
        assert not np.array_equal(first, second)


def test_later_batches_leave_earlier_ones_alone(digits):
    batches, kept, copies = digits.batches([0, 1]), [], []
    for _ in range(60):
        kept.append(next(batches))
        copies.append(kept[-1].copy())
    assert all(np.array_equal(batch, copy) for batch, copy in zip(kept, copies, strict=True))


def test_a_full_batch_is_one_row_for_all_runs():
    digits = Digits(batch_size=1200)
    assert digits.steps_per_epoch == 1
    for batch in itertools.islice(digits.batches([0, 1, 2]), 3):
        assert np.array_equal(batch, np.arange(1200))


def test_a_shared_full_batch_is_each_run_s_own():
    digits = Digits(batch_size=1200, dtype="float64")
    params, model = digits.init([0, 1])
    batch = np.arange(1200)
    shared = [array.copy() for array in digits.loss_and_gradient(params, batch, model)]
    own = digits.loss_and_gradient(params, np.stack([batch, batch[::-1]]), model)
    for found, expected in zip(shared, own, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_loss_and_gradient_are_those_of_the_batch_s_images(digits):
    params, model = digits.init([3, 4])
    batch = next(digits.batches([3, 4]))
    found = [array.copy() for array in digits.loss_and_gradient(params, batch, model)]
    images, labels = digits.parts["train"]
    for row in range(2):
        x = np.stack([images[place] for place in batch[row]], axis=1)
        expected = digits.network.loss_and_gradient(
            params[[row]], x, labels[batch[row]], digits.init([row])[1], CrossEntropy()
        )
        for mine, one in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine[row], one[0], rtol=1e-10, atol=1e-13)


NARROW_AND_WIDE = {
    "none": (),
    "one": ((1, "tanh"),),
    "one after two": ((2, "relu"), (1, "sigmoid")),
    "one before three": ((1, "elu"), (3, "leaky_relu")),
    "usual": ((32, "sigmoid"), (16, "relu")),
}


class Unchecked(Digits):
    """Digits with batches of one, which are refused because batch norm makes zeros of them."""

    def check(self):
        return {}


@pytest.mark.parametrize("dtype", mostly_slow(["float32", "float64"]))
@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 109, 300, 1200])  # 109 leaves one image
@pytest.mark.parametrize("units", NARROW_AND_WIDE)
def test_a_run_s_bits_do_not_depend_on_its_stack(units, batch_size, dtype):
    hidden = tuple(HiddenLayer(units=n, activation=name) for n, name in NARROW_AND_WIDE[units])
    steps = 12 if batch_size == 109 else 2

    def of_seed_5(seeds):
        problem = Unchecked(hidden=hidden, batch_size=batch_size, dtype=dtype)
        rate = np.full((len(seeds), 1), 0.05, dtype)
        recording = train(problem, Adam(learning_rate=rate), seeds, [steps])
        place = seeds.index(5)
        return recording.params[place], {n: m[:, place] for n, m in recording.metrics.items()}

    params, metrics = of_seed_5([5])
    larger = [] if batch_size >= 300 else [[2, 3, 4, 5, 6, 7, 8], list(range(20))]  # else slow
    for seeds in ([5, 6], *larger):
        other_params, other_metrics = of_seed_5(seeds)
        assert bits(other_params) == bits(params)
        assert {name for name in metrics if bits(other_metrics[name]) != bits(metrics[name])} == set()


def test_evaluation_is_on_all_images_of_each_role():
    digits = Digits(batch_norm=False, dtype="float64")
    params, model = digits.init([0, 1])
    metrics = digits.evaluate(params, model)
    assert list(metrics) == [f"{role}_{what}" for role in SIZES for what in ("loss", "accuracy")]
    for role, (images, labels) in digits.parts.items():
        logits = digits.network.forward(params, images.T, model)
        hits = (logits.argmax(axis=1) == labels).mean(axis=1)
        np.testing.assert_allclose(metrics[f"{role}_accuracy"], hits)
        loss, _ = digits.network.loss_and_gradient(params, images.T, labels, model, CrossEntropy())
        np.testing.assert_allclose(metrics[f"{role}_loss"], loss, rtol=1e-12)


def test_the_stuck_loss_is_just_below_the_best_blind_guess(digits):
    shares = np.bincount(digits.parts["train"].targets) / 1200
    guess = np.mean([-np.log(shares[label]) for label in digits.parts["train"].targets])
    assert digits.stuck_loss == pytest.approx(0.99 * guess)
    assert 2.25 < digits.stuck_loss < np.log(10)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"batch_size": 1200}, None),
        ({"batch_size": 1201}, 1200),
    ],
)
def test_a_batch_is_at_most_the_training_set(options, limit):
    wrong = Digits(**options).check()
    assert list(wrong) == (["batch_size"] if limit else [])
    assert not limit or f"at most {limit:,}" in wrong["batch_size"]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 2894),
        ({"bias": False}, 2836),
        ({"batch_norm": False}, 2778),
        ({"hidden": (), "batch_norm": False}, 650),
        ({"hidden": (HiddenLayer(units=5, activation="tanh"),)}, 64 * 5 + 5 + 10 + 50 + 10 + 20),
    ],
)
def test_the_options_make_the_network(options, size):
    assert Digits(**options).init([0, 1])[0].shape == (2, size)


def test_evaluation_may_take_the_whole_set_s_statistics():
    digits = Digits(evaluate_with="batch", dtype="float64")
    params, model = digits.init([0, 1])
    metrics = digits.evaluate(params, model)
    for role, (images, labels) in digits.parts.items():
        loss, _ = digits.network.loss_and_gradient(params, images.T, labels, model, CrossEntropy())
        np.testing.assert_allclose(metrics[f"{role}_loss"], loss, rtol=1e-10)


@pytest.mark.parametrize("initialization", ["uniform", "glorot", "he"])
def test_the_start_follows_the_scheme(initialization):
    digits = Digits(initialization=initialization, dtype="float64")
    network = perceptron(64, [(32, "sigmoid"), (16, "relu")], 10, initialization=initialization)
    expected = network.initial_params([generator(3, "initial_params")])
    assert np.array_equal(digits.init([3])[0], expected)


def test_a_run_s_bytes_grow_with_what_it_holds():
    small = Digits().run_bytes
    assert Digits(dtype="float64").run_bytes == 2 * small
    assert small > 4 * 2894 * 4  # parameters, gradient and the rows of Adam
    assert Digits(batch_size=1200).run_bytes > 5 * small
    assert Digits(hidden=()).run_bytes < small


def test_training_leaves_the_images_alone():
    digits = Digits(hidden=(HiddenLayer(units=4, activation="elu"),))
    before = {role: images.copy() for role, (images, _) in digits.parts.items()}
    train(digits, SGD(learning_rate=0.1), [0], [20])
    for role, images in before.items():
        assert np.array_equal(digits.parts[role].features, images)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_network_learns(batch_norm):
    digits = Digits(batch_norm=batch_norm)
    epochs = 5 if batch_norm else 20
    metrics = train(digits, Adam(learning_rate=0.01), [0, 1], [epochs * 19]).metrics
    for role, least in (("train", 0.9), ("validation", 0.85), ("test", 0.75)):
        assert (metrics[f"{role}_accuracy"][0] < 0.3).all()
        assert (metrics[f"{role}_accuracy"][-1] > least).all()
        assert (metrics[f"{role}_loss"][-1] < metrics[f"{role}_loss"][0]).all()
    assert (metrics["train_loss"][-1] < 0.4).all()


def trained(problem, rate, seeds=(1, 2, 3)):
    """Return parameters, model and the final metrics of a few steps."""
    recording = train(problem, SGD(learning_rate=rate), seeds, [30])
    numbers = {name: values[-1] for name, values in recording.metrics.items()}
    return recording.params, recording.model, numbers


def test_an_earlier_stack_is_evaluated_with_its_own_model():
    problem = Digits(hidden=())
    params, model, numbers = trained(problem, 0.5)
    best, best_model = params.copy(), copy.deepcopy(model)
    trained(problem, 1e-3)
    second, second_model, later = trained(problem, 0.1, seeds=(4, 5))
    for metrics in (problem.evaluate(params, model), problem.evaluate(best, best_model)):
        assert {name: values.tolist() for name, values in metrics.items()} == {
            name: numbers[name].tolist() for name in metrics
        }
    found = problem.evaluate(second, second_model)
    assert found["test_loss"].tolist() == later["test_loss"].tolist()


def test_two_stacks_may_be_trained_in_turn():
    """On one problem, a step of each at a time: both end as they do alone."""
    problem = Digits(hidden=(HiddenLayer(units=4, activation="tanh"),), batch_size=300)
    seeds = [[1, 2, 3], [7, 8, 9]]
    stacks = [(*problem.init(each), problem.batches(each)) for each in seeds]
    for _ in range(6):
        for params, model, batches in stacks:
            _, gradient = problem.loss_and_gradient(params, next(batches), model)
            params -= 0.5 * gradient
    for each, (params, model, _) in zip(seeds, stacks, strict=True):
        alone = train(problem, SGD(learning_rate=0.5, momentum=0.0), each, [6])
        assert bits(params) == bits(alone.params)
        metrics = problem.evaluate(params, model)
        assert bits(metrics["test_loss"]) == bits(alone.metrics["test_loss"][-1])


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_another_number_of_rows_is_an_error(rows, batch_norm):
    problem = Digits(hidden=(), batch_norm=batch_norm)
    params, model, _ = trained(problem, 0.5)
    others = np.resize(params, (rows, problem.size))
    for call in (
        lambda: problem.evaluate(others, model),
        lambda: problem.loss_and_gradient(others, np.arange(1200), model),
    ):
        with pytest.raises(ValueError, match=f"params has {rows} rows, and its model is of 3 runs"):
            call()
    batch = next(problem.batches(range(rows)))
    with pytest.raises(ValueError, match=f"params has 3 rows, but the batch has {rows}"):
        problem.loss_and_gradient(params, batch, model)


def test_parameters_alone_are_evaluated_where_they_decide_it():
    for options in ({"batch_norm": False}, {"evaluate_with": "batch"}):
        problem = Digits(hidden=(), **options)
        params, _, numbers = trained(problem, 0.5)
        assert problem.evaluate(params, None)["test_loss"].tolist() == numbers["test_loss"].tolist()
    problem = Digits(hidden=())
    with pytest.raises(ValueError, match='with evaluate_with = "batch"'):
        problem.evaluate(problem.init([0])[0], None)
