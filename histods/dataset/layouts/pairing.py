"""Pair images and masks: one row per sample, no file lost, all competing files reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.compute as pc

from histods.dataset.layouts.auxiliary_files import count_by_suffix
from histods.dataset.layouts.lookalikes import with_name_evidence
from histods.dataset.layouts.names import IS_PICTURE, Layout, list_files, name_roles, without_suffix
from histods.dataset.layouts.object_masks import with_object_masks
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOTHING = pl.lit(None, pl.String)


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """The files of a dataset, paired.

    Attributes:
        samples: one row per sample, sorted by key, image_path, mask_path; columns `key`, `image_path` (null
            for a mask without an image), `mask_path` (null for an image without a mask), `collision`
            (null, or a text that names the competing files), `rivals` (the same for masks of one image),
            `by_design` (an image that has no mask by design), `outside` (a picture that the layout does not
            explain: neither image nor mask), `derived` and `mask_word` (see `with_name_evidence`).
        other: number of files that are not pictures, by suffix, such as `{".txt": 30}`.
    """

    samples: pl.DataFrame
    other: dict[str, int]

    @property
    def pairs(self) -> int:
        """Number of samples with both an image and a mask."""
        both = self.samples["image_path"].is_not_null() & self.samples["mask_path"].is_not_null()
        return int(both.sum())

    @property
    def images(self) -> int:
        """Number of images that should have a mask, without those that look like masks or have none by design."""
        image = pl.col("image_path").is_not_null() & pl.col("derived").is_null()
        return int(self.samples.select((image & ~pl.col("by_design") & ~pl.col("outside")).sum()).item())


def pair(paths: Sequence[str] | pl.Series, layout: Layout, unconditional: Sequence[str] = ()) -> Pairing:
    """Pair the images and masks among `paths`; no file is lost and the order of the paths does not matter.

    Args:
        paths: the files of the dataset, each once.
        layout: how they are named; rows of a CSV file are paired by `pair_rows`.
        unconditional: files of folders without masks by design; their images never compete for a mask.

    Raises:
        HistodsError: the layout is `csv`, or a name is not text.
    """
    if layout.kind == "csv":
        raise HistodsError("The layout csv does not pair by name; name its file with --pairs.")
    files, designed = list_files(paths), list_files(unconditional).unique("path")
    if unconditional:
        files = files.join(designed, on="path", how="anti")
    named = name_roles(files.filter(IS_PICTURE), layout)
    role = pl.col("role")
    rows = _join(named.filter(role == "image"), named.filter(role == "mask"))
    rows = pl.concat([rows, _rows_without_mask(designed.filter(IS_PICTURE), by_design=True)])
    outside = named.filter(role.is_null())
    plain = pl.concat([files, designed]).filter(~IS_PICTURE)
    return Pairing(_finish(rows, outside), count_by_suffix(plain))


def pair_rows(rows: pl.DataFrame, paths: Sequence[str] | pl.Series, unconditional: Sequence[str] = ()) -> Pairing:
    """Pair by the rows of a CSV file; pictures among `paths` that no row names are outside the layout.

    Args:
        rows: columns `image` (unique) and `mask` (null if the image has none by design).
        paths: the files of the dataset, each once.
        unconditional: files of folders without masks by design; their images need no row.
    """
    files = pl.concat([list_files(paths), list_files(unconditional)]).unique("path")
    designed = list_files(unconditional).unique("path").filter(IS_PICTURE)
    listed = rows.select(
        key=without_suffix(pl.col("image")),
        image_path="image",
        mask_path="mask",
        link=_NOTHING,
        by_design=pl.col("mask").is_null(),
    )
    named = pl.concat([rows["image"], rows["mask"]]).drop_nulls().implode()
    is_named = pl.col("path").is_in(named)
    samples = pl.concat([listed, _rows_without_mask(designed.filter(~is_named), by_design=True)])
    rest = files.filter(~is_named).join(designed, on="path", how="anti")
    return Pairing(_finish(samples, rest.filter(IS_PICTURE)), count_by_suffix(rest.filter(~IS_PICTURE)))


def _join(images: pl.DataFrame, masks: pl.DataFrame) -> pl.DataFrame:
    """Join the first image of a link with its first mask; other files get their own rows."""
    images, more_images = _first_of_each_link(images)
    masks, more_masks = _first_of_each_link(masks)
    rows = images.select("key", "link", image_path="path").join(
        masks.select("link", mask_key="key", mask_path="path"), on="link", how="full", coalesce=True
    )
    key, no_design = pl.coalesce("key", "mask_key"), pl.lit(value=False)
    rows = rows.select(key, "image_path", "mask_path", "link", by_design=no_design)
    extra = more_masks.select("key", image_path=_NOTHING, mask_path="path", link="link", by_design=no_design)
    return pl.concat([rows, extra, _rows_without_mask(more_images, by_design=False)])


def _first_of_each_link(files: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first file of each link by path, and the others, of which there are usually none."""
    if files["link"].n_unique() == len(files):
        return files, files.clear()
    files = files.sort("path")
    is_first = files["link"].is_first_distinct()
    return files.filter(is_first), files.filter(~is_first)


def _rows_without_mask(images: pl.DataFrame, *, by_design: bool) -> pl.DataFrame:
    """Rows for images only; those without a mask by design have no link, so they cannot compete."""
    link = _NOTHING if by_design else pl.col("link")
    return images.select(
        "key", image_path="path", mask_path=_NOTHING, link=link, by_design=pl.lit(value=by_design)
    )


def _finish(rows: pl.DataFrame, outside: pl.DataFrame) -> pl.DataFrame:
    """Add competing files, evidence from names, and the pictures outside the layout, and sort the rows.

    Args:
        rows: `key`, `image_path`, `mask_path`, `link`, `by_design`.
        outside: `path` and `key` of pictures that the layout does not cover.
    """
    links = rows["link"].drop_nulls()
    if rows["key"].n_unique() == len(rows) and links.n_unique() == len(links):
        columns = ("key", "image_path", "mask_path")
        samples = rows.select(*columns, collision=_NOTHING, rivals=_NOTHING, by_design="by_design")
    else:
        samples = _say_what_collides(rows)
    samples = with_object_masks(with_name_evidence(samples.with_columns(outside=pl.lit(value=False))))
    companion = pl.col("image_path").is_null() & pl.col("derived").is_not_null()
    samples = samples.with_columns(outside=pl.col("outside") | companion)
    if len(outside):
        samples = pl.concat([samples, _rows_outside(outside, samples)], how="diagonal")
    if samples["key"].n_unique() < len(samples):
        return samples.sort("key", "image_path", "mask_path", nulls_last=True)
    # Arrow sorts 250,000 long keys into the same order as polars in two thirds of its time.
    return samples[pl.Series(pc.array_sort_indices(samples["key"].to_arrow()))]


def _rows_outside(outside: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """Rows for pictures outside the layout; a key that a sample has too keeps its suffix to be unique."""
    is_taken = pl.col("key").is_in(samples["key"].implode()) | pl.col("key").is_duplicated()
    return outside.select(
        key=pl.when(is_taken).then("path").otherwise("key"),
        image_path="path",
        by_design=pl.lit(value=False),
        outside=pl.lit(value=True),
    )


def _say_what_collides(rows: pl.DataFrame) -> pl.DataFrame:
    """Set `collision` for rows whose key several files share, and `rivals` for images with several masks.

    Both list the files.
    """
    has_image, has_link = pl.col("image_path").is_not_null(), pl.col("link").is_not_null()
    picture, masks = pl.coalesce("image_path", "mask_path"), pl.col("mask_path").drop_nulls()
    same_key = rows.filter(pl.col("key").is_duplicated())
    shared = same_key.group_by("key").agg(
        pl.when(has_image.any())
        .then(picture.sort().str.join(" and ") + " share the key " + pl.col("key").first())
        .alias("collision")
    )
    same_link = rows.filter(has_link & pl.col("link").is_duplicated())
    several = same_link.group_by("link").agg(
        pl.when((masks.len() > 1) & has_image.any())
        .then(masks.sort().str.join(" and ") + " are masks of the one image " + pl.col("image_path").min())
        .alias("rivals")
    )
    rows = rows.join(shared, on="key", how="left").join(several, on="link", how="left")
    return rows.select("key", "image_path", "mask_path", "collision", "rivals", "by_design")
