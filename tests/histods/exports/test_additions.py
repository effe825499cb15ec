"""A format is one file and one line of the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from histods import export_data
from histods.exports import base
from tests.histods.exports.conftest import Exported, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Site


def test_a_format_of_one_file_is_exported_by_workers(
    source: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base.FORMATS, "one_table", "tests.histods.exports.one_table")
    result = export_data(to=tmp_path / "x", format="one_table", workspace=source.workspace, workers=2)
    expected = Exported(source, tmp_path / "x", result, read_rows(tmp_path / "x")).masks([99, 0, 1])
    lines = dict(line.split(" ", 1) for line in (tmp_path / "x" / "counts.txt").read_text().splitlines())
    counts = {name: np.bincount(mask.ravel(), minlength=100).tolist() for name, mask in expected.items()}
    assert {name: json.loads(line) for name, line in lines.items()} == counts
    assert result.command == "cat counts.txt"
