"""The cache folder of compiled loops: in the user's cache, one for these sources and this numba."""

from __future__ import annotations

import os
import pickle
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from optimlab.user_cache import user_cache

PACKAGES = [Path(__file__).parent / name for name in ("nn", "optimizers")]  # that hold compiled code
ROOM = 2_000_000  # bytes; an experiment's loops take less
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
    """Return `cache_folder`, created if necessary; None if nothing can be written there.

    Damaged files are deleted first, such as the empty ones that a power failure leaves: numba would
    fail to load them each time, and never replace them.
    """
    folder = cache_folder()
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM))
            for path in folder.rglob("*.nb[ci]"):
                if not _is_whole(path):
                    path.unlink(missing_ok=True)
    except OSError:
        return None
    return folder


def _is_whole(path: Path) -> bool:
    """Return whether a file begins and ends as a pickle does."""
    try:
        content = path.read_bytes()
    except PermissionError:  # another user's
        return False
    return content.startswith(pickle.PROTO) and content.endswith(pickle.STOP)
