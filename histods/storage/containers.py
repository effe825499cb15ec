"""Structure of image files: format, size in pixels, and proof that the file is whole, without decoding.

Sources: PNG specification (third edition), JPEG (ITU T.81 annex B), WebP container specification,
TIFF 6.0, BMP (BITMAPFILEHEADER).
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from histods.errors import UnreadableFileError
from histods.storage.tiff import Tiff, parse_tiff, unsupported, without_misleading_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Largest image that is decoded, about 9,459 px square: Pillow's own bound against decompression bombs."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# JPEG start-of-frame markers carry the size; C4, C8 and CC in their range are something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
# By themselves, not through `Image.open`, which has a limit of its own and names memory addresses in its errors.
_PILLOW_READERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "tiff": TiffImageFile,
    "bmp": BmpImageFile,
    "webp": WebPImageFile,
}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors reach stderr past every setting


@dataclass(frozen=True, slots=True)
class Header:
    """Format of a file by its content, its size in pixels as stored, and how many pictures it holds.

    Pages are counted where labels could hide in them: in PNG (animated ones), TIFF and WebP.
    """

    format: str
    width: int
    height: int
    pages: int = 1


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
    position, size = 8, len(content)
    kinds: list[bytes] = []
    while position + 12 <= size:
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        kind = content[position + 4 : position + 8]
        if end > size:
            break
        if zlib.crc32(content[position + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            name = kind.decode() if kind.isalpha() else kind.hex(" ")
            raise UnreadableFileError(f"damaged: the checksum of PNG chunk {name} at byte {position} is wrong")
        if kind == b"IEND":
            if b"IDAT" not in kinds:
                raise UnreadableFileError("damaged: the PNG has no pixel data (no IDAT chunk)")
            check_pixels(width, height)
            return Header("png", width, height, _count_frames(kinds) if b"acTL" in kinds else 1)
        kinds.append(kind)
        position = end
    check_pixels(width, height)
    raise UnreadableFileError("truncated: the PNG has no end chunk (IEND)")


def _count_frames(kinds: list[bytes]) -> int:
    """Pictures of an animated PNG: its frames, and the one before them that is shown where nothing moves."""
    still = b"fcTL" not in kinds[: kinds.index(b"IDAT")]
    return kinds.count(b"fcTL") + still


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


def check_other(content: bytes, kind: str) -> tuple[Header, str]:
    """Prove that the data which the header of a TIFF, BMP or WebP file promises is there.

    Returns:
        The header, and Pillow's mode of the pixels.

    Raises:
        UnreadableFileError: the header is damaged or points past the end of the file, or no reader knows it.
    """
    with opened(content, kind) as image:
        if kind == "tiff":
            return check_tiff(content)[0], image.mode
        return Header(kind, *image.size, getattr(image, "n_frames", 1)), image.mode


def check_tiff(content: bytes) -> tuple[Header, Tiff]:
    """Read the tags of a TIFF file and prove that the pixels are where they say.

    Raises:
        UnreadableFileError: the tags are damaged or point past the end of the file.
    """
    tiff = parse_tiff(content)
    check_pixels(tiff.width, tiff.height)
    _check_length(tiff.end, content, "tiff")
    return Header("tiff", tiff.width, tiff.height, tiff.pages), tiff


@contextmanager
def opened(content: bytes, kind: str) -> Iterator[ImageFile]:
    """Open a file of any format with Pillow, quietly, and check its size and length; nothing is decoded yet.

    Raises:
        UnreadableFileError: the header is damaged, promises more than there is, or no reader knows it.
    """
    tiff = check_tiff(content)[1] if kind == "tiff" else None
    if tiff is not None and not tiff.decodable:
        raise UnreadableFileError(unsupported(tiff))
    plain = content if tiff is None else without_misleading_tags(content, tiff)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _PILLOW_READERS[kind](io.BytesIO(plain))
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises anything from SyntaxError to KeyError
            # The tags of a TIFF are sound: it is their combination that Pillow does not know.
            reason = f"damaged {kind} header: {one_line(error)}" if tiff is None else unsupported(tiff)
            raise UnreadableFileError(reason) from error
        with image:
            check_pixels(*image.size)
            if kind in ("bmp", "webp"):
                _check_length(_promised_bytes(image, content, kind), content, kind)
            yield image


def _check_length(promised: int, content: bytes, kind: str) -> None:
    if promised > len(content):
        raise UnreadableFileError(f"truncated: the {kind} header promises {promised - len(content):,} more bytes")


def _promised_bytes(image: ImageFile, content: bytes, kind: str) -> int:
    """Smallest file size that can hold the pixel data which the header of an opened image points to."""
    if kind == "webp":
        return int.from_bytes(content[4:8], "little") + 8
    bits = int.from_bytes(content[28:30], "little") or 8
    compressed = int.from_bytes(content[30:34], "little") not in (0, 3)
    pixels = 0 if compressed else (image.width * bits + 31) // 32 * 4 * image.height
    return int.from_bytes(content[10:14], "little") + pixels


def one_line(error: BaseException) -> str:
    """First line of an error's text without the final full stop, or the error's name where it has none.

    Semicolons become commas: what follows one in a reason is advice.
    """
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".").replace(";", ",") if text else type(error).__name__
