"""import_data: the masks of independent rasterisers, the classes asked for, and the command."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio.errors
import rasterio.features
import shapely
from PIL import Image
from pycocotools.coco import COCO

from histods import audit
from histods.cli.commands.import_data import to_document
from tests.commands import histods
from tests.histods.annotations.documents import coco, collection, feature, square
from tests.histods.steps.annotated import (
    CENTRES,
    HEIGHT,
    WIDTH,
    left_out,
    make_images,
    mask_of,
    random_ring,
    refusal,
    run,
    tree,
    work_here,
    write,
    write_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@pytest.fixture(autouse=True, scope="module")
def _work_here() -> Iterator[None]:
    with work_here():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images")


REAL = os.environ.get("HISTODS_REAL_DATA", "")


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
