"""The loader: every pixel as it is in the source, and one sequence for any workers, ranks and kills."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from histods import audit, shard
from histods.errors import HistodsError
from histods.images.reader import decode_rgb
from histods.sampling.draws import InOrder
from histods.shards.images.reader import ShardReader
from tests.forked import Forked, complete
from training.data.dataset import Batch, ShardDataset, balanced
from training.data.image_loader import Loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Site


def loader(folder: Path, *, workers: int = 0, batch: int = 8, seed: int = 0, **options: Any) -> Loader:
    reader = ShardReader(folder)
    return Loader(
        ShardDataset(reader, balanced(reader, seed=seed)), global_batch=batch, workers=workers, **options
    )


def take(batches: Loader, number: int) -> list[Batch]:
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == number:
            break
    return found


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(one, other)
        for a, b in zip(first, second, strict=True)
        for one, other in zip(a, b, strict=True)
    )


def test_in_order_every_pixel_is_the_source_s(folder: Path, shared_site: Site) -> None:
    reader = ShardReader(folder)
    dataset = ShardDataset(reader, InOrder(size=len(reader)), augment=False)
    keys = []
    for batch in Loader(dataset, global_batch=7):
        for row in range(len(batch.samples_B)):
            key = reader.key(int(batch.samples_B[row]))
            keys.append(key)
            content = shared_site.images[key].read_bytes()
            np.testing.assert_array_equal(batch.images_BCHW[row].permute(1, 2, 0).numpy(), decode_rgb(content))
            if not content.startswith(b"\xff\xd8"):  # JPEG decoders differ by a step
                np.testing.assert_array_equal(decode_rgb(content), shared_site.pixels(key))
            classes = shared_site.classes(key)
            expected = np.zeros((48, 48), np.uint8) if classes is None else classes
            np.testing.assert_array_equal(batch.masks_BCHW[row, 0].numpy(), expected)
    assert sorted(keys) == sorted(shared_site.images)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker processes")
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_sequence_is_the_same_with_any_number_of_workers(folder: Path, workers: int) -> None:
    assert same(take(loader(folder), 12), take(loader(folder, workers=workers), 12))


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_together_see_what_one_would(folder: Path, ranks: int) -> None:
    alone = take(loader(folder), 5)
    of_ranks = [take(loader(folder, rank=rank, ranks=ranks), 5) for rank in range(ranks)]
    joined = [Batch(*map(torch.cat, zip(*slices, strict=True))) for slices in zip(*of_ranks, strict=True)]
    assert same(alone, joined)


def test_the_state_is_one_integer_that_moves_when_a_batch_is_handed_over(folder: Path) -> None:
    whole = take(loader(folder), 9)
    first = loader(folder, workers=2)  # which reads ahead
    begun = take(first, 4)
    state = json.loads(json.dumps(first.state_dict()))
    assert state["position"] == 32
    second = loader(folder, workers=1)
    second.load_state_dict(state)
    assert same(begun + take(second, 5), whole)


def test_another_number_of_ranks_goes_on_where_the_others_were(folder: Path) -> None:
    begun = loader(folder, rank=1, ranks=2)
    take(begun, 3)
    later = loader(folder)
    later.load_state_dict(begun.state_dict())
    assert same(take(later, 2), take(loader(folder), 5)[3:])


def test_a_killed_process_goes_on_with_the_same_sequence(folder: Path, tmp_path: Path) -> None:
    """The process notes the samples of each batch, then the state; kill -9 at some moment; the next goes on."""
    code = """
import json, sys, time
from pathlib import Path
from histods.shards.images.reader import ShardReader
from training.data.dataset import ShardDataset, balanced
from training.data.image_loader import Loader
folder, log, state = map(Path, sys.argv[1:4])
reader = ShardReader(folder)
batches = Loader(ShardDataset(reader, balanced(reader, seed=5)), global_batch=4, workers=2)
if state.exists():
    batches.load_state_dict(json.loads(state.read_text()))
for batch in batches:
    with log.open("a") as file:
        file.write(json.dumps([batch.positions_B.tolist(), batch.samples_B.tolist()]) + "\\n")
    part = state.with_suffix(".part")
    part.write_text(json.dumps(batches.state_dict()))
    part.replace(state)
    if batches.position >= 1200:
        break
    while batches.position == int(sys.argv[4]):
        time.sleep(1)  # until it is killed
"""
    log, state = tmp_path / "log", tmp_path / "state.json"
    command: list[str | Path] = [sys.executable, "-c", code, folder, log, state]
    for last in (400, 800):
        process = Forked([*command, last], start_new_session=True)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.005)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    complete([*command, 0])
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    seen = {
        tuple(positions): samples for positions, samples in rows
    }  # the last batch before a kill may come twice
    assert len(rows) <= len(seen) + 4
    reader = ShardReader(folder)
    draws = balanced(reader, seed=5)
    assert sorted(place for positions in seen for place in positions) == list(range(1200))
    for positions, samples in seen.items():
        assert draws.draw(positions).samples.tolist() == samples


def test_evaluation_shows_every_sample_once_for_any_number_of_ranks(folder: Path) -> None:
    reader = ShardReader(folder)
    dataset = ShardDataset(reader, InOrder(size=len(reader)), augment=False)
    seen = [
        sample
        for rank in range(2)
        for batch in Loader(dataset, global_batch=12, rank=rank, ranks=2, workers=rank)
        for sample in batch.samples_B.tolist()
    ]
    assert sorted(seen) == list(range(len(reader)))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def own(site: Site) -> Path:
    """Shards that a test may damage."""
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site.workspace / "shards"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_flipped_byte_is_refused_in_one_line(own: Path, workers: int) -> None:
    row = pl.read_parquet(own / "index.parquet").row(0, named=True)
    archive = own / f"{row['shard']}.tar"
    content = bytearray(archive.read_bytes())
    content[row["image_offset"] + row["image_bytes"] // 2] ^= 1
    archive.write_bytes(content)
    reader = ShardReader(own)
    batches = Loader(ShardDataset(reader, InOrder(size=len(reader))), global_batch=4, workers=workers)
    assert refusal(lambda: list(batches)) == (
        f"{row['shard']}.tar has other bytes than were written for the image of {row['key']}; run 'histods shard "
        "--verify', remove the damaged shard and run 'histods shard' again."
    )


def test_a_truncated_or_missing_shard_and_a_foreign_index_are_refused(own: Path) -> None:
    archive = own / "all-00000.tar"
    whole = archive.read_bytes()
    start, ending = (
        f"The shards in {own} are not sound: ",
        "; remove what is wrong and run 'histods shard' again.",
    )
    archive.write_bytes(whole[:-1024])
    assert refusal(lambda: ShardReader(own)) == (
        f"{start}all-00000.tar has {len(whole) - 1024:,} bytes instead of {len(whole):,}{ending}"
    )
    archive.unlink()
    assert refusal(lambda: ShardReader(own)) == f"{start}all-00000.tar is missing{ending}"
    archive.write_bytes(whole)
    index = own / "index.parquet"
    pl.read_parquet(index).head(10).write_parquet(index)
    assert refusal(lambda: ShardReader(own)) == (
        f"{start}index.parquet is not the one that shards.json describes{ending}"
    )


def test_a_run_is_not_gone_on_with_after_the_index_changed(own: Path) -> None:
    state = {**loader(own).state_dict(), "index_digest": "0" * 64}
    later = loader(own)
    digest = ShardReader(own).shards.index_digest
    assert refusal(lambda: later.load_state_dict(state)) == (
        f"{own} holds shards with the index {digest[:12]}, but the run began with 000000000000; "
        "use those shards, or start a new run."
    )
    moved = {**later.state_dict(), "position": 12}
    assert refusal(lambda: later.load_state_dict(moved)) == (
        "The global batch of 8 does not divide the position 12; "
        "resume with the batch size with which the run began."
    )


def test_images_of_two_sizes_are_named(tmp_path: Path, new_site: Callable[..., Site]) -> None:
    site = new_site(tmp_path, pairs=8)
    key = min(k for k in site.images if site.labels[k] is not None)
    image = site.images[key]
    Image.open(image).resize((96, 96)).save(image)
    mask = next(image.parent.glob(f"{image.stem}_mask.*"))
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(mask)
    audit(site.root, workspace=site.workspace, workers=1)
    shard(workspace=site.workspace, map=site.map, workers=1)
    reader = ShardReader(site.workspace / "shards")
    batches = Loader(ShardDataset(reader, InOrder(size=len(reader))), global_batch=8)
    text = refusal(lambda: list(batches))
    assert ", but others in its batch are " in text
    assert text.endswith(" cuts images and masks into patches of 48x48.")


def test_batches_that_the_trainer_keeps_are_never_overwritten(folder: Path) -> None:
    kept = take(loader(folder, workers=1), 30)  # more than there are slots
    assert same(kept, take(loader(folder), 30))
