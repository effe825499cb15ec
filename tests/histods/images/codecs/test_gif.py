"""Masks in GIF files of several encoders: grey levels where the palette is grey, else the palette's indices."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

import imagecodecs
import numpy as np
import pytest
import pyvips
from PIL import Image

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.reader import decode_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COLOURS = [255, 255, 255, 200, 0, 0, 0, 160, 0, 0, 0, 255]


def stripes(values: tuple[int, ...]) -> NDArray[np.uint8]:
    columns = np.repeat(values, 12).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(columns, (40, columns.size)))


def save(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "GIF", **options)
    return buffer.getvalue()


def by_vips(values: NDArray[np.uint8]) -> bytes:
    height, width = values.shape
    content: bytes = pyvips.Image.new_from_memory(values.tobytes(), width, height, 1, "uchar").gifsave_buffer()
    return content


ENCODERS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "pillow": lambda values: save(Image.fromarray(values)),
    "pillow, interlaced": lambda values: save(Image.fromarray(values), interlace=1),
    "libvips": by_vips,
    "imagecodecs": cast("Callable[[NDArray[np.uint8]], bytes]", imagecodecs.gif_encode),
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 2), (3, 7, 40)])
def test_a_grey_gif_holds_its_grey_levels(encoder: str, values: tuple[int, ...]) -> None:
    pixels = stripes(values)
    content = ENCODERS[encoder](pixels)
    stored = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    mask = decode_mask(content)
    assert mask.kind == "gray8"
    assert np.array_equal(mask.labels, stored)  # what an encoder that quantises grey has made of it
    if encoder.startswith("pillow"):
        assert np.array_equal(mask.labels, pixels)


def test_a_gif_of_colours_holds_the_indices_of_its_palette() -> None:
    image = Image.fromarray(stripes((0, 1, 2, 3)), "P")
    image.putpalette(COLOURS)
    mask = decode_mask(save(image, optimize=False))
    assert mask.kind == "palette"
    assert np.array_equal(mask.labels, stripes((0, 1, 2, 3)))


def test_an_animated_gif_is_no_mask() -> None:
    frames = [Image.fromarray(stripes((0, place))) for place in range(1, 5)]
    with pytest.raises(NotAnIndexMaskError, match="pages"):
        decode_mask(save(frames[0], save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("kept", [3, 12, 0.2, 0.5, 0.9, -1])
def test_a_truncated_gif_is_damaged(kept: float) -> None:
    content = save(Image.fromarray(np.random.default_rng(0).integers(0, 9, (40, 40)).astype(np.uint8)))
    end = int(kept * len(content)) if 0 < kept < 1 else int(kept)
    with pytest.raises(UnreadableFileError, match=r"truncated|damaged|not an image"):
        decode_mask(content[:end])


@pytest.mark.parametrize("greys", [(0, 1), (7, 7), (255, 0), (3, 200)])
def test_a_palette_of_greys_in_any_order_holds_greys(greys: tuple[int, int]) -> None:
    image = Image.fromarray(stripes((0, 1)), "P")
    image.putpalette([value for grey in greys for value in (grey,) * 3])
    content = save(image, optimize=False)
    mask = decode_mask(content)
    assert mask.kind == "gray8"
    assert np.array_equal(mask.labels, np.array(greys)[stripes((0, 1))])


def test_bytes_after_the_end_are_padding_only_if_they_are_zero() -> None:
    content = save(Image.fromarray(stripes((0, 1))))
    assert np.array_equal(decode_mask(content + bytes(100)).labels, stripes((0, 1)))
    with pytest.raises(UnreadableFileError, match="no end marker"):
        decode_mask(content + b"x")
