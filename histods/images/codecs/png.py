"""PNG: structure and verification of the pixel data by `histods.images.png`, pixels by kornia-rs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.images.codecs.pillow import whole_labels
from histods.images.formats import Values
from histods.images.png import check_pixel_data, check_png, decode_png, read_palette
from histods.images.rgb import show_png

if TYPE_CHECKING:
    from histods.images.header import Header

_KINDS = {
    (0, 1): "bilevel",
    (0, 2): "gray8",
    (0, 4): "gray8",
    (0, 8): "gray8",
    (0, 16): "gray16",
    (3, 1): "palette",
    (3, 2): "palette",
    (3, 4): "palette",
    (3, 8): "palette",
    (2, 8): "rgb",
    (4, 8): "gray_alpha",
    (6, 8): "rgba",
}
check = check_png
show = show_png


def identify(content: bytes) -> tuple[Header, str]:
    """See `Codec.identify`."""
    return check_png(content), _KINDS.get((content[25], content[24]), "other")


def decode(content: bytes, header: Header) -> None:
    """See `Codec.decode`."""
    check_pixel_data(content, header)
    show_png(content, header)


def read(content: bytes, header: Header, kind: str) -> Values:
    """See `Codec.read`; verifies rows and checksum, at the cost given in `histods.images.png`."""
    check_pixel_data(content, header)
    pixels = decode_png(content, header)
    if kind == "palette":
        return Values(pixels, kind, read_palette(content))
    return Values(whole_labels(pixels, content[24]) if kind == "other" else pixels, kind)
