"""Small scans made by the tests, and acquisitions as odd scanners write them."""

import ismrmrd
import numpy as np

from mri_alps.rawdata.header import Limit, make_header
from mri_alps.rawdata.ismrmrd.writer import make_acquisition, write_acquisitions


def random_complex(seed, *shape):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def fft_centered(x, axes=(-2, -1)):
    shifted = np.fft.ifftshift(x, axes=axes)
    return np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)


def ifft_centered(x, axes=(-2, -1)):
    shifted = np.fft.ifftshift(x, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def center_crop(x, size, axis):
    start = x.shape[axis] // 2 - size // 2
    return np.take(x, range(start, start + size), axis=axis)


def header(encoded, recon=None, limit=None, **options):
    """XML header; `limit` of step 1, a `Limit` or None for a header without limits."""
    recon = recon or encoded
    limits = {} if limit is None else {"kspace_encoding_step_1": limit}
    limits.update(options.pop("limits", {}))
    view = tuple(float(size) for size in encoded)
    recon_view = tuple(float(size) for size in recon)
    if "view" in options:
        view = options.pop("view")
        recon_view = tuple(v * r / e for v, r, e in zip(view, recon, encoded, strict=True))
    return make_header(encoded, recon, view, recon_view, limits=limits, **options)


def lines(kspace, rows=None, **fields):
    """One acquisition per phase encode of (coil, readout, phase_encode)."""
    rows = range(kspace.shape[-1]) if rows is None else rows
    return [
        make_acquisition(kspace[:, :, row], kspace_encode_step_1=int(row), **fields) for row in rows
    ]


def reversed_line(acquisition, **fields):
    """The same line, sampled from the other side."""
    flipped = make_acquisition(
        np.array(acquisition.data)[:, ::-1],
        ismrmrd.ACQ_IS_REVERSE,
        kspace_encode_step_1=acquisition.idx.kspace_encode_step_1,
        center_sample=acquisition.center_sample,
    )
    for name, value in fields.items():
        setattr(flipped, name, value)
    return flipped


__all__ = [
    "Limit",
    "center_crop",
    "fft_centered",
    "header",
    "ifft_centered",
    "lines",
    "make_acquisition",
    "random_complex",
    "reversed_line",
    "write_acquisitions",
]
