"""Labels files drafted from the colours of masks: every proven colour is in them, and no blend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods import HistodsError, audit
from histods.cli.main import main
from histods.labels.draft import draft_map
from histods.labels.label_map_file import read_label_map
from histods.labels.label_names import read_labels
from histods.records import LabelCount
from tests.histods.checks.mask_files import (
    codecs_png,
    opencv,
    palette_image,
    photograph,
    pillow,
    regions,
    tiff,
    vips,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[Any]

WHITE, BLACK, RED, GREEN, BLUE = (255, 255, 255), (0, 0, 0), (220, 0, 0), (0, 160, 0), (0, 0, 255)
TABLE = np.array([WHITE, RED, GREEN, BLUE], dtype=np.uint8)
ENCODERS: dict[str, Callable[[Pixels], bytes]] = {
    "Pillow": pillow,
    "OpenCV": opencv,
    "libvips": vips,
    "imagecodecs": codecs_png,
    "tifffile": lambda pixels: tiff(pixels, photometric="rgb"),
    "opaque": lambda pixels: pillow(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])),
    "BMP": lambda pixels: pillow(pixels, "BMP"),
}


def write_pairs(root: Path, masks: list[bytes]) -> None:
    root.mkdir()
    for number, mask in enumerate(masks):
        (root / f"t{number:02}.jpg").write_bytes(pillow(photograph(number), "JPEG"))
        (root / f"t{number:02}_mask.png").write_bytes(mask)


def smooth(colours: Pixels) -> Pixels:
    """Edges as antialiasing leaves them."""
    double = cv2.resize(colours, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(cv2.GaussianBlur(double, (0, 0), 0.8), (colours.shape[1], colours.shape[0]))


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
def test_a_draft_reads_every_pixel(tmp_path: Path, encode: Callable[[Pixels], bytes]) -> None:
    labels = [regions(number, (0, 1, 2, 3)) for number in range(4)]
    write_pairs(tmp_path / "data", [encode(TABLE[each]) for each in labels])
    draft = tmp_path / "labels.yml"
    first = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=draft)
    assert first.findings["not_an_index_mask"] == 4
    table = read_labels(draft)
    assert table.colours[0] == WHITE
    assert table.names[0] == "background"
    assert set(table.colours.values()) == {WHITE, RED, GREEN, BLUE}
    second = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, labels=draft)
    assert set(second.findings) <= {"suffix_mismatch"}
    pixels = {row.label: row.pixels for row in second.labels}
    for label, colour in table.colours.items():
        assert pixels[label] == sum(int((TABLE[each] == colour).all(axis=2).sum()) for each in labels)


def test_blends_at_edges_are_left_out_and_counted(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", [pillow(smooth(TABLE[regions(n, (0, 1, 2, 3), smooth=12)])) for n in range(4)])
    draft = tmp_path / "labels.yml"
    result = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=draft)
    assert set(read_labels(draft).colours.values()) == {WHITE, RED, GREEN, BLUE}
    assert "# Left out, as smooth edges and JPEG leave them: " in draft.read_text()
    assert [row.label is not None for row in result.palette[:4]] == [True] * 4
    again = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, labels=draft)
    assert set(again.findings) == {"off_palette"}


def test_jpeg_masks_give_their_classes(tmp_path: Path) -> None:
    masks = [pillow(TABLE[regions(n, (0, 1, 2, 3), smooth=14, height=128, width=128)], "JPEG") for n in range(4)]
    write_pairs(tmp_path / "data", masks)
    draft = tmp_path / "labels.yml"
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=draft)
    found = np.array(list(read_labels(draft).colours.values()))
    assert len(found) <= 6
    for colour in TABLE:
        assert np.abs(found - colour.astype(int)).max(axis=1).min() <= 4


def test_a_thin_class_of_its_own_colour_is_kept(tmp_path: Path) -> None:
    masks = []
    for number in range(4):
        colours = TABLE[regions(number, (0, 1), smooth=12)]
        cv2.line(colours, (3, 50), (76, 4), BLUE, 1)
        masks.append(pillow(colours))
    write_pairs(tmp_path / "data", masks)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    assert set(read_labels(tmp_path / "labels.yml").colours.values()) == {WHITE, RED, BLUE}


def test_a_black_border_between_colours_is_kept(tmp_path: Path) -> None:
    masks = []
    for number in range(4):
        labels = regions(number, (1, 3), smooth=12)
        edges = cv2.dilate(labels, np.ones((2, 2), np.uint8)) != labels
        masks.append(pillow(np.where(edges[..., None], np.uint8(0), TABLE[labels])))
    write_pairs(tmp_path / "data", masks)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    assert set(read_labels(tmp_path / "labels.yml").colours.values()) == {BLACK, RED, BLUE}


@pytest.mark.parametrize(
    ("ground", "expected"),
    [(BLACK, BLACK), (WHITE, WHITE), ((40, 40, 90), (40, 40, 90))],
)
def test_the_ground_comes_first(
    tmp_path: Path, ground: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    masks = []
    for number in range(3):
        colours = np.full((60, 80, 3), ground, np.uint8)
        colours[5:55, 5:75] = RED  # most pixels, none on the border
        colours[20:30, 20:30] = GREEN
        colours[number, number] = ground
        masks.append(pillow(colours))
    write_pairs(tmp_path / "data", masks)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    assert list(read_labels(tmp_path / "labels.yml").colours.values()) == [expected, RED, GREEN]


def test_palettes_that_agree_keep_their_indices(tmp_path: Path) -> None:
    masks = [
        pillow(palette_image(regions(n, labels), [WHITE, RED, GREEN, BLUE]))
        for n, labels in enumerate([(1, 3), (0, 3)])
    ]
    write_pairs(tmp_path / "data", masks)
    result = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    assert result.findings == {}
    assert read_labels(tmp_path / "labels.yml").colours == {0: WHITE, 1: RED, 3: BLUE}
    again = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, labels=tmp_path / "labels.yml")
    assert again.findings == {}


def test_grey_masks_give_their_labels_without_colours(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", [pillow(regions(n, (0, 4, 9))) for n in range(2)])
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    table = read_labels(tmp_path / "labels.yml")
    assert (dict(table.names), dict(table.colours)) == ({0: "background", 4: "class 4", 9: "class 9"}, {})


def test_a_labels_file_is_completed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", [pillow(TABLE[regions(n, (0, 1, 2, 3))]) for n in range(2)])
    given = tmp_path / "given.yml"
    given.write_text(
        'labels:\n  0: {name: "glass: white", colour: "#ffffff"}\n  7: {name: tumour, colour: [220, 0, 0]}\n'
    )
    audit(
        tmp_path / "data", workspace=tmp_path / "out", workers=1, labels=given, write_labels=tmp_path / "all.yml"
    )
    table = read_labels(tmp_path / "all.yml")
    assert (table.names[0], table.names[7]) == ("glass: white", "tumour")
    assert table.colours[7] == RED
    assert set(table.colours.values()) == {WHITE, RED, GREEN, BLUE}


def test_the_draft_is_written_again_after_an_audit_that_read_nothing(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", [pillow(TABLE[regions(n, (0, 1, 2))]) for n in range(2)])
    for name in ("one.yml", "two.yml"):
        result = audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / name)
    assert result.files_read == 0
    assert (tmp_path / "one.yml").read_bytes() == (tmp_path / "two.yml").read_bytes()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("there.yml", "exists already; move it away"),
        ("link.yml", "exists already; move it away"),
        ("data/labels.yml", "is inside the dataset"),
        ("data/new/labels.yaml", "is inside the dataset"),
        ("into/labels.yml", "is inside the dataset"),
        ("labels.csv", "choose a name that ends in .yml"),
        ("data", "choose a name that ends in .yml"),
    ],
)
def test_a_draft_goes_nowhere_else(tmp_path: Path, place: str, reason: str) -> None:
    write_pairs(tmp_path / "data", [pillow(TABLE[regions(0, (0, 1))])])
    (tmp_path / "there.yml").write_text("mine")
    (tmp_path / "link.yml").symlink_to(tmp_path / "nowhere.yml")
    (tmp_path / "into").symlink_to(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(HistodsError, match=reason):
        audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.yml").read_text() == "mine"


def test_photographs_give_no_colours(tmp_path: Path) -> None:
    masks = [pillow(photograph(9)), pillow(Image.fromarray(photograph(9)).quantize(200))]
    write_pairs(tmp_path / "data", masks)
    with pytest.raises(HistodsError, match="No mask has colours or labels"):
        audit(tmp_path / "data", workspace=tmp_path / "out", workers=1, write_labels=tmp_path / "labels.yml")
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["palette"] == []


def test_the_command_shows_the_colours_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "data", [pillow(TABLE[regions(n, (0, 1, 2))]) for n in range(2)])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["histods", "audit", f"{tmp_path}/data", "-w", f"{tmp_path}/out", "--json"])
    with pytest.raises(SystemExit):
        main()
    output = capsys.readouterr()
    palette = json.loads(output.out)["palette"]
    assert sorted(row["colour"] for row in palette) == ["#00a000", "#dc0000", "#ffffff"]
    assert sum(row["pixels"] for row in palette) == 2 * 60 * 80
    assert abs(sum(row["percent"] for row in palette) - 100) < 1e-9
    assert "Colours (colour and palette masks)" in output.err
    assert "#dc0000" in output.err
    last = " ".join(output.err.replace("\\\n", " ").split()).split("Next:")[1]
    assert last.lstrip().startswith(f"histods audit {tmp_path}/data -w {tmp_path}/out --write-labels labels.yml")
    assert "3 RGB colours and no labels file" in output.err


NAMED = {
    0: "none",
    1: "name",
    2: "Map",
    3: "unknown",
    4: "7",
    5: "10-15",
    6: "yes",
    7: "a: b # c",
    8: "Stroma",
    9: "stroma",
    10: "größer \u4e2d",
    11: '"quoted", with comma',
    12: "classes",
    13: "[1, 2]",
}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_labels_occur_their_draft_is_a_map_of_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = data.draw(st.lists(st.integers(0, 20) | st.integers(0, 65535), min_size=1, max_size=30, unique=True))
    names = data.draw(st.dictionaries(st.sampled_from(labels), st.sampled_from([*NAMED.values()])))
    rows = [
        LabelCount(label=label, name=names.get(label, f"label {label}"), pixels=7 * label + 1, percent=1, images=3)
        for label in sorted(labels)
    ]
    path = tmp_path_factory.mktemp("draft") / "draft.yml"
    path.write_text(draft_map(rows, "draft"))
    label_map = read_label_map(path)
    assert (label_map.name, label_map.unmapped, label_map.table[0]) == ("draft", None, 0)
    assert set(label_map.table) == {0, *labels}
    own = sorted(label for label in labels if label not in (0, 65535))
    assert [label_map.labels_of(index) for index in range(1, len(label_map.classes))] == [
        (label,) for label in own
    ]


def test_a_draft_of_a_map_says_how_much_each_label_holds(tmp_path: Path) -> None:
    rows = [
        LabelCount(label=label, name=name, pixels=10_000 * label, percent=label, images=label)
        for label, name in NAMED.items()
    ]
    text = draft_map(rows, "draft")
    lines = text.splitlines()
    assert lines[3:6] == ['name: "draft"', lines[4], ""]
    assert lines[4].startswith("unmapped: error  # ")
    assert [" ".join(line.split()) for line in lines[6:9]] == [
        '"none": [0] # 0 pixels, 0 %',
        '"name (1)": [1] # 10,000 pixels, 1 %, masks: 1',
        '"Map (2)": [2] # 20,000 pixels, 2 %, masks: 2',
    ]
    path = tmp_path / "draft.yml"
    path.write_text(text)
    assert read_label_map(path).classes[3:10] == (
        *("unknown (3)", "7 (4)", "10-15 (5)", "yes", "a: b # c", "Stroma (8)", "stroma (9)"),
    )


def test_of_more_labels_than_classes_the_rarest_are_class_0(tmp_path: Path) -> None:
    rows = [
        LabelCount(label=label, name=f"label {label}", pixels=1000 - label, percent=0.1, images=1)
        for label in range(5, 305)
    ]
    path = tmp_path / "many.yml"
    path.write_text(draft_map(rows, "many"))
    label_map = read_label_map(path)
    assert len(label_map.classes) == 256
    assert label_map.labels_of(0) == (0, *range(260, 305))
