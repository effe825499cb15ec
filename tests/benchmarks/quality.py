"""Speed of `histods audit --quality` against an audit without it and against CleanVision, and their verdicts.

Run it with `make bench`, or with a size of your own: `python -m tests.benchmarks.quality --images 2000`. Each is a
process of its own with a worker per core and a warm cache, in turn, round by round, so that other work on the
machine meets all alike: `histods audit` with all its checks, and without those that CleanVision has not, from
start to written manifest, and CleanVision with its default checks. What each takes for a folder of 100 images is
subtracted: to start all workers, above all.

Verdicts are compared on sound pictures and on pictures with planted faults, for what both look for.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from loky import cpu_count

import histods
from tests.histods.checks.picture_files import FAULTS, encode, tissue

ROUNDS = 3
PATCHES = 40
FEW = 100  # images: enough that every worker has some
BOTH = {
    "dark": ("is_dark_issue", ("too_dark",)),
    "light": ("is_light_issue", ("over_exposed", "blank")),
    "blurry": ("is_blurry_issue", ("blur",)),
    "low information": ("is_low_information_issue", ("blank",)),
    "duplicates": ("is_near_duplicates_issue", ("near_duplicate",)),
}
"""What both look for: the column of CleanVision, and our codes."""


def make_images(root: Path, images: int) -> None:
    """Write different patches of 512x512: a few generated ones, turned, mirrored and rolled by random offsets."""
    random = np.random.default_rng(0)
    root.mkdir()
    for number in range(images):
        patch = np.rot90(tissue(number % PATCHES, 512), number // PATCHES % 4)
        rolled = np.roll(patch, random.integers(0, 512, 2), (0, 1))
        (root / f"{number:06}.jpg").write_bytes(encode(np.ascontiguousarray(rolled), quality=85))


def make_faults(root: Path) -> dict[str, str]:
    """Write sound pictures and two with each fault; the fault by the name of the file, '' for sound ones."""
    root.mkdir()
    faults = {}
    for index in range(PATCHES):
        (root / f"a sound {index}.jpg").write_bytes(encode(tissue(index, 512)))
        faults[f"a sound {index}.jpg"] = ""
    for place, (name, (code, fault)) in enumerate(FAULTS.items()):
        for number in range(2):
            like = 2 * place + number + (0 if code == "near_duplicate" else PATCHES)
            (root / f"{name} {number}.jpg").write_bytes(encode(fault(tissue(like, 512)), quality=70))
            faults[f"{name} {number}.jpg"] = name
    return faults


def clean_vision(root: Path) -> dict[str, set[str]]:
    """The names of the images with each issue that CleanVision finds, by its column."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(root))
    lab.find_issues(n_jobs=cpu_count(), verbose=False)
    issues = lab.issues
    return {column: {Path(path).name for path in issues.index[issues[column]]} for column, _ in BOTH.values()}


def findings(root: Path) -> dict[str, set[str]]:
    """The names of the images with each code."""
    with tempfile.TemporaryDirectory() as workspace:
        result = histods.audit(root, workspace=workspace, allow_unpaired=True, quality=True)
        found: dict[str, set[str]] = {}
        for finding in result.iter_findings():
            found.setdefault(finding.code, set()).add(finding.path)
    return found


def run(command: list[str]) -> tuple[float, float]:
    """Run a command: seconds, and CPU seconds of all its processes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


ONLY_OURS = ("pen_marks", "stain_outlier", "misplaced_mask", "low_tissue")
OF_BOTH = f"""
from histods import checks
checks.CHECKS = tuple(check for check in checks.CHECKS if check.code not in {ONLY_OURS})
from histods.__main__ import main
main()
"""
PEER = """
import sys
from cleanvision import Imagelab
Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=int(sys.argv[2]), verbose=False)
"""


def compare_rates(few: Path, many: Path, images: int) -> None:
    """Print images per second, and what each further image costs, after those of a folder of few."""

    def commands(root: Path) -> dict[str, list[str]]:
        options = ["audit", str(root), "-w", f"{root}-out", "--quiet", "--fresh", "--allow-unpaired"]
        options += ["--fail-on", "never"]
        audit = [sys.executable, "-m", "histods", *options]
        return {
            "histods audit": audit,
            "histods audit --quality": [*audit, "--quality"],
            "the same, checks of both": [sys.executable, "-c", OF_BOTH, *options, "--quality"],
            "CleanVision": [sys.executable, "-c", PEER, str(root), str(cpu_count())],
        }

    first: dict[str, list[tuple[float, float]]] = {name: [] for name in commands(few)}
    whole: dict[str, list[tuple[float, float]]] = {name: [] for name in commands(few)}
    for _ in range(ROUNDS):
        for name, command in commands(many).items():
            first[name].append(run(commands(few)[name]))
            whole[name].append(run(command))
    best = {}
    for name, starts in first.items():
        start, start_cpu = (min(values) for values in zip(*starts, strict=True))
        wall, cpu = (min(values) for values in zip(*whole[name], strict=True))
        best[name] = (wall - start) / (images - FEW), (cpu - start_cpu) / (images - FEW)
        rounds = ", ".join(f"{wall:.2f}" for wall, _ in whole[name])
        print(f"{name}: {start:.2f} s for {FEW} images, {rounds} s for {images:,} in each round")
        print(f"    {1 / best[name][0]:,.0f} further images/s, {1000 * best[name][1]:.2f} ms of CPU each")
    _, *ours, peer = best.items()
    for name, cost in ours:
        rate, time_ratio = (theirs / own for theirs, own in zip(peer[1], cost, strict=True))
        print(f"{name} / CleanVision: {rate:.1f} times the rate, {time_ratio:.1f} by CPU time")


def compare_verdicts(root: Path, faults: dict[str, str]) -> None:
    """Print how many images both flag, and what only one of them does."""
    ours, theirs = findings(root), clean_vision(root)
    for issue, (column, codes) in BOTH.items():
        own, peer = set().union(*(ours.get(code, set()) for code in codes)), theirs[column]
        print(f"{issue}: both {len(own & peer)}, neither {len(faults) - len(own | peer)}")
        for who, names in (("only histods", own - peer), ("only CleanVision", peer - own)):
            kinds = sorted({faults[name] or "sound" for name in names})
            numbers = ", ".join(f"{kind} {sum((faults[n] or 'sound') == kind for n in names)}" for kind in kinds)
            if names:
                print(f"    {who}: {numbers}")


def main() -> None:
    """Print rates and verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        faults = make_faults(folder / "faults")
        compare_verdicts(folder / "faults", faults)
        make_images(folder / "few", FEW)
        make_images(folder / "many", options.images)
        print(f"{options.images:,} patches of 512x512, {cpu_count()} cores, {ROUNDS} rounds in turn")
        compare_rates(folder / "few", folder / "many", options.images)


if __name__ == "__main__":
    main()
