"""The figures: what they draw, that they are legible, and that they are the same every time."""

import io
from functools import cache

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from optimlab import looks, plots, statistics, wording

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
    styles = looks.looks(LABELS)
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
    "accuracy": ({"final test accuracy (percent of the images)"}, {""}),
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
        assert looks.looks(LABELS)[label].colour == colour == looks.looks([label])[label].colour
    assert looks.looks(["Other", "SGD"])["Other"] == looks.looks(LABELS)["mine.py:Mine"]
    expected = {to_rgb(look.colour) for look in looks.looks(LABELS).values()}
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


def test_looks_differ_in_grey_too():
    drawn = looks.looks([*looks.BUILT_IN, *"abcdef"]).values()
    markers, dashes = {look.marker for look in drawn}, {look.dashes for look in drawn}
    assert len(markers) == len(dashes) == len(drawn) == 12


def test_settings_of_one_rule_share_its_colour_only():
    drawn = looks.looks(["Adam (article)", "SGD", "Adam (textbook)", "Adam (as printed)", "Adamax"])
    first, _, second, third, other = drawn.values()
    assert first == looks.BUILT_IN["Adam"]
    assert {first.colour} == {second.colour, third.colour} != {other.colour}
    assert len({first.marker, second.marker, third.marker}) == 3
    assert len({first.dashes, second.dashes, third.dashes}) == 3


def test_a_diverged_median_leaves_the_top():
    axes = draw("sensitivity").axes[0]
    medians = next(line for line in axes.lines if to_rgb(line.get_color()) == to_rgb("#0072B2"))
    above = medians.get_ydata() > axes.get_ylim()[1]
    assert above.tolist() == [False, False, True]


@pytest.mark.parametrize("kind", ["traces", "rates", "sensitivity", "accuracy"])
def test_the_same_bytes_every_time(kind):
    first, second = (draw(kind, narrow=True) for _ in range(2))
    svg = plots.svg(first)
    assert svg == plots.svg(second)
    assert b"<svg" in svg
    assert b"<dc:date>" not in svg
    assert plots.png(plots.pixels(first)) == plots.png(plots.pixels(second))


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
        ([-1.0, 1.0], "symlog"),
        ([np.inf], "linear"),
        ([0.0], "linear"),
    ],
)
def test_any_losses_have_a_scale(values, scale):
    bands = pd.DataFrame({"optimizer": "SGD", "learning_rate": np.arange(1.0, 1 + len(values))})
    bands = bands.assign(
        low=values, median=values, high=values, **dict.fromkeys(statistics.STATUSES, 0.0)
    )
    figure = plots.sensitivity_figure(bands, {"SGD": 1.0}, looks.looks(["SGD"]), loss="train")
    assert figure.axes[0].get_yscale() == scale
    assert plots.pixels(figure).getbbox()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0003, None, "0.0003"), (10.0, None, "10"), (2e-5, None, "2×10⁻⁵"), (1e-5, None, "10⁻⁵"),
        (0.1, 3, "0.100"), (123.4, 3, "123"), (-0.5, 2, "−0.50"), (np.inf, 3, "∞"), (np.nan, 3, "–"),
    ],
)  # fmt: skip
def test_numbers_as_text(value, digits, text):
    assert wording.number(value, digits) == text
