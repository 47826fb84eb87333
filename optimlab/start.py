"""The start of a project: a commented experiment, an optimizer of one's own, and how to run them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from optimlab.errors import UserError
from optimlab.experiment.document import LEGAL_NAME, NAME_RULE
from optimlab.experiment.spec import FOLDER


def start_project(name: str) -> list[Path]:
    """Write the files of a new project into the current folder, and return them.

    Parameters
    ----------
    name : of its experiment.

    Raises
    ------
    UserError
        When the name cannot be one, or a file is there already: nothing is overwritten.
    """
    if not LEGAL_NAME.fullmatch(name):
        raise UserError(f"an experiment's name is {NAME_RULE}")
    starter = resources.files("optimlab").joinpath("starter")
    places = {
        "experiment.toml": FOLDER / f"{name}.toml",
        "my_optimizer.py.txt": FOLDER / "my_optimizer.py",
        "README.md": Path("README.md"),
    }
    there = [str(path) for path in places.values() if path.exists() or path.is_symlink()]
    if there:
        raise UserError(f"{', '.join(there)} is there already, and is not overwritten")
    FOLDER.mkdir(exist_ok=True)
    for source, path in places.items():
        text = starter.joinpath(source).read_text(encoding="utf-8").replace("NAME", name)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(places.values())
