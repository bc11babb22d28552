"""Make mri_alps/data/demo_brain.h5: a small multi-coil acquisition with known truth.

Anatomy is a real head: Colin 27, one man scanned 27 times and averaged, T1-weighted with scalp and
skull, which Debian's package mricron-data holds; see mri_alps/data/LICENSE-Colin27.txt. He is in no
training set of the networks that ship. Everything else is simulated: a resolution of 1.25 mm, a
smooth image phase, eight smooth and unequal coils, noise that is correlated between coils, and 4x
equispaced undersampling along the phase encode, in the layout of a fastMRI test file.

The same seed gives the same file content. Run from anywhere:

    python data_scripts/make_demo_data.py --output demo_brain.h5
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

TEMPLATE = Path("/usr/share/mricron/templates/ch2.nii.gz")  # 1 mm
DEFAULT_OUTPUT = Path(__file__).parents[1] / "mri_alps" / "data" / "demo_brain.h5"
SHAPE = (208, 160)  # readout x phase encode
FIELD_OF_VIEW = (260, 200)  # mm
AIR = 0.03  # of the brightest pixel: what rings beside the head at 1.25 mm
SLICES_MM = (3, 21, 40)  # z of the template
N_COILS = 8
ACCELERATION = 4
CENTER_FRACTION = 0.08
PEAK = 4e-4  # brightest pixel of the root-sum-of-squares image: the order of fastMRI's units
SIGNAL_TO_NOISE = 35.0  # mean brain signal over noise (per real component) of that image
DEFAULT_SEED = 2009

GROUND_TRUTH_MEANING = (
    "Noise-free coil-combined image in the units of posterior_mean: "
    "rho * sqrt(sum_c |(W s)_c|^2), with rho the complex object, s the coil sensitivities and W "
    "the Hermitian matrix with W cov W^H = I, cov the true noise covariance per real component "
    "(attribute noise_covariance). The phase is the object's, without the coils' common phase, "
    "which no reconstruction can know: compare magnitudes, or align the phase first."
)


def load_slices(path: Path) -> np.ndarray:
    """Axial slices, float64 (slice, readout, phase_encode), 0 to 1.

    The readout runs from anterior to posterior, the phase encode from the patient's right to
    the left, as radiologists look at it.
    """
    import nibabel

    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path} is not there: Debian's package mricron-data brings it (apt-get install "
            "mricron-data, or unpack it), or name Colin 27 with --template"
        )
    image = nibabel.as_closest_canonical(nibabel.load(path))
    to_voxel = np.linalg.inv(image.affine)
    volume = np.asarray(image.dataobj, dtype=np.float64)
    center = np.round(to_voxel @ [0, -18, 0, 1]).astype(int)
    slices = []
    for z in SLICES_MM:
        k = int(np.round((to_voxel @ [0, 0, z, 1])[2]))
        plane = volume[::-1, ::-1, k].T
        row, column = plane.shape[0] - 1 - center[1], plane.shape[1] - 1 - center[0]
        slices.append(cut(plane, row, column))
    coarse = np.stack(slices)
    coarse /= coarse.max()
    return np.where(coarse > AIR, coarse, 0)


def cut(plane: np.ndarray, row: int, column: int) -> np.ndarray:
    """Cut the field of view, (row, column) in its middle, and reduce it to SHAPE as a scan does.

    Zeros where the plane ends; the periphery of k-space is left out.
    """
    full = FIELD_OF_VIEW
    padded = np.pad(plane, [(full[0], full[0]), (full[1], full[1])])
    top, left = row + full[0] - full[0] // 2, column + full[1] - full[1] // 2
    kspace = fft2c(padded[top : top + full[0], left : left + full[1]])
    rows, columns = (slice((n - m) // 2, (n + m) // 2) for n, m in zip(full, SHAPE, strict=True))
    kspace = kspace[rows, columns]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho")).real


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the pixels, -1 to 1 over the longer side."""
    half = max(SHAPE) / 2
    y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    return y / half, x / half


def smooth_phase(n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Phase in radians: a slow polynomial, waves a third of the head long, an air cavity."""
    y, x = grid()
    phases = []
    for _ in range(n_slices):
        a = rng.normal(size=6)
        phase = a[0] + 0.6 * a[1] * y + 0.6 * a[2] * x + 0.5 * a[3] * x * y
        phase += 0.5 * (a[4] * y**2 + a[5] * x**2)
        for _ in range(4):
            direction = rng.normal(size=2)
            direction *= rng.uniform(2, 5) / np.hypot(*direction)
            wave = np.sin(direction[0] * y + direction[1] * x + rng.uniform(0, 2 * np.pi))
            phase += 0.25 * wave
        phase += 1.2 * np.exp(-((y + 0.85) ** 2 + x**2) / 0.08)
        phases.append(phase)
    return np.stack(phases)


def coil_sensitivities(rng: np.random.Generator) -> np.ndarray:
    """Smooth complex sensitivities (coil, readout, phase_encode) of loops around the head."""
    y, x = grid()
    maps = []
    for c in range(N_COILS):
        angle = 2 * np.pi * (c + 0.25 * rng.uniform(-1, 1)) / N_COILS
        cy, cx = 1.15 * np.cos(angle), 0.95 * np.sin(angle)
        width = rng.uniform(0.65, 0.9)
        distance = ((y - cy) ** 2 + (x - cx) ** 2) / width**2
        magnitude = rng.uniform(0.6, 1.4) / (1 + distance) ** 1.5
        tilt = rng.uniform(0.5, 1.1)
        phase = rng.uniform(0, 2 * np.pi) + tilt * (np.cos(angle) * y + np.sin(angle) * x)
        maps.append(magnitude * np.exp(1j * phase))
    return np.stack(maps)


def coil_noise_covariance(rng: np.random.Generator) -> np.ndarray:
    """Covariance per real component: unequal coils, neighbours correlated by up to 0.35."""
    index = np.arange(N_COILS)
    apart = np.abs(index[:, None] - index[None, :])
    apart = np.minimum(apart, N_COILS - apart)
    coupling = np.select([apart == 0, apart == 1, apart == 2], [1.0, 0.32, 0.1], 0.0)
    phases = np.exp(1j * rng.uniform(0, 2 * np.pi, N_COILS))
    level = rng.uniform(0.75, 1.3, N_COILS)
    return coupling * np.outer(level * phases, (level * phases).conj())


def equispaced_mask(seed: int) -> tuple[np.ndarray, int]:
    """fastMRI's equispaced mask (phase_encode,) and its number of centre lines."""
    from fastmri.data.subsample import EquispacedMaskFractionFunc

    function = EquispacedMaskFractionFunc([CENTER_FRACTION], [ACCELERATION])
    mask, n_center = function((1, SHAPE[1], 1), seed=seed)
    return mask.numpy().reshape(-1).astype(bool), int(n_center)


def fft2c(images: np.ndarray) -> np.ndarray:
    """Centred orthonormal Fourier transform of the last two axes."""
    shifted = np.fft.ifftshift(images, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def round_mantissa(array: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 or complex64 to so many mantissa bits, so that it compresses."""
    floats = np.ascontiguousarray(array).view(np.float32)
    mantissa, exponent = np.frexp(floats)
    rounded = np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
    return rounded.astype(np.float32).view(array.dtype)


def simulate(template: Path, seed: int) -> dict[str, np.ndarray]:
    """Simulate the acquisition; see the module's docstring."""
    rng = np.random.default_rng(seed)
    magnitude = load_slices(template)
    image = magnitude * np.exp(1j * smooth_phase(len(magnitude), rng))
    coils = coil_sensitivities(rng)
    coil_images = image[:, None] * coils[None]
    rss = np.sqrt((np.abs(coil_images) ** 2).sum(1))
    unit = PEAK / rss.max()
    coil_images, rss = coil_images * unit, rss * unit

    covariance = coil_noise_covariance(rng)
    noise_level = rss[magnitude > 0.2].mean() / SIGNAL_TO_NOISE
    covariance *= noise_level**2 / (np.trace(covariance).real / N_COILS)
    values, vectors = np.linalg.eigh(covariance)
    coloring = (vectors * np.sqrt(values)) @ vectors.conj().T
    white = rng.normal(size=(2, *coil_images.shape))
    noise = np.einsum("cd,sdxy->scxy", coloring, white[0] + 1j * white[1])

    mask, n_center = equispaced_mask(seed)
    kspace = (fft2c(coil_images) + noise) * mask
    whitening = (vectors / np.sqrt(values)) @ vectors.conj().T
    whitened = np.einsum("cd,dxy->cxy", whitening, coils) * unit
    truth = image * np.sqrt((np.abs(whitened) ** 2).sum(0))
    return {
        "kspace": round_mantissa(kspace.astype(np.complex64), 14),
        "mask": mask,
        "n_center": np.array(n_center),
        "ground_truth": round_mantissa(truth.astype(np.complex64), 14),
        "reconstruction_rss": round_mantissa(rss.astype(np.float32), 14),
        "noise_covariance": covariance,
    }


def ismrmrd_header(n_slices: int) -> str:
    """XML header as fastMRI files carry it."""
    (x, y), (width, height) = SHAPE, FIELD_OF_VIEW
    spaces = "".join(
        f"<{name}><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>"
        f"<fieldOfView_mm><x>{width}</x><y>{height}</y><z>4</z></fieldOfView_mm></{name}>"
        for name in ("encodedSpace", "reconSpace")
    )
    limits = "".join(
        f"<{name}><minimum>0</minimum><maximum>{n - 1}</maximum><center>{center}</center></{name}>"
        for name, n, center in (
            ("kspace_encoding_step_0", x, x // 2),
            ("kspace_encoding_step_1", y, y // 2),
            ("slice", n_slices, 0),
        )
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<acquisitionSystemInformation>"
        f"<receiverChannels>{N_COILS}</receiverChannels>"
        "</acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>"
        "</experimentalConditions>"
        f"<encoding>{spaces}<encodingLimits>{limits}</encodingLimits>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )


def write(path: Path, data: dict[str, np.ndarray], seed: int) -> None:
    """Write the file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".h5.part")
    os.close(handle)
    try:
        with h5py.File(temporary, "w", track_order=False) as file:
            for name in ("kspace", "ground_truth", "reconstruction_rss"):
                array = data[name]
                file.create_dataset(
                    name,
                    data=array,
                    chunks=(1, *array.shape[1:]),
                    compression="gzip",
                    compression_opts=9,
                    shuffle=True,
                    track_times=False,
                )
            file.create_dataset("mask", data=data["mask"], track_times=False)
            header = ismrmrd_header(len(data["kspace"])).encode()
            file.create_dataset("ismrmrd_header", data=header, track_times=False)
            rss = data["reconstruction_rss"]
            file["ground_truth"].attrs["meaning"] = GROUND_TRUTH_MEANING
            file["ground_truth"].attrs["noise_covariance"] = data["noise_covariance"]
            file["reconstruction_rss"].attrs["meaning"] = "noise-free root-sum-of-squares image"
            file.attrs.update(
                acquisition="AXT1",
                max=float(rss.max()),
                norm=float(np.linalg.norm(rss)),
                patient_id="colin27",
                acceleration=ACCELERATION,
                num_low_frequency=int(data["n_center"]),
                origin="simulated by data_scripts/make_demo_data.py from Colin 27, (C) 1993-2009 "
                "Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, "
                "McGill University; see LICENSE-Colin27.txt",
                seed=seed,
            )
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="HDF5 file to write")
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="NIfTI of Colin 27")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="phase, coils, noise, mask")
    options = parser.parse_args(arguments)
    try:
        template = options.template
        print(f"[1/2] simulating {len(SLICES_MM)} slices from {template.name}", flush=True)
        data = simulate(template, options.seed)
        print(f"[2/2] writing {options.output}", flush=True)
        write(options.output, data, options.seed)
    except (OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = options.output.stat().st_size / 2**20
    lines = int(data["mask"].sum())
    print(
        f"done: {size:.2f} MiB, {lines} of {SHAPE[1]} lines, {int(data['n_center'])} in the centre"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
