"""How each optimizer is drawn, and the style of all figures."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import font_manager
from matplotlib.markers import MarkerStyle

INK, GREY = "#222222", "#8a8a8a"


@dataclass(frozen=True)
class SeriesStyle:
    """How an optimizer is drawn: colour, dashes (on, off, … in line widths; () is solid), marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line_style(self) -> Any:
        """The dashes as matplotlib takes them."""
        return (0, self.dashes) if self.dashes else "-"

    @property
    def corners(self) -> np.ndarray:
        """The marker's outline (K, 2) about the origin, at most 1 wide and high, y upwards."""
        style = MarkerStyle(self.marker)
        outline = style.get_path().transformed(style.get_transform())
        return np.asarray(outline.to_polygons()[0])


# Colours: Okabe & Ito (2008), Color universal design; the last four: Tol (2021), the muted scheme.
BUILT_IN = {
    "SGD": SeriesStyle("#0072B2", (5, 1.5), "o"),
    "Nesterov": SeriesStyle("#56B4E9", (1.2, 1.2), "s"),
    "AdaGrad": SeriesStyle("#009E73", (7, 1.5, 1.2, 1.5), "^"),
    "RMSprop": SeriesStyle("#CC79A7", (3, 1.2), "D"),
    "Adam": SeriesStyle("#D55E00", (), "v"),
    "Gradient descent": SeriesStyle("#777777", (2.5, 2.5), "h"),  # momentum 0, the reference
}
OTHERS = (
    SeriesStyle("#E69F00", (4, 1, 1, 1, 1, 1), "X"),
    SeriesStyle("#882255", (2, 2), "*"),
    SeriesStyle("#332288", (6, 1, 2, 1), "<"),
    SeriesStyle("#999933", (1, 2.5), ">"),
    SeriesStyle("#44AA99", (8, 1, 1, 1), "p"),
    SeriesStyle("#222222", (9, 2), "P"),
)
# Styles of one colour cycle through dashes and markers, starting from their own. Thirteen dashes and
# twelve markers repeat together only after 156 turns, more than an experiment may have optimizers.
DASHES = ((1.5, 1), *(style.dashes for style in (*BUILT_IN.values(), *OTHERS)))
PLAIN_DASHES = ((), (6, 2), (1.2, 1.5), (8, 2, 1.2, 2), (2.5, 1.5), (9, 1.5, 1.2, 1.5, 1.2, 1.5))
MARKERS = tuple(style.marker for style in (*BUILT_IN.values(), *OTHERS))
# matplotlib's own defaults, whatever a user's matplotlibrc says; the backend is not a matter of style.
DEFAULTS: Any = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
THEME: Any = {
    **DEFAULTS,
    **sns.axes_style("ticks"),
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so a figure is the same everywhere
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.grid.axis": "both",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "path",
    "svg.hashsalt": "optimlab",
    "path.simplify_threshold": 0.2,
}
# The interactive charts' counterpart of THEME, as Vega-Lite takes it.
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'
CHART_CONFIG: Any = {
    "font": FONT,
    "background": "white",  # of saved charts; in the page the page's background shows
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11.5,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": GREY,
        "tickColor": GREY,
        "gridColor": "#e6e6e6",
        "labelOverlap": "greedy",
        "labelSeparation": 4,
        "titlePadding": 10,
    },
    "legend": {"labelFontSize": 12, "labelColor": INK, "titleColor": INK},
    "title": {
        "fontSize": 13,
        "fontWeight": 600,
        "color": INK,
        "offset": 12,
        "subtitleColor": INK,
        "subtitleFontSize": 11.5,
        "subtitlePadding": 4,
    },
}


def series_styles(labels: Sequence[str]) -> dict[str, SeriesStyle]:
    """Return a distinct style for each optimizer; built-in optimizers always have the same one.

    "Adam (textbook)" is an Adam: it has Adam's colour and, if another Adam comes before it, different
    dashes and another marker. So has any other rule once all colours are taken.
    """
    others = itertools.cycle(OTHERS)
    turns: dict[str, int] = {}  # colour → how many have it
    styles = {}
    for label in sorted(labels, key=lambda label: label not in BUILT_IN):
        first = BUILT_IN.get(label.partition(" (")[0]) or next(others)
        turn = turns[first.colour] = turns.get(first.colour, -1) + 1
        styles[label] = replace(
            first,
            dashes=DASHES[(DASHES.index(first.dashes) + turn) % len(DASHES)],
            marker=MARKERS[(MARKERS.index(first.marker) + turn) % len(MARKERS)],
        )
    return {label: styles[label] for label in labels}


def neutral_styles(labels: Sequence[str]) -> dict[str, SeriesStyle]:
    """Return styles for lines that belong to no optimizer: ink and grey, told apart by dashes."""
    kinds = [SeriesStyle(grey, dashes, "None") for grey in (INK, GREY) for dashes in PLAIN_DASHES]
    return dict(zip(labels, itertools.cycle(kinds), strict=False))


@contextmanager
def figure_style(texts: Iterable[str] = (), **options: Any) -> Iterator[None]:
    """Draw in the style of all figures, with a font for each letter of the texts.

    Parameters
    ----------
    texts : texts from the user, such as labels, in any script; see `missing_letters`.
    options : matplotlib options that override those of `THEME`.
    """
    with mpl.rc_context(THEME | {"font.family": fonts(texts)} | options), warnings.catch_warnings():
        for text in ("Glyph .* missing from font", "Matplotlib currently does not support"):
            warnings.filterwarnings("ignore", text)  # one warning covers all figures
        yield


def fonts(texts: Iterable[str]) -> list[str]:
    """Return the names of the fonts that texts need, DejaVu Sans first."""
    needed = [font for font in map(_font_of, sorted(set("".join(texts)))) if font]
    return list(dict.fromkeys([*THEME["font.family"], *needed]))


def missing_letters(texts: Iterable[str]) -> str:
    """Return the letters that no installed font has; figures show boxes in their place."""
    return "".join(letter for letter in sorted(set("".join(texts))) if _font_of(letter) is None)


@cache
def _font_of(letter: str) -> str | None:
    """Return the name of a font that has a letter, preferably DejaVu Sans; None if no font does."""
    default = font_manager.findfont("DejaVu Sans")
    if letter.isspace() or ord(letter) in font_manager.get_font(default).get_charmap():
        return "DejaVu Sans"
    for path in sorted(font_manager.findSystemFonts()):
        if ord(letter) in _letters(path):
            font_manager.fontManager.addfont(path)  # it may be missing from matplotlib's cached list
            return str(font_manager.get_font(path).family_name)
    return None


@cache
def _letters(path: str) -> frozenset[int]:
    """Return the letters of a font; none if it cannot be read."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
