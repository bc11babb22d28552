"""A first image within seconds: point estimates of a few slices, until the posterior is there.

A point estimate has no deviation, so it is no reconstruction: it goes into a file of its own beside
the one that is being made, says what it is, and is removed when that is there, or cannot be made.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mri_alps.calibration import explain, judge
from mri_alps.core.atomic import create_hdf5
from mri_alps.core.crop import center_crop_or_pad
from mri_alps.core.errors import (
    CalibrationError,
    ConfigurationError,
    InputFileError,
    describe_error,
)
from mri_alps.core.hdf5 import open_hdf5
from mri_alps.core.values import as_utf8
from mri_alps.pipeline.interpolation import image_size, interpolate
from mri_alps.pipeline.provenance import pixel_aspect, prior_label, versions
from mri_alps.pipeline.sets import prior_of_sets
from mri_alps.sampling import make_problem, plug_and_play

if TYPE_CHECKING:
    from mri_alps.pipeline.reduction import LoadedSlice
    from mri_alps.pipeline.slice import SliceReconstructor

_LOGGER = logging.getLogger(__name__)
PREVIEW_FORMAT = "mri_alps preview 1"
PREVIEW_KIND = (
    "point estimate by plug-and-play (DPIR) with the prior's denoiser and sensitivity maps that "
    "are not improved: no posterior mean, and without a standard deviation; the posterior "
    "replaces it"
)
"""What files and pictures say of it."""
MOST_SLICES = 8
"""Of a scan, evenly chosen: as many as its picture shows, so that memory and time are bounded."""


@dataclass(frozen=True)
class Preview:
    """A point estimate of one slice.

    Parameters
    ----------
    index : int
        Slice of the scan.
    image : numpy.ndarray
        float32 (H, W), magnitude, in the units and the crop of `reconstruction`.
    n_evaluations : int
        Of the prior's denoiser.
    seconds : float
        From k-space to this image.
    """

    index: int
    image: np.ndarray
    n_evaluations: int
    seconds: float


def previewed_slices(indices: Sequence[int]) -> tuple[int, ...]:
    """Return which slices of a scan are shown first: up to eight, the middle one before the others.

    Parameters
    ----------
    indices : sequence of int
        All slices of the reconstruction.
    """
    count = min(MOST_SLICES, len(indices))
    rows = [int(row) for row in np.linspace(0, len(indices) - 1, count).round()]
    middle = rows[len(rows) // 2]
    others = [row for row in rows if row != middle]
    return tuple(indices[row] for row in [middle, *others])


def preview_slice(reconstructor: SliceReconstructor, loaded: LoadedSlice) -> Preview:
    """Estimate the image of one slice in a few evaluations, see `plug_and_play`.

    Parameters
    ----------
    reconstructor : SliceReconstructor
        Of the scan.
    loaded : LoadedSlice
        From its `load`.

    Raises
    ------
    MriAlpsError
        If the prior is no denoiser, the image is not finite, or (`CalibrationError`) it does not
        explain the centre of k-space and the settings do not say `force`.
    """
    started = time.perf_counter()
    acquisition, settings = loaded.acquisition, reconstructor.configuration
    size, crop = image_size(loaded.raw, settings), loaded.raw.crop
    if acquisition.is_empty:
        return Preview(loaded.index, np.zeros(size, np.float32), 0, loaded.seconds)
    with torch.no_grad():
        problem = make_problem(*acquisition.problem())
        image, count = plug_and_play(prior_of_sets(reconstructor.prior, acquisition), problem)
        sentence, is_refused = judge(acquisition, explain(acquisition, image))
        if is_refused and not settings.force:
            raise CalibrationError(str(sentence))
        combined = acquisition.combine(image[None])[0].cpu().numpy()
    seen = combined * acquisition.rss_weight.cpu().numpy() * acquisition.scale
    if size != tuple(crop):
        seen = interpolate(seen, crop, size)
    magnitude = center_crop_or_pad(np.abs(seen), size).astype(np.float32)
    seconds = loaded.seconds + time.perf_counter() - started
    return Preview(loaded.index, magnitude, count, seconds)


def preview_path(target: Path) -> Path:
    """Return where the preview of a reconstruction lies.

    Parameters
    ----------
    target : pathlib.Path
        The reconstruction's file.
    """
    return target.with_name(f"{target.stem}_preview{target.suffix}")


class ScanPreview:
    """The preview of one scan on disk; whatever goes wrong with it costs no reconstruction.

    Parameters
    ----------
    target : pathlib.Path
        The reconstruction's file.
    identity : dict
        Hashes of settings and scan: a preview of others is not gone on with.
    notify : callable
        Told in one sentence where there is a preview, or why there is none.
    show : callable or None
        Told of the file whenever it is written; None where no preview is wanted.
    """

    def __init__(
        self,
        target: Path,
        identity: Mapping[str, str],
        notify: Callable[[str], object],
        show: Callable[[Path], object] | None,
    ):
        self.path = preview_path(target)
        self.picture = self.path.with_suffix(".png")
        self.identity = dict(identity)
        self._target, self._notify = target, notify
        self._show = show
        self._found: dict[int, Preview] = {}

    def slices(self, indices: Sequence[int]) -> Iterator[int]:
        """Go through the slices that are wanted and not there yet; stop where one cannot be made.

        Parameters
        ----------
        indices : sequence of int
            All slices of the reconstruction.
        """
        if self._show is None:
            return
        self._found = self._read()
        for index in previewed_slices(indices):
            if self._show is None:
                return
            if index not in self._found:
                yield index

    def make(self, reconstructor: SliceReconstructor, index: int, prior: str | None) -> None:
        """Make the preview of a slice and write the file; why is told where that cannot be.

        Parameters
        ----------
        reconstructor : SliceReconstructor
            Of the scan.
        index : int
            Slice.
        prior : str or None
            Name under which the prior was loaded.
        """
        if self._show is None:
            return
        try:
            loaded = reconstructor.load(index, quickly=True)
        except Exception as error:  # noqa: BLE001 - told where samples are drawn
            _LOGGER.debug("%s, slice %d: no preview: %s", self._target, index, error)
            return
        try:
            self._write(preview_slice(reconstructor, loaded), reconstructor, prior)
        except CalibrationError as error:  # of this slice; the others may be good
            self._notify(f"{self._target.name}: no preview of slice {index}: {error}")
        except Exception as error:  # noqa: BLE001 - the posterior does not depend on it
            self._show = None
            self._notify(f"{self._target.name}: no preview is made: {describe_error(error)}")

    def show(self) -> None:
        """Show the file, where another process wrote it."""
        if self._show is not None and self.path.exists() and self._is_ours():
            self._show(self.path)

    def remove(self) -> None:
        """Remove file and picture, if the file is a preview of this package."""
        if self.path.exists() and self._is_ours():
            self.picture.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _write(
        self, preview: Preview, reconstructor: SliceReconstructor, prior: str | None
    ) -> None:
        """Write the file again, with one slice more, and show it."""
        if self.path.exists() and not self._is_ours():
            raise ConfigurationError(
                f"{self.path} exists and is no preview of mri_alps (or damaged): move it away"
            )
        is_first = not self._found
        self._found[preview.index] = preview
        self._write_file(_attributes(reconstructor, prior) | self.identity)
        if self._show is not None:
            self._show(self.path)
        if is_first:
            self._notify(
                f"{self.path} is a first image, after {preview.seconds:.1f} s: a point estimate "
                "without a deviation, which goes when the posterior is there"
            )

    def _is_ours(self) -> bool:
        try:
            with open_hdf5(self.path) as file:
                return bool(file.attrs.get("format") == PREVIEW_FORMAT)
        except InputFileError:
            return False

    def _read(self) -> dict[int, Preview]:
        """Previews that an interrupted run of the same work made."""
        if not self.path.exists():
            return {}
        try:
            with open_hdf5(self.path) as file:
                facts = [("format", PREVIEW_FORMAT), *self.identity.items()]
                if any(file.attrs.get(name) != value for name, value in facts):
                    return {}
                rows = zip(
                    file["slices"][()].tolist(),
                    file["preview"][()],
                    file["n_evaluations"][()].tolist(),
                    file["seconds"][()].tolist(),
                    strict=True,
                )
                return {row[0]: Preview(*row) for row in rows}
        except (InputFileError, KeyError, ValueError):  # damaged: made again
            return {}

    def _write_file(self, attributes: dict[str, Any]) -> None:
        chosen = [self._found[index] for index in sorted(self._found)]
        with create_hdf5(self.path) as file:
            for name, value in attributes.items():
                file.attrs[name] = as_utf8(value) if isinstance(value, str) else value
            file["slices"] = np.array([each.index for each in chosen], np.int64)
            file["n_evaluations"] = np.array([each.n_evaluations for each in chosen], np.int64)
            file["seconds"] = np.array([each.seconds for each in chosen])
            images = np.stack([each.image for each in chosen])
            dataset = file.create_dataset("preview", data=images, fletcher32=True)
            dataset.attrs["units"] = "root sum of squares of the scan's coils"


def _attributes(reconstructor: SliceReconstructor, prior: str | None) -> dict[str, Any]:
    raw, configuration = reconstructor.raw, reconstructor.configuration
    return {
        "format": PREVIEW_FORMAT,
        "kind": PREVIEW_KIND,
        "configuration": configuration.to_json(),
        "versions": json.dumps(versions()),
        "prior": prior_label(reconstructor.prior, prior),
        "checkpoint_sha256": getattr(reconstructor.prior, "checkpoint_sha256", "") or "",
        "source": Path(raw.path).name,
        "pixel_aspect": pixel_aspect(raw, image_size(raw, configuration)),
    }
