"""The semantic layout: `images/SPLIT`, `masks/SPLIT`, `data.yaml`, and tables for Hugging Face `datasets`.

Ultralytics documents it (https://docs.ultralytics.com/datasets/semantic): a mask has the stem of its image, and
its path is that of the image with `masks` in place of `images`; value 255 is ignored. FiftyOne's
`ImageSegmentationDirectory` pairs files in the same way. `datasets` reads `README.md`, which names a table for
each split: paths in a table must not lead up, so the tables are above both folders.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import yaml

from histods.dataset.manifest import write_table
from histods.errors import HistodsError
from histods.exports.base import Encoded, Export, Finished, Places, Unknown
from histods.exports.class_values import distinct, from_zero
from histods.exports.folds import FOLD, TRAIN, VAL
from histods.io.atomic import write_text
from histods.masks.writer import encode_mask

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from histods.exports.class_values import ClassValues

PNG = False
IGNORE = 255


def check(folder: Path, splits: Collection[str]) -> None:
    """Any folder and splits will do."""


def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
    """Values from 0 without a gap; 255 is ignored."""
    values = from_zero(classes, unknown, IGNORE)
    if len(values.names) > IGNORE:
        raise HistodsError(
            f"There are {len(values.names)} classes, and the value 255 is for ignored pixels, so that 255 classes "
            "fit at most; merge classes with a label map, and give it with --map."
        )
    return values


def place(name: str, split: str, suffix: str) -> Places:
    """A folder for the images and one for the masks of each split."""
    return Places(f"images/{split}/{name}{suffix}", f"masks/{split}/{name}.png")


def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
    """Grey PNG of 8 bits."""
    return Encoded(encode_mask(values.lookup()[classes]))


def finish(export: Export) -> Finished:
    """Write a YAML file for Ultralytics, and a table for each split with `README.md` for `datasets`."""
    splits = export.splits()
    settings = _list_settings(splits)
    for name, parts in settings.items():
        document = {**parts, "masks_dir": "masks", "names": dict(enumerate(export.values.names))}
        write_text(export.folder / name, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    tables = {split: f"metadata_{split}.parquet" for split in splits}
    for split, name in tables.items():
        rows = export.samples.filter(split=split).select("key", "group", file_name="image", mask_file_name="mask")
        write_table(
            rows.select("file_name", "mask_file_name", "key", "group").to_arrow(), export.folder / name, {}
        )
    write_text(export.folder / "README.md", _describe(export, tables))
    remarks = []
    if "data.yaml" in settings and VAL not in splits:
        remarks.append(
            "There is no split called val, which Ultralytics needs to train; "
            "'histods split --test 0.1 --val 0.1' makes one."
        )
    folder = export.folder.resolve()
    words = ["yolo", "semantic", "train", f"data={folder / next(iter(settings))}", "model=yolo26n-sem.pt"]
    if remarks:
        words = [
            "python",
            "-c",
            f"from datasets import load_dataset; print(load_dataset({json.dumps(str(folder))}))",
        ]
    return Finished(
        files=(*settings, *tables.values(), "README.md"),
        remarks=tuple(remarks),
        command=shlex.join(words),
    )


def _list_settings(splits: Sequence[str]) -> dict[str, dict[str, str | list[str]]]:
    """Name of each YAML file, and the folders of images that it gives to train, val and test."""
    if folds := [name for name in splits if name.startswith(FOLD)]:
        return {
            f"data_{val}.yaml": {
                TRAIN: [f"images/{name}" for name in folds if name != val],
                VAL: f"images/{val}",
            }
            for val in folds
        }
    return {"data.yaml": {name: f"images/{name}" for name in splits}}


def _describe(export: Export, tables: dict[str, str]) -> str:
    """`README.md`: which files `datasets` takes for each split.

    The images and masks are listed, too: `datasets` takes the most frequent kind of file for the kind of dataset.
    """
    titles = distinct(split.replace("-", "_") for split in tables)  # datasets takes no other sign
    files = [
        {"split": title, "path": [table, f"images/{split}/*", f"masks/{split}/*"]}
        for title, (split, table) in zip(titles, tables.items(), strict=True)
    ]
    config = {"config_name": "default", "metadata_filenames": list(tables.values()), "data_files": files}
    rows = [f"| {value} | {name.replace('|', '&#124;')} |" for value, name in enumerate(export.values.names)]
    if export.values.ignore is not None:
        rows.append(f"| {export.values.ignore} | ignored |")
    lines = [
        "---",
        yaml.safe_dump({"configs": [config]}, sort_keys=False).rstrip(),
        "---",
        "",
        "| value of masks | class |",
        "| --- | --- |",
        *(" ".join(row.split()) for row in rows),
    ]
    return "\n".join(lines) + "\n"
