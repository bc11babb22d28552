# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why annealing, and what exact means here
#
# Source: Xun, Gupta, Price, NeurIPS 2025 (arXiv 2510.26324), section F.
#
# Take the smallest problem there is: prior N(0, 1), one measurement y = x + n with noise of
# standard deviation eta. Start Langevin dynamics for the posterior from a sample of the prior.
# Start and target both have, averaged over y, variance 1. In between the variance falls: the
# chain leaves the region where samples of the prior lie, and a learned score is not to be
# trusted there.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.core.random import standard_normal
from mri_alps.priors import GaussianMixturePrior, GaussianPrior, exact_posterior

eta2 = 0.1
a = (1 + eta2) / eta2
t = np.linspace(0, 1.4 / a, 200)
direct = 1 - 2 / (1 + eta2) * np.exp(-a * t) * (1 - np.exp(-a * t))
lowest = 1 - 1 / (2 * (1 + eta2))
print(f"lowest variance {direct.min():.4f}, the paper's closed form {lowest:.4f} = 6/11")

# %% [markdown]
# The annealed path (Algorithm 1 of the paper) first adds noise to the measurement until it says
# nothing, and takes it away level by level. The same simulation with both:

# %%
rng = np.random.default_rng(0)
n = 20_000
x = rng.standard_normal(n)
y = x + np.sqrt(eta2) * rng.standard_normal(n)


def langevin(z, data, noise2, n_steps):
    """Run dz = (-z + (data - z) / noise2) dt + sqrt(2) dB and record the variance over z."""
    step = 0.02 * noise2 / (1 + noise2)  # of the time in which the posterior forgets its start
    variances = []
    for _ in range(n_steps):
        drift = -z + (data - z) / noise2
        z = z + step * drift + np.sqrt(2 * step) * rng.standard_normal(len(z))
        variances.append(z.var())
    return z, variances


_, at_once = langevin(rng.standard_normal(n), y, eta2, 70)
levels = eta2 * 1.15 ** np.arange(45)[::-1]
path = [y]
for smaller, larger in zip(levels[::-1][:-1], levels[::-1][1:], strict=True):
    path.append(path[-1] + np.sqrt(larger - smaller) * rng.standard_normal(n))
z, annealed = rng.standard_normal(n), []
for level, data in zip(levels, path[::-1], strict=True):
    z, variances = langevin(z, data, level, 60)
    annealed += variances

figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), dpi=70, sharey=True)
axes[0].plot(np.arange(1, 71) * 0.02 * eta2 / (1 + eta2), at_once, label="simulated")
axes[0].plot(t, direct, "k--", label="closed form")
axes[0].set(title="at once", xlabel="time", ylabel="variance over x and y", ylim=(0.5, 1.1))
axes[0].legend()
axes[1].plot(annealed)
axes[1].set(title="annealed: from prior to posterior", xlabel="step")
figure.tight_layout()
plt.show()
print(f"lowest variance: at once {min(at_once):.3f}, annealed {min(annealed):.3f}")

# %% [markdown]
# ## What exact means
#
# With a Gaussian prior and any linear operator the posterior is known in closed form, mean and
# covariance. So a sampler need not be believed: it can be compared. Here on 16x16 complex images,
# 4 coils, every second line measured.

# %%
generator = torch.Generator().manual_seed(0)
shape = (16, 16)
maps = standard_normal((4, *shape), generator, torch.complex64)
maps = maps / maps.abs().square().sum(0).sqrt()
mask = torch.from_numpy(mri_alps.make_mask("equispaced", shape, 2, 0.2, seed=1))
operator = mri_alps.SenseOperator(maps, mask)
prior = GaussianPrior.power_law()
noise_std = 0.1
truth = prior.sample(1, shape, generator)[0]
data = operator.forward(truth)
data = data + noise_std * standard_normal(data.shape, generator, data.dtype) * mask
exact = exact_posterior(prior, operator, data, noise_std)
found = mri_alps.sample_posterior(
    prior, operator, data, noise_std, n_samples=256, n_evaluations=50, generator=generator
).samples

spread = (found - found.mean(0)).abs().square().sum(0).div(len(found) - 1).sqrt()
independent = exact.sample(256, generator)
relative = (found.mean(0) - exact.mean).norm() / (independent.mean(0) - exact.mean).norm()
print(f"error of the mean, relative to 256 exact samples: {relative:.2f}")
print(f"standard deviation over the exact one: {(spread / exact.std).mean():.3f}")

figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.9), dpi=70)
for axis, ours, theirs, title in (
    (axes[0], found.mean(0).abs(), exact.mean.abs(), "|mean|"),
    (axes[1], spread, exact.std, "standard deviation"),
):
    axis.plot(theirs.flatten(), ours.flatten(), ".", markersize=3)
    top = float(theirs.max()) * 1.05
    axis.plot([0, top], [0, top], "k--", linewidth=1)
    axis.set(title=title, xlabel="exact", ylabel="256 samples")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## A posterior with several modes
#
# A Gaussian flatters a sampler that is preconditioned by Gaussian quantities. With a mixture
# prior the posterior has modes, whose weights are known too.

# %%
means = 0.3 * prior.sample(4, shape, generator)
radius = torch.fft.fftshift(torch.fft.fftfreq(16))
power = 0.002 + 1.0 / (1 + ((radius[:, None] ** 2 + radius**2).sqrt() / 0.05) ** 3)
mixture = GaussianMixturePrior(torch.ones(4), means, power.expand(4, *shape))
weak = mri_alps.SenseOperator(maps, torch.from_numpy(mri_alps.make_mask("random", shape, 4, 0.1)))
truth = mixture.sample(1, generator)[0][0].to(torch.complex64)
data = weak.forward(truth)
data = data + 0.6 * standard_normal(data.shape, generator, data.dtype) * weak.measured
exact = exact_posterior(mixture, weak, data, 0.6)
found = mri_alps.sample_posterior(
    mixture, weak, data, 0.6, n_samples=256, n_evaluations=50, generator=generator
).samples
weights = exact.responsibilities(found).mean(0)
for k in range(4):
    print(f"mode {k}: exact weight {exact.weights[k]:.3f}, sampled {weights[k]:.3f}")
