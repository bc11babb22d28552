"""Delay and phase between lines of opposite directions, from the lines of the image themselves.

Neighbourhoods of k-space samples of all coils are linear combinations of a few (ESPIRiT, SAKE): a
matrix with a neighbourhood a row has a low rank. Where every second line is shifted against the
others it has not, and the shift that brings the rank down is the right one (Peterson et al. 2015,
Proc. ISMRM 23:75; Lobos et al. 2018, IEEE Trans. Med. Imaging 37:2390). The rank is measured by
the logarithm of the determinant of its Gram matrix with the noise's added, which is as smooth as
the shift, and works for one coil, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mri_alps.rawdata.decoupling import readout_to_image

_KERNEL = (5, 4)
"""Samples of a neighbourhood along readout and phase encode."""
_COLUMNS, _ROWS = 32, 36
_VIRTUAL_COILS = 4
_LONGEST_DELAY = 2.0
_STEP = 0.25
_PHASES = 32
_COARSE_DELAYS = (-1.0, -0.5, -0.1, 0.1, 0.5, 1.0)
_COARSE_PHASES = np.array([-3, -2, -1, 1, 2, 3, 4]) * (np.pi / 8)
JUDGED = 3.0
"""Natural logarithms by which the best shift has to be likelier than the middle of all of them."""
GAINED = 0.15
"""The same against none, below which there is none: lines that fit each other gain up to 0.05."""


@dataclass(frozen=True)
class Judgement:
    """What the data say of delay and phase.

    Parameters
    ----------
    delay, phase : float
        As in `Difference`.
    gain : float
        Natural logarithms by which this is likelier than no shift at all.
    contrast : float
        The same against the shift that is in the middle of all that were tried.
    is_sure_of_sign : bool
        Whether the phase is known to more than a half turn, which moves the image by half a field
        of view.
    """

    delay: float
    phase: float
    gain: float
    contrast: float
    is_sure_of_sign: bool

    @property
    def is_certain(self) -> bool:
        """Whether the data tell anything."""
        return self.contrast >= JUDGED


@dataclass(frozen=True)
class DirectedSlice:
    """k-space of a slice, lines of both directions apart.

    Parameters
    ----------
    forward, backward : numpy.ndarray
        Complex (coil, readout, phase_encode), zero where there is no such line.
    is_forward, is_backward : numpy.ndarray
        bool (phase_encode,).
    """

    forward: np.ndarray
    backward: np.ndarray
    is_forward: np.ndarray
    is_backward: np.ndarray


def judge_directions(slices: Sequence[DirectedSlice], noise_variance: float | None) -> Judgement:
    """Find the delay and phase that bring the lines of some slices together.

    Parameters
    ----------
    slices : sequence of DirectedSlice
        Those of one scan, which have both in common.
    noise_variance : float or None
        Of a complex sample; estimated from the edges of k-space if None.
    """
    costs = [_Cost(each, noise_variance) for each in slices]
    costs = [cost for cost in costs if cost.is_usable]
    if not costs:
        return Judgement(0.0, 0.0, 0.0, 0.0, False)
    n_delays = int(_LONGEST_DELAY / _STEP)
    delays = np.arange(-n_delays, n_delays + 1) * _STEP
    phases = (np.arange(_PHASES) - _PHASES // 2) * (2 * np.pi / _PHASES)
    table = np.array([costs[0].at(delay, phases) for delay in delays])
    row, column = np.unravel_index(table.argmin(), table.shape)
    start = np.array([delays[row], phases[column]])

    def total(shift: np.ndarray) -> float:
        return sum(float(cost.at(shift[0], shift[1:])[0]) for cost in costs)

    simplex = start + np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]])
    from scipy.optimize import minimize  # which most files need not wait for

    found = minimize(
        total,
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-3, "initial_simplex": simplex, "maxiter": 200},
    )
    delay, phase = (float(value) for value in found.x)
    phase = float((phase + np.pi) % (2 * np.pi) - np.pi)
    is_sure = True
    if all(cost.alternates for cost in costs):
        phase, is_sure = _half_turn(phase, delay, costs)
    gain = total(np.zeros(2)) - found.fun
    return Judgement(delay, phase, float(gain), float(np.median(table) - table.min()), is_sure)


def lines_fit(data: DirectedSlice, gain: float) -> bool:
    """Return whether the lines of a slice fit each other as they are, at a small part of the cost.

    Parameters
    ----------
    data : DirectedSlice
        Lines that alternate.
    gain : float
        Natural logarithms by which none of a few delays and phases may be likelier than none.
    """
    cost = _Cost(data, None, n_virtual_coils=2)
    if not cost.is_usable:
        return True
    turned = cost.at(0.0, np.r_[0.0, -0.05, 0.05, _COARSE_PHASES])
    moved = [cost.at(delay, np.r_[0.0, _COARSE_PHASES]).min() for delay in _COARSE_DELAYS]
    return bool(min(turned.min(), *moved) > turned[0] - gain)


def ghost_of(delay: float, phase: float, n_readout: int) -> float:
    """Return the ghost over the image that is left where nothing is corrected.

    Parameters
    ----------
    delay, phase : float
        Samples and radians by which the lines of one direction differ from the others.
    n_readout : int
        Samples of the readout.
    """
    place = (np.arange(n_readout) - n_readout // 2) / n_readout
    half = 0.5 * (phase + 2 * np.pi * delay * place)
    return float(np.sqrt(np.mean(np.sin(half) ** 2)))


def _half_turn(phase: float, delay: float, costs: Sequence[_Cost]) -> tuple[float, bool]:
    """Choose between a phase and its opposite: that which leaves the object in the middle."""
    other = phase - np.copysign(np.pi, phase)
    small, large = sorted((phase, other), key=abs)
    places = [cost.place_of_energy(delay, small) for cost in costs]
    if any(place is None for place in places):
        return small, False
    place = float(np.mean([place for place in places if place is not None]))
    if abs(place) < 0.1:
        return small, False
    return (small, True) if place > 0 else (large, True)


class _Cost:
    """Minus the logarithm of the likelihood of a shift, of one slice, up to a constant."""

    def __init__(
        self,
        data: DirectedSlice,
        noise_variance: float | None,
        n_virtual_coils: int = _VIRTUAL_COILS,
    ):
        either = data.is_forward | data.is_backward
        self._rows = _comb(either)
        n = data.forward.shape[1]
        self._columns = np.arange(max(0, n // 2 - _COLUMNS // 2), min(n, n // 2 + _COLUMNS // 2))
        backward = data.is_backward[self._rows]
        enough = len(self._rows) >= 2 * _KERNEL[1] and len(self._columns) >= 2 * _KERNEL[0]
        self.is_usable = enough and backward.any() and not backward.all()
        if not self.is_usable:
            return
        self.alternates = bool((backward[1:] != backward[:-1]).all())
        self._is_full = len(self._rows) > 1 and self._rows[1] - self._rows[0] == 1
        pair = np.stack([data.forward, data.backward])[..., self._rows].astype(np.complex128)
        if noise_variance is None:
            edge = max(2, n // 16)
            power = abs(pair.sum(axis=0)[:, np.r_[:edge, n - edge : n]]) ** 2
            noise_variance = float(np.median(power) / np.log(2))
        pair = _compressed(pair, n_virtual_coils)
        self._place = (np.arange(n) - n // 2) / n
        self._backward = readout_to_image(pair[1], 1)
        self._forward = pair[0]
        self._patches = _patches(pair[0][:, self._columns])
        self._gram = self._patches.conj().T @ self._patches
        scale = np.trace(self._gram).real / len(self._gram)
        floor = max(noise_variance * len(self._patches), 1e-9 * scale)
        self._gram += floor * np.eye(len(self._gram))

    def _shifted(self, delay: float) -> np.ndarray:
        image = self._backward * np.exp(-2j * np.pi * delay * self._place)[:, np.newaxis]
        shifted = np.fft.fft(np.fft.ifftshift(image, axes=1), axis=1, norm="ortho")
        return np.fft.fftshift(shifted, axes=1)

    def at(self, delay: float, phases: np.ndarray) -> np.ndarray:
        """Return the cost for a delay and some phases."""
        patches = _patches(self._shifted(delay)[:, self._columns])
        gram = self._gram + patches.conj().T @ patches
        cross = self._patches.conj().T @ patches
        found = []
        for phase in phases:
            turned = np.exp(-1j * phase) * cross
            factor = np.linalg.cholesky(gram + turned + turned.conj().T)
            found.append(2 * np.log(np.diag(factor).real).sum())
        return np.array(found)

    def place_of_energy(self, delay: float, phase: float) -> float | None:
        """Return where the energy is: 1 in the middle of the phase encode, -1 at its edges."""
        if not self._is_full:
            return None  # folded, so that the middle is not the middle
        kspace = (self._forward + np.exp(-1j * phase) * self._shifted(delay))[:, self._columns]
        image = readout_to_image(readout_to_image(kspace, 1), 2)
        energy = (abs(image) ** 2).sum(axis=(0, 1))
        n = len(energy)
        turn = np.cos(2 * np.pi * (np.arange(n) - n // 2) / n)
        return float((energy * turn).sum() / energy.sum())


def _comb(measured: np.ndarray) -> np.ndarray:
    """Return the rows next to the centre, equally spaced and without a gap."""
    center, best = len(measured) // 2, np.zeros(0, np.int64)
    for spacing in range(1, 7):
        for offset in range(spacing):
            rows = np.arange((center + offset) % spacing, len(measured), spacing)
            gaps = np.flatnonzero(~measured[rows])
            runs = np.split(rows, gaps)
            runs = [run if measured[run[0]] else run[1:] for run in runs if len(run)]
            run = max(runs, key=lambda r: _nearness(r, center), default=best)
            near = run[np.sort(np.argsort(abs(run - center), kind="stable")[:_ROWS])]
            if len(near) > len(best) + (4 if spacing > 1 else 0):
                best = near
    return best


def _nearness(run: np.ndarray, center: int) -> float:
    return -np.inf if not len(run) else len(run) - 2.0 * float(abs(run - center).min())


def _compressed(pair: np.ndarray, n_virtual_coils: int) -> np.ndarray:
    """Return the virtual coils with most energy: complex (2, virtual coil, readout, row)."""
    flat = np.moveaxis(pair, 1, 0).reshape(pair.shape[1], -1)
    _, vectors = np.linalg.eigh(flat @ flat.conj().T)
    kept = vectors[:, ::-1][:, :n_virtual_coils]
    return np.einsum("cv,pcxy->pvxy", kept.conj(), pair)


def _patches(block: np.ndarray) -> np.ndarray:
    """Return the neighbourhoods of a block (coil, readout, row), a row each."""
    windows = np.lib.stride_tricks.sliding_window_view(block, _KERNEL, axis=(1, 2))
    return np.moveaxis(windows, 0, 2).reshape(windows.shape[1] * windows.shape[2], -1)
