"""Check a folder of fastMRI files: headers, sizes, counts, and what is there.

Every file is opened as a reconstruction would open it: header, sizes, mask, padding, reference
images; with --deep every slice is read, which finds damage and values that are not finite. The
result of each file is a line of JSON in the report, written at once: a run that was interrupted
goes on after it, and only files that changed are looked at again.

    python data_scripts/verify_fastmri.py multicoil_val --expect 199 --report val.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from mri_alps.core.errors import MriAlpsError
from mri_alps.pipeline.inputs import find_scans
from mri_alps.rawdata import RawKSpace, read_raw


def stamp(path: Path, deep: bool) -> str:
    """What must be the same for a line of the report to hold."""
    status = path.stat()
    return f"{status.st_size}|{status.st_mtime_ns}|{'deep' if deep else 'header'}"


def load_report(report: Path) -> dict[str, dict]:
    """Return the last line for each file; lines that an interruption tore are left out."""
    found = {}
    for line in report.read_text().splitlines() if report.exists() else []:
        try:
            entry = json.loads(line)
            found[entry["file"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return found


def check(path: Path, deep: bool) -> dict:
    """Return what is in a file, or what is wrong with it."""
    entry: dict = {"file": path.name, "stamp": stamp(path, deep)}
    try:
        raw = read_raw(path)
        if raw.format != "fastmri":
            raise MriAlpsError(f"{path} is {raw.format}, expected fastMRI's layout")
        entry |= summarise(raw)
        for index in range(raw.n_slices) if deep else (0, raw.n_slices - 1):
            raw.read_slice(index)
            raw.read_reference(index)
        return entry | {"ok": True}
    except (MriAlpsError, OSError) as error:
        return entry | {"ok": False, "error": " ".join(str(error).split())}


def summarise(raw: RawKSpace) -> dict:
    """Return sizes and what the header says, as JSON holds them."""
    first, stop = raw.acquired_range
    return {
        "slices": raw.n_slices,
        "coils": raw.n_coils,
        "kspace": list(raw.shape),
        "image": list(raw.crop),
        "padding": [first, raw.shape[1] - stop],
        "undersampled": not bool(raw.mask[..., first:stop].all()),
        "reference": raw.provenance.get("reference"),
        "acquisition": raw.acquisition,
        "patient": str(raw.attributes.get("patient_id", "")),
        "warnings": list(raw.provenance.get("warnings", [])),
    }


def append(report: Path, entry: dict) -> None:
    """Add a line, on a line of its own whatever an interruption left."""
    torn = report.exists() and report.stat().st_size > 0 and report.read_bytes()[-1:] != b"\n"
    with report.open("a", encoding="utf-8") as stream:
        stream.write("\n" * torn + json.dumps(entry, sort_keys=True) + "\n")


def summary(entries: list[dict]) -> list[str]:
    """Return lines that say what the folder holds."""
    good = [entry for entry in entries if entry["ok"]]
    lines = [f"{len(good)} of {len(entries)} files are in order, "
             f"{sum(entry['slices'] for entry in good)} slices"]  # fmt: skip
    for what in ("acquisition", "coils", "kspace", "image", "padding", "reference"):
        counts = Counter(str(entry[what]) for entry in good)
        lines.append(f"  {what}: " + ", ".join(f"{k} ({n})" for k, n in sorted(counts.items())))
    lines += [f"  warning: {e['file']}: {text}" for e in good for text in e["warnings"]]
    lines += [f"  BAD: {entry['error']}" for entry in entries if not entry["ok"]]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if everything is in order."""
    description = (__doc__ or "").split("\n    python")[0]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of .h5 files")
    parser.add_argument("--report", type=Path, help="JSON lines; FOLDER.verify.jsonl if left out")
    parser.add_argument("--expect", type=int, help="number of files that there must be")
    parser.add_argument("--deep", action="store_true", help="read every slice")
    options = parser.parse_args(arguments)
    report = options.report or options.folder.with_name(options.folder.name + ".verify.jsonl")
    try:
        paths = find_scans([options.folder])
    except MriAlpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    known, entries = load_report(report), []
    for number, path in enumerate(paths, 1):
        entry = known.get(path.name)
        if entry is None or entry["stamp"] != stamp(path, options.deep):
            entry = check(path, options.deep)
            append(report, entry)
            print(f"[{number}/{len(paths)}] {path.name}: {'ok' if entry['ok'] else 'BAD'}",
                  flush=True)  # fmt: skip
        entries.append(entry)
    print("\n".join(summary(entries)))
    if options.expect is not None and len(paths) != options.expect:
        print(f"error: {len(paths)} files, expected {options.expect}: download the rest",
              file=sys.stderr)  # fmt: skip
        return 1
    return 0 if all(entry["ok"] for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
