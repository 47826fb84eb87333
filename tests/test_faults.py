"""Faults, provoked for real: killed processes, full and read-only disks, two sweeps at once, a clock
that jumps, plug-ins that misbehave. Whatever happens, no run is lost and no table is wrong.

`OPTIMLAB_KILLS=25 pytest tests/test_faults.py -k kill` kills more often than the suite has time for.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sweeping import (
    OWN,
    call,
    command,
    document,
    load,
    optimlab,
    plugin,
    rows_of,
    run,
    tiny,
    wait_for,
    write,
)

from optimlab.result import Result
from optimlab.storage.store import Store

KILLS = int(os.environ.get("OPTIMLAB_KILLS", "3"))
MARK = "OPTIMLAB_TEST_MARK"
LINUX = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")


def light(**parts):
    """Return the text of an experiment that needs no data, so that its workers start quickly."""
    return document(problem="condition = 5", **parts).replace('"digits"', '"landscape"')


# Two stacks for every kill, of twelve steps each that wait as long as DELAY says.
SLOW = plugin(
    settings=", number=0",
    top="import os, time\nDELAY = float(os.environ.get('DELAY', '0'))",
    step="if params.shape[1] == 2: time.sleep(DELAY)",  # not while its file is checked
)
LABELS = "".join(
    f'[optimizers."Own {n}"]\nrule = "own.py:Own"\nnumber = {n}\n' for n in range(2 * KILLS)
)
SLOW_TEXT = light(training="steps = 12", optimizers=LABELS, seeds="tuning = 0\nreporting = 5")
RUNS = 2 * KILLS * 2 * 5


def tables(results):
    return [(results / "tiny" / name).read_bytes() for name in ("runs.csv", "traces.parquet")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tables of a sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(tiny(folder, SLOW_TEXT, own=SLOW), folder / "results").statuses == {"ok": RUNS}
    return tables(folder / "results")


def start(file, results, delay=0.02):
    """Start a sweep in a session of its own, which processes that it leaves behind can be told by."""
    package = str(Path(__file__).parents[1])
    return subprocess.Popen(
        command("sweep", file, "--jobs", 2, "--results", results),
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": package, MARK: str(results), "DELAY": str(delay)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes(results):
    """Return the processes of sweeps into this folder: pid → command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={results}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return {pid: line for pid, line in found.items() if line}  # a zombie has none


@LINUX
@pytest.mark.slow
def test_killed_sweeps_lose_nothing_and_leave_no_process(tmp_path, undisturbed):
    file, results, rng = write(tmp_path, SLOW_TEXT, own=SLOW), tmp_path / "results", random.Random(1)
    kills = 0
    while kills < KILLS:
        process = start(file, results)
        if kills == 0:  # the moment when the workers start, and cannot know their parent yet
            wait_for(lambda: workers_of(results), "a worker")
        else:
            before = len(finished_parts(results))
            wait_for(lambda n=before: len(finished_parts(results)) > n, "a part")
            time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate(timeout=300)  # until no process holds its output
        assert missing(file, results), "the sweep was over before it was disturbed"
    wait_for(lambda: not processes(results), "the workers to leave")
    assert run(load(file), results).kept > 0
    assert tables(results) == undisturbed
    assert not list(results.rglob("*.tmp"))


def workers_of(results):
    return [pid for pid, line in processes(results).items() if "processes.serve" in line]


def finished_parts(results):
    return list(results.glob("tiny/parts/*.parquet"))


def missing(file, results):
    finished = Store(results / "tiny").finished()
    return [run for run in load(file).runs() if run.run_id not in finished]


@LINUX
@pytest.mark.slow
def test_a_sweep_survives_its_workers(tmp_path, undisturbed):
    file, results, rng = write(tmp_path, SLOW_TEXT, own=SLOW), tmp_path / "results", random.Random(2)
    process, kills = start(file, results), 0
    seen = 0
    while kills < KILLS and process.poll() is None:
        if len(finished_parts(results)) == seen:  # faster than a pool can start, nothing could finish
            time.sleep(0.02)
            continue
        seen = len(finished_parts(results))
        time.sleep(rng.uniform(0, 0.2))
        workers = workers_of(results)
        if workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
            kills += 1
    out, _ = process.communicate(timeout=300)
    assert kills >= min(KILLS, 2), "the sweep was over before it was disturbed"
    assert process.returncode == 0, out
    assert "a worker process died" in out
    assert f"in total {RUNS} ok." in out
    assert tables(results) == undisturbed


@pytest.mark.slow
def test_a_run_that_kills_its_worker_fails_alone(tmp_path):
    """Its neighbours in the stack, and those in flight beside it, finish."""
    text = light(
        optimizers="[optimizers.SGD]\n" + OWN, seeds="tuning = 0\nreporting = 2", training="steps = 2"
    )
    whole = tiny(tmp_path, text, own=plugin())
    # The start tells the plug-in which run it is in.
    start = float(whole.problems[0].problem.init([1000])[0][0, 0])
    bad = f"(params[:, :1] == {start!r}) & (self.learning_rate > 0.2)"
    experiment = tiny(tmp_path, text, own=plugin(top="import os", init=f"if np.any({bad}): os._exit(9)"))
    assert run(experiment, tmp_path / "results", jobs=2).statuses == {"ok": 7, "failed": 1}
    [failed] = [row for row in rows_of(tmp_path / "results") if row["status"] == "failed"]
    assert (failed["optimizer"], failed["learning_rate"], failed["seed"]) == ("Own", "0.3", "1000")
    assert failed["reason"].startswith("its worker process died whenever it ran")


MISBEHAVIOURS = {
    "raises": ("raise RuntimeError('no')", "failed", "RuntimeError: no"),
    "leaves": ("raise SystemExit(0)", "failed", "SystemExit: 0"),
    "says Ctrl-C": ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    "ends a generator": ("raise GeneratorExit", "failed", "GeneratorExit"),
    "cancels": ("import asyncio; raise asyncio.CancelledError", "failed", "CancelledError"),
    "runs out of memory": ("np.empty(10**15)", "failed", "Unable to allocate"),
    "wrong shape": ("params -= np.ones((7, 3))", "failed", "could not be broadcast together"),
    "wrong dtype": ("params -= np.ones_like(params, complex)", "failed", "Cannot cast ufunc"),
    "NaN": ("params[...] = np.nan", "diverged", "was not finite after step 1"),
    "infinity": ("params[...] = np.inf", "diverged", "was not finite after step 1"),
    "sleeps": ("import time; time.sleep(3600)", "failed", "TimeoutError: took longer than 2 s"),
    "never ends": ("all(iter(lambda: True, False))", "failed", "TimeoutError: took longer than 2 s"),
    "loops in C": ("import re; re.match('(a+)+b', 'a' * 40)", "failed", "TimeoutError: took longer"),
    "swallows": ("deaf()", "failed", "TimeoutError: took longer than 2 s"),
    "crashes": ("import os; os._exit(9)", "failed", "its worker process died whenever it ran"),
    "closes what is not its own": ("import os; os.closerange(3, 99)", "failed", "process died"),
    "prints": ("print('no answer')", "ok", ""),
}
DEAF = """
import signal, time
def deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass
"""


@pytest.fixture(scope="module", params=[1, 2], ids=["one job", "two jobs"])
def misbehaved(tmp_path_factory, request):
    """How one sweep ended: the rows of its runs, of healthy ones beside all that plug-ins may do."""
    folder = tmp_path_factory.mktemp("misbehaved")
    cases = MISBEHAVIOURS if request.param == 2 else ["crashes", "says Ctrl-C", "prints", "NaN"]
    plugins = {
        f"own{place}": plugin(step=f"if params.shape[1] == 2: {MISBEHAVIOURS[how][0]}", top=DEAF)
        for place, how in enumerate(cases)
    }
    labels = [f'[optimizers."{how}"]\nrule = "own{place}.py:Own"\n' for place, how in enumerate(cases)]
    text = light(
        training="steps = 2",
        optimizers="".join(["[optimizers.SGD]\n", *labels, "[optimizers.Adam]\n"]),
        top="learning_rates = [0.1]",
        seeds="tuning = 0\nreporting = 2",
    )
    limit = ["--time-limit", 2] if request.param == 2 else []
    file = write(folder, text, **plugins)
    done = call("sweep", file, "--jobs", request.param, "--results", folder / "results", *limit)
    assert done.exit_code == 1, done.output
    return rows_of(folder / "results")


@pytest.mark.slow
def test_a_plugin_that_misbehaves_harms_its_own_runs_alone(misbehaved):
    """Be it by an exception of any kind, or by its time, which is kept from outside its process."""
    found = {row["optimizer"]: [] for row in misbehaved}
    for row in misbehaved:
        found[row["optimizer"]].append(row)
    for healthy in (found.pop("SGD"), found.pop("Adam")):
        assert [(row["status"], row["reason"]) for row in healthy] == [("ok", "")] * 2
    assert found
    for how, runs in found.items():
        _, status, reason = MISBEHAVIOURS[how]
        assert [row["status"] for row in runs] == [status] * 2, how
        assert all(reason in row["reason"] for row in runs), how


def mount(*words):
    """Mount a file system; skip the test where that is not permitted."""
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount a file system here")


@pytest.fixture
def disk(tmp_path):
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=128k", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


FULL_TEXT = document(
    training="epochs = 40",
    problem="hidden = []\nbatch_size = 300",
    seeds="tuning = 0\nreporting = 15",
    optimizers="[optimizers.SGD]\n[optimizers.Adam]\n",
)


@pytest.mark.slow
def test_a_full_disk(tmp_path, disk):
    file = write(tmp_path, FULL_TEXT)
    done = optimlab("sweep", file, "--jobs", 1, "--results", disk, cwd=tmp_path)
    assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert str(disk / "tiny") in done.stderr
    assert 0 < len(Store(disk / "tiny").finished()) < 60
    assert not list(disk.rglob("*.tmp"))
    with pytest.raises(OSError, match="No space left on device"):
        run(load(file), disk)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    assert run(load(file), disk).kept > 0
    run(load(file), tmp_path / "whole")
    assert tables(disk) == tables(tmp_path / "whole")


@pytest.mark.slow
def test_a_limit_on_the_size_of_files(tmp_path):
    """Where no disk can be mounted, this is what a full one is like: writes stop midway."""
    experiment = tiny(tmp_path, FULL_TEXT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # room for parts, not for the traces
    try:
        with pytest.raises(OSError, match="File too large"):
            run(experiment, tmp_path / "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "results").rglob("*.tmp"))
    run(experiment, tmp_path / "results")
    run(experiment, tmp_path / "whole")
    assert tables(tmp_path / "results") == tables(tmp_path / "whole")


@pytest.fixture
def read_only(tmp_path):
    """A function that makes a folder read-only, for root too."""
    undo = []

    def make(folder):
        if os.geteuid():
            folder.chmod(0o555)
            undo.append(lambda: folder.chmod(0o755))
            return
        mount("--bind", "-o", "ro", folder, folder)
        undo.append(lambda: subprocess.run(["umount", "-l", folder], check=True))

    yield make
    for step in undo:
        step()


@pytest.mark.slow
def test_a_read_only_folder(tmp_path, read_only):
    file, results = write(tmp_path), tmp_path / "results"
    run(load(file), results)
    before = tables(results)
    read_only(results / "tiny")
    file.write_text(document(training="epochs = 2"))
    done = optimlab("sweep", file, "--results", results, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"optimlab: {results / 'tiny'}")
    assert "Traceback" not in done.stderr
    assert tables(results) == before
    shown = optimlab("show", file, "--results", results, cwd=tmp_path, COLUMNS="300")
    assert (shown.returncode, "6 runs, 0 of them finished" in shown.stdout) == (0, True)


@pytest.mark.slow
def test_read_only_results_are_read_without_writing_to_them(tmp_path, read_only):
    file, results = write(tmp_path), tmp_path / "results"
    run(load(file), results)
    read_only(results)

    def done(*words):
        ended = optimlab(*words, "--results", results, cwd=tmp_path)
        return ended.returncode, ended.stderr

    for words in (["export", "tiny", "--table", "csv"], ["bundle", "tiny"]):
        status, text = done(*words, "--into", tmp_path)
        assert status == 0, text
    status, text = done("verify", file, "--runs", 1)
    assert status == 0, text
    Result(results / "tiny").report(tmp_path / "page.html")
    with zipfile.ZipFile(tmp_path / "tiny.zip") as archive:
        assert {"tiny/results/tiny/summary.csv", "tiny/results/tiny/figures/traces.png"} <= set(
            archive.namelist()
        )
    status, text = done("plots")
    assert (status, text.startswith(f"optimlab: {results} cannot be written to: ")) == (2, True), text
    status, text = done("export", "tiny", "--table", "csv")
    assert (status, text.startswith(f"optimlab: {results / 'tiny/export'}: ")) == (1, True), text
    assert text.endswith("; name another folder with --into\n")


@pytest.mark.slow
def test_two_sweeps_at_once_and_no_stale_lock(tmp_path, undisturbed):
    file, results = write(tmp_path, SLOW_TEXT, own=SLOW), tmp_path / "results"
    first = start(file, results, delay=0.1)
    try:
        wait_for(lambda: finished_parts(results), "the first part")
        second = optimlab("sweep", file, "--results", results, cwd=tmp_path)
        assert second.returncode == 2
        holder = f"{results / 'tiny'}: process {first.pid} on "
        assert second.stderr.startswith(f"optimlab: {holder}"), second.stderr
        assert "is writing here; wait for it, or stop it" in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    done = len(Store(results / "tiny").finished())
    assert done
    third = run(load(file), results)
    assert (third.ran, third.kept) == (RUNS - done, done)
    assert tables(results) == undisturbed


JUMPING = """
import random, time
real, rng = time.time, random.Random()
time.time = lambda: real() + rng.uniform(-1e8, 1e8)
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tmp_path):
    """In the sweep and its workers: every question to the clock is answered with another year."""
    text = light(seeds="tuning = 0\nreporting = 10", training="steps = 2")
    file = write(tmp_path, text)
    run(load(file), tmp_path / "whole")
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/sitecustomize.py").write_text(JUMPING)
    path = os.pathsep.join([str(tmp_path / "clock"), str(Path(__file__).parents[1])])
    results = tmp_path / "results"
    done = subprocess.run(
        command("sweep", file, "--jobs", 2, "--results", results),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for part, year in zip(sorted(results.glob("tiny/parts/*")), (0, 4e9) * 50, strict=False):
        os.utime(part, (year, year))
    assert run(load(file), results).ran == 0
    assert tables(results) == tables(tmp_path / "whole")


def test_a_sweep_does_not_look_at_the_clock_of_the_wall():
    """Durations come from a clock that never jumps; the date stands in experiment.json alone.

    What caches hold has an age, by which the oldest is deleted.
    """
    package = Path(sys.modules["optimlab"].__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "time.time(" in path.read_text() or "st_mtime" in path.read_text()
    }
    assert users == {"execution/compilation.py", "storage/drawn.py"}


def test_the_tables_are_those_of_the_parts(tmp_path):
    """What the tables hold is what the parts hold: nothing is kept elsewhere that could disagree."""
    run(tiny(tmp_path), tmp_path / "results")
    before = tables(tmp_path / "results")
    for name in ("runs.csv", "traces.parquet"):
        (tmp_path / "results/tiny" / name).write_text("garbled")
    assert run(tiny(tmp_path), tmp_path / "results").ran == 0
    assert tables(tmp_path / "results") == before
    assert pq.read_table(tmp_path / "results/tiny/traces.parquet").num_rows == 12
