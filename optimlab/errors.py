"""Errors that are for people: the command line prints their message, and no traceback."""

import signal

LONGEST = 500
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def printable(text: str, longest: int = LONGEST) -> str:
    """Return a text from outside as one line for a terminal: what cannot be seen is spelt out."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest])
    return f"{line}…" if len(text) > longest else line


def printable_lines(text: str) -> str:
    """Return a message for a terminal, whole: its lines are kept, what cannot be seen is spelt out."""
    return "\n".join(printable(line, len(line)) for line in text.split("\n"))


class UserError(Exception):
    """Something that the user can put right; the message says what and where."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or another signal to stop, as the command line raises it: a plug-in may raise the other."""


class OutOfTime(Interrupted):
    """The deadline of a sweep has passed."""
