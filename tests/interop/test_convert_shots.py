"""Scans along trajectories from one format to another: the same samples at the same places."""

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError
from mri_alps.interop import convert
from mri_alps.rawdata import TrajectoryOptions, read_raw
from tests.rawdata import trajectory_scans as scans

pytest.importorskip("finufft", reason="shots are simulated with finufft")


@pytest.fixture
def npz(tmp_path):
    places = scans.radial()
    kspace = np.stack([scans.samples_at(places, seed=seed) for seed in (0, 1)])
    return scans.write_npz(tmp_path / "r.npz", kspace, places, field_of_view=[240.0, 240.0, 5.0])


def same(raw, other):
    assert raw.shape == other.shape and raw.n_slices == other.n_slices == 2
    for index in range(2):
        np.testing.assert_array_equal(raw.read_samples(index), other.read_samples(index))
        np.testing.assert_allclose(raw.trajectory(index), other.trajectory(index), atol=1e-5)


def test_npz_to_ismrmrd_to_bart(npz, tmp_path):
    original = read_raw(npz)
    convert(npz, tmp_path / "r.h5", "ismrmrd")
    middle = read_raw(tmp_path / "r.h5")
    same(middle, original)
    assert middle.pixel_spacing == pytest.approx((5.0, 5.0)) and middle.kind == "radial"
    done = convert(tmp_path / "r.h5", tmp_path / "b.cfl", "bart")
    assert [file.name for file in done.files] == [
        *("b.hdr", "b.cfl", "b_traj.hdr", "b_traj.cfl", "b.json")
    ]
    options = TrajectoryOptions(trajectory=tmp_path / "b_traj")
    same(read_raw(tmp_path / "b", trajectory=options), original)
    convert(tmp_path / "b", tmp_path / "again.h5", "ismrmrd", trajectory=options)
    same(read_raw(tmp_path / "again.h5"), original)


def test_formats_that_hold_no_shots(npz, tmp_path):
    with pytest.raises(ConfigurationError, match="ismrmrd, mrd2 or bart"):
        convert(npz, tmp_path / "f.h5", "fastmri")
    assert not (tmp_path / "f.h5").exists()


def test_through_mrd_2(npz, tmp_path):
    pytest.importorskip("mrd", reason="mrd-python is missing: pip install 'mri-alps[mrd]'")
    original = read_raw(npz)
    convert(npz, tmp_path / "r.mrd2", "mrd2")
    middle = read_raw(tmp_path / "r.mrd2")
    same(middle, original)
    assert middle.kind == "radial" and middle.format == "mrd2"
    convert(tmp_path / "r.mrd2", tmp_path / "back.h5", "ismrmrd")
    same(read_raw(tmp_path / "back.h5"), original)


def test_the_command_takes_what_bart_says_in_another_file(npz, tmp_path, capsys, monkeypatch):
    from mri_alps.cli.app import main

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["convert", *map(str, arguments)])
        return int(stop.value.code or 0), capsys.readouterr()

    original = read_raw(npz)
    assert run(npz, tmp_path / "ksp.cfl")[0] == 0
    code, said = run(tmp_path / "ksp", tmp_path / "none.h5")
    assert code == 1 and "--trajectory" in said.err and not (tmp_path / "none.h5").exists()
    code, said = run(
        tmp_path / "ksp", tmp_path / "b.h5", "--trajectory", tmp_path / "ksp_traj", "--matrix", 48
    )
    assert code == 0, said.err
    same(read_raw(tmp_path / "b.h5"), original)
