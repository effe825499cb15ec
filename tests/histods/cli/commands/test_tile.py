"""`histods tile`: what is in a folder of tiles, what was left out or padded, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from histods import tile
from histods.cli.commands.tile import show_tile, to_document
from tests.in_process import all_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from histods.steps.tile import TileResult
    from tests.histods.cli.commands.conftest import Place


@pytest.fixture(scope="module")
def result(place: Place, tmp_path_factory: pytest.TempPathFactory) -> TileResult:
    with all_here():
        return tile(to=tmp_path_factory.mktemp("tiles") / "t", size=24, workspace=place.out)


def test_the_command_writes_tiles_and_names_the_audit_of_them(place: Place, tmp_path: Path) -> None:
    done = place.run("tile", "--size", 16, "--to", tmp_path / "tiles ä", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    tiles = [path for path in (tmp_path / "tiles ä").rglob("*.png") if "_mask" not in path.name]
    assert len(tiles) == document["written"] > 0
    assert document["audit"] in " ".join(done.stderr.replace("\\\n", " ").split())


def test_overlap_groups_and_what_the_audit_left_out_are_said(
    result: TileResult, printed: Callable[..., str]
) -> None:
    shown = printed(show_tile, result)
    assert "Tiles of 24x24 pixels, every 24" in shown
    assert f"a pixel is in {result.coverage:.2f} tiles on average" in shown
    assert result.coverage > 1
    assert f"with a mask {result.pairs.images}" in shown
    assert "2 excluded samples of the audit left out." in shown
    assert f"{result.written} tiles written" in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edge": "pad", "padded": 1}, "Edges: 1 tile padded to the right and below: white in the image, label 0"),
        (
            {"small": tuple("abcde")},
            "5 images smaller than a tile, padded (white in the image, label 0 in the mask): a, b, c and 2 more",
        ),
        ({"blank_images": ("ä",)}, "All tiles are blank in ä"),
        ({"off_palette": 1200}, "warning: 1,200 pixels of masks have a colour that the labels file does not name"),
        ({"unreadable": (("[x]", "is cut"),) * 5}, "warning: no tiles of [x]: is cut"),
        ({"unreadable": (("[x]", "is cut"),) * 4}, "no tiles of 1 more image that cannot be decoded"),
        ({"groups": 3, "own_groups": 3}, "Tiles have their image as group (3 groups)"),
        ({"groups": 3, "own_groups": 1}, "Tiles have their image's group, or the image itself (3 groups)"),
        ({"label_maps": ("m.yml",)}, "Copied from the dataset, for 'histods remap': m.yml"),
    ],
    ids=str,
)
def test_what_is_odd_is_said(
    result: TileResult, changes: dict[str, object], said: str, printed: Callable[..., str]
) -> None:
    changed = replace(result, **changes)  # type: ignore[arg-type]
    assert said in printed(show_tile, changed)
    json.dumps(to_document(changed))
