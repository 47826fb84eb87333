"""What the processes do that test_kills.py kills."""

import time
from types import SimpleNamespace

from pictures import png

from optimlab.experiment.load import load
from optimlab.report import page
from optimlab.storage.store import Store

PICTURES = {f"rates-{n}.png": png(80, n) for n in range(60)}


class Drawing:
    """Drawings that take no time, or all of it."""

    def __init__(self, *, ends=True):
        self.ends = ends

    def files(self):
        """Return PICTURES."""
        if not self.ends:
            time.sleep(600)
        return PICTURES


class Report:
    """A report whose numbers and pictures take no time: writing them is what is disturbed."""

    blocks = ()

    def __init__(self, tables, drawings):
        self.tables, self.drawings = tables, drawings
        self.numbers = {"summary.csv": tables.runs, "targets.csv": tables.traces}


def report(results):
    """Write the files of `plots`."""
    page.make_reports = lambda tables, *_: [Report(each, {"all": Drawing()}) for each in tables]
    page.write_section = lambda *_: SimpleNamespace(title="", has_charts=False, warnings=[])
    page._html_of = lambda section: ""
    page.render = lambda sections: "the page" * 10_000
    page.write_report(results)


def draw_without_end(results):
    """Be at the figures of `plots`, on two workers that never finish one."""
    page.ROWS_WORTH_A_WORKER, page.cpu_count = 1, lambda: 2
    endless = {name: Drawing(ends=False) for name in PICTURES}
    page.make_reports = lambda tables, *_: [Report(each, endless) for each in tables]
    page.write_report(results)


def prune(results, file):
    """Delete what `prune` deletes."""
    store = Store(results / "tiny")
    with store.held():
        store.prune(load(file))
