"""Sweeps in rounds: seeds are added until every pair is decided, and error rates allow for each look."""

import json

import numpy as np
import pandas as pd
import pytest
from sweeping import call, document, optimlab, silent, tiny, write

from optimlab import statistics
from optimlab.errors import UserError
from optimlab.execution.rounds import rounds
from optimlab.execution.sweep import sweep
from optimlab.statistics.resampling import family, leave_one_out_of_mean, split_seeds

APART = """
[optimizers.Fast]
rule = "SGD"
learning_rates = [0.1]
[optimizers.Slow]
rule = "SGD"
learning_rates = [0.001]
"""
CLOSE = """
[optimizers.SGD]
momentum = 0.5
learning_rates = [0.1]
[optimizers.Nesterov]
momentum = 0.52
learning_rates = [0.1]
"""


def of(optimizers):
    return document(top="", optimizers=optimizers, seeds="tuning = 1\nreporting = 3\n")


def in_rounds(experiment, results, most=None, **options):
    def run(experiment, *, fresh):
        return sweep(experiment, results, 1, silent(), fresh=fresh)

    return list(rounds(experiment, results, most, run, **options))


def about(results):
    return json.loads((results / "tiny" / "experiment.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_seeds_are_added_until_all_is_decided(tmp_path):
    file = write(tmp_path, of(APART))
    done = optimlab("sweep", file, "--until", "decided", "--jobs", 1, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("Round")]
    assert lines[0] == (
        "Round 1: with 3 reporting seeds, 0 of 1 pairs are decided, at a level of 2.5 %."
    )
    assert "1 of 1 pairs is decided" in lines[-1]
    looks = about(tmp_path / "results")["looks"]
    assert looks == [3 * 2**k for k in range(len(lines))]
    # From now on these are its seeds, for every command.
    results = tmp_path / "results"
    count = 2 * (1 + looks[-1])
    assert len(pd.read_csv(results / "tiny" / "runs.csv")) == count
    for words, expected in (
        (("sweep", file, "--jobs", 1), "0 runs in"),
        (("show", file), f"{count} runs, {count} of them finished"),
        (("verify", file, "--jobs", 1, "--runs", 2), f"2 of {count} runs"),
        (("prune", file), "Deleted 0 files"),
        (("sweep", file, "--until", "decided", "--jobs", 1), "1 of 1 pairs is decided"),
    ):
        again = call(*words, "--results", results)
        assert again.exit_code == 0
        assert expected in " ".join(again.stdout.split())
    assert about(results)["looks"] == looks


@pytest.mark.slow
def test_a_limit_ends_an_undecided_sweep_and_a_higher_one_resumes_it(tmp_path):
    experiment, results = tiny(tmp_path, of(CLOSE)), tmp_path / "results"
    first = in_rounds(experiment, results, most=5)
    assert [each.seeds for each in first] == [3, 5]
    assert all(sorted(each.undecided[0].split(" and ")) == ["Nesterov", "SGD"] for each in first)
    more = in_rounds(experiment, results, most=7)
    assert [(each.seeds, each.outcome.ran) for each in more] == [(5, 0), (7, 4)]
    assert about(results)["looks"] == [3, 5, 7]
    assert more[-1].level == pytest.approx(0.05 / 12)
    with pytest.raises(UserError, match="7 reporting seeds, more than 6"):
        in_rounds(experiment, results, most=6)
    anew = in_rounds(experiment, results, most=3, fresh=True)
    assert [(each.seeds, each.outcome.ran) for each in anew] == [(3, 8)]
    assert about(results)["looks"] == [3]


def test_one_optimizer_has_nothing_to_decide(tmp_path):
    experiment = tiny(tmp_path, of(APART.partition("[optimizers.Slow]")[0]))
    with pytest.raises(UserError, match="needs two optimizers"):
        in_rounds(experiment, tmp_path / "results")


@pytest.mark.parametrize("words", [("--most-seeds", "9"), ("--until", "decided", "--dry-run")])
def test_options_that_do_not_go_together(tmp_path, words):
    done = call("sweep", write(tmp_path, of(APART)), *words)
    assert done.exit_code == 2
    assert "--until decided" in done.stderr


def test_a_later_look_needs_more_to_claim_the_same():
    rng = np.random.default_rng(0)
    seeds = [*range(4), *range(1000, 1012)]
    runs = pd.DataFrame(
        [
            {
                "run_id": f"{label} {seed}",
                "optimizer": label,
                "rule": label,
                "learning_rate": 0.1,
                "seed": seed,
                "role": "tuning" if seed < 1000 else "reporting",
                "status": "ok",
                "final_validation_loss": 1 + shift + rng.normal(0, 0.1),
            }
            for label, shift in (("A", 0), ("B", 0.12))
            for seed in seeds
        ]
    )
    traces = pd.DataFrame(
        columns=["run_id", "optimizer", "seed", "step", "epoch", "validation_loss"]
    ).astype({"seed": int, "step": float, "epoch": float, "validation_loss": float})
    traces["validation_accuracy"] = np.nan
    once, third = (
        statistics.compare_optimizers(runs, traces, level=statistics.level_of_look(look)).pairs.iloc[0]
        for look in (0, 3)
    )
    assert third["p_value"] == once["p_value"]
    assert third["p_value_adjusted"] == pytest.approx(min(12 * once["p_value_adjusted"], 1))
    width = [row["difference_high"] - row["difference_low"] for row in (once, third)]
    assert width[1] > 1.3 * width[0]


@pytest.mark.slow
def test_all_looks_together_make_false_claims_in_at_most_five_percent():
    """Copies that differ in nothing are looked at with 8, 16, 32 and 64 seeds."""
    rng = np.random.default_rng(1)
    experiments, found = 500, {"spent": 0, "5 % each": 0}
    for _ in range(experiments):
        gaps = rng.normal(size=64) * rng.chisquare(4, 64)  # of heavy tails
        p_values = []
        for seeds in (8, 16, 32, 64):
            reports = split_seeds(seeds, 0, 1, rng)
            estimate = leave_one_out_of_mean(gaps[None, :seeds], np.zeros(1, int), reports)
            p_values.append(family([estimate], rng, draws=100).p_values[0])
        levels = [statistics.level_of_look(look) for look in range(1, 5)]
        found["spent"] += any(p < level for p, level in zip(p_values, levels, strict=True))
        found["5 % each"] += min(p_values) < 0.05
    assert found["spent"] / experiments <= 0.05
    assert found["5 % each"] / experiments > 0.08
