"""A reconstruction as a figure, for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mri_alps.pipeline.result import Reconstruction

_PANEL_INCHES = 2.8
_WINDOW_PERCENTILE = 99.5


def plot_slice(result: Reconstruction, index: int | None = None, n_samples: int = 2) -> Figure:
    """Draw mean, standard deviation, width of the interval and samples of one slice.

    Parameters
    ----------
    result : Reconstruction
        What to draw.
    index : int, optional
        Slice of the scan; the middle one if left out.
    n_samples : int
        Samples to draw, if the reconstruction holds them.

    Returns
    -------
    matplotlib.figure.Figure
        One row; a notebook shows it, `savefig` writes it.

    Raises
    ------
    ConfigurationError
        If there is no such slice.
    """
    from matplotlib.figure import Figure

    slices = result.slices.tolist()
    index = slices[len(slices) // 2] if index is None else index
    if index not in slices:
        raise ConfigurationError(f"there is no slice {index}, expected one of {slices}")
    row = slices.index(index)
    mean, std = result.reconstruction[row], result.reconstruction_std[row]
    width = result.reconstruction_upper[row] - result.reconstruction_lower[row]
    panels = [
        ("posterior mean", mean, "gray", _top(mean)),
        ("posterior standard deviation", std, "magma", _top(std)),
        ("width of the 90 % interval", width, "magma", _top(width)),
    ]
    if result.samples is not None:
        samples = np.abs(result.samples_in_image_units()[row, :n_samples])
        panels += [(f"sample {i}", image, "gray", _top(mean)) for i, image in enumerate(samples)]
    figure = Figure(
        figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES + 0.6), layout="constrained"
    )
    for axis, (title, image, colours, top) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        shown = axis.imshow(
            image,
            cmap=colours,
            vmin=0,
            vmax=top,
            aspect=float(result.attributes.get("pixel_aspect", 1.0)),
            interpolation="nearest",
        )
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        figure.colorbar(shown, ax=axis, location="bottom", fraction=0.05, pad=0.02)
    figure.suptitle(f"slice {index}, {result.attributes.get('prior', '')}", fontsize=10)
    return figure


def _top(image: np.ndarray) -> float:
    finite = image[np.isfinite(image)]
    return float(np.percentile(finite, _WINDOW_PERCENTILE)) if finite.size else 1.0
