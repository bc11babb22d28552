"""Compressed chunks: what they may become is known before the HDF5 library allocates it.

A deflate stream of 2 MB can hold 2 GB, whatever size its chunk is said to have, and the library
inflates it to the end.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from h5py import h5d, h5z

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

Chunk = tuple[int, ...]


def large_chunks(dataset: h5d.DatasetID, path: Path, name: str) -> dict[Chunk, int]:
    """Check how a dataset is stored, and return the chunks to be inflated with care.

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
        Of chunks that could become larger than `MAX_INFLATED_BYTES`: their first element, and
        the bytes that they should have.

    Raises
    ------
    InputFileError
        If a chunk is far larger than the dataset or than what is stored, or if a filter is not
        one of gzip, lzf, shuffle and fletcher32.
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
    filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    growth = _growth(filters, path, name)
    if growth == 1 or dataset.get_storage_size() * growth <= MAX_INFLATED_BYTES:
        return {}
    found: dict[Chunk, int] = {}

    def collect(chunk: h5d.StoreInfo) -> None:
        if chunk.size * growth > MAX_INFLATED_BYTES:
            found[tuple(chunk.chunk_offset)] = expected
            if chunk.size > 2 * expected or _LZF in filters:
                raise InputFileError(
                    f"{path}: a chunk of `{name}` has {chunk.size / 2**20:.0f} MiB in the file, "
                    f"too much to be unpacked safely: store it with gzip or in smaller chunks"
                )

    if hasattr(dataset, "chunk_iter"):
        dataset.chunk_iter(collect)
    else:  # HDF5 before 1.12.3
        for k in range(dataset.get_num_chunks()):
            collect(dataset.get_chunk_info(k))
    return found


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
    return _GROWTH[filters[packed[0]]] if packed else 1


def check_inflated(
    dataset: h5d.DatasetID, chunk: Chunk, expected: int, path: Path, name: str
) -> None:
    """Raise if a chunk holds more than it should.

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
        If it holds more, or is no deflate stream.
    """
    skipped, content = dataset.read_direct_chunk(chunk)
    if skipped:  # some filters were left out for this chunk
        filters = dataset.get_create_plist()
        numbers = [filters.get_filter(k)[0] for k in range(filters.get_nfilters())]
        if skipped >> numbers.index(h5z.FILTER_DEFLATE) & 1:
            return
    stream, total = zlib.decompressobj(), 0
    try:
        while content and not stream.eof and total <= expected:
            total += len(stream.decompress(content, _PIECE))
            content = stream.unconsumed_tail
    except zlib.error as error:
        raise InputFileError(
            f"{path} is truncated or damaged (`{name}`: {error}): copy or export it again"
        ) from error
    if total > expected:
        raise InputFileError(
            f"{path}: a chunk of `{name}` holds more than the {expected / 2**20:.0f} MiB that it "
            "should: the file is damaged, export the scan again"
        )
