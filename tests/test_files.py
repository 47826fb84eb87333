"""Unusual files among the results: links, pipes, devices, and file systems without locks."""

import errno
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pictures import png
from sweeping import call, document, run, tiny

from optimlab import files
from optimlab.errors import UserError, reason
from optimlab.execution.verify import verify
from optimlab.files import HOLDER, LOCK, EntryError, Folder, only_writer
from optimlab.report import page
from optimlab.storage import clean
from optimlab.storage.store import Store

PRECIOUS = b"a stranger's thesis"


def snapshot(folder):
    """Return every entry with its kind, its time and its content."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def outside(tmp_path):
    """A folder that is not ours, and a check that nothing in it has changed."""
    folder = tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    for name in ("thesis.txt", "rates-1-old.png", ".old.parquet.1a2b.tmp", "below/notes.txt"):
        (folder / name).write_bytes(PRECIOUS)
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """An experiment of two runs, and its results."""
    top = tmp_path_factory.mktemp("swept")
    experiment = tiny(top, document("learning_rates = [0.1]", seeds="tuning = 1\nreporting = 1"))
    run(experiment, top / "results")
    return experiment, top / "results"


@pytest.fixture
def results(swept, tmp_path):
    """A copy of the results."""
    return shutil.copytree(swept[1], tmp_path / "results")


@pytest.fixture
def unseen(monkeypatch):
    """Count and draw nothing: a report is its files."""
    section = SimpleNamespace(title="", has_charts=False, warnings=[])
    monkeypatch.setattr(page, "make_reports", lambda tables, *_: [Numbers(each) for each in tables])
    monkeypatch.setattr(page, "write_section", lambda *_: section)
    monkeypatch.setattr(page, "_html_of", lambda section: "")
    monkeypatch.setattr(page, "render", lambda sections: "the page")


class Numbers:
    """A report without numbers, and of one drawing."""

    blocks = ()

    def __init__(self, tables):
        self.tables = tables
        self.numbers = {"summary.csv": tables.runs}
        self.drawings = {"traces": self}

    def files(self):
        return {"traces.png": png()}


COMMANDS = {
    "sweep": lambda experiment, results: run(experiment, results),
    "fresh": lambda experiment, results: run(experiment, results, fresh=True),
    "plots": lambda experiment, results: page.write_report(results),
    "prune": lambda experiment, results: pruned(experiment, results),
    "show": lambda experiment, results: Store(results / "tiny").finished(),
    "verify": lambda experiment, results: verify(experiment, results, 1, 0, 1),
}
LINKS = {
    ".lock": ["plots"],
    ".lock-holder": ["plots"],
    "report.html": ["plots"],
    "tiny": ["sweep", "fresh", "prune", "show", "verify"],
    "tiny/.lock": ["sweep", "prune"],
    "tiny/.lock-holder": ["sweep", "fresh", "prune"],
    "tiny/runs.csv": ["sweep", "fresh", "plots"],
    "tiny/traces.parquet": ["sweep", "plots"],
    "tiny/experiment.json": ["sweep", "plots"],
    "tiny/params.parquet": ["sweep", "plots"],
    "tiny/summary.csv": ["plots", "fresh"],
    "tiny/.summary.csv.1a2b.tmp": ["plots"],
    "tiny/.runs.csv.1a2b.tmp": ["sweep"],
    "tiny/parts": ["sweep", "fresh", "prune", "show", "verify"],
    "tiny/parts/.a.parquet.1a2b.tmp": ["sweep"],
    "tiny/parts/damaged": ["prune", "fresh"],
    "tiny/figures": ["plots", "fresh"],
    "tiny/figures/traces.png": ["plots"],
    "tiny/figures/rates-1-old.png": ["plots", "fresh"],
}
FOLDERS = ["tiny", "tiny/parts", "tiny/parts/damaged", "tiny/figures"]


def pruned(experiment, results):
    with Store(results / "tiny").held():
        Store(results / "tiny").prune(experiment)


def plant(path, target):
    """Put a link to a target in the place of whatever is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def refused(command, swept, results, name, why="is a link"):
    """Assert that a command names an entry and stops."""
    with pytest.raises(UserError) as caught:
        COMMANDS[command](swept[0], results)
    assert str(results / name) in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, cs in LINKS.items() for c in cs])
def test_a_link_is_named_and_refused(swept, results, outside, unseen, name, command):
    plant(results / name, outside if name in FOLDERS else outside / "thesis.txt")
    refused(command, swept, results, name)
    assert (results / name).is_symlink()


@pytest.mark.parametrize(
    "target", ["nothing", "{itself}", "/dev/full", "{outside}", "../outside/nothing"]
)
@pytest.mark.parametrize(
    ("name", "command"),
    [("tiny/.lock-holder", "sweep"), ("tiny/runs.csv", "sweep"), ("tiny/parts", "prune"),
     ("tiny", "sweep"), ("report.html", "plots"), ("tiny/figures", "plots")],
)  # fmt: skip
def test_wherever_a_link_leads_it_is_refused(swept, results, outside, unseen, name, command, target):
    plant(results / name, target.format(itself=results / name, outside=outside))
    refused(command, swept, results, name)
    assert not (outside / "nothing").exists()


def test_the_command_line_names_a_link(swept, results, outside):
    plant(results / "tiny/parts/damaged", outside)
    done = call("prune", swept[0].file, "--results", results)
    path = results / "tiny/parts/damaged"
    assert (done.exit_code, done.stderr.startswith(f"optimlab: {path} is a link")) == (2, True)


@pytest.mark.parametrize("target", ["thesis.txt", "below", "nothing"])
def test_a_part_that_is_a_link_is_set_aside_and_never_followed(swept, results, outside, target, capsys):
    part = min((results / "tiny/parts").iterdir())
    content = part.read_bytes()
    plant(part, outside / target)
    assert run(swept[0], results).ran == 1
    assert f"{part} has changed since it was written" in capsys.readouterr().err
    assert part.read_bytes() == content
    pruned(swept[0], results)
    assert not (results / "tiny/parts/damaged").exists()


def test_the_folder_of_all_results_may_be_a_link(swept, results, tmp_path, unseen):
    link = tmp_path / "link"
    link.symlink_to(results)
    shutil.rmtree(results / "tiny")
    for command in COMMANDS.values():
        command(swept[0], link)
    assert (results / "report.html").read_text() == "the page"
    assert link.is_symlink()


def test_a_linked_experiment_is_left_out_of_the_page(results, tmp_path, unseen, capsys):
    shutil.copytree(results / "tiny", tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    (results / "away").symlink_to(tmp_path / "elsewhere")
    page.write_report(results)
    assert f"{results / 'away'} is a link" in capsys.readouterr().err
    assert snapshot(tmp_path / "elsewhere") == before


def test_what_has_another_name_elsewhere_keeps_its_content_there(swept, results, outside, unseen):
    """A hard link cannot be told from a file: files are replaced, never written into."""
    names = ["tiny/runs.csv", "tiny/.lock", "tiny/.lock-holder", ".lock", ".lock-holder",
             "report.html", "tiny/figures/traces.png", "tiny/figures/rates-1-old.png",
             "tiny/params.parquet"]  # fmt: skip
    (results / "tiny/figures").mkdir()
    for name in names:
        (results / name).unlink(missing_ok=True)
        (results / name).hardlink_to(outside / "thesis.txt")
    for command in ("sweep", "prune"):
        COMMANDS[command](swept[0], results)
    page.write_report(results)
    assert (results / "tiny/runs.csv").read_text().startswith("run_id")
    COMMANDS["fresh"](swept[0], results)


def test_what_is_ours_may_have_other_names_elsewhere_too(swept, results, tmp_path, unseen):
    page.write_report(results)
    (tmp_path / "elsewhere").mkdir()
    for number, path in enumerate(path for path in results.rglob("*") if path.is_file()):
        (tmp_path / "elsewhere" / str(number)).hardlink_to(path)
    before = snapshot(tmp_path / "elsewhere")
    assert {b"the page", (results / "tiny/experiment.json").read_bytes()} <= {
        c for *_, c in before.values()
    }
    part = min((results / "tiny/parts").iterdir())
    part.unlink()
    part.write_text("garbled")
    for command in COMMANDS.values():
        command(swept[0], results)
    clean.delete(results, clean.deletions(results))
    assert not (results / "tiny").exists()
    assert snapshot(tmp_path / "elsewhere") == before


def test_a_link_that_comes_and_goes_leads_nowhere(tmp_path, outside):
    """A folder is swapped for a link and back, fast, while files in it are written and deleted."""
    root = Folder(tmp_path / "results")
    own, link = root.path / "tiny", tmp_path / "link"
    folder = root.folder("tiny").folder("figures")
    folder.create()
    link.symlink_to(outside)
    over = threading.Event()

    def swap():
        while not over.is_set():
            (own / "figures").rename(own / "aside")
            link.rename(own / "figures")
            (own / "figures").rename(link)
            (own / "aside").rename(own / "figures")

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes = set()
    try:
        for number in range(300):
            for step in (lambda: folder.write("thesis.txt", b"new"), lambda: folder.delete("thesis.txt"),
                         folder.remove_temporaries, lambda: folder.delete("below")):  # fmt: skip
                try:
                    step()
                    outcomes.add("done")
                except EntryError:
                    outcomes.add("refused")
                except FileNotFoundError:
                    outcomes.add("gone")
            if number > 50 and "refused" in outcomes:
                break
    finally:
        over.set()
        swapping.join()
    assert "done" in outcomes


# Pipes, sockets and devices.


@pytest.fixture
def in_time():
    """End the test when it waits for something that never comes."""

    def late(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_device(path):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("may not make a device")


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_device])
@pytest.mark.parametrize(
    ("name", "command"),
    [("tiny/.lock", "sweep"), ("tiny/.lock-holder", "sweep"), ("tiny/parts", "sweep"),
     ("tiny/runs.csv", "plots"), ("tiny/traces.parquet", "plots"), ("tiny/experiment.json", "plots"),
     ("tiny/params.parquet", "plots"), ("tiny/figures", "plots"), (".lock-holder", "plots")],
)  # fmt: skip
def test_nothing_waits_for_a_pipe_or_a_device(
    swept, results, unseen, in_time, monkeypatch, make, name, command
):
    monkeypatch.chdir(results)  # a socket's path must be short
    path = Path(name)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    make(path)
    with pytest.raises(UserError, match=rf"{name} is not a (regular file|folder)"):
        COMMANDS[command](swept[0], Path())


def test_a_sweep_replaces_what_is_no_table_and_sets_aside_what_is_no_part(swept, results, in_time):
    part = min((results / "tiny/parts").iterdir())
    for path in (results / "tiny/experiment.json", results / "tiny/runs.csv", part):
        path.unlink()
        os.mkfifo(path)
    assert run(swept[0], results).statuses == {"ok": 2}
    assert (results / "tiny/runs.csv").is_file()
    verify(swept[0], results, 2, 0, 1)


def test_an_endless_manifest_is_not_read(swept, results):
    with (results / "tiny/experiment.json").open("wb") as file:
        file.truncate(10**12)  # it takes no disk
    assert Store(results / "tiny").manifest() is None


# Locks.


def fail_with(number):
    def lock_descriptor(descriptor, *, blocking):
        raise OSError(number, os.strerror(number))

    return lock_descriptor


NO_LOCKS = ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP"]


@pytest.mark.parametrize("number", NO_LOCKS)
def test_without_locks_the_holders_name_is_the_lock(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files, "lock_descriptor", fail_with(getattr(errno, number)))
    folder = Folder(tmp_path)
    with only_writer(folder):
        text = rf"process {os.getpid()} on \S+ is writing here.* no locks: .* remove .+/\.lock-holder"
        with pytest.raises(UserError, match=text), only_writer(folder):
            pass
        assert (tmp_path / HOLDER).exists()
    with only_writer(folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_another_error_of_the_lock_is_no_lack_of_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "lock_descriptor", fail_with(errno.EIO))
    with pytest.raises(OSError, match=r"Input/output error: .*/\.lock'"), only_writer(Folder(tmp_path)):
        pass


@pytest.mark.parametrize("number", [None, "ENOLCK"])
def test_a_full_disk_names_the_file_and_leaves_no_holder(tmp_path, monkeypatch, number):
    """Where the name is the lock, an empty one would stay a lock for ever."""
    if number:
        monkeypatch.setattr(files, "lock_descriptor", fail_with(getattr(errno, number)))
    folder = Folder(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*/\.lock-holder'"), only_writer(folder):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with only_writer(folder):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_name_of_a_dead_process_of_this_machine_is_no_lock(tmp_path, monkeypatch, dead):
    monkeypatch.setattr(files, "lock_descriptor", fail_with(errno.ENOLCK))
    (tmp_path / HOLDER).write_text(f"process {dead} on {socket.gethostname()}")
    with only_writer(Folder(tmp_path)):
        assert (tmp_path / HOLDER).read_text() == f"process {os.getpid()} on {socket.gethostname()}"


@pytest.mark.parametrize(
    "holder",
    ["process {dead} on elsewhere", "process 1 on {here}", "", "garbage", "process -1 on {here}"],
)
def test_any_other_name_is_kept_and_the_message_names_what_to_remove(
    tmp_path, monkeypatch, dead, holder
):
    monkeypatch.setattr(files, "lock_descriptor", fail_with(errno.ENOLCK))
    text = holder.format(dead=dead, here=socket.gethostname())
    (tmp_path / HOLDER).write_text(text)
    with pytest.raises(UserError) as caught, only_writer(Folder(tmp_path)):
        pass
    assert f"{tmp_path}: {text or 'another process'} is writing here" in str(caught.value)
    assert f"remove {tmp_path / HOLDER}" in str(caught.value)
    assert (tmp_path / HOLDER).read_text() == text


def test_with_locks_the_name_that_a_killed_process_left_is_no_lock(tmp_path):
    (tmp_path / HOLDER).write_text("process 1 on elsewhere")
    with only_writer(Folder(tmp_path)):
        assert (tmp_path / HOLDER).read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("content", [b"\x1b]0;owned\x07\x1b[2J", b"\xff\xfe", b"x" * 10**6, b"a\nb"])
def test_a_holder_of_any_name_prints_a_plain_line(tmp_path, content):
    with only_writer(Folder(tmp_path)):
        (tmp_path / HOLDER).write_bytes(content)
        with pytest.raises(UserError) as caught, only_writer(Folder(tmp_path)):
            pass
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000


def test_a_folder_where_a_file_belongs_is_named(tmp_path):
    (tmp_path / "summary.csv").mkdir()
    wrong = f"{tmp_path / 'summary.csv'} is a folder, where a file belongs: move it away"
    for use in (
        lambda folder: folder.write("summary.csv", b"x"),
        lambda folder: folder.read("summary.csv"),
    ):
        with pytest.raises(EntryError, match=f"^{re.escape(wrong)}$"):
            use(Folder(tmp_path))
    assert Folder(tmp_path).names() == ["summary.csv"]
    with pytest.raises(IsADirectoryError) as caught:
        files.read_regular(tmp_path, 10)
    assert reason(caught.value) == "it is a folder, where a file belongs"


@pytest.mark.parametrize("below", [".", "sub", "sub/sub"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path, below):
    (tmp_path / "here").touch()
    for folder in (Folder(tmp_path / "here" / below), Folder(tmp_path).folder("here").folder(below)):
        with pytest.raises(EntryError, match=r"here is not a folder: move it away$"):
            folder.create()


@pytest.mark.parametrize(("below", "target"), [(".", "nowhere"), ("sub", "nowhere"), (".", "here")])
def test_a_broken_link_where_a_folder_belongs_is_named(tmp_path, monkeypatch, below, target):
    monkeypatch.chdir(tmp_path)
    Path("here").symlink_to(target)
    with pytest.raises(EntryError, match=r"^here is not a folder: move it away$"):
        Folder(Path("here") / below).create()


def test_the_command_line_names_a_folder_where_it_writes_a_file(results, unseen):
    (results / "report.html").mkdir()
    done = call("plots", "--results", results)
    wrong = f"optimlab: {results}/report.html is a folder, where a file belongs: move it away\n"
    assert (done.exit_code, done.stderr) == (2, wrong)
