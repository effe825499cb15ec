"""Pictures whose names show that they are not images: copies of masks, overlays, predictions.

Every picture that is not recognised as a mask counts as an image. This module checks the names of images without
a mask; `histods.checks.looks_like_mask` adds the evidence of their pixels.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts.names import without_suffix
from histods.dataset.layouts.vocabulary import CERTAIN, MADE_FROM, MASK_WORD, STEMS, is_word, plain, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY_WORD = f"(?i){STEMS}|[^\\x00-\\x7F]"
_TELLING = f"{MADE_FROM}|{MASK_WORD}"
_SEPARATOR = re.compile(r"[^\w]|_")
_COMMON_SHARE = 0.5
"""A neutral addition (`_stain_normed`) marks a derived picture if this share of the pairs has one."""
_NEARLY_ALL = 0.95
"""A word with this share of the images is a word of the dataset, such as the name of a folder above all images."""
_COMPANIONS, _SAMPLE = 2, 1000


def with_name_evidence(samples: pl.DataFrame) -> pl.DataFrame:
    """Add evidence from names about images without a mask, and masks without an image.

    Args:
        samples: `key`, `image_path`, `mask_path`, `by_design`, `outside`.

    Returns:
        The rows with two columns of text, null without evidence. `derived`: why the picture is a copy of a mask or
        made from another picture, regardless of its pixels. `mask_word`: a word for masks in the path, which
        proves nothing on its own (`label-free_12.jpg`).
    """
    image, mask = pl.col("image_path"), pl.col("mask_path")
    # A folder of images without masks by design may hold most of a dataset, so only telling names are examined.
    asked = image.is_not_null() & (~pl.col("by_design") | _may_tell(samples.filter("by_design")["key"]))
    lonely = samples.filter((image.is_null() | mask.is_null()) & (asked | image.is_null()) & ~pl.col("outside"))
    schema = {"picture": pl.String, "derived": pl.String, "mask_word": pl.String}
    found = pl.DataFrame(schema=schema)
    if len(lonely):
        pictures = lonely.select(picture=pl.coalesce(image, mask), is_image=image.is_not_null())
        keys = [path.rpartition(".")[0] for path in pictures.to_series()]
        evidence = _Evidence(
            samples.filter(~pl.col("outside")),
            keys,
            telling=set(lonely.filter(_name_may_tell())["key"]),
            of_images=pictures["is_image"].any(),
        )
        rows = [
            (path, evidence.derived(key), evidence.mask_word(key))
            if is_image
            else (path, evidence.companion(key), None)
            for key, (path, is_image) in zip(keys, pictures.iter_rows(), strict=True)
        ]
        found = pl.DataFrame(rows, schema=schema, orient="row")
    paths = samples.with_columns(picture=pl.coalesce(image, mask))
    return paths.join(found, on="picture", how="left", maintain_order="left").drop("picture")


def _name_may_tell() -> pl.Expr:
    """Whether the last part of a key may have a telling word."""
    return pl.col("key").str.extract(r"(?s)([^/]*)$").str.contains(_ANY_WORD)


def _may_tell(keys: pl.Series) -> pl.Expr:
    """Whether the last part of a key, or its folders, may have a telling word.

    Args:
        keys: the keys whose folders are searched for words.
    """
    folder = pl.col("key").str.extract(r"(?s)^(.*)/").fill_null("")
    folders = keys.to_frame("key").select(folder).to_series().unique()
    telling = [text for text in folders if any(is_word(word, _TELLING) for word in words_of(text))]
    return _name_may_tell() | folder.is_in(telling)


class _Evidence:
    """Evidence from the names of a dataset about its images without a mask."""

    def __init__(self, samples: pl.DataFrame, lonely: list[str], *, telling: set[str], of_images: bool) -> None:
        """Look up the pictures that the names may be derived from.

        Args:
            samples: `key`, `image_path`, `mask_path`, `by_design` of everything that follows the layout.
            lonely: keys of the pictures to examine.
            telling: those of them whose last part may have a telling word.
            of_images: whether some of them are images; else only `companion` may be called, which needs less.
        """
        self.names = telling
        image, mask = pl.col("image_path"), pl.col("mask_path")
        asked = [plain(key) for key in lonely]
        possible = {base for key in asked for base in bases_of(key)}
        possible |= {base for key in telling for base, _ in _prefixes(plain(key))}
        bases = pl.Series(sorted(possible), dtype=pl.String)
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
        self.usual = _usual_words(designed["path"], _NEARLY_ALL) | (
            _usual_words(paired["path"], _COMMON_SHARE)
            if self.pairs
            else _usual_words(images["path"], _NEARLY_ALL)
        )
        self.additions = Counter(
            key[len(base) :] for key in asked for base in bases_of(key) if base in self.paired
        )
        self.folders = {folder: self._telling_parts(folder) for folder in {_folder(key) for key in lonely}}
        self._look_up_names(images, [key for key in lonely if self.folders[_folder(key)]])

    def _look_up_names(self, images: pl.DataFrame, keys: list[str]) -> None:
        """Look up the images with the same names as pictures in folders with telling names."""
        stem = pl.col("plain").str.extract(r"(?s)([^/]*)$")
        wanted = pl.Series(sorted({_stem(plain(key)) for key in keys}), dtype=pl.String).implode()
        named = images.with_columns(stem=stem).filter(pl.col("stem").is_in(wanted))
        self.stems: dict[str, str] = dict(named.filter("paired").select("stem", "path").iter_rows())
        self.siblings: dict[str, str] = {}
        for path in named["path"]:
            key = path.rpartition(".")[0]
            if not self.folders.get(_folder(key)):
                parts = plain(key).split("/")
                self.siblings["/".join(parts)] = path
                for place in range(len(parts) - 1):
                    self.siblings["/".join([*parts[:place], "*", *parts[place + 1 :]])] = path

    def derived(self, key: str) -> str | None:
        """Why a picture is not an image regardless of its pixels, or None."""
        composed = unicodedata.normalize("NFC", key)
        lower = composed.lower()
        for base in bases_of(lower):
            addition = lower[len(base) :]
            times = self.additions[addition]
            if base in self.masks:
                return f"its name is that of the mask {self.masks[base]} and {addition!r}"
            if base in self.images and (word := self._telling(composed[len(base) :], MADE_FROM, MASK_WORD)):
                return f"its name is that of the image {self.images[base]} and {addition!r}, which says {word!r}"
            common = times >= max(_COMPANIONS, _COMMON_SHARE * self.pairs)
            if base in self.paired and common and words_of(addition):
                return f"{times:,} images have a picture with {addition!r} beside them"
        may_tell = key in self.names or self.folders[_folder(key)]
        return self._made_from(key, composed) if may_tell else None

    def _made_from(self, key: str, composed: str) -> str | None:
        """Evidence from words before an image's name, in a folder's name or anywhere in the path, or None."""
        for base, addition in _prefixes(composed):
            path = self.images.get(base.lower())
            if path is not None and (word := self._telling(addition, MADE_FROM, MASK_WORD)):
                return f"its name is {addition!r}, which says {word!r}, and that of the image {path}"
        folder = _folder(key)
        original = self._same_name_elsewhere(composed.lower(), folder)
        if original is not None:
            word = self._telling(folder, MADE_FROM, MASK_WORD)
            return f"its folder says {word!r} and its name is that of the image {original}"
        word = self._telling(key, CERTAIN)
        return None if word is None else f"its path says {word!r}"

    def companion(self, key: str) -> str | None:
        """Why a mask without an image is a picture made from another mask, or None."""
        composed = unicodedata.normalize("NFC", key)
        for base in bases_of(composed.lower()):
            addition = composed[len(base) :]
            if base in self.masks and self._telling(addition, MADE_FROM):
                return f"its name is that of the mask {self.masks[base]} and {addition.lower()!r}"
        return None

    def mask_word(self, key: str) -> str | None:
        """A word for masks in a path that the dataset's images do not have."""
        return self._telling(key, MASK_WORD) if key in self.names or self.folders[_folder(key)] else None

    def _same_name_elsewhere(self, key: str, folder: str) -> str | None:
        """The image with the same name as a picture in a folder with a telling name, or None.

        An image without a mask must have the picture's path without that folder, or with another folder instead.
        """
        places = self.folders[folder]
        if not places:
            return None
        if (stem := _stem(key)) in self.stems:
            return self.stems[stem]
        parts = key.split("/")
        candidates = ("/".join([*parts[:at], *put, *parts[at + 1 :]]) for at in places for put in ((), ("*",)))
        return next((self.siblings[name] for name in candidates if name in self.siblings), None)

    def _telling_parts(self, folder: str) -> list[int]:
        """Which folders in a path have names showing that their files were made from images."""
        parts = folder.split("/") if folder else []
        return [place for place, part in enumerate(parts) if self._telling(part, MADE_FROM, MASK_WORD)]

    def _telling(self, text: str, *patterns: str) -> str | None:
        """The first word that matches one of the patterns and is not common in images."""
        unusual = [word for word in words_of(text) if word not in self.usual]
        return next((word for pattern in patterns for word in unusual if is_word(word, pattern)), None)


def _usual_words(paths: pl.Series, share: float) -> set[str]:
    """Words that at least a share of the paths have; of many paths, an evenly spaced selection is used."""
    sample = paths.gather_every(max(len(paths) // _SAMPLE, 1)).to_list()
    counts = Counter(word for path in sample for word in set(words_of(path.rpartition(".")[0])))
    return {word for word, count in counts.items() if count >= share * len(sample)}


def _with_plain(files: pl.DataFrame) -> pl.DataFrame:
    """Add `plain`, the result of `plain` for the key; letters without accents are already composed."""
    key = pl.col("key")
    is_ascii = files.select((key.str.len_bytes() == key.str.len_chars()).all()).item()
    return files.with_columns(plain=(key if is_ascii else key.str.normalize("NFC")).str.to_lowercase())


def _stem(key: str) -> str:
    return key.rpartition("/")[2]


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def bases_of(key: str) -> Iterator[str]:
    """Keys that this key may extend: all that end before a separator in its last part."""
    start = key.rfind("/") + 1
    for found in reversed(list(_SEPARATOR.finditer(key, start + 1))):
        yield key[: found.start()]


def _prefixes(key: str) -> Iterator[tuple[str, str]]:
    """Keys that this key may be derived from by words before its last part, and those words."""
    start = key.rfind("/") + 1
    for found in _SEPARATOR.finditer(key, start + 1):
        if found.end() < len(key):
            yield key[:start] + key[found.end() :], key[start : found.end()]


def mask_word_of(text: str) -> str | None:
    """The first word of a text that means masks, or None."""
    return next((word for word in words_of(text) if is_word(word, MASK_WORD)), None)
