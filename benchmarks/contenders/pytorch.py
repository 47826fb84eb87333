"""PyTorch: eager, one run after the other, with the default and the fused optimizers; and vmapped."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn, optim
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from benchmarks.case import Case, losses_of

Array = np.ndarray

torch.set_num_threads(1)


def network(case: Case, run: int, *, averages: bool = True) -> nn.Sequential:
    """Return the network at the starting point of a run."""
    activations = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}
    modules: list[nn.Module] = []
    inputs = 64
    for units, activation in [*((h.units, h.activation) for h in case.problem.hidden), (10, None)]:
        modules.append(nn.Linear(inputs, units, bias=False))
        modules.append(nn.BatchNorm1d(units, eps=0.01, momentum=0.01, track_running_stats=averages))
        if activation:
            modules.append(activations[activation]())
        inputs = units
    result = nn.Sequential(*modules)
    views = case.problem.network.layout.views(case.start)
    for ours, theirs in zip(views.values(), result.parameters(), strict=True):
        theirs.data = torch.from_numpy(ours[run].T.copy())
    return result


def optimizer(case: Case, params: list, **options: bool) -> optim.Optimizer:
    """Return the rule as PyTorch has it. AdaGrad's ε moves into the root by way of its start."""
    h = case.hyperparameters
    match case.rule:
        case "SGD" | "Nesterov":
            nesterov = case.rule == "Nesterov"
            rate, momentum = h["learning_rate"], h["momentum"]
            return optim.SGD(params, lr=rate, momentum=momentum, nesterov=nesterov, **options)
        case "AdaGrad":
            start = {"initial_accumulator_value": h["eps"], "eps": 0}
            return optim.Adagrad(params, lr=h["learning_rate"], **start, **options)
        case "RMSprop":
            return optim.RMSprop(params, lr=h["learning_rate"], alpha=h["rho"], eps=h["eps"] ** 0.5)
        case "Adam":
            betas = (h["beta1"], h["beta2"])
            return optim.Adam(params, lr=h["learning_rate"], betas=betas, eps=h["eps"], **options)
    raise KeyError(case.rule)


class Eager:
    """One run after the other, as in any tutorial."""

    options: dict[str, bool] = {}  # noqa: RUF012

    def __init__(self, case: Case) -> None:
        self.case = case
        data = case.problem.parts
        self.data = {role: tuple(map(torch.from_numpy, each)) for role, each in data.items()}
        self.samples = torch.from_numpy(np.ascontiguousarray(case.samples))

    def train(self) -> float:
        images, labels = self.data["train"]
        self.networks = [network(self.case, run) for run in self.case.seeds]
        self.last = []
        seconds = 0.0
        for run, net in enumerate(self.networks):
            rule = optimizer(self.case, list(net.parameters()), **self.options)
            samples = list(self.samples[:, run])
            start = time.perf_counter()
            for batch in samples:
                rule.zero_grad()
                loss = nn.functional.cross_entropy(net(images[batch]), labels[batch])
                loss.backward()
                rule.step()
            seconds += time.perf_counter() - start
            self.last.append(loss.item())
        return seconds

    def evaluate(self) -> None:
        with torch.no_grad():
            for net in self.networks:
                net.eval()
                for images, labels in self.data.values():
                    logits = net(images)
                    nn.functional.cross_entropy(logits, labels).item()
                    (logits.argmax(1) == labels).float().mean().item()
                net.train()

    def losses(self) -> Array:
        return np.array(self.last)

    def expected(self) -> Array:
        return losses_of(self.case.problem, self.case)[-1]


class Fused(Eager):
    """With the optimizers' fused implementation."""

    options = {"fused": True}  # noqa: RUF012


class Vmap(Eager):
    """All runs at once by `torch.func.vmap`; without running averages, which it cannot keep."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.networks = [network(case, run, averages=False) for run in case.seeds]
        self.base = network(case, 0, averages=False).to("meta")

    def train(self) -> float:
        images, labels = self.data["train"]
        self.params, buffers = stack_module_state(self.networks)
        rule = optimizer(self.case, list(self.params.values()))

        def loss_of(params: dict, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(functional_call(self.base, (params, buffers), (x,)), y)

        of_all = vmap(grad_and_value(loss_of))
        start = time.perf_counter()
        for batch in self.samples:
            gradients, loss = of_all(self.params, images[batch], labels[batch])
            for name, param in self.params.items():
                param.grad = gradients[name]
            rule.step()
        seconds = time.perf_counter() - start
        self.last = loss.detach().tolist()
        return seconds

    def evaluate(self) -> None:
        def logits_of(params: dict, x: torch.Tensor) -> torch.Tensor:
            return functional_call(self.base, (params, {}), (x,))

        with torch.no_grad():
            for images, labels in self.data.values():
                logits = vmap(logits_of, in_dims=(0, None))(self.params, images)
                losses = nn.functional.log_softmax(logits, -1)[:, torch.arange(len(labels)), labels]
                losses.mean(1).tolist()
                (logits.argmax(-1) == labels).float().mean(1).tolist()
