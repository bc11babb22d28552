"""The benchmark of anatomies: who is in it, its table, and scans of two sets of maps."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_alps.calibration import Acquisition
from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.operators import sense_operator
from mri_alps.rawdata import raw_from_arrays
from mri_alps.training.images import ImageRecord, ImageSet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE, N_COILS, NOISE_STD = (24, 18), 6, 1e-3


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import benchmark_anatomies_reconstruction

    return benchmark_anatomies_reconstruction


def noise(*shape, seed=0):
    return standard_normal(shape, torch.Generator().manual_seed(seed), torch.complex64)


def images_of(**counts) -> ImageSet:
    image = np.full((8, 8), 100, np.uint8)
    return ImageSet(
        tuple(
            ImageRecord(image, f"set/held-out/head/{name}")
            for name, count in counts.items()
            for _ in range(count)
        )
    )


def test_slices_are_of_as_many_subjects_as_there_are(benchmark):
    names = list(benchmark.chosen(images_of(a=9, b=9, c=9, d=9, e=9), 3))
    assert names == ["head/a, slice 4", "head/c, slice 4", "head/e, slice 4"]


def test_of_one_subject_there_are_several_slices(benchmark):
    names = list(benchmark.chosen(images_of(a=9), 3))
    assert len(set(names)) == 3
    assert "head/a, slice 0" not in names
    assert "head/a, slice 8" not in names


def test_larger_pixels_keep_their_shape(benchmark):
    magnitude = np.ones((32, 24), np.uint8)
    assert benchmark.low_resolution(magnitude, 16).shape == (16, 12)
    assert benchmark.low_resolution(magnitude[:31], 64).shape == (30, 24)


def line(scan, psnr, method, **more):
    entry = {"anatomy": "head", "acceleration": 4.0, "scan": scan, "method": method}
    return entry | {"settings": [0, 320, 8], "PSNR": psnr, "left_out": -6.0, "seconds": 60} | more


def test_gains_are_those_of_common_scans(benchmark):
    of_prior = {"prior": True, "setting": "0a1b", "evaluations": 40}
    for key in benchmark.COVERAGES:
        of_prior |= {key: 0.9, f"{key}_drawn": 0.8}
    lines = [line("a", 30.0, benchmark.BART), line("b", 20.0, benchmark.BART)]
    lines.append(line("b", 22.0, "brain-small", **of_prior))
    first = benchmark.tables(lines).splitlines()[2]
    assert first == "| head | 4x | 2 | 25.00 | 22.00 (of 1; +2.00; +2.00 to +2.00) |"


@pytest.fixture
def two_sets(benchmark):
    """A case in which two places share every pixel, and its two images."""
    maps = torch.linalg.qr(noise(*SHAPE, N_COILS, 2))[0].permute(3, 2, 0, 1).contiguous()
    images = noise(2, *SHAPE, seed=1)
    mask = torch.arange(SHAPE[1]) % 4 != 1
    everything = sense_operator(maps, torch.ones(SHAPE, dtype=torch.bool))
    clean = everything.forward(images)
    kspace = clean + NOISE_STD * noise(N_COILS, *SHAPE, seed=2)
    acquisition = Acquisition(
        kspace=kspace * mask,
        mask=mask,
        sensitivity_maps=maps[0],
        noise_std=NOISE_STD,
        scale=1.0,
        rss_weight=torch.ones(SHAPE),
        whitening=np.eye(N_COILS, dtype=np.complex128),
        compression=None,
        maps_uncompressed=maps[0],
        further_maps=maps[1:],
        further_maps_uncompressed=maps[1:],
        further_powers=(1.0,),
    )
    raw = raw_from_arrays(kspace.numpy()[None])
    return benchmark.case_from(acquisition, raw, "two sets", clean=clean.numpy()), images


def test_images_of_two_sets_are_compared_together(two_sets):
    case, images = two_sets
    alone = images * torch.tensor([1, 0])[:, None, None]
    assert case.figures(images)["PSNR"] > 80
    assert case.figures(alone)["PSNR"] < 30
    assert case.figures(images)["left_out"] < -50 < -10 < case.figures(alone)["left_out"]


def test_odd_sizes_are_not_given_to_bart(benchmark, two_sets):
    case, _ = two_sets
    odd = dataclasses.replace(case.acquisition, sensitivity_maps=torch.zeros(2, 5, 4))
    with pytest.raises(ConfigurationError, match="even"):
        benchmark.bart_wavelets(dataclasses.replace(case, acquisition=odd))


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
def test_bart_has_both_sets_and_the_right_sign(benchmark, two_sets):
    case, _ = two_sets
    image, _ = benchmark.bart_wavelets(case)
    assert image.shape == (2, *SHAPE)
    assert case.figures(image)["PSNR"] > 40
    assert case.figures(image)["left_out"] < -20
