"""What the loader hands to training is what a viewer shows, from audit to batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import audit, shard, split
from tests.histods.images.test_rgb import AS_STORED, CONVERTED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = {"png": ".png", "tiff": ".tif", "webp": ".webp", "bmp": ".bmp", "jpeg": ".jpg"}
SMALL = [name for name in CONVERTED if CONVERTED[name][1].shape[:2] == (37, 53)]


def make_dataset(root: Path, contents: Mapping[str, bytes | bytearray]) -> None:
    root.mkdir()
    labels = np.tile(np.array([[0, 1, 2, 1]], np.uint8).repeat(14, axis=1)[:, :53], (37, 1))
    for name, content in contents.items():
        (root / f"{name}{SUFFIX[name.split('-')[0]]}").write_bytes(content)
        Image.fromarray(labels).save(root / f"{name}_mask.png")


def test_batches_hold_what_viewers_show(tmp_path: Path) -> None:
    from histods.shards.images.reader import ShardReader
    from training.data.dataset import ShardDataset, balanced
    from training.data.image_loader import Loader

    expected = {name: CONVERTED[name][1] for name in SMALL}
    expected |= {name: AS_STORED[name][1] for name in ("png-opencv", "tiff-zstd", "webp-vips", "bmp-opencv")}
    contents = {name: CONVERTED[name][0] for name in SMALL} | {
        name: AS_STORED[name][0] for name in expected if name in AS_STORED
    }
    make_dataset(tmp_path / "data", contents)
    space = tmp_path / "space"
    result = audit(tmp_path / "data", workspace=space, workers=1)
    assert result.counts.conditional == len(contents)
    flagged = {finding.key for finding in result.iter_findings() if finding.code == "converted_image"}
    assert flagged == set(SMALL)
    split(workspace=space, test=0.1)
    shard(workspace=space, workers=1)
    reader = ShardReader(space / "shards", ["train", "test"])
    loader = Loader(
        ShardDataset(reader, balanced(reader, seed=0, unconditional=0.0), augment=False), global_batch=4, workers=0
    )
    seen = set()
    for batch in loader:
        for row, sample in enumerate(batch.samples_B.tolist()):
            key = reader.key(sample)
            pixels = batch.images_BCHW[row].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(pixels, expected[key], atol=1.01)
            seen.add(key)
        if seen == set(expected):
            break
    assert seen == set(expected)


def test_images_that_cannot_be_shown_right_are_excluded(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {name: content for name, (content, _) in REFUSED.items()})
    result = audit(tmp_path / "data", workspace=tmp_path / "space", workers=1)
    assert set(result.manifest.to_polars()["role"]) == {"excluded"}
    assert result.findings["unreadable_image"] == len(REFUSED)


@pytest.mark.parametrize("file_format", ["png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images_and_masks_are_excluded(tmp_path: Path, file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    root = tmp_path / "data"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / f"a{SUFFIX[file_format]}", exif=exif)
    Image.fromarray(pixels[..., 0] % 3).save(root / "a_mask.png")
    Image.fromarray(pixels).save(root / "b.png")
    if file_format in ("png", "tiff"):
        Image.fromarray(pixels[..., 0] // 100).save(root / f"b_mask{SUFFIX[file_format]}", exif=exif)
    result = audit(root, workspace=tmp_path / "space", workers=1)
    paths = {finding.path for finding in result.iter_findings() if finding.code == "turned"}
    wrong = {f"a{SUFFIX[file_format]}", *(path.name for path in root.glob("b_mask*"))}
    assert paths == (set() if orientation == 1 else wrong)
    roles = result.manifest.to_polars().filter(pl.col("image_path").str.starts_with("a"))["role"].to_list()
    assert roles == ["conditional" if orientation == 1 else "excluded"]
