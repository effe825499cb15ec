"""A sample knows its names in each layout, and writes nothing outside the folders that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.synthetic.faults import Fault
from histods.synthetic.site import Layout, Site, without_suffix
from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from pathlib import Path

PATCH = make_patch(0, 0, size=32)
LAYOUTS: dict[Layout, tuple[str, str]] = {
    "suffix": ("slide ä/x.1.jpg", "slide ä/x.1_mask.png"),
    "folders": ("images/slide ä/x.1.jpg", "masks/slide ä/x.1.png"),
}


def make(folder: Path, layout: Layout) -> Site:
    return Site(root=folder / "data", outside=folder / "away", layout=layout, name="slide ä/x.1", patch=PATCH)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_and_mask_are_where_the_layout_says(tmp_path: Path, layout: Layout) -> None:
    site = make(tmp_path, layout)
    assert (site.write_image(), site.write_mask()) == LAYOUTS[layout]
    assert site.size == 32
    with Image.open(tmp_path / "data" / site.mask_path()) as mask:
        assert np.array_equal(np.asarray(mask), PATCH.mask)
    assert site.key == LAYOUTS[layout][0].removesuffix(".jpg")
    assert site.fault("turned", "p", "n") == Fault(code="turned", key=site.key, path="p", note="n")
    assert site.renamed("y").image_path() == LAYOUTS[layout][0].replace("slide ä/x.1", "y")


def test_a_link_leads_to_its_target_wherever_the_dataset_is_moved(tmp_path: Path) -> None:
    site = make(tmp_path / "here", "suffix")
    target = site.write_outside("deep/er/x", b"content")
    assert site.link("a/b/c", target)
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "data" / "a" / "b" / "c").read_bytes() == b"content"
    assert not make(tmp_path / "there", "suffix").link("a/b/c", tmp_path)  # the name is taken


@pytest.mark.parametrize(
    ("path", "stem"), [("a/x.1.jpg", "a/x.1"), ("a.b/x", "a.b/x"), ("x.png", "x"), ("a/.hidden", "a/.hidden")]
)
def test_only_the_last_suffix_is_taken_off(path: str, stem: str) -> None:
    assert without_suffix(path) == stem
