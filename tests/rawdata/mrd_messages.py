"""Messages of the MRD protocol, as bytes."""

import struct

import numpy as np

from mri_alps.rawdata.ismrmrd import kinds


def message(kind, body=b""):
    return struct.pack("<H", kind) + body


def text(kind, content):
    return message(kind, struct.pack("<I", len(content)) + content)


def acquisition_message(line):
    samples = np.ascontiguousarray(line.data, np.complex64).tobytes()
    return message(kinds.ACQUISITION, bytes(line.getHead()) + line.traj.tobytes() + samples)
