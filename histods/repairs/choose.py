"""Which files a repair may change, from the manifest, the findings and the links; which new names still pair."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts import pair
from histods.dataset.layouts.names import Layout
from histods.errors import HistodsError
from histods.io.checked import build
from histods.moves.execute import state_of
from histods.moves.plan import LINKED, OUTSIDE, UNOPENED, Links
from histods.repairs.staging import RepairTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from histods.repairs.staging import Outcome

TAKEN = "another file has the new name, or would get it"
NAMED_IN_CSV = "a CSV file of pairs names it; rename the file and correct its line yourself"
ALONE = "a file that it is paired with cannot be repaired, and the two would not fit any more"
UNPAIRED = "its pair would fall apart under the new name"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Files that stay as they are for one reason: their paths, each with what is particular to it."""

    reason: str
    files: tuple[tuple[str, str], ...]


class Refusals:
    """Collects files that stay as they are, by reason."""

    def __init__(self) -> None:
        self._files: dict[str, list[tuple[str, str]]] = {}

    def add(self, path: str, reason: str, detail: str = "") -> None:
        """Add a file."""
        self._files.setdefault(reason, []).append((path, detail))

    def list(self) -> tuple[Refusal, ...]:
        """All of them, the most frequent reason first."""
        ordered = sorted(self._files.items(), key=lambda item: (-len(item[1]), item[0]))
        return tuple(Refusal(reason=reason, files=tuple(sorted(files))) for reason, files in ordered)


def flagged_paths(code: str, manifest: pl.DataFrame, findings: pl.DataFrame) -> set[str]:
    """Paths of the files with a finding, or of the masks of a kind."""
    found = findings.filter(pl.col("code") == code)["path"]
    masks = manifest.filter(pl.col("mask_kind") == code)["mask_path"]
    return set(pl.concat([found, masks.drop_nulls()]).to_list())


def choose_tasks(paths: set[str], manifest: pl.DataFrame, root: str, refusals: Refusals) -> list[RepairTask]:
    """The files that may be repaired, each once, sorted by path; the others are added to `refusals`."""
    columns = ("image_path", "image_bytes", "image_mtime_ns", "mask_path", "mask_bytes", "mask_mtime_ns")
    wanted = sorted(paths)
    rows = manifest.filter(pl.col("image_path").is_in(wanted) | pl.col("mask_path").is_in(wanted))
    links, tasks = Links(root), dict[str, RepairTask]()
    for image, image_bytes, image_time, mask, mask_bytes, mask_time in rows.select(columns).iter_rows():
        for path, size, time, is_mask, partner in (
            (image, image_bytes, image_time, False, mask),
            (mask, mask_bytes, mask_time, True, image),
        ):
            if path not in paths:
                continue
            known = tasks.get(path)
            partners = (() if known is None else known.partners) + (() if partner is None else (partner,))
            tasks[path] = RepairTask(path, is_mask, size or 0, time or 0, partners)
    able = []
    for task in tasks.values():
        reason = _why_it_stays(task, root, links)
        if reason is None:
            able.append(task)
        else:
            refusals.add(task.path, reason)
    for path in paths - tasks.keys():
        refusals.add(path, LINKED)
    return sorted(able)


def _why_it_stays(task: RepairTask, root: str, links: Links) -> str | None:
    if task.path.startswith("../"):
        return OUTSIDE
    if links.touch(f"{root}/{task.path}"):
        return LINKED
    if task.bytes == task.mtime_ns == 0 and state_of(f"{root}/{task.path}") != (0, 0):
        return UNOPENED
    return None


def check_renames(
    outcomes: Sequence[Outcome], manifest: pl.DataFrame, provenance: Mapping[str, str], root: str
) -> dict[str, str]:
    """Find the renamed files whose new name is taken, or does not pair as the old one did.

    Returns:
        Path -> reason of each file that must keep its name.
    """
    renames = {one.path: one.target for one in outcomes if one.remedy and one.target != one.path}
    if not renames:
        return {}
    layout = _layout(provenance)
    if layout.kind == "csv":
        return dict.fromkeys(renames, NAMED_IN_CSV)
    stem = pl.concat([manifest["image_path"], manifest["mask_path"]]).drop_nulls()
    names = Counter(_name(renames.get(path, path)) for path in stem.unique())
    refused = {
        path: TAKEN
        for path, target in renames.items()
        if names[_name(target)] > 1 or os.path.lexists(f"{root}/{target}")
    }
    left = {path: target for path, target in renames.items() if path not in refused}
    refused |= dict.fromkeys(_broken(left, manifest, layout), UNPAIRED)
    left = {path: target for path, target in left.items() if path not in refused}
    return refused | dict.fromkeys(_broken(left, manifest, layout), UNPAIRED)


def find_lonely(made: Sequence[Outcome]) -> dict[str, str]:
    """Find the repaired files that would be wrong, since a file that they need is not repaired.

    Returns:
        Path -> the file that it needs.
    """
    lonely: dict[str, str] = {}
    left = {one.path: one.needs for one in made}
    while True:
        found = {
            path: next(other for other in needs if other not in left)
            for path, needs in left.items()
            if not left.keys() >= set(needs)
        }
        if not found:
            return lonely
        lonely |= found
        left = {path: needs for path, needs in left.items() if path not in found}


def _broken(renames: Mapping[str, str], manifest: pl.DataFrame, layout: Layout) -> set[str]:
    """The renamed files of samples that do not come out of the layout as before."""
    if not renames:
        return set()
    samples = manifest.select("image_path", "mask_path")
    paths = pl.concat([samples["image_path"], samples["mask_path"]]).drop_nulls().unique()
    alone = samples.filter(pl.col("mask_path").is_null())["image_path"]
    before = _pairs(paths, layout, alone)
    after = _pairs(
        pl.Series([renames.get(path, path) for path in paths]),
        layout,
        pl.Series([renames.get(path, path) for path in alone], dtype=pl.String),
    )
    expected = {_renamed(sample, renames): sample for sample in before}
    lost = [sample for new, sample in expected.items() if new not in after]
    return {path for sample in lost for path in sample if path is not None and path in renames}


def _pairs(paths: pl.Series, layout: Layout, alone: pl.Series) -> set[tuple[str | None, str | None]]:
    samples = pair(paths, layout, alone.drop_nulls().to_list()).samples
    return set(samples.select("image_path", "mask_path").iter_rows())


def _renamed(sample: Iterable[str | None], renames: Mapping[str, str]) -> tuple[str | None, str | None]:
    image, mask = (None if path is None else renames.get(path, path) for path in sample)
    return image, mask


def _name(path: str) -> str:
    """A name as a case-insensitive disk compares it."""
    return unicodedata.normalize("NFC", path).casefold()


def _layout(provenance: Mapping[str, str]) -> Layout:
    try:
        return build(Layout, json.loads(provenance["layout"]))
    except (KeyError, ValueError) as error:
        raise HistodsError("The manifest does not tell its layout; run 'histods audit' again.") from error
