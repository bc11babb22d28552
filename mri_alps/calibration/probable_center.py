"""A second estimate of image and sensitivity maps from few calibration lines, of other assumptions.

As `joint_estimation` it looks for an image and maps of which the measured samples are the products,
but for the most probable ones under Gaussian priors: an image whose power falls with frequency as
that of objects does, and maps with k-space of about `WIDTH` samples whose power has tails, where
the other has a flat image and maps without tails. The noise is what it was measured to be, and is
approached from far above it (Levenberg, Q Appl Math 2:164, 1944; Marquardt, J SIAM 11:431, 1963).

Where a few lines decide the maps both find the same. Where they do not, both explain the data and
are wrong in ways of their own, and their difference measures the error of such maps.
"""

from __future__ import annotations

import torch

from mri_alps.calibration.scale import low_resolution_images
from mri_alps.calibration.sensitivity import MAXIMUM_REGION
from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import ifftc, ortho_fft, ortho_ifft, shift, unshift
from mri_alps.core.solvers import conjugate_gradient

WIDTH = 5.0
"""Of a coil's k-space, in samples per field of view: its power is (1 + |k|^2 / WIDTH^2)^-8."""
_ORDER = 8
_KNEE, _EXPONENT, _FLOOR = 0.5, 2.5, 1e-4  # of the image's power, as in `maps_error`
_LEVELS = (1000, 300, 100, 30, 10, 3, 1)  # variance of the noise, over the measured one
_GRID, _STEPS, _ITERATIONS, _START = 48, 3, 60, 16
_DAMPING, _LARGEST_DAMPING = 0.1, 1e6


class _Model:
    """The samples P F (x c_j) of x = F^H root_x z and c_j = F^H root_c u_j, z and u_j white.

    Everything is in the order of torch.fft, see `unshift`.
    """

    def __init__(self, mask: torch.Tensor, n_coils: int, field_of_view: tuple[float, float]):
        y, x = (
            torch.fft.fftfreq(n, ratio / n, device=mask.device)
            for n, ratio in zip(mask.shape, field_of_view, strict=True)
        )
        distance = y[:, None].square() + x.square()
        coil = (1 + distance / WIDTH**2) ** -_ORDER
        image = 1 / (1 + (distance.sqrt() / _KNEE) ** _EXPONENT) + _FLOOR
        self.mask = mask.to(torch.float32)
        # Pixels of variance 1, and maps whose squares have the sum 1 over all coils.
        self.coil_root = (coil / coil.mean() / n_coils).sqrt()
        self.image_root = (image / image.mean()).sqrt()

    def at(self, unknowns: torch.Tensor) -> torch.Tensor:
        self.image = ortho_ifft(self.image_root * unknowns[:1])
        self.maps = ortho_ifft(self.coil_root * unknowns[1:])
        return self.mask * ortho_fft(self.image * self.maps)

    def derivative(self, change: torch.Tensor) -> torch.Tensor:
        image = ortho_ifft(self.image_root * change[:1])
        maps = ortho_ifft(self.coil_root * change[1:])
        return self.mask * ortho_fft(image * self.maps + self.image * maps)

    def adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        images = ortho_ifft(self.mask * residual)
        image = (self.maps.conj() * images).sum(0, keepdim=True)
        return torch.cat(
            [
                self.image_root * ortho_fft(image),
                self.coil_root * ortho_fft(self.image.conj() * images),
            ]
        )


def complete_probably(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    n_center: tuple[int, int],
    noise_std: float = 1.0,
    field_of_view: tuple[float, float] = (1.0, 1.0),
) -> torch.Tensor:
    """Estimate the centre of k-space of all coils from all samples near it.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex64 (coils, H, W), zero outside the mask.
    mask : torch.Tensor
        Bool (H, W), with a few fully sampled lines in the middle.
    n_center : tuple of int
        Extent of these, (readout, phase_encode).
    noise_std : float
        Per real component; 1 after whitening.
    field_of_view : tuple of float
        Over that of the image, where it was enlarged.

    Returns
    -------
    torch.Tensor
        Complex64 (coils, 32, 32) or less, DC at N // 2; what was measured is as it was.
    """
    size = (min(_GRID, mask.shape[0]), min(_GRID, mask.shape[1]))
    data, measured = center_crop(kspace, size).contiguous(), center_crop(mask, size)
    unit = torch.quantile(ifftc(data).abs().square().sum(0).sqrt(), 0.99).clamp_min(1e-30)
    model = _Model(unshift(measured), len(data), field_of_view)
    scaled, variance = unshift(data / unit), 2 * float(noise_std / unit) ** 2
    unknowns = _start(model, scaled, n_center, variance * _LEVELS[0])
    for level in _LEVELS:
        unknowns = _approach(model, unknowns, scaled, variance * level)
    model.at(unknowns)
    completed = torch.where(measured, data, shift(ortho_fft(model.image * model.maps)) * unit)
    return center_crop(completed, (min(MAXIMUM_REGION, size[0]), min(MAXIMUM_REGION, size[1])))


def _start(
    model: _Model, data: torch.Tensor, n_center: tuple[int, int], variance: float
) -> torch.Tensor:
    """Maps of the low-resolution images, in phase with what carries most, and their image."""
    block = center_crop(shift(data), (min(_START, n_center[0]), min(_START, n_center[1])))
    low = low_resolution_images(block.cpu().numpy(), (data.shape[1], data.shape[2]))
    low = unshift(low.to(data.device))
    flat = low.flatten(1)
    strongest = torch.linalg.eigh(flat @ flat.mH)[1][:, -1]
    combined = torch.tensordot(strongest.conj(), low, dims=1)
    magnitude = low.abs().square().sum(0).sqrt()
    maps = low / (magnitude + 0.05 * magnitude.max())
    spectrum = ortho_fft(maps * torch.polar(torch.ones_like(magnitude), -combined.angle()))
    root = model.coil_root
    unknowns = data.new_zeros((1 + len(data), *data.shape[1:]))
    unknowns[1:] = spectrum * root / (root.square() + (0.02 * root.max()) ** 2)
    model.at(unknowns)

    def normal(z: torch.Tensor) -> torch.Tensor:
        predicted = model.mask * ortho_fft(ortho_ifft(model.image_root * z) * model.maps)
        return model.adjoint(predicted)[:1] + variance * z

    unknowns[:1] = conjugate_gradient(normal, model.adjoint(data)[:1], _ITERATIONS, n_axes=3)
    return unknowns


def _approach(
    model: _Model, unknowns: torch.Tensor, data: torch.Tensor, variance: float
) -> torch.Tensor:
    """A few damped Gauss-Newton steps towards the most probable unknowns at a level of noise."""

    def cost(at: torch.Tensor) -> float:
        misfit = (data - model.at(at)).abs().square().sum() / variance
        return float(misfit + at.abs().square().sum())

    damping, least = _DAMPING, cost(unknowns)
    for _ in range(_STEPS):
        target = model.adjoint(data - model.at(unknowns)) - variance * unknowns
        while True:
            model.at(unknowns)
            weight = variance * (1 + damping)

            def normal(change: torch.Tensor, weight: float = weight) -> torch.Tensor:
                return model.adjoint(model.derivative(change)) + weight * change

            candidate = unknowns + conjugate_gradient(normal, target, _ITERATIONS, n_axes=3)
            found = cost(candidate)
            if found < least:
                unknowns, least, damping = candidate, found, damping / 4
                break
            damping *= 4
            if damping > _LARGEST_DAMPING:
                return unknowns
    return unknowns
