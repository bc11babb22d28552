"""fastMRI HDF5: train, validation and test flavours, multi-coil and single-coil."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import Dataset, File, open_hdf5, read_text
from mri_alps.core.plain import plain
from mri_alps.rawdata._files import check_matrix, check_slice_bytes
from mri_alps.rawdata.choices import refuse_choices
from mri_alps.rawdata.fastmri._axes import Expected, find_order
from mri_alps.rawdata.fastmri._padding import note_measured_padding, padding_free_range
from mri_alps.rawdata.fastmri._stored import (
    Storage,
    StoredKSpace,
    noise_of_repetitions,
    storage_of,
)
from mri_alps.rawdata.field_of_view import NO_HEADER
from mri_alps.rawdata.geometry import Geometry
from mri_alps.rawdata.header import Encoding, Header, parse_header
from mri_alps.rawdata.raw import RawKSpace
from mri_alps.rawdata.sampling_pattern import net_acceleration

if TYPE_CHECKING:
    from mri_alps.rawdata.ismrmrd.scan import Selection

SMALLEST_SLICE = 64
"""Bytes that the table of contents alone has for a slice of compressed zeros."""

ALWAYS_ALLOWED_SLICES = 1024
"""Or as many as this, whatever the size of the file: each is opened and read by itself."""

REFERENCES = ("reconstruction_rss", "reconstruction_esc")


@dataclass(frozen=True)
class FastmriSource:
    """Reads one slice at a time; opens the file for each."""

    path: Path
    reference_name: str | None
    has_ground_truth: bool
    order: tuple[int, ...]
    storage: Storage

    def read_kspace(self, index: int) -> np.ndarray:
        """Return complex (coil, readout, phase_encode)."""
        slices, *others = self.order
        with open_hdf5(self.path) as file:
            kspace = StoredKSpace(file["kspace"], self.storage)[(slice(None),) * slices + (index,)]
        kspace = kspace.transpose([axis - (axis > slices) for axis in others])
        return kspace[np.newaxis] if kspace.ndim == 2 else kspace

    def read_calibration(self, index: int) -> None:
        """Return None: fastMRI files have no separate calibration lines."""
        return None

    def read_reference(self, index: int) -> np.ndarray | None:
        """Return the file's reconstruction of the slice."""
        return self._read(self.reference_name, index)

    def read_ground_truth(self, index: int) -> np.ndarray | None:
        """Return the image behind simulated data."""
        return self._read("ground_truth" if self.has_ground_truth else None, index)

    def _read(self, name: str | None, index: int) -> np.ndarray | None:
        if name is None:
            return None
        with open_hdf5(self.path) as file:
            image: np.ndarray = file[name][index]
        return image.T if self.order[-2] > self.order[-1] else image  # written like the k-space


def read_fastmri(path: Path | str, selection: Selection | None = None) -> RawKSpace:
    """Open a file in fastMRI's layout; nothing but the header and the mask is read.

    Parameters
    ----------
    path : Path or str
        HDF5 with `kspace` (slices, coils, readout, phase encode) or (slices, readout, phase
        encode), and `ismrmrd_header`. Without the header it is taken on its own matrix, or on that
        of its reference images. A fifth axis holds repetitions; real and imaginary parts may be
        the last axis.
    selection : Selection, optional
        Which repetition; the mean of those that differ by noise alone if left out.

    Returns
    -------
    RawKSpace
        The mask is the file's own (`mask`, test flavour) without the edge padding, which the
        header's encoding limits give: it was never measured.

    Raises
    ------
    InputFileError
        If a dataset is missing, real where it must be complex, or of a wrong size.
    ConfigurationError
        If the selection asks for what the file does not have.
    """
    path = Path(path)
    refuse_choices(path, "fastMRI", selection, "repetition")
    told: dict[str, Any] = {"counters": {}, "not_chosen": [], "warnings": [], "processing": []}
    with open_hdf5(path) as file:
        stored = _dataset(file, "kspace", path)
        repetition = None if selection is None else selection.repetition
        storage = storage_of(stored, path, repetition, told)
        if repetition is not None and storage.repetitions is None:
            refuse_choices(path, "fastMRI with one repetition", selection)
        kspace = StoredKSpace(stored, storage)
        _check_kspace(kspace.shape, kspace, path)
        attributes = {name: plain(value) for name, value in file.attrs.items()}
        reference_name = next((name for name in REFERENCES if name in file), None)
        found = parse_header(_header_text(file, path), path) if "ismrmrd_header" in file else None
        expected = _expected(file, reference_name, found)
        order, sentence = find_order(kspace, kspace.shape, expected, path)
        shape = _check_kspace(tuple(kspace.shape[axis] for axis in order), kspace, path)
        is_turned = order[-2] > order[-1]
        file_mask = _file_mask(file, path, shape, is_turned)
        for name in (reference_name, "ground_truth" if "ground_truth" in file else None):
            _check_images(file, name, path, shape)
        images = None if reference_name is None else file[reference_name].shape[1:]
        header = found or _no_header(shape, images[::-1] if images and is_turned else images)
        if sentence:
            header = dataclasses.replace(header, settled=(*header.settled, sentence))
        source = FastmriSource(path, reference_name, "ground_truth" in file, order, storage)
        noise = noise_of_repetitions(kspace, order)
        n_averages = kspace.n_averages
    raw = _assemble(
        path, shape, kspace_mask=file_mask, header=header, attributes=attributes, source=source
    )
    told["warnings"] += note_measured_padding(raw)
    provenance = {**raw.provenance, "counters": told["counters"], "not_chosen": told["not_chosen"]}
    for name in ("processing", "warnings"):
        provenance[name] = [*told[name], *provenance[name]]
    if noise is not None:
        provenance["noise"] = {"source": f"differences of {n_averages} repetitions"}
    return dataclasses.replace(
        raw, noise_covariance=noise, n_averages=n_averages, provenance=provenance
    )


def _no_header(shape: tuple[int, int, int, int], reference: tuple[int, ...] | None) -> Header:
    """Return what holds of a file that has k-space alone, as some teaching sets have."""
    matrix = (shape[2], shape[3], 1)
    recon = matrix if reference is None else (reference[0], reference[1], 1)
    views = [(float(size[0]), float(size[1]), 1.0) for size in (matrix, recon)]
    encoding = Encoding(matrix, recon, views[0], views[1], {}, "cartesian", size_is_known=False)
    return Header((encoding,), None, settled=(NO_HEADER,))


def _expected(file: File, reference_name: str | None, header: Header | None) -> Expected:
    """Return what the file says of the sizes of the axes of `kspace`."""
    mask = file.get("mask")
    images = None if reference_name is None else file.get(reference_name)
    length = max(mask.shape, default=1) if isinstance(mask, Dataset) else 1
    is_line = isinstance(mask, Dataset) and mask.size == length
    return Expected(
        matrix=None if header is None else header.encodings[0].encoded_matrix[:2],
        n_phase=length if is_line and length > 1 else None,
        n_slices=images.shape[0] if isinstance(images, Dataset) and images.ndim == 3 else None,
        n_coils=None if header is None else header.n_channels,
    )


def _assemble(
    path: Path,
    shape: tuple[int, int, int, int],
    kspace_mask: np.ndarray | None,
    header: Header,
    attributes: dict[str, Any],
    source: FastmriSource,
) -> RawKSpace:
    n_slices, n_coils, n_readout, n_phase = shape
    encoding = header.encodings[0]
    warnings = [*header.warnings, *header.settled]
    if encoding.encoded_matrix[:2] != (n_readout, n_phase):
        warnings.append(
            f"the header's encoded matrix {encoding.encoded_matrix[:2]} is not that of the "
            f"k-space, {(n_readout, n_phase)}; the k-space's is used"
        )
    first, stop = padding_free_range(encoding, n_phase)
    mask = np.ones((1, 1, n_phase), bool) if kspace_mask is None else kspace_mask.copy()
    mask[..., :first] = False
    mask[..., stop:] = False
    if not mask.any():
        raise InputFileError(
            f"{path}: no phase encode is measured, the mask and the padding-free range "
            f"[{first}, {stop}) have nothing in common: correct the mask or the encoding limits"
        )
    # fastMRI crops to the recon matrix, whatever the fields of view: so are its reference images
    by_view = source.reference_name is None and encoding.encoded_matrix[:2] == (n_readout, n_phase)
    recon = encoding.recon_matrix
    size = [encoding.image_size(axis) if by_view else recon[axis] for axis in (0, 1)]
    crop = (min(size[0], n_readout), min(size[1], n_phase))
    processing = []
    if crop != (n_readout, n_phase):
        reason = encoding.crop_reason() if by_view else "recon matrix of the header"
        processing.append(f"the final image is cropped to {crop[0]} x {crop[1]} ({reason})")
    if (first, stop) != (0, n_phase):
        processing.insert(
            0, f"phase encodes outside [{first}, {stop}) are padding and left out of the mask"
        )
    return RawKSpace(
        path=path,
        format="fastmri",
        n_slices=n_slices,
        n_coils=n_coils,
        shape=(n_readout, n_phase),
        mask=mask,
        noise_covariance=None,
        geometry=Geometry.nominal(
            encoding.encoded_matrix,
            recon,
            encoding.encoded_field_of_view,
            encoding.recon_field_of_view,
            n_slices,
        ),
        crop=crop,
        source=source,
        acquisition=str(attributes.get("acquisition", "")),
        attributes=attributes,
        acquired_range=(first, stop),
        size_is_known=encoding.size_is_known,
        provenance={
            "header": dict(header.parameters),
            "study": dict(header.study),
            "flavour": "test" if kspace_mask is not None else "train/val",
            "mask_source": "dataset `mask`" if kspace_mask is not None else "fully sampled",
            "net_acceleration": net_acceleration(mask),
            "reference": source.reference_name,
            "warnings": warnings,
            "settled": list(header.settled),
            "processing": processing,
        },
    )


def _dataset(file: File, name: str, path: Path) -> Dataset:
    found = file.get(name)
    if not isinstance(found, Dataset):
        raise InputFileError(
            f"{path}: the dataset `{name}` is missing (found: {', '.join(file) or 'nothing'}): "
            "a file in fastMRI's layout needs `kspace`"
        )
    return found


def _check_kspace(
    shape: tuple[int, ...], kspace: StoredKSpace, path: Path
) -> tuple[int, int, int, int]:
    """Check a dataset whose axes, brought to the order of the layout, have a shape."""
    if not _is_complex(kspace.dtype):
        raise InputFileError(
            f"{path}: `kspace` is {kspace.dtype}, it must be complex: store real and imaginary "
            "parts as one complex64 array (a magnitude cannot be reconstructed from)"
        )
    if kspace.ndim not in (3, 4):
        raise InputFileError(
            f"{path}: `kspace` has the shape {kspace.shape}, expected (slices, coils, readout, "
            "phase encode) or, single-coil, (slices, readout, phase encode): reshape it"
        )
    check_matrix(path, "shape of `kspace`", *kspace.shape)
    if kspace.id.get_storage_size() == 0:
        raise InputFileError(
            f"{path}: `kspace` claims the shape {kspace.shape} and holds no data: export it again"
        )
    _check_slices(shape[0], path)
    n_coils = shape[1] if kspace.ndim == 4 else 1
    check_slice_bytes(path, n_coils, *shape[-2:])
    return (shape[0], n_coils, shape[-2], shape[-1])


def _check_slices(n_slices: int, path: Path) -> None:
    size = path.stat().st_size
    if n_slices > ALWAYS_ALLOWED_SLICES and n_slices * SMALLEST_SLICE > size:
        raise InputFileError(
            f"{path}: `kspace` claims {n_slices} slices in a file of {size / 1024:.0f} KiB, which "
            "cannot hold them: export it again"
        )


def _header_text(file: File, path: Path) -> bytes | str:
    dataset = _dataset(file, "ismrmrd_header", path)
    value = read_text(dataset)
    if value is None:
        raise InputFileError(
            f"{path}: `ismrmrd_header` is no text but {str(dataset.dtype)[:60]}: store the XML "
            "header as a string"
        )
    return value


def _file_mask(
    file: File, path: Path, shape: tuple[int, int, int, int], is_turned: bool
) -> np.ndarray | None:
    """Read the mask; one of two dimensions is written like the k-space, turned where that is."""
    if "mask" not in file:
        return None
    n_slices, _, n_readout, n_phase = shape
    dataset = _dataset(file, "mask", path)
    if dataset.size > n_slices * n_readout * n_phase or dataset.dtype.kind not in "biuf":
        raise _mask_error(path, dataset, shape)
    mask = np.asarray(dataset[()])
    if not np.isin(mask, (0, 1)).all():
        raise InputFileError(
            f"{path}: `mask` holds values other than 0 and 1: store True where k-space was measured"
        )
    squeezed = mask.reshape(
        [size for size in mask.shape[:-1] if size > 1] + [mask.shape[-1]] if mask.ndim else [1]
    )
    if mask.size == max(mask.shape, default=1):
        squeezed = mask.reshape(-1)  # a line, whichever axes of length 1 it has
    if is_turned and squeezed.ndim > 1:
        squeezed = squeezed.swapaxes(-2, -1)
    layouts = {
        (n_phase,): (1, 1, n_phase),
        (n_readout, n_phase): (1, n_readout, n_phase),
        (n_slices, n_readout, n_phase): (n_slices, n_readout, n_phase),
    }
    if squeezed.shape not in layouts:
        raise _mask_error(path, dataset, shape)
    return squeezed.reshape(layouts[squeezed.shape]).astype(bool)


def _mask_error(path: Path, mask: Dataset, shape: tuple[int, int, int, int]) -> InputFileError:
    return InputFileError(
        f"{path}: `mask` is {mask.dtype} of shape {mask.shape} but `kspace` has {shape[3]} phase "
        f"encodes: the mask must have the shape ({shape[3]},) or ({shape[2]}, {shape[3]})"
    )


def _check_images(
    file: File, name: str | None, path: Path, shape: tuple[int, int, int, int]
) -> None:
    if name is None:
        return
    images = _dataset(file, name, path)
    if images.ndim != 3 or images.shape[0] != shape[0] or 0 in images.shape:
        raise InputFileError(
            f"{path}: `{name}` has the shape {images.shape}, expected ({shape[0]}, y, x) for "
            f"{shape[0]} slices of k-space: remove or correct it"
        )
    if max(images.shape[1:]) > 4 * max(shape[2:]):
        raise InputFileError(
            f"{path}: `{name}` claims {images.shape[1]} x {images.shape[2]} pixels for a k-space "
            f"of {shape[2]} x {shape[3]}: remove or correct it"
        )
    kinds = "biufc" if name == "ground_truth" else "biuf"
    if images.dtype.kind not in kinds:
        raise InputFileError(
            f"{path}: `{name}` is {images.dtype}, expected {'' if 'c' in kinds else 'real '}"
            "numbers: remove or correct it"
        )


def _is_complex(dtype: np.dtype) -> bool:
    if dtype.names is not None:  # complex numbers as ISMRMRD's C++ library stores them
        return dtype.names == ("real", "imag") and dtype["real"].kind == "f"
    return dtype.kind == "c"
