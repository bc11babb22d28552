"""A reconstruction as a warm start: read or computed, checked, brought to the sampler's units.

XGP Algorithms 2 and 3 start from one, and so can the default sampler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import InputFileError
from mri_alps.core.settings import SettingError
from mri_alps.pipeline._wavelets import l1_wavelets
from mri_alps.pipeline.cg_sense import cg_sense
from mri_alps.pipeline.configuration import COMPUTED_STARTS
from mri_alps.rawdata import StoredImage, read_image
from mri_alps.sampling import InitialEstimate

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.rawdata import RawKSpace

CG_ITERATIONS, CG_WEIGHT = 10, 10.0
"""Of CG-SENSE; the weight of |x|^2 is in units of the noise variance."""
WAVELET_WEIGHT = 0.3
"""Threshold of the wavelet coefficients in units of the noise."""
WAVELET_ITERATIONS = 100
"""Of FISTA; 200 change 0.3 dB at most on two real and three simulated scans."""
PLAUSIBLE_FACTOR = 2.0
"""By how much an image may be larger or smaller than the data say."""
_FILE_FIRST = {"file": 2.0, "cg-sense": 1.0}
"""Energy of the data left unexplained that a phase may cost."""
LEAST_AGREEMENT = 0.5
"""Least correlation of its k-space with what was measured."""


@dataclass(frozen=True)
class WarmStart:
    """What one slice is sampled from.

    Attributes
    ----------
    estimate : InitialEstimate
        Image, and how far it can be trusted, in the sampler's units.
    facts : dict
        Where it is from and what was made of it, as JSON can hold it; `radius` and `sigma` in
        units of the image (root sum of squares).
    """

    estimate: InitialEstimate
    facts: dict[str, Any]


def wavelet_image(acquisition: Acquisition) -> torch.Tensor:
    """Return the L1-wavelet reconstruction of a slice, complex (H, W).

    Times `rss_weight` and `scale` of the slice it is in the units of the scan's own
    root-sum-of-squares image. The weights of samples, which allow for errors of the maps, are left
    out: with them the few iterations do not converge.

    Parameters
    ----------
    acquisition : Acquisition
        The prepared slice, of one set of maps.
    """
    operator, data, noise_std = acquisition.problem()
    if acquisition.trajectory is None:
        operator, data = acquisition.operator_with(None), acquisition.kspace
    return l1_wavelets(operator, data, WAVELET_WEIGHT * noise_std, WAVELET_ITERATIONS)


def check_warm_start(raw: RawKSpace, settings: ReconstructionConfiguration) -> None:
    """Raise unless the file of a warm start, if one is asked for, fits the scan.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    settings : ReconstructionConfiguration
        Name it.

    Raises
    ------
    InputFileError, SettingError
        If it cannot be read or does not fit, or does not say how far it can be trusted.
    """
    if settings.initial is None or settings.initial in COMPUTED_STARTS:
        return
    index = settings.slices[0] if settings.slices else 0
    stored = read_image(settings.initial, raw, index)
    if settings.initial_radius is None and settings.initial_sigma is None:
        _stated_radius(stored)


def warm_start(
    settings: ReconstructionConfiguration, raw: RawKSpace, index: int, acquisition: Acquisition
) -> WarmStart | None:
    """Return what the settings say that a slice is sampled from; None for the prior alone.

    A magnitude without phase gets that of CG-SENSE, and so does a complex image whose own phase
    leaves twice as much of the data unexplained, since it may go with other sensitivity maps.
    Beyond an image that is cropped, CG-SENSE goes on.

    Parameters
    ----------
    settings : ReconstructionConfiguration
        `initial` and what belongs to it.
    raw : RawKSpace
        The scan.
    index : int
        Slice.
    acquisition : Acquisition
        The prepared slice.

    Raises
    ------
    InputFileError
        If a file cannot be read, or its image is not one of this slice in the scan's units.
    SettingError
        If nothing says how far it can be trusted.
    """
    if settings.initial is None or acquisition.is_empty:
        return None
    if acquisition.n_sets > 1 and settings.initial != "cg-sense":
        raise SettingError(
            "initial",
            f"names one image, and slice {index} of {raw.path} has {acquisition.n_sets} sets of "
            "sensitivity maps with an image each: start from cg-sense, or leave it out",
        )
    operator, data, noise_std = acquisition.problem()
    stored = None
    if settings.initial == "wavelet":
        x = wavelet_image(acquisition)
        facts: dict[str, Any] = {"source": settings.initial}
    else:
        x = cg_sense(operator, data, CG_ITERATIONS, CG_WEIGHT * noise_std**2)
        facts = {"source": settings.initial}
    if settings.initial not in COMPUTED_STARTS:
        stored = read_image(settings.initial, raw, index)
        x, found = _placed(stored, x, raw, index, acquisition, settings.initial)
        facts = {"source": Path(settings.initial).name} | found
    # The weight of the root sum of squares is nearly constant inside the object.
    weight = acquisition.rss_weight * acquisition.scale
    unit = float((weight * x).norm() / x.norm().clamp_min(1e-30))
    radius, sigma = settings.initial_radius, settings.initial_sigma
    if radius is None and sigma is None:
        assert stored is not None  # the settings were checked
        radius = _stated_radius(stored)
    estimate = InitialEstimate(
        x,
        None if sigma is None else sigma / unit,
        None if radius is None else radius / unit,
        settings.initial_delta,
    )
    facts |= {"radius": radius, "sigma": sigma}
    facts["delta"] = settings.initial_delta if radius is not None else None
    return WarmStart(estimate, facts)


def _stated_radius(stored: StoredImage) -> float:
    """Norm of a reconstruction's own standard deviation, of both components of the image."""
    radius = 0.0
    if stored.deviation is not None:
        # The deviation is that of the magnitude: one of two components that vary alike.
        radius = math.sqrt(2 * float((stored.deviation.astype("float64") ** 2).sum()))
    if radius > 0:
        return radius
    raise SettingError(
        "initial_radius",
        "is missing, and the reconstruction states no standard deviation of its own: give a bound "
        "on the norm of its error, or initial_sigma where it carries white noise of that level",
    )


def _placed(
    stored: StoredImage,
    smooth: torch.Tensor,
    raw: RawKSpace,
    index: int,
    acquisition: Acquisition,
    name: str,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Bring a stored image to the shape, the units and the phase of the acquisition."""
    image = torch.as_tensor(stored.image, device=smooth.device)
    inside = torch.ones(image.shape, dtype=torch.bool)
    if image.shape != smooth.shape:
        shape = (smooth.shape[-2], smooth.shape[-1])
        inside = torch.as_tensor(center_crop_or_pad(inside.numpy(), shape))
        image = torch.as_tensor(center_crop_or_pad(stored.image, shape), device=smooth.device)
    inside = inside.to(smooth.device)
    weight = torch.as_tensor(acquisition.scale, dtype=torch.float32, device=smooth.device)
    if stored.in_rss_units:
        weight = acquisition.rss_weight * acquisition.scale
    image = torch.where(weight > 0, image / weight.clamp_min(1e-30), 0)
    phase = torch.polar(torch.ones_like(smooth.real), smooth.angle())
    candidates = {"cg-sense": torch.where(inside, image.abs() * phase, smooth)}
    if image.is_complex():
        own = torch.where(inside, image.to(smooth.dtype), smooth)
        candidates = {"file": own} | candidates
    fits = {kind: _fit(candidate, acquisition) for kind, candidate in candidates.items()}
    # CG-SENSE's phase follows the noise of the data, too: that counts for nothing against a file.
    kind = min(fits, key=lambda each: (1 - fits[each][1] ** 2) / _FILE_FIRST[each])
    factor, agreement = fits[kind]
    if agreement < LEAST_AGREEMENT:
        raise InputFileError(
            f"{name}: the image of slice {index} does not agree with what {raw.path} measured "
            f"(correlation of k-space {agreement:.2f}, expected at least {LEAST_AGREEMENT}): it is "
            "of another scan or slice, or turned; name a reconstruction of this scan"
        )
    size = 1 / abs(factor)
    if not 1 / PLAUSIBLE_FACTOR <= size <= PLAUSIBLE_FACTOR:
        raise InputFileError(
            f"{name}: the image of slice {index} is {size:.3g} times as large as {raw.path} says: "
            "bring it to the units of the scan's root sum of squares (bart pics does with -S)"
        )
    x = candidates[kind]
    if kind == "file":  # a phase for all of the image is nobody's
        x = x * torch.tensor(factor / abs(factor), dtype=x.dtype, device=x.device)
    return x, {"phase": kind, "times_what_data_say": size, "agreement": agreement}


def _fit(x: torch.Tensor, acquisition: Acquisition) -> tuple[complex, float]:
    """Return a that minimises |a A x - y|, and the correlation of A x and y, 0 to 1."""
    operator, data, _ = acquisition.problem()
    predicted = operator.forward(x).flatten().to(torch.complex128)
    measured = data.flatten().to(torch.complex128)
    energy = float(predicted.abs().square().sum())
    product = complex(torch.vdot(predicted, measured))
    if energy == 0 or product == 0:
        return 1.0 + 0j, 0.0
    return product / energy, abs(product) / math.sqrt(energy) / float(measured.norm())
