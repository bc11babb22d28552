"""Scoring reconstructions against targets, volume by volume."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mri_alps.core.errors import InputFileError, MriAlpsError, MriAlpsWarning
from mri_alps.core.hdf5 import open_hdf5
from mri_alps.core.values import as_path
from mri_alps.evaluation._sparsification import (
    FRACTIONS,
    sparsification_area,
    sparsification_curve,
)
from mri_alps.evaluation.coverage import head_mask, interval_coverage
from mri_alps.evaluation.metrics import crop_like_fastmri, image_metrics
from mri_alps.evaluation.uncertainty_factor import mean_factor

TARGET_DATASETS = ("reconstruction_rss", "reconstruction_esc")
METRICS = ("NMSE", "PSNR", "SSIM")
INTERVAL_SCORES = ("coverage", "sharpness", "sparsification_area", "uncertainty_factor")
_IMAGES = ("reconstruction", "reconstruction_lower", "reconstruction_upper", "reconstruction_std")


@dataclasses.dataclass(frozen=True)
class VolumeScore:
    """Metrics of one volume.

    Parameters
    ----------
    name : str
        File name.
    acquisition : str
        The target's acquisition attribute, or an empty string.
    n_slices : int
        Slices compared: without those that failed, which are NaN throughout.
    metrics : dict
        NMSE, PSNR, SSIM.
    coverage : float or None
        Of the 90 % interval over the head; None where the file holds no interval.
    sharpness : float or None
        Mean width of the interval over the head, relative to the mean of the reference there:
        of two with the same coverage the smaller one says more.
    sparsification, oracle : tuple of float
        See `sparsification_curve`, by the standard deviation and by the error itself; empty
        where the file holds no standard deviation.
    sparsification_area : float or None
        Between the two.
    uncertainty_factor : float or None
        By which left-out samples had deviations multiplied, in the mean over slices; None where
        the file does not say it.
    """

    name: str
    acquisition: str
    n_slices: int
    metrics: dict[str, float]
    coverage: float | None
    sharpness: float | None = None
    sparsification: tuple[float, ...] = ()
    oracle: tuple[float, ...] = ()
    sparsification_area: float | None = None
    uncertainty_factor: float | None = None


@dataclasses.dataclass(frozen=True)
class EvaluationReport:
    """Scores of a folder.

    Parameters
    ----------
    volumes : tuple of VolumeScore
        One per target file, in the order of names.
    missing : tuple of str
        Names of target files without a reconstruction, which are left out.
    unscored : dict
        From the names of files that cannot be scored to the reasons.
    """

    volumes: tuple[VolumeScore, ...]
    missing: tuple[str, ...] = ()
    unscored: dict[str, str] = dataclasses.field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation over volumes of each metric and of the intervals.

        The standard deviation has n - 1 in its denominator, as fastMRI's; it is 0 for one volume.
        """
        columns = {name: [v.metrics[name] for v in self.volumes] for name in METRICS}
        for name in INTERVAL_SCORES:
            found = [getattr(volume, name) for volume in self.volumes]
            columns[name] = [value for value in found if value is not None]
        return {name: _mean_and_std(values) for name, values in columns.items() if values}

    def by_acquisition(self) -> dict[str, EvaluationReport]:
        """Return a report for each type of acquisition, in the order of names."""
        names = sorted({volume.acquisition for volume in self.volumes})
        return {
            name or "unknown": EvaluationReport(
                tuple(volume for volume in self.volumes if volume.acquisition == name)
            )
            for name in names
        }

    def sparsification(self) -> dict[str, list[float]]:
        """Return the curves averaged over volumes: fraction, error, oracle; empty without any."""
        found = [volume for volume in self.volumes if volume.sparsification]
        if not found:
            return {}
        return {
            "fraction": list(FRACTIONS),
            "error": np.mean([volume.sparsification for volume in found], axis=0).tolist(),
            "oracle": np.mean([volume.oracle for volume in found], axis=0).tolist(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold."""
        return {
            "volumes": [dataclasses.asdict(volume) for volume in self.volumes],
            "missing": list(self.missing),
            "unscored": dict(self.unscored),
            "summary": self.summary(),
            "by_acquisition": {
                name: report.summary() for name, report in self.by_acquisition().items()
            },
            "sparsification": self.sparsification(),
        }


def evaluate_folder(reconstructions: str | Path, targets: str | Path) -> EvaluationReport:
    """Score reconstructions against targets of the same file names, as fastMRI does.

    Parameters
    ----------
    reconstructions : str or pathlib.Path
        Folder of files with a dataset ``reconstruction``, or one such file.
    targets : str or pathlib.Path
        Folder of files with ``reconstruction_rss`` or ``reconstruction_esc``, or one such file.

    Returns
    -------
    EvaluationReport
        NMSE, PSNR and SSIM equal to ``fastmri.evaluate``'s, and interval coverage.

    Raises
    ------
    InputFileError
        If no file can be scored, or no target has a reconstruction; the message names the first.

    Warns
    -----
    MriAlpsWarning
        If some targets have no reconstruction, or some files cannot be scored: they are left out.
    """
    pairs, missing = pair_files("evaluate_folder", reconstructions, targets)
    volumes, failures = [], {}
    for reconstruction, target in pairs:
        try:
            volumes.append(score_volume(reconstruction, target))
        except InputFileError as error:
            failures[reconstruction.name] = error
    if not volumes:
        raise next(iter(failures.values()))
    unscored = {name: str(error) for name, error in failures.items()}
    for reason in unscored.values():
        warnings.warn(f"left out of the scores: {reason}", MriAlpsWarning, stacklevel=2)
    return EvaluationReport(tuple(volumes), missing, unscored)


@dataclasses.dataclass(frozen=True)
class ComparedVolume:
    """A reconstruction beside its target: the same slices, cropped alike, none of them failed.

    Parameters
    ----------
    reference : numpy.ndarray
        (slices, H, W).
    acquisition : str
        The target's acquisition attribute, or an empty string.
    images : dict
        ``reconstruction``, and its interval and standard deviation where the file holds them, of
        the shape and in the units of the reference.
    uncertainty_factor : float or None
        See `VolumeScore`.
    """

    reference: np.ndarray
    acquisition: str
    images: dict[str, np.ndarray]
    uncertainty_factor: float | None


def read_compared(reconstruction: Path, target: Path) -> ComparedVolume:
    """Read a reconstruction and its target, brought to the same slices and the same crop.

    Parameters
    ----------
    reconstruction : pathlib.Path
        File with a dataset ``reconstruction``.
    target : pathlib.Path
        File with a reference image.

    Raises
    ------
    InputFileError
        If they cannot be read or do not fit each other.

    Warns
    -----
    MriAlpsWarning
        If slices of the reconstruction failed: they are left out; or if its images are narrower
        than the square on which fastMRI scores.
    """
    reference, acquisition = read_target(target)
    with open_hdf5(reconstruction) as file:
        if "reconstruction" not in file:
            raise InputFileError(
                f"{reconstruction} has no dataset 'reconstruction': expected a file written by "
                "mri-alps reconstruct or by another fastMRI-style reconstruction"
            )
        images = {name: file[name][()] for name in _IMAGES if name in file}
        for name, image in images.items():
            if image.dtype.kind not in "fiu" or image.ndim != 3:
                raise InputFileError(
                    f"{reconstruction}: {name!r} holds {image.dtype} of shape {image.shape}: "
                    "expected real images (slice, H, W)"
                )
        factor = mean_factor(file)
        if "slices" in file and len(file["slices"]) == len(images["reconstruction"]):
            reference = _choose(reference, file["slices"][()], target)
    if len(reference) != len(images["reconstruction"]):
        raise InputFileError(
            f"{reconstruction} has {len(images['reconstruction'])} slices and {target} has "
            f"{len(reference)}: reconstruct all slices or give the matching target"
        )
    failed = np.isnan(images["reconstruction"]).reshape(len(reference), -1).all(1)
    if failed.any() and not failed.all():
        warnings.warn(
            f"{reconstruction} lacks {failed.sum()} of {len(failed)} slices, which failed: the "
            "scores are those of the others",
            MriAlpsWarning,
            stacklevel=3,
        )
        reference = reference[~failed]
        images = {name: image[~failed] for name, image in images.items()}
    side = reference.shape[-1]
    try:
        reference, *cropped = crop_like_fastmri(reference, *images.values())
    except MriAlpsError as error:
        raise _unscored(reconstruction, error) from error
    if reference.shape[1:] != (side, side):
        height, width = reference.shape[1:]
        warnings.warn(
            f"{reconstruction} is scored on {height}x{width} instead of {side}x{side}, as for "
            "k-space narrower than the recon matrix: that is what it has in common with its target",
            MriAlpsWarning,
            stacklevel=2,
        )
    images = dict(zip(images, cropped, strict=True))
    return ComparedVolume(reference, acquisition, images, factor)


def score_volume(reconstruction: Path, target: Path) -> VolumeScore:
    """Score one file.

    Parameters
    ----------
    reconstruction : pathlib.Path
        File with a dataset ``reconstruction`` and, for coverage, its interval.
    target : pathlib.Path
        File with a reference image.

    Warns
    -----
    MriAlpsWarning
        If slices of the reconstruction failed: they are left out.
    """
    compared = read_compared(reconstruction, target)
    reference, images = compared.reference, compared.images
    try:
        metrics = image_metrics(reference, images["reconstruction"])
    except MriAlpsError as error:
        raise _unscored(reconstruction, error) from error
    return VolumeScore(
        name=reconstruction.name,
        acquisition=compared.acquisition,
        n_slices=len(reference),
        metrics=metrics,
        uncertainty_factor=compared.uncertainty_factor,
        **_interval(reference, images),
    )


def _unscored(reconstruction: Path, error: Exception) -> InputFileError:
    return InputFileError(f"{reconstruction} cannot be scored: {error}")


def _interval(reference: np.ndarray, images: dict[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {"coverage": None}
    region = head_mask(reference)
    if "reconstruction_lower" in images and "reconstruction_upper" in images and region.any():
        lower, upper = images["reconstruction_lower"], images["reconstruction_upper"]
        found["coverage"] = interval_coverage(reference, lower, upper, region)
        found["sharpness"] = float((upper - lower)[region].mean() / reference[region].mean())
    if "reconstruction_std" in images:
        error = images["reconstruction"] - reference
        found["sparsification"] = sparsification_curve(error, images["reconstruction_std"], region)
        found["oracle"] = sparsification_curve(error, np.abs(error), region)
        if found["oracle"]:
            found["sparsification_area"] = sparsification_area(
                found["sparsification"], found["oracle"]
            )
    return found


def pair_files(
    where: str, reconstructions: str | Path, targets: str | Path
) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """Return files of the same names, and the names of targets without a reconstruction.

    Parameters
    ----------
    where : str
        The function, for messages.
    reconstructions, targets : str or pathlib.Path
        Two folders, or two files.

    Raises
    ------
    InputFileError
        If one of them does not exist, or no target has a reconstruction.

    Warns
    -----
    MriAlpsWarning
        If some targets have no reconstruction.
    """
    pairs, missing = _pair(
        as_path(where, reconstructions, "reconstructions"), as_path(where, targets, "targets")
    )
    if missing:
        warnings.warn(
            f"{reconstructions} lacks {len(missing)} of {len(pairs) + len(missing)} files of "
            f"{targets}, the first is {missing[0]}: they are left out",
            MriAlpsWarning,
            stacklevel=3,
        )
    return pairs, missing


def _pair(reconstructions: Path, targets: Path) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """Return files that belong together, and the names of targets that are alone."""
    for path in (reconstructions, targets):
        if not path.exists():
            raise InputFileError(f"{path} does not exist: give a file or a folder")
    if targets.is_file():
        found = [targets]
    else:
        found = sorted(p for p in targets.iterdir() if p.is_file() and not p.name.startswith("."))
    if not found:
        raise InputFileError(f"the folder {targets} holds no files: give the folder of targets")
    if reconstructions.is_file():
        if len(found) > 1:
            raise InputFileError(
                f"{reconstructions} is one file and {targets} holds {len(found)}: give two "
                "files or two folders"
            )
        return [(reconstructions, found[0])], ()
    pairs = [(reconstructions / path.name, path) for path in found]
    missing = tuple(target.name for made, target in pairs if not made.is_file())
    if len(missing) == len(found):
        raise InputFileError(
            f"{reconstructions} has none of the {len(found)} files of {targets}, the first of "
            f"which is {missing[0]}: reconstruct them, or give the folders that belong together"
        )
    return [(made, target) for made, target in pairs if made.is_file()], missing


def read_target(path: Path) -> tuple[np.ndarray, str]:
    """Read the reference images of a scan and the name of its acquisition.

    Parameters
    ----------
    path : pathlib.Path
        HDF5 with ``reconstruction_rss`` or ``reconstruction_esc``, (slices, H, W).

    Raises
    ------
    InputFileError
        If there is no such file or dataset.
    """
    with open_hdf5(path) as file:
        for name in TARGET_DATASETS:
            if name in file:
                return file[name][()], str(file.attrs.get("acquisition", ""))
    raise InputFileError(
        f"{path} has no reference image ({' or '.join(TARGET_DATASETS)}): only scans with one "
        "can be scored"
    )


def _choose(reference: np.ndarray, slices: np.ndarray, path: Path) -> np.ndarray:
    if len(slices) and slices.max() >= len(reference):
        raise InputFileError(
            f"{path} has {len(reference)} slices and the reconstruction holds slice "
            f"{slices.max()}: it belongs to another scan"
        )
    return reference[slices]


def _mean_and_std(values: list[float]) -> dict[str, float]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std}
