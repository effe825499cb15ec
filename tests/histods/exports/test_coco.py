"""pycocotools reads what was exported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import export_data
from histods.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Site
    from tests.histods.exports.conftest import Exported

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools 2.0
NAMES = {1: "Tumour", 2: "Stroma", 3: "Unknown"}


def read(folder: Path, split: str) -> Any:
    coco = pytest.importorskip("pycocotools.coco")
    return coco.COCO(str(folder / "annotations" / f"instances_{split}.json"))


def test_pycocotools_gives_every_pixel_back(exported: Callable[[str], Exported]) -> None:
    found = exported("coco")
    expected, seen = found.masks([3, 1, 2]), set()
    for split in ("train", "val", "test"):
        coco = read(found.folder, split)
        assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == NAMES
        for image in coco.loadImgs(coco.getImgIds()):
            path = found.folder / "images" / split / image["file_name"]
            pixels = np.asarray(Image.open(path).convert("RGB"))
            assert pixels.shape[:2] == (image["height"], image["width"])
            assert np.array_equal(pixels, found.pixels(path.stem))
            mask = np.zeros(pixels.shape[:2], int)
            for one in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
                region = coco.annToMask(one)
                assert not mask[region > 0].any()
                mask += one["category_id"] * region
                assert one["area"] == region.sum()
                rows, columns = np.nonzero(region)
                left, top, width, height = one["bbox"]
                assert (left, top) == (columns.min(), rows.min())
                assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
                assert one["iscrowd"] == (one["category_id"] == 3)
            assert np.array_equal(mask, expected[path.stem])
            seen.add(path.stem)
    assert seen == set(expected)


def test_numbers_of_images_are_different_in_all_splits(exported: Callable[[str], Exported]) -> None:
    found = exported("coco")
    ids = [one for split in ("train", "val", "test") for one in read(found.folder, split).getImgIds()]
    assert len(set(ids)) == len(ids) == len(found.rows)


def test_background_is_no_category_and_in_no_annotation(source: Site, tmp_path: Path) -> None:
    result = export_data(
        to=tmp_path / "x", format="coco", unknown="background", workspace=source.workspace, workers=1
    )
    coco = read(tmp_path / "x", "train")
    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == {1: "Tumour", 2: "Stroma"}
    assert {one["iscrowd"] for one in coco.loadAnns(coco.getAnnIds())} == {0}
    zero = [labels for labels in source.labels.values() if labels is not None and not labels.any()]
    assert zero  # whose images are examples of nothing
    with_mask = sum(labels is not None for labels in source.labels.values())
    assert sum(result.splits.values()) == with_mask


def test_without_pycocotools_the_command_that_installs_it_is_said(
    source: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'histods\[coco\]'"):
        export_data(to=tmp_path / "x", format="coco", workspace=source.workspace)
