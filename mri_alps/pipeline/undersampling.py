"""Retrospective undersampling: which of the measured points a reconstruction may use."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.masks.files import load_mask
from mri_alps.masks.kinds import MASK_KINDS, make_mask
from mri_alps.pipeline.trajectories import with_chosen_shots
from mri_alps.rawdata import RawTrajectoryData

if TYPE_CHECKING:
    import numpy as np

    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.rawdata import RawKSpace


def mask_seed(raw: RawKSpace, configuration: ReconstructionConfiguration) -> int | tuple[int, ...]:
    """Return the seed of the mask: the given one, or fastMRI's, made of the bare file name.

    Parameters
    ----------
    raw : RawKSpace
        The scan, for its file name.
    configuration : ReconstructionConfiguration
        For its seed.
    """
    if configuration.seed is not None:
        return configuration.seed
    return tuple(map(ord, Path(raw.path).name))


def names_mask_file(configuration: ReconstructionConfiguration) -> bool:
    """Return whether the mask is a file of the user's, which says what was measured.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    """
    return configuration.mask is not None and configuration.mask not in MASK_KINDS


def undersampling_mask(
    raw: RawKSpace, configuration: ReconstructionConfiguration
) -> np.ndarray | None:
    """Return the retrospective mask of a scan, the same for all its slices.

    Parameters
    ----------
    raw : RawKSpace
        The scan; its own mask is not applied here.
    configuration : ReconstructionConfiguration
        Names a kind of mask, a file, or nothing.

    Returns
    -------
    numpy.ndarray or None
        Bool, (1, phase_encode) for lines or (readout, phase_encode) for points; None where
        nothing is to be left out.

    Raises
    ------
    ConfigurationError
        If the mask is neither a kind nor a file.

    Warns
    -----
    MriAlpsWarning
        If an acceleration or a centre fraction is given that nothing uses.
    """
    _tell_unused(raw, configuration)
    if configuration.mask is None:
        return None
    if isinstance(raw, RawTrajectoryData):
        with_chosen_shots(raw, configuration)  # refuses
    if configuration.mask in MASK_KINDS:
        return make_mask(
            configuration.mask,
            raw.shape,
            acceleration=configuration.effective_acceleration,
            center_fraction=configuration.effective_center_fraction,
            seed=mask_seed(raw, configuration),
        )
    if not Path(configuration.mask).is_file():
        raise ConfigurationError(
            f"{configuration.mask!r} is neither a kind of mask ({', '.join(MASK_KINDS)}) nor a "
            "file: change --mask"
        )
    return load_mask(configuration.mask, raw.shape)


def _tell_unused(raw: RawKSpace, configuration: ReconstructionConfiguration) -> None:
    given = [
        name
        for name in ("acceleration", "center_fraction")
        if getattr(configuration, name) is not None
    ]
    if not given or configuration.mask in MASK_KINDS:
        return
    what = " and ".join(f"--{name.replace('_', '-')}" for name in given)
    changes = "changes" if len(given) == 1 else "change"
    if configuration.mask is not None:
        why = f"the mask is the file {configuration.mask} (name a kind of mask instead)"
    elif isinstance(raw, RawTrajectoryData):
        why = "a mask is not for shots (--shots leaves some out)"
    else:
        why = "no mask is given, and all that was measured is used (--mask leaves points out)"
    warnings.warn(f"{raw.path}: {what} {changes} nothing: {why}", MriAlpsWarning, stacklevel=3)
