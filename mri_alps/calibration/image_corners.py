"""Noise seen in an image: the tiles at its border that hold nothing but noise.

A filter of k-space, or zeros filled in, makes the periphery of k-space quieter than its centre, but
leaves noise as loud everywhere in the image. Signal is the other way round: it falls off away from
the object. So tiles of one level are noise, and a band of k-space at a time shows its spectrum.
Where an object fills the view no tile is without it; but it is smooth, and its pixels are related
over distances at which noise is not, filtered or white.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mri_alps.calibration.noise import noise_covariance
from mri_alps.calibration.noise_estimate import NoiseEstimate, usable_positions
from mri_alps.core.crop import center_range
from mri_alps.rawdata import readout_to_image

LEAST_POINTS = 32
"""Fully sampled points along the readout that make an image with a border."""
LEAST_LINES = 4
"""Fully sampled lines that are looked at."""
FEW_LINES = 16
"""Lines below which an image has no border along the phase encode: objects are as wide as that."""
TILES = 12
"""Tiles of an image along each axis, where it has 4 pixels for each of them."""
LEAST_TILES = 4
"""Tiles of one level that signal does not have by chance; two edges where there are few lines."""
TILE_EXCESS = 1.1
"""Level (standard deviation) of a tile over the quietest one's up to which it is taken, beside the
scatter."""
WIDENING = 1.5
"""Pixels over independent ones along an axis, which windows make alike."""
TAPER = 0.25
"""Part of k-space at either edge that is faded out, lest the object ring into the corners."""
SHORT = 64
"""Lines up to which all of k-space is faded out, as in a Hann window: rings are wide."""
DISTANCE = 4
"""Pixels apart at which neither filters of k-space nor windows relate noise."""
LEAST_INDEPENDENT = 12
"""Pairs of pixels from which such a correlation is looked at."""
COHERENCE = 0.05
"""Squared correlation at that distance, beside chance, from which tiles hold signal: a fifth of
their energy, or a level that is a tenth too large."""
CORNERS = "image corners"
CENTRE_CORNERS = "image corners at the centre of k-space"
LEAST_CENTRE = 32
"""Lines of the centre of k-space whose noise is looked at for itself."""


def corner_estimates(
    kspace: np.ndarray, measured: np.ndarray, readout_crop: int | None
) -> list[NoiseEstimate]:
    """Estimate noise from the border of the image of the fully sampled centre of k-space.

    Parameters
    ----------
    kspace : numpy.ndarray
        Complex (coils, readout, phase_encode).
    measured : numpy.ndarray
        bool (readout, phase_encode).
    readout_crop : int or None
        Readout size of the final image, see `estimate_noise`.

    Returns
    -------
    list of NoiseEstimate
        Of the whole block, and of its centre where it is smaller: the level near the centre of
        k-space. Empty where no block is large enough.
    """
    block = _full_block(measured)
    if block is None:
        return []
    part = kspace[:, block[0], block[1]]
    shape = (part.shape[1], part.shape[2])
    centre = (max(LEAST_CENTRE, shape[0] // 4), max(LEAST_CENTRE, shape[1] // 4))
    centre = (min(centre[0], shape[0]), min(centre[1], shape[1]))
    inside = 1.0 if readout_crop is None else min(1.0, readout_crop / kspace.shape[1])
    tapers = [0.5 if n <= SHORT else TAPER for n in shape]
    found = [_from_tiles(part, inside, tapers, CORNERS)]
    if centre != shape:
        inner = part[:, center_range(shape[0], centre[0]), center_range(shape[1], centre[1])]
        found.append(_from_tiles(inner, inside, [0.5, 0.5], CENTRE_CORNERS))
    if found[0] is not None and found[0].signal_ratio == math.inf and found[-1] is not None:
        found[-1] = dataclasses.replace(found[-1], signal_ratio=math.inf)  # it blurs more
    return [estimate for estimate in found if estimate is not None]


def _full_block(measured: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns of the largest fully sampled rectangle about the centre of k-space."""
    rows = _run(measured[:, measured.shape[1] // 2], LEAST_POINTS)
    if rows is None:
        return None
    columns = _run(np.asarray(measured[rows].all(axis=0)), LEAST_LINES)
    return None if columns is None else (rows, columns)


def _run(flags: np.ndarray, least: int) -> slice | None:
    """The run of true values about the middle, as far to the left as to the right."""
    middle = flags.size // 2
    missing = np.flatnonzero(~flags)
    left = missing[missing <= middle].max(initial=-1) + 1
    right = missing[missing >= middle].min(initial=flags.size)
    reach = min(middle - left, right - middle)
    first, last = middle - reach, middle + reach
    if left == 0 and right == flags.size:
        first, last = 0, flags.size
    return slice(first, last) if last - first >= least else None


def _from_tiles(
    part: np.ndarray, inside: float, tapers: list[float], method: str
) -> NoiseEstimate | None:
    """Estimate from a block of k-space, `inside` of whose readout positions are in the image."""
    images = part
    for axis, taper in zip((1, 2), tapers, strict=True):
        window = _window(part.shape[axis], taper)
        images = readout_to_image(images * (window[:, None] if axis == 1 else window), axis)
    crop = round(inside * part.shape[1])
    images = images[:, usable_positions(part.shape[1], crop if inside < 1 else None)]
    n_coils, *shape = images.shape
    tiles = [min(TILES, max(2, n // 4)) for n in shape]
    if shape[1] < FEW_LINES:
        tiles[1] = 1
    sides = [n // count for n, count in zip(shape, tiles, strict=True)]
    if min(sides) < 2:
        return None
    cut = images[:, : tiles[0] * sides[0], : tiles[1] * sides[1]]
    cut = cut.reshape(n_coils, tiles[0], sides[0], tiles[1], sides[1]).transpose(0, 1, 3, 2, 4)
    row, column = np.nonzero(_border(*tiles))
    border = cut[:, row, column]  # (coils, tiles, rows, columns)
    energy = np.abs(border) ** 2
    tiny = np.finfo(np.float32).tiny
    reference = np.maximum(np.quantile(energy.mean(axis=(2, 3)), 0.1, axis=1), tiny)
    relative = energy / reference[:, None, None, None]
    level = np.sqrt(relative.mean(axis=(0, 2, 3)))
    n_tile = sides[0] * sides[1] / WIDENING**2
    scatter = 0.5 / np.sqrt(n_tile * max(1, n_coils // 2))
    keep = level <= level.min() * (TILE_EXCESS + 6 * scatter)
    n_samples = int(keep.sum() * n_tile)
    if n_samples < n_coils:
        return None
    ratio = _inner_over_outer(relative[:, keep], row[keep], column[keep], tiles)
    if keep.sum() < (LEAST_TILES if tiles[1] > 1 else 2):
        ratio = max(ratio, float(np.median(level) / level.min()) ** 2)
    taken = np.zeros((tiles[0], tiles[1]), bool)
    taken[row[keep], column[keep]] = True
    if _is_coherent(images, np.kron(taken, np.ones(sides, bool))):
        ratio = math.inf
    return NoiseEstimate(noise_covariance(border[:, keep]), method, n_samples, ratio)


def _is_coherent(images: np.ndarray, taken: np.ndarray) -> bool:
    """Whether pixels some distance apart, of those taken, are related in the mean of the coils."""
    n_coils = max(1, len(images) // 2)  # they share noise
    shape = taken.shape
    images = images[:, : shape[0], : shape[1]]
    for axis, n in enumerate(shape):
        near, far = [range(n - DISTANCE), range(DISTANCE, n)] if n > DISTANCE else [range(0)] * 2
        both = np.take(taken, near, axis) & np.take(taken, far, axis)
        first, last = (np.take(images, part, axis + 1)[:, both] for part in (near, far))
        n_independent = both.sum() / WIDENING**2
        if n_independent < LEAST_INDEPENDENT:
            continue
        energy = (np.abs(first) ** 2).sum(axis=1) * (np.abs(last) ** 2).sum(axis=1)
        product = np.abs((first.conj() * last).sum(axis=1)) ** 2
        alive = energy > 0
        found = float((product[alive] / energy[alive]).mean()) if alive.any() else 0.0
        # Squared correlations of noise scatter as much as they are large.
        if found > COHERENCE + (1 + 5 / math.sqrt(n_coils)) / n_independent:
            return True
    return False


def _window(n: int, taper: float) -> np.ndarray:
    """Window with cosine edges that changes neither the level of white noise nor the middle."""
    place = (np.arange(n) + 0.5) / n
    edge = np.minimum(np.minimum(place, 1 - place) / taper, 1)
    window = np.sin(np.pi / 2 * edge) ** 2
    return np.asarray(window / np.sqrt((window**2).mean()))


def _border(n_rows: int, n_columns: int) -> np.ndarray:
    border = np.ones((n_rows, n_columns), bool)
    border[1:-1, 1:-1] = False
    return border


def _inner_over_outer(
    energy: np.ndarray, row: np.ndarray, column: np.ndarray, tiles: list[int]
) -> float:
    """Energy of the pixels on the object's side of the tiles over that of the others."""
    inner = outer = 0.0
    for place, count, axis in ((row, tiles[0], 2), (column, tiles[1], 3)):
        if count == 1:
            continue
        half = energy.shape[axis] // 2
        first = np.take(energy, range(half), axis).mean(axis=(0, 2, 3))
        last = np.take(energy, range(energy.shape[axis] - half, energy.shape[axis]), axis)
        last = last.mean(axis=(0, 2, 3))
        low, high = place == 0, place == count - 1
        inner += float(last[low].sum() + first[high].sum())
        outer += float(first[low].sum() + last[high].sum())
    return inner / max(outer, float(np.finfo(np.float32).tiny))
