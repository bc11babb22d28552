"""Sampling masks: equal to fastMRI's, the acceleration asked for, reproducible, errors."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, ShapeError
from mri_alps.masks import MASK_KINDS, achieved_acceleration, make_mask

FILE_SEED = tuple(map(ord, "file_brain_AXT2_200_2000020.h5"))
FASTMRI_NAMES = {
    "random": "random",
    "equispaced": "equispaced_fraction",
    "equispaced-offset": "magic_fraction",
}
EXACT_KINDS = (
    "gaussian",
    "polynomial",
    "gaussian-points",
    "poisson-lines",
    "radial",
    "partial-fourier",
)


@pytest.mark.parametrize("seed", [7, FILE_SEED])
@pytest.mark.parametrize(("acceleration", "center_fraction"), [(4, 0.08), (8, 0.04)])
@pytest.mark.parametrize("kind", list(FASTMRI_NAMES))
def test_lines_are_fastmris_own(kind, acceleration, center_fraction, seed):
    from fastmri.data.subsample import create_mask_for_mask_type

    function = create_mask_for_mask_type(FASTMRI_NAMES[kind], [center_fraction], [acceleration])
    expected, _ = function((1, 640, 368, 2), seed=seed)
    found = make_mask(kind, (640, 368), acceleration, center_fraction, seed)
    assert found.dtype == bool
    assert found.shape == (1, 368)
    assert np.array_equal(found[0], expected.numpy().ravel() == 1)


@pytest.mark.parametrize("kind", list(FASTMRI_NAMES))
def test_padding_is_cut_off_as_fastmri_does(kind):
    import torch
    from fastmri.data.subsample import create_mask_for_mask_type
    from fastmri.data.transforms import apply_mask

    function = create_mask_for_mask_type(FASTMRI_NAMES[kind], [0.08], [4])
    _, expected, _ = apply_mask(
        torch.ones(1, 8, 40, 2), function, seed=FILE_SEED, padding=torch.tensor([5, 33])
    )
    allowed = np.zeros(40, dtype=bool)
    allowed[5:33] = True
    found = make_mask(kind, (8, 40), 4, 0.08, FILE_SEED, allowed=allowed)
    assert np.array_equal(found[0], expected.numpy().ravel() == 1)
    assert not found[0, :5].any()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_same_seed_same_mask_and_no_global_state(kind):
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    masks = [make_mask(kind, (64, 60), 4, 0.1, seed) for seed in (3, 3, 4, 5, 6, (3, 1))]
    assert np.array_equal(masks[0], masks[1])
    # equispaced masks have few offsets, so two seeds may well agree
    assert len({mask.tobytes() for mask in masks}) >= 3
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("shape", [(64, 60), (63, 61)])
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_the_centre_is_measured(kind, shape):
    mask = make_mask(kind, shape, 5, 0.1, seed=1)
    rows, columns = mask.shape
    assert mask.dtype == bool
    row, column = rows // 2, columns // 2
    reach = slice(column - 2, column + 3)  # 6 of 60 or 61 columns are the centre
    assert mask[row, reach].all()
    if rows > 1:
        assert mask[row - 2 : row + 3, reach].all()


@pytest.mark.parametrize("shape", [(64, 60), (45, 101)])
@pytest.mark.parametrize("acceleration", [3, 6.5])
def test_the_acceleration_is_met(shape, acceleration):
    for kind in EXACT_KINDS:
        for seed in range(3):
            mask = make_mask(kind, shape, acceleration, 0.05, seed)
            assert mask.sum() == round(mask.size / acceleration), kind
    poisson = make_mask("poisson", shape, acceleration, 0.05)
    assert poisson.shape == shape
    assert achieved_acceleration(poisson) == pytest.approx(acceleration, rel=0.05)
    drawn = [make_mask("random", shape, acceleration, 0.05, seed).sum() for seed in range(200)]
    # binomial: at most sqrt(n p) = 5.8 lines of standard deviation, over 200 masks 0.41
    assert np.mean(drawn) == pytest.approx(shape[1] / acceleration, abs=4 * 0.41)


def test_gaussian_density_falls_off_from_the_centre():
    total = sum(make_mask("gaussian", (1, 100), 4, 0, seed).astype(int) for seed in range(300))[0]
    assert total[45:55].mean() > 1.5 * total[25:35].mean() > 1.5 * total[:10].mean()
    narrow = make_mask("gaussian-points", (64, 64), 8, 0, density_std=0.08)
    assert narrow[16:48, 16:48].sum() > 0.98 * narrow.sum()


def test_poisson_lines_keep_their_distance():
    """No gap is much smaller than the others near it, which chance would bring about."""
    smallest = []
    for kind in ("poisson-lines", "gaussian"):
        masks = [make_mask(kind, (1, 240), 6, 0.04, seed)[0] for seed in range(20)]
        outer = [np.diff(np.flatnonzero(mask[:60])) for mask in masks]
        smallest.append(np.mean([gaps.min() / gaps.mean() for gaps in outer if len(gaps) > 1]))
    assert smallest[0] > 0.55 > smallest[1]


@pytest.mark.parametrize("width", [64, 65])
def test_partial_fourier_leaves_one_side_out(width):
    sides = set()
    for seed in range(8):
        mask = make_mask("partial-fourier", (1, width), 4, 0.1, seed)[0]
        left = mask[: width // 4].sum()
        right = mask[-(width // 4) :].sum()
        assert min(left, right) == 0 < max(left, right)
        sides.add(bool(left))
    assert sides == {True, False}
    whole = make_mask("partial-fourier", (1, width), 4 / 3, 0.1, 0)[0]
    assert np.abs(np.diff(whole.astype(int))).sum() == 1  # three quarters in one piece


def test_radial_spokes_are_dense_at_the_centre_and_lines_through_it():
    mask = make_mask("radial", (64, 64), 6, 0)
    y, x = np.indices(mask.shape) - 32
    radius = np.hypot(y, x)
    density = [mask[(radius >= r) & (radius < r + 8)].mean() for r in (0, 8, 16, 24)]
    assert density == sorted(density, reverse=True)
    assert density[0] > 3 * density[-1] > 0
    few = make_mask("radial", (65, 65), 65, 0, seed=3)  # one spoke
    y, x = np.nonzero(few) - np.array(32)[None]
    angle = np.arctan2(y, x)[np.hypot(y, x) > 10] % np.pi
    assert np.abs(np.sin(angle - angle[0])).max() < 0.1


def test_acceleration_one_measures_everything():
    for kind in MASK_KINDS:
        assert make_mask(kind, (9, 8), 1).all()


def test_allowed_may_vary_along_both_axes():
    allowed = np.zeros((64, 60), dtype=bool)
    allowed[:40] = True
    mask = make_mask("random", (64, 60), 4, 0.08, allowed=allowed)
    assert mask.shape == (64, 60)
    assert not mask[40:].any()
    assert mask[:40].any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("spiral", (8, 8)), ConfigurationError, "kind='spiral', expected one of random"),
        (("random", (8, 8), 0.5), ConfigurationError, "acceleration=0.5, expected"),
        (("random", (8, 8), float("nan")), ConfigurationError, "acceleration=nan"),
        (("random", (8, 8), 4, 1.5), ConfigurationError, "center_fraction=1.5"),
        (("random", (8, 8), 4, 0.5), ConfigurationError, "lower the centre fraction"),
        (("equispaced", (8, 8), 4, 0.25), ConfigurationError, "lower the centre fraction"),
        (("gaussian", (8, 8), 4, 0.25), ConfigurationError, "lower the centre fraction"),
        (("poisson", (32, 32), 4, 0.6), ConfigurationError, "lower the centre fraction"),
        (("poisson-lines", (8, 8), 4, 0.25), ConfigurationError, "lower the centre fraction"),
        (("partial-fourier", (8, 8), 4, 0.25), ConfigurationError, "lower the centre fraction"),
        (("radial", (32, 32), 4, 0.6), ConfigurationError, "lower the centre fraction"),
        (("radial", (32, 32), 1.1, 0), ConfigurationError, "radial spokes reach"),
        (("random", (8, 8), 4, 0, -1), ConfigurationError, "seed=-1, expected an integer"),
        (("random", (8, 8), 4, 0, "file"), ConfigurationError, "seed='file'"),
        (("random", (8,)), ShapeError, r"found shape \(8,\), expected \(H, W\)"),
    ],
)
def test_options_that_make_no_sense_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make_mask(*arguments)


@pytest.mark.parametrize("acceleration", [400, 1.05])
def test_poisson_says_when_it_cannot_be_had(acceleration):
    with pytest.raises(ConfigurationError, match="no Poisson-disc mask of acceleration"):
        make_mask("poisson", (16, 16), acceleration, 0.0)


def test_allowed_that_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"allowed: found a mask of shape \(7,\)"):
        make_mask("random", (8, 8), 2, 0.1, allowed=np.ones(7, dtype=bool))
    edge = np.zeros(40, dtype=bool)
    edge[0] = True
    with pytest.raises(ConfigurationError, match="inside the allowed region"):
        make_mask("gaussian", (8, 40), 8, 0.1, allowed=edge, density_std=0.05)
