"""A reconstruction as a figure, for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.panels import draw_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mri_alps.pipeline.result import Reconstruction


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
    slices = result.slices.tolist()
    index = slices[len(slices) // 2] if index is None else index
    if index not in slices:
        raise ConfigurationError(f"there is no slice {index}, expected one of {slices}")
    row = slices.index(index)
    mean, std = result.reconstruction[row], result.reconstruction_std[row]
    width = result.reconstruction_upper[row] - result.reconstruction_lower[row]
    samples: list[np.ndarray] = []
    if result.samples is not None:
        samples = list(np.abs(result.samples_in_image_units()[row, :n_samples]))
    title = f"slice {index}, {result.attributes.get('prior', '')}"
    aspect = float(result.attributes.get("pixel_aspect", 1.0))
    return draw_panels(mean, std, width, samples, title, aspect)
