"""Of what a file has several of, each is a scan of its own: chosen, named, resumed, recorded."""

import json

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsWarning
from mri_alps.pipeline import (
    ReconstructionConfiguration,
    open_parts,
    part_name,
    parts_of,
    scan_name,
)
from mri_alps.pipeline.manifest import read_manifest
from mri_alps.rawdata import list_parts, make_header, read_raw
from mri_alps.rawdata.ismrmrd import kinds, make_acquisition, write_acquisitions
from tests.pipeline.simulated_scan import simulate
from tests.pipeline.tiny_scans import TINY
from tests.rawdata.mrd_messages import acquisition_message, message, text

SHAPE = (32, 24)
FOUR = [f"contrast-{c}_repetition-{r}" for r in (0, 1) for c in (0, 1)]


def chosen(**choice):
    return ReconstructionConfiguration(**choice)


def names(path, **choice):
    return [part_name(part)[1:] for part in parts_of(path, chosen(**choice))]


def lines_of(seed, **fields):
    kspace = simulate(1, seed, SHAPE)[0][0]
    return [
        make_acquisition(kspace[:, :, row], kspace_encode_step_1=row, **fields)
        for row in range(SHAPE[1])
    ]


def write(path, acquisitions, group="dataset"):
    matrix, view = (*SHAPE, 1), (220.0, 176.0, 5.0)
    write_acquisitions(path, make_header(matrix, matrix, view, view), acquisitions, group)
    return path


def four():
    return [
        line
        for repetition in (0, 1)
        for contrast in (0, 1)
        for line in lines_of(2 * contrast + repetition, contrast=contrast, repetition=repetition)
    ]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return write(tmp_path_factory.mktemp("parts") / "scan.h5", four())


def add_group(path, name, acquisitions):
    other = write(path.with_name("other.h5"), acquisitions, name)
    with h5py.File(path, "a") as file, h5py.File(other) as source:
        source.copy(name, file)
    other.unlink()
    return path


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, FOUR),
        ({"contrast": "all"}, FOUR),
        ({"contrast": 1}, [FOUR[1], FOUR[3]]),
        ({"contrast": "0-1", "repetition": "1"}, FOUR[2:]),
        ({"contrast": (0, 1), "repetition": [0]}, FOUR[:2]),
        ({"contrast": 1, "repetition": 1}, FOUR[3:]),
        ({"set": "all"}, [f"{n}_set-0" for n in FOUR]),
        ({"encoding": 0, "repetition": 0}, [f"encoding-0_{n}" for n in FOUR[:2]]),
    ],
)
def test_numbers_ranges_and_all(scan, choice, expected):
    assert names(scan, **choice) == expected


@pytest.mark.parametrize("bad", ["", "x", "1-", "-1", -1, 0.5, True, [], "1;2", [None]])
def test_other_texts_are_refused(bad):
    with pytest.raises(ConfigurationError, match="numbers and ranges such as 0,2-3, or all"):
        chosen(contrast=bad)


def test_what_is_not_there_is_refused_by_the_reader(scan):
    (part,) = parts_of(scan, chosen(contrast="0,5"))
    with pytest.raises(ConfigurationError, match="contrast 5: choose one of 0, 1"):
        open_parts(scan, part)


def test_a_file_of_one_part_stays_as_it_is(tmp_path):
    path = write(tmp_path / "one.h5", lines_of(0))
    assert names(path) == [""]
    assert names(path, contrast="0") == ["contrast-0"]


def test_counters_need_not_be_a_grid(tmp_path):
    lines = lines_of(0, contrast=0, repetition=0) + lines_of(1, contrast=3, repetition=2)
    path = write(tmp_path / "ragged.h5", lines)
    assert names(path) == ["contrast-0_repetition-0", "contrast-3_repetition-2"]
    with h5py.File(path) as file:
        head = text(kinds.HEADER, file["dataset/xml"][0])
    stream = tmp_path / "ragged.mrd"
    stream.write_bytes(head + b"".join(map(acquisition_message, lines)) + message(kinds.CLOSE))
    assert names(stream) == names(path)


def test_measurements_by_name_and_number(scan, tmp_path):
    path = tmp_path / "two.h5"
    path.write_bytes(scan.read_bytes())
    add_group(path, "second", lines_of(7))
    assert names(path) == [*(f"dataset-dataset_{n}" for n in FOUR), "dataset-second"]
    assert names(path, dataset="second") == names(path, dataset="1") == ["dataset-second"]
    assert names(path, dataset="dataset,second", repetition="0") == (
        [f"dataset-dataset_{n}" for n in FOUR[:2]] + ["dataset-second_repetition-0"]
    )


def test_other_formats_have_the_parts_that_their_readers_name(tmp_path):
    kspace = np.stack([simulate(1, seed, SHAPE)[0] for seed in range(3)], axis=1)
    path = tmp_path / "repeated.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.astype(np.complex64)  # (slice, repetition, coil, x, y)
    with h5py.File(path) as file:
        assert file["kspace"].shape[1] == 3
    found = names(path)
    assert found in (["repetition-0", "repetition-1", "repetition-2"], [""])
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["kspace"] = kspace[:, 0].astype(np.complex64)
    assert list_parts(tmp_path / "plain.h5") == [{}]
    assert names(tmp_path / "plain.h5", repetition="all") == [""]
    assert names(tmp_path / "missing.h5") == [""]


def test_each_part_has_its_file_and_its_line(scan, tmp_path, run):
    finished = run("reconstruct", scan, "-o", tmp_path / "out", *TINY)
    assert finished.code == 0, finished.err
    assert "has several parts, of which 4 are meant" in " ".join(finished.err.split())
    assert "as asked for" not in finished.err  # the names say it
    made = sorted(path.stem for path in (tmp_path / "out").glob("*.h5"))
    assert made == sorted(f"scan_{name}" for name in FOUR)
    images = []
    for path in sorted((tmp_path / "out").glob("*.h5")):
        with h5py.File(path) as file:
            images.append(file["zero_filled"][0].ravel())
    assert np.corrcoef(images)[np.triu_indices(4, 1)].max() < 0.999
    entries = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert list(entries) == [f"{scan}#{name}" for name in FOUR]
    assert {entry["status"] for entry in entries.values()} == {"finished"}

    again = run("reconstruct", scan, "-o", tmp_path / "out", *TINY)
    assert again.code == 0 and "4 of 4 were finished before" in again.err
    (tmp_path / "out" / f"scan_{FOUR[2]}.h5").unlink()
    third = run("reconstruct", scan, "-o", tmp_path / "out", *TINY, "--repetition", "1", "--json")
    statuses = {entry["part"]: entry["status"] for entry in json.loads(third.out)}
    assert statuses == {FOUR[2]: "finished", FOUR[3]: "skipped"}


def test_several_files_with_parts_through_a_child_process(scan, tmp_path, run):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.h5").write_bytes(scan.read_bytes())
    write(folder / "b.h5", lines_of(5))
    finished = run("reconstruct", folder, "-o", tmp_path / "out", *TINY, "--contrast", "0")
    assert finished.code == 0, finished.err
    made = sorted(path.name for path in (tmp_path / "out").glob("*.h5"))
    assert made == [
        "a_contrast-0_repetition-0.h5", "a_contrast-0_repetition-1.h5", "b_contrast-0.h5",
    ]  # fmt: skip


def broken_lines():
    """Lines that lie outside of the matrix."""
    lines = lines_of(1)
    lines[3].idx.kspace_encode_step_1 = 99
    return lines


def test_what_nobody_asked_for_is_left_out_where_it_does_not_fit(tmp_path, run):
    path = add_group(write(tmp_path / "mixed.h5", lines_of(0), "first"), "broken", broken_lines())
    finished = run("reconstruct", path, "-o", tmp_path / "out", *TINY)
    said = " ".join(finished.err.split())
    assert finished.code == 0 and "dataset-broken is left out" in said and "row" in said
    entries = read_manifest(tmp_path / "out" / "manifest.jsonl").values()
    assert {e["part"]: e["status"] for e in entries} == {
        "dataset-broken": "left out", "dataset-first": "finished",
    }  # fmt: skip
    asked = run("reconstruct", path, "-o", tmp_path / "asked", *TINY, "--dataset", "first,broken")
    assert asked.code == 1 and "falls on row" in " ".join(asked.err.split())
    alone = run("reconstruct", path, "-o", tmp_path / "alone", *TINY, "--dataset", "broken")
    assert alone.code == 1 and not (tmp_path / "alone").exists()
    with pytest.warns(MriAlpsWarning) as caught:
        assert len(open_parts(path, chosen())) == 1
    assert "dataset-broken is left out" in " ".join(str(w.message) for w in caught)
    with pytest.raises(InputFileError, match="falls on row"):
        open_parts(path, chosen(dataset="broken"))


def test_none_that_fits_is_a_failure(tmp_path, run):
    path = add_group(write(tmp_path / "bad.h5", broken_lines(), "first"), "next", broken_lines())
    finished = run("reconstruct", path, "-o", tmp_path / "out", *TINY)
    assert finished.code == 1 and "falls on row" in " ".join(finished.err.split())


def test_dry_runs_and_conversions_take_each_part(scan, tmp_path, run):
    planned = run("reconstruct", scan, "-o", tmp_path / "o", *TINY, "--dry-run", "--json")
    assert [entry["part"] for entry in json.loads(planned.out)] == FOUR
    target = tmp_path / "new" / "x.cfl"
    options = ("--contrast", "1", "--fov", "200,150")
    finished = run("convert", scan, target, *options)
    assert finished.code == 0, finished.err
    made = sorted(path.name for path in target.parent.glob("*.cfl"))
    assert made == ["x_contrast-1_repetition-0.cfl", "x_contrast-1_repetition-1.cfl"]
    kept = json.loads((target.parent / "x_contrast-1_repetition-1.json").read_text())
    assert "200 x 150 mm" in json.dumps(kept)
    one = run("convert", scan, tmp_path / "one.mrd", "--contrast", "1", "--repetition", "0")
    assert one.code == 0 and read_raw(tmp_path / "one.mrd").shape == SHAPE


def test_a_library_call_opens_one(scan):
    import mri_alps

    with pytest.raises(ConfigurationError, match="ask for several parts"):
        mri_alps.reconstruct(scan, prior="gaussian", contrast="0-1")


def test_masks_are_compared_on_each_part(scan, tmp_path, run):
    options = ("--masks", "random", "--accelerations", "2", "--repetition", "0")
    finished = run("masks", scan, *options, "-o", tmp_path / "study", *TINY[:6])
    assert finished.code == 0, finished.err
    rows = (tmp_path / "study" / "masks.csv").read_text()
    for contrast in (0, 1):
        assert f"scan_contrast-{contrast}_repetition-0" in rows
    assert [scan_name(raw) for raw in _quietly_opened(scan)] == [f"scan_{n}" for n in FOUR]


def _quietly_opened(scan):
    with pytest.warns(MriAlpsWarning, match="4 are meant"):
        return open_parts(scan, chosen())
