"""The Python interface: experiments without a file, and their results."""

import gc
import json
import linecache
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.sparse import csr_array
from sweeping import OWN, document, plugin, tiny, write
from test_charts import blank_pictures

import optimlab
from optimlab.data.arrays import table_of
from optimlab.errors import UserError
from optimlab.files import results_at
from optimlab.notebook import written_data
from optimlab.schedules import Cosine, Linear

RAVINE = {"name": "landscape", "function": "ravine"}
SMALL = {"learning_rates": [0.03, 0.1, 0.3], "steps": 20, "record_every": 5, "seeds": (2, 3)}


@pytest.fixture(scope="module")
def result():
    return optimlab.compare("SGD", "Adam", problem=RAVINE, jobs=1, title="Two", **SMALL)


def test_the_tables_are_those_of_the_files(result):
    assert set(result.runs["optimizer"]) == {"SGD", "Adam"}
    assert len(result.runs) == 2 * 3 * 5
    assert len(result.traces) == len(result.runs) * 5
    assert result.params is None
    assert list(result.summary["rank"]) == [1, 2]
    assert set(result.comparisons["setting"]) == {"tuned"}  # no textbook rate is on the grid
    pd.testing.assert_frame_equal(
        result.runs[["run_id", "final_train_loss"]],
        pd.read_csv(result.folder / "runs.csv")[["run_id", "final_train_loss"]],
    )


def test_tables_that_are_changed_leave_the_result_as_it_is(result):
    """The verdict was computed from whatever had become of them."""
    other = optimlab.Result(result.folder)
    for table in (other.runs, other.traces, other.summary, other.comparisons):
        table[table.columns[-1]] = 1
        del table["optimizer" if "optimizer" in table else "better"]
    runs = other.runs
    runs.loc[:, "status"] = "failed"
    assert other.verdict == result.verdict
    for name in ("runs", "traces", "summary", "comparisons"):
        pd.testing.assert_frame_equal(getattr(other, name), getattr(result, name))


def test_the_verdict_names_the_first(result):
    best = result.summary["optimizer"].iloc[0]
    assert result.verdict.startswith(f"{best} ends with the lowest median final training loss")
    shown = result._repr_mimebundle_()
    assert result.verdict in shown["text/plain"]
    assert shown["text/html"].count("<tr") == 3


@pytest.mark.slow
def test_charts_and_figures_are_those_of_the_page(result):
    shown = result.chart("traces")._repr_mimebundle_()
    (spec,) = (value for name, value in shown.items() if name.startswith("application/vnd.vegalite.v"))
    assert sum(len(rows) for rows in spec["datasets"].values()) > 0
    json.dumps(spec, allow_nan=False)  # as Jupyter sends it
    assert shown["image/png"].startswith("iVBOR")
    figure = result.figure("traces", width=3.3)
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] == pytest.approx(3.3)
    figure.draw_without_rendering()
    letters = figure.axes[0].yaxis.label.get_window_extent()
    assert 0 <= letters.x0 < letters.x1 <= figure.axes[0].get_window_extent().x0
    with pytest.raises(UserError, match=r"no chart 'trace'; there are: traces, .* and paths"):
        result.chart("trace")
    with pytest.raises(UserError, match=r"no figure 'win'; there are: traces, .* wins, pairs"):
        result.figure("win")
    with pytest.raises(UserError, match="width: must be a number from 1 to 40, got 0"):
        result.figure("traces", width=0)
    with pytest.raises(UserError, match="one problem only: leave out `problem`"):
        result.chart("traces", problem="ravine")
    assert optimlab.Result(str(result.folder)).verdict == result.verdict


def test_the_page_is_one_file(result, tmp_path, capsys, monkeypatch):
    blank_pictures(monkeypatch)
    page = result.report(tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    html = page.read_text(encoding="utf-8")
    assert "Two" in html
    sources = re.findall(r'<img loading="lazy" src="([^"]{20})', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.findall(r'href="(?!#|https?:|data:)[^"]+"', html)
    assert "end of the grid" in capsys.readouterr().err


def test_results_in_a_folder_are_not_computed_again(tmp_path, capsys):
    given = {"optimizers": {"plain": {"rule": "SGD", "momentum": 0.0}}, "problem": RAVINE, "jobs": 1}
    first = optimlab.run(**given, **SMALL, name="mine", results=tmp_path, progress=True)
    assert "15 runs to do\n" in capsys.readouterr().err
    again = optimlab.run(**given, **SMALL, name="mine", results=tmp_path, progress=True)
    assert "0 runs to do, 15 finished before" in capsys.readouterr().err
    pd.testing.assert_frame_equal(first.runs, again.runs)
    assert first.folder == tmp_path / "mine"


def test_an_experiment_of_python_is_that_of_its_file(tmp_path):
    (tmp_path / "own.py").write_text(plugin())
    checked = tiny(tmp_path, document(optimizers=OWN), own=plugin())
    built = optimlab.build_experiment(
        optimizers={"Own": {"rule": "own.py:Own"}},
        problem={"name": checked.problems[0].name, **checked.problems[0].settings},
        learning_rates=list(checked.optimizers[0].learning_rates),
        seeds=(checked.seeds.tuning, checked.seeds.reporting),
        steps=checked.problems[0].steps,
        record_every=checked.problems[0].record_at[0],
        name="tiny",
        folder=tmp_path,
    )
    assert [run.run_id for run in built.runs()] == [run.run_id for run in checked.runs()]


@pytest.mark.slow
def test_a_class_of_a_file_is_named_by_it(tmp_path, monkeypatch, capsys):
    write(tmp_path, document(optimizers=OWN), own=plugin())
    monkeypatch.syspath_prepend(tmp_path)
    own = __import__("own").Own
    built = optimlab.build_experiment(
        optimizers=[own, optimlab.Adam], problem=RAVINE, folder=tmp_path, **SMALL
    )
    assert [(each.label, each.rule) for each in built.optimizers] == [
        ("Own", "own.py:Own"),
        ("Adam", "Adam"),
    ]

    class Local(optimlab.SGD):
        pass

    built = optimlab.build_experiment(optimizers=[Local], problem=RAVINE, folder=tmp_path, **SMALL)
    assert built.optimizers[0].label == "Local"
    assert "Local is defined in test_a_class" in capsys.readouterr().err


def test_a_problem_may_be_the_name_of_a_data_set():
    built = optimlab.build_experiment(optimizers=["SGD"], problem="wine", **SMALL)
    assert built.problems[0].settings["data"] == "wine"
    with pytest.raises(UserError, match=r'problem.data: must be one of .*"wine".* got'):
        optimlab.build_experiment(optimizers=["SGD"], problem="win", **SMALL)


ROWS = pd.DataFrame({"a": [1.0, 2, 3], "b": [4, 5, 6]})


def test_features_and_target_become_one_table_row_by_row():
    masked = np.ma.masked_greater(ROWS.to_numpy(), 5)
    for features in (
        ROWS,
        ROWS.to_numpy(),
        ROWS.to_numpy().tolist(),
        csr_array(ROWS.to_numpy()),
        masked,
    ):
        for target in ([7, 8, 9], pd.Series([7, 8, 9]), np.array([7, 8, 9])):
            table, names = table_of(features, target)
            assert names == ["target"]
            assert table["target"].tolist() == [7, 8, 9]
            assert table.iloc[:, 0].tolist() == [1, 2, 3]
            last = table.iloc[2, 1]
            assert np.isnan(last) if features is masked else last == 6
    classes = table_of(ROWS, pd.Series([3, 7, 3], dtype="category"))[0]["target"]
    assert classes.dtype == "category"
    again = ROWS.loc[[2, 0, 1]]
    assert table_of(again, pd.Series([7, 8, 9]).loc[again.index])[0]["target"].tolist() == [9, 7, 8]


def test_several_targets_may_be_an_array_or_a_frame(tmp_path):
    """One column of either is one target, as scikit-learn has it."""
    numbers = np.arange(80.0).reshape(40, 2)
    features = np.random.default_rng(0).normal(size=(40, 3))
    frame = pd.DataFrame(numbers, columns=["u", "v"])
    for target, names in (
        (numbers, ("target[0]", "target[1]")), (numbers[:, :1], ("target",)),
        (frame, ("u", "v")), (frame[["v"]], ("v",)),
    ):  # fmt: skip
        built = optimlab.build_experiment(
            optimizers=["SGD"], problem=(features, target), **SMALL | {"seeds": 2, "folder": tmp_path}
        )
        data = built.problems[0].problem.dataset
        assert (data.target_names, data.features.shape) == (names, (40, 3))
        assert np.array_equal(data.targets, np.asarray(target))


def test_columns_of_a_frame_may_be_named_by_numbers(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 4)))
    table = {"data": frame, "target": 2, "ignore": [0]}
    built = optimlab.build_experiment(optimizers=["SGD"], problem=table, folder=tmp_path, **SMALL)
    assert built.problems[0].problem.dataset.feature_names == ("1", "3")
    assert built.problems[0].problem.dataset.target_names == ("2",)


@pytest.mark.parametrize(
    ("features", "target", "message"),
    [
        (ROWS.loc[[2, 0, 1]], pd.Series([7, 8, 9]), "features and target have different indexes"),
        (
            ROWS["a"],
            pd.Series([7, 8, 9], index=list("xyz")),
            "give target.loc[features.index], or both as",
        ),
        (ROWS.rename(columns={"a": "target"}), [7, 8, 9], 'a feature has the name "target": rename it'),
        (ROWS, ROWS[["a"]], 'a feature has the name "a": rename it'),
        (ROWS, [[[7]], [[8]], [[9]]], "so the target must have the shape (3,) or (3, K), got (3, 1, 1)"),
        (ROWS, [7, 8], "must have the shape (3,) or (3, K), got (2,)"),
        (np.ones((3, 8, 8)), [7, 8, 9], "features must have the shape (N, M), got (3, 8, 8)"),
        (iter([[1], [2], [3]]), [7, 8, 9], "features must have the shape (N, M), got ()"),
    ],
)
def test_features_and_target_that_do_not_fit_are_refused(features, target, message):
    with pytest.raises(UserError, match=re.escape(message)):
        table_of(features, target)


def test_columns_of_any_byte_order_and_sparse_ones_are_written(tmp_path):
    values = pd.arrays.SparseArray([0.0, 0, 3])
    swapped = ROWS["a"].to_numpy().astype(">f8")
    file = written_data(ROWS.assign(swapped=swapped, sparse=values), tmp_path)
    read = pd.read_parquet(file)
    assert read[["swapped", "sparse"]].to_numpy().tolist() == [[1, 0], [2, 0], [3, 3]]


def test_columns_of_the_types_of_pandas_are_written(tmp_path):
    """Of a category and a date with a time zone, the byte order was asked for."""
    kinds = {
        "category": pd.Categorical(["u", "v", "u"], categories=["w", "v", "u"]),
        "zone": pd.date_range("2020", periods=3, tz="UTC"),
        "period": pd.period_range("2020", periods=3, freq="D"),
        "bins": pd.cut(ROWS["a"], 2),
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "arrow": pd.array(["u", None, "v"], dtype="string[pyarrow]"),
    }
    for name, values in kinds.items():
        file = written_data(ROWS.assign(**{name: values}), tmp_path)
        assert len(pd.read_parquet(file)[name]) == 3
    kept = {"optimizers": ["SGD"], **SMALL, "folder": tmp_path}
    data = pd.concat([ROWS.assign(category=kinds["category"])] * 9, ignore_index=True)
    built = optimlab.build_experiment(problem={"data": data, "target": "category"}, **kept)
    assert built.problems[0].problem.dataset.class_names == ("u", "v")


@pytest.mark.parametrize("values", [np.array([1j, 2, 3]), np.ones(3, np.longdouble), [1, "a", 2]])
def test_data_that_no_file_can_hold_are_refused(tmp_path, values):
    with pytest.raises(UserError, match=r"the data cannot be written as Parquet: .* column a"):
        written_data(ROWS.assign(a=values), tmp_path)


def test_a_target_is_a_name_beside_a_frame():
    with pytest.raises(
        UserError, match=r"^problem.target: must be the name of a column; give arrays as"
    ):
        optimlab.build_experiment(
            optimizers=["SGD"], problem={"data": ROWS, "target": ROWS["b"]}, **SMALL
        )


ENDLESS = []
ENDLESS.append(ENDLESS)
WRONG = [
    ({"optimizers": ["SGDD"]}, 'unknown optimizer "SGDD"; did you mean SGD?'),
    ({"optimizers": ["SGD", "SGD"]}, "SGD is given twice"),
    ({"optimizers": ["SGD"], "epoch": 3}, "epoch: unknown key"),
    ({"optimizers": {"SGD": {"momentum": 2}}}, "optimizers.SGD.momentum: momentum must be in"),
]


WRONG += [
    ({"optimizers": {1: "SGD", "1": "Adam"}}, 'optimizers: there are two labels "1"; as text they must'),
    (
        {"optimizers": ["SGD"], "problem": None, "problems": {1: "wine", "1": "iris"}},
        'problems: there are two labels "1"',
    ),
    (
        {"optimizers": ["SGD"], "problem": pd.Series([1.0])},
        "problem.data: must be a name, a DataFrame, (feat",
    ),
    ({"optimizers": ["SGD"], "title": "\udc00"}, r"title: must be UTF-8 text, got '\udc00'"),
    (
        {"optimizers": ["SGD"], "steps": 10**5000},
        "is nested too deeply, or holds a number of too many digits",
    ),
    (
        {"optimizers": ["SGD"], "learning_rates": ENDLESS},
        "is nested too deeply, or holds a number of too many digits",
    ),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_mistakes_have_clear_messages(given, message):
    """They name the argument, and no file: there is none."""
    with pytest.raises(UserError, match=re.escape(message)) as error:
        optimlab.build_experiment(**{"problem": RAVINE, **SMALL, **given})
    assert ".toml" not in str(error.value)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("", "results: the path is empty"),
        ("a\0b", "results: the path has a null character"),
        ("\udcff", "results: the path is not UTF-8"),
        ("s3://bucket/results", "'s3://bucket/results' is an address: name a folder of this machine"),
        ("x" * 300, "cannot be written to: File name too long"),
        ("file", "results: 'file' is a file"),
        ("file/below", "file is not a folder"),
        ("loop", "loop is not a folder: move it away"),
        (b"results", "results: must be a path, got b'results'"),
        (3, "results: must be a path, got 3"),
    ],
)
def test_where_the_results_go_must_be_a_folder_of_results(tmp_path, monkeypatch, results, message):
    """An empty text was taken for none: the results were deleted with the session."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("loop").symlink_to("loop")
    with pytest.raises(UserError, match=re.escape(message)):
        optimlab.compare("SGD", problem=RAVINE, results=results, **SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop"}


def test_results_do_not_go_into_those_of_one_experiment(result):
    with pytest.raises(UserError, match=r"results: .* has the results of one experiment"):
        optimlab.compare("SGD", problem=RAVINE, results=result.folder, **SMALL)


@pytest.mark.slow
def test_a_path_may_begin_at_the_home_folder(result, tmp_path, monkeypatch):
    """It made a folder named ~."""
    monkeypatch.setenv("HOME", str(result.folder.parent))
    monkeypatch.chdir(tmp_path)
    assert results_at("~/new") == result.folder.parent / "new"
    assert optimlab.Result(f"~/{result.folder.name}").verdict == result.verdict
    with pytest.raises(UserError, match=f"^{result.folder.parent}/none.toml: there is no such"):
        optimlab.run("~/none.toml")
    for call in (optimlab.Result, result.report, lambda path: optimlab.build_experiment(folder=path)):
        with pytest.raises(UserError, match=r": must be a path, got 3"):
            call(3)


def test_lists_may_be_arrays_and_columns_and_names_of_data_paths(tmp_path):
    pd.DataFrame({"a": [0.0, 1, 2, 3] * 9, "y": list("abba") * 9}).to_csv(
        tmp_path / "t.csv", index=False
    )
    lists = {"optimizers": ["SGD", "Adam"], "seeds": (1, 2), "learning_rates": [0.1, 1.0]}
    usual = optimlab.build_experiment(
        problem={"data": "t.csv", "target": "y"}, folder=tmp_path, steps=3, **lists
    )
    for kind in (np.array, pd.Series, pd.Index, iter, lambda each: dict(enumerate(each)).values()):
        arrays = {name: kind(each) for name, each in lists.items()}
        problem = {"data": Path("t.csv"), "target": "y"}
        built = optimlab.build_experiment(problem=problem, folder=tmp_path, steps=np.int64(3), **arrays)
        assert [run.run_id for run in built.runs()] == [run.run_id for run in usual.runs()]


@pytest.mark.slow
def test_a_rule_of_a_library_may_be_given_itself():
    """An optimizer of PyTorch was told to lack the method init."""

    class NoSuch:
        pass

    def nosuch():
        pass

    for rule, module, name in (
        (NoSuch, "torch.optim.adam", "torch:NoSuch"),
        (nosuch, "optax._src", "optax:nosuch"),
    ):
        rule.__module__ = module
        for optimizers in ([rule], {"mine": rule}, {"mine": {"rule": rule}}):
            with pytest.raises(
                UserError, match=rf"optimizers\.\w+\.rule: .*{name[:5]}.*{rule.__name__}"
            ):
                optimlab.build_experiment(optimizers=optimizers, problem="wine", **SMALL)


def test_each_hyperparameter_may_have_a_schedule_as_an_object():
    optimizers = {"SGD": {"schedules": {"momentum": Cosine(final=0.5)}, "schedule": Linear}}
    built = optimlab.build_experiment(optimizers=optimizers, problem="wine", **SMALL)
    schedules = built.optimizers[0].schedules
    assert schedules["momentum"]["name"] == "cosine"
    assert schedules["learning_rate"]["name"] == "linear"


def test_tables_are_checked_as_they_are_not_by_way_of_a_file(monkeypatch):
    monkeypatch.setattr("tomllib.loads", lambda _: pytest.fail("there is no file to read"))
    built = optimlab.build_experiment(optimizers=["SGD"], problem="wine", final="last", **SMALL)
    assert (built.final, built.equal_within, built.problems[0].label) == ("last", 0.05, "wine")
    with pytest.raises(UserError) as error:
        optimlab.build_experiment(
            optimizers=["SGD"], problem={"data": "wine", "resample": True}, **SMALL
        )
    assert str(error.value) == "problem.resample: unknown key; it belongs in problem.split"
    with pytest.raises(UserError, match=r"^2 mistakes\n  final: must be .*\n  optimizers.Adm.rule: "):
        optimlab.build_experiment(optimizers=["Adm"], problem="wine", final="end", **SMALL)


@pytest.mark.parametrize(
    "given",
    [
        ("SGD", optimlab.Adam),
        (["SGD", "Adam"],),
        ({"SGD": {}, "Adam": None},),
        (dict.fromkeys(["SGD", "Adam"]).keys(),),
    ],
)
def test_optimizers_may_be_compared_as_arguments_or_as_one_list(monkeypatch, given):
    """A list was taken for one optimizer, which it was told not to be."""
    found = []
    monkeypatch.setattr("optimlab.python.sweep", lambda experiment, *_: found.append(experiment))
    optimlab.compare(*given, problem="wine", **SMALL)
    assert [each.rule for each in found[0].optimizers] == ["SGD", "Adam"]
    with pytest.raises(UserError, match="they are the positional arguments of compare"):
        optimlab.compare(*given, optimizers=["Adam"], problem="wine", **SMALL)


def test_an_experiment_or_its_keys_not_both():
    with pytest.raises(UserError, match="either an experiment, or"):
        optimlab.run("smoke", problem=RAVINE)
    with pytest.raises(UserError, match="there is no such experiment"):
        optimlab.run(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jobs": 0}, "jobs: must be a whole number, 1 or more, got 0"),
        ({"jobs": True}, "jobs: must be a whole number, 1 or more, got True"),
        ({"jobs": "2"}, "jobs: must be a whole number, 1 or more, got '2'"),
        ({"jobs": np.int64(2)}, "experiments/nowhere.toml: there is no such experiment"),
        ({"progress": "no"}, "progress: must be True, False or None, got 'no'"),
    ],
)
def test_how_to_run_is_checked_before_what(given, message):
    with pytest.raises(UserError) as error:
        optimlab.run("nowhere", **given)
    assert str(error.value).startswith(message)


@pytest.mark.slow
def test_a_temporary_folder_goes_with_its_result():
    found = optimlab.compare("SGD", problem=RAVINE, jobs=1, **SMALL)
    folder = found.folder
    assert (folder / "runs.csv").exists()
    del found
    gc.collect()
    assert not folder.parent.exists()


def test_every_name_of_the_package_is_there():
    assert all(getattr(optimlab, name) for name in optimlab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        optimlab.nothing  # noqa: B018


@pytest.mark.slow
def test_the_code_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    first, second, third = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {}
    exec(first.replace("epochs=5", "steps=5").replace("(4, 8)", "(1, 2)"), names)
    assert "lowest median final validation loss" in capsys.readouterr().out
    exec(second.replace("steps=300", "steps=3, seeds=(1, 2)"), names)
    names["__name__"] = "__main__"
    cell = third.replace("steps=100", "steps=3, seeds=(1, 2)")
    monkeypatch.setitem(linecache.cache, "<cell>", (1, None, cell.splitlines(keepends=True), "<cell>"))
    exec(compile(cell, "<cell>", "exec"), names)
    assert "cannot be reused in another session" not in capsys.readouterr().err
