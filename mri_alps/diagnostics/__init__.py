"""A device compared with the CPU, and samples compared with posteriors that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.diagnostics.device_check import (
        Comparison,
        Timing,
        compare_with_cpu,
        find_host_traffic,
        time_device,
    )
    from mri_alps.diagnostics.exact_gaussian import ExactGaussian, GaussianProblem
    from mri_alps.diagnostics.exactness import (
        Verification,
        verify_exactness,
        verify_gaussian,
        verify_mixture,
    )

_HOME_OF = {
    "Comparison": "mri_alps.diagnostics.device_check",
    "ExactGaussian": "mri_alps.diagnostics.exact_gaussian",
    "GaussianProblem": "mri_alps.diagnostics.exact_gaussian",
    "Timing": "mri_alps.diagnostics.device_check",
    "compare_with_cpu": "mri_alps.diagnostics.device_check",
    "find_host_traffic": "mri_alps.diagnostics.device_check",
    "Verification": "mri_alps.diagnostics.exactness",
    "verify_exactness": "mri_alps.diagnostics.exactness",
    "verify_gaussian": "mri_alps.diagnostics.exactness",
    "verify_mixture": "mri_alps.diagnostics.exactness",
    "time_device": "mri_alps.diagnostics.device_check",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
