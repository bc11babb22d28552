"""Recipes are combined in the documented order; weights are exported complete."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch

from mri_alps import training
from mri_alps.core.errors import ConfigurationError
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.priors import MagnitudeGate, NetworkPrior, UNetConfig, load_prior
from mri_alps.priors.checkpoint import load_tensors, save_tensors
from mri_alps.priors.novelty import NOVELTY_KEY
from mri_alps.training import _monitor as monitor
from mri_alps.training._loop import _compile_gates
from mri_alps.training.config import TrainingConfig
from mri_alps.training.export import export_prior
from mri_alps.training.session import choose_recipe, run_session
from mri_alps.training.settings import SessionOptions
from tests.training.tiny_training import TINY_RECIPE


@pytest.fixture
def options(tmp_path) -> SessionOptions:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**TINY_RECIPE, "steps": 3}))
    return SessionOptions(config=path, changes={"seed": 5}, device="cpu")


def test_changes_beat_the_file_beats_the_run_beats_the_defaults(options, data, tmp_path):
    fresh = choose_recipe(tmp_path / "run", options)
    assert (fresh.seed, fresh.steps, fresh.gradient_clip) == (5, 3, 1.0)
    assert choose_recipe(tmp_path / "run", SessionOptions()) == TrainingConfig()
    assert run_session([data], tmp_path / "run", options)
    assert choose_recipe(tmp_path / "run", SessionOptions()) == fresh
    longer = SessionOptions(changes={"steps": 9})
    assert choose_recipe(tmp_path / "run", longer).steps == 9
    ablation = choose_recipe(tmp_path / "other", SessionOptions(two_channel=True))
    assert not ablation.unet.equivariant


def test_a_recipe_with_effects_and_counted_noise_is_trained(options, data, tmp_path):
    with np.load(data) as archive:
        arrays = dict(archive)
    np.savez(data, **arrays, noise_std=[4.0] * 12)
    changes = {
        "effects": {"contrast": 0.5, "phase_edges": 1.0, "lost_periphery": 0.5},
        "exclude_padding": True,
        "count_noise": True,
    }
    changed = dataclasses.replace(options, changes=options.changes | changes)
    assert run_session([data], tmp_path / "run", changed)
    prior = load_prior(tmp_path / "run")
    assert changes.items() <= prior.provenance["config"].items()
    assert all(torch.isfinite(value).all() for value in prior.state_dict().values())


def test_a_session_of_no_time_takes_one_step(options, data, tmp_path):
    stopped = dataclasses.replace(options, stop_after_minutes=0)
    assert not run_session([data], tmp_path / "run", stopped)
    assert load_prior(tmp_path / "run").provenance["step"] == 1


def test_anatomies_are_balanced(options, data, tmp_path):
    with np.load(data) as archive:
        arrays = dict(archive)
    np.savez(data, **arrays, anatomy=["head"] * 6 + ["knee"] * 6)
    changed = dataclasses.replace(options, changes=options.changes | {"balance_anatomies": True})
    assert run_session([data], tmp_path / "run", changed)
    assert load_prior(tmp_path / "run").provenance["data"]["anatomies"] == {"head": 3, "knee": 3}


@pytest.mark.filterwarnings("ignore:.*all of its 3 steps")
def test_a_run_that_was_killed_in_its_last_validation_is_completed(
    options, data, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as killed:
        killed.setattr(monitor, "radial_spectrum", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_session([data], run, options)
    assert load_prior(run).prior_spectrum is None
    assert run_session([data], run, options)
    whole = {p.name: p.stat().st_mtime_ns for p in run.rglob("*") if p.suffix in (".png", ".csv")}
    assert {name.partition("_")[0] for name in whole} >= {"denoised", "samples"}
    weights = (run / "prior.safetensors").read_bytes()
    assert load_prior(run).prior_spectrum is not None
    scores = (run / "validation.csv").read_text()
    assert run_session([data], run, options)  # and that is not done a third time
    assert (run / "validation.csv").read_text() == scores
    assert (run / "prior.safetensors").read_bytes() == weights


def test_exported_weights_are_complete(options, data, tmp_path):
    assert run_session([data], tmp_path / "run", options)
    scores = export_prior(tmp_path / "run", [data], tmp_path / "out.safetensors", 2, 3)
    prior = load_prior(tmp_path / "out.safetensors")
    assert prior.provenance["validation"] == scores
    assert prior.provenance["step"] == 3
    stored, _ = load_tensors(tmp_path / "out.safetensors")
    averaged = load_prior(tmp_path / "run").state_dict()
    smallest = torch.finfo(torch.float16).tiny * torch.finfo(torch.float16).eps
    for name, value in prior.state_dict().items():
        assert stored[name].dtype == torch.float16 and value.dtype == torch.float32
        torch.testing.assert_close(value, averaged[name], rtol=2**-11, atol=smallest)
    assert len(prior.provenance[NOVELTY_KEY]) == 4
    assert prior.prior_spectrum.error_power.shape == (3, 40)
    assert_equal_to_rounding(
        prior.prior_spectrum.sigmas[0].item(), prior.sigma_min, dtype="float32"
    )


def test_the_mean_of_two_states_of_a_training_is_exported(options, data, tmp_path):
    assert run_session([data], tmp_path / "run", options)
    early = tmp_path / "early.safetensors"
    early.write_bytes((tmp_path / "run" / "prior.safetensors").read_bytes())
    longer = dataclasses.replace(options, changes={**options.changes, "steps": 5})
    assert run_session([data], tmp_path / "run", longer)
    export_prior(tmp_path / "run", [data], tmp_path / "out.safetensors", 2, 3, early)
    mean = load_prior(tmp_path / "out.safetensors")
    first, last = load_prior(early).state_dict(), load_prior(tmp_path / "run").state_dict()
    assert mean.provenance["mean_of_steps"] == [3, 5] and mean.provenance["step"] == 5
    for name, value in mean.state_dict().items():
        expected = (first[name] + last[name]) / 2
        torch.testing.assert_close(value, expected, rtol=2**-11, atol=1e-7)


def test_what_cannot_be_exported_is_said_and_no_file_is_left(options, data, tmp_path):
    assert run_session([data], tmp_path / "run", options)
    path, out = tmp_path / "run" / "prior.safetensors", tmp_path / "out.safetensors"
    tensors, facts = load_tensors(path)
    facts["prior"]["sigma_data"] *= 2
    save_tensors(tmp_path / "other.safetensors", tensors, facts)
    with pytest.raises(ConfigurationError, match="other noise levels"):
        export_prior(tmp_path / "run", [data], out, 2, 3, tmp_path / "other.safetensors")
    facts["prior"]["sigma_data"] /= 2
    name = next(name for name in tensors if name.endswith("weight_real"))
    save_tensors(path, tensors | {name: torch.full_like(tensors[name], 1e5)}, facts)
    with pytest.raises(ConfigurationError, match=r"above 65504.*weight_real"):
        export_prior(tmp_path / "run", [data], out, 2, 3)
    assert not out.exists()


def test_a_new_run_goes_on_from_weights(options, data, tmp_path):
    assert run_session([data], tmp_path / "run", options)
    first = load_prior(tmp_path / "run")
    going_on = SessionOptions(
        changes={"steps": 4, "learning_rate": 0.0},
        initial=tmp_path / "run" / "prior.safetensors",
        device="cpu",
    )
    assert run_session([data], tmp_path / "next", going_on)
    second = load_prior(tmp_path / "next")
    assert second.config == first.config  # the recipe came with the weights
    assert second.provenance["step"] == 4
    assert second.provenance["images_seen"] > first.provenance["images_seen"]
    for name, value in first.state_dict().items():
        assert value.allclose(second.state_dict()[name], atol=1e-7), name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--devices", "some"), "--devices is 'some', expected a number or auto"),
        (("--steps", "0"), "--steps is 0, expected a whole number of at least 1"),
        (("--validation-fraction", "1"), "--validation-fraction is 1.0, expected a number above 0"),
        (("--device", "cpu", "--precision", "16-mixed"), "needs a GPU"),
        (("--device", "cpu", "--precision", "8-bit"), "--precision is '8-bit', expected"),
    ],
)
def test_impossible_options_are_refused(data, tmp_path, run, options, words):
    result = run("train", data, "-o", tmp_path / "run", *options)
    assert result.code == 1 and words in " ".join(result.err.split())
    assert not (tmp_path / "run").exists()


def test_only_given_options_change_a_recipe(data, tmp_path, run, monkeypatch):
    given = []
    monkeypatch.setattr(training, "run_session", lambda *values: given.append(values))
    out = tmp_path / "run"
    options = ("--steps", "7", "--validate", "a*", "--validate", "b", "--no-progress")
    run("train", data, "-o", out, *options, "--devices", "2", "--compile", "--config", "a.json")
    ((paths, output, options),) = given
    assert (paths, output) == ([data], out)
    assert options.changes == {"steps": 7, "validation_groups": ["a*", "b"]}
    assert options.fabric["devices"] == 2 and options.compile_model
    assert options.show_progress is False and options.config == "a.json"


def test_what_is_said_on_the_way_goes_through_logging(options, data, tmp_path, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="mri_alps"):
        assert run_session([data], tmp_path / "run", options)
    assert any(record.message.startswith("step 3/3 loss") for record in caplog.records)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # compilers warn of what is theirs
def test_compiled_gates_train_alike(options, data, tmp_path):
    assert run_session([data], tmp_path / "plain", options)
    compiled = dataclasses.replace(options, compile_model=True)
    assert run_session([data], tmp_path / "compiled", compiled)
    plain, other = (load_prior(tmp_path / name).state_dict() for name in ("plain", "compiled"))
    assert plain.keys() == other.keys()
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)


def test_torch_compiles_the_gates_of_all_levels():
    model = NetworkPrior(UNetConfig(), 0.4, 0.01, 40.0)
    n_gates = sum(isinstance(module, MagnitudeGate) for module in model.modules())
    before = torch._dynamo.config.recompile_limit
    try:
        torch._dynamo.config.recompile_limit = 8  # of which a network of 5 levels has more kinds
        _compile_gates(model)
        assert torch._dynamo.config.recompile_limit >= n_gates > 8
    finally:
        torch._dynamo.config.recompile_limit = before


def test_a_larger_network_goes_on_from_weights(options, data, tmp_path):
    assert run_session([data], tmp_path / "run", options)
    unet = {**TINY_RECIPE["unet"], "channels": [8, 8, 8]}
    unet |= {"encoder_blocks": [1, 2, 1], "decoder_blocks": [1, 1, 1]}
    larger = SessionOptions(
        changes={"steps": 4, "learning_rate": 0.0, "unet": unet},
        initial=tmp_path / "run" / "prior.safetensors",
        device="cpu",
    )
    assert run_session([data], tmp_path / "next", larger)
    first, second = (load_prior(tmp_path / name) for name in ("run", "next"))
    assert second.config.channels == (8, 8, 8)
    x = torch.ones((1, 32, 32), dtype=torch.complex64)
    assert_equal_to_rounding(second.denoise(x, 0.3), first.denoise(x, 0.3), n_summed=72)
