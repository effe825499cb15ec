"""`histods show`: one format of three, and the command that follows from what is shown."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.histods.cli.commands.conftest import Place


def test_csv_and_json_hold_the_same_rows_and_stand_alone_on_stdout(place: Place) -> None:
    document = json.loads(place.run("show", "split", "--json").stdout)
    assert document == json.loads(place.run("show", "split", "--format", "json").stdout)
    tables = place.run("show", "split", "--format", "csv").stdout.split("\n\n")
    assert len(tables) == len(document["tables"])
    for rows, comma in zip(document["tables"].values(), tables, strict=True):
        found = [*csv.DictReader(io.StringIO(comma))]
        assert [*found[0]] == [*rows[0]]
        assert [next(iter(row.values())) for row in found] == [str(next(iter(row.values()))) for row in rows]


@pytest.mark.parametrize(
    ("what", "following"),
    [
        ((), "histods show CODE"),
        (("labels",), "histods remap --draft my_map.yml"),
        (("classes",), "histods plot"),
        (("split",), "histods shard"),
        (("slide 0/p2",), "histods show 'slide 0/p2' --open DIR"),
        (("missing_mask",), "histods fix missing_mask --to DIR"),
    ],
    ids=str,
)
def test_the_next_command_follows_from_what_is_shown(place: Place, what: tuple[str, ...], following: str) -> None:
    words = " ".join(place.run("show", *what).stdout.replace("\\\n", " ").split())
    assert words.endswith(f"Next: {following} -w {place.out}")


def test_a_limit_leaves_files_out_and_says_so_and_a_sound_dataset_has_no_file(place: Place) -> None:
    """Reasons are printed once for files in a row that share them."""
    result = place.run("show", "duplicate_image", "--limit", 1)
    assert "duplicate_image: 2 files, 1 of them not shown" in result.stdout
    assert result.stdout.splitlines()[0] == "alone.png"
    assert "No file has the finding turned." in place.run("show", "turned").stdout
