"""Remedies of masks: every pixel of the new file has the label that was planted, or the file is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.labels.label_map import LabelTable
from histods.remedies import colours, greys, narrow, palette, rescale, specks
from histods.remedies.base import Dataset, RefusedError
from histods.remedies.rescale import prove
from histods.run_lengths import count_specks, find_runs
from tests.histods.remedies.planted import (
    COLOURS,
    NAMED,
    as_colours,
    as_palette,
    labels_of,
    refusal,
    regions,
    repair,
    saved,
    tagged,
)

if TYPE_CHECKING:
    from histods.remedies import Remedy

TRUTH = regions()


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_narrow_keeps_every_label_in_8_bits(name: str) -> None:
    made = repair(narrow.REMEDY, saved(Image.fromarray(TRUTH.astype(np.uint16)), name))
    kind, labels = labels_of(made.content)
    assert kind == "gray8"
    assert np.array_equal(labels, TRUTH)
    assert (made.before, made.after) == ("16-bit grey: 0, 1, 2, 3", "8-bit grey: 0, 1, 2, 3")


@given(top=st.integers(1, 65535))
@settings(max_examples=25, deadline=None)
def test_narrow_refuses_labels_beyond_8_bits_and_no_others(top: int) -> None:
    mask = np.array([[0, top], [1, top]], dtype=np.uint16)
    content = saved(Image.fromarray(mask))
    if top > 255:
        assert refusal(narrow.REMEDY, content) == "a label is above 255 and needs 16 bits"
    else:
        assert np.array_equal(labels_of(repair(narrow.REMEDY, content).content)[1], mask)


def test_a_palette_becomes_its_indices() -> None:
    made = repair(palette.REMEDY, saved(as_palette(TRUTH)))
    kind, labels = labels_of(made.content)
    assert kind == "gray8"
    assert np.array_equal(labels, TRUTH)


def test_a_palette_that_contradicts_the_labels_file_is_refused_and_read_by_its_colours() -> None:
    order = (3, 1, 0, 2)  # index -> label
    content = saved(as_palette(np.argsort(order).astype(np.uint8)[TRUTH], [COLOURS[label] for label in order]))
    assert refusal(palette.REMEDY, content, labels=NAMED).startswith("the values are not labels (palette index")
    made = repair(colours.REMEDY, content, labels=NAMED)
    assert np.array_equal(labels_of(made.content)[1], TRUTH)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
def test_colours_become_the_labels_of_the_file(name: str) -> None:
    made = repair(colours.REMEDY, saved(Image.fromarray(as_colours(TRUTH)), name), labels=NAMED)
    kind, labels = labels_of(made.content)
    assert kind == "gray8" or name == "BMP"  # a grey BMP has a grey palette
    assert np.array_equal(labels, TRUTH)
    assert made.before.startswith("RGB: #")


def test_labels_beyond_8_bits_are_written_in_16() -> None:
    table = LabelTable(names={7: "a", 300: "b"}, colours={7: (0, 0, 0), 300: (9, 9, 9)})
    mask = regions(labels=2)
    content = saved(Image.fromarray(as_colours(mask, {0: (0, 0, 0), 1: (9, 9, 9)})))
    kind, labels = labels_of(repair(colours.REMEDY, content, labels=table).content)
    assert kind == "gray16"
    assert np.array_equal(labels, np.where(mask == 0, 7, 300))


def test_a_single_pixel_of_another_colour_refuses_the_file_and_names_it() -> None:
    pixels = as_colours(TRUTH)
    pixels[5, 5] = (254, 0, 1)
    reason = "it has colours that the labels file does not give (1 pixels, such as #fe0001)"
    assert refusal(colours.REMEDY, saved(Image.fromarray(pixels)), labels=NAMED) == reason
    indexed = Image.fromarray(pixels).quantize(8, dither=Image.Dither.NONE)
    assert "#fe0001" in refusal(colours.REMEDY, saved(indexed), labels=NAMED)


def test_without_a_labels_file_colours_are_refused() -> None:
    with pytest.raises(RefusedError, match="give one with --labels FILE"):
        colours.REMEDY.study(Dataset(pl.DataFrame(), frozenset(), LabelTable(names={})))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_equal_channels_become_one(mode: str) -> None:
    made = repair(greys.REMEDY, saved(Image.fromarray(TRUTH).convert(mode)))
    kind, labels = labels_of(made.content)
    assert kind == "gray8"
    assert np.array_equal(labels, TRUTH)


def test_channels_that_differ_at_one_pixel_are_refused() -> None:
    pixels = np.dstack([TRUTH] * 3)
    pixels[3, 3] = (1, 1, 2)
    assert refusal(greys.REMEDY, saved(Image.fromarray(pixels))).startswith("the values are not labels")
    alpha = np.dstack([TRUTH] * 3 + [np.full_like(TRUTH, 255)])
    alpha[3, 3, 3] = 254
    assert "transparency" in refusal(greys.REMEDY, saved(Image.fromarray(alpha)))


def test_equal_channels_are_colours_if_the_labels_file_gives_colours() -> None:
    content = saved(Image.fromarray(TRUTH).convert("RGB"))
    assert "equal channels are colours" in refusal(greys.REMEDY, content, labels=NAMED)


@pytest.mark.parametrize("remedy", [narrow.REMEDY, palette.REMEDY, greys.REMEDY, specks.REMEDY])
def test_damaged_and_turned_masks_are_refused(remedy: Remedy) -> None:
    content = saved(Image.fromarray(TRUTH.astype(np.uint16)))
    for broken in (b"", b"\x89PNG", content[:-40], bytes(100), content[:60] + b"\0\0\0\0" + content[64:]):
        assert refusal(remedy, broken).startswith("the file cannot be read (")
    turned = saved(Image.fromarray(TRUTH), exif=tagged(6))
    assert refusal(remedy, turned) == "an orientation tag turns the mask; repair 'turned' first"


def test_formats_that_cannot_hold_labels_are_refused() -> None:
    gif = saved(Image.fromarray(TRUTH), "GIF")
    assert refusal(palette.REMEDY, gif) == "a gif file cannot store the labels as grey values; export it as PNG"


# Factors: what is proven, and what is not.


@pytest.mark.parametrize(
    ("values", "named", "others", "labels"),
    [
        ({255}, set(), set(), {255: 1}),
        ({255}, {1}, set(), {255: 1}),
        ({85, 170, 255}, set(), set(), {85: 1, 170: 2, 255: 3}),
        ({127, 255}, set(), set(), {127: 1, 255: 2}),
        ({128, 255}, set(), set(), {128: 1, 255: 2}),
        ({257, 514}, set(), {1, 2, 5}, {257: 1, 514: 2}),
        ({40, 200}, {1, 2, 3, 4, 5}, set(), {40: 1, 200: 5}),
        ({85, 170}, {1, 2, 3}, {3}, {85: 1, 170: 2}),
    ],
)
def test_proven_factors(values: set[int], named: set[int], others: set[int], labels: dict[int, int]) -> None:
    assert prove({frozenset(values)}, named=named, others=others).labels == {0: 0} | labels


@pytest.mark.parametrize(
    ("values", "named", "others", "why"),
    [
        ({255}, set(), {1, 2, 3}, "may have been multiplied by 255 or 127.5 or 85"),
        ({255}, {1, 15}, set(), "may have been multiplied by 255 or 17"),
        ({40, 200}, set(), set(), "quotients are not 1, 2, 3"),
        ({40, 200}, set(), {1, 2}, "not all labels of the other masks"),
        ({40, 80}, {1, 7}, set(), "not all labels of the labels file"),
        ({85, 170}, set(), {1, 2, 85}, "other masks hold 85, too"),
        ({7, 20, 255}, set(), set(), "quotients are not"),
        ({60, 120}, set(), {1, 2, 4}, "may have been multiplied by 60 or 30"),
        ({85, 170, 255}, set(range(1, 20)), set(), "may have been multiplied by 85 or 42.5 or 28.3333"),
        ({50, 100}, {1, 2, 50, 100}, set(), "50, 100 are labels of the labels file as they are"),
        ({255}, {1, 255}, set(), "255 are labels of the labels file"),
    ],
)
def test_factors_that_are_not_proven_are_refused(
    values: set[int], named: set[int], others: set[int], why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        prove({frozenset(values)}, named=named, others=others)
    assert caught.value.reason == rescale.UNPROVEN


@pytest.mark.parametrize(
    ("sets", "named", "why"),
    [
        ([{0, 127, 255}, {0, 255}], set(), "0, 255 may be 0, 2 or 0, 1"),
        ([{0, 127, 255}], {1, 2, 3}, "0, 127, 255 may be 0, 1, 2 or 1, 2, 3"),
        ([{0, 85, 170, 255}], {1, 2, 3}, None),
        ([{0, 127, 255}, {127, 255}], {1, 2}, None),  # stretched alone, 127 would be 0
        ([{0, 127, 255}, {0, 127}], {1, 2}, None),
        ([{0, 255}], {1}, None),
    ],
)
def test_masks_that_may_have_been_stretched_one_by_one_are_refused(
    sets: list[set[int]], named: set[int], why: str | None
) -> None:
    values = {frozenset(one) for one in sets}
    if why is None:
        assert prove(values, named=named, others=set()).labels
        return
    with pytest.raises(RefusedError, match=why):
        prove(values, named=named, others=set())


@given(factor=st.integers(2, 60), labels=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_multiplied_labels_without_gaps_come_back_exactly(factor: int, labels: int) -> None:
    mask = regions(labels=labels + 1)
    values = frozenset(factor * label for label in range(1, labels + 1))
    scale = prove({values}, named=set(), others=set())
    made = repair(rescale.REMEDY, saved(Image.fromarray((mask * factor).astype(np.uint8))), studied=scale)
    assert np.array_equal(labels_of(made.content)[1], mask)
    assert f"divided by {factor}" in made.after


def test_a_value_that_the_audit_did_not_see_is_refused() -> None:
    scale = prove({frozenset({85, 170})}, named=set(), others=set())
    mask = np.array([[0, 85, 170, 171]], dtype=np.uint8)
    assert refusal(rescale.REMEDY, saved(Image.fromarray(mask)), studied=scale) == (
        "it holds values of which the audit did not know (such as 171)"
    )


# Specks.


def test_specks_of_resampling_are_removed_and_most_pixels_get_their_true_label() -> None:
    drawn = regions(3, height=256, width=256) * 60
    half = cv2.resize(drawn, (128, 128), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.resize(half, (256, 256)).astype(np.uint8)
    made = repair(specks.REMEDY, saved(Image.fromarray(blurred)))
    cleaned = labels_of(made.content)[1]
    wrong_before, wrong_after = (blurred != drawn).mean(), (cleaned != drawn).mean()
    assert wrong_after < 0.2 * wrong_before
    assert set(np.unique(cleaned).tolist()) <= set(np.unique(blurred).tolist())
    assert count_specks(find_runs(cleaned)) < 0.1 * count_specks(find_runs(blurred))
    assert "pixels changed" in made.after


def test_a_mask_without_specks_is_refused_and_a_lonely_speck_gets_its_surroundings() -> None:
    halves = np.repeat(np.array([[1] * 16 + [2] * 16], dtype=np.uint8), 16, axis=0)
    assert refusal(specks.REMEDY, saved(Image.fromarray(halves))) == "no speck has a neighbour that is not one"
    band = halves.copy()
    band[:, 15:18] = 9  # wider than the rest of its surroundings, and yet a speck
    assert set(np.unique(specks.remove_specks(band)).tolist()) == {1, 2}
    stray = halves.copy()
    stray[4:6, 15] = 9
    cleaned = labels_of(repair(specks.REMEDY, saved(Image.fromarray(stray))).content)[1]
    assert 9 not in cleaned
    assert np.array_equal(np.delete(cleaned, 15, axis=1), np.delete(halves, 15, axis=1))
