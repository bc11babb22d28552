"""A scan, slice by slice: read, prepare, sample, reduce, write."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import CalibrationError, MriAlpsWarning, describe_error
from mri_alps.core.values import FLAG, FUNCTION, PATH, as_path, check, instance
from mri_alps.pipeline._arguments import as_array, open_source
from mri_alps.pipeline.configuration import ReconstructionConfiguration
from mri_alps.pipeline.failures import describe_failures, failures_as_attributes
from mri_alps.pipeline.output import output_folder, output_path
from mri_alps.pipeline.preview import preview_slice, previewed_slices
from mri_alps.pipeline.provenance import attributes_of
from mri_alps.pipeline.result import (
    Reconstruction,
    SliceReconstruction,
    representative,
    stack_slices,
)
from mri_alps.pipeline.scan_job import RunContext
from mri_alps.pipeline.scans import reconstruct_scans
from mri_alps.pipeline.selection import chosen_slices, open_scan, part_name, refuse_selection
from mri_alps.pipeline.slice import SliceReconstructor, costs_one_slice
from mri_alps.priors import DEFAULT_PRIOR, available_priors, load_prior
from mri_alps.rawdata import RawKSpace, with_field_of_view

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mri_alps.pipeline.preview import Preview
    from mri_alps.pipeline.progress import Progress
    from mri_alps.priors import ScoreModel

_NAME_OR_ARRAY = instance(str, os.PathLike, named="a name, a file or an array").or_none()


def reconstruct(
    source: RawKSpace | np.ndarray | torch.Tensor | str | os.PathLike[str],
    *,
    mask: np.ndarray | torch.Tensor | str | os.PathLike[str] | None = None,
    trajectory: np.ndarray | torch.Tensor | str | os.PathLike[str] | None = None,
    sensitivity_maps: np.ndarray | torch.Tensor | str | os.PathLike[str] | None = None,
    preview: Callable[[Preview], object] | None = None,
    **settings: Any,
) -> Reconstruction:
    """Reconstruct a scan in memory.

    Parameters
    ----------
    source : path-like, RawKSpace, numpy.ndarray or torch.Tensor
        A raw file (fastMRI HDF5, ISMRMRD, BART cfl), what `read_raw` returned, or complex k-space
        (slice, coil, readout, phase_encode), (coil, readout, phase_encode) or, of one coil,
        (readout, phase_encode), with DC at index N // 2.
    mask : str, path-like or array, optional
        A kind of mask or a file, see `ReconstructionConfiguration`. A bool array that broadcasts
        to (readout, phase_encode) says which samples of k-space in an array were measured, and
        which of a scan are used.
    trajectory : path-like or array, optional
        Of a radial or spiral scan: a file, or for k-space in an array ([slice,] coil, shot,
        sample) a real array ([slice,] shot, sample, 2), in the order of the image axes, 0 at DC,
        in cycles per field of view or a unit that `trajectory_units` names.
    sensitivity_maps : path-like or array, optional
        A file, or complex (coil, readout, phase_encode), with or without a slice axis before it;
        estimated if left out.
    preview : callable, optional
        Given a `Preview` of up to eight slices before samples are drawn: a point estimate within
        seconds, without a deviation. Its `index` is the slice, `image` float32 (H, W) in the units
        of the result.
    **settings
        The other fields of `ReconstructionConfiguration`, for example ``n_samples=8`` or
        ``noise_std=0.1``.

    Returns
    -------
    Reconstruction
        Posterior mean and standard deviation, in the units of the scan's own
        root-sum-of-squares image.

    Raises
    ------
    MriAlpsError
        If the source or a setting cannot be used, or no slice can be reconstructed; the message
        is one sentence.

    Warns
    -----
    MriAlpsWarning
        If some slices failed: they are NaN, and `failed_slices` of the result has the reasons.
        If samples are exactly zero in all coils and slices, which are taken as not measured, or
        the centre of k-space is not where it should be: it is moved there.
    """
    drawn, maps, places = as_array(mask), as_array(sensitivity_maps), as_array(trajectory)
    named = {
        "mask": None if drawn is not None else mask,
        "trajectory": None if places is not None else trajectory,
        "sensitivity_maps": None if maps is not None else sensitivity_maps,
    }
    rules = dict.fromkeys(named, _NAME_OR_ARRAY) | {"preview": FUNCTION.or_none()}
    check("reconstruct", rules, named | {"preview": preview})
    configuration = make_configuration(settings | named)
    raw = open_source(source, drawn, configuration, places)
    raw = with_field_of_view(raw, configuration.field_of_view)
    prior, device = load_prior_for(configuration)
    # The mask of an array is that of its scan by now, moved to the centre with its k-space.
    chosen = None if as_array(source) is not None else drawn
    reconstructor = SliceReconstructor.of_scan(raw, configuration, prior, device, chosen)
    reconstructor = dataclasses.replace(reconstructor, given_maps=maps)
    if preview is not None:
        _show_previews(reconstructor, chosen_slices(raw, configuration), preview)
    reconstructor = reconstructor.self_calibrated(chosen_slices(raw, configuration))
    results: list[SliceReconstruction] = []
    failures: dict[int, Exception] = {}
    for index in chosen_slices(raw, configuration):
        try:
            loaded = reconstructor.load(index)
            results.append(reconstructor.reduce(reconstructor.draw(loaded)))
        except Exception as error:
            if not costs_one_slice(error):
                raise
            failures[index] = error
    if not results:
        raise next(iter(failures.values()))
    shown = representative(results)
    reasons = {index: describe_error(error) for index, error in failures.items()}
    results += [shown.failed(index, reason) for index, reason in reasons.items()]
    results.sort(key=lambda result: chosen_slices(raw, configuration).index(result.index))
    if reasons:
        warnings.warn(f"{raw.path}: {describe_failures(reasons)}", MriAlpsWarning, stacklevel=2)
    attributes = attributes_of(
        raw, prior, configuration, shown, configuration.prior or DEFAULT_PRIOR
    )
    arrays = {"mask": drawn, "trajectory": places, "sensitivity_maps": maps}
    attributes |= {
        "arrays_given": ", ".join(name for name, array in arrays.items() if array is not None),
        "noise_source": reconstructor.calibration.noise_source,
    }
    return stack_slices(results, attributes | failures_as_attributes(reasons))


def _show_previews(
    reconstructor: SliceReconstructor,
    indices: Sequence[int],
    show: Callable[[Preview], object],
) -> None:
    """Show point estimates of some slices; where there are none, the samples come all the same."""
    for index in previewed_slices(indices):
        try:
            found = preview_slice(reconstructor, reconstructor.load(index, quickly=True))
        except CalibrationError:  # of this slice, said where its samples are drawn
            continue
        except Exception as error:  # noqa: BLE001 - the posterior does not depend on it
            sentence = f"{reconstructor.raw.path}: no preview is made: {describe_error(error)}"
            warnings.warn(sentence, MriAlpsWarning, stacklevel=3)
            return
        show(found)


def reconstruct_to_file(
    source: str | Path | RawKSpace,
    output: str | Path,
    configuration: ReconstructionConfiguration | None = None,
    progress: Progress | None = None,
    prior: ScoreModel | None = None,
    overwrite: bool = False,
    preview: Callable[[Path], object] | None = None,
) -> Path:
    """Reconstruct a scan into an HDF5 file of the same name in a folder.

    Each finished slice is safe on disk at once, so that a killed call goes on where it was when
    it is repeated; the file appears when it is whole. A file that was made from the same scan
    with the same settings is left as it is. Memory does not depend on the number of slices.

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
    overwrite : bool
        Begin from nothing, whatever is there.
    preview : callable, optional
        Told of a file `NAME_preview.h5` beside the result whenever it is written: point estimates
        of up to eight slices within seconds, its dataset `preview` (slices, H, W), without a
        deviation. It is removed when the posterior is there, or cannot be made.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    MriAlpsError
        If the file, the folder or a setting cannot be used, or no slice can be reconstructed;
        nothing but finished slices is left behind then.

    Warns
    -----
    MriAlpsWarning
        If some slices failed: they are NaN in the file, and the next call tries them again.
    """
    rules = {
        "output": PATH,
        "configuration": instance(ReconstructionConfiguration).or_none(),
        "overwrite": FLAG,
        "preview": FUNCTION.or_none(),
    }
    check("reconstruct_to_file", rules, locals())
    configuration = configuration or ReconstructionConfiguration()
    if prior is None:
        prior, device = load_prior_for(configuration)
        name: str | None = configuration.prior or DEFAULT_PRIOR
    else:
        device, name = configuration.torch_device(), None
    scan = source
    if not isinstance(scan, RawKSpace):
        scan = as_path("reconstruct_to_file", source, "source")
    if isinstance(scan, Path):
        scan = open_scan(scan, configuration)  # before a folder is made for it
    else:
        refuse_selection(configuration)
    context = RunContext(
        configuration, prior, device, name, overwrite=overwrite, show_preview=preview
    )
    with output_folder(Path(output)) as folder:
        (outcome,) = reconstruct_scans([scan], folder, context, progress).outcomes
    if outcome.error is not None:
        raise outcome.error
    if outcome.failed_slices:
        warnings.warn(f"{outcome.source}: {outcome.reason}", MriAlpsWarning, stacklevel=2)
    return output_path(outcome.source, Path(output), part_name(configuration))


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
    return ReconstructionConfiguration(**settings)


def load_prior_for(configuration: ReconstructionConfiguration) -> tuple[ScoreModel, torch.device]:
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
