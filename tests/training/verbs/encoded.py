"""Shards to encode, and what is in a folder of latents, for tests of encode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods import shard, split
from histods.errors import HistodsError
from tests.conftest import make_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Site


SMALL = 12 * 8 * 8 * 36 * 2  # bytes of 12 samples in 8 views of 8 x 6 x 6 numbers


def tree(folder: Path) -> dict[str, bytes]:
    """Name and content of every file, but for the lock and the arrays that readers make."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and ".lookup" not in path.parts
    }


def refusal(call: Callable[[], object], kind: type[HistodsError] = HistodsError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make_shards(folder: Path) -> Site:
    """A dataset in two splits, as shards in its workspace."""
    site = make_site(folder)
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site


def damage_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
