"""``mri-alps openrecon``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mri_alps.cli.terminal import out, print_message


def openrecon(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what is written.")],
    image: Annotated[
        Optional[Path],  # noqa: UP045 - typer resolves this at run time
        typer.Option(help="The image, as docker save writes it. Left out: it is to be built."),
    ] = None,
) -> None:
    """Make the package that Siemens OpenRecon takes, all but the image itself.

    Without --image: the documentation as a PDF and a Containerfile with the label,
    checked against OpenRecon's rules; the commands that build and save the image
    are printed. With it: its label is compared, and image and PDF are packed into
    the zip that goes to the scanner.

    mri-alps openrecon -o package

    mri-alps openrecon -o package --image package/OpenRecon_mrialps_ALPS_V0.1.0.tar
    """
    from mri_alps.scanner.openrecon import image_tag, package_name, read_label, write_package

    written = write_package(output, image)
    out().print("\n".join(str(path) for path in written), soft_wrap=True)
    if image is None:
        label = read_label()
        tag, saved = image_tag(label), output / f"{package_name(label)}.tar"
        print_message(
            "next, in the top folder of the sources: docker build --platform linux/amd64 "
            f"-t {tag} -f {written[-1]} . && docker save -o {saved} {tag} && "
            f"mri-alps openrecon -o {output} --image {saved}"
        )
