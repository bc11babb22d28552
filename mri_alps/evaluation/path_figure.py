"""A trajectory as a picture, with the delays that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CENTRE = 2.0
"""Cycles per field of view to each side of DC that the inset shows: delays are parts of one."""


def draw_path(axis: Axes, path: np.ndarray, facts: Any) -> None:
    """Draw shots in the order of acquisition, and the centre of k-space enlarged.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Where to.
    path : numpy.ndarray
        (shots, points, 2), cycles per field of view.
    facts : dict
        Of the trajectory, as `Acquisition.info` has them.
    """
    facts = facts if isinstance(facts, dict) else {}
    inset = axis.inset_axes((0.68, 0.68, 0.32, 0.32))
    _draw_shots(axis, path)
    _draw_shots(inset, path)
    axis.set_aspect("equal")
    inset.set_xlim(-_CENTRE, _CENTRE)
    inset.set_ylim(_CENTRE, -_CENTRE)
    inset.set_xticks([])
    inset.set_yticks([])
    inset.plot(0, 0, "+", color="C3", markersize=6)
    reach = 1.05 * max(float(np.abs(path).max()), _CENTRE)
    axis.set_xlim(-reach, reach)
    axis.set_ylim(reach, -reach)  # the first image axis points down, as in images
    axis.set_xlabel("k along the second axis, cycles / field of view", fontsize=7)
    axis.tick_params(labelsize=7)
    said = delays_in_words(facts).replace(" (", "\n(")  # as wide as the panel
    axis.set_title(f"{_shots_of(path, facts)}\n{said}".strip(), fontsize=7)


def _draw_shots(axis: Axes, path: np.ndarray) -> None:
    from matplotlib import colormaps

    if len(path) == 1 and path.shape[1] > 1:  # single samples of which some are missing
        axis.plot(path[0, :, 1], path[0, :, 0], ".", markersize=1)
        return
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(path)))
    for shot, colour in zip(path, colours, strict=True):
        axis.plot(shot[:, 1], shot[:, 0], "-", color=colour, linewidth=0.5)


def _shots_of(path: np.ndarray, facts: dict[str, Any]) -> str:
    kind, count = str(facts.get("kind", "trajectory"))[:20], facts.get("n_shots")
    if not isinstance(count, int) or len(path) == 1:
        return f"{kind}, in the order of acquisition"
    drawn = "" if count == len(path) else f", {len(path)} of them drawn"
    return f"{kind}, {count} shots{drawn}, first dark"


def delays_in_words(facts: dict[str, Any]) -> str:
    """Say which gradient delays were found, and whether they are corrected; "" if not radial.

    Parameters
    ----------
    facts : dict
        Of the trajectory, as `Acquisition.info` has them, perhaps from a file.
    """
    if facts.get("kind") != "radial":
        return ""
    delays = facts.get("delays")
    if not isinstance(delays, list) or len(delays) != 3:
        return "gradient delays: could not be measured"
    first, mixed, second = (float(value) for value in delays)
    corrected = "corrected" if facts.get("delays_corrected") else "not corrected"
    return f"delays {first:+.3f}, {second:+.3f} (mixed {mixed:+.3f}), {corrected}"
