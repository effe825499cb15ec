"""The rest of a name without the texts that many names share.

Names that belong together differ only slightly: in a folder (`img` and `gt`), a part of the name (`_image`,
`_label`), or both. So each text that many names share is cut out of each name in turn: at most one from its
folders (or all of them) and one from its stem.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from histods.dataset.layouts.patterns import as_literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ANY_FOLDERS = "\0/"
"""Placeholder in a literal for folders that differ between pairs."""

_SHARE_OF_FREQUENT = 0.01
_LONGEST_RUN = 3
_WORD = re.compile(r"[^\W\d_]+|\d+")
_PADDING = re.compile(r"(?<!\d)0+(?=\d)")


class Cut(NamedTuple):
    """A text cut out of a name.

    Attributes:
        place: its position in the rest of the name.
        text: the text.
        literal: its replacement in a pattern.
        parts, characters: its cost: parts of folders, characters of stems.
    """

    place: int
    text: str
    literal: str
    parts: int
    characters: int


class Reading(NamedTuple):
    """The texts cut out of the name of one file (`file`: its row)."""

    file: int
    suffix: str
    cuts: tuple[Cut, ...]

    def text(self) -> str:
        """All texts that were cut out, separated by a zero character."""
        return "\0".join(cut.text for cut in self.cuts)

    def literals(self) -> dict[int, str]:
        """The literals of a pattern for the texts that were cut out, by position."""
        literals: dict[int, str] = {}
        for cut in self.cuts:
            literals[cut.place] = literals.get(cut.place, "") + cut.literal
        return literals

    def has_any_folders(self) -> bool:
        """Whether all folders were cut out, regardless of their names."""
        return any(cut.literal == ANY_FOLDERS for cut in self.cuts)


def frequent_texts(keys: Sequence[str]) -> set[str]:
    """Texts of up to three consecutive words that one in a hundred names has, and at least two."""
    runs = Counter(run for key in keys for run in {run for part in key.split("/") for run in _runs(part)})
    return {run for run, count in runs.items() if count >= max(2, _SHARE_OF_FREQUENT * len(keys))}


def cut_names(key: str, frequent: set[str]) -> Iterator[tuple[str, tuple[Cut, ...]]]:
    """Yield the rest of a key without one frequent text of its folders, or all of them, and one of its stem.

    The rest is in lower case and has no zeros before numbers, so images and masks whose names differ only in these
    match.
    """
    folders, slash, stem = key.rpartition("/")
    folders += slash
    in_folders: list[Cut] = []
    start = 0
    for folder in folders.split("/")[:-1]:
        in_folders += _cuts(folder, start, frequent, is_folder=True)
        start += len(folder) + 1
    heads = _without_each(folders, in_folders)
    if slash:
        parts = folders.count("/")
        heads.append(("", (Cut(0, folders, ANY_FOLDERS, 2 * parts + 1, 0),)))
        if parts > 1:
            heads.append(("", (Cut(0, folders, as_literal(folders), parts, 0),)))
    tails = _without_each(stem, _cuts(stem, 0, frequent, is_folder=False))
    for (head, from_folders), (tail, from_stem) in product(heads, tails):
        if head or tail:
            shifted = tuple(cut._replace(place=cut.place + len(head)) for cut in from_stem)
            yield head + tail, from_folders + shifted


@lru_cache(maxsize=65536)
def _plain(text: str) -> str:
    """A text in lower case, without zeros before numbers."""
    return _PADDING.sub("", text).lower()


def _runs(part: str) -> dict[str, tuple[int, int]]:
    """Texts of up to three consecutive words in the name of a folder or file, with the last position of each.

    They include the whole name, and its end from each word on, such as `-annotation-1-by-1-tag-0`.
    """
    words = [found.span() for found in _WORD.finditer(part)]
    spans = [
        (words[first][0], words[last][1])
        for first in range(len(words))
        for last in {*range(first, min(first + _LONGEST_RUN, len(words))), len(words) - 1}
    ]
    return {part[start:end]: (start, end) for start, end in spans} | {part: (0, len(part))}


def _without_each(text: str, cuts: Sequence[Cut]) -> list[tuple[str, tuple[Cut, ...]]]:
    """A text unchanged, and without each of the cuts, whose positions refer to the unchanged text."""
    left: list[tuple[str, tuple[Cut, ...]]] = [(_plain(text), ())]
    for cut in cuts:
        before, after = _plain(text[: cut.place]), _plain(text[cut.place + len(cut.text) :])
        left.append((before + after, (cut._replace(place=len(before)),)))
    return left


def _cuts(part: str, offset: int, frequent: set[str], *, is_folder: bool) -> list[Cut]:
    """The frequent texts of a folder or stem, each with one adjacent separator; a whole folder with its slash."""
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
        text = f"{part}/"[start:end]
        parts, characters = (int(run != part), 0) if is_folder else (0, end - start)
        cuts.append(Cut(offset + start, text, as_literal(text), parts, characters))
    return cuts
