"""``mri-alps design-mask`` from scans to files: what is written, resumed and refused."""

import json

import h5py
import numpy as np
import pytest

from mri_alps.cli.app import main
from mri_alps.masks import load_mask
from mri_alps.masks.design import Design, design_mask
from mri_alps.masks.design.output import FORMAT, load_progress, save_progress
from mri_alps.rawdata.fastmri.writer import write_fastmri

SHAPE = (24, 32)


def make_scan(path, seed=0, mask=None, shape=SHAPE, phase=0.0):
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    image = (np.hypot(y / 0.8, x / 0.7) < 1) - 0.4 * (np.hypot(y - 0.2, x + 0.1 * seed) < 0.3)
    image = image * np.exp(1j * phase * np.sin(4 * x + y))
    maps = np.stack([np.exp(-((x - a) ** 2) - (y - b) ** 2 + 1j * a) for a, b in
                     ((1, 0), (-1, 0), (0, 1), (0, -1))])  # fmt: skip
    shifted = np.fft.ifftshift(image * maps, axes=(1, 2))
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(1, 2))
    noise = 0.02 * (rng.standard_normal((2, *kspace.shape)))
    write_fastmri(path, (kspace + noise[0] + 1j * noise[1])[None], mask=mask)
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["design-mask", *map(str, arguments)])
    return int(stop.value.code or 0), capsys.readouterr()


SAMPLER = ("--prior", "gaussian", "--n-samples", 4, "--n-evaluations", 6)


def test_a_population_mask_is_written_for_reconstruct_and_scanners(tmp_path, capsys):
    scans = [make_scan(tmp_path / f"scan{i}.h5", i) for i in range(2)]
    target = tmp_path / "out" / "mask.npy"
    code, said = run(capsys, *scans, "--budget", 14, "--batch", 3, "-o", target, *SAMPLER)
    assert code == 0, said.err
    mask = load_mask(target, SHAPE)
    assert mask.shape == (1, 32)
    assert mask.sum() == 14
    assert mask[0, 12:20].all()  # the calibration region
    assert np.array_equal(load_mask(target.with_suffix(".cfl"), SHAPE), mask)
    listed = np.loadtxt(target.with_suffix(".txt"), dtype=int)
    assert sorted(listed) == np.flatnonzero(mask).tolist()
    assert target.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    rows = target.with_suffix(".csv").read_text().splitlines()
    assert rows[0].startswith("n_measured,expected_nmse,actual_nmse")
    assert len(rows) == 1 + 6 + 3  # six picks, two batches and the end
    assert "3 looks at the posterior are sampled, 2 slices each: 4 samples of 6" in said.err
    first, last = (rows[i].split(",") for i in (1, -1))
    assert float(last[1]) < float(first[1])
    assert float(last[2]) < float(first[2])

    # what was interrupted goes on and comes to the same mask
    path = target.with_suffix(".json")
    stored = json.loads(path.read_text())
    stored["design"]["points"] = stored["design"]["points"][:4]
    path.write_text(json.dumps(stored))
    target.unlink()
    code, said = run(capsys, *scans, "--budget", 14, "--batch", 3, "-o", target, *SAMPLER)
    assert code == 0
    assert "going on from 11 lines" in said.err
    assert np.array_equal(load_mask(target, SHAPE), mask)


def test_an_empty_reference_is_none(tmp_path, capsys):
    scan = make_scan(tmp_path / "scan.h5")
    with h5py.File(scan, "a") as file:
        shape = file["reconstruction_rss"].shape if "reconstruction_rss" in file else (1, *SHAPE)
        file.pop("reconstruction_rss", None)
        file["reconstruction_rss"] = np.zeros(shape, np.float32)
    target = tmp_path / "mask.npy"
    code, said = run(capsys, scan, "--budget", 10, "-o", target, *SAMPLER)
    assert code == 0, said.err
    points = json.loads(target.with_suffix(".json").read_text())["design"]["points"]
    assert {point["actual_error"] for point in points} == {None}


def test_progress_that_is_damaged_or_of_another_task_is_left(tmp_path):
    stem = tmp_path / "mask"
    save_progress(stem, "mine", Design(np.array([True, False])), {"budget": 2})
    assert load_progress(stem, "mine").start.tolist() == [True, False]
    assert load_progress(stem, "other") is None
    path = stem.with_suffix(".json")
    whole = path.read_text()
    for text in (whole[:-9], whole.replace(FORMAT, "another"), "[]", '"text"', "1", "{}"):
        path.write_text(text)
        assert load_progress(stem, "mine") is None


def test_an_undersampled_scan_gets_its_next_lines(tmp_path):
    measured = np.zeros(32, bool)
    measured[12:20] = True
    scan = make_scan(tmp_path / "scan.h5", mask=measured)
    found = design_mask([scan], 11, prior="gaussian", n_samples=4, n_evaluations=6)
    assert found.shape == (1, 32)
    assert found.sum() == 11
    assert found[0, measured].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", 5), "a budget of 5 is less than the 8 of the calibration region"),
        (("--budget", 33), "a budget of 33 is more than full sampling, which has 32"),
        (("--budget", 12, "--center-fraction", 0.1), "leaves 3 lines"),
        (("--budget", 12, "--batch", 0), "at least 1, found 0"),
    ],
)
def test_budgets_that_cannot_be_had_are_refused(tmp_path, capsys, options, message):
    scan = make_scan(tmp_path / "scan.h5")
    code, said = run(capsys, scan, *options, "-o", tmp_path / "mask.npy", *SAMPLER)
    assert code == 1
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]


def test_frames_of_a_film_get_lines_of_their_own(tmp_path, capsys):
    scan, target = make_scan(tmp_path / "scan.h5"), tmp_path / "film.npy"
    options = ("--budget", 12, "--frames", 3, "--dynamic", 0.1, "--per-shot", 2)
    code, said = run(capsys, scan, *options, "-o", target, *SAMPLER)
    assert code == 0, said.err
    assert "1 looks at the posterior" in said.err or "1 look at the posterior" in said.err
    film = np.load(target)
    assert film.shape == (3, 1, 32)
    assert film.sum((1, 2)).tolist() == [12] * 3
    assert film[:, 0, 12:20].all()
    assert film[:, 0].any(0).sum() > 12  # frames differ
    for frame in range(3):
        own = load_mask(tmp_path / f"film_frame{frame}.npy", SHAPE)
        assert np.array_equal(own, film[frame])
    listed = np.loadtxt(target.with_suffix(".txt"), dtype=int)
    assert sorted(map(tuple, listed)) == sorted(zip(*np.nonzero(film[:, 0]), strict=True))
    header = target.with_suffix(".hdr").read_text().splitlines()[1].split()
    assert [int(size) for size in header[:11]] == [1, 32, *[1] * 8, 3]  # TIME is BART's 11th
    shots = np.loadtxt(tmp_path / "film_shots.txt", dtype=int)
    assert shots.shape == (6, 2)
    for frame, own in enumerate(shots.reshape(3, 4)):
        assert film[frame, 0, own].all()

    before = sorted(tmp_path.iterdir())
    for wrong, message in (
        (("--batch", 2), "found a batch of 2: leave --batch out"),
        (("--frames", 900), "the covariances of 900 frames of 1 slices take"),
        (("--accelerations", 3), "3 frames are designed for the budget alone"),
    ):
        code, said = run(capsys, scan, *options, *wrong, "-o", tmp_path / "m.npy", *SAMPLER)
        assert code == 1
        assert message in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_budget_that_the_scan_has_spent_already_is_refused(tmp_path, capsys):
    lines = np.arange(32) % 2 == 0
    lines[12:20] = True
    part = make_scan(tmp_path / "part.h5", mask=lines)
    code, said = run(capsys, part, "--budget", 20, "-o", tmp_path / "m.npy", *SAMPLER)
    assert code == 1
    assert f"{part}: the scan has 20 of its 32 phase encodes measured already" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["part.h5"]


def test_scans_that_do_not_fit_are_named(tmp_path, capsys):
    lines = np.arange(32) % 2 == 0
    lines[12:20] = True
    full, other, part = tmp_path / "full.h5", tmp_path / "other.h5", tmp_path / "part.h5"
    make_scan(full)
    make_scan(other, shape=(24, 36))
    make_scan(part, mask=lines)
    for inputs, output, message in (
        ((full, other), "m.npy", f"{other} has a k-space matrix of (24, 36)"),
        ((full, part), "m.npy", f"{part}: only 62 % of the k-space"),
        ((full,), "m.png.gz", "a mask is written as"),
        ((part, "--batch", 1), "m.npy", f"{part}: the scan is undersampled"),
        ((tmp_path / "none.h5",), "m.npy", "none.h5"),
    ):
        code, said = run(capsys, *inputs, "--budget", 24, "-o", tmp_path / output, *SAMPLER)
        assert code == 1
        assert message in said.err
