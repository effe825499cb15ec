"""Batches of latents: those of the image loader's images, in one sequence for any threads, ranks and kills."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch

from histods import shard
from histods.errors import HistodsError
from histods.sampling.draws import Draws, InOrder
from histods.shards.images.reader import ShardReader
from histods.shards.latents.reader import LatentReader
from tests.forked import Forked, complete
from training.autoencoders.base import load_autoencoder
from training.data.dataset import ShardDataset, balanced
from training.data.latent_loader import LatentBatch, LatentLoader
from training.verbs.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Site


@pytest.fixture(scope="module")
def latents(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents in 8 views of the shards that no test changes."""
    out = tmp_path_factory.mktemp("latents") / "eight"
    encode(workspace=out.parent, shards=folder, out=out)
    return out


@pytest.fixture(scope="module")
def one_view(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents of the images as they are."""
    out = tmp_path_factory.mktemp("latents") / "one"
    encode(workspace=out.parent, shards=folder, out=out, views=1)
    return out


def loader(folder: Path, *, workers: int = 0, batch: int = 8, seed: int = 0, **options: Any) -> LatentLoader:
    reader = LatentReader(folder)
    return LatentLoader(reader, balanced(reader, seed=seed), global_batch=batch, workers=workers, **options)


def take(batches: LatentLoader, number: int) -> list[LatentBatch]:
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == number:
            break
    return found


def same(first: list[LatentBatch], second: list[LatentBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(one, other)
        for a, b in zip(first, second, strict=True)
        for one, other in zip(a, b, strict=True)
    )


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_batches_are_half_precision_latents_and_masks_of_bytes(latents: Path) -> None:
    batch = loader(latents).batch(range(3, 9))
    assert batch.means_BCHW.shape == batch.logvars_BCHW.shape == (6, 4, 6, 6)
    assert batch.means_BCHW.dtype == batch.logvars_BCHW.dtype == torch.float16
    assert batch.masks_BCHW.shape == (6, 1, 48, 48)
    assert batch.masks_BCHW.dtype == torch.uint8
    assert batch.positions_B.tolist() == list(range(3, 9))
    assert all(tensor.is_contiguous() for tensor in batch)


@pytest.mark.parametrize(("binarise", "augment"), [(False, True), (True, True), (False, False), (True, False)])
def test_they_are_the_encodings_of_what_the_image_loader_shows(
    folder: Path, latents: Path, binarise: bool, augment: bool
) -> None:
    images = ShardReader(folder)
    draws = balanced(images, seed=3)
    dataset = ShardDataset(images, draws, binarise=binarise, augment=augment)
    reader = LatentReader(latents)
    ours = LatentLoader(
        reader, balanced(reader, seed=3), global_batch=16, workers=2, binarise=binarise, augment=augment
    )
    autoencoder = load_autoencoder(reader.shards.autoencoder_source)
    views = set()
    for batch in take(ours, 6):
        shown = dataset.batch(batch.positions_B.tolist())
        for name in ("samples_B", "classes_B", "positions_B"):
            assert torch.equal(getattr(batch, name), getattr(shown, name))
        assert torch.equal(batch.masks_BCHW, shown.masks_BCHW)
        means, logvars = autoencoder.encode(shown.images_BCHW.float() / 127.5 - 1)
        torch.testing.assert_close(batch.means_BCHW.float(), means, rtol=1e-3, atol=1e-4)  # rounding to float16
        assert torch.equal(batch.logvars_BCHW.float(), logvars)
        views |= set(draws.draw(batch.positions_B.numpy()).views.tolist())
    assert views == set(range(8))


def test_latents_of_one_view_are_shown_as_they_are(folder: Path, one_view: Path) -> None:
    images = ShardReader(folder)
    dataset = ShardDataset(images, balanced(images, seed=3), augment=False)
    for batch in take(loader(one_view, seed=3), 4):
        shown = dataset.batch(batch.positions_B.tolist())
        assert torch.equal(batch.samples_B, shown.samples_B)
        assert torch.equal(batch.masks_BCHW, shown.masks_BCHW)


def test_in_order_every_sample_comes_once_for_any_number_of_ranks(latents: Path) -> None:
    reader = LatentReader(latents)
    draws = InOrder(size=len(reader))
    seen = []
    for rank in range(2):
        for batch in LatentLoader(reader, draws, global_batch=12, rank=rank, ranks=2, workers=rank):
            seen += batch.samples_B.tolist()
            for row, sample in enumerate(batch.samples_B.tolist()):
                stored = reader.read(sample)
                np.testing.assert_array_equal(batch.means_BCHW[row].numpy(), stored.mean)
                np.testing.assert_array_equal(batch.masks_BCHW[row, 0].numpy(), stored.mask)
    assert sorted(seen) == list(range(40))


def test_draws_of_any_kind_say_what_is_shown(latents: Path) -> None:
    class Fixed:
        def draw(self, positions: object) -> Draws:
            places = np.asarray(positions, dtype=np.int64)
            return Draws(39 - places, np.full_like(places, -1), places % 8)

    reader = LatentReader(latents)
    batch = next(iter(LatentLoader(reader, Fixed(), global_batch=10, binarise=True)))
    for row in range(10):
        stored = reader.read(39 - row, row % 8)
        np.testing.assert_array_equal(batch.means_BCHW[row].numpy(), stored.mean)
        np.testing.assert_array_equal(batch.masks_BCHW[row, 0].numpy(), stored.mask)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_sequence_is_the_same_with_any_number_of_threads(latents: Path, workers: int) -> None:
    assert same(take(loader(latents), 30), take(loader(latents, workers=workers), 30))


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_ranks_together_see_what_one_would(latents: Path, ranks: int, workers: int) -> None:
    alone = take(loader(latents), 5)
    of_ranks = [take(loader(latents, rank=rank, ranks=ranks, workers=workers), 5) for rank in range(ranks)]
    joined = [LatentBatch(*map(torch.cat, zip(*slices, strict=True))) for slices in zip(*of_ranks, strict=True)]
    assert same(alone, joined)


def test_a_batch_that_the_ranks_cannot_share_is_refused(latents: Path) -> None:
    assert refusal(lambda: loader(latents, batch=9, ranks=2)).startswith(
        "2 processes cannot share a global batch of 9 evenly"
    )


def test_the_state_is_one_integer_that_moves_when_a_batch_is_handed_over(latents: Path) -> None:
    whole = take(loader(latents), 9)
    first = loader(latents, workers=2)  # which reads ahead
    begun = take(first, 4)
    state = json.loads(json.dumps(first.state_dict()))
    assert state["position"] == 32
    second = loader(latents, workers=1)
    second.load_state_dict(state)
    assert same(begun + take(second, 5), whole)


def test_another_number_of_ranks_goes_on_where_the_others_were(latents: Path) -> None:
    begun = loader(latents, rank=1, ranks=2)
    take(begun, 3)
    later = loader(latents)
    later.load_state_dict(begun.state_dict())
    assert same(take(later, 2), take(loader(latents), 5)[3:])


def test_a_run_is_not_gone_on_with_after_the_index_changed(latents: Path) -> None:
    later = loader(latents)
    digest = LatentReader(latents).shards.index_digest
    assert refusal(lambda: later.load_state_dict({**later.state_dict(), "index_digest": "0" * 64})) == (
        f"{latents} holds latents with the index {digest[:12]}, but the run began with 000000000000; "
        "use those latents, or start a new run."
    )
    assert refusal(lambda: later.load_state_dict({**later.state_dict(), "position": 12})) == (
        "The global batch of 8 does not divide the position 12; "
        "resume with the batch size with which the run began."
    )


def test_a_killed_process_goes_on_with_the_same_sequence(latents: Path, tmp_path: Path) -> None:
    """The process notes a digest of each batch, then the state; kill -9 at some moment; the next goes on."""
    code = """
import json, sys, time, zlib
from pathlib import Path
from histods.shards.latents.reader import LatentReader
from training.data.dataset import balanced
from training.data.latent_loader import LatentLoader
folder, log, state = map(Path, sys.argv[1:4])
reader = LatentReader(folder)
batches = LatentLoader(reader, balanced(reader, seed=5), global_batch=4, workers=2)
if state.exists():
    batches.load_state_dict(json.loads(state.read_text()))
for batch in batches:
    crc = 0
    for tensor in batch:
        crc = zlib.crc32(tensor.numpy().tobytes(), crc)
    with log.open("a") as file:
        file.write(json.dumps([int(batch.positions_B[0]), crc]) + "\\n")
    part = state.with_suffix(".part")
    part.write_text(json.dumps(batches.state_dict()))
    part.replace(state)
    if batches.position >= 1200:
        break
    while batches.position == int(sys.argv[4]):
        time.sleep(1)  # until it is killed
"""
    log, state = tmp_path / "log", tmp_path / "state.json"
    command: list[str | Path] = [sys.executable, "-c", code, latents, log, state]
    for last in (400, 800):
        process = Forked([*command, last], start_new_session=True)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.002)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    complete([*command, 0])
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) <= 302  # the last batch before a kill may come twice
    undisturbed = tmp_path / "undisturbed"
    complete([*command[:3], latents, undisturbed, tmp_path / "other.json", 0])
    assert dict(rows) == dict(json.loads(line) for line in undisturbed.read_text().splitlines())


def test_batches_that_the_trainer_keeps_are_never_overwritten(latents: Path) -> None:
    kept = take(loader(latents, workers=2), 40)
    views = [batch.masks_BCHW[2:5] for batch in take(loader(latents, workers=2), 40)]  # parts keep all of it too
    gc.collect()
    expected = take(loader(latents), 40)
    assert same(kept, expected)
    assert all(torch.equal(view, batch.masks_BCHW[2:5]) for view, batch in zip(views, expected, strict=True))


def test_memory_of_batches_that_are_let_go_is_used_again(latents: Path) -> None:
    places = set()
    for number, batch in enumerate(loader(latents)):
        places.add(batch.masks_BCHW.data_ptr())
        if number == 30:
            break
    assert len(places) <= 2


def test_no_thread_is_left_when_reading_ends(latents: Path) -> None:
    before = threading.active_count()
    batches = iter(loader(latents, workers=4))
    next(batches)
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_is_named_in_one_line_after_the_batches_before_it(site: Site, tmp_path: Path, workers: int) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    encode(workspace=site.workspace, out=tmp_path / "latents")
    row = pl.read_parquet(tmp_path / "latents" / "index.parquet").row(21, named=True)
    path = tmp_path / "latents" / f"{row['shard']}.safetensors"
    content = bytearray(path.read_bytes())
    content[row["moments_offset"]] ^= 1
    path.write_bytes(content)
    reader = LatentReader(tmp_path / "latents")
    batches = LatentLoader(reader, InOrder(size=40), global_batch=5, workers=workers)
    found: list[LatentBatch] = []
    assert refusal(lambda: found.extend(batches)) == (
        f"{path.name} has other bytes than were written for the latents (view 0) of {row['key']}; run 'histods "
        "encode --verify', remove the damaged shard and run 'histods encode' again."
    )
    assert [batch.samples_B.tolist() for batch in found] == [
        list(range(first, first + 5)) for first in (0, 5, 10, 15)
    ]
    assert batches.position == 20


@pytest.mark.gpu
def test_pinned_batches_reach_the_gpu_whole(latents: Path) -> None:
    """Copied while the next ones are read into memory that is used again."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    expected = take(loader(latents), 50)
    device = torch.device("cuda")
    moved = []
    for batch in loader(latents, workers=2, pin_memory=True):
        assert all(tensor.is_pinned() for tensor in batch)
        moved.append(LatentBatch(*(tensor.to(device, non_blocking=True) for tensor in batch)))
        if len(moved) == 50:
            break
    assert same([LatentBatch(*(tensor.cpu() for tensor in batch)) for batch in moved], expected)
