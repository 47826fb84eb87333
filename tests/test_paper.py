"""Export: tables as LaTeX, Markdown and CSV, figures of a given size, bundles and animations."""

import csv
import io
import itertools
import re
import shutil
import subprocess
import zipfile
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from sweeping import OWN, call, document, mostly_slow, plugin, run, tiny
from test_charts import blank_pictures

from optimlab.errors import UserError
from optimlab.report import paper
from optimlab.report.bundle import bundle, code_and_data, requirements
from optimlab.report.figures import animation, comparisons
from optimlab.report.figures.static import Drawing
from optimlab.report.report import report_of
from optimlab.report.style import series_styles
from optimlab.storage.environment import computing, environment
from optimlab.storage.results import read_tables

LANDSCAPES = """title = "Two landscapes"
learning_rates = [0.01, 0.1]
[problems.a_b]
name = "landscape"
function = "saddle"
[problems."50+"]
name = "landscape"
function = "ravine"
[training]
steps = 12
record_every = 2
[seeds]
tuning = 1
reporting = 3
[optimizers.SGD]
[optimizers."Adam_β"]
rule = "Adam"
"""
ONE = document(
    top="learning_rates = [0.1]",
    seeds="tuning = 0\nreporting = 3",
    optimizers=f"[optimizers.SGD]\n{OWN}",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    run(tiny(folder, ONE, "one", own="import helper\n" + plugin(), helper="X = 1"), folder / "results")
    run(tiny(folder, LANDSCAPES, "several"), folder / "results")
    return folder / "results"


@pytest.fixture(scope="module")
def reports(results):
    return {name: report_of(read_tables(results / name)) for name in ("one", "several")}


def test_the_table_has_the_numbers_of_the_summary(reports):
    table = paper.paper_table(reports["one"])
    summary = reports["one"].numbers["summary.csv"]
    head, *rows = list(csv.reader(io.StringIO(paper.as_csv(table))))
    assert head == [
        *("Optimizer", "Learning rate", "Validation loss", "Untuned", "Test accuracy (%)", "p")
    ]
    assert [row[0] for row in rows] == list(summary["optimizer"])
    assert "3 seeds with 95 % intervals (too narrow: of fewer than 6 seeds)" in table.caption
    for row, of in zip(rows, summary.to_dict("records"), strict=True):
        numbers = [float(text) for text in re.findall(r"[0-9.]+", row[2])]
        expected = [of[f"final_loss_{part}"] for part in ("median", "interval_low", "interval_high")]
        assert numbers == pytest.approx(expected, abs=(expected[2] - expected[1]) / 2)
        assert float(row[4].split()[0]) == pytest.approx(100 * of["final_accuracy_median"], abs=0.5)


def test_of_several_problems_each_has_its_rows(reports):
    table = paper.paper_table(reports["several"])
    text = paper.latex(table)
    assert text.count(r"\midrule") == 2
    assert re.findall(r"\\emph{(.*)}} \\\\\n(?:SGD|Adam)", text) == [r"a\_b", "50+"]
    assert text.count("Adam\\_$\\beta$ & ") == 2
    assert paper.markdown(table).count(r"| a\_b |") == 2


TEXTS = {
    "a_b & 50 % #1 {x} $y$ \\ ~ ^ |": r"a\_b \& 50 \% \#1 \{x\} \$y\$ "
    r"\textbackslash{} \textasciitilde{} \textasciicircum{} \textbar{}",
    "2×10⁻⁵ and 10³": r"2$\times10^{-5}$ and $10^{3}$",
    "−1 <2 ∞ – β Σ R²": r"$-$1 $<$2 $\infty$ -- $\beta$ $\Sigma$ R$^2$",
    "Größe 优": "Größe 优",
}


@pytest.mark.parametrize("text", TEXTS)
def test_latex_is_escaped(text):
    assert paper.latex_text(text) == TEXTS[text]


def test_letters_that_pdflatex_lacks_are_named():
    table = paper.PaperTable("x", "Title 优.", ["Optimizer", "p"], {"": [["é β", "0.1"]]})
    assert paper.latex(table).splitlines()[1].startswith("% pdfLaTeX lacks 优 and")
    table = paper.PaperTable("x", "Title.", ["Optimizer", "p"], {"": [["é β", "2×10⁻⁷"]]})
    assert "lacks" not in paper.latex(table)


@pytest.mark.parametrize(
    ("name", "label"), [("digits", "digits"), ("a_b (2)%", "a-b-2-"), ("घाटी é", "घाटी-é")]
)
def test_a_tables_label_is_unique_to_its_experiment(name, label):
    table = paper.PaperTable(name, "Title.", ["Optimizer", "p"], {"": [["SGD", "0.1"]]})
    assert rf"\label{{tab:{label}}}" in paper.latex(table)


LOSS = "9.44×10⁻⁸⁴ [6.72×10⁻⁸⁴, 1.22×10⁻¹⁵]"
WIDE = paper.PaperTable(
    "wide",
    "Eight problems of six optimizers.",
    ["Optimizer", "Learning rate", "Training loss", "Validation RMSE", "Untuned", "p", "Went wrong"],
    {
        f"problem {problem}": [
            [f"{'SGD with momentum and more ' * 2}{k}", "0.001", LOSS, LOSS, "0.1", "<0.001", "2 of 18"]
            for k in range(6)
        ]
        for problem in range(8)
    },
)


def test_a_table_that_is_too_long_for_a_page_is_divided_at_a_problem():
    text = paper.latex(WIDE)
    assert re.findall(r"\\label{(.*)}", text) == [
        "tab:wide",
        *(f"tab:wide-{number}" for number in range(2, 5)),
    ]
    assert "optimizers. Part 2 of 4.}" in text
    assert re.findall(r"\\emph{(.*)}}", text) == list(WIDE.rows)
    assert r"9.44$\times10^{-84}$\\{}[6.72$\times10^{-84}$,~1.22$\times10^{-15}$]" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no LaTeX")
@pytest.mark.parametrize("name", ["one", "several", "wide"])
def test_latex_compiles_the_table(reports, tmp_path, name):
    table = WIDE if name == "wide" else paper.paper_table(reports[name])
    (tmp_path / "table.tex").write_text(paper.latex(table))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}"
        "\\begin{document}\\input{table}\\end{document}"
    )
    words = ["pdflatex", "-halt-on-error", "-interaction=batchmode", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log
    for complaint in ("Overfull", "Float too large"):
        assert complaint not in log, log


INTERVALS = {
    (0.0687, 0.0653, 0.0719): "0.069 [0.065, 0.072]",
    (0.0938, 0.0789, 0.108): "0.094 [0.079, 0.108]",
    (1234.5, 1200.0, 1300.0): "1234 [1200, 1300]",
    (-1.5, -2.0, -1.0): "−1.5 [−2.0, −1.0]",
    (2e-9, 1e-9, 3e-9): "2×10⁻⁹ [10⁻⁹, 3×10⁻⁹]",
    (0.5, 0.5, 0.5): "0.5 [0.5, 0.5]",
    (float("inf"), 1.0, float("inf")): "∞ [1, ∞]",
    (0.5, float("nan"), float("nan")): "0.5",
    (float("nan"), float("nan"), float("nan")): "–",
}


@pytest.mark.parametrize("numbers", INTERVALS)
def test_as_many_digits_as_the_interval_bears(numbers):
    names = ("x_median", "x_interval_low", "x_interval_high")
    assert paper._interval(dict(zip(names, numbers, strict=True)), "x") == INTERVALS[numbers]


@pytest.mark.slow
def test_figures_have_the_width_the_letters_and_a_title(reports):
    compared = ["targets", "profiles", "wins", "pairs", "time"]
    one = paper.paper_figures(reports["one"])
    assert list(one) == ["traces", "accuracy", *compared]
    figures = paper.paper_figures(reports["several"])
    compared.insert(2, "budget")
    own = ["traces", "learning-rates", "rates-1-sgd", "rates-2-adam", *compared]
    each = [f"{problem}-{name}" for problem in ("1-a-b", "2-50") for name in own]
    assert list(figures) == [*each, "paths-1-a-b", "paths-2-50"]
    title, drawing = one["traces"]
    assert title == "Loss, given learning rates"
    titles = {title for title, _ in figures.values()}
    assert {"a_b: Loss, tuned learning rates", "50+: Adam_β at every learning rate"} <= titles
    for width, size in ((3.3, 8), (7, 12)):
        figure = drawing.sized(width, size, title)
        assert figure.get_size_inches()[0] == pytest.approx(width)
        figure.draw_without_rendering()
        assert figure.axes[0].yaxis.label.get_fontsize() == pytest.approx(size)
        axes = figure.axes[0]
        for text in [*figure.legends[0].findobj(Text), axes.xaxis.label, axes.yaxis.label]:
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text


def test_every_axis_of_a_loss_has_its_unit(reports):
    labels = {}
    for name, (_, drawing) in paper.paper_figures(reports["one"]).items():
        axes = drawing.figure().axes
        labels[name] = [each.get_text() for a in axes for each in (a.xaxis.label, a.yaxis.label)]
    assert labels["time"][1] == "validation loss (nats)"
    assert not [text for texts in labels.values() for text in texts if text.endswith("loss")]


def values(reports, name, kind):
    """Return a figure at a column's width, and the table of the chart of that name."""
    report = reports[name]
    prefix = "1-a-b-" if name == "several" else ""
    title, drawing = paper.paper_figures(report)[prefix + kind]
    figure = drawing.sized(3.3, 8, title)
    figure.draw_without_rendering()
    charts = {chart.name: chart for chart in next(iter(report.by_problem.values())).charts}
    tables = charts[kind].tables if kind in charts else {}
    return figure, {
        each: t[t["setting"] == "tuned"] if "setting" in t else t for each, t in tables.items()
    }


def drawn(figure, marker=None):
    """Return all points of the lines of the first panel, those of a marker alone if one is given."""
    lines = [each for each in figure.axes[0].lines if marker in (None, each.get_marker())]
    return {(x, y) for each in lines for x, y in zip(each.get_xdata(), each.get_ydata(), strict=True)}


@pytest.mark.slow
def test_figures_show_the_numbers_of_the_page_s_charts(reports):
    figure, tables = values(reports, "several", "budget")
    shown = sorted(y for _, y in drawn(figure))
    assert shown == pytest.approx(sorted(tables["budget"]["expected_loss"]), rel=1e-12)
    figure, tables = values(reports, "several", "wins")
    texts = {text.get_text().rstrip("*") for text in figure.axes[0].texts}
    assert texts == {f"{100 * share:.0f}" for share in tables["wins"]["share_won"]}
    figure, tables = values(reports, "several", "pairs")
    assert drawn(figure, "D") == {(tables["pairs"]["difference_iqm"].iloc[0], 0)}
    (text,) = figure.axes[0].texts
    assert text.get_text().replace("\n", " ") == tables["pairs"]["text"].iloc[0]
    figure, tables = values(reports, "one", "profiles")
    metric = tables["profiles"]["metric"].iloc[-1]
    profile = tables["profiles"][tables["profiles"]["metric"] == metric]
    assert drawn(figure) == set(zip(profile["ratio"], profile["share"], strict=True))
    figure, tables = values(reports, "one", "targets")
    reached = [text.get_text().partition(",")[0] for text in figure.axes[0].texts]
    assert len(reached) == 2
    assert set(reached) <= {f"{n} of 3" for n in tables["targets"]["reached"]}


@pytest.mark.parametrize("kind", mostly_slow(["budget", "pairs", "targets", "profiles", "wins", "time"]))
def test_figures_of_comparisons_are_legible_in_a_column(reports, kind):
    figure, _ = values(reports, "several", kind)
    axes = figure.axes[0]
    ticks = {}
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks[axis] = [tick.label1 if axis is axes.yaxis or tick.label1.get_visible() else tick.label2
                       for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]  # fmt: skip
    others = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label, figure._suptitle]
    others += [text for legend in figure.legends for text in legend.findobj(Text)]
    for text in [*others, *itertools.chain(*ticks.values())]:
        if text is None or not text.get_text().strip():
            continue
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
        assert text.get_fontsize() >= 5
    assert axes.get_xlabel()
    for labels in ticks.values():
        boxes = [each.get_window_extent() for each in labels if each.get_text()]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


@pytest.mark.filterwarnings("error")  # of a layout without room
@pytest.mark.slow
def test_figures_of_long_labels_have_room():
    labels = [
        "Schedule-Free AdamW with a long name (cosine)",
        "Lookahead(NAdam), weight decay 0.01",
        "C",
    ]
    styles = series_styles(labels)
    pairs = list(itertools.permutations(labels, 2))
    wins = pd.DataFrame([{"row": a, "column": b, "share_won": 0.8, "different": 1} for a, b in pairs])
    times = {"epochs_median": 3.0, "epochs_low": 1.0, "epochs_high": 9.0, "reached": 3, "seeds": 3}
    targets = pd.DataFrame([{"optimizer": x, "rank": n, **times} for n, x in enumerate(labels)])
    for drawing in (
        Drawing("wins", comparisons.wins_figure, (wins, labels)),
        Drawing("t", comparisons.targets_figure, (targets, styles), {"target": "x", "clock": "steps"}),
    ):
        figure = drawing.sized(3.3, 8, "A title")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        assert axes.get_window_extent().width > figure.bbox.width / 3
        shown = [each.get_text() for each in axes.get_yticklabels()]
        assert shown == ["Schedule-F… (cosine)", "Lookahead(…ecay 0.01", "C"]
        texts = [*axes.get_yticklabels(), *(each.xaxis.label for each in figure.axes)]
        for box in (each.get_window_extent() for each in texts if each.get_text()):
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1


@pytest.mark.slow
def test_figures_are_chosen_by_kind_or_name(reports, results, tmp_path):
    assert list(paper.paper_figures(reports["several"], only=["wins", "2-50-rates-2-adam"])) == [
        *("1-a-b-wins", "2-50-rates-2-adam", "2-50-wins")
    ]
    assert len(paper.paper_figures(reports["several"], only=["rates", "paths"])) == 6
    words = ["one", "--results", results, "--into", tmp_path, "--only"]
    refused = call("export", *words, "winds")
    names = "traces, accuracy, targets, profiles, wins, pairs and time"
    told = f"there is no figure 'winds'; there are: {names}"
    assert (refused.exit_code, told in refused.stderr) == (2, True), refused.stderr
    assert call("export", *words, "wins, pairs").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"wins.pdf", "pairs.pdf"}
    assert set(paper.FIGURES) <= set(re.findall(r"[a-z-]+", call("export", "--help").output))


def test_rates_figures_have_no_label_over_another(reports):
    _, drawing = paper.paper_figures(reports["several"])["1-a-b-rates-1-sgd"]
    figure = drawing.sized(3.3, 8, "A title")
    figure.draw_without_rendering()
    label = figure._supxlabel.get_window_extent()
    ticks = [tick for axes in figure.axes for tick in axes.get_xticklabels() if axes.get_visible()]
    assert not any(label.overlaps(tick.get_window_extent()) for tick in ticks if tick.get_text())


@pytest.mark.slow
def test_fewer_seeds_are_drawn(reports):
    counts = []
    for seeds in (None, 2):
        _, drawing = paper.paper_figures(reports["one"], seeds)["traces"]
        lines = drawing.figure().axes[0].collections
        counts.append(max(len(each.get_paths()) for each in lines))
    assert counts == [3, 2]


@pytest.mark.slow
def test_files_have_real_text_and_the_same_bytes(reports):
    title, drawing = paper.paper_figures(reports["one"])["accuracy"]
    first, again = (paper.printed("x", title, drawing, ["pdf", "svg", "png"], 3.3, 8) for _ in range(2))
    assert first == again
    texts = [each.text for each in ElementTree.fromstring(first["x.svg"]).iter() if "text" in each.tag]
    assert "final test accuracy (percent of the samples)" in texts
    assert b"/CIDFontType2" in first["x.pdf"]
    assert Image.open(io.BytesIO(first["x.png"])).width == 990


@pytest.mark.slow
def test_export_writes_what_is_asked_for(results, tmp_path):
    words = ["one", "--results", results, "--into", tmp_path / "tex", "--only", "traces,accuracy"]
    done = call("export", *words, "--table", "latex,csv", "--figures", "svg", "--width", "84mm")
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "tex").iterdir()}
    assert names == {"table.tex", "table.csv", "traces.svg", "accuracy.svg"}
    assert done.output.count("wrote ") == 4
    done = call("export", "one", "--results", results, "--table", "markdown", "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert [path.name for path in (results / "one/export").iterdir()] == ["table.md"]
    shutil.rmtree(results / "one/export")


WRONG = {
    ("--table", "tex"): "--table must be among latex, markdown, csv, got 'tex'",
    ("--figures", "pdf,gif"): "--figures must be among pdf, svg, png, got 'gif'",
    ("--width", "3.3"): "--width must be a length of 1 to 40 inches, such as 3.3in, 84mm or 240pt",
    ("--width", "0in"): "--width must be a length",
    ("--table", ""): "--table must be among latex, markdown, csv, got ''",
    ("--figures", " , "): "--figures must be among pdf, svg, png, got ' , '",
    ("--only", ","): "--only must name figures, got ','",
    ("--into", ""): "the path is empty",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_formats_and_widths_are_reported(results, words):
    done = call("export", "one", "--results", results, *words)
    assert (done.exit_code, WRONG[words] in done.stderr) == (2, True), done.stderr
    assert "has no results of 'two'" in call("export", "two", "--results", results).stderr


def test_a_bundles_requirements_can_be_installed(monkeypatch):
    monkeypatch.setattr("optimlab.storage.environment._version", lambda name: "1.2")
    computing.cache_clear()
    words = environment({"torch": "2.13.0+cpu", "gone": "unknown"})
    computing.cache_clear()
    assert words["numba"].startswith("1.2, ")
    lines = requirements(words).splitlines()
    assert {"numpy==1.2", "numba==1.2", "torch==2.13.0+cpu"} <= set(lines)
    assert [line for line in lines if not re.fullmatch(r"[\w-]+==[\d.]+(\+\w+)?", line)] == []
    assert not [line for line in lines if line.startswith(("optimlab", "python", "gone"))]


@pytest.mark.slow
def test_a_bundle_has_all_and_its_experiment_runs(results, tmp_path, monkeypatch):
    blank_pictures(monkeypatch)
    words = ["bundle", "one", "--results", results, "--into", tmp_path]
    assert call(*words).exit_code == 0
    content = (tmp_path / "one.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        archive.extractall(tmp_path)
    assert call(*words).exit_code == 0
    assert (tmp_path / "one.zip").read_bytes() == content
    names = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*.*")}
    tables = {"experiment.json", "runs.csv", "traces.parquet", "summary.csv", "comparisons.csv"}
    assert {f"results/one/{name}" for name in tables} <= names
    assert {"experiments/one.toml", "experiments/own.py", "experiments/helper.py"} <= names
    assert {"report.html", "README.txt", "results/one/figures/traces.svg"} <= names
    assert "experiments/several.toml" not in names
    assert "numpy==" in (tmp_path / "one/requirements.txt").read_text()
    runs = pd.read_csv(tmp_path / "one/results/one/runs.csv")
    shown = call("show", tmp_path / "one/experiments/one.toml", "--results", tmp_path / "none")
    assert f"{len(runs)} runs, 0 of them finished" in shown.output


def test_a_bundle_without_its_code_is_refused(results, tmp_path, monkeypatch):
    blank_pictures(monkeypatch)
    shutil.copytree(results, tmp_path / "away/results")
    done = call("bundle", "one", "--results", tmp_path / "away/results", "--into", tmp_path)
    told = "its experiment file, with own.py:Own beside it, no longer exists"
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "one.zip").exists()


TABLE = "a,y\n" + "0.5,1\n0.25,0\n" * 10
LISTED = """title = "own.py:Own on table.csv"
description = "See notes.csv"
learning_rates = [0.1]
[problem]
data = "DATA"
target = "y"
hidden = []
batch_size = 5
[training]
steps = 2
[seeds]
tuning = 0
reporting = 2
[optimizers.SGD]
"""


def swept_on(folder, data):
    """Sweep an experiment on a table, and return its results."""
    file = folder / "experiments" / data
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TABLE)
    name = "on a table"
    run(tiny(folder / "experiments", LISTED.replace("DATA", data), name), folder / "results")
    return read_tables(folder / "results" / name)


def test_what_a_title_and_a_description_say_is_no_file(tmp_path):
    tables = swept_on(tmp_path, "data/table.csv")
    named = code_and_data(tables)
    assert named == {"data/table.csv": TABLE.encode()}
    with zipfile.ZipFile(io.BytesIO(bundle(tables, named, b"", {}))) as archive:
        readme = archive.read("on a table/README.txt").decode()
    assert "optimlab sweep 'experiments/on a table.toml'\n" in readme


def test_a_bundle_that_would_lack_data_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"on a table.toml needs \.\./table\.csv, which a bundle cannot contain"
    ):
        code_and_data(swept_on(tmp_path, "../table.csv"))


@pytest.mark.slow
def test_an_animation_moves(results, tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.report.figures.landscapes.GRID", 11)
    monkeypatch.setattr(animation.shutil, "which", lambda name: None)
    words = ["--results", results, "--into", tmp_path]
    assert call("animate", "several", "a_b", *words).output == f"wrote {tmp_path}/a-b.gif\n"
    with Image.open(tmp_path / "a-b.gif") as moving:
        assert moving.n_frames == 7  # the start and six records
        frames = []
        for number in range(moving.n_frames):
            moving.seek(number)
            frames.append(moving.convert("RGB").tobytes())
    assert len(set(frames)) == 7


@pytest.mark.slow
def test_an_experiment_without_paths_has_no_animation(results, tmp_path):
    words = ["--results", results, "--into", tmp_path]
    refused = call("animate", "several", "b", *words)
    assert "there are no paths on 'b'; there are: a_b, 50+" in refused.stderr
    assert "holds no paths" in call("animate", "one", *words).stderr


def test_a_video_is_made_where_there_is_ffmpeg(tmp_path, monkeypatch):
    images = [Image.new("RGB", (5, 3), colour) for colour in ("red", "blue")]
    for script, expected in (('cat > "${@: -1}"', 2 * 4 * (2 + 30) * 3), ("exit 1", None)):
        (tmp_path / "ffmpeg").write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        video = animation.mp4(images)
        assert (video and len(video)) == expected
