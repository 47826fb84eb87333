"""Vega, Vega-Lite and vega-embed: what draws the page's charts in the browser."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version

import vl_convert

from optimlab.errors import UserError
from optimlab.files import Folder
from optimlab.user_cache import user_cache


@cache
def library() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script.

    Bundling takes two seconds, so the script is kept in the user's cache. Its digest is in its name: a
    file that has changed is not used.
    """
    path = user_cache()
    folder = Folder(path) if path else None
    if folder:
        with suppress(OSError, UserError):
            for name in folder.names("vega-*.js"):
                if name == _name(kept := folder.read(name)):
                    return kept.decode()
    script = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]
    if folder:
        with suppress(OSError, UserError):
            folder.create()
            for name in folder.names("vega-*.js"):  # of another version, or changed
                folder.delete(name)
            folder.write(_name(script.encode()), script.encode())
    return script


def _name(script: bytes) -> str:
    return f"vega-{version('vl-convert-python')}-{sha256(script).hexdigest()[:16]}.js"
