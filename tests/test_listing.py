"""`list` and `show`: experiments, defaults, legal ranges and progress."""

import io
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from rich import filesize
from rich.console import Console
from sweeping import OWN, call, document, plugin, run, share_worker, tiny, write

from optimlab.experiment.changes import load_changed
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.read_problems import read_problem
from optimlab.experiment.registry import hyperparameters
from optimlab.listing import print_listing, print_state, state_of
from optimlab.optimizers import RANGES, RULES
from optimlab.problems import PROBLEMS
from optimlab.schedules import SCHEDULES, settings_of


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with an empty folder experiments/ in it, the current one."""
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)
    share_worker(monkeypatch)
    return tmp_path


def listed(width=200):
    file = io.StringIO()
    print_listing(Console(file=file, width=width))
    return file.getvalue()


def shown(name, results, width=200):
    file = io.StringIO()
    print_state(Console(file=file, width=width), state_of(load_changed(name, []), results))
    return file.getvalue()


def words(text):
    return [line.split() for line in text.splitlines()]


def test_experiments_are_listed_with_runs_and_title(here):
    write(here / "experiments", name="second")
    write(here / "experiments", document(seeds="tuning = 1000\nreporting = 1000"), name="first")
    lines = words(listed())
    assert lines.index(["first", "4,000", "Tiny"]) < lines.index(["second", "6", "Tiny"])


def test_every_hyperparameter_is_listed_with_default_and_range(here):
    text = listed()
    rows = words(text)
    for name, rule in RULES.items():
        start = next(place for place, row in enumerate(rows) if row[:1] == [name])
        for row, (parameter, default) in zip(rows[start:], hyperparameters(rule).items(), strict=False):
            expected = [parameter, f"{default:g}", *str(RANGES[parameter]).split()]
            assert row[-len(expected) :] == expected
    assert "[0, 1)" in text
    assert "(0, inf)" in text


@pytest.mark.slow
def test_every_schedule_is_listed_as_the_file_has_it(here):
    for name in SCHEDULES:
        (line,) = [each for each in listed().splitlines() if each.startswith(f"{name} ")]
        written = tomllib.loads(line.removeprefix(name).strip())["schedule"]
        assert written == settings_of(SCHEDULES[name]())


@pytest.mark.parametrize("width", [80, 200])
def test_the_settings_of_a_problem_are_listed_as_one_writes_them_in_the_file(here, width):
    text = listed(width).partition("settings and defaults")[2]
    assert max(map(len, text.splitlines())) <= width
    for name, problem in PROBLEMS.items():
        own = text.partition(f"\n{name} ")[2]
        listed_ones = [each.name for each in fields(problem) if each.default is not None]
        first, last = listed_ones[0], listed_ones[-1]
        lines = own[own.index(f"{first} = ") : own.index("\n", own.index(f"{last} = "))]
        settings = tomllib.loads(lines)
        assert list(settings) == listed_ones
        mistakes = []
        assert read_problem(problem, settings, "", here, mistakes) == problem()
        assert mistakes == []


@pytest.mark.slow
def test_without_experiments_there_is_still_a_listing(here):
    (here / "experiments").rmdir()
    assert "RMSprop" in listed()


def test_a_faulty_experiment_is_listed_with_its_mistakes(here):
    write(here / "experiments", document(training="epochs = 0"), name="faulty")
    write(
        here / "experiments", document(optimizers=OWN), name="leaves", own=plugin(top="raise SystemExit")
    )
    text = listed()
    assert "training.epochs: must be at least 1, got 0" in text
    assert "own.py cannot be loaded: SystemExit" in text


MARKUP = "[red]not[/red] [/bold] [0, 1) \\[x]"


@pytest.mark.slow
def test_markup_in_a_title_is_no_markup(here):
    write(here / "experiments", document().replace('"Tiny"', f"'{MARKUP}'"), name="tiny")
    assert MARKUP in listed()
    assert MARKUP in shown("tiny", here)


def test_markup_in_a_mistake_is_no_markup(here):
    write(here / "experiments", document(problem="'[red]x[/blue]' = 1"), name="tiny")
    assert "problem.[red]x[/blue]: unknown key" in listed()


def test_markup_in_a_hyperparameter_is_no_markup(here):
    optimizers = OWN + "mode = '[/bold] [red]x'"
    write(here / "experiments", document(optimizers=optimizers), own=plugin(settings=", mode='a'"))
    assert 'mode = "[/bold] [red]x"' in shown("tiny", here)


def test_an_experiment_is_shown_with_what_has_finished(here):
    text = document(optimizers="[optimizers.Adam]\nbeta1 = 0.5\n", seeds="tuning = 2\nreporting = 3")
    experiment = tiny(here / "experiments", text)
    before = shown("tiny", here / "results")
    assert "10 runs, 0 of them finished" in before
    assert "digits: 2 steps per run, 1 of them recorded, and the start" in before
    assert "seeds: 2 tuning, 3 reporting" in before
    assert "beta1 = 0.5, beta2 = 0.999, eps = 1e-08" in before
    assert "0.1 0.3" in before
    assert "670" in before
    assert not (here / "results").exists()
    run(experiment, here / "results")
    assert "10 runs, 10 of them finished" in shown("tiny", here / "results")
    assert "10 runs, 0 of them finished" in shown("tiny", here / "elsewhere")


def test_an_unknown_experiment_is_no_listing(here):
    write(here / "experiments")
    with pytest.raises(ExperimentError, match="did you mean tiny"):
        shown("tny", here)


@pytest.mark.slow
def test_parts_that_are_stale_are_named(here):
    results = Path("results")
    for epochs in (2, 3):
        run(tiny(here / "experiments", document(training=f"epochs = {epochs}")), results)
    prune, before = "optimlab prune tiny deletes them:", shown("tiny", results)
    assert "3 parts" in before
    assert prune in before
    tiny(here / "experiments")
    text = shown("tiny", results)
    parts = sorted((results / "tiny/parts").iterdir())
    assert len(parts) == 6
    size = filesize.decimal(sum(path.stat().st_size for path in parts))
    assert f"6 parts ({size}) hold nothing that the experiment, as it is now, uses;" in text
    assert prune in text
    assert [str(path) in text.replace("\n", "") for path in parts] == [True] * 5 + [False]
    assert "and 1 more" in text
    parts[0].unlink()
    parts[0].symlink_to("nowhere")
    assert "6 parts (" in shown("tiny", results)


def test_no_cell_is_cut_where_there_is_no_terminal(tmp_path):
    rates, label = [f"{place}e-05" for place in range(1, 60)], "a label as wide as one may be " * 2
    text = document(
        top=f"learning_rates = [{', '.join(rates)}]\n",
        optimizers=f'[optimizers."{label.strip()}"]\nrule = "SGD"\n',
    )
    output = call("show", write(tmp_path, text), "--results", tmp_path).output
    (line,) = (line for line in output.splitlines() if label.strip() in line)
    assert line.split()[-59:] == [f"{float(rate):g}" for rate in rates]
