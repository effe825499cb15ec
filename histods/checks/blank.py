"""`blank`: a tile of background, without tissue.

The share of tissue is that of `histods.checks.pictures`, and its default limit 1 % is far below what tiles are
usually selected by: Coudray et al. (Nature Medicine 2018) drop tiles that are more than 50 % background. A
picture of one colour, such as a tinted slide without anything on it, has no structure instead: its colours
differ by less than 2 grey levels over the picture, where 21 real patches differ by at least 11, 500 generated
ones by 17, and glass of a brightness of 128 and more with noise of up to 3 grey levels by at most 1.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import CONTRAST, LEAST_CONTRAST, TISSUE, note_small, percent

if TYPE_CHECKING:
    from histods.checks.base import Context


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how much tissue a blank tile shows."""
    few = pl.col("tissue") < context.limits["tissue"]
    flat = pl.col("contrast") < context.limits["contrast"]
    message = (
        pl.when(few)
        .then(pl.format("background: {} % of it is tissue", percent("tissue")))
        .otherwise(pl.lit("a picture of one colour, without any structure"))
    )
    advice = "; leave it out, or keep it if the model has to learn background"
    return found(samples.filter(few | flat), "image_path", message + advice)


CHECK = Check(
    code="blank",
    severity="warning",
    summary="A tile of background, without tissue (with `--quality`).",
    judge=judge,
    measures=(TISSUE, CONTRAST),
    thresholds=(
        Threshold(
            name="tissue",
            default=0.01,
            meaning="a smaller share of tissue is blank",
            source="measured: real patches with tissue have at least 0.36, glass none",
        ),
        Threshold(
            name="contrast",
            default=LEAST_CONTRAST,
            meaning="a smaller deviation of colours over the picture is blank, in grey levels",
            source="measured: real patches have at least 11, glass with noise of 3 grey levels at most 1.7",
            most=255.0,
        ),
    ),
    quality=True,
    note=note_small,
)
