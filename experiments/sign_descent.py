"""A plug-in optimizer: sign descent, the simplest relative of Adam.

Copy this file, change `step`, and name the class in an experiment: ``rule = "file.py:ClassName"``.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SignDescent:
    """Steps of constant size against the sign of the gradient: w ← w − η sign g."""

    learning_rate: float = 0.001

    def init(self, params):
        return {}

    def gradient_point(self, params, state):
        return params

    def step(self, params, gradient, state):
        params -= self.learning_rate * np.sign(gradient)
