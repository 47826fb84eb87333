"""The article's blocks of the page: its published figures beside ours, and its five optimizers.

Every verdict is worked out from the tables, so it turns round when the numbers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from figures import five_figure, reproduction_figure

from optimlab.formatting import number
from optimlab.nn.network import Network, perceptron
from optimlab.report.block import Block
from optimlab.report.figures.static import static_figure

Array = np.ndarray

# What the article prints, as it prints it. Losses: summed over images and classes, by step. Accuracies:
# percent of the validation images. Example: of one class of one image the loss, its gradient by the
# probability, and that gradient after softmax.
PUBLISHED_LOSSES = {
    0: 5320.77, 500: 561.05, 1000: 333.33, 1500: 217.52, 2000: 151.71,
    2500: 110.51, 3000: 83.06, 3500: 63.78, 4000: 49.71, 4500: 39.08,
}  # fmt: skip
PUBLISHED_ACCURACIES = {"before": 11.78, "after": 92.59}
PUBLISHED_PARAMETERS = {"dense1": 2080, "batch_norm1": 64, "dense2": 528, "batch_norm2": 32}
PUBLISHED_TOTAL = 2704
PUBLISHED_SHAPES = {"prediction": (3, 10), "gradient by the input": (3, 64)}
PUBLISHED_EXAMPLE = {"true": (1.59, -4.92, -0.80), "false": (0.20, 1.22, 0.18)}

LOSS = "train_binary_loss_sum"
TOLERANCE = 0.05  # how far our median may be from a published loss
REPRODUCED = "reproduced"
LAST_PUBLISHED = max(PUBLISHED_LOSSES)


@dataclass(frozen=True)
class Row:
    """One of the article's figures: what it is, as published, as it came out here, and the verdict."""

    what: str
    published: str
    ours: str
    verdict: str


def reproduction(runs: pd.DataFrame, traces: pd.DataFrame, experiment: dict[str, Any]) -> Block | None:
    """Return the article's figures beside ours; None where its loss was not recorded."""
    if LOSS not in traces or traces.empty:
        return None
    traces = traces[traces["optimizer"] == traces["optimizer"].iloc[0]]  # others are the reader's own
    problem = experiment.get("problem") or {}
    rows = [*loss_rows(traces), *accuracy_rows(traces), *network_rows(problem), *example_rows()]
    good, seeds = sum(row.verdict == REPRODUCED for row in rows), traces["seed"].nunique()
    bands = ranges(traces)
    return Block(
        heading="The article",
        paragraphs=[
            f"The network, the data and the training of the article, from {seeds} seeds where it shows "
            f"one. Of the {len(rows)} figures that it prints, {good} are reproduced.",
            "A loss or an accuracy counts as reproduced if it lies between the lowest and the highest "
            "of our seeds and, for a loss after the start, if our median is within "
            f"{100 * TOLERANCE:g} % of it. The example is worked out from its own gradient, the figure "
            "with the most digits: it shows that the formulas agree, not what three images give.",
        ],
        caption="Ours: the median over the seeds, and from the lowest to the highest.",
        columns=["What", "Published", "Ours", "Verdict"],
        rows=[[row.what, row.published, row.ours, row.verdict] for row in rows],
        figures=[
            static_figure(
                "article",
                "The article’s loss, summed over 1,500 images and ten classes. Orange: the median of "
                "our seeds, and from the lowest to the highest. Black: the published trace. Below: the "
                "same, as percent above or below our median.",
                f"Line chart on a log scale, from a loss of {number(bands['median'].iloc[0], 4)} at the "
                f"start to {number(bands['median'].iloc[-1], 3)} at the end. "
                + _place_of_published(rows),
                reproduction_figure,
                bands,
                PUBLISHED_LOSSES,
            )
        ],
    )


def _place_of_published(rows: list[Row]) -> str:
    """Return the position of the published trace, as text."""
    losses = rows[: len(PUBLISHED_LOSSES)]
    good = sum(row.verdict == REPRODUCED for row in losses)
    return f"The published trace agrees with our seeds at {good} of {len(losses)} steps."


def loss_rows(traces: pd.DataFrame) -> list[Row]:
    """Return a row for each published loss."""
    rows = []
    for step, published in PUBLISHED_LOSSES.items():
        ours = traces.loc[traces["step"] == step, LOSS].to_numpy()
        tolerance = TOLERANCE if step else np.inf  # the first one is that of random weights
        rows.append(
            Row(
                f"Loss at step {step:,}",
                f"{published:.2f}",
                _median_and_range(ours),
                verdict_of(published, ours, tolerance),
            )
        )
    return rows


def accuracy_rows(traces: pd.DataFrame) -> list[Row]:
    """Return a row for the validation accuracy before training and one for that after it."""
    rows = []
    ends = {"before": traces["step"].min(), "after": traces["step"].max()}
    for when, published in PUBLISHED_ACCURACIES.items():
        ours = 100 * traces.loc[traces["step"] == ends[when], "validation_accuracy"].to_numpy()
        rows.append(
            Row(
                f"Validation accuracy {when} training",
                f"{published:.2f} %",
                _median_and_range(ours, " %"),
                verdict_of(published, ours, np.inf),
            )
        )
    return rows


def verdict_of(published: float, ours: Array, tolerance: float) -> str:
    """Return "reproduced", or "not, because …": whether a published figure is one of ours.

    Parameters
    ----------
    published : with two decimals, to which ours are rounded for the comparison.
    ours : one number per seed; NaN where a run diverged.
    tolerance : how far, relative to it, our median may be from the published figure.
    """
    if not len(ours):
        return "not, because this was not recorded"
    bad = int((~np.isfinite(ours)).sum())
    if bad:
        return f"not, because {bad} of {len(ours)} runs diverged"
    low, high, median = (round(float(x), 2) for x in (ours.min(), ours.max(), np.median(ours)))
    if published < low:
        return f"not, because it is below our lowest, {low:.2f}"
    if published > high:
        return f"not, because it is above our highest, {high:.2f}"
    if abs(median / published - 1) > tolerance:
        percent = f"{100 * (median / published - 1):+.1f}".replace("-", "−")
        return f"not, because our median is {percent} % off"
    return REPRODUCED


def _median_and_range(values: Array, unit: str = "") -> str:
    if not len(values) or not np.isfinite(values).all():
        return "–"
    return f"{np.median(values):.2f}{unit} ({values.min():.2f}–{values.max():.2f})"


def network_rows(problem: dict[str, Any]) -> list[Row]:
    """Return rows for the numbers of parameters and the shapes, counted on the experiment's network.

    Parameters
    ----------
    problem : the settings of the problem; without, the article's.
    """
    default = [{"units": 32, "activation": "sigmoid"}, {"units": 16, "activation": "relu"}]
    hidden = [(layer["units"], layer["activation"]) for layer in problem.get("hidden", default)]
    switches = {key: problem.get(key, True) for key in ("batch_norm", "bias")}
    network = perceptron(64, hidden, 10, **switches)
    counts = {
        layer.name: sum(int(np.prod(shape)) for shape in layer.shapes.values())
        for layer in network.layers
        if layer.shapes
    }
    return [*parameter_rows(counts), *_shape_rows(network)]


def parameter_rows(counts: dict[str, int]) -> list[Row]:
    """Return a row for each published number of parameters, given ours: layer → number, in order."""
    rows = []
    for layer, published in PUBLISHED_PARAMETERS.items():
        ours = counts.get(layer, 0)
        verdict = REPRODUCED if ours == published else f"not, because this layer has {ours:,}"
        rows.append(Row(f"Parameters of {layer}", f"{published:,}", f"{ours:,}", verdict))
    total, last = sum(counts.values()), list(counts.values())[len(PUBLISHED_PARAMETERS) :]
    verdict = REPRODUCED
    if total != PUBLISHED_TOTAL:
        verdict = f"not, because all layers have {total:,}"
    if total != PUBLISHED_TOTAL == total - sum(last):
        verdict = f"not, because its sum leaves out the last block, {' + '.join(map(str, last))}"
    return [*rows, Row("Parameters in total", f"{PUBLISHED_TOTAL:,}", f"{total:,}", verdict)]


def _shape_rows(network: Network) -> list[Row]:
    """Send three images through the network and back, and compare shapes, images first."""
    images = 3
    generators = [np.random.default_rng(0)]
    params, model = network.initial_params(generators), network.model(generators)
    logits = network.forward(params, np.zeros((network.inputs, images)), model)
    backward = network.backward(params, np.empty_like(params), np.ones_like(logits), to_inputs=True)
    assert backward is not None
    ours = {"prediction": logits.mT.shape[1:], "gradient by the input": backward.mT.shape[1:]}
    return [
        Row(
            f"Shape of the {what} for {images} images",
            str(published),
            str(ours[what]),
            REPRODUCED if ours[what] == published else f"not, because it is {ours[what]} here",
        )
        for what, published in PUBLISHED_SHAPES.items()
    ]


def example_rows(example: dict[str, tuple[float, float, float]] = PUBLISHED_EXAMPLE) -> list[Row]:
    """Return a row for each class of the three-image example.

    The article does not print the probability. Its gradient, the figure with the most digits, gives it;
    the formulas then have to give the other two figures.
    """
    rows = []
    for kind, (loss, gradient, after_softmax) in example.items():
        p = -1 / gradient if kind == "true" else 1 - 1 / gradient
        ours = (-np.log(p if kind == "true" else 1 - p), gradient, gradient * p * (1 - p))
        same = np.allclose(ours, (loss, gradient, after_softmax), rtol=0, atol=0.005)
        rows.append(
            Row(
                f"Example, a {kind} class: loss ↔ gradient ↔ after softmax",
                _triple((loss, gradient, after_softmax)),
                f"{_triple(ours)} at p = {p:.4f}",
                REPRODUCED if same else "not, because no probability gives all three",
            )
        )
    return rows


def _triple(values: Sequence[float]) -> str:
    return " ↔ ".join(f"{value:.2f}".replace("-", "−") for value in values)


def ranges(traces: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest, median and highest loss over the seeds: one row per optimizer and step.

    A run that diverged counts as infinite.
    """
    losses = traces[LOSS].fillna(np.inf).groupby([traces["optimizer"], traces["step"]], sort=False)
    bands = pd.DataFrame({"low": losses.min(), "median": losses.median(), "high": losses.max()})
    return bands.reset_index().sort_values("step", kind="stable", ignore_index=True)


def five_optimizers(
    runs: pd.DataFrame, traces: pd.DataFrame, experiment: dict[str, Any]
) -> Block | None:
    """Return what the article's five optimizers do; None where its loss was not recorded."""
    if LOSS not in traces or traces.empty:
        return None
    bands = ranges(traces)
    rows = five_rows(traces)
    ends = {row[0]: row[1] for row in rows}
    return Block(
        heading="What the article promised",
        paragraphs=[adam_cost(bands)],
        caption=(
            f"Loss: summed over images and classes, at step {LAST_PUBLISHED:,}. Accuracy: of the "
            "validation images, at the end. The median over the seeds, and from the lowest to the "
            "highest."
        ),
        columns=["Optimizer", "Loss", "Validation accuracy"],
        rows=rows,
        figures=[
            static_figure(
                "article-five",
                "The article’s loss, summed over 1,500 images and ten classes: medians of the seeds, "
                "and from the lowest to the highest. Article: its hyper-parameters, translated from "
                "its summed loss to the mean, so that every step is the one it would have made. "
                "Textbook: the usual rules and defaults. As printed: the article’s numbers, "
                "untranslated, on the mean.",
                f"Line charts on a log scale. Loss at step {LAST_PUBLISHED:,}: "
                + ", ".join(f"{label} {loss}" for label, loss in ends.items()),
                five_figure,
                bands,
            )
        ],
    )


def five_rows(traces: pd.DataFrame) -> list[list[str]]:
    """Return for each optimizer its loss at the last published step and its accuracy at the end."""
    rows = []
    for label, mine in traces.groupby("optimizer", sort=False):
        loss = mine.loc[mine["step"] == LAST_PUBLISHED, LOSS].to_numpy()
        accuracy = 100 * mine.loc[mine["step"] == mine["step"].max(), "validation_accuracy"].to_numpy()
        rows.append([str(label), _short_range(loss), _short_range(accuracy, " %")])
    return rows


def _short_range(values: Array, unit: str = "") -> str:
    values = np.where(np.isfinite(values), values, np.inf)
    if not len(values):
        return "–"
    median, low, high = (number(float(x), 3) for x in (np.median(values), values.min(), values.max()))
    return f"{median}{unit} ({low}–{high})"


def adam_cost(bands: pd.DataFrame) -> str:
    """Return what the constant bias correction costs compared with the real one, as text."""
    at_end = bands[bands["step"] == LAST_PUBLISHED].set_index("optimizer")["median"]
    if not {"Adam (article)", "Adam (textbook)"} <= set(at_end.index):
        return "There is no Adam of both kinds to compare."
    printed, real = at_end["Adam (article)"], at_end["Adam (textbook)"]
    comparison = (
        f"{number(printed / real, 2)} times that of" if printed > real else "no higher than that of"
    )
    return (
        "The article’s Adam divides by 1 − β at every step, where Adam divides by 1 − βᵗ. At step "
        f"{LAST_PUBLISHED:,} its loss is {number(printed, 3)}, {comparison} the real one, "
        f"{number(real, 3)}."
    )
