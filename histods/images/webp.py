"""Structure of WebP files: frames, transparency and orientation, without decoding.

Source: WebP container specification (RFC 9649).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from histods.errors import UnreadableFileError
from histods.images.exif import find_orientation

MAX_FRAMES = 1000
"""Maximum number of frames of an animation, since the decoder first scans all of them."""

_CHUNKS = 8 * MAX_FRAMES  # chunks other than frames
_ALPHA, _ANIMATED = 0x10, 0x02
_LOSSLESS_ALPHA = 0x10  # in the fifth byte of a lossless picture


class Webp(NamedTuple):
    """Number of pictures in a WebP file, whether they may be transparent, and the EXIF orientation."""

    frames: int
    alpha: bool
    orientation: int


def parse_webp(content: bytes) -> Webp:
    """Walk the chunks of a WebP file.

    Raises:
        UnreadableFileError: there are more than `MAX_FRAMES` frames, or too many other chunks.
    """
    position, frames, alpha, orientation, animated = 12, 0, False, 1, False
    for _ in range(_CHUNKS):
        if position + 8 > len(content):
            return Webp(max(frames, 1), alpha, orientation)
        kind = content[position : position + 4]
        (length,) = struct.unpack_from("<I", content, position + 4)
        start = position + 8
        if kind == b"VP8X" and length and start < len(content):
            alpha, animated = content[start] & _ALPHA != 0, content[start] & _ANIMATED != 0
        elif kind == b"VP8L" and not animated:
            alpha = alpha or (len(content) > start + 4 and content[start + 4] & _LOSSLESS_ALPHA != 0)
        elif kind == b"ANMF":
            frames += 1
            if frames > MAX_FRAMES:
                break
        elif kind == b"EXIF":
            orientation = find_orientation(content[start : start + length])
        position = start + length + length % 2
    raise UnreadableFileError(f"an animation of more than {MAX_FRAMES:,} pictures or parts: not decoded")
