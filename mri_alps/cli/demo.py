"""``mri-alps demo``: the embedded acquisition, reconstructed as any other."""

from __future__ import annotations

import json
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mri_alps.cli.reconstruct import reconstruct_one
from mri_alps.cli.report import run_report
from mri_alps.cli.terminal import out
from mri_alps.evaluation import head_mask, image_metrics, interval_coverage
from mri_alps.pipeline import (
    Reconstruction,
    ReconstructionConfiguration,
    load_prior_for,
    load_reconstruction,
    prepare_directory,
)
from mri_alps.rawdata import read_raw

DEMO_FILE = "demo_brain.h5"
N_SAMPLES = 8
N_EVALUATIONS = 50


def run_demo(
    output: Path, device: str = "auto", report: bool = False, as_json: bool = False
) -> None:
    """Reconstruct the demo file and say how well it went.

    Parameters
    ----------
    output : pathlib.Path
        Folder for the results.
    device : str
        As `ReconstructionConfiguration` takes it.
    report : bool
        Whether to write the HTML page as well.
    as_json : bool
        Print a JSON object instead of names and a table.
    """
    configuration = ReconstructionConfiguration(
        n_samples=N_SAMPLES,
        n_evaluations=N_EVALUATIONS,
        device=device,
        save_maps=True,
        save_samples=report,
    )
    with resources.as_file(resources.files("mri_alps") / "data" / DEMO_FILE) as path:
        raw = read_raw(path)
        prepare_directory(output)
        prior, _ = load_prior_for(configuration)
        started = time.perf_counter()
        target, picture = reconstruct_one(
            raw, output, configuration, prior, print_paths=not as_json
        )
        seconds = time.perf_counter() - started
        result = load_reconstruction(target)
        # The file's own root-sum-of-squares image was made without noise: it is the truth.
        truth = np.stack([np.asarray(raw.read_reference(int(index))) for index in result.slices])
        page = run_report(target, print_paths=not as_json) if report else None
    scores = demo_scores(result, truth) | {"seconds": seconds}
    if as_json:
        files = {"output": target, "picture": picture, "report": page}
        named = {name: None if path is None else str(path) for name, path in files.items()}
        print(json.dumps(named | scores, indent=2))
    else:
        out().print(demo_table(scores))


def demo_scores(result: Reconstruction, truth: np.ndarray) -> dict[str, Any]:
    """Compare the demo's result with the truth.

    Parameters
    ----------
    result : Reconstruction
        What came out.
    truth : numpy.ndarray
        (slices, H, W), in the same units.

    Returns
    -------
    dict
        As JSON can hold it.
    """
    coverage = interval_coverage(
        truth, result.reconstruction_lower, result.reconstruction_upper, head_mask(truth)
    )
    return {
        "posterior_mean": image_metrics(truth, result.reconstruction),
        "zero_filled": image_metrics(truth, result.zero_filled),
        "coverage": coverage,
        "n_slices": len(result.slices),
        "n_samples": int(result.attributes["n_samples"]),
        "n_evaluations": int(result.attributes["n_evaluations"]),
    }


def demo_table(scores: dict[str, Any]) -> Table:
    """Return the table that the demo ends with.

    Parameters
    ----------
    scores : dict
        From `demo_scores`, and "seconds".
    """
    table = Table(title="Demo: reconstruction against the known truth")
    table.add_column("")
    table.add_column("posterior mean", justify="right")
    table.add_column("zero-filled", justify="right")
    ours, theirs = scores["posterior_mean"], scores["zero_filled"]
    for name, label in (("NMSE", "error (NMSE)"), ("PSNR", "PSNR, dB"), ("SSIM", "SSIM")):
        table.add_row(label, f"{ours[name]:.4g}", f"{theirs[name]:.4g}")
    table.add_row("coverage of 90 % interval", f"{scores['coverage']:.3f}", "")
    table.add_row("seconds", f"{scores['seconds']:.1f}", "")
    table.add_row("network evaluations", str(scores["n_evaluations"]), "")
    table.caption = (
        f"Evaluations per sample; {scores['n_slices']} slices, {scores['n_samples']} samples each."
    )
    return table
