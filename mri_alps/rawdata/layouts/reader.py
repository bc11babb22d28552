"""Open files of SKM-TEA, Calgary-Campinas and CMRxRecon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, File, open_hdf5
from mri_alps.core.plain import plain
from mri_alps.rawdata._files import check_matrix, check_slice_bytes
from mri_alps.rawdata.choices import note_choice, refuse_choices
from mri_alps.rawdata.field_of_view import NO_SIZE
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.layouts._checks import check_axes, find_half_shifts
from mri_alps.rawdata.layouts._recognise import (
    CALGARY_CAMPINAS,
    CMRXRECON,
    SKM_TEA,
    cmrxrecon_names,
    layout_of,
)
from mri_alps.rawdata.layouts._source import StoredArray, StoredSource
from mri_alps.rawdata.raw import RawKSpace

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.scan import Selection

TITLES = {
    SKM_TEA: "SKM-TEA",
    CALGARY_CAMPINAS: "Calgary-Campinas",
    CMRXRECON: "CMRxRecon",
}


@dataclass
class _Found:
    """What a layout says of a file."""

    array: StoredArray
    axes: tuple[str, str]
    sentences: list[str]
    image: StoredArray | None = None


def read_layout(path: Path, selection: Selection) -> RawKSpace:
    """Open a file that `layout_of` knows; samples stay in the file.

    Parameters
    ----------
    path : Path
        HDF5.
    selection : Selection
        `contrast` is the echo of SKM-TEA, `phase` the frame and `dataset` the array of CMRxRecon.

    Returns
    -------
    RawKSpace
        Slices of a volume whose readout the set has in image space have the axes ("phase_encode",
        "partition").

    Raises
    ------
    InputFileError
        If the array contradicts the layout.
    ConfigurationError
        If the selection asks for what the file does not have.
    """
    with open_hdf5(path) as file:
        layout = layout_of(file)
        assert layout is not None  # the caller has asked
        provenance: dict[str, Any] = {"counters": {}, "not_chosen": [], "warnings": [NO_SIZE]}
        provenance |= {"processing": [], "settled": [], "mask_source": "fully sampled"}
        reader = {SKM_TEA: _skm_tea, CALGARY_CAMPINAS: _calgary_campinas, CMRXRECON: _cmrxrecon}
        found = reader[layout](file, path, selection, provenance)
        dataset = file[found.array.name]
        shape, n_coils, n_slices = _sizes(dataset, found.array, path)
        check_axes(dataset, found.array, path, TITLES[layout], is_hybrid=layout != CMRXRECON)
        attributes = {name: plain(value) for name, value in dataset.attrs.items()}
        phases: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        if layout == CALGARY_CAMPINAS:
            phases, sentence = find_half_shifts(path, found.array, n_slices)
            found.sentences += [sentence]
    provenance["processing"] = [
        f"read in the layout of {TITLES[layout]}: {found.sentences[0]}",
        *found.sentences[1:],
        *provenance["processing"],
    ]
    is_hybrid = found.axes[1] == "partition"
    matrix = (n_slices, *shape) if is_hybrid else (*shape, 1)
    view = (float(matrix[0]), float(matrix[1]), float(matrix[2]))
    return RawKSpace(
        path=path,
        format=layout,
        n_slices=n_slices,
        n_coils=n_coils,
        shape=shape,
        mask=np.ones((1, 1, shape[1]), bool),
        noise_covariance=None,
        geometry=Geometry.nominal(matrix, matrix, view, view, n_slices),
        crop=shape,
        source=StoredSource(path, found.array, phases, found.image),
        attributes=attributes,
        axes=found.axes,
        size_is_known=False,
        provenance=provenance,
    )


def _sizes(dataset: Dataset, array: StoredArray, path: Path) -> tuple[tuple[int, int], int, int]:
    """Return shape of a slice, coils and slices, once they are known to be possible."""
    check_matrix(path, f"shape of `{array.name}`", *dataset.shape)
    if dataset.id.get_storage_size() == 0:
        raise InputFileError(
            f"{path}: `{array.name}` claims the shape {dataset.shape} and holds no data: export it "
            "again"
        )
    first, second = (dataset.shape[axis] for axis in array.image_axes)
    n_coils = 1 if array.coil_axis is None else dataset.shape[array.coil_axis]
    n_coils //= 2 if array.is_paired else 1
    check_slice_bytes(path, n_coils, first, second)
    return (first, second), n_coils, dataset.shape[array.slice_axis]


def _skm_tea(file: File, path: Path, selection: Selection, provenance: dict[str, Any]) -> _Found:
    refuse_choices(path, TITLES[SKM_TEA], selection, "contrast")
    n_echoes = file["kspace"].shape[3]
    echo = note_choice(provenance, path, "contrast", range(n_echoes), selection.contrast)
    sentences = [
        "`kspace` (x, ky, kz, echo, coil) holds x in image space, its positions are slices; "
        "contrasts are echoes"
    ]
    if "maps" in file:
        sentences.append("the sensitivity maps of the file are not used: they are estimated anew")
    if "masks" in file:
        sentences.append("the sampling masks of the file are not applied: --mask takes one")
    image = None
    target = file.get("target")
    if isinstance(target, Dataset) and target.shape[:4] == file["kspace"].shape[:4]:
        image = StoredArray("target", 0, None, (1, 2), ((3, echo), (4, 0)))
    array = StoredArray("kspace", 0, 4, (1, 2), ((3, echo),))
    return _Found(array, ("phase_encode", "partition"), sentences, image)


def _calgary_campinas(
    file: File, path: Path, selection: Selection, _provenance: dict[str, Any]
) -> _Found:
    refuse_choices(path, TITLES[CALGARY_CAMPINAS], selection)
    n_coils = file["kspace"].shape[3] // 2
    sentence = (
        f"`kspace` (x, ky, kz, {2 * n_coils}) holds x in image space, its positions are slices, "
        f"and real and imaginary parts of {n_coils} coils in turn"
    )
    array = StoredArray("kspace", 0, 3, (1, 2), is_paired=True)
    return _Found(array, ("phase_encode", "partition"), [sentence])


def _cmrxrecon(file: File, path: Path, selection: Selection, provenance: dict[str, Any]) -> _Found:
    refuse_choices(path, TITLES[CMRXRECON], selection, "phase", "dataset")
    names = cmrxrecon_names(file)
    name = note_choice(provenance, path, "dataset", names, selection.dataset)
    has_coils = "single" not in name
    axes = ["frame", "slice", "coil", "ky", "kx"] if has_coils else ["frame", "slice", "ky", "kx"]
    dataset = file[name]
    if dataset.ndim == len(axes) - 1:
        axes.remove("frame")
    if dataset.ndim != len(axes):
        raise InputFileError(
            f"{path}: `{name}` has the shape {dataset.shape}, expected ({', '.join(axes)}) as "
            "MATLAB stores (kx, ky, coil, slice, frame): permute it"
        )
    fixed: tuple[tuple[int, int], ...] = ()
    n_frames = dataset.shape[0] if "frame" in axes else 1
    frame = note_choice(provenance, path, "phase", range(n_frames), selection.phase)
    if "frame" in axes:
        fixed = ((0, frame),)
    array = StoredArray(
        name,
        axes.index("slice"),
        axes.index("coil") if has_coils else None,
        (axes.index("kx"), axes.index("ky")),
        fixed,
    )
    sentence = f"`{name}` is ({', '.join(axes)}), brought to (slice, coil, kx, ky)"
    return _Found(array, ("readout", "phase_encode"), [sentence])
