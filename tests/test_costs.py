"""The cost of a step: measured for a single run, stored with the results, and shown on the page."""

import json

import numpy as np
import pytest
from sweeping import OWN, document, plugin, run, tiny

from optimlab.execution.costs import Costs
from optimlab.experiment.runs import FinishedRun, FinishedStack
from optimlab.optimizers import Adam, Muon
from optimlab.problems import Digits
from optimlab.report.blocks.costs import costs_block, costs_on, step_seconds
from optimlab.report.report import report_of
from optimlab.storage.manifest import Manifest
from optimlab.storage.results import read_tables
from optimlab.training import Cost, Stopwatch, state_bytes, train

SLOW = "x = sum(range(200_000))"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder of the results of two optimizers, one of which is slow, and of its problem."""
    folder = tmp_path_factory.mktemp("costs")
    optimizers = f"[optimizers.Muon]\n{OWN}"
    problem = (
        'batch_size = 600\nhidden = [{units = 4, activation = "relu"}, {units = 3, activation = "relu"}]'
    )
    text = document(optimizers=optimizers, problem=problem, training="epochs = 3\n")
    run(tiny(folder, text, own=plugin(step=SLOW)), folder / "results")
    return folder / "results/tiny"


def test_a_sweep_keeps_what_a_step_of_a_run_alone_costs(swept):
    costs = json.loads((swept / "experiment.json").read_text())["costs"]["digits"]
    own, muon = costs["Own"], costs["Muon"]
    assert own["rule_seconds"] > 5 * muon["rule_seconds"] > 0
    assert muon["step_seconds"] > muon["rule_seconds"]
    assert own["step_seconds"] > own["rule_seconds"] > 0.9 * (own["step_seconds"] - muon["step_seconds"])
    size = Digits(hidden=(), batch_size=600).layout.size
    assert own["state_bytes"] == 0
    assert muon["state_bytes"] > 4 * size


def test_optimizers_that_share_a_rule_each_have_a_cost(tmp_path):
    rules = "[optimizers.SGD]\n[optimizers.GD]\nrule = 'SGD'\nmomentum = 0.0\n"
    run(tiny(tmp_path, document(optimizers=rules)), tmp_path / "results")
    costs = json.loads((tmp_path / "results/tiny/experiment.json").read_text())["costs"]
    assert set(costs["digits"]) == {"SGD", "GD"}


@pytest.mark.slow
def test_the_page_has_a_table_and_a_time_axis(swept):
    tables = read_tables(swept)
    report = report_of(tables)
    block = report.circumstances[-1]
    assert block is not None
    assert [row[0] for row in block.rows] == ["Muon", "Own"]  # the cheapest first
    assert block.columns == ["Optimizer", "µs per step", "Rule’s share", "State", "Whole run"]
    assert [figure.name for figure in block.figures] == ["time"]
    (partition,) = block.paragraphs[1:]
    assert partition.startswith("Muon on digits: 12 of ")
    assert "parameters (dense2.weight) have Muon’s step, the rest AdamW’s" in partition
    without = {key: value for key, value in tables.experiment.items() if key != "costs"}
    assert costs_block(tables.__class__(**{**vars(tables), "experiment": without}), {}, {}) is None


def test_the_first_step_and_the_evaluation_are_left_out():
    watch = Stopwatch(1)
    assert watch.cost({}) is None
    for step in range(3):
        for moment in (0.0, 0.125, 0.375, 0.5):
            watch.moments.append(moment + 100 * (step == 0) * moment)
            if len(watch.moments) == 4:
                watch.add()
    assert watch.cost({"a": np.zeros(2), "b": [(np.zeros(2),), 3]}) == Cost(0.5, 0.25, 32)


def test_costs_are_of_all_steps_but_the_first():
    problem = Digits(hidden=(), batch_size=600)
    assert train(problem, Adam(), [0], [1]).cost is None
    assert train(problem, Adam(), [0, 1], [3]).cost is None  # in a stack no time is a run's own
    recording = train(problem, Adam(), [0], [3])
    assert recording.cost.step_seconds > recording.cost.rule_seconds > 0
    assert recording.cost.state_bytes == 2 * 4 * recording.params.shape[1]


def test_the_work_of_a_few_steps_is_shared_by_all():
    watch = Stopwatch(1)
    watch.steps = [(9.0, 9.0), *[(1.0, 0.25)] * 9, (1.0, 2.75)]  # a tenth of the steps takes roots
    assert watch.cost({}) == Cost(1.5, 0.5, 0)


def test_a_machine_that_was_busy_makes_no_optimizer_dearer():
    """The same rule, measured at three moments of which one was three times as slow, costs the same."""
    quick, slow = ({"step_seconds": 5.0 * t, "rule_seconds": 1.0 * t} for t in (1, 3))
    experiment = {"costs": {"digits": {"A": quick, "B": slow, "C": quick}}}
    assert set(step_seconds(experiment, "digits").values()) == {5.0}
    assert {each["rule_seconds"] for each in costs_on(experiment, "digits").values()} == {1.0}
    assert step_seconds(experiment, "wine") == step_seconds({}, "digits") == {}


def test_bytes_of_a_state():
    assert state_bytes({"a": np.zeros(3), "b": [np.zeros(1), {"c": np.float32(1)}], "d": None}) == 36


def test_muons_partition():
    assert Muon.partition(Digits().layout).startswith("512 of 2,894 parameters (dense2.weight) have")
    text = "there is no hidden matrix, so AdamW trains everything"
    assert Muon.partition(Digits(hidden=()).layout) == text


def finished(statuses, fell_back="", cost=None):
    runs = [FinishedRun(str(place), status, "", 1, {}) for place, status in enumerate(statuses)]
    return FinishedStack(runs, {}, cost=cost, fell_back=fell_back)


def test_medians_are_kept_beside_what_was_known():
    costs = Costs()
    for seconds in (1.0, 5.0, 2.0):
        costs.add(finished(["ok"], cost=Cost(seconds, seconds / 2, 8)), "digits", "SGD")
    before = {"step_seconds": 3, "rule_seconds": 1, "state_bytes": 0}
    known = Manifest(costs={"digits": {"SGD": before, "Adam": before}})
    found = costs.added_to(known).costs["digits"]
    assert (found["SGD"].step_seconds, found["SGD"].rule_seconds, found["Adam"].step_seconds) == (
        2,
        1,
        3,
    )


def test_a_stack_that_falls_back_warns_once(tmp_path, capsys):
    raises = "if len(params) > 1 and state['steps'] > 1: raise ValueError('no stacks')"
    text = document(optimizers=OWN, seeds="tuning = 4\nreporting = 4\n")
    experiment = tiny(tmp_path, text, own=plugin(step=raises))
    assert "failed" not in run(experiment, tmp_path / "results").statuses
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "one by one" in line]
    assert line.endswith(
        "Own on digits: a stack failed, own.py, line 19, Own.step: ValueError: no stacks; "
        "its runs were trained one by one, which is slower"
    )
    costs = Costs()
    costs.add(finished(["failed", "failed"], "ValueError: always"), "digits", "Own")
    assert "one by one" not in capsys.readouterr().err
