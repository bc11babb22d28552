"""From raw k-space to what a sampler needs: one slice, whitened and scaled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mri_alps.calibration.acquisition import Acquisition
from mri_alps.calibration.chain import (
    WeightedSlice,
    choose_maps,
    compress,
    estimate_maps,
    refine_maps,
    scale,
    use_given_maps,
    weigh,
    whiten,
)
from mri_alps.calibration.doubts import doubts_about, path_facts, remarks_about
from mri_alps.calibration.lost_samples import refuse_lost_samples
from mri_alps.calibration.maps_deviation import measure_maps_deviation
from mri_alps.calibration.noncartesian.prepare import (
    read_shots,
    refuse_cartesian_settings,
    require_finufft,
    shot_maps,
    whiten_shots,
)
from mri_alps.calibration.region import MINIMUM_LINES
from mri_alps.calibration.scan_noise import combined_mask
from mri_alps.calibration.sensitivity import central_block
from mri_alps.calibration.volume import NOISE_STD, VolumeCalibration, calibrate_volume
from mri_alps.core.devices import find_device
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.core.magnitudes import root_sum_of_squares
from mri_alps.core.values import FUNCTION, MOST, check, instance, number, whole
from mri_alps.rawdata import RawKSpace, RawTrajectoryData, smallest_mask

if TYPE_CHECKING:
    from mri_alps.calibration.chain import ScaledSlice, WhitenedSlice
    from mri_alps.calibration.refinement import PointEstimate

_RULES = {
    "raw": instance(RawKSpace, named="a scan as read_raw returns it"),
    "index": whole(-MOST),
    "calibration": instance(VolumeCalibration).or_none(),
    "n_virtual_coils": whole(1).or_none(),
    "compression_tolerance": number().or_none(),
    "row_compression_tolerance": number().or_none(),
    "noise_std": NOISE_STD,
    "maps_error": number(0, 1e3, ends="[]").or_none(),
    "n_maps": whole(1).or_none(),
    "left_out": instance(np.ndarray, named="a bool array").or_none(),
    "estimate": FUNCTION.or_none(),
}


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
    noise_std: float | Sequence[float] | None = None,
    maps_error: float | None = None,
    left_out: np.ndarray | None = None,
    n_maps: int | None = None,
    estimate: PointEstimate | None = None,
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
        any normalisation, zero outside the object; or several sets of them (sets, coils, readout,
        phase_encode). They are used as they are, but where they lack signal that the calibration
        region shows (`complete_sets`) and all data agree better with others in their place.
        Estimated if left out, and refined where the data do not agree with them
        (`refine_sensitivity_maps`).
    n_virtual_coils : int, optional
        Compress to this many coils.
    compression_tolerance : float, optional
        Or compress until this fraction of the calibration energy is lost.
    row_compression_tolerance : float, optional
        Or compress at each readout position anew, until this fraction of a pixel's sensitivity
        is lost (see `row_compression_matrices`); whole lines along the readout only.
    noise_std : float or sequence of float, optional
        As in `calibrate_volume`; only without `calibration`.
    maps_error : float, optional
        Relative error of the sensitivity maps that is allowed for, of scans with several coils,
        see `sampling_weights`; what the data call for if left out, see `fit_maps_error`.
    left_out : numpy.ndarray, optional
        bool (shots,) of a scan along a trajectory: shots that count as not measured.
    n_maps : int, optional
        Sets of sensitivity maps, each with an image of its own. Left out: two (or as many as are
        given) where ESPIRiT's eigenvalues say that the object is larger than the field of view,
        else one.
    estimate : callable, optional
        From operator, data and noise_std the image (readout, phase_encode), by a learned prior:
        maps that are estimated from few calibration lines are improved with it.
    device : torch.device or str
        Where the result lies.

    Returns
    -------
    Acquisition
        The slice.

    Raises
    ------
    InputFileError
        If there is no calibration region and no maps are given, or the slice cannot be read, or
        lost samples that its mask says were measured.
    ShapeError
        If mask or maps do not fit.
    ConfigurationError
        If the compression, or the number of sets, asked for is impossible.

    Warns
    -----
    MriAlpsWarning
        If the noise is implausible, or given maps are zero where there is signal, or one set of
        maps is used where the field of view is smaller than the object, or no image explains the
        data of all coils; the likeliest cause is named.
    """
    check("prepare_slice", _RULES, locals())
    device = find_device(device)
    if isinstance(raw, RawTrajectoryData):
        refuse_cartesian_settings(raw, mask, row_compression_tolerance, n_maps)
        require_finufft(raw)
        calibration = calibration or calibrate_volume(raw, noise_std=noise_std)
        kspace, path = read_shots(raw, index, calibration, left_out)
        if not kspace.size:
            return _empty(raw, index, np.ones(raw.shape, bool), calibration, device)
        scaled = _scaled_shots(raw, index, kspace, path, calibration, sensitivity_maps, device)
    else:
        _refuse_left_out(raw, left_out)
        measured = combined_mask(raw, index, mask)
        kspace = raw.read_slice(index) * measured
        calibration = calibration or calibrate_volume(raw, mask, noise_std=noise_std)
        if not kspace.any():
            return _empty(raw, index, measured, calibration, device)
        refuse_lost_samples(raw, index, kspace, measured)
        whitened = whiten(raw, index, kspace, measured, calibration)
        if sensitivity_maps is None:
            scaled = _with_own_maps(whitened, device, n_maps, maps_error, estimate)
        else:
            scaled = _with_given_maps(whitened, sensitivity_maps, device, n_maps)
    compressed = compress(scaled, n_virtual_coils, compression_tolerance, row_compression_tolerance)
    return _acquisition(weigh(compressed, maps_error))


def _refuse_left_out(raw: RawKSpace, left_out: np.ndarray | None) -> None:
    if left_out is not None:
        raise ConfigurationError(
            f"left_out names shots, and {raw.path} has lines: take them out of the mask"
        )


def _scaled_shots(
    raw: RawTrajectoryData,
    index: int,
    kspace: np.ndarray,
    path: np.ndarray,
    calibration: VolumeCalibration,
    sensitivity_maps: np.ndarray | torch.Tensor | None,
    device: torch.device,
) -> ScaledSlice:
    """First to third stage of shots along a trajectory."""
    has_maps = sensitivity_maps is not None and raw.n_coils > 1
    shots, center = whiten_shots(raw, index, kspace, path, calibration, has_maps)
    return scale(shot_maps(shots, center, sensitivity_maps, device))


def _with_own_maps(
    whitened: WhitenedSlice,
    device: torch.device,
    n_maps: int | None,
    maps_error: float | None,
    estimate: PointEstimate | None,
) -> ScaledSlice:
    """Second and third stage with maps that are estimated; refined if their error is open."""
    scaled = choose_maps(scale(estimate_maps(whitened, device, n_maps)))
    is_open = maps_error is None and whitened.raw.n_coils > 1
    return refine_maps(scaled, estimate) if is_open else scaled


def _with_given_maps(
    whitened: WhitenedSlice,
    sensitivity_maps: np.ndarray | torch.Tensor,
    device: torch.device,
    n_maps: int | None,
) -> ScaledSlice:
    """Second and third stage with maps from outside; completed ones are no second estimate."""
    scaled = choose_maps(scale(use_given_maps(whitened, sensitivity_maps, device, n_maps)))
    return replace(scaled, alternative=None)


def _acquisition(weighted: WeightedSlice) -> Acquisition:
    """Last stage: what is kept of all stages, looked at and told of."""
    compressed = weighted.compressed
    scaled = compressed.scaled
    maps, further = _first_and_further(compressed.maps_uncompressed)
    virtual, further_virtual = _first_and_further(compressed.sensitivity_maps)
    whitening = scaled.whitened.calibration.whitening
    inverse = torch.as_tensor(np.linalg.inv(whitening)).to(maps.device, maps.dtype)
    deviation, info = measure_maps_deviation(scaled), _information(weighted)
    if deviation is not None:
        inside = deviation > 0
        info["maps_deviation"] = float(deviation[inside].square().mean().sqrt())
        info["notes"].append(
            f"{scaled.whitened.name}: sensitivity maps of {min(scaled.whitened.region.size)} "
            "calibration lines are uncertain: two estimates of them lead to images that differ by "
            f"{100 * info['maps_deviation']:.1f} % of full brightness, which the deviation allows "
            f"for; {MINIMUM_LINES} lines or more make them certain"
        )
    return Acquisition(
        kspace=compressed.kspace,
        mask=scaled.mask,
        weights=weighted.weights,
        sensitivity_maps=virtual,
        noise_std=scaled.noise_std,
        scale=scaled.scale,
        rss_weight=root_sum_of_squares(torch.tensordot(inverse, maps, dims=1)),
        whitening=whitening,
        compression=compressed.compression,
        maps_uncompressed=maps,
        info=info,
        calibration_kspace=central_block(scaled.whitened.region.kspace),
        trajectory=scaled.trajectory,
        further_maps=further_virtual,
        further_maps_uncompressed=further,
        further_powers=scaled.mapped.powers,
        maps_deviation=deviation,
        line_noise=weighted.line_noise,
    )


def _first_and_further(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    return (maps, None) if maps.ndim == 3 else (maps[0], maps[1:])


def _information(weighted: WeightedSlice) -> dict[str, Any]:
    scaled = weighted.compressed.scaled
    whitened = scaled.whitened
    calibration = whitened.calibration
    notes = doubts_about(weighted)
    for note in notes:
        warnings.warn(note, MriAlpsWarning, stacklevel=4)
    info = {
        "noise_source": calibration.noise_source,
        "noise_witnesses": list(calibration.witnesses),
        "noise_std_per_coil": np.sqrt(np.diag(calibration.noise_covariance).real).tolist(),
        "calibration_region": list(whitened.region.size),
        "calibration_source": whitened.region.source,
        "sensitivity_maps": scaled.mapped.source,
        "n_maps": 1 + len(scaled.mapped.powers),
        "n_virtual_coils": len(weighted.compressed.kspace),
        "n_averages": whitened.raw.n_averages,
        "notes": [*calibration.notes, *notes, *remarks_about(weighted)],
    }
    spectrum = calibration.noise_spectrum
    if spectrum is not None:
        info["noise_spectrum"] = {
            "center_lines": spectrum.level / spectrum.raised,
            "outermost_lines": spectrum.outermost / spectrum.raised,
            "standard_error": spectrum.standard_error,
        }
    if scaled.refined is not None:
        info["maps_refined"] = scaled.refined.n_rounds
        info["maps_estimates"] = scaled.refined.n_estimates
        info["maps_corrected"] = scaled.refined.is_corrected
    if weighted.weights is not None:
        info["maps_error"] = weighted.maps_error
        info["smallest_weight"] = float(weighted.weights.min())
    if weighted.found is not None:
        info["maps_misfit"] = weighted.found.misfit
        info["maps_error_found"] = weighted.found.found
        info["noise_factor"] = weighted.found.noise_factor
    if isinstance(whitened.raw, RawTrajectoryData):
        info["trajectory"] = {
            "kind": whitened.raw.kind,
            "n_shots": whitened.raw.n_used_shots,
            "unit": whitened.raw.units,
            **path_facts(calibration),
        }
    mapped = scaled.mapped
    if mapped.unexplained is not None:
        info["signal_beside_maps"] = mapped.unexplained._asdict()
    if mapped.folding is not None:
        info["folding"] = mapped.folding._asdict()
    if mapped.powers:
        info["power_in_further_maps"] = list(mapped.powers)
    if mapped.completion is not None:
        info["maps_completed"] = mapped.completion._asdict()
    return info


def _empty(
    raw: RawKSpace,
    index: int,
    measured: np.ndarray,
    calibration: VolumeCalibration,
    device: torch.device | str,
) -> Acquisition:
    """A slice without signal, whose image is zero whatever the maps."""
    zeros = torch.zeros((raw.n_coils, *raw.shape), dtype=torch.complex64, device=device)
    info = {
        "noise_source": calibration.noise_source,
        "calibration_source": "nothing: all samples are zero",
        "notes": [
            *calibration.notes,
            f"{raw.path}: slice {index} holds only zeros, and so does its image, deviation and all",
        ],
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
