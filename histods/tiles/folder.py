"""A folder of tiles being filled: its ownership, the progress of a killed run, and the final tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.filled_folder import keep_intact, refuse_others
from histods.dataset.manifest import read_table, to_polars, write_table
from histods.errors import HistodsError, UnreadableFileError
from histods.io.atomic import file_digest, write_bytes, write_text
from histods.io.csv_table import to_csv
from histods.io.journal import Journal
from histods.io.open_file import OpenRoot
from histods.io.strict_yaml import MAX_BYTES
from histods.tiles.cut import CUT
from histods.tiles.mark import PAIRS, SCHEMA_VERSION, TABLE, read_mark, write_mark

if TYPE_CHECKING:
    from pathlib import Path

    from histods.tiles.mark import TileMark

_JOURNAL = "tiles.journal"
_HEAD = f"histods tiles, version {SCHEMA_VERSION}\n".encode()
COLUMNS = (
    *("key", "image_path", "mask_path", "status", "source", "source_image", "source_mask"),
    *("x", "y", "width", "height", "tissue", "role", "group", "split", "image_bytes", "mask_bytes", "reason"),
)


def claim(folder: Path, wanted: TileMark) -> TileMark | None:
    """Check that a folder is empty, or holds the same tiles, finished or not.

    Args:
        folder: the folder for tiles.
        wanted: the mark that it will get.

    Returns:
        The existing mark, or None.

    Raises:
        HistodsError: the folder holds something else.
    """
    known = read_mark(folder)
    if known is None:
        refuse_others(folder, _JOURNAL)
        return None
    if known.asked() != wanted.asked():
        raise HistodsError(
            f"{folder} holds tiles of other options, those of '{known.command}'; "
            "run that command, or choose another folder with --to."
        )
    if known.plan_digest != wanted.plan_digest:
        found = "the same dataset as it was before" if known.root == wanted.root else known.root
        raise HistodsError(
            f"{folder} holds tiles of {found}, not of {wanted.root} as it was audited last; "
            "remove that folder, or choose another with --to."
        )
    return known


def open_journal(folder: Path) -> Journal:
    """The journal of a folder of tiles."""
    taken = f"Another process is cutting tiles in {folder}; wait for it."
    return Journal(folder / _JOURNAL, CUT, head=_HEAD, taken=taken)


def read_done(folder: Path, mark: TileMark | None, journal: Journal) -> pl.DataFrame:
    """Rows of `CUT` of the images whose tiles earlier runs of the same plan completed."""
    if mark is None:
        return to_polars(CUT.empty_table())
    rows = to_polars(journal.table())
    table = folder / TABLE
    if mark.tiles_digest is not None and table.is_file() and file_digest(table) == mark.tiles_digest:
        stored = to_polars(read_table(table, CUT.names).cast(CUT))
        rows = pl.concat([stored.select(CUT.names), rows])
    rows = rows.unique(["source", "x", "y"], keep="last", maintain_order=True)
    return keep_intact(folder, rows, "source")


def copy_label_maps(root: Path, folder: Path) -> tuple[str, ...]:
    """Copy the YAML files at the top of a dataset, which are label maps.

    Otherwise a map would not be found, or a bundled one with the same name would be used.

    Returns:
        Their names.
    """
    names = []
    with OpenRoot(root) as dataset:
        maps = (path for path in root.iterdir() if path.suffix.lower() in (".yml", ".yaml"))
        for path in sorted(path for path in maps if not path.name.startswith(".")):
            try:
                with dataset.open(path.name) as file:
                    if file.size <= MAX_BYTES:
                        write_bytes(folder / path.name, file.read())
                        names.append(path.name)
            except UnreadableFileError:  # a folder, or a link out of the dataset
                continue
    return tuple(names)


def write_tables(folder: Path, tiles: pl.DataFrame, mark: TileMark) -> None:
    """Write the two tables, and finally the mark that they are complete.

    Args:
        folder: the folder of the tiles.
        tiles: columns of `CUT`, and source_image, source_mask, role, group, split; in any order.
        mark: the mark without the digest.
    """
    key = pl.col("image_path").str.replace(r"\.[^./]+$", "")
    tiles = tiles.with_columns(key=key).select(COLUMNS).sort("source", "y", "x")
    written = tiles.filter(status="written").select("image_path", "mask_path", "group", "split")
    write_text(folder / PAIRS, to_csv([["image", "mask", "group", "split"], *written.iter_rows()]))
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "plan_digest": mark.plan_digest,
        "manifest_digest": mark.manifest_digest,
    }
    write_table(tiles.to_arrow(), folder / TABLE, metadata)
    write_mark(folder, mark, file_digest(folder / TABLE))
