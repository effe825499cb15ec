"""Images as encoders want them; parity with transformers is in `test_encoder.py`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from training.evaluation.features.preprocessing import FILE, Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = {
    "size": {"height": 12, "width": 12}, "resample": 3, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]
}  # fmt: skip


def read(folder: Path, document: dict[str, Any]) -> Preprocessing:
    (folder / FILE).write_text(json.dumps(document))
    return Preprocessing.read(folder, "name")


def images(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def test_images_are_resized_by_pillow_then_scaled_and_normalised(tmp_path: Path) -> None:
    pixels = images(20, 30)
    found = read(tmp_path, SQUARE)(pixels).numpy()
    for image, one in zip(pixels, found, strict=True):
        resized = np.asarray(Image.fromarray(image).resize((12, 12), Image.Resampling.BICUBIC)) / 255
        expected = (resized - [0.5, 0.4, 0.3]) / [0.1, 0.2, 0.3]
        np.testing.assert_allclose(one.transpose(1, 2, 0), expected, atol=1e-5)


def test_the_shorter_side_is_resized_and_the_centre_is_cropped(tmp_path: Path) -> None:
    document = {**SQUARE, "size": {"shortest_edge": 16}, "do_center_crop": True, "crop_size": 8}
    found = read(tmp_path, {**document, "do_normalize": False})(images(32, 48)).numpy()
    resized = np.asarray(Image.fromarray(images(32, 48)[0]).resize((24, 16), Image.Resampling.BICUBIC)) / 255
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), resized[4:12, 8:16], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        (12, None, (12, 12)),
        (16, 8, 16),
        ({"shortest_edge": 16}, None, 16),
        ({"height": 9, "width": 12}, None, (9, 12)),
    ],
)
def test_sizes_of_old_and_new_files_are_read(
    tmp_path: Path, size: object, crop: int | None, expected: object
) -> None:
    document = {**SQUARE, "size": size} | ({"crop_size": crop} if crop else {})
    assert read(tmp_path, document).size == expected


def test_images_are_not_resized_if_the_file_says_so(tmp_path: Path) -> None:
    document = {**SQUARE, "do_resize": False, "do_rescale": False, "do_normalize": False}
    pixels = images(7, 9)
    np.testing.assert_array_equal(read(tmp_path, document)(pixels).numpy(), pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": None}, ""),
        ({"resample": None}, ""),
        ({"resample": 9}, "the filter 9"),
        ({"image_std": [0, 1, 1]}, r"the mean \[.*\] and the deviation \[0, 1, 1\]"),
        ({"crop_size": 99}, r"a crop of \(99, 99\) from images of \(12, 12\)"),
    ],
)
def test_a_file_that_says_too_little_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(HistodsError, match=rf"{FILE} does not describe the images of an encoder \(.*{reason}\)"):
        read(tmp_path, {**SQUARE, **change})


def test_a_missing_key_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(HistodsError) as caught:
        Preprocessing.read(tmp_path, "name")
    assert str(caught.value) == (
        f"name has no {FILE}, which says the size and colours that the encoder needs; download it, too."
    )
    with pytest.raises(HistodsError, match=r"\(no 'resample'\)"):
        read(tmp_path, {key: value for key, value in SQUARE.items() if key != "resample"})


def test_the_size_of_timm_is_enlarged_before_the_crop() -> None:
    config = {
        "input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    found = Preprocessing.of_timm(config)
    assert (found.size, found.crop, found.resample) == (256, (224, 224), Image.Resampling.BICUBIC)
