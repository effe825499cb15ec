"""Pixels become labels as they are stored or by their colours, and never by a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.colours.colour_counts import TRANSLUCENT
from histods.colours.colour_labels import OFF_PALETTE_LABEL, Mask, labels_from_pixels
from histods.errors import NotAnIndexMaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = {0: (255, 255, 255), 3: (200, 0, 0), 9: (0, 0, 200), 700: (0, 0, 0)}
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
DRAWN = hnp.arrays(np.uint16, SHAPES, elements=st.sampled_from(list(COLOURS)))
TABLE = np.zeros((701, 3), dtype=np.uint8)
for label, colour in COLOURS.items():
    TABLE[label] = colour


def read(pixels: NDArray[Any], kind: str, colours: dict[int, tuple[int, int, int]] | None = None) -> Mask:
    return labels_from_pixels(pixels, kind, "png", colours, nearest=False)


def with_alpha(colours: NDArray[np.uint8], alpha: list[list[int]] | int) -> NDArray[np.uint8]:
    return np.dstack([colours, np.broadcast_to(np.asarray(alpha, dtype=np.uint8), colours.shape[:2])])


@settings(max_examples=40, deadline=None)
@given(DRAWN, st.integers(1, 255))
def test_class_colours_are_read_exactly(labels: NDArray[np.uint16], opacity: int) -> None:
    for pixels, kind in ((TABLE[labels], "rgb"), (with_alpha(TABLE[labels], opacity), "rgba")):
        mask = read(pixels, kind, COLOURS)
        np.testing.assert_array_equal(mask.labels, labels)
        assert (mask.off_palette, mask.kind, mask.format) == (0, kind, "png")


@settings(max_examples=40, deadline=None)
@given(DRAWN, hnp.arrays(np.bool_, (12, 12)), st.integers(0, 99))
def test_other_colours_are_counted_and_get_the_nearest_label_only_if_asked(
    labels: NDArray[np.uint16], where: NDArray[np.bool_], seed: int
) -> None:
    """Held against a loop over the pixels."""
    other = where[: labels.shape[0], : labels.shape[1]]
    pixels = TABLE[labels]
    pixels[other] = np.random.default_rng(seed).integers(1, 199, (other.sum(), 3))  # none of the four colours
    nearest = labels_from_pixels(pixels, "rgb", "png", COLOURS, nearest=True)
    assert nearest.off_palette == other.sum()
    names, points = list(COLOURS), np.array(list(COLOURS.values()))
    for pixel, label in zip(pixels.reshape(-1, 3), nearest.labels.ravel().tolist(), strict=True):
        distances = np.square(points - pixel.astype(np.int64)).sum(axis=1)
        assert distances[names.index(label)] == distances.min()
    if 2 * other.sum() > other.size:
        with pytest.raises(NotAnIndexMaskError, match="of its pixels have colours that the labels file does not"):
            read(pixels, "rgb", COLOURS)
        return
    plain = read(pixels, "rgb", COLOURS)
    assert plain.off_palette == other.sum()
    np.testing.assert_array_equal(plain.labels, np.where(other, OFF_PALETTE_LABEL, labels))


def test_a_blended_edge_gets_the_label_nearest_to_its_stored_colour_though_it_is_no_colour() -> None:
    pixels = with_alpha(TABLE[np.array([[0, 0, 3, 3], [0, 0, 3, 3]])], 255)
    pixels[0, 2] = (190, 30, 30, 128)
    pixels[1, 1] = (255, 240, 240, 9)
    nearest = labels_from_pixels(pixels, "rgba", "png", COLOURS, nearest=True)
    assert nearest.labels.tolist() == [[0, 0, 3, 3], [0, 0, 3, 3]]
    assert nearest.off_palette == 2
    plain = read(pixels, "rgba", COLOURS)
    assert plain.labels.tolist() == [[0, 0, OFF_PALETTE_LABEL, 3], [0, OFF_PALETTE_LABEL, 3, 3]]
    assert plain.colours is not None
    assert dict(zip(plain.colours.colours.tolist(), plain.colours.pixels.tolist(), strict=True))[TRANSLUCENT] == 2


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, SHAPES), st.integers(1, 255))
def test_equal_channels_are_the_stored_values(grey: NDArray[np.uint8], opacity: int) -> None:
    triple = np.dstack([grey] * 3)
    for pixels, kind in (
        (grey, "gray8"),
        (grey.astype(np.uint16) * 257, "gray16"),
        (triple, "rgb"),
        (with_alpha(triple, opacity), "rgba"),
        (np.dstack([grey, np.full_like(grey, opacity)]), "gray_alpha"),
    ):
        mask = read(pixels, kind)
        np.testing.assert_array_equal(mask.labels, pixels if pixels.ndim == 2 else grey)
        assert mask.off_palette is None
        assert mask.labels.flags.c_contiguous


FOUR = np.array([[255, 255, 255], [200, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("used", "labels", "found"),
    [
        ([0, 1], {0: (255, 255, 255), 1: (200, 0, 0)}, None),
        ([0, 1], {0: (255, 255, 255), 3: (200, 0, 0)}, "palette index 1 has the colour of label 3"),
        ([0, 2, 3], {2: (0, 0, 0)}, None),  # index 3 is padding of the same colour
        ([0, 1], {7: (9, 9, 9)}, None),
        ([0, 0], {3: (200, 0, 0)}, None),  # index 1 is not used
    ],
)
def test_indices_are_labels_unless_their_colours_are_those_of_others(
    used: list[int], labels: dict[int, tuple[int, int, int]], found: str | None
) -> None:
    pixels = np.array([used], dtype=np.uint8)
    if found is None:
        mask = labels_from_pixels(pixels, "palette", "png", labels, nearest=False, palette=FOUR)
        assert mask.labels.tolist() == [used]
    else:
        with pytest.raises(NotAnIndexMaskError, match=found):
            labels_from_pixels(pixels, "palette", "png", labels, nearest=False, palette=FOUR)


RED_AND_WHITE = TABLE[np.array([[0, 3], [3, 3]])]


@pytest.mark.parametrize(
    ("pixels", "kind", "found"),
    [
        (RED_AND_WHITE, "rgb", "^2 RGB colours and no labels file"),
        (with_alpha(RED_AND_WHITE, [[0, 0], [255, 255]]), "rgba", "2 colours lie under full transparency"),
        (with_alpha(RED_AND_WHITE, [[255, 0], [255, 255]]), "rgba", "#c80000 is visible, and also lies under"),
        (with_alpha(RED_AND_WHITE, 0), "rgba", "every pixel is fully transparent"),
        (with_alpha(np.zeros_like(RED_AND_WHITE), [[1, 2], [3, 3]]), "rgba", "transparency varies from 1 to 3"),
        (np.array([[[1, 255], [2, 9]]], np.uint8), "gray_alpha", "transparency that varies from 9 to 255$"),
    ],
)
def test_labels_in_doubt_are_refused(pixels: NDArray[np.uint8], kind: str, found: str) -> None:
    with pytest.raises(NotAnIndexMaskError, match=found):
        read(pixels, kind)


def test_an_empty_drawing_is_its_background() -> None:
    assert read(np.zeros((2, 3, 4), np.uint8), "rgba").labels.tolist() == [[0] * 3] * 2
    assert read(np.full((2, 3, 4), [255, 255, 255, 0], np.uint8), "rgba", COLOURS).labels.tolist() == [[0] * 3] * 2
