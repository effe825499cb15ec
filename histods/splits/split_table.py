"""split.parquet: which split each sample is in; written, read again, and proved."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from histods.dataset.manifest import (
    SCHEMA_VERSION,
    Manifest,
    has_columns,
    metadata_of,
    read_table,
    to_polars,
    write_table,
)
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest
from histods.io.checked import build, is_name
from histods.io.workspace import read_json
from histods.splits.groups import take_groups

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace

SPLIT_SCHEMA = pa.schema([("key", pa.string()), ("split", pa.string())])


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """What was asked for; `test` is None with folds, `group_regex` where groups are those of the audit."""

    test: float | None
    val: float
    folds: int | None
    seed: int
    keep: bool
    group_regex: str | None = None

    @property
    def command(self) -> str:
        """The command that splits in this way."""
        words = ["histods split"]
        if self.folds is not None:
            words.append(f"--folds {self.folds}")
        else:
            words.append(f"--test {self.test}")
            words += [f"--val {self.val}"] if self.val else []
        words.append(f"--seed {self.seed}")
        words += [] if self.group_regex is None else [f"--group-regex {shlex.quote(self.group_regex)}"]
        return " ".join(words + (["--keep"] if self.keep else []))


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCheck:
    """What reading `split.parquet` back showed, with the manifest alone.

    Attributes:
        samples: usable samples of the manifest.
        missing: those without a split.
        doubled: rows whose key has a row already.
        unknown: rows of no usable sample.
        groups: groups of usable samples.
        straddling_groups: those in more than one split.
        duplicates: sets of images with the same bytes; None where no image has a digest.
        straddling_duplicates: those in more than one split.
        likenesses: sets of images that look the same, near-duplicates; None where nobody looked for them.
        straddling_likenesses: those in more than one split: a split does not keep them together.
        sizes: conditional and unconditional samples of each split.
    """

    samples: int
    missing: int
    doubled: int
    unknown: int
    groups: int
    straddling_groups: int
    duplicates: int | None
    straddling_duplicates: int
    sizes: dict[str, tuple[int, int]]
    likenesses: int | None = None
    straddling_likenesses: int = 0

    @property
    def sound(self) -> bool:
        """Nothing straddles, and every sample has exactly one split."""
        wrong = self.missing, self.doubled, self.unknown, self.straddling_groups, self.straddling_duplicates
        return not any(wrong)


def write_split(space: Workspace, rows: pl.DataFrame, audit: AuditSummary, options: SplitOptions) -> None:
    """Write `key` and `split` of each sample, sorted by key, with what they were made from."""
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "manifest_digest": audit.manifest_digest,
        "pairs_digest": audit.options.pairs_digest or "",
        "options": json.dumps(_options_document(options), sort_keys=True),
    }
    table = rows.sort("key").select(SPLIT_SCHEMA.names).to_arrow().cast(SPLIT_SCHEMA)
    write_table(table, space.split, metadata)


def _options_document(options: SplitOptions) -> dict[str, Any]:
    """The options as JSON: files that need no group_regex are as they were before there was one."""
    return {name: value for name, value in asdict(options).items() if (name, value) != ("group_regex", None)}


def with_split_groups(samples: pl.DataFrame, options: SplitOptions) -> pl.DataFrame:
    """Give samples the groups by which they were split: those of the audit, or those that their keys tell."""
    if options.group_regex is None:
        return samples
    return samples.with_columns(group=take_groups(samples["key"], options.group_regex))


def read_split(space: Workspace, manifest_digest: str) -> tuple[pa.Table, str] | None:
    """The split of the workspace, `key` and `split` sorted by key, and the file's digest; None without one.

    Raises:
        HistodsError: the file is no split.
        StaleFileError: it was made from another manifest or pairs file; the message names the command.
    """
    if not space.split.is_file():
        return None
    table, options = read_any_split(space)
    pairs_digest = read_json(space.audit)["options"].get("pairs_digest") or ""
    stored = metadata_of(table)
    made_from = stored["manifest_digest"], stored["pairs_digest"]
    if made_from != (manifest_digest, pairs_digest):
        raise StaleFileError(
            f"{space.split} was made from an earlier audit; run '{options.command} -w {space.folder}' again."
        )
    return table, file_digest(space.split)


def read_any_split(space: Workspace) -> tuple[pa.Table, SplitOptions]:
    """The split of the workspace, of whatever audit it was made, and the options with which it was made.

    Raises:
        HistodsError: the file is no split.
    """
    table = read_table(space.split)
    stored = metadata_of(table)
    try:
        options = build(SplitOptions, json.loads(stored["options"]))
        sound = has_columns(table.schema, SPLIT_SCHEMA) and {"manifest_digest", "pairs_digest"} <= stored.keys()
        sound = sound and not table["key"].null_count and all(map(is_name, table["split"].unique().to_pylist()))
    except (AttributeError, KeyError, ValueError, RecursionError):
        sound = False
    if not sound or stored.get("schema_version") != str(SCHEMA_VERSION):
        raise HistodsError(
            f"{space.split} is not a split of schema version {SCHEMA_VERSION}; "
            f"run 'histods split -w {space.folder}' again."
        )
    return table.cast(SPLIT_SCHEMA.with_metadata(table.schema.metadata)), options


def check_split(space: Workspace) -> SplitCheck:
    """Read `split.parquet` and the manifest back and count what is in more than one split, or in none.

    This knows nothing of how the split was made.
    """
    manifest = Manifest.read(space.manifest).to_polars()
    usable = manifest.filter(pl.col("role") != "excluded").select(
        "key", "role", "group", "image_digest", "looks_like"
    )
    table, options = read_any_split(space)
    usable, rows = with_split_groups(usable, options), to_polars(table)
    joined = usable.join(rows, on="key")
    groups = _spread(joined, "group")
    digests = _spread(joined, "image_digest").filter(pl.col("samples") > 1)
    sizes = joined.group_by("split").agg(
        conditional=(pl.col("role") == "conditional").sum(), unconditional=(pl.col("role") != "conditional").sum()
    )
    looked_for = usable["image_digest"].null_count() == 0
    alike = _spread(joined, "looks_like").filter(pl.col("samples") > 1)
    return SplitCheck(
        samples=len(usable),
        missing=len(usable.join(rows, on="key", how="anti")),
        doubled=len(rows) - rows["key"].n_unique(),
        unknown=len(rows.join(usable, on="key", how="anti")),
        groups=len(groups),
        straddling_groups=int((groups["splits"] > 1).sum()),
        duplicates=len(digests) if looked_for else None,
        straddling_duplicates=int((digests["splits"] > 1).sum()),
        sizes={name: (here, there) for name, here, there in sorted(sizes.iter_rows())},
        likenesses=len(alike) if space.read_summary().options.quality else None,
        straddling_likenesses=int((alike["splits"] > 1).sum()),
    )


def _spread(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """For each value of a column, its samples and the number of splits that they are in."""
    return rows.drop_nulls(column).group_by(column).agg(samples=pl.len(), splits=pl.col("split").n_unique())
