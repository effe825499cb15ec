"""Numbers of objects are no classes, and classes are no numbers of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from histods.checks import Context, judge_all
from tests.histods.checks.mask_files import codecs_png, opencv, pillow, regions, tiff, vips

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    Pixels = NDArray[Any]
    Judge = Callable[..., dict[str, dict[str, str]]]
    Table = Callable[..., pl.DataFrame]


def nuclei(
    seed: int,
    count: int,
    *,
    size: int = 256,
    radii: tuple[int, int] = (4, 9),
    touching: bool = False,
    add: bool = False,
) -> Pixels:
    """Ellipses numbered from 1, [size, size] uint16."""
    random = np.random.default_rng(seed)
    mask, number = np.zeros((size, size), np.uint16), 0
    for _ in range(20 * count):
        shape = np.zeros((size, size), np.uint8)
        centre, axes = random.integers(0, size, 2).tolist(), random.integers(*radii, 2).tolist()
        cv2.ellipse(shape, centre, axes, float(random.integers(180)), 0, 360, 1, -1)
        if not (touching or add) and mask[cv2.dilate(shape, np.ones((3, 3))) > 0].any():
            continue
        number += 1
        mask = mask + number * shape.astype(np.uint16) if add else np.where(shape > 0, number, mask)
        if number == count:
            break
    return mask.astype(np.uint16)


def cells(seed: int, count: int, size: int = 256) -> Pixels:
    """Cells that fill the image, numbered from 1."""
    points = np.random.default_rng(seed).random((count, 2)) * size
    y, x = np.mgrid[:size, :size]
    distances = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    numbers: Pixels = (distances.argmin(-1) + 1).astype(np.uint16)
    return numbers


def cut_from_slide(seed: int) -> Pixels:
    """A patch of a slide whose nuclei are numbered throughout."""
    mask = nuclei(seed, 60)
    return np.where(mask > 0, mask + 70 * seed + 5, 0).astype(np.uint16)


OBJECTS: dict[str, list[Pixels]] = {
    "nuclei": [nuclei(seed, 30 + 9 * seed) for seed in range(4)],
    "many nuclei in one mask": [nuclei(0, 150, size=384)],
    "touching": [nuclei(seed, 60 + 31 * seed, touching=True) for seed in range(4)],
    "small": [nuclei(seed, 120 + seed, radii=(2, 5)) for seed in range(3)],
    "more than 255 in 8 bits": [nuclei(seed, 600, size=512, radii=(4, 7)) % 256 for seed in range(2)],
    "overlaps added": [nuclei(seed, 70 + 8 * seed, add=True) % 256 for seed in range(4)],
    "cells": [cells(seed, 60 + 17 * seed) for seed in range(4)],
    "cut from a slide": [cut_from_slide(seed) for seed in range(4)],
}
ENCODERS = [pillow, opencv, vips, codecs_png, tiff]


@pytest.mark.parametrize("masks", OBJECTS.values(), ids=OBJECTS)
@pytest.mark.parametrize("encode", ENCODERS)
def test_numbers_of_objects_are_no_labels(judge_files: Judge, masks: list[Pixels], encode: Any) -> None:
    narrow = [mask.astype(np.uint8) if mask.max() < 256 else mask for mask in masks]
    findings = judge_files({f"t{number}.png": encode(mask) for number, mask in enumerate(narrow)})
    for codes in findings.values():
        assert "labels number objects, each of them one region; export" in codes["not_an_index_mask"]


def test_masks_of_few_objects_are_told_with_the_others(judge_files: Judge) -> None:
    masks = {f"t{n}.png": pillow(nuclei(n, count)) for n, count in enumerate([40, 55, 61, 80, 3, 9, 20])}
    findings = judge_files(masks)
    assert all("number objects" in codes["not_an_index_mask"] for codes in findings.values())


def classes_once(seed: int) -> Pixels:
    """55 classes on a ground, each drawn once."""
    random, mask = np.random.default_rng(seed), np.zeros((256, 256), np.uint8)
    for label in range(1, 56):
        cv2.ellipse(mask, random.integers(0, 256, 2).tolist(), (9, 7), 0, 0, 360, label, -1)
    mask[:4, :4] = 55
    return mask


def scattered(seed: int) -> Pixels:
    """Nuclei of many classes: each class has several."""
    random = np.random.default_rng(seed)
    classes = np.concatenate([[0], random.integers(1, 41, 400)])
    return classes[nuclei(seed, 160)].astype(np.uint8)


CLASSES: dict[str, list[Pixels]] = {
    "74 classes of skin": [regions(n, tuple(range(74)), height=256, width=256, smooth=12) for n in range(4)],
    "55 classes": [regions(n, tuple(range(55)), height=256, width=256, smooth=20) for n in range(4)],
    "74 classes, small": [regions(n, tuple(range(74))) for n in range(6)],
    "subsets of 60 classes": [
        regions(n, tuple(np.random.default_rng(n).permutation(60)[:30].tolist()), height=256, width=256, smooth=10)
        for n in range(5)
    ],
    "each class once": [classes_once(n) for n in range(4)],
    "one mask, each class once": [classes_once(9)],
    "nuclei by class": [scattered(n) for n in range(4)],
    "few labels": [nuclei(n, 5 + n).astype(np.uint8) for n in range(6)],
}


@pytest.mark.parametrize("masks", CLASSES.values(), ids=CLASSES)
def test_classes_are_not_taken_for_objects(judge_files: Judge, masks: list[Pixels]) -> None:
    findings = judge_files({f"t{number}.png": pillow(mask) for number, mask in enumerate(masks)})
    assert [name for name, codes in findings.items() if "not_an_index_mask" in codes] == []


def test_labels_that_the_user_names_are_no_numbers_of_objects(judge_files: Judge) -> None:
    masks = {f"t{n}.png": pillow(nuclei(n, 30 + 9 * n)) for n in range(4)}
    named = {label: (label, 0, 0) for label in range(256)}
    assert all("not_an_index_mask" not in codes for codes in judge_files(masks, named).values())


def test_a_mask_that_is_its_image_is_told_where_images_were_hashed(table: Table) -> None:
    samples = table({"image_digest": "1", "mask_digest": "1"}, {"image_digest": "2", "mask_digest": "3"})
    findings = judge_all(samples, Context(hashed=True))
    assert findings.select("path", "code", "message").rows() == [
        (
            "a_mask.png",
            "not_an_index_mask",
            "mask does not hold labels: it has the same bytes as its image; put the mask in place of this copy",
        )
    ]
    assert judge_all(samples, Context()).is_empty()
