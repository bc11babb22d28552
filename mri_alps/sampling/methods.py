"""The methods that `sample_posterior` knows by name."""

from __future__ import annotations

from mri_alps.sampling.posterior import Method, sample_alps

METHODS: dict[str, Method] = {"alps": sample_alps}
