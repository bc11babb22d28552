"""Small data and recipes for the training tests."""

from pathlib import Path

import numpy as np
import pytest

from mri_alps.training.config import TrainingConfig


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


TINY_RECIPE = {
    "unet": {
        "channels": [8, 8],
        "encoder_blocks": [1, 1],
        "decoder_blocks": [1, 1],
        "embedding_size": 16,
    },
    "plans": [
        {"size": 16, "batch_size": 4, "sigma_min": 0.02, "sigma_max": 0.5, "share": 1.0},
        {"size": 32, "batch_size": 2, "sigma_min": 0.1, "sigma_max": 3.0, "share": 2.0},
    ],
    "sigma_data": 0.4,
    "sigma_min": 0.02,
    "sigma_max": 3.0,
    "steps": 10,
    "warmup_steps": 2,
    "decay_steps": 4,
    "learning_rate": 0.003,
}


@pytest.fixture
def recipe() -> TrainingConfig:
    """A recipe that takes a second."""
    return TrainingConfig.from_dict(TINY_RECIPE)
