"""Random crops, orientations, zooms, phase and receive bias, image by image.

Everything is drawn from an explicit generator. Smooth fields are sums of few separable
functions, evaluated only where a crop needs them.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from mri_alps.core.crop import center_crop
from mri_alps.core.fourier import fftc, ifftc

POOL = 8  # pixels per cell of the low-resolution companion of a large image
_CELLS = 32  # cells that it has at least; twice the resolution that the scale looks at
_ORDER = 6  # cosines per axis in a smooth random field


def low_resolution(image: torch.Tensor) -> torch.Tensor:
    """Average over cells of about 8 x 8 pixels: enough for the scale and for finding the object.

    Parameters
    ----------
    image : torch.Tensor
        (H, W) real or complex.

    Returns
    -------
    torch.Tensor
        Complex64, H/8 and W/8, or 32 where that is less, but no more than H and W.
    """
    height, width = (max(size // POOL, min(size, _CELLS)) for size in image.shape)
    planes = torch.view_as_real(image.to(torch.complex64)).permute(2, 0, 1)
    pooled = functional.adaptive_avg_pool2d(planes, (height, width))
    return torch.complex(pooled[0], pooled[1])


def reduce_matrix(image: torch.Tensor, longest: float) -> torch.Tensor:
    """Leave out the periphery of k-space: the same field of view with larger pixels.

    Parameters
    ----------
    image : torch.Tensor
        (H, W) real or complex.
    longest : float
        Longest edge of the result in pixels; an image that is no longer stays as it is.

    Returns
    -------
    torch.Tensor
        Of the kind of `image`, whose intensities it keeps, with the ringing that edges have in a
        scan of that resolution.
    """
    factor = min(longest / max(image.shape), 1.0)
    shape = [max(round(n * factor), 1) for n in image.shape]
    if tuple(shape) == tuple(image.shape):
        return image
    kspace = center_crop(fftc(image.to(torch.complex64)), shape)
    reduced = ifftc(kspace) * math.sqrt(math.prod(shape) / image.numel())
    return reduced if image.is_complex() else reduced.real


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw one number between `low` and `high`.

    Parameters
    ----------
    generator : torch.Generator
        Source of the randomness.
    low, high : float
        Bounds.
    """
    return low + (high - low) * torch.rand((), generator=generator).item()


def smooth_field(generator: torch.Generator, smoothness: float) -> torch.Tensor:
    """Draw coefficients of a smooth random field with a standard deviation near 1.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    smoothness : float
        Exponent of the coefficients' decay with frequency.

    Returns
    -------
    torch.Tensor
        (6, 6) cosine coefficients for `evaluate_field`; no constant part.
    """
    index = torch.arange(_ORDER, dtype=torch.float32)
    envelope = (index[:, None] ** 2 + index**2).clamp(min=1) ** (-smoothness / 2)
    envelope[0, 0] = 0.0
    envelope /= envelope.square().sum().sqrt() / 1.4
    return envelope * torch.randn(_ORDER, _ORDER, generator=generator)


def evaluate_field(coefficients: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Evaluate a field at coordinates from -1 to 1 over the image.

    Parameters
    ----------
    coefficients : torch.Tensor
        (6, 6) from `smooth_field`.
    y, x : torch.Tensor
        (h,) and (w,) coordinates.

    Returns
    -------
    torch.Tensor
        (h, w).
    """
    index = torch.arange(_ORDER, dtype=torch.float32) * (math.pi / 2)
    return torch.cos((y[:, None] + 1) * index) @ coefficients @ torch.cos((x + 1) * index[:, None])


def draw_phase(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a phase map: smooth random field plus polynomial of second order.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    field : torch.Tensor
        (6, 6) for `evaluate_field`, radians.
    polynomial : torch.Tensor
        (5,) coefficients of y, x, y^2, x y, x^2, radians at the edge of the image.
    """
    strength = math.exp(uniform(generator, math.log(0.1), math.log(2.5)))
    field = strength * smooth_field(generator, uniform(generator, 1.0, 2.5))
    slope = math.exp(uniform(generator, math.log(0.1), math.log(6.0)))
    polynomial = torch.randn(5, generator=generator) * torch.tensor([slope, slope, 1, 1, 1])
    return field, polynomial


def evaluate_polynomial(c: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Evaluate `draw_phase`'s polynomial at coordinates (h,) and (w,); returns (h, w).

    Parameters
    ----------
    c : torch.Tensor
        Coefficients.
    y, x : torch.Tensor
        Real, (h,) and (w,).
    """
    y = y[:, None]
    return c[0] * y + c[1] * x + c[2] * y**2 + c[3] * y * x + c[4] * x**2


def random_affine(generator: torch.Generator, warp: bool = True) -> torch.Tensor:
    """Draw a 2x2 matrix: a flip, a multiple of 90 degrees, and half the time a small warp.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    warp : bool
        With False, there is none.

    Returns
    -------
    torch.Tensor
        Maps offsets (x, y) in the crop to offsets in the image, both in pixels. Entries are
        -1, 0, 1 where no warp was drawn.
    """
    quarter = int(torch.randint(4, (), generator=generator))
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
    matrix = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float32)
    if torch.rand((), generator=generator) < 0.5:
        matrix = matrix @ torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    if warp and torch.rand((), generator=generator) < 0.5:
        angle = uniform(generator, -0.26, 0.26)
        zoom = math.exp(uniform(generator, math.log(0.75), math.log(1.3)))
        aspect = math.exp(uniform(generator, -0.08, 0.08))
        rotation = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        matrix = rotation @ torch.diag(torch.tensor([zoom * aspect, zoom / aspect])) @ matrix
    return matrix


def extract(
    image: torch.Tensor, matrix: torch.Tensor, center: torch.Tensor, size: int, mirror: bool = False
) -> torch.Tensor:
    """Sample a square crop by bicubic interpolation.

    Parameters
    ----------
    image : torch.Tensor
        (channels, H, W) real.
    matrix : torch.Tensor
        (2, 2) from `random_affine`.
    center : torch.Tensor
        (2,) the crop's centre in the image, (x, y) in pixels.
    size : int
        Edge of the crop.
    mirror : bool
        What lies outside the image: its mirror image, or zeros.

    Returns
    -------
    torch.Tensor
        (channels, size, size).
    """
    height, width = image.shape[-2:]
    grid = _positions(matrix, center, size)
    exact = bool((matrix == matrix.round()).all()) and bool(
        (grid[0, 0] == grid[0, 0].round()).all()
    )
    grid = (2 * grid + 1) / torch.tensor([width, height]) - 1
    mode = "nearest" if exact else "bicubic"
    outside = "reflection" if mirror else "zeros"
    return functional.grid_sample(image[None], grid[None], mode, outside, align_corners=False)[0]


def inside(
    shape: tuple[int, int], matrix: torch.Tensor, center: torch.Tensor, size: int
) -> torch.Tensor:
    """Which pixels of a crop, as `extract` makes it, lie in the image.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the image.
    matrix, center, size
        Of the crop.

    Returns
    -------
    torch.Tensor
        Boolean (size, size).
    """
    height, width = shape
    x, y = _positions(matrix, center, size).unbind(-1)
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def _positions(matrix: torch.Tensor, center: torch.Tensor, size: int) -> torch.Tensor:
    """(size, size, 2), x and y in the image of each of a crop's pixels."""
    offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    grid_y, grid_x = torch.meshgrid(offset, offset, indexing="ij")
    return torch.stack([grid_x, grid_y], -1) @ matrix.T + center


def draw_center(
    low: torch.Tensor, shape: tuple[int, int], size: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw a crop's centre: inside the image where it fits, mostly where there is signal.

    Parameters
    ----------
    low : torch.Tensor
        From `low_resolution`.
    shape : tuple of int
        (H, W) of the image.
    size : int
        Edge of the crop.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    torch.Tensor
        (2,) as (x, y), on the grid on which unwarped crops need no interpolation.
    """
    center = []
    if torch.rand((), generator=generator) < 0.85:
        magnitude = low.abs()
        bright = (magnitude > 0.15 * magnitude.max()).flatten().nonzero()[:, 0]
        cell = (
            int(bright[torch.randint(len(bright), (), generator=generator)]) if len(bright) else 0
        )
        start = (
            (cell % low.shape[1] + 0.5) / low.shape[1],
            (cell // low.shape[1] + 0.5) / low.shape[0],
        )
    else:
        start = tuple(torch.rand(2, generator=generator).tolist())
    for fraction, length in zip(start, (shape[1], shape[0]), strict=True):
        reach = max((length - size) / 2, 0)
        shift = uniform(generator, -POOL, POOL)
        offset = min(max(fraction * length + shift - length / 2, -reach), reach)
        if reach == 0:
            offset = uniform(generator, -0.06, 0.06) * length
        center.append(length // 2 + round(offset) - 0.5 * (size % 2 == 0))
    return torch.tensor(center)
