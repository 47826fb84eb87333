"""The neural network, from scratch in plain loops, for stacks of runs."""

from optimlab.nn.losses import one_hot, softmax
from optimlab.nn.network import Network, perceptron
from optimlab.nn.parameters import Layout

__all__ = ["Layout", "Network", "one_hot", "perceptron", "softmax"]
