"""`optimlab list`, `show` and `check`: what is available, and what an experiment would run."""

from __future__ import annotations

from optimlab.commands import common
from optimlab.errors import UserError
from optimlab.hints import RESULTS


def list_all(as_json: common.AsJson = False) -> None:
    """Show the experiments, the optimizers with defaults and legal ranges, and the problems."""
    from optimlab.listing import listing, print_listing

    with common.user_errors(as_json=as_json):
        if as_json:
            common.print_json(listing())
        else:
            print_listing(common.console(markup=True))


def show(
    experiment: common.ExperimentName = "digits",
    changes: common.Changes = None,
    as_json: common.AsJson = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Show what an experiment would run, its network, and how many of its runs are finished."""
    from optimlab.listing import print_state, state_of

    with common.user_errors(as_json=as_json):
        state = state_of(common.load_experiment(experiment, changes, results), results)
        if as_json:
            common.print_json(state.about())
        else:
            print_state(common.console(markup=True), state)


def check(
    experiment: common.ExperimentName = "digits",
    changes: common.Changes = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Check an experiment file and the code that it names; exit with 2 if there are mistakes."""
    from optimlab.experiment.changes import load_changed

    console = common.console(quiet=quiet, as_json=as_json)
    with common.user_errors():
        about = {"experiment": experiment, "ok": False, "runs": None, "mistakes": []}
        try:
            checked = load_changed(experiment, changes or [])
        except UserError as error:
            if as_json:
                mistakes = getattr(error, "mistakes", [("", str(error))])
                listed = [{"key": key, "message": message} for key, message in mistakes]
                common.print_json(about | {"mistakes": listed})
            raise
    if as_json:
        common.print_json(about | {"ok": True, "runs": checked.count()})
    console.print(f"{checked.file}: no mistakes; {checked.count():,} runs", soft_wrap=True)
