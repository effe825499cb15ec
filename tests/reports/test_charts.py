"""Charts say what the tables say, in text that can be read, and are the same bytes every time."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import combinations, pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from histods.dataset.manifest import SCHEMA, Manifest, write_table
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace
from histods.palette import HUES, class_fill
from reports import class_table as tables
from reports.bars import images_figure, percent_figure
from reports.charts import PlotResult, plot
from reports.class_table import ClassSystem, count_together
from reports.cooccurrence import cooccurrence_figure
from reports.style import COLUMN, PAGE, STYLE, Size, chart_style
from reports.text_layout import percent_text, pixels_text, shortened, text_width, tick_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Masks = list[list[int] | None]

HOSTILE = ["$x_1^2$ <b>&\"'", "Ünïcödé épiderme", "two\nlines\x07", "\\frac{1}{2} $", "日本語", "", "x" * 300]
LONG = "Dermis_Abnormal, Inflammation, Squamous cell carcinoma, Keratoacanthoma"
LABELS_74 = [f"{LONG}, {label}" if label % 7 == 0 else f"label_{label} skin" for label in range(74)]


def write_classes(masks: Masks, names: list[str], key: str) -> list[dict[str, object]]:
    """Totals as audit and remap write them, where every class of a mask has 10 ** class % 7 pixels."""
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    for mask in masks:
        pixels.update({label: 10 ** (label % 7) for label in mask or []})
        images.update(mask or [])
    total = max(pixels.total(), 1)
    return [
        {key: index, "name": name, "pixels": pixels[index], "percent": 100 * pixels[index] / total}
        | {"images": images[index]}
        for index, name in enumerate(names)
    ]


def write_audit(folder: Path, masks: Masks, names: list[str]) -> Workspace:
    """A workspace of an audit that found these masks (None: not readable)."""
    workspace = Workspace(folder)
    columns = {field.name: pa.nulls(len(masks), field.type) for field in SCHEMA}
    columns["key"] = pa.array([f"image_{place:05}" for place in range(len(masks))], pa.string())
    columns["role"] = pa.array(["conditional"] * len(masks), pa.string())
    columns["labels"] = pa.array(masks, pa.list_(pa.uint16()))
    pixels = [None if mask is None else [10 ** (label % 7) for label in mask] for mask in masks]
    columns["pixels"] = pa.array(pixels, pa.list_(pa.uint32()))
    Manifest(pa.table(columns, schema=SCHEMA), {}).write(workspace.manifest)
    labels = write_classes(masks, names, "label")
    digest = file_digest(workspace.manifest)
    write_json(workspace.audit, {"root": "patches", "labels": labels, "manifest_digest": digest})
    return workspace


def write_remap(
    workspace: Workspace, name: str, masks: Masks, names: list[str], digest: str | None = None
) -> None:
    """A class system as remap leaves it; of this audit's manifest unless a digest is given."""
    digest = digest or file_digest(workspace.manifest)
    table = pa.table({"classes": pa.array(masks, pa.list_(pa.uint16()))})
    write_table(table, workspace.remap_table(name), {"manifest_digest": digest})
    classes = write_classes(masks, names, "class")
    summary = {"map": "ten.yml", "classes": classes, "manifest_digest": digest}
    write_json(workspace.remap_summary(name), summary)


def make_masks(labels: int, images: int, seed: int = 0) -> Masks:
    """Masks of some labels each, together all of them, one mask not readable."""
    random = np.random.default_rng(seed)
    masks: Masks = [sorted({0, *random.integers(0, labels, 4).tolist()}) for _ in range(images)]
    return [list(range(labels)), None, *masks]


def make_system(number: int, *, name: str = "tissue", names: list[str] | None = None) -> ClassSystem:
    """A class system of so many classes, over 40 masks."""
    masks = make_masks(number, 40)
    rows = write_classes(masks, names or LABELS_74[:number], "class")
    classes = tables.parse_classes(rows, "class", Workspace.audit)  # type: ignore[arg-type]
    readable = pa.array([mask for mask in masks if mask is not None], pa.list_(pa.uint16()))
    together = count_together(readable, np.arange(number))
    return ClassSystem(name=name, classes=classes, images=41, together=together, source="manifest sha256 0")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def svg_text(path: Path) -> list[str]:
    return [str(element.text) for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314


@pytest.fixture(scope="module", autouse=True)
def outlines() -> Iterator[None]:
    """Fonts as outlines, which PDF files have much sooner than TrueType."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STYLE, "pdf.fonttype", 3)
        yield


@pytest.fixture(scope="module")
def plotted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, PlotResult]:
    """Charts of 74 labels and of 3 classes of the same masks."""
    masks = make_masks(74, 300)
    workspace = write_audit(tmp_path_factory.mktemp("plotted") / "out", masks, LABELS_74)
    three: Masks = [None if mask is None else sorted({label % 3 for label in mask}) for mask in masks]
    write_remap(workspace, "skin.v1-3", three, ["Unknown", "Dermis", "Épiderme"])
    return workspace, plot(workspace.folder)


def test_plot_writes_every_chart_of_the_labels_and_of_each_class_system(
    plotted: tuple[Workspace, PlotResult],
) -> None:
    workspace, result = plotted
    assert result.systems == ("labels", "skin.v1-3")
    expected = {
        f"{system}-{kind}.{suffix}"
        for system in result.systems
        for kind in ("percent", "images", "cooccurrence")
        for suffix in ("png", "svg", "csv")
    } | {f"labels-percent-log.{suffix}" for suffix in ("png", "svg")}
    assert {path.name for path in result.files} == expected
    assert {path.name for path in workspace.charts.iterdir()} == expected
    for path in result.files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
                assert round(image.info["dpi"][0]) == 300
                assert image.info["Source"] == f"manifest sha256 {file_digest(workspace.manifest)}"
        elif path.suffix == ".svg":
            assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314


def test_csv_files_hold_the_numbers_of_the_audit(plotted: tuple[Workspace, PlotResult]) -> None:
    workspace, _ = plotted
    labels = json.loads(workspace.audit.read_text())["labels"]
    percent = read_csv(workspace.charts / "labels-percent.csv")
    assert [
        {
            "label": int(row["label"]),
            "name": row["name"],
            "pixels": int(row["pixels"]),
            "percent": float(row["percent"]),
        }
        for row in percent
    ] == [{key: label[key] for key in ("label", "name", "pixels", "percent")} for label in labels]
    images = read_csv(workspace.charts / "labels-images.csv")
    assert [int(row["images"]) for row in images] == [label["images"] for label in labels]
    assert float(images[0]["percent_of_images"]) == 100
    pairs = read_csv(workspace.charts / "labels-cooccurrence.csv")
    assert len(pairs) == 74 * 74
    for row in pairs[:: 74 + 1]:  # the diagonal
        assert row["label"] == row["other_label"]
        assert int(row["images"]) == labels[int(row["label"])]["images"]
        assert float(row["percent_of_label_images"]) == 100
    assert read_csv(workspace.charts / "skin.v1-3-percent.csv")[2]["name"] == "Épiderme"


def test_svg_files_keep_names_indices_and_percentages_as_text(plotted: tuple[Workspace, PlotResult]) -> None:
    workspace, _ = plotted
    labels = json.loads(workspace.audit.read_text())["labels"]
    most = sorted(labels, key=lambda label: (-label["pixels"], label["label"]))[:40]
    for chart in ("percent", "percent-log", "images"):
        found = set(svg_text(workspace.charts / f"labels-{chart}.svg"))
        assert {shortened(label["name"], PAGE.names) for label in most} <= found
        assert {str(label["label"]) for label in most} <= found
        assert "34 others" in found
    found = set(svg_text(workspace.charts / "labels-percent-log.svg"))
    assert {pixels_text(label["percent"], label["pixels"]) for label in most} <= found
    found = set(svg_text(workspace.charts / "labels-cooccurrence.svg"))
    assert {str(label["label"]) for label in most} <= found
    assert "The 40 of 74 with most pixels" in found


def test_two_runs_write_the_same_bytes_whatever_the_users_own_settings(tmp_path: Path) -> None:
    masks = make_masks(3, 20)
    seen: list[list[bytes]] = []
    steps: list[tuple[str, int, int]] = []
    for size in (10, 30):
        workspace = write_audit(tmp_path / str(size), masks, ["a", "b", "c"])
        with mpl.rc_context({"font.size": size, "text.usetex": size > 10, "svg.hashsalt": None}):
            result = plot(workspace.folder, pdf=True, progress=lambda *step: steps.append(step))
            assert mpl.rcParams["font.size"] == size
        seen.append([path.read_bytes() for path in result.files])
    assert seen[0] == seen[1]
    assert {path.suffix for path in result.files} == {".png", ".svg", ".pdf", ".csv"}
    assert steps[:3] == [("drawing charts", done, 3) for done in range(3)]


def test_pdf_files_have_fonts_that_journals_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STYLE, "pdf.fonttype", 42)
    table = tmp_path / "counts.csv"
    table.write_text("Label ID,Class Name,Pixel Count\n0,a,990\n1,b,10\n")
    plot(tmp_path / "out", counts=table, pdf=True)
    content = (tmp_path / "out" / "charts" / "labels-percent.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/Type3" not in content
    assert b"/CreationDate" not in content
    plot(tmp_path / "out", counts=table)
    assert not list((tmp_path / "out" / "charts").glob("*.pdf")), "a PDF of an earlier run would mislead"


def test_hostile_names_are_neither_parsed_nor_lost(tmp_path: Path) -> None:
    workspace = write_audit(tmp_path, make_masks(len(HOSTILE), 5), HOSTILE)
    plot(workspace.folder)
    for chart in ("percent", "images", "cooccurrence"):
        found = svg_text(workspace.charts / f"labels-{chart}.svg")
        for name in ("$x_1^2$ <b>&\"'", "Ünïcödé épiderme", "two lines\ufffd", "\\frac{1}{2} $", "日本語"):
            assert name in found
        assert any(text.startswith("xxx") and "…" in text for text in found)
    assert read_csv(workspace.charts / "labels-percent.csv")[6]["name"] == "x" * 300


def text_boxes(figure: Figure) -> tuple[list[str], NDArray[np.float64]]:
    """Texts of a figure and their boxes [n, 4] in pixels: left, bottom, right, top."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    texts = [item for item in figure.findobj(Text) if item.get_visible() and item.get_text()]
    boxes = np.array([item.get_window_extent(renderer).extents for item in texts])
    return [item.get_text() for item in texts], boxes


@pytest.mark.parametrize("size", [PAGE, COLUMN], ids=["page", "column"])
@pytest.mark.parametrize("number", [2, 12, 41, 300])
def test_no_text_overlaps_another_or_leaves_the_figure(number: int, size: Size) -> None:
    names = [f"{LONG}, {label}" if label % 7 == 0 else f"label_{label} skin" for label in range(number)]
    system = make_system(number, name="a class system with quite a long name", names=names)
    with chart_style():
        figures = [
            percent_figure(system, size=size),
            percent_figure(system, log=True, size=size),
            images_figure(system, size=size),
            cooccurrence_figure(system, size=size),
        ]
        for figure in figures:
            check_texts(figure)
            assert figure.get_size_inches()[0] == pytest.approx(size.width)


def check_texts(figure: Figure) -> list[str]:
    """No text lies on another or leaves the figure; gives all texts."""
    texts, boxes = text_boxes(figure)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    overlaps = np.all((low < boxes[None, :, 2:]) & (high > boxes[None, :, :2]), axis=2)
    clashes = [(texts[one], texts[other]) for one, other in np.argwhere(np.triu(overlaps, 1))]
    assert clashes == []
    assert boxes.min() >= 0
    assert np.all(boxes[:, 2:] <= figure.bbox.size)
    return texts


def test_a_log_chart_is_drawn_only_where_a_class_is_under_one_percent(tmp_path: Path) -> None:
    even = tmp_path / "even.csv"
    even.write_text("Label ID,Class Name,Pixel Count\n0,a,990\n1,b,10\n2,c,0\n")
    result = plot(tmp_path / "out", counts=even)
    assert [path.name for path in result.files] == [
        "labels-percent.png",
        "labels-percent.svg",
        "labels-percent.csv",
    ]
    even.write_text("Label ID,Class Name,Pixel Count\n0,a,991\n1,b,9\n2,c,0\n")
    assert len(plot(tmp_path / "out", counts=even).files) == 5


def test_a_table_of_counts_gives_percentages_and_leaves_no_chart_of_another_source(tmp_path: Path) -> None:
    workspace = write_audit(tmp_path / "out", make_masks(2, 5), ["a", "b"])
    plot(workspace.folder)
    counts = tmp_path / "counts.csv"
    counts.write_text('\ufeffLabel ID,Class Name,Pixel Count,Percentage\n3,"b, c",64685342720,\n0,a,1,\n')
    result = plot(workspace.folder, counts=counts)
    assert result.systems == ("labels",)
    assert {path.name for path in workspace.charts.iterdir()} == {path.name for path in result.files}
    rows = read_csv(workspace.charts / "labels-percent.csv")
    assert [(row["label"], row["name"], row["pixels"]) for row in rows] == [
        ("0", "a", "1"),
        ("3", "b, c", "64685342720"),
    ]
    assert sum(float(row["percent"]) for row in rows) == pytest.approx(100)
    assert "<0.0001 % (1 pixel)" in svg_text(workspace.charts / "labels-percent-log.svg")


def test_a_table_that_has_no_counts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("Label ID,Class Name\n0,a\n")
    with pytest.raises(HistodsError, match=r"needs .*; .*\.$"):
        plot(tmp_path / "out", counts=path)


def test_a_table_of_counts_without_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("Label ID,Class Name,Pixel Count\n0,a,0\n")
    with pytest.raises(HistodsError) as refused:
        plot(tmp_path / "out", counts=path)
    assert str(refused.value) == f"{path} has no pixels to draw; check its column 'Pixel Count'."


def test_a_class_system_of_another_audit_is_refused_with_the_command_that_refreshes_it(tmp_path: Path) -> None:
    masks = make_masks(2, 5)
    workspace = write_audit(tmp_path, masks, ["a", "b"])
    write_remap(workspace, "tissue", masks, ["a", "b"], digest="0" * 64)
    with pytest.raises(StaleFileError) as refused:
        plot(tmp_path)
    assert str(refused.value) == (
        "The class system 'tissue' was made from another audit; "
        f"run 'histods remap --map ten.yml -w {tmp_path}' again."
    )
    assert not workspace.charts.exists()


def test_a_class_system_named_like_the_labels_is_refused(tmp_path: Path) -> None:
    masks = make_masks(2, 5)
    workspace = write_audit(tmp_path, masks, ["a", "b"])
    write_remap(workspace, "labels", masks, ["a", "b"])
    with pytest.raises(HistodsError) as refused:
        plot(tmp_path)
    assert str(refused.value) == (
        f"{workspace.remap_summary('labels')} is a class system named 'labels', which means the source labels: "
        "remove it, give its label map another name and remap."
    )


def test_labels_remapped_without_a_map_are_drawn_once(tmp_path: Path) -> None:
    masks = make_masks(2, 5)
    workspace = write_audit(tmp_path, masks, ["a", "b"])
    write_remap(workspace, "labels", masks, ["a", "b"])
    summary = json.loads(workspace.remap_summary("labels").read_text())
    for row in summary["classes"]:
        row["labels"] = [row["class"]]
    write_json(workspace.remap_summary("labels"), summary)
    assert plot(tmp_path).systems == ("labels",)


def test_a_workspace_without_a_readable_mask_is_refused(tmp_path: Path) -> None:
    write_audit(tmp_path, [None, None], [])
    with pytest.raises(HistodsError) as refused:
        plot(tmp_path)
    assert str(refused.value) == ("There is no mask in use to draw; see 'histods show', then audit again.")


def test_a_workspace_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match=r"^There is no audit in"):
        plot(tmp_path / "nothing")


def test_a_damaged_summary_is_refused(tmp_path: Path) -> None:
    workspace = write_audit(tmp_path, [[0]], ["a"])
    summary = json.loads(workspace.audit.read_text())
    del summary["labels"][0]["pixels"]
    write_json(workspace.audit, summary)
    with pytest.raises(HistodsError, match=r"audit.json is not the summary of an audit \(no field pixels\); run"):
        plot(tmp_path)


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (0, "0 %"),
        (100, "100 %"),
        (99.9999, ">99.99 %"),
        (74.0133, "74.01 %"),
        (0.5999, "0.60 %"),
        (0.0624, "0.062 %"),
        (0.0016, "0.0016 %"),
        (0.0001, "0.0001 %"),
        (1.5e-9, "<0.0001 %"),
    ],
)
def test_percentages_are_never_zero_or_all_by_rounding(percent: float, text: str) -> None:
    assert percent_text(percent) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1e-8, "10⁻⁸"), (0.0001, "0.0001"), (2.5, "2.5"), (100.0, "100"), (2.5e8, "250,000,000")],
)
def test_ticks_are_plain_numbers(value: float, text: str) -> None:
    assert tick_text(value) == text


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), inches=st.floats(0.2, 4))
def test_shortened_text_fits_and_keeps_its_ends(text: str, inches: float) -> None:
    short = shortened(text, inches)
    assert text_width(short) <= inches
    if short != text:
        head, tail = (end.strip() for end in short.replace("… ", "…").split("…", 1))
        assert text.lstrip().startswith(head)
        assert text.rstrip().endswith(tail)


# Machado, Oliveira and Fernandes 2009, table of severity 1.0, for linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colour: str, vision: str) -> NDArray[np.float64]:
    """CIELAB (D65) of a colour as someone with this vision sees it."""
    value = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(VISION[vision] @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    xyz = to_xyz @ seen / (0.95047, 1, 1.08883)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("vision", VISION)
def test_ten_classes_differ_by_colour_for_every_vision(vision: str) -> None:
    seen = [lab(class_fill(index).face, vision) for index in range(10)]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) > 16


@pytest.mark.parametrize("vision", VISION)
def test_neighbours_among_81_classes_differ_by_colour_for_every_vision(vision: str) -> None:
    seen = [lab(class_fill(index).face, vision) for index in range(82)]
    distances = [float(np.linalg.norm(one - other)) for one, other in pairwise(seen)]
    assert min(distances) > 8


def test_82_classes_have_82_fills_and_class_0_is_neutral() -> None:
    assert len({class_fill(index) for index in range(82)}) == 82
    assert len(set(bytes.fromhex(class_fill(0).face[1:]))) == 1
    assert [class_fill(index).face for index in range(1, 10)] == list(HUES)
