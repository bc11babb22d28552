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
from mri_alps.evaluation import head_mask, image_metrics, reliability, write_reliability
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
N_EVALUATIONS = 30


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
        scores = demo_scores(result, truth) | {
            "seconds": seconds,
            "acceleration": float(raw.mask.size / max(int(raw.mask.sum()), 1)),
        }
        curve = write_reliability(
            {f"{scores['n_samples']} samples": curve_of(scores)},
            target.with_name(f"{target.stem}_reliability.png"),
            "Demo: do intervals hold the truth as often as they say?",
        )
        if not as_json:
            out().print(str(curve), soft_wrap=True)
        page = run_report(target, print_paths=not as_json) if report else None
    if as_json:
        files = {"output": target, "picture": picture, "reliability": curve, "report": page}
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
    degrees = int(np.min(result.scalars["degrees_of_freedom"]))
    bounds = (result.reconstruction_lower, result.reconstruction_upper)
    curve = reliability(truth, *bounds, head_mask(truth), degrees)
    return {
        "posterior_mean": image_metrics(truth, result.reconstruction),
        "zero_filled": image_metrics(truth, result.zero_filled),
        "coverage": curve[0.9],
        "reliability": {f"{nominal:g}": observed for nominal, observed in curve.items()},
        "prior": str(result.attributes["prior"]),
        "mask": "equispaced lines",
        "uncertainty_factor": float(np.mean(result.scalars["uncertainty_factor"])),
        "n_slices": len(result.slices),
        "n_samples": int(result.attributes["n_samples"]),
        "n_evaluations": int(result.attributes["n_evaluations"]),
    }


def curve_of(scores: dict[str, Any]) -> dict[float, float]:
    """Return nominal to observed coverage.

    Parameters
    ----------
    scores : dict
        From `demo_scores`.
    """
    return {float(nominal): observed for nominal, observed in scores["reliability"].items()}


def demo_table(scores: dict[str, Any]) -> Table:
    """Return the table that the demo ends with.

    Parameters
    ----------
    scores : dict
        From `demo_scores`, and "seconds" and "acceleration".
    """
    table = Table(title="Demo: reconstruction against the known truth")
    table.add_column("")
    for name in ("posterior mean", "zero-filled", "perfect"):
        table.add_column(name, justify="right")
    ours, theirs = scores["posterior_mean"], scores["zero_filled"]
    rows = (("NMSE", "error (NMSE)", "0"), ("PSNR", "PSNR, dB", "infinite"), ("SSIM", "SSIM", "1"))
    for name, label, perfect in rows:
        table.add_row(label, f"{ours[name]:.4g}", f"{theirs[name]:.4g}", perfect)
    table.add_row("coverage of 90 % interval", f"{scores['coverage']:.3f}", "", "0.900")
    factor = f"{scores['uncertainty_factor']:.2f}"
    table.add_row("deviation scaled by left-out lines", factor, "", "1.00")
    table.add_row("seconds", f"{scores['seconds']:.1f}", "", "")
    table.add_row("network evaluations", str(scores["n_evaluations"]), "", "")
    table.caption = (
        f"Prior {scores['prior']}, {scores['mask']}, {scores['acceleration']:.3g}x; evaluations "
        f"per sample; {scores['n_slices']} slices, {scores['n_samples']} samples each."
    )
    return table
