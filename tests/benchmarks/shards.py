"""Speed of writing shards and of loading from them, measured in one run on generated datasets.

Run it with `make bench`, or with a size of your own: `python -m tests.benchmarks.shards --pairs 20000`.

Writing is compared with `tar cf` of the same files, all with a warm cache, in turn; what was written before is
removed and on the disk before the clock starts. Loading of 20,000 pairs is compared, with the same
batches of uint8 images and masks, the same turns and flips, and the same number of processes, with

- the ceiling: one core's rate of decoding image and mask from memory, times the cores, without and with turning
  them (which every loader here does); and the same by as many processes at once, which share cache and memory;
- plain files: a torch dataset that opens and decodes each image and mask;
- webdataset, litdata and Grain, each over the same samples in its own format, decoding as we do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grain.python as pygrain
import litdata as ld
import numpy as np
import torch
import webdataset as wds
from torch.utils.data import DataLoader, Dataset

from histods import audit, shard
from histods.images.reader import decode_mask, decode_rgb
from histods.sampling.philox import philox4x64
from histods.shards.images.reader import ShardReader
from tests.datasets.benchmark import DRSK_PAIRS, drsk_proportions, make_benchmark
from training.data.dataset import DihedralTransform, ShardDataset, balanced
from training.data.image_loader import Loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

ROUNDS = 3
BATCH = 32
SECONDS = 6.0
LOADED = 20_000  # pairs of the dataset that is loaded
WARM = 8  # batches before the clock starts: processes begin and read ahead


turn = DihedralTransform()


def decode(image: bytes, mask: bytes, view: int) -> tuple[np.ndarray, np.ndarray]:
    """What every loader does with a sample: decode image and mask, show one of the 8 dihedral views."""
    pixels = decode_rgb(image)
    decoded = cast("NDArray[np.uint8]", decode_mask(mask).labels)
    labels = np.array(decoded)  # the decoder's own memory cannot be written to
    turn(pixels, view)
    turn(labels, view)
    return pixels, labels


def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack samples into a batch, as each peer's own collation does."""
    images, masks = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


class PlainFiles(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Open and decode each image and mask where it is."""

    def __init__(self, images: list[Path]) -> None:
        self._images = images

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        words = philox4x64(0, position).reshape(-1)
        image = self._images[int(words[0]) % len(self._images)]
        mask = image.with_name(f"{image.stem}_mask.png")
        return decode(image.read_bytes(), mask.read_bytes(), int(words[1]) % 8)


def plain_files(folder: Path, workers: int) -> Iterable[Any]:
    """A torch DataLoader over plain files."""
    images = sorted((folder / "data").rglob("*.jpg"))
    return DataLoader(
        PlainFiles(images), BATCH, num_workers=workers, collate_fn=collate, multiprocessing_context="fork"
    )


def open_sample(sample: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    """A sample as webdataset gives it; samples without a mask are left out of what it is given."""
    view = int(philox4x64(0, hash(sample["__key__"]) & 0xFFFFFFFF).reshape(-1)[0]) % 8
    return decode(sample["jpg"], sample["mask.png"], view)


def webdataset(folder: Path, workers: int) -> Iterable[Any]:
    """The webdataset library over our own shards, which it reads in order."""
    urls = sorted(str(path) for path in (folder / "mapped").glob("*.tar"))
    dataset = wds.WebDataset(urls, shardshuffle=len(urls), resampled=True, nodesplitter=wds.split_by_node)
    dataset = dataset.shuffle(500).map(open_sample).batched(BATCH, collation_fn=collate)
    loader: Iterable[Any] = wds.WebLoader(dataset, batch_size=None, num_workers=workers)
    return loader


def read_pair(image: Path) -> dict[str, bytes]:
    """A sample for litdata."""
    return {"image": image.read_bytes(), "mask": image.with_name(f"{image.stem}_mask.png").read_bytes()}


class Streaming(ld.StreamingDataset):  # type: ignore[misc]  # it has no types
    """litdata's own dataset, decoding as we do."""

    def __getitem__(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        sample = super().__getitem__(index)
        return decode(sample["image"], sample["mask"], int(torch.randint(8, ())))


def litdata(folder: Path, workers: int) -> Iterable[Any]:
    """litdata over its own format, with images and masks as bytes."""
    out = folder / "litdata"
    if not out.exists():
        images = sorted((folder / "data").rglob("*.jpg"))
        ld.optimize(fn=read_pair, inputs=images, output_dir=str(out), chunk_bytes="64MB", num_workers=workers)
    loader: Iterable[Any] = ld.StreamingDataLoader(
        Streaming(str(out), shuffle=True), batch_size=BATCH, num_workers=workers, collate_fn=collate
    )
    return loader


class Source:
    """Random access to our shards, for Grain."""

    def __init__(self, folder: Path) -> None:
        self._reader = ShardReader(folder)

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> tuple[bytes, bytes]:
        files = self._reader.read(int(index))
        assert files.mask is not None
        return files.image, files.mask


class Decode(pygrain.RandomMapTransform):  # type: ignore[misc]  # it has no types
    """Decoding as a step of Grain."""

    def random_map(self, element: tuple[bytes, bytes], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return decode(*element, int(rng.integers(8)))


def grain(folder: Path, workers: int) -> Iterable[Any]:
    """Grain over our shards by random access, its own shuffling and batching, in processes."""
    source = Source(folder / "mapped")
    loader: Iterable[Any] = pygrain.DataLoader(
        data_source=source,
        sampler=pygrain.IndexSampler(len(source), shuffle=True, seed=0, num_epochs=None),
        operations=[Decode(), pygrain.Batch(BATCH, drop_remainder=True)],
        worker_count=workers,
        worker_buffer_size=2,
    )
    return loader


def histods(folder: Path, workers: int) -> Iterable[Any]:
    """Our loader over our shards: drawn by class, any order, resumable."""
    reader = ShardReader(folder / "mapped")
    return Loader(ShardDataset(reader, balanced(reader, seed=0)), global_batch=BATCH, workers=workers)


def rate(make: Callable[[Path, int], Iterable[Any]], folder: Path, workers: int) -> float:
    """Samples a second, once it runs."""

    def endless() -> Iterator[Any]:
        while True:
            yield from make(folder, workers)

    batches = endless()
    for _ in range(WARM):
        next(batches)
    started, samples = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        samples += len(next(batches)[0])
    return samples / (time.perf_counter() - started)


def decode_rate(folder: Path, *, turned: bool) -> float:
    """Samples a second of decoding alone on one core, drawn as the loader draws them."""
    reader = ShardReader(folder / "mapped")
    drawn = balanced(reader, seed=0).draw(np.arange(2000))
    files = [reader.read(int(sample)) for sample in drawn.samples]
    buffer = np.empty(512 * 512 * 3, np.uint8)
    started = time.perf_counter()
    for one, view in zip(files, drawn.views.tolist(), strict=True):
        pixels, labels = decode_rgb(one.image, buffer), None if one.mask is None else decode_mask(one.mask).labels
        if turned:
            turn(pixels, view)
            if labels is not None:
                turn(np.array(labels), view)
    return len(files) / (time.perf_counter() - started)


def at_once(folder: Path, cores: int, *, turned: bool) -> float:
    """The same by a process for each core, all together."""
    with ProcessPoolExecutor(cores, mp_context=get_context("fork")) as pool:
        return sum(pool.map(partial(decode_rate, turned=turned), [folder] * cores))


def writing(folder: Path, workers: int) -> dict[str, list[float]]:
    """Seconds of tar and of `histods shard`, in turn."""
    shards = [sys.executable, "-m", "histods", "shard", "-w", str(folder / "out"), "--quiet", "--out", "shards"]
    # 256 MB, so that two workers have equal shares of a few gigabytes.
    commands = {
        "tar cf": ["tar", "cf", "plain.tar", "data"],
        "histods shard": [*shards, "--shard-mb", "256", "--workers", str(workers)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True)
            seconds[name].append(time.perf_counter() - started)
            (folder / "plain.tar").unlink(missing_ok=True)
            shutil.rmtree(folder / "shards", ignore_errors=True)
            os.sync()
    return seconds


def make(folder: Path, pairs: int) -> Path:
    """Make and audit a dataset with DRSK's proportions, unless it is there."""
    here = folder / f"shards-{pairs}"
    if not (here / "out").exists():
        orphans, zero_masks = drsk_proportions(pairs)
        make_benchmark(here / "data", pairs=pairs, orphans=orphans, zero_masks=zero_masks)
        audit(here / "data", workspace=here / "out")
    return here


def loading(folder: Path, cores: int) -> dict[str, float]:
    """Samples a second of decoding alone and of each loader, the best of some rounds in turn."""
    if not (folder / "mapped").exists():
        shard(workspace=folder / "out", map="label_map_5.yml", out=folder / "mapped")
    warnings.simplefilter("ignore")  # of the peers, about our use of them
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, turned in (("decoding alone", False), ("decoding and turning", True)):
            alone, together = cores * decode_rate(folder, turned=turned), at_once(folder, cores, turned=turned)
            best[f"{name} x cores"] = max(best.get(f"{name} x cores", 0), alone)
            best[f"{name}, all cores"] = max(best.get(f"{name}, all cores", 0), together)
        for peer in (histods, plain_files, webdataset, litdata, grain):
            best[peer.__name__] = max(best.get(peer.__name__, 0), rate(peer, folder, cores))
    return best


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=DRSK_PAIRS, help="pairs of the dataset that is written")
    parser.add_argument("--folder", type=Path, help="where the datasets are made and stay (40 KB a pair)")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        seconds = writing(make(folder, options.pairs), cores)
        for name, times in seconds.items():
            print(f"{name:34}{min(times):>12.2f} s ({', '.join(f'{time:.1f}' for time in times)})", flush=True)
        print(f"{'tar / histods':34}{min(seconds['tar cf']) / min(seconds['histods shard']):>12.2f}", flush=True)
        rates = loading(make(folder, min(options.pairs, LOADED)), cores)
    limit = rates["decoding alone x cores"]
    for name, value in rates.items():
        print(f"{name + ', samples/s':34}{value:>12,.0f}{value / limit:>8.2f}")


if __name__ == "__main__":
    main()
