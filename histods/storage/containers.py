"""Structure of image files: format, size in pixels, and proof that the file is whole, without decoding.

Sources: PNG specification (third edition), JPEG (ITU T.81 annex B), WebP container specification,
TIFF 6.0, BMP (BITMAPFILEHEADER).
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image

from histods.errors import UnreadableFileError

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Largest image that is decoded, about 9,459 px square: Pillow's own bound against decompression bombs."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# JPEG start-of-frame markers carry the size; C4, C8 and CC in their range are something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_PILLOW_FORMATS = {"tiff": "TIFF", "bmp": "BMP", "webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Header:
    """Format of a file by its content, and its size in pixels."""

    format: str
    width: int
    height: int


def sniff(start: bytes) -> str:
    """Name the format from the first 12 bytes.

    Raises:
        UnreadableFileError: the bytes are of no supported format.
    """
    if start[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if start[:8] == PNG_SIGNATURE:
        return "png"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start[:2] == b"BM":
        return "bmp"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if not start:
        raise UnreadableFileError("the file is empty (0 bytes)")
    if start[:3] in (b"\xff\xd8", b"\x89PN") or PNG_SIGNATURE.startswith(start[:8]):
        raise UnreadableFileError("truncated: the file ends inside its signature")
    raise UnreadableFileError(f"not an image: it starts with {start[:8].hex(' ')}, no signature of a known format")


def check_pixels(width: int, height: int) -> None:
    """Refuse sizes that no patch has, before anything is decoded.

    Raises:
        UnreadableFileError: a side is 0, or there are more than `MAX_PIXELS`.
    """
    if width == 0 or height == 0:
        raise UnreadableFileError(f"its header says {width}x{height} pixels, expected at least 1x1")
    if width * height > MAX_PIXELS:
        raise UnreadableFileError(
            f"its header says {width}x{height} pixels, more than {MAX_PIXELS:,}: not decoded (decompression bomb?)"
        )


def check_png(content: bytes) -> Header:
    """Walk all chunks of a PNG file and verify each checksum; nothing is inflated.

    Raises:
        UnreadableFileError: a chunk is damaged or missing.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise UnreadableFileError("truncated: the PNG ends inside its header")
    width, height = struct.unpack_from(">II", content, 16)
    position, size, has_pixels = 8, len(content), False
    while position + 12 <= size:
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        kind = content[position + 4 : position + 8]
        if end > size:
            break
        if zlib.crc32(content[position + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            name = kind.decode("ascii", "backslashreplace")
            raise UnreadableFileError(f"damaged: the checksum of PNG chunk {name} at byte {position} is wrong")
        if kind == b"IEND":
            if not has_pixels:
                raise UnreadableFileError("damaged: the PNG has no pixel data (no IDAT chunk)")
            check_pixels(width, height)
            return Header("png", width, height)
        has_pixels = has_pixels or kind == b"IDAT"
        position = end
    check_pixels(width, height)
    raise UnreadableFileError("truncated: the PNG has no end chunk (IEND)")


def parse_jpeg(start: bytes) -> tuple[Header, int] | None:
    """Find the frame header of a JPEG in its first bytes.

    Returns:
        The header and the position after it, or None where `start` ends before the frame header.

    Raises:
        UnreadableFileError: the bytes are not a sequence of JPEG segments.
    """
    position, size = 2, len(start)
    while position + 4 <= size:
        if start[position] != 0xFF:
            raise UnreadableFileError(f"damaged: expected a JPEG marker at byte {position}")
        marker = start[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _STANDALONE_MARKERS:
            position += 2
        elif marker in _FRAME_MARKERS:
            if position + 9 > size:
                return None
            height, width = struct.unpack_from(">HH", start, position + 5)
            check_pixels(width, height)
            return Header("jpeg", width, height), position + 9
        elif marker in (0xD9, 0xDA):
            raise UnreadableFileError("damaged: the JPEG has no frame header before its pixel data")
        else:
            position += 2 + int.from_bytes(start[position + 2 : position + 4], "big")
    return None


def check_jpeg(content: bytes) -> Header:
    """Find the frame header of a whole JPEG file and its end marker after it.

    Bytes after the end marker are allowed: some cameras and scanners pad their files.

    Raises:
        UnreadableFileError: the header is missing, or the file ends before the end marker.
    """
    found = parse_jpeg(content)
    if found is None:
        raise UnreadableFileError("truncated: the JPEG ends inside its header")
    header, position = found
    if content.rfind(b"\xff\xd9", position) < 0:
        raise UnreadableFileError("truncated: the JPEG has no end marker")
    return header


def check_other(content: bytes, kind: str) -> Header:
    """Open a TIFF, BMP or WebP file with Pillow and prove that the data that its header promises is there.

    Raises:
        UnreadableFileError: the header is damaged or points past the end of the file.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[_PILLOW_FORMATS[kind]]) as image:
            width, height = image.size
            check_pixels(width, height)
            missing = _promised_bytes(image, content, kind) - len(content)
    except UnreadableFileError:
        raise
    except Exception as error:  # Pillow raises anything from SyntaxError to KeyError on damaged headers
        raise UnreadableFileError(f"damaged {kind} header: {one_line(error)}") from error
    if missing > 0:
        raise UnreadableFileError(f"truncated: the {kind} header promises {missing:,} more bytes")
    return Header(kind, width, height)


def _promised_bytes(image: Image.Image, content: bytes, kind: str) -> int:
    """Smallest file size that can hold the pixel data which the header of an opened image points to."""
    if kind == "webp":
        return int.from_bytes(content[4:8], "little") + 8
    if kind == "bmp":
        bits = int.from_bytes(content[28:30], "little") or 8
        compressed = int.from_bytes(content[30:34], "little") not in (0, 3)
        pixels = 0 if compressed else (image.width * bits + 31) // 32 * 4 * image.height
        return int.from_bytes(content[10:14], "little") + pixels
    tags = image.tag_v2  # type: ignore[attr-defined]  # TIFF: strips (273, 279) or tiles (324, 325)
    offsets = tags.get(273) or tags.get(324)
    lengths = tags.get(279) or tags.get(325)
    if not offsets or not lengths:
        raise UnreadableFileError("damaged: the TIFF does not say where its pixels are")
    return int(max(offset + length for offset, length in zip(offsets, lengths, strict=True)))


def one_line(error: BaseException) -> str:
    """First line of an error's text without the final full stop, or the error's name where it has none."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
