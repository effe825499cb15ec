"""Colours and hatches of classes on the page: as in the charts, and seen in a browser."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import audit
from histods.palette import class_fill
from reports.page.fills import paint_class
from reports.page.write import report
from tests.reports.page.tabs import Opened

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

DIFFERENT = 82
SAME_COLOUR = (1, 28, 55)
COLOURS = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const third = (at) => Math.floor((3 * ((at / 4) % canvas.width)) / canvas.width);
    const found = [new Set(), new Set(), new Set()];
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3]) found[third(at)].add(data.slice(at, at + 3).join());
    }
    return found.map((one) => [...one].sort());
}"""
"""The colours of each third of a mask, from left to right."""


def _page(folder: Path) -> Path:
    """The page of masks whose thirds have labels of one colour, and that are at fault, so that they are shown."""
    for name in ("a", "b"):  # two that are equal
        image = folder / "data" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (63, 60), (230, 200, 220)).save(image)
        mask = np.repeat(np.array(SAME_COLOUR, np.uint8), 21)[None].repeat(60, axis=0)
        Image.fromarray(mask).save(image.with_name(f"{name}_mask.png"))
    audit(folder / "data", workspace=folder / "out", hash=True, workers=1)
    return report(folder / "out").file


def test_as_many_classes_differ_as_in_the_charts() -> None:
    paints = [paint_class(index) for index in range(DIFFERENT)]
    assert len({tuple(one.items()) for one in paints}) == DIFFERENT
    for index, one in enumerate(paints):
        fill = class_fill(index)
        assert (one["colour"], bool(one["hatch"])) == (fill.face, bool(fill.hatch))


def test_each_hatch_is_a_pattern_of_the_page(html: str) -> None:
    names = {paint_class(index)["hatch"] for index in range(DIFFERENT)} - {""}
    assert len(names) == 4
    for name in names:
        assert html.count(f'<pattern id="{name}"') == 1


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_classes_of_one_colour_differ_in_bars_legends_and_masks(browser: Browser, tmp_path: Path) -> None:
    place = Opened(browser, _page(tmp_path))
    tab = place.tab
    chart = tab.locator(".panel:not([hidden]) [data-chart=percent]")
    chart.scroll_into_view_if_needed()
    chart.locator(".mark").first.wait_for()
    bars = [mark.locator("rect:not(.hit)") for mark in chart.locator(".mark").all()]
    assert [[rect.get_attribute("fill") for rect in one.all()] for one in bars] == [
        ["#e69f00"],
        ["#e69f00", "url(#slash-dark)"],
        ["#e69f00", "url(#bar-dark)"],
    ]
    shots = [one.last.screenshot() for one in bars]
    assert all(first != second for first, second in itertools.pairwise(shots))

    tab.locator("#thumbnails .card").first.click()
    canvas = tab.locator("#viewer canvas")
    for mode in ("Fill", "Side by side", "Outline"):
        tab.locator(f"#viewer label:has-text('{mode}')").click()
        tab.wait_for_function("(mode) => document.querySelector('#viewer canvas').width === 63", arg=mode)
        tab.wait_for_timeout(100)
        plain, slashes, lines = canvas.evaluate(COLOURS)
        assert len(plain) == 1
        assert len(slashes) == 2
        assert set(plain) < set(slashes)
        if mode != "Outline":  # an upright edge and upright lines do not always meet
            assert set(lines) == set(slashes)
    legend = tab.locator("#viewer-text .legend .swatch")
    assert sorted(one.locator("rect").count() for one in legend.all()) == [1, 2, 2]
    assert place.said == []
    place.context.close()
