"""Choosing what to measure, batch by batch: sample the posterior, pick, measure, again."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.masks.design.exchange import Exchangeable, choose_by_exchange, choose_nested
from mri_alps.masks.design.information import GreedyChoice, Information, choose_greedily

DEFAULT_BATCHES = 8


class ScanPosterior(NamedTuple):
    """What is known of one scan at the current mask.

    `expected_error` is the mean squared error that the posterior expects, over the energy of the
    image; `actual_error` the same against the truth, where that is known. `calibrated_error` is
    what forecasts start from, where calibration found that the posterior expects too little.
    """

    information: Information
    expected_error: float
    actual_error: float | None = None
    calibrated_error: float | None = None


Measure = Callable[[np.ndarray], Sequence[ScanPosterior]]
"""From the candidates measured so far, bool (n_candidates,), to the posterior of every scan."""

Rivals = Callable[[int], Sequence[np.ndarray]]
"""From a number of measured candidates to masks of so many, bool (n_candidates,)."""


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
        What that was worth beside those picked before, in nats, mean over scans: of information,
        or of the logarithm of the expected error.
    picks : tuple of int or None
        The best choice of so many, in place of the first candidates in the order of picking; None
        where it is these.
    errors : tuple of float
        `expected_error` of every scan.
    actual_errors : tuple of float
        `actual_error` of every scan, where all are known.
    """

    n_measured: int
    expected_error: float
    actual_error: float | None = None
    candidate: int | None = None
    gain: float | None = None
    picks: tuple[int, ...] | None = None
    errors: tuple[float, ...] = ()
    actual_errors: tuple[float, ...] = ()

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

    def path(self) -> dict[int, np.ndarray]:
        """Return the mask for every number of candidates, bool (n_candidates,) each."""
        masks = {int(self.start.sum()): self.start.copy()}
        nested = self.start.copy()
        for point in self.points:
            if point.candidate is None:
                continue
            nested[point.candidate] = True
            mask = nested.copy()
            if point.picks is not None:
                mask = self.start.copy()
                mask[list(point.picks)] = True
            masks[point.n_measured] = mask
        return masks

    def forecasts(self) -> list[tuple[float, float]]:
        """Return what was expected of every scan one look ahead, and what was found then."""
        pairs: list[tuple[float, float]] = []
        for before, point in itertools.pairwise(self.points):
            if not before.sampled and point.sampled:
                pairs += zip(before.errors, point.actual_errors, strict=False)
        return pairs

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
        return cls(start, tuple(_point(dict(point)) for point in stored["points"]))


def _point(stored: dict[str, Any]) -> DesignPoint:
    """JSON has lists where a point has tuples."""
    for name in ("picks", "errors", "actual_errors"):
        if isinstance(stored.get(name), list):
            stored[name] = tuple(stored[name])
    return DesignPoint(**stored)


def design(
    measure: Measure,
    start: np.ndarray,
    budget: int,
    *,
    batch: int | None = None,
    forbidden: np.ndarray | None = None,
    resume: Design | None = None,
    evaluate_last: bool = True,
    rivals: Rivals | None = None,
    nested: int | None = None,
    callback: Callable[[Design], object] | None = None,
) -> Design:
    """Choose what to measure by what the posterior expects of it.

    Information is chosen greedily. Expected errors are exchanged as well, within each batch, see
    `choose_by_exchange` and, of points and frames, `choose_nested`.

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
    rivals : callable, optional
        Masks that the last choice of each batch should be no worse than, where it is exchanged.
    nested : int, optional
        Exchange at the end of each batch alone, in so many groups: 1 for points, else frames.
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
        done = _extended(done, scans, taken, min(batch, left), rivals, nested)
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
    complete = len(known) == len(actual)
    expected = tuple(float(scan.expected_error) for scan in scans)
    return DesignPoint(
        n_measured=int(done.measured.sum()),
        expected_error=float(np.mean(expected)),
        actual_error=float(np.mean(known)) if complete else None,
        errors=expected,
        actual_errors=tuple(known) if complete else (),
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
    done: Design,
    scans: Sequence[ScanPosterior],
    taken: torch.Tensor,
    count: int,
    rivals: Rivals | None,
    nested: int | None,
) -> Design:
    first = _sampled_point(done, scans)
    before = [scan.information.variance() for scan in scans]
    choice, sets = _chosen(done, scans, taken, count, rivals, nested)
    points = [first]
    for position, (candidate, gain) in enumerate(zip(choice.candidates, choice.gains, strict=True)):
        left = [
            after / whole for after, whole in zip(choice.variances[position], before, strict=True)
        ]
        errors = [_base(scan) * part for scan, part in zip(scans, left, strict=True)]
        picks = None if sets is None else (*done.picks, *sets[position])
        points.append(
            DesignPoint(
                n_measured=first.n_measured + position + 1,
                expected_error=float(np.mean(errors)),
                candidate=candidate,
                gain=gain,
                picks=picks,
                errors=tuple(errors),
            )
        )
    return Design(done.start, (*done.points, *points))


def _base(scan: ScanPosterior) -> float:
    calibrated = scan.calibrated_error
    return scan.expected_error if calibrated is None else calibrated


def _chosen(
    done: Design,
    scans: Sequence[ScanPosterior],
    taken: torch.Tensor,
    count: int,
    rivals: Rivals | None,
    nested: int | None,
) -> tuple[GreedyChoice, tuple[tuple[int, ...], ...] | None]:
    """Choose greedily, or by exchange where candidates can be taken back."""
    population = [scan.information for scan in scans]
    exchangeable = [one for one in population if isinstance(one, Exchangeable)]
    if len(exchangeable) < len(population):
        return choose_greedily(population, taken, count), None
    others = []
    measured = done.measured
    for mask in rivals(int(measured.sum()) + count) if rivals else ():
        fresh = np.flatnonzero(mask & ~measured)
        if len(fresh) == count and not taken.numpy()[fresh].any():
            others.append(fresh.tolist())
    if nested is not None:
        found = choose_nested(exchangeable, taken, count, others, nested)
        return GreedyChoice(found.candidates, found.gains, found.variances), None
    found = choose_by_exchange(exchangeable, taken, count, {count: others})
    return GreedyChoice(found.candidates, found.gains, found.variances), found.sets
