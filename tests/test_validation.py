"""Settings are refused in the same way in a file and in Python."""

import math
import pickle
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import pytest

from optimlab.data.dataset import Split
from optimlab.nn.layers import LAYERS
from optimlab.nn.losses import LOSSES, Huber
from optimlab.problems import PROBLEMS, Digits, Landscape, Table
from optimlab.problems.settings import HiddenLayer, Learning
from optimlab.schedules import SCHEDULES, Step, WarmupStableDecay
from optimlab.validation import Checked, validate

KINDS = [*PROBLEMS.values(), HiddenLayer, Learning, Split, *SCHEDULES.values()]
KINDS += [*LOSSES.values(), *(kind for kind in LAYERS.values() if is_dataclass(kind))]
NEEDED = {HiddenLayer: {"units": 3, "activation": "relu"}}
# A file has no bytes, and its subtables are objects of Python.
VALUES = [-1, 0, 1, 1.5, 2.0, True, 2**70, math.nan, math.inf, -math.inf]
VALUES += ["", "x", "\x1b", "float32", None, [], [1], [0.5, 0.2], ["a"], [0.5, "a"]]


def wrong_in_file(kind, given):
    mistakes = []
    validate(kind, given, "", mistakes)
    return "; ".join(f"{each.key}: {each.message}".removeprefix(": ") for each in mistakes)


def wrong_in_python(kind, given):
    try:
        kind(**given)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_is_refused_in_python_as_in_a_file(kind):
    """Python took all of these, and trained on half a batch, or failed in numpy's words."""
    refused = 0
    for name in [each.name for each in fields(kind)]:
        for value in VALUES:
            given = {**NEEDED.get(kind, {}), name: value}
            wrong = wrong_in_file(kind, given)
            assert bool(wrong) == bool(wrong_in_python(kind, given)), (name, value)
            if not wrong.startswith(("hidden", "split")):  # of a table, and of a class
                assert wrong_in_python(kind, given) == wrong
            refused += bool(wrong)
    assert refused > len(VALUES) / 2


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Digits(batch_size=1.5), "batch_size: must be a whole number, got 1.5"),
        (lambda: Digits(batch_size=np.float32(2)), "batch_size: must be a whole number, got 2.0"),
        (lambda: replace(Digits(), bias="no"), 'bias: must be true or false, got "no"'),
        (lambda: Digits(hidden=[3]), "hidden[1]: must be of the class HiddenLayer, got 3"),
        (lambda: Table(data="wine", split={"test": 0}), "split: must be of the class Split, got"),
        (lambda: Landscape(noise=-1, dtype="half"), "noise: must be at least 0, got -1; dtype: must"),
        (lambda: Step(at=(0.7, 0.5)), "at must ascend"),
        (lambda: Huber(delta=-1), "delta: must be above 0, got -1"),
        (lambda: WarmupStableDecay(warmup=0.9), "warmup and decay must be at most 1 in all"),
        (lambda: Split(validation=1j), "validation: must be a whole number or a number, got"),
    ],
)
def test_an_object_names_what_is_wrong(made, message):
    with pytest.raises(ValueError, match=r"^") as caught:
        made()
    assert str(caught.value).startswith(message)


def test_lists_and_numbers_of_numpy_become_those_of_python():
    units = HiddenLayer(units=np.int64(3), activation=np.str_("relu"))
    problem = Digits(hidden=[units], batch_size=np.array(64), bias=np.bool_(False))
    assert problem == Digits(hidden=(HiddenLayer(units=3, activation="relu"),), bias=False)
    assert {type(units.units), type(units.activation), type(problem.batch_size)} == {int, str}
    assert pickle.loads(pickle.dumps(problem)) == problem


def test_a_class_derived_from_settings_may_have_fields_of_its_own():
    @dataclass(frozen=True, kw_only=True)
    class Mine(Digits):
        start: np.ndarray = None
        note: "Nowhere" = ""  # noqa: F821

    assert Mine(start=np.ones(2)).start.sum() == 2
    with pytest.raises(ValueError, match="batch_size: must be at least 1, got 0"):
        Mine(batch_size=0)


def test_every_class_of_settings_is_checked():
    assert {kind for kind in KINDS if not issubclass(kind, Checked)} == set()
