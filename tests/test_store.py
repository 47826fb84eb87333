"""The store: parts are read back bit for bit and in order, and a damaged one affects no other."""

import itertools
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import document, mostly_slow, rows_of, run, tiny

from optimlab.errors import UserError
from optimlab.experiment.runs import FinishedRun, FinishedStack
from optimlab.files import Folder
from optimlab.storage.drawn import INPUTS
from optimlab.storage.manifest import MANIFEST, describe
from optimlab.storage.store import Store
from optimlab.storage.surface import SURFACE
from optimlab.storage.tables import TABLES
from optimlab.training import METRICS, PROBLEM_METRICS

KEYS = ("run_id", "problem", "optimizer", "candidate", "learning_rate", "seed", "role")
RESULTS = [f"{role}_{what}" for role in ("train", "validation", "test") for what in ("loss", "accuracy")]
RUNS = [*KEYS, "status", "steps", *(f"final_{name}" for name in RESULTS)]
TRACES = [*KEYS, "step", "epoch", *RESULTS, "gradient_norm", "update_norm", "update_cosine"]
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


def make_tables(store, experiment):
    """Make the tables from the parts, and return the number of runs by status."""
    return store.write_tables(describe(experiment, store.folder)).statuses


def table(store):
    return rows_of(store.folder.parent, store.folder.name)


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
    make_tables(store, experiment)
    for row, end in zip(table(store), stack.runs, strict=True):
        for name in PROBLEM_METRICS:
            cell = row[f"final_{name}"]
            assert bits(float(cell or "nan")) == bits(end.final[name])
    read = pq.read_table(store.folder / "traces.parquet")
    for name in METRICS:
        assert read[name].to_numpy().tobytes() == stack.traces[name].tobytes()
    assert read["step"].to_pylist() == [0, 7] * 12
    assert read["epoch"].to_pylist() == [0.0, 0.5] * 12


def test_files_are_in_encodings_that_every_reader_of_parquet_knows(tmp_path):
    training = "epochs = 2\nrecord_params = 1\n"
    run(tiny(tmp_path, document(training=training, seeds="tuning = 1\nreporting = 1\n")), tmp_path)
    files = [*(tmp_path / "tiny/parts").iterdir()]
    files += [tmp_path / "tiny" / name for name in ("traces.parquet", "params.parquet")]
    for file in files:
        group = pq.read_metadata(file).row_group(0)
        for column in map(group.column, range(group.num_columns)):
            assert column.compression == "ZSTD"
            assert set(column.encodings) <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}


def test_stored_runs_are_read_and_missing_ones_left_out(store, experiment):
    runs = list(experiment.runs())
    stack = finished(runs[3:6])
    store.write_part(stack)
    read = list(store.read(reversed(runs)))
    ends = [(run, end) for run, end, *_ in read]
    assert ends == list(zip(runs[5:2:-1], stack.runs[::-1], strict=True))
    for place, (_, _, traces, _) in zip((2, 1, 0), read, strict=True):
        assert traces["step"].tolist() == [0, 7]
        assert traces["train_loss"].tolist() == stack.traces["train_loss"].tolist()[2 * place :][:2]


def test_a_part_that_spoils_while_it_is_read_is_named_with_what_will_be_done(store, experiment):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:6]))
    [first] = store.parts.iterdir()
    store.write_part(finished(runs[6:]))
    [second] = set(store.parts.iterdir()) - {first}
    reading = store.read([runs[0], runs[6]])
    next(reading)
    second.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        next(reading)
    assert (
        str(caught.value) == f"{second} has changed since it was written; the next sweep sets it aside"
    )


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_in_the_experiments_order(store, experiment, seed):
    runs = list(experiment.runs())
    rng = np.random.default_rng(seed)
    shuffled = [runs[place] for place in rng.permutation(len(runs))]
    cut = int(rng.integers(1, len(runs)))
    store.write_part(finished(shuffled[:cut], seed=1))
    store.write_part(finished(shuffled[cut:], seed=2))
    counts = make_tables(store, experiment)
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
    make_tables(store, experiment)
    columns = list(table(store)[0])
    assert [name for name in columns if name in RUNS] == RUNS
    assert columns[-4:] == ["beta1", "beta2", "eps", "momentum"]
    assert set(columns) - set(RUNS) == {"rule", "reason", "beta1", "beta2", "eps", "momentum"}
    schema = pq.read_schema(store.folder / "traces.parquet")
    assert schema.names == TRACES
    kinds = dict.fromkeys(("run_id", "problem", "optimizer", "role"), "string")
    kinds |= dict.fromkeys(("candidate", "seed", "step"), "int64")
    assert [str(kind) for kind in schema.types] == [kinds.get(name, "double") for name in TRACES]


def test_cells_of_hyperparameters(store, experiment):
    store.write_part(finished(list(experiment.runs())))
    make_tables(store, experiment)
    cells = {(r["optimizer"], r["momentum"], r["beta1"], r["beta2"], r["eps"]) for r in table(store)}
    assert cells == {("SGD", "0.9", "", "", ""), ("Adam", "", "0.1", "0.999", "1e-08")}


def test_a_metric_that_a_run_does_not_have_is_an_empty_cell(store, experiment):
    stack = finished(list(experiment.runs()), "diverged")
    for end in stack.runs:
        end.final["test_loss"] = float("nan")
    store.write_part(stack)
    make_tables(store, experiment)
    assert {row["final_test_loss"] for row in table(store)} == {""}
    assert all(float(row["final_train_loss"]) >= 0 for row in table(store))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"5", b"\xff", b'{"name": '])
def test_a_manifest_that_cannot_be_read_is_none(store, content):
    if content is not None:
        store.folder.mkdir(parents=True)
        (store.folder / "experiment.json").write_bytes(content)
    assert store.manifest() is None


def test_any_other_end_beats_a_failure_that_came_later(store, experiment):
    runs = list(experiment.runs())
    for status in ("ok", "stuck", "diverged"):
        one, another = Store(store.folder / status), Store(store.folder / f"{status} too")
        for place, end in enumerate((status, "failed")):
            one.write_part(finished(runs[place:], end))
            another.write_part(finished(runs[1 - place :], end))
        assert make_tables(one, experiment)[status] == len(runs)
        assert make_tables(another, experiment)[status] == len(runs) - 1


def test_nothing_finished_gives_empty_tables(store, experiment):
    assert store.finished() == {}
    assert make_tables(store, experiment) == {}
    assert table(store) == []
    assert pq.read_table(store.folder / "traces.parquet").schema.names == TRACES
    manifest = json.loads((store.folder / "experiment.json").read_text())
    assert (manifest["name"], manifest["runs_finished"], manifest["statuses"]) == ("tiny", 0, {})


def test_the_manifest_counts_the_runs_by_status(store, experiment):
    runs = list(experiment.runs())
    for place, status in enumerate(["ok", "stuck", "diverged", "failed"]):
        store.write_part(finished(runs[3 * place : 3 * place + 3 - (place > 1)], status))
    counts = make_tables(store, replace(experiment, title="Größe"))
    assert counts == {"ok": 3, "stuck": 3, "diverged": 2, "failed": 2}
    text = (store.folder / "experiment.json").read_text(encoding="utf-8")
    assert "Größe" in text
    manifest = json.loads(text)
    assert (manifest["title"], manifest["runs_finished"]) == ("Größe", 10)
    assert manifest["statuses"] == counts


def test_failed_runs_run_again_and_a_success_beats_a_failure(store, experiment):
    runs = list(experiment.runs())
    ids = [r.run_id for r in runs]
    store.write_part(finished(runs[:4], "failed"))
    store.write_part(finished(runs[6:8], "diverged"))
    assert set(store.finished()) == set(ids[6:8])
    assert make_tables(store, experiment) == {"failed": 4, "diverged": 2}
    store.write_part(finished(runs[1:3] + runs[10:]))
    assert set(store.finished()) == {*ids[6:8], *ids[1:3], *ids[10:]}
    assert make_tables(store, experiment) == {"failed": 2, "ok": 4, "diverged": 2}
    store.write_part(finished(runs[:3], "failed"))
    assert make_tables(store, experiment) == {"failed": 2, "ok": 4, "diverged": 2}
    traces = pd.read_parquet(store.folder / "traces.parquet")
    assert traces["run_id"].unique().tolist() == [ids[p] for p in (1, 2, 6, 7, 10, 11)]


def test_a_failed_stack_that_succeeds_takes_the_place_of_its_part(store, experiment):
    runs = list(experiment.runs())
    store.write_part(finished(runs, "failed"))
    assert make_tables(store, experiment) == {"failed": 12}
    store.write_part(finished(runs, "ok"))
    assert len(list(store.parts.iterdir())) == 1
    assert make_tables(store, experiment) == {"ok": 12}


def test_a_stack_of_many_runs_has_a_name_that_a_file_system_takes(store, tmp_path):
    many = list(tiny(tmp_path, document(seeds="tuning = 1\nreporting = 40")).runs())
    store.write_part(finished(many))
    assert len(store.finished()) == len(many) == 82


def test_runs_of_another_version_are_left_out(store, experiment, tmp_path):
    other = tiny(tmp_path / "other", document(training="epochs = 2"))
    store.write_part(finished(list(other.runs())))
    store.write_part(finished(list(experiment.runs())[:2] + list(other.runs())[:1], seed=3))
    assert make_tables(store, experiment) == {"ok": 2}
    assert [row["run_id"] for row in table(store)] == [r.run_id for r in experiment.runs()][:2]
    assert make_tables(store, other) == {"ok": 6}


def foreign(path):
    pq.write_table(pa.table({"x": [1]}), path)


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def one_bit(path, place):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def folder(path):
    path.unlink()
    path.mkdir()
    (path / "a").write_text("b")


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("run_id,loss\n"),
    "cut in the middle": lambda path: cut(path, 0.5),
    "cut at the end": lambda path: cut(path, 0.999),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "one bit of the numbers": lambda path: one_bit(path, 0.3),
    "one bit of the metadata": lambda path: one_bit(path, 0.9),
    "foreign": foreign,
    "a folder": folder,
    "a broken link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_not_read(store, experiment, damage):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:6]))
    [path] = store.parts.iterdir()
    store.write_part(finished(runs[6:]))
    DAMAGES[damage](path)
    assert set(store.finished()) == {r.run_id for r in runs[6:]}
    assert make_tables(store, experiment) == {"ok": 6}
    assert len(table(store)) == 6
    assert pq.read_table(store.folder / "traces.parquet").num_rows == 12


def test_whichever_part_is_damaged_the_others_are_read(store, experiment):
    runs = list(experiment.runs())
    for start in range(0, 12, 3):
        store.write_part(finished(runs[start : start + 3]))
    for path in store.parts.iterdir():
        content = path.read_bytes()
        path.write_bytes(b"")
        assert len(store.finished()) == 9
        path.write_bytes(content)


@pytest.mark.parametrize("damage", mostly_slow(DAMAGES, quick=2))
def test_a_damaged_part_is_set_aside_and_its_runs_are_done_again(tmp_path, experiment, damage, capsys):
    results = tmp_path / "results"
    first = run(experiment, results)
    before = {name: (results / "tiny" / name).read_bytes() for name in ("runs.csv", "traces.parquet")}
    path = min((results / "tiny/parts").iterdir())
    lost = len(pq.read_table(path)["run"].unique())
    DAMAGES[damage](path)
    again = run(experiment, results)
    assert f"optimlab: warning: {path} has changed since it was written" in capsys.readouterr().err
    assert (first.ran, again.ran, again.kept) == (12, lost, 12 - lost)
    assert {name: (results / "tiny" / name).read_bytes() for name in before} == before
    assert [p.name for p in (results / "tiny/parts/damaged").iterdir()] == [path.name]
    assert run(experiment, results).ran == 0


def test_what_was_set_aside_is_not_overwritten(store, experiment, capsys):
    for content in ("one", "two", "three"):
        store.write_part(finished(list(experiment.runs())))
        [path] = store.parts.glob("*.parquet")
        path.write_text(content)
        store.set_aside_damaged(experiment)
        assert "has changed since it was written" in capsys.readouterr().err
    assert sorted(p.read_text() for p in store.damaged.iterdir()) == ["one", "three", "two"]


@given(data=st.data())
def test_no_change_of_a_byte_goes_unnoticed(part, data):
    """Whatever happens to a part, it is read as it was written or not at all."""
    path, content = part
    spoilt = bytearray(content)
    start = data.draw(st.integers(0, len(content) - 1))
    spoilt[start : start + data.draw(st.integers(1, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(spoilt)
    assert bool(Store(path.parents[1]).finished()) == (spoilt == content)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """One part, and its content."""
    folder = tmp_path_factory.mktemp("part")
    store = Store(folder / "results/tiny")
    store.write_part(finished(list(tiny(folder).runs())))
    [path] = store.parts.iterdir()
    return path, path.read_bytes()


def test_traces_are_the_same_bytes_however_the_runs_share_parts(store, experiment, monkeypatch):
    monkeypatch.setattr("optimlab.storage.tables.ROWS_IN_A_GROUP", 5)
    runs = list(experiment.runs())
    whole = finished(runs)
    contents = set()
    for cuts in ([0, 12], [0, 1, 2, 12], [0, 3, 6, 9, 12], range(13)):
        store.clear()
        for start, end in itertools.pairwise(cuts):
            rows = (whole.traces["run"] >= start) & (whole.traces["run"] < end)
            traces = {name: column[rows] for name, column in whole.traces.items()}
            traces["run"] -= np.int32(start)
            store.write_part(FinishedStack(whole.runs[start:end], traces))
        make_tables(store, experiment)
        contents.add((store.folder / "traces.parquet").read_bytes())
    assert len(contents) == 1
    read = pq.ParquetFile(store.folder / "traces.parquet")
    sizes = [read.metadata.row_group(n).num_rows for n in range(read.metadata.num_row_groups)]
    assert sizes == [5, 5, 5, 5, 4]
    assert read.read()["train_loss"].to_numpy().tobytes() == whole.traces["train_loss"].tobytes()


def test_what_a_killed_sweep_left_is_removed_and_nothing_else(store, experiment):
    store.write_part(finished(list(experiment.runs())))
    ours = [store.parts / ".a.parquet.12ab.tmp", store.folder / ".runs.csv.12ab.tmp"]
    others = [store.folder / ".summary.csv.12ab.tmp", store.parts / "notes.txt", store.folder / "a.tmp"]
    for path in ours + others:
        path.write_text("x")
    with store.held():
        assert [path.exists() for path in ours + others] == [False, False, True, True, True]
    assert len(store.finished()) == 12


def test_stale_parts_are_named_and_pruned(store, experiment, tmp_path):
    runs = list(experiment.runs())
    other = tiny(tmp_path / "other", document(training="epochs = 2"))
    store.write_part(finished(runs[:6]))
    kept = set(store.parts.iterdir())
    store.write_part(finished(list(other.runs())))
    [gone] = set(store.parts.iterdir()) - kept
    assert store.stale(experiment) == [gone]
    assert store.stale(other) == list(kept)
    store.damaged.mkdir()
    (store.damaged / "old.parquet").write_text("x")
    assert store.prune(experiment) == [gone, store.damaged / "old.parquet"]
    assert set(store.parts.iterdir()) == kept
    assert store.stale(experiment) == []
    assert store.prune(experiment) == []
    assert len(store.finished()) == 6


def test_pruning_deletes_folders_and_links_but_nothing_that_a_link_points_to(
    store, experiment, tmp_path
):
    outside, inside = tmp_path / "outside", store.parts / "a.parquet"
    for place in (outside, inside):
        place.mkdir(parents=True)
        (place / "notes.txt").write_text("x")
    link = store.parts / "b.parquet"
    link.symlink_to(outside)
    assert store.prune(experiment) == [inside, link]
    assert list(store.parts.iterdir()) == []
    assert (outside / "notes.txt").exists()


def test_stale_parts_are_named_in_order(store, experiment, tmp_path, monkeypatch):
    other = tiny(tmp_path / "other", document(training="epochs = 2"))
    for each in other.runs():
        store.write_part(finished([each]))
    in_order = sorted(store.parts.iterdir())
    listed = os.listdir
    monkeypatch.setattr(  # as a file system may list them
        os, "listdir", lambda folder: sorted(listed(folder), reverse=True)
    )
    assert store.stale(experiment) == in_order


def test_a_part_that_a_sweep_writes_meanwhile_is_not_stale(store, experiment, monkeypatch):
    first, second, *_ = experiment.runs()
    store.write_part(finished([first]))
    read = store._index

    def index():
        found = read()
        store.write_part(finished([second]))
        return found

    monkeypatch.setattr(store, "_index", index)
    assert store.stale(experiment) == []


def test_all_results_are_cleared_but_the_lock_and_nothing_that_is_no_results(store, experiment):
    runs = list(experiment.runs())
    store.folder.mkdir(parents=True)
    (store.folder / "notes.txt").write_text("x")
    store.clear()  # there are no parts: it may be any folder
    assert (store.folder / "notes.txt").exists()
    store.write_part(finished(runs))
    make_tables(store, experiment)
    with store.held():
        before = {path.name for path in store.folder.iterdir()}
        store.clear()
        left = {path.name for path in store.folder.iterdir()}
    assert left == {name for name in before if name.startswith(".lock")} != set()


def test_a_part_of_a_later_format_is_left_alone(store, experiment, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("optimlab.storage.parts.FORMAT", 99)
        store.write_part(finished(list(experiment.runs())))
    assert store.finished() == {}
    store.set_aside_damaged(experiment)
    assert store.stale(experiment) == list(store.parts.iterdir()) != []


def fail(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", ["write", "fsync", "replace", "Ctrl-C"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "a.csv"
    path.write_text("old")
    if broken in ("fsync", "replace"):
        monkeypatch.setattr(os, broken, fail)
    with pytest.raises((OSError, KeyboardInterrupt)), Folder(tmp_path).writing("a.csv") as file:  # noqa: PT012
        file.write(b"ha")
        if broken == "write":
            fail()
        if broken == "Ctrl-C":
            raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert only_sound_files(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_part_that_cannot_be_written_is_not_there(store, experiment, monkeypatch, broken):
    runs = list(experiment.runs())
    store.write_part(finished(runs[:3]))
    make_tables(store, experiment)
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        store.write_part(finished(runs[3:]))
    with pytest.raises(OSError, match="No space left"):
        make_tables(store, experiment)
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_reason_of_any_characters_fits_the_table(store, experiment):
    runs = list(experiment.runs())
    reason = 'a\nb, "c" \u20ac \ud800 \x00'
    stack = finished(runs, "failed")
    stack.runs[0] = replace(stack.runs[0], reason=reason)
    store.write_part(stack)
    make_tables(store, experiment)
    rows = table(store)
    assert len(rows) == 12
    assert rows[0]["reason"].startswith('a\nb, "c" \u20ac ')


def test_a_carriage_return_does_not_end_a_line_of_the_table(store, experiment):
    stack = finished(list(experiment.runs()), "failed")
    stack.runs[0] = replace(stack.runs[0], reason="a\rb")
    store.write_part(stack)
    make_tables(store, experiment)
    assert b"\r" not in (store.folder / "runs.csv").read_bytes()
    assert pd.read_csv(store.folder / "runs.csv")["reason"][0] == r"a\rb"


def test_the_page_and_a_bundle_depend_on_every_file_of_the_results():
    assert set(INPUTS) == {MANIFEST, *TABLES, SURFACE}
