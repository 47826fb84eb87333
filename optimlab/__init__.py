"""optimlab compares optimizers by experiment."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimlab.optimizers import SGD, AdaGrad, Adam, Nesterov, RMSprop

__version__ = "0.1.0"
__all__ = ["SGD", "AdaGrad", "Adam", "Nesterov", "RMSprop"]


def __getattr__(name: str) -> Any:
    """Return an optimizer; numpy is imported only then, so that the command answers at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optimlab import optimizers

    return getattr(optimizers, name)
