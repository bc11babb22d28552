"""Small data and recipes for the training tests."""

from pathlib import Path

import numpy as np
import pytest

from mri_alps.training.config import TrainingConfig
from tests.training.tiny_training import TINY_RECIPE


def disc_images(count: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Smooth discs on an empty background, magnitudes up to about 200."""
    random = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    images = []
    for _ in range(count):
        inside = (x / random.uniform(0.5, 0.8)) ** 2 + (y / random.uniform(0.6, 0.9)) ** 2 < 1
        images.append(150 * inside * (1 + 0.3 * np.cos(4 * x * random.uniform(0, 1))))
    return np.stack(images).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An npz file of 12 slices of 4 patients."""
    path = tmp_path / "discs.npz"
    np.savez(path, images=disc_images(12, (48, 40), 0), patient=np.repeat(list("abcd"), 3))
    return path


@pytest.fixture
def recipe() -> TrainingConfig:
    """A recipe that takes a second."""
    return TrainingConfig(**TINY_RECIPE)
