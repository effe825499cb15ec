"""PNG: type and depth tell how values are stored; rows and checksum are verified before they are read."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.codecs import png
from tests.histods.images.made_png import CHANNELS, MODES, pixel_rows, write_png

KINDS = {
    (0, 1): "bilevel",
    (0, 16): "gray16",
    **{(0, depth): "gray8" for depth in (2, 4, 8)},
    **{(3, depth): "palette" for depth in (1, 2, 4, 8)},
    (2, 8): "rgb",
    (4, 8): "gray_alpha",
    (6, 8): "rgba",
}


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_kind_of_png_is_labels_or_refused(mode: tuple[int, int, bool]) -> None:
    colour, depth, _ = mode
    content = write_png(zlib.compress(pixel_rows(mode)), mode)
    header, kind = png.identify(content)
    assert kind == KINDS.get((colour, depth), "other")
    assert header == png.check(content)
    if kind == "other":
        with pytest.raises(
            NotAnIndexMaskError, match=f"^{CHANNELS[colour]} channels of 16 bits, which are not labels"
        ):
            png.read(content, header, kind)
        return
    values = png.read(content, header, kind)
    assert (values.pixels == 2**depth - 1).all()
    assert (values.palette is not None) == (colour == 3)


def test_a_palette_comes_with_its_indices() -> None:
    image = Image.fromarray(np.array([[0, 2, 1]], dtype=np.uint8), "P")
    image.putpalette([9, 9, 9, 1, 2, 3, 200, 0, 0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=2)
    header, kind = png.identify(buffer.getvalue())
    values = png.read(buffer.getvalue(), header, kind)
    assert values.pixels.tolist() == [[0, 2, 1]]
    assert values.palette is not None
    assert values.palette[:3].tolist() == [[9, 9, 9], [1, 2, 3], [200, 0, 0]]


def test_a_wrong_checksum_is_damage_to_every_function_that_decodes() -> None:
    mode = (0, 8, False)
    stream = zlib.compress(pixel_rows(mode))
    damaged = write_png(stream[:-1] + bytes([stream[-1] ^ 1]), mode)
    header, kind = png.identify(damaged)  # the structure is whole
    for decode in (png.decode, lambda content, known: png.read(content, known, kind)):
        with pytest.raises(UnreadableFileError, match="Adler-32"):
            decode(damaged, header)
