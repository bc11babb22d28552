"""What a sampler returns, and what a callback sees."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mri_alps.core.atomic import create_hdf5
from mri_alps.core.errors import (
    ConfigurationError,
    DivergenceError,
    MriAlpsError,
    MriAlpsWarning,
)
from mri_alps.core.panels import draw_panels
from mri_alps.core.values import as_path
from mri_alps.sampling.statistics import sample_statistics

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from mri_alps.priors.spectrum import PriorSpectrum
    from mri_alps.sampling.diagnostics import Trace


class StepInfo(NamedTuple):
    """What a callback is told after each step.

    Attributes
    ----------
    step, n_steps : int
        Evaluations done and planned.
    level : int
        Noise level, counted from the outermost.
    sigma : float
        Smoothing of the prior at this step.
    phase : str
        "start", "anneal", "finish" or "final".
    x : torch.Tensor
        Current state of all chains, (n, *domain_shape): look, do not change.
    """

    step: int
    n_steps: int
    level: int
    sigma: float
    phase: str
    x: torch.Tensor


Callback = Callable[[StepInfo], Any]
"""Called after every step; a sampler stops early when it returns the string "stop"."""


@dataclass(repr=False)
class PosteriorSamples:
    """Samples of p(x | y) and how they came about.

    Attributes
    ----------
    samples : torch.Tensor
        (n_samples, *domain_shape), dtype of A^H y; fewer where chains are lost.
    n_evaluations : int
        Evaluations of the score model per sample; never more than asked.
    setup_evaluations : int
        Evaluations spent once on estimating the prior's spectrum; 0 if it was given.
    diagnostics : dict
        "levels": one dict for each noise level with sigma, noise_std, step_size, data_misfit
        (median over chains of |y - A x|^2 / (m noise_std^2), about 1 at the end), score_energy
        (about 1 where the score can be trusted); "split_r_hat" and "effective_sample_size" of
        the final phase of "n_final_steps" (None with fewer than four, as in large problems, and
        noisy with few); "n_restarts"; "operator": applications of `normal` per evaluation,
        set-up included.
    prior_spectrum : PriorSpectrum or None
        What preconditioned the run, to be handed on.
    seed : int
        The seed from which all noise streams derive.
    trace : Trace or None
        What the convergence figures were computed from, where a method keeps it.
    lost : tuple of int
        Indices of the samples that were asked for and are not there: their chains diverged in
        every attempt. The others are what they would be without them.
    failure : MriAlpsError or None
        Why they are lost.
    """

    samples: torch.Tensor
    n_evaluations: int
    setup_evaluations: int = 0
    diagnostics: dict[str, Any] = field(default_factory=dict)
    prior_spectrum: PriorSpectrum | None = None
    seed: int = 0
    trace: Trace | None = field(default=None, repr=False)
    lost: tuple[int, ...] = ()
    failure: MriAlpsError | None = None

    def __repr__(self) -> str:
        """Say in a line how many samples of what there are."""
        shape = "x".join(map(str, self.samples.shape[1:]))
        return (
            f"PosteriorSamples({len(self.samples)} samples of {shape}, {self.samples.dtype}, "
            f"{self.n_evaluations} evaluations each, {len(self.lost)} lost)"
        )

    def save(self, path: str | Path) -> Path:
        """Write samples, seed and diagnostics to an HDF5 file, which appears when it is complete.

        Parameters
        ----------
        path : str or pathlib.Path
            The file; one that is there is replaced.

        Returns
        -------
        pathlib.Path
            The file: dataset `samples`, in units of the image that was sampled; attributes
            `n_evaluations`, `setup_evaluations`, `seed`, `lost` and `diagnostics` (JSON).

        Raises
        ------
        ConfigurationError, OutputFileError
            If the path cannot be used.
        """
        target = as_path("PosteriorSamples.save", path)
        with create_hdf5(target) as file:
            file["samples"] = self.samples.detach().cpu().numpy()
            file.attrs["n_evaluations"] = self.n_evaluations
            file.attrs["setup_evaluations"] = self.setup_evaluations
            file.attrs["seed"] = self.seed
            file.attrs["lost"] = json.dumps(self.lost)
            file.attrs["diagnostics"] = json.dumps(self.diagnostics)
        return target

    def plot(self, index: int = 0, n_samples: int = 2) -> Figure:
        """Draw mean, standard deviation, width of the 90 % interval, and samples.

        Parameters
        ----------
        index : int
            Slice, where several were sampled at a time.
        n_samples : int
            Samples to draw.

        Returns
        -------
        matplotlib.figure.Figure
            One row; a notebook shows it, `savefig` writes it.

        Raises
        ------
        ConfigurationError
            If these are no images, or there is no such slice.
        """
        images = self.samples if self.samples.ndim == 4 else self.samples.unsqueeze(1)
        if images.ndim != 4 or not 0 <= index < images.shape[1]:
            raise ConfigurationError(
                f"samples of shape {tuple(self.samples.shape)} have no slice {index} to be drawn: "
                "expected (n_samples, H, W) or (n_samples, slices, H, W)"
            )
        chosen = images[:, index].detach().cpu().numpy()
        found = sample_statistics(chosen)
        width = found.upper - found.lower
        shown = list(abs(chosen[:n_samples]))
        title = f"{len(chosen)} samples, {self.n_evaluations} evaluations each"
        return draw_panels(found.magnitude_mean, found.magnitude_std, width, shown, title)


def drop_diverged(result: PosteriorSamples, first_sample: int) -> PosteriorSamples:
    """Return a result without the samples that are not finite, which count as lost.

    Parameters
    ----------
    result : PosteriorSamples
        Of any method.
    first_sample : int
        Index of the first sample that was asked of the method.
    """
    n_asked = len(result.samples) + len(result.lost)
    indices = [i for i in range(first_sample, first_sample + n_asked) if i not in result.lost]
    finite = torch.isfinite(result.samples).flatten(1).all(1).tolist()
    bad = [index for index, good in zip(indices, finite, strict=True) if not good]
    if not bad:
        return result
    failure = result.failure or DivergenceError(
        f"{len(bad)} of {n_asked} samples are not finite: the sampler diverged, try more "
        "evaluations or another prior",
        level=-1,
        step=result.n_evaluations,
        magnitude=math.inf,
    )
    return replace(
        result,
        samples=result.samples[[i for i, good in enumerate(finite) if good]],
        lost=tuple(sorted((*result.lost, *bad))),
        failure=failure,
    )


def require_enough(result: PosteriorSamples, notify: Callable[[str], object] | None = None) -> None:
    """Raise why chains are lost unless half of them are left, and two where several were asked.

    Parameters
    ----------
    result : PosteriorSamples
        All samples of a run.
    notify : callable, optional
        Told in one sentence that some are lost; a warning if left out.

    Raises
    ------
    MriAlpsError
        `failure` of the result, if fewer are left.
    """
    if result.failure is None:
        return
    left = len(result.samples)
    n_asked = left + len(result.lost)
    if left < max(n_asked / 2, min(2, n_asked)):
        raise result.failure
    sentence = f"only {left} of {n_asked} samples are used, the others are lost: {result.failure}"
    if notify is None:
        warnings.warn(sentence, MriAlpsWarning, stacklevel=3)
    else:
        notify(sentence)


def join_samples(parts: Sequence[PosteriorSamples]) -> PosteriorSamples:
    """Put the samples of several batches of one run together.

    Parameters
    ----------
    parts : sequence of PosteriorSamples
        Batches on the same problem, in the order of their samples; at least one.

    Returns
    -------
    PosteriorSamples
        Convergence figures are those of all chains where each part has its trace, else the
        worst of the parts; figures of a level are means over the parts, weighted by their sizes.
    """
    first, *others = parts
    if not others:
        return first
    sizes = [len(part.samples) for part in parts]
    found = [part.diagnostics for part in parts]
    joined = dict(found[0])
    traces = [part.trace for part in parts if part.trace is not None]
    trace = traces[0].joined(traces[1:]) if len(traces) == len(parts) else None
    if trace is not None:
        joined |= trace.summary()
    else:
        for key, worst in (("split_r_hat", max), ("effective_sample_size", min)):
            values = [d[key] for d in found if d.get(key) is not None]
            joined |= {key: worst(values)} if values else {}
    if "n_restarts" in joined:
        joined["n_restarts"] = max(int(d.get("n_restarts", 0)) for d in found)
    if "levels" in joined:
        all_levels = zip(*(d["levels"] for d in found), strict=False)
        joined["levels"] = [_mean_figures(levels, sizes) for levels in all_levels]
    if "operator" in joined:
        joined["operator"] = _mean_figures([d["operator"] for d in found], sizes)
    return replace(
        first,
        samples=torch.cat([part.samples for part in parts]),
        n_evaluations=max(part.n_evaluations for part in parts),
        setup_evaluations=sum(part.setup_evaluations for part in parts),
        diagnostics=joined,
        trace=trace,
        lost=tuple(index for part in parts for index in part.lost),
        failure=next((part.failure for part in parts if part.failure is not None), None),
    )


def _mean_figures(parts: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Mean of numbers that differ between batches; what is no single number is the first's."""
    result = dict(parts[0])
    for key, first in parts[0].items():
        values = [part[key] for part in parts if isinstance(part.get(key), float)]
        if len(values) == len(parts) and any(value != first for value in values):
            total = sum(value * size for value, size in zip(values, sizes, strict=True))
            result[key] = total / sum(sizes)
    return result
