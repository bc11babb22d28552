"""Writing reconstructions: whole or not at all."""

import h5py
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.pipeline import provenance
from mri_alps.pipeline.output import (
    ReconstructionWriter,
    check_target,
    output_path,
    prepare_directory,
)
from mri_alps.pipeline.result import SliceReconstruction, load_reconstruction, stack_slices

ATTRIBUTES = {"configuration": {"n_samples": 8}, "seed": 0, "versions": {"mri_alps": "0"}}


def slice_result(index, shape=(6, 5), samples=None):
    rng = np.random.default_rng(index)
    images = rng.random((5, *shape)).astype(np.float32)
    return SliceReconstruction(
        index,
        *images,
        posterior_mean=(rng.random((8, 7)) + 1j).astype(np.complex64),
        samples=samples,
        sensitivity_maps=None,
        scalars={"scale": 2.0 + index, "n_evaluations": 20},
    )


def write(target, indices=(0, 2)):
    with ReconstructionWriter(target, indices) as writer:
        writer.write_attributes(ATTRIBUTES)
        for index in indices:
            writer.write_slice(slice_result(index))


def test_a_file_reads_back_as_it_was_written(tmp_path):
    write(tmp_path / "r.h5")
    found = load_reconstruction(tmp_path / "r.h5")
    expected = stack_slices([slice_result(0), slice_result(2)], ATTRIBUTES)
    for name in ("reconstruction", "reconstruction_std", "zero_filled", "posterior_mean"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.slices.tolist() == [0, 2]
    assert found.scalars["scale"].tolist() == [2.0, 4.0]
    assert found.attributes["configuration"] == {"n_samples": 8}
    assert found.samples is None
    assert found.attributes["format"].startswith("mri_alps")


def test_the_name_of_a_scan_need_not_be_utf8(tmp_path):
    with ReconstructionWriter(tmp_path / "r.h5", (0,)) as writer:
        writer.write_attributes(ATTRIBUTES | {"source": "a\udcff.h5"})
        writer.write_slice(slice_result(0))
    assert load_reconstruction(tmp_path / "r.h5").attributes["source"] == "a\\udcff.h5"


def test_nothing_is_left_after_a_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt), ReconstructionWriter(tmp_path / "r.h5", (0, 1)) as w:
        w.write_slice(slice_result(0))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_missing_slice_is_a_failure(tmp_path):
    with (
        pytest.raises(RuntimeError, match="1 of 2 slices"),
        ReconstructionWriter(tmp_path / "r.h5", (0, 1)) as writer,
    ):
        writer.write_slice(slice_result(0))
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_older_result_alone(tmp_path):
    write(tmp_path / "r.h5")
    before = (tmp_path / "r.h5").read_bytes()
    with pytest.raises(ValueError), ReconstructionWriter(tmp_path / "r.h5", (0,)):
        raise ValueError
    assert (tmp_path / "r.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "expected"),
    [("scan.h5", "scan.h5"), ("scan.cfl", "scan.h5"), ("scan", "scan.h5"), ("a.b.h5", "a.b.h5")],
)
def test_one_output_per_input_of_the_same_name(tmp_path, source, expected):
    assert output_path(tmp_path / source, tmp_path / "out") == tmp_path / "out" / expected


def test_neither_the_scan_nor_a_strangers_file_is_overwritten(tmp_path):
    scan = tmp_path / "scan.h5"
    with h5py.File(scan, "w") as file:
        file["kspace"] = np.ones(3)
    with pytest.raises(ConfigurationError, match="would overwrite the scan itself"):
        check_target(scan, scan)
    with pytest.raises(ConfigurationError, match="is not a reconstruction of mri_alps"):
        check_target(tmp_path / "other.h5", scan)
    write(tmp_path / "r.h5")
    check_target(scan, tmp_path / "r.h5")


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            prepare_directory(folder)


@pytest.mark.parametrize("content", [b"not hdf5", None])
def test_loading_something_else_is_an_error(tmp_path, content):
    path = tmp_path / "x.h5"
    if content is None:
        with h5py.File(path, "w") as file:
            file["kspace"] = np.ones(3)
    else:
        path.write_bytes(content)
    with pytest.raises(InputFileError, match=r"x\.h5"):
        load_reconstruction(path)


def test_a_package_without_metadata_costs_no_result(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("numpy", "no-such-package"))
    found = provenance.versions()
    assert found["numpy"] == np.__version__ and found["no-such-package"] == "unknown"
