"""When shards were last verified: recorded beside them, and only for the shards that were read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods import shard, split
from histods.errors import HistodsError
from histods.shards.images.shard_set import ShardSet
from histods.shards.verified import last_verification

if TYPE_CHECKING:
    from tests.conftest import Site


@pytest.fixture
def folder(site: Site) -> Path:
    """Shards that nobody verified."""
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site.workspace / "shards"


def flip_last_byte(path: Path) -> None:
    """Damage a file without changing its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_shards_are_verified_when_every_byte_was_read(folder: Path, site: Site) -> None:
    assert last_verification(ShardSet.describe(folder)) is None
    before = datetime.now(UTC) - timedelta(seconds=1)
    shard(workspace=site.workspace, verify=True, workers=1)
    last = last_verification(ShardSet.describe(folder))
    assert last is not None
    assert last.sound
    assert before <= last.time <= datetime.now(UTC)


@pytest.mark.parametrize("damaged", ["*.tar", "index.parquet"])
def test_the_last_outcome_counts(folder: Path, site: Site, damaged: str) -> None:
    shard(workspace=site.workspace, verify=True, workers=1)
    flip_last_byte(next(folder.glob(damaged)))
    with pytest.raises(HistodsError):
        shard(workspace=site.workspace, verify=True, workers=1)
    last = last_verification(ShardSet.describe(folder))
    assert last is not None
    assert not last.sound
    flip_last_byte(next(folder.glob(damaged)))
    shard(workspace=site.workspace, verify=True, workers=1)
    assert (last := last_verification(ShardSet.describe(folder))) is not None
    assert last.sound


def test_shards_that_were_written_again_are_not_verified(folder: Path, site: Site) -> None:
    shard(workspace=site.workspace, verify=True, workers=1)
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, overwrite=True, workers=1)
    assert last_verification(ShardSet.describe(folder)) is None


@pytest.mark.parametrize("log", [b"", b"\xff\xfe", b"yesterday sound\n", b"no-time {} sound\n"])
def test_a_damaged_log_says_nothing(folder: Path, log: bytes) -> None:
    (folder / "verified.log").write_bytes(log)
    assert last_verification(ShardSet.describe(folder)) is None
