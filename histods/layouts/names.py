"""What the name of a file says: image, mask or neither, and which files belong together.

A file's key is its path without the last suffix, so that dots inside a name belong to the key. Every
layout gives each picture a role and a link; an image and a mask pair where their links are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "{key}"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
IS_PICTURE = pl.col("suffix").is_in(IMAGE_SUFFIXES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the images and masks of a dataset are named.

    Attributes:
        kind: `suffix` (`x.jpg`, `x_mask.png`), `folders` (`images/x.jpg`, `masks/x.png`, at any depth),
            `pattern` (the two patterns below) or `csv` (rows that name the files).
        mask_suffix: what a mask's name adds to its image's, before the file's own suffix.
        images_dir: folder of images.
        masks_dir: folder of masks, where `images_dir` stands in an image's path.
        image_pattern: path of an image with one or more `{key}`, each of which stands for any text; a
            pattern that does not end in an image suffix stands for every image suffix. By default an
            image is `{key}`.
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
            _check_patterns(self.image_pattern, self.mask_pattern)


def suffix_of(path: pl.Expr) -> pl.Expr:
    """The last suffix with its dot, as it is written; a name that only begins with a dot has none."""
    return path.str.extract(r"[^/](\.[^./]+)$").fill_null("")


def without_suffix(path: pl.Expr) -> pl.Expr:
    """The key of a path: all but its last suffix."""
    return path.str.strip_suffix(suffix_of(path))


def split_pattern(pattern: str) -> tuple[str, str]:
    """A pattern without its file suffix, and that suffix in lower case (empty: any)."""
    plain = pattern.removeprefix("./")
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if plain.lower().endswith(suffix)), "")
    return plain[: len(plain) - len(suffix)], suffix


def _require(holds: bool, message: str) -> None:
    """Raise the message unless the condition holds."""
    if not holds:
        raise HistodsError(message)


def _check_mask_suffix(mask_suffix: str) -> None:
    """Refuse a suffix that no mask can have."""
    _require(
        bool(mask_suffix) and "/" not in mask_suffix and not mask_suffix.lower().endswith(IMAGE_SUFFIXES),
        f"Expected what a mask's name adds to its image's, such as _mask, found {mask_suffix!r}; "
        "give --mask-suffix without folder and without file suffix.",
    )


def _check_folders(images_dir: str, masks_dir: str) -> None:
    """Refuse folder names that cannot tell images from masks."""
    images, masks = images_dir.strip("/"), masks_dir.strip("/")
    _require(
        bool(images) and bool(masks) and images != masks,
        "Expected two different folder names for images and masks, "
        f"found {images_dir!r} and {masks_dir!r}; give --images-dir and --masks-dir.",
    )


def _check_patterns(image_pattern: str | None, mask_pattern: str | None) -> None:
    """Refuse patterns that cannot pair anything."""
    if mask_pattern is None:
        raise HistodsError(f"Expected a pattern for masks, found none; give --mask-pattern '{KEY}_mask.png'.")
    images = KEY if image_pattern is None else image_pattern
    for option, pattern in (("--image-pattern", images), ("--mask-pattern", mask_pattern)):
        _require(
            KEY in pattern and KEY + KEY not in pattern and not pattern.startswith("/"),
            f"Expected a path below the dataset with {KEY} where names vary, found {pattern!r}; "
            f"give {option} such as 'masks/{KEY}.png'.",
        )
    _require(
        images.count(KEY) == mask_pattern.count(KEY),
        f"Expected as many {KEY} for images as for masks, found {images!r} and {mask_pattern!r}; "
        "give --image-pattern and --mask-pattern that name the same pieces.",
    )
    _require(
        split_pattern(images) != split_pattern(mask_pattern),
        f"Expected different patterns for images and masks, found {mask_pattern!r} for both; "
        "give --mask-pattern what only masks have.",
    )
    _require(
        split_pattern(mask_pattern)[1] in ("", *MASK_SUFFIXES),
        f"Expected masks that are {', '.join(suffix[1:] for suffix in MASK_SUFFIXES)}, "
        f"found {mask_pattern!r}; convert the masks to PNG.",
    )


def list_files(paths: Sequence[str] | pl.Series) -> pl.DataFrame:
    """One row a file: `path`, `key`, `suffix` (lower case, with its dot)."""
    try:
        files = pl.Series("path", paths, dtype=pl.String).to_frame()
    except UnicodeEncodeError as error:
        raise HistodsError(f"Expected file names in UTF-8, found {error.object!r}; rename the file.") from error
    files = files.with_columns(suffix=suffix_of(pl.col("path")))
    key, suffix = pl.col("path").str.strip_suffix(pl.col("suffix")), pl.col("suffix").str.to_lowercase()
    return files.select("path", key=key, suffix=suffix)


def name_roles(files: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add `role` (`image`, `mask` or null for neither) and `link` (equal for an image and its mask)."""
    if layout.kind == "suffix":
        return _roles_by_suffix(files, layout.mask_suffix)
    if layout.kind == "folders":
        return _roles_by_folders(files, layout.images_dir.strip("/"), layout.masks_dir.strip("/"))
    return _roles_by_patterns(files, layout.image_pattern or KEY, layout.mask_pattern or KEY)


def _roles_by_suffix(files: pl.DataFrame, mask_suffix: str) -> pl.DataFrame:
    """As `name_roles`; a picture is a mask if its key ends in `mask_suffix`, else an image."""
    key = pl.col("key")
    is_mask = pl.col("suffix").is_in(MASK_SUFFIXES) & key.str.ends_with(mask_suffix)
    role = pl.when(is_mask).then(pl.lit("mask")).otherwise(pl.lit("image"))
    return files.with_columns(
        role=role, link=pl.when(is_mask).then(key.str.strip_suffix(mask_suffix)).otherwise(key)
    )


def _roles_by_folders(files: pl.DataFrame, images_dir: str, masks_dir: str) -> pl.DataFrame:
    """As `name_roles`; the innermost of the two folders in a path tells, and the link is the path without it."""
    names = sorted((images_dir, masks_dir), key=len, reverse=True)  # so that images/masks is not images
    folders = "|".join(pl.escape_regex(name) for name in names)
    parts = files["key"].str.extract_groups(rf"(?s)^(.*/|)({folders})/(.+)$")
    before, folder, after = parts.struct.rename_fields(["before", "folder", "after"]).struct.unnest()
    is_mask = (folder == masks_dir) & files["suffix"].is_in(MASK_SUFFIXES)
    role = pl.when(folder == images_dir).then(pl.lit("image")).when(is_mask).then(pl.lit("mask"))
    return files.with_columns(role=role, link=before + "\0" + after)


def _roles_by_patterns(files: pl.DataFrame, image_pattern: str, mask_pattern: str) -> pl.DataFrame:
    """As `name_roles`; a file that fits both patterns has the role of the one with more literal characters."""
    patterns = [("image", image_pattern, IMAGE_SUFFIXES), ("mask", mask_pattern, MASK_SUFFIXES)]
    patterns.sort(key=lambda named: -len(named[1].replace(KEY, "")))
    role = link = pl.Series([None], dtype=pl.String).new_from_index(0, len(files))
    for name, pattern, suffixes in patterns:
        pieces = _pieces(files.select(pl.when(link.is_null()).then("key"), "suffix"), pattern, suffixes)
        role = role.set(pieces.is_not_null(), name)
        link = link.zip_with(pieces.is_null(), pieces)
    return files.with_columns(role=role, link=link)


def _pieces(files: pl.DataFrame, pattern: str, suffixes: Sequence[str]) -> pl.Series:
    """The texts that stand at the `{key}` of a pattern, joined; null where a file does not fit."""
    stem, suffix = split_pattern(pattern)
    literals = (pl.escape_regex(literal) for literal in stem.split(KEY))
    fits = pl.col("suffix").is_in([suffix] if suffix else suffixes)
    key = files.select(pl.when(fits).then("key")).to_series()
    pieces = key.str.extract_groups(f"(?s)^{'(.*)'.join(literals)}$").struct.unnest()
    return pieces.select(pl.concat_str(pl.all(), separator="\0")).to_series()
