"""Files written atomically, in folders that only one process at a time may write to.

Nothing here follows a link inside a results folder, which may come from a stranger: see `Folder`.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from optimlab.errors import IS_FOLDER, UserError, printable, reason

LOCK = ".lock"
HOLDER = ".lock-holder"
LARGEST_HOLDER = 1000  # bytes
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}  # of some network mounts

# Windows has no folder descriptors: there an entry is checked before it is used by its path.
BY_DESCRIPTOR = os.open in os.supports_dir_fd
FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# Links are refused, and opening a pipe does not wait for its other end.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# What may be wrong with an entry.
LINK = (
    "is a link, and links inside a results folder are not followed: remove it, or replace it by what it "
    "points to"
)
FOLDER = f"{IS_FOLDER}: move it away"
NO_FOLDER = "is not a folder: move it away"
IRREGULAR = "is not a regular file: move it away"


class EntryError(UserError):
    """An entry of a folder that is not of the required kind, such as a link."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}")


class HeldError(UserError):
    """A folder that another process is writing to; the message says which, and on which machine."""


class NotWritableError(UserError):
    """A folder that this user may not write to, or that cannot be created."""


@dataclass(frozen=True)
class Folder:
    """A folder whose entries are reached without following a link.

    Each operation opens the folders from the root down by descriptor, and refuses links as it does so.
    Nothing outside is read, written or deleted, even if a link is put in place between a check and a
    use.

    Attributes
    ----------
    path : the path, for messages and to open the root.
    above : the parent folder; None for the root, which may itself be a link.
    """

    path: Path
    above: Folder | None = None

    def folder(self, name: str) -> Folder:
        """Return a folder in this one, which need not exist."""
        return Folder(self.path / name, self)

    def create(self) -> None:
        """Create the folder and its parents, if they do not exist.

        Raises
        ------
        EntryError
            If one of them is a file, or a broken link.
        """
        if self.above is None:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                folders = (self.path, *self.path.parents)
                raise EntryError(next(filter(os.path.lexists, folders)), NO_FOLDER) from error
            return
        self.above.create()
        try:
            with self.above._opened() as at, suppress(FileExistsError):
                os.mkdir(self.above._spelt(self.path.name), dir_fd=at)
        except OSError as error:  # by descriptor, it does not say where
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        with self._opened():
            pass

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names of the entries that match, sorted; none if the folder does not exist."""
        try:
            with self._opened() as at:
                names = os.listdir(self.path if at is None else at)  # noqa: PTH208
        except FileNotFoundError:
            return []
        return sorted(name for name in names if fnmatch(name, pattern))

    def exists(self, name: str) -> bool:
        """Return whether there is an entry of this name, even a broken link."""
        return self._mode(name) is not None

    def is_folder(self, name: str) -> bool:
        """Return whether an entry is a folder, and not a link to one."""
        return stat.S_ISDIR(self._mode(name) or 0)

    def open(self, name: str, most: int | None = None) -> BinaryIO:
        """Open a regular file for reading.

        Raises
        ------
        EntryError
            If it is a link, a folder, a pipe or a device, or has more than `most` bytes.
        """
        descriptor = self._open(name, os.O_RDONLY)
        if most is not None and os.fstat(descriptor).st_size > most:
            os.close(descriptor)
            raise EntryError(self.path / name, f"is larger than {most:,} bytes")
        return os.fdopen(descriptor, "rb")

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the content of a regular file; raise what `open` raises."""
        with self.open(name, most) as file:
            return file.read()

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for writing it atomically: if the block raises, nothing changes.

        A reader sees the old file or the new one, never a part; once the block has ended, the file
        survives even a power failure. Other names of the old file (hard links) keep its content.

        Raises
        ------
        EntryError
            If there is a link or a folder of this name.
        """
        self.refuse_link(name)
        if self.is_folder(name):
            raise EntryError(self.path / name, FOLDER)
        temporary = self._spelt(f".{name}.{secrets.token_hex(4)}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
        try:
            with self._opened() as at:
                descriptor = os.open(temporary, flags, 0o666, dir_fd=at)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        yield file
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(temporary, self._spelt(name), src_dir_fd=at, dst_dir_fd=at)
                    _sync(at)
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=at)
        except OSError as error:  # a full disk does not say where
            text = error.strerror or str(error)
            raise OSError(error.errno, text, str(self.path / name)) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        with self.writing(name) as file:
            file.write(content)

    def move(self, name: str, to: Folder, new_name: str) -> None:
        """Move an entry to another folder and name; if it is a link, the link itself moves."""
        with self._opened() as at, to._opened() as there:
            os.rename(self._spelt(name), to._spelt(new_name), src_dir_fd=at, dst_dir_fd=there)

    def delete(self, name: str, *, even_link: bool = False) -> None:
        """Delete a file, or a folder with its content; links in it are deleted, not their targets.

        Parameters
        ----------
        name : the entry; a link is refused.
        even_link : whether to delete a link, too; its target stays.
        """
        if not even_link:
            self.refuse_link(name)
        is_folder = self.is_folder(name)
        with self._opened() as at:
            if is_folder:
                shutil.rmtree(self._spelt(name), dir_fd=at)
            else:
                os.unlink(self._spelt(name), dir_fd=at)

    def remove_if_empty(self) -> None:
        """Delete this folder, which must not be the root, if it is empty."""
        assert self.above is not None
        with self.above._opened() as at, suppress(OSError):
            os.rmdir(self.above._spelt(self.path.name), dir_fd=at)

    def size(self) -> tuple[int, int]:
        """Return the number of files, here and in folders below, and their bytes."""
        files = size = 0
        for name in self.names():
            inner = self.folder(name).size() if self.is_folder(name) else (1, self._size(name))
            files, size = files + inner[0], size + inner[1]
        return files, size

    def _size(self, name: str) -> int:
        with self._opened() as at:
            return os.stat(self._spelt(name), dir_fd=at, follow_symlinks=False).st_size

    def remove_temporaries(self, pattern: str = "*") -> None:
        """Delete the temporary files that a killed process left, of files whose names match."""
        for name in self.names(f".{pattern}.*.tmp"):
            self.delete(name)

    def refuse_link(self, name: str) -> None:
        """Raise EntryError if the entry is a link."""
        if stat.S_ISLNK(self._mode(name) or 0):
            raise EntryError(self.path / name, LINK)

    def refuse_links(self) -> None:
        """Raise EntryError if an entry, here or in folders below, is a link."""
        for name in self.names():
            self.refuse_link(name)
            if self.is_folder(name):
                self.folder(name).refuse_links()

    def _mode(self, name: str) -> int | None:
        """Return the mode of an entry, as `stat` gives it; None if there is none."""
        try:
            with self._opened() as at:
                return os.stat(self._spelt(name), dir_fd=at, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Open the folder, from the root down, refusing links; yield its descriptor, None on Windows."""
        if not BY_DESCRIPTOR:
            if self.above is not None:
                self.above.refuse_link(self.path.name)
            yield None
            return
        if self.above is None:
            descriptor = os.open(self.path, FOLDER_FLAGS)
        else:
            with self.above._opened() as at:
                try:
                    descriptor = os.open(self.path.name, FOLDER_FLAGS | SAFELY, dir_fd=at)
                except OSError as error:
                    self.above.refuse_link(self.path.name)
                    if error.errno == errno.ENOTDIR:
                        raise EntryError(self.path, NO_FOLDER) from error
                    raise OSError(error.errno, error.strerror, str(self.path)) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int) -> int:
        """Return the descriptor of a regular file."""
        with self._opened() as at:
            try:
                descriptor = os.open(self._spelt(name), flags | SAFELY, 0o666, dir_fd=at)
            except OSError as error:
                self._refuse_irregular(name, self._mode(name))
                raise OSError(error.errno, error.strerror, str(self.path / name)) from error
        try:
            self._refuse_irregular(name, os.fstat(descriptor).st_mode)
        except EntryError:
            os.close(descriptor)
            raise
        return descriptor

    def _refuse_irregular(self, name: str, mode: int | None) -> None:
        if stat.S_ISLNK(mode or 0):
            raise EntryError(self.path / name, LINK)
        if stat.S_ISDIR(mode or 0):
            raise EntryError(self.path / name, FOLDER)
        if mode is not None and not stat.S_ISREG(mode):
            raise EntryError(self.path / name, IRREGULAR)

    def _spelt(self, name: str) -> str:
        """Return the name of an entry relative to the folder's descriptor, or its path on Windows."""
        return name if BY_DESCRIPTOR else str(self.path / name)


def experiment_folder(path: Path) -> Folder:
    """Return results/<experiment>, which must not be a link; the results folder may be one."""
    return Folder(path.parent).folder(path.name)


def results_at(path: str | os.PathLike[str]) -> Path:
    """Return the path of the folder of all results, which need not exist; ~ is the home folder.

    Raises
    ------
    ValueError
        If it cannot be that: it is empty, not UTF-8 (which Parquet requires), an address, a file, or the
        folder of one experiment.
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the path is not UTF-8") from None
    if not text or "\0" in text:
        raise ValueError(f"the path {'has a null character' if text else 'is empty'}")
    if "://" in text:
        raise ValueError(f"'{text}' is an address: name a folder of this machine")
    found = expanded(text)
    with suppress(OSError):  # `check_writable` reports it
        if found.exists() and not found.is_dir():
            raise ValueError(f"'{text}' is a file")
        if (found / "experiment.json").is_file():
            wrong = "has the results of one experiment: name the folder that contains it"
            raise ValueError(f"'{text}' {wrong}")
    return found


def check_writable(folder: Folder) -> None:
    """Create a folder of results; raise NotWritableError if it cannot be created or written to."""
    why = ""
    try:
        folder.create()
    except OSError as error:
        why = reason(error)
    if why or not os.access(folder.path, os.W_OK):
        instead = "name another folder with --results, such as a copy"
        raise NotWritableError(
            f"{folder.path} cannot be written to: {why or 'no permission'}; {instead}"
        )


def expanded(path: str) -> Path:
    """Return a path with ~ as the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return Path(path)


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file, perhaps through a link.

    Raises
    ------
    OSError
        If it cannot be read, is a pipe or a device, or has more than `most` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | SAFELY & ~getattr(os, "O_NOFOLLOW", 0))
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            kind = errno.EISDIR if stat.S_ISDIR(about.st_mode) else errno.EINVAL
            raise OSError(kind, "it is not a regular file", str(path))
        if about.st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


@contextmanager
def only_writer(folder: Folder) -> Iterator[None]:
    """Lock a folder for writing by this process alone, while the block runs.

    The operating system releases the lock when its holder dies, however it dies. On a file system
    without locks, the file that names the holder serves as the lock.

    Raises
    ------
    HeldError
        If another process holds the lock; the message says which, and on which machine.
    NotWritableError
        If the folder cannot be created or written to.
    """
    check_writable(folder)
    folder._refuse_irregular(HOLDER, folder._mode(HOLDER))
    descriptor = folder._open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            is_free = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise OSError(error.errno, error.strerror, str(folder.path / LOCK)) from error
            _take_place_of_dead_holder(folder)
        else:
            if not is_free:
                raise _held(folder)
            if folder.exists(HOLDER):  # left by a process that was killed
                folder.delete(HOLDER)
        _sign(folder)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                folder.delete(HOLDER)
    finally:
        os.close(descriptor)


def refuse_held(folder: Folder) -> None:
    """Raise HeldError if another process is seen to write to a folder; nothing is written."""
    with suppress(OSError):  # nobody has written there, or may be seen to
        descriptor = folder._open(LOCK, os.O_RDWR)
        try:
            if not lock_descriptor(descriptor, blocking=False):
                raise _held(folder)
        finally:
            os.close(descriptor)


def _sign(folder: Folder) -> None:
    """Write the file that names this process as the holder."""
    try:
        descriptor = folder._open(HOLDER, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        raise _held_without_lock(folder) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError as error:  # a full disk does not say where
        folder.delete(HOLDER)
        raise OSError(error.errno, error.strerror, str(folder.path / HOLDER)) from error


def _take_place_of_dead_holder(folder: Folder) -> None:
    """Delete the file of a holder that is dead, if it ran on this machine; leave any other."""
    holder = _holder(folder)
    process, _, machine = (holder or "").removeprefix("process ").partition(" on ")
    if machine == socket.gethostname() and process.isdecimal() and not _is_alive(int(process)):
        aside = f"{HOLDER}.{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):  # another process may do the same
            folder.move(HOLDER, folder, aside)
            if folder.read(aside).decode() == holder:
                folder.delete(aside)
            else:  # another process was faster, and holds the lock now
                folder.move(aside, folder, HOLDER)


def _held(folder: Folder, more: str = "") -> HeldError:
    holder = _holder(folder) or "another process"
    return HeldError(f"{folder.path}: {holder} is writing here; wait for it, or stop it{more}")


def _held_without_lock(folder: Folder) -> HeldError:
    remove = f"if that process is dead, remove {folder.path / HOLDER}"
    return _held(folder, f". This file system has no locks: {remove}")


def _holder(folder: Folder) -> str:
    """Return the name of the holder, "" if it cannot be read."""
    with suppress(OSError, ValueError, EntryError):
        return printable(folder.read(HOLDER, LARGEST_HOLDER).decode())
    return ""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or not a process number
        return True
    return True


def _sync(descriptor: int | None) -> None:
    """Flush a rename to disk, if the system and the file system can."""
    if descriptor is None:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
