"""From raw k-space to what a sampler needs: one slice, whitened and scaled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from mri_alps.calibration.compression import compression_matrix
from mri_alps.calibration.line_weights import sampling_weights
from mri_alps.calibration.maps_error import MapsError, fit_maps_error
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.calibration.refinement import refine_sensitivity_maps
from mri_alps.calibration.region import CalibrationRegion, find_calibration_region, require
from mri_alps.calibration.row_compression import (
    compress_rows,
    require_full_readout,
    row_compression_matrices,
)
from mri_alps.calibration.scale import calibration_scale
from mri_alps.calibration.sensitivity import estimate_sensitivity_maps
from mri_alps.calibration.volume import VolumeCalibration, calibrate_volume, combined_mask
from mri_alps.core.devices import find_device
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning, ShapeError
from mri_alps.core.magnitudes import root_sum_of_squares, unit_of
from mri_alps.core.values import MOST, check, instance, number, whole
from mri_alps.operators import SenseOperator
from mri_alps.rawdata import RawKSpace, smallest_mask

_RULES = {
    "raw": instance(RawKSpace, named="a scan as read_raw returns it"),
    "index": whole(-MOST),
    "calibration": instance(VolumeCalibration).or_none(),
    "n_virtual_coils": whole(1).or_none(),
    "compression_tolerance": number().or_none(),
    "row_compression_tolerance": number().or_none(),
    "noise_std": number(0).or_none(),
    "maps_error": number(0, 1e3, ends="[]").or_none(),
}
DOUBTFUL_MAPS = 0.1
"""Relative error of the sensitivity maps from which on a warning is given."""
PLAUSIBLE_NOISE = (1e-5, 0.5)
"""Range of `noise_std` (relative to the image scale) beyond which something is wrong."""


class InverseProblem(NamedTuple):
    """data = operator x + n, with n of `noise_std` per real component.

    Parameters
    ----------
    operator : SenseOperator
        A, with the weights of measured samples.
    data : torch.Tensor
        complex64 (coils, H, W), k-space times the weights.
    noise_std : float
        Of all of `data`.
    """

    operator: SenseOperator
    data: torch.Tensor
    noise_std: float


@dataclass(frozen=True)
class Acquisition:
    """One slice, whitened and scaled: kspace = mask F S x + n.

    x has about unit size (its image scale is 1), F is the centred orthonormal Fourier
    transform, n has the standard deviation `noise_std` per real component, independent between
    coils and samples.

    Parameters
    ----------
    kspace : torch.Tensor
        complex64 (coils, H, W): whitened, compressed if asked for, divided by `scale`; zero
        outside the mask.
    mask : torch.Tensor
        bool (H, W), or (W,) where whole lines were measured.
    sensitivity_maps : torch.Tensor
        complex64 (coils, H, W) of the whitened (and compressed) coils, sum over coils of
        |S|^2 = 1 inside the support and 0 outside.
    noise_std : float
        1 / scale.
    scale : float
        Raw units of the whitened, coil-combined image: image = scale * x.
    rss_weight : torch.Tensor
        float32 (H, W): sqrt(sum_c |(W^-1 S)_c|^2) over the uncompressed coils; |x| times
        rss_weight times scale is in the units of the scan's own root-sum-of-squares image.
    whitening : numpy.ndarray
        complex128 (coils, coils) W of the uncompressed coils.
    compression : numpy.ndarray or None
        (virtual coils, coils) with orthonormal rows, or one such matrix for each readout
        position, (H, virtual coils, coils); None without compression.
    maps_uncompressed : torch.Tensor
        complex64 (coils, H, W), the maps of the whitened coils before compression, in the
        normalisation in which they go with x.
    info : dict
        json-able: noise source, calibration region, notes.
    weights : torch.Tensor or None
        float32, shape of `mask` or (H, W): how far each measured sample is trusted (see
        `mri_alps.calibration.line_weights`); None for 1 everywhere.
    is_empty : bool
        True where all measured samples are zero, as outside of the head in a padded volume:
        there is nothing to infer, the image is zero. Maps are zero then, `scale` is 1.
    """

    kspace: torch.Tensor
    mask: torch.Tensor
    sensitivity_maps: torch.Tensor
    noise_std: float
    scale: float
    rss_weight: torch.Tensor
    whitening: np.ndarray
    compression: np.ndarray | None
    maps_uncompressed: torch.Tensor = field(repr=False)
    info: dict[str, Any] = field(default_factory=dict)
    weights: torch.Tensor | None = None
    is_empty: bool = False

    def problem(self) -> InverseProblem:
        """Return what `sample_posterior` takes after the prior: operator, data and noise level.

        The weights of measured samples are part of operator and data, as `reconstruct` uses
        them: ``sample_posterior(prior, *acquisition.problem())`` is its posterior.
        """
        return InverseProblem(self.operator(), self.data(), self.noise_std)

    def operator(self) -> SenseOperator:
        """Return A with the weights, which goes with `data()`."""
        return SenseOperator(self.sensitivity_maps, self.mask, self.weights)

    def data(self) -> torch.Tensor:
        """Return k-space times the weights, (coils, H, W): noise and model error in one level."""
        return self.kspace if self.weights is None else self.kspace * self.weights

    @property
    def shape(self) -> tuple[int, int]:
        """(readout, phase_encode) of the image."""
        return (self.kspace.shape[-2], self.kspace.shape[-1])

    def raw_sensitivity_maps(self) -> torch.Tensor:
        """Maps of the scan's own coils, complex64 (coils, H, W): W^-1 S.

        Times scale * x they predict the coil images, and so the k-space, of the file.
        """
        inverse = torch.as_tensor(np.linalg.inv(self.whitening))
        maps = self.maps_uncompressed
        return torch.tensordot(inverse.to(maps.device, maps.dtype), maps, dims=1)


def prepare_slice(
    raw: RawKSpace,
    index: int,
    mask: np.ndarray | None = None,
    *,
    calibration: VolumeCalibration | None = None,
    sensitivity_maps: np.ndarray | torch.Tensor | None = None,
    n_virtual_coils: int | None = None,
    compression_tolerance: float | None = None,
    row_compression_tolerance: float | None = None,
    noise_std: float | None = None,
    maps_error: float | None = None,
    device: torch.device | str = "cpu",
) -> Acquisition:
    """Whiten, calibrate and scale one slice.

    The order matters: the mask is applied first, so nothing outside it is used; noise is
    looked at before anything colours it; maps are those of the whitened coils.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    mask : numpy.ndarray, optional
        Retrospective bool mask, broadcastable to (readout, phase_encode); samples count as
        measured where both it and the scan's own mask say so.
    calibration : VolumeCalibration, optional
        From `calibrate_volume`, so that the noise of a volume is looked at only once.
    sensitivity_maps : array, optional
        Complex (coils, readout, phase_encode), maps of the scan's own coils (not whitened) in
        any normalisation, zero outside the object; estimated if left out, and refined where the
        data do not agree with them (`refine_sensitivity_maps`).
    n_virtual_coils : int, optional
        Compress to this many coils.
    compression_tolerance : float, optional
        Or compress until this fraction of the calibration energy is lost.
    row_compression_tolerance : float, optional
        Or compress at each readout position anew, until this fraction of a pixel's sensitivity
        is lost (see `row_compression_matrices`); whole lines along the readout only.
    noise_std : float, optional
        As in `calibrate_volume`; only without `calibration`.
    maps_error : float, optional
        Relative error of the sensitivity maps that is allowed for, of scans with several coils,
        see `sampling_weights`; what the data call for if left out, see `fit_maps_error`.
    device : torch.device or str
        Where the result lies.

    Returns
    -------
    Acquisition
        The slice.

    Raises
    ------
    InputFileError
        If there is no calibration region and no maps are given, or the slice cannot be read.
    ShapeError
        If mask or maps do not fit.
    ConfigurationError
        If the compression asked for is impossible.

    Warns
    -----
    MriAlpsWarning
        If the noise is implausible, or the sensitivity maps do not explain the data.
    """
    check("prepare_slice", _RULES, locals())
    device = find_device(device)
    measured = combined_mask(raw, index, mask)
    kspace = raw.read_slice(index) * measured
    if calibration is None:
        calibration = calibrate_volume(raw, mask, noise_std=noise_std)
    if not kspace.any():
        return _empty(raw, measured, calibration, device)
    region = find_calibration_region(raw, index, kspace, measured)
    kspace = apply_to_coils(calibration.whitening, kspace)
    region = CalibrationRegion(apply_to_coils(calibration.whitening, region.kspace), region.source)
    maps = _whitened_maps(raw, index, region, sensitivity_maps, calibration, device)
    scale = _scale(raw, index, region, maps, kspace, measured)
    sampled = torch.as_tensor(smallest_mask(measured), device=device)
    refined = None
    if sensitivity_maps is None and maps_error is None and raw.n_coils > 1:
        scaled = torch.as_tensor(kspace / np.float32(scale), device=device)
        refined = refine_sensitivity_maps(scaled, sampled, maps, 1 / scale)
        maps = refined.sensitivity_maps
    compressed = _compress(
        kspace,
        maps,
        region.kspace if min(region.size) > 0 else kspace,
        measured,
        n_virtual_coils,
        compression_tolerance,
        row_compression_tolerance,
    )
    kspace, compression, maps, full_maps = compressed
    info = {
        "noise_source": calibration.noise_source,
        "noise_std_per_coil": np.sqrt(np.diag(calibration.noise_covariance).real).tolist(),
        "calibration_region": list(region.size),
        "calibration_source": region.source,
        "sensitivity_maps": "user" if sensitivity_maps is not None else "ESPIRiT",
        "n_virtual_coils": kspace.shape[0],
        "n_averages": raw.n_averages,
        "notes": list(calibration.notes),
    }
    _judge_noise(raw, index, 1 / scale, info)
    inverse = torch.as_tensor(np.linalg.inv(calibration.whitening)).to(maps.device, maps.dtype)
    raw_maps = torch.tensordot(inverse, full_maps, dims=1)
    kspace = torch.as_tensor(kspace / np.float32(scale), device=device)
    weights = None
    if raw.n_coils > 1:  # a single coil has no maps that could be wrong
        known = None
        if refined is not None:
            info["maps_refined"] = refined.n_rounds
            known = refined.error if compression is None else None
        weights = _weigh(kspace, sampled, maps, 1 / scale, maps_error, known, info)
        _judge_maps(raw, index, info)
        info["smallest_weight"] = float(weights.min())
    return Acquisition(
        kspace=kspace,
        mask=sampled,
        weights=weights,
        sensitivity_maps=maps,
        noise_std=1 / scale,
        scale=scale,
        rss_weight=root_sum_of_squares(raw_maps),
        whitening=calibration.whitening,
        compression=compression,
        maps_uncompressed=full_maps,
        info=info,
    )


def _empty(
    raw: RawKSpace,
    measured: np.ndarray,
    calibration: VolumeCalibration,
    device: torch.device | str,
) -> Acquisition:
    """A slice without signal, whose image is zero whatever the maps."""
    zeros = torch.zeros((raw.n_coils, *raw.shape), dtype=torch.complex64, device=device)
    info = {
        "noise_source": calibration.noise_source,
        "calibration_source": "nothing: all samples are zero",
        "notes": list(calibration.notes),
    }
    return Acquisition(
        kspace=zeros,
        mask=torch.as_tensor(smallest_mask(measured), device=device),
        sensitivity_maps=zeros,
        noise_std=1.0,
        scale=1.0,
        rss_weight=zeros[0].real,
        whitening=calibration.whitening,
        compression=None,
        maps_uncompressed=zeros,
        info=info,
        is_empty=True,
    )


def _whitened_maps(
    raw: RawKSpace,
    index: int,
    region: CalibrationRegion,
    given: np.ndarray | torch.Tensor | None,
    calibration: VolumeCalibration,
    device: torch.device | str,
) -> torch.Tensor:
    if given is None:
        if raw.n_coils > 1:
            require(raw, index, region)
            return estimate_sensitivity_maps(region.kspace, raw.shape, noise_std=1.0, device=device)
        return torch.ones((1, *raw.shape), dtype=torch.complex64, device=device)
    array = given.cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    expected = (raw.n_coils, *raw.shape)
    if array.shape != expected or not np.isfinite(array).all():
        raise ShapeError(
            f"sensitivity maps of shape {array.shape} do not fit {raw.path}, which needs finite "
            f"maps of shape {expected} (coils, readout, phase encode)"
        )
    maps = apply_to_coils(calibration.whitening, array.astype(np.complex64))
    return _normalise(torch.as_tensor(maps, device=device))[0]


def _normalise(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide maps by their norm over coils; zero stays zero. Returns maps and norm."""
    unit = unit_of(maps)
    maps = maps / unit
    norm = root_sum_of_squares(maps)
    return torch.where(norm > 0, maps / norm.clamp_min(1e-20), 0), norm * unit


class _Compressed(NamedTuple):
    """K-space of the virtual coils, the matrices, their maps, and the uncompressed ones."""

    kspace: np.ndarray
    compression: np.ndarray | None
    maps: torch.Tensor
    full_maps: torch.Tensor


def _compress(
    kspace: np.ndarray,
    maps: torch.Tensor,
    source: np.ndarray,
    measured: np.ndarray,
    n_virtual_coils: int | None,
    tolerance: float | None,
    row_tolerance: float | None,
) -> _Compressed:
    if row_tolerance is not None:
        if n_virtual_coils is not None or tolerance is not None:
            raise ConfigurationError(
                "row_compression_tolerance goes with no other coil compression: give one of them"
            )
        require_full_readout(measured)
        matrices = row_compression_matrices(maps, row_tolerance)
        kspace = compress_rows(kspace, matrices)
        return _Compressed(kspace, matrices.cpu().numpy(), *_compress_maps(matrices, maps))
    if len(kspace) > 1 and (n_virtual_coils is not None or tolerance is not None):
        matrix = compression_matrix(source, n_virtual_coils, tolerance)
        kspace = apply_to_coils(matrix, kspace)
        return _Compressed(kspace, matrix, *_compress_maps(torch.as_tensor(matrix), maps))
    return _Compressed(kspace, None, maps, maps)


def _compress_maps(
    compression: torch.Tensor, maps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of the virtual coils, and the uncompressed ones in the new image's normalisation.

    Where compression loses a part of a pixel's sensitivity, the virtual maps are normalised
    again, which makes the image smaller by that part; the uncompressed maps grow by it.
    """
    matrix = compression.to(maps.device, maps.dtype)
    # (virtual, coils), or one for each row: (H, virtual, coils) @ (H, coils, W).
    virtual, norm = _normalise((matrix @ maps.transpose(0, 1)).transpose(0, 1))
    return virtual, torch.where(norm > 0, maps / norm.clamp_min(1e-20), 0)


def _scale(
    raw: RawKSpace,
    index: int,
    region: CalibrationRegion,
    maps: torch.Tensor,
    kspace: np.ndarray,
    measured: np.ndarray,
) -> float:
    ratio = (raw.shape[0] / raw.crop[0], raw.shape[1] / raw.crop[1])
    try:
        if min(region.size) >= 4:
            return calibration_scale(region.kspace, maps, ratio)
        # Without a fully sampled centre, what there is of it stands for the rest.
        fraction = measured.mean() if measured.any() else 1.0
        return calibration_scale(kspace / np.float32(fraction), maps, ratio)
    except InputFileError as error:
        raise InputFileError(f"{raw.path}: slice {index}: {error}") from None


def _weigh(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    maps: torch.Tensor,
    noise_std: float,
    maps_error: float | None,
    known: MapsError | None,
    info: dict[str, Any],
) -> torch.Tensor:
    """How far each line or sample is trusted; the error that is allowed for goes into `info`."""
    if maps_error is not None:
        info["maps_error"] = maps_error
        return sampling_weights(kspace, mask, noise_std, maps_error)
    found = known or fit_maps_error(kspace, mask, maps, noise_std)
    info |= {"maps_error": found.relative_error, "maps_misfit": found.misfit}
    return found.weights


def _judge_maps(raw: RawKSpace, index: int, info: dict[str, Any]) -> None:
    error = info["maps_error"]
    if "maps_misfit" not in info or error < DOUBTFUL_MAPS:
        return
    note = (
        f"{raw.path}: slice {index}: no image explains the data of all coils with these "
        f"sensitivity maps, of which an error of {100 * error:.0f} % is allowed for (calibration "
        f"region {info['calibration_region'][0]}x{info['calibration_region'][1]}): scan with "
        "more calibration lines, or hand in better maps"
    )
    info["notes"].append(note)
    warnings.warn(note, MriAlpsWarning, stacklevel=3)


def _judge_noise(raw: RawKSpace, index: int, noise_std: float, info: dict[str, Any]) -> None:
    low, high = PLAUSIBLE_NOISE
    if low <= noise_std <= high:
        return
    note = (
        f"{raw.path}: slice {index} has noise of {noise_std:.2g} times the image scale (source: "
        f"{info['noise_source']}), where {low:g} to {high:g} is plausible: check the noise scan, "
        "or give noise_std"
    )
    info["notes"].append(note)
    warnings.warn(note, MriAlpsWarning, stacklevel=3)
