"""The page in Chromium, from a file: what it shows, how it is used, and that it asks for nothing."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from tests.reports.page.tabs import Opened
from tests.reports.page.workspaces import FORMULA, HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from reports.page.write import ReportResult

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
PAINTED = """[...document.querySelectorAll("#thumbnails .picture:not(.side) canvas")].map((canvas) =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.filter(
        (value, place) => place % 4 === 3 && value > 0).length).reduce((sum, one) => sum + one, 0)"""
"""Pixels of masks that are drawn over images."""


@pytest.fixture(scope="module")
def opened(browser: Browser, page: ReportResult) -> Iterator[Opened]:
    """The page at the width of a desk, used by one test after the other."""
    desk = Opened(browser, page.file)
    yield desk
    desk.context.close()


@pytest.fixture
def tab(opened: Opened) -> Page:
    """The tab of the page, with all filters cleared."""
    if opened.tab.locator("#viewer[open]").count():
        opened.tab.keyboard.press("Escape")
    opened.tab.click("#finding-clear")
    return opened.tab


def shown_rows(tab: Page) -> list[list[str]]:
    return [row.split("\n") for row in tab.locator("#finding-grid [data-place]").all_inner_texts()]


def counted(tab: Page) -> int:
    return int(tab.inner_text("#finding-count").split()[0])


def draw_everything(tab: Page) -> None:
    """As before printing: every chart and picture is drawn, not only those near the part that is seen."""
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tab.wait_for_timeout(300)


def test_nothing_is_asked_for_and_nothing_goes_wrong(opened: Opened, page: ReportResult) -> None:
    draw_everything(opened.tab)
    assert opened.said == []
    assert [address for address in opened.asked if not address.startswith("data:")] == [page.file.as_uri()]


def test_hostile_names_are_text(tab: Page, opened: Opened) -> None:
    tab.fill("#finding-search", "onerror")
    expect(tab.locator("#finding-count")).to_contain_text(" of ")
    assert HOSTILE[:-4] in shown_rows(tab)[0][2]
    tab.click("#finding-grid [data-place='0']")
    assert HOSTILE[:-4] in tab.inner_text("#finding-detail")
    assert tab.locator("img[src='x']").count() == 0
    assert opened.said == []


def test_findings_are_filtered_by_code_severity_and_folder(tab: Page) -> None:
    every = counted(tab)
    tab.select_option("#finding-severity", "error")
    errors = counted(tab)
    assert 0 < errors < every
    assert {row[0] for row in shown_rows(tab)} == {"error"}
    tab.select_option("#finding-code", "unreadable_mask")
    assert {row[1] for row in shown_rows(tab)} == {"unreadable_mask"}
    tab.click("#finding-clear")
    tab.click("[data-filter-folder='slide_2']")
    assert all(row[2].startswith("slide_2/") for row in shown_rows(tab))
    tab.click("#finding-clear")
    assert counted(tab) == every


def test_findings_are_sorted_by_each_column(tab: Page) -> None:
    for column, place in (("Code", 1), ("File", 2)):
        tab.click(f"#finding-grid .sort:text-is('{column}')")
        once = [row[place] for row in shown_rows(tab)]
        tab.click(f"#finding-grid .sort:text-is('{column}')")
        twice = [row[place] for row in shown_rows(tab)]
        assert once != twice
    assert tab.get_attribute("#finding-grid [role=columnheader]:nth-child(3)", "aria-sort") == "descending"


def test_the_keyboard_moves_through_findings(tab: Page) -> None:
    tab.focus("#finding-grid")
    for _ in range(3):
        tab.keyboard.press("ArrowDown")
    assert tab.get_attribute("#finding-grid", "aria-activedescendant") == "finding-row-2"
    tab.keyboard.press("End")
    last = counted(tab) - 1
    assert tab.get_attribute("#finding-grid [aria-selected=true]", "data-place") == str(last)
    assert "histods show " in tab.inner_text("#finding-detail .command code")


def test_the_csv_is_what_is_shown_and_no_formula(tab: Page, tmp_path: Path) -> None:
    with tab.expect_download() as download:
        tab.click("#finding-csv")
    download.value.save_as(tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == counted(tab)
    assert f"'{FORMULA}" in [row["path"] for row in rows]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_masks_are_drawn_over_images_in_every_way(tab: Page) -> None:
    draw_everything(tab)
    painted = {}
    for mode in ("Fill", "Outline", "Image"):
        tab.locator(f"#thumbnails [data-toolbar] label:has-text('{mode}')").first.click()
        tab.wait_for_timeout(300)
        painted[mode] = tab.evaluate(PAINTED)
    assert painted["Fill"] > painted["Outline"] > painted["Image"]
    tab.locator("#thumbnails [data-toolbar] label:has-text('Fill')").first.click()


def test_cards_are_stepped_through_enlarged_and_closed(tab: Page) -> None:
    cards = tab.locator("#thumbnails [data-gallery=zero_mask] .card")
    cards.first.scroll_into_view_if_needed()
    cards.first.focus()
    tab.keyboard.press("ArrowRight")
    assert cards.nth(1).evaluate("(card) => card === document.activeElement")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#viewer-place").startswith("2 of ")
    first = tab.inner_text("#viewer-title")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#viewer-title") != first
    tab.keyboard.press("Escape")
    assert tab.locator("#viewer[open]").count() == 0
    assert cards.nth(2).evaluate("(card) => card === document.activeElement")


def test_values_of_charts_are_read_with_the_keyboard(tab: Page) -> None:
    chart = tab.locator(".panel:not([hidden]) [data-chart=percent]")
    chart.scroll_into_view_if_needed()
    marks = chart.locator(".mark")
    marks.first.focus()
    tab.keyboard.press("ArrowDown")
    assert tab.inner_text("#tip") == marks.nth(1).get_attribute("aria-label")
    slider = tab.locator("[data-chart=loss] [role=slider]")
    slider.scroll_into_view_if_needed()
    slider.focus()
    tab.keyboard.press("Home")
    assert str(slider.get_attribute("aria-valuetext")).startswith("step 1: first ")


def test_previews_are_stepped_through(tab: Page) -> None:
    slider = tab.locator("[data-previews='0'] input")
    slider.scroll_into_view_if_needed()
    assert tab.inner_text("[data-previews='0'] output") == "step 60"
    slider.focus()
    tab.keyboard.press("Home")
    assert tab.inner_text("[data-previews='0'] output") == "step 20"


def test_tunings_and_evaluations_are_tables_beside_their_evidence(tab: Page) -> None:
    runs, evaluations = tab.locator("#runs"), tab.locator("#evaluations")
    expect(runs).to_contain_text(
        "Nothing beats the untuned setting, dpm, 25 steps, guidance 3, by more than chance"
    )
    expect(runs.get_by_role("row", name="dpm, 25 steps, no guidance")).to_contain_text("best")
    rows = evaluations.get_by_role("row", name="Tumour <b>")
    expect(rows.last).to_have_text("Tumour <b>0.02240.01111.50.35")
    expect(evaluations).to_contain_text("Neither real nor generated masks have Fat.")


def test_dark_is_chosen_by_the_system_or_by_hand(browser: Browser, page: ReportResult, tab: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(ground)
    tab.click("#theme")
    assert tab.evaluate(ground) != light
    assert tab.get_attribute("#theme", "aria-pressed") == "true"
    tab.click("#theme")
    assert tab.evaluate(ground) == light
    night = Opened(browser, page.file, scheme="dark")
    assert night.tab.evaluate(ground) != light
    night.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_serious_fault_of_accessibility_and_no_scrolling_sideways(
    browser: Browser, page: ReportResult, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    place = Opened(browser, page.file, width=width, scheme=scheme)
    draw_everything(place.tab)
    assert place.tab.evaluate("document.documentElement.scrollWidth") <= width
    # Only the tests may run a script that the page does not name: the policy would refuse axe.
    place.context.close()
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,
        reduced_motion="reduce",
    )
    tab = context.new_page()
    tab.goto(page.file.as_uri())
    tab.wait_for_selector("#finding-grid [data-place]")
    draw_everything(tab)
    found = axe.Axe().run(tab).response["violations"]
    context.close()
    grave = [
        (one["id"], node["html"][:200], node.get("failureSummary", "")[:300])
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:2]
    ]
    assert grave == []


def test_all_of_it_is_printed(tab: Page) -> None:
    tab.emulate_media(media="print")
    assert tab.locator(".top").is_hidden()
    assert tab.locator("#finding-grid").is_hidden()
    assert tab.locator("#todo").is_visible()
    tab.emulate_media(media="screen")
