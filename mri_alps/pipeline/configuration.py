"""Everything that decides what a reconstruction comes out as, in one place."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mri_alps.core.errors import ConfigurationError
from mri_alps.core.settings import SettingError, Text, Whole, setting, settings

if TYPE_CHECKING:
    import torch

DEFAULT_SEED = 0
DEFAULT_ACCELERATION = 4.0
"""Of a retrospective mask."""
SCAN_GROUP = "Scan and sampling"
TRAJECTORY_GROUP = "Radial and spiral scans"
SAMPLER_GROUP = "Prior and sampler"
OUTPUT_GROUP = "Output"
START_GROUP = "Warm start"
COMPUTED_STARTS = ("cg-sense", "wavelet")
"""Reconstructions that are computed to start from."""
_WITHOUT_START = ("xgp1", "csgm", "dps")


def slice_numbers(value: object) -> Any:
    """Return the slices that a text such as ``0,2,5-7`` names; anything else as it is.

    Parameters
    ----------
    value : any
        A text, or a sequence of int.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    if value is None or isinstance(value, (list, tuple, range)):
        return None if value is None else tuple(value)
    if not isinstance(value, str):
        raise ValueError(value)
    found: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise ValueError(value)
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def chosen_numbers(value: object) -> Any:
    """Return the numbers that a number or a text such as ``0,2-3`` names; ``all`` as it is.

    Parameters
    ----------
    value : any
        A number, a text, or a sequence of int.

    Raises
    ------
    ValueError
        If the text has another form, or there is no number.
    """
    if value is None or value == "all":
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    found = slice_numbers(value)
    if not found or any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in found):
        raise ValueError(value)
    return found


def chosen_names(value: object) -> Any:
    """Return the names that commas separate in a text; ``all`` as it is.

    Parameters
    ----------
    value : any
        A text, or a sequence of texts.

    Raises
    ------
    ValueError
        If there is no name.
    """
    if isinstance(value, str) and value != "all":
        value = tuple(name.strip() for name in value.split(",") if name.strip())
    if value is not None and not value:
        raise ValueError(value)
    return tuple(value) if isinstance(value, list) else value


def several_numbers(value: object) -> Any:
    """Return the numbers that a text such as ``0.1,0.2`` or a number names, as a tuple.

    Parameters
    ----------
    value : any
        A text, a number, or a sequence or array of numbers.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    if isinstance(value, str):
        return tuple(float(part) for part in value.split(","))
    listed = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(listed, (int, float)) and not isinstance(listed, bool):
        return (listed,)
    return tuple(listed) if isinstance(listed, (list, tuple)) else listed


Matrix = Annotated[
    tuple[Annotated[Whole, Field(ge=1)], ...],
    BeforeValidator(several_numbers),
    Field(min_length=1, max_length=2),
]
Shots = Annotated[Text, Field(pattern=r"^\s*(?:\d{1,9}\s*:)?\s*\d{1,9}\s*(?::\s*\d{1,9}\s*)?$")]
Slices = Annotated[tuple[Whole, ...], BeforeValidator(slice_numbers)]
Numbers = Annotated[Literal["all"] | tuple[Whole, ...], BeforeValidator(chosen_numbers)]
Names = Annotated[Literal["all"] | tuple[Text, ...], BeforeValidator(chosen_names)]
Level = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NoiseLevels = Annotated[tuple[Level, ...], BeforeValidator(several_numbers), Field(min_length=1)]
Tolerance = Annotated[
    tuple[Level, ...], BeforeValidator(several_numbers), Field(min_length=1, max_length=2)
]

FieldOfView = Annotated[
    tuple[Level, ...], BeforeValidator(several_numbers), Field(min_length=2, max_length=3)
]


@settings
class ReconstructionConfiguration:
    """The settings of a reconstruction.

    Each is described where it stands; `mri-alps reconstruct --help` and the page of settings in
    the documentation show the same.

    Raises
    ------
    ConfigurationError
        If a setting makes no sense; the message says which, what was found and what is expected.
    """

    prior: Text | None = setting(
        "Built-in prior (anatomy-small, brain-small, gaussian), a checkpoint, hf:owner/name on the "
        "Hugging Face Hub, or a name that an installed package registers. Left out: anatomy-small.",
        default=None,
        group=SAMPLER_GROUP,
        from_client=True,
    )
    method: Text = setting(
        "Sampler: alps, xgp1, xgp2, xgp3, csgm, dps, or a name that an installed package "
        "registers.",
        default="alps",
        group=SAMPLER_GROUP,
        from_client=True,
    )
    n_samples: Whole = setting(
        "Posterior samples per slice; a standard deviation needs two. 4 give the mean of 8 in half "
        "the time, and a rougher deviation.",
        default=8,
        group=SAMPLER_GROUP,
        at_least=2,
        client_limit=256,
        from_client=True,
    )
    tolerance: Tolerance | None = setting(
        "Draw --n-samples more until the Monte-Carlo error of the mean is below this fraction of "
        "the object's mean intensity, and that of the standard deviation below this fraction of "
        "its mean; two numbers, such as 0.01,0.15, for the one and the other. n samples leave "
        "some 0.8 / sqrt(n) in the deviation: 16 0.2, 64 0.1. Looked at from 12 samples on. Left "
        "out: --n-samples are drawn.",
        default=None,
        group=SAMPLER_GROUP,
        from_client=True,
        metavar="FRACTION[,FRACTION]",
        values="one or two positive fractions such as 0.15 or 0.01,0.15",
    )
    max_samples: Whole = setting(
        "Most samples per slice, with --tolerance.",
        default=64,
        group=SAMPLER_GROUP,
        at_least=2,
        client_limit=256,
        from_client=True,
    )
    n_evaluations: Whole = setting(
        "Evaluations of the prior per sample. Half of the default costs 0.3 to 0.5 dB.",
        default=40,
        group=SAMPLER_GROUP,
        at_least=2,
        client_limit=100_000,
        from_client=True,
    )
    mask: Text | None = setting(
        "Leave measured points out, as a test: random, equispaced, equispaced-offset, poisson, "
        "poisson-lines, gaussian, polynomial, gaussian-points, radial, partial-fourier, or a file "
        "(.npy, .npz, HDF5 with a dataset 'mask', BART cfl). Left out: use all that was measured.",
        default=None,
        group=SCAN_GROUP,
    )
    acceleration: float | None = setting(
        "Of a kind of mask. Left out: 4.", default=None, group=SCAN_GROUP, at_least=1
    )
    center_fraction: float | None = setting(
        "Fully sampled fraction at the centre of a mask. Left out: 0.32 / acceleration, fastMRI's "
        "0.08 at 4x and 0.04 at 8x.",
        default=None,
        group=SCAN_GROUP,
        above=0,
        at_most=1,
    )
    trajectory: Text | None = setting(
        "Where the samples of a radial or spiral scan lie: .npy, .npz with 'trajectory', or BART "
        "cfl (3, samples, shots). Left out: what the file says.",
        default=None,
        group=TRAJECTORY_GROUP,
        metavar="FILE",
    )
    trajectory_units: Literal["auto", "fov", "pixel", "rad/pixel", "rad/m", "1/m"] = setting(
        "Of k-space: cycles per field of view or per pixel, radians per pixel and so on.",
        default="auto",
        group=TRAJECTORY_GROUP,
        metavar="auto|fov|pixel|rad/pixel|rad/m|1/m",
        from_client=True,
    )
    golden_angle: float | None = setting(
        "Degrees from one spoke to the next, of radial scans without a trajectory: 111.246 as a "
        "rule.",
        default=None,
        group=TRAJECTORY_GROUP,
        from_client=True,
    )
    matrix: Matrix | None = setting(
        "Pixels of the image of a radial or spiral scan, one number or two, such as 256,256, where "
        "its file does not say it.",
        default=None,
        group=TRAJECTORY_GROUP,
        metavar="N[,N]",
        values="one or two whole numbers from 1 on, such as 256,256",
    )
    shots: Shots | None = setting(
        "Use some shots of a radial or spiral scan, in the order of acquisition, as a test: 50 for "
        "the first 50, 100:150 for a range, 0:200:4 for every fourth. Left out: all.",
        default=None,
        group=TRAJECTORY_GROUP,
        metavar="N|I:J[:K]",
        values="a number such as 50, or a range such as 100:150 or 0:200:4",
        from_client=True,
    )
    correct_delays: bool = setting(
        "Correct the gradient delays that are measured on every radial scan.",
        default=False,
        group=TRAJECTORY_GROUP,
        from_client=True,
    )
    seed: Whole | None = setting(
        "Of sampler and mask. Left out: 0, and the mask by file name as in fastMRI.",
        default=None,
        group=SAMPLER_GROUP,
        at_least=0,
        client_limit=2**53,  # beyond it JSON numbers are not exact
        from_client=True,
    )
    initial: Text | None = setting(
        "A reconstruction to start from: a file (HDF5 of this package or in fastMRI's layout, BART "
        "cfl), or cg-sense or wavelet, which are computed. For alps; xgp2 and xgp3 need one.",
        default=None,
        group=START_GROUP,
        metavar="FILE|cg-sense|wavelet",
    )
    initial_radius: float | None = setting(
        "Bound on the norm of its error over the whole slice, in units of the image. Left out: "
        "that of the standard deviation which a file of this package states.",
        default=None,
        group=START_GROUP,
        above=0,
    )
    initial_sigma: float | None = setting(
        "Instead of a radius: standard deviation of the white noise, per real component, that the "
        "reconstruction carries, in units of the image.",
        default=None,
        group=START_GROUP,
        above=0,
    )
    initial_delta: float = setting(
        "Probability that its error exceeds the radius: noise of radius / delta is added.",
        default=0.1,
        group=START_GROUP,
        above=0,
        below=1,
    )
    self_calibration: Literal["off", "scan", "slice"] | None = setting(
        "Calibrate the uncertainty on measured samples that are left out and predicted: once for "
        "the scan, on up to three of its slices, or for each slice, or off. Left out: scan where "
        "the prior is learned, else off.",
        default=None,
        group=SAMPLER_GROUP,
        from_client=True,
        metavar="off|scan|slice",
    )
    calibration: Text | None = setting(
        "A file of mri-alps calibrate: intervals and standard deviations are scaled as volumes "
        "with known truth call for, instead of self-calibration. Scans and settings that it does "
        "not hold for are refused. Left out: none.",
        default=None,
        group=SAMPLER_GROUP,
        metavar="FILE.json",
    )
    device: Text = setting("auto, cpu, cuda or cuda:i.", default="auto", group=SAMPLER_GROUP)
    slices: Slices | None = setting(
        "For example 3 or 0,2,5-7. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K",
        values="numbers and ranges such as 0,2,5-7",
    )
    field_of_view: FieldOfView | None = setting(
        "Size of the final image in mm, along its rows and columns, and the thickness of a slice, "
        "where the file does not say it or is wrong. Left out: as the file says.",
        default=None,
        group=SCAN_GROUP,
        option="--fov",
        metavar="MM,MM[,MM]",
        values="two or three positive lengths such as 230,172.5",
    )
    dataset: Names | None = setting(
        "Measurements of a file, by name (of ISMRMRD the HDF5 group) or number, or all, each into "
        "a file of its own. Left out: all groups; of other files one, which is said.",
        default=None,
        group=SCAN_GROUP,
        metavar="NAME,...|all",
        values="names, separated by commas, or all",
    )
    encoding: Numbers | None = setting(
        "Encoding spaces of an ISMRMRD file such as 0 or 0,2-3, or all, each into a file of "
        "its own. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K|all",
        values="numbers and ranges such as 0,2-3, or all",
    )
    contrast: Numbers | None = setting(
        "Contrasts (echoes) such as 0 or 0,2-3, or all, each into a file of "
        "its own. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K|all",
        values="numbers and ranges such as 0,2-3, or all",
    )
    repetition: Numbers | None = setting(
        "Repetitions, such as 0 or 0,2-3, or all, each into a file of its own. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K|all",
        values="numbers and ranges such as 0,2-3, or all",
    )
    phase: Numbers | None = setting(
        "Phases (cardiac, for example) such as 0 or 0,2-3, or all, each into a file of "
        "its own. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K|all",
        values="numbers and ranges such as 0,2-3, or all",
    )
    set: Numbers | None = setting(
        "Sets (of flow encodings, for example) such as 0 or 0,2-3, or all, each into a file of "
        "its own. Left out: all.",
        default=None,
        group=SCAN_GROUP,
        metavar="I,J-K|all",
        values="numbers and ranges such as 0,2-3, or all",
    )
    sensitivity_maps: Text | None = setting(
        "Sensitivity maps: BART cfl (from bart ecalib) or HDF5 (from --save-maps). Left out: "
        "estimated from the scan.",
        default=None,
        group=SCAN_GROUP,
        metavar="PATH",
    )
    n_maps: Whole | None = setting(
        "Sets of sensitivity maps, each with an image of its own (soft-SENSE). Left out: two, or "
        "as many as are given, where the object is larger than the field of view, else one.",
        default=None,
        group=SCAN_GROUP,
        at_least=1,
        client_limit=8,
        from_client=True,
    )
    noise_std: NoiseLevels | None = setting(
        "Standard deviation of the noise of a k-space sample per real component, in the units of "
        "the file: one number for all coils, or one for each, such as 0.1,0.2. Left out: measured.",
        default=None,
        group=SCAN_GROUP,
        from_client=True,
        metavar="STD[,STD...]",
        values="positive numbers, one or as many as there are coils",
    )
    coil_compression_tolerance: float | None = setting(
        "Fewer coils at each readout position, until this fraction of a pixel's sensitivity is "
        "lost at most: 1e-2 changes A^H A by some 1e-4. Masks of whole lines only. Left out: all "
        "coils.",
        default=None,
        group=SCAN_GROUP,
        above=0,
        below=1,
    )
    force: bool = setting(
        "Keep and mark slices whose image does not explain the centre of k-space, as with wrong "
        "maps or a wrong centre, those of a noise_std that the k-space contradicts, and those of "
        "alternating lines that cannot be corrected. Left out: they are refused.",
        default=False,
        group=OUTPUT_GROUP,
    )
    interpolate: bool = setting(
        "Interpolate the final images to the recon matrix of the header, by zeros around their "
        "k-space, where its pixels are finer than what was measured: mean, samples, and the "
        "deviation of the interpolated samples.",
        default=False,
        group=OUTPUT_GROUP,
    )
    save_samples: bool = setting("Keep the samples.", default=False, group=OUTPUT_GROUP)
    save_maps: bool = setting("Keep the sensitivity maps.", default=False, group=OUTPUT_GROUP)

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        if self.calibration is not None and self.self_calibration not in (None, "off"):
            raise SettingError(
                "calibration",
                f"is given beside a self-calibration by {self.self_calibration}, and both scale "
                "the same deviations: leave one of the two out",
            )
        self._check_tolerance()
        radius, sigma = self.initial_radius, self.initial_sigma
        no_bound = radius is None and sigma is None
        if self.initial is None:
            if self.method in ("xgp2", "xgp3") or not no_bound:
                why = f"{self.method} starts from one" if no_bound else "a bound is given"
                names = " or ".join(COMPUTED_STARTS)
                raise SettingError(
                    "initial", f"names no reconstruction, and {why}: name a file, or {names}"
                )
            return
        if self.method in _WITHOUT_START:
            raise SettingError(
                "initial",
                f"is given, and {self.method} starts from no reconstruction: use alps, xgp2 or "
                "xgp3, or leave it out",
            )
        if radius is not None and sigma is not None:
            raise SettingError("initial_sigma", "is given beside a radius: give one of the two")
        if self.method == "xgp2" and sigma is None:
            raise SettingError(
                "initial_sigma",
                "is missing: xgp2 starts from a reconstruction with white noise of a known level; "
                "with a bound on its error use xgp3",
            )
        if self.method == "xgp3" and sigma is not None:
            raise SettingError(
                "initial_sigma",
                "is given, and xgp3 adds noise itself: give a radius, or use xgp2",
            )
        if self.initial in COMPUTED_STARTS and no_bound:
            raise SettingError(
                "initial_radius",
                f"is missing: how far {self.initial} is from the truth is not known; give a bound "
                "on the norm of its error, or initial_sigma",
            )

    def _check_tolerance(self) -> None:
        if self.tolerance is None:
            return
        if self.calibration is not None:
            raise SettingError(
                "tolerance",
                "is given beside a calibration, which holds for a fixed number of samples: leave "
                "one of the two out",
            )
        if self.max_samples < self.n_samples:
            raise SettingError(
                "max_samples",
                f"is {self.max_samples}, and n_samples, which are drawn at a time, are "
                f"{self.n_samples}: expected at least as many",
            )

    @property
    def most_samples(self) -> int:
        """Samples of a slice at most."""
        return self.n_samples if self.tolerance is None else self.max_samples

    @property
    def effective_acceleration(self) -> float:
        """Acceleration of a retrospective mask after the default is filled in."""
        return DEFAULT_ACCELERATION if self.acceleration is None else self.acceleration

    @property
    def effective_center_fraction(self) -> float:
        """Centre fraction of a retrospective mask after the default is filled in."""
        if self.center_fraction is not None:
            return self.center_fraction
        return min(1.0, 0.32 / self.effective_acceleration)

    @property
    def sampler_seed(self) -> int:
        """Seed of the sampler's noise streams."""
        return DEFAULT_SEED if self.seed is None else self.seed

    def torch_device(self) -> torch.device:
        """Return the device that the `device` setting stands for on this machine.

        Raises
        ------
        ConfigurationError
            If the device is unknown or this machine does not have it.
        """
        import torch

        from mri_alps.core.devices import find_device

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = find_device(self.device)
        if device.type not in ("cpu", "cuda"):
            raise ConfigurationError(
                f"unknown device {self.device!r}: use auto, cpu, cuda or cuda:0"
            )
        return device

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self.to_dict(), sort_keys=True)
