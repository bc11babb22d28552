"""What a result says of the prior that made it."""

import hashlib

import mri_alps
from mri_alps.priors import packaged_weights


def test_a_result_names_its_prior_and_the_hash_of_its_weights(scan):
    prior = mri_alps.load_prior("brain-small")
    found = mri_alps.reconstruct(
        scan.path, prior="brain-small", slices=(0,), n_samples=2, n_evaluations=10
    ).attributes
    assert found["prior"] == prior.name == "brain-small"
    weights = packaged_weights()["brain-small"].path.read_bytes()
    assert found["checkpoint_sha256"] == hashlib.sha256(weights).hexdigest()
