"""nnU-Net's own reader and its own check of a dataset read what was exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from histods import HistodsError, export_data, split
from histods.exports import nnunet
from tests.histods.exports.conftest import Exported, make_source, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Site

VALUES = [3, 1, 2]


class Inline:
    """A pool of `multiprocessing` that is this process."""

    def Pool(self, _: int) -> Inline:  # noqa: N802 - as it is called there
        return self

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, call: Callable[..., Any], rows: Any) -> list[Any]:
        return [call(*row) for row in rows]


def verify(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's `--verify_dataset_integrity`, in this process."""
    integrity = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    monkeypatch.setattr(integrity.multiprocessing, "get_context", lambda _: Inline())
    integrity.verify_dataset_integrity(str(folder), 1)


def test_its_reader_gives_every_pixel(exported: Callable[[str], Exported]) -> None:
    io = pytest.importorskip("nnunetv2.imageio.natural_image_reader_writer").NaturalImage2DIO()
    found = exported("nnunet")
    expected = found.masks(VALUES)
    for row in found.rows.values():
        name = row["name"]
        mask, _ = io.read_seg(str(found.folder / row["mask"]))
        assert np.array_equal(mask[0, 0], expected[name])
        image, _ = io.read_images([str(found.folder / row["image"])])
        assert np.array_equal(image[:, 0].transpose(1, 2, 0), found.pixels(name))


def test_its_check_of_the_dataset_passes_and_finds_a_planted_fault(
    source: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Dataset007_check"
    export_data(to=folder, format="nnunet", workspace=source.workspace, workers=1)
    verify(folder, monkeypatch)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "Tumour": 1, "Stroma": 2, "ignore": 3}
    document = json.loads((folder / "dataset.json").read_text())
    document["labels"].pop("ignore")
    (folder / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(RuntimeError, match="unexpected labels"):
        verify(folder, monkeypatch)


def test_test_samples_are_apart_and_val_is_the_only_fold(exported: Callable[[str], Exported]) -> None:
    found = exported("nnunet")
    names: dict[str, set[str]] = {}
    for row in found.rows.values():
        names.setdefault(row["split"], set()).add(row["name"])
        kind = "Ts" if row["split"] == "test" else "Tr"
        assert (row["image"], row["mask"]) == (
            f"images{kind}/{row['name']}_0000.png",
            f"labels{kind}/{row['name']}.png",
        )
    (fold,) = json.loads((found.folder / "splits_final.json").read_text())
    assert set(fold["train"]) == names["train"]
    assert set(fold["val"]) == names["val"]
    document = json.loads((found.folder / "dataset.json").read_text())
    assert set(document["dataset"]) == names["train"] | names["val"]
    assert document["numTraining"] == len(document["dataset"])
    assert any("train fold 0" in remark for remark in found.result.remarks)


@pytest.fixture(scope="module")
def regrouped(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same dataset, to be split in other ways."""
    return make_source(tmp_path_factory.mktemp("regrouped"))


@pytest.mark.parametrize("way", ["none", "test", "folds"])
def test_no_group_is_on_both_sides_of_a_fold(way: str, regrouped: Site, tmp_path: Path) -> None:
    if way == "none":
        (regrouped.workspace / "split.parquet").unlink(missing_ok=True)
    else:
        split(workspace=regrouped.workspace, **({"test": 0.2} if way == "test" else {"folds": 3}))
    folder = tmp_path / "Dataset001_x"
    result = export_data(to=folder, format="nnunet", workspace=regrouped.workspace, workers=1)
    rows = {row["name"]: row for row in read_rows(folder).values()}
    training = {name for name, row in rows.items() if row["split"] != "test"}
    folds = json.loads((folder / "splits_final.json").read_text())
    assert len(folds) == (3 if way == "folds" else 5)
    assert result.has_split == (way != "none")
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(training)
    for fold in folds:
        assert set(fold["train"]) == training - set(fold["val"])
        sides = [{rows[name]["group"] for name in fold[side]} for side in ("train", "val")]
        assert all(sides)
        assert not sides[0] & sides[1]


def test_one_group_has_no_folds_and_that_is_said(source: Site, tmp_path: Path) -> None:
    from histods import audit, remap

    audit(source.root, workspace=tmp_path / "w", group_regex="^(slide)", allow_unpaired=True, workers=1)
    remap(workspace=tmp_path / "w", map=source.map)
    result = export_data(to=tmp_path / "Dataset001_x", format="nnunet", workspace=tmp_path / "w", workers=1)
    assert not (tmp_path / "Dataset001_x" / "splits_final.json").exists()
    assert "of one group" in result.remarks[0]


def test_a_folder_that_nnunet_would_not_find_is_refused_with_one_that_it_finds(
    source: Site, tmp_path: Path
) -> None:
    with pytest.raises(
        HistodsError, match=r"called like Dataset101_skin, not plain; give --to .*/Dataset101_skin"
    ):
        export_data(to=tmp_path / "plain", format="nnunet", workspace=source.workspace)
    assert not (tmp_path / "plain").exists()


def test_numbers_of_classes_at_the_limit() -> None:
    fits = nnunet.number(["Unknown", *(f"c{i}" for i in range(253))], "ignore")
    assert fits.ignore == max(fits.values) == 254
    for count, unknown in ((255, "ignore"), (256, "background")):
        with pytest.raises(HistodsError, match=f"There are {count} classes"):
            nnunet.number([f"c{i}" for i in range(count)], unknown)  # type: ignore[arg-type]
