"""Shards in a folder: a JSON file describes them, and `index.parquet` has the location of each sample."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 - `build` looks at the types of fields
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from histods.dataset.manifest import has_columns, read_schema, read_table, write_table
from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_json
from histods.io.checked import build, is_name
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

SCHEMA_VERSION = 1
_MAX_CLASSES = 256  # stored in 8 bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One shard: its name without suffix, its split, samples and bytes, SHA-256, and digest of its plan."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    plan: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What all kinds of shards share.

    Attributes:
        folder: the folder of the shards and their description.
        shards: all shards, by name.
        map: name of the label map.
        classes: names of the classes.
        labels: source labels of each class.
        map_digest: digest of the label map.
        index_digest: SHA-256 of `index.parquet`.
    """

    WHAT: ClassVar[str]
    SUFFIX: ClassVar[str]
    FILE: ClassVar[str]
    COMMAND: ClassVar[str]
    INDEX: ClassVar[pa.Schema]

    folder: Path
    shards: tuple[Shard, ...]
    map: str
    classes: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    map_digest: str
    index_digest: str

    @property
    def index(self) -> Path:
        """The path of the index."""
        return self.folder / "index.parquet"

    def path(self, shard: str) -> Path:
        """The path of a shard, by name."""
        return self.folder / f"{shard}{self.SUFFIX}"

    @property
    def splits(self) -> dict[str, tuple[int, int, int]]:
        """Split -> (shards, samples, bytes)."""
        found: dict[str, tuple[int, int, int]] = {}
        for one in self.shards:
            shards, samples, size = found.get(one.split, (0, 0, 0))
            found[one.split] = (shards + 1, samples + one.samples, size + one.bytes)
        return found

    def choose(self, splits: Sequence[str]) -> tuple[str, ...]:
        """Names of splits, sorted; all splits if none is given.

        Raises:
            HistodsError: there is no such split.
        """
        known = sorted(self.splits)
        if unknown := sorted(set(splits) - set(known)):
            names = ", ".join(known)
            raise HistodsError(f"{self.folder} has no split {unknown[0]!r}; choose one of {names}.")
        return tuple(sorted(splits)) or tuple(known)

    def write(self) -> None:
        """Write the description, against which all other files of the folder are checked."""
        document = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        del document["folder"]
        document["samples"] = sum(shard.samples for shard in self.shards)
        document["bytes"] = sum(shard.bytes for shard in self.shards)
        write_json(self.folder / self.FILE, document)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the description and verify the index and the sizes of the shards.

        Raises:
            HistodsError: there are no finished shards, or the index or a shard differs from the description.
        """
        shards = cls.describe(folder)
        shards.refuse([*shards.check_index(), *shards.check_sizes()])
        return shards

    @classmethod
    def describe(cls, folder: Path) -> Self:
        """Read only the description.

        Raises:
            HistodsError: there are no finished shards, or they are of another version.
        """
        path = folder / cls.FILE
        if not path.is_file():
            raise HistodsError(
                f"There are no finished {cls.WHAT} in {folder} (no {cls.FILE}); "
                f"run '{cls.COMMAND} --out {folder}'."
            )
        document = read_json(path)
        if document.pop("schema_version", None) != SCHEMA_VERSION:
            raise HistodsError(
                f"{path} describes {cls.WHAT} of another version than {SCHEMA_VERSION}; "
                f"run '{cls.COMMAND}' into a new folder."
            )
        document.pop("samples", None)
        document.pop("bytes", None)
        try:
            described = build(cls, document, folder=folder)
            described.check_numbers()
        except (ValueError, HistodsError) as error:
            raise HistodsError(
                f"{path} is not a description of {cls.WHAT} ({error}); run '{cls.COMMAND}' into a new folder."
            ) from error
        return described

    def check_numbers(self) -> None:
        """Check that names are file names in this folder, and that numbers are possible.

        Raises:
            ValueError: a check fails; the message is a part of a sentence.
        """
        names = [shard.name for shard in self.shards]
        if (wrong := next((name for name in names if not is_name(name)), None)) is not None:  # it may be empty
            raise ValueError(f"a shard named {wrong!r}")
        if len(set(names)) < len(names) or not names:
            raise ValueError("no shards" if not names else "two shards of one name")
        for shard in self.shards:
            if not 0 < shard.samples <= shard.bytes:
                raise ValueError(f"{shard.samples:,} samples in the {shard.bytes:,} bytes of {shard.name}")
        if not 0 < len(self.classes) == len(self.labels) <= _MAX_CLASSES:
            raise ValueError(f"{len(self.classes):,} classes and the labels of {len(self.labels):,}")

    def refuse(self, problems: Sequence[str]) -> None:
        """Raise one error for all problems of the folder.

        Raises:
            HistodsError: there are problems.
        """
        if problems:
            more = f"; and {len(problems) - 5:,} more" if len(problems) > 5 else ""
            raise HistodsError(
                f"The {self.WHAT} in {self.folder} are not sound: {'; '.join(problems[:5])}{more}; "
                f"remove what is wrong and run '{self.COMMAND}' again."
            )

    def check_index(self) -> list[str]:
        """List the problems of `index.parquet`."""
        if not self.index.is_file():
            return ["index.parquet is missing"]
        if file_digest(self.index) != self.index_digest:
            return [f"index.parquet is not the one that {self.FILE} describes"]
        schema, rows = read_schema(self.index)
        if not has_columns(schema, self.INDEX) or rows != sum(shard.samples for shard in self.shards):
            return [f"index.parquet is not an index of the {self.WHAT} that {self.FILE} lists"]
        return []

    def check_sizes(self) -> list[str]:
        """List the problems of the shards, judged by their sizes."""
        problems = []
        for shard in self.shards:
            path = self.path(shard.name)
            try:
                size = path.stat().st_size
            except OSError:
                problems.append(f"{path.name} is missing")
                continue
            if size != shard.bytes:
                problems.append(f"{path.name} has {size:,} bytes instead of {shard.bytes:,}")
        return problems


def write_index(table: pa.Table, folder: Path) -> str:
    """Write `index.parquet` and return its digest."""
    path = folder / "index.parquet"
    write_table(table, path, {"schema_version": str(SCHEMA_VERSION)})
    return file_digest(path)


def read_index(shards: Series, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of the index, or some columns of them, after `Series.check_index`."""
    table = read_table(shards.index, columns).replace_schema_metadata(None)
    return table.cast(pa.schema([shards.INDEX.field(name) for name in table.column_names]))
