"""Where compiled loops are kept: in the user's cache, in a folder for these sources and this numba."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

ROOMS = [Path(__file__).parent / room for room in ("nn", "optimizers")]  # of all that is compiled
SOURCES = sha256(b"".join(path.read_bytes() for room in ROOMS for path in sorted(room.glob("*.py"))))


@cache
def cache_folder() -> Path:
    """Return where compiled code is kept: in the user's cache, by what it was compiled from and with.

    numba itself notices no change of a function that another one calls.

    Raises
    ------
    RuntimeError
        When there is no home directory.
    """
    by_system = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    given = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or ""
    users = Path(given) if Path(given).is_absolute() else Path.home() / by_system
    return users / "optimlab" / f"{SOURCES.hexdigest()[:16]}-numba-{version('numba')}"


@cache
def usable_folder() -> Path | None:
    """Return `cache_folder`, made if need be; None where nothing can be written there."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):
        return None
    return folder
