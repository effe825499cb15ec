"""Links of images and masks whose names look the same to people although their characters differ.

Accents can be encoded in two ways in Unicode (macOS and Linux differ), capitals may differ between the programs
that wrote images and masks, and numbers may be zero-padded on one side only.
"""

from __future__ import annotations

import polars as pl

_PADDED = r"(^|[^0-9])0+([0-9])"
_COMPOSED = pl.col("link").str.normalize("NFC")
_FOLDED = _COMPOSED.str.to_lowercase()
_UNPADDED = _FOLDED.str.replace_all(_PADDED, "${1}${2}")


def join_loose_links(named: pl.DataFrame) -> pl.DataFrame:
    """Give a mask without an image the link of the only image that it can belong to.

    Equal links are kept. Among the others, an image and a mask are joined if their links are equal in composed
    Unicode, or except for capitals, or except for zeros before numbers, and no other image or mask matches. Zeros
    are not ignored if any pair has padded numbers on both sides.

    Args:
        named: `role` (`image`, `mask` or null) and `link` of each file.
    """
    images = named.filter(pl.col("role") == "image").select("link")
    masks = named.filter(pl.col("role") == "mask").select("link")
    if len(images) == len(masks) and images["link"].hash().sum() == masks["link"].hash().sum():
        return named  # all links are equal, as in an intact dataset: no need to join a quarter of a million
    lonely_masks = masks.join(images, on="link", how="anti").unique()
    if lonely_masks.is_empty():
        return named
    lonely_images = images.join(masks, on="link", how="anti").unique()
    for loosely in (_COMPOSED, _FOLDED, _UNPADDED):
        if lonely_images.is_empty() or lonely_masks.is_empty():
            break
        if loosely is _UNPADDED and _has_padded_pairs(images, masks):
            break
        one, other = (_only_of_their_kind(lonely, loosely) for lonely in (lonely_images, lonely_masks))
        same = one.join(other, on="loose", suffix="_of_mask")
        if same.is_empty():
            continue
        found = same.select(link="link_of_mask", link_of_image="link")
        is_mask = pl.when(pl.col("role") == "mask")
        named = named.join(found, on="link", how="left", maintain_order="left")
        named = named.with_columns(link=is_mask.then(pl.coalesce("link_of_image", "link")).otherwise("link"))
        named = named.drop("link_of_image")
        lonely_images = lonely_images.join(same, on="link", how="anti")
        lonely_masks = lonely_masks.join(found, on="link", how="anti")
    return named


def _only_of_their_kind(links: pl.DataFrame, loosely: pl.Expr) -> pl.DataFrame:
    """The links with their loose form, if that is unique."""
    return links.with_columns(loose=loosely).filter(~pl.col("loose").is_duplicated())


def _has_padded_pairs(images: pl.DataFrame, masks: pl.DataFrame) -> bool:
    """Whether an image and a mask with equal links have a number with a leading zero."""
    padded = images.filter(pl.col("link").str.contains(_PADDED))
    return not padded.join(masks, on="link", how="semi").is_empty()
