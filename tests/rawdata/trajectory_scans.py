"""A small radial or spiral scan of several coils, as every format holds it."""

import numpy as np
import torch

from mri_alps.operators import NonCartesianSenseOperator
from mri_alps.operators.noncartesian.trajectories import golden_radial, spiral
from mri_alps.rawdata import write_cfl
from tests.rawdata.rawdata_helpers import header, make_acquisition, write_acquisitions

SHAPE, N_COILS, NOISE_STD, VIEW_MM = (48, 48), 4, 0.02, 240.0
UNITS = {
    "fov": 1.0,
    "pixel": 1 / SHAPE[0],
    "rad/pixel": 2 * np.pi / SHAPE[0],
    "1/m": 1000 / VIEW_MM,
    "rad/m": 2 * np.pi * 1000 / VIEW_MM,
}


def truth(shape=SHAPE):
    """An object that no exchange or flip of the axes leaves as it is."""
    y, x = (np.linspace(-1, 1, n)[s] for n, s in zip(shape, ((..., None), ...), strict=True))
    image = 1.0 * ((y / 0.8) ** 2 + (x / 0.55) ** 2 < 1)
    image -= 0.6 * (((y + 0.3) / 0.15) ** 2 + ((x - 0.2) / 0.25) ** 2 < 1)
    image += 0.5 * ((y - 0.4) ** 2 + (x + 0.15) ** 2 < 0.02)
    return image.astype(np.complex64)


def coil_maps(n_coils=N_COILS, shape=SHAPE):
    y, x = (np.linspace(-1, 1, n)[s] for n, s in zip(shape, ((..., None), ...), strict=True))
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils + 0.3
        far = (y - 1.3 * np.cos(angle)) ** 2 + (x - 1.3 * np.sin(angle)) ** 2
        phase = angle + 0.5 * (y * np.cos(angle) + x * np.sin(angle))
        maps.append(np.exp(-far / 1.6 + 1j * phase))
    return np.array(maps, np.complex64)


def root_sum_of_squares(n_coils=N_COILS, shape=SHAPE):
    return np.abs(truth(shape)) * np.sqrt((np.abs(coil_maps(n_coils, shape)) ** 2).sum(0))


def radial(n_shots=24, oversampling=2, shape=SHAPE):
    return golden_radial(n_shots, oversampling * max(shape), shape).numpy()


def spirals(n_shots=6, shape=SHAPE):
    return spiral(n_shots, 600, shape).numpy()


def samples_at(trajectory, noise_std=NOISE_STD, seed=0, n_coils=N_COILS, shape=SHAPE):
    """complex64 (coil, shot, sample)."""
    maps = torch.as_tensor(coil_maps(n_coils, shape))
    operator = NonCartesianSenseOperator(maps, torch.as_tensor(trajectory))
    samples = operator.forward(torch.as_tensor(truth(shape))).numpy()
    noise = np.random.default_rng(seed).standard_normal((2, *samples.shape)) * noise_std
    return (samples + noise[0] + 1j * noise[1]).astype(np.complex64)


def write_npz(path, samples, trajectory, **more):
    np.savez(path, kspace=samples, trajectory=trajectory, matrix=SHAPE, **more)
    return path


def write_bart(folder, samples, trajectory):
    """(k-space, trajectory), names without suffix."""
    write_cfl(folder / "ksp", samples.transpose(2, 1, 0)[np.newaxis])
    third = np.concatenate([trajectory, np.zeros_like(trajectory[..., :1])], -1)
    write_cfl(folder / "traj", third.transpose(2, 1, 0))
    return folder / "ksp", folder / "traj"


def shots(samples, trajectory, **fields):
    """One acquisition per shot; a trajectory of None leaves it out."""
    made = []
    for index in range(samples.shape[1]):
        shot = make_acquisition(samples[:, index], kspace_encode_step_1=index, **fields)
        if trajectory is not None:
            shot.resize(samples.shape[2], len(samples), trajectory.shape[-1])
            shot.data[:], shot.traj[:] = samples[:, index], trajectory[index]
        made.append(shot)
    return made


def write_radial_ismrmrd(path, samples, trajectory, name="radial", recon=None, **options):
    """ISMRMRD of one slice, field of view `VIEW_MM`."""
    view = (VIEW_MM, VIEW_MM, 5.0)
    text = header((*SHAPE, 1), recon, trajectory=name, view=view)
    write_acquisitions(path, text, shots(samples, trajectory, **options))
    return path
