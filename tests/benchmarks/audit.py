"""Speed of the audit, measured in one run on one generated dataset with DRSK's proportions.

Run it with `make bench`, or with a size of your own: `python -m tests.benchmarks.audit --pairs 250000`.
It compares, on the same files with a warm cache:

- plain loop: OpenCV in grey and `numpy.unique`, one process, as throw-away scripts do;
- Pillow loop: Pillow and `numpy.unique`, one process;
- floor: read, digest, decode with the fastest sound decoder and find runs, all cores, nothing kept:
  what no audit on this machine can beat;
- histods: `histods audit` as a whole process, from start to written manifest; then again, unchanged.

The cost a pair is given in wall time and in CPU time of all processes, both less those of an audit of one
pair: imports and worker processes cost the same at all sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import kornia_rs
import numpy as np
import xxhash
from loky import ProcessPoolExecutor, cpu_count
from PIL import Image

from histods.engines.local import WORKER_ENVIRONMENT
from histods.runs import find_runs, histogram
from histods.synthetic import drsk_proportions, make_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE = 1500
ROUNDS = 3
SMALL_ROUNDS = 6
CHUNK = 256


def plain_loop(masks: Sequence[str]) -> None:
    """What the replaced scripts do for each mask."""
    for path in masks:
        np.unique(cv2.imread(path, cv2.IMREAD_GRAYSCALE), return_counts=True)


def pillow_loop(masks: Sequence[str]) -> None:
    """The same with Pillow, which at least reads 16 bits and palettes right."""
    for path in masks:
        np.unique(np.asarray(Image.open(path)), return_counts=True)


def floor_work(images: Sequence[str]) -> int:
    """Look at the ends of each image; read, digest, decode and run-length each mask that is new."""
    seen: set[str] = set()
    total = 0
    for path in images:
        descriptor = os.open(path, os.O_RDONLY)
        head, size = os.pread(descriptor, 1024, 0), os.fstat(descriptor).st_size
        total += len(head) + len(os.pread(descriptor, 2, size - 2))
        os.close(descriptor)
        with open(path[:-4] + "_mask.png", "rb") as file:  # noqa: PTH123 - the floor spares pathlib too
            content = file.read()
        digest = xxhash.xxh3_128_hexdigest(content)
        if digest not in seen:
            seen.add(digest)
            shape = (int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big"))
            histogram(find_runs(kornia_rs.io.decode_image_png_u8(content, shape, "mono")))
    return total


def floor(images: Sequence[str]) -> float:
    """Seconds of `floor_work` over all images with all cores, worker start-up not counted."""
    with ProcessPoolExecutor(max_workers=cpu_count(), env=WORKER_ENVIRONMENT) as pool:
        list(pool.map(floor_work, [[]] * cpu_count()))
        started = time.perf_counter()
        for _ in pool.map(floor_work, [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]):
            pass
        return time.perf_counter() - started


def rate(work: Callable[[Sequence[str]], None], files: Sequence[str]) -> float:
    """Files a second of a loop in this process."""
    work(files[:20])
    started = time.perf_counter()
    work(files)
    return len(files) / (time.perf_counter() - started)


def tree_memory(process: int) -> int:
    """Bytes of memory of a process and all below it; pages they share are counted once (PSS, Linux)."""
    total, waiting = 0, [process]
    while waiting:
        current = waiting.pop()
        try:
            for line in Path(f"/proc/{current}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):  # it ended meanwhile
            continue
    return total


class Audit(NamedTuple):
    """One `histods audit` as a process: seconds, CPU seconds of all its processes, seconds inside, peak bytes."""

    seconds: float
    cpu: float
    inside: float
    memory: int


def audit(root: Path, workspace: Path, *options: str) -> Audit:
    """Run `histods audit` as a process and watch it."""
    command = [sys.executable, "-m", "histods", "audit", str(root), "-w", str(workspace), "--quiet", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.25):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"histods audit ended with {process.returncode}")
    inside = json.loads((workspace / "audit.json").read_text())["timing"]["seconds"]
    return Audit(seconds, usage.ru_utime + usage.ru_stime, inside, peak)


def make(folder: Path, pairs: int) -> Path:
    """Make a dataset with DRSK's proportions, unless it is there."""
    root = folder / f"data-{pairs}"
    orphans, zero_masks = drsk_proportions(pairs)
    if not root.exists():
        started = time.perf_counter()
        make_benchmark(root, pairs=pairs, orphans=orphans, zero_masks=zero_masks)
        print(f"made {pairs:,} pairs in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return root


def measure(folder: Path, pairs: int) -> dict[str, float]:
    """Make a dataset and measure everything on it."""
    root = make(folder, pairs)
    images = sorted(str(path) for path in root.rglob("*.jpg"))
    masks = [path[:-4] + "_mask.png" for path in images]
    sample = masks[:: max(1, len(masks) // SAMPLE)]
    # In turn, and the best of each: other work on the machine only ever adds time.
    floors, firsts = [], []
    for _ in range(ROUNDS if pairs > 50_000 else SMALL_ROUNDS):
        floors.append(floor(images))
        firsts.append(audit(root, folder / f"out-{pairs}", "--fresh"))
    first = min(firsts)
    again = min(audit(root, folder / f"out-{pairs}") for _ in range(ROUNDS))
    return {
        "pairs": pairs,
        "plain loop, pairs/s": max(rate(plain_loop, sample) for _ in range(ROUNDS)),
        "Pillow loop, pairs/s": max(rate(pillow_loop, sample) for _ in range(ROUNDS)),
        "floor, pairs/s": pairs / min(floors),
        "histods, pairs/s": pairs / first.seconds,
        "histods, s": first.seconds,
        "  of these inside audit(), s": first.inside,
        "histods, CPU s": min(run.cpu for run in firsts),
        "second audit, s": again.seconds,
        "peak memory of all processes, MB": max(run.memory for run in firsts) / 1e6,
    }


def main() -> None:
    """Print the figures as a table, one column a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--folder", type=Path, help="where the datasets are made and stay (2 KB to 20 KB a pair)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        one = audit_one(folder)
        results = [measure(folder, pairs) for pairs in options.pairs]
    for result in results:
        result["histods / plain loop"] = result["histods, pairs/s"] / result["plain loop, pairs/s"]
        result["histods / floor"] = result["histods, pairs/s"] / result["floor, pairs/s"]
        result["second / first audit"] = result["second audit, s"] / result["histods, s"]
        for kind, name, start_up in (("wall", "histods, s", one.seconds), ("CPU", "histods, CPU s", one.cpu)):
            result[f"{kind} time a pair less one pair's, us"] = 1e6 * (result[name] - start_up) / result["pairs"]
    print(f"audit of one pair: {one.seconds:.2f} s, {one.cpu:.2f} s of CPU; cores: {cpu_count()}")
    for name in results[0]:
        print(
            f"{name:38}" + "".join(f"{result[name]:>14,.{0 if result[name] >= 100 else 2}f}" for result in results)
        )


def audit_one(folder: Path) -> Audit:
    """What an audit costs before it reads anything: the least of each figure."""
    root = folder / "one"
    if not root.exists():
        make_benchmark(root, pairs=1, orphans=0, zero_masks=0)
    runs = [audit(root, folder / "out-one", "--fresh") for _ in range(SMALL_ROUNDS)]
    return Audit(*map(min, zip(*runs, strict=True)))


if __name__ == "__main__":
    main()
