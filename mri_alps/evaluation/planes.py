"""A picture of a volume: three planes through its middle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mri_alps.core.hdf5 import Dataset, open_hdf5
from mri_alps.evaluation.figures import new_figure, save_figure, window_tops
from mri_alps.evaluation.uncertainty_factor import mean_factor

NAMES = ("readout", "phase encode", "partition")
_PANEL_INCHES = 2.8


def write_planes(
    reconstruction: Path,
    picture: Path,
    rows: range,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    title: str = "",
) -> Path:
    """Write a PNG of a volume whose slices are readout positions, planes of which are read.

    Columns are the posterior mean, the zero-filled image and the standard deviation; rows are the
    planes through the middle of the volume across each of its axes.

    Parameters
    ----------
    reconstruction : pathlib.Path
        File of `reconstruct`.
    picture : pathlib.Path
        PNG to write.
    rows : range
        Rows of the file that are the volume, in the order of the readout.
    spacing : sequence of float
        Distance of pixels in mm along readout, phase encode and partition.
    title : str
        Heading.

    Returns
    -------
    pathlib.Path
        `picture`.
    """
    columns = ("reconstruction", "zero_filled", "reconstruction_std")
    with open_hdf5(reconstruction) as file:
        planes = [[_plane(file[name], rows, axis) for axis in range(3)] for name in columns]
        factor = mean_factor(file)
    mean, std = (np.concatenate([p.ravel() for p in planes[k]])[np.newaxis] for k in (0, 2))
    unit, top = window_tops(mean, std, None)
    scaled = "" if factor is None else f"\ntimes {factor:.2f}, from left-out samples"
    titles = ("posterior mean", "zero-filled", f"posterior standard deviation{scaled}")
    windows = (100.0, 100.0, 100 * top / unit)
    figure = new_figure(_PANEL_INCHES * 3 + 0.4, _PANEL_INCHES * 3 + 1.2)
    axes = figure.subplots(3, 3, squeeze=False)
    for column in range(3):
        for across in range(3):
            down, along = (axis for axis in range(3) if axis != across)
            axis = axes[across, column]
            shown = axis.imshow(
                100 * planes[column][across] / unit,
                cmap="magma" if column == 2 else "gray",
                vmin=0,
                vmax=windows[column],
                aspect=spacing[down] / spacing[along],
                interpolation="nearest",
            )
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(NAMES[along], fontsize=8)
            if column == 0:
                axis.set_ylabel(NAMES[down], fontsize=8)
        axes[0, column].set_title(titles[column], fontsize=9)
        bar = figure.colorbar(
            shown, ax=axes[:, column], location="bottom", fraction=0.04, pad=0.02, aspect=25
        )
        bar.ax.tick_params(labelsize=7)
        bar.set_label("%", fontsize=7)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(
        f"100 % = {unit:.3g} in the units of the scan's root-sum-of-squares image; planes through "
        "the middle of the volume",
        fontsize=8,
    )
    save_figure(figure, picture)
    return picture


def _plane(volume: Dataset, rows: range, axis: int) -> np.ndarray:
    """Return the plane in the middle across an axis, (first, second) of the other two."""
    if axis == 0:
        plane: np.ndarray = volume[rows[len(rows) // 2]]
        return plane
    middle = volume.shape[axis] // 2
    index = (slice(rows.start, rows.stop), *(middle if a == axis else slice(None) for a in (1, 2)))
    plane = volume[index]
    return plane
