"""Each sample sees a prior that may be mirrored in a mirroring of its own."""

from types import SimpleNamespace

import pytest
import torch

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.random import standard_normal
from mri_alps.operators import InpaintingOperator
from mri_alps.priors import GaussianPrior, PriorOfSets, load_prior
from mri_alps.sampling import make_problem, plug_and_play, sample_posterior
from mri_alps.sampling.mirroring import MirroredScore, mirror_axes_of, mirroring
from mri_alps.training._augmentation import random_affine

C64 = torch.complex64
FLIPS = [(), (-2,), (-1,), (-2, -1)]  # of samples 0 to 3, bit by bit


def lopsided(x, sigma):
    """A score that is another in every mirroring."""
    weight = torch.arange(1, x[0].numel() + 1).reshape(x.shape[1:])
    return -x * weight / sigma


@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 6)])
@pytest.mark.parametrize("name", ["score", "denoise"])
def test_sample_i_sees_mirroring_i(shape, name):
    model = SimpleNamespace(score=lopsided, denoise=lopsided, sigma_min=0.1, sigma_max=2.0)
    indices = [5, 0, 3, 2, 6]
    mirrored = MirroredScore(model, (-2, -1), indices, torch.device("cpu"))
    x = standard_normal((5, *shape), torch.Generator().manual_seed(0), C64)
    found = getattr(mirrored, name)(x, 0.7)
    for chain, index in enumerate(indices):
        axes = FLIPS[index % 4]
        expected = lopsided(x[chain : chain + 1].flip(axes), 0.7).flip(axes)[0]
        assert torch.equal(found[chain], expected)
    assert (mirrored.sigma_min, mirrored.sigma_max) == (0.1, 2.0)


@pytest.mark.parametrize("axes", [(1,), (0, -1), (-1, -1), (-3,), ("x",), None, -1, (-1.0,)])
def test_axes_that_an_image_does_not_have_are_named(axes):
    with pytest.raises(ConfigurationError, match=r"mirror_axes are .* from -2 to -1"):
        mirror_axes_of(SimpleNamespace(mirror_axes=axes), 2)
    assert mirror_axes_of(SimpleNamespace(), 2) == ()


class Lopsided(GaussianPrior):
    """A Gaussian prior with a mean that is not its own mirror image, though it says so."""

    mirror_axes = (-2, -1)

    def __init__(self, mean):
        super().__init__(torch.full(mean.shape, 0.5), sigma_min=0.05, sigma_max=5.0)
        self.mean = mean

    def denoise(self, x, sigma):
        return self.mean + super().denoise(x - self.mean, sigma)


def draw(prior, n_samples, first_sample=0):
    shape = tuple(prior.mean.shape)
    operator = InpaintingOperator(torch.ones(shape, dtype=torch.bool))
    return sample_posterior(
        prior,
        operator,
        torch.zeros(shape, dtype=C64),
        1e3,  # so that nothing is known of any pixel
        n_samples=n_samples,
        n_evaluations=60,
        first_sample=first_sample,
        generator=torch.Generator().manual_seed(3),
    ).samples


def test_each_sample_is_of_its_own_mirror_image_and_keeps_it_when_continued():
    mean = torch.zeros(8, 10, dtype=C64)
    mean[:4, :5] = 20  # far more than the prior's deviation
    samples = draw(Lopsided(mean), 8)
    for index, sample in enumerate(samples):
        expected = mean.flip(FLIPS[index % 4])
        # Every pixel lies nearer to the mean of its own mirroring than to any other.
        assert bool(((sample - expected).abs() < 10).all()), index
    torch.testing.assert_close(draw(Lopsided(mean), 3, 5), samples[5:])


def test_a_point_estimate_takes_the_mirrorings_in_turn():
    seen = []

    class Watched(Lopsided):
        def denoise(self, x, sigma):
            seen.append(x[0].real)
            return x

    shape = (4, 6)
    data = torch.arange(24, dtype=torch.float32).reshape(shape).to(C64)
    operator = InpaintingOperator(torch.ones(shape, dtype=torch.bool))
    prior = Watched(torch.zeros(shape))
    image, count = plug_and_play(prior, make_problem(operator, data, 0.1), n_steps=6)
    assert count == 6
    torch.testing.assert_close(image, data)  # of a denoiser that leaves all as it is
    for step, found in enumerate(seen):
        torch.testing.assert_close(found, data.real.flip(FLIPS[step % 4]))
        assert mirroring(step, (-2, -1)) == FLIPS[step % 4]


def test_a_prior_that_is_its_own_mirror_image_gives_the_same():
    prior = Lopsided(torch.zeros(8, 10, dtype=C64))
    mirrored = draw(prior, 4)
    prior.mirror_axes = ()
    torch.testing.assert_close(mirrored, draw(prior, 4), atol=1e-4, rtol=1e-4)


def test_networks_are_mirrored_as_their_training_mirrors_and_no_other_prior_is():
    network = load_prior("brain-small")
    assert network.mirror_axes == (-2, -1)
    assert PriorOfSets.like(network, [0.1], (8, 8)).mirror_axes == (-2, -1)
    assert not hasattr(load_prior("gaussian"), "mirror_axes")
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(random_affine(generator, warp=False).flatten().tolist()) for _ in range(200)}
    assert {(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)} <= drawn
