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
# # Masks: evaluate and design
#
# A posterior says what a mask leaves open *before* any truth is known: the variance that
# remains. So masks can be compared, and lines can be chosen where the posterior still varies most.
# Everything here is on the demo's truth at a quarter of its size, with the closed-form Gaussian
# prior, so that it takes seconds.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.fourier import fftc, ifftc
from mri_alps.random import standard_normal

raw = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")
acquisition = mri_alps.prepare_slice(raw, 1)
shape = (104, 80)


def shrink(images):
    """Keep the central quarter of k-space."""
    kspace = fftc(images)[..., 52:156, 40:120]
    return ifftc(kspace) / 2


truth = shrink(torch.from_numpy(raw.read_ground_truth(1)).to(torch.complex64)) / acquisition.scale
maps = shrink(acquisition.sensitivity_maps)
maps = maps / maps.abs().square().sum(0).sqrt().clamp_min(1e-3)
noise_std = 0.02
full = mri_alps.SenseOperator(maps, torch.ones(shape, dtype=torch.bool)).forward(truth)
noise = standard_normal(full.shape, torch.Generator().manual_seed(0), full.dtype)
full = full + noise_std * noise
prior = mri_alps.load_prior("gaussian")


def posterior(mask, n_samples=8, seed=1):
    """Samples given the lines of a mask, (n_samples, H, W)."""
    mask = torch.from_numpy(np.asarray(mask))
    return mri_alps.sample_posterior(
        prior,
        mri_alps.SenseOperator(maps, mask),
        full * mask,
        noise_std,
        n_samples=n_samples,
        n_evaluations=12,
        generator=torch.Generator().manual_seed(seed),
    ).samples


def errors(samples):
    """Actual and expected error, normalised mean squares."""
    energy = truth.abs().square().sum()
    actual = (samples.mean(0) - truth).abs().square().sum() / energy
    expected = samples.var(0).sum() * (1 + 1 / len(samples)) / energy
    return float(actual), float(expected)


# %% [markdown]
# ## Evaluate
#
# Four kinds of masks with about as many lines (fastMRI's random ones draw their number, too). The
# expected error needs no truth.

# %%
candidates = {
    kind: mri_alps.make_mask(kind, shape, 4, 0.08, seed=0)
    for kind in ("equispaced", "random", "gaussian", "poisson-lines")
}
print(f"{'mask':14s} lines   actual error   expected error")
for kind, mask in candidates.items():
    actual, expected = errors(posterior(mask))
    print(f"{kind:14s} {int(mask.sum()):5d}   {actual:12.5f}   {expected:14.5f}")

# %% [markdown]
# ## Design
#
# Start from the centre, look at the posterior, measure the four lines on which the samples
# disagree most (the variance of the coil data that they predict), and look again.
# `mri-alps design-mask` does this with the expected information, which accounts for lines that
# say the same; here is the idea in ten lines.

# %%
budget = int(candidates["equispaced"].sum())
designed = np.zeros((1, shape[1]), bool)
designed[:, 37:44] = True
everything = mri_alps.SenseOperator(maps, torch.ones(shape, dtype=torch.bool))
curve = []
while True:
    samples = posterior(designed)
    curve.append((int(designed.sum()), *errors(samples)))
    if designed.sum() >= budget:
        break
    variance = everything.forward(samples).var(0).sum((0, 1)).numpy()
    variance[designed[0]] = 0
    count = min(4, budget - int(designed.sum()))
    for _ in range(count):
        best = int(np.argmax(variance))
        designed[:, best] = True
        variance[max(0, best - 1) : best + 2] = 0  # neighbours tell nearly the same
curve = np.array(curve)
actual, expected = errors(posterior(designed))
print(f"designed       {int(designed.sum()):5d}   {actual:12.5f}   {expected:14.5f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.8), dpi=70)
axes[0].semilogy(curve[:, 0], curve[:, 1], "o-", label="actual")
axes[0].semilogy(curve[:, 0], curve[:, 2], "s--", label="expected")
axes[0].set(xlabel="lines", ylabel="error (NMSE)", title="while designing")
axes[0].legend()
rows = [*candidates.values(), designed]
axes[1].imshow(np.repeat(np.concatenate(rows), 8, axis=0), cmap="gray", aspect="auto")
axes[1].set_yticks(np.arange(len(rows)) * 8 + 3.5, [*candidates, "designed"])
axes[1].set_title("masks")
figure.tight_layout()
plt.show()
