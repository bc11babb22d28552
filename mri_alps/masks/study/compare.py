"""From scans and masks to a comparison: `compare_masks`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.study._slices import CalibratedScan, open_scans
from mri_alps.masks.study._store import ResultStore
from mri_alps.masks.study.candidates import (
    Candidate,
    Masks,
    candidate_masks,
    make_candidates,
)
from mri_alps.masks.study.measure import MaskResult, measure_mask
from mri_alps.masks.study.shots import shot_candidates, shot_masks
from mri_alps.masks.study.statistics import (
    Correlation,
    Difference,
    Summary,
    compare_pairs,
    correlate,
    summarise,
)
from mri_alps.pipeline import (
    chosen_slices,
    load_prior_for,
    make_configuration,
    prepare_directory,
    scan_name,
    settings_identity,
)
from mri_alps.rawdata import RawTrajectoryData

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mri_alps.pipeline import Progress, ReconstructionConfiguration
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

DEFAULT_MASKS = ("random", "equispaced", "equispaced-offset", "poisson-lines", "gaussian")
DEFAULT_ACCELERATIONS = (4.0, 8.0)
_SHOWN_SLICES = 1


@dataclasses.dataclass(frozen=True)
class MaskStudy:
    """Masks compared on the same slices.

    Parameters
    ----------
    results : tuple of MaskResult
        One per slice and mask. Those of the first slice hold images.
    """

    results: tuple[MaskResult, ...]

    @property
    def has_reference(self) -> bool:
        """Whether any slice could be compared with a reference."""
        return any(result.metrics["NMSE"] is not None for result in self.results)

    def summary(self) -> list[Summary]:
        """Return means and 95 % intervals over scans, ranked within each acceleration."""
        return summarise(self.results)

    def differences(self) -> list[Difference]:
        """Return paired differences between every two masks of one acceleration."""
        return compare_pairs(self.results)

    def correlation(self) -> Correlation | None:
        """Return how well predicted errors tell the actual ones."""
        return correlate(self.results)

    def shown(self) -> tuple[MaskResult, ...]:
        """Return the results that hold images."""
        return tuple(result for result in self.results if result.images)

    def to_dict(self) -> dict[str, Any]:
        """Return every number as JSON holds it."""
        correlation = self.correlation()
        return {
            "results": [result.to_dict() for result in self.results],
            "summary": [
                {
                    **entry._asdict(),
                    "metrics": {name: value._asdict() for name, value in entry.metrics.items()},
                }
                for entry in self.summary()
            ],
            "differences": [
                {**entry._asdict(), "difference": entry.difference._asdict()}
                for entry in self.differences()
            ],
            "correlation": None if correlation is None else correlation._asdict(),
        }


@dataclasses.dataclass(frozen=True)
class StudyTask:
    """Everything that is to be compared, checked before anything is computed.

    Parameters
    ----------
    scans : tuple of RawKSpace
        With the slices of each.
    slices : tuple of tuple of int
        Of each scan.
    candidates : tuple of Candidate
        The masks.
    masks : tuple of dict
        For each scan its masks, by candidate.
    configuration : ReconstructionConfiguration
        Prior, sampler, seed.
    """

    scans: tuple[RawKSpace, ...]
    slices: tuple[tuple[int, ...], ...]
    candidates: tuple[Candidate, ...]
    masks: tuple[dict[Candidate, np.ndarray], ...]
    configuration: ReconstructionConfiguration


def compare_masks(
    inputs: Sequence[str | Path],
    masks: Masks | None = None,
    accelerations: Sequence[float] | None = None,
    *,
    shots: Sequence[int] | None = None,
    output: str | Path | None = None,
    configuration: ReconstructionConfiguration | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> MaskStudy:
    """Compare undersampling masks by the posteriors that they leave.

    Every slice is sampled with every mask. Truth, noise and sensitivity maps (from all that was
    measured) are the same whatever the mask, and so is the sampler's noise. Scans that were
    undersampled when they were made, or that have no reference, are compared by what needs none.

    Parameters
    ----------
    inputs : sequence of path-like
        Raw files.
    masks : sequence of str, or mapping of names to str or numpy.ndarray
        Kinds of `make_mask`, which are drawn at every acceleration; mask files (npy, npz, HDF5,
        BART cfl) or bool arrays, each compared with the acceleration that it is nearest to;
        "measured" leaves nothing out. Of radial and spiral scans "first" shots, or every k-th
        ("spread"). Left out: `DEFAULT_MASKS`, or the one of these two that covers k-space better.
    accelerations : sequence of float
        Of the kinds; 4 and 8 if left out, of shots 1, 2, 4 and 8.
    shots : sequence of int, optional
        Numbers of shots of radial and spiral scans, instead of accelerations.
    output : path-like, optional
        Folder where each finished slice is kept, from which a repeated call goes on.
    configuration : ReconstructionConfiguration, optional
        Prior, sampler, seed, slices, `center_fraction`.
    progress : Progress, optional
        Told of every slice and step.
    **settings
        Fields of the configuration, instead.

    Returns
    -------
    MaskStudy
        Every number, means, paired differences.

    Raises
    ------
    MriAlpsError
        If a file, a mask or a setting cannot be used; the message is one sentence.
    """
    if configuration is None:
        configuration = make_configuration(settings)
    task = make_study(inputs, masks, accelerations, configuration, shots)
    prior, device = load_prior_for(configuration)
    folder = None if output is None else Path(output)
    if folder is not None:
        prepare_directory(folder)
    return run_study(task, prior, device, folder, progress)


def make_study(
    inputs: Sequence[str | Path],
    masks: Masks | None,
    accelerations: Sequence[float] | None,
    configuration: ReconstructionConfiguration,
    shots: Sequence[int] | None = None,
) -> StudyTask:
    """Open the scans, make the masks, and check that they go together.

    Parameters
    ----------
    inputs, masks, accelerations, configuration, shots
        As `compare_masks` has them.

    Raises
    ------
    MriAlpsError
        If something does not.
    """
    if configuration.mask is not None:
        raise ConfigurationError("the masks to compare are given by masks, not by mask")
    scans = tuple(open_scans([Path(path) for path in inputs], configuration))
    slices = tuple(chosen_slices(raw, configuration) for raw in scans)
    along = [raw for raw in scans if isinstance(raw, RawTrajectoryData)]
    if along and len(along) == len(scans):
        numbers = shot_candidates(along[0], masks, accelerations, shots)
        selected = tuple(shot_masks(numbers, raw, configuration) for raw in along)
        return StudyTask(scans, slices, numbers, selected, configuration)
    if along:
        raise ConfigurationError(
            f"{along[0].path} is a {along[0].kind} scan along a trajectory, and others are "
            "Cartesian: study them apart"
        )
    if shots is not None:
        raise ConfigurationError(
            f"{scans[0].path} is Cartesian, and --shots names numbers of shots of radial and "
            "spiral scans: leave it out"
        )
    masks = DEFAULT_MASKS if masks is None else masks
    if accelerations is None:
        accelerations = DEFAULT_ACCELERATIONS
    candidates = make_candidates(masks, accelerations, scans[0])
    made = tuple(candidate_masks(candidates, raw, configuration) for raw in scans)
    return StudyTask(scans, slices, candidates, made, configuration)


def run_study(
    task: StudyTask,
    prior: ScoreModel,
    device: torch.device,
    folder: Path | None = None,
    progress: Progress | None = None,
    callback: Callable[[MaskResult], object] | None = None,
) -> MaskStudy:
    """Sample whatever is not there yet.

    Parameters
    ----------
    task : StudyTask
        From `make_study`.
    prior : ScoreModel
        On `device`.
    device : torch.device
        Where samples are drawn.
    folder : pathlib.Path, optional
        Where results are kept.
    progress : Progress, optional
        Told of every slice and step.
    callback : callable, optional
        Told of every result.
    """
    settings = settings_identity(task.configuration, prior, task.configuration.prior)
    results: list[MaskResult] = []
    for raw, indices, masks in zip(task.scans, task.slices, task.masks, strict=True):
        if progress:
            progress.start_scan(scan_name(raw), len(indices) * len(masks))
        settled = task.configuration
        scan = CalibratedScan(raw, settled.noise_std, settled.correct_delays)
        store = None if folder is None else ResultStore(folder, raw, settings)
        for index in indices:
            for candidate, mask in masks.items():
                result = store.load(index, candidate, mask) if store else None
                if result is None:
                    result = measure_mask(
                        scan.slice(index),
                        candidate.name,
                        candidate.acceleration,
                        mask,
                        prior,
                        task.configuration,
                        device,
                        progress,
                    )
                    if store:
                        store.save(index, candidate, mask, result)
                if len({r.slice_name for r in results} | {result.slice_name}) > _SHOWN_SLICES:
                    result = dataclasses.replace(result, images={})  # memory stays small
                results.append(result)
                if callback:
                    callback(result)
                if progress:
                    progress.finish_slice()
    return MaskStudy(tuple(results))
