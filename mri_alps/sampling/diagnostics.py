"""Convergence figures of Markov chains: split R-hat and effective sample size.

Source: Gelman et al., Bayesian Data Analysis, 3rd edition, section 11.4 and 11.5; the
autocorrelation is summed by Geyer's initial positive sequence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch

from mri_alps.core.random import standard_normal

N_FUNCTIONALS = 8
MIN_STEPS = 4
"""Of a chain, so that its halves have a variance each."""


class Trace:
    """Records a few fixed linear functionals of the chains at every step of the final phase.

    Parameters
    ----------
    domain_shape : tuple of int
        Shape of one chain's state.
    dtype : torch.dtype
        Of the state.
    device : torch.device
        Of the state.
    """

    def __init__(self, domain_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device):
        generator = torch.Generator().manual_seed(20_251)
        weights = standard_normal((N_FUNCTIONALS, *domain_shape), generator, dtype)
        self._weights = (weights / weights[0].numel() ** 0.5).to(device).reshape(N_FUNCTIONALS, -1)
        self._rows: list[torch.Tensor] = []

    def record(self, x: torch.Tensor) -> None:
        """Take in the state of all chains, (n, *domain_shape)."""
        flat = x.reshape(len(x), -1)
        self._rows.append((flat @ self._weights.mH).real)

    def kept(self, chains: list[int]) -> Trace:
        """Return the trace of some of the chains.

        Parameters
        ----------
        chains : list of int
            Which.
        """
        result = copy.copy(self)
        result._rows = [row[chains] for row in self._rows]
        return result

    def joined(self, others: Iterable[Trace]) -> Trace:
        """Return the trace of the chains of several batches, as far as all of them went.

        Parameters
        ----------
        others : iterable of Trace
            Of runs on the same problem.
        """
        traces = [self, *others]
        result = copy.copy(self)
        n_steps = min(len(trace._rows) for trace in traces)
        result._rows = [torch.cat([trace._rows[i] for trace in traces]) for i in range(n_steps)]
        return result

    def summary(self) -> dict[str, float | None]:
        """Worst split R-hat and smallest effective sample size over the functionals.

        Returns
        -------
        dict
            "n_final_steps", the steps that were recorded; "split_r_hat" and
            "effective_sample_size", None with fewer than four of them, or without chains.
        """
        n_steps = len(self._rows)
        if n_steps < MIN_STEPS or not len(self._rows[0]):
            return {"n_final_steps": n_steps, "split_r_hat": None, "effective_sample_size": None}
        chains = torch.stack(self._rows).double().permute(2, 1, 0)  # functional, chain, step
        return {
            "n_final_steps": n_steps,
            "split_r_hat": max(split_r_hat(c) for c in chains),
            "effective_sample_size": min(effective_sample_size(c) for c in chains),
        }


def split_r_hat(chains: torch.Tensor) -> float:
    """Split R-hat of one scalar quantity.

    Parameters
    ----------
    chains : torch.Tensor
        (chains, steps), real, at least four steps.

    Returns
    -------
    float
        Near 1 when the halves of all chains agree; above 1.1 they do not.
    """
    halves = _split(chains)
    within, pooled = _variances(halves)
    return float((pooled / within).sqrt()) if within > 0 else 1.0


def effective_sample_size(chains: torch.Tensor) -> float:
    """Number of independent draws that the chains are worth for one scalar quantity.

    Parameters
    ----------
    chains : torch.Tensor
        (chains, steps), real, at least four steps.
    """
    halves = _split(chains)
    n_chains, n_steps = halves.shape
    within, pooled = _variances(halves)
    if not pooled > 0:
        return float(n_chains * n_steps)
    centred = halves - halves.mean(1, keepdim=True)
    total = 0.0
    for lag in range(1, n_steps - 1, 2):
        pair = sum(_correlation(centred, k, within, pooled) for k in (lag, lag + 1))
        if pair < 0:
            break
        total += pair
    return float(n_chains * n_steps / max(1 + 2 * total, 1 / n_steps))


def _split(chains: torch.Tensor) -> torch.Tensor:
    half = chains.shape[1] // 2
    return torch.cat([chains[:, :half], chains[:, chains.shape[1] - half :]])


def _variances(halves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    n = halves.shape[1]
    within = halves.var(1).mean()
    return within, (n - 1) / n * within + halves.mean(1).var()


def _correlation(
    centred: torch.Tensor, lag: int, within: torch.Tensor, pooled: torch.Tensor
) -> float:
    n = centred.shape[1]
    covariance = (centred[:, : n - lag] * centred[:, lag:]).sum(1).mean() / n
    return float(1 - (within - covariance) / pooled)
