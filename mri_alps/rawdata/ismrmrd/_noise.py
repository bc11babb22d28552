"""Noise covariance from ISMRMRD noise acquisitions.

Convention of the whole package, stated here once: the covariance is **per real component**,
element (c, d) = E[n_c conj(n_d)] / 2 of the complex noise n of one k-space sample, so the
diagonal is the variance of the real part alone. Noise is white over the receiver bandwidth, so
its variance goes with 1 / dwell time:

    cov_image = cov_noise * (dwell_noise / dwell_image) / relativeReceiverNoiseBandwidth / n

with n averages. The transforms of the package are orthonormal, so removing the readout
oversampling leaves the variance of a sample as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata.ismrmrd._lines import LineTable, read_lines
from mri_alps.rawdata.ismrmrd.heads import Heads, kept_samples

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.store import AcquisitionStore


def measured_noise(
    store: AcquisitionStore,
    noise: Heads,
    n_coils: int,
    image_dwell_us: float,
    bandwidth: float | None,
    n_averages: int,
) -> tuple[np.ndarray | None, dict[str, Any], list[str]]:
    """Return the covariance of the imaging noise, json-able facts about it, and warnings.

    Parameters
    ----------
    store : AcquisitionStore
        The acquisitions.
    noise : Heads
        Noise acquisitions, possibly none.
    n_coils : int
        Coils of the imaging lines.
    image_dwell_us : float
        Dwell time of the imaging lines.
    bandwidth : float or None
        relativeReceiverNoiseBandwidth of the header.
    n_averages : int
        Averages of the least averaged line.

    Returns
    -------
    covariance : np.ndarray or None
        complex128 (coils, coils), per real component; None if there is no usable measurement.
    provenance : dict
        Includes "factor", imaging over measured variance without the averages.
    warnings : list of str
        Sentences.

    Raises
    ------
    InputFileError
        If a noise acquisition holds NaN or Inf.
    """
    warnings: list[str] = []
    if len(noise) == 0:
        return None, {"source": "no noise acquisitions"}, warnings
    usable = (noise.active_channels == n_coils) & (kept_samples(noise)[1] > 0)
    if not usable.all():
        warnings.append(
            f"{int((~usable).sum())} noise acquisitions have other coils than the image or no "
            "samples; they are left out"
        )
        noise = noise.take(usable)
    if bandwidth is None or bandwidth <= 0:
        warnings.append("the header has no relativeReceiverNoiseBandwidth; 1 is taken")
        bandwidth = 1.0
    dwell_ratio = np.ones(len(noise))
    if image_dwell_us > 0 and (noise.sample_time_us > 0).all():
        dwell_ratio = noise.sample_time_us.astype(float) / image_dwell_us
    else:
        warnings.append("dwell times are missing; noise and image are taken to have the same")
    total, n_samples = _scatter_matrix(store, noise, n_coils, dwell_ratio / bandwidth)
    if n_samples < 2 * n_coils:
        warnings.append(
            f"{n_samples} noise samples are too few for {n_coils} coils; the noise must be "
            "estimated from the image lines"
        )
        return None, {"source": "too few noise samples"}, warnings
    covariance = total / (2 * n_samples * n_averages)
    if not (np.diag(covariance).real > 0).all():
        warnings.append("a coil has no noise at all in the noise acquisitions; they are ignored")
        return None, {"source": "noise acquisitions with an empty coil"}, warnings
    provenance = {
        "source": f"{len(noise)} noise acquisitions",
        "n_samples": n_samples,
        "dwell_noise_us": float(np.mean(noise.sample_time_us)),
        "dwell_image_us": float(image_dwell_us),
        "relative_receiver_noise_bandwidth": float(bandwidth),
        "factor": float(np.mean(dwell_ratio)) / bandwidth,
        "n_averages": int(n_averages),
    }
    return covariance, provenance, warnings


def _scatter_matrix(
    store: AcquisitionStore, noise: Heads, n_coils: int, factor: np.ndarray
) -> tuple[np.ndarray, int]:
    _, count = kept_samples(noise)
    zero = np.zeros(len(noise), np.int64)
    table = LineTable(
        noise.index,
        zero,
        zero,
        zero,
        zero.astype(bool),
        noise.discard_pre,
        count,
        zero,
        noise.number_of_samples,
    )
    total = np.zeros((n_coils, n_coils), np.complex128)
    with store.opened() as read:
        for line, samples in read_lines(read, table, np.arange(len(noise)), store.path):
            if samples.shape[0] != n_coils or not np.isfinite(samples).all():
                raise InputFileError(
                    f"{store.path}: noise acquisition {int(noise.index[line])} holds NaN, Inf or "
                    "too few coils: remove it or export the scan again"
                )
            wide = samples.astype(np.complex128)
            total += factor[line] * (wide @ wide.conj().T)
    return total, int(count.sum())
