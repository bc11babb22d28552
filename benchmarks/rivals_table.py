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


USUAL_SAMPLES = 4


def label(line: dict) -> str:
    """Name of a row: method, samples if not 4, evaluations of a sample, what it was tuned for."""
    count = f", {line['evaluations']}" if line["evaluations"] else ""
    n_samples = line.get("settings", [USUAL_SAMPLES])[0]
    if count and n_samples != USUAL_SAMPLES:
        count = f", {n_samples} x {line['evaluations']}"
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
        if values and len(values) == len(lines):
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


def summary(lines: list[dict]) -> str:
    """Means over all scans, a column for each acceleration; of samplers what was tuned for CRPS."""
    chosen = [line for line in lines if line.get("for") != "PSNR"]
    accelerations = sorted({line["acceleration"] for line in chosen})
    rows: dict[str, dict[float, list[dict]]] = {}
    for line in chosen:
        name = label({**line, "for": ""})
        rows.setdefault(name, {}).setdefault(line["acceleration"], []).append(line)
    most = {a: max(len(row.get(a, [])) for row in rows.values()) for a in accelerations}
    shown = " / ".join(f"{a:g}x" for a in accelerations)
    titles = [f"{title}, {shown}" for title, _, _ in COLUMNS.values()]
    text = ["| method | " + " | ".join(titles) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, by_acceleration in rows.items():
        cells = []
        for key, (_, form, _) in COLUMNS.items():
            parts = []
            for a in accelerations:
                found = by_acceleration.get(a, [])
                value = means(found).get(key) if len(found) == most[a] else None
                parts.append("" if value is None else form.format(value))
            cells.append(" / ".join(parts) if any(parts) else "")
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = ", ".join(f"{most[a]} at {a:g}x" for a in accelerations)
    return f"\nall scans ({counts})\n\n" + "\n".join(text)


SHORT = ("PSNR", "left_out", "CRPS", "coverage")


def by_scan(lines: list[dict]) -> str:
    """PSNR / left-out error / CRPS / coverage, a column for each group of scans."""
    chosen = [line for line in lines if line.get("for") != "PSNR"]
    groups = sorted({(line["scan"], line["acceleration"]) for line in chosen})
    rows: dict[str, dict[tuple, list[dict]]] = {}
    for line in chosen:
        group = line["scan"], line["acceleration"]
        rows.setdefault(label({**line, "for": ""}), {}).setdefault(group, []).append(line)
    titles = [f"{scan.partition('.')[0]}, {a:g}x" for scan, a in groups]
    text = ["| method | " + " | ".join(titles) + " |", "|---" * (len(groups) + 1) + "|"]
    for name, found in rows.items():
        cells = []
        for group in groups:
            figures = means(found.get(group, []))
            parts = [COLUMNS[key][1].format(figures[key]) for key in SHORT if key in figures]
            cells.append(" / ".join(parts))
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    heading = " / ".join(COLUMNS[key][0] for key in SHORT)
    return f"\n{heading}\n\n" + "\n".join(text)
