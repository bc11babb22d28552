"""Images as text inside an HTML page, small and with a stated precision."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

IMAGE_STEPS = 2**16 - 1
LOOP_STEPS = 2**10 - 1


def encode_image(image: np.ndarray, n_steps: int = IMAGE_STEPS) -> dict[str, Any]:
    """Quantise an image to equal steps between its extremes and deflate it.

    Parameters
    ----------
    image : numpy.ndarray
        Real and finite, (H, W).
    n_steps : int
        At most 65535. A decoded value differs from the true one by at most half a step,
        (maximum - minimum) / (2 n_steps).

    Returns
    -------
    dict
        "low" and "step": a pixel is low + step * q; "data": base64 of the zlib-deflated
        differences of q along each row, high bytes first, then low bytes.
    """
    low, high = float(image.min()), float(image.max())
    step = (high - low) / n_steps or abs(high) / n_steps or 1.0
    quantised = np.rint((image.astype(np.float64) - low) / step).astype(np.uint16)
    return {"low": low, "step": step, "data": _deflate(quantised)}


def decode_image(encoded: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return the image that the page shows, float64; the inverse of `encode_image`.

    Parameters
    ----------
    encoded : dict
        As `encode_image` returns it.
    shape : tuple of int
        (H, W).
    """
    planes = np.frombuffer(zlib.decompress(base64.b64decode(encoded["data"])), np.uint8)
    high, low = planes.reshape(2, *shape).astype(np.uint16)
    quantised = np.cumsum(high * np.uint16(256) + low, axis=1, dtype=np.uint16)
    return encoded["low"] + encoded["step"] * quantised.astype(np.float64)


def encode_mask(mask: np.ndarray) -> str:
    """Return a mask as base64 of deflated bytes, one per point.

    Parameters
    ----------
    mask : numpy.ndarray
        Bool, two-dimensional.
    """
    return _base64(np.ascontiguousarray(mask, dtype=np.uint8).tobytes())


def _deflate(quantised: np.ndarray) -> str:
    # Differences are small where the image is smooth, and their high bytes nearly all zero.
    differences = np.diff(quantised, axis=1, prepend=np.uint16(0))
    high, low = differences >> 8, differences & 255
    return _base64(np.stack([high, low]).astype(np.uint8).tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")
