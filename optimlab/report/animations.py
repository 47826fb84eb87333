"""Animations: selects the paths of an experiment, and their title and labels."""

from __future__ import annotations

from PIL import Image

from optimlab.errors import UserError
from optimlab.experiment.names import normal
from optimlab.formatting import number
from optimlab.report.blocks.landscapes import PathsPart, PlanePart
from optimlab.report.figures.animation import draw_frames
from optimlab.report.figures.static import slug
from optimlab.report.report import Report


def moving_paths(report: Report, problem: str | None) -> tuple[str, list[Image.Image]]:
    """Return a name for files, and the images of the paths on a problem, or on a network's plane.

    Parameters
    ----------
    report : the report on an experiment.
    problem : the label of the problem; None for the first that has paths.

    Raises
    ------
    UserError
        If there are no such paths.
    """
    parts: dict[str, PathsPart | PlanePart] = {part.problem: part for part in report.paths.landscapes}
    if report.paths.plane:
        parts[next(iter(report.by_problem))] = report.paths.plane
    if not parts:
        raise UserError(
            f"{report.tables.folder} holds no paths: only landscapes, and networks with record_params, "
            "have them"
        )
    problem = next(iter(parts)) if problem is None else normal(problem)
    if problem not in parts:
        raise UserError(f"there are no paths on {problem!r}; there are: {', '.join(parts)}")
    part, styles = parts[problem], report.styles
    title = f"{problem}, tuned learning rates, seed {part.seed}"
    name = _file_name(problem, list(parts))
    labels = [label for label in styles if label in part.paths["optimizer"].unique()]
    if isinstance(part, PathsPart):
        names = {label: f"{label}, {number(part.rates[label])}" for label in labels}
        return name, draw_frames(part.surface, part.paths, names, styles, title)
    axes = ("first principal component", "second principal component")
    names = {label: label for label in labels}
    return name, draw_frames(part.surface, part.paths, names, styles, title, axes)


def _file_name(problem: str, problems: list[str]) -> str:
    """Return the name of a problem's animation, numbered where others would have the same.

    Examples
    --------
    >>> [_file_name(problem, ["घाटी", "สุ่ม", "A b"]) for problem in ("สุ่ม", "A b")]
    ['paths-2', 'a-b']
    """
    name = slug(problem, "paths")
    alike = [each for each in problems if slug(each, "paths") == name]
    return f"{name}-{1 + alike.index(problem)}" if len(alike) > 1 else name
