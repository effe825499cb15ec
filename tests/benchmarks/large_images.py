"""Time and memory of large images, and how much the borders of their windows show.

Run `python -m tests.benchmarks.large_images RUN OUT` with a trained run. For each size, a child process samples
one image as TIFF for a mask of smooth regions, on one core; its CPU time and its peak memory are those that the
operating system, Linux, counts. The first size is a single window, which shows what is needed whatever the area.

Then borders between windows of the last two steps: the mean absolute difference of pixels across them, over that
across other borders between latents, for rows and for columns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.images.reader import decode_rgb
from histods.masks.writer import encode_mask
from training.diffusion.samplers import choose_levels
from training.diffusion.windows import cut_axis, grid_offset
from training.runs.checkpoint import read_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.runs.checkpoint import Run

CELL = 256  # pixels between the points that regions are interpolated from


class Cost(NamedTuple):
    """What a child process took: seconds of CPU, and bytes at its peak."""

    seconds: float
    memory: int


def smooth_regions(side: int, classes: int, seed: int = 0) -> NDArray[np.uint8]:
    """A mask [side, side]: the class whose noise, interpolated between points of a grid, is the largest."""
    points = side // CELL + 2
    noise = np.random.default_rng(seed).normal(size=(classes, points, points)).astype(np.float32)
    where = np.arange(side, dtype=np.float32) / CELL
    left, share = where.astype(int), where % 1
    across = noise[:, :, left] * (1 - share) + noise[:, :, left + 1] * share
    rows = [across[:, y] * (1 - s) + across[:, y + 1] * s for y, s in zip(left, share, strict=True)]
    return np.stack([row.argmax(0).astype(np.uint8) for row in rows])


def cost_of(*command: str) -> Cost:
    """Run `histods` in a child process with one thread, and measure it.

    The peak is read from Linux's `VmHWM`: `ru_maxrss` of a child is at least the memory of its parent.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "histods", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    status, memory, ended = Path(f"/proc/{child.pid}/status"), 0, 0
    while not ended:
        time.sleep(0.05)
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        memory = int(peaks[0]) * 1024 if peaks else memory  # a process that has ended has none
        ended, code, usage = os.wait4(child.pid, os.WNOHANG)
    if code:
        raise SystemExit(f"histods {' '.join(command)} failed")
    return Cost(usage.ru_utime + usage.ru_stime, memory)


def border_ratios(run: Run, out: Path, steps: int, back: int = 1) -> list[tuple[float, float]]:
    """Differences across borders of one of the last steps over those elsewhere, of rows and of columns.

    Args:
        run: the run, whose windows made the image.
        out: the folder of one image.
        steps: the steps of the image.
        back: 1 for the last step, 2 for the one before.

    Returns:
        For rows and for columns: the ratio, and the standard deviation of the ratios of all grids that there could
        have been, which is its noise.
    """
    record = json.loads((out / "overview" / "samples.json").read_text())["images"][0]
    pixels = decode_rgb((out / record["image"]).read_bytes())
    levels = choose_levels(run.schedule, run.config.diffusion.prediction, steps, run.space.clip, "time")
    factor = run.load_autoencoder("cpu").factor
    side = run.config.model.image_size // factor
    found = []
    for axis, offset in enumerate(grid_offset(record["seed"], levels[-1 - back], side)):
        length = pixels.shape[axis]
        change = np.array(
            [
                np.abs(pixels.take(at + 1, axis).astype(np.int16) - pixels.take(at, axis)).mean()
                for at in range(length - 1)
            ]
        )
        between = np.arange(factor - 1, length - 1, factor)  # where latents meet
        ratios = []
        for other in range(side):
            borders = [piece.first * factor - 1 for piece in cut_axis(length // factor, side, other)[1:]]
            ratios.append(float(change[borders].mean() / change[np.setdiff1d(between, borders)].mean()))
        found.append((ratios[offset], float(np.std(ratios))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    run = read_run(options.run)
    window, classes = run.config.model.image_size, len(run.classes)
    first = None
    print("| pixels | CPU time | per megapixel | peak memory | beyond one window | per megapixel |")
    print("| --- | --- | --- | --- | --- | --- |")
    for side in (window, *options.sizes):
        mask = options.out / f"mask-{side}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(encode_mask(smooth_regions(side, classes)))
        out = options.out / f"image-{side}"
        how = ["--reference"] if options.reference else []
        place = ["--run", str(run.checkpoint), "--masks", str(mask), "--out", str(out), "--device", "cpu"]
        cost = cost_of("sample", *place, "--format", "tiff", "--steps", str(options.steps), *how)
        first, area = first or cost, side**2 / 1e6
        more = Cost(cost.seconds - first.seconds, cost.memory - first.memory)
        print(
            f"| {side} x {side} | {cost.seconds:.1f} s | {more.seconds / area:.2f} s | {cost.memory / 1e6:.0f} MB "
            f"| {more.memory / 1e6:.0f} MB | {more.memory / 1e6 / area:.1f} MB |",
            flush=True,
        )
        if side > window and not options.reference:
            found = [*border_ratios(run, out, options.steps), *border_ratios(run, out, options.steps, back=2)]
            print("  ", ", ".join(f"{ratio:.3f} (noise {noise:.3f})" for ratio, noise in found), file=sys.stderr)


if __name__ == "__main__":
    main()
