"""TIFF images as a viewer shows them: supported and rejected variants.

Sources: TIFF 6.0; TIFF Technical Note 3 for floating-point samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.images.header import BILEVEL, CMYK
from histods.images.rgb import Shown, check_high_bytes, join_reasons, show, show_pillow
from histods.images.tiff import FLOATING, SIGNED

if TYPE_CHECKING:
    from PIL import Image

    from histods.images.tiff import Tiff

_WHITE_IS_0, _GREY, _RGB, _CMYK = 0, 1, 2, 5
_LAB = (8, 9, 10)
_COLOUR_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_BYTE, _WIDE = 8, 16
_UNKNOWN_RANGE = "which have no range that every viewer agrees on; save it with 8 bits per channel"
_NOT_CONVERTED = "which are not converted; convert it to RGB, for example with"


def why_not_shown(tiff: Tiff) -> str | None:
    """Why an image cannot be shown correctly, with advice after "; "; None if it can."""
    if tiff.pages > 1:
        channel = tiff.channels == 1 and tiff.photometric in (_WHITE_IS_0, _GREY)
        what = " of one grey channel each" if channel else ""
        advice = (
            "merge them to RGB if they are red, green and blue, or " if channel and tiff.pages in (3, 4) else ""
        )
        return f"{tiff.pages} pages{what} in one file, expected one; {advice}keep the page that is meant"
    bits = max(tiff.bits)
    reasons = (
        (FLOATING in tiff.formats, f"floating-point values, {_UNKNOWN_RANGE}"),
        (SIGNED in tiff.formats, f"values with a sign, {_UNKNOWN_RANGE}"),
        (bits > _WIDE, f"values of {bits} bits, {_UNKNOWN_RANGE}"),
        (tiff.photometric in _LAB, f"CIELAB colours, {_NOT_CONVERTED} 'magick IN -colorspace sRGB OUT.png'"),
        (
            tiff.photometric == _CMYK and tiff.bits != (_BYTE,),
            f"CMYK colours of {bits} bits, {_NOT_CONVERTED} 'magick IN -colorspace sRGB -depth 8 OUT.png'",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def how_converted(tiff: Tiff) -> str | None:
    """How the pixels in training differ from those stored, if the tags tell."""
    inverted = "grey whose 0 is white, which training sees inverted, as viewers show it; store black as 0"
    extra = f"{tiff.channels} channels, of which training sees the colours; store RGB alone"
    grey = tiff.photometric == _WHITE_IS_0 and tiff.channels <= 2
    return join_reasons(
        BILEVEL if max(tiff.bits) == 1 and tiff.photometric in (_WHITE_IS_0, _GREY) else None,
        CMYK if tiff.photometric == _CMYK else None,
        inverted if grey and max(tiff.bits) > 1 else None,
        extra if tiff.channels > _COLOUR_CHANNELS.get(tiff.photometric, 3) and not has_alpha(tiff) else None,
    )


def has_alpha(tiff: Tiff) -> bool:
    """Whether pixels may be transparent; Pillow treats an unnamed fourth channel of RGB as opacity."""
    extra = tiff.channels - _COLOUR_CHANNELS.get(tiff.photometric, tiff.channels)
    return extra > 0 and (any(kind != 0 for kind in tiff.extra) if tiff.extra else tiff.photometric == _RGB)


def show_tiff(image: Image.Image, tiff: Tiff) -> Shown:
    """Convert a picture that Pillow decoded from a TIFF to what a viewer shows.

    Raises:
        UnreadableFileError: the intended brightness of its values is unclear.
    """
    bits = max(tiff.bits)
    if image.mode.startswith("I;16"):
        shown = show(np.asarray(image).astype(np.uint16), alpha=False, bits=bits)
        return Shown(255 - shown.pixels, shown.converted) if tiff.photometric == _WHITE_IS_0 else shown
    shown = show_pillow(image)
    if bits <= _BYTE:
        return shown
    return Shown(shown.pixels, join_reasons(check_high_bytes(np.asarray(image)[..., :3]), shown.converted))
