from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from histods.checks import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A sound pair of 8x8 pixels, of which half are label 1.
SOUND: dict[str, object] = {
    "by_design": False,
    "outside": False,
    "image_outside": False,
    "mask_outside": False,
    "image_format": "jpeg",
    "image_width": 8,
    "image_height": 8,
    "mask_format": "png",
    "mask_kind": "gray8",
    "mask_width": 8,
    "mask_height": 8,
    "labels": [0, 1],
    "pixels": [32, 32],
    "runs": 2,
    "specks": 0,
    "off_palette": 0,
    "nearest": False,
}


def build_table(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Samples a, b, c, ...: sound pairs but for what each row says; pixels are shared evenly by its labels."""
    samples = []
    for number, row in enumerate(rows):
        key = chr(ord("a") + number) if number < 26 else f"z{number:04}"
        sample = SOUND | {"key": key, "image_path": f"{key}.jpg", "mask_path": f"{key}_mask.png"}
        labels = row.get("labels")
        if isinstance(labels, list):
            sample["pixels"] = [4096 // len(labels)] * len(labels)
        samples.append({**sample, **row})
    return pl.DataFrame([{name: sample.get(name) for name in SAMPLES} for sample in samples], schema=SAMPLES)


@pytest.fixture(scope="session")
def table() -> Callable[..., pl.DataFrame]:
    return build_table
