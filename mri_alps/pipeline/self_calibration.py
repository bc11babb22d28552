"""A scan calibrates its own uncertainty: some of its samples are left out and predicted."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from mri_alps.calibration import apply_to_coils, combined_mask, read_shots
from mri_alps.core.errors import MriAlpsError, MriAlpsWarning
from mri_alps.core.random import stream_seed
from mri_alps.pipeline.maps_deviation import maps_errors
from mri_alps.pipeline.point_estimate import estimate_evaluations, is_learned
from mri_alps.pipeline.result import SELF_CALIBRATION
from mri_alps.pipeline.sets import prior_of_sets
from mri_alps.rawdata import (
    RawTrajectoryData,
    acceleration,
    center_block,
    covered_radius,
    visited_points,
)
from mri_alps.sampling import sample_posterior
from mri_alps.uncertainty import (
    UncertaintyFactors,
    choose_left_out,
    choose_left_out_shots,
    compare_left_out,
    fit_factors,
    scale_deviations,
)

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.operators import LinearOperator
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.reduction import LoadedSlice
    from mri_alps.pipeline.slice import SliceReconstructor
    from mri_alps.pipeline.slice_store import SliceStore
    from mri_alps.priors import ScoreModel
    from mri_alps.sampling import PosteriorSamples
    from mri_alps.uncertainty import LeftOutEnergies

EVALUATIONS = 30
"""Per sample of a prediction, at most. With fewer the sampler itself is farther off, in mean and
deviation: factors rise."""
N_SETS = 2
"""Sets of samples that are left out of a slice that is looked at alone; of several slices it is one
each. Sets of one scan differ much more than the posterior samples that predict one of them."""
N_PREDICTIONS = 2
"""Posterior samples that predict each set."""
N_MAPS_ERRORS = 8
"""Draws of the maps' error beside each prediction, where maps are uncertain."""
N_SLICES = 3
"""Slices of a scan that are looked at."""
UNKNOWN_IMAGE = 1.5
"""Factor above which it is said that the prior does not know such images."""
_ERRORS = (MriAlpsError, ArithmeticError, np.linalg.LinAlgError, torch.linalg.LinAlgError)
_FIRST_SAMPLE = 2**20  # streams of noise that no sample of a reconstruction has


class Plan(NamedTuple):
    """How many sets of samples are left out, and the evaluations of each sample that predicts."""

    n_sets: int
    n_evaluations: int


def plan_predictions(n_evaluations: int, n_slices: int) -> Plan:
    """Return what is left out of each slice that is looked at.

    Parameters
    ----------
    n_evaluations : int
        Of a sample of the reconstruction.
    n_slices : int
        That are looked at together.
    """
    return Plan(N_SETS if n_slices == 1 else 1, min(EVALUATIONS, n_evaluations))


def is_calibrated(configuration: ReconstructionConfiguration, prior: ScoreModel) -> bool:
    """Return whether uncertainty is calibrated: where it is asked for, or the score is learned.

    Parameters
    ----------
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The prior.
    """
    if configuration.calibration is not None:
        return False
    if configuration.self_calibration is not None:
        return configuration.self_calibration != "off"
    return is_learned(prior)


def calibrated_slices(indices: Sequence[int]) -> tuple[int, ...]:
    """Return the slices of a scan that are looked at: up to three, spread over it.

    Parameters
    ----------
    indices : sequence of int
        All slices that are reconstructed.
    """
    count = min(N_SLICES, len(indices))
    return tuple(indices[(2 * i + 1) * len(indices) // (2 * count)] for i in range(count))


def measure_left_out(
    reconstructor: SliceReconstructor, index: int, n_slices: int = 1
) -> list[LeftOutEnergies]:
    """Predict samples of one slice that were left out, and compare.

    A slice without them is calibrated anew: maps that were made of the samples too would fit them
    better than they fit what was never measured.

    Parameters
    ----------
    reconstructor : SliceReconstructor
        Of the scan.
    index : int
        Slice.
    n_slices : int
        That are looked at together, which share the sets.

    Returns
    -------
    list of LeftOutEnergies
        One for each fold that can be used; none where the slice is empty or too little of it was
        measured.
    """
    raw, settings = reconstructor.raw, reconstructor.configuration
    plan = plan_predictions(settings.n_evaluations, n_slices)
    seed = settings.sampler_seed
    if isinstance(raw, RawTrajectoryData):
        path = raw.trajectory(index)
        folds = choose_left_out_shots(path, plan.n_sets, stream_seed(seed, index, 1))
    else:
        measured = combined_mask(raw, index, reconstructor.mask)
        folds = choose_left_out(
            measured, center_block(measured), plan.n_sets, stream_seed(seed, index, 1)
        )
    found, spent = [], 0  # of a set that tells nothing, too
    for number, fold in enumerate(folds):
        try:
            with warnings.catch_warnings():  # they are said when the slice is reconstructed
                warnings.simplefilter("ignore", MriAlpsWarning)
                acquisition = reconstructor.prepare(index, left_out=fold)
            if acquisition.is_empty:
                return []
            spent += estimate_evaluations(acquisition)
            result = sample_posterior(
                prior_of_sets(reconstructor.prior, acquisition),
                *acquisition.problem(),
                n_samples=N_PREDICTIONS,
                n_evaluations=plan.n_evaluations,
                generator=torch.Generator().manual_seed(seed),
                first_sample=_FIRST_SAMPLE * (number + 1),
                first_slice=index,
                allow_lost=True,
            )
        except _ERRORS:  # what is wrong with the slice is told when it is reconstructed
            continue
        spent += N_PREDICTIONS * result.n_evaluations + result.setup_evaluations
        if len(result.samples) < 2:
            continue
        first = _FIRST_SAMPLE * (number + 1)
        errors = maps_errors(acquisition, N_MAPS_ERRORS, seed, index, first)
        device = acquisition.kspace.device
        places = None
        if isinstance(raw, RawTrajectoryData):
            kspace, places, fold = _outer_samples(reconstructor, index, fold)
            if not places.size:
                continue
        else:
            kspace = raw.read_slice(index)
        kspace = apply_to_coils(acquisition.whitening, kspace)
        energies = compare_left_out(
            acquisition.sets(uncompressed=True),
            torch.as_tensor(fold, device=device),
            torch.as_tensor(kspace / np.float32(acquisition.scale), device=device),
            result.samples.to(device),
            _noise_of_lines(acquisition),
            spent,
            None if places is None else torch.as_tensor(places, device=device),
            None if errors is None else errors.to(device),
        )
        doubt = reconstructor.calibration.noise_has_signal
        found.append(dataclasses.replace(energies, noise_has_signal=doubt))
        spent = 0
    if found and spent:
        last = found[-1]
        found[-1] = dataclasses.replace(last, n_evaluations=last.n_evaluations + spent)
    return found


def _outer_samples(
    reconstructor: SliceReconstructor, index: int, shots: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return samples, places and grid points of left-out shots beyond what the others cover.

    Near the centre of k-space all shots meet: what was left out there is known from the others,
    and says nothing of what was never measured.
    """
    raw = reconstructor.raw
    assert isinstance(raw, RawTrajectoryData)
    kspace, places = read_shots(raw, index, reconstructor.calibration, ~shots)
    radius = covered_radius(read_shots(raw, index, reconstructor.calibration, shots)[1], 1.0)
    outer = np.linalg.norm(places, axis=-1) > radius
    places = places[outer]
    return kspace[:, outer], places, visited_points(places, raw.shape)


def tell_factors(path: object, factors: UncertaintyFactors | None, is_open: bool = True) -> None:
    """Warn where uncertainty could not be calibrated, or the prior does not know such images.

    Parameters
    ----------
    path : path-like
        Of the scan.
    factors : UncertaintyFactors or None
        What was found.
    is_open : bool
        Whether anything was left unmeasured: where nothing is, the noise decides the uncertainty.
    """
    if factors is None and not is_open:
        return
    if factors is None:
        sentence = (
            "too few samples outside of the centre of k-space could be left out to calibrate the "
            "uncertainty: it is the prior's own, and right only if the prior knows such images"
        )
    elif factors.overall > UNKNOWN_IMAGE:
        sentence = (
            "the image is not what the prior knows, or the sensitivity maps do not fit: samples "
            f"that were left out are {factors.overall:.2f} (+/- {factors.overall_error:.2f}) times "
            "farther from their prediction than the posterior says; the standard deviation is that "
            "much larger; more calibration lines, or a prior trained on such images, would serve "
            "better"
        )
    else:
        return
    warnings.warn(f"{path}: {sentence}", MriAlpsWarning, stacklevel=3)


def calibrate_scan(
    reconstructor: SliceReconstructor, indices: Sequence[int]
) -> UncertaintyFactors | None:
    """Calibrate the uncertainty of a scan on up to three of its slices.

    The same slices are looked at, and so the factors are the same, whatever slices are done
    already, and in whatever process.

    Parameters
    ----------
    reconstructor : SliceReconstructor
        Of the scan.
    indices : sequence of int
        All slices of the reconstruction.

    Returns
    -------
    UncertaintyFactors or None
        None where it is not to be done, or each slice is calibrated for itself, or too little
        was measured.

    Warns
    -----
    MriAlpsWarning
        If too little was measured, or the prior does not know such images.
    """
    settings = reconstructor.configuration
    if not is_calibrated(settings, reconstructor.prior) or settings.self_calibration == "slice":
        return None
    chosen = calibrated_slices(indices)
    measured = [measure_left_out(reconstructor, index, len(chosen)) for index in chosen]
    energies = [one for of_slice in measured for one in of_slice]
    is_open = any(_is_open(reconstructor, index) for index in chosen)
    factors = fit_factors(energies, chosen, settings.sampler_seed)
    tell_factors(reconstructor.raw.path, factors, is_open)
    return factors


def _is_open(reconstructor: SliceReconstructor, index: int) -> bool:
    """Whether something of a slice that shows something was left unmeasured."""
    raw = reconstructor.raw
    if isinstance(raw, RawTrajectoryData):
        path = raw.trajectory(index)
        return acceleration(path, raw.shape, raw.kind) > 1 and bool(raw.read_samples(index).any())
    measured = combined_mask(reconstructor.raw, index, reconstructor.mask)
    return not measured.all() and bool(reconstructor.raw.read_slice(index).any())


def factors_of_slice(
    reconstructor: SliceReconstructor, loaded: LoadedSlice
) -> UncertaintyFactors | None:
    """Return the scan's factors, or where the settings want it those of the slice itself.

    Parameters
    ----------
    reconstructor : SliceReconstructor
        Of the scan.
    loaded : LoadedSlice
        The slice.
    """
    settings = reconstructor.configuration
    if settings.self_calibration != "slice":
        return reconstructor.factors
    index = loaded.index
    energies = measure_left_out(reconstructor, index)
    factors = fit_factors(energies, [index], settings.sampler_seed)
    tell_factors(f"{loaded.raw.path}, slice {index}", factors, _is_open(reconstructor, index))
    return factors


def self_calibrated(
    reconstructor: SliceReconstructor, store: SliceStore, indices: Sequence[int]
) -> SliceReconstructor:
    """Calibrate the uncertainty of a scan, or take what an interrupted run found.

    Parameters
    ----------
    reconstructor : SliceReconstructor
        Of the scan.
    store : SliceStore
        Where it is kept.
    indices : sequence of int
        All slices of the reconstruction.
    """
    record = store.self_calibration()
    if record is None:
        reconstructor = reconstructor.self_calibrated(indices)
        factors = reconstructor.factors
        store.record_self_calibration(None if factors is None else dataclasses.asdict(factors))
        return reconstructor
    if record["factors"] is None:
        return reconstructor
    factors = UncertaintyFactors.from_record(record["factors"])
    tell_factors(reconstructor.raw.path, factors)
    return dataclasses.replace(reconstructor, factors=factors)


def with_factors(
    result: PosteriorSamples, factors: UncertaintyFactors | None, acquisition: Acquisition
) -> PosteriorSamples:
    """Return samples with the deviations that left-out samples call for.

    Parameters
    ----------
    result : PosteriorSamples
        As they were drawn.
    factors : UncertaintyFactors or None
        None leaves them as they are.
    acquisition : Acquisition
        Their slice.
    """
    if factors is None:
        return result
    samples = result.samples.to(acquisition.kspace.device)
    operator = _with_coherent_error(acquisition)
    scaled = scale_deviations(samples, factors, operator, acquisition.noise_std)
    return dataclasses.replace(result, samples=scaled.to(result.samples.device))


def _with_coherent_error(acquisition: Acquisition) -> LinearOperator:
    """Return A with weights for an error of the maps that is the same in all coils.

    Weights are noise over noise and error together. Noise averages out over coils, an error of the
    maps does not: of the combined image its variance is as large as of one coil.
    """
    weights = acquisition.weights
    if weights is not None:
        noise = 1.0 if acquisition.line_noise is None else acquisition.line_noise.double().square()
        allowance = (weights.double().pow(-2) - noise).clamp_min(0)
        weights = (noise + len(acquisition.kspace) * allowance).rsqrt().to(weights.dtype)
    return acquisition.operator_with(weights)


def _noise_of_lines(acquisition: Acquisition) -> float | torch.Tensor:
    """Standard deviation of the noise, (W,) where it is not alike in all lines."""
    line_noise = acquisition.line_noise
    return acquisition.noise_std if line_noise is None else acquisition.noise_std * line_noise


def factors_as_scalars(factors: UncertaintyFactors | None) -> dict[str, Any]:
    """Return what a slice's scalars hold of its factors.

    Parameters
    ----------
    factors : UncertaintyFactors or None
        Of the slice.
    """
    return {
        "uncertainty_factor": 1.0 if factors is None else factors.overall,
        "uncertainty_factor_error": float("nan") if factors is None else factors.overall_error,
        "self_calibration_evaluations": 0 if factors is None else factors.n_evaluations,
    }


def factors_as_diagnostics(factors: UncertaintyFactors | None) -> dict[str, Any]:
    """Return what a slice's diagnostics hold of its factors.

    Parameters
    ----------
    factors : UncertaintyFactors or None
        Of the slice.
    """
    return {} if factors is None else {SELF_CALIBRATION: dataclasses.asdict(factors)}
