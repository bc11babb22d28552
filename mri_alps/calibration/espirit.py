"""ESPIRiT: sensitivity maps as eigenvectors of local operators fitted to calibration lines.

Uecker et al., Magn Reson Med 71:990-1001 (2014). Three things differ from sigpy's
`EspiritCalib`, with which the results agree where both apply:

- The calibration region may be a rectangle. sigpy cuts it to a square, so that ten fully
  sampled lines leave 5x5 kernel positions of a 10x10 square; here they leave 19x5 of 24x10.
- The kernels' sum of outer products is formed once per k-space lag instead of once per kernel
  and pixel: C(x) = sum_lag R(lag) e^{2 pi i x lag / N}.
- Rows are worked through in chunks, so memory does not grow with the image.
"""

from __future__ import annotations

import numpy as np
import torch

CHUNK_BYTES = 64 * 2**20
"""Memory for the local matrices of one chunk of rows."""


def signal_projector(
    calibration: np.ndarray,
    kernel_shape: tuple[int, int],
    threshold: float,
    noise_std: float = 0.0,
) -> np.ndarray:
    """Projector on the space of k-space patches that the calibration region spans.

    Parameters
    ----------
    calibration : numpy.ndarray
        Complex, shape (coils, readout, phase_encode): the fully sampled centre.
    kernel_shape : tuple of int
        Patch size along readout and phase encode, at most the region's.
    threshold : float
        Singular values below this fraction of the largest count as noise.
    noise_std : float
        Noise of the data per real component: singular values that it alone can reach count as
        noise too.

    Returns
    -------
    numpy.ndarray
        complex128, shape (coils * patch, coils * patch), Hermitian.
    """
    patches = np.lib.stride_tricks.sliding_window_view(calibration, kernel_shape, axis=(1, 2))
    n_coils = calibration.shape[0]
    rows = patches.transpose(1, 2, 0, 3, 4).reshape(-1, n_coils * np.prod(kernel_shape))
    rows = rows.astype(np.complex128)
    # Columns of `gram`'s eigenvector matrix span the patches themselves, not their conjugates.
    energies, vectors = np.linalg.eigh(rows.T @ rows.conj())
    # Largest singular value of a matrix of pure noise (Marchenko and Pastur).
    noise_edge = np.sqrt(2) * noise_std * (np.sqrt(rows.shape[0]) + np.sqrt(rows.shape[1]))
    limit = max(threshold**2 * energies[-1], noise_edge**2)
    signal = vectors[:, energies > min(limit, 0.5 * energies[-1])]
    return signal @ signal.conj().T


def lag_matrices(projector: np.ndarray, n_coils: int, kernel_shape: tuple[int, int]) -> np.ndarray:
    """Sum a patch projector over positions with the same k-space lag.

    Parameters
    ----------
    projector : numpy.ndarray
        From `signal_projector`.
    n_coils : int
        Coils.
    kernel_shape : tuple of int
        Patch size (a, b).

    Returns
    -------
    numpy.ndarray
        complex128, shape (2 a - 1, 2 b - 1, coils, coils), zero lag in the middle, divided by
        a b so that the local matrices' eigenvalues are at most 1.
    """
    a, b = kernel_shape
    blocks = projector.reshape(n_coils, a, b, n_coils, a, b)
    lags = np.zeros((2 * a - 1, 2 * b - 1, n_coils, n_coils), np.complex128)
    for i in range(a):
        for j in range(b):
            # Row (i, j) of every block meets column (k, l) at lag (i - k, j - l).
            window = blocks[:, i, j].transpose(2, 3, 0, 1)[::-1, ::-1]
            lags[i : i + a, j : j + b] += window
    return lags / (a * b)


def dominant_eigenvectors(
    lags: np.ndarray,
    shape: tuple[int, int],
    device: torch.device,
    start: torch.Tensor | None = None,
    n_iterations: int = 20,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenvalue and its eigenvector at every pixel.

    Parameters
    ----------
    lags : numpy.ndarray
        From `lag_matrices`, shape (lags, lags, coils, coils).
    shape : tuple of int
        Image size (readout, phase_encode), odd or even.
    device : torch.device
        Where to compute.
    start : torch.Tensor, optional
        complex64, shape (coils, readout, phase_encode): a guess at the eigenvectors.
    n_iterations : int
        Power iterations; the second eigenvalue is well below the first wherever one object is
        seen by its own coils.

    Returns
    -------
    maps : torch.Tensor
        complex64, shape (coils, readout, phase_encode), unit norm over coils at every pixel;
        the phase of a pixel is arbitrary.
    eigenvalues : torch.Tensor
        float32, shape (readout, phase_encode), between 0 and 1 up to rounding.
    """
    height, width = shape
    n_coils = lags.shape[-1]
    rows = _fourier_matrix(height, lags.shape[0], device)
    columns = _fourier_matrix(width, lags.shape[1], device)
    kernel = torch.as_tensor(lags, dtype=torch.complex64, device=device)
    maps = torch.empty((n_coils, height, width), dtype=torch.complex64, device=device)
    eigenvalues = torch.empty((height, width), dtype=torch.float32, device=device)
    chunk = max(1, CHUNK_BYTES // (8 * width * n_coils**2))
    for first in range(0, height, chunk):
        part = slice(first, first + chunk)
        local = torch.einsum("xp,pqcd->cdxq", rows[part], kernel) @ columns.T
        guess = _longest_column(local)
        if start is not None:
            guess = _unit(guess) * 0.1 + _unit(start[:, part])
        eigenvalues[part], maps[:, part] = _power_iteration(local, guess, n_iterations)
    return maps, eigenvalues


def _fourier_matrix(size: int, n_lags: int, device: torch.device) -> torch.Tensor:
    positions = torch.arange(size, dtype=torch.float64, device=device) - size // 2
    lags = torch.arange(n_lags, dtype=torch.float64, device=device) - n_lags // 2
    angle = 2 * torch.pi / size * positions[:, None] * lags[None, :]
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _power_iteration(
    matrices: torch.Tensor, start: torch.Tensor, n_iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenpair of Hermitian positive semi-definite matrices (n, n, ...)."""
    vectors = _unit(start)
    for _ in range(n_iterations):
        vectors = _unit(_product(matrices, vectors))
    return (vectors.conj() * _product(matrices, vectors)).sum(0).real, vectors


def _product(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Matrices (n, n, ...) times vectors (n, ...): pixels last, which batched matmul is not."""
    product = matrices[:, 0] * vectors[0]
    for d in range(1, len(vectors)):
        product.addcmul_(matrices[:, d], vectors[d][None])
    return product


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    norm = torch.linalg.vector_norm(vectors, dim=0, keepdim=True)
    return vectors / norm.clamp_min(1e-30)


def _longest_column(matrices: torch.Tensor) -> torch.Tensor:
    longest = matrices.abs().square().sum(0).argmax(0)
    index = longest[None, None].expand(len(matrices), 1, *longest.shape)
    return torch.gather(matrices, 1, index)[:, 0]
