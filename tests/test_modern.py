"""The shipped experiment of all rules: complete, with the same tuning budget for each."""

import pytest
from sweeping import EXPERIMENTS

from optimlab.experiment.load import load
from optimlab.experiment.registry import hyperparameters, load_rule
from optimlab.optimizers import RULES, WRAPPERS, Muon
from optimlab.report.style import series_styles


@pytest.fixture(scope="module")
def experiment():
    return load(EXPERIMENTS / "modern.toml")


def test_every_rule_and_wrapper_takes_part(experiment):
    rules = [setting.rule for setting in experiment.optimizers]
    assert set(RULES) <= set(rules)
    assert {name.partition("(")[0] for name in rules} == {*RULES, *WRAPPERS}
    assert len(rules) == len(set(rules)) == 30


def test_all_have_the_same_budget_about_their_usual_rate(experiment):
    for setting in experiment.optimizers:
        rates = setting.learning_rates
        usual = hyperparameters(load_rule(setting.rule, EXPERIMENTS)).get("learning_rate")
        assert len(rates) == 7
        assert min(rates) < usual < max(rates), setting.label


def test_no_two_of_thirty_look_alike(experiment):
    drawn = series_styles([setting.label for setting in experiment.optimizers])
    assert len({(style.colour, style.dashes) for style in drawn.values()}) == 30
    assert len({(style.colour, style.marker) for style in drawn.values()}) == 30


@pytest.mark.parametrize(("label", "matrices", "size"), [("default", 1, 512), ("deep", 2, 8192)])
def test_muons_share_is_as_documented(experiment, label, matrices, size):
    (layout,) = (p.problem.layout for p in experiment.problems if p.label == label)
    hidden = Muon.hidden(layout)
    assert len(hidden) == matrices
    assert sum(layout.slices[name].stop - layout.slices[name].start for name in hidden) == size
    assert f"512 of {2894:,}" in " ".join(Muon.__doc__.split())
    assert label != "default" or layout.size == 2894
