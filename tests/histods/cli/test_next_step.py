"""The command to type next follows from what was found, fits a line or is folded, and can be copied."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from histods.cli.next_step import find_side, offer_groups, print_next, print_next_after, print_next_after_audit
from histods.records import ColourCount, LabelCount
from histods.splits.groups import Proposal
from tests.in_process import audit_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.measurement.audit_result import AuditResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    folder = tmp_path_factory.mktemp("next")
    root = folder / "my data"
    root.mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (number, 9, 9)).save(root / f"{number}.png")
        Image.fromarray(np.tri(64, dtype=np.uint8)).save(root / f"{number}_mask.png")
    return audit_here(root, workspace=folder / "out")


def printed(show: Callable[..., None], *arguments: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(console, *arguments)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def command(text: str) -> list[str]:
    """The words of the command that is printed last, as a shell reads them."""
    return shlex.split(text.replace("\\\n", "").rpartition("Next:")[2])


def sizes(result: AuditResult, *found: tuple[int, int]) -> AuditResult:
    """The same result for samples of these heights and widths."""
    frame = pl.concat([result.manifest.to_polars().head(1)] * len(found))
    heights, widths = zip(*found, strict=True)
    frame = frame.with_columns(
        height=pl.Series(heights, dtype=pl.UInt32), width=pl.Series(widths, dtype=pl.UInt32)
    )
    return replace(result, manifest=replace(result.manifest, table=frame.to_arrow()))


@pytest.mark.parametrize("width", [20, 33, 34, 80])
def test_a_command_stands_on_the_line_or_below_it_and_is_whole(width: int) -> None:
    text = printed(print_next, "histods plot -w 'my data/ä'", width=width)
    assert command(text) == ["histods", "plot", "-w", "my data/ä"]
    assert (len(text.splitlines()) == 1) == (width >= 33)


@pytest.mark.parametrize("verb", ["remap", "plot", "split", "shard", "encode"])
def test_each_step_names_the_workspace_only_where_it_must(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTODS_WORKSPACE", "/w")
    assert " -w " not in printed(print_next_after, verb, Path("/w"))
    assert command(printed(print_next_after, verb, Path("/my w")))[-2:] == ["-w", "/my w"]


def test_after_an_audit_comes_what_is_needed_first(result: AuditResult) -> None:
    """Colours before tiles, tiles before a label map, and nothing where no sample can be used."""
    assert command(printed(print_next_after_audit, result))[:2] == ["histods", "plot"]
    gaps = replace(result, labels=(LabelCount(label=900, name="x", pixels=1, percent=100, images=1),))
    assert command(printed(print_next_after_audit, gaps))[:4] == ["histods", "remap", "--draft", "my_map.yml"]
    large = sizes(gaps, (1000, 900), (1000, 900), (700, 900))
    words = command(printed(print_next_after_audit, large))
    assert words[:3] == ["histods", "tile", "--size"]
    assert words[4:6] == ["--to", f"{result.root}-tiles"]
    none = replace(result, counts=replace(result.counts, conditional=0, unconditional=0))
    assert printed(print_next_after_audit, none) == ""
    colours = replace(
        none,
        palette=(ColourCount(colour="#ff0000", pixels=1, percent=100, masks=1, label=None),),
        findings={"not_an_index_mask": 2},
    )
    assert "--write-labels" in command(printed(print_next_after_audit, colours))


def test_a_label_map_in_the_dataset_comes_before_charts(result: AuditResult, tmp_path: Path) -> None:
    (tmp_path / "label_map ä.yml").write_text("A: [0]\n", encoding="utf-8")
    found = replace(result, root=tmp_path, other_files={".yml": 1})
    words = command(printed(print_next_after_audit, found))
    assert words[:4] == ["histods", "remap", "--map", "label_map ä.yml"]


@pytest.mark.parametrize(
    ("found", "cut"),
    [
        (((64, 64),), False),
        (((96, 64),) * 3, False),
        (((64, 65),), True),
        (((64, 64), (96, 96)), True),
        (((64, 64),) * 9 + ((64, 65),), True),
    ],
    ids=str,
)
def test_tiles_are_cut_where_training_cannot_take_the_sizes(
    result: AuditResult, found: tuple[tuple[int, int], ...], cut: bool
) -> None:
    side = find_side(sizes(result, *found))
    assert (side is not None) == cut
    assert side is None or side <= min(min(size) for size in found) or side % 32 == 0


def test_groups_are_offered_as_an_if_with_a_command(result: AuditResult) -> None:
    text = printed(offer_groups, Proposal("^([^_]+)_", 1200, "it's_x", "it's"), result.workspace)
    assert "If names tell 1,200 slides or patients, such as" in " ".join(text.split())
    words = shlex.split(text.replace("\\\n", "")[text.index("    histods") :])
    assert words == ["histods", "split", "--group-regex", "^([^_]+)_", "-w", str(result.workspace)]
