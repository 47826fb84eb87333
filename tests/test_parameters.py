"""Names and shapes of parameters, and their positions in a flat row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimlab.nn.parameters import Layout, Workspace

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
