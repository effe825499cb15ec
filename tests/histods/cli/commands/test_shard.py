"""`histods shard`: what is in a folder of shards, in words and as a document."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from histods import shard
from histods.cli.commands.shard import show_shard, to_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.histods.cli.commands.conftest import Place


def test_shards_that_are_whole_are_verified_and_nothing_comes_next(place: Place) -> None:
    result = place.run("shard", "--verify")
    assert result.returncode == 0
    words = " ".join(result.stdout.split())
    assert f"Every byte of {place.out}/shards was read and is as it was written." in words
    assert "Next:" not in words


def test_the_document_holds_what_is_shown(place: Place) -> None:
    result = place.run("shard", "--json")
    document = json.loads(result.stdout)
    assert (document["map"], document["classes"]) == ("two", ["Unknown", "Tissue ä"])
    assert (document["written"], document["present"]) == (0, 2)
    assert sum(split["samples"] for split in document["splits"].values()) == 7
    for name, split in document["splits"].items():
        assert f"{name} {split['shards']} {split['samples']}" in " ".join(result.stderr.split())


def test_samples_that_are_left_out_are_counted(place: Place, printed: Callable[..., str]) -> None:
    found = shard(workspace=place.out, workers=1)
    one, many = replace(found, left_out=1), replace(found, left_out=1200)
    assert "1 sample is excluded or in no such split, and left out." in printed(show_shard, one)
    assert "1,200 samples are excluded or in no such split, and left out." in printed(show_shard, many)
    assert to_document(many)["left_out"] == 1200
