"""A picture of what a server sent: mean and standard deviation, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.scanner._images import FIRST_SAMPLE_SERIES

if TYPE_CHECKING:
    import ismrmrd

    from mri_alps.scanner.client import Reply

_MAX_ROWS = 6
_PANEL_INCHES = 3.0
_WINDOW_PERCENTILE = 99.5


def write_reply_picture(reply: Reply, picture: Path) -> None:
    """Write a PNG: a column per series (samples left out), a row per image, at most six.

    Rows of a picture are the phase encode, columns the readout, as ISMRMRD images are stored.

    Parameters
    ----------
    reply : Reply
        What came.
    picture : Path
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    columns = [series for series in sorted(reply.images) if series < FIRST_SAMPLE_SERIES]
    images = {series: _chosen(list(reply.images[series].values())) for series in columns}
    n_rows = max(len(chosen) for chosen in images.values())
    size = (_PANEL_INCHES * len(columns) + 0.5, _PANEL_INCHES * n_rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, len(columns), squeeze=False)
    for column, series in enumerate(columns):
        shown = [np.abs(image.data[0, image.data.shape[1] // 2]) for image in images[series]]
        top = max(float(np.percentile(array, _WINDOW_PERCENTILE)) for array in shown)
        for row, (image, array) in enumerate(zip(images[series], shown, strict=True)):
            view = image.field_of_view
            extent = (0.0, float(view[0]) or array.shape[1], float(view[1]) or array.shape[0], 0.0)
            axis = axes[row, column]
            drawn = axis.imshow(
                array, cmap="magma" if column else "gray", vmin=0, vmax=top or 1, extent=extent
            )
            axis.set_xlabel("mm", fontsize=7)
            axis.tick_params(labelsize=7)
            name = image.meta.get("SequenceDescriptionAdditional", f"series {series}")
            axis.set_title(f"{name}, image {image.image_index}", fontsize=9)
        bar = figure.colorbar(drawn, ax=axes[:, column], location="bottom", fraction=0.04, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.locator = MaxNLocator(4)
        formatter = ScalarFormatter()
        formatter.set_powerlimits((-2, 3))
        bar.formatter = formatter
        bar.update_ticks()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _chosen(images: list[ismrmrd.Image]) -> list[ismrmrd.Image]:
    if len(images) <= _MAX_ROWS:
        return images
    return [images[int(i)] for i in np.linspace(0, len(images) - 1, _MAX_ROWS).round()]
