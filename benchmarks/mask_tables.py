"""Tables of a comparison of masks: paired differences, with intervals over subjects."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats


def print_tables(numbers: Path) -> None:
    """Print Markdown."""
    rows = [json.loads(line) for line in numbers.read_text().splitlines()]
    for group in dict.fromkeys(row["group"] for row in rows):
        print_group(group, [row for row in rows if row["group"] == group])


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


def print_group(group: str, rows: list[dict[str, Any]]) -> None:
    """One table."""
    table: dict[tuple[float, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        table[row["acceleration"], row["mask"]][row["scan"]] = row
    print(f"\n{group}, {len({row['subject'] for row in rows})} subjects\n")
    print("| R | mask | slices | PSNR | to the best rival | wavelets | to the same | NMSE |"
          " predicted / actual | 90 % holds |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for acceleration in sorted({key[0] for key in table}):
        masks = {name: part for (value, name), part in table.items() if value == acceleration}
        from mask_rivals import KINDS, LEARNED

        rivals = [name for name in masks if name in (*KINDS, LEARNED)]

        def mean(name: str, masks: dict = masks) -> float:
            values = {scan: row["PSNR"] for scan, row in masks[name].items()}
            return float(np.mean(by_subject(values)))

        best = max(rivals, key=mean)
        for name in sorted(masks, key=mean, reverse=True):
            own = masks[name]
            shared = own.keys() & masks[best].keys()
            cells = []
            for metric in ("PSNR", "wavelet_PSNR"):
                cells.append(interval(by_subject({s: own[s][metric] for s in own})))
                gain = {s: own[s][metric] - masks[best][s][metric] for s in sorted(shared)}
                cells.append("" if name == best else interval(by_subject(gain)))
            nmse = np.mean([row["NMSE"] for row in own.values()])
            predicted = np.mean([row["predicted_NMSE"] for row in own.values()])
            held = np.mean([row["coverage"] for row in own.values()])
            mark = " (best rival)" if name == best else ""
            print(f"| {acceleration:g}x | {name}{mark} | {len(own)} | {' | '.join(cells)} | "
                  f"{nmse:.4f} | {predicted / nmse:.2f} | {held:.2f} |")  # fmt: skip
