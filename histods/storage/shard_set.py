"""A folder of shards: `shards.json` says what it holds, `index.parquet` where each sample is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from histods.errors import HistodsError
from histods.storage.atomic import file_digest, write_json
from histods.storage.manifest import write_table
from histods.storage.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One archive: its name without `.tar`, its split, samples and bytes, SHA-256, and digest of its plan."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    plan: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSet:
    """What `shards.json` says.

    Attributes:
        folder: where it and the shards are.
        shards: all shards, by name.
        map: name of the label map.
        classes: names of the classes.
        labels: source labels of each class.
        map_digest: digest of the label map.
        manifest_digest: digest of the manifest that the last run took samples from.
        split_digest: digest of the table of splits; None where all samples are in one.
        index_digest: SHA-256 of `index.parquet`.
    """

    folder: Path
    shards: tuple[Shard, ...]
    map: str
    classes: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    map_digest: str
    manifest_digest: str
    split_digest: str | None
    index_digest: str

    @property
    def index(self) -> Path:
        """Where each sample is."""
        return self.folder / "index.parquet"

    def tar(self, shard: str) -> Path:
        """The archive of that name."""
        return self.folder / f"{shard}.tar"

    def write(self) -> None:
        """Write `shards.json`, which vouches for all other files of the folder."""
        document = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        del document["folder"]
        document["samples"] = sum(shard.samples for shard in self.shards)
        document["bytes"] = sum(shard.bytes for shard in self.shards)
        write_json(self.folder / "shards.json", document)

    @classmethod
    def read(cls, folder: Path) -> ShardSet:
        """Read `shards.json` and prove that the index and the shards' sizes are those it describes.

        Raises:
            HistodsError: there are no finished shards, or the index or a shard is not the one described.
        """
        shards = cls.describe(folder)
        shards.refuse([*shards.check_index(), *shards.check_sizes()])
        return shards

    @classmethod
    def describe(cls, folder: Path) -> ShardSet:
        """Read `shards.json` alone.

        Raises:
            HistodsError: there are no finished shards, or they are of another version.
        """
        path = folder / "shards.json"
        if not path.is_file():
            raise HistodsError(
                f"Expected finished shards in {folder}, found no shards.json; run 'histods shard --out {folder}'."
            )
        document = read_json(path)
        if document.pop("schema_version", None) != SCHEMA_VERSION:
            raise HistodsError(
                f"Expected shards of version {SCHEMA_VERSION} in {path}, found another; "
                "run 'histods shard' into a new folder."
            )
        try:
            del document["samples"], document["bytes"]
            document["shards"] = tuple(Shard(**shard) for shard in document["shards"])
            document["classes"] = tuple(document["classes"])
            document["labels"] = tuple(tuple(labels) for labels in document["labels"])
            return cls(folder=folder, **document)
        except (KeyError, TypeError) as error:
            raise HistodsError(
                f"Expected the description of shards in {path}, found something else ({error}); "
                "run 'histods shard' into a new folder."
            ) from error

    def refuse(self, problems: Sequence[str]) -> None:
        """Say in one line all that is wrong with the folder.

        Raises:
            HistodsError: there are problems.
        """
        if problems:
            more = f"; and {len(problems) - 5:,} more" if len(problems) > 5 else ""
            raise HistodsError(
                f"Expected sound shards in {self.folder}, found: {'; '.join(problems[:5])}{more}; "
                "remove what is wrong and run 'histods shard' again."
            )

    def check_index(self) -> list[str]:
        """What is wrong with `index.parquet`."""
        if not self.index.is_file():
            return ["index.parquet is missing"]
        if file_digest(self.index) != self.index_digest:
            return ["index.parquet is not the one that shards.json describes"]
        return []

    def check_sizes(self) -> list[str]:
        """What is wrong with the archives, as far as their sizes tell."""
        problems = []
        for shard in self.shards:
            try:
                size = self.tar(shard.name).stat().st_size
            except OSError:
                problems.append(f"{shard.name}.tar is missing")
                continue
            if size != shard.bytes:
                problems.append(f"{shard.name}.tar has {size:,} bytes instead of {shard.bytes:,}")
        return problems


def write_index(table: pa.Table, folder: Path) -> str:
    """Write `index.parquet`; its digest."""
    path = folder / "index.parquet"
    write_table(table, path, {"schema_version": str(SCHEMA_VERSION)})
    return file_digest(path)


def read_index(shards: ShardSet, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of `INDEX`, or some columns of them."""
    with pq.ParquetFile(shards.index) as file:
        return file.read(columns=None if columns is None else list(columns)).replace_schema_metadata(None)
