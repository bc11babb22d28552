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
# # Train a prior on your own data
#
# `mri-alps train DATA --output RUN` does this on raw scans, NIfTI, npz or npy, and can be
# interrupted and repeated. Here the same from Python, with a network so small and a run so short
# that it finishes in well under a minute: enough to see every part, not to get a good prior.

# %%
import json
import tempfile
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import mri_alps
from mri_alps.core.random import standard_normal
from mri_alps.training import SessionOptions, run_session

raw = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")
images = np.stack([raw.read_reference(index) for index in range(raw.n_slices)])
folder = Path(tempfile.mkdtemp())
# Images of one patient stay together: held out are whole patients, never slices.
np.savez(folder / "images.npz", images=images, patient=np.array(["a", "b", "c"]))
print(images.shape)

# %% [markdown]
# A recipe is JSON. Left out entries take their defaults, which are those of the prior
# `brain-small`. The noise levels of a plan are trained on crops of its size.

# %%
recipe = {
    "unet": {
        "channels": [8, 16, 16],
        "encoder_blocks": [1, 1, 1],
        "decoder_blocks": [1, 1, 1],
        "embedding_size": 32,
    },
    "plans": [{"size": 48, "batch_size": 8, "sigma_min": 0.02, "sigma_max": 4.0}],
    "sigma_min": 0.02,
    "sigma_max": 4.0,
    "steps": 160,
    "warmup_steps": 20,
    "decay_steps": 100,
    "learning_rate": 0.004,
    "validation_groups": ["*/c"],
}
_ = (folder / "recipe.json").write_text(json.dumps(recipe))
options = SessionOptions(config=folder / "recipe.json", device="cpu")
finished = run_session([folder / "images.npz"], folder / "run", options)
print(
    "finished:", finished, "-", ", ".join(sorted(path.name for path in (folder / "run").iterdir()))
)

# %% [markdown]
# `training.csv` has the weighted loss, `validation.csv` the scores on held-out patients at each
# noise level. The loss is 1 for a network that does nothing but scale its input rightly, so look at
# how far below 1 it gets, and at which noise levels.

# %%
steps = np.genfromtxt(folder / "run" / "training.csv", delimiter=",", names=True)
levels = np.genfromtxt(folder / "run" / "validation.csv", delimiter=",", names=True)
last = levels[levels["step"] == levels["step"].max()]
figure, axes = plt.subplots(1, 2, figsize=(7, 2.4), dpi=70)
axes[0].plot(steps["step"], steps["loss"], "o-")
axes[0].set(xlabel="step", ylabel="loss, mean of 50 steps", ylim=(0, None))
axes[1].semilogx(last["sigma"], last["loss"], "o-")
axes[1].set(xlabel="noise level sigma", ylabel="held-out loss", ylim=(0, None))
figure.tight_layout()
plt.show()

# %% [markdown]
# The folder of the run is a prior. What it was trained on, and with what, travels with it.

# %%
prior = mri_alps.load_prior(folder / "run")
truth = torch.from_numpy(images[2] / np.percentile(images[2], 99)).to(torch.complex64)
generator = torch.Generator().manual_seed(0)
figure, axes = plt.subplots(2, 4, figsize=(7, 4.8), dpi=70)
for column, sigma in enumerate((0.05, 0.1, 0.3, 1.0)):
    noisy = truth + sigma * standard_normal(truth.shape, generator, truth.dtype)
    denoised = prior.denoise(noisy[None], sigma)[0]
    for row, image in enumerate((noisy, denoised)):
        axes[row, column].imshow(image.abs().numpy(), cmap="gray", vmin=0, vmax=1.1)
        axes[row, column].axis("off")
    axes[0, column].set_title(f"noise {sigma}", fontsize=9)
    before, after = ((image - truth).abs().square().mean().sqrt() for image in (noisy, denoised))
    axes[1, column].set_title(f"error {before:.3f} to {after:.3f}", fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# At small noise so short a training has learned nothing yet. A prior that is worth using takes
# thousands of images and hours; the steps are the same, and so is the way to use it:
#
#     mri-alps train multicoil_train --output run
#     mri-alps reconstruct scan.h5 -o results --prior run
