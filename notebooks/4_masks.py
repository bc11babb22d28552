# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
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
# `compare_masks` and `design_mask` do what `mri-alps masks` and `mri-alps design-mask` do.
# Everything here is on the demo's truth at a quarter of its size, with the closed-form Gaussian
# prior, so that it takes a minute.

# %%
import tempfile
import warnings
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.masks.design import design_mask
from mri_alps.masks.study import compare_masks
from mri_alps.rawdata.fastmri.writer import write_fastmri

warnings.simplefilter("ignore", mri_alps.MriAlpsWarning)  # the noise is estimated, not measured
folder = Path(tempfile.mkdtemp())
raw = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")


def shrink(images):
    """Keep the central quarter of k-space."""
    kspace = fftc(images)[..., 52:156, 40:120]
    return ifftc(kspace) / 2


def small_slice(index):
    """Fully sampled k-space of a slice at 104 x 80, with noise."""
    acquisition = mri_alps.prepare_slice(raw, index)
    truth = torch.from_numpy(raw.read_ground_truth(index)).to(torch.complex64) / acquisition.scale
    maps = shrink(acquisition.sensitivity_maps)
    maps = maps / maps.abs().square().sum(0).sqrt().clamp_min(1e-3)
    kspace = fftc(maps * shrink(truth))
    generator = torch.Generator().manual_seed(index)
    return kspace + 0.02 * standard_normal(kspace.shape, generator, kspace.dtype)


scans = []
for index in range(raw.n_slices):
    scans.append(folder / f"small{index}.h5")
    write_fastmri(scans[-1], small_slice(index).numpy()[None])
sampler = {"prior": "gaussian", "n_samples": 6, "n_evaluations": 10, "center_fraction": 0.1}

# %% [markdown]
# ## Evaluate
#
# Three kinds of masks, on every slice with the same truth, noise and coils. Mean and half of the
# 95 % interval over slices; the predicted error needs no truth.

# %%
kinds = {kind: kind for kind in ("equispaced", "gaussian", "poisson-lines")}
study = compare_masks(scans, kinds, [4], output=folder / "study", **sampler)


def show(study):
    print(f"{'mask':14s} acceleration   PSNR in dB     predicted NMSE   90 % interval holds")
    for entry in study.summary():
        psnr = entry.metrics["PSNR"]
        print(
            f"{entry.mask:14s} {entry.achieved_acceleration:12.2f}"
            f"   {psnr.mean:5.2f} ± {psnr.upper - psnr.mean:4.2f}"
            f"   {entry.metrics['predicted_NMSE'].mean:14.5f}"
            f"   {entry.metrics['coverage'].mean:19.2f}"
        )


show(study)

# %% [markdown]
# ## Design
#
# Start from the centre, sample the posterior, take the lines that lower the expected error most
# (each given those taken before), measure them, and look again. Here for the first slice only: a
# mask that is adapted to it. It is then tried on the others, too.

# %%
designed = design_mask(scans[:1], budget=20, batch=4, **sampler)
both = {**kinds, "designed": designed}
study = compare_masks(scans, both, [4], output=folder / "study", **sampler)  # goes on from above
show(study)
for difference in study.differences():
    if difference.metric == "PSNR" and difference.other == "designed":
        print(
            f"designed - {difference.mask}: {-difference.difference.mean:+.2f} dB, "
            f"p = {difference.p_adjusted:.2g}"
        )

# %% [markdown]
# Three slices of one head are few: the significance counts slices as if they were patients. Does
# the posterior know which mask is better?

# %%
print(study.correlation())
shown = study.shown()  # the first slice's images
figure, axes = plt.subplots(2, len(shown), figsize=(1.7 * len(shown), 4.4), dpi=70)
for column, result in zip(axes.T, shown, strict=True):
    column[0].imshow(np.repeat(result.images["mask"], 30, axis=0), cmap="gray", aspect="auto")
    column[0].set_title(f"{result.mask}\n{result.metrics['PSNR']:.1f} dB", fontsize=9)
    column[1].imshow(result.images["std"], cmap="magma", vmax=shown[0].images["std"].max())
    for axis in column:
        axis.axis("off")
figure.suptitle("mask, and posterior standard deviation", fontsize=10)
figure.tight_layout()
plt.show()
