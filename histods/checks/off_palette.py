"""`off_palette`: a colour mask holds colours that are not in the labels file."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, has_off_palette_pixels, measured_mask

DIGITS = 3  # of the percentage: enough to tell one stray pixel from an anti-aliased edge


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Count the pixels off the palette, and report whether they got the label of the nearest colour."""
    # The percentage must be at most 100 even if no colour is in the palette.
    total = pl.max_horizontal(pl.col("pixels").list.sum(), pl.col("off_palette"))
    percent = (100 * pl.col("off_palette") / total).round_sig_figs(DIGITS)
    treatment = (
        pl.when("nearest")
        .then(pl.lit("they were given the nearest colour's label; check a few of these masks"))
        .otherwise(
            pl.lit(
                "add the colours to the --labels file (--write-labels FILE drafts one) or pass --nearest-colour"
            )
        )
    )
    message = pl.format(
        "{} pixels ({} %) have a colour that the labels file does not give; {}", "off_palette", percent, treatment
    )
    return found(samples.filter(measured_mask() & has_off_palette_pixels()), "mask_path", message)


CHECK = Check(
    code="off_palette",
    severity="warning",
    summary="A colour mask holds pixels whose colour the labels file does not give.",
    judge=judge,
)
