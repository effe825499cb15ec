"""Structure and pixels of PNG files: every checksum is verified, and no row may be missing.

kornia-rs decodes 8 and 16 bits and rejects a file with missing rows. Fewer bits, and palettes, are passed to it as
8-bit grey with the same bytes per row, since filters and compression are independent of the meaning. It checks
neither the checksum at the end of the pixel data (Adler-32) nor extra rows. For that the data are inflated once
more, by libdeflate, which takes a tenth of the decoder's time, whereas zlib takes longer than the decoder. That is
8 to 11 % of the time of an audit for masks, and worth it: nothing else proves that labels are those that were
written (512x512 masks, microseconds, one core, one run on a busy machine):

| mask | kornia-rs | libdeflate | zlib |
| --- | --- | --- | --- |
| real, 1.9 KB | 305 | 36 | 805 |
| real, 2.4 KB | 456 | 24 | 695 |
| the same by OpenCV, 3.0 KB | 534 | 54 | 1,520 |
| all zero | 364 | 101 | 1,077 |

Sources: PNG specification (third edition), sections 5 to 11.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import deflate
import numpy as np
from kornia_rs import io as kornia
from PIL.PngImagePlugin import PngImageFile

from histods.errors import UnreadableFileError
from histods.images.exif import find_orientation
from histods.images.formats import PNG_SIGNATURE
from histods.images.header import BILEVEL, Header, check_pixels, describe_animation
from histods.images.tiff import PILLOW_SPREAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_CHUNKS = 100_000
"""Maximum number of chunks, which takes about 50 ms; the largest allowed image has fewer, of 8 KiB each."""
MAX_TEXT_BYTES = 1024 * 1024
"""Maximum text or colour profile in a compressed chunk, which other readers inflate."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Bytes per pixel -> colour type, bits and mode with which kornia-rs decodes it.
_DISGUISES = {
    1: (0, 8, "mono"),
    2: (0, 16, "mono"),
    3: (2, 8, "rgb"),
    4: (6, 8, "rgba"),
    6: (2, 16, "rgb"),
    8: (6, 16, "rgba"),
}
_BYTE = 8
_ALPHA, _PALETTE = 4, 3  # bit of the colour type; colour type
_TEXTS = frozenset({b"zTXt", b"iTXt", b"iCCP"})
_RAW_EXIF = frozenset({b"Raw profile type exif", b"Raw profile type APP1"})
_TEXT_START, _TEXT_RATIO = 4096, 64  # colour profiles and text compress to a half or a tenth
_INFLATE_BYTES = 1 << 20
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_png(content: bytes) -> Header:
    """Walk all chunks of a PNG file and verify each checksum, without inflating pixels.

    Raises:
        UnreadableFileError: a chunk is damaged or missing, or there are more than `MAX_CHUNKS`.
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
            _check_order(kinds, colour=content[25])
            return _interpret(content, width, height, kinds)
        kinds.append(kind)
        if len(kinds) > MAX_CHUNKS:
            raise UnreadableFileError(
                f"more than {MAX_CHUNKS:,} PNG chunks: not decoded (made to keep a reader busy?)"
            )
        position = end
    check_pixels(width, height)
    raise UnreadableFileError("truncated: the PNG has no end chunk (IEND)")


def _check_order(kinds: list[bytes], *, colour: int) -> None:
    """Reject files that other readers reject although each chunk is valid."""
    first, number = kinds.index(b"IDAT"), kinds.count(b"IDAT")
    if number > 1 and kinds[first : first + number].count(b"IDAT") != number:
        raise UnreadableFileError("damaged: the pixel data of the PNG (IDAT chunks) lie apart")
    if kinds.count(b"IHDR") != 1:
        raise UnreadableFileError("damaged: the PNG has several headers (IHDR chunks)")
    if colour == _PALETTE and b"PLTE" not in kinds:
        raise UnreadableFileError("damaged: the PNG of a palette has none (no PLTE chunk)")


def _interpret(content: bytes, width: int, height: int, kinds: list[bytes]) -> Header:
    depth, colour = content[24], content[25]
    if depth not in _DEPTHS.get(colour, ()):
        raise UnreadableFileError(f"damaged: PNG has no colour type {colour} of {depth} bits")
    if len(kinds) > 2 and not _TEXTS.isdisjoint(kinds):
        _check_texts(content)
    doubtful = depth == 16 or colour & _ALPHA != 0 or b"tRNS" in kinds
    pages = _count_frames(kinds) if b"acTL" in kinds else 1
    orientation = 1
    if b"eXIf" in kinds:
        orientation = find_orientation(next(_chunks(content, b"eXIf")))
    elif b"zTXt" in kinds or b"tEXt" in kinds:
        orientation = find_orientation(_raw_exif(content))
    converted = describe_animation(pages) or (BILEVEL if depth == 1 and colour == 0 else None)
    return Header("png", width, height, pages, orientation, converted, doubtful)


def _count_frames(kinds: list[bytes]) -> int:
    """Number of pictures of an animated PNG: its frames and any still picture before them."""
    still = b"fcTL" not in kinds[: kinds.index(b"IDAT")]
    return kinds.count(b"fcTL") + still


def _chunks(content: bytes, wanted: bytes) -> Iterator[bytes]:
    """Contents of all chunks of one kind, in a file whose chunks are valid."""
    position = 8
    while position + 12 <= len(content):
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if content[position + 4 : position + 8] == wanted:
            yield content[position + 8 : end - 4]
        position = end


def _check_texts(content: bytes) -> None:
    """Reject text that inflates to an excessive size, judged by how its first 4 KiB inflate."""
    for kind in sorted(_TEXTS):
        for chunk in _chunks(content, kind):
            text = _compressed_text(kind, chunk)
            start = zlib.decompressobj()
            try:
                if len(start.decompress(text[:_TEXT_START], _INFLATE_BYTES)) <= _TEXT_RATIO * _TEXT_START:
                    continue
                size = len(zlib.decompressobj().decompress(text, MAX_TEXT_BYTES + 1))
            except zlib.error:
                continue  # not inflated here
            if size > MAX_TEXT_BYTES:
                raise UnreadableFileError(
                    f"its {kind.decode()} chunk of {len(chunk):,} bytes inflates to more than "
                    f"{MAX_TEXT_BYTES:,} (decompression bomb?)"
                )


def _raw_exif(content: bytes) -> bytes:
    """EXIF data in hexadecimal, as ImageMagick stored them before PNG had a chunk for them; empty if none."""
    for kind in (b"zTXt", b"tEXt"):
        for chunk in _chunks(content, kind):
            name, _, text = chunk.partition(b"\0")
            if name not in _RAW_EXIF:
                continue
            try:
                if kind == b"zTXt":
                    text = zlib.decompressobj().decompress(text[1:], MAX_TEXT_BYTES)
                return bytes.fromhex("".join(text.decode("latin-1").split()[2:]))  # after a name and a length
            except (zlib.error, ValueError):
                continue
    return b""


def _compressed_text(kind: bytes, chunk: bytes) -> bytes:
    """The compressed part of a zTXt, iCCP or iTXt chunk; empty if it is uncompressed."""
    _, _, rest = chunk.partition(b"\0")
    if kind != b"iTXt":
        return rest[1:]
    return rest[2:].partition(b"\0")[2].partition(b"\0")[2] if rest[:1] == b"\1" else b""


def decode_png(content: bytes, header: Header) -> NDArray[Any]:
    """Samples of a PNG file as stored: grey values of few bits are not scaled, and palettes not applied.

    Args:
        content: a file that passed `check_png`.
        header: the result of `check_png`.

    Returns:
        [height, width] or, for several channels, [height, width, channels]; uint8, or uint16 for 16 bits.

    Raises:
        UnreadableFileError: the pixel data are damaged, or rows are missing.
    """
    depth, colour, interlaced = content[24], content[25], content[28] != 0
    if interlaced and depth < _BYTE:
        return _decode_interlaced(content, header)
    channels = _CHANNELS[colour]
    width = header.width if depth >= _BYTE else (header.width * depth + 7) // 8
    shown, bits, mode = _DISGUISES[max(1, channels * depth // 8)]
    plain = content
    if header.doubtful or (shown, bits) != (colour, depth):
        plain = _disguise(content, width, bits, shown)
    decode = kornia.decode_image_png_u8 if bits == _BYTE else kornia.decode_image_png_u16
    try:
        pixels: NDArray[Any] = decode(plain, (header.height, width), mode)
    except Exception as error:
        check_pixel_data(content, header)  # it raises the specific error
        raise UnreadableFileError(f"damaged PNG data: {str(error).strip().splitlines()[0]}") from error
    if depth < _BYTE:
        return _unpack(pixels[..., 0], depth, header.width)
    if channels == 2:
        pairs = pixels.astype(">u2").view(np.uint8) if depth == _BYTE else pixels.view(">u2").astype(np.uint16)
        return pairs.reshape(header.height, header.width, 2)
    return pixels[..., 0] if channels == 1 else pixels


def _disguise(content: bytes, width: int, bits: int, colour: int) -> bytes:
    """The same pixel data under another header, without chunks on how to show them."""
    fields = struct.pack(">IIBB", width, *struct.unpack_from(">I", content, 20), bits, colour) + content[26:29]
    parts = [(b"IHDR", fields), *((b"IDAT", chunk) for chunk in _chunks(content, b"IDAT")), (b"IEND", b"")]
    pieces = [PNG_SIGNATURE]
    for kind, data in parts:
        pieces += [len(data).to_bytes(4, "big"), kind, data, zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big")]
    return b"".join(pieces)


def _unpack(packed: NDArray[np.uint8], depth: int, width: int) -> NDArray[np.uint8]:
    """[height, bytes] with 1, 2 or 4 bits per sample -> [height, width]."""
    shifts = np.arange(_BYTE - depth, -1, -depth, dtype=np.uint8)
    samples = packed[..., None] >> shifts & np.uint8(2**depth - 1)
    return np.ascontiguousarray(samples.reshape(len(packed), -1)[:, :width])


def _decode_interlaced(content: bytes, header: Header) -> NDArray[np.uint8]:
    """Samples of an interlaced file of fewer than 8 bits, for which another header does not work."""
    check_pixel_data(content, header)
    depth = content[24]
    plain = _disguise(content, header.width, depth, 0)
    image = PngImageFile(io.BytesIO(plain))
    try:
        image.load()
    except Exception as error:
        raise UnreadableFileError("damaged PNG data") from error
    pixels = np.asarray(image).astype(np.uint8)
    return pixels // PILLOW_SPREAD.get(depth, 1)


def check_pixel_data(content: bytes, header: Header) -> None:
    """Inflate the pixel data of a PNG, and verify that they have exactly all rows and the right checksum.

    Raises:
        UnreadableFileError: rows are missing or extra, or the checksum is wrong.
    """
    depth, channels = content[24], _CHANNELS[content[25]]
    rows = [
        (range(top, header.height, down), (len(range(left, header.width, right)) * depth * channels + 7) // 8)
        for left, top, right, down in (_ADAM7 if content[28] else ((0, 0, 1, 1),))
    ]
    expected = sum(len(lines) * (1 + length) for lines, length in rows if length)
    data, found = b"".join(_chunks(content, b"IDAT")), 0
    if _is_whole(data, expected):
        return
    stream = zlib.decompressobj()  # it raises the specific error
    try:
        while data and not stream.eof and found <= expected:
            found += len(stream.decompress(data, _INFLATE_BYTES))
            data = stream.unconsumed_tail
    except zlib.error as error:
        what = "the checksum of its pixel data (Adler-32) is wrong" if "data check" in str(error) else str(error)
        raise UnreadableFileError(f"damaged PNG data: {what}") from error
    if found < expected:
        raise UnreadableFileError(
            f"damaged PNG data: {found:,} bytes of pixels, expected {expected:,}: rows are missing"
        )
    if found > expected:
        raise UnreadableFileError(f"damaged PNG data: more rows than the {header.height:,} of its header")
    if not stream.eof:
        raise UnreadableFileError("damaged PNG data: it ends without its checksum (Adler-32)")


def _is_whole(data: bytes, expected: int) -> bool:
    """Whether a zlib stream holds the expected bytes and ends with their checksum."""
    try:
        return len(deflate.zlib_decompress(data, expected)) == expected
    except (deflate.DeflateError, ValueError):
        return False


def read_palette(content: bytes) -> NDArray[np.uint8]:
    """Palette of a PNG, [entries, 3] RGB; empty if it has none."""
    flat = np.frombuffer(next(_chunks(content, b"PLTE"), b""), np.uint8)
    return flat[: len(flat) // 3 * 3].reshape(-1, 3)


def read_transparency(content: bytes) -> bytes | None:
    """The tRNS chunk of a PNG: opacity of palette entries, or the one transparent value; None without."""
    return next(_chunks(content, b"tRNS"), None)
