"""The page of a search over several hyper-parameters: charts, table and warnings."""

from types import SimpleNamespace

import pandas as pd
import pytest
from sweeping import document, run, tiny
from test_charts import assert_compiles, charts_of, without_pictures

from optimlab.experiment.candidates import Axis
from optimlab.report.blocks.ranking import unequal_budgets
from optimlab.report.page import write_report
from optimlab.statistics.spaces import Space

RATE = "learning_rate = { min = 1e-2, max = 1 }"
SEARCHES = f"""
[optimizers.SGD.search]
{RATE}
momentum = {{ min = 0, max = 0.9, scaling = "one_minus_log" }}
[optimizers.Adam.search]
{RATE}
beta1 = {{ choices = [0.0, 0.9] }}
eps = {{ min = 1e-8, max = 1e-2, scaling = "log" }}
[optimizers.Nesterov.search]
{RATE}
trials = 9
"""
TOP = "search = { trials = 10 }\n"
CHARTS = {"axes", "heat-map", "parallel", "importance", "budget", "foretold"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Return the tables of a search of three optimizers, by name, and its page."""
    folder = tmp_path_factory.mktemp("searched")
    run(
        tiny(folder, document(top=TOP, training="epochs = 4\n", optimizers=SEARCHES)), folder / "results"
    )
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        page = write_report(folder / "results").read_text(encoding="utf-8")
    return {file.name: pd.read_csv(file) for file in (folder / "results/tiny").glob("*.csv")}, page


def test_charts_of_axes_take_the_place_of_the_learning_rates(searched, capfd):
    charts = charts_of(searched[1])
    assert charts.keys() >= CHARTS
    assert "learning-rates" not in charts
    assert_compiles({name: charts[name] for name in CHARTS}, capfd)


def test_every_candidate_is_on_every_axis_of_its_optimizer(searched):
    _, tables = charts_of(searched[1])["axes"]
    points = tables["points"].dropna(subset="position")
    counts = points.groupby("key")["candidate"].nunique().to_dict()
    # The defaults of SGD and Adam are candidates, too, where they are on the axis.
    assert counts["SGD: rate"] == 11
    assert counts["Adam: beta1"] == 11
    assert counts["Nesterov: rate"] == 9
    assert points["position"].between(0, 1).all()
    best = tables["best"].groupby("key")["loss"].min()
    assert best.to_dict() == points.groupby("key")["loss"].min().to_dict()


def test_the_heat_map_has_the_best_of_each_part(searched):
    spec, tables = charts_of(searched[1])["heat-map"]
    assert ", vertical: " in str(spec)
    assert set(tables["areas"]["key"]) == {
        "SGD: rate × momentum", "Adam: rate × beta1", "Adam: rate × eps", "Adam: beta1 × eps",
    }  # fmt: skip
    areas, dots = (tables[name].groupby("key")["loss"].min().to_dict() for name in ("areas", "dots"))
    assert areas == dots


def test_the_ranked_table_has_the_chosen_values(searched):
    tables, page = searched
    assert "all candidates: " in page
    summary = tables["summary.csv"].set_index("optimizer")
    assert "momentum" in summary.loc["SGD", "hyperparameters"]
    rate, momentum = summary.loc["SGD", "hyperparameters"].split(", ")
    assert f"rate {rate}" in page
    assert momentum in page
    assert tables["candidates.csv"].groupby("optimizer").size().to_dict() == {
        "SGD": 11, "Adam": 11, "Nesterov": 9,
    }  # fmt: skip
    assert set(tables["importance.csv"]["optimizer"]) == {"SGD", "Adam"}


def test_unequal_budgets_are_warned_about(searched):
    _, page = searched
    assert "Not tuned alike: SGD had 10, Adam had 10 and Nesterov had 9 trials." in page


@pytest.mark.parametrize("searched", [(), ("learning_rate",)])
def test_unequal_budgets_are_told_where_only_learning_rates_are_tuned(searched):
    axis = Axis("learning_rate", (0.1, 0.2, 0.3))
    few, many = (
        Space((axis,), {k: {"learning_rate": k / 10} for k in range(1, 1 + size)}, searched)
        for size in (2, 3)
    )
    told = unequal_budgets(
        {"p": SimpleNamespace(comparison=SimpleNamespace(spaces={"A": few, "B": many}))}
    )
    assert told.startswith("Not tuned alike: A had 2 and B had 3 trials.")
    assert not unequal_budgets({"p": SimpleNamespace(comparison=SimpleNamespace(spaces={"A": few}))})


def test_budget_begins_with_the_default_and_ends_with_all_trials(searched):
    tables, _ = searched
    budget = tables["budget.csv"]
    trials = budget.groupby("optimizer")["trials"].agg(["min", "max"])
    assert trials.loc["SGD"].tolist() == [0, 10]
    assert trials.loc["Nesterov"].tolist() == [1, 9]


def test_the_ranking_by_budget_begins_where_all_optimizers_are(searched):
    chart, _ = charts_of(searched[1])["budget"]
    assert [each["value"] for each in chart["params"] if each["name"] == "trials"] == [9]


def test_the_page_has_the_lessons_of_tuning(searched):
    tables, page = searched
    rates = tables["rates.csv"]
    assert len(rates) == 3
    assert (rates["ratio_low"] <= rates["ratio"]).all()
    assert (rates["ratio"] <= rates["ratio_high"]).all()
    assert "Lessons from tuning" in page
    assert "SGD / Adam" in page
    assert set(tables["foretold.csv"]["share"]) == {0.25, 0.5, 0.75, 1.0}
