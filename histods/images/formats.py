"""Structure of image files: which format it is, and proof that a TIFF, BMP or WebP is whole, without decoding.

PNG and JPEG have files of their own, `png.py` and `jpeg.py`.

Sources: WebP container specification, TIFF 6.0, BMP (BITMAPFILEHEADER).
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from histods.errors import UnreadableFileError
from histods.images.header import BILEVEL, Header, check_pixels, describe_animation
from histods.images.png import PNG_SIGNATURE
from histods.images.tiff import Tiff, parse_tiff, unsupported, without_misleading_tags
from histods.images.tiff_rgb import has_alpha, how_converted
from histods.images.webp import parse_webp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

# By themselves, not through `Image.open`, which has a limit of its own and names memory addresses in its errors.
_PILLOW_READERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "jpeg": JpegImageFile,
    "tiff": TiffImageFile,
    "bmp": BmpImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors reach stderr past every setting


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
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if not start:
        raise UnreadableFileError("the file is empty (0 bytes)")
    if start[:3] in (b"\xff\xd8", b"\x89PN") or PNG_SIGNATURE.startswith(start[:8]):
        raise UnreadableFileError("truncated: the file ends inside its signature")
    raise UnreadableFileError(f"not an image: it starts with {start[:8].hex(' ')}, no signature of a known format")


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
        if kind == "webp":
            webp = parse_webp(content)
            converted = describe_animation(webp.frames)
            return Header(kind, *image.size, webp.frames, webp.orientation, converted, webp.alpha), image.mode
        if kind == "gif":
            mode = image.mode  # of the first frame: those after it may be stored in colours
            return Header(kind, *image.size, 1 + _has_second_frame(image)), mode
        converted = BILEVEL if image.mode == "1" else None
        return Header(kind, *image.size, converted=converted, doubtful=image.mode == "RGBA"), image.mode


def check_tiff(content: bytes) -> tuple[Header, Tiff]:
    """Read the tags of a TIFF file and prove that the pixels are where they say.

    Raises:
        UnreadableFileError: the tags are damaged or point past the end of the file.
    """
    tiff = parse_tiff(content)
    _check_length(tiff.end, content, "tiff")
    doubtful = max(tiff.bits) > 8 or has_alpha(tiff)
    return (
        Header("tiff", tiff.width, tiff.height, tiff.pages, tiff.orientation, how_converted(tiff), doubtful),
        tiff,
    )


@contextmanager
def opened(content: bytes, kind: str) -> Iterator[ImageFile]:
    """Open a file of any format with Pillow, quietly, and check its size and length; nothing is decoded yet.

    Raises:
        UnreadableFileError: the header is damaged, promises more than there is, or no reader knows it.
    """
    if kind == "webp":
        parse_webp(content)  # refuses what would keep Pillow busy
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
            if kind == "gif" and content.rstrip(b"\0")[-1:] != b";":
                raise UnreadableFileError("truncated: the GIF has no end marker")
            if kind in ("bmp", "webp"):
                _check_length(_promised_bytes(image, content, kind), content, kind)
            yield image


def _has_second_frame(image: ImageFile) -> bool:
    """Whether a GIF is animated, without going through all of its frames."""
    try:
        image.seek(1)
    except EOFError:
        return False
    except Exception as error:
        raise UnreadableFileError(f"damaged gif data: {one_line(error)}") from error
    return True


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
