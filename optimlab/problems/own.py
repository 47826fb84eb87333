"""A user's layer and loss in a network, whose results are checked at each call: they may fail late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from optimlab.data.dataset import DataError
from optimlab.formatting import join_words
from optimlab.nn.layers import ActivationLayer, BatchNorm, Dense
from optimlab.validation import kind_of

Array = np.ndarray

LAYER = ("name", "shapes", "outputs", "initialize", "begin", "forward", "backward")
LOSS = ("task", "link", "unit", "value_and_gradient", "metrics", "blind")


class OwnPart:
    """A user's object with other methods for some of its own; the others are as they are.

    Parameters
    ----------
    made : the user's object.
    """

    def __init__(self, made: Any) -> None:
        self.made = made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # such as those of copying, which ask before there is an object
            raise AttributeError(name)
        return getattr(self.made, name)

    def method(self, name: str) -> str:
        """Return a method's name for a message: "Scale.forward"."""
        return f"{type(self.made).__name__}.{name}"


class OwnLayer(OwnPart):
    """A user's layer; what it returns gets the network's dtype, and memory that others may overwrite.

    Parameters
    ----------
    made : the user's object.
    inputs : the number of features before it.
    dtype : of the network.
    """

    def __init__(self, made: Any, inputs: int, dtype: np.dtype) -> None:
        super().__init__(made)
        self.inputs, self.dtype = inputs, dtype

    def initialize(self, params: dict[str, Array], generators: Sequence[Any]) -> None:
        """Write the initial parameters, as a `Layer` does."""
        with self._in_place("initialize", "params", params):
            self.made.initialize(params, generators)

    def forward(self, params: dict[str, Array], x: Array, state: Any = None) -> Array:
        """Return y, as a `Layer` does."""
        return self._array("forward", self.made.forward(params, x, state), x, self.made.outputs)

    def evaluate(self, params: dict[str, Array], x: Array) -> Array:
        """Return y in evaluation mode; a user's layer may have `forward` alone."""
        name = "evaluate" if hasattr(self.made, "evaluate") else "forward"
        return self._array(name, getattr(self.made, name)(params, x), x, self.made.outputs)

    def backward(self, params: dict[str, Array], gradients: dict[str, Array], gradient: Array) -> Array:
        """Write dL/dparams, and return dL/dx, as a `Layer` does."""
        with self._in_place("backward", "gradients", gradients):
            found = self.made.backward(params, gradients, gradient)
        return self._array("backward", found, gradient, self.inputs)

    def _array(self, method: str, found: Any, given: Array, features: int) -> Array:
        shape = len(given), features, given.shape[-1]
        check_array(f"what {self.method(method)} returns", found, shape)
        return own_memory(np.asarray(found, self.dtype), given)

    @contextmanager
    def _in_place(self, method: str, argument: str, views: dict[str, Array]) -> Iterator[None]:
        before = {name: views[name] for name in self.made.shapes}
        yield
        for name, view in before.items():
            if views[name] is not view:
                views[name] = view
                text = f"must write to {argument}[…][...], and replaces {argument}[{name!r}]"
                raise ValueError(f"{self.method(method)} {text}")


class OwnLoss(OwnPart):
    """A user's loss; a gradient gets the outputs' dtype, and memory that layers may overwrite."""

    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return the loss and its gradient, as a `Loss` does."""
        name, shape, dtype = self.method("value_and_gradient"), outputs.shape, outputs.dtype
        found = self.made.value_and_gradient(outputs, targets)
        if not isinstance(found, tuple) or len(found) != 2:
            raise ValueError(f"{name} must return a loss and its gradient, got {kind_of(found)}")
        check_array(f"the loss of {name}", found[0], shape[:1])
        check_array(f"the gradient of {name}", found[1], shape)
        return found[0], own_memory(np.asarray(found[1], dtype), targets)

    def metrics(self, blocks: Any, targets: Array, scale: Array) -> dict[str, Array]:
        """Return the loss and other metrics, as a `Loss` does."""
        found = self.made.metrics(blocks, targets, scale)
        if not isinstance(found, dict) or "loss" not in found:
            got = ", ".join(map(str, found)) or "nothing" if isinstance(found, dict) else kind_of(found)
            text = "must return a dictionary with a loss"
            raise ValueError(f"{self.method('metrics')} {text}, got {got}")
        return found

    def blind(self, targets: Array) -> float:
        """Return the loss of the best constant outputs, as a `Loss` does."""
        found = self.made.blind(targets)
        if not isinstance(found, float | int | np.floating | np.integer):
            raise ValueError(f"{self.method('blind')} must return a number, got {kind_of(found)}")
        return float(found)


def loss_of(made: Any) -> OwnLoss:
    """Return a user's loss for a problem.

    Raises
    ------
    DataError
        When it lacks something that a loss has.
    """
    if lack := _lack(made, LOSS):
        raise DataError("loss", lack)
    return OwnLoss(made)


def layer_of(made: Any, inputs: int, dtype: np.dtype) -> Any:
    """Return a user's layer for a network.

    Raises
    ------
    ValueError
        When it lacks something that a layer has.
    """
    if lack := _lack(made, LAYER):
        raise ValueError(lack)
    outputs, shapes = made.outputs, made.shapes
    if not isinstance(outputs, int | np.integer) or isinstance(outputs, bool) or outputs < 1:
        raise ValueError(f"outputs of {type(made).__name__} must be 1 or more, got {outputs!r:.99}")
    if not isinstance(shapes, dict) or not all(isinstance(each, tuple) for each in shapes.values()):
        text = "must be a dictionary: name → shape, a tuple"
        raise ValueError(f"shapes of {type(made).__name__} {text}, got {shapes!r:.99}")
    if isinstance(made, Dense | BatchNorm | ActivationLayer):  # networks treat these in their own way
        return made
    return OwnLayer(made, inputs, dtype)


def _lack(made: Any, names: Sequence[str]) -> str:
    """Return which of these attributes a user's object lacks, as text; "" if it has all."""
    missing = [name for name in names if not hasattr(made, name)]
    return f"{type(made).__name__} lacks {join_words(missing)}" if missing else ""


def own_memory(array: Array, given: Array) -> Array:
    """Return an array that may be overwritten: a copy of one that cannot, or that shares memory."""
    is_free = array.flags.writeable and not np.may_share_memory(array, given)
    return array if is_free else array.copy()


def check_array(name: str, found: Any, shape: tuple[int, ...], dtype: str | None = None) -> None:
    """Raise ValueError unless it is an array of numbers of this shape and, if given, this dtype."""
    kind = "f" if dtype else "iufb"
    # The type itself: masked arrays and matrices calculate differently.
    is_array = type(found) is np.ndarray and found.dtype.kind in kind and found.shape == shape
    if not is_array or (dtype and found.dtype != dtype):
        raise ValueError(
            f"{name} must be an array {shape} of {dtype or 'numbers'}, got {kind_of(found)}"
        )
