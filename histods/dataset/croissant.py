"""A Croissant description of a dataset: JSON-LD over the tables of a workspace and the files of the dataset.

The format is Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html). The description
and copies of the tables are written into a folder of their own; published in the folder of the dataset, all its
paths are right.
"""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from histods.dataset.manifest import SCHEMA, Manifest
from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_bytes, write_json
from histods.labels.audit_labels import labels_of_audit
from histods.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace

FILE = "croissant.json"
_LOCAL = ("image_mtime_ns", "mask_mtime_ns")
"""Columns that say something of this disk alone."""
_MEANINGS = {
    "key": "Name of the sample: path of the image without its suffix.",
    "image_path": "Path of the image in the dataset.",
    "mask_path": "Path of the mask in the dataset.",
    "role": "conditional: a mask with labels; unconditional: none, or label 0 alone; excluded: not to be used.",
    "width": "Width in pixels.",
    "height": "Height in pixels.",
    "image_bytes": "Size of the image's file in bytes.",
    "mask_bytes": "Size of the mask's file in bytes.",
    "mask_kind": "How the mask stores its labels.",
    "labels": "Labels in the mask, ascending.",
    "pixels": "Pixels of each of these labels.",
    "image_digest": "XXH3 128-bit digest of the image's file.",
    "mask_digest": "XXH3 128-bit digest of the mask's file.",
    "jpeg_quality": "Quality of a JPEG from 1 to 100, from its quantisation table.",
    "chroma_subsampling": "Chroma subsampling of a JPEG, such as 4:2:0.",
    "looks_like": "Name of the first of the samples whose images look the same as this one's, itself included.",
    "group": "Slide or patient: samples of one group are in one split.",
}
_TYPES = {
    pa.string(): "sc:Text",
    pa.uint8(): "cr:UInt8",
    pa.uint16(): "cr:UInt16",
    pa.uint32(): "cr:UInt32",
    pa.int64(): "cr:Int64",
}
_MEDIA = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "gif": "image/gif",
}
_MAX_FOLDERS = 100
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "conformsTo": "dct:conformsTo",
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
            *(
                "fileObject",
                "fileProperty",
                "fileSet",
                "format",
                "includes",
                "isArray",
                "isLiveDataset",
                "jsonPath",
            ),
            *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
            *("samplingRate", "separator", "source", "subField", "transform"),
        )
    },
    "excludes": "cr:excludes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CroissantFacts:
    """What only the authors of a dataset know; what is not given is left out of the description.

    Attributes:
        name: name of the dataset; that of its folder if None.
        description: text in place of the counts of the audit.
        license: URL of the licence, for example one of https://spdx.org/licenses/.
        creators: names of persons.
        organizations: names of organizations that are creators, too.
        url: page of the dataset.
        version: version of the dataset, such as 1.0.0.
        date_published: date as 2026-11-26.
        cite_as: citation, best as BibTeX.
    """

    name: str | None = None
    description: str | None = None
    license: str | None = None
    creators: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    url: str | None = None
    version: str | None = None
    date_published: str | None = None
    cite_as: str | None = None


class _FileGlobs(NamedTuple):
    """A set of files: its name, what it is, and the patterns of paths that are and are not in it."""

    name: str
    description: str
    includes: list[str]
    excludes: list[str]


def describe_dataset(space: Workspace, facts: CroissantFacts, *, split: bool) -> dict[str, Any]:
    """Describe the dataset of a workspace.

    Args:
        space: the workspace of an audit.
        facts: what only its authors know.
        split: whether `split.parquet`, which the caller knows to be of this audit, belongs to it.

    Returns:
        JSON-LD. Paths of files are relative to the folder of the dataset.

    Raises:
        HistodsError: there is no audit, or the dataset has no name.
        StaleFileError: the manifest or the labels file changed since the audit.
    """
    audit = space.read_audit()
    manifest = Manifest.read(space.manifest)
    name = facts.name or Path(audit.root).name
    if not name:
        raise HistodsError("The dataset's folder has no name; write a line 'name: NAME' into the file of --facts.")
    tables = [space.manifest, *([space.split] if split else [])]
    makers = [("Person", name) for name in facts.creators] + [
        ("Organization", name) for name in facts.organizations
    ]
    given = {
        "license": facts.license,
        "creator": [{"@type": kind, "name": maker} for kind, maker in makers],
        "url": facts.url,
        "version": facts.version,
        "datePublished": facts.date_published,
        "citeAs": facts.cite_as,
    }
    return {
        "@context": _CONTEXT,
        "@type": "Dataset",
        "name": name,
        "description": facts.description or _describe(audit),
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **{key: value for key, value in given.items() if value},
        "distribution": [*map(_file_object, tables), *map(_file_set, _find_globs(manifest))],
        "recordSet": [_samples(), *([_splits()] if split else []), *_labels(audit)],
    }


def write_croissant(space: Workspace, to: Path, facts: CroissantFacts, *, split: bool) -> tuple[Path, ...]:
    """Write the description and the tables that it describes into a folder.

    Args:
        space: the workspace of an audit.
        to: the folder, outside the dataset.
        facts: what only its authors know.
        split: see `describe_dataset`.

    Returns:
        The files that were written; the description comes first.

    Raises:
        HistodsError: see `describe_dataset`; or the folder is in the dataset.
    """
    document = describe_dataset(space, facts, split=split)
    space.check_place(to, "--to", Path(space.read_audit().root))
    written = [to / FILE]
    for table in [space.manifest, *([space.split] if split else [])]:
        write_bytes(to / table.name, table.read_bytes())
        written.append(to / table.name)
    write_json(to / FILE, document)
    return tuple(written)


def _describe(audit: AuditSummary) -> str:
    """What the audit counted, in a sentence."""
    counts = audit.counts
    if counts is None:
        return f"Images and masks, described by histods {__version__}."
    return (
        f"{counts.images:,} images and {counts.masks:,} masks: {counts.conditional:,} conditional samples, "
        f"{counts.unconditional:,} unconditional, {counts.excluded:,} excluded. Described by histods "
        f"{__version__}."
    )


def _file_object(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "application/x-parquet",
        "sha256": file_digest(path),
    }


def _file_set(globs: _FileGlobs) -> dict[str, Any]:
    suffixes = dict.fromkeys(pattern.rpartition(".")[2].lower() for pattern in globs.includes)
    formats = [*dict.fromkeys(_MEDIA.get(suffix, "application/octet-stream") for suffix in suffixes)]
    return {
        "@type": "cr:FileSet",
        "@id": globs.name,
        "name": globs.name,
        "description": globs.description,
        "encodingFormat": formats,
        "includes": globs.includes,
        **({"excludes": globs.excludes} if globs.excludes else {}),
    }


def _samples() -> dict[str, Any]:
    """The record set of the manifest."""
    fields = [
        _column(f"samples/{field.name}", "manifest.parquet", field.name, field.type, _MEANINGS[field.name])
        for field in SCHEMA
        if field.name not in _LOCAL
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "One record per sample: an image with its mask, or one of them alone.",
        "key": {"@id": "samples/key"},
        "field": fields,
    }


def _splits() -> dict[str, Any]:
    """The record set of the split."""
    key = _column("splits/key", "split.parquet", "key", pa.string(), "Name of the sample.")
    value = _column("splits/split", "split.parquet", "split", pa.string(), "The split that it is in.")
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The split of each sample that is not excluded.",
        "key": {"@id": "splits/key"},
        "field": [key | {"references": {"field": {"@id": "samples/key"}}}, value],
    }


def _labels(audit: AuditSummary) -> Iterator[dict[str, Any]]:
    """The record set of the names of labels, if they have names."""
    names = labels_of_audit(audit).names
    if not names:
        return
    fields = [
        {"@type": "cr:Field", "@id": "labels/label", "name": "label", "dataType": "sc:Integer"},
        {"@type": "cr:Field", "@id": "labels/name", "name": "name", "dataType": "sc:Text"},
    ]
    yield {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": "Names of the labels of masks.",
        "key": {"@id": "labels/label"},
        "field": fields,
        "data": [{"labels/label": label, "labels/name": names[label]} for label in sorted(names)],
    }


def _column(identity: str, file: str, column: str, kind: pa.DataType, meaning: str) -> dict[str, Any]:
    is_list = pa.types.is_list(kind)
    return {
        "@type": "cr:Field",
        "@id": identity,
        "name": column,
        "description": meaning,
        "dataType": _TYPES[kind.value_type if is_list else kind],
        **({"isArray": True, "arrayShape": "-1"} if is_list else {}),
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }


def _find_globs(manifest: Manifest) -> list[_FileGlobs]:
    """Patterns that tell images from masks, if there are any: they are tried on all paths of the manifest."""
    images, masks = (
        [path for path in manifest.table[f"{kind}_path"].to_pylist() if path] for kind in ("image", "mask")
    )
    for (image_in, image_out), (mask_in, mask_out) in _candidates(manifest, images, masks):
        right = _match(images, image_in, image_out) == len(images) and not _match(masks, image_in, image_out)
        if right and _match(masks, mask_in, mask_out) == len(masks) and not _match(images, mask_in, mask_out):
            found = [_FileGlobs("images", "The images.", image_in, image_out)]
            return found + (
                [_FileGlobs("masks", "The masks: labels as grey values.", mask_in, mask_out)] if masks else []
            )
    every = _anywhere(_suffixes([*images, *masks]))
    return [_FileGlobs("files", "Images and masks; the samples tell which is which.", every, [])] if every else []


_Globs = tuple[list[str], list[str]]


def _candidates(
    manifest: Manifest, images: Sequence[str], masks: Sequence[str]
) -> Iterator[tuple[_Globs, _Globs]]:
    """What may be included and excluded for images and for masks."""
    yield (_anywhere(_suffixes(images)), []), (_anywhere(_suffixes(masks)), [])
    layout = json.loads(manifest.provenance.get("layout", "{}"))
    if isinstance(layout, dict) and layout.get("kind") == "suffix":
        ends = [f"{layout.get('mask_suffix')}{suffix}" for suffix in _suffixes(masks)]
        yield (_anywhere(_suffixes(images)), _anywhere(ends)), (_anywhere(ends), [])
    folders = _in_folders(images), _in_folders(masks)
    if max(map(len, folders)) <= _MAX_FOLDERS:
        yield (folders[0], []), (folders[1], [])


def _suffixes(paths: Iterable[str]) -> list[str]:
    return sorted({f".{path.rpartition('.')[2]}" for path in paths})


def _anywhere(ends: Sequence[str]) -> list[str]:
    """Patterns for names with these ends in any folder; some readers take ** for at least one folder."""
    return [f"{start}*{end}" for end in ends for start in ("", "**/")]


def _in_folders(paths: Sequence[str]) -> list[str]:
    return sorted({f"{path[: path.rfind('/') + 1]}*.{path.rpartition('.')[2]}" for path in paths})


def _match(paths: Sequence[str], includes: Sequence[str], excludes: Sequence[str]) -> int:
    """Number of paths that are included and not excluded."""
    if not includes:
        return 0
    wanted, unwanted = (re.compile("|".join(map(fnmatch.translate, globs))) for globs in (includes, excludes))
    return sum(1 for path in paths if wanted.match(path) and not (excludes and unwanted.match(path)))
