"""Which image a file of annotations, or an entry of one, belongs to."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REGION = re.compile(
    r"(?P<slide>.+) \[(?:d=(?P<d>\d{1,9}(?:\.\d{1,9})?),)?x=(?P<x>-?\d{1,9}),y=(?P<y>-?\d{1,9})"
    r",w=(?P<w>\d{1,9}),h=(?P<h>\d{1,9})\]"
)
_SUFFIX = re.compile(r"\.[^./]{1,10}$")


class Region(NamedTuple):
    """The part of a slide that an image shows, as QuPath's tile exporter writes it into the name of a file.

    Attributes:
        x: left edge in the slide, pixels.
        y: upper edge in the slide, pixels.
        width: in the slide, pixels.
        height: in the slide, pixels.
        downsample: pixels of the slide per pixel of the image.
    """

    x: int
    y: int
    width: int
    height: int
    downsample: float


class Match(NamedTuple):
    """An image, and the part of the slide that it shows if the annotations are those of the slide."""

    path: str
    region: Region | None = None


class ImageIndex:
    """The images of a folder by their names.

    Args:
        paths: POSIX paths of the images.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._named: dict[str, list[Match]] = {}  # with and without the suffix
        self._based: dict[str, list[Match]] = {}  # the same, without folders
        self._exact: dict[str, list[str]] = {}  # path with composed accents -> paths
        self._ends: dict[str, list[str]] = {}  # the same for each end of a path
        for path in paths:
            plain = _plain(path)
            folder, _, file = plain.rpartition("/")
            stem = _SUFFIX.sub("", file)
            self._exact.setdefault(plain, []).append(path)
            for end in _ends(plain):
                self._ends.setdefault(end, []).append(path)
            names = {file: Match(path), stem: Match(path)}
            region = _REGION.fullmatch(stem)
            if region is not None and all(float(region[name] or 1) > 0 for name in "dwh"):
                x, y, width, height = (int(region[name]) for name in "xywh")
                names[region["slide"]] = Match(path, Region(x, y, width, height, float(region["d"] or 1)))
            for name, match in names.items():
                self._named.setdefault(f"{folder}/{name}" if folder else name, []).append(match)
                self._based.setdefault(name, []).append(match)

    def find_named(self, stem: str) -> list[Match]:
        """The images that a file of annotations belongs to by its own name.

        An image has the name of the file, with or without its own suffix (`x.geojson` or `x.jpg.geojson` for
        `x.jpg`), in the same folder or else in any; or it is a region of the slide with that name.

        Args:
            stem: POSIX path of the file without the suffix of its format.
        """
        plain = _plain(stem)
        base = plain.rpartition("/")[2]
        tables = (self._named, plain), (self._based, base)
        for table, name in tables:
            for one in (name, _SUFFIX.sub("", name)):
                found = table.get(one, [])
                whole = [match for match in found if match.region is None]
                if whole or found:
                    return whole or found
        return []

    def find_file(self, name: str) -> list[Match]:
        """The images that a path in a file of annotations means: that path, else those with the same end.

        Args:
            name: the path, relative to any folder or absolute, with slashes or backslashes, perhaps as in a URL.
        """
        return self._find_file(name) or self._find_file(unquote(name))

    def _find_file(self, name: str) -> list[Match]:
        plain = _plain(name.replace("\\", "/")).removeprefix("./")
        paths = self._exact.get(plain)
        if paths is None:  # the paths that end as it does, and those that it ends as
            paths = [
                *self._ends.get(plain, []),
                *(path for end in _ends(plain) for path in self._exact.get(end, [])),
            ]
        return [Match(path) for path in paths]


def _ends(path: str) -> Iterator[str]:
    """The path without its first folder, without its first two, and so on, to the name of the file."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _plain(path: str) -> str:
    """A path with composed accents; macOS writes them in two parts."""
    return unicodedata.normalize("NFC", path)
