"""What a sampling pattern does by itself, whatever the image: side lobes, noise amplification."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.core.solvers import conjugate_gradient
from mri_alps.operators import SenseOperator

MOST_ROWS = 64
N_REPLICAS = 8
N_ITERATIONS = 30
SMOOTHING = 5
SEED = 3


def side_lobe(mask: np.ndarray) -> float:
    """Return the largest side lobe of the point-spread function, relative to its peak.

    The main lobe, which the fully sampled centre makes wide, reaches along each axis to the first
    minimum and is not counted. 0 for full sampling.

    Parameters
    ----------
    mask : numpy.ndarray
        bool (1, W) or (H, W), True where measured.
    """
    spread = np.abs(np.fft.ifft2(np.fft.ifftshift(mask)))
    spread /= spread[0, 0]
    spread[spread < 1e-9] = 0  # rounding must not count as a minimum's neighbour
    rows, columns = _main_lobe(spread[:, 0]), _main_lobe(spread[0])
    outside = spread.copy()
    outside[np.ix_(rows, columns)] = 0
    return float(outside.max())


def _main_lobe(profile: np.ndarray) -> np.ndarray:
    """Return the indices of the main lobe around 0 of a periodic, symmetric profile."""
    half = profile[: len(profile) // 2 + 1]
    rising = np.flatnonzero(np.diff(half) >= 0)
    reach = int(rising[0]) if len(rising) else len(half) - 1
    return np.arange(-reach, reach + 1)


def noise_amplification(
    sensitivity_maps: torch.Tensor, mask: torch.Tensor, noise_std: float
) -> float:
    """Return the largest g-factor of a mask, bounded by what the image can be at all.

    sqrt([(A^H A + noise_std^2)^-1]_pp [A^H A]_pp), the largest over the pixels. Where the
    equations determine the image this is the g-factor of SENSE (Pruessmann et al., Magn Reson
    Med 42:952, 1999); where they do not, and it would be infinite, the small term, a white
    prior of the image's own size, bounds it by sqrt(1/R) / noise_std at acceleration R.

    Parameters
    ----------
    sensitivity_maps : torch.Tensor
        Complex (coils, H, W) of white coils.
    mask : torch.Tensor
        bool (W,) for lines: exact, on at most 64 rows. Or (H, W): from noise replicas, averaged
        over 5 x 5 pixels, some percent accurate.
    noise_std : float
        Relative to the image.

    Notes
    -----
    Of a pixel outside all maps nothing is known, and it does not count.
    """
    if mask.ndim == 1:
        return _line_amplification(sensitivity_maps, mask, noise_std)
    return _point_amplification(sensitivity_maps, mask, noise_std)


def _line_amplification(maps: torch.Tensor, mask: torch.Tensor, noise_std: float) -> float:
    height, width = maps.shape[-2:]
    rows = np.unique(np.linspace(0, height - 1, min(height, MOST_ROWS)).round().astype(int))
    chosen = maps[:, rows].to(torch.complex128)
    unit = torch.eye(width, dtype=torch.complex128, device=maps.device)[:, None]
    # on images of one row the 2-D transform is the one along the line
    spread = ifftc(mask.to(maps.device) * fftc(unit))[:, 0].T
    largest = 0.0
    for row in range(len(rows)):  # one after the other: a matrix of W x W each
        line = chosen[:, row]
        normal = spread * (line.conj().T @ line)
        weight = normal.diagonal().real
        factor = torch.linalg.cholesky(normal + noise_std**2 * unit[:, 0])
        variance = torch.cholesky_inverse(factor).diagonal().real
        largest = max(largest, float((variance * weight).clamp_min(0).sqrt().max()))
    return largest


def _point_amplification(maps: torch.Tensor, mask: torch.Tensor, noise_std: float) -> float:
    operator = SenseOperator(maps, mask)
    generator = torch.Generator().manual_seed(SEED)
    noise = standard_normal((N_REPLICAS, *maps.shape), generator, maps.dtype).to(maps.device)
    image = standard_normal((N_REPLICAS, *maps.shape[1:]), generator, maps.dtype).to(maps.device)
    # The covariance of this right-hand side is the matrix itself, so that of the solution is the
    # inverse: its diagonal is what is asked for.
    right = operator.adjoint(noise) + noise_std * image
    solution = conjugate_gradient(
        lambda x: operator.normal(x) + noise_std**2 * x, right, N_ITERATIONS
    )
    support = (maps.abs().sum(0) > 0).double().cpu().numpy()
    variance = solution.abs().square().mean(0).double().cpu().numpy() / 2 * support
    weight = maps.abs().square().sum(0).double().cpu().numpy() * float(mask.double().mean())
    count = ndimage.uniform_filter(support, SMOOTHING, mode="constant")
    smooth = ndimage.uniform_filter(variance, SMOOTHING, mode="constant") / np.maximum(count, 1e-9)
    inside = support * (count > 0.5)
    return float(np.sqrt((smooth * weight * inside).max()))
