"""The page: its contents, security, self-containment, and unusual tables."""

import base64
import contextlib
import hashlib
import io
import json
import re
import tomllib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from reference.statistics import contest, traces_of
from sweeping import mostly_slow
from test_charts import HOSTILE, blank_pictures, charts_of, unpacked, without_pictures, write_study

from optimlab import statistics
from optimlab.commands import plots as plots_command
from optimlab.errors import UserError
from optimlab.files import Folder, only_writer
from optimlab.report import page as page_module
from optimlab.report.blocks import caveats, ranking
from optimlab.report.figures import plots
from optimlab.report.page import write_report
from optimlab.report.problem_result import ProblemResult
from optimlab.report.style import series_styles
from optimlab.storage.results import NothingToReport

RUNS = "run_id,optimizer,learning_rate,seed,role,status\n"
BAD_LABEL = "<script>alert(1)</script>"
VOID = {"meta", "img", "input", "source", "path", "polygon"}


def write_tables(folder, labels=("SGD", "Adam"), rates=(0.1, 1.0), seeds=(0, 100, 101), **experiment):
    """Write a folder of results; a label with "bad" in it fails, seeds from 100 on are fresh."""
    folder.mkdir(parents=True)
    runs, traces = [], []
    for place, label in enumerate(labels):
        for rate in rates:
            for seed in seeds:
                bad = "bad" in label
                key = {"run_id": f"{place} {rate} {seed}", "optimizer": label, "learning_rate": rate,
                       "seed": seed, "role": "reporting" if seed >= 100 else "tuning"}  # fmt: skip
                loss = np.nan if bad else 0.123456 * (1 + place + rate + seed / 1000)
                runs.append({**key, "rule": label, "status": "failed" if bad else "ok", "steps": 20,
                             "reason": "ValueError: <b>no</b>" if bad else "",
                             "final_train_loss": loss, "final_validation_loss": loss,
                             "final_test_accuracy": np.nan if bad else 0.9})  # fmt: skip
                traces += [
                    {**key, "step": 10 * epoch, "epoch": float(epoch), "train_loss": loss * (3 - epoch),
                     "validation_loss": loss * (3 - epoch), "validation_accuracy": 0.5 + epoch / 4}
                    for epoch in range(0 if bad else 3)
                ]  # fmt: skip
    columns = ["run_id", "optimizer", "learning_rate", "seed", "role", "step", "epoch", "train_loss"]
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    pd.DataFrame(traces, columns=None if traces else columns).to_parquet(folder / "traces.parquet")
    (folder / "experiment.json").write_text(json.dumps(experiment))


class Page(HTMLParser):
    """Checks that tags nest, and keeps attributes, scripts, the cells of tables and the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.scripts, self.data, self.captions = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag == "script":
            (self.data if dict(attributes).get("type") == "application/gzip" else self.scripts).append(
                ""
            )
            self.is_data = dict(attributes).get("type") == "application/gzip"
        if tag == "figcaption":
            self.captions.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            (self.data if self.is_data else self.scripts)[-1] += data
        elif self.open[-1:] != ["style"]:
            self.texts.append(data)
        if self.open[-1:] == ["figcaption"]:
            self.captions[-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def report(folder, experiments=None):
    return Page(write_report(folder, experiments).read_text(encoding="utf-8"))


@pytest.fixture
def quick(monkeypatch):
    without_pictures(monkeypatch)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Two experiments on one page, the first with markup wherever a user may write some."""
    folder = tmp_path_factory.mktemp("results")
    write_tables(
        folder / "digits", labels=("SGD", f"bad {BAD_LABEL}"), title="<b>bold</b> & co",
        toml="x = '</pre><i>'",
        description="1 < 2", runs_expected=99, runs_finished=12, optimizers={"SGD": {}, "Waiting": {}},
    )  # fmt: skip
    write_tables(folder / "another", title="Another", problem={"name": "digits"})
    (folder / "no-experiment").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        with contextlib.redirect_stderr(io.StringIO()) as told:
            page = report(folder)
        assert "at the end of the grid" in told.getvalue()
        return folder, page


def test_everything_is_escaped(nasty):
    _, page = nasty
    assert {"b", "i"}.isdisjoint(page.tags)
    assert len(page.scripts) == 2  # Vega-Lite's and ours
    for text in ("<b>bold</b> & co", BAD_LABEL, "x = '</pre><i>'", "1 < 2", "ValueError: <b>no</b>"):
        assert text in page.text


def test_hostile_labels_break_neither_scripts_nor_data(tmp_path, quick):
    write_study(tmp_path / "hostile", title=HOSTILE, toml=HOSTILE, rates=(0.01, 0.12, 1.0))
    page = report(tmp_path)
    assert "b" not in page.tags
    assert len(page.scripts) == 2
    assert len(page.data) == page.values("class").count("chart") + page.values("class").count(
        "chart parts"
    )
    for text in page.data:
        assert HOSTILE in json.dumps(unpacked(text), ensure_ascii=False).replace(r"\"", '"').replace(
            r"\\", "\\"
        )


def test_only_the_pages_own_scripts_may_run(nasty):
    _, page = nasty
    policy = next(value for value in page.values("content") if "script-src" in value)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()) for script in page.scripts]
    allowed = policy.partition("script-src ")[2].split()
    assert allowed == [f"'sha256-{digest.decode()}'" for digest in digests]
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy


def test_the_page_needs_no_network(nasty):
    folder, page = nasty
    addresses = [value for name in ("src", "href", "srcset") for value in page.values(name)]
    files = [address for address in addresses if not address.startswith("#")]
    assert len(files) > 10
    assert all((folder / address).exists() for address in files)
    style = re.search(
        "<style>(.*?)</style>", (folder / "report.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_several_experiments_share_one_page_digits_first(nasty):
    _, page = nasty
    targets = [value for value in page.values("href") if value[0] == "#" and value != "#main"]
    assert targets == ["#digits", "#another", "#method"]
    assert {target[1:] for target in targets} < set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))
    assert page.tags.count("h1") == 1


def test_an_unfinished_sweep_is_marked(nasty):
    _, page = nasty
    assert "Unfinished: 12 of 99 runs." in page.text
    assert "Waiting has no run yet." in page.text
    assert page.text.count("Unfinished") == 1


def test_the_page_is_accessible(nasty):
    _, page = nasty
    assert page.tags.count("main") == 1
    assert page.tags.count("th") == len(page.values("scope"))
    assert page.tags.count("caption") == page.tags.count("table") == 2
    assert all(len(unpacked(text)["spec"]["description"]) > 20 for text in page.data)
    assert set(page.values("aria-labelledby")) <= set(page.values("id"))
    assert (
        page.tags.count("h4")
        == len(page.data)
        == len([text for text in page.captions if len(text) > 40])
    )
    assert page.tags.count("noscript") == 1 + len(page.data)  # its style, and one in each chart


@pytest.mark.slow
def test_files_beside_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "DOTS_AN_INCH", 40)
    write_tables(tmp_path / "one")
    charts = charts_of(write_report(tmp_path).read_text(encoding="utf-8"))
    stems = {"traces", "learning-rates", "accuracy", "rates-1-sgd", "rates-2-adam"}
    assert {"traces", "learning-rates", "wins"} < set(charts)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one" / "figures").iterdir()}
    assert set(files) == {
        f"{stem}.{ending}" for stem in stems | set(charts) for ending in ("png", "svg")
    }
    for name, content in files.items():
        assert content.startswith(b"\x89PNG" if name.endswith("png") else (b"<svg", b"<?xml"))
    written = {path.name for path in (tmp_path / "one").iterdir() if path.is_file()}
    tables = {"summary.csv", "comparisons.csv", "targets.csv", "profiles.csv", "budget.csv"}
    assert tables <= written
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_numbers_are_those_of_the_summary(nasty):
    folder, page = nasty
    summary = pd.read_csv(folder / "another" / "summary.csv")
    for _, row in summary.iterrows():
        assert f"{row['final_loss_median']:#.3g}" in page.text
        ends = [f"{row[f'final_loss_interval_{end}']:#.3g}" for end in ("low", "high")]
        assert "–\N{WORD JOINER}".join(ends) in page.text
        assert f"IQM {row['final_loss_iqm']:#.3g}" in page.text
        assert f"{100 * row['final_accuracy_median']:.1f} %" in page.text
    assert list(summary["rank"]) == [1, 2]
    assert "too few to tell 2 optimizers apart" in page.text
    flagged = [text for text in page.texts if text == "lowest of the grid"]
    assert len(flagged) == 3  # SGD twice and Adam; the failed one has no choice


def test_a_choice_at_the_edge_of_the_grid_comes_with_a_wider_grid(nasty):
    _, page = nasty
    assert page.text.count("At an end of the learning-rate grid: the best rate of") == 2
    files = [tomllib.loads(text) for text in page.texts if text.startswith("[optimizers.")]
    widened = {"learning_rates": [0.001, 0.01, 0.1, 1]}
    assert files == [{"optimizers": {"SGD": widened}}, {"optimizers": {"SGD": widened, "Adam": widened}}]


def test_every_cell_of_the_table_is_the_summarys(tmp_path, quick):
    write_study(tmp_path / "study")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    summary = pd.read_csv(tmp_path / "study" / "summary.csv")
    body = html.partition("<tbody")[2].partition("</tbody>")[0]
    values = [re.findall(r'data-value="([^"]*)"', row) for row in body.split("<tr")[1:]]
    names = {0: "rank", 2: "learning_rate", 3: "final_loss_median", 5: "default_loss_median"}
    names |= {6: "test_loss_median", 7: "final_accuracy_median", 8: "epochs_to_95_median"}
    for row, cells in zip(summary.to_dict("records"), values, strict=True):
        for place, name in names.items():
            expected = row[name] * (100 if "accuracy" in name else 1)
            assert float(cells[place]) == pytest.approx(expected), name
        bad = sum(row[f"runs_{status}"] for status in ("stuck", "diverged", "failed"))
        assert float(cells[9]) == bad
    assert "2 diverged, 1 failed of 9" in Page(html).text


def test_lines_of_the_table_break_between_numbers_not_within_one():
    nbsp = "\N{NO-BREAK SPACE}"
    assert page_module.unbroken("also 0.3 (54 %), 1 (&lt; 1 %)").split(" ") == [
        "also",
        f"0.3{nbsp}(54{nbsp}%),",
        f"1{nbsp}(&lt;{nbsp}1{nbsp}%)",
    ]
    assert " " not in page_module.unbroken("p = 0.053")
    joined = "\N{WORD JOINER}"
    for interval in ("[5.5, 18]", "[−0.50, 0.98]", "[3×10⁻⁷, ∞]", "[39.4 %, 41 %]", "−5.00 to −4.99"):
        text = page_module.unbroken(f"<td>Adam 6 {interval} open</td>")
        assert text.replace(nbsp, " ") == f"<td>Adam 6 {interval} open</td>"
        assert text.split(" ") == ["<td>Adam", "6", interval.replace(" ", nbsp), "open</td>"]
    for low, high in (("0.148", "0.2"), ("10⁻⁵", "∞")):
        assert page_module.unbroken(f"{low}–{high}") == f"{low}–{joined}{high}"
    for kept in ("[0.1, 0.3, 1]", "SGD – Adam", "2–D", "one to 3", "[one, two]"):
        assert page_module.unbroken(kept) == kept
    for kept in ("<pre>eps = 1 s</pre>", "<script>a = 1 % 2</script>", '<a title="5 %">', "in 5 steps"):
        assert page_module.unbroken(kept) == kept
    assert page_module.unbroken("<p>after <b>5 s</b> or 3 kB</p>").count(nbsp) == 2


def test_a_number_stays_to_the_right_of_a_label_written_from_right_to_left():
    """A browser draws "(0.1)" to the left of it, beside the label before."""
    mark = "\N{LEFT-TO-RIGHT MARK}"
    assert page_module.unbroken("<p>آدم (0.1) and آدم</p>") == f"<p>آدم{mark} (0.1) and آدم</p>"
    for kept in ('<a title="آدم 1">', "<script>آدم 1</script>"):
        assert page_module.unbroken(kept) == kept


@pytest.mark.parametrize(
    ("epochs", "texts"),
    [
        ((26 / 7, 4.5, 6.4), ("4.5", "3.71–6.4")),
        ((5.0, 7.2678571, 8.58333), ("7.27", "5–8.58")),
        ((998.7654, 1234.567, np.inf), ("1230", "999–∞")),
        ((1 / 3, 12.0, 12.0), ("12", "0.333–12")),
    ],
)
def test_epochs_have_three_digits(epochs, texts):
    names = [f"epochs_to_95_{name}" for name in ("low", "median", "high")]
    record = dict(zip(names, epochs, strict=True)) | {"seeds_never_at_95": 0, "seeds": 30}
    cell = ranking._epochs_cell(record)
    assert (cell.text, *cell.below) == texts


@pytest.mark.parametrize(
    ("tables", "says"),
    mostly_slow(
        [
            (
                {"labels": ("SGD", "Adam"), "seeds": (100,)},
                "which cannot separate the optimizer from luck",
            ),
            ({"seeds": (100, 101), "rates": (0.1, 1.0)}, "All seeds are reporting seeds"),
            ({"seeds": (0, 1), "rates": (0.1, 1.0)}, "All seeds are tuning seeds"),
            ({"seeds": (100, 101)}, "Every optimizer had one learning rate, so nothing was tuned"),
            ({"labels": ("bad",)}, "No optimizer can be recommended"),
        ],
        quick=2,
    ),
)
def test_odd_experiments_have_a_page(tmp_path, quick, tables, says):
    write_tables(tmp_path / "odd", **{"rates": (0.1,), **tables})
    assert says in report(tmp_path).text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        (("0.1", "0.2"), "0.1–0.2"), (("−5.00", "−4.99"), "−5.00 to −4.99"),
        (("10⁻⁵", "∞"), "10⁻⁵–∞"), (("∞", "∞"), ""), (("–", "1"), ""),
    ],
)  # fmt: skip
def test_an_interval_with_a_minus_sign_has_no_dash(ends, text):
    """The table had "−5.00–−4.99"."""
    assert ranking._between(*ends) == text


@pytest.mark.slow
def test_the_command_of_an_experiment_with_rounds_adds_the_same_seeds(tmp_path):
    """It trained the seeds of the file alone."""
    write_tables(tmp_path / "rounds", looks=[1, 2], command="optimlab sweep rounds")
    assert "optimlab sweep rounds # with --until decided --most-seeds 2" in report(tmp_path).text


@pytest.mark.parametrize("seeds", [5, 6])
def test_intervals_of_fewer_than_six_seeds_are_marked(seeds):
    runs = contest(range(seeds), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s)
    comparison = compared(runs.assign(final_test_accuracy=runs["seed"] / 1e3), {"A": 0.1}).comparison
    first = comparison.summary.to_dict("records")[0]
    columns = ranking.columns_of(comparison, series_styles(["A", "B"]))
    below = [line for column in columns for line in column.cell(first).below]
    intervals = [line for line in below if re.match(r"[\d.]+–[\d.]", line)]
    assert len(intervals) == 4  # of the loss, tuned and untuned, of the accuracy and of the epochs
    assert max(map(len, intervals)) < 20  # the page breaks none of these
    note = "95 % bootstrap intervals (too narrow: of fewer than 6 seeds)"
    assert (note in ranking._table_caption(comparison)) == (seeds < 6)


def compared(runs, defaults=None):
    """Return the optimizers on one problem."""
    found = statistics.compare_optimizers(runs, traces_of(runs), defaults, splits=9, draws=20)
    return ProblemResult(runs, found, [], "")


def test_the_luck_of_the_split_is_named_and_of_digits_its_size(tmp_path):
    runs = contest(range(6), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s)
    by_problem = {"": compared(runs)}

    def says(*problems):
        about = {str(place): {"problem": each} for place, each in enumerate(problems)}
        return caveats._luck_of_the_split({"problems": about}, by_problem)

    digits, article = {"name": "digits", "split": "default"}, {"name": "digits", "split": "article"}
    assert "varied by 12 to 20 %" in says(digits)[0]
    for others in ((), (article,), ({"name": "mine.py:Mine"},), (digits, article), ({},)):
        assert "more seeds do not average it out." in says(*others)[0]
        assert "20 %" not in says(*others)[0]
    by_problem[""] = compared(runs.assign(final_validation_loss=np.nan))
    assert says(digits) == []  # nothing was held out


@pytest.mark.slow
def test_a_single_optimizer_is_not_compared(tmp_path, quick):
    write_tables(tmp_path / "alone", labels=("SGD",), rates=(0.1,), seeds=(100, 101, 102))
    traces = pd.read_parquet(tmp_path / "alone/traces.parquet")
    traces.assign(validation_accuracy=0.5).to_parquet(tmp_path / "alone/traces.parquet")  # never at 95 %
    page = report(tmp_path)
    section = page.text.partition(" Method ")[0]
    assert "another rate may do better" in section
    for words in (
        "change the order",
        "Against the best",
        "∞–∞",
        "p-values",
        "Ranked",
        "the best is at the top",
    ):
        assert words.lower() not in section.lower(), words
    assert not any(value == "alone-profiles" for value in page.values("id"))


@pytest.mark.slow
def test_tuning_is_not_mentioned_if_there_was_none(tmp_path, monkeypatch):
    blank_pictures(monkeypatch)
    write_tables(tmp_path / "fixed", rates=(0.1,), seeds=(100, 101))
    page = report(tmp_path)
    assert "the same seeds choose the learning rates" not in page.text
    assert "Only the learning rate was tuned" not in page.text
    assert list(tmp_path.glob("fixed/figures/traces.*"))
    assert not list(tmp_path.glob("fixed/figures/learning-rates.*"))
    assert not list(tmp_path.glob("fixed/figures/rates-*"))


@pytest.mark.slow
def test_writing_again_gives_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "DOTS_AN_INCH", 40)
    write_tables(tmp_path / "once", labels=("SGD",), rates=(0.1,))
    write_report(tmp_path, ["once"])
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    stale = tmp_path / "once" / "figures" / "rates-9-gone.png"
    stale.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "empty"))  # nothing was drawn before
    write_report(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


@pytest.mark.slow
def test_what_a_killed_report_left_is_tidied_up_and_nothing_else(tmp_path, quick):
    write_tables(tmp_path / "one", labels=("SGD",), rates=(0.1,))
    write_report(tmp_path)
    left = [tmp_path / ".report.html.1a2b3c4d.tmp", tmp_path / "one/.summary.csv.1a2b3c4d.tmp",
            tmp_path / "one/figures/.gone.svg.1a2b3c4d.tmp"]  # fmt: skip
    of_a_sweep = tmp_path / "one/.runs.csv.1a2b3c4d.tmp"
    for path in (*left, of_a_sweep):
        path.touch()
    write_report(tmp_path)
    assert [path for path in left if path.exists()] == []
    assert of_a_sweep.exists()


def test_one_report_at_a_time(tmp_path, quick):
    write_tables(tmp_path / "one", labels=("SGD",), rates=(0.1,))
    with only_writer(Folder(tmp_path)), pytest.raises(UserError, match="is writing here"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_workers_draw_the_same_and_progress_is_followed(tmp_path, monkeypatch):
    for name in ("one", "two"):
        write_tables(tmp_path / name, labels=("SGD",), rates=(0.1,), seeds=range(100, 103))
    followed = []

    def follow(sequence, *, total, description):
        followed.append((description, total))
        yield from sequence

    write_report(tmp_path, follow=follow)
    assert followed[0] == ("counting", 4)  # the paths and the comparison of each
    assert followed[1][0] == "drawing"
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert followed[1][1] == len([path for path in files if path.suffix == ".svg"])
    monkeypatch.setattr(page_module, "cpu_count", lambda: 2)
    monkeypatch.setattr(page_module, "ROWS_WORTH_A_WORKER", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "empty"))  # nothing was drawn before
    write_report(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"no results in .*: run `make sweep RESULTS=\S+`, then `make plots RESULTS=\S+`"),
        ("", r"cannot read .*runs\.csv"),
        ("\x00\x01", r"cannot read .*runs\.csv"),
        ("run_id,optimizer\n1,SGD\n", r"cannot read .*runs\.csv: it has no column 'learning_rate'"),
        (RUNS + "1,A,x,0,tuning,ok\n", r"cannot read .*runs\.csv"),
        (RUNS + "1,A,1,0,tuning,fine\n", "status must be one of .* got 'fine'"),
        (RUNS + 2 * "1,A,1,0,tuning,ok\n", r"runs\.csv: two rows have the same run_id, optimizer"),
        (RUNS + "1,A,1,0,tuning,ok\n", r"cannot read .*traces\.parquet"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, content, says):
    if content is not None:
        (tmp_path / "digits").mkdir()
        (tmp_path / "digits" / "runs.csv").write_text(content)
    with pytest.raises(NothingToReport, match=re.compile(says, re.DOTALL)):
        write_report(tmp_path)


def test_duplicate_or_missing_traces_are_reported(tmp_path):
    """No number of runs is made from traces that are not all there, or are there twice."""
    write_tables(tmp_path / "one", labels=("SGD",), rates=(0.1,))
    file = tmp_path / "one/traces.parquet"
    traces = pd.read_parquet(file)
    is_first = traces["run_id"] == traces["run_id"][0]
    for wrong, says in (
        (pd.concat([traces, traces[is_first][:1]]), "two rows have the same run_id, .*, step"),
        (traces[~is_first], r"it lacks runs that runs\.csv has"),
    ):
        wrong.to_parquet(file)
        with pytest.raises(NothingToReport, match=says):
            write_report(tmp_path)


def test_an_experiment_without_a_finished_run_is_left_out(tmp_path, quick, capsys):
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "runs.csv").write_text(RUNS)
    with pytest.raises(NothingToReport, match="stopped: no run has finished yet"):
        write_report(tmp_path)
    with pytest.raises(
        NothingToReport, match=r"runs\.csv holds no run: run `make sweep EXPERIMENT=stopped RESULTS="
    ):
        write_report(tmp_path, ["stopped"])
    write_tables(tmp_path / "finished", labels=("SGD",), rates=(0.1,))
    assert "stopped" not in report(tmp_path).text
    assert "stopped: no run has finished yet" in capsys.readouterr().err


def test_a_named_experiment_must_have_run(tmp_path):
    with pytest.raises(NothingToReport, match=r"run `make sweep EXPERIMENT=mine RESULTS=\S+`, then"):
        write_report(tmp_path, ["mine"])


def test_a_broken_description_is_named(tmp_path):
    write_tables(tmp_path / "digits", labels=("SGD",), rates=(0.1,))
    (tmp_path / "digits" / "experiment.json").write_text("{")
    with pytest.raises(NothingToReport, match=r"cannot read .*experiment\.json"):
        write_report(tmp_path)


@pytest.mark.slow
def test_schedules_have_their_own_figure(tmp_path, quick):
    schedule = {"schedules": {"learning_rate": {"name": "linear", "warmup": 0.0, "final": 0.25}}}
    about = {"SGD": {"rule": "SGD", **schedule, "curves": {"learning_rate": [1, 0.7, 0.4]}}, "Adam": {}}
    write_tables(tmp_path / "one", rates=(0.1,), optimizers=about)
    page = report(tmp_path)
    assert "learning_rate by linear (final 0.25)" in page.text
    assert "linear (final 0.25) begins at 1, ends at 0.4" in " ".join(page.values("alt"))
    assert (tmp_path / "one/figures/schedules.png").is_file()


@pytest.mark.parametrize(
    ("cores", "size", "will"), [(1, 10**7, False), (2, 10**7, True), (2, 10, False)]
)
def test_workers_are_prepared_only_where_there_will_be_some(tmp_path, monkeypatch, cores, size, will):
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/traces.parquet").write_bytes(bytes(size))
    assert plots_command._will_have_workers(tmp_path, None) is will
