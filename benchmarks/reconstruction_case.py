"""A fully sampled scan, undersampled afterwards, and the figures of a reconstruction of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from mri_alps.calibration import Acquisition, PointEstimate, prepare_slice
from mri_alps.calibration.acquisition import AnySenseOperator
from mri_alps.calibration.noise import apply_to_coils
from mri_alps.core.crop import center_crop
from mri_alps.evaluation.metrics import image_metrics
from mri_alps.masks import make_mask
from mri_alps.operators import sense_operator
from mri_alps.rawdata import RawKSpace, read_raw

LEVEL = 0.9


@dataclass(frozen=True)
class Case:
    """One slice with what was measured, what was left out, and the image to compare with.

    `data` is the whole whitened k-space (coils, H, W), scaled like the acquisition; `left_out`
    is bool (H, W). The reference is the coil combination of all of it with the same maps. Of
    several sets of maps images are (sets, H, W), and looked at as `Acquisition.combine` has them.
    """

    name: str
    acquisition: Acquisition
    operator: AnySenseOperator
    full_operator: AnySenseOperator
    data: torch.Tensor
    left_out: torch.Tensor
    reference: torch.Tensor
    crop: tuple[int, int]

    @property
    def noise_std(self) -> float:
        """Per real component, of whitened and scaled k-space."""
        return self.acquisition.noise_std

    @property
    def plain_operator(self) -> AnySenseOperator:
        """The operator without weights, for the methods that are compared with."""
        return self.acquisition.operator_with(None)

    def support(self) -> torch.Tensor:
        """Where there are maps; elsewhere an image is undefined, and taken to be zero."""
        return self.acquisition.sensitivity_maps.abs().sum(0) > 0

    def figures(self, image: torch.Tensor) -> dict[str, float]:
        """PSNR and NMSE of the magnitude, and the left-out error in dB.

        The last is |A x - y|^2 over the left-out samples relative to |y|^2 there, the variance
        of the noise, 2 noise_std^2 a sample, subtracted from both.
        """
        combined = self.acquisition.combine(image[None])[0]
        magnitude = (combined * self.support()).abs().numpy()
        target = center_crop(self.reference.abs().numpy(), self.crop)[None]
        metrics = image_metrics(target, center_crop(magnitude, self.crop)[None])
        predicted = self.full_operator.forward(image)
        noise = 2 * self.noise_std**2
        error = float((predicted - self.data)[:, self.left_out].abs().square().mean()) - noise
        signal = float(self.data[:, self.left_out].abs().square().mean()) - noise
        decibel = 10 * np.log10(max(error, 1e-3 * noise) / signal)
        return {"PSNR": metrics["PSNR"], "NMSE": metrics["NMSE"], "left_out": float(decibel)}

    def left_out_coverage(self, samples: torch.Tensor) -> float:
        """Fraction of left-out samples (real and imaginary parts) in their 90 % intervals.

        A new measurement has the variance s^2 (1 + 1/n) + noise_std^2 about the mean of n
        posterior samples of variance s^2; the first part is estimated with n - 1 degrees of
        freedom, which Welch and Satterthwaite's formula carries to the sum.
        """
        predicted = torch.stack([self.full_operator.forward(x)[:, self.left_out] for x in samples])
        values = torch.view_as_real(predicted).double()
        truth = torch.view_as_real(self.data[:, self.left_out]).double()
        spread = values.var(0) * (1 + 1 / len(values))
        total = spread + self.noise_std**2
        freedom = (len(values) - 1) * (total / spread.clamp_min(1e-300)).square()
        quantile = torch.as_tensor(stats.t.ppf(0.5 + LEVEL / 2, freedom.clamp_max(1e6).numpy()))
        inside = (truth - values.mean(0)).abs() <= quantile * total.sqrt()
        return float(inside.double().mean())


def load_case(
    path,
    acceleration: float,
    center_fraction: float,
    seed: int | None = None,
    noise_std: float | None = None,
    kind: str = "equispaced",
    index: int = 0,
    estimate: PointEstimate | None = None,
) -> Case:
    """Read a scan and leave out what a mask does not have.

    Parameters
    ----------
    path : pathlib.Path
        A fully sampled scan.
    acceleration, center_fraction, kind
        Of the mask.
    seed : int, optional
        Of the mask; by the file's name, as fastMRI's evaluation does, if left out.
    noise_std : float, optional
        In the units of the file, where it cannot be estimated.
    index : int
        Slice.
    estimate : callable, optional
        As `prepare_slice` takes it: what `reconstruct` improves maps of few lines with.
    """
    raw = read_raw(path)
    mask_seed = tuple(map(ord, path.name)) if seed is None else seed
    mask = make_mask(kind, raw.shape, acceleration, center_fraction, seed=mask_seed)
    name = f"{path.name}, {kind} {acceleration:g}x"
    return case_of(raw, name, mask, index, noise_std, estimate=estimate)


def case_of(
    raw: RawKSpace,
    name: str,
    mask: np.ndarray,
    index: int = 0,
    noise_std: float | None = None,
    clean: np.ndarray | None = None,
    estimate: PointEstimate | None = None,
) -> Case:
    """Leave out what a mask does not have.

    Parameters
    ----------
    raw : RawKSpace
        A fully sampled scan.
    name : str
        What tables call it.
    mask : numpy.ndarray
        bool, broadcastable to (H, W).
    index : int
        Slice.
    noise_std : float, optional
        In the units of the scan, where it cannot be estimated.
    clean : numpy.ndarray, optional
        The k-space (coils, H, W) of a simulated scan before noise was added: the reference is made
        of it.
    estimate : callable, optional
        As `prepare_slice` takes it.
    """
    acquisition = prepare_slice(raw, index, mask, noise_std=noise_std, estimate=estimate)
    return case_from(acquisition, raw, name, index, clean)


def case_from(
    acquisition: Acquisition,
    raw: RawKSpace,
    name: str,
    index: int = 0,
    clean: np.ndarray | None = None,
) -> Case:
    """Compare with what the acquisition of a fully sampled scan left out; see `case_of`."""
    everything = torch.ones(raw.shape, dtype=torch.bool)
    full_operator = sense_operator(acquisition.sets(), everything)

    def whitened(kspace: np.ndarray) -> torch.Tensor:
        whole = apply_to_coils(acquisition.whitening, kspace)
        return torch.as_tensor(whole / np.float32(acquisition.scale)).to(torch.complex64)

    data = whitened(raw.read_slice(index))
    reference = full_operator.adjoint(data if clean is None else whitened(clean))
    return Case(
        name=name,
        acquisition=acquisition,
        operator=acquisition.operator(),
        full_operator=full_operator,
        data=data,
        left_out=~acquisition.mask.expand(raw.shape),
        reference=acquisition.combine(reference[None])[0],
        crop=raw.crop,
    )
