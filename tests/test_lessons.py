"""What tuning teaches: inclusion alarms, early rankings, and transfer of learning rates."""

import numpy as np
import pandas as pd
import pytest
from reference.statistics import table, traces_of

from optimlab.experiment.candidates import Axis
from optimlab.experiment.registry import hyperparameters
from optimlab.optimizers import RULES
from optimlab.optimizers.inclusion import INCLUSIONS
from optimlab.statistics import compare_optimizers, lessons
from optimlab.statistics.spaces import Space

RATE = Axis("learning_rate", (), 1e-3, 1.0, "log")
MOMENTUM = Axis("momentum", (), 0.0, 0.99, "one_minus_log")
BETA1 = Axis("beta1", (), 0.0, 0.99, "one_minus_log")
BETA2 = Axis("beta2", (), 0.0, 0.999, "one_minus_log")
RHO = Axis("rho", (), 0.0, 0.999, "one_minus_log")
EPS = Axis("eps", (), 1e-10, 1.0, "log")
SMALL_EPS = Axis("eps", (), 1e-10, 1e-6, "log")


def space(*axes, **fixed):
    """Return a space of one candidate, in the middle of every axis."""
    values = {axis.name: axis.at(0.5) for axis in axes}
    return Space(axes, {1: {**values, **fixed}})


def alarms(wider, narrower, losses=(0.2, 0.1), *, shown=True):
    """Return the alarms of two optimizers, given as (rule, space), that end with these losses."""
    labels = ["wider", "narrower"]
    summary = pd.DataFrame(
        {"optimizer": labels, "rule": [wider[0], narrower[0]], "final_loss_median": losses}
    )
    pairs = pd.DataFrame(
        [{"setting": "tuned", "better": "narrower", "worse": "wider", "different": shown,
          "favours": "narrower"}]
    )  # fmt: skip
    spaces = dict(zip(labels, (wider[1], narrower[1]), strict=True))
    return lessons.inclusion_alarms(summary, pairs, spaces)


PLAIN = ("SGD", space(RATE, momentum=0))
TUNED = ("SGD", space(RATE, MOMENTUM))
ADAM = ("Adam", space(RATE, BETA1, BETA2, EPS))


@pytest.mark.parametrize(
    ("wider", "narrower"),
    [
        (TUNED, PLAIN),
        (("Nesterov", space(RATE, MOMENTUM)), PLAIN),
        (ADAM, ("RMSprop", space(RATE, RHO, EPS))),
        (ADAM, TUNED),
        (("Adam", space(RATE, EPS, beta1=0.9, beta2=0.999)), ("SGD", space(RATE, momentum=0.9))),
        (("RMSprop", space(RATE, EPS, rho=0.9)), PLAIN),
    ],
)
def test_a_rule_that_contains_another_and_ends_higher_is_an_alarm(wider, narrower):
    [alarm] = alarms(wider, narrower)
    assert (alarm.wider, alarm.narrower, alarm.is_shown) == ("wider", "narrower", True)
    [text] = lessons.alarm_words([alarm])
    assert text.startswith("The search is too small: wider contains narrower (")
    assert "), yet is shown to end higher (0.200 against" in text
    assert alarms(wider, narrower, (0.1, 0.2)) == []
    [text] = lessons.alarm_words(alarms(wider, narrower, shown=False))
    assert text.startswith("The search may be too small: wider contains narrower (")


@pytest.mark.parametrize(
    ("wider", "narrower"),
    [
        (PLAIN, TUNED),
        (("SGD", space(RATE, Axis("momentum", (0.5, 0.9)))), PLAIN),  # it never gets there
        (("Nesterov", space(RATE, MOMENTUM)), ("SGD", space(RATE, momentum=0.9))),
        (("Adam", space(RATE, BETA1, BETA2, SMALL_EPS)), TUNED),
        (("Adam", space(RATE, BETA2, EPS, beta1=0.9)), TUNED),  # whose momentum it cannot follow
        (("Adam", space(RATE, BETA1, beta2=0.999, eps=1e-8)), ("RMSprop", space(RATE, RHO, eps=1e-8))),
        (("RMSprop", space(RATE, EPS, rho=0.9)), ("AdaGrad", space(RATE, EPS))),
        (("SGD", space(RATE, momentum=0)), ("SGD", space(RATE, momentum=0.9))),
    ],
)
def test_what_contains_nothing_is_no_alarm(wider, narrower):
    assert alarms(wider, narrower) == []


def test_inclusions_name_rules_and_their_hyperparameters():
    for each in INCLUSIONS:
        wider, narrower = (hyperparameters(RULES[name]) for name in (each.wider, each.narrower))
        assert each.at.keys() | each.same.keys() <= wider.keys()
        assert each.narrower_at.keys() | set(each.same.values()) <= narrower.keys()


def steps_of(rule, **given):
    """Return where 30 steps of a rule lead on a bowl with noise."""
    rng, params = np.random.default_rng(0), np.array([1.0, -2.0, 0.5])
    optimizer = RULES[rule](**given)
    state = optimizer.init(params)
    for _ in range(30):
        gradient = optimizer.gradient_point(params, state) + 0.1 * rng.normal(size=3)
        optimizer.step(params, gradient, state)
    return params


def test_inclusions_hold():
    """The rules themselves: in the limit of a large eps, the rate larger by as much."""
    still = steps_of("SGD", learning_rate=0.1, momentum=0.0)
    assert steps_of("Nesterov", learning_rate=0.1, momentum=0.0) == pytest.approx(still)
    assert steps_of("RMSprop", learning_rate=0.1 * 1e4, eps=1e8) == pytest.approx(still, rel=1e-4)
    by_eps = steps_of("Adam", learning_rate=0.1 * 1e6, beta1=0.0, eps=1e6)
    assert by_eps == pytest.approx(still, rel=1e-4)
    adam = steps_of("Adam", learning_rate=0.1)
    assert steps_of("AdamW", learning_rate=0.1, weight_decay=0.0) == pytest.approx(adam)


def test_the_final_order_counts_from_where_it_stays():
    """B is ahead of A on all seeds until the third epoch of five, and A from then on."""
    runs = table(*((name, 0.1, 100 + s, "ok", loss + s / 100) for name, loss in (("A", 1.0), ("B", 2.0))
                   for s in range(8)))  # fmt: skip
    traces = traces_of(runs)
    early = traces["optimizer"].eq("A") & traces["epoch"].lt(3)
    traces.loc[early, "validation_loss"] += 10
    found = compare_optimizers(runs, traces, splits=20, draws=20).foretold
    assert found[["better", "worse"]].drop_duplicates().to_numpy().tolist() == [["A", "B"]]
    assert found["share"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found["ahead"].tolist() == [0, 0, 1, 1]
    assert lessons.settled_from(found) == {("A", "B"): 0.75}
    assert lessons.foretold_words(found.assign(different=True)) == (
        "The final order of the one pair that is shown to differ holds after 75 % of the run. "
        "Halfway, it is reversed: A is still behind B."
    )
    assert lessons.foretold_words(found.assign(different=False)) == ""
    turned = found.assign(different=True, ahead=[1, 1, 1, 0.5])
    assert lessons.foretold_words(turned).endswith("emerges only at the end.")


def test_rates_carried_over_are_ratios_of_the_best_rates():
    """A is best at 0.1 and B at 1, on every seed but for a little noise."""
    best = {"A": 0.1, "B": 1.0}
    rows = [
        (name, rate, seed, "ok", 1 + abs(np.log10(rate / at)) + 0.01 * (seed % 7))
        for name, at in best.items() for rate in (0.01, 0.1, 1.0, 10.0)
        for seed in (*range(5), *range(100, 115))
    ]  # fmt: skip
    rows += [("C", 0.1, seed, "ok", 1.0) for seed in (*range(5), *range(100, 115))]  # has no choice
    runs = table(*rows)
    [row] = compare_optimizers(runs, traces_of(runs), splits=50, draws=20).carried_rates.to_dict(
        "records"
    )
    assert (row["optimizer"], row["other"]) == ("A", "B")
    assert [row[key] for key in ("ratio_low", "ratio", "ratio_high")] == pytest.approx([0.1] * 3)


def test_pairs_that_are_turned_round_are_named_the_furthest_first():
    pairs = [("A", "B", 0.4), ("A", "C", 0.1), ("B", "C", 0.2), ("C", "D", 0.3), ("A", "D", 0.9)]
    found = pd.DataFrame(
        [
            {"better": one, "worse": two, "share": share, "ahead": ahead if share <= 0.5 else 1.0,
             "different": True}
            for one, two, ahead in pairs for share in (0.25, 0.5, 0.75, 1.0)
        ]
    )  # fmt: skip
    assert lessons.turned_round(found) == [("A", "C"), ("B", "C"), ("C", "D"), ("A", "B")]
    assert lessons.foretold_words(found).endswith(
        "C is still behind D and the same holds for 1 other pair."
    )
