"""The rules and the network against the libraries themselves, where installed (`make parity`)."""

from pathlib import Path

import numpy as np
import pytest
from defaults import defaults_table
from libraries import MODULES, library_path, rule_difference, versions
from networks import (
    CLASSIFIER_ACTIVATIONS,
    CLASSIFIER_RULES,
    TRAININGS,
    optimlab_losses,
    pytorch_difference,
    pytorch_losses,
    scikit_learn_difference,
)
from trajectories import (
    CASES,
    RUNS,
    SETTINGS,
    TOLERANCE,
    Case,
    follow,
    largest_difference,
    record_network_gradients,
    roads,
)
from variants import AdaGradEpsOutside, RMSpropEpsOutside

from optimlab.optimizers import RULES, SGD, AdaGrad
from optimlab.problems import Digits

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras on PyTorch
]

LOSS_TOLERANCE = 1e-9
TRAINING = SGD(**TRAININGS["SGD"])


@pytest.fixture(scope="module")
def all_roads():
    return roads(record_network_gradients())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(case, all_roads):
    pytest.importorskip(MODULES[case.library])
    assert rule_difference(case, all_roads) <= TOLERANCE


@pytest.mark.parametrize("library", ["optax", "Keras"])
def test_a_start_of_adagrad_is_a_larger_eps(library, all_roads):
    pytest.importorskip(MODULES[library])
    settings = SETTINGS["AdaGrad"]
    case = Case("AdaGrad", library, {**settings, "start": (0.1,) * RUNS})
    rates, eps = (np.array(settings[name])[:, None] for name in ("learning_rate", "eps"))
    ours = follow(AdaGrad(learning_rate=rates, eps=0.1 + eps), all_roads["network"])
    assert largest_difference(ours, library_path(case, all_roads["network"])) <= TOLERANCE


@pytest.mark.parametrize(
    ("rule", "variant"), [("AdaGrad", AdaGradEpsOutside), ("RMSprop", RMSpropEpsOutside)]
)
def test_pytorchs_eps_is_outside_the_root(rule, variant, all_roads):
    pytest.importorskip("torch")
    case = Case(rule, "PyTorch", {**SETTINGS[rule], "start": (0.0,) * RUNS})
    columns = Case(rule, "PyTorch", SETTINGS[rule]).columns()
    theirs = library_path(case, all_roads["noise"])
    assert largest_difference(follow(variant(**columns), all_roads["noise"]), theirs) <= TOLERANCE
    assert largest_difference(follow(RULES[rule](**columns), all_roads["noise"]), theirs) > 1e-2


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rule", TRAININGS)
def test_network_in_pytorch(rule, bias):
    pytest.importorskip("torch")
    if rule == "RMSprop":
        pytest.importorskip("optax")
    assert pytorch_difference(rule, TRAININGS[rule], bias=bias) <= LOSS_TOLERANCE


@pytest.mark.parametrize("eps", [1e-2, 1e-100])
@pytest.mark.parametrize("rule", ["AdaGrad", "RMSprop", "Adam"])
def test_network_in_pytorch_at_another_eps(rule, eps):
    pytest.importorskip("torch")
    pytest.importorskip("optax")
    assert pytorch_difference(rule, {**TRAININGS[rule], "eps": eps}, bias=True) <= LOSS_TOLERANCE


@pytest.mark.parametrize("rule", ["AdaGrad", "RMSprop", "Adam"])
def test_without_eps_idle_biases_walk_on_rounding_noise(rule):
    """Dense biases before batch norm have no true gradient; the losses agree all the same."""
    pytest.importorskip("torch")
    problem = Digits(dtype="float64")
    hyperparameters = {**TRAININGS[rule], "eps": 1e-100}
    _, ours, _ = optimlab_losses(problem, Case(rule, "PyTorch", {}).ours(hyperparameters))
    _, theirs, _ = pytorch_losses(problem, rule, hyperparameters)
    differences = problem.network.layout.views(np.abs(ours - theirs)[None])
    for name, values in differences.items():
        if name.endswith(".bias"):
            assert values.max() > hyperparameters["learning_rate"]
        else:
            assert values.max() <= LOSS_TOLERANCE


@pytest.mark.parametrize("activation", CLASSIFIER_ACTIVATIONS)
@pytest.mark.parametrize("rule", CLASSIFIER_RULES)
def test_network_in_scikit_learn(rule, activation):
    assert scikit_learn_difference(rule, activation) <= LOSS_TOLERANCE


def trained(batch_size):
    """Return problem, parameters (1, P) and model after training, and PyTorch's network after it."""
    problem = Digits(dtype="float64", batch_size=batch_size)
    other = Digits(dtype="float64", batch_size=batch_size)
    _, params, model = optimlab_losses(problem, TRAINING)
    _, _, network = pytorch_losses(other, "SGD", TRAININGS["SGD"])
    return problem, params[None], model, network


def batch_norms(model, network):
    """Yield the running averages of each batch norm here, and PyTorch's batch norm."""
    ours = [state for state in model.states.values() if state]
    theirs = [module for module in network if hasattr(module, "running_mean")]
    return zip(ours, theirs, strict=True)


def test_running_averages_are_pytorchs_without_start_and_with_biased_variance():
    """Theirs hold a share 0.99ᵗ of the start (0 and 1), and variances over B − 1 (B = 60)."""
    pytest.importorskip("torch")
    _, _, model, network = trained(batch_size=60)
    for ours, theirs in batch_norms(model, network):
        mean, variance = ours.statistics()
        start = 0.99**ours.steps
        expected_mean = (1 - start) * mean[0]
        expected_variance = start + (1 - start) * variance[0] * 60 / 59
        assert largest_difference(theirs.running_mean.numpy(), expected_mean) <= TOLERANCE
        assert largest_difference(theirs.running_var.numpy(), expected_variance) <= TOLERANCE


def test_evaluation_in_pytorch_with_our_averages():
    torch = pytest.importorskip("torch")
    problem, params, model, network = trained(batch_size=64)
    for ours, theirs in batch_norms(model, network):
        mean, variance = ours.statistics()
        theirs.running_mean.copy_(torch.from_numpy(mean[0]))
        theirs.running_var.copy_(torch.from_numpy(variance[0]))
    network.eval()
    metrics = problem.evaluate(params, model)
    for role, (images, labels) in problem.parts.items():
        with torch.no_grad():
            logits, labels = network(torch.from_numpy(images)), torch.from_numpy(labels)
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).double().mean().item()
        assert metrics[f"{role}_loss"][0] == pytest.approx(loss, rel=TOLERANCE)
        assert metrics[f"{role}_accuracy"][0] == accuracy


def test_the_page_names_the_installed_defaults():
    for module in MODULES.values():
        pytest.importorskip(module)
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    assert defaults_table() in page, "run tests/parity/defaults.py"
    assert all(number.split("+")[0] in page for number in versions().values())
