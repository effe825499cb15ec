"""Find patterns for files whose names follow no layout.

Two files whose names are equal without the texts that many names share (see `cuts`) are a possible pair. The texts
that were cut out, and their positions, give a pattern for images and one for masks. Words tell which is which; if
not, only the pictures themselves can.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from histods.dataset.layouts.cuts import ANY_FOLDERS, Reading, cut_names, frequent_texts
from histods.dataset.layouts.globs import name_folders
from histods.dataset.layouts.names import layout_of
from histods.dataset.layouts.patterns import KEY, split_pattern
from histods.dataset.layouts.roles import UNKNOWN, Role, tell_roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import polars as pl

    from histods.dataset.layouts.names import Layout
    from histods.dataset.layouts.roles import ToldBy

_LARGEST_FAMILY = 24
_MAX_CANDIDATES, _MAX_UNKNOWN = 24, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Patterns that may pair images and masks.

    Attributes:
        patterns: the pattern of images and of masks of each alternative.
        weight: 0..1, the confidence from words that its images are images and its masks are masks.
        told_by: what distinguishes images from masks, see `Role`.
        cost: how much the patterns cut out of the names (parts of folders, characters of stems); of patterns that
            pair the same files, the cheapest is used.
    """

    patterns: tuple[tuple[str, str], ...]
    weight: float
    told_by: ToldBy
    cost: tuple[int, int]

    def layout(self) -> Layout:
        """The layout of these patterns."""
        return layout_of(self.patterns)

    def turned(self) -> Candidate:
        """The candidate with images and masks swapped."""
        return Candidate(
            patterns=tuple((masks, images) for images, masks in self.patterns),
            weight=self.weight,
            told_by=self.told_by,
            cost=self.cost,
        )


@dataclass(frozen=True, slots=True)
class _Match:
    """An image and a mask whose names have the same rest, with their patterns (without file suffix)."""

    image: Reading
    mask: Reading
    role: Role
    image_stem: str
    mask_stem: str

    @property
    def cost(self) -> tuple[int, int]:
        """The cost of the cuts in both names."""
        cuts = (*self.image.cuts, *self.mask.cuts)
        return sum(cut.parts for cut in cuts), sum(cut.characters for cut in cuts)


def candidates(files: pl.DataFrame) -> list[Candidate]:
    """Patterns that may pair the files, the most promising first; those of unknown roles last.

    Args:
        files: `key` and `suffix` of at most a few thousand pictures.
    """
    keys, suffixes = files["key"].to_list(), files["suffix"].to_list()
    groups: defaultdict[tuple[str, ...], list[_Match]] = defaultdict(list)
    for match in _matches(keys, suffixes):
        stems = (match.image_stem, match.mask_stem)
        by_suffix = stems[0] == stems[1] or any(split_pattern(stem)[1] for stem in stems)
        groups[(*stems, match.image.suffix, match.mask.suffix) if by_suffix else stems].append(match)
    ranked = []
    for matches in _with_suffixes_apart(groups.values()):
        candidate = _candidate(matches, keys)
        if candidate is not None:
            images = len({match.image.file for match in matches})
            ranked.append((-images * candidate.weight, candidate.cost, candidate.patterns, candidate))
    ranked.sort(key=lambda entry: entry[:3])
    found = [candidate for *_, candidate in ranked]
    known = [candidate for candidate in found if candidate.weight > UNKNOWN]
    unknown = [candidate for candidate in found if candidate.weight <= UNKNOWN]
    return known[:_MAX_CANDIDATES] + unknown[:_MAX_UNKNOWN]


def _with_suffixes_apart(groups: Iterable[list[_Match]]) -> Iterator[list[_Match]]:
    """The groups; a group in which pictures of several formats share a name is also yielded per format."""
    for matches in groups:
        yield matches
        images, masks = {match.image.file for match in matches}, {match.mask.file for match in matches}
        if len(images) != len(masks):
            by_suffix: defaultdict[tuple[str, str], list[_Match]] = defaultdict(list)
            for match in matches:
                by_suffix[match.image.suffix, match.mask.suffix].append(match)
            yield from by_suffix.values() if len(by_suffix) > 1 else ()


def _candidate(matches: list[_Match], keys: Sequence[str]) -> Candidate | None:
    """The patterns on which matches agree, with a file suffix if all have the same.

    None if images of several folders claim one mask, for example patches of two slides with the same numbers.
    """
    image_suffixes = {match.image.suffix for match in matches}
    mask_suffixes = {match.mask.suffix for match in matches}
    image_stem, mask_stem = matches[0].image_stem, matches[0].mask_stem
    image_end = image_suffixes.pop() if len(image_suffixes) == 1 else ""
    mask_end = mask_suffixes.pop() if len(mask_suffixes) == 1 else ""
    patterns: tuple[tuple[str, str], ...] = ((image_stem + image_end, mask_stem + mask_end),)
    if ANY_FOLDERS in image_stem + mask_stem:
        both = {(match.image.file, match.mask.file) for match in matches}
        if len({image for image, _ in both}) < len(both) or len({mask for _, mask in both}) < len(both):
            return None
        images, masks = ([keys[file] for file in side] for side in zip(*both, strict=True))
        patterns = name_folders(patterns[0], images, masks, keys)
    role = max((match.role for match in matches), key=lambda role: role.weight)
    return Candidate(
        patterns=patterns,
        weight=role.weight,
        told_by=role.told_by,
        cost=min(match.cost for match in matches),
    )


def _matches(keys: Sequence[str], suffixes: Sequence[str]) -> Iterator[_Match]:
    """All pairs of files with the same rest whose roles follow from words, or may follow from their pixels."""
    frequent = frequent_texts(keys)
    families: defaultdict[str, list[Reading]] = defaultdict(list)
    for file, key in enumerate(keys):
        for remainder, cuts in cut_names(key, frequent):
            families[remainder].append(Reading(file, suffixes[file], cuts))
    for remainder, family in families.items():
        # A rest that many files share is not a name: only the pictures of one patch share the rest of a pair.
        if 1 < len({reading.file for reading in family}) <= _LARGEST_FAMILY:
            for first, second in combinations(family, 2):
                match = _match(remainder, first, second)
                if match is not None:
                    yield match


def _match(remainder: str, first: Reading, second: Reading) -> _Match | None:
    """Pair two readings; None if they are of one file, do not differ, or have no clear roles."""
    if first.file == second.file or (first.has_any_folders() and second.has_any_folders()):
        return None
    if set(first.literals().items()) & set(second.literals().items()):
        return None
    role = tell_roles(first.text(), first.suffix, second.text(), second.suffix)
    if role is None or (role.told_by in ("suffix", "nothing") and _may_name_groups(first, second)):
        return None
    image, mask = (first, second) if role.image_first else (second, first)
    stems = _stems(remainder, image.literals(), mask.literals())
    return None if stems is None else _Match(image, mask, role, *stems)


def _may_name_groups(first: Reading, second: Reading) -> bool:
    """Whether texts without a role may be parts of group names, such as `_a` in `patient_a`."""
    cuts = (*first.cuts, *second.cuts)
    in_both_stems = all(any(cut.characters for cut in one.cuts) for one in (first, second))
    return in_both_stems or any(cut.parts and not cut.text.endswith("/") for cut in cuts)


def _stems(remainder: str, image: dict[int, str], mask: dict[int, str]) -> tuple[str, str] | None:
    """Patterns for images and masks that differ in the given texts, with `{key}` for the rest.

    Adjacent separators belong to a text in both patterns, so `{key}` begins and ends with a word; they also mark
    the position in the name that lacks the text. None if nothing marks it.
    """
    image_pattern = mask_pattern = ""
    done = pieces = 0
    for place in sorted({*image, *mask}):
        left = place - (place > done and not remainder[place - 1].isalnum())
        right = place + (place < len(remainder) and not remainder[place].isalnum())
        before, after = remainder[left:place], remainder[place:right]
        literals = before + image.get(place, "") + after, before + mask.get(place, "") + after
        if left > 0 and right < len(remainder) and not all(literals):
            return None
        gap = KEY if left > done else ""
        pieces += left > done
        image_pattern += gap + literals[0]
        mask_pattern += gap + literals[1]
        done = right
    rest = KEY if done < len(remainder) else ""
    pieces += done < len(remainder)
    stems = image_pattern + rest, mask_pattern + rest
    # A name may hold what a pattern would take for {key}.
    return stems if all(stem.count(KEY) == pieces > 0 for stem in stems) else None
