"""Choose the files that a fix moves, and the samples that stay, from the manifest, the findings and the links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from histods.dataset.scan import list_folder
from histods.io.overlap import Pace, overlap
from histods.moves.execute import Move, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LINKED = "they are links, or links lead to them"
OUTSIDE = "they lie outside the dataset's folder; audit that folder by itself to move them"
UNOPENED = "the audit could not open a file of theirs; see its finding"
EXCLUDED = "they have errors too; fix or move those first"
KEPT = "one of each set of equal images is kept"
SHARED = "their masks are used by other images, too, and stay; the images move"

_RANKS = {"conditional": 0, "unconditional": 1, "excluded": 2}


class Links:
    """The links below a folder, and their targets; neither are safe to move.

    A link's target may be relative to the link, and moving the target would break the link.
    """

    def __init__(self, root: str) -> None:
        self._unsafe: set[str] = set()
        waiting, pace = [root], Pace()
        while waiting:
            listed, waiting = overlap(list_folder, waiting, pace), []
            for entries in listed:
                # The audit could not list such a folder either, so its files have no rows.
                for entry in () if isinstance(entries, OSError) else entries:
                    if entry.is_symlink():
                        self._add(entry.path)
                    elif entry.is_dir() and entry.name[0] != ".":  # hidden ones are no part of the dataset
                        waiting.append(entry.path)

    def _add(self, link: str) -> None:
        self._unsafe.add(link)
        target = os.path.realpath(link)
        if not link.startswith(target.rstrip("/") + "/"):  # the audit skips a link to a folder above it
            self._unsafe.add(target)

    def touch(self, path: str) -> bool:
        """Whether a file is a link, is reached through one, or is the target of one."""
        while self._unsafe and path != "/":
            if path in self._unsafe:
                return True
            path = path.rpartition("/")[0] or "/"
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """Samples with the finding that stay, with the reason, and the path of the first of them."""

    reason: str
    samples: int
    first: str


class Choice(NamedTuple):
    """The files that move, and the samples that stay; `samples` counts samples with a file that moves."""

    samples: int
    moves: list[Move]
    stays: tuple[Stay, ...]


class _Sample(NamedTuple):
    """The relevant columns of the manifest; `row` is the row number."""

    row: int
    key: str
    role: str
    image_path: str | None
    image_bytes: int | None
    image_mtime_ns: int | None
    mask_path: str | None
    mask_bytes: int | None
    mask_mtime_ns: int | None
    image_digest: str | None

    def files(self) -> list[tuple[str, int, int]]:
        """Path, size and time of the image and the mask, if they exist."""
        image = (self.image_path, self.image_bytes or 0, self.image_mtime_ns or 0)
        mask = (self.mask_path, self.mask_bytes or 0, self.mask_mtime_ns or 0)
        return [(path, size, time) for path, size, time in (image, mask) if path is not None]


def choose_files(
    code: str, manifest: pl.DataFrame, findings: pl.DataFrame, *, root: str, to: str, masks_to: str
) -> Choice:
    """Choose the images and masks of all samples with a finding; pairs stay together.

    Exceptions: among equal images the best sample stays (conditional before unconditional before excluded, then
    the first by key); a mask that a staying sample also uses stays; `zero_mask` does not move samples with errors.

    Args:
        code: code of the finding.
        manifest: the manifest's table.
        findings: columns `key`, `path`, `code`.
        root: the dataset's folder, without links in it.
        to: the target folder of images, which keep their path below the root.
        masks_to: the target folder of masks.
    """
    rows = manifest.with_row_index("row").select(*_Sample._fields)
    flagged, strangers = _find_samples(rows, findings.filter(pl.col("code") == code))
    links = Links(root)
    stays = {LINKED: strangers}
    able: list[_Sample] = []
    unable: list[_Sample] = []
    for sample in flagged:
        reason = _why_it_stays(sample, code, root, links)
        (able if reason is None else unable).append(sample)
        if reason is not None:
            stays.setdefault(reason, []).append(sample.files()[0][0])
    if code == "duplicate_image":
        kept = _best_of_equals(able, unable)
        stays[KEPT] = [sample.files()[0][0] for sample in able if sample.row in kept]
        able = [sample for sample in able if sample.row not in kept]
    held = _files_of_others(rows, able)
    moves: dict[str, Move] = {}
    for sample in able:
        for path, size, time in sample.files():
            if path in held:
                stays.setdefault(SHARED, []).append(path)
            else:
                folder = masks_to if path == sample.mask_path else to
                moves.setdefault(path, Move(f"{root}/{path}", f"{folder}/{path}", size, time))
    return Choice(
        sum(any(file[0] in moves for file in sample.files()) for sample in able),
        list(moves.values()),
        tuple(
            Stay(reason=reason, samples=len(paths), first=min(paths)) for reason, paths in stays.items() if paths
        ),
    )


def _find_samples(rows: pl.DataFrame, findings: pl.DataFrame) -> tuple[list[_Sample], list[str]]:
    """Samples with a finding for one of their files, and paths of findings that belong to no sample."""
    named = findings.select("key", "path").unique()
    hits = [
        rows.join(named, left_on=["key", column], right_on=["key", "path"], how="semi")
        for column in ("image_path", "mask_path")
    ]
    flagged = pl.concat(hits).unique("row").sort("row")
    known = pl.concat([flagged["image_path"], flagged["mask_path"]]).drop_nulls()
    strangers = named.filter(~pl.col("path").is_in(known.implode()))
    return [_Sample(*row) for row in flagged.iter_rows()], strangers["path"].to_list()


def _why_it_stays(sample: _Sample, code: str, root: str, links: Links) -> str | None:
    files = sample.files()
    if any(path.startswith("../") for path, _, _ in files):
        return OUTSIDE
    if any(links.touch(f"{root}/{path}") for path, _, _ in files):
        return LINKED
    if any(size == time == 0 and state_of(f"{root}/{path}") != (0, 0) for path, size, time in files):
        return UNOPENED
    if code == "zero_mask" and sample.role == "excluded":
        return EXCLUDED
    return None


def _best_of_equals(able: Iterable[_Sample], unable: Iterable[_Sample]) -> set[int]:
    """Rows that stay so that one of each set of equal images stays; it may be one that cannot move."""
    best: dict[str | None, tuple[int, bool, int]] = {}
    for samples, moves in ((unable, False), (able, True)):
        for sample in samples:
            rank = (_RANKS[sample.role], moves, sample.row)
            best[sample.image_digest] = min(rank, best.get(sample.image_digest, rank))
    return {row for _, _, row in best.values()}


def _files_of_others(rows: pl.DataFrame, moving: Sequence[_Sample]) -> set[str]:
    """Files of moving samples that staying samples also use: masks that a CSV file assigns to several images."""
    others = rows.filter(~pl.col("row").is_in([sample.row for sample in moving]))
    used = pl.concat([others["image_path"], others["mask_path"]]).drop_nulls()
    here = {path for sample in moving for path, _, _ in sample.files()}
    return here.intersection(used.to_list())
