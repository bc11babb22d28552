"""Simulated coils and noise for the calibration tests."""

from __future__ import annotations

import numpy as np


def coils(n_coils: int, shape: tuple[int, int]) -> np.ndarray:
    """Smooth complex sensitivities (coils, *shape)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    maps = []
    for c in range(n_coils):
        angle = 2 * np.pi * c / n_coils + 0.3
        distance = (y - 1.2 * np.cos(angle)) ** 2 + (x - 1.2 * np.sin(angle)) ** 2
        phase = angle + 0.8 * (np.cos(angle) * y + np.sin(angle) * x)
        maps.append((1 + 0.3 * np.sin(3 * c)) / (1 + distance) ** 1.5 * np.exp(1j * phase))
    return np.stack(maps)


def disc(shape: tuple[int, int], radius: float = 0.7) -> np.ndarray:
    """A disc with structure, complex with a slow phase, 0 outside `radius`."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    r = np.hypot(y, x)
    image = (r < radius) * (1 + 0.3 * np.cos(9 * x) * np.cos(7 * y))
    image = image - 0.8 * (np.hypot(y - 0.2, x + 0.1) < 0.15)
    return image * np.exp(1j * (0.5 * y + 0.8 * x * y))


def fft2c(images: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Centred orthonormal transform, in numpy: independent of the package's own."""
    shifted = np.fft.ifftshift(images, axes=axes)
    return np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)


def covariance(n_coils: int, rng: np.random.Generator) -> np.ndarray:
    """A well-conditioned Hermitian covariance with unequal coils."""
    a = rng.normal(size=(n_coils, n_coils)) + 1j * rng.normal(size=(n_coils, n_coils))
    matrix = 0.15 * a @ a.conj().T / n_coils + np.diag(rng.uniform(0.7, 1.5, n_coils))
    return matrix


def noise(matrix: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Complex noise (coils, *shape) with this covariance per real component."""
    white = rng.normal(size=(2, len(matrix), *shape))
    return np.tensordot(np.linalg.cholesky(matrix), white[0] + 1j * white[1], axes=1)


def acquisition(
    n_coils: int = 6,
    shape: tuple[int, int] = (96, 80),
    level: float = 0.01,
    seed: int = 0,
    radius: float = 0.7,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """K-space (coils, *shape), image, sensitivities and noise covariance."""
    rng = np.random.default_rng(seed)
    image, maps = disc(shape, radius), coils(n_coils, shape)
    matrix = level**2 * covariance(n_coils, rng)
    kspace = fft2c(image * maps) + noise(matrix, shape, rng)
    return kspace.astype(np.complex64), image, maps, matrix


def lines(n_phase: int, acceleration: int, n_center: int) -> np.ndarray:
    """Equispaced mask with a centred block."""
    mask = np.zeros(n_phase, bool)
    mask[::acceleration] = True
    start = n_phase // 2 - n_center // 2
    mask[start : start + n_center] = True
    return mask
