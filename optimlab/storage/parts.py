"""A part: the finished runs of one stack, in a Parquet file.

It holds the traces of its runs and, in its metadata, how each run ended. Its name ends with a digest of
its content, so that a part whose bytes have changed is never used.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from optimlab.experiment.runs import FinishedRun, FinishedStack
from optimlab.experiment.spec import ProblemSetting
from optimlab.statuses import STATUSES
from optimlab.training import METRICS, PROBLEM_METRICS

FORMAT = 2
METADATA_KEY = b"optimlab"
PART_NAME = re.compile(r"[0-9a-f]{24}-[0-9a-f]{24}\.parquet")
LONGEST_REASON = 500  # characters


class Notes(BaseModel):
    """The metadata of a part.

    Attributes
    ----------
    format : the part's format; a part of another format has no runs for this version.
    runs : how each run ended.
    computed_by : the libraries and kernels that decide the last bits.
    """

    format: int
    runs: list[FinishedRun] = []
    computed_by: dict[str, str] = {}


def part_of(stack: FinishedStack) -> tuple[str, bytes]:
    """Return the name and the content of the part of a finished stack.

    The name begins with a digest of the runs, so that their part takes the place of an earlier one.
    """
    runs = [asdict(replace(run, reason=_shortened(run.reason))) for run in stack.runs]
    notes = {"format": FORMAT, "runs": runs, "computed_by": stack.computed_by}
    metadata = {METADATA_KEY: json.dumps(notes).encode()}
    table = pa.table(stack.traces).replace_schema_metadata(metadata)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    content = buffer.getvalue().to_pybytes()
    stem = digest_of("".join(run.run_id for run in stack.runs).encode())
    return f"{stem}-{digest_of(content)}.parquet", content


def is_sound(name: str, content: bytes) -> bool:
    """Return whether the content of a part has the digest that its name ends with."""
    return Path(name).stem.rpartition("-")[2] == digest_of(content)


def read_notes(content: bytes) -> Notes:
    """Return the notes of a part; raise ValueError if they are missing or invalid."""
    return _notes(_opened(content))


def read_part(content: bytes) -> tuple[Notes, pa.Table]:
    """Return the notes of a part and its traces; raise ValueError if no sweep wrote them."""
    part = _opened(content)
    notes = _notes(part)
    return notes, _traces(part, notes)


def _opened(content: bytes) -> pq.ParquetFile:
    """Return a part to read from; raise ValueError if it is no Parquet file."""
    try:
        return pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error


def _notes(part: pq.ParquetFile) -> Notes:
    """Return the notes of a part, without runs for another version's; raise ValueError if wrong."""
    try:
        raw = json.loads(part.schema_arrow.metadata[METADATA_KEY])
        if isinstance(raw["format"], int) and raw["format"] != FORMAT:
            return Notes(format=raw["format"])
        notes = Notes.model_validate(raw)
    except (pa.ArrowException, OSError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if any(run.final.keys() < set(PROBLEM_METRICS) for run in notes.runs):
        raise ValueError("a final metric is missing")
    if any(run.status not in STATUSES for run in notes.runs):
        raise ValueError("a status is unknown")
    return notes


def columns_of(setting: ProblemSetting) -> set[str]:
    """Return the columns of a problem's parts, except the parameters."""
    return {"run", "step", "epoch", *METRICS, *setting.about.extra_metrics}


def _traces(part: pq.ParquetFile, notes: Notes) -> pa.Table:
    """Return the traces of a part, run after run; raise ValueError if they are not those of its runs."""
    try:
        traces = part.read(use_threads=False)  # a part is small
        if notes.format != FORMAT:
            return traces
        runs = traces["run"].cast(pa.int32()).to_numpy()
        numbers = traces.select(["step", "epoch", *METRICS])
        if not all(
            pa.types.is_integer(each) or pa.types.is_floating(each) for each in numbers.schema.types
        ):
            raise ValueError("a metric is not a number")
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(str(error)) from error
    if len(runs) and not (runs[0] >= 0 and runs[-1] < len(notes.runs) and (np.diff(runs) >= 0).all()):
        raise ValueError("its rows belong to other runs")
    return traces


def _shortened(reason: str) -> str:
    """Return a reason cut to `LONGEST_REASON` characters."""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"


def digest_of(content: bytes) -> str:
    """Return a digest of some bytes, for the name of a part."""
    return sha256(content).hexdigest()[:24]
