"""optimlab compares optimizers by experiment."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimlab.experiment.spec import Experiment
    from optimlab.optimizers import SGD, AdaGrad, Adam, Nesterov, RMSprop
    from optimlab.python import build_experiment, compare, run
    from optimlab.result import Result
    from optimlab.training import train

__version__ = "0.1.0"
MODULES = {  # name → its module; nothing is imported before it is used
    **dict.fromkeys(("SGD", "Nesterov", "AdaGrad", "RMSprop", "Adam"), "optimizers"),
    **dict.fromkeys(("run", "compare", "build_experiment"), "python"),
    "Result": "result",
    "Experiment": "experiment.spec",
    "train": "training",
}
__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Experiment",
    "Nesterov",
    "RMSprop",
    "Result",
    "build_experiment",
    "compare",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return a name of `__all__`, imported only now so that the command starts fast."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"optimlab.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
