"""Why shards are not those that would be written now: the first reason that a person can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histods.labels.label_map import LabelMap
from histods.labels.label_map_file import read_label_map
from histods.shards.images.shard_set import ShardSet


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LabelMap]:
    """A label map, the same after an edit, and another one."""
    folder = tmp_path_factory.mktemp("maps")
    texts = {"own": "2-9", "edited": "2-8", "other": "3-9"}
    found = {}
    for name, labels in texts.items():
        title = "own" if name == "edited" else name
        text = f"name: {title}\nclasses: [Unknown, Tissue]\nmap: {{Unknown: [0], Tissue: ['{labels}']}}\n"
        (folder / f"{name}.yml").write_text(text)
        found[name] = read_label_map(folder / f"{name}.yml")
    return found


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({}, None),
        ({"label_map": "edited"}, "the label map 'own' changed since"),
        ({"label_map": "other"}, "they have the classes of 'own', not of 'other'"),
        ({"manifest_digest": "y"}, "the dataset was audited again since"),
        ({"split_digest": "y"}, "the samples were split again since"),
        ({"split_digest": None}, "there is no split any more"),
        ({"split_digest": "y", "made_without": True}, "the samples were not split then"),
        ({"split_digest": None, "made_without": True}, None),
        ({"label_map": "other", "manifest_digest": "y"}, "they have the classes of 'own', not of 'other'"),
        ({"label_map": None}, None),
    ],
    ids=str,
)
def test_the_difference_is_named(maps: dict[str, LabelMap], now: dict[str, Any], reason: str | None) -> None:
    own = maps["own"]
    made = ShardSet(
        folder=Path("/x"),
        shards=(),
        map=own.name,
        classes=tuple(own.classes),
        labels=(),
        map_digest=own.digest,
        index_digest="",
        manifest_digest="m",
        split_digest=None if now.get("made_without") else "s",
    )
    name = now.get("label_map", "own")
    found = made.differs_from(
        label_map=None if name is None else maps[name],
        manifest_digest=now.get("manifest_digest", "m"),
        split_digest=now.get("split_digest", "s"),
    )
    assert found == reason
    assert np.unique([one.digest for one in maps.values()]).size == 3
