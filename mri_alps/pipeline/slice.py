"""One slice: from its k-space to the statistics of its posterior samples."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mri_alps.calibration import (
    MAPS_ERROR,
    Acquisition,
    VolumeCalibration,
    calibrate_volume,
    prepare_slice,
)
from mri_alps.core.errors import (
    ConfigurationError,
    MissingDependencyError,
    MriAlpsError,
    MriAlpsWarning,
    OutputFileError,
)
from mri_alps.pipeline._arguments import maps_of_slice
from mri_alps.pipeline._shot_images import shot_preview
from mri_alps.pipeline.batches import check_samples, choose_batch, draw_in_batches
from mri_alps.pipeline.conformal import calibration_for
from mri_alps.pipeline.explained import explain_slice, refuse_defect
from mri_alps.pipeline.images import reference_image, zero_filled
from mri_alps.pipeline.maps_deviation import with_maps_deviation
from mri_alps.pipeline.point_estimate import point_estimate_of
from mri_alps.pipeline.reduction import (
    LoadedSlice,
    SampledSlice,
    last_misfit,
    number_or_nan,
    reduce_samples,
)
from mri_alps.pipeline.self_calibration import (
    calibrate_scan,
    factors_of_slice,
    with_factors,
)
from mri_alps.pipeline.sets import prior_of_sets
from mri_alps.pipeline.tolerance import (
    MonteCarloErrors,
    draw_to_tolerance,
    shortfall,
)
from mri_alps.pipeline.undersampling import names_mask_file, undersampling_mask
from mri_alps.pipeline.warm_start import check_warm_start, warm_start
from mri_alps.priors import measure_novelty
from mri_alps.rawdata import (
    RawKSpace,
    RawTrajectoryData,
    read_sensitivity_maps,
    with_measured_zeros,
)
from mri_alps.sampling import (
    PosteriorSamples,
    StepInfo,
    sample_posterior,
)

if TYPE_CHECKING:
    from mri_alps.pipeline.configuration import ReconstructionConfiguration
    from mri_alps.pipeline.progress import Progress
    from mri_alps.pipeline.result import SliceReconstruction
    from mri_alps.priors import ScoreModel
    from mri_alps.uncertainty import ConformalCalibration, UncertaintyFactors

_LOGGER = logging.getLogger(__name__)
# What the data of a slice can bring about; a full disk or a lost device is not among it.
_ERRORS_OF_A_SLICE = (
    MriAlpsError,
    ArithmeticError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,
)
_ERRORS_OF_THE_RUN = (ConfigurationError, MissingDependencyError, OutputFileError)


def costs_one_slice(error: Exception) -> bool:
    """Tell whether the other slices of a scan can go on after an error in one of them.

    Parameters
    ----------
    error : Exception
        Raised while a slice was read, calibrated, sampled or reduced.
    """
    return isinstance(error, _ERRORS_OF_A_SLICE) and not isinstance(error, _ERRORS_OF_THE_RUN)


@dataclass(frozen=True)
class SliceReconstructor:
    """The road of a slice of one scan: `load`, `draw`, `reduce`. All programs take it.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The prior, on `device`.
    device : torch.device
        Where the samples are drawn.
    mask : numpy.ndarray or None
        Retrospective mask, applied on top of the scan's own.
    calibration : VolumeCalibration
        The noise of the scan.
    factors : UncertaintyFactors, optional
        By which the deviations of samples are scaled, see `self_calibrated`.
    given_maps : numpy.ndarray, optional
        Complex sensitivity maps (coil, readout, phase_encode), with or without a slice axis.
    """

    raw: RawKSpace
    configuration: ReconstructionConfiguration
    prior: ScoreModel
    device: torch.device
    mask: np.ndarray | None
    calibration: VolumeCalibration
    factors: UncertaintyFactors | None = None
    given_maps: np.ndarray | None = None
    conformal: ConformalCalibration | None = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        refuse_defect(self.raw, self.configuration.force)
        if self.mask is not None and names_mask_file(self.configuration):
            object.__setattr__(self, "raw", with_measured_zeros(self.raw, self.mask))
        check_samples(self.raw.shape, self.configuration.most_samples)
        check_warm_start(self.raw, self.configuration)
        conformal = calibration_for(self.raw, self.mask, self.configuration, self.prior)
        object.__setattr__(self, "conformal", conformal)

    @classmethod
    def of_scan(
        cls,
        raw: RawKSpace,
        configuration: ReconstructionConfiguration,
        prior: ScoreModel,
        device: torch.device,
        mask: np.ndarray | None = None,
    ) -> SliceReconstructor:
        """Make the mask that the settings ask for, and look at the noise of the scan.

        Parameters
        ----------
        raw, configuration, prior, device
            See the class.
        mask : numpy.ndarray, optional
            The user's own, instead of the settings' mask.

        Warns
        -----
        MriAlpsWarning
            If the scan is not what its file says, see `settle_scan`, or the file holds more.
        """
        said = [*raw.provenance.get("not_chosen", []), *raw.provenance.get("settled", [])]
        if said:
            warnings.warn(f"{raw.path}: {'; '.join(said)}", MriAlpsWarning, stacklevel=2)
        if mask is not None:
            raw = with_measured_zeros(raw, mask)
        else:
            mask = undersampling_mask(raw, configuration)
        calibration = calibrate_volume(
            raw,
            mask,
            noise_std=configuration.noise_std,
            correct_delays=configuration.correct_delays,
            force=configuration.force,
        )
        return cls(raw, configuration, prior, device, mask, calibration)

    def self_calibrated(self, indices: Sequence[int]) -> SliceReconstructor:
        """Return a reconstructor whose uncertainty is calibrated on the scan, where it is to be.

        See `calibrate_scan`.

        Parameters
        ----------
        indices : sequence of int
            All slices of the reconstruction.
        """
        return dataclasses.replace(self, factors=calibrate_scan(self, indices))

    def __call__(self, index: int, progress: Progress | None = None) -> SliceReconstruction:
        """Reconstruct one slice: all three steps.

        Parameters
        ----------
        index : int
            Slice.
        progress : Progress, optional
            Told of every step.
        """
        return self.reduce(self.draw(self.load(index), progress))

    def prepare(
        self,
        index: int,
        sensitivity_maps: np.ndarray | torch.Tensor | None = None,
        left_out: np.ndarray | None = None,
        quickly: bool = False,
    ) -> Acquisition:
        """Calibrate one slice, of all of its samples or without some.

        Parameters
        ----------
        index : int
            Slice.
        sensitivity_maps : array, optional
            Complex (coils, readout, phase_encode) of the scan's own coils. Left out: those that
            were given for the scan, those of the configuration's file, or estimated.
        left_out : numpy.ndarray, optional
            Bool (readout, phase_encode): samples that count as not measured; (shots,) of a scan
            along a trajectory.
        quickly : bool
            With maps that are neither judged by the data nor improved.
        """
        raw, settings = self.raw, self.configuration
        if sensitivity_maps is None:
            sensitivity_maps = maps_of_slice(self.given_maps, raw, index)
        if sensitivity_maps is None and settings.sensitivity_maps is not None:
            sensitivity_maps = read_sensitivity_maps(settings.sensitivity_maps, raw, index)
        mask = self.mask
        along_shots = isinstance(raw, RawTrajectoryData)
        if left_out is not None and not along_shots:
            mask = ~left_out if mask is None else mask & ~left_out
        return prepare_slice(
            raw,
            index,
            mask,
            calibration=self.calibration,
            sensitivity_maps=sensitivity_maps,
            row_compression_tolerance=settings.coil_compression_tolerance,
            left_out=left_out if along_shots else None,
            n_maps=settings.n_maps,
            maps_error=MAPS_ERROR if quickly and not along_shots else None,
            estimate=None if quickly else point_estimate_of(self.prior),
            device=self.device,
        )

    def load(
        self,
        index: int,
        sensitivity_maps: np.ndarray | torch.Tensor | None = None,
        *,
        quickly: bool = False,
    ) -> LoadedSlice:
        """Read and calibrate one slice: the part that draws no samples.

        Parameters
        ----------
        index, sensitivity_maps, quickly
            As `prepare` takes them.
        """
        started = time.perf_counter()
        raw, settings = self.raw, self.configuration
        acquisition = self.prepare(index, sensitivity_maps, quickly=quickly)
        _LOGGER.debug(
            "%s, slice %d: noise %.3g of the image scale, %d of %d coils, sensitivity maps from %s",
            raw.path,
            index,
            acquisition.noise_std,
            len(acquisition.kspace),
            raw.n_coils,
            acquisition.info.get("sensitivity_maps", "nothing"),
        )
        if isinstance(raw, RawTrajectoryData):
            image = shot_preview(acquisition)
        else:
            image = zero_filled(raw, index, acquisition.mask.cpu().numpy())
        reference = reference_image(raw, index)
        start = warm_start(settings, raw, index, acquisition)
        seconds = time.perf_counter() - started
        return LoadedSlice(raw, index, acquisition, image, reference, seconds, start)

    def batch_of(self, loaded: LoadedSlice) -> int:
        """Return how many samples of a slice fit the memory at a time.

        Parameters
        ----------
        loaded : LoadedSlice
            The slice.
        """
        kspace, shape = loaded.acquisition.kspace, loaded.acquisition.shape
        n_samples, n_coils = self.configuration.n_samples, len(kspace) * loaded.acquisition.n_sets
        return choose_batch(self.prior, shape, n_coils, n_samples, kspace.device)

    def draw(
        self, loaded: LoadedSlice, progress: Progress | None = None, batch: int | None = None
    ) -> SampledSlice:
        """Draw the posterior samples of one slice: the part that the device is needed for.

        Parameters
        ----------
        loaded : LoadedSlice
            From `load`.
        progress : Progress, optional
            Told of every step.
        batch : int, optional
            How many samples to draw at a time; as many as fit the memory if left out.

        Raises
        ------
        MriAlpsError
            If more than half of the chains diverged, or the memory does not hold a single sample.
        CalibrationError
            If the mean does not explain the centre of k-space, unless the settings say `force`.

        Warns
        -----
        MriAlpsWarning
            If the image is unlike those that the prior was trained on, or samples are lost, or the
            mean explains the measurement less well than noise and maps should allow.
        """
        started = time.perf_counter()
        if loaded.acquisition.is_empty:
            n_samples = self.configuration.n_samples
            zeros = torch.zeros(n_samples, *loaded.acquisition.shape).to(torch.complex64)
            nothing = None if self.configuration.tolerance is None else MonteCarloErrors(0.0, 0.0)
            return SampledSlice(
                loaded, zeros.numpy(), PosteriorSamples(zeros, 0), 0.0, None, batch, errors=nothing
            )
        batch = batch or self.batch_of(loaded)
        result, batch, errors = self._sample(loaded, progress, batch)
        factors = factors_of_slice(self, loaded)
        result = with_factors(result, factors, loaded.acquisition)
        # Factors are of the prior's part: the other was measured for itself.
        seed = self.configuration.sampler_seed
        result = with_maps_deviation(result, loaded.acquisition, seed, loaded.index)
        acquisition, several = loaded.acquisition, loaded.acquisition.n_sets > 1
        samples = acquisition.combine(result.samples).cpu().numpy()
        with torch.no_grad():
            mean = result.samples.mean(0).to(acquisition.kspace.device)
            combined = acquisition.combine(mean[None])[0] if several else mean
            unlike = measure_novelty(self.prior, combined)
            explanation, complaint = explain_slice(
                loaded.raw, loaded.index, acquisition, mean, self.configuration.force
            )
        wrong = (self.raw.defect, self.calibration.implausible, complaint)
        complaints = [each for each in wrong if each]
        seconds = time.perf_counter() - started
        _LOGGER.debug(
            "%s, slice %d: %d samples, %d at a time, of %d evaluations in %.1f s, data misfit %.3g",
            loaded.raw.path,
            loaded.index,
            len(samples),
            batch,
            result.n_evaluations,
            seconds,
            number_or_nan(last_misfit(result.diagnostics)),
        )
        return SampledSlice(
            loaded, samples, result, seconds, unlike, batch, factors, explanation,
            "; ".join(complaints) or None,
            combined.cpu().numpy() if several else None, errors,
        )  # fmt: skip

    def _sample(
        self, loaded: LoadedSlice, progress: Progress | None, batch: int
    ) -> tuple[PosteriorSamples, int, MonteCarloErrors | None]:
        settings = self.configuration
        operator, data, noise_std = loaded.acquisition.problem()
        prior = prior_of_sets(self.prior, loaded.acquisition)
        n_samples, n_evaluations = settings.n_samples, settings.n_evaluations
        n_told = 0

        def report_step(first: int, info: StepInfo) -> None:
            """One step of progress whenever all samples together are a step further on average."""
            nonlocal n_told
            done = (first % n_samples * n_evaluations + len(info.x) * info.step) // n_samples
            while progress and n_told < done:
                progress.step()
                n_told += 1

        def draw(first: int, count: int) -> PosteriorSamples:
            # On the CPU whatever the device: one number is drawn from it, the seed of all streams.
            generator = torch.Generator().manual_seed(settings.sampler_seed)
            return sample_posterior(
                prior,
                operator,
                data,
                noise_std,
                n_samples=count,
                n_evaluations=n_evaluations,
                method=settings.method,
                initial=None if loaded.start is None else loaded.start.estimate,
                generator=generator,
                callback=(lambda info: report_step(first, info)) if progress else None,
                first_sample=first,
                first_slice=loaded.index,
                antithetic=True,
                allow_lost=True,  # `draw_in_batches` looks at all batches together
            )

        def warn(sentence: str) -> None:
            warning = f"{loaded.raw.path}, slice {loaded.index}: {sentence}"
            warnings.warn(warning, MriAlpsWarning, stacklevel=2)

        def draw_block(first: int) -> PosteriorSamples:
            nonlocal batch, n_told
            n_told = 0
            if progress:
                progress.start_slice(loaded.index, n_evaluations)
            found, batch = draw_in_batches(draw, n_samples, batch, warn, first)
            return found

        if settings.tolerance is None:
            return draw_block(0), batch, None

        def images(samples: PosteriorSamples) -> np.ndarray:
            return loaded.acquisition.combine(samples.samples).cpu().numpy()

        most = settings.max_samples
        result, errors = draw_to_tolerance(draw_block, images, n_samples, most, settings.tolerance)
        short = shortfall(errors, len(result.samples), settings.tolerance)
        if short is not None:
            warn(short)
        return result, batch, errors

    def reduce(self, sampled: SampledSlice) -> SliceReconstruction:
        """Reduce samples to what is kept, in the scan's own units.

        Parameters
        ----------
        sampled : SampledSlice
            From `draw`.
        """
        return reduce_samples(sampled, self.configuration, self.conformal)
