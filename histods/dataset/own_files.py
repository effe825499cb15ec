"""Files that histods writes, known by their names: where they lie in a dataset, they are no part of it.

Only the files themselves are passed over, never a folder: whatever else lies among them belongs to the dataset.
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
_MARK_BYTES = 4096  # more than the mark has

# Files that stand together in a folder of a kind, and the paths below that folder which histods writes.
_KINDS = (
    (
        ("audit.json", "manifest.parquet"),
        (
            r"(manifest|findings|measurements|split)\.parquet|findings\.csv|audit\.(json|journal)|remap/[^/]+\.(parquet|json)"
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
    """A folder in which histods has written.

    Attributes:
        prefix: its path below the root, with a slash at the end.
        passed_over: how many of its files are histods' own.
        copies: paths of PNG files in a folder of remapped masks, which may be copies of masks of this dataset.
    """

    def __init__(self, prefix: str, pattern: re.Pattern[str] | None) -> None:
        self.prefix = prefix
        self.passed_over = 0
        self.copies: list[str] = []
        self._pattern = pattern

    def take(self, path: str) -> bool:
        """Whether a file below the root is histods' own, or a copy that `settle` decides about."""
        rest = path[len(self.prefix) :]
        if self._pattern is None:
            self.copies += [path] if rest.endswith(".png") else []
            return rest == MASKS or rest.endswith(".png")
        taken = self._pattern.fullmatch(rest) is not None
        self.passed_over += taken
        return taken

    def settle(self, stems: Iterable[str]) -> list[str]:
        """The files that belong to the dataset after all.

        A remapped mask has the path of the mask that it was made from. Where that is not in this dataset, the
        folder holds the dataset's own masks: somebody has put images beside them.

        Args:
            stems: paths of the other files of the dataset without their suffixes.
        """
        if self._pattern is not None:
            return []
        known = frozenset(stems)
        others = [path for path in self.copies if path[len(self.prefix) : -len(".png")] not in known]
        self.passed_over = len(self.copies) - len(others)
        return others if self.passed_over else [*others, self.prefix + MASKS]


def own_folder(folder: str, prefix: str, entries: Iterable[os.DirEntry[str]]) -> OwnFolder | None:
    """What histods wrote in a folder, by its marks; None where there are none.

    Args:
        folder: where it is.
        prefix: its path below the root, with a slash at the end.
        entries: what is in it.
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
