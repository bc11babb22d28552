"""A smooth change of sensitivity maps that makes an image explain all measured lines, few or many.

ESPIRiT sees the calibration region alone, and takes maps for periodic: where tissue reaches one
end of the field of view, the air at the other end is given that tissue's maps, and undersampling
folds what is wrong there into the middle. Image and maps are therefore changed together until all
measured samples are explained (JSENSE: Ying and Sheng, Magn Reson Med 57:1196, 2007), in one step
of the regularised Gauss-Newton kind (Uecker et al., Magn Reson Med 60:674, 2008) from an image
that a learned prior estimates and the maps that made it. The change of the maps is a Fourier
series of a larger field of view, so that it need not be periodic.

Once only: turned over and over with new estimates, errors of the image pass for errors of the maps
(`benchmarks/study_smooth_correction.py`).
"""

from __future__ import annotations

import math

import torch

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.solvers import conjugate_gradient

_ENLARGED = 1.25  # field of view of the series, over the image's
_WIDTH, _ORDER, _HIGHEST = 4.0, 4, 9  # of its spectrum, in cycles per enlarged field of view
_MAPS_STD = 0.05  # of the change at a pixel, before the data; maps have the norm 1
_IMAGE_STD = 0.1  # of the image's change at a pixel, whose scale is 1
_STEPS, _ITERATIONS = 3, 20  # of Gauss-Newton, and of conjugate gradients in each


def correct_smoothly(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    sensitivity_maps: torch.Tensor,
    image: torch.Tensor,
    noise_std: float,
) -> torch.Tensor:
    """Change maps smoothly, and an image with them, until both explain what was measured.

    The largest posterior density of u and z, where kspace = mask F (image + `_IMAGE_STD` u)
    (maps + series z) + noise, and u and z are white of variance 1.

    Parameters
    ----------
    kspace : torch.Tensor
        complex64 (coils, H, W), whitened, divided by the image scale; zero outside the mask.
    mask : torch.Tensor
        bool (W,) for whole lines, else (H, W).
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W), unit norm over coils, zero outside of the support.
    image : torch.Tensor
        complex64 (H, W), estimated with these maps.
    noise_std : float
        Per real component, in the units of `kspace`.

    Returns
    -------
    torch.Tensor
        complex64 (coils, H, W), unit norm over coils, zero where the maps were; the maps that were
        given where the image would have to change by more than `_IMAGE_STD`, so that it is not one
        of these data. They are not judged here.

    Notes
    -----
    Ying and Sheng 2007 (image and maps in turn); Uecker et al. 2008 (both at
    once, of white unknowns); here from an image and maps that are given, in a few steps.
    """
    model = _Model(mask.expand(image.shape), _Series(kspace.shape[-2:], image), noise_std)
    solution = model.zeros(len(kspace))
    for _ in range(_STEPS):
        model.linearise(image, sensitivity_maps, solution)
        target = model.adjoint(kspace / noise_std - model.value) - solution
        solution = solution + model.solve(target)
    if float(solution[: image.numel()].abs().square().mean()) > 1:
        return sensitivity_maps
    model.linearise(image, sensitivity_maps, solution)
    norm = model.maps.abs().square().sum(0).sqrt()
    support = sensitivity_maps.abs().sum(0) > 0
    return torch.where(support, model.maps / norm.clamp_min(1e-6), 0)


class _Series:
    """Smooth functions on an image, of a few coefficients whose prior is white."""

    def __init__(self, shape: torch.Size, like: torch.Tensor):
        frequency = torch.arange(-_HIGHEST, _HIGHEST + 1, dtype=torch.float64)
        self.rows, self.columns = (
            torch.exp(2j * math.pi / (_ENLARGED * n) * place[:, None] * frequency).to(like)
            for n, place in ((n, torch.arange(n, dtype=torch.float64) - n // 2) for n in shape)
        )
        square = frequency.square()
        spectrum = (1 + (square[:, None] + square) / _WIDTH**2) ** -_ORDER
        spectrum *= _MAPS_STD / spectrum.square().sum().sqrt()
        self.spectrum = spectrum.to(like.device, like.dtype.to_real())

    def function(self, coefficients: torch.Tensor) -> torch.Tensor:
        return self.rows @ (self.spectrum * coefficients) @ self.columns.mT

    def adjoint(self, function: torch.Tensor) -> torch.Tensor:
        return self.spectrum * (self.rows.mH @ function @ self.columns.conj())


class _Model:
    """mask F (image maps) / noise_std at a point, its derivative and the adjoint of that.

    Unknowns are one vector: the pixels u of the image, then the coefficients z of all coils.
    """

    def __init__(self, mask: torch.Tensor, series: _Series, noise_std: float):
        self.series, self.shape = series, mask.shape
        self.mask = mask / noise_std

    def zeros(self, n_coils: int) -> torch.Tensor:
        n = math.prod(self.shape) + n_coils * self.series.spectrum.numel()
        return self.series.rows.new_zeros(n)

    def _split(self, unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n = math.prod(self.shape)
        change = self.series.function(unknowns[n:].unflatten(0, (-1, *self.series.spectrum.shape)))
        return _IMAGE_STD * unknowns[:n].view(self.shape), change

    def linearise(self, image: torch.Tensor, maps: torch.Tensor, unknowns: torch.Tensor) -> None:
        of_image, of_maps = self._split(unknowns)
        self.image, self.maps = image + of_image, maps + of_maps
        self.value = self.mask * fftc(self.image * self.maps)

    def derivative(self, unknowns: torch.Tensor) -> torch.Tensor:
        of_image, of_maps = self._split(unknowns)
        return self.mask * fftc(of_image * self.maps + self.image * of_maps)

    def adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        images = ifftc(self.mask * residual)
        of_image = _IMAGE_STD * (self.maps.conj() * images).sum(0)
        of_maps = self.series.adjoint(self.image.conj() * images)
        return torch.cat([of_image.flatten(), of_maps.flatten()])

    def normal(self, unknowns: torch.Tensor) -> torch.Tensor:
        return self.adjoint(self.derivative(unknowns)) + unknowns

    def solve(self, target: torch.Tensor) -> torch.Tensor:
        """Solve `normal` in unknowns that are scaled so that its diagonal is about 1."""
        density = self.mask.square().mean()
        pixels = (1 + density * _IMAGE_STD**2).expand(math.prod(self.shape))
        power = density * self.image.abs().square().sum()
        coefficients = (1 + power * self.series.spectrum.square()).flatten()
        n_coils = (len(target) - len(pixels)) // len(coefficients)
        scaling = torch.cat([pixels, coefficients.repeat(n_coils)]).rsqrt()
        solution = conjugate_gradient(
            lambda unknowns: scaling * self.normal(scaling * unknowns),
            scaling * target,
            _ITERATIONS,
            n_axes=1,
        )
        return scaling * solution
