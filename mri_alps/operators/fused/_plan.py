"""How a transform of a given length and mask is split into stages.

Coprime factors of the length need no twiddles between them (Good, J R Stat Soc B 20:361, 1958):
with element n at n_i (N / q_i) summed over the factors q_i, the transform is a small one along
each n_i, and output k sits at k mod q_i. Within a prime power the stages decimate in frequency.
The innermost factor turns the transform around: forward, times the mask, and backward in one
pass. Where little is sampled it is done as dense sums over the sampled outputs only, which is
also what handles large primes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from mri_alps.operators.fused import RADICES

# Nanoseconds per element, forward and backward, fitted to all plans of seven lengths from 256 to
# 384 on a Zen 3 core; only differences count.
_BASE = 5.0
_STAGE_COST = {2: 3.0, 3: 4.0, 4: 4.4, 5: 4.6, 7: 6.5, 8: 8.0}
_FIRST_EIGHT, _TWIDDLES = 4.0, 0.8
_TURN_COST = {2: 2.0, 3: 2.5, 4: 2.8, 5: 3.0, 7: 4.5, 8: 4.2}
_DENSE_LIMIT = 200


@dataclass(frozen=True)
class Stage:
    """One pass: `blocks` blocks of `radix` sub-blocks of `span` elements."""

    radix: int
    blocks: int
    span: int
    twiddles: np.ndarray | None  # complex, (span, radix - 1)


@dataclass(frozen=True)
class Plan:
    """Stages, the innermost factor, and where inputs and outputs are.

    Attributes
    ----------
    length : int
        Points of the transform.
    stages : tuple of Stage
        Forward passes, outermost first; backward they run in reverse order.
    inner : int
        The innermost factor.
    dense : bool
        Whether it is summed over sampled outputs only.
    inputs, outputs : np.ndarray
        (length,): the input and the frequency at each position.
    """

    length: int
    stages: tuple[Stage, ...]
    inner: int
    dense: bool
    inputs: np.ndarray
    outputs: np.ndarray


def make_plan(length: int, n_sampled: int, dense: bool = True) -> Plan | None:
    """Return the cheapest plan, or None if the length has no small enough factors.

    Parameters
    ----------
    length : int
        Points of the transform.
    n_sampled : int
        Outputs that are kept.
    dense : bool
        Whether the innermost factor may be summed densely.
    """
    found = cheapest(length, n_sampled, dense)
    return None if found is None else _build(length, *found[1:])


def can_be_split(length: int) -> bool:
    """Tell whether straight-line code covers all factors of a length."""
    return cheapest(length, length, False) is not None


@cache
def cheapest(
    length: int, n_sampled: int, may_be_dense: bool = True
) -> tuple[float, tuple[int, ...], int, bool] | None:
    """Return (cost, radices, inner factor, dense) of the cheapest split.

    The cost is in nanoseconds per element.
    """
    best: tuple[float, tuple[int, ...], int, bool] | None = None
    density = n_sampled / length
    for inner in (d for d in range(1, min(length, _DENSE_LIMIT) + 1) if length % d == 0):
        splits = _splits(length // inner)
        for radices, dense in itertools.product(splits, (False, True)[: 1 + may_be_dense]):
            if not radices or inner < 3 or not (dense or inner in RADICES):
                continue  # the kernel needs a first stage
            cost = _BASE + sum(_STAGE_COST[r] for r in radices)
            cost += _TWIDDLES * sum(g > 1 for g in _shared(radices, inner))
            cost += _FIRST_EIGHT * (radices[0] == 8)
            cost += _dense_cost(inner, density) if dense else _TURN_COST[inner]
            if best is None or cost < best[0]:
                best = (cost, radices, inner, dense)
    return best


def _dense_cost(inner: int, density: float) -> float:
    return 8.0 + 0.45 * density * inner + 60.0 / inner


@cache
def _splits(length: int) -> tuple[tuple[int, ...], ...]:
    """Return the ways to write a length as a product of radices, prime power by prime power."""
    groups = []
    for prime in (2, 3, 5, 7):
        power = 1
        while length % (power * prime) == 0:
            power *= prime
        length //= power
        if power > 1:
            groups.append(_power_splits(power, prime))
    if length > 1:
        return ()
    return tuple(tuple(itertools.chain(*choice)) for choice in itertools.product(*groups))


def _power_splits(power: int, prime: int) -> list[tuple[int, ...]]:
    if power == 1:
        return [()]
    return [
        (radix, *rest)
        for radix in RADICES
        if radix % prime == 0 and power % radix == 0
        for rest in _power_splits(power // radix, prime)
        if not rest or radix >= rest[0]
    ]


def _shared(radices: tuple[int, ...], inner: int) -> list[int]:
    """Return for each radix the common factor with what comes after it."""
    return [math.gcd(r, math.prod(radices[i + 1 :]) * inner) for i, r in enumerate(radices)]


def _groups(radices: tuple[int, ...], inner: int) -> list[list[int]]:
    """Sort radices into mutually coprime groups; the inner factor's comes last, with it."""
    groups: dict[int, list[int]] = {}
    for radix in radices:
        prime = next(p for p in (2, 3, 5, 7) if radix % p == 0)
        groups.setdefault(prime, []).append(radix)
    last = [radix for prime, group in groups.items() if inner % prime == 0 for radix in group]
    apart = [group for prime, group in groups.items() if inner % prime]
    return [*apart, [*last, inner]]


def _build(length: int, radices: tuple[int, ...], inner: int, dense: bool) -> Plan:
    groups = _groups(radices, inner)
    sizes = [math.prod(group) for group in groups]
    stages, rest = [], length
    for group, size in zip(groups, sizes, strict=True):
        rest //= size
        part = size
        for radix in group:
            span = part // radix * rest
            if not (group is groups[-1] and part == inner):
                stages.append(_stage(radix, length // (part * rest), span, part, rest))
            part //= radix
    inputs, outputs = _positions(length, groups, sizes)
    return Plan(length, tuple(stages), inner, dense, inputs, outputs)


def _stage(radix: int, blocks: int, span: int, part: int, rest: int) -> Stage:
    """Return a stage of a group of which `part` points are left, `rest` elements apart."""
    if part == radix:
        return Stage(radix, blocks, span, None)
    j = np.arange(span)[:, None] // rest
    twiddles = np.exp(-2j * np.pi * (j * np.arange(1, radix) % part) / part)
    return Stage(radix, blocks, span, twiddles)


def _positions(
    length: int, groups: list[list[int]], sizes: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.zeros(1, dtype=np.int64)
    residues: list[np.ndarray] = []
    for group, size in zip(groups, sizes, strict=True):
        inputs = (inputs[:, None] + np.arange(size) * (length // size)).reshape(-1) % length
        frequencies, step = np.zeros(1, dtype=np.int64), 1
        for radix in group:  # position: first radix slowest; frequency: first radix fastest
            frequencies = (frequencies[:, None] + step * np.arange(radix)).reshape(-1)
            step *= radix
        residues = [np.repeat(r, size) for r in residues] + [
            np.tile(frequencies, len(inputs) // size)
        ]
    outputs = np.zeros(length, dtype=np.int64)
    for residue, size in zip(residues, sizes, strict=True):
        other = length // size
        outputs += residue * other * pow(other, -1, size) if size > 1 else 0
    return inputs, outputs % length
