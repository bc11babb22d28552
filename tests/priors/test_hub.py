"""Weights from the Hugging Face Hub: a cache folder in its client's layout, and a local hub."""

import hashlib
import http.server
import sys
import threading

import pytest
import torch

from mri_alps.core.errors import ConfigurationError, InputFileError, MissingDependencyError
from mri_alps.pipeline.provenance import prior_label
from mri_alps.priors import NetworkPrior, UNetConfig, load_prior, save_prior
from mri_alps.priors._hub import HubAddress
from mri_alps.priors.checkpoint import load_tensors, save_tensors

COMMIT, OLDER = "a" * 40, "b" * 40


def tiny_prior(sigma_max: float) -> NetworkPrior:
    torch.manual_seed(3)
    return NetworkPrior(UNetConfig((8,), (1,), (0,), 8, 16), 0.4, 0.02, sigma_max)


def put(cache, commit, sigma_max, file="prior.safetensors", reference=None):
    """A file in the client's cache, as a download leaves it; returns the blob."""
    folder = cache / "models--somebody--head"
    blobs, snapshot = folder / "blobs", folder / "snapshots" / commit
    for new in (blobs, snapshot, folder / "refs"):
        new.mkdir(parents=True, exist_ok=True)
    save_prior(blobs / "new", tiny_prior(sigma_max))
    blob = blobs / hashlib.sha256((blobs / "new").read_bytes()).hexdigest()
    (blobs / "new").rename(blob)
    (snapshot / file).symlink_to(f"../../blobs/{blob.name}")
    if reference:
        (folder / "refs" / reference).write_text(commit)
    return blob


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """huggingface_hub with a cache of its own, offline."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def test_a_repository_in_the_cache_is_a_prior(hub):
    blob = put(hub, COMMIT, 7.0, reference="main")
    put(hub, OLDER, 9.0, reference="v1")
    put(hub, OLDER, 11.0, file="large.safetensors")
    prior = load_prior("hf:somebody/head")
    assert prior.sigma_max == 7.0 and prior.checkpoint_sha256 == blob.name
    assert prior.name == f"hf:somebody/head@{COMMIT}"
    assert prior_label(prior, "hf:somebody/head") == prior.name  # what results record
    assert load_prior(prior.name).checkpoint_sha256 == blob.name
    for revision in ("v1", OLDER):
        pinned = load_prior(f"hf:somebody/head@{revision}")
        assert (pinned.sigma_max, pinned.name) == (9.0, f"hf:somebody/head@{OLDER}")
    other = load_prior("hf:somebody/head/large.safetensors@v1")
    assert other.sigma_max == 11.0
    assert load_prior(other.name).sigma_max == 11.0


def test_a_damaged_download_is_refused(hub):
    blob = put(hub, COMMIT, 7.0, reference="main")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(InputFileError, match=f"expected {blob.name}, the one that the hub told"):
        load_prior("hf:somebody/head")


def test_what_is_neither_cached_nor_reachable_is_said(hub):
    with pytest.raises(InputFileError, match=r"not in the cache.*cannot be reached"):
        load_prior("hf:nobody/nothing")


def test_weights_of_other_packages_are_refused(hub):
    blob = put(hub, COMMIT, 7.0, reference="main")
    tensors, _ = load_tensors(blob)
    from safetensors.torch import save_file

    blob.unlink()
    save_file(tensors, hub / "foreign")
    foreign = hub / "models--somebody--head" / "blobs" / "foreign"
    (hub / "foreign").rename(foreign)
    link = hub / "models--somebody--head" / "snapshots" / COMMIT / "prior.safetensors"
    link.unlink()
    link.symlink_to(foreign)
    with pytest.raises(InputFileError, match="no mri_alps configuration"):
        load_prior("hf:somebody/head")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "EntryNotFound", "has no prior.safetensors at main"),
        (404, "RevisionNotFound", "has no revision main"),
        (404, "RepoNotFound", "has no somebody/head that may be read"),
        (403, "GatedRepo", "asks for consent"),
        (400, "", "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub, monkeypatch, status, code, message):
    from huggingface_hub import constants

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    try:
        with pytest.raises(InputFileError, match=message) as caught:
            load_prior("hf:somebody/head")
    finally:
        server.shutdown()
        server.server_close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["hf:", "hf:head", "hf:a/b/c/d.safetensors", "hf:a/b/model.bin", "hf:a/..", "hf:../a",
     "hf:a/b@", "hf:a/b@../main", "hf:a b/c", "hf:a/b/../c.safetensors", "hf:a/b\n"],
)  # fmt: skip
def test_addresses_that_are_none(address):
    with pytest.raises(ConfigurationError, match="no address of weights"):
        load_prior(address)


def test_addresses():
    assert HubAddress.parse("hf:a/b.c-d@refs/pr/1") == ("a/b.c-d", "prior.safetensors", "refs/pr/1")
    assert HubAddress.parse("hf:a/b/c.safetensors") == ("a/b", "c.safetensors", None)


def test_without_the_client_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mri-alps\[hub\]'"):
        load_prior("hf:somebody/head")


@pytest.mark.parametrize(
    ("entry", "value"),
    [("channels", [10**9]), ("channels", [8 * 10**8]), ("encoder_blocks", [10**9]),
     ("embedding_size", 10**12)],
)  # fmt: skip
def test_a_description_that_asks_for_all_memory_is_refused(tmp_path, entry, value):
    path = tmp_path / "prior.safetensors"
    save_prior(path, tiny_prior(7.0))
    tensors, metadata = load_tensors(path)
    metadata["prior"]["unet"][entry] = value
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputFileError, match=r"do not fit|makes no sense"):
        load_prior(path)
