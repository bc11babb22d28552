"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target` that becomes `target` if all goes well.

    Whatever happens inside, including an interrupt, nothing half-written stays behind.

    Parameters
    ----------
    target : pathlib.Path
        The final name; replaced in one step if it exists.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
