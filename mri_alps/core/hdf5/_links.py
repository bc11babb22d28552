"""From a name to an object without leaving the file: every link is looked at before it is used."""

from __future__ import annotations

import os
from pathlib import Path

from h5py import h5f, h5g, h5i, h5l, h5o

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5.limits import MAX_DEPTH, MAX_LINKS


def file_of(identifier: object) -> Path:
    """Return the file in which an object of h5py's low level is.

    Parameters
    ----------
    identifier : h5py.h5g.GroupID, h5py.h5d.DatasetID or the like
        The object.
    """
    return Path(os.fsdecode(h5f.get_name(identifier)))


def find(start: h5g.GroupID, name: str) -> object | None:
    """Open an object by name.

    Parameters
    ----------
    start : h5py.h5g.GroupID
        The group that the name is relative to, unless it begins with a slash.
    name : str
        Names, with slashes between them.

    Returns
    -------
    h5py.h5g.GroupID, h5py.h5d.DatasetID, h5py.h5t.TypeID or None
        None if there is no such object.

    Raises
    ------
    InputFileError
        If a link on the way leads out of the file, or in a circle.
    """
    here: object = start
    parts = _parts(start, name)
    n_links = n_parts = 0
    if name.startswith("/"):
        here = _root(start)
    while parts:
        key = parts.pop()
        n_parts += 1
        if not isinstance(here, h5g.GroupID) or not here.links.exists(key):
            return None
        kind = here.links.get_info(key).type
        if kind == h5l.TYPE_HARD:
            here = h5o.open(here, key)
        elif kind == h5l.TYPE_SOFT:
            target = here.links.get_val(key)
            parts += _parts(start, target.decode("utf-8", "surrogateescape"))
            here = _root(start) if target.startswith(b"/") else here
            n_links += 1
        else:
            raise InputFileError(
                f"{file_of(start)}: `{name}` is a link to another file, which is not followed: "
                "copy the data into the file, for example with h5repack or h5copy"
            )
        if n_links > MAX_LINKS or n_parts > MAX_DEPTH:
            raise InputFileError(
                f"{file_of(start)}: the links behind `{name}` do not come to an end: the file is "
                "damaged, export the scan again"
            )
    return here


def _parts(start: h5g.GroupID, name: str) -> list[bytes]:
    if len(name) > 64 * MAX_DEPTH:
        raise InputFileError(
            f"{file_of(start)}: a name in it has {len(name)} letters: the file is damaged, export "
            "the scan again"
        )
    words = [word for word in name.split("/") if word not in ("", ".")]
    return [word.encode("utf-8", "surrogateescape") for word in reversed(words)]


def _root(start: h5g.GroupID) -> object:
    return h5o.open(h5i.get_file_id(start), b"/")
