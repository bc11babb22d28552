"""Radial and spiral scans from the command line: each option does what it says to the image."""

import h5py
import numpy as np
import pytest

from tests.rawdata import trajectory_scans as scans
from tests.rawdata.test_trajectories import stack

pytest.importorskip("finufft", reason="scans along trajectories take finufft")

OPTIONS = (
    *("--prior", "gaussian", "--n-samples", "2", "--n-evaluations", "2"),
    *("--noise-std", str(scans.NOISE_STD)),
)


@pytest.fixture(scope="module")
def radial():
    places = scans.radial(40)
    return scans.samples_at(places), places


@pytest.fixture
def reconstruct(run, tmp_path):
    """Images of a run that succeeds, (slice, y, x)."""

    def of(path, *options):
        output = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        found = run("reconstruct", path, "-o", output, *OPTIONS, *options)
        assert found.code == 0, found.err
        with h5py.File(next(output.glob("*.h5"))) as file:
            return file["reconstruction"][:]

    return of


def error(image, factor=1.0):
    truth = factor * scans.root_sum_of_squares()
    return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))


@pytest.fixture
def refused(run, tmp_path):
    """The sentence of a run that ends without output."""

    def of(path, *options):
        output = tmp_path / "none"
        found = run("reconstruct", path, "-o", output, *OPTIONS, *options)
        assert found.code != 0 and found.err.count("mri-alps: error") == 1, found.err
        assert not output.exists() or not list(output.glob("*.h5"))
        return " ".join(found.err.split())

    return of


def test_units_against_a_header_that_says_cartesian(tmp_path, radial, reconstruct, refused):
    samples, places = radial
    path = scans.write_radial_ismrmrd(tmp_path / "c.h5", samples, places, name="cartesian")
    assert "--trajectory-units" in refused(path)
    assert error(reconstruct(path, "--trajectory-units", "fov")[0]) < 0.12
    assert "reaches 1152 cycles" in refused(path, "--trajectory-units", "pixel")


def test_delays_are_refused_and_corrected(tmp_path, reconstruct, refused):
    places = scans.radial(60)
    along = places[:, -1] - places[:, 0]
    delayed = places + 0.3 * (along / np.linalg.norm(along, axis=1)[:, None])[:, None]
    samples = scans.samples_at(np.clip(delayed, -24, 24))
    path = scans.write_radial_ismrmrd(tmp_path / "d.h5", samples, places)
    assert "correct them by --correct-delays" in refused(path)
    assert error(reconstruct(path, "--correct-delays")[0]) < 0.12


def test_a_stack_of_stars(tmp_path, radial, reconstruct, refused):
    images = reconstruct(stack(tmp_path, *radial, n_partitions=2))
    assert len(images) == 2
    for index, image in enumerate(images):
        assert error(image, index + 1) < 0.12
    assert "rotated stack" in refused(stack(tmp_path, *radial, rotated=True))


def test_a_kooshball_is_refused_by_name(tmp_path, radial, refused):
    from mri_alps.operators import kooshball

    samples, _ = radial
    places = kooshball(40, 96, (48, 48, 48)).numpy()
    np.savez(tmp_path / "k.npz", kspace=samples, trajectory=places, matrix=scans.SHAPE)
    assert "3-D trajectory" in refused(tmp_path / "k.npz")


def test_a_trajectory_in_a_file_of_its_own(tmp_path, radial, reconstruct):
    ksp, traj = scans.write_bart(tmp_path, *radial)
    assert error(reconstruct(ksp, "--trajectory", traj)[0]) < 0.12


def test_every_third_interleaf_takes_maps(tmp_path, reconstruct, refused, run):
    """The centre is covered to a cycle: maps of another scan of these coils replace it."""
    places = scans.spiral(16, 200, scans.SHAPE).numpy()
    path = scans.write_npz(tmp_path / "s.npz", scans.samples_at(places), places)
    output = tmp_path / "full"
    assert run("reconstruct", path, "-o", output, "--save-maps", *OPTIONS).code == 0
    said = refused(path, "--shots", "0:16:3")
    assert "--sensitivity-maps" in said and "use more shots" in said
    maps = ("--sensitivity-maps", output / "s.h5")
    assert error(reconstruct(path, "--shots", "0:16:3", *maps)[0]) < 0.2
