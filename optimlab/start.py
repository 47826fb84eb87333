"""`optimlab init`: a new project with a commented experiment, a plug-in optimizer and a README."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from optimlab.errors import UserError
from optimlab.experiment.names import NAME_RULE, is_legal_name
from optimlab.experiment.spec import FOLDER
from optimlab.files import Folder


def start_project(name: str) -> list[Path]:
    """Write the files of a new project into the current folder, and return them.

    Parameters
    ----------
    name : the name of its experiment, or of its file.

    Raises
    ------
    UserError
        If the name is illegal, or a file exists already: nothing is overwritten.
    """
    name = name.removesuffix(".toml")
    if not is_legal_name(name):
        raise UserError(f"an experiment's name is {NAME_RULE}")
    starter = resources.files("optimlab").joinpath("starter")
    targets = {
        "experiment.toml": FOLDER / f"{name}.toml",
        "my_optimizer.py.txt": FOLDER / "my_optimizer.py",
        "README.md": Path("README.md"),
    }
    existing = [str(path) for path in targets.values() if path.exists() or path.is_symlink()]
    if existing:
        raise UserError(f"{', '.join(existing)}: already exists, and is not overwritten")
    Folder(FOLDER).create()
    for source, path in targets.items():
        text = starter.joinpath(source).read_text(encoding="utf-8").replace("NAME", name)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(targets.values())
