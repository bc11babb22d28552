"""3-D scans, undersampled along both phase encodes: end to end, killed, in three planes."""

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from mri_alps import cli
from mri_alps.evaluation import planes
from mri_alps.evaluation.planes import write_planes
from mri_alps.pipeline.images import middle_volume
from mri_alps.rawdata import Limit, make_header, read_raw
from mri_alps.rawdata.ismrmrd import make_acquisition, write_acquisitions
from tests.pipeline.simulated_scan import coil_maps
from tests.pipeline.test_killed import check, run_task
from tests.rawdata.rawdata_helpers import fft_centered, random_complex

SHAPE = (12, 28, 24)
"""Readout, phase encode, partition, without the twofold oversampling of the readout."""
NOISE = 0.02
OPTIONS = ("--prior", "gaussian", "--n-samples", "4", "--n-evaluations", "10")


def ellipsoid(center, radii):
    axes = np.meshgrid(*[np.linspace(-1, 1, n, endpoint=False) for n in SHAPE], indexing="ij")
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, center, radii, strict=True)) < 1


def write_volume(path, n_slabs=1, spacing=(4.0, 2.0, 3.0)):
    """Write slabs with 2 x 2 undersampling around a full centre; return the true magnitudes."""
    image = 1.0 * ellipsoid((0, 0, 0), (0.8, 0.7, 0.6)) - 0.5 * ellipsoid(
        (0.2, 0.2, -0.1), (0.3, 0.3, 0.2)
    )
    coils = coil_maps(SHAPE[1:])[:, None] * image
    wide = np.zeros((4, 2 * SHAPE[0], *SHAPE[1:]), complex)
    wide[:, SHAPE[0] // 2 : SHAPE[0] // 2 + SHAPE[0]] = coils
    mask = np.zeros(SHAPE[1:], bool)
    mask[::2, ::2] = mask[8:20, 6:18] = True
    lines = []
    for slab in range(n_slabs):
        noise = NOISE * random_complex(slab, *wide.shape)
        kspace = fft_centered((slab + 1) * wide, axes=(1, 2, 3)) + noise
        for row, partition in np.argwhere(mask):
            lines.append(
                make_acquisition(
                    kspace[:, :, row, partition],
                    kspace_encode_step_1=int(row),
                    kspace_encode_step_2=int(partition),
                    slice=slab,
                    position=(0.0, 0.0, 100.0 * slab),
                )
            )
    view = [n * s for n, s in zip(SHAPE, spacing, strict=True)]
    header = make_header(
        (2 * SHAPE[0], *SHAPE[1:]),
        SHAPE,
        (2 * view[0], view[1], view[2]),
        (view[0], view[1], view[2]),
        limits={
            "kspace_encoding_step_1": Limit(0, SHAPE[1] - 1, SHAPE[1] // 2),
            "kspace_encoding_step_2": Limit(0, SHAPE[2] - 1, SHAPE[2] // 2),
        },
        n_coils=4,
    )
    path.parent.mkdir(exist_ok=True, parents=True)
    write_acquisitions(path, header, lines)
    return np.linalg.norm(coils, axis=0)


def test_a_volume_end_to_end(tmp_path):
    truth = write_volume(tmp_path / "v.h5")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", str(tmp_path / "v.h5"), "-o", str(out), *OPTIONS])
    assert stop.value.code == 0
    with h5py.File(out / "v.h5") as file:
        found, std = file["reconstruction"][()], file["reconstruction_std"][()]
    assert found.shape == SHAPE
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.99
    error = np.sqrt(((found - truth) ** 2)[truth > 0.3].mean())
    assert error < 0.1 and 0.2 < np.sqrt((std**2)[truth > 0.3].mean()) / error < 5
    picture = imread(out / "v.png")
    assert np.ptp(picture[..., :3]) > 0.9


@pytest.mark.slow
def test_a_volume_that_is_killed_goes_on_position_by_position(tmp_path):
    write_volume(tmp_path / "in" / "v.h5")
    inputs = [str(tmp_path / "in" / "v.h5")]
    out, reference, killed, said = run_task(tmp_path, inputs, list(OPTIONS), "time")
    assert killed >= 1 and "going on after" in said
    check(out, reference)


def test_slabs_are_told_apart(tmp_path):
    write_volume(tmp_path / "v.h5", n_slabs=3)
    raw = read_raw(tmp_path / "v.h5")
    assert raw.n_slices == 36
    assert middle_volume(raw, range(36)) == range(12, 24)
    assert middle_volume(raw, range(2, 14)) == range(0, 10)
    assert middle_volume(raw, (3, 4, 6)) == range(0)  # one is missing
    assert middle_volume(raw, ()) == range(0)


def test_planes_of_the_picture(tmp_path, monkeypatch):
    volume = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["slices"] = np.arange(SHAPE[0])
        for name in ("reconstruction", "zero_filled", "reconstruction_std"):
            file[name] = volume
    drawn = []
    monkeypatch.setattr(planes, "save_figure", lambda figure, path: drawn.append(figure))
    write_planes(tmp_path / "r.h5", tmp_path / "r.png", range(2, 12), (4.0, 2.0, 3.0))
    axes = np.array(drawn[0].axes[:9]).reshape(3, 3)
    expected = (volume[7], volume[2:12, 14], volume[2:12, :, 12])
    for row, (plane, aspect, labels) in enumerate(
        zip(
            expected,
            (2 / 3, 4 / 3, 4 / 2),
            (("phase encode", "partition"), ("readout", "partition"), ("readout", "phase encode")),
            strict=True,
        )
    ):
        shown = axes[row, 0].images[0].get_array()
        np.testing.assert_allclose(shown / shown.max(), plane / plane.max(), rtol=1e-5)
        assert axes[row, 0].get_aspect() == pytest.approx(aspect)
        assert (axes[row, 0].get_ylabel(), axes[row, 0].get_xlabel()) == labels
