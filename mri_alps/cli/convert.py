"""``mri-alps convert``."""

from __future__ import annotations

from pathlib import Path

from mri_alps.cli.terminal import out, print_message
from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.hdf5 import is_hdf5, open_hdf5
from mri_alps.interop import RAW_FORMATS, convert, refuse_existing
from mri_alps.pipeline import (
    RECONSTRUCTION_FORMAT,
    Reconstruction,
    ReconstructionConfiguration,
    choices_of,
    describe_parts,
    is_unasked,
    load_reconstruction,
    part_name,
    parts_of,
    selection_of,
    trajectory_options,
)

IMAGE_FORMATS = ("nifti", "dicom", "bids")


def run_convert(
    source: Path,
    target: Path,
    to: str | None,
    classic: bool = False,
    overwrite: bool = False,
    study: Path | None = None,
    subject: str | None = None,
    suffix: str | None = None,
    configuration: ReconstructionConfiguration | None = None,
) -> None:
    """Convert k-space to another raw format, or a reconstruction to images.

    Parameters
    ----------
    source : pathlib.Path
        A raw file, or a file that `mri-alps reconstruct` wrote.
    target : pathlib.Path
        What to write; for DICOM and BIDS a folder.
    to : str or None
        The format; None to tell it from the target's name.
    classic : bool
        Classic DICOM, a file a slice.
    overwrite : bool
        Replace files that are there.
    study : pathlib.Path, optional
        A DICOM image of the scanner's, whose patient and study are taken.
    subject, suffix : str, optional
        Of BIDS: label of the subject, name of the contrast.
    configuration : ReconstructionConfiguration, optional
        Which parts of a raw file are meant, and its field of view.

    Raises
    ------
    ConfigurationError
        If the formats do not go together.
    """
    is_image = _is_reconstruction(source)
    to = to or _format_of(source, target, is_image)
    if is_image != (to in IMAGE_FORMATS):
        kind, fitting = (
            ("a reconstruction", IMAGE_FORMATS) if is_image else ("raw k-space", RAW_FORMATS)
        )
        raise ConfigurationError(
            f"{source} is {kind} and can be converted to {' or '.join(fitting)}, not to {to}: "
            "change --to"
        )
    if classic and to != "dicom":
        raise ConfigurationError(f"--classic is about DICOM, not {to}: leave it out")
    if study is not None and to != "dicom":
        raise ConfigurationError(f"--study is about DICOM, not {to}: leave it out")
    for option, value in (("--subject", subject), ("--suffix", suffix)):
        if value is not None and to != "bids":
            raise ConfigurationError(f"{option} is about BIDS, not {to}: leave it out")
    configuration = configuration or ReconstructionConfiguration()
    if not is_image:
        files = _convert_parts(source, target, to, overwrite, configuration)
    elif (
        choices_of(configuration)
        or configuration.field_of_view is not None
        or trajectory_options(configuration) is not None
    ):
        raise ConfigurationError(
            f"{source} is a reconstruction, of which no part is chosen, whose pixels have their "
            "size, and which has no trajectory: leave these options out"
        )
    elif to == "bids":
        from mri_alps.interop import write_bids

        files = write_bids(_load(source), target, subject, suffix, overwrite)
    else:
        files = _convert_images(_load(source), target, to, classic, overwrite, study)
    out().print("\n".join(str(file) for file in files), soft_wrap=True)


def _convert_parts(
    source: Path, target: Path, to: str, overwrite: bool, configuration: ReconstructionConfiguration
) -> list[Path]:
    parts = parts_of(source, configuration)
    if len(parts) > 1:
        print_message(describe_parts(source, parts))
    files: list[Path] = []
    for part in parts:
        own = target if len(parts) == 1 else _named(target, part_name(part))
        try:
            done = convert(
                source,
                own,
                to,
                overwrite,
                selection=selection_of(part),
                field_of_view=part.field_of_view,
                trajectory=trajectory_options(part),
            )
        except InputFileError as error:
            if not is_unasked(part, configuration) or (part is parts[-1] and not files):
                raise
            print_message(f"{part_name(part)[1:]} is left out: {error}", "warning")
            continue
        for note in done.notes:
            print_message(f"{source}: {note}")
        for sentence in done.not_held:
            where = f"`conversion` in {own.name}" if to == "fastmri" else done.files[-1].name
            print_message(f"{to} does not hold {sentence}; see {where}")
        files += done.files
    return files


def _named(target: Path, part: str) -> Path:
    known = target.suffix in (".cfl", ".hdr", ".h5", ".hdf5", ".mrd")
    return target.with_name(
        f"{target.stem}{part}{target.suffix}" if known else f"{target.name}{part}"
    )


def _load(source: Path) -> Reconstruction:
    """A reconstruction without its large arrays; says what its file does not know."""
    from mri_alps.interop import ImageGeometry

    reconstruction = load_reconstruction(source, large=False)
    geometry = ImageGeometry.of(reconstruction)
    if not geometry.size_is_known:
        print_message(
            f"{source} comes from a file that does not say how large its pixels are: 1 mm is "
            "written, reconstruct it with --fov to have it right",
            "warning",
        )
    if geometry.is_nominal:
        print_message(
            f"{source} says nothing about positions and directions (fastMRI and BART files do "
            "not): the slices are stacked along z, and left and right are not known",
            "warning",
        )
    return reconstruction


def _convert_images(
    reconstruction: Reconstruction,
    target: Path,
    to: str,
    classic: bool,
    overwrite: bool,
    study: Path | None,
) -> list[Path]:
    from mri_alps.interop import write_dicom, write_nifti

    if to == "nifti":
        assert reconstruction.path is not None
        refuse_existing(reconstruction.path, [target], overwrite)
        return write_nifti(reconstruction, target)
    if target.is_file():
        raise ConfigurationError(f"{target} is a file: DICOM series go into a folder, name one")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise ConfigurationError(
            f"the folder {target} is not empty: name another, or add --overwrite"
        )
    return write_dicom(reconstruction, target, classic, study)


def _is_reconstruction(source: Path) -> bool:
    if not is_hdf5(source):
        return False
    try:
        with open_hdf5(source) as file:
            return file.attrs.get("format") == RECONSTRUCTION_FORMAT
    except InputFileError:
        return False  # the reader says what is wrong with it


def _format_of(source: Path, target: Path, is_image: bool) -> str:
    name = target.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return "nifti"
    if name.endswith((".cfl", ".hdr")):
        return "bart"
    if name.endswith(".mrd"):
        return "ismrmrd"
    if name.endswith(".mrd2"):
        return "mrd2"
    if name.endswith((".h5", ".hdf5")) and not is_hdf5(source):  # BART, or a stream
        return "ismrmrd"  # which holds masks, noise and positions, unlike fastMRI's layout
    if is_image and (not target.suffix or target.is_dir()):
        return "dicom"
    raise ConfigurationError(
        f"the name {target.name} does not say which format is meant: add --to "
        + " or --to ".join(IMAGE_FORMATS if is_image else RAW_FORMATS)
    )
