"""A small simulated multi-coil scan for the tests of the application."""

import numpy as np

SHAPE = (80, 64)
CROP = (64, 64)
N_COILS = 4
NOISE_STD = 0.05


def centred_fft(images: np.ndarray) -> np.ndarray:
    shifted = np.fft.ifftshift(images, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def centred_ifft(kspace: np.ndarray) -> np.ndarray:
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def grid(shape: tuple[int, int]) -> list[np.ndarray]:
    axes = (np.linspace(-1, 1, n, endpoint=False) for n in shape)
    return np.meshgrid(*axes, indexing="ij")


def phantom(index: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """An ellipse with two darker parts and a smooth phase, complex (readout, phase_encode)."""
    y, x = grid(shape)
    image = 1.0 * (np.hypot(y / 0.45, x / 0.6) < 1)
    image -= 0.4 * (np.hypot((y - 0.2) / 0.2, (x + 0.1 * index) / 0.25) < 1)
    image -= 0.3 * (np.hypot((y + 0.3) / 0.1, (x - 0.2) / 0.1) < 1)
    return image * np.exp(1j * (0.5 * x + 0.8 * y**2))


def coil_maps(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Smooth unequal coils, normalised to a root sum of squares of one."""
    y, x = grid(shape)
    angles = 2 * np.pi * np.arange(N_COILS) / N_COILS
    maps = np.stack(
        [
            (1 + 0.3 * k) * np.exp(-((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) / 1.5 + 1j * a)
            for k, a in enumerate(angles)
        ]
    )
    return maps / np.linalg.norm(maps, axis=0)


def simulate(
    n_slices: int = 2, seed: int = 0, shape: tuple[int, int] = SHAPE
) -> tuple[np.ndarray, np.ndarray]:
    """Return k-space (slices, coils, ...) with correlated coil noise, and the true images."""
    rng = np.random.default_rng(seed)
    truth = np.stack([phantom(index, shape) for index in range(n_slices)])
    clean = centred_fft(truth[:, None] * coil_maps(shape))
    noise = NOISE_STD * (rng.standard_normal((2, *clean.shape)))
    mixing = np.eye(N_COILS) + 0.2 * np.diag(np.ones(N_COILS - 1), 1)
    return clean + np.einsum("cd,sdhw->schw", mixing, noise[0] + 1j * noise[1]), truth
