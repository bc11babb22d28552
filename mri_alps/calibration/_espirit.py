"""ESPIRiT: sensitivity maps as eigenvectors of local operators fitted to calibration lines.

Uecker et al., Magn Reson Med 71:990-1001 (2014). Three things differ from sigpy's
`EspiritCalib`, with which the results agree where both apply:

- The calibration region may be a rectangle. sigpy cuts it to a square, so that ten fully
  sampled lines leave 5x5 kernel positions of a 10x10 square; here they leave 19x5 of 24x10.
- The kernels' sum of outer products is formed once per k-space lag instead of once per kernel
  and pixel: C(x) = sum_lag R(lag) e^{2 pi i x lag / N}.
- Rows are worked through in chunks, so memory does not grow with the image.

Everything is torch and runs on the device of the calibration data.
"""

from __future__ import annotations

import math

import torch

CHUNK_BYTES = {"cpu": 4 * 2**20, "other": 64 * 2**20}
"""Memory for the local matrices of one chunk of rows: on a CPU they should stay in its cache."""


def signal_projector(
    calibration: torch.Tensor,
    kernel_shape: tuple[int, int],
    threshold: float,
    noise_std: float = 0.0,
) -> torch.Tensor:
    """Projector on the space of k-space patches that the calibration region spans.

    Parameters
    ----------
    calibration : torch.Tensor
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
    torch.Tensor
        complex128, shape (coils * patch, coils * patch), Hermitian.
    """
    n_columns = calibration.shape[0] * math.prod(kernel_shape)
    patches = calibration.unfold(1, kernel_shape[0], 1).unfold(2, kernel_shape[1], 1)
    rows = patches.permute(1, 2, 0, 3, 4).reshape(-1, n_columns).to(torch.complex128)
    # Columns of `signal` span the patches themselves, not their conjugates. The smaller of the
    # two Gram matrices has the same singular values.
    few_positions = rows.shape[0] < n_columns
    gram = rows.conj() @ rows.T if few_positions else rows.T @ rows.conj()
    energies, vectors = torch.linalg.eigh(gram)
    # Largest singular value of a matrix of pure noise (Marchenko and Pastur).
    noise_edge = math.sqrt(2) * noise_std * (math.sqrt(rows.shape[0]) + math.sqrt(n_columns))
    largest = float(energies[-1])
    limit = min(max(threshold**2 * largest, noise_edge**2), 0.5 * largest)
    # Below the rounding of the Gram matrix nothing is signal, and its vectors are not orthogonal.
    kept = energies > max(limit, 1e-14 * largest)
    signal = vectors[:, kept]
    if few_positions:
        signal = (rows.T @ signal) / energies[kept].sqrt()
    return signal @ signal.mH


def lag_matrices(
    projector: torch.Tensor, n_coils: int, kernel_shape: tuple[int, int]
) -> torch.Tensor:
    """Sum a patch projector over positions with the same k-space lag.

    Parameters
    ----------
    projector : torch.Tensor
        From `signal_projector`.
    n_coils : int
        Coils.
    kernel_shape : tuple of int
        Patch size (a, b).

    Returns
    -------
    torch.Tensor
        complex128, shape (2 a - 1, 2 b - 1, coils, coils), zero lag in the middle, divided by
        a b so that the local matrices' eigenvalues are at most 1.
    """
    a, b = kernel_shape
    blocks = projector.reshape(n_coils, a, b, n_coils, a, b)
    lags = projector.new_zeros((2 * a - 1, 2 * b - 1, n_coils, n_coils))
    for i in range(a):
        for j in range(b):
            # Row (i, j) of every block meets column (k, l) at lag (i - k, j - l).
            window = blocks[:, i, j].permute(2, 3, 0, 1).flip(0, 1)
            lags[i : i + a, j : j + b] += window
    return lags / (a * b)


def dominant_eigenvectors(
    lags: torch.Tensor,
    shape: tuple[int, int],
    start: torch.Tensor | None = None,
    n_iterations: int = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenvalue and its eigenvector at every pixel.

    Parameters
    ----------
    lags : torch.Tensor
        From `lag_matrices`, shape (lags, lags, coils, coils); its device is where the work is
        done.
    shape : tuple of int
        Image size (readout, phase_encode), odd or even.
    start : torch.Tensor, optional
        complex64, shape (coils, readout, phase_encode): a guess at the eigenvectors.
    n_iterations : int
        Iterations with the fourth power of the local matrices, each worth four of the usual
        ones; the second eigenvalue is well below the first wherever one object is seen by its
        own coils.

    Returns
    -------
    maps : torch.Tensor
        complex64, shape (coils, readout, phase_encode), unit norm over coils at every pixel;
        the phase of a pixel is arbitrary.
    eigenvalues : torch.Tensor
        float32, shape (readout, phase_encode), between 0 and 1 up to rounding.
    """
    height, width = shape
    n_coils, device = lags.shape[-1], lags.device
    maps = torch.empty((n_coils, height, width), dtype=torch.complex64, device=device)
    eigenvalues = torch.empty((height, width), dtype=torch.float32, device=device)
    limit = CHUNK_BYTES["cpu" if device.type == "cpu" else "other"]
    chunk = max(1, limit // (8 * width * n_coils**2))
    for first in range(0, height, chunk):
        part = slice(first, min(first + chunk, height))
        local = local_matrices(lags, shape, part)
        guess = None if start is None else start[:, part].reshape(n_coils, -1).T[..., None]
        values, vectors = _dominant_eigenpairs(local, guess, n_iterations)
        eigenvalues[part] = values.reshape(-1, width)
        maps[:, part] = vectors[..., 0].T.reshape(n_coils, -1, width)
    return maps, eigenvalues


def two_dominant_eigenvectors(
    matrices: torch.Tensor, start: torch.Tensor, n_iterations: int = 8
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Largest and second largest eigenpairs: the second by taking the first away.

    Parameters
    ----------
    matrices : torch.Tensor
        From `local_matrices`, shape (pixels, coils, coils).
    start : torch.Tensor
        complex64 (pixels, coils): a guess at the first ones. Where the two are equal, the first
        is what their space has of the guess.
    n_iterations : int
        As in `dominant_eigenvectors`.

    Returns
    -------
    first, second : torch.Tensor
        complex64 (pixels, coils), unit norm.
    eigenvalues : torch.Tensor
        float32 (2, pixels).
    """
    largest, first = _dominant_eigenpairs(matrices, start[..., None], n_iterations)
    rest = matrices - largest[:, None, None] * (first @ first.mH)
    following, second = _dominant_eigenpairs(rest, None, n_iterations)
    return first[..., 0], second[..., 0], torch.stack([largest, following])


def local_matrices(
    lags: torch.Tensor, shape: tuple[int, int], rows: slice = slice(None)
) -> torch.Tensor:
    """Local operators of the pixels of some rows of an image.

    Parameters
    ----------
    lags : torch.Tensor
        From `lag_matrices`.
    shape : tuple of int
        Image size (readout, phase_encode).
    rows : slice
        Readout positions; all if left out.

    Returns
    -------
    torch.Tensor
        complex64, shape (pixels, coils, coils), Hermitian, in the order of the image.
    """
    n_coils = lags.shape[-1]
    along_rows = _fourier_matrix(shape[0], lags.shape[0], lags.device)[rows]
    along_columns = _fourier_matrix(shape[1], lags.shape[1], lags.device)
    kernel = lags.to(torch.complex64).reshape(lags.shape[0], -1)
    partly = (along_rows @ kernel).reshape(-1, lags.shape[1], n_coils**2)
    return (along_columns @ partly).reshape(-1, n_coils, n_coils)


def _fourier_matrix(size: int, n_lags: int, device: torch.device) -> torch.Tensor:
    positions = torch.arange(size, dtype=torch.float64, device=device) - size // 2
    lags = torch.arange(n_lags, dtype=torch.float64, device=device) - n_lags // 2
    angle = 2 * torch.pi / size * positions[:, None] * lags[None, :]
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _dominant_eigenpairs(
    matrices: torch.Tensor, guess: torch.Tensor | None, n_iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenpairs of Hermitian positive semi-definite matrices (pixels, n, n).

    The matrices are squared twice first: batched matrix products run at many times the rate of
    products with one vector, which wait for memory.
    """
    square = matrices @ matrices
    power = square @ square
    # Of the powers' columns the longest is nearest to the eigenvector; the diagonal tells which.
    longest = power.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    index = longest[:, None, None].expand(-1, matrices.shape[1], 1)
    vectors = _unit(torch.gather(power, 2, index))
    if guess is not None:
        vectors = vectors * 0.1 + _unit(guess)
    for _ in range(n_iterations):
        vectors = _unit(power @ vectors)
    return (vectors.conj() * (matrices @ vectors)).sum((1, 2)).real, vectors


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    # `vector_norm` of complex numbers takes ten times as long.
    energy = torch.view_as_real(vectors.contiguous()).square().sum((1, 3))[:, None]
    return vectors * energy.clamp_min(1e-36).rsqrt()
