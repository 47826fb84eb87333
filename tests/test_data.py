"""Data: splits, scaling, faulty files, and the data keys of an experiment file."""
# ruff: noqa: E501  # a case stands on one line, however long its message

import csv
import io
import itertools
import re
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from sklearn import datasets
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sweeping import load, mistakes_of, write

from optimlab.data import DATASETS, DataError, Dataset, Split
from optimlab.data.dataset import prepare
from optimlab.data.files import Reading, read_file
from optimlab.data.named import File
from optimlab.experiment.identity import problem_code
from optimlab.problems import Table


def rng(seed=0):
    return np.random.default_rng(seed)


def classes(*counts):
    """Return a data set with so many rows of each class, whose feature is the number of the row."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rng(5).shuffle(labels)
    features = np.arange(len(labels), dtype=float)[:, None]
    return Dataset("classification", features, labels, tuple("abcdefgh"[: len(counts)]))


def numbers(rows, **more):
    features = rng(3).normal(size=(rows, 2))
    return Dataset("regression", features, features @ [[1.0], [2.0]], **more)


# Splits


@pytest.mark.parametrize("by", ["stratified", "random", "order"])
@pytest.mark.parametrize(
    ("sizes", "expected"), [((0.2, 0.2), (20, 20)), ((13, 0.1), (13, 10)), ((0.25, 0), (25, 0))]
)
def test_a_split_parts_the_rows(by, sizes, expected):
    validation, test = sizes
    parts = Split(validation=validation, test=test, by=by).rows(classes(70, 20, 10), rng())
    assert [len(parts.get(role, ())) for role in ("validation", "test")] == list(expected)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(100))


def test_a_stratified_split_gives_each_part_its_share_of_each_class():
    data = classes(70, 20, 9, 1)
    for seed in range(20):
        parts = Split().rows(data, rng(seed))
        for role, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            counts = np.bincount(data.targets[parts[role]], minlength=4)
            assert (np.abs(counts - share * np.array([70, 20, 9, 1])) <= 1.01).all(), role
        assert (data.targets[parts["train"]] == 3).any()  # the one row of its class


def test_another_seed_draws_another_split_and_the_order_is_the_file_s():
    data = classes(50, 50)
    first, again, other = (Split().rows(data, rng(seed))["test"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    parts = Split(by="order").rows(data, rng())
    assert [(part[0], part[-1]) for part in parts.values()] == [(0, 59), (60, 79), (80, 99)]


def test_groups_stay_together():
    groups = np.array([f"g{k}" for k in np.repeat(np.arange(12), 5)], object)
    data = numbers(60, groups={"site": groups})
    seen = set()
    for seed in range(10):
        parts = Split(by="group:site").rows(data, rng(seed))
        of = {role: set(groups[rows]) for role, rows in parts.items()}
        assert not any(one & other for one, other in itertools.combinations(of.values(), 2))
        assert [len(parts[role]) for role in ("validation", "test")] == [15, 15]
        seen.add(tuple(sorted(of["test"])))
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("split", "data", "key", "message"),
    [
        ({"validation": 0}, classes(5, 5), "split.validation", "gives validation no row: 0 of 10 rows"),
        ({"validation": 0.01}, classes(5, 5), "split.validation", "no row: 0.01 of 10 rows"),
        ({"test": 0.04}, classes(5, 5), "split.test", "gives the test no row: 0.04 of 10 rows"),
        ({"validation": 1.5}, classes(5, 5), "split.validation", "a share below 1 or a whole number"),
        ({"validation": 1.0}, classes(5, 5), "split.validation", "a whole number of rows, got 1.0"),
        ({"validation": 5, "test": 5}, classes(5, 5), "split", "leaves no row"),
        (
            {"by": "weekday"},
            classes(5, 5),
            "split.by",
            "must be one of stratified, random, order, group:",
        ),
        ({"by": "stratified"}, numbers(9), "split.by", "stratified needs classes"),
        ({"by": "group:x"}, numbers(9), "split.by", "there is no column 'x'"),
        ({"by": "order"}, classes(9, 1), "split", "leaves no row of b for training"),
    ],
)
def test_a_split_that_cannot_be_is_a_mistake(split, data, key, message):
    if split.get("by") == "order":  # the row of its class is the last one
        data = Dataset("classification", data.features, np.sort(data.targets), data.class_names)
    with pytest.raises(DataError, match=message.replace("(", r"\(")) as error:
        Split(**split).rows(data, rng())
    assert error.value.key in (key, "split.validation")


def test_a_target_that_is_constant_in_training_is_a_mistake():
    data = Dataset("regression", rng().normal(size=(10, 1)), np.full((10, 1), 3.0), target_names=("y",))
    with pytest.raises(DataError, match="y is 3 in every row of training"):
        Split().rows(data, rng())


# Scaling


@pytest.mark.parametrize(("scaling", "oracle"), [("standard", StandardScaler), ("minmax", MinMaxScaler)])
def test_scaling_is_fitted_on_the_training_part_alone(scaling, oracle):
    data = DATASETS["diabetes"]()
    rows = Split().rows(data, rng())
    parts, scale = prepare(data, rows, scaling, scaling, "float64")
    x, y = oracle().fit(data.features[rows["train"]]), oracle().fit(data.targets[rows["train"]])
    for role, at in rows.items():
        np.testing.assert_allclose(parts[role].features, x.transform(data.features[at]), atol=1e-12)
        np.testing.assert_allclose(parts[role].targets, y.transform(data.targets[at]), atol=1e-12)
    of_targets = parts["test"].targets[:2]
    assert scale * (of_targets[1] - of_targets[0]) == pytest.approx(
        np.diff(data.targets[rows["test"]][:2], axis=0)[0]
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e12])
@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_a_column_that_is_constant_in_training_survives(scaling, value):
    features = np.column_stack([np.full(10, value), np.arange(10.0)])
    features[9, 0] += 5  # in the test part, it is not
    data = Dataset("regression", features, np.arange(10.0)[:, None])
    parts, _ = prepare(data, Split(by="order").rows(data, rng()), scaling, "none", "float64")
    assert np.array_equal(parts["train"].features[:, 0], np.zeros(6))
    assert parts["test"].features[1, 0] == pytest.approx(5)


@pytest.mark.parametrize("unit", [1e-161, 1e-170, 1e-300])
def test_columns_of_tiny_numbers_are_scaled_like_any(unit):
    """The squares of their deviations are 0, as if they were constant."""
    data = numbers(50)
    rows = Split().rows(data, rng())
    tiny = Dataset("regression", data.features * unit, data.targets * unit)
    one, other = (prepare(each, rows, "standard", "standard", "float32") for each in (data, tiny))
    for role in rows:
        np.testing.assert_allclose(other[0][role].features, one[0][role].features, rtol=1e-5)
        np.testing.assert_allclose(other[0][role].targets, one[0][role].targets, rtol=1e-5)
    np.testing.assert_allclose(other[1], one[1] * unit)
    with pytest.raises(DataError, match="target varies too little for float32") as caught:
        prepare(tiny, rows, "standard", "none", "float32")
    assert caught.value.key == "target_scaling"


def test_a_gap_is_filled_with_the_mean_of_the_training_part():
    data = Dataset("regression", np.arange(10.0)[:, None], np.arange(10.0)[:, None], (), ("y",), ("x",))
    data.features[[0, 9]] = np.nan
    parts, _ = prepare(data, Split(by="order").rows(data, rng()), "none", "none", "float64")
    assert parts["train"].features[0] == parts["test"].features[1] == np.mean([1, 2, 3, 4, 5])
    data.features[:6] = np.nan
    with pytest.raises(DataError, match="x has no value in the training part"):
        prepare(data, Split(by="order").rows(data, rng()), "none", "none", "float64")


# The data sets that come along


@pytest.mark.parametrize("name", DATASETS)
def test_the_bundled_sets_are_scikit_learn_s(name):
    raw = {"scaled": False} if name == "diabetes" else {}
    data, bunch = DATASETS[name](), getattr(datasets, f"load_{name}")(**raw)
    if name == "digits":
        bunch.data, bunch.feature_names = bunch.data / 16, data.feature_names
    assert np.array_equal(data.features, bunch.data)
    assert data.feature_names == tuple(map(str, bunch.feature_names))
    if data.task == "classification":
        assert np.array_equal(data.targets, bunch.target)
        assert data.class_names == tuple(map(str, bunch.target_names))
    else:
        assert np.array_equal(data.targets, bunch.target.reshape(len(data.features), -1))
        assert data.target_names == tuple(getattr(bunch, "target_names", ["progression"]))


# Files

STRANGER = """\
"Customer no";Height (cm);"Home town";Smokes;answer
1;170,5;"Köln; am Rhein";true;no
2;181,25;Bonn;false;yes
3;165,0;Bonn;false;no
4;178,5;"Köln; am Rhein";true;yes
5;172;Bonn;true;no
6;190,1;Bonn;true;yes
"""
AS_WRITTEN = {"separator": ";", "decimal": ",", "targets": ("answer",), "ignored": ("Customer no",)}


def read(folder, content, name="table.csv", **reading):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(file, Reading(**{"targets": ("y",)} | reading))


def test_an_unusual_csv_file(tmp_path):
    data = read(tmp_path, STRANGER, **AS_WRITTEN)
    assert data.task == "classification"
    assert data.class_names == ("no", "yes")
    assert data.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.feature_names == (
        *("Height (cm)", "Home town=Bonn", "Home town=Köln; am Rhein"),
        *("Smokes=false", "Smokes=true"),
    )
    assert data.features[0].tolist() == [170.5, 0, 1, 0, 1]
    assert data.features[1].tolist() == [181.25, 1, 0, 1, 0]


def parquet(table):
    content = io.BytesIO()
    table.to_parquet(content)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_the_same_table_in_every_kind_of_file(tmp_path):
    table = pd.DataFrame(
        {"a": [1.5, 2, 3, 4], "kind": list("xyxx"), "flag": [True, False, True, True], "y": list("nnmm")}
    )
    csv = table.to_csv(index=False)
    columns = {
        name: table[name].to_numpy(str if table[name].dtype == object else None) for name in table
    }
    columns["kind"], columns["y"] = table["kind"].to_numpy(str), table["y"].to_numpy(str)
    found = [
        read(tmp_path, csv),
        read(tmp_path, csv.encode("utf-8-sig").replace(b"\n", b"\r\n")),
        read(tmp_path, parquet(table), "table.parquet"),
        read(tmp_path, npz(**columns), "table.npz"),
    ]
    for data in found:
        assert data.feature_names == ("a", "kind=x", "kind=y", "flag=False", "flag=True")
        assert np.array_equal(data.features, found[0].features)
        assert (data.targets.tolist(), data.class_names) == ([1, 1, 0, 0], ("m", "n"))


def test_texts_are_read_alike_in_every_kind_of_file(tmp_path):
    """Spaces around a text, accents typed in two ways, and words for a missing value."""
    table = pd.DataFrame(
        {
            "caf\u00e9": [" a", "a ", "?", "NA", "", "b"],
            "y": ["ol\u00e9", "ole\u0301", "no", "no ", "no", "no"],
            "x": [1.0, 2, 3, 4, 5, 6],
        }
    )
    arrays = {name: table[name].to_numpy(str) for name in ("caf\u00e9", "y")} | {"x": table["x"]}
    for content, name in (
        (table.to_csv(index=False), "t.csv"), (parquet(table), "t.parquet"), (npz(**arrays), "t.npz"),
        (table.rename(columns={"caf\u00e9": "cafe\u0301"}).to_csv(index=False), "t.csv"),
    ):  # fmt: skip
        data = read(tmp_path, content, name, missing="mean")
        assert data.feature_names == ("caf\u00e9=a", "caf\u00e9=b", "x")
        assert np.isnan(data.features[:, 0]).tolist() == [False, False, True, True, True, False]
        assert data.class_names == ("no", "ol\u00e9")
        group = read(tmp_path, content, name, missing="drop", group="cafe\u0301")
        assert set(group.groups["caf\u00e9"]) == {"a", "b"}
        with pytest.raises(DataError, match="leaves no row of no for training"):  # there is the column
            Split(by="group:cafe\u0301", test=0).rows(group, rng())


@pytest.mark.parametrize("as_group", [False, True])
def test_labels_beyond_the_precision_of_numbers_stay_apart(tmp_path, as_group):
    """They are text; as numbers, 2⁵³ and 2⁵³ + 1 are one class, or one group."""
    ids = [2**53, 2**53 + 1, 2**53 + 1, 2**53]
    table = pd.DataFrame({"x": [1.0, 2, 3, 4], "id": ids, "y": [5.0, 6, 7, 9]})
    reading = {"group": "id"} if as_group else {"targets": ("id",), "task": "classification"}
    for content, name in (
        (table.to_csv(index=False), "t.csv"), (parquet(table), "t.parquet"),
        (parquet(table.astype({"id": "Int64"})), "t.parquet"),
        (npz(x=table["x"], id=np.array(ids), y=table["y"]), "t.npz"),
    ):  # fmt: skip
        data = read(tmp_path, content, name, **reading)
        found = data.groups["id"].tolist() if as_group else [data.class_names[k] for k in data.targets]
        assert found == list(map(str, ids))


def test_an_array_and_a_column_of_a_matrix_may_not_share_a_name(tmp_path):
    with pytest.raises(DataError, match=r'two columns have the name "x\[1\]"'):
        read(tmp_path, npz(**{"x[1]": np.arange(4)}, x=np.ones((4, 2)), y=np.arange(4)), "t.npz")


def test_a_matrix_in_an_npz_file_is_many_features(tmp_path):
    data = read(tmp_path, npz(x=np.arange(24).reshape(4, 2, 3), y=np.arange(4) + 0.5), "table.npz")
    assert data.features.shape == (4, 6)
    assert data.feature_names[:2] == ("x[0]", "x[1]")
    assert data.targets.tolist() == [[0.5], [1.5], [2.5], [3.5]]


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        (["no", "yes", "no"], None, ("no", "yes")),
        (["True", "False", "True"], None, ("False", "True")),
        (["3", "42", "7"], "classification", ("3", "7", "42")),
        (["-1", "1", "0.5"], "classification", ("-1", "0.5", "1")),
    ],
)
def test_labels_of_any_kind(tmp_path, labels, task, expected):
    rows = "\n".join(f"{k},{label}" for k, label in enumerate(labels))
    data = read(tmp_path, f"x,y\n{rows}\n", task=task)
    assert data.class_names == expected
    assert [data.class_names[label] for label in data.targets] == labels


def test_numbers_are_a_regression_of_one_target_or_several(tmp_path):
    content = "x,y,z\n1,3,5\n2,7,6\n3,42,8\n"
    one, two = (read(tmp_path, content, targets=targets) for targets in (("y",), ("y", "z")))
    assert (one.task, one.features.shape, one.targets.ravel().tolist()) == (
        "regression",
        (3, 2),
        [3, 7, 42],
    )
    assert (two.target_names, two.targets.tolist()) == (("y", "z"), [[3, 5], [7, 6], [42, 8]])


GAPS = "x,kind,y\n1,a,1\n,b,2\n3,,3\n4,a,4\n"


def test_missing_values_are_refused_dropped_or_filled(tmp_path):
    with pytest.raises(DataError, match='row 2, column "x": the value is missing; missing = "drop"'):
        read(tmp_path, GAPS)
    dropped = read(tmp_path, GAPS, missing="drop")
    assert dropped.targets.ravel().tolist() == [1, 4]
    filled = read(tmp_path, GAPS, missing="mean")
    assert np.isnan(filled.features).sum(axis=0).tolist() == [1, 1, 1]
    with pytest.raises(DataError, match=r'row 3, column "y": the value is missing.* drops such rows$'):
        read(tmp_path, "x,y\n1,1\n2,2\n3,?\n", missing="mean")


@pytest.mark.parametrize(
    ("content", "reading", "key", "message"),
    [
        ("a;b;y\n1;2;3\n", {}, "separator", 'is it separator = ";"'),
        ("a,y\n1,2\n3\n", {}, "data", "row 2 has 1 cell, but the first line has 2 names"),
        (
            'a;y\n"1,5";2\n"2,5";3\n',
            {"separator": ";"},
            "decimal",
            'row 1, column "a": "1,5" is not a number',
        ),
        ("a,y\n1,1\n2,2\nthree,3\n4,4\n", {}, "data", 'row 3, column "a": "three" is not a number'),
        ("a,y\n1,1\n1e999,2\n", {}, "data", 'row 2, column "a": a number must be finite'),
        ("a,,y\n1,1,1\n", {}, "data", "column 2 has no name"),
        ("a,a,y\n1,1,1\n", {}, "data", 'two columns have the name "a"'),
        ("a,y\n", {}, "data", "a line of names, and a line for each sample"),
        ("a,y\n1,2\n", {"targets": ("z",)}, "target", 'no column "z"; there are: a, y'),
        ("a,y\n1,2\n", {"targets": ()}, "target", "is missing: which column is to be predicted"),
        ("a,y\n1,2\n", {"ignored": ("b",)}, "ignore", 'no column "b"'),
        ("a,y\n1,2\n", {"ignored": ("a",)}, "data", "no column beside the target"),
        ("a,y\n1,x\n2,x\n", {}, "target", 'all rows are "x"'),
        ("a,y\n1,x\n2,z\n", {"task": "regression"}, "target", '"y" is text, such as "x"'),
        (
            "a,y,z\n1,x,1\n2,z,2\n",
            {"targets": ("y", "z"), "task": "classification"},
            "target",
            "one column",
        ),
        ('a,y\n"1,2\n', {}, "data", "is not a CSV file"),
        (b"a,y\n\xff,1\n", {}, "data", "is not UTF-8 text: invalid start byte at byte 4"),
        ("a,y\n" + "".join(f"name {k},{k}\n" for k in range(101)), {}, "ignore", "101 different texts"),
    ],
)
def test_a_fault_of_a_file_is_reported_with_its_key(tmp_path, content, reading, key, message):
    with pytest.raises(DataError) as error:
        read(tmp_path, content, **reading)
    assert message in str(error.value)
    assert error.value.key == key


@pytest.mark.parametrize("name", ["table.parquet", "table.npz"])
def test_a_file_that_is_none_of_its_kind(tmp_path, name):
    with pytest.raises(DataError, match="is not a"):
        read(tmp_path, "a,y\n1,2\n", name)


def archive(content, name="x.npy", **about):
    """Return an NPZ file with one more member, whose entry in the archive is changed by `about`."""
    file = io.BytesIO(npz(y=np.arange(4.0)))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content)
        for key, value in about.items():
            setattr(made.getinfo(name), key, value)
    return file.getvalue()


def flipped(content, at):
    """Return the content with another byte in one place."""
    return content[:at] + bytes([content[at] ^ 0x7F]) + content[at + 1 :]


def headed(header):
    """Return an .npy file of a header and a few bytes."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


COMPRESSED = archive(headed(b"{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }"))


@pytest.mark.parametrize(
    "content",
    [
        archive(headed(b"{" * 50)),
        archive(headed(b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**15,), }")),
        archive(headed(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }")),
        archive(b"not an array", "x.txt"),
        archive(b"a", flag_bits=0x1),
        archive(b"a", compress_type=99),
        archive(b"a", extract_version=99),
        *(flipped(COMPRESSED, COMPRESSED.rindex(b"x.npy", 0, -80) + 5 + k) for k in (0, 1, 9, 30)),
    ],
)
def test_an_archive_that_is_damaged_in_any_way_is_a_fault_of_its_file(tmp_path, content):
    with pytest.raises(DataError, match=r"is not an NPZ file|is not an array|cannot be read") as error:
        read(tmp_path, content, "table.npz")
    assert str(error.value).startswith("table.npz: ")


@pytest.mark.parametrize(
    "metadata", [b"[]", b"{}", b'{"columns": [3], "index_columns": []}', b'{"columns": [{}]}', b"\xff"]
)
def test_foreign_metadata_of_a_parquet_file_are_a_fault_of_the_file(tmp_path, metadata):
    table = pa.table({"a": [1.0, 2.0], "y": [1.0, 2.0]}).replace_schema_metadata({"pandas": metadata})
    pq.write_table(table, file := io.BytesIO())
    with pytest.raises(DataError, match=r"^table\.parquet: is not a Parquet file: "):
        read(tmp_path, file.getvalue(), "table.parquet")


def test_two_columns_of_one_name_in_a_parquet_file_are_named(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1, 2])] * 3, ["a", "a", "y"]), file := io.BytesIO())
    with pytest.raises(DataError, match='two columns have the name "a"'):
        read(tmp_path, file.getvalue(), "table.parquet")


def test_numbers_beyond_float64_are_refused_without_a_warning(tmp_path):
    large = np.full(4, np.longdouble("1e4000"))
    with pytest.raises(DataError, match='row 1, column "x": a number must be finite'):
        read(tmp_path, npz(x=large, y=np.arange(4.0)), "table.npz")


def test_a_column_of_long_texts_may_be_ignored(tmp_path):
    before = csv.field_size_limit()
    data = read(tmp_path, f"a,text,y\n1,{'w' * 200_000},3\n2,{'x' * 200_000},4\n", ignored=("text",))
    assert data.feature_names == ("a",)
    assert csv.field_size_limit() == before  # of all that this process reads


def test_of_very_many_columns_a_message_names_some(tmp_path):
    header = ",".join(f"gene {number}" for number in range(1000))
    with pytest.raises(DataError, match=r"there are: gene 0, .*gene 19, and 980 more$"):
        read(tmp_path, f"{header}\n{header}\n")


def test_columns_without_a_name_may_be_ignored(tmp_path):
    """Such as the index that pandas writes; Excel leaves columns without a name at the end, too."""
    content = ",a,y,\n0,5,1,\n1,7,2,\n2,6,4,\n"
    with pytest.raises(DataError, match=r'column 1 has no name .*: name it, or ignore = \[""\] if'):
        read(tmp_path, content)
    data = read(tmp_path, content, ignored=("",))
    assert data.feature_names == ("a",)
    assert data.targets.tolist() == [[1], [2], [4]]


def test_all_columns_to_ignore_are_named_at_once(tmp_path):
    rows = "".join(f"{k},name{k},1.5,A/{k},2024-01-0{k % 9 + 1},{k}\n" for k in range(60))
    with pytest.raises(DataError) as told:
        read(tmp_path, "id,name,fare,ticket,day,y\n" + rows)
    assert str(told.value).endswith('too many for categories, so ignore it; and "ticket", "day", too')
    assert 'column "name" has 60 different texts' in str(told.value)


def test_arrays_of_other_lengths(tmp_path):
    with pytest.raises(DataError, match='the same number of rows; they have: "x" 3, "y" 4'):
        read(tmp_path, npz(x=np.ones(3), y=np.ones(4)), "table.npz")


# From an experiment's file

TEXT = """\
title = "t"
learning_rates = [0.1]
[problem]
{}
[training]
epochs = 1
[optimizers.SGD]
"""


def loaded(folder, problem, **files):
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return load(write(folder, TEXT.format(problem)))


def test_a_name_or_a_file_is_enough(tmp_path):
    (setting,) = loaded(tmp_path, 'data = "wine"').problems
    assert (setting.label, setting.name) == ("wine", "table")
    assert setting.problem.network.summary().split("\n")[1].split() == ["dense1", "32", "448"]
    problem = 'data = "people.csv"\ntarget = "answer"\nignore = ["Customer no"]\nseparator = ";"\n'
    problem += 'decimal = ","\nsplit = { validation = 1, test = 1 }'
    (setting,) = loaded(tmp_path, problem, people=STRANGER).problems
    assert setting.label == "people"
    assert setting.problem.dataset.class_names == ("no", "yes")
    assert setting.settings["data"] == "people.csv"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ('name = "wine"', 'problem.name: must be one of "digits", "landscape", "table", got "wine"; '
                          'did you mean data = "wine"?'),
        ('data = "vine"', 'problem.data: must be one of "digits", "wine", "breast_cancer", "iris", "diabetes", '
                          '"linnerud", or a file (.csv, .parquet, .npz) beside this one, got \'vine\''),
        ('data = "x.csv"\ntarget = "y"', "problem.data: there is no file"),
        ('data = "wine"\ntarget = "class"', 'problem.target: is for files only, and data = "wine" is not one'),
        ('data = "wine"\nloss = "huber"', "problem.loss: is for regression, and the target has classes"),
        ('data = "wine"\nloss = "hinge"', 'problem.loss: must be one of "cross_entropy", "squared_error", '
                                          '"huber", got "hinge"'),
        ('data = "diabetes"\nloss = { name = "huber", delta = 0 }', "problem.loss.delta: must be above 0, got 0"),
        ('data = "wine"\nsplit = { validation = 0.001 }',
         "problem.split.validation: gives validation no row: 0.001 of 178 rows"),
        ('data = "wine"\nsplit = { valid = 0.1 }', "problem.split.valid: unknown key; did you mean validation?"),
        ('data = "wine"\nsplit = { test = 1.0 }', "problem.split.test: must be a share below 1 or a whole number of rows, got 1.0"),
        ('data = "wine"\nsplit = { test = -1 }', "problem.split.test: must be at least 0, got -1"),
        ('data = "wine"\nsplit = { test = "a" }', 'problem.split.test: must be a whole number or a number, got "a"'),
        ('data = "wine"\nresample = true', "problem.resample: unknown key; it belongs in problem.split"),
        ('data = "wine"\nsplit = { l2 = 0.1 }', "problem.split.l2: unknown key; it belongs in problem"),
        ('data = "wine"\nunits = 3', "problem.units: unknown key; it belongs in problem.hidden"),
        ('data = "wine"\ndelta = 3', "problem.delta: unknown key; it belongs in problem.loss"),
        ('data = "wine"\nhidden = [{ units = 3, activation = "relu", rate = 1 }]',
         "problem.hidden[1].rate: unknown key; known are units, activation"),
        ('data = "wine"\nhidden = [{ layer = "dropout" }]',
         "problem.hidden[1]: must be a layer of units: the features cannot be changed in place"),
        ('data = "wine"\nhidden = [{ units = 3, activation = "relu" }, { layer = "dropout", rate = 1 }]',
         "problem.hidden[2].rate: must be below 1, got 1"),
        ('data = "wine"\nhidden = [{ layer = "conv" }]',
         'problem.hidden[1].layer: must be one of "dense", "dropout", "layer_norm", got "conv"'),
        ('data = "wine"\nbatch_size = 107', "problem.batch_size: must be at most 106, the size of the training "
                                            "set, got 107"),
        ('data = "wine"\nbatch_norm = true\nbatch_size = 105', "problem.batch_size: the last batch of an epoch, "
         "106 samples, has 1 sample: batch norm needs 2 or more, since it turns a single one into zeros"),
        ('data = "wine"\nl2 = -1', "problem.l2: must be at least 0, got -1"),
        ('data = 3', 'problem.data: must be one of "digits", "wine"'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_table_of_a_problem(tmp_path, problem, message):
    found = mistakes_of(write(tmp_path, TEXT.format(problem)))
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_class_of_one_member_and_classes_read_as_numbers_are_reported(tmp_path, capsys):
    rows = [*("a" * 10), *("b" * 10), "c"]
    content = "x,y\n" + "".join(f"{k},{label}\n" for k, label in enumerate(rows))
    (setting,) = loaded(tmp_path, 'data = "table.csv"\ntarget = "y"', table=content).problems
    assert (
        "problem.data: validation has no c; training has 1 row of the rarest" in capsys.readouterr().err
    )
    assert setting.problem.dataset.class_names == ("a", "b", "c")
    content = "x,y\n" + "".join(f"{k},{(3, 7, 42)[k % 3]}\n" for k in range(30))
    (setting,) = loaded(tmp_path, 'data = "table.csv"\ntarget = "y"', table=content).problems
    assert setting.problem.dataset.task == "regression"
    said = " ".join(capsys.readouterr().err.split())
    assert "problem.target: has 3 different whole numbers, and is treated as a number; loss = " in said


def test_classes_and_categories_that_differ_only_in_case_are_reported(tmp_path, capsys):
    rows = [
        f"{k},{kind},{label}\n"
        for k, (kind, label) in enumerate(10 * [("a", "No"), ("A", "no"), ("b", "yes")])
    ]
    settings = 'data = "table.csv"\ntarget = "y"\nignore = ["kind"]'
    loaded(tmp_path, settings, table="".join(["x,kind,y\n", *rows]))
    said = " ".join(capsys.readouterr().err.split())
    assert (
        'problem.target: "No" and "no" differ only in upper and lower case, so they are different classes'
        in said
    )
    loaded(
        tmp_path,
        'data = "table.csv"\ntarget = "x"',
        table="".join(["x,kind,y\n", *rows]).replace(",No", ",no"),
    )
    said = " ".join(capsys.readouterr().err.split())
    assert 'problem.ignore: "kind=A" and "kind=a" differ only in upper and lower case' in said
    rows = 10 * "1,New York\n2,New\u00a0 York\n3,Bonn\n"
    loaded(tmp_path, 'data = "table.csv"\ntarget = "y"', table="x,y\n" + rows)
    said = " ".join(capsys.readouterr().err.split(" "))
    assert "differ only in spaces or invisible characters, so they are different classes" in said
    assert "York" in said
    rows = 10 * "1,ye\u200bs\n2,yes\n3,no\n"
    loaded(tmp_path, 'data = "table.csv"\ntarget = "y"', table="x,y\n" + rows)
    assert "differ only in spaces or invisible characters" in " ".join(capsys.readouterr().err.split())


def test_a_files_content_but_not_its_path_is_part_of_a_runs_identity(tmp_path):
    text = 'data = "table.csv"\ntarget = "y"'
    content = "x,y\n" + "".join(f"{k},{k * k % 7}.5\n" for k in range(20))
    cells = []
    for folder, table in (("one", content), ("two", content), ("three", content.replace("19,", "18,"))):
        (tmp_path / folder).mkdir()
        experiment = loaded(tmp_path / folder, text, table=table)
        cells.append([cell.identity for cell in experiment.cells()])
    assert cells[0] == cells[1] != cells[2]


def test_a_file_that_is_gone_when_runs_are_identified_is_an_error(tmp_path):
    problem = Table(data=File("gone.csv", tmp_path), target="y")
    with pytest.raises(Exception, match=r"gone.csv cannot be read"):
        problem_code(problem)


def test_a_problem_may_have_its_own_training_length(tmp_path):
    text = TEXT.replace("[problem]", "[problems.a]").format('data = "wine"') + (
        '[problems.b]\ndata = "iris"\n[problems.b.training]\nsteps = 7\nrecord_every = 3\n'
        '[problems.c]\ndata = "iris"\nbatch_size = 10\ntraining = { epochs = 2 }\n'
    )
    settings = load(write(tmp_path, text)).problems
    assert [setting.record_at for setting in settings] == [(4,), (3, 6, 7), (9, 18)]
    both = text.replace("steps = 7", "steps = 7\nepochs = 1")
    assert mistakes_of(write(tmp_path, both)) == [
        "problems.b.training: must give either epochs or steps"
    ]
    wrong = text.replace("record_every = 3", "record_params = 1")
    said = "problems.b.training.record_params: unknown key; it belongs in training"
    assert mistakes_of(write(tmp_path, wrong)) == [said]


def test_the_page_on_data_gives_a_table_that_is_legal(tmp_path):
    page = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")
    table = re.findall(r"```toml\n\[problem\]\n(.*?)```", page, re.DOTALL)[1]
    rows = "".join(f"{k};{k * k % 7},5;{'ab?'[k % 3]};{k * 3 % 11}\n" for k in range(40))
    (setting,) = loaded(tmp_path, table, houses=f"id;size;kind;price\n{rows}").problems
    assert setting.problem.dataset.feature_names == ("size", "kind=a", "kind=b")
    assert setting.record_at == tuple(range(1, 51))
    assert {role: len(part.targets) for role, part in setting.problem.parts.items()} == {
        "train": 24,
        "validation": 8,
        "test": 8,
    }


# Data sets that do not go together

X, K = np.stack([np.arange(60) % 7, np.arange(60) % 5], axis=1), np.arange(60)
TWO = {"task": "classification", "features": X, "targets": K % 2, "class_names": ("a", "b")}
NUMBERS = {"task": "regression", "features": X, "targets": X[:, 0]}
HALVES = {"train": K[:40], "validation": K[40:]}


@pytest.mark.parametrize(
    ("settings", "changed", "message"),
    [
        (TWO, {"task": "clustering"}, "task must be one of classification, regression, got 'clustering'"),
        (TWO, {"targets": K % 2 + 4}, "targets must be labels 0 … 1 (N,), got 4"),
        (TWO, {"targets": K % 2 - 1}, "targets must be labels 0 … 1 (N,), got -1"),
        (TWO, {"targets": K % 2 + 0.5}, "targets must be labels 0 … 1 (N,), got 0.5"),
        (TWO, {"targets": np.array(["a", "b"] * 30)}, "targets must be numbers, got an array of <U1"),
        (TWO, {"class_names": ()}, "class_names must be at least two different names, got ()"),
        (TWO, {"class_names": (1, 2)}, "class_names must be at least two different names, got (1, 2)"),
        (TWO, {"splits": 3}, "splits must be a dictionary: role → rows, got a int"),
        (TWO, {"class_names": ("a", "a")}, "class_names must be at least two different names"),
        (TWO, {"features": X[:, 0]}, "features must be numbers (N, F), got shape (60,)"),
        (TWO, {"features": X[:50]}, "there are 50 rows of features and 60 of targets"),
        (TWO, {"features": X[:, :0]}, "features must be numbers (N, F), got shape (60, 0)"),
        (TWO, {"features": X * 1j}, "features must be numbers, got an array of complex128"),
        (TWO, {"features": np.where(X == 3, np.inf, X)}, "features must be finite"),
        (TWO, {"feature_names": ("x",)}, "there are 2 features and 1 feature_names"),
        (TWO, {"groups": {"g": K[:9]}}, "there are 60 rows of features and 9 of g"),
        (NUMBERS, {"targets": np.where(X == 3, np.nan, X)}, "targets must be finite"),
        (NUMBERS, {"targets": np.ma.masked_equal(X, 3)}, "targets must be finite"),
        (NUMBERS, {"targets": X}, "there are 2 targets and 1 target_names"),
        (TWO, {"splits": {"train": K}}, "a split has train, validation and perhaps test; this one has train"),
        (TWO, {"splits": HALVES | {"holdout": K[:3]}}, "a split has train, validation and perhaps test"),
        (TWO, {"splits": HALVES | {"test": K[39:41]}}, "row 39 of the split is in train and in test"),
        (TWO, {"splits": HALVES | {"train": K[20:] + 9}}, "train must be at least one of the rows 0 … 59, each once"),
        (TWO, {"splits": HALVES | {"train": K - 1}}, "train must be at least one of the rows 0 … 59, each once"),
        (TWO, {"splits": HALVES | {"train": [3, 3]}}, "train must be at least one of the rows 0 … 59, each once"),
        (TWO, {"splits": HALVES | {"validation": K[:0]}}, "validation must be at least one of the rows 0 … 59, each once"),
    ],
)  # fmt: skip
def test_a_data_set_that_does_not_go_together_is_refused(settings, changed, message):
    assert Dataset(**settings).targets.dtype.kind in "if"
    with pytest.raises(DataError, match=re.escape(message)):
        Dataset(**settings | changed)


def test_a_data_set_takes_what_numpy_does():
    plain = Dataset(**TWO, splits=HALVES)
    lists = Dataset("classification", X.tolist(), (K % 2).astype(float).tolist(), ("a", "b"),
                    splits={"train": K < 40, "validation": K >= 40})  # fmt: skip
    np.testing.assert_array_equal(lists.features, plain.features)
    masked = Dataset(**TWO | {"features": np.ma.masked_equal(X, 3)}).features
    np.testing.assert_array_equal(masked, np.where(X == 3, np.nan, X))
    np.testing.assert_array_equal(lists.targets, plain.targets)
    for role, rows in plain.splits.items():
        np.testing.assert_array_equal(lists.splits[role], rows)
    assert Dataset(**NUMBERS).targets.shape == (60, 1)


# Tables that suggest something else than they say


PLAIN = "is not a number: write digits and a decimal mark only, such as"


@pytest.mark.parametrize(
    ("header", "row", "settings", "message"),
    [
        ("name,b,kind", "name{k},1,{y}", "", 'ignore: column "name" has 60 different texts, such as "name0", in 60'),
        ("day,b,kind", "2024-01-{d:02d},1,{y}", "", 'ignore: column "day" has dates, such as "2024-01-01"'),
        ("day,b,kind", "{d}.1.2024,1,{y}", "", 'ignore: column "day" has dates, such as "1.1.2024"'),
        ("day,b,kind", "{d}/1/24,1,{y}", "", 'ignore: column "day" has dates, such as "1/1/24"'),
        ("day,b,kind", "2024/01/{d},1,{y}", "", 'ignore: column "day" has dates, such as "2024/01/1"'),
        ("day,b,kind", "{d} Jan 2024,1,{y}", "", 'ignore: column "day" has dates, such as "1 Jan 2024"'),
        ("a,b,kind", '"{d},{d}00",1,{y}', "", 'decimal: row 1, column "a": "1,100" is not a number; is it decimal = ","? A mark'),
        ("a,b,kind", '"1,{d}00,000",1,{y}', "", f'data: row 1, column "a": "1,100,000" {PLAIN} 1234.5'),
        ("a,b,kind", '"1,{d}00.5",1,{y}', "", f'data: row 1, column "a": "1,100.5" {PLAIN} 1234.5'),
        ("a,b,kind", "1 {d}00,1,{y}", "", f'data: row 1, column "a": "1 100" {PLAIN} 1234.5'),
        ("a,b,kind", "{d}%,1,{y}", "", f'data: row 1, column "a": "1%" {PLAIN} 1234.5'),
        ("a,b,kind", "€ {d},1,{y}", "", f'data: row 1, column "a": "€ 1" {PLAIN} 1234.5'),
        ("a,b,kind", "'{d}',1,{y}", "", f'data: row 1, column "a": "\'1\'" {PLAIN} 1234.5'),
        ("day,b,kind", "{d}:30 pm,1,{y}", "", 'ignore: column "day" has times, such as "1:30 pm"'),
        ("a,b,kind", "−{d},1,{y}", "", f'data: row 1, column "a": "−1" {PLAIN} 1234.5'),
        ("a,b,kind", '"1.{d}00,5",1,{y}', 'decimal = ","', f'data: row 1, column "a": "1.100,5" {PLAIN} 1234,5'),
        ("a,b,kind", "1.{d}00,1,{y}", 'decimal = ","', 'decimal: row 1, column "a": "1.100" is not a number; is it '
                                                       'decimal = "."? A mark between thousands has to be left out.'),
        ("a,b,kind", ",1,{y}", 'missing = "mean"', 'ignore: column "a" has no value in any row: ignore it'),
        ("a,b,kind", ",1,{y}", 'missing = "drop"', 'ignore: column "a" has no value in any row: ignore it'),
        ("a,b,kind", "1,2,", "", 'target: column "kind" has no value in any row'),
        (",b,kind", "{k},1,{y}", "", "data: column 1 has no name in the first line: name it, or ignore = [\"\"] if it is"),
        ("a,b,kind", "{k},{k},{y},", "", "data: row 1 has 4 cells, but the first line has 3 names"),
        ("a,b,kind", "{k},{q},{y}", "", 'data: row 7, column "b": "none" is not a number, but most of the column is; '
                                        "leave the cell of a missing value empty"),
        ("a,b,kind", "{k},{e},{y}", "", 'missing: row 1, column "b": the value is missing'),
        ("a,b,kind", "{k},1,{y}", 'ignore = ["kind"]', 'ignore: "kind" is the target'),
        ("a,kind,b", "{k},{k},1", 'target = ["kind", "kind"]', 'target: names the column "kind" twice'),
        ("a,b,kind", "{k}e300,1,{y}", "", "data: a has numbers as large as 5.9e+301, too large for float32"),
        ("a,b,kind", "{k}e39,1,{y}", 'scaling = "none"', "data: a has numbers as large as 5.9e+40, too large"),
        ("a,b,kind", "{k}e-60,1,{y}", 'scaling = "none"', "scaling: a varies too little for float32"),
        ("a,kind,b", "1,{k}e300,1", "", "data: kind has numbers as large as 5.9e+301, too large for float32"),
    ],
)  # fmt: skip
def test_an_unusable_column_is_refused_with_the_reason(tmp_path, header, row, settings, message):
    rows = [
        row.format(
            k=k, d=k % 5 + 1, y=["in", "out"][k % 2], q="none" if k == 6 else k, e=["n/a", k][k % 2]
        )
        for k in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
    target = "" if "target" in settings else 'target = "kind"\n'
    (found,) = mistakes_of(write(tmp_path, TEXT.format(f'data = "t.csv"\n{target}{settings}')))
    key, _, text = message.partition(": ")
    is_of_file = not text.endswith("float32") and "too large" not in text  # else of the prepared data
    assert found.startswith(f"problem.{key}: {'t.csv: ' if is_of_file else ''}{text}")


@pytest.mark.parametrize(
    ("file", "content", "key", "message"),
    [
        ("t.csv", "a,y\nü,1\n".encode("latin-1"), "data", "is not UTF-8 text: invalid start byte at byte 4, in line 2; "
                                                          "save it as UTF-8"),
        ("t.csv", "a,y\n1,2\n".encode("utf-16-le"), "data", "is not UTF-8 text: a zero byte in line 1; save it as UTF-8"),
        ("t.csv", "# by me\na,y\n1,2\n", "data", "row 1 has 2 cells, but the first line has 1 name"),
        ("t.csv", "a,y\n1,\n,2\n", "missing", 'every row lacks a value; column "y" lacks 1 of 2'),
        ("t.parquet", parquet(pd.DataFrame({"a": [1.0], "y": [1.0]})[:0]), "data", "has no rows"),
        ("t.parquet", parquet(pd.DataFrame({"a": [[1, 2]], "y": [1.0]})), "ignore", 'column "a" is of type ndarray, '
                      "neither numbers nor text: ignore it, or give numbers"),
        ("t.parquet", parquet(pd.DataFrame({"a": [f"{k}.5" for k in range(30)], "y": range(30)})), "data",
         'column "a" has 30 different texts, such as "0.5": give its numbers as numbers, not as text'),
        ("t.parquet", parquet(pd.DataFrame({"a": pd.to_datetime(["2024-01-01"]), "y": [1.0]})), "ignore",
                      'column "a" is of type datetime64['),
        ("t.npz", npz(a=np.zeros((0, 2)), y=np.zeros(0)), "data", "has no rows"),
        ("t.npz", npz(), "data", "has no rows"),
        ("t.npz", npz(a=np.array([1, "x"], object), y=np.ones(2)), "data", 'array "a" cannot be read: it holds Python '
                                                                            "objects; save numbers or text"),
        ("t.npz", npz(a=np.ones(2), y=np.ones(2), k=3), "ignore", 'array "k" has no rows: ignore it'),
        ("t.npz", npz(a=1j * np.ones(2), y=np.ones(2)), "ignore", 'array "a" is of type complex128, neither numbers'),
        ("t.npz", parquet(pd.DataFrame({"a": [1]})), "data", "is not an NPZ file"),
    ],
)  # fmt: skip
def test_a_fault_names_its_file(tmp_path, file, content, key, message):
    with pytest.raises(DataError) as error:
        read(tmp_path, content, file, missing="drop" if key == "missing" else "refuse")
    assert str(error.value).startswith(f"{file}: {message}")
    assert error.value.key == key


def test_a_single_array_and_a_folder_are_no_files_of_data(tmp_path):
    content = io.BytesIO()
    np.save(content, np.ones(3))
    with pytest.raises(DataError, match="is not an NPZ file: it holds a single array, without a name"):
        read(tmp_path, content.getvalue(), "t.npz")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(DataError, match=r"d\.csv is a folder, where a file belongs"):
        read_file(tmp_path / "d.csv", Reading(targets=("y",)))


def test_kinds_of_columns_that_files_have(tmp_path):
    """Decimals and booleans with gaps of Parquet; bytes, ignored objects and matrices of NPZ; T.CSV."""
    table = pd.DataFrame(
        {
            "a": [Decimal("1.5"), Decimal(2), None],
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["x", "y", "x"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "y": [1.0, 2.0, 3.0],
        }
    )
    data = read(tmp_path, parquet(table), "t.parquet", missing="mean")
    assert data.feature_names == ("a", "b=False", "b=True", "c=x", "c=y", "n")
    np.testing.assert_array_equal(data.features[:, 0], [1.5, 2, np.nan])
    np.testing.assert_array_equal(data.features[:, 2], [1, np.nan, 0])
    arrays = npz(x=np.ones((2, 1)), y=np.array([b"no", b"yes"]), o=np.array([1, "x"], object), k=3)
    data = read(tmp_path, arrays, "t.npz", ignored=("o", "k"))
    assert (data.class_names, data.feature_names) == (("no", "yes"), ("x",))
    arrays = npz(x=np.ones(3), y=np.arange(6).reshape(3, 2), id=np.ones((3, 2)))
    data = read(tmp_path, arrays, "t.npz", ignored=("id",))
    assert (data.target_names, data.feature_names) == (("y[0]", "y[1]"), ("x",))
    assert read(tmp_path, "a,y\n1,no\n2,yes\n", "T.CSV").class_names == ("no", "yes")


def test_a_categorical_column_is_one_whatever_its_categories_are(tmp_path):
    """Parquet keeps the categories of a column of numbers as numbers."""
    table = pd.DataFrame(
        {
            "a": pd.Categorical([3, 7, 3, None]),
            "b": pd.Categorical([0.5, 1, 1, 1]),
            "n": [3, 7, 3, 3],
            "y": pd.Categorical([10, 2, 10, 2]),
        }
    )
    data = read(tmp_path, parquet(table), "t.parquet", missing="mean")
    assert data.feature_names == ("a=3", "a=7", "b=0.5", "b=1", "n")
    np.testing.assert_array_equal(data.features[:, 0], [1, 0, 1, np.nan])
    assert (data.task, data.class_names, data.targets.tolist()) == (
        "classification",
        ("10", "2"),
        [0, 1, 0, 1],
    )


def test_labels_may_look_like_anything(tmp_path):
    labels = ["1", "2", "3", "?", "unknown", "10%", "1,5", "7"]
    rows = "".join(f'{k},"{label}"\n' for k, label in enumerate(labels))
    data = read(tmp_path, f"x,y\n{rows}", task="classification", missing="drop")
    assert set(data.class_names) == {*labels} - {"?"}


def test_labels_of_many_digits_stay_apart(tmp_path):
    (tmp_path / "t.csv").write_text("a,id\n" + "\n".join(f"{k},{12345670 + k % 3}" for k in range(60)))
    settings = 'data = "t.csv"\ntarget = "id"\nloss = "cross_entropy"'
    (setting,) = load(write(tmp_path, TEXT.format(settings))).problems
    assert setting.problem.dataset.class_names == ("12345670", "12345671", "12345672")
    assert np.bincount(setting.problem.dataset.targets).tolist() == [20, 20, 20]
