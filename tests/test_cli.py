"""The command line: what it prints, and its exit status."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from sweeping import OWN, call, command, document, mostly_slow, optimlab, plugin, share_worker, write
from test_charts import blank_pictures
from typer.testing import CliRunner

from optimlab import __version__, cli, processes
from optimlab.__main__ import STOP_SIGNALS
from optimlab.commands import common
from optimlab.report.blocks.facts import networks_of
from optimlab.storage.store import Store

PROJECT = Path(__file__).parents[1]
NOTHING = "optimlab: no results in results: run `optimlab sweep`, then `optimlab plots`\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with one experiment, experiments/tiny.toml, the current one."""
    write(tmp_path / "experiments", own=plugin())
    monkeypatch.chdir(tmp_path)
    share_worker(monkeypatch)
    return tmp_path


def text_of(folder, text, **plugins):
    write(folder / "experiments", text, **plugins)


def test_help_names_the_commands():
    done = call("--help")
    assert done.exit_code == 0
    for name in ("sweep", "plots", "list", "show"):
        assert name in done.output


def test_the_version_is_reported():
    done = call("--version")
    assert (done.exit_code, done.output) == (0, f"optimlab {__version__}\n")


def test_plots_names_the_page(here, monkeypatch):
    blank_pictures(monkeypatch)
    assert call("sweep", "tiny", "--jobs", 1).exit_code == 0
    done = call("plots")
    assert (done.exit_code, done.stdout) == (0, "Open results/report.html\n")
    assert (here / "results/report.html").is_file()


def test_plots_without_results_give_2(here):
    done = call("plots")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == NOTHING


def test_a_sweep_reports_what_it_did_and_what_is_next(here):
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[:2] == ["Tiny", "6 runs to do"]
    assert lines[-3] == "6 of 6 runs"
    assert lines[-2].endswith("in total 6 ok.")
    assert lines[-1] == "Tables are in results/tiny; next: optimlab plots"
    again = call("sweep", "tiny", "--jobs", 1)
    assert "0 runs to do, 6 finished before" in again.output
    about = json.loads((here / "results/tiny/experiment.json").read_text())
    assert about["last_sweep"]["runs"] == 6  # the numbers, and where they come from, are the same


def test_results_go_where_they_should(here):
    assert call("sweep", "tiny", "--jobs", 1, "--results", "else/where").exit_code == 0
    assert (here / "else/where/tiny/runs.csv").exists()
    assert not (here / "results").exists()


@pytest.mark.slow
def test_fresh_runs_everything_again_and_touches_no_other_experiment(here):
    call("sweep", "tiny", "--jobs", 1)
    other = here / "results/other/runs.csv"
    other.parent.mkdir()
    other.write_text("x")
    (here / "results/tiny/left.over").write_text("x")
    done = call("sweep", "tiny", "--jobs", 1, "--fresh")
    assert "6 runs to do\n" in done.output
    assert other.read_text() == "x"
    assert not (here / "results/tiny/left.over").exists()


def test_fresh_deletes_nothing_when_the_experiment_has_a_mistake(here):
    call("sweep", "tiny", "--jobs", 1)
    text_of(here, document(training="epochs = 0"))
    assert call("sweep", "tiny", "--fresh").exit_code == 2
    assert (here / "results/tiny/runs.csv").exists()


def test_jobs_is_the_number_of_workers(here, monkeypatch):
    seen = []

    def trained(todo, workers, follow):
        seen.append(workers.at_once)
        yield from ()

    monkeypatch.setattr("optimlab.execution.sweep.trained", trained)
    monkeypatch.setattr("optimlab.execution.workers.effective_n_jobs", lambda jobs: 5)
    call("sweep", "tiny", "--jobs", 3)
    call("sweep", "tiny")
    assert seen == [3, 5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", "tny"), "no such experiment; did you mean tiny?"),
        (("show", "tny"), "no such experiment; did you mean tiny?"),
        (("sweep", "tiny", "--jobs", 0), "--jobs"),
        (("sweep", "tiny", "--jobs", -1), "--jobs"),
        (("sweep", "tiny", "--jobs", 10**9), "must be at most "),
        (("sweep", "tiny", "--jobs", 10**30), "--jobs"),
        (("sweep", "tiny", "--jobs", "two"), "--jobs"),
        (("sweep", "tiny", "--results", b"\xff".decode(errors="surrogateescape")), "not UTF-8"),
        (("sweep", "tiny", "--freshly"), "--freshly"),
        (("swep",), "swep"),
        (("sweep", "tiny", "more"), "more"),
    ],
)
def test_a_mistake_gives_2(here, words, message):
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (here / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", "tiny", "--json", "--freshly"), "--freshly"),
        (("sweep", "tiny", "--jobs", "two", "--json"), "--jobs"),
        (("merge", "--json"), "Missing"),
        (("swep", "--json"), "No such command 'swep'"),
        (("--wrong", "list", "--json"), "--wrong"),
        (("export", "tiny", "--json"), "No such option: --json"),
    ],
)
def test_a_mistake_in_the_options_is_json_too(here, words, message):
    done = call(*words)
    assert done.exit_code == 2
    assert message in json.loads(done.stdout)["error"]
    assert message in done.stderr
    assert call(*(word for word in words if word != "--json"), "--", "--json").stdout == ""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("optimlab export f", ["first"]),
        ("optimlab plots first ", ["first", "second"]),
        ("optimlab animate --results elsewhere t", ["third"]),
        ("optimlab show ti", ["tiny"]),
    ],
)
def test_a_shell_completes_names(here, words, names):
    for name in ("results/first", "results/second", "elsewhere/third"):
        (here / name).mkdir(parents=True)
        (here / name / "experiment.json").touch()
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = CliRunner().invoke(
        cli.app, [], env=variables | {"_OPTIMLAB_COMPLETE": "complete_bash"}, prog_name="optimlab"
    )
    assert done.output.split() == names


def test_runs_that_fail_give_1_and_the_others_finish(here):
    source = plugin(init="if np.any(self.learning_rate > 0.2): raise ValueError('too large')")
    text_of(here, document(optimizers=OWN + "[optimizers.SGD]"), own=source)
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 1
    assert "in total 9 ok, 3 failed." in done.output
    assert "Some runs failed: see the reason column of results/tiny/runs.csv." in done.output
    assert len((here / "results/tiny/runs.csv").read_text().splitlines()) == 13


@pytest.mark.parametrize("status", mostly_slow([0, 3]))
def test_a_plugin_that_leaves_does_not_pass_for_a_success(here, status):
    text_of(here, document(optimizers=OWN), own=plugin(step=f"raise SystemExit({status})"))
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 1
    assert "6 failed" in done.output


@pytest.mark.parametrize("command", [("sweep", "tiny"), ("show", "tiny"), ("plots",)])
def test_a_results_folder_that_is_a_file_gives_2(here, command):
    (here / "results").write_text("a file")
    done = call(*command)
    assert done.exit_code == 2
    assert "'results' is a file" in done.stderr
    assert (here / "results").read_text() == "a file"


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ("file/below", "file is not a folder"),
        ("/proc/nowhere", "/proc/nowhere/tiny cannot be written to: "),
        ("a" * 300, f"{'a' * 300}/tiny cannot be written to: "),
    ],
    ids=["below a file", "of the system", "too long"],
)
def test_results_that_cannot_be_written_give_2_before_anything_runs(here, results, told):
    (here / "file").write_text("a file")
    done = call("sweep", "tiny", "--jobs", 1, "--results", results)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_read_only_folder_is_reported_before_anything_runs(here, monkeypatch):
    monkeypatch.setattr("optimlab.files.os.access", lambda *args: False)  # the superuser may write all
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 2
    assert "results/tiny cannot be written to: no permission; name another folder" in done.stderr


def test_ctrl_c_gives_130_and_a_hint(here, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("optimlab.execution.work.train_with_witness", interrupted)
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 130
    assert "Interrupted. The finished runs are in results/tiny; the same command resumes." in done.output
    assert (here / "results/tiny/runs.csv").exists()


def test_results_that_vanish_are_reported(here, monkeypatch):
    """Nothing that a sweep has run may be missing from its tables without a word."""
    monkeypatch.setattr("optimlab.execution.sweep.Store.write_part", lambda store, stack: None)
    done = call("sweep", "tiny", "--jobs", 1)
    assert done.exit_code == 1
    assert "6 runs are missing" in done.output


@pytest.mark.parametrize("results", ["[red]x", "a" * 90, "a b", "Größe", ":warning:"])
@pytest.mark.slow
def test_a_path_is_printed_as_it_is(here, results):
    done = call("sweep", "tiny", "--jobs", 1, "--results", results)
    assert done.exit_code == 0
    assert f"Tables are in {results}/tiny; next: optimlab plots" in done.output


@pytest.mark.slow
def test_markup_in_a_title_is_no_markup(here):
    text_of(here, document().replace("Tiny", "[red]not[/blue]"))
    for words in (("sweep", "tiny", "--jobs", 1), ("show", "tiny"), ("list",)):
        assert "[red]not[/blue]" in call(*words).output


@pytest.mark.parametrize("words", [("sweep", "tiny"), ("sweep", "tiny", "--fresh"), ("prune", "tiny")])
@pytest.mark.slow
def test_results_that_another_process_writes_are_left_alone(here, words):
    call("sweep", "tiny", "--jobs", 1)
    before = sorted(here.glob("results/tiny/parts/*"))
    with Store(here / "results/tiny").held():
        done = call(*words)
    assert done.exit_code == 2
    assert f"results/tiny: process {os.getpid()} on" in done.stderr
    assert sorted(here.glob("results/tiny/parts/*")) == before


@pytest.mark.slow
def test_prune_deletes_what_the_experiment_no_longer_uses(here):
    call("sweep", "tiny", "--jobs", 1)
    text_of(here, document(training="epochs = 2"))
    call("sweep", "tiny", "--jobs", 1)
    parts = len(list(here.glob("results/tiny/parts/*")))
    done = call("prune", "tiny")
    assert (done.exit_code, done.output) == (0, f"Deleted {parts // 2} files from results/tiny/parts.\n")
    assert "0 runs to do, 6 finished before" in call("sweep", "tiny", "--jobs", 1).output
    assert call("prune", "tiny").output == "Deleted 0 files from results/tiny/parts.\n"


@pytest.mark.parametrize("cores", ["abc", "", "0", "-1", "2.5"])
def test_a_number_of_cores_that_is_none_is_reported(here, monkeypatch, cores):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", cores)
    done = call("sweep", "tiny")
    assert done.exit_code == 2
    told = f"the variable LOKY_MAX_CPU_COUNT must be a number of cores, got {cores}\n"
    assert done.stderr == f"optimlab: {told}"


@pytest.mark.slow  # Python compiles every library anew
def test_python_without_docstrings(here):
    for words, status, told in [
        (("plots",), 2, "optimlab: plots needs docstrings, for Altair: leave out -OO"),
        (("sweep", "tiny", "--jobs", "1"), 0, ""),
    ]:
        done = subprocess.run(
            [sys.executable, "-OO", *command(*words)[1:]],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.startswith(told)) == (status, True), done.stderr
        assert "Traceback" not in done.stderr


NOBODY = """
import os, pwd
def getpwuid(user): raise KeyError(user)
pwd.getpwuid = getpwuid
os.environ.pop("HOME", None)
"""


@pytest.mark.slow
def test_a_user_without_a_home_and_a_window_system_that_is_none(here):
    (here / "nobody").mkdir()
    (here / "nobody/sitecustomize.py").write_text(NOBODY)
    path = os.pathsep.join([str(here / "nobody"), os.environ.get("PYTHONPATH", "")])
    done = optimlab("plots", cwd=here, PYTHONPATH=f"{path}:{PROJECT}", MPLBACKEND="nonsense")
    assert done.stderr == NOTHING


ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def test_no_name_of_a_file_reaches_the_terminal_raw(here):
    call("sweep", "tiny", "--jobs", 1)
    (here / f"results/tiny/parts/{ESCAPE}.parquet").write_text("x")
    for words in (("show", "tiny"), ("sweep", "tiny", "--jobs", 1)):
        done = call(*words)
        assert r"\x1b]0;owned\x07\x1b[31m.parquet" in done.output.replace("\n", "")
        assert done.output.replace("\n", "").isprintable()
    (here / "results/tiny").rename(here / "aside")
    (here / f"results/tiny/{ESCAPE}").mkdir(parents=True)
    done = call("sweep", "tiny", "--jobs", 1)
    assert (done.exit_code, r"such as \x1b]0;owned" in done.stderr) == (2, True)


@pytest.mark.parametrize("is_new", [True, False])
def test_ctrl_c_while_the_workers_start_is_heard(here, monkeypatch, is_new):
    """Those of a new experiment start before all else."""
    if not is_new:
        (here / "results/tiny/parts").mkdir(parents=True)
    start = processes._start

    def interrupting(*about, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return start(*about, **options)

    monkeypatch.setattr(processes, "_start", interrupting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = call("sweep", "tiny", "--jobs", 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130
    told = "interrupted" if is_new else "Interrupted. The finished runs are in results/tiny"
    assert told in done.output


@pytest.mark.parametrize("command", ["list", "show"])
def test_nothing_is_cut_or_wrapped_where_there_is_no_terminal(here, command):
    title, value = "a long title " * 12, "x" * 200
    text_of(
        here,
        document(optimizers=f"{OWN}text = '{value}'").replace("Tiny", title),
        own=plugin(settings=", text=''"),
    )
    lines = call(command, *["tiny"] * (command == "show")).output.splitlines()
    assert any(title.strip() in line for line in lines)
    assert "…" not in "".join(lines)
    if command == "show":
        assert any(value in line for line in lines)


def test_the_network_of_each_problem_is_shown(here):
    text = document(problem="hidden = [{ units = 7, activation = 'relu' }]")
    problem = text[text.index("[problem]") : text.index("[training]")]
    left, right = (problem.replace("[problem]", f"[problems.{label}]") for label in ("left", "right"))
    text_of(here, text.replace(problem, left + right.replace("7", "5")))
    shown = call("show", "tiny").output
    for label in ("left", "right"):
        assert f"network of {label}:\nlayer " in shown
    about = {"left": {"network": "a"}, "flat": {"network": None}, "right": {"network": "b"}}
    assert networks_of({"problems": about}) == {"left": "a", "right": "b"}
    assert networks_of({"network": "a", "problems": {"digits": {"network": "a"}}}) == {"": "a"}
    assert networks_of({"network": None}) == {}


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=str)
def test_signals_to_stop_interrupt_a_command_but_for_those_that_are_ignored(number):
    before = signal.getsignal(number)
    try:
        signal.signal(number, signal.default_int_handler)
        with pytest.raises(typer.Exit) as ended, common.user_errors():
            signal.raise_signal(number)
        assert ended.value.exit_code == 130
        assert signal.getsignal(number) is signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with common.user_errors():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def printed(*words, exit_code=0):
    """Return the JSON that a command prints on stdout, all of it."""
    done = call(*words, "--json")
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def test_json_of_a_sweep_and_what_comes_after(here):
    planned = printed("sweep", "tiny", "--jobs", 1, "--dry-run")
    assert (planned["missing"], planned["kept"], planned["jobs"]) == (6, 0, 1)
    swept = printed("sweep", "tiny", "--jobs", 1)
    assert swept.pop("seconds") > 0
    assert swept == {
        "experiment": "tiny", "title": "Tiny", "folder": "results/tiny", "interrupted": False,
        "ran": 6, "kept": 0, "missing": 0, "statuses": {"ok": 6},
    }  # fmt: skip
    shown = printed("show", "tiny")
    assert (shown["runs"], shown["finished"], shown["seeds"]) == (6, 6, {"tuning": 1, "reporting": 2})
    assert shown["optimizers"][0]["learning_rates"] == [0.1, 0.3]
    assert shown["problems"][0]["settings"]["batch_size"] == 600
    verified = printed("verify", "tiny", "--jobs", 1, "--runs", 1, "--seed", 3)
    assert verified == {
        "experiment": "tiny", "same": True, "runs": 1, "stored": 6, "seed": 3, "differences": [],
        "changes": {}, "tables": [],
    }  # fmt: skip
    (here / "results/tiny/summary.csv").touch()
    runs = here / "results/tiny/runs.csv"
    runs.write_text(runs.read_text().replace("ok", "stuck", 1))
    assert printed("verify", "tiny", "--jobs", 1, "--runs", 1, exit_code=1)["tables"]


@pytest.mark.slow
def test_json_of_a_list(here):
    text_of(here, document(training="epochs = 0"))
    listed = printed("list")
    tiny = next(each for each in listed["experiments"] if each["name"] == "tiny")
    assert "training.epochs" in tiny["error"]
    adam = next(each for each in listed["optimizers"] if each["name"] == "Adam")
    assert adam["hyperparameters"]["beta1"] == {"default": 0.9, "range": "[0, 1)"}
    assert {"digits", "landscape"} <= {each["name"] for each in listed["problems"]}


def test_check_reports_whether_a_file_is_right(here):
    assert call("check", "tiny").output == "experiments/tiny.toml: no mistakes; 6 runs\n"
    assert printed("check", "tiny") == {"experiment": "tiny", "ok": True, "runs": 6, "mistakes": []}
    text_of(here, document(training="epochs = 0\nrecord = 3"))
    wrong = printed("check", "tiny", exit_code=2)
    assert (wrong["ok"], [each["key"] for each in wrong["mistakes"]]) == (
        False, ["training.epochs", "training.record"],
    )  # fmt: skip
    assert printed("check", "tny", exit_code=2)["mistakes"][0]["message"].endswith("did you mean tiny?")


def test_a_mistake_is_json_too_and_on_stderr(here):
    done = call("sweep", "tny", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout) == {"error": done.stderr.removeprefix("optimlab: ").rstrip("\n")}


@pytest.mark.slow
def test_quiet_prints_errors_alone(here):
    assert call("sweep", "tiny", "--jobs", 1, "-q").output == ""
    assert call("verify", "tiny", "--jobs", 1, "--runs", 1, "--quiet").output == ""
    assert "did you mean tiny?" in call("sweep", "tny", "--quiet").stderr


@pytest.mark.parametrize("command", ["", "sweep", "plots", "check"])
def test_h_is_help(command):
    done = call(*command.split(), "-h")
    assert (done.exit_code, "Usage" in done.output) == (0, True)


def test_experiments_are_completed(here):
    assert common._known_experiments("ti") == ["tiny"]
    assert "smoke" in common._known_experiments("")


@pytest.mark.slow
def test_the_deadline_stops_a_sweep_and_the_same_command_resumes_it(here):
    stopped = call("sweep", "tiny", "--jobs", 1, "--deadline", "0.000001s")
    assert stopped.exit_code == 130
    assert "The deadline has passed. The finished runs are in results/tiny; " in stopped.output
    assert (here / "results/tiny/runs.csv").exists()
    done = printed("sweep", "tiny", "--jobs", 1, "--deadline", "1h30m")
    assert (done["missing"], done["interrupted"]) == (0, False)
    for wrong in ("", "50", "5 m", "m", "0s", "1h30", "-5m"):
        refused = call("sweep", "tiny", f"--deadline={wrong}")
        assert (refused.exit_code, "such as 90s, 50m or 1h30m" in refused.stderr) == (2, True)
