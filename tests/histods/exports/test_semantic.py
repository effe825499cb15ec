"""Hugging Face `datasets` loads what was exported, and so do Ultralytics and FiftyOne.

Ultralytics needs torchvision, which comes with PyTorch for CUDA, and FiftyOne a MongoDB server. They are in other
environments, whose Python `HISTODS_ULTRALYTICS` and `HISTODS_FIFTYONE` name; `FIFTYONE_DATABASE_URI` names the
server.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from histods import HistodsError, export_data, split
from histods.exports import semantic
from tests.histods.exports.conftest import Exported, make_source, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = [255, 0, 1]
READ = """
import json, sys
from pathlib import Path
from ultralytics.data.dataset import SemanticDataset
from ultralytics.data.utils import check_det_dataset
data = check_det_dataset(sys.argv[1])
found = {}
for split in ("train", "val", "test"):
    dataset = SemanticDataset(img_path=data[split], data=data, task="semantic", augment=False, imgsz=64)
    for index, label in enumerate(dataset.labels):
        found[Path(label["im_file"]).stem] = [split, dataset.load_mask(index).tolist()]
print(json.dumps([data["names"], found]))
"""

READ_FIFTYONE = """
import json, sys
from pathlib import Path
import fiftyone
found = {}
for split in ("train", "val", "test"):
    dataset = fiftyone.Dataset.from_dir(
        dataset_type=fiftyone.types.ImageSegmentationDirectory,
        data_path=str(Path(sys.argv[1], "images", split)),
        labels_path=str(Path(sys.argv[1], "masks", split)),
    )
    for sample in dataset:
        found[Path(sample.filepath).stem] = [split, sample.ground_truth.get_mask().tolist()]
    dataset.delete()
print(json.dumps(found))
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_images_and_masks_of_each_split(
    exported: Callable[[str], Exported], tmp_path: Path
) -> None:
    found = exported("semantic")
    loaded = datasets.load_dataset(str(found.folder), cache_dir=str(tmp_path))
    expected, seen = found.masks(VALUES), 0
    assert set(loaded) == {"train", "val", "test"}
    for name, rows in loaded.items():
        for row in rows:
            source = found.rows[row["key"]]
            assert (source["split"], source["group"]) == (name, row["group"])
            assert np.array_equal(np.asarray(row["mask"]), expected[source["name"]])
            assert np.array_equal(np.asarray(row["image"].convert("RGB")), found.pixels(source["name"]))
            seen += 1
    assert seen == len(found.rows)


def test_masks_are_where_ultralytics_looks_for_them(exported: Callable[[str], Exported]) -> None:
    """Its documentation: the mask of an image has its stem, below `masks_dir` in place of `images`."""
    found = exported("semantic")
    settings = yaml.safe_load((found.folder / "data.yaml").read_text())
    assert settings["names"] == {0: "Tumour", 1: "Stroma"}
    expected, seen = found.masks(VALUES), set()
    for split_name in ("train", "val", "test"):
        for image in sorted((found.folder / settings[split_name]).iterdir()):
            parts = [
                settings["masks_dir"] if part == "images" else part for part in Path(settings[split_name]).parts
            ]
            mask = Image.open(found.folder.joinpath(*parts, f"{image.stem}.png"))
            assert mask.mode == "L"
            assert np.array_equal(np.asarray(mask), expected[image.stem])
            seen.add(image.stem)
    assert seen == set(expected)


def test_ultralytics_reads_every_pixel(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    found = exported("semantic")
    names, masks = _read("ULTRALYTICS", READ, found.folder / "data.yaml", tmp_path)
    assert names == {"0": "Tumour", "1": "Stroma"}
    _compare(masks, found)


def test_fiftyone_reads_every_pixel(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    found = exported("semantic")
    _compare(_read("FIFTYONE", READ_FIFTYONE, found.folder, tmp_path), found)


def _read(library: str, program: str, what: Path, folder: Path) -> Any:
    """What a program prints as its last line, in the environment of a library."""
    python = os.environ.get(f"HISTODS_{library}")
    if python is None:
        pytest.skip(f"HISTODS_{library} names no Python with it")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"YOLO_OFFLINE": "true", "FIFTYONE_DO_NOT_TRACK": "true", "HOME": str(folder)}
    command = [python, "-c", program, str(what)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _compare(masks: dict[str, tuple[str, list[list[int]]]], found: Exported) -> None:
    """The masks that a library read, each with its split, are those that were exported."""
    expected = found.masks(VALUES)
    assert set(masks) == set(expected)
    by_name = {row["name"]: row for row in found.rows.values()}
    for name, (split_name, mask) in masks.items():
        assert split_name == by_name[name]["split"]
        assert np.array_equal(np.array(mask), expected[name])


def test_files_pair_by_stem_as_fiftyone_pairs_them(exported: Callable[[str], Exported]) -> None:
    found = exported("semantic")
    for name in ("train", "val", "test"):
        images, masks = (
            sorted(path.stem for path in (found.folder / kind / name).iterdir()) for kind in ("images", "masks")
        )
        assert images == masks
        assert len(set(images)) == len(images)


def test_images_are_copied_byte_for_byte(exported: Callable[[str], Exported]) -> None:
    found = exported("semantic")
    assert {Path(row["image"]).suffix for row in found.rows.values()} >= {
        ".jpg",
        ".png",
        ".jpeg",
        ".tif",
        ".bmp",
        ".webp",
    }
    for row in found.rows.values():
        assert (found.folder / row["image"]).read_bytes() == (found.site.root / row["image_path"]).read_bytes()


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore")
def test_every_fold_validates_on_itself_and_trains_on_the_others(tmp_path: Path) -> None:
    site = make_source(tmp_path)
    split(workspace=site.workspace, folds=3)
    result = export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace, workers=1)
    for number in range(3):
        settings = yaml.safe_load((tmp_path / "x" / f"data_fold_{number}.yaml").read_text())
        assert settings["val"] == f"images/fold_{number}"
        assert settings["train"] == [f"images/fold_{other}" for other in range(3) if other != number]
    assert not result.remarks
    loaded = datasets.load_dataset(str(tmp_path / "x"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == result.splits
    assert len(read_rows(tmp_path / "x")) == sum(result.splits.values())


def test_a_split_without_val_is_said(tmp_path: Path) -> None:
    site = make_source(tmp_path)
    result = export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace, workers=1)
    assert "histods split --test 0.1 --val 0.1" in result.remarks[0]


def test_numbers_of_classes_at_the_limit() -> None:
    names = [f"c{i}" for i in range(256)]
    assert semantic.number(names, "ignore").values == (255, *range(255))
    assert semantic.number(names[:255], "background").values == tuple(range(255))
    with pytest.raises(HistodsError, match="There are 256 classes, and the value 255 is for ignored pixels"):
        semantic.number(names, "background")
