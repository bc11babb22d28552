"""Siemens raw data, with known truth; twixtools reads the same."""

import struct
import sys

import numpy as np
import pytest

pytest.importorskip("twixtools", reason="twixtools is missing: pip install 'mri-alps[twix]'")

from mri_alps.core.errors import ConfigurationError, InputFileError, MissingDependencyError
from mri_alps.rawdata import Selection, describe, read_raw
from tests.pipeline.simulated_scan import NOISE_STD, coil_maps, phantom, simulate
from tests.rawdata import twix_files as twix
from tests.rawdata.rawdata_helpers import center_crop, fft_centered, ifft_centered, random_complex

READOUT, PHASE = 96, 40  # twice oversampled
VIEW = (240.0, 200.0, 5.0)
COILS = (4, 9, 2, 7)  # identifiers of channels, not in order
ORDER = np.argsort(COILS)


@pytest.fixture(scope="module")
def kspace():
    """(slice, coil, readout, phase encode); the object fills half of the readout."""
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 4, READOUT, PHASE), complex)
    for index in range(2):
        image = phantom(index, (READOUT // 2, PHASE)) * coil_maps((READOUT // 2, PHASE))
        truth[index, :, READOUT // 4 : 3 * READOUT // 4] = image
    noise = rng.standard_normal((2, *truth.shape))
    return fft_centered(truth) + NOISE_STD * (noise[0] + 1j * noise[1])


def expected(kspace):
    """What is read: coils in order, oversampling removed in image space."""
    image = center_crop(ifft_centered(kspace[:, ORDER], axes=(-2,)), READOUT // 2, 2)
    return fft_centered(image, axes=(-2,))


def image_lines(kspace, rows=range(PHASE), center=PHASE // 2, first=0, write=twix.line, **fields):
    """Lines of all slices; counters begin with the first row."""
    for index in range(len(kspace)):
        for row in rows:
            yield write(
                kspace[index, :, :, row],
                *fields.get("flags", ()),
                channels=COILS,
                Lin=row - first,
                Sli=index,
                CenterLin=center - first,
                position=(0.0, 0.0, 7.0 * index),
                **{name: value for name, value in fields.items() if name != "flags"},
            )


def protocol(**options):
    return twix.protocol(READOUT // 2, PHASE, VIEW, **options)


def noise_lines(n_lines=64, n_samples=256, std=NOISE_STD):
    for seed in range(n_lines):
        samples = std * random_complex(seed, 4, n_samples)
        yield twix.line(samples, "NOISEADJSCAN", channels=COILS)


def told(raw):
    return " ".join(text for _, text in describe(raw))


def check(raw, kspace, atol=1e-5):
    wanted = expected(kspace)
    assert (raw.n_slices, raw.n_coils, *raw.shape) == wanted.shape
    for index in range(raw.n_slices):
        np.testing.assert_allclose(raw.read_slice(index), wanted[index], atol=atol)


@pytest.mark.parametrize("version", ["vd", "vb"])
def test_an_image_with_its_geometry(tmp_path, kspace, version):
    lines = [twix.sync(), *image_lines(kspace)] if version == "vd" else list(image_lines(kspace))
    if version == "vd":
        path = twix.write_vd(tmp_path / "meas.dat", [("gre", protocol(), lines)])
    else:
        path = twix.write_vb(tmp_path / "meas.dat", protocol(), lines)
    raw = read_raw(path)
    check(raw, kspace)
    assert raw.format == "twix" and raw.acquisition == "gre" and raw.mask.all()
    assert raw.pixel_spacing == (5.0, 5.0) and raw.slice_thickness == 5.0
    np.testing.assert_allclose(raw.geometry.slice_positions[:, 2], [0, 7])
    # columns of the rotation are phase, readout, slice
    np.testing.assert_allclose(raw.geometry.phase_direction[0], [1, 0, 0])
    np.testing.assert_allclose(raw.geometry.readout_direction[0], [0, 1, 0])
    np.testing.assert_allclose(raw.geometry.slice_direction[0], [0, 0, 1])
    assert "readout oversampling removed in image space: 96 to 48" in told(raw)


def test_directions_follow_the_quaternion(tmp_path, kspace):
    turn = np.deg2rad(30)
    quaternion = (np.cos(turn / 2), 0, 0, np.sin(turn / 2))  # about z
    lines = image_lines(kspace, quaternion=quaternion)
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), lines)]))
    np.testing.assert_allclose(
        raw.geometry.phase_direction[0], [np.cos(turn), np.sin(turn), 0], atol=1e-6
    )


def test_twixtools_reads_the_same(tmp_path, kspace):
    import twixtools

    path = twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), list(image_lines(kspace)))])
    scans = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
    lines = [mdb for mdb in scans[-1]["mdb"] if mdb.is_image_scan()]
    raw = read_raw(path, selection=Selection(keep_oversampling=True))
    found = raw.read_slice(1)
    for mdb in lines:
        if mdb.cSlc == 1:
            np.testing.assert_array_equal(mdb.data[ORDER], found[:, :, mdb.cLin])
    assert scans[-1]["hdr"]["MeasYaps"]["sKSpace"]["lBaseResolution"] == READOUT // 2


def test_a_file_that_twixtools_wrote(tmp_path, kspace):
    import twixtools

    first = twix.write_vd(tmp_path / "a.dat", [("gre", protocol(), list(image_lines(kspace)))])
    scans = twixtools.read_twix(
        str(first), parse_pmu=False, parse_geometry=False, verbose=False, keep_acqend=True
    )
    twixtools.write_twix(scans, str(tmp_path / "b.dat"))
    check(read_raw(tmp_path / "b.dat"), kspace)


def test_the_noise_adjustment_before_the_image(tmp_path, kspace):
    adjustment = protocol(name="AdjNoise", dwell_ns=2000)
    path = twix.write_vd(
        tmp_path / "m.dat",
        [("AdjNoise", adjustment, noise_lines()), ("gre", protocol(), image_lines(kspace))],
    )
    raw = read_raw(path)
    check(raw, kspace)
    # 7680 us / 256 samples, as siemens_to_ismrmrd has it; the image has 5 us
    factor = 30.0 / 5.0 / 0.793
    np.testing.assert_allclose(
        raw.noise_covariance, factor * NOISE_STD**2 * np.eye(4), atol=0.05 * factor * NOISE_STD**2
    )
    assert "the noise of the measurement AdjNoise is used" in told(raw)
    assert "not_chosen" in raw.provenance and raw.provenance["not_chosen"] == []


def test_noise_of_other_coils_is_not_used(tmp_path, kspace):
    others = [dict(entry, channels=(1, 2, 3, 4)) for entry in noise_lines(8)]
    path = twix.write_vd(
        tmp_path / "m.dat",
        [("AdjNoise", protocol(), others), ("gre", protocol(), image_lines(kspace))],
    )
    raw = read_raw(path)
    assert raw.noise_covariance is None and "of other coils than the image" in told(raw)
    element = 'sCoilSelectMeas.aRxCoilSelectData[0].asList[{}].sCoilElementID.tElement = "{}"\n'
    names = ["".join(element.format(k, f"H{n}") for k, n in enumerate(o)) for o in ("1234", "1243")]
    path = twix.write_vd(
        tmp_path / "n.dat",
        [
            ("AdjNoise", protocol(more=names[0]), noise_lines(8)),
            ("gre", protocol(more=names[1]), image_lines(kspace)),
        ],
    )
    assert read_raw(path).noise_covariance is None


def test_a_measurement_is_chosen(tmp_path, kspace):
    path = twix.write_vd(
        tmp_path / "m.dat",
        [
            ("t1", protocol(name="t1"), image_lines(2 * kspace)),
            ("t2", protocol(), image_lines(kspace)),
        ],
    )
    raw = read_raw(path)
    check(raw, kspace)
    assert "dataset 1 is read, the file has 1, 0" in told(raw) and "t1, 80 lines" in told(raw)
    other = read_raw(path, selection=Selection(dataset="0"))
    check(other, 2 * kspace)
    assert other.acquisition == "t1"
    with pytest.raises(ConfigurationError, match="no dataset 2: choose one of 1, 0"):
        read_raw(path, selection=Selection(dataset="2"))


def test_partial_fourier(tmp_path, kspace):
    lines = image_lines(kspace, rows=range(12, PHASE), first=12)
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), lines)]))
    wanted = expected(kspace)
    np.testing.assert_allclose(raw.read_slice(1)[..., 12:], wanted[1, ..., 12:], atol=1e-5)
    np.testing.assert_array_equal(raw.slice_mask(0)[0], np.arange(PHASE) >= 12)


def test_asymmetric_echo_keeps_its_readout(tmp_path, kspace):
    lines = [
        dict(entry, samples=entry["samples"][:, 20:], center=entry["center"] - 20)
        for entry in image_lines(kspace)
    ]
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), lines)]))
    assert raw.shape == (READOUT, PHASE)
    np.testing.assert_array_equal(raw.slice_mask(0)[:, 0], np.arange(READOUT) >= 20)
    np.testing.assert_allclose(raw.read_slice(0)[:, 20:], kspace[0, ORDER, 20:], atol=1e-5)


def test_reflected_lines_and_navigators(tmp_path, kspace):
    lines = list(image_lines(kspace))
    for entry in lines[::2]:
        entry.update(samples=entry["samples"][:, ::-1], flags=("REFLECT",), center=READOUT // 2 - 1)
    lines.insert(0, twix.line(100 * random_complex(0, 4, READOUT), "PHASCOR", channels=COILS))
    lines.insert(0, twix.line(100 * random_complex(0, 4, READOUT), "RTFEEDBACK", channels=COILS))
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), lines)]))
    check(raw, kspace)
    assert raw.provenance["left_out"] == {"phase correction": 1, "real-time feedback": 1}


def test_acceleration_with_reference_lines(tmp_path, kspace):
    rows = sorted({*range(0, PHASE, 2), *range(14, 26)})
    lines = []
    for entry in image_lines(kspace, rows=rows):
        if entry["Lin"] % 2:
            entry["flags"] = ("PATREFSCAN",)
        elif 14 <= entry["Lin"] < 26:
            entry["flags"] = ("PATREFSCAN", "PATREFANDIMASCAN")
        lines.append(entry)
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), lines)]))
    np.testing.assert_array_equal(raw.slice_mask(0)[0], np.arange(PHASE) % 2 == 0)
    calibration, mask = raw.read_calibration(1)
    np.testing.assert_array_equal(np.flatnonzero(mask[0]), np.arange(14, 26))
    wanted = expected(kspace)[1][..., 14:26]
    np.testing.assert_allclose(calibration[..., 14:26], wanted, atol=1e-5)


def test_averages_and_oversampled_phases(tmp_path, kspace):
    lines = [dict(e, Ave=k) for k in range(2) for e in image_lines((1 + k) * kspace)]
    more = "sKSpace.dPhaseOversamplingForDialog = 0.25\n"
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", protocol(more=more), lines)]))
    assert raw.n_averages == 2 and raw.crop == (48, 32)
    np.testing.assert_allclose(raw.read_slice(0), 1.5 * expected(kspace)[0], atol=1e-5)
    assert raw.pixel_spacing[1] == pytest.approx(200 * 1.25 / 40)


def test_three_dimensions(tmp_path):
    partitions = 12
    volume = simulate(READOUT, 0, (PHASE, partitions))[0].transpose(1, 0, 2, 3)  # coil, x, y, z
    volume[:, : READOUT // 4] = volume[:, 3 * READOUT // 4 :] = 0
    full = fft_centered(volume, axes=(1,))
    lines = [
        twix.line(
            full[:, :, row, part],
            Lin=row,
            Par=part,
            CenterLin=PHASE // 2,
            CenterPar=partitions // 2,
            position=(1.0, 2.0, 3.0),
        )
        for part in range(partitions)
        for row in range(PHASE)
    ]
    buffers = twix.protocol(READOUT // 2, PHASE, (240.0, 200.0, 24.0), partitions)
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("mprage", buffers, lines)]))
    assert raw.axes == ("phase_encode", "partition") and raw.shape == (PHASE, partitions)
    assert raw.n_slices == READOUT // 2 and raw.slice_thickness == 5.0
    assert raw.pixel_spacing == (5.0, 2.0)
    np.testing.assert_allclose(raw.read_slice(10), volume[:, READOUT // 4 + 10], atol=1e-4)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("sKSpace.ucTrajectory = 0x2\n", "radial"),
        ("sRXSPEC.alRegridMode[0] = 2\n", "ramp sampling"),
        ("sKSpace.lBaseResolution = 20\n", "base resolution 20"),
        ("sKSpace.lBaseResolution = many\n", "no number"),
    ],
)
def test_what_the_protocol_says_is_refused_by_name(tmp_path, kspace, more, words):
    lines = image_lines(kspace)
    path = twix.write_vd(tmp_path / "m.dat", [("gre", protocol(more=more), lines)])
    with pytest.raises(InputFileError, match=words):
        read_raw(path)


def test_a_file_without_image_is_refused(tmp_path):
    path = twix.write_vd(tmp_path / "m.dat", [("AdjNoise", protocol(), noise_lines(4))])
    with pytest.raises(InputFileError, match="no lines of an image"):
        read_raw(path)


def test_a_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path, kspace):
    path = twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), image_lines(kspace))])
    path.write_bytes(path.read_bytes()[:-5000])
    raw = read_raw(path)
    assert raw.mask[1].sum() < PHASE and "ends without its end mark" in told(raw)


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, struct.pack("<I", 5)), (40, struct.pack("<Q", 1 << 5)), (48, struct.pack("<HH", 0, 4))],
)
def test_damaged_headers_of_lines_are_refused(tmp_path, kspace, place, value):
    path = twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), image_lines(kspace))])
    content = bytearray(path.read_bytes())
    start = 10240 + struct.unpack_from("<I", content, 10240)[0]
    if place != 48:  # a block beside lines, with a length that leads nowhere
        content[start + 40 : start + 48] = struct.pack("<Q", 1 << 5)
        content[start : start + 4] = struct.pack("<I", 5)
    content[start + place : start + place + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=r"at byte .* the file is damaged"):
        read_raw(path)


def test_random_damage_never_does_worse_than_an_error(tmp_path, kspace):
    path = twix.write_vd(
        tmp_path / "m.dat",
        [
            ("AdjNoise", protocol(), noise_lines(2, 32)),
            ("gre", protocol(), image_lines(kspace[:1])),
        ],
    )
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(120):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 8):
            content[place] = rng.integers(256)
        for place in rng.integers(10240, 12000, 4):
            content[place] = rng.integers(256)
        path.write_bytes(content[: rng.integers(9000, len(content))])
        try:
            raw = read_raw(path)
            raw.read_slice(0)
        except (InputFileError, ConfigurationError):
            continue


def test_without_twixtools_the_command_that_installs_it_is_named(tmp_path, kspace, monkeypatch):
    path = twix.write_vd(tmp_path / "m.dat", [("gre", protocol(), image_lines(kspace[:1]))])
    monkeypatch.setitem(sys.modules, "twixtools", None)
    monkeypatch.delitem(sys.modules, "twixtools.mdh_def", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mri-alps\[twix\]'"):
        read_raw(path)
