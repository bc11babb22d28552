from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_alps.calibration import calibrate_volume, prepare_slice
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning, ShapeError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.operators import SenseOperator
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import raw_from_arrays
from tests.calibration import calibration_simulation as simulation

SHAPE = (96, 80)


def scan(n_coils=6, mask=None, level=0.01, **options):
    kspace, image, coils, matrix = simulation.acquisition(n_coils, SHAPE, level)
    if mask is not None:
        kspace = kspace * mask
    raw = raw_from_arrays(kspace[None], mask, noise_covariance=matrix, **options)
    return raw, image, coils, matrix


def combine(acquisition):
    images = ifftc(acquisition.kspace)
    return (acquisition.sensitivity_maps.conj() * images).sum(0)


def residual_std(acquisition, image_in_raw_units):
    """Standard deviation per real component of the k-space that A x leaves over, inside."""
    x = torch.as_tensor(image_in_raw_units / acquisition.scale, dtype=torch.complex64)
    expected = fftc(acquisition.sensitivity_maps * x) * acquisition.mask
    rest = (acquisition.kspace - expected)[:, acquisition.mask.expand(acquisition.shape)]
    return float((rest.abs().square().mean() / 2).sqrt())


def true_image(acquisition, image, coils):
    """The object in the normalisation and gauge of the acquisition's maps, raw units."""
    white = np.tensordot(acquisition.whitening, coils, axes=1)
    if acquisition.compression is not None:
        white = np.moveaxis(acquisition.compression @ np.moveaxis(white, -2, 0), 0, -2)
    return image * (acquisition.sensitivity_maps.numpy().conj() * white).sum(0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_virtual_coils": 5},
        {"compression_tolerance": 1e-4},
        {"row_compression_tolerance": 1e-3},
    ],
)
def test_the_data_are_the_model_plus_noise_of_the_stated_size(options):
    raw, image, coils, _ = scan(mask=simulation.lines(80, 4, 24))
    found = prepare_slice(raw, 0, **options)
    assert found.noise_std == pytest.approx(1 / found.scale)
    assert residual_std(found, true_image(found, image, coils)) == pytest.approx(
        found.noise_std, rel=0.08
    )


def test_the_prepared_slice_fits_the_operator():
    raw, _, _, _ = scan(mask=simulation.lines(80, 4, 24))
    found = prepare_slice(raw, 0)
    operator = SenseOperator(found.sensitivity_maps, found.mask)
    backprojection = operator.adjoint(found.kspace)
    assert backprojection.shape == SHAPE
    assert_equal_to_rounding(backprojection, combine(found))


@pytest.mark.parametrize(
    "options", [{}, {"n_virtual_coils": 4}, {"row_compression_tolerance": 1e-2}]
)
def test_magnitude_times_weight_times_scale_is_the_root_sum_of_squares(options):
    raw, image, coils, _ = scan(level=1e-3)
    found = prepare_slice(raw, 0, **options)
    rss = np.sqrt((np.abs(image * coils) ** 2).sum(0))
    own = combine(found).abs().numpy() * found.rss_weight.numpy() * found.scale
    inside = np.abs(image) > 0.2
    np.testing.assert_allclose(own[inside], rss[inside], rtol=0.05)
    weight = found.rss_weight.numpy()[inside]
    assert weight.max() / weight.min() > 1.05, "whitening should change the weighting"


def test_raw_maps_predict_the_scans_own_coil_images():
    raw, image, coils, _ = scan(level=1e-3)
    found = prepare_slice(raw, 0)
    own = found.raw_sensitivity_maps() * combine(found) * found.scale
    error = np.linalg.norm(own.numpy() - image * coils) / np.linalg.norm(image * coils)
    assert error < 0.03


def test_image_has_unit_scale():
    raw, _, _, _ = scan(level=1e-3)
    found = prepare_slice(raw, 0)
    magnitude = combine(found).abs().numpy()
    assert 0.7 < np.percentile(magnitude[magnitude > 0.1], 90) < 1.5


def test_units_of_the_file_do_not_matter():
    kspace, _, _, matrix = simulation.acquisition(4, SHAPE)
    tiny = np.complex64(1e-8)
    first = prepare_slice(raw_from_arrays(kspace[None], noise_covariance=matrix), 0)
    second = prepare_slice(
        raw_from_arrays((tiny * kspace)[None], noise_covariance=1e-16 * matrix), 0
    )
    assert second.noise_std == pytest.approx(first.noise_std, rel=1e-3)
    assert_equal_to_rounding(first.kspace, second.kspace)


def test_a_retrospective_mask_hides_everything_outside():
    raw, _, _, _ = scan()
    mask = simulation.lines(80, 4, 16)
    found = prepare_slice(raw, 0, mask)
    undersampled, _, _, _ = scan(mask=mask)
    expected = prepare_slice(undersampled, 0)
    assert_equal_to_rounding(found.kspace, expected.kspace)
    assert_equal_to_rounding(found.sensitivity_maps, expected.sensitivity_maps)
    assert found.mask.shape == (80,)
    assert found.mask.tolist() == mask.tolist()
    assert not found.kspace[..., ~found.mask].any()


def test_padding_stays_unmeasured_whatever_the_mask_says():
    inside = np.zeros(80, bool)
    inside[6:74] = True
    raw, _, _, _ = scan(mask=inside)
    found = prepare_slice(raw, 0, np.ones(80, bool))
    assert found.mask.tolist() == inside.tolist()


def test_two_dimensional_masks_stay_two_dimensional():
    raw, _, _, _ = scan()
    mask = np.random.default_rng(0).random(SHAPE) < 0.4
    mask[36:60, 28:52] = True
    found = prepare_slice(raw, 0, mask)
    assert found.mask.shape == SHAPE
    assert found.info["calibration_region"] >= [24, 24]


def test_a_single_coil_has_unit_maps_and_the_right_units():
    raw, image, coils, _ = scan(n_coils=1, level=1e-3)
    found = prepare_slice(raw, 0)
    assert bool((found.sensitivity_maps == 1).all())
    own = combine(found).abs() * found.rss_weight * found.scale
    inside = np.abs(image) > 0.2
    np.testing.assert_allclose(own.numpy()[inside], np.abs(image * coils[0])[inside], rtol=0.05)


def test_given_maps_need_no_calibration_region():
    mask = simulation.lines(80, 2, 1)
    raw, image, coils, _ = scan(mask=mask)
    found = prepare_slice(raw, 0, sensitivity_maps=3 * coils * (np.abs(image) > 0))
    energy = found.sensitivity_maps.abs().square().sum(0)
    assert_equal_to_rounding(energy.numpy()[np.abs(image) > 0], 1, n_summed=8, dtype="float32")
    assert not energy.numpy()[np.abs(image) == 0].any()
    assert residual_std(found, true_image(found, image, coils)) == pytest.approx(
        found.noise_std, rel=0.08
    )
    # Every other line is missing, so the low-resolution image is folded: a coarse scale.
    assert 0.3 < found.scale / prepare_slice(scan()[0], 0).scale < 3


def test_no_calibration_region_is_refused_with_a_remedy():
    raw, _, _, _ = scan(mask=simulation.lines(80, 4, 1), name="scan.h5")
    with pytest.raises(InputFileError, match=r"scan\.h5: slice 0.*calibration lines"):
        prepare_slice(raw, 0)


def test_masks_and_maps_that_do_not_fit_are_refused():
    raw, _, coils, _ = scan()
    with pytest.raises(ShapeError, match="96x80"):
        prepare_slice(raw, 0, np.ones(81, bool))
    with pytest.raises(ShapeError, match="sensitivity maps of shape"):
        prepare_slice(raw, 0, sensitivity_maps=coils[:3])
    for number, found in ((0.0, "zero"), (np.nan, "not finite")):
        with pytest.raises(ConfigurationError, match=f"maps that are given.*{found} everywhere"):
            prepare_slice(raw, 0, sensitivity_maps=number * coils)
    with pytest.raises(InputFileError, match="choose another mask"):
        prepare_slice(raw, 0, np.zeros(80, bool))


def test_noise_without_a_scan_is_estimated_and_noted():
    kspace, _, _, matrix = simulation.acquisition(6, (192, 96), level=0.02, radius=0.5)
    found = prepare_slice(raw_from_arrays(kspace[None]), 0)
    measured = prepare_slice(raw_from_arrays(kspace[None], noise_covariance=matrix), 0)
    assert found.info["noise_source"] == "quiet readout positions"
    assert found.noise_std == pytest.approx(measured.noise_std, rel=0.05)


def test_implausible_noise_is_announced():
    raw, _, _, _ = scan()
    with pytest.warns(MriAlpsWarning, match="is plausible"):
        calibration = calibrate_volume(raw, noise_std=5.0, force=True)
    with pytest.warns(MriAlpsWarning, match="times the image scale"):
        found = prepare_slice(raw, 0, calibration=calibration)
    assert found.info["notes"]


def test_a_volume_is_calibrated_once():
    raw, _, _, _ = scan()
    calibration = calibrate_volume(raw)
    once = prepare_slice(raw, 0, calibration=calibration)
    assert_equal_to_rounding(once.kspace, prepare_slice(raw, 0).kspace)


def test_separate_calibration_lines_give_the_maps():
    kspace, image, coils, matrix = simulation.acquisition(6, SHAPE, level=1e-3)
    own, extra = simulation.lines(80, 4, 1), simulation.lines(80, 80, 24)
    raw = raw_from_arrays(
        (kspace * own)[None],
        own,
        noise_covariance=matrix,
        calibration=((kspace * extra)[None], np.broadcast_to(extra, (1, *SHAPE))),
    )
    found = prepare_slice(raw, 0)
    assert found.info["calibration_source"] == "separate calibration lines"
    assert found.mask.tolist() == own.tolist()
    assert residual_std(found, true_image(found, image, coils)) < 2 * found.noise_std


def test_information_is_json_able():
    import json

    raw, _, _, _ = scan()
    json.dumps(prepare_slice(raw, 0).info)


def test_weight_of_the_real_brain_varies_as_whitening_makes_it(shared_data):
    from mri_alps.rawdata.open import read_raw

    raw = read_raw(shared_data / "raw" / "brain_axial_8ch.h5")
    found = prepare_slice(raw, 0)
    inside = combine(found).abs().numpy() > 0.3
    relative = found.rss_weight.numpy()[inside]
    relative = relative / np.sqrt((relative**2).mean())
    assert 0.7 < np.percentile(relative, 1) < 0.9
    assert 1.1 < np.percentile(relative, 99) < 1.35
    images = ifftc(torch.as_tensor(raw.read_slice(0)))
    rss = images.abs().square().sum(0).sqrt().numpy()
    own = combine(found).abs().numpy() * found.rss_weight.numpy() * found.scale
    assert np.percentile(np.abs(own / rss - 1)[inside], 90) < 0.03


def test_prospective_ismrmrd_and_poisson_scans_are_prepared(shared_data):
    from mri_alps.rawdata.open import read_raw

    phantom = prepare_slice(read_raw(shared_data / "raw/phantom_prospective_r3_14ch_ismrmrd.h5"), 0)
    assert phantom.info["noise_source"] == "noise scan"
    assert phantom.kspace.shape[0] == 14
    poisson = prepare_slice(read_raw(shared_data / "raw/brain_poisson_8ch.hdr"), 0)
    assert poisson.mask.ndim == 2
    assert 0.005 < poisson.noise_std < 0.1
