"""The figures of paths: what is drawn, and where."""

import numpy as np
import pandas as pd
import pytest
from sweeping import mostly_slow

from optimlab.optimizers import SGD, Adam
from optimlab.problems import Landscape
from optimlab.report.figures import landscapes as figures
from optimlab.report.figures import plots
from optimlab.report.style import series_styles
from optimlab.training import train

LANDSCAPE = Landscape(function="saddle", condition=5, spread=0.01)


@pytest.fixture(scope="module")
def paths():
    tables = []
    for label, optimizer in {
        "Gradient descent": SGD(learning_rate=0.1, momentum=0.0),
        "Adam": Adam(learning_rate=0.1),
    }.items():
        recording = train(LANDSCAPE, optimizer, [0], range(1, 51))
        columns = {name: recording.metrics[name][:, 0] for name in ("x", "y")}
        tables.append(pd.DataFrame({"optimizer": label, "step": recording.steps, **columns}))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("narrow", mostly_slow([True, False]))
def test_each_optimizer_has_a_panel_with_its_path_from_the_start(paths, narrow):
    styles = series_styles(["Gradient descent", "Adam"])
    surface = figures.landscape_surface(LANDSCAPE, paths)
    rates = {"Gradient descent": 0.1, "Adam": 0.3}
    figure = figures.paths_figure(surface, paths, rates, styles, narrow=narrow)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Gradient descent, learning rate 0.1", "Adam, learning rate 0.3"]
    for axes, label in zip(figure.axes, styles, strict=True):
        drawn = next(line for line in axes.lines if len(line.get_xdata()) == 51)
        mine = paths[paths["optimizer"] == label]
        assert np.array_equal(drawn.get_xydata(), mine[["x", "y"]])
        assert drawn.get_color() == styles[label].colour
        marks = {line.get_marker(): line.get_xydata() for line in axes.lines}
        assert np.array_equal(marks["*"], LANDSCAPE.minima)
        assert np.array_equal(marks["x"], LANDSCAPE.saddles)
        assert marks["s"].tolist() == [mine[["x", "y"]].iloc[-1].tolist()]
        assert axes.get_aspect() == 1
    assert plots.svg(figure).startswith(b"<?xml")


@pytest.mark.parametrize("turn", [1, -1])
def test_the_number_of_a_step_covers_neither_a_star_nor_the_path(turn):
    landscape = Landscape(function="ravine", condition=50, angle=30 * turn)
    x = np.linspace(-2, -0.33, 51)  # ends beside the star at 0, in the direction of the text
    path = pd.DataFrame({"optimizer": "Adam", "step": np.arange(51), "x": x, "y": turn * 0.577 * x})
    styles, surface = series_styles(["Adam"]), figures.landscape_surface(landscape, path)
    figure = figures.paths_figure(surface, path, {"Adam": 0.1}, styles)
    plots.pixels(figure)
    (axes,) = figure.axes
    texts = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(texts) == {"10", "20", "50"}
    star = axes.transData.transform((0, 0))
    dots = axes.transData.transform(path[["x", "y"]])
    for box in texts.values():
        assert not box.padded(4).contains(*star)
        assert not any(box.contains(*dot) for dot in dots)


def test_the_view_grows_to_hold_a_path_but_not_for_ever(paths):
    left, right, bottom, top = LANDSCAPE.view
    usual = figures.landscape_surface(LANDSCAPE, paths)
    assert (usual.x[0], usual.x[-1], usual.y[0], usual.y[-1]) == (left, right, bottom, top)
    further = figures.landscape_surface(LANDSCAPE, paths.assign(x=paths["x"] + 0.4))
    assert right < further.x[-1] < right + 0.4
    away = figures.landscape_surface(LANDSCAPE, paths.assign(y=-1e9))
    assert away.y[0] == pytest.approx(bottom - figures.WIDEN * (top - bottom))
    assert away.heights.shape == (figures.GRID, figures.GRID)


@pytest.mark.parametrize("heights", [np.geomspace(1e-9, 1e4, 999), np.linspace(2, 3, 50), np.ones(9)])
def test_contours_are_evenly_spaced_in_the_logarithm(heights):
    levels = figures.contour_levels(heights)
    assert levels[-1] == pytest.approx(heights.max())
    assert levels[0] >= levels[-1] / 10**figures.DECADES * 0.999
    assert (np.diff(levels) > 0).all()
    np.testing.assert_allclose(np.diff(np.log(levels)), np.log(levels[1] / levels[0]), atol=1e-9)


def test_a_turned_landscape_is_drawn_whole():
    plain, turned = Landscape(), Landscape(angle=30)
    assert plain.view == (-3, 1, -1.2, 1.2)
    left, right, bottom, top = turned.view
    for x, y in turned.starts:
        assert left < x < right
        assert bottom < y < top


def test_a_surface_can_be_widened_to_fill_a_screen(paths):
    usual = figures.landscape_surface(LANDSCAPE, paths)
    wide = figures.landscape_surface(LANDSCAPE, paths, 2.5)
    left, right, bottom, top = wide.view
    assert (right - left) / (top - bottom) == pytest.approx(2.5)
    assert (left + right, bottom, top) == pytest.approx(
        (usual.view[0] + usual.view[1], usual.view[2], usual.view[3])
    )
