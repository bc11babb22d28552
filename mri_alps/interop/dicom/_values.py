"""Values as DICOM wants them: decimal strings, dates, times, texts, identifiers, codes."""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def item(**elements: Any) -> Dataset:
    """Return a data set with these elements, by keyword.

    Parameters
    ----------
    **elements
        None leaves an element out.
    """
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in elements.items():
        if value is not None:
            setattr(made, name, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence.

    Parameters
    ----------
    value, scheme, meaning : str
        Code, coding scheme (SCT, DCM, UCUM) and what it means.
    """
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def uid(*parts: object) -> str:
    """Return an identifier under 2.25, whose one component is a number of 128 bits.

    Parameters
    ----------
    *parts
        What it is made from: the same give the same one.
    """
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"


def is_uid(text: str) -> bool:
    """Return whether a text is an identifier of DICOM.

    Parameters
    ----------
    text : str
        From a header.
    """
    return len(text) <= 64 and bool(re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", text))


def decimal(value: float) -> str:
    """Return a decimal string, which holds 16 characters.

    Parameters
    ----------
    value : float
        Finite.
    """
    for digits in range(15, 5, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(value)


def decimals(values: Iterable[float]) -> list[str]:
    """Return decimal strings.

    Parameters
    ----------
    values : iterable of float
        Finite.
    """
    return [decimal(float(value)) for value in values]


def number(text: object) -> float | None:
    """Return a finite number that a header says, None where it says none.

    Parameters
    ----------
    text : object
        From a header.
    """
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def date(text: str) -> str:
    """Return YYYYMMDD, or nothing where a text is no date.

    Parameters
    ----------
    text : str
        YYYY-MM-DD, perhaps with a zone (as XML writes it), or YYYYMMDD.
    """
    found = re.match(r"(\d{4})-?(\d\d)-?(\d\d)(?!\d)", text)
    try:
        return "" if found is None else f"{datetime.date(*map(int, found.groups())):%Y%m%d}"
    except ValueError:
        return ""


def time(text: str) -> str:
    """Return HHMMSS with a fraction if there is one, or nothing where a text is no time.

    Parameters
    ----------
    text : str
        HH:MM:SS or HHMMSS, perhaps with a fraction.
    """
    found = re.match(r"(\d\d):?(\d\d):?(\d\d)(\.\d{1,6})?", text)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3]) > 60:
        return ""
    return "".join(found.groups(default=""))


def text(value: object, length: int = 64) -> str:
    """Return a text without what separates values and lines.

    Parameters
    ----------
    value : object
        From a header.
    length : int
        How many characters there may be.
    """
    return re.sub(r"[\\\x00-\x1f\x7f]+", " ", str(value)).strip()[:length].strip()


def code_string(value: object) -> str:
    """Return a text in the letters of DICOM's code strings.

    Parameters
    ----------
    value : object
        From a header.
    """
    return re.sub(r"[^A-Z0-9 _]+", " ", str(value).upper()).strip()[:16].strip()
