"""A workspace with everything and its page, made once; and a browser."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from reports.page.write import ReportResult, report
from tests.reports.page.workspaces import Made, make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset and a workspace with everything that the page shows; no test changes it."""
    return make_workspace(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def page(made: Made) -> ReportResult:
    """Its page."""
    return report(made.workspace)


@pytest.fixture(scope="session")
def html(page: ReportResult) -> str:
    """The text of the page."""
    return page.file.read_text(encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """The same for a test that changes it."""
    return make_workspace(tmp_path)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
