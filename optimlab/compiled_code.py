"""Code that numba compiles, and its folder in the user's cache: one for these sources and this numba."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache, cached_property, partial
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.metadata import version
from pathlib import Path
from threading import get_ident
from typing import IO, Any
from uuid import uuid4

from optimlab.user_cache import user_cache

PACKAGES = [Path(__file__).parent / name for name in ("nn", "optimizers")]  # that hold compiled code
FILES = [Path(__file__), *(path for each in PACKAGES for path in sorted(each.glob("*.py")))]
SOURCES = sha256(b"".join(path.read_bytes() for path in FILES))
ROOM = 2_000_000  # bytes; an experiment's loops take less
ONLY_CHECKED_FOR = ("scipy.linalg", "coverage")  # by numba, when it is imported


class Compiled:
    """A function that numba compiles when it is first called: importing numba takes long.

    Parameters
    ----------
    function : of arrays and numbers; what it calls is compiled, too, or known to numba.
    fastmath : what the compiler may do to sums and products.
    """

    def __init__(self, function: Callable[..., Any], fastmath: frozenset[str]) -> None:
        self.function, self.fastmath = function, fastmath
        self.__module__, self.__doc__ = function.__module__, function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        return self.dispatcher(*arguments)

    def __reduce__(self) -> str:  # by name: a loop that calls this is found in the cache again
        return self.function.__name__

    @cached_property
    def dispatcher(self) -> Any:
        """The function, as numba has it; with ``NUMBA_DISABLE_JIT=1``, as it is written."""
        numba = _numba()
        made: Any = numba.njit(fastmath=set(self.fastmath), error_model="numpy")(self.function)
        if made is not self.function and (folder := usable_folder()):
            config: Any = numba.config
            before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
            made.enable_caching()
            config.CACHE_DIR = before
            # Two processes that compile for different types at once must not write to one file.
            names = made._cache._cache_file
            names._data_name_pattern = names._data_name_pattern.replace("{", f"{uuid4().hex[:8]}.{{")
            names._open_for_write = partial(_writing_with_digest, names._open_for_write)
            made._cache.save_overload = partial(_save_if_possible, made._cache.save_overload)
        return made

    @property
    def _numba_type_(self) -> Any:  # what numba asks a global for, where another function calls it
        return self.dispatcher._numba_type_


def _save_if_possible(save: Callable[..., None], *about: Any) -> None:
    with suppress(OSError):  # such as a full disk: the loop itself is compiled
        save(*about)


@contextmanager
def _writing_with_digest(
    writing: Callable[[str], AbstractContextManager[IO[bytes]]], path: str
) -> Iterator[IO[bytes]]:
    """Open a file for writing; it gets a digest of its content at its end, which numba does not read."""
    with writing(path) as file:
        yield (content := io.BytesIO())
        file.write(content.getvalue() + sha256(content.getvalue()).digest())


@cache
def _numba() -> Any:
    """Import numba without what it only checks for, which takes as long as numba itself.

    scipy.linalg is imported when a loop calls np.dot or the like.
    """
    thread = get_ident()  # others may need these meanwhile

    class NotForNumba(MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name in ONLY_CHECKED_FOR and get_ident() == thread:
                raise ModuleNotFoundError(name)

    finder = NotForNumba()
    sys.meta_path.insert(0, finder)
    try:
        import numba
        import numba.np.arraymath
    finally:
        sys.meta_path.remove(finder)
    return numba


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

    Damaged files are deleted first: numba would fail to load those that a power failure has cut each
    time, never replace them, and believe a byte that has changed.
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
    """Return whether a file ends with the digest of its content."""
    try:
        content = path.read_bytes()
    except PermissionError:  # another user's
        return False
    size = len(content) - sha256().digest_size
    return size > 0 and content[size:] == sha256(content[:size]).digest()
