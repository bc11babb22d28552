"""The picture of a design: the mask, the curve, and what each pick was worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.evaluation import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mri_alps.masks.design.loop import Design, DesignPoint

ORDER = "cool"
"""Colours of the order of picking: all of them stand out from black."""


def write_design_picture(
    path: Path, designed: Design, shape: tuple[int, int], frames: int = 1
) -> None:
    """Draw a design.

    Parameters
    ----------
    path : pathlib.Path
        PNG to write.
    designed : Design
        With at least one point.
    shape : tuple of int
        K-space matrix.
    frames : int
        Of a film.
    """
    figure = new_figure(11, 4)
    left, middle, right = figure.subplots(1, 3)
    _draw_order(left, designed, (frames, shape[1]) if frames > 1 else shape, frames)
    _draw_curve(middle, designed)
    picked = [point for point in designed.points if point.candidate is not None]
    right.plot([p.n_measured for p in picked], [p.gain for p in picked], ".-", color="tab:green")
    right.set_xlabel("measured")
    right.set_ylabel("worth of each pick beside those before, nats")
    right.set_ylim(bottom=0)
    right.grid(alpha=0.3)
    for axis in (middle, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    acceleration = designed.start.size / max(designed.measured.sum(), 1)
    figure.suptitle(
        f"{int(designed.measured.sum())} of {designed.start.size} measured, acceleration "
        f"{acceleration:.2f}",
        fontsize=11,
    )
    save_figure(figure, path)


def _draw_order(axis: Axes, designed: Design, shape: tuple[int, int], frames: int) -> None:
    order = np.full(designed.start.size, np.nan)
    order[designed.start] = 0
    for position, candidate in enumerate(designed.picks):
        order[candidate] = position + 1
    axis.set_facecolor("black")
    if order.size == shape[1]:
        axis.imshow(np.tile(order, (24, 1)), cmap=ORDER, aspect="auto")
        axis.set_yticks([])
        axis.set_xlabel("phase-encode line")
        counts = np.convolve(designed.measured, np.ones(16) / 16, mode="same")
        density = axis.twinx()
        density.plot(counts, color="tab:red", linewidth=1)
        density.set_ylim(0, 1.02)
        density.set_ylabel("density over 16 lines", color="tab:red")
    elif frames > 1:
        axis.imshow(order.reshape(shape), cmap=ORDER, aspect="auto")
        axis.set_xlabel("phase-encode line")
        axis.set_ylabel("frame")
    else:
        axis.imshow(order.reshape(shape), cmap=ORDER)
        axis.set_xlabel("partition")
        axis.set_ylabel("phase encode")
    axis.set_title("order of picking, from cyan to magenta", fontsize=9)


def _draw_curve(axis: Axes, designed: Design) -> None:
    batch: list[DesignPoint] = []
    label: str | None = "expected one look ahead"
    for point in (*designed.points, None):  # one line for each batch, not joined to other looks
        if point is not None and not point.sampled:
            batch.append(point)
        elif batch:
            _draw_errors(axis, batch, ".-", label)
            batch, label = [], None
    sampled = [point for point in designed.points if point.sampled]
    _draw_errors(axis, sampled, "o", "expected by samples")
    known = [point for point in sampled if point.actual_error is not None]
    if known:
        actual = [point.actual_error for point in known]
        numbers = [point.n_measured for point in known]
        label = "actual, against the full data"
        axis.semilogy(numbers, actual, "s--", color="tab:orange", label=label)
    axis.set_xlabel("measured")
    axis.set_ylabel("normalised mean squared error")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3, which="both")


def _draw_errors(axis: Axes, points: list[DesignPoint], style: str, label: str | None) -> None:
    numbers = [point.n_measured for point in points]
    errors = [point.expected_error for point in points]
    axis.semilogy(numbers, errors, style, color="tab:blue", linewidth=1, label=label)
