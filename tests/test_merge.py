"""Shards of a sweep: four merged shards equal one sweep, byte for byte."""

import json
import shutil

import pytest
from sweeping import OWN, call, document, plugin, run, tiny

from optimlab.experiment.runs import Shard
from optimlab.storage.store import Store

TEXT = document(
    optimizers=f"[optimizers.SGD]\n[optimizers.Adam]\n{OWN}", training="epochs = 1\nrecord_params = 1"
)
TABLES = ("runs.csv", "traces.parquet", "params.parquet")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The experiment, swept whole into `whole`, and in four shards into 1, 2, 3 and 4."""
    folder = tmp_path_factory.mktemp("shards")
    experiment = tiny(folder, TEXT, own=plugin())
    run(experiment, folder / "whole")
    for number in range(1, 5):
        outcome = run(experiment, folder / str(number), shard=Shard(number, 4))
        assert outcome.missing == 0
    return experiment, folder


@pytest.fixture
def four(swept, tmp_path):
    """A copy of the shards."""
    for number in range(1, 5):
        shutil.copytree(swept[1] / str(number), tmp_path / str(number))
    return [tmp_path / str(number) for number in range(1, 5)]


def merged(sources, into, *words):
    return call("merge", *sources, "--into", into, *words)


def test_shards_are_disjoint_and_complete(swept):
    experiment, folder = swept
    shards = [set(Store(folder / str(number) / "tiny").finished()) for number in range(1, 5)]
    assert sum(map(len, shards)) == experiment.count() == 18
    assert set().union(*shards) == {one.run_id for one in experiment.runs()}
    assert sum(map(bool, shards)) > 1


def test_four_shards_merged_are_one_sweep_byte_for_byte(swept, tmp_path):
    experiment, folder = swept
    sources = [folder / "1/tiny", *(folder / str(number) for number in (4, 2, 3))]  # either folder
    done = merged(sources, tmp_path / "all")
    assert (done.exit_code, done.output.splitlines()[0]) == (
        0, f"tiny: 18 of 18 runs are in {tmp_path}/all/tiny",
    )  # fmt: skip
    for name in TABLES:
        assert (tmp_path / "all/tiny" / name).read_bytes() == (folder / "whole/tiny" / name).read_bytes()
    one, other = (
        json.loads((where / "tiny/experiment.json").read_text())
        for where in (folder / "whole", tmp_path / "all")
    )
    left_out = ("last_sweep", "parts", "file", "command", "environment", "computed", "costs")
    assert {k: v for k, v in one.items() if k not in left_out} == {
        k: v for k, v in other.items() if k not in left_out
    }
    assert other["last_sweep"]["runs"] == 18
    assert other["costs"]["digits"].keys() == one["costs"]["digits"].keys() == one["optimizers"].keys()
    assert (tmp_path / "all/tiny" / other["file"]).resolve() == experiment.file.resolve()
    assert run(experiment, tmp_path / "all").ran == 0
    assert merged(sources, tmp_path / "all").exit_code == 0  # again: nothing to copy


@pytest.mark.slow
def test_what_is_missing_is_reported_and_the_sweep_runs_it(swept, four, tmp_path):
    done = merged(four[:3], tmp_path / "all", "--json")
    about = json.loads(done.stdout)["experiments"][0]
    assert done.exit_code == 1
    assert about["finished"] + run(swept[0], tmp_path / "all").ran == 18
    assert merged(four[3:], tmp_path / "all").exit_code == 0


def test_a_damaged_part_is_named_and_left_out(four, tmp_path):
    part = next(path for each in four for path in each.glob("tiny/parts/*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    done = merged(four, tmp_path / "all")
    assert done.exit_code == 1
    assert f"{part} has changed since it was written, and was left out" in done.stderr
    assert not (tmp_path / "all/tiny/parts" / part.name).exists()


def test_a_run_that_had_failed_is_taken_from_where_it_did_not(swept, four, tmp_path, monkeypatch):
    experiment = swept[0]

    def failing(*args):
        raise ValueError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr("optimlab.execution.stack._train", failing)
        outcome = run(experiment, tmp_path / "all", shard=Shard(1, 4))
    assert set(outcome.statuses) == {"failed"}
    assert merged(four, tmp_path / "all").exit_code == 0
    assert (tmp_path / "all/tiny/runs.csv").read_bytes() == (
        swept[1] / "whole/tiny/runs.csv"
    ).read_bytes()


OTHERS = {
    "seeds": (document(seeds="tuning = 1\nreporting = 3"), "has other seeds than"),
    "runs": (document(training="epochs = 2"), "has other runs than"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_results_of_other_runs_are_refused_and_nothing_is_merged(four, tmp_path, case):
    text, told = OTHERS[case]
    run(tiny(tmp_path / "other", text), tmp_path / "other")
    done = merged([four[0], tmp_path / "other"], tmp_path / "all")
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "all").exists()


def test_a_folder_without_results_is_named(tmp_path):
    done = merged([tmp_path], tmp_path / "all")
    assert (done.exit_code, done.stderr) == (2, f"optimlab: {tmp_path} holds no results\n")


def test_nothing_but_the_folder_to_merge_into_is_refused(swept):
    folder = swept[1] / "whole"
    done = merged([folder], folder)
    told = f"optimlab: {folder} is the folder to merge into: there is nothing to merge\n"
    assert (done.exit_code, done.stderr) == (2, told)


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "1/0", "4", "1/4/2", "a/b", "-1/4", ""])
def test_a_shard_that_is_none_is_refused(four, wrong):
    done = call("sweep", "smoke", f"--shard={wrong}")
    assert (done.exit_code, "--shard must be K/N" in done.stderr) == (2, True)
