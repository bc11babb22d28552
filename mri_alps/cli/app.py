"""The command line, ``mri-alps``: the commands themselves are in `mri_alps.cli`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from mri_alps.cli.calibrate import calibrate
from mri_alps.cli.design_mask import design_mask
from mri_alps.cli.help_texts import spell
from mri_alps.cli.masks import masks
from mri_alps.cli.openrecon import openrecon
from mri_alps.cli.options import DeviceOption, JsonOption, PriorOption
from mri_alps.cli.run_settings import RunSettings
from mri_alps.cli.send import send
from mri_alps.cli.serve import serve, stream
from mri_alps.cli.settings_options import takes_settings
from mri_alps.cli.terminal import print_message, set_verbosity, warnings_said_once
from mri_alps.cli.train import train
from mri_alps.core.errors import MriAlpsError
from mri_alps.core.lazy import undisturbed_imports
from mri_alps.pipeline import SELECTING, TRAJECTORY_SETTINGS, ReconstructionConfiguration

INSPECTED = (
    *("noise_std", "mask", "acceleration", "center_fraction", "seed", "field_of_view"),
    *("trajectory", "trajectory_units", "golden_angle", "matrix", "shots", "correct_delays"),
    *SELECTING,
)
"""Settings that decide what calibration sees."""

app = typer.Typer(
    name="mri-alps",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a raw k-space file to a reconstruction that knows its own uncertainty.\n\n"
    "New here? Run [bold]mri-alps demo[/bold], then [bold]mri-alps inspect FILE[/bold] on a "
    "file of yours, then [bold]mri-alps reconstruct FILE --output results[/bold].",
)


def _version(value: bool) -> None:
    if value:
        import mri_alps

        typer.echo(f"mri-alps {mri_alps.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is done on the way.")
    ] = False,
) -> None:
    del version
    set_verbosity(quiet, verbose)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "demo_output"
    ),
    device: DeviceOption = "auto",
    report: Annotated[
        bool, typer.Option("--report", help="Write an HTML page of the result as well.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Reconstruct the small acquisition that ships with the package.

    Takes at most three minutes on two cores. It is a simulated 8-coil brain
    scan, 4x undersampled, whose truth is known: the table at the end says how far
    the reconstruction is from it, and how often the 90 % interval holds it.
    """
    from mri_alps.cli.demo import run_demo

    run_demo(output, device, report, json)


@app.command()
@takes_settings(ReconstructionConfiguration, only=INSPECTED)
def inspect(
    file: Annotated[Path, typer.Argument(help="fastMRI HDF5, ISMRMRD (HDF5, stream) or BART cfl.")],
    settings: ReconstructionConfiguration,
    json: JsonOption = False,
    figure: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the calibration of the middle slice (png, pdf, svg)."),
    ] = None,
    header_only: Annotated[
        bool,
        typer.Option(
            "--header-only",
            help="Say what the file says, in about a second, and leave out what is computed: "
            "noise, calibration, and what stands in their way.",
        ),
    ] = False,
) -> None:
    """Say what is in a raw file and what would be done with it.

    The format is recognised by content, not by the file's name. Prints matrix
    sizes, coils, slices, the mask and its acceleration, the calibration region,
    the noise, and the steps that a reconstruction would take. The figure shows
    coil images, sensitivity maps with their support and eigenvalues, noise, the
    centre of k-space, and how far each line is trusted.
    """
    from mri_alps.cli.inspect import run_inspect

    run_inspect(file, json, settings, figure, header_only)


@app.command()
@takes_settings(ReconstructionConfiguration, RunSettings, from_file=True)
def reconstruct(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Raw files (fastMRI, ISMRMRD, MRD 2, twix, BART cfl, npz), folders, patterns.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; one HDF5 and one PNG per input go there."),
    ],
    configuration: ReconstructionConfiguration,
    run: RunSettings,
) -> None:
    """Turn raw k-space into the posterior mean and its standard deviation.

    For each INPUT one HDF5 of the same name with the datasets
    reconstruction, reconstruction_std, reconstruction_lower and
    reconstruction_upper (the 90 % interval), all in the units of the scan's own
    root-sum-of-squares image, and posterior_mean; beside it a PNG. The folder
    can be scored with fastmri.evaluate or mri-alps evaluate.

    A run that was killed goes on where it was when the command is repeated;
    what is finished with the same settings is left alone. An input that fails
    does not stop the others: manifest.jsonl says what became of each. Nor does
    a slice that fails: it is NaN, the attribute failed_slices has the reason,
    the exit status is 1, and repeating the command tries only such slices again.

    mri-alps reconstruct scan.h5 -o results

    mri-alps reconstruct full/*.h5 -o results --mask equispaced --acceleration 4

    mri-alps reconstruct multicoil_test -o results --workers 4

    mri-alps reconstruct scan.h5 -o results --preview
    """
    with undisturbed_imports():
        from mri_alps.cli.reconstruct import run_reconstruct

    if not run_reconstruct(inputs, output, configuration, run):
        raise typer.Exit(1)


@app.command()
def evaluate(
    reconstructions: Annotated[Path, typer.Argument(help="Folder or file of reconstructions.")],
    targets: Annotated[
        Path, typer.Argument(help="Folder or file with reconstruction_rss or reconstruction_esc.")
    ],
    json: JsonOption = False,
    csv: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write a table: volumes, acquisitions, total."),
    ] = None,
    figure: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw it: metrics, intervals, sparsification (png, pdf, svg)."),
    ] = None,
) -> None:
    """Score reconstructions: NMSE, PSNR and SSIM as fastMRI, and interval coverage.

    Every file of TARGETS is compared with the file of the same name in
    RECONSTRUCTIONS; those without one are left out, which is said. Coverage is
    the share of pixels within the head whose reference lies in the 90 % interval;
    a reference carries noise of its own, which lowers it a little. Sharpness is
    the interval's mean width over the mean intensity; sparsification the area
    between the error that is left when the most uncertain pixels are discarded
    and the least that could be (0 is best).
    Mean and two standard deviations by acquisition and in total.
    """
    from mri_alps.cli.evaluate import run_evaluate

    run_evaluate(reconstructions, targets, json, csv, figure)


app.command()(calibrate)


@app.command()
def report(
    reconstruction: Annotated[
        Path, typer.Argument(metavar="RECON", help="A file of mri-alps reconstruct.")
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="The page. Left out: RECON with the ending .html."),
    ] = None,
    target: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="File with reconstruction_rss or reconstruction_esc. Left out: the scan's own, "
            "if it had one."
        ),
    ] = None,
    max_megabytes: Annotated[
        float,
        typer.Option(
            min=0.0, help="Size of the page; a volume that needs more is shown in fewer slices."
        ),
    ] = 8.0,
) -> None:
    """Write one HTML page that shows a reconstruction and its uncertainty.

    It opens in any browser, without network or server: mean, standard deviation,
    zero-filled image and error slice by slice, the samples as a loop (with
    --save-samples), the value and 90 % interval of every pixel, calibration,
    convergence, acquisition and provenance.
    """
    from mri_alps.cli.report import run_report

    run_report(reconstruction, output, target, max_megabytes)


@app.command()
@takes_settings(
    ReconstructionConfiguration, only=("field_of_view", *SELECTING, *TRAJECTORY_SETTINGS)
)
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Raw k-space, or a file of mri-alps reconstruct.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write; for DICOM and BIDS a folder.")
    ],
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="fastmri, ismrmrd, mrd2 or bart for k-space; nifti, dicom or bids for a "
            "reconstruction. Left out: told by OUT (.cfl, .hdr, .mrd, .mrd2, .nii, .nii.gz, a "
            "folder)."
        ),
    ] = None,
    classic: Annotated[
        bool, typer.Option("--classic", help="DICOM with one file per slice, for older programs.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    study: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="A DICOM image of the scanner's from the same examination: patient, study and "
            "frame of reference are taken from it. Left out: from the raw data's header."
        ),
    ] = None,
    subject: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="BIDS' label of the subject. Left out: the name of the file."),
    ] = None,
    suffix: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="BIDS' name of the contrast: T1w, T2w, PDw, T2starw, FLAIR or angio. Left out: "
            "told by the name of the protocol."
        ),
    ] = None,
    *,
    configuration: ReconstructionConfiguration,
) -> None:
    """Convert k-space between formats, or a reconstruction to NIfTI, DICOM or BIDS.

    K-space is copied as it was measured. What the new format has no place for is
    named, and written to a JSON file beside it (into the file, for fastMRI). Mean and
    standard deviation of a reconstruction become two NIfTI files, DICOM series of the
    scanner's study, or a part of a BIDS derivative data set. Of what a file has
    several of (contrasts, for example), each is written into a file of its own.

    mri-alps convert scan.h5 scan.cfl

    mri-alps convert ksp radial.h5 --trajectory traj

    mri-alps convert results/scan.h5 scan.nii.gz
    """
    from mri_alps.cli.convert import run_convert

    run_convert(source, target, to, classic, overwrite, study, subject, suffix, configuration)


app.command()(train)
app.command()(masks)


@app.command("check-device")
def check_device(
    device: DeviceOption = "auto",
    prior: PriorOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Time small images only.")] = False,
    json: JsonOption = False,
) -> None:
    """Test and time a GPU: run this whenever one is at hand.

    Operators, sensitivity maps, the prior and whole samples are compared with the
    CPU's, the sampler's steps are watched for places where the host waits for the
    device, and A^H A, the prior and a step are timed. Without a GPU, --device cpu
    runs the code that a GPU would. Exit status 1 if anything differs or waits.
    """
    from mri_alps.cli.check_device import run_check_device

    run_check_device(device, prior, quick, json)


@app.command()
def verify(
    device: DeviceOption = "auto",
    seed: Annotated[
        int, typer.Option(min=0, help="Of truths, noise and samples: another seed, another check.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Check that samples drawn here are those of the posterior, in a minute.

    Posteriors whose answer is known are sampled just as reconstruct would, in
    single precision on the device. Under a Gaussian prior, at 96x96, 8 coils,
    4x and 8x undersampled, the exact mean and exact draws are solutions of
    linear systems; they are found in double precision to 1e-9, by code that
    has no part in the sampler. A mixture at 16x16 has four modes. The table
    says, with bounds that allow for the number of samples:

    the samples' standard deviation over the exact one (1 is perfect): of all
    frequencies pooled; of low ones that were not measured, where a sampler
    that stops too soon is too sure; whitened, every direction alike;

    the error of the mean, over that of as many exact samples;

    the share of truths that 90 % intervals hold, and for the mixture how far
    the shares of samples in the modes are from their probabilities.

    It proves that operators, solver, noise and schedule of this installation,
    with this torch, device and number of threads, draw from the posterior that
    they are given. It does not prove that a learned prior fits your images, or
    that a scan's maps and noise level are right: mri-alps evaluate measures
    that where a reference is known. Nor does it time anything: check-device.

    Exit status 1 if a figure lies outside its bounds.

    mri-alps verify --device cuda --json
    """
    from mri_alps.cli.verify import run_verify

    run_verify(device, seed, json)


app.command("design-mask")(design_mask)
app.command()(serve)
app.command()(send)
app.command()(stream)
app.command()(openrecon)
spell(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors become one sentence on standard error and exit status 1.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process if left out.
    """
    # Waiting threads that spin bring everything to a halt where another process wants the cores
    # too (ten times slower, measured); sleeping ones cost nothing. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with warnings_said_once():
        try:
            app(args=None if arguments is None else list(arguments), prog_name="mri-alps")
        except MriAlpsError as error:
            print_message(str(error), "error")
            sys.exit(1)
        except OSError as error:
            print_message(f"{error}: check the path, its permissions and the space left", "error")
            sys.exit(1)


if __name__ == "__main__":
    main()
