"""One mask file per object is told at the image, in the shapes in which such datasets are published."""

from __future__ import annotations

import polars as pl
import pytest

from histods.dataset.layouts import Layout, pair

SUFFIX, FOLDERS = Layout(kind="suffix"), Layout(kind="folders")
SHAPES = {
    "a folder per image": ("{0}/images/{0}.png", "{0}/masks/{0}a{1}.png"),
    "a folder of masks per image": ("images/{0}.png", "masks/{0}/{1}.png"),
    "a folder of masks per image and class": ("{0}.tif", "annotations/{0}/nuclei/m{1}.tif"),
    "numbers behind the mask's word": ("{0}.jpg", "{0}_mask_{1}.png"),
    "numbers before the mask's word": ("s/{0}.jpg", "s/{0}_{1}_seg.png"),
    "numbers in another folder": ("tissue/{0}.png", "labels/{0}_{1}.png"),
}


@pytest.mark.parametrize("layout", [SUFFIX, FOLDERS], ids=["suffix", "folders"])
@pytest.mark.parametrize("shape", SHAPES)
def test_several_masks_of_parts_are_told_at_their_image(shape: str, layout: Layout) -> None:
    image, mask = SHAPES[shape]
    keys = ["b7f1", "c2e9", "d4a0"]
    names = [image.format(key) for key in keys] + [mask.format(key, part) for key in keys for part in range(4)]
    told = pair(names, layout).samples.filter(pl.col("rivals").is_not_null())
    inside = layout == SUFFIX or image.startswith(("images/", "{0}/images/"))
    assert sorted(told["image_path"]) == (sorted(image.format(key) for key in keys) if inside else [])
    assert all("4 files are masks of parts of the one image" in text for text in told["rivals"])


def test_images_in_series_and_single_masks_are_not_masks_of_parts() -> None:
    series = [f"s1/{number}.jpg" for number in range(9)] + [f"s1/{number}_2.jpg" for number in range(9)]
    assert pair(series, SUFFIX).samples["rivals"].null_count() == 18
    pairs = [name for key in "abc" for name in (f"images/{key}.png", f"masks/{key}.png")]
    assert pair([*pairs, "images/d.png", "masks/e.png"], FOLDERS).samples["rivals"].null_count() == 5
