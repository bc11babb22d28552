"""What `factors` tells of A^H A, for several sets of maps with an image each.

A line of all images is a longer line: its pixels are those of the sets one after the other, and two
of them are coupled as the point-spread function says for their places on the axis.
"""

from __future__ import annotations

import torch

from mri_alps.operators.lines._structure import line_axis
from mri_alps.operators.lines.factors import LineFactors


class SetsLineFactors:
    """A^H A = U L U^H for images (n, sets, H, W); see `LineFactors`.

    Parameters
    ----------
    maps : torch.Tensor
        Complex (sets, coils, H, W).
    power : torch.Tensor
        Mask times squared weights, varying along one image axis only.
    exact : bool
        Whether that is what A^H A has, not a mean.
    """

    def __init__(self, maps: torch.Tensor, power: torch.Tensor, exact: bool = True):
        axis = line_axis(power)
        assert axis is not None
        self._axis, self._n_sets, self.exact = axis, len(maps), exact
        joint = torch.cat(list(maps), axis)
        # Pixels of a further set are left out where no line has it.
        self._kept = (joint != 0).any(0).any(-3 - axis).nonzero().flatten()
        n = maps.shape[axis]
        shape = [1, 1]
        shape[axis] = n
        factors = LineFactors(
            joint.index_select(axis, self._kept), power.expand(shape), exact, self._kept % n
        )
        self._factors, self.values = factors, factors.values
        self.slice_of_value = factors.slice_of_value

    def filter(
        self,
        x: torch.Tensor,
        noise: torch.Tensor | None,
        product: torch.Tensor,
        shift: torch.Tensor,
        outside: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return U (product U^H x + shift U^H noise), see `LineFactors.filter`.

        Parameters
        ----------
        x, noise : torch.Tensor
            (n, sets, H, W); no noise is added if left out.
        product, shift : torch.Tensor
            (V,) weights.
        outside : pair of torch.Tensor
            Both weights outside the support, 0-dimensional.
        """
        image, added = self._joint(x), None if noise is None else self._joint(noise)
        result = image * outside[0]
        kept = image.index_select(self._axis, self._kept)
        kept_noise = None
        if added is not None:
            result = result + added * outside[1]
            kept_noise = added.index_select(self._axis, self._kept)
        filtered = self._factors.filter(kept, kept_noise, product, shift, outside)
        result.index_copy_(self._axis, self._kept, filtered)
        return torch.stack(result.chunk(self._n_sets, self._axis), 1)

    def _joint(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x.unbind(1), self._axis)
