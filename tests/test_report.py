"""The page: what it says, that it is safe and self-contained, and what it does with odd tables."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from optimlab import plots
from optimlab.report.page import NothingToReport, write_report

RUNS = "run_id,optimizer,learning_rate,seed,role,status\n"
BAD_LABEL = "<script>alert(1)</script>"
VOID = {"meta", "img", "source", "path", "polygon"}


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
    """Checks that tags nest, and keeps headings, addresses, ids and the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def report(folder, experiments=None):
    return Page(write_report(folder, experiments).read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DOTS_AN_INCH", 40)
        yield


@pytest.fixture(scope="module")
def nasty(tmp_path_factory, small_pictures):
    """Two experiments on one page, the first with markup wherever a user may write some."""
    folder = tmp_path_factory.mktemp("results")
    write_tables(
        folder / "digits", labels=("SGD", f"bad {BAD_LABEL}"), title="<b>bold</b> & co",
        toml="x = '</pre><i>'",
        description="1 < 2", runs_expected=99, runs_finished=12, optimizers={"SGD": {}, "Waiting": {}},
    )  # fmt: skip
    write_tables(folder / "another", title="Another", problem={"name": "digits"})
    (folder / "no-experiment").mkdir()
    return folder, report(folder)


def test_everything_is_escaped(nasty):
    _, page = nasty
    assert {"script", "b", "i"}.isdisjoint(page.tags)
    for text in ("<b>bold</b> & co", BAD_LABEL, "x = '</pre><i>'", "1 < 2", "ValueError: <b>no</b>"):
        assert text in page.text


def test_the_page_needs_no_network(nasty):
    _, page = nasty
    addresses = [value for name in ("src", "href", "srcset") for value in page.values(name)]
    assert len(addresses) > 10
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in addresses)
    assert "url(" not in (nasty[0] / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in " ".join(page.values("content"))


def test_several_experiments_stand_on_one_page_digits_first(nasty):
    _, page = nasty
    targets = [value for value in page.values("href") if value not in ("#main",)]
    assert targets == ["#digits", "#another", "#method"]
    assert {target[1:] for target in targets} < set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))
    assert page.tags.count("h1") == 1


def test_an_unfinished_sweep_says_so(nasty):
    _, page = nasty
    assert "Unfinished: 12 of 99 runs." in page.text
    assert "There is no run yet of Waiting." in page.text
    assert page.text.count("Unfinished") == 1


def test_the_page_is_accessible(nasty):
    _, page = nasty
    assert page.tags.count("main") == 1
    assert page.tags.count("img") == len([alt for alt in page.values("alt") if len(alt) > 20])
    assert page.tags.count("th") == len(page.values("scope"))
    assert page.tags.count("caption") == page.tags.count("table") == 2


def test_files_beside_the_tables(nasty):
    folder, _ = nasty
    names = {path.name for path in (folder / "another" / "figures").iterdir()}
    stems = ("traces", "learning-rates", "accuracy", "rates-1-sgd", "rates-2-adam")
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    assert not list(folder.rglob("*.tmp"))


def test_the_numbers_are_those_of_the_summary(nasty):
    folder, page = nasty
    summary = pd.read_csv(folder / "another" / "summary.csv")
    for _, row in summary.iterrows():
        assert f"{row['final_loss_median']:.3g}" in page.text
        assert f"{row['final_loss_quartile_1']:.3g}–{row['final_loss_quartile_3']:.3g}" in page.text
    assert list(summary["rank"]) == [1, 2]
    assert "too few to tell 2 optimizers apart" in page.text
    flagged = [text for text in page.texts if text == "lowest of the grid"]
    assert len(flagged) == 3  # SGD twice and Adam; the failed one has no choice


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"labels": ("SGD", "Adam"), "seeds": (7, 100)}, "that does not tell an optimizer from luck"),
        ({"seeds": (100, 101), "rates": (0.1, 1.0)}, "All seeds are reporting seeds"),
        ({"seeds": (0, 1), "rates": (0.1, 1.0)}, "All seeds are tuning seeds"),
        ({"seeds": (100, 101)}, "Every optimizer had one learning rate, so nothing was tuned"),
        ({"labels": ("bad",)}, "No optimizer can be recommended"),
    ],
)
def test_odd_experiments_have_a_page(tmp_path, tables, says):
    write_tables(tmp_path / "odd", **{"rates": (0.1,), **tables})
    assert says in report(tmp_path).text


def test_nothing_is_said_of_tuning_where_there_was_none(tmp_path):
    write_tables(tmp_path / "fixed", rates=(0.1,), seeds=(100, 101))
    page = report(tmp_path)
    assert "All seeds are" not in page.text
    assert "Only the learning rate was tuned" not in page.text
    assert not list(tmp_path.glob("fixed/figures/learning-rates.*"))
    assert not list(tmp_path.glob("fixed/figures/rates-*"))


def test_writing_again_gives_the_same_files(tmp_path):
    write_tables(tmp_path / "once", labels=("SGD",), rates=(0.1,))
    write_report(tmp_path, ["once"])
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    stale = tmp_path / "once" / "figures" / "rates-9-gone.png"
    stale.touch()
    write_report(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"no results in .*: run `make sweep`, then `make plots`"),
        ("", r"cannot read .*runs\.csv"),
        ("\x00\x01", r"cannot read .*runs\.csv"),
        ("run_id,optimizer\n1,SGD\n", r"cannot read .*runs\.csv: it has no column 'learning_rate'"),
        (RUNS + "1,A,x,0,tuning,ok\n", r"cannot read .*runs\.csv"),
        (RUNS + "1,A,1,0,tuning,fine\n", "status must be one of .* got 'fine'"),
        (RUNS + "1,A,1,0,tuning,ok\n", r"cannot read .*traces\.parquet"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, content, says):
    if content is not None:
        (tmp_path / "digits").mkdir()
        (tmp_path / "digits" / "runs.csv").write_text(content)
    with pytest.raises(NothingToReport, match=re.compile(says, re.DOTALL)):
        write_report(tmp_path)


def test_an_experiment_without_a_finished_run_is_left_out(tmp_path):
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "runs.csv").write_text(RUNS)
    with (
        pytest.warns(UserWarning, match="stopped: no run has finished yet"),
        pytest.raises(NothingToReport),
    ):
        write_report(tmp_path)
    with pytest.raises(
        NothingToReport, match=r"runs\.csv holds no run: run `make sweep EXPERIMENT=stopped`"
    ):
        write_report(tmp_path, ["stopped"])
    write_tables(tmp_path / "finished", labels=("SGD",), rates=(0.1,))
    with pytest.warns(UserWarning, match="stopped: no run has finished yet"):
        assert "stopped" not in write_report(tmp_path).read_text()


def test_a_named_experiment_must_have_run(tmp_path):
    with pytest.raises(NothingToReport, match="run `make sweep EXPERIMENT=mine`, then `make plots`"):
        write_report(tmp_path, ["mine"])


def test_a_broken_description_is_named(tmp_path):
    write_tables(tmp_path / "digits", labels=("SGD",), rates=(0.1,))
    (tmp_path / "digits" / "experiment.json").write_text("{")
    with pytest.raises(NothingToReport, match=r"cannot read .*experiment\.json"):
        write_report(tmp_path)
