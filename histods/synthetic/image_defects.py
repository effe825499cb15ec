"""Images that viewers and training see differently, or whose size differs from most."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from histods.synthetic.files import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.synthetic.faults import Fault
    from histods.synthetic.pairing_defects import Defect
    from histods.synthetic.site import Site

_ORIENTATION = 274  # tag of EXIF and of TIFF


def _turned_image(orientation: int) -> Defect:
    """A JPEG with an orientation tag, as written by phones and viewers."""

    def plant(site: Site) -> list[Fault]:
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        site.write_mask()
        path = site.write_image(".jpg", _saved(Image.fromarray(site.patch.image), "JPEG", exif=exif.tobytes()))
        return [site.fault("turned", path, f"an image with the orientation tag {orientation}")]

    return plant


def _turned_mask(site: Site) -> list[Fault]:
    site.write_image()
    content = _saved(Image.fromarray(site.patch.mask), "TIFF", tiffinfo={_ORIENTATION: 6})
    return [site.fault("turned", site.write_mask(".tif", content), "a mask with the orientation tag 6")]


def _small(site: Site) -> list[Fault]:
    """An image without its mask, so that the demo can still train on patches of one size."""
    path = site.write_image(".jpg", encode(np.ascontiguousarray(site.patch.image[::2, ::2]), ".jpg"))
    note = "half the size, and its mask was never copied"
    return [site.fault(code, path, note) for code in ("missing_mask", "mixed_sizes")]


def _converted(note: str, convert: Callable[[Image.Image], bytes], suffix: str) -> Defect:
    """A pair whose image differs in training from what is stored."""

    def plant(site: Site) -> list[Fault]:
        site.write_mask()
        path = site.write_image(suffix, convert(Image.fromarray(site.patch.image)))
        return [site.fault("converted_image", path, note)]

    return plant


def _cmyk(image: Image.Image) -> bytes:
    return _saved(image.convert("CMYK"), "JPEG")


def _transparent(image: Image.Image) -> bytes:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return _saved(image, "PNG")


def _grey_of_16_bits(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) << 8
    return _saved(Image.fromarray(grey), "TIFF")


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


IMAGE_DEFECTS: tuple[Defect, ...] = (
    *(_turned_image(orientation) for orientation in (3, 6, 8)),
    _turned_mask,
    *[_small] * 3,
    _converted("a JPEG of four inks (CMYK)", _cmyk, ".jpg"),
    _converted("an image with varying opacity", _transparent, ".png"),
    _converted("a grey image of 16 bits", _grey_of_16_bits, ".tif"),
)
