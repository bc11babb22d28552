"""``mri-alps report`` and the ``--report`` of other commands."""

from __future__ import annotations

from pathlib import Path

from mri_alps.cli.terminal import out
from mri_alps.evaluation import write_report
from mri_alps.evaluation.report import DEFAULT_MEGABYTES


def run_report(
    reconstruction: Path,
    output: Path | None = None,
    target: Path | None = None,
    max_megabytes: float = DEFAULT_MEGABYTES,
    print_paths: bool = True,
) -> Path:
    """Write the page of a reconstruction and print where it is.

    Parameters
    ----------
    reconstruction : pathlib.Path
        A file of `mri-alps reconstruct`.
    output : pathlib.Path, optional
        The page; left out, it stands beside the reconstruction.
    target : pathlib.Path, optional
        File with a reference image.
    max_megabytes : float
        About the size of the page.
    print_paths : bool
        Whether its name is printed.
    """
    page = write_report(reconstruction, output, target, max_megabytes)
    if print_paths:
        out().print(str(page), soft_wrap=True)
    return page
