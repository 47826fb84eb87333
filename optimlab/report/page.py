"""The page: from finished tables to results/report.html and the figures beside them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from importlib import import_module, resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from joblib import cpu_count, delayed
from markupsafe import Markup

from optimlab.files import Folder, check_writable, experiment_folder, only_writer
from optimlab.formatting import join_words
from optimlab.hints import PAGE
from optimlab.messages import collected, warn
from optimlab.pool import Pool, in_order, numbered_call
from optimlab.report.figures.static import data_url, picture_file
from optimlab.report.library import library
from optimlab.report.report import Follow, Report, labels_of, make_reports, silently, with_finals
from optimlab.report.section import Section, write_section
from optimlab.report.style import missing_letters, series_styles
from optimlab.storage.drawn import Drawn, Record, keep
from optimlab.storage.results import Tables, read_experiments
from optimlab.storage.tables import write_csv

RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"  # letters of Hebrew, Arabic and others
Files = dict[str, bytes]  # path in the experiment's folder → content
ROWS_WORTH_A_WORKER = 20_000  # of traces: counting fewer takes less time than starting a process


def write_report(results: Path, experiments: list[str] | None = None, follow: Follow = silently) -> Path:
    """Write results/report.html, and beside each experiment's tables its summary.csv and figures.

    Parameters
    ----------
    results : the results folder, with one folder per experiment.
    experiments : the experiments to show; by default all that can be read.
    follow : wraps each sequence of tasks to show progress: a progress bar's ``track``.

    Returns
    -------
    The path of the page.

    Raises
    ------
    NothingToReport
        If there is no table of runs, or it cannot be read.
    UserError
        If another process is writing a report there, or this user may not.
    """
    drawn = Drawn(results, experiments)
    with collected() as left_out:
        tables = [with_finals(each) for each in read_experiments(results, experiments)]
    folder = Folder(results)
    with only_writer(folder), collected() as warnings:
        folder.refuse_link(PAGE)
        for each in tables:
            folder.folder(each.folder.name).folder("figures").refuse_links()
        folder.remove_temporaries(PAGE)
        sections, files = _draw_sections(tables, drawn, follow)
        for name, contents in files.items():
            own = folder.folder(name)
            own.folder("figures").create()
            for path, content in contents.items():
                where = own.folder("figures") if "/" in path else own
                where.write(Path(path).name, content)
        for section in sections:
            _tidy(folder.folder(section.name), section)
        content = render(sections).encode()
        folder.write(PAGE, content)
        if not left_out:  # otherwise the warnings must be given again each time
            digests = {path: digest for section in sections for path, digest in section.files.items()}
            digests[PAGE] = sha256(content).hexdigest()
            keep(drawn.page, Record(digests, warnings))
    return results / PAGE


def page_alone(tables: Tables) -> tuple[bytes, Files]:
    """Return the page of one experiment, and the tables and figures that belong to it.

    Nothing is written: the page embeds its pictures and has no links to files.
    """
    sections, files = _draw_sections([with_finals(tables)], None, silently)
    return render(sections).encode(), files[tables.folder.name]


def _draw_sections(
    tables: list[Tables], drawn: Drawn | None, follow: Follow
) -> tuple[list[Record], dict[str, Files]]:
    """Draw the tables and figures of all experiments.

    Parameters
    ----------
    tables : the tables of each experiment.
    drawn : records of what has been drawn before; None for sections of a page that embeds its pictures
        and has no links to files.
    follow : see `write_report`.

    Returns
    -------
    The sections of the page, and experiment → the files that have been drawn now.
    """
    labels = [label for each in tables for label in labels_of(each)]
    styles = series_styles(list(dict.fromkeys(labels)))
    missing = missing_letters(styles)
    if missing:
        warn(f"no installed font has {missing}: figures show boxes in their place")
    names = [each.folder.name for each in tables]
    style_texts = [repr([(label, styles[label]) for label in labels_of(each)]) for each in tables]
    before = {
        name: drawn.found(drawn.section(name, text)) if drawn else None
        for name, text in zip(names, style_texts, strict=True)
    }
    todo = [each for each in tables if before[each.folder.name] is None]
    if drawn:
        for each in todo:
            check_writable(experiment_folder(each.folder))
    rows = sum(len(each.traces) for each in todo)
    jobs = min(cpu_count(), 1 + rows // ROWS_WORTH_A_WORKER)
    prepare = partial(import_module, __name__)
    with nullcontext() if jobs == 1 else Pool(numbered_call, jobs, prepare) as pool:
        with collected() as amiss:
            reports = make_reports(todo, styles, pool, follow)
        files = _draw(reports, pool, follow)
    after = {
        report.tables.folder.name: _recorded(
            report, files[report.tables.folder.name], is_alone=drawn is None
        )
        for report in reports
    }
    sections = []
    for name, style_text in zip(names, style_texts, strict=True):
        known = before[name]
        if known:
            for text in known.warnings:
                warn(text)
        elif drawn and not amiss:
            keep(drawn.section(name, style_text), after[name])
        sections.append(known or after[name])
    return sections, files


def _tidy(folder: Folder, section: Record) -> None:
    """Delete the remains of earlier reports: of killed processes, and of optimizers since removed."""
    figures = folder.folder("figures")
    figures.remove_temporaries()
    for path in section.files:
        if path.count("/") == 1:
            folder.remove_temporaries(Path(path).name)
    for pattern in ("rates-*", "paths-*", "plane.*"):
        for name in figures.names(pattern):
            if f"{folder.path.name}/figures/{name}" not in section.files:
                figures.delete(name)


def _recorded(report: Report, files: Files, *, is_alone: bool) -> Record:
    """Return the record of an experiment: its section, and the files written for it.

    Parameters
    ----------
    report : the report on it.
    files : the files drawn for it.
    is_alone : whether the page embeds its pictures and has no links to files.
    """
    name = report.tables.folder.name
    pictures = {
        Path(path).stem: picture_file(
            data_url(content) if is_alone else quote(f"{name}/{path}"), content
        )
        for path, content in files.items()
        if path.endswith(".png")
    }
    with collected() as warnings:
        section = write_section(report, pictures)
        if section.warnings:
            at_edge = join_words([end.optimizer for end in section.warnings])
            what = "learning rate is at the end of the grid"
            what = what if section.is_rate_grid else "candidate is at the end of a range"
            warn(f"{name}: the best {what} for {at_edge}; the page has the lines that widen it")
    if is_alone:
        section = replace(section, files=[])
    digests = {f"{name}/{path}": sha256(content).hexdigest() for path, content in files.items()}
    return Record(digests, warnings, name, section.title, _html_of(section), section.has_charts)


def _html_of(section: Section) -> str:
    """Return a section of the page without its heading; text from outside is escaped."""
    return _environment().get_template("section.html.j2").render(s=section)


def _draw(reports: list[Report], pool: Pool | None, follow: Follow) -> dict[str, Files]:
    """Return the files of each experiment: its tables as CSV, and its figures."""
    drawings = [report.drawings for report in reports]
    every = [delayed(each.files)() for drawing in drawings for each in drawing.values()]
    drawn = iter(follow(in_order(every, pool), total=len(every), description="drawing"))
    files = {}
    for report, drawing in zip(reports, drawings, strict=True):
        pictures = {name: content for _ in drawing for name, content in next(drawn).items()}
        for block in report.blocks:
            for figure in block.figures:
                pictures = figure.files | pictures
        numbers = {name: write_csv(table) for name, table in report.numbers.items()}
        figures = {f"figures/{name}": content for name, content in pictures.items()}
        files[report.tables.folder.name] = numbers | figures
    return files


def render(sections: list[Record]) -> str:
    """Return the page as HTML, made of the sections' HTML."""
    script = resources.files("optimlab.report").joinpath("page.js").read_text(encoding="utf-8")
    titles = [section.title for section in sections]
    sections = [
        replace(section, title=f"{section.title} ({section.name})")
        if titles.count(section.title) > 1
        else section
        for section in sections
    ]
    scripts = [library(), script] if any(section.has_charts for section in sections) else [script]
    template = _environment().get_template("template.html.j2")
    return unbroken(template.render(sections=sections, scripts=scripts))


@cache
def _environment() -> Environment:
    """Return the template environment, which escapes all text from outside."""
    environment = Environment(
        loader=PackageLoader("optimlab", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sortable": _sortable, "packed": _packed, "csp": _csp, "trusted": Markup}
    environment.filters["join_words"] = join_words
    return environment


def unbroken(page: str) -> str:
    """Keep each number in a page's text on one line with its unit, relation sign and bracket.

    An interval stays on one line, too, and a number after a label that is written from right to left
    stays to the right of it.
    """
    skipped = r"<(pre|script|style)\b.*?</\1>|<[^>]*>"
    interval = r"(?<=\[)[−\d∞][^\s,<\]]*(?: %)?, [−\d∞][^\s,<\]]*(?: %)?(?=\])"
    before_unit = r"(?<=\d) (?=(?:%|[µm]?s|min|h|[kMG]?B|nats)(?!\w))|(?<=[\d%]) (?=\()"
    at_sign = r"(?<=[=≤≥]) (?=[\d−∞])|(?<=[gl]t;) (?=\d)| (?=(?:[=≤≥]|&[gl]t;) )"
    at_to = r"(?<=[\d∞⁰¹²³⁴⁵⁶⁷⁸⁹]) (?=to [−\d∞])|(?<=[\d∞⁰¹²³⁴⁵⁶⁷⁸⁹] to) (?=[−\d∞])"
    after_dash = r"(?<=[\d∞⁰¹²³⁴⁵⁶⁷⁸⁹]–)(?=[\d∞])"
    turned = rf"(?<=[{RIGHT_TO_LEFT}])(?=\W*[\d∞])"
    spaces = "|".join([interval, before_unit, at_sign, at_to])
    pattern = re.compile(rf"{skipped}|({spaces})|({after_dash})|({turned})", re.DOTALL)
    marks = {3: "\N{WORD JOINER}", 4: "\N{LEFT-TO-RIGHT MARK}"}

    def mended(found: re.Match[str]) -> str:
        if found.lastindex == 2:
            return found[0].replace(" ", "\N{NO-BREAK SPACE}")
        return marks.get(found.lastindex or 0, found[0])

    return pattern.sub(mended, page)


def _sortable(value: Any) -> str:
    """Return the sort key of a cell, as JavaScript reads it; missing values come last."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "Infinity"
    return "Infinity" if value == np.inf else "-Infinity" if value == -np.inf else f"{value}"


def _packed(value: Any) -> str:
    """Return a value as JSON, compressed by gzip, in base64; the result is reproducible."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def _csp(script: str) -> Markup:
    """Return the Content-Security-Policy source that allows exactly this script to run."""
    return Markup(f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'")  # noqa: S704
