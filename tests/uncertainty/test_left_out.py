"""Which samples are left out."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.uncertainty import choose_left_out


def lines(n, acceleration, n_center):
    mask = np.zeros(n, bool)
    mask[1::acceleration] = True
    mask[n // 2 - n_center // 2 : n // 2 - n_center // 2 + n_center] = True
    return mask


@pytest.mark.parametrize("shape", [(32, 96), (31, 95)])
def test_folds_are_disjoint_lines_outside_of_the_centre_at_all_distances(shape):
    mask = np.broadcast_to(lines(shape[1], 4, 8), shape)
    folds = choose_left_out(mask, (shape[0], 8), n_folds=2, seed=3)
    assert len(folds) == 2
    assert not (folds[0] & folds[1]).any()
    center = slice(shape[1] // 2 - 4, shape[1] // 2 + 4)
    outer = np.abs(np.flatnonzero(mask[0]) - shape[1] // 2)
    for fold in folds:
        assert not (fold & ~mask).any()
        assert not fold[:, center].any()
        assert (fold == fold[0]).all()
        distance = np.abs(np.flatnonzero(fold[0]) - shape[1] // 2)
        assert len(distance) >= 3
        assert distance.min() < np.median(outer[outer > 4]) < distance.max()


def test_a_partial_readout_is_left_out_as_a_whole():
    mask = lines(64, 4, 8) & (np.arange(32) >= 8)[:, None]
    (fold,) = choose_left_out(mask, (16, 8))
    columns = fold.any(0)
    np.testing.assert_array_equal(fold, mask & columns)


def test_points_are_left_out_of_scattered_sampling():
    mask = np.random.default_rng(0).random((48, 48)) < 0.3
    mask[20:28, 20:28] = True
    folds = choose_left_out(mask, (8, 8), n_folds=2)
    for fold in folds:
        assert 0.1 * mask.sum() < fold.sum() < 0.2 * mask.sum()
        assert not fold[20:28, 20:28].any()
        assert not (fold & ~mask).any()


def test_the_choice_depends_on_the_seed_alone():
    mask = np.broadcast_to(lines(96, 4, 8), (16, 96))
    first, again, other = (choose_left_out(mask, (16, 8), 1, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("n_outer", "n_folds"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_at_most_half_of_the_outer_lines_are_left_out_at_a_time(n_outer, n_folds):
    mask = np.zeros((8, 64), bool)
    mask[:, 28:36] = True
    mask[:, 40 : 40 + 4 * n_outer : 4] = True
    folds = choose_left_out(mask, (8, 8), n_folds=2)
    assert len(folds) == n_folds
    for fold in folds:
        assert 1 <= fold[0].sum() <= n_outer / 2


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ShapeError, match="readout, phase_encode"):
        choose_left_out(np.ones(8, bool), (8, 8))
    with pytest.raises(ConfigurationError, match="at least 1"):
        choose_left_out(np.ones((8, 8), bool), (8, 8), n_folds=0)
