"""How much a phase-encode line, or a point, would tell, under a Gaussian posterior.

The values that the coils would measure at a candidate have the posterior covariance Sigma;
measuring them with noise is worth log det(I + Sigma / noise_std^2) nats, summed over the
readout, and leaves the covariance that Gaussian conditioning gives. The readout is looked at in
image space (its Fourier transform is unitary and noise stays white), where the positions share
no measurement. Covariances are per real component, E[n conj(n)] / 2, as `noise_std` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.core.fourier import fftc


class Information(Protocol):
    """What the greedy choice needs to know of one scan's posterior."""

    def gains(self) -> torch.Tensor:
        """Return the information of every candidate in nats, real (n_candidates,)."""

    def condition(self, candidate: int) -> None:
        """Take a candidate as measured: the posterior covariance shrinks."""

    def variance(self) -> float:
        """Return the expected squared error, the sum over pixels of E |x - mean|^2."""


class GreedyChoice(NamedTuple):
    """Candidates in the order in which they were picked.

    `gains` are the nats that each was worth when it was picked, mean over scans; `variances`
    are the expected squared errors thereafter, (picks, scans).
    """

    candidates: tuple[int, ...]
    gains: tuple[float, ...]
    variances: tuple[tuple[float, ...], ...]


def choose_greedily(
    population: Sequence[Information], taken: torch.Tensor, count: int
) -> GreedyChoice:
    """Pick candidates one by one, each the best given all that were picked before it.

    Parameters
    ----------
    population : sequence of Information
        One entry per scan; their gains are averaged, and all are conditioned on every pick.
    taken : torch.Tensor
        bool (n_candidates,), True where nothing is left to choose.
    count : int
        How many to pick.

    Raises
    ------
    ConfigurationError
        If fewer are left.
    """
    taken = taken.clone().cpu()
    if count > int((~taken).sum()):
        raise ConfigurationError(
            f"{count} more lines were asked for and {int((~taken).sum())} are not yet sampled: "
            "lower the budget"
        )
    picks, worth, variances = [], [], []
    for _ in range(count):
        gains = torch.stack([scan.gains().double().cpu() for scan in population]).mean(0)
        best = int(gains.masked_fill(taken, -torch.inf).argmax())
        taken[best] = True
        for scan in population:
            scan.condition(best)
        picks.append(best)
        worth.append(float(gains[best]))
        variances.append(tuple(scan.variance() for scan in population))
    return GreedyChoice(tuple(picks), tuple(worth), tuple(variances))


class RowInformation:
    """Posterior of image rows along the phase encode that are independent of each other.

    With whole lines measured, no measurement mixes rows; what the prior knows about one row
    from its neighbours is in their covariances, but is not passed on when a line is picked.
    Costs (rows x coils x W^2) per pick.

    Parameters
    ----------
    covariances : torch.Tensor
        Complex (rows, W, W), posterior covariance of each row per real component.
    maps : torch.Tensor
        Complex (coils, rows, W), whitened sensitivities.
    noise_std : float
        Per real component.
    weights : torch.Tensor, optional
        (rows,): how many rows of the image each stands for; 1 if left out.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """

    def __init__(
        self,
        covariances: torch.Tensor,
        maps: torch.Tensor,
        noise_std: float,
        weights: torch.Tensor | None = None,
    ):
        n_rows, width = covariances.shape[:2]
        if covariances.shape != (n_rows, width, width) or maps.shape[1:] != (n_rows, width):
            raise ShapeError(
                f"row covariances {tuple(covariances.shape)} and maps {tuple(maps.shape)} do not "
                "fit: expected (rows, W, W) and (coils, rows, W)"
            )
        self._covariances = covariances.clone()
        self._maps = maps.to(covariances.dtype).movedim(1, 0)  # (rows, coils, W)
        self._noise_variance = float(noise_std) ** 2
        device = covariances.device
        real = covariances.dtype.to_real()
        self._weights = (torch.ones(n_rows) if weights is None else torch.as_tensor(weights)).to(
            device, real
        )
        basis = torch.eye(width, dtype=covariances.dtype, device=device)
        self._fourier = fftc(basis, dim=-1).mT  # row k holds the harmonics of line k
        self._blocks = torch.stack([self._coil_blocks(row) for row in range(n_rows)])

    def gains(self) -> torch.Tensor:
        """Return sum over rows of log det(I + Sigma / noise_std^2), (W,)."""
        return (self._weights[:, None] * log_determinants(self._blocks, self._noise_variance)).sum(
            0
        )

    def condition(self, candidate: int) -> None:
        """Take line `candidate` as measured in every row."""
        harmonics = self._fourier[candidate] * self._maps  # (rows, coils, W)
        cross = self._covariances @ harmonics.mH  # (rows, W, coils)
        factor = noisy_factor(harmonics @ cross, self._noise_variance)
        update = torch.linalg.solve_triangular(factor, cross.mH, upper=False).mH
        self._covariances -= update @ update.mH
        # (rows, picked coils, coils, W): what the update takes away from every line's values
        spread = fftc(self._maps[:, None] * update.mT[:, :, None], dim=-1)
        self._blocks -= torch.einsum("rpck,rpdk->rkcd", spread, spread.conj())

    def variance(self) -> float:
        """Return the sum over pixels of E |x - mean|^2."""
        power = torch.diagonal(self._covariances, dim1=-2, dim2=-1).real.sum(-1)
        return 2 * float((self._weights * power).sum())

    def _coil_blocks(self, row: int) -> torch.Tensor:
        """Sigma of every line in one row, (W, coils, coils)."""
        harmonics = self._fourier[:, None, :] * self._maps[row]  # (W, coils, W)
        return (harmonics @ self._covariances[row]) @ harmonics.mH


class JointInformation:
    """Posterior of a whole image through a factor of its covariance, C = sum_p f_p f_p^H.

    Conditioning is exact and joint over the whole line. The factor may be the columns of a
    dense Cholesky factor, or samples: centred and divided by sqrt(2 (n - 1)), for small images
    or many samples, since every measured value uses up one of them.

    Parameters
    ----------
    factor : torch.Tensor
        Complex (p, H, W).
    maps : torch.Tensor
        Complex (coils, H, W), whitened sensitivities.
    noise_std : float
        Per real component.
    points : bool
        Candidates are single points of the (H, W) plane, flattened, not lines along its first
        axis.
    """

    def __init__(
        self, factor: torch.Tensor, maps: torch.Tensor, noise_std: float, points: bool = False
    ):
        self._factor = factor
        self._noise_variance = float(noise_std) ** 2
        images = factor[:, None] * maps.to(factor.dtype)
        # (p, coils, readout, candidates); points have no readout, but one position for all
        values = fftc(images, dim=(-2, -1) if points else -1)
        self._values = values.flatten(2).unsqueeze(2) if points else values

    def gains(self) -> torch.Tensor:
        """Return sum over the readout of log det(I + Sigma / noise_std^2), (candidates,)."""
        blocks = torch.einsum("pcrk,pdrk->rkcd", self._values, self._values.conj())
        return log_determinants(blocks, self._noise_variance).sum(0)

    def condition(self, candidate: int) -> None:
        """Take a line, or a point, as measured by all coils."""
        measured = self._values[..., candidate].flatten(1).mT  # (coils x readout, p)
        identity = torch.eye(measured.shape[1], dtype=measured.dtype, device=measured.device)
        root = torch.linalg.cholesky(identity + measured.mH @ measured / self._noise_variance)
        self._factor = _remix(self._factor, root)
        self._values = _remix(self._values, root)

    def variance(self) -> float:
        """Return the sum over pixels of E |x - mean|^2."""
        return 2 * float(self._factor.abs().square().sum())


def _remix(columns: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """Multiply columns (p, ...) from the right by the inverse of root^H."""
    flat = columns.flatten(1)
    return torch.linalg.solve_triangular(root.conj(), flat, upper=False).reshape(columns.shape)


def noisy_factor(blocks: torch.Tensor, noise_variance: float) -> torch.Tensor:
    """Return the Cholesky factor of blocks + noise_variance I.

    Parameters
    ----------
    blocks : torch.Tensor
        Complex (..., n, n), covariances.
    noise_variance : float
        Per real component.
    """
    n = blocks.shape[-1]
    identity = torch.eye(n, dtype=blocks.dtype, device=blocks.device)
    symmetric = (blocks + blocks.mH) / 2 + noise_variance * identity
    factor, info = torch.linalg.cholesky_ex(symmetric)
    if bool(info.any()):  # rounding made a covariance indefinite: lift it by what rounding is
        scale = torch.diagonal(symmetric, dim1=-2, dim2=-1).real.amax(-1)[..., None, None]
        factor = torch.linalg.cholesky(symmetric + 1e-5 * scale * identity)
    return factor


def log_determinants(blocks: torch.Tensor, noise_variance: float) -> torch.Tensor:
    """Return log det(I + blocks / noise_variance), real (...).

    Parameters
    ----------
    blocks : torch.Tensor
        Complex (..., n, n), covariances.
    noise_variance : float
        Per real component.
    """
    factor = noisy_factor(blocks / noise_variance, 1.0)
    return 2 * torch.diagonal(factor, dim1=-2, dim2=-1).real.log().sum(-1)
