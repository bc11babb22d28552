"""Choosing what to measure, batch by batch: sample the posterior, pick, measure, again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.design.information import Information, choose_greedily

DEFAULT_BATCHES = 8


class ScanPosterior(NamedTuple):
    """What is known of one scan at the current mask.

    `expected_error` is the mean squared error that the posterior expects, over the energy of the
    image; `actual_error` the same against the truth, where that is known.
    """

    information: Information
    expected_error: float
    actual_error: float | None = None


Measure = Callable[[np.ndarray], Sequence[ScanPosterior]]
"""From the candidates measured so far, bool (n_candidates,), to the posterior of every scan."""


@dataclasses.dataclass(frozen=True)
class DesignPoint:
    """One point of the curve of error against measured candidates.

    Parameters
    ----------
    n_measured : int
        Candidates measured.
    expected_error : float
        Normalised mean squared error, mean over scans: from samples, or predicted from the last
        samples by Gaussian conditioning.
    actual_error : float or None
        Against the truth; None where it is not known, and where nothing was sampled.
    candidate : int or None
        What was measured last; None at a point where the posterior was sampled.
    gain : float or None
        What that was worth when it was picked, in nats, mean over scans.
    """

    n_measured: int
    expected_error: float
    actual_error: float | None = None
    candidate: int | None = None
    gain: float | None = None

    @property
    def sampled(self) -> bool:
        """Whether the error comes from posterior samples at this very mask."""
        return self.candidate is None


@dataclasses.dataclass(frozen=True)
class Design:
    """A designed mask, or the part of it that is done.

    Parameters
    ----------
    start : numpy.ndarray
        bool (n_candidates,): what is measured in any case.
    points : tuple of DesignPoint
        The curve; the candidates in the order of picking are in it.
    """

    start: np.ndarray
    points: tuple[DesignPoint, ...] = ()

    @property
    def picks(self) -> tuple[int, ...]:
        """Candidates in the order in which they were picked."""
        return tuple(point.candidate for point in self.points if point.candidate is not None)

    @property
    def measured(self) -> np.ndarray:
        """Bool (n_candidates,): start and picks."""
        mask = self.start.copy()
        mask[list(self.picks)] = True
        return mask

    @property
    def is_evaluated(self) -> bool:
        """Whether the last point was sampled, as it is once a design is complete."""
        return bool(self.points) and self.points[-1].sampled

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold."""
        return {
            "start": np.flatnonzero(self.start).tolist(),
            "n_candidates": len(self.start),
            "points": [dataclasses.asdict(point) for point in self.points],
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Design:
        """Undo `to_dict`.

        Parameters
        ----------
        stored : dict
            What `to_dict` returned.
        """
        start = np.zeros(stored["n_candidates"], dtype=bool)
        start[stored["start"]] = True
        return cls(start, tuple(DesignPoint(**point) for point in stored["points"]))


def design(
    measure: Measure,
    start: np.ndarray,
    budget: int,
    *,
    batch: int | None = None,
    forbidden: np.ndarray | None = None,
    resume: Design | None = None,
    evaluate_last: bool = True,
    callback: Callable[[Design], object] | None = None,
) -> Design:
    """Choose what to measure by the posterior's expected information gain.

    Parameters
    ----------
    measure : callable
        Samples the posterior of every scan, given a mask. Called once per batch.
    start : numpy.ndarray
        bool (n_candidates,), measured in any case: the calibration region.
    budget : int
        Candidates in all, `start` included.
    batch : int, optional
        Picks between two looks at the posterior; an eighth of the picks if left out.
    forbidden : numpy.ndarray, optional
        bool (n_candidates,), True where a scan cannot measure.
    resume : Design, optional
        An unfinished design with the same arguments, to go on from.
    evaluate_last : bool
        Sample once more at the final mask, which ends the curve.
    callback : callable, optional
        Told of the design after every batch.

    Returns
    -------
    Design
        With exactly `budget` candidates measured.

    Raises
    ------
    ConfigurationError
        If the budget lies below the start or above all that can be measured.
    """
    start = np.asarray(start, bool)
    closed = np.zeros_like(start) if forbidden is None else np.asarray(forbidden, bool)
    check_budget(budget, int(start.sum()), int((start | ~closed).sum()))
    batch = batch_size(budget - int(start.sum()), batch)
    done = Design(start) if resume is None else resume
    while (left := budget - int(done.measured.sum())) > 0:
        scans = measure(done.measured)
        taken = torch.from_numpy(done.measured | closed)
        done = _extended(done, scans, taken, min(batch, left))
        if callback:
            callback(done)
    if evaluate_last and not done.is_evaluated:
        point = _sampled_point(done, measure(done.measured))
        done = Design(start, (*done.points, point))
        if callback:
            callback(done)
    return done


def batch_size(n_picks: int, asked: int | None) -> int:
    """Return how many are picked between two looks at the posterior.

    Parameters
    ----------
    n_picks : int
        In all.
    asked : int or None
        None for an eighth of them.
    """
    return asked or max(1, -(-n_picks // DEFAULT_BATCHES))


def _sampled_point(done: Design, scans: Sequence[ScanPosterior]) -> DesignPoint:
    """Return the point of the curve at the current mask."""
    actual = [scan.actual_error for scan in scans]
    known = [error for error in actual if error is not None]
    return DesignPoint(
        n_measured=int(done.measured.sum()),
        expected_error=float(np.mean([scan.expected_error for scan in scans])),
        actual_error=float(np.mean(known)) if len(known) == len(actual) else None,
    )


def check_budget(budget: int, n_start: int, n_available: int) -> None:
    """Refuse a budget that cannot be had.

    Parameters
    ----------
    budget : int
        Asked for.
    n_start, n_available : int
        The fewest and the most that there can be.

    Raises
    ------
    ConfigurationError
        If it is less than `n_start` or more than `n_available`.
    """
    if budget < n_start:
        raise ConfigurationError(
            f"a budget of {budget} is less than the {n_start} of the calibration region: raise "
            "--budget or lower --center-fraction"
        )
    if budget > n_available:
        raise ConfigurationError(
            f"a budget of {budget} is more than full sampling, which has {n_available}: lower "
            "--budget"
        )


def _extended(
    done: Design, scans: Sequence[ScanPosterior], taken: torch.Tensor, count: int
) -> Design:
    first = _sampled_point(done, scans)
    before = [scan.information.variance() for scan in scans]
    choice = choose_greedily([scan.information for scan in scans], taken, count)
    points = [first]
    for position, (candidate, gain) in enumerate(zip(choice.candidates, choice.gains, strict=True)):
        left = [
            after / whole for after, whole in zip(choice.variances[position], before, strict=True)
        ]
        errors = [scan.expected_error * part for scan, part in zip(scans, left, strict=True)]
        points.append(
            DesignPoint(
                first.n_measured + position + 1, float(np.mean(errors)), None, candidate, gain
            )
        )
    return Design(done.start, (*done.points, *points))
