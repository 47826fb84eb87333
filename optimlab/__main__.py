"""The command `optimlab`, and `python -m optimlab`.

Only the standard library is imported until signals and streams are set up: Ctrl-C never gives a
traceback, and output that cannot be written does not stop the command.
"""

import errno
import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import optimlab
from optimlab.errors import STOP_SIGNALS


def main() -> None:
    """Run the command line; exit 0, 1 for a failure, 2 for a mistake of the user, 130 for Ctrl-C.

    A command whose output cannot be written completes its work, and then exits with 1.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it, and a shell's `&`
            signal.signal(number, _leave)
    out = _streams()
    try:
        here = Path.cwd()
    except OSError as error:
        sys.stderr.write(f"optimlab: the current folder is gone: {error.strerror}; change to another\n")
        sys.exit(2)
    # Python looks in the working directory first, where a folder seaborn/ would hide the library.
    if Path(sys.path[0]) == here != Path(optimlab.__file__).parents[1]:
        sys.path.append(sys.path.pop(0))
    from optimlab.cli import app

    status: object = 0
    try:
        app()
    except SystemExit as ended:
        status = ended.code
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if out.error and not status:
        if out.error.errno != errno.EPIPE:  # a reader such as `head` may stop early
            sys.stderr.write(f"optimlab: the output could not be written: {out.error.strerror}\n")
            sys.stderr.flush()
        status = 1
    sys.exit(status)  # type: ignore[arg-type]


def _leave(number: int, frame: FrameType | None) -> None:
    """Exit at once: no command has begun to do anything."""
    os._exit(130)


class Output(io.FileIO):
    """A stream of this process that remembers a failed write instead of raising an error."""

    error: OSError | None = None

    def write(self, content: object) -> int:
        """Write bytes if possible; return their number."""
        try:
            return super().write(content) or 0  # type: ignore[arg-type]
        except OSError as error:
            self.error = self.error or error
            return len(content)  # type: ignore[arg-type]


def _streams() -> Output:
    """Replace stdout and stderr; return the `Output` of stdout. Letters it lacks are escaped."""
    closed = [number for number in range(3) if _is_closed(number)]
    for _ in closed:  # so that no other file gets the number
        os.open(os.devnull, os.O_RDWR)
    outputs = []
    for number, before in ((1, sys.stdout), (2, sys.stderr)):
        output = Output(number, "w", closefd=False)
        if number in closed:
            output.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
        encoding = before.encoding if before else "utf-8"
        stream = io.TextIOWrapper(
            io.BufferedWriter(output),
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=number == 2 or output.isatty(),
        )
        outputs.append(output)
        setattr(sys, "stdout" if number == 1 else "stderr", stream)
    return outputs[0]


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


if __name__ == "__main__":
    main()
