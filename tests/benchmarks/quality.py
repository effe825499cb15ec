"""Speed of `histods audit --quality` against an audit without it and against CleanVision, and their verdicts.

Run it with `make bench`, or with a size of your own: `python -m tests.benchmarks.quality --images 2000`.
Everything is measured in this process, in turn, round by round, so that other work on the machine meets all
alike: the audit with all of its checks (`histods.audit`, from listing files to the written manifest) and
CleanVision with its default ones (`Imagelab.find_issues`), each with a process per core and a warm cache.

Verdicts are compared on sound pictures and on pictures with planted faults, for what both look for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from loky import cpu_count

import histods
from tests.histods.checks.picture_files import FAULTS, encode, tissue

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3
PATCHES = 40
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
        (root / f"sound {index}.jpg").write_bytes(encode(tissue(index, 512)))
        faults[f"sound {index}.jpg"] = ""
    for place, (name, (code, fault)) in enumerate(FAULTS.items()):
        for number in range(2):
            like = 2 * place + number + (0 if code == "near_duplicate" else PATCHES)
            (root / f"{name} {number}.jpg").write_bytes(encode(fault(tissue(like, 512)), quality=70))
            faults[f"{name} {number}.jpg"] = name
    return faults


def audit(root: Path, *, quality: bool) -> histods.Manifest:
    """A fresh audit in a workspace of its own."""
    with tempfile.TemporaryDirectory() as workspace:
        return histods.audit(root, workspace=workspace, allow_unpaired=True, quality=quality).manifest


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


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare_rates(root: Path, images: int) -> None:
    """Print images per second, the best round and all, and ratios of the best."""
    works: dict[str, Callable[[], object]] = {
        "histods audit": lambda: audit(root, quality=False),
        "histods audit --quality": lambda: audit(root, quality=True),
        "CleanVision": lambda: clean_vision(root),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    for name, each in times.items():
        rates = ", ".join(f"{images / one:,.0f}" for one in each)
        print(f"{name:26}{images / min(each):>8,.0f} images/s (rounds: {rates})")
    best = {name: min(each) for name, each in times.items()}
    plain, quality, peer = best.values()
    print(f"--quality / without: {plain / quality:.2f} of its rate; --quality / CleanVision: {peer / quality:.1f}")


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
        make_images(folder / "images", options.images)
        print(f"{options.images:,} patches of 512x512, {cpu_count()} cores, {ROUNDS} rounds in turn")
        compare_rates(folder / "images", options.images)


if __name__ == "__main__":
    main()
