"""Tags of a TIFF file: how its first picture is stored, and where Pillow returns other values.

Pillow, which decodes the pixels, optimises for display: it keeps the high bytes of 16-bit colours, drops
channels beyond those of a colour, inverts grey whose 0 is white, scales 2- and 4-bit grey to 0..255,
reads signed bytes as unsigned ones, and rotates pictures. None of this may happen to labels.

Sources: TIFF 6.0; BigTIFF as libtiff defines it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import UnreadableFileError
from histods.images.header import check_pixels
from histods.images.tiff_pixels import check_deflated, check_parts
from histods.images.tiff_tags import Tags, read_directories

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRACTIONS = "fractions (floating point), which are not labels"
PILLOW_SPREAD = {2: 85, 4: 17}
"""Factor by which Pillow multiplies 2- and 4-bit grey, in PNG too, to fill 0..255 for display."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_CHANNELS, _PLANES, _EXTRA, _SAMPLE_FORMAT, _XMP = 277, 284, 338, 339, 700
_SUBFILE, _REDUCED, _TRANSPARENCY = 254, 1, 4
_OLD_SUBFILE, _OLD_REDUCED = 255, 2
_BIG_OFFSET, _LARGEST_ORIENTATION = 8, 8
_NO_TAG = b"\xff\xff"
_OLD_JPEG, _WEBP = 6, 50001
_DEFLATE = (8, 32946)
_WHITE_IS_0, _BLACK_IS_0, _RGB, _YCBCR = 0, 1, 2, 6
SIGNED, FLOATING = 2, 3
_SAMPLES = {1: "unsigned", 2: "signed", 3: "floating point", 5: "complex", 6: "complex"}
_COLOURS = {0: "grey, 0 is white", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB"}
_LABEL_COLOURS = (_WHITE_IS_0, _BLACK_IS_0, _RGB, _YCBCR)
_COLOUR_CHANNELS = {2: 3, 5: 4, 6: 3, 8: 3}
_ALPHA = {1, 2, 999}  # 999 is Corel Draw's
_COMPRESSIONS = {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", _WEBP: "WebP"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiff:
    """How the first picture of a TIFF file is stored.

    Attributes:
        width: pixels, as stored: the orientation is not applied.
        height: pixels, as stored.
        channels: number of samples per pixel.
        bits: the distinct numbers of bits of its samples, usually one.
        formats: the distinct kinds of its samples: 1 unsigned, 2 signed, 3 floating point.
        extra: meaning of the channels beyond those of the colour; 1 and 2 are transparency.
        photometric: 0 grey whose 0 is white, 1 grey, 2 RGB, 3 palette, ...
        compression: 1 for none.
        separate: whether each channel is stored separately.
        byte_order: `<` or `>`.
        big: whether it is a BigTIFF.
        end: bytes that the file must have to hold all pixels.
        pages: pictures in the file, without smaller copies of the first.
        orientation: 1 to 8; it is not applied.
        misleading: positions of the tags that make Pillow rotate or misread the pixels.
    """

    width: int
    height: int
    channels: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    extra: tuple[int, ...]
    photometric: int
    compression: int
    separate: bool
    byte_order: str
    big: bool
    end: int
    pages: int
    orientation: int
    misleading: tuple[int, ...]

    @property
    def decodable(self) -> bool:
        """Whether Pillow can decode the file; it may still refuse to open it."""
        plain = self.compression == 1
        # libtiff corrects the byte order of numbers; Pillow then swaps those that are not unsigned again.
        swapped = not plain and self.formats != (1,) and max(self.bits) > 8
        # Without libtiff Pillow reads single channels as if they had 8 bits.
        cut = plain and self.separate and self.channels > 1 and self.bits != (8,)
        return self.compression != _WEBP and not (self.byte_order == ">" and swapped) and not cut


@lru_cache(maxsize=1)  # requested by each reader of a file
def parse_tiff(content: bytes) -> Tiff:
    """Read the tags of the first picture of a TIFF file, recognised by its first four bytes.

    Raises:
        UnreadableFileError: the tags are damaged, contradict one another, or lie past the end.
    """
    try:
        directories = list(read_directories(content))
        return _interpret(
            directories[0], pages=1 + sum(_is_page(tags, directories[0]) for tags in directories[1:])
        )
    except (struct.error, ValueError, OverflowError) as error:
        raise UnreadableFileError("truncated or damaged: tags of the TIFF lie past its end") from error


def _is_page(tags: Tags, first: Tags) -> bool:
    """Whether a directory holds a separate picture: neither a smaller copy of the first nor its mask.

    Many writers of pyramids omit the tag that marks copies, so a smaller picture with the same proportions, up to
    a pixel, also counts as a copy.
    """
    if tags.value(_SUBFILE, 0) & (_REDUCED | _TRANSPARENCY) or tags.value(_OLD_SUBFILE, 0) == _OLD_REDUCED:
        return False
    width, height = tags.value(_WIDTH, 0), tags.value(_HEIGHT, 0)
    full_width, full_height = first.value(_WIDTH, 0), first.value(_HEIGHT, 0)
    if not (0 < width < full_width and 0 < height < full_height):
        return True
    return abs(width * full_height - height * full_width) > max(full_width, full_height)


def _interpret(tags: Tags, *, pages: int) -> Tiff:
    width, height = tags.value(_WIDTH, -1), tags.value(_HEIGHT, -1)
    if width < 0 or height < 0:
        raise UnreadableFileError("damaged: the TIFF does not say how many pixels it has")
    compression = tags.value(_COMPRESSION, 1)
    # The same defaults as in Pillow: they decide how it decodes, and so how to undo that.
    photometric = tags.value(_PHOTOMETRIC, _WHITE_IS_0) if tags.values(_PHOTOMETRIC).size == 1 else _WHITE_IS_0
    photometric = _YCBCR if compression == _OLD_JPEG else photometric
    channels = tags.value(_CHANNELS, 3 if compression == _OLD_JPEG else 1)
    if channels < 1:
        raise UnreadableFileError(f"damaged: the TIFF says that a pixel has {channels} channels")
    misleading = [tags.entries[_XMP]] if _XMP in tags.entries else []
    if tags.value(_ORIENTATION, 1) != 1:
        misleading.append(tags.entries[_ORIENTATION])
    if channels == 1 and tags.value(_PLANES, 1) != 1:  # Pillow then uses only the first letter of "I;16"
        misleading.append(tags.entries[_PLANES])
    check_pixels(width, height)
    bits = _different(tags.values(_BITS)[:channels])
    separate = tags.value(_PLANES, 1) == 2
    end = check_parts(
        tags,
        width=width,
        height=height,
        # The colours of YCbCr may be stored only for every fourth pixel.
        pixel_bits=min(bits) * (1 if separate or photometric == _YCBCR else channels),
        planes=channels if separate else 1,
        compression=compression,
    )
    return Tiff(
        width=width,
        height=height,
        channels=channels,
        bits=bits,
        formats=_different(tags.values(_SAMPLE_FORMAT)[:channels]),
        extra=tuple(tags.values(_EXTRA)[:channels].tolist()),
        photometric=photometric,
        compression=compression,
        separate=separate,
        byte_order=tags.order,
        big=tags.form.inline == _BIG_OFFSET,
        end=end,
        pages=pages,
        orientation=_orientation(tags),
        misleading=tuple(misleading),
    )


def check_checksums(content: bytes, tiff: Tiff) -> None:
    """Verify the checksums of a TIFF's pixels, if its compression has any.

    Raises:
        UnreadableFileError: the pixels are damaged.
    """
    if tiff.compression in _DEFLATE:
        bits = max(tiff.bits) * tiff.channels
        check_deflated(next(read_directories(content)), width=tiff.width, height=tiff.height, pixel_bits=bits)


def _orientation(tags: Tags) -> int:
    value = tags.value(_ORIENTATION, 1)
    return value if 1 <= value <= _LARGEST_ORIENTATION else 1


def _different(values: NDArray[Any]) -> tuple[int, ...]:
    """The distinct values in order of occurrence; if there are none, 1, the default of both tags."""
    return tuple(dict.fromkeys(values.tolist())) or (1,)


def unsupported(tiff: Tiff) -> str:
    """The message that this variant of TIFF is not supported, with a description and advice."""
    plural = "channels" if tiff.channels != 1 else "channel"
    samples = "/".join(_SAMPLES.get(kind, f"sample format {kind}") for kind in tiff.formats)
    parts = [f"{tiff.channels} {plural} of {_bits(tiff)}, {samples}"]
    parts.append(_COLOURS.get(tiff.photometric, f"photometric interpretation {tiff.photometric}"))
    if tiff.compression != 1:
        name = _COMPRESSIONS.get(tiff.compression)
        parts.append(f"compression {tiff.compression}" + (f" = {name}" if name else ""))
    if tiff.separate:
        parts.append("separate channels")
    if tiff.byte_order == ">":
        parts.append("big-endian BigTIFF" if tiff.big else "big-endian")
    return f"a variant of TIFF that is not supported ({', '.join(parts)}); convert it to PNG or plain TIFF"


def why_no_labels(tiff: Tiff) -> str | None:
    """Why the values of a mask are not labels, if the tags tell; None if the pixels must be read."""
    if FLOATING in tiff.formats:
        return None if tiff.channels == 1 else FRACTIONS
    extra = tiff.channels - _COLOUR_CHANNELS.get(tiff.photometric, 1)
    alpha = extra == 1 and (tiff.extra[0] in _ALPHA if tiff.extra else tiff.photometric == _RGB)
    seen = tiff.bits == (8,) and tiff.photometric in _LABEL_COLOURS and (extra == 0 or alpha)
    if tiff.channels == 1 or seen:
        return None
    return f"{tiff.channels} channels of {_bits(tiff)}, which are not labels"


def as_stored(pixels: NDArray[Any], tiff: Tiff) -> NDArray[Any]:
    """Undo what Pillow did to the values of one channel; see the module's docstring."""
    bits = tiff.bits[0]
    grey = tiff.photometric in (_WHITE_IS_0, _BLACK_IS_0)
    if tiff.channels != 1 or not grey:
        return pixels
    if tiff.photometric == _WHITE_IS_0 and bits <= 8:
        pixels = ~pixels
    if bits in PILLOW_SPREAD:
        return pixels // PILLOW_SPREAD[bits]
    if bits == 8 and tiff.formats == (SIGNED,):
        return pixels.view(np.int8)
    if bits == 32 and tiff.formats == (1,):
        return pixels.view(np.uint32)
    return pixels


def without_misleading_tags(content: bytes, tiff: Tiff) -> bytes:
    """The file with the tags of `Tiff.misleading` renamed to one without a meaning."""
    if not tiff.misleading:
        return content
    plain = bytearray(content)
    for place in tiff.misleading:
        plain[place : place + 2] = _NO_TAG
    return bytes(plain)


def _bits(tiff: Tiff) -> str:
    return "/".join(map(str, tiff.bits)) + (" bit" if tiff.bits == (1,) else " bits")
