"""Calibration as a picture: coils, maps, noise, the centre of k-space, weights, trajectory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mri_alps.evaluation.figures import new_figure
from mri_alps.evaluation.path_figure import draw_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from mri_alps.calibration import CalibrationPortrait

_MOST_COILS, _MOST_WITNESSES = 512, 8


def draw_calibration(
    portrait: CalibrationPortrait, title: str, pixel_aspect: float = 1.0
) -> Figure:
    """Draw what calibration found in a slice.

    Above: coil images from the calibration region, magnitude and phase of the sensitivity maps,
    ESPIRiT's two largest eigenvalues with the border of the maps' support. Below: the noise of
    each coil, the energy of k-space along its axes with the centre that is used, and how far
    each line is trusted; of radial and spiral scans the trajectory as it is used, with its delays.

    Parameters
    ----------
    portrait : CalibrationPortrait
        Of the slice.
    title : str
        Above all.
    pixel_aspect : float
        Height of a pixel over its width.
    """
    figure = new_figure(15.0, 7.0)
    above, below = cast("list[SubFigure]", figure.subfigures(2, 1, height_ratios=(1.25, 1.0)))
    _draw_images(above.subplots(1, 5), portrait, pixel_aspect)
    axes = below.subplots(1, 4 if portrait.path is None else 5)
    _draw_noise(axes[0], portrait.facts)
    for axis, (name, values) in zip(axes[1:3], portrait.profiles.items(), strict=False):
        _draw_profile(axis, name, values)
    _draw_weights(axes[3], portrait)
    if portrait.path is not None:
        draw_path(axes[4], portrait.path, portrait.facts.get("trajectory"))
    settled = [str(sentence)[:300] for sentence in portrait.facts.get("settled") or []]
    figure.suptitle("\n".join([title, *settled[:3]]), fontsize=10 if settled else 11)
    return figure


def _draw_images(axes: Any, portrait: CalibrationPortrait, aspect: float) -> None:
    size = portrait.facts.get("calibration_region")
    region = f"{size[0]} x {size[1]} samples" if isinstance(size, list) and len(size) == 2 else "?"
    panels = (
        (f"coil images, {region}", _tiles(portrait.coil_images), "gray", 0.0, 1.0),
        ("magnitude of the maps", _tiles(portrait.map_magnitudes), "viridis", 0.0, 1.0),
        (
            "phase of the maps",
            _tiles(np.where(portrait.support, portrait.map_phases, np.nan)),
            "twilight",
            -math.pi,
            math.pi,
        ),
    )
    for axis, (name, image, colours, low, high) in zip(axes, panels, strict=False):
        _show(axis, image, name, colours, low, high, aspect)
    names = ("largest eigenvalue; support of the maps", "second eigenvalue")
    for number, (axis, name) in enumerate(zip(axes[3:], names, strict=True)):
        if portrait.eigenvalues is None:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "no eigenvalues", ha="center", va="center", fontsize=9)
            continue
        _show(axis, portrait.eigenvalues[number], name, "magma", 0.0, 1.0, aspect)
        if portrait.support.any() and not portrait.support.all():
            axis.contour(portrait.support, levels=[0.5], colors="cyan", linewidths=0.8)


def _show(axis: Axes, image: np.ndarray, name: str, colours: str, low: float, high: float,
          aspect: float) -> None:  # fmt: skip
    shown = axis.imshow(
        image, cmap=colours, vmin=low, vmax=high, aspect=aspect, interpolation="nearest"
    )
    axis.set_title(name, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    bar = axis.figure.colorbar(shown, ax=axis, location="bottom", fraction=0.05, pad=0.02)
    bar.ax.tick_params(labelsize=7)


def _tiles(images: np.ndarray) -> np.ndarray:
    """Images side by side in rows, a pixel apart; NaN between them and where there is none."""
    count, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + 1), (number % columns) * (width + 1)
        whole[top : top + height, left : left + width] = image
    return whole


def _draw_noise(axis: Axes, facts: dict[str, Any]) -> None:
    levels = np.asarray(facts.get("noise_std_per_coil") or [np.nan], dtype=float)[:_MOST_COILS]
    axis.bar(np.arange(len(levels)), levels, color="0.75", label="used")
    for number, witness in enumerate((facts.get("noise_witnesses") or [])[:_MOST_WITNESSES]):
        told = np.asarray(witness["noise_std_per_coil"], dtype=float)[:_MOST_COILS]
        level, error = float(witness["noise_std"]), float(witness["standard_error"])
        doubt = ", with signal" if witness["has_signal"] else ""
        label = f"{str(witness['witness'])[:40]}{doubt}: {level:.3g} ± {error:.1g}"
        colour = f"C{number}"
        face = "none" if doubt else colour
        places = np.arange(len(told))
        axis.plot(places, told, "o", color=colour, mfc=face, markersize=4, label=label)
    axis.legend(fontsize=6)
    axis.set_xlabel("coil", fontsize=8)
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel("standard deviation per real component", fontsize=8)
    axis.set_title(f"noise, from the {str(facts.get('noise_source', '?'))[:60]}", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.set_ylim(0, 1.8 * axis.get_ylim()[1])  # room for the legend


def _draw_profile(axis: Axes, name: str, values: np.ndarray) -> None:
    positions = np.arange(len(values)) - len(values) // 2
    axis.plot(positions, values, ".-", markersize=2, linewidth=0.8)
    axis.axvline(0, color="C3", linewidth=0.8, label="centre that is used")
    axis.axhline(0, color="0.5", linewidth=0.8, linestyle=":", label="noise")
    axis.set_xlabel(f"{name.replace('_', ' ')}, samples from the centre", fontsize=8)
    axis.set_ylabel("energy above the noise, dB", fontsize=8)
    axis.set_title(f"centre along the {name.replace('_', ' ')}", fontsize=9)
    axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)


def _draw_weights(axis: Axes, portrait: CalibrationPortrait) -> None:
    name = (list(portrait.profiles) or ["phase_encode"])[-1].replace("_", " ")
    axis.set_title("weight of the measured samples", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.set_xlabel(f"{name}, samples from the centre", fontsize=8)
    if portrait.weights is None:
        axis.text(0.5, 0.5, "1 everywhere", ha="center", transform=axis.transAxes, fontsize=9)
        return
    positions = np.arange(len(portrait.weights)) - len(portrait.weights) // 2
    axis.plot(positions, portrait.weights, ".", markersize=3)
    axis.set_ylim(0, 1.05 * max(1, np.nanmax(portrait.weights, initial=1)))
    error = portrait.facts.get("maps_error")
    if isinstance(error, (int, float)):
        axis.set_title(f"weights: {100 * error:.2g} % error of the maps allowed for", fontsize=9)
