"""Figures of paths: on landscapes, and on the plane through a network's loss surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optimlab.formatting import number
from optimlab.problems import Landscape
from optimlab.report.figures.plots import new_figure
from optimlab.report.style import INK, SeriesStyle, figure_style

Array = np.ndarray

GRID = 241  # points along each side of a contour plot
WIDEN, MARGIN = 0.15, 0.03  # shares of a view's side: by how much it may grow; the margin around paths
DECADES = 4  # between the highest contour and the lowest
LEVELS_A_DECADE = 3
TICKS = (10, 20, 50, 100, 200, 500)  # steps that are labelled along a path
SHADES = LinearSegmentedColormap.from_list("shades", ["#9fb0c3", "#dfe6ee", "#fafbfc"])
HALO = [patheffects.withStroke(linewidth=2.2, foreground="white")]
LINE_HALO = [patheffects.withStroke(linewidth=2.6, foreground="white", alpha=0.75)]


@dataclass(frozen=True)
class Surface:
    """Heights over a grid of the plane.

    Attributes
    ----------
    x, y : the coordinates of the grid's columns (N,) and rows (M,).
    heights : heights (M, N), all ≥ 0.
    minima, saddles : the known points to mark (K, 2).
    """

    x: Array
    y: Array
    heights: Array
    minima: Array
    saddles: Array

    @property
    def view(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        return float(self.x[0]), float(self.x[-1]), float(self.y[0]), float(self.y[-1])


def landscape_surface(landscape: Landscape, paths: pd.DataFrame, least_ratio: float = 0) -> Surface:
    """Return the heights of a landscape over its view, widened within bounds to include the paths.

    Parameters
    ----------
    landscape : the landscape.
    paths : points x, y to include.
    least_ratio : the smallest ratio of width to height; a narrower view is widened on both sides.
    """
    left, right, bottom, top = landscape.view
    left, right = _widened(left, right, paths["x"])
    bottom, top = _widened(bottom, top, paths["y"])
    more = max(0, least_ratio * (top - bottom) - (right - left)) / 2
    x, y = np.linspace(left - more, right + more, GRID), np.linspace(bottom, top, GRID)
    points = np.stack([axis.ravel() for axis in np.meshgrid(x, y)], axis=1)
    heights = landscape.evaluate(points)["train_loss"].reshape(GRID, GRID)
    return Surface(x, y, heights, landscape.minima, landscape.saddles)


def _widened(low: float, high: float, values: pd.Series) -> tuple[float, float]:
    most, margin = WIDEN * (high - low), MARGIN * (high - low)
    return (
        float(np.clip(values.min() - margin, low - most, low)),
        float(np.clip(values.max() + margin, high, high + most)),
    )


def paths_figure(
    surface: Surface,
    paths: pd.DataFrame,
    rates: dict[str, float],
    styles: dict[str, SeriesStyle],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw paths over contours, one panel per optimizer.

    Parameters
    ----------
    surface : the surface whose contours are drawn.
    paths : optimizer, step, x, y; one run per optimizer, all from the same start.
    rates : optimizer → its learning rate.
    styles : optimizer → how it is drawn.
    """
    labels = [label for label in styles if label in paths["optimizer"].unique()]
    columns = min(2 if narrow else 3, len(labels))
    rows = -(-len(labels) // columns)
    width = 3.7 if narrow else 9.0
    ratio = np.ptp(surface.y) / np.ptp(surface.x)
    with figure_style(labels, **{"axes.grid": False}):
        height = rows * (width / columns * ratio * 0.9 + 0.32) + 0.35
        figure = new_figure(width, height)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for index, axes in enumerate(panels.flat):
            is_lowest, is_leftmost = index >= len(labels) - columns, index % columns == 0
            axes.set_visible(index < len(labels))
            axes.tick_params(labelbottom=is_lowest, labelleft=is_leftmost)
            if is_lowest:
                axes.set_xlabel("x", labelpad=1)
            if is_leftmost:
                axes.set_ylabel("y", labelpad=3)
        for axes, label in zip(panels.flat, labels, strict=False):
            draw_contours(axes, surface)
            path = paths[paths["optimizer"] == label]
            draw_path(axes, path, styles[label], marks=[*surface.minima, *surface.saddles])
            axes.set_title(
                f"{label}, learning rate {number(rates[label])}",
                loc="left",
                color=styles[label].colour,
                pad=3,
                fontsize=6.5 if narrow else 9,
            )
        return figure


def plane_figure(
    surface: Surface,
    paths: pd.DataFrame,
    explained: Array,
    styles: dict[str, SeriesStyle],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw the paths of all optimizers over the loss of a network on a plane, with a marker at each end.

    Parameters
    ----------
    surface : the training loss on the plane.
    paths : from `optimlab.statistics.plane.paths_on_plane`.
    explained : the shares of the variance along the plane's two directions.
    styles : optimizer → how it is drawn.
    """
    labels = [label for label in styles if label in paths["optimizer"].unique()]
    width = 3.7 if narrow else 7.0
    ratio = np.ptp(surface.y) / np.ptp(surface.x)
    with figure_style(labels, **{"axes.grid": False}):
        figure = new_figure(width, (width - 0.5) * ratio + (1.0 if narrow else 0.8))
        axes = figure.subplots()
        draw_contours(axes, surface, named=True)
        for label in labels:
            path, style = paths[paths["optimizer"] == label], styles[label]
            draw_path(axes, path, style, ticks=(), end=style.marker)
        axes.set_xlabel(f"first principal component, {100 * explained[0]:.0f} % of the variance")
        axes.set_ylabel(f"second principal component, {100 * explained[1]:.0f} % of the variance")
        handles = [
            Line2D(
                [],
                [],
                color=styles[label].colour,
                linewidth=1.2,
                marker=styles[label].marker,
                markersize=5.5,
                markeredgecolor="white",
                markeredgewidth=0.7,
                label=label,
            )
            for label in labels
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2 if narrow else 6,
                      columnspacing=1.2, handlelength=1.6)  # fmt: skip
        return figure


def draw_contours(axes: Axes, surface: Surface, *, named: bool = False) -> None:
    """Draw contours at log-spaced heights over shades; minima are stars, saddles crosses."""
    levels = contour_levels(surface.heights)
    axes.set_rasterization_zorder(0.5)  # rasterizes the shades, which would be megabytes as vectors
    heights = np.clip(surface.heights, levels[0] / 10, levels[-1])
    axes.contourf(
        surface.x, surface.y, np.log10(heights), levels=np.log10([levels[0] / 10, *levels]),
        cmap=SHADES, zorder=0,
    )  # fmt: skip
    lines = axes.contour(
        surface.x, surface.y, np.log10(heights), levels=np.log10(levels[:-1]),
        colors="#7c8a99", linewidths=0.35, linestyles="solid", zorder=1,
    )  # fmt: skip
    if named:
        axes.clabel(lines, fontsize=6, fmt=lambda level: number(float(f"{10**level:.1g}")))
    axes.plot(*surface.minima.T, linestyle="", marker="*", markersize=8, color=INK, zorder=6,
              markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
    axes.plot(*surface.saddles.T, linestyle="", marker="x", markersize=5, color=INK, zorder=2)
    axes.set(xlim=(surface.x[0], surface.x[-1]), ylim=(surface.y[0], surface.y[-1]), aspect="equal")


def contour_levels(heights: Array) -> Array:
    """Return heights evenly spaced in logarithm, up to the top of the surface."""
    top = float(heights.max())
    bottom = min(max(float(np.quantile(heights, 0.002)), top / 10**DECADES), top / 2)
    steps = max(8, int(np.ceil(LEVELS_A_DECADE * np.log10(top / bottom))))
    return np.geomspace(bottom, top, steps + 1)


def draw_path(
    axes: Axes,
    path: pd.DataFrame,
    style: SeriesStyle,
    ticks: Sequence[int] = TICKS,
    marks: Sequence[Array] = (),
    end: str = "s",
) -> None:
    """Draw a run: dots at its steps, a ring at its start, a marker at its end.

    Parameters
    ----------
    ticks : the steps to label, except those too close to a mark.
    marks : points that are marked already.
    end : the marker at the end.
    """
    points = path.sort_values("step")[["x", "y"]].to_numpy()
    steps = np.sort(path["step"].to_numpy())
    axes.plot(*points.T, color=style.colour, linewidth=1.0, zorder=3, solid_joinstyle="round",
              path_effects=LINE_HALO)  # fmt: skip
    axes.plot(*points[1:].T, color=style.colour, linestyle="", marker="o", markersize=2.2, zorder=3.2,
              markeredgewidth=0)  # fmt: skip
    axes.plot(*points[:1].T, marker="o", markersize=5.5, markerfacecolor="white", markeredgecolor=INK,
              markeredgewidth=1.1, zorder=4)  # fmt: skip
    axes.plot(*points[-1:].T, marker=end, markersize=4.2, color=style.colour,
              markeredgecolor="white", markeredgewidth=0.7, zorder=4)  # fmt: skip
    size = np.array([np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())])
    taken = [points[0], *marks]
    text_side = _text_side(axes, points, marks)
    for step in ticks:
        at = points[steps == step]
        if len(at) and all(np.linalg.norm((at[0] - other) / size) > 0.07 for other in taken):
            taken.append(at[0])
            axes.plot(*at.T, marker="o", markersize=3.8, color=style.colour, markeredgecolor="white",
                      markeredgewidth=0.6, zorder=4)  # fmt: skip
            x, y = text_side(at[0], str(step))
            axes.annotate(str(step), at[0], (3.5 * x, 3.5 * y), textcoords="offset points", fontsize=6.5,
                          ha="left" if x > 0 else "right", va="bottom" if y > 0 else "top",
                          color=INK, path_effects=HALO, zorder=5, clip_on=True)  # fmt: skip


def _text_side(
    axes: Axes, path: Array, marks: Sequence[Array]
) -> Callable[[Array, str], tuple[int, int]]:
    """Return a function that says at which corner of a point its text covers least.

    It gives the signs of the offset to the right and upwards: best is a corner in the view that covers
    neither a mark nor much of the path.
    """
    origin = np.array([axes.get_xlim()[0], axes.get_ylim()[0]])
    width = 72 * axes.figure.get_figwidth() * axes.get_position().width  # type: ignore[union-attr]
    scale = width / np.ptp(axes.get_xlim())  # inches/72 for a unit of either axis
    view = scale * np.array([np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())])
    between = np.linspace(path[:-1], path[1:], 20).reshape(-1, 2)
    line, stars = (scale * (np.reshape(every, (-1, 2)) - origin) for every in (between, list(marks)))

    def side(at: Array, text: str) -> tuple[int, int]:
        letters, here = np.array([4.2 * len(text), 7.0]), scale * (at - origin)
        covered = {}
        for corner in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
            middle = here + np.array(corner) * (3.5 + letters / 2)
            is_out = (middle < letters / 2).any() or (middle > view - letters / 2).any()
            on_marks, on_line = (
                int((np.abs(those - middle) < letters / 2 + room).all(axis=1).sum())
                for those, room in ((stars, 4), (line, 0))
            )
            covered[corner] = (is_out, on_marks, on_line)
        return min(covered, key=lambda corner: covered[corner])

    return side
