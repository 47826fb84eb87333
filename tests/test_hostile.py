"""Hostile input: a clear message or a valid run, never a traceback, a hang or a stray file."""
# ruff: noqa: E501  # a case stands on one line, however long its message

import math
import os
import resource
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeping import OWN, call, document, load, optimlab, plugin, run, tiny, write
from test_charts import blank_pictures

from optimlab.experiment import load as config
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.names import NAME_RULE

MEGABYTE = 2**20
SOME = settings(suppress_health_check=list(HealthCheck))
MANY = settings(SOME, max_examples=2900, derandomize=True, database=None)

TEXTS = [
    "", " ", "\t", "\n", "\0", "a\nb", "a\rb", "a.", "a ", ".", "..", "../../x", "/etc/passwd", "~", "$HOME",
    "CON", "nul.txt", "x" * 300, "x" * 5000, "é", "e\u0301", "ﷺ", "👩\u200d🔬", "\ufeff", "\u2028", "\u202ea", "\u2066",
    "\ud7ff", "\U0010ffff", "\x1b[31m", "\x7f", "\x85", "<script>", "</style>", "a\"'b", "%s", "{0}", "{title}", "\\",
    "$\\frac{", "[red]", ":warning:", "nan", "NaN", "None", "int", "epoch", "literal['epoch']", "SGD", "sgd", "self", "learning_rate",
    "own.py", "own.py:", ":Own", "own.py:Own", "own.py:own", "own.py:Own:Own", "./own.py:Own", "OWN.PY:Own",
    "constrained-int", "a.b", "a[1",
    "../own.py:Own", "below/../own.py:Own", "/dev/zero:Own", "/dev/zero.py:Own", "own.py\0:Own", "own\n.py:Own",
    "folder.py:Own", "loop.py:Own", "outside.py:Own", "pipe.py:Own", "device.py:Own", "latin.py:Own", "nul.py:Own",
    "broken.py:Own", f"{'x' * 300}.py:Own", f"{'x/' * 3000}own.py:Own",
]  # fmt: skip
NUMBERS = [
    "0", "-1", "-0", "2", "1_000", "0x10", "1" + "0" * 12, "1" + "0" * 15, "-1" + "0" * 30, str(2**63), str(2**64),
    "1" + "0" * 400, "9" * 4299, "9" * 5000, "0x" + "f" * 5000, "0.0", "-0.0", "0.5", "1.0", "1e-320", "1e308",
    "1e400", "nan", "-nan", "inf", "-inf", "1e-30", "3." + "3" * 500, "true", "false",
]  # fmt: skip
OTHERS = [
    "", "[", "]", "{", "{}", "[]", "[[]]", "[{}]", "{a.b.c = 1}", "[1, 'a', {}]", "'''", '"""', "1979-05-27", "07:32:00",
    "1979-05-27T07:32:00Z", "2026-99-99", "[" * 99 + "]" * 99, "[" * 3000 + "]" * 3000, "{a=" * 400 + "1" + "}" * 400,
    "[" + "0.1," * 2000 + "]", "[" + "1e-30, 1e30, 0.1," * 300 + "]", "# a comment", "=", "1 = 1", "\x01", "\ud800",
    "[{ units = 4096, activation = 'relu' }" + ", { units = 4096, activation = 'relu' }" * 63 + "]",
    "[{ units = 1000000000, activation = 'relu' }]", "[{ units = 3 }]", "[{ units = 3, activation = 'relu', activation = 3 }]",
]  # fmt: skip
VALID = {
    "": {"title": '"t"', "description": '"d"', "learning_rates": "[0.1, 1]"},
    "problem": {"name": '"digits"', "batch_size": "600", "batch_norm": "true", "dtype": '"float32"'},
    "[problem.hidden]": {"units": "3", "activation": '"relu"'},
    "training": {"epochs": "2", "record_every": "2"},
    "seeds": {"tuning": "1", "reporting": "2"},
    "optimizers.SGD": {"momentum": "0.5", "learning_rates": "[0.2]"},
    "optimizers.Own": {"rule": '"own.py:Own"', "power": "2.0"},
    "optimizers.Adam": {"rule": '"Adam"', "beta1": "0.9", "eps": "1e-8"},
}
PLACES = [(table, key) for table, keys in VALID.items() for key in keys]


def quoted(text):
    """Return a text in TOML, whatever is in it."""
    plain = "".join(c if c.isalnum() or c in " .:/<>" else f"\\U{ord(c):08x}" for c in text)
    return f'"{plain}"'


texts = st.sampled_from(TEXTS) | st.text(max_size=8)
values = (
    st.sampled_from(NUMBERS + OTHERS)
    | texts.map(quoted)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.recursive(
        st.sampled_from(NUMBERS[:8] + NUMBERS[-10:]) | texts.map(quoted),
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
            | st.dictionaries(texts.map(quoted), inner, max_size=3).map(
                lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
            )
        ),
        max_leaves=4,
    )
)
headers = st.sampled_from([*VALID, "optimizers", "optimizers.SGD.rule", "a" + ".a" * 2000]) | texts.map(
    lambda text: f"optimizers.{quoted(text)}"
)
changes = st.one_of(
    st.tuples(st.just("value"), st.sampled_from(PLACES), values),
    st.tuples(st.just("key"), st.sampled_from(PLACES), texts.map(quoted)),
    st.tuples(st.just("twice"), st.sampled_from(PLACES), values),
    st.tuples(st.just("gone"), st.sampled_from(PLACES), st.none()),
    st.tuples(st.just("header"), st.sampled_from([table for table in VALID if table]), headers),
    st.tuples(st.just("table"), headers, st.dictionaries(texts.map(quoted), values, max_size=2)),
)
damages = st.one_of(
    st.just(lambda data: data),
    st.just(lambda data: b"\xef\xbb\xbf" + data),
    st.just(lambda data: data.replace(b"\n", b"\r\n")),
    st.just(lambda data: data.replace(b"\n", b"\r")),
    st.just(lambda data: data.decode(errors="replace").encode("latin-1", "replace")),
    st.just(lambda data: data.decode(errors="replace").encode("utf-16")),
    st.just(lambda data: data * 2),
    st.just(lambda data: data + b"#" * config.LARGEST_FILE),
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=4)).map(
        lambda cut: lambda data: damaged(data, *cut)
    ),
)


def damaged(data, place, length, new):
    start = int(place * len(data))
    return data[:start] + new + data[start + length :]


def changed(all_changes):
    """Return the valid document with these changes, as text."""
    tables = [(header, list(keys.items())) for header, keys in VALID.items()]
    for kind, where, what in all_changes:
        if kind == "table":
            tables.append((where, list(what.items())))
        elif kind == "header":
            tables = [(what if header == where else header, keys) for header, keys in tables]
        for header, keys in tables:
            for place, (key, value) in enumerate(keys):
                if (header, key) == where:
                    new = {
                        "value": [(key, what)],
                        "key": [(what, value)],
                        "twice": [(key, value), (key, what)],
                    }
                    keys[place : place + 1] = new.get(kind, [])
                    break
    lines = []
    for header, keys in tables:
        lines += [f"[{header}]"] if header else []
        lines += [f"{key} = {value}" for key, value in keys]
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def empty_pictures(monkeypatch):
    blank_pictures(monkeypatch)


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """The file to write to, in a folder with plug-ins that are none: links, pipes, folders, garbage."""
    top = tmp_path_factory.mktemp("hostile")
    folder = top / "experiments"
    write(folder, own=plugin(settings=", power=1.0"), broken="def (")
    (top / "own.py").write_text(plugin())
    (folder / "outside.py").symlink_to(top / "own.py")
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "device.py").symlink_to("/dev/zero")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "latin.py").write_bytes(plugin(settings=", name='é'").encode("latin-1"))
    (folder / "nul.py").write_bytes(plugin().encode() + b"\0")
    return folder / "tiny.toml"


def files_beside(file):
    """Return every file from the folder above; Python's own cache of bytecode is none of ours."""
    return {path for path in file.parents[1].rglob("*") if "__pycache__" not in path.parts}


def checked(file):
    """Load a file; return the Experiment, or None and be sure that the message is clear."""
    try:
        experiment, told, mistakes = load(file), "", []
    except ExperimentError as error:
        experiment, told, mistakes = None, str(error), error.mistakes
    if experiment is None:
        head, *lines = told.split("\n  ")
        assert head.startswith(f"{file}: ")
        assert len(head.removeprefix(str(file))) > 10
        assert all(line.isprintable() and len(line) < 600 for line in lines)
        assert len(lines) <= config.MOST_MISTAKES_SHOWN + 1
        assert all(mistake.message for mistake in mistakes)
        assert all(mistake.key for mistake in mistakes) or len(mistakes) == 1
        return None
    assert 1 <= experiment.count() <= config.MOST_RUNS
    assert len(next(experiment.runs()).run_id) == 16
    assert "\x1b" not in experiment.title + experiment.description
    assert experiment.name == "tiny"
    for setting in experiment.optimizers:
        assert setting.label.isprintable()
        assert all(math.isfinite(rate) for rate in setting.learning_rates)
    return experiment


def only_a_message_or_an_experiment(file, all_changes, damage):
    text = changed(all_changes)
    file.write_bytes(damage(text.encode("utf-8", "surrogatepass")))
    return checked(file)


@given(st.lists(changes, min_size=1, max_size=4), damages)
@SOME
def test_hostile_files_give_a_message_or_an_experiment(trap, all_changes, damage):
    only_a_message_or_an_experiment(trap, all_changes, damage)


@pytest.mark.slow
def test_thousands_of_hostile_files_leave_no_trace_and_no_memory(trap):
    outcomes = []
    before, peak = files_beside(trap), peak_bytes()

    @given(st.lists(changes, max_size=2), damages)
    @MANY
    def each(all_changes, damage):
        outcomes.append(only_a_message_or_an_experiment(trap, all_changes, damage))

    each()
    sound = sum(outcome is not None for outcome in outcomes)
    assert len(outcomes) >= 2000
    assert 100 < sound < 2000  # there are both kinds
    assert files_beside(trap) == before
    assert peak_bytes() - peak < 500 * MEGABYTE


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def test_the_document_that_is_changed_is_valid(trap):
    trap.write_text(changed([]))
    experiment = checked(trap)
    assert experiment is not None
    assert experiment.count() == (1 + 2 + 2) * 3


LAYER = "{ units = 4096, activation = 'relu' }"
TOO_LARGE = [
    ({"seeds": "reporting = 1_000_000_000_000"}, "seeds.reporting: must be at most 1e+06, got 1000000000000"),
    ({"seeds": "tuning = 1000\nreporting = 1_000_000"}, "gives 2,002,000 runs; must give at most 1,000,000"),
    ({"training": "epochs = 1_000_000_000_000_000"}, "training.epochs: must be at most 1e+06, got 1000000000000000"),
    ({"training": "epochs = 1_000_000", "problem": "batch_norm = false\nbatch_size = 1"},
     "training.epochs: gives 1,200,000,000 steps per run; must give at most 100,000,000"),
    ({"training": "steps = 100_000\nrecord_every = 1"},
     "gives 600,006 rows of traces, 100,001 per run; must give at most 500,000: record less often, or run less"),
    ({"problem": "hidden = [{ units = 1_000_000_000, activation = 'relu' }]"},
     "problem.hidden[1].units: must be at most 4,096, got 1000000000"),
    ({"problem": f"hidden = [{', '.join([LAYER] * 64)}]"},
     "problem: a run takes 21.4 GB of memory; must take at most 1 GB"),
    ({"problem": f"hidden = [{', '.join([LAYER] * 65)}]"}, "problem.hidden: must have at most 64 items, got "),
    ({"problem": f"batch_size = {'9' * 4200}"}, "problem.batch_size: must be at most 1,200, the size of the tr"),
    ({"optimizers": f"[optimizers.SGD]\nmomentum = {'9' * 4200}"}, "optimizers.SGD.momentum: momentum must be "),
    ({"optimizers": "".join(f"[optimizers.a{i}]\nrule = 'SGD'\n" for i in range(3000))},
     "optimizers: must have at most 100 items, got "),
    ({"top": "learning_rates = [" + "0.1," * 1001 + "]"}, "cannot be read: it has more than 1,000 dots in a line"),
    ({"top": "learning_rates = [\n" + "0.1,\n" * 1001 + "]"}, "learning_rates: must have at most 1000 items, got "),
    ({"top": "#" * 10_000_000}, "cannot be read: it is larger than 100,000 bytes"),
    ({"top": "a" + ".a" * 40_000 + " = 1"}, "cannot be read: it has more than 1,000 dots in a line"),
    ({"top": "a = " + "[" * 45_000}, "is nested too deeply, or holds a number of too many digits"),
    ({"top": f"a = {'9' * 90_000}"}, "is nested too deeply, or holds a number of too many digits"),
]  # fmt: skip


# Python's reader of TOML takes seconds for it.
DEEP = (
    {"top": "".join(f"b{i}{'.a' * 900} = 1\n" for i in range(20))},
    "is nested too deeply, or holds a number",
)


@pytest.mark.parametrize(
    ("parts", "message"),
    [*TOO_LARGE, pytest.param(*DEEP, marks=pytest.mark.slow)],
    ids=[m[:50] for _, m in [*TOO_LARGE, DEEP]],
)
def test_what_is_absurdly_large_is_refused_up_front(tmp_path, monkeypatch, parts, message):
    monkeypatch.setattr(config, "MOST_ROWS", 500_000)
    peak = peak_bytes()
    with pytest.raises(ExperimentError) as caught:
        tiny(tmp_path, document(**parts))
    told = str(caught.value).removeprefix(f"{tmp_path / 'tiny.toml'}: ")
    assert message in (told if told.startswith(message) else told.partition("\n  ")[2])
    assert len(told) < 60_000
    assert peak_bytes() - peak < 500 * MEGABYTE


def test_thousands_of_mistakes_are_not_all_reported(tmp_path):
    with pytest.raises(ExperimentError) as caught:
        tiny(tmp_path, document(problem="".join(f"k{i} = 1\n" for i in range(5000))))
    assert len(caught.value.mistakes) == 5000
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("tiny.toml: 5,000 mistakes")
    assert lines[-1] == "  and 4,900 more"
    assert len(lines) == 1 + 100 + 1


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ('title = "a\\u001b[31mb"', 'title: must hold no control characters, got "a\\u001b[31mb"'),
        ('title = "a\\u202eb"', r'title: must hold no control characters, got "a\u202eb"'),
        ('title = "a\\nb"', 'title: must hold no control characters, got "a\\nb"'),
        ('title = " \\t\\n "', 'title: must not be empty, got " \\t\\n "'),
        ('description = "a\\u0085b"', r'description: must hold no control characters, got "a\x85b"'),
        ('"a\\u001b[2Jb" = 1', r"a\x1b[2Jb: unknown key"),
        ('"a\\u2028b" = 1', r"a\u2028b: unknown key"),
        ('[optimizers."\\u202e"]', rf"optimizers.\u202e: a label is {NAME_RULE}"),
    ],
)
def test_no_control_characters_reach_the_terminal(tmp_path, top, message):
    text = document(top="learning_rates = [1]\n")
    if top.startswith("title"):
        text = text.replace('title = "Tiny"', top)
    else:
        text = text + top if top.startswith("[") else f"{top}\n{text}"
    with pytest.raises(ExperimentError) as caught:
        tiny(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()


def test_lines_and_letters_of_any_script_are_no_control_characters(tmp_path):
    top = 'description = """a\nb\tc 👩\u200d🔬 ﷺ e\u0301"""\nlearning_rates = [1]\n'
    experiment = tiny(tmp_path, document(top=top).replace('"Tiny"', '" Größe 👩\u200d🔬 אב "'))
    assert experiment.title == "Größe 👩\u200d🔬 אב"
    assert experiment.description == "a\nb\tc 👩\u200d🔬 ﷺ e\u0301"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("outside.py:Own", '"outside.py" is not a .py file in the folder of the experiment'),
        ("loop.py:Own", "loop.py"),
        ("device.py:Own", '"device.py" is not a .py file in the folder of the experiment'),
        ("pipe.py:Own", "there is no file {folder}/pipe.py"),
        ("folder.py:Own", "there is no file {folder}/folder.py"),
        ("latin.py:Own", "latin.py cannot be loaded: SyntaxError: "),
        ("nul.py:Own", "nul.py cannot be loaded: "),
        ("own\\u0000.py:Own", r'"own\x00.py" cannot be read: '),
        (f"{'x' * 300}.py:Own", f"{'x' * 200}"),  # cannot be read, or is not there
    ],
)
def test_a_plugin_is_a_file_that_ends_in_the_folder_of_the_experiment(trap, rule, message):
    trap.write_text(document(optimizers=f'[optimizers.Own]\nrule = "{rule}"'))
    with pytest.raises(ExperimentError) as caught:
        load(trap)
    assert "optimizers.Own.rule: " in str(caught.value)
    assert message.format(folder=trap.parent) in str(caught.value)


@pytest.mark.slow
def test_labels_that_differ_by_case_alone_are_two_optimizers(tmp_path):
    optimizers = "[optimizers.SGD]\n[optimizers.sgd]\nrule = 'SGD'\nmomentum = 0.5\n"
    experiment = tiny(tmp_path, document(optimizers=optimizers, top="learning_rates = [0.1, 0.2]\n"))
    run(experiment, tmp_path / "results")
    call("plots", "--results", tmp_path / "results")
    figures = [path.name.lower() for path in (tmp_path / "results/tiny/figures").iterdir()]
    assert len(figures) == len(set(figures))
    assert len([name for name in figures if name.startswith("rates-") and name.endswith(".svg")]) == 2


# The command line, in this process and in its own.


@pytest.mark.slow
def test_a_pipe_or_a_folder_among_the_experiments_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "experiments")
    os.mkfifo(tmp_path / "experiments/pipe.toml")
    (tmp_path / "experiments/folder.toml").mkdir()
    (tmp_path / "experiments/loop.toml").symlink_to("loop.toml")
    (tmp_path / "experiments/endless.toml").symlink_to("/dev/zero")
    listed = call("list").output.split()
    assert "tiny" in listed
    assert {"pipe", "folder", "loop", "endless"}.isdisjoint(listed)
    (tmp_path / "experiments/gone.toml").symlink_to("elsewhere.toml")
    wrong = {
        "pipe": "it is not a regular file",
        "folder": "it is a folder",
        "endless": "it is not a regular file",
        "loop": "it is a broken link",
        "gone": "it is a broken link",
    }
    for name, why in wrong.items():
        done = call("sweep", name)
        assert done.exit_code == 2
        assert f"there is no such experiment; {why}" in done.stderr
        with pytest.raises(ExperimentError, match="cannot be read"):
            load(tmp_path / f"experiments/{name}.toml")


def test_a_file_of_another_ending_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    for name in ("none", "own.TOML", "folder.d"):
        (tmp_path / name).touch()
        assert (
            f'{name}: there is no such experiment; the name of an experiment file must end in ".toml"'
            in (call("check", name).stderr)
        )
    assert "did you mean tiny.toml?" in call("check", "tiny").stderr


NAMES = ["", ".", "..", "../..", "/", "/dev/zero", "x" * 300, "x/" * 3000]
NAMES += ["a\nb", "\x1b[31m", "*", "~", "[red]", "%s"]


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}.toml" for name in NAMES)])
def test_an_experiment_that_is_none_gives_2(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for command in ("sweep", "show"):
        done = call(command, name)
        assert done.exit_code == 2
        assert done.stderr.startswith("optimlab: ")
        assert done.stderr.strip().isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["report.html", "Report.HTML"])
def test_an_experiment_may_not_take_the_place_of_the_page(tmp_path, name):
    with pytest.raises(ExperimentError, match=r"cannot have the page's name, report\.html"):
        tiny(tmp_path, name=name)


REAL = {
    "empty": b"",
    "garbage": bytes(range(256)) * 8,
    "10 MB": b"#" * 10_000_000,
    "latin-1": document().replace("Tiny", "é").encode("latin-1"),
    "utf-16": document().encode("utf-16"),
    "deep": document(problem=f"hidden = {'[' * 40_000}").encode(),
    "deep key": document(top="a" + ".a" * 40_000 + " = 1").encode(),
    "huge": document(seeds="reporting = 1_000_000_000_000").encode(),
    "wide": document(problem=f"hidden = [{', '.join([LAYER] * 64)}]").encode(),
    "escape": document().replace('"Tiny"', '"\\u001b[31m"').encode(),
    "twice": document(top="learning_rates = [1]\nlearning_rates = [1]").encode(),
    "nowhere": document(optimizers='[optimizers.a]\nrule = "../../own.py:Own"').encode(),
    "pipe": document(optimizers='[optimizers.a]\nrule = "pipe.py:Own"').encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_the_real_command_line_reports_what_is_wrong(tmp_path, name):
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "tiny.toml").write_bytes(REAL[name])
    os.mkfifo(folder / "pipe.py")
    before = files_beside(folder / "tiny.toml")
    done = optimlab("sweep", "tiny", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("optimlab: experiments/tiny.toml: ")
    assert "Traceback" not in done.stderr
    assert files_beside(folder / "tiny.toml") == before


@pytest.mark.slow
def test_a_terminal_without_the_letters_of_a_title(tmp_path):
    text = document(seeds="tuning = 1\nreporting = 0").replace("Tiny", "Größe η 👩‍🔬")
    write(tmp_path / "experiments", text)
    for words in (("sweep", "tiny", "--jobs", 1), ("show", "tiny"), ("list",)):
        done = optimlab(*words, cwd=tmp_path, PYTHONIOENCODING="ascii", COLUMNS="200")
        assert (done.returncode, done.stderr) == (0, "")
        assert r"Gr\xf6\xdfe \u03b7" in done.stdout


@pytest.mark.slow
def test_folders_whose_names_are_not_utf8(tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    write(odd / "experiments")
    outside = optimlab("sweep", odd / "experiments/tiny.toml", cwd=tmp_path)
    assert outside.returncode == 2
    assert r"\udcff/experiments/tiny.toml: is in a folder whose name is not UTF-8" in outside.stderr
    inside = optimlab("sweep", "tiny", "--jobs", 1, cwd=odd)
    assert (inside.returncode, inside.stderr) == (0, "")


# The page: whatever is written in an experiment, the page has the elements that it always has.

HTML = "<script>alert(1)</script></style></title></pre><b onclick='x'>\"'&lt;{{ 7 * 7 }}${x}"


class Elements(HTMLParser):
    """The kinds of elements of a page, each with its attributes' names; and its texts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.add((tag, *sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def page_of(folder, hostile):
    """Sweep a tiny experiment whose every text is `hostile`, or is plain, and return its page."""
    title, reason, value = (hostile, hostile, hostile) if hostile else ("title", "reason", "value")
    file = f"{hostile.replace('/', '')[:80]}.py" if hostile else "plain.py"
    source = plugin(
        init=f"if np.any(self.learning_rate > 0.2): raise ValueError({reason!r})",
        settings=f", text={value!r}",
    )
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / file).write_text(source, encoding="utf-8")
    optimizers = f"[optimizers.Own]\nrule = {quoted(file + ':Own')}\ntext = {quoted(value)}\n"
    top = f"description = {quoted(title)} # {title}\nlearning_rates = [0.1, 0.3]\n"
    text = document(top=top, optimizers=optimizers).replace('"Tiny"', quoted(title))
    experiment = tiny(folder / "experiments", text)
    run(experiment, folder / "results")
    assert call("plots", "--results", folder / "results").exit_code == 0
    return (folder / "results/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_text_of_an_experiment_becomes_markup(tmp_path):
    plain = Elements(page_of(tmp_path / "plain", ""))
    hostile = Elements(page_of(tmp_path / "hostile", HTML))
    assert hostile.elements == plain.elements
    text = "".join(hostile.texts)
    assert text.count(HTML) >= 4  # title, description, hyper-parameter, reason
    assert f"ValueError: {HTML}" in text


REASONS = ["a\rb", "a\r\nb", "\r", "a\0b", 'a"b,c', "\ud800", "\u202eab", "nan", "", "x" * 100_000]


@pytest.mark.slow
def test_a_failure_of_any_words_can_be_reported(tmp_path):
    """What a plug-in raises stands in runs.csv, which the page is made from."""
    step = f"if np.any(self.learning_rate > 0.2): raise ValueError({REASONS!r}[state['seed'] % {len(REASONS)}])"
    source = plugin(step=step).replace(
        '{"steps": 0}', '{"steps": 0, "seed": int(abs(params.sum() * 1e6))}'
    )
    text = document(optimizers=OWN, seeds="tuning = 1\nreporting = 40\n")
    outcome = run(tiny(tmp_path, text, own=source), tmp_path / "results")
    assert outcome.statuses["failed"] == 41
    done = call("plots", "--results", tmp_path / "results")
    assert done.exit_code == 0
    assert done.stderr.count("\n") == 1  # one of two rates can only be at the end of the grid
    assert "the best learning rate is at the end of the grid for Own" in done.stderr
    runs = pd.read_csv(tmp_path / "results/tiny/runs.csv", dtype=str)
    assert runs["status"].value_counts().to_dict() == {"ok": 41, "failed": 41}
    assert runs["reason"].nunique() == len(REASONS)
