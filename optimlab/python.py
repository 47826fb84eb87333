"""The interface for Python and notebooks: run an experiment, and use its result.

>>> import optimlab
>>> settings = {"learning_rates": [0.001, 0.01, 0.1], "epochs": 5}
>>> result = optimlab.compare("SGD", "Adam", problem="digits", **settings)  # doctest: +SKIP
>>> print(result.verdict)  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console

from optimlab import statistics
from optimlab.data import Dataset
from optimlab.data.arrays import table_of
from optimlab.errors import UserError, printable
from optimlab.execution.sweep import sweep
from optimlab.experiment.load import UNREADABLE, check, find, load
from optimlab.experiment.names import NAME_RULE, is_legal_name
from optimlab.experiment.own import METHODS
from optimlab.experiment.registry import LIBRARIES
from optimlab.experiment.spec import Experiment
from optimlab.files import check_writable, expanded, results_at
from optimlab.formatting import join_words, toml_document
from optimlab.notebook import name_of, written_data
from optimlab.optimizers import RULES
from optimlab.problems import PROBLEMS, Table
from optimlab.progress import Progress
from optimlab.report.figures.static import FONT_SIZE
from optimlab.report.page import write_report
from optimlab.report.paper import paper_figures
from optimlab.report.report import Report, report_of
from optimlab.report.vega import Chart
from optimlab.schedules import SCHEDULES
from optimlab.storage.results import Tables, read_tables
from optimlab.validation import can_be_kept

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (  # columns of the summary, in a notebook
    *("rank", "optimizer", "learning_rate", "hyperparameters"),
    *("final_loss_median", "final_loss_interval_low"),
    *("final_loss_interval_high", "worse_than_best", "final_accuracy_median", "final_r2_median"),
)
MOST_SHOWN = 80  # characters of a wrong value in a message
DOTS_IN_A_NOTEBOOK = 100  # per inch, of the chart images stored in a notebook
OPTIMIZER = ("init", "gradient_point", "step")
TRAINING = ("epochs", "steps", "record_every", "record_params")
# Optimlab's own classes → the key of a table that names them, and their name.
KINDS = {
    kind: (key, name)
    for key, kinds in (("name", PROBLEMS), ("name", SCHEDULES), *Table.PARTS.values())
    for name, kind in kinds.items()
}
# Keys whose values may be classes, functions or objects. For CALLED, the object itself is called;
# for CLASSES, optimlab creates the object.
CODE = {"name", "data", "loss", "metrics", "hidden", "layer", "schedule", "rule", "report"}
CALLED = {"metrics", "schedule", "report"}
CLASSES = {"rule": "an optimizer", "layer": "a layer", "hidden": "a layer"}
Optimizers = Mapping[str, "Mapping[str, Any] | type | str | None"] | Sequence["str | type"]


def run(
    experiment: str | Path | Experiment | None = None,
    *,
    results: str | Path | None = None,
    jobs: int | None = None,
    progress: bool | None = None,
    **document: Any,
) -> Result:
    """Train the missing runs of an experiment, and return its result.

    Parameters
    ----------
    experiment : the name of an experiment, a TOML file, or the result of `build_experiment`; or None,
        with the arguments of `build_experiment` as further arguments.
    results : the folder of all results, whose finished runs are not repeated; None for a temporary
        folder, which is deleted with the result.
    jobs : the number of worker processes; None for one per core.
    progress : whether to show progress on stderr; None for a terminal or a notebook only.

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
    is_count = isinstance(jobs, int | np.integer) and not isinstance(jobs, bool) and jobs >= 1
    if jobs is not None and not is_count:
        raise UserError(f"jobs: must be a whole number, 1 or more, got {_shown(jobs)}")
    if progress is not None and not isinstance(progress, bool | np.bool_):
        raise UserError(f"progress: must be True, False or None, got {_shown(progress)}")
    kept: Path | None = None
    if results is not None:
        try:
            _path("results", results)
            kept = results_at(results)
        except ValueError as error:
            raise UserError(f"results: {error}") from None
    if experiment is None:
        checked = build_experiment(**document)
    elif isinstance(experiment, Experiment):
        checked = experiment
    else:
        checked = load(find(str(_path("experiment", experiment))))
    folder = kept or Path(tempfile.mkdtemp(prefix="optimlab-"))
    check_writable(folder / checked.name)
    result = Result(folder / checked.name)
    if results is None:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    is_seen = console.is_terminal or console.is_jupyter if progress is None else progress
    console.quiet = not is_seen
    sweep(checked, folder, jobs, Progress(console))
    return result


def compare(*optimizers: str | type | Optimizers, **document: Any) -> Result:
    """Compare optimizers on a problem: `run` with the optimizers as positional arguments.

    Parameters
    ----------
    optimizers : names of rules, texts ``"file.py:ClassName"``, or classes; or all of them as one list,
        or as one dictionary: label → settings.
    document : further arguments of `run` and `build_experiment`.
    """
    if "optimizers" in document:
        raise UserError("optimizers: they are the positional arguments of compare")
    optimizers = tuple(map(_listed, optimizers))
    is_one = len(optimizers) == 1 and isinstance(optimizers[0], Mapping | list | tuple)
    return run(optimizers=optimizers[0] if is_one else optimizers, **document)


def build_experiment(
    *,
    optimizers: Optimizers | None = None,
    problem: Any = None,
    problems: Mapping[str, Any] | None = None,
    seeds: int | tuple[int, int] | Mapping[str, int] | None = None,
    name: str = "experiment",
    folder: str | Path = ".",
    **keys: Any,
) -> Experiment:
    """Return a checked experiment from the keys of a TOML file.

    Parameters
    ----------
    optimizers : label → settings, with the hyper-parameters; or a list of rules, which are also their
        labels. A rule may be a class.
    problem, problems : the name of a problem or a data set, "file.py:Name", or a data file; or
        settings; or an object with the methods of a problem; or label → one of these. Data may be a
        DataFrame, in settings that name its target, (features, target), or a `Dataset`.
    seeds : (tuning, reporting); the number of reporting seeds; or a table as in the file.
    name : the name of the experiment and its folder of results.
    folder : the folder of ``"file.py:Name"``.
    keys : other keys: title, learning_rates, final, …; and those of [training]: epochs, steps,
        record_every and record_params.

    Raises
    ------
    UserError
        When the experiment has mistakes; the message lists them all.

    Notes
    -----
    Wherever the file takes ``"file.py:Name"``, a class, function or object may be given. Code that is
    not in a file in `folder` is written to ``from_notebook/`` there, with the code that it uses; its
    source identifies the runs. Data are written there, too.
    """
    if not isinstance(name, str) or not is_legal_name(name):
        raise UserError(f"name: must be {NAME_RULE}; got {name!r}")
    folder = _path("folder", folder)
    document: dict[str, Any] = {"title": keys.pop("title", name), **keys}
    training = {key: document.pop(key) for key in TRAINING if key in document}
    if training:
        document["training"] = {**_table("training", document.get("training", {})), **training}
    if problem is not None:
        document["problem"] = _problem("problem", problem, folder)
    if problems is not None:
        given = _table("problems", problems)
        document["problems"] = {
            label: _problem(f"problems.{label}", each, folder)
            for label, each in _labelled("problems", given)
        }
    if seeds is not None:
        document["seeds"] = _seeds(seeds)
    document["optimizers"] = dict(_optimizers(optimizers))
    try:
        tables = _plain(_named(document, folder, {}), "")
        text = toml_document(tables)
    except (RecursionError, ValueError):  # a list in itself, an integer of 5,000 digits
        raise UserError(UNREADABLE) from None
    return check(tables, text, folder / f"{name}.toml", source="")


def _path(name: str, given: Any) -> Path:
    """Return an argument that is a path, with ~ as the home folder."""
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise UserError(f"{name}: must be a path, got {_shown(given)}")
    return expanded(os.fspath(given))


def _shown(value: Any) -> str:
    """Return a wrong value for a message, on one line."""
    return printable(" ".join(repr(value).split()), MOST_SHOWN)


def _table(key: str, given: Any) -> dict[str, Any]:
    """Return a mapping as a table."""
    if not isinstance(given, Mapping):
        raise UserError(f"{key}: must be a dictionary, got {_shown(given)}")
    return dict(given)


def _labelled(key: str, given: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Return the items of a mapping with labels as text, which must differ: 1 is "1"."""
    labels = list(map(str, given))
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f'{key}: there are two labels "{twice}"; as text they must differ')
    return list(zip(labels, given.values(), strict=True))


def _listed(given: Any) -> Any:
    """Return an array, a column, an iterator or a view of a dictionary as a list."""
    if isinstance(given, Iterator | KeysView | ValuesView):
        return list(given)
    return given.tolist() if hasattr(given, "tolist") else given


def _seeds(given: Any) -> dict[str, Any]:
    """Return the table of seeds."""
    given = _listed(given)
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        return {"tuning": given[0], "reporting": given[1]}
    if not isinstance(given, int):
        raise UserError(f"seeds: must be a number, or two: (tuning, reporting); got {_shown(given)}")
    return {"reporting": given}


def _problem(key: str, given: Any, folder: Path) -> dict[str, Any]:
    """Return the settings of a problem that is a name, data, settings, or an object."""
    given = _text_of_path(given)
    if isinstance(given, str):
        return {"name" if given in PROBLEMS or ":" in given else "data": given}
    if isinstance(given, Mapping):
        settings = dict(given)
    elif isinstance(given, tuple | list | np.ndarray | pd.Series | Dataset) or _is_table(given):
        settings = {"data": given}
    elif type(given) is Table:
        settings = {**_settings_of(replace(given, data=""), folder, {}), "data": given.data}
    elif type(given) in KINDS:
        settings = _settings_of(given, folder, {})
    else:
        settings = {"name": given}
    if "name" in settings:
        _check_methods(f"{key}.name", settings["name"], METHODS, "a problem")
    return {**settings, **_data(key, settings, folder)}


def _data(key: str, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the keys of a problem's data, which are written to a file if they are a table."""
    data: Any = _text_of_path(_for_pandas(settings.get("data")))
    if hasattr(settings.get("target"), "shape"):
        right = "the name of a column; give arrays as data = (features, target)"
        raise UserError(f"{key}.target: must be {right}")
    if data is None:
        return {}
    own: dict[str, Any] = {}
    if isinstance(data, tuple) and len(data) == 2:
        data, targets = table_of(*map(_for_pandas, data))
        own = {"target": targets if len(targets) > 1 else targets[0]}
    if isinstance(data, pd.DataFrame):
        own |= {key: _names(settings[key]) for key in ("target", "ignore") if settings.get(key)}
        return {**own, "data": written_data(data, folder).relative_to(folder).as_posix()}
    if not isinstance(data, str | Dataset) and not callable(data):
        right = "a name, a DataFrame, (features, target), a Dataset, or a function that returns one"
        raise UserError(f"{key}.data: must be {right}; got {_shown(data)}")
    return {"data": data}


def _names(given: Any) -> Any:
    """Return names of columns as text, as they are in a file: 2 is "2"."""
    is_list = isinstance(_listed(given), list | tuple)
    return list(map(str, given)) if is_list else str(given) if isinstance(given, int) else given


def _text_of_path(given: Any) -> Any:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def _is_table(data: Any) -> bool:
    """Return whether data are a table of pandas or, as polars and pyarrow have it, become one."""
    return hasattr(data, "to_parquet") or hasattr(data, "to_pandas")


def _for_pandas(data: Any) -> Any:
    """Return data as a table of pandas if another library's table can become one."""
    return data.to_pandas() if hasattr(data, "to_pandas") and not isinstance(data, type) else data


def _check_methods(key: str, given: Any, methods: Sequence[str], kind: str) -> None:
    """Refuse a class or object that lacks a method."""
    if isinstance(given, str | FunctionType | partial):
        return
    missing = [name for name in methods if not callable(getattr(given, name, None))]
    if missing:
        what = given.__name__ if isinstance(given, type) else _shown(given)
        raise UserError(f"{key}: {what} is not {kind}: it lacks the method {missing[0]}")


def _optimizers(optimizers: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return label and settings of each optimizer."""
    optimizers = _listed(optimizers)
    if isinstance(optimizers, str | type):
        optimizers = [optimizers]
    if not isinstance(optimizers, Mapping):
        if not isinstance(optimizers, Sequence):
            right = "a list of rules, or a dictionary: label → settings"
            got = "" if optimizers is None else f"; got {_shown(optimizers)}"
            raise UserError(f"optimizers: must be given, as {right}{got}")
        optimizers = [_of_library(each) for each in optimizers]
        labels = [_label_of(each) for each in optimizers]
        repeated = [label for label in labels if labels.count(label) > 1]
        if repeated:
            text = f"{repeated[0]} is given twice: name the optimizers, with {{label: settings}}"
            raise UserError(text)
        optimizers = {label: {"rule": each} for label, each in zip(labels, optimizers, strict=True)}
    found = []
    for label, given in _labelled("optimizers", optimizers):
        is_table = given is None or isinstance(given, Mapping)
        settings: dict[str, Any] = dict(given or {}) if is_table else {"rule": given}
        rule = _of_library(settings.get("rule", ""))
        if not isinstance(rule, str | type):
            raise UserError(
                f"optimizers.{label}: {_shown(rule)} is not the class of an optimizer; give "
                'the class, with its hyper-parameters: {"rule": Adam, "beta1": 0.8}'
            )
        _check_methods(f"optimizers.{label}.rule", rule, OPTIMIZER, "an optimizer")
        found.append((label, {**settings, "rule": rule} if rule else settings))
    return found


def _of_library(rule: Any) -> Any:
    """Return the name of a rule of PyTorch or optax that is given itself: "torch:NAdam"."""
    module = str(getattr(rule, "__module__", ""))
    library = "torch" if module.startswith("torch.optim.") else module.partition(".")[0]
    is_rule = isinstance(rule, type | FunctionType) and library in LIBRARIES
    return f"{library}:{rule.__name__}" if is_rule else rule


def _label_of(rule: Any) -> str:
    """Return the label of a rule that is given without one."""
    if isinstance(rule, str):
        return rule.rpartition(":")[2]
    return str(getattr(rule, "__name__", type(rule).__name__))


def _named(value: Any, folder: Path, names: dict[str, Any], key: str = "") -> Any:
    """Return settings with classes, functions and objects replaced by names.

    Parameters
    ----------
    value : settings, or one of them.
    folder : the experiment's folder.
    names : name → its class or function; new names are added.
    key : the value's key.
    """
    if isinstance(value, Mapping):
        keys = {name: "schedule" if key == "schedules" else str(name) for name in value}
        return {name: _named(each, folder, names, keys[name]) for name, each in value.items()}
    if isinstance(value, list | tuple | Iterator | KeysView | ValuesView):
        return [_named(each, folder, names, key) for each in value]
    is_plain = value is None or isinstance(value, bool | int | float | str | range)
    if key not in CODE or is_plain or hasattr(value, "tolist"):
        return value
    if isinstance(value, type):
        if value in RULES.values():
            return value.__name__
        if value in KINDS:
            return KINDS[value][1]
    elif type(value) in KINDS:
        return _settings_of(value, folder, names)
    elif key in CLASSES and not callable(value):
        raise UserError(f"{key}: give {CLASSES[key]} as its class, not {_shown(value)}")
    name = name_of(value, folder, is_called=key in CALLED)
    is_code = isinstance(value, type | FunctionType)
    if is_code and names.setdefault(name, value) is not value:
        raise UserError(f"{key}: there are two different definitions of {value.__name__}: rename one")
    return name


def _settings_of(value: Any, folder: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Return the table of an object of optimlab: its name and its settings other than defaults."""
    key, name = KINDS[type(value)]
    given = {each.name: (getattr(value, each.name), each.default) for each in fields(value)}
    changed = {
        each: now  # a table of data equals nothing
        for each, (now, default) in given.items()
        if type(now) is not type(default) or now != default
    }
    return {key: name, **_named(changed, folder, names)}


def _plain(value: Any, key: str) -> Any:
    """Return a value as tables, lists, numbers and texts; `key` is its key."""
    if isinstance(value, Mapping):
        return {
            str(name): _plain(each, f"{key}.{name}".removeprefix("."))
            for name, each in value.items()
            if each is not None
        }
    value = _listed(value)
    if isinstance(value, list | tuple | range):
        return [_plain(each, f"{key}[{number}]") for number, each in enumerate(value, start=1)]
    if value is None or not isinstance(value, bool | int | float | str):
        raise UserError(f"{key}: must be a number, text, list or table, got {_shown(value)}")
    if isinstance(value, str) and not can_be_kept(value):
        raise UserError(f"{key}: must be UTF-8 text, got {_shown(value)}")
    return value


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
        object.__setattr__(self, "folder", _path("folder", self.folder))

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
        path = _path("path", path)
        return write_report(self.folder.parent, [self.folder.name], page=path.resolve())

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
        path = _path("path", path)
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
        raise UserError(f"{name}: must be a number from {least:g} to {most:g}, got {_shown(value)}")


def _one_of(known: Iterable[str], name: str, kind: str) -> str:
    """Return a name if it is known; otherwise list the known names in an error."""
    if name not in list(known):
        raise UserError(f"there is no {kind} {name!r}; there are: {join_words(list(known))}")
    return name
