"""Learned priors in several mirrorings, so that the network's errors differ and partly cancel."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.priors.protocol import ScoreModel
    from mri_alps.sampling.score import Score


def mirror_axes_of(model: ScoreModel, n_axes: int) -> tuple[int, ...]:
    """Return the axes along which a prior's images may be mirrored; none if it names none.

    Parameters
    ----------
    model : ScoreModel
        The prior, with or without `mirror_axes`.
    n_axes : int
        Axes of an image.

    Raises
    ------
    ConfigurationError
        If an axis is none of the image's, from -n_axes to -1, or comes twice.
    """
    found = getattr(model, "mirror_axes", ())
    try:
        axes = tuple(map(operator.index, found))
    except TypeError:
        axes = (0,)  # is refused
    if not {*axes} <= {*range(-n_axes, 0)} or len({*axes}) < len(axes):
        raise ConfigurationError(
            f"the prior's mirror_axes are {found}: expected different numbers from {-n_axes} to "
            "-1, axes of the image counted from the last"
        )
    return axes


def mirroring(index: int, axes: Sequence[int]) -> tuple[int, ...]:
    """Return the axes to flip in mirroring `index` of 2^m: bit k says whether axis k is among them.

    Parameters
    ----------
    index : int
        From 0, which flips none; taken modulo 2^m.
    axes : sequence of int
        The m axes of `mirror_axes_of`.
    """
    return tuple(axis for bit, axis in enumerate(axes) if index >> bit & 1)


class MirroredScore:
    """The score of a prior whose images may be mirrored: chain i sees it in mirroring i mod 2^m.

    Images of such a prior are as likely as their mirror images, but a network that was trained so
    is only nearly symmetric: mirrored there and back, its score differs by what it has not learnt.
    With one mirroring for all samples that error is common to them, and no spread tells of it. With
    several, part of it cancels in the mean and shows in the deviation, as in an ensemble of
    networks, at the cost of one. A chain keeps its mirroring, for one that changes it from step to
    step is drawn towards the mean of all, and samples become narrower.

    Parameters
    ----------
    score : Score
        Of the prior.
    axes : sequence of int
        Of `mirror_axes_of`.
    indices : sequence of int
        Of the samples, in the order of the chains.
    device : torch.device
        Where the chains are.
    """

    def __init__(
        self,
        score: Score,
        axes: Sequence[int],
        indices: Sequence[int],
        device: torch.device,
    ):
        self.model = score
        self.sigma_min = float(score.sigma_min)
        self.sigma_max = float(score.sigma_max)
        self._mirrored = [
            (axis, torch.tensor([axis in mirroring(i, axes) for i in indices], device=device))
            for axis in axes
        ]

    def score(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Score at noise level `sigma`.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape), an image for each index.
        sigma : float
            Noise level per real component.
        """
        return self._mirror(self.model.score(self._mirror(x), sigma))

    def denoise(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Posterior mean at noise level `sigma`.

        Parameters
        ----------
        x : torch.Tensor
            (n, *domain_shape), an image for each index.
        sigma : float
            Noise level per real component.
        """
        return self._mirror(self.model.denoise(self._mirror(x), sigma))

    def _mirror(self, x: torch.Tensor) -> torch.Tensor:
        """Mirror the chains that are to be; twice is as it was."""
        for axis, chosen in self._mirrored:
            x = torch.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x.flip(axis), x)
        return x
