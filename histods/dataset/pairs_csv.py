"""Read the CSV file that pairs images and masks."""

from __future__ import annotations

import csv
import io
import os
import posixpath
from typing import TYPE_CHECKING

import polars as pl

from histods.errors import HistodsError, InaccessibleFileError, UnreadableFileError
from histods.io.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_COLUMNS = ("image", "mask", "group", "split")
_BLANK = " \t"
_SCHEMA = {**dict.fromkeys(_COLUMNS, pl.String), "line": pl.Int64}


def read_pairs(path: Path, root: Path) -> pl.DataFrame:
    """Read a CSV file with the columns `image`, `mask`, `group` and `split` (the last three optional).

    The first line names the columns, in any order and case; other columns and empty lines are ignored. An empty
    field is null. Paths are relative to the dataset's root, or absolute paths inside it; backslashes separate
    folders in a column in which no name has a slash. The files themselves are not accessed.

    Args:
        path: the CSV file, in UTF-8.
        root: the dataset's folder.

    Returns:
        One row per image, in the order of the file: `image` and `mask` (POSIX paths relative to the root),
        `group`, `split`, `line` (the first line of the row in the file, counted from 1).

    Raises:
        HistodsError: the file is not such a table, or a line names no image, a repeated image, a file outside the
            root, or a mask that is an image in another line.
    """
    lines = _lines(path, _text(path))
    header = next(lines, (1, []))[1]
    places = _places(path, header)
    lines = _with_slashes(lines, places)
    roots = (os.path.abspath(root), os.path.realpath(root))  # noqa: PTH100 - a link in it must stay as given
    rows = []
    for line, fields in lines:
        if len(fields) != len(header):
            raise HistodsError(
                f"{path}, line {line} needs {len(header)} fields like the first line, but has {len(fields)}; "
                "put quotes around a name that has a comma."
            )
        image, mask, group, split = (fields[place].rstrip(_BLANK) if place is not None else "" for place in places)
        if not image:
            raise HistodsError(f"{path}, line {line} names no image; name it or remove the line.")
        inside = [_inside(name, roots) if name else None for name in (image, mask)]
        for name, found in zip((image, mask), inside, strict=True):
            if name and found is None:
                raise HistodsError(
                    f"{path}, line {line}: {name!r} is not a file inside {root}; name it relative to that folder."
                )
        rows.append((*inside, group or None, split or None, line))
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    _refuse_contradictions(path, table)
    return table


def _text(path: Path) -> str:
    """The file's text, without a byte order mark."""
    try:
        with OpenFile(path) as file:  # does not block on a named pipe
            return file.read().decode("utf-8-sig")
    except InaccessibleFileError as error:
        reason = str(error).removeprefix("cannot be opened: ")
        raise HistodsError(
            f"{path} cannot be read ({reason}); give --pairs a CSV file that can be read."
        ) from error
    except UnreadableFileError as error:
        found = "a folder" if path.is_dir() else "not a regular file"
        raise HistodsError(f"{path} is {found}; give --pairs a CSV file.") from error
    except OSError as error:
        raise HistodsError(
            f"{path} cannot be read ({error.strerror}); give --pairs a CSV file that can be read."
        ) from error
    except UnicodeDecodeError as error:
        raise HistodsError(
            f"{path} is not UTF-8: it has byte 0x{error.object[error.start]:02x} at position {error.start}; "
            "save it as UTF-8."
        ) from error


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The fields and the number of each non-empty line."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in reader:
            if any(field.strip(_BLANK) for field in fields) or len(fields) > 1:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise HistodsError(
            f"{path}, line {line} does not parse as fields with commas between them ({error}); correct it."
        ) from error


def _places(path: Path, header: Sequence[str]) -> list[int | None]:
    """The position of each of the four columns."""
    names = [name.strip().lower() for name in header]
    wanted = [name for name in names if name in _COLUMNS]
    if "image" not in names or len(set(wanted)) < len(wanted):
        found = ",".join(names) if any(names) else "empty"
        raise HistodsError(
            f"{path}: the first line is {found}; name the columns {','.join(_COLUMNS)} there "
            "(image is needed, none may come twice)."
        )
    return [names.index(column) if column in names else None for column in _COLUMNS]


def _with_slashes(
    lines: Iterator[tuple[int, list[str]]], places: Sequence[int | None]
) -> Iterator[tuple[int, list[str]]]:
    """Turn backslashes in file names into slashes, in a column in which no name has a slash.

    Programs on Windows write them; elsewhere a name may contain a backslash, but then its folders have slashes.
    """
    rows = list(lines)
    for place in places[:2]:
        if place is None:
            continue
        names = [fields[place] for _, fields in rows if place < len(fields)]
        if any("\\" in name for name in names) and not any("/" in name for name in names):
            for _, fields in rows:
                fields[place : place + 1] = [name.replace("\\", "/") for name in fields[place : place + 1]]
    return iter(rows)


def _inside(name: str, roots: Sequence[str]) -> str | None:
    """The path of a file relative to the root; None if it is outside."""
    path = posixpath.normpath(name)
    if path.startswith("/"):
        root = next((root for root in roots if path.startswith(root.rstrip("/") + "/")), None)
        return None if root is None else path[len(root.rstrip("/")) + 1 :]
    return None if path in (".", "..") or path.startswith("../") else path


def _refuse_contradictions(path: Path, table: pl.DataFrame) -> None:
    """Reject a table without images, with a repeated image, or with a file as both image and mask."""
    if table.is_empty():
        raise HistodsError(f"{path} has only its first line; add a line for each image.")
    again = table.filter(~pl.col("image").is_first_distinct())
    if not again.is_empty():
        image, line = again.select("image", "line").row(0)
        first = table.filter(pl.col("image") == image)["line"][0]
        raise HistodsError(f"{path} names the image {image} in lines {first} and {line}; remove one of them.")
    both = table.join(table.select("image", other="line"), left_on="mask", right_on="image").sort("line")
    if not both.is_empty():
        mask, line, other = both.select("mask", "line", "other").row(0)
        raise HistodsError(
            f"{path} names {mask} as a mask in line {line} and as an image in line {other}; correct one of them."
        )
