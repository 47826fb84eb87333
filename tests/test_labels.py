"""Labels that look like numbers or missing values are treated as text in tables and charts."""

import contextlib
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from sweeping import document, mistakes_of, mostly_slow, plugin, rows_of, run, tiny, write
from test_charts import unpacked, without_pictures
from test_store import finished

from optimlab.errors import printable
from optimlab.experiment.changes import load_changed
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.names import NAME_RULE
from optimlab.report.page import write_report
from optimlab.storage.manifest import describe
from optimlab.storage.store import Store
from optimlab.storage.tables import read_records, read_runs

TEXT = """
title = "Labels"
learning_rates = [0.1, 0.3]
[problems."{}"]
name = "landscape"
condition = 5
[problems."{}"]
name = "landscape"
function = "saddle"
condition = 2
spread = 0.01
[training]
steps = 3
record_every = 1
record_params = 1
[seeds]
tuning = 1
reporting = 6
[optimizers."{}"]
rule = "SGD"
momentum = 0
[optimizers."{}"]
rule = "Adam"
"""
WORDS = ["pword", "qword", "rword", "sword"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return a function: four labels → the tables of a sweep, and the data of its charts, as text."""

    def files(labels):
        folder = tmp_path_factory.mktemp("labels")
        run(tiny(folder, TEXT.format(*labels)), folder / "results")
        with pytest.MonkeyPatch.context() as patch:
            without_pictures(patch)
            page = write_report(folder / "results").read_text(encoding="utf-8")
        texts = {path.name: path.read_text() for path in (folder / "results/tiny").glob("*.csv")}
        for name in ("traces", "params"):
            table = read_records((folder / f"results/tiny/{name}.parquet").read_bytes())
            texts[name] = table.to_csv()
        charts = [unpacked(text) for text in re.findall(r'"application/gzip">(.*?)</script', page)]
        data = json.dumps(charts, ensure_ascii=False)
        for changes in ("view_[0-9a-f]{16}", r"width / 2 < [0-9.]+", r"narrow \? [0-9]+ : [0-9]+"):
            # they go with a label's letters or its length
            data = re.sub(changes, "", data)
        data = re.sub(r'"seconds": \[[^]]*\]', "", data)  # measured, so of each sweep alone
        return texts | {"charts": data}

    return files


@pytest.fixture(scope="module")
def plain(swept):
    return swept(WORDS)


@pytest.mark.parametrize(
    "labels",
    mostly_slow(
        [
            (["01", "1", "NA", "nan"],),
            (["false", "true", "10", "1e5"],),
            (["घाटी", "สุ่ม", "café", "می\u200cخواهم"],),
        ],
        quick=0,
    ),
)
def test_tables_and_charts_are_those_of_words_but_for_the_labels(plain, swept, labels):
    odd = swept([unicodedata.normalize("NFD", label) for label in labels])
    assert {"runs.csv", "summary.csv", "comparisons.csv", "targets.csv"} < plain.keys()
    assert {"profiles.csv", "budget.csv", "paths.csv", "traces", "params", "charts"} < plain.keys()
    for name, text in plain.items():
        assert WORDS[2] in text, name
        for word, label in zip(WORDS, labels, strict=True):
            text = text.replace(word, label)
        is_same = odd[name] == text  # pytest would take minutes to show where long texts differ
        assert is_same, name


@pytest.mark.parametrize(
    "label",
    mostly_slow(
        [
            *("1", "nan", "true", "1e5", "01", "None", "2024-01-01"),
            *("1.0", "0x1", "1_000", "1E400", "9" * 30, "٣", "1+2", "1j"),
            *("NaN", "NA", "null", "inf", "Infinity", "False"),
        ],
        quick=7,
    ),
)
def test_a_label_is_read_as_it_was_written(tmp_path, label):
    """Alone in its column, so that nothing beside it makes the column one of text."""
    text = document(
        top="learning_rates = [0.30000000000000004]\n",
        optimizers=f'[optimizers."{label}"]\nrule = "own.py:Own"\ntext = "{label}"',
    ).replace("[problem]", f'[problems."{label}"]')
    experiment = tiny(tmp_path, text, own=plugin(settings=", text='', power=2.5"))
    store = Store(tmp_path / "results/digits")
    store.write_part(finished(list(experiment.runs())))
    store.write_tables(describe(experiment, store.folder))
    runs = read_runs((store.folder / "runs.csv").read_bytes())
    traces = read_records((store.folder / "traces.parquet").read_bytes())
    for table in (runs, traces):
        assert set(table["problem"]) == set(table["optimizer"]) == {label}
        assert set(table["learning_rate"]) == {0.30000000000000004}
    assert set(runs["text"]) == {label}
    with_numbers = read_runs(
        (store.folder / "runs.csv").read_bytes(), describe(experiment, store.folder).numbers()
    )
    assert set(with_numbers["text"]) == {label}
    assert set(with_numbers["power"]) == {2.5}
    assert set(runs["reason"]) == {""}
    assert set(runs["rule"]) == {"own.py:Own"}
    losses = [float(row["final_train_loss"]) for row in rows_of(store.folder.parent, store.folder.name)]
    assert runs["final_train_loss"].tolist() == losses  # to the last bit
    as_documented = read_as_the_documentation_says(tmp_path)
    assert set(as_documented["problem"]) == set(as_documented["optimizer"]) == {label}
    assert as_documented["final_train_loss"].dtype == float


def read_as_the_documentation_says(folder):
    """Run the Python of results/README.md in a folder, and return the table of runs that it reads."""
    text = (Path(__file__).parents[1] / "results/README.md").read_text(encoding="utf-8")
    [code] = re.findall("```python\n(.*?)```", text, re.DOTALL)
    names = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)
    return names["runs"]


@pytest.mark.parametrize(
    "name",
    [
        *("नेस्तेरोव", "สุ่ม", "தமிழ்", "ខ្មែរ", "မြန်မာ", "עִבְרִית", "Größe", "cafe\u0301", "一"),
        *("क्\u200dष", "ක්\u200dය", "র\u200d্যাম", "അവന്\u200d", "می\u200cخواهم", "क्\u200c"),
        *("आ" * 60, "e\u0301" * 60),
    ],
)
def test_names_may_be_in_any_language(tmp_path, name):
    text = document(optimizers=f'[optimizers."{name}"]\nrule = "SGD"\n')
    experiment = tiny(tmp_path, text.replace("[problem]", f'[problems."{name}"]'), name=name)
    assert {experiment.name, experiment.problems[0].label, experiment.optimizers[0].label} == {
        unicodedata.normalize("NFC", name)
    }
    assert printable(experiment.name) == experiment.name
    assert printable("\N{WOMAN}\u200d\N{MICROSCOPE}") == "\N{WOMAN}\\u200d\N{MICROSCOPE}"


@pytest.mark.parametrize(
    "name",
    [
        *("\u0301a", "a \u0301", "+\u0301", "आ" * 61, "e\u0301" * 61, "\u093e", "नेस्तेरोव "),
        # invisible: the name looks like another
        *("Ada\u200dm", "Adam\u200d", "\u200dAdam", "می\u200dخ", "خ\u200c", "\u200cخ", "खा\u200cन"),
        *("Adam\ufe0f", "Adam\u034f", "Adam\u3164", "Adam\U000e0101", "क\u200b"),
    ],
)
def test_marks_without_letters_and_what_cannot_be_seen_are_refused(tmp_path, name):
    text = document(optimizers=f'[optimizers."{name}"]\nrule = "SGD"\n')
    with pytest.raises(ExperimentError) as caught:
        tiny(tmp_path, text)
    [mistake] = caught.value.mistakes
    assert mistake.message == f"a label is {NAME_RULE}"


def test_accents_that_are_typed_in_two_ways_make_one_name(tmp_path):
    both = '[optimizers."é"]\nrule = "SGD"\n[optimizers."e\u0301"]\nrule = "Adam"\n'
    file = write(tmp_path, document(optimizers=both))
    wrong = "is there twice: its accents are typed in two ways, which make one label"
    assert mistakes_of(file) == [f"optimizers.é: {wrong}"]
    file = write(tmp_path, document(optimizers='[optimizers."e\u0301"]\nrule = "SGD"\nmomentun = 1\n'))
    assert "optimizers.é.momentun: unknown key; did you mean momentum?" in str(mistakes_of(file))


@pytest.mark.parametrize("typed", ["é", "e\u0301"])
@pytest.mark.parametrize("named", ["é", "e\u0301"])
def test_a_name_is_found_however_its_accents_are_typed(tmp_path, monkeypatch, named, typed):
    (tmp_path / "experiments").mkdir()
    write(tmp_path / "experiments", document(optimizers=f'[optimizers."{named}"]\nrule = "SGD"'), named)
    monkeypatch.chdir(tmp_path)
    experiment = load_changed(typed, [f'optimizers."{typed}".momentum=0.5'])
    [optimizer] = experiment.optimizers
    assert experiment.name.startswith("é+")
    assert optimizer.label == "é"
    assert optimizer.hyperparameters["momentum"] == 0.5
