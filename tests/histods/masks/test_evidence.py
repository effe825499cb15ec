"""Evidence that values are not labels: lossy storage, pictures, shuffled greys; and objects are counted."""

from __future__ import annotations

import io
import struct
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.colours.colour_labels import labels_from_pixels
from histods.images.reader import decode_mask
from histods.masks.evidence import count_objects, is_white_zero, lossy_storage, why_not_labels
from histods.run_lengths import find_runs, histogram
from histods.synthetic.tissue import make_patch
from tests.histods.checks.mask_files import palette_image, photograph, pillow, regions, tiff

if TYPE_CHECKING:
    from histods.colours.colour_labels import Mask

GREY = regions(0, (0, 1, 2))


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (pillow(photograph(0), "WEBP", quality=50), "lossy WebP"),
        (pillow(photograph(0), "WEBP", lossless=True), None),
        (tiff(photograph(0), compression="jpeg", photometric="rgb"), "JPEG inside TIFF"),
        (tiff(GREY, compression="jpeg2000", compressionargs={"reversible": True}), None),
        (tiff(GREY, compression="jpeg2000", compressionargs={"level": 30}), "lossy JPEG 2000 inside TIFF"),
        (tiff(GREY, compression="deflate"), None),
        (pillow(GREY), None),
        (pillow(GREY, "JPEG"), None),  # whose format tells
        (b"", None),
        (b"II*\0", None),
        (b"RIFF\0\0\0\0WEBP", None),
        (b"RIFF" + struct.pack("<I", 99) + b"WEBPVP8X" + struct.pack("<I", 2**32 - 1), None),
    ],
)
def test_lossy_compression_inside_a_container_is_named(content: bytes, how: str | None) -> None:
    assert lossy_storage(content) == how


def test_a_lossy_part_is_found_behind_parts_of_odd_length_but_not_inside_others() -> None:
    def riff(*parts: tuple[bytes, bytes]) -> bytes:
        body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in parts)
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body

    assert lossy_storage(riff((b"ODD ", b"abc"), (b"VP8 ", b""))) == "lossy WebP"
    assert lossy_storage(riff((b"META", b"VP8 \0\0\0\0"), (b"VP8L", b""))) is None


def test_grey_whose_0_is_white_is_told_by_the_tags() -> None:
    assert is_white_zero(tiff(GREY, photometric="miniswhite"))
    assert not is_white_zero(tiff(GREY, photometric="minisblack"))


def why(mask: Mask) -> str | None:
    runs = find_runs(mask.labels)
    return why_not_labels(mask, *histogram(runs), runs)


def grey(pixels: np.ndarray) -> Mask:
    return labels_from_pixels(pixels, "gray8", "png", None, nearest=False)


def test_a_photograph_is_told_from_masks_of_many_labels() -> None:
    found = why(grey(photograph(3)[..., 1].copy()))
    assert found is not None
    assert "as in a photograph; put the mask in place of this picture" in found
    many = regions(1, tuple(range(60)), height=200, width=200, smooth=3)
    assert why(grey(many)) is None
    noise = np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8)
    assert why(grey(noise)) is None  # few labels, however they are spread
    assert why(grey(np.zeros((1, 1), np.uint8))) is None


def stored_as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(pillow(pixels, "JPEG", quality=quality))))


def test_small_regions_stored_as_jpeg_are_told_from_photographs() -> None:
    """Masks of 64 to 128 pixels have regions too small for areas; by areas alone, a sixth would be taken."""
    taken: dict[str, list[bool]] = {"mask": [], "photograph": []}
    for number, size in product(range(40), (64, 96, 128)):
        patch = make_patch(5, number, size=size, slide=number % 8 + 1)
        far = np.array([2, 50, 26, 10, 41, 18], np.uint8)
        labels = far[np.searchsorted(np.unique(patch.mask), patch.mask) % len(far)]
        taken["mask"].append(why(grey(stored_as_jpeg(labels, 75))) is not None)
        shades = patch.image[..., 1].astype(float)
        for picture in (shades, 255 * (shades / 255) ** 2.5, 1.5 * (shades - shades.min())):
            pixels = np.clip(picture, 0, 255).astype(np.uint8)
            taken["photograph"] += [why(grey(one)) is not None for one in (pixels, stored_as_jpeg(pixels, 75))]
    assert np.mean(taken["mask"]) <= 0.05
    assert np.mean(taken["photograph"]) >= 0.98


@settings(max_examples=40, deadline=None)
@given(st.permutations([0, 40, 80, 120, 160]), st.booleans())
def test_greys_of_a_palette_rise_or_fall_with_their_indices_or_are_told(greys: list[int], coloured: bool) -> None:
    colours: list[Any] = [(value, value, value) for value in greys]
    if coloured:
        colours.append((200, 0, 0))  # a palette that somebody designed
    mask = decode_mask(pillow(palette_image(np.arange(5, dtype=np.uint8).reshape(1, 5), colours)))
    found = why(mask)
    if coloured or greys in (sorted(greys), sorted(greys, reverse=True)):
        assert found is None
    else:
        assert found is not None
        assert f"go up and down ({', '.join(map(str, greys))})" in found


def test_objects_are_counted_by_regions_of_one_label() -> None:
    """Three discs, of which two touch, a thin ring, a speck and the ground; held against what was drawn."""
    labels = np.zeros((60, 90), np.uint16)
    rows, columns = np.mgrid[:60, :90]
    for number, (row, column) in enumerate([(15, 15), (15, 34), (45, 70)], 1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= 100] = 1000 + number
    distance = (rows - 42) ** 2 + (columns - 20) ** 2
    labels[(distance <= 196) & (distance >= 121)] = 7
    labels[58, 88] = 9
    runs = find_runs(labels)
    found = count_objects(labels, runs)
    assert (found.blobs, found.compact) == (4, 3)
    flat = labels.ravel()
    assert found.ground_runs == 1 + int(((flat[1:] == 0) & (flat[:-1] != 0)).sum())
    empty = np.zeros((5, 5), np.uint8)
    assert count_objects(empty, find_runs(empty))[:2] == (0, 0)
    one = np.full((1, 9), 3, np.uint8)
    assert count_objects(one, find_runs(one))[:2] == (0, 0)
