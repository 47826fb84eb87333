"""The digits network in PyTorch and in scikit-learn, trained on optimlab's starting points and batches.

PyTorch's `Sequential` of Linear, BatchNorm1d and activation has its parameters in the order of
optimlab's flat row, but for the weights, which are transposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from libraries import optax, pytorch_optimizer
from trajectories import STEPS, AdamWithScaledEps

from optimlab.nn.network import Model
from optimlab.optimizers import RULES, Optimizer
from optimlab.problems import Digits
from optimlab.problems.settings import HiddenLayer

Array = np.ndarray
SEED = 0

# What scikit-learn's classifier has.
CLASSIFIER_RULES = ("SGD", "Nesterov", "Adam")
CLASSIFIER_ACTIVATIONS = ("relu", "tanh", "sigmoid")

# A whole training run of each rule.
TRAININGS: dict[str, dict[str, float]] = {
    "SGD": {"learning_rate": 0.1, "momentum": 0.9},
    "Nesterov": {"learning_rate": 0.1, "momentum": 0.9},
    "AdaGrad": {"learning_rate": 0.03, "eps": 1e-8},
    "RMSprop": {"learning_rate": 0.003, "rho": 0.9, "eps": 1e-8},
    "Adam": {"learning_rate": 0.003, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}


def batches(problem: Digits) -> Iterator[Array]:
    """Yield the places in the training set (B,) of the first 200 batches."""
    return (rows[0] for rows in islice(problem.batches([SEED]), STEPS))


def fingerprint(problem: Digits) -> list[float]:
    """Return two sums, of the starting point and the first batches, that tell whether they changed."""
    weights = np.arange(problem.batch_size)
    rows = [weights @ batch for batch in islice(batches(problem), problem.steps_per_epoch - 1)]
    return [float(problem.init([SEED])[0].sum()), float(np.sum(rows))]


def optimlab_losses(problem: Digits, optimizer: Optimizer) -> tuple[Array, Array, Model]:
    """Return the losses (steps,) at the gradient points, the last gradient point (P,), and the model."""
    params, model = problem.init([SEED])
    state = optimizer.init(params)
    losses = []
    for batch in batches(problem):
        point = optimizer.gradient_point(params, state)
        loss, gradient = problem.loss_and_gradient(point, batch[None], model)
        optimizer.step(params, gradient, state)
        losses.append(loss[0])
    return np.array(losses), optimizer.gradient_point(params, state)[0].copy(), model


def pytorch_network(problem: Digits):
    """Return the network as torch.nn modules, at optimlab's starting point."""
    from torch import nn, tensor

    activations = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
    modules: list[nn.Module] = []
    inputs = 64
    for units, activation in [*((h.units, h.activation) for h in problem.hidden), (10, None)]:
        modules.append(nn.Linear(inputs, units, bias=problem.bias))
        if problem.batch_norm:
            modules.append(nn.BatchNorm1d(units, eps=0.01, momentum=0.01))
        if activation:
            modules.append(activations[activation]())
        inputs = units
    network = nn.Sequential(*modules).double()
    views = problem.network.layout.views(problem.init([SEED])[0])
    for ours, theirs in zip(views.values(), network.parameters(), strict=True):
        theirs.data = tensor(ours[0].T).contiguous()
    return network


class OptaxRMSprop:
    """optax's RMSprop with PyTorch's gradients, because PyTorch's has eps outside the root."""

    def __init__(self, hyperparameters: dict[str, float], params: list) -> None:
        from torch.nn import utils

        self.params, self.utils = params, utils
        start = utils.parameters_to_vector(params).detach().numpy()
        self.follow = optax("RMSprop", hyperparameters, start)

    def step(self) -> None:
        from torch import from_numpy

        gradient = self.utils.parameters_to_vector([p.grad for p in self.params]).numpy()
        self.utils.vector_to_parameters(from_numpy(self.follow(gradient)), self.params)


def pytorch_losses(problem: Digits, rule: str, hyperparameters: dict[str, float]):
    """Return PyTorch's losses (steps,), its last parameters (P,), and its network."""
    from torch import from_numpy, nn

    network = pytorch_network(problem)
    params = list(network.parameters())
    if rule == "RMSprop" and hyperparameters["eps"] > 1e-50:
        optimizer = OptaxRMSprop(hyperparameters, params)
    else:
        optimizer = pytorch_optimizer(rule, hyperparameters, params)
    images, labels = map(from_numpy, problem.parts["train"])
    losses = []
    for batch in batches(problem):
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    row = np.concatenate([param.detach().numpy().T.ravel() for param in params])
    return np.array(losses), row, network


def scikit_learn_losses(problem: Digits, rule: str, hyperparameters: dict[str, float]) -> Array:
    """Return the losses (steps,) of an MLPClassifier that has the network's start and batches."""
    from sklearn.neural_network import MLPClassifier

    views = problem.network.layout.views(problem.init([SEED])[0])
    layers = range(1, len(problem.hidden) + 2)
    starts = iter([(views[f"dense{k}.weight"][0], views[f"dense{k}.bias"][0]) for k in layers])

    class Started(MLPClassifier):
        def _init_coef(self, fan_in, fan_out, dtype):
            weight, bias = next(starts)
            return weight.copy(), bias.copy()

    activation = problem.hidden[0].activation
    h = hyperparameters
    classifier = Started(
        hidden_layer_sizes=[layer.units for layer in problem.hidden],
        activation="logistic" if activation == "sigmoid" else activation,
        solver="adam" if rule == "Adam" else "sgd",
        alpha=0,
        shuffle=False,
        learning_rate_init=h["learning_rate"],
        momentum=h.get("momentum", 0),
        nesterovs_momentum=rule == "Nesterov",
        beta_1=h.get("beta1", 0.9),
        beta_2=h.get("beta2", 0.999),
        epsilon=h.get("eps", 1e-8),
    )
    images, labels = problem.parts["train"]
    for batch in batches(problem):
        classifier.partial_fit(images[batch], labels[batch], classes=np.arange(10))
    return np.array(classifier.loss_curve_)


def pytorch_difference(rule: str, hyperparameters: dict[str, float], *, bias: bool) -> float:
    """Return the largest difference between optimlab's and PyTorch's losses."""
    problem = Digits(dtype="float64", bias=bias)
    ours, _, _ = optimlab_losses(problem, RULES[rule](**hyperparameters))
    theirs, _, _ = pytorch_losses(problem, rule, hyperparameters)
    return float(np.max(np.abs(ours - theirs)))


def scikit_learn_difference(rule: str, activation: str) -> float:
    """Return the largest difference between optimlab's and MLPClassifier's losses (no batch norm)."""
    hidden = tuple(HiddenLayer(units=units, activation=activation) for units in (32, 16))
    problem = Digits(dtype="float64", batch_norm=False, hidden=hidden)
    optimizer = (AdamWithScaledEps if rule == "Adam" else RULES[rule])(**TRAININGS[rule])
    ours, _, _ = optimlab_losses(problem, optimizer)
    theirs = scikit_learn_losses(problem, rule, TRAININGS[rule])
    return float(np.max(np.abs(ours - theirs)))
