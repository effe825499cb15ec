"""Find patterns for files whose names follow no layout.

Names that belong together differ in little: a folder (`img` and `gt`), a part of the name (`_image`,
`_label`), or both. So every text that many names have in common is cut out of each name in turn, at most
one of its folders and one of its stem. Two files of which the same is left are a possible pair, and what
was cut out of them, and where, makes a pattern for images and one for masks. Words tell which is which.

A sample of the files is enough, if both files of a pair are in it or neither: names are gathered by
their rarest word, which is never the one that tells an image from its mask.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from histods.layouts.names import KEY, Layout, split_pattern
from histods.layouts.words import Role, tell_roles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SAMPLE = 1000
_SHARE_OF_FREQUENT = 0.01
_LONGEST_RUN = 3
_LARGEST_FAMILY = 24
_MOST_CANDIDATES = 8
_WORD = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Two patterns that may pair images and masks.

    Attributes:
        image_pattern: pattern of images.
        mask_pattern: pattern of masks.
        weight: 0..1, how sure the words are that these are images and those are masks.
        told_by_mask: a word says that the masks are masks, not only that the images are images.
        cost: how much the patterns take out of the names (parts of folders, characters of stems); of
            patterns that pair the same files the one that takes least is meant.
    """

    image_pattern: str
    mask_pattern: str
    weight: float
    told_by_mask: bool
    cost: tuple[int, int]

    def layout(self) -> Layout:
        """The layout that these patterns make."""
        return Layout(kind="pattern", image_pattern=self.image_pattern, mask_pattern=self.mask_pattern)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A text cut out of a name: where it stood in the name, and what it costs (see `Candidate`)."""

    start: int
    text: str
    cost: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was cut out of the name of one file (`file`: its row)."""

    file: int
    suffix: str
    cuts: tuple[_Cut, ...]

    def text(self) -> str:
        """All that was cut out."""
        return "/".join(cut.text for cut in self.cuts)

    def literals(self) -> dict[int, str]:
        """The texts that were cut out, by where they stood in the remainder."""
        literals: dict[int, str] = {}
        gone = 0
        for cut in self.cuts:
            literals[cut.start - gone] = literals.get(cut.start - gone, "") + cut.text
            gone += len(cut.text)
        return literals


@dataclass(frozen=True, slots=True)
class _Match:
    """An image and a mask of whose names the same is left, with patterns (without file suffix) that say so."""

    image: _Reading
    mask: _Reading
    role: Role
    image_stem: str
    mask_stem: str

    @property
    def cost(self) -> tuple[int, int]:
        """What was cut out of both names."""
        costs = [cut.cost for cut in (*self.image.cuts, *self.mask.cuts)]
        return sum(parts for parts, _ in costs), sum(characters for _, characters in costs)


def gather(files: pl.DataFrame) -> pl.DataFrame:
    """Some 1,000 of the files, such that those with the same rarest word are all among them or none is.

    Args:
        files: `path` and `key` of each picture, and more columns.
    """
    if len(files) <= _SAMPLE:
        return files.sort("path")
    files = files.with_columns(family=pl.Series(_rarest_words(files["key"])).hash())
    share = (2**64 - 1) // len(files) * _SAMPLE
    return files.filter(pl.col("family") <= share).sort("family", "path").head(2 * _SAMPLE)


def _rarest_words(keys: pl.Series) -> NDArray[np.uint64]:
    """[keys] A number for the rarest word of each key; 0 for a key without words.

    How many keys have a word is counted by part of the word's hash. Two words may share it, which makes
    both look less rare, but for images and masks alike.
    """
    words = keys.str.extract_all(r"\p{L}+|\p{N}+")
    lengths = words.list.len().to_numpy()
    has_words = lengths > 0
    rarest = np.zeros(len(keys), np.uint64)
    if has_words.any():
        hashes = words.explode().drop_nulls().hash().to_numpy()
        slots = hashes >> np.uint64(40)
        frequency = np.bincount(slots)[slots].astype(np.uint64)
        order = frequency << np.uint64(32) | hashes & np.uint64(0xFFFFFFFF)
        starts = np.cumsum(lengths[has_words], dtype=np.int64) - lengths[has_words]
        rarest[has_words] = np.minimum.reduceat(order, starts)
    return rarest


def candidates(files: pl.DataFrame) -> list[Candidate]:
    """Patterns that may pair the files, the most promising first.

    Args:
        files: `key` and `suffix` of at most a few thousand pictures.
    """
    groups: defaultdict[tuple[str, ...], list[_Match]] = defaultdict(list)
    for match in _matches(files):
        stems = (match.image_stem, match.mask_stem)
        same = match.image_stem == match.mask_stem
        groups[(*stems, match.image.suffix, match.mask.suffix) if same else stems].append(match)
    ranked = []
    for matches in groups.values():
        candidate = _candidate(matches)
        images = len({match.image.file for match in matches})
        ranked.append((-images * candidate.weight, candidate.cost, candidate.image_pattern, candidate))
    return [candidate for *_, candidate in sorted(ranked, key=lambda entry: entry[:3])[:_MOST_CANDIDATES]]


def _candidate(matches: list[_Match]) -> Candidate:
    """The patterns of matches that agree on them; with a file suffix where all have the same."""
    image_suffixes = {match.image.suffix for match in matches}
    mask_suffixes = {match.mask.suffix for match in matches}
    role = max((match.role for match in matches), key=lambda role: role.weight)
    return Candidate(
        image_pattern=matches[0].image_stem + (image_suffixes.pop() if len(image_suffixes) == 1 else ""),
        mask_pattern=matches[0].mask_stem + (mask_suffixes.pop() if len(mask_suffixes) == 1 else ""),
        weight=role.weight,
        told_by_mask=role.told_by_mask,
        cost=min(match.cost for match in matches),
    )


def _matches(files: pl.DataFrame) -> Iterator[_Match]:
    """Every two files of which the same is left and whose roles the words tell."""
    keys, suffixes = files["key"].to_list(), files["suffix"].to_list()
    runs = Counter(run for key in keys for run in {run for part in key.split("/") for run in _runs(part)})
    frequent = {run for run, count in runs.items() if count >= max(2, _SHARE_OF_FREQUENT * len(keys))}
    families: defaultdict[str, list[tuple[int, tuple[_Cut, ...]]]] = defaultdict(list)
    for file, key in enumerate(keys):
        for remainder, cuts in _remainders(key, frequent):
            families[remainder].append((file, cuts))
    for remainder, family in families.items():
        # What is left of many files is no name: that of a pair is left of the pictures of one patch alone.
        if 1 < len({file for file, _ in family}) <= _LARGEST_FAMILY:
            readings = [_Reading(file, suffixes[file], cuts) for file, cuts in family]
            for first, second in combinations(readings, 2):
                match = _match(remainder, first, second)
                if match is not None:
                    yield match


def _match(remainder: str, first: _Reading, second: _Reading) -> _Match | None:
    """Pair two readings, or None where they are of one file, differ in nothing, or have no clear roles."""
    if first.file == second.file or set(first.literals().items()) & set(second.literals().items()):
        return None
    role = tell_roles(first.text(), first.suffix, second.text(), second.suffix)
    if role is None:
        return None
    image, mask = (first, second) if role.image_first else (second, first)
    stems = _stems(remainder, image.literals(), mask.literals())
    return None if stems is None else _Match(image, mask, role, *stems)


def _runs(part: str) -> dict[str, tuple[int, int]]:
    """Texts of up to three words in a row that a folder's or file's name has, and where the last one stands."""
    words = [found.span() for found in _WORD.finditer(part)]
    spans = [
        (words[first][0], words[last][1])
        for first in range(len(words))
        for last in range(first, min(first + _LONGEST_RUN, len(words)))
    ]
    return {part[start:end]: (start, end) for start, end in spans} | {part: (0, len(part))}


def _remainders(key: str, frequent: set[str]) -> Iterator[tuple[str, tuple[_Cut, ...]]]:
    """What is left of a key without one frequent text of its folders, one of its stem, both or neither."""
    folders, slash, stem = key.rpartition("/")
    folders += slash
    in_folders: list[_Cut] = []
    start = 0
    for folder in folders.split("/")[:-1]:
        in_folders += _cuts(folder, start, frequent, is_folder=True)
        start += len(folder) + 1
    heads = _without_each(folders, 0, in_folders)
    tails = _without_each(stem, start, _cuts(stem, start, frequent, is_folder=False))
    for (head, from_folders), (tail, from_stem) in product(heads, tails):
        if head or tail:
            yield head + tail, from_folders + from_stem


def _without_each(text: str, offset: int, cuts: list[_Cut]) -> list[tuple[str, tuple[_Cut, ...]]]:
    """A text that stands at `offset` in a key as it is, and without each of the cuts."""
    left = [(text, ())]
    return left + [
        (text[: cut.start - offset] + text[cut.start - offset + len(cut.text) :], (cut,)) for cut in cuts
    ]


def _cuts(part: str, offset: int, frequent: set[str], *, is_folder: bool) -> list[_Cut]:
    """The frequent texts of a folder or stem, each with one separator beside it; a whole folder with its slash."""
    cuts = []
    for run, (first, last) in _runs(part).items():
        if run not in frequent:
            continue
        if run == part:
            start, end = first, last + is_folder
        else:
            with_left = first > 0 and not part[first - 1].isalnum()
            with_right = not with_left and last < len(part) and not part[last].isalnum()
            start, end = first - with_left, last + with_right
        cost = (int(run != part), 0) if is_folder else (0, end - start)
        cuts.append(_Cut(offset + start, f"{part}/"[start:end], cost))
    return cuts


def _stems(remainder: str, image: dict[int, str], mask: dict[int, str]) -> tuple[str, str] | None:
    """Patterns for images and masks that differ in the given texts and hold `{key}` for all the rest.

    Separators beside a text belong to it in both patterns, so that `{key}` begins and ends with a word;
    they also mark the place in the name that lacks the text. None where nothing marks it.
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
    # A name may hold what a pattern would take for {key} or for the file's suffix.
    fit = all(stem.count(KEY) == pieces > 0 and not split_pattern(stem)[1] for stem in stems)
    return stems if fit else None
