"""Readers, splits and hashes of training images."""

import json

import nibabel
import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.training.images import ImageRecord, ImageSet, balanced, split
from mri_alps.training.sources import load_images


def image_set(groups: str) -> ImageSet:
    return ImageSet(
        tuple(ImageRecord(np.full((8, 8), i, np.uint8), g) for i, g in enumerate(groups))
    )


def test_npz_with_patients(data):
    images = load_images([data])
    assert len(images) == 12
    assert images.groups == ["discs/a", "discs/b", "discs/c", "discs/d"]
    assert images.records[0].image.dtype == np.float32


def test_folder_with_every_kind_of_image_file(tmp_path):
    magnitude = np.arange(1, 3 * 9 * 8 + 1, dtype=np.float32).reshape(3, 9, 8)
    np.save(tmp_path / "complex.npy", magnitude * (1 + 1j))
    np.savez(tmp_path / "one.npz", image=magnitude[0].astype(np.uint8))
    (tmp_path / "deeper").mkdir()
    volume = nibabel.Nifti1Image(np.moveaxis(magnitude, 0, -1), np.eye(4))
    nibabel.save(volume, tmp_path / "deeper" / "v.nii.gz")
    (tmp_path / "notes.txt").write_text("not an image")
    images = load_images([tmp_path])
    assert sorted(images.groups) == ["complex", "one", "v"]
    by_group = {group: [r for r in images.records if r.group == group] for group in images.groups}
    assert {g: len(r) for g, r in by_group.items()} == {"complex": 3, "one": 1, "v": 3}
    assert by_group["complex"][1].image.dtype == np.complex64
    assert_equal_to_rounding(by_group["v"][2].image, magnitude[2])
    assert by_group["one"][0].image.dtype == np.uint8


def test_npz_with_boxes_and_weights(tmp_path):
    path, images = tmp_path / "x.npz", np.ones((2, 12, 12), np.uint8)
    images[1, 2:11, 1:12] = 7
    arrays = {"images": images, "subject": list("ab"), "weight": [1, 2.5], "noise_std": [3, 4]}
    np.savez(path, box=[[0, 12, 0, 12], [2, 11, 1, 12]], **arrays)
    first, second = load_images([path]).records
    assert first.group == "x/a" and first.image.shape == (12, 12) and first.weight == 1
    assert second.image.shape == (9, 11) and (second.image == 7).all() and second.weight == 2.5
    assert (first.noise_std, second.noise_std) == (3, 4)
    for box in (
        [[0, 12, 0, 12]] * 3,
        [[0, 13, 0, 12]] * 2,
        [[-1, 12, 0, 12]] * 2,
        [[0, 7, 0, 9]] * 2,
    ):
        np.savez(path, box=box, **arrays)
        with pytest.raises(InputFileError, match="box"):
            load_images([path])
    for weight in ([1, 0], [1, np.nan], [1, 2, 3], list("ab")):
        np.savez(path, **arrays | {"weight": weight})
        with pytest.raises(InputFileError, match="weight"):
            load_images([path])


def test_blank_slices_are_left_out(tmp_path):
    images = np.zeros((3, 8, 8), np.uint8)
    images[1] = 7
    np.savez(tmp_path / "x.npz", images=images, patient=[1, 2, 3])
    assert load_images([tmp_path]).groups == ["x/2"]


def test_names_without_patients_make_guarded_blocks(tmp_path):
    names = [f"{folder}/{number}.jpg" for folder in "AB" for number in range(1, 61)]
    shuffled = np.random.default_rng(0).permutation(120)
    images = np.arange(1, 121, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "n.npz", img=images[shuffled], name=np.array(names)[shuffled])
    everything = load_images([tmp_path])
    assert len(everything.groups) == 20
    training, held_out = split(everything, 0.1, ["n/A/block3"], 0)
    held = sorted(int(record.image[0, 0]) for record in held_out.records)
    assert held == list(range(19, 25))  # six consecutive names of folder A, in natural order
    trained = {int(record.image[0, 0]) for record in training.records}
    assert trained == set(range(1, 121)) - set(range(14, 30))  # five more on both sides unused


def test_split_is_by_group_and_stable():
    images = image_set("aabbccddeeffgghhiijj")
    training, held_out = split(images, 0.2, (), seed=1)
    assert len(held_out.groups) == 2 and len(held_out) == 4
    assert set(training.groups).isdisjoint(held_out.groups)
    assert len(training) + len(held_out) == len(images)
    again = split(image_set("jjiihhggffeeddccbbaa"), 0.2, (), seed=1)[1]
    assert again.groups == held_out.groups  # neither order nor position matters
    assert split(images, 0.2, (), seed=2)[1].groups != held_out.groups


def test_split_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="no patient or volume matches 'z'"):
        split(image_set("ab"), 0.1, ["z"], 0)
    with pytest.raises(ConfigurationError, match="training and validation both need"):
        split(image_set("aaa"), 0.1, (), 0)


def test_fingerprint_follows_pixels_groups_and_order():
    prints = {image_set(groups).fingerprint() for groups in ("ab", "ba", "aa")}
    changed = image_set("ab")
    changed.records[0].image[0, 0] = 9
    assert len(prints | {changed.fingerprint()}) == 4
    assert image_set("ab").fingerprint() in prints


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputFileError, match="no file or folder"):
        load_images([tmp_path / "missing"])
    with pytest.raises(InputFileError, match="no images found"):
        load_images([tmp_path])
    path = tmp_path / "x.npz"
    np.savez(path, pictures=np.ones((2, 8, 8)))
    with pytest.raises(InputFileError, match="pictures"):
        load_images([path])
    np.savez(path, images=np.full((1, 8, 8), np.nan))
    with pytest.raises(InputFileError, match="not finite"):
        load_images([path])
    np.savez(path, images=np.ones((2, 8, 8)), patient=[1, 2, 3])
    with pytest.raises(InputFileError, match="patient"):
        load_images([path])
    path.write_text(json.dumps({}))
    with pytest.raises(InputFileError, match="not a readable numpy file"):
        load_images([path])
    np.savez(path, images=np.array([None]))
    with pytest.raises(InputFileError, match="Python objects, which are never loaded"):
        load_images([path])
    (tmp_path / "x.npz").unlink()
    (tmp_path / "v.nii").write_bytes(b"nonsense")
    with pytest.raises(InputFileError, match="NIfTI"):
        load_images([tmp_path])


def test_each_anatomy_is_held_out_and_drawn_equally_often():
    image = np.ones((8, 8), np.uint8)
    records = [ImageRecord(image, f"b{i}", anatomy="brain") for i in range(40)]
    records += [ImageRecord(image, f"k{i}", anatomy="knee", weight=1 + i) for i in range(4)]
    records += [ImageRecord(image, "s", anatomy="spine")]
    training, held_out = split(ImageSet(tuple(records)), 0.1, (), 0)
    names = [r.anatomy for r in held_out.records]
    assert names.count("brain") == 4 and names.count("knee") == 1
    assert "spine" not in names  # whose only one is trained on
    weights = {}
    for record in balanced(training).records:
        weights.setdefault(record.anatomy, []).append(record.weight)
    assert set(weights) == {"brain", "knee", "spine"}
    assert all(sum(found) == pytest.approx(1) for found in weights.values())
    kept = [r.weight for r in training.records if r.anatomy == "knee"]
    assert weights["knee"] == pytest.approx([w / sum(kept) for w in kept])


def test_npz_with_anatomies(tmp_path):
    path, images = tmp_path / "x.npz", np.ones((2, 8, 8), np.uint8)
    np.savez(path, images=images, subject=list("ab"), anatomy=["knee", "brain"])
    assert [r.anatomy for r in load_images([path]).records] == ["knee", "brain"]
    for wrong in (["knee"], [1, 2]):
        np.savez(path, images=images, subject=list("ab"), anatomy=wrong)
        with pytest.raises(InputFileError, match="anatomy"):
            load_images([path])
