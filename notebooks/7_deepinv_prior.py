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
# # A deepinv denoiser as the prior
#
# deepinv denoisers are called as `denoiser(x, sigma)` on real images (B, C, H, W). One with two
# channels, real and imaginary part, becomes a prior in one line:
#
#     prior = mri_alps.priors.from_deepinv(denoiser, sigma_min=0.02, sigma_max=3.0)
#
# It has to be a posterior mean (trained with a mean squared error) at all noise levels between
# the two. deepinv's published weights are for one or three channels and small noise, so this
# notebook trains a tiny two-channel DRUNet for some seconds. It is a toy; the wiring is real.

# %%
from importlib import resources

import deepinv
import matplotlib.pyplot as plt
import torch

import mri_alps
from mri_alps.core.fourier import fftc, ifftc
from mri_alps.core.random import standard_normal
from mri_alps.priors import from_deepinv

raw = mri_alps.read_raw(resources.files("mri_alps") / "data" / "demo_brain.h5")
slices = torch.stack([torch.from_numpy(raw.read_ground_truth(i)) for i in range(3)])
slices = (slices / slices.abs().flatten().median().clamp_min(1e-12)).to(torch.complex64)
slices = slices / slices.abs().amax() * 1.2
kspace = fftc(slices)[:, 52:156, 40:120]  # half the resolution: quicker to learn
slices = ifftc(kspace) / 2
truth, training = slices[1], slices[[0, 2]]
channels = torch.view_as_real(training).permute(0, 3, 1, 2).contiguous()

# %% [markdown]
# A denoiser that scales its input and its output works at large noise as well (Karras et al.,
# 2022); inside is deepinv's own network.

# %%
torch.manual_seed(0)
network = deepinv.models.DRUNet(
    in_channels=2, out_channels=2, nc=(8, 16, 24, 32), nb=1, pretrained=None
)


class Denoiser(torch.nn.Module):
    """A deepinv network with noise-dependent scaling, called as deepinv calls denoisers."""

    def __init__(self, network, data_std=0.4):
        super().__init__()
        self.network, self.data_std = network, data_std

    def forward(self, x, sigma):
        """Denoise x, (B, 2, H, W), with noise of standard deviation sigma, (B,)."""
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        total = (level**2 + self.data_std**2).sqrt()
        inner = self.network(x / total, (level.log() / 4).flatten().expand(len(x)))
        return self.data_std**2 / total**2 * x + level * self.data_std / total * inner


denoiser = Denoiser(network)
optimiser = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
generator = torch.Generator().manual_seed(0)
steps, losses = 400, []
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
for _ in range(steps):
    rows = torch.randint(0, 57, (8,), generator=generator)
    columns = torch.randint(0, 33, (8,), generator=generator)
    corners = enumerate(zip(rows, columns, strict=True))
    crops = torch.stack([channels[i % 2, :, r : r + 48, c : c + 48] for i, (r, c) in corners])
    angle = 6.283 * torch.rand((8, 1, 1), generator=generator)  # a global phase is arbitrary
    cos, sin = angle.cos(), angle.sin()
    crops = torch.stack(
        [cos * crops[:, 0] - sin * crops[:, 1], sin * crops[:, 0] + cos * crops[:, 1]], dim=1
    )
    sigma = torch.exp(torch.empty(8).uniform_(-3.9, 1.1, generator=generator))
    level = sigma.reshape(-1, 1, 1, 1)
    noisy = crops + level * torch.randn(crops.shape, generator=generator)
    weight = (level**2 + 0.4**2) / (0.4 * level) ** 2
    loss = (weight * (denoiser(noisy, sigma) - crops) ** 2).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    losses.append(loss.item())
print(f"loss {sum(losses[:20]) / 20:.3f} at first, {sum(losses[-20:]) / 20:.3f} at the end")

# %% [markdown]
# One line makes it a prior. Padding is by reflection to multiples of 8, as DRUNet wants them.

# %%
prior = from_deepinv(denoiser, sigma_min=0.02, sigma_max=3.0, size_multiple=8)
shape = tuple(truth.shape)
rows = torch.linspace(-1, 1, shape[0])[:, None]
columns = torch.linspace(-1, 1, shape[1])[None]
corners = ((-1, -1), (-1, 1), (1, -1), (1, 1))
maps = [torch.exp(-((rows - a) ** 2 + (columns - b) ** 2) / 2 + 1j * a) for a, b in corners]
maps = torch.stack(maps).to(torch.complex64)
maps = maps / maps.abs().square().sum(0).sqrt()
mask = torch.from_numpy(mri_alps.make_mask("equispaced", shape, 2, 0.2))
operator = mri_alps.SenseOperator(maps, mask)
data = operator.forward(truth)
data = data + 0.02 * standard_normal(data.shape, generator, data.dtype) * mask
result = mri_alps.sample_posterior(
    prior, operator, data, 0.02, n_samples=4, n_evaluations=20, generator=generator
)
samples = result.samples
print(f"{result.n_evaluations} evaluations, {result.setup_evaluations} more to learn the spectrum")

# %%
panels = {
    "zero-filled": (operator.adjoint(data), 1.1),
    "posterior mean": (samples.mean(0), 1.1),
    "standard deviation": (samples.abs().std(0), 0.3),
    "error": (samples.mean(0).abs() - truth.abs(), 0.3),
}
figure, axes = plt.subplots(1, 4, figsize=(8, 2.8), dpi=70)
for axis, (title, (image, top)) in zip(axes, panels.items(), strict=True):
    axis.imshow(image.abs().numpy(), cmap="gray" if top > 1 else "magma", vmin=0, vmax=top)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
figure.tight_layout()
plt.show()
