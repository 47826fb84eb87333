"""Checkpoints: the state of a long run on disk, so that a kill costs minutes and not the whole run.

A run that is trained alone writes one at intervals and resumes from it with the bits of an uninterrupted
run. Batches are not stored: they are drawn again up to the checkpoint's step.

Its name has the run's identity and the libraries and kernels that computed it, so that code or a machine
with other bits never resumes from it. It is a pickle, and results may come from a stranger: only arrays,
generators, plain values and optimlab's own dataclasses are loaded.
"""

from __future__ import annotations

import io
import itertools
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from optimlab.errors import reason
from optimlab.experiment.identity import digest
from optimlab.files import EntryError, Folder, experiment_folder
from optimlab.messages import warn
from optimlab.storage.environment import computing
from optimlab.training import Moment

FOLDER = "checkpoints"  # in the folder of an experiment's results
SECONDS_BETWEEN = 60.0
LARGEST = 4_000_000_000  # bytes
TIME_SHARE = 0.02  # the part of a run's time that writing may take
PACKAGES = ("optimlab.nn.", "optimlab.optimizers.", "optimlab.problems.")
SAFE_CLASSES = {
    ("builtins", "slice"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "complex"),
    ("builtins", "range"),
    ("collections", "OrderedDict"),
    ("collections", "deque"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.random._pickle", "__generator_ctor"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    ("numpy.random.bit_generator", "SeedSequence"),
}
_reported: set[str] = set()


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are stored, and how often one is written.

    Attributes
    ----------
    folder : the experiment's results.
    seconds : the interval between two checkpoints of a run.
    """

    folder: Path
    seconds: float = SECONDS_BETWEEN

    @property
    def _files(self) -> Folder:
        return experiment_folder(self.folder).folder(FOLDER)

    def of(self, run_id: str, rule: Any) -> Checkpoint:
        """Return the checkpoint of a run that this rule trains; the rule has not taken a step yet."""
        return Checkpoint(self._files, run_id, rule, self.seconds)

    def delete(self, is_over: Callable[[str], bool]) -> int:
        """Delete the checkpoints of the runs (by run_id) that are over; return how many.

        Temporary files of killed processes and an empty folder are deleted, too.
        """
        folder = self._files
        names = [name for name in folder.names("*.checkpoint") if is_over(name.partition("-")[0])]
        for name in names:
            folder.delete(name, even_link=True)
        folder.remove_temporaries()
        if folder.path.is_dir() and not folder.names():
            folder.remove_if_empty()
        return len(names)


class Checkpoint:
    """The checkpoint of one run.

    Parameters
    ----------
    folder : where the checkpoint files are.
    run_id : the run.
    rule : before its first step; a rule that changes itself, not only its state, has no checkpoint.
    seconds : the interval between two checkpoints.
    """

    def __init__(self, folder: Folder, run_id: str, rule: Any, seconds: float) -> None:
        self.folder, self.rule, self.seconds = folder, rule, seconds
        self.stem = f"{run_id}-{digest(repr(sorted(computing().items())))}"
        self.run_id = run_id
        self.fresh_rule = _content_of_rule(rule)
        self.due = time.monotonic() + seconds

    def found(self) -> Moment | None:
        """Return the moment to resume from; None without an intact checkpoint."""
        with suppress(OSError, EntryError, ValueError):
            for name in self.folder.names(f"{self.stem}-*.checkpoint"):
                content = self.folder.read(name, LARGEST)
                if name == self._name(content):
                    return loads(content)
        return None

    def keep(self, moment: Moment) -> None:
        """Write a checkpoint if one is due; warn once if that is impossible."""
        start = time.monotonic()
        if start < self.due:
            return
        fault = ""
        try:
            if self.fresh_rule is None or _content_of_rule(self.rule) != self.fresh_rule:
                raise ValueError("the rule changes itself, not only its state")
            self._write(dumps(moment))
        except OSError as error:
            fault = reason(error)
        except (ValueError, EntryError) as error:
            fault = str(error)
        seconds = max(self.seconds, (time.monotonic() - start) / TIME_SHARE)
        self.due = time.monotonic() + (float("inf") if fault else seconds)
        if fault and fault not in _reported:
            _reported.add(fault)
            warn(f"long runs have no checkpoint, and start over after a kill: {fault}")

    def _write(self, content: bytes) -> None:
        self.folder.create()
        name = self._name(content)
        self.folder.write(name, content)
        for other in self.folder.names(f"{self.run_id}-*.checkpoint"):  # earlier ones
            if other != name:
                self.folder.delete(other, even_link=True)

    def _name(self, content: bytes) -> str:
        return f"{self.stem}-{sha256(content).hexdigest()[:24]}.checkpoint"


def dumps(moment: Moment) -> bytes:
    """Return a moment as bytes.

    Raises
    ------
    ValueError
        When it could not be restored exactly: a part cannot be pickled, is of a class that `loads`
        refuses, or shares its memory with another part.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol=5)
    try:
        pickler.dump(vars(moment))
    except Exception as error:  # an object of a plug-in may raise anything
        raise ValueError(f"the state cannot be pickled: {type(error).__name__}: {error}") from error
    if _share_memory(pickler.arrays):
        raise ValueError("two arrays of the state share their memory")
    content = buffer.getvalue()
    loads(content)
    return content


def loads(content: bytes) -> Moment:
    """Return the moment that `dumps` wrote.

    Raises
    ------
    ValueError
        When the bytes are no such moment, or contain a class that is refused.
    """
    try:
        return Moment(**_Unpickler(io.BytesIO(content)).load())
    except Exception as error:  # pickle raises anything
        raise ValueError(str(error)) from error


class _Pickler(pickle.Pickler):
    """Collects the arrays that it pickles."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.arrays: list[np.ndarray] = []

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            self.arrays.append(value)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Refuses all but arrays, generators, plain values and optimlab's own dataclasses."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in SAFE_CLASSES:
            return super().find_class(module, name)
        if module.startswith(PACKAGES) and "." not in name:
            found = getattr(import_module(module), name, None)
            if isinstance(found, type) and is_dataclass(found) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"the state holds a {module}.{name}, which is not restored")


def _share_memory(arrays: list[np.ndarray]) -> bool:
    """Return whether some of the arrays share memory."""
    ends = sorted(np.lib.array_utils.byte_bounds(array) for array in arrays if array.size)
    return any(start < end for (_, end), (start, _) in itertools.pairwise(ends))


def _content_of_rule(rule: Any) -> bytes | None:
    """Return the rule's attributes as bytes; None if they cannot be pickled."""
    try:
        return pickle.dumps(getattr(rule, "__dict__", {}))
    except Exception:  # an object of a plug-in may raise anything
        return None
