"""The mark of a folder of tiles: their origin, and how the audit recognises them.

```
tiles.json        the source of the tiles, the options, and the digest of tiles.parquet (null: unfinished)
tiles.parquet     one row per tile: its files, its source image, its position there, its group
tiles.csv         the same for the audit: image,mask,group,split
tiles.journal     the progress of a killed run
pairs/ unconditional/
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from histods.dataset import filled_folder
from histods.errors import HistodsError
from histods.io.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
MARK, TABLE, PAIRS = "tiles.json", "tiles.parquet", "tiles.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class TileMark:
    """The contents of `tiles.json`.

    Attributes:
        schema_version: the schema version of this file and of `tiles.parquet`.
        root: the dataset's folder.
        size: side of a tile, pixels.
        stride: pixels from one tile to the next.
        edge: how the last tile of a row or column was handled.
        pad_label: label of the padding of masks.
        keep_blank: whether blank tiles were written.
        plan_digest: digest of the source files, their labels, and the options.
        manifest_digest: digest of the manifest of the audit.
        command: the command that cuts these tiles.
        tiles_digest: digest of `tiles.parquet`; None while tiles are missing.
    """

    schema_version: int
    root: str
    size: int
    stride: int
    edge: Literal["shift", "pad"]
    pad_label: int
    keep_blank: bool
    plan_digest: str
    manifest_digest: str
    command: str
    tiles_digest: str | None

    def asked(self) -> tuple[object, ...]:
        """The given options."""
        return (self.size, self.stride, self.edge, self.pad_label, self.keep_blank)


def read_mark(folder: Path) -> TileMark | None:
    """Read the mark of a folder of tiles; None for other folders.

    Raises:
        HistodsError: the file is not a valid mark.
    """
    return filled_folder.read_mark(TileMark, folder / MARK, "histods tile")


def write_mark(folder: Path, mark: TileMark, tiles_digest: str | None = None) -> None:
    """Write the mark of a folder; without a digest, it means that tiles are missing."""
    write_json(folder / MARK, asdict(mark) | {"tiles_digest": tiles_digest})


def find_tile_pairs(root: Path, group_regex: str | None) -> Path | None:
    """The file of pairs of a folder of tiles, which gives the audit their groups; None for other folders.

    Args:
        root: folder of a dataset.
        group_regex: the user's option for groups, or None.

    Raises:
        HistodsError: tiles are missing, or the user gives other groups.
    """
    mark = read_mark(root)
    if mark is None:
        return None
    if mark.tiles_digest is None or not (root / PAIRS).is_file():
        raise HistodsError(f"The tiles in {root} are not finished; run '{mark.command}' to continue.")
    if group_regex is not None:
        raise HistodsError(
            f"--group-regex {group_regex!r} does not work on tiles, whose groups are those of their images; "
            f"audit {mark.root} with it and run '{mark.command}' again: no tile is cut twice."
        )
    return root / PAIRS
