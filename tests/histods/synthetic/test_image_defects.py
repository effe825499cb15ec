"""Images that training reads otherwise: Pillow, which has no part in the audit's verdict, sees the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from histods.synthetic.image_defects import IMAGE_DEFECTS
from histods.synthetic.site import Layout, Site
from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from pathlib import Path

    from histods.synthetic.faults import Fault
    from histods.synthetic.pairing_defects import Defect

PATCH = make_patch(1, 4, size=96)


def plant(defect: Defect, folder: Path, layout: Layout) -> list[Fault]:
    site = Site(root=folder / "d", outside=folder / "o", layout=layout, name="slide_1/x", patch=PATCH)
    return defect(site)


@pytest.mark.parametrize("number", range(len(IMAGE_DEFECTS)))
def test_each_file_has_the_defect_that_its_finding_names(tmp_path: Path, number: int) -> None:
    for fault in plant(IMAGE_DEFECTS[number], tmp_path, "suffix"):
        with Image.open(tmp_path / "d" / fault.path) as image:
            found = {
                "turned": image.getexif().get(274, 1) != 1,
                "mixed_sizes": image.size == (48, 48),
                "missing_mask": not (tmp_path / "d" / "slide_1" / "x_mask.png").exists(),
                "converted_image": image.mode in ("CMYK", "RGBA", "I;16"),
            }
        assert found[fault.code], fault


def test_a_turned_image_is_the_patch_turned_back_by_its_tag(tmp_path: Path) -> None:
    for defect in IMAGE_DEFECTS[:3]:
        (fault,) = plant(defect, tmp_path, "folders")
        with Image.open(tmp_path / "d" / fault.path) as image:
            stored, turned = np.asarray(image).astype(int), np.asarray(ImageOps.exif_transpose(image)).astype(int)
        assert np.abs(stored - PATCH.image).mean() < 8  # a JPEG of the patch
        assert np.abs(turned - PATCH.image).mean() > 8


def test_each_code_is_planted_three_times_at_least(tmp_path: Path) -> None:
    codes = Counter(
        fault.code
        for number, defect in enumerate(IMAGE_DEFECTS)
        for fault in plant(defect, tmp_path / str(number), "suffix")
    )
    assert set(codes) == {"turned", "missing_mask", "mixed_sizes", "converted_image"}
    assert min(codes.values()) >= 3
