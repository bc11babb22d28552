"""Maps are refined where the data disagree with them, and left alone where they do not."""

import numpy as np
import pytest
import torch

from mri_alps.calibration import (
    complete_low_rank,
    fit_maps_error,
    prepare_slice,
    refine_sensitivity_maps,
    refinement,
)
from mri_alps.calibration.line_weights import (
    MAPS_ERROR,
    UNCERTAIN_ERROR,
    sampling_weights,
    spread_over_lines,
)
from mri_alps.core.errors import DivergenceError, MriAlpsWarning
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.masks import make_mask
from mri_alps.operators import SenseOperator
from mri_alps.rawdata import raw_from_arrays, read_raw
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_maps_error import NOISE, SHAPE, scan


def error_of(maps: torch.Tensor, n_coils: int = 8) -> float:
    """Share of the true coil images that the maps do not explain, in dB."""
    true = simulation.coils(n_coils, SHAPE)
    true = torch.as_tensor(true / np.sqrt((np.abs(true) ** 2).sum(0)))
    images = true * torch.as_tensor(simulation.disc(SHAPE))
    rest = images - maps * (maps.conj() * images).sum(0)
    return float(10 * torch.log10(rest.abs().square().sum() / images.abs().square().sum()))


@pytest.mark.parametrize("points", [False, True])
def test_wrong_maps_are_improved(points):
    mask = simulation.lines(SHAPE[1], 2, 8)
    if points:
        mask = mask[None] & (np.random.default_rng(1).random(SHAPE) < 0.8)
    kspace, mask, maps, _ = scan(0.4, mask)
    found = refine_sensitivity_maps(kspace, mask, maps, NOISE)
    assert found.n_rounds > 0
    assert error_of(found.sensitivity_maps) < error_of(maps) - 6
    assert found.error.relative_error < fit_maps_error(kspace, mask, maps, NOISE).relative_error
    norm = found.sensitivity_maps.abs().square().sum(0)
    assert bool(((norm < 1e-6) | ((norm - 1).abs() < 1e-4)).all())


def test_right_maps_stay_as_they_are():
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    found = refine_sensitivity_maps(kspace, mask, maps, NOISE)
    assert found.n_rounds == 0 and found.sensitivity_maps is maps


def exact(operator, data, noise_std):
    return torch.as_tensor(simulation.disc(SHAPE)).to(torch.complex64)


def nothing_like_it(operator, data, noise_std):
    return exact(operator, data, noise_std).roll(SHAPE[0] // 3, 0)


def diverging(operator, data, noise_std):
    raise DivergenceError("not finite", level=-1, step=0, magnitude=float("inf"))


def test_a_prior_that_knows_the_image_improves_maps():
    """One that does not know it, or fails, leaves them alone."""
    kspace, mask, maps, _ = scan(0.4, simulation.lines(SHAPE[1], 8, 8))
    plain = refine_sensitivity_maps(kspace, mask, maps, NOISE)
    improved = refine_sensitivity_maps(kspace, mask, maps, NOISE, exact)
    assert improved.n_rounds > plain.n_rounds
    assert error_of(improved.sensitivity_maps) < error_of(plain.sensitivity_maps) - 3
    assert (plain.n_estimates, improved.n_estimates > 1) == (0, True)
    for estimate in (nothing_like_it, diverging):
        found = refine_sensitivity_maps(kspace, mask, maps, NOISE, estimate)
        assert torch.equal(found.sensitivity_maps, plain.sensitivity_maps)
        assert (found.n_rounds, found.n_estimates) == (plain.n_rounds, 2)


def test_a_smooth_correction_is_taken_where_the_data_agree_better(monkeypatch):
    kspace, mask, maps, _ = scan(0.4, simulation.lines(SHAPE[1], 8, 8))
    block = refinement._Block(kspace, mask, NOISE)
    error, misfit = block.judge(maps)
    before = refinement.RefinedMaps(maps, error, 0, misfit)
    found = block.correct(before, exact)
    assert (found.n_rounds, found.n_estimates, found.is_corrected) == (0, 1, True)
    assert found.misfit < (1 - refinement.SMALLEST_FALL_OF_CORRECTION) * before.misfit
    assert error_of(found.sensitivity_maps) < error_of(maps) - 3
    monkeypatch.setattr(refinement, "correct_smoothly", lambda kspace, mask, maps, *_: maps)
    refused = block.correct(before, exact)
    assert refused.sensitivity_maps is maps
    assert (refused.n_rounds, refused.n_estimates, refused.is_corrected) == (0, 1, False)


@pytest.mark.parametrize(
    ("falls", "n_asked", "is_kept"),
    [
        ((0.0015, 0.0005, 0.0), 1, False),  # three times as much would not be enough
        ((0.003, 0.0025, 0.002, 0.0015, 0.002, 0.0), 6, True),
        ((0.003, 0.0011, 0.001), 2, False),
        ((0.0105, 0.002, 0.0), 3, True),
    ],
)
def test_rounds_end_where_their_falls_cannot_be_enough(monkeypatch, falls, n_asked, is_kept):
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    misfits = iter(1 - np.cumsum(falls))

    def following(self, found, *_):
        return found._replace(misfit=float(next(misfits)), n_rounds=found.n_rounds + 1)

    monkeypatch.setattr(refinement._Block, "_round", following)
    before = refinement.RefinedMaps(maps, None, 0, 1.0)
    found = refinement._Block(kspace, mask, NOISE).refine_with(before, exact)
    assert (found.n_estimates, found.n_rounds > 0) == (n_asked, is_kept)


def test_few_coils_say_too_little():
    kspace, mask, maps, _ = scan(0.4, simulation.lines(SHAPE[1], 2, 8), n_coils=4)
    found = refine_sensitivity_maps(kspace, mask, maps, NOISE)
    assert found.n_rounds == 0 and found.sensitivity_maps is maps


def test_maps_of_data_that_no_maps_explain_do_not_get_worse_unseen():
    _, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 2, 8))
    noise = standard_normal((8, *SHAPE), torch.Generator().manual_seed(1), torch.complex64)
    found = refine_sensitivity_maps(noise * mask, mask, maps, NOISE)
    assert torch.isfinite(torch.view_as_real(found.sensitivity_maps)).all()
    assert found.error.misfit > 1 or found.error.relative_error > 0.1


def test_a_block_of_low_rank_is_completed():
    """Three points, seen by five coils: patches span three dimensions, whatever is missing."""
    image = torch.zeros(5, 20, 16, dtype=torch.complex128)
    generator = torch.Generator().manual_seed(0)
    for row, column in ((4, 5), (10, 12), (15, 3)):
        image[:, row, column] = standard_normal((5,), generator, torch.complex128)
    kspace = fftc(image)
    mask = torch.rand(20, 16, generator=generator) < 0.6
    found = complete_low_rank(kspace * mask, mask, (4, 4), 3, 200)
    assert torch.equal(found[:, mask], kspace[:, mask])
    assert float((found - kspace).abs().max() / kspace.abs().max()) < 1e-3
    assert float((ifftc(found) - image).abs().max()) < 1e-2


def test_a_prepared_slice_tells_of_the_refinement():
    """Maps given by the user are not touched."""
    kspace, mask, maps, _ = scan(0.4, simulation.lines(SHAPE[1], 2, 8))
    raw = raw_from_arrays(kspace.numpy()[None], mask.numpy(), noise_covariance=NOISE**2 * np.eye(8))
    own = prepare_slice(raw, 0)
    assert own.info["maps_refined"] == 0  # eight lines are enough here
    with pytest.warns(MriAlpsWarning, match="sensitivity maps"):
        given = prepare_slice(raw, 0, sensitivity_maps=maps.numpy())
    assert "maps_refined" not in given.info


@pytest.mark.parametrize(("n_lines", "is_asked"), [(8, True), (24, False)])
def test_the_prior_is_asked_where_calibration_lines_are_few(n_lines, is_asked):
    kspace, mask, _, _ = scan(0.0, simulation.lines(SHAPE[1], 4, n_lines))
    raw = raw_from_arrays(kspace.numpy()[None], mask.numpy(), noise_covariance=NOISE**2 * np.eye(8))
    asked = []

    def estimate(operator, data, noise_std):
        asked.append((tuple(data.shape), data.dtype, operator.domain_shape, type(noise_std)))
        return exact(operator, data, noise_std)

    found = prepare_slice(raw, 0, estimate=estimate)
    assert bool(asked) == is_asked and found.info["maps_estimates"] == len(asked)
    assert found.info["maps_corrected"] == is_asked
    assert set(asked) <= {((8, *SHAPE), torch.complex64, SHAPE, float)}


@pytest.mark.parametrize(
    ("n_lines", "is_spread", "error"),
    [(6, True, UNCERTAIN_ERROR), (8, True, MAPS_ERROR), (24, False, MAPS_ERROR)],
)
def test_allowances_are_larger_and_spread_where_calibration_lines_are_few(
    n_lines, is_spread, error
):
    """Not those of maps from outside."""
    kspace, mask, maps, _ = scan(0.0, simulation.lines(SHAPE[1], 4, n_lines))
    raw = raw_from_arrays(kspace.numpy()[None], mask.numpy(), noise_covariance=NOISE**2 * np.eye(8))
    for given in (None, maps.numpy()):
        found = prepare_slice(raw, 0, sensitivity_maps=given)
        assert found.info["maps_error"] == (error if given is None else MAPS_ERROR)
        data = (found.kspace, found.mask, found.noise_std, found.info["maps_error"])
        own = sampling_weights(*data)
        wanted = spread_over_lines(own, found.mask) if is_spread and given is None else own
        torch.testing.assert_close(found.weights, wanted)
        assert float((spread_over_lines(own, found.mask) / own).max()) > 1.1  # or it could not fail


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_a_real_scan_of_few_calibration_lines(shared_data):
    """Sixteen coils, eight lines: the fully sampled data agree better with the refined maps."""
    raw = read_raw(shared_data / "raw/brain_axial_16ch_96.h5")
    mask = make_mask("equispaced", raw.shape, 4, 0.08, seed=tuple(map(ord, raw.path.name)))
    shares = []
    for maps_error in (0.05, None):  # with a given error nothing is refined
        found = prepare_slice(raw, 0, mask, maps_error=maps_error)
        everything = SenseOperator(found.sensitivity_maps, torch.ones(raw.shape, dtype=torch.bool))
        whole = np.tensordot(found.whitening, raw.read_slice(0), axes=1)
        data = torch.as_tensor(whole / found.scale, dtype=torch.complex64)
        rest = everything.forward(everything.adjoint(data)) - data
        shares.append(float(rest[:, ~found.mask.expand(raw.shape)].abs().square().sum()))
    assert found.info["maps_refined"] > 0
    # About a quarter of the smaller share is noise.
    assert shares[1] < 0.6 * shares[0]
