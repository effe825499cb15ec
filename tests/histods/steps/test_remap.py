"""remap: class histograms, summaries, DiffInfinite lists and tables of counts."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.steps.remap import remap, to_document
from tests.histods.steps.remap_sites import MAP, Mask, Site, classes_of, draw, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


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
