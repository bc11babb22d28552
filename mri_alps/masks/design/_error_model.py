"""From posterior samples to `LineErrors`: covariances along and across the image's phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.masks.design._covariance import HALO
from mri_alps.masks.design.expected_error import LineErrors

PHASE_DOUBT = 0.3
"""Share of details that is expected across the phase of an image, beside what was found: scanners'
phases are rougher than simulated ones, and a one-sided mask stakes everything on a smooth one."""
SMOOTHING = 5
"""Frequencies over which the power of errors is smoothed."""
ROW_GROUPS = 8
"""Groups of rows of an image, each with one covariance."""
VIRTUAL_COILS = 5
"""A row's coils are compressed to at most so many: more see the same."""
_ROUNDING = 1e-6  # of the largest value: samples that differ by less do not
_FLOOR = 1e-6  # of the largest local variance: what counts as no variance at all


class Deviations(NamedTuple):
    """Samples of the error of a posterior mean, along and across the phase of that mean.

    `parts` is real (n, H, 2 W), real parts first, of unit weight each: their mean square is the
    variance. `phase` is complex (H, W), of modulus 1.
    """

    parts: torch.Tensor
    phase: torch.Tensor

    @classmethod
    def of(cls, samples: torch.Tensor) -> Deviations:
        """Take the mean and its phase out of samples.

        Parameters
        ----------
        samples : torch.Tensor
            Complex (n, H, W), n at least 2.

        Raises
        ------
        ConfigurationError
            If there are fewer than two samples, or they do not differ.
        """
        n = len(samples)
        if n < 2:
            raise ConfigurationError(
                f"a covariance needs at least 2 samples, found {n}: raise n_samples"
            )
        mean = samples.to(torch.complex128).mean(0)
        phase = torch.where(mean.abs() > 0, mean / mean.abs().clamp_min(1e-300), 1.0)
        found = _parts(samples - mean, phase) / (1 - 1 / n) ** 0.5
        if float(found.abs().max()) <= _ROUNDING * float(mean.abs().max()):
            raise ConfigurationError(
                "the posterior samples do not differ, so no line would tell anything: check the "
                "prior and the noise level"
            )
        return cls(found, phase)

    def calibrated(self, ratios: torch.Tensor, error: torch.Tensor | None) -> Deviations:
        """Return deviations with the spectrum that actual errors have.

        Parameters
        ----------
        ratios : torch.Tensor
            Real (2, W): by which the power of real and imaginary parts is multiplied at every
            frequency along the phase encode, from `spectral_ratios`.
        error : torch.Tensor, optional
            Complex (H, W), of this scan: one more deviation, where it is known.
        """
        width = self.phase.shape[-1]
        roots = ratios.sqrt().to(torch.complex128)
        filtered = [
            ifftc(root * fftc(part.to(torch.complex128), dim=-1), dim=-1).real
            for root, part in zip(roots, self.parts.split(width, -1), strict=True)
        ]
        parts = torch.cat(filtered, -1)
        if error is not None:
            parts = torch.cat([parts, _parts(error, self.phase)[None]])
        return Deviations(parts, self.phase)

    def power(self, error: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean power of real and imaginary parts along the phase encode, (2, W).

        Parameters
        ----------
        error : torch.Tensor, optional
            Complex (H, W): its power instead.
        """
        parts = self.parts if error is None else _parts(error, self.phase)[None]
        halves = torch.stack(parts.split(self.phase.shape[-1], -1)).to(torch.complex128)
        return fftc(halves, dim=-1).abs().square().mean((1, 2))


def _parts(difference: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    turned = difference * phase.conj()
    return torch.cat([turned.real, turned.imag], -1).double()


def spectral_ratios(
    expected: Sequence[torch.Tensor], actual: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return actual over expected power at every frequency along the phase encode, (2, W).

    Samples of a learned posterior are too smooth where little was measured: they differ less than
    they err, and least at high frequencies, so one factor for all would send a design to the low
    ones. Spectra are summed over scans and made even, the logarithm of their ratio is smoothed over
    `SMOOTHING` frequencies.

    Parameters
    ----------
    expected, actual : sequence of torch.Tensor
        (2, W) of every scan.
    """

    above, below = (torch.stack(list(powers)).sum(0) for powers in (actual, expected))
    width = above.shape[-1]
    above, below = (
        power + torch.roll(power.flip(-1), 1 - width % 2, -1) for power in (above, below)
    )
    ratios = above / below.clamp_min(_FLOOR * float(below.max()))
    reach = min(SMOOTHING // 2, width // 2)
    logarithms = ratios.clamp_min(_FLOOR).log()
    near = [torch.roll(logarithms, shift, -1) for shift in range(-reach, reach + 1)]
    return torch.stack(near).mean(0).exp()


def line_errors(
    deviations: Deviations,
    maps: torch.Tensor,
    noise_std: float,
    weight: torch.Tensor,
    contrast: torch.Tensor | None = None,
    phase_doubt: float = PHASE_DOUBT,
) -> LineErrors:
    """Return what lines would lower the error by, judged by samples of it.

    Parameters
    ----------
    deviations : Deviations
        Of the posterior mean; lines run along H.
    maps : torch.Tensor
        Complex (coils, H, W), whitened sensitivities.
    noise_std : float
        Per real component.
    weight : torch.Tensor
        Real (H, W): what an error of the magnitude is multiplied by before it is squared; 0
        outside the object.
    contrast : torch.Tensor, optional
        Real (H, W): the error of the sum of the magnitude times this counts, row by row, instead
        of that of every pixel.
    phase_doubt : float
        Share of the covariance along the phase that is added across it.
    """
    parts, phase = deviations
    height = len(phase)
    size = -(-height // ROW_GROUPS)
    floor = _ROUNDING * float(parts.abs().max())
    starts = [
        start
        for start in range(0, height, size)
        if float(parts[:, start : start + size].abs().max()) > floor
    ]
    windows = [parts[:, max(start - HALO, 0) : start + size + HALO] for start in starts]
    middles = [min(start + size // 2, height - 1) for start in starts]
    virtual = [_virtual_coils(maps[:, row].to(phase.dtype) * phase[row]) for row in middles]
    weight = weight.double()
    counted = [
        _squares(weight[start : start + size])
        if contrast is None
        else _contrasts((contrast * weight)[start : start + size])
        for start in starts
    ]
    if contrast is not None:  # the last group may have fewer rows
        most = max(columns.shape[1] for columns in counted)
        pad = torch.nn.functional.pad
        counted = [pad(columns, (0, most - columns.shape[1])) for columns in counted]
    covariances, width = shrunk_covariances(windows), phase.shape[-1]
    covariances[:, width:, width:] += phase_doubt * covariances[:, :width, :width]
    return LineErrors(covariances, torch.stack(virtual, 1), noise_std, torch.stack(counted))


def _squares(weight: torch.Tensor) -> torch.Tensor:
    """What the squared error of each pixel of a row counts, summed over the group."""
    square = weight.square().sum(0)
    return torch.cat([square, torch.zeros_like(square)])


def _contrasts(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, torch.zeros_like(rows)], 1).mT


def _virtual_coils(maps: torch.Tensor) -> torch.Tensor:
    """Compress the coils (coils, W) of a row by a singular value decomposition."""
    _, values, vectors = torch.linalg.svd(maps, full_matrices=False)
    count = min(VIRTUAL_COILS, len(values))
    return values[:count, None] * vectors[:count]


def shrunk_covariances(windows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Estimate the covariance of every group of rows, shrunk towards a smooth model.

    As `estimate_row_covariances`, but of real and imaginary parts: the model has a stationary
    correlation for each of the two, with the mean spectrum of all rows, and none between them.

    Parameters
    ----------
    windows : sequence of torch.Tensor
        Real (n, rows, 2 W) each: deviations, real parts first.

    Returns
    -------
    torch.Tensor
        Real (groups, 2 W, 2 W).
    """
    n = len(windows[0])
    local = torch.stack([window.square().mean((0, 1)) for window in windows])
    correlation = _stationary(windows, local)
    sampled, models, scatter = [], [], 0.0
    for window, variance in zip(windows, local, strict=True):
        pooled = window.flatten(0, 1)
        covariance = pooled.mT @ pooled / len(pooled)
        own = (window @ window.mT).square().sum((1, 2)) / window.shape[1] ** 2
        total = float(own.sum()) - n * float(covariance.square().sum())
        scatter += max(total, 0.0) / (n * (n - 1))
        root = variance.sqrt()
        sampled.append(covariance)
        models.append(root[:, None] * correlation * root)
    found, model = torch.stack(sampled), torch.stack(models)
    distance = float((found - model).square().sum())
    shrinkage = min(1.0, scatter / distance) if distance > 0 else 0.0
    return torch.lerp(found, model, shrinkage)


def _stationary(windows: Sequence[torch.Tensor], local: torch.Tensor) -> torch.Tensor:
    """Correlations of deviations over their local standard deviation, (2 W, 2 W)."""
    width = local.shape[1] // 2
    floor = _FLOOR * local.max()
    blocks = []
    for part in (slice(0, width), slice(width, 2 * width)):
        power = torch.zeros(width, dtype=local.dtype)
        for window, variance in zip(windows, local[:, part], strict=True):
            scale = torch.where(variance > floor, variance.clamp_min(floor).rsqrt(), 0)
            spectrum = fftc((window[..., part] * scale).to(torch.complex128), dim=-1)
            power += spectrum.abs().square().mean((0, 1))
        if float(power.max()) <= 0:
            blocks.append(torch.eye(width, dtype=local.dtype))
            continue
        # real deviations: the spectrum is even, to rounding
        mirrored = torch.roll(power.flip(0), 1 - width % 2)
        power = (power + mirrored) / (power + mirrored).mean()
        basis = torch.eye(width, dtype=torch.complex128)
        blocks.append(ifftc(power * fftc(basis, dim=-1), dim=-1).mT.real)
    return torch.block_diag(*blocks)
