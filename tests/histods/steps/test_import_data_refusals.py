"""import_data: nothing is lost without a word, and what cannot be used is one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from histods.annotations.draw import DrawFolders, DrawTask, draw_images
from histods.annotations.shapes import RunLengths, Shape
from tests.commands import histods
from tests.histods.annotations.documents import coco, collection, feature, flat, square
from tests.histods.steps.annotated import (
    HEIGHT,
    WIDTH,
    left_out,
    make_images,
    refusal,
    run,
    tree,
    work_here,
    write,
    write_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def _work_here() -> Iterator[None]:
    with work_here():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images")


def test_everything_that_is_not_in_a_mask_is_counted_and_named(root: Path, tmp_path: Path) -> None:
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    long = f"{'x' * 248}.png"
    for name in ("two.jpg", "two.png", "x_mask.png", "turn.png", long):
        write_image(root / name)
    images = [
        {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 2, "file_name": "../../etc/passwd", "width": 9, "height": 9},
        {"id": 3, "file_name": "gone.png", "width": 9, "height": 9},
        {"id": 4, "file_name": "broken.jpg"},
        {"id": 5, "file_name": "c.tif", "width": HEIGHT, "height": WIDTH},
        {"id": 6, "file_name": "sub/b.png"},
        {"id": 7, "file_name": "b.png"},
        {"id": 8, "file_name": "two.jpg"},
        {"id": 9, "file_name": "two.png"},
        {"id": 10, "file_name": "x_mask.png"},
        {"id": 11, "file_name": long},
        {"id": 12, "file_name": "\ud800\x00.png"},
        {"id": "\ud800", "file_name": "\ud800.png"},
        {"id": "\ud800", "file_name": "\x1b[31m.png"},
    ]
    annotations = [
        {"id": 100 + number, "image_id": number, "category_id": 3, "segmentation": [flat(1, 1, 5)]}
        for number in range(12)
    ]
    annotations += [
        {"id": 200, "image_id": 1, "category_id": 3, "segmentation": [flat(100, 1, 5)]},
        {"id": 201, "image_id": 1, "category_id": 3, "segmentation": [flat(1.6, 1.6, 0.5)]},
        {"id": 202, "image_id": 1, "category_id": 3, "segmentation": [flat(-5, 20, 7)]},
        {"id": 203, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 5, 1, 9, 1]]},
    ]
    path = write(tmp_path / "coco.json", coco(annotations, images=images))
    result = run(root, tmp_path / "out", annotations=path)
    assert (result.masks, result.drawn, result.cut) == (1, 2, 1)
    assert sum(row.number for row in result.left_out) + result.drawn == len(annotations)
    rows = left_out(tmp_path / "out")
    assert {row["item"] for row in rows} >= {
        "annotation 100",
        "annotation 111",
        "annotation 200",
        "annotation 203",
    }
    table = pl.read_parquet(tmp_path / "out" / "import.parquet")
    found = {(row["source"], row["status"]): row["reason"] or "" for row in table.iter_rows(named=True)}
    assert found["a.jpg", "written"] == ""
    assert "its name is too long" in found[long, "not clear"]
    assert found["?.png", "not clear"] == "has the id ?, which 2 images have"
    assert "leads out of the folder" in found["../../etc/passwd", "not clear"]
    assert "no such image" in found["gone.png", "no image"]
    assert found["broken.jpg", "unreadable image"]
    assert "annotations are for 30x40" in found["c.tif", "other size"]
    assert "2 entries of coco.json" in found["sub/b.png", "not clear"]
    assert "another suffix" in found["two.jpg", "not clear"]
    assert "another suffix" in found["two.png", "not clear"]
    assert "ends in _mask" in found["x_mask.png", "not clear"]
    assert "no file of annotations" in found["turn.png", "no annotations"]
    assert not (tmp_path / "out" / "c.tif").exists()


def test_a_broken_file_of_annotations_is_named_and_the_others_are_drawn(root: Path, tmp_path: Path) -> None:
    write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    (root / "c.geojson").write_text('{"type": "FeatureColl')
    (root / "other.json").write_text('{"version": 1}')
    result = run(root, tmp_path / "out")
    assert {row.reason: row.number for row in result.skipped} == {"unreadable annotations": 2, "no annotations": 1}
    assert result.masks == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "coco.json: not JSON, or cut short"),
        ("", "coco.json: the file is empty"),
        ("[" * 100_000, "too deep"),
        ('{"a": 1}', "neither COCO (images and annotations) nor GeoJSON"),
        ('{"images": [], "annotations": []}', "belong to no image in"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 3, "name": "A"}, {"id": 3, "name": "B"}]}',
            "coco.json: two categories, 'A' and 'B', have the id 3",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(root: Path, tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "coco.json").write_text(content)
    assert text in refusal(lambda: run(root, tmp_path / "out", annotations=tmp_path / "coco.json"))
    assert not (tmp_path / "out").exists()


def test_slides_are_said_to_be_of_a_format_that_is_not_read(root: Path, tmp_path: Path) -> None:
    (root / "slide.svs").write_bytes(b"II*\0")
    for name in ("a", "slide"):
        path = write(root / f"{name}.geojson", collection(feature("A", [square(1, 1, 5)])))
    run(root, tmp_path / "out")
    (row,) = [row for row in left_out(tmp_path / "out") if row["annotations"] == "slide.geojson"]
    assert row["reason"].endswith(
        "files ending in .svs are not read; export tiles of a slide, or convert it to PNG"
    )
    assert "(slide.geojson: files ending in .svs are not read;" in refusal(
        lambda: run(root, tmp_path / "other", annotations=path)
    )


def test_a_file_name_that_no_image_has_is_said(root: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "coco.json", coco([], images=[{"id": 1, "file_name": "A.JPEG"}]))
    text = refusal(lambda: run(root, tmp_path / "out", annotations=path))
    assert "(A.JPEG: there is no such image)" in text


def test_places_that_are_not_free_are_refused(root: Path, tmp_path: Path) -> None:
    assert "There are no annotations" in refusal(lambda: run(root, tmp_path / "out"))
    assert "none does not exist" in refusal(lambda: run(root, tmp_path / "out", annotations="none"))
    assert "give the folder that holds the images" in refusal(lambda: run(tmp_path / "none", tmp_path / "out"))
    (tmp_path / "geo").mkdir()
    write(tmp_path / "geo" / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    options = {"annotations": tmp_path / "geo"}
    for place in (root / "out", tmp_path, tmp_path / "geo" / "out"):
        assert "which is never written to" in refusal(lambda place=place: run(root, place, **options))  # type: ignore[misc]
    (tmp_path / "file").touch()
    assert "is a file; --to must name a folder" in refusal(lambda: run(root, tmp_path / "file", **options))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x.png").touch()
    assert "already holds x.png; choose a new" in refusal(lambda: run(root, tmp_path / "used", **options))
    run(root, tmp_path / "out", **options)
    before = tree(tmp_path / "out")
    assert run(root, tmp_path / "out", **options).written == 0
    assert tree(tmp_path / "out") == before
    assert "an import of other annotations" in refusal(
        lambda: run(root, tmp_path / "out", unclassified="B", **options)
    )
    write(tmp_path / "geo" / "a.geojson", collection(feature("A", [square(0, 0, 4)])))
    assert "an import of other annotations" in refusal(lambda: run(root, tmp_path / "out", **options))
    (tmp_path / "out" / "import.json").write_text('{"root": 5}')
    assert "is not what 'histods import-data' wrote" in refusal(lambda: run(root, tmp_path / "out", **options))


def test_names_that_steer_spreadsheets_and_terminals_are_shown_as_text(root: Path, tmp_path: Path) -> None:
    shape = feature("=cmd|x", [[1, 2]], "Point")
    shape["properties"]["name"] = "\x1b[31m red"
    write(
        root / "a.geojson", collection(feature("A", [square(0, 0, 3)]), shape, feature("A", [square(99, 99, 3)]))
    )
    done = histods("import-data", root, "--to", tmp_path / "out")
    assert done.returncode == 0
    assert "\x1b[31m red" not in done.stdout
    assert left_out(tmp_path / "out")[0]["class"] == "'=cmd|x"


def test_a_link_out_of_the_images_is_not_followed(root: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("a", "link"):
        write(root / f"{name}.geojson", collection(feature("A", [square(0, 0, 3)])))
    result = run(root, tmp_path / "out")
    assert result.masks == 1
    assert {row.reason for row in result.skipped} >= {"unreadable image"}


def test_run_lengths_of_another_size_than_the_file_are_named(root: Path, tmp_path: Path) -> None:
    """COCO may state no size of an image."""
    (tmp_path / "out").mkdir()
    runs = RunLengths(5, 5, np.array([3, 22]))
    task = DrawTask("a", "a.jpg", "x.json", None, None, None, [Shape("annotation 1", "A", runs=runs)], [1], [])
    report = draw_images([task], folders=DrawFolders(root=str(root), folder=str(tmp_path / "out")))
    assert report.disk is None
    (row,) = pl.read_ipc_stream(report.rows).iter_rows(named=True)
    assert [one["reason"] for one in row["left_out"]] == ["run lengths of 5x5 pixels in an image of 40x30"]
