"""`histods plot`: charts of a workspace, or of a table of counts, and what was left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.commands import histods

if TYPE_CHECKING:
    from pathlib import Path

    from tests.histods.cli.commands.conftest import Place


def test_json_lists_the_files_that_were_written(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(
        "Label ID,Class Name,Pixel Count\n0,None,5\n3,Ärzte,995\n", encoding="utf-8"
    )
    result = histods("plot", "--counts", "counts.csv", "--width", "column", "--json", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert (result.returncode, document["systems"]) == (0, ["labels"])
    files = {tmp_path / name for name in document["files"]}
    assert all(file.is_file() for file in files)
    assert {file.suffix for file in files} == {".png", ".svg", ".csv"}
    assert f"{len(files)} files in" in result.stderr
    assert "Next:" not in result.stderr  # counts are of no workspace


def test_an_audit_is_named_where_there_is_none(copied: Place) -> None:
    (copied.out / "audit.json").unlink()
    result = copied.run("plot")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"There is no audit in {copied.out} yet; run 'histods audit DATASET -w {copied.out}'." in result.stderr
