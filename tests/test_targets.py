"""Time to target: steps, censored medians and profiles, by hand and by loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import statistics as reference
from reference.statistics import table, traces_of

from optimlab.statistics import targets

INF, NAN = np.inf, np.nan


def trace(*records, metric="validation_accuracy"):
    """Return one run and its trace, ten steps a record."""
    rows = [{"run_id": "A", "step": 10 * place, metric: value} for place, value in enumerate(records)]
    return pd.DataFrame({"run_id": ["A"]}), pd.DataFrame(rows, columns=["run_id", "step", metric])


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ((0.1, 0.9, 0.96, 0.96, 0.96, 0.2), 10 + 10 * 5 / 6),  # on the line between two records
        ((0.1, 0.96, 0.9, 0.96, 0.96), 20 + 10 * 5 / 6),  # a spell of 1.8 steps of 40 is not kept
        ((0.1, 0.96, 0.96, 0.9, 0.96, 0.96, 0.96), 10 * 85 / 86),  # one of 11.8 steps of 60 is
        ((0.1, 0.9, 0.9, 0.96), 20 + 10 * 5 / 6),  # to the end of the run
        ((0.1, 0.96, 0.96, 0.96, 0.94), 10 * 85 / 86),
        ((0.96, 0.96, 0.96), 0),
        ((0.1, 0.96, 0.96, NAN, NAN), 10 * 85 / 86),  # it diverged, but later
        ((0.96, NAN, NAN), INF),  # it began there by chance, and diverged before the next record
        ((0.1, 0.96, NAN, NAN), INF),
        ((0.1, NAN, 0.96, 0.96, 0.96), 20),
        ((0.1, float(np.float32(0.95)), 0.95, 0.95), 10),  # float32's is below
        ((0.1, 0.9499, 0.94, 0.9499), INF),
        ((NAN, NAN), INF),
        ((), INF),
    ],
)
def test_steps_to_an_accuracy_that_is_kept(accuracies, step):
    found = targets.steps_to_target(*trace(*accuracies), "validation_accuracy", 0.95)
    assert found.to_dict() == {"A": pytest.approx(step)}


@pytest.mark.parametrize(
    ("losses", "target", "step"),
    [
        ((3, 2, 0.99, 2, 2), 1.0, INF),
        ((3, 2, 1, 0.5, 0.4, 9), 1.0, 20),
        ((3, 0.9, 2, 0.5), 1.0, 20 + 10 * 1 / 1.5),
        ((3, 0.9, INF, NAN), 1.0, INF),
        ((3, 0.9, NAN, NAN), 1.0, INF),
        ((0, -1, -2, -3, -4), -2, 20),
        ((1, 0, 0, 0), 0, 10),
        ((1, float(np.float32(0.1)), 0.1, 0.1), 0.1, 10),  # float32's is above
    ],
)
def test_steps_to_a_loss_that_is_kept(losses, target, step):
    runs, traces = trace(*losses, metric="train_loss")
    assert targets.steps_to_target(runs, traces, "train_loss", target).to_dict() == {
        "A": pytest.approx(step)
    }


@given(st.lists(st.sampled_from([0.1, 0.93, 0.97, 0.99, NAN]), max_size=9))
def test_steps_are_those_of_a_walk_along_the_line(accuracies):
    runs, traces = trace(*accuracies)
    expected = reference.step_kept(accuracies, 10, 0.95, hold=max(len(accuracies) - 1, 0))
    found = targets.steps_to_target(runs, traces, "validation_accuracy", 0.95)["A"]
    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("every", [2, 3, 5])
def test_how_often_is_recorded_decides_neither_time_nor_order(every):
    """Losses that fall exponentially, at five speeds, with a little noise."""
    source = np.random.default_rng(0)
    steps = np.arange(31)
    losses = 2.3 * np.exp(-steps / np.array([[3.0], [4], [5], [6], [7]])) + 0.1
    losses *= 1 + 0.02 * source.normal(size=losses.shape)
    runs = pd.DataFrame({"run_id": [*"ABCDE"]})
    rows = [(run, 10 * k, losses[place, k]) for place, run in enumerate("ABCDE") for k in steps]
    traces = pd.DataFrame(rows, columns=["run_id", "step", "train_loss"])
    fine = targets.steps_to_target(runs, traces, "train_loss", 0.5)
    coarse = targets.steps_to_target(runs, traces[traces["step"] % (10 * every) == 0], "train_loss", 0.5)
    assert list(fine.sort_values().index) == list(coarse.sort_values().index) == [*"ABCDE"]
    assert coarse.to_numpy() == pytest.approx(fine.to_numpy(), abs=10 * every / 2)


def test_every_run_asked_about_has_its_steps_and_no_other():
    runs = table(("A", 0.1, 0, "ok", 1.0), ("A", 0.1, 1, "failed", NAN), ("A", 0.1, 2, "ok", 1.0))
    traces = traces_of(runs).sample(frac=1, random_state=0)
    found = targets.steps_to_target(runs[:2], traces, "validation_accuracy", 0.95)
    assert found.to_dict() == {"A 0.1 0": pytest.approx(15), "A 0.1 1": INF}


@pytest.mark.parametrize(
    ("steps", "median"),
    [
        ([10, 20, 30], 20),
        ([10, 20, 30, 40], 25),  # half are there from 20 to 30: midway
        ([10, 20, INF, INF], 20),
        ([10, INF, INF], INF),
        ([10, 10, 10, 90], 10),
        ([5], 5),
        ([0, 0, 10], 0),
    ],
)
def test_median_time_by_hand(steps, median):
    assert targets.median_time(steps)[0] == median


def test_a_median_time_reached_by_exactly_half_of_the_runs_is_midway_to_the_end():
    assert targets.median_time([10, 20, INF, INF], end=100)[0] == 60
    assert targets.median_time([10, 20, 30, INF], end=100)[0] == 25


def test_expected_running_time_is_what_a_success_costs():
    assert targets.expected_running_time([10, 20, INF, INF], end=100) == (10 + 20 + 100 + 100) / 2
    assert targets.expected_running_time([10, 20], end=100) == 15
    assert targets.expected_running_time([INF], end=100) == INF


def test_median_time_of_none_and_of_those_that_never_came():
    assert np.isnan(targets.median_time([])).all()
    median, low, _ = targets.median_time([INF] * 5)
    assert median == INF
    assert not low < INF
    assert np.isnan(targets.median_time([5])[1:]).all()


def test_interval_of_the_median_time_by_hand():
    """Of nine different times, S = 1 − k/9 and Greenwood's sum is 1/(9 − k) − 1/9.

    S to the power of e^(1.96 √sum / −log S) is 0.43 at k = 1, so the lower end is a half there already.
    With the minus sign it is 0.51 at k = 7 and 0.39 at k = 8.
    """
    assert targets.median_time(np.arange(1.0, 10)) == (5, 1, 8)
    assert targets.median_time([*range(1, 8), INF, INF]) == (5, 1, INF)


TIMES = st.lists(st.sampled_from([0.0, 10.0, 20.0, 30.0, 50.0, INF]), min_size=2, max_size=15)


@given(TIMES)
def test_median_time_is_the_product_limit(steps):
    found, expected = targets.median_time(steps), reference.product_limit(steps)
    if min(steps) == INF:
        assert found[0] == INF
    else:
        assert found == expected
        assert found[1] <= found[0] <= found[2]
    later = [step + 10 for step in steps]
    assert targets.median_time(later)[0] == found[0] + 10


def test_loss_targets_go_from_the_start_to_the_best():
    found = targets.loss_targets(2.0, [0.02, 0.1, INF, NAN])
    assert len(found) > 20
    assert (np.diff(found) < 0).all()
    assert 0.02 < found[-1] < found[0] < 2
    assert np.ptp(np.diff(np.log(found))) < 0.1  # evenly, but for the rounding
    for loss in found:
        assert float(f"{loss:.2g}") == loss


@pytest.mark.parametrize(
    ("start", "reached"), [(1.0, []), (1.0, [INF, NAN]), (NAN, [0.1]), (1.0, [1.0, 2.0]), (INF, [1.0])]
)
def test_no_loss_targets_where_nothing_fell(start, reached):
    assert len(targets.loss_targets(start, reached)) == 0


@pytest.mark.parametrize(
    ("start", "best"),
    [(1.0, 0.0), (1.0, -5.0), (1.04, 1.01), (100.4, 100.0), (-3.01, -3.04), (2e-9, 1e-9)],
)
def test_loss_targets_lie_between_the_start_and_the_best(start, best):
    found = targets.loss_targets(start, [best])
    assert len(found) > 15  # rounding makes few of them the same
    assert (found < start).all()
    assert (found >= best).all()
    assert (np.diff(found) < 0).all()


def test_accuracy_targets():
    assert targets.accuracy_targets(0.1, 0.3).tolist() == [0.2, 0.25, 0.3]
    found = targets.accuracy_targets(0.8, 1.0).tolist()
    assert found == [0.85, *(round(0.9 + k / 100, 2) for k in range(10))]
    assert len(targets.accuracy_targets(NAN, 0.9)) == len(targets.accuracy_targets(0.5, 0.4)) == 0


def test_metrics_to_time():
    runs = table(("A", 0.1, 100, "ok", 1.0))
    traces, rests_on = (
        traces_of(runs),
        targets.SelectionCriteria("validation", "test", "tuning", "reporting"),
    )
    assert targets.metrics_to_time(rests_on, traces) == ["validation_loss", "validation_accuracy"]
    blank = traces.assign(validation_accuracy=NAN)
    assert targets.metrics_to_time(rests_on, blank) == ["validation_loss"]
    assert targets.metrics_to_time(rests_on, traces[:0]) == []


def test_targets_of_an_experiment():
    runs = table(("A", 0.1, 100, "ok", 1.0), ("B", 0.1, 100, "ok", 2.0), ("C", 0.1, 100, "failed", NAN))
    losses = targets.targets_of(runs, traces_of(runs), "validation_loss")
    assert 1 < losses[-1] < losses[0] < 5  # B's, one epoch in
    accuracies = targets.targets_of(runs, traces_of(runs), "validation_accuracy")
    assert (accuracies[0], accuracies[-1]) == (0.2, 0.98)
    assert len(targets.targets_of(runs, traces_of(runs)[:0], "validation_loss")) == 0


def test_loss_targets_start_after_the_first_record_if_that_is_not_the_last():
    runs = table(*((name, 0.1, 100, "ok", 1.0) for name in "ABC"))
    two = targets.targets_of(runs, traces_of(runs, (0.1, 0.2)), "train_loss")  # 2, 1
    assert 1 <= two[-1] < 1.1 < 1.9 < two[0] < 2
    three = targets.targets_of(runs[:1], traces_of(runs, (0.1, 0.2, 0.3)), "train_loss")  # 3, 2, 1
    assert three.tolist() == two.tolist()


def test_times_to_targets():
    runs = table(("A", 0.1, 100, "ok", 1.0), ("B", 0.1, 100, "failed", NAN))
    found = targets.times_to_targets(runs, traces_of(runs), "validation_accuracy", [0.5, 0.97])
    assert found[["target", "optimizer", "steps"]].to_numpy().tolist() == [
        [0.5, "A", pytest.approx(10 * 40 / 84)], [0.5, "B", INF],
        [0.97, "A", pytest.approx(30)], [0.97, "B", INF],
    ]  # fmt: skip
    assert set(found["metric"]) == {"validation_accuracy"}
    none = targets.times_to_targets(runs, traces_of(runs), "validation_accuracy", [])
    assert none.empty
    assert set(none) == set(found)


def times(**columns):
    """Return times of optimizers, one number per seed, to one target."""
    return pd.DataFrame(
        [{"metric": "loss", "target": 0.5, "optimizer": name, "seed": seed, "steps": float(steps)}
         for name, column in columns.items() for seed, steps in enumerate(column)]
    )  # fmt: skip


def test_summary_of_times():
    found = targets.summarize_times(
        times(A=[10, 20, 30], B=[INF, 20, 20], C=[INF, INF, 5], D=[INF, INF, INF]), steps_per_epoch=5
    )
    assert found["optimizer"].tolist() == [*"ABCD"]
    assert found["rank"].tolist() == [1, 2, 3, 4]  # A and B by how many came, C and D too
    assert found["seeds"].tolist() == [3] * 4
    assert found["reached"].tolist() == [3, 2, 1, 0]
    assert found["share_reached"].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert found["steps_median"].tolist() == [20, 20, INF, INF]
    assert found["epochs_median"].tolist() == [4, 4, INF, INF]
    assert targets.summarize_times(times(A=[3], B=[3]), 1)["rank"].tolist() == [1, 1]
    nearly = np.nextafter(3, 4)  # interpolation rounds
    assert targets.summarize_times(times(A=[nearly], B=[3]), 1)["rank"].tolist() == [1, 1]
    assert targets.summarize_times(times(B=[3], A=[2]), 1)["optimizer"].tolist() == ["B", "A"]
    harder = pd.concat([times(A=[3]), times(A=[5]).assign(target=0.1)])
    assert targets.summarize_times(harder, 1)["target"].tolist() == [0.5, 0.1]
    assert targets.summarize_times(times(A=[3])[:0], 1).empty


def test_profile_by_hand():
    found = targets.profile(times(A=[10, 10, INF, 0], B=[10, 20, INF, 5], C=[40, INF, INF, 5]))
    shares = found.set_index(["optimizer", "ratio"])["share"]
    assert [shares["A", ratio] for ratio in (1.0, 2.0, 4.0)] == [1, 1, 1]
    assert [shares["B", ratio] for ratio in (1.0, 2.0, 4.0)] == [0.5, 1, 1]
    assert [shares["C", ratio] for ratio in (1.0, 2.0, 4.0, 16.0)] == [0, 0, 0.5, 0.5]


def test_profile_of_what_is_solved_in_one_step():
    shares = targets.profile(times(A=[1], B=[2])).set_index(["optimizer", "ratio"])["share"]
    assert [shares["B", ratio] for ratio in (1.0, 2.0)] == [0, 1]


def test_profile_of_nothing_solved():
    assert targets.profile(times(A=[INF], B=[INF])).empty
    assert targets.profile(times(A=[0], B=[10])).empty
    assert targets.profile(times(A=[1])[:0]).empty


@given(
    st.lists(st.tuples(*3 * [st.sampled_from([0, 10, 15, 20, 40, 100, INF])]), min_size=1, max_size=6)
)
@pytest.mark.slow
def test_profile_is_a_loop(steps):
    found = targets.profile(times(**dict(zip("ABC", zip(*steps, strict=True), strict=True))))
    solved = {seed: dict(zip("ABC", each, strict=True)) for seed, each in enumerate(steps)}
    for row in found.to_dict("records"):
        expected = reference.solved_within(solved, row["optimizer"], row["ratio"])
        assert row["share"] == pytest.approx(expected)
    assert (found.groupby("optimizer")["share"].diff().dropna() >= 0).all()


def test_a_seed_that_one_optimizer_has_not_run_yet_is_not_held_against_it():
    found = targets.profile(times(A=[10, 10], B=[10]))
    assert found[found["optimizer"] == "B"]["share"].eq(1).all()
