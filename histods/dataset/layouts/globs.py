"""Names with `*` for folders that differ from pair to pair, such as one folder of images per patient."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from histods.dataset.layouts.cuts import ANY_FOLDERS
from histods.dataset.layouts.patterns import ANY, as_literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FEW_FOLDERS = 4


def name_folders(
    patterns: tuple[str, str], images: Sequence[str], masks: Sequence[str], keys: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Replace `ANY_FOLDERS` by the names of folders if there are few, else by a text with `*` where they differ.

    Args:
        patterns: the patterns of images and of masks; one of them has `ANY_FOLDERS` once.
        images: keys of the images that pair.
        masks: keys of their masks.
        keys: keys of all pictures.
    """
    side = int(ANY_FOLDERS in patterns[1])
    folders = {_folder(key) for key in (images, masks)[side]}
    others = {_folder(key) for key in keys} - folders
    named = [patterns[side].replace(ANY_FOLDERS, text) for text in _texts(folders, others)]
    return tuple((patterns[0], text) if side else (text, patterns[1]) for text in named)


def _folder(key: str) -> str:
    """The folders of a key with the trailing slash."""
    return key[: key.rfind("/") + 1]


def _texts(folders: set[str], others: set[str]) -> list[str]:
    """Texts that match all of the folders, and none of the others if the folders are few."""
    by_depth: defaultdict[int, list[str]] = defaultdict(list)
    for folder in sorted(folders):
        by_depth[folder.count("/")].append(folder)
    texts = [_generalise(same_depth) for _, same_depth in sorted(by_depth.items())]
    if len(folders) <= _FEW_FOLDERS and any(_stands_for(text, others) for text in texts):
        return [as_literal(folder) for folder in sorted(folders)]
    return texts


def _generalise(folders: Sequence[str]) -> str:
    """One text for folders of one depth: the common start and end of names at each depth, with `*` between."""
    texts = []
    for names in zip(*(folder.split("/") for folder in folders), strict=True):
        if len(set(names)) == 1:
            texts.append(as_literal(names[0]))
            continue
        start = re.sub(r"\d+$", "", _common_start(names))
        backwards = [name[len(start) :][::-1] for name in names]
        end = re.sub(r"^\d+", "", _common_start(backwards)[::-1])
        texts.append(as_literal(start) + ANY + as_literal(end))
    return "/".join(texts)


def _common_start(texts: Sequence[str]) -> str:
    """The common start of all texts."""
    first, last = min(texts), max(texts)
    differ = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differ, min(len(first), len(last)))]


def _stands_for(text: str, folders: Iterable[str]) -> bool:
    """Whether a text with `*` also matches one of other folders."""
    expression = re.compile("[^/]*".join(re.escape(part) for part in text.split(ANY)))
    return any(expression.fullmatch(folder) for folder in folders)
