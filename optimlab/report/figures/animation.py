"""Animations of paths: all optimizers over one surface, step by step."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from optimlab.report.figures.landscapes import LINE_HALO, Surface, draw_contours
from optimlab.report.figures.plots import new_figure
from optimlab.report.style import INK, SeriesStyle, figure_style

MOST_FRAMES = 120
FRAMES_A_SECOND = 15
SECONDS_AT_THE_END = 2
DOTS_AN_INCH = 110


def draw_frames(
    surface: Surface,
    paths: pd.DataFrame,
    names: dict[str, str],
    styles: dict[str, SeriesStyle],
    title: str,
    axis_names: tuple[str, str] = ("x", "y"),
) -> list[Image.Image]:
    """Draw the growing paths, one image for each of up to `MOST_FRAMES` steps.

    Parameters
    ----------
    surface : the surface whose contours are drawn.
    paths : optimizer, step, x, y; one run per optimizer.
    names : optimizer → its name in the legend.
    styles : optimizer → how it is drawn.
    title : the title above the legend.
    axis_names : labels of the horizontal and the vertical axis.
    """
    steps = np.unique(paths["step"])
    shown = steps[np.unique(np.linspace(0, len(steps) - 1, MOST_FRAMES).round().astype(int))]
    with figure_style([title, *names.values()], **{"axes.grid": False}):
        figure = new_figure(6.4, 6.4 * float(np.ptp(surface.y) / np.ptp(surface.x)) + 1.0)
        figure.set_dpi(DOTS_AN_INCH)
        canvas, axes = FigureCanvasAgg(figure), figure.subplots()
        draw_contours(axes, surface)
        axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
        lines = [_line(styles[label], names[label]) for label in names]
        heads = [axes.plot([], [], marker=styles[label].marker, markersize=7, color=styles[label].colour,
                           markeredgecolor="white", zorder=5)[0] for label in names]  # fmt: skip
        counter = axes.text(0.02, 0.02, "", transform=axes.transAxes, color=INK, zorder=6)
        figure.legend(handles=lines, loc="outside upper center", ncols=3, title=title, fontsize=8)
        for line in lines:
            axes.add_line(line)
        canvas.draw()  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")
        background = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]
        sorted_paths = [paths[paths["optimizer"] == label].sort_values("step") for label in names]
        images = []
        for step in shown:
            canvas.restore_region(background)  # type: ignore[no-untyped-call]
            counter.set_text(f"step {int(step):,}")
            for path, line, head in zip(sorted_paths, lines, heads, strict=True):
                points = path.loc[path["step"] <= step, ["x", "y"]].to_numpy().T
                line.set_data(*points)
                head.set_data(*points[:, -1:])
                axes.draw_artist(line)
                axes.draw_artist(head)
            axes.draw_artist(counter)
            pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
            images.append(Image.fromarray(pixels.copy()).convert("RGB"))
    return images


def _line(style: SeriesStyle, name: str) -> Line2D:
    return Line2D([], [], color=style.colour, linewidth=1.6, linestyle=style.line_style, label=name,
                  marker=style.marker, markevery=[], zorder=4, path_effects=LINE_HALO)  # fmt: skip


def gif(images: list[Image.Image]) -> bytes:
    """Return images as an animated GIF that pauses on the last image and repeats."""
    buffer = io.BytesIO()
    milliseconds = [1000 // FRAMES_A_SECOND] * (len(images) - 1) + [1000 * SECONDS_AT_THE_END]
    palette = images[-1].quantize(256)  # the last has all colours; one palette avoids flicker
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    return buffer.getvalue()


def mp4(images: list[Image.Image]) -> bytes | None:
    """Return images as a video; None if ffmpeg is missing or fails."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    width, height = (size - size % 2 for size in images[0].size)  # the codec needs even sizes
    still = [images[-1]] * (SECONDS_AT_THE_END * FRAMES_A_SECOND)
    frames = b"".join(image.crop((0, 0, width, height)).tobytes() for image in [*images, *still])
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        rate = ["-r", str(FRAMES_A_SECOND), "-i", "-", "-pix_fmt", "yuv420p"]
        words = [ffmpeg, "-loglevel", "error", "-y", *raw, *rate, str(file)]
        done = subprocess.run(words, input=frames, check=False, capture_output=True)  # noqa: S603
        return file.read_bytes() if done.returncode == 0 and file.exists() else None
