"""`histods remap`: the classes and what the map changed, in words and as a document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from histods.cli.commands.remap import show_remap
from histods.records import ClassCount
from histods.steps.remap import RemapResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.histods.cli.commands.conftest import Place


def test_classes_are_shown_or_printed_as_json(place: Place) -> None:
    shown = place.run("remap", "--map", place.folder / "two.yml")
    assert shown.returncode == 0
    assert "Classes of two in the 7 masks in use" in shown.stdout
    assert shown.stdout.splitlines()[-1].strip().endswith(f"histods plot -w {place.out}")
    document = json.loads(place.run("remap", "--map", "two", "--json").stdout)
    assert [row["name"] for row in document["classes"]] == ["Unknown", "Tissue ä"]
    pixels = sum(row["pixels"] for row in document["classes"])
    assert f"No pixel is lost: {pixels:,} before and after." in shown.stdout


def test_a_draft_says_how_to_continue_and_remaps_nothing(copied: Place) -> None:
    result = copied.run("remap", "--draft", copied.folder / "my map.yml")
    words = " ".join(result.stdout.replace("\\\n", " ").split())
    assert "Merge and rename classes in an editor, then:" in words
    assert f"histods remap --map '{copied.folder}/my map.yml' -w {copied.out}" in words
    assert not (copied.out / "remap").exists()


def test_what_changed_and_what_is_odd_is_said(printed: Callable[..., str]) -> None:
    result = RemapResult(
        name="two",
        classes=(ClassCount(index=0, name="[red]Rest", pixels=1234, percent=100, images=None),),
        labels=((0, 3),),
        unmapped_class=0,
        unmapped_labels=(7, 9),
        unmapped_pixels=34,
        conditional=5,
        unconditional=2,
        became_unconditional=1,
        excluded=3,
        excluded_masks=2,
        excluded_pixels=99,
        pixels=1234,
        map_digest="",
        manifest_digest="0",
        warnings=("two classes have one name",),
        masks_written=4,
        masks_present=1000,
    )
    shown = printed(show_remap, result)
    for said in (
        "0 [red]Rest 1,234 100.00 -",
        "5 conditional and 2 unconditional samples.",
        "1 of these became unconditional",
        "3 excluded samples are left out, with 2 masks of 99 pixels.",
        "Labels that the map does not list became [red]Rest: 7, 9 (34 pixels).",
        "warning: two classes have one name",
        "4 masks written, 1,000 were there already.",
    ):
        assert said in shown
