"""User-facing errors, which the command line prints without a traceback."""

import signal
import traceback
import unicodedata
from pathlib import Path

LONGEST = 500
PLUGIN = "optimlab_plugin_"  # begins the names of modules with a user's code
JOINERS = "\u200c\u200d"  # the non-joiner and the joiner, between letters of scripts that they shape
LAST_LATIN = "\u024f"
IS_FOLDER = "is a folder, where a file belongs"
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def printable(text: str, longest: int = LONGEST) -> str:
    """Return a text from outside as one line for a terminal, with invisible characters escaped."""
    line = "".join(
        c if c.isprintable() or (c in JOINERS and _may_be_joined(before)) else ascii(c)[1:-1]
        for before, c in zip(f" {text}", text[:longest], strict=False)
    )
    return f"{line}…" if len(text) > longest else line


def _may_be_joined(letter: str) -> bool:
    return letter > LAST_LATIN and unicodedata.category(letter)[0] in "LM"


def printable_lines(text: str) -> str:
    """Return a whole message for a terminal: lines are kept, invisible characters escaped."""
    return "\n".join(printable(line, len(line)) for line in text.split("\n"))


def reason(error: OSError) -> str:
    """Return why a file could not be read or written, as text."""
    if isinstance(error, IsADirectoryError):
        return f"it {IS_FOLDER}"
    if isinstance(error, NotADirectoryError):
        return "one of the folders in its path is a file"
    return error.strerror or str(error)


def located(error: OSError) -> str:
    """Return what could not be read or written, and why, as text."""
    return f"{error.filename or 'a file'}: {reason(error)}"


def raised(error: BaseException) -> str:
    """Return an exception as a line of text; first where in a user's file it was raised, if it was."""
    text = traceback.format_exception_only(error)[-1].strip()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if str(frame.f_globals.get("__name__")).startswith(PLUGIN):
            code = frame.f_code
            return f"{Path(code.co_filename).name}, line {line}, {code.co_qualname}: {text}"
    return str(error) if type(error) is ValueError else text


class UserError(Exception):
    """A mistake that the user can correct; the message says what and where."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or another stop signal; plug-ins may raise KeyboardInterrupt, but not this."""


class OutOfTime(Interrupted):
    """The deadline of a sweep has passed."""
