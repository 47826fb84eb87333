"""Random streams, each determined by a seed and a name alone."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(seed: int, stream: str) -> np.random.Generator:
    """Return the generator of a seed's stream of this name; streams are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(stream.encode()),)))
