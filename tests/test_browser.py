"""The page in a real browser: it fits, it is quiet, and every control does what it says.

What is drawn is read from the marks of the charts and compared with the tables. Needs Chromium,
which CI has.
"""

import io
import os
import shutil
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image
from playwright.sync_api import sync_playwright
from shipped import sweep_shipped
from test_charts import CHARTS, HOSTILE, LABELS, RATES, without_pictures, write_study

from optimlab.report.figures import plots
from optimlab.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 90  # seconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="there is no Chromium"),
]

# What a chart has drawn: of each mark its type, its role, and its items with the numbers behind them.
DRAWN = """(figure) => {
  const drawn = [];
  const plain = (datum) => Object.fromEntries(
    Object.entries(datum ?? {}).filter(([, value]) => value === null || typeof value !== "object"));
  const walk = (mark, part) => {
    if (mark.marktype === "group") {
      for (const group of mark.items)
        for (const inner of group.items)
          walk(inner, mark.name?.startsWith("concat_") ? Number(mark.name.split("_")[1]) : part);
      return;
    }
    const items = mark.items.map(({ datum, x, y, opacity, strokeWidth, text }) =>
      ({ ...plain(datum), left: x, top: y, opacity, strokeWidth, text }));
    drawn.push({ type: mark.marktype, role: mark.role, part, items });
  };
  walk(figure.view.scenegraph().root, 0);
  return drawn;
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    title = "Wide <b>words</b> " + "and " * 30
    cost = {"step_seconds": 0.25, "rule_seconds": 0.125, "state_bytes": 8}
    costs = {"digits": dict.fromkeys(LABELS, cost)}
    write_study(
        results / "study", title=title, toml="x = 1\n" * 3, problem={"name": "digits"}, costs=costs
    )
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        write_report(results)
    return results


@pytest.fixture(scope="module")
def tables(results):
    folder = results / "study"
    names = ("runs", "summary", "targets", "profiles", "budget", "comparisons")
    read = {name: pd.read_csv(folder / f"{name}.csv") for name in names}
    return {**read, "traces": pd.read_parquet(folder / "traces.parquet")}


class Tab:
    """A tab with the page open, and everything that it complained of or asked for."""

    def __init__(self, browser, results, width=1280, **options):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = (results / "report.html").as_uri()
        self.page.goto(self.address)

    def wait_until(self, question, argument=None):
        """Ask again and again, for a while; the page forbids what Playwright would do for us."""
        end = time.monotonic() + PATIENCE
        while not (answer := self.page.evaluate(question, argument)) and time.monotonic() < end:
            assert self.said == []
            self.page.wait_for_timeout(20)
        assert answer, question
        return answer

    def draw(self):
        self.wait_until("[...document.querySelectorAll('figure.chart')].every((figure) => figure.view)")
        return self

    def draw_unfolded(self):
        """Wait until every chart is drawn that is not folded."""
        self.wait_until("figures.every((figure) => figure.view || isFolded(figure))")

    def assert_quiet(self):
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("data:", "blob:"))] == [self.address]

    def chart(self, name):
        return Chart(self.page, name)


class Chart:
    """A chart on the page, its controls, and what it has drawn."""

    def __init__(self, page, name):
        self.page, self.figure = page, page.locator(f"#study-{name}")

    def choose(self, **values):
        """Give controls values, as a reader would."""
        for name, value in values.items():
            control = self.figure.locator(f".vega-bindings [name='{name}']")
            kind = control.first.evaluate("(element) => element.type")
            if kind == "radio":
                self.figure.locator(f".vega-bindings [name='{name}'][value='{value}']").check()
            elif kind == "checkbox":
                control.set_checked(value)
            elif kind == "range":
                control.fill(str(value))
            else:
                control.select_option(label=value)
        self.settle()
        return self

    def settle(self):
        self.figure.evaluate("(figure) => figure.view.runAsync().then(() => null)")

    def drawn(self, kind, part=0, role="mark", **properties):
        """Return the items of the marks of a kind, a list a mark, those that have these properties."""
        marks = [
            mark["items"]
            for mark in self.figure.evaluate(DRAWN)
            if (mark["type"], mark["role"], mark["part"]) == (kind, role, part)
        ]
        return [
            items
            for items in marks
            if items and all(items[0].get(key) == value for key, value in properties.items())
        ]

    def items(self, kind, part=0, **properties):
        """Return the items of all marks of a kind as one table."""
        return pd.DataFrame([item for items in self.drawn(kind, part, **properties) for item in items])

    def axis(self, part=0):
        """Return the texts of the vertical axis, from top to bottom, and their places."""
        labels = [items for items in self.drawn("text", part, role="axis-label") if items[0]["left"] < 0]
        shown = sorted((item["top"], item["text"]) for item in labels[0] if item["opacity"])
        return {text: top for top, text in shown}

    @property
    def title(self):
        return self.drawn("text", role="title-text")[0][0]["text"]

    def point_at(self, item):
        """Return where an item of a chart of one part is on the screen."""
        box = self.figure.locator("svg .role-frame > g > path.background").bounding_box()
        return box["x"] + item["left"], box["y"] + item["top"]


@pytest.fixture(scope="module")
def tab_of_all(browser, results):
    tab = Tab(browser, results).draw()
    yield tab
    tab.context.close()


@pytest.fixture
def tab(tab_of_all):
    """Return a tab that tests share: each sets every control that it depends on."""
    yield tab_of_all
    tab_of_all.page.mouse.move(0, 0)
    tab_of_all.assert_quiet()


# The page as a whole


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_is_quiet_and_legible(browser, results, width, scheme):
    tab = Tab(browser, results, width, color_scheme=scheme).draw()
    tab.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert tab.page.evaluate(widths) == [width, width]
    assert tab.page.locator("figure.chart").count() == len(CHARTS)
    for name in CHARTS:
        figure = tab.chart(name).figure
        assert figure.locator("svg.marks").bounding_box()["width"] > 0.7 * (width - 80)
        assert figure.locator(".mark-symbol path, .mark-line path, .mark-rect path").count() > 2
        label = figure.locator("[role='graphics-document']").get_attribute("aria-label")
        assert len(label) > 20
    assert "<b>words</b>" in tab.page.locator("h1").inner_text()
    assert_legible(tab, (255, 255, 255) if scheme == "light" else (0, 0, 0))
    tab.page.emulate_media(media="print")
    assert not tab.page.locator(".vega-bindings").first.is_visible()
    assert_legible(tab, (255, 255, 255))
    fetched = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert all(url.startswith(("data:", "blob:")) for url in tab.page.evaluate(fetched))
    tab.assert_quiet()
    tab.context.close()


COLOURS = """(figure) => {
  let element = figure, behind;
  do {
    behind = getComputedStyle(element).backgroundColor;
    element = element.parentElement;
  } while (behind === "rgba(0, 0, 0, 0)" && element);
  const roles = ["axis-label", "axis-title", "title-text", "legend-label"];
  const texts = figure.querySelectorAll(roles.map((role) => `.role-${role} text`).join());
  const shown = [...texts].filter((text) => text.getAttribute("opacity") !== "0");
  return [behind, ...new Set(shown.map((text) => getComputedStyle(text).fill))];
}"""


def assert_legible(tab, near):
    """Assert that the charts' words stand out from a background that is near a colour."""
    for name in CHARTS:
        found = tab.chart(name).figure.evaluate(COLOURS)
        behind, *inks = ([int(n) for n in c[c.index("(") + 1 : -1].split(",")[:3]] for c in found)
        if behind != [0, 0, 0] or near == (0, 0, 0):  # paper has no colour of its own
            assert np.abs(np.subtract(behind, near)).max() < 50
        assert inks
        assert all(contrast(ink, near) >= 7 for ink in inks), name


def contrast(one, other):
    """Return the contrast ratio of WCAG 2.1 between two colours."""

    def luminance(colour):
        parts = np.array(colour) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    low, high = sorted([luminance(one), luminance(other)])
    return high / low


A4 = 680  # pixels: 210 mm, without the margins of the style sheet
PRINTED = """() => [...document.querySelectorAll("figure.chart")].map((figure) => {
  const paper = figure.getBoundingClientRect();
  const drawing = figure.querySelector("svg.marks").getBoundingClientRect();
  const title = figure.querySelector(".role-title-text text").getBoundingClientRect();
  return drawing.left >= paper.left - 1 && drawing.right <= paper.right + 1
    && drawing.bottom <= paper.bottom && title.width > 0
    && paper.height <= 247 / 25.4 * 96; // of a Letter page
})"""


def test_a_printed_page_fits_its_paper(browser, results):
    """Nothing is wider than A4, each chart is whole, on one page, and says what it shows."""
    tab = Tab(browser, results).draw()
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size({"width": A4, "height": 960})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == A4
    lines = "[...document.querySelectorAll('.sortable .whole')].map((line) => line.offsetHeight)"
    assert max(tab.page.evaluate(lines)) < 16  # none is broken in two
    printed = tab.page.evaluate(PRINTED)
    assert len(printed) == len(CHARTS)
    assert all(printed)
    assert subtitle(tab.chart("traces")) == "tuned learning rates"
    assert tab.page.pdf(format="A4").startswith(b"%PDF")
    tab.context.close()


def test_letters_twice_as_large_make_nothing_wider_than_a_phone(browser, results):
    """The list of columns to sort by did."""
    large = [*FLAGS, "--blink-settings=defaultFontSize=32"]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=large)
    tab = Tab(other, results, 400).draw()
    assert tab.page.evaluate("getComputedStyle(document.body).fontSize") == "32px"
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 400
    other.close()


@pytest.mark.parametrize("width", [360, 700, 850, 1000, 1150])
def test_nothing_is_wider_than_the_window(browser, results, width):
    tab = Tab(browser, results, width)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    tab.context.close()


def test_without_scripts_the_words_and_the_table_are_there(browser, results, tables):
    tab = Tab(browser, results, java_script_enabled=False)
    best = tables["summary"].iloc[0]
    verdict = tab.page.locator(".verdict").first.inner_text()
    assert best["optimizer"] in verdict
    assert f"{best['final_loss_median']:#.3g}" in verdict
    assert "needs JavaScript" in tab.page.locator("figure noscript").first.inner_text()
    rows = [row.inner_text() for row in tab.page.locator("table.sortable tbody tr").all()]
    for row, summary in zip(rows, tables["summary"].itertuples(), strict=True):
        assert summary.optimizer in row
        assert f"{summary.final_loss_median:#.3g}" in row
    tab.context.close()


def test_on_a_narrower_window_a_chart_shrinks_and_keeps_what_was_chosen(browser, results):
    tab = Tab(browser, results).draw()
    chart, rates = tab.chart("budget").choose(trials=2), tab.chart("learning-rates")
    rates.choose(cell_key="Adam", cell_learning_rate="0.001")
    tab.page.set_viewport_size({"width": 700, "height": 900})
    tab.wait_until(
        "[...document.querySelectorAll('.chart svg.marks')].every((each) => each.clientWidth < 700)"
    )
    tab.draw()
    assert chart.title == "ranking after 2 trials"
    assert rates.figure.locator("[name='cell_key'] option:checked").inner_text() == "Adam"
    tab.assert_quiet()
    tab.context.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_a_problem_is_drawn_when_it_is_unfolded(browser, shipped, width):
    tab = Tab(browser, shipped, width)
    drawn = "(name) => [...document.querySelectorAll(`#${name} figure`)].map((each) => !!each.view)"
    tab.wait_until("!!document.querySelector('#landscapes-paths').view")
    assert not any(tab.page.evaluate(drawn, "landscapes-2"))
    tab.page.locator("#landscapes-2 > summary").click()
    tab.page.locator("#landscapes-2-learning-rates").scroll_into_view_if_needed()
    tab.wait_until("!!document.querySelector('#landscapes-2-learning-rates').view")
    assert any(tab.page.evaluate(drawn, "landscapes-2"))
    assert not any(tab.page.evaluate(drawn, "landscapes-1"))
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    shrunk = tab.page.locator("#landscapes-2-learning-rates svg.marks").evaluate(
        "(drawing) => drawing.width.baseVal.value - drawing.clientWidth"
    )
    assert shrunk < 20  # long labels are given room
    tab.assert_quiet()
    tab.context.close()


def test_a_chart_can_be_saved(browser, results):
    tab = Tab(browser, results).draw()
    menu = tab.chart("wins").figure.locator("details")
    menu.locator("summary").click()
    for kind in ("SVG", "PNG"):
        with tab.page.expect_download() as download:
            menu.get_by_text(f"Save as {kind}").click()
        assert download.value.suggested_filename == f"study-wins.{kind.lower()}"
    tab.assert_quiet()
    tab.context.close()


# The table


def column(table, place):
    """Return the numbers by which a column is sorted, as they stand from top to bottom."""
    cells = table.locator(f"tbody tr > :nth-child({place + 1})")
    return [cell.get_attribute("data-value") for cell in cells.all()]


def sorted_by(table):
    heads = table.locator("thead th").all()
    return {
        place: direction
        for place, head in enumerate(heads)
        if (direction := head.get_attribute("aria-sort"))
    }


def test_the_table_is_sorted_by_its_heads(tab, tables):
    table = tab.page.locator("table.sortable")
    heads = table.locator("thead button")
    for place in range(heads.count()):
        seen = []
        for press in ("Enter", "Space"):  # a key, as a reader without a mouse would
            heads.nth(place).focus()
            tab.page.keyboard.press(press)
            assert set(sorted_by(table)) == {place}
            values = column(table, place)
            seen.append(sorted_by(table)[place])
            if place != 1:
                values = [float(value) for value in values]
                finite = [value for value in values if np.isfinite(value)]
                assert finite == sorted(finite, reverse=seen[-1] == "descending")
            else:
                assert sorted(values) == sorted(LABELS)
        assert set(seen) == {"ascending", "descending"}
    heads.nth(0).click()
    tops = [table.locator("tbody th").nth(k).get_attribute("data-value") for k in range(len(LABELS))]
    order = list(tables["summary"]["optimizer"])
    assert tops == (order if sorted_by(table)[0] == "ascending" else order[::-1])


def test_the_best_comes_first_where_all_are_held_against_it(tab, tables):
    table = tab.page.locator("table.sortable")
    heads = table.locator("thead button")
    place = heads.all_inner_texts().index("Against the best")
    tab.page.evaluate("document.querySelector('thead button').click()")
    heads.nth(place).click()
    if sorted_by(table)[place] == "descending":
        heads.nth(place).click()
    assert (
        table.locator("tbody th").first.get_attribute("data-value") == tables["summary"]["optimizer"][0]
    )


def test_a_phone_sorts_the_table_from_a_list(browser, results, tables):
    tab = Tab(browser, results, 400)
    table, choice = tab.page.locator("table.sortable"), tab.page.locator(".order select")
    assert not tab.page.locator("thead button").first.is_visible() or (
        table.locator("thead").bounding_box()["width"] <= 1
    )
    choice.select_option(label="Final test accuracy")
    place = int(choice.input_value())
    assert sorted_by(table) == {place: "descending"}
    expected = tables["summary"].sort_values("final_accuracy_median", ascending=False)["optimizer"]
    rows = table.locator("tbody th").all()
    assert [row.get_attribute("data-value") for row in rows] == list(expected)
    choice.select_option(label="Rank")
    assert column(table, 0) == ["1", "2", "3"]
    tab.assert_quiet()
    tab.context.close()


# Traces


def reported(tables, setting="tuned"):
    """Return the traces of the reported runs, a row per run and record: a failed run has rows too."""
    rates = tables["summary"].set_index("optimizer")[
        "learning_rate" if setting == "tuned" else "default_learning_rate"
    ]
    runs = tables["runs"]
    runs = runs[(runs["role"] == "reporting") & (runs["learning_rate"] == runs["optimizer"].map(rates))]
    records = tables["traces"][["step", "epoch"]].drop_duplicates()
    numbers = tables["traces"].drop(columns=["optimizer", "learning_rate", "seed", "role", "epoch"])
    return runs[["run_id", "optimizer", "seed"]].merge(records, how="cross").merge(
        numbers, how="left", on=["run_id", "step"]
    )  # fmt: skip


def quartiles(values):
    """Return quartiles of numbers that may be infinite, by linear interpolation."""
    ordered = np.sort(values)
    found = []
    for level in (0.25, 0.5, 0.75):
        place = level * (len(ordered) - 1)
        low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
        found.append(low if low == high else low + (place % 1) * (high - low))
    return found


def smoothed(values, smoothing):
    """Return each value's mean with its neighbours, whose weights fall off to both sides."""
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    means = values.copy()
    for place in np.flatnonzero(known):
        weights = smoothing ** np.abs(np.arange(len(values)) - place) * known
        means[place] = np.average(np.where(known, values, 0), weights=weights)
    return means


def bands(tables, metric, setting="tuned", smoothing=0.0):
    """Return (optimizer, step) → quartiles over the seeds of a metric, smoothed run by run."""
    rows = reported(tables, setting).sort_values(["run_id", "step"])
    rows["value"] = rows[metric].fillna(0 if metric.endswith("accuracy") else np.inf)
    rows["value"] = rows.groupby("run_id")["value"].transform(lambda run: smoothed(run, smoothing))
    return {key: quartiles(group["value"]) for key, group in rows.groupby(["optimizer", "step"])}


BASE = {
    "metric": "validation loss (nats)", "setting": "tuned", "clock": "epoch", "log_y": True,
    "log_x": False, "bands": True, "single": False, "smoothing": 0,
    "show_0": True, "show_1": True, "show_2": True,
}  # fmt: skip


def medians_drawn(chart, is_log=True, width=2):
    """Return (optimizer, time) → the median that a line shows."""
    lines = chart.items("line", strokeWidth=width)
    values = 10 ** lines["middle"] if is_log else lines["middle"]
    return dict(zip(zip(lines["optimizer"], lines["time"], strict=True), values, strict=True))


def assert_medians(drawn, expected, steps_per_time=20):
    finite = {
        (optimizer, step / steps_per_time): middle
        for (optimizer, step), (_, middle, _) in expected.items()
        if np.isfinite(middle)
    }
    assert set(drawn) == set(finite)
    for key, value in finite.items():
        assert drawn[key] == pytest.approx(value, rel=6e-4), key


METRICS = {
    "validation loss (nats)": "validation_loss",
    "training loss (nats)": "train_loss",
    "test loss (nats)": "test_loss",
    "validation accuracy": "validation_accuracy",
    "training accuracy": "train_accuracy",
    "test accuracy": "test_accuracy",
}


@pytest.mark.parametrize("label", METRICS)
@pytest.mark.parametrize("setting", ["tuned", "default"])
def test_traces_are_medians_of_the_chosen_metric(tab, tables, label, setting):
    chart = tab.chart("traces").choose(**BASE | {"metric": label, "setting": setting})
    is_log = "accuracy" not in label  # accuracies crowd at 1
    assert chart.title == label + (", log scale" if is_log else "")
    assert_medians(medians_drawn(chart, is_log), bands(tables, METRICS[label], setting))


@pytest.mark.parametrize("log_y", [True, False])
@pytest.mark.parametrize("log_x", [True, False])
@pytest.mark.parametrize("clock", ["epoch", "step", "seconds"])
def test_axes_can_be_steps_or_seconds_and_logarithmic(tab, tables, log_y, log_x, clock):
    chart = tab.chart("traces").choose(**BASE | {"clock": clock, "log_x": log_x, "log_y": log_y})
    steps_per_time = {"epoch": 20, "step": 1, "seconds": 4}[clock]
    expected = bands(tables, "validation_loss")
    if log_x:  # 0 has no logarithm
        expected = {key: value for key, value in expected.items() if key[1] > 0}
    assert_medians(medians_drawn(chart, log_y), expected, steps_per_time)
    texts = [item["text"] for items in chart.drawn("text") for item in items]
    title = {
        "epoch": "epochs of training",
        "step": "steps of training",
        "seconds": "seconds of processor time",
    }
    assert any(title[clock] in text for text in texts)
    assert chart.title.endswith(", log scale") == log_y
    ticks = {float(text): top for text, top in chart.axis().items()}
    values = np.log10(list(ticks)) if log_y else np.array(list(ticks))
    slope, start = np.polyfit(values, list(ticks.values()), 1)
    lines = chart.items("line", strokeWidth=2)
    shown = 10 ** lines["middle"] if log_y else lines["middle"]
    places = start + slope * (np.log10(shown) if log_y else shown)
    np.testing.assert_allclose(lines["top"], places, atol=2)  # pixels: the ticks say what is drawn
    if log_x:
        np.testing.assert_allclose(lines["x"], np.log10(lines["time"]))


@pytest.mark.parametrize("smoothing", [0.3, 0.9])
def test_runs_are_smoothed_one_by_one_and_the_raw_line_stays(tab, tables, smoothing):
    chart = tab.chart("traces").choose(**BASE | {"smoothing": smoothing})
    assert_medians(medians_drawn(chart), bands(tables, "validation_loss", smoothing=smoothing))
    raw = medians_drawn(chart, width=1)
    assert_medians(raw, bands(tables, "validation_loss"))
    chart.choose(smoothing=0)
    assert chart.drawn("line", strokeWidth=1) == []


def test_bands_are_quartiles_and_can_be_left_out(tab, tables):
    chart = tab.chart("traces").choose(**BASE)
    expected = bands(tables, "validation_loss")
    finite = [high for _, _, high in expected.values() if np.isfinite(high)]
    shown = chart.items("area")
    assert set(shown["optimizer"]) == set(LABELS)
    assert 0 < len(finite) < len(expected)  # else the half of it is not tested
    for row in shown.itertuples():
        low, _, high = expected[row.optimizer, round(20 * row.time)]
        assert 10**row.low == pytest.approx(low, rel=6e-4)
        if np.isfinite(high):
            assert 10**row.high == pytest.approx(high, rel=6e-4)
        else:
            assert 10**row.high == pytest.approx(max(finite), rel=6e-4)  # out of the picture
    assert chart.choose(bands=False).drawn("area") == []


def test_single_seeds_are_shown_on_demand(tab, tables):
    chart = tab.chart("traces").choose(**BASE)
    assert chart.drawn("line", strokeWidth=0.6) == []
    shown = chart.choose(single=True).items("line", strokeWidth=0.6)
    expected = reported(tables).set_index(["optimizer", "seed", "step"])["validation_loss"].dropna()
    shown = shown[shown["y"].notna()]
    assert len(shown) == len(expected)
    for row in shown.itertuples():
        assert 10**row.y == pytest.approx(expected[row.optimizer, row.seed, row.step], rel=6e-4)


def test_an_optimizer_can_be_hidden_and_another_be_alone(tab):
    chart = tab.chart("traces").choose(**BASE | {"show_1": False})
    assert set(chart.items("line", strokeWidth=2)["optimizer"]) == {LABELS[0], LABELS[2]}
    assert set(chart.items("area")["optimizer"]) == {LABELS[0], LABELS[2]}
    chart.choose(show_0=False)
    assert set(chart.items("line", strokeWidth=2)["optimizer"]) == {HOSTILE}
    box = chart.figure.get_by_label("Adam", exact=True)
    box.focus()
    tab.page.keyboard.press("Space")
    chart.settle()
    assert set(chart.items("line", strokeWidth=2)["optimizer"]) == {"Adam", HOSTILE}


def test_a_click_in_the_legend_shows_one_optimizer_alone_and_another_click_all(tab, tables):
    chart = tab.chart("traces").choose(**BASE)
    names = chart.figure.locator(".role-legend-label text")
    adam = names.filter(has_text="Adam")
    adam.click()
    chart.settle()
    drawn, band, there = medians_drawn(chart), set(chart.items("area")["optimizer"]), names.count()
    adam.click()
    chart.settle()
    after = set(chart.items("line", strokeWidth=2)["optimizer"])
    if after == {"Adam"}:  # the tab is shared
        adam.click(modifiers=["Shift"])
        chart.settle()
    alone = {key: value for key, value in bands(tables, "validation_loss").items() if key[0] == "Adam"}
    assert_medians(drawn, alone)
    assert band == {"Adam"}
    assert there == len(LABELS)
    assert after == set(LABELS)


def tooltip(tab):
    """Return what the tooltip says, once it is there: name → text."""
    rows = tab.wait_until(
        "[...document.querySelectorAll('#vg-tooltip-element.visible tr')].map("
        "(row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return dict(rows)


def assert_tooltip(shown, expected):
    for label, value in expected.items():
        assert float(shown[label]) == pytest.approx(value, rel=6e-4)


def test_hovering_reads_all_curves_at_that_step(tab, tables):
    chart = tab.chart("traces").choose(**BASE)
    chart.figure.scroll_into_view_if_needed()
    item = chart.items("line", strokeWidth=2).query("time == 1.5").iloc[0]
    x, y = chart.point_at(item)
    tab.page.mouse.move(x - 3, y + 40)
    tab.page.mouse.move(x, y + 41)
    shown = tooltip(tab)
    assert shown["at"] == "1.5"
    expected = bands(tables, "validation_loss")
    assert_tooltip(shown, {label: expected[label, 30][1] for label in LABELS})
    assert chart.items("rule")["opacity"].gt(0).sum() == 1
    tab.page.mouse.move(0, 0)
    tab.page.wait_for_timeout(50)
    assert chart.items("rule")["opacity"].gt(0).sum() == 0


# Targets


def test_the_target_slider_moves_time_hit_rate_and_ranking(tab, tables):
    chart, targets = tab.chart("targets"), tables["targets"]
    orders = set()
    for setting in ("tuned", "default"):
        for metric, group in targets[targets["setting"] == setting].groupby("metric"):
            steps = sorted(set(group["target"]), reverse=metric.endswith("loss"))
            for number in {1, len(steps) // 2, len(steps)}:
                chart.choose(setting=setting, metric=metric, target=number)
                there = group[group["target"] == steps[number - 1]].set_index("optimizer")
                assert chart.title.endswith(f" {steps[number - 1]:.4g}")
                shown = chart.items("symbol")
                shown = {} if shown.empty else shown.set_index("optimizer")["median"].to_dict()
                finite = there["epochs_median"][np.isfinite(there["epochs_median"])]
                assert shown == pytest.approx(finite.to_dict(), rel=6e-4)
                texts = chart.items("text").set_index("optimizer")["text"]
                for row in there.itertuples():
                    said = f"{row.reached} of {row.seeds}"
                    said += "" if np.isfinite(row.epochs_median) else ", median: never"
                    assert texts[row.Index] == said
                ranks = there["rank"][list(chart.axis())]
                assert ranks.is_monotonic_increasing
                orders.add(tuple(ranks.index))
    assert len(orders) > 1  # the ranking did change


def test_the_target_slider_has_keys(tab):
    chart = tab.chart("targets").choose(setting="tuned", metric="validation_loss", target=5)
    before = chart.title
    chart.figure.get_by_label("Target, easy to hard").focus()
    tab.page.keyboard.press("ArrowRight")
    chart.settle()
    assert chart.title != before
    assert chart.figure.locator("[name='target']").input_value() == "6"
    tab.page.keyboard.press("Enter")  # sends no form
    assert chart.figure.locator("[name='target']").input_value() == "6"


def test_profiles_follow_their_choices(tab, tables):
    chart, profiles = tab.chart("profiles"), tables["profiles"]
    for (setting, metric), group in profiles.groupby(["setting", "metric"]):
        shown = chart.choose(setting=setting, metric=metric).items("line")
        shown, expected = (each.sort_values(["optimizer", "ratio"]) for each in (shown, group))
        assert list(shown["optimizer"]) == list(expected["optimizer"])
        for name in ("ratio", "share"):
            np.testing.assert_allclose(shown[name], expected[name], rtol=6e-4)
    chart.figure.scroll_into_view_if_needed()
    item = chart.items("line").query("ratio == 2.0").iloc[0]
    x, y = chart.point_at(item)
    tab.page.mouse.move(x - 2, y + 9)
    tab.page.mouse.move(x, y + 10)
    at = group[group["ratio"] == 2.0].set_index("optimizer")["share"]
    assert_tooltip(tooltip(tab), at.to_dict())


# Learning rates and the budget


def cell_bands(tables, optimizer, rate, metric):
    """Return epoch → quartiles over all seeds of a metric, of one optimizer at one learning rate."""
    runs = tables["runs"].query("optimizer == @optimizer and learning_rate == @rate")
    traces = tables["traces"]
    mine = traces[traces["run_id"].isin(runs["run_id"])].pivot_table(
        index="epoch", columns="run_id", values=metric, dropna=False
    )
    mine = mine.reindex(columns=runs["run_id"]).fillna(np.inf)
    return {epoch: quartiles(values) for epoch, values in zip(mine.index, mine.to_numpy(), strict=True)}


def assert_cell(chart, tables, optimizer, rate):
    lines = chart.items("line", part=2)
    for split, metric in (("training", "train_loss"), ("validation", "validation_loss")):
        shown = lines[lines["split"] == split].set_index("time")["median"].to_dict()
        expected = cell_bands(tables, optimizer, rate, metric)
        finite = {epoch: middle for epoch, (_, middle, _) in expected.items() if np.isfinite(middle)}
        assert shown == pytest.approx(finite, rel=6e-4)
    texts = chart.items("text", part=2)["text"].tolist()
    assert texts == [f"{optimizer} at learning rate {rate:g}"]
    marked = chart.items("rect", part=1).query("strokeWidth > 0")
    assert marked[["optimizer", "learning_rate"]].to_numpy().tolist() == [[optimizer, rate]]


def test_choosing_a_learning_rate_from_the_lists_shows_its_traces(tab, tables):
    chart = tab.chart("learning-rates")
    for optimizer, rate in ((HOSTILE, 0.001), ("SGD", 0.12), ("Adam", 0.01), (HOSTILE, 1.0)):
        chart.choose(cell_key=optimizer, cell_learning_rate=f"{rate:g}")
        assert_cell(chart, tables, optimizer, rate)


def test_clicking_a_cell_or_a_point_shows_its_traces(tab, tables):
    chart = tab.chart("learning-rates").choose(cell_key="SGD", cell_learning_rate="0.12")
    chart.figure.locator("svg .mark-rect.role-mark").scroll_into_view_if_needed()
    for part, kind, optimizer, rate in ((1, "rect", HOSTILE, 0.01), (0, "symbol", "Adam", 0.001)):
        items = chart.items(kind, part)
        place = items.index[(items["optimizer"] == optimizer) & (items["learning_rate"] == rate)][0]
        scope = chart.figure.locator(f"svg .mark-{kind}.role-mark").first
        scope.locator("path").nth(place).click(force=True)
        chart.settle()
        assert_cell(chart, tables, optimizer, rate)
        assert chart.figure.locator("[name='cell_key'] option:checked").inner_text() == optimizer
        chosen = chart.figure.locator("[name='cell_learning_rate'] option:checked")
        assert chosen.inner_text() == f"{rate:g}"


def test_sensitivity_and_outcomes_are_those_of_the_runs(tab, tables):
    chart = tab.chart("learning-rates")
    points, texts = chart.items("symbol"), chart.items("text", part=1)
    shown = points.set_index(["optimizer", "learning_rate"])["median"]
    words = texts.set_index(["optimizer", "learning_rate"])["text"]
    finals = final_losses(tables)
    assert len(words) == len(LABELS) * len(RATES)
    for (optimizer, rate), runs in tables["runs"].groupby(["optimizer", "learning_rate"]):
        losses = finals[runs.index].where(runs["status"].isin(["ok", "stuck"]), np.inf)
        median, bad = quartiles(losses.fillna(np.inf))[1], runs.loc[runs["status"] != "ok", "status"]
        if len(bad) * 2 >= len(runs):
            assert words[optimizer, rate] == bad.mode()[0]
        else:
            assert float(words[optimizer, rate]) == pytest.approx(median, rel=0.06)
        if np.isfinite(median):
            assert shown[optimizer, rate] == pytest.approx(median, rel=6e-4)
        else:
            assert (optimizer, rate) not in shown


def test_the_budget_slider_moves_the_ranking(tab, tables):
    chart, budget = tab.chart("budget"), tables["budget"]
    for trials in (0, 1, 2, 3, 4, 0):
        chart.choose(trials=trials)
        there = budget[budget["trials"] == trials].set_index("optimizer")
        shown = chart.items("symbol").set_index("optimizer")
        assert shown["expected_loss"].to_dict() == pytest.approx(
            there["expected_loss"].to_dict(), rel=6e-4
        )
        assert there["rank"][list(chart.axis())].is_monotonic_increasing
        many = (
            "with textbook learning rates" if not trials else f"after {trials} trial{'s' * (trials > 1)}"
        )
        assert chart.title == f"ranking {many}"
        assert set(chart.items("rule", part=1)["trials"]) == {trials}


# Pairs


def final_losses(tables):
    """Return each run's final loss, the mean of its last records, of a third of them at most."""
    records = tables["traces"].sort_values("step").groupby("run_id").tail(2).groupby("run_id")
    means = records["validation_loss"].apply(lambda values: values.mean(skipna=False))
    return tables["runs"]["run_id"].map(means)


@pytest.mark.parametrize("setting", ["tuned", "default"])
def test_pairs_are_those_of_the_comparisons(tab, tables, setting):
    pairs = tables["comparisons"].query("setting == @setting")
    pairs = pairs.assign(pair=pairs["better"] + " – " + pairs["worse"]).set_index("pair")
    chart = tab.chart("pairs").choose(setting=setting)
    means = chart.items("symbol").query("opacity == 1").set_index("pair")["difference_iqm"]
    finite = pairs["difference_iqm"][np.isfinite(pairs["difference_iqm"])]
    assert means.to_dict() == pytest.approx(finite.to_dict(), rel=6e-4)
    texts = chart.items("text").set_index("pair")["text"]
    for row in pairs.itertuples():
        share, p_value = texts[row.Index].split(" %, p ")
        assert float(share) == pytest.approx(100 * row.share_won, abs=0.5)
        if row.p_value_adjusted < 0.001:
            assert p_value == "< 0.001"
        else:  # rounded up
            assert (
                row.p_value_adjusted <= float(p_value.removeprefix("= ")) <= 1.11 * row.p_value_adjusted
            )
    assert len(texts) == len(pairs)


@pytest.mark.parametrize("setting", ["tuned", "default"])
def test_dots_are_the_differences_seed_by_seed(tab, tables, setting):
    rates = tables["summary"].set_index("optimizer")[
        "learning_rate" if setting == "tuned" else "default_learning_rate"
    ]
    runs = tables["runs"]
    runs = runs[(runs["role"] == "reporting") & (runs["learning_rate"] == runs["optimizer"].map(rates))]
    runs = runs.assign(final=final_losses(tables))
    losses = runs.pivot_table(index="seed", columns="optimizer", values="final")
    dots = tab.chart("pairs").choose(setting=setting).items("symbol").query("opacity < 1")
    pairs = tables["comparisons"].query("setting == @setting")
    for row in pairs.itertuples():
        mine = dots[dots["pair"] == f"{row.better} – {row.worse}"].set_index("seed")["difference"]
        expected = (losses[row.worse] - losses[row.better]).dropna()
        assert mine.to_dict() == pytest.approx(expected.to_dict(), rel=6e-4, abs=1e-6)


@pytest.mark.parametrize("setting", ["tuned", "default"])
def test_the_matrix_of_win_rates(tab, tables, setting):
    pairs = tables["comparisons"].query("setting == @setting")
    texts = tab.chart("wins").choose(setting=setting).items("text")
    shown = texts.set_index(["row", "column"])["text"]
    assert len(shown) == 2 * len(pairs)
    for row in pairs.itertuples():
        for one, other, share in (
            (row.better, row.worse, row.share_won),
            (row.worse, row.better, 1 - row.share_won),
        ):
            text = shown[one, other]
            assert text.endswith(" *") == row.different
            assert float(text.split("%")[0]) == pytest.approx(100 * share, abs=0.51)


def test_a_tooltip_shows_a_hostile_label_as_text(tab):
    chart = tab.chart("targets").choose(setting="tuned", metric="validation_loss", target=3)
    chart.figure.scroll_into_view_if_needed()
    item = chart.items("symbol").set_index("optimizer", drop=False).loc[HOSTILE]
    tab.page.mouse.move(*chart.point_at(item))
    assert tooltip(tab)["optimizer"] == HOSTILE
    assert tab.page.locator("#vg-tooltip-element b").count() == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_titles_and_heads_are_not_cut_off(browser, results, width):
    tab = Tab(browser, results, width).draw()
    for name in ("wins", "pairs"):
        cut = tab.page.locator(f"#study-{name} svg.marks").evaluate("""(drawing) => {
          const frame = drawing.getBoundingClientRect();
          const isCut = ({ top, left, right, bottom }) => top < frame.top - 1 || left < frame.left - 1
            || right > frame.right + 1 || bottom > frame.bottom + 1;
          return [...drawing.querySelectorAll("text:not([opacity='0'])")]
            .filter((text) => text.textContent && isCut(text.getBoundingClientRect()))
            .map((text) => text.textContent);
        }""")
        assert cut == []
    tab.context.close()


# Shipped experiments, in small


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The results of all shipped experiments in small, with a report; made once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    results = shared / "shipped-results"
    with FileLock(f"{results}.lock"):
        if not results.exists():
            sweep_shipped(shared / "shipped-experiments", results)
            with pytest.MonkeyPatch.context() as patch:
                without_pictures(patch)
                write_report(results)
    return results


UNFOLD = """async () => {
  const folded = [...document.querySelectorAll("details")];
  for (const details of folded) details.open = true;
  for (const figure of document.querySelectorAll("figure.chart")) await showOnce(figure);
}"""
ROOM = """() => [...document.querySelectorAll("figure.chart")].map((figure) => {
  const drawing = figure.querySelector("svg.marks");
  const isWide = drawing.width.baseVal.value - figure.querySelector(".view").clientWidth;
  const room = figure.drawn.room[matchMedia("(max-width: 44rem)").matches ? 1 : 0];
  return [figure.id, room - drawing.clientHeight, isWide];
})"""


@pytest.mark.parametrize("width", [1280, 400])
def test_every_chart_of_every_shipped_experiment_draws_in_its_room(browser, shipped, width):
    tab = Tab(browser, shipped, width)
    before = tab.page.evaluate("document.documentElement.scrollHeight")
    tab.wait_until("document.readyState === 'complete'")
    tab.page.evaluate(UNFOLD)
    tab.assert_quiet()
    rooms = tab.page.evaluate(ROOM)
    assert len(rooms) > 80
    for name, spare, excess in rooms:
        assert 0 <= spare <= 12, name
        assert excess <= 0, name
    assert tab.page.evaluate("document.documentElement.scrollHeight") > 1.5 * before
    axe(tab)
    tab.context.close()


def axe(tab):
    """Assert that axe-core finds nothing that keeps a reader from the page."""
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    tab.page.evaluate(f"{script}; null")
    drawings = "{ exclude: ['.experiment:not(#digits) svg.marks'] }"  # all drawn alike; it takes long
    found = tab.page.evaluate(f"axe.run({drawings}).then(({{ violations }}) => violations)")
    assert [
        (each["id"], len(each["nodes"]), each["nodes"][0]["html"][:200], each["nodes"][0]["target"])
        for each in found
    ] == []


def test_a_page_of_one_experiment_keeps_no_reader_away(browser, results):
    axe(Tab(browser, results).draw())


@pytest.mark.parametrize("width", [1280, 400])
def test_a_link_lands_where_it_leads_and_stays_there(browser, shipped, width):
    tab = Tab(browser, shipped, width)
    top = "(id) => Math.round(document.getElementById(id).getBoundingClientRect().top)"
    for target in ("digits_paths-traces", "smoke-budget"):
        tab.page.goto("about:blank")
        tab.page.goto(f"{tab.address}#{target}")
        assert abs(tab.page.evaluate(top, target)) <= 1
        tab.draw_unfolded()
        assert abs(tab.page.evaluate(top, target)) <= 1
    tab.page.emulate_media(reduced_motion="reduce")
    tab.page.goto("about:blank")
    tab.page.goto(tab.address)
    tab.page.locator("nav a", has_text="Method").click()
    tab.draw_unfolded()
    bottom = "Math.ceil(scrollY + innerHeight) >= document.documentElement.scrollHeight"
    assert abs(tab.page.evaluate(top, "method")) <= 1 or tab.page.evaluate(bottom)
    tab.context.close()


# What a reader chose is kept, and said


def test_a_chosen_cell_stays_chosen_when_the_phone_is_turned(browser, results, tables):
    tab = Tab(browser, results, 400).draw()
    chart = tab.chart("learning-rates")
    control = chart.figure.locator("[name='cell_key']")
    control.focus()
    chart.choose(cell_key="Adam", cell_learning_rate="0.01")
    control.focus()
    for width, height in ((900, 400), (1280, 900), (400, 900)):
        tab.page.set_viewport_size({"width": width, "height": height})
        tab.wait_until("(width) => widthDrawn === width", width)
        chart.settle()
        tab.wait_until(
            """() => [...document.querySelectorAll(".chart")].every((figure) => Math.abs(
              figure.querySelector("svg.marks").width.baseVal.value
                - figure.querySelector(".view").clientWidth) < 45)"""
        )
        assert control.locator("option:checked").inner_text() == "Adam"
        assert_cell(chart, tables, "Adam", 0.01)
        assert control.evaluate("(control) => control === document.activeElement")
    tab.assert_quiet()
    tab.context.close()


def subtitle(chart):
    return chart.drawn("text", role="title-subtitle")[0][0]["text"]


def test_a_subtitle_names_the_rates_the_smoothing_and_hidden_optimizers(tab):
    chart = tab.chart("traces").choose(**BASE)
    assert subtitle(chart) == "tuned learning rates"
    chart.choose(setting="default", smoothing=0.3, show_1=False)
    assert subtitle(chart) == "textbook learning rates · smoothing 0.3 · without Adam"
    chart.choose(**BASE | {"show_0": False, "show_1": False, "show_2": False})
    assert subtitle(chart) == "tuned learning rates · no optimizer is chosen"
    chart.choose(**BASE)
    for name in ("targets", "profiles", "wins", "pairs"):
        for setting, words in (
            ("default", "textbook learning rates"),
            ("tuned", "tuned learning rates"),
        ):
            assert words in subtitle(tab.chart(name).choose(setting=setting))


def test_a_saved_picture_is_white_and_twice_as_large(browser, results):
    tab = Tab(browser, results, color_scheme="dark").draw()
    chart = tab.chart("traces").choose(smoothing=0.5, show_0=False)
    width = chart.figure.locator("svg.marks").evaluate("(drawing) => drawing.width.baseVal.value")
    menu = chart.figure.locator("details")
    menu.locator("summary").click()
    saved = {}
    for kind in ("SVG", "PNG"):
        with tab.page.expect_download() as download:
            menu.get_by_text(f"Save as {kind}").click()
        saved[kind] = Path(download.value.path()).read_bytes()
    assert b"tuned learning rates \xc2\xb7 smoothing 0.5 \xc2\xb7 without SGD" in saved["SVG"]
    with Image.open(io.BytesIO(saved["PNG"])) as picture:
        assert picture.width == 2 * width
        assert picture.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)
    tab.context.close()


def test_the_legend_and_the_boxes_are_one_choice(tab):
    chart = tab.chart("traces").choose(**BASE)
    adam = chart.figure.locator(".role-legend-label text").filter(has_text="Adam")
    adam.click()
    chart.settle()
    boxes = [chart.figure.locator(f"[name='show_{k}']").is_checked() for k in range(3)]
    assert boxes == [False, True, False]
    chart.choose(show_1=False, show_0=True)  # what the legend had alone is hidden by its box
    assert set(chart.items("line", strokeWidth=2)["optimizer"]) == {"SGD"}
    chart.choose(**BASE)


def test_the_target_slider_shows_the_target(tab):
    chart = tab.chart("targets").choose(setting="tuned", metric="validation_loss", target=3)
    words = chart.title.rpartition(" ")[2]
    slider = chart.figure.locator("[name='target']")
    assert slider.get_attribute("aria-valuetext") == f"≤ {words}"
    assert slider.locator("xpath=..").inner_text().endswith(f"≤ {words}")


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory):
    results = tmp_path_factory.mktemp("names")
    write_study(results / "study", ODD_NAMES, rates=(0.01, 0.12, 1.0), seeds=(0, *range(100, 104)),
                defaults=dict.fromkeys(ODD_NAMES, 0.12))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        write_report(results)
    return results


ODD_NAMES = (
    *("constructor", "toString", "valueOf", "hasOwnProperty", "Infinity", "-Infinity"),
    *("datum.x[0]", 'a"b\\', "null", "Größe 測試"),
)


def test_labels_that_mean_something_to_javascript_are_labels(browser, odd_names):
    tab = Tab(browser, odd_names).draw()
    for name in ("targets", "budget"):
        assert set(tab.chart(name).axis()) == set(ODD_NAMES)
    traces = tab.chart("traces").choose(log_y=False)
    assert set(traces.items("line", strokeWidth=2)["optimizer"]) == set(ODD_NAMES)
    entries = [item["text"] for items in traces.drawn("text", role="legend-label") for item in items]
    assert sorted(entries) == sorted(ODD_NAMES)
    rates = tab.chart("learning-rates")
    for label in ODD_NAMES:
        rates.choose(cell_key=label, cell_learning_rate="0.12")
        texts = rates.items("text", part=2)["text"].tolist()
        assert texts == [f"{label} at learning rate 0.12"]
    tab.assert_quiet()
    tab.context.close()


def test_a_loss_that_rounding_made_negative_has_the_colour_of_the_lowest(browser, tmp_path):
    write_study(tmp_path / "study", rates=(0.01, 0.12, 1.0), seeds=(0, 100, 101))
    runs = pd.read_csv(tmp_path / "study/runs.csv")
    is_noise = (runs["optimizer"] == "SGD") & (runs["learning_rate"] == 0.12)
    for name in ("final_validation_loss", "final_train_loss"):
        runs.loc[is_noise, name] = -1e-17
    runs.to_csv(tmp_path / "study/runs.csv", index=False)
    traces = pd.read_parquet(tmp_path / "study/traces.parquet")
    is_noise = traces["run_id"].isin(runs.loc[is_noise, "run_id"]) & (traces["step"] > 0)
    traces.loc[is_noise, ["validation_loss", "train_loss"]] = -1e-17
    traces.to_parquet(tmp_path / "study/traces.parquet", index=False)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        write_report(tmp_path)
    tab = Tab(browser, tmp_path).draw()
    chart = tab.chart("learning-rates")
    words = chart.items("text", part=1).set_index(["optimizer", "learning_rate"])["text"]
    assert words["SGD", 0.12] == "−10⁻¹⁷"
    fill = "(figure) => figure.querySelectorAll('.mark-rect path')[1].getAttribute('fill')"
    assert chart.figure.evaluate(fill).startswith("rgb(")
    tab.assert_quiet()
    tab.context.close()


def test_without_what_the_charts_need_there_are_the_figures(browser, tmp_path, results):
    write_study(tmp_path / "study", LABELS[:2], rates=(0.12, 1.0), seeds=(0, 100, 101), records=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DOTS_AN_INCH", 40)
        write_report(tmp_path)
    for is_old in (False, True):
        context = browser.new_context(java_script_enabled=is_old)
        if is_old:
            context.add_init_script("delete window.DecompressionStream")
        page = context.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        figures = page.locator("figure.chart")
        assert figures.count() > 4
        for figure in figures.all():
            assert (
                "This chart needs JavaScript"
                in figure.locator(".view" if is_old else "noscript").inner_text()
            )
            assert not figure.locator(".vega-bindings").is_visible()
            picture = figure.locator("img")
            picture.scroll_into_view_if_needed()
            for _ in range(100):
                if size := picture.bounding_box():
                    break
            assert size["height"] > 50
            if is_old:
                page.wait_for_function(
                    "(image) => image.naturalWidth > 100", arg=picture.element_handle()
                )
        context.close()
