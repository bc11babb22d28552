"""From a raw file to a posterior mean and a posterior standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_alps.core.lazy import lazy_names

if TYPE_CHECKING:
    from mri_alps.pipeline._shot_images import shot_preview
    from mri_alps.pipeline.batches import choose_batch
    from mri_alps.pipeline.configuration import (
        OUTPUT_GROUP,
        SAMPLER_GROUP,
        SCAN_GROUP,
        TRAJECTORY_GROUP,
        ReconstructionConfiguration,
    )
    from mri_alps.pipeline.conformal import conditions_of_file
    from mri_alps.pipeline.failures import describe_failures
    from mri_alps.pipeline.identity import (
        prior_identity,
        scan_identity,
        settings_hash,
        settings_identity,
    )
    from mri_alps.pipeline.images import (
        middle_volume,
        reference_image,
        root_sum_of_squares,
        used_mask,
        zero_filled,
    )
    from mri_alps.pipeline.inputs import choose_part, find_scans
    from mri_alps.pipeline.interpolation import image_size
    from mri_alps.pipeline.manifest import Manifest
    from mri_alps.pipeline.output import (
        RECONSTRUCTION_FORMAT,
        output_folder,
        output_path,
        prepare_directory,
    )
    from mri_alps.pipeline.parts import describe_parts, is_unasked, open_parts, parts_of
    from mri_alps.pipeline.point_estimate import point_estimate_of
    from mri_alps.pipeline.preview import PREVIEW_FORMAT, PREVIEW_KIND, Preview, preview_path
    from mri_alps.pipeline.progress import Progress
    from mri_alps.pipeline.provenance import pixel_aspect, versions
    from mri_alps.pipeline.reduction import LoadedSlice, SampledSlice
    from mri_alps.pipeline.resources import evaluation_bytes, memory_bytes
    from mri_alps.pipeline.result import (
        CALIBRATION,
        IMAGE_DATASETS,
        OPTIONAL_DATASETS,
        SCALARS_GROUP,
        SELF_CALIBRATION,
        Reconstruction,
        SliceReconstruction,
        load_reconstruction,
        representative,
    )
    from mri_alps.pipeline.scan_job import RunContext, ScanJob, ScanOutcome
    from mri_alps.pipeline.scans import Results, reconstruct_scans
    from mri_alps.pipeline.selection import (
        SELECTING,
        choices_of,
        chosen_slices,
        open_scan,
        part_name,
        scan_name,
        selection_of,
    )
    from mri_alps.pipeline.self_calibration import UNKNOWN_IMAGE, measure_left_out
    from mri_alps.pipeline.slice import SliceReconstructor, costs_one_slice
    from mri_alps.pipeline.trajectories import (
        TRAJECTORY_SETTINGS,
        trajectory_options,
        with_chosen_shots,
    )
    from mri_alps.pipeline.undersampling import mask_seed, names_mask_file, undersampling_mask
    from mri_alps.pipeline.volume import (
        load_prior_for,
        make_configuration,
        reconstruct,
        reconstruct_to_file,
    )
    from mri_alps.pipeline.warm_start import check_warm_start, wavelet_image

# `__all__` is for users; the rest is for the packages above. Settings are read by the command line,
# whose --help does not wait for torch.
_HOME_OF = {
    "CALIBRATION": "mri_alps.pipeline.result",
    "IMAGE_DATASETS": "mri_alps.pipeline.result",
    "LoadedSlice": "mri_alps.pipeline.reduction",
    "Manifest": "mri_alps.pipeline.manifest",
    "OPTIONAL_DATASETS": "mri_alps.pipeline.result",
    "OUTPUT_GROUP": "mri_alps.pipeline.configuration",
    "PREVIEW_FORMAT": "mri_alps.pipeline.preview",
    "PREVIEW_KIND": "mri_alps.pipeline.preview",
    "Preview": "mri_alps.pipeline.preview",
    "Progress": "mri_alps.pipeline.progress",
    "RECONSTRUCTION_FORMAT": "mri_alps.pipeline.output",
    "Reconstruction": "mri_alps.pipeline.result",
    "ReconstructionConfiguration": "mri_alps.pipeline.configuration",
    "Results": "mri_alps.pipeline.scans",
    "RunContext": "mri_alps.pipeline.scan_job",
    "SAMPLER_GROUP": "mri_alps.pipeline.configuration",
    "SCALARS_GROUP": "mri_alps.pipeline.result",
    "SCAN_GROUP": "mri_alps.pipeline.configuration",
    "TRAJECTORY_GROUP": "mri_alps.pipeline.configuration",
    "TRAJECTORY_SETTINGS": "mri_alps.pipeline.trajectories",
    "SELF_CALIBRATION": "mri_alps.pipeline.result",
    "SampledSlice": "mri_alps.pipeline.reduction",
    "ScanJob": "mri_alps.pipeline.scan_job",
    "ScanOutcome": "mri_alps.pipeline.scan_job",
    "SliceReconstruction": "mri_alps.pipeline.result",
    "SliceReconstructor": "mri_alps.pipeline.slice",
    "UNKNOWN_IMAGE": "mri_alps.pipeline.self_calibration",
    "check_warm_start": "mri_alps.pipeline.warm_start",
    "choose_batch": "mri_alps.pipeline.batches",
    "choose_part": "mri_alps.pipeline.inputs",
    "SELECTING": "mri_alps.pipeline.selection",
    "choices_of": "mri_alps.pipeline.selection",
    "chosen_slices": "mri_alps.pipeline.selection",
    "describe_parts": "mri_alps.pipeline.parts",
    "part_name": "mri_alps.pipeline.selection",
    "is_unasked": "mri_alps.pipeline.parts",
    "open_parts": "mri_alps.pipeline.parts",
    "parts_of": "mri_alps.pipeline.parts",
    "open_scan": "mri_alps.pipeline.selection",
    "scan_name": "mri_alps.pipeline.selection",
    "selection_of": "mri_alps.pipeline.selection",
    "conditions_of_file": "mri_alps.pipeline.conformal",
    "costs_one_slice": "mri_alps.pipeline.slice",
    "describe_failures": "mri_alps.pipeline.failures",
    "evaluation_bytes": "mri_alps.pipeline.resources",
    "find_scans": "mri_alps.pipeline.inputs",
    "image_size": "mri_alps.pipeline.interpolation",
    "load_prior_for": "mri_alps.pipeline.volume",
    "load_reconstruction": "mri_alps.pipeline.result",
    "make_configuration": "mri_alps.pipeline.volume",
    "mask_seed": "mri_alps.pipeline.undersampling",
    "measure_left_out": "mri_alps.pipeline.self_calibration",
    "memory_bytes": "mri_alps.pipeline.resources",
    "names_mask_file": "mri_alps.pipeline.undersampling",
    "output_folder": "mri_alps.pipeline.output",
    "output_path": "mri_alps.pipeline.output",
    "pixel_aspect": "mri_alps.pipeline.provenance",
    "prepare_directory": "mri_alps.pipeline.output",
    "point_estimate_of": "mri_alps.pipeline.point_estimate",
    "preview_path": "mri_alps.pipeline.preview",
    "prior_identity": "mri_alps.pipeline.identity",
    "reconstruct": "mri_alps.pipeline.volume",
    "reconstruct_scans": "mri_alps.pipeline.scans",
    "reconstruct_to_file": "mri_alps.pipeline.volume",
    "middle_volume": "mri_alps.pipeline.images",
    "reference_image": "mri_alps.pipeline.images",
    "representative": "mri_alps.pipeline.result",
    "root_sum_of_squares": "mri_alps.pipeline.images",
    "scan_identity": "mri_alps.pipeline.identity",
    "settings_hash": "mri_alps.pipeline.identity",
    "settings_identity": "mri_alps.pipeline.identity",
    "shot_preview": "mri_alps.pipeline._shot_images",
    "trajectory_options": "mri_alps.pipeline.trajectories",
    "undersampling_mask": "mri_alps.pipeline.undersampling",
    "used_mask": "mri_alps.pipeline.images",
    "versions": "mri_alps.pipeline.provenance",
    "with_chosen_shots": "mri_alps.pipeline.trajectories",
    "wavelet_image": "mri_alps.pipeline.warm_start",
    "zero_filled": "mri_alps.pipeline.images",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME_OF)

__all__ = [
    "Preview",
    "Reconstruction",
    "ReconstructionConfiguration",
    "load_reconstruction",
    "reconstruct",
    "reconstruct_to_file",
]
