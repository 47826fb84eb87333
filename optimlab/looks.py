"""Looks: how an optimizer is drawn, and the style of all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import matplotlib as mpl
import seaborn as sns

INK, GREY = "#222222", "#8a8a8a"


@dataclass(frozen=True)
class Look:
    """How an optimizer is drawn: colour, dashes (on, off, … in line widths; () is solid), marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line_style(self) -> Any:
        """The dashes as matplotlib takes them."""
        return (0, self.dashes) if self.dashes else "-"


# Colours: Okabe & Ito (2008), Color universal design; the last four: Tol (2021), the muted scheme.
BUILT_IN = {
    "SGD": Look("#0072B2", (5, 1.5), "o"),
    "Nesterov": Look("#56B4E9", (1.2, 1.2), "s"),
    "AdaGrad": Look("#009E73", (7, 1.5, 1.2, 1.5), "^"),
    "RMSprop": Look("#CC79A7", (3, 1.2), "D"),
    "Adam": Look("#D55E00", (), "v"),
    "Gradient descent": Look("#777777", (2.5, 2.5), "h"),  # momentum 0: what the others are measured by
}
OTHERS = (
    Look("#E69F00", (4, 1, 1, 1, 1, 1), "X"),
    Look("#882255", (2, 2), "*"),
    Look("#332288", (6, 1, 2, 1), "<"),
    Look("#999933", (1, 2.5), ">"),
    Look("#44AA99", (8, 1, 1, 1), "p"),
    Look("#222222", (9, 2), "P"),
)
# A second and third setting of a built-in rule keeps its colour.
VARIANTS: tuple[tuple[tuple[float, ...], str], ...] = (
    ((1.5, 1), "P"),
    ((6, 1, 1, 1, 1, 1), "X"),
    ((9, 3), "*"),
)
# matplotlib's own defaults, whatever a user's matplotlibrc says; the backend is no matter of style.
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
    "background": "transparent",
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
        "titlePadding": 10,
    },
    "legend": {"labelFontSize": 12, "labelColor": INK},
    "title": {"fontSize": 13, "fontWeight": 600, "color": INK, "offset": 12},
}


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Return how each optimizer is drawn; those that are not built in take the next free look.

    "Adam (textbook)" is an Adam: it has Adam's colour, and where another Adam came before it, dashes
    and a marker of its own.
    """
    others = (OTHERS[number % len(OTHERS)] for number in count())
    seen: dict[str, int] = {}
    styles = {}
    for label in labels:
        rule = label.partition(" (")[0]
        if rule not in BUILT_IN:
            styles[label] = next(others)
            continue
        place = seen[rule] = seen.get(rule, -1) + 1
        dashes, marker = VARIANTS[(place - 1) % len(VARIANTS)]
        styles[label] = (
            replace(BUILT_IN[rule], dashes=dashes, marker=marker) if place else BUILT_IN[rule]
        )
    return styles
