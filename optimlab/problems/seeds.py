"""Random streams: what a seed decides, and nothing else does."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(seed: int, stream: str) -> np.random.Generator:
    """Return the generator of a named stream of a seed: other names, independent numbers."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(stream.encode()),)))
