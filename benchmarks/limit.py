"""The limit: how fast the machine multiplies matrices. No step can take less than its products."""

from __future__ import annotations

import time

import numpy as np

SIZE = 1024


def gemm_rate(*, repeats: int = 12) -> float:
    """Return operations a second in a large float32 matrix product on one thread: the best of some."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)
    np.matmul(a, b, out=out)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds)
