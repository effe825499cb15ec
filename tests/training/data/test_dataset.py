"""Samples as tensors: shapes and memory, views of image and mask alike, binarised masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from histods import audit, shard
from histods.sampling.draws import InOrder, dihedral
from histods.shards.images.reader import ShardReader
from training.data.dataset import DihedralTransform, ShardDataset, balanced

if TYPE_CHECKING:
    from pathlib import Path


def test_batches_are_bytes_in_channels_last_memory(folder: Path) -> None:
    reader = ShardReader(folder)
    batch = ShardDataset(reader, balanced(reader, seed=0)).batch(range(8))
    assert batch.images_BCHW.shape == (8, 3, 48, 48)
    assert batch.images_BCHW.dtype == batch.masks_BCHW.dtype == torch.uint8
    assert batch.images_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert batch.masks_BCHW.shape == (8, 1, 48, 48)
    assert batch.positions_B.tolist() == list(range(8))


def test_what_is_drawn_is_shown_in_its_view_image_and_mask_alike(folder: Path) -> None:
    reader = ShardReader(folder)
    draws = balanced(reader, seed=3)
    plain = ShardDataset(reader, draws, augment=False)
    turned = ShardDataset(reader, draws)
    positions = list(range(60))
    before, after = plain.batch(positions), turned.batch(positions)
    views = draws.draw(positions).views
    assert set(views.tolist()) == set(range(8))
    for row, view in enumerate(views.tolist()):
        for name in ("images_BCHW", "masks_BCHW"):
            stored = getattr(before, name)[row].permute(1, 2, 0).numpy()
            shown = getattr(after, name)[row].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(shown, dihedral(stored, view))


def test_a_drawn_class_is_in_the_mask_and_alone_there_when_binarised(folder: Path) -> None:
    reader = ShardReader(folder)
    draws = balanced(reader, seed=1)
    kept = ShardDataset(reader, draws).batch(range(64))
    alone = ShardDataset(reader, draws, binarise=True).batch(range(64))
    assert set(kept.classes_B.tolist()) == {0, 1, 2}
    for row, drawn in enumerate(kept.classes_B.tolist()):
        expected = torch.where(kept.masks_BCHW[row] == drawn, kept.masks_BCHW[row], 0)
        assert torch.equal(alone.masks_BCHW[row], expected)
        assert bool((alone.masks_BCHW[row] == drawn).any())
        if drawn == 0:
            assert not kept.masks_BCHW[row].any()


@pytest.mark.parametrize("view", range(8))
def test_turning_fast_is_turning(view: int) -> None:
    turn = DihedralTransform()
    for pixels in np.random.default_rng(view).integers(0, 255, (3, 7, 7, 3), dtype=np.uint8):
        for source in (pixels, np.ascontiguousarray(pixels[..., 0])):
            turned = source.copy()
            turn(turned, view)
            np.testing.assert_array_equal(turned, dihedral(source, view))


def test_without_a_label_map_or_unconditional_samples_what_there_is_is_drawn(tmp_path: Path) -> None:
    """Labels 2 and 5 alone: classes 0, 1, 3 and 4 are numbers that nobody uses."""
    (tmp_path / "data").mkdir()
    for number, labels in enumerate(([2, 5], [5], [2])):
        mask = np.repeat(np.array(labels, np.uint8), 32 * 32 // len(labels)).reshape(32, 32)
        Image.fromarray(mask).save(tmp_path / "data" / f"{number}_mask.png")
        Image.fromarray(np.full((32, 32, 3), 40 * number, np.uint8)).save(tmp_path / "data" / f"{number}.png")
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    shard(workspace=tmp_path / "out", workers=1)
    reader = ShardReader(tmp_path / "out" / "shards")
    drawn = balanced(reader, seed=0, unconditional=None).draw(np.arange(400)).classes
    assert set(drawn.tolist()) == {2, 5}
    assert abs(int((drawn == 2).sum()) - 200) < 60


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_reduced_images_are_means_and_reduced_masks_the_classes_in_the_middle(folder: Path, factor: int) -> None:
    reader = ShardReader(folder)
    draws = InOrder(size=len(reader))
    whole = ShardDataset(reader, draws, augment=False).batch(range(4))
    small = ShardDataset(reader, draws, augment=False, reduce=factor).batch(range(4))
    side = 48 // factor
    assert small.images_BCHW.shape == (4, 3, side, side)
    blocks = whole.images_BCHW.float().unfold(2, factor, factor).unfold(3, factor, factor).mean((-1, -2))
    assert (small.images_BCHW.float() - blocks).abs().max() <= 0.5 + 1e-3
    middle = factor // 2
    assert torch.equal(small.masks_BCHW, whole.masks_BCHW[:, :, middle::factor, middle::factor])
