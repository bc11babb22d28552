"""Lines that the lines beside them do not predict: motion between them, without maps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mri_alps.calibration import doubts
from mri_alps.calibration.line_prediction import _scores, predict_lines
from mri_alps.calibration.line_weights import MAPS_ERROR
from mri_alps.core.random import standard_normal
from tests.calibration import calibration_simulation as simulation

SHAPE, LEVEL = (64, 72), 0.005
FIRST, END = 28, 44  # lines that are measured before the object moves


def scan(n_coils, shift=0, acceleration=1, corrupted=()):
    """Lines of an object that moves by `shift` pixels, and which of them are measured."""
    image, maps = simulation.disc(SHAPE, 0.7), simulation.coils(n_coils, SHAPE)
    kspace = simulation.fft2c(np.roll(image, shift, 1) * maps)
    kspace[..., FIRST:END] = simulation.fft2c(image * maps)[..., FIRST:END]
    kspace[..., list(corrupted)] *= 1.5j
    matrix = LEVEL**2 * np.eye(n_coils)
    kspace = kspace + simulation.noise(matrix, SHAPE, np.random.default_rng(3))
    mask = np.arange(SHAPE[1]) % acceleration == 0
    mask[FIRST:END] = True
    return torch.as_tensor(kspace * mask).to(torch.complex64), torch.as_tensor(mask)


@pytest.mark.parametrize("n_coils, acceleration", [(2, 1), (4, 1), (8, 1), (8, 2)])
def test_lines_next_to_a_motion_are_found_and_no_others(n_coils, acceleration):
    assert predict_lines(*scan(n_coils, 0, acceleration), LEVEL).failed == ()
    found = predict_lines(*scan(n_coils, 5, acceleration), LEVEL).failed
    reach = (4 if n_coils == 2 else 2) * acceleration
    assert found
    assert all(min(abs(k - FIRST + 0.5), abs(k - END + 0.5)) < reach for k in found)


def test_lines_that_hold_are_known_and_those_that_nothing_is_known_of_are_none_of_them():
    kspace, mask = scan(8, 5)
    failed, held = predict_lines(kspace, mask, LEVEL)
    assert failed and not set(failed) & set(held)
    ends, centre = {0, 1, SHAPE[1] - 1}, {SHAPE[1] // 2}
    assert not (ends | centre) & set(held) and len(held) > SHAPE[1] / 2


def test_lines_that_are_predicted_are_not_told_because_maps_do_not_explain_them():
    kspace, mask = scan(8)
    mapped = SimpleNamespace(folding=None)
    scaled = SimpleNamespace(
        whitened=SimpleNamespace(name="scan"), mapped=mapped, kspace=kspace, mask=mask,
        noise_std=LEVEL, trajectory=None,
    )  # fmt: skip
    held = predict_lines(kspace, mask, LEVEL).held
    assert doubts._lines(scaled, held[:5]) == []
    assert "line 0 along" in doubts._lines(scaled, (0, *held[:5]))[0]


def test_a_corrupted_line_is_found_with_those_that_it_predicts():
    found = predict_lines(*scan(8, corrupted=(20,)), LEVEL).failed
    assert 20 in found and set(found) <= set(range(18, 23))


def test_noise_alone_is_predicted_as_well_as_noise_can_be():
    noise = LEVEL * standard_normal((4, 64, 72), torch.Generator().manual_seed(0), torch.complex64)
    scores = np.array(list(_scores(noise, np.ones(72, bool), LEVEL, 1).values()))
    # Squares of 4 x 60 complex samples a line, of 61 lines, over 1 + MAPS_ERROR^2 of the power.
    assert abs(scores.mean() * (1 + MAPS_ERROR**2) - 1) < 4 / np.sqrt(len(scores) * 240)
    assert abs(scores.std() * np.sqrt(240) - 1) < 4 / np.sqrt(2 * len(scores))


def test_nothing_is_said_of_single_points_a_single_coil_and_few_lines():
    kspace, mask = scan(8, 5)
    assert predict_lines(kspace, mask.expand(SHAPE), LEVEL) == ((), ())
    assert predict_lines(kspace[:1], mask, LEVEL) == ((), ())
    few = torch.zeros_like(mask)
    few[30:42] = True
    assert predict_lines(kspace * few, few, LEVEL) == ((), ())
