"""The journal of a repair: like that of a fix that moves files, and beside those, under the same names.

The repaired files and the originals are in a folder beside it that has its name without the suffix:

```
fixes/wide_mask-1.jsonl
fixes/wide_mask-1/repaired/      files that are not in their places yet
fixes/wide_mask-1/originals/     files that were replaced
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histods.errors import HistodsError
from histods.io.checked import build, fit, leads_inside, lies_inside, stays_inside
from histods.moves.execute import Folders
from histods.moves.journal import (
    State,
    check_digest,
    from_line,
    is_repair,
    last_state,
    read_content,
    to_line,
    write_lines,
)
from histods.repairs.swap import Places, Swap

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairPlan:
    """The plan of a repair: the header of its journal.

    Attributes:
        code: the finding, or the kind of masks.
        remedy: the remedy that was asked for by name; None for those by default.
        root: the dataset's folder.
        to: the folder of repaired files; the dataset's for a repair in place.
        manifest_digest: digest of the manifest that it was planned from.
        folders: folders that it creates and changes.
    """

    code: str
    remedy: str | None
    root: str
    to: str
    manifest_digest: str
    folders: Folders


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairJournal:
    """A journal that was read: `token` is its digest, which is part of the names of temporary files."""

    path: Path
    plan: RepairPlan
    swaps: list[Swap]
    state: State
    token: str

    @property
    def places(self) -> Places:
        """The folders of the repair."""
        return places_of(self.path, self.plan.root, self.plan.to)


def places_of(journal: Path, root: str, to: str) -> Places:
    """The folders of a repair with this journal."""
    beside = journal.resolve().with_suffix("")
    return Places(root, to, str(beside / "repaired"), str(beside / "originals"))


def changes_dataset(path: Path) -> bool:
    """Whether the fix or repair of a journal changes the dataset; a repair into another folder does not."""
    if not is_repair(path):
        return True
    with path.open("rb") as file:
        header = from_line(file.readline())
    return header.get("to") == header.get("root")


def write_repair_journal(path: Path, plan: RepairPlan, swaps: Sequence[Swap]) -> None:
    """Write the plan, and wait until it is on disk."""
    header = {
        "repair": plan.code,
        "version": VERSION,
        "journal": str(path.resolve()),  # two workspaces never share a digest, nor temporary files
        "remedy": plan.remedy,
        "root": plan.root,
        "to": plan.to,
        "manifest_digest": plan.manifest_digest,
        "files": len(swaps),
        "created": plan.folders.created,
        "touched": plan.folders.touched,
    }
    write_lines(path, to_line(header) + b"".join(to_line(swap._asdict()) for swap in swaps))


def read_repair_journal(path: Path) -> RepairJournal:
    """Read a journal and verify that its plan is unchanged and stays in its folders.

    Raises:
        HistodsError: there is none, or its bytes have changed.
    """
    lines = read_content(path).splitlines(keepends=True)
    try:
        header = build(_Header, from_line(lines[0] if lines else b""))
    except ValueError as error:
        raise HistodsError(
            f"{path} is not the journal of a repair; look for it in the folder fixes of the workspace."
        ) from error
    end = max(header.files, 0) + 1
    token = check_digest(path, lines, end)
    try:
        swaps = [_parse_swap(from_line(line)) for line in lines[1:end]]
        _check_places(header, swaps, places_of(path, header.root, header.to))
    except (KeyError, ValueError) as error:
        raise HistodsError(
            f"{path} does not hold repairs of files in {header.root} ({error}); "
            "histods wrote no such journal: remove that file."
        ) from error
    return RepairJournal(
        path=path,
        plan=RepairPlan(
            code=header.repair,
            remedy=header.remedy,
            root=header.root,
            to=header.to,
            manifest_digest=header.manifest_digest,
            folders=Folders(header.created, header.touched),
        ),
        swaps=swaps,
        state=last_state(lines[end + 1 :]),
        token=token,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """The first line of a journal; see `RepairPlan`. `files` is the number of lines that follow."""

    repair: str
    version: Literal[1]
    journal: str
    remedy: str | None
    root: str
    to: str
    manifest_digest: str
    files: int
    created: list[str]
    touched: dict[str, int]


def _parse_swap(document: dict[str, Any]) -> Swap:
    kinds = (str, str, int, int, int, int)
    swap = Swap(*(fit(document[name], kind, name) for name, kind in zip(Swap._fields, kinds, strict=True)))
    if not stays_inside(swap.path) or not stays_inside(swap.target):
        raise ValueError(f"the file {swap.path!r} elsewhere")
    return swap


def _check_places(header: _Header, swaps: Sequence[Swap], places: Places) -> None:
    """Check that all files and folders are in the dataset, the target folder, or the journal's own folder.

    Raises:
        ValueError: one is elsewhere, or behind a link that leads elsewhere.
    """
    homes = (header.root, header.to, str(Path(places.originals).parent))
    for place in (header.root, header.to):
        if not place.startswith("/") or not stays_inside(place[1:]):
            raise ValueError(f"the folder {place!r}")
    if header.to != header.root and lies_inside(header.to, header.root):
        raise ValueError(f"the folder {header.to} in the dataset")
    folders = {(f"{home}/{name}".rpartition("/")[0], home) for home, name in _files(swaps, places)}
    for folder, home in folders:
        if not leads_inside(folder, home):
            raise ValueError(f"the folder {folder}, in which a link leads elsewhere")
    for folder in (*header.created, *header.touched):
        inside = folder in homes or any(lies_inside(folder, home) for home in homes)
        above = folder.startswith("/") and any(lies_inside(home, folder) for home in homes[1:])
        if not inside and not above:
            raise ValueError(f"the folder {folder!r} elsewhere")


def _files(swaps: Sequence[Swap], places: Places) -> list[tuple[str, str]]:
    """Each file that a repair touches, with the folder that it must not leave."""
    return [
        pair
        for swap in swaps
        for pair in (
            (places.root, swap.path),
            (places.to, swap.target),
            (places.staged, swap.target),
            (places.originals, swap.path),
        )
    ]
