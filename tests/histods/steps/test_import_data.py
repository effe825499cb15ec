"""import_data: the masks of independent rasterisers, nothing lost without a word, the same bytes after a kill."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import rasterio.errors
import rasterio.features
import shapely
from PIL import Image
from pycocotools.coco import COCO

from histods import HistodsError, audit, import_data
from histods.annotations.draw import DrawFolders, DrawTask, draw_images
from histods.annotations.shapes import RunLengths, Shape
from histods.cli.commands.import_data import to_document
from histods.engines import engine_for
from histods.engines.engine import Engine
from histods.errors import StaleFileError
from tests.commands import histods
from tests.histods.annotations.documents import coco, collection, feature, flat, square
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

REAL = os.environ.get("HISTODS_REAL_DATA", "")
HEIGHT, WIDTH = 30, 40
COLUMNS, ROWS = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
CENTRES = shapely.points(COLUMNS, ROWS)


@pytest.fixture(autouse=True, scope="module")
def work_here() -> Iterator[None]:
    """One worker is this process."""

    def engine(name: str, workers: int | None) -> Engine:
        return Engine(Here()) if workers == 1 else engine_for(name, workers)

    with pytest.MonkeyPatch.context() as patch:
        for step in ("audit", "import_data"):
            patch.setattr(f"histods.steps.{step}.engine_for", engine)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photographs: a.jpg, sub/b.png, c.tif."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "sub/b.png", "c.tif")):
        write_image(folder / name, number)
    return folder


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    pixels = np.random.default_rng(seed).integers(60, 200, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def run(root: Path, to: Path, **options: Any) -> Any:
    return import_data(root, to=to, workers=1, **options)


def mask_of(to: Path, key: str) -> NDArray[Any]:
    return np.asarray(Image.open(to / f"{key}_mask.png"))


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_out(to: Path) -> list[dict[str, str]]:
    with (to / "left_out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def random_ring(random: np.random.Generator) -> list[list[float]]:
    angles = np.sort(random.uniform(0, 2 * np.pi, 9))
    points = random.uniform((0, 0), (WIDTH, HEIGHT)) + np.column_stack([np.cos(angles), np.sin(angles)]) * 9
    return [*points.tolist(), points[0].tolist()]


# --- masks -----------------------------------------------------------------------------------------------------


def test_masks_of_qupath_are_those_of_shapely(root: Path, tmp_path: Path) -> None:
    """Larger objects first, so that smaller ones lie on top of them."""
    random = np.random.default_rng(0)
    expected = {}
    for key in ("a", "sub/b"):
        rings = [random_ring(random) for _ in range(8)]
        names = [("Stroma", "Tumor", "Necrosis")[random.integers(3)] for _ in rings]
        write(root / f"{key}.geojson", collection(*(feature(n, [r]) for n, r in zip(names, rings, strict=True))))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for polygon, name in sorted(
            ((shapely.Polygon(ring), name) for ring, name in zip(rings, names, strict=True)),
            key=lambda pair: -pair[0].area,
        ):
            mask[shapely.contains(polygon, CENTRES)] = ["Necrosis", "Stroma", "Tumor"].index(name) + 1
        expected[key] = mask
    before = tree(root)
    result = run(root, tmp_path / "out")
    for key, mask in expected.items():
        assert np.array_equal(mask_of(tmp_path / "out", key), mask)
    assert tree(root) == before
    assert (tmp_path / "out" / "a.jpg").read_bytes() == (root / "a.jpg").read_bytes()
    assert (result.masks, result.images, result.drawn, result.left_out) == (2, 2, 16, ())
    assert result.overlapped > 0
    assert [(row.label, row.name) for row in result.classes][1:] == [(1, "Necrosis"), (2, "Stroma"), (3, "Tumor")]
    assert sum(row.pixels for row in result.classes) == 2 * HEIGHT * WIDTH
    assert [(row.reason, row.number) for row in result.skipped] == [("no annotations", 1)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_masks_of_coco_are_those_of_pycocotools_and_shapely(root: Path, tmp_path: Path) -> None:
    """Later annotations lie on top; run lengths are decoded by pycocotools, polygons are filled by shapely."""
    random = np.random.default_rng(1)
    annotations = []
    for number in range(24):
        blob = np.zeros((HEIGHT, WIDTH), np.uint8)
        top, left = random.integers(0, HEIGHT - 9), random.integers(0, WIDTH - 9)
        blob[top : top + 9, left : left + 7] = random.random((9, 7)) < 0.8
        column_major = blob.T.reshape(-1)
        bounds = np.flatnonzero(np.diff(column_major, prepend=0, append=column_major[-1] ^ 1))
        segmentation: Any = {"counts": np.diff(bounds, prepend=0).tolist(), "size": [HEIGHT, WIDTH]}
        if number % 3 == 0:
            segmentation = [np.ravel(random_ring(random)).tolist()]
        annotations.append(
            {
                "id": number + 1,
                "image_id": 1 + number % 2,
                "category_id": int(random.choice([3, 700])),
                "segmentation": segmentation,
                "iscrowd": int(number % 3 == 1),
                "area": 1,
                "bbox": [0, 0, 1, 1],
            }
        )
    images = [
        {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
    ]
    categories = [{"id": 3, "name": "Tumour"}, {"id": 700, "name": "Stroma"}]
    path = write(tmp_path / "coco.json", coco(annotations, images=images, categories=categories))
    result = run(root, tmp_path / "out", annotations=path)
    reader = COCO(str(path))
    for identity, key in ((1, "a"), (2, "sub/b")):
        expected = np.zeros((HEIGHT, WIDTH), np.uint16)
        for one in reader.loadAnns(sorted(reader.getAnnIds(imgIds=[identity]))):
            if isinstance(one["segmentation"], list):
                polygon = shapely.Polygon(np.reshape(one["segmentation"][0], (-1, 2)))
                inside = shapely.contains(polygon, CENTRES)
            else:
                inside = reader.annToMask(one) == 1
            expected[inside] = one["category_id"]
        found = mask_of(tmp_path / "out", key)
        assert np.array_equal(found, expected)
        assert found.dtype == np.uint16  # label 700
    assert (result.drawn, result.crowds) == (24, 8)
    assert [row.label for row in result.classes] == [0, 3, 700]


def outlines(mask: NDArray[Any]) -> list[dict[str, Any]]:
    """The areas of a mask as polygons along the edges of pixels, with holes, by GDAL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        found = list(rasterio.features.shapes(mask, connectivity=4))
    return [feature(f"label {int(label):05d}", shape["coordinates"]) for shape, label in found if label]


def check_outlined(mask: NDArray[Any], tmp_path: Path) -> None:
    """Outline a mask, draw the outlines again, and compare."""
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "x.png", size=(mask.shape[0], mask.shape[1]))
    write(tmp_path / "images" / "x.geojson", collection(*outlines(mask)))
    result = run(tmp_path / "images", tmp_path / "out")
    labels = sorted({*np.unique(mask).tolist()} - {0})
    lookup = np.zeros(max(labels) + 1, np.uint8)
    lookup[labels] = np.arange(1, len(labels) + 1)
    assert np.array_equal(mask_of(tmp_path / "out", "x"), lookup[mask])
    assert (result.overlapped, result.left_out) == (0, ())


def test_a_mask_outlined_and_drawn_again_is_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 5, (12, 16)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((8, 8), np.uint8))
    mask[random.random(mask.shape) < 0.02] = 4  # specks and holes of single pixels
    check_outlined(mask, tmp_path)


@pytest.mark.skipif(not REAL, reason="HISTODS_REAL_DATA names no folder of real data")
@pytest.mark.parametrize("place", range(3))
def test_real_masks_outlined_and_drawn_again_are_the_same(place: int, tmp_path: Path) -> None:
    masks = sorted(Path(REAL, "lung12").glob("*_mask.png"))
    check_outlined(np.asarray(Image.open(masks[place])), tmp_path)


def test_the_audit_finds_nothing_wrong_with_the_new_folder(root: Path, tmp_path: Path) -> None:
    write(root / "a.geojson", collection(feature("Tumor", [square(3, 3, 9)], color=[200, 0, 0])))
    write(root / "sub" / "b.png.geojson", collection(feature("Stroma", [square(13, 3, 9)])))
    result = run(root, tmp_path / "out")
    words = shlex.split(result.audit)
    assert words[:3] == ["histods", "audit", str(tmp_path / "out")]
    found = audit(words[2], labels=words[words.index("--labels") + 1], workspace=words[-1], workers=1)
    assert (found.layout.kind, found.counts.pairs, found.counts.conditional) == ("suffix", 2, 2)
    assert not found.findings
    assert [(row.label, row.name, row.pixels) for row in found.labels] == [
        (row.label, row.name, row.pixels) for row in result.classes
    ]


def test_tiles_of_a_slide_get_their_part_of_its_annotations(tmp_path: Path) -> None:
    """Names as QuPath's tile exporter writes them; the second tile shows its region at half the resolution."""
    root = tmp_path / "tiles"
    root.mkdir()
    write_image(root / "s [x=40,y=0,w=40,h=30].png", 1)
    write_image(root / "s [d=2,x=0,y=0,w=80,h=60].png", 2)
    (tmp_path / "geo").mkdir()
    far = feature("Tumor", [square(500, 500, 9)])
    write(tmp_path / "geo" / "s.geojson", collection(feature("Tumor", [square(36, 10, 20)]), far))
    result = run(root, tmp_path / "out", annotations=tmp_path / "geo")
    first, second = (
        mask_of(tmp_path / "out", f"s [{name}]") for name in ("x=40,y=0,w=40,h=30", "d=2,x=0,y=0,w=80,h=60")
    )
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 0:16] = 1
    assert np.array_equal(first, expected)
    expected[:] = 0
    expected[5:15, 18:28] = 1
    assert np.array_equal(second, expected)
    assert [(row.reason, row.number) for row in result.left_out] == [("outside all images of its slide", 1)]
    write_image(root / "s [x=0,y=0,w=40,h=20].png", 2)
    again = run(root, tmp_path / "more", annotations=tmp_path / "geo")
    assert [row.example.split(": ")[1] for row in again.skipped] == ["40x30 pixels, but its name says 40x20"]


def test_what_one_tile_alone_could_show_is_drawn_there_or_named(tmp_path: Path) -> None:
    root = tmp_path / "tiles"
    root.mkdir()
    write_image(root / "s [d=2,x=0,y=0,w=80,h=60].png", 1)
    (root / "s [d=2,x=80,y=0,w=80,h=60].png").write_bytes(b"no image")
    objects = [square(10.2, 10.2, 0.5), square(70, 10, 20), square(100, 10, 20), square(30, 30, 9)]
    write(root / "s.geojson", collection(*(feature("Tumor", [ring]) for ring in objects)))
    result = run(root, tmp_path / "out")
    assert result.drawn == 2  # the second one lies in both, and the last in the first
    assert {row["item"]: row["reason"] for row in left_out(tmp_path / "out")} == {
        "feature 1 0a1b": "covers no centre of a pixel",
        "feature 3 0a1b": "its image is left out: unreadable image",
    }


def test_masks_of_a_size_are_made_without_images(root: Path, tmp_path: Path) -> None:
    (tmp_path / "geo").mkdir()
    write(tmp_path / "geo" / "drawing.geojson", feature("Tumor", [square(3, 3, 9)]))
    options = {"annotations": tmp_path / "geo"}
    assert "drawing.geojson: there is no such image" in refusal(lambda: run(root, tmp_path / "out", **options))
    result = run(root, tmp_path / "out", size="50x20", **options)
    assert mask_of(tmp_path / "out", "drawing").shape == (20, 50)
    assert (result.masks, result.images, result.audit) == (1, 0, None)
    for size in ("50", "0x9", "50x", "99999x99999", "-1x5"):
        assert "is not WIDTHxHEIGHT" in refusal(lambda size=size: run(root, tmp_path / "no", size=size, **options))  # type: ignore[misc]


def test_overlaps_count_pixels_of_several_classes_only(root: Path, tmp_path: Path) -> None:
    shapes = [feature("A", [square(0, 0, 10)]), feature("A", [square(5, 5, 10)]), feature("B", [square(9, 9, 3)])]
    write(root / "a.geojson", collection(*shapes))
    assert run(root, tmp_path / "out").overlapped == 9


# --- classes ---------------------------------------------------------------------------------------------------


def test_a_labels_file_fixes_numbers_and_names_what_it_lacks(root: Path, tmp_path: Path) -> None:
    write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)]), feature("B", [square(9, 9, 3)])))
    (tmp_path / "labels.yml").write_text('labels: {0: glass, 44: {name: B, colour: "#102030"}, 300: C}\n')
    result = run(root, tmp_path / "out", labels=tmp_path / "labels.yml")
    assert np.unique(mask_of(tmp_path / "out", "a")).tolist() == [0, 44]
    assert (tmp_path / "out" / "labels.csv").read_text() == "label,name,colour\n0,glass,\n44,B,#102030\n300,C,\n"
    assert [row.reason for row in result.left_out] == ["of a class that the labels file does not name"]
    assert left_out(tmp_path / "out")[0]["class"] == "A"


def test_more_than_255_classes_make_masks_of_16_bits(root: Path, tmp_path: Path) -> None:
    shapes = [feature(f"class {number:03d}", [square(number % 40, number // 40, 1)]) for number in range(300)]
    write(root / "a.geojson", collection(*shapes))
    write(root / "c.geojson", collection(shapes[0]))
    run(root, tmp_path / "out")
    mask = mask_of(tmp_path / "out", "a")
    assert mask.dtype == np.uint16
    assert np.array_equal(mask.reshape(-1)[:300], np.arange(1, 301))
    assert mask_of(tmp_path / "out", "c").dtype == np.uint8


def test_annotations_without_a_class_can_have_one(root: Path, tmp_path: Path) -> None:
    write(root / "a.geojson", collection(feature(None, [square(0, 0, 3)])))
    assert [row.reason for row in run(root, tmp_path / "out").left_out] == ["no class"]
    result = run(root, tmp_path / "other", unclassified=" Nucleus ")
    assert [row.name for row in result.classes] == ["Unknown", "Nucleus"]
    assert "needs the name of a class" in refusal(lambda: run(root, tmp_path / "no", unclassified=" "))


# --- what goes wrong -------------------------------------------------------------------------------------------


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


# --- again -----------------------------------------------------------------------------------------------------


def test_what_is_missing_or_torn_is_made_again(root: Path, tmp_path: Path) -> None:
    for name in ("a", "c", "sub/b"):
        write(root / f"{name}.geojson", collection(feature("A", [square(0, 0, 3)])))
    to = tmp_path / "out"
    run(root, to)
    before = tree(to)
    (to / "a_mask.png").unlink()
    (to / "sub" / "b.png").write_bytes(b"torn")
    (to / "left_out.csv").unlink()
    intact = [(to / name).stat() for name in ("c.tif", "c_mask.png")]
    result = run(root, to)
    assert [(to / name).stat().st_ino for name in ("c.tif", "c_mask.png")] == [one.st_ino for one in intact]
    assert (result.written, result.present) == (2, 1)
    assert tree(to) == before


def _change_under_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file of annotations change after it was first read, and before anything is drawn."""

    def change(*_: object) -> None:
        write(path, collection(feature("A", [square(0, 0, 4)])))

    monkeypatch.setattr("histods.steps.import_data.write_mark", change)


def test_annotations_that_change_under_way_end_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    write(root / "c.geojson", collection(feature("A", [square(0, 0, 3)])))
    _change_under_way(path, monkeypatch)
    with pytest.raises(StaleFileError, match=r"a\.geojson has changed since it was first read; run the same"):
        run(root, tmp_path / "out")


def test_a_single_file_is_read_once_and_drawn_as_it_was_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    _change_under_way(path, monkeypatch)
    run(root, tmp_path / "out")
    assert np.asarray(Image.open(tmp_path / "out" / "a_mask.png")).sum() == 9


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    entries, annotations = [], []
    for number in range(120):
        write_image(root / f"{number:03d}.png", number)
        entries.append({"id": number, "file_name": f"{number:03d}.png"})
        shape = {"id": number, "image_id": number, "category_id": 3, "segmentation": [flat(number % 20, 3, 9)]}
        annotations.append(shape)
    path = write(tmp_path / "coco.json", coco(annotations, images=entries))
    to = tmp_path / "out"
    run(root, to, annotations=path)
    whole = tree(to)
    to.rename(tmp_path / "whole")
    words = ["import-data", root, "--annotations", path, "--to", to, "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "histods", *map(str, words)]
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None and sum(1 for _ in to.rglob("*.png")) < 80:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    text = refusal(lambda: audit(to, workspace=tmp_path / "never"))
    assert text.startswith(f"The masks in {to} are not finished; run 'histods import-data {root}")
    done = histods(*words)
    assert done.returncode == 0, done.stderr
    assert {**tree(to), "import.json": ""} == {**whole, "import.json": ""}
    assert json.loads((to / "import.json").read_text())["table_digest"] == whole["import.parquet"]


def test_the_bytes_are_the_same_with_other_workers(root: Path, tmp_path: Path) -> None:
    for name in ("a", "c", "sub/b"):
        write(root / f"{name}.geojson", collection(feature("A", [square(0, 0, 3)]), feature(None, [])))
    run(root, tmp_path / "one")
    import_data(root, to=tmp_path / "two", workers=2)
    assert {**tree(tmp_path / "one"), "import.json": ""} == {**tree(tmp_path / "two"), "import.json": ""}


# --- the command -----------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did_and_what_comes_next(root: Path, tmp_path: Path) -> None:
    shapes = [feature("A", [square(0, 0, 9)]), feature("B", [square(2, 2, 3)]), feature(None, [square(0, 0, 9)])]
    write(root / "a.geojson", collection(*shapes))
    command = partial(histods, "import-data", "images", cwd=tmp_path, env={**os.environ, "COLUMNS": "200"})
    done = command("--to", "my set")
    assert done.returncode == 0
    assert (
        "9 pixels have annotations of several classes and the label of the one that was drawn last" in done.stdout
    )
    assert "--unclassified NAME draws annotations without a class as one of NAME." in done.stdout
    assert "1 mask written, with 2 annotations: my set" in done.stdout
    assert done.stdout.endswith("Next: histods audit 'my set' --labels 'my set/labels.csv' -w 'my set-histods'\n")
    again = command("--to", "my set", "--json")
    document = json.loads(again.stdout)
    assert (document["written"], document["present"], document["overlapped"]) == (0, 1, 9)
    assert set(document) == set(to_document(run(root, tmp_path / "my set")))
    wrong = command("--to", "x", "--annotations", "none")
    assert (wrong.returncode, wrong.stdout) == (2, "")
