"""The figures: what they draw, legibility, and determinism."""

import io
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from optimlab import formatting as wording
from optimlab import statistics
from optimlab.report import style as report_style
from optimlab.report.figures import plots
from optimlab.report.style import series_styles
from optimlab.statuses import STATUSES

LABELS = ["Adam", "SGD", "mine.py:Mine"]
RATES = [0.01, 0.1, 1.0]


@cache
def tables():
    """Return a table of runs and their traces: three optimizers, three rates, four seeds."""
    rng = np.random.default_rng(0)
    runs, traces = [], []
    for label in LABELS:
        for rate in RATES:
            for seed in (0, 1, 100, 101):
                bad = label == "SGD" and rate == 1.0
                key = {"run_id": f"{label} {rate} {seed}", "optimizer": label, "learning_rate": rate,
                       "seed": seed, "role": "tuning" if seed < 100 else "reporting"}  # fmt: skip
                loss = np.nan if bad else 0.1 + rng.random()
                accuracy = np.nan if bad else 0.9 + 0.1 * rng.random()
                runs.append({**key, "rule": label, "status": "diverged" if bad else "ok",
                             "final_train_loss": loss, "final_validation_loss": loss,
                             "final_test_accuracy": accuracy})  # fmt: skip
                for epoch in range(4):
                    value = np.nan if bad and epoch > 1 else 2.0 / (1 + epoch) + 0.1 * rng.random()
                    traces.append({**key, "step": 19 * epoch, "epoch": float(epoch), "train_loss": value,
                                   "validation_loss": value, "validation_accuracy": 0.96})  # fmt: skip
    return pd.DataFrame(runs), pd.DataFrame(traces)


@cache
def summary_of_tables():
    return statistics.compare_optimizers(*tables()).summary


def bands_of(runs, traces):
    return {
        split: statistics.trace_bands(runs, traces, f"{split}_loss") for split in ("train", "validation")
    }


def draw(kind, narrow=False):
    runs, traces = tables()
    styles = series_styles(LABELS)
    summary = summary_of_tables()
    reported = statistics.reported_runs(runs)
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    if kind == "traces":
        mine = traces[traces["run_id"].isin(reported["run_id"])]
        return plots.traces_figure(bands_of(reported, mine), mine, styles, unit="nats", narrow=narrow)
    if kind == "rates":
        runs, traces = (each[each["optimizer"] == "SGD"] for each in (runs, traces))
        bands = bands_of(runs, traces)
        return plots.rates_figure(bands, traces, styles["SGD"], chosen=0.1, unit="nats", narrow=narrow)
    if kind == "sensitivity":
        bands = statistics.final_bands(runs)
        return plots.sensitivity_figure(
            bands, chosen, styles, loss="validation", unit="nats", narrow=narrow
        )
    return plots.accuracy_figure(reported, summary, styles, narrow=narrow)


KINDS = {
    "traces": ({"epochs of training"}, {"training loss (nats)", "validation loss (nats)"}),
    "sensitivity": ({"", "learning rate"}, {"final validation loss (nats)", ""}),
    "accuracy": ({"final test accuracy (percent of the samples)"}, {""}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_axes_say_what_they_show(kind):
    figure = draw(kind)
    assert {axes.get_xlabel() for axes in figure.axes} == KINDS[kind][0]
    assert {axes.get_ylabel() for axes in figure.axes} == KINDS[kind][1]


def test_rates_has_a_panel_for_each_rate_and_marks_the_chosen_one():
    figure = draw("rates")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["rate 0.01", "rate 0.1, chosen", "rate 1"]
    assert figure.get_supxlabel() == "epochs of training"
    assert figure.get_supylabel() == "loss (nats)"


@pytest.mark.parametrize("kind", ["traces", "rates", "sensitivity"])
def test_losses_are_on_a_log_scale(kind):
    figure = draw(kind)
    assert figure.axes[0].get_yscale() == "log"
    if kind == "sensitivity":
        assert figure.axes[0].get_xscale() == "log"


def test_an_optimizer_has_one_colour_in_every_figure():
    for label, colour in {"SGD": "#0072B2", "Adam": "#D55E00"}.items():
        assert series_styles(LABELS)[label].colour == colour == series_styles([label])[label].colour
    assert series_styles(["Other", "SGD"])["Other"] == series_styles(LABELS)["mine.py:Mine"]
    expected = {to_rgb(style.colour) for style in series_styles(LABELS).values()}
    for kind in ("traces", "sensitivity"):
        figure = draw(kind)
        lines = figure.legends[0].get_lines()
        drawn = {
            line.get_label(): to_rgb(line.get_color())
            for line in lines
            if line.get_linestyle() != "None"
        }
        assert set(drawn) == set(LABELS)
        assert set(drawn.values()) == expected
        dots = {to_rgb(line.get_color()) for line in figure.axes[0].lines}
        assert dots == expected
    points = {to_rgb(dots.get_facecolor()[0][:3]) for dots in draw("accuracy").axes[0].collections}
    assert points == expected


def test_every_optimizer_can_be_seen_on_a_dark_page():
    """Two of the colours had a contrast of 1.3 and 1.8 there; 3 is the least that can be seen (WCAG)."""
    css = (Path(report_style.__file__).parent / "style.css").read_text(encoding="utf-8")
    dark = css[css.index("(prefers-color-scheme: dark)") :]
    ink, panel = (re.search(rf"--{name}: (#\w+);", dark)[1] for name in ("ink", "panel"))

    def light(colour):
        return np.dot([0.2126, 0.7152, 0.0722], np.array(to_rgb(colour)) ** 2.2) + 0.05

    for each in (*report_style.BUILT_IN.values(), *report_style.OTHERS):
        for kind in ("fill", "stroke"):
            rule = re.search(rf'\[{kind}="{each.colour}"\] {{ {kind}: (.*?); }}', css)
            colour = rule[1].replace("var(--ink)", ink) if rule else each.colour
            assert light(colour) > 3 * light(panel), each.colour


def test_looks_differ_in_grey_too():
    drawn = series_styles([*report_style.BUILT_IN, *"abcdef"]).values()
    markers, dashes = {style.marker for style in drawn}, {style.dashes for style in drawn}
    assert len(markers) == len(dashes) == len(drawn) == 12


def test_settings_of_one_rule_share_its_colour_only():
    drawn = series_styles(["Adam (article)", "SGD", "Adam (textbook)", "Adam (as printed)", "Adamax"])
    first, _, second, third, other = drawn.values()
    assert first == report_style.BUILT_IN["Adam"]
    assert {first.colour} == {second.colour, third.colour} != {other.colour}
    assert len({first.marker, second.marker, third.marker}) == 3
    assert len({first.dashes, second.dashes, third.dashes}) == 3


@pytest.mark.parametrize(
    "labels",
    [
        [f"mine {k}" for k in range(100)],
        [f"Adam ({k})" for k in range(100)],
        [
            *report_style.BUILT_IN,
            *"abcdefg",
            "Adam (textbook)",
            "SGD (textbook)",
            "Adam (2)",
            "Adam (3)",
        ],
    ],
)
def test_no_two_optimizers_look_alike(labels):
    drawn = series_styles(labels)
    assert list(drawn) == labels
    assert len(set(drawn.values())) == len(labels)
    assert len({(style.colour, style.dashes) for style in list(drawn.values())[:12]}) == 12


def test_a_built_in_rule_looks_the_same_whatever_comes_before_it():
    drawn = series_styles(["Adam (article)", "mine", "Adam"])
    assert drawn["Adam"] == report_style.BUILT_IN["Adam"]
    assert drawn["Adam (article)"].colour == drawn["Adam"].colour
    assert drawn["Adam (article)"] != drawn["Adam"]


# How the three kinds of dichromats see linear RGB: Viénot, Brettel & Mollon (1999), and for the third
# Machado, Oliveira & Fernandes (2009).
DICHROMATS = {
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039],
    ],
}  # fmt: skip


def seen(colour, kind):
    """Return a colour as a dichromat sees it, in CIELAB."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DICHROMATS[kind]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, kind):
    """Return the least distance between two of some colours for a dichromat; 2.3 can just be seen."""
    points = [seen(colour, kind) for colour in colours]
    return min(np.linalg.norm(a - b) for k, a in enumerate(points) for b in points[:k])


@pytest.mark.parametrize("kind", DICHROMATS)
def test_the_colours_of_the_built_in_differ_for_the_colour_blind(kind):
    assert nearest([style.colour for style in report_style.BUILT_IN.values()], kind) > 5
    assert nearest([style.colour for style in report_style.OTHERS], kind) > 5


def test_red_and_green_would_not_do():
    assert nearest(["#b34d4d", "#67671c"], "deuteranopia") < 25


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """Make a font of two letters of no other installed one: they are for private use."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (600, 700), (600, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "one", "two"])
    builder.setupCharacterMap({ord(LETTERS[0]): "one", ord(LETTERS[1]): "two"})
    builder.setupGlyf(dict.fromkeys([".notdef", "one", "two"], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", "one", "two"], (650, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Two Letters", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "two.ttf")
    found = font_manager.findSystemFonts()
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [*found, str(tmp_path / "two.ttf")])
    known = list(font_manager.fontManager.ttflist)
    report_style._font_of.cache_clear()
    yield
    report_style._font_of.cache_clear()
    font_manager.fontManager.ttflist[:] = known


LETTERS = "\U000f0001\U000f0002\U000f0003"  # for private use: the first two are in the font


def test_letters_that_the_usual_font_lacks_come_from_another(fonts):
    assert report_style.fonts(["Größe α"]) == ["DejaVu Sans"]
    assert report_style.missing_letters(["Größe α", LETTERS[:2]]) == ""
    assert report_style.fonts(["SGD", f"x {LETTERS[:2]}"]) == ["DejaVu Sans", "Two Letters"]
    styles = series_styles([LETTERS[:2], "SGD"])
    bands = pd.DataFrame({"optimizer": list(styles), "learning_rate": 1.0, "low": 1.0, "median": 1.0})
    bands = bands.assign(high=1.0, **dict.fromkeys(STATUSES, 0.0))
    figure = plots.sensitivity_figure(bands, dict.fromkeys(styles, 1.0), styles, loss="train")
    plots.pixels(figure)  # a letter without a font is a warning, which is an error here
    plots.svg(figure)


def test_characters_missing_from_all_fonts_are_reported(fonts):
    assert report_style.missing_letters([LETTERS, "a", LETTERS]) == LETTERS[2]
    assert report_style.fonts([LETTERS]) == ["DejaVu Sans", "Two Letters"]
    with report_style.figure_style([LETTERS]):  # no warning, which would be an error here
        figure = plots.new_figure(2, 1)
        figure.text(0, 0, LETTERS)
        plots.pixels(figure)


def test_a_diverged_median_leaves_the_top():
    axes = draw("sensitivity").axes[0]
    medians = next(line for line in axes.lines if to_rgb(line.get_color()) == to_rgb("#0072B2"))
    above = medians.get_ydata() > axes.get_ylim()[1]
    assert above.tolist() == [False, False, True]


@pytest.mark.parametrize("kind", ["sensitivity", "accuracy", "traces", "rates"])
@pytest.mark.slow
def test_the_same_bytes_every_time(kind):
    first, second = (draw(kind, narrow=True) for _ in range(2))
    svg = plots.svg(first)
    assert svg == plots.svg(second)
    assert b"<svg" in svg
    assert b"<dc:date>" not in svg
    assert plots.png(plots.pixels(first)) == plots.png(plots.pixels(second))


RC_FILES = {
    "a pipe": os.mkfifo,
    "no text": lambda path: Path(path).write_bytes(b"text.usetex: True # \xff"),
}


@pytest.mark.slow
def test_a_matplotlibrc_in_the_current_folder_is_not_read(tmp_path):
    """Neither by the command nor by its workers, of which each imports what it draws with."""
    for number, make in enumerate(RC_FILES.values()):
        (tmp_path / str(number)).mkdir()
        make(tmp_path / str(number) / "matplotlibrc")
    code = (
        f"import os, sys; os.chdir(sys.argv[1]); sys.path[:] = {sys.path!r}\n"
        "import optimlab.report.style, matplotlib; assert not matplotlib.rcParams['text.usetex']"
    )
    for done in [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / str(number)], stderr=subprocess.PIPE, text=True
        )
        for number in range(len(RC_FILES))
    ]:
        assert (done.communicate(timeout=300)[1], done.returncode) == ("", 0)


@pytest.mark.slow
def test_a_users_matplotlibrc_changes_nothing():
    """Whatever is in force when a figure is drawn, its bytes are those of matplotlib's own defaults."""
    expected = plots.svg(draw("traces")), plots.png(plots.pixels(draw("traces")))
    foreign = {
        "text.usetex": True,
        "axes.facecolor": "red",
        "savefig.transparent": True,
        "font.size": 40,
        "savefig.bbox": "tight",
        "savefig.facecolor": "red",
        "lines.linewidth": 9,
        "figure.dpi": 7,
        "axes.formatter.use_locale": True,
        "axes.xmargin": 0.4,
        "svg.fonttype": "none",
        "patch.force_edgecolor": True,
        "lines.antialiased": False,
        "xtick.top": True,
    }
    with mpl.rc_context(foreign):
        assert plots.svg(draw("traces")) == expected[0]
        assert plots.png(plots.pixels(draw("traces"))) == expected[1]
        assert mpl.rcParams["text.usetex"]  # and for others it is as it was


def test_formats_and_the_narrow_form():
    wide, narrow = (plots.pixels(draw("accuracy", narrow=flag)) for flag in (False, True))
    assert (wide.width, narrow.width) == (1800, 740)
    for encode, name in ((plots.png, "PNG"), (plots.webp, "WEBP")):
        with Image.open(io.BytesIO(encode(narrow))) as image:
            assert (image.format, image.size) == (name, narrow.size)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 10.0], "log"),
        ([0.0, 1.0], "log"),
        ([-1e-16, 1.0], "log"),
        ([-1.0, 1.0], "symlog"),
        ([np.inf], "linear"),
        ([0.0], "linear"),
        ([-1e-16], "linear"),
    ],
)
def test_any_losses_have_a_scale(values, scale):
    bands = pd.DataFrame({"optimizer": "SGD", "learning_rate": np.arange(1.0, 1 + len(values))})
    bands = bands.assign(low=values, median=values, high=values, **dict.fromkeys(STATUSES, 0.0))
    figure = plots.sensitivity_figure(bands, {"SGD": 1.0}, series_styles(["SGD"]), loss="train")
    assert figure.axes[0].get_yscale() == scale
    assert plots.pixels(figure).getbbox()


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.21, 0.7),
        (0.15, 25),
        (0.3, 0.31),
        (2.0, 2.0),
        (0.9, 1.2),
        (1e-9, 1),
        (1e-150, 1e150),
        (0.0021, 0.45),
    ],
)
def test_a_logarithmic_axis_of_a_figure_has_several_ticks(low, high):
    axes = Figure().subplots()
    plots._loss_scale(axes, pd.DataFrame({"low": [low], "median": [high], "high": [high]}))
    bottom, top = axes.get_ylim()
    ticks = [tick for tick in axes.yaxis.get_majorticklocs() if bottom <= tick <= top]
    assert 3 <= len(ticks) <= 10
    labels = axes.yaxis.get_major_formatter().format_ticks(ticks)
    assert len(set(labels)) == len(ticks)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3e-5, 1e-4, 0.01, 1], ["0.00003", "0.0001", "0.01", "1"]),
        ([3e-6, 1e-4, 0.01, 1, 30], ["3×10⁻⁶", "10⁻⁴", "10⁻²", "1", "3×10¹"]),
        ([0, 0.0129155, 1e6], ["0", "0.0129155", "1000000"]),
        ([-1e-7, 0, 1e7], ["−10⁻⁷", "0", "10⁷"]),
        ([], []),
    ],
)
def test_the_numbers_of_an_axis_have_one_notation(values, texts):
    assert wording.numbers(values) == texts


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0003, None, "0.0003"), (10.0, None, "10"), (2e-5, None, "2×10⁻⁵"), (1e-5, None, "10⁻⁵"),
        (0.1, 3, "0.100"), (123.4, 3, "123"), (-0.5, 2, "−0.50"), (np.inf, 3, "∞"), (np.nan, 3, "–"),
    ],
)  # fmt: skip
def test_numbers_as_text(value, digits, text):
    assert wording.number(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.50"), (-3.14159, "−3.14"), (-1e-9, "0.00"), (-np.inf, "−∞"), (np.nan, "–")],
)
def test_numbers_with_fixed_decimals(value, text):
    assert wording.fixed(value, 2) == text


def test_traces_say_which_optimizers_have_no_line():
    """Where all runs diverge at once, the axes were empty without a word."""
    runs, traces = tables()
    reported = statistics.reported_runs(runs)
    traces = traces[traces["run_id"].isin(reported["run_id"])].copy()
    says = "no finite median after the start:"
    for labels, words in (
        ([], ""),
        (["SGD"], f"{says} SGD"),
        (LABELS, f"{says} Adam, SGD and mine.py:Mine"),
    ):
        later = traces["optimizer"].isin(labels) & (traces["step"] > 0)
        for split in ("train", "validation"):
            traces.loc[later, f"{split}_loss"] = np.nan
        bands = bands_of(reported, traces)
        assert statistics.without_line(bands["train"]) == words
        figure = plots.traces_figure(bands, traces, series_styles(LABELS))
        assert {axes.get_title("left").replace("\n", " ") for axes in figure.axes} == {words}
    runs, traces = (each[each["optimizer"] == "SGD"].copy() for each in tables())
    traces.loc[traces["step"] > 0, ["train_loss", "validation_loss"]] = np.nan
    figure = plots.rates_figure(bands_of(runs, traces), traces, series_styles(LABELS)["SGD"], chosen=0.1)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [text.get_text() for axes in panels for text in axes.texts] == [
        "no finite median\nafter the start"
    ] * len(RATES)
