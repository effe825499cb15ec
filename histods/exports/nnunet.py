"""nnU-Net v2: `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs`, `dataset.json`, `splits_final.json`, all PNG.

The layout is that of nnU-Net's documentation (`dataset_format.md`, `ignore_label.md`, `manual_data_splits.md`), as
its reader of natural images, `NaturalImage2DIO`, takes it: red, green and blue are the three channels of one file.
`dataset.json` lists all cases, since nnU-Net 2.8 compares each name with each file where it has to find them.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.exports.base import Encoded, Export, Finished, Places, Unknown
from histods.exports.class_values import distinct, with_background
from histods.exports.folds import FOLD, VAL, is_training, list_folds
from histods.io.atomic import write_json, write_text
from histods.masks.writer import encode_mask

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from histods.exports.class_values import ClassValues

PNG = True
_NAME = re.compile(r"Dataset(\d{3})_[A-Za-z0-9_-]+")
_MOST = 255  # values of a mask of 8 bits, one of them for ignored pixels
_IGNORE, _FOLDS = "ignore", "splits_final.json"


def check(folder: Path, splits: Collection[str]) -> None:
    """Refuse a folder that nnU-Net would not find, and samples that it would not train on."""
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise HistodsError(
            f"nnU-Net reads folders that are called like Dataset101_skin, not {name}; "
            f"give --to {shlex.quote(str(folder.parent / 'Dataset101_skin'))}, below the folder nnUNet_raw."
        )
    if not any(map(is_training, splits)):
        raise HistodsError(
            f"No sample to export is in train, val or a fold, but in {', '.join(sorted(splits))}, and nnU-Net "
            "trains on these alone; name the splits in the pairs file so, or run 'histods split'."
        )


def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
    """0 is the background, and ignored pixels have the highest value."""
    values = with_background(classes, unknown, ignore=None)
    if max(values.values) >= _MOST:
        raise HistodsError(
            f"There are {len(classes)} classes, and nnU-Net writes its results with at most {_MOST} values; "
            "merge classes with a label map, and give it with --map."
        )
    return values


def place(name: str, split: str, suffix: str) -> Places:  # noqa: ARG001 - all are PNG
    """Splits for training, and folds, are `Tr`; all others are `Ts`."""
    kind = "Tr" if is_training(split) else "Ts"
    return Places(f"images{kind}/{name}_0000.png", f"labels{kind}/{name}.png")


def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
    """Grey PNG of 8 bits."""
    return Encoded(encode_mask(values.lookup()[classes]))


def finish(export: Export) -> Finished:
    """Write `dataset.json` and `splits_final.json`."""
    names = distinct(export.values.names[1:], taken=("background", _IGNORE))
    labels = {"background": 0} | {name: value for value, name in enumerate(names, 1)}
    if export.values.ignore is not None:
        labels[_IGNORE] = export.values.ignore
    training = export.samples.filter([is_training(split) for split in export.samples["split"]])
    cases = {
        name: {"images": [image], "label": mask}
        for name, image, mask in training.select("name", "image", "mask").iter_rows()
    }
    write_json(
        export.folder / "dataset.json",
        {
            "channel_names": {"0": "R", "1": "G", "2": "B"},
            "labels": labels,
            "numTraining": len(training),
            "file_ending": ".png",
            "overwrite_image_reader_writer": "NaturalImage2DIO",
            "dataset": cases,
        },
    )
    remarks = _write_folds(export, training)
    files = ["dataset.json", _FOLDS] if (export.folder / _FOLDS).exists() else ["dataset.json"]
    folder = export.folder.resolve()
    words = ["nnUNetv2_plan_and_preprocess", "-d", str(int(folder.name[7:10])), "-c", "2d"]
    return Finished(
        files=tuple(files),
        remarks=remarks,
        command=shlex.join(["env", f"nnUNet_raw={folder.parent}", *words, "--verify_dataset_integrity"]),
    )


def _write_folds(export: Export, training: pl.DataFrame) -> tuple[str, ...]:
    """Write `splits_final.json`, which nnU-Net copies when it plans; say what is in it."""
    folds = list_folds(training)
    if not folds:
        remark = (
            "All training samples are of one group, so there are no folds without a leak, and nnU-Net would split "
            "them at random: train with 'all' as its fold, and test on other slides."
        )
        return (remark,)
    write_text(export.folder / _FOLDS, json.dumps([fold._asdict() for fold in folds], indent=2) + "\n")
    splits = training["split"].unique()
    if splits.str.starts_with(FOLD).any():
        made = f"{_FOLDS} has the {len(folds)} folds of the split."
    elif VAL in splits:
        made = f"{_FOLDS} has one fold, of train and val: train fold 0, since nnU-Net makes up others at random."
    else:
        made = f"{_FOLDS} has {len(folds)} folds of the training samples; no group is on both sides of one."
    groups = training["group"].null_count()
    if groups and VAL not in splits and not splits.str.starts_with(FOLD).any():
        made += f" {groups:,} samples have no group: each was taken for a slide of its own."
    return (made,)
