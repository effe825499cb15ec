"""Orientation of an image in its EXIF data, for all file formats.

Sources: EXIF 2.32 (CIPA DC-008), section 4.6.4; TIFF 6.0, whose directories EXIF uses.
"""

from __future__ import annotations

import struct

_ORIENTATION, _SHORT, _LONG = 274, 3, 4
_ENTRY_BYTES = 12
_LARGEST = 8


def find_orientation(exif: bytes) -> int:
    """Find the orientation in EXIF data, with or without the `Exif` signature in front.

    Reads at most the 65,535 entries that the first directory can have.

    Returns:
        1 to 8; 1 if the data are damaged or have none, as in viewers.
    """
    data = exif[6:] if exif.startswith(b"Exif\0") else exif
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for place in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            tag, kind = struct.unpack_from(order + "HH", data, place)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + {_SHORT: "H", _LONG: "I"}.get(kind, "B"), data, place + 8)
                return int(value) if 1 <= value <= _LARGEST else 1
    except struct.error:
        pass
    return 1
