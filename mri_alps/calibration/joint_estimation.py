"""Image and sensitivity maps from all measured samples together, where calibration lines are few.

ESPIRiT's kernels need a fully sampled centre of some size. The regularised nonlinear inversion of
Uecker et al. (Magn Reson Med 60:674, 2008) does with a few lines: k-space is P F (rho c_j) with an
image rho and maps c_j that are smooth, which is said by a Sobolev norm of their k-space,
|(1 + |k|^2 / w^2)^16 c_j(k)|^2. The equations are solved by Gauss-Newton steps whose regularisation
is halved each time; each is linear, solved by conjugate gradients.

The image's prior variance is the squared magnitude of the last solution, smoothed, so that an image
with ghosts in the air costs more than one without (reweighted least squares: Gorodnitsky and Rao,
IEEE Trans Signal Process 45:600, 1997). Maps are smooth, so that a grid of a few dozen central
samples will do. What comes out is the centre of k-space of all coils, of which ESPIRiT makes maps
as if it had been measured.

Without any fully sampled line the solution is not unique: where every second line is measured,
image and maps may exchange parts with what folds onto them, and the data are the same. Such scans
are not given to it: a start in the middle of the view finds the maps of a narrow object, but loses
15 dB on real heads without a trace in the data (`benchmarks/study_no_calibration.py`).
"""

from __future__ import annotations

import math

import torch

from mri_alps.calibration.sensitivity import MAXIMUM_REGION
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, multiply_spectrum, ortho_fft, ortho_ifft, shift, unshift
from mri_alps.core.solvers import conjugate_gradient

COIL_WIDTH = 9.0
"""Width w of a coil's k-space, in samples."""
WINDOW_FLOOR = 0.02
"""Standard deviation of the image in the air, relative to the object's."""
_ORDER, _NORM = 16, 100.0  # of the Sobolev norm; of the data that regularisation of 1 is meant for
_GRID, _ROUNDS, _STEPS, _ITERATIONS = 48, 3, 12, 30
_BLUR = 1 / 48  # of the window, in fields of view


class _Product:
    """The model P F (rho c_j) at a point, its derivative and the adjoint of that.

    Everything is in the order of torch.fft, see `unshift`.
    """

    def __init__(self, mask: torch.Tensor, width: float, window: torch.Tensor):
        self.mask, self.window = mask.to(window.dtype), window
        y, x = (torch.fft.fftfreq(n, 1 / n, device=mask.device) for n in mask.shape)
        distance = (y[:, None].square() + x.square()) / width**2
        self.weight = ((1 + distance) ** -_ORDER).to(window.dtype)

    def at(self, unknowns: torch.Tensor) -> torch.Tensor:
        self.image, self.maps = self.window * unknowns[0], ortho_ifft(self.weight * unknowns[1:])
        return self.mask * ortho_fft(self.image * self.maps)

    def derivative(self, change: torch.Tensor) -> torch.Tensor:
        maps = ortho_ifft(self.weight * change[1:])
        return self.mask * ortho_fft(self.image * maps + self.window * change[0] * self.maps)

    def adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        images = ortho_ifft(self.mask * residual)
        image = self.window * (self.maps.conj() * images).sum(0, keepdim=True)
        return torch.cat([image, self.weight * ortho_fft(self.image.conj() * images)])


def estimate_jointly(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    width: float,
    window: torch.Tensor,
    n_steps: int = _STEPS,
) -> torch.Tensor:
    """Coil images rho c_j that explain what was measured, with smooth c_j.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, h, w), any units; zero outside the mask.
    mask : torch.Tensor
        Bool (h, w).
    width : float
        Of a coil's k-space, w above, in samples.
    window : torch.Tensor
        Real (h, w): standard deviation of the image, relative.
    n_steps : int
        Gauss-Newton steps.

    Returns
    -------
    torch.Tensor
        Complex (coils, h, w), in the units of `kspace`, orthonormal transform.
    """
    model = _Product(unshift(mask), width, unshift(window))
    factor = _NORM / kspace.abs().square().sum().sqrt().clamp_min(1e-30)
    data = unshift(kspace * factor)
    unknowns = torch.zeros((1 + len(kspace), *mask.shape), dtype=data.dtype, device=data.device)
    unknowns[0] = 1
    start = unknowns.clone()
    for step in range(n_steps):
        alpha = 0.5**step
        target = model.adjoint(data - model.at(unknowns)) + alpha * (start - unknowns)

        def normal(change: torch.Tensor, alpha: float = alpha) -> torch.Tensor:
            return model.adjoint(model.derivative(change)) + alpha * change

        unknowns = unknowns + conjugate_gradient(normal, target, _ITERATIONS, n_axes=3)
    model.at(unknowns)
    return shift(model.image * model.maps / factor)


def complete_center(kspace: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Estimate the centre of k-space of all coils from all samples near it.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex (coils, H, W), zero outside the mask.
    mask : torch.Tensor
        Bool (H, W), with a few fully sampled lines in the middle.

    Returns
    -------
    torch.Tensor
        Complex (coils, 32, 32) or less, DC at N // 2; what was measured is as it was.
    """
    size = (min(_GRID, mask.shape[0]), min(_GRID, mask.shape[1]))
    data, measured = center_crop(kspace, size).contiguous(), center_crop(mask, size)
    window = torch.ones(size, dtype=data.dtype.to_real(), device=data.device)
    for _ in range(_ROUNDS):
        images = estimate_jointly(data, measured, COIL_WIDTH, window)
        window = smooth_window(images)
    completed = torch.where(measured, data, fftc(images))
    return center_crop(completed, (min(MAXIMUM_REGION, size[0]), min(MAXIMUM_REGION, size[1])))


def smooth_window(images: torch.Tensor) -> torch.Tensor:
    """Smoothed magnitude of coil images, relative to its 99th percentile.

    Parameters
    ----------
    images : torch.Tensor
        Complex (coils, h, w), any units.

    Returns
    -------
    torch.Tensor
        Real (h, w), from `WINDOW_FLOOR` to 1.
    """
    magnitude = images.abs().square().sum(0).sqrt()
    y, x = (torch.fft.fftfreq(n, 1 / n, device=images.device) for n in magnitude.shape)
    gauss = torch.exp(-2 * (math.pi * _BLUR) ** 2 * (y[:, None].square() + x.square()))
    smooth = multiply_spectrum(magnitude, gauss, (-2, -1))
    return (smooth / torch.quantile(smooth, 0.99).clamp_min(1e-30)).clamp(WINDOW_FLOOR, 1)
