"""Experiment files: those shipped load, and each kind of mistake has a clear message."""
# ruff: noqa: E501  # a case stands on one line, however long its message

import math
import os
import threading
from dataclasses import fields
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from sweeping import (
    EXPERIMENTS,
    OWN,
    TINY_PROBLEM,
    call,
    document,
    load,
    mistakes_of,
    mostly_slow,
    plugin,
    run,
    share_worker,
    tiny,
    write,
)

from optimlab.experiment.load import ExperimentError, find
from optimlab.experiment.trials import limited
from optimlab.pool import Clock
from optimlab.problems import Digits
from optimlab.training import Recorder

NAME_RULE = (
    "up to 60 letters, digits, spaces and . _ + - = ( ), "
    "the first a letter or a digit, the last no space or dot"
)
DIGITS_KEYS = ", ".join(field.name for field in fields(Digits))
TOP = "at the top of the file, above the first table"
FIVE = "SGD, Nesterov, AdaGrad, RMSprop, Adam"


def test_digits_is_the_default_sweep_of_the_design():
    experiment = load(EXPERIMENTS / "digits.toml")
    assert experiment.count() == len(list(experiment.runs())) == 2200 == 5 * 11 * (10 + 30)
    assert [s.label for s in experiment.optimizers] == FIVE.split(", ")
    assert {len(s.learning_rates) for s in experiment.optimizers} == {11}
    epoch = math.ceil(1200 / 64)
    (setting,) = experiment.problems
    assert (setting.label, setting.name) == ("digits", "digits")
    assert setting.problem.steps_per_epoch == epoch
    assert setting.steps == 30 * epoch == 570
    assert setting.record_at == tuple(range(epoch, 571, epoch))
    assert len(Recorder(setting.record_at, setting.problem.init([0])[0]).steps) == 31
    assert (experiment.seeds.tuning, experiment.seeds.reporting) == (10, 30)
    assert [(u.units, u.activation) for u in setting.problem.hidden] == [
        (32, "sigmoid"),
        (16, "relu"),
    ]


def test_smoke_is_small_and_has_a_plugin():
    experiment = load(EXPERIMENTS / "smoke.toml")
    assert experiment.count() <= 150
    assert experiment.problems[0].steps <= 100
    assert "sign_descent.py:SignDescent" in [s.rule for s in experiment.optimizers]


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_shipped_experiment_loads(file):
    experiment = load(file)
    assert experiment.count() > 0
    assert experiment.name == file.stem
    assert experiment.toml == file.read_text(encoding="utf-8")


def test_what_is_left_out_has_a_default(tmp_path):
    text = 'title = "t"\n[problem]\nname = "digits"\n[training]\nepochs = 2\n[optimizers.Adam]\n'
    experiment = tiny(tmp_path, "learning_rates = [0.1]\n" + text)
    assert (experiment.seeds.tuning, experiment.seeds.reporting) == (10, 30)
    assert experiment.description == ""
    assert (experiment.final, experiment.equal_within) == ("mean:5", 0.05)
    other = tiny(tmp_path, 'final = "last"\nequal_within = 0\nlearning_rates = [0.1]\n' + text)
    assert (other.final, other.equal_within) == ("last", 0)
    assert [run.run_id for run in other.runs()] == [run.run_id for run in experiment.runs()]
    assert experiment.problems[0].problem.batch_size == 64
    assert experiment.problems[0].record_at == (19, 38)
    [adam] = experiment.optimizers
    assert adam.hyperparameters == {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


@pytest.mark.parametrize(
    ("training", "record_at"),
    [
        ("epochs = 3", (2, 4, 6)),
        ("steps = 5", (2, 4, 5)),
        ('steps = 5\nrecord_every = "epoch"', (2, 4, 5)),
        ("steps = 5\nrecord_every = 1", (1, 2, 3, 4, 5)),
        ("epochs = 2\nrecord_every = 3", (3, 4)),
        ("steps = 5\nrecord_every = 99", (5,)),
        ("steps = 1", (1,)),
    ],
)
def test_the_schedule_ends_with_the_last_step(tmp_path, training, record_at):
    experiment = tiny(tmp_path, document(training=training))
    assert experiment.problems[0].record_at == record_at
    assert experiment.problems[0].steps == record_at[-1]


def test_learning_rates_are_sorted_once_each_and_an_optimizer_may_have_its_own(tmp_path):
    optimizers = "[optimizers.SGD]\n[optimizers.Adam]\nlearning_rates = [3, 1e-3, 3.0]\n"
    top = "learning_rates = [0.3, 0.1, 0.3]\n"
    sgd, adam = tiny(tmp_path, document(top=top, optimizers=optimizers)).optimizers
    assert sgd.learning_rates == (0.1, 0.3)
    assert adam.learning_rates == (0.001, 3.0)
    assert all(type(rate) is float for rate in adam.learning_rates)


SGD = "[optimizers.SGD]\n"
HIDDEN_OK = '{ units = 3, activation = "relu" }'
ONE_MISTAKE = [
    # unknown keys, at every level
    ({"top": "learning_rate = 3\nlearning_rates = [1]\n"}, "learning_rate: unknown key; did you mean learning_rates?"),
    ({"top": "learning_rates = [1]\nq = 3\n"}, "q: unknown key; known are title, description, final, equal_within, report, seeds, learning_rates, search, schedule, schedules, problem, problems, training, optimizers"),
    ({"problem": "batch_sizes = 3"}, "problem.batch_sizes: unknown key; did you mean batch_size?"),
    ({"training": "epochs = 1\nrecord_evry = 3"}, "training.record_evry: unknown key; did you mean record_every?"),
    ({"seeds": "tunning = 3"}, "seeds.tunning: unknown key; did you mean tuning?"),
    ({"problem": f'hidden = [{HIDDEN_OK}, {{ units = 3, activation = "relu", activaton = "elu" }}]'}, "problem.hidden[2].activaton: unknown key; did you mean activation?"),
    ({"optimizers": SGD + "momentun = 0.9"}, "optimizers.SGD.momentun: unknown key; did you mean momentum?"),
    ({"optimizers": "[optimizers.AdaGrad]\nmomentum = 0.9"}, "optimizers.AdaGrad.momentum: unknown key; known are eps, clip_norm, clip_value, weight_decay, rule, learning_rates, search, schedule, schedules"),
    ({"optimizers": SGD + "learning_rate = 0.9"}, "optimizers.SGD.learning_rate: unknown key; did you mean learning_rates, a list?"),
    # keys of another table
    ({"problem": "resample = true"}, f"problem.resample: unknown key; known are {DIGITS_KEYS}"),  # it has no split
    ({"problem": "epochs = 3"}, "problem.epochs: unknown key; it belongs in problem.training or in training"),
    ({"problem": 'final = "last"'}, f"problem.final: unknown key; it belongs {TOP}"),
    ({"training": "epochs = 1\nweight_decay = 0.1"}, "training.weight_decay: unknown key; it belongs in optimizers.<label>"),
    ({"training": "epochs = 1\nseeds = 3"}, "training.seeds: unknown key; it belongs at the top of the file, as the table [seeds]"),
    ({"training": "epochs = 1\nlearning_rates = [1]"}, f"training.learning_rates: unknown key; it belongs in optimizers.<label> or {TOP}"),
    ({"seeds": "epochs = 3"}, "seeds.epochs: unknown key; it belongs in problem.training or in training"),
    ({"optimizers": SGD + "batch_size = 3"}, "optimizers.SGD.batch_size: unknown key; it belongs in problem"),
    ({"optimizers": SGD + "warmup = 0.1"}, "optimizers.SGD.warmup: unknown key; it belongs in optimizers.SGD.schedule"),
    ({"top": 'learning_rates = [1]\nfinal = "mean:0"\n'}, 'final: must be "last", "best_validation", or "mean:5" with any number of records, got "mean:0"'),
    ({"top": "learning_rates = [1]\nequal_within = -1\n"}, "equal_within: must be at least 0, got -1"),
    # keys that could be taken for something else
    ({"problem": '"a.b" = 1'}, f"problem.a.b: unknown key; known are {DIGITS_KEYS}"),
    ({"problem": '"a[b" = 1'}, f"problem.a[b: unknown key; known are {DIGITS_KEYS}"),
    ({"problem": "int = 1"}, f"problem.int: unknown key; known are {DIGITS_KEYS}"),
    ({"training": "epochs = 1\nint = 1"}, "training.int: unknown key; known are epochs, steps, record_every, record_params"),
    ({"top": "learning_rates = [1]\nconstrained-int = 1\n"}, "constrained-int: unknown key; did you mean training?"),
    # wrong types
    ({"problem": "batch_size = true"}, "problem.batch_size: must be a whole number, got true"),
    ({"problem": "batch_size = 64.0"}, "problem.batch_size: must be a whole number, got 64.0"),
    ({"problem": 'batch_size = "64"'}, 'problem.batch_size: must be a whole number, got "64"'),
    ({"problem": "batch_norm = 1"}, "problem.batch_norm: must be true or false, got 1"),
    ({"problem": "hidden = [3]"}, "problem.hidden[1]: must be a table, got 3"),
    ({"problem": 'hidden = "32"'}, 'problem.hidden: must be a list, got "32"'),
    ({"problem": "dtype = 1979-05-27"}, "problem.dtype: must be 'float32' or 'float64', got \"1979-05-27\""),
    ({"training": "epochs = 1.5"}, "training.epochs: must be a whole number, got 1.5"),
    ({"training": "steps = 1e3"}, "training.steps: must be a whole number, got 1000.0"),
    ({"training": "epochs = 1\nrecord_every = true"}, "training.record_every: must be 'epoch' or a whole number, got true"),
    ({"training": 'epochs = 1\nrecord_every = "epohc"'}, "training.record_every: must be 'epoch' or a whole number, got \"epohc\""),
    ({"seeds": 'tuning = "3"'}, 'seeds.tuning: must be a whole number, got "3"'),
    ({"top": "learning_rates = 0.1\n"}, "learning_rates: must be a list, such as [0.1], got 0.1"),
    ({"top": "learning_rates = [0.1, true]\n"}, "learning_rates[2]: must be a number, got true"),
    ({"top": 'learning_rates = [0.1, "0.2"]\n'}, 'learning_rates[2]: must be a number, got "0.2"'),
    ({"top": "description = 3\nlearning_rates = [1]\n"}, "description: must be text, got 3"),
    ({"optimizers": SGD + "learning_rates = 0.1"}, "optimizers.SGD.learning_rates: must be a list, such as [0.1], got 0.1"),
    ({"optimizers": SGD + "momentum = [[0.1]]"}, "optimizers.SGD.momentum[1]: must be a number, a text, true or false, got [0.1]"),
    ({"optimizers": SGD + "momentum = 1979-05-27"}, 'optimizers.SGD.momentum: must be a number, a text, true or false, got "1979-05-27"'),
    ({"optimizers": SGD + "momentum = true"}, "optimizers.SGD.momentum: momentum must be a number in [0, 1), got True"),
    ({"optimizers": SGD + 'momentum = "0.9"'}, "optimizers.SGD.momentum: momentum must be a number in [0, 1), got '0.9'"),
    ({"optimizers": "[optimizers]\nSGD = 3"}, "optimizers.SGD: must be a table, which a line [optimizers.SGD] begins, got 3"),
    ({"optimizers": "[[optimizers.SGD]]"}, "optimizers.SGD: must be a table, which a line [optimizers.SGD] begins, got [{}]"),
    # out of range
    ({"problem": "batch_size = 0"}, "problem.batch_size: must be at least 1, got 0"),
    ({"problem": "batch_size = 1201"}, "problem.batch_size: must be at most 1,200, the size of the training set, got 1,201"),
    ({"problem": 'hidden = [{ units = 0, activation = "relu" }]'}, "problem.hidden[1].units: must be at least 1, got 0"),
    ({"problem": 'hidden = [{ units = 5000, activation = "relu" }]'}, "problem.hidden[1].units: must be at most 4,096, got 5000"),
    ({"training": "epochs = 0"}, "training.epochs: must be at least 1, got 0"),
    ({"training": "epochs = 1\nrecord_every = 0"}, "training.record_every: must be 'epoch' or at least 1, got 0"),
    ({"seeds": "tuning = -1"}, "seeds.tuning: must be at least 0, got -1"),
    ({"seeds": "tuning = 1001"}, "seeds.tuning: must be at most 1,000, got 1001"),
    ({"top": "learning_rates = [0.1, 0]\n"}, "learning_rates[2]: must be at least 1e-30, got 0"),
    ({"top": "learning_rates = [0.1, -inf]\n"}, "learning_rates[2]: must be at least 1e-30, got -Infinity"),
    ({"top": "learning_rates = [0.1, inf]\n"}, "learning_rates[2]: must be at most 1e+30, got Infinity"),
    ({"top": "learning_rates = [0.1, nan]\n"}, "learning_rates[2]: must be at most 1e+30, got NaN"),
    ({"optimizers": SGD + "momentum = 1.1"}, "optimizers.SGD.momentum: momentum must be in [0, 1), got 1.1"),
    ({"optimizers": SGD + "momentum = nan"}, "optimizers.SGD.momentum: momentum must be in [0, 1), got nan"),
    ({"optimizers": SGD + "momentum = inf"}, "optimizers.SGD.momentum: momentum must be in [0, 1), got inf"),
    ({"optimizers": "[optimizers.Adam]\neps = 0"}, "optimizers.Adam.eps: eps must be in (0, inf), got 0"),
    ({"training": "steps = 1_000_000\nrecord_every = 1"}, "training.record_every: gives 1,000,000 records per run; must give at most 100,000"),
    ({"training": "epochs = 1\nrecord_params = 3"}, "training.record_params: must be at most 2, the number of reporting seeds, got 3"),
    ({"training": "epochs = 1\nrecord_params = -1"}, "training.record_params: must be at least 0, got -1"),
    ({"training": "epochs = 1\nrecord_params = true"}, "training.record_params: must be a whole number, got true"),
    ({"training": "epochs = 50_000\nrecord_params = 2"}, "training.record_params: would keep 0.5 GB of parameters; must keep at most 0.5 GB"),
    # unknown names
    ({"problem": f'hidden = [{HIDDEN_OK}, {{ units = 3, activation = "rele" }}]'}, "problem.hidden[2].activation: must be 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu' or 'softplus', got \"rele\""),
    ({"problem": 'initialization = "zero"'}, "problem.initialization: must be 'uniform', 'glorot', 'he' or 'orthogonal', got \"zero\""),
    ({"optimizers": "[optimizers.Adm]"}, 'optimizers.Adm: unknown optimizer "Adm"; did you mean Adam? (your own is "file.py:ClassName")'),
    ({"optimizers": "[optimizers.sgd]"}, 'optimizers.sgd: unknown optimizer "sgd"; did you mean SGD? (your own is "file.py:ClassName")'),
    ({"optimizers": "[optimizers.Adam]\nbetas = [0.9, 0.999]"}, "optimizers.Adam.betas: unknown key; did you mean beta2?"),
    ({"optimizers": "[optimizers.Adam]\nlearning_rate = [0.1, 1]"}, "optimizers.Adam.learning_rate: unknown key; did you mean learning_rates, a list?"),
    ({"optimizers": SGD + 'rule = "zzz"'}, 'optimizers.SGD.rule: unknown optimizer "zzz"; `optimlab list` shows all (your own is "file.py:ClassName")'),
    ({"optimizers": SGD + "rule = 3"}, "optimizers.SGD.rule: must be text, got 3"),
    ({"optimizers": "[optimizers.SGD0.5]\nmomentum = 0.5"}, 'optimizers.SGD0: a dot splits a key in TOML; quote the label: [optimizers."SGD0.5"]'),
    ({"optimizers": "[optimizers]\nSGD0.5.momentum = 0.5"}, 'optimizers.SGD0: a dot splits a key in TOML; quote the label: [optimizers."SGD0.5"]'),
    ({"optimizers": SGD + "[optimizers.SGD.0.9]\nrule = 'SGD'"}, 'optimizers.SGD: a dot splits a key in TOML; quote the label: [optimizers."SGD.0.9"]'),
    ({"optimizers": "[optimizers.Adam.beta1]\nx = 1"}, 'optimizers.Adam.beta1: must be a number, a text, true or false, got {"x": 1}; ranges and choices belong in search'),
    # what is missing or empty
    ({"top": "learning_rates = []\n"}, "learning_rates: must not be empty, got []"),
    ({"optimizers": SGD + "learning_rates = []"}, "optimizers.SGD.learning_rates: must not be empty, got []"),
    ({"top": ""}, "optimizers.SGD: needs learning_rates, here or at the top of the file"),
    ({"optimizers": "[optimizers]"}, "optimizers: must not be empty, got {}"),
    ({"optimizers": ""}, "optimizers: is missing"),
    ({"problem": "hidden = [{ units = 3 }]"}, "problem.hidden[1].activation: is missing"),
    # what does not go together
    ({"training": "epochs = 1\nsteps = 2"}, "training: must give either epochs or steps"),
    ({"training": ""}, "training: must give either epochs or steps"),
    ({"seeds": "tuning = 0\nreporting = 0"}, "seeds: must give at least one seed, tuning or reporting"),
    ({"optimizers": SGD + '[optimizers.Twin]\nrule = "SGD"\nmomentum = 0.9\nlearning_rates = [9, 0.3]'}, "optimizers.Twin: has runs that optimizers.SGD has already"),
    # labels
    ({"optimizers": '[optimizers."a/b"]\nrule = "SGD"'}, f"optimizers.a/b: a label is {NAME_RULE}"),
    ({"optimizers": '[optimizers."[red]x"]\nrule = "SGD"'}, f"optimizers.[red]x: a label is {NAME_RULE}"),
    ({"optimizers": f'[optimizers.{"x" * 61}]\nrule = "SGD"'}, f"optimizers.{'x' * 61}: a label is {NAME_RULE}"),
    # numbers without end
    ({"problem": f"batch_size = 0x{'f' * 5000}"}, "is nested too deeply, or holds a number of too many digits"),
    ({"problem": f"batch_size = {'9' * 5000}"}, "is nested too deeply, or holds a number of too many digits"),
    ({"problem": f"hidden = {'[' * 300}{']' * 300}"}, "is nested too deeply, or holds a number of too many digits"),
    ({"problem": f"hidden = {'[' * 5000}{']' * 5000}"}, "is nested too deeply, or holds a number of too many digits"),
    ({"top": f"learning_rates = [0.1, 1{'0' * 400}]\n"}, f"learning_rates[2]: must be at most 1e+30, got 1{'0' * 56}…"),
    # several rates, all of them wrong, are not also an empty list
    ({"top": "learning_rates = [0]\n"}, "learning_rates[1]: must be at least 1e-30, got 0"),
    # a rate that float32 takes for zero
    ({"top": "learning_rates = [1e-50]\n"}, "learning_rates[1]: must be at least 1e-30, got 1e-50"),
]  # fmt: skip


def test_a_value_in_place_of_a_table_is_refused_with_an_example(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text(
        'title = "x"\noptimizers = ["SGD"]\nseeds = 3\nlearning_rates = 0.01\nproblem = "digits"\n'
        "[training]\nepochs = 3\n"
    )
    assert mistakes_of(file) == [
        "seeds: must be a table, which a line [seeds] begins, got 3",
        "learning_rates: must be a list, such as [0.01], got 0.01",
        'problem: must be a table, which a line [problem] begins, got "digits"',
        'optimizers: must be a table, which a line [optimizers.SGD] begins, got ["SGD"]',
    ]


def several(*tables, training="steps = 9", top="learning_rates = [0.1]"):
    """Return the text of an experiment with these tables of problems."""
    return "\n".join(['title = "x"', top, *tables, f"[training]\n{training}", "[optimizers.SGD]"])


LANDSCAPE = '[problems.a]\nname = "landscape"\n'
ONE_PROBLEM_MISTAKE = [
    (
        (),
        "problem: must be given: either one [problem], or a table [problems.<label>] for each of several",
    ),
    (
        (LANDSCAPE, '[problem]\nname = "landscape"'),
        "problem: must be given: either one [problem], or a table [problems.<label>] for each of several",
    ),
    (("[problems]",), "problems: must not be empty, got {}"),
    (("[[problems]]",), "problems: must be a table, which a line [problems.label] begins, got [{}]"),
    (("[problems]\na = 3",), "problems.a: must be a table, which a line [problems.a] begins, got 3"),
    (
        ('[problems]\nname = "landscape"',),
        'problems.name: must be a table, which a line [problems.name] begins, got "landscape"',
    ),
    (("[[problems.a]]",), "problems.a: must be a table, which a line [problems.a] begins, got [{}]"),
    (
        ("[problems.a]",),
        'problems.a.name: must be one of "digits", "landscape", "table", or `data` must name a data set or '
        "a file",
    ),
    (
        ('[problems.a.b]\nname = "landscape"',),
        'problems.a: a dot splits a key in TOML; quote the label: [problems."a.b"]',
    ),
    (
        (LANDSCAPE, '[problems.a.5]\nname = "digits"'),
        'problems.a: a dot splits a key in TOML; quote the label: [problems."a.5"]',
    ),
    (('[problems."[red]"]\nname = "landscape"',), f"problems.[red]: a label is {NAME_RULE}"),
    (('[problems.""]\nname = "landscape"',), f"problems.: a label is {NAME_RULE}"),
    ((LANDSCAPE + "nois = 1",), "problems.a.nois: unknown key; did you mean noise?"),
    (
        ('[problems."a.b"]\ndata = "wine"\nresample = true',),
        "problems.a.b.resample: unknown key; it belongs in problems.a.b.split",
    ),
    (("batch_size = 3\n" + LANDSCAPE,), "batch_size: unknown key; it belongs in problems.<label>"),
    ((LANDSCAPE + "condition = 0.5",), "problems.a.condition: must be at least 1, got 0.5"),
    ((LANDSCAPE + "condition = nan",), "problems.a.condition: must be at most 1e+12, got NaN"),
    ((LANDSCAPE + "spread = inf",), "problems.a.spread: must be at most 1e+06, got Infinity"),
    ((LANDSCAPE + "angle = true",), "problems.a.angle: must be a number, got true"),
    (
        (LANDSCAPE + 'function = "beale"\ncondition = 9',),
        "problems.a.condition: is only for ravine and saddle, got 9 for beale",
    ),
    (
        (LANDSCAPE, '[problems.b]\nname = "landscape"\nnoise = 0.0'),
        "problems.b: is the same problem as problems.a",
    ),
    (
        (LANDSCAPE, '[problems.b]\nname = "digits"\nbatch_size = 5000'),
        "problems.b.batch_size: must be at most 1,200, the size of the training set, got 5,000",
    ),
]


@pytest.mark.parametrize(
    ("tables", "message"), ONE_PROBLEM_MISTAKE, ids=[m[:60] for _, m in ONE_PROBLEM_MISTAKE]
)
def test_one_mistake_about_problems_gives_one_message(tmp_path, tables, message):
    assert mistakes_of(write(tmp_path, several(*tables))) == [message]


def test_the_functions_of_landscapes_are_named_in_the_mistake(tmp_path):
    (mistake,) = mistakes_of(write(tmp_path, several(LANDSCAPE + 'function = "rosenbrok"')))
    assert mistake.startswith("problems.a.function: must be 'ravine', 'saddle'")
    assert mistake.endswith('got "rosenbrok"')


def test_mistakes_of_all_problems_are_reported_together(tmp_path):
    text = several(
        LANDSCAPE + "noise = -1",
        '[problems.b]\nname = "digit"',
        "[problems.c]\nname = 'landscape'\nq = 1",
        training="",
    )
    keys = [line.partition(":")[0] for line in mistakes_of(write(tmp_path, text))]
    assert keys == ["training", "problems.a.noise", "problems.b.name", "problems.c.q"]


def test_each_problem_has_its_own_schedule(tmp_path):
    text = several(LANDSCAPE, '[problems.b]\nname = "digits"\nbatch_size = 600', training="epochs = 3")
    assert [s.record_at for s in tiny(tmp_path, text).problems] == [(1, 2, 3), (2, 4, 6)]
    longest = several(LANDSCAPE, '[problems.b]\nname = "digits"', training="steps = 1_000_000")
    (mistake,) = mistakes_of(write(tmp_path, longest))
    assert mistake.startswith("training.record_every: gives 1,000,000 records per run")


@pytest.mark.parametrize(("parts", "message"), ONE_MISTAKE, ids=[m[:60] for _, m in ONE_MISTAKE])
def test_one_mistake_gives_one_message(tmp_path, parts, message):
    assert mistakes_of(write(tmp_path, document(**parts))) == [message]


@pytest.mark.parametrize("name", ['"digit"', "3", "[]", "{}"])
def test_a_problem_that_there_is_not(tmp_path, name):
    [mistake] = mistakes_of(write(tmp_path, document().replace('"digits"', name)))
    assert mistake.startswith('problem.name: must be one of "digits"')
    assert mistake.endswith(f", got {name}")


def test_optimizers_that_share_no_run_are_no_twins(tmp_path):
    optimizers = """
[optimizers.SGD]
learning_rates = [0.1]
[optimizers."other rates"]
rule = "SGD"
learning_rates = [0.2]
[optimizers."other momentum"]
rule = "SGD"
momentum = 0.5
"""
    assert len(tiny(tmp_path, document(optimizers=optimizers)).optimizers) == 3


PLUGIN_MISTAKES = [
    ("own.py:Own", None, "there is no file {folder}/own.py"),
    ("own.py:", plugin(), 'there is no class "" in own.py'),
    ("own.py:Owl", plugin(), 'there is no class "Owl" in own.py'),
    ("own.py:np", plugin(), 'there is no class "np" in own.py'),
    ("own.txt:Own", plugin(), '"own.txt" is not a .py file in the folder of the experiment'),
    ("../own.py:Own", plugin(), '"../own.py" is not a .py file in the folder of the experiment'),
    ("/etc/own.py:Own", plugin(), '"/etc/own.py" is not a .py file in the folder of the experiment'),
    ("own.py:Own", plugin().replace("init(self, p", "start(self, p"), "Own in own.py lacks the method init"),
    ("own.py:Own", plugin().replace("def gradient_point", "def point"), "Own in own.py lacks the method gradient_point"),
    ("own.py:Own", plugin().replace("def step", "def go"), "Own in own.py lacks the method step"),
    ("own.py:Own", plugin().replace("learning_rate=", "rate="), "Own in own.py takes no keyword learning_rate"),
    ("own.py:Own", plugin(top="1 / 0"), "own.py cannot be loaded: ZeroDivisionError: division by zero"),
    ("own.py:Own", plugin(top="import nothing_of_this_name"), "own.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ("own.py:Own", plugin(top="raise SystemExit(0)"), "own.py cannot be loaded: SystemExit: 0"),
    ("own.py:Own", "class Own(:", "own.py cannot be loaded: SyntaxError: invalid syntax (own.py, line 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "source", "message"), PLUGIN_MISTAKES)
def test_a_plugin_that_is_none(tmp_path, rule, source, message):
    plugins = {} if source is None else {"own": source}
    file = write(tmp_path, document(optimizers=f'[optimizers.Own]\nrule = "{rule}"'), **plugins)
    assert mistakes_of(file) == ["optimizers.Own.rule: " + message.format(folder=tmp_path)]


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        (", *, power", "", "optimizers.Own: TypeError: Own.__init__() missing 1 required keyword-only argument: 'power'"),
        (", power=2.0", "powr = 3", "optimizers.Own.powr: unknown key; did you mean power?"),
        (", seed=2", "", "optimizers.Own.rule: its hyper-parameter seed has the name of a column of runs.csv"),
        (", reason=''", "", "optimizers.Own.rule: its hyper-parameter reason has the name of a column of runs.csv"),
        (", learning_rates=2", "", "optimizers.Own.rule: its hyper-parameter learning_rates has the name of a key of the optimizer's table"),
        (", power=np.tanh", "", "optimizers.Own.rule: the default of power must be a number, a text, true, false or None"),
        (", power=np.float32(2)", "", "optimizers.Own.rule: the default of power must be a number, a text, true, false or None"),
        (", power='\\ud800'", "", "optimizers.Own.rule: the default of power must be a number, a text, true, false or None"),
        (", power=10**5000", "", "optimizers.Own.rule: the default of power must be a number, a text, true, false or None"),
        (", clip=np.inf", "", "optimizers.Own.rule: the default of clip must be finite, got inf; None may mean no limit"),
        (", clip=-np.inf", "", "optimizers.Own.rule: the default of clip must be finite, got -inf; None may mean no limit"),
        (", clip=np.float64('nan')", "", "optimizers.Own.rule: the default of clip must be finite, got nan; None may mean no limit"),
        (", clip=1.0", "clip = inf", "optimizers.Own.clip: must be finite, got Infinity"),
        (", clip=1.0", "clip = nan", "optimizers.Own.clip: must be finite, got NaN"),
        (", clip=1.0, *, power", "clip = inf\npower = 1", "optimizers.Own.clip: must be finite, got Infinity"),
        (", eps=1e-50", "", "optimizers.Own: eps = 1e-50 is 0 in float32; must be at least 1.4012985e-45"),
    ],
)  # fmt: skip
def test_a_plugin_whose_hyperparameters_cannot_be(tmp_path, settings, given, message):
    file = write(tmp_path, document(optimizers=OWN + given), own=plugin(settings=settings))
    assert mistakes_of(file) == [message]


def test_a_default_learning_rate_without_end(tmp_path):
    source = plugin().replace("learning_rate=0.1", "learning_rate=float('inf')")
    file = write(tmp_path, document(optimizers=OWN), own=source)
    assert mistakes_of(file) == [
        "optimizers.Own.rule: the default of learning_rate must be finite, got inf"
    ]


LOST_IN_FLOAT32 = [
    ("[optimizers.Adam]\neps = 1e-50", "eps: 1e-50 is 0 in float32; must be at least 1.4012985e-45"),
    ("[optimizers.RMSprop]\neps = 1e39", "eps: 1e+39 is inf in float32; must be at most 3.4028235e+38"),
    ("[optimizers.Adam]\nbeta2 = 0.999999999", "beta2: 0.999999999 is 1 in float32; must be at most 0.99999994"),
    ("[optimizers.SGD]\nmomentum = 0.99999999", "momentum: 0.99999999 is 1 in float32; must be at most 0.99999994"),
]  # fmt: skip


@pytest.mark.parametrize(("optimizers", "message"), LOST_IN_FLOAT32)
def test_a_hyperparameter_that_the_dtype_cannot_hold(tmp_path, optimizers, message):
    """At ε = 0 a pixel that is always blank gives 0/0; a momentum of 1 never forgets."""
    label = optimizers.partition("]")[0].removeprefix("[")
    assert mistakes_of(write(tmp_path, document(optimizers=optimizers))) == [f"{label}.{message}"]
    held = document(problem=TINY_PROBLEM + 'dtype = "float64"', optimizers=optimizers)
    assert tiny(tmp_path, held).optimizers


def test_the_dtypes_of_all_problems_count(tmp_path):
    text = document(optimizers="[optimizers.Adam]\neps = 1e-50").replace("[problem]", "[problems.a]")
    text += '[problems.b]\nname = "landscape"\n'
    assert len(mistakes_of(write(tmp_path, text))) == 1
    both = text + 'dtype = "float32"'
    assert len(mistakes_of(write(tmp_path, both))) == 2


@pytest.mark.parametrize(
    ("batch_size", "images"),
    [(1, "a batch has 1 image:"), (11, "the last batch of an epoch, 1,200 images, has 1 image:")],
)
def test_batch_norm_needs_two_images(tmp_path, batch_size, images):
    problem = f"hidden = []\nbatch_size = {batch_size}\n"
    [mistake] = mistakes_of(write(tmp_path, document(problem=problem)))
    assert mistake.startswith(f"problem.batch_size: {images} batch norm needs 2 or more")
    assert tiny(tmp_path, document(problem=problem + "batch_norm = false")).problems


@pytest.mark.parametrize(
    ("batch_size", "images"),
    [
        (2, "a batch has 2 images:"),
        (399, "the last batch of an epoch, 1,200 images, has 3 images:"),
        (4, "a batch has 4 images:"),
        (5, None),
        (64, None),
    ],
)
def test_batch_norm_on_few_images_is_warned_of(tmp_path, capsys, batch_size, images):
    problem = f"hidden = []\nbatch_size = {batch_size}\n"
    tiny(tmp_path, document(problem=problem))
    said = capsys.readouterr().err
    assert (images is None) == (said == "")
    assert f"tiny.toml: problem.batch_size: {images}" in said or not images
    tiny(tmp_path, document(problem=problem + "batch_norm = false"))
    assert capsys.readouterr().err == ""


LOST = {
    "left.py": (plugin(top="import os; os._exit(0)"), ".rule: left.py:Own ends or crashes its process when it is loaded or tried out"),
    "crashed.py": (plugin(step="__import__('os').kill(__import__('os').getpid(), 11)"), ".rule: crashed.py:Own ends or crashes its process when it is loaded or tried out"),
    "raised.py": (plugin(top="raise KeyboardInterrupt('no')"), ".rule: raised.py cannot be loaded: KeyboardInterrupt: no"),
    "odd.py": (
        "class Kind(type):\n  def __getattr__(cls, name): raise GeneratorExit('no')\nclass Own(metaclass=Kind): pass",
        ".rule: odd.py:Own cannot be tried out: odd.py, line 2, Kind.__getattr__: GeneratorExit: no",
    ),
    "built in": (None, ".momentum: momentum must be in [0, 1), got 2"),
    "sound.py": (plugin(), None),
}  # fmt: skip


def test_plugins_that_are_lost_with_their_process_are_mistakes_like_others(tmp_path):
    tables = [
        f'[optimizers."{name}"]\nrule = "{name}:Own"\n'
        if source
        else f'[optimizers."{name}"]\nrule = "SGD"\nmomentum = 2\n'
        for name, (source, _) in LOST.items()
    ]
    sources = {name.removesuffix(".py"): source for name, (source, _) in LOST.items() if source}
    file = write(tmp_path, document(optimizers="".join(tables)), **sources)
    assert mistakes_of(file) == [
        f"optimizers.{name}{message}" for name, (_, message) in LOST.items() if message
    ]


@pytest.mark.parametrize(
    ("place", "code", "limits"),
    mostly_slow(
        [
            ("step", "while True: pass", {"seconds": 0.2}),
            ("top", "__import__('time').sleep(6000)", {"waiting": 0.2}),
        ]
    ),
)
def test_a_plugin_that_never_ends_is_a_mistake(tmp_path, place, code, limits):
    file = write(tmp_path, document(optimizers=OWN), own=plugin(**{place: code}))
    seconds, waiting = ({"seconds": 60, "waiting": 600} | limits).values()
    assert mistakes_of(file, **limits) == [
        f"optimizers.Own.rule: own.py:Own takes more than {seconds} s of processor time, or {waiting} s "
        "in all, to be loaded and tried out; perhaps it never ends"
    ]


def test_a_busy_machine_makes_no_trial_too_long(monkeypatch):
    now, asked, told = [0.0], threading.Semaphore(0), SimpleQueue()
    clock = SimpleNamespace(process_time=lambda: asked.release() or now[0])
    monkeypatch.setattr("optimlab.experiment.trials.time", clock)
    with limited(1e-3, 600, told.put):
        assert told.get() == Clock(600)
        for _ in range(10):  # each at least a millisecond later
            assert asked.acquire(timeout=600)
        assert told.empty()
        now[0] = 1.0
        assert told.get(timeout=600) == Clock(0)


def test_no_code_of_a_plugin_runs_in_the_process_that_loads_its_experiment(tmp_path):
    top = """
import enum, os
class Power(enum.IntEnum):
    TWO = 2
with open(__file__ + ".log", "a") as file:
    print(os.getpid(), file=file)
"""
    text = document(optimizers=OWN)
    experiment = tiny(
        tmp_path, text, own=plugin(top=top, settings=", power=Power.TWO, rate=np.float64(3)")
    )
    assert str(os.getpid()) not in (tmp_path / "own.py.log").read_text().split()
    values = experiment.optimizers[0].hyperparameters
    assert {name: type(value) for name, value in values.items()} == {"power": int, "rate": float}


@pytest.mark.parametrize("place", ["top", "constructor", "step"])
def test_a_plugin_that_changes_the_working_directory_moves_nothing(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    leave = "__import__('os').chdir('/')"
    source = plugin(**({place: leave} if place != "constructor" else {}))
    if place == "constructor":
        source = source.replace(
            "self.learning_rate = learning_rate", f"{leave}; self.learning_rate = learning_rate"
        )
    experiment = load(write(Path("here"), document(optimizers=OWN), own=source))
    assert Path.cwd() == tmp_path
    run(experiment, Path("results"))
    assert Path.cwd() == tmp_path
    assert (tmp_path / "results/tiny/runs.csv").is_file()


@pytest.mark.parametrize("settings", [", power=2.0", ", power=None", ", power='x'", ", power=True"])
def test_a_plugin_whose_hyperparameters_can_be(tmp_path, settings):
    experiment = tiny(tmp_path, document(optimizers=OWN), own=plugin(settings=settings))
    assert list(experiment.optimizers[0].hyperparameters) == ["power"]
    assert len(list(experiment.runs())) == 6


@pytest.mark.parametrize(
    "constructor", ["raise ValueError('power must be even')", "raise SystemExit('power must be even')"]
)
def test_a_plugin_that_refuses_its_hyperparameters(tmp_path, constructor):
    source = plugin(settings=", power=3").replace(
        "self.learning_rate = learning_rate", f"if power == 3: {constructor}"
    )
    [mistake] = mistakes_of(write(tmp_path, document(optimizers=OWN), own=source))
    assert mistake.startswith("optimizers.Own: ")
    assert mistake.endswith("power must be even")


MANY = """
titel = "t"
learning_rates = [0.1, 0]
[problem]
name = "digits"
hidden = [{ units = 3, activation = "relu" }, { unit = 3, activation = "rele" }]
batch_size = 5000
batch_norm = "yes"
[training]
epochs = 1
steps = 2
recordevery = 3
[seeds]
tuning = true
reporting = -1
[optimizers.SGD]
momentum = 2
nesterov = true
[optimizers.Adm]
[optimizers."a:b"]
rule = "SGD"
[optimizers.RMSprop]
learning_rates = []
rho = -0.1
eps = 0
[optimizers.Own]
rule = "nowhere.py:Own"
[optimizers.Five]
rule = 5
"""


def test_all_mistakes_of_a_file_are_reported_together(tmp_path, monkeypatch):
    file = write(tmp_path, MANY)
    lines = mistakes_of(file)
    share_worker(monkeypatch)
    done = call("sweep", file)
    told = "\n  ".join([f"optimlab: {file}: {len(lines)} mistakes", *lines])
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"{told}\n")
    assert list(tmp_path.iterdir()) == [file]
    assert len(lines) == len(set(lines))
    assert {line.partition(": ")[0] for line in lines} == {
        "title",
        "titel",
        "learning_rates[2]",
        "problem.hidden[2].unit",
        "problem.hidden[2].units",
        "problem.hidden[2].activation",
        "problem.batch_size",
        "problem.batch_norm",
        "training",
        "training.recordevery",
        "seeds.tuning",
        "seeds.reporting",
        "optimizers.SGD.momentum",
        "optimizers.SGD.nesterov",
        "optimizers.Adm",
        "optimizers.a:b",
        "optimizers.RMSprop.learning_rates",
        "optimizers.RMSprop.rho",
        "optimizers.RMSprop.eps",
        "optimizers.Own.rule",
        "optimizers.Five.rule",
    }


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"title = ", "is not valid TOML: Invalid value"),
        (b"title = 'a'\ntitle = 'b'", "is not valid TOML: Cannot overwrite a value"),
        (b"title = 'a\xff'", "is not UTF-8 text: invalid start byte at byte 10"),
        (b"PK\x00\x00\x80", "is not UTF-8 text"),
        (b"a = 1979-13-45", "is not valid TOML: Expected newline"),
    ],
)
def test_a_file_that_cannot_be_read_as_toml(tmp_path, content, start):
    file = tmp_path / "tiny.toml"
    file.write_bytes(content)
    [mistake] = mistakes_of(file)
    assert mistake.startswith(start)


def test_a_file_that_is_a_folder_or_is_gone(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert mistakes_of(tmp_path / "folder.toml") == [
        "cannot be read: it is a folder, where a file belongs"
    ]
    assert mistakes_of(tmp_path / "gone.toml") == ["cannot be read: No such file or directory"]


@pytest.mark.parametrize("name", ["_hidden", "a:b", "[red]", "x" * 61, "a\nb", " a", "a ", "a."])
def test_a_bad_file_name(tmp_path, name):
    file = tmp_path / f"{name}.toml"
    file.write_text(document())
    assert mistakes_of(file) == [f"an experiment's name is {NAME_RULE}"]


def test_a_good_file_name(tmp_path):
    file = write(tmp_path, name="Größe 2 (lr=0.1)")
    assert load(file).name == "Größe 2 (lr=0.1)"


def test_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("digits").resolve() == EXPERIMENTS / "digits.toml"  # it is shipped
    file = write(tmp_path / "experiments", name="digits")
    elsewhere = write(tmp_path / "elsewhere", name="digits")
    assert find("digits").resolve() == file
    assert find("experiments/digits.toml").resolve() == file
    assert find("./experiments/../experiments/digits.toml").samefile(file)
    assert find(str(elsewhere)) == elsewhere
    for name in ("digit", "digit.toml", "nowhere/digits.toml"):
        with pytest.raises(ExperimentError, match=r"no such experiment; did you mean digits\?"):
            find(name)
    with pytest.raises(ExperimentError, match=r"zebra.toml: .* there are: .*, digits, "):
        find("zebra")
    for name in ("", ".", "..", "digits/", "/", "\0"):
        with pytest.raises(ExperimentError):
            find(name)
