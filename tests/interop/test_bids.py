"""BIDS derivatives: names, JSON and geometry, and the word of BIDS' own validator."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mri_alps
from mri_alps.core.errors import ConfigurationError
from tests.waiting import LONG

nibabel = pytest.importorskip("nibabel", reason="pip install 'mri-alps[nifti]'")

from mri_alps.interop import convert, write_bids  # noqa: E402 - after the check for nibabel

FAST = {"prior": "gaussian", "n_samples": 2, "n_evaluations": 4}


@pytest.fixture
def result(scan, tmp_path):
    """A reconstruction that was written: of a fastMRI file of the protocol AXT1."""
    path = mri_alps.reconstruct(scan.path, **FAST).save(tmp_path / "head_07.h5")
    return mri_alps.load_reconstruction(path)


def with_attributes(reconstruction, **attributes):
    reconstruction.attributes.update(attributes)
    return reconstruction


def problems(folder):
    """Codes of what the validator finds, by severity."""
    beside = Path(sys.executable).with_name("bids-validator-deno")
    validator = str(beside) if beside.exists() else shutil.which(beside.name)
    if validator is None:
        pytest.skip("BIDS' validator is missing: pip install bids-validator-deno")
    done = subprocess.run(
        [validator, "--format", "json", folder], capture_output=True, text=True, timeout=LONG
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return {s: {i["code"] for i in issues if i["severity"] == s} for s in ("error", "warning")}


def test_a_data_set_that_bids_validator_accepts(result, tmp_path):
    folder = tmp_path / "derivatives"
    first = write_bids(result, folder)
    second = write_bids(result, folder, subject="02", suffix="FLAIR")
    names = {path.relative_to(folder).as_posix() for path in (*first, *second)}
    stems = {f"sub-head07/anat/sub-head07_desc-{what}_T1w" for what in ("mean", "std")}
    stems |= {f"sub-02/anat/sub-02_desc-{what}_FLAIR" for what in ("mean", "std")}
    files = {stem + suffix for stem in stems for suffix in (".nii.gz", ".json")}
    assert names == files | {"dataset_description.json", "README.md"}
    found = problems(folder)
    assert found["error"] == set() and found["warning"] <= {"TOO_FEW_AUTHORS"}
    (folder / "sub-02" / "anat" / "sub-02_mean.nii.gz").write_bytes(b"")
    assert problems(folder)["error"]  # it does look


def test_images_and_what_is_known_of_them(scan, tmp_path):
    convert(scan.path, tmp_path / "scan.mrd", "ismrmrd")
    path = mri_alps.reconstruct(tmp_path / "scan.mrd", **FAST).save(tmp_path / "a.h5")
    header = {
        "vendor": "GE",
        "field_strength_tesla": "1.5",
        "echo_times_ms": ["80", "80.0"],
        "flip_angles_degree": ["90", "120"],
    }
    result = mri_alps.load_reconstruction(path)
    result.attributes["provenance"]["header"] = header
    write_bids(result, tmp_path / "set", subject="sub-A1", suffix="T2w")
    stem = tmp_path / "set" / "sub-A1" / "anat" / "sub-A1_desc-mean_T2w"
    details = json.loads(stem.with_suffix(".json").read_text())
    assert details["EchoTime"] == 0.08 and details["MagneticFieldStrength"] == 1.5
    assert details["Manufacturer"] == "GE" and details["NumberOfPosteriorSamples"] == 2
    assert details["SourceFile"] == "scan.mrd" and "FlipAngle" not in details  # two of them
    for name, expected in (("mean", result.reconstruction), ("std", result.reconstruction_std)):
        volume = nibabel.load(str(stem).replace("mean", name) + ".nii.gz")
        np.testing.assert_array_equal(np.moveaxis(volume.get_fdata(), -1, 0), expected)
        assert volume.header.get_zooms() == pytest.approx(
            (*result.attributes["provenance"]["geometry"]["pixel_spacing"], 5.0), rel=1e-4
        )


@pytest.mark.parametrize(
    ("protocol", "suffix"),
    [
        ("AXT1PRE", "T1w"),
        ("AXT2", "T2w"),
        ("AXFLAIR", "FLAIR"),
        ("t2_tse_dark-fluid_tra", "FLAIR"),
        ("CORPD_FBK", "PDw"),
        ("CORPDFS_FBK", "PDw"),
        ("t1_mprage_sag", "T1w"),
        ("gre_t2*_tra", "T2starw"),
        ("tof_fl3d", "angio"),
        ("SNR_R3", None),
        ("T10", None),
        ("update", None),
    ],
)
def test_the_contrast_is_told_by_the_protocol_or_asked_for(result, tmp_path, protocol, suffix):
    with_attributes(result, acquisition=protocol)
    if suffix is None:
        with pytest.raises(ConfigurationError, match="add --suffix with one of T1w"):
            write_bids(result, tmp_path / "set")
        assert not (tmp_path / "set").exists()
        return
    files = write_bids(result, tmp_path / "set")
    assert files[-1].name == f"sub-head07_desc-std_{suffix}.json"


def test_what_is_there_is_not_harmed(result, tmp_path):
    write_bids(result, tmp_path / "set", subject="1")
    with pytest.raises(ConfigurationError, match="exists: name another --subject"):
        write_bids(result, tmp_path / "set", subject="1")
    write_bids(result, tmp_path / "set", subject="1", overwrite=True)
    with pytest.raises(ConfigurationError, match="is not of letters and digits"):
        write_bids(result, tmp_path / "set", subject="../../a")
    with pytest.raises(ConfigurationError, match=r"expected one of T1w"):
        write_bids(result, tmp_path / "set", suffix="../bold")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "dataset_description.json").write_text('{"Name": "ds", "BIDSVersion": "1.8.0"}')
    with pytest.raises(ConfigurationError, match="that mri_alps did not make"):
        write_bids(result, raw)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    with pytest.raises(ConfigurationError, match="no empty folder and no BIDS data set"):
        write_bids(result, tmp_path / "other")


def test_from_the_command_line(result, run, tmp_path):
    finished = run("convert", result.path, tmp_path / "set", "--to", "bids", "--subject", "3")
    assert finished.code == 0 and "sub-3_desc-std_T1w.json" in finished.out
    assert "says nothing about positions" in finished.err
    finished = run("convert", result.path, tmp_path / "a.nii", "--subject", "3")
    assert finished.code != 0 and "--subject is about BIDS, not nifti" in finished.err
