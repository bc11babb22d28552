"""ISMRMRD: the grid, flags, averages, slices, oversampling, partial readouts, noise."""

import pickle

import ismrmrd
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import Selection, center_block, describe, read_raw, write_ismrmrd
from mri_alps.rawdata.ismrmrd.flags import Flag
from tests.rawdata.rawdata_helpers import (
    Limit,
    center_crop,
    fft_centered,
    header,
    ifft_centered,
    lines,
    make_acquisition,
    random_complex,
    reversed_line,
    write_acquisitions,
)


def cropped_kspace(kspace, n_readout):
    """Independent of the reader: crop the image, transform back."""
    image = center_crop(ifft_centered(kspace, axes=(-2,)), n_readout, -2)
    return fft_centered(image, axes=(-2,))


@pytest.mark.parametrize("encoded", [16, 17])
@pytest.mark.parametrize("recon", [16, 12, 8, 7])
def test_oversampling_of_any_factor(tmp_path, encoded, recon):
    kspace = random_complex(0, 1, 3, encoded, 10)
    write_ismrmrd(tmp_path / "o.h5", kspace, recon_matrix=(recon, 8))
    raw = read_raw(tmp_path / "o.h5")
    n_readout = min(recon, encoded)
    assert raw.format == "ismrmrd" and raw.shape == (n_readout, 10) and raw.crop == (n_readout, 8)
    expected = cropped_kspace(kspace[0], n_readout)
    assert_equal_to_rounding(raw.read_slice(0), expected, n_summed=encoded)
    assert raw.mask.shape == (1, 1, 10) and raw.mask.all()


@pytest.mark.parametrize("n_phase", [12, 13])
def test_grid_row_formula_and_partial_fourier(tmp_path, n_phase):
    # the scan leaves out the first 4 rows: its counter starts at 0 on row 4
    kspace = random_complex(0, 2, 8, n_phase)
    limit = Limit(0, n_phase - 5, n_phase // 2 - 4)
    acquisitions = [
        make_acquisition(kspace[:, :, row], kspace_encode_step_1=row - 4)
        for row in range(4, n_phase)
    ]
    write_acquisitions(tmp_path / "p.h5", header((8, n_phase, 1), limit=limit), acquisitions)
    raw = read_raw(tmp_path / "p.h5")
    expected = np.arange(n_phase) >= 4
    np.testing.assert_array_equal(raw.mask[0, 0], expected)
    np.testing.assert_array_equal(raw.read_slice(0), kspace * expected)
    assert raw.acquired_range == (4, n_phase)
    assert "phase encode" in dict(describe(raw))["partial Fourier"]


def test_missing_limits_mean_no_offset(tmp_path):
    kspace = random_complex(0, 2, 8, 10)
    write_acquisitions(tmp_path / "n.h5", header((8, 10, 1)), lines(kspace), dataset="measurement")
    raw = read_raw(tmp_path / "n.h5")
    np.testing.assert_array_equal(raw.read_slice(0), kspace)
    assert raw.provenance["dataset"] == "measurement"


def test_asymmetric_echo_is_outside_the_mask(tmp_path):
    kspace = random_complex(0, 2, 16, 10)
    acquisitions = [
        make_acquisition(kspace[:, 5:, row], kspace_encode_step_1=row, center_sample=3)
        for row in range(10)
    ]
    text = header((16, 10, 1), (8, 10, 1), Limit(0, 9, 5))
    write_acquisitions(tmp_path / "a.h5", text, acquisitions)
    raw = read_raw(tmp_path / "a.h5")
    expected = np.zeros((16, 10), bool)
    expected[5:] = True
    assert raw.shape == (16, 10) and raw.crop == (8, 10)  # oversampling kept: the mask is exact
    np.testing.assert_array_equal(raw.mask, expected[None])
    np.testing.assert_array_equal(raw.read_slice(0), kspace * expected)
    assert "asymmetric echo" in " ".join(raw.provenance["processing"])
    assert "readout" in dict(describe(raw))["partial Fourier"]


def test_discarded_samples_are_outside_the_mask(tmp_path):
    kspace = random_complex(0, 2, 16, 6)
    garbage = kspace + 100
    garbage[:, 2:13] = kspace[:, 2:13]
    acquisitions = lines(garbage, discard_pre=2, discard_post=3)
    write_acquisitions(tmp_path / "d.h5", header((16, 6, 1), limit=Limit(0, 5, 3)), acquisitions)
    raw = read_raw(tmp_path / "d.h5")
    expected = np.zeros((16, 6), bool)
    expected[2:13] = True
    np.testing.assert_array_equal(raw.slice_mask(0), expected)
    np.testing.assert_array_equal(raw.read_slice(0), kspace * expected[None])


def test_discarded_samples_around_a_full_readout(tmp_path):
    kspace = random_complex(0, 2, 16, 6)
    padded = np.pad(kspace, ((0, 0), (3, 1), (0, 0)), constant_values=50)
    acquisitions = lines(padded, discard_pre=3, discard_post=1, center_sample=3 + 8)
    write_acquisitions(tmp_path / "d.h5", header((16, 6, 1), (8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "d.h5")
    assert raw.shape == (8, 6)
    assert_equal_to_rounding(raw.read_slice(0), cropped_kspace(kspace, 8), n_summed=16)


@pytest.mark.parametrize("center", [8, 7])  # counted in the flipped line, and in the stored one
def test_reversed_lines(tmp_path, center):
    kspace = random_complex(0, 2, 16, 6)
    acquisitions = lines(kspace)
    for row in (1, 3, 5):
        acquisitions[row] = reversed_line(acquisitions[row], center_sample=center)
    write_acquisitions(tmp_path / "r.h5", header((16, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "r.h5")
    assert raw.mask.all()
    np.testing.assert_array_equal(raw.read_slice(0), kspace)


@pytest.mark.parametrize("counted_in", ["flipped", "stored"])
def test_reversed_asymmetric_echo(tmp_path, counted_in):
    kspace = random_complex(0, 2, 32, 6)
    kspace[:, 14:19] *= 30  # the echo
    partial = kspace[:, 10:]
    center = 6 if counted_in == "flipped" else 22 - 1 - 6
    acquisitions = lines(partial, center_sample=6)
    for row in range(0, 6, 2):
        acquisitions[row] = reversed_line(acquisitions[row], center_sample=center)
    write_acquisitions(tmp_path / "r.h5", header((32, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "r.h5")
    expected = np.zeros((32, 6), bool)
    expected[10:] = True
    np.testing.assert_array_equal(raw.slice_mask(0), expected)
    np.testing.assert_array_equal(raw.read_slice(0), kspace * expected)


def test_reversed_line_with_discards(tmp_path):
    kspace = random_complex(0, 1, 16, 4)
    acquisitions = lines(kspace)
    acquisitions[2] = reversed_line(acquisitions[2], discard_pre=3)
    write_acquisitions(tmp_path / "r.h5", header((16, 4, 1)), acquisitions)
    expected = np.ones((16, 4), bool)
    expected[13:, 2] = False  # acquired first, so the largest k
    np.testing.assert_array_equal(read_raw(tmp_path / "r.h5").slice_mask(0), expected)


def test_unset_center_sample(tmp_path):
    kspace = random_complex(0, 2, 16, 6)
    write_acquisitions(tmp_path / "c.h5", header((16, 6, 1)), lines(kspace, center_sample=0))
    raw = read_raw(tmp_path / "c.h5")
    np.testing.assert_array_equal(raw.read_slice(0), kspace)
    assert "center_sample is not set" in " ".join(raw.provenance["warnings"])


def test_flags_that_are_not_imaging(tmp_path):
    kspace = random_complex(0, 2, 8, 6)
    junk = random_complex(1, 2, 8)
    flags = [
        ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ]
    acquisitions = [make_acquisition(junk, flag, kspace_encode_step_1=2) for flag in flags]
    acquisitions += lines(kspace)
    write_acquisitions(tmp_path / "f.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "f.h5")
    np.testing.assert_array_equal(raw.read_slice(0), kspace)
    assert raw.n_averages == 1 and raw.provenance["left_out"]["navigation"] == 1


def test_averages_are_averaged_and_counted(tmp_path):
    kspace = random_complex(0, 3, 2, 8, 6)
    noise = random_complex(1, 2, 5000)
    acquisitions = [make_acquisition(noise, ismrmrd.ACQ_IS_NOISE_MEASUREMENT, sample_time_us=5)]
    for average in range(3):
        acquisitions += lines(kspace[average], average=average, sample_time_us=5)
    write_acquisitions(tmp_path / "a.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "a.h5")
    assert_equal_to_rounding(raw.read_slice(0), kspace.mean(axis=0), n_summed=3)
    assert raw.n_averages == 3
    single = noise @ noise.conj().T / (2 * noise.shape[1])
    assert_equal_to_rounding(
        raw.noise_covariance, single / 3, n_summed=noise.shape[1], dtype="float32"
    )


def test_unequal_averages_take_the_noise_of_the_fewest(tmp_path):
    kspace = random_complex(0, 2, 2, 8, 6)
    acquisitions = lines(kspace[0]) + lines(kspace[1], rows=[2, 3], average=1)
    write_acquisitions(tmp_path / "a.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "a.h5")
    expected = kspace[0].copy()
    expected[..., 2:4] = kspace[..., 2:4].mean(axis=0)
    assert_equal_to_rounding(raw.read_slice(0), expected, n_summed=2)
    assert raw.n_averages == 1 and raw.provenance["averages"] == {"minimum": 1, "maximum": 2}
    assert "1 to 2 times" in " ".join(raw.provenance["warnings"])


@pytest.mark.parametrize("counter", ["repetition", "contrast", "phase", "set"])
def test_first_of_each_counter_unless_chosen(tmp_path, counter):
    kspace = random_complex(0, 2, 2, 8, 6)
    acquisitions = []
    for row in range(6):  # interleaved
        for k, value in enumerate((1, 4)):
            acquisitions += lines(kspace[k], rows=[row], **{counter: value})
    write_acquisitions(tmp_path / "c.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "c.h5")
    np.testing.assert_array_equal(raw.read_slice(0), kspace[0])
    assert raw.provenance["counters"][counter] == {"chosen": 1, "available": [1, 4]}
    (said,) = raw.provenance["not_chosen"]
    assert f"{counter} 1 is read, the file has 1, 4" in said and f"--{counter}" in said
    chosen = read_raw(tmp_path / "c.h5", selection=Selection(**{counter: 4}))
    np.testing.assert_array_equal(chosen.read_slice(0), kspace[1])
    with pytest.raises(ConfigurationError, match="1, 4"):
        read_raw(tmp_path / "c.h5", selection=Selection(**{counter: 2}))


def test_interleaved_slices_are_ordered_by_position(tmp_path):
    kspace = random_complex(0, 5, 2, 8, 6)
    counter_of_position = [2, 0, 3, 1, 4]
    normal = np.array([0.0, 0.6, 0.8])
    acquisitions = []
    for place in (0, 2, 4, 1, 3):
        fields = dict(slice=counter_of_position[place], position=tuple(normal * 5 * place))
        fields.update(slice_dir=tuple(normal), read_dir=(1, 0, 0), phase_dir=(0, 0.8, -0.6))
        acquisitions += lines(kspace[place], rows=range(place % 2, 6), **fields)
    write_acquisitions(tmp_path / "s.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "s.h5")
    assert raw.n_slices == 5 and raw.provenance["slice_order"] == counter_of_position
    assert raw.mask.shape == (5, 1, 6)
    for place in range(5):
        expected = kspace[place] * (np.arange(6) >= place % 2)
        np.testing.assert_array_equal(raw.read_slice(place), expected)
    assert_equal_to_rounding(
        raw.geometry.slice_positions @ normal, np.arange(5) * 5, n_summed=3, dtype="float32"
    )
    assert_equal_to_rounding(
        raw.geometry.slice_direction, np.tile(normal, (5, 1)), n_summed=3, dtype="float32"
    )


def test_slices_without_positions_keep_their_counter(tmp_path):
    kspace = random_complex(0, 3, 2, 8, 6)
    acquisitions = [a for k in (1, 2, 0) for a in lines(kspace[k], slice=k)]
    write_acquisitions(tmp_path / "s.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "s.h5")
    for k in range(3):
        np.testing.assert_array_equal(raw.read_slice(k), kspace[k])


def test_calibration_lines_are_apart(tmp_path):
    kspace = random_complex(0, 2, 16, 12)
    only, both = (
        ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
        ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    )
    acquisitions = []
    for row in range(12):
        imaging, calibration = row % 3 == 0, 3 <= row < 9
        if imaging or calibration:
            flags = [both if imaging else only] if calibration else []
            line = make_acquisition(kspace[:, :, row], *flags, kspace_encode_step_1=row)
            acquisitions.append(line)
    write_acquisitions(tmp_path / "c.h5", header((16, 12, 1), (8, 12, 1)), acquisitions)
    raw = read_raw(tmp_path / "c.h5")
    rows = np.arange(12)
    expected = cropped_kspace(kspace, 8)
    np.testing.assert_array_equal(raw.mask[0, 0], rows % 3 == 0)
    assert_equal_to_rounding(raw.read_slice(0), expected * (rows % 3 == 0), n_summed=16)
    calibration, mask = raw.read_calibration(0)
    inside = (rows >= 3) & (rows < 9)
    assert raw.has_calibration and center_block(mask) == (8, 6)
    np.testing.assert_array_equal(mask, np.tile(inside, (8, 1)))
    assert_equal_to_rounding(calibration, expected * inside, n_summed=16)


def test_short_calibration_readouts(tmp_path):
    kspace = random_complex(0, 2, 16, 12)
    acquisitions = lines(kspace, rows=range(0, 12, 2))
    acquisitions += [
        make_acquisition(
            kspace[:, 4:12, row],
            ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
            kspace_encode_step_1=row,
            center_sample=4,
        )
        for row in range(4, 8)
    ]
    write_acquisitions(tmp_path / "c.h5", header((16, 12, 1), (8, 12, 1)), acquisitions)
    raw = read_raw(tmp_path / "c.h5")
    assert raw.shape == (8, 12)  # the image lines are full
    _, mask = raw.read_calibration(0)
    expected = np.zeros((8, 12), bool)
    expected[2:6, 4:8] = True  # half of the k-space range, at half the sampling density
    np.testing.assert_array_equal(mask, expected)


def test_calibration_shared_by_repetitions(tmp_path):
    kspace = random_complex(0, 2, 8, 6)
    flag = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
    acquisitions = [make_acquisition(kspace[:, :, 3], flag, kspace_encode_step_1=3)]
    for repetition in range(2):
        acquisitions += lines(kspace, rows=[0, 2, 4], repetition=repetition)
    write_acquisitions(tmp_path / "c.h5", header((8, 6, 1)), acquisitions)
    raw = read_raw(tmp_path / "c.h5", selection=Selection(repetition=1))
    np.testing.assert_array_equal(raw.read_calibration(0)[1][0], np.arange(6) == 3)


def test_noise_scaling_by_dwell_time_and_bandwidth(tmp_path):
    # 0.5 per real component: E|n|^2 = 1, on top of a correlation between the coils
    mixing = np.array([[1, 0.3j], [0, 1]])
    noise = mixing @ random_complex(0, 2, 40000) * np.sqrt(0.5)
    write_ismrmrd(
        tmp_path / "n.h5",
        random_complex(1, 1, 2, 8, 6),
        noise=noise,
        dwell_time_us=2.0,
        noise_dwell_time_us=10.0,
        relative_receiver_noise_bandwidth=0.8,
    )
    raw = read_raw(tmp_path / "n.h5")
    expected = 0.5 * mixing @ mixing.conj().T * (10 / 2) / 0.8
    np.testing.assert_allclose(raw.noise_covariance, expected, atol=0.03 * expected[0, 0].real)
    assert raw.provenance["noise"]["factor"] == pytest.approx(6.25)


def test_too_few_noise_samples_are_not_used(tmp_path):
    write_ismrmrd(tmp_path / "n.h5", random_complex(1, 1, 4, 8, 6), noise=random_complex(0, 4, 7))
    raw = read_raw(tmp_path / "n.h5")
    assert raw.noise_covariance is None and "too few" in " ".join(raw.provenance["warnings"])


@pytest.mark.parametrize("shape", [(16, 10, 6), (15, 9, 5)])
@pytest.mark.parametrize("block_bytes", [1, 2**28])
def test_volume_is_decoupled_along_the_readout(tmp_path, monkeypatch, shape, block_bytes):
    monkeypatch.setattr("mri_alps.rawdata.decoupling.BLOCK_BYTES", block_bytes)
    n_readout, n_phase, n_partitions = shape
    volume = random_complex(0, 2, *shape)  # coil, x, y, z
    kspace = fft_centered(volume, axes=(1, 2, 3)).astype(np.complex64)
    mask = np.random.default_rng(0).random(shape[1:]) < 0.6
    acquisitions = [
        make_acquisition(
            kspace[:, :, row, partition],
            kspace_encode_step_1=int(row),
            kspace_encode_step_2=int(partition),
            position=(7, 8, 9),
        )
        for row, partition in np.argwhere(mask)
    ]
    limits = {"kspace_encoding_step_2": Limit(0, n_partitions - 1, n_partitions // 2)}
    text = header(shape, (8, n_phase, 4), Limit(0, n_phase - 1, n_phase // 2), limits=limits)
    write_acquisitions(tmp_path / "v.h5", text, acquisitions)
    raw = pickle.loads(pickle.dumps(read_raw(tmp_path / "v.h5")))
    assert raw.n_slices == 8 and raw.shape == shape[1:] and raw.crop == (n_phase, 4)
    assert raw.axes == ("phase_encode", "partition")
    np.testing.assert_array_equal(raw.mask, mask[None])
    start = n_readout // 2 - 4
    for index in (0, 3, 7, 4):
        expected = fft_centered(volume[:, start + index]) * mask
        assert_equal_to_rounding(raw.read_slice(index), expected, n_summed=shape[0])
    positions = raw.geometry.slice_positions
    assert_equal_to_rounding(positions[4], (7, 8, 9), n_summed=3, dtype="float32")
    assert_equal_to_rounding(positions[5], (8, 8, 9), n_summed=3, dtype="float32")


def test_fully_sampled_volumes_of_mridata_org(tmp_path):
    """3-D FSE knees by GE: ISMRMRD, an elliptic shutter, no noise scan, no positions, one set."""
    shape = (24, 18, 12)
    kspace = fft_centered(random_complex(1, 3, *shape), axes=(1, 2, 3)).astype(np.complex64)
    y, z = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in shape[1:])
    ellipse = np.hypot(y[:, None], z) <= 1
    acquisitions = [
        make_acquisition(
            kspace[:, :, row, partition],
            kspace_encode_step_1=int(row),
            kspace_encode_step_2=int(partition),
        )
        for row, partition in np.argwhere(ellipse)
    ]
    limits = {"kspace_encoding_step_2": Limit(0, shape[2] - 1, shape[2] // 2)}
    text = header(shape, shape, Limit(0, shape[1] - 1, shape[1] // 2), limits=limits)
    write_acquisitions(tmp_path / "knee.h5", text, acquisitions)
    raw = read_raw(tmp_path / "knee.h5")
    assert raw.n_slices == shape[0] and raw.shape == shape[1:] and raw.noise_covariance is None
    np.testing.assert_array_equal(raw.mask, ellipse[None])
    expected = ifft_centered(kspace, axes=(1,))[:, 5] * ellipse
    assert_equal_to_rounding(raw.read_slice(5), expected, n_summed=shape[0])


def test_two_slabs(tmp_path):
    kspace = random_complex(0, 2, 1, 8, 6, 4)  # slab, coil, x, y, z
    acquisitions = [
        make_acquisition(
            kspace[slab, :, :, row, partition],
            kspace_encode_step_1=row,
            kspace_encode_step_2=partition,
            slice=slab,
            position=(0, 0, -50.0 * slab),
        )
        for slab in range(2)
        for row in range(6)
        for partition in range(4)
        if row != slab
    ]
    write_acquisitions(tmp_path / "v.h5", header((8, 6, 4)), acquisitions)
    raw = read_raw(tmp_path / "v.h5")
    assert raw.n_slices == 16 and raw.mask.shape == (16, 6, 4)
    images = ifft_centered(kspace, axes=(2,))
    for index in (3, 11):  # slab 1 lies lower and comes first
        slab = 1 - index // 8
        expected = images[slab, :, index % 8].copy()
        expected[:, slab] = 0
        assert_equal_to_rounding(raw.read_slice(index), expected, n_summed=8)
        assert not raw.slice_mask(index)[slab].any() and raw.slice_mask(index).sum() == 20


def test_slices_are_read_in_bounded_memory(tmp_path):
    import tracemalloc

    write_ismrmrd(tmp_path / "m.h5", random_complex(0, 30, 4, 64, 32))
    raw = read_raw(tmp_path / "m.h5")
    tracemalloc.start()
    raw.read_slice(20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * (8 * 4 * 64 * 32)  # of 30 slices


def test_the_scanners_own_file(shared_data):
    raw = read_raw(shared_data / "raw" / "phantom_prospective_r3_14ch_ismrmrd.h5")
    assert raw.shape == raw.crop == (192, 144) and (raw.n_slices, raw.n_coils) == (1, 14)
    # lines 0, 3, ..., 105 with centre 54 on row 72
    np.testing.assert_array_equal(np.flatnonzero(raw.mask[0, 0]), np.arange(18, 124, 3))
    assert raw.acquired_range == (18, 124)
    _, mask = raw.read_calibration(0)
    assert center_block(mask) == (192, 48)
    assert raw.provenance["noise"]["factor"] == pytest.approx(10.5, abs=0.02)


def test_noise_factor_against_the_air_of_the_scan(shared_data):
    """The air beside the bottles must have the noise that the covariance predicts.

    Aliased lines leave no air in the image, so the readout alone is transformed: positions
    beside the bottles hold noise in every measured line.
    """
    raw = read_raw(shared_data / "raw" / "phantom_prospective_r3_14ch_ismrmrd.h5")
    hybrid = ifft_centered(raw.read_slice(0)[:, :, raw.mask[0, 0]], axes=(1,))
    energy = (abs(hybrid) ** 2).sum(axis=(0, 2))
    quiet = np.sort(np.argsort(energy)[:8])
    measured = (abs(hybrid[:, quiet]) ** 2).mean(axis=(1, 2)) / 2
    ratio = measured / np.diag(raw.noise_covariance).real
    assert 0.85 < np.median(ratio) < 1.25  # 1/2 or 2 if the convention were another


def test_flags_are_those_of_the_format():
    for flag in Flag:
        number = getattr(ismrmrd, f"ACQ_{flag.name}", None)
        assert number == flag or (number is None and flag.value in (30, 31))
