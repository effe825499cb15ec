"""`histods status`: each part with its state in words, and the next command last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from histods.cli.commands.status import show_status
from histods.stages import Stage
from histods.steps.status import StatusResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.histods.cli.commands.conftest import Place


def test_the_table_and_the_document_say_the_same(place: Place) -> None:
    shown = place.run("status").stdout
    document = json.loads(place.run("status", "--json").stdout)
    words = " ".join(shown.replace("\\\n", " ").split())
    for part in document["parts"]:
        assert f"{part['name']} done" in words
    assert words.endswith(f"Next: {document['next']}")


def test_a_run_without_a_checkpoint_is_unfinished_and_other_parts_are_missing(printed: Callable[..., str]) -> None:
    parts = (
        Stage("run [ä]", "missing", "no checkpoint yet", ""),
        Stage("split", "missing", "no split yet", ""),
        Stage("shards", "stale", "the samples were split again since", ""),
    )
    shown = printed(show_status, StatusResult(workspace=Path("/w"), parts=parts, next="histods train"))
    assert "run [ä] unfinished no checkpoint yet" in shown
    assert "split missing no split yet" in shown
    assert "shards out of date the samples were split again since" in shown
