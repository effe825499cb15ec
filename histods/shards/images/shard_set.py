"""A folder of image shards, described by `shards.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from histods.shards.base import Series

if TYPE_CHECKING:
    from histods.labels.label_map import LabelMap

INDEX = pa.schema(
    [
        ("key", pa.string()),
        ("member", pa.string()),
        ("shard", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("image_suffix", pa.string()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int64()),
        ("image_digest", pa.uint64()),
        ("mask_offset", pa.int64()),
        ("mask_bytes", pa.int64()),
        ("mask_digest", pa.uint64()),
        ("classes", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
    ]
)
"""The location of each sample: offsets are of the bytes of the file itself, digests are XXH3-64 of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSet(Series):
    """The contents of `shards.json`.

    Attributes:
        manifest_digest: digest of the manifest that the last run used.
        split_digest: digest of the table of splits; None if there is no split.
    """

    WHAT: ClassVar[str] = "shards"
    SUFFIX: ClassVar[str] = ".tar"
    FILE: ClassVar[str] = "shards.json"
    COMMAND: ClassVar[str] = "histods shard"
    INDEX: ClassVar[pa.Schema] = INDEX

    manifest_digest: str
    split_digest: str | None

    def differs_from(
        self, *, label_map: LabelMap | None, manifest_digest: str, split_digest: str | None
    ) -> str | None:
        """Describe how these shards differ from those that would be written now; None if they do not.

        Args:
            label_map: the current label map; None for that of the shards.
            manifest_digest: the digest of the last audit's manifest.
            split_digest: the digest of the current split; None without one.
        """
        if label_map is not None and self.map_digest != label_map.digest:
            if self.map == label_map.name:
                return f"the label map '{label_map.name}' changed since"
            return f"they have the classes of '{self.map}', not of '{label_map.name}'"
        if self.manifest_digest != manifest_digest:
            return "the dataset was audited again since"
        if self.split_digest == split_digest:
            return None
        if self.split_digest is None or split_digest is None:
            return "the samples were not split then" if self.split_digest is None else "there is no split any more"
        return "the samples were split again since"
