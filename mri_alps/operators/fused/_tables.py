"""Plans, masks and maps as the arrays that the kernels read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mri_alps.operators.fused import ELEMENT, LANES
from mri_alps.operators.fused._plan import Plan, Stage, cheapest, make_plan


@dataclass(frozen=True)
class Axis:
    """A transform along one image axis, and the weights of its outputs.

    Attributes
    ----------
    plan : Plan
        The transform.
    inputs : np.ndarray
        (length,), the image index at each position; -1 for padding.
    arrays : dict
        Fields of `kernel.Transform`, but for the columns.
    scratch : int
        Numbers of scratch space that the innermost factor needs.
    """

    plan: Plan
    inputs: np.ndarray
    arrays: dict[str, np.ndarray]
    scratch: int

    def fields(self, stride: int) -> dict[str, Any]:
        """Return the fields of `kernel.Transform`, for image points `stride` numbers apart."""
        columns = np.where(self.inputs < 0, -1, self.inputs * stride)
        return {
            "columns": columns,
            **self.arrays,
            "inner": self.plan.inner,
            "dense": self.plan.dense,
        }


def convolution(mask: np.ndarray, dtype: np.dtype) -> Axis:
    """Return the convolution with the point-spread function of a mask along one axis.

    Parameters
    ----------
    mask : np.ndarray
        Boolean, or real factors, (W,), zero frequency first.
    dtype : np.dtype
        float32 or float64.

    Notes
    -----
    The circular convolution is done at length W, or, where W's factors are too large, embedded
    in one of length L >= 2 W - 1: the kernel at the lags -(W - 1) .. W - 1 is what counts.
    """
    width, n_sampled = len(mask), int(np.count_nonzero(mask))
    longer = min(
        (n for n in range(max(2 * width - 1, 6), 3 * width + 12) if cheapest(n, n)),
        key=lambda n: cheapest(n, n)[0] * n,  # type: ignore[index]
    )
    direct = cheapest(width, n_sampled)
    if direct is not None and direct[0] * width <= cheapest(longer, longer)[0] * longer:  # type: ignore[index]
        plan = make_plan(width, n_sampled)
        assert plan is not None
        return _axis(plan, plan.inputs, mask[plan.outputs] / width, dtype)
    plan = make_plan(longer, longer)
    assert plan is not None
    spread = np.zeros(longer, dtype=np.complex128)
    kernel = np.fft.ifft(mask)
    spread[:width] = kernel
    spread[longer - width + 1 :] = kernel[1:]
    weights = np.fft.fft(spread).real / longer  # real, as the kernel is Hermitian
    inputs = np.where(plan.inputs < width, plan.inputs, -1)
    return _axis(plan, inputs, weights[plan.outputs], dtype)


def plane_axes(mask: np.ndarray, dtype: np.dtype) -> tuple[Axis, Axis] | None:
    """Return the transforms (along rows, across) of a mask along both axes.

    Parameters
    ----------
    mask : np.ndarray
        Boolean, or real factors, (H, W), zero frequency first.
    dtype : np.dtype
        float32 or float64.

    Returns
    -------
    tuple of Axis or None
        The weights are with the second axis, (stripe, element, lane). None if a length has
        factors for which there is no straight-line code.
    """
    height, width = mask.shape
    along, across = make_plan(width, width, dense=False), make_plan(height, height, dense=False)
    if along is None or across is None:
        return None
    n_stripes = -(-width // LANES)
    weights = np.zeros((height, n_stripes * LANES))
    weights[:, :width] = mask[across.outputs][:, along.outputs] / (height * width)
    stripes = weights.reshape(height, n_stripes, LANES).transpose(1, 0, 2)
    return (
        _axis(_all_stages(along), along.inputs, np.zeros(1), dtype),
        _axis(across, across.inputs, stripes.reshape(-1), dtype),
    )


def pack_maps(maps: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """Return the maps in the order of the kernels, real.

    Parameters
    ----------
    maps : torch.Tensor
        Complex, (coils, H, W).
    rows, columns : np.ndarray
        Image row of each lane and column of each position, -1 for padding; the number of rows is
        a multiple of eight.

    Returns
    -------
    torch.Tensor
        (blocks, coils, positions, 2, lanes), contiguous.
    """
    n_coils, n_blocks = maps.shape[0], len(rows) // LANES
    real_dtype = maps.dtype.to_real()
    packed = torch.zeros(n_blocks, n_coils, len(columns), 2, LANES, dtype=real_dtype)
    row_index = torch.from_numpy(rows.clip(0))
    column_index = torch.from_numpy(columns.clip(0))
    inside = torch.from_numpy((rows >= 0)[:, None] & (columns >= 0)).unsqueeze(-1)
    for coil in range(n_coils):
        picked = torch.view_as_real(maps[coil].resolve_conj()[row_index][:, column_index])
        picked = torch.where(inside, picked, torch.zeros((), dtype=real_dtype))
        lanes = picked.reshape(n_blocks, LANES, len(columns), 2)
        packed[:, coil] = lanes.permute(0, 2, 3, 1)
    return packed


def pad_to_lanes(indices: np.ndarray) -> np.ndarray:
    """Return `indices` followed by as many -1 as make the length a multiple of eight."""
    return np.concatenate([indices, np.full(-len(indices) % LANES, -1, dtype=np.int64)])


def _all_stages(plan: Plan) -> Plan:
    """Return a plan whose innermost factor is one more stage."""
    innermost = Stage(plan.inner, plan.length // plan.inner, 1, None)
    return Plan(plan.length, (*plan.stages, innermost), 1, False, plan.inputs, plan.outputs)


def _axis(plan: Plan, inputs: np.ndarray, weights: np.ndarray, dtype: np.dtype) -> Axis:
    stages, twiddles, start = [], [], 0
    for stage in plan.stages:
        found = stage.twiddles
        stages.append((stage.radix, stage.blocks, stage.span, -1 if found is None else start))
        if found is not None:
            twiddles.append(found.reshape(-1).view(np.float64))
            start += 2 * found.size
    members, bounds = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    table, scratch = np.zeros(1), 0
    if plan.dense:
        blocks = weights.reshape(-1, plan.inner)
        counts = np.count_nonzero(blocks, axis=1)
        members = np.nonzero(blocks)[1]
        bounds = np.array([0, *itertools.accumulate(counts)], dtype=np.int64)
        weights = blocks[blocks != 0]
        table = _dense_table(plan.inner)
        scratch = (plan.inner // 2 * 2 + int(counts.max())) * ELEMENT
    real = {"twiddles": np.concatenate([*twiddles, np.zeros(1)]), "table": table}
    arrays = {
        "stages": np.array(stages, dtype=np.int64).reshape(-1, 4),
        "twiddles": real["twiddles"].astype(dtype),
        "table": real["table"].astype(dtype),
        "members": members.astype(np.int64),
        "bounds": bounds,
        "weights": np.ascontiguousarray(weights, dtype=dtype),
    }
    return Axis(plan, inputs, arrays, scratch)


def _dense_table(n: int) -> np.ndarray:
    """Return (cos, sin) of 2 pi j m / n for the outputs m and the pairs j = 1 .. n / 2."""
    turns = np.arange(n)[:, None] * np.arange(1, n // 2 + 1) % n
    angles = 2 * np.pi * turns / n
    sines = np.where(2 * turns % n == 0, 0.0, np.sin(angles))
    return np.stack([np.cos(angles), sines], axis=-1).reshape(-1)
