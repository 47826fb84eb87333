"""All optimizers by name: import them, and what they are made of, from here."""

from optimlab.optimizers.base import (
    RANGES,
    Array,
    Hyperparameter,
    Optimizer,
    Range,
    State,
    check_hyperparameters,
)
from optimlab.optimizers.classic import SGD, AdaGrad, Adam, Nesterov, RMSprop

RULES: dict[str, type] = {rule.__name__: rule for rule in (SGD, Nesterov, AdaGrad, RMSprop, Adam)}

__all__ = [
    "RANGES",
    "RULES",
    "SGD",
    "AdaGrad",
    "Adam",
    "Array",
    "Hyperparameter",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "Range",
    "State",
    "check_hyperparameters",
]
