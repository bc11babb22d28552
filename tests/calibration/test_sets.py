"""Several sets of maps: where two places of an object share a pixel, and what given maps lack."""

import warnings

import numpy as np
import pytest
import torch

from mri_alps.calibration import explain, prepare_slice
from mri_alps.calibration.sensitivity import local_operators
from mri_alps.calibration.sets import complete_sets, estimate_sets, powers_of_sets
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning, ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators import SoftSenseOperator
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation
from tests.calibration.test_folding import SHAPE, fold, mask


def quiet(*arguments, **named):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return prepare_slice(*arguments, **named)


def left_of(true, sets, where):
    """Part of true maps (n, coils, H, W) beside the sets, over the pixels where both places are."""
    unit = true / np.maximum(np.linalg.norm(true, axis=1, keepdims=True), 1e-20)
    norms = np.linalg.norm(sets, axis=1, keepdims=True)
    basis = np.divide(sets, norms, out=np.zeros_like(sets), where=norms > 0)
    along = np.einsum("schw,pchw->pshw", basis.conj(), unit)
    rest = 1 - (np.abs(along) ** 2).sum(1)
    return np.sqrt(np.maximum(rest[:, where], 0).mean())


@pytest.mark.parametrize("axis", [0, 1])
def test_two_sets_span_what_the_coils_see_of_two_places(axis):
    raw, true = fold(1.3, axis)
    found = quiet(raw, 0, n_maps=2)
    assert found.n_sets == 2 and found.info["n_maps"] == 2
    both = (np.abs(true).sum(1) > 0).all(0)
    sets = found.raw_sensitivity_maps().numpy()
    inner = both & (found.further_maps.abs().square().sum((0, 1)) > 0.9).numpy()
    assert inner.sum() > 0.5 * both.sum()
    # In the whitened coils, where they are orthogonal.
    whitened = np.einsum("ij,sjhw->sihw", found.whitening, true)
    whitened_sets = found.sets().numpy()
    assert left_of(whitened, whitened_sets, inner) < 0.15
    assert left_of(whitened, whitened_sets[:1], inner) > 0.4
    product = np.abs((whitened_sets[0].conj() * whitened_sets[1]).sum(0))
    assert product.max() < 1e-4
    np.testing.assert_allclose(
        sets, np.einsum("ij,sjhw->sihw", np.linalg.inv(found.whitening), whitened_sets), atol=1e-4
    )


def test_all_sets_vary_slowly():
    """A further set's phase would be arbitrary at each pixel, and no prior would know its image."""
    raw, _ = fold(1.3)
    found = quiet(raw, 0, n_maps=2)
    second = found.further_maps[0]
    strong = second.abs().square().sum(0) > 0.9
    for axis in (0, 1):
        pairs = strong & strong.roll(-1, axis)
        neighbours = (second.conj() * second.roll(-1, 1 + axis)).sum(0)[pairs]
        assert pairs.sum() > 100
        assert float(neighbours.real.median()) > 0.9
        assert float((neighbours.real < 0.5).float().mean()) < 0.1


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_eigenvalues_decide_and_the_result_says_so(axis, acceleration):
    raw, _ = fold(1.3, axis)
    found = quiet(raw, 0, mask(acceleration))
    assert found.n_sets == 2 and isinstance(found.operator(), SoftSenseOperator)
    assert 0.05 < found.info["power_in_further_maps"][0] < 10
    notes = [note for note in found.info["notes"] if "2 sets of sensitivity maps are used" in note]
    assert len(notes) == 1 and "smaller than the object along the" in notes[0]
    # The allowance stays the usual one: an image can be found that explains all coils.
    assert found.info["maps_error"] == 0.05


def test_an_object_within_the_field_of_view_has_one_set_that_can_be_overruled():
    kspace, _, _, matrix = simulation.acquisition(6, SHAPE, 0.01)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    assert quiet(raw, 0).n_sets == 1
    first, both = quiet(raw, 0, n_maps=1), quiet(raw, 0, n_maps=2)
    torch.testing.assert_close(first.sensitivity_maps, quiet(raw, 0).sensitivity_maps)
    if both.n_sets == 2:  # at the border, perhaps: with next to no power
        assert both.further_maps.abs().square().sum((0, 1)).mean() < 0.05


def test_given_sets_are_used_where_the_object_folds():
    raw, true = fold(1.3)
    found = quiet(raw, 0, mask(4), sensitivity_maps=true)
    assert found.n_sets == 2
    assert found.info["maps_completed"]["part"] < 0.1
    whitened = np.einsum("ij,sjhw->sihw", found.whitening, true)
    strong = (found.further_maps.abs().square().sum((0, 1)) > 0.9).numpy()
    both = (np.abs(true).sum(1) > 0).all(0)
    assert left_of(whitened, found.sets().numpy(), strong & both) < 0.03
    one = true[:1].sum(0)
    with pytest.warns(MriAlpsWarning, match="use two sets"):
        assert prepare_slice(raw, 0, sensitivity_maps=one, n_maps=1).n_sets == 1
    # Of one given set the other is estimated.
    completed = quiet(raw, 0, sensitivity_maps=one)
    assert completed.n_sets == 2


def test_where_a_given_map_lacks_the_signal_own_ones_take_its_place():
    kspace, _, maps, matrix = simulation.acquisition(6, SHAPE, 0.01)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    wrong = maps.copy()
    wrong[:, 20:30, 28:36] = np.roll(maps, 1, 0)[:, 20:30, 28:36]
    found, good = quiet(raw, 0, sensitivity_maps=wrong), quiet(raw, 0, sensitivity_maps=maps)
    overlap = (found.sensitivity_maps.conj() * good.sensitivity_maps).sum(0).abs()
    inside = torch.as_tensor(np.abs(simulation.disc(SHAPE)) > 0.5)
    assert overlap[inside].min() > 0.98
    completed = found.info["maps_completed"]
    assert completed["across"] > 0.05 and 0 < completed["part"] < 0.2
    assert any("maps of its own take their place" in note for note in found.info["notes"])
    assert not good.info["notes"]


def test_good_given_maps_stay_however_few_the_calibration_lines():
    """Images of 8 lines leave signal across true maps of many coils, which others would miss."""
    kspace, _, maps, matrix = simulation.acquisition(16, SHAPE, 0.001)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0] - 0.5
    rough = np.stack([np.exp(0.5j * np.pi * (c - 8) * (x + y)) for c in range(16)])
    scan = fftc(torch.from_numpy(ifftc(torch.from_numpy(kspace)).numpy() * rough)).numpy()
    raw = raw_from_arrays(scan[None], noise_covariance=matrix)
    lines = np.zeros((1, SHAPE[1]), bool)
    lines[:, ::4] = True
    lines[:, SHAPE[1] // 2 - 4 : SHAPE[1] // 2 + 4] = True
    true = maps * rough
    found = quiet(raw, 0, lines, sensitivity_maps=true)
    whitened = torch.from_numpy(np.einsum("ij,jhw->ihw", found.whitening, true))
    whitened = whitened / whitened.abs().square().sum(0).sqrt().clamp_min(1e-9)
    inside = torch.as_tensor(np.abs(simulation.disc(SHAPE)) > 0.5)
    overlap = (found.sensitivity_maps.conj() * whitened).sum(0).abs()
    assert overlap[inside].min() > 0.999
    assert found.info["maps_completed"]["across"] == 0


def test_maps_of_something_else_stay_and_are_told_of():
    kspace, _, maps, matrix = simulation.acquisition(6, SHAPE, 0.01)
    raw = raw_from_arrays(kspace[None], noise_covariance=matrix)
    with pytest.warns(MriAlpsWarning, match="the maps that were given"):
        found = prepare_slice(raw, 0, sensitivity_maps=np.roll(maps, 1, 0))
    assert found.info["maps_completed"]["part"] > 0.5


def test_without_calibration_lines_all_given_sets_are_used():
    raw, true = fold(1.3)
    scattered = np.zeros((1, SHAPE[1]), bool)
    scattered[:, ::2] = True
    found = quiet(raw, 0, scattered, sensitivity_maps=true)
    assert found.n_sets == 2 and found.further_powers == (1.0,)
    assert quiet(raw, 0, scattered, sensitivity_maps=true, n_maps=1, maps_error=0.1).n_sets == 1
    with pytest.raises(ConfigurationError, match="n_maps is 3, and 2 sets of maps are given"):
        prepare_slice(raw, 0, scattered, sensitivity_maps=true, n_maps=3)


def test_the_combined_image_is_that_of_all_coils():
    raw, _ = fold(1.3)
    found = quiet(raw, 0)
    images = torch.randn(3, 2, *SHAPE, dtype=torch.complex64, generator=torch.manual_seed(0))
    maps = found.raw_sensitivity_maps()
    coils = (maps[:, :, None] * images.transpose(0, 1)[:, None]).sum(0)  # (coils, n, H, W)
    expected = coils.abs().square().sum(0).sqrt()
    combined = found.combine(images)
    inside = found.rss_weight > 0
    torch.testing.assert_close((combined.abs() * found.rss_weight)[:, inside], expected[:, inside])
    torch.testing.assert_close(combined.angle()[:, inside], images[:, 0].angle()[:, inside])


def test_the_images_of_all_sets_explain_the_centre_and_the_first_alone_does_not():
    from mri_alps.calibration.maps_error import gaussian_mean

    raw, _ = fold(1.3)
    found = quiet(raw, 0)
    image = gaussian_mean(found.operator(), found.data(), found.noise_std)
    assert explain(found, image).center < 0.02
    assert explain(found, image * torch.tensor([1, 0])[:, None, None]).center > 0.05


def test_the_power_of_a_second_image_is_that_of_its_details():
    """Two places of equal detail: as much per pixel where they share one."""
    raw, _ = fold(1.3)
    block = raw.read_slice(0)[:, 12:44, 16:48] / 0.01
    operators = local_operators(block, SHAPE)
    sets = estimate_sets(operators, 2)
    assert sets.maps.shape == (2, 6, *SHAPE)
    assert 0.1 < powers_of_sets(sets, block)[0] < 10
    completed, _ = complete_sets(sets.maps[:1], operators)
    assert completed.several.sum() == sets.several.sum()


def test_what_cannot_be_is_refused():
    raw, true = fold(1.3)
    with pytest.raises(ConfigurationError, match="n_maps is 7, and array has 6 coils"):
        prepare_slice(raw, 0, n_maps=7)
    with pytest.raises(ShapeError, match="or several sets of them"):
        prepare_slice(raw, 0, sensitivity_maps=np.concatenate([true] * 4))
    few = np.zeros((1, SHAPE[1]), bool)
    few[:, ::4] = True
    few[:, 30:35] = True
    with pytest.raises(ConfigurationError, match="several sets of maps need 8 lines at least"):
        prepare_slice(raw, 0, few, n_maps=2)


@pytest.mark.parametrize("settings", [{"row_compression_tolerance": 1e-3}, {"n_virtual_coils": 5}])
def test_coils_are_compressed_for_all_sets(settings):
    raw, _ = fold(1.3)
    found, full = quiet(raw, 0, **settings), quiet(raw, 0)
    assert found.n_sets == 2 and len(found.kspace) <= 6
    assert found.further_maps.shape[1] == len(found.kspace)
    torch.testing.assert_close(found.further_maps_uncompressed, full.further_maps_uncompressed)
