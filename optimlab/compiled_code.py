"""The cache folder of compiled loops: in the user's cache, one for these sources and this numba."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

PACKAGES = [Path(__file__).parent / name for name in ("nn", "optimizers")]  # that hold compiled code
SOURCES = sha256(b"".join(path.read_bytes() for each in PACKAGES for path in sorted(each.glob("*.py"))))


@cache
def cache_folder() -> Path:
    """Return the folder for compiled code, whose name depends on the sources and numba's version.

    numba itself does not notice when a function called by a compiled one changes.

    Raises
    ------
    RuntimeError
        If there is no home directory.
    """
    by_system = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    given = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or ""
    users = Path(given) if Path(given).is_absolute() else Path.home() / by_system
    return users / "optimlab" / f"{SOURCES.hexdigest()[:16]}-numba-{version('numba')}"


@cache
def usable_folder() -> Path | None:
    """Return `cache_folder`, created if necessary; None if nothing can be written there."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):
        return None
    return folder
