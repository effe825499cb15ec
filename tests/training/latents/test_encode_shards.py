"""Latents of shards: every view of every image in the order of the plan, whatever the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from histods.errors import HistodsError
from histods.images.reader import decode_rgb
from histods.sampling import draws
from histods.shards.images.reader import Files, ShardReader
from histods.shards.latents.writer import SAMPLES, Shape, plan_shard
from tests.training.autoencoders.images import patches
from training.autoencoders.linear import LinearAutoencoder
from training.latents.encode_shards import _batches, decoded, dihedral, encode_shards

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")


@pytest.mark.parametrize("view", range(8))
def test_a_view_is_the_one_that_masks_are_turned_to(view: int) -> None:
    mask = np.arange(35, dtype=np.uint8).reshape(5, 7)
    turned = dihedral(torch.from_numpy(mask)[None, None], view)
    np.testing.assert_array_equal(turned[0, 0], draws.dihedral(mask, view))


def test_samples_come_in_order_with_their_masks_or_zeros(folder: Path) -> None:
    reader = ShardReader(folder)
    numbers = np.array([5, 0, 9, 9, 31])
    for number, (image, mask) in zip(numbers.tolist(), decoded(reader, numbers), strict=True):
        files = reader.read(number)
        np.testing.assert_array_equal(image.transpose(1, 2, 0), decode_rgb(files.image))
        assert mask.shape == image.shape[1:]
        assert files.mask is not None or not mask.any()
    assert [*decoded(reader, np.array([], np.int64))] == []


def test_a_damaged_image_is_named_with_its_key(folder: Path) -> None:
    class Torn(ShardReader):
        def read(self, sample: int) -> Files:
            files = super().read(sample)
            return files._replace(image=files.image[:40]) if sample == 2 else files

    reader = Torn(folder)
    with pytest.raises(HistodsError) as caught:
        list(decoded(reader, np.arange(4)))
    assert str(caught.value).startswith(f"The image or mask of {reader.key(2)} cannot be read: ")
    assert str(caught.value).endswith("run 'histods audit --verify decode' and make the shards again.")


@pytest.mark.parametrize("views", [1, 8])
def test_a_shard_holds_the_latents_of_every_view(folder: Path, tmp_path: Path, views: int) -> None:
    reader, numbers = ShardReader(folder), np.array([3, 1, 4, 1, 5, 9, 2, 6, 8])
    rows = [dict.fromkeys(SAMPLES.names) | {"key": f"{number}", "split": "train"} for number in numbers.tolist()]
    plan = plan_shard("train-0", SAMPLES.empty_table().from_pylist(rows, SAMPLES), numbers, "how")
    shape = Shape(views=views, channels=4, height=6, width=6, image_height=48, image_width=48)
    linear = LinearAutoencoder.fit([patches(height=48, width=48)])
    told: list[int] = []
    encode_shards([plan], tmp_path, reader, linear, shape, CPU, lambda _, done, __: told.append(done), samples=9)
    assert told[-1] == 9
    moments = load_file(tmp_path / "train-0.safetensors")["moments"]
    assert moments.shape == (9, views, 8, 6, 6)
    for place, (image, _) in enumerate(decoded(reader, numbers)):
        for view in range(views):
            turned = dihedral(torch.from_numpy(image)[None], view).float() / 127.5 - 1
            mean, logvar = linear.encode(turned)
            expected = torch.cat([mean, logvar], dim=1)[0].half()
            np.testing.assert_allclose(moments[place, view], expected, atol=2e-3)


@pytest.mark.parametrize(("items", "size"), [(0, 3), (1, 3), (3, 3), (7, 3), (2, 1)])
def test_batches_hold_every_item_once_in_order(items: int, size: int) -> None:
    found = [*_batches(range(items), size)]
    assert [item for batch in found for item in batch] == [*range(items)]
    assert all(len(batch) == size for batch in found[:-1])
    assert all(found)
