"""Roles from file names: image, mask or neither, and which files belong together.

A file's key is its path without the last suffix, so dots inside a name belong to the key. Every layout gives each
picture a role and a link; an image and a mask pair if their links are equal.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from histods.dataset.layouts.links import join_loose_links
from histods.dataset.layouts.patterns import (
    IMAGE_SUFFIXES,
    KEY,
    MASK_SUFFIXES,
    OR,
    PICTURE_SUFFIXES,
    check_patterns,
    literal_characters,
    match_pattern,
    pattern_pairs,
)
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

IS_PICTURE = pl.col("suffix").is_in(PICTURE_SUFFIXES)
_IS_IMAGE, _IS_MASK = pl.col("suffix").is_in(IMAGE_SUFFIXES), pl.col("suffix").is_in(MASK_SUFFIXES)
_NO_TEXT = pl.lit(None, pl.String)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the images and masks of a dataset are named.

    Attributes:
        kind: `suffix` (`x.jpg`, `x_mask.png`), `folders` (`images/x.jpg`, `masks/x.png`, at any depth),
            `pattern` (the two patterns below) or `csv` (rows that name the files).
        mask_suffix: the addition to the image's name in the mask's, before the file suffix, case-insensitive.
        images_dir: folder of images.
        masks_dir: folder of masks, which replaces `images_dir` in the path.
        image_pattern: path of an image with one or more `{key}`, each of which matches any text, and `*`
            for any text within a folder or file name; alternatives have `|` between them. A pattern without an
            image suffix matches every image suffix. By default an image is `{key}`.
        mask_pattern: path of a mask with as many `{key}`; equal texts in the same order make a pair.

    Raises:
        HistodsError: a name is empty or the patterns cannot pair anything.
    """

    kind: Literal["suffix", "folders", "pattern", "csv"]
    mask_suffix: str = "_mask"
    images_dir: str = "images"
    masks_dir: str = "masks"
    image_pattern: str | None = None
    mask_pattern: str | None = None

    def __post_init__(self) -> None:
        if self.kind == "suffix":
            _check_mask_suffix(self.mask_suffix)
        elif self.kind == "folders":
            _check_folders(self.images_dir, self.masks_dir)
        elif self.kind == "pattern":
            check_patterns(self.image_pattern, self.mask_pattern)

    def patterns(self) -> list[tuple[str, str]]:
        """The patterns of images and masks for each alternative, also for the kinds `suffix` and `folders`."""
        if self.kind == "suffix":
            return [(KEY, KEY + self.mask_suffix)]
        if self.kind == "folders":
            images, masks = self.images_dir.strip("/"), self.masks_dir.strip("/")
            below = f"/{KEY}"
            return [(images + below, masks + below), (f"{KEY}/{images}{below}", f"{KEY}/{masks}{below}")]
        return pattern_pairs(self.image_pattern or KEY, self.mask_pattern or KEY)


def layout_of(patterns: Sequence[tuple[str, str]]) -> Layout:
    """The layout of kind `pattern` with these alternatives."""
    images, masks = (list(side) for side in zip(*patterns, strict=True))
    images, masks = (side[:1] if len(set(side)) == 1 else side for side in (images, masks))
    return Layout(kind="pattern", image_pattern=OR.join(images), mask_pattern=OR.join(masks))


def suffix_of(path: pl.Expr) -> pl.Expr:
    """The last suffix with its dot, as written; a name whose only dot is the first character has none."""
    return path.str.extract(r"[^/](\.[^./]+)$").fill_null("")


def without_suffix(path: pl.Expr) -> pl.Expr:
    """The key of a path: all but its last suffix."""
    return path.str.strip_suffix(suffix_of(path))


def _check_mask_suffix(mask_suffix: str) -> None:
    """Reject a suffix that no mask can have."""
    if not mask_suffix or "/" in mask_suffix or mask_suffix.lower().endswith(PICTURE_SUFFIXES):
        raise HistodsError(
            f"--mask-suffix {mask_suffix!r} is not what a mask's name adds to its image's, such as _mask; "
            "give it without folder and without file suffix."
        )


def _check_folders(images_dir: str, masks_dir: str) -> None:
    """Reject folder names that cannot distinguish images from masks."""
    images, masks = images_dir.strip("/"), masks_dir.strip("/")
    if not images or not masks or images == masks:
        raise HistodsError(
            f"--images-dir {images_dir!r} and --masks-dir {masks_dir!r} cannot tell images from masks; "
            "give two different folder names."
        )


def list_files(paths: Sequence[str] | pl.Series) -> pl.DataFrame:
    """One row per file: `path`, `key`, `suffix` (lower case, with its dot)."""
    try:
        files = pl.Series("path", paths, dtype=pl.String).to_frame()
    except UnicodeEncodeError as error:
        raise HistodsError(f"The file name {error.object!r} is not UTF-8; rename the file.") from error
    files = files.with_columns(suffix=suffix_of(pl.col("path")))
    key, suffix = pl.col("path").str.strip_suffix(pl.col("suffix")), pl.col("suffix").str.to_lowercase()
    return files.select("path", key=key, suffix=suffix)


def name_roles(files: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add `role` (`image`, `mask` or null for neither) and `link` (equal for an image and its mask)."""
    if layout.kind == "suffix":
        return join_loose_links(_roles_by_suffix(files, layout.mask_suffix))
    if layout.kind == "folders":
        return join_loose_links(
            _roles_by_folders(files, layout.images_dir.strip("/"), layout.masks_dir.strip("/"))
        )
    return _roles_by_patterns(files, layout.patterns())


def _roles_by_suffix(files: pl.DataFrame, mask_suffix: str) -> pl.DataFrame:
    """Like `name_roles`; a picture is a mask if its key ends in `mask_suffix`, else an image.

    A picture with that ending is still an image if it has its own mask next to it (`x_mask.jpg` and
    `x_mask_mask.png`, but no `x.jpg`).
    """
    key, ending = pl.col("key"), _in_any_case(mask_suffix)
    files = files.with_columns(is_mask=_IS_MASK & key.str.contains(ending), stem=key)
    files = files.with_columns(stem=pl.when("is_mask").then(key.str.replace(ending, "")).otherwise(key))
    masks = files.filter("is_mask").select("suffix", "key", image="stem")
    twice = masks.filter(pl.col("image").str.contains(ending))["image"]
    if not twice.is_empty():
        images = files.filter(_IS_IMAGE & ~pl.col("is_mask"))["key"]
        own = masks.filter(
            key.is_in(twice.implode())
            & ~pl.col("image").is_in(images.implode())
            & pl.col("suffix").is_in(IMAGE_SUFFIXES)
        )["key"]
        files = files.with_columns(is_mask=pl.col("is_mask") & ~key.is_in(own.implode()))
        files = files.with_columns(stem=pl.when("is_mask").then("stem").otherwise("key"))
    role = pl.when("is_mask").then(pl.lit("mask")).when(_IS_IMAGE).then(pl.lit("image"))
    return files.select("path", "key", "suffix", role=role, link=pl.when(role.is_not_null()).then("stem"))


def _in_any_case(ending: str) -> str:
    """A regular expression for texts that end so, in capitals or not, and with accents encoded in either way."""
    forms = dict.fromkeys([ending, unicodedata.normalize("NFC", ending), unicodedata.normalize("NFD", ending)])
    return rf"(?i)(?:{'|'.join(map(pl.escape_regex, forms))})$"


def _roles_by_folders(files: pl.DataFrame, images_dir: str, masks_dir: str) -> pl.DataFrame:
    """Like `name_roles`; the innermost of the two folders decides, and the link is the path without it."""
    names = sorted((images_dir, masks_dir), key=len, reverse=True)  # so that images/masks is not images
    folders = "|".join(pl.escape_regex(name) for name in names)
    parts = files["key"].str.extract_groups(rf"(?s)^(.*/|)({folders})/(.+)$")
    before, folder, after = parts.struct.rename_fields(["before", "folder", "after"]).struct.unnest()
    is_mask = (folder == masks_dir) & files["suffix"].is_in(MASK_SUFFIXES)
    is_image = (folder == images_dir) & files["suffix"].is_in(IMAGE_SUFFIXES)
    role = pl.when(is_image).then(pl.lit("image")).when(is_mask).then(pl.lit("mask"))
    return files.with_columns(role=role, link=before + "\0" + after)


def _roles_by_patterns(files: pl.DataFrame, patterns: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Like `name_roles`; files that pair by one alternative are done, the others are tried with the next.

    A file that pairs by none has the role of the matching pattern with the most literal characters.
    """
    if len(patterns) == 1:
        return join_loose_links(_roles_by_pattern(files, *patterns[0]).drop("literal"))
    named = files.with_columns(role=_NO_TEXT, link=_NO_TEXT, literal=pl.lit(-1), settled=pl.lit(value=False))
    for number, pair in enumerate(patterns):
        rest = named.select(pl.when(~pl.col("settled")).then("key").alias("key"), "suffix")
        tried = join_loose_links(_roles_by_pattern(rest, *pair))
        tried = tried.with_columns(link=pl.lit(f"{number}\0") + pl.col("link"))
        role, link = pl.col("role"), pl.col("link")
        images, masks = (tried.filter(role == name).select("link").unique() for name in ("image", "mask"))
        both = images.join(masks, on="link", how="semi")["link"]
        tried = tried.with_columns(settled=link.is_in(both.implode()).fill_null(value=False))
        better = tried["settled"] | (tried["literal"] > named["literal"]) & ~named["settled"]
        named = named.with_columns(
            **{name: tried[name].zip_with(better, named[name]) for name in ("role", "link", "literal", "settled")}
        )
    return named.drop("literal", "settled")


def _roles_by_pattern(files: pl.DataFrame, image_pattern: str, mask_pattern: str) -> pl.DataFrame:
    """Add role, link and the number of literal characters of the pattern that a file matches (-1: none).

    A file that matches both patterns has the role of the one with more literal characters.
    """
    patterns = [("image", image_pattern, IMAGE_SUFFIXES), ("mask", mask_pattern, MASK_SUFFIXES)]
    patterns.sort(key=lambda named: -literal_characters(named[1]))
    role = link = pl.Series([None], dtype=pl.String).new_from_index(0, len(files))
    literal = pl.Series([-1]).new_from_index(0, len(files))
    for name, pattern, suffixes in patterns:
        pieces = match_pattern(files.select(pl.when(link.is_null()).then("key"), "suffix"), pattern, suffixes)
        fits = pieces.is_not_null()
        role = role.set(fits, name)
        literal = literal.set(fits, literal_characters(pattern))
        link = pieces.zip_with(fits, link)
    return files.with_columns(role=role, link=link, literal=literal)
