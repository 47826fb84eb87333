"""The cache folder of compiled loops: in the user's cache, one for these sources and this numba."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from optimlab.user_cache import user_cache

PACKAGES = [Path(__file__).parent / name for name in ("nn", "optimizers")]  # that hold compiled code
SOURCES = sha256(b"".join(path.read_bytes() for each in PACKAGES for path in sorted(each.glob("*.py"))))


@cache
def cache_folder() -> Path | None:
    """Return the folder for compiled code, whose name depends on the sources and numba's version.

    numba itself does not notice when a function called by a compiled one changes. None for a user
    without a home folder.
    """
    given = Path(os.environ.get("NUMBA_CACHE_DIR") or "")
    users = given / "optimlab" if given.is_absolute() else user_cache()
    return users and users / f"{SOURCES.hexdigest()[:16]}-numba-{version('numba')}"


@cache
def usable_folder() -> Path | None:
    """Return `cache_folder`, created if necessary; None if nothing can be written there."""
    folder = cache_folder()
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder
