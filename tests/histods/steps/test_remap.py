"""remap: class histograms, summaries, DiffInfinite lists and mask files, from a manifest made by hand."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from histods import audit
from histods.cli.main import main
from histods.dataset.manifest import SCHEMA, Manifest
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace
from histods.masks.writer import MaskTask, write_mask_files
from histods.steps.remap import remap, to_document

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8] | NDArray[np.uint16]

COLOURS = {0: (0, 0, 0), 3: (255, 0, 0), 9: (0, 255, 0)}
MAP = """
name: three
classes: [Unknown, Tumour, Stroma]
map: {Unknown: [0, 1], Tumour: [3], Stroma: [9, 700]}
"""
RNG = np.random.default_rng(7)


@dataclass(frozen=True, kw_only=True)
class Mask:
    """One sample of a dataset made by hand; without labels it has no mask."""

    path: str | None = None
    labels: Labels | None = None
    role: str = "conditional"


class Site:
    """A dataset of masks, and the workspace in which an audit of it would have ended."""

    def __init__(self, folder: Path, masks: dict[str, Mask], *, labels_file: Path | None = None) -> None:
        self.root, self.space = folder / "data", Workspace(folder / "out")
        self.masks = masks
        self.labels_file = labels_file
        self.map = folder / "three.yml"
        self.root.mkdir(parents=True)
        self.map.write_text(MAP)
        for mask in masks.values():
            if mask.path is not None and mask.labels is not None:
                save(self.root / mask.path, mask.labels)
        self.audit()

    def audit(self) -> None:
        rows = [self._row(key, mask) for key, mask in sorted(self.masks.items())]
        Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(self.space.manifest)
        summary = {
            "root": str(self.root),
            "labels": [{"label": 3, "name": "tumour", "pixels": 1, "percent": 100.0, "images": 1}],
            "options": {"labels": self.labels_file and str(self.labels_file), "nearest_colour": False},
            "manifest_digest": file_digest(self.space.manifest),
        }
        write_json(self.space.audit, summary)

    def _row(self, key: str, mask: Mask) -> dict[str, object]:
        if mask.path is None or mask.labels is None:
            return {"key": key, "mask_path": mask.path, "role": mask.role}
        labels, pixels = np.unique(mask.labels, return_counts=True)
        status = (self.root / mask.path).stat()
        height, width = mask.labels.shape
        return {
            "key": key,
            "mask_path": mask.path,
            "role": mask.role,
            "height": height,
            "width": width,
            "mask_bytes": status.st_size,
            "mask_mtime_ns": status.st_mtime_ns,
            "labels": labels.tolist(),
            "pixels": pixels.tolist(),
        }

    @property
    def usable(self) -> dict[str, Mask]:
        return {key: mask for key, mask in self.masks.items() if mask.role != "excluded"}


def save(path: Path, labels: Labels) -> None:
    """Store labels in the way that the path names: palette, rgb, or as deep as the array is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "palette" in path.stem:
        image = Image.fromarray(labels.astype(np.uint8)).convert("P")
        image.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    elif "rgb" in path.stem:
        image = Image.fromarray(np.array([COLOURS.get(i, (9, 9, 9)) for i in range(10)], np.uint8)[labels])
    elif "bilevel" in path.stem:
        image = Image.fromarray(labels.astype(bool))
    else:
        image = Image.fromarray(labels)
    image.save(path)


def draw(values: list[int], shape: tuple[int, int] = (24, 32)) -> Labels:
    dtype = np.uint8 if max(values) < 256 else np.uint16
    return RNG.choice(np.array(values, dtype), shape)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(
        tmp_path,
        {
            "a/gray8": Mask(path="a/gray8_mask.png", labels=draw([0, 3, 9])),
            "a/gray16": Mask(path="a/gray16_mask.png", labels=draw([0, 3, 700])),
            "b/palette": Mask(path="b/palette_mask.png", labels=draw([0, 3, 9])),
            "b/tiff, 16 bits": Mask(path="b/tiff.v1_mask.tif", labels=draw([1, 700])),
            "bilevel": Mask(path="bilevel.png", labels=draw([0, 1])),
            "bmp": Mask(path="bmp_mask.bmp", labels=draw([9])),
            "zero": Mask(path="zero_mask.png", labels=draw([0]), role="unconditional"),
            "image only": Mask(role="unconditional"),
            "broken": Mask(path="broken.png", role="excluded"),
            "orphan": Mask(path="orphan.png", labels=draw([44]), role="excluded"),
        },
    )


def classes_of(labels: Labels) -> NDArray[np.uint8]:
    table = np.full(701, 255, np.uint8)
    table[[0, 1, 3, 9, 700]] = [0, 0, 1, 2, 2]
    return table[labels]


# Histograms


def test_classes_pixels_and_images_are_those_of_the_mapped_masks(site: Site) -> None:
    result = remap(workspace=site.space.folder, map=site.map)
    mapped = [classes_of(mask.labels) for mask in site.usable.values() if mask.labels is not None]
    everything = sum(mask.size for mask in mapped)
    assert [(row.index, row.name) for row in result.classes] == [(0, "Unknown"), (1, "Tumour"), (2, "Stroma")]
    for row in result.classes:
        assert row.pixels == sum(int((mask == row.index).sum()) for mask in mapped)
        assert row.images == sum(bool((mask == row.index).any()) for mask in mapped)
        assert row.percent == 100 * row.pixels / everything
    assert result.pixels == everything
    assert result.labels == ((0, 1), (3,), (9, 700))


def test_samples_whose_classes_are_all_0_become_unconditional_and_are_counted(site: Site) -> None:
    result = remap(workspace=site.space.folder, map=site.map)
    assert (result.conditional, result.unconditional, result.excluded) == (5, 3, 2)
    assert (result.became_unconditional, result.became_conditional) == (1, 0)  # bilevel: 0 and 1 are Unknown


def test_a_zero_mask_becomes_conditional_where_label_0_is_another_class(site: Site) -> None:
    site.map.write_text("0: 1\n1: 0\n3: 0\n9: 0\n700: 0\n")
    result = remap(workspace=site.space.folder, map=site.map)
    assert (result.conditional, result.became_conditional) == (5, 1)
    assert (result.unconditional, result.became_unconditional) == (3, 2)


def test_the_table_has_one_row_for_each_usable_sample(site: Site) -> None:
    result = remap(workspace=site.space.folder, map=site.map)
    table = pq.read_table(site.space.remap_table("three"))
    assert table.schema.names == ["key", "role", "classes", "pixels"]
    assert table.schema.field("classes").type.value_type == pa.uint16()
    assert table.schema.field("pixels").type.value_type == pa.uint32()
    assert table["key"].to_pylist() == sorted(site.usable)
    assert table["role"].to_pylist().count("conditional") == result.conditional
    for row in table.to_pylist():
        labels = site.masks[row["key"]].labels
        if labels is None:
            assert (row["role"], row["classes"], row["pixels"]) == ("unconditional", None, None)
            continue
        classes, pixels = np.unique(classes_of(labels), return_counts=True)
        assert (row["classes"], row["pixels"]) == (classes.tolist(), pixels.tolist())
        assert row["role"] == ("conditional" if classes.any() else "unconditional")


def test_files_name_their_parents_and_two_runs_give_the_same_bytes(site: Site) -> None:
    result = remap(workspace=site.space.folder, map=site.map)
    files = [site.space.remap_table("three"), site.space.remap_summary("three")]
    first = [file.read_bytes() for file in files]
    metadata = pq.read_schema(files[0]).metadata
    digest = file_digest(site.space.manifest)
    assert metadata == {
        b"schema_version": b"1",
        b"name": b"three",
        b"map_digest": result.map_digest.encode(),
        b"manifest_digest": digest.encode(),
    }
    assert json.loads(first[1]) == to_document(result)
    assert json.loads(first[1])["manifest_digest"] == result.manifest_digest == digest
    remap(workspace=str(site.space.folder), map=str(site.map))
    assert [file.read_bytes() for file in files] == first


def test_the_summary_says_everything_in_a_stable_form(site: Site) -> None:
    document = to_document(remap(workspace=site.space.folder, map=site.map))
    assert list(document) == [
        "schema_version",
        "name",
        "map",
        "classes",
        "unmapped",
        "counts",
        "warnings",
        "map_digest",
        "manifest_digest",
    ]
    assert list(document["classes"][0]) == ["class", "name", "labels", "pixels", "percent", "images"]
    assert document["unmapped"] == {"class": None, "labels": [], "pixels": 0}
    assert document["counts"] == {
        "conditional": 5,
        "unconditional": 3,
        "excluded": 2,
        "became_unconditional": 1,
        "became_conditional": 0,
        "masks": 7,
        "pixels": 7 * 24 * 32,
        "excluded_masks": 1,
        "excluded_pixels": 24 * 32,
    }


def test_several_class_systems_live_side_by_side(site: Site) -> None:
    site.map.write_text("0: 0\n1: 0\n3: 0\n9: 0\n700: 0\n")
    remap(workspace=site.space.folder, map=site.map)
    other = site.map.with_name("other.yml")
    other.write_text(MAP.replace("name: three", "name: other"))
    remap(workspace=site.space.folder, map=other)
    assert site.space.class_systems() == ["other", "three"]


def test_labels_that_are_not_listed_are_refused_with_their_pixels_or_said(site: Site) -> None:
    table = MAP.replace(", 700", "")
    site.map.write_text(table)
    pixels = sum(int((mask.labels == 700).sum()) for mask in site.usable.values() if mask.labels is not None)
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map)
    assert str(refusal.value) == (
        f"Label map three leaves out 700 ({pixels:,} pixels); add them to the map, or set 'unmapped: CLASS' in it."
    )
    assert site.space.class_systems() == []
    site.map.write_text(table + "unmapped: Tumour\n")
    result = remap(workspace=site.space.folder, map=site.map)
    assert (result.unmapped_class, result.unmapped_labels, result.unmapped_pixels) == (1, (700,), pixels)


def test_without_a_map_labels_stay_as_they_are(site: Site) -> None:
    with pytest.raises(HistodsError, match="Label 700 is above 255, .*; give a label map with --map"):
        remap(workspace=site.space.folder)
    for key in ("a/gray16", "b/tiff, 16 bits"):
        site.masks[key] = replace(site.masks[key], role="excluded")
    site.audit()
    result = remap(workspace=site.space.folder)
    assert (result.name, len(result.classes), result.became_unconditional) == ("labels", 10, 0)
    masks = [mask.labels for mask in site.usable.values() if mask.labels is not None]
    assert [row.pixels for row in result.classes] == [
        sum(int((mask == label).sum()) for mask in masks) for label in range(10)
    ]


def test_names_come_from_the_labels_file_of_the_audit_even_when_it_is_gone(tmp_path: Path) -> None:
    labels_file = tmp_path / "labels.csv"
    labels_file.write_text("label,name\n0,background\n3,Tumour\n")
    site = Site(tmp_path, {"x": Mask(path="x.png", labels=draw([0, 3]))}, labels_file=labels_file)
    assert [row.name for row in remap(workspace=site.space.folder).classes] == [
        "background",
        "label 1",
        "label 2",
        "Tumour",
    ]
    labels_file.unlink()
    assert remap(workspace=site.space.folder).classes[3].name == "tumour"


def test_a_map_of_the_dataset_comes_before_a_bundled_one(site: Site) -> None:
    (site.root / "label_map_5.yml").write_text(MAP)
    assert remap(workspace=site.space.folder, map="label_map_5.yml").name == "three"


@pytest.mark.parametrize("role", ["excluded", "unconditional"])
def test_a_dataset_without_any_mask_has_classes_without_pixels(tmp_path: Path, role: str) -> None:
    site = Site(tmp_path, {"x": Mask(role=role)})
    result = remap(workspace=site.space.folder, map=site.map, dataset_csv=tmp_path / "dataset.csv")
    assert [(row.pixels, row.percent, row.images) for row in result.classes] == [(0, 0.0, 0)] * 3
    assert (tmp_path / "dataset.csv").read_text() == ("" if role == "excluded" else "x,0\n")


def test_a_workspace_without_an_audit_or_with_another_manifest_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="There is no audit in .* yet; run 'histods audit"):
        remap(workspace=tmp_path / "nothing", map=site.map)
    summary = json.loads(site.space.audit.read_text())
    write_json(site.space.audit, {**summary, "manifest_digest": "0"})
    with pytest.raises(StaleFileError, match="has changed since the audit wrote it; run 'histods audit"):
        remap(workspace=site.space.folder, map=site.map)


# The list of DiffInfinite


def test_the_dataset_csv_lists_classes_in_order_and_0_for_missing_masks(site: Site, tmp_path: Path) -> None:
    remap(workspace=site.space.folder, map=site.map, dataset_csv=tmp_path / "sub" / "dataset.csv")
    expected = []
    for key, mask in sorted(site.usable.items()):
        classes = [0] if mask.labels is None else np.unique(classes_of(mask.labels)).tolist()
        name = f'"{key}"' if "," in key else key
        expected.append(f"{name},{' '.join(map(str, classes))}\n")
    assert (tmp_path / "sub" / "dataset.csv").read_bytes() == "".join(expected).encode()


def test_nothing_is_ever_written_into_the_dataset(site: Site) -> None:
    for option, place in (
        ("--dataset-csv", site.root / "dataset.csv"),
        ("--write-masks", site.root / "new"),
        ("--write-masks", site.root),
        ("--write-masks", site.root.parent),
    ):
        arguments = {option[2:].replace("-", "_"): place}
        with pytest.raises(HistodsError) as refusal:
            remap(workspace=site.space.folder, map=site.map, **arguments)  # type: ignore[arg-type]
        assert str(refusal.value) == (
            f"{place} is not outside the dataset {site.root}, which is never written to; choose another place "
            f"for {option}."
        )
    folder = site.space.folder
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=folder, map=site.map, dataset_csv=folder)
    assert str(refusal.value) == (f"{folder} is a folder; name a file in it for --dataset-csv.")


@pytest.mark.skipif("HISTODS_REAL_DATA" not in os.environ, reason="HISTODS_REAL_DATA names no folder of real data")
def test_the_list_of_a_real_dataset_is_reproduced(tmp_path: Path) -> None:
    from histods import audit

    root = Path(os.environ["HISTODS_REAL_DATA"], "lung12")
    audit(root, workspace=tmp_path, workers=1)
    remap(workspace=tmp_path, dataset_csv=tmp_path / "dataset.csv")
    found, published = ((folder / "dataset.csv").read_text().splitlines() for folder in (tmp_path, root))
    assert found == sorted(published)


# Tables of counts


def test_a_table_of_counts_is_remapped_without_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "three.yml").write_text(MAP)
    counts = tmp_path / "counts.csv"
    counts.write_text("Label ID,Class Name,Pixel Count\n0,a,60\n3,b,30\n9,c,6\n700,d,4\n")
    result = remap(workspace=tmp_path / "none", map=tmp_path / "three.yml", counts=counts)
    assert [(row.name, row.pixels, row.percent, row.images) for row in result.classes] == [
        ("Unknown", 60, 60.0, None),
        ("Tumour", 30, 30.0, None),
        ("Stroma", 10, 10.0, None),
    ]
    assert (result.pixels, result.manifest_digest, result.conditional) == (100, None, 0)
    assert not (tmp_path / "none").exists()


def test_counts_without_a_map_keep_their_names(tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text("Label ID,Class Name,Pixel Count\n1,tumour,30\n0,background,60\n3,Unknown,1\n4,Unknown,1\n")
    assert [row.name for row in remap(counts=counts).classes] == [
        "background",
        "tumour",
        "label 2",
        "Unknown (3)",
        "Unknown (4)",
    ]


def test_counts_of_unlisted_labels_are_refused_with_their_pixels(tmp_path: Path) -> None:
    (tmp_path / "three.yml").write_text(MAP)
    counts = tmp_path / "counts.csv"
    counts.write_text("Label ID,Class Name,Pixel Count\n0,a,60\n55,b,2077058\n")
    with pytest.raises(HistodsError, match=r"leaves out 55 \(2,077,058 pixels\); add them"):
        remap(map=tmp_path / "three.yml", counts=counts)


def test_counts_have_no_samples_to_write(tmp_path: Path) -> None:
    with pytest.raises(HistodsError) as refusal:
        remap(counts=tmp_path / "counts.csv", dataset_csv=tmp_path / "dataset.csv")
    assert str(refusal.value) == (
        "--counts does not go together with --write-masks or --dataset-csv: a table of counts "
        "has no samples; leave --counts out."
    )


DRSK_SHARES = {
    "label_map_5.yml": [74.01, 4.29, 5.62, 2.27, 13.81],
    "label_map_10.yml": [74.03, 3.37, 0.92, 1.45, 7.65, 0.60, 5.56, 0.88, 4.73, 0.80],
}


@pytest.mark.skipif("HISTODS_REAL_DATA" not in os.environ, reason="HISTODS_REAL_DATA names no folder of real data")
@pytest.mark.parametrize(("name", "shares"), DRSK_SHARES.items())
def test_the_counts_of_drsk_give_its_published_percentages(name: str, shares: list[float]) -> None:
    result = remap(map=name, counts=Path(os.environ["HISTODS_REAL_DATA"], "drsk_pixel_counts.csv"))
    assert [round(row.percent, 2) for row in result.classes] == shares
    assert (result.pixels, result.unmapped_labels) == (64_685_342_720, tuple(range(55, 74)))


@pytest.mark.parametrize(("name", "shares"), DRSK_SHARES.items())
def test_counts_made_from_percentages_give_them_back(tmp_path: Path, name: str, shares: list[float]) -> None:
    """Spread each class's share over its labels; labels 55 and 56 stand for storage artefacts, class 0."""
    by_identity = tmp_path / "identity.csv"
    header = "Label ID,Class Name,Pixel Count\n"
    by_identity.write_text(header + "".join(f"{label},n,1\n" for label in range(57)))
    of_class = remap(map=name, counts=by_identity)
    rows = []
    for row, labels, share in zip(of_class.classes, of_class.labels, shares, strict=True):
        members = [*labels, 55, 56] if row.index == 0 else [*labels]
        whole = round(share * 10_000_000)
        parts = [whole // len(members) + (place < whole % len(members)) for place in range(len(members))]
        rows += [f"{label},n,{part}\n" for label, part in zip(members, parts, strict=True)]
    counts = tmp_path / "counts.csv"
    counts.write_text(header + "".join(rows))
    result = remap(map=name, counts=counts)
    assert [round(row.percent, 2) for row in result.classes] == [
        round(100 * share / sum(shares), 2) for share in shares
    ]
    assert (result.unmapped_class, result.unmapped_labels) == (0, (55, 56))


# Mask files


def test_written_masks_equal_the_mapped_masks_pixel_by_pixel(site: Site, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    folder = tmp_path / "masks"
    result = remap(
        workspace=site.space.folder,
        map=site.map,
        write_masks=folder,
        workers=1,
        progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    expected = {
        Path(mask.path).with_suffix(".png"): classes_of(mask.labels)
        for mask in site.usable.values()
        if mask.path is not None and mask.labels is not None
    }
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert found == {*expected, Path("remap.json")}
    for path, classes in expected.items():
        with Image.open(folder / path) as image:
            assert (image.mode, image.format) == ("L", "PNG")
            np.testing.assert_array_equal(np.asarray(image), classes)
        np.testing.assert_array_equal(cv2.imread(str(folder / path), cv2.IMREAD_UNCHANGED), classes)
    assert (result.masks_written, result.masks_present) == (7, 0)
    assert stages[-1] == ("writing masks", 7, 7)
    again = remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert (again.masks_written, again.masks_present) == (0, 7)


def write_in_process(
    site: Site, folder: Path, promised: dict[int, int] | None = None
) -> tuple[int, int, list[tuple[str, str]]]:
    """What a worker does, without starting one; the manifest may promise other classes and pixels."""
    tasks = []
    for _, mask in sorted(site.usable.items()):
        if mask.path is None or mask.labels is None:
            continue
        status = (site.root / mask.path).stat()
        classes, pixels = np.unique(classes_of(mask.labels), return_counts=True)
        histogram = promised or dict(zip(classes.tolist(), pixels.tolist(), strict=True))
        task = MaskTask(
            source=mask.path,
            target=str(Path(mask.path).with_suffix(".png")),
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            height=mask.labels.shape[0],
            width=mask.labels.shape[1],
            classes=list(histogram),
            pixels=list(histogram.values()),
        )
        tasks.append(task)
    lookup = np.zeros(65536, np.uint8)
    lookup[[3, 9, 700]] = [1, 2, 2]
    report = write_mask_files(
        tasks, root=str(site.root), folder=str(folder), lookup=lookup, colours=COLOURS, nearest=False
    )
    assert report.disk is None
    return report.written, report.present, report.problems


def test_colour_masks_are_remapped_through_the_colours_of_the_audit(tmp_path: Path) -> None:
    site = Site(tmp_path, {"x": Mask(path="rgb_mask.png", labels=draw([0, 3, 9]))})
    assert write_in_process(site, tmp_path / "masks") == (1, 0, [])
    labels = site.masks["x"].labels
    assert labels is not None
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "masks/rgb_mask.png")), classes_of(labels))


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(site: Site, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    options = {"workspace": site.space.folder, "map": site.map, "workers": 1}
    remap(**options, write_masks=whole)  # type: ignore[arg-type]
    (torn / "b").mkdir(parents=True)
    (torn / "remap.json").write_bytes((whole / "remap.json").read_bytes())
    (torn / "b" / "palette_mask.png").write_bytes((whole / "b" / "palette_mask.png").read_bytes())
    (torn / "b" / ".tiff.v1_mask.png.4711.part").write_bytes(b"\x89PNG")
    result = remap(**options, write_masks=torn)  # type: ignore[arg-type]
    assert (result.masks_written, result.masks_present) == (6, 1)
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (whole, torn)
    ]
    assert contents[0] == contents[1]


def test_a_folder_of_other_masks_is_refused(site: Site, tmp_path: Path) -> None:
    def attempt(folder: Path) -> str:
        with pytest.raises(HistodsError) as refusal:
            remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
        return str(refusal.value)

    marked, filled, file = tmp_path / "marked", tmp_path / "filled", tmp_path / "file"
    write_json(marked / "remap.json", {"map_digest": "0", "manifest_digest": "0"})
    assert attempt(marked) == (f"{marked} holds masks of another label map or manifest; choose a new folder.")
    save(filled / "deep" / "other.png", draw([0]))
    assert attempt(filled) == (
        f"{filled} holds PNG files already, such as {filled}/deep/other.png; choose a new folder."
    )
    file.write_text("")
    assert attempt(file) == f"{file} is a file; --write-masks must name a folder."


def test_masks_that_changed_since_the_audit_are_refused_by_name_and_the_others_written(
    site: Site, tmp_path: Path
) -> None:
    os.utime(site.root / "b/palette_mask.png", ns=(1, 1))
    (site.root / "a/gray8_mask.png").unlink()
    folder = tmp_path / "masks"
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert str(refusal.value) == (
        "Masks are not as the last audit read them: a/gray8_mask.png (cannot be opened: No "
        f"such file or directory) and 1 more; run 'histods audit {site.root} -w {site.space.folder}' again, then "
        "remap into a new folder."
    )
    assert len(list(folder.rglob("*.png"))) == 5


def test_a_mask_with_other_pixels_under_the_same_size_and_time_is_noticed(site: Site, tmp_path: Path) -> None:
    site.masks = {"a/gray8": site.masks["a/gray8"]}
    problem = ("a/gray8_mask.png", "its pixels changed, or the labels file did")
    for promised in ({0: 1, 1: 2, 2: 765}, {0: 256, 1: 512}):
        assert write_in_process(site, tmp_path / "masks", promised) == (0, 0, [problem])
    assert not (tmp_path / "masks").exists()


def test_a_damaged_mask_is_a_problem_with_a_reason(site: Site, tmp_path: Path) -> None:
    path = site.root / "a/gray8_mask.png"
    path.write_bytes(path.read_bytes()[:-8])
    site.masks = {"a/gray8": site.masks["a/gray8"]}
    written, _, [(name, reason)] = write_in_process(site, tmp_path / "masks")
    assert (written, name) == (0, "a/gray8_mask.png")
    assert reason
    assert "\n" not in reason


def test_a_folder_that_cannot_be_written_ends_the_run_with_the_reason(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "a").write_text("a file where a folder has to be")
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert str(refusal.value) == (
        f"Writing into {folder} failed ({folder}/a/gray16_mask.png: File exists); fix that and run the "
        "same command again to continue."
    )


def test_masks_that_would_share_a_name_are_refused_and_a_shared_mask_is_written_once(tmp_path: Path) -> None:
    shared = Mask(path="m.png", labels=draw([0, 3]))
    site = Site(tmp_path, {"x": shared, "y": shared})
    result = remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "masks", workers=1)
    assert result.masks_written == 1
    site.masks["z"] = Mask(path="m.tif", labels=shared.labels)
    assert shared.labels is not None
    save(site.root / "m.tif", shared.labels)
    site.audit()
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "others", workers=1)
    assert str(refusal.value) == (
        "m.png and m.tif would both be written as m.png; rename one of them and audit again."
    )


def test_masks_outside_the_dataset_are_never_written_beside_the_folder(tmp_path: Path) -> None:
    site = Site(tmp_path, {"x": Mask(path="../outside.png", labels=draw([0, 3]))})
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "masks", workers=1)
    assert str(refusal.value) == (
        f"{site.space.manifest} has paths or numbers that no dataset has ('../outside.png' outside it); run "
        "'histods audit DATASET' again."
    )
    assert not (tmp_path / "masks").exists()


# What changed since the audit, and what was there before


def test_a_labels_file_that_changed_or_lost_its_colours_is_stale(tmp_path: Path) -> None:
    root, labels_file = tmp_path / "data", tmp_path / "labels.csv"
    save(root / "x_mask.png", draw([0, 3]))
    Image.new("RGB", (32, 24)).save(root / "x.jpg")
    content = "label,name,colour\n0,background,#000000\n3,tumour,#ff0000\n"
    labels_file.write_text(content)
    audit(root, workspace=tmp_path / "out", labels=labels_file, workers=1)
    command = f"histods audit {root} --labels {labels_file} -w {tmp_path}/out"
    labels_file.write_text(content.replace("ff", "fe"))
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        f"The labels file {labels_file} has changed since the audit read it; run '{command}' again."
    )
    labels_file.unlink()
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        f"The labels file {labels_file}, whose colours the audit used, is gone; "
        f"restore it, or run '{command}' with another."
    )
    labels_file.write_text(content)
    assert [row.name for row in remap(workspace=tmp_path / "out").classes] == [
        "background",
        "label 1",
        "label 2",
        "tumour",
    ]
    with (tmp_path / "out" / "manifest.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value).endswith(f"has changed since the audit wrote it; run '{command}' again.")


def test_a_labels_file_is_found_from_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    save(root / "x_mask.png", draw([0, 3]))
    Image.new("RGB", (32, 24)).save(root / "x.jpg")
    (tmp_path / "labels.yml").write_text("0: background\n2: named, but in no mask\n3: tumour\n")
    monkeypatch.chdir(tmp_path)
    audit(root, workspace=tmp_path / "out", labels="labels.yml", workers=1)
    monkeypatch.chdir(root)
    assert [row.name for row in remap(workspace=tmp_path / "out").classes] == [
        "background",
        "label 1",
        "named, but in no mask",
        "tumour",
    ]


def test_pixels_of_unknown_colours_need_a_map_and_are_called_so(tmp_path: Path) -> None:
    root, labels_file = tmp_path / "data", tmp_path / "labels.csv"
    save(root / "rgb_mask.png", draw([0, 3, 5]))  # 5 has a colour that no label has
    Image.new("RGB", (32, 24)).save(root / "rgb.jpg")
    labels_file.write_text("label,name,colour\n0,background,#000000\n3,tumour,#ff0000\n")
    audit(root, workspace=tmp_path / "out", labels=labels_file, workers=1)
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        "Some pixels have colours that are not in the labels file, so labels cannot stay as "
        "they are; add their colours, or give a --map that has a class for label 65535."
    )
    (tmp_path / "map.yml").write_text("0: 0\n65535: 0\n3: 1\n")
    assert len(remap(workspace=tmp_path / "out", map=tmp_path / "map.yml").classes) == 2


def test_another_map_of_the_same_name_replaces_the_first_and_says_so(site: Site) -> None:
    assert remap(workspace=site.space.folder, map=site.map).warnings == ()
    files = [site.space.remap_table("three"), site.space.remap_summary("three")]
    first = [file.read_bytes() for file in files]
    assert remap(workspace=site.space.folder, map=site.map).warnings == ()
    site.map.write_text(MAP.replace("[0, 1]", "[0]").replace("[3]", "[1, 3]"))
    warning = "replaces the class system three, which was made from another map"
    assert remap(workspace=site.space.folder, map=site.map).warnings == (warning,)
    assert [file.read_bytes() for file in files] != first
    site.map.write_text(MAP)
    assert remap(workspace=site.space.folder, map=site.map).warnings == (warning,)
    assert [file.read_bytes() for file in files] == first


@pytest.mark.parametrize("name", ["x" * 251, "ä" * 125 + "x", "組" * 83])
def test_the_longest_legal_names_are_remapped(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, {"x": Mask(path=f"{name}.png", labels=draw([0, 3, 9]))})
    site.map.write_text(MAP.replace("three", "組" * 80))
    folder = tmp_path / "masks"
    result = remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert (result.name, result.masks_written) == ("組" * 80, 1)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["remap.json", f"{name}.png"])
    assert site.space.class_systems() == ["組" * 80]


def test_a_draft_is_a_map_that_remap_reads_once_it_is_edited(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, draft = str(site.space.folder), tmp_path / "my map.yml"
    monkeypatch.setattr("sys.argv", ["histods", "remap", "--draft", str(draft), "-w", space])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert f"histods remap --map '{draft}' -w {space}" in " ".join(printed.replace("\\\n", " ").split())
    assert not site.space.class_systems()
    drafted = remap(workspace=space, map=draft)
    labels = Manifest.read(site.space.manifest).table["labels"].to_pylist()
    assert drafted.name == "my-map"
    assert {3, 9, 700} < {label for (label,) in drafted.labels[1:]} <= {one for row in labels for one in row or ()}
    draft.write_text(re.sub(r".*: \[9\].*\n", "", draft.read_text()).replace("[3]", "[3, 9]"))
    assert (3, 9) in remap(workspace=space, map=draft).labels


def test_a_draft_never_takes_the_place_of_a_file(site: Site, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yml"
    draft.write_text("mine")
    for path, problem in (
        (draft, f"{draft} exists already; move it away or choose another name"),
        (
            tmp_path / "draft.csv",
            "--draft writes YAML, so its path cannot be 'draft.csv': choose a name that ends in .yml",
        ),
        (site.root / "m.yml", f"{site.root / 'm.yml'} is inside the dataset, which is never written to"),
    ):
        with pytest.raises(HistodsError) as error:
            remap(workspace=site.space.folder, draft=path)
        assert str(error.value).startswith(problem)
    assert draft.read_text() == "mine"
    others: tuple[dict[str, Any], ...] = (
        {"map": site.map},
        {"write_masks": tmp_path / "masks"},
        {"dataset_csv": tmp_path / "d.csv"},
    )
    for options in others:
        with pytest.raises(HistodsError, match="--draft does not go together with --map"):
            remap(workspace=site.space.folder, draft=tmp_path / "new.yml", **options)
    assert not (tmp_path / "new.yml").exists()


def test_a_table_of_counts_can_be_drafted_too(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("Label ID,Class Name,Pixel Count\n0,none,70\n3,tumour,20\n9,stroma,10\n")
    draft = tmp_path / "draft.yml"
    assert [row.pixels for row in remap(counts=tmp_path / "counts.csv", draft=draft).classes] == [70, 20, 10]
    result = remap(counts=tmp_path / "counts.csv", map=draft)
    assert [row.name for row in result.classes] == ["none", "tumour", "stroma"]
