"""The folder in the user's cache, for what would only take time to make again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path | None:
    """Return the folder, which need not exist; None for a user without a home folder."""
    by_system = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    given = Path(os.environ.get("XDG_CACHE_HOME") or "")
    try:
        return (given if given.is_absolute() else Path.home() / by_system) / "optimlab"
    except RuntimeError:
        return None
