"""What OpenRecon takes: a zip of the image and its documentation, named as the label says."""

from __future__ import annotations

import base64
import json
import tarfile
import textwrap
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.scanner.openrecon._label import LABEL_NAME, check_label, read_label

_LINES, _WIDTH = 54, 92
_MAX_JSON_BYTES = 2**20


def package_name(label: dict[str, Any]) -> str:
    """Return what the image, its documentation and the zip are called, without the ending.

    Parameters
    ----------
    label : dict
        The description of the container.
    """
    general = label["general"]
    return f"OpenRecon_{general['vendor']}_{general['name']['en']}_V{general['version']}"


def image_tag(label: dict[str, Any]) -> str:
    """Return the tag of the image; those of containers have no capitals.

    Parameters
    ----------
    label : dict
        The description of the container.
    """
    name, _, version = package_name(label).rpartition("_")
    return f"{name}:{version}".lower()


def write_package(folder: Path, image: Path | None = None) -> list[Path]:
    """Write the documentation and the recipe of the image, or with the image the zip.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is not there.
    image : pathlib.Path, optional
        The image as ``docker save`` writes it. Left out, the zip is left out.

    Returns
    -------
    list of pathlib.Path
        What was written: the PDF and the Containerfile, or the PDF and the zip.

    Raises
    ------
    ConfigurationError
        If the label breaks OpenRecon's rules.
    InputFileError
        If the image is no saved image, or has another label.
    """
    label = read_label()
    broken = check_label(label)
    if broken:
        raise ConfigurationError(f"OpenRecon would refuse the label: {'; '.join(broken)}")
    encoded = base64.b64encode(json.dumps(label).encode()).decode()
    if image is not None:
        _check_image(image, label)
    folder.mkdir(parents=True, exist_ok=True)
    name = package_name(label)
    document = folder / f"{name}.pdf"
    with atomic_path(document) as temporary:
        _write_document(temporary, label)
    if image is None:
        return [document, _write_containerfile(folder / "Containerfile", encoded)]
    package = folder / f"{name}.zip"
    with (
        atomic_path(package) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.write(image, f"{name}.tar")
        archive.write(document, f"{name}.pdf")
    return [document, package]


def _write_containerfile(path: Path, encoded: str) -> Path:
    folder = resources.files("mri_alps") / "scanner" / "openrecon"
    recipe = (folder / "Containerfile").read_text("utf-8")
    with atomic_path(path) as temporary:
        temporary.write_text(recipe.replace('ARG LABEL=""', f'ARG LABEL="{encoded}"'), "utf-8")
    return path


def _check_image(path: Path, label: dict[str, Any]) -> None:
    try:
        with tarfile.open(path) as archive:
            (entry,) = _json(archive, "manifest.json")
            configuration = _json(archive, entry["Config"])
        found = configuration["config"]["Labels"][LABEL_NAME]
        is_ours = json.loads(base64.b64decode(found)) == label
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise InputFileError(
            f"{path} is no image with the label {LABEL_NAME} ({type(error).__name__}: {error}): "
            "build it from the Containerfile that this command writes, and save it with docker save"
        ) from error
    if not is_ours:
        raise InputFileError(
            f"{path} has a label of another version than {label['general']['version']}: build the "
            "image again from the Containerfile that this command writes"
        )


def _json(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.getmember(name)
    if member.size > _MAX_JSON_BYTES:
        raise ValueError(f"{name} has {member.size} bytes")
    stream = archive.extractfile(member)
    if stream is None:
        raise ValueError(f"{name} is no file")
    return json.loads(stream.read())


def _write_document(path: Path, label: dict[str, Any]) -> None:
    """Write the pages of text that a scanner shows its user."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    lines = _document(label)
    about = {"Title": package_name(label), "CreationDate": None}
    with PdfPages(path, metadata=about) as pages:
        for start in range(0, len(lines), _LINES):
            page = Figure(figsize=(8.27, 11.69))  # A4 in inches
            text = "\n".join(lines[start : start + _LINES])
            page.text(0.08, 0.95, text, va="top", family="monospace", fontsize=8.5)
            pages.savefig(page)


def _document(label: dict[str, Any]) -> list[str]:
    general, regulatory = label["general"], label["general"]["regulatory_information"]
    needs = label["reconstruction"]
    parts = [
        f"{general['name']['en']} {general['version']} by {general['vendor']}",
        general["information"]["en"],
        f"SAFETY: {regulatory['safety_advices']}",
        f"USE: {regulatory['special_operating_instructions']}",
        f"VALUES: {regulatory['additional_relevant_information']}",
        "IMAGES: series 1 is the magnitude of the posterior mean, series 2 the posterior standard "
        "deviation of the magnitude; samples, if they are asked for, are series 10 and on. The log "
        "says in a sentence why a scan cannot be reconstructed; no image is sent then.",
        f"NEEDS: {needs['min_required_memory']} MB of memory, "
        f"{needs['min_count_required_cpu_cores']} cores; a GPU is used where there is one.",
        "PARAMETERS",
    ]
    for entry in label["parameters"]:
        values = [value["id"] for value in entry.get("values", [])]
        bounds = f"{entry['minimum']} to {entry['maximum']}" if "minimum" in entry else ""
        takes = ", ".join(values) or bounds or "yes or no"
        parts.append(
            f"{entry['label']['en']} ({entry['id']}): {takes}; default {entry['default']}. "
            f"{entry['information']['en']}"
        )
    return [line for part in parts for line in [*textwrap.wrap(part, _WIDTH), ""]]
