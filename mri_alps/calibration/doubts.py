"""What calibration doubts: one sentence each, with the likeliest cause."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.calibration.chain.mapped import GIVEN
from mri_alps.calibration.folding import FOLDED_SHARE
from mri_alps.calibration.image_corners import CORNERS
from mri_alps.calibration.line_prediction import predict_lines
from mri_alps.calibration.line_weights import LARGEST_ERROR
from mri_alps.calibration.noise_witnesses import STEEPEST_FILTER
from mri_alps.calibration.noncartesian.delays import WARNED
from mri_alps.calibration.peak import distance_from_center

if TYPE_CHECKING:
    from mri_alps.calibration.chain import ScaledSlice, WeightedSlice
    from mri_alps.calibration.folding import Folding
    from mri_alps.calibration.volume import VolumeCalibration

PLAUSIBLE_NOISE = (1e-5, 0.5)
"""Range of `noise_std` (relative to the image scale) beyond which something is wrong."""
DOUBTFUL_MAPS = 0.15
"""Relative error of the maps that the data would call for, from which on it is told. Maps of 11 to
13 lines of small matrices call for 0.10 to 0.11."""
DOUBTFUL_NOISE = 1.5
"""Standard deviation that the data call for, over the stated one, from which a warning is given."""

NOTED_SHARE = 0.01
"""Part of the signal, by its norm, that given maps lack and own ones took over, from which it is
noted."""


def doubts_about(weighted: WeightedSlice) -> list[str]:
    """Return what the user should know of noise and maps of one slice.

    Parameters
    ----------
    weighted : WeightedSlice
        After all stages.
    """
    scaled = weighted.compressed.scaled
    return [
        *_noise_level(scaled),
        *_signal_outside(scaled),
        *_folding(scaled),
        *_misfit(weighted),
    ]


def remarks_about(weighted: WeightedSlice) -> list[str]:
    """Return what is worth a note, and no warning.

    Parameters
    ----------
    weighted : WeightedSlice
        After all stages.
    """
    scaled = weighted.compressed.scaled
    found = [*_number_of_sets(scaled), *_completed(scaled), *_no_center(scaled)]
    return [*found, *_spread_error(weighted)]


def likeliest_cause(
    shift: tuple[int, int],
    maps: str | None,
    region: list[int],
    trajectory: dict[str, Any] | None = None,
) -> str:
    """Return what is likeliest to be wrong where no image explains all coils, and what to do.

    Parameters
    ----------
    shift : tuple of int
        How far the largest samples lie from the centre of k-space, see `distance_from_center`.
    maps : str or None
        Source of the maps.
    region : list of int
        Extent of the calibration region.
    trajectory : dict, optional
        What is known of it, of a scan along one.
    """
    known = trajectory or {}
    if known.get("largest_delay", 0) >= WARNED and not known["delays_corrected"]:
        return (
            f"gradient delays of up to {known['largest_delay']:.2f} cycles per field of view, "
            "which were measured: correct them by --correct-delays"
        )
    if trajectory is not None and maps != GIVEN:
        return (
            "the trajectory (another order of its axes or of the shots, another unit, or gradient "
            "delays that were not measured) or motion between shots: check the trajectory, or hand "
            "in the right one"
        )
    if any(shift):
        return (
            f"the centre of k-space, whose largest samples lie {shift[0]} (readout) and {shift[1]} "
            "(phase encode) samples off: check the header, or shift the k-space"
        )
    if maps == GIVEN:
        return (
            "the maps that were given: check that they are of this slice and of these coils in "
            "this order and orientation, or leave them out"
        )
    return (
        f"the sensitivity maps, estimated from a calibration region of {region[0]}x{region[1]}: "
        "scan with more calibration lines, check for motion, or hand in better maps"
    )


def path_facts(calibration: VolumeCalibration) -> dict[str, Any]:
    """Return what is known of gradient delays, as JSON holds it.

    Parameters
    ----------
    calibration : VolumeCalibration
        Of a scan along a trajectory.
    """
    delays = calibration.delays
    if delays is None:
        return {"delays_corrected": False}
    return {
        "delays": [delays.first, delays.mixed, delays.second],
        "largest_delay": delays.largest,
        "opposed_pairs": delays.n_pairs,
        "delays_corrected": calibration.delays_corrected,
    }


def _noise_level(scaled: ScaledSlice) -> list[str]:
    low, high = PLAUSIBLE_NOISE
    if low <= scaled.noise_std <= high:
        return []
    return [
        f"{scaled.whitened.name} has noise of {scaled.noise_std:.2g} times the image scale "
        f"(source: {scaled.whitened.calibration.noise_source}), where {low:g} to {high:g} is "
        "plausible: check the noise scan, or give noise_std"
    ]


def _signal_outside(scaled: ScaledSlice) -> list[str]:
    beside = scaled.mapped.unexplained
    if beside is None or beside.outside < LARGEST_ERROR:
        return []
    return [
        f"{scaled.whitened.name}: the given sensitivity maps are zero where the low-resolution "
        f"images of the calibration region have {100 * beside.outside:.0f} % of their signal (norm "
        f"over the whole; at most {100 * LARGEST_ERROR:.0f} % is expected), which folds into the "
        "image: hand in maps with a larger support (bart ecalib -c0), or leave them out"
    ]


def _folding(scaled: ScaledSlice) -> list[str]:
    found = scaled.mapped.folding
    if found is None or not found.is_smaller_field_of_view or scaled.mapped.powers:
        return []
    way_out = "use two sets (--n-maps 2, n_maps=2), or scan with a larger field of view"
    if scaled.whitened.trajectory is not None:
        way_out = "scan with a larger field of view"
    return [
        f"{scaled.whitened.name}: {_where_it_folds(scaled, found)}: {100 * found.share:.0f} % of "
        f"the signal (norm) need a second set of maps, where at most {100 * FOLDED_SHARE:.0f} % is "
        "expected of one; the image is wrong there and where undersampling folds it, and the "
        f"deviation too small: {way_out}"
    ]


def _where_it_folds(scaled: ScaledSlice, found: Folding) -> str:
    axis, what = scaled.whitened.raw.axes[found.axis], ("rows", "columns")[found.axis]
    where = f"{what} {found.first} to {found.last}"
    if found.first > found.last:
        where = f"{what} {found.first} and above and {found.last} and below"
    return (
        f"the field of view is smaller than the object along the {axis.replace('_', ' ')}, near "
        f"{where}, where two places fold onto one pixel"
    )


def _number_of_sets(scaled: ScaledSlice) -> list[str]:
    """Say that several sets are used, or that of several given ones one is."""
    mapped, name = scaled.mapped, scaled.whitened.name
    if mapped.powers:
        n_sets, found = 1 + len(mapped.powers), mapped.folding
        where = ""
        if found is not None and found.is_smaller_field_of_view:
            where = f": {_where_it_folds(scaled, found)}, and the image shows both"
        elif found is not None and found.reaches_border:
            where = ": the object fills the field of view, where maps change from end to end"
        return [f"{name}: {n_sets} sets of sensitivity maps are used{where}"]
    if mapped.n_given > 1:
        return [
            f"{name}: of {mapped.n_given} sets of sensitivity maps that were given the first is "
            "used, turned to the signal, since no two places of the object share a pixel"
        ]
    return []


def _completed(scaled: ScaledSlice) -> list[str]:
    found = scaled.mapped.completion
    if found is None or found.across < NOTED_SHARE:
        return []
    return [
        f"{scaled.whitened.name}: the given sensitivity maps lack {100 * found.across:.0f} % of "
        f"the signal (norm) of the calibration region, at {100 * found.part:.1f} % of the pixels "
        "that show some; maps of its own take their place there"
    ]


def _no_center(scaled: ScaledSlice) -> list[str]:
    if scaled.trajectory is None or min(scaled.whitened.region.size) > 0:
        return []
    return [
        f"{scaled.whitened.name}: the shots do not cover the centre of k-space densely: the given "
        "sensitivity maps are judged by how well one image explains all samples, and the image "
        "scale comes from that image"
    ]


def _misfit(weighted: WeightedSlice) -> list[str]:
    scaled, found = weighted.compressed.scaled, weighted.found
    if found is None:
        return []
    whitened = scaled.whitened
    if found.found >= DOUBTFUL_MAPS:
        beside, region = scaled.mapped.unexplained, list(whitened.region.size)
        across = "" if beside is None else f" ({100 * beside.across:.0f} % in the centre)"
        along = scaled.trajectory is not None
        shift = (0, 0) if along else distance_from_center(scaled.kspace)
        path = path_facts(whitened.calibration) if along else None
        cause = likeliest_cause(shift, scaled.mapped.source, region, path)
        return [
            f"{whitened.name}: no image explains the data of all coils with these sensitivity "
            f"maps: an error of {100 * found.found:.0f} % of the signal would{across}, and "
            f"{100 * found.relative_error:.0f} % are allowed for; the likeliest cause is {cause}"
        ]
    if found.noise_factor >= DOUBTFUL_NOISE and _may_be_noise(weighted):
        return [
            f"{whitened.name}: no image explains the data of all coils with this noise (source: "
            f"{whitened.calibration.noise_source}): {found.noise_factor:.1f} times its standard "
            "deviation would, and is allowed for; the likeliest cause is the noise: check the "
            "noise scan, or give noise_std"
        ]
    return _lines(scaled, found.odd_lines)


def _may_be_noise(weighted: WeightedSlice) -> bool:
    """Whether there may be as much noise as the data call for, by what the image's corners show.

    These hold the noise of all of k-space; signal makes them louder, and a filter makes the noise
    at the centre `STEEPEST_FILTER` times as loud at most.
    """
    calibration, found = weighted.compressed.scaled.whitened.calibration, weighted.found
    corners = [fact["noise_std"] for fact in calibration.witnesses if fact["witness"] == CORNERS]
    if not corners or found is None:
        return True
    level = math.sqrt(float(np.diag(calibration.noise_covariance).real.mean()))
    return found.noise_factor * level <= STEEPEST_FILTER * corners[0]


def _spread_error(weighted: WeightedSlice) -> list[str]:
    """Note what is taken for noise and is none: errors of the maps all over k-space."""
    found = weighted.found
    if found is None or found.noise_factor < DOUBTFUL_NOISE or _may_be_noise(weighted):
        return []
    return [
        f"{weighted.compressed.scaled.whitened.name}: no image explains the data of all coils with "
        f"these sensitivity maps: {found.noise_factor:.1f} times the noise would, which is "
        "allowed for, and is more than the corners of the image show: errors of the maps"
    ]


def _lines(scaled: ScaledSlice, unexplained: tuple[int, ...]) -> list[str]:
    if scaled.trajectory is not None or _folding(scaled):  # one set cannot explain them: told
        return []
    prediction = predict_lines(scaled.kspace, scaled.mask, scaled.noise_std)
    # Maps are wrong where an object fills the view; a prediction, which needs none, knows better.
    lines = {*unexplained} - {*prediction.held} | {*prediction.failed}
    return _odd_lines(scaled.whitened.name, tuple(sorted(lines)))


def _odd_lines(name: str, lines: tuple[int, ...]) -> list[str]:
    if not lines:
        return []
    several = f"{len(lines)} lines along the phase encode (from {lines[0]} to {lines[-1]}) do"
    which = f"line {lines[0]} along the phase encode does" if len(lines) == 1 else several
    return [
        f"{name}: {which} not belong to the others: what no image of all coils explains, or the "
        "lines beside do not predict, is far larger there than noise and the allowance for the "
        "maps; the likeliest cause is motion during the scan, or lines that were corrupted, which "
        "the deviation does not allow for: scan again"
    ]
