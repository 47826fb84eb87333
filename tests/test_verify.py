"""Verify: equal bits pass; a single different one, in any number, is found and named."""

from dataclasses import replace

import numpy as np
import pytest
from sweeping import call, document, run, tiny
from test_cli import text_of

import optimlab.execution.verify as module
from optimlab.errors import UserError
from optimlab.execution.verify import verify
from optimlab.experiment.spec import Experiment
from optimlab.files import HeldError
from optimlab.storage.environment import environment
from optimlab.storage.store import Store

TEXT = document(optimizers="[optimizers.SGD]\n[optimizers.Adam]\n")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    experiment = tiny(folder, TEXT)
    run(experiment, folder / "results")
    return experiment, folder / "results"


def test_an_honest_store_passes(stored):
    verdict = verify(*stored, runs=100, seed=0, jobs=1)
    assert (verdict.runs, verdict.stored, verdict.differences, verdict.changes) == (12, 12, [], {})
    assert verdict.tables == []


@pytest.mark.parametrize("runs", [1, 5])
def test_a_sample_is_as_large_as_asked_and_another_seed_takes_others(stored, monkeypatch, runs):
    seen = []
    monkeypatch.setattr(module, "stacks", lambda experiment, sample, jobs: seen.append(sample) or [])
    for seed in (0, 0, 1, 2, 3):
        with pytest.raises(KeyError):  # nothing was trained
            verify(*stored, runs=runs, seed=seed, jobs=1)
    assert {len(set(sample)) for sample in seen} == {runs}
    assert seen[0] == seen[1]
    assert len({tuple(sample) for sample in seen}) > 1


def up(value):
    return float(np.nextafter(value, np.inf))


def last_bit_of_a_trace(stack):
    stack.traces["update_norm"][3] = up(stack.traces["update_norm"][3])
    return stack


def last_bit_of_a_final(stack):
    first = stack.runs[0]
    stack.runs[0] = replace(first, final=first.final | {"test_loss": up(first.final["test_loss"])})
    return stack


def sign_of_zero(stack):
    stack.traces["epoch"][0] = -0.0
    return stack


def status(stack):
    stack.runs[0] = replace(stack.runs[0], status="stuck")
    return stack


def fewer_records(stack):
    return replace(stack, traces={name: column[1:] for name, column in stack.traces.items()})


CHANGES = {
    last_bit_of_a_trace: "seed 1000: update_norm at step 2 was 0.",
    last_bit_of_a_final: "seed 0: final_test_loss was 1.",
    sign_of_zero: "seed 0: epoch at step 0 was 0.0 and is -0.0",
    status: "seed 0: status was ok and is stuck",
    fewer_records: "seed 0: the number of records was 2 and is 1",
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_bit_that_differs_is_found(stored, monkeypatch, change):
    trained = module.trained

    def changed(stacks, jobs):
        first, *others = trained(stacks, jobs)
        return [change(first), *others]

    monkeypatch.setattr(module, "trained", changed)
    [difference] = verify(*stored, runs=100, seed=0, jobs=1).differences
    assert difference.startswith("SGD, learning rate 0.1, ")
    assert CHANGES[change] in difference


def test_while_a_sweep_writes_verify_refuses_and_writes_nothing(stored, tmp_path):
    experiment, results = stored
    with Store(results / experiment.name).held(), pytest.raises(HeldError, match="is writing here"):
        verify(experiment, results, 1, 0, 1)
    with pytest.raises(UserError, match="sweep first"):
        verify(experiment, tmp_path / "none", 1, 0, 1)
    assert not list(tmp_path.iterdir())


def test_pruned_results_pass(tmp_path):
    results = tmp_path / "results"
    run(tiny(tmp_path, document(training="epochs = 2")), results)
    experiment = tiny(tmp_path, document())
    run(experiment, results)
    with Store(results / "tiny").held():
        assert Store(results / "tiny").prune(experiment)
    verdict = verify(experiment, results, runs=1, seed=0, jobs=1)
    assert (verdict.differences, verdict.tables) == ([], [])


def test_an_empty_store_is_reported(stored, tmp_path):
    with pytest.raises(UserError, match=r"holds no run of .*; sweep first"):
        verify(stored[0], tmp_path, runs=1, seed=0, jobs=1)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text_of(tmp_path, TEXT)
    assert call("verify", "tiny").exit_code == 2
    call("sweep", "tiny", "--jobs", 1)
    done = call("verify", "tiny", "--jobs", 1, "--runs", 5, "--seed", 7)
    assert done.exit_code == 0
    assert done.output == "5 of 12 runs trained again (--seed 7): every bit is the same.\n"
    # Other code under the same identities, and another machine: what must not happen, and is found.
    code = Experiment.codes.func
    with monkeypatch.context() as patch:
        patch.setattr("optimlab.training.norms", lambda values: np.ones(len(values)))
        patch.setattr(module, "environment", lambda packages: environment() | {"cpu": "another"})
        patch.setattr(Experiment, "codes", property(code))
        done = call("verify", "tiny", "--jobs", 1, "--seed", 0)
    assert done.exit_code == 1
    assert done.output.startswith("12 of 12 runs trained again (--seed 0): 12 differ.\n")
    assert "  SGD, learning rate 0.1, seed 0: gradient_norm at step 2 was " in done.output
    assert "and 2 other numbers" in done.output
    assert "tables" not in done.output
    assert " and is another\n" in done.output
