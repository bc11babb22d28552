"""What scanners do to images and collections of magnitude images lack.

Each effect is a function of the image and of numbers that were drawn from an explicit generator.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from mri_alps.core.fourier import fftc, ifftc
from mri_alps.training._augmentation import uniform

_CONTRAST_TERMS = 3
_WIDTHS = (0.03, 0.1)  # of the step from water to fat, in units of the image's scale


def draw_contrast(generator: torch.Generator, strength: float) -> torch.Tensor:
    """Draw coefficients of a monotone change of contrast.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    strength : float
        Below 1: the slope of the curve lies between 1 - `strength` and 1 + `strength`.

    Returns
    -------
    torch.Tensor
        (3,) for `change_contrast`.
    """
    coefficients = 2 * torch.rand(_CONTRAST_TERMS, generator=generator) - 1
    return coefficients * strength / coefficients.abs().sum().clamp(min=1)


def change_contrast(
    image: torch.Tensor, coefficients: torch.Tensor, reference: float
) -> torch.Tensor:
    """Map magnitudes by t + sum_k a_k sin(pi k t) / (pi k), with t = 1 at `reference`.

    The phase stays, and so do 0 and what is brighter than the reference.

    Parameters
    ----------
    image : torch.Tensor
        (H, W), real or complex.
    coefficients : torch.Tensor
        (n,) the a_k; the map is monotone if their magnitudes add up to less than 1.
    reference : float
        Magnitude that the curve ends at.

    Returns
    -------
    torch.Tensor
        Like `image`.
    """
    level = (image.abs() / reference).clamp(max=1)
    gain = torch.ones_like(level)
    for order, coefficient in enumerate(coefficients.tolist(), 1):
        gain = gain + coefficient * torch.sinc(order * level)
    return image * gain


def draw_fat(generator: torch.Generator) -> tuple[float, float, float]:
    """Draw where fat begins in brightness, over what width, and by which angle it is turned.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    """
    return (
        uniform(generator, 0.3, 0.9),
        uniform(generator, *_WIDTHS),
        uniform(generator, -math.pi, math.pi),
    )


def turn_fat(
    image: torch.Tensor, threshold: float, width: float, angle: float, reference: float
) -> torch.Tensor:
    """Turn the phase of bright tissue, as chemical shift turns that of fat.

    Where bright and dark meet, a pixel holds some of both, which cancel for angles near pi: the
    dark line around organs in an image of opposed phase.

    Parameters
    ----------
    image : torch.Tensor
        (H, W), real or complex.
    threshold, width : float
        Brightness of equal parts, and the step's width, in units of `reference`.
    angle : float
        In radians.
    reference : float
        Unit of brightness.

    Returns
    -------
    torch.Tensor
        Complex64 (H, W).
    """
    # Single noisy pixels are not fat: brightness is averaged over 3 x 3 pixels.
    brightness = functional.avg_pool2d(image.abs()[None], 3, 1, 1, count_include_pad=False)[0]
    fat = torch.sigmoid((brightness / reference - threshold) / width)
    return image * torch.complex(1 - fat + fat * math.cos(angle), fat * math.sin(angle))


def draw_dipole(generator: torch.Generator) -> tuple[float, float, float, float, float]:
    """Draw centre (y, x), radius, direction and strength for `dipole_phase`.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    """
    return (
        uniform(generator, -1, 1),
        uniform(generator, -1, 1),
        math.exp(uniform(generator, math.log(0.03), math.log(0.2))),
        uniform(generator, 0, math.pi),
        math.exp(uniform(generator, math.log(0.5), math.log(6.0))),
    )


def dipole_phase(
    y: torch.Tensor,
    x: torch.Tensor,
    center_y: float,
    center_x: float,
    radius: float,
    direction: float,
    strength: float,
) -> torch.Tensor:
    """Phase around a cylinder of air: steep near its surface, none inside.

    strength (radius / r)^2 cos 2 (theta - direction) for r > radius (Schenck, "The role of
    magnetic susceptibility in magnetic resonance imaging", Medical Physics 1996).

    Parameters
    ----------
    y, x : torch.Tensor
        (h,) and (w,) coordinates.
    center_y, center_x, radius : float
        In units of the coordinates.
    direction : float
        Of the main field in the plane, radians.
    strength : float
        Largest phase at the surface, radians.

    Returns
    -------
    torch.Tensor
        (h, w) in radians.
    """
    dy, dx = (y - center_y)[:, None], x - center_x
    square = dy**2 + dx**2
    along = dx * math.cos(direction) + dy * math.sin(direction)
    # (along^2 - across^2) / r^2 is the cosine of twice the angle
    field = strength * radius**2 * (2 * along**2 - square) / square.clamp(min=radius**2) ** 2
    return torch.where(square > radius**2, field, torch.zeros_like(field))


def draw_window(generator: torch.Generator) -> list[tuple[float, float]]:
    """Draw the part of k-space that a scan measures before it fills up with zeros.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    list of tuple
        (before, after) the centre for both axes, as fractions of the half axis: equal, for
        interpolation by zeros, or, on one axis of every other window, partial Fourier.
    """
    window = []
    for _ in range(2):
        reach = min(uniform(generator, 0.6, 1.2), 1.0)
        window.append((reach, reach))
    if uniform(generator, 0, 1) < 0.5:
        axis, side = (int(uniform(generator, 0, 2)) for _ in range(2))
        both = [window[axis][0]] * 2
        both[side] *= uniform(generator, 0.25, 0.75)
        window[axis] = (both[0], both[1])
    return window


def lose_periphery(image: torch.Tensor, window: list[tuple[float, float]]) -> torch.Tensor:
    """Set k-space to zero outside a window; the matrix stays.

    Parameters
    ----------
    image : torch.Tensor
        (H, W), real or complex.
    window : list of tuple
        See `draw_window`.

    Returns
    -------
    torch.Tensor
        Real if `image` is and the window is symmetric, complex64 otherwise.
    """
    kspace = fftc(image.to(torch.complex64))
    for axis, (before, after) in enumerate(window):
        size = image.shape[axis]
        frequency = torch.arange(size) - size // 2
        kept = (frequency >= -before * size / 2) & (frequency <= after * size / 2)
        kspace = kspace * (kept[:, None] if axis == 0 else kept)
    lost = ifftc(kspace)
    symmetric = all(before == after for before, after in window)
    return lost if image.is_complex() or not symmetric else lost.real
