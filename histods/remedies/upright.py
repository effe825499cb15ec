"""`upright`: an image or mask is written as viewers show it, without its orientation tag.

Proof: sizes (see `orientation.py`), or the user's word. The new file is decoded and compared with the old one,
turned: PNG and TIFF files keep every pixel. JPEG files are turned by `jpegtran` of libjpeg-turbo, which moves the
blocks of coefficients and encodes nothing again; it refuses sizes that are not whole blocks.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.reader import decode_mask, decode_rgb
from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.orientation import check_fit, read_header, shown_size, without_tag

if TYPE_CHECKING:
    from histods.images.header import Header
    from histods.remedies.base import Source

_TRANSFORMS = {
    2: ("-flip", "horizontal"),
    3: ("-rotate", "180"),
    4: ("-flip", "vertical"),
    5: ("-transpose",),
    6: ("-rotate", "90"),
    7: ("-transverse",),
    8: ("-rotate", "270"),
}
_SECONDS = 60
_KEPT = ("dpi", "icc_profile")  # of the other data in a PNG or TIFF file
_TEXTS = (
    270,
    271,
    272,
    305,
    306,
    315,
    33432,
)  # TIFF tags: description, maker, model, software, time, artist, rights
NO_JPEGTRAN = (
    "turning a JPEG file without loss needs the program jpegtran (package libjpeg-turbo-progs); "
    "install it, or encode the files again with --remedy recode"
)
NOT_WHOLE = (
    "its size is not a multiple of the JPEG blocks, so that it cannot be turned without loss; "
    "to encode it again, use --remedy recode"
)
_PNG_DEPTH, _PNG_COLOUR, _DEEP = 24, 25, 16  # places in a PNG; bits per channel


def repair(source: Source) -> Repaired:
    """Turn the pixels as the tag says, without loss."""
    header, together = check(source)
    if header.format == "jpeg":
        content, kept = _turn_jpeg(source.content, header), "coefficients unchanged"
    else:
        content, kept = turn_lossless(source.content, header, is_mask=source.is_mask), "pixels unchanged"
    return repaired(header, content, kept)._replace(together=together)


def check(source: Source) -> tuple[Header, tuple[int, ...]]:
    """The header of a file that may be turned, and the places of partners that must be turned with it.

    Raises:
        RefusedError: it has no tag, or it is not certain that it fits its partner afterwards.
    """
    header = read_header(source.content)
    if header.orientation == 1:
        raise RefusedError("it has no orientation tag")
    return header, check_fit(source, header, upright=True)


def repaired(header: Header, content: bytes, kept: str) -> Repaired:
    """The result, once the new file has the right size and no tag."""
    new = read_header(content)
    if (new.width, new.height) != shown_size(header) or new.orientation != 1:
        raise RefusedError("the new file has another size or orientation than expected")
    before = f"{header.width}x{header.height}, tag {header.orientation}"
    return Repaired(content, before, f"{new.width}x{new.height}, no tag, {kept}")


def turn(pixels: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """[height, width, ...] pixels as stored -> as viewers show them."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def turn_lossless(content: bytes, header: Header, *, is_mask: bool) -> bytes:
    """Turn a PNG or TIFF file, and prove that all pixels are the same.

    Raises:
        RefusedError: it is of another format, or its pixels would not be kept.
    """
    if header.format not in ("png", "tiff") or header.pages > 1:
        raise RefusedError(f"a {header.format} file of this kind cannot be turned without loss; convert it to PNG")
    if header.format == "png" and content[_PNG_DEPTH] == _DEEP and content[_PNG_COLOUR] != 0:
        raise RefusedError("colours of 16 bits per channel cannot be turned here; use 'mogrify -auto-orient FILE'")
    file = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=[header.format.upper()]) as image:
            image.load()
            compression = image.info.get("compression")
            if compression in ("jpeg", "tiff_jpeg", "webp"):
                raise RefusedError("its pixels are stored as JPEG inside TIFF; use 'mogrify -auto-orient FILE'")
            turned = ImageOps.exif_transpose(image)
            turned.save(file, format=header.format, **_other_data(image, turned))
    except (OSError, ValueError, SyntaxError) as error:
        raise RefusedError("it cannot be turned", str(error)) from error
    new = file.getvalue()
    if not _same_pixels(content, new, header.orientation, is_mask=is_mask):
        raise RefusedError("its pixels would not all be kept; use 'mogrify -auto-orient FILE'")
    return new


def _other_data(image: Image.Image, turned: Image.Image) -> dict[str, Any]:
    """Options that keep what a PNG or TIFF file holds beside its pixels: texts, resolution, profile, EXIF."""
    options: dict[str, Any] = {name: image.info[name] for name in _KEPT if name in image.info}
    if isinstance(image, TiffImageFile):
        options["tiffinfo"] = {tag: image.tag_v2[tag] for tag in _TEXTS if tag in image.tag_v2}
        if (compression := image.info.get("compression")) is not None:
            options["compression"] = compression
    elif isinstance(image, PngImageFile):
        if len(exif := turned.getexif()):
            options["exif"] = exif
        options["pnginfo"] = PngInfo()
        for name, text in image.text.items():
            options["pnginfo"].add_itxt(name, text)
    return options


def _same_pixels(old: bytes, new: bytes, orientation: int, *, is_mask: bool) -> bool:
    """Whether a new file holds the pixels of the old one, turned; both are read by our own reader."""
    try:
        if is_mask:
            first, second = decode_mask(old), decode_mask(new)
            return first.kind == second.kind and np.array_equal(turn(first.labels, orientation), second.labels)
    except NotAnIndexMaskError:
        pass  # colours are compared as colours
    except UnreadableFileError:
        return False
    try:
        return np.array_equal(turn(decode_rgb(old), orientation), decode_rgb(new))
    except UnreadableFileError:
        return False


def _turn_jpeg(content: bytes, header: Header) -> bytes:
    program = shutil.which("jpegtran")
    if program is None:
        raise RefusedError(NO_JPEGTRAN)
    command = [program, "-copy", "all", "-perfect", *_TRANSFORMS[header.orientation]]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError("jpegtran failed", str(error)) from error
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        if "not perfect" in reason[0]:
            raise RefusedError(NOT_WHOLE)
        raise RefusedError("jpegtran failed", reason[0])
    return without_tag(done.stdout)


REMEDY = Remedy(
    name="upright",
    repairs=("turned",),
    summary="Turns pixels as the orientation tag says, without loss, and removes the tag.",
    repair=repair,
)
