"""Candidates for a layout, with the pairs that each makes and the evidence from the pictures themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import polars as pl

from histods.dataset.layouts.names import name_roles
from histods.dataset.layouts.pattern_search import candidates
from histods.dataset.layouts.patterns import IMAGE_SUFFIXES
from histods.dataset.layouts.roles import SPLIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from histods.dataset.layouts.names import Layout
    from histods.dataset.layouts.pattern_search import Candidate

    Look = Callable[[str], Literal["photograph", "mask"] | None]

SURE = 0.5
"""Candidates with a larger weight may be used without asking."""

_FILES_LOOKED_AT = 6
_CONFIRMED, _CONTRADICTED = 0.9, 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Option:
    """A candidate and its pairs.

    Attributes:
        candidate: its patterns.
        weight: 0..1, the confidence from words and pictures that its images are images and its masks are masks.
        pairs: identity of each pair (see `identify`) -> its image and its mask.
        images, masks: number of files that the patterns match.
    """

    candidate: Candidate
    weight: float
    pairs: dict[str, tuple[str, str]]
    images: int
    masks: int

    @property
    def merit(self) -> float:
        """The number of pairs, reduced if words and pictures leave doubt."""
        return len(self.pairs) * self.weight

    def is_sure(self) -> bool:
        """Whether it may be used without asking: half of the images or masks that it matches have a partner."""
        return self.weight > SURE and 2 * len(self.pairs) >= min(self.images, self.masks)

    def without(self, taken: set[str]) -> Option:
        """The option without the pairs whose identity, image or mask is in `taken`."""
        left = {name: pair for name, pair in self.pairs.items() if not {name, *pair} & taken}
        return replace(self, pairs=left)


def pairs_of(pictures: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, int, int]:
    """The images and masks that a layout pairs one to one, and the number of images and masks that it matches.

    Args:
        pictures: `path`, `key`, `suffix`.
        layout: how they are named.

    Returns:
        A table of `link`, `image` and `mask`, and the two numbers.
    """
    named = name_roles(pictures, layout)
    if layout.kind == "pattern" and len(layout.patterns()) > 1:  # links begin with the number of the alternative
        named = named.with_columns(pl.col("link").str.replace(r"^[0-9]+\x00", "").alias("key"))
    else:
        named = named.with_columns(key="link")
    sides = []
    for role in ("image", "mask"):
        side = named.filter(pl.col("role") == role)
        sides.append(side.select("link", "key", pl.col("path").alias(role)))
    single = [side.filter(~pl.col("link").is_duplicated()) for side in sides]
    joined = single[0].join(single[1], on="link").select(link="key", image="image", mask="mask")
    return joined, len(sides[0]), len(sides[1])


def identify(pairs: pl.DataFrame) -> dict[str, tuple[str, str]]:
    """Identify each pair by the folder that holds both files and by the common part of their names.

    Two patterns that pair files of one patch (an image and its normalised copy with two masks) give both pairs the
    same identity; patches in two folders or splits have different ones, even if their names are equal.
    """
    identities: dict[str, tuple[str, str]] = {}
    for link, image, mask in pairs.select("link", "image", "mask").iter_rows():
        name = _identity(link, image, mask)
        identities[f"{name}:{image}" if name in identities else name] = image, mask
    return identities


def _identity(link: str, image: str, mask: str) -> str:
    parts = []
    for one, other in zip(image.split("/")[:-1], mask.split("/")[:-1], strict=False):
        if one != other:
            break
        parts.append(one)
    folder = "/".join(parts)
    name = link.replace("\0", "/")
    splits = "+".join(sorted(set(SPLIT.findall(image.lower()))))
    return f"{splits}:{folder}/{name.removeprefix(folder + '/')}".lower()


def find_options(sample: pl.DataFrame, look: Look | None) -> list[Option]:
    """The candidates that pair at least two images, best first; among equals, the one with the lowest cost.

    Args:
        sample: `path`, `key`, `suffix` of at most a few thousand pictures.
        look: tells whether a picture is a photograph or a mask; without it only names are used.
    """
    options: dict[frozenset[tuple[str, str]], Option] = {}
    for candidate in candidates(sample):
        pairs, images, masks = pairs_of(sample, candidate.layout())
        if len(pairs) < 2:
            continue
        option = Option(
            candidate=candidate, weight=candidate.weight, pairs=identify(pairs), images=images, masks=masks
        )
        weighed = option if look is None else _weigh_by_looks(option, look)
        if weighed is None or (look is None and candidate.told_by == "nothing"):
            continue
        same = frozenset(weighed.pairs.values())
        if same not in options or _order(weighed) < _order(options[same]):
            options[same] = weighed
    return sorted(options.values(), key=_order)


def _order(option: Option) -> tuple[float, tuple[int, int], tuple[tuple[str, str], ...]]:
    return -option.merit, option.candidate.cost, option.candidate.patterns


def _weigh_by_looks(option: Option, look: Look) -> Option | None:
    """Adjust the weight by the pictures; None if the images are not photographs, or the masks are."""
    images, masks = (_most(side, look) for side in zip(*sorted(option.pairs.values()), strict=True))
    told_by = option.candidate.told_by
    if told_by == "nothing":
        if (images, masks) == ("mask", "photograph"):
            return _turn(option)
        return replace(option, weight=_CONFIRMED) if (images, masks) == ("photograph", "mask") else None
    if images == "mask" or (masks == "photograph" and told_by != "mask"):
        return None
    if masks == "photograph":
        return replace(option, weight=option.weight * _CONTRADICTED)
    if (images, masks) == ("photograph", "mask"):
        weight = _CONFIRMED if told_by != "mask" else option.weight
        # Coloured masks and masks of instances are used only if nothing competes with them.
        return replace(option, weight=1.5 * weight if weight < SURE else weight)
    return option


def _turn(option: Option) -> Option | None:
    """The option with images and masks swapped; None if its masks cannot be images."""
    turned = {name: (mask, image) for name, (image, mask) in option.pairs.items()}
    if not all(image.lower().endswith(IMAGE_SUFFIXES) for image, _ in turned.values()):
        return None
    return replace(option, candidate=option.candidate.turned(), pairs=turned, weight=_CONFIRMED)


def _most(paths: Sequence[str], look: Look) -> Literal["photograph", "mask"] | None:
    """What the majority of some files, chosen at equal intervals, look like."""
    step = max(1, len(paths) // _FILES_LOOKED_AT)
    looks = [look(path) for path in sorted(paths)[::step][:_FILES_LOOKED_AT]]
    for kind in ("photograph", "mask"):
        if 2 * looks.count(kind) > len(looks):
            return kind
    return None
