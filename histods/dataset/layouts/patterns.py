"""Path patterns: `{key}` is the part that image and mask share, `*` is any text in one folder or file name.

Several patterns with `|` between them are alternatives: the first for images goes with the first for masks,
and so on; a single pattern on one side goes with every alternative on the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from histods.errors import HistodsError
from histods.images.formats import image_suffixes, mask_suffixes

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY, ANY, OR = "{key}", "*", "|"
IMAGE_SUFFIXES, MASK_SUFFIXES = image_suffixes(), mask_suffixes()
PICTURE_SUFFIXES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *MASK_SUFFIXES)))
_PLACEHOLDER = re.compile(r"(\{key\}|\*)")


def pattern_pairs(image_pattern: str, mask_pattern: str) -> list[tuple[str, str]]:
    """The patterns of images and masks for each alternative.

    Raises:
        HistodsError: the two sides have different numbers of alternatives, and neither has just one.
    """
    images, masks = image_pattern.split(OR), mask_pattern.split(OR)
    if len(images) != len(masks) and 1 not in (len(images), len(masks)):
        raise HistodsError(
            f"{image_pattern!r} has {len(images)} patterns for images, but {mask_pattern!r} has {len(masks)} for "
            "masks; give as many for masks as for images, with | between them."
        )
    number = max(len(images), len(masks))
    images, masks = (side * number if len(side) == 1 else side for side in (images, masks))
    return list(zip(images, masks, strict=True))


def split_pattern(pattern: str) -> tuple[str, str]:
    """A pattern without its file suffix, and that suffix in lower case (empty: any)."""
    plain = pattern.removeprefix("./")
    suffix = next((suffix for suffix in PICTURE_SUFFIXES if plain.lower().endswith(suffix)), "")
    return plain[: len(plain) - len(suffix)], suffix


def literal_characters(pattern: str) -> int:
    """Number of literal characters in a pattern."""
    return len(_PLACEHOLDER.sub("", pattern))


def as_literal(text: str) -> str:
    """A text of a name for use in a pattern, with `*` for characters that have a meaning there."""
    return text.replace(OR, ANY)


def match_pattern(files: pl.DataFrame, pattern: str, suffixes: Sequence[str]) -> pl.Series:
    """The texts at the `{key}` of one pattern, joined; null if a file does not match.

    Args:
        files: `key` (null never matches) and `suffix` of each file.
        pattern: without alternatives.
        suffixes: allowed suffixes if the pattern has none.
    """
    stem, suffix = split_pattern(pattern)
    parts = {KEY: "(.*)", ANY: "[^/]*"}
    expression = "".join(parts.get(part) or pl.escape_regex(part) for part in _PLACEHOLDER.split(stem) if part)
    fits = pl.col("suffix").is_in([suffix] if suffix else suffixes)
    key = files.select(pl.when(fits).then("key")).to_series()
    pieces = key.str.extract_groups(f"(?s)^{expression}$").struct.unnest()
    return pieces.select(pl.concat_str(pl.all(), separator="\0")).to_series()


def check_patterns(image_pattern: str | None, mask_pattern: str | None) -> None:
    """Reject patterns that cannot pair anything.

    Raises:
        HistodsError: one of them has no `{key}`, or both match the same files.
    """
    if mask_pattern is None:
        raise HistodsError(f"There is no pattern for masks; give one, such as --mask-pattern '{KEY}_mask.png'.")
    for images, masks in pattern_pairs(KEY if image_pattern is None else image_pattern, mask_pattern):
        _check_pair(images, masks)


def _check_pair(images: str, masks: str) -> None:
    for option, pattern in (("--image-pattern", images), ("--mask-pattern", masks)):
        _require(
            KEY in pattern and KEY + KEY not in pattern and not pattern.startswith("/"),
            f"{option} {pattern!r} is not a path below the dataset with {KEY} where names vary; "
            f"give one such as 'masks/{KEY}.png'.",
        )
    _require(
        images.count(KEY) == masks.count(KEY),
        f"The patterns {images!r} and {masks!r} do not have equally many {KEY}; "
        "give --image-pattern and --mask-pattern that name the same pieces.",
    )
    _require(
        split_pattern(images) != split_pattern(masks),
        f"{masks!r} is the pattern of both images and masks; give --mask-pattern what only masks have.",
    )
    _require(
        split_pattern(images)[1] in ("", *IMAGE_SUFFIXES),
        f"--image-pattern {images!r} ends in none of {', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}; "
        "convert the images to PNG.",
    )


def _require(holds: bool, message: str) -> None:
    """Raise the message unless the condition holds."""
    if not holds:
        raise HistodsError(message)
