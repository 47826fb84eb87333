"""scikit-learn's MLPClassifier. It has no batch norm and one activation: a smaller network."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from benchmarks.case import Case, losses_of
from optimlab.problems import Digits
from optimlab.problems.settings import HiddenLayer

Array = np.ndarray

EPOCHS = 2  # over the case's batches: `fit` spends its own overhead once


class Classifier:
    """One run after the other, by `fit`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        hidden = tuple(HiddenLayer(units=units, activation="sigmoid") for units in (32, 16))
        self.problem = Digits(hidden=hidden, batch_norm=False, batch_size=case.batch)
        self.starts = self.problem.network.layout.views(self.problem.init(case.seeds)[0])

    def train(self) -> float:
        images, labels = self.case.problem.parts["train"]
        self.classifiers = [self._classifier(run) for run in self.case.seeds]
        seconds = 0.0
        for run, classifier in enumerate(self.classifiers):
            samples = self.case.samples[:, run].ravel()
            x, y = images[samples], labels[samples]
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                classifier.fit(x, y)
            seconds += (time.perf_counter() - start) / EPOCHS
        return seconds

    def evaluate(self) -> None:
        for classifier in self.classifiers:
            for images, labels in self.case.problem.parts.values():
                shares = classifier.predict_proba(images)
                log_loss(labels, shares, labels=range(10))
                (shares.argmax(1) == labels).mean()

    def losses(self) -> Array:
        return np.array([classifier.loss_curve_[0] for classifier in self.classifiers])

    def expected(self) -> Array:
        return losses_of(self.problem, self.case).mean(axis=0)  # of the first epoch

    def _classifier(self, run: int) -> MLPClassifier:
        """Return a classifier at the starting point of a run."""
        starts = self.starts
        layers = iter(
            [(starts[f"dense{k}.weight"][run], starts[f"dense{k}.bias"][run]) for k in (1, 2, 3)]
        )

        class Started(MLPClassifier):
            def _init_coef(self, fan_in: int, fan_out: int, dtype: np.dtype) -> tuple[Array, Array]:
                weight, bias = next(layers)
                return weight.copy(), bias.copy()

        h = self.case.hyperparameters
        return Started(
            hidden_layer_sizes=(32, 16),
            activation="logistic",
            solver="adam" if self.case.rule == "Adam" else "sgd",
            alpha=0,
            batch_size=self.case.batch,
            shuffle=False,
            max_iter=EPOCHS,
            learning_rate_init=h["learning_rate"],
            momentum=h.get("momentum", 0),
            nesterovs_momentum=self.case.rule == "Nesterov",
        )
