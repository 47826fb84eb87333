"""Rules that mix the runs of a stack are detected on loading, or at the latest in the sweep."""

import re

import numpy as np
import pytest
from sweeping import OWN, document, mostly_slow, plugin, rows_of, run, tiny

from optimlab.execution import witness
from optimlab.execution.stack import TooLong
from optimlab.execution.sweep import stacks
from optimlab.experiment import mixing
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.registry import load_rule
from optimlab.optimizers import RULES


def rule_of(folder, **statements):
    (folder / "own.py").write_text(plugin(**statements))
    return load_rule("own.py:Own", folder)


CACHE = """
class Cache:
    momentum = {}
"""
MIXING = {
    "the mean of the rates": {"step": "params -= float(np.mean(self.learning_rate)) * gradient"},
    "the first rate": {"step": "params -= np.ravel(self.learning_rate)[0] * gradient"},
    "the last rate": {"step": "params -= self.learning_rate[-1] * gradient"},
    "the median rate": {"step": "params -= np.median(self.learning_rate) * gradient"},
    "the stack's norm, clipped at 6": {
        "step": "params -= gradient * min(1, 6 / np.linalg.norm(gradient))"
    },
    "the stack's norm, clipped at 1e7": {
        "step": "params -= gradient * min(1, 1e7 / np.linalg.norm(gradient))"
    },
    "the stack's norm, clipped at 1e-7": {
        "step": "params -= gradient * min(1, 1e-7 / np.linalg.norm(gradient))"
    },
    "a mean over rows from step 11 on": {
        "step": "if state['steps'] >= 11: params -= gradient.mean(axis=0)"
    },
    "a mean over rows at step 50 alone": {
        "step": "if state['steps'] == 50: params -= gradient.mean(axis=0)"
    },
    "large gradients": {"step": "if np.abs(gradient).max() > 1e5: params -= gradient.max()"},
    "small gradients": {"step": "if np.abs(gradient).max() < 1e-5: params -= gradient.sum()"},
    "through the state": {
        "step": "m = state.setdefault('m', np.zeros_like(params)); m *= 0.9; m += gradient.mean(0)\n"
        "        if state['steps'] > 5: params -= self.learning_rate * m"
    },
    "where the gradient is taken": {"gradient_point": "return params - 0.1 * params.mean(axis=0)"},
    "the number of rows": {"step": "params -= self.learning_rate * gradient / len(params)"},
    "when alone": {"step": "if len(params) == 1: params *= 0.5"},
    "raises when alone": {"step": "if len(params) == 1: raise ValueError"},
    "a cache of the class": {
        "top": CACHE,
        "step": "m = Cache.momentum.setdefault(params.shape, np.zeros_like(params)); m += gradient\n"
        "        params -= self.learning_rate * m",
    },
    "a running sum down the rows": {"step": "params -= np.cumsum(gradient, axis=0)"},
    "random numbers, row after row": {
        "step": "params -= np.random.default_rng(0).normal(size=params.shape)"
    },
    "random numbers, one after the other": {"step": "params -= np.random.normal()"},
    "rows that are not finite, by the others": {
        "step": "bad = ~np.isfinite(gradient).all(axis=1)\n"
        "        if bad.any() and not bad.all(): params[bad] = params[~bad].mean(axis=0)"
    },
    "rows of zeros, by the others": {
        "step": "idle = ~gradient.any(axis=1); params[idle] += (1 - idle.mean()) * params[:1]"
    },
    "the next row": {"step": "params -= 1e-9 * np.roll(gradient, 1, axis=0)"},
}
ROW_NORM = "norm = np.linalg.norm(gradient, axis=-1, keepdims=True); "
HONEST = {
    "plain": {"step": "pass"},
    "a norm for each row": {"step": ROW_NORM + "params -= self.learning_rate * gradient / norm"},
    "clipped row by row": {"step": ROW_NORM + "params -= gradient * np.minimum(1, 6 / norm)"},
    "a branch for each row": {
        "step": "loud = np.abs(gradient).max(axis=-1, keepdims=True) > 1\n"
        "        params -= np.where(loud, self.learning_rate * np.sign(gradient), gradient)"
    },
    "a mean for each row": {"step": "params -= gradient.mean(axis=1)[:, None]"},
    "an early end when nothing is left to do": {"step": "if not gradient.any(): return"},
    "sorted along a row": {"step": "params -= 0.1 * np.sort(gradient, axis=-1)"},
    "rows one by one": {
        "step": "for row, g in zip(params, gradient): row -= 0.1 * g * (g @ g) / (1 + np.linalg.norm(g))"
    },
    "the same noise for each row": {
        "step": "params -= np.random.default_rng(state['steps']).normal(size=params.shape[1])"
    },
    "a fresh point": {"gradient_point": "return params - 0.1 * self.learning_rate * params"},
    "the gradient overwritten": {"step": "gradient *= 0"},
    "nothing but infinity": {"step": "params /= 0"},
    "it raises": {"step": "params[3, 3]"},
    "it raises late": {"step": "if state['steps'] > 9: raise ValueError"},
    "it raises at large rates": {"init": "if np.any(self.learning_rate > 0.2): raise ValueError"},
    "it leaves": {"step": "raise SystemExit"},
    "a sum of products": {"step": "params -= np.einsum('rp,rp->r', gradient, params)[:, None]"},
    "a matrix for each row": {
        "step": "g = gradient[:, :6].reshape(-1, 2, 3); params[:, :4] -= (g @ g.mT).reshape(-1, 4)"
    },
    "a line for each row": {
        "step": "params -= gradient * np.vecdot(gradient, params)[:, None] / (1 + np.abs(gradient))"
    },
}


@pytest.mark.parametrize("case", MIXING)
@pytest.mark.parametrize("rates", mostly_slow([[1e-4, 0.1, 10], [0.1]]), ids=["rates", "one rate"])
def test_a_rule_that_mixes_rows_is_known(tmp_path, case, rates):
    assert mixing.mixes_runs(rule_of(tmp_path, **MIXING[case]), {}, rates)


@pytest.mark.parametrize("case", HONEST)
@pytest.mark.parametrize("rates", mostly_slow([[1e-4, 0.1, 10], [0.1]]), ids=["rates", "one rate"])
def test_an_honest_rule_is_not_refused(tmp_path, case, rates):
    assert not mixing.mixes_runs(rule_of(tmp_path, **HONEST[case]), {}, rates)


def with_task(step):
    """Return the source of a plug-in that knows its task."""
    source = plugin(step=step).replace("def init(self, params):", "def init(self, params, task):")
    return source.replace('"steps": 0', '"steps": 0, "task": task')


OF_THE_TASK = {
    "one generator for all rows": (
        "params += state['task'].generators[0].normal(size=params.shape)", True
    ),
    "the generators one after the other": (
        "params += state['task'].generators[state['steps'] % len(params)].normal(size=params[0].shape)",
        True,
    ),
    "one generator for each row": (
        "params += [rng.normal(size=params.shape[1]) for rng in state['task'].generators]", False
    ),
    "a layer's mean over the rows": (
        "a = state['task'].layout.slices['bias']; params[:, a] -= gradient[:, a].mean(axis=0)", True
    ),
    "a layer's mean for each row": (
        "a = state['task'].layout.slices['bias']; params[:, a] -= gradient[:, a].mean(1, keepdims=True)",
        False,
    ),
    "as many steps as the task has": (
        "params *= 1 - state['steps'] / (1 + state['task'].steps)", False
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OF_THE_TASK)
def test_a_rule_that_knows_its_task_is_checked_with_one(tmp_path, case):
    step, mixes = OF_THE_TASK[case]
    (tmp_path / "own.py").write_text(with_task(step))
    assert mixing.mixes_runs(load_rule("own.py:Own", tmp_path), {}, [1e-4, 10]) == mixes


def test_an_average_over_the_rows_is_found_where_metrics_are_taken(tmp_path):
    average = "\n    def eval_params(self, params, state):\n        return params * 0 + params.mean(0)\n"
    (tmp_path / "own.py").write_text(plugin() + average)
    assert mixing.mixes_runs(load_rule("own.py:Own", tmp_path), {}, [0.1])


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("rates", mostly_slow([[1e-30, 1e30], [1e-4, 10]]), ids=["all", "usual"])
def test_the_five_mix_nothing(name, rates):
    assert not mixing.mixes_runs(RULES[name], {}, rates)


def test_the_file_is_refused_with_what_would_be_right(tmp_path):
    source = plugin(step="params -= float(np.mean(self.learning_rate)) * gradient")
    told = r"optimizers\.Own: its step mixes the runs of a stack: reduce .* \(axis=-1, keepdims=True\)"
    with pytest.raises(ExperimentError, match=told):
        tiny(tmp_path, document(optimizers=OWN), own=source)


LATE = "if state['steps'] > 70: params -= 1e-6 * params.mean(axis=0)"
LONG = {"training": "steps = 80\nrecord_every = 80\n", "problem": "hidden = []\nbatch_size = 50\n"}


def test_what_is_mixed_later_fails_in_the_sweep_with_the_reason(tmp_path, monkeypatch):
    """Every run of it, in whatever stack, and no run of another rule."""
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 2)
    text = document(optimizers="[optimizers.SGD]\n" + OWN, **LONG)
    outcome = run(tiny(tmp_path, text, own=plugin(step=LATE)), tmp_path / "results")
    assert outcome.statuses == {"ok": 6, "failed": 6}
    for row in rows_of(tmp_path / "results"):
        assert row["status"] == ("failed" if row["optimizer"] == "Own" else "ok")
        assert row["reason"] == (witness.DIFFERS if row["optimizer"] == "Own" else "")


@pytest.mark.parametrize(
    ("where", "failed"),
    [("self.learning_rate > 0.2", ["0.3", "0.3"]), ("self.learning_rate < 0.2", ["0.1", "0.1"])],
)
def test_what_is_mixed_in_another_stack_alone_fails_there(tmp_path, monkeypatch, where, failed):
    """Of a rule of one's own, a run of every stack is trained alone."""
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 2)
    step = LATE.replace("if", f"if len(params) > 1 and np.all({where}) and")
    experiment = tiny(tmp_path, document(optimizers=OWN, **LONG), own=plugin(step=step))
    assert run(experiment, tmp_path / "results").statuses == {"ok": 4, "failed": 2}
    told = [row for row in rows_of(tmp_path / "results") if row["reason"] == witness.DIFFERS]
    assert [row["learning_rate"] for row in told] == failed


@pytest.mark.parametrize("row", ["0", "-1"])
def test_a_rule_that_changes_only_one_end_of_its_stacks_is_detected(tmp_path, monkeypatch, row):
    """In the stacks whose first or last run is trained alone."""
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 3)
    step = f"if len(params) > 2 and state['steps'] > 70: params[{row}] *= 0.9"
    long = {**LONG, "seeds": "tuning = 1\nreporting = 5\n"}
    experiment = tiny(tmp_path, document(optimizers=OWN, **long), own=plugin(step=step))
    assert run(experiment, tmp_path / "results").statuses == {"ok": 9, "failed": 3}


def test_one_run_of_each_optimizer_is_trained_twice_and_no_other(tmp_path, monkeypatch):
    trained = []

    def count(stack, *how):
        trained.append(len(stack.run_ids))
        return train_stack(stack, *how)

    train_stack = witness.train_stack
    monkeypatch.setattr(witness, "train_stack", count)
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 2)
    optimizers = "[optimizers.SGD]\n[optimizers.Adam]\nlearning_rates = [0.1]\n"
    optimizers += OWN + "learning_rates = [0.1]\n"
    experiment = tiny(tmp_path, document(optimizers=optimizers), own=plugin())
    assert run(experiment, tmp_path / "results").statuses == {"ok": 12}
    assert sum(trained) == 12 + 3
    assert sorted(trained)[:3] == [1, 1, 1]


def test_a_run_that_has_no_neighbour_is_trained_once(tmp_path, monkeypatch):
    experiment = tiny(tmp_path)
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 1)
    todo = witness.with_witnesses(stacks(experiment, list(experiment.runs()), 1))
    assert [stack.witness for stack in todo] == [None] * 6


def test_no_stack_is_yielded_before_its_witness_has_finished(tmp_path, monkeypatch):
    monkeypatch.setattr("optimlab.execution.sweep.LARGEST_STACK", 2)
    optimizers = "[optimizers.SGD]\n[optimizers.Adam]\n"
    experiment = tiny(tmp_path, document(optimizers=optimizers))
    todo = witness.with_witnesses(stacks(experiment, list(experiment.runs()), 1))
    assert [(stack.rule, stack.witness is None) for stack in todo] == [
        ("SGD", False), ("Adam", False), ("SGD", True), ("SGD", True), ("Adam", True), ("Adam", True)
    ]  # fmt: skip
    assert len(set(todo[0].learning_rates)) == 2  # rates that are mixed show where there are two
    ends = [witness.train_with_witness(stack) for stack in todo]
    order = [2, 1, 5, 3, 0, 4]
    said = list(witness.checked((ends[place] for place in order), todo))
    assert [one.runs for one in said] == [ends[place].runs for place in (1, 5, 2, 3, 0, 4)]


@pytest.mark.parametrize("size", [2, 3, 4, 12])
def test_a_witness_is_neither_first_nor_last_where_it_can_be(tmp_path, size):
    text = document(seeds=f"tuning = {4 * size}\nreporting = 0", top="learning_rates = [0.1]\n")
    experiment = tiny(tmp_path, text)
    stack, *_ = witness.with_witnesses(stacks(experiment, list(experiment.runs()), 1))
    assert len(stack.run_ids) == size
    assert 0 < stack.witness < max(2, size - 1)


def test_the_check_takes_a_moment(tmp_path):
    """Steps, not seconds: a rule is constructed and stepped four times over, once for each row alone."""
    calls = []
    rule = rule_of(tmp_path, step="self.count()")
    rule.count = lambda self: calls.append(1)
    mixing.mixes_runs(rule, {}, [0.1])
    assert len(calls) == 4 * mixing.STEPS <= 240


class Clock:
    """A clock that goes on by `seconds` with each look at it."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0

    def monotonic(self):
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 60), (0.3, 11), (1.9, 6), (9.0, 5)])
def test_a_slow_rule_is_tried_out_in_fewer_steps(tmp_path, monkeypatch, seconds, steps):
    """One of 0.3 s a step took longer than the minute that there is for it, and was refused."""
    monkeypatch.setattr(mixing, "time", Clock(seconds))
    calls = []
    rule = rule_of(tmp_path, step="self.count(gradient)")
    rule.count = lambda self, gradient: calls.append(np.isfinite(gradient).all())
    assert not mixing.mixes_runs(rule, {}, [0.1])
    assert len(calls) == 4 * steps
    assert calls.count(False) == 2 * 3  # of each row, together and alone; zero is finite


@pytest.mark.parametrize(
    "parts",
    [
        {"step": "params -= np.random.default_rng().normal(size=params.shape)"},
        {"top": "from itertools import count\nstep = count(1)", "step": "params /= next(step)"},
        {
            "top": "from itertools import count\nstep = count(1)",
            "step": "if next(step) % 97 == 0: raise",
        },
    ],
)
def test_a_random_rule_is_distinguished_from_one_that_mixes_runs(tmp_path, parts):
    with pytest.raises(ExperimentError, match="a run of it does not give the same numbers twice"):
        tiny(tmp_path, document(optimizers=OWN), own=plugin(**parts))


def test_a_stack_that_was_cut_to_one_run_needs_no_witness(tmp_path):
    """A run that takes long is on disk when it ends, and not trained twice before."""
    experiment = tiny(tmp_path, document(top="learning_rates = [0.1]\n", seeds="tuning = 8"))
    stack, *_ = witness.with_witnesses(stacks(experiment, list(experiment.runs()), 1))
    begun = []

    def follow(part, step):
        begun.extend([part.run_ids] * (step == 0))
        if len(part.run_ids) > 1:
            raise TooLong(1)

    together = witness.train_with_witness(stack, follow)
    assert [run.run_id for run in together.runs] == list(stack.run_ids[:1])
    assert begun == [stack.run_ids, stack.run_ids[:1]]


REMEMBERS = "m = state.get('m', 0 * params); params -= self.learning_rate * m; state['m'] = "
METRICS_IN_PLACE = """
    def eval_params(self, params, state):
        params *= 0.5
        return params
"""
GRADIENT, PARAMS = "keeps the array gradient", "keeps the array params"
MISUSED = {
    "the last gradient": (plugin(step=f"{REMEMBERS} gradient"), GRADIENT),
    "a part of the last gradient": (
        plugin(step="params[:, :3] -= state.get('m', 0); state['m'] = gradient[:, :3]"),
        GRADIENT,
    ),
    "a gradient in a list": (
        plugin(step="params -= sum(state.setdefault('all', [])); state['all'].append(gradient)"),
        GRADIENT,
    ),
    "an old gradient": (
        plugin(
            step="params -= state.get('m', 0)\n        if state['steps'] % 9 == 1: state['m'] = gradient"
        ),
        GRADIENT,
    ),
    "the start": (plugin(step="params -= params - state.setdefault('start', params)"), PARAMS),
    "the points so far": (plugin(step="state.setdefault('all', []).append((0, params))"), PARAMS),
    "a look ahead in place": (plugin(gradient_point="params += 1"), "gradient_point must leave params"),
    "another start": (plugin(init="params += 1"), "init must leave params as they are"),
    "metrics in place": (plugin() + METRICS_IN_PLACE, "eval_params must leave params"),
}
FINE = {
    "a copy of the last gradient": plugin(step=f"{REMEMBERS} gradient.copy()"),
    "the gradient overwritten": plugin(step="gradient *= 0"),
    "a gradient that is never read": plugin(step="state['last'] = gradient"),
    "a copy of the start": plugin(step="params -= params - state.setdefault('start', params.copy())"),
    "views of params": plugin(step="state['halves'] = [params[:, :5], params[:, 5:]]"),
    "it raises": plugin(step="params[3, 3]"),
    "it raises late": plugin(step="if state['steps'] > 9: raise ValueError"),
}


@pytest.mark.parametrize("method", ["gradient_point", "eval_params"])
@pytest.mark.parametrize(
    ("point", "got"),
    [
        ("None", "a NoneType"),
        ("params.tolist()", "a list"),
        ("params[0]", r"float64 \(10,\)"),
        ("params + 0j", r"complex128 \(3, 10\)"),
        ("params.astype('f')", ""),
        ("np.broadcast_to(params, params.shape)", ""),
    ],
)
def test_a_point_that_is_not_like_the_params_is_refused(tmp_path, method, point, got):
    source = f"{plugin()}\n    def {method}(self, params, state): return {point}\n"
    (tmp_path / "own.py").write_text(source)
    found = mixing.wrong_points(load_rule("own.py:Own", tmp_path), {}, [0.1])
    right = rf"Own.{method} must return an array like params, float64 \(3, 10\), got {got}"
    assert re.fullmatch(right, found) if got else found is None


@pytest.mark.parametrize("case", MISUSED)
def test_an_array_that_changes_under_a_rule_is_refused(tmp_path, case):
    source, wrong = MISUSED[case]
    (tmp_path / "own.py").write_text(source)
    rule = load_rule("own.py:Own", tmp_path)
    assert not mixing.mixes_runs(rule, {}, [0.1])
    assert wrong in mixing.wrong_references(rule, {}, [0.1])


@pytest.mark.parametrize("case", FINE)
def test_what_a_rule_may_keep_is_not_refused(tmp_path, case):
    (tmp_path / "own.py").write_text(FINE[case])
    assert mixing.wrong_references(load_rule("own.py:Own", tmp_path), {}, [0.1]) is None


@pytest.mark.parametrize("name", RULES)
def test_no_built_in_rule_keeps_an_array_of_the_loop(name):
    assert mixing.wrong_references(RULES[name], {}, [1e-4, 10]) is None


def test_a_kept_gradient_is_refused_with_what_would_be_right(tmp_path):
    told = r"optimizers\.Own: it keeps the array gradient, .*: keep gradient\.copy\(\)"
    with pytest.raises(ExperimentError, match=told):
        tiny(tmp_path, document(optimizers=OWN), own=MISUSED["the last gradient"][0])
