"""The scripts that prepare a fastMRI data set, on files that differ in size, coils and padding."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata.fastmri.writer import write_fastmri

SCRIPTS = Path(__file__).resolve().parents[1] / "data_scripts"
OPTIONS = {
    "verify_fastmri": ("--report", "--expect", "--deep", "goes on"),
    "cache_calibration": ("--output", "--images", "goes on"),
    "combine_fastmri": ("--images", "--dry-run", "hours", "goes on"),
    "make_split": ("--output", "--fraction", "--seed", "never a patient into both"),
    "make_training_set": ("--output", "holds out the same subjects"),
}

pytestmark = [
    pytest.mark.skipif(
        not SCRIPTS.is_dir(), reason="the scripts are not part of an installed package"
    ),
    # A matrix of 40 has no periphery without signal, which the noise estimate says.
    pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning"),
]


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_kspace(n_slices, n_coils, shape, seed, padding=(0, 0)):
    """A disc seen by smooth coils, with noise, zero in the padding."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, endpoint=False) for n in shape), indexing="ij")
    disc = (np.hypot(y / 0.6, x / 0.7) < 1) * (1 + 0.3 * np.cos(6 * x))
    angles = 2 * np.pi * np.arange(n_coils) / n_coils
    maps = np.stack(
        [np.exp(-((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) / 1.5 + 1j * a) for a in angles]
    )
    images = np.stack([disc * (1 + 0.1 * i) * maps for i in range(n_slices)])
    shifted = np.fft.ifftshift(images, axes=(-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))
    noise = rng.standard_normal((2, *kspace.shape))
    kspace = kspace + 0.02 * (noise[0] + 1j * noise[1])
    if padding[0]:
        kspace[..., : padding[0]] = 0
    if padding[1]:
        kspace[..., -padding[1] :] = 0
    return kspace, np.linalg.norm(images, axis=1)


CASES = {  # slices, coils, shape, recon matrix, padding, patient
    "file1.h5": (2, 4, (48, 40), (40, 40), (0, 0), "p1"),
    "file2.h5": (1, 6, (56, 37), (37, 37), (3, 2), "p2"),
    "file3.h5": (3, 3, (40, 44), (40, 40), (1, 4), "p1"),
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "multicoil_train"
    path.mkdir()
    for seed, (name, (n, coils, shape, recon, padding, patient)) in enumerate(CASES.items()):
        kspace, rss = make_kspace(n, coils, shape, seed, padding)
        top, left = shape[0] // 2 - recon[0] // 2, shape[1] // 2 - recon[1] // 2
        write_fastmri(
            path / name,
            kspace,
            recon_matrix=recon,
            padding=padding,
            reconstruction=rss[:, top : top + recon[0], left : left + recon[1]],
            attributes={"acquisition": "AXT2", "patient_id": patient},
        )
    return path


def entries(report):
    return [json.loads(line) for line in report.read_text().splitlines()]


@pytest.mark.parametrize(("name", "words"), OPTIONS.items())
def test_help_says_what_it_does(name, words):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{name}.py"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for word in words:
        assert word in done.stdout


def test_a_folder_in_order(folder, tmp_path, capsys):
    report = tmp_path / "report.jsonl"
    script = load("verify_fastmri")
    arguments = [str(folder), "--report", str(report), "--expect", "3", "--deep"]
    assert script.main(arguments) == 0
    said = capsys.readouterr().out
    assert "[3/3]" in said and "3 of 3 files are in order, 6 slices" in said
    found = {entry["file"]: entry for entry in entries(report)}
    for name, (n, coils, shape, recon, padding, patient) in CASES.items():
        entry = found[name]
        assert (entry["slices"], entry["coils"], entry["patient"]) == (n, coils, patient)
        assert (entry["kspace"], entry["image"]) == (list(shape), list(recon))
        assert entry["padding"] == list(padding) and not entry["undersampled"]
    # Repeated, nothing is looked at again; a torn line is.
    assert script.main(arguments) == 0
    assert "[" not in capsys.readouterr().out.split("files")[0] and len(entries(report)) == 3
    report.write_text(report.read_text()[:-20])
    assert script.main(arguments) == 0
    assert "[3/3]" in capsys.readouterr().out
    assert script.main([str(folder), "--report", str(report), "--expect", "4"]) == 1
    assert "expected 4" in capsys.readouterr().err


def test_bad_files_are_found(folder, tmp_path, capsys):
    content = (folder / "file1.h5").read_bytes()
    (folder / "file1.h5").write_bytes(content[: len(content) // 2])
    with h5py.File(folder / "file3.h5", "a") as file:
        file["kspace"][1, 0, 5, 20] = np.nan
    script = load("verify_fastmri")
    assert script.main([str(folder), "--report", str(tmp_path / "a"), "--deep"]) == 1
    said = capsys.readouterr().out
    assert "1 of 3 files are in order" in said
    assert "truncated or damaged" in said and "NaN or Inf" in said


def test_maps_and_scale_are_kept_once(folder, tmp_path, capsys):
    script, cache = load("cache_calibration"), tmp_path / "maps"
    arguments = [str(folder), "--output", str(cache), "--images", str(tmp_path / "images")]
    assert script.main(arguments) == 0
    assert "3 of 3 scans" in capsys.readouterr().out
    for name, (n, coils, shape, *_) in CASES.items():
        with h5py.File(cache / name) as file, h5py.File(folder / name) as scan:
            maps, scale = file["sensitivity_maps"][()], file["scale"][()]
            assert maps.shape == (n, coils, *shape) and np.isfinite(maps).all()
            assert (scale > 0).all()
            assert_equal_to_rounding(file["noise_std"][()] * scale, 1)
            # The maps explain the coil images: projected on them, hardly anything is left out.
            shifted = np.fft.ifftshift(scan["kspace"][0], axes=(-2, -1))
            images = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
            norm = (np.abs(maps[0]) ** 2).sum(0)
            combined = (maps[0].conj() * images).sum(0) / np.where(norm > 0, norm, 1)
            left = np.linalg.norm(images - maps[0] * combined) / np.linalg.norm(images)
            assert left < 0.25
    assert len(list((tmp_path / "images").iterdir())) == 3
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    kspace, _ = make_kspace(1, 6, (56, 37), seed=9)
    write_fastmri(folder / "file2.h5", kspace, recon_matrix=(37, 37))
    assert script.main(arguments[:3]) == 0
    said = capsys.readouterr().out
    assert said.count("there already") == 2 and "file2.h5: done" in said
    after = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["file2.h5"]


def test_a_bad_scan_does_not_stop_the_others(folder, tmp_path, capsys):
    (folder / "file1.h5").write_bytes(b"no")
    script = load("cache_calibration")
    assert script.main([str(folder), "--output", str(tmp_path / "maps")]) == 1
    assert "2 of 3 scans" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"file2.h5", "file3.h5"}


@pytest.fixture
def anatomies(tmp_path):
    """Brains and knees together, one of them undersampled."""
    folder = tmp_path / "multicoil_train"
    folder.mkdir()
    names = ["file_brain_AXT2_1.h5", "file_brain_AXT2_2.h5", "file1000001.h5", "file1000002.h5"]
    for seed, name in enumerate(names):
        kspace, _ = make_kspace(2, 4, (48, 40), seed)
        protocol = "AXT2" if "brain" in name else "CORPD_FBK"
        write_fastmri(
            folder / name,
            kspace,
            recon_matrix=(40, 40),
            mask=np.arange(40) % 2 == 0 if seed == 3 else None,
            attributes={"acquisition": protocol, "patient_id": name},
        )
    return folder


def test_what_combining_takes_is_said_before_it_starts(anatomies, tmp_path, capsys, monkeypatch):
    script, images = load("combine_fastmri"), tmp_path / "images"
    arguments = [str(anatomies), "--images", str(images)]
    assert script.main([*arguments, "--dry-run", "--processes", "3"]) == 0
    said = capsys.readouterr()
    assert "brain: 2 volumes of 2 patients, 4 slices" in said.out
    assert "knee: 1 volumes of 1 patients, 2 slices" in said.out
    assert "the other 3 take about" in said.out and "hours on 3 process(es)" in said.out
    assert "file1000002.h5 is undersampled" in said.err and not images.exists()
    # 6 slices of 40 x 40 pixels of 8 bytes; no less is found on the disk.
    monkeypatch.setattr(script, "free_bytes", lambda folder: 6 * 40 * 40 * 8 - 1)
    assert script.main(arguments) == 1
    assert "make room" in capsys.readouterr().err and not images.exists()
    monkeypatch.undo()
    assert script.main(arguments) == 1  # one was left out
    said = capsys.readouterr()
    assert "[3/3]" in said.out and "3 of 3 volumes are in" in said.out
    assert 76_800 <= sum(path.stat().st_size for path in images.iterdir()) < 80_000
    (anatomies / "file1000002.h5").unlink()
    assert script.main(arguments) == 0
    assert "3 of 3 volumes are in" in capsys.readouterr().out


def test_several_processes_combine_the_same(anatomies, tmp_path):
    (anatomies / "file1000002.h5").unlink()
    found = []
    for processes in ("1", "2"):
        images = tmp_path / processes
        command = [sys.executable, "-W", "ignore", str(SCRIPTS / "combine_fastmri.py")]
        subprocess.run(
            [*command, str(anatomies), "--images", str(images), "--processes", processes],
            check=True, capture_output=True,
        )  # fmt: skip
        found.append({path.name: path.read_bytes() for path in images.iterdir()})
    assert len(found[0]) == 3 and found[0] == found[1]


def test_no_patient_is_in_both_lists(folder, tmp_path):
    script, out = load("make_split"), tmp_path / "lists"
    for seed in range(4):
        arguments = [str(folder), "--output", str(out), "--fraction", "0.5", "--seed", str(seed)]
        assert script.main(arguments) == 0
        train, val = ((out / f"{name}.txt").read_text().split() for name in ("train", "val"))
        assert sorted(train + val) == list(CASES)
        assert ("file1.h5" in val) == ("file3.h5" in val)


def test_who_is_held_out_does_not_depend_on_the_others():
    script = load("make_split")
    held_out = [script.is_held_out(f"patient {i}", 0.1, 0) for i in range(4000)]
    assert np.mean(held_out) == pytest.approx(0.1, abs=0.02)
    assert any(script.is_held_out("p", 0.5, seed) for seed in range(9))
    assert not all(script.is_held_out("p", 0.5, seed) for seed in range(9))


def test_a_training_set_of_several_anatomies_holds_out_subjects(tmp_path, capsys):
    from mri_alps.training.images import split
    from mri_alps.training.sources import load_images

    script = load("make_training_set")
    rng = np.random.default_rng(0)

    def images(count):
        return rng.integers(1, 255, (count, 16, 16), np.uint8)

    folder = tmp_path / "images"
    folder.mkdir()
    patients = np.array([[name, "", "", ""] for name in ("01", "09", "20")])
    np.savez(folder / "openms_longitudinal.npz", img=images(3), meta=patients)
    np.savez(folder / "spine_lumbar.npz", img=images(10), subject=[f"s{i}" for i in range(10)])
    knee = images(48)
    np.savez(folder / "knee.npz", img=knee, subject=["one"] * 48)
    pelvis = np.zeros((2, 20, 20), np.uint8)
    pelvis[:, 2:18, 3:19] = images(2)
    np.savez(folder / "pelvis.npz", img=pelvis, subject=["ProstateX-0000", "ProstateX-0001"])
    output = tmp_path / "set.npz"
    assert script.main([str(folder), "--output", str(output)]) == 0
    assert "held-out: knee: 4 slices in 2 groups" in capsys.readouterr().out
    everything = load_images([output])
    training, held_out = split(everything, 0.1, ["*/held-out/*"], 0)
    assert [g.partition("held-out/")[2] for g in held_out.groups] == [
        "head/openms_longitudinal/09",
        "head/openms_longitudinal/20",
        "knee/knee/one/slice11",
        "knee/knee/one/slice12",
        "pelvis/pelvis/ProstateX-0000",
        "spine/spine_lumbar/s5",
    ]
    # Neighbours of the knee's held-out slices are in neither part.
    assert len(training) == 1 + 9 + (48 - 2 * 4) + 1
    assert all(r.image.shape == (16, 16) for r in everything.records)  # padding is cut off
    drawn = {}
    for record in training.records:
        anatomy = record.group.split("/")[1]
        drawn[anatomy] = drawn.get(anatomy, 0) + record.weight
    assert drawn == pytest.approx(script.SHARE)
    (folder / "knee.npz").unlink()
    np.savez(folder / "hands.npz", img=images(1))
    assert script.main([str(folder), "--output", str(output)]) == 1
    assert "hands belongs to no known collection" in capsys.readouterr().err


def test_an_anatomy_with_nobody_to_hold_out_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "spine.npz", img=np.ones((2, 16, 16), np.uint8), subject=list("ab"))
    script = load("make_training_set")
    assert script.main([str(tmp_path), "--output", str(tmp_path / "set.npz")]) == 1
    assert "nobody is held out for the spine" in capsys.readouterr().err


@pytest.mark.parametrize(("curved", "box"), [(False, (3, 13, 2, 16)), (True, (0, 16, 0, 16))])
def test_padding_is_cut_off_and_air_is_not(curved, box):
    image = np.zeros((16, 16), np.uint8)
    image[3:13, 2:] = 9
    if curved:
        y, x = np.mgrid[-8:8, -8:8] + 0.5
        image = (image * (np.hypot(y / 6, x / 7) < 1)).astype(np.uint8)
        image[2, 8] = image[8, 1] = 9  # as heads end
        image[13, 8] = image[8, 14] = 9
        image[:, 15] = 0
    assert load("make_training_set").content_box(image) == box
