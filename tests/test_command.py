"""The command as a process: signals from the start, and output streams that fail."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import command, load, mostly_slow, write
from sweeping import run as sweep

PACKAGE = str(Path(__file__).parents[1])

# Has this process get a signal when it begins to import a module, whose name is in MODULE.
SIGNALLING = """
import os, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ.get("MODULE"):
            os.kill(os.getpid(), int(os.environ["NUMBER"]))
sys.meta_path.insert(0, Finder)
"""


def run(words, folder, shell="", first="trap - INT TERM HUP; ", **environment):
    """Run `optimlab` in a folder, its streams as a shell's words have them, after the `first` ones."""
    line = f'{first}exec "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", line, "bash", *command(*words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), PACKAGE]), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("number", "module", "told"),
    mostly_slow(
        [
            (signal.SIGINT, "typer", ""),
            (signal.SIGINT, "numpy._core.numeric", ""),
            (signal.SIGINT, "optimlab.execution.sweep", "optimlab: interrupted\n"),
            (signal.SIGTERM, "typer", ""),
            (signal.SIGHUP, "pyarrow", "optimlab: interrupted\n"),
        ]
    ),
    ids=str,
)
def test_signals_end_the_command_while_it_is_starting(tmp_path, number, module, told):
    (tmp_path / "sitecustomize.py").write_text(SIGNALLING)
    write(tmp_path / "experiments")
    done = run(["sweep", "tiny"], tmp_path, MODULE=module, NUMBER=str(int(number)))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", told)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=str)
def test_signals_that_are_ignored_stay_ignored(tmp_path, number):
    """As by nohup, and by a shell that has started the command with `&`."""
    (tmp_path / "sitecustomize.py").write_text(SIGNALLING)
    signal_at = {"MODULE": "typer", "NUMBER": str(int(number))}
    done = run(["--version"], tmp_path, first="trap '' INT HUP; ", **signal_at)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("optimlab ")


def test_a_current_folder_that_is_gone_is_a_message(tmp_path):
    done = run(["list"], tmp_path, first="mkdir gone; cd gone; rmdir ../gone; ")
    told = "optimlab: the current folder is gone: No such file or directory; change to another\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_python_can_import_the_report_in_a_folder_that_is_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    code = "import os; os.rmdir('../gone'); import optimlab.report"
    python = [sys.executable, "-c", code]
    package = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(python, cwd=tmp_path / "gone", env=package, check=True)


def test_without_a_usable_home_matplotlib_says_nothing(tmp_path):
    code = "import optimlab.report, matplotlib; matplotlib.get_cachedir()"
    unset = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": "/proc/nowhere", "PYTHONPATH": str(Path(__file__).parents[1])}
    python = [sys.executable, "-c", code]
    done = subprocess.run(
        python, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


NO_ROOM = "optimlab: the output could not be written: No space left on device\n"
CLOSED = "optimlab: the output could not be written: Bad file descriptor\n"
STREAMS = {
    "full": (">/dev/full", "--version", 1, NO_ROOM),
    "full, for another kind of output": (">/dev/full", "--help", 1, NO_ROOM),
    "full, for a table": (">/dev/full", "list", 1, NO_ROOM),
    "closed": (">&-", "--version", 1, CLOSED),
    "no reader": (">&${PIPE}", "--version", 1, ""),
    "no stderr": ("2>&-", "--nonsense", 2, ""),
    "no stream at all": ("<&- >&- 2>&-", "--version", 1, ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, marks=[] if case in ("full", "no reader", "no stream at all") else pytest.mark.slow
        )
        for case in STREAMS
    ],
)
def test_output_that_cannot_be_written_is_no_traceback(tmp_path, case):
    shell, word, status, told = STREAMS[case]
    pipe = "exec {PIPE}> >(:); wait $!; " if case == "no reader" else ""
    done = run([word], tmp_path, shell, first=pipe)
    assert (done.returncode, done.stderr) == (status, told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.slow
@pytest.mark.parametrize("shell", [">/dev/full 2>&1", ">&- 2>&-"])
def test_a_sweep_continues_if_its_progress_cannot_be_written(tmp_path, shell):
    """The exit code tells of the output; the results are all there."""
    write(tmp_path / "experiments")
    done = run(["sweep", "tiny", "--jobs", 1], tmp_path, shell)
    assert done.returncode == 1
    assert len((tmp_path / "results/tiny/runs.csv").read_text().splitlines()) == 1 + 6
    assert (tmp_path / "results/tiny/experiment.json").exists()


@pytest.mark.slow
def test_warnings_as_errors_change_nothing(tmp_path):
    """What is said of a damaged part is no warning of Python, and a worker has none either."""
    sweep(load(write(tmp_path / "experiments")), tmp_path / "results")
    next((tmp_path / "results/tiny/parts").iterdir()).write_text("garbled")
    again = run(["sweep", "tiny", "--jobs", 2], tmp_path, PYTHONWARNINGS="error")
    assert (again.returncode, "Traceback" in again.stderr) == (0, False), again.stderr
    assert again.stderr.startswith("optimlab: warning: ")


NO_SEMAPHORES = """
import _multiprocessing

def refuse(*arguments, **keywords):
    raise OSError(30, "Read-only file system")

_multiprocessing.SemLock = refuse
"""


@pytest.mark.slow
def test_a_machine_without_shared_memory_changes_nothing(tmp_path):
    """joblib calls this a serial mode; it is not that of optimlab's own workers."""
    write(tmp_path / "experiments")
    (tmp_path / "sitecustomize.py").write_text(NO_SEMAPHORES)
    done = run(["sweep", "tiny", "--dry-run"], tmp_path, PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_offers_the_optimizers_without_importing_them_at_once():
    code = "import sys, optimlab; assert 'numpy' not in sys.modules; print(optimlab.Adam().beta1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0.9\n", "")
