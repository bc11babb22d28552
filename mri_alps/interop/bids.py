"""Reconstructions as a BIDS derivative data set: NIfTI by nibabel, each with its JSON.

Source: Brain Imaging Data Structure 1.10, "Derivatives" (Gorgolewski et al., Sci Data 3:160044
(2016)).
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.optional import require
from mri_alps.interop.image_geometry import ImageGeometry
from mri_alps.interop.nifti import nifti_affine, save_volume
from mri_alps.rawdata import atomic_path

if TYPE_CHECKING:
    from mri_alps.pipeline import Reconstruction

BIDS_VERSION = "1.10.0"
SUFFIXES = ("T1w", "T2w", "PDw", "T2starw", "FLAIR", "angio")
_DESCRIPTION = "dataset_description.json"
_NAME = "mri_alps"
# Of the names of protocols; the first that is found counts.
_CONTRASTS = (
    (r"FLAIR|DARK.?FLUID", "FLAIR"),
    (r"ANGIO|TOF(?![A-Z])|MRA(?![A-Z])", "angio"),
    (r"T2\*|T2STAR|SWI(?![A-Z])|SWAN", "T2starw"),
    (r"T1(?![0-9])|MP2?RAGE|BRAVO|SPGR", "T1w"),
    (r"T2(?![0-9])", "T2w"),
    (r"(?<![A-Z])(?:[A-Z]{2,3})?PD(?:W|FS|_|\b)", "PDw"),
)
# BIDS' name of what the raw data's header knows, and what its number has to be multiplied with.
_NUMBERS = {
    "MagneticFieldStrength": ("field_strength_tesla", 1.0),
    "EchoTime": ("echo_times_ms", 1e-3),
    "InversionTime": ("inversion_times_ms", 1e-3),
    "FlipAngle": ("flip_angles_degree", 1.0),
}
_TEXTS = {"Manufacturer": "vendor", "ManufacturersModelName": "model"}


def write_bids(
    reconstruction: Reconstruction,
    folder: Path | str,
    subject: str | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Add mean and standard deviation to a BIDS derivative data set, which is begun if need be.

    Parameters
    ----------
    reconstruction : Reconstruction
        From `load_reconstruction`.
    folder : Path or str
        Of the data set.
    subject : str, optional
        Label, letters and digits; the name of the file of the reconstruction if left out. The
        header's patient is not taken: labels are to be without names.
    suffix : str, optional
        BIDS' name of the contrast, one of `SUFFIXES`; told by the name of the protocol if left
        out.
    overwrite : bool
        Replace this subject's files of the same name.

    Returns
    -------
    list of Path
        sub-X/anat/sub-X_desc-mean_T1w.nii.gz and desc-std, each with its JSON, and what a new data
        set needs.

    Raises
    ------
    ConfigurationError
        If the contrast is not known, the label is none, a file is there, or the folder holds
        another data set.
    MissingDependencyError
        If nibabel is missing.
    """
    nibabel = require("nibabel", "writing BIDS", "nifti")
    folder = Path(folder)
    label = _label(reconstruction, subject)
    suffix = _contrast(reconstruction, suffix)
    affine = nifti_affine(ImageGeometry.of(reconstruction), reconstruction.reconstruction.shape[1:])
    stem = folder / f"sub-{label}" / "anat" / f"sub-{label}"
    images = {
        "mean": (reconstruction.reconstruction, "Magnitude of the posterior mean."),
        "std": (
            reconstruction.reconstruction_std,
            "Posterior standard deviation of the magnitude, in the units of desc-mean.",
        ),
    }
    paths = {name: stem.with_name(f"{stem.name}_desc-{name}_{suffix}.nii.gz") for name in images}
    taken = [path for path in paths.values() if path.exists()]
    if taken and not overwrite:
        raise ConfigurationError(
            f"{taken[0]} exists: name another --subject, or convert with --overwrite"
        )
    written = _begin(folder)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        values, description = images[name]
        volume = nibabel.Nifti1Image(np.moveaxis(values, 0, -1).astype(np.float32), affine)
        written.append(save_volume(volume, path, affine))
        sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        written.append(_write_json(sidecar, _details(reconstruction, description)))
    return written


def _label(reconstruction: Reconstruction, subject: str | None) -> str:
    if subject is None:
        stem = Path(reconstruction.path or "").stem
        subject = re.sub("[^A-Za-z0-9]", "", stem)
    subject = subject.removeprefix("sub-")
    if not re.fullmatch("[A-Za-z0-9]+", subject):
        raise ConfigurationError(
            f"the subject's label {subject!r} is not of letters and digits alone: name another "
            "with --subject"
        )
    return subject


def _contrast(reconstruction: Reconstruction, suffix: str | None) -> str:
    known = ", ".join(SUFFIXES)
    if suffix is not None:
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"--suffix: found {suffix!r}, expected one of {known}")
        return suffix
    name = str(reconstruction.attributes.get("acquisition", ""))
    for pattern, found in _CONTRASTS:
        if re.search(pattern, name.upper()):
            return found
    raise ConfigurationError(
        f"the name of the protocol, {name!r}, does not say which contrast this is, which BIDS "
        f"wants to know: add --suffix with one of {known}"
    )


def _begin(folder: Path) -> list[Path]:
    """Write what makes a folder a derivative data set, or see that it is one of ours."""
    description = folder / _DESCRIPTION
    if description.exists():
        try:
            made_by = json.loads(description.read_text(encoding="utf-8"))["GeneratedBy"]
            ours = any(entry["Name"] == _NAME for entry in made_by)
        except (ValueError, KeyError, TypeError):
            ours = False
        if not ours:
            raise ConfigurationError(
                f"{description} is of a data set that {_NAME} did not make: name another folder, "
                f"for example derivatives/{_NAME} in it"
            )
        return []
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is no empty folder and no BIDS data set: name another")
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    with atomic_path(readme) as temporary:
        temporary.write_text(_README, encoding="utf-8")
    content = {
        "Name": "Posterior mean and standard deviation of MRI scans",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": _NAME, "Version": version("mri-alps")}],
    }
    return [readme, _write_json(description, content)]


def _details(reconstruction: Reconstruction, description: str) -> dict[str, Any]:
    attributes = reconstruction.attributes
    provenance = attributes.get("provenance", {})
    header = {**provenance.get("header", {}), **provenance.get("study", {})}
    found: dict[str, Any] = {
        "Description": description,
        "Units": "arbitrary",
        "SkullStripped": False,
        "SourceFile": str(attributes.get("source", "")),
        "Prior": str(attributes.get("prior", "")),
        "NumberOfPosteriorSamples": int(attributes.get("n_samples", 0)),
        "PlacesAreNominal": ImageGeometry.of(reconstruction).is_nominal,
    }
    for name, source in _TEXTS.items():
        if header.get(source):
            found[name] = str(header[source])
    for name, (source, factor) in _NUMBERS.items():
        value = _single_number(header.get(source))
        if value is not None:
            found[name] = round(value * factor, 9)
    return found


def _single_number(value: Any) -> float | None:
    """A number, also of a list whose entries are one; several echoes have none."""
    entries = value if isinstance(value, list) else [value]
    try:
        numbers = {float(entry) for entry in entries if entry is not None}
    except (TypeError, ValueError):
        return None
    one = numbers.pop() if len(numbers) == 1 else None
    return one if one is not None and np.isfinite(one) and one > 0 else None


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


_README = """# Posterior mean and standard deviation of MRI scans

Made by mri_alps. `desc-mean` is the reconstruction, `desc-std` the posterior standard deviation of
each of its pixels, in the same units. Where `PlacesAreNominal` is true in the JSON, the raw data
did not hold positions and directions: slices are stacked along z, and left and right are not known.
Research software, not for diagnostic use.
"""
