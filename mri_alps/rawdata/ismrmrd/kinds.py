"""The kinds of messages of the MRD protocol, by their identifiers, and what is fixed of them."""

from __future__ import annotations

CONFIG_FILE_BYTES = 1024
CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM = 1008, 1022, 1026
NAMES = {
    CONFIG_FILE: "configuration name",
    CONFIG_TEXT: "configuration",
    HEADER: "header",
    CLOSE: "close",
    TEXT: "text",
    ACQUISITION: "acquisition",
    IMAGE: "image",
    WAVEFORM: "waveform",
}
DATA = (ACQUISITION, IMAGE, WAVEFORM)
"""What a scan consists of, once its header has come."""
EMPTY = 0
"""Stands for acquisitions without samples, which have a limit of their own."""
IMAGE_TYPES = {
    1: "uint16",
    2: "int16",
    3: "uint32",
    4: "int32",
    5: "float32",
    6: "float64",
    7: "complex64",
    8: "complex128",
}
