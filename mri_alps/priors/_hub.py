"""Weights from the Hugging Face Hub, through its own client: `hf:owner/name@revision`."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.core.optional import require
from mri_alps.priors.checkpoint import load_prior_file

if TYPE_CHECKING:
    import torch

    from mri_alps.priors.network import NetworkPrior

HUB = "hf:"
PRIOR_FILE = "prior.safetensors"  # as a training run calls it
_SHOWN = 80
# As the hub has it: letters, digits, "_", "-" and single dots, which leads to no other folder.
_WORD = r"[A-Za-z0-9_](?:[\w-]|\.(?!\.))*"
_ADDRESS = re.compile(
    rf"hf:(?P<repository>{_WORD}/{_WORD})(?:/(?P<file>{_WORD}\.safetensors))?"
    r"(?:@(?P<revision>[A-Za-z0-9][\w./-]{0,99}))?",
    re.ASCII,
)
_SHA256 = re.compile("[0-9a-f]{64}")
_LOGGER = logging.getLogger(__name__)


class HubAddress(NamedTuple):
    """Where weights lie on the hub."""

    repository: str
    file: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read an address.

        Parameters
        ----------
        text : str
            ``hf:owner/name``, ``hf:owner/name@revision`` or ``hf:owner/name/file.safetensors``,
            with or without a revision: a branch, a tag or a commit.

        Raises
        ------
        ConfigurationError
            If it is none of these.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or ".." in text:
            raise ConfigurationError(
                f"{text[:_SHOWN]!r} is no address of weights: expected hf:owner/name, "
                "hf:owner/name@revision or hf:owner/name/file.safetensors"
            )
        return cls(found["repository"], found["file"] or PRIOR_FILE, found["revision"])

    def at(self, revision: str | None) -> str:
        """Return the address as a text, at a revision.

        Parameters
        ----------
        revision : str, optional
            A branch, a tag or a commit.
        """
        file = "" if self.file == PRIOR_FILE else f"/{self.file}"
        return f"{HUB}{self.repository}{file}" + (f"@{revision}" if revision else "")


def load_hub_prior(text: str, device: torch.device | str) -> NetworkPrior:
    """Load weights from the hub, or from its client's cache.

    Parameters
    ----------
    text : str
        See `HubAddress.parse`.
    device : torch.device or str
        Where the network shall run.

    Returns
    -------
    NetworkPrior
        Its `name` is the address with the commit, which loads the same weights again.

    Raises
    ------
    ConfigurationError
        If the address makes no sense.
    MissingDependencyError
        If huggingface_hub is not installed.
    InputFileError
        If there are no such weights, the hub cannot be reached, or the file cannot be used.
    """
    address = HubAddress.parse(text)
    path = _download(address)
    # The client keeps a large file under its SHA-256, which the hub has told, and links to it.
    stored = path.resolve().name
    expected = stored if _SHA256.fullmatch(stored) else None
    prior = load_prior_file(
        path, device, expected, f"the one that the hub told: delete {path.resolve()} and try again"
    )
    prior.name = address.at(_commit_of(path, address))
    _LOGGER.info("%s: these weights are %s", text, prior.name)
    return prior


def _download(address: HubAddress) -> Path:
    """Path of the file in the client's cache, fetched if it is not there."""
    where = address.at(address.revision)
    hub = require("huggingface_hub", f"the prior {where}", "hub")
    errors = require("huggingface_hub.errors", f"the prior {where}", "hub")
    try:
        return Path(
            hub.hf_hub_download(address.repository, address.file, revision=address.revision)
        )
    except errors.GatedRepoError as error:
        raise InputFileError(
            f"{where} asks for consent: give it on the hub's page of {address.repository}, then "
            "run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputFileError(
            f"the hub has no {address.repository} that may be read: check the name, or run "
            "`hf auth login` if it is private"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputFileError(
            f"{address.repository} has no revision {address.revision or 'main'}: expected one of "
            "its branches, tags or commits"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise InputFileError(
            f"{where} is not in the cache of huggingface_hub, and the hub cannot be reached or "
            "HF_HUB_OFFLINE forbids it: load it once where there is a network, or give the path "
            "of a weights file"
        ) from error
    except errors.EntryNotFoundError as error:
        raise InputFileError(
            f"{address.repository} has no {address.file} at {address.revision or 'main'}: expected "
            "a file written by `mri-alps train`; name another one as hf:owner/name/file.safetensors"
        ) from error
    except (OSError, ValueError) as error:  # what transport and client raise
        text = " ".join(str(error).split())[:200]
        raise InputFileError(
            f"{where} cannot be fetched ({type(error).__name__}: {text}): check name and network, "
            "or give the path of a weights file"
        ) from error


def _commit_of(path: Path, address: HubAddress) -> str | None:
    """The commit whose snapshot a file in the cache belongs to."""
    parts = path.parts
    if "snapshots" in parts[:-2]:
        return parts[len(parts) - parts[::-1].index("snapshots")]
    return address.revision
