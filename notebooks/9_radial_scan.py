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
# # A radial scan, and its gradient delays
#
# Spokes lie on no grid, but the likelihood, the prior and the sampler are those of Cartesian scans:
# only the operator is another. What is new is that samples may not lie where the trajectory says.
# Gradients and receiver are out of time by a few microseconds, and each sample slides along its
# spoke. Pairs of opposed spokes tell by how much (see the page "Radial, spiral, any trajectory" of
# the documentation).
#
# The scan is simulated from the packaged head at half its resolution, so that the truth is known:
# 40 golden-angle spokes, a quarter of what full sampling takes, and a delay of 0.3 cycles per field
# of view.

# %%
import tempfile
import warnings
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.core.crop import center_crop
from mri_alps.core.errors import CalibrationError
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.evaluation import head_mask, interval_coverage
from mri_alps.operators import NonCartesianSenseOperator, golden_radial, simulate
from mri_alps.pipeline import reconstruct

demo = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")
whole = torch.as_tensor(demo.read_ground_truth(0))
shape = (whole.shape[0] // 2, whole.shape[1] // 2)


def at_half_resolution(images):
    return ifftc(center_crop(fftc(images), shape)) / 2


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    maps = mri_alps.prepare_slice(demo, 0).raw_sensitivity_maps()
images = at_half_resolution(whole * maps)
expected = images.abs().square().sum(0).sqrt()
maps = images / expected.clamp_min(1e-6 * expected.max())
truth, expected = expected.to(torch.complex64), expected.numpy()

# %% [markdown]
# The trajectory that the file will have, and where the samples really lie: 0.3 cycles per field of
# view farther along each spoke.

# %%
nominal = golden_radial(40, 2 * max(shape), shape)
direction = nominal[:, -1] - nominal[:, 0]
direction = direction / direction.norm(dim=-1, keepdim=True)
true = nominal + 0.3 * direction[:, None]
half = torch.tensor(shape) / 2
true = torch.maximum(torch.minimum(true, half), -half)

noise_std = 0.02 * float(expected.max())
operator = NonCartesianSenseOperator(maps, true)
data = simulate(operator, truth, noise_std, torch.Generator().manual_seed(0))

folder = Path(tempfile.mkdtemp())
np.savez(
    folder / "radial.npz", kspace=data.numpy(), trajectory=nominal.numpy(), matrix=np.array(shape)
)

# %% [markdown]
# What `mri-alps inspect radial.npz` says:

# %%
from mri_alps.calibration import calibrate_volume
from mri_alps.rawdata import describe

raw = mri_alps.read_raw(folder / "radial.npz")
for name, text in describe(raw):
    if name in ("trajectory", "unit of k-space", "undersampling", "covered radius"):
        print(f"{name}: {text}")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    calibration = calibrate_volume(raw)
print("noise:", calibration.noise_source)
print("delays:", calibration.delays)

# %% [markdown]
# ## As the trajectory says
#
# No image explains shifted samples of all coils. What the program makes of it depends on how far
# they are off: it allows for wrong maps and says so, or refuses the image.

# %%
settings = dict(n_samples=4, n_evaluations=10, self_calibration="off", seed=0)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        before = reconstruct(raw, **settings)
    except CalibrationError as error:
        print("refused:", str(error).replace(str(folder), ""))
        before = reconstruct(raw, force=True, **settings)
for sentence in dict.fromkeys(str(warning.message) for warning in said):
    print("-", sentence.replace(str(folder), ""))

# %% [markdown]
# ## Where the samples lie

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    after = reconstruct(raw, correct_delays=True, **settings)

head = head_mask(expected[None])[0]


def picture(axis, image, title, top, cmap="gray"):
    axis.imshow(image, cmap=cmap, vmin=0, vmax=top)
    axis.set_title(title, fontsize=9)
    axis.axis("off")


top = np.percentile(expected, 99.8)
figure, axes = plt.subplots(2, 4, figsize=(11, 6))
for row, (name, result) in zip(axes, (("before", before), ("corrected", after)), strict=True):
    mean, std = result.reconstruction[0], result.reconstruction_std[0]
    picture(row[0], mean, f"{name}: posterior mean", top)
    picture(row[1], result.zero_filled[0], "least squares, few iterations", top)
    picture(row[2], np.abs(mean - expected), "error", 0.15 * top, "magma")
    picture(row[3], std, "standard deviation", 0.15 * top, "magma")
plt.tight_layout()
plt.show()

# %%
for name, result in (("before", before), ("corrected", after)):
    error = np.linalg.norm((result.reconstruction[0] - expected)[head])
    held = interval_coverage(
        expected, result.reconstruction_lower[0], result.reconstruction_upper[0], head
    )
    print(
        f"{name}: error {error / np.linalg.norm(expected[head]):.3f}, the 90 % interval holds the "
        f"truth at {100 * held:.0f} % of the head, unexplained at the centre "
        f"{100 * result.scalars['calibration_misfit'][0]:.1f} %"
    )

# %% [markdown]
# `shots="20"` would take the first 20 spokes alone, as a mask leaves out lines of a Cartesian scan:
# golden angles spread any number of them evenly.
