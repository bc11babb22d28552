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
# # Other inverse problems: inpainting, deblurring, super-resolution
#
# The sampler knows nothing of MRI: any object with `forward`, `adjoint`, `normal` and
# `domain_shape` will do. The three operators of the paper's experiments are part of the package.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import torch

import mri_alps
from mri_alps.operators import (
    BlurOperator,
    DownsamplingOperator,
    InpaintingOperator,
    gaussian_kernel,
    simulate,
)

raw = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")
truth = torch.from_numpy(raw.read_ground_truth(1)).to(torch.complex64)[24:184, 16:144]
truth = truth / truth.abs().quantile(0.99)
shape = tuple(truth.shape)
prior = mri_alps.load_prior("brain-small")
generator = torch.Generator().manual_seed(0)

kept = torch.rand(shape, generator=generator) < 0.35
problems = {
    "inpainting": (InpaintingOperator(kept), 0.02),
    "deblurring": (BlurOperator(gaussian_kernel(std=2.0), shape), 0.02),
    "super-resolution": (DownsamplingOperator(shape, 4, dtype=torch.complex64), 0.02),
}

# %%
figure, axes = plt.subplots(3, 4, figsize=(8, 7.6), dpi=70)
for row, (name, (operator, noise_std)) in enumerate(problems.items()):
    data = simulate(operator, truth, noise_std, generator)
    samples = mri_alps.sample_posterior(
        prior, operator, data, noise_std, n_samples=4, n_evaluations=25, generator=generator
    ).samples
    spread = (samples - samples.mean(0)).abs().square().sum(0).div(3).sqrt()
    error = (samples.mean(0) - truth).abs()
    panels = [(data, 1.1), (samples.mean(0), 1.1), (spread, 0.3), (error, 0.3)]
    for axis, (image, top) in zip(axes[row], panels, strict=True):
        axis.imshow(image.abs().numpy(), cmap="gray" if top > 1 else "magma", vmin=0, vmax=top)
        axis.set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)
    print(
        f"{name:17s} error {error.square().mean().sqrt():.3f}, "
        f"standard deviation {spread.square().mean().sqrt():.3f} (root mean squares)"
    )
for axis, title in zip(axes[0], ("data", "mean", "standard deviation", "error"), strict=True):
    axis.set_title(title, fontsize=9)
figure.tight_layout()
plt.show()

# %% [markdown]
# The mean is smooth where little was measured, for it averages over structure that differs from
# sample to sample. A single sample looks like an image, and is one of many. Here are two from the
# super-resolved image, and how they differ.

# %%
pair = samples[:2, 40:110, 20:90].abs()
figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.4), dpi=70)
for axis, image, title in zip(
    axes,
    (*pair, (pair[0] - pair[1]).abs() * 4),
    ("a sample", "another", "4 x difference"),
    strict=True,
):
    axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1.1)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# Holes that are larger than the structures around them ask more of the prior and of the number of
# evaluations than this small network and 25 evaluations can give: look at the standard deviation
# there before believing the mean.
