"""Schedules: their keys, refusals, identity, and runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from reference.bits import bits
from sweeping import OWN, document, mistakes_of, plugin, rows_of, run, tiny, write

from optimlab.execution.sweep import stacks
from optimlab.execution.work import train_elsewhere
from optimlab.optimizers import EMA, RULES, SGD, Adam, Prodigy
from optimlab.problems import Digits
from optimlab.report.blocks.facts import hyperparameters_of
from optimlab.report.blocks.schedules import schedules_block
from optimlab.schedules import SCHEDULES, Constant, Cosine, Linear, Scheduled, settings_of
from optimlab.storage.manifest import describe
from optimlab.storage.results import read_tables
from optimlab.training import train

RAMP = "def ramp(progress, power=1):\n    return 1 - progress**power / 2\n"


def settings(folder, optimizers, top="learning_rates = [0.1, 0.3]\n", **plugins):
    return tiny(folder, document(top=top, optimizers=optimizers), **plugins).optimizers


def test_the_language(tmp_path):
    top = 'learning_rates = [0.1]\nschedule = "cosine"\nschedules = { momentum = "linear" }\n'
    tables = """
[optimizers.SGD]
[optimizers.Adam]
schedule = { name = "warmup_stable_decay", warmup = 0.1 }
schedules = { beta1 = { name = "linear", final = 1.05 } }
[optimizers.Nesterov]
schedule = "none"
schedules = { momentum = "constant" }
[optimizers.Own]
rule = "own.py:Own"
schedule = { name = "ramps.py:ramp", power = 2 }
"""
    found = {s.label: s for s in settings(tmp_path, tables, top, own=plugin(), ramps=RAMP)}
    cosine = {"name": "cosine", "warmup": 0.0, "final": 0.0}
    linear = {"name": "linear", "warmup": 0.0, "final": 0.0}
    assert {label: setting.schedules for label, setting in found.items()} == {
        "SGD": {"learning_rate": cosine, "momentum": linear},
        "Adam": {
            "learning_rate": {"name": "warmup_stable_decay", "warmup": 0.1, "final": 0.0, "decay": 0.2},
            "beta1": linear | {"final": 1.05},
        },
        "Nesterov": {},
        "Own": {"learning_rate": {"name": "ramps.py:ramp", "power": 2}},
    }
    assert found["Own"].curves["learning_rate"][::100] == (1, 0.875)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_name_alone_is_the_usual_schedule(tmp_path, name):
    experiment = tiny(tmp_path, document(optimizers=f'[optimizers.SGD]\nschedule = "{name}"\n'))
    (setting,) = experiment.optimizers
    assert describe(experiment, tmp_path).optimizers["SGD"].schedules == setting.schedules
    usual = settings_of(SCHEDULES[name]())
    assert setting.schedules == ({} if name == "constant" else {"learning_rate": usual})


WRONG = {
    'schedule = "cosin"': 'schedule: must be one of "constant", "linear", "cosine", "step", '
    '"inverse_sqrt", "warmup_stable_decay", got "cosin"',
    "schedule = 3": "schedule: must be a table or a name, got 3",
    "schedule = { warmup = 0.1 }": "schedule.name: is missing",
    'schedule = { name = "cosine", warmpu = 0.1 }': "schedule.warmpu: unknown key; did you mean warmup?",
    'schedule = { name = "cosine", warmup = 1 }': "schedule.warmup: must be below 1, got 1",
    'schedule = { name = "cosine", final = -1 }': "schedule.final: must be at least 0, got -1",
    'schedule = { name = "step", at = [0.5, 0.2] }': "schedule: at must ascend",
    'schedule = { name = "step", at = [0.1], warmup = 0.2 }': "schedule: at must come after the warm-up",
    'schedule = { name = "warmup_stable_decay", decay = 1 }': "schedule: warmup and decay must be at",
    'schedules = { momntum = "cosine" }': "schedules.momntum: unknown key; did you mean momentum?",
    'schedules = { learning_rate = "cosine" }': "schedules.learning_rate: the key for the",
    'schedules = "cosine"': "schedules: must be a table, which a line [optimizers.SGD.schedules",
    'schedules = { momentum = { name = "linear", final = 1.5 } }': "schedules.momentum: at step 46 of "
    "200, momentum must be in [0, 1), got 1.00125",
    'schedule = "ramps.py:none"': 'schedule: there is no class or function "none" in ramps.py',
    'schedule = "nowhere.py:ramp"': "schedule: there is no file ",
    'schedule = { name = "ramps.py:ramp", pwer = 1 }': "schedule: TypeError: ramp() got an unexpected",
    'schedule = { name = "ramps.py:ramp", power = 0 }\nschedules = { momentum = "ramps.py:text" }': (
        "schedules.momentum: text must return a number, got a str"
    ),
    'schedule = "ramps.py:zero"': "schedule: at step 1 of 200, learning_rate must be in (0, inf)",
    'schedule = "ramps.py:endless"': "schedule: at step 101 of 200, its factor must be finite, got nan",
    'schedule = "ramps.py:random"': "schedule: at step 1 of 200, its factor is 0.",
    'schedule = "ramps.py:counted"': "schedule: at step 1 of 200, its factor is 1 and then ",
}
RAMPS = f"""import numpy as np
{RAMP}
def zero(progress):
    return progress

def text(progress):
    return "much"

def endless(progress):
    return 1 if progress < 0.5 else float("nan")

def random(progress):
    return np.random.uniform(0.1, 0.9)

calls = []

def counted(progress):
    calls.append(progress)
    return 1 / len(calls)
"""


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_found_before_anything_runs(tmp_path, line):
    text = document(optimizers=f"[optimizers.SGD]\n{line}\n", training="steps = 200\n")
    (found,) = mistakes_of(write(tmp_path, text, ramps=RAMPS))
    assert found.startswith(f"optimizers.SGD.{WRONG[line]}")


@pytest.mark.parametrize(
    ("rule", "line", "message"),
    [
        ("DoG", 'schedules = { initial_distance = "cosine" }', "only matters at the start"),
        ("Shampoo", 'schedules = { precondition_period = "cosine" }', "must be in [1, inf) whole, got"),
        ("Own", 'schedules = { mode = "cosine" }', 'must be a number to have a schedule, got "fast"'),
        ("Own", 'schedules = { must = "cosine" }', "must be a number to have a schedule, got"),
    ],
)
def test_what_cannot_have_a_schedule(tmp_path, rule, line, message):
    table = OWN if rule == "Own" else f"[optimizers.{rule}]\n"
    text = document(optimizers=f"{table}{line}\n", training="steps = 20\n")
    file = write(tmp_path, text, own=plugin(settings=", mode='fast', must=None"))
    (found,) = mistakes_of(file)
    assert message in found


def test_a_shared_mistake_is_reported_once(tmp_path):
    text = document(
        top='learning_rates = [0.1]\nschedule = "cosin"\nschedules = { rho = "cosine" }\n',
        optimizers="[optimizers.SGD]\n[optimizers.Adam]\n",
    )
    assert [line.partition(",")[0] for line in mistakes_of(write(tmp_path, text))] == [
        'schedule: must be one of "constant"'
    ]
    right = write(tmp_path, text.replace('cosin"', 'cosine"'))
    assert mistakes_of(right) == ["schedules.rho: no optimizer has this hyper-parameter"]


def ids(experiment):
    return [each.run_id for each in experiment.runs()]


def test_identity(tmp_path):
    plain = tiny(tmp_path / "plain", document())
    for place, line in enumerate(['schedule = "none"', 'schedules = { momentum = "constant" }']):
        same = tiny(tmp_path / str(place), document(optimizers=f"[optimizers.SGD]\n{line}\n"))
        assert ids(same) == ids(plain)
    seen = set(ids(plain))
    lines = ["cosine", "linear", "own.py:ramp"]
    for place, name in enumerate(lines):
        text = document(optimizers=f'[optimizers.SGD]\nschedule = "{name}"\n')
        new = set(ids(tiny(tmp_path / f"own{place}", text, own=RAMP)))
        assert not new & seen
        seen |= new
    other_code = set(ids(tiny(tmp_path / "changed", text, own=RAMP.replace("2", "3"))))
    assert not other_code & seen
    two = "[optimizers.SGD]\n[optimizers.Falls]\nrule = 'SGD'\n"
    assert len(ids(tiny(tmp_path / "two", document(optimizers=f'{two}schedule = "linear"\n')))) == 12
    assert mistakes_of(write(tmp_path / "twins", document(optimizers=f'{two}schedule = "none"\n'))) == [
        "optimizers.Falls: has runs that optimizers.SGD has already"
    ]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder of a sweep with schedules, and its experiment."""
    folder = tmp_path_factory.mktemp("swept")
    tables = f"""[optimizers.SGD]
schedule = {{ name = "cosine", warmup = 0.3 }}
schedules = {{ momentum = {{ name = "linear", final = 0.5 }} }}
{OWN}schedule = "ramps.py:ramp"
"""
    text = document(optimizers=tables, training="steps = 5\nrecord_every = 1\n")
    experiment = tiny(folder, text, own=plugin(), ramps=RAMP)
    assert run(experiment, folder / "results").statuses.keys() <= {"ok", "stuck"}
    return folder, experiment


def test_a_sweep_trains_as_the_formula_says(swept):
    folder, _ = swept
    rows = [row for row in rows_of(folder / "results") if row["optimizer"] == "Own"]
    assert len(rows) == 6
    for row in rows:
        problem = Digits(hidden=(), batch_size=600)
        params, model = problem.init([int(row["seed"])])
        for step, batch in zip(range(5), problem.batches([int(row["seed"])]), strict=False):
            _, gradient = problem.loss_and_gradient(params, batch, model)
            rate = np.float32(row["learning_rate"]) * np.float32(1 - step / 5 / 2)
            params -= rate * gradient
        expected = problem.evaluate(params, model)["train_loss"][0]
        assert float(row["final_train_loss"]) == pytest.approx(expected, rel=1e-5)


def test_bits_do_not_depend_on_the_stack(swept):
    _, experiment = swept
    for stack in stacks(experiment, list(experiment.runs()), 1):
        together = train_elsewhere(stack)
        alone = train_elsewhere(stack.only(2))
        rows = together.traces["run"] == 2
        for name, column in alone.traces.items():
            if name != "run":
                assert bits(together.traces[name][rows]) == bits(column), name


def test_a_sweep_resumes_and_notices_a_changed_schedule(swept):
    folder, experiment = swept
    again = run(experiment, folder / "results")
    assert (again.ran, again.kept) == (0, 12)
    stack = next(iter(stacks(experiment, list(experiment.runs())[6:], 1)))
    (folder / "ramps.py").write_text(RAMP.replace("2", "3"))
    with pytest.raises(Exception, match="the code changed while the sweep ran"):
        train_elsewhere(stack)
    (folder / "ramps.py").write_text(RAMP)


def test_what_results_say_of_schedules(swept):
    folder, _ = swept
    told = json.loads((folder / "results/tiny/experiment.json").read_text())["optimizers"]
    assert told["SGD"]["schedules"]["learning_rate"] == {"name": "cosine", "warmup": 0.3, "final": 0.0}
    assert told["Own"]["schedules"] == {"learning_rate": {"name": "ramps.py:ramp"}}
    assert len(told["Own"]["curves"]["learning_rate"]) == 200


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("Prodigy", "DoG")])
def test_a_rule_that_is_rebuilt_keeps_its_state(name):
    """A factor of one, by way of a new optimizer at each step, changes no bit."""
    problem = Digits(hidden=(), batch_size=600)
    rate = np.array([[0.01], [0.001]], np.float32)
    values, ones = {"learning_rate": rate}, {"learning_rate": Constant()}
    plain = train(problem, RULES[name](**values), [0, 1], [6])
    anew = train(problem, Scheduled(RULES[name], values, ones), [0, 1], [6])
    assert bits(plain.params) == bits(anew.params)


def test_rules_that_find_their_rate_take_a_schedule_of_the_factor():
    problem = Digits(hidden=(), batch_size=600)
    falls = Scheduled(Prodigy, {"learning_rate": 1.0}, {"learning_rate": Linear()})
    ends = [train(problem, each, [0], [40]).metrics["train_loss"][-1] for each in (falls, Prodigy())]
    assert np.isfinite(ends).all()
    assert ends[0] != ends[1]


def test_an_average_whose_decay_changes_is_an_average():
    """Of numbers that are all one, whatever the decay."""
    schedule, params = Linear(final=1.9), np.ones(3)
    rule = Scheduled(lambda decay: EMA(SGD(), decay=decay), {"decay": 0.5}, {"decay": schedule})
    state = rule.at(1, 30).init(params)
    for step in range(1, 31):
        optimizer = rule.at(step, 30)
        optimizer.step(params, np.zeros(3), state)
        assert np.allclose(optimizer.eval_params(params, state), 1, rtol=1e-12)


def test_a_step_without_a_schedule_is_as_it_was():
    problem, seen = Digits(hidden=(), batch_size=600), []

    class Counted(Adam):
        def __post_init__(self):
            seen.append(self)

    train(problem, Counted(learning_rate=0.1), [0], [5])
    assert len(seen) == 1


def test_factors_never_waste_a_step():
    for name, kind in SCHEDULES.items():
        for steps in (1, 2, 7, 100):
            factors = [kind().factor(step, steps) for step in range(1, steps + 1)]
            assert 0 < min(factors) <= max(factors) == 1, (name, steps)
            warm = replace(kind(), warmup=0.3)
            peak = round(0.3 * steps) + 1
            assert warm.factor(peak, steps) == 1 or (name, steps) == ("step", 2)  # drops at once
            assert 0 < warm.factor(1, steps) <= 1
    assert Cosine(final=0.2).factor(10**6, 10**6) == pytest.approx(0.2, abs=1e-5)


@pytest.mark.slow
def test_the_page_draws_and_names_them(swept):
    experiment = read_tables(swept[0] / "results/tiny").experiment
    block = schedules_block(experiment)
    warm, linear = "cosine (warmup 0.3)", "linear (final 0.5)"
    assert block.rows == [
        (warm, "learning_rate", "SGD"),
        (linear, "momentum", "SGD"),
        ("ramps.py:ramp", "learning_rate", "Own"),
    ]
    assert f"{warm} begins at 0.0164, ends at 0.000126" in block.figures[0].alt
    assert "ramps.py:ramp begins at 1, ends at 0.502" in block.figures[0].alt
    words = f"momentum 0.9, learning_rate by {warm}, momentum by {linear}"
    assert hyperparameters_of(experiment)["SGD"] == words
    plain = {"optimizers": {"SGD": {"hyperparameters": {}}, "Old": {}}}
    assert schedules_block(plain) is None
