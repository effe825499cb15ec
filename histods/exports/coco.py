"""COCO: `images/SPLIT` and `annotations/instances_SPLIT.json`, one annotation for each class of each image.

The region of a class is a run-length encoding as pycocotools makes it, compressed
(https://cocodataset.org/#format-data). A mask of classes does not tell objects apart, so that all regions of a
class in an image are one annotation. COCO has no value for ignored pixels; its nearest notion is a crowd
(`iscrowd`), which trainers leave out.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import MissingExtraError
from histods.exports.base import Encoded, Export, Finished, Places, Unknown
from histods.exports.class_values import ClassValues
from histods.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PNG = False


def check(folder: Path, splits: Collection[str]) -> None:  # noqa: ARG001 - any will do
    """Make sure that pycocotools is installed."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--format coco needs pycocotools, which is not installed; run: pip install 'histods[coco]'."
        ) from error


def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
    """A category has the number of its class; that of class 0, where it is ignored, comes after the others."""
    count = len(classes)
    if unknown == "background":
        sentence = f"Class 0 ({classes[0]}) is background: it is no category, and its pixels are in no annotation."
        return ClassValues(values=tuple(range(count)), names=tuple(classes), ignore=None, unknown=sentence)
    sentence = (
        f"Class 0 ({classes[0]}) is ignored as far as COCO can say so: its pixels are annotations with iscrowd 1 "
        f"of category {count}. Semantic trainers need --format semantic or nnunet."
    )
    return ClassValues(values=(count, *range(1, count)), names=tuple(classes), ignore=count, unknown=sentence)


def place(name: str, split: str, suffix: str) -> Places:
    """A folder for the images of each split; masks are annotations."""
    return Places(f"images/{split}/{name}{suffix}", None)


def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
    """One annotation per class that occurs, without the numbers of annotation and image."""
    from pycocotools import mask as coder

    notes = []
    for index in np.unique(classes).tolist():
        if index == 0 and values.ignore is None:
            continue
        code = coder.encode(np.asfortranarray(classes == index, dtype=np.uint8))
        notes.append(
            {
                "category_id": values.values[index],
                "iscrowd": int(index == 0),
                "area": int(coder.area(code)),
                "bbox": [int(number) for number in coder.toBbox(code)],
                "segmentation": {"size": list(code["size"]), "counts": code["counts"].decode("ascii")},
            }
        )
    return Encoded(note=json.dumps(notes, separators=(",", ":")))


def finish(export: Export) -> Finished:
    """Write the annotations of each split, one at a time; numbers of images count all splits."""
    ids = dict(zip(export.samples["name"], range(1, len(export.samples) + 1), strict=True))
    files = []
    for split in export.splits():
        files.append(f"annotations/instances_{split}.json")
        _write_split(export, split, ids, export.folder / files[-1])
    code = f"from pycocotools.coco import COCO; COCO({json.dumps(str(export.folder.resolve() / files[0]))})"
    return Finished(files=tuple(files), command=shlex.join(["python", "-c", code]))


def _write_split(export: Export, split: str, ids: dict[str, int], path: Path) -> None:
    samples = export.samples.filter(split=split)
    images = (
        {"id": ids[name], "file_name": image.rpartition("/")[2], "width": width, "height": height}
        for name, image, width, height in samples.select("name", "image", "width", "height").iter_rows()
    )
    values = export.values
    categories = [{"id": value, "name": name} for value, name in enumerate(values.names) if value]
    if values.ignore is not None:
        categories.append({"id": values.ignore, "name": values.names[0]})
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"info": {}, "licenses": [],\n"categories": ' + json.dumps(categories, ensure_ascii=False))
        for title, rows in (
            ("images", images),
            ("annotations", _list_annotations(export, set(samples["name"]), ids)),
        ):
            file.write(f',\n"{title}": [')
            for place, row in enumerate(rows):
                file.write(("," if place else "") + "\n" + json.dumps(row, ensure_ascii=False))
            file.write("\n]")
        file.write("}\n")


def _list_annotations(export: Export, wanted: set[str], ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for name, note in export.notes():
        if name in wanted:
            for annotation in json.loads(note):
                number += 1
                yield {"id": number, "image_id": ids[name], **annotation}
