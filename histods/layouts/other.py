"""Files of a dataset that are neither image nor mask, and what to count them under.

Beside images and masks lie overlays, predictions, previews and text files. They are not broken samples,
and they are not passed over in silence either: each is counted under what it has in common with others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from histods.layouts.names import suffix_of, without_suffix

if TYPE_CHECKING:
    from collections.abc import Iterable

# Words that name a picture made from an image or a mask.
_MADE_FROM = (
    r"overlays?|overlayed|overlaid|blend(?:ed)?|pred(?:s|icted|ictions?)?|prob(?:s|abilit(?:y|ies))?|heat(?:maps?)?"
    r"|contours?|outlines?|boundar(?:y|ies)|edges?|previews?|thumb(?:s|nails?)?|vi[sz]|visuali[sz]ations?"
    r"|composites?|figures?"
)
COLOUR_WORD = r"colou?r(?:s|ed|map)?"
DERIVED_WORD = rf"(?i)(?:^|[^a-z])(?:{_MADE_FROM})(?:[^a-z]|$)"
DERIVED_OR_COLOURED_WORD = rf"(?i)(?:^|[^a-z])(?:{_MADE_FROM}|{COLOUR_WORD})(?:[^a-z]|$)"
# Of the paired images, so many have a picture made from them beside them: where its name says what it is,
# and where it does not.
_SHARE_IF_NAMED, _SHARE_IF_NOT = 0.1, 0.5
_MANY_FOLDERS = 20


def set_derived_aside(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Take pictures that were made from images or masks (overlays, predictions) out of the rows.

    An image without a mask is one if its name is another image's and an addition that many paired images
    have beside them: a tenth of them, where the addition says what it is (`_overlay`), else half of them.
    For a mask without an image the addition must say what it is, because an orphan must not go unseen.

    Returns:
        The remaining rows, and the label to count each of the others under.
    """
    image, mask = pl.col("image_path"), pl.col("mask_path")
    images = rows.filter(image.is_not_null()).select("key", path=image, paired=mask.is_not_null())
    masks = rows.filter(mask.is_not_null()).select(key=without_suffix(mask), path=mask, paired=image.is_not_null())
    found = pl.concat([_derived(images, share_if_not_named=_SHARE_IF_NOT), _derived(masks)])
    picture = pl.coalesce(image, mask)
    return rows.join(found, left_on=picture, right_on="path", how="anti"), found["label"]


def _derived(files: pl.DataFrame, share_if_not_named: float = math.inf) -> pl.DataFrame:
    """The unpaired files whose key is another file's and a common addition, as `path` and `label`.

    Additions are tried from the shortest on. None can be common if its own end is not, so that rare
    endings (numbers) leave at once and the longer additions of many files need not be looked at.

    Args:
        files: `key`, `path`, `paired`.
        share_if_not_named: share of the paired files that must have an addition which does not say what
            it is; it must have a letter all the same.
    """
    found = [pl.DataFrame(schema={"path": pl.String, "label": pl.String})]
    if files["paired"].all() or not files["paired"].any():
        return found[0]
    paired = int(files["paired"].sum())
    addition = pl.col("addition")
    says_what, has_letter = addition.str.contains(DERIVED_OR_COLOURED_WORD), addition.str.contains(r"\p{L}")
    needed = pl.when(says_what).then(_SHARE_IF_NAMED * paired).when(has_letter).then(share_if_not_named * paired)
    bases = files.group_by(base="key").agg(base_paired=pl.col("paired").any())
    lonely = files.filter(~pl.col("paired")).select("key", "path")
    separators = 0
    while not lonely.is_empty():
        separators += 1
        split = rf"(?s)^(.*[^/])((?:[_\-.][^_\-./]*){{{separators}}})$"
        parts = lonely["key"].str.extract_groups(split).struct.rename_fields(["base", "addition"])
        lonely = lonely.select("key", "path").hstack(parts.struct.unnest())
        lonely = lonely.filter(addition.is_not_null() & (pl.len().over("addition") >= _SHARE_IF_NAMED * paired))
        beside = lonely.join(bases, on="base")
        times = pl.col("base").filter("base_paired").n_unique().over("addition")
        common = beside.filter((times > 1) & (times >= needed))
        label = addition + suffix_of(pl.col("path")).str.to_lowercase()
        found.append(common.select("path", label=label))
        lonely = lonely.join(common, on="path", how="anti")
    return pl.concat(found)


def label_by_suffix(files: pl.DataFrame) -> pl.Series:
    """What to count files under that are no pictures: their suffix."""
    return files["suffix"].replace("", "(no suffix)").alias("label")


def label_by_folder(files: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """What to count pictures under that are neither image nor mask: a folder and their suffix.

    The folder is the first one of their path that no image and no mask has, else the topmost; where that
    gives many folders, none is named.
    """
    if files.is_empty():
        return pl.Series("label", [], dtype=pl.String)
    folder = pl.col("path").str.extract(r"(?s)^(.*)/").fill_null("")
    pictures = pl.concat([rows["image_path"], rows["mask_path"]]).drop_nulls().alias("path").to_frame()
    known = {name for path in pictures.select(folder.unique()).to_series() for name in path.split("/")}
    strangers = {}
    for path in files.select(folder.unique()).to_series():
        names = path.split("/")
        strangers[path] = next((name for name in names if name not in known), names[0])
    if len(set(strangers.values())) > _MANY_FOLDERS:
        strangers = dict.fromkeys(strangers, "*")
    labels = {path: f"{name}/*" if name else "*" for path, name in strangers.items()}
    return files.select(label=folder.replace(labels) + pl.col("suffix")).to_series()


def count(labels: Iterable[pl.Series]) -> dict[str, int]:
    """How many files are counted under each label, in order of the labels."""
    return dict(pl.concat(labels).value_counts().sort("label").iter_rows())
