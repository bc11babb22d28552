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
# # A scan with its uncertainty, at R = 2 to 8
#
# If `MRI_ALPS_SHARED_DATA` names a folder with a fully sampled fastMRI-layout file
# (`raw/brain_axial_8ch.h5`), that real scan is used: the pictures stored here are of it (8 coils,
# from jiawang66/mripy, MIT licence). Otherwise the packaged demo's truth is measured again, with
# its own coils and its own noise level, so that the notebook runs anywhere.

# %%
import os
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.calibration import sampling_weights
from mri_alps.core.random import standard_normal

scan = Path(os.environ.get("MRI_ALPS_SHARED_DATA", "")) / "raw" / "brain_axial_8ch.h5"
real = scan.is_file()
demo = resources.files("mri_alps") / "data" / "demo_brain.h5"
raw = mri_alps.read_raw(scan if real else demo)
index = 0 if real else 1
acquisition = mri_alps.prepare_slice(raw, index)
maps = acquisition.sensitivity_maps
full = torch.ones(acquisition.kspace.shape[-2:], dtype=torch.bool)
if real:
    kspace = acquisition.kspace
    truth = mri_alps.SenseOperator(maps, full).adjoint(kspace)
else:
    truth = torch.from_numpy(raw.read_ground_truth(index)).to(torch.complex64) / acquisition.scale
    kspace = mri_alps.SenseOperator(maps, full).forward(truth)
    noise = standard_normal(kspace.shape, torch.Generator().manual_seed(0), kspace.dtype)
    kspace = kspace + acquisition.noise_std * noise
seen = maps.abs().sum(0) > 0  # elsewhere the coils see nothing, and only the prior speaks
print(f"{'real scan' if real else 'demo'}: {len(maps)} coils, noise {acquisition.noise_std:.3f}")

# %% [markdown]
# The same slice, ever fewer lines. Intensities are relative to the image's own scale (its 99th
# percentile is 1). Every step of the loop is one line of the API: a mask, an operator, samples.
# The weights allow for maps that are not exact: a line is trusted to 5 % of its signal, which at
# the centre of k-space is far more than the noise.

# %%
prior = mri_alps.load_prior("brain-small")
accelerations, results = (2, 4, 8), []
for acceleration in accelerations:
    mask = mri_alps.make_mask("equispaced", full.shape, acceleration, 0.32 / acceleration)
    mask = torch.from_numpy(mask[0])
    weights = sampling_weights(kspace * mask, mask, acquisition.noise_std)
    results.append(
        mri_alps.sample_posterior(
            prior,
            mri_alps.SenseOperator(maps, mask, weights),
            kspace * mask * weights,
            acquisition.noise_std,
            n_samples=4,
            n_evaluations=20,
            generator=torch.Generator().manual_seed(1),
        ).samples
        * seen
    )

# %%
tall = 6 * truth.shape[0] / truth.shape[1] + 0.4
figure, axes = plt.subplots(3, 3, figsize=(6, tall), dpi=70)
for column, samples in enumerate(results):
    mean, std = samples.mean(0).abs(), samples.abs().std(0)
    error = (mean - truth.abs()).abs()
    for row, (image, top, colours) in enumerate(
        ((mean, 1.1, "gray"), (std, 0.2, "magma"), (error, 0.2, "magma"))
    ):
        axes[row, column].imshow(image.numpy(), vmin=0, vmax=top, cmap=colours)
        axes[row, column].set(xticks=[], yticks=[])
    axes[0, column].set_title(f"R = {accelerations[column]}")
for row, label in enumerate(("mean", "standard deviation", "error")):
    axes[row, 0].set_ylabel(label)
figure.tight_layout()
plt.show()

# %% [markdown]
# The standard deviation has to grow with the error. Four samples with 20 evaluations are few, so
# look at the trend, not at the last digit. The interval is the predictive one that
# `reconstruct` writes, within the head. Of the real scan the truth is the fully sampled image,
# which has noise of its own, and the small prior knows little of the anatomy below the brain: both
# make the coverage at R = 8 smaller than 0.9: what is left of it is what such a table is for.

# %%
from mri_alps.evaluation import head_mask, interval_coverage
from mri_alps.sampling import predictive_interval

region = head_mask(truth.abs().numpy()[None])[0]
print("R   error (RMS)   standard deviation (RMS)   coverage of the 90 % interval")
for acceleration, samples in zip(accelerations, results, strict=True):
    magnitude = samples.abs().double().numpy()
    mean, std = magnitude.mean(0), magnitude.std(0, ddof=1)
    lower, upper = predictive_interval(mean, std, len(magnitude))
    coverage = interval_coverage(truth.abs().numpy(), lower, upper, region)
    error = np.sqrt(np.mean((mean - truth.abs().numpy())[region] ** 2))
    spread = np.sqrt(np.mean(std[region] ** 2))
    print(f"{acceleration}   {error:11.4f}   {spread:24.4f}   {coverage:.2f}")
