"""The formats of annotations.

To add one, write a module with the members of `Format` and add it to `FORMATS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from histods.annotations import coco, geojson
from histods.annotations.json_file import read_json_file
from histods.errors import UnreadableFileError

if TYPE_CHECKING:
    from pathlib import Path

    from histods.annotations.shapes import Annotations


class Format(Protocol):
    """A module that reads one format.

    Attributes:
        NAME: its name in tables.
        SUFFIXES: suffixes of its files, lower case.
        LARGER_FIRST: whether larger shapes are drawn before smaller ones; else in the order of the file.
    """

    NAME: str
    SUFFIXES: tuple[str, ...]
    LARGER_FIRST: bool

    @staticmethod
    def is_format(document: object) -> bool:
        """Whether a document is of this format, judged by its top."""

    @staticmethod
    def parse(document: object, unclassified: str | None) -> Annotations:
        """Parse a document; `unclassified` is the class of annotations without one, None leaves them out.

        Raises `UnreadableFileError` if the document as a whole contradicts itself.
        """


FORMATS = cast("tuple[Format, ...]", (coco, geojson))


class Found(NamedTuple):
    """A file of annotations: its format, its content, and the SHA-256 of the file."""

    format: Format
    annotations: Annotations
    digest: str


def read_annotations(path: Path, unclassified: str | None) -> Found:
    """Read a file of annotations.

    Raises:
        UnreadableFileError: it is damaged, or of no known format; the message is a part of a sentence.
    """
    document, digest = read_json_file(path)
    for one in FORMATS:
        if one.is_format(document):
            return Found(one, one.parse(document, unclassified), digest)
    raise UnreadableFileError("JSON, but neither COCO (images and annotations) nor GeoJSON (features)")


def suffix_of(path: str) -> str | None:
    """The suffix of a file of annotations, as written in its name; None for other files."""
    for suffix in sorted({suffix for one in FORMATS for suffix in one.SUFFIXES}, key=len, reverse=True):
        if path.lower().endswith(suffix):
            return path[len(path) - len(suffix) :]
    return None
