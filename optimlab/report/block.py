"""A block of the page: text, figures and a table on one topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from optimlab.report.figures.static import StaticFigure


@dataclass(frozen=True)
class Block:
    """A topic of the page.

    Attributes
    ----------
    heading, paragraphs : text.
    caption, columns, rows : of a table, with one cell per column in each row; without columns there is
        no table.
    figures : made by `optimlab.report.figures.static.static_figure`.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    caption: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    figures: Sequence[StaticFigure] = ()
