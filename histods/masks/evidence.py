"""Evidence of damage in decoded masks: lossy storage, inverted grey, pictures, unordered palettes, objects.

Everything here is derived from existing measurements, or measured only on rare masks: with many labels, palettes,
or TIFF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.colours.colour_counts import GREY_SPREAD, unpack
from histods.errors import UnreadableFileError
from histods.images.tiff import parse_tiff

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.colours.colour_counts import ColourCounts
    from histods.colours.colour_labels import Mask
    from histods.run_lengths import Runs

MIN_OBJECTS = 24
"""A mask with more labels than this may hold object numbers: its regions are counted."""

_PICTURE_LABELS, _PICTURE_RUN = 32, 4.0
_FEW_COLOURS, _FEW_COLOURS_RUN = 12, 2.5  # of a photograph reduced to few palette entries
_DITHERED_RUN = 1.6  # dithering leaves no areas, however frequent one value is
_SECOND_SHARE = 0.1  # of all pixels: in photographs only the first value may have more, which may be glass
_LONG_RUN = 8
# Share of pixels in long runs of values other than the most frequent one, which may be glass: photographs stay
# below 0.1 (even as JPEG, blurred, or half white); JPEG masks with regions at least 20 px wide start at 0.3.
_PICTURE_AREA = 0.15
_PEAKS = 0.01  # of all pixels, beside the most frequent value: photographs have none, unless they are very dark
_PEAK = 3.0  # as a multiple of the median of values around it
_PEAK_PIXELS = 9  # beyond that multiple, which chance explains where values are rare
_AROUND = 3  # values on either side
_OTHER_FILE = "put the mask in place of this picture"
_BLOB_PIXELS = 4  # smaller regions are specks, which are always compact
_BLOB_FILL = 0.4  # of its bounding box: a disc fills 0.79, an oblique ellipse of 1:3 fills 0.47
_TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 34892: "lossy JPEG", 50001: "WebP"}
_TIFF_JPEG_2000 = {33003, 33004, 33005, 34712}
_COD, _TRANSFORM = b"\xff\x52", 13  # the JPEG 2000 marker of the coding style, and the offset of the wavelet


def lossy_storage(content: bytes) -> str | None:
    """Name the lossy compression inside a TIFF or WebP file; None for lossless ones and for other formats.

    Sources: TIFF 6.0 and its technical notes; WebP container specification; ITU T.800 A.6.1 (JPEG 2000).
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "lossy WebP" if _has_chunk(content, b"VP8 ") else None
    if content[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        compression = parse_tiff(content).compression
    except UnreadableFileError:
        return None
    if compression in _TIFF_JPEG_2000:
        place = content.find(_COD)
        reversible = place >= 0 and content[place + _TRANSFORM : place + _TRANSFORM + 1] == b"\1"
        return None if reversible else "lossy JPEG 2000 inside TIFF"
    name = _TIFF_LOSSY.get(compression)
    return None if name is None else f"{name} inside TIFF"


def _has_chunk(content: bytes, wanted: bytes) -> bool:
    """Whether a RIFF file has a chunk of this kind at its top level."""
    place = 12
    while place + 8 <= len(content):
        if content[place : place + 4] == wanted:
            return True
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    return False


def is_white_zero(content: bytes) -> bool:
    """Whether a TIFF file stores grey whose 0 is white: its values are the opposite of what viewers show."""
    tiff = parse_tiff(content)
    return tiff.photometric == 0 and tiff.channels == 1


def why_not_labels(mask: Mask, labels: NDArray[np.uint16], pixels: NDArray[np.uint32], runs: Runs) -> str | None:
    """Explain why decoded values are not labels: a picture, or greys in another order than their indices.

    Args:
        mask: the decoded mask.
        labels: the values that occur, ascending.
        pixels: the pixels of each value.
        runs: runs of the values.
    """
    length = mask.labels.size / len(runs.lengths)
    many = len(labels) > _PICTURE_LABELS and length < _PICTURE_RUN
    few = mask.kind == "palette" and len(labels) >= _FEW_COLOURS and length < _FEW_COLOURS_RUN
    dithered = few and length < _DITHERED_RUN
    second_share = _SECOND_SHARE if many else 2 * _SECOND_SHARE
    if dithered or (
        (many or few)
        and not _has_areas(runs, pixels, second_share)
        and (mask.kind == "palette" or not _has_peaks(pixels))
    ):
        values = "palette entries" if mask.kind == "palette" else "values"
        return f"{len(labels)} {values} in runs of {length:.1f} pixels, as in a photograph; {_OTHER_FILE}"
    greys = mask.kind == "palette" and not _holds_colours(mask.palette)
    return _shuffled_greys(mask.colours) if greys and mask.colours else None


def _has_areas(runs: Runs, pixels: NDArray[np.uint32], second_share: float) -> bool:
    """Whether values other than the most frequent one fill areas, like labels, even after JPEG."""
    size = float(runs.lengths.sum())
    if np.partition(pixels, -2)[-2] >= second_share * size:
        return True
    long = runs.lengths >= _LONG_RUN
    areas = np.bincount(runs.labels[long], weights=runs.lengths[long], minlength=1)
    return float(areas.sum() - areas.max()) >= _PICTURE_AREA * size


def _has_peaks(pixels: NDArray[np.uint32]) -> bool:
    """Whether values other than the most frequent one stand out among their neighbours.

    Those of a photograph rise and fall smoothly. Labels stored as JPEG keep most of their pixels, and the values
    between them are rare. Masks of 64 to 128 pixels with small regions, of which `_has_areas` sees no areas, are
    found by this: 150 of 165 with labels far apart, about half with labels 1 apart. Of photographs (generated, and
    lung; as JPEG, blurred, stretched, equalised), 1 % have such peaks, and 15 % of those a quarter as bright.

    Args:
        pixels: the pixels of each value that occurs, by value; so a stretched photograph has no gaps.
    """
    counts = pixels.astype(np.float64)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(counts, _AROUND), 2 * _AROUND + 1)
    beyond = np.maximum(counts - _PEAK * np.median(around, axis=1) - _PEAK_PIXELS, 0)
    most = int(counts.argmax())
    beyond[max(0, most - 1) : most + 2] = 0
    return bool(beyond.sum() >= _PEAKS * counts.sum())


def _holds_colours(palette: NDArray[np.uint8] | None) -> bool:
    """Whether a palette has colours other than grey: then it was designed, and the order of its greys is meant."""
    return palette is not None and bool((np.ptp(palette, axis=1) > GREY_SPREAD).any())


def _shuffled_greys(counts: ColourCounts) -> str | None:
    """A message if the greys of a palette neither rise nor fall, so greys and indices contradict each other."""
    order = slice(None) if counts.indices is None else np.argsort(counts.indices)
    channels = unpack(counts.colours)[order]
    greys = channels[:, 1]  # green represents an almost grey colour as well as any channel
    steps = np.diff(greys)
    if np.ptp(channels, axis=1).max() > GREY_SPREAD or not ((steps < 0).any() and (steps > 0).any()):
        return None
    listed = ", ".join(map(str, greys[:8].tolist())) + (", ..." if greys.size > 8 else "")
    return (
        f"palette indices count up while their greys go up and down ({listed}); if the greys are the labels, "
        "write them out with 'magick IN.png -colorspace Gray -define png:color-type=0 OUT.png'"
    )


class Objects(NamedTuple):
    """Number of regions of one label each, of compact regions, and of runs of label 0."""

    blobs: int
    compact: int
    ground_runs: int


def count_objects(labels: NDArray[np.uint8] | NDArray[np.uint16], runs: Runs) -> Objects:
    """Count the connected regions of a mask with many labels, without a pass per label.

    A pixel belongs to a region if its right and lower neighbours have its label, so touching regions of different
    labels stay separate; regions of a few pixels are ignored.
    """
    import cv2  # takes a while to import, and few workers ever need it

    inner = np.zeros(labels.shape, dtype=np.uint8)
    here = labels[:-1, :-1]
    inner[:-1, :-1] = (here != 0) & (here == labels[:-1, 1:]) & (here == labels[1:, :-1])
    _, _, statistics, _ = cv2.connectedComponentsWithStats(inner, connectivity=4)
    regions = statistics[1:]
    area = regions[:, cv2.CC_STAT_AREA]
    boxes = regions[:, cv2.CC_STAT_WIDTH] * regions[:, cv2.CC_STAT_HEIGHT]
    seen = area >= _BLOB_PIXELS
    compact = seen & (area >= _BLOB_FILL * boxes)
    return Objects(int(seen.sum()), int(compact.sum()), int((runs.labels == 0).sum()))
