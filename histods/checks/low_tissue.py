"""`low_tissue`: a tile that is mostly background.

What is enough depends on the task: Coudray et al. (Nature Medicine 2018) keep tiles with at least 50 % tissue,
which would drop 3 of our 21 real patches, since alveoli are empty. The default of 10 % finds tiles with hardly
anything on them: 20 real patches show at least 36 % tissue, and one of glass with a speck of tissue 4 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.checks import blank
from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import TISSUE, percent

if TYPE_CHECKING:
    from histods.checks.base import Context


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how much tissue a tile shows, unless it is blank."""
    blanks = blank.judge(samples, blank.CHECK.context(context))["path"]  # a key may be that of several images
    is_blank = pl.col("image_path").is_in(blanks.implode())
    few = samples.filter(~is_blank & (pl.col("tissue") < context.limits["tissue"]))
    message = pl.format(
        "{} % of it is tissue; leave it out if the model should not learn glass", percent("tissue")
    )
    return found(few, "image_path", message)


CHECK = Check(
    code="low_tissue",
    severity="warning",
    summary="A tile that is mostly background (with `--quality`).",
    judge=judge,
    measures=(TISSUE,),
    thresholds=(
        Threshold(
            name="tissue",
            default=0.1,
            meaning="a smaller share of tissue is low",
            source="measured: real patches have at least 0.36; 0.5 in Coudray et al. 2018",
        ),
    ),
    quality=True,
)
