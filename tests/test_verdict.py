"""The verdict: each kind of sentence, from a small case."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from reference.statistics import contest, table, traces_of
from sweeping import mostly_slow

from optimlab import statistics
from optimlab.formatting import join_words
from optimlab.report import section
from optimlab.report.blocks import caveats
from optimlab.report.problem_result import ProblemResult
from optimlab.statistics import sentences

INF, NAN = np.inf, np.nan
NONE_SOONER = "No optimizer is shown to reach 95 % validation accuracy sooner than another."


def verdict(runs, defaults=None, **accuracies):
    """Return the sentences; each optimizer's accuracies are a function of the seed's number."""

    def of_run(run):
        return accuracies[run["optimizer"]](run["seed"] - 100)

    traces = traces_of(runs, of_run) if accuracies else traces_of(runs)
    if not accuracies:
        traces["validation_accuracy"] = NAN  # so that nothing is said of the speed
    return statistics.verdict(
        statistics.compare_optimizers(runs, traces, defaults, splits=200, draws=300)
    )


def shifted(seeds, names):
    """Return runs that end alike, but for the order of the seeds."""
    return contest(
        seeds, **{name: (lambda s, k=place: 9.0 + 5 * (s + k) % 12) for place, name in enumerate(names)}
    )


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (
            contest(range(12), A=lambda s: 1 + s, B=lambda s: 2 + 1.1 * s, C=lambda s: 4 + 1.2 * s),
            "A is the best here: on 12 fresh seeds its median final validation loss is 6.50, the next "
            "is B (8.05), and every other is worse (adjusted p ≤ 0.0025).",
        ),
        (
            contest(range(12), A=lambda s: 1 + s, B=lambda s: 2 + 1.1 * s),
            "A is the best here: on 12 fresh seeds its median final validation loss is 6.50, "
            "and B (8.05) is worse (adjusted p = 0.0025).",
        ),
        (
            contest(range(12), A=lambda s: 1 + s, B=lambda s: 1.2 + 5 * s % 12, C=lambda s: 9 + 1.2 * s),
            "A ends with the lowest median final validation loss, 6.50, but on 12 fresh seeds B (6.70) "
            "is not distinguishable from it. C (15.6) is worse (adjusted p = 0.0015).",
        ),
        (
            shifted(range(12), "ABC"),
            "A ends with the lowest median final validation loss, 14.5, but on 12 fresh seeds B (14.5) "
            "and C (14.5) are not distinguishable from it.",
        ),
        (
            contest(range(1), A=lambda _: 1.0, B=lambda _: 2.0),
            "A ends with a final validation loss of 1.00, the lowest, but on one seed, which cannot "
            "separate the optimizer from luck.",
        ),
        (
            contest(range(5), A=lambda s: 1 + s, B=lambda s: 9 + s),
            "A ends with the lowest median final validation loss, 3.00, but 5 seeds are too few "
            "to tell 2 optimizers apart; 6 are needed.",
        ),
        (
            contest(range(3), A=lambda s: 1.0 + s),
            "A reaches a median final validation loss of 2.00 (3 fresh seeds); it has no rival here.",
        ),
        (
            table(*(("A", 0.1, seed, "ok", 1.0) for seed in range(3))),
            "A reaches a median final validation loss of 1.00 (3 seeds); it has no rival here.",
        ),
        (
            table(("A", 0.1, 100, "failed", NAN), ("B", 0.1, 100, "diverged", NAN)),
            "No optimizer can be recommended: at no learning rate did the typical run learn anything.",
        ),
        (
            table(("A", 0.1, 100, "ok", 1.0), ("A", 0.1, 101, "failed", NAN)),  # the median is infinite
            "No optimizer can be recommended: at no learning rate did the typical run learn anything.",
        ),
        (
            table(
                *(("A", 0.1, 100 + k, "stuck", 2.5) for k in range(9)),
                *(("B", 0.1, 100 + k, "stuck", 2.6) for k in range(9)),
            ),
            "No optimizer can be recommended: at no learning rate did the typical run learn anything.",
        ),
    ],
)  # fmt: skip
def test_of_the_final_loss(runs, says):
    assert verdict(runs) == [says]


def test_one_reporting_seed_is_compared_on_the_tuning_seeds_too():
    """The verdict spoke of one seed beside claims that rested on all of them."""
    cells = [(name, rate) for name in "AB" for rate in (0.1, 1)]
    runs = table(
        *((name, rate, seed, "ok", (name == "B") + rate + 0.001 * seed)
          for name, rate in cells for seed in (*range(11), 100))
    )  # fmt: skip
    (says,) = verdict(runs)
    assert says.startswith("A is the best here: on 1 fresh seed and 11 tuning ones its median final")
    comparison = statistics.compare_optimizers(runs, traces_of(runs), splits=20, draws=20)
    words = caveats._evidence_caveats(runs, comparison)
    assert "One reporting seed shows no spread" in words[0]


def test_the_fewest_seeds_are_those_of_the_look():
    """With seeds added in rounds, the seeds said to be needed were those of a single look."""
    runs = contest(range(6), A=lambda s: 1 + s, B=lambda s: 9 + s)
    comparison = statistics.compare_optimizers(
        runs, traces_of(runs), level=statistics.level_of_look(2), splits=20, draws=20
    )
    assert "6 seeds are too few to tell 2 optimizers apart; 8 are" in statistics.verdict(comparison)[0]
    assert "at least 8 are needed" in "".join(caveats._evidence_caveats(runs, comparison))


def test_a_tie_of_everything_is_a_tie():
    three = contest(range(12), **dict.fromkeys("ABC", lambda s: 1.0 + s))
    says = "All 3 optimizers tie: on 12 fresh seeds none differs from another in final validation loss."
    assert verdict(three) == [says]
    two = contest(range(12), **dict.fromkeys("AB", lambda s: 1.0 + s))
    says = "Both optimizers tie: on 12 fresh seeds none differs from another in final validation loss."
    assert verdict(two) == [says]


def test_those_that_end_alike_on_every_seed_are_praised_together():
    """The sentence named the first one alone, by the order of the file."""
    equal = dict.fromkeys("BA", lambda s: 9.0 + s)
    loss, on = "final validation loss", "on 12 fresh seeds"
    assert verdict(contest(range(12), **equal, C=lambda s: 22 + 1.2 * s)) == [
        f"B and A are the best here: {on} their median {loss} is 14.5, and C (28.6) is worse "
        "(adjusted p = 0.0015)."
    ]
    says = (
        f"B and A end alike on every seed, with the lowest median {loss}, 14.5, but on 12 fresh seeds "
        "D (14.7) is not distinguishable from them."
    )
    assert verdict(contest(range(12), **equal, D=lambda s: 9.2 + 5 * s % 12)) == [says]
    runs = untuned(**equal, D=lambda s: 9.2 + 5 * s % 12, C=lambda s: 22 + s)
    assert verdict(runs, DEFAULTS | {"D": 0.1})[1].startswith(
        "Untuned, at textbook learning rates, B and A end lowest (14.5); C is worse"
    )


def test_where_a_few_seeds_differ_it_is_no_tie():
    runs = contest(range(30), A=lambda _: 1.0, B=lambda s: 1.0 if s > 1 else 2.0)
    (says,) = verdict(runs)
    assert "no two differ" not in says
    assert "tie" not in says


def test_the_loss_is_named_after_what_it_was_measured_on():
    runs = contest(range(3), A=lambda s: 1.0 + s).assign(final_validation_loss=NAN)
    assert verdict(runs)[0].startswith("A reaches a median final training loss of 2.00")


def test_seeds_that_chose_the_rate_are_not_fresh():
    rates = contest(range(12), A=lambda s: 1 + s, B=lambda s: 20 + s)
    other = rates.assign(learning_rate=1.0, candidate=2, run_id=rates["run_id"] + " too")
    other[["final_train_loss", "final_validation_loss"]] += 50
    (says,) = verdict(pd.concat([rates, other]))
    assert says.startswith("A is the best here: on 12 seeds its median")


def test_a_single_run_is_one_seed():
    (says,) = verdict(contest(range(1), A=lambda _: 1.0))
    assert "1 fresh seeds" not in says
    assert "median" not in says


def test_a_difference_that_does_not_matter_is_practical_equality():
    runs = contest(range(12), A=lambda s: 9.0 + s % 5, B=lambda s: 9.001 + s % 5 + s / 1e6)
    assert verdict(runs) == [
        "A ends with the lowest median final validation loss, 10.5, on 12 fresh seeds. "
        "B (10.5) is practically equal to it."
    ]


@pytest.mark.slow
def test_equality_of_unequal_medians_is_explained_by_what_is_equal():
    """The tuning seeds happen to choose a rate for B that is hardly ever chosen."""
    runs = table(
        *(
            (name, rate, seed if seed < 5 else 95 + seed, "ok", 9.0 + seed / 200 + more)
            for seed in range(40)
            for name, rate, more in (
                ("A", 0.1, 0.0),
                ("A", 0.2, 0.6),
                ("B", 0.1, 0.1 * (seed < 3)),
                ("B", 0.2, 0.6 if seed > 2 else 0.05),
            )
        )
    )
    (says, *_) = verdict(runs)
    assert says.endswith("B (9.71; 9.11 against 9.10 when tuned again) is practically equal to it.")
    halves = contest(
        range(40),
        A=lambda s: s / 1000 + (9.0 if s < 21 else 11.0),
        B=lambda s: s / 1000 + (9.0 if s < 19 else 11.0),
    )
    found = statistics.compare_optimizers(halves, traces_of(halves), equal_within=0.2, splits=9, draws=9)
    says = statistics.verdict(found)[0]
    assert says.endswith(
        "B (11.0; 10.1 against 9.92 in the interquartile mean) is practically equal to it."
    )


def test_infinity_is_no_number_to_be_read():
    runs = contest(range(12), A=lambda s: 1.0 + s, B=lambda _: INF)
    (says,) = verdict(runs)
    assert says.startswith("A is the best here")
    assert "and B (12 of 12 runs diverged) is worse" in says
    assert "inf" not in says
    half = contest(range(30), A=lambda s: 1.0 + s, B=lambda s: INF if s % 2 else 50.0 + s)
    assert "and B (15 of 30 runs diverged) is worse" in verdict(half)[0]  # not most of them


def test_infinite_losses_in_turn_are_no_difference():
    runs = contest(
        range(12),
        A=lambda s: 1.0 + s if s % 2 else INF,
        B=lambda s: INF if s % 2 else 1.0 + s,
        C=lambda _: 9.0,
    )
    comparison = statistics.compare_optimizers(runs, traces_of(runs))
    assert not comparison.pairs["different"].any()


@pytest.mark.slow
def test_the_claim_is_made_for_the_seeds_of_the_pair():
    runs = table(
        *(("A", 0.1, 100 + seed, "ok", 1.0 + seed / 100) for seed in range(12)),
        *(("B", 0.1, 100 + seed, "ok", 3.0 + seed / 100) for seed in range(3)),
    )
    (says,) = verdict(runs)
    assert "not distinguishable" not in says  # on three seeds nothing would be
    assert "3 seeds are too few" in says
    assert "2 seeds are too few" in verdict(runs[:14])[0]
    (says,) = verdict(runs[:13])
    assert "1 seed is too few to tell 2 optimizers apart; 6 are needed." in says


def test_copies_of_a_seed_do_not_count_as_seeds():
    runs = contest(range(18), A=lambda s: 1.0 + s % 3, B=lambda s: 2.0 + s % 3, C=lambda _: 4.0)
    (says,) = verdict(runs)
    assert "3 distinct seeds are too few to tell 3 optimizers apart; 7 are needed." in says


@pytest.mark.slow
def test_a_difference_below_the_digits_shown_is_mentioned():
    runs = contest(
        range(12),
        A=lambda s: 1.0 + s,
        B=lambda s: 1.2 + 5 * s % 12,
        C=lambda s: 1.0 + s + 1e-6,
        D=lambda s: 30.0 + s,
    )
    assert "C (6.50) is practically equal to it. D (35.5) is worse" in verdict(runs)[0]

    def strictly(runs):
        found = statistics.compare_optimizers(runs, traces_of(runs).drop(columns="validation_accuracy"),
                                              equal_within=0, splits=9, draws=9)  # fmt: skip
        return statistics.verdict(found)[0]

    says = strictly(runs)
    assert "B (6.70) is not distinguishable from it. C (6.50) and D (35.5) are worse" in says
    assert says.endswith(", by less than the digits shown).")
    assert "less than" not in strictly(runs[runs["optimizer"] != "C"])
    says = strictly(runs[runs["optimizer"] != "B"])
    assert says.startswith("A is the best here")
    assert says.endswith(", by less than the digits shown).")


@pytest.mark.parametrize(
    ("p_values", "told"),
    [
        ([0.015], "p = 0.015"),
        ([0.0021, 0.0123], "p ≤ 0.013"),
        ([0.0304, 0.01], "p ≤ 0.031"),
        ([0.00099, 0.0001], "p < 0.001"),
        ([0.001], "p = 0.001"),
        ([0.0496], "p = 0.0496"),  # with two digits it would be the level
    ],
)
def test_p_values_as_text(p_values, told):
    assert sentences._at_most(p_values) == told
    assert sentences._at_most(pd.Series(p_values)) == told


def on_test_set(runs, **losses):
    """Return the runs with final test losses: each optimizer's are a function of the seed's number."""
    ends = [losses[run["optimizer"]](run["seed"] - 100) for run in runs.to_dict("records")]
    return runs.assign(final_test_loss=ends)


@pytest.mark.slow
def test_the_verdict_mentions_an_order_reversed_on_the_test_set():
    runs = contest(range(20), A=lambda s: 1 + s, B=lambda s: 3 + 1.1 * s, C=lambda s: 30 + s)
    first, second = verdict(
        on_test_set(runs, A=lambda s: 9 + s, B=lambda s: 5 + s / 2, C=lambda s: 40 + s)
    )
    assert first.startswith("A is the best here")
    assert second.startswith("On the test set the order differs: B ends lower than A (adjusted p")
    _, both = verdict(on_test_set(runs, A=lambda s: 9 + s, B=lambda s: 5 + s / 2, C=lambda s: 1 + s / 9))
    assert "C ends lower than A" in both
    assert "C ends lower than B (adjusted p ≤" in both or "C ends lower than B (adjusted p <" in both


def test_another_first_on_the_test_set_is_mentioned_as_not_shown():
    runs = contest(range(20), A=lambda s: 1 + s, B=lambda s: 3 + 1.1 * s)
    almost = on_test_set(runs, A=lambda s: 9 + s, B=lambda s: 8.9 + 7 * s % 20)
    assert verdict(almost)[1:] == [
        "On the test set, on which no choice depends, B has the lowest median loss (18.4), but no other "
        "order than the one above is shown."
    ]


@pytest.mark.slow
def test_a_test_set_that_agrees_is_not_mentioned():
    runs = contest(range(20), A=lambda s: 1 + s, B=lambda s: 3 + 1.1 * s)
    assert len(verdict(on_test_set(runs, A=lambda s: 9 + s, B=lambda s: 12 + s))) == 1
    assert len(verdict(on_test_set(runs, A=lambda s: 9 + s, B=lambda s: 9 + s))) == 1  # a tie
    assert len(verdict(on_test_set(runs, A=lambda _: NAN, B=lambda _: NAN))) == 1


def lossy(lost, low=1):
    """Return runs of A, which loses every so many of 20, and of B, which ends at 60 and more."""
    return contest(range(20), A=lambda s: INF if s % lost == 0 else low + s, B=lambda s: 60 + s)


def test_no_optimizer_is_praised_without_the_runs_that_it_lost():
    (says,) = verdict(lossy(4))
    assert says.startswith("A (5 of 20 runs diverged) is the best here")
    runs = lossy(10)
    runs.loc[runs["run_id"] == "A 0.1 105", "status"] = "stuck"
    (says,) = verdict(runs)
    assert says.startswith("A (1 of 20 runs was stuck and 2 diverged) is the best here")
    runs.loc[runs["run_id"] == "A 0.1 106", "status"] = "stuck"
    (alone,) = verdict(runs[runs["optimizer"] == "A"])
    assert alone.startswith("A (2 of 20 runs were stuck and 2 diverged) reaches")


@pytest.mark.slow
def test_nor_where_several_problems_are_summed_up():
    """Those that tie on a problem are all named."""
    problems = {
        "steep": lossy(4),
        "flat": contest(range(20), A=lambda s: 1 + s, B=lambda s: 60 + s),
        "even": contest(range(20), **dict.fromkeys("BA", lambda s: 1 + s), C=lambda s: 60 + s),
    }
    by_problem = {
        name: ProblemResult(runs, statistics.compare_optimizers(runs, traces_of(runs), draws=9), [], "")
        for name, runs in problems.items()
    }
    assert section._overview(by_problem) == [
        "Lowest median loss: A on steep (5 of 20 runs diverged), flat and even; B on even. "
        "All other optimizers are shown to be worse on every problem."
    ]
    assert section._overview({"steep": by_problem["steep"], "flat": by_problem["flat"]}) == [
        "Lowest median loss: A on steep (5 of 20 runs diverged) and flat. "
        "B is shown to be worse on every problem."
    ]
    runs = problems["flat"][problems["flat"]["optimizer"] == "A"]
    alone = ProblemResult(runs, statistics.compare_optimizers(runs, traces_of(runs), draws=9), [], "")
    assert section._overview({"flat": alone, "even": alone}) == [
        "Lowest median loss: A on every problem."
    ]


@pytest.mark.slow
def test_nor_for_its_test_loss_nor_for_its_speed_nor_untuned():
    praised = "A (2 of 20 runs diverged)"
    turned = on_test_set(
        lossy(10, low=200), A=lambda s: INF if s % 10 == 0 else 1 + s, B=lambda s: 60 + s
    )
    assert f"the order differs: {praised} ends lower than B" in verdict(turned)[1]
    fast = verdict(lossy(10), A=lambda _: climbs(2), B=lambda _: climbs(6))[1]
    assert fast.startswith(f"{praised} reaches 95 %")
    runs = untuned(A=lambda s: INF if s == 3 else 1.0 + s, B=lambda s: 30.0 + s)
    says = verdict(runs, DEFAULTS)[1]
    assert says.startswith("Untuned, at textbook learning rates, A (1 of 12 runs diverged) ends lowest")


def climbs(epoch):
    """Return accuracies that reach 95 % at that epoch, of eight."""
    return tuple(0.96 if at >= epoch else 0.5 for at in range(9))


def test_of_the_speed():
    runs = shifted(range(12), "ABC")
    says = verdict(
        runs,
        A=lambda s: climbs(5 + s % 2),
        B=lambda s: climbs(2 + s % 2),
        C=lambda s: climbs(3 + s % 3),
    )
    assert len(says) == 2
    assert says[1].startswith(
        "B reaches 95 % validation accuracy, and stays there, sooner than C and A: on 92 % and 100 % of "
        "the seeds, counting ties as half (adjusted p"
    )


@pytest.mark.slow
def test_of_a_speed_that_is_the_same():
    runs = shifted(range(12), "AB")
    assert verdict(runs, A=lambda _: climbs(4), B=lambda _: climbs(4))[1:] == [NONE_SOONER]
    assert verdict(runs, A=lambda _: climbs(9), B=lambda _: climbs(9))[1:] == []  # none gets there


def test_of_the_speed_where_one_never_gets_there():
    runs = shifted(range(12), "AB")
    (says,) = verdict(runs, A=lambda _: climbs(4), B=lambda _: climbs(9))[1:]
    assert says.startswith(
        "A reaches 95 % validation accuracy, and stays there, sooner than B: on every seed "
        "(adjusted p < "
    )


def test_those_that_are_equally_fast_are_named_together():
    runs = contest(range(12), A=lambda s: 1 + s, B=lambda s: 1 + s, C=lambda s: 3 + s, D=lambda s: 5 + s)
    fast, slow = (lambda _: climbs(3)), (lambda _: climbs(7))
    says = verdict(runs, A=fast, B=fast, C=slow, D=slow)[1]
    assert says.startswith(
        "A and B reach 95 % validation accuracy, and stay there, sooner than C and D:"
    )
    (says,) = verdict(runs, A=fast, B=lambda s: climbs(3 + s % 2), C=slow, D=slow)[1:]
    assert says.startswith("A reaches 95 % validation accuracy")


def test_no_share_is_rounded_to_all_of_the_seeds():
    runs = contest(range(210), A=lambda s: 1 + s, B=lambda s: 3 + s)
    (says,) = verdict(runs, A=lambda _: climbs(4), B=lambda s: climbs(2 if s == 7 else 6))[1:]
    assert ": on over 99 % of the seeds, counting ties as half" in says


@pytest.mark.parametrize("seeds", [1, 5])
def test_speed_and_defaults_are_not_mentioned_with_too_few_seeds(seeds):
    runs = contest(range(seeds), A=lambda s: 1.0 + s, B=lambda s: 2.0 + s)
    says = verdict(runs, {"A": 0.1, "B": 0.1}, A=lambda _: climbs(4), B=lambda _: climbs(6))
    assert len(says) == 1


def untuned(**losses):
    """Return runs at rate 1, all alike but for a shuffle, and at the default, 0.1."""
    tuned = contest(range(12), **{name: lambda s: 1.0 + s % 5 for name in losses})
    tuned = tuned.assign(learning_rate=1.0, candidate=2, run_id=tuned["run_id"] + " tuned")
    own = contest(range(12), **losses)
    tuning = table(*((name, rate, 0, "ok", 1 / rate) for name in losses for rate in (0.1, 1.0)))
    return pd.concat([tuning, tuned, own], ignore_index=True)


DEFAULTS = dict.fromkeys("ABC", 0.1)


@pytest.mark.parametrize(
    ("losses", "defaults", "says"),
    mostly_slow(
        [
            (
                {"A": lambda s: 9 + s, "B": lambda s: 5 + 1.1 * s, "C": lambda s: 12 + s},
                DEFAULTS,
                "Untuned, at textbook learning rates, B ends lowest (11.1), and every other is worse "
                "(adjusted p ≤ 0.0033)",
            ),
            (
                {"A": lambda s: 9 + s, "B": lambda s: 9.2 + 5 * s % 12, "C": lambda s: 22 + s},
                DEFAULTS,
                "Untuned, at textbook learning rates, A ends lowest (14.5); C is worse",
            ),
            (
                {"A": lambda s: 9 + s, "B": lambda s: 5 + 1.1 * s},
                DEFAULTS,
                "Untuned, at textbook learning rates, B ends lowest (11.1); A is worse (adjusted p",
            ),
            (
                {"A": lambda s: 9 + s, "B": lambda s: 9.2 + 5 * s % 12},
                DEFAULTS,
                "Untuned, at textbook learning rates, A ends lowest (14.5), but no other is shown to be",
            ),
            (
                {"A": lambda s: 9 + s, "B": lambda s: 5 + 1.1 * s, "C": lambda s: 1 + s},
                {"A": 0.1, "B": 0.1, "C": 0.2},
                "Untuned, at textbook learning rates, B ends lowest of the 2 whose rate is on the grid",
            ),
            ({"A": lambda s: 9 + s, "B": lambda s: 9 + s}, DEFAULTS, None),  # a tie
            ({"A": lambda s: 9 + s, "B": lambda s: 12 + s}, {"A": 0.1}, None),
            (
                {"A": lambda s: 9 + s, "B": lambda s: 12 + s},
                {"A": 0.2, "B": 0.2},
                None,
            ),  # not on the grid
            ({"A": lambda s: 9 + s, "B": lambda s: 12 + s}, {}, None),
        ],
        quick=2,
    ),
)
def test_of_the_defaults(losses, defaults, says):
    found = verdict(untuned(**losses), defaults)[1:]
    if says is None:
        assert found == []
    else:
        assert found[0].startswith(says)


def test_a_default_that_fails_is_not_taken_for_one_not_shown_to_be_worse():
    runs = untuned(A=lambda s: 9 + s, B=lambda s: 9.2 + 5 * s % 12, C=lambda _: INF)
    (says,) = verdict(runs, DEFAULTS)[1:]
    assert says.startswith("Untuned, at textbook learning rates, A ends lowest (14.5)")
    assert "every other" not in says


@pytest.mark.parametrize(
    ("words", "joined"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_joined(words, joined):
    assert join_words(words) == joined


def test_highest_accuracies_that_tie_are_named_together():
    runs = contest(range(12), A=lambda s: 9 + s, B=lambda s: 9.2 + s, C=lambda s: 9.4 + s)
    comparison = statistics.compare_optimizers(runs, traces_of(runs), splits=20, draws=20)

    def texts(runs, accuracies=0.9):
        summary = comparison.summary.assign(final_accuracy_median=accuracies)
        rests_on = statistics.basis(runs)
        changed = dataclasses.replace(comparison, summary=summary, basis=rests_on)
        return "".join(caveats._evidence_caveats(runs, changed))

    for accuracies, says in (((0.8, 0.9, 0.9), "B and C have"), ((0.8, 0.7, 0.9), "C has")):
        assert f"accuracy the order differs: {says} the highest median." in texts(runs, accuracies)
    assert "differs" not in texts(runs)
    lost = runs.assign(status="diverged", final_train_loss=NAN, final_validation_loss=NAN)
    assert "validation loss" not in texts(lost)
    assert "There is no validation loss" in texts(runs.assign(final_validation_loss=NAN))
