"""The top of the page: what the dataset is, in numbers, and what to do next, most harmful first."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from histods.checks import CHECKS
from histods.errors import HistodsError
from histods.printing import escaped
from histods.remedies import repair_options
from histods.steps.status import status
from histods.tiles.grid import tile_side
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary
    from reports.page.pictures import Pictures
    from reports.page.source import Source

_COUNTS = (
    ("images", "images", "Files that are images of the dataset."),
    ("masks", "masks", "Files that are masks of the dataset."),
    ("pairs", "pairs", "Images with a mask."),
    ("orphan_masks", "masks without an image", "Masks whose image is missing."),
    ("images_without_mask", "images without a mask", "By design, or because it is missing."),
    ("meaningful_masks", "masks with labels", "Readable masks of pairs with a label other than 0."),
    ("zero_masks", "zero masks", "Readable masks of pairs in which every pixel is 0."),
)
_ROLES = (
    ("conditional", "Trained with their mask."),
    ("unconditional", "Trained without a mask."),
    ("excluded", "Set aside, for an error."),
)
_DRAFTS = ("not_an_index_mask", "palettes_differ", "inverted_mask", "off_palette")
"""Findings that a labels file with the colours of the masks settles."""
_LOOKED_AT = ("unknown_label", "labels_differ", "outside_root", "converted_image")
"""Findings for which each file has to be looked at, since moving files would not help."""
_MAX_LINES = 3
_ASKED_FOR = (
    (
        "--quality",
        "--quality",
        "Pictures were not judged: blur, blank tiles, ink, near-duplicates, masks that do not fit.",
    ),
    ("--hash", "--hash", "Equal images were not looked for, so that some may be in more than one split."),
    (
        "--labels",
        "--labels FILE",
        "No labels file says which labels may occur: any label was taken as it is.",
    ),
    (
        "--verify",
        "--verify decode",
        "Images were not decoded: a flipped bit inside the pixels of a JPEG goes unseen.",
    ),
)
"""What an audit does only if asked: the option, how it is given, and what is unknown without it."""


def build(source: Source, _: Pictures) -> Content:
    """Count what there is, and list what to do."""
    audit = source.audit
    if audit is None:
        reason = "There is no audit in this workspace yet."
        return Content(missing=Missing(reason=reason, command=source.audit_command))
    counts: dict[str, int] = asdict(audit.counts) if audit.counts else {}
    return Content(
        values={
            "root": escaped(str(source.root)),
            "command": audit.command,
            "counts": [(name, counts.get(key, 0), text) for key, name, text in _COUNTS],
            "roles": [(name, counts.get(name, 0), text) for name, text in _ROLES],
            "labels": len(audit.labels),
            "groups": audit.groups,
            "severities": [(name, audit.severities.get(name, 0)) for name in ("error", "warning", "info")],
            "actions": list_actions(source),
            "known": source.findings is not None,
            "unchecked": list_unchecked(audit),
            "next": _next(source),
        },
        data={"roles": [{"name": name, "value": counts.get(name, 0)} for name, _ in _ROLES]},
    )


def list_actions(source: Source) -> list[dict[str, Any]]:
    """What to do about the findings, most harmful first: errors before warnings, then by the number of files.

    Returns:
        `title`, `count`, `severity`, `code`, `advice`, an `example` and `commands` for each.
    """
    actions = [*_pairing(source)]
    if source.findings is None:
        return actions
    counts = dict(source.findings.group_by("code").len().iter_rows())
    first = {row["code"]: row for row in source.findings.unique("code", keep="first").iter_rows(named=True)}
    checks = [check for check in CHECKS if counts.get(check.code) and check.severity != "info"]
    checks.sort(key=lambda check: (check.severity != "error", -counts[check.code]))
    for check in checks:
        example = first[check.code]
        actions.append(
            {
                "code": check.code,
                "severity": check.severity,
                "count": counts[check.code],
                "title": check.summary.replace("`", ""),
                "example": escaped(example["path"]),
                "advice": escaped(example["message"]),
                "commands": _commands(source, check.code),
            }
        )
    return actions


def list_unchecked(audit: AuditSummary) -> list[tuple[str, str]]:
    """What the audit was not asked to check: a sentence and the command that checks it, for each."""
    given = shlex.split(audit.command)
    return [(text, f"{audit.command} {how}") for option, how, text in _ASKED_FOR if option not in given]


def _pairing(source: Source) -> list[dict[str, Any]]:
    """Layouts that would pair more files, as the audit found them."""
    lines = source.audit.suggestions if source.audit else ()
    if not lines:
        return []
    best = {name: value for name, value in lines[0].items() if isinstance(value, int)}
    return [
        {
            "code": None,
            "severity": "error",
            "count": best.get("of", 0),
            "title": "Many images and masks were not paired: their names follow another pattern.",
            "example": None,
            "advice": f"{best.get('pairs', 0):,} of {best.get('of', 0):,} would pair with another layout.",
            "commands": [f"{source.audit_command} {one.get('options', '')}" for one in lines[:_MAX_LINES]],
        }
    ]


def _commands(source: Source, code: str) -> list[str]:
    """The commands that settle findings of a code, or that show its files where each has to be looked at."""
    option = source.space.option
    if code in _DRAFTS:
        return [f"{source.audit_command} --write-labels labels.yml"]
    if code == "mixed_sizes" and (side := _side(source)) is not None and source.root is not None:
        to = source.root.with_name(f"{source.root.name}-tiles")
        return [f"histods tile --size {side} --to {shlex.quote(str(to))}{option}"]
    if code == "lossy_mask" or code in _LOOKED_AT:
        return [f"histods show {code}{option}"]
    return [f"histods show {code}{option}", f"histods fix {code}{repair_options(code)} --to DIR{option}"]


def _side(source: Source) -> int | None:
    """The side of tiles that suits most images."""
    used = source.used
    if used is None:
        return None
    sizes = used.drop_nulls(["width", "height"]).group_by("height", "width").len()
    if not len(sizes):
        return None
    height, width = sizes.sort("len", "height", "width", descending=True).select("height", "width").row(0)
    return tile_side((height, width), multiple=1)


def _next(source: Source) -> str | None:
    """The next command of the whole workspace."""
    try:
        return status(source.space.folder).next
    except HistodsError:
        return None


SECTION = Section(name="overview", title="Overview", build=build)
