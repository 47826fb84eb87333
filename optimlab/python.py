"""The front door for Python and notebooks: run an experiment, and hold its result.

>>> import optimlab
>>> result = optimlab.compare("SGD", "Adam", problem={"name": "ravine"})  # doctest: +SKIP
>>> print(result.verdict)  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from optimlab import statistics
from optimlab.errors import UserError
from optimlab.execution.sweep import sweep
from optimlab.experiment.load import find, load, parse
from optimlab.experiment.spec import Experiment
from optimlab.formatting import join_words, toml_document
from optimlab.notebook import TARGET, file_of, table_of, written_data
from optimlab.optimizers import RULES
from optimlab.problems import PROBLEMS
from optimlab.progress import Progress
from optimlab.report.figures.static import FONT_SIZE
from optimlab.report.page import Report, report_of, write_report
from optimlab.report.vega import Chart
from optimlab.storage.results import Tables, read_tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = (  # of the summary, in a notebook
    *("rank", "optimizer", "learning_rate", "hyperparameters"),
    *("final_loss_median", "final_loss_interval_low"),
    *("final_loss_interval_high", "worse_than_best", "final_accuracy_median", "final_r2_median"),
)
DOTS_IN_A_NOTEBOOK = 100  # an inch, of the pictures of charts, which it keeps in its file
TRAINING = ("epochs", "steps", "record_every", "record_params")
Optimizers = Mapping[str, "Mapping[str, Any] | type | None"] | Sequence["str | type"]


def run(
    experiment: str | Path | Experiment | None = None,
    *,
    results: str | Path | None = None,
    jobs: int | None = None,
    progress: bool | None = None,
    **document: Any,
) -> Result:
    """Run what is missing of an experiment, and return its result.

    Parameters
    ----------
    experiment : the name of an experiment, a TOML file, or what `build_experiment` returned; or nothing,
        with the experiment's keys as further arguments, as `build_experiment` takes them.
    results : the folder of all results, in which a finished run is never repeated; None for a temporary
        one, which is deleted with the result.
    jobs : the number of worker processes; None for one per core.
    progress : whether to show it on stderr; None: on a terminal and in a notebook.

    Raises
    ------
    UserError
        When the experiment has mistakes; the message lists them all.

    Examples
    --------
    >>> result = run("smoke")  # doctest: +SKIP
    >>> result.summary  # doctest: +SKIP
    """
    if (experiment is None) != bool(document):
        raise UserError("give either an experiment, or its problem and optimizers")
    if experiment is None:
        checked = build_experiment(**document)
    elif isinstance(experiment, Experiment):
        checked = experiment
    else:
        checked = load(find(str(experiment)))
    folder = Path(results or tempfile.mkdtemp(prefix="optimlab-"))
    result = Result(folder / checked.name)
    if results is None:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    is_seen = console.is_terminal or console.is_jupyter if progress is None else progress
    console.quiet = not is_seen
    sweep(checked, folder, jobs, Progress(console))
    return result


def compare(*optimizers: str | type, **document: Any) -> Result:
    """Compare optimizers on a problem: `run`, with the optimizers in a row.

    Parameters
    ----------
    optimizers : names of rules, texts ``"file.py:ClassName"``, or classes.
    document : further arguments of `run` and `build_experiment`.
    """
    return run(optimizers=optimizers, **document)


def build_experiment(
    *,
    optimizers: Optimizers,
    problem: str | Mapping[str, Any] | pd.DataFrame | tuple[Any, Any] | None = None,
    problems: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int | tuple[int, int] | Mapping[str, int] | None = None,
    name: str = "experiment",
    folder: str | Path = ".",
    **keys: Any,
) -> Experiment:
    """Return a checked experiment, made of the same keys as an experiment's TOML file.

    Parameters
    ----------
    optimizers : labels → settings; or a list of rules, which then are their own labels. A rule may be a
        class: it is named, and its runs are known, by its file. A class of a notebook's cell is written
        to a file first, ``from_notebook/Name.py`` below `folder`, with what it uses.
    problem, problems : the name of a problem or a data set, "file.py:Name", or a file of data; or
        settings; or label → settings of several. Data may be a DataFrame, in settings that name its
        target, or (features, target): they are written to a file first, below `folder`, and runs are
        known by its content.
    seeds : (tuning, reporting); a number for the reporting ones alone; or the table of the file.
    name : of the experiment and its folder of results.
    folder : where ``"file.py:ClassName"`` is looked for.
    keys : the others: title, learning_rates, final, …; and those of [training]: epochs, steps,
        record_every and record_params.

    Raises
    ------
    ExperimentError
        With every mistake.
    """
    folder = Path(folder)
    document: dict[str, Any] = {"title": keys.pop("title", name), **keys}
    training = {key: document.pop(key) for key in TRAINING if key in document}
    if training:
        document["training"] = {**document.get("training", {}), **training}
    if problem is not None:
        document["problem"] = _problem(problem, folder)
    if problems is not None:
        document["problems"] = {label: _problem(each, folder) for label, each in problems.items()}
    if isinstance(seeds, int):
        document["seeds"] = {"reporting": seeds}
    elif isinstance(seeds, Mapping):
        document["seeds"] = dict(seeds)
    elif seeds is not None:
        document["seeds"] = dict(zip(("tuning", "reporting"), seeds, strict=True))
    document["optimizers"] = dict(_optimizers(optimizers, folder))
    return parse(to_toml(document), folder / f"{name}.toml")


def _problem(given: Any, folder: Path) -> dict[str, Any]:
    """Return the settings of a problem that is a name, data, or settings."""
    if isinstance(given, str):
        return {"name" if given in PROBLEMS or ":" in given else "data": given}
    settings: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"data": given}
    data: Any = settings.get("data")
    if isinstance(data, tuple) and len(data) == 2:
        data = table_of(*data)
        settings.setdefault("target", TARGET)
    if hasattr(data, "to_parquet"):
        file = written_data(data, folder)
        settings["data"] = file.relative_to(folder).as_posix()
    return settings


def _optimizers(optimizers: Optimizers, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return label and settings of each optimizer."""
    if isinstance(optimizers, str | type):
        optimizers = [optimizers]
    if not isinstance(optimizers, Mapping):
        labels = [
            each.rpartition(":")[2] if isinstance(each, str) else each.__name__ for each in optimizers
        ]
        twice = [label for label in labels if labels.count(label) > 1]
        if twice:
            raise UserError(f"{twice[0]} is given twice: name the optimizers, with {{label: settings}}")
        optimizers = {label: {"rule": each} for label, each in zip(labels, optimizers, strict=True)}
    found = []
    for label, given in optimizers.items():
        settings: dict[str, Any] = (
            {"rule": given} if isinstance(given, type | str) else dict(given or {})
        )
        rule = settings.get("rule")
        if isinstance(rule, type):
            settings["rule"] = _rule_name(rule, folder)
        found.append((label, settings))
    return found


def _rule_name(rule: type, folder: Path) -> str:
    """Return a class as experiments name it."""
    if rule in RULES.values():
        return rule.__name__
    file = file_of(rule, folder)
    try:
        place = Path(os.path.relpath(file, folder))
    except ValueError:  # on another drive
        place = file
    return f"{place.as_posix()}:{rule.__name__}"


def to_toml(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a TOML file; None is left out."""
    return toml_document(_plain(document))


def _plain(value: Any) -> Any:
    """Return a value as tables, lists, numbers and texts."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items() if each is not None}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(each) for each in value]
    if value is None or not isinstance(value, bool | int | float | str):
        raise UserError(f"an experiment holds numbers, texts, lists and tables, no {value!r}")
    return value


@dataclass(frozen=True)
class Result:
    """What came of an experiment: its tables, its verdict, its charts.

    In a notebook, it shows the verdict and the ranked table.

    Parameters
    ----------
    folder : of its results.
    """

    folder: Path

    @cached_property
    def _tables(self) -> Tables:
        return read_tables(self.folder)

    @cached_property
    def _report(self) -> Report:
        return report_of(self._tables)

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: how it ended. The columns of runs.csv."""
        return self._tables.runs

    @property
    def traces(self) -> pd.DataFrame:
        """One row per run and record: losses, accuracies. The columns of traces.parquet."""
        return self._tables.traces

    @property
    def params(self) -> pd.DataFrame | None:
        """One row per run and record with its parameters, where they were recorded."""
        return self._tables.params

    @property
    def summary(self) -> pd.DataFrame:
        """One row per optimizer, the best first. The columns of summary.csv."""
        return self._report.numbers["summary.csv"]

    @property
    def comparisons(self) -> pd.DataFrame:
        """One row per setting and pair of optimizers. The columns of comparisons.csv."""
        return self._report.numbers["comparisons.csv"]

    @property
    def verdict(self) -> str:
        """Which optimizer is the best here, and how sure that is, in words."""
        contests = self._report.contests
        heads = [f"{problem}: " if len(contests) > 1 else "" for problem in contests]
        words = [" ".join(statistics.verdict(each.comparison)) for each in contests.values()]
        return "\n".join(head + text for head, text in zip(heads, words, strict=True))

    def chart(self, name: str = "traces", problem: str | None = None) -> ChartView:
        """Return an interactive chart of the page, which notebooks show.

        Parameters
        ----------
        name : "traces", "targets", "profiles", …; a wrong one is answered with all that there are.
        problem : which one, in an experiment of several; None for the first.

        Raises
        ------
        UserError
            When there is no such chart.
        """
        contests = self._report.contests
        contest = contests[_one_of(contests, problem or next(iter(contests)), "problem")]
        charts = {chart.name: chart for chart in [*contest.charts, *self._report.paths.charts]}
        return ChartView(charts[_one_of(charts, name, "chart")])

    def figure(
        self, name: str = "traces", width: float | None = None, font_size: float = FONT_SIZE
    ) -> Figure:
        """Draw a static figure, for a paper.

        Parameters
        ----------
        name : "traces", "learning-rates", …; a wrong one is answered with all that there are.
        width : in inches; None for that of the page.
        font_size : of its letters, in points, where a width is given.

        Raises
        ------
        UserError
            When there is no such figure.
        """
        drawings = {
            name: each for name, each in self._report.drawings.items() if not isinstance(each, Chart)
        }
        drawing = drawings[_one_of(drawings, name, "figure")]
        return drawing.figure() if width is None else drawing.sized(width, font_size)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page of this experiment as one file, and return its path."""
        path = Path(path)
        return write_report(self.folder.parent, [self.folder.name], page=path.resolve())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        table = self._shown().to_html(index=False, float_format="{:.4g}".format)
        words = "".join(f"<p>{line}</p>" for line in map(escape, self.verdict.split("\n")))
        return {"text/plain": str(self), "text/html": f"{words}{table}"}

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{self._shown().to_string(index=False, float_format='{:.4g}'.format)}"

    def _shown(self) -> pd.DataFrame:
        """Return the columns of the summary that say most."""
        names = ["problem", *SHOWN]
        return self.summary[[name for name in names if name in self.summary]].dropna(axis=1, how="all")


@dataclass(frozen=True)
class ChartView:
    """A chart of the page, which a notebook shows; `spec` is Vega-Lite with its data."""

    chart: Chart = field(repr=False)

    @property
    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite."""
        return self.chart.whole_spec()

    def save(self, path: str | Path) -> Path:
        """Write the chart as it is first shown, as .png or .svg, and return its path."""
        path = Path(path)
        files = self.chart.files()
        path.write_bytes(files[self.chart.name + _one_of([".png", ".svg"], path.suffix, "format")])
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        version = self.spec["$schema"].rpartition("/v")[2].partition(".")[0]
        png = self.chart.files(DOTS_IN_A_NOTEBOOK)[f"{self.chart.name}.png"]
        return {
            f"application/vnd.vegalite.v{version}+json": self.spec,
            "image/png": base64.b64encode(png).decode(),  # where charts are not drawn
            "text/plain": f"{self.chart.heading}: {self.chart.alt}",
        }


def _one_of(known: Iterable[str], name: str, kind: str) -> str:
    """Return a name that is known, or tell those that are."""
    if name not in known:
        raise UserError(f"there is no {kind} {name!r}; there are: {join_words(list(known))}")
    return name
