"""Messages to the user on stderr, independent of Python's warnings and their filters."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from optimlab.errors import printable_lines

_LISTENERS: list[list[str]] = []


@contextmanager
def collected() -> Iterator[list[str]]:
    """Yield a list that collects the warnings printed while the block runs; blocks may be nested."""
    texts: list[str] = []
    _LISTENERS.append(texts)
    try:
        yield texts
    finally:
        _LISTENERS.pop()


def warn(text: str) -> None:
    """Print a warning on stderr; if that is closed or full, do nothing."""
    for texts in _LISTENERS:
        texts.append(text)
    if sys.stderr is None:  # closed before this process began
        return
    try:
        sys.stderr.write(f"optimlab: warning: {printable_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # ValueError: it has been closed since
        pass
