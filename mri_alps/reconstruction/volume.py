"""A scan, slice by slice: read, prepare, sample, reduce, write."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_alps.calibration import calibrate_volume
from mri_alps.errors import ConfigurationError, MriAlpsWarning
from mri_alps.priors.registry import DEFAULT_PRIOR, available_priors, load_prior
from mri_alps.rawdata import RawKSpace, read_raw
from mri_alps.reconstruction.configuration import ReconstructionConfiguration
from mri_alps.reconstruction.output import (
    ReconstructionWriter,
    check_target,
    output_path,
    prepare_directory,
)
from mri_alps.reconstruction.progress import Progress
from mri_alps.reconstruction.provenance import attributes_of
from mri_alps.reconstruction.result import Reconstruction, SliceReconstruction, stack_slices
from mri_alps.reconstruction.slice import reconstruct_slice
from mri_alps.reconstruction.undersampling import undersampling_mask


def reconstruct(source: str | Path | RawKSpace, **settings: Any) -> Reconstruction:
    """Reconstruct a scan in memory.

    Parameters
    ----------
    source : str, pathlib.Path or RawKSpace
        A raw file (fastMRI HDF5, ISMRMRD, BART cfl) or what `read_raw` returned.
    **settings
        The fields of `ReconstructionConfiguration`, for example ``n_samples=8``,
        ``mask="equispaced"``, ``acceleration=4``.

    Returns
    -------
    Reconstruction
        Posterior mean and standard deviation, in the units of the scan's own
        root-sum-of-squares image.

    Raises
    ------
    MriAlpsError
        If the file or a setting cannot be used; the message is one sentence.
    """
    configuration = make_configuration(settings)
    raw = source if isinstance(source, RawKSpace) else read_raw(source)
    prior, device = load_prior_for(configuration)
    results = list(reconstruct_slices(raw, prior, configuration, device))
    return stack_slices(results, attributes_of(raw, prior, configuration, results[0]))


def reconstruct_to_file(
    source: str | Path | RawKSpace,
    output: str | Path,
    configuration: ReconstructionConfiguration | None = None,
    progress: Progress | None = None,
    prior: Any = None,
) -> Path:
    """Reconstruct a scan into an HDF5 file of the same name in a folder.

    Slices are written as they come, under a temporary name; the file appears when it is whole.
    Memory does not depend on the number of slices.

    Parameters
    ----------
    source : str, pathlib.Path or RawKSpace
        A raw file, or what `read_raw` returned.
    output : str or pathlib.Path
        Folder, created if needed.
    configuration : ReconstructionConfiguration, optional
        The settings.
    progress : Progress, optional
        Told of every slice and every step.
    prior : ScoreModel, optional
        A loaded prior, used instead of the configuration's.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    MriAlpsError
        If the file, the folder or a setting cannot be used; nothing is left behind then.
    """
    configuration = configuration or ReconstructionConfiguration()
    raw = source if isinstance(source, RawKSpace) else read_raw(source)
    target = output_path(Path(raw.path), Path(output))
    prepare_directory(target.parent)
    check_target(Path(raw.path), target)
    if prior is None:
        prior, device = load_prior_for(configuration)
    else:
        device = configuration.torch_device()
    with ReconstructionWriter(target, chosen_slices(raw, configuration)) as writer:
        for position, result in enumerate(
            reconstruct_slices(raw, prior, configuration, device, progress)
        ):
            writer.write_slice(result)
            if position == 0:
                writer.write_attributes(attributes_of(raw, prior, configuration, result))
    return target


def reconstruct_slices(
    raw: RawKSpace,
    prior: Any,
    configuration: ReconstructionConfiguration,
    device: Any,
    progress: Progress | None = None,
) -> Iterator[SliceReconstruction]:
    """Reconstruct the chosen slices of a scan one after the other.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    prior : ScoreModel
        The prior, on `device`.
    configuration : ReconstructionConfiguration
        The settings.
    device : torch.device
        Where the work is done.
    progress : Progress, optional
        Told of every slice and every step.
    """
    indices = chosen_slices(raw, configuration)
    mask = undersampling_mask(raw, configuration)
    calibration = calibrate_volume(raw, mask)
    if progress:
        progress.start_scan(Path(raw.path).name, len(indices))
    for index in indices:
        result = reconstruct_slice(
            raw, index, prior, configuration, mask, calibration, device, progress
        )
        if progress:
            progress.finish_slice()
        yield result


def make_configuration(settings: dict[str, Any]) -> ReconstructionConfiguration:
    """Build a configuration from keyword arguments, naming unknown ones.

    Parameters
    ----------
    settings : dict
        Fields of `ReconstructionConfiguration`.

    Raises
    ------
    ConfigurationError
        If a name is unknown or a value makes no sense.
    """
    known = ReconstructionConfiguration.__dataclass_fields__
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigurationError(
            f"unknown setting {', '.join(unknown)}: the settings are {', '.join(known)}"
        )
    return ReconstructionConfiguration(**settings)


def load_prior_for(configuration: ReconstructionConfiguration) -> tuple[Any, Any]:
    """Load the configuration's prior and return it with its device.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        Names the prior and the device.
    """
    device = configuration.torch_device()
    name = configuration.prior
    if name is None:
        name = DEFAULT_PRIOR
        if name not in available_priors():
            warnings.warn(
                f"the default prior {name} is not part of this installation: the Gaussian prior "
                "is used, which knows of no anatomy",
                MriAlpsWarning,
                stacklevel=2,
            )
            name = "gaussian"
    return load_prior(name, device=device), device


def chosen_slices(raw: RawKSpace, configuration: ReconstructionConfiguration) -> tuple[int, ...]:
    """Return the slices to reconstruct.

    Parameters
    ----------
    raw : RawKSpace
        For the number of slices.
    configuration : ReconstructionConfiguration
        For the choice.

    Raises
    ------
    ConfigurationError
        If a slice is asked for that the scan does not have.
    """
    if configuration.slices is None:
        return tuple(range(raw.n_slices))
    outside = [index for index in configuration.slices if not 0 <= index < raw.n_slices]
    if outside or not configuration.slices:
        raise ConfigurationError(
            f"{raw.path} has the slices 0 to {raw.n_slices - 1}, asked for was "
            f"{outside or 'none'}: change --slices"
        )
    return configuration.slices
