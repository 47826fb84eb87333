"""The article's code, restated: images are rows, each layer's gradient in its pieces, in float64."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.case import Case, losses_of
from optimlab.nn import one_hot
from tests.reference import article

Array = np.ndarray
Weights = dict[str, Array]


class Restated:
    """One run after the other, parameter by parameter; the rules are the real ones."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.data = {
            role: (images.astype(float), one_hot(labels, 10))
            for role, (images, labels) in case.problem.parts.items()
        }

    def train(self) -> float:
        images, labels = self.data["train"]
        seconds, self.trained, self.last = 0.0, [], []
        for run in self.case.seeds:
            views = self.case.problem.network.layout.views(self.case.start[[run]].astype(float))
            weights = {name: view[0].copy() for name, view in views.items()}
            weights |= {f"dense{k}.bias": np.zeros(n) for k, n in ((1, 32), (2, 16), (3, 10))}
            state: dict[str, list] = {name: [np.zeros_like(w)] * 2 for name, w in weights.items()}
            start = time.perf_counter()
            for number, samples in enumerate(self.case.samples[:, run], start=1):
                x, y = images[samples], labels[samples]
                point = self._point(weights, state)
                p, trail = article.forward(point, x)
                flow = article.through_softmax(p, y) / len(x)
                for name, gradient in article.backward(point, trail, flow).items():
                    if not name.endswith("bias"):  # the others have none
                        weights[name] -= self._update(state, name, gradient, number)
            seconds += time.perf_counter() - start
            self.last.append(article.categorical_loss(p, y) / len(x))
            self.trained.append(weights)
        return seconds

    def _point(self, weights: Weights, state: dict[str, list]) -> Weights:
        if self.case.rule != "Nesterov":
            return weights
        momentum = self.case.hyperparameters["momentum"]
        return {name: w - momentum * state[name][0] for name, w in weights.items()}

    def _update(self, state: dict[str, list], name: str, g: Array, step: int) -> Array:
        """Return what is subtracted from a parameter."""
        h, (first, second) = self.case.hyperparameters, state[name]
        rate = h["learning_rate"]
        match self.case.rule:
            case "SGD" | "Nesterov":
                state[name] = [h["momentum"] * first + rate * g, second]
                return state[name][0]
            case "AdaGrad":
                state[name] = [first, second + g**2]
                return rate * g / np.sqrt(state[name][1] + h["eps"])
            case "RMSprop":
                state[name] = [first, h["rho"] * second + (1 - h["rho"]) * g**2]
                return rate * g / np.sqrt(state[name][1] + h["eps"])
        b1, b2 = h["beta1"], h["beta2"]
        first, second = state[name] = [b1 * first + (1 - b1) * g, b2 * second + (1 - b2) * g**2]
        return rate * (first / (1 - b1**step)) / (np.sqrt(second / (1 - b2**step)) + h["eps"])

    def evaluate(self) -> None:
        for weights in self.trained:
            for images, labels in self.data.values():
                p, _ = article.forward(weights, images)
                article.categorical_loss(p, labels)
                (p.argmax(1) == labels.argmax(1)).mean()

    def losses(self) -> Array:
        return np.array(self.last)

    def expected(self) -> Array:
        return losses_of(self.case.problem, self.case)[-1]
