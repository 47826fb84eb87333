"""The plane through a loss surface that shows most of some paths, and the true loss on it.

A network has thousands of parameters. The plane keeps the two directions along which the paths vary most
and omits all others: two points that coincide in the plane may be far apart, and the loss shown at a
path is the loss in the plane, not on the path. So the share of the paths in the plane is reported, too.

References
----------
Lorch (2016), Visualizing deep network training trajectories with PCA; Li et al. (2018), Visualizing the
loss landscape of neural nets, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimlab.problems.base import Problem
from optimlab.statistics.ranking import reported_runs

Array = np.ndarray

GRID = 41  # points along each side: 1,681 evaluations of the network, a few seconds
MARGIN = 0.12  # of the paths' extent
ROWS_AT_ONCE = 64  # rows of parameters evaluated as one stack


@dataclass(frozen=True)
class Plane:
    """A plane through a space of P parameters.

    Attributes
    ----------
    centre : a point of it (P,).
    directions : two orthogonal unit vectors (2, P).
    explained : the shares of the points' variance along each of them (2,).
    """

    centre: Array
    directions: Array
    explained: Array

    def project(self, params: Array) -> Array:
        """Return the coordinates (N, 2) of the plane's points nearest to `params` (N, P)."""
        return (params - self.centre) @ self.directions.T

    def points(self, coordinates: Array) -> Array:
        """Return the parameters (N, P) at coordinates (N, 2)."""
        return self.centre + coordinates @ self.directions

    def distances(self, params: Array) -> Array:
        """Return the distance (N,) of each point from the plane."""
        return np.linalg.norm(params - self.points(self.project(params)), axis=1)


def principal_plane(params: Array) -> Plane:
    """Return the plane of the first two principal components of points (N, P) about their mean.

    The sign of each direction is such that the first point, the start, has no positive coordinate.
    """
    points = np.asarray(params, dtype=np.float64)
    centre = points.mean(axis=0)
    _, sizes, rows = np.linalg.svd(points - centre, full_matrices=False)
    directions = rows[:2] * np.where((points[0] - centre) @ rows[:2].T > 0, -1, 1)[:, None]
    return Plane(centre, directions, sizes[:2] ** 2 / (sizes**2).sum())


def training_losses(problem: Problem, params: Array) -> Array:
    """Return the true training loss (N,) at parameters (N, P).

    Raises
    ------
    ValueError
        For a network evaluated with running averages: they differ from run to run, so the loss
        is not a function of the parameters alone.
    """
    blocks = np.array_split(params.astype(problem.dtype), -(-len(params) // ROWS_AT_ONCE))
    return np.concatenate([problem.evaluate(block, None)["train_loss"] for block in blocks])


def paths_to_draw(runs: pd.DataFrame, traces: pd.DataFrame, params: pd.DataFrame) -> pd.DataFrame | None:
    """Return the parameters of one seed's runs at the chosen candidates, with their ``train_loss``.

    None if there are too few points to span a plane.

    Parameters
    ----------
    runs, traces, params : the tables of an experiment for one problem.
    """
    reported = reported_runs(runs)
    chosen = reported[reported["run_id"].isin(params["run_id"])]
    if chosen.empty:
        return None
    run_ids = chosen.loc[chosen["seed"] == chosen["seed"].min(), "run_id"]
    shown = params[params["run_id"].isin(run_ids)]
    rows = np.stack(shown["params"].tolist())
    if len(np.unique(rows[np.isfinite(rows).all(axis=1)], axis=0)) < 3:
        return None
    losses = traces[["run_id", "step", "train_loss"]]
    return shown.merge(losses, on=["run_id", "step"], how="left")


def grid_around(values: Array) -> Array:
    """Return `GRID` equidistant coordinates, from a margin below the values to one above them."""
    margin = MARGIN * (values.max() - values.min())
    return np.linspace(values.min() - margin, values.max() + margin, GRID)


def losses_on_plane(problem: Problem, plane: Plane, x: Array, y: Array) -> Array:
    """Return the true training loss (M, N) on a grid of the plane: columns at x (N,), rows at y (M,)."""
    grid = np.stack([axis.ravel() for axis in np.meshgrid(x, y)], axis=1)
    return training_losses(problem, plane.points(grid)).reshape(len(y), len(x))


def paths_on_plane(params: pd.DataFrame) -> tuple[Plane, pd.DataFrame]:
    """Return the plane that shows most of some runs, and their paths on it.

    Parameters
    ----------
    params : rows of the table params.parquet: one run per optimizer, all from the same start.

    Returns
    -------
    The plane, and the rows with x, y and the ``distance`` from the plane instead of the parameters. Rows
    of a run after it diverged are left out of both.
    """
    rows = np.stack(params["params"].tolist()).astype(np.float64)
    is_finite = np.isfinite(rows).all(axis=1)
    rows = rows[is_finite]
    table = params[is_finite].drop(columns="params").reset_index(drop=True)
    plane = principal_plane(rows)
    at = plane.project(rows)
    return plane, table.assign(x=at[:, 0], y=at[:, 1], distance=plane.distances(rows))


def explained_shares(plane: Plane, params: pd.DataFrame) -> dict[str, float]:
    """Return for each optimizer the share of its squared distances from the start in the plane."""
    shares = {}
    for label, group in params.groupby("optimizer", sort=False):
        rows = np.stack(group["params"].tolist()).astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        moved = rows - rows[0]
        inside = moved @ plane.directions.T
        total = (moved**2).sum()
        shares[str(label)] = float((inside**2).sum() / total) if total else np.nan
    return shares
