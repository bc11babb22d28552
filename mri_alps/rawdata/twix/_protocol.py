"""What is used of a Siemens protocol: numbers by name, from untrusted text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import MAX_HEADER_BYTES

_LINE = re.compile(r"([A-Za-z_][\w.\[\]]{0,120})[ \t]{0,40}=[ \t]{0,40}(\S[^\r\n]{0,200})")
_BEGIN, _END = "### ASCCONV BEGIN", "### ASCCONV END ###"
_PARAMETER = r'<Param(?:Bool|Long|Double|String)\."%s">\s{0,20}\{([^{}]{0,400})\}'
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Protocol:
    """The parameters of a measurement.

    Parameters
    ----------
    text : str
        The header of the measurement, its buffers one after the other.
    path : Path
        The file, for messages.
    """

    def __init__(self, text: str, path: Path):
        self._text, self._path = text[:MAX_HEADER_BYTES], path
        start = self._text.rfind(_BEGIN)  # the last is that of the measurement
        stop = self._text.find(_END, start)
        lines = self._text[start:stop].splitlines() if 0 <= start < stop else []
        found = (_LINE.match(line.strip()) for line in lines)
        self._values = {match[1]: match[2].strip() for match in found if match}

    def text(self, *names: str) -> str | None:
        """Return a text, by the first of its names that is there.

        Parameters
        ----------
        *names : str
            Of the list of assignments (ASCCONV), or of a parameter of the XML-like part.
        """
        for name in names:
            value = self._values.get(name)
            if value is None and "." not in name and (match := self._parameter(name)):
                value = match
            if value:
                return value.strip().strip('"').strip()
        return None

    def number(self, *names: str) -> float | None:
        """Return a number, by the first of its names that is there.

        Parameters
        ----------
        *names : str
            As for `text`.

        Raises
        ------
        InputFileError
            If it is none that can be.
        """
        value = self.text(*names)
        if value is None:
            return None
        value = value.partition("#")[0].strip()
        try:
            number = float(int(value, 16)) if value[:2].lower() == "0x" else float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or abs(number) > 1e12:
            raise InputFileError(
                f"{self._path}: the protocol says {names[0]} = {value[:40]!r}, which is no number "
                "that can be: export the scan again"
            )
        return number

    def _parameter(self, name: str) -> str | None:
        match = re.search(_PARAMETER % re.escape(name), self._text)
        if match is None:
            return None
        content = re.sub(r"<Precision>\s*\d+", "", match[1]).strip()
        if '"' in content:
            return content
        numbers = _NUMBER.findall(content)
        return numbers[-1] if numbers else None

    def coil_names(self) -> tuple[str, ...]:
        """Return the elements of the coils in the order of the protocol."""
        pattern = re.compile(r"\.(?:asList|aRxCoilSelectData\[0\]\.asList)\[(\d{1,4})\].*tElement$")
        found = [
            (int(match[1]), value)
            for name, value in self._values.items()
            if "CoilSelectMeas" in name and (match := pattern.search(name))
        ]
        return tuple(value for _, value in sorted(found))


def vector(protocol: Protocol, place: str, names: Sequence[str]) -> tuple[float, ...]:
    """Return a vector of which the protocol leaves entries that are zero out.

    Parameters
    ----------
    protocol : Protocol
        The parameters.
    place : str
        Where the vector stands.
    names : sequence of str
        Of its entries.
    """
    return tuple(protocol.number(f"{place}.{name}") or 0.0 for name in names)
