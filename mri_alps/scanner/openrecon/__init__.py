"""The container for Siemens OpenRecon: what describes it, and the package that a scanner takes."""

from __future__ import annotations

from mri_alps.scanner.openrecon._label import LABEL_NAME, check_label, read_label
from mri_alps.scanner.openrecon._package import image_tag, package_name, write_package

__all__ = ["LABEL_NAME", "check_label", "image_tag", "package_name", "read_label", "write_package"]
