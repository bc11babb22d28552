"""Compressed chunks: what they may become is known before the HDF5 library allocates it.

A deflate stream of 2 MB can hold 2 GB, whatever size its chunk is said to have, and the library
inflates it to the end. One that holds too little is as bad: the library reads on behind it.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from h5py import h5d, h5p, h5z

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5.limits import (
    ALWAYS_ALLOWED_BYTES,
    MAX_CHUNK_OF_DATASET,
    MAX_INFLATED_BYTES,
    check_claim,
)

_LZF = 32000
# Largest ratio of output to input; others take sizes on trust from the file, or are plug-ins.
_GROWTH = {h5z.FILTER_DEFLATE: 1032, _LZF: 88, h5z.FILTER_SHUFFLE: 1, h5z.FILTER_FLETCHER32: 1}
_PIECE = 2**20
_CHECKSUM = 4  # bytes that fletcher32 adds

Chunk = tuple[int, ...]


def packed_chunks(dataset: h5d.DatasetID, path: Path, name: str) -> dict[Chunk, int]:
    """Check how a dataset is stored, and return the chunks to be inflated before they are read.

    The library reads a whole chunk whatever came out of its filters, beyond the end of a buffer
    that is too short, and takes four bytes off a checksummed chunk that has fewer.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        An opened dataset.
    path : pathlib.Path
        The file, for messages.
    name : str
        The dataset, for messages.

    Returns
    -------
    dict
        Of chunks that are deflate streams: their first element, and the bytes that they should
        have.

    Raises
    ------
    InputFileError
        If a chunk is far larger than the dataset or than what is stored, or too short, or if a
        filter is not one of gzip, lzf, shuffle and fletcher32.
    """
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5d.CHUNKED:
        return {}
    item = dataset.get_type().get_size()
    shape = properties.get_chunk()
    expected = math.prod(shape) * item
    limit = max(ALWAYS_ALLOWED_BYTES, MAX_CHUNK_OF_DATASET * math.prod(dataset.shape) * item)
    if expected > limit:
        raise InputFileError(
            f"{path}: `{name}` of shape {dataset.shape} is stored in chunks of {shape}, which need "
            f"{expected / 2**20:.0f} MiB each: store it in chunks that are no larger than the data"
        )
    check_claim(path, f"a chunk of `{name}`", expected)
    filters = _filters(properties)
    growth = _growth(filters, path, name)
    if not filters:  # the library checks these itself
        return {}
    if _LZF in filters:
        values = properties.get_filter(filters.index(_LZF))[2]
        if len(values) < 3 or values[2] < expected:  # the buffer that it unpacks into
            raise _short(path, name)
    found: dict[Chunk, int] = {}

    def collect(chunk: h5d.StoreInfo) -> None:
        applied = [f for k, f in enumerate(filters) if not chunk.filter_mask >> k & 1]
        checksum = _CHECKSUM * applied.count(h5z.FILTER_FLETCHER32)
        packed = h5z.FILTER_DEFLATE in applied or _LZF in applied
        if chunk.size < (checksum + 1 if packed else max(checksum, expected)):
            raise _short(path, name)
        if chunk.size * growth > MAX_INFLATED_BYTES and (
            chunk.size > 2 * expected or _LZF in filters
        ):
            raise InputFileError(
                f"{path}: a chunk of `{name}` has {chunk.size / 2**20:.0f} MiB in the file, "
                f"too much to be unpacked safely: store it with gzip or in smaller chunks"
            )
        if h5z.FILTER_DEFLATE in applied:
            found[tuple(chunk.chunk_offset)] = expected

    if hasattr(dataset, "chunk_iter"):
        dataset.chunk_iter(collect)
    else:  # HDF5 before 1.12.3
        for k in range(dataset.get_num_chunks()):
            collect(dataset.get_chunk_info(k))
    return found


def _filters(properties: h5p.PropDCID) -> list[int]:
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]


def _short(path: Path, name: str) -> InputFileError:
    return InputFileError(
        f"{path} is truncated or damaged (a chunk of `{name}` holds less than it should): copy or "
        "export it again"
    )


def _growth(filters: list[int], path: Path, name: str) -> int:
    for number in filters:
        if number not in _GROWTH:
            raise InputFileError(
                f"{path}: `{name}` is compressed by the filter number {number}, and only gzip, "
                "lzf, shuffle and fletcher32 are read: store it anew, for example with "
                "h5repack -f GZIP=4"
            )
    # A stream can be measured where nothing but a checksum was put around it.
    packed = [k for k, number in enumerate(filters) if _GROWTH[number] > 1]
    outside = filters[packed[0] + 1 :] if packed else []
    if any(number != h5z.FILTER_FLETCHER32 for number in outside):
        raise InputFileError(
            f"{path}: `{name}` is compressed more than once: store it anew, for example with "
            "h5repack -f GZIP=4"
        )
    if h5z.FILTER_FLETCHER32 in filters[:-1]:  # what the filters after it unpack may be too short
        raise InputFileError(
            f"{path}: `{name}` has a checksum that is not its last filter: store it anew, for "
            "example with h5repack -f GZIP=4"
        )
    return _GROWTH[filters[packed[0]]] if packed else 1


def check_inflated(
    dataset: h5d.DatasetID, chunk: Chunk, expected: int, path: Path, name: str
) -> None:
    """Raise if a chunk holds more or less than it should.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        Its dataset.
    chunk : tuple of int
        First element of the chunk.
    expected : int
        Bytes that it should have.
    path : pathlib.Path
        The file, for messages.
    name : str
        The dataset, for messages.

    Raises
    ------
    InputFileError
        If it does, or is no deflate stream.
    """
    content = dataset.read_direct_chunk(chunk)[1]
    # At the edge of a dataset a chunk may be stored as it is; the buffer for it is long enough.
    may_be_plain = len(content) >= expected
    stream, total = zlib.decompressobj(), 0
    try:
        while content and not stream.eof and total <= expected:
            total += len(stream.decompress(content, _PIECE))
            content = stream.unconsumed_tail
    except zlib.error as error:
        if may_be_plain:
            return
        raise InputFileError(
            f"{path} is truncated or damaged (`{name}`: {error}): copy or export it again"
        ) from error
    if total > expected:
        raise InputFileError(
            f"{path}: a chunk of `{name}` holds more than the {expected / 2**20:.0f} MiB that it "
            "should: the file is damaged, export the scan again"
        )
    if total < expected and not may_be_plain:
        raise _short(path, name)
