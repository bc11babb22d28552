"""Markdown of the lines that `benchmark_rivals.py` wrote."""

from __future__ import annotations

import numpy as np

COLUMNS = {
    "PSNR": ("PSNR, dB", "{:.2f}", max),
    "single_PSNR": ("of a sample", "{:.2f}", max),
    "left_out": ("left-out error, dB", "{:.2f}", min),
    "misfit": ("misfit", "{:.2f}", None),
    "coverage": ("coverage", "{:.3f}", None),
    "interval_score": ("interval score, %", "{:.1f}", min),
    "CRPS": ("CRPS, %", "{:.2f}", min),
    "seconds": ("CPU seconds", "{:.1f}", None),
    "network": ("evaluations", "{:.0f}", None),
}
CRITERIA = {"": "", "PSNR": " (for PSNR)", "CRPS": " (for CRPS)"}


def label(line: dict) -> str:
    """Name of a row: method, evaluations of a sample, what it was tuned for."""
    count = f", {line['evaluations']}" if line["evaluations"] else ""
    return line["method"] + count + CRITERIA[line.get("for", "")]


def shown_setting(setting: dict) -> str:
    """Values of what was tuned."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in setting.items()
    )


def means(lines: list[dict]) -> dict[str, float]:
    """Mean of each figure; a figure that one of the scans lacks is left out."""
    found = {}
    for key in COLUMNS:
        values = [line[key] for line in lines if key in line]
        if len(values) == len(lines):
            found[key] = float(np.mean(values))
    return found


def rows_of(lines: list[dict]) -> dict[str, list[dict]]:
    """Lines of one group of scans by row."""
    rows: dict[str, list[dict]] = {}
    for line in lines:
        rows.setdefault(label(line), []).append(line)
    return rows


def table(lines: list[dict]) -> str:
    """One group of scans: a row for each method, the best of a column in bold."""
    rows = rows_of(lines)
    figures = {name: means(found) for name, found in rows.items()}
    text = [
        "| method | " + " | ".join(title for title, _, _ in COLUMNS.values()) + " | setting |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for name, found in rows.items():
        cells = []
        for key, (_, form, better) in COLUMNS.items():
            value = figures[name].get(key)
            if value is None:
                cells.append("")
                continue
            shown = form.format(value)
            values = [row[key] for row in figures.values() if key in row]
            best = better is not None and shown == form.format(better(values))
            cells.append(f"**{shown}**" if best else shown)
        note = found[0].get("note", "") if len(found) == 1 else ""
        remark = shown_setting(found[0]["setting"]) or note
        if note.startswith("diverged"):
            remark += ": diverged"
        text.append(f"| {name} | " + " | ".join(cells) + f" | {remark} |")
    return "\n".join(text)


def markdown(lines: list[dict]) -> str:
    """All groups of scans, each with its acceleration."""
    groups: dict[tuple, list[dict]] = {}
    for line in lines:
        groups.setdefault((line["acceleration"], line["scan"]), []).append(line)
    parts = []
    for (acceleration, scan), found in sorted(groups.items()):
        count = max(len(row) for row in rows_of(found).values())
        title = f"{scan}, {acceleration:g}x" + (f", mean of {count}" if count > 1 else "")
        parts.append(f"\n{title}\n\n{table(found)}")
    return "\n".join(parts)
