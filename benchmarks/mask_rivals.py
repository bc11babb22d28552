"""What designed masks are compared with: as many lines, drawn anew for every scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mri_alps.core.crop import center_range
from mri_alps.core.random import stream_seed
from mri_alps.masks import make_mask
from mri_alps.rawdata import RawKSpace, read_raw

KINDS = (
    *("random", "equispaced", "equispaced-offset", "poisson-lines", "gaussian", "polynomial"),
    "partial-fourier",
)
LEARNED = "learned-density"
CENTER = 8  # fully sampled lines of every mask: what sensitivity maps need


def budget_of(raw: RawKSpace, acceleration: int) -> int:
    """Lines in all."""
    return round(raw.shape[1] / acceleration)


def rival(kind: str, raw: RawKSpace, acceleration: int) -> np.ndarray:
    """A mask of this kind with exactly the budget: of the draws, the first that has it.

    Where none has, as with offsets that are whole numbers, the nearest that has more, without
    its outermost lines.
    """
    width, budget = raw.shape[1], budget_of(raw, acceleration)
    start = stream_seed(7, *map(ord, raw.path.name)) % 2**20
    larger = []
    for stretch in sorted(np.linspace(0.6, 1.6, 21).tolist(), key=lambda value: abs(value - 1)):
        for seed in range(start, start + 30):
            mask = make_mask(kind, raw.shape, acceleration * stretch, CENTER / width, seed)
            if mask.sum() == budget:
                return mask
            if mask.sum() > budget:
                larger.append(mask)
    mask = min(larger, key=lambda mask: int(mask.sum()))
    lines = np.flatnonzero(mask[0])
    outermost = lines[np.argsort(-np.abs(lines - width // 2), kind="stable")]
    mask[0, outermost[: int(mask.sum()) - budget]] = False
    return mask


def learned_density(scans: Sequence[Path]) -> np.ndarray:
    """Density of lines fitted to scans: the root of the mean power of each, sum 1.

    What minimises the expected squared error of lines that are drawn independently, each worth
    its power over its probability: LOUPE's factorised mask for a linear reconstruction.
    """
    powers = []
    for path in scans:
        line = np.square(np.abs(read_raw(path).read_slice(0))).sum((0, 1))
        powers.append(line / line.sum())
    root = np.sqrt(np.mean(powers, axis=0))
    return root / root.sum()


def drawn_from(density: np.ndarray, raw: RawKSpace, acceleration: int) -> np.ndarray:
    """Draw lines outside the centre without replacement with this density."""
    width = raw.shape[1]
    mask = np.zeros((1, width), dtype=bool)
    mask[:, center_range(width, CENTER)] = True
    rng = np.random.default_rng(stream_seed(8, *map(ord, raw.path.name)))
    rest = np.flatnonzero(~mask[0])
    probability = density[rest] / density[rest].sum()
    count = budget_of(raw, acceleration) - CENTER
    mask[0, rng.choice(rest, count, replace=False, p=probability)] = True
    return mask
