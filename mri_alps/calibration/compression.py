"""Coil compression by singular value decomposition of calibration data."""

from __future__ import annotations

import numpy as np

from mri_alps.core.errors import ConfigurationError, DtypeError, ShapeError


def compression_matrix(
    calibration_kspace: np.ndarray,
    n_virtual_coils: int | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """Rows that combine coils into the virtual coils with the most signal.

    Buehrer et al., Magn Reson Med 57:1131-1139 (2007). The rows are orthonormal, so noise that
    was white stays white with the same standard deviation.

    Parameters
    ----------
    calibration_kspace : numpy.ndarray
        Complex, shape (coils, ...), whitened.
    n_virtual_coils : int, optional
        Keep this many.
    tolerance : float, optional
        Keep as few as leave out at most this fraction of the signal energy, 0 < tolerance < 1.

    Returns
    -------
    numpy.ndarray
        complex128, shape (virtual coils, coils).

    Raises
    ------
    ConfigurationError
        Unless exactly one of `n_virtual_coils` and `tolerance` is given, in its range.
    DtypeError, ShapeError
        If the data are real or have no axis but the coils'.
    """
    if not np.iscomplexobj(calibration_kspace):
        raise DtypeError(f"k-space must be complex, found {calibration_kspace.dtype}")
    if calibration_kspace.ndim < 2:
        raise ShapeError(
            f"k-space must have the shape (coils, ...), found {calibration_kspace.shape}"
        )
    if (n_virtual_coils is None) == (tolerance is None):
        raise ConfigurationError(
            "coil compression needs either the number of virtual coils or a tolerance: give "
            "exactly one of them"
        )
    n_coils = calibration_kspace.shape[0]
    flat = calibration_kspace.reshape(n_coils, -1).astype(np.complex128)
    energies, vectors = np.linalg.eigh(flat @ flat.conj().T)
    energies, vectors = energies[::-1], vectors[:, ::-1]
    if tolerance is not None:
        if not 0 < tolerance < 1:
            raise ConfigurationError(f"tolerance must lie between 0 and 1, found {tolerance}")
        kept = np.cumsum(energies) / max(energies.sum(), np.finfo(float).tiny)
        n_virtual_coils = min(n_coils, int(np.searchsorted(kept, 1 - tolerance)) + 1)
    if n_virtual_coils is None or not 1 <= n_virtual_coils <= n_coils:
        raise ConfigurationError(
            f"{n_virtual_coils} virtual coils cannot be made of {n_coils} coils: choose 1 to "
            f"{n_coils}"
        )
    return vectors[:, :n_virtual_coils].conj().T
