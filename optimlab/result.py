"""The result of an experiment in Python and notebooks: its tables, verdict, charts and figures."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from optimlab import statistics
from optimlab.arguments import path_of, shown
from optimlab.errors import UserError
from optimlab.files import Folder
from optimlab.formatting import join_words
from optimlab.report.figures.static import FONT_SIZE
from optimlab.report.page import page_alone
from optimlab.report.paper import paper_figures
from optimlab.report.report import Report, report_of
from optimlab.report.vega import Chart
from optimlab.storage.results import Tables, read_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (  # columns of the summary, in a notebook
    *("rank", "optimizer", "learning_rate", "hyperparameters"),
    *("final_loss_median", "final_loss_interval_low"),
    *("final_loss_interval_high", "worse_than_best", "final_accuracy_median", "final_r2_median"),
)
DOTS_IN_A_NOTEBOOK = 100  # per inch, of the chart images stored in a notebook


@dataclass(frozen=True)
class Result:
    """The results of an experiment: its tables, verdict and charts.

    In a notebook, it shows the verdict and the ranked table.

    Parameters
    ----------
    folder : the folder of its results.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", path_of("folder", self.folder))

    @cached_property
    def _tables(self) -> Tables:
        return read_tables(self.folder)

    @cached_property
    def _report(self) -> Report:
        return report_of(self._tables)

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: how it ended. The columns of runs.csv."""
        return _copy(self._tables.runs)

    @property
    def traces(self) -> pd.DataFrame:
        """One row per run and record: losses, accuracies. The columns of traces.parquet."""
        return _copy(self._tables.traces)

    @property
    def params(self) -> pd.DataFrame | None:
        """One row per run and record, with its parameters; None if they were not recorded."""
        params = self._tables.params
        return params if params is None else _copy(params)

    @property
    def summary(self) -> pd.DataFrame:
        """One row per optimizer, best first. The columns of summary.csv."""
        return _copy(self._report.numbers["summary.csv"])

    @property
    def comparisons(self) -> pd.DataFrame:
        """One row per setting and pair of optimizers. The columns of comparisons.csv."""
        return _copy(self._report.numbers["comparisons.csv"])

    @property
    def verdict(self) -> str:
        """The conclusion as text: which optimizer is best here, and how certain that is."""
        by_problem = self._report.by_problem
        heads = [f"{problem}: " if len(by_problem) > 1 else "" for problem in by_problem]
        texts = [" ".join(statistics.verdict(result.comparison)) for result in by_problem.values()]
        return "\n".join(head + text for head, text in zip(heads, texts, strict=True))

    def chart(self, name: str = "traces", problem: str | None = None) -> ChartView:
        """Return an interactive chart of the page, which notebooks display.

        Parameters
        ----------
        name : "traces", "targets", "profiles", …; an unknown one raises an error that lists all.
        problem : the label of a problem, if there are several; None for the first.

        Raises
        ------
        UserError
            If there is no such chart.
        """
        by_problem = self._report.by_problem
        if problem and len(by_problem) == 1:
            raise UserError("the experiment has one problem only: leave out `problem`")
        result = by_problem[_one_of(by_problem, problem or next(iter(by_problem)), "problem")]
        charts = {chart.name: chart for chart in [*result.charts, *self._report.paths.charts]}
        return ChartView(charts[_one_of(charts, name, "chart")])

    def figure(
        self, name: str = "traces", width: float | None = None, font_size: float = FONT_SIZE
    ) -> Figure:
        """Draw a static figure, for a paper.

        Parameters
        ----------
        name : "traces", "learning-rates", "targets", "profiles", "budget", "wins", "pairs", "time", …;
            an unknown one raises an error that lists all. With several problems, names have a prefix.
        width : the width in inches; None for the width on the page.
        font_size : the size of its labels in points, if a width is given.

        Raises
        ------
        UserError
            If there is no such figure, or a size is out of range.
        """
        if width is not None:
            _check_number("width", width, 1, 40)
        _check_number("font_size", font_size, 3, 40)
        figures = paper_figures(self._report)
        _, drawing = figures[_one_of(figures, name, "figure")]
        return drawing.figure() if width is None else drawing.sized(width, font_size)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page of this experiment as one file, and return its path."""
        path = path_of("path", path).resolve()
        page, _ = page_alone(self._tables)
        Folder(path.parent).write(path.name, page)
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        table = self._shown().to_html(index=False, float_format="{:.4g}".format)
        words = "".join(f"<p>{line}</p>" for line in map(escape, self.verdict.split("\n")))
        return {"text/plain": str(self), "text/html": f"{words}{table}"}

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{self._shown().to_string(index=False, float_format='{:.4g}'.format)}"

    def _shown(self) -> pd.DataFrame:
        """Return the most informative columns of the summary."""
        names = ["problem", *SHOWN]
        return self.summary[[name for name in names if name in self.summary]].dropna(axis=1, how="all")


@dataclass(frozen=True)
class ChartView:
    """A chart of the page, which a notebook displays; `spec` is Vega-Lite with its data."""

    chart: Chart = field(repr=False)

    @property
    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite."""
        return self.chart.whole_spec()

    def save(self, path: str | Path) -> Path:
        """Write the chart in its initial state, as .png or .svg, and return its path."""
        path = path_of("path", path)
        files = self.chart.files()
        path.write_bytes(files[self.chart.name + _one_of([".png", ".svg"], path.suffix, "format")])
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        version = self.spec["$schema"].rpartition("/v")[2].partition(".")[0]
        png = self.chart.files(DOTS_IN_A_NOTEBOOK)[f"{self.chart.name}.png"]
        return {
            f"application/vnd.vegalite.v{version}+json": self.spec,
            "image/png": base64.b64encode(png).decode(),  # for viewers without Vega-Lite
            "text/plain": f"{self.chart.heading}: {self.chart.alt}",
        }


def _copy(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that its user may change; its values are copied only where it is changed."""
    return table.copy(deep=False)


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    """Refuse anything but a number in this range."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise UserError(f"{name}: must be a number from {least:g} to {most:g}, got {shown(value)}")


def _one_of(known: Iterable[str], name: str, kind: str) -> str:
    """Return a name if it is known; otherwise list the known names in an error."""
    if name not in list(known):
        raise UserError(f"there is no {kind} {name!r}; there are: {join_words(list(known))}")
    return name
