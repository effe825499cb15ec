"""All checks of an audit, in the order of reports: errors, warnings, infos.

To add a check, write one file with a `CHECK` and add it to `CHECKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.checks import (
    blank,
    blur,
    constant_mask,
    converted_image,
    duplicate_image,
    duplicate_mask,
    inverted_mask,
    key_collision,
    labels_differ,
    looks_like_mask,
    lossy_mask,
    low_tissue,
    misplaced_mask,
    missing_mask,
    mixed_sizes,
    near_duplicate,
    not_an_index_mask,
    off_palette,
    orphan_mask,
    outside_layout,
    outside_root,
    over_exposed,
    palettes_differ,
    pen_marks,
    scaled_mask,
    several_masks,
    size_mismatch,
    speckled_mask,
    stain_outlier,
    suffix_mismatch,
    too_dark,
    turned,
    unknown_label,
    unreadable_image,
    unreadable_mask,
    wide_mask,
    zero_mask,
)
from histods.checks.base import SAMPLES, Check, Context

if TYPE_CHECKING:
    from histods.measurement.extra_measure import Measure

__all__ = ["CHECKS", "SAMPLES", "Check", "Context", "judge_all", "list_measures", "list_notes"]

CHECKS: tuple[Check, ...] = (
    orphan_mask.CHECK,
    missing_mask.CHECK,
    looks_like_mask.CHECK,
    several_masks.CHECK,
    unreadable_image.CHECK,
    unreadable_mask.CHECK,
    size_mismatch.CHECK,
    turned.CHECK,
    unknown_label.CHECK,
    not_an_index_mask.CHECK,
    key_collision.CHECK,
    outside_layout.CHECK,
    converted_image.CHECK,
    mixed_sizes.CHECK,
    palettes_differ.CHECK,
    inverted_mask.CHECK,
    lossy_mask.CHECK,
    scaled_mask.CHECK,
    speckled_mask.CHECK,
    wide_mask.CHECK,
    off_palette.CHECK,
    suffix_mismatch.CHECK,
    duplicate_image.CHECK,
    duplicate_mask.CHECK,
    near_duplicate.CHECK,
    blank.CHECK,
    low_tissue.CHECK,
    blur.CHECK,
    too_dark.CHECK,
    over_exposed.CHECK,
    pen_marks.CHECK,
    stain_outlier.CHECK,
    outside_root.CHECK,
    labels_differ.CHECK,
    misplaced_mask.CHECK,
    zero_mask.CHECK,
    constant_mask.CHECK,
)
_NO_OTHER = pl.DataFrame(schema={"other": pl.String()})
_OF_NEITHER = (outside_layout.CHECK, outside_root.CHECK)


def judge_all(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Run every check over a table of `SAMPLES`.

    A picture that is neither image nor mask gets only that finding, since nothing else about it matters.

    Returns:
        The strings `key`, `path`, `code`, `severity`, `message`, `other`, one row per finding, sorted by key, path
        and code; a file has at most one finding per code. Messages are always one line, even if a name has line
        breaks. `other` is the key of the sample that the file is like, null for most checks.
    """
    no_images = looks_like_mask.judge(samples, context)
    rest = _without(samples, no_images)

    def judge(check: Check) -> pl.DataFrame:
        if check is looks_like_mask.CHECK:
            return no_images
        return check.judge(samples if check in _OF_NEITHER else rest, check.context(context))

    parts = [
        pl.concat([_NO_OTHER, judge(check)], how="diagonal").select(
            "key",
            "path",
            pl.lit(check.code).alias("code"),
            pl.lit(check.severity).alias("severity"),
            pl.col("message").str.replace_all(r"[\r\n]+", " "),
            "other",
        )
        for check in CHECKS
        if context.quality or not check.quality
    ]
    return pl.concat(parts).sort("key", "path", "code", maintain_order=True)


def list_notes(samples: pl.DataFrame, context: Context) -> tuple[str, ...]:
    """What checks could not judge in a table of `SAMPLES`, a sentence each."""
    needing = {check.code for check in CHECKS if check.quality}
    idle = [name for name in context.overrides if name.partition(".")[0] in needing and not context.quality]
    said = [f"--set checks.{name} has no effect without --quality." for name in idle]
    asked = [check for check in CHECKS if check.note is not None and (context.quality or not check.quality)]
    if asked:
        rest = _without(samples, looks_like_mask.judge(samples, context))
        notes = [check.note(rest, check.context(context)) for check in asked if check.note is not None]
        said += [note for note in notes if note is not None]
    return tuple(said)


def list_measures() -> tuple[Measure, ...]:
    """What all checks measure beside `SAMPLES`; what several of them need is measured once."""
    return tuple(dict.fromkeys(measure for check in CHECKS for measure in check.measures))


def _without(samples: pl.DataFrame, no_images: pl.DataFrame) -> pl.DataFrame:
    """The samples whose pictures are images and masks."""
    is_told = pl.col("mask_path").is_null() & pl.col("image_path").is_in(no_images["path"].implode())
    return samples.filter(~(pl.col("outside") | is_told).fill_null(value=False))
