"""The Croissant description is valid to mlcroissant, which loads the records that the tables hold."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError, Manifest, audit, split
from histods.dataset.croissant import CroissantFacts, describe_dataset, write_croissant
from histods.io.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import mlcroissant

    from tests.conftest import Site

FACTS = CroissantFacts(
    name="Patches",
    description="Patches of skin.",
    license="https://spdx.org/licenses/CC-BY-4.0.html",
    creators=("A. Müller", "B"),
    organizations=("Institute",),
    url="https://example.org/patches",
    version="1.0.0",
    date_published="2026-11-26",
    cite_as="@misc{patches}",
)


def load(path: Path) -> mlcroissant.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of mlcroissant's own parts
        import mlcroissant

        return mlcroissant.Dataset(path)


def records(dataset: mlcroissant.Dataset, name: str) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, which it calls
        rows = list(dataset.records(name))
    return [
        {key.rpartition("/")[2]: one.decode() if isinstance(one, bytes) else one for key, one in row.items()}
        for row in rows
    ]


def plain(value: Any) -> Any:
    return [int(one) for one in value] if isinstance(value, list | np.ndarray) else value


@pytest.fixture(scope="module")
def workspace(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of the shared dataset, with a split."""
    folder = tmp_path_factory.mktemp("croissant") / "out"
    shutil.copytree(shared_site.workspace, folder)
    split(workspace=folder, test=0.2)
    return folder


def test_the_description_is_valid_and_its_records_are_those_of_the_tables(workspace: Path, tmp_path: Path) -> None:
    written = write_croissant(Workspace(workspace), tmp_path / "to", FACTS, split=True)
    assert [path.name for path in written] == ["croissant.json", "manifest.parquet", "split.parquet"]
    dataset = load(written[0])
    assert not dataset.metadata.issues.errors
    assert not dataset.metadata.issues.warnings
    assert dataset.metadata.name == "Patches"
    assert [creator.name for creator in dataset.metadata.creators] == ["A. Müller", "B", "Institute"]
    table = Manifest.read(workspace / "manifest.parquet").table
    columns = [name for name in table.schema.names if not name.endswith("_mtime_ns")]
    found = [{name: plain(row[name]) for name in columns} for row in records(dataset, "samples")]
    assert found == table.select(columns).to_pylist()
    sides = records(dataset, "splits")
    assert len(sides) == table.num_rows - table["role"].to_pylist().count("excluded")
    assert {row["split"] for row in sides} == {"train", "test"}
    for one in json.loads(written[0].read_text())["distribution"][:2]:
        assert one["sha256"] == hashlib.sha256((tmp_path / "to" / one["contentUrl"]).read_bytes()).hexdigest()


def test_what_nobody_told_is_left_out_and_mlcroissant_warns_of_it(workspace: Path, tmp_path: Path) -> None:
    written = write_croissant(Workspace(workspace), tmp_path / "to", CroissantFacts(), split=False)
    document = json.loads(written[0].read_text())
    assert not {"license", "creator", "url", "version", "datePublished", "citeAs"} & document.keys()
    assert document["name"] == "data"
    assert document["description"].startswith("40 images and 36 masks")
    issues = load(written[0]).metadata.issues
    assert not issues.errors
    missing = {"license", "version", "datePublished", "citeAs"}
    assert all(any(name in warning for warning in issues.warnings) for name in missing)
    assert [one["@id"] for one in document["recordSet"]] == ["samples"]
    assert [path.name for path in written] == ["croissant.json", "manifest.parquet"]


def globs(root: Path, workspace: Path, **options: Any) -> dict[str, tuple[list[str], list[str]]]:
    audit(root, workspace=workspace, workers=1, **options)
    sets = describe_dataset(Workspace(workspace), FACTS, split=False)["distribution"][1:]
    return {one["@id"]: (one["includes"], one.get("excludes", [])) for one in sets}


def write_pairs(root: Path, image: str, mask: str) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        for name, pixels in (
            (image, random.integers(60, 200, (16, 16, 3), dtype=np.uint8)),
            (mask, np.tri(16, dtype=np.uint8) * (number + 1)),
        ):
            path = root / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ("x{}.jpg", "x{}_mask.png", {"images": (["*.jpg", "**/*.jpg"], []), "masks": (["*.png", "**/*.png"], [])}),
        (
            "x{}.png",
            "x{}_mask.png",
            {
                "images": (["*.png", "**/*.png"], ["*_mask.png", "**/*_mask.png"]),
                "masks": (["*_mask.png", "**/*_mask.png"], []),
            },
        ),
        ("images/x{}.png", "masks/x{}.png", {"images": (["images/*.png"], []), "masks": (["masks/*.png"], [])}),
        ("p{}/image.png", "p{}/label.png", {"files": (["*.png", "**/*.png"], [])}),
    ],
)
def test_patterns_tell_images_from_masks_where_they_can(
    tmp_path: Path, image: str, mask: str, expected: dict[str, Any]
) -> None:
    write_pairs(tmp_path / "data", image, mask)
    more = {"image_pattern": "{key}/image.png", "mask_pattern": "{key}/label.png"} if "label" in mask else {}
    assert globs(tmp_path / "data", tmp_path / "out", **more) == expected


def test_names_of_labels_are_records(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", "a/x{}.jpg", "a/x{}_mask.png")
    (tmp_path / "labels.yml").write_text("labels: {0: glass, 1: tumour, 2: b, 3: c}\n")
    audit(tmp_path / "data", workspace=tmp_path / "out", labels=tmp_path / "labels.yml", workers=1)
    written = write_croissant(Workspace(tmp_path / "out"), tmp_path / "to", FACTS, split=False)
    dataset = load(written[0])
    names = {row["label"]: row["name"] for row in records(dataset, "labels")}
    assert names == {0: "glass", 1: "tumour", 2: "b", 3: "c"}


def test_nothing_is_written_into_the_dataset_or_without_an_audit(workspace: Path, tmp_path: Path) -> None:
    root = json.loads((workspace / "audit.json").read_text())["root"]
    with pytest.raises(HistodsError, match="which is never written to"):
        write_croissant(Workspace(workspace), type(tmp_path)(root) / "to", FACTS, split=False)
    with pytest.raises(HistodsError, match="There is no audit"):
        write_croissant(Workspace(tmp_path / "none"), tmp_path / "to", FACTS, split=False)
