"""Values as JSON can hold them."""

from __future__ import annotations

from typing import Any


def plain(value: object) -> Any:
    """Return arrays as lists, numpy's scalars as Python's, bytes and what is unknown as text.

    Parameters
    ----------
    value : object
        Anything; what is in dictionaries, lists and tuples is made plain as well.
    """
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
