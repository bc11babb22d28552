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
# ## A score that is wrong where the chain should not be
#
# Theorem 1.1 of the paper: annealed, a bound on E|e|^4 is enough, e being the error of the score;
# at once, one on E exp|e|^2 is needed. So let the score be wrong rarely, and then hugely. The prior
# is a ball of radius sqrt(d) with a soft wall (log-concave); within |x| < rho the score is that of
# a far narrower prior, e = -10 x. In many dimensions nearly all of a ball lies near its surface, so
# E|e|^4 is tiny. Both start from the same prior samples, have the same data and 1000 evaluations.

# %%
alpha, wall, strength, chains, evaluations = 0.1, 10.0, 10.0, 400, 1000
dimensions, sizes = (1, 16, 64, 128), np.array([0.001, 0.01, 0.1, 0.3, 1.0])
levels = eta2 * 1.15 ** np.arange(41)[::-1]
step_sizes = 0.3 / (alpha + wall + 1 / levels)
share = 1 / (1 + 1 / levels) / step_sizes  # as many relaxation times at each level,
share[-1] *= 10  # and the last one longer
counts = np.diff(np.round(evaluations * np.cumsum(share) / share.sum()).astype(int), prepend=0)


def draw(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


def pull(radius):
    """The score is -pull(|x|) x."""
    return alpha + wall * np.maximum(1 - edge / radius, 0)


def run(x, data, variances, steps, n_steps):
    """Langevin dynamics with the noise of Leimkuhler and Matthews; also E|x|^2 on the way."""
    noise, energy = np.sqrt(np.float32(3)) * draw(*x.shape), []
    for level, step, count, target in zip(variances, steps, n_steps, data, strict=True):
        step, root = np.float32(step), np.float32(np.sqrt(step / 2))
        for _ in range(count):
            radius = np.linalg.norm(x, axis=1, keepdims=True)
            rate = (pull(radius) + strength * (radius < rho) + 1 / level).astype(np.float32)
            following = draw(*x.shape)
            x = x + step * (target / np.float32(level) - rate * x) + root * (noise + following)
            noise = following
            energy.append(np.mean(radius**2))
    return x, np.array(energy)


caught, shrunk = {"at once": {}, "annealed": {}}, {}
for d in dimensions:
    edge, radii = np.sqrt(d), np.linspace(0.001, np.sqrt(d) + 4, 20_000)
    log_density = (d - 1) * np.log(radii) - alpha * radii**2 / 2
    log_density -= wall / 2 * np.maximum(radii - edge, 0) ** 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    norm4 = np.sum(density * (pull(radii) * radii) ** 4) ** 0.25
    error4 = np.cumsum(density * (strength * radii) ** 4) ** 0.25
    for size in sizes:
        index = np.searchsorted(error4, size * norm4)
        rho, rare = radii[index], np.sum(density[: index + 1])
        direction = draw(2, chains, d)
        direction /= np.linalg.norm(direction, axis=2, keepdims=True)
        drawn = np.interp(rng.random((2, chains, 1)), np.cumsum(density), radii)
        start, truth = drawn.astype(np.float32) * direction
        path = [truth + np.float32(np.sqrt(eta2)) * draw(chains, d)]
        for smaller, larger in zip(levels[:0:-1], levels[-2::-1], strict=True):
            path.append(path[-1] + np.float32(np.sqrt(larger - smaller)) * draw(chains, d))
        direct = run(start, path[:1], levels[-1:], step_sizes[-1:], [evaluations])
        nested = run(start, path[::-1], levels, step_sizes, counts)
        for name, (x, energy) in (("at once", direct), ("annealed", nested)):
            excess = np.mean(np.linalg.norm(x, axis=1) < rho) - rare
            seen = excess > 2 * np.sqrt(rare / chains)  # more than chance
            caught[name].setdefault(d, []).append(excess if seen else 0)
            shrunk[name, d, size] = energy / np.sum(density * radii**2)

# The theory's slope: Girsanov and Pinsker give (T E|e|^2 / 8)^(1/2) where the law is the prior's.
bound = np.minimum(1, np.sqrt(np.dot(step_sizes, counts) / 8) * norm4 * sizes)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), dpi=70)
for axis, name in zip(axes[1:], caught, strict=True):
    axes[0].plot(np.arange(evaluations) + 1, shrunk[name, d, sizes[1]], label=name)
    for d, values in caught[name].items():
        axis.loglog(sizes, np.maximum(values, 0.5 / chains), ".-", label=f"{d}")
    axis.loglog(sizes, bound, "k--", label="slope 1")
    axis.set(title=name, xlabel="L4 error / L4 norm of the score", ylim=(8e-4, 1.5))
axes[0].set(title=f"|x|² on the way, {d} dimensions", ylabel="over the prior's E|x|²")
axes[0].set(xscale="log", xlabel="evaluation", ylim=(0, 1.1))
axes[0].legend()
axes[1].set(ylabel="total variation (chains caught)")
axes[2].legend(title="dimensions", fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
figure.tight_layout()
plt.show()
for name, found in caught.items():
    print(f"{name}: chains caught in {d} dimensions", [f"{share:.1%}" for share in found[d]])

# %% [markdown]
# The dashed line is what the error may do to a path whose law is the prior's, in 128 dimensions.
# Annealed, the chains stay far below it (the error is rarer than its L4 norm says); at once they
# are above it, and an error of a thousandth of the score is enough. In few dimensions annealing
# makes no difference: the midpoint of two samples of a log-concave density is a likely place. An
# error as large as the score catches annealed chains as well. The chains caught are a lower bound
# on the total variation; where no more are than chance, half of one is drawn.
# `benchmarks/benchmark_robustness.py` goes on to 16x16 images with this package's samplers.

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
