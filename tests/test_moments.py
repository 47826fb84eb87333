"""Tables of different sweeps, and tampered ones, are detected and reported."""

import csv
import json
import os
import shutil

import pyarrow.parquet as pq
import pytest
from sweeping import call, document, load, mostly_slow, run, tiny, write
from test_charts import without_pictures
from test_store import finished

from optimlab.errors import UserError
from optimlab.execution.plan import plan
from optimlab.execution.verify import verify
from optimlab.experiment.runs import FinishedRun
from optimlab.report.page import write_report
from optimlab.storage.results import NothingToReport, read_experiments, read_tables
from optimlab.storage.store import Store
from optimlab.storage.surface import SURFACE
from optimlab.storage.tables import TABLES

TEXT = document(training="epochs = 1\nrecord_params = 1\n")
MORE = TEXT.replace("reporting = 2", "reporting = 4")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the folder of an experiment and its results."""
    folder = tmp_path_factory.mktemp("swept")
    run(tiny(folder, TEXT), folder / "results")
    return folder


@pytest.fixture
def place(swept, tmp_path):
    """Return a copy of it all."""
    shutil.copytree(swept, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def results(place):
    return place / "results"


def table_bytes(results):
    return {name: (results / "tiny" / name).read_bytes() for name in TABLES}


def killed_before(monkeypatch, name):
    """Have the next process that writes tables end before this file is in place, as by kill -9."""
    replace = os.replace

    class Killed(BaseException):
        pass

    def replace_or_end(source, target, **folders):
        if os.fspath(target) == name:
            raise Killed
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", replace_or_end)
    return Killed


@pytest.mark.parametrize("name", ["runs.csv", "experiment.json"])
def test_tables_of_two_moments_are_made_again(place, results, monkeypatch, capsys, name):
    """A sweep is killed between two files: those before it know the new runs, the others do not."""
    before = table_bytes(results)
    more = tiny(place, MORE)
    with monkeypatch.context() as patch:
        killed = killed_before(patch, name)
        with pytest.raises(killed):
            run(more, results)
    mixed = table_bytes(results)
    assert mixed["traces.parquet"] != before["traces.parquet"]
    assert (mixed["runs.csv"] == before["runs.csv"]) == (name == "runs.csv")
    read = read_tables(results / "tiny")
    assert "had changed since it was written: all tables are made from the parts again" in (
        capsys.readouterr().err
    )
    assert len(read.runs) == 6  # those of the experiment that experiment.json describes
    assert set(read.traces["run_id"]) == set(read.runs["run_id"])
    assert table_bytes(results) == before
    run(more, results)
    assert len(read_tables(results / "tiny").runs) == 10
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["runs.csv", "traces.parquet", "experiment.json"])
def test_a_first_sweep_that_is_killed_before_it_trains_can_be_repeated(tmp_path, monkeypatch, name):
    experiment, made = tiny(tmp_path), []
    with monkeypatch.context() as patch:
        replace = os.replace

        def replace_or_end(source, target, **folders):
            if target == name and (made or name != "experiment.json"):
                raise OSError(28, "No space left on device")
            replace(source, target, **folders)
            made.append(target)

        patch.setattr(os, "replace", replace_or_end)
        with pytest.raises(OSError, match="No space left"):
            run(experiment, tmp_path / "results")
    assert made[0] == "experiment.json"
    with pytest.raises(NothingToReport, match="no run has finished yet"):
        read_tables(tmp_path / "results/tiny")
    run(experiment, tmp_path / "results")
    assert len(read_tables(tmp_path / "results/tiny").runs) == 6


def test_a_resumed_sweep_first_makes_consistent_tables(place, results, monkeypatch):
    before, seen = table_bytes(results), []
    (results / "tiny/runs.csv").write_text("garbled")
    monkeypatch.setattr(
        "optimlab.execution.sweep.trained",
        lambda *_: seen.append(table_bytes(results)) or (_ for _ in ()),
    )
    run(load(place / "tiny.toml"), results)
    assert seen == [before]


def test_while_a_sweep_writes_only_complete_tables_are_read(results, capsys):
    with Store(results / "tiny").held():
        assert len(read_tables(results / "tiny").runs) == 6
        assert capsys.readouterr().err == ""
        (results / "tiny/runs.csv").write_bytes(b"a new table\n")
        with pytest.raises(NothingToReport, match=r"is writing here; .* then run `make plots RESULTS="):
            read_tables(results / "tiny")
    assert len(read_tables(results / "tiny").runs) == 6


@pytest.mark.slow
def test_runs_that_finished_since_are_reported(place, results, monkeypatch, capsys):
    """A sweep is killed while it runs: the parts know more runs than the tables."""
    [*parts] = (results / "tiny/parts").iterdir()
    more = tiny(place, MORE)
    write_part = Store.write_part

    def only(self, stack):
        write_part(self, stack)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_part", only)
        patch.setattr(Store, "write_tables", lambda self, manifest: manifest)
        with pytest.raises(KeyboardInterrupt):
            run(more, results)
    assert len([*(results / "tiny/parts").iterdir()]) == len(parts) + 1
    with Store(results / "tiny").held():
        assert len(read_tables(results / "tiny").runs) == 6
    assert "the tables are those of the last sweep" in capsys.readouterr().err
    assert len(read_tables(results / "tiny").runs) == 6  # the file of that moment knows no others
    run(more, results)
    assert len(read_tables(results / "tiny").runs) == 10


def test_parts_without_tables_yet_are_reported(place, results, capsys):
    """A first sweep is killed: its tables are those of its start, with no run."""
    parts = sorted((results / "tiny/parts").iterdir())
    shutil.move(results / "tiny/parts", place / "parts")
    for name in (*TABLES, SURFACE):
        (results / "tiny" / name).unlink()
    (results / "tiny/experiment.json").unlink()
    store = Store(results / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("optimlab.execution.sweep.trained", lambda *_: (_ for _ in ()))
        run(load(place / "tiny.toml"), results)
    (results / "tiny/parts").mkdir()
    for part in parts:
        (place / "parts" / part.name).rename(part)
    assert store.manifest().runs_finished == 0
    assert len(read_tables(results / "tiny").runs) == 6
    assert "tiny: its tables are made again, with 6 more runs" in capsys.readouterr().err
    for name in (*TABLES, "experiment.json"):
        (results / "tiny" / name).unlink()
    with pytest.raises(NothingToReport, match="tiny has finished runs but no tables: run `make sweep "):
        read_tables(results / "tiny")


def forge_loss(results):
    path = results / "tiny/runs.csv"
    lines = path.read_text().splitlines(keepends=True)
    row = next(csv.reader([lines[2]]))
    lines[2] = lines[2].replace(row[13], "0.01")
    path.write_text("".join(lines))


def forge_label(results):
    path = results / "tiny/runs.csv"
    path.write_text(path.read_text().replace(",SGD,SGD,1,0.1,", ",SGD,SGD,1,0.3,", 1))


def drop_row(results):
    path = results / "tiny/runs.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def forge_trace(results):
    path = results / "tiny/traces.parquet"
    table = pq.read_table(path).to_pandas()
    table.loc[3, "validation_loss"] /= 2
    table.to_parquet(path)


def drop_column(results):
    path = results / "tiny/traces.parquet"
    pq.write_table(pq.read_table(path).drop_columns("update_norm"), path)


def forge_params(results):
    path = results / "tiny/params.parquet"
    table = pq.read_table(path).to_pandas()
    table.at[0, "params"] = table.at[0, "params"] * 0
    table.to_parquet(path)


FORGERIES = {
    forge_loss: "runs.csv: final_validation_loss of row 2 is 0.01, and the parts give 1.",
    forge_label: "runs.csv: learning_rate of row 1 is 0.3, and the parts give 0.1",
    drop_row: "runs.csv: it has 5 rows, and the parts give 6",
    forge_trace: "traces.parquet: validation_loss of row 4 is ",
    drop_column: "traces.parquet: it has other columns: update_norm",
    forge_params: "params.parquet: params of row 1 is ",
}


@pytest.mark.parametrize("forge", mostly_slow(FORGERIES, quick=3))
def test_a_forged_table_is_found_by_verify_and_made_again_by_plots(place, results, capsys, forge):
    before, experiment = table_bytes(results), load(place / "tiny.toml")
    forge(results)
    [wrong] = verify(experiment, results, 1, None, 1).tables
    assert wrong.startswith(FORGERIES[forge])
    changed = FORGERIES[forge].partition(":")[0]
    read_tables(results / "tiny")
    assert f"{changed} had changed since it was written" in capsys.readouterr().err
    assert table_bytes(results) == before
    assert verify(experiment, results, 1, None, 1).tables == []


def test_a_forged_table_with_forged_digests_is_found_by_verify(place, results):
    """With digests of the forged tables in experiment.json; only the parts and the file tell."""
    experiment = load(place / "tiny.toml")
    store = Store(results / "tiny")
    forge_loss(results)
    path = results / "tiny/experiment.json"
    about = json.loads(path.read_text())
    del about["tables"]
    path.write_text(json.dumps(about))
    assert any(
        "final_validation_loss of row 2" in text for text in verify(experiment, results, 1, 0, 1).tables
    )
    store.write_tables(store.manifest())
    about = json.loads(path.read_text()) | {"title": "Another", "stuck_loss": 1.5}
    path.write_text(json.dumps(about))
    said = verify(experiment, results, 1, 0, 1).tables
    assert sorted(text.partition(" differs from ")[0] for text in said) == [
        "experiment.json: stuck_loss", "experiment.json: title",
    ]  # fmt: skip


def test_verify_looks_at_the_tables_of_the_file_as_it_was(place, results):
    experiment = tiny(place, f"{TEXT}# a remark\n")
    assert verify(experiment, results, 1, 0, 1).tables == []
    forge_loss(results)
    assert len(verify(experiment, results, 1, 0, 1).tables) == 1
    (results / "tiny/experiment.json").write_text("{")
    assert (
        verify(experiment, results, 1, 0, 1)
        .tables[0]
        .startswith("experiment.json is missing or garbled")
    )


def test_a_table_that_is_no_ones_and_cannot_be_made_again_is_left_alone(place, results):
    shutil.rmtree(results / "tiny/parts")
    assert len(read_tables(results / "tiny").runs) == 6  # as they may be published
    path = results / "tiny/runs.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = table_bytes(results)
    with pytest.raises(NothingToReport, match=r"runs.csv has changed .* the parts hold 0 of"):
        read_tables(results / "tiny")
    assert table_bytes(results) == before


def test_pruned_runs_do_not_empty_the_tables_of_the_file_as_it_was(place, results, capsys):
    other = tiny(place, TEXT.replace("0.3", "0.5"))
    before = table_bytes(results)
    with Store(results / "tiny").held():
        assert Store(results / "tiny").prune(other)
    assert len(read_tables(results / "tiny").runs) == 6
    assert table_bytes(results) == before
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_one_folder_that_cannot_be_read_does_not_stop_the_page(place, results, monkeypatch, capsys):
    without_pictures(monkeypatch)
    for name, content in {"foreign": "name,age\nA,1\n", "empty": "", "binary": "\0"}.items():
        (results / name).mkdir()
        (results / name / "runs.csv").write_text(content)
    (results / "unread").mkdir()
    (results / "unread/parts").mkdir()
    (results / "notes").mkdir()
    page = write_report(results).read_text(encoding="utf-8")
    assert "Tiny" in page
    lines = capsys.readouterr().err
    for name in ("foreign", "empty", "binary", "unread"):
        assert f"{results / name}" in lines
        assert name not in [read.folder.name for read in read_experiments(results)]
    assert "notes" not in lines
    with pytest.raises(NothingToReport, match="foreign"):
        read_experiments(results, ["tiny", "foreign"])


# Names that collide.


def test_two_files_of_one_name_do_not_share_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = load(write(tmp_path / "a", TEXT, name="mine"))
    other = load(write(tmp_path / "b", MORE, name="mine"))
    results = tmp_path / "results"
    run(one, results)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    for use in (
        lambda: run(other, results),
        lambda: run(other, results, fresh=True),
        lambda: plan(other, results, 1),
        lambda: verify(other, results, 1, 0, 1),
    ):
        with pytest.raises(UserError) as caught:
            use()
        assert str(tmp_path / "a/mine.toml") in str(caught.value)
        assert str(tmp_path / "b/mine.toml") in str(caught.value)
        assert "--results" in str(caught.value)
    for command in ("prune", "show", "sweep"):
        done = call(command, "b/mine.toml")
        assert done.exit_code == 2
        assert "a/mine.toml" in done.stderr
    after = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    assert after == before
    assert call("show", "a/mine.toml").exit_code == 0  # however the path is written
    assert call("show", tmp_path / "a/mine.toml").exit_code == 0


def test_a_file_that_moved_with_or_without_its_results_is_the_same(place, results, tmp_path):
    shutil.copytree(place, tmp_path / "copy")  # its results name the file beside them
    assert run(load(tmp_path / "copy/tiny.toml"), tmp_path / "copy/results").ran == 0
    (place / "tiny.toml").rename(tmp_path / "tiny.toml")
    assert run(load(tmp_path / "tiny.toml"), results).ran == 0
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/tiny.toml").symlink_to(tmp_path / "tiny.toml")
    assert run(load(tmp_path / "linked/tiny.toml"), results).ran == 0
    (tmp_path / "link").symlink_to(results)
    assert run(load(tmp_path / "tiny.toml"), tmp_path / "link").ran == 0


# What computed the runs.


@pytest.fixture
def elsewhere(place, results, monkeypatch):
    """Half of the runs are computed by other kernels."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "optimlab.execution.work.computing", lambda: {"numpy": "1", "blas": "b, Haswell kernels"}
        )
        run(tiny(place, MORE), results)


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_runs_of_other_kernels_are_reported_by_sweep_verify_and_the_page(
    place, results, monkeypatch, capsys
):
    assert capsys.readouterr().err == ""
    most = tiny(place, MORE.replace("reporting = 4", "reporting = 5"))
    run(most, results)
    said = capsys.readouterr().err
    assert "4 of the runs that are kept were computed by numpy 1, blas b, Haswell kernels" in said
    assert "--fresh" in said
    run(most, results)
    assert capsys.readouterr().err == ""  # there is nothing to do
    without_pictures(monkeypatch)
    page = write_report(results).read_text(encoding="utf-8")
    assert "come from different set-ups" in page
    assert "4 runs by numpy 1, blas b, Haswell kernels" in page
    monkeypatch.setattr("optimlab.execution.verify._bits", lambda column: [object() for _ in column])
    changes = verify(most, results, 12, 0, 1).changes
    assert changes["blas"][0] == "b, Haswell kernels"
    assert "Haswell" not in changes["blas"][1]


@pytest.mark.slow
def test_results_of_one_machine_are_not_called_mixed(results, monkeypatch):
    without_pictures(monkeypatch)
    assert "come from different set-ups" not in write_report(results).read_text(encoding="utf-8")


# Reasons, and what a spreadsheet makes of cells.


def test_a_reason_is_cut_where_it_is_stored(place, results):
    store = Store(results / "tiny")
    experiment = load(place / "tiny.toml")
    first = next(experiment.runs())
    [(_, end, *_)] = store.read([first])
    stack = finished([first], "failed")
    stack.runs[0] = FinishedRun(first.run_id, "failed", "x" * 20_000_000, 0, end.final)
    other = Store(place / "other")
    other.write_part(stack)
    [(_, end, *_)] = other.read([first])
    assert end.reason == "x" * 499 + "…"
