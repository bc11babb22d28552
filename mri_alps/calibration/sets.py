"""Several sets of sensitivity maps: where two places of the object share a pixel.

There the coils see a combination of two columns of sensitivities, and ESPIRiT's local operator has
two eigenvalues near 1 (Uecker et al., Magn Reson Med 71:990-1001, 2014). Its eigenvectors say which
combinations of coils carry signal, but not which of them is one place: any rotation of the sets
with the opposite rotation of their images explains the data as well. Here the first set is turned
to what the low-resolution coil images are, so that its image is the object with all of its slowly
varying signal, and nothing but detail is left to the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mri_alps.calibration._espirit import CHUNK_BYTES, local_matrices
from mri_alps.calibration.folding import FOLDED_EIGENVALUE
from mri_alps.calibration.scale import low_resolution_images
from mri_alps.calibration.sensitivity import CROP, find_bright, maps_of
from mri_alps.core.crop import center_crop, center_range
from mri_alps.core.fourier import ifftc
from mri_alps.core.magnitudes import root_sum_of_squares, unit_of

if TYPE_CHECKING:
    from mri_alps.calibration.sensitivity import LocalOperators

_SMALLEST_NORM = 0.1
"""Of what a given set has beside those before it, from which it counts."""
LACKING = 0.2
"""Part of the low-resolution signal of a pixel (norm) that given maps may leave."""
LARGEST_PART = 0.2
"""Part of the pixels with clear signal at which given maps are replaced; if they lack more they are
used as they are, and the misfit tells."""
POWER_RANGE = (1e-3, 10.0)
"""Power of a further image over that of the object that is believed of a calibration region."""


class MapSets(NamedTuple):
    """Sets of maps, and where there are several of them.

    Attributes
    ----------
    maps : torch.Tensor
        complex64 (sets, coils, H, W), orthogonal to each other at every pixel. The first is of unit
        norm inside the support. The norm of the others is at most 1 and falls to 0 where one set is
        enough.
    several : torch.Tensor
        bool (H, W), where a second one is not zero.
    """

    maps: torch.Tensor
    several: torch.Tensor


class Completion(NamedTuple):
    """What of maps from outside was replaced.

    Attributes
    ----------
    across : float
        Part of the low-resolution images, by its norm, that given maps did not have at the pixels
        where others took their place.
    part : float
        Of the pixels with clear signal, those where given maps lack a part of it, but for those
        where one set was given and several are needed.
    """

    across: float
    part: float


class _Frames(NamedTuple):
    """Combinations of coils that carry signal, at some pixels.

    Attributes
    ----------
    where : torch.Tensor
        bool (H, W).
    vectors : torch.Tensor
        complex64 (pixels, coils, n), orthonormal.
    weights : torch.Tensor
        float32 (pixels, n), 1 for the first.
    """

    where: torch.Tensor
    vectors: torch.Tensor
    weights: torch.Tensor


def estimate_sets(operators: LocalOperators, n_sets: int) -> MapSets:
    """Return the maps of local operators, of several sets.

    Parameters
    ----------
    operators : LocalOperators
        Of several coils.
    n_sets : int
        From 2 to the number of coils.
    """
    first = maps_of(operators)
    frames = _eigenvectors(operators, first, n_sets)
    empty = first.new_zeros(n_sets - 1, *first.shape)
    return _turned(torch.cat([first[None], empty]), frames, _images(operators, first))


def complete_sets(
    given: torch.Tensor, operators: LocalOperators, n_sets: int = 2
) -> tuple[MapSets, Completion]:
    """Turn sets of maps from outside, and take the local operators' own where they lack something.

    Their support stays as it is. `bart ecalib -m1` leaves such places: its map is the eigenvector
    of the largest eigenvalue, and where two are about as large that need not be the one that has
    the signal.

    Parameters
    ----------
    given : torch.Tensor
        complex64 (sets, coils, H, W) of the whitened coils, in any normalisation.
    operators : LocalOperators
        Of the same coils' calibration region.
    n_sets : int
        How many are wanted, up to the number of coils.

    Returns
    -------
    sets : MapSets
        As many as are wanted, or given, and two at least; those that were given where they are of
        something else.
    completion : Completion
        What was replaced.
    """
    own = maps_of(operators).to(given.device)
    n_sets = max(n_sets, len(given), 2)
    frames, images = _eigenvectors(operators, own, n_sets), _images(operators, own)
    empty = own.new_zeros(n_sets - len(given), *own.shape)
    basis = _orthonormal(torch.cat([given, empty]))
    is_given = basis.abs().sum(1) > 0  # (sets, H, W)
    power = images.abs().square().sum(0)
    left = (power - _along(basis, images).sum(0)).clamp_min(0)
    own_left = power - _along(own[None], images)[0]
    bright = torch.as_tensor(find_bright(power.sqrt().cpu().numpy()), device=given.device)
    limit = LACKING**2 * power
    # Where two places share a pixel the own second map is needed for that, too.
    wrong = bright & is_given[0] & (left > limit) & ((own_left < limit) | frames.where)
    # Of several that are needed one was given: it cannot have all, and is not wrong for that.
    strange = wrong & ~(frames.where & ~is_given[1])
    part = float(strange.sum() / bright.sum().clamp_min(1))
    if part > LARGEST_PART:  # these are maps of something else, which the misfit tells
        return orthonormal_sets(given), Completion(0.0, part)
    across = math.sqrt(float(left[wrong].sum()) / float(power.sum().clamp_min(1e-30)))
    basis[0] = torch.where(wrong, own, basis[0])
    where = frames.where & is_given[0]
    kept = is_given[0][frames.where]
    taken = (wrong | ~is_given[1])[where]
    vectors = basis[:, :, where].permute(2, 1, 0)  # (pixels, coils, sets)
    vectors = torch.where(taken[:, None, None], frames.vectors[kept], vectors)
    there = is_given[:, where].T | taken[:, None]
    basis[1:] = 0
    frames = _Frames(where, vectors, frames.weights[kept] * there)
    return _turned(basis, frames, images), Completion(across, part)


def orthonormal_sets(given: torch.Tensor) -> MapSets:
    """Return sets of maps from outside as they are, of unit norm, of which nothing more is known.

    Parameters
    ----------
    given : torch.Tensor
        complex64 (sets, coils, H, W), in any normalisation.
    """
    basis = _orthonormal(given)
    return MapSets(basis, basis[1:].abs().sum((0, 1)) > 0)


def turned_to_signal(given: torch.Tensor, operators: LocalOperators) -> torch.Tensor:
    """Return one set from outside, of unit norm, turned so that the low-resolution image is real.

    Parameters
    ----------
    given : torch.Tensor
        complex64 (coils, H, W) of the whitened coils, in any normalisation.
    operators : LocalOperators
        Of the same coils' calibration region.
    """
    maps = _orthonormal(given[None])
    nowhere = given.new_zeros(given.shape[1:], dtype=torch.bool)
    frames = _Frames(nowhere, given.new_zeros(0, len(given), 2), given.new_zeros(0, 2))
    return _turned(maps, frames, _images(operators, given)).maps[0]


def powers_of_sets(sets: MapSets, calibration_kspace: np.ndarray) -> tuple[float, ...]:
    """Return the power of further images over that of the first, as the calibration region has it.

    Of what the window of low-resolution images takes away, since further images have nothing else;
    per pixel at which they have maps, over that per pixel of the whole first image.

    Parameters
    ----------
    sets : MapSets
        With several sets.
    calibration_kspace : numpy.ndarray
        Complex (coils, readout, phase_encode), whitened: noise of 1 per real component.
    """
    maps = sets.maps.cpu()
    shape = (maps.shape[-2], maps.shape[-1])
    detail = _detail(calibration_kspace, shape)
    white = _detail(np.ones_like(calibration_kspace[:1]), shape)
    noise = 2 * float(white.abs().square().mean())
    along = _along(maps, detail)
    norms = maps.abs().square().sum(1)
    energies = (along - noise * norms).double().sum((1, 2))
    first = float(energies[0]) / math.prod(shape)
    found = energies[1:] / norms[1:].double().sum((1, 2)).clamp_min(1)
    low, high = POWER_RANGE
    return tuple(min(max(power / max(first, 1e-30), low), high) for power in found.tolist())


def _eigenvectors(operators: LocalOperators, first: torch.Tensor, n_sets: int) -> _Frames:
    """Eigenvectors at the pixels of the support whose second eigenvalue is above that of `CROP`."""
    lags, grid = operators.lags, operators.grid
    height, n_coils = operators.shape[0], lags.shape[-1]
    offset, columns = (center_range(*pair) for pair in zip(grid, operators.shape, strict=True))
    support = (first.abs().sum(0) > 0).to(lags.device)
    where = torch.zeros_like(support)
    vectors, weights = [], []
    budget = CHUNK_BYTES["cpu" if lags.device.type == "cpu" else "other"]
    chunk = max(1, budget // (8 * grid[1] * n_coils**2))
    for start in range(0, height, chunk):
        rows = slice(start, min(start + chunk, height))
        on_grid = slice(offset.start + rows.start, offset.start + rows.stop)
        local = local_matrices(lags, grid, on_grid).unflatten(0, (-1, grid[1]))[:, columns]
        local = local.flatten(0, 1)
        # The trace is no less than the sum of the first two eigenvalues, and no first one is far
        # below 1 inside of the support: few pixels are left to be decomposed.
        trace = local.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        kept = (support[rows].flatten() & (trace > 2 * CROP)).nonzero().flatten()
        values, found = torch.linalg.eigh(local[kept])
        values, found = values.flip(-1)[:, :n_sets], found.flip(-1)[:, :, :n_sets]
        several = values[:, 1] > CROP
        where[rows].view(-1)[kept[several]] = True
        weight = ((values - CROP) / (FOLDED_EIGENVALUE - CROP)).clamp(0, 1)
        weight[:, 0] = 1
        vectors.append(found[several])
        weights.append(weight[several])
    return _Frames(where, torch.cat(vectors), torch.cat(weights))


def _turned(maps: torch.Tensor, frames: _Frames, images: torch.Tensor) -> MapSets:
    """Turn sets so that the first has the low-resolution images, and give all smooth phases.

    `maps` has one set everywhere, `frames` has several where there are.
    """
    several, maps = frames.where, maps.clone()
    phase = (maps[0].conj() * images).sum(0)
    maps[0] = maps[0] * torch.polar(torch.ones_like(phase.real), phase.angle())
    if not bool(several.any()):
        return MapSets(maps, several)
    along = (frames.vectors.mH @ images[:, several].T[..., None])[..., 0] * frames.weights
    # A Householder matrix whose first column is parallel to `along`: the others complete it.
    along = along / along.norm(dim=-1, keepdim=True).clamp_min(1e-20)
    axis = along.clone()
    axis[:, 0] += torch.polar(torch.ones_like(along[:, 0].real), along[:, 0].angle())
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-20)
    turn = -2 * axis[:, :, None] * axis[:, None].conj()
    turn = turn + torch.eye(turn.shape[-1], dtype=turn.dtype, device=turn.device)
    turn[:, :, 0] = along
    vectors = _with_smooth_phases(frames.vectors @ turn, frames.weights)
    maps[:, :, several] = (vectors * frames.weights[:, None].sqrt()).permute(2, 1, 0)
    return MapSets(maps, several)


def _with_smooth_phases(vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Give further sets phases with which they vary as slowly as the first one does.

    A vector orthogonal to a turned one turns the other way, so its phase cannot be fixed by a
    combination of coils, to which it is orthogonal somewhere. The determinant of all vectors does
    not turn: that of their components in the combinations of coils that carry most is made real.
    """
    n_sets = vectors.shape[-1]
    weighted = vectors * weights[:, None]
    mean = torch.einsum("pcs,pds->cd", weighted, vectors.conj())
    basis = torch.linalg.eigh(mean)[1].flip(-1)[:, :n_sets]
    components = basis.mH @ vectors  # (pixels, n, n)
    columns = [vectors[:, :, 0]]
    before = torch.ones_like(components[:, 0, 0])
    for k in range(1, n_sets):
        minor = torch.linalg.det(components[:, : k + 1, : k + 1]) * before
        phase = torch.polar(torch.ones_like(minor.real), -minor.angle())
        columns.append(vectors[:, :, k] * phase[:, None])
        before = before * phase
    return torch.stack(columns, -1)


def _orthonormal(sets: torch.Tensor) -> torch.Tensor:
    """Gram-Schmidt over the sets at every pixel; a set with next to nothing of its own is zero."""
    found: list[torch.Tensor] = []
    for index, maps in enumerate(sets / unit_of(sets)):
        norm = root_sum_of_squares(maps)
        rest = torch.where(norm > 0, maps / norm.clamp_min(1e-20), 0)
        for other in found:
            rest = rest - other * (other.conj() * rest).sum(0)
        norm = rest.abs().square().sum(0).sqrt()
        enough = norm > (_SMALLEST_NORM if index else 0)
        found.append(torch.where(enough, rest / norm.clamp_min(1e-20), 0))
    return torch.stack(found)


def _detail(kspace: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """What the window of low-resolution images takes away."""
    padded = np.zeros((len(kspace), *shape), np.complex64)
    center_crop(padded, kspace.shape[-2:])[...] = kspace
    return ifftc(torch.from_numpy(padded)) - low_resolution_images(kspace, shape)


def _images(operators: LocalOperators, like: torch.Tensor) -> torch.Tensor:
    images = low_resolution_images(operators.block, operators.grid)
    return center_crop(images, operators.shape).to(like.device, like.dtype)


def _along(sets: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Power of images in each set, (sets, H, W)."""
    return (sets.conj() * images).sum(1).abs().square()
