"""The rules in PyTorch, optax, Keras and scikit-learn, each started at a point and stepped by hand.

Each function takes a rule's name, its hyper-parameters by optimlab's names (and "start", AdaGrad's
first G) and a starting point (P,), and returns a function: gradient (P,) → the library's parameters
after the step. The calls are docs/optimizers.md in code: how to ask each library for the very same rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from unittest import mock

import numpy as np
from papers import paper
from trajectories import LAYERED, LAYOUT, Case, Road, follow, largest_difference

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

    params = {name: torch.nn.Parameter(torch.tensor(part)) for name, part in parts(rule, start).items()}
    if rule == "Muon":
        optimizers = pytorch_muon(h, params)
    else:
        optimizers = [pytorch_optimizer(rule, h, list(params.values()))]

    def step(gradient: Array) -> Array:
        for name, part in parts(rule, gradient).items():
            params[name].grad = torch.tensor(part)
        bfloat = mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.double)  # of Muon's five steps
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # of the product that NAdam keeps
        try:
            with bfloat:
                for optimizer in optimizers:
                    optimizer.step()
        finally:
            torch.set_default_dtype(before)
        return np.concatenate([each.detach().numpy().ravel() for each in params.values()])

    return step


def pytorch_muon(h: dict[str, float], params: dict) -> list:
    """Return Muon for the hidden matrix, transposed as PyTorch has it, and AdamW for the rest."""
    from torch import optim

    rate, decay = h["learning_rate"], h["weight_decay"]
    adam = {"lr": rate, "betas": (h["beta1"], h["beta2"]), "eps": h["eps"]}
    groups = [
        {"params": [params["first"], params["last"]], "weight_decay": decay},
        {"params": [params["bias"]], "weight_decay": 0.0},
    ]
    scale = {"adjust_lr_fn": "match_rms_adamw", "momentum": h["momentum"]}
    return [
        optim.Muon([params["hidden"]], lr=rate, weight_decay=decay, **scale),
        optim.AdamW(groups, **adam),
    ]


def parts(rule: str, row: Array) -> dict[str, Array]:
    """Return the arrays that a row (P,) is to a rule: its layers, or one."""
    if rule not in LAYERED:
        return {"row": row}
    return {name: row[LAYOUT.slices[name]].reshape(shape) for name, shape in LAYOUT.shapes.items()}


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
    params = jax.tree.map(jax.numpy.asarray, parts(rule, start))
    state = optimizer.init(params)

    @jax.jit
    def update(gradient: Array, params: Array, state: object) -> tuple[Array, object]:
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def step(gradient: Array) -> Array:
        nonlocal params, state
        params, state = update(parts(rule, gradient), params, state)
        return np.concatenate([np.ravel(params[name]) for name in parts(rule, gradient)])

    return step


def modern_optax_optimizer(rule: str, h: dict[str, float]) -> object:
    """Return the transformation of optax, of the rules since Adam."""
    import optax

    rate, eps, decay, momentum = (
        h.get(name) for name in ("learning_rate", "eps", "weight_decay", "momentum")
    )
    b1, b2, first = (h.get(name) for name in ("beta1", "beta2", "initial_distance"))
    adam = {"b1": b1, "b2": b2, "eps": eps}
    weights = {name: len(shape) == 2 for name, shape in LAYOUT.shapes.items()}
    contrib = optax.contrib
    make: dict[str, Callable[[], object]] = {
        "AdamW": lambda: optax.adamw(rate, **adam, weight_decay=decay),
        "AdaDelta": lambda: optax.adadelta(rate, rho=h["rho"], eps=eps),
        "AdaBelief": lambda: optax.adabelief(rate, **adam, eps_root=eps),
        "Yogi": lambda: optax.chain(
            optax.scale_by_yogi(**adam, initial_accumulator_value=0.0), optax.scale(-rate)
        ),
        "AdEMAMix": lambda: contrib.ademamix(
            rate, **adam, b3=h["beta3"], alpha=h["alpha"], weight_decay=decay
        ),
        "ADOPT": lambda: contrib.adopt(rate, **adam),
        "Lion": lambda: optax.lion(rate, b1=b1, b2=b2, weight_decay=decay),
        "Signum": lambda: optax.chain(
            optax.ema(momentum, debias=False), optax.scale_by_sign(), optax.scale(-rate)
        ),
        "DoG": lambda: contrib.dog(rate, init_step=("heuristic", first), eps=eps),
        "Prodigy": lambda: contrib.prodigy(rate, (b1, b2), eps=eps, weight_decay=decay, estim_lr0=first),
        "ScheduleFreeSGD": lambda: contrib.schedule_free_sgd(rate, b1=momentum, weight_decay=decay),
        "ScheduleFreeAdamW": lambda: contrib.schedule_free_adamw(rate, **adam, weight_decay=decay),
        "LAMB": lambda: optax.lamb(rate, **adam, weight_decay=decay, mask=weights),
        "LARS": lambda: optax.lars(rate, momentum=momentum, trust_coefficient=h["trust_coefficient"]),
    }
    return make[rule]()


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
        largest_difference(
            follow(case.ours(case.columns()), all_roads[name], case.task),
            library_path(case, all_roads[name]),
        )
        for name in case.roads
    )
