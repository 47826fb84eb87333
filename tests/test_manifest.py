"""experiment.json and the headers of parts: any content gives tables or a clear message."""

import contextlib
import json
import shutil
from dataclasses import fields, replace
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweeping import call, document, run, tiny
from test_store import finished

from optimlab.execution.verify import verify
from optimlab.experiment.document import Settings
from optimlab.report import report, section
from optimlab.report.blocks.paths import PathsReport
from optimlab.statistics import problems
from optimlab.storage.manifest import SETTINGS, Manifest, describe, read_manifest
from optimlab.storage.parts import METADATA_KEY
from optimlab.storage.results import NothingToReport, read_tables
from optimlab.storage.store import DamagedPartError, Store
from optimlab.storage.tables import read_runs

TEXT = """
title = "Tiny"
learning_rates = [0.1, 0.3]
[problems.bowl]
name = "landscape"
condition = 5
[problems.net]
name = "digits"
hidden = []
batch_size = 600
[training]
steps = 2
record_every = 1
record_params = 1
[seeds]
tuning = 1
reporting = 1
[optimizers.Own]
rule = "SGD"
[optimizers.Adam]
"""
GONE = object()
VALUES = [GONE, None, True, -1, 0, 10**30, 1e308, float("nan"), float("-inf")]
VALUES += ["x", "\ud800", [], {}, [{}]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder of an experiment of two problems, and its results."""
    folder = tmp_path_factory.mktemp("swept")
    run(tiny(folder, TEXT), folder / "results")
    return folder


def places(value, path=()):
    """Yield the path of every value in a tree, the first of each list's items alone."""
    if path:
        yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:1])
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*path, key))


def edited(tree, path, value):
    """Return a copy of a tree with another value, or none, at a path."""
    tree = json.loads(json.dumps(tree))
    *above, key = path
    branch = tree
    for step in above:
        branch = branch[step]
    if value is GONE:
        del branch[key]
    else:
        branch[key] = value
    return tree


@pytest.mark.slow
def test_every_edit_of_every_key_ends_in_a_section_or_a_message_with_the_key(swept, monkeypatch, capsys):
    """Each value of experiment.json is left out, null, huge, negative, NaN, or of another type."""
    monkeypatch.setattr(report, "draw_charts", lambda *_, **__: [])
    monkeypatch.setattr(report, "report_paths", lambda *_: PathsReport())
    tables = read_tables(swept / "results/tiny")
    [whole] = report.make_reports([tables], STYLES, None, report.silently)
    for name in (
        "section.rank",
        "section._overview",
        "section.edge_warnings",
        "blocks.caveats._of_problems",
    ):
        monkeypatch.setattr(f"optimlab.report.{name}", lambda *_: [])  # they know no manifest
    monkeypatch.setattr(report, "_joined", lambda _: {})
    monkeypatch.setattr("optimlab.report.blocks.costs._figure", lambda *_: None)
    about = json.loads((swept / "results/tiny/experiment.json").read_text())
    shown = refused = 0
    for path in places(about):
        for value in VALUES if len(path) < 3 else VALUES[::3]:
            try:
                manifest = read_manifest(json.dumps(edited(about, path, value)).encode())
            except ValueError as error:
                refused += 1
                message = str(error)
            else:
                shown += 1
                again = replace(whole, tables=replace(tables, experiment=manifest.known()))
                report.labels_of(again.tables)
                problems._defaults(again.tables.experiment)
                message = f"{path[0]} {section.write_section(again, {}).title.strip()}"
            assert path[0] in message or value == "\ud800" or message.startswith("cells: ")
            assert "\n" not in message
    assert shown > 100
    assert refused > 200
    capsys.readouterr()


KEYS = ["tables", "parts", "cells", "seeds", "problems", "optimizers", "record_params", "runs_finished"]


@pytest.mark.slow
def test_every_edit_of_what_tables_are_made_from_ends_in_tables_or_a_message(swept, tmp_path, capsys):
    results = tmp_path / "results"
    shutil.copytree(swept / "results", results)
    path = results / "tiny/experiment.json"
    about = json.loads(path.read_text())
    right = (results / "tiny/runs.csv").read_bytes()
    for place in places({key: about[key] for key in KEYS}):
        for value in (GONE, "x") if len(place) < 3 else (-1,):
            path.write_text(json.dumps({"parts": None} | edited(about, place, value)))
            (results / "tiny/runs.csv").write_bytes(right)
            message = "tiny"
            try:
                read_tables(results / "tiny")
            except NothingToReport as error:
                message = str(error)
            assert "tiny" in message
    run(tiny(tmp_path, TEXT), results)
    assert (results / "tiny/runs.csv").read_bytes() == right
    capsys.readouterr()


STYLES = report.series_styles(["Own", "Adam"])


def test_what_is_written_is_read_back(swept):
    experiment = tiny(swept, TEXT)
    manifest = describe(experiment, swept / "results/tiny")
    assert read_manifest(manifest.content()) == manifest
    assert list(manifest.runs()) == list(experiment.runs())
    stored = Store(swept / "results/tiny").manifest()
    assert stored.runs_finished == stored.runs_expected == 16
    assert stored.file == "../../tiny.toml"
    assert read_manifest(stored.content()) == stored


def test_every_setting_of_the_file_is_in_experiment_json(swept):
    """A setting is declared in one place, and what the statistics read of it is there at once."""
    experiment = replace(tiny(swept, TEXT), final="last", equal_within=0.25, report=("own.py:block",))
    content = describe(experiment, swept / "results/tiny").content()
    about = json.loads(content)
    assert {each.name for each in fields(Settings)} <= about.keys()
    assert (about["final"], about["equal_within"], about["report"]) == ("last", 0.25, ["own.py:block"])
    known = read_manifest(content).known()
    assert {key: known[key] for key in about if key in SETTINGS} == {key: about[key] for key in SETTINGS}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Expecting value"),
        (b'{"final": "best"}', 'final: must be "last", "best_validation", or'),
        (b'{"equal_within": 2}', "equal_within: must be at most 1, got 2"),
        (b"[1]", "it must hold a table"),
        (b"\xff", "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"steps": "many"}', 'steps: must be a whole number, got "many"'),
        (b'{"stuck_loss": NaN}', "stuck_loss: must be finite"),
        (
            b'{"optimizers": {"A": {"candidates": [{"number": -1}]}}}',
            r"optimizers.A.candidates\[1\].number: must be at least 0",
        ),
        (b'{"cells": [["p", "o", 1, 0.1, "x"]]}', "cells: there is no problem or optimizer 'o'"),
        (
            b'{"problems": {"p": {}}, "optimizers": {"o": {}}, "cells": [["p", "o", 1, 0.1, "x"]]}',
            "cells: o has no candidate 1",
        ),
        (b'{"cells": [["p", "o", 0.1, "x"]]}', "cells: they were written by an older version"),
    ],
)
def test_what_is_garbled_is_named(content, says):
    with pytest.raises(ValueError, match=says):
        read_manifest(content)


def test_an_older_manifest_is_read():
    """As version 0.1 wrote it, without cells and digests."""
    about = {"name": "tiny", "stuck_loss": None, "environment": {"cores": 2, "cpu": "x"}, "extra": [1]}
    assert read_manifest(json.dumps(about).encode()).known() == {
        "name": "tiny",
        "environment": {"cores": 2, "cpu": "x"},
    }
    assert list(Manifest().runs()) == []


# Parts that are well digested, and all the same none that a sweep wrote.


def notes(change):
    """Return what changes the words of a part."""

    def rewritten(content):
        table = pq.read_table(pa.BufferReader(content))
        words = json.loads(table.schema.metadata[METADATA_KEY])
        words = change(words) or words
        return parquet(table.replace_schema_metadata({METADATA_KEY: json.dumps(words).encode()}))

    return rewritten


def traces(change):
    """Return what changes the traces of a part."""
    return lambda content: parquet(change(pq.read_table(pa.BufferReader(content))))


def parquet(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def column(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def torn(content):
    """Overwrite the pages of the numbers; the footer stays whole."""
    return content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :]


PARTS = {
    "text": lambda _: b"run_id,loss\n",
    "empty": lambda _: b"",
    "another's Parquet": lambda _: parquet(pa.table({"x": [1]})),
    "torn": torn,
    "no words": traces(lambda table: table.replace_schema_metadata(None)),
    "words that are no JSON": traces(lambda table: table.replace_schema_metadata({METADATA_KEY: b"{"})),
    "words nested deeply": traces(
        lambda table: table.replace_schema_metadata({METADATA_KEY: b"[" * 100_000})
    ),
    "a list": notes(lambda words: [words]),
    "no format": notes(lambda words: words.pop("format") and None),
    "a format of text": notes(lambda words: words | {"format": "two"}),
    "no runs": notes(lambda words: words | {"runs": None}),
    "a run of text": notes(lambda words: words | {"runs": ["ok"]}),
    "a number as reason": notes(lambda words: words["runs"][0].update(reason=1)),
    "no status": notes(lambda words: words["runs"][0].pop("status") and None),
    "another status": notes(lambda words: words["runs"][0].update(status="fine")),
    "a text as loss": notes(lambda words: words["runs"][0]["final"].update(train_loss="low")),
    "no final loss": notes(lambda words: words["runs"][0]["final"].pop("train_loss") and None),
    "fewer runs": notes(lambda words: words["runs"].pop() and None),
    "no column": traces(lambda table: table.drop_columns("update_norm")),
    "no run column": traces(lambda table: table.drop_columns("run")),
    "text as metric": traces(lambda table: column(table, "train_loss", ["x"] * len(table))),
    "runs out of order": traces(lambda table: column(table, "run", np.arange(len(table))[::-1] % 2)),
    "a run below": traces(lambda table: column(table, "run", np.full(len(table), -1))),
    "text for a run": traces(lambda table: column(table, "run", ["x"] * len(table))),
    "runs that are missing": traces(lambda table: column(table, "run", [None] * len(table))),
}


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """Return an experiment of one part, its results, and their table."""
    folder = tmp_path_factory.mktemp("simple")
    experiment = tiny(folder, document())
    run(experiment, folder / "results")
    store = Store(folder / "results/tiny")
    for part in store.parts.iterdir():
        part.unlink()
    store.write_part(finished(list(experiment.runs())))
    store.write_tables(store.manifest())
    return experiment, folder / "results"


def forge(store, content):
    """Put content in the place of the only part, under the name of its digest; return the part."""
    [part] = store.parts.iterdir()
    part.unlink()
    forged = part.with_name(f"{part.stem.partition('-')[0]}-{sha256(content).hexdigest()[:24]}.parquet")
    forged.write_bytes(content)
    return forged


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_that_is_none_is_set_aside_though_its_digest_is_right(simple, tmp_path, capsys, kind):
    results = tmp_path / "results"
    shutil.copytree(simple[1], results)
    store = Store(results / "tiny")
    [part] = store.parts.iterdir()
    forged = forge(store, PARTS[kind](part.read_bytes()))
    assert len(read_tables(results / "tiny").runs) == 6  # those of the tables, which are whole
    store.finished()
    store.stale(simple[0])
    with contextlib.suppress(DamagedPartError):
        list(store.read(simple[0].runs()))
    capsys.readouterr()
    store.set_aside_damaged(simple[0])
    assert f"{forged} has changed since it was written" in capsys.readouterr().err
    assert store.finished() == {}
    assert [path.name for path in store.damaged.iterdir()] == [forged.name]


COLUMNS = {
    "one of the problem's own is missing": (
        lambda table: table.drop_columns("x"),
        "x was not stored, and is computed now",
    ),
    "the parameters are missing": (
        lambda table: table.drop_columns("params"),
        "params was not stored, and is computed now",
    ),
    "one too many": (
        lambda table: table.append_column("luck", table["epoch"]),
        "luck was stored, and is not computed now",
    ),
    "in another order": (lambda table: table.select(table.column_names[::-1]), None),
}


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    """Return an experiment of one run that records its parameters and a metric of its own."""
    folder = tmp_path_factory.mktemp("landscape")
    text = document(
        top="learning_rates = [0.1]",
        problem="",
        training="steps = 2\nrecord_params = 1",
        seeds="tuning = 0\nreporting = 1",
    )
    experiment = tiny(folder, text.replace('"digits"', '"landscape"'))
    run(experiment, folder / "results")
    return experiment, folder / "results"


@pytest.mark.parametrize("case", COLUMNS)
def test_a_part_with_other_columns_is_named_by_verify_and_set_aside(landscape, tmp_path, capsys, case):
    """As a set: their order is no matter."""
    change, told = COLUMNS[case]
    experiment, results = landscape[0], shutil.copytree(landscape[1], tmp_path / "results")
    store = Store(results / "tiny")
    before = store.tables()
    forged = forge(store, traces(change)(next(store.parts.iterdir()).read_bytes()))
    [*differences] = verify(experiment, results, 1, 0, 1).differences
    assert [line.partition("seed 1000: ")[2] for line in differences] == ([told] if told else [])
    assert run(experiment, results).ran == len(differences)
    assert (f"{forged} has changed since it was written" in capsys.readouterr().err) == bool(told)
    assert store.tables() == before


def test_a_cell_that_a_spreadsheet_would_compute_is_text_and_read_back(tmp_path):
    experiment = tiny(tmp_path, document())
    store = Store(tmp_path / "results/tiny")
    reasons = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'quoted'", "plain"]
    first, *others = experiment.runs()
    stack = finished([first, *others], "failed")
    stack.runs[:] = [
        replace(end, reason=reason, final=end.final | {"train_loss": -0.5})
        for end, reason in zip(stack.runs, reasons, strict=False)
    ]
    store.write_part(stack)
    store.write_tables(describe(experiment, store.folder))
    content = (store.folder / "runs.csv").read_text()
    assert ",'=1+1," in content
    assert ",-0.5," in content
    read = read_runs(content.encode())
    assert read["reason"].tolist() == reasons[:6]
    assert set(read["final_train_loss"]) == {-0.5}


def test_a_garbled_manifest_stops_no_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny(tmp_path / "experiments", document())
    call("sweep", "tiny", "--jobs", 1)
    path = tmp_path / "results/tiny/experiment.json"
    path.write_text('{"steps": -1, "cells": 1}')
    done = call("plots")
    assert done.exit_code == 2
    assert "cannot read results/tiny/experiment.json: " in done.stderr
    assert "must be" in done.stderr
    assert call("show", "tiny").exit_code == 0
    assert call("verify", "tiny", "--jobs", 1, "--runs", 1).exit_code == 1
    assert call("sweep", "tiny", "--jobs", 1).exit_code == 0
    assert read_manifest(path.read_bytes()).steps == 2
    assert call("prune", "tiny").exit_code == 0
