"""Cutting in a worker: tiles hold the pixels and labels of their place, and files that changed are named."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.tiles.cut import TileOptions, TileReport, TileTask, cut_tiles, encode_image, encode_labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 32
OPTIONS = TileOptions(
    root="",
    folder="",
    size=SIZE,
    stride=SIZE,
    edge="shift",
    pad_label=0,
    keep_blank=False,
    audit="histods audit D",
)
RANDOM = np.random.default_rng(0)
TISSUE = RANDOM.integers(0, 200, (48, 70, 3), dtype=np.uint8)
LABELS = RANDOM.integers(0, 4, (48, 70)).astype(np.uint8)


def task_of(
    root: Path, name: str, image: NDArray[Any], labels: NDArray[Any] | None, suffix: str = ".png"
) -> TileTask:
    """Write an image and its mask, and make the task that an audit of them leads to."""
    root.mkdir(exist_ok=True)
    files: list[Any] = []
    for path, pixels in ((f"{name}{suffix}", image), (f"{name}_mask.png", labels)):
        if pixels is None:
            files += [None, None, None]
            continue
        Image.fromarray(pixels).save(root / path)
        state = (root / path).stat()
        files += [path, state.st_size, state.st_mtime_ns]
    found: Any = (None, None) if labels is None else np.unique(labels, return_counts=True)
    histogram = [None if part is None else part.tolist() for part in found]
    return TileTask(name, f"pairs/{name}", image.shape[1], image.shape[0], *files, *histogram)


def cut(folder: Path, *tasks: TileTask, **chosen: Any) -> tuple[list[dict[str, Any]], TileReport]:
    (folder / "tiles").mkdir(exist_ok=True)
    options = replace(OPTIONS, root=str(folder / "data"), folder=str(folder / "tiles"), **chosen)
    report = cut_tiles(tasks, options=options)
    with pa.ipc.open_stream(report.rows) as stream:
        return stream.read_all().to_pylist(), report


def read(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("edge", ["shift", "pad"])
@pytest.mark.parametrize("stride", [20, SIZE])
def test_every_pixel_and_label_is_at_its_place(tmp_path: Path, edge: str, stride: int) -> None:
    rows, report = cut(
        tmp_path, task_of(tmp_path / "data", "ä", TISSUE, LABELS), edge=edge, stride=stride, pad_label=9
    )
    assert (report.stale, report.disk) == (None, None)
    seen = np.zeros(LABELS.shape, bool)
    for row in rows:
        inside = slice(row["y"], row["y"] + row["height"]), slice(row["x"], row["x"] + row["width"])
        image, mask = read(tmp_path / "tiles" / row["image_path"]), read(tmp_path / "tiles" / row["mask_path"])
        assert image.shape == (SIZE, SIZE, 3)
        np.testing.assert_array_equal(image[: row["height"], : row["width"]], TISSUE[inside])
        np.testing.assert_array_equal(mask[: row["height"], : row["width"]], LABELS[inside])
        for padding in (slice(row["height"], None), slice(None)), (slice(None), slice(row["width"], None)):
            assert (image[padding] == 255).all()
            assert (mask[padding] == 9).all()
        assert row["image_bytes"] == (tmp_path / "tiles" / row["image_path"]).stat().st_size
        assert row["mask_bytes"] == (tmp_path / "tiles" / row["mask_path"]).stat().st_size
        assert row["tissue"] == 1
        seen[inside] = True
    assert seen.all()
    written = [path for path in (tmp_path / "tiles").rglob("*") if path.is_file()]
    assert len(written) == 2 * len(rows)


def test_glass_is_left_out_unless_it_has_labels_or_is_kept(tmp_path: Path) -> None:
    image = np.full((SIZE, 3 * SIZE, 3), 240, np.uint8)
    image[:, :SIZE] = 100
    labels = np.zeros((SIZE, 3 * SIZE), np.uint8)
    labels[5, SIZE + 5] = 1
    task = task_of(tmp_path / "data", "a", image, labels)
    rows, _ = cut(tmp_path, task)
    assert [(row["status"], row["tissue"]) for row in rows] == [("written", 1.0), ("written", 0.0), ("blank", 0.0)]
    assert (rows[2]["image_path"], rows[2]["mask_bytes"]) == (None, None)
    assert [row["status"] for row in cut(tmp_path, task, keep_blank=True)[0]] == ["written"] * 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_an_image_that_is_one_tile_is_copied_byte_for_byte_where_training_reads_it_alike(
    tmp_path: Path, suffix: str
) -> None:
    task = task_of(tmp_path / "data", "a", TISSUE[:SIZE, :SIZE].copy(), None, suffix)
    ((row,), _) = cut(tmp_path, task)
    tile = tmp_path / "tiles" / row["image_path"]
    assert tile.suffix == (".png" if suffix == ".tif" else suffix)
    assert (tile.read_bytes() == (tmp_path / "data" / f"a{suffix}").read_bytes()) == (suffix != ".tif")
    assert row["mask_path"] is None


def test_what_training_would_convert_is_stored_converted(tmp_path: Path) -> None:
    image = np.dstack([TISSUE[:SIZE, :SIZE], np.zeros((SIZE, SIZE), np.uint8)])  # transparent: white
    ((row,), _) = cut(tmp_path, task_of(tmp_path / "data", "a", image, None), keep_blank=True)
    assert (read(tmp_path / "tiles" / row["image_path"]) == 255).all()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "time",
            "a.png is not as the audit read it (another size or time); run 'histods audit D', then tile",
        ),
        ("gone", "a.png is not as the audit read it (it cannot be opened: No such file or directory); run"),
        ("mask", "a_mask.png is not as the audit read it (other labels); run 'histods audit D --fresh', then"),
        ("size", "a.png is not as the audit read it (other pixels); run 'histods audit D --fresh', then tile"),
    ],
)
def test_a_file_that_is_not_as_the_audit_read_it_is_named(tmp_path: Path, change: str, found: str) -> None:
    task = task_of(tmp_path / "data", "a", TISSUE, LABELS)
    if change == "time":
        task = task._replace(image_mtime_ns=1)
    elif change == "gone":
        (tmp_path / "data" / "a.png").unlink()
    elif change == "mask":
        task = task._replace(pixels=[1, 2, 3, 4])
    else:
        task = task._replace(width=71)
    rows, report = cut(tmp_path, task)
    assert report.stale is not None
    assert report.stale.startswith(found)
    assert rows == []


def test_an_unreadable_image_costs_no_other_and_rows_before_a_failure_are_kept(tmp_path: Path) -> None:
    tasks = [task_of(tmp_path / "data", name, TISSUE, None) for name in "abc"]
    torn = (tmp_path / "data" / "b.png").read_bytes()[:-20]
    (tmp_path / "data" / "b.png").write_bytes(torn)
    state = (tmp_path / "data" / "b.png").stat()
    tasks[1] = tasks[1]._replace(image_bytes=state.st_size, image_mtime_ns=state.st_mtime_ns)
    rows, report = cut(tmp_path, *tasks)
    assert [row["reason"] for row in rows if row["status"] == "unreadable"] == [
        "truncated: the PNG has no end chunk (IEND)"
    ]
    assert {row["source"] for row in rows} == set("abc")
    assert report == report._replace(stale=None, disk=None)
    (tmp_path / "tiles" / "pairs" / "d").write_text("a file in the place of a folder")
    rows, report = cut(tmp_path, tasks[0], task_of(tmp_path / "data", "d", TISSUE, None))
    assert report.disk is not None
    assert report.disk.endswith(": File exists")
    assert {row["source"] for row in rows} <= {"a"}


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, 3))))
def test_encoded_colours_are_decoded_by_pillow_to_the_same(pixels: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_image(pixels)))), pixels)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, SIZE), st.integers(1, SIZE)), elements=st.integers(0, 400)),
    st.sampled_from([0, 255, 256, 65_535]),
)
def test_labels_are_padded_and_have_as_many_bits_as_they_need(part: NDArray[np.uint16], label: int) -> None:
    content = encode_labels(part, replace(OPTIONS, pad_label=label))
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    height, width = part.shape
    np.testing.assert_array_equal(found[:height, :width], part)
    assert (found[height:] == label).all()
    assert (found[:, width:] == label).all()
    assert found.dtype == (np.uint8 if found.max() <= 255 else np.uint16)
