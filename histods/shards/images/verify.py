"""Read shards completely and compare every byte with the index and the digests."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import xxhash

from histods.errors import UnreadableFileError
from histods.shards.images.tar import iter_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.shards.base import Shard


def verify_shard(tasks: Sequence[tuple[str, Shard, bytes]]) -> list[str]:
    """Read shards completely, in a worker, and compare every byte with the index and the digests.

    Args:
        tasks: folder, shard, and its rows of the index as an Arrow stream.

    Returns:
        The problems, each with the shard's name.
    """
    found = [(shard.name, _verify(folder, shard, rows)) for folder, shard, rows in tasks]
    return [f"{name}.tar {problem}" for name, problem in found if problem is not None]


def _verify(folder: str, shard: Shard, rows: bytes) -> str | None:
    """The first problem of a shard, or None."""
    try:
        with Path(folder, f"{shard.name}.tar").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != shard.bytes:
                return f"has {size:,} bytes instead of {shard.bytes:,}"
            # Mapped, not read: with many workers, shards of 512 MB would not fit into memory.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as content:
                problem = _compare(content, rows)
                if problem is None and hashlib.sha256(content).hexdigest() != shard.sha256:
                    problem = "is damaged outside its images and masks: its SHA-256 is not the one in shards.json"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return problem


def _compare(content: memoryview, rows: bytes) -> str | None:
    """The first image or mask that differs from the index, or None."""
    try:
        members = {member.name: member for member in iter_members(content)}
    except UnreadableFileError as error:
        return f"is damaged: {error}"
    names = set()
    for row in pa.ipc.open_stream(rows).read_all().to_pylist():
        names |= {row["member"] + row["image_suffix"], row["member"] + ".json"}
        files = [
            (row["member"] + row["image_suffix"], row["image_offset"], row["image_bytes"], row["image_digest"])
        ]
        if row["mask_offset"] is not None:
            files.append((row["member"] + ".mask.png", row["mask_offset"], row["mask_bytes"], row["mask_digest"]))
            names.add(files[-1][0])
        for name, offset, size, digest in files:
            if members.get(name) != (name, offset, size):
                return f"does not have {name} where the index says"
            if xxhash.xxh3_64_intdigest(content[offset : offset + size]) != digest:
                return f"is damaged: the bytes of {name} are not those that were written"
    if names != members.keys():
        return f"holds {len(members.keys() - names):,} files that the index does not list"
    return None
