"""Figures: how they are made, windowed and saved, the same for every picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.lazy import undisturbed_imports

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_ENDINGS = (".png", ".pdf", ".svg")
_WINDOW_PERCENTILE = 99.5
_OBJECT_THRESHOLD = 0.1


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that no window shows.

    Parameters
    ----------
    width, height : float
        In inches.
    """
    with undisturbed_imports():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, *, dpi: int = 110, file_format: str = "png") -> None:
    """Write a figure; it is there whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `new_figure`.
    path : pathlib.Path
        The file.
    dpi : int
        Pixels per inch.
    file_format : str
        As matplotlib names it.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format=file_format)


def figure_format(path: Path) -> str:
    """Return how matplotlib calls the format of a figure that a user named.

    Parameters
    ----------
    path : pathlib.Path
        As `--figure` names it.

    Raises
    ------
    ConfigurationError
        If its ending cannot be drawn.
    """
    if path.suffix.lower() not in FIGURE_ENDINGS:
        raise ConfigurationError(
            f"--figure {path} has no ending that can be drawn: use {', '.join(FIGURE_ENDINGS)}"
        )
    return path.suffix.lower().lstrip(".")


def window_top(image: np.ndarray) -> float:
    """Return the value that is shown brightest, so that a few outliers do not decide.

    Parameters
    ----------
    image : numpy.ndarray
        Real, any shape. What is not finite has no say.

    Returns
    -------
    float
        0 where nothing is finite.
    """
    finite = image[np.isfinite(image)]
    return float(np.percentile(finite, _WINDOW_PERCENTILE)) if finite.size else 0.0


def window_tops(
    mean: np.ndarray, std: np.ndarray, reference: np.ndarray | None
) -> tuple[float, float]:
    """Return the tops of two windows: of images, and of standard deviation and error.

    Error and standard deviation have one window, so that the eye can compare them; the air,
    where a reference is its own noise floor, has no say in it.

    Parameters
    ----------
    mean, std : numpy.ndarray
        Of the posterior, (slices, H, W).
    reference : numpy.ndarray or None
        Of the same shape and unit.
    """
    unit = window_top(mean if reference is None else reference) or 1.0
    inside = mean > _OBJECT_THRESHOLD * unit
    spreads = [std] if reference is None else [std, np.abs(mean - reference)]
    top = max(window_top(spread[inside] if inside.any() else spread) for spread in spreads)
    return unit, top or unit
