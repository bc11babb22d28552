"""The priors inside the package."""

import pytest
import torch

from mri_alps.core.errors import InputFileError
from mri_alps.core.random import standard_normal
from mri_alps.priors import _packaged, available_priors, load_prior, packaged_weights, registry


@pytest.mark.parametrize("name", available_priors())
def test_packaged_priors_are_complete(name):
    entry = packaged_weights()[name]
    assert entry.path.stat().st_size <= 12e6
    card = entry.model_card.read_text()
    assert entry.licence and entry.anatomies
    assert all(licence in card for licence in entry.data_licences) and "not for" in card
    prior = load_prior(name)
    assert prior.checkpoint_sha256 == entry.sha256
    assert prior.provenance["images_seen"] > 0
    assert len(prior.provenance["data"]["fingerprint"]) == 64
    assert prior.prior_spectrum is not None
    generator = torch.Generator().manual_seed(0)
    x = standard_normal((1, 40, 33), generator, torch.complex64)
    for sigma in (prior.sigma_min, 0.3, prior.sigma_max):
        # An empty image under noise: most of the noise goes.
        left = prior.denoise(sigma * x, sigma).abs().square().mean() / 2
        assert left < 0.3 * sigma**2


def test_default_prior_is_packaged():
    assert registry.DEFAULT_PRIOR in available_priors()


def test_every_weights_file_is_registered():
    assert {path.stem for path in _packaged.WEIGHTS.glob("*.safetensors")} == set(
        available_priors()
    )


def test_other_weights_under_a_registered_name_are_refused(tmp_path, monkeypatch):
    changed = bytearray(packaged_weights()["brain-small"].path.read_bytes())
    changed[-1] ^= 1
    monkeypatch.setattr(_packaged, "WEIGHTS", tmp_path)
    assert available_priors() == []  # a distribution without weights
    (tmp_path / "brain-small.safetensors").write_bytes(changed)
    with pytest.raises(InputFileError, match=r"SHA-256 \w{64}, expected 53eb.*install mri-alps"):
        load_prior("brain-small")
