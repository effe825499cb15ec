"""Speed of an audit where each call to storage takes milliseconds, as on NFS or Lustre.

Run `python -m tests.benchmarks.storage`. A library that is loaded before all others (`slow_storage.c`, which needs
a C compiler and Linux) makes each call on a file of the dataset wait. In one run, best of `ROUNDS` in turn:

- one at a time: a loop that opens and reads image and mask, digests both and decodes the mask, in one process;
  some pairs of the dataset, of which the time of all is reckoned;
- histods: `histods audit` as a whole process, then again on the unchanged dataset, whose files' states are asked;
- reading alone: how many times as fast, less the time of an audit of one pair, which is start-up;
- floor: `histods audit` where no call waits, and the waits of a single pair: as if all calls were made at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import kornia_rs
import xxhash

from tests.benchmarks.audit import audit, make

ROUNDS = 2
SAMPLE = 100
CALLS = 4
"""Calls that a pair needs at least: opening and reading each of two files."""
_HERE = Path(__file__).parent


def compile_delay(folder: Path) -> Path:
    """Compile the library that makes calls wait."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise SystemExit("Expected Linux and a C compiler to make storage slow, found none; install gcc.")
    library = folder / "slow_storage.so"
    source = _HERE / "slow_storage.c"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def read_one_at_a_time(root: Path, pairs: int) -> float:
    """Seconds that reading pairs takes which reads one file at a time."""
    images = sorted(str(path) for path in root.rglob("*.jpg"))[:pairs]
    started = time.perf_counter()
    for image in images:
        for path in (image, image[:-4] + "_mask.png"):
            descriptor = os.open(path, os.O_RDONLY)
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            os.close(descriptor)
            xxhash.xxh3_128_hexdigest(content)
        shape = (int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big"))
        kornia_rs.io.decode_image_png_u8(content, shape, "mono")
    return time.perf_counter() - started


class Times(NamedTuple):
    """Seconds of reading all pairs one at a time, of audits of all and of one, and of the unchanged dataset."""

    plain: float
    first: float
    start: float
    again: float


def measure(folder: Path, pairs: int) -> Times:
    """Measure under the delay that this process has in its environment; its children inherit it."""
    root, single = make(folder, pairs), make(folder, 1)
    command = [sys.executable, "-m", "tests.benchmarks.storage", "--plain", str(root)]
    plain = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    first = audit(root, folder / "out", "--fresh", "--fail-on", "never").seconds
    start = audit(single, folder / "out-1", "--fresh", "--fail-on", "never").seconds
    return Times(plain * pairs / SAMPLE, first, start, audit(root, folder / "out", "--fail-on", "never").seconds)


def main() -> None:
    """Print the table, one row for each delay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--milliseconds", type=float, nargs="+", default=[0, 1, 5, 20])
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(read_one_at_a_time(options.plain, SAMPLE))
        return
    measured: dict[float, list[Times]] = {delay: [] for delay in options.milliseconds}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = compile_delay(folder)
        make(folder, options.pairs)
        make(folder, 1)
        os.environ |= {"LD_PRELOAD": str(library), "SLOW_BELOW": f"{folder}/data-"}
        for _ in range(ROUNDS):
            for delay, times in measured.items():
                os.environ["SLOW_MICROSECONDS"] = str(int(1000 * delay))
                times.append(measure(folder, options.pairs))
    print(f"{options.pairs:,} pairs, {os.cpu_count()} cores, seconds; best of {ROUNDS} rounds in turn")
    names = ("ms a call", "one at a time", "histods", "times as fast", "reading alone", "floor", "unchanged")
    print("".join(f"{name:>15}" for name in names))
    quickest = min(time.first for time in measured[min(measured)])
    for delay, times in measured.items():
        plain, first, start, again = (min(values) for values in zip(*times, strict=True))
        floor = quickest + CALLS * delay / 1000
        row = (delay, plain, first, plain / first, plain / (first - start), floor, again)
        print("".join(f"{value:>15.1f}" for value in row))


if __name__ == "__main__":
    main()
