"""Read the labels of a mask to repair, and write labels into a file of the same format."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.reader import decode_mask
from histods.masks.writer import encode_mask
from histods.remedies.base import RefusedError, Repaired
from histods.run_lengths import find_runs, histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from histods.colours.colour_labels import Mask
    from histods.remedies.base import Source

LISTED = 8  # labels that are shown of a mask
LARGEST_BYTE = 255

_KINDS = {
    "gray8": "8-bit grey",
    "gray16": "16-bit grey",
    "palette": "palette",
    "bilevel": "1-bit",
    "rgb": "RGB",
    "rgba": "RGBA",
    "gray_alpha": "grey and alpha",
}


def read_mask(source: Source, colours: Mapping[int, tuple[int, int, int]] | None = None) -> Mask:
    """Decode a mask as the audit does.

    Raises:
        RefusedError: it is damaged, its values are not labels, or it has an orientation tag, which would be lost.
    """
    try:
        mask = decode_mask(source.content, colours)
    except NotAnIndexMaskError as error:
        raise RefusedError("the values are not labels", str(error)) from error
    except UnreadableFileError as error:
        raise RefusedError("the file cannot be read", str(error)) from error
    if mask.orientation != 1:
        raise RefusedError("an orientation tag turns the mask; repair 'turned' first")
    return mask


def write_mask(mask: Mask, labels: NDArray[np.uint8] | NDArray[np.uint16], *, palette: bool = False) -> Repaired:
    """Write labels as grey values, in 8 bits if they fit, in the format of the mask, and read them back.

    Args:
        mask: the mask as it was read.
        labels: [height, width] labels of the new file.
        palette: whether the new file may have a palette, as grey BMP files do.

    Raises:
        RefusedError: the format cannot store the labels.
    """
    narrow = labels.astype(np.uint8) if int(labels.max()) <= LARGEST_BYTE else labels
    content = _encode(narrow, mask.format)
    written = decode_mask(content)
    if not np.array_equal(written.labels, labels) or (written.kind == "palette" and not palette):
        raise RefusedError(f"a {mask.format} file does not hold these labels as grey values; export it as PNG")
    return Repaired(content, describe(mask.kind, mask.labels), describe(written.kind, written.labels))


def describe(kind: str, labels: NDArray[np.uint8] | NDArray[np.uint16]) -> str:
    """The storage and the labels of a mask, in a few words."""
    values = histogram(find_runs(labels))[0].tolist()
    shown = ", ".join(map(str, values[:LISTED])) + (", ..." if len(values) > LISTED else "")
    return f"{_KINDS.get(kind, kind)}: {shown}"


def kind_words(kind: str) -> str:
    """The storage of a mask in words."""
    return _KINDS.get(kind, kind)


def _encode(labels: NDArray[np.uint8] | NDArray[np.uint16], name: str) -> bytes:
    if name == "png":
        return encode_mask(labels)
    if name not in ("tiff", "bmp") or (name == "bmp" and labels.dtype != np.uint8):
        raise RefusedError(f"a {name} file cannot store the labels as grey values; export it as PNG")
    file = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if name == "tiff" else {}
    Image.fromarray(labels).save(file, format=name, **options)
    return file.getvalue()
