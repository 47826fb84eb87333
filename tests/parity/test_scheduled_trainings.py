"""Schedules, and trainings under them, against stored numbers of PyTorch and optax."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import schedules as oracle
from networks import SEED
from trajectories import STEPS

from optimlab.experiment.registry import load_schedule
from optimlab.optimizers import SGD, Adam, AdamW, Nesterov, WeightDecay
from optimlab.problems import Digits
from optimlab.schedules import Cosine, Linear, OfFunction, Scheduled
from optimlab.training import train

STORED = json.loads(oracle.STORED.read_text(encoding="utf-8"))
TOLERANCE = 1e-12
LOSS_TOLERANCE = 1e-9
WRONG = 1e-4
WARM_COSINE = Cosine(warmup=oracle.WARMUP)
RATE = {"learning_rate": oracle.RATE}


def factors(settings, shift=0):
    schedule = load_schedule(settings, None)
    return [schedule.factor(step + shift, oracle.N) for step in range(1, oracle.N + 1)]


@pytest.mark.parametrize("name", oracle.FACTORS)
def test_factors_are_those_of_the_libraries(name):
    settings, stored = oracle.FACTORS[name], STORED["factors"][name]
    assert len(stored) == (1 if name in ("inverse_sqrt", "linear, growing") else 2)
    for source, theirs in stored.items():
        assert oracle.largest(theirs, factors(settings)) <= TOLERANCE, source
        assert oracle.largest(theirs, factors(settings, shift=1)) > WRONG  # one step early
        without = {key: value for key, value in settings.items() if key != "warmup"}
        assert "warmup" not in settings or oracle.largest(theirs, factors(without)) > WRONG


class Heard(Digits):
    """The digits, which keep the loss of each step."""

    def loss_and_gradient(self, params, batch, model):
        loss, gradient = super().loss_and_gradient(params, batch, model)
        self.__dict__.setdefault("losses", []).append(float(loss[0]))
        return loss, gradient


def losses(optimizer):
    """Return the loss at each step of a training."""
    problem = Heard(dtype="float64", bias=False)
    train(problem, optimizer, [SEED], [STEPS])
    return problem.losses


def difference(name, optimizer):
    return oracle.largest(STORED["losses"][name], losses(optimizer))


DECAYED = {**RATE, "weight_decay": oracle.DECAY}
FALLING = {"learning_rate": WARM_COSINE}


def around_adam(learning_rate, weight_decay):
    return WeightDecay(Adam(learning_rate=learning_rate), weight_decay=weight_decay)


def early(progress):
    return oracle.warm_cosine(min(STEPS * progress + 1, STEPS - 1))


def of_the_peak(learning_rate, weight_decay):
    """Decay by the highest learning rate, not that of the step."""
    return AdamW(learning_rate=learning_rate, weight_decay=weight_decay * oracle.RATE / learning_rate)


@pytest.mark.parametrize("rule", [AdamW, around_adam])
def test_warmed_up_cosine_adam_with_weight_decay_is_pytorchs_adamw(rule):
    assert difference("AdamW", Scheduled(rule, DECAYED, FALLING)) <= LOSS_TOLERANCE


@pytest.mark.parametrize(
    "wrong",
    [
        Scheduled(AdamW, RATE | {"weight_decay": 0.0}, FALLING),
        Scheduled(of_the_peak, DECAYED, FALLING),
        Scheduled(AdamW, DECAYED, {"learning_rate": Cosine()}),
        Scheduled(AdamW, DECAYED, {"learning_rate": Linear(warmup=oracle.WARMUP)}),
        Scheduled(AdamW, DECAYED, {"learning_rate": OfFunction(early)}),
        AdamW(**DECAYED),
    ],
    ids=["no decay", "unscheduled decay", "no warm-up", "linear", "one step early", "constant"],
)
def test_its_nearest_neighbours_are_not(wrong):
    assert difference("AdamW", wrong) > WRONG


@pytest.mark.slow
def test_a_user_defined_function_does_the_same():
    own = OfFunction(lambda progress: oracle.warm_cosine(round(progress * STEPS)))
    assert difference("AdamW", Scheduled(AdamW, DECAYED, {"learning_rate": own})) <= LOSS_TOLERANCE


BETA = {"beta1": Linear(final=0.5)}


def without_decay(learning_rate, beta1):
    return AdamW(learning_rate=learning_rate, beta1=beta1, weight_decay=0.0)


class SumsOf(Adam):
    """Adam whose first moment is a sum, which a changing β rescales at once."""

    def step(self, params, gradient, state):
        before = state.setdefault("beta1", self.beta1)
        state["first_moment"] *= (1 - self.beta1) / (1 - before)
        state["beta1"] = self.beta1
        super().step(params, gradient, state)


@pytest.mark.parametrize("rule", [Adam, without_decay])
def test_a_scheduled_beta_is_pytorchs(rule):
    assert difference("beta", Scheduled(rule, RATE | {"beta1": 0.9}, BETA)) <= LOSS_TOLERANCE


@pytest.mark.parametrize("wrong", [Adam(**RATE), Scheduled(SumsOf, RATE | {"beta1": 0.9}, BETA)])
def test_a_constant_beta_and_a_sum_are_not(wrong):
    assert difference("beta", wrong) > WRONG


@dataclass(frozen=True)
class RateOutside:
    """SGD or Nesterov whose velocity changes with the rate, as PyTorch's does.

    PyTorch's Nesterov holds the look-ahead point; in terms of w, the old velocity moves it as it was.
    """

    rule: Any

    @property
    def learning_rate(self):
        return self.rule.learning_rate

    def init(self, params):
        return {**self.rule.init(params), "rate": self.learning_rate}

    def gradient_point(self, params, state):
        return self.rule.gradient_point(params, state)

    def step(self, params, gradient, state):
        ratio, velocity = self.learning_rate / state["rate"], state["velocity"].copy()
        state["rate"] = self.learning_rate
        if isinstance(self.rule, Nesterov):
            self.rule.step(params, gradient, state)
            state["velocity"] += self.rule.momentum * (ratio - 1) * velocity
        else:
            state["velocity"] *= ratio
            self.rule.step(params, gradient, state)


@pytest.mark.parametrize("rule", [SGD, Nesterov])
def test_a_rate_inside_the_velocity_differs_by_the_velocitys_scale_alone(rule):
    values = {"learning_rate": 0.1}
    outside = Scheduled(lambda **values: RateOutside(rule(**values)), values, FALLING)
    assert difference(rule.__name__, outside) <= LOSS_TOLERANCE
    assert difference(rule.__name__, Scheduled(rule, values, FALLING)) > 1e-3


@cache
def live():
    return oracle.numbers()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # PyTorch's schedulers warn of how they call each other
def test_the_stored_numbers_are_those_of_the_installed_libraries():
    pytest.importorskip("torch")
    pytest.importorskip("optax")
    for name, stored in STORED["factors"].items():
        for source, theirs in stored.items():
            assert oracle.largest(theirs, live()["factors"][name][source]) <= TOLERANCE
    for name, theirs in STORED["losses"].items():
        assert oracle.largest(theirs, live()["losses"][name]) <= LOSS_TOLERANCE


def test_the_trainings_are_long_enough_to_tell():
    assert {len(found) for found in STORED["losses"].values()} == {STEPS}
    assert np.ptp([found[-1] for found in STORED["losses"].values()]) > 1e-3
