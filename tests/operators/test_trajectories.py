"""Trajectories: where they begin, how far they reach, and the angles of their papers."""

import math

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.operators import golden_radial, kooshball, rosette, spiral, uniform_radial

IN_PLANE = [golden_radial, uniform_radial, spiral, rosette]


@pytest.mark.parametrize("pattern", [*IN_PLANE, kooshball])
def test_fills_the_grid_and_passes_the_centre(pattern):
    shape = (24, 40) if pattern in IN_PLANE else (24, 40, 30)
    k = pattern(33, 64, shape)
    assert k.shape == (33, 64, len(shape)) and k.dtype == torch.float64
    extent = k.abs().amax((0, 1)) / torch.tensor(shape, dtype=torch.float64)
    assert bool((extent <= 0.5 + 1e-12).all()) and bool((extent > 0.45).all())
    centre = 32 if pattern in (golden_radial, uniform_radial, kooshball) else 0
    assert float(k[:, centre].abs().max()) < 1e-12


@pytest.mark.parametrize(("order", "degrees"), [(1, 111.246), (2, 68.754), (7, 23.6281)])
def test_golden_angles(order, degrees):
    k = golden_radial(2, 64, (64, 64), order)
    assert float(torch.atan2(k[1, -1, 1], k[1, -1, 0])) == pytest.approx(
        math.radians(degrees), abs=1e-5
    )


def test_even_spokes_fill_half_a_turn():
    k = uniform_radial(4, 8, (8, 8))
    angles = torch.atan2(k[:, -1, 1], k[:, -1, 0])
    assert torch.allclose(angles, torch.arange(4).double() * math.pi / 4)


def test_spiral_interleaves_leave_gaps_of_one_cycle():
    k = spiral(4, 4000, (32, 32))
    radius = k.norm(dim=-1)
    # Where the first image axis is crossed, all interleaves together.
    crossed = (k[:, 1:, 1] >= 0) & (k[:, :-1, 1] < 0) & (k[:, 1:, 0] > 0)
    gaps = radius[:, 1:][crossed].sort().values.diff()
    assert torch.allclose(gaps, torch.ones_like(gaps), atol=0.05)
    steps = (k[:, 1:] - k[:, :-1]).norm(dim=-1)[:, 400:]
    assert float(steps.max() / steps.min()) < 1.2


def test_numbers_that_make_no_pattern_are_refused():
    with pytest.raises(ConfigurationError, match="n_shots = 0"):
        golden_radial(0, 8, (8, 8))
    with pytest.raises(ConfigurationError, match="expected 2 positive"):
        spiral(4, 8, (8, 8, 8))
    with pytest.raises(ConfigurationError, match="power = -1"):
        spiral(4, 8, (8, 8), power=-1.0)
