"""Files that are written whole or not at all, and folders that one process at a time may write."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from optimlab.errors import UserError

LOCK = ".lock"
HOLDER = ".lock-holder"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file, and rename it to `path` once it is safe on disk.

    A reader sees the old file or the new one, never a half; and once this returns, not even a power
    failure undoes it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:  # a full disk does not say where
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def remove_temporaries(folder: Path, name: str) -> None:
    """Remove what a process that was killed left of files whose names match the pattern `name`."""
    for path in folder.glob(f".{name}.*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone to write in, while the block runs.

    The operating system lets go of the lock when its holder dies, however it dies.

    Raises
    ------
    UserError
        When another process holds the folder; the message says which, and on which machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / LOCK).acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{folder}: {_holder(folder)} is writing here; wait for it, or stop it"
        ) from None
    with held:
        holder = folder / HOLDER
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


def _holder(folder: Path) -> str:
    with suppress(OSError, ValueError):
        return (folder / HOLDER).read_text(encoding="utf-8") or "another process"
    return "another process"


def _sync_folder(folder: Path) -> None:
    """Put a rename on disk, where the system and the file system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
