"""The rules in PyTorch, optax, Keras and scikit-learn, each started at a point and stepped by hand.

Each function takes a rule's name, its hyper-parameters by optimlab's names (and "start", AdaGrad's
first G) and a start point (P,), and returns a function: gradient (P,) → the library's parameters after
the step. The calls are docs/optimizers.md in code: how to ask each library for the very same rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
from papers import paper
from trajectories import Case, Road, follow, largest_difference

# Both are read at import. Keras would take TensorFlow, and jax float32.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_ENABLE_X64", "1")

Array = np.ndarray
Step = Callable[[Array], Array]


def pytorch_optimizer(rule: str, h: dict[str, float], params: list) -> object:
    """Return the optimizer of torch.optim.

    AdaGrad's ε moves into the root by way of the start of G. RMSprop's cannot.
    """
    from torch import optim

    match rule:
        case "SGD":
            return optim.SGD(params, lr=h["learning_rate"], momentum=h["momentum"])
        case "Nesterov":
            return optim.SGD(params, lr=h["learning_rate"], momentum=h["momentum"], nesterov=True)
        case "AdaGrad":
            start, eps = (h["start"], h["eps"]) if "start" in h else (h["eps"], 0)
            return optim.Adagrad(params, lr=h["learning_rate"], initial_accumulator_value=start, eps=eps)
        case "RMSprop":
            return optim.RMSprop(params, lr=h["learning_rate"], alpha=h["rho"], eps=h["eps"])
        case "Adam":
            betas = (h["beta1"], h["beta2"])
            return optim.Adam(params, lr=h["learning_rate"], betas=betas, eps=h["eps"])
    return modern_pytorch_optimizer(rule, h, params)


def modern_pytorch_optimizer(rule: str, h: dict[str, float], params: list) -> object:
    """Return the optimizer of torch.optim, of the rules since Adam."""
    from torch import optim

    if rule == "AdaDelta":
        return optim.Adadelta(params, lr=h["learning_rate"], rho=h["rho"], eps=h["eps"])
    adam = {"lr": h["learning_rate"], "betas": (h["beta1"], h["beta2"]), "eps": h["eps"]}
    match rule:
        case "AdamW":
            return optim.AdamW(params, **adam, weight_decay=h["weight_decay"])
        case "NAdam":
            return optim.NAdam(params, **adam, momentum_decay=h["momentum_decay"])
        case "RAdam":
            return optim.RAdam(params, **adam)
        case "AMSGrad":
            return optim.Adam(params, **adam, amsgrad=True)
        case "Adamax":
            return optim.Adamax(params, **adam)
    raise KeyError(rule)


def pytorch(rule: str, h: dict[str, float], start: Array) -> Step:
    import torch

    torch.set_default_dtype(torch.float64)  # of the product that NAdam keeps
    params = torch.nn.Parameter(torch.tensor(start))
    optimizer = pytorch_optimizer(rule, h, [params])

    def step(gradient: Array) -> Array:
        params.grad = torch.tensor(gradient)
        optimizer.step()
        return params.detach().numpy().copy()

    return step


def optax(rule: str, h: dict[str, float], start: Array) -> Step:
    import jax
    import optax

    match rule:
        case "SGD":
            optimizer = optax.sgd(h["learning_rate"], momentum=h["momentum"])
        case "Nesterov":
            optimizer = optax.sgd(h["learning_rate"], momentum=h["momentum"], nesterov=True)
        case "AdaGrad":
            optimizer = optax.adagrad(
                h["learning_rate"], initial_accumulator_value=h.get("start", 0), eps=h["eps"]
            )
        case "RMSprop":
            optimizer = optax.rmsprop(h["learning_rate"], decay=h["rho"], eps=h["eps"])
        case "Adam":
            optimizer = optax.adam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["eps"])
        case _:
            optimizer = modern_optax_optimizer(rule, h)
    params = jax.numpy.asarray(start)
    state = optimizer.init(params)

    @jax.jit
    def update(gradient: Array, params: Array, state: object) -> tuple[Array, object]:
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def step(gradient: Array) -> Array:
        nonlocal params, state
        params, state = update(gradient, params, state)
        return np.array(params)

    return step


def modern_optax_optimizer(rule: str, h: dict[str, float]) -> object:
    """Return the transformation of optax, of the rules since Adam."""
    import optax

    rate = h["learning_rate"]
    if rule == "AdaDelta":
        return optax.adadelta(rate, rho=h["rho"], eps=h["eps"])
    if rule == "Signum":
        mean = optax.ema(h["momentum"], debias=False)
        return optax.chain(mean, optax.scale_by_sign(), optax.scale(-rate))
    betas, eps, decay = {"b1": h["beta1"], "b2": h["beta2"]}, h.get("eps"), h.get("weight_decay")
    match rule:
        case "AdamW":
            return optax.adamw(rate, **betas, eps=eps, weight_decay=decay)
        case "AdaBelief":
            return optax.adabelief(rate, **betas, eps=eps, eps_root=eps)
        case "Yogi":
            scaled = optax.scale_by_yogi(**betas, eps=eps, initial_accumulator_value=0.0)
            return optax.chain(scaled, optax.scale(-rate))
        case "AdEMAMix":
            memory = {"b3": h["beta3"], "alpha": h["alpha"]}
            return optax.contrib.ademamix(rate, **betas, **memory, eps=eps, weight_decay=decay)
        case "ADOPT":
            return optax.contrib.adopt(rate, **betas, eps=eps)
        case "Lion":
            return optax.lion(rate, **betas, weight_decay=decay)
    raise KeyError(rule)


def keras(rule: str, h: dict[str, float], start: Array) -> Step:
    import keras

    keras.config.set_floatx("float64")  # a learning rate is a variable, and else a float32
    match rule:
        case "SGD" | "Nesterov":
            optimizer = keras.optimizers.SGD(
                h["learning_rate"], momentum=h["momentum"], nesterov=rule == "Nesterov"
            )
        case "AdaGrad":
            optimizer = keras.optimizers.Adagrad(
                h["learning_rate"], initial_accumulator_value=h.get("start", 0.0), epsilon=h["eps"]
            )
        case "RMSprop":
            optimizer = keras.optimizers.RMSprop(h["learning_rate"], rho=h["rho"], epsilon=h["eps"])
        case "Adam":
            optimizer = keras.optimizers.Adam(
                h["learning_rate"], beta_1=h["beta1"], beta_2=h["beta2"], epsilon=h["eps"]
            )
    params = keras.Variable(start, dtype="float64")
    optimizer.build([params])

    def step(gradient: Array) -> Array:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [params])
        return keras.ops.convert_to_numpy(params.value).copy()

    return step


def scikit_learn(rule: str, h: dict[str, float], start: Array) -> Step:
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    params = [start.copy()]
    if rule == "Adam":
        optimizer = AdamOptimizer(
            params, h["learning_rate"], beta_1=h["beta1"], beta_2=h["beta2"], epsilon=h["eps"]
        )
    else:
        optimizer = SGDOptimizer(
            params, h["learning_rate"], momentum=h["momentum"], nesterov=rule == "Nesterov"
        )

    def step(gradient: Array) -> Array:
        optimizer.update_params(params, [gradient])
        return params[0].copy()

    return step


LIBRARIES: dict[str, Callable[[str, dict[str, float], Array], Step]] = {
    "PyTorch": pytorch,
    "optax": optax,
    "Keras": keras,
    "scikit-learn": scikit_learn,
    "paper": paper,
}
MODULES = {"PyTorch": "torch", "optax": "optax", "Keras": "keras", "scikit-learn": "sklearn"}
MODULES["paper"] = "numpy"


def versions() -> dict[str, str]:
    """Return the version of each library that is installed, and of jax and numpy."""
    packages = ("torch", "optax", "keras", "scikit-learn", "jax", "numpy")
    return {package: version(package) for package in packages if is_installed(package)}


def is_installed(package: str) -> bool:
    """Return whether a package, or a library by the name of `LIBRARIES`, can be imported."""
    return find_spec(MODULES.get(package, package)) is not None


def library_path(case: Case, road: Road) -> Array:
    """Return the library's parameters after each step (steps, R, P), one run at a time."""
    points = np.empty_like(road.noise)
    for row in range(len(road.start)):
        run = road.run(row)
        step = LIBRARIES[case.library](case.rule, case.run(row), run.start)
        point = run.start
        for number in range(len(points)):
            point = points[number, row] = step(run.gradient(number, point))
    return points


def rule_difference(case: Case, all_roads: dict[str, Road]) -> float:
    """Return the largest difference of a whole path, over the roads."""
    return max(
        largest_difference(follow(case.ours(case.columns()), road), library_path(case, road))
        for road in all_roads.values()
    )
