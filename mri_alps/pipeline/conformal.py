"""Under which conditions was a scan reconstructed, and does a calibration hold for them?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.calibration import combined_mask
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import File, open_hdf5
from mri_alps.pipeline.configuration import COMPUTED_STARTS
from mri_alps.pipeline.identity import file_identity, prior_identity
from mri_alps.pipeline.result import SCALARS_GROUP
from mri_alps.pipeline.selection import chosen_slices
from mri_alps.rawdata import RawTrajectoryData, net_acceleration, pattern_name
from mri_alps.uncertainty import (
    Conditions,
    ConformalCalibration,
    read_calibration,
    widen_interval,
)

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace
    from mri_alps.sampling import SampleStatistics

_NEEDED = {"prior", "method", "n_samples", "n_evaluations"}


def conditions_of_scan(
    raw: RawKSpace,
    mask: np.ndarray | None,
    configuration: ReconstructionConfiguration,
    prior: ScoreModel,
) -> Conditions:
    """Return the conditions under which a scan is to be reconstructed.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    mask : numpy.ndarray or None
        Retrospective mask.
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The prior.
    """
    if isinstance(raw, RawTrajectoryData):
        used = [raw.mask[0]]
    else:
        used = [combined_mask(raw, index, mask) for index in chosen_slices(raw, configuration)]
    return Conditions(
        acquisition=str(raw.acquisition or ""),
        pattern=pattern_name(used[0]),
        acceleration=net_acceleration(np.stack(used)),
        prior=prior_identity(prior, configuration.prior),
        method=configuration.method,
        n_samples=configuration.n_samples,
        n_evaluations=configuration.n_evaluations,
        start=_start(configuration.initial),
    )


def conditions_of_file(path: Path) -> Conditions:
    """Return the conditions under which a reconstruction in a file was made.

    Parameters
    ----------
    path : pathlib.Path
        Of `mri-alps reconstruct` or `reconstruct_to_file`.

    Raises
    ------
    InputFileError
        If it does not say how it was made, or its intervals are calibrated already.
    """
    with open_hdf5(path) as file:
        made = _settings(file, path)
        if made.get("tolerance") is not None:
            raise InputFileError(
                f"{path} has as many samples in each slice as its tolerance called for, and a "
                "calibration holds for one number of them: reconstruct without --tolerance"
            )
        factors = file.get(f"{SCALARS_GROUP}/uncertainty_factor")
        factor = np.ones(1) if factors is None else np.asarray(factors[()], float)
        # a slice that failed has no factor
        if (factor[np.isfinite(factor)] != 1).any() or "calibration_sha256" in file.attrs:
            raise InputFileError(
                f"the intervals of {path} are calibrated already: reconstruct with "
                "--self-calibration off and without --calibration"
            )
        mask = np.asarray(file["mask"][()], bool) if "mask" in file else np.zeros((0, 1, 1), bool)
        used = mask[mask.any((1, 2))]  # nothing of a slice that failed
        if not len(used):
            raise InputFileError(f"{path} holds no mask of what was measured: reconstruct it again")
        return Conditions(
            acquisition=str(file.attrs.get("acquisition", "")),
            pattern=pattern_name(used[0]),
            acceleration=net_acceleration(used),
            prior=str(made["prior"]),
            method=str(made["method"]),
            n_samples=int(made["n_samples"]),
            n_evaluations=int(made["n_evaluations"]),
            start=_start(made.get("initial")),
        )


def calibration_for(
    raw: RawKSpace,
    mask: np.ndarray | None,
    configuration: ReconstructionConfiguration,
    prior: ScoreModel,
) -> ConformalCalibration | None:
    """Return the calibration that the settings name, if it holds for a scan.

    Parameters
    ----------
    raw, mask, configuration, prior
        See `conditions_of_scan`.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or holds for other scans or settings; the message says in what they
        differ.
    """
    if configuration.calibration is None:
        return None
    calibration = read_calibration(configuration.calibration)
    differences = calibration.differences(conditions_of_scan(raw, mask, configuration, prior))
    if differences:
        of = f" ({calibration.anatomy})" if calibration.anatomy else ""
        raise ConfigurationError(
            f"the calibration {configuration.calibration}{of} does not hold for {raw.path}: "
            f"{'; '.join(differences)}; make one on scans like it, or leave --calibration out"
        )
    return calibration


def with_calibration(
    statistics: SampleStatistics, calibration: ConformalCalibration | None
) -> SampleStatistics:
    """Return statistics with the intervals and standard deviations that a calibration calls for.

    Its guarantee is about intervals around the same middles, so these are what is scaled; the
    standard deviation goes with them. Samples stay as they were drawn.

    Parameters
    ----------
    statistics : SampleStatistics
        Of a slice.
    calibration : ConformalCalibration or None
        None leaves them as they are.
    """
    if calibration is None:
        return statistics
    lower, upper = widen_interval(statistics.lower, statistics.upper, calibration.factor)
    std = statistics.magnitude_std * calibration.factor
    return statistics._replace(lower=lower, upper=upper, magnitude_std=std)


def calibration_attributes(configuration: ReconstructionConfiguration) -> dict[str, Any]:
    """Return what the attributes of a reconstruction say of its calibration; nothing without one.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    """
    if configuration.calibration is None:
        return {}
    calibration = read_calibration(configuration.calibration)
    return {
        "calibration": Path(configuration.calibration).name,
        "calibration_sha256": file_identity(configuration.calibration),
        "calibration_factor": calibration.factor,
        "calibration_guarantee": calibration.guarantee,
        "calibration_volumes": len(calibration.scores),
        "calibration_anatomy": calibration.anatomy,
        "interval": "90 % predictive interval, Student t, its half-width and the standard "
        f"deviation times {calibration.factor:.4g} (split conformal calibration)",
    }


def _start(initial: str | None) -> str:
    if initial is None:
        return "prior"
    return initial if initial in COMPUTED_STARTS else "file"


def _settings(file: File, path: Path) -> dict[str, Any]:
    try:
        made = json.loads(file.attrs["settings"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _unknown(path) from None
    if not isinstance(made, dict) or not made.keys() >= _NEEDED:
        raise _unknown(path)
    return made


def _unknown(path: Path) -> InputFileError:
    return InputFileError(
        f"{path} does not say with which prior and settings it was made: expected a file of "
        "mri-alps reconstruct"
    )
