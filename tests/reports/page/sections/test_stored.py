"""The section of shards and latents: what it says of them is true now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histods import shard
from histods.io.workspace import Workspace
from reports.page.pictures import Pictures
from reports.page.sections.stored import build
from reports.page.source import read_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Site


def described(workspace: Path) -> dict[str, Any]:
    """What the section shows of the shards."""
    source = read_source(Workspace(workspace))
    (one,) = build(source, Pictures(source)).values["sets"]
    return dict(one)


def test_shards_are_said_to_be_verified_only_after_that(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    assert described(site.workspace)["verified"] is None
    shard(workspace=site.workspace, verify=True, workers=1)
    time, sound = described(site.workspace)["verified"]
    assert sound
    assert time.endswith(" UTC")


def test_a_missing_shard_is_named(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    assert not described(site.workspace)["faults"]
    (path,) = (site.workspace / "shards").glob("*.tar")
    path.unlink()
    assert described(site.workspace)["faults"] == [f"{path.name} is missing"]


def test_without_shards_the_command_that_writes_them_is_shown(site: Site) -> None:
    source = read_source(Workspace(site.workspace))
    content = build(source, Pictures(source))
    assert content.missing is not None
    assert (content.missing.command or "").startswith("histods shard")
