"""Whether an image fits what was measured: if not, it is refused, or kept and marked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mri_alps.calibration import Acquisition, Explanation, explain, judge
from mri_alps.core.errors import CalibrationError, MriAlpsWarning

if TYPE_CHECKING:
    import torch

    from mri_alps.rawdata import RawKSpace


def refuse_defect(raw: RawKSpace, force: bool) -> None:
    """Refuse a scan whose measurement is wrong in a way that could not be corrected.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    force : bool
        Whether its images are wanted all the same, marked.

    Raises
    ------
    CalibrationError
        If it has a `defect`, and they are not.

    Warns
    -----
    MriAlpsWarning
        If they are.
    """
    if raw.defect is None:
        return
    sentence = f"{raw.path}: {raw.defect}"
    if not force:
        raise CalibrationError(f"{sentence}; --force (force=True) keeps the images, marked")
    warnings.warn(sentence, MriAlpsWarning, stacklevel=3)


def explain_slice(
    raw: RawKSpace, index: int, acquisition: Acquisition, mean: torch.Tensor, force: bool
) -> tuple[Explanation, str | None]:
    """Look at the posterior mean of a slice, and return also what is wrong if it is forced.

    Parameters
    ----------
    raw, index : RawKSpace and int
        Scan and slice.
    acquisition : Acquisition
        The slice, prepared.
    mean : torch.Tensor
        complex64 (H, W), of unit scale.
    force : bool
        Whether an image that does not explain the data is kept.

    Raises
    ------
    CalibrationError
        If it does not, and is not.

    Warns
    -----
    MriAlpsWarning
        If the data are explained less well than noise and maps should allow.
    """
    explanation = explain(acquisition, mean)
    sentence, is_refused = judge(acquisition, explanation)
    if sentence is None:
        return explanation, None
    sentence = f"{raw.path}, slice {index}: {sentence}"
    if is_refused and not force:
        raise CalibrationError(f"{sentence}; --force (force=True) keeps the image, marked")
    warnings.warn(sentence, MriAlpsWarning, stacklevel=3)
    return explanation, sentence if is_refused else None
