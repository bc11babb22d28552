"""The weights inside the package: which there are, what they must be, under which licence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mri_alps.priors.checkpoint import load_prior_file

if TYPE_CHECKING:
    import torch

    from mri_alps.priors.network import NetworkPrior

WEIGHTS = Path(__file__).parent / "weights"
_REGISTRY = WEIGHTS / "registry.json"


@dataclass(frozen=True)
class PackagedWeights:
    """An entry of the registry of weights.

    Attributes
    ----------
    name : str
        As `load_prior` takes it.
    sha256 : str
        Of the weights file, lower-case hexadecimal; checked whenever it is loaded.
    licence : str
        Of the weights.
    data_licences : tuple of str
        Of the images that they were trained on; the model card gives the attributions.
    anatomies : tuple of str
        What those images show.
    """

    name: str
    sha256: str
    licence: str
    data_licences: tuple[str, ...]
    anatomies: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The weights file."""
        return WEIGHTS / f"{self.name}.safetensors"

    @property
    def model_card(self) -> Path:
        """A Markdown file: training, attributions, figures, and what the prior is not for."""
        return WEIGHTS / f"{self.name}.md"

    def load(self, device: torch.device | str) -> NetworkPrior:
        """Load the network, unless its file is not the registered one.

        Parameters
        ----------
        device : torch.device or str
            Where it shall run.

        Raises
        ------
        InputFileError
            If the file is damaged or another one.
        """
        return load_prior_file(
            self.path, device, self.sha256, "that of the registry: install mri-alps again"
        )


@cache
def _entries() -> dict[str, PackagedWeights]:
    found = json.loads(_REGISTRY.read_text(encoding="utf-8"))
    return {
        name: PackagedWeights(
            name,
            entry["sha256"],
            entry["licence"],
            tuple(entry["data_licences"]),
            tuple(entry["anatomies"]),
        )
        for name, entry in sorted(found.items())
    }


def packaged_weights() -> dict[str, PackagedWeights]:
    """Return the registry of the weights inside the package, by name.

    Those whose file is not installed are left out: a distribution may leave weights out.
    """
    return {name: entry for name, entry in _entries().items() if entry.path.is_file()}
