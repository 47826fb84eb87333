"""Plug-ins: the examples of docs/extending.md run as written, and faults are reported."""
# ruff: noqa: E501 - a case stands on one line

import copy
import io
import os
import re
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sweeping import EXPERIMENTS, load, mistakes_of, mostly_slow, run, silent, write
from test_charts import without_pictures

from optimlab.execution.plan import plan
from optimlab.execution.sweep import stacks, sweep
from optimlab.listing import print_state, state_of
from optimlab.optimizers import Adam
from optimlab.problems.own import OwnLoss, layer_of
from optimlab.report.block import Block
from optimlab.report.blocks.own import block_pool, own_blocks
from optimlab.report.page import write_report
from optimlab.report.report import report_of
from optimlab.storage.results import read_tables
from optimlab.training import train

PAGE = Path(__file__).parents[1] / "docs/extending.md"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def written(folder, text=None, **files):
    """Write the files of the page to a folder, some of them replaced; return the experiment's file."""
    sources = {re.match(r"# (\w+)\.py", block)[1]: block for block in blocks("python")}
    return write(folder, text or blocks("toml")[0], **(sources | files))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    run(load(written(folder)), folder / "results")
    return folder


@pytest.mark.slow
def test_the_page_works_as_it_is_written(swept, monkeypatch):
    without_pictures(monkeypatch)
    experiment = load(written(swept))
    (setting,) = experiment.problems
    assert setting.label == "spiral"
    assert setting.settings["loss"] == {"name": "focal.py:Focused", "settings": {}}
    names = [name for name in setting.problem.layout.shapes if "gamma" in name]
    assert names == ["layer2.gamma"]
    stack = next(stacks(experiment, list(experiment.runs()), 1))
    assert b"optimlab_plugin" not in cloudpickle.dumps(stack)  # it travels by name
    runs = pd.read_csv(swept / "results/tiny/runs.csv")
    assert set(runs["status"]) <= {"ok", "stuck"}
    assert runs["final_test_accuracy"].notna().all()
    traces = pd.read_parquet(swept / "results/tiny/traces.parquet")
    for part in ("train", "validation", "test"):
        assert traces[f"{part}_confidence"].between(0.5, 1).all()
    page = write_report(swept / "results").read_text(encoding="utf-8")
    assert "<h3>Luckiest and unluckiest run</h3>" in page
    assert f'<td role="cell" data-label="Lowest">{runs["final_train_loss"].min():.3g}</td>' in page
    assert "training confidence" in str(report_of(read_tables(swept / "results/tiny")))


@pytest.mark.parametrize("file", mostly_slow(["spiral", "focal", "scale", "sure"]))
def test_a_change_of_any_of_them_means_new_runs(tmp_path, file):
    def identities(**files):
        return {cell.identity for cell in load(written(tmp_path, **files)).cells()}

    block = next(block for block in blocks("python") if block.startswith(f"# {file}.py"))
    before = identities()
    assert identities() == before
    assert not identities(**{file: f"{block}\n# changed"}) & before


PROBLEM = """
import numpy as np


class Bowl:
    def __init__(self, width=2):
        self.width = width

    def init(self, seeds):
        return np.array([np.random.default_rng(seed).normal(size=self.width) for seed in seeds]), None

    def batches(self, seeds):
        while True:
            yield None

    def loss_and_gradient(self, params, batch, model):
        return {loss}, 2 * params

    def evaluate(self, params, model):
        return {{"train_loss": (params**2).sum(axis=1)}}
"""
OWN = """
title = "t"
learning_rates = [0.1]
[problem]
name = "bowl.py:Bowl"
{}
[training]
steps = 5
[seeds]
tuning = 1
reporting = 2
[optimizers.SGD]
"""
GOOD = PROBLEM.format(loss="(params**2).sum(axis=1)")


def test_a_user_defined_problem_needs_four_methods(tmp_path):
    experiment = load(write(tmp_path, OWN.format("width = 5"), bowl=GOOD))
    (setting,) = experiment.problems
    assert (setting.label, setting.problem.size) == ("Bowl", 5)
    assert setting.settings == {"name": "bowl.py:Bowl", "settings": {"width": 5}}
    run(experiment, tmp_path)
    runs = pd.read_csv(tmp_path / "tiny/runs.csv")
    assert set(runs["status"]) == {"ok"}
    assert set(runs["problem"]) == {"Bowl"}


@pytest.mark.parametrize(
    ("settings", "source", "message"),
    [
        ("", PROBLEM.format(loss="(params**2).sum(axis=1) * len(params)"), "mixes the runs of a stack"),
        ("", PROBLEM.format(loss="(params**2).sum()"), "the loss must be an array (3,) of numbers, got"),
        ("", GOOD.replace("def batches", "def bunches"), "bowl.py:Bowl lacks the method batches"),
        ("", GOOD.replace("train_loss", "loss"), "evaluate must return a dictionary with a train_loss"),
        (
            "",
            GOOD.replace("class Bowl", "class Ball"),
            'there is no class or function "Bowl" in bowl.py',
        ),
        ("", "import nothing_of_the_kind", "bowl.py cannot be loaded: ModuleNotFoundError"),
        ("widht = 3", GOOD, "TypeError: Bowl.__init__() got an unexpected keyword argument 'widht'"),
    ],
)
def test_a_fault_of_a_user_defined_problem_is_a_mistake(tmp_path, settings, source, message):
    (found,) = mistakes_of(write(tmp_path, OWN.format(settings), bowl=source))
    assert found.startswith("problem.name: ")
    assert message in found


def test_a_change_of_a_block_of_the_page_means_no_new_run(tmp_path):
    def identities(**files):
        return [cell.identity for cell in load(written(tmp_path, **files)).cells()]

    assert identities() == identities(words="def extremes(runs, traces, experiment): return None")


@pytest.fixture(scope="module")
def block_workers():
    with block_pool() as pool:
        yield pool


def lost(*case):
    """Return a case whose worker is lost: another takes a second or two to start."""
    return pytest.param(*case, marks=pytest.mark.slow)


HERE = f"import os\nif os.getpid() == {os.getpid()}: raise SystemExit('in the process of the command')\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("def extremes(runs, traces, experiment): 1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\ndef extremes(*tables): sys.exit(3)", "SystemExit: 3"),
        lost("import os\ndef extremes(*tables): os._exit(0)", "it ends or crashes its process"),
        lost(
            "import os; os.kill(os.getpid(), 11)\ndef extremes(): ...", "it ends or crashes its process"
        ),
        lost(
            "def extremes(*tables):\n    while True: ...", "it takes longer than 0.5 s; perhaps it never"
        ),
        ("def extremes(*tables): return 'text'", "it must give a Block or None, and gives a str"),
        ("import nothing_of_the_kind\ndef extremes(*tables): ...", "words.py cannot be loaded"),
        ("def extremes(runs): ...", "TypeError: extremes() takes 1 positional argument"),
        ("BLOCK('h', 'text')", "paragraphs of its Block must be a list, and is a text"),
        ("BLOCK('h', 5)", "TypeError: 'int' object is not iterable"),
        (
            "BLOCK('h', [], 'c', ['a', 'b'], [['1']])",
            "the table of its Block has 2 columns, and a row of 1 cells",
        ),
        ("BLOCK('h', [], figures=['f.png'])", "each of its figures must be made by static_figure"),
    ],
)
def test_the_page_is_without_a_block_that_cannot_be_made(swept, capsys, block_workers, words, message):
    tables = read_tables(swept / "results/tiny")
    block = "from optimlab.report.block import Block\ndef extremes(*tables): return Block"
    written(swept, words=HERE + words.replace("BLOCK", block))
    seconds = 0.5 if "while" in words else 60
    assert own_blocks(tables, block_workers, seconds) == []
    assert f"tiny: the page is without words.py:extremes: {message}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_lost_block_leaves_the_others(swept, capsys, block_workers):
    tables = read_tables(swept / "results/tiny")
    names = ["lost.py:lost", "words.py:extremes"]
    written(swept, lost="import os\ndef lost(*tables): os._exit(0)")
    tables = replace(tables, experiment=tables.experiment | {"report": names})
    (block,) = own_blocks(tables, block_workers)
    assert block.heading == "Luckiest and unluckiest run"
    assert "without lost.py:lost: it ends or crashes its process" in capsys.readouterr().err


def test_text_and_numbers_of_user_defined_classes_are_shown(swept, block_workers):
    words = """from optimlab.report.block import Block
class Text(str): ...
def extremes(*tables): return Block(Text("head"), [Text("word")], "", ("a",), ((1.5,),))
"""
    tables = read_tables(swept / "results/tiny")
    written(swept, words=HERE + words)
    assert own_blocks(tables, block_workers) == [Block("head", ["word"], "", ["a"], [["1.5"]], [])]


def test_a_block_whose_file_is_gone_or_among_the_results_is_not_run(swept, tmp_path, capsys):
    written(swept)
    tables = read_tables(swept / "results/tiny")
    for file, message in (
        ("../../nowhere.toml", "the experiment file no longer exists"),
        ("tiny.toml", "code among results is not run"),
    ):
        written(swept / "results/tiny")
        assert own_blocks(replace(tables, experiment=tables.experiment | {"file": file})) == []
        assert message in capsys.readouterr().err


LOST = {
    "spiral": "import os\ndef spiral(): os._exit(0)",
    "focal": "import os; os.kill(os.getpid(), 11)",
    "sure": "import os\ndef confidence(*a): os.abort()",
}


@pytest.mark.parametrize("file", mostly_slow(LOST, quick=0))
def test_code_that_is_lost_with_its_process_is_a_mistake(tmp_path, file):
    (found,) = mistakes_of(written(tmp_path, **{file: LOST[file]}))
    names = "spiral.py:spiral, focal.py:Focused, sure.py:confidence and scale.py:Scale"
    text = "ends or crashes its process when it is loaded or tried out"
    assert found == f"problem: one of {names} {text}"


@pytest.mark.slow
def test_a_problem_that_is_lost_with_its_process_is_a_mistake(tmp_path):
    source = GOOD.replace("        while True:", "        import os; os._exit(0)\n        while True:")
    (found,) = mistakes_of(write(tmp_path, OWN.format(""), bowl=source))
    assert found.startswith("problem: bowl.py:Bowl ends or crashes its process")


def test_a_seed_whose_split_leaves_a_class_out_is_a_mistake(tmp_path):
    block = next(block for block in blocks("python") if block.startswith("# spiral.py"))
    rare = block.replace("np.arange(120) % 2", "(np.arange(120) < 2).astype(int)")
    split = 'split = { by = "random", resample = true }'
    text = blocks("toml")[0].replace("[problem]", f"[problem]\n{split}")
    text = text.replace("reporting = 2", "reporting = 60")
    (found,) = mistakes_of(written(tmp_path, text, spiral=rare))
    assert re.fullmatch(r"problem\.split: of seed \d+: leaves no row of outer for training; .+", found)
    assert load(written(tmp_path, text.replace("random", "stratified"), spiral=rare))


@pytest.mark.slow
def test_data_that_never_end_are_a_mistake(tmp_path):
    endless = "def spiral():\n    while True: pass"
    (found,) = mistakes_of(written(tmp_path, spiral=endless), seconds=2)
    assert "takes more than 2 s of processor time, or 600 s in all, to be loaded" in found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds]), None", "seeds])", "init must return params and model, got float64 (3, 2)"),
        ("seeds]), None", "seeds]).tolist(), None", "must be an array (3, 2) of float64, got a list"),
        ("seeds]), None", "seeds]).astype('f'), None", "of float64, got float32 (3, 2)"),
        ("seeds]), None", "seeds]) / 0, None", "init must return finite params"),
        ("size=self.width", "size=0", "init must return params (R, P), one row per seed"),
        ("while True", "if True", "batches must be endless, but ends before step 2"),
        ("2 * params", "2 * params[:, :1]", "the gradient must be an array (3, 2) of numbers"),
        ("2 * params", "(2 * params).tolist()", "the gradient must be an array (3, 2) of numbers"),
        ("return (params**2).sum(axis=1), 2 * params", "return 2 * params", "must return loss and gradient, got"),
        ("2 * params", "params / 0", "the loss and the gradient must be finite at the start"),
        ("return (params**2)", "params /= 2\n        return (params**2)", "must leave params as they are"),
        ('return {"train', 'params /= 2\n        return {"train', "must leave params as they are"),
        ("(params**2).sum(axis=1)}", "1.0}", "train_loss must be an array (3,) of numbers, got a float"),
        ("(params**2).sum(axis=1)}", "1j * params[:, 0]}", "of numbers, got complex128 (3,)"),
        ('{"train_loss"', '{"mine": params[:, 0], "train_loss"', "extra_metrics names: mine"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = ['mine']", "extra_metrics names: mine"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = 'mine'", "must be a list of different names"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = ['step']", "step, which is already a column"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = ['a b']", "must be letters, digits and _"),
        ("class Bowl:", "class Bowl:\n    dtype = 'float16'", 'dtype must be "float32" or "float64"'),
        ("class Bowl:", "class Bowl:\n    steps_per_epoch = 0", "must be a whole number, 1 or more, got 0"),
        ("class Bowl:", "class Bowl:\n    stuck_loss = float('nan')", "stuck_loss must be a number, got nan"),
        ("class Bowl:", "class Bowl:\n    loss_unit = 3", "printable characters, got 3"),
        ("class Bowl:", "class Bowl:\n    loss_unit = 'a\\x1b[31m'", "up to 60 printable characters, got 'a\\x1b"),
        ("class Bowl:", "class Bowl:\n    baseline = 'x' * 5000", "baseline must be a text of up to 60 printable"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = ['x' * 5000]", "letters, digits and _, 60 at most"),
        ("seeds]), None", "seeds]).view(np.matrix), None", "float64, got a matrix of float64 (3, 2)"),
        ("(params**2).sum(axis=1)}", "np.ma.masked_less(params[:, 0], 0)}", "got a MaskedArray of float64 (3,)"),
        ('{"train_loss"', '{"validation_loss": params[:, 0] / 0, "train_loss"', "the losses of evaluate must be finite at"),
        ('{"train_loss"', '{"test_accuracy": 99 + 0 * params[:, 0], "train_loss"', "must be a share, from 0 to 1, got 99"),
        ("class Bowl:", "class Bowl:\n    def check(self): return 3", "check must return key → message"),
        ("class Bowl:", "class Bowl:\n    run_bytes = 'x'", "run_bytes must be a number of bytes, got 'x'"),
        ("class Bowl:", "class Bowl:\n    run_bytes = -1", "must be a number of bytes, got -1"),
        ("class Bowl:", "class Bowl:\n    run_bytes = 0.5", "must be a number of bytes, got 0.5"),
        ("class Bowl:", "class Bowl:\n    run_bytes = float('nan')", "must be a number of bytes, got nan"),
        ("class Bowl:", "class Bowl:\n    def run_bytes(self): return 1", "run_bytes must be a number of bytes, got <bound"),
        ("class Bowl:", "class Bowl:\n    run_bytes = True", "must be a number of bytes, got True"),
        ("class Bowl:", "class Bowl:\n    stuck_loss = 1j", "stuck_loss must be a number, got 1j"),
        ("class Bowl:", "class Bowl:\n    stuck_loss = -np.inf", "stuck_loss must be a number, got -inf"),
        ("class Bowl:", "class Bowl:\n    stuck_loss = 10**400", "stuck_loss must be a number, got 1000"),
        ("class Bowl:", "class Bowl:\n    extra_metrics = [['a']]", "a name in extra_metrics must be letters"),
        ("class Bowl:", "class Bowl:\n    dtype = np.zeros(2)", 'dtype must be "float32" or "float64", got array'),
        ("class Bowl:", "class Bowl:\n    layout = {'w': (2,)}", "must be an optimlab.nn.parameters.Layout of 2 parameters, got a dict"),
        ("class Bowl:", "class Bowl:\n    from optimlab.nn.parameters import Layout; layout = Layout({'w': (3,)})", "Layout of 2 parameters, got one of 3"),
        ("class Bowl:", "class Bowl:\n    summary = 'text'", "summary must be a method that returns text, got a str"),
        ("class Bowl:", "class Bowl:\n    check = {'width': 'wrong'}", "check must be a method, got a dict"),
        ("class Bowl:", "class Bowl:\n    def cautions(self): return 'careful'", "cautions must return key → message, got a str"),
        ("class Bowl:", "class Bowl:\n    stuck_loss = property(lambda self: self.widht)", "AttributeError: 'Bowl' object has no attribute 'widht'"),
        ("class Bowl:", "class Bowl:\n    run_bytes = property(lambda self: self.widht)", "AttributeError: 'Bowl' object has no attribute 'widht'"),
    ],
)  # fmt: skip
def test_a_problem_that_gives_something_else_is_a_mistake(tmp_path, old, new, message):
    assert old in GOOD
    (found,) = mistakes_of(write(tmp_path, OWN.format(""), bowl=GOOD.replace(old, new)))
    assert found.startswith("problem.name: ")
    assert message in found


@pytest.mark.slow
def test_batches_that_end_later_fail_the_runs(tmp_path):
    source = GOOD.replace("while True:", "for _ in range(4):")
    run(load(write(tmp_path, OWN.format(""), bowl=source)), tmp_path)
    runs = pd.read_csv(tmp_path / "tiny/runs.csv")
    reason = "batches must be endless, but ends after 4 steps"
    assert set(runs["reason"]) == {reason}


LATE = GOOD.replace("seeds]), None", "seeds]), [0]").replace(
    'return {"train', '{0}\n        return {"train'
)
LATE = LATE.replace("return (params**2)", "model[0] += 1\n        {1}\n        return (params**2)")


@pytest.mark.parametrize(
    ("evaluate", "slope", "reason"),
    [
        ("if model[0] > 3: params /= 2", "pass", "must leave params as they are"),
        ("pass", "if model[0] > 3: np.multiply(params, 0.9, out=params)", "must leave params as they are"),
        ("if model[0] > 3: return {'train_loss': 1.0}", "pass", "train_loss must be an array (1,) of numbers"),
        ("if model[0] > 3: return {'train_loss': params[:, 0], 'x': 1}", "pass", "extra_metrics names: x"),
        ("pass", "if model[0] > 3: return params[0, 0], params", "the loss must be an array (1,) of numbers"),
        ("pass", "if model[0] > 3: return None, params", "the loss must be an array (1,) of numbers, got a No"),
        ("pass", "if model[0] > 3: return params[:, 0], params[:, 0]", "the gradient must be an array (1, 2)"),
        ("pass", "if model[0] > 3: params = params - params.mean(axis=0)", "its optimizer or its problem mixes"),
    ],
)  # fmt: skip
def test_what_a_problem_does_wrong_at_a_late_step_fails_its_runs(tmp_path, evaluate, slope, reason):
    source = LATE.replace("{0}", evaluate).replace("{1}", slope)
    text = OWN.format("").replace("reporting = 2", "reporting = 7")
    assert run(load(write(tmp_path, text, bowl=source)), tmp_path).statuses == {"failed": 8}
    (told,) = set(pd.read_csv(tmp_path / "tiny/runs.csv")["reason"])
    assert reason in told


@pytest.mark.parametrize("end", ["np.nan", "np.inf", "-np.inf"])
def test_a_run_with_any_loss_that_is_not_finite_has_diverged(tmp_path, end):
    losses = (
        f"losses['validation_loss'] = np.where(seeded & (model[0] > 3), {end}, losses['train_loss'])"
    )
    text = f"seeded = params[:, 0] > 0; losses = {{'train_loss': (params**2).sum(axis=1)}}; {losses}"
    source = LATE.replace("{0}", f"{text}; return losses").replace("{1}", "pass")
    file = write(tmp_path, OWN.format("").replace("reporting = 2", "reporting = 7"), bowl=source)
    assert run(load(file), tmp_path).statuses == {"ok": 5, "diverged": 3}
    runs = pd.read_csv(tmp_path / "tiny/runs.csv")
    assert runs["final_validation_loss"].isna().equals(runs["status"] == "diverged")
    assert runs["final_train_loss"].isna().equals(runs["status"] == "diverged")


@pytest.mark.parametrize(("slope", "is_other"), [("2 * params", False), ("params", True)])
def test_a_gradient_that_is_not_that_of_the_loss_is_a_warning(tmp_path, capsys, slope, is_other):
    load(write(tmp_path, OWN.format(""), bowl=GOOD.replace("2 * params", slope)))
    text = "problem.name: bowl.py:Bowl: its gradient is not the gradient of its loss"
    assert (text in capsys.readouterr().err) == is_other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("layer", "loss", "key"),
    [
        ("return gradient * params[self.gamma][..., None]", "CrossEntropy", ""),
        ("return gradient", "CrossEntropy", "hidden: with scale.py:Scale"),
        ("return gradient * params[self.gamma][..., None]", "Focused", "loss: with focal.py:Focused"),
    ],
)
def test_a_layer_or_loss_with_another_gradient_is_a_warning(tmp_path, capsys, dtype, layer, loss, key):
    text = blocks("toml")[0].replace("[problem]", f'[problem]\ndtype = "{dtype}"')
    scale = next(block for block in blocks("python") if block.startswith("# scale.py"))
    if loss == "CrossEntropy":
        text = text.replace('loss = "focal.py:Focused"\n', "")
    else:
        text = text.replace(', { layer = "scale.py:Scale", start = 1.5 }', "")
    load(
        written(
            tmp_path, text, scale=scale.replace("return gradient * params[self.gamma][..., None]", layer)
        )
    )
    found = capsys.readouterr().err
    assert found.count(
        "the gradient is not the gradient of the loss: along a direction it gives"
    ) == bool(key)
    assert f"problem.{key}, the gradient" in found or not key


@pytest.mark.slow
def test_a_loss_may_be_negative(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    source = GOOD.replace("(params**2).sum(axis=1)", "(params**2).sum(axis=1) - 9")
    text = OWN.format("").replace("steps = 5", "steps = 5\nrecord_params = 1")
    run(load(write(tmp_path, text + "[optimizers.Adam]\n", bowl=source)), tmp_path / "results")
    assert read_tables(tmp_path / "results/tiny").surface.empty
    page = write_report(tmp_path / "results").read_text(encoding="utf-8")
    assert "−8." in page or "−9" in page


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("loss.astype(float), gradient.astype(float)", ""),
        ("loss, np.broadcast_to(gradient[:, :1], gradient.shape)", ""),  # read-only
        ("loss, gradient.tolist()", "the gradient of Focused.value_and_gradient must be an array (3, 2, 32) of numbers, got a list"),
        ("loss.mean(), gradient", "the loss of Focused.value_and_gradient must be an array (3,) of numbers, got a float32"),
        ("loss, gradient[:, 0]", "the gradient of Focused.value_and_gradient must be an array (3, 2, 32) of numbers, got float32 (3, 32)"),
        ("loss, gradient + 0j", "the gradient of Focused.value_and_gradient must be an array (3, 2, 32) of numbers, got complex64 (3, 2, 32)"),
        ("None", "Focused.value_and_gradient must return a loss and its gradient, got a NoneType"),
        ("loss\n\n    def metrics(self, *_): return []", "Focused.metrics must return a dictionary with a loss, got a list"),
        ("loss\n\n    def blind(self, _): return None", "Focused.blind must return a number, got a NoneType"),
    ],
)  # fmt: skip
def test_a_loss_may_calculate_in_float64_and_its_shapes_are_told(tmp_path, returned, message):
    block = next(block for block in blocks("python") if block.startswith("# focal.py"))
    old = "return loss, gradient * np.abs(gradient).max(axis=1, keepdims=True) * outputs.shape[-1]"
    assert old in block
    file = written(tmp_path, focal=block.replace(old, f"return {returned}"))
    if message:
        (found,) = mistakes_of(file)
        assert found == f"problem: {message}"
    else:
        assert load(file).problems[0].problem.dtype == "float32"


FORWARD, BACKWARD = "return x * params[self.gamma][..., None]", "return gradient * params[self.gamma]"
SLOPE = "gradients[self.gamma][...] = "


@pytest.mark.parametrize(
    ("old", "new", "message"),
    mostly_slow(
        [
            (FORWARD, "return (x * params[self.gamma][..., None])[:, 1:]", "what Scale.forward returns must be an array (3, 8, 72) of numbers, got float32 (3, 7, 72)"),
            (FORWARD, "return None", "what Scale.forward returns must be an array (3, 8, 72) of numbers, got a NoneType"),
            ("    def backward", "    def evaluate(self, params, x): return x + 0j\n\n    def backward", "what Scale.evaluate returns must be an array (3, 8, 72) of numbers, got complex64 (3, 8, 72)"),
            (BACKWARD, "return gradient[:1] * params[self.gamma][:1]", "what Scale.backward returns must be an array (3, 8, 32) of numbers, got float32 (1, 8, 32)"),
            (BACKWARD, "return [] and params[self.gamma]", "what Scale.backward returns must be an array (3, 8, 32) of numbers, got a list"),
            (SLOPE, "gradients[self.gamma] = ", "Scale.backward must write to gradients[…][...], and replaces gradients['layer2.gamma']"),
            (SLOPE, SLOPE + "gradient  # ", "scale.py, line 24, Scale.backward: ValueError: could not broadcast input array from shape (3,8,32) into shape (3,8)"),
            ("params[self.gamma][...] = ", "params[self.gamma] = ", "Scale.initialize must write to params[…][...], and replaces params['layer2.gamma']"),
            ("def begin", "def start", "Scale lacks begin"),
            ("self.shapes = {self.gamma: (features,)}", "self.shapes = {self.gamma: features}", "shapes of Scale must be a dictionary: name → shape, a tuple, got {'layer2.gamma': 8}"),
            ("self.outputs, self.start = name, features", "self.outputs, self.start = name, 8.0", "outputs of Scale must be 1 or more, got 8.0"),
            ('f"{name}.gamma"', '"dense1.bias"', 'two layers have an array "dense1.bias": begin its name with the layer\'s'),
        ],
        quick=3,
    ),
)  # fmt: skip
def test_what_a_layer_does_wrong_is_told_with_its_method(tmp_path, old, new, message):
    scale = next(block for block in blocks("python") if block.startswith("# scale.py"))
    assert old in scale
    (found,) = mistakes_of(written(tmp_path, scale=scale.replace(old, new)))
    assert found == f"problem: {message}"


@pytest.mark.parametrize("given", ["x", "np.broadcast_to(x, x.shape)", "x.astype(float)"])
def test_what_a_layer_returns_may_be_overwritten(given):
    """Built-in layers after it do so, and the layer before it may still need its own array."""

    class Same:
        name, shapes, outputs = "same", {}, 2
        initialize = begin = None

        def forward(self, params, x, state=None):
            return eval(given)

        def backward(self, params, gradients, gradient):
            return gradient

    x = np.ones((3, 2, 4), "f")
    y = layer_of(Same(), 2, x.dtype).forward({}, x)
    y *= 2
    assert (x == 1).all()
    assert y.dtype == x.dtype


def test_a_loss_from_scratch_lacks_what_it_does_not_define(tmp_path):
    source = "class Focused:\n    task = 'classification'\n    def value_and_gradient(self, outputs, targets): ..."
    (found,) = mistakes_of(written(tmp_path, focal=source))
    assert found == "problem.loss: Focused lacks link, unit, metrics and blind"


def test_a_problem_may_derive_from_the_protocol(tmp_path):
    """Its attributes without a value are those that a problem leaves out."""
    source = "from optimlab.problems.base import Problem\n" + GOOD.replace(
        "class Bowl", "class Bowl(Problem)"
    )
    (setting,) = load(write(tmp_path, OWN.format("width = 5"), bowl=source)).problems
    assert (setting.about.dtype, setting.about.steps_per_epoch, setting.about.loss_unit) == (
        "float64",
        1,
        "",
    )


def test_a_loss_that_mixes_rows_is_a_mistake(tmp_path):
    block = next(block for block in blocks("python") if block.startswith("# focal.py"))
    mixing = block.replace("return loss, gradient *", "return loss, gradient / len(loss) *")
    (found,) = mistakes_of(written(tmp_path, focal=mixing))
    assert found == "problem: it mixes the runs of a stack: alone, a run has other numbers"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("spiral.py:spiral", "spiral.py:sprial", 'problem.data: there is no class or function "sprial"'),
        ("focal.py:Focused", "fokal.py:Focused", "problem.loss: there is no file"),
        (
            "words.py:extremes",
            "words.py:extreme",
            'report[1]: there is no function "extreme" in words.py',
        ),
        ("words.py:extremes", "wrods.py:extremes", "report[1]: wrods.py cannot be read: No such file"),
        ("words.py:extremes", "extremes", 'report[1]: must be "file.py:function", got "extremes"'),
        ('["words.py:extremes"]', '"words.py:extremes"', "report: must be a list"),
        ("sure.py:confidence", "sure.py:confident", "problem.metrics[1]: there is no class or function"),
        ('"sure.py:confidence"', "3", 'problem.metrics[1]: must be "file.py:function", got 3'),
        ('["sure', '["sure.py:confidence", "sure', "problem.metrics[2]: there is a metric confidence"),
        ("sure.py:confidence", "spiral.py:spiral", "problem: TypeError: spiral() takes 0 positional"),
        ("scale.py:Scale", "scale.py:Skale", "problem.hidden[2]: there is no class or function"),
        ("start = 1.5", "begin = 1.5", "problem: TypeError: Scale.__init__() got an unexpected keyword"),
    ],
)
def test_a_fault_of_a_part_is_reported_with_its_key(tmp_path, old, new, message):
    (found,) = mistakes_of(written(tmp_path, blocks("toml")[0].replace(old, new)))
    assert found.startswith(message)


def test_the_seen_entries_of_the_shipped_factorization_determine_the_others():
    (setting,) = load(EXPERIMENTS / "factorization.toml").problems
    assert (setting.label, setting.problem.size) == ("Factorization", 72)
    known = train(setting.problem, Adam(learning_rate=0.1), [0], [200]).metrics
    assert known["train_loss"][-1] < 1e-6
    assert known["validation_loss"][-1] < 1e-6  # the entries that training sees determine the others


@pytest.mark.slow
def test_the_command_itself_runs_no_user_code(tmp_path):
    """Which may end its process the second time that it is loaded, although it was tried out."""
    sources = {re.match(r"# (\w+)\.py", block)[1]: HERE + block for block in blocks("python")}
    text = blocks("toml")[0].replace("epochs = 3", "epochs = 1\nrecord_params = 1")
    assert "record_params" in text
    own = load(written(tmp_path, text, **sources))
    problem = OWN.format("").replace("steps = 5", "steps = 5\nrecord_params = 1")
    for experiment in (own, load(write(tmp_path, problem, name="bowl", bowl=HERE + GOOD))):
        assert experiment.has_own_code
        sweep(experiment, tmp_path / "results", 1, silent())
        print_state(Console(file=io.StringIO()), state_of(experiment, tmp_path / "results"))
        plan(experiment, tmp_path / "results", 1, fresh=True)
        assert set(read_tables(tmp_path / "results" / experiment.name).runs["status"]) <= {"ok", "stuck"}


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda each: cloudpickle.loads(cloudpickle.dumps(each))]
)
def test_a_loss_of_your_own_can_be_copied_and_sent(copied):
    class Mine:
        task = "regression"

    again = copied(OwnLoss(Mine()))
    assert isinstance(again, OwnLoss)
    assert again.task == "regression"
    assert not hasattr(again, "link")
