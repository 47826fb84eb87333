"""The charts without a browser: specifications compile, and their data are those of the tables."""

import base64
import gzip
import html
import io
import json
import re

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert
from altair.utils import schemapi
from pictures import png
from PIL import Image
from sweeping import mostly_slow

from optimlab.report import page, report, vega
from optimlab.report.blocks.pairs import differences_chart
from optimlab.report.blocks.targets import targets_chart
from optimlab.report.blocks.traces import _without_line
from optimlab.report.figures import plots, static
from optimlab.report.page import write_report
from optimlab.report.style import series_styles
from optimlab.report.ticks import MOST_TICKS, log_ticks, round_ticks
from optimlab.report.vega import encode
from optimlab.statistics import compare_optimizers
from optimlab.storage.results import read_tables

HOSTILE = 'it\'s "mine".rule[0] \\ </script><b>&'
LABELS = ("SGD", "Adam", HOSTILE)
RATES = (0.001, 0.01, 0.12, 1.0)
DEFAULTS = {"SGD": 0.01, "Adam": 0.001, HOSTILE: 0.12}
SEEDS = (0, 1, 2, *range(100, 109))
SPLITS = ("train", "validation", "test")


def write_study(
    folder, labels=LABELS, rates=RATES, seeds=SEEDS, records=8, defaults=DEFAULTS, drop=(), **experiment
):
    """Write the tables of a sweep that has some of everything; seeds from 100 on are for reporting.

    At the highest rate the first optimizer diverges on two seeds of three, the second on all, and the
    third is stuck. At every other rate the second and the third diverge on two seeds, after half of
    their records, and the third fails on one, with no record at all. Columns with a word of `drop` in
    their name are left out. Costs are of the problem "digits".
    """
    folder.mkdir(parents=True)
    noise = np.random.default_rng(7)
    runs, traces = [], []
    for place, label in enumerate(labels):
        for rate in rates:
            best = np.log10((0.1, 0.02, 0.05)[place % 3])
            for seed in seeds:
                key = {"run_id": f"{place} {rate} {seed}", "optimizer": label, "learning_rate": rate,
                       "seed": seed, "role": "reporting" if seed >= 100 else "tuning"}  # fmt: skip
                if "costs" in experiment:  # which are of a problem
                    key["problem"] = "digits"
                status = _status(place, rate == max(rates) and len(rates) > 1, seed)
                end = 2.2 if status == "stuck" else 0.1 + 0.3 * abs(np.log10(rate) - best)
                end += 0.05 * noise.random()
                last = {}
                for k in range(0 if status == "failed" else records):
                    fall = np.exp(-4 * k / max(1, records - 1)) * noise.uniform(0.8, 1.2) if k else 1
                    loss = (
                        np.nan if status == "diverged" and k >= records / 2 else end + (2.3 - end) * fall
                    )
                    last = {"gradient_norm": loss / 3}
                    for shift, split in enumerate(SPLITS):
                        last[f"{split}_loss"] = loss * (1 + shift / 10)
                        last[f"{split}_accuracy"] = 1 - loss / 3 - shift / 100
                    traces.append({**key, "step": 10 * k, "epoch": k / 2, **last})
                finals = {
                    f"final_{name}": value for name, value in last.items() if "gradient" not in name
                }
                reason = "ValueError: <i>no</i>" if status == "failed" else ""
                about = {"rule": label, "status": status, "reason": reason, "steps": 70}
                runs.append({**key, **about, **finals})
    for table, write in ((runs, _write_runs), (traces, _write_traces)):
        frame = pd.DataFrame(table)
        write(folder, frame.drop(columns=[name for name in frame if any(word in name for word in drop)]))
    optimizers = {
        label: {"default_learning_rate": defaults[label]} for label in labels if label in defaults
    }
    (folder / "experiment.json").write_text(json.dumps({"optimizers": optimizers, **experiment}))


def _status(place, is_highest, seed):
    if is_highest:
        return ("diverged" if seed % 3 else "ok", "diverged", "stuck")[place % 3]
    bad = {1: {104: "diverged", 105: "diverged"}, 2: {101: "failed", 106: "diverged", 107: "diverged"}}
    return bad.get(place % 3, {}).get(seed, "ok")


def _write_runs(folder, runs):
    runs.to_csv(folder / "runs.csv", index=False)


def _write_traces(folder, traces):
    columns = ["run_id", "optimizer", "learning_rate", "seed", "role", "step", "epoch", "train_loss"]
    (traces if len(traces) else pd.DataFrame(columns=columns)).to_parquet(folder / "traces.parquet")


def blank_pictures(patch):
    """Write figures under their names, but empty ones: drawing them is tested elsewhere."""
    for kind in (static.Drawing, vega.Chart):
        patch.setattr(kind, "files", lambda each: {f"{each.name}.png": png(), f"{each.name}.svg": b""})
    patch.setattr(plots, "pixels", lambda _: Image.new("RGB", (1, 1)))
    patch.setattr(plots, "svg", lambda _: b"")


def without_pictures(patch):
    """Leave out what takes time: pictures, which are tested elsewhere, and Altair's checks of its input.

    Vega-Lite itself takes or refuses what comes out.
    """
    patch.setattr(page, "ROWS_WORTH_A_WORKER", 10**9)  # other processes would not be patched
    patch.setattr(report, "static_figures", lambda *_: {})
    blank_pictures(patch)
    patch.setattr(vega.Chart, "files", lambda _: {})
    patch.setattr(schemapi, "DEBUG_MODE", False)


def charts_of(report):
    """Return name → (specification, tables) of the charts that a page holds."""
    pattern = r'<figure class="chart[^"]*" id="[^"]*?-([^"]+)".*?"application/gzip">(.*?)</script'
    contents = {name: unpacked(text) for name, text in re.findall(pattern, report, re.DOTALL)}
    return {
        name: (content["spec"], {key: rows_of(table) for key, table in content["tables"].items()})
        for name, content in contents.items()
    }


def unpacked(text):
    """Return the JSON that a page holds as gzip in base64."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def rows_of(table):
    """Return an encoded table as a data frame."""
    columns = {
        name: [column["texts"][code] for code in column["codes"]] if isinstance(column, dict) else column
        for name, column in table.items()
    }
    frame = pd.DataFrame(columns)
    return frame.replace({"Infinity": np.inf, "-Infinity": -np.inf}).infer_objects()


def assert_compiles(charts, capfd):
    """Assert that Vega-Lite takes each specification, without a warning."""
    for name, (spec, tables) in charts.items():
        rows = {key: json.loads(table[:30].to_json(orient="records")) for key, table in tables.items()}
        capfd.readouterr()
        spec = spec | {"datasets": spec.get("datasets", {}) | rows}
        assert vl_convert.vegalite_to_vega(spec, show_warnings=True)["marks"]
        assert not capfd.readouterr().err, name


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the folder of a study, and the charts on its page."""
    results = tmp_path_factory.mktemp("results")
    write_study(results / "study")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        report = write_report(results).read_text(encoding="utf-8")
    return results / "study", charts_of(report)


CHARTS = ["traces", "targets", "profiles", "learning-rates", "budget", "wins", "pairs"]


def test_every_chart_compiles_without_a_warning(study, capfd):
    _, charts = study
    assert list(charts) == CHARTS
    assert_compiles(charts, capfd)


@pytest.mark.slow
def test_a_saved_chart_names_its_problem_where_there_are_several(study, capfd):
    """Charts of two problems, saved from one page, could not be told apart."""
    folder, _ = study
    tables = read_tables(folder)
    styles = series_styles(list(pd.unique(tables.runs["optimizer"])))
    problem = 'the "a" <b> problem'
    _, charts, _ = report._compare(problem, tables.runs, tables.traces, {}, styles)
    assert [chart.name for chart in charts] == CHARTS
    assert_compiles({chart.name: (chart.spec, chart.tables) for chart in charts}, capfd)
    for chart in charts:
        assert problem in html.unescape(vl_convert.vegalite_to_svg(chart.whole_spec())), chart.name


def tooltips(part):
    """Yield what a specification says of tooltips, at any depth."""
    if isinstance(part, dict):
        yield from (part["tooltip"] for _ in range("tooltip" in part))
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from tooltips(inner)


def test_every_tooltip_is_a_list_of_names_and_formatted_values(study):
    """None shows the rows of the data as they are, or nothing: a mark has such a list, or no tooltip."""
    _, charts = study
    for name, (spec, _) in charts.items():
        found = [tip["value"]["expr"] for tip in tooltips(spec) if tip is not None]
        assert found, name
        for lines in found:
            assert re.match(r"""\[\[(['"])[^'"]+\1, .""", lines), name


def test_a_warning_would_be_seen(study, capfd):
    _, charts = study
    spec, tables = charts["wins"]
    spec = json.loads(json.dumps(spec))
    spec["layer"][0]["encoding"]["size"] = {"field": "row", "type": "nominal"}
    with pytest.raises(AssertionError, match="size"):
        assert_compiles({"wins": (spec, tables)}, capfd)


def assert_same(shown, written, keys):
    """Assert that a chart's table has the rows and, to four digits, the numbers of a written one."""
    columns = [name for name in shown if name in set(written)]
    assert len(shown) == len(written)
    assert set(keys) < set(columns)
    shown, written = (table[columns].set_index(keys).sort_index() for table in (shown, written))
    for name in shown:
        if pd.api.types.is_numeric_dtype(shown[name]):
            np.testing.assert_allclose(shown[name], written[name].astype(float), rtol=6e-4, err_msg=name)
        else:
            assert list(shown[name]) == list(written[name])


def test_the_charts_show_the_written_tables(study):
    folder, charts = study
    targets = pd.read_csv(folder / "targets.csv")
    shown = charts["targets"][1]["targets"]
    lists = next(p["value"] for p in charts["targets"][0]["params"] if p["name"] == "lists")
    shown["target"] = [lists[m][n - 1] for m, n in zip(shown["metric"], shown["number"], strict=True)]
    assert_same(shown, targets, ["setting", "metric", "target", "optimizer"])
    profiles = pd.read_csv(folder / "profiles.csv")
    assert_same(charts["profiles"][1]["profiles"], profiles, ["setting", "metric", "optimizer", "ratio"])
    budget = pd.read_csv(folder / "budget.csv")
    assert_same(charts["budget"][1]["budget"], budget, ["optimizer", "trials"])


def test_the_times_to_the_target_are_described_in_words(study):
    """One that half of the seeds never reach is "never", as on the chart."""
    (tables,) = page.read_experiments(study[0].parent, [study[0].name])
    comparison = compare_optimizers(tables.runs, tables.traces, DEFAULTS, splits=20, draws=20)
    comparison.targets["epochs_median"] = np.inf
    chart = next(targets_chart(comparison, vega.Palette(series_styles(LABELS))))
    assert chart.alt.endswith(f"SGD never, Adam never, {HOSTILE} never.")


def test_the_axis_of_times_is_as_long_as_what_is_drawn(study):
    """An expected running time that is many times the longest run is told, not drawn."""
    folder, charts = study
    targets = pd.read_csv(folder / "targets.csv").replace(np.inf, np.nan)
    drawn = targets[["epochs_median", "epochs_low", "epochs_high"]].max().max()
    assert targets["epochs_expected"].max() > 2 * drawn
    x = charts["targets"][0]["layer"][1]["encoding"]["x"]
    assert float(x["scale"]["domain"][1]["expr"].split()[0]) == pytest.approx(drawn)


def test_pairs_and_wins_show_the_written_comparisons(study):
    folder, charts = study
    written = pd.read_csv(folder / "comparisons.csv")
    written["pair"] = written["better"] + " – " + written["worse"]
    assert_same(charts["pairs"][1]["pairs"], written, ["setting", "pair"])
    wins = charts["wins"][1]["wins"]
    assert len(wins) == 2 * len(written)
    share = wins.set_index(["setting", "row", "column"])["share_won"]
    for row in written.itertuples():
        assert share[row.setting, row.better, row.worse] == pytest.approx(row.share_won, rel=6e-4)
        assert share[row.setting, row.worse, row.better] == pytest.approx(1 - row.share_won, abs=6e-4)


@pytest.mark.parametrize("optimizers", mostly_slow([11, 10]))
def test_of_more_than_ten_optimizers_the_pairs_of_one_are_shown(tmp_path, optimizers):
    labels = [f"rule {place}" for place in range(optimizers)]
    write_study(tmp_path / "many", labels, rates=(0.1,), seeds=range(100, 104))
    runs = pd.read_csv(tmp_path / "many/runs.csv")
    traces = pd.read_parquet(tmp_path / "many/traces.parquet")
    (chart,) = differences_chart(compare_optimizers(runs, traces), "")
    drawn = set(re.findall(r">(rule \d+ – rule \d+)<", vl_convert.vegalite_to_svg(chart.whole_spec())))
    lists = [each for each in chart.controls if each["input"] == "select"]
    every = {f"{a} – {b}" for a, b in chart.tables["pairs"][["better", "worse"]].to_numpy()}
    if optimizers == 10:
        assert (drawn, lists) == (every, [])
        assert "pairs of" not in chart.caption.lower()
    else:
        (one,) = lists
        assert sorted(one["options"]) == sorted(labels)
        assert drawn == {pair for pair in every if one["options"][0] in pair.split(" – ")}
        assert "Of 55 pairs, those of one optimizer are shown" in chart.caption


def test_the_traces_are_those_of_the_reported_runs(study):
    folder, charts = study
    shown = charts["traces"][1]["traces"]
    runs = pd.read_csv(folder / "runs.csv")
    summary = pd.read_csv(folder / "summary.csv")
    recorded = pd.read_parquet(folder / "traces.parquet")
    for setting, column in (("tuned", "learning_rate"), ("default", "default_learning_rate")):
        rates = dict(zip(summary["optimizer"], summary[column], strict=True))
        is_mine = (runs["role"] == "reporting") & (runs["learning_rate"] == runs["optimizer"].map(rates))
        mine = recorded[recorded["run_id"].isin(runs.loc[is_mine, "run_id"])].copy()
        for name in [name for name in mine if name.endswith(("loss", "accuracy"))]:
            mine[name] = mine[name].fillna(np.inf if name.endswith("loss") else 0)
        own = shown[shown["setting"] == setting]
        own = own.merge(mine[["optimizer", "seed", "step"]])  # runs that failed have no records
        assert_same(own, mine, ["optimizer", "seed", "step"])


def test_a_failed_run_counts_as_infinite_in_the_traces(study):
    _, charts = study
    shown = charts["traces"][1]["traces"]
    assert set(shown.groupby(["setting", "optimizer", "step"]).size()) == {9}
    failed = shown[(shown["optimizer"] == HOSTILE) & (shown["seed"] == 101)]
    assert set(failed["validation_loss"]) == {np.inf}
    assert set(failed["validation_accuracy"]) == {0}


def test_the_traces_name_the_optimizers_that_have_no_line():
    """Where all runs diverge, the axes were empty without a word."""
    steps = [0, 10, 20]
    medians = {"A": [2, 1, 1], "B": [2, np.inf, np.inf], "C": [2, np.nan, np.nan]}
    table = pd.concat(
        pd.DataFrame({"setting": "tuned", "optimizer": label, "step": steps, "loss": losses})
        for label, losses in medians.items()
    )
    found = _without_line(table, ["loss"])
    assert found == {"tuned": {"loss": ["no finite median after the start:", "B and C"]}}
    assert _without_line(table[table["optimizer"] == "A"], ["loss"]) == {"tuned": {"loss": [""]}}


@pytest.mark.slow
def test_every_learning_rate_that_can_be_chosen_has_traces(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    write_study(tmp_path / "study", rates=(0.0012345678, 0.012345678, 0.12345678, 1.0))
    spec, tables = charts_of(write_report(tmp_path).read_text(encoding="utf-8"))["learning-rates"]
    cell = next(param for param in spec["params"] if param["name"] == "cell")
    options = set(cell["bind"]["learning_rate"]["options"])
    assert (
        options == set(tables["cells"]["learning_rate"]) == set(tables["cell_traces"]["learning_rate"])
    )
    assert {value["learning_rate"] for value in cell["value"]} < options


FEW = (0, 1, 100, 101, 104, 106)
ODD = {
    "one optimizer": {"labels": ("SGD",)},
    "one learning rate": {"rates": (0.12,)},
    "one seed": {"seeds": (100,)},
    "tuning seeds alone": {"seeds": (0, 1, 2)},
    "one record": {"records": 1},
    "no accuracy": {"drop": ("accuracy",)},
    "training loss alone": {"drop": ("validation", "test", "accuracy", "gradient")},
    "an old sweep without defaults": {"defaults": {}},
    "defaults off the grid": {"defaults": dict.fromkeys(LABELS, 0.5)},
    "odd labels": {"labels": ("1", "2e3", " ", "null")},
}


@pytest.mark.parametrize("case", mostly_slow(ODD))
def test_odd_tables_have_charts_that_compile(case, tmp_path, monkeypatch, capfd):
    without_pictures(monkeypatch)
    write_study(tmp_path / "odd", **{"seeds": FEW, "rates": (0.01, 0.12, 1.0), **ODD[case]})
    charts = charts_of(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "traces" in charts
    assert ("learning-rates" in charts) == (case != "one learning rate")
    assert ("pairs" in charts) == (case != "one optimizer")
    assert ("wins" in charts) == (case not in ("one optimizer", "one seed"))
    assert_compiles(charts, capfd)
    for _, tables in charts.values():
        for table in tables.values():
            assert len(table)


@pytest.mark.slow
def test_runs_that_all_failed_have_no_charts(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    write_study(tmp_path / "failed", labels=("A", "B", "C"), seeds=(1, 101), rates=(0.1,), records=0)
    runs = pd.read_csv(tmp_path / "failed" / "runs.csv").assign(status="failed", reason="no")
    runs.assign(final_train_loss=np.nan).to_csv(tmp_path / "failed" / "runs.csv", index=False)
    report = write_report(tmp_path).read_text(encoding="utf-8")
    assert "traces" not in charts_of(report)
    assert "No optimizer can be recommended" in report


@pytest.mark.slow
def test_a_large_sweep_is_thinned_and_the_charts_say_so(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    rates = (0.001, 0.01, 0.12)
    write_study(tmp_path / "large", LABELS[:2], rates, range(98, 160), records=300)
    report = write_report(tmp_path).read_text(encoding="utf-8")
    charts = charts_of(report)
    traces = charts["traces"][1]["traces"]
    runs = traces.groupby(["setting", "optimizer", "seed"])
    assert runs.size().max() <= vega.MOST_RECORDS
    assert set(runs["step"].min()) == {0}
    assert set(runs["step"].max()) == {2990}
    assert traces["seed"].nunique() == vega.MOST_SEEDS
    assert charts["pairs"][1]["differences"]["seed"].nunique() == vega.MOST_SEEDS
    assert len(report) < 3_000_000
    for name in ("traces", "pairs"):
        caption = re.search(rf'id="large-{name}".*?<figcaption>(.*?)</figcaption>', report, re.DOTALL)[1]
        assert "first 50 of" in caption
        assert name != "traces" or "120" in caption  # of 300 records


def test_tables_are_encoded_without_loss_of_what_matters():
    table = pd.DataFrame(
        {"name": ["b", "a", "b"], "loss": [0.123456, np.inf, -np.inf], "step": [12345678, 0, 3]}
    )
    table["share"] = [1e-9 / 3, np.nan, 100000.4]
    table["huge"] = [1.23456e200, 1e30, 0]  # whole numbers, but nobody needs all their digits
    table["rank"] = pd.array([1, None, 3], dtype="Int64")
    encoded = encode(table)
    assert json.loads(json.dumps(encoded, allow_nan=False)) == {
        "name": {"texts": ["b", "a"], "codes": [0, 1, 0]},
        "loss": [0.1235, "Infinity", "-Infinity"],
        "step": [12345678, 0, 3],
        "share": [3.333e-10, None, 100000],
        "huge": [1.235e200, 1e30, 0],
        "rank": [1, None, 3],
    }


def test_ticks_are_round_numbers():
    assert round_ticks(0.05, 2) == [0.05, 0.1, 0.2, 0.5, 1, 2]
    assert round_ticks(0.3, 2000, digits=(1,)) == [1, 10, 100, 1000]


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.21, 0.45), (0.9, 1.1), (2.1, 4.9), (0.3, 0.7), (1e-9, 1.2), (0.11, 0.35), (3, 3.1), (0.1, 299)],
)
def test_a_logarithmic_axis_has_several_ticks(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= MOST_TICKS
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)


@pytest.mark.slow
def test_seeds_to_settle_are_of_the_rates_that_they_are_for(study):
    folder, _ = study
    runs, traces = pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "traces.parquet")
    comparison = compare_optimizers(runs, traces, DEFAULTS)
    comparison.pairs["seeds_to_settle"] = pd.Series(20, comparison.pairs.index, dtype=object)
    comparison.pairs["seeds_to_settle_low"] = comparison.pairs["seeds_to_settle_high"] = 20.0
    comparison.pairs["outcome"] = "undecided"
    (chart,) = differences_chart(comparison, "")
    assert "At tuned learning rates: if the observed differences hold" in chart.caption


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([0.1, np.inf], True),
        ([0.0, 1.0], True),
        ([-1e-16, 1.0], True),
        ([-1.0, 1.0], False),
        ([np.inf], False),
        ([0.0], False),
    ],
)
def test_losses_have_a_scale(values, is_log):
    scale, _ = vega.loss_scale(pd.DataFrame({"median": values}))
    assert (scale.to_dict().get("type") == "log") == is_log


@pytest.mark.slow
def test_losses_of_zero_are_drawn_at_the_bottom_of_a_logarithmic_axis(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    write_study(tmp_path / "study", labels=LABELS[:2])
    path = tmp_path / "study/traces.parquet"
    traces = pd.read_parquet(path)
    ends = traces["step"] >= 50  # of 0, 10, …, 70
    traces.loc[ends & (traces["optimizer"] == "SGD"), "validation_loss"] = 0.0
    traces.to_parquet(path)
    charts = charts_of(write_report(tmp_path).read_text(encoding="utf-8"))
    _, tables = charts["learning-rates"]
    for _, cell in tables["cell_traces"].query("optimizer == 'SGD'").groupby("learning_rate"):
        is_zero = cell["split"].eq("validation") & cell["time"].ge(2.5)
        assert is_zero.sum() == 3
        lowest = cell.loc[~is_zero, "low"].min()
        assert cell.loc[is_zero, ["low", "median"]].eq(lowest).all(axis=None)
    spec, tables = charts["traces"]
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    drawn = vl_convert.vegalite_to_svg(
        spec | {"datasets": rows, "width": 700, "height": 300}, show_warnings=False
    )
    paths = re.findall(r'<path[^>]*stroke="#0072B2"[^>]*>', drawn)
    (line,) = (each for each in paths if "dasharray" in each and each.count("L") > 1)
    assert line.count("L") == 7  # to the last record


def test_legends_are_narrower_on_a_phone():
    palette = vega.Palette(series_styles(["x" * 60, "y" * 60]))
    wide, narrow = palette.rows()
    assert wide < narrow
    legend = palette.colour().to_dict()["legend"]
    entry = 45 + int(re.fullmatch(r"narrow \? (\d+) : \d+", legend["labelLimit"]["expr"])[1])
    assert entry + 80 <= 400 - 2 * 16 - 38 - 20  # with a label of an axis, in the page's width


@pytest.mark.parametrize(("height", "most"), [(100, 1000), (40_000, vega.LONGEST_SIDE)])
def test_the_picture_of_a_chart_with_hundreds_of_rows_can_be_shown(height, most):
    spec = {"mark": "point", "width": 50, "height": height, "data": {"values": [{}]}}
    files = vega.Chart("pairs", "", "", "", spec, {}, (0, 0)).files()
    with Image.open(io.BytesIO(files["pairs.png"])) as picture:
        assert 0.25 * most < picture.height <= most


def test_the_legend_names_every_one_of_many_optimizers():
    labels = [f"rule {place}" for place in range(32)]
    palette = vega.Palette(series_styles(labels))
    chart = alt.Chart(pd.DataFrame({"optimizer": labels})).mark_line()
    chart = chart.encode(palette.colour(), palette.dash(), x="optimizer:N").add_params(
        vega.constant(vega.NARROW, False)
    )
    drawn = vl_convert.vegalite_to_svg(chart.properties(width=600, height=50).to_dict())
    legend = drawn[drawn.index("role-legend") :]
    assert [label for label in labels if f">{label}<" not in legend] == []


def test_runs_that_blow_up_do_not_squeeze_the_others_and_ticks_stay_few():
    losses = pd.DataFrame({"median": [1e-90, 0.1, 1.0, 2.0, 1e200, np.inf]})
    scale, axis = vega.loss_scale(losses)
    low, high = scale.to_dict()["domain"]
    assert 1e-91 < low < 1e-90
    assert 2 < high < 1e7
    assert 3 <= len(axis.to_dict()["values"]) <= MOST_TICKS


@pytest.mark.slow
def test_steps_are_steps_where_an_epoch_is_one(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    write_study(tmp_path / "study")
    path = tmp_path / "study/traces.parquet"
    traces = pd.read_parquet(path)
    traces.assign(epoch=traces["step"].astype(float)).to_parquet(path)
    charts = charts_of(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "steps of training" in json.dumps(charts["learning-rates"][0])
    for name in ("targets", "learning-rates"):
        text = json.dumps(charts[name][0])
        assert "epochs to the target" not in text
        assert "epochs of training" not in text
    clock = next(each for each in charts["traces"][0]["params"] if each["name"] == "clock")
    assert clock == {"name": "clock", "value": "step"}


@pytest.mark.slow
def test_huge_numbers_of_seeds_are_not_recommended(study):
    folder, _ = study
    runs, traces = pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "traces.parquet")
    comparison = compare_optimizers(runs, traces, DEFAULTS)
    for end in ("", "_low", "_high"):
        comparison.pairs[f"seeds_to_settle{end}"] = 1e25
    comparison.pairs["outcome"] = "undecided"
    (chart,) = differences_chart(comparison, "")
    assert "over a million" in chart.caption
    assert "000,000" not in chart.caption


def test_a_charts_files_are_pictures(study):
    (tables,) = page.read_experiments(study[0].parent, [study[0].name])
    comparison = compare_optimizers(tables.runs, tables.traces, DEFAULTS)
    chart = next(targets_chart(comparison, vega.Palette(series_styles(LABELS))))
    files = chart.files()
    assert set(files) == {"targets.svg", "targets.png"}
    assert files["targets.svg"].startswith(b"<svg")
    assert files["targets.png"].startswith(b"\x89PNG")
    assert files == chart.files()
