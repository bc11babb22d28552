"""Weights on disk: complete, atomic, checked."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from mri_alps.core.errors import InputFileError
from mri_alps.priors import NetworkPrior, UNetConfig, load_prior, load_prior_file, save_prior
from mri_alps.priors import checkpoint as checkpoint_module
from mri_alps.priors.checkpoint import load_tensors, save_tensors


@pytest.fixture
def prior() -> NetworkPrior:
    torch.manual_seed(3)
    model = NetworkPrior(UNetConfig((8, 16), (1, 0), (1, 2), 8, 16), 0.37, 0.02, 7.0)
    for value in model.parameters():
        value.data += 0.1 * torch.randn_like(value)
    return model


def test_round_trip_gives_the_same_denoiser(prior, tmp_path):
    save_prior(tmp_path / "p.safetensors", prior, provenance={"step": 5})
    loaded = load_prior(tmp_path / "p.safetensors")
    assert loaded.config == prior.config
    assert (loaded.sigma_data, loaded.sigma_min, loaded.sigma_max) == (0.37, 0.02, 7.0)
    assert loaded.provenance == {"step": 5}
    assert loaded.prior_spectrum is None
    assert not loaded.training
    x = torch.randn(1, 9, 12, dtype=torch.complex64)
    assert torch.equal(loaded.denoise(x, 0.3), prior.requires_grad_(False).denoise(x, 0.3))


def test_given_weights_replace_the_model_s_own(prior, tmp_path):
    averaged = {name: value * 0 + 0.01 for name, value in prior.state_dict().items()}
    save_prior(tmp_path / "p.safetensors", prior, averaged)
    for value in load_prior_file(tmp_path / "p.safetensors").state_dict().values():
        assert (value == 0.01).all()


def test_folder_of_a_run_stands_for_its_weights(prior, tmp_path):
    save_prior(tmp_path / "prior.safetensors", prior)
    assert load_prior(tmp_path).sigma_max == 7.0


def test_failed_write_leaves_the_old_file_and_no_litter(prior, tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    save_prior(path, prior)
    before = path.read_bytes()

    def broken(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint_module, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        save_prior(path, prior)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bad_files_are_refused_with_one_sentence(prior, tmp_path):
    with pytest.raises(InputFileError, match="no prior called 'brain-huge'"):
        load_prior("brain-huge")
    damaged = tmp_path / "damaged.safetensors"
    save_prior(damaged, prior)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputFileError, match="not a readable safetensors"):
        load_prior(damaged)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.ones(2)}, foreign)
    with pytest.raises(InputFileError, match="no mri_alps configuration"):
        load_prior(foreign)
    other = tmp_path / "other.safetensors"
    save_tensors(other, {"a": torch.ones(2)}, {"format": "mri_alps.training/1"})
    with pytest.raises(InputFileError, match=r"mri_alps\.training/1"):
        load_prior(other)


def test_weights_that_do_not_fit_their_configuration_are_refused(prior, tmp_path):
    path = tmp_path / "p.safetensors"
    save_prior(path, prior)
    tensors, metadata = load_tensors(path)
    metadata["prior"]["unet"]["channels"] = [8, 8]
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputFileError, match="do not fit"):
        load_prior(path)
    metadata["prior"]["unet"]["colour"] = "blue"
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputFileError, match="makes no sense"):
        load_prior(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(prior, tmp_path, value):
    next(prior.parameters()).data.view(-1)[0] = value
    save_prior(tmp_path / "p.safetensors", prior)
    with pytest.raises(InputFileError, match="not finite: the training has diverged"):
        load_prior(tmp_path / "p.safetensors")


def test_loading_does_not_load_the_compiler():
    """On the device meta arithmetic makes torch load it, for a second and more."""
    code = (
        "import sys; from mri_alps.priors import load_prior; load_prior('brain-small'); "
        "sys.exit(any(name in sys.modules for name in ('torch._dynamo', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
