"""A cache of what has been drawn: `plots` draws an experiment again only if something has changed.

A record holds the section of an experiment, or of the whole page, and the files that were written. Its
key is a digest of everything that decides them: tables, settings, code, versions. Records are kept in
the user's cache folder, not among the results, which may come from a stranger: no HTML is taken from
there into the page.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from optimlab import hints
from optimlab.files import EntryError, Folder
from optimlab.user_cache import user_cache

INPUTS = ("experiment.json", "runs.csv", "traces.parquet", "params.parquet", "surface.parquet")
PACKAGE = Path(__file__).parents[1]
MOST_RECORDS = 100
LARGEST_RECORD = 100_000_000  # bytes


@dataclass(frozen=True)
class Record:
    """What was drawn.

    Attributes
    ----------
    files : path of each file written, below the results folder → digest of its content.
    warnings : warnings given meanwhile; they are repeated when nothing is drawn.
    name, title, html, has_charts : of the section of one experiment.
    """

    files: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    name: str = ""
    title: str = ""
    html: str = ""
    has_charts: bool = False

    def holds(self, results: Path) -> bool:
        """Return whether all files exist, unchanged."""
        return all(_digest_of(results, Path(path)) == digest for path, digest in self.files.items())


class Drawn:
    """The records of a results folder, and the keys of its present content.

    Parameters
    ----------
    results : the results folder.
    experiments : the experiments of the page; None for all.

    Attributes
    ----------
    keys : experiment → the key of its results; without those that must be drawn each time.
    page : the key of the page; "" if it must be drawn each time.
    """

    def __init__(self, results: Path, experiments: list[str] | None = None) -> None:
        self.results = results
        self.keys: dict[str, str] = {}
        self.page = ""
        with suppress(OSError, EntryError):
            names = experiments or _entries(results)
            self.keys = {name: key for name in names if (key := _key(results, name))}
            if len(self.keys) == len(names):
                which = "named" if experiments else "all"
                self.page = _digest(which, *(f"{name} {key}" for name, key in self.keys.items()))

    def section(self, name: str, styles: str) -> str:
        """Return the key of an experiment's section in these styles; "" if it is unknown."""
        return _digest(self.keys[name], styles) if name in self.keys else ""

    def found(self, key: str) -> Record | None:
        """Return the record of the page or a section; None if it has to be drawn."""
        folder = user_cache()
        if not key or folder is None:
            return None
        try:
            content = Folder(folder).read(f"{key}.json", LARGEST_RECORD)
            record = Record(**json.loads(content))
            return record if record.holds(self.results) else None
        except (OSError, EntryError, ValueError, TypeError, AttributeError):
            return None


def keep(key: str, record: Record) -> None:
    """Write the record of the page or a section; if that fails, it is drawn again next time."""
    path = user_cache()
    if not key or path is None:
        return
    folder = Folder(path)
    with suppress(OSError, EntryError):
        folder.create()
        folder.write(f"{key}.json", json.dumps(asdict(record)).encode())
        oldest_first = sorted(path.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in oldest_first[:-MOST_RECORDS]:
            folder.delete(file.name)


def _entries(results: Path) -> list[str]:
    """Return the names of the folders that may hold results."""
    folder = Folder(results)
    return [name for name in folder.names() if not name.startswith(".") and (results / name).is_dir()]


def _key(results: Path, name: str) -> str:
    """Return a digest of everything that decides what is drawn for a folder; "" if it is unknown."""
    if (results / name).is_symlink():  # the page leaves it out
        return _digest("link", *(each for each in INPUTS if (results / name / each).exists()))
    folder = Folder(results).folder(name)
    contents = {each: folder.read(each) for each in INPUTS if folder.exists(each)}
    parts = folder.folder("parts").names() if folder.exists("parts") else []
    try:
        if json.loads(contents.get("experiment.json", b"{}")).get("report"):
            return ""  # its blocks are the user's own, and may read any file
    except (ValueError, AttributeError):
        return ""
    digests = [f"{each} {sha256(content).hexdigest()}" for each, content in contents.items()]
    commands = hints.command("sweep", name, results), hints.command("plots", results=results)
    return _digest(name, *digests, *parts, *commands, _code())


@cache
def _code() -> str:
    """Return a digest of optimlab's sources and of the names and versions of installed packages."""
    files = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in (".py", ".j2", ".css", ".js")]
    sources = [f"{path} {sha256(path.read_bytes()).hexdigest()}" for path in files]
    installed = {info.name for path in sys.path for info in Path(path).glob("*.dist-info")}
    return _digest(sys.version, *sources, *sorted(installed))


def _digest_of(results: Path, path: Path) -> str:
    """Return the digest of a file below the results folder; "" if there is none."""
    folder = Folder(results)
    for name in path.parts[:-1]:
        folder = folder.folder(name)
    try:
        return sha256(folder.read(path.name)).hexdigest()
    except (OSError, EntryError):
        return ""


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
