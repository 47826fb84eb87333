"""PyTorch's optimizers by name: the same training as with our own rule (`make parity`)."""

import numpy as np
import pytest

pytest.importorskip("torch")

from optimlab.experiment import mixing
from optimlab.experiment.registry import hyperparameters, load_rule, plugin_code
from optimlab.optimizers import RULES
from optimlab.problems import Digits
from optimlab.schedules import Cosine, Linear, Scheduled
from optimlab.training import train

pytestmark = pytest.mark.parity
PROBLEM = Digits(hidden=(), bias=False, dtype="float64")  # idle biases are noise
RATES = np.array([[0.1], [0.01], [0.003]])
SAME = {
    "SGD": ("SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    "Adam": ("Adam", {"eps": 1e-6}, {"eps": 1e-6}),
    "AdamW": ("AdamW", {"weight_decay": 0.0, "beta1": 0.8}, {"weight_decay": 0.0, "beta1": 0.8}),
    "Adamax": ("Adamax", {}, {}),
    "Adadelta": ("AdaDelta", {"rho": 0.8}, {"rho": 0.8}),
    "RAdam": ("RAdam", {}, {}),
}


@pytest.mark.parametrize("name", SAME)
def test_a_training_is_that_of_our_own_rule(tmp_path, name):
    ours, own, theirs = SAME[name]
    rule = load_rule(f"torch:{name}", tmp_path)
    expected = train(PROBLEM, RULES[ours](learning_rate=RATES, **own), [0, 1, 2], [1, 100])
    found = train(PROBLEM, rule(learning_rate=RATES, **theirs), [0, 1, 2], [1, 100])
    assert np.abs(found.params - expected.params).max() <= 1e-9
    assert np.abs(found.metrics["train_loss"] - expected.metrics["train_loss"]).max() <= 1e-11


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "Adagrad", "RMSprop", "Rprop", "Lookahead"])
def test_no_run_sees_another(tmp_path, name):
    rule = load_rule("Lookahead(torch:Adam)" if name == "Lookahead" else f"torch:{name}", tmp_path)
    assert not mixing.mixes_runs(rule, {}, [1e-4, 10])


def test_its_keywords_are_those_of_the_signature(tmp_path):
    keys = hyperparameters(load_rule("torch:AdamW", tmp_path))
    assert (keys["learning_rate"], keys["beta1"], keys["beta2"]) == (0.001, 0.9, 0.999)
    assert (keys["weight_decay"], keys["amsgrad"]) == (0.01, False)
    with pytest.raises(ValueError, match="Invalid beta parameter at index 0"):
        load_rule("torch:AdamW", tmp_path)(beta1=1.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Adm", "torch.optim has no Adm; the nearest are Adam"),
        ("LBFGS", "torch:LBFGS cannot be used: it asks for the loss at several points"),
        ("Muon", "torch:Muon cannot be used: it takes only matrices"),
    ],
)
def test_an_unusable_optimizer_is_reported(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        load_rule(f"torch:{name}", tmp_path)


def test_pytorchs_version_identifies_the_runs(tmp_path):
    import torch

    packages = plugin_code("torch:AdamW", tmp_path).packages
    assert packages["torch"] == torch.__version__


def test_a_schedule_and_a_clipped_gradient(tmp_path):
    values = {"learning_rate": RATES, "clip_norm": 0.5, "weight_decay": 0.0}
    falls = {"learning_rate": Cosine(warmup=0.1), "beta1": Linear(final=0.5)}
    ends = [
        train(
            PROBLEM,
            Scheduled(load_rule(name, tmp_path, values), {**values, "beta1": 0.9}, falls),
            [0, 1, 2],
            [60],
        ).params
        for name in ("torch:AdamW", "AdamW")
    ]
    assert np.abs(ends[0] - ends[1]).max() <= 1e-9
    plain = load_rule("torch:AdamW", tmp_path)(learning_rate=RATES, weight_decay=0.0)
    assert np.abs(train(PROBLEM, plain, [0, 1, 2], [60]).params - ends[1]).max() > 1e-3
