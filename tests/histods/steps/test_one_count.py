"""One count: the audit, the class systems, the charts and the lists all count the masks of the samples in use."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image

from histods import audit, plot, remap
from histods.io.workspace import Workspace
from histods.steps.remap import to_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIDE = 16
Labels = dict[str, "NDArray[np.uint8] | None"]


def put(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def put_image(path: Path, seed: int) -> None:
    put(path, np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8))


def regions(seed: int, *labels: int) -> NDArray[np.uint8]:
    """Blocks of labels, each of them there, together of half a patch's height or more."""
    random = np.random.default_rng(seed)
    blocks = random.permutation(np.resize(np.array(labels, np.uint8), 16)).reshape(4, 4)
    return np.kron(blocks, np.ones((SIDE // 4, SIDE // 4), np.uint8))


def pairs(root: Path, number: int, *labels: int, prefix: str = "t") -> Labels:
    """Sound pairs, the last of them with a zero mask."""
    made: Labels = {}
    for index in range(number):
        mask = regions(index, *(labels or (0, 1, 2)))
        mask = mask if index < number - 1 else np.zeros_like(mask)
        put_image(root / f"{prefix}{index}.png", index)
        put(root / f"{prefix}{index}_mask.png", mask)
        made[f"{prefix}{index}"] = mask
    return made


def sound(root: Path) -> tuple[Labels, Labels]:
    return pairs(root, 6), {}


def without_images(root: Path) -> tuple[Labels, Labels]:
    """Orphan masks that hold labels which no mask in use holds."""
    used = pairs(root, 6)
    orphans: Labels = {}
    for index in range(3):
        mask = regions(50 + index, 0, 7, 9)
        put(root / f"lost{index}_mask.png", mask)
        orphans[f"lost{index}_mask"] = mask
    return used, orphans


def of_other_sizes(root: Path) -> tuple[Labels, Labels]:
    """Masks that can be read and are larger than their images."""
    made = pairs(root, 8)
    small = {key: cast("NDArray[np.uint8]", made.pop(key)) for key in ("t1", "t3")}
    large: dict[str, NDArray[np.uint8]] = {
        key: np.kron(mask, np.ones((2, 2), np.uint8)) for key, mask in small.items()
    }
    for key, mask in large.items():
        put(root / f"{key}_mask.png", mask)
    return made, dict(large)


def with_unknown_labels(root: Path) -> tuple[Labels, Labels]:
    used, wrong = pairs(root, 5), pairs(root, 4, 0, 2, 77, prefix="u")
    last = wrong.pop("u3")
    (root.parent / "labels.yml").write_text("labels: {0: nothing, 1: tumour, 2: stroma}\n")
    return {**used, "u3": last}, wrong


def unreadable(root: Path) -> tuple[Labels, Labels]:
    """A broken image excludes a mask that can be read; a broken mask has nothing to count."""
    made = pairs(root, 7)
    (root / "t0.png").write_bytes(b"")
    (root / "t1_mask.png").write_bytes((root / "t1_mask.png").read_bytes()[:-20])
    del made["t1"]
    return made, {"t0": made.pop("t0")}


def without_masks(root: Path) -> tuple[Labels, Labels]:
    """Images that have no masks by design count nothing, and are in use."""
    used = pairs(root, 5)
    for index in range(4):
        put_image(root / "free" / f"f{index}.png", 90 + index)
        used[f"free/f{index}"] = None
    return used, {}


SETS = {
    make.__name__: make
    for make in (sound, without_images, of_other_sizes, with_unknown_labels, unreadable, without_masks)
}


def count(masks: Labels) -> tuple[dict[int, tuple[int, int]], int]:
    """Pixels and masks of each label, and the number of masks."""
    pixels, images, number = Counter[int](), Counter[int](), 0
    for mask in masks.values():
        if mask is not None:
            labels, found = np.unique(mask, return_counts=True)
            pixels.update(dict(zip(labels.tolist(), found.tolist(), strict=True)))
            images.update(labels.tolist())
            number += 1
    return {label: (pixels[label], images[label]) for label in pixels}, number


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_labels_classes_charts_and_lists_agree_number_by_number(
    make: Callable[[Path], tuple[Labels, Labels]], tmp_path: Path
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    used, excluded = make(root)
    named, free = tmp_path / "labels.yml", root / "free"
    audited = audit(
        root,
        workspace=out,
        labels=named if named.is_file() else None,
        unconditional=[free] if free.is_dir() else [],
        workers=1,
    )
    assert audited.counts.conditional + audited.counts.unconditional == len(used)
    totals, masks = count(used)
    document = json.loads(Workspace(out).audit.read_text())
    assert {row["label"]: (row["pixels"], row["images"]) for row in document["labels"]} == totals
    assert document["masks_in_use"] == audited.masks_in_use == masks
    assert sum(row["percent"] for row in document["labels"]) == pytest.approx(100)
    # What is left out is said beside it.
    without, number = count(excluded)
    beside = document["excluded_labels"]
    assert {row["label"]: (row["pixels"], row["images"]) for row in beside["labels"]} == without
    assert (beside["masks"], beside["pixels"]) == (number, sum(pixels for pixels, _ in without.values()))
    # The classes of the identity map are the labels.
    lists = tmp_path / "dataset.csv"
    classes = remap(workspace=out, dataset_csv=lists, write_masks=tmp_path / "masks")
    per_class = {row.index: (row.pixels, row.images) for row in classes.classes if row.images}
    assert per_class == totals
    assert {row.index: row.percent for row in classes.classes if row.images} == {
        row["label"]: row["percent"] for row in document["labels"]
    }
    numbers = to_document(classes)["counts"]
    assert (numbers["masks"], numbers["pixels"]) == (masks, sum(pixels for pixels, _ in totals.values()))
    assert (numbers["excluded_masks"], numbers["excluded_pixels"]) == (beside["masks"], beside["pixels"])
    # The charts draw the same numbers, of the labels and of the classes.
    plot(out)
    charts = {row["label"]: int(row["pixels"]) for row in rows_of(out / "charts" / "labels-percent.csv")}
    assert charts == {str(label): pixels for label, (pixels, _) in totals.items()}
    for row in rows_of(out / "charts" / "labels-images.csv"):
        assert int(row["images"]) == totals[int(row["label"])][1]
        assert float(row["percent_of_images"]) == pytest.approx(100 * int(row["images"]) / masks)
    for row in rows_of(out / "charts" / "labels-cooccurrence.csv"):
        if row["label"] == row["other_label"]:
            assert int(row["images"]) == totals[int(row["label"])][1]
    # So do a table of counts made of them, the list of samples, and the masks that are written.
    table = tmp_path / "counts.csv"
    table.write_text(
        "Label ID,Class Name,Pixel Count\n"
        + "".join(f"{row['label']},{row['name']},{row['pixels']}\n" for row in document["labels"])
    )
    counted = remap(counts=table)
    assert {row.index: row.pixels for row in counted.classes if row.pixels} == {
        label: pixels for label, (pixels, _) in totals.items()
    }
    listed = {row[0]: row[1] for row in csv.reader(lists.read_text().splitlines())}
    assert listed.keys() == used.keys()
    written = {path.name.removesuffix("_mask.png") for path in (tmp_path / "masks").rglob("*_mask.png")}
    assert written == {Path(key).name for key, mask in used.items() if mask is not None}


def test_a_second_audit_gives_the_same_totals(tmp_path: Path) -> None:
    without_images(tmp_path / "data")
    first = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    second = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    assert second.files_read == 0
    assert first.excluded_labels == second.excluded_labels
    assert (first.labels, first.masks_in_use) == (second.labels, second.masks_in_use)
    assert {row.label for row in first.excluded_labels.labels} == {0, 7, 9}


def test_where_every_sample_is_excluded_nothing_is_counted(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for index in range(3):
        put(root / f"t{index}_mask.png", regions(index, 0, 1))
    audited = audit(root, workspace=tmp_path / "out", layout="suffix", workers=1)
    assert (audited.labels, audited.masks_in_use) == ((), 0)
    assert (audited.excluded_labels.masks, audited.excluded_labels.pixels) == (3, 3 * SIDE * SIDE)
