"""VOC as its development kit defines it; Datumaro reads it where `HISTODS_DATUMARO` names a Python that has it.

Datumaro asks for older versions of pandas, pyarrow, Pillow and OpenCV, so it cannot be in this environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError
from histods.exports import voc
from histods.exports.base import UNKNOWN
from tests.histods.exports.conftest import Exported

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = [255, 1, 2]
READ = """
import json, sys
import datumaro as dm
import numpy as np
dataset = dm.Dataset.import_from(sys.argv[1], "voc_segmentation")
names = [label.name for label in dataset.categories()[dm.AnnotationType.label]]
found = {}
for item in dataset:
    mask = np.zeros(item.annotations[0].image.shape, int)
    for one in item.annotations:
        mask += one.image.astype(int) * one.label
    found[item.id] = [item.subset, list(item.media.data.shape), mask.tolist()]
print(json.dumps([names, found]))
"""


def test_values_are_indices_and_colours_are_those_of_the_label_map(exported: Callable[[str], Exported]) -> None:
    found = exported("voc")
    lines = (found.folder / "labelmap.txt").read_text().splitlines()
    colours = {line.split(":")[0]: line.split(":")[1] for line in lines[1:]}
    assert colours == {
        "background": "0,0,0",
        "Tumour": "128,0,0",
        "Stroma": "0,128,0",
        "ignored": "224,224,192",
    }
    by_colour = {tuple(map(int, text.split(","))): name for name, text in colours.items()}
    names = {255: "ignored", 1: "Tumour", 2: "Stroma"}
    for name, expected in found.masks(VALUES).items():
        image = Image.open(found.folder / "SegmentationClass" / f"{name}.png")
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), expected)
        shown = np.asarray(image.convert("RGB")).reshape(-1, 3)
        places = range(0, len(shown), 97)
        assert [by_colour[tuple(shown[i].tolist())] for i in places] == [
            names[int(expected.flat[i])] for i in places
        ]


def test_lists_name_every_sample_of_a_split_once(exported: Callable[[str], Exported]) -> None:
    found = exported("voc")
    for name in ("train", "val", "test"):
        listed = (found.folder / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().splitlines()
        assert sorted(listed) == sorted(row["name"] for row in found.rows.values() if row["split"] == name)
        for one in listed:
            assert len(list((found.folder / "JPEGImages").glob(f"{one}.*"))) == 1


def test_datumaro_reads_every_pixel(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    python = os.environ.get("HISTODS_DATUMARO")
    if python is None:
        pytest.skip("HISTODS_DATUMARO names no Python with Datumaro")
    found = exported("voc")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", READ, str(found.folder)], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    names, masks = json.loads(done.stdout.splitlines()[-1])
    assert names == ["background", "Tumour", "Stroma", "ignored"]
    expected = found.masks([3, 1, 2])
    assert set(masks) == set(expected)
    by_name = {row["name"]: row for row in found.rows.values()}
    for name, (subset, _, mask) in masks.items():
        assert subset == by_name[name]["split"]
        assert np.array_equal(np.array(mask), expected[name])


def test_the_palette_is_that_of_voc_and_has_no_colour_twice() -> None:
    palette = voc.make_palette()
    # From the development kit's table: background, aeroplane, bicycle, tvmonitor, void.
    assert palette[[0, 1, 2, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [0, 64, 128],
        [224, 224, 192],
    ]
    assert len({tuple(colour) for colour in palette.tolist()}) == 256


def test_names_that_would_break_the_label_map_are_made_plain() -> None:
    assert [voc._plain(name) for name in ("a:b", "# x", " y\tz ", "\x00", "ok")] == [
        "a-b",
        "_# x",
        "y z",
        "_",
        "ok",
    ]


def test_numbers_of_classes_at_the_limit() -> None:
    names = ["Unknown", *(f"c{i}" for i in range(255))]
    assert max(voc.number(names[:255], "ignore").values) == 255
    assert voc.number(names[:255], "background").values == tuple(range(255))
    for unknown in UNKNOWN:
        with pytest.raises(HistodsError, match="There are 256 classes, and VOC has 254 values"):
            voc.number(names, unknown)
