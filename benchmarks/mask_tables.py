"""Tables of a comparison of masks: paired differences, with intervals over subjects."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats


def print_tables(numbers: Path, designed: str) -> None:
    """Print Markdown.

    Intervals are 95 % over the means of subjects, by Student's t.
    """
    rows = [json.loads(line) for line in numbers.read_text().splitlines()]
    plain = [row for row in rows if row["self_calibration"] == "off"]
    for group in dict.fromkeys(row["group"] for row in plain):
        print_group(group, [row for row in plain if row["group"] == group], designed)
    print_predictions(rows)


def print_predictions(rows: list[dict[str, Any]]) -> None:
    """Predicted over actual errors, before and after self-calibration, of the same scans."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["scan"], row["mask"], row["acceleration"], tuple(row["lines"])

    calibrated = {key(row) for row in rows if row["self_calibration"] != "off"}
    same = [row for row in rows if key(row) in calibrated]
    groups = defaultdict(list)
    for row in same:
        for acceleration in (row["acceleration"], "all"):
            groups[row["group"], acceleration, row["self_calibration"]].append(row)
    for (group, acceleration, kind), part in groups.items():
        pairs = np.log([(row["predicted_NMSE"], row["NMSE"]) for row in part]).T
        ratio = np.exp((pairs[0] - pairs[1]).mean())
        together = np.corrcoef(pairs)[0, 1] if len(part) > 2 else float("nan")
        held = np.mean([row["coverage"] for row in part])
        print(
            f"{group} {acceleration}, self-calibration {kind}: predicted / actual {ratio:.2f} "
            f"(geometric, {len(part)}), correlation {together:.3f}, 90 % holds {held:.2f}"
        )


def by_subject(values: dict[str, float]) -> list[float]:
    """Means of each subject's slices."""
    groups = defaultdict(list)
    for scan, value in values.items():
        groups[scan.rsplit("_", 1)[0]].append(value)
    return [float(np.mean(part)) for part in groups.values()]


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    spread = np.std(values, ddof=1) / len(values) ** 0.5
    half = stats.t.ppf(0.975, len(values) - 1) * spread
    return f"{np.mean(values):.2f} ± {half:.2f}"


def print_group(group: str, rows: list[dict[str, Any]], designed: str) -> None:
    """One table: every mask, and what the designed one gains over it on the slices of both."""
    table: dict[tuple[float, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        table[row["acceleration"], row["mask"]][row["scan"]] = row
    print(f"\n{group}, {len({row['subject'] for row in rows})} subjects\n")
    print(f"| R | mask | slices | PSNR in dB | {designed} gains, dB | by wavelets, dB |"
          " predicted / actual NMSE | 90 % holds |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for acceleration, name in sorted(table, key=lambda key: (key[0], mean_psnr(table[key]))):
        own, best = table[acceleration, name], table.get((acceleration, designed), {})
        gains = []
        for metric in ("PSNR", "wavelet_PSNR"):
            values = {s: best[s][metric] - own[s][metric] for s in sorted(own.keys() & best.keys())}
            gains.append(interval(by_subject(values)) if values and name != designed else "")
        nmse, predicted, held = (
            np.mean([row[metric] for row in own.values()])
            for metric in ("NMSE", "predicted_NMSE", "coverage")
        )
        psnr = mean_psnr(own)
        print(f"| {acceleration:g}x | {name} | {len(own)} | {psnr:.2f} | {' | '.join(gains)} | "
              f"{predicted / nmse:.2f} | {held:.2f} |")  # fmt: skip


def mean_psnr(rows: dict[str, dict[str, Any]]) -> float:
    """Mean over subjects."""
    return float(np.mean(by_subject({scan: row["PSNR"] for scan, row in rows.items()})))
