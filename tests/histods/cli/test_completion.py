"""Completion in the shell offers what the workspace has, and never ends in an error."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from histods.cli.completion import complete_codes, complete_maps, complete_shown
from histods.dataset.manifest import write_table

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [f"slide {number % 3}/p{number:03d}_ä" for number in range(700)]


def context(workspace: Path | None) -> Any:
    return SimpleNamespace(params={} if workspace is None else {"workspace": str(workspace)})


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A workspace of a dataset that has a label map of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "my_map.yml").touch()
    document = {"root": str(tmp_path / "data"), "findings": {"unreadable_mask": 2, "orphan_mask": 1, "turned": 3}}
    (tmp_path / "audit.json").write_text(json.dumps(document), encoding="utf-8")
    write_table(pa.table({"key": KEYS}), tmp_path / "manifest.parquet", {})
    return tmp_path


def test_what_begins_as_typed_is_offered_from_the_workspace(space: Path) -> None:
    out = context(space)
    assert complete_codes(out, "") == ["orphan_mask", "turned", "unreadable_mask"]
    assert complete_codes(out, "un") == ["unreadable_mask"]
    assert complete_shown(out, "cl") == ["classes"]
    assert complete_shown(out, "slide 1/p00") == [key for key in KEYS if key.startswith("slide 1/p00")]
    assert complete_maps(out, "my") == ["my_map.yml"]
    assert "label_map_10.yml" in complete_maps(out, "label_map_1")


def test_keys_are_offered_once_something_is_typed_and_never_by_the_thousand(space: Path) -> None:
    assert complete_shown(context(space), "") == ["labels", "classes", "split", "runs", *_codes(space)]
    offered = complete_shown(context(space), "slide 1/")
    assert offered == [key for key in KEYS if key.startswith("slide 1/")][:200]


def _codes(space: Path) -> list[str]:
    return complete_codes(context(space), "")


def test_without_an_option_the_workspace_of_the_environment_counts(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(space)
    assert complete_codes(context(None), "") == []
    monkeypatch.setenv("HISTODS_WORKSPACE", str(space))
    assert complete_codes(context(None), "tu") == ["turned"]


def test_names_of_labels_are_no_label_maps(tmp_path: Path) -> None:
    assert "drsk_labels.yml" not in complete_maps(context(tmp_path), "")


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b'{"findings": 3}', b"\xff", b'{"root": 5, "findings": {}}', b"[" * 100_000],
    ids=["none", "empty", "list", "number", "bytes", "root", "deep"],
)
def test_completion_never_raises(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "audit.json").write_bytes(content)
        (tmp_path / "manifest.parquet").write_bytes(content)
    for where in (tmp_path, None):
        assert complete_codes(context(where), "x") == []
        assert complete_shown(context(where), "zz") == []
        assert complete_maps(context(where), "no such") == []
