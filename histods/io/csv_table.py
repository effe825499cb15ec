"""Read small CSV files by the names of their columns, and write rows so that they are read back as they were."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from histods.io.strict_yaml import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from histods.io.strict_yaml import Origin

_BOTH = "\r\n"


def read_csv(
    origin: Origin, path: Path, columns: Sequence[Sequence[str]], needed: int, *, max_bytes: int
) -> Iterator[list[str]]:
    """Yield the cells of the wanted columns, line by line, without surrounding blanks.

    Args:
        origin: the source, for errors.
        path: the file.
        columns: the names that each wanted column may have, in any case.
        needed: number of required columns; those after them may be missing.
        max_bytes: maximum size of the file.
    """
    reader = csv.reader(io.StringIO(read_text(origin, path, max_bytes), newline=""), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise origin.error("CSV", f"a mistake on line {reader.line_num} ({error})", "correct it") from error
    header = [cell.strip().lower() for cell in lines[0][1]]
    places = []
    for number, names in enumerate(columns):
        found = [header.index(name.lower()) for name in names if name.lower() in header]
        if not found and number < needed:
            wanted = ", ".join(column[0] for column in columns[:needed])
            raise origin.error(f"the columns {wanted}", f"no {names[0]}", "name the columns in the first line")
        places += found[:1]
    for line, row in lines[1:]:
        if len(row) != len(header):
            found_cells = f"{len(row)} on line {line}"
            raise origin.error(f"{len(header)} cells per line", found_cells, "quote cells that hold commas")
        yield [row[place].strip() for place in places]


class _Lines(list[str]):
    """The lines of a CSV file, as a writer makes them."""

    def write(self, line: str) -> None:
        self.append(f"{line.removesuffix(_BOTH)}\n")


def to_csv(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV whose lines end in a newline; None is an empty cell.

    `csv` quotes a line break only if its own lines end in it, but readers take a carriage return for one as well:
    so lines are written with both, and then shortened.
    """
    lines = _Lines()
    csv.writer(lines, lineterminator=_BOTH).writerows(rows)
    return "".join(lines)
