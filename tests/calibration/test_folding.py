"""Objects larger than the field of view, and sets of maps that say so."""

import warnings

import numpy as np
import pytest

from mri_alps.calibration import prepare_slice
from mri_alps.calibration.chain.mapped import _needs_second_set
from mri_alps.calibration.folding import FOLDED_SHARE, Folding, find_folding
from mri_alps.calibration.sensitivity import local_operators
from mri_alps.core.errors import MriAlpsWarning
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (56, 64)


def fold(extent, axis=1, n_coils=6, level=0.01):
    """A scan whose object has `extent` times the size of its field of view along an axis.

    Simulated in twice the field of view, of whose k-space every second line is measured. Returns
    also the true maps, of both places where two share a pixel.
    """
    doubled = tuple(n * (1 + (a == axis)) for a, n in enumerate(SHAPE))
    ends = [1.0, 1.0]
    ends[axis] = 2.0
    y, x = np.meshgrid(
        *(np.linspace(-end, end, n) for end, n in zip(ends, doubled, strict=True)), indexing="ij"
    )
    radii = [0.8, 0.8]
    radii[axis] = extent
    inside = np.hypot(y / radii[0], x / radii[1]) < 1
    image = (1 + 0.3 * np.cos(9 * x) * np.cos(7 * y)) * np.exp(1j * (0.5 * y + 0.8 * x * y))
    angles = 2 * np.pi * np.arange(n_coils)[:, None, None] / n_coils + 0.3
    distance = np.hypot(y - 1.2 * extent * np.cos(angles), x - 1.2 * extent * np.sin(angles))
    phase = angles + 0.8 * (np.cos(angles) * y + np.sin(angles) * x)
    maps = np.exp(1j * phase) / (1 + distance**2) ** 1.5
    every_second = (slice(None),) * (1 + axis) + (slice(None, None, 2),)
    kspace = simulation.fft2c(image * inside * maps)[every_second]
    matrix = level**2 * simulation.covariance(n_coils, np.random.default_rng(0))
    kspace = kspace + simulation.noise(matrix, SHAPE, np.random.default_rng(1))
    raw = raw_from_arrays(kspace[None].astype(np.complex64), noise_covariance=matrix)
    n = SHAPE[axis]
    halves = np.roll(maps * inside, -(n // 2), 1 + axis)  # the field of view, then what folds
    return raw, np.stack([np.take(halves, np.arange(n) + k * n, 1 + axis) for k in (0, 1)])


def mask(acceleration):
    if acceleration == 1:
        return None
    return simulation.lines(SHAPE[1], acceleration, 16)[None]


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_object_larger_than_the_field_of_view_is_told_of(axis, acceleration):
    raw, _ = fold(1.3, axis)
    with pytest.warns(MriAlpsWarning) as told:
        found = prepare_slice(raw, 0, mask(acceleration), n_maps=1)
    assert found.n_sets == 1
    folding, size = found.info["folding"], SHAPE[axis]
    assert folding["axis"] == axis and folding["share"] > FOLDED_SHARE
    # 0.15 of the field of view at either border, widest where the object is.
    assert 0.05 * size < folding["last"] + 1 < 0.35 * size
    assert 0.05 * size < size - folding["first"] < 0.35 * size
    name = ("readout", "phase encode")[axis]
    sentences = [str(one.message) for one in told]
    expected = f"smaller than the object along the {name}, near {('rows', 'columns')[axis]}"
    assert sum(expected in sentence for sentence in sentences) == 1


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize("n_coils, radius", [(4, 0.9), (8, 0.6)])
def test_an_object_within_the_field_of_view_is_not(n_coils, radius, acceleration):
    kspace, _, _, matrix = simulation.acquisition(n_coils, SHAPE, 0.01, radius=radius)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prepare_slice(raw, 0, mask(acceleration))
    assert found.info["folding"]["share"] < FOLDED_SHARE / 2


def test_signal_is_needed_besides_a_second_eigenvalue():
    """An object that fills the field of view: kernels do not resolve the border."""
    raw, _ = fold(0.99, level=0.001)
    found = find_folding(local_operators(raw.read_slice(0) * 1000, SHAPE))
    assert found.part > 0.03 and not found.is_smaller_field_of_view


def test_an_object_that_fills_the_view_has_a_second_set_for_its_border():
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image = (np.abs(y) < 0.7) * (1 - 0.6 * x**2) * np.exp(1j * (0.5 * y + 0.8 * x))
    angle = 2 * np.pi * np.arange(8)[:, None, None] / 8
    away = (y - 1.2 * np.cos(angle)) ** 2 + (x - 1.2 * np.sin(angle)) ** 2
    maps = np.exp(1j * (angle + np.cos(angle) * y + np.sin(angle) * x)) / (1 + away / 0.7) ** 1.5
    matrix = 0.005**2 * np.eye(8)
    noise = simulation.noise(matrix, SHAPE, np.random.default_rng(0))
    kspace = (simulation.fft2c(image * maps) + noise).astype(np.complex64)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prepare_slice(raw, 0, mask(4))
    folding = Folding(**found.info["folding"])
    assert folding.reaches_border and not folding.is_smaller_field_of_view
    assert found.n_sets == 2
    assert any("the object fills the field of view" in note for note in found.info["notes"])


@pytest.mark.parametrize("share, axis, border, expected", [
    (0.02, 1, 0.8, True), (0.02, 0, 0.8, False), (0.02, 1, 0.2, False), (0.005, 1, 0.8, False),
    (0.06, 0, 0.2, True),
])  # fmt: skip
def test_when_a_second_set_is_needed(share, axis, border, expected):
    raw, _ = fold(0.8)
    assert raw.axes == ("readout", "phase_encode")
    assert _needs_second_set(Folding(share, axis, 0, 0, 0.1, border), raw) == expected


def test_the_second_of_two_given_sets_is_left_out_where_it_has_no_signal():
    kspace, _, maps, matrix = simulation.acquisition(6, SHAPE, 0.01)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    sets = np.stack([maps, np.roll(maps, 1, 0)])  # everywhere, as bart ecalib -c0 leaves it
    found = prepare_slice(raw, 0, sensitivity_maps=sets)
    assert found.n_sets == 1 and found.info["n_maps"] == 1
    assert len(found.info["notes"]) == 1
    assert (
        "of 2 sets of sensitivity maps that were given the first is used" in found.info["notes"][0]
    )
