"""Labels are text, whatever they look like: tables and charts are those of words, but for the labels."""

import contextlib
import csv
import io
import json
import re
from pathlib import Path

import pytest
from sweeping import document, mostly_slow, plugin, run, tiny
from test_charts import unpacked, without_pictures
from test_store import finished

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
    "labels", mostly_slow([["01", "1", "NA", "nan"], ["false", "true", "10", "1e5"]], quick=0)
)
def test_tables_and_charts_are_those_of_words_but_for_the_labels(plain, swept, labels):
    odd = swept(labels)
    assert {"runs.csv", "summary.csv", "comparisons.csv", "targets.csv"} < plain.keys()
    assert {"profiles.csv", "budget.csv", "paths.csv", "traces", "params", "charts"} < plain.keys()
    for name, text in plain.items():
        assert WORDS[2] in text, name
        for word, label in zip(WORDS, labels, strict=True):
            text = text.replace(word, label)
        assert odd[name] == text, name


@pytest.mark.parametrize(
    "label",
    [
        *("1", "01", "1.0", "0x1", "1_000", "1e5", "1E400", "9" * 30, "٣", "1+2", "1j", "2024-01-01"),
        *("nan", "NaN", "NA", "None", "null", "inf", "Infinity", "true", "False"),
    ],
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
    with (store.folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["final_train_loss"]) for row in csv.DictReader(file)]
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
