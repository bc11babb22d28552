"""Lines that the lines beside them do not predict: the object moved between them.

The k-space of one object is smooth, since the object is smaller than the field of view and coils
see it from several sides: a line is a linear combination of those beside it, the same one all over
k-space (Lustig and Pauly, Magn Reson Med 64:457, 2010). No maps are needed for that, whose errors
would be taken for motion or hide it. Where the object moved between two lines, or one was
corrupted, the combination fails.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mri_alps.calibration.compression import compression_matrix
from mri_alps.calibration.line_weights import MAPS_ERROR

WORSE = 3.0
"""Squared error of the prediction of two lines next to each other, over that of noise and of the
lines around them, from which they do not belong to the others. Of 134 healthy simulated scans the
largest was 1.7, of real ones 2.4; of 70 that moved half had 2.6 to 36."""
SPACINGS, NEARBY = (1, 2), 8
"""Distances of the lines that predict each other, for of 3 and 4 hardly anything is predicted; and
how many lines to both sides a line is compared with."""
CENTER_LINES, READOUT = 3, 64
"""Lines beside the centre that are not judged, for nothing beside them is as large; and samples of
the readout, around its centre, that are looked at."""
MOST_COILS, FEW_COILS, FEWEST_LINES = 8, 3, 8
"""Virtual coils at most; coils up to which more lines are asked for a prediction; and judged lines
that it takes."""
_RIDGE, _ROUNDS, _EQUATIONS = 1e-5, 2, 3


class Prediction(NamedTuple):
    """Lines along the phase encode, in ascending order.

    Attributes
    ----------
    failed : tuple of int
        Those that the lines beside them do not predict.
    held : tuple of int
        Those that they do. Of all others nothing is known.
    """

    failed: tuple[int, ...]
    held: tuple[int, ...]


def predict_lines(kspace: torch.Tensor, mask: torch.Tensor, noise_std: float) -> Prediction:
    """Tell which lines along the phase encode those beside them predict.

    Parameters
    ----------
    kspace : torch.Tensor
        Complex64 (coils, H, W), whitened, its centre at H // 2, W // 2; zero outside the mask.
    mask : torch.Tensor
        Bool (W,) of whole lines. Of single points, (H, W), nothing is said.
    noise_std : float
        Per real component, in the units of `kspace`.

    Returns
    -------
    Prediction
        Nothing is known of a single coil.
    """
    if mask.ndim > 1 or len(kspace) == 1:  # of one coil, lines are hardly predicted
        return Prediction((), ())
    middle = kspace.shape[1] // 2
    data = kspace[:, max(0, middle - READOUT // 2) : middle + READOUT // 2].cpu()
    measured = mask.cpu().numpy()
    matrix = compression_matrix(data[..., measured].numpy(), min(MOST_COILS, len(data)))
    data = torch.tensordot(torch.as_tensor(matrix).to(data.dtype), data, dims=1)
    found: set[int] = set()
    judged: set[int] = set()
    for spacing in SPACINGS:
        scores = _scores(data, measured, noise_std, spacing)
        odd = {line for line in scores if scores[line] > WORSE * _usual(scores, line, spacing)}
        found |= {line for line in odd if {line - spacing, line + spacing} & odd} - judged
        judged |= scores.keys()
    return Prediction(tuple(sorted(found)), tuple(sorted(judged - found)))


def _usual(scores: dict[int, float], line: int, spacing: int) -> float:
    """Score of the lines around one, at least 1: near the centre it is larger all over."""
    nearby = [scores[k] for k in scores if 0 < abs(k - line) <= NEARBY * spacing]
    return max(1.0, float(np.median(nearby or [1.0])))


def _scores(
    data: torch.Tensor, measured: np.ndarray, noise_std: float, spacing: int
) -> dict[int, float]:
    """Squared error of the prediction of each line, over what is expected of it."""
    n_coils, height, width = data.shape
    reach, wide = (4, 1) if n_coils <= FEW_COILS and spacing == 1 else (2, 2)
    steps = [spacing * step for step in range(-reach, reach + 1)]
    ends = range(reach * spacing, width - reach * spacing)
    lines = [line for line in ends if abs(line - width // 2) > CENTER_LINES]
    lines = [line for line in lines if all(measured[line + step] for step in steps)]
    n_samples, n_unknown = height - 2 * wide, 2 * reach * (2 * wide + 1) * n_coils
    if len(lines) < FEWEST_LINES or len(lines) * n_samples < _EQUATIONS * n_unknown:
        return {}
    windows = data.unfold(1, n_samples, 1)  # (coils, places along the readout, W, samples)
    windows = torch.stack([windows[:, :, [k + step for k in lines]] for step in steps], dim=3)
    target = windows[:, wide, :, reach].permute(1, 2, 0)
    beside = torch.cat([windows[..., :reach, :], windows[..., reach + 1 :, :]], dim=3)
    beside = beside.permute(2, 4, 0, 1, 3).flatten(2)
    return dict(zip(lines, _misfit(beside, target, noise_std).tolist(), strict=True))


def _misfit(beside: torch.Tensor, target: torch.Tensor, noise_std: float) -> torch.Tensor:
    """Of the best prediction of `target` (lines, samples, coils), float64 (lines,)."""
    n_lines, n_samples, n_unknown = beside.shape
    freedom = n_lines * n_samples / (n_lines * n_samples - n_unknown)
    power = torch.cat([beside, target], dim=2).abs().double().square().mean((1, 2))
    expected = 2 * noise_std**2 + MAPS_ERROR**2 * power
    for _ in range(_ROUNDS):
        weighted = beside.mH / expected[:, None, None].to(beside.real.dtype)
        normal = (weighted @ beside).sum(0).to(torch.complex128)
        right = (weighted @ target).sum(0).to(torch.complex128)
        ridge = _RIDGE * normal.diagonal().real.mean()
        normal.diagonal().add_(ridge)
        combination = torch.linalg.solve(normal, right)
        noise = 2 * noise_std**2 * (1 + float(combination.abs().square().sum(0).mean()))
        rest = target - beside @ combination.to(beside.dtype)
        rest = freedom * rest.abs().double().square().mean((1, 2))
        error = float(((rest - noise).clamp_min(0) / power).median())
        expected = noise + max(error, MAPS_ERROR**2) * power
    return rest / expected
