"""Sets of images: of a split of shards, and of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from histods.shards.images.reader import ShardReader
from tests.training.evaluation.planted import make_shards, plant
from training.evaluation.image_sets import FolderImages, ShardImages, compressed
from training.inference.mask_inputs import MaskReader

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("sets"), slides=5, patches=2)


def _write_two(folder: Path) -> None:
    folder.mkdir()
    for suffix in ("png", "jpg"):
        Image.new("RGB", (8, 8)).save(folder / f"x.{suffix}")


def _shards(workspace: Path, reduce: int = 1) -> ShardImages:
    reader = ShardReader(workspace / "shards", ("train",))
    return ShardImages(reader, np.arange(len(reader)), reduce)


def test_samples_of_shards_have_the_masks_keys_and_slides_of_their_files(workspace: Path) -> None:
    images = _shards(workspace)
    assert len(images) == len(images.keys) == len(images.groups) > 0
    for index, key in enumerate(images.keys):
        with Image.open(workspace.parent / "data" / f"{key}_mask.png") as mask:
            assert np.array_equal(images.mask(index), np.asarray(mask))
        assert images.groups[index] == key.split("-")[0]


def test_both_kinds_of_sets_give_the_same_pixels_compressed_alike(workspace: Path) -> None:
    of_shards = _shards(workspace)
    of_folder = FolderImages(workspace.parent / "data", MaskReader(4, 1))
    for index, key in enumerate(of_shards.keys):
        other = of_folder.keys.index(key)
        with Image.open(workspace.parent / "data" / f"{key}.png") as picture:
            assert np.array_equal(of_shards.image(index), compressed(np.asarray(picture)))
        assert np.array_equal(of_shards.image(index), of_folder[other][0])
        assert np.array_equal(of_shards.mask(index), of_folder[other][1])


def test_compression_changes_pixels_a_little_and_keeps_colours_in_place() -> None:
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    found = compressed(red)
    assert abs(found.astype(int) - red).max() <= 4
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (compressed(noise) != noise).any()


def test_images_and_masks_are_reduced_alike(workspace: Path) -> None:
    whole, half = _shards(workspace), _shards(workspace, 2)
    assert half.image(0).shape == (16, 16, 3)
    assert half.mask(0).shape == (16, 16)
    assert half.whole_mask(0).shape == whole.mask(0).shape == (32, 32)
    assert half.digest != whole.digest


def test_a_selection_has_its_own_digest_and_the_images_in_its_order(workspace: Path) -> None:
    for images in (_shards(workspace), FolderImages(workspace.parent / "data", MaskReader(4, 1))):
        chosen = images.select(np.array([3, 1]))
        assert chosen.keys == [images.keys[3], images.keys[1]]
        assert chosen.groups == [images.groups[3], images.groups[1]]
        assert np.array_equal(chosen.image(0), images.image(3))
        assert len({chosen.digest, images.digest, images.select(np.array([1, 3])).digest}) == 3
        assert len(images) == len(images.keys)


def test_the_digest_of_a_folder_follows_every_byte(tmp_path: Path) -> None:
    plant(tmp_path / "data", slides=2, patches=2)
    before = FolderImages(tmp_path / "data", MaskReader(4, 1)).digest
    assert FolderImages(tmp_path / "data", MaskReader(4, 1)).digest == before
    Image.new("L", (32, 32), 1).save(tmp_path / "data" / "s00-0_mask.png")
    assert FolderImages(tmp_path / "data", MaskReader(4, 1)).digest != before


def test_hidden_files_the_overview_and_other_files_are_no_images(tmp_path: Path) -> None:
    plant(tmp_path / "data", slides=1, patches=1)
    for name in ("overview/contact_sheet.png", ".hidden/x.png", ".y.png", "deep/er/z.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path)
    (tmp_path / "data" / "notes.txt").write_text("x")
    images = FolderImages(tmp_path / "data", MaskReader(4, 1))
    assert images.keys == ["deep/er/z", "s00-0"]
    assert not images.masked
    with pytest.raises(HistodsError, match=r"z\.png has no mask"):
        images.mask(0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (str, "is not a folder"),
        (Path.mkdir, "There are no images in"),
        (_write_two, "have the same name but for the suffix"),
    ],
)
def test_a_folder_that_cannot_be_compared_is_named_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "data")
    with pytest.raises(HistodsError, match=said) as caught:
        FolderImages(tmp_path / "data", MaskReader(4, 1))
    assert "\n" not in str(caught.value)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(HistodsError, match=r"x\.png cannot be read as an image"):
        FolderImages(tmp_path / "data", MaskReader(4, 1)).image(0)


def test_slides_are_told_by_names_where_several_patches_share_one(tmp_path: Path) -> None:
    plant(tmp_path / "many", slides=2, patches=3)
    assert set(FolderImages(tmp_path / "many", MaskReader(4, 1)).groups) == {"s00", "s01"}
    plant(tmp_path / "one", slides=1, patches=1)
    images = FolderImages(tmp_path / "one", MaskReader(4, 1))
    assert images.groups == images.keys


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    with pytest.raises(HistodsError, match=r"not UTF-8"):
        FolderImages(tmp_path, MaskReader(4, 1))
