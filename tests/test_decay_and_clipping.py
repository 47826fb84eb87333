"""Weight decay and clipping around any rule: the maths, the keys, and the documentation."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sweeping import OWN, document, mistakes_of, plugin, run, tiny, write

from optimlab.experiment import mixing
from optimlab.experiment.registry import hyperparameters, load_rule
from optimlab.nn.parameters import Layout
from optimlab.optimizers import (
    BY_KEY,
    RULES,
    SGD,
    Adam,
    AdamW,
    ClipNorm,
    ClipValue,
    Lookahead,
    Nesterov,
    Task,
    WeightDecay,
)
from optimlab.problems.tables import Table
from optimlab.training import train

RNG = np.random.default_rng(0)
START = RNG.normal(size=(3, 6))
GRADIENTS = RNG.normal(size=(40, 3, 6)) * 10.0 ** RNG.uniform(-3, 3, (40, 1, 1))
TASK = Task(Layout({"a.weight": (2, 2), "a.bias": (2,)}), steps=40, steps_per_epoch=1, generators=[])
RATES = np.array([[0.3], [0.1], [0.03]])


def end(optimizer, task=None, gradients=GRADIENTS):
    """Return the parameters after all gradients."""
    params = START.copy()
    state = optimizer.init(params, task) if task else optimizer.init(params)
    for gradient in gradients:
        optimizer.gradient_point(params, state)
        before = gradient.copy()
        optimizer.step(params, gradient, state)
        assert np.array_equal(gradient, before)
    return params


def test_weight_decay_around_adam_is_adamw():
    decays = np.array([[0.5], [0.1], [0.0]])
    wrapped = WeightDecay(Adam(learning_rate=RATES), weight_decay=decays)
    adamw = AdamW(learning_rate=RATES, weight_decay=decays)
    assert np.allclose(end(wrapped, TASK), end(adamw, TASK), rtol=0, atol=1e-12)
    everything = end(wrapped)  # of a bare row: biases, too
    assert np.abs(everything - end(adamw, TASK))[:2, 4:].min() > 1e-2
    unscaled = WeightDecay(Adam(learning_rate=RATES), weight_decay=decays / RATES)
    assert np.abs(end(unscaled, TASK) - end(adamw, TASK))[:2, :4].max() > 1e-2


def test_weight_decay_leaves_the_rule_its_own_gradient_point_and_result():
    optimizer = WeightDecay(Lookahead(Nesterov(learning_rate=0.1)), weight_decay=0.5)
    params = START.copy()
    state = optimizer.init(params, TASK)
    optimizer.step(params, np.ones_like(params), state)
    shrunk = START * np.where(np.arange(6) < 4, 0.95, 1)
    assert np.allclose(params, shrunk - 0.1)
    assert np.allclose(optimizer.gradient_point(params, state), params - 0.09)
    assert np.array_equal(optimizer.eval_params(params, state), START)


def test_clipping_by_norm_is_of_each_run():
    limits = np.array([[0.5], [5.0], [1e9]])
    clipped = []
    for gradient in GRADIENTS:
        norms = [float(sum(entry**2 for entry in row)) ** 0.5 for row in gradient]
        clipped.append(
            [
                row if norm <= limit else row * (limit / norm)
                for row, norm, limit in zip(gradient, norms, limits[:, 0], strict=True)
            ]
        )
    found = end(ClipNorm(SGD(learning_rate=RATES), clip_norm=limits))
    assert np.allclose(found, end(SGD(learning_rate=RATES), gradients=np.array(clipped)), rtol=1e-12)
    assert np.array_equal(found[2], end(SGD(learning_rate=RATES))[2])  # no bit changes below the limit
    assert not np.allclose(found[:2], end(SGD(learning_rate=RATES))[:2], rtol=0.1)


def test_a_large_gradient_of_float32_is_clipped_too():
    params = np.zeros((2, 2), np.float32)
    optimizer = ClipNorm(SGD(learning_rate=1.0, momentum=0.0), clip_norm=5.0)
    optimizer.step(params, np.array([[3e30, 4e30], [3, 4]], np.float32), optimizer.init(params))
    assert np.allclose(params, [[-3, -4], [-3, -4]])
    assert params.dtype == np.float32


def test_clipping_by_value_is_of_each_number():
    limits = np.array([[0.5], [5.0], [1e9]])
    clipped = np.maximum(np.minimum(GRADIENTS, limits), -limits)
    found = end(ClipValue(SGD(learning_rate=RATES), clip_value=limits))
    assert np.array_equal(found, end(SGD(learning_rate=RATES), gradients=clipped))


KEYS = {"weight_decay": 0.1, "clip_norm": 1.0, "clip_value": 0.3}


@pytest.mark.parametrize("name", ["SGD", "Adam", "Cautious(Adam)", "own.py:Own"])
def test_no_run_sees_another(tmp_path, name):
    (tmp_path / "own.py").write_text(plugin())
    assert not mixing.mixes_runs(load_rule(name, tmp_path, KEYS), KEYS, [1e-4, 1])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_keeps_what_it_has_and_gets_the_rest(tmp_path, name):
    plain, wrapped = load_rule(name, tmp_path), load_rule(name, tmp_path, KEYS)
    assert set(hyperparameters(wrapped)) == {*hyperparameters(plain), *KEYS}
    has_its_own = "weight_decay" in hyperparameters(plain)
    assert isinstance(wrapped(**KEYS), RULES[name] if has_its_own else WeightDecay) != has_its_own
    assert load_rule(name, tmp_path, ["momentum"]) is plain
    assert set(BY_KEY) == set(KEYS)


def test_the_keys_of_a_table(tmp_path):
    keys = "clip_norm = 0.5\nweight_decay = 0.1\n"
    optimizers = f'[optimizers.SGD]\n[optimizers.Clipped]\nrule = "SGD"\n{keys}{OWN}{keys}'
    experiment = tiny(tmp_path, document(optimizers=optimizers), own=plugin())
    alone = tiny(tmp_path / "alone", document(optimizers="[optimizers.SGD]\n"))
    ids = [run.run_id for run in experiment.runs()]
    assert ids[:6] == [run.run_id for run in alone.runs()]
    assert len(set(ids)) == 18
    assert "failed" not in run(experiment, tmp_path / "results").statuses
    with (tmp_path / "results/tiny/runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["optimizer"], row["clip_norm"], row["weight_decay"]) for row in rows} == {
        ("SGD", "", ""),
        ("Clipped", "0.5", "0.1"),
        ("Own", "0.5", "0.1"),
    }
    finals = {row["optimizer"]: row["final_train_loss"] for row in rows}
    assert len(set(finals.values())) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clip_norm = 0", "optimizers.SGD.clip_norm: clip_norm must be in (0, inf), got 0"),
        ("clip_value = -1", "optimizers.SGD.clip_value: clip_value must be in (0, inf), got -1"),
        (
            "weight_decay = -0.1",
            "optimizers.SGD.weight_decay: weight_decay must be in [0, inf), got -0.1",
        ),
        ("weight_deacy = 1", "optimizers.SGD.weight_deacy: unknown key; did you mean weight_decay?"),
        ('clip_norm = "a"', "optimizers.SGD.clip_norm: clip_norm must be a number in (0, inf), got 'a'"),
    ],
)
def test_wrong_values(tmp_path, line, message):
    assert mistakes_of(write(tmp_path, document(optimizers=f"[optimizers.SGD]\n{line}\n"))) == [message]


def test_weight_decay_needs_the_learning_rate(tmp_path):
    source = plugin().replace("self.learning_rate", "self.rate")
    file = write(tmp_path, document(optimizers=f"{OWN}weight_decay = 0.1\n"), own=source)
    assert mistakes_of(file) == [
        "optimizers.Own: TypeError: weight decay needs a learning_rate, which Own does not have"
    ]


@pytest.mark.slow
def test_decay_and_an_l2_penalty_are_what_the_docs_say():
    """SGD does not tell them apart; Adam does."""
    docs = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    for rule in (SGD(learning_rate=0.1, momentum=0.0), Adam(learning_rate=0.003)):
        lengths = []
        for around, l2 in ((WeightDecay(rule, weight_decay=0.1), 0.0), (rule, 0.1)):
            problem = Table(data="digits", hidden=(), dtype="float64", l2=l2)
            recording = train(problem, around, range(10), [570])
            weights = recording.params[:, problem.layout.slices[problem.layout.weights[0]]]
            lengths.append(np.linalg.norm(weights, axis=1).mean())
        decayed, penalized = (f"{length:.2f}" for length in lengths)
        assert f"| {type(rule).__name__} | {decayed} | {penalized} |" in docs
