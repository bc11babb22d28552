"""The methods that `sample_posterior` knows by name."""

from __future__ import annotations

from mri_alps.sampling.baselines import sample_csgm, sample_dps
from mri_alps.sampling.posterior import Method, sample_alps
from mri_alps.sampling.xgp import sample_xgp1, sample_xgp2, sample_xgp3

METHODS: dict[str, Method] = {
    "alps": sample_alps,
    "xgp1": sample_xgp1,
    "xgp2": sample_xgp2,
    "xgp3": sample_xgp3,
    "csgm": sample_csgm,
    "dps": sample_dps,
}
