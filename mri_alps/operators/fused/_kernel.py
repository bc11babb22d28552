"""A^H A for blocks of image rows: numba functions that run the stages of a transform.

A `Transform` is the numba view of a plan: columns (twice the image column of each position, -1
for padding), stages (radix, blocks, span, start of its twiddles or -1), twiddles, the table of
cosines and sines, members and bounds (sampled outputs of each innermost block), weights, the
innermost factor, and whether it is summed densely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba

from mri_alps.operators.fused import ELEMENT, LANES
from mri_alps.operators.fused._butterflies import (
    backward_stage,
    forward_stage,
    turning_plane_stage,
    turning_stage,
    weighted_backward_stage,
    weighted_forward_stage,
)
from mri_alps.operators.fused._dense import sampled_block
from mri_alps.operators.fused._vectors import gather_column, scatter_column, transpose

if TYPE_CHECKING:
    import numpy as np

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


class Transform(NamedTuple):
    """What the kernels need to know of one axis."""

    columns: np.ndarray
    stages: np.ndarray
    twiddles: np.ndarray
    table: np.ndarray
    members: np.ndarray
    bounds: np.ndarray
    weights: np.ndarray
    inner: int
    dense: bool


@numba.njit(**OPTIONS)
def gather(image, rows, columns, lanes, start):
    """Copy eight rows into lanes; `rows` and `columns` are offsets, and zeros where negative."""
    whole = rows.min() >= 0
    for position in range(len(columns)):
        o = start + position * ELEMENT
        column = columns[position]
        if whole and column >= 0:
            gather_column(image, rows, column, lanes, o)
            continue
        for lane in range(LANES):
            s = rows[lane] + column
            if column >= 0 and rows[lane] >= 0:
                lanes[o + lane] = image[s]
                lanes[o + LANES + lane] = image[s + 1]
            else:
                lanes[o + lane] = 0
                lanes[o + LANES + lane] = 0


@numba.njit(**OPTIONS)
def scatter(lanes, start, rows, columns, image):
    """Copy lanes back into rows."""
    whole = rows.min() >= 0
    for position in range(len(columns)):
        o = start + position * ELEMENT
        column = columns[position]
        if whole and column >= 0:
            scatter_column(lanes, o, image, rows, column)
            continue
        for lane in range(LANES):
            s = rows[lane] + column
            if column >= 0 and rows[lane] >= 0:
                image[s] = lanes[o + lane]
                image[s + 1] = lanes[o + LANES + lane]


@numba.njit(**OPTIONS)
def enter(lanes, start, maps, maps_start, buffer, axis):
    """Run the first stage of `maps` times `lanes`."""
    stages, twiddles = axis.stages, axis.twiddles
    weighted_forward_stage(
        lanes, start, maps, maps_start, buffer, stages[0, 2], stages[0, 0], twiddles, stages[0, 3]
    )


@numba.njit(**OPTIONS)
def leave(buffer, maps, maps_start, totals, start, axis):
    """Run the last stage back and add conj(`maps`) times the result to `totals`."""
    stages, twiddles = axis.stages, axis.twiddles
    weighted_backward_stage(
        buffer, maps, maps_start, totals, start, stages[0, 2], stages[0, 0], twiddles, stages[0, 3]
    )


@numba.njit(**OPTIONS)
def forward(buffer, start, axis, first, part):
    """Run the stages from `first` on, on one of `part` equal parts of the transform."""
    stages, twiddles = axis.stages, axis.twiddles
    for s in range(first, len(stages)):
        blocks, span, radix, twiddle = stages[s, 1], stages[s, 2], stages[s, 0], stages[s, 3]
        forward_stage(buffer, start, blocks // part, span, radix, twiddles, twiddle)


@numba.njit(**OPTIONS)
def backward(buffer, start, axis, first, part):
    """Run the inverse stages from the last down to `first`, on one of `part` parts."""
    stages, twiddles = axis.stages, axis.twiddles
    for s in range(len(stages) - 1, first - 1, -1):
        blocks, span, radix, twiddle = stages[s, 1], stages[s, 2], stages[s, 0], stages[s, 3]
        backward_stage(buffer, start, blocks // part, span, radix, twiddles, twiddle)


@numba.njit(**OPTIONS)
def turn(buffer, first, stop, axis, scratch):
    """The innermost factor for some of its blocks: forward, times the weights, backward."""
    inner = axis.inner
    if not axis.dense:
        start = first * inner
        turning_stage(buffer, start * ELEMENT, stop - first, inner, axis.weights, start)
        return
    for k in range(first, stop):
        sampled_block(
            buffer,
            k * inner * ELEMENT,
            inner,
            axis.table,
            axis.members,
            axis.weights,
            axis.bounds[k],
            axis.bounds[k + 1],
            scratch,
        )


@numba.njit(**OPTIONS)
def convolve(buffer, axis, scratch):
    """All that is between the first stage and the last.

    After the first stage its sub-blocks do not mix any more: each is finished while it is in
    the first-level cache.
    """
    part = axis.stages[0, 0]
    size = len(axis.columns) // part
    n_blocks = size // axis.inner
    for k in range(part):
        forward(buffer, k * size * ELEMENT, axis, 1, part)
        turn(buffer, k * n_blocks, (k + 1) * n_blocks, axis, scratch)
        backward(buffer, k * size * ELEMENT, axis, 1, part)


@numba.njit(**OPTIONS)
def exchange(source, start, target, target_start):
    """Copy eight elements of eight lanes, lanes and elements exchanged."""
    transpose(source, start, ELEMENT, target, target_start, ELEMENT)
    transpose(source, start + LANES, ELEMENT, target, target_start + LANES, ELEMENT)


def line_normal(images, result, strides, maps, rows, axis, work, first_block, stop_block, n_coils):
    """A^H A of several images for some blocks of rows, with a mask along the rows.

    `strides` are the offsets of the images, `rows` those of the rows, -1 for padding.
    """
    size = len(axis.columns) * ELEMENT
    n_images = len(strides)
    buffer = work[:size]
    lanes = work[size : size * (1 + n_images)]
    totals = work[size * (1 + n_images) : size * (1 + 2 * n_images)]
    scratch = work[size * (1 + 2 * n_images) :]
    for block in range(first_block, stop_block):
        own_rows = rows[block * LANES : (block + 1) * LANES]
        totals[:] = 0
        for i in range(n_images):
            gather(images[strides[i] :], own_rows, axis.columns, lanes, i * size)
        for coil in range(n_coils):
            m = (block * n_coils + coil) * size
            for i in range(n_images):
                enter(lanes, i * size, maps, m, buffer, axis)
                convolve(buffer, axis, scratch)
                leave(buffer, maps, m, totals, i * size, axis)
        for i in range(n_images):
            scatter(totals, i * size, own_rows, axis.columns, result[strides[i] :])


def plane_normal(image, maps, rows, along, across, work, first_coil, stop_coil, n_coils):
    """A^H A of one image for some coils, mask along both axes; left in the lanes `totals`.

    `along` transforms the rows. Between the axes, 8 x 8 tiles are transposed, so that the lanes
    are always what a transform does not run along. Its weights are (stripe, element, lane).
    """
    width, height = len(along.columns), len(across.columns)
    size, n_blocks = width * ELEMENT, len(rows) // LANES
    n_stripes = -(-width // LANES)
    n_padded, tile = n_stripes * LANES * ELEMENT, LANES * ELEMENT
    stripe = n_blocks * tile
    totals = work[: n_blocks * size]
    lanes = work[n_blocks * size : 2 * n_blocks * size]
    buffer = work[2 * n_blocks * size : 2 * n_blocks * size + n_padded]
    spectrum = work[2 * n_blocks * size + n_padded :]
    totals[:] = 0
    buffer[:] = 0
    for block in range(n_blocks):
        own_rows = rows[block * LANES : (block + 1) * LANES]
        gather(image, own_rows, along.columns, lanes, block * size)
    for coil in range(first_coil, stop_coil):
        for block in range(n_blocks):
            m = (block * n_coils + coil) * size
            enter(lanes, block * size, maps, m, buffer, along)
            forward(buffer, 0, along, 1, 1)
            for k in range(n_stripes):
                exchange(buffer, k * tile, spectrum, k * stripe + block * tile)
        for k in range(n_stripes):
            forward(spectrum, k * stripe, across, 0, 1)
            turning_plane_stage(
                spectrum,
                k * stripe,
                height // across.inner,
                across.inner,
                across.weights,
                k * height * LANES,
            )
            backward(spectrum, k * stripe, across, 0, 1)
        for block in range(n_blocks):
            m = (block * n_coils + coil) * size
            for k in range(n_stripes):
                exchange(spectrum, k * stripe + block * tile, buffer, k * tile)
            backward(buffer, 0, along, 1, 1)
            leave(buffer, maps, m, totals, block * size, along)
