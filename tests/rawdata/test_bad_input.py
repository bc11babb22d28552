"""Bad input gives one sentence that names file, finding and remedy, and never an image."""

import h5py
import ismrmrd
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, DtypeError, InputFileError, ShapeError
from mri_alps.rawdata import (
    Selection,
    kspace_to_cfl,
    read_raw,
    write_cfl,
    write_fastmri,
    write_ismrmrd,
)
from mri_alps.rawdata.header import parse_header
from mri_alps.rawdata.ismrmrd import kinds
from tests.rawdata.mrd_messages import acquisition_message
from tests.rawdata.mrd_messages import text as message
from tests.rawdata.rawdata_helpers import Limit, header, lines, make_acquisition, random_complex
from tests.rawdata.rawdata_helpers import write_acquisitions as write

ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY l2 "&lol;&lol;">]>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>&l2;</encoding></ismrmrdHeader>"""


def refused(path, *words):
    """Opening `path`, or reading its slices, must fail with a sentence holding `words`."""
    with pytest.raises(InputFileError) as caught:
        raw = read_raw(path)
        for index in range(raw.n_slices):
            raw.read_slice(index)
            raw.read_calibration(index)
            raw.read_reference(index)
            raw.read_ground_truth(index)
    message = str(caught.value)
    assert path.stem in message and "\n" not in message and ": " in message
    for word in words:
        assert word in message, message


@pytest.fixture
def fastmri(tmp_path):
    path = tmp_path / "scan.h5"
    kspace = random_complex(0, 2, 3, 8, 10)
    write_fastmri(path, kspace, reconstruction=np.ones((2, 8, 10)))
    return path


def edit(path, name, value):
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


def test_missing_file(tmp_path):
    refused(tmp_path / "nowhere.h5", "does not exist")


def test_directory(tmp_path):
    refused(tmp_path, "is a directory", "one by one")


def test_unreadable_file(fastmri, monkeypatch):
    from pathlib import Path

    def deny(self, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    refused(fastmri, "cannot be read", "permissions")


@pytest.mark.parametrize("content", [b"", b"not a scan at all", b"\0" * 4096])
def test_no_hdf5(tmp_path, content):
    (tmp_path / "scan.h5").write_bytes(content)
    refused(tmp_path / "scan.h5", "neither HDF5", "convert")


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_truncated_hdf5(fastmri, fraction):
    content = fastmri.read_bytes()
    fastmri.write_bytes(content[: int(len(content) * fraction)])
    refused(fastmri, "truncated or damaged", "again")


def test_damaged_chunk_is_found_when_the_slice_is_read(tmp_path):
    path = tmp_path / "scan.h5"
    write_fastmri(path, random_complex(0, 2, 3, 32, 32), compression="gzip")
    with h5py.File(path) as file:
        chunk = file["kspace"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    middle = chunk.byte_offset + 10
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    read_raw(path).read_slice(0)
    refused(path, "truncated or damaged")


def test_other_hdf5(tmp_path):
    path = tmp_path / "other.h5"
    edit(path, "image", np.zeros((4, 4)))
    refused(path, "neither `kspace`", "image", "export")


def test_missing_kspace_of_fastmri(fastmri):
    edit(fastmri, "kspace", None)
    refused(fastmri, "`kspace` is missing")


@pytest.mark.parametrize("name", ["data", "xml"])
def test_missing_datasets_of_ismrmrd(tmp_path, name):
    path = tmp_path / "scan.h5"
    write_ismrmrd(path, random_complex(0, 1, 2, 8, 6))
    edit(path, f"dataset/{name}", None)
    refused(path, f"`{name}` is missing")


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float64])
def test_real_kspace(fastmri, dtype):
    edit(fastmri, "kspace", np.ones((2, 3, 8, 10), dtype))
    refused(fastmri, "must be complex")


@pytest.mark.parametrize("name", ["reconstruction_rss", "ground_truth"])
@pytest.mark.parametrize("dtype", [h5py.string_dtype(), "S3", "V8", h5py.ref_dtype])
def test_images_that_are_no_numbers(fastmri, name, dtype):
    with h5py.File(fastmri, "r+") as file:
        if name in file:
            del file[name]
        file.create_dataset(name, (2, 8, 10), dtype)
    refused(fastmri, f"`{name}` is", "numbers")


@pytest.mark.parametrize("shape", [(8, 10), (2, 1, 3, 8, 10)])
def test_wrong_number_of_axes(fastmri, shape):
    edit(fastmri, "kspace", random_complex(0, *shape))
    refused(fastmri, "expected (slices, coils, readout, phase encode)")


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan), complex(0, -np.inf)])
def test_not_finite_is_found_when_the_slice_is_read(fastmri, value):
    kspace = random_complex(0, 2, 3, 8, 10)
    kspace[1, 2, 3, 4] = value
    edit(fastmri, "kspace", kspace)
    read_raw(fastmri).read_slice(0)
    refused(fastmri, "NaN or Inf", "slice 1")


def test_not_finite_in_other_formats(tmp_path):
    kspace = random_complex(0, 1, 2, 8, 6)
    kspace[0, 1, 2, 3] = np.nan
    write_ismrmrd(tmp_path / "i.h5", kspace, recon_matrix=(4, 6))
    refused(tmp_path / "i.h5", "NaN or Inf")
    write_cfl(tmp_path / "b", kspace_to_cfl(kspace))
    refused(tmp_path / "b", "NaN or Inf")
    noise = random_complex(0, 2, 50)
    noise[0, 0] = np.inf
    write_ismrmrd(tmp_path / "n.h5", random_complex(0, 1, 2, 8, 6), noise=noise)
    refused(tmp_path / "n.h5", "noise acquisition 0")


@pytest.mark.parametrize("shape", [(9,), (11,), (10, 8), (2, 10, 8)])
def test_mask_of_another_length(fastmri, shape):
    edit(fastmri, "mask", np.ones(shape, bool))
    refused(fastmri, "`mask`", "10 phase encodes")


def test_mask_that_is_no_mask(fastmri):
    edit(fastmri, "mask", np.full(10, 0.5))
    refused(fastmri, "other than 0 and 1")
    edit(fastmri, "mask", np.zeros(10))
    refused(fastmri, "no phase encode is measured")


def test_reference_of_another_number_of_slices(fastmri):
    edit(fastmri, "reconstruction_rss", np.ones((3, 8, 10)))
    refused(fastmri, "`reconstruction_rss`")


@pytest.mark.parametrize("matrix", [(10**6, 10**6, 1), (0, 8, 1), (8, -3, 1)])
def test_absurd_header_sizes(tmp_path, fastmri, matrix):
    text = header(matrix, (8, 10, 1))
    edit(fastmri, "ismrmrd_header", text)
    refused(fastmri, "matrix of the header", "damaged")
    write(tmp_path / "i.h5", text, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", "matrix of the header")


def test_absurd_sizes_within_the_limit_of_an_axis(tmp_path):
    text = header((16000, 16000, 1))
    write(tmp_path / "i.h5", text, lines(random_complex(0, 8, 8, 6)))
    refused(tmp_path / "i.h5", "GiB")


def test_absurd_kspace_size(fastmri):
    with h5py.File(fastmri, "a") as file:
        del file["kspace"]
        file.create_dataset("kspace", (1, 8, 10**6, 10**6), "c8", chunks=(1, 1, 512, 512))
    refused(fastmri, "1000000 x 1000000")
    with h5py.File(fastmri, "a") as file:
        del file["kspace"], file["reconstruction_rss"]
        file.create_dataset("kspace", (1, 8, 1000, 1000), "c8", chunks=(1, 1, 512, 512))
    refused(fastmri, "holds no data")


def test_entity_expansion(tmp_path, fastmri):
    edit(fastmri, "ismrmrd_header", ENTITIES)
    refused(fastmri, "document type or entities", "remove")
    write(tmp_path / "i.h5", ENTITIES, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", "document type or entities")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_entity_expansion_does_not_hide_behind_an_encoding(tmp_path, encoding):
    with pytest.raises(InputFileError, match="document type or entities"):
        parse_header(ENTITIES.decode().encode(encoding), tmp_path / "i.h5")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"<ismrmrdHeader>", "not well-formed"),
        (b"<ismrmrdHeader/>", "no `encoding`"),
        (b"<h><encoding><trajectory>cartesian</trajectory></encoding></h>", "encodedSpace"),
        (header((8, 6, 1)).replace(b"<x>8<", b"<x>eight<"), "no number"),
        (header((8, 6, 1)).replace(b"<x>8<", b"<x>nan<"), "no number"),
    ],
)
def test_damaged_header(tmp_path, text, word):
    write(tmp_path / "i.h5", text, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", word)


@pytest.mark.parametrize("trajectory", ["radial", "spiral", "goldenangle", "other"])
def test_not_cartesian_and_without_a_trajectory(tmp_path, trajectory):
    text = header((8, 6, 1), trajectory=trajectory)
    write(tmp_path / "i.h5", text, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", trajectory, "6 of 6 shots carry no trajectory")


def test_a_trajectory_of_no_known_name(tmp_path):
    text = header((8, 6, 1), trajectory="epi with ramp sampling")
    write(tmp_path / "i.h5", text, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", "ramp sampling")


@pytest.mark.parametrize("trajectory", ["cartesian", ""])
@pytest.mark.parametrize("as_stream", [False, True])
def test_lines_with_trajectories_where_the_header_is_not_of_them(tmp_path, trajectory, as_stream):
    made = lines(random_complex(0, 2, 8, 6))
    for line in made[1:]:
        line.resize(8, 2, trajectory_dimensions=2)
        line.data[:], line.traj[:] = random_complex(1, 2, 8), 0.25
    path = tmp_path / "t.h5"
    text = header((8, 6, 1), trajectory=trajectory)
    if as_stream:
        path.write_bytes(message(kinds.HEADER, text) + b"".join(map(acquisition_message, made)))
    else:
        write(path, text, made)
    refused(path, "5 of 6", "trajectory of their own")


def test_lines_outside_the_grid(tmp_path):
    write(tmp_path / "i.h5", header((8, 5, 1)), lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", "row 5 of a grid of 5")
    text = header((8, 6, 1), limit=Limit(0, 5, 4))
    write(tmp_path / "i.h5", text, lines(random_complex(0, 2, 8, 6)))
    refused(tmp_path / "i.h5", "row -1")
    partitions = [
        make_acquisition(random_complex(0, 2, 8), kspace_encode_step_2=step) for step in (0, 1)
    ]
    write(tmp_path / "i.h5", header((8, 6, 1)), partitions)
    refused(tmp_path / "i.h5", "kspace_encode_step_2 1")


def test_readout_longer_than_the_matrix(tmp_path):
    write(tmp_path / "i.h5", header((8, 6, 1)), lines(random_complex(0, 2, 16, 6)))
    refused(tmp_path / "i.h5", "16 samples", "8 along the readout")
    write(tmp_path / "i.h5", header((8, 6, 1)), lines(random_complex(0, 2, 8, 6), discard_pre=9))
    refused(tmp_path / "i.h5", "samples after discarding")


def test_no_imaging_lines(tmp_path):
    noise = make_acquisition(random_complex(0, 2, 8), ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    write(tmp_path / "i.h5", header((8, 6, 1)), [noise])
    refused(tmp_path / "i.h5", "imaging line")


def test_coils_that_differ(tmp_path):
    acquisitions = lines(random_complex(0, 2, 8, 3)) + lines(random_complex(0, 3, 8, 3))
    write(tmp_path / "i.h5", header((8, 6, 1)), acquisitions)
    refused(tmp_path / "i.h5", "2 and 3 coils")


def test_samples_that_contradict_their_header(tmp_path):
    path = tmp_path / "i.h5"
    write_ismrmrd(path, random_complex(0, 1, 2, 8, 6))
    with h5py.File(path, "a") as file:
        row = file["dataset/data"][2]
        for length, word in ((17, "17 numbers"), (16, "1 coils"), (0, "0 numbers")):
            row["data"] = np.zeros(length, np.float32)
            file["dataset/data"][2] = row
            file.flush()
            with pytest.raises(InputFileError, match=word):
                read_raw(path).read_slice(0)


def test_volume_with_an_asymmetric_echo(tmp_path):
    acquisitions = [
        make_acquisition(random_complex(0, 2, 6), kspace_encode_step_2=k, center_sample=2)
        for k in range(4)
    ]
    write(tmp_path / "v.h5", header((8, 6, 4)), acquisitions)
    refused(tmp_path / "v.h5", "readout of this 3-D scan is not full")


def test_bart_pairs(tmp_path):
    base = tmp_path / "s"
    kspace = random_complex(0, 1, 2, 8, 6)

    def write_pair():
        write_cfl(base, kspace_to_cfl(kspace))

    write_pair()
    (tmp_path / "s.cfl").unlink()
    refused(base, "s.cfl does not exist")
    write_pair()
    (tmp_path / "s.hdr").unlink()
    refused(tmp_path / "s.cfl", "s.hdr does not exist")
    write_pair()
    data = (tmp_path / "s.cfl").read_bytes()
    (tmp_path / "s.cfl").write_bytes(data[:-8])
    refused(base, "bytes where s.hdr announces")
    for text, word in (
        ("# Dimensions\n1000000 1000000 1 8\n", "announces"),
        ("# Dimensions\n8 six\n", "positive integers"),
        ("# Dimensions\n8 -6 1 2\n", "positive integers"),
        ("8 6 1 2\n", "# Dimensions"),
        ("", "# Dimensions"),
    ):
        write_pair()
        (tmp_path / "s.hdr").write_text(text)
        refused(base, word)


def test_bart_arrays_that_are_no_kspace(tmp_path):
    write_cfl(tmp_path / "maps", random_complex(0, 8, 6, 1, 2, 2))
    refused(tmp_path / "maps", "sensitivity maps")
    write_cfl(tmp_path / "line", random_complex(0, 8, 1, 1, 2))
    refused(tmp_path / "line", "at least two")
    write_cfl(tmp_path / "zero", np.zeros((8, 6, 1, 2)))
    refused(tmp_path / "zero", "every sample is zero")
    volume = random_complex(0, 8, 6, 4, 2)
    volume[:3] = 0
    write_cfl(tmp_path / "partial", volume)
    refused(tmp_path / "partial", "fully sampled readout")


def test_selections_that_make_no_sense(tmp_path, fastmri):
    with pytest.raises(ConfigurationError, match="no repetition to choose"):
        read_raw(fastmri, selection=Selection(repetition=1))
    path = tmp_path / "i.h5"
    write_ismrmrd(path, random_complex(0, 1, 2, 8, 6))
    with pytest.raises(ConfigurationError, match="1 encoding spaces"):
        read_raw(path, selection=Selection(encoding=1))
    with pytest.raises(ConfigurationError, match="choose one of dataset"):
        read_raw(path, selection=Selection(dataset="scan"))


def test_writers_refuse_what_cannot_be_read(tmp_path):
    kspace = random_complex(0, 1, 2, 8, 6)
    for write_scan in (write_fastmri, write_ismrmrd):
        with pytest.raises(DtypeError, match="complex"):
            write_scan(tmp_path / "x.h5", kspace.real)
        with pytest.raises(ShapeError):
            write_scan(tmp_path / "x.h5", kspace[0, 0])
        with pytest.raises(ShapeError, match="mask"):
            write_scan(tmp_path / "x.h5", kspace, mask=np.ones(7, bool))
    with pytest.raises(ShapeError, match="slices"):
        write_fastmri(tmp_path / "x.h5", kspace, reconstruction=np.ones((2, 8, 6)))
    with pytest.raises(ShapeError, match="padding"):
        write_fastmri(tmp_path / "x.h5", kspace, padding=(3, 3))
    with pytest.raises(ShapeError, match="noise"):
        write_ismrmrd(tmp_path / "x.h5", kspace, noise=random_complex(0, 3, 9))
    assert list(tmp_path.iterdir()) == []


def test_a_sound_file_whose_samples_fill_it_is_no_damaged_one(tmp_path, monkeypatch):
    monkeypatch.setattr("mri_alps.core.hdf5.objects.ALWAYS_ALLOWED_BYTES", 0)
    kspace = random_complex(0, 1, 4, 512, 96)
    write_ismrmrd(tmp_path / "x.h5", kspace)
    np.testing.assert_array_equal(read_raw(tmp_path / "x.h5").read_slice(0), kspace[0])
