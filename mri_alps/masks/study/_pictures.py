"""Figures of a mask study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mri_alps.evaluation import new_figure, save_figure, window_top

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mri_alps.masks.study.compare import MaskStudy
    from mri_alps.masks.study.measure import MaskResult
    from mri_alps.masks.study.statistics import Correlation, Summary

_PANEL_INCHES = 2.2


def draw_figures(study: MaskStudy, folder: Path) -> list[Path]:
    """Draw images of every mask, errors against acceleration, and predicted against actual error.

    Parameters
    ----------
    study : MaskStudy
        With images of its first slice.
    folder : pathlib.Path
        Where to.

    Returns
    -------
    list of pathlib.Path
        PNG files; without a reference none of actual errors.
    """
    figures = _image_figures(study)
    of_shots = any(result.is_of_shots for result in study.results)
    name = "error_against_shots" if of_shots else "error_against_acceleration"
    figures[name] = _acceleration_figure(study, of_shots)
    if (correlation := study.correlation()) is not None:
        figures["predicted_against_actual"] = _prediction_figure(study, correlation)
    paths = {folder / f"{name}.png": figure for name, figure in figures.items()}
    for path, figure in paths.items():
        save_figure(figure, path)
    return list(paths)


def _image_figures(study: MaskStudy) -> dict[str, Figure]:
    """Mask, mean, standard deviation and error of every mask, one figure per acceleration."""
    ranks = {(s.acceleration, s.mask): position for position, s in enumerate(study.summary())}
    shown = sorted(study.shown(), key=lambda result: ranks[result.acceleration, result.mask])
    unit, top = _windows(shown)
    figures = {}
    for acceleration in sorted({result.acceleration for result in shown}):
        group = [result for result in shown if result.acceleration == acceleration]
        figures[f"masks_{acceleration:.4g}x"] = _image_figure(group, unit, top)
    return figures


def _windows(shown: list[MaskResult]) -> tuple[float, float]:
    """Return the intensity that is 100 %, and the top of all errors and deviations."""
    images = [result.images.get("reference", result.images["mean"]) for result in shown]
    unit = max(window_top(image) for image in images) or 1.0
    tops = [window_top(result.images["std"]) for result in shown]
    tops += [window_top(_error(result)) for result in shown if "reference" in result.images]
    return unit, 100 * max(tops) / unit or 1.0


def _error(result: MaskResult) -> np.ndarray:
    return np.asarray(np.abs(result.images["mean"] - result.images["reference"]))


def _image_figure(group: list[MaskResult], unit: float, top: float) -> Figure:
    of_shots = group[0].is_of_shots
    columns = ["k-space" if of_shots else "mask", "posterior mean", "posterior standard deviation"]
    with_reference = "reference" in group[0].images
    if with_reference:
        columns.append("error |mean - reference|")
    height, width = group[0].images["mean"].shape
    tall = _PANEL_INCHES * min(2.0, max(0.5, height / width))
    figure = new_figure(_PANEL_INCHES * len(columns) + 1.0, tall * len(group) + 1.0)
    axes = figure.subplots(len(group), len(columns), squeeze=False)
    for row, result in zip(axes, group, strict=True):
        mask = result.images["mask"]  # of lines: one row, stretched by the aspect
        row[0].imshow(mask, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        row[1].imshow(100 * result.images["mean"] / unit, cmap="gray", vmin=0, vmax=100)
        last = row[2].imshow(100 * result.images["std"] / unit, cmap="magma", vmin=0, vmax=top)
        if with_reference:
            row[3].imshow(100 * _error(result) / unit, cmap="magma", vmin=0, vmax=top)
        psnr = result.metrics["PSNR"]
        score = "" if psnr is None else f"\n{psnr:.2f} dB"
        what = "shots" if of_shots else "measured"
        row[0].set_ylabel(f"{result.mask}\n{result.n_measured} {what}{score}", fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    bar = figure.colorbar(last, ax=axes[:, 2:], location="bottom", fraction=0.03, pad=0.01)
    bar.set_label("% of the image's largest intensity", fontsize=8)
    figure.suptitle(f"{group[0].slice_name}, acceleration {group[0].acceleration:.4g}", fontsize=11)
    return figure


def _acceleration_figure(study: MaskStudy, of_shots: bool) -> Figure:
    """Error and uncertainty against acceleration (or shots), with 95 % intervals over scans."""
    counts = {(r.mask, r.acceleration): r.n_measured for r in study.results}

    def place(entry: Summary) -> float:
        if of_shots:
            return counts[entry.mask, entry.acceleration]
        return entry.achieved_acceleration

    metrics = {"PSNR": "PSNR, dB", "NMSE": "NMSE", "SSIM": "SSIM"} if study.has_reference else {}
    metrics |= {"predicted_NMSE": "predicted NMSE", "posterior_std": "posterior std, relative"}
    summaries = study.summary()
    figure = new_figure(3.2 * len(metrics), 3.4)
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    names = sorted({entry.mask for entry in summaries})
    for axis, (metric, title) in zip(axes, metrics.items(), strict=True):
        for number, name in enumerate(names):
            entries = [s for s in summaries if s.mask == name and metric in s.metrics]
            if not entries:
                continue
            entries.sort(key=place)
            values = [s.metrics[metric] for s in entries]
            half = [0.0 if v.upper is None else v.upper - v.mean for v in values]
            axis.errorbar(
                [place(s) for s in entries],
                [v.mean for v in values],
                yerr=half,
                marker="o",
                markersize=4,
                linewidth=1,
                capsize=2,
                color=f"C{number % 10}",
                linestyle="-" if number < 10 else "--",
                label=name,
            )
        if "NMSE" in metric:
            axis.set_yscale("log", nonpositive="clip")
        axis.set_xlabel("shots" if of_shots else "achieved acceleration")
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=7)
    return figure


def _prediction_figure(study: MaskStudy, correlation: Correlation) -> Figure:
    """Predicted against actual error."""
    figure = new_figure(5.0, 4.6)
    axis = figure.subplots()
    names = sorted({result.mask for result in study.results})
    marks = "os^vDP*X<>"
    low, high = np.inf, 0.0
    for number, name in enumerate(names):
        pairs = [
            (r.metrics["predicted_NMSE"], r.metrics["NMSE"])
            for r in study.results
            if r.mask == name and r.metrics["NMSE"] and r.metrics["predicted_NMSE"]
        ]
        if not pairs:
            continue
        predicted, actual = np.array(pairs, dtype=float).T
        axis.loglog(
            predicted, actual, marks[number % len(marks)], color=f"C{number % 10}", label=name,
            markersize=4,
        )  # fmt: skip
        low = min(low, predicted.min(), actual.min())
        high = max(high, predicted.max(), actual.max())
    axis.plot([low, high], [low, high], color="gray", linewidth=1, label="equal")
    axis.set_xlabel("NMSE that the posterior predicts")
    axis.set_ylabel("actual NMSE")
    coefficient = correlation.pearson
    axis.set_title(
        f"correlation of the logarithms {'-' if coefficient is None else f'{coefficient:.3f}'}",
        fontsize=9,
    )
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=7)
    return figure
