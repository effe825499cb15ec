"""A folder of image shards: `shards.json` and what it vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from histods.storage.series import Series


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSet(Series):
    """What `shards.json` says.

    Attributes:
        manifest_digest: digest of the manifest that the last run took samples from.
        split_digest: digest of the table of splits; None where all samples are in one.
    """

    WHAT: ClassVar[str] = "shards"
    SUFFIX: ClassVar[str] = ".tar"
    FILE: ClassVar[str] = "shards.json"
    COMMAND: ClassVar[str] = "histods shard"

    manifest_digest: str
    split_digest: str | None
