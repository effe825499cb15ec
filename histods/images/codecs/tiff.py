"""TIFF: tags and strips by `histods.images.tiff`, pixels by Pillow if it returns them as stored."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.codecs.pillow import check_length, kind_of, load, opened, palette_of, stored
from histods.images.header import Header
from histods.images.tiff import (
    Tiff,
    as_stored,
    check_checksums,
    parse_tiff,
    unsupported,
    why_no_labels,
    without_misleading_tags,
)
from histods.images.tiff_rgb import has_alpha, how_converted, show_tiff, why_not_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageFile import ImageFile

    from histods.images.formats import Values
    from histods.images.rgb import Shown


def check(content: bytes) -> Header:
    """See `Codec.check`."""
    with _opened(content) as (_, tiff):
        header = _header(tiff)
    reason = why_not_shown(tiff)
    if reason is not None:
        raise UnreadableFileError(reason)
    return header


def identify(content: bytes) -> tuple[Header, str]:
    """See `Codec.identify`."""
    tiff = _parse(content)
    if why_no_labels(tiff) is not None:  # then Pillow may not even open it
        return _header(tiff), "other"
    with _opened(content) as (image, _):
        return _header(tiff), kind_of(image.mode)


def decode(content: bytes, header: Header) -> None:
    """See `Codec.decode`."""
    check_checksums(content, parse_tiff(content))
    show(content, header)


def show(content: bytes, _: Header) -> Shown:
    """See `Codec.show`."""
    with _opened(content) as (image, tiff):
        load(image, "tiff")
        return show_tiff(image, tiff)


def read(content: bytes, _: Header, kind: str) -> Values:
    """See `Codec.read`."""
    tiff = parse_tiff(content)
    reason = why_no_labels(tiff)
    if reason is not None:
        raise NotAnIndexMaskError(reason)
    check_checksums(content, tiff)
    with _opened(content) as (image, _tags):
        load(image, "tiff")
        pixels = as_stored(np.asarray(image), tiff)
        palette = palette_of(image) if kind == "palette" else None
    return stored(pixels, kind, palette)


def _parse(content: bytes) -> Tiff:
    """Parse the tags and check the location of the pixels."""
    tiff = parse_tiff(content)
    check_length(tiff.end, content, "tiff")
    return tiff


def _header(tiff: Tiff) -> Header:
    doubtful = max(tiff.bits) > 8 or has_alpha(tiff)
    return Header("tiff", tiff.width, tiff.height, tiff.pages, tiff.orientation, how_converted(tiff), doubtful)


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[ImageFile, Tiff]]:
    """The file opened by Pillow, and its tags."""
    tiff = _parse(content)
    if not tiff.decodable:
        raise UnreadableFileError(unsupported(tiff))
    # The tags are valid; Pillow may not support their combination.
    plain = without_misleading_tags(content, tiff)
    with opened(plain, TiffImageFile, lambda _: unsupported(tiff)) as image:
        yield image, tiff
