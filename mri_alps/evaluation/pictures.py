"""A picture of a reconstruction: mean, uncertainty, and what there is to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.hdf5 import open_hdf5
from mri_alps.evaluation.figures import new_figure, save_figure, window_tops
from mri_alps.evaluation.uncertainty_factor import mean_factor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROWS = 8
_PANEL_INCHES = 2.6


def write_panel(
    reconstruction: Path,
    picture: Path,
    reference: dict[int, np.ndarray] | None = None,
    pixel_aspect: float = 1.0,
    title: str = "",
    without_prior: str = "zero-filled",
) -> Path:
    """Write a PNG: one row per slice, at most eight, evenly chosen.

    Columns are the posterior mean, its standard deviation and the zero-filled image; with a
    reference also the reference and the error, which shares the window of the standard
    deviation. Where left-out samples had the deviations scaled, the mean factor stands above them.
    Everything is in percent of one intensity that the caption states.

    Parameters
    ----------
    reconstruction : pathlib.Path
        File of `reconstruct`.
    picture : pathlib.Path
        PNG to write.
    reference : dict, optional
        Slice index to reference image (H, W), in the units of the reconstruction.
    pixel_aspect : float
        Height of a pixel over its width.
    title : str
        Heading.
    without_prior : str
        What the dataset `zero_filled` is called: of shots along a trajectory it is another.

    Returns
    -------
    pathlib.Path
        `picture`.
    """
    with open_hdf5(reconstruction) as file:
        indices = file["slices"][()]
        rows = evenly_chosen(len(indices), MAX_ROWS)
        names = ("reconstruction", "zero_filled", "reconstruction_std")
        mean, zero_filled, std = (np.stack([file[name][row] for row in rows]) for name in names)
        factor = mean_factor(file)
    shown = [int(indices[row]) for row in rows]
    references = None
    if reference and all(index in reference for index in shown):
        references = np.stack([reference[index] for index in shown])
    compared = (without_prior, zero_filled)
    columns, unit = _columns(mean, std, compared, references, factor)
    figure = _draw(columns, shown, pixel_aspect)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(
        f"100 % = {unit:.3g} in the units of the scan's root-sum-of-squares image; rows are "
        "the readout, columns the phase encode, as stored",
        fontsize=8,
    )
    save_figure(figure, picture)
    return picture


def write_reliability(curves: dict[str, dict[float, float]], picture: Path, title: str) -> Path:
    """Write a PNG: nominal against observed coverage, a curve each, beside what would be perfect.

    Parameters
    ----------
    curves : dict
        Name to (nominal to observed coverage).
    picture : pathlib.Path
        PNG to write.
    title : str
        Heading.

    Returns
    -------
    pathlib.Path
        `picture`.
    """
    figure = new_figure(4.6, 4.2)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect")
    for name, curve in curves.items():
        axis.plot(list(curve), list(curve.values()), "o-", markersize=4, label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("nominal coverage of the interval")
    axis.set_ylabel("share of pixels that it holds")
    axis.set_title(title, fontsize=10)
    axis.legend(fontsize=8, loc="upper left")
    save_figure(figure, picture)
    return picture


def evenly_chosen(count: int, limit: int) -> list[int]:
    """Return at most `limit` indices spread evenly over `count`.

    Parameters
    ----------
    count, limit : int
        Positive.
    """
    if count <= limit:
        return list(range(count))
    return [int(position) for position in np.linspace(0, count - 1, limit).round()]


def _columns(
    mean: np.ndarray,
    std: np.ndarray,
    compared: tuple[str, np.ndarray],
    reference: np.ndarray | None,
    factor: float | None,
) -> tuple[list[dict[str, Any]], float]:
    """Return the columns (title, images in percent, top of the window, colours) and the unit."""
    unit, top = window_tops(mean, std, reference)
    images: list[tuple[str, np.ndarray, str]] = [
        ("posterior mean", mean, "gray"),
        (*compared, "gray"),
    ]
    scaled = "" if factor is None else f"\ntimes {factor:.2f}, from left-out samples"
    uncertain = [(f"posterior standard deviation{scaled}", std, "magma")]
    if reference is not None:
        images.append(("reference", reference, "gray"))
        uncertain.insert(0, ("error |mean - reference|", np.abs(mean - reference), "magma"))
    columns = [
        {"title": name, "images": 100 * image / unit, "top": window, "colours": colours}
        for group, window in ((images, 100.0), (uncertain, 100 * top / unit))
        for name, image, colours in group
    ]
    return columns, unit


def _draw(columns: list[dict[str, Any]], slices: list[int], pixel_aspect: float) -> Figure:
    height, width = columns[0]["images"].shape[-2:]
    tall = _PANEL_INCHES * min(2.0, max(0.5, height * pixel_aspect / width))
    figure = new_figure(_PANEL_INCHES * len(columns) + 0.4, tall * len(slices) + 1.2)
    axes = figure.subplots(len(slices), len(columns), squeeze=False)
    for column, content in enumerate(columns):
        for row, index in enumerate(slices):
            axis = axes[row, column]
            shown = axis.imshow(
                content["images"][row],
                cmap=content["colours"],
                vmin=0,
                vmax=content["top"],
                aspect=pixel_aspect,
                interpolation="nearest",
            )
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                failed = "" if np.isfinite(content["images"][row]).any() else ", failed"
                axis.set_ylabel(f"slice {index}{failed}", fontsize=9)
        axes[0, column].set_title(content["title"], fontsize=9)
        bar = figure.colorbar(
            shown, ax=axes[:, column], location="bottom", fraction=0.04, pad=0.02, aspect=25
        )
        bar.ax.tick_params(labelsize=7)
        bar.set_label("%", fontsize=7)
    return figure
