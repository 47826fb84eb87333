"""Pictures for tests that write figures without drawing them."""

import io

import numpy as np
from PIL import Image


def png(pixels=1, seed=0):
    """Return a square PNG file of noise, of about three bytes per pixel."""
    noise = np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()
