"""From the tables of a sweep to the sentences and figures about paths."""

import json
import re
import tomllib

import pandas as pd
import pytest
from sweeping import OWN, document, plugin, run, tiny
from test_charts import blank_pictures

from optimlab.execution.surface import loss_around
from optimlab.problems import Landscape
from optimlab.problems.digits import Digits
from optimlab.report.blocks import landscapes as report
from optimlab.report.blocks.ranking import edge_warnings
from optimlab.report.figures import plots
from optimlab.report.page import write_report
from optimlab.report.problem_result import ProblemResult
from optimlab.report.style import series_styles
from optimlab.statistics import compare_optimizers
from optimlab.validation import validate

TEXT = """
title = "Tiny landscapes"
learning_rates = [0.1, 0.3]
[problems.ravine]
name = "landscape"
condition = 5
[problems.saddle]
name = "landscape"
function = "saddle"
condition = 2
spread = 0.01
[problems.net]
name = "digits"
hidden = []
batch_size = 300
evaluate_with = "batch"
[training]
steps = 20
record_every = 1
record_params = 1
[seeds]
tuning = 2
reporting = 6
[optimizers."Gradient descent"]
rule = "SGD"
momentum = 0
[optimizers.Adam]
"""
LABELS = ["Gradient descent", "Adam"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The results of an experiment of three problems."""
    folder = tmp_path_factory.mktemp("paths")
    run(tiny(folder, TEXT), folder / "results")
    return folder / "results/tiny"


@pytest.fixture(scope="module")
def tables(folder):
    about = json.loads((folder / "experiment.json").read_text())["problems"]
    problems = {label: entry["problem"] for label, entry in about.items()}
    return pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "traces.parquet"), problems


@pytest.fixture(scope="module")
def parts(tables):
    return report.describe_paths(*tables)


def test_each_problem_is_a_comparison_of_its_own(parts):
    assert [part.problem for part in parts] == ["ravine", "saddle", "net"]
    for part in parts:
        assert part.reference == "Gradient descent"
        assert part.summary["optimizer"].tolist() == LABELS
        assert part.summary["seeds"].tolist() == [6, 6]
        assert part.seed == 1000
    ravine, saddle, net = parts
    assert ravine.summary["detour_median"].notna().all()
    assert saddle.summary["never_left"].notna().all()
    assert ravine.summary["never_left"].isna().all()
    assert net.summary["detour_median"].isna().all()
    assert net.summary["mean_cosine_median"].between(-1, 1).all()


def test_the_paths_drawn_begin_where_the_seed_says(parts):
    ravine, _, net = parts
    start = Landscape(condition=5).init([1000])[0][0]
    for label in LABELS:
        own = ravine.paths[ravine.paths["optimizer"] == label]
        assert own["step"].tolist() == list(range(21))
        assert own[["x", "y"]].iloc[0].tolist() == start.tolist()
    assert net.landscape is None
    assert ravine.landscape == Landscape(condition=5)


def test_the_summaries_become_one_table(parts):
    table = report.summary_table(parts)
    assert table.columns[0] == "problem"
    assert table["problem"].tolist() == ["ravine", "ravine", "saddle", "saddle", "net", "net"]


def test_each_landscape_has_a_figure(parts):
    figure = parts[0].figure(series_styles(LABELS))
    assert [axes.get_title(loc="left").partition(",")[0] for axes in figure.axes] == LABELS


def test_a_problem_whose_runs_are_still_to_come_is_left_out(tables):
    runs, traces, problems = tables
    some = report.describe_paths(runs[runs["problem"] != "saddle"], traces, problems)
    assert [part.problem for part in some] == ["ravine", "net"]


def test_the_plane_through_the_networks_surface(folder, tables, monkeypatch):
    monkeypatch.setattr("optimlab.statistics.plane.GRID", 5)
    runs, traces, problems = tables
    params = pd.read_parquet(folder / "params.parquet")
    own = [table[table["problem"] == "net"] for table in (runs, traces, params)]
    settings = {key: value for key, value in problems["net"].items() if key != "name"}
    network = validate(Digits, settings, "", [])
    part = report.describe_plane(*own, loss_around(network, *own))
    assert part.seed == 1000
    assert set(part.shares) == set(LABELS)
    assert len(part.paths) == 2 * 21
    assert part.surface.heights.shape == (5, 5)
    assert part.surface.x[0] < part.paths["x"].min() < part.paths["x"].max() < part.surface.x[-1]
    chosen = runs[runs["run_id"].isin(part.paths["run_id"])]
    assert len(chosen) == 2
    finals = part.paths[part.paths["step"] == 20].set_index("run_id")["train_loss"]
    assert finals.to_dict() == pytest.approx(chosen.set_index("run_id")["final_train_loss"].to_dict())
    figure = part.figure(series_styles(LABELS))
    share = f"{100 * part.plane.explained[0]:.0f} %"
    assert figure.axes[0].get_xlabel() == f"first principal component, {share} of the variance"
    warning = report.plane_warning(part)
    assert f"{100 * part.plane.explained.sum():.0f} % of the variance" in warning
    assert all(label in warning for label in LABELS)


def test_a_landscape_needs_no_plane(folder, tables):
    runs, traces, problems = tables
    params = pd.read_parquet(folder / "params.parquet")
    own = [table[table["problem"] == "ravine"] for table in (runs, traces, params)]
    around = loss_around(report.read_landscape(problems["ravine"]), *own)
    assert around.empty
    assert report.describe_plane(*own, around) is None


@pytest.mark.parametrize("settings", [{}, {"name": "nothing"}, {"name": "landscape", "condition": -1}])
def test_a_problem_that_is_no_longer_known_is_none(settings):
    assert report.read_landscape(settings) is None


def test_the_section_answers_for_each_optimizer(parts):
    section = report.paths_section(parts)
    assert section.columns == [
        *("Optimizer", "ravine", "saddle", "net", "Steps to leave the saddle"),
    ]
    assert [row[0] for row in section.rows] == LABELS
    assert all(len(row) == len(section.columns) for row in section.rows)
    descent, adam = section.rows
    assert float(descent[1].split()[0].replace("−", "-")) <= 1  # the reference is compared with nobody
    assert adam[1].rpartition(" ")[2] in ("less", "more", "open")
    assert descent[4] == "6 of 6 never" or float(descent[4].partition(";")[0]) > 0
    assert section.paragraphs[0].startswith("Adam turns less than Gradient descent on ")
    (said,) = (text for text in section.paragraphs if "the saddle" in text)
    assert all(label in said for label in LABELS)


def test_one_problem_is_answered_with_its_numbers(parts):
    section = report.paths_section(parts[2:])
    assert [text.partition(":")[0] for text in section.paragraphs] == LABELS
    assert "mean cosine" in section.paragraphs[1]
    assert section.columns == ["Optimizer", "net"]
    assert "start near a few points" not in section.caption  # a network's seeds start anywhere
    assert "start near a few points" in report.paths_section(parts[:1]).caption


def test_without_gradient_descent_there_is_no_section(tables):
    runs, traces, problems = tables
    only = [table[table["optimizer"] == "Adam"] for table in (runs, traces)]
    assert report.paths_section(report.describe_paths(*only, problems)) is None
    assert report.paths_section([]) is None


@pytest.mark.slow
def test_the_pictures_of_several_problems(folder, monkeypatch):
    monkeypatch.setattr(plots, "DOTS_AN_INCH", 40)
    write_report(folder.parent)
    assert (folder / "figures/paths-1-ravine.svg").stat().st_size < 2_000_000
    assert (folder / "figures/paths-2-saddle.png").is_file()


@pytest.mark.slow
def test_the_page_of_several_problems(folder, monkeypatch):
    blank_pictures(monkeypatch)
    page = write_report(folder.parent).read_text(encoding="utf-8")
    assert 'id="tiny-paths"' in page
    assert page.count('<details class="problem"') == 3
    assert page.count("<strong>ravine</strong>") == 1
    assert page.count('class="ranking sortable"') == 3
    for number in (1, 2, 3):
        assert f'id="tiny-{number}-traces"' in page
        assert f'id="tiny-{number}-learning-rates"' in page
    (verdict,) = re.findall('<p class="verdict">(.*?)</p>', page)
    assert verdict.startswith("Lowest median loss: ")
    assert all(label in verdict for label in ("ravine", "saddle", "net"))
    assert "Each problem is a separate comparison" in page
    assert "Adam turns less than Gradient descent on " in page
    assert (folder / "figures/paths-2-saddle.png").is_file()
    for name in ("summary", "paths"):
        table = pd.read_csv(folder / f"{name}.csv")
        assert table.groupby("problem").size().to_dict() == {"ravine": 2, "saddle": 2, "net": 2}


def test_grids_that_end_too_soon_are_named_with_their_problems(tables):
    runs, traces, _ = tables
    by_problem = {}
    for label in ("ravine", "saddle"):
        own = [table[table["problem"] == label] for table in (runs, traces)]
        by_problem[label] = ProblemResult(own[0], compare_optimizers(*own), [], "")
    for result, edge in zip(by_problem.values(), ("lowest", "highest"), strict=True):
        result.comparison.summary["learning_rate_edge"] = ["", edge]
        result.comparison.summary["optimizer"] = ["Gradient descent", "Adam"]
    (end,) = edge_warnings(by_problem)
    assert end.optimizer == "Adam (on ravine and saddle)"
    grid = tomllib.loads(end.toml)["optimizers"]["Adam"]["learning_rates"]
    assert min(grid) < 0.1 < 0.3 < max(grid)


@pytest.mark.slow
def test_runs_that_all_failed_have_a_page(tmp_path):
    """There is no trace of any of them, so there is nothing to say of their paths."""
    source = plugin(step="raise ValueError('no')")
    run(tiny(tmp_path, document(optimizers=OWN), own=source), tmp_path / "results")
    page = write_report(tmp_path / "results").read_text(encoding="utf-8")
    assert "No optimizer can be recommended" in page
    assert not (tmp_path / "results/tiny/paths.csv").exists()
