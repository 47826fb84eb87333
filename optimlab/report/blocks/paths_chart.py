"""Paths over contours: all optimizers on one surface, up to a step that a slider sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.path import Path

from optimlab.report import vega
from optimlab.report.blocks.landscapes import PathsPart, PlanePart, plane_warning
from optimlab.report.figures.landscapes import Surface, contour_levels, landscape_surface
from optimlab.report.style import GREY, INK
from optimlab.report.vega import Chart, Palette

Array = np.ndarray

HEIGHT = 430
RATIO = 2.2  # of the width to the height of the area with contours
GRID = 150  # points along each side of the grid: enough for contours on a screen
REACH = 100  # view widths to which far points are clipped: lines keep roughly their direction
PIXELS = 1000  # width of a chart on a screen, about


@dataclass(frozen=True)
class Scene:
    """A surface, the paths on it, and the part of it that must be visible.

    Attributes
    ----------
    surface : the surface whose contours are drawn.
    paths : optimizer, step, x, y, train_loss; one run per optimizer.
    view : left, right, bottom, top of the visible part.
    """

    surface: Surface
    paths: pd.DataFrame
    view: tuple[float, float, float, float]


def landscapes_chart(parts: list[PathsPart], palette: Palette) -> Iterator[Chart]:
    """Yield the paths on all landscapes of an experiment.

    Parameters
    ----------
    parts : from `optimlab.report.blocks.landscapes.describe_paths`.
    palette : the optimizers' colours, dashes and markers.
    """
    scenes = {
        part.problem: Scene(
            landscape_surface(part.landscape, part.paths, RATIO),
            part.paths,
            landscape_surface(part.landscape, part.paths).view,
        )
        for part in parts
        if part.landscape
    }
    yield from paths_chart(
        scenes,
        palette,
        name="paths",
        heading="Paths",
        caption="Each optimizer at its chosen learning rate, all from the same starting point (ring): a "
        "dot per step, and the optimizer’s marker at the step shown. Contours are evenly spaced in the "
        "logarithm of the height. Stars: minima. Cross: saddle.",
    )


def plane_chart(part: PlanePart, palette: Palette) -> Iterator[Chart]:
    """Yield the paths on the plane through a network's loss surface."""
    yield from paths_chart(
        {"principal plane": Scene(part.surface, part.paths, part.surface.view)},
        palette,
        name="plane",
        heading="Paths on the loss surface",
        caption=plane_warning(part),
    )


def paths_chart(
    scenes: Mapping[str, Scene], palette: Palette, *, name: str, heading: str, caption: str
) -> Iterator[Chart]:
    """Yield the chart of paths over contours, with controls for the step and, if several, the scene.

    Parameters
    ----------
    scenes : name → surface and paths.
    palette : the optimizers' colours, dashes and markers.
    name, heading, caption : of the chart.
    """
    if not scenes:
        return
    numbered = list(enumerate(scenes.values()))
    lines = pd.concat([contour_lines(scene.surface).assign(scene=index) for index, scene in numbered])
    paths = pd.concat([_in_reach(scene).assign(scene=index) for index, scene in numbered])
    paths = paths.rename(columns={"train_loss": "loss"})
    marks = pd.concat([_marks(scene.surface).assign(scene=index) for index, scene in numbered])
    last = int(paths["step"].max())
    boxes, is_shown, hidden = palette.shown()
    here = "datum.scene === indexof(scenes, scene)"
    middles = [_middle(*scene.view) for scene in scenes.values()]
    middle = "middles[indexof(scenes, scene)]"
    # A pixel has the same length along both axes, so that gradients are perpendicular to contours.
    pixel = f"max({middle}[2] / width, {middle}[3] / height)"
    x = alt.X("x:Q", title=None, scale=_centred(f"{middle}[0]", pixel, "width"), axis=_axis())
    y = alt.Y("y:Q", title=None, scale=_centred(f"{middle}[1]", pixel, "height"), axis=_axis())
    contours = alt.Chart(alt.NamedData("contours"))
    walk = (
        alt.Chart(alt.NamedData("paths"))
        .transform_filter(here)
        .transform_filter(is_shown)
        .transform_filter("datum.step <= step")
    )
    points = alt.Chart(alt.NamedData("marks")).transform_filter(here)
    colour = palette.colour()
    numbers = {"step": "d", "loss": ".3~g", "x": ".3~g", "y": ".3~g"}
    written = {name: vega.written(name, form) for name, form in numbers.items()}
    tooltips = vega.tooltip({"optimizer": "datum.optimizer"} | written)
    shapes = alt.Scale(domain=list(SHAPES), range=list(SHAPES.values()))
    now = walk.transform_joinaggregate(last="max(step)", groupby=["optimizer"])
    chart = alt.layer(
        contours.transform_filter(here)
        .transform_window(point="row_number()")
        .mark_line(strokeWidth=0.7, color="#8a97a6", clip=True, aria=False)
        .encode(x, y, alt.Detail("line:N"), alt.Order("point:Q")),
        points.mark_point(size=90, filled=True, color=INK, opacity=1, clip=True, aria=False).encode(
            x, y, alt.Shape("shape:N", legend=None, scale=shapes)
        ),
        walk.mark_line(strokeWidth=1.6, strokeJoin="round", clip=True, aria=False).encode(
            x, y, colour, palette.dash(), alt.Order("step:Q")
        ),
        walk.mark_circle(size=14, opacity=1, clip=True).encode(x, y, colour, tooltip=tooltips),
        walk.transform_filter("datum.step === 0")
        .mark_point(size=90, color=INK, fill="white", opacity=1, clip=True, aria=False)
        .encode(x, y),
        now.transform_filter("datum.step === datum.last")
        .mark_point(filled=True, size=130, opacity=1, stroke="white", strokeWidth=1, clip=True)
        .encode(x, y, colour, palette.shape(), tooltip=tooltips),
        resolve=alt.Resolve(scale=alt.ScaleResolveMap(shape="independent")),
    )
    controls = [
        vega.constant("labels", palette.labels),
        vega.constant("scenes", list(scenes)),
        vega.constant("middles", middles),
        vega.select("scene", next(iter(scenes)), {label: label for label in scenes}, "On")
        if len(scenes) > 1
        else vega.constant("scene", next(iter(scenes))),
        vega.slider("step", last, (0, last), _stride(paths), "Step"),
        *boxes,
    ]
    yield Chart(
        name=name,
        heading=heading,
        caption=caption,
        alt=f"Map of paths over contours, for {', '.join(scenes)}; where each run ends is in paths.csv.",
        **vega.finish(
            chart,
            controls,
            "scene + ', step ' + step",
            ["'chosen learning rates'", hidden],
            HEIGHT,
            palette.rows(),
        ),
        tables={
            "contours": lines[["scene", "line", "x", "y"]],
            "paths": paths[["scene", "optimizer", "step", "x", "y", "loss"]],
            "marks": marks[["scene", "shape", "x", "y"]],
        },
    )


SHAPES = {
    "minimum": "M0,-1L.26,-.3L1,-.3L.4,.14L.62,.85L0,.42L-.62,.85L-.4,.14L-1,-.3L-.26,-.3Z",
    "saddle": "cross",
}


def _in_reach(scene: Scene) -> pd.DataFrame:
    """Return the paths of a scene, with points far outside the view clipped.

    The points of a run that diverges are too large for SVG.
    """
    left, right, bottom, top = scene.view
    x, y = REACH * (right - left), REACH * (top - bottom)
    return scene.paths.assign(
        x=scene.paths["x"].clip(left - x, right + x), y=scene.paths["y"].clip(bottom - y, top + y)
    )


def _stride(paths: pd.DataFrame) -> int:
    """Return the step between records."""
    steps = np.unique(paths["step"])
    return int(np.diff(steps).min()) if len(steps) > 1 else 1


def _centred(middle: str, pixel: str, length: str) -> alt.Scale:
    ends = [alt.ExprRef(f"{middle} {sign} {pixel} * {length} / 2") for sign in "-+"]
    return alt.Scale(domain=ends, nice=False, zero=False)


def _axis() -> alt.Axis:
    return alt.Axis(grid=False, tickCount=6, domainColor=GREY)


def _middle(left: float, right: float, bottom: float, top: float) -> list[float]:
    """Return the centre and the size of a view: x, y, width, height."""
    return [(left + right) / 2, (bottom + top) / 2, right - left, top - bottom]


def _marks(surface: Surface) -> pd.DataFrame:
    points = [(*at, "minimum") for at in surface.minima] + [(*at, "saddle") for at in surface.saddles]
    return pd.DataFrame(points, columns=["x", "y", "shape"])


def contour_lines(surface: Surface) -> pd.DataFrame:
    """Return the contours at `contour_levels`, one row per point, in order: line, x, y."""
    axes = Figure().subplots()
    levels = np.log10(contour_levels(surface.heights))
    heights = np.maximum(np.log10(np.maximum(surface.heights, 1e-300)), levels[0] - 1)
    thin = slice(None, None, max(1, len(surface.x) // GRID))
    found = axes.contour(surface.x[thin], surface.y[thin], heights[thin, thin], levels[:-1])
    pixels = PIXELS / np.ptp(surface.x)
    lines = [_simplified(line * pixels) / pixels for lines in found.allsegs for line in lines]
    tables = [
        pd.DataFrame({"line": number, "x": line[:, 0], "y": line[:, 1]})
        for number, line in enumerate(lines)
    ]
    return pd.concat(tables, ignore_index=True)


def _simplified(line: Array) -> Array:
    """Return a line without the points that make no visible difference on a screen."""
    path = Path(line)
    path.simplify_threshold, path.should_simplify = 0.25, True
    return np.asarray(path.cleaned(simplify=True).vertices)[:-1]  # the last one only marks the end
