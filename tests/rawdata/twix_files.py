"""Small Siemens raw data (twix), written byte by byte as VD and VB software does."""

import struct

import numpy as np

FLAGS = {
    "ACQEND": 0,
    "RTFEEDBACK": 1,
    "SYNCDATA": 5,
    "PHASCOR": 21,
    "PATREFSCAN": 22,
    "PATREFANDIMASCAN": 23,
    "REFLECT": 24,
    "NOISEADJSCAN": 25,
}
COUNTERS = ("Lin", "Ave", "Sli", "Par", "Eco", "Phs", "Rep", "Set", "Seg")


def line(samples, *flags, center=None, channels=None, **fields):
    """One line: complex (coil, sample), counters and other fields by name."""
    center = samples.shape[-1] // 2 if center is None else center
    channels = tuple(range(len(samples))) if channels is None else tuple(channels)
    return {"samples": samples, "flags": flags, "center": center, "channels": channels, **fields}


def _mask(entry):
    return sum(1 << FLAGS[name] for name in entry["flags"])


def _counters(entry):
    return [entry.get(name, 0) for name in COUNTERS] + [0] * 5


def _slice(entry):
    return struct.pack(
        "<7f", *entry.get("position", (0, 0, 0)), *entry.get("quaternion", (1, 0, 0, 0))
    )


def _vd(entry):
    samples = np.asarray(entry["samples"], "<c8")
    n_coils, n_samples = samples.shape
    length = 192 + n_coils * (32 + 8 * n_samples)
    head = struct.pack("<IiIIIHHiiii", length, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    head += struct.pack("<QHH", _mask(entry), n_samples, n_coils)
    head += struct.pack("<14H", *_counters(entry))
    head += struct.pack("<HHHHfIHH", *_rest(entry)) + _slice(entry)
    head += bytes(2 * 28) + struct.pack("<HHI", 0, 0, 0)
    assert len(head) == 192
    body = b""
    for channel, values in zip(entry["channels"], samples, strict=True):
        body += struct.pack("<IiIiIIHHI", 32 + 8 * n_samples, 1, 1, 0, 0, 0, channel, 0, 0)
        body += values.tobytes()
    return head + body


def _rest(entry):
    pre, post = entry.get("cut", (0, 0))
    return (
        pre,
        post,
        entry["center"],
        0,
        0.0,
        0,
        entry.get("CenterLin", 0),
        entry.get("CenterPar", 0),
    )


def _vb(entry):
    samples = np.asarray(entry["samples"], "<c8")
    n_coils, n_samples = samples.shape
    data = b""
    for channel, values in zip(entry["channels"], samples, strict=True):
        head = struct.pack("<IiIII", 128 + 8 * n_samples, 1, 1, 0, 0)
        head += struct.pack("<QHH", _mask(entry), n_samples, n_coils)
        head += struct.pack("<14H", *_counters(entry)) + struct.pack("<HHHHfIHH", *_rest(entry))
        head += bytes(16) + _slice(entry) + struct.pack("<HH", channel, 0)
        assert len(head) == 128
        data += head + values.tobytes()
    return data


def sync(length=1024):
    """What scanners write beside lines: data that are no samples of k-space."""
    return bytes(struct.pack("<I", length) + bytes(36) + struct.pack("<Q", 1 << 5)).ljust(
        length, b"\7"
    )


def protocol(base, phase, view, partitions=1, os=2.0, dwell_ns=5000, name="gre", more=""):
    """The two buffers of a protocol that matter."""
    is_3d = partitions > 1
    assigned = {
        "sKSpace.lBaseResolution": base,
        "sKSpace.lPhaseEncodingLines": phase,
        "sKSpace.lPartitions": partitions,
        "sKSpace.ucDimension": "0x4" if is_3d else "0x2",
        "sKSpace.ucTrajectory": "0x1",
        "sSliceArray.asSlice[0].dReadoutFOV": view[0],
        "sSliceArray.asSlice[0].dPhaseFOV": view[1],
        "sSliceArray.asSlice[0].dThickness": view[2],
        "sRXSPEC.alDwellTime[0]": dwell_ns,
        "tProtocolName": f'"{name}"',
    }
    lines = "\n".join(f"{key}\t = \t{value}" for key, value in assigned.items())
    text = f"### ASCCONV BEGIN object=MrProtDataImpl ###\n{lines}\n{more}### ASCCONV END ###\n"
    meas = f'<ParamDouble."flReadoutOSFactor">  {{ <Precision> 6 {os} }}\n'
    meas += '<ParamString."tPatientPosition">  { "HFS" }\n'
    return {"Meas": meas, "MeasYaps": text}


def _header(buffers):
    body = b"".join(
        name.encode() + b"\0" + struct.pack("<I", len(text)) + text.encode("latin1")
        for name, text in buffers.items()
    )
    length = 8 + len(body)
    length += -length % 32
    return (struct.pack("<II", length, len(buffers)) + body).ljust(length, b"\0")


def write_vd(path, measurements, end=True):
    """Write (name, protocol, lines) one after the other, as multi-raid files have them."""
    content = bytearray(10240)
    struct.pack_into("<II", content, 0, 0, len(measurements))
    for number, (name, buffers, lines) in enumerate(measurements):
        start = len(content)
        content += _header(buffers)
        for entry in lines:
            content += entry if isinstance(entry, bytes) else _vd(entry)
        if end:
            content += _vd(line(np.zeros((1, 4)), "ACQEND"))[:192] + bytes(160)
        entry = struct.pack(
            "<IIQQ64s64s", number, 0, start, len(content) - start, b"x" * 9, name.encode()
        )
        content[8 + 152 * number : 8 + 152 * (number + 1)] = entry
        content += bytes(-len(content) % 512)
    path.write_bytes(content)
    return path


def write_vb(path, buffers, lines):
    """Write one measurement as VB software does."""
    content = _header(buffers) + b"".join(_vb(entry) for entry in lines)
    path.write_bytes(content + _vb(line(np.zeros((1, 16)), "ACQEND")))
    return path
