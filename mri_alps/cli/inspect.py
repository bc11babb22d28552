"""``mri-alps inspect``."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mri_alps.cli.terminal import out
from mri_alps.core.errors import ConfigurationError, MriAlpsError, MriAlpsWarning
from mri_alps.core.lazy import undisturbed_imports
from mri_alps.pipeline import open_scan
from mri_alps.rawdata import RawKSpace, describe, net_acceleration, with_field_of_view

if TYPE_CHECKING:
    from mri_alps.calibration import Acquisition
    from mri_alps.pipeline import ReconstructionConfiguration

# Nothing here imports torch: what the file says is shown before calibration, which needs it.

_LABEL_WIDTH = 52
"""Of the first column, which is begun before all labels are known."""

Entries = list[tuple[str, str]]


def run_inspect(
    file: Path,
    as_json: bool,
    settings: ReconstructionConfiguration,
    figure: Path | None = None,
    header_only: bool = False,
) -> None:
    """Print what is in a raw file and what would be done with it.

    Parameters
    ----------
    file : pathlib.Path
        A raw file.
    as_json : bool
        Print a JSON object instead of a table: the texts by label, a list where a label occurs more
        than once, and sizes, counts and conditions as numbers and booleans.
    settings : ReconstructionConfiguration
        Noise and retrospective mask, as in `reconstruct`.
    figure : pathlib.Path, optional
        A picture of the calibration of the middle slice to write.
    header_only : bool
        Leave calibration out.

    Raises
    ------
    ConfigurationError
        If a picture of what is left out is asked for.
    """
    if figure is not None:
        from mri_alps.evaluation import figure_format

        if header_only:
            raise ConfigurationError(
                "--figure draws the calibration, which --header-only leaves out: give one of them"
            )
        figure_format(figure)  # before the work
    raw = with_field_of_view(open_scan(file, settings), settings.field_of_view)
    entries = describe(raw)
    if as_json:
        if not header_only:
            entries = entries + calibration_entries(raw, settings, figure)
        print(json.dumps(as_dictionary(entries) | measures_of(raw), indent=2))
        return
    _print_table(entries)
    if not header_only:
        _print_table(calibration_entries(raw, settings, figure))


def _print_table(entries: Entries) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(min_width=_LABEL_WIDTH - 2)
    table.add_column()
    for label, text in entries:
        table.add_row(Text(label), Text(text))
    out().print(table)


def calibration_entries(
    raw: RawKSpace, settings: ReconstructionConfiguration, figure: Path | None = None
) -> Entries:
    """Return what calibration finds in the middle slice.

    Parameters
    ----------
    raw : RawKSpace
        The scan; the middle slice is read, and what its noise is looked at in.
    settings : ReconstructionConfiguration
        Noise and retrospective mask, as in `reconstruct`.
    figure : pathlib.Path, optional
        A picture of it to write.
    """
    with undisturbed_imports():
        from mri_alps.calibration import calibrate_volume, prepare_slice
        from mri_alps.pipeline import undersampling_mask

    index = raw.n_slices // 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MriAlpsWarning)  # they come back as notes
            mask = undersampling_mask(raw, settings)
            calibration = calibrate_volume(
                raw, mask, noise_std=settings.noise_std, correct_delays=settings.correct_delays
            )
            acquisition = prepare_slice(raw, index, mask, calibration=calibration)
    except MriAlpsError as error:
        return [("problem", str(error))]
    info = acquisition.info
    if acquisition.is_empty:
        return [(f"slice {index}", "holds only zeros, and so will its image")]
    if figure is not None:
        draw(raw, index, acquisition, figure)
    noise = info["noise_std_per_coil"]
    region = " x ".join(str(size) for size in info["calibration_region"])
    return [
        (
            f"noise, slice {index}",
            f"from the {info['noise_source']}: standard deviation {min(noise):.3g} to "
            f"{max(noise):.3g} per real component; {acquisition.noise_std:.3g} of the image scale "
            "after whitening",
        ),
        *((f"noise by the {w['witness']}", _told(w)) for w in info["noise_witnesses"]),
        (
            f"calibration, slice {index}",
            f"{region} from the {info['calibration_source']}{_trust_in_maps(info)}",
        ),
        (
            "what will be done",
            f"whiten {raw.n_coils} coils, estimate sensitivity maps, draw posterior samples on "
            f"{raw.shape[0]} x {raw.shape[1]}, crop to {raw.crop[0]} x {raw.crop[1]}",
        ),
        *_delays(info),
        *(("note", note) for note in info["notes"]),
    ]


def _delays(info: dict[str, Any]) -> Entries:
    path = info.get("trajectory")
    if path is None or path["kind"] != "radial":
        return []
    if "delays" not in path:
        return [
            (
                "gradient delays",
                "not measured: too few spokes are read in opposite directions, or do not agree",
            )
        ]
    first, mixed, second = path["delays"]
    corrected = "corrected" if path["delays_corrected"] else "not corrected (--correct-delays does)"
    return [
        (
            "gradient delays",
            f"{first:+.3f} along the first image axis, {second:+.3f} along the second (mixed "
            f"{mixed:+.3f}) cycles per field of view, by {path['opposed_pairs']} pairs of opposed "
            f"spokes; {corrected}",
        )
    ]


def _told(witness: dict[str, Any]) -> str:
    text = f"{witness['noise_std']:.3g} with a standard error of {witness['standard_error']:.1g}"
    return f"{text}, signal in it" if witness["has_signal"] else text


def draw(raw: RawKSpace, index: int, acquisition: Acquisition, figure: Path) -> None:
    """Write the picture of a slice's calibration.

    Parameters
    ----------
    raw, index : RawKSpace and int
        Scan and slice.
    acquisition : Acquisition
        The slice, not an empty one.
    figure : pathlib.Path
        png, pdf or svg.
    """
    from mri_alps.calibration import portray_calibration
    from mri_alps.evaluation import draw_calibration, figure_format, save_figure
    from mri_alps.pipeline import pixel_aspect

    title = f"calibration of {raw.path.name}, slice {index}"
    drawn = draw_calibration(portray_calibration(raw, acquisition), title, pixel_aspect(raw))
    save_figure(drawn, figure, file_format=figure_format(figure))


def _trust_in_maps(info: dict[str, Any]) -> str:
    if "maps_error" not in info:
        return ""  # a single coil
    rounds = info.get("maps_refined", 0)
    refined = f", refined {rounds} times by other lines" if rounds else ""
    refined += ", changed smoothly to explain all lines" if info.get("maps_corrected") else ""
    return (
        f"; sensitivity maps{refined}: an error of {100 * info['maps_error']:.2g} % is allowed for"
    )


def as_dictionary(entries: Entries) -> dict[str, Any]:
    """Return texts by label, numbers as such; a label that occurs more than once has a list.

    Parameters
    ----------
    entries : list of (str, str)
        Labels and texts.
    """
    grouped: dict[str, list[Any]] = {}
    for label, text in entries:
        grouped.setdefault(label, []).append(_as_number(text))
    return {label: texts[0] if len(texts) == 1 else texts for label, texts in grouped.items()}


def _as_number(text: str) -> str | int | float:
    if text.isdecimal():
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def measures_of(raw: Any) -> dict[str, Any]:
    """Return sizes, counts and conditions of a scan for programs.

    Parameters
    ----------
    raw : RawKSpace or RawTrajectoryData
        The scan.
    """
    geometry = raw.geometry
    found: dict[str, Any] = {
        "n_slices": int(raw.n_slices),
        "n_coils": int(raw.n_coils),
        "shape": [int(size) for size in raw.shape],
        "crop": [int(size) for size in raw.crop],
        "encoded_matrix": [int(size) for size in geometry.encoded_matrix],
        "recon_matrix": [int(size) for size in geometry.recon_matrix],
        "encoded_field_of_view_mm": [float(size) for size in geometry.encoded_field_of_view],
        "recon_field_of_view_mm": [float(size) for size in geometry.recon_field_of_view],
        "pixel_size_is_known": bool(raw.size_is_known),
        "noise_is_measured": raw.noise_covariance is not None,
    }
    if isinstance(raw, RawKSpace):
        found |= {
            "pixel_spacing_mm": [float(size) for size in raw.pixel_spacing],
            "net_acceleration": float(net_acceleration(raw.mask)),
            "n_averages": int(raw.n_averages),
            "is_fully_sampled": bool(raw.mask.all()),
            "has_calibration_lines": bool(raw.has_calibration),
            "is_3d": raw.axes[1] == "partition",
        }
    return found
