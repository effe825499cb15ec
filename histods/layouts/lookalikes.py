"""Pictures whose names say that they are no images: copies of masks, overlays, predictions.

A layout takes every picture for an image that it does not take for a mask. What is left without a mask is
looked at here, by name alone; `histods.checks.looks_like_mask` adds what its pixels show.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from histods.layouts.names import without_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator

_CERTAIN = (
    r"overlays?|overlayed|overlaid|preds?|predicted|predictions?|heatmaps?|thumbs?|thumbnails?|previews?"
    r"|visuali[sz]ations?|blended"
)
_MADE_FROM = (
    rf"{_CERTAIN}|blend|probs?|probabilit(?:y|ies)|heat|contours?|outlines?|boundar(?:y|ies)|edges?|vi[sz]"
    r"|composites?|figures?|colou?r(?:s|ed|map)?|dist|distances?"
)
"""Words for a picture made from an image or a mask; the certain ones need no picture that it was made from."""
_MASK_WORD = (
    r"(?!un|no)[a-z]*masks?[a-z]*|(?!un|no)[a-z]*labels?[a-z]*|msks?|lbls?|seg|segm|segs|segmentations?"
    r"|annot|annotations?|annos?|gts?|groundtruth|truth|instances?|maske"
)
_ANY_WORD = (
    r"(?i)mask|label|msk|lbl|seg|anno|gt|truth|instance|overla|pred|heat|thumb|preview|vi[sz]|blend|prob|contour|outline"
    r"|boundar|edge|composite|figure|colou?r|dist"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SEPARATOR = re.compile(r"[^\w]|_")
_COMMON_SHARE = 0.5
"""An addition that says nothing (`_stain_normed`) is that of a derived picture if half of the pairs have it."""
_NEARLY_ALL = 0.95
"""A word that so many images have is a word of the dataset, such as that of a folder above them all."""
_COMPANIONS, _SAMPLE = 2, 1000


def with_name_evidence(samples: pl.DataFrame) -> pl.DataFrame:
    """Add what names say of images without a mask, and of masks without an image.

    Args:
        samples: `key`, `image_path`, `mask_path`, `by_design`, `outside`.

    Returns:
        The rows with two columns of text, null where a name says nothing. `derived`: why the picture is a copy
        of a mask or made from another picture, whatever its pixels show. `mask_word`: a word for masks in the
        path, which proves nothing by itself (`label-free_12.jpg`).
    """
    image, mask = pl.col("image_path"), pl.col("mask_path")
    # A folder of images without masks by design may hold most of a dataset: only telling names are looked at.
    asked = image.is_not_null() & (~pl.col("by_design") | pl.col("key").str.contains(_ANY_WORD))
    lonely = samples.filter((image.is_null() | mask.is_null()) & (asked | image.is_null()) & ~pl.col("outside"))
    schema = {"picture": pl.String, "derived": pl.String, "mask_word": pl.String}
    found = pl.DataFrame(schema=schema)
    if len(lonely):
        pictures = lonely.select(picture=pl.coalesce(image, mask), is_image=image.is_not_null())
        keys = [path.rpartition(".")[0] for path in pictures.to_series()]
        evidence = _Evidence(samples.filter(~pl.col("outside")), keys, of_images=pictures["is_image"].any())
        rows = [
            (path, evidence.derived(key), evidence.mask_word(key))
            if is_image
            else (path, evidence.companion(key), None)
            for key, (path, is_image) in zip(keys, pictures.iter_rows(), strict=True)
        ]
        found = pl.DataFrame(rows, schema=schema, orient="row")
    paths = samples.with_columns(picture=pl.coalesce(image, mask))
    return paths.join(found, on="picture", how="left", maintain_order="left").drop("picture")


class _Evidence:
    """What the names of a dataset say of some of its images, those without a mask."""

    def __init__(self, samples: pl.DataFrame, lonely: list[str], *, of_images: bool) -> None:
        """Look up what the names could have been made from.

        Args:
            samples: `key`, `image_path`, `mask_path`, `by_design` of everything that follows the layout.
            lonely: keys of the pictures that are asked about.
            of_images: some of them are images; else only `companion` may be asked, which needs less.
        """
        image, mask = pl.col("image_path"), pl.col("mask_path")
        bases = pl.Series(sorted({base for key in lonely for base in bases_of(_plain(key))}), dtype=pl.String)
        is_base = pl.col("plain").is_in(bases.implode())
        masks = _with_plain(samples.filter(mask.is_not_null()).select(key=without_suffix(mask), path=mask))
        self.masks = dict(masks.filter(is_base).select("plain", "path").iter_rows())
        self.usual: set[str] = set()
        if not of_images:
            return
        images = samples.filter(image.is_not_null()).select(
            "key", path=image, paired=mask.is_not_null(), by_design="by_design"
        )
        images = _with_plain(images)
        paired, designed = images.filter("paired"), images.filter("by_design")
        self.images = dict(images.filter(is_base).select("plain", "path").iter_rows())
        self.paired = set(paired.filter(is_base)["plain"])
        self.pairs = len(paired)
        stems = pl.Series(sorted({_stem(_plain(key)) for key in lonely}), dtype=pl.String)
        named = paired.select("path", stem=pl.col("plain").str.extract(r"(?s)([^/]*)$"))
        self.stems = dict(named.filter(pl.col("stem").is_in(stems.implode())).select("stem", "path").iter_rows())
        self.usual = _usual_words(designed["path"], _NEARLY_ALL) | (
            _usual_words(paired["path"], _COMMON_SHARE)
            if self.pairs
            else _usual_words(images["path"], _NEARLY_ALL)
        )
        self.additions = Counter(
            key[len(base) :] for key in map(_plain, lonely) for base in bases_of(key) if base in self.paired
        )

    def derived(self, key: str) -> str | None:
        """Why a picture is no image whatever it shows, or None."""
        plain = _plain(key)
        for base in bases_of(plain):
            addition = plain[len(base) :]
            times = self.additions[addition]
            if base in self.masks:
                return f"its name is that of the mask {self.masks[base]} and {addition!r}"
            if base in self.images and (word := self._telling(key[len(base) :], _MADE_FROM, _MASK_WORD)):
                return f"its name is that of the image {self.images[base]} and {addition!r}, which says {word!r}"
            common = times >= max(_COMPANIONS, _COMMON_SHARE * self.pairs)
            if base in self.paired and common and _WORD.search(addition):
                return f"{times:,} images have a picture with {addition!r} beside them"
        folder, _, name = key.rpartition("/")
        if word := self._telling(folder, _MADE_FROM, _MASK_WORD) if _stem(plain) in self.stems else None:
            return f"its folder says {word!r} and its name is that of the image {self.stems[_stem(plain)]}"
        word = self._telling(f"{folder}/{name}", _CERTAIN)
        return None if word is None else f"its path says {word!r}"

    def companion(self, key: str) -> str | None:
        """Why a mask without an image is a picture made from another mask, or None."""
        plain = _plain(key)
        for base in bases_of(plain):
            word = self._telling(key[len(base) :], _MADE_FROM)
            if base in self.masks and word:
                return f"its name is that of the mask {self.masks[base]} and {plain[len(base) :]!r}"
        return None

    def mask_word(self, key: str) -> str | None:
        """A word for masks in a path that the dataset's images do not have."""
        return self._telling(key, _MASK_WORD)

    def _telling(self, text: str, *patterns: str) -> str | None:
        """The first word that one of the patterns knows and that images do not have anyway."""
        unusual = [word for word in _words(text) if word not in self.usual]
        return next((word for pattern in patterns for word in unusual if _is(word, pattern)), None)


def _usual_words(paths: pl.Series, share: float) -> set[str]:
    """Words that so many of the paths have; of many paths, those at even distances are looked at."""
    sample = paths.gather_every(max(len(paths) // _SAMPLE, 1)).to_list()
    counts = Counter(word for path in sample for word in set(_words(path.rpartition(".")[0])))
    return {word for word, count in counts.items() if count >= share * len(sample)}


def _plain(key: str) -> str:
    """A key as people read it: composed characters, no capitals."""
    return unicodedata.normalize("NFC", key).lower()


def _with_plain(files: pl.DataFrame) -> pl.DataFrame:
    """Add `plain`, the key as `_plain` gives it; letters without accents are composed already."""
    key = pl.col("key")
    is_ascii = files.select((key.str.len_bytes() == key.str.len_chars()).all()).item()
    return files.with_columns(plain=(key if is_ascii else key.str.normalize("NFC")).str.to_lowercase())


def _stem(key: str) -> str:
    return key.rpartition("/")[2]


def bases_of(key: str) -> Iterator[str]:
    """What a key may have been made from by an addition: all that ends before a separator in its last part."""
    start = key.rfind("/") + 1
    for found in reversed(list(_SEPARATOR.finditer(key, start + 1))):
        yield key[: found.start()]


def mask_word_of(text: str) -> str | None:
    """The first word of a text that means masks, or None."""
    return next((word for word in _words(text) if _is(word, _MASK_WORD)), None)


def _words(text: str) -> list[str]:
    """The words of a text in lower case; capitals begin a word."""
    return [word.lower() for word in _WORD.findall(text)]


@lru_cache(maxsize=4096)
def _is(word: str, pattern: str) -> bool:
    return re.fullmatch(pattern, word) is not None
