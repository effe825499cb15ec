"""A folder of images: seeds by name and number, pairs that belong together, and nothing of others mixed in."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histods.errors import HistodsError
from training.inference.mask_inputs import MaskFile
from training.inference.output_folder import Item, SampleFolder, digest_of, plan_items, seed_of

RECIPE: dict[str, Any] = {"run": "first", "steps": 25, "guidance": 1.5, "seed": 0}
CLASSES = np.tri(8, dtype=np.uint8)
IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


def mask(name: str) -> MaskFile:
    return MaskFile(path=Path("masks", f"{name}.png"), name=name, height=8, width=8, digest="d")


def made(folder: Path, *names: str, recipe: dict[str, Any] = RECIPE) -> tuple[SampleFolder, list[Item]]:
    """A folder with two images for each of these masks."""
    items = plan_items([mask(name) for name in names], 2, 0)
    samples = SampleFolder(folder, recipe)
    samples.claim()
    for item in items:
        samples.write_pair(item, [IMAGE], CLASSES)
    return samples, items


@given(names=st.sets(st.text("ab-0ä", min_size=1, max_size=3), max_size=4), count=st.integers(1, 3))
def test_images_have_names_and_seeds_of_their_own_or_are_refused(names: set[str], count: int) -> None:
    masks = [mask(name) for name in sorted(names)]
    try:
        items = plan_items(masks, count, 7)
    except HistodsError as error:
        assert "would both give the image" in str(error)
        assert count > 1
        return
    assert len({item.name for item in items}) == len(items) == len({item.seed for item in items})
    assert all(0 <= item.seed < 1 << 63 for item in items)
    more = plan_items(masks, 1, 7)
    assert {(item.name, item.seed) for item in more} <= {(item.name, item.seed) for item in items}


def test_seeds_never_change_from_one_version_to_the_next() -> None:
    digest = hashlib.sha256(b"3\x00slide/x\x002").digest()
    assert seed_of(3, "slide/x", 2) == int.from_bytes(digest[:8], "big") >> 1
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_a_folder_of_masks_with_the_reserved_name_is_refused() -> None:
    assert plan_items([mask("overview")], 1, 0)[0].name == "overview"
    with pytest.raises(HistodsError, match="is in a folder called overview, but that name is reserved"):
        plan_items([mask("overview/x")], 1, 0)


def test_pairs_record_and_table_say_the_same(tmp_path: Path) -> None:
    samples, items = made(tmp_path / "out", "ä/x\ry", "b")
    records = samples.finish(items)
    assert [record["image"] for record in records] == ["b.png", "b-1.png", "ä/x\ry.png", "ä/x\ry-1.png"]
    for record in records:
        image, classes = tmp_path / "out" / record["image"], tmp_path / "out" / record["mask"]
        np.testing.assert_array_equal(np.asarray(Image.open(image)), IMAGE)
        np.testing.assert_array_equal(np.asarray(Image.open(classes)), CLASSES)
        assert hashlib.sha256(image.read_bytes()).hexdigest() == record["image_digest"]
    with (tmp_path / "out" / "overview" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["image"], row["group"]) for row in rows] == [(one["image"], one["of"]) for one in records]
    assert json.loads(samples.record.read_text(encoding="utf-8"))["images"] == records


def test_a_resumed_call_keeps_what_is_whole_and_records_what_a_kill_left_out(tmp_path: Path) -> None:
    _, items = made(tmp_path, "a", "b")  # killed before `finish`
    (tmp_path / ".b.png.part").touch()
    again = SampleFolder(tmp_path, RECIPE)
    again.claim()
    assert all(again.holds(item, CLASSES) for item in items)
    assert len(again.finish(items)) == 4
    assert not (tmp_path / ".b.png.part").exists()
    (tmp_path / "a.png").unlink()
    (tmp_path / "b_mask.png").write_bytes(b"torn")
    assert [again.holds(item, CLASSES) for item in items] == [False, True, False, True]
    assert [record["image"] for record in again.finish(items[1:])] == ["a-1.png", "b.png", "b-1.png"]
    with pytest.raises(HistodsError, match="was made for another mask of this name than"):
        again.holds(items[1], 1 - CLASSES)


def test_a_record_of_a_file_elsewhere_is_dropped(tmp_path: Path) -> None:
    samples, items = made(tmp_path / "out", "a")
    samples.finish(items)
    (tmp_path / "secret.png").touch()
    document = json.loads(samples.record.read_text())
    document["images"][0]["image"] = "../secret.png"
    samples.record.write_text(json.dumps(document))
    again = SampleFolder(tmp_path / "out", RECIPE)
    again.claim()
    assert [record["image"] for record in again.finish(items)] == ["a.png", "a-1.png"]


@pytest.mark.parametrize("record", ["[", "[]", '{"recipe": 3}', '{"images": 3}', '{"images": [{"image": 3}]}'])
def test_images_of_another_recipe_or_files_of_others_are_never_mixed_in(tmp_path: Path, record: str) -> None:
    made(tmp_path / "out", "a")
    with pytest.raises(HistodsError) as caught:
        SampleFolder(tmp_path / "out", RECIPE | {"steps": 9, "run": "f" * 64}).claim()
    assert f"(run first instead of {'f' * 12}, steps 25 instead of 9); choose another folder" in str(caught.value)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.png").touch()
    with pytest.raises(HistodsError, match="already holds .*x.png; choose a new folder for the images with --out"):
        SampleFolder(tmp_path / "mine", RECIPE).claim()
    document = record
    if record.startswith('{"images"'):
        document = json.dumps(json.loads(record) | {"recipe": RECIPE})
    (tmp_path / "out" / "overview" / "samples.json").write_text(document)
    with pytest.raises(HistodsError):
        SampleFolder(tmp_path / "out", RECIPE).claim()
    assert (tmp_path / "out" / "a.png").exists()
