"""The mark of a folder that holds an export: what was asked for, and what it was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from histods.dataset.filled_folder import read_mark, refuse_others
from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA_VERSION = 1
MARK, TABLE = "export.json", "samples.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an export ended.

    Attributes:
        files: digest of each file that describes the export.
        unreadable: images that could not be decoded, with the reason.
        remarks: what the user has to know, in sentences.
        command: the next command to type.
    """

    files: dict[str, str]
    unreadable: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    command: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportMark:
    """The contents of `export.json`.

    Attributes:
        schema_version: the schema version of this file and of `samples.csv`.
        format: the format.
        root: the dataset's folder.
        unknown: what class 0 became.
        keep_unlabelled: whether images without a labelled pixel were exported.
        map: name of the label map.
        map_digest: its digest.
        manifest_digest: digest of the manifest.
        split_digest: digest of the split; None without one.
        plan_digest: digest of the sources, their classes, and the options.
        command: the command that makes this export.
        outcome: how it ended; None while files are missing.
    """

    schema_version: int
    format: str
    root: str
    unknown: str
    keep_unlabelled: bool
    map: str
    map_digest: str
    manifest_digest: str
    split_digest: str | None
    plan_digest: str
    command: str
    outcome: Outcome | None


def claim(folder: Path, wanted: ExportMark) -> ExportMark | None:
    """Check that a folder is empty, or holds the same export, finished or not.

    Returns:
        The existing mark, or None.

    Raises:
        HistodsError: the folder holds something else.
    """
    known = read_mark(ExportMark, folder / MARK, "histods export-data")
    if known is None:
        refuse_others(folder)
        return None
    if known.plan_digest != wanted.plan_digest:
        raise HistodsError(
            f"{folder} holds another export: that of '{known.command}', or of an earlier audit, map or split; "
            "remove that folder, or choose another with --to."
        )
    return known


def write_mark(folder: Path, mark: ExportMark, outcome: Outcome | None = None) -> None:
    """Write the mark; without an outcome, it means that files are missing."""
    write_json(folder / MARK, asdict(replace(mark, outcome=outcome)))


def digest_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The digest of each file of a folder."""
    return {name: file_digest(folder / name) for name in names}


def is_described(folder: Path, outcome: Outcome) -> bool:
    """Whether the files that describe a finished export are as they were written."""
    return all(
        (folder / name).is_file() and file_digest(folder / name) == one for name, one in outcome.files.items()
    )
