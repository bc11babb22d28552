"""The centre of k-space is found, exact zeros are unmeasured: in every format, when opened."""

import dataclasses
import pickle

import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.rawdata import (
    Selection,
    raw_from_arrays,
    read_raw,
    settle_scan,
    write_cfl,
    write_fastmri,
    write_ismrmrd,
)
from mri_alps.rawdata.arrays import ArraySource
from mri_alps.rawdata.settling import with_measured_zeros
from tests.pipeline.simulated_scan import simulate
from tests.rawdata.rawdata_helpers import (
    Limit,
    fft_centered,
    header,
    lines,
    make_acquisition,
    random_complex,
    write_acquisitions,
)

EVEN, ODD = (64, 48), (63, 47)


def simulated(shape=EVEN, n_slices=1, seed=0):
    return simulate(n_slices, seed, shape)[0].astype(np.complex64)


def notes(raw):
    return raw.provenance.get("settled", [])


def check_untouched(raw, kspace):
    assert notes(raw) == [] and raw.zeros is None
    for index, expected in enumerate(kspace):
        np.testing.assert_array_equal(raw.read_slice(index), expected)


def unsettled(raw, **changes):
    return dataclasses.replace(raw, is_settled=False, **changes)


@pytest.mark.parametrize("shape", [EVEN, ODD])
@pytest.mark.parametrize("shift", [(3, 0), (-8, 0), (15, 0), (0, 10), (0, -11), (-5, 6), (-15, 11)])
def test_a_wrong_centre_is_found_and_moved(shape, shift):
    kspace = simulated(shape)
    raw = raw_from_arrays(np.roll(kspace, shift, (-2, -1)))
    assert len(notes(raw)) == sum(step != 0 for step in shift)
    np.testing.assert_array_equal(raw.read_slice(0), kspace[0])
    for axis, step in zip(("readout", "phase encode"), shift, strict=True):
        assert any(f"along the {axis}" in note for note in notes(raw)) == (step != 0)
    assert set(notes(raw)) <= set(raw.provenance["warnings"])


@pytest.mark.parametrize("shape", [EVEN, ODD])
@pytest.mark.parametrize("shift", [(0, 0), (2, -2)])
def test_a_right_centre_stays(shape, shift):
    kspace = np.roll(simulated(shape), shift, (-2, -1))
    check_untouched(raw_from_arrays(kspace), kspace)


@pytest.mark.parametrize("first", [12, 8])
@pytest.mark.parametrize("step", [1, 2])
def test_partial_fourier_with_the_right_centre_stays(first, step):
    mask = np.zeros(48, bool)
    mask[first::step] = mask[16:32] = True
    kspace = simulated() * mask
    check_untouched(raw_from_arrays(kspace, mask), kspace)


def test_uniform_undersampling_cannot_tell_a_small_shift():
    mask = np.arange(48) % 4 == 2
    kspace = np.roll(simulated(), 1, -1) * mask
    check_untouched(raw_from_arrays(kspace, mask), kspace)


def random_phase_scan(seed):
    """One slice with strong smooth phases, some coils, noise and a mask."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(40, 90, 2))
    x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    phase = sum(
        rng.normal() * np.cos(np.pi * (a * x + b * y) + c)
        for a, b, c in rng.uniform(0, 1.2, (4, 3))
    )
    texture = 1 + 0.3 * np.sign(np.sin(9 * x + seed)) * np.cos(7 * y)
    image = (np.hypot(x / 0.8, y / 0.7) < 1) * texture * np.exp(1j * phase)
    angles = np.linspace(0, 2 * np.pi, rng.choice([1, 4, 8]), endpoint=False)[:, None, None]
    distance = (x - np.cos(angles)) ** 2 + (y - np.sin(angles)) ** 2
    kspace = fft_centered(image * np.exp(-distance + 1j * angles * (1 + x)))
    kspace += 0.03 * random_complex(seed, *kspace.shape)
    mask = np.arange(shape[1]) % rng.choice([1, 2, 4, 8]) == 0
    middle = shape[1] // 2
    mask[middle - 4 : middle + 4] = True
    return raw_from_arrays((kspace * mask)[None].astype(np.complex64), mask)


def test_phases_of_healthy_scans_are_no_wrong_centre():
    moved = [seed for seed in range(60) if notes(random_phase_scan(seed))]
    assert moved == []


def with_a_steep_slice(kspace, shift):
    """The middle slice moved, and brighter than the others."""
    steep, middle = kspace.copy(), len(kspace) // 2
    steep[middle] = 3 * np.roll(kspace[middle], shift, -1)
    return steep


@pytest.mark.parametrize("n_slices", [3, 4])
def test_a_steep_phase_of_one_slice_is_no_wrong_centre(n_slices):
    steep = with_a_steep_slice(simulated(n_slices=n_slices), 6)
    check_untouched(raw_from_arrays(steep), steep)
    wrong = raw_from_arrays(np.roll(steep, 8, -1))  # one at 14, the others at 8
    assert "was moved by -8 samples" in notes(wrong)[0]


@pytest.mark.parametrize("shift", [4, 8])
def test_a_slice_that_happens_to_look_right_makes_no_wrong_centre_right(shift):
    kspace = np.roll(with_a_steep_slice(simulated(n_slices=3), -shift), shift, -1)
    assert f"was moved by {-shift} samples" in notes(raw_from_arrays(kspace))[0]


def test_filtered_noise_has_no_voice_about_the_centre():
    kspace = np.roll(simulated(n_slices=3), 8, -1)
    quiet = 0.002 * np.abs(kspace).max() * random_complex(5, *kspace.shape[1:])
    window = 0.05 + np.hanning(kspace.shape[-1])
    for noisy in ((1,), (0, 1)):
        kspace[list(noisy)] = quiet * window
        assert "was moved by" in notes(raw_from_arrays(kspace.astype(np.complex64)))[0]


def test_noise_and_empty_scans_have_no_centre():
    for kspace in (
        random_complex(1, 2, 3, 16, 16),
        random_complex(2, 1, 1, 40, 30),
        np.zeros((2, 2, 16, 16), np.complex64),
    ):
        check_untouched(raw_from_arrays(kspace), kspace)


def test_a_spike_is_no_centre():
    kspace = simulated()
    kspace[:, :, 60, 3] = 3 * abs(kspace).max()
    check_untouched(raw_from_arrays(kspace), kspace)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_centre_too_far_off_is_refused(axis):
    name, size = (("readout", 64), ("phase encode", 48))[axis]
    kspace = np.roll(simulated(), round(0.35 * size), axis + 2)
    found = f"along the {name} is at index {size // 2 + round(0.35 * size)}.*quarter"
    with pytest.raises(InputFileError, match=found):
        raw_from_arrays(kspace)
    first = np.roll(simulated(), size // 2, axis + 2)
    with pytest.raises(InputFileError, match=f"along the {name}.*apply fftshift"):
        raw_from_arrays(first)


@pytest.mark.parametrize(
    ("axes", "name"), [((-2, -1), "readout"), ((-2,), "readout"), ((-1,), "phase encode")]
)
def test_images_are_no_kspace(axes, name):
    shifted = np.fft.ifftshift(simulated(), axes=axes)
    images = np.fft.fftshift(np.fft.ifftn(shifted, axes=axes), axes=axes)
    with pytest.raises(InputFileError, match=f"along the {name} peaks nowhere"):
        raw_from_arrays(images.astype(np.complex64))


def test_slices_are_no_partitions(tmp_path):
    kspace = simulated((32, 24), n_slices=12)
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(12))
    write_cfl(tmp_path / "k", np.transpose(kspace, (2, 3, 0, 1)) * phases[:, None])
    with pytest.raises(InputFileError, match="12 samples along the partition peaks nowhere"):
        read_raw(tmp_path / "k")


def test_coils_are_no_readout_of_a_volume(tmp_path):
    kspace = np.concatenate([simulated(seed=seed) for seed in (0, 1)], axis=1)[0]
    write_cfl(tmp_path / "k", kspace[..., None])
    with pytest.raises(InputFileError, match=r"READ 8, .* peaks along PHS1 and PHS2"):
        read_raw(tmp_path / "k")


def test_a_wrong_centre_of_a_volume_is_moved(tmp_path):
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in (16, 32, 24)), indexing="ij")
    ball = np.where(x**2 + (y / 0.8) ** 2 + (z / 0.7) ** 2 < 1, 1 + 0.5 * np.sign(x * y * z), 0)
    kspace = fft_centered(ball + 0j, (0, 1, 2)) + 0.01 * random_complex(0, 16, 32, 24)
    write_cfl(tmp_path / "right", kspace[..., None])
    write_cfl(tmp_path / "wrong", np.roll(kspace, (5, -4), (1, 2))[..., None])
    right, wrong = (read_raw(tmp_path / name) for name in ("right", "wrong"))
    assert notes(right) == [] and len(notes(wrong)) == 2
    np.testing.assert_allclose(wrong.read_slice(8), right.read_slice(8), rtol=1e-5)


def write_partial_fourier(path, kspace, center, rows):
    """Rows are counted from the first, as in files whose limits have a wrong centre."""
    limit = Limit(0, max(rows) - min(rows), center)
    n_readout, n_phase = kspace.shape[-2:]
    acquisitions = lines(kspace, rows)
    for acquisition in acquisitions:
        acquisition.idx.kspace_encode_step_1 -= min(rows)
    encoded = (n_readout, n_phase, 1)
    write_acquisitions(path, header(encoded, limit=limit), acquisitions)
    return read_raw(path)


@pytest.mark.parametrize("center", [18, 24])
def test_partial_fourier_of_a_wrong_centre_is_that_of_the_right_one(tmp_path, center):
    rows = [row for row in range(12, 48) if row % 2 == 0 or 18 <= row < 30]
    right, wrong = (
        write_partial_fourier(tmp_path / f"{c}.h5", simulated()[0], c, rows) for c in (12, center)
    )
    assert notes(right) == [] and len(notes(wrong)) == 1
    np.testing.assert_array_equal(wrong.slice_mask(0), right.slice_mask(0))
    np.testing.assert_array_equal(wrong.read_slice(0), right.read_slice(0))
    assert wrong.acquired_range == right.acquired_range == (12, 47)


def test_the_readout_is_moved_before_its_oversampling_goes(tmp_path):
    kspace = simulated((96, 48))
    for name, shift in (("right", 0), ("wrong", 7)):
        moved = np.roll(kspace, shift, -2)
        write_ismrmrd(tmp_path / f"{name}.h5", moved, recon_matrix=(64, 48))
    right, wrong = (read_raw(tmp_path / f"{name}.h5") for name in ("right", "wrong"))
    assert wrong.shape == (64, 48) and len(notes(wrong)) == 1
    np.testing.assert_array_equal(wrong.read_slice(0), right.read_slice(0))


def test_calibration_lines_truth_and_mask_move_with_kspace():
    kspace, truth = simulate(1, 0, EVEN)
    lines_mask = np.zeros((1, *EVEN), bool)
    lines_mask[..., 16:32] = True
    shift = (-6, 5)
    mask = np.arange(48) % 2 == 0
    mask[16:32] = True
    parts = (kspace * mask, kspace * lines_mask, lines_mask)
    right = raw_from_arrays(parts[0], mask, calibration=parts[1:], ground_truth=truth)
    moved = [np.roll(part, shift, (-2, -1)) for part in parts]
    raw = unsettled(
        right,
        mask=np.roll(right.mask, 5, -1),
        acquired_range=(5, 48),
        source=ArraySource(moved[0], (moved[1], moved[2]), ground_truth=truth),
    )
    raw = pickle.loads(pickle.dumps(settle_scan(raw)))
    np.testing.assert_array_equal(raw.slice_mask(0)[0], mask)
    assert raw.acquired_range == (0, 43)
    calibration, found = raw.read_calibration(0)
    np.testing.assert_array_equal(found, lines_mask[0])
    np.testing.assert_allclose(calibration, (kspace * lines_mask)[0], rtol=1e-6)
    # The truth is the image of the file, which has the phase of its k-space's shift.
    restored = fft_centered(raw.read_ground_truth(0))
    np.testing.assert_allclose(
        np.roll(fft_centered(truth[0]), (6, -5), (0, 1)), restored, atol=1e-5
    )


@pytest.mark.parametrize("write", [write_fastmri, write_ismrmrd])
@pytest.mark.parametrize(
    ("zero", "words"),
    [
        (np.s_[..., :6], "6 of 48 phase encodes are exactly zero in all coils and slices"),
        (np.s_[..., 1::2], "24 of 48 phase encodes"),
        (np.s_[..., :10, :], "480 of 3072 samples"),
        (np.s_[..., 31, 20], "1 of 3072 samples"),
    ],
)
def test_exact_zeros_are_not_measured(tmp_path, write, zero, words):
    kspace = simulated(n_slices=3)
    kspace[zero] = 0
    kspace[0] = 0  # an empty slice says nothing
    write(tmp_path / "k.h5", kspace)
    raw = read_raw(tmp_path / "k.h5")
    np.testing.assert_array_equal(raw.slice_mask(1), (kspace[1] != 0).any(0))
    assert len(notes(raw)) == 1 and words in notes(raw)[0]
    assert "exact zeros left out" in raw.provenance["mask_source"]
    assert not raw.read_slice(0).any()


def test_zeros_of_one_coil_or_one_slice_are_samples(tmp_path):
    kspace = simulated(n_slices=2)
    kspace[0, 1, :, 5] = kspace[1, :, :, 7] = 0
    write_fastmri(tmp_path / "k.h5", kspace)
    assert read_raw(tmp_path / "k.h5").mask.all()


def test_a_few_zeros_of_integers_are_chance():
    kspace = np.round(2 * random_complex(0, 1, 1, 64, 48))
    assert (kspace == 0).sum() > 10
    kspace[..., 40:] = 0
    mask = raw_from_arrays(kspace).slice_mask(0)
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(48) < 40, EVEN))


def test_padding_at_the_edges_was_never_to_be_acquired():
    kspace = simulated()
    kspace[..., :6] = 0
    assert raw_from_arrays(kspace).acquired_range == (6, 48)
    kspace[..., 40::2] = 0
    assert raw_from_arrays(kspace).acquired_range == (0, 48)


def test_the_users_mask_overrides_zeros():
    kspace = simulated()
    kspace[..., :6] = 0
    raw = raw_from_arrays(kspace)
    mask = np.arange(48) % 2 == 0
    np.testing.assert_array_equal(
        with_measured_zeros(raw, mask).slice_mask(0)[0], mask | (np.arange(48) >= 6)
    )
    assert raw_from_arrays(kspace, np.ones(48, bool)).mask.all()


def test_a_slice_that_cannot_be_read_is_no_reason_not_to_open(tmp_path):
    kspace = np.roll(simulated(n_slices=3), 6, -1)
    kspace[1, 0, 3, 4] = np.nan
    write_fastmri(tmp_path / "k.h5", kspace)
    raw = read_raw(tmp_path / "k.h5")
    assert len(notes(raw)) == 1
    with pytest.raises(InputFileError, match="slice 1"):
        raw.read_slice(1)


def test_zeros_in_the_readout_of_a_volume_are_refused(tmp_path):
    kspace = random_complex(0, 1, 16, 8, 8)
    kspace[:, :4] = 0
    acquisitions = [
        make_acquisition(kspace[:, :, y, z], kspace_encode_step_1=y, kspace_encode_step_2=z)
        for y in range(8)
        for z in range(8)
    ]
    write_acquisitions(tmp_path / "v.h5", header((16, 8, 8)), acquisitions)
    with pytest.raises(InputFileError, match="readout of this 3-D scan is not full"):
        read_raw(tmp_path / "v.h5", selection=Selection())


def test_few_slices_are_read(tmp_path):
    class Counting(ArraySource):
        def read_kspace(self, index):
            read.append(index)
            return super().read_kspace(index)

    read = []
    raw = raw_from_arrays(simulated((16, 16), n_slices=20))
    settle_scan(unsettled(raw, source=Counting(raw.source.kspace)))
    assert set(read) == {9, 10, 11}
