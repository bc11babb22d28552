"""From scans and a budget to a mask: `design_mask`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.masks.design._error_model import ROW_GROUPS
from mri_alps.masks.design._scans import (
    ScanPopulation,
    mask_of_candidates,
    require_one_matrix,
    start_of_undersampled,
    start_region,
    unmeasurable,
    with_points,
)
from mri_alps.masks.design.frames import interleaved
from mri_alps.masks.design.loop import Design, batch_size, check_budget, design
from mri_alps.masks.design.settings import (
    DYNAMIC,
    DesignSettings,
    check_shots,
    forbidden_by,
    load_task,
)
from mri_alps.masks.kinds import make_mask
from mri_alps.masks.study._slices import (
    is_complete,
    open_scans,
    require_complete,
    study_slices,
)
from mri_alps.pipeline import (
    ReconstructionConfiguration,
    chosen_slices,
    load_prior_for,
    scan_identity,
    settings_hash,
    settings_identity,
)

if TYPE_CHECKING:
    import torch

    from mri_alps.pipeline import Progress
    from mri_alps.priors import ScoreModel
    from mri_alps.rawdata import RawKSpace

_RIVALS = ("partial-fourier", "poisson-lines", "equispaced-offset")
_RIVAL_SEEDS = 2
LARGEST_FILM_BYTES = 4 * 2**30
"""Of covariances of all frames and slices."""


@dataclasses.dataclass(frozen=True)
class DesignTask:
    """Everything that a design depends on, checked before anything is computed.

    Parameters
    ----------
    scans : tuple of RawKSpace
        Of one matrix.
    settings : DesignSettings
        Budget and batch; the batch is filled in where only one can be had.
    configuration : ReconstructionConfiguration
        Prior, sampler, slices.
    start, forbidden : numpy.ndarray
        bool (n_candidates,): measured in any case, never to be measured; of a film frame by
        frame.
    repeated : bool
        Whether more can be measured after a look at the posterior: not so for a scan that was
        undersampled when it was made, nor for a film.
    region : numpy.ndarray or None
        float (H, W): region or template of the objective "task".
    """

    scans: tuple[RawKSpace, ...]
    settings: DesignSettings
    configuration: ReconstructionConfiguration
    start: np.ndarray
    forbidden: np.ndarray
    repeated: bool
    region: np.ndarray | None = None

    @property
    def n_slices(self) -> int:
        """How many posteriors are sampled at each look."""
        return sum(len(chosen_slices(raw, self.configuration)) for raw in self.scans)

    def n_looks(self, resume: Design | None = None) -> int:
        """Return how often the posterior will be looked at.

        Parameters
        ----------
        resume : Design, optional
            What is done already.
        """
        n_start, budget = int(self.start.sum()), self.total
        done = n_start if resume is None else int(resume.measured.sum())
        is_evaluated = resume is not None and resume.is_evaluated
        batch = batch_size(budget - n_start, self.settings.batch)
        return -(-(budget - done) // batch) + (self.repeated and not is_evaluated)

    @property
    def nested(self) -> int | None:
        """Groups that are exchanged at the full size alone; None to exchange at every size."""
        frames, points = self.settings.frames, with_points(self.scans[0])
        return frames if frames > 1 or points else None

    @property
    def total(self) -> int:
        """Candidates in all, over all frames."""
        return self.settings.budget * self.settings.frames

    def rivals(self, count: int) -> list[np.ndarray]:
        """Return common masks of so many lines, bool (n_candidates,): none for points.

        Parameters
        ----------
        count : int
            Lines in all, over all frames.
        """
        shape, n_start = self.scans[0].shape, int(self.start.sum())
        budget, n_frames = self.settings.budget, self.settings.frames
        if n_frames > 1:
            return [interleaved(self.start, self.forbidden, budget, n_frames)]
        found: list[np.ndarray] = []
        if with_points(self.scans[0]) or not 0 < n_start < count:
            return found
        for kind in _RIVALS:
            for seed in range(_RIVAL_SEEDS):
                acceleration, center = shape[1] / count, n_start / shape[1]
                try:
                    mask = make_mask(kind, shape, acceleration, center, seed)[0]
                except ConfigurationError:
                    continue
                if mask.sum() == count and not (mask & self.forbidden & ~self.start).any():
                    found.append(mask)
        return found

    def identity(self, prior: ScoreModel) -> str:
        """Return a hash of all that decides the outcome.

        Parameters
        ----------
        prior : ScoreModel
            The loaded prior.
        """
        return settings_hash(
            {
                **settings_identity(self.configuration, prior, self.configuration.prior),
                **self.settings.describe(),
                "task": None
                if self.region is None
                else hashlib.sha256(self.region.tobytes()).hexdigest(),
                "scans": [scan_identity(raw) for raw in self.scans],
                "start": np.flatnonzero(self.start).tolist(),
            }
        )


def design_mask(
    inputs: Sequence[str | Path],
    budget: int,
    *,
    batch: int | None = None,
    objective: str = "error",
    frames: int = 1,
    dynamic: float = DYNAMIC,
    configuration: ReconstructionConfiguration | None = None,
    **settings: Any,
) -> np.ndarray:
    """Design a mask for scans like these, or the best next lines of one scan.

    Starting from the central lines, draws posterior samples of every slice, adds the lines that
    lower the expected squared error most, measures them (in the fully sampled data), and so on
    until the budget. Several scans, or slices, give one mask that is
    good on average; one scan gives a mask adapted to it. A scan that was undersampled when it
    was made gets the best lines to add to those that it has, in one batch.

    Parameters
    ----------
    inputs : sequence of path-like
        Raw files of one k-space matrix.
    budget : int
        Phase-encode lines in all, or points for a 3-D scan.
    batch : int, optional
        Lines between two looks at the posterior, see `DesignSettings`.
    objective : {"error", "information"}
        What a line is worth: what the expected squared error falls by, or nats of information.
    frames : int
        Masks for the frames of a film, which share what they measured.
    dynamic : float
        Of a film: part of the unknown that changes from frame to frame.
    configuration : ReconstructionConfiguration, optional
        Prior, sampler, seed, slices, `center_fraction`.
    **settings
        Its fields, instead.

    Returns
    -------
    numpy.ndarray
        bool (1, W) for lines, (H, W) for points, (frames, 1, W) for a film.

    Raises
    ------
    MriAlpsError
        If a file or a setting cannot be used; the message is one sentence.
    """
    configuration = configuration or ReconstructionConfiguration(**settings)
    wanted = DesignSettings(budget, batch, objective, frames=frames, dynamic=dynamic)
    task = make_task([Path(path) for path in inputs], wanted, configuration)
    prior, device = load_prior_for(configuration)
    measured = run_task(task, prior, device).measured
    return mask_of_candidates(measured, task.scans[0].shape, frames)


def make_task(
    inputs: Sequence[Path], settings: DesignSettings, configuration: ReconstructionConfiguration
) -> DesignTask:
    """Open the scans and check that the design can be made.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files.
    settings : DesignSettings
        What is wanted.
    configuration : ReconstructionConfiguration
        How.

    Raises
    ------
    InputFileError
        If a scan cannot be used for this.
    ConfigurationError
        If the budget cannot be had.
    """
    scans = tuple(open_scans(inputs, configuration))
    require_one_matrix(scans)
    forbidden = np.logical_or.reduce([unmeasurable(raw) for raw in scans])
    points = with_points(scans[0])
    forbidden |= forbidden_by(settings, scans[0].shape, points)
    region = None if settings.task is None else load_task(settings.task, scans[0].shape)
    if region is not None and points:
        raise ConfigurationError(
            "the objective task is for lines, and this scan has two phase encodes: design by error"
        )
    if settings.frames > 1:
        _check_film(settings, scans, sum(len(chosen_slices(raw, configuration)) for raw in scans))
    first = (configuration.slices or (0,))[0]
    if len(scans) == 1 and not is_complete(scans[0], min(first, scans[0].n_slices - 1)):
        start = start_of_undersampled(scans[0], min(first, scans[0].n_slices - 1))
        n_picks = settings.budget - int(start.sum())
        if n_picks <= 0:
            raise ConfigurationError(
                f"{scans[0].path}: the scan has {int(start.sum())} of its {start.size} phase "
                f"encodes measured already, so a budget of {settings.budget} leaves none to pick: "
                "raise --budget, or give a fully sampled scan to design a mask from the beginning"
            )
        if settings.batch is not None and settings.batch < n_picks:
            raise InputFileError(
                f"{scans[0].path}: the scan is undersampled, so nothing can be measured between "
                f"two batches of {settings.batch}: leave --batch out to pick {n_picks} lines at "
                "once, or give a fully sampled scan"
            )
        settings = dataclasses.replace(settings, batch=n_picks)
        check_budget(settings.budget, int(start.sum()), int((start | ~forbidden).sum()))
        check_shots(settings, int(start.sum()))
        return DesignTask(scans, settings, configuration, start, forbidden, False, region)
    for raw in scans:
        require_complete(raw, "a design that measures batch after batch")
    start = start_region(scans, settings.budget, configuration.center_fraction)
    check_budget(settings.budget, int(start.sum()), int((start | ~forbidden).sum()))
    check_shots(settings, int(start.sum()))
    n_picks = settings.budget - int(start.sum())
    if settings.batch is None and settings.objective != "information" and not points:
        settings = dataclasses.replace(settings, batch=max(n_picks, 1))
    if (n_frames := settings.frames) > 1:  # one look, at the lines that all frames have
        settings = dataclasses.replace(settings, batch=max(n_picks * n_frames, 1))
        start, forbidden = np.tile(start, n_frames), np.tile(forbidden, n_frames)
    return DesignTask(scans, settings, configuration, start, forbidden, n_frames == 1, region)


def _check_film(settings: DesignSettings, scans: Sequence[RawKSpace], n_slices: int) -> None:
    n_frames = settings.frames
    if settings.batch is not None:
        raise ConfigurationError(
            f"{n_frames} frames are designed after one look at the posterior, found a batch of "
            f"{settings.batch}: leave --batch out"
        )
    if with_points(scans[0]):
        raise ConfigurationError(
            f"{scans[0].path} has two phase encodes, and frames share lines: leave --frames out"
        )
    needed = 8 * n_slices * ROW_GROUPS * (2 * n_frames * scans[0].shape[1]) ** 2
    if needed > LARGEST_FILM_BYTES:
        raise ConfigurationError(
            f"the covariances of {n_frames} frames of {n_slices} slices take {needed / 2**30:.3g} "
            f"GiB, more than {LARGEST_FILM_BYTES / 2**30:.3g}: lower --frames or give fewer slices"
        )
    for raw in scans:
        require_complete(raw, f"a design of {n_frames} frames")


def run_task(
    task: DesignTask,
    prior: ScoreModel,
    device: torch.device,
    progress: Progress | None = None,
    resume: Design | None = None,
    callback: Callable[[Design], object] | None = None,
) -> Design:
    """Make a design.

    Parameters
    ----------
    task : DesignTask
        From `make_task`.
    prior : ScoreModel
        On `device`.
    device : torch.device
        Where samples are drawn.
    progress : Progress, optional
        Told of every slice and step.
    resume : Design, optional
        An unfinished design of the same task.
    callback : callable, optional
        Told of the design after every batch.
    """
    slices = [part for raw in task.scans for part in study_slices(raw, task.configuration)]
    population = ScanPopulation(
        slices, prior, task.configuration, device, progress, task.settings.objective, task.region,
        task.settings.frames, task.settings.dynamic,
    )  # fmt: skip
    return design(
        population,
        task.start,
        task.total,
        batch=task.settings.batch,
        forbidden=task.forbidden,
        resume=resume,
        evaluate_last=task.repeated,
        rivals=task.rivals,
        nested=task.nested,
        callback=callback,
    )
