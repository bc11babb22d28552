"""A device compared with the CPU, and watched for what a sampler must not wait for."""

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

_HOME_OF = {
    "Comparison": "mri_alps.diagnostics.device_check",
    "Timing": "mri_alps.diagnostics.device_check",
    "compare_with_cpu": "mri_alps.diagnostics.device_check",
    "find_host_traffic": "mri_alps.diagnostics.device_check",
    "time_device": "mri_alps.diagnostics.device_check",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)
