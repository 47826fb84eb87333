"""Messages to the user, on stderr, which no filter of Python's warnings hides or makes an error."""

import sys

from optimlab.errors import printable_lines


def warn(text: str) -> None:
    """Print a line for the user on stderr; where it is closed or full, do nothing."""
    if sys.stderr is None:  # closed before this process began
        return
    try:
        sys.stderr.write(f"optimlab: warning: {printable_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # ValueError: closed since
        pass
