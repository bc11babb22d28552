"""Each chain sees a learned prior in a mirroring of its own: so the network's errors differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_alps.sampling.score import Score


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
        The m axes along which images may be mirrored, negative: counted from the last.
    n_axes : int
        Axes of an image.
    indices : sequence of int
        Of the samples, in the order of the chains. Bit k of a sample's index says whether its
        images are mirrored along axis k; sample 0 sees the prior as it is.
    device : torch.device
        Where the chains are.

    Raises
    ------
    ConfigurationError
        If an axis is none of the image's, from -n_axes to -1, or comes twice.

    Notes
    -----
    The mean over flips of a denoiser's input is a known gain of plug-and-play methods: Terris et
    al., "Equivariant plug-and-play image reconstruction", CVPR 2024, who draw one for each step.
    """

    def __init__(
        self,
        score: Score,
        axes: Sequence[int],
        n_axes: int,
        indices: Sequence[int],
        device: torch.device,
    ):
        if not {*axes} <= {*range(-n_axes, 0)} or len({*axes}) < len(axes):
            raise ConfigurationError(
                f"the prior's mirror_axes are {tuple(axes)}: expected different numbers from "
                f"{-n_axes} to -1, axes of the image counted from the last"
            )
        self.model = score
        self.sigma_min = float(score.sigma_min)
        self.sigma_max = float(score.sigma_max)
        self._mirrored = [
            (axis, torch.tensor([bool(index >> bit & 1) for index in indices], device=device))
            for bit, axis in enumerate(axes)
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
