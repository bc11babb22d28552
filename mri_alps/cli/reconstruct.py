"""``mri-alps reconstruct``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from mri_alps.cli.run_settings import RunSettings
from mri_alps.cli.terminal import ProgressBar, err, out, print_message, stopped_by_signal
from mri_alps.core.errors import ConfigurationError, InputFileError, MriAlpsError
from mri_alps.evaluation import (
    MAX_ROWS,
    evenly_chosen,
    write_panel,
    write_planes,
    write_preview,
)
from mri_alps.pipeline import (
    Manifest,
    ReconstructionConfiguration,
    Results,
    RunContext,
    ScanJob,
    ScanOutcome,
    choices_of,
    choose_part,
    chosen_slices,
    find_scans,
    image_size,
    load_prior_for,
    middle_volume,
    names_mask_file,
    open_scan,
    output_folder,
    output_path,
    part_name,
    parts_of,
    pixel_aspect,
    reconstruct_scans,
    reconstruct_to_file,
    reference_image,
    selection_of,
    trajectory_options,
)
from mri_alps.priors import DEFAULT_PRIOR, ScoreModel
from mri_alps.rawdata import RawKSpace, RawTrajectoryData, Selection, TrajectoryOptions, list_parts
from mri_alps.rawdata.probe import Probe
from mri_alps.uncertainty import read_calibration


def run_reconstruct(
    inputs: Sequence[Path],
    output: Path,
    configuration: ReconstructionConfiguration,
    run: RunSettings | None = None,
) -> bool:
    """Reconstruct every input; one that fails does not stop the others.

    Parameters
    ----------
    inputs : sequence of pathlib.Path
        Raw files, folders of them, patterns.
    output : pathlib.Path
        Folder.
    configuration : ReconstructionConfiguration
        The settings.
    run : RunSettings, optional
        Which part of it, and by whom.

    Returns
    -------
    bool
        True if every input went well.

    Raises
    ------
    MriAlpsError
        If an option makes no sense, or if the only input, named by its file name, fails.
    """
    run = run or RunSettings()
    if run.report:
        configuration = dataclasses.replace(configuration, save_samples=True)
    if configuration.calibration is not None:
        read_calibration(configuration.calibration)  # damage is told once, before the work
    found = find_scans(inputs)
    _check_names(found, output)
    scans = choose_part(found, run.limit, run.shard)
    # The workers load the prior where they compute; this process only has to know which it is.
    here = dataclasses.replace(configuration, device="cpu") if run.distributed else None
    prior, device = load_prior_for(here or configuration)
    if run.dry_run:
        return _plan(scans, prior, configuration, device, run.as_json)
    named = scans == list(inputs) and len(scans) == 1
    probe = Probe()
    list_them: Any = probe.parts
    single = False
    if named:
        listed = list_parts(scans[0], choices_of(configuration))
        list_them = lambda *_: listed  # noqa: E731 - it was opened here once, and is again
        single = len(parts_of(scans[0], configuration, list_them)) == 1
    context = RunContext(
        configuration,
        prior,
        device,
        configuration.prior or DEFAULT_PRIOR,
        n_threads=run.threads,
        overwrite=run.overwrite,
        notify=print_message,
        check=(lambda *_: None) if named else probe.check,
        list_parts=list_them,
        show_preview=write_preview if run.preview else None,
    )
    finish = functools.partial(show_scan, report=run.report, print_paths=not run.as_json)
    kept = f"what is finished is kept in {output}, repeat the command to go on from there"
    with stopped_by_signal(kept), output_folder(output) as folder, probe:
        report = Report(Manifest(folder, run.shard), single)
        with ProgressBar() as progress:
            if run.distributed:
                from mri_alps.pipeline.cluster import reconstruct_on_cluster

                results = reconstruct_on_cluster(
                    scans, folder, context, run.workers, run.scheduler,
                    progress=progress, finish=finish, report=report,
                )  # fmt: skip
            else:
                results = reconstruct_scans(scans, folder, context, progress, finish, report)
    if single and results.outcomes[0].error is not None:
        raise results.outcomes[0].error
    report.summarise(results, run.distributed, str(device))
    if run.as_json:
        print(json.dumps([outcome.to_dict() for outcome in results.outcomes], indent=2))
    return all(outcome.is_good for outcome in results.outcomes)


class Report:
    """Says and records what became of the inputs.

    Parameters
    ----------
    manifest : Manifest
        Where it is recorded.
    single : bool
        Whether a single file is reconstructed, whose failure is the command's own.
    """

    def __init__(self, manifest: Manifest, single: bool):
        self._manifest, self._single = manifest, single

    def __call__(self, outcome: ScanOutcome) -> None:
        """Record an outcome as it is known.

        Parameters
        ----------
        outcome : ScanOutcome
            What became of an input.
        """
        if self._single and outcome.error is not None:
            return
        self._manifest.write(outcome)
        if outcome.status == "left out":
            print_message(f"{outcome.part} is left out: {outcome.reason}", "warning")
        if not outcome.is_good and not self._single:
            print_message(outcome.reason, "error")

    def summarise(self, results: Results, distributed: bool, device: str) -> None:
        """Say how it went: what was skipped, what failed, in detail how busy the device was.

        Parameters
        ----------
        results : Results
            Of the run.
        distributed : bool
            Whether other processes did the work.
        device : str
            Where the samples were drawn.
        """
        outcomes = results.outcomes
        skipped = sum(outcome.status == "skipped" for outcome in outcomes)
        if skipped:
            print_message(
                f"{skipped} of {len(outcomes)} were finished before with the same settings and "
                "are left as they are (--overwrite makes them again)"
            )
        busy, total = results.occupation
        if busy > 0:
            who = "the workers were" if distributed else f"{device} was"
            print_message(f"{who} busy {results.occupation.share:.1%} of {total:.1f} s", "detail")
        bad = [outcome for outcome in outcomes if not outcome.is_good]
        if bad:
            err().print(failure_table(bad))
        incomplete = sum(outcome.status == "incomplete" for outcome in bad)
        if incomplete:
            print_message(
                f"{incomplete} of {len(outcomes)} inputs lack slices, which are NaN; the same "
                "command tries these again",
                "error",
            )
        if len(bad) > incomplete:
            print_message(f"{len(bad) - incomplete} of {len(outcomes)} inputs failed", "error")
        if not self._single:
            print_message(f"what became of each input is in {self._manifest.path}")


def failure_table(failed: Sequence[ScanOutcome]) -> Table:
    """Return a table of the inputs, or their slices, that failed and why.

    Parameters
    ----------
    failed : sequence of ScanOutcome
        At least one.
    """
    table = Table(title="Not reconstructed", title_justify="left")
    table.add_column("input", overflow="fold")
    table.add_column("why", overflow="fold")
    for outcome in failed:
        name, reasons = outcome.source.name, sorted(outcome.failed_slices.items())
        if outcome.status == "failed":
            table.add_row(name, outcome.reason)
            continue
        for index, reason in reasons[:MAX_ROWS]:
            table.add_row(f"{name}, slice {index}", reason)
        if len(reasons) > MAX_ROWS:
            table.add_row(name, f"and {len(reasons) - MAX_ROWS} slices more, see its attributes")
    return table


def _plan(
    scans: Sequence[Path],
    prior: ScoreModel,
    configuration: ReconstructionConfiguration,
    device: torch.device,
    as_json: bool,
) -> bool:
    from mri_alps.cli.dry_run import plan, plan_table

    plans: list[dict[str, Any]] = []
    failures = 0
    with Probe() as probe:
        is_one = len(scans) == 1
        for source in scans:
            parts = parts_of(source, configuration, list_parts if is_one else probe.parts)
            for part in parts:
                try:
                    if not is_one:
                        probe.check(source, *_meant(part))
                    plans.append(plan(open_scan(source, part), prior, part, device))
                    if not as_json:
                        out().print(plan_table(plans[-1]))
                except MriAlpsError as error:
                    if is_one and len(parts) == 1:
                        raise
                    print_message(str(error), "error")
                    failures += 1
    if as_json:
        print(json.dumps(plans, indent=2))
    if failures:
        print_message(f"{failures} of {len(scans)} inputs failed", "error")
    return failures == 0


def _meant(
    configuration: ReconstructionConfiguration,
) -> tuple[Selection | None, TrajectoryOptions | None]:
    """Return which part of a file is meant, and what is said of its trajectory."""
    return selection_of(configuration), trajectory_options(configuration)


def show_scan(job: ScanJob, report: bool = False, print_paths: bool = True) -> None:
    """Draw the picture of a reconstruction that is there, and print both names.

    Parameters
    ----------
    job : ScanJob
        The scan.
    report : bool
        Whether it gets its HTML page as well.
    print_paths : bool
        Whether the names of what was written are printed.
    """
    raw, target, configuration = job.raw, job.target, job.context.configuration
    page_missing = report and not (job.skipped and target.with_suffix(".html").exists())
    if page_missing:
        from mri_alps.cli.report import run_report
    if job.skipped and target.with_suffix(".png").exists():
        if page_missing:
            run_report(target, print_paths=print_paths)
        return
    picture = draw(raw, target, configuration)
    if configuration.mask is None and raw.mask.all():
        print_message(
            f"{raw.path} is fully sampled and no --mask was given: all of it was "
            "used, so the noise is all there was to infer"
        )
    if print_paths:
        out().print(f"{target}\n{picture}", soft_wrap=True)
    if page_missing:
        run_report(target, print_paths=print_paths)


def reconstruct_one(
    raw: RawKSpace,
    output: Path,
    configuration: ReconstructionConfiguration,
    prior: ScoreModel,
    print_paths: bool = True,
) -> tuple[Path, Path]:
    """Reconstruct one scan with a progress bar, whatever is there, and draw its picture.

    Parameters
    ----------
    raw : RawKSpace
        The scan.
    output : pathlib.Path
        Folder.
    configuration : ReconstructionConfiguration
        The settings.
    prior : ScoreModel
        The loaded prior.
    print_paths : bool
        Whether the names of what was written are printed.

    Returns
    -------
    tuple of pathlib.Path
        The HDF5 and the PNG.
    """
    with ProgressBar() as progress:
        target = reconstruct_to_file(raw, output, configuration, progress, prior, overwrite=True)
    picture = draw(raw, target, configuration)
    if print_paths:
        out().print(f"{target}\n{picture}", soft_wrap=True)
    return target, picture


def draw(raw: RawKSpace, target: Path, configuration: ReconstructionConfiguration) -> Path:
    """Write the PNG that stands beside a reconstruction.

    Parameters
    ----------
    raw : RawKSpace
        The scan, for its reference images and the shape of its pixels.
    target : pathlib.Path
        The reconstruction's HDF5.
    configuration : ReconstructionConfiguration
        The settings, for the heading.
    """
    indices = chosen_slices(raw, configuration)
    volume = middle_volume(raw, indices)
    if len(volume) > MAX_ROWS and reference_image(raw, indices[volume[0]]) is None:
        spacing = (raw.slice_thickness, *raw.pixel_spacing)
        picture = target.with_suffix(".png")
        return write_planes(target, picture, volume, spacing, _title(raw, configuration))
    shown = [indices[row] for row in evenly_chosen(len(indices), MAX_ROWS)]
    reference = {}
    is_finer = image_size(raw, configuration) != tuple(raw.crop)
    for index in () if is_finer else shown:
        with contextlib.suppress(InputFileError):  # of a slice that failed, and is blank
            image = reference_image(raw, index)
            if image is not None:
                reference[index] = image
    return write_panel(
        target,
        target.with_suffix(".png"),
        reference,
        pixel_aspect=pixel_aspect(raw, image_size(raw, configuration)),
        title=_title(raw, configuration),
        without_prior="least squares" if isinstance(raw, RawTrajectoryData) else "zero-filled",
    )


def _title(raw: RawKSpace, configuration: ReconstructionConfiguration) -> str:
    sampling = "as measured"
    if isinstance(raw, RawTrajectoryData) and raw.n_used_shots < raw.n_shots:
        sampling = f"{raw.n_used_shots} of {raw.n_shots} shots"
    if configuration.mask is not None:
        sampling = f"{Path(configuration.mask).name} mask"
        if not names_mask_file(configuration):
            sampling += f", acceleration {configuration.effective_acceleration:g}"
    return (
        f"{Path(raw.path).name} {part_name(configuration)[1:]}".rstrip()
        + f": {sampling}, {_count(configuration)} samples, "
        f"{configuration.n_evaluations} evaluations each"
    )


def _count(configuration: ReconstructionConfiguration) -> str:
    least, most = configuration.n_samples, configuration.most_samples
    return f"{least}" if least == most else f"{least} to {most}"


def _check_names(inputs: Sequence[Path], output: Path) -> None:
    counts = Counter(output_path(source, output) for source in inputs)
    twice = [str(path) for path, count in counts.items() if count > 1]
    if twice:
        raise ConfigurationError(
            f"several inputs would be written to {twice[0]}: reconstruct them into different "
            "folders"
        )
