"""Checkpoints: a long run that is killed resumes, with the bits of an uninterrupted one."""

import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sweeping import OWN, call, document, plugin, run, tiny, wait_for

from optimlab.execution import checkpoint
from optimlab.execution.checkpoint import Checkpoints, dumps, loads
from optimlab.execution.stack import train_stack
from optimlab.execution.sweep import stacks
from optimlab.optimizers import RULES, SGD, WRAPPERS
from optimlab.problems import Landscape
from optimlab.storage.manifest import describe
from optimlab.storage.store import Store
from optimlab.training import Moment, train

ONE = document(seeds="tuning = 0\nreporting = 1", top="learning_rates = [0.1]")


def one_stack(folder, text=ONE, **plugins):
    """Return the stack of one run of an experiment."""
    experiment = tiny(folder, text, **plugins)
    (stack,) = stacks(experiment, list(experiment.runs()), 1)
    return stack


def bits(finished):
    return [repr(finished.runs), *(column.tobytes() for column in finished.traces.values())]


class At:
    """Keeps the moment of one step, as bytes; and begins at a moment."""

    def __init__(self, step=None, begin=None):
        self.step, self.begin, self.content = step, begin, None

    def found(self):
        return self.begin

    def keep(self, moment):
        if moment.step == self.step:
            self.content = dumps(moment)


def recorded(problem, rule, keeper, steps=7):
    found = train(problem, rule, [3, 4], range(1, steps + 1), [0], keeper=keeper)
    values = [*found.metrics.values(), found.params, found.kept_params, found.diverged_at]
    return [value.tobytes() for value in values]


NAMES = [*RULES, *(f"{name}(Adam)" for name in WRAPPERS)]


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_resumes_with_the_same_bits(name):
    from optimlab.experiment.registry import load_rule

    rate = np.array([[0.01], [0.1]])
    make = load_rule(name, Path())
    keeper = At(step=3)
    whole = recorded(Landscape(function="ravine"), make(learning_rate=rate), keeper)
    again = At(begin=loads(keeper.content))
    assert recorded(Landscape(function="ravine"), make(learning_rate=rate), again) == whole


class One:
    """Gives each run the same keeper."""

    def __init__(self, keeper):
        self.keeper = keeper

    def of(self, run_id, rule):
        return self.keeper


NETWORK = ONE.replace("epochs = 1", "steps = 7\nrecord_every = 1")
WINE = NETWORK.replace(
    'name = "digits"\nhidden = []\nbatch_size = 600',
    """data = "wine"
hidden = [{ units = 4, activation = "relu" }, { layer = "dropout", rate = 0.5 }]""",
)
SETTINGS = {
    "batch normalization": NETWORK.replace("[]", '[{ units = 4, activation = "relu" }]'),
    "dropout": WINE,
    "a schedule": NETWORK + 'schedule = { name = "cosine", warmup = 0.3 }\n',
    "weight decay and clipping": NETWORK + "weight_decay = 0.1\nclip_norm = 0.5\n",
    "a plug-in": NETWORK.replace("[optimizers.SGD]", OWN),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_any_kind_of_run_resumes_with_the_same_bits(tmp_path, case):
    stack, keeper = one_stack(tmp_path, SETTINGS[case], own=plugin()), At(step=4)
    whole = bits(train_stack(replace(stack, keepers=One(keeper))))
    seen = []
    again = replace(stack, keepers=One(At(begin=loads(keeper.content))))
    assert bits(train_stack(again, lambda stack, step: seen.append(step))) == whole
    assert seen[1] == 5


def test_a_diverged_run_resumes_with_the_same_bits():
    keeper = At(step=5)
    problem, rate = Landscape(function="rosenbrock"), 1e6
    whole = recorded(problem, SGD(learning_rate=rate), keeper)
    assert recorded(problem, SGD(learning_rate=rate), At(begin=loads(keeper.content))) == whole


def resumed(folder, stack):
    """Train a stack with its checkpoint, if it has one; return the result and the first step taken."""
    seen = []
    keeping = replace(stack, keepers=Checkpoints(folder))
    done = train_stack(keeping, lambda stack, step: seen.append(step))
    return done, seen[1]


KILLED = """
import sys; sys.path[:0] = {path!r}
from dataclasses import replace
from pathlib import Path
from test_checkpoint import one_stack, LONG
from optimlab.execution.checkpoint import Checkpoints
from optimlab.execution.stack import train_stack
folder = Path({folder!r})
stack = replace(one_stack(folder, LONG), keepers=Checkpoints(folder / "results/tiny", seconds=0.0))
train_stack(stack)
"""
LONG = ONE.replace("epochs = 1", "steps = 4000\nrecord_every = 50").replace(
    'name = "digits"\nhidden = []\nbatch_size = 600', 'name = "landscape"\nfunction = "ravine"'
)


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path):
    """The kill comes at any moment, in the middle of a file perhaps; and twice."""
    stack = one_stack(tmp_path, LONG)
    whole, begun_at = bits(train_stack(stack)), [0]
    code = KILLED.format(path=[str(Path(__file__).parent), *sys.path], folder=str(tmp_path))
    files = tmp_path / "results/tiny/checkpoints"
    for _ in range(2):
        before = set(files.glob("*.checkpoint"))
        process = subprocess.Popen([sys.executable, "-c", code])
        wait_for(lambda seen=before: not set(files.glob("*.checkpoint")) <= seen, "a checkpoint")
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        again, first = resumed(tmp_path / "results/tiny", stack)
        assert bits(again) == whole
        begun_at.append(first)
    assert 1 < begun_at[1] < begun_at[2]
    Checkpoints(tmp_path / "results/tiny").delete(lambda run_id: True)
    assert not files.exists()


def keeping(folder, stack, seconds=0.0):
    """Train a stack with checkpoints, stopped at its third step; return the files."""

    def follow(stack, step):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stack(replace(stack, keepers=Checkpoints(folder, seconds)), follow, Exception)
    return sorted((folder / "checkpoints").glob("*"))


def mark(experiment, folder):
    """Write the tables of a sweep without runs."""
    store = Store(folder)
    with store.held():
        store.write_tables(describe(experiment, folder))


@pytest.fixture
def kept(tmp_path):
    """A stack, the folder of its results, and its checkpoint."""
    stack = one_stack(tmp_path, LONG.replace("4000", "6").replace("50", "1"))
    (file,) = keeping(tmp_path / "tiny", stack)
    return stack, tmp_path / "tiny", file


def test_there_is_one_checkpoint_and_the_run_begins_there(kept):
    stack, folder, _ = kept
    assert resumed(folder, stack)[1] == 2
    assert resumed(folder, replace(stack, run_ids=("0" * 16,)))[1] == 1


def test_other_kernels_do_not_go_on(kept, monkeypatch):
    stack, folder, _ = kept
    monkeypatch.setattr(checkpoint, "computing", lambda: {"blas": "another"})
    assert resumed(folder, stack)[1] == 1


@pytest.mark.parametrize("how", ["cut", "edited", "link"])
def test_a_damaged_checkpoint_is_not_used(kept, how):
    stack, folder, file = kept
    content = file.read_bytes()
    if how == "link":
        file.rename(folder / "elsewhere")
        file.symlink_to(folder / "elsewhere")
    else:
        file.write_bytes(content[:-1] if how == "cut" else content[:-9] + b"x" + content[-8:])
    assert resumed(folder, stack)[1] == 1


class Evil:
    def __reduce__(self):
        return print, ("owned",)


def test_a_foreign_checkpoint_is_not_run(capsys):
    for value in (Evil(), subprocess.run, Path("x"), np.array([Evil()], dtype=object)):
        with pytest.raises(ValueError, match=r"which is not restored"):
            loads(pickle.dumps({"step": 1, "state": value}))
    assert capsys.readouterr().out == ""
    for content in (b"", b"nonsense", pickle.dumps([1]), pickle.dumps({"step": 1})):
        with pytest.raises(ValueError):  # noqa: PT011 - of pickle's own
            loads(content)


@dataclass
class Other:
    x: int = 0


STATES = {
    "a lambda": (lambda: {"f": lambda: 0}, "cannot be pickled"),
    "an own class": (Other, "holds a test_checkpoint.Other, which is not restored"),
    "a view": (lambda: (lambda a: {"a": a, "b": a[2:]})(np.zeros(5)), "share their memory"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_would_come_back_as_another_is_refused(case):
    make, told = STATES[case]
    with pytest.raises(ValueError, match=told):
        dumps(Moment(1, np.zeros(3), None, make(), {}))


def test_views_of_something_else_one_array_twice_and_generators_come_back():
    array, rng = np.arange(6.0), np.random.default_rng(3)
    rng.random(5)
    state = {"one": array, "two": array, "row": np.zeros((2, 3))[0], "rng": rng, "n": np.float32(2)}
    back = loads(dumps(Moment(4, np.zeros((1, 2)), None, state, {}))).state
    assert back["one"] is back["two"]
    assert (back["one"] == array).all()
    assert back["rng"].random() == rng.random()


CHANGING = plugin(init="self.count = 0", step="self.count += 1", top="")


def test_a_rule_that_changes_itself_has_no_checkpoint_and_one_warning(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoint, "_reported", set())
    stack = one_stack(tmp_path, ONE.replace("[optimizers.SGD]", OWN), own=CHANGING)
    for _ in range(2):
        train_stack(replace(stack, keepers=Checkpoints(tmp_path / "tiny", 0.0)))
    assert not (tmp_path / "tiny/checkpoints").exists()
    told = "long runs have no checkpoint, and start over after a kill: the rule changes itself"
    assert capsys.readouterr().err.count(told) == 1


def test_a_disk_that_is_full_fails_no_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoint, "_reported", set())
    stack = one_stack(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/checkpoints").write_text("no folder can be here")
    done = train_stack(replace(stack, keepers=Checkpoints(tmp_path / "tiny", 0.0)))
    assert done.runs[0].status == "ok"
    assert "long runs have no checkpoint" in capsys.readouterr().err


def test_a_sweep_uses_checkpoints_and_deletes_those_of_finished_runs(tmp_path, monkeypatch):
    experiment = tiny(tmp_path, LONG.replace("4000", "6").replace("50", "1"))
    (stack,) = stacks(experiment, list(experiment.runs()), 1)
    folder = tmp_path / "results/tiny"
    mark(experiment, folder)
    keeping(folder, stack)
    begun = []
    found = checkpoint.Checkpoint.found
    monkeypatch.setattr(
        checkpoint.Checkpoint, "found", lambda self: begun.append(found(self)) or begun[-1]
    )
    outcome = run(experiment, tmp_path / "results", workers=None)
    assert outcome.statuses == {"ok": 1}
    assert [moment.step for moment in begun] == [1]
    assert not (folder / "checkpoints").exists()


def test_prune_deletes_checkpoints_of_other_code(tmp_path):
    experiment = tiny(tmp_path, LONG.replace("4000", "6").replace("50", "1"))
    (stack,) = stacks(experiment, list(experiment.runs()), 1)
    mark(experiment, tmp_path / "tiny")
    (tmp_path / "tiny/parts").mkdir()
    (file,) = keeping(tmp_path / "tiny", stack)
    other = file.with_name("0" * 16 + file.name[16:])
    other.write_bytes(file.read_bytes())
    done = call("prune", tmp_path / "tiny.toml", "--results", tmp_path)
    assert (done.exit_code, done.output.splitlines()[1]) == (0, "Deleted 1 checkpoints.")
    assert (other.exists(), file.exists()) == (False, True)
