"""The appearance of pixels: statistics as counted one by one; masks, photographs and blank patches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.masks.looks import SOLID_SHARE, Look, look_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8).map(lambda shape: (*shape, 3)),
    elements=st.sampled_from([0, 1, 160, 255]),
)


@settings(max_examples=60, deadline=None)
@given(PIXELS)
def test_statistics_are_those_of_a_plain_count(pixels: NDArray[np.uint8]) -> None:
    rows = [[tuple(pixel) for pixel in row] for row in pixels.tolist()]
    flat = [pixel for row in rows for pixel in row]
    counts = {colour: flat.count(colour) for colour in flat}
    solid = [colour for colour, count in counts.items() if count >= max(SOLID_SHARE * len(flat), 1)]
    equal = [one == other for row in rows for one, other in pairwise(row)]
    look = look_at(pixels)
    assert look.colours == len(counts)
    assert look.flat == (pytest.approx(sum(equal) / len(equal)) if equal else 1.0)
    assert look.solid == pytest.approx(sum(counts[colour] for colour in solid) / len(flat))
    assert look.contrast == max(max(channel) - min(channel) for channel in zip(*solid, strict=True))
    assert (look.darkest, look.brightest) == (pixels.min(), pixels.max())
    assert look.grey == all(len(set(colour)) == 1 for colour in counts)
    assert not (look.is_mask and look.is_photograph)
    assert not (look.is_blank and (look.is_mask or look.is_photograph))


def test_what_is_seen_depends_on_neither_flips_nor_the_order_of_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    for other in (pixels[::-1], pixels[:, ::-1], pixels[..., ::-1]):
        assert look_at(other) == look_at(pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_pictures_of_one_row_or_column_have_a_look(size: tuple[int, int]) -> None:
    look = look_at(np.full((*size, 3), 7, np.uint8))
    assert (look.colours, look.flat, look.solid, look.contrast) == (1, 1.0, 1.0, 0)
    assert look.is_mask


def test_many_colours_none_of_which_is_solid_have_no_contrast() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.meshgrid(np.arange(64), np.arange(64))
    look = look_at(pixels)
    assert (look.colours, look.solid, look.contrast, look.is_photograph) == (4096, 0.0, 0, True)


BASE = Look(colours=5, flat=0.95, solid=1.0, contrast=200, darkest=0, brightest=255, grey=False)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "mask"),
        ({"darkest": 200, "brightest": 255}, "blank"),
        ({"darkest": 150}, "mask"),
        ({"colours": 5000, "solid": 0.95}, "mask"),  # drawn, with blended edges
        ({"colours": 5000, "solid": 0.95, "contrast": 20}, "photograph"),
        ({"colours": 5000, "solid": 0.5}, "photograph"),
        ({"colours": 5000, "flat": 0.65, "solid": 0.87}, "photograph"),
        ({"colours": 90, "flat": 0.65, "solid": 0.87, "grey": True}, "mask"),
        ({"colours": 30, "flat": 0.3, "solid": 0.9}, None),  # a dark photograph, perhaps
        ({"colours": 9, "flat": 0.1}, "mask"),  # a label drawn for every pixel
    ],
)
def test_a_picture_is_a_mask_a_photograph_blank_or_in_doubt(change: dict[str, float], kind: str | None) -> None:
    look = replace(BASE, **change)  # type: ignore[arg-type]
    found = {"mask": look.is_mask, "photograph": look.is_photograph, "blank": look.is_blank}
    assert [name for name, holds in found.items() if holds] == ([] if kind is None else [kind])
    assert look.may_be_mask == (look.is_blank or look.grey)
