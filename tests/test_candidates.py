"""Candidates: grids over any hyper-parameter, the default candidate, and the bits of their runs."""

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from reference.statistics import table, traces_of
from sweeping import OWN, document, mistakes_of, plugin, run, tiny, write

from optimlab import statistics
from optimlab.execution.sweep import stacks
from optimlab.report.report import report_of
from optimlab.statistics import ranking, tuning
from optimlab.storage.results import NothingToReport, read_tables
from optimlab.storage.tables import read_runs

GRID = "[optimizers.SGD]\nmomentum = [0.9, 0, 0.5]\n"


def values_of(setting):
    """Return number → learning rate and other hyper-parameters of an optimizer's candidates."""
    return {each.number: each.settings for each in setting.candidates}


def test_a_grid_has_a_candidate_for_each_combination_and_the_default_before_them(tmp_path):
    [sgd] = tiny(tmp_path, document(optimizers=GRID)).optimizers
    assert [axis.name for axis in sgd.axes] == ["learning_rate", "momentum"]
    assert sgd.hyperparameters == {}
    assert values_of(sgd) == {
        0: {"learning_rate": 0.01, "momentum": 0.9},
        **{
            number: {"learning_rate": rate, "momentum": momentum}
            for number, (momentum, rate) in enumerate(
                [(m, r) for m in (0, 0.5, 0.9) for r in (0.1, 0.3)], start=1
            )
        },
    }


def test_a_default_that_is_on_the_grid_is_tried_once(tmp_path):
    text = document(top="learning_rates = [0.01, 0.1]\n", optimizers=GRID)
    experiment = tiny(tmp_path, text)
    assert list(values_of(experiment.optimizers[0])) == [0, 1, 2, 3, 4, 6]
    assert experiment.count() == len(list(experiment.runs())) == 6 * 3


def test_learning_rates_alone_and_lists_of_one_value_have_no_default_beside_them(tmp_path):
    text = document(optimizers="[optimizers.SGD]\nmomentum = [0.9]\n[optimizers.Adam]\n")
    sgd, adam = tiny(tmp_path, text).optimizers
    assert list(values_of(sgd)) == list(values_of(adam)) == [1, 2]
    assert sgd.hyperparameters == {"momentum": 0.9}
    assert [len(each.axes) for each in (sgd, adam)] == [1, 1]


def test_two_optimizers_of_one_rule_try_its_default_once(tmp_path):
    text = document(optimizers=f'{GRID}[optimizers.Other]\nrule = "SGD"\nmomentum = [0.6, 0.7]\n')
    sgd, other = tiny(tmp_path, text).optimizers
    assert (min(values_of(sgd)), min(values_of(other))) == (0, 1)
    twin = f'{GRID}[optimizers.Other]\nrule = "SGD"\nmomentum = [0.9, 0.7]\n'
    assert mistakes_of(write(tmp_path, document(optimizers=twin))) == [
        "optimizers.Other: has runs that optimizers.SGD has already"
    ]


def test_a_textbook_candidate_that_is_on_a_grid_stays_on_it(tmp_path):
    """It was left out where another optimizer has it, too, without a word."""
    grid = "[optimizers.SGD]\nmomentum = [0, 0.9]\nlearning_rates = [0.001, 0.01]\n"
    twin = '[optimizers.Twin]\nrule = "SGD"\nmomentum = [0.9, 0.99]\nlearning_rates = [0.01, 0.1]\n'
    assert mistakes_of(write(tmp_path, document(optimizers=grid + twin))) == [
        "optimizers.Twin: has runs that optimizers.SGD has already"
    ]
    other = twin.replace("[0.01, 0.1]", "[0.1, 1]")
    sgd, other = tiny(tmp_path, document(optimizers=grid + other)).optimizers
    assert (list(values_of(sgd)), list(values_of(other))) == ([0, 1, 2, 3], [1, 2, 3, 4])


def test_a_default_without_weight_decay_is_the_bare_rules(tmp_path):
    text = document(optimizers="[optimizers.SGD]\nweight_decay = 0.1\nmomentum = [0.5, 0.9]\n")
    experiment = tiny(tmp_path, text)
    default = experiment.optimizers[0].candidates[0]
    assert default.settings == {"learning_rate": 0.01, "momentum": 0.9}
    run(experiment, tmp_path / "results")
    runs = read_runs((tmp_path / "results/tiny/runs.csv").read_bytes(), {"weight_decay", "momentum"})
    decays = runs.groupby("candidate")["weight_decay"].first()
    assert np.isnan(decays[0])
    assert set(decays[1:]) == {0.1}


@pytest.mark.parametrize(
    ("optimizers", "says"),
    [
        ("momentum = []", "optimizers.SGD.momentum: must not be empty"),
        (
            "momentum = [0.5, 1.1]",
            "optimizers.SGD.momentum[2]: momentum must be in [0, 1), got 1.1",
        ),
        (
            "momentum = [0.5, [0.6]]",
            "optimizers.SGD.momentum[2]: must be a number, a text, true or false, got [0.6]",
        ),
        ("momentum = [0.5, 0.99999999]", "optimizers.SGD.momentum: 0.99999999 is 1 in float32"),
        (
            f"weight_decay = {list(range(6000))}",
            "optimizers.SGD: gives 12,000 candidates; must give at most 10,000",
        ),
    ],
)
def test_mistakes_of_a_grid_name_the_key_and_the_place(tmp_path, optimizers, says):
    [mistake] = mistakes_of(write(tmp_path, document(optimizers=f"[optimizers.SGD]\n{optimizers}\n")))
    assert mistake.startswith(says)


def test_a_combination_that_a_rule_refuses_is_named(tmp_path):
    source = plugin(settings=", low=0.1, high=0.9").replace(
        "self.learning_rate = learning_rate",
        "self.learning_rate = learning_rate\n"
        "        if low > high: raise ValueError('low is above high')",
    )
    text = document(optimizers=OWN + "low = [0.1, 0.5]\nhigh = [0.9, 0.3]\n")
    assert mistakes_of(write(tmp_path, text, own=source)) == [
        "optimizers.Own: with low = 0.5, high = 0.3: low is above high"
    ]


def test_a_plugin_that_mixes_runs_at_one_value_of_the_grid_is_found_before_anything_runs(tmp_path):
    step = "params -= self.power * params.mean(axis=0) if np.any(self.power) else 0"
    source = plugin(settings=", power=0.0", step=step).replace(
        "self.learning_rate = learning_rate",
        "self.learning_rate, self.power = learning_rate, power",
    )
    text = document(optimizers=OWN + "power = [0.0, 0.5]\n")
    [mistake] = mistakes_of(write(tmp_path, text, own=source))
    assert mistake.startswith("optimizers.Own: with power = 0.5: its step mixes the runs of a stack")


@pytest.mark.parametrize("name", ["candidate", "seed", "status", "final_train_loss", "learning_rates"])
def test_a_hyperparameter_named_like_a_column_of_the_runs_is_refused(tmp_path, name):
    text = document(optimizers=OWN + f"{name} = [1.0, 2.0]\n")
    file = write(tmp_path, text, own=plugin(settings=f", {name}=1.0"))
    assert any("has the name of" in mistake for mistake in mistakes_of(file))


INTERNAL = ["setting", "step", "score", "worth", "epochs", "axis", "start", "number"]


@pytest.mark.slow
def test_hyperparameters_named_like_internal_columns_work(tmp_path):
    """All of them are tuned; the tables and the page are made."""
    axes = ", ".join(f"{name} = {{ choices = [1.0, 2.0] }}" for name in INTERNAL)
    settings = "".join(f", {name}=1.0" for name in INTERNAL)
    text = document(optimizers=f"{OWN}search = {{ trials = 8, {axes} }}\n")
    run(tiny(tmp_path, text, own=plugin(settings=settings)), tmp_path / "results")
    runs = read_runs((tmp_path / "results/tiny/runs.csv").read_bytes(), INTERNAL)
    assert all(set(runs[name]) == {1.0, 2.0} for name in INTERNAL)
    report = report_of(read_tables(tmp_path / "results/tiny"))
    chosen = report.numbers["summary.csv"].loc[0, "hyperparameters"]
    assert all(f", {name} " in chosen for name in INTERNAL)


def bits_of(results, chosen):
    """Return optimizer, rate and seed → bits of the runs that `chosen` says."""
    runs = read_runs((results / "tiny/runs.csv").read_bytes(), {"momentum"})
    runs = runs[[chosen(row) for row in runs.to_dict("records")]]
    finals = [name for name in runs if name.startswith("final_")]
    keys = zip(runs["run_id"], runs["learning_rate"], runs["seed"], strict=True)
    return dict(zip(keys, [row.tobytes() for row in runs[finals].to_numpy(dtype=float)], strict=True))


def test_a_slice_of_a_grid_has_the_runs_and_bits_of_a_separate_experiment(tmp_path):
    run(tiny(tmp_path / "grid", document(optimizers=GRID)), tmp_path / "wide")
    alone = document(optimizers="[optimizers.SGD]\nmomentum = 0.9\n")
    run(tiny(tmp_path / "alone", alone), tmp_path / "narrow")
    expected = bits_of(tmp_path / "narrow", lambda _: True)
    assert len(expected) == 2 * 3
    assert (
        bits_of(tmp_path / "wide", lambda row: row["momentum"] == 0.9 and row["candidate"] > 0)
        == expected
    )


def test_runs_of_a_stack_share_all_but_the_rate_and_the_seed(tmp_path):
    experiment = tiny(tmp_path, document(optimizers=GRID))
    found = list(stacks(experiment, list(experiment.runs()), 1))
    assert [stack.hyperparameters["momentum"] for stack in found] == [0.9, 0, 0.5, 0.9]
    assert [len(stack.run_ids) for stack in found] == [3, 6, 6, 6]


@pytest.mark.slow
def test_a_wider_grid_runs_only_what_is_new(tmp_path):
    narrow = document(optimizers="[optimizers.SGD]\nmomentum = [0.5, 0.9]\n")
    assert run(tiny(tmp_path, narrow), tmp_path / "results").ran == 5 * 3
    outcome = run(tiny(tmp_path, document(optimizers=GRID)), tmp_path / "results")
    assert (outcome.ran, outcome.kept) == (2 * 3, 5 * 3)


def test_tables_without_candidates_are_grouped_by_their_hyperparameters():
    """As a user of Python has them: learning rates, and a momentum that differs."""
    rows = [("A", rate, seed, "ok", rate) for rate in (0.1, 1.0) for seed in (0, 100, 101)]
    plain = table(*rows).drop(columns="candidate")
    runs = ranking.with_candidates(
        plain.merge(plain.assign(momentum=0.0)).assign(momentum=0.0, note=range(6))
    )
    assert runs["candidate"].tolist() == [1] * 3 + [2] * 3
    both = [plain.assign(momentum=m, run_id=plain["run_id"] + f" {m}") for m in (0.0, 0.9)]
    both = pd.concat(both)  # with an index that is not unique
    both["final_validation_loss"] *= 1 + both["momentum"]
    assert ranking.with_candidates(both)["candidate"].tolist() == [1] * 3 + [3] * 3 + [2] * 3 + [4] * 3
    summary = statistics.compare_optimizers(both.reset_index(drop=True), traces_of(both)).summary
    assert summary[["candidate", "learning_rate"]].to_numpy().tolist() == [[1, 0.1]]


def test_the_default_is_candidate_zero_whatever_else_has_its_rate():
    runs = table(*(("A", rate, seed, "ok", rate) for rate in (0.1, 0.2, 0.3) for seed in (0, 100)))
    runs["candidate"] -= 1
    runs["learning_rate"] = 0.5
    found = statistics.reported_runs(runs, "default", {"A": 0.5})
    assert found["candidate"].tolist() == [0]
    several = runs.assign(candidate=runs["candidate"] + 1)
    assert statistics.reported_runs(several, "default", {"A": 0.5}).empty


def test_the_budget_with_a_default_that_is_tried_first_is_the_mean_over_all_draws():
    """Two of four drawn, the default beside them: by hand, over all six subsets."""
    tuned, fresh = [3.0, 1.0, 4.0, 2.0, 5.0], [7.0, 5.0, 9.0, 8.0, 1.0]  # the first is the default
    runs = table(
        *(("A", float(1 + k), 0, "ok", loss) for k, loss in enumerate(tuned)),
        *(("A", float(1 + k), 100, "ok", loss) for k, loss in enumerate(fresh)),
    )
    runs["candidate"] -= 1
    found = tuning.budget(runs, traces_of(runs), {}, draws=10).set_index("trials")["expected_loss"]
    assert list(found.index) == [0, 1, 2, 3, 4]
    assert found[0] == 7.0
    for trials in (1, 2, 3, 4):
        best = [min((0, *some), key=lambda k: tuned[k]) for some in combinations(range(1, 5), trials)]
        assert math.isclose(found[trials], np.mean([fresh[k] for k in best]))


def test_results_of_a_version_without_candidates_end_in_a_sentence(tmp_path):
    """Its experiment.json has cells of a learning rate each; a sweep makes the tables anew."""
    experiment = tiny(tmp_path, document())
    run(experiment, tmp_path / "results")
    path = tmp_path / "results/tiny/experiment.json"
    about = json.loads(path.read_text())
    about["cells"] = [[problem, label, rate, i] for problem, label, _, rate, i in about["cells"]]
    for each in about["optimizers"].values():
        each.update(hyperparameters={"momentum": 0.9}, learning_rates=[0.1, 0.3])
        del each["candidates"], each["axes"]
    path.write_text(json.dumps(about))
    told = r"cannot read .*experiment\.json: cells: they .* an older version of .* make it again, run `"
    with pytest.raises(NothingToReport, match=told):
        read_tables(tmp_path / "results/tiny")
    outcome = run(experiment, tmp_path / "results")
    assert (outcome.ran, outcome.kept) == (0, 6)
    assert set(read_tables(tmp_path / "results/tiny").runs["candidate"]) == {1, 2}


@pytest.mark.slow
def test_tables_without_the_column_are_read_and_reported(tmp_path):
    run(tiny(tmp_path, document(optimizers=GRID)), tmp_path / "results")
    folder = tmp_path / "results/tiny"
    runs = read_runs((folder / "runs.csv").read_bytes(), {"momentum"}).drop(columns="candidate")
    traces = pd.read_parquet(folder / "traces.parquet").drop(columns="candidate")
    summary = statistics.compare_optimizers(runs, traces, splits=10, draws=10).summary
    assert "momentum" in summary.loc[0, "hyperparameters"]
