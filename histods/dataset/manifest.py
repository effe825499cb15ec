"""The manifest: one row per sample, in Parquet, sorted by key."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe, replacing
from histods.io.checked import fit, stays_inside
from histods.printing import printed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import polars as pl

    from histods.dataset.sample import Sample

SCHEMA_VERSION = 1
_MAX_ROWS = 4  # per byte: ascending keys are packed into one byte or less
_MAX_VALUES = 64
"""Values of a column per byte of a file: equal masks have equal labels and pixels, which compress well."""
BESIDE = "beside"
"""Key of the metadata: JSON list of the folders of images without masks outside the dataset's folder."""
_ODD = r"^$|^/|/$|//|(^|/)\.\.?(/|$)|\x00"  # not a plain path below a folder
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
        ("jpeg_quality", pa.uint8()),
        ("chroma_subsampling", pa.string()),
        ("looks_like", pa.string()),
    ]
)
_LEAST_COLUMNS = 16
"""Columns of manifests that older versions wrote; they lack the last ones, which are then null."""


def metadata_of(table: pa.Table) -> dict[str, str]:
    """The metadata of a table."""
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (table.schema.metadata or {}).items()
    }


def to_polars(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a polars DataFrame."""
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is never a single column
    return frame


def write_table(table: pa.Table, path: Path, metadata: dict[str, str]) -> None:
    """Write a table atomically; equal tables give equal bytes (zstd, fixed row groups)."""
    plain = {key.encode(): value.encode() for key, value in metadata.items()}
    with replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(plain),
            temporary,
            compression="zstd",
            use_dictionary=False,  # paths and digests are all different: smaller and faster without a dictionary
            row_group_size=65536,
        )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some columns of it.

    Raises:
        HistodsError: the file is missing, is not Parquet, or does not fit into memory.
    """
    with _opened(path) as file:
        return file.read(columns=None if columns is None else list(columns))


def read_schema(path: Path) -> tuple[pa.Schema, int]:
    """Columns of a Parquet file, without metadata, and its number of rows.

    Raises:
        HistodsError: the file is missing, is not Parquet, or does not fit into memory.
    """
    with _opened(path) as file:
        return file.schema_arrow.remove_metadata(), file.metadata.num_rows


def has_columns(schema: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether a table has these columns, in this order; polars writes strings and lists as large types."""
    return schema.names == wanted.names and all(
        _plain_type(found) == kind for found, kind in zip(schema.types, wanted.types, strict=True)
    )


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.list_(kind.value_type) if pa.types.is_large_list(kind) else kind


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file written by histods; errors become one line."""
    refuse_pipe(path)
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would import pyarrow.dataset and with it pandas
            _refuse_bomb(path, file.metadata)
            yield file
    except (OSError, ValueError, KeyError, OverflowError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HistodsError(f"{path} cannot be read as Parquet ({reason}); make it again.") from error


def _refuse_bomb(path: Path, metadata: pq.FileMetaData) -> None:
    """Reject a small file with billions of equal values; rows that histods writes differ in key or path."""
    size = path.stat().st_size
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    values = [sum(group.column(place).num_values for group in groups) for place in range(metadata.num_columns)]
    if metadata.num_rows > _MAX_ROWS * size or max(values, default=0) > _MAX_VALUES * size:
        rows = f"{metadata.num_rows:,} rows, {max(values, default=0):,} values"
        raise HistodsError(
            f"{path} is not a table of samples: it claims {rows} in {size:,} bytes; remove it and make it again."
        )


@printed(table="roles", hide=("table", "provenance"))
@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The samples of a dataset.

    Attributes:
        table: the columns of `SCHEMA`, one row per sample, sorted by key.
        provenance: schema version, histods version, layout and options, from the metadata of the Parquet file.
        workspace: folder of the audit that it belongs to; None if it is in no workspace.
    """

    table: pa.Table
    provenance: dict[str, str]
    workspace: Path | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def roles(self) -> pl.DataFrame:
        """The number of samples with each role."""
        import polars as pl

        return self.to_polars().group_by("role").agg(samples=pl.len()).sort("role")

    def sample(self, key: str) -> Sample:
        """One sample, with its image, mask and overlay as arrays.

        Raises:
            HistodsError: there is no such key (the message names similar ones), or there is no workspace.
        """
        from histods.dataset.sample import find_sample

        return find_sample(self, key)

    def to_polars(self) -> pl.DataFrame:
        """The manifest as a polars DataFrame."""
        return to_polars(self.table)

    def to_pandas(self) -> pd.DataFrame:
        """The manifest as a pandas DataFrame: nullable integers, strings or None, and lists of Python integers."""
        import pandas as pd

        kinds = {pa.uint8(): pd.UInt8Dtype(), pa.uint32(): pd.UInt32Dtype(), pa.int64(): pd.Int64Dtype()}
        frame: pd.DataFrame = self.table.to_pandas(types_mapper=kinds.get)
        for name in ("labels", "pixels"):
            frame[name] = pd.Series(self.table[name].to_pylist(), dtype=object, index=frame.index)
        return frame

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read a manifest from Parquet.

        Raises:
            HistodsError: the file is missing, is not Parquet, or is not a manifest of this schema version.
        """
        table = read_table(Path(path))
        stored = metadata_of(table)
        names = SCHEMA.names[: max(table.num_columns, _LEAST_COLUMNS)]
        if stored.get("schema_version") != str(SCHEMA_VERSION) or table.schema.names != names:
            raise HistodsError(
                f"{path} is not a manifest of schema version {SCHEMA_VERSION}, but has "
                f"version {stored.get('schema_version')} with {table.num_columns} columns; "
                "run 'histods audit DATASET' again."
            )
        try:
            for column in list(SCHEMA)[len(names) :]:
                table = table.append_column(column, pa.nulls(len(table), column.type))
            found = cls(table.cast(SCHEMA), stored, Path(path).parent)
            found.check()
        except (ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            if stored.get("histods_version", "").startswith("0.1."):
                raise HistodsError(
                    f"{path} was written by histods {stored['histods_version']}, which did not record the folders "
                    f"of --unconditional ({reason}); run 'histods audit DATASET' again."
                ) from error
            raise HistodsError(
                f"{path} has paths or numbers that no dataset has ({reason}); run 'histods audit DATASET' again."
            ) from error
        return found

    def check(self) -> None:
        """Check that all files are below the dataset's folder or the additional folders of images without masks.

        Raises:
            ValueError: a file is elsewhere; the message is a part of a sentence.
        """
        beside = fit(json.loads(self.provenance.get(BESIDE, "[]")), list[str], BESIDE)
        for column in ("key", "image_path", "mask_path"):
            values = self.table[column]
            odd = values.filter(pc.match_substring_regex(values, _ODD)).to_pylist()
            for path in odd:
                below = next((folder for folder in beside if path.startswith(f"{folder}/")), None)
                if below is None or not stays_inside(path[len(below) + 1 :]):
                    raise ValueError(f"{path!r} outside it")
        lengths = [pc.fill_null(pc.list_value_length(self.table[name]), -1) for name in ("labels", "pixels")]
        if not lengths[0].equals(lengths[1]):
            raise ValueError("labels and pixels of different numbers")
        if self.table["key"].null_count or self.table["role"].null_count:
            raise ValueError("samples without a key or a role")

    def write(self, path: str | Path) -> None:
        """Write the manifest as Parquet, atomically."""
        write_table(
            self.table.cast(SCHEMA), Path(path), {**self.provenance, "schema_version": str(SCHEMA_VERSION)}
        )
