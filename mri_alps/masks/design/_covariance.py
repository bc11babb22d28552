"""Posterior covariances of image rows from few samples."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.masks.design.information import RowInformation

ROW_GROUP = 4
"""Neighbouring rows that are taken to have one covariance."""
HALO = 2
"""Rows on either side of a group that help to estimate it."""
_FLOOR = 1e-6  # of the largest local variance: what counts as no variance at all


class RowCovariances(NamedTuple):
    """Covariances of groups of rows along the phase encode.

    `covariances` is complex (groups, W, W) per real component; `rows` names the row in the
    middle of each group and `weights` counts its rows; `shrinkage` is the part that was taken
    from the model instead of from the samples.
    """

    covariances: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor
    shrinkage: float


def row_information(
    samples: torch.Tensor,
    maps: torch.Tensor,
    noise_std: float,
    group: int = ROW_GROUP,
    halo: int = HALO,
) -> RowInformation:
    """Return what lines would tell, judged by posterior samples.

    Parameters
    ----------
    samples : torch.Tensor
        Complex (n, H, W), lines run along H.
    maps : torch.Tensor
        Complex (coils, H, W), whitened sensitivities.
    noise_std : float
        Per real component.
    group, halo : int
        As `estimate_row_covariances` has them.
    """
    found = estimate_row_covariances(samples, group, halo)
    return RowInformation(found.covariances, maps[:, found.rows], noise_std, found.weights)


def estimate_row_covariances(
    samples: torch.Tensor, group: int = ROW_GROUP, halo: int = HALO
) -> RowCovariances:
    """Estimate the covariance of every group of rows, shrunk towards a smooth model.

    The sample covariance of n samples has rank n - 1, far less than a row has pixels. It is
    pooled over neighbouring rows, and mixed with the model D^(1/2) G D^(1/2): D the pooled
    variance of every pixel, G the stationary correlation whose spectrum is the mean over all
    rows. The mixing weight is Ledoit and Wolf's (2004), their expected squared error of the
    sample covariance over its squared distance from the model, taken from the scatter between
    samples; it vanishes as samples become many.

    Parameters
    ----------
    samples : torch.Tensor
        Complex (n, H, W), n at least 2.
    group : int
        Rows of a group.
    halo : int
        Further rows on either side that are pooled.

    Returns
    -------
    RowCovariances
        Groups without any variance, outside the support of the maps, are left out.

    Raises
    ------
    ConfigurationError
        If there are fewer than two samples, or they do not differ.
    """
    n, height = samples.shape[:2]
    if n < 2:
        raise ConfigurationError(
            f"a covariance needs at least 2 samples, found {n}: raise n_samples"
        )
    # per real component, unbiased; row groups see (n, rows, W) of it
    deviation = (samples - samples.mean(0)) / (2 * (1 - 1 / n)) ** 0.5
    starts = range(0, height, group)
    parts = [deviation[:, max(s - halo, 0) : s + group + halo] for s in starts]
    local = torch.stack([part.abs().square().mean((0, 1)) for part in parts])
    floor = _FLOOR * local.max()
    if not bool(floor > 0):
        raise ConfigurationError(
            "the posterior samples do not differ, so no line would tell anything: check the "
            "prior and the noise level"
        )
    spectrum = _mean_spectrum(parts, local, floor)
    kept, dense, models, scatter = [], [], [], 0.0
    for position, (start, part) in enumerate(zip(starts, parts, strict=True)):
        if not bool(local[position].max() > floor):
            continue
        pooled = part.flatten(0, 1)
        covariance = pooled.mT @ pooled.conj() / len(pooled)
        scatter += _scatter(part, covariance)
        root = local[position].clamp_min(0).sqrt()
        basis = torch.diag(root).to(samples.dtype)
        models.append(root[:, None] * ifftc(spectrum * fftc(basis, dim=-1), dim=-1).mT)
        dense.append(covariance)
        kept.append((min(start + group // 2, height - 1), min(group, height - start)))
    sampled, model = torch.stack(dense), torch.stack(models)
    distance = float((sampled - model).abs().square().sum())
    shrinkage = min(1.0, scatter / distance) if distance > 0 else 0.0
    rows, weights = (torch.tensor(column) for column in zip(*kept, strict=True))
    return RowCovariances(torch.lerp(sampled, model, shrinkage), rows, weights, shrinkage)


def _mean_spectrum(
    parts: list[torch.Tensor], local: torch.Tensor, floor: torch.Tensor
) -> torch.Tensor:
    """Spectrum of deviations divided by their local standard deviation, mean 1, (W,)."""
    power = torch.zeros(local.shape[1], dtype=local.dtype, device=local.device)
    for part, variance in zip(parts, local, strict=True):
        scale = torch.where(variance > floor, variance.clamp_min(floor).rsqrt(), 0)
        power += fftc(part * scale, dim=-1).abs().square().mean((0, 1))
    return power / power.mean()


def _scatter(part: torch.Tensor, covariance: torch.Tensor) -> float:
    """Expected squared error of a pooled covariance, from how much samples differ in theirs."""
    n, n_rows = part.shape[:2]
    own = (part @ part.mH).abs().square().sum((1, 2)) / n_rows**2  # |M_s|^2, through the rows
    total = float(own.sum()) - n * float(covariance.abs().square().sum())
    return max(total, 0.0) / (n * (n - 1))
