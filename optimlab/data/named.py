"""Files that an experiment names: data, and code of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard


class File(str):
    """The name of a file as an experiment gives it, which knows the folder that it is in.

    Files of one name are equal: where an experiment is, is not what it computes.
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
        """Where it is."""
        return self.folder / self


def is_own(name: Any) -> TypeGuard[str]:
    """Return whether a name in an experiment's file is of a user's own file."""
    return isinstance(name, str) and ".py:" in name
