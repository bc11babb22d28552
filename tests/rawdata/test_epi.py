"""EPI: lines of opposite directions are brought together, whatever tells how they differ."""

import ismrmrd
import numpy as np
import pytest

from mri_alps.core.errors import InputFileError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata import Selection, read_raw
from mri_alps.rawdata.ghost import ghost_of
from mri_alps.rawdata.ismrmrd._lines import LineShift
from mri_alps.rawdata.ismrmrd._navigators import fit_difference
from tests.rawdata.epi_simulation import Epi, ghost
from tests.rawdata.rawdata_helpers import header, random_complex, write_acquisitions

VISIBLE = 0.03
SHARP = 0.01


def opened(scan, path, acquisitions, **options):
    return read_raw(scan.write(path / "epi.h5", acquisitions, **options))


def notes(raw):
    return " ".join(raw.provenance["warnings"] + raw.provenance["processing"])


@pytest.mark.parametrize("n", [16, 17])
def test_a_shift_is_undone_exactly(n):
    line = random_complex(0, 3, n)
    shift = LineShift(np.array([0.7, -1.0, 0.0]), np.array([0.4, 0.0, 0.0]), n)
    back = LineShift(-shift.delay, -shift.phase, n)
    there = shift.undo(0, line, 0)
    assert_equal_to_rounding(back.undo(0, there, 0), line, n_summed=n)
    assert np.linalg.norm(there) == pytest.approx(np.linalg.norm(line), rel=1e-5)
    assert np.linalg.norm(there - line) > 0.3 * np.linalg.norm(line)
    assert_equal_to_rounding(shift.undo(1, line, 0), np.roll(line, 1, -1), n_summed=n)  # 1 sample
    assert_equal_to_rounding(shift.undo(2, line, 0), line, n_summed=n)
    part = np.zeros_like(line)
    part[:, 4:] = line[:, 4:]
    assert_equal_to_rounding(
        shift.undo(0, line[:, 4:], 4), shift.undo(0, part, 0)[:, 4:], n_summed=n
    )


def test_standard_errors_are_those_of_many_draws():
    rng = np.random.default_rng(0)
    n, deviations = 64, []
    place = (np.arange(n) - n // 2) / n
    profile = np.exp(-((place / 0.25) ** 2))
    for _ in range(200):
        delay, phase = rng.uniform(-4, 4), rng.uniform(-3, 3)
        truth = profile * np.exp(1j * (phase + 2 * np.pi * delay * place))
        noise = 0.05 * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
        found = fit_difference(truth + noise)
        turned = (found.phase - phase + np.pi) % (2 * np.pi) - np.pi
        deviations.append([(found.delay - delay) / found.errors[0], turned / found.errors[1]])
    spread = np.std(deviations, axis=0)
    assert (spread > 0.85).all() and (spread < 1.25).all()
    assert abs(np.mean(deviations, axis=0)).max() < 0.25


CONVENTIONS = {
    "three": lambda s: s.navigators() + s.train(s.all_rows()),
    "three, the first reversed": lambda s: s.navigators((1, 0, 1)) + s.train(s.all_rows()),
    "a whole train": lambda s: s.navigators((0, 1) * 8) + s.train(s.all_rows()),
    "two": lambda s: s.navigators((0, 1)) + s.train(s.all_rows()),
    "the image begins reversed": lambda s: s.navigators() + s.train(s.all_rows(), start=1),
    "after the image": lambda s: s.train(s.all_rows()) + s.navigators(),
    "without flags": lambda s: s.navigators(stored="unflagged") + s.train(s.all_rows()),
    "turned already": lambda s: s.navigators(stored="turned") + s.train(s.all_rows()),
    "turned already, the first reversed": lambda s: (
        s.navigators((1, 0, 1), "turned") + s.train(s.all_rows())
    ),
    "each shot": lambda s: [
        line
        for shot in (0, 1)
        for line in [*s.navigators(segment=shot), *s.train(s.all_rows(2, shot), segment=shot)]
    ],
    "each shot, before all of them": lambda s: [
        *[line for shot in (0, 1) for line in s.navigators(segment=shot)],
        *[line for shot in (0, 1) for line in s.train(s.all_rows(2, shot), segment=shot)],
    ],
    "acceleration": lambda s: s.navigators() + s.train(s.all_rows(2)),
    "partial Fourier": lambda s: s.navigators() + s.train(s.all_rows(first=10)),
    "one": lambda s: s.navigators((0,)) + s.train(s.all_rows()),
    "none": lambda s: s.train(s.all_rows()),
    "none, of two shots": lambda s: s.train(s.all_rows(2)) + s.train(s.all_rows(2, 1)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_of_phase_correction_lines(tmp_path, convention, seed):
    scan = Epi(seed, n_coils=(4, 8, 2)[seed], noise=(0.01, 0.03, 0.01)[seed])
    raw = opened(scan, tmp_path, CONVENTIONS[convention](scan))
    assert ghost(raw, [scan]) < SHARP
    assert "opposite directions" in notes(raw)
    assert ghost_of(scan.delay, scan.phase, scan.shape[0]) > 2 * VISIBLE


@pytest.mark.parametrize("shape", [(48, 40), (49, 41), (64, 37)])
@pytest.mark.parametrize("n_coils", [1, 6])
def test_sizes_and_coils(tmp_path, shape, n_coils):
    for seed in range(4):
        scan = Epi(seed, shape, n_coils, noise=0.05)
        raw = opened(scan, tmp_path, scan.navigators() + scan.train(scan.all_rows()))
        assert ghost(raw, [scan]) < VISIBLE / 2


def test_what_was_measured_is_said_and_kept(tmp_path):
    scan = Epi(1, delay=-0.7, phase=0.5)
    raw = opened(scan, tmp_path, scan.navigators() + scan.train(scan.all_rows()))
    assert "by 3 phase-correction lines: a delay of -0.70 samples" in notes(raw)
    found = raw.provenance["directions"]
    assert found["delay"] == [pytest.approx(-0.7, abs=0.01)]
    assert found["phase"] == [pytest.approx(0.5, abs=0.01)]


def test_off_resonance_is_none_of_the_difference(tmp_path):
    scan = Epi(2)
    scan.off_resonance = 0.4
    three = opened(scan, tmp_path, scan.navigators() + scan.train(scan.all_rows()))
    assert ghost(three, [scan]) < SHARP
    two = opened(scan, tmp_path, scan.navigators((0, 1)) + scan.train(scan.all_rows()))
    assert ghost(two, [scan]) < SHARP and "still differ by" in notes(two)


def test_lines_that_fit_each_other_stay_as_they_are(tmp_path):
    for seed in range(8):
        scan = Epi(seed, n_coils=(1, 4)[seed % 2], noise=(0.003, 0.05)[seed // 4], delay=0, phase=0)
        raw = opened(scan, tmp_path, scan.train(scan.all_rows()))
        np.testing.assert_array_equal(raw.read_slice(0), scan.kspace.astype(np.complex64))
        assert "nothing is corrected" in notes(raw)


def test_what_cannot_be_judged_is_said(tmp_path):
    scan = Epi(0, noise=3.0)
    raw = opened(scan, tmp_path, scan.train(scan.all_rows()))
    assert "do not tell whether they fit each other" in notes(raw)


def test_slices_have_differences_of_their_own(tmp_path):
    scans = [Epi(seed) for seed in range(4)]
    lines = []
    for number in (0, 2, 1, 3):
        lines += scans[number].navigators(slice=number)
        lines += scans[number].train(scans[number].all_rows(), slice=number)
    raw = opened(scans[0], tmp_path, lines)
    assert ghost(raw, scans) < SHARP
    assert len(raw.provenance["directions"]["delay"]) == 4


def test_slices_without_their_own_use_those_of_others(tmp_path):
    scans = [Epi(seed, delay=0.4, phase=-0.3) for seed in range(3)]
    lines = scans[0].navigators(slice=0)
    for number, scan in enumerate(scans):
        lines += scan.train(scan.all_rows(), slice=number)
    raw = opened(scans[0], tmp_path, lines)
    assert ghost(raw, scans) < SHARP
    assert "2 of 3 slices have no phase-correction lines" in notes(raw)


def test_an_empty_slice_does_not_spoil_the_others(tmp_path):
    scans = [Epi(seed, delay=0.4, phase=-0.3) for seed in range(3)]
    scans[2].images *= 0
    scans[2].kspace = scans[2].noisy(np.zeros_like(scans[2].kspace))
    lines = []
    for number, scan in enumerate(scans):
        lines += scan.navigators(slice=number) + scan.train(scan.all_rows(), slice=number)
    raw = opened(scans[0], tmp_path, lines)
    assert ghost(raw, scans[:2]) < SHARP


def test_repetitions_have_differences_of_their_own(tmp_path):
    first, second = Epi(0), Epi(1)
    lines = []
    for number, scan in enumerate((first, second)):
        lines += scan.navigators(repetition=number)
        lines += scan.train(scan.all_rows(), repetition=number)
    path = first.write(tmp_path / "epi.h5", lines)
    for number, scan in enumerate((first, second)):
        assert ghost(read_raw(path, selection=Selection(repetition=number)), [scan]) < SHARP


def test_calibration_lines_are_corrected_by_their_own(tmp_path):
    scan, calibrating = Epi(0), Epi(0, delay=0.9, phase=0.6)
    calibration = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]
    rows = range(8, 32)
    lines = calibrating.navigators(flags=calibration) + calibrating.train(rows, flags=calibration)
    lines += scan.navigators() + scan.train(scan.all_rows(2))
    raw = opened(scan, tmp_path, lines)
    assert ghost(raw, [scan]) < SHARP
    kspace, mask = raw.source.read_calibration(0)
    off = (kspace - calibrating.kspace) * mask
    assert np.linalg.norm(off) < SHARP * np.linalg.norm(calibrating.kspace * mask)


def test_lines_read_both_ways_tell_it_themselves(tmp_path):
    scan = Epi(3)
    lines = scan.train(scan.all_rows(), average=0) + scan.train(scan.all_rows(), 1, average=1)
    raw = opened(scan, tmp_path, lines)
    assert ghost(raw, [scan]) < SHARP
    assert "lines that were read in both directions" in notes(raw)


def test_phase_correction_that_is_none_is_left_out(tmp_path):
    scan = Epi(4)
    lines = scan.navigators()
    for line in lines:
        line.data[:] = scan.noisy(np.zeros_like(line.data))
    raw = opened(scan, tmp_path, lines + scan.train(scan.all_rows()))
    assert "is not linear over the readout" in notes(raw)
    assert ghost(raw, [scan]) < SHARP  # by the image's own lines


def test_lines_of_one_direction_need_none(tmp_path):
    scan = Epi(5, delay=0, phase=0)
    lines = [a for a in scan.train(scan.all_rows()) if not a.isFlagSet(ismrmrd.ACQ_IS_REVERSE)]
    raw = opened(scan, tmp_path, scan.navigators() + lines)
    assert "3 phase-correction lines are left out: all lines of the image were read in one" in (
        notes(raw)
    )


def test_other_lengths_and_damage_are_said(tmp_path):
    scan, longer = Epi(6), Epi(6, shape=(96, 40))
    raw = opened(scan, tmp_path, longer.navigators() + scan.train(scan.all_rows()))
    assert "3 phase-correction lines have other lengths" in notes(raw)
    lines = scan.navigators()
    lines[1].data[0, 3] = np.nan
    with pytest.raises(InputFileError, match=r"phase-correction lines.*NaN"):
        opened(scan, tmp_path, lines + scan.train(scan.all_rows()))


def test_volumes_are_corrected_too(tmp_path):
    scan = Epi(7, shape=(32, 24), delay=0.5, phase=0.7)
    lines, volume = scan.navigators(), []
    for partition in range(6):
        weight = np.exp(-((partition - 3) ** 2))
        volume.append(weight * scan.kspace)
        for line in scan.train(scan.all_rows(), kspace_encode_step_2=partition):
            line.data[:] *= weight
            lines.append(line)
    path = tmp_path / "v.h5"
    write_acquisitions(path, header((32, 24, 6)), lines)
    raw = read_raw(path)
    image = np.fft.fftshift(
        np.fft.ifft(np.fft.ifftshift(np.stack(volume, -1), axes=1), axis=1, norm="ortho"), axes=1
    )
    found = np.stack([raw.read_slice(index) for index in range(raw.n_slices)], axis=1)
    assert np.linalg.norm(found - image) < SHARP * np.linalg.norm(image)


DESCRIPTION = {
    "rampUpTime": 120, "flatTopTime": 400, "acqDelayTime": 120, "dwellTime": 5, "numSamples": 80,
}  # fmt: skip


def described(xml, **changes):
    parts = "".join(
        f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
        for name, value in (DESCRIPTION | changes).items()
    )
    found = f"<trajectoryDescription><identifier>ConventionalEPI</identifier>{parts}"
    end = b"<trajectory>epi</trajectory>"
    assert end in xml
    return xml.replace(end, end + (found + "</trajectoryDescription>").encode())


def test_samples_on_ramps_are_refused_by_name(tmp_path):
    scan = Epi(8)
    xml = header((*scan.shape, 1), trajectory="epi")
    lines = scan.navigators() + scan.train(scan.all_rows())
    for name, text, is_told in (("flat.h5", described(xml), True), ("none.h5", xml, False)):
        write_acquisitions(tmp_path / name, text, lines)
        raw = read_raw(tmp_path / name)
        assert ghost(raw, [scan]) < SHARP
        assert ("no times of its gradients" in notes(raw)) != is_told
    for changes in ({"acqDelayTime": 60}, {"numSamples": 100}):
        write_acquisitions(tmp_path / "ramp.h5", described(xml, **changes), lines)
        with pytest.raises(InputFileError, match=r"ramp sampling.*120 to 520 us"):
            read_raw(tmp_path / "ramp.h5")


def test_navigators_are_no_lines_of_the_image(tmp_path):
    scan = Epi(9)
    raw = opened(scan, tmp_path, scan.navigators() + scan.train(scan.all_rows(2)))
    assert raw.provenance["left_out"] == {"phase correction": 3}
    assert raw.provenance["n_imaging_lines"] == 20
