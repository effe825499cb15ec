"""Masks as training samples: reduced by majority, drawn evenly, with proportions of which some are free."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from histods.errors import HistodsError
from histods.shards.images.reader import ShardReader
from tests.conftest import Site
from training.config.sections import DataConfig
from training.data.masks import MaskEncoder, MaskSource, free_classes, one_hot, reduce_by_majority
from training.data.source import Source
from training.distributed import Process

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.dataset import Batch

DATA = DataConfig(what="masks", workers=0, reduce=2)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(4, 13), st.integers(4, 13)), elements=st.integers(0, 3)),
    st.integers(1, 4),
)
def test_each_block_gets_its_most_frequent_class(mask: NDArray[np.uint8], factor: int) -> None:
    found = reduce_by_majority(mask, factor)
    assert found.shape == (mask.shape[0] // factor, mask.shape[1] // factor)
    for (row, column), label in np.ndenumerate(found):
        block = mask[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        counts = Counter(block.ravel().tolist())
        most = max(counts.values())
        middle = int(block[factor // 2, factor // 2])
        assert counts[int(label)] == most
        assert label == middle or counts[middle] < most


def test_planes_are_one_hot() -> None:
    masks = torch.randint(0, 5, (2, 1, 4, 6), dtype=torch.uint8)
    planes = one_hot(masks, 5)
    assert planes.shape == (2, 5, 4, 6)
    assert torch.equal(planes.argmax(dim=1, keepdim=True), masks.long())
    assert torch.equal(planes.sum(dim=1), torch.ones(2, 4, 6))


def test_free_classes_depend_on_the_position_alone_and_any_number_is_free() -> None:
    free = free_classes(3, np.arange(4000), 7)
    assert np.array_equal(free[1000:1010], free_classes(3, np.arange(1000, 1010), 7))
    assert not np.array_equal(free, free_classes(4, np.arange(4000), 7))
    assert np.abs(free.mean(axis=0) - 0.5).max() < 0.03
    numbers = np.bincount(free.sum(axis=1), minlength=8) / 4000
    assert np.abs(numbers - 1 / 8).max() < 0.03, "0 to 7 are equally likely"


def batches(source: Source, count: int, size: int = 8) -> list[Batch]:
    loader = iter(source.batches(0, size, Process(device=torch.device("cpu"))))
    return [next(loader) for _ in range(count)]  # type: ignore[misc]


def test_masks_with_a_class_are_drawn_evenly_without_their_images(folder: Path, shared_site: Site) -> None:
    source = MaskSource(folder, DATA)
    wanted = {key for key in shared_site.labels if (mask := shared_site.classes(key)) is not None and mask.any()}
    assert {source.reader.key(int(sample)) for sample in source.samples} == wanted
    drawn = Counter(int(sample) for batch in batches(source, 100) for sample in batch.samples_B)
    assert set(drawn) == set(source.samples.tolist())
    assert max(drawn.values()) < 3 * min(drawn.values())
    batch = batches(source, 1)[0]
    assert batch.masks_BCHW.shape == (8, 1, 24, 24)
    assert not batch.images_BCHW.any()


def test_masks_as_stored_are_reduced_by_majority(folder: Path, shared_site: Site) -> None:
    source = MaskSource(folder, DATA)
    samples = source.samples[:4].tolist()
    batch = source.fixed(source.reader, samples)
    for row, sample in enumerate(samples):
        classes = shared_site.classes(source.reader.key(sample))
        assert classes is not None
        assert np.array_equal(batch.masks_BCHW[row, 0].numpy(), reduce_by_majority(classes, 2))


def test_class_weights_draw_by_class(folder: Path) -> None:
    source = MaskSource(folder, replace(DATA, class_weights={"Tumour": 0.0}))
    classes = {int(label) for batch in batches(source, 10) for label in batch.classes_B}
    assert classes == {2}


def test_conditions_are_proportions_with_free_classes(folder: Path) -> None:
    source = MaskSource(folder, DATA)
    encoder = MaskEncoder(3, 5, torch.device("cpu"))
    batch = batches(source, 1)[0]
    found = encoder.condition(batch)
    free = free_classes(5, batch.positions_B.numpy(), 3)
    assert np.array_equal(found.isnan().numpy(), free)
    shares = encoder.mean(batch).mean(dim=(2, 3))
    assert torch.allclose(torch.where(found.isnan(), shares, found), shares)
    planes, noise = encoder.draw(batch, batch.positions_B)
    assert planes.shape == noise.shape == (8, 3, 24, 24)


def test_held_out_masks_are_not_drawn(folder: Path) -> None:
    source = MaskSource(folder, DATA, validates=True)
    assert source.held_out.any()
    assert not source.held_out[source.samples].any()
    assert set(source.samples.tolist()) | set(np.flatnonzero(source.held_out).tolist()) == set(
        source.usable(source.reader).tolist()
    )


def test_a_folder_without_masks_of_a_class_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskSource, "usable", lambda _self, _reader: np.zeros(0, np.int64))
    with pytest.raises(HistodsError, match="so that there is nothing to learn masks from"):
        MaskSource(folder, DATA)


def test_latents_are_refused_with_the_shards_to_give(made: Path) -> None:
    with pytest.raises(HistodsError, match="A run of masks needs shards, and .* has latents"):
        MaskSource(made, replace(DATA, reduce=1))


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Path:
    """Latents of the dataset."""
    from training.verbs.encode import encode

    encode(shards=folder, out=tmp_path / "latents", views=1, device="cpu")
    assert len(ShardReader(folder)) > 0
    return tmp_path / "latents"
