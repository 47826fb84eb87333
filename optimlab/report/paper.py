"""For a paper or slides: the ranked table as LaTeX, Markdown or CSV, and figures at a given size."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

from optimlab.errors import UserError
from optimlab.formatting import SUPERSCRIPTS, fixed, join_words, number, rounded_up, short, split_name
from optimlab.metrics import REPORTED
from optimlab.report.blocks.costs import time_drawing
from optimlab.report.blocks.ranking import too_few
from optimlab.report.figures import plots
from optimlab.report.figures.comparisons import comparison_figures
from optimlab.report.figures.static import Drawing, slug, static_figures
from optimlab.report.problem_result import ProblemResult
from optimlab.report.report import Report
from optimlab.statistics.problems import problem_of, problems_of
from optimlab.statuses import BAD

PRINT_DOTS_AN_INCH = 300
MOST_DECIMALS = 5
LETTERS_OF_A_CELL, LETTERS_OF_A_HEAD = 28, 12  # of a line, in a table of LaTeX
LINES_OF_A_PAGE = 38  # of a table, beside its caption and head
LAST_OF_PDFLATEX = 0x17F  # of Unicode's letters: the Latin ones
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "\N{NO-BREAK SPACE}": "~",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "²": "$^2$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
}
NOT_IN_LABEL = re.compile(
    r"[^A-Za-z0-9:.+\-\u0080-\U0010ffff]+"
)  # letters of any language may be in one
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
NOT_IN_LATEX = {"omicron", "Alpha", "Beta", "Epsilon", "Zeta", "Eta", "Iota", "Kappa", "Mu", "Nu"}
POWER = re.compile(r"(×?)10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
FROM_SUPERSCRIPTS = str.maketrans({chr(to): chr(letter) for letter, to in SUPERSCRIPTS.items()})


@dataclass(frozen=True)
class PaperTable:
    """A table of results.

    Attributes
    ----------
    name, caption : the experiment's name; what the numbers are.
    columns : their heads, that of the optimizer first.
    rows : problem → a row of cells for each optimizer, the best first.
    """

    name: str
    caption: str
    columns: list[str]
    rows: dict[str, list[list[str]]]

    @property
    def flat(self) -> list[list[str]]:
        """All rows with their head; of several problems, the problem comes first."""
        head = ["Problem"] if len(self.rows) > 1 else []
        body = [[problem] * len(head) + row for problem, rows in self.rows.items() for row in rows]
        return [head + self.columns, *body]


def paper_table(report: Report) -> PaperTable:
    """Return the ranked table of an experiment, with intervals."""
    columns: list[str] = []
    cells: dict[str, list[dict[str, str]]] = {}
    for problem, result in report.by_problem.items():
        rows = [_cells(row, result) for row in result.comparison.summary.to_dict("records")]
        for row in rows:
            columns += [head for head in row if head not in columns]
        cells[problem] = rows
    rows_of = {
        problem: [[row.get(head, "–") for head in columns] for row in rows]
        for problem, rows in cells.items()
    }
    title = str(report.tables.experiment.get("title") or report.tables.folder.name)
    return PaperTable(report.tables.folder.name, f"{title}. {_caption(report)}", columns, rows_of)


def _cells(row: dict[Any, Any], result: ProblemResult) -> dict[str, str]:
    """Return head → cell of an optimizer, for the numbers that it has."""
    summary = result.comparison.summary
    basis = result.comparison.basis
    cells = {"Optimizer": str(row["optimizer"])}
    if result.comparison.is_only_rate:
        cells["Learning rate"] = number(row["learning_rate"])
    else:
        cells["Chosen"] = f"rate {row['hyperparameters']}"
    cells[f"{split_name(basis.loss).capitalize()} loss"] = _interval(row, "final_loss")
    if summary["default_loss_median"].notna().any():
        cells["Untuned"] = short(row["default_loss_median"])
    for metric in REPORTED:
        median = f"final_{metric.name}_median"
        if median in summary and summary[median].notna().any():
            split = split_name(str(row.get(metric.name) or basis.loss)).capitalize()
            unit = " (%)" if metric.is_share else ""
            times = 100 if metric.is_share else 1
            cells[f"{split} {metric.label}{unit}"] = _interval(row, f"final_{metric.name}", times)
    wrong = summary[[f"runs_{status.name}" for status in BAD]]
    if wrong.to_numpy().any():
        bad = sum(int(row[name]) for name in wrong)
        cells["Went wrong"] = f"{bad} of {int(row['runs_ok']) + bad}"
    if len(summary) > 1:
        cells["p"] = _p_value(float(row["p_value_to_best"]))
    return cells


def _interval(row: dict[Any, Any], name: str, times: float = 1) -> str:
    """Return a median and its interval, with enough decimals to tell the interval's ends apart."""
    parts = ("median", "interval_low", "interval_high")
    middle, low, high = (times * float(row.get(f"{name}_{part}", math.nan)) for part in parts)
    half = (high - low) / 2
    decimals = math.ceil(-math.log10(half / 2)) if 0 < half < math.inf else MOST_DECIMALS + 1

    is_fixed = decimals <= MOST_DECIMALS and math.isfinite(middle)

    def wording(value: float) -> str:
        return fixed(value, max(decimals, 0)) if is_fixed else short(value)

    if math.isnan(low) or math.isnan(high):
        return short(middle)
    return f"{wording(middle)} [{wording(low)}, {wording(high)}]"


def _p_value(value: float) -> str:
    return "–" if math.isnan(value) else "<0.001" if value < 0.001 else rounded_up(value)


def _caption(report: Report) -> str:
    comparison = next(iter(report.by_problem.values())).comparison
    summary = comparison.summary
    seeds = int(summary["seeds"].iloc[0])
    is_tuned = bool((summary["learning_rate_edge"] != "only").any())
    chosen = f", {comparison.tuned} chosen on other seeds" if is_tuned else ""
    on_same = is_tuned and summary["reported_on"].iloc[0] != "reporting"
    chosen = f", {comparison.tuned} chosen on the same seeds" if on_same else chosen
    text = f"Final values, medians over {seeds} seeds with 95 % intervals{too_few(summary)}{chosen}."
    return text + " p: of the difference to the first, adjusted for all claims." * (len(summary) > 1)


def latex(table: PaperTable) -> str:
    """Return a table as LaTeX, for a document to include; it needs the packages booktabs and graphicx.

    Long cells are broken into lines, and what is still wider than the text is scaled down to it. The
    problems of a table that is too long for a page are divided among several.
    """
    lines = ["% \\usepackage{booktabs,graphicx}"]
    texts = [latex_text(text) for row in [*table.flat, [table.caption]] for text in row]
    strange = "".join(sorted({c for text in texts for c in text if ord(c) > LAST_OF_PDFLATEX}))
    if strange:
        lines.append(f"% pdfLaTeX lacks {strange} and LuaLaTeX or XeLaTeX need a font that has them")
    parts: list[list[str]] = [[]]
    for problem, rows in table.rows.items():
        block = [f"{' & '.join(map(_latex_cell, row))} \\\\" for row in rows]
        if len(table.rows) > 1:
            across = rf"\multicolumn{{{len(table.columns)}}}{{@{{}}l@{{}}}}"
            name = rf"{across}{{\emph{{{latex_text(problem)}}}}} \\"
            block = [r"\midrule", name, *block]
        else:
            block = [text for row in block for text in (r"\midrule", row)]
        if parts[-1] and _height([*parts[-1], *block]) > LINES_OF_A_PAGE:
            parts.append([])
        parts[-1] += block
    for index, part in enumerate(parts, start=1):
        more = f" Part {index} of {len(parts)}." if len(parts) > 1 else ""
        label = NOT_IN_LABEL.sub("-", table.name) + (f"-{index}" if index > 1 else "")
        lines += [
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_text(table.caption + more)}}}",
            rf"\label{{tab:{label}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{@{{}}l{'r' * (len(table.columns) - 1)}@{{}}}}",
            r"\toprule",
            f"{' & '.join(_latex_cell(head, LETTERS_OF_A_HEAD, 'b') for head in table.columns)} \\\\",
            *part,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    return "\n".join([*lines, ""])


def _height(lines: Sequence[str]) -> int:
    """Return the number of lines of text in rows of LaTeX, where a cell may have several."""
    return sum(1 + max((cell.count(r"\\") for cell in line.removesuffix(r"\\").split(" & ")), default=0)
               for line in lines if line != r"\midrule")  # fmt: skip


def _latex_cell(text: str, letters: int = LETTERS_OF_A_CELL, at: str = "t") -> str:
    """Return a cell as LaTeX, in lines of that many letters; an interval is not broken."""
    lines = wrap(text.replace(", ", ",\N{NO-BREAK SPACE}") if "[" in text else text, letters)
    if len(lines) < 2:
        return latex_text(text)
    side = "r" if "[" in text or at == "b" else "l"
    broken = r"\\".join(map(_latex_line, lines))
    return rf"\begin{{tabular}}[{at}]{{@{{}}{side}@{{}}}}{broken}\end{{tabular}}"


def _latex_line(text: str) -> str:
    """Return a line of a cell; after a line break, LaTeX takes a bracket for a length."""
    return ("{}" if text.startswith("[") else "") + latex_text(text)


def latex_text(text: str) -> str:
    """Return a text escaped for LaTeX."""
    parts, end = [], 0
    for found in POWER.finditer(text):
        times = r"\times" if found[1] else ""
        parts.append(_escaped(text[end : found.start()]))
        parts.append(f"${times}10^{{{found[2].translate(FROM_SUPERSCRIPTS)}}}$")
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter) or _greek(letter) or letter for letter in text)


def _greek(letter: str) -> str:
    """Return a Greek letter as a command; "" for another, or for one that looks like a Latin one."""
    found = GREEK.fullmatch(unicodedata.name(letter, ""))
    if not found:
        return ""
    name = found[2].lower() if found[1] == "SMALL" else found[2].title()
    return "" if name in NOT_IN_LATEX else rf"$\{name}$"


def markdown(table: PaperTable) -> str:
    """Return a table as Markdown, with its caption below."""
    head, *rows = [[re.sub(r"([\\|`*_<>])", r"\\\1", cell) for cell in row] for row in table.flat]
    texts = 1 + (len(table.rows) > 1)
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    lines = [f"| {' | '.join(row)} |" for row in [head, rule, *rows]]
    return "\n".join([*lines, "", table.caption, ""])


def as_csv(table: PaperTable) -> str:
    """Return a table as CSV, with its cells as printed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table.flat)
    return text.getvalue()


TABLES: dict[str, tuple[str, Callable[[PaperTable], str]]] = {
    "latex": ("table.tex", latex),
    "markdown": ("table.md", markdown),
    "csv": ("table.csv", as_csv),
}
FORMATS = ("pdf", "svg", "png")
FIGURES = {  # kind → title
    "traces": "Loss",
    "accuracy": "Final accuracy",
    "learning-rates": "Final loss by learning rate",
    "rates": "Loss at every learning rate",
    "targets": "Time to a target",
    "profiles": "All targets",
    "budget": "What tuning buys",
    "wins": "Win rates",
    "pairs": "Differences",
    "time": "Loss over processor time",
    "paths": "Paths",
}


def paper_figures(
    report: Report, seeds: int | None = None, only: Collection[str] = ()
) -> dict[str, tuple[str, Drawing]]:
    """Return name → title and figure of an experiment, or of each of its problems.

    Parameters
    ----------
    report : of the experiment.
    seeds : how many seeds are drawn as faint lines; None for all.
    only : kinds of `FIGURES`, or names of figures; all figures if empty.

    Raises
    ------
    UserError
        When the experiment has no figure of a name or kind.
    """
    tables = report.tables
    several = len(report.by_problem) > 1
    found: dict[str, tuple[str, Drawing]] = {}
    kinds = dict.fromkeys(report.paths.figures, "paths")
    parts = problems_of(tables.runs, tables.traces)
    for index, (problem, result) in enumerate(report.by_problem.items(), start=1):
        comparison = result.comparison
        summary = comparison.summary
        name = problem or problem_of(result.runs)
        drawings = {
            **static_figures(result.runs, parts[problem][1], summary, report.styles, result.unit),
            **comparison_figures(result.charts, comparison, report.styles, result.unit),
            **time_drawing(name, result, tables, report.styles),
        }
        is_tuned = bool((summary["learning_rate_edge"] != "only").any())
        setting = f"tuned {comparison.tuned}" if is_tuned else f"given {comparison.tuned}"
        for name, drawing in drawings.items():
            prefix = f"{index}-{slug(problem, 'problem')}-" if several else ""
            where = f"{problem}: " if several else ""
            title = where + _title(name, list(report.styles), setting)
            found[prefix + name] = title, _with_fewer_seeds(drawing, seeds)
            kinds[prefix + name] = "rates" if name.startswith("rates-") else name
    for name, drawing in report.paths.figures.items():
        found[name] = "Paths at the tuned learning rates", drawing
    unknown = [each for each in only if each not in found and each not in kinds.values()]
    if unknown:
        raise UserError(f"there is no figure {unknown[0]!r}; there are: {join_words(list(found))}")
    return {
        name: each for name, each in found.items() if not only or name in only or kinds[name] in only
    }


def _title(name: str, labels: list[str], setting: str) -> str:
    if name.startswith("rates-"):
        return f"{labels[int(name.split('-')[1]) - 1]} at every learning rate"
    without_setting = ("learning-rates", "budget")
    return FIGURES[name] if name in without_setting else f"{FIGURES[name]}, {setting}"


def _with_fewer_seeds(drawing: Drawing, seeds: int | None) -> Drawing:
    """Return a figure with faint lines for the first seeds only."""
    if seeds is None or drawing.draw not in (plots.traces_figure, plots.rates_figure):
        return drawing
    bands, traces, *others = drawing.tables
    kept = sorted(traces["seed"].unique())[:seeds]
    return replace(drawing, tables=(bands, traces[traces["seed"].isin(kept)], *others))


def printed(
    name: str, title: str, drawing: Drawing, formats: list[str], width: float, font_size: float
) -> dict[str, bytes]:
    """Return a figure as files, with text as text: name with suffix → content.

    Parameters
    ----------
    name, title, drawing : of the figure.
    formats : of `FORMATS`.
    width : in inches.
    font_size : of its labels, in points.
    """
    figure = drawing.sized(width, font_size, title)
    ways: dict[str, Callable[[], bytes]] = {
        "pdf": lambda: plots.pdf(figure),
        "svg": lambda: plots.svg(figure, **{"svg.fonttype": "none"}),
        "png": lambda: plots.png_of(figure, PRINT_DOTS_AN_INCH),
    }
    return {f"{name}.{each}": ways[each]() for each in formats}


def read_length(text: str) -> float:
    """Return the inches of a length such as 3.3in, 8.4cm, 84mm or 240pt.

    Raises
    ------
    ValueError
        When it is none, or no width of a figure.
    """
    inches = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(in|cm|mm|pt)", text)
    length = float(found[1]) * inches[found[2]] if found else math.nan
    if not 1 <= length <= 40:
        right = "a length of 1 to 40 inches, such as 3.3in, 84mm or 240pt"
        raise ValueError(f"must be {right}, got {text!r}")
    return length
