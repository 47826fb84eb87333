"""optimlab compares optimizers by experiment."""

from optimlab.optimizers import SGD, AdaGrad, Adam, Nesterov, RMSprop

__version__ = "0.1.0"
__all__ = ["SGD", "AdaGrad", "Adam", "Nesterov", "RMSprop"]
