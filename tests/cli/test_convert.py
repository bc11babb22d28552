"""mri-alps convert, as it is called."""

import numpy as np
import pytest

from mri_alps.rawdata import read_raw

FAST = ("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "4")


def test_kspace_to_bart_names_what_is_lost(scan, run, tmp_path):
    finished = run("convert", scan.path, tmp_path / "s.cfl")
    assert finished.code == 0 and "reference images" in finished.err
    assert str(tmp_path / "s.json") in finished.out
    kspace = read_raw(tmp_path / "s").read_slice(1)
    np.testing.assert_array_equal(kspace, scan.kspace[1].astype(np.complex64))


def test_reconstruction_to_nifti_and_dicom(scan, run, tmp_path):
    pytest.importorskip("nibabel")
    pytest.importorskip("highdicom")
    assert run("reconstruct", scan.path, "-o", tmp_path / "out", *FAST).code == 0
    result = tmp_path / "out" / "scan.h5"
    finished = run("convert", result, tmp_path / "s.nii.gz")
    assert finished.code == 0 and (tmp_path / "s_std.nii.gz").exists()
    assert "says nothing about positions" in finished.err  # a fastMRI file
    assert run("convert", result, tmp_path / "d").code == 0
    assert (tmp_path / "d" / "std.dcm").exists()
    assert "not empty" in run("convert", result, tmp_path / "d").err
    assert "can be converted to nifti or dicom" in run("convert", result, "x.cfl").err
    again = run("convert", result, tmp_path / "e", "--study", tmp_path / "d" / "mean.dcm")
    assert again.code == 0, again.err
    refused = run("convert", result, tmp_path / "x.nii", "--study", tmp_path / "d" / "mean.dcm")
    assert refused.code == 1 and "--study is about DICOM" in refused.err
    refused = run("convert", result, tmp_path / "f", "--study", scan.path)
    assert refused.code == 1 and "cannot be read as DICOM" in refused.err
    assert not (tmp_path / "f").exists()


def test_formats_that_are_not_said(scan, run, tmp_path):
    finished = run("convert", scan.path, tmp_path / "x.h5")
    assert finished.code == 1 and "add --to" in finished.err
    assert "can be converted to" in run("convert", scan.path, tmp_path / "x.nii").err
