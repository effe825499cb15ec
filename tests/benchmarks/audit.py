"""Speed of the audit, measured in one run on one generated dataset with DRSK's proportions.

Run it with `make bench`, or with a size of your own: `python -m tests.benchmarks.audit --pairs 250000`.
It compares, on the same files with a warm cache:

- plain loop: OpenCV in grey and `numpy.unique`, one process, as throw-away scripts do;
- Pillow loop: Pillow and `numpy.unique`, one process;
- floor: read, digest, decode with the fastest sound decoder and find runs, all cores, nothing kept:
  what no audit on this machine can beat;
- histods: `histods audit` as a whole process, from start to written manifest; then again, unchanged.

All sizes are measured in turn, round by round, so that other work on the machine meets them alike. Whether a
pair costs the same in a large dataset is told twice, from the best of each and with the range over the rounds:

- less one pair: an audit's time less that of an audit of one pair, a pair. It flatters small datasets, which
  are listed and paired while the workers start;
- each further pair: the time between two sizes, by the pairs between them, in which no start-up is left.
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
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import kornia_rs
import numpy as np
import xxhash
from loky import ProcessPoolExecutor, cpu_count
from PIL import Image

from histods.engines.local import WORKER_ENVIRONMENT
from histods.run_lengths import find_runs, histogram
from tests.datasets.benchmark import drsk_proportions, make_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SAMPLE = 1500
ROUNDS = 3
CHUNK = 256


def plain_loop(masks: Sequence[str]) -> None:
    """What the replaced scripts do for each mask."""
    for path in masks:
        mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        np.unique(mask, return_counts=True)


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
    orphans, zero_masks = drsk_proportions(pairs) if pairs > 1 else (0, 0)
    if not root.exists():
        started = time.perf_counter()
        make_benchmark(root, pairs=pairs, orphans=orphans, zero_masks=zero_masks)
        print(f"made {pairs:,} pairs in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return root


class Rounds(NamedTuple):
    """What was measured on one dataset, once a round; `again` are audits of the dataset as it was."""

    pairs: int
    floors: list[float]
    firsts: list[Audit]
    again: list[Audit]


def measure(folder: Path, sizes: Sequence[int]) -> list[Rounds]:
    """Run audits and floors of all sizes in turn; the first is of one pair, what an audit costs by itself."""
    roots = {pairs: make(folder, pairs) for pairs in (1, *sizes)}
    images = {pairs: sorted(str(path) for path in root.rglob("*.jpg")) for pairs, root in roots.items()}
    measured = [Rounds(pairs, [], [], []) for pairs in roots]
    for _ in range(ROUNDS):
        for pairs, floors, firsts, again in measured:
            floors.append(floor(images[pairs]))
            firsts.append(audit(roots[pairs], folder / f"out-{pairs}", "--fresh"))
            again.append(audit(roots[pairs], folder / f"out-{pairs}"))
    return measured


def figures(folder: Path, rounds: Rounds) -> dict[str, float]:
    """The best of each: other work on the machine only ever adds time."""
    pairs = rounds.pairs
    masks = sorted(str(path) for path in make(folder, pairs).rglob("*_mask.png"))
    sample = masks[:: max(1, len(masks) // SAMPLE)]
    first = min(rounds.firsts)
    result = {
        "pairs": pairs,
        "plain loop, pairs/s": max(rate(plain_loop, sample) for _ in range(ROUNDS)),
        "Pillow loop, pairs/s": max(rate(pillow_loop, sample) for _ in range(ROUNDS)),
        "floor, pairs/s": pairs / min(rounds.floors),
        "histods, pairs/s": pairs / first.seconds,
        "histods, s": first.seconds,
        "  of these inside audit(), s": first.inside,
        "histods, CPU s": min(run.cpu for run in rounds.firsts),
        "second audit, s": min(rounds.again).seconds,
        "peak memory of all processes, MB": max(run.memory for run in rounds.firsts) / 1e6,
    }
    result["histods / plain loop"] = result["histods, pairs/s"] / result["plain loop, pairs/s"]
    result["histods / floor"] = result["histods, pairs/s"] / result["floor, pairs/s"]
    result["second / first audit"] = result["second audit, s"] / result["histods, s"]
    return result


def cost(start: Rounds, end: Rounds, kind: Callable[[Rounds], list[float]]) -> NDArray[np.float64]:
    """Microseconds of each pair between two sizes: of the best of each, then of every round, [1 + rounds]."""
    times = [np.array([min(kind(size)), *kind(size)]) for size in (start, end)]
    each: NDArray[np.float64] = 1e6 * (times[1] - times[0]) / (end.pairs - start.pairs)
    return each


KINDS: dict[str, Callable[[Rounds], list[float]]] = {
    "wall": lambda rounds: [run.seconds for run in rounds.firsts],
    "CPU": lambda rounds: [run.cpu for run in rounds.firsts],
    "floor, wall": lambda rounds: rounds.floors,
}


def print_costs(measured: list[Rounds]) -> None:
    """Print what a pair costs at each size, and how much more in the largest dataset than in the smallest."""
    one, *sizes = measured
    less_one = [(one, size) for size in sizes]
    for title, steps in (("less one pair", less_one), ("each further pair", list(pairwise(sizes)))):
        for kind, values in KINDS.items():
            costs = [cost(*step, values) for step in steps]
            line = ", ".join(
                f"{best:.0f} ({low:.0f}-{high:.0f}) us {start.pairs:,}-{end.pairs:,}"
                for (start, end), (best, *each) in zip(steps, costs, strict=True)
                for low, high in [(min(each), max(each))]
            )
            more = costs[-1] / costs[0] if costs else np.ones(1)
            growth = f"; last / first {more[0]:.2f} ({more[1:].min():.2f}-{more[1:].max():.2f})"
            print(f"{title}, {kind}: {line}{growth if len(costs) > 1 else ''}")


def main() -> None:
    """Print the figures as a table, one column a size, and the cost of a pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 50_000, 246_750])
    parser.add_argument("--folder", type=Path, help="where the datasets are made and stay (16 KB a pair)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        measured = measure(folder, sorted(options.pairs))
        results = [figures(folder, rounds) for rounds in measured[1:]]
    one = measured[0].firsts
    print(f"audit of one pair: {min(one).seconds:.2f} s, {min(run.cpu for run in one):.2f} s of CPU", end="; ")
    print(f"cores: {cpu_count()}; {ROUNDS} rounds")
    for name in results[0]:
        print(
            f"{name:38}" + "".join(f"{result[name]:>14,.{0 if result[name] >= 100 else 2}f}" for result in results)
        )
    print_costs(measured)


if __name__ == "__main__":
    main()
