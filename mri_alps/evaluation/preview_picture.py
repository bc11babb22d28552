"""The picture of a preview: a point estimate, with nothing beside it that looks like certainty."""

from __future__ import annotations

import math
from pathlib import Path

from mri_alps.core.hdf5 import open_hdf5
from mri_alps.evaluation.figures import new_figure, save_figure, window_top

_COLUMNS = 4
_PANEL_INCHES = 2.6


def write_preview(preview: Path) -> Path:
    """Write a PNG of the same name beside a preview's file: all its slices in one window.

    Parameters
    ----------
    preview : pathlib.Path
        HDF5 that `reconstruct` writes before its samples are drawn.

    Returns
    -------
    pathlib.Path
        The picture.
    """
    with open_hdf5(preview) as file:
        images, slices = file["preview"][()], file["slices"][()].tolist()
        source, seconds = str(file.attrs["source"]), file["seconds"][()]
        aspect = float(file.attrs["pixel_aspect"])
    unit = window_top(images) or 1.0
    n_columns = min(_COLUMNS, len(slices))
    n_rows = math.ceil(len(slices) / n_columns)
    height, width = images.shape[1:]
    tall = _PANEL_INCHES * min(2.0, max(0.5, height * aspect / width))
    figure = new_figure(max(4.4, _PANEL_INCHES * n_columns), tall * n_rows + 1.3)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, index in zip(axes, images, slices, strict=False):
        axis.imshow(
            100 * image / unit,
            cmap="gray",
            vmin=0,
            vmax=100,
            aspect=aspect,
            interpolation="nearest",
        )
        axis.set_title(f"slice {index}", fontsize=9)
    figure.suptitle(
        f"PREVIEW of {source}\npoint estimate, not the posterior: no deviation is known yet",
        fontsize=10,
        color="firebrick",
    )
    figure.supxlabel(
        f"each within {max(seconds):.1f} s; white is {unit:.3g}\n"
        "in the units of the scan's root-sum-of-squares image",
        fontsize=7,
    )
    picture = preview.with_suffix(".png")
    save_figure(figure, picture)
    return picture
