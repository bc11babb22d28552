"""Scans with one random fault each: does calibration notice, or does the image look certain?

    python benchmarks/benchmark_calibration_faults.py --scans 300 --seed 0 --output faults.jsonl
    python benchmarks/benchmark_calibration_faults.py --seed 0 --only 17   # one of them again

A third of the scans is healthy. Every scan is written as a file (fastMRI's layout or ISMRMRD) and
reconstructed by `mri_alps.reconstruct`; errors are those of the magnitude inside the object,
against the truth of what the file holds (of filtered k-space the filtered image, say), and
deviations those that the reconstruction states. Two numbers count:

- silent: the error is more than 3 times the deviation, and neither an error nor a warning names
  the cause. Wanted: at most 1 % of all scans.
- false alarm: a healthy scan is refused or warned about. Wanted: at most 1 % of these.

A run that was stopped goes on where it was if it is repeated with the same `--output`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from calibration_faults import FAULTS, Scan, draw_scan, write_scan

import mri_alps
from mri_alps.core.errors import MriAlpsError, MriAlpsWarning

TOO_SURE = 3.0
OBJECT = 0.1  # of the brightest: what counts as inside


def kind_of(index: int, seed: int) -> str:
    """Every third scan is healthy; the faults follow each other in shuffled rounds."""
    if index % 3 == 0:
        return "none"
    faults = [name for name in FAULTS if name != "none"]
    place = 2 * (index // 3) + index % 3 - 1
    turn, position = divmod(place, len(faults))
    return faults[np.random.default_rng((seed, 10**6 + turn)).permutation(len(faults))[position]]


def run(scan: Scan, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Reconstruct one scan and compare it with its truth."""
    arguments = write_scan(scan, path)
    outcome: dict[str, Any] = {"error": None}
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = mri_alps.reconstruct(path, **arguments, **settings)
        except MriAlpsError as error:
            outcome["error"] = str(error)
        except Exception as error:  # one that is not a sentence is a finding of its own
            outcome["error"] = outcome["crash"] = f"{type(error).__name__}: {error}"
    outcome["seconds"] = time.perf_counter() - started
    said = [str(each.message) for each in caught if issubclass(each.category, MriAlpsWarning)]
    outcome["warnings"] = list(dict.fromkeys(said))
    if outcome["error"] is None:
        n_samples = settings["n_samples"]
        images = result.reconstruction, result.reconstruction_std, result.zero_filled
        outcome |= min(
            (compare(truth, *images, n_samples) for truth in scan.truths), key=lambda c: c["rms"]
        )
    # The file's name in the messages says nothing of the cause.
    texts = [text.replace(str(path), "") for text in (outcome["error"] or "", *said)]
    outcome["named"] = any(re.search(scan.names, text, re.IGNORECASE) for text in texts)
    return outcome


def compare(truth: np.ndarray, mean, std, zero_filled, n_samples: int) -> dict[str, float]:
    """Errors and deviations inside the object, root mean squares, relative to the truth's."""
    if mean.shape != (1, *truth.shape):
        return {"rms": np.inf, "ratio": np.inf, "against_zero_filled": np.inf}
    inside = truth > OBJECT * truth.max()

    def norm(image: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(image[inside].astype(float)))))

    error, stated = norm(mean[0] - truth), norm(std[0]) * np.sqrt(1 + 1 / n_samples)
    unit = norm(truth)
    return {
        "rms": error / unit,
        "stated": stated / unit,
        "ratio": error / max(stated, 1e-30),
        "against_zero_filled": error / max(norm(zero_filled[0] - truth), 1e-30),
    }


def is_silent(row: dict[str, Any]) -> bool:
    """Too sure, and nobody was told why; a crash tells nobody anything."""
    if row["error"] is not None:
        return bool(row.get("crash"))
    return row["ratio"] > TOO_SURE and not row["named"]


def is_false_alarm(row: dict[str, Any]) -> bool:
    """A healthy scan that was refused or warned about."""
    return row["healthy"] and bool(row["error"] is not None or row["warnings"])


def is_about_prior(row: dict[str, Any]) -> bool:
    """All that is said is that left-out lines do not fit the prior, which is no fault of a scan."""
    said = row["warnings"]
    return row["error"] is None and all("not what the prior knows" in text for text in said)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each fault."""
    heads = ("fault", "scans", "refused", "warned", "named", "error/deviation: median, largest",
             "error/zero-filled: median", "silent", "false alarms")  # fmt: skip
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind in FAULTS:
        group = [row for row in rows if row["kind"] == kind]
        if not group:
            continue
        done = [row for row in group if row["error"] is None]
        ratios = [row["ratio"] for row in done] or [np.nan]
        against = [row["against_zero_filled"] for row in done] or [np.nan]
        cells = (
            kind, len(group), len(group) - len(done), sum(bool(r["warnings"]) for r in done),
            sum(r["named"] for r in group), f"{np.median(ratios):.2f}, {np.max(ratios):.3g}",
            f"{np.median(against):.2f}", sum(map(is_silent, group)),
            sum(map(is_false_alarm, group)) if group[0]["healthy"] else "",
        )  # fmt: skip
        text.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(text)


def summary(rows: list[dict[str, Any]]) -> str:
    """The two numbers that count, and every scan that counts against them."""
    silent = [row for row in rows if is_silent(row)]
    healthy = [row for row in rows if row["healthy"]]
    alarms = [row for row in rows if is_false_alarm(row)]
    text = [
        f"silent: {len(silent)} of {len(rows)} ({len(silent) / max(len(rows), 1):.1%}); "
        f"false alarms: {len(alarms)} of {len(healthy)} healthy "
        f"({len(alarms) / max(len(healthy), 1):.1%}), {sum(map(is_about_prior, alarms))} of them "
        "of the prior alone; "
        f"median {np.median([row['seconds'] for row in rows] or [0]):.1f} s a scan"
    ]
    for title, chosen in (("silent", silent), ("false alarm", alarms)):
        for row in chosen:
            what = row["error"] or f"error/deviation {row['ratio']:.3g}"
            said = "; ".join(row["warnings"]) if title == "false alarm" else ""
            text.append(
                f"- {title}: --only {row['index']} ({row['kind']}: {row['detail']}; {row['format']}"
                f", {row['coils']} coils, {row['shape'][0]}x{row['shape'][1]}, {row['lines']} "
                f"lines): {what} {said}"
            )
    return "\n".join(text)


def read_rows(path: Path | None, seed: int) -> list[dict[str, Any]]:
    """What an earlier run of the same seed has finished."""
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [row for row in rows if row["seed"] == seed]


def main() -> None:
    """Run the campaign and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of scans, instead of all")
    parser.add_argument("--kind", help="only faults whose name begins so")
    parser.add_argument("--images", type=Path, help="folder of .npz with `img`; else ellipses")
    parser.add_argument("--prior", default="gaussian")
    parser.add_argument(
        "--self-calibration", default="scan", help="as the program has it with a learned prior"
    )
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=8)
    parser.add_argument("--output", type=Path, help="a JSON line for each scan; resumed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = {
        "prior": options.prior, "n_samples": options.samples, "device": "cpu",
        "self_calibration": options.self_calibration,
        "n_evaluations": options.evaluations, "seed": options.seed,
    }  # fmt: skip
    rows = [] if options.only else read_rows(options.output, options.seed)
    done = {row["index"] for row in rows}
    chosen = [i for i in options.only or range(options.scans) if i not in done]
    with tempfile.TemporaryDirectory() as folder:
        for index in chosen:
            kind = kind_of(index, options.seed)
            if options.kind and not kind.startswith(options.kind):
                continue
            scan = draw_scan(options.seed, index, kind, options.images)
            row = {"seed": options.seed, "index": index, **scan.facts}
            row |= run(scan, Path(folder) / f"scan_{index}.h5", settings)
            rows.append(row)
            if options.output and not options.only:
                with options.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            show(row, options.only is not None)
    rows.sort(key=lambda row: row["index"])
    print(f"\n{table(rows)}\n\n{summary(rows)}")


def show(row: dict[str, Any], everything: bool) -> None:
    """One line on standard error; all that was said if asked for."""
    verdict = "SILENT" if is_silent(row) else "ALARM" if is_false_alarm(row) else "ok"
    figure = "refused" if row["error"] is not None else f"{row['ratio']:.2f}"
    text = f"{row['index']:4d} {row['kind']}: {row['detail']}: {figure} {verdict}"
    print(f"{text} ({row['seconds']:.1f} s)", file=sys.stderr, flush=True)
    if everything:
        print(json.dumps(row, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
