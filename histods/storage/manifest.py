"""The manifest: one row a sample, in Parquet, sorted by key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from histods.errors import HistodsError
from histods.storage.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

SCHEMA_VERSION = 1
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_path", pa.string()),
        ("mask_path", pa.string()),
        ("role", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("image_bytes", pa.int64()),
        ("image_mtime_ns", pa.int64()),
        ("mask_bytes", pa.int64()),
        ("mask_mtime_ns", pa.int64()),
        ("mask_kind", pa.string()),
        ("labels", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
        ("image_digest", pa.string()),
        ("mask_digest", pa.string()),
        ("group", pa.string()),
    ]
)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a polars DataFrame."""
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is never a single column
    return frame


def write_table(table: pa.Table, path: Path, metadata: dict[str, str]) -> None:
    """Write a table atomically; the same table gives the same bytes (zstd, fixed row groups)."""
    plain = {key.encode(): value.encode() for key, value in metadata.items()}
    with replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(plain),
            temporary,
            compression="zstd",
            row_group_size=65536,
        )


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        HistodsError: the file is missing or is not Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would import pyarrow.dataset and with it pandas
            return file.read()
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HistodsError(f"Expected a Parquet file in {path}, found: {reason}; make it again.") from error


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The samples of a dataset: `table` has the columns of `SCHEMA`, one row a sample, sorted by key.

    `provenance` says what made it (schema version, histods version, layout and options); it is kept in
    the Parquet file's metadata.
    """

    table: pa.Table
    provenance: dict[str, str]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def to_polars(self) -> pl.DataFrame:
        """The manifest as a polars DataFrame."""
        return to_polars(self.table)

    def to_pandas(self) -> pd.DataFrame:
        """The manifest as a pandas DataFrame; `labels` and `pixels` hold NumPy arrays."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read a manifest from Parquet.

        Raises:
            HistodsError: the file is missing, is not Parquet, or is not a manifest of this schema version.
        """
        table = read_table(Path(path))
        stored = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if stored.get("schema_version") != str(SCHEMA_VERSION) or table.schema.names != SCHEMA.names:
            raise HistodsError(
                f"Expected a manifest of schema version {SCHEMA_VERSION} in {path}, "
                f"found version {stored.get('schema_version')} with {table.num_columns} columns; "
                "run 'histods audit DATASET' again."
            )
        return cls(table.cast(SCHEMA), stored)

    def write(self, path: str | Path) -> None:
        """Write the manifest as Parquet, atomically."""
        write_table(
            self.table.cast(SCHEMA), Path(path), {**self.provenance, "schema_version": str(SCHEMA_VERSION)}
        )
