"""Prints how each library names the hyper-parameters and what it defaults them to, as it says itself.

Run ``python tests/parity/defaults.py`` with the libraries installed: the table of docs/optimizers.md.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from optimlab.optimizers import RULES

COLUMNS = ("optimlab", "PyTorch", "Keras", "optax", "scikit-learn")

# For each rule: how it is called, and how each of its hyper-parameters is, in the order of COLUMNS
# but for optimlab. An empty name: the library has no such thing.
NAMES: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "SGD": {
        "": ("SGD", "SGD", "sgd", "MLPClassifier"),
        "learning_rate": ("lr", "learning_rate", "learning_rate", "learning_rate_init"),
        "momentum": ("momentum", "momentum", "momentum", "momentum"),
    },
    "Nesterov": {
        "": ("SGD", "SGD", "sgd", "MLPClassifier"),
        "learning_rate": ("lr", "learning_rate", "learning_rate", "learning_rate_init"),
        "momentum": ("momentum", "momentum", "momentum", "momentum"),
        "(switch)": ("nesterov", "nesterov", "nesterov", "nesterovs_momentum"),
    },
    "AdaGrad": {
        "": ("Adagrad", "Adagrad", "adagrad", ""),
        "learning_rate": ("lr", "learning_rate", "learning_rate", ""),
        "eps": ("eps", "epsilon", "eps", ""),
        "(initial value of G)": (*("initial_accumulator_value",) * 3, ""),
    },
    "RMSprop": {
        "": ("RMSprop", "RMSprop", "rmsprop", ""),
        "learning_rate": ("lr", "learning_rate", "learning_rate", ""),
        "rho": ("alpha", "rho", "decay", ""),
        "eps": ("eps", "epsilon", "eps", ""),
    },
    "Adam": {
        "": ("Adam", "Adam", "adam", "MLPClassifier"),
        "learning_rate": ("lr", "learning_rate", "learning_rate", "learning_rate_init"),
        "beta1": ("betas[0]", "beta_1", "b1", "beta_1"),
        "beta2": ("betas[1]", "beta_2", "b2", "beta_2"),
        "eps": ("eps", "epsilon", "eps", "epsilon"),
    },
}


def default(function: Callable, name: str) -> Any:
    """Return the default of a parameter, or "–" where there is none; "betas[0]" is the pair's first."""
    name, _, place = name.partition("[")
    value = inspect.signature(function).parameters[name].default
    if value is inspect.Parameter.empty:
        return "–"
    return value[int(place[:-1])] if place else value


def defaults_table() -> str:
    """Return the Markdown table."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    import optax
    from sklearn.neural_network import MLPClassifier
    from torch import optim

    def cell(function: Callable | None, name: str) -> str:
        return f"`{name}` {default(function, name)}" if name else ""

    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for rule, rows in NAMES.items():
        torch_name, keras_name, optax_name, sklearn_name = rows[""]
        functions = (
            getattr(optim, torch_name),
            getattr(keras.optimizers, keras_name),
            getattr(optax, optax_name),
            MLPClassifier if sklearn_name else None,
        )
        for ours, names in rows.items():
            if ours == "":
                cells = [f"`{name}`" if name else "–" for name in (rule, *names)]
            else:
                mine = "" if ours.startswith("(") else cell(RULES[rule], ours)
                cells = [mine, *(cell(f, name) for f, name in zip(functions, names, strict=True))]
            label = f"**{rule}**" if ours == "" else ours.strip("()") if ours.startswith("(") else ""
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(defaults_table())
