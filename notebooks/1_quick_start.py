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
# # Quick start
#
# A raw k-space file goes in; the posterior mean of the image and its standard deviation come
# out. The package brings a small scan for this: a simulated 8-coil brain, 4x undersampled,
# whose truth is known.

# %%
import tempfile
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import mri_alps
from mri_alps.pipeline import ReconstructionConfiguration, reconstruct_to_file

demo = resources.files("mri_alps") / "data" / "demo_brain.h5"
raw = mri_alps.read_raw(demo)
print(f"{raw.n_slices} slices, {raw.n_coils} coils, k-space {raw.shape[0]} x {raw.shape[1]}")
print(f"{raw.mask.mean():.0%} of the phase-encode lines were measured")

# %% [markdown]
# One call does everything: measure the noise, whiten and combine the coils, estimate sensitivity
# maps, draw samples. Four samples with 25 evaluations of the network each are few; the defaults
# are 8 and 40.

# %%
configuration = ReconstructionConfiguration(
    slices=(1,), n_samples=4, n_evaluations=25, save_samples=True
)
folder = Path(tempfile.mkdtemp())
path = reconstruct_to_file(raw, folder, configuration)
result = mri_alps.load_reconstruction(path)
truth = raw.read_reference(1)
print(result.reconstruction.shape, result.attributes["prior"])

# %%


def show(images, titles, top=1.0, **options):
    """Draw images side by side, from black at 0 to white at `top`."""
    figure, axes = plt.subplots(
        1, len(images), figsize=(2.2 * len(images), 2.6), dpi=70, squeeze=False
    )
    for axis, image, title in zip(axes[0], images, titles, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=top, **options)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.tight_layout()
    plt.show()


unit = np.percentile(truth, 99.5)
error = np.abs(result.reconstruction[0] - truth)
show(
    [result.reconstruction[0], result.zero_filled[0], truth],
    ["posterior mean", "zero-filled", "truth"],
    top=unit,
)
show(
    [result.reconstruction_std[0], error],
    ["standard deviation", "error |mean - truth|"],
    top=0.2 * unit,
)

# %% [markdown]
# ## Does the standard deviation mean anything?
#
# The file also holds a 90 % interval for every pixel. Within the head it should hold the truth
# nine times out of ten. It does for a prior that is exactly right (notebook 2); a small learned
# prior comes out somewhat below.

# %%
from mri_alps.evaluation import head_mask, image_metrics, interval_coverage, write_report

region = head_mask(truth[None])
coverage = interval_coverage(
    truth[None], result.reconstruction_lower, result.reconstruction_upper, region
)
print(f"coverage of the 90 % interval: {coverage:.2f}")
for name, image in (("mean", result.reconstruction), ("zero-filled", result.zero_filled)):
    scores = image_metrics(truth[None], image)
    print(f"{name:12s} NMSE {scores['NMSE']:.4f}   PSNR {scores['PSNR']:.1f} dB")

# %% [markdown]
# ## One page to look at
#
# `write_report` (or `mri-alps report`) puts everything into one HTML file: slices, samples as a
# loop, the interval of every pixel, calibration, provenance.

# %%
page = write_report(path)
print(page.name, f"{page.stat().st_size / 1e6:.1f} MB")
