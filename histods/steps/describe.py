"""describe: a Croissant description of the dataset, for catalogues and for those who are given the dataset."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from histods.dataset.croissant import CroissantFacts, write_croissant
from histods.io.strict_yaml import NonStringScalar, Origin, Value, load_yaml, nearest, show
from histods.io.workspace import Workspace, refuse_file
from histods.printing import printed
from histods.splits.split_table import read_split

_LISTS = ("creators", "organizations")
_ASKED_FOR = ("license", "creators", "url", "version", "date_published", "cite_as")
"""Facts whose absence `mlcroissant` warns of."""


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeResult:
    """What was written.

    Attributes:
        files: the description, and the tables that it describes.
        root: the dataset's folder, in which they are published.
        missing: names of the facts that catalogues ask for and nobody gave.
    """

    files: tuple[Path, ...]
    root: Path
    missing: tuple[str, ...]


def describe(
    *, to: str | Path, facts: str | Path | None = None, workspace: str | Path | None = None
) -> DescribeResult:
    """Write a Croissant 1.1 description of the audited dataset, with copies of the manifest and the split.

    Args:
        to: folder for the files, outside the dataset.
        facts: YAML file with what only the authors of the dataset know; see `read_facts`.
        workspace: folder of the audit and of the split, if there is one.

    Raises:
        HistodsError: there is no audit, or a file is not as it must be.
        StaleFileError: the manifest or the split changed since it was read.
    """
    space, folder = Workspace.find(workspace), Path(to)
    refuse_file(folder, "--to")
    known = CroissantFacts() if facts is None else read_facts(Path(facts))
    audit = space.read_audit()
    split = read_split(space, audit.manifest_digest) is not None
    return DescribeResult(
        files=write_croissant(space, folder, known, split=split),
        root=Path(audit.root),
        missing=tuple(name for name in _ASKED_FOR if not getattr(known, name)),
    )


def read_facts(path: Path) -> CroissantFacts:
    """Read facts from YAML: the fields of `CroissantFacts`, all of them optional.

    Raises:
        HistodsError: the file is not plain YAML, or has an unknown field or a value of another kind.
    """
    origin = Origin(str(path))
    document = load_yaml(origin, path)
    known = [one.name for one in fields(CroissantFacts)]
    if not isinstance(document, dict):
        raise origin.error("lines such as 'license: URL'", show(document), "write one")
    found: dict[str, str | tuple[str, ...]] = {}
    for name, value in document.items():
        if name not in known:
            raise origin.error("facts of a dataset", f"the unknown {show(name)}", nearest(name, known))
        if name in _LISTS:
            values = value if isinstance(value, list) else [value]
            found[str(name)] = tuple(_text(origin, str(name), one) for one in values)
        else:
            found[str(name)] = _text(origin, str(name), value)
    return CroissantFacts(**found)  # type: ignore[arg-type]


def _text(origin: Origin, name: str, value: Value) -> str:
    """A text as it is written: a version 1.0 and a date are texts here."""
    if isinstance(value, NonStringScalar) and value.kind != "null":
        return value.text
    if isinstance(value, str | int) and str(value).strip():
        return str(value)
    raise origin.error(f"a text as {name}", show(value), "write one, or leave the line out")
