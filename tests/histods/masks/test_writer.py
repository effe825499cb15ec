"""Remapped masks: their encoding, their places, the ownership of their folder, and what has changed since."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.colours.colour_labels import Mask
from histods.errors import HistodsError, StaleFileError
from histods.masks.writer import (
    MaskTask,
    claim_folder,
    constant_mask,
    encode_mask,
    plan_masks,
    remap_mask,
    write_mask_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOOKUP = np.zeros(65536, np.uint8)
LOOKUP[[3, 9, 700]] = [1, 2, 2]


def histogram(classes: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    found, pixels = np.unique(classes, return_counts=True)
    return found.tolist(), pixels.tolist()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 255)))
def test_encoded_masks_decode_to_the_same_pixels(classes: NDArray[np.uint8]) -> None:
    content = encode_mask(classes)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), classes)
    assert content == encode_mask(np.asfortranarray(classes))


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_labels_of_16_bits_are_kept_by_pillow_too(labels: NDArray[np.uint16]) -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_mask(labels)))), labels)


def test_a_mask_of_one_class_is_as_any_other() -> None:
    assert constant_mask(5, 7, 255) == encode_mask(np.full((5, 7), 255, np.uint8))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint16, (6, 5), elements=st.sampled_from([0, 3, 9, 700, 65535])), st.integers(0, 29))
def test_pixels_are_mapped_and_held_against_the_manifest(labels: NDArray[np.uint16], place: int) -> None:
    classes, pixels = histogram(LOOKUP[labels])
    mask = Mask(labels, "gray16", "png")
    content = remap_mask(mask, LOOKUP, classes=classes, pixels=pixels)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), -1), LOOKUP[labels])
    changed = labels.copy()
    changed.flat[place] = 3 if LOOKUP[labels.flat[place]] != 1 else 9
    with pytest.raises(StaleFileError, match="its pixels changed"):
        remap_mask(Mask(changed, "gray16", "png"), LOOKUP, classes=classes, pixels=pixels)


def planned(*paths: str | None) -> list[tuple[str, str]]:
    rows = [
        {"mask_path": path, "mask_bytes": 1, "mask_mtime_ns": 2, "height": 3, "width": 4, "labels": [0]}
        for path in paths
    ]
    tasks = plan_masks(pa.Table.from_pylist(rows), [([0], [12])] * len(rows))
    return [(task.source, task.target) for task in tasks]


def test_each_mask_has_a_png_at_its_path_once() -> None:
    assert planned("a/x_mask.v1.tif", None, "日本.PNG", "a/x_mask.v1.tif") == [
        ("a/x_mask.v1.tif", "a/x_mask.v1.png"),
        ("日本.PNG", "日本.png"),
    ]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (("a.png", "a.tif"), "a.png and a.tif would both be written as a.png"),
        (("../a.png",), "The mask ../a.png is outside the dataset"),
        (("a/../../b.png",), "The mask a/../../b.png is outside the dataset"),
        (("/a.png",), "The mask /a.png is outside the dataset"),
    ],
)
def test_masks_without_a_place_of_their_own_are_refused(paths: tuple[str, ...], found: str) -> None:
    with pytest.raises(HistodsError, match=f"^{found}"):
        planned(*paths)


def test_a_folder_belongs_to_one_map_and_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    claim_folder(folder, "map", "manifest")
    (folder / "a.png").touch()
    claim_folder(folder, "map", "manifest")
    for others in (("other", "manifest"), ("map", "other")):
        with pytest.raises(HistodsError, match="holds masks of another label map or manifest"):
            claim_folder(folder, *others)
    (folder / "remap.json").unlink()
    with pytest.raises(HistodsError, match=r"holds PNG files already, such as .*a\.png"):
        claim_folder(folder, "map", "manifest")
    assert not (folder / "remap.json").exists()
    (folder / "remap.json").write_text("[]")
    with pytest.raises(HistodsError, match="instead of a JSON object"):
        claim_folder(folder, "map", "manifest")


def test_masks_are_written_kept_or_named_as_a_problem(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "masks"
    root.mkdir()
    labels = np.array([[0, 3], [9, 700]], np.uint16)
    names = ["new", "there", "touched", "torn", "gone", "constant"]
    tasks = []
    for name in names:
        stored = labels if name != "constant" else np.full((2, 2), 3, np.uint16)
        Image.fromarray(stored).save(root / f"{name}.png")
        if name == "torn":
            (root / "torn.png").write_bytes((root / "torn.png").read_bytes()[:-5])
        state = (root / f"{name}.png").stat()
        classes, pixels = histogram(LOOKUP[stored])
        where = f"deep/{name}.png"
        tasks.append(MaskTask(f"{name}.png", where, state.st_size, state.st_mtime_ns, 2, 2, classes, pixels))
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "there.png").write_bytes(b"kept")
    os.utime(root / "touched.png", ns=(1, 1))
    (root / "gone.png").unlink()
    report = write_mask_files(tasks, root=str(root), folder=str(folder), lookup=LOOKUP, colours={}, nearest=False)
    assert (report.written, report.present, report.disk) == (2, 1, None)
    assert [path for path, _ in report.problems] == ["touched.png", "torn.png", "gone.png"]
    assert dict(report.problems)["touched.png"] == "its size or time changed"
    assert (folder / "deep" / "there.png").read_bytes() == b"kept"
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "deep" / "new.png")), LOOKUP[labels])
    assert np.asarray(Image.open(folder / "deep" / "constant.png")).tolist() == [[1, 1], [1, 1]]


def test_a_disk_that_fails_ends_the_chunk_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "data" / "a.png")
    state = (tmp_path / "data" / "a.png").stat()
    task = MaskTask("a.png", "a/b.png", state.st_size, state.st_mtime_ns, 2, 2, [0], [4])
    (tmp_path / "a").write_text("a file in the place of a folder")
    report = write_mask_files(
        [task, task], root=str(tmp_path / "data"), folder=str(tmp_path), lookup=LOOKUP, colours={}, nearest=False
    )
    assert (report.written, report.problems) == (0, [])
    assert report.disk == f"{tmp_path}/a/b.png: File exists"
