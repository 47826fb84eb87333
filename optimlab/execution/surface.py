"""The loss around the paths of a network: computed by the sweep, which has the problem, for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from optimlab.experiment.spec import Experiment
from optimlab.pool import Clock, Pool, Tell
from optimlab.problems import Landscape
from optimlab.statistics.plane import (
    grid_around,
    losses_on_plane,
    paths_on_plane,
    paths_to_draw,
    training_losses,
)
from optimlab.statistics.problems import with_finals_of
from optimlab.storage.manifest import Manifest
from optimlab.storage.store import Store
from optimlab.storage.surface import as_surface, surface_of
from optimlab.storage.tables import read_records, read_runs

MOST_SECONDS = 600.0  # for a user's problem
SAME = 1e-3  # how far, relatively, a loss may be from the recorded one: float32 has seven digits


def keep_surface(experiment: Experiment, store: Store, manifest: Manifest) -> None:
    """Compute the loss around the paths of an experiment that records parameters, unless it is stored.

    The table has no rows if there is no such loss.
    """
    if len(experiment.problems) > 1 or not manifest.runs_finished:
        return
    contents = store.tables()
    if surface_of(store.surface(), contents) is not None:
        return
    runs = read_runs(contents["runs.csv"], manifest.numbers())
    traces, params = (read_records(contents[f"{name}.parquet"]) for name in ("traces", "params"))
    runs = with_finals_of(runs, traces, manifest.known())
    (setting,) = experiment.problems
    task = (setting.problem, runs, traces, params)
    if setting.facts:  # a user's code, which may crash its process or never end
        todo = iter([task])
        with Pool(_in_worker, 1) as pool:
            (event,) = pool.run(lambda: next(todo, None))
        table = event.value if event.kind == "done" else _no_surface()
    else:
        with threadpool_limits(limits=1):
            table = loss_around(*task)
    store.write_surface(as_surface(table, contents))


def _in_worker(task: tuple[Any, ...], tell: Tell) -> pd.DataFrame:
    tell(Clock(MOST_SECONDS))
    try:
        return loss_around(*task)
    except BaseException:  # a user's code may raise anything
        return _no_surface()


def _no_surface() -> pd.DataFrame:
    return pd.DataFrame({name: np.empty(0) for name in ("x", "y", "train_loss")})


def loss_around(
    problem: Any, runs: pd.DataFrame, traces: pd.DataFrame, params: pd.DataFrame
) -> pd.DataFrame:
    """Return the training loss on a grid around the paths, in their plane: x, y and train_loss.

    It has no rows where the parameters alone do not determine the loss, as with running averages, which
    differ between runs: the recorded losses then differ from those computed from the parameters.

    Parameters
    ----------
    problem : the problem.
    runs, traces, params : the tables of its runs.
    """
    empty = _no_surface()
    shown = paths_to_draw(runs, traces, params)
    if isinstance(problem, Landscape) or shown is None:
        return empty
    plane, paths = paths_on_plane(shown)
    is_finite = np.isfinite(np.stack(shown["params"].tolist())).all(axis=1)
    try:
        losses = training_losses(problem, np.stack(shown.loc[is_finite, "params"].tolist()))
    except Exception:  # a user's problem may raise anything without a model
        return empty
    if not np.allclose(losses, paths["train_loss"], rtol=SAME, equal_nan=True):
        return empty
    x, y = (grid_around(paths[axis].to_numpy()) for axis in ("x", "y"))
    heights = losses_on_plane(problem, plane, x, y)
    if not np.isfinite(heights).any() or np.nanmin(heights) < 0:  # it is drawn on a log scale
        return empty
    across, up = np.meshgrid(x, y)
    return pd.DataFrame({"x": across.ravel(), "y": up.ravel(), "train_loss": heights.ravel()})
