"""The rules and the network against stored numbers of PyTorch, optax, Keras and scikit-learn."""

import json

import numpy as np
import pytest
from networks import SEED, TRAININGS, fingerprint, optimlab_losses
from trajectories import (
    CASES,
    CHECKPOINTS,
    GOLDENS,
    NO_EPS,
    TOLERANCE,
    AdamWithScaledEps,
    follow,
    largest_difference,
    roads,
)
from variants import (
    NEAREST,
    AdaGradEpsOutside,
    AdaGradFromATenth,
    AdamBiased,
    AdamEpsInside,
    AdamNoMomentum,
    AdamOfTheArticle,
    DampedMomentum,
    LookAheadTwice,
    NoMomentum,
    RMSpropEpsOfTheSum,
    RMSpropEpsOutside,
    RMSpropUnbiased,
)

from optimlab.nn.layers import BatchNorm
from optimlab.optimizers import RULES, SGD, Adam
from optimlab.problems import Digits

STORED = dict(np.load(GOLDENS))
ABOUT = json.loads(str(STORED["about"]))
ROADS = roads(STORED["network_gradients"])
AT = np.array(CHECKPOINTS) - 1
LOSS_TOLERANCE = 1e-9  # 200 steps of a network, and a BLAS that sums in another order
CLEARLY_WRONG = 1e-2  # what a near variant exceeds, on a road
CLEARLY_OTHER_LOSSES = 1e-3  # and in the losses of the network


def difference(case, name, optimizer):
    """Return how far an optimizer is from the stored path of a case, along a road."""
    path = follow(optimizer, ROADS[name], case.task)[AT]
    return largest_difference(path, STORED[f"{case}/{name}"])


ROAD_CASES = [pytest.param(case, name, id=f"{case}-{name}") for case in CASES for name in case.roads]


def test_goldens_are_of_these_settings():
    settings = {str(case): {name: list(v) for name, v in case.settings.items()} for case in CASES}
    assert ABOUT["settings"] == settings
    assert (ABOUT["trainings"], ABOUT["seed"]) == (TRAININGS, SEED)


@pytest.mark.parametrize(("case", "name"), ROAD_CASES)
def test_a_stack_follows_the_library(case, name):
    assert difference(case, name, case.ours(case.columns())) <= TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_run_alone_follows_the_library(case):
    for name in case.roads:
        road = ROADS[name]
        for row in range(len(road.start)):
            points = follow(case.ours(case.run(row)), road.run(row), case.task)[AT]
            assert largest_difference(points, STORED[f"{case}/{name}"][:, row]) <= TOLERANCE


# For each rule its nearest neighbours; the set names those that only eps tells apart.
WRONG = {
    "SGD": [NoMomentum, DampedMomentum],
    "Nesterov": [SGD, NoMomentum, LookAheadTwice],  # SGD is Nesterov without its shift
    "AdaGrad": [AdaGradEpsOutside, AdaGradFromATenth],
    "RMSprop": [RMSpropEpsOutside, RMSpropUnbiased, RMSpropEpsOfTheSum],
    "Adam": [AdamBiased, AdamOfTheArticle, AdamEpsInside, AdamNoMomentum],
    **NEAREST,
}
ABOUT_EPS = {RMSpropEpsOutside, RMSpropEpsOfTheSum}
WRONG_CASES = [
    pytest.param(case, wrong, name, id=f"{case}-{wrong.__name__}-{name}")
    for case in CASES
    for name in case.roads
    for wrong in WRONG[case.rule]
    if case.settings is not NO_EPS or wrong not in ABOUT_EPS
]


@pytest.mark.slow  # it shows what the goldens tell apart, whatever the library
@pytest.mark.parametrize(("case", "wrong", "name"), WRONG_CASES)
def test_a_near_variant_does_not(case, wrong, name):
    assert difference(case, name, wrong(**case.columns())) > CLEARLY_WRONG


@pytest.mark.parametrize("name", ["noise", "bowl", "network"])
@pytest.mark.parametrize("case", [case for case in CASES if case.rule == "Adam"], ids=str)
def test_the_two_scales_of_adams_eps_are_distinguished(case, name):
    other = Adam if isinstance(case.ours(case.run(0)), AdamWithScaledEps) else AdamWithScaledEps
    assert difference(case, name, other(**case.columns())) > CLEARLY_WRONG


def loss_difference(problem, rule, optimizer):
    losses, _, _ = optimlab_losses(problem, optimizer)
    return np.max(np.abs(losses - STORED[f"losses/{rule}"]))


def test_start_and_batches_are_those_of_the_goldens():
    assert fingerprint(Digits(dtype="float64")) == pytest.approx(ABOUT["fingerprint"], rel=1e-12), (
        "the random numbers have changed, so the losses must: run generate_goldens.py"
    )


@pytest.mark.parametrize("rule", TRAININGS)
def test_the_network_trains_as_in_pytorch(rule):
    optimizer = RULES[rule](**TRAININGS[rule])
    assert loss_difference(Digits(dtype="float64"), rule, optimizer) <= LOSS_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "wrong"),
    [pytest.param(rule, wrong, id=wrong.__name__) for rule in TRAININGS for wrong in WRONG[rule]],
)
def test_the_network_with_a_near_variant_does_not(rule, wrong):
    optimizer = wrong(**TRAININGS[rule])
    assert loss_difference(Digits(dtype="float64"), rule, optimizer) > CLEARLY_OTHER_LOSSES


@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_another_eps_of_batch_norm_shows(eps):
    problem = Digits(dtype="float64")
    for layer in problem.network.layers:
        if isinstance(layer, BatchNorm):
            layer.eps = eps
    optimizer = RULES["SGD"](**TRAININGS["SGD"])
    assert loss_difference(problem, "SGD", optimizer) > CLEARLY_OTHER_LOSSES
