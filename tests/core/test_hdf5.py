"""Nothing outside an HDF5 file is read, and nothing that the file could not hold is allocated."""

import ast
import os
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

import mri_alps
from mri_alps.core.errors import InputFileError
from mri_alps.core.hdf5 import MAX_MEMBERS, open_hdf5, read_text
from mri_alps.evaluation.folder import read_target
from mri_alps.masks.files import load_mask
from mri_alps.pipeline import load_reconstruction
from mri_alps.pipeline.output import read_attributes
from mri_alps.pipeline.result import IMAGE_DATASETS
from mri_alps.rawdata import raw_from_arrays, read_raw, read_sensitivity_maps, write_fastmri

SECRET = b"SECRET" * 400


def elsewhere(kind, file, name, folder, dtype=np.float32, shape=(1, 8, 8)):
    """Put `name` into `file` so that its data lie outside, or nowhere."""
    (folder / "secret").write_bytes(SECRET)
    with h5py.File(folder / "other.h5", "w") as other:
        other[name] = np.ones(shape, dtype)
    if kind == "external link":
        file[name] = h5py.ExternalLink("other.h5", name)
    elif kind == "soft link over an external one":
        file["out"] = h5py.ExternalLink("other.h5", "/")
        file[name] = h5py.SoftLink(f"/out/{name}")
    elif kind == "external storage":
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        file.create_dataset(name, shape, dtype, external=[(folder / "secret", 0, n_bytes)])
    else:
        source = Path(file.filename).name if kind == "its own source" else "other.h5"
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(source, name, shape)
        file.create_virtual_dataset(name, layout)


KINDS = {
    "external link": "is a link to another file",
    "soft link over an external one": "is a link to another file",
    "external storage": "is stored in other files",
    "virtual": "is a virtual dataset",
    "its own source": "is a virtual dataset",
}


def write_result(path, without):
    """A file as `reconstruct` writes it."""
    with h5py.File(path, "w", libver="latest") as file:
        for name in (*IMAGE_DATASETS, "posterior_mean", "slices"):
            if name != without:
                kind = np.complex64 if name == "posterior_mean" else np.float32
                file[name] = np.zeros(1, int) if name == "slices" else np.ones((1, 8, 8), kind)
        file["provenance"] = "{}"
        file.create_group("facts")


READERS = {
    "kspace": lambda path: read_raw(path),
    "reconstruction_rss": lambda path: read_target(path),
    "zero_filled": lambda path: load_reconstruction(path),
    "mask": lambda path: load_mask(path, (8, 8)),
    "sensitivity_maps": lambda path: read_sensitivity_maps(
        path, raw_from_arrays(np.ones((1, 1, 8, 8), np.complex64)), 0
    ),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_data_of_other_files_are_refused_under_every_name(tmp_path, name, kind):
    path = tmp_path / "scan.h5"
    write_result(path, name)
    with h5py.File(path, "a", libver="latest") as file:
        elsewhere(kind, file, name, tmp_path)
    with pytest.raises(InputFileError, match=KINDS[kind]) as error:
        READERS[name](path)
    assert name in str(error.value) and "scan.h5" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ismrmrd_header", "reconstruction_rss", "mask", "ground_truth"])
def test_data_of_other_files_are_refused_beside_a_sound_kspace(tmp_path, name, kind):
    path = tmp_path / "scan.h5"
    write_fastmri(path, np.ones((1, 2, 8, 8), np.complex64))
    with h5py.File(path, "a", libver="latest") as file:
        if name in file:
            del file[name]
        elsewhere(kind, file, name, tmp_path, "S64" if name == "ismrmrd_header" else np.float32)
    with pytest.raises(InputFileError, match=KINDS[kind]):
        read_raw(path)


def test_a_pipe_behind_a_link_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink("pipe", "/kspace")
    with pytest.raises(InputFileError, match="is a link to another file"):
        read_raw(tmp_path / "scan.h5")
    for use in (read_raw, load_reconstruction, read_target):
        with pytest.raises(InputFileError, match="no regular file"):
            use(tmp_path / "pipe")
    assert read_attributes(tmp_path / "pipe") is None


def test_links_within_the_file_are_followed_as_far_as_they_go(tmp_path):
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["group/data"] = np.arange(3)
        file["here"] = h5py.SoftLink("/group/data")
        file["group/near"] = h5py.SoftLink("data")
        file["loose"] = h5py.SoftLink("/nowhere")
        file["circle"] = h5py.SoftLink("/circle")
        file["group/again"] = file["group"]
    with open_hdf5(tmp_path / "links.h5") as file:
        for name in ("here", "group/near", "/group/again/again/data", "group//./data"):
            assert name in file and list(file[name][()]) == [0, 1, 2]
        assert "loose" not in file and file.get("loose") is None and file.get("here/no") is None
        with pytest.raises(KeyError):
            file["nothing"]
        for endless in ("circle", "group" + "/again" * 100):
            with pytest.raises(InputFileError, match="do not come to an end"):
                file.get(endless)


def test_many_entries_are_not_looked_through(tmp_path):
    with h5py.File(tmp_path / "many.h5", "w", libver="latest") as file:
        for k in range(MAX_MEMBERS + 1):
            file.create_group(f"g{k}")
            file.attrs[f"a{k}"] = 1
    with pytest.raises(InputFileError, match=f"{MAX_MEMBERS + 1} entries in one group"):
        read_raw(tmp_path / "many.h5")
    with (
        open_hdf5(tmp_path / "many.h5") as file,
        pytest.raises(InputFileError, match="1001 attributes"),
    ):
        dict(file.attrs)


@pytest.fixture
def claims(tmp_path):
    """A file of a few kilobytes that claims gigabytes in every way there is."""
    path = tmp_path / "claims.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("fill", (500, 1024, 1024), "f4", chunks=(1, 64, 64), fillvalue=1.0)
        file.create_dataset("chunk", (4, 4), "f4", chunks=(2**14, 2**14), maxshape=(None, None))
        file.create_dataset("one", (2**14, 2**14), "f4", chunks=(2**14, 2**14), compression="gzip")
        fat = np.dtype([("pad", "V1000000"), ("head", np.int32)])
        file.create_dataset("fat", (4000,), fat, chunks=(1,))
        file.create_dataset("text", (3,), "S100000000", chunks=(1,))
        file.attrs["wide"] = np.zeros(2**18)
    return path


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda f: f["fill"][()], "shape .500, 1024, 1024. would need 2000 MiB"),
        (lambda f: f["fill"][...], "would need 2000 MiB"),
        (lambda f: np.asarray(f["fill"]), "would need 2000 MiB"),
        (lambda f: f["fill"][10:490, [1, 2]], "would need"),
        (lambda f: f["chunk"], "in chunks of .16384, 16384., which need 1024 MiB"),
        (lambda f: f["one"], "a chunk of `one` would need 1024 MiB"),
        (lambda f: f["fat"].fields("head")[:], "would need 3815 MiB"),
        (lambda f: read_text(f["text"]), "95 MiB of text"),
        (lambda f: f.attrs["wide"], "the attribute `wide` may have 2 MiB"),
        (lambda f: dict(f.attrs), "the attribute `wide`"),
    ],
)
def test_a_claim_is_refused_before_it_is_allocated(claims, read, message):
    with open_hdf5(claims) as file, pytest.raises(InputFileError, match=message):
        read(file)


def test_a_part_of_a_large_claim_is_read(claims):
    with open_hdf5(claims) as file:
        assert file["fill"][3, 5:7, 0].tolist() == [1, 1]
        assert file["fill"][-1, -1, -1] == 1


def test_a_stream_that_holds_more_than_its_chunk_is_found_by_inflating_it(tmp_path, monkeypatch):
    monkeypatch.setattr("mri_alps.core.hdf5._filters.MAX_INFLATED_BYTES", 1000)
    packed = zlib.compress(bytes(100_000))
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        bomb = file.create_dataset("bomb", (8, 8), "f4", chunks=(4, 8), compression="gzip")
        bomb.id.write_direct_chunk((0, 0), packed)
        bomb[4:] = 7
        file.create_dataset("sound", data=np.arange(4000.0), chunks=(2000,), compression="gzip")
    with open_hdf5(tmp_path / "bomb.h5") as file:
        assert (file["bomb"][4:] == 7).all()
        assert (file["sound"][()] == np.arange(4000)).all()
        with pytest.raises(InputFileError, match="a chunk of `bomb` holds more"):
            file["bomb"][0]
        with pytest.raises(InputFileError, match="a chunk of `bomb` holds more"):
            file["bomb"][()]


GZIP, LZF = {"compression": "gzip"}, {"compression": "lzf"}


@pytest.mark.parametrize(
    ("options", "stored", "skipped"),
    [
        ({"fletcher32": True}, bytes(4), 0),
        ({"shuffle": True}, bytes(255), 0),
        (GZIP, zlib.compress(bytes(255)), 0),
        (GZIP, bytes(255), 1),  # the filter was left out
        ({**GZIP, "shuffle": True, "fletcher32": True}, bytes(4), 0),
        ({**LZF, "fletcher32": True}, bytes(4), 0),
    ],
)
def test_a_chunk_that_holds_less_than_it_should_is_not_read_beyond(
    tmp_path, options, stored, skipped
):
    """The library would fill the rest with whatever lies behind its buffer, or crash."""
    with h5py.File(tmp_path / "short.h5", "w") as file:
        short = file.create_dataset("short", (16, 8), "f4", chunks=(8, 8), **options)
        short.id.write_direct_chunk((0, 0), stored, skipped)
        file.create_dataset("sound", data=np.arange(128.0), chunks=(100,), **options)
    with open_hdf5(tmp_path / "short.h5") as file:
        assert (file["sound"][()] == np.arange(128)).all()
        with pytest.raises(InputFileError, match="a chunk of `short` holds less"):
            file["short"][()]


def test_a_buffer_that_is_too_short_to_unpack_into_is_refused(tmp_path):
    with h5py.File(tmp_path / "lzf.h5", "w") as file:
        data = file.create_dataset("d", (4, 4000), "f4", chunks=(4, 4000), **LZF)
        values = data.id.get_create_plist().get_filter(0)[2]
        data[...] = 1
    content = (tmp_path / "lzf.h5").read_bytes()
    old, new = (np.array([size], "<u4").tobytes() for size in (values[2], 8))
    assert values[2] == 64000 and old in content
    (tmp_path / "lzf.h5").write_bytes(content.replace(old, new))
    with open_hdf5(tmp_path / "lzf.h5") as file, pytest.raises(InputFileError, match="holds less"):
        file["d"]


def test_a_checksum_below_another_filter_is_refused(tmp_path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((64,))
    properties.set_fletcher32()
    properties.set_deflate(4)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        space = h5py.h5s.create_simple((64,))
        h5py.h5d.create(file.id, b"d", h5py.h5t.NATIVE_INT32, space, properties)
    with open_hdf5(tmp_path / "f.h5") as file, pytest.raises(InputFileError, match="checksum"):
        file["d"]


@pytest.mark.parametrize("place", ["dataset", "inner", "attribute"])
def test_fields_that_overlap_in_memory_are_refused(tmp_path, place):
    """A float with a wide exponent takes eight bytes in memory and leaves a pointer to nowhere."""
    wide = h5py.h5t.IEEE_F32LE.copy()
    wide.set_ebias(639)
    record = h5py.h5t.create(h5py.h5t.COMPOUND, 24)
    record.insert(b"time", 0, wide)
    record.insert(b"position", 4, h5py.h5t.IEEE_F32LE)
    record.insert(b"samples", 8, h5py.h5t.vlen_create(h5py.h5t.IEEE_F32LE))
    if place == "inner":
        outer = h5py.h5t.create(h5py.h5t.COMPOUND, 48)
        outer.insert(b"heads", 0, h5py.h5t.array_create(record, (2,)))
        record = outer
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        if place == "attribute":
            h5py.h5a.create(file.id, b"d", record, space)
        else:
            h5py.h5d.create(file.id, b"d", record, space)
    with open_hdf5(tmp_path / "wide.h5") as file, pytest.raises(InputFileError, match="overlap"):
        (file.attrs if place == "attribute" else file)["d"]


def test_filters_whose_growth_is_unknown_are_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("d", (64,), "i4", chunks=(64,), scaleoffset=4)
    with open_hdf5(tmp_path / "f.h5") as file, pytest.raises(InputFileError, match="filter number"):
        file["d"]


def test_entries_that_share_one_large_text_are_not_read_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mri_alps.core.hdf5.objects.MAX_PIECE_BYTES", 100_000)
    monkeypatch.setattr("mri_alps.core.hdf5.objects.ALWAYS_ALLOWED_BYTES", 100_000)
    path = tmp_path / "shared.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("t", (400,), h5py.string_dtype(), chunks=(400,))
        data[0] = "z" * 30_000
        file["own"] = ["abc"] * 9000
        file.flush()
        entry = data.id.read_direct_chunk((0,))[1][:16]
        data.id.write_direct_chunk((0,), entry * 400)
    with open_hdf5(path) as file:
        assert len(file["t"][3]) == 30_000
        with pytest.raises(InputFileError, match="share their content"):
            file["t"][()]
        assert file["own"].asstr()[()].tolist() == ["abc"] * 9000


def test_lines_that_share_their_samples_are_refused_though_only_headers_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("mri_alps.core.hdf5.objects.MAX_PIECE_BYTES", 100_000)
    monkeypatch.setattr("mri_alps.core.hdf5.objects.ALWAYS_ALLOWED_BYTES", 100_000)
    line = np.dtype([("head", "i4"), ("data", h5py.vlen_dtype(np.float32))])
    with h5py.File(tmp_path / "lines.h5", "w") as file:
        lines = file.create_dataset("lines", (400,), line, chunks=(400,))
        lines[0] = np.array((7, np.ones(9000, np.float32)), line)
        sound = file.create_dataset("sound", (40,), line)
        sound[:] = np.array([(k, np.full(3, k, np.float32)) for k in range(40)], line)
        file.flush()
        entry = lines.id.read_direct_chunk((0,))[1][: lines.id.get_type().get_size()]
        lines.id.write_direct_chunk((0,), entry * 400)
    with open_hdf5(tmp_path / "lines.h5") as file:
        assert file["sound"].fields("head")[5:40].tolist() == list(range(5, 40))
        assert file["sound"].fields("data")[5:40:2][1].tolist() == [7, 7, 7]
        assert file["lines"].fields("head")[:2].tolist() == [7, 7]
        with pytest.raises(InputFileError, match="share their content"):
            file["lines"].fields("head")[:]


def test_a_file_that_shrinks_while_it_is_searched_does_not_kill(tmp_path, monkeypatch):
    path = tmp_path / "scan.h5"
    write_fastmri(path, np.ones((1, 2, 64, 64), np.complex64))
    code = (
        "import os, sys; from pathlib import Path\n"
        "from mri_alps.core.hdf5 import _global_heaps as g\n"
        "path = Path(sys.argv[1]); walk = g._largest_entry\n"
        "def shrink(*arguments):\n    os.truncate(path, 0)\n    return walk(*arguments)\n"
        "g._largest_entry = shrink; g.check_global_heaps(path); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "alive\n", (done.returncode, done.stderr)
    assert path.stat().st_size == 0


def test_heaps_are_searched_once_for_as_long_as_a_file_stays_as_it_is(tmp_path, monkeypatch):
    from mri_alps.core.hdf5 import _global_heaps as global_heaps

    searched = []
    walk = global_heaps._largest_entry
    monkeypatch.setattr(global_heaps, "_largest_entry", lambda *a: searched.append(a) or walk(*a))
    path = tmp_path / "scan.h5"
    write_fastmri(path, np.ones((2, 2, 16, 16), np.complex64))
    raw = read_raw(path)
    first = len(searched)
    assert first
    raw.read_slice(0)
    read_raw(path)
    assert len(searched) == first
    with h5py.File(path, "a") as file:
        file["more"] = "text of another length"
    read_raw(path)
    assert len(searched) > first


def test_no_other_module_opens_hdf5_for_reading():
    root = Path(mri_alps.__file__).parent
    found = []
    for file in root.rglob("*.py"):
        if file.parent.name == "hdf5":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = ast.unparse(node.func)
            modes = [ast.literal_eval(a) for a in node.args[1:] if isinstance(a, ast.Constant)]
            if called == "h5py.File" and not set(modes) & {"w", "x"}:
                found.append(f"{file.name}:{node.lineno}")
            if called == "h5py.is_hdf5":
                found.append(f"{file.name}:{node.lineno}")
    assert found == []


def test_the_header_of_two_million_elements_is_not_built(tmp_path):
    from mri_alps.rawdata.header import MAX_HEADER_DEPTH, MAX_HEADER_ELEMENTS, parse_header

    for text in (
        b"<h>" + b"<x/>" * MAX_HEADER_ELEMENTS + b"</h>",
        b"<a>" * (MAX_HEADER_DEPTH + 1) + b"</a>" * (MAX_HEADER_DEPTH + 1),
    ):
        with pytest.raises(InputFileError, match="elements, or nests them"):
            parse_header(text, Path("scan.h5"))


def test_slices_that_the_file_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "scan.h5"
    write_fastmri(path, np.ones((1, 1, 8, 8), np.complex64))
    with h5py.File(path, "a") as file:
        del file["kspace"]
        claimed = file.create_dataset("kspace", (9000, 1, 8, 8), np.complex64, chunks=(1, 1, 8, 8))
        claimed[0] = 1
    with pytest.raises(InputFileError, match="claims 9000 slices in a file of"):
        read_raw(path)


@pytest.mark.parametrize("text", ["[", 3])
def test_a_provenance_that_is_no_json_is_damage(tmp_path, text):
    path = tmp_path / "result.h5"
    write_result(path, None)
    with h5py.File(path, "a") as file:
        del file["provenance"]
        file["provenance"] = text
    with pytest.raises(InputFileError, match="truncated or damaged"):
        load_reconstruction(path)
