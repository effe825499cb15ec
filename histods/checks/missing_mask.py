"""`missing_mask`: an image without a mask that is not declared to have none by design."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find images without a mask; files that compete have their own finding."""
    maskless = pl.col("image_path").is_not_null() & pl.col("mask_path").is_null()
    compete = pl.col("collision").is_not_null() | pl.col("rivals").is_not_null()
    missing = samples.filter(maskless & ~pl.col("by_design") & ~compete)
    pairs = samples.select((pl.col("image_path").is_not_null() & pl.col("mask_path").is_not_null()).any()).item()
    if missing.is_empty() or not pairs:
        return found(missing, "image_path", pl.coalesce(_unread(), pl.lit(_WITHOUT_PAIRS)))
    with_masks = samples.filter(pl.col("mask_path").is_not_null()).select(_folder().alias("folder")).unique()
    alone = (_folder() != "") & ~_folder().is_in(with_masks["folder"].implode())
    all_without = pl.when(alone).then(pl.format(_FOLDER_WITHOUT, _folder()))
    return found(missing, "image_path", pl.coalesce(_unread(), all_without, pl.lit(_AMONG_PAIRS)))


def _folder() -> pl.Expr:
    """Folder of a sample's image; empty for the dataset's own."""
    return pl.col("image_path").fill_null("").str.extract(r"^(.*)/").fill_null("")


def _unread() -> pl.Expr:
    """A message if a file in an unsupported format has the image's name; else null."""
    suffix = pl.col("unread_labels").str.extract(r"(\.[^./]+)$").str.to_lowercase()
    return pl.format(
        "image has no mask but {}, and {} is not read; convert it to a PNG of label numbers{}",
        "unread_labels",
        suffix,
        suffix.replace_strict(_CONVERSIONS, default="", return_dtype=pl.String),
    )


_CONVERSIONS = {
    ".npy": ", in Python: cv2.imwrite('x.png', numpy.load('x.npy').astype('uint8'))",
    ".npz": ", in Python: cv2.imwrite('x.png', numpy.load('x.npz')['arr_0'].astype('uint8'))",
    ".mat": ", in Python: cv2.imwrite('x.png', scipy.io.loadmat('x.mat')['NAME'].astype('uint8'))",
    ".json": " by drawing its outlines",
    ".geojson": " by drawing its outlines",
    ".xml": " by drawing its outlines",
    ".svg": " by drawing its outlines",
}


_AMONG_PAIRS = (
    "image has no mask; add the mask, or say that images without masks are meant: --allow-unpaired for all "
    "of them, --unconditional DIR for those of a folder"
)
_FOLDER_WITHOUT = (
    "image has no mask, and neither has any other of its folder; if that is meant, audit again with "
    "--unconditional '{}', else add the masks"
)
_WITHOUT_PAIRS = (
    "image has no mask, and neither has any other; say which files are the masks: --mask-suffix, "
    "--image-pattern and --mask-pattern, or --pairs FILE"
)


CHECK = Check(
    code="missing_mask",
    severity="error",
    summary="An image without a mask that is not without one by design.",
    judge=judge,
)
