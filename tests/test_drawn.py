"""Redrawing: a second `plots` draws only what has changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vl_convert
from sweeping import call, document, mostly_slow, run, tiny
from test_charts import without_pictures

from optimlab.report import page, report
from optimlab.report.figures.static import static_figures
from optimlab.report.library import library
from optimlab.storage import drawn


@pytest.fixture(scope="module")
def drawn_before(tmp_path_factory):
    """A folder with the results of two experiments, drawn with blank pictures, and the user's cache."""
    folder = tmp_path_factory.mktemp("drawn")
    for name in ("first", "second"):
        text = document(top=f"learning_rates = [0.1]\ndescription = '{name}'", seeds="reporting = 2")
        run(tiny(folder, text, name), folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        page.write_report(Path("results"))
    return folder


@pytest.fixture
def results(drawn_before, tmp_path, monkeypatch):
    """Results that have been drawn; their path is relative, and so the same as when they were."""
    for name in ("results", "cache"):
        shutil.copytree(drawn_before / name, tmp_path / name)
    use(tmp_path, monkeypatch)
    return Path("results")


def use(folder, patch):
    """Work in a folder, with a cache there, and draw blank pictures."""
    patch.chdir(folder)
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    without_pictures(patch)
    patch.setattr(report, "static_figures", static_figures)  # which are blank


def state(results):
    return {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}


def counted(monkeypatch):
    """Return the list of the experiments that are counted from now on."""
    names, count = [], page.make_reports

    def counting(tables, *others):
        names.extend(each.folder.name for each in tables)
        return count(tables, *others)

    monkeypatch.setattr(page, "make_reports", counting)
    return names


def test_unchanged_results_are_not_touched_and_warnings_are_repeated(results):
    before = state(results)
    again = call("plots", "--results", results)
    assert again.stdout == f"Open {results}/report.html (nothing has changed)\n"
    assert state(results) == before
    (results / "left.csv").touch()  # no result
    assert "nothing has changed" in call("plots", "--results", results).stdout


@pytest.mark.slow
def test_warnings_are_repeated(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch)
    run(tiny(tmp_path, name="edge"), tmp_path / "results")
    told = [call("plots", "--results", tmp_path / "results").stderr for _ in range(2)]
    assert told[0] == told[1]
    assert "at the end of the grid" in told[0]


GONE = ["report.html", "first/summary.csv", "first/figures/traces.png"]


@pytest.mark.parametrize("name", mostly_slow(GONE, quick=2))
@pytest.mark.parametrize("how", mostly_slow(["cut short", "deleted"]))
def test_what_is_gone_or_cut_short_is_made_again(results, monkeypatch, name, how):
    file = results / name
    content, names = file.read_bytes(), counted(monkeypatch)
    file.unlink() if how == "deleted" else file.write_bytes(content[:-1])
    assert call("plots", "--results", results).stdout == f"Open {results}/report.html\n"
    assert file.read_bytes() == content
    assert names == ([] if name == "report.html" else ["first"])


@pytest.mark.slow
def test_an_experiment_that_has_changed_is_drawn_alone(results, monkeypatch):
    names, untouched = counted(monkeypatch), state(results / "second")
    about = json.loads((results / "first/experiment.json").read_text())
    (results / "first/experiment.json").write_text(json.dumps(about | {"title": "New"}))
    assert call("plots", "--results", results).exit_code == 0
    assert names == ["first"]
    assert state(results / "second") == untouched
    html = (results / "report.html").read_text()
    assert ">New<" in html
    assert ">Tiny<" in html


@pytest.mark.slow
def test_other_code_other_libraries_and_other_looks_draw_again(results, monkeypatch):
    names = counted(monkeypatch)
    monkeypatch.setattr(drawn, "_code", lambda: "of another version")
    page.write_report(results)
    assert names == ["first", "second"]
    shutil.rmtree(results / "first")
    for module in (page, report):
        monkeypatch.setattr(module, "labels_of", lambda tables: ["SGD", "Gone"])
    page.write_report(results)
    assert names == ["first", "second", "second"]


@pytest.mark.slow
def test_an_experiment_with_user_defined_blocks_is_drawn_every_time(results, tmp_path, monkeypatch):
    """They may read any file."""
    source = "from optimlab.report.block import Block\ndef note(*tables): return Block('Noted')"
    (tmp_path / "own.py").write_text(source)
    (tmp_path / "first.toml").touch()
    about = json.loads((results / "first/experiment.json").read_text())
    about |= {"report": ["own.py:note"], "file": "../../first.toml"}
    (results / "first/experiment.json").write_text(json.dumps(about))
    names = counted(monkeypatch)
    page.write_report(results)
    assert "<h3>Noted</h3>" in (results / "report.html").read_text()
    assert names == ["first"]  # the other is not drawn again
    again = drawn.Drawn(results)
    assert (again.page, list(again.keys)) == ("", ["second"])


def test_the_page_shows_the_experiments_that_are_named(results, monkeypatch):
    names = counted(monkeypatch)
    assert call("plots", "second", "second", "--results", results).exit_code == 0
    html = (results / "report.html").read_text()
    assert names == []
    assert ('id="second"' in html, 'id="first"' in html) == (True, False)
    refused = call("plots", "thrid", "--results", results)
    assert refused.exit_code == 2
    assert "has no results of 'thrid'; there are: first, second" in refused.stderr
    for name in ("", "..", "first/../second"):
        assert call("plots", name, "--results", results).exit_code == 2


@pytest.mark.slow
def test_records_that_are_garbled_or_cannot_be_kept_are_no_matter(results, monkeypatch):
    for file in Path("cache/optimlab").iterdir():
        file.write_text('["nonsense"]')
    before = (results / "report.html").read_bytes()
    assert call("plots", "--results", results).stdout == f"Open {results}/report.html\n"
    no_folder = results.resolve() / "report.html"
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_folder))
    assert call("plots", "--results", results).stdout == f"Open {results}/report.html\n"
    assert (results / "report.html").read_bytes() == before


def test_what_is_left_out_is_looked_at_every_time(results):
    (results / "bad").mkdir()
    (results / "bad/runs.csv").write_text("nonsense")
    for _ in range(2):
        done = call("plots", "--results", results)
        assert "left out: cannot read" in done.stderr
        assert "nothing has changed" not in done.stdout


def test_looking_whether_something_has_changed_imports_no_library_of_plots(results):
    code = (
        "import sys; from pathlib import Path; from optimlab.storage.drawn import Drawn;"
        "drawn = Drawn(Path(sys.argv[1])); assert drawn.found(drawn.page);"
        "print(sorted({'numpy', 'pandas', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, results],
        env={**os.environ, "PYTHONPATH": str(drawn.PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_library_of_charts_is_bundled_once_and_not_taken_from_a_changed_file(tmp_path, monkeypatch):
    bundled = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        vl_convert, "javascript_bundle", lambda: bundled.append("vega") or f"script {len(bundled)}"
    )

    def script():
        library.cache_clear()
        return library()

    assert [script(), script()] == ["script 1"] * 2
    (kept,) = (tmp_path / "optimlab").glob("vega-*.js")
    kept.write_text("changed")
    assert [script(), script()] == ["script 2"] * 2
    shutil.rmtree(tmp_path / "optimlab")
    (tmp_path / "optimlab").touch()  # nothing can be kept
    assert [script(), script()] == ["script 3", "script 4"]
    library.cache_clear()
