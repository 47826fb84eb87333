"""The store: what is written is read back bit for bit, in order, and a damaged part harms no other."""

import csv
import json
import os
import re
import struct
import warnings
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweeping import document, run, tiny

from optimlab.errors import UserError
from optimlab.stack import FinishedRun, FinishedStack
from optimlab.store import Store, write_atomically
from optimlab.training import METRICS, PROBLEM_METRICS

FINALS = [
    f"final_{role}_{what}" for role in ("train", "validation", "test") for what in ("loss", "accuracy")
]
RUNS = ["run_id", "problem", "optimizer", "learning_rate", "seed", "role", "status", "steps", *FINALS]
TRACES = [
    *(
        "run_id",
        "problem",
        "optimizer",
        "learning_rate",
        "seed",
        "role",
        "step",
        "epoch",
        "train_loss",
        "train_accuracy",
    ),
    *(
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
        "gradient_norm",
        "update_norm",
    ),
    "update_cosine",
]
AWKWARD = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2, float("nan"), 1e22]


@pytest.fixture
def experiment(tmp_path):
    """Twelve runs: two optimizers, two learning rates, three seeds."""
    return tiny(tmp_path, document(optimizers="[optimizers.SGD]\n[optimizers.Adam]\nbeta1 = 0.1\n"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results" / "tiny")


def finished(runs, status="ok", seed=0):
    """Return a stack of finished runs with two records each and random numbers in them."""
    rng = np.random.default_rng(seed)
    records = 0 if status == "failed" else 2
    ends = [
        FinishedRun(
            r.run_id, status, "", 7, dict(zip(PROBLEM_METRICS, rng.random(6).tolist(), strict=True))
        )
        for r in runs
    ]
    traces = {
        "run": np.repeat(np.arange(len(runs), dtype=np.int32), records),
        "step": np.tile(np.array([0, 7])[:records], len(runs)),
        "epoch": np.tile(np.array([0, 0.5])[:records], len(runs)),
        **{name: rng.random(len(runs) * records) for name in METRICS},
    }
    return FinishedStack(ends, traces)


def table(store):
    with (store.folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bits(value):
    return struct.pack("<d", value)


def only_sound_files(folder):
    """Assert that no temporary file is left."""
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".") or name.endswith(".tmp")]
    return names


def test_numbers_come_back_bit_for_bit(store, experiment):
    runs = list(experiment.runs())
    stack = finished(runs)
    for place, end in enumerate(stack.runs):
        stack.runs[place] = replace(
            end, final=dict(zip(PROBLEM_METRICS, np.roll(AWKWARD, place), strict=False))
        )
    for place, name in enumerate(METRICS):
        stack.traces[name] = np.resize(np.roll(AWKWARD, place), 24)
    store.write_part(stack)
    store.write_tables(experiment, {})
    for row, end in zip(table(store), stack.runs, strict=True):
        for name in PROBLEM_METRICS:
            cell = row[f"final_{name}"]
            assert bits(float(cell or "nan")) == bits(end.final[name])
    read = pq.read_table(store.folder / "traces.parquet")
    for name in METRICS:
        assert read[name].to_numpy().tobytes() == stack.traces[name].tobytes()
    assert read["step"].to_pylist() == [0, 7] * 12
    assert read["epoch"].to_pylist() == [0.0, 0.5] * 12


@pytest.mark.parametrize("seed", range(3))
def test_rows_stand_in_the_experiments_order(store, experiment, seed):
    runs = list(experiment.runs())
    rng = np.random.default_rng(seed)
    shuffled = [runs[place] for place in rng.permutation(len(runs))]
    cut = int(rng.integers(1, len(runs)))
    store.write_part(finished(shuffled[:cut], seed=1))
    store.write_part(finished(shuffled[cut:], seed=2))
    counts = store.write_tables(experiment, {"name": "tiny"})
    assert counts == {"ok": 12}
    whose = [(r.run_id, r.optimizer, str(r.learning_rate), str(r.seed), r.role) for r in runs]
    keys = ("run_id", "optimizer", "learning_rate", "seed", "role")
    assert [tuple(row[key] for key in keys) for row in table(store)] == whose
    traces = pd.read_parquet(store.folder / "traces.parquet")
    assert traces["run_id"].tolist() == [r.run_id for r in runs for _ in range(2)]
    assert traces["seed"].tolist() == [r.seed for r in runs for _ in range(2)]
    values = {
        run.run_id: stack.traces["update_cosine"][2 * place : 2 * place + 2].tolist()
        for part, stack in (
            (shuffled[:cut], finished(shuffled[:cut], seed=1)),
            (shuffled[cut:], finished(shuffled[cut:], seed=2)),
        )
        for place, run in enumerate(part)
    }
    assert traces["update_cosine"].tolist() == [v for run in runs for v in values[run.run_id]]


def test_tables_have_the_fixed_columns(store, experiment):
    store.write_part(finished(list(experiment.runs())))
    store.write_tables(experiment, {})
    columns = list(table(store)[0])
    assert [name for name in columns if name in RUNS] == RUNS
    assert columns[-4:] == ["beta1", "beta2", "eps", "momentum"]
    assert set(columns) - set(RUNS) == {"rule", "reason", "beta1", "beta2", "eps", "momentum"}
    schema = pq.read_schema(store.folder / "traces.parquet")
    assert schema.names == TRACES
    kinds = {
        "run_id": "string",
        "problem": "string",
        "optimizer": "string",
        "role": "string",
        "seed": "int64",
        "step": "int64",
    }
    assert [str(kind) for kind in schema.types] == [kinds.get(name, "double") for name in TRACES]


def test_cells_of_hyperparameters(store, experiment):
    store.write_part(finished(list(experiment.runs())))
    store.write_tables(experiment, {})
    cells = {(r["optimizer"], r["momentum"], r["beta1"], r["beta2"], r["eps"]) for r in table(store)}
    assert cells == {("SGD", "0.9", "", "", ""), ("Adam", "", "0.1", "0.999", "1e-08")}


def test_a_metric_that_a_run_does_not_have_is_an_empty_cell(store, experiment):
    stack = finished(list(experiment.runs()), "diverged")
    for end in stack.runs:
        end.final["test_loss"] = float("nan")
    store.write_part(stack)
    store.write_tables(experiment, {})
    assert {row["final_test_loss"] for row in table(store)} == {""}
    assert all(float(row["final_train_loss"]) >= 0 for row in table(store))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"5", b"\xff", b'{"name": '])
def test_a_manifest_that_is_none_is_empty(store, content):
    if content is not None:
        store.folder.mkdir(parents=True)
        (store.folder / "experiment.json").write_bytes(content)
    assert store.manifest() == {}


def test_any_other_end_beats_a_failure_that_came_later(store, experiment):
    runs = list(experiment.runs())
    for status in ("ok", "stuck", "diverged"):
        one, another = Store(store.folder / status), Store(store.folder / f"{status} too")
        for place, end in enumerate((status, "failed")):
            one.write_part(finished(runs[place:], end))
            another.write_part(finished(runs[1 - place :], end))
        assert one.write_tables(experiment, {})[status] == len(runs)
        assert another.write_tables(experiment, {})[status] == len(runs) - 1


def test_nothing_finished_gives_empty_tables(store, experiment):
    assert store.finished() == {}
    assert store.write_tables(experiment, {"name": "tiny"}) == {}
    assert table(store) == []
    assert pq.read_table(store.folder / "traces.parquet").schema.names == TRACES
    manifest = json.loads((store.folder / "experiment.json").read_text())
    assert manifest == {"name": "tiny", "runs_finished": 0, "statuses": {}}


def test_the_manifest_counts_the_runs_by_status(store, experiment):
    runs = list(experiment.runs())
    for place, status in enumerate(["ok", "stuck", "diverged", "failed"]):
        store.write_part(finished(runs[3 * place : 3 * place + 3 - (place > 1)], status))
    counts = store.write_tables(experiment, {"title": "Größe"})
    assert counts == {"ok": 3, "stuck": 3, "diverged": 2, "failed": 2}
    text = (store.folder / "experiment.json").read_text(encoding="utf-8")
    assert "Größe" in text
    assert json.loads(text) == {"title": "Größe", "runs_finished": 10, "statuses": counts}


def test_failed_runs_run_again_and_a_success_beats_a_failure(store, experiment):
    runs = list(experiment.runs())
    ids = [r.run_id for r in runs]
    store.write_part(finished(runs[:4], "failed"))
    store.write_part(finished(runs[6:8], "diverged"))
    assert set(store.finished()) == set(ids[6:8])
    assert store.write_tables(experiment, {}) == {"failed": 4, "diverged": 2}
    store.write_part(finished(runs[1:3] + runs[10:]))
    assert set(store.finished()) == {*ids[6:8], *ids[1:3], *ids[10:]}
    assert store.write_tables(experiment, {}) == {"failed": 2, "ok": 4, "diverged": 2}
    store.write_part(finished(runs[:3], "failed"))
    assert store.write_tables(experiment, {}) == {"failed": 2, "ok": 4, "diverged": 2}
    traces = pd.read_parquet(store.folder / "traces.parquet")
    assert traces["run_id"].unique().tolist() == [ids[p] for p in (1, 2, 6, 7, 10, 11)]


def test_a_failed_stack_that_succeeds_takes_the_place_of_its_part(store, experiment):
    runs = list(experiment.runs())
    store.write_part(finished(runs, "failed"))
    assert store.write_tables(experiment, {}) == {"failed": 12}
    store.write_part(finished(runs, "ok"))
    assert len(list(store.parts.iterdir())) == 1
    assert store.write_tables(experiment, {}) == {"ok": 12}


def test_runs_of_another_version_are_left_out(store, experiment, tmp_path):
    other = tiny(tmp_path / "other", document(training="epochs = 2"))
    store.write_part(finished(list(other.runs())))
    store.write_part(finished(list(experiment.runs())[:2] + list(other.runs())[:1], seed=3))
    assert store.write_tables(experiment, {}) == {"ok": 2}
    assert [row["run_id"] for row in table(store)] == [r.run_id for r in experiment.runs()][:2]
    assert store.write_tables(other, {}) == {"ok": 6}


def foreign(path, metadata):
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(metadata), path)


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def zeros(path):
    """Overwrite the data, not the metadata at the end of the file."""
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:end] = bytes(len(content[4:end]))
    path.write_bytes(content)


def one_bit(path):
    """Flip a bit in the middle of the numbers of a column."""
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(5)
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("run_id,loss\n"),
    "cut in the middle": lambda path: cut(path, 0.5),
    "cut at the end": lambda path: cut(path, 0.99),
    "no metadata": lambda path: foreign(path, None),
    "metadata of another": lambda path: foreign(path, {b"pandas": b"{}"}),
    "metadata that is no JSON": lambda path: foreign(path, {b"optimlab": b"{"}),
    "metadata that is another JSON": lambda path: foreign(path, {b"optimlab": b"[1]"}),
    "runs that are none": lambda path: foreign(
        path, {b"optimlab": b'{"format": 1, "runs": [{"a": 1}]}'}
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_left_out_with_a_warning(store, experiment, damage):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:6]))
    [path] = store.parts.iterdir()
    store.write_part(finished(runs[6:]))
    DAMAGES[damage](path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert set(store.finished()) == {r.run_id for r in runs[6:]}
        assert store.write_tables(experiment, {}) == {"ok": 6}
    assert {str(path) in str(w.message) for w in caught} == {True}
    assert len(table(store)) == 6


@pytest.mark.parametrize("damage", ["empty", "cut in the middle", "no metadata"])
def test_the_runs_of_a_damaged_part_run_again(tmp_path, experiment, damage):
    results = tmp_path / "results"
    first = run(experiment, results)
    before = (results / "tiny/runs.csv").read_bytes()
    path = sorted((results / "tiny/parts").iterdir())[0]
    lost = len(pq.read_table(path)["run"].unique())
    DAMAGES[damage](path)
    with pytest.warns(UserWarning, match="is not a sound part"):
        again = run(experiment, results)
    assert (first.ran, again.ran, again.kept) == (12, lost, 12 - lost)
    assert (results / "tiny/runs.csv").read_bytes() == before


@pytest.mark.parametrize("spoil", [zeros, one_bit])
def test_a_part_with_spoilt_numbers_is_named_and_no_table_is_made_of_it(store, experiment, spoil):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:6]))
    Store(store.folder).write_tables(experiment, {})
    [path] = store.parts.iterdir()
    store.write_part(finished(runs[6:]))
    spoil(path)
    with pytest.raises(UserError, match=re.escape(str(path))):
        store.write_tables(experiment, {})
    assert len(table(store)) == 6
    assert pq.read_table(store.folder / "traces.parquet").num_rows == 12
    path.unlink()
    assert store.write_tables(experiment, {}) == {"ok": 6}


def test_a_part_of_a_later_format_is_left_alone(store, experiment):
    runs = list(experiment.runs())
    stack = finished(runs)
    store.write_part(stack)
    [path] = store.parts.iterdir()
    content = {"format": 99, "runs": [asdict(r) for r in stack.runs]}
    foreign(path, {b"optimlab": json.dumps(content).encode()})
    assert store.finished() == {}


def test_a_file_is_replaced_in_whole(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert only_sound_files(tmp_path) == ["a.csv"]


def fail(*args, **kwargs):
    raise OSError(28, "No space left on device")


def half(path):
    path.write_text("ha")
    fail()


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "a.csv"
    path.write_text("old")
    if broken != "write":
        monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(
            path, half if broken == "write" else lambda temporary: temporary.write_text("new")
        )
    assert path.read_text() == "old"
    assert only_sound_files(tmp_path) == ["a.csv"]


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def interrupted(temporary):
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_text() == "old"
    assert only_sound_files(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_part_that_cannot_be_written_is_not_there(store, experiment, monkeypatch, broken):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:3]))
    store.write_tables(experiment, {})
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        store.write_part(finished(runs[3:]))
    with pytest.raises(OSError, match="No space left"):
        store.write_tables(experiment, {})
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_reason_of_any_characters_fits_the_table(store, experiment):
    runs = list(experiment.runs())
    reason = 'a\nb, "c" \u20ac \ud800 \x00'
    stack = finished(runs, "failed")
    stack.runs[0] = replace(stack.runs[0], reason=reason)
    store.write_part(stack)
    store.write_tables(experiment, {})
    rows = table(store)
    assert len(rows) == 12
    assert rows[0]["reason"].startswith('a\nb, "c" \u20ac ')
