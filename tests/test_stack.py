"""Stacks: how each run ends, and that a run that raises fails alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sweeping import OWN, TINY_PROBLEM, document, mostly_slow, plugin, tiny

from optimlab.execution.stack import train_stack
from optimlab.execution.sweep import stacks


def finished(folder, text=None, **plugins):
    """Train all runs of an experiment of one optimizer in one stack; return it, and the stack."""
    experiment = tiny(folder, text or document(), **plugins)
    runs = list(experiment.runs())
    stack = next(stacks(experiment, runs, cores=1))
    whole = replace(stack, **column_wise(runs))
    return train_stack(whole), whole


def column_wise(runs):
    return {
        "run_ids": tuple(run.run_id for run in runs),
        "learning_rates": tuple(run.learning_rate for run in runs),
        "seeds": tuple(run.seed for run in runs),
    }


def own(folder, problem=TINY_PROBLEM, **statements):
    """Train gradient descent with some statements more, at both learning rates and three seeds."""
    text = document(problem=problem, optimizers=OWN)
    return finished(folder, text, own=plugin(**statements))


def traces_of(stack, place):
    """Return the traces of one run of a finished stack, name → bytes."""
    rows = stack.traces["run"] == place
    return {name: column[rows].tobytes() for name, column in stack.traces.items() if name != "run"}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return own(tmp_path_factory.mktemp("healthy"))[0]


def test_a_healthy_stack(healthy):
    assert [run.status for run in healthy.runs] == ["ok"] * 6
    assert {run.steps for run in healthy.runs} == {2}
    assert {run.reason for run in healthy.runs} == {""}
    assert healthy.traces["run"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert healthy.traces["step"].tolist() == [0, 2] * 6
    assert healthy.traces["epoch"].tolist() == [0.0, 1.0] * 6
    for run, place in zip(healthy.runs, range(6), strict=True):
        assert list(run.final.values()) == [healthy.traces[name][2 * place + 1] for name in run.final]
        assert 0 < run.final["train_loss"] < healthy.traces["train_loss"][2 * place]


BAD_RATE = "np.any(np.abs(self.learning_rate - 0.3) < 0.01)"
DUMB = "class Dumb(Exception):\n    def __str__(self): 1 / 0\n"
# Runs in the order of the experiment: rates 0.1, 0.1, 0.1, 0.3, 0.3, 0.3.
RAISING = {
    "one rate, at init": (
        {"init": f"if {BAD_RATE}: raise ValueError('too large')"},
        [3, 4, 5],
        "ValueError: too large",
    ),
    "one rate, at gradient_point": (
        {"gradient_point": f"if {BAD_RATE}: 1 / 0"},
        [3, 4, 5],
        "ZeroDivisionError: division by zero",
    ),
    "one rate, at the second step": (
        {"step": f"if state['steps'] == 2 and {BAD_RATE}: raise KeyError('x')"},
        [3, 4, 5],
        "KeyError: 'x'",
    ),
    "always": ({"init": "raise RuntimeError('never')"}, [0, 1, 2, 3, 4, 5], "RuntimeError: never"),
    "out of memory": ({"init": f"if {BAD_RATE}: raise MemoryError"}, [3, 4, 5], "MemoryError"),
    "leaves": ({"step": f"if {BAD_RATE}: raise SystemExit(0)"}, [3, 4, 5], "SystemExit: 0"),
    "says Ctrl-C": ({"step": f"if {BAD_RATE}: raise KeyboardInterrupt"}, [3, 4, 5], "KeyboardInterrupt"),
    "ends a generator": ({"init": f"if {BAD_RATE}: raise GeneratorExit"}, [3, 4, 5], "GeneratorExit"),
    "cancels": (
        {"top": "import asyncio", "step": f"if {BAD_RATE}: raise asyncio.CancelledError('x')"},
        [3, 4, 5],
        "asyncio.exceptions.CancelledError: x",
    ),
    "an exception of the base kind": (
        {"top": "class Odd(BaseException): pass\n", "step": f"if {BAD_RATE}: raise Odd('x')"},
        [3, 4, 5],
        "optimlab_plugin_",
    ),
    "no end of calls": (
        {"step": f"if {BAD_RATE}: self.step(params, gradient, state)"},
        [3, 4, 5],
        "RecursionError",
    ),
    "an error that cannot be shown": (
        {"top": DUMB, "step": f"if {BAD_RATE}: raise Dumb"},
        [3, 4, 5],
        "",
    ),
}


@pytest.mark.parametrize("case", mostly_slow(RAISING, quick=4))
def test_a_run_that_raises_fails_alone(tmp_path, healthy, case):
    statements, failed, reason = RAISING[case]
    stack, whole = own(tmp_path, **statements)
    assert [run.run_id for run in stack.runs] == list(whole.run_ids)
    assert [run.status for run in stack.runs] == ["failed" if p in failed else "ok" for p in range(6)]
    for place, run in enumerate(stack.runs):
        if place in failed:
            assert re.fullmatch(rf"(own.py, line \d+, Own\.\w+: )?{re.escape(reason)}.*", run.reason)
            assert run.reason
            assert run.steps == 0
            assert np.isnan(list(run.final.values())).all()
            assert not (stack.traces["run"] == place).any()
        else:
            assert run.final == healthy.runs[place].final
            assert traces_of(stack, place) == traces_of(healthy, place)
    assert stack.traces["run"].dtype == np.int32
    assert {len(column) for column in stack.traces.values()} == {2 * (6 - len(failed))}


def test_a_run_of_one_seed_that_raises_fails_alone(tmp_path, healthy):
    """A starting point, which the seed alone decides, tells the plug-in which run it is in."""
    _, whole = own(tmp_path / "first")
    start = float(whole.problem.init([1001])[0][0, 0])
    statement = f"if np.any(params[:, 0] == np.float32({start!r})): raise ValueError('this seed')"
    stack, _ = own(tmp_path / "second", init=statement)
    assert [run.status for run in stack.runs] == ["ok", "ok", "failed"] * 2
    for place in (0, 1, 3, 4):
        assert traces_of(stack, place) == traces_of(healthy, place)


IN_FLOAT32 = "if params.dtype == 'float32': return {}"  # the plug-in is tried out in float64


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ({"gradient_point": IN_FLOAT32.format("params[:, :-1]")}, "got float32 (1, 669)"),
        ({"gradient_point": IN_FLOAT32.format("params[0]")}, "got float32 (670,)"),
        ({"gradient_point": "return params.astype(np.float64)"}, "got float64 (1, 670)"),
        ({"gradient_point": IN_FLOAT32.format("None")}, "got a NoneType"),
        ({"step": "params -= np.ones((len(params), 3))"}, "own.py, line 19, Own.step: ValueError: "),
    ],
    ids=["too short", "no run axis", "other numbers", "nothing", "wrong update"],
)
def test_a_wrong_shape_fails(tmp_path, statements, reason):
    stack, _ = own(tmp_path, **statements)
    assert [run.status for run in stack.runs] == ["failed"] * 6
    assert all(reason in run.reason for run in stack.runs)


@pytest.mark.parametrize("value", ["np.nan", "np.inf"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_plugin_that_writes_nan_diverges(tmp_path, value, step):
    """Three batches of 400 images, recorded each epoch: the loss after the bad step tells."""
    stack, _ = own(
        tmp_path,
        problem="hidden = []\nbatch_norm = false\nbatch_size = 400",
        step=f"if state['steps'] == {step}: params[self.learning_rate[:, 0] > 0.2] = {value}",
    )
    assert [run.status for run in stack.runs] == ["ok"] * 3 + ["diverged"] * 3
    noticed = min(step + 1, 3)
    for run in stack.runs[3:]:
        assert run.steps == noticed - 1
        assert run.reason == f"the loss or a parameter was not finite after step {noticed}"
        assert np.isnan(list(run.final.values())).all()
    last = np.isin(stack.traces["run"], [3, 4, 5]) & (stack.traces["step"] == 3)
    assert np.isnan(stack.traces["train_loss"][last]).all()


def test_a_huge_learning_rate_diverges(tmp_path):
    text = document(
        top="learning_rates = [0.1, 1e30]\n",
        problem='batch_norm = false\nhidden = [{ units = 8, activation = "relu" }]\nbatch_size = 100',
    )
    stack, _ = finished(tmp_path, text)
    assert [run.status for run in stack.runs] == ["ok"] * 3 + ["diverged"] * 3
    assert all(0 <= run.steps < 12 for run in stack.runs[3:])


def test_a_run_that_does_not_move_is_stuck(tmp_path):
    stack, whole = own(
        tmp_path, step="params += self.learning_rate * gradient * (self.learning_rate < 0.2)"
    )
    assert [run.status for run in stack.runs] == ["stuck"] * 3 + ["ok"] * 3
    limit = whole.problem.stuck_loss
    assert limit == pytest.approx(np.log(10), rel=0.02)
    for run in stack.runs[:3]:
        assert run.steps == 2
        assert run.final["train_loss"] >= limit
        assert run.reason == f"the final training loss is no better than guessing ({limit:.4g})"
    assert all(run.final["train_loss"] < limit for run in stack.runs[3:])


def test_a_run_alone_is_the_run_in_its_stack(healthy, tmp_path):
    _, whole = own(tmp_path)
    for place in range(6):
        alone = train_stack(whole.only(place))
        assert alone.runs == [healthy.runs[place]]
        assert traces_of(alone, 0) == traces_of(healthy, place)


def test_training_leaves_the_number_of_threads_as_it_was(tmp_path):
    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    own(tmp_path, init="raise ValueError")
    assert [pool["num_threads"] for pool in threadpool_info()][: len(before)] == before


NOT_IN_PLACE = {
    "a new array under the old name": "params = params - self.learning_rate * gradient",
    "a new array returned": "return params - self.learning_rate * gradient",
    "a copy": "new = params.copy(); new -= self.learning_rate * gradient",
    "the state alone": "state['w'] = state.get('w', 0) - self.learning_rate * gradient",
    "nothing": "pass",
}


def with_step(step, init="pass"):
    return plugin(init=init).replace("params -= self.learning_rate * gradient", step)


@pytest.mark.parametrize("case", NOT_IN_PLACE)
def test_a_step_that_is_not_in_place_fails(tmp_path, case):
    source = with_step(NOT_IN_PLACE[case])
    stack, _ = finished(tmp_path, document(optimizers=OWN), own=source)
    assert [run.status for run in stack.runs] == ["failed"] * 6
    assert {run.reason for run in stack.runs} == {
        "TypeError: step must change params in place: params -= update, not params = params - update"
    }


NO_MOVE = {
    "a gradient of zero": "params -= self.learning_rate * gradient * 0",
    "steps lost in rounding": "params -= 1e-30 * self.learning_rate * gradient",
    "at every fifth step": "if state['steps'] % 5 == 0: params -= 0 * gradient",
    "to no parameter": "params[np.abs(gradient) > 1e9] -= 1",
    "behind numpy's back": "import ctypes; address = ctypes.c_double if params.dtype == float else "
    "ctypes.c_float; memory = address.from_address(params.ctypes.data); memory.value -= 1e-30",
}


@pytest.mark.parametrize("case", NO_MOVE)
def test_a_step_in_place_that_moves_nothing_is_stuck(tmp_path, case):
    stack, _ = finished(tmp_path, document(optimizers=OWN), own=with_step(NO_MOVE[case]))
    assert [run.status for run in stack.runs] == ["stuck"] * 6


def test_a_rule_that_waits_has_moved_in_the_end(tmp_path):
    late = "if state['steps'] > 1: params -= self.learning_rate * gradient"
    stack, _ = finished(tmp_path, document(optimizers=OWN), own=with_step(late))
    assert [run.status for run in stack.runs] == ["ok"] * 6
