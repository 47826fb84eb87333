"""Files that an experiment names: data and plug-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard


class File(str):
    """The name of a file as an experiment gives it, together with the experiment's folder.

    Files with the same name are equal: an experiment's location does not change what it computes.
    """

    folder: Path

    def __new__(cls, name: str, folder: Path) -> File:
        file = super().__new__(cls, name)
        file.folder = folder
        return file

    def __getnewargs__(self) -> tuple[str, Path]:  # type: ignore[override]
        return str(self), self.folder

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.folder / self


def is_own(name: Any) -> TypeGuard[str]:
    """Return whether a name in an experiment file refers to a plug-in."""
    return isinstance(name, str) and ".py:" in name
