"""Names and shapes against places in a flat row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimlab.nn.parameters import Layout, Workspace, ones

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), max_size=6).map(
    lambda shapes: {f"parameter{number}": shape for number, shape in enumerate(shapes)}
)


@given(shapes=SHAPES, runs=st.integers(1, 3))
def test_the_views_laid_end_to_end_are_the_rows(shapes, runs):
    layout = Layout(shapes)
    rows = np.arange(runs * layout.size, dtype=float).reshape(runs, layout.size)
    views = layout.views(rows)
    assert {name: view.shape for name, view in views.items()} == {
        name: (runs, *shape) for name, shape in shapes.items()
    }
    laid = [view.reshape(runs, -1) for view in views.values()]
    assert np.array_equal(np.hstack([np.empty((runs, 0)), *laid]), rows)


def test_views_share_memory_with_the_rows():
    rows = np.zeros((2, 8))
    views = Layout({"weight": (2, 3), "bias": (2,)}).views(rows)
    views["weight"][1, 0, 2] = 5
    views["bias"][0] += 7
    assert np.array_equal(rows, [[0, 0, 0, 0, 0, 0, 7, 7], [0, 0, 5, 0, 0, 0, 0, 0]])


def test_a_layout_outlives_a_change_of_its_shapes():
    shapes = {"weight": (2, 3)}
    layout = Layout(shapes)
    shapes["bias"] = (2,)
    assert list(layout.views(np.zeros((1, 6)))) == ["weight"]


def test_the_shared_ones_cannot_be_changed():
    vector = ones(3, np.dtype("float32"))
    assert (vector.tolist(), vector.dtype) == ([1, 1, 1], np.float32)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 2


def test_a_workspace_gives_an_array_again_by_name_and_shape():
    workspace = Workspace(np.dtype("float32"))
    array = workspace.array("y", (2, 3))
    assert (array.shape, array.dtype) == ((2, 3), np.float32)
    array[...] = 4
    assert workspace.array("y", (2, 3)) is array
    others = [workspace.array("y", (3, 2)), workspace.array("x", (2, 3))]
    assert not any(np.shares_memory(array, other) for other in others)
    workspace.clear()
    assert workspace.array("y", (2, 3)) is not array
    assert (array == 4).all()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_workspace_s_array_lies_in_memory_like_another(axes):
    workspace = Workspace(np.dtype("float32"))
    back = np.argsort(axes)
    other = np.empty(np.array([3, 4, 5])[list(axes)]).transpose(back)
    array = workspace.like("y", other)
    assert (array.shape, array.dtype) == ((3, 4, 5), np.float32)
    assert array.transpose(axes).flags.c_contiguous
    assert workspace.like("y", other) is array
    wider = workspace.like("y", other, (3, 9, 5))
    assert wider.shape == (3, 9, 5)
    assert wider.transpose(axes).flags.c_contiguous
    workspace.clear()
    assert workspace.like("y", other) is not array
