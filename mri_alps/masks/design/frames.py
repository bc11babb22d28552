"""Masks for a film, whose frames share what they measured."""

from __future__ import annotations

import numpy as np


def interleaved(start: np.ndarray, forbidden: np.ndarray, budget: int, n_frames: int) -> np.ndarray:
    """Return lines at even distances, shifted from frame to frame: what films commonly measure.

    As in k-t sampling (Tsao, Boesiger and Pruessmann, Magn. Reson. Med. 50, 2003): each frame is
    regular, and a window of all frames covers as much as there are lines for.

    Parameters
    ----------
    start, forbidden : numpy.ndarray
        bool (frames W,), frame by frame: measured in any case, never to be measured.
    budget : int
        Lines of each frame.
    n_frames : int
        Frames.

    Returns
    -------
    numpy.ndarray
        bool (frames W,), `budget` in each frame.
    """
    mask = start.copy().reshape(n_frames, -1)
    for frame, (own, closed) in enumerate(zip(mask, forbidden.reshape(mask.shape), strict=True)):
        free = np.flatnonzero(~own & ~closed)
        picks = budget - int(own.sum())
        # frames take turns in an order that leaves no sweep: 0, 1, 2 of 4 would look like motion
        shift = (frame * _coprime(n_frames)) % n_frames / n_frames
        own[free[((np.arange(picks) + shift) * len(free) / max(picks, 1)).astype(int)]] = True
    return mask.ravel()


def _coprime(n: int) -> int:
    """The number nearest to n over the golden ratio that shares no factor with n."""
    wanted = n * 0.618
    return min((k for k in range(1, n + 1) if np.gcd(k, n) == 1), key=lambda k: abs(k - wanted))
