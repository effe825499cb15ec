"""`histods encode`: what it says of latents, which are made by tests of the trainer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from histods.cli.commands.encode import show_encode, to_document
from tests.histods.shards.latents.made import PLAIN, Made

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.verbs.encode import EncodeResult


@pytest.fixture
def result(tmp_path: Path) -> EncodeResult:
    encode = pytest.importorskip("training.verbs.encode")
    made: EncodeResult = encode.EncodeResult(latents=Made(tmp_path, PLAIN).latents, written=2, present=1)
    return made


def test_splits_channels_and_what_was_written_are_shown(result: EncodeResult, printed: Callable[..., str]) -> None:
    shown = printed(show_encode, result)
    assert "Latents of three split shards samples MB test 1 3" in shown
    assert "Channels of 3x4 latents" in shown
    assert "Autoencoder x (y); 1 view of each image." in shown
    assert f"2 shards written, 1 were there already: {result.latents.folder}" in shown.replace("/ ", "/")


def test_the_document_holds_the_same_numbers(result: EncodeResult) -> None:
    document = json.loads(json.dumps(to_document(result)))
    assert document["splits"]["train"] == {
        "shards": 2,
        "samples": 9,
        "bytes": sum(one.bytes for one in result.latents.shards if one.split == "train"),
    }
    assert (document["shape"], document["views"]) == ([2, 3, 4], 1)
    assert tuple(document["mean"]) == result.latents.mean
