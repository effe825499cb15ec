"""`turned`: an image or mask whose orientation tag makes viewers rotate it, while training uses it as stored.

Source: EXIF 2.32, section 4.6.4, and TIFF 6.0, tag 274.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found

HOW = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored and turned by 90 degrees to the left",
    6: "turned by 90 degrees to the right",
    7: "mirrored and turned by 90 degrees to the right",
    8: "turned by 90 degrees to the left",
}


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Report each file with an orientation tag, and how viewers rotate it."""
    return pl.concat([_judge_files(samples, "image", "mask"), _judge_files(samples, "mask", "image")])


def _judge_files(samples: pl.DataFrame, role: str, other: str) -> pl.DataFrame:
    orientation, of_other = pl.col(f"{role}_orientation"), pl.col(f"{other}_orientation")
    stands = pl.col(f"{role}_path").is_not_null() & ~pl.col(f"{role}_outside") & ~pl.col("outside")
    flagged = samples.filter(stands & orientation.is_not_null())
    also = (
        pl.when(of_other == orientation)
        .then(pl.lit(f", as its {other} says too"))
        .when(of_other.is_not_null())
        .then(pl.lit(f", otherwise than its {other}"))
        .when(pl.col(f"{other}_path").is_not_null())
        .then(pl.lit(f", which its {other} is not"))
        .otherwise(pl.lit(""))
    )
    message = pl.format(
        "its orientation tag {} has viewers show it {}{}, while training sees it as stored; "
        "'histods fix turned --repair --in-place' turns the pixels if image and mask agree as viewers show them; "
        "with '--remedy untag' it removes the tag if they agree as stored",
        orientation,
        orientation.replace_strict(HOW, default="otherwise", return_dtype=pl.String),
        also,
    )
    return found(flagged, f"{role}_path", message)


CHECK = Check(
    code="turned",
    severity="error",
    summary="An orientation tag has viewers turn the image or mask, while training sees it as stored.",
    judge=judge,
)
