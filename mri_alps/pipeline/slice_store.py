"""Finished slices of an unfinished reconstruction, safe on disk.

Each slice is a file of its own whose name carries the hash of its content. It is written under
a temporary name, flushed to the disk and renamed, so that a process killed at any moment leaves
whole slices or none, and what damage the disk does is found by comparing content and name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import lock_descriptor

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import ConfigurationError, InputFileError, OutputFileError
from mri_alps.core.plain import plain
from mri_alps.pipeline.result import SliceReconstruction

WORK_FOLDER = ".unfinished"
_NAME = re.compile(r"slice_(\d{6})\.([0-9a-f]{32})\.npz")
_REST = "rest"
_EXECUTION = "execution.json"
_SELF_CALIBRATION = "self_calibration.json"


@dataclasses.dataclass(frozen=True)
class ComputeSettings:
    """How slices are computed: equal for all slices of a scan, or they differ by rounding.

    Parameters
    ----------
    device : str
        Type of device.
    n_threads : int
        CPU threads of the process.
    batch : int or None
        Samples drawn at a time; None as long as it is not known how many fit.
    versions : str
        Of the package and of torch.
    """

    device: str
    n_threads: int
    batch: int | None
    versions: str


class SliceStore:
    """The finished slices of one scan under one configuration.

    Parameters
    ----------
    target : pathlib.Path
        The reconstruction's final file; slices are kept in a hidden folder beside it.
    identity : str
        Hash of configuration and scan: slices of another one are never used.
    """

    def __init__(self, target: Path, identity: str):
        self.target = target
        self.identity = identity
        self.folder = target.parent / WORK_FOLDER / target.name / identity

    def open(
        self, compute_settings: ComputeSettings, notify: Callable[[str], None]
    ) -> ComputeSettings:
        """Prepare the folder and return how its slices are to be computed.

        Parameters
        ----------
        compute_settings : ComputeSettings
            How they would be computed without what is there already.
        notify : callable
            Told what is thrown away and why.

        Returns
        -------
        ComputeSettings
            What was recorded by the run that began, where its slices can be used.
        """
        for stale in self._other_folders():
            notify(f"{self.target.name}: slices finished with other settings are thrown away")
            shutil.rmtree(stale, ignore_errors=True)
        recorded = self._recorded()
        if recorded is not None and recorded.versions != compute_settings.versions:
            notify(
                f"{self.target.name}: slices finished by {recorded.versions} are thrown away, "
                f"this is {compute_settings.versions}"
            )
            self.remove()
            recorded = None
        if recorded is None and self.folder.exists():
            self.remove()  # killed before it wrote how it computes
        self.folder.mkdir(parents=True, exist_ok=True)
        if recorded is None:
            self.record(compute_settings)
            recorded = compute_settings
        return recorded

    def record(self, compute_settings: ComputeSettings) -> None:
        """Keep for a run that goes on how the slices are computed.

        Parameters
        ----------
        compute_settings : ComputeSettings
            With what is known by now.
        """
        with atomic_path(self.folder / _EXECUTION) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(compute_settings)))

    def record_self_calibration(self, factors: dict[str, Any] | None) -> None:
        """Keep what the scan's left-out samples say of its uncertainty.

        Parameters
        ----------
        factors : dict or None
            As `factors_as_record` writes them; None where they say nothing.
        """
        with atomic_path(self.folder / _SELF_CALIBRATION) as temporary:
            temporary.write_text(json.dumps({"factors": factors}))

    def self_calibration(self) -> dict[str, Any] | None:
        """Return {"factors": what was recorded}, or None where nothing was."""
        try:
            found = json.loads((self.folder / _SELF_CALIBRATION).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "factors" in found else None

    def finished(self, notify: Callable[[str], None]) -> set[int]:
        """Return the slices that are whole; damaged ones are removed.

        Parameters
        ----------
        notify : callable
            Told of damaged ones.
        """
        whole = set()
        for path, index, digest in self._files():
            if _digest(path.read_bytes()) == digest:
                whole.add(index)
            else:
                notify(f"{self.target.name}: the saved slice {index} is damaged and done again")
                path.unlink(missing_ok=True)
        return whole

    def has(self, index: int) -> bool:
        """Return whether a slice is there and whole.

        Parameters
        ----------
        index : int
            Slice.
        """
        return any(_digest(path.read_bytes()) == digest for path, digest in self._of(index))

    def write(self, result: SliceReconstruction) -> None:
        """Save a slice; when this returns, it survives a loss of power.

        Parameters
        ----------
        result : SliceReconstruction
            A finished slice.

        Raises
        ------
        OutputFileError
            If the disk is full or fails; nothing is left behind then.
        """
        content = pack_slice(result)
        name = f"slice_{result.index:06d}.{_digest(content)}.npz"
        try:
            with atomic_path(self.folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise OutputFileError(
                f"{self.folder / name} cannot be written ({error.strerror or error}): free space "
                "on its disk, or name a folder on another one"
            ) from error

    def read(self, index: int) -> SliceReconstruction:
        """Read a slice back.

        Parameters
        ----------
        index : int
            Slice.

        Raises
        ------
        InputFileError
            If it is not there or damaged.
        """
        for path, digest in self._of(index):
            content = path.read_bytes()
            if _digest(content) == digest:
                return unpack_slice(content)
        raise InputFileError(
            f"{self.folder} holds no whole slice {index} any more: run the same command again"
        )

    def remove(self) -> None:
        """Remove the slices, and the folders around them where these are empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in (self.folder.parent, self.folder.parent.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def clear_half_written(self, targets: Iterable[Path]) -> None:
        """Remove what a killed process had under temporary names; only under the lock.

        Parameters
        ----------
        targets : iterable of pathlib.Path
            The scan's HDF5 files beside which the picture and the page lie.
        """
        for target, suffix in itertools.product(targets, (self.target.suffix, ".png", ".html")):
            name = glob.escape(target.with_suffix(suffix).name)
            for leftover in target.parent.glob(f".{name}.*.tmp"):
                leftover.unlink(missing_ok=True)
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working on the same scan; a killed one lets go of it.

        Raises
        ------
        ConfigurationError
            If another process is at it.
        """
        folder = self.folder.parent.parent
        path = folder / f"{self.target.name}.lock"
        stream = _open_locked(path, self.target)
        try:
            yield
        finally:
            with contextlib.suppress(PermissionError):  # Windows keeps what is open
                path.unlink(missing_ok=True)
            stream.close()
            if os.name == "nt":
                with contextlib.suppress(OSError):  # another process has it by now
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _of(self, index: int) -> Iterable[tuple[Path, str]]:
        return [(path, digest) for path, found, digest in self._files() if found == index]

    def _files(self) -> Iterator[tuple[Path, int, str]]:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match:
                yield path, int(match[1]), match[2]

    def _other_folders(self) -> list[Path]:
        if not self.folder.parent.is_dir():
            return []
        return [path for path in self.folder.parent.iterdir() if path != self.folder]

    def _recorded(self) -> ComputeSettings | None:
        try:
            return ComputeSettings(**json.loads((self.folder / _EXECUTION).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _open_locked(path: Path, target: Path) -> IO[str]:
    while True:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir()
        try:
            stream = path.open("a")
        except FileNotFoundError:  # another scan has ended and removed the folder, then empty
            continue
        try:
            is_ours = lock_descriptor(stream.fileno(), blocking=False)
        except OSError:  # a file system without locks
            return stream
        if not is_ours:
            stream.close()
            raise ConfigurationError(
                f"{target} is being made by another process: wait for it, or give --output "
                "another folder"
            )
        # Whoever held the lock before may have removed the file since it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(stream.fileno()).st_ino == path.stat().st_ino:
                return stream
        stream.close()


def pack_slice(result: SliceReconstruction) -> bytes:
    """Return a slice as bytes: a .npz of its arrays, and JSON for the rest; no pickle.

    Parameters
    ----------
    result : SliceReconstruction
        A finished slice.
    """
    arrays = result.arrays()
    rest = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in arrays
    }
    text = json.dumps(rest, default=plain, sort_keys=True)
    stream = io.BytesIO()
    arrays[_REST] = np.frombuffer(text.encode(), np.uint8)
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def unpack_slice(content: bytes) -> SliceReconstruction:
    """Return the slice that `pack_slice` packed.

    Parameters
    ----------
    content : bytes
        Whole and undamaged.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != _REST}
        rest = json.loads(file[_REST].tobytes())
    return SliceReconstruction(**arrays, **rest)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
