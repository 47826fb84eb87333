"""Bundles: one zip with everything that belongs to an experiment, to submit or publish."""

from __future__ import annotations

import io
import os
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimlab import hints
from optimlab.data.files import is_data_file
from optimlab.errors import UserError
from optimlab.experiment.registry import plugin_code
from optimlab.files import Folder, read_regular
from optimlab.notebook import FOLDER
from optimlab.storage.drawn import INPUTS
from optimlab.storage.environment import NOT_PACKAGES
from optimlab.storage.results import Tables

PROSE = ("title", "description")
LARGEST_FILE = 100_000_000  # bytes, of data beside the experiment
WHEN = (1980, 1, 1, 0, 0, 0)  # of the files in the zip, so that its bytes are reproducible
README = """{title}

- report.html: the page; open it in a browser, it works offline
- results/: tables and figures
- experiments/{name}.toml: the experiment, with the code and data that it names beside it
- requirements.txt: the versions that computed it

To run it again, where optimlab {version} is installed:

    pip install -r requirements.txt
    {sweep}
    optimlab plots
"""


def bundle(tables: Tables, named: Mapping[str, bytes], page: bytes, drawn: Mapping[str, bytes]) -> bytes:
    """Return the zip of an experiment's results.

    Parameters
    ----------
    tables : its results.
    named : from `code_and_data`.
    page, drawn : from `page_alone`.
    """
    name, about = tables.folder.name, tables.experiment
    files = {"report.html": page}
    folder = Folder(tables.folder.parent).folder(name)
    for each in INPUTS:
        if folder.exists(each):
            files[f"results/{name}/{each}"] = folder.read(each)
    files |= {f"results/{name}/{path}": content for path, content in drawn.items()}
    files[f"experiments/{name}.toml"] = str(about.get("toml") or "").encode()
    files |= {f"experiments/{path}": content for path, content in named.items()}
    where = about.get("environment") or {}
    files["requirements.txt"] = requirements(where).encode()
    title, version = str(about.get("title") or name), where.get("optimlab") or ""
    sweep = hints.optimlab("sweep", f"experiments/{name}.toml")
    files["README.txt"] = README.format(title=title, name=name, version=version, sweep=sweep).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            info = zipfile.ZipInfo(f"{name}/{path}", WHEN)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def requirements(environment: Mapping[str, Any]) -> str:
    """Return the packages of experiment.json's `environment` in the form that pip installs."""
    packages = {key: text for key, text in environment.items() if key not in (*NOT_PACKAGES, "optimlab")}
    # numba's entry also names the processor: "0.68.1, compiled for znver4".
    versions = {name: str(text).partition(",")[0] for name, text in packages.items()}
    return "".join(f"{name}=={text}\n" for name, text in versions.items() if text != "unknown")


def code_and_data(tables: Tables) -> dict[str, bytes]:
    """Return the code and data that an experiment names, from beside its file: path → content.

    Raises
    ------
    UserError
        If they no longer exist, or are outside the folder of the experiment file.
    """
    about = tables.experiment
    tables_of_file = tomllib.loads(str(about.get("toml") or ""))
    texts = set(_texts([value for key, value in tables_of_file.items() if key not in PROSE]))
    named = sorted(text for text in texts if ".py:" in text or is_data_file(text))
    if not named:
        return {}
    file = Path(os.path.normpath(tables.folder.resolve() / str(about.get("file") or "")))
    results = tables.folder.resolve().parent
    is_there = file.is_file() or (file.parent / FOLDER).is_dir()  # an experiment of Python has no file
    if not is_there or file.is_relative_to(results):
        raise UserError(
            f"{tables.folder}: its experiment file, with {named[0]} beside it, no longer exists"
        )
    files: dict[str, bytes] = {}
    for text in named:
        try:
            found = _files_of(text, file.parent)
        except (ImportError, SyntaxError) as error:
            raise UserError(f"{file.parent / text} cannot be followed: {error}") from error
        for path in found:
            if path.startswith("../"):
                raise UserError(
                    f"{file} needs {path}, which a bundle cannot contain: move it into the file's folder"
                )
        files |= found
    return files


def _files_of(text: str, folder: Path) -> dict[str, bytes]:
    """Return the files of data, or of code and its imports: path relative to a folder → content."""
    if ".py:" not in text:
        return {_relative(folder / text, folder): read_regular(folder / text, LARGEST_FILE)}
    code = plugin_code(text, folder)
    return {
        _relative(module.file, folder): code.sources[name]
        for name, module in code.modules.items()
        if module.file and (module.is_beside or not name)  # others are installed
    }


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
