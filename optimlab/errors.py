"""Errors that are for people: the command line prints their message, and no traceback."""

LONGEST = 500


def printable(text: str) -> str:
    """Return a text from a file as one line for a terminal: what cannot be seen is spelt out."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:LONGEST])
    return f"{line}…" if len(text) > LONGEST else line


class UserError(Exception):
    """Something that the user can put right; the message says what and where."""
