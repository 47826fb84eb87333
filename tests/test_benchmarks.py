"""The benchmarks: every contender computes the same as optimlab."""

import numpy as np
import pandas as pd
import pytest
from reference.statistics import table, traces_of

from benchmarks import claims, steps
from benchmarks.case import HYPERPARAMETERS, Case
from benchmarks.contenders import ENTRIES, JAX, OURS
from optimlab import statistics
from optimlab.nn import Network
from optimlab.statistics.pairs import CLAIMS
from optimlab.statistics.retuning import grid
from optimlab.statistics.summary import judged

NEED_AN_EXTRA = ("torch", "optax")


def cases():
    for entry in ENTRIES:
        is_extra = entry.package in NEED_AN_EXTRA
        for rule in entry.rules:
            for batch in (32,) if is_extra else (32, 1200):
                marks = pytest.mark.parity if is_extra else pytest.mark.slow if batch > 32 else ()
                yield pytest.param(entry, rule, batch, marks=marks, id=f"{entry.name}-{rule}-{batch}")


@pytest.mark.parametrize(("entry", "rule", "batch"), list(cases()))
def test_a_contender_s_losses_are_optimlab_s(entry, rule, batch):
    pytest.importorskip(entry.package)
    contender = entry.make(Case(rule, batch, 2))
    for _ in range(2):  # each training begins at the start
        assert contender.train() > 0
        np.testing.assert_allclose(contender.losses(), contender.expected(), rtol=1e-3)
    contender.evaluate()


@pytest.mark.parametrize("rule", HYPERPARAMETERS)
def test_other_rules_have_other_losses(rule):
    """Else the check of the losses could not fail."""
    others = [name for name in HYPERPARAMETERS if name != rule]
    mine = next(entry for entry in ENTRIES if entry.name == OURS).make(Case(rule, 64, 2))
    mine.train()
    for other in others:
        theirs = next(entry for entry in ENTRIES if entry.name == OURS).make(Case(other, 64, 2))
        theirs.train()
        assert (np.abs(mine.losses() / theirs.losses() - 1) > 10 * 1e-3).all(), other


def test_the_operations_are_those_of_the_matrix_products():
    """Counted where they happen: each product (m, k) by (k, n) has 2mkn."""
    case, counted = Case("SGD", 32, 1), []
    real = np.matmul

    def counting(a, b, **options):
        counted.append(2 * a.shape[-2] * a.shape[-1] * b.shape[-1])
        return real(a, b, **options)

    start, samples = case.start, case.samples[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "matmul", counting)
        case.problem.loss_and_gradient(start, samples, case.problem.init(case.seeds)[1])
    assert isinstance(case.problem.network, Network)
    assert sum(counted) == case.flops()


def test_the_simulated_claims_are_those_of_a_comparison():
    """The same tables, once as a user has them compared, once as the simulation draws them."""
    source = np.random.default_rng(0)
    runs = table(
        *(
            (name, rate, seed + 90 * (seed > 9), "ok", source.normal(9 + 2 * shift, 1 + rate))
            for shift, name in enumerate("ABC")
            for rate in (0.1, 1.0)
            for seed in range(40)
        )
    ).assign(final_test_loss=source.normal(9, 1, 240))
    traces = traces_of(runs, lambda run: (0.1, *source.choice([0.3, 0.97], 3), 0.98))
    compared = statistics.compare_optimizers(runs, traces, dict.fromkeys("ABC", 0.1), splits=50, draws=9)
    optimizers = [grid(own) for _, own in judged(runs, traces).groupby("optimizer")]
    found = claims.now(optimizers, claims.TUNING, splits=50)
    some = 0
    for setting, rows in compared.pairs.groupby("setting"):
        rows = rows.assign(names=["".join(sorted(pair)) for pair in rows["better"] + rows["worse"]])
        rows = rows.set_index("names").loc[["AB", "AC", "BC"]]
        for name, prefix in CLAIMS.items():
            assert found[f"{setting} {name}"].tolist() == rows[f"{prefix}different"].tolist()
            some += rows[f"{prefix}different"].sum()
    assert 0 < some < 18


@pytest.mark.parametrize(
    ("ours", "slow"), [(15.0, []), (31.0, ["batch 64: a step takes 1.6 times JAX's"])]
)
def test_a_step_that_is_slower_than_jax_s_by_half_fails_the_benchmark(ours, slow):
    """The best stack of each counts, whatever another one takes."""
    times = [(OURS, ours), (OURS, 90.0), (JAX, 20.0), (JAX, 40.0)]
    rows = pd.DataFrame(
        [
            (batch, "Adam", name, stack, time)
            for batch in (32, 64)
            for stack, (name, time) in enumerate(times)
        ],
        columns=["batch", "rule", "contender", "stack", "microseconds"],
    )
    rows.loc[(rows["batch"] == 32) & (rows["contender"] == OURS), "microseconds"] = 15.0
    assert steps.too_slow(rows) == slow
    assert steps.too_slow(rows[rows["contender"] == OURS]) == []


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setattr(steps, "find_spec", lambda package: package != "optax")
    there, missing = steps.installed()
    assert "optax" not in {entry.package for entry in there}
    assert len(missing) == 1
    assert "optax is not installed" in missing[0]
