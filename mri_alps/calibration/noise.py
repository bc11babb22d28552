"""Noise covariance and whitening.

The package's one convention: a covariance is that of one REAL component,

    cov = E[n n^H] / 2

for complex noise n of zero mean, the same in its real and its imaginary part. With W whitening
such that W cov W^H = I, whitened noise has variance 1 per real component, that is E|n|^2 = 2.
Other programs leave out the factor 2, or divide by the number of samples elsewhere; convert
before handing a covariance in.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from mri_alps.core.errors import DtypeError, MriAlpsWarning, ShapeError

EIGENVALUE_FLOOR = 1e-6
"""Smallest eigenvalue of the correlations of coils, relative to the largest, that is believed."""


def noise_covariance(samples: npt.ArrayLike) -> np.ndarray:
    """Covariance of noise between coils, per real component: E[n n^H] / 2.

    Parameters
    ----------
    samples : array_like
        Complex noise, shape (coils, ...); zero mean is assumed, as receivers deliver it.

    Returns
    -------
    numpy.ndarray
        complex128, shape (coils, coils), Hermitian, in the squared units of `samples`.

    Raises
    ------
    DtypeError
        If the samples are real.
    ShapeError
        If there are fewer samples than coils: the covariance would be singular.
    """
    array = np.asarray(samples)
    if not np.iscomplexobj(array):
        raise DtypeError(
            f"noise samples must be complex, found {array.dtype}: hand in the raw samples, not "
            "their magnitude"
        )
    flat = array.reshape(array.shape[0], -1).astype(np.complex128)
    n_coils, n_samples = flat.shape
    if n_samples < n_coils:
        raise ShapeError(
            f"{n_samples} noise samples cannot give the covariance of {n_coils} coils: hand in "
            f"an array (coils, samples) with at least {n_coils} samples"
        )
    return flat @ flat.conj().T / (2 * n_samples)


def whitening_matrix(covariance: npt.ArrayLike, name: str = "") -> np.ndarray:
    """Hermitian matrix W with W cov W^H = I.

    Of all whitening matrices the Hermitian one, cov^(-1/2), changes the coils least, so
    whitened coil images still look like their coils.

    Parameters
    ----------
    covariance : array_like
        Hermitian, shape (coils, coils), per real component (see `noise_covariance`).
    name : str
        Beginning of messages: the file, with a colon.

    Returns
    -------
    numpy.ndarray
        complex128, shape (coils, coils).

    Raises
    ------
    ShapeError
        If `covariance` is not a square matrix, not Hermitian or not positive.

    Warns
    -----
    MriAlpsWarning
        If the covariance is singular (a dead coil, coils that are copies of each other): the
        eigenvalues of the correlations are raised to `EIGENVALUE_FLOOR` of the largest.
    """
    matrix = np.asarray(covariance).astype(np.complex128)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(
            f"{name}a noise covariance must have the shape (coils, coils), found {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise ShapeError(f"{name}the noise covariance holds NaN or Inf: measure the noise again")
    if not np.allclose(matrix, matrix.conj().T, rtol=1e-4, atol=1e-6 * np.abs(matrix).max()):
        raise ShapeError(
            f"{name}the noise covariance is not Hermitian: hand in E[n n^H] / 2, not E[n n^T]"
        )
    matrix = (matrix + matrix.conj().T) / 2
    if np.linalg.eigvalsh(matrix)[-1] <= 0:
        raise ShapeError(
            f"{name}the noise covariance has no positive eigenvalue, so nothing can be whitened: "
            "measure the noise, or give noise_std"
        )
    # Coils of very different gains are no fault: what is singular shows in their correlations.
    level = np.sqrt(np.maximum(np.diag(matrix).real, 0))
    dead = level == 0
    level[dead] = math.sqrt(EIGENVALUE_FLOOR) * level.max()
    correlation = matrix / np.outer(level, level) + np.diag(dead.astype(float))
    eigenvalues, vectors = np.linalg.eigh(correlation)
    floor = EIGENVALUE_FLOOR * eigenvalues[-1]
    n_singular = int((eigenvalues < floor).sum()) + int(dead.sum())
    if n_singular:
        warnings.warn(
            f"{name}the noise covariance of {len(matrix)} coils is singular in {n_singular} "
            "direction(s) (a dead coil, or coils copied from others): its smallest eigenvalues "
            f"were raised to {EIGENVALUE_FLOOR:g} of the largest",
            MriAlpsWarning,
            stacklevel=2,
        )
        correlation = (vectors * np.maximum(eigenvalues, floor)) @ vectors.conj().T
        matrix = correlation * np.outer(level, level)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    scales = 1 / np.sqrt(np.maximum(eigenvalues, np.finfo(float).eps * eigenvalues[-1]))
    return np.asarray((vectors * scales) @ vectors.conj().T)


def apply_to_coils(matrix: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Multiply the coil axis (the first) by a matrix: whitening, compression, or their inverse.

    Parameters
    ----------
    matrix : numpy.ndarray
        Complex, shape (new coils, coils).
    data : numpy.ndarray
        Complex, shape (coils, ...): k-space, images or maps.

    Returns
    -------
    numpy.ndarray
        Shape (new coils, ...), the dtype of `data`.

    Raises
    ------
    ShapeError
        If the numbers of coils differ.
    """
    if matrix.ndim != 2 or data.ndim < 1 or matrix.shape[1] != data.shape[0]:
        raise ShapeError(
            f"a coil matrix of shape {matrix.shape} does not fit data of shape {data.shape}, "
            "whose first axis must be the coils"
        )
    return np.tensordot(matrix.astype(data.dtype), data, axes=1)
