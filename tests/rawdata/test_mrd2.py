"""MRD 2 streams: written by mrd-python and by this package, read alike."""

import sys

import ismrmrd
import numpy as np
import pytest

pytest.importorskip("mrd", reason="mrd-python is missing: pip install 'mri-alps[mrd]'")

import mrd

from mri_alps.core.errors import ConfigurationError, InputFileError, MissingDependencyError
from mri_alps.interop import convert
from mri_alps.rawdata import Selection, describe, make_header, read_raw
from mri_alps.rawdata.header import Limit
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions, write_mrd2
from tests.pipeline.simulated_scan import NOISE_STD, simulate
from tests.rawdata.rawdata_helpers import random_complex
from tests.rawdata.trajectory_scans import radial, samples_at, shots

SHAPE = (48, 40)
VIEW = (240.0, 200.0, 5.0)


def header(**options):
    limits = {"kspace_encoding_step_1": Limit(0, SHAPE[1] - 1, SHAPE[1] // 2)}
    return make_header(
        (*SHAPE, 1),
        (*SHAPE, 1),
        VIEW,
        VIEW,
        limits=limits,
        n_coils=4,
        relative_receiver_noise_bandwidth=0.8,
        protocol="t2",
        **options,
    )


def scan(rows=range(SHAPE[1])):
    kspace = simulate(2, 0, SHAPE)[0].astype(np.complex64)
    lines = [
        make_acquisition(
            NOISE_STD * random_complex(seed, 4, 64),
            ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
            sample_time_us=5.0,
        )
        for seed in range(64)
    ]
    for index in range(2):
        for row in rows:
            lines.append(
                make_acquisition(
                    kspace[index, :, :, row],
                    kspace_encode_step_1=row,
                    slice=index,
                    position=(0.0, 0.0, 6.0 * index),
                    sample_time_us=10.0,
                )
            )
    return kspace, lines


def told(raw):
    return " ".join(text for _, text in describe(raw))


def test_it_reads_what_ismrmrd_has(tmp_path):
    kspace, lines = scan(rows=[*range(0, 40, 2), 19, 21])
    write_acquisitions(tmp_path / "a.h5", header(), lines)
    write_mrd2(tmp_path / "b.bin", header(), lines)
    first, second = read_raw(tmp_path / "a.h5"), read_raw(tmp_path / "b.bin")
    assert second.format == "mrd2" and second.acquisition == "t2"
    for index in range(2):
        np.testing.assert_array_equal(second.read_slice(index), first.read_slice(index))
    np.testing.assert_array_equal(second.mask, first.mask)
    np.testing.assert_array_equal(second.read_slice(1)[:, :, 20], kspace[1, :, :, 20])
    np.testing.assert_allclose(second.noise_covariance, first.noise_covariance)
    np.testing.assert_array_equal(second.geometry.slice_positions, first.geometry.slice_positions)
    assert second.pixel_spacing == first.pixel_spacing == (5.0, 5.0)
    assert second.slice_thickness == first.slice_thickness


def test_mrd_python_reads_what_was_written(tmp_path):
    kspace, lines = scan()
    write_mrd2(tmp_path / "b.bin", header(), lines)
    with mrd.BinaryMrdReader(str(tmp_path / "b.bin")) as reader:
        head = reader.read_header()
        found = [item.value for item in reader.read_data()]
    assert head.encoding[0].encoded_space.matrix_size.x == SHAPE[0]
    assert head.encoding[0].encoding_limits.kspace_encoding_step_1.center == 20
    assert found[0].head.flags == mrd.AcquisitionFlags.IS_NOISE_MEASUREMENT
    line = found[64 + 40 + 7]
    assert (line.head.idx.kspace_encode_step_1, line.head.idx.slice) == (7, 1)
    np.testing.assert_array_equal(line.data, kspace[1, :, :, 7])
    assert line.head.position[2] == 6.0 and line.head.center_sample == 24


def test_what_is_no_acquisition_is_left_out_and_said(tmp_path):
    _, lines = scan()
    path = tmp_path / "b.bin"
    write_mrd2(path, header(), lines)
    with mrd.BinaryMrdReader(str(path)) as reader:
        head, items = reader.read_header(), list(reader.read_data())
    image = mrd.StreamItem.ArrayComplexFloat(np.ones((3, 4), np.complex64))
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(head)
        writer.write_data([items[0], image, *items[1:]])
    raw = read_raw(path)
    assert "left out: 1 x ArrayComplexFloat" in told(raw) and raw.mask.all()


def test_conversion_there_and_back(tmp_path):
    _, lines = scan(rows=range(6, 40))
    write_acquisitions(tmp_path / "a.h5", header(), lines)
    convert(tmp_path / "a.h5", tmp_path / "b.mrd2", "mrd2")
    convert(tmp_path / "b.mrd2", tmp_path / "c.h5", "ismrmrd")
    first, last = read_raw(tmp_path / "a.h5"), read_raw(tmp_path / "c.h5")
    np.testing.assert_array_equal(last.read_slice(1), first.read_slice(1))
    np.testing.assert_array_equal(last.mask, first.mask)
    assert last.crop == first.crop and last.pixel_spacing == first.pixel_spacing


def test_a_part_is_chosen_as_in_ismrmrd(tmp_path):
    _, lines = scan()
    for line in lines:
        line.idx.contrast = line.idx.slice
        line.idx.slice = 0
    write_mrd2(tmp_path / "b.bin", header(), lines)
    assert "contrast 0 is read, the file has 0, 1" in told(read_raw(tmp_path / "b.bin"))
    raw = read_raw(tmp_path / "b.bin", selection=Selection(contrast=1))
    np.testing.assert_array_equal(raw.read_slice(0)[:, :, 3], lines[64 + 40 + 3].data)
    with pytest.raises(ConfigurationError, match="leave dataset 'x' out"):
        read_raw(tmp_path / "b.bin", selection=Selection(dataset="x"))


def test_a_stream_that_ends_early_is_read_as_far_as_it_goes(tmp_path):
    _, lines = scan()
    path = tmp_path / "b.bin"
    write_mrd2(path, header(), lines)
    path.write_bytes(path.read_bytes()[:-5000])
    raw = read_raw(path)
    assert "ends within a record" in told(raw) and raw.mask[1].sum() < 40


def test_a_stream_of_another_version_is_refused(tmp_path):
    _, lines = scan()
    path = tmp_path / "b.bin"
    write_mrd2(path, header(), lines)
    path.write_bytes(path.read_bytes().replace(b'"encoding"', b'"encodinG"', 1))
    with pytest.raises(InputFileError, match="written by another version of the format"):
        read_raw(path)


def test_a_record_cannot_claim_more_than_the_file_has(tmp_path):
    _, lines = scan()
    path = tmp_path / "b.bin"
    write_mrd2(path, header(), lines[:70])
    content = path.read_bytes()
    shape = bytes([4, 64])  # coils and samples of the first line, as variable-length integers
    place = content.index(shape + lines[0].data.tobytes())
    for claim in (b"\xff\xff\xff\xff\xff\x1f", b"\xff\xff\xff\xff\xff\xff\xff\xff\x3f"):
        path.write_bytes(content[:place] + claim + shape[1:] + content[place + 2 :])
        with pytest.raises(InputFileError, match="MRD 2 stream"):
            read_raw(path)
    path.write_bytes(content[:9] + b"\xff\xff\xff\xff\xff\x1f" + content[11:])
    with pytest.raises(InputFileError, match="description of itself claims"):
        read_raw(path)


@pytest.mark.parametrize("length", [5, 7, 9, 10, 11, 100])
def test_a_stream_that_ends_within_its_description_is_refused(tmp_path, length):
    path = tmp_path / "scan.mrd"
    write_mrd2(path, header(), scan()[1])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputFileError):
        read_raw(path)


def test_random_damage_never_does_worse_than_an_error(tmp_path):
    _, lines = scan()
    path = tmp_path / "b.bin"
    write_mrd2(path, header(), lines)
    whole = path.read_bytes()
    begin = whole.index(b"t2")
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(begin, begin + 2000, 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_raw(path).read_slice(0)
        except (InputFileError, ConfigurationError):
            continue


def test_without_mrd_python_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    _, lines = scan()
    write_mrd2(tmp_path / "b.bin", header(), lines)
    monkeypatch.setitem(sys.modules, "mrd", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mri-alps\[mrd\]'"):
        read_raw(tmp_path / "b.bin")


def write_radial(path, places, samples, trajectory, spoil=None):
    text = make_header((48, 48, 1), (48, 48, 1), VIEW[:1] * 2 + (5.0,), VIEW[:1] * 2 + (5.0,),
                       n_coils=4, trajectory=trajectory)  # fmt: skip
    write_mrd2(path, text, shots(samples, places))
    with mrd.BinaryMrdReader(str(path)) as reader:
        head, items = reader.read_header(), list(reader.read_data())
    for number, item in enumerate(items):
        if spoil is not None:
            item.value.trajectory = spoil(item.value.trajectory, number)
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(head)
        writer.write_data(items)


@pytest.fixture(scope="module")
def spokes():
    pytest.importorskip("finufft", reason="shots are simulated with finufft")
    return radial(), samples_at(radial())


@pytest.mark.parametrize(
    "spoil", [None, lambda path, _: path.T.copy()], ids=["axes first", "samples first"]
)
def test_trajectories_are_read(tmp_path, spokes, spoil):
    places, samples = spokes
    write_radial(tmp_path / "r.bin", places, samples, "radial", spoil)
    raw = read_raw(tmp_path / "r.bin")
    assert (raw.kind, raw.format, raw.n_shots) == ("radial", "mrd2", 24)
    np.testing.assert_allclose(raw.trajectory(0), places, atol=1e-5)
    np.testing.assert_array_equal(raw.read_samples(0), samples)


@pytest.mark.parametrize(
    ("trajectory", "spoil", "words"),
    [
        ("cartesian", None, "Cartesian|cartesian"),
        ("radial", lambda path, n: path[:, :90] if n == 3 else path, "acquisition 3"),
        ("radial", lambda path, n: path[:0] if n == 3 else path, "1 of 24 shots carry no"),
        ("radial", lambda path, n: path * (np.nan if n == 3 else 1), "shot 3"),
    ],
    ids=["called Cartesian", "short", "none", "NaN"],
)
def test_trajectories_that_cannot_be_are_refused(tmp_path, spokes, trajectory, spoil, words):
    places, samples = spokes
    write_radial(tmp_path / "r.bin", places, samples, trajectory, spoil)
    with pytest.raises(InputFileError, match=words):
        read_raw(tmp_path / "r.bin").trajectory(0)
