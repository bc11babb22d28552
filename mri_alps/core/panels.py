"""Images side by side, for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.8
_WINDOW_PERCENTILE = 99.5


def draw_panels(
    mean: np.ndarray,
    std: np.ndarray,
    width: np.ndarray,
    samples: Sequence[np.ndarray],
    title: str,
    pixel_aspect: float = 1.0,
) -> Figure:
    """Draw mean, standard deviation, width of the interval and samples in a row.

    Parameters
    ----------
    mean, std, width : numpy.ndarray
        Real (H, W).
    samples : sequence of numpy.ndarray
        Magnitudes (H, W).
    title : str
        Above all.
    pixel_aspect : float
        Height of a pixel over its width.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it, `savefig` writes it.
    """
    from matplotlib.figure import Figure

    panels = [
        ("posterior mean", mean, "gray", _top(mean)),
        ("posterior standard deviation", std, "magma", _top(std)),
        ("width of the 90 % interval", width, "magma", _top(width)),
        *((f"sample {i}", image, "gray", _top(mean)) for i, image in enumerate(samples)),
    ]
    figure = Figure(
        figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES + 0.6), layout="constrained"
    )
    for axis, (name, image, colours, top) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        shown = axis.imshow(
            image, cmap=colours, vmin=0, vmax=top, aspect=pixel_aspect, interpolation="nearest"
        )
        axis.set_title(name, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        figure.colorbar(shown, ax=axis, location="bottom", fraction=0.05, pad=0.02)
    figure.suptitle(title, fontsize=10)
    return figure


def _top(image: np.ndarray) -> float:
    finite = image[np.isfinite(image)]
    return float(np.percentile(finite, _WINDOW_PERCENTILE)) if finite.size else 1.0
