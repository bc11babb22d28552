"""Raw scans as training images: combined, cropped, cached, refused when undersampled."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from mri_alps.core.errors import InputFileError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.rawdata import raw_from_arrays
from mri_alps.training import raw_images
from mri_alps.training.raw_images import read_raw_images
from mri_alps.training.sources import load_images

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <encoding>
  <encodedSpace><matrixSize><x>80</x><y>48</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>400</x><y>240</y><z>5</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>40</x><y>48</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>200</x><y>240</y><z>5</z></fieldOfView_mm></reconSpace>
  <trajectory>cartesian</trajectory>
  <encodingLimits><kspace_encoding_step_1>
   <minimum>0</minimum><maximum>47</maximum><center>24</center>
  </kspace_encoding_step_1></encodingLimits>
 </encoding>
</ismrmrdHeader>"""


def object_and_maps() -> tuple[np.ndarray, np.ndarray]:
    """A disc with structure and four smooth coils, 80 x 48 (readout oversampled by 2)."""
    y, x = np.meshgrid(np.linspace(-2, 2, 80), np.linspace(-1, 1, 48), indexing="ij")
    disc = (x**2 + y**2 < 0.6) * (1 + 0.4 * np.cos(6 * x + 3 * y)) * np.exp(1j * (x - 0.5 * y))
    corners = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    maps = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4 + 0.5j * a * x) for a, b in corners])
    return disc, maps / np.sqrt((np.abs(maps) ** 2).sum(0))


@pytest.fixture
def scan(tmp_path):
    """A fastMRI file of 2 slices with noise of standard deviation 0.02 per real component."""
    disc, maps = object_and_maps()
    random = np.random.default_rng(0)
    slices = []
    for factor in (1.0, 0.6):
        kspace = fftc(torch.from_numpy(maps * disc * factor)).numpy()
        noise = random.standard_normal((2, *kspace.shape))
        slices.append(kspace + 0.02 * (noise[0] + 1j * noise[1]))
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.stack(slices).astype(np.complex64)
        file["ismrmrd_header"] = HEADER
        file.attrs["patient_id"] = "patient7"
        file.attrs["acquisition"] = "T1"
    return path


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_combined_image_is_the_object_up_to_scale_and_smooth_phase(scan):
    records = read_raw_images(scan)
    disc = object_and_maps()[0][20:60]
    assert [r.group for r in records] == ["patient7"] * 2
    for record in records:
        assert record.image.shape == (40, 48) and record.image.dtype == np.complex64
        magnitude, truth = np.abs(record.image), np.abs(disc)
        scale = (magnitude * truth).sum() / (truth**2).sum()
        assert np.linalg.norm(magnitude - scale * truth) < 0.065 * np.linalg.norm(scale * truth)
    # The noise level in the image's units: 0.02 of an object of about unit size.
    first, second = records
    scale = np.abs(first.image).sum() / np.abs(disc).sum()
    assert first.noise_std == pytest.approx(0.02 * scale, rel=0.25)
    assert second.noise_std == pytest.approx(first.noise_std / 0.6, rel=0.1)


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_scans_are_combined_once(scan, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = load_images([scan], cache)
    assert len(list(cache.iterdir())) == 1

    def forbidden(raw):
        raise AssertionError("combined again")

    monkeypatch.setattr(raw_images, "_combine", forbidden)
    again = load_images([scan], cache)
    assert again.fingerprint() == first.fingerprint()
    assert [r.noise_std for r in again.records] == [r.noise_std for r in first.records]
    with h5py.File(scan, "a") as file:  # a changed file is another scan
        file.attrs["note"] = "x" * 5000
    with pytest.raises(AssertionError, match="combined again"):
        load_images([scan], cache)


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_cached_scans_are_not_opened_again(scan, tmp_path, monkeypatch):
    first = read_raw_images(scan, tmp_path / "cache")

    def forbidden(path):
        raise AssertionError("opened again")

    monkeypatch.setattr(raw_images, "read_raw", forbidden)
    again = read_raw_images(scan, tmp_path / "cache")
    for before, after in zip(first, again, strict=True):
        assert np.array_equal(before.image, after.image)
        assert dataclasses.replace(before, image=None) == dataclasses.replace(after, image=None)


@pytest.mark.parametrize(
    ("name", "acquisition", "anatomy"),
    [
        ("a/multicoil_train/file_brain_AXT2_200_2000019.h5", "AXT2", "brain"),
        ("a/knee_multicoil_val/file1000007.h5", "CORPD_FBK", "knee"),
        ("a/multicoil_val/file1000007.h5", "CORPDFS_FBK", "knee"),
        ("knee/multicoil_val/file_prostate_AXT2_1.h5", "AXT2", "prostate"),
        ("knee/multicoil_val/file7.h5", "", "knee"),
        ("kneeling/brainy/file7.h5", "AXT2", ""),
        ("a/brain_and_knee/file7.h5", "CORPD_FBK", "knee"),
    ],
)
def test_names_tell_the_anatomy(tmp_path, name, acquisition, anatomy):
    scan = raw_from_arrays(np.zeros((1, 1, 8, 8), np.complex64))
    scan = dataclasses.replace(scan, path=tmp_path / name, acquisition=acquisition)
    assert raw_images.anatomy_of(scan) == anatomy


def test_undersampled_scans_are_refused(scan):
    with h5py.File(scan, "a") as file:
        file["mask"] = (np.arange(48) % 2).astype(np.float32)
    with pytest.raises(InputFileError, match="undersampled"):
        read_raw_images(scan)


@pytest.mark.filterwarnings("ignore::mri_alps.core.errors.MriAlpsWarning")
def test_real_scan_explains_its_own_kspace(shared_data):
    path = shared_data / "raw" / "brain_axial_16ch_96.h5"
    record = read_raw_images(path)[0]
    assert record.image.shape == (96, 96)
    assert 0 < record.noise_std < 0.2
    with h5py.File(path) as file:
        coils = ifftc(torch.from_numpy(file["kspace"][0])).abs().square().sum(0).sqrt().numpy()
    correlation = np.corrcoef(coils.ravel(), np.abs(record.image).ravel())[0, 1]
    assert correlation > 0.9
