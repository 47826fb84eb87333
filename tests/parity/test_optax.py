"""optax's optimizers by name: the same training as with our own rule (`make parity`)."""

import numpy as np
import pytest

pytest.importorskip("optax")

from sweeping import document, mistakes_of, run, tiny, write

from optimlab.experiment import mixing
from optimlab.experiment.registry import hyperparameters, load_rule, plugin_code
from optimlab.optimizers import RULES
from optimlab.problems import Digits
from optimlab.schedules import Cosine, Scheduled
from optimlab.training import train

pytestmark = pytest.mark.parity
PROBLEM = Digits(hidden=(), bias=False, dtype="float64")  # idle biases are noise
RATES = np.array([[0.1], [0.01], [0.003]])
NO_DECAY = {"weight_decay": 0.0}
SAME = {
    "sgd": ("SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    "adam": ("Adam", {"eps": 1e-6}, {"eps": 1e-6}),
    "adamw": ("AdamW", {**NO_DECAY, "beta1": 0.8}, {**NO_DECAY, "beta1": 0.8}),
    "lion": ("Lion", NO_DECAY, NO_DECAY),
    "adagrad": ("AdaGrad", {"eps": 1e-7}, {"eps": 1e-7, "initial_accumulator_value": 0.0}),
    "rmsprop": ("RMSprop", {"rho": 0.8}, {"decay": 0.8}),
    "adadelta": ("AdaDelta", {"rho": 0.8}, {"rho": 0.8}),
    "contrib.prodigy": ("Prodigy", {}, {}),
    "contrib.schedule_free_sgd": ("ScheduleFreeSGD", {}, {}),
    "lamb": ("LAMB", {}, {}),
}


def close(found, expected):
    """Return whether the losses of two trainings agree."""
    gap = np.abs(found.metrics["train_loss"] - expected.metrics["train_loss"]).max()
    return gap <= 1e-9 and np.isfinite(expected.metrics["train_loss"]).all()


@pytest.mark.parametrize("name", SAME)
def test_a_training_is_that_of_our_own_rule(tmp_path, name):
    ours, own, theirs = SAME[name]
    rule = load_rule(f"optax:{name}", tmp_path)
    expected = train(PROBLEM, RULES[ours](learning_rate=RATES, **own), [0, 1, 2], [1, 60])
    found = train(PROBLEM, rule(learning_rate=RATES, **theirs), [0, 1, 2], [1, 60])
    assert close(found, expected)
    other = train(PROBLEM, rule(learning_rate=RATES * 1.01, **theirs), [0, 1, 2], [1, 60])
    assert not close(other, expected)


def test_a_schedule_and_a_decay_by_key(tmp_path):
    values = {"learning_rate": RATES, "weight_decay": 0.1}
    falls = {"learning_rate": Cosine(warmup=0.1)}
    ends = [
        train(PROBLEM, Scheduled(load_rule(name, tmp_path, values), values, falls), [0, 1, 2], [60])
        for name in ("optax:adam", "AdamW")
    ]
    assert close(*ends)


@pytest.mark.parametrize(
    "name", ["sgd", "adam", "lion", "adafactor", "contrib.prodigy", "contrib.schedule_free_adamw"]
)
def test_no_run_sees_another(tmp_path, name):
    rule = load_rule(f"optax:{name}", tmp_path)
    assert not mixing.mixes_runs(rule, {}, [1e-4, 10])


def test_float32_stays_float32(tmp_path):
    recording = train(Digits(), load_rule("optax:lion", tmp_path)(learning_rate=0.001), [0], [3])
    assert recording.params.dtype == np.float32
    assert np.isfinite(recording.params).all()


def test_its_keywords_are_those_of_the_signature(tmp_path):
    keys = hyperparameters(load_rule("optax:adamw", tmp_path))
    assert (keys["learning_rate"], keys["beta1"], keys["beta2"]) == (0.001, 0.9, 0.999)
    assert (keys["weight_decay"], keys["nesterov"]) == (0.0001, False)
    assert "mask" not in keys
    assert hyperparameters(load_rule("optax:sgd", tmp_path))["momentum"] is None
    with pytest.raises(ValueError, match=r"beta1 must be in \[0, 1\), got 1.5"):
        load_rule("optax:adamw", tmp_path)(beta1=1.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lio", "optax has no optimizer lio; the nearest are lion"),
        ("prodigy", "optax has no optimizer prodigy; the nearest are contrib.prodigy"),
        ("lbfgs", "optax:lbfgs cannot be used: it asks for more than the gradient"),
        ("contrib.momo", "optax:contrib.momo cannot be used: it asks for more than the gradient"),
        ("noisy_sgd", "optax:noisy_sgd cannot be used: its noise would be the same in all runs"),
    ],
)
def test_an_unusable_optimizer_is_reported(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        load_rule(f"optax:{name}", tmp_path)


def test_a_sweep_by_its_name(tmp_path):
    table = '[optimizers.Lion]\nrule = "optax:lion"\nschedule = "linear"\nweight_decay = 0.1\n'
    experiment = tiny(tmp_path, document(optimizers=table))
    outcome = run(experiment, tmp_path / "results")
    assert "failed" not in outcome.statuses
    assert mistakes_of(write(tmp_path / "wrong", document(optimizers=f"{table}beta = 1"))) == [
        "optimizers.Lion.beta: unknown key; did you mean beta2?"
    ]


def test_versions_of_optax_and_jax_identify_the_runs(tmp_path):
    import jax
    import optax

    packages = plugin_code("optax:lion", tmp_path).packages
    assert (packages["optax"], packages["jax"]) == (optax.__version__, jax.__version__)
