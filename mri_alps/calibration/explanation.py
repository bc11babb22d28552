"""Whether an image explains what was measured: looked at when a slice is finished.

Noise and maps may be wrong in ways that the prior hides: the image still looks like a head. But the
centre of k-space, nearly all of the signal, was measured, so that an image which does not give it
back is wrong, whatever weights the samples had.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from mri_alps.calibration.doubts import likeliest_cause
from mri_alps.calibration.line_weights import LARGEST_ERROR
from mri_alps.calibration.maps_error import gaussian_mean
from mri_alps.calibration.peak import distance_from_center

if TYPE_CHECKING:
    import torch

    from mri_alps.calibration.acquisition import Acquisition

LARGEST_MISFIT = 0.25
"""Part of the centre, by its norm, that an image may leave over; half of it or less is left with
maps that were shifted by a twentieth of the image, four fifths with those of other coils."""
OUTER_MISFIT = 2.0
"""Squared rest of the samples beside the centre, over what noise and allowance say, from which a
warning is given."""


class Explanation(NamedTuple):
    """What an image leaves of the data.

    Attributes
    ----------
    center : float
        Norm of what is left of the measured centre of the coils' k-space, their low-resolution
        images, over its norm, noise taken off; NaN where nothing of it was measured.
    outer : float
        Mean square of what is left of the other samples, over what noise and allowance for the
        maps say: about 1 or less. NaN where there are none.
    """

    center: float
    outer: float


NOTHING_TO_EXPLAIN = Explanation(math.nan, math.nan)
"""Of a slice without signal."""


class Verdict(NamedTuple):
    """What is said of an image.

    Attributes
    ----------
    sentence : str or None
        What was found, expected and is likeliest to be wrong; None where all is well.
    is_refused : bool
        Whether the image must not be taken for a reconstruction.
    """

    sentence: str | None = None
    is_refused: bool = False


def explain(acquisition: Acquisition, image: torch.Tensor) -> Explanation:
    """Compare the k-space that an image predicts with the measured one: one `forward`.

    Parameters
    ----------
    acquisition : Acquisition
        The slice.
    image : torch.Tensor
        complex64 (H, W), of unit scale; (sets, H, W) of several sets of maps.
    """
    if acquisition.is_empty:
        return NOTHING_TO_EXPLAIN
    kspace, center = acquisition.kspace, acquisition.center
    measured = acquisition.mask.expand(kspace.shape[1:])
    rest = kspace - acquisition.operator_with(None).forward(image.to(kspace.device))
    rest = rest * measured
    inner, outer = measured & center, measured & ~center
    weighted = rest if acquisition.weights is None else rest * acquisition.weights
    variance = 2 * acquisition.noise_std**2
    noise = variance * len(kspace) * int(inner.sum())
    signal = max(_energy(kspace[:, inner]) - noise, noise)
    error = math.sqrt(max(_energy(rest[:, inner]) - noise, 0) / signal) if noise else math.nan
    n_outer = len(kspace) * int(outer.sum())
    misfit = _energy(weighted[:, outer]) / (variance * n_outer) if n_outer else math.nan
    return Explanation(error, misfit)


def judge(acquisition: Acquisition, explanation: Explanation) -> Verdict:
    """Say whether an image explains the data, and if not, what is likeliest to be wrong.

    Parameters
    ----------
    acquisition : Acquisition
        The slice.
    explanation : Explanation
        From `explain`, of the posterior mean.
    """
    center, outer = explanation
    if center > LARGEST_ERROR:
        found = (
            f"the image leaves {100 * center:.0f} % of the low-resolution coil images, the centre "
            f"of k-space, unexplained, where at most {100 * LARGEST_ERROR:.0f} % are expected"
        )
        if _sampler_is_to_blame(acquisition):
            return Verdict(f"{found}: data and maps agree, so raise the number of evaluations")
        return Verdict(
            f"{found}; the likeliest cause is {_cause(acquisition)}", center > LARGEST_MISFIT
        )
    if outer > OUTER_MISFIT:
        return Verdict(
            f"the image explains the centre of k-space, and leaves {math.sqrt(outer):.1f} times of "
            "the other samples what noise and allowance for the maps say: the likeliest cause is "
            f"{_outer_cause(acquisition)}"
        )
    return Verdict()


def _energy(values: torch.Tensor) -> float:
    return float(values.abs().double().square().sum())


def _sampler_is_to_blame(acquisition: Acquisition) -> bool:
    """Whether an image that explains the centre is found without the sampler and its prior."""
    image = gaussian_mean(acquisition.operator(), acquisition.data(), acquisition.noise_std)
    return explain(acquisition, image).center <= LARGEST_ERROR


def _cause(acquisition: Acquisition) -> str:
    info = acquisition.info
    along_shots = acquisition.trajectory is not None
    return likeliest_cause(
        (0, 0) if along_shots else distance_from_center(acquisition.kspace),
        info.get("sensitivity_maps"),
        info.get("calibration_region", [0, 0]),
        info.get("trajectory") if along_shots else None,
    )


def _outer_cause(acquisition: Acquisition) -> str:
    if acquisition.info.get("noise_source") == "noise scan":
        return "motion between calibration and imaging, or lines that were corrupted: scan again"
    source = acquisition.info.get("noise_source")
    return (
        f"noise that was underestimated (source: {source}), or motion between calibration and "
        "imaging: give noise_std, or scan again"
    )
