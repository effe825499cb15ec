"""Files that histods writes, recognised by their names: in a dataset's folder, they are not part of the dataset.

Only the files themselves are skipped, never a whole folder: all other files in it belong to the dataset.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MASKS = "remap.json"
"""Marks a folder of remapped masks."""
_MASKS_KEYS = {"map_digest", "manifest_digest"}
_MARK_BYTES = 4096  # more than the size of the mark

# Files that identify each kind of folder, and the paths below it that histods writes.
_KINDS = (
    (
        ("audit.json", "manifest.parquet"),
        (
            r"(manifest|findings|measurements|split)\.parquet|findings\.csv|audit\.(json|journal)|report\.html"
            r"|remap/[^/]+\.(parquet|json)"
            r"|charts/([^/]+-(percent|percent-log|images|cooccurrence|split)|findings|sizes|groups)\.(png|svg|pdf|csv)"
            r"|fixes/[^/]+\.jsonl"
            r"|runs/[^/]+/(config\.yaml|metrics\.jsonl|samples/step-\d+\.png|(checkpoints|autoencoder|tensorboard)/.+)"
        ),
    ),
    (("shards.json", "index.parquet"), r"[^/]+\.tar|shards\.json|index\.parquet|unfinished\.json|parts/[^/]+"),
    (
        ("latents.json", "index.parquet"),
        r"[^/]+\.safetensors|latents\.json|index\.parquet|unfinished\.json|parts/[^/]+|autoencoder/[^/]+",
    ),
    (("samples.json", "contact_sheet.png"), r"samples\.json|contact_sheet\.png|pairs\.csv"),
)
_MARKS = {MASKS, *(name for names, _ in _KINDS for name in names)}
_PATTERNS = {names: re.compile(pattern) for names, pattern in _KINDS}


class OwnFolder:
    """A folder with files that histods wrote.

    Attributes:
        prefix: its path below the root, with a slash at the end.
        passed_over: number of its files that histods wrote.
        copies: paths of PNG files in a folder of remapped masks, which may be copies of masks of this dataset.
    """

    def __init__(self, prefix: str, pattern: re.Pattern[str] | None) -> None:
        self.prefix = prefix
        self.passed_over = 0
        self.copies: list[str] = []
        self._pattern = pattern

    def take(self, path: str) -> bool:
        """Whether histods wrote a file below the root, or it is a copy that `settle` decides about."""
        rest = path[len(self.prefix) :]
        if self._pattern is None:
            self.copies += [path] if rest.endswith(".png") else []
            return rest == MASKS or rest.endswith(".png")
        taken = self._pattern.fullmatch(rest) is not None
        self.passed_over += taken
        return taken

    def settle(self, stems: Iterable[str]) -> list[str]:
        """The copies that do belong to the dataset.

        A remapped mask has the path of the mask that it was made from. If that is not in this dataset, the folder
        holds the dataset's own masks, to which images were added.

        Args:
            stems: paths of the other files of the dataset, without suffixes.
        """
        if self._pattern is not None:
            return []
        known = frozenset(stems)
        others = [path for path in self.copies if path[len(self.prefix) : -len(".png")] not in known]
        self.passed_over = len(self.copies) - len(others)
        return others if self.passed_over else [*others, self.prefix + MASKS]


def own_folder(folder: str, prefix: str, entries: Iterable[os.DirEntry[str]]) -> OwnFolder | None:
    """The files that histods wrote in a folder, recognised by marker files; None if there are none.

    Args:
        folder: its path.
        prefix: its path below the root, with a slash at the end.
        entries: its entries.
    """
    marks = {entry.name for entry in entries if entry.name in _MARKS}
    for names, pattern in _PATTERNS.items() if marks else ():
        if marks.issuperset(names):
            return OwnFolder(prefix, pattern)
    return OwnFolder(prefix, None) if MASKS in marks and _is_mark(f"{folder}/{MASKS}") else None


def _is_mark(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it may be a pipe
        try:
            document = json.loads(os.read(descriptor, _MARK_BYTES))
        finally:
            os.close(descriptor)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.keys() == _MASKS_KEYS


def stems_of(paths: Sequence[str]) -> Iterable[str]:
    """Paths without their suffixes."""
    return (path[: path.rfind(".")] if path.rfind(".") > path.rfind("/") else path for path in paths)
